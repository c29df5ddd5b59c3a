//! Accepts connections, counts them, and hands each to a worker.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::connection::{self, ConnectionBounds};
use super::limits::{Connections, Refused};
use super::workers::Workers;
use crate::api::{ConnectionContext, ListenerContext, Services};
use crate::base::clock;
use crate::base::net::{Passed, SocketOptions, TcpListener};
use crate::base::shutdown::Shutdown;

/// What all listeners of a broker share.
pub struct Acceptor {
    /// The threads that serve connections, in turn.
    pub workers: Workers,
    /// The counts of open connections.
    pub connections: Connections,
    /// What bounds each connection.
    pub bounds: ConnectionBounds,
    /// What is set on each socket.
    pub options: SocketOptions,
    /// Ends all connections.
    pub shutdown: Shutdown,
    /// The number of the next connection.
    pub next_connection: AtomicU64,
}

/// Accepts on `listener` until the broker stops.
pub async fn accept(
    listener: TcpListener,
    listening: Arc<ListenerContext>,
    services: Arc<Services>,
    acceptor: Arc<Acceptor>,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = acceptor.shutdown.wait() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let passed = match Passed::new(stream, acceptor.options) {
                    Ok(passed) => passed,
                    Err(_) => continue, // The client has gone already.
                };
                hand_over(passed, peer, &listening, &services, &acceptor);
            }
            Err(error) => {
                // Out of descriptors, most likely: those that are open go on being served.
                tracing::warn!(listener = %listening.name, %error, "cannot accept a connection");
                clock::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn hand_over(
    passed: Passed,
    peer: SocketAddr,
    listening: &Arc<ListenerContext>,
    services: &Arc<Services>,
    acceptor: &Arc<Acceptor>,
) {
    let counted = match acceptor.connections.admit(peer.ip()) {
        Ok(counted) => counted,
        Err(refused) => {
            let bound = match refused {
                Refused::Full => "max.connections",
                Refused::AddressFull => "max.connections.per.ip",
            };
            tracing::warn!(listener = %listening.name, address = %peer.ip(), bound, "connection refused");
            return;
        }
    };
    let number = acceptor.next_connection.fetch_add(1, Ordering::Relaxed);
    let context = Arc::new(ConnectionContext::new(Arc::clone(listening), peer, number));
    let services = Arc::clone(services);
    let bounds = acceptor.bounds.clone();
    let shutdown = acceptor.shutdown.clone();
    acceptor.workers.serve(number, async move |served| {
        let _counted = counted;
        let Ok(stream) = passed.adopt() else { return };
        tokio::select! {
            biased;
            () = shutdown.wait() => {}
            () = connection::serve(stream, context, services, bounds, served) => {}
        }
    });
}
