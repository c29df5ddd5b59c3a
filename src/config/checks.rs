//! What one value alone does not show: keys that must not be set, or not so, and what to warn about
//! (`DynamicBrokerConfig.validateConfigs`). Values that contradict each other are in `relations.rs`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use super::broker::{BrokerConfig, Fixed};
use super::error::ConfigError;
use super::listeners::Listeners;
use super::replica_selector::ReplicaSelector;
use super::settings::Settings;
use super::table::{self, Key, KeyOrigin, Scope, Start, Support};
use super::value::{self, Value};

/// Something that was set and has no effect. Shows as one line, without the value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warning {
    /// The key.
    pub key: String,
    /// Why it has no effect.
    pub reason: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key.escape_debug(), self.reason)
    }
}

const LISTENER_PREFIX: &str = "listener.name.";

/// The keys that work for one listener, too.
const OF_LISTENERS: &[&str] = &["max.connections", "max.connection.creation.rate"];

/// The listener that a key of one listener names: `a` of `listener.name.a.max.connections`.
pub(super) fn listener_of(name: &str) -> Option<&str> {
    let (listener, _rest) = name.strip_prefix(LISTENER_PREFIX)?.split_once('.')?;
    Some(listener)
}

/// The key that a listener's own key stands for: `listener.name.<name>.<key>`, with a SASL mechanism before the key
/// where it is one of a mechanism.
pub(super) fn listener_key(name: &str) -> Option<&'static Key> {
    let (_listener, rest) = name.strip_prefix(LISTENER_PREFIX)?.split_once('.')?;
    table::broker_key(rest).or_else(|| {
        let (_mechanism, rest) = rest.split_once('.')?;
        table::broker_key(rest)
            .filter(|key| key.name.starts_with("sasl.") || key.name == "connections.max.reauth.ms")
    })
}

/// Dynamic configs are looked at as those of a broker with a properties file.
const FILE: Start = Start {
    with_file: true,
    in_cluster: false,
};

/// True when `text` gives `key` the value that it has anyway.
fn is_default(key: &Key, text: &str, start: Start) -> bool {
    let given = value::parse(key, text).ok();
    let same = |default: Option<&str>| {
        let default = default.map_or(Some(Value::Null), |text| value::parse(key, text).ok());
        default.is_some() && default == given
    };
    // Empty text for a key without a default says nothing either.
    text.trim().is_empty() && key.default.is_none() || same(key.default) || same(key.effective_default(start))
}

/// Everything that stops the start whatever its value is worth otherwise.
pub(super) fn refused(fixed: &Fixed) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    for (name, text) in &fixed.properties {
        if name == "config.providers" || name.starts_with("config.providers.") {
            errors.push(ConfigError::key(
                name,
                "config providers are not there; write the values themselves",
            ));
            continue;
        }
        let prefixed = listener_key(name);
        let Some(key) = table::broker_key(name).or(prefixed) else {
            continue;
        };
        if let Some(reason) = refusal(key, text, fixed) {
            errors.push(if key.sensitive() {
                ConfigError::hidden(name, reason)
            } else {
                ConfigError::new(name, text, reason)
            });
        }
    }
    errors
}

fn refusal(key: &Key, text: &str, fixed: &Fixed) -> Option<String> {
    match (key.support, key.name) {
        (_, "inter.broker.protocol.version") => {
            let oldest = value::release("3.0-IV1");
            let given = value::release(text.trim());
            (given.is_some() && given < oldest).then(|| {
                "protocols before 3.0-IV1 are not there, nor the log formats that go with them".to_owned()
            })
        }
        // Only with it can ZooKeeper's own client do what we refuse elsewhere by name; its usual one does nothing that ours does not.
        (_, "zookeeper.clientCnxnSocket") => (fixed.start().in_cluster
            && !matches!(text.trim(), "" | "org.apache.zookeeper.ClientCnxnSocketNIO"))
        .then(|| "connections to ZooKeeper are plain: TLS does not work yet".to_owned()),
        (_, "controller.candidate") => {
            let is_false = value::parse(key, text) == Ok(Value::Boolean(false));
            (is_false && !fixed.start().in_cluster)
                .then(|| "a broker that stands alone is its own controller, and has no other".to_owned())
        }
        (_, "replica.selector.class") => ReplicaSelector::of_class(text)
            .is_none()
            .then(|| "such a class is not there, and Java classes cannot be loaded".to_owned()),
        (Support::Stops, _) => Some("KRaft is not there: Barnabas keeps its metadata itself".to_owned()),
        (Support::Refused, _) if !is_default(key, text, fixed.start()) => Some(format!(
            "does not work yet and would be unsafe to ignore ({})",
            key.doc
        )),
        _ => None,
    }
}

