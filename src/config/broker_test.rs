use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::config::{ReplicaSelector, properties};

fn config(pairs: &[(&str, &str)]) -> BrokerConfig {
    BrokerConfig::from_pairs(pairs).unwrap()
}

fn error(pairs: &[(&str, &str)]) -> String {
    BrokerConfig::from_pairs(pairs).unwrap_err().to_string()
}

fn file(text: &str) -> Sources {
    Sources {
        file: Some(properties::parse(text.as_bytes()).unwrap()),
        host_name: "box.example".to_owned(),
        ..Sources::default()
    }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn warned(loaded: &Loaded) -> Vec<&str> {
    let warnings = loaded.warnings.iter();
    warnings.map(|warning| warning.key.as_str()).collect()
}

#[test]
fn nothing_configured_is_a_broker_on_loopback_with_data_beside_it() {
    let loaded = BrokerConfig::load(&Sources::default()).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let config = loaded.config;
    assert_eq!(config.listeners()[0].to_string(), "PLAINTEXT://127.0.0.1:9092");
    assert_eq!(config.advertised_listeners(), config.listeners());
    assert_eq!(config.inter_broker_listener(), "PLAINTEXT");
    assert_eq!(config.log_directories(), [Path::new("data")]);
    for name in [
        "offsets.topic.replication.factor",
        "transaction.state.log.replication.factor",
        "transaction.state.log.min.isr",
    ] {
        let value = config.value(table::broker_key(name).unwrap());
        assert_eq!(value.shown().as_deref(), Some("1"), "{name}");
    }
    assert_eq!(*config.log_defaults(), LogConfig::default());
}

#[test]
fn with_a_file_kafkas_defaults_hold_for_listeners_and_directories() {
    let config = BrokerConfig::load(&file("broker.id=3")).unwrap().config;
    assert_eq!(config.listeners()[0].to_string(), "PLAINTEXT://:9092");
    assert_eq!(
        config.advertised_listeners()[0].to_string(),
        "PLAINTEXT://box.example:9092"
    );
    assert_eq!(config.log_directories(), [Path::new("/tmp/kafka-logs")]);
    assert_eq!(config.broker_id, 3);
}

#[test]
fn the_last_of_two_values_wins_and_the_command_line_above_all() {
    let mut sources = file("num.partitions=2\nnum.partitions=3\nfetch.max.bytes=2048");
    sources
        .overrides
        .push(("fetch.max.bytes".to_owned(), "4096".to_owned()));
    let config = BrokerConfig::load(&sources).unwrap().config;
    assert_eq!(config.num_partitions, 3);
    assert_eq!(config.fetch_max_bytes, 4096);
}

#[test]
fn the_finer_unit_wins() {
    let config = config(&[
        ("log.retention.hours", "1"),
        ("log.retention.minutes", "2"),
        ("log.roll.hours", "3"),
        ("log.roll.jitter.hours", "1"),
        ("log.flush.scheduler.interval.ms", "77"),
    ]);
    assert_eq!(config.retention_ms(), 120_000);
    assert_eq!(config.roll_ms(), 3 * 3_600_000);
    assert_eq!(config.roll_jitter_ms(), 3_600_000);
    assert_eq!(config.flush_interval_ms(), 77);
    assert_eq!(config.log_defaults().retention_ms, 120_000);
    assert_eq!(
        self::config(&[("log.retention.ms", "5"), ("log.retention.hours", "1")]).retention_ms(),
        5
    );
    assert_eq!(self::config(&[("log.retention.hours", "-7")]).retention_ms(), -1);
}

#[test]
fn log_directories_are_a_list_without_doubles() {
    assert_eq!(
        config(&[("log.dirs", "/a, /b"), ("log.dir", "/c")]).log_directories(),
        [Path::new("/a"), Path::new("/b")]
    );
    assert_eq!(
        error(&[("log.dirs", "/a,/b,/a")]),
        "log.dirs=/a,/b,/a: /a comes twice"
    );
    assert_eq!(
        error(&[("log.dirs", " ,")]),
        "log.dirs=,: must name at least one directory"
    );
}

#[test]
fn a_bad_value_is_one_line_with_key_value_and_rule() {
    assert_eq!(
        error(&[("num.partitions", "0")]),
        "num.partitions=0: must be at least 1"
    );
    assert_eq!(error(&[("num.partitions", "many\nlines")]).lines().count(), 1);
    let sources = file("num.partitions=x\nlog.segment.bytes=13");
    let errors = BrokerConfig::load(&sources).unwrap_err();
    assert_eq!(errors.len(), 2, "{errors:?}");
}

#[test]
fn kraft_stops_the_start_and_zookeeper_means_a_cluster() {
    let sources = file("zookeeper.connect=zk:2181/kafka");
    let config = BrokerConfig::load(&sources).unwrap().config;
    assert_eq!(config.zookeeper_connect(), Some("zk:2181/kafka"));
    assert_eq!(
        config.offsets_topic_replication_factor, 3,
        "as Kafka in a cluster"
    );
    let alone = BrokerConfig::load(&file("zookeeper.connect=")).unwrap().config;
    assert_eq!(alone.zookeeper_connect(), None);
    assert_eq!(alone.offsets_topic_replication_factor, 1);
    for key in [
        "process.roles",
        "controller.quorum.voters",
        "controller.quorum.fetch.timeout.ms",
    ] {
        for standalone in [false, true] {
            let sources = Sources {
                overrides: vec![(key.to_owned(), "1".to_owned())],
                standalone,
                ..Sources::default()
            };
            assert_eq!(BrokerConfig::load(&sources).unwrap_err()[0].key, key);
        }
    }
    let socket = "zookeeper.clientCnxnSocket=org.apache.zookeeper.ClientCnxnSocketNetty";
    let errors = BrokerConfig::load(&file(&format!("zookeeper.connect=zk\n{socket}"))).unwrap_err();
    assert!(
        errors
            .iter()
            .any(|error| error.key == "zookeeper.clientCnxnSocket"),
        "{errors:?}"
    );
    assert_eq!(
        warned(&BrokerConfig::load(&file(socket)).unwrap()),
        ["zookeeper.clientCnxnSocket"]
    );
    let mut sources = file("zookeeper.connect=zk:2181\nzookeeper.session.timeout.ms=1");
    sources.standalone = true;
    let loaded = BrokerConfig::load(&sources).unwrap();
    assert!(loaded.config.standalone());
    assert_eq!(loaded.config.zookeeper_connect(), None);
    assert_eq!(loaded.config.offsets_topic_replication_factor, 1);
    assert_eq!(
        warned(&loaded),
        ["zookeeper.connect", "zookeeper.session.timeout.ms"]
    );
}

#[test]
fn unsafe_keys_are_refused_unless_they_say_what_holds_anyway() {
    for (key, bad) in [
        ("authorizer.class.name", "kafka.security.authorizer.AclAuthorizer"),
        ("ssl.keystore.location", "/k"),
        ("ssl.client.auth", "required"),
        ("sasl.enabled.mechanisms", "PLAIN"),
        ("delegation.token.secret.key", "swordfish"),
        ("remote.log.storage.system.enable", "true"),
        ("inter.broker.protocol.version", "2.8"),
        ("create.topic.policy.class.name", "a.B"),
        ("replica.selector.class", "a.B"),
        ("listener.name.plaintext.sasl.enabled.mechanisms", "PLAIN"),
        ("config.providers", "file"),
        ("zookeeper.set.acl", "true"),
        ("zookeeper.ssl.client.enable", "true"),
        ("zookeeper.ssl.keystore.location", "/k"),
        ("zookeeper.ssl.truststore.password", "swordfish"),
        ("zookeeper.ssl.endpoint.identification.algorithm", ""),
    ] {
        assert!(BrokerConfig::from_pairs(&[(key, bad)]).is_err(), "{key}");
    }
    for (key, good) in [
        ("authorizer.class.name", ""),
        ("ssl.client.auth", "none"),
        ("sasl.enabled.mechanisms", "GSSAPI"),
        ("remote.log.storage.system.enable", "FALSE"),
        ("inter.broker.protocol.version", "3.9"),
        ("security.inter.broker.protocol", "PLAINTEXT"),
        ("zookeeper.set.acl", "false"),
        ("zookeeper.ssl.protocol", "TLSv1.2"),
    ] {
        assert!(BrokerConfig::from_pairs(&[(key, good)]).is_ok(), "{key}");
    }
}

#[test]
fn what_has_no_effect_is_warned_about_by_name() {
    let loaded = BrokerConfig::load(&file(
        "num.io.threads=9\nno.such.key=1\nbackground.threads=10\nmax.connections=5",
    ))
    .unwrap();
    assert_eq!(warned(&loaded), ["no.such.key", "num.io.threads"]);
    let sources = file(
        "zookeeper.connection.timeout.ms=1\nzookeeper.max.in.flight.requests=10\ntransaction.state.log.min.isr=7\n\
        transaction.max.timeout.ms=900000\ntransaction.state.log.load.buffer.size=7",
    );
    // A default is no wish for anything.
    assert_eq!(
        warned(&BrokerConfig::load(&sources).unwrap()),
        [
            "transaction.state.log.load.buffer.size",
            "zookeeper.connection.timeout.ms"
        ]
    );
}

#[test]
fn secrets_are_shown_nowhere() {
    let errors = BrokerConfig::load(&file(
        "ssl.key.password=swordfish\nlistener.name.a.ssl.key.password=swordfish\n\
        listener.name.a.plain.sasl.jaas.config=swordfish\nunknown.secret=swordfish\nnum.partitions=0",
    ))
    .unwrap_err();
    assert_eq!(errors.len(), 4, "{errors:?}");
    assert!(!format!("{errors:?}").contains("swordfish"));
    let loaded = BrokerConfig::load(&file(
        "unknown.secret=swordfish\npassword.encoder.secret=swordfish",
    ))
    .unwrap();
    assert!(!format!("{loaded:?}").contains("swordfish"));
    assert_eq!(loaded.warnings.len(), 2);
}

/// One of the two was not set.
#[test]
fn a_bad_number_of_the_broker_is_told_once() {
    let told = |text: &str| -> Vec<String> {
        let errors = BrokerConfig::load(&file(text)).unwrap_err();
        errors.into_iter().map(|error| error.key).collect()
    };
    assert_eq!(told("broker.id=x"), ["broker.id"]);
    assert_eq!(told("node.id=x"), ["node.id"]);
    assert_eq!(told("broker.id=x\nnum.partitions=y").len(), 2);
    assert_eq!(told("broker.id=x\nnode.id=y"), ["broker.id", "node.id"]);
    assert_eq!(told("node.id=1001"), ["broker.id"], "as Kafka names it");
}

#[test]
fn contradictions_are_refused() {
    for pairs in [
        &[("broker.id", "1001")][..],
        &[("broker.id", "-2")],
        &[("broker.id", "1"), ("node.id", "2")],
        &[("broker.id.generation.enable", "false")],
        &[("log.roll.ms", "0")],
        &[("log.roll.jitter.ms", "-1")],
        &[("log.retention.ms", "0")],
        &[("queued.max.request.bytes", "1000")],
        &[("max.connections.per.ip", "0")],
        &[("connections.max.idle.ms", "100")],
        &[
            ("log.cleaner.min.compaction.lag.ms", "2"),
            ("log.cleaner.max.compaction.lag.ms", "1"),
        ],
        &[("replica.fetch.wait.max.ms", "40000")],
        &[("log.cleaner.threads", "0")],
        &[("log.cleaner.threads", "128")],
        &[("offsets.commit.required.acks", "-2")],
        &[("offsets.commit.required.acks", "4")],
        &[
            ("offsets.commit.required.acks", "2"),
            ("offsets.topic.replication.factor", "1"),
        ],
        &[("offsets.topic.compression.codec", "9")],
        &[("offsets.topic.compression.codec", "-1")],
        &[("group.consumer.heartbeat.interval.ms", "1")],
        &[("group.consumer.heartbeat.interval.ms", "16000")],
        &[("group.consumer.session.timeout.ms", "1")],
        &[("group.consumer.max.heartbeat.interval.ms", "1")],
        &[("group.consumer.min.session.timeout.ms", "70000")],
        &[("group.share.heartbeat.interval.ms", "1")],
        &[("group.share.session.timeout.ms", "60001")],
        &[
            ("group.share.record.lock.duration.ms", "60000"),
            ("group.share.max.record.lock.duration.ms", "59999"),
        ],
        &[("group.coordinator.rebalance.protocols", "share")],
        &[("group.coordinator.rebalance.protocols", "classic,consumer")],
        &[("early.start.listeners", "X")],
        &[("early.start.listeners", "plaintext")],
        &[("metrics.recording.level", "LOUD")],
        &[("max.connections.per.ip.overrides", "host.example:3")],
        &[("max.connections.per.ip.overrides", "127.0.0.1")],
    ] {
        assert!(BrokerConfig::from_pairs(pairs).is_err(), "{pairs:?}");
    }
    assert_eq!(config(&[("node.id", "7")]).broker_id, 7);
    for pairs in [
        // Kafka's default is three replicas; that ours is one bounds nobody.
        &[("offsets.commit.required.acks", "3")][..],
        &[("offsets.topic.compression.codec", "4")],
        &[
            ("group.share.min.heartbeat.interval.ms", "1"),
            ("group.share.heartbeat.interval.ms", "1"),
        ],
        &[("group.coordinator.rebalance.protocols", "classic,share")],
        &[("early.start.listeners", " PLAINTEXT ,")],
        &[("metrics.recording.level", "debug")],
    ] {
        assert!(BrokerConfig::from_pairs(pairs).is_ok(), "{pairs:?}");
    }
}

#[test]
fn a_contradiction_names_the_key_that_was_set() {
    assert_eq!(
        error(&[("group.consumer.min.session.timeout.ms", "70000")]),
        "group.consumer.min.session.timeout.ms=70000: must be at most group.consumer.max.session.timeout.ms, which is 60000"
    );
    assert_eq!(
        error(&[("group.consumer.session.timeout.ms", "1")]),
        "group.consumer.session.timeout.ms=1: must be at least group.consumer.min.session.timeout.ms, which is 45000"
    );
}

#[test]
fn what_kafkas_broker_does_not_look_at_stops_no_start() {
    let loaded = BrokerConfig::load(&file(
        "listener.name.x.max.connections=many\nlistener.name.PLAINTEXT.num.partitions=x\n\
        leader.replication.throttled.rate=fast\nallow.everyone.if.no.acl.found=perhaps",
    ))
    .unwrap();
    assert_eq!(
        warned(&loaded),
        [
            "allow.everyone.if.no.acl.found",
            "leader.replication.throttled.rate",
            "listener.name.PLAINTEXT.num.partitions",
            "listener.name.x.max.connections",
        ]
    );
    for key in ["max.connections", "num.network.threads", "num.partitions"] {
        let key = format!("listener.name.plaintext.{key}");
        assert!(BrokerConfig::from_pairs(&[(&key, "x")]).is_err(), "{key}");
    }
    // What is set while the broker runs is looked at, for any listener.
    let bad = map(&[("listener.name.x.max.connections", "many")]);
    assert!(loaded.config.with_dynamic(&map(&[]), &bad).is_err());
    let bad = map(&[("leader.replication.throttled.rate", "fast")]);
    assert!(loaded.config.with_dynamic(&bad, &map(&[])).is_err());
}

#[test]
fn limits_of_addresses_and_listeners() {
    let config = config(&[
        ("max.connections.per.ip", "10"),
        (
            "max.connections.per.ip.overrides",
            "10.0.0.1:1, localhost:2,::2:3",
        ),
        ("listener.name.plaintext.max.connections", "4"),
    ]);
    let limits = config.address_limits().iter();
    let limits: Vec<_> = limits
        .map(|(address, limit)| (address.to_string(), *limit))
        .collect();
    let limit = |address: &str, limit| (address.to_owned(), limit);
    assert_eq!(
        limits,
        [
            limit("10.0.0.1", 1),
            limit("127.0.0.1", 2),
            limit("::1", 2),
            limit("::2", 3)
        ]
    );
    assert_eq!(config.max_connections_on("PLAINTEXT"), Some(4));
    assert_eq!(config.max_connections_on("OTHER"), None);
}

#[test]
fn dynamic_configs_lie_above_static_ones_and_can_be_taken_back() {
    let plain = config(&[("log.retention.minutes", "1"), ("log.segment.bytes", "1000")]);
    let changed = plain
        .with_dynamic(
            &map(&[("log.retention.ms", "7"), ("log.segment.bytes", "2000")]),
            &map(&[("log.segment.bytes", "3000")]),
        )
        .unwrap();
    assert_eq!(changed.retention_ms(), 7);
    assert_eq!(changed.log_defaults().segment_bytes, 3000);
    let back = changed.with_dynamic(&map(&[]), &map(&[])).unwrap();
    assert_eq!(back.retention_ms(), 60_000);
    assert_eq!(back.log_defaults().segment_bytes, 1000);
}

#[test]
fn dynamic_configs_keep_to_their_scope() {
    let plain = config(&[]);
    let none = map(&[]);
    for bad in [
        map(&[("num.partitions", "3")]),
        map(&[("log.segment.bytes", "1")]),
        map(&[("ssl.keystore.type", "JKS")]),
        map(&[("zookeeper.connect", "x")]),
        map(&[("broker.id", "2")]),
    ] {
        assert!(plain.with_dynamic(&bad, &none).is_err(), "{bad:?}");
        assert!(plain.with_dynamic(&none, &bad).is_err(), "{bad:?}");
    }
    let listeners = map(&[("advertised.listeners", "PLAINTEXT://elsewhere:1")]);
    assert!(plain.with_dynamic(&listeners, &none).is_err());
    let moved = plain.with_dynamic(&none, &listeners).unwrap();
    assert_eq!(
        moved.advertised_listeners()[0].to_string(),
        "PLAINTEXT://elsewhere:1"
    );
    assert!(plain.with_dynamic(&map(&[("their.own", "1")]), &none).is_ok());
}

#[test]
fn reporters_cannot_be_added_while_the_broker_runs() {
    let plain = config(&[("metric.reporters", "a.Reporter")]);
    let none = map(&[]);
    let more = map(&[("metric.reporters", "a.Reporter,another.Reporter")]);
    assert!(plain.with_dynamic(&more, &none).is_err());
    assert!(plain.with_dynamic(&none, &more).is_err());
    assert!(
        plain
            .with_dynamic(&none, &map(&[("metric.reporters", "")]))
            .is_ok()
    );
}

#[test]
fn no_listener_is_shut_by_a_dynamic_bound_of_none() {
    let plain = config(&[("listener.name.plaintext.max.connections", "9")]);
    let with = |all: &[(&str, &str)], own: &[(&str, &str)]| plain.with_dynamic(&map(all), &map(own));
    for key in [
        "max.connection.creation.rate",
        "listener.name.plaintext.max.connection.creation.rate",
        "listener.name.plaintext.max.connections",
    ] {
        assert!(with(&[], &[(key, "0")]).is_err(), "{key}");
        assert!(with(&[(key, "0")], &[]).is_err(), "{key}");
        let changed = with(&[(key, "1")], &[]).unwrap();
        assert!(changed.max_connections_on("PLAINTEXT").is_some());
    }
    // The listener has its own.
    assert!(with(&[("max.connections", "0")], &[]).is_ok());
    assert!(
        config(&[])
            .with_dynamic(&map(&[("max.connections", "0")]), &map(&[]))
            .is_err()
    );
    // What was set at the start and does not change is no matter.
    let shut = config(&[("max.connections", "0")]);
    assert!(
        shut.with_dynamic(&map(&[("message.max.bytes", "7")]), &map(&[]))
            .is_ok()
    );
}

#[test]
fn threads_are_at_most_doubled_or_halved_at_once() {
    let plain = config(&[("num.network.threads", "3")]);
    let with = |key: &str, value: &str| plain.with_dynamic(&map(&[(key, value)]), &map(&[]));
    for (key, good, bad) in [
        ("num.network.threads", ["1", "6"], ["0", "7"]),
        ("num.io.threads", ["4", "16"], ["3", "17"]),
        ("num.replica.fetchers", ["1", "2"], ["0", "3"]),
        ("num.recovery.threads.per.data.dir", ["1", "2"], ["0", "3"]),
        ("background.threads", ["5", "20"], ["4", "21"]),
        ("log.cleaner.threads", ["1", "2"], ["0", "3"]),
    ] {
        assert!(good.iter().all(|value| with(key, value).is_ok()), "{key}");
        assert!(bad.iter().all(|value| with(key, value).is_err()), "{key}");
    }
    // From what holds now, not from what held at the start.
    let more = with("num.network.threads", "6").unwrap();
    let changed = more.with_dynamic(&map(&[("num.network.threads", "12")]), &map(&[]));
    assert_eq!(changed.unwrap().num_network_threads, 12);
    // What is stored already is not asked how it came there.
    let (stored, errors) = plain.with_stored_dynamic(&map(&[("num.network.threads", "9")]), &map(&[]));
    assert_eq!((stored.num_network_threads, errors.len()), (9, 0));
}

#[test]
fn stored_dynamic_configs_never_stop_a_start() {
    let plain = config(&[]);
    let (config, errors) = plain.with_stored_dynamic(
        &map(&[
            ("log.segment.bytes", "1"),
            ("log.retention.ms", "9"),
            ("num.partitions", "2"),
            ("log.roll.ms", "0"),
        ]),
        &map(&[("listeners", "nonsense"), ("message.max.bytes", "77")]),
    );
    assert_eq!(errors.len(), 4, "{errors:?}");
    assert_eq!(config.retention_ms(), 9);
    assert_eq!(config.message_max_bytes, 77);
    assert_eq!(config.listeners(), plain.listeners());
}

#[test]
fn the_cleaners_threads_change_by_a_factor_of_two_at_a_time() {
    let before = config(&[("log.cleaner.threads", "4")]);
    for (threads, may) in [("1", false), ("2", true), ("8", true), ("9", false), ("0", false)] {
        let changed = before.with_dynamic(&map(&[("log.cleaner.threads", threads)]), &map(&[]));
        assert_eq!(changed.is_ok(), may, "{threads}");
    }
    // Another start takes what is stored as it is.
    let (started, errors) = before.with_stored_dynamic(&map(&[("log.cleaner.threads", "1")]), &map(&[]));
    assert_eq!((started.log_cleaner_threads, errors.len()), (1, 0));
}

#[test]
fn the_listener_of_the_controller_is_an_advertised_one_that_brokers_do_not_use_for_the_rest() {
    let with = |name: &str, advertised: &str| {
        BrokerConfig::from_pairs(&[
            ("listeners", "PLAINTEXT://h:1,CONTROL://h:2,MORE://h:3"),
            ("advertised.listeners", advertised),
            (
                "listener.security.protocol.map",
                "PLAINTEXT:PLAINTEXT,CONTROL:PLAINTEXT,MORE:PLAINTEXT",
            ),
            ("control.plane.listener.name", name),
        ])
    };
    let all = "PLAINTEXT://h:1,CONTROL://h:2,MORE://h:3";
    let named = with("control", all).unwrap();
    assert_eq!(named.control_plane_listener(), Some("CONTROL"));
    assert_eq!(named.controller_listener(), "CONTROL");
    let none = with("", all).unwrap();
    assert_eq!(none.control_plane_listener(), None);
    assert_eq!(none.controller_listener(), "PLAINTEXT");
    for (name, advertised, why) in [
        ("OTHER", all, "has no entry"),
        (
            "MORE",
            "PLAINTEXT://h:1,CONTROL://h:2",
            "must be one of the advertised",
        ),
        (
            "plaintext",
            all,
            "must not be the listener of inter.broker.listener.name",
        ),
    ] {
        let error = with(name, advertised).unwrap_err();
        assert_eq!(error.key, "control.plane.listener.name");
        assert!(error.to_string().contains(why), "{error}");
    }
    // Nor can it be taken away while the broker runs.
    let without = map(&[("advertised.listeners", "PLAINTEXT://h:1")]);
    assert!(named.with_dynamic(&map(&[]), &without).is_err());
}

#[test]
fn a_broker_that_stands_alone_must_be_a_candidate() {
    let candidate = |value| ("controller.candidate", value);
    assert!(config(&[candidate("true")]).controller_candidate);
    let refused = error(&[candidate("False")]);
    assert!(refused.starts_with("controller.candidate=False: "), "{refused}");
    assert!(!refused.contains('\n'));
    let in_cluster = config(&[candidate("false"), ("zookeeper.connect", "h:1")]);
    assert!(!in_cluster.controller_candidate);
}

#[test]
fn replica_selectors_are_known_by_their_names() {
    let key = "replica.selector.class";
    for (class, selector) in [
        ("", ReplicaSelector::Leader),
        (
            "org.apache.kafka.common.replica.LeaderSelector",
            ReplicaSelector::Leader,
        ),
        (
            " org.apache.kafka.common.replica.RackAwareReplicaSelector ",
            ReplicaSelector::RackAware,
        ),
    ] {
        assert_eq!(
            config(&[(key, class)]).replica_selector_class,
            selector,
            "{class}"
        );
    }
    assert_eq!(config(&[]).replica_selector_class, ReplicaSelector::Leader);
    for dynamic in [true, false] {
        let class = "com.example.Nearest";
        let refused = match dynamic {
            true => config(&[])
                .with_dynamic(&map(&[]), &map(&[(key, class)]))
                .is_err(),
            false => error(&[(key, class)]).starts_with("replica.selector.class=com.example.Nearest: "),
        };
        assert!(refused, "{dynamic}");
    }
}

#[test]
fn of_two_times_that_contradict_each_other_the_one_that_was_set_is_named() {
    const IDLE: (&str, &str) = ("connections.max.idle.ms", "0");
    const DELAY: (&str, &str) = ("connection.failed.authentication.delay.ms", "600000");
    for (pairs, named) in [
        (&[IDLE][..], IDLE.0),
        (&[DELAY], DELAY.0),
        (&[IDLE, DELAY], DELAY.0),
    ] {
        let error = BrokerConfig::from_pairs(pairs).unwrap_err().to_string();
        assert!(error.starts_with(named), "{error}");
    }
}
