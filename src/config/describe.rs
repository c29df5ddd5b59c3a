//! Configs as DescribeConfigs shows them: each key with its value, where that comes from, and what would hold
//! otherwise (`ConfigHelper`).

use std::collections::{BTreeMap, BTreeSet};

use super::broker::BrokerConfig;
use super::checks;
use super::table::{self, Key, KeyOrigin, Kind, Scope};
use super::value;

/// Where a value comes from; the numbers are the protocol's (`DescribeConfigsResponse.ConfigSource`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i8)]
pub enum Source {
    /// The topic's own configs.
    Topic = 1,
    /// The dynamic configs of this broker.
    DynamicBroker = 2,
    /// The dynamic configs of all brokers.
    DynamicDefaultBroker = 3,
    /// What the broker was started with.
    StaticBroker = 4,
    /// The key's default.
    Default = 5,
    /// The broker's log levels.
    DynamicBrokerLogger = 6,
}

impl Source {
    /// The number in the protocol.
    pub fn id(self) -> i8 {
        self as i8
    }
}

/// One of the places that give, or would give, a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Synonym {
    /// The name under which the value stands there.
    pub name: String,
    /// The value as it stands there; `None` when it must not be shown.
    pub value: Option<String>,
    /// The place.
    pub source: Source,
}

/// A config as it is shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// The value in force; `None` for null and for what must not be shown.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: Source,
    /// It cannot be changed while the broker runs.
    pub read_only: bool,
    /// Its value must not be shown.
    pub sensitive: bool,
    /// Its type; `None` for a key that nobody knows.
    pub kind: Option<Kind>,
    /// What it is about, where that is known.
    pub documentation: Option<&'static str>,
    /// All places that say something about it, the strongest first.
    pub synonyms: Vec<Synonym>,
}

/// The number of a type in the protocol (`DescribeConfigsResponse.ConfigType`).
pub fn kind_id(kind: Option<Kind>) -> i8 {
    match kind {
        None => 0,
        Some(Kind::Boolean) => 1,
        Some(Kind::Text) => 2,
        Some(Kind::Int) => 3,
        Some(Kind::Short) => 4,
        Some(Kind::Long) => 5,
        Some(Kind::Double) => 6,
        Some(Kind::List) => 7,
        Some(Kind::Class) => 8,
        Some(Kind::Password) => 9,
    }
}

/// The configs of this broker, by name.
#[cfg(test)]
pub fn broker(config: &BrokerConfig) -> Vec<Entry> {
    broker_where(config, |_| true)
}

/// The configs of this broker, by name, whose name is wanted: of all keys that Kafka lists, and everything that was set. The
/// others cost nothing.
pub fn broker_where(config: &BrokerConfig, is_wanted: impl Fn(&str) -> bool) -> Vec<Entry> {
    let listed = table::broker_keys()
        .filter(|key| matches!(key.origin, KeyOrigin::Kafka | KeyOrigin::Barnabas))
        .map(|key| key.name);
    let set = layers(config).into_iter().flat_map(|(layer, _)| layer.keys());
    let names: BTreeSet<&str> = listed
        .chain(set.map(String::as_str))
        .filter(|name| is_wanted(name))
        .collect();
    names
        .into_iter()
        .map(|name| broker_entry(name, &broker_synonyms(config, name), value_in_force(config, name)))
        .collect()
}

/// The dynamic configs of all brokers, by name.
#[cfg(test)]
pub fn all_brokers(config: &BrokerConfig) -> Vec<Entry> {
    all_brokers_where(config, |_| true)
}

/// The dynamic configs of all brokers, by name, whose name is wanted.
pub fn all_brokers_where(config: &BrokerConfig, is_wanted: impl Fn(&str) -> bool) -> Vec<Entry> {
    let entry = |(name, text): (&String, &String)| {
        let mut synonyms = broker_synonyms(config, name);
        synonyms.retain(|synonym| synonym.source == Source::DynamicDefaultBroker);
        broker_entry(name, &synonyms, Some(text.clone()))
    };
    let all = config.cluster_wide().iter();
    all.filter(|(name, _)| is_wanted(name)).map(entry).collect()
}

/// The configs of a topic with these overrides, by name.
pub fn topic(config: &BrokerConfig, overrides: &BTreeMap<String, String>) -> Vec<Entry> {
    topic_where(config, overrides, |_| true)
}

/// Of these, the ones whose name is wanted; the others cost nothing.
pub fn topic_where(
    config: &BrokerConfig,
    overrides: &BTreeMap<String, String>,
    is_wanted: impl Fn(&str) -> bool,
) -> Vec<Entry> {
    let names: BTreeSet<&str> = table::topic_keys()
        .map(|key| key.name)
        .chain(overrides.keys().map(String::as_str))
        .filter(|name| is_wanted(name))
        .collect();
    names
        .into_iter()
        .map(|name| topic_entry(config, name, overrides.get(name)))
        .collect()
}

type Layer<'a> = (&'a BTreeMap<String, String>, Source);

/// What was set, the strongest first.
fn layers(config: &BrokerConfig) -> [Layer<'_>; 3] {
    [
        (config.per_broker(), Source::DynamicBroker),
        (config.cluster_wide(), Source::DynamicDefaultBroker),
        (config.static_properties(), Source::StaticBroker),
    ]
}

