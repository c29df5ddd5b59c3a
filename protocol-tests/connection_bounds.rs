//! The bounds of connections over real sockets, as they are set at the start and while the broker runs. What they decide
//! is tested in `net::limits`; here a change takes effect without a restart.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods
)]

mod socket;

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use barnabas::wire::ApiKey;
use socket::{Client, TestBroker};

const INVALID_REQUEST: i16 = 42;

fn asks(client: &mut Client) {
    client.send_body(ApiKey::ApiVersions, 0, &[]);
}

fn is_served(client: &mut Client) -> bool {
    asks(client);
    client.answer(ApiKey::ApiVersions, 0).is_some()
}

/// True when the broker neither answers nor closes for a while.
fn waits(client: &mut Client) -> bool {
    client
        .stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let seen = client.stream.peek(&mut [0]);
    client.stream.set_read_timeout(Some(socket::PATIENCE)).unwrap();
    seen.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

fn loopback(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

#[test]
fn above_max_connections_new_ones_wait_until_another_goes() {
    let broker = TestBroker::start(&[("max.connections", "2")]);
    let (mut first, mut second) = (broker.client(), broker.client());
    assert!(is_served(&mut first) && is_served(&mut second));
    let mut third = broker.client();
    asks(&mut third);
    assert!(waits(&mut third));
    assert!(is_served(&mut first), "those before");
    second.disconnect();
    assert!(third.answer(ApiKey::ApiVersions, 0).is_some());
}

#[test]
fn a_bound_that_is_changed_holds_at_once() {
    let broker = TestBroker::start(&[("max.connections", "2")]);
    let (mut admin, mut other) = (broker.client(), broker.client());
    assert!(is_served(&mut other));
    let mut third = broker.client();
    asks(&mut third);
    assert!(waits(&mut third));
    // Raised: who waits is let in. The bound of the listener is the broker's, as long as it has none of its own.
    assert_eq!(admin.alter_broker("", &[("max.connections", "3")]), 0);
    assert!(third.answer(ApiKey::ApiVersions, 0).is_some());
    // One of its own.
    let of_listener = "listener.name.plaintext.max.connections";
    assert_eq!(admin.alter_broker("1", &[(of_listener, "4")]), 0);
    assert_eq!(admin.alter_broker("1", &[("max.connections", "9")]), 0);
    let mut fourth = broker.client();
    assert!(is_served(&mut fourth));
    let mut fifth = broker.client();
    asks(&mut fifth);
    assert!(waits(&mut fifth), "the listener's own bound");
    drop(fifth);
    // Lowered: those go on which nothing has moved for longest.
    assert!(is_served(&mut third));
    assert_eq!(admin.alter_broker("1", &[("max.connections", "2")]), 0);
    other.assert_closed("the oldest");
    fourth.assert_closed("the second oldest");
    assert!(is_served(&mut third) && is_served(&mut admin));
}

#[test]
fn bounds_of_addresses_are_changed_while_the_broker_runs() {
    let broker = TestBroker::start(&[]);
    let mut admin = broker.client();
    let mut first = broker.client_from(loopback(2));
    assert!(is_served(&mut first));
    let bounds = [
        ("max.connections.per.ip", "1"),
        ("max.connections.per.ip.overrides", "127.0.0.1:100"),
    ];
    assert_eq!(admin.alter_broker("1", &bounds), 0);
    // The change comes by the store; until then the address has another one.
    let refused = |from| {
        let mut client = broker.client_from(loopback(from));
        asks(&mut client);
        client.answer(ApiKey::ApiVersions, 0).is_none()
    };
    assert!((0..1000).any(|_| refused(2)));
    assert!(!refused(3) && !refused(1));
    assert!(is_served(&mut first), "those before stay");
}

#[test]
fn changes_that_would_go_too_far_are_refused() {
    let broker = TestBroker::start(&[]);
    let mut admin = broker.client();
    for (key, value) in [
        ("max.connections", "0"),
        ("max.connection.creation.rate", "0"),
        ("listener.name.plaintext.max.connections", "0"),
        ("max.connections.per.ip", "0"),
        ("connections.max.idle.ms", "1000"),
        ("queued.max.requests", "3"),
        // Two when the broker was started.
        ("num.network.threads", "5"),
        ("num.io.threads", "3"),
        ("metric.reporters", "a.B"),
    ] {
        assert_eq!(admin.alter_broker("1", &[(key, value)]), INVALID_REQUEST, "{key}");
    }
    assert!(is_served(&mut broker.client()));
}

#[test]
fn threads_come_and_go_and_connections_stay() {
    let broker = TestBroker::start(&[]);
    let mut clients: Vec<_> = (0..4).map(|_| broker.client()).collect();
    for threads in ["4", "2", "1", "2"] {
        let set = [("num.network.threads", threads)];
        assert_eq!(clients[0].alter_broker("", &set), 0, "{threads}");
        clients.push(broker.client());
        assert!(clients.iter_mut().all(is_served), "{threads}");
    }
}