/// What was set and has no effect.
pub(super) fn warnings(fixed: &Fixed, listeners: &Listeners) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for (name, text) in &fixed.properties {
        let reason = match (table::broker_key(name), listener_key(name)) {
            (Some(key), _) if key.name == "zookeeper.connect" => (fixed.standalone
                && !text.trim().is_empty())
            .then(|| "ignored, as --standalone asks".to_owned()),
            (Some(key), _) if is_default(key, text, fixed.start()) => None,
            (Some(key), _) if key.name.starts_with("zookeeper.") && key.support == Support::Honoured => {
                (!fixed.start().in_cluster).then(|| "has no effect: the broker stands alone".to_owned())
            }
            (Some(key), _) if key.origin == KeyOrigin::KafkaDynamic => {
                Some("has no effect here: it can be set only while the broker runs".to_owned())
            }
            (Some(key), _) => {
                (key.support == Support::Warned).then(|| format!("does not work yet ({})", key.doc))
            }
            (None, Some(_)) if !listeners.have(listener_of(name)) => {
                Some("there is no such listener; its name is to be in lower case here".to_owned())
            }
            (None, Some(key)) => (!OF_LISTENERS.contains(&key.name) && key.support != Support::Refused)
                .then(|| format!("a listener of its own value does not work yet ({})", key.doc)),
            (None, None) => Some("unknown key".to_owned()),
        };
        warnings.extend(reason.map(|reason| Warning {
            key: name.clone(),
            reason,
        }));
    }
    warnings
}

/// What was set dynamically between `before` and `after` and has no effect.
pub(super) fn dynamic_warnings(before: &BrokerConfig, after: &BrokerConfig) -> Vec<Warning> {
    let layers = [
        (before.cluster_wide(), after.cluster_wide()),
        (before.per_broker(), after.per_broker()),
    ];
    let set = layers.into_iter().flat_map(|(before, after)| {
        after
            .iter()
            .filter(|(name, text)| before.get(*name) != Some(*text))
    });
    let warning = |(name, text): (&String, &String)| {
        let reason = match (table::broker_key(name), listener_key(name)) {
            (Some(key), _) => (key.support == Support::Warned && !is_default(key, text, FILE))
                .then(|| format!("does not work yet ({})", key.doc)),
            (None, Some(key)) => (!OF_LISTENERS.contains(&key.name))
                .then(|| format!("a listener of its own value does not work yet ({})", key.doc)),
            (None, None) => Some("unknown key".to_owned()),
        };
        reason.map(|reason| Warning {
            key: name.clone(),
            reason,
        })
    };
    set.filter_map(warning).collect()
}

/// Checks the names of dynamic configs; `one_broker`: they are for one broker, not for all. Unknown names are let in,
/// as Kafka does.
pub(super) fn dynamic(configs: &BTreeMap<String, String>, one_broker: bool) -> Result<(), ConfigError> {
    for (name, text) in configs {
        let prefixed = listener_key(name);
        let Some(key) = table::broker_key(name).or(prefixed) else {
            continue;
        };
        let fail = |rule: &str| {
            Err(if key.sensitive() {
                ConfigError::hidden(name, rule)
            } else {
                ConfigError::new(name, text, rule)
            })
        };
        if key.scope == Scope::ReadOnly {
            return fail("cannot be changed while the broker runs");
        }
        let of_listener = key.name.starts_with("ssl.") || key.name.starts_with("sasl.");
        if of_listener && prefixed.is_none() && key.name.starts_with("ssl.") {
            return fail("can be changed only for one listener, as listener.name.<name>.<key>");
        }
        if !one_broker && key.scope == Scope::PerBroker {
            return fail("can be changed for one broker only, not for all");
        }
        if key.support == Support::Refused && !is_default(key, text, FILE) {
            return fail("does not work yet and would be unsafe to ignore");
        }
        value::parse_named(name, key, text)?;
    }
    Ok(())
}

