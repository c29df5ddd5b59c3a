use super::*;

fn limits() -> ConnectionLimits {
    let config = BrokerConfig::from_pairs(&[
        ("listeners", "PLAINTEXT://127.0.0.1:1,INNER://127.0.0.1:2"),
        (
            "listener.security.protocol.map",
            "PLAINTEXT:PLAINTEXT,INNER:PLAINTEXT",
        ),
        ("inter.broker.listener.name", "INNER"),
        ("max.connections", "4"),
        ("max.connections.per.ip", "2"),
        ("max.connections.per.ip.overrides", "127.0.0.2:1"),
        ("listener.name.inner.max.connections", "3"),
        ("max.connection.creation.rate", "7"),
        ("listener.name.plaintext.max.connection.creation.rate", "5"),
    ]);
    ConnectionLimits::new(&config.unwrap())
}

fn address(last: u8) -> IpAddr {
    IpAddr::from([127, 0, 0, last])
}

const PLAINTEXT: &str = "PLAINTEXT";
const INNER: &str = "INNER";

/// Takes a connection on a listener from an address, if there is room.
fn take(counts: &mut ConnectionCounts, listener: &str, last: u8) -> Option<Result<(), AddressFull>> {
    let room = counts.has_room(listener);
    room.then(|| counts.take(&Arc::from(listener), address(last)))
}

#[test]
fn limits_are_those_of_the_configuration() {
    let limits = limits();
    let of = |connections, creation_rate| ListenerLimits {
        connections,
        creation_rate,
    };
    // A listener without a bound of its own has the broker's.
    assert_eq!(limits.listeners[PLAINTEXT], of(4, 5));
    assert_eq!(limits.listeners[INNER], of(3, 7));
    assert_eq!(
        (limits.connections, limits.creation_rate, limits.window),
        (4, 7, Window::default())
    );
    let mapped: IpAddr = "::ffff:127.0.0.2".parse().unwrap();
    assert_eq!(limits.of_address(mapped.to_canonical()), 1);
    assert_eq!(limits.of_address(address(3)), 2);
}

#[test]
fn an_address_that_has_all_it_may_have_is_refused_and_others_are_not() {
    let mut counts = ConnectionCounts::new(limits());
    assert_eq!(take(&mut counts, PLAINTEXT, 1), Some(Ok(())));
    assert_eq!(take(&mut counts, INNER, 1), Some(Ok(())));
    assert_eq!(
        take(&mut counts, PLAINTEXT, 1),
        Some(Err(AddressFull { most: 2 }))
    );
    assert_eq!(take(&mut counts, PLAINTEXT, 2), Some(Ok(())));
    assert_eq!(
        take(&mut counts, PLAINTEXT, 2),
        Some(Err(AddressFull { most: 1 }))
    );
    assert_eq!(counts.all(), 3, "those refused are not counted");
    counts.give_back(INNER, address(1));
    assert_eq!(take(&mut counts, PLAINTEXT, 1), Some(Ok(())));
}

#[test]
fn a_full_broker_makes_others_wait_but_not_the_listener_of_brokers() {
    let mut counts = ConnectionCounts::new(limits());
    for last in 11..15 {
        assert_eq!(take(&mut counts, PLAINTEXT, last), Some(Ok(())));
    }
    assert_eq!(take(&mut counts, PLAINTEXT, 15), None);
    for last in 15..18 {
        assert_eq!(take(&mut counts, INNER, last), Some(Ok(())));
    }
    assert_eq!(take(&mut counts, INNER, 18), None, "its own bound holds");
    assert_eq!(counts.excess(), 3);
    assert!(counts.may_close(PLAINTEXT) && !counts.may_close(INNER));
    for last in 11..15 {
        counts.give_back(PLAINTEXT, address(last));
    }
    assert_eq!(counts.excess(), 0);
    assert_eq!(take(&mut counts, PLAINTEXT, 11), Some(Ok(())));
    assert_eq!(take(&mut counts, PLAINTEXT, 12), None);
}

#[test]
fn a_listener_alone_is_not_protected() {
    let config = BrokerConfig::from_pairs(&[("max.connections", "1")]).unwrap();
    let mut counts = ConnectionCounts::new(ConnectionLimits::new(&config));
    assert_eq!(take(&mut counts, PLAINTEXT, 1), Some(Ok(())));
    assert_eq!(take(&mut counts, PLAINTEXT, 1), None);
    assert!(counts.may_close(PLAINTEXT));
}

