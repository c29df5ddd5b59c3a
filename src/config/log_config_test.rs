use super::*;

fn broker(pairs: &[(&str, &str)]) -> BrokerConfig {
    BrokerConfig::from_pairs(pairs).unwrap()
}

fn topic(broker: &BrokerConfig, pairs: &[(&str, &str)]) -> Result<LogConfig, ConfigError> {
    let overrides = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    LogConfig::new(broker, &overrides)
}

#[test]
fn a_topic_without_overrides_has_the_brokers_values() {
    let broker = broker(&[
        ("log.segment.bytes", "1000"),
        ("log.retention.hours", "1"),
        ("message.max.bytes", "5"),
        ("log.cleanup.policy", "compact,delete"),
        ("compression.type", "lz4"),
        ("log.message.timestamp.difference.max.ms", "8"),
    ]);
    let config = topic(&broker, &[]).unwrap();
    assert_eq!(config.segment_bytes, 1000);
    assert_eq!(config.retention_ms, 3_600_000);
    assert_eq!(config.max_message_bytes, 5);
    assert!(config.compact && config.delete);
    assert_eq!(config.compression, Some(Codec::Lz4));
    assert_eq!(config.message_timestamp_before_max_ms, 8);
    assert_eq!(config.message_timestamp_after_max_ms, 8);
}

#[test]
fn every_topic_key_is_read() {
    // A key that `set` forgot would leave the config as it was.
    let broker = broker(&[]);
    let plain = topic(&broker, &[]).unwrap();
    for key in crate::config::table::topic_keys() {
        let (name, value) = match key.name {
            name @ "cleanup.policy" => (name, "compact"),
            name @ "compression.type" => (name, "zstd"),
            name @ "message.timestamp.type" => (name, "LogAppendTime"),
            name @ ("preallocate" | "unclean.leader.election.enable") => (name, "true"),
            name @ "message.downconversion.enable" => (name, "false"),
            name @ "min.cleanable.dirty.ratio" => (name, "0.25"),
            name if key.kind == crate::config::table::Kind::List
                || name.starts_with("remote.")
                || name.starts_with("local.")
                || name == "message.format.version" =>
            {
                continue;
            }
            name @ "compression.gzip.level" => (name, "5"),
            name => (name, "15"),
        };
        assert_ne!(
            topic(&broker, &[(name, value)]).unwrap_or_else(|error| panic!("{error}")),
            plain,
            "{name}"
        );
    }
}

#[test]
fn unknown_keys_bad_values_and_contradictions_are_refused() {
    let broker = broker(&[]);
    for (pairs, text) in [
        (&[("no.such", "1")][..], "no.such: is not a config of a topic"),
        (
            &[("segment.bytes", "13")],
            "segment.bytes=13: must be at least 14",
        ),
        (&[("retention.ms", "-2")], "retention.ms=-2: must be at least -1"),
        (
            &[("cleanup.policy", "compact,drop")],
            "cleanup.policy=compact,drop: each item must be one of compact, delete",
        ),
        (
            &[("min.compaction.lag.ms", "2"), ("max.compaction.lag.ms", "1")],
            "min.compaction.lag.ms=2: must not be above max.compaction.lag.ms, which is 1",
        ),
        (
            &[("remote.storage.enable", "true")],
            "remote.storage.enable=true: tiered storage is not there",
        ),
    ] {
        assert_eq!(topic(&broker, pairs).unwrap_err().to_string(), text);
    }
    assert!(topic(&broker, &[("remote.storage.enable", "false")]).is_ok());
    // The broker's bound counts too.
    let bounded = self::broker(&[("log.cleaner.max.compaction.lag.ms", "5")]);
    assert!(topic(&bounded, &[("min.compaction.lag.ms", "6")]).is_err());
}

#[test]
fn the_older_bound_of_timestamps_holds_where_the_newer_is_not_set() {
    let broker = broker(&[]);
    let config = topic(
        &broker,
        &[
            ("message.timestamp.difference.max.ms", "5"),
            ("message.timestamp.after.max.ms", "6"),
        ],
    )
    .unwrap();
    assert_eq!(config.message_timestamp_before_max_ms, 5);
    assert_eq!(config.message_timestamp_after_max_ms, 6);
}

#[test]
fn stored_configs_that_are_bad_are_left_out_and_told() {
    let broker = broker(&[]);
    let overrides = BTreeMap::from([
        ("segment.bytes".to_owned(), "x".to_owned()),
        ("retention.ms".to_owned(), "9".to_owned()),
        ("gone.in.4".to_owned(), "1".to_owned()),
        ("min.compaction.lag.ms".to_owned(), "2".to_owned()),
        ("max.compaction.lag.ms".to_owned(), "1".to_owned()),
    ]);
    let (config, errors) = LogConfig::lenient(&broker, &overrides);
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert_eq!(config.retention_ms, 9);
    assert_eq!(config.segment_bytes, 1 << 30);
    assert_eq!(config.min_compaction_lag_ms, 0);
}

#[test]
fn compaction_bounds_the_age_of_a_segment() {
    let mut config = LogConfig {
        max_compaction_lag_ms: 5,
        ..LogConfig::default()
    };
    assert_eq!(config.max_segment_ms(), config.segment_ms);
    config.compact = true;
    assert_eq!(config.max_segment_ms(), 5);
}