/// Checks what a broker that runs with `before` could not change to `after` at once
/// (`BrokerReconfigurable.validateReconfiguration`, `ListenerReconfigurable`, `DynamicThreadPool`).
pub(super) fn reconfigured(before: &BrokerConfig, after: &BrokerConfig) -> Result<(), ConfigError> {
    threads(before, after)?;
    bounds_of_listeners(before, after)?;
    // In properties they are warned about, as many files have them; who asks for one now waits for an answer.
    let reporters = |config: &BrokerConfig| {
        let key = table::broker_key("metric.reporters")?;
        config.value(key).shown()
    };
    match reporters(after) {
        Some(names) if reporters(before).as_ref() != Some(&names) && !names.is_empty() => {
            let rule = "Java classes cannot be loaded";
            Err(ConfigError::new("metric.reporters", names, rule))
        }
        _ => Ok(()),
    }
}

/// Numbers of threads may at most be doubled or halved at once.
fn threads(before: &BrokerConfig, after: &BrokerConfig) -> Result<(), ConfigError> {
    const KEYS: &[&str] = &[
        "background.threads",
        "log.cleaner.threads",
        "num.io.threads",
        "num.network.threads",
        "num.recovery.threads.per.data.dir",
        "num.replica.fetchers",
    ];
    for key in KEYS.iter().filter_map(|name| table::broker_key(name)) {
        let (Value::Int(old), Value::Int(new)) = (before.value(key), after.value(key)) else {
            continue;
        };
        let (least, most) = ((old / 2).max(1), old.saturating_mul(2));
        if new != old && !(least..=most).contains(new) {
            let rule = format!("must be from {least} to {most}: half to double of what it is now, {old}");
            return Err(ConfigError::new(key.name, new.to_string(), rule));
        }
    }
    Ok(())
}

/// No listener may be shut by a change.
fn bounds_of_listeners(before: &BrokerConfig, after: &BrokerConfig) -> Result<(), ConfigError> {
    for listener in after.listeners() {
        let name = listener.name.as_str();
        let bounds = |config: &BrokerConfig| {
            let rate = config.max_connection_creation_rate_on(name);
            [
                config.max_connections_on(name).unwrap_or(config.max_connections),
                rate.unwrap_or(config.max_connection_creation_rate),
            ]
        };
        let now = bounds(after);
        if now == bounds(before) {
            continue;
        }
        for (key, bound) in OF_LISTENERS.iter().zip(now) {
            if bound < 1 {
                let rule = format!("must be at least 1 for the listener {name}");
                return Err(ConfigError::new(*key, bound.to_string(), rule));
            }
        }
    }
    Ok(())
}

/// The values of keys that a listener has for itself. As in Kafka, nobody looks at those of a listener that does not
/// exist (`AbstractConfig.valuesWithPrefixOverride`).
pub(super) fn of_listeners(set: &BTreeMap<String, String>, listeners: &Listeners) -> Vec<ConfigError> {
    let own = set.iter().filter(|(name, _)| listeners.have(listener_of(name)));
    own.filter_map(|(name, text)| value::parse_named(name, listener_key(name)?, text).err())
        .collect()
}

/// The log directories; each once, at least one.
pub(super) fn log_directories(settings: &Settings) -> Result<Vec<PathBuf>, ConfigError> {
    let (key, text) = match &settings.log_dirs {
        Some(text) => ("log.dirs", text),
        None => ("log.dir", &settings.log_dir),
    };
    let mut directories: Vec<PathBuf> = Vec::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let directory = PathBuf::from(item);
        if directories.contains(&directory) {
            return Err(ConfigError::new(key, text, format!("{item} comes twice")));
        }
        directories.push(directory);
    }
    if directories.is_empty() {
        return Err(ConfigError::new(key, text, "must name at least one directory"));
    }
    Ok(directories)
}

/// `max.connections.per.ip.overrides`, by address.
pub(super) fn address_limits(settings: &Settings) -> Result<BTreeMap<IpAddr, i32>, ConfigError> {
    let text = &settings.max_connections_per_ip_overrides;
    let fail = |rule: String| ConfigError::new("max.connections.per.ip.overrides", text, rule);
    let mut limits = BTreeMap::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let (host, count) = item
            .rsplit_once(':')
            .ok_or_else(|| fail(format!("{item} is not of the form address:count")))?;
        let count: i32 = count
            .trim()
            .parse()
            .map_err(|_| fail(format!("{count} is not a whole number")))?;
        let host = host.trim().trim_start_matches('[').trim_end_matches(']');
        if host == "localhost" {
            limits.insert(IpAddr::V4(Ipv4Addr::LOCALHOST), count);
            limits.insert(IpAddr::V6(Ipv6Addr::LOCALHOST), count);
            continue;
        }
        let address: IpAddr = host
            .parse()
            .map_err(|_| fail(format!("{host} is not an address; names are not looked up")))?;
        limits.insert(address.to_canonical(), count);
    }
    Ok(limits)
}
