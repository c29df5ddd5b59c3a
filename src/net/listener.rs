//! Accepts connections, has them let in, and hands each to a worker.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::admission::{Admission, Place};
use super::connection::{self, ConnectionBounds};
use super::limits::AddressFull;
use super::workers::Workers;
use crate::api::{ConnectionContext, ListenerContext, Services};
use crate::base::clock;
use crate::base::net::{DescriptorBound, Passed, SocketOptions, TcpListener, TcpStream};
use crate::base::shutdown::Shutdown;
use crate::storage::descriptors::Descriptors;

/// What listeners share: all of a broker, but for that of the controller.
pub struct Acceptor {
    /// The threads that serve connections, in turn.
    pub workers: Workers,
    /// Lets connections in.
    pub admission: Admission,
    /// What bounds each connection.
    pub bounds: ConnectionBounds,
    /// What is set on each socket.
    pub options: SocketOptions,
    /// The descriptors that connections may have; the others are for files, and for what the broker itself needs.
    pub descriptors: DescriptorBound,
    /// The files that are kept open, which give way to connections.
    pub files: Arc<Descriptors>,
    /// Ends all connections.
    pub shutdown: Shutdown,
}

/// Accepts on `listener` until the broker stops, or `closing` says that the listener is to be no more.
pub(super) async fn accept(
    listener: TcpListener,
    listening: Arc<ListenerContext>,
    closing: Shutdown,
    services: Arc<Services>,
    acceptor: Arc<Acceptor>,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = acceptor.shutdown.wait() => return,
            () = closing.wait() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: those that are open go on being served.
                tracing::warn!(listener = %listening.name, %error, "cannot accept a connection");
                clock::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let admitted = async {
            wait_for_descriptors(&stream, &listening, &acceptor).await;
            acceptor.admission.admit(&listening.name, peer.ip()).await
        };
        let admitted = tokio::select! {
            biased;
            () = acceptor.shutdown.wait() => return,
            () = closing.wait() => return,
            admitted = admitted => admitted,
        };
        match admitted {
            Ok(place) => {
                // It fails when the client has gone already.
                if let Ok(passed) = Passed::new(stream, acceptor.options) {
                    hand_over(passed, peer, place, &listening, &closing, &services, &acceptor);
                }
            }
            Err(AddressFull { most }) => tracing::warn!(
                listener = %listening.name,
                address = %peer.ip(),
                most,
                "connection refused: max.connections.per.ip"
            ),
        }
    }
}

/// Returns when connections do not take the last descriptors; the next ones wait in the kernel meanwhile. Nobody tells that a
/// file was closed, so this looks from time to time.
async fn wait_for_descriptors(stream: &TcpStream, listening: &ListenerContext, acceptor: &Acceptor) {
    const PAUSE: Duration = Duration::from_millis(100);
    while !acceptor.descriptors.has_room(stream) {
        // Files are opened again when they are needed.
        acceptor.files.give_way();
        if acceptor.descriptors.has_room(stream) {
            return;
        }
        tracing::warn!(
            listener = %listening.name,
            "nearly as many files are open as the process may have: new connections wait, see ulimit -n"
        );
        clock::sleep(PAUSE).await;
    }
}

fn hand_over(
    passed: Passed,
    peer: SocketAddr,
    place: Place,
    listening: &Arc<ListenerContext>,
    closing: &Shutdown,
    services: &Arc<Services>,
    acceptor: &Acceptor,
) {
    let number = place.number;
    let context = Arc::new(ConnectionContext::new(Arc::clone(listening), peer, number));
    let services = Arc::clone(services);
    let bounds = acceptor.bounds.clone();
    let (shutdown, closing) = (acceptor.shutdown.clone(), closing.clone());
    let severance = passed.severance();
    acceptor.workers.serve(number, severance, async move |served| {
        let place = place;
        let Ok(stream) = passed.adopt() else { return };
        tokio::select! {
            biased;
            () = shutdown.wait() => {}
            () = connection::serve(stream, context, services, bounds, &place.activity, served, &closing) => {}
        }
    });
}