/// The key that gives `name` its type: its own, or that of the listener key that it is.
fn key_of(name: &str) -> Option<&'static Key> {
    table::broker_key(name).or_else(|| checks::listener_key(name))
}

/// The value in force, as text. `None` for null.
fn value_in_force(config: &BrokerConfig, name: &str) -> Option<String> {
    // A key that is only dynamic has no default that is shown.
    match table::broker_key(name) {
        Some(key) if key.origin != KeyOrigin::KafkaInternal && key.origin != KeyOrigin::KafkaDynamic => {
            config.value(key).shown()
        }
        _ => layers(config)
            .into_iter()
            .find_map(|(layer, _)| layer.get(name).cloned()),
    }
}

fn broker_entry(name: &str, synonyms: &[Synonym], value: Option<String>) -> Entry {
    let key = key_of(name);
    let sensitive = key.is_none_or(Key::sensitive);
    let own = table::broker_key(name);
    let dynamic = own.is_some_and(|key| {
        matches!(key.scope, Scope::PerBroker | Scope::ClusterWide) && key.origin != KeyOrigin::KafkaDynamic
    });
    Entry {
        name: name.to_owned(),
        value: value.filter(|_| !sensitive),
        source: synonyms.first().map_or(Source::Default, |first| first.source),
        read_only: !dynamic,
        sensitive,
        kind: key.map(|key| key.kind),
        documentation: own.map(|key| key.doc),
        synonyms: synonyms.to_vec(),
    }
}

/// Every place that says something about a broker key, the strongest first, from the first that says it under this
/// very name on: what stands under another name before that is about another setting.
fn broker_synonyms(config: &BrokerConfig, name: &str) -> Vec<Synonym> {
    let sensitive = key_of(name).is_none_or(Key::sensitive);
    let prefixed = checks::listener_key(name).map(|key| [name, key.name]);
    let alone = [name];
    let names: &[&str] = match (table::broker_synonyms(name), &prefixed) {
        ([], Some(both)) => both,
        ([], None) => &alone,
        (names, _) => names,
    };
    let mut synonyms = Vec::new();
    let mut add = |name: &str, text: &str, source| {
        synonyms.push(Synonym {
            name: name.to_owned(),
            value: (!sensitive).then(|| text.to_owned()),
            source,
        });
    };
    for (layer, source) in layers(config) {
        for name in names {
            if let Some(text) = layer.get(*name) {
                add(name, text, source);
            }
        }
    }
    for name in names {
        let key = table::broker_key(name).filter(|key| key.origin != KeyOrigin::KafkaDynamic);
        if let Some(default) = key.and_then(|key| config.default_of(key)) {
            add(name, default, Source::Default);
        }
    }
    let first = synonyms.iter().position(|synonym| synonym.name == name);
    synonyms.drain(..first.unwrap_or(synonyms.len()));
    synonyms
}

fn topic_entry(config: &BrokerConfig, name: &str, own: Option<&String>) -> Entry {
    let key = table::topic_key(name);
    let sensitive = key.is_none_or(Key::sensitive);
    let value = match (own, key) {
        // A stored value that cannot be read is shown as it is.
        (Some(text), Some(key)) => value::parse(key, text).map_or(Some(text.clone()), |value| value.shown()),
        (Some(text), None) => Some(text.clone()),
        (None, Some(key)) => inherited(config, key),
        (None, None) => None,
    };
    let value = value.filter(|_| !sensitive);
    let mut synonyms = key
        .and_then(|key| key.synonyms.first())
        .map(|broker_key| broker_synonyms(config, broker_key))
        .unwrap_or_default();
    if own.is_some() {
        let own = Synonym {
            name: name.to_owned(),
            value: value.clone(),
            source: Source::Topic,
        };
        synonyms.insert(0, own);
    }
    Entry {
        name: name.to_owned(),
        value,
        source: synonyms.first().map_or(Source::Default, |first| first.source),
        read_only: false,
        sensitive,
        kind: key.map(|key| key.kind),
        documentation: key.map(|key| key.doc),
        synonyms,
    }
}

/// What the broker gives a topic that does not set `key`.
fn inherited(config: &BrokerConfig, key: &Key) -> Option<String> {
    let defaults = config.log_defaults();
    let number = match key.name {
        // These follow from more than one key of the broker.
        "retention.ms" => config.retention_ms(),
        "segment.ms" => config.roll_ms(),
        "segment.jitter.ms" => config.roll_jitter_ms(),
        "flush.ms" => config.flush_interval_ms(),
        "message.timestamp.before.max.ms" => defaults.message_timestamp_before_max_ms,
        "message.timestamp.after.max.ms" => defaults.message_timestamp_after_max_ms,
        // Ignored since Kafka 3.0, whatever the broker is set to.
        "message.format.version" => return key.default.map(str::to_owned),
        _ => {
            return match key.synonyms.first().and_then(|name| table::broker_key(name)) {
                Some(broker_key) => config.value(broker_key).shown(),
                None => key.default.map(str::to_owned),
            };
        }
    };
    Some(number.to_string())
}

#[cfg(test)]
#[path = "describe_test.rs"]
mod tests;
