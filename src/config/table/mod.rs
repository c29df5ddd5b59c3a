//! The table of keys: every config that a Kafka 3.9.2 broker or topic has, and what Barnabas makes of it.
//!
//! One row a key, in one file a subject. The rows of a file are sorted by name, which look-ups rely on. Read by the
//! rest of `config/`, by `barnabas config` and by DescribeConfigs.

mod cluster;
mod coordinators;
mod log;
mod network;
mod observation;
mod remote;
mod replication;
mod security;
mod topic;

/// The type of a value (`ConfigDef.Type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `true` or `false`, in any case.
    Boolean,
    /// 16 bits, signed.
    Short,
    /// 32 bits, signed.
    Int,
    /// 64 bits, signed.
    Long,
    /// A floating-point number.
    Double,
    /// Text without white space at its ends.
    Text,
    /// Texts separated by commas.
    List,
    /// The name of a Java class. Never loaded.
    Class,
    /// Text that is never shown.
    Password,
}

/// What a value must satisfy beyond its type.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Rule {
    /// Anything of its type.
    Any,
    /// At least this.
    Min(i64),
    /// From the first to the second, both included.
    Range(i64, i64),
    /// The same for floating-point numbers.
    Between(f64, f64),
    /// One of these.
    OneOf(&'static [&'static str]),
    /// One of these, in any case.
    OneOfAnyCase(&'static [&'static str]),
    /// A list of nothing but these.
    EachOf(&'static [&'static str]),
    /// Not the empty text.
    NotEmpty,
    /// A release of Kafka, such as `3.9` or `3.9-IV0`.
    Version,
    /// 1 to 9, or -1 for the codec's default.
    GzipLevel,
    /// `*`, or `partition:broker` pairs.
    ThrottledReplicas,
    /// At least 1, or -1 for the size that `remote.log.manager.thread.pool.size` gives.
    PoolSize,
}

/// Where a key may be set while the broker runs (`DynamicBrokerConfig`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// Only in the properties that the broker starts with.
    ReadOnly,
    /// Dynamically, for one broker.
    PerBroker,
    /// Dynamically, for one broker or for all.
    ClusterWide,
    /// On a topic.
    Topic,
}

/// What Barnabas makes of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Support {
    /// It works.
    Honoured,
    /// It does not work yet and ignoring it is harmless: a value other than the default is warned about.
    Warned,
    /// It does not work yet and ignoring it would be unsafe: a value other than the default stops the start.
    Refused,
    /// It asks for what is not there (KRaft, a cluster): setting it at all stops the start.
    Stops,
}

/// Where a key comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyOrigin {
    /// Kafka's own definition.
    Kafka,
    /// Kafka's definition, marked as internal: not shown unless set.
    KafkaInternal,
    /// Kafka's, but only as a dynamic config: not shown unless set, and shown as read-only then.
    KafkaDynamic,
    /// Read by Kafka's authorizer, not part of the broker's definition.
    KafkaAuthorizer,
    /// Ours.
    Barnabas,
}

/// A default that is not Kafka's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deviation {
    /// Our default.
    pub default: Option<&'static str>,
    /// Why it is not Kafka's.
    pub why: &'static str,
    /// When it holds.
    pub when: When,
}

/// When a default that is not Kafka's holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// Always.
    Always,
    /// When the broker was started without a properties file.
    WithoutFile,
    /// While the broker stands alone, on the embedded store.
    Alone,
}

/// How a broker was started, as far as defaults depend on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Start {
    /// With a properties file.
    pub with_file: bool,
    /// As a member of a cluster (`zookeeper.connect`).
    pub in_cluster: bool,
}

/// A row of the table.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Key {
    /// Its name in a properties file or in a topic's configs.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Kafka's default; `None` is Java's null.
    pub default: Option<&'static str>,
    /// What a value must satisfy.
    pub rule: Rule,
    /// Where it may be changed.
    pub scope: Scope,
    /// What Barnabas makes of it.
    pub support: Support,
    /// What it is about.
    pub doc: &'static str,
    /// Topic keys: the broker keys that give its default, the strongest first.
    pub synonyms: &'static [&'static str],
    /// Where the key comes from.
    pub origin: KeyOrigin,
    /// Our default, where it is not Kafka's.
    pub deviation: Option<Deviation>,
}

