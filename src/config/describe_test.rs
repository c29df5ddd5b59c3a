use super::*;
use crate::config::table::When;
use crate::config::{Sources, properties};

/// The set-up of the broker whose answers are in the golden file.
const PROPERTIES: &str = "broker.id=0\nlisteners=PLAINTEXT://127.0.0.1:23092\nadvertised.listeners=PLAINTEXT://127.0.0.1:23092\n\
    zookeeper.connect=127.0.0.1:23181\nlog.dirs=/data\noffsets.topic.replication.factor=1\n\
    transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\ngroup.initial.rebalance.delay.ms=0\n\
    log.retention.hours=5\nlog.roll.ms=1000000\nunknown.key=x\nnum.io.threads=3\n\
    listener.name.plaintext.max.connections=55\npassword.encoder.secret=abc\n\
    log.message.timestamp.difference.max.ms=999999\nlog.cleaner.min.cleanable.ratio=0.50\n\
    log.cleanup.policy=compact, delete\nlog.initial.task.delay.ms=31000\nauto.create.topics.enable=FALSE\n";

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn config() -> BrokerConfig {
    let sources = Sources {
        file: Some(properties::parse(PROPERTIES.as_bytes()).unwrap()),
        standalone: true,
        ..Sources::default()
    };
    let config = BrokerConfig::load(&sources).unwrap().config;
    let cluster_wide = map(&[("log.segment.bytes", "2000000"), ("log.retention.ms", "123456")]);
    let per_broker = map(&[
        ("log.segment.bytes", "3000000"),
        ("leader.replication.throttled.rate", "1000"),
    ]);
    config.with_dynamic(&cluster_wide, &per_broker).unwrap()
}

fn source(source: Source) -> &'static str {
    match source {
        Source::Topic => "DYNAMIC_TOPIC_CONFIG",
        Source::DynamicBroker => "DYNAMIC_BROKER_CONFIG",
        Source::DynamicDefaultBroker => "DYNAMIC_DEFAULT_BROKER_CONFIG",
        Source::StaticBroker => "STATIC_BROKER_CONFIG",
        Source::Default => "DEFAULT_CONFIG",
        Source::DynamicBrokerLogger => "DYNAMIC_BROKER_LOGGER_CONFIG",
    }
}

fn kind(kind: Option<Kind>) -> String {
    match kind {
        None => "UNKNOWN".to_owned(),
        Some(Kind::Text) => "STRING".to_owned(),
        Some(kind) => format!("{kind:?}").to_uppercase(),
    }
}

fn lines(resource: &str, entries: &[Entry]) -> Vec<String> {
    let text = |value: &Option<String>| value.clone().unwrap_or("null".to_owned());
    entries
        .iter()
        .map(|entry| {
            let synonyms: Vec<_> = entry
                .synonyms
                .iter()
                .map(|synonym| {
                    format!(
                        "{}:{}={}",
                        source(synonym.source),
                        synonym.name,
                        text(&synonym.value)
                    )
                })
                .collect();
            [
                resource,
                &entry.name,
                &text(&entry.value),
                source(entry.source),
                &kind(entry.kind),
                if entry.read_only { "ro" } else { "rw" },
                if entry.sensitive { "secret" } else { "open" },
                &synonyms.join(" "),
            ]
            .join("\t")
        })
        .collect()
}

#[test]
fn configs_are_shown_as_kafka_shows_them() {
    let config = config();
    let golden = include_str!("../../tests/golden/describe-configs-3.9.2.tsv");
    let overrides = map(&[
        ("retention.ms", "77"),
        ("cleanup.policy", "compact"),
        ("segment.bytes", "100000"),
    ]);
    for (resource, entries) in [
        ("b0", broker(&config)),
        ("bd", all_brokers(&config)),
        ("plain", topic(&config, &BTreeMap::new())),
        ("over", topic(&config, &overrides)),
    ] {
        let prefix = format!("{resource}\t");
        let theirs: Vec<&str> = golden.lines().filter(|line| line.starts_with(&prefix)).collect();
        let ours: Vec<String> = lines(resource, &entries)
            .into_iter()
            .filter(|line| {
                let key = line.split('\t').nth(1).and_then(table::broker_key);
                key.is_none_or(|key| key.origin != table::KeyOrigin::Barnabas)
            })
            .map(with_kafkas_defaults)
            .collect();
        assert!(!theirs.is_empty());
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs);
        }
        assert_eq!(ours.len(), theirs.len());
    }
}

/// The line with Kafka's default where ours is another.
fn with_kafkas_defaults(line: String) -> String {
    let name = line.split('\t').nth(1).unwrap();
    let Some(key) = table::broker_key(name)
        .filter(|key| key.deviation.is_some_and(|ours| ours.when != When::WithoutFile))
    else {
        return line;
    };
    let (ours, theirs) = (key.deviation.unwrap().default.unwrap(), key.default.unwrap());
    let synonym = format!("DEFAULT_CONFIG:{name}={ours}");
    assert!(line.ends_with(&synonym));
    line.replace(&synonym, &format!("DEFAULT_CONFIG:{name}={theirs}"))
        .replace(
            &format!("\t{name}\t{ours}\tDEFAULT_CONFIG\t"),
            &format!("\t{name}\t{theirs}\tDEFAULT_CONFIG\t"),
        )
}

#[test]
fn secrets_are_not_shown() {
    let sources = Sources {
        overrides: vec![
            ("password.encoder.secret".to_owned(), "swordfish".to_owned()),
            ("unknown.key".to_owned(), "swordfish".to_owned()),
        ],
        ..Sources::default()
    };
    let config = BrokerConfig::load(&sources).unwrap().config;
    assert!(!format!("{:?}", broker(&config)).contains("swordfish"));
    let config = config
        .with_dynamic(&map(&[("their.own", "swordfish")]), &map(&[]))
        .unwrap();
    assert!(!format!("{:?}", all_brokers(&config)).contains("swordfish"));
    assert!(!format!("{:?}", topic(&config, &map(&[("their.own", "swordfish")]))).contains("swordfish"));
}

#[test]
fn internal_keys_and_log_levels_are_not_listed_unless_set() {
    let plain = BrokerConfig::from_pairs(&[]).unwrap();
    let names: Vec<_> = broker(&plain).into_iter().map(|entry| entry.name).collect();
    assert!(!names.iter().any(|name| name == "log.initial.task.delay.ms"));
    assert!(
        !names
            .iter()
            .any(|name| name == "leader.replication.throttled.rate")
    );
    assert!(names.iter().any(|name| name == "log.dir.stall.ms"));
}
