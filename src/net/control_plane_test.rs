//! The listener of the controller beside those of data.

use std::sync::mpsc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::admission::Admission;
use super::budget::Budget;
use super::connection::{ConnectionBounds, REQUESTS_IN_FLIGHT};
use super::limits::ConnectionLimits;
use super::listener::Acceptor;
use super::listeners::{self, Listeners};
use super::workers::Workers;
use crate::api::testing;
use crate::base::clock;
use crate::base::net::{DescriptorBound, Severance, SocketOptions, TcpStream};
use crate::base::shutdown::Shutdown;
use crate::replica::testing::TestBroker;
use crate::storage::descriptors::Descriptors;

const PATIENCE: Duration = Duration::from_secs(60);
/// ApiVersions, version 0, correlation id 7, no client id.
const REQUEST: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];

/// Asks, and waits for the length of the answer.
async fn asked(stream: &mut TcpStream, patience: Duration) -> Option<u32> {
    stream.write_all(&REQUEST).await.unwrap();
    let answer = clock::timeout(patience, stream.read_u32()).await;
    answer.map(|length| length.unwrap())
}

#[tokio::test]
async fn the_controller_is_answered_while_every_thread_of_the_data_listeners_hangs() {
    let broker = TestBroker::with_config(
        1,
        &[
            ("listeners", "PLAINTEXT://127.0.0.1:0,CONTROL://127.0.0.1:0"),
            (
                "listener.security.protocol.map",
                "PLAINTEXT:PLAINTEXT,CONTROL:PLAINTEXT",
            ),
            ("control.plane.listener.name", "CONTROL"),
        ],
    );
    let config = broker.cluster.get().broker_config.clone();
    let options = SocketOptions {
        backlog: 8,
        send_buffer_bytes: -1,
        receive_buffer_bytes: -1,
    };
    let mut bound = Vec::new();
    let mut addresses = Vec::new();
    for endpoint in config.listeners() {
        let one = listeners::bind(endpoint, options).await.unwrap();
        addresses.push(one.1.local_addr().unwrap());
        bound.push(one);
    }
    let shutdown = Shutdown::new();
    let admission = Admission::new(ConnectionLimits::new(&config));
    let acceptor = |workers| Acceptor {
        workers,
        admission: admission.clone(),
        bounds: ConnectionBounds {
            request_max_bytes: 1 << 20,
            idle: PATIENCE * 10,
            requests_in_flight: REQUESTS_IN_FLIGHT,
            budget: Budget::new(-1),
        },
        options,
        descriptors: DescriptorBound::below(u64::MAX),
        files: Descriptors::new(1),
        shutdown: shutdown.clone(),
    };
    let workers = Workers::start("data", 1).unwrap();
    let control = acceptor(Workers::start("control", 1).unwrap());
    let _listeners = Listeners::open(
        bound,
        Vec::new(),
        testing::services(&broker),
        acceptor(workers.clone()),
        Some(("CONTROL".to_owned(), control)),
    );
    let mut data = TcpStream::connect(addresses[0]).await.unwrap();
    assert!(asked(&mut data, PATIENCE).await.is_some());

    let (release, held) = mpsc::channel::<()>();
    let (hangs, begun) = tokio::sync::oneshot::channel();
    workers.serve(0, Severance::of_nothing(), async move |_| {
        hangs.send(()).unwrap();
        held.recv().unwrap();
    });
    begun.await.unwrap();
    let mut other = TcpStream::connect(addresses[0]).await.unwrap();
    assert_eq!(asked(&mut other, Duration::from_millis(100)).await, None);
    let mut controller = TcpStream::connect(addresses[1]).await.unwrap();
    assert!(asked(&mut controller, PATIENCE).await.is_some());

    release.send(()).unwrap();
    let late = clock::timeout(PATIENCE, other.read_u32()).await;
    assert!(late.is_some_and(|length| length.is_ok()));
    shutdown.begin();
}

#[tokio::test]
async fn connections_do_not_take_the_last_descriptors() {
    let broker = TestBroker::with_config(1, &[("listeners", "PLAINTEXT://127.0.0.1:0")]);
    let config = broker.cluster.get().broker_config.clone();
    let options = SocketOptions {
        backlog: 8,
        send_buffer_bytes: -1,
        receive_buffer_bytes: -1,
    };
    let shutdown = Shutdown::new();
    // All are kept back, or none.
    for (bound, patience, is_served) in [(0, Duration::from_millis(300), false), (u64::MAX, PATIENCE, true)] {
        let one = listeners::bind(&config.listeners()[0], options).await.unwrap();
        let address = one.1.local_addr().unwrap();
        let acceptor = Acceptor {
            workers: Workers::start("data", 1).unwrap(),
            admission: Admission::new(ConnectionLimits::new(&config)),
            bounds: ConnectionBounds {
                request_max_bytes: 1 << 20,
                idle: PATIENCE * 10,
                requests_in_flight: REQUESTS_IN_FLIGHT,
                budget: Budget::new(-1),
            },
            options,
            descriptors: DescriptorBound::below(bound),
            files: Descriptors::new(1),
            shutdown: shutdown.clone(),
        };
        let services = testing::services(&broker);
        let _listeners = Listeners::open(vec![one], Vec::new(), services, acceptor, None);
        let mut client = TcpStream::connect(address).await.unwrap();
        assert_eq!(asked(&mut client, patience).await.is_some(), is_served);
    }
    shutdown.begin();
}