impl Key {
    /// The default that holds for a broker that was started like this.
    pub fn effective_default(&self, start: Start) -> Option<&'static str> {
        let holds = |ours: &Deviation| match ours.when {
            When::Always => true,
            When::WithoutFile => !start.with_file,
            When::Alone => !start.in_cluster,
        };
        match self.deviation.filter(holds) {
            Some(ours) => ours.default,
            None => self.default,
        }
    }

    /// True for a key without effect of which some values stop the start all the same.
    pub fn refuses_some(&self) -> bool {
        matches!(
            self.name,
            "inter.broker.protocol.version"
                | "group.coordinator.rebalance.protocols"
                | "zookeeper.clientCnxnSocket"
        )
    }

    /// True when the value must never be shown.
    pub fn sensitive(&self) -> bool {
        self.kind == Kind::Password
    }

    const fn internal(mut self) -> Self {
        self.origin = KeyOrigin::KafkaInternal;
        self
    }

    const fn dynamic_only(mut self) -> Self {
        self.origin = KeyOrigin::KafkaDynamic;
        self
    }

    const fn of_authorizer(mut self) -> Self {
        self.origin = KeyOrigin::KafkaAuthorizer;
        self
    }

    const fn of_barnabas(mut self) -> Self {
        self.origin = KeyOrigin::Barnabas;
        self
    }

    const fn synonyms(mut self, broker_keys: &'static [&'static str]) -> Self {
        self.synonyms = broker_keys;
        self
    }

    const fn ours(self, default: Option<&'static str>, why: &'static str) -> Self {
        self.ours_when(When::Always, default, why)
    }

    const fn ours_without_file(self, default: Option<&'static str>, why: &'static str) -> Self {
        self.ours_when(When::WithoutFile, default, why)
    }

    const fn ours_alone(self, default: Option<&'static str>, why: &'static str) -> Self {
        self.ours_when(When::Alone, default, why)
    }

    const fn ours_when(mut self, when: When, default: Option<&'static str>, why: &'static str) -> Self {
        self.deviation = Some(Deviation { default, why, when });
        self
    }
}

/// A row.
const fn k(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    rule: Rule,
    scope: Scope,
    support: Support,
    doc: &'static str,
) -> Key {
    Key {
        name,
        kind,
        default,
        rule,
        scope,
        support,
        doc,
        synonyms: &[],
        origin: KeyOrigin::Kafka,
        deviation: None,
    }
}

const BROKER: &[&[Key]] = &[
    cluster::KEYS,
    coordinators::KEYS,
    log::KEYS,
    network::KEYS,
    observation::KEYS,
    remote::KEYS,
    replication::KEYS,
    security::KEYS,
];

/// The broker key called `name`.
pub fn broker_key(name: &str) -> Option<&'static Key> {
    BROKER.iter().find_map(|rows| find(rows, name))
}

/// The topic key called `name`.
pub fn topic_key(name: &str) -> Option<&'static Key> {
    find(topic::KEYS, name)
}

/// All broker keys, subject by subject.
pub fn broker_keys() -> impl Iterator<Item = &'static Key> {
    BROKER.iter().flat_map(|rows| rows.iter())
}

/// All topic keys, by name.
pub fn topic_keys() -> impl Iterator<Item = &'static Key> {
    topic::KEYS.iter()
}

fn find(rows: &'static [Key], name: &str) -> Option<&'static Key> {
    let at = rows.binary_search_by(|row| row.name.cmp(name)).ok()?;
    rows.get(at)
}

/// The broker keys that mean the same setting as `name`, the strongest first; `name` alone for most.
pub fn broker_synonyms(name: &str) -> &'static [&'static str] {
    const GROUPS: &[&[&str]] = &[
        &["log.roll.ms", "log.roll.hours"],
        &["log.roll.jitter.ms", "log.roll.jitter.hours"],
        &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
    ];
    if name == "log.flush.interval.ms" {
        // One way only: the scheduler's interval is a setting of its own.
        return &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"];
    }
    if let Some(group) = GROUPS.iter().find(|group| group.contains(&name)) {
        return group;
    }
    match broker_key(name) {
        Some(key) => std::slice::from_ref(&key.name),
        None => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_and_unique() {
        for rows in BROKER.iter().chain([&topic::KEYS]) {
            assert!(rows.windows(2).all(|pair| pair[0].name < pair[1].name));
        }
        let mut names: Vec<_> = broker_keys().map(|key| key.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn every_key_is_found_and_every_synonym_is_a_key() {
        for key in broker_keys() {
            assert_eq!(broker_key(key.name), Some(key));
        }
        for key in topic_keys() {
            assert_eq!(topic_key(key.name), Some(key));
            for name in key.synonyms {
                assert!(broker_key(name).is_some(), "{name}");
            }
        }
        assert_eq!(broker_key("no.such.key"), None);
    }

    #[test]
    fn the_table_has_all_keys_of_kafka_3_9_2() {
        let kafka = broker_keys()
            .filter(|key| matches!(key.origin, KeyOrigin::Kafka | KeyOrigin::KafkaInternal))
            .count();
        assert_eq!(kafka, KAFKA_BROKER_KEYS);
        assert_eq!(topic_keys().count(), 36);
    }

    /// Counted in Kafka 3.9.2's own definition.
    const KAFKA_BROKER_KEYS: usize = 329;
}