#[test]
fn bounds_that_change_hold_at_once() {
    let mut counts = ConnectionCounts::new(limits());
    for last in 11..15 {
        assert_eq!(take(&mut counts, PLAINTEXT, last), Some(Ok(())));
    }
    let mut changed = limits();
    changed.connections = 2;
    changed.connections_per_ip = 1;
    counts.change(changed.clone());
    assert_eq!(counts.excess(), 2);
    changed.connections = 9;
    counts.change(changed.clone());
    assert_eq!(take(&mut counts, PLAINTEXT, 15), None, "the listener's own bound");
    changed.listeners.get_mut(PLAINTEXT).unwrap().connections = 9;
    counts.change(changed);
    assert_eq!(take(&mut counts, PLAINTEXT, 15), Some(Ok(())));
    assert_eq!(
        take(&mut counts, PLAINTEXT, 15),
        Some(Err(AddressFull { most: 1 }))
    );
}

/// Waits that Kafka 3.9.2's sensors gave for connections at these times: limit, samples, seconds of a sample, waits.
#[rustfmt::skip]
const KAFKAS: &[(i32, usize, i64, [i64; 60])] = &[
    (1, 11, 1, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 485, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 307, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000]),
    (3, 2, 1, [0, 0, 0, 291, 385, 597, 868, 915, 852, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 0, 0, 0, 0, 0, 962, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000]),
    (2, 3, 2, [0, 0, 0, 0, 0, 0, 0, 0, 352, 735, 985, 1458, 1678, 2000, 2000, 2000, 2000, 2000, 2000, 2000, 2000, 2000, 2000, 2000, 2000, 2000, 2000, 2000, 2000, 2000, 2000, 2000, 2000, 2000, 2000, 2000, 2000, 2000, 2000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 33, 2000, 2000, 2000, 2000, 2000, 2000, 2000, 2000, 2000]),
    (0, 11, 1, [1000; 60]),
    (5, 11, 1, [0; 60]),
];

#[test]
fn rates_hold_back_as_kafkas_do() {
    for (limit, samples, seconds, kafkas) in KAFKAS {
        let mut rate = ConnectionRate::new(Window {
            samples: *samples,
            sample_ms: seconds * 1000,
        });
        let (mut now_ms, mut seed) = (1_000_000, 7_i64);
        let waits: Vec<_> = (0..60)
            .map(|at| {
                seed = (seed * 1_103_515_245 + 12_345) & 0x7fff_ffff;
                now_ms += if at % 40 == 39 { 15_000 } else { seed % 400 };
                rate.throttle_ms(now_ms, *limit)
            })
            .collect();
        assert_eq!(waits, kafkas, "{limit} a second");
    }
}

#[test]
fn the_slower_of_two_rates_counts_and_brokers_are_not_held_back_by_the_first() {
    let mut limits = limits();
    limits.creation_rate = 0;
    limits.listeners.get_mut(INNER).unwrap().creation_rate = i32::MAX;
    let mut counts = ConnectionCounts::new(limits.clone());
    assert_eq!(counts.throttle_ms(&Arc::from(PLAINTEXT), 5), 1000);
    assert_eq!(counts.throttle_ms(&Arc::from(INNER), 5), 0);
    limits.creation_rate = i32::MAX;
    limits.listeners.get_mut(INNER).unwrap().creation_rate = 0;
    counts.change(limits);
    assert_eq!(counts.throttle_ms(&Arc::from(PLAINTEXT), 5), 0);
    assert_eq!(counts.throttle_ms(&Arc::from(INNER), 5), 1000);
}

#[test]
fn the_bounds_of_the_broker_do_not_hold_for_the_listener_of_the_controller() {
    let config = BrokerConfig::from_pairs(&[
        ("listeners", "PLAINTEXT://h:1,INNER://h:2,CONTROL://h:3"),
        (
            "listener.security.protocol.map",
            "PLAINTEXT:PLAINTEXT,INNER:PLAINTEXT,CONTROL:PLAINTEXT",
        ),
        ("inter.broker.listener.name", "INNER"),
        ("control.plane.listener.name", "CONTROL"),
        ("max.connections", "2"),
    ]);
    let mut counts = ConnectionCounts::new(ConnectionLimits::new(&config.unwrap()));
    assert_eq!(take(&mut counts, PLAINTEXT, 1), Some(Ok(())));
    assert_eq!(take(&mut counts, PLAINTEXT, 1), Some(Ok(())));
    assert_eq!(take(&mut counts, PLAINTEXT, 1), None);
    for _ in 0..2 {
        assert_eq!(take(&mut counts, "CONTROL", 1), Some(Ok(())));
        assert_eq!(take(&mut counts, INNER, 1), Some(Ok(())));
    }
    assert_eq!(take(&mut counts, "CONTROL", 1), None, "its own bound holds");
    assert!(counts.may_close(PLAINTEXT) && !counts.may_close("CONTROL"));
}
