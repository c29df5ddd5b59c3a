//! A broker's configuration: static properties, dynamic ones on top, and the typed values that follow.
//!
//! Immutable and cheap to clone; a dynamic change makes a new one. Precedence, weakest first: defaults, static
//! properties, dynamic configs of all brokers, dynamic configs of this broker (`DynamicBrokerConfig`).

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use super::checks::{self, Warning};
use super::error::ConfigError;
use super::listeners::{Endpoint, Listeners, Texts};
use super::log_config::LogConfig;
use super::relations::Whole;
use super::settings::{Settings, Values};
use super::table::{self, Key, KeyOrigin, Start};
use super::value::{self, Value};

/// What a broker is started with.
#[derive(Clone, Default)]
pub struct Sources {
    /// The pairs of the properties file, in its order; `None` when there is no file.
    pub file: Option<Vec<(String, String)>>,
    /// What the command line sets; it overrides the file.
    pub overrides: Vec<(String, String)>,
    /// `zookeeper.connect` is ignored: the broker stays alone.
    pub standalone: bool,
    /// This machine's name: advertised for listeners on all interfaces. Empty: `localhost`.
    pub host_name: String,
}

/// A configuration that can be used, and what to say about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: BrokerConfig,
    /// What was set and has no effect, to be logged once.
    pub warnings: Vec<Warning>,
}

/// A broker's configuration. The fields of [`Settings`] are read through it: `config.num_partitions`.
#[derive(Clone)]
pub struct BrokerConfig(Arc<Inner>);

struct Inner {
    fixed: Fixed,
    cluster_wide: BTreeMap<String, String>,
    per_broker: BTreeMap<String, String>,
    values: Values,
    settings: Settings,
    listeners: Listeners,
    log_directories: Vec<PathBuf>,
    log_defaults: LogConfig,
    address_limits: BTreeMap<IpAddr, i32>,
}

/// What does not change while the broker runs.
#[derive(Clone)]
pub(super) struct Fixed {
    pub properties: BTreeMap<String, String>,
    pub with_file: bool,
    pub standalone: bool,
    pub host_name: String,
}

impl Fixed {
    /// How the broker was started, as far as defaults depend on it.
    pub(super) fn start(&self) -> Start {
        Start {
            with_file: self.with_file,
            in_cluster: self.zookeeper_connect().is_some(),
        }
    }

    /// The ZooKeeper servers of the cluster that the broker is to join.
    fn zookeeper_connect(&self) -> Option<&str> {
        let text = self.properties.get("zookeeper.connect").map(|text| text.trim());
        text.filter(|text| !self.standalone && !text.is_empty())
    }
}

impl Deref for BrokerConfig {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.0.settings
    }
}

impl fmt::Debug for BrokerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The typed values only: raw properties may hold passwords under unknown names.
        f.debug_struct("BrokerConfig")
            .field("settings", &self.0.settings)
            .field("listeners", &self.0.listeners)
            .finish_non_exhaustive()
    }
}

impl BrokerConfig {
    /// The configuration that `sources` give.
    ///
    /// # Errors
    /// Everything that keeps the broker from starting, one line each.
    pub fn load(sources: &Sources) -> Result<Loaded, Vec<ConfigError>> {
        let pairs = sources.file.iter().flatten().chain(&sources.overrides);
        let mut properties: BTreeMap<String, String> = pairs.cloned().collect();
        // One number under two names (`KafkaConfig.populateSynonyms`).
        let mut unset = None;
        for (from, to) in [("node.id", "broker.id"), ("broker.id", "node.id")] {
            if let Some(id) = properties.get(from).cloned()
                && !properties.contains_key(to)
            {
                properties.insert(to.to_owned(), id);
                unset = Some((to, from));
            }
        }
        let fixed = Fixed {
            properties,
            with_file: sources.file.is_some(),
            standalone: sources.standalone,
            host_name: if sources.host_name.is_empty() {
                "localhost".to_owned()
            } else {
                sources.host_name.clone()
            },
        };
        let mut errors = checks::refused(&fixed);
        match Self::assemble(fixed, BTreeMap::new(), BTreeMap::new()) {
            Ok(config) if errors.is_empty() => Ok(Loaded {
                warnings: checks::warnings(&config.0.fixed, &config.0.listeners),
                config,
            }),
            Ok(_) => Err(errors),
            Err(more) => {
                errors.extend(more);
                // The same value may be wrong in two ways; the first says more. What is wrong under the name that was set is
                // not told under the other one.
                let is_set = |name: &str| errors.iter().any(|error| error.key == name);
                let hidden = unset.filter(|(_, set)| is_set(set)).map(|(unset, _)| unset);
                let mut seen: Vec<ConfigError> = Vec::new();
                for error in errors {
                    if hidden != Some(error.key.as_str())
                        && !seen
                            .iter()
                            .any(|other| other.key == error.key && other.value == error.value)
                    {
                        seen.push(error);
                    }
                }
                Err(seen)
            }
        }
    }

    /// The configuration that these properties give, as if there were no file.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn from_pairs(pairs: &[(&str, &str)]) -> Result<Self, ConfigError> {
        let overrides = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let sources = Sources {
            overrides,
            ..Sources::default()
        };
        Self::load(&sources).map(|loaded| loaded.config).map_err(first)
    }

    /// This configuration with other dynamic configs: of all brokers, and of this one. They take the place of those
    /// that were there.
    ///
    /// # Errors
    /// The first config that may not be set so, or whose value is bad.
    pub fn with_dynamic(
        &self,
        cluster_wide: &BTreeMap<String, String>,
        per_broker: &BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        checks::dynamic(cluster_wide, false)?;
        checks::dynamic(per_broker, true)?;
        let changed = Self::assemble(self.0.fixed.clone(), cluster_wide.clone(), per_broker.clone());
        let changed = changed.map_err(first)?;
        checks::reconfigured(self, &changed)?;
        Ok(changed)
    }

    /// The same for configs that are stored already: what cannot be used is left out and told, so that a bad value
    /// never keeps a broker from starting.
    pub fn with_stored_dynamic(
        &self,
        cluster_wide: &BTreeMap<String, String>,
        per_broker: &BTreeMap<String, String>,
    ) -> (Self, Vec<ConfigError>) {
        let mut errors = Vec::new();
        let mut good = [BTreeMap::new(), BTreeMap::new()];
        for (layer, (configs, one_broker)) in good.iter_mut().zip([(cluster_wide, false), (per_broker, true)])
        {
            for (name, text) in configs {
                let single = BTreeMap::from([(name.clone(), text.clone())]);
                match checks::dynamic(&single, one_broker) {
                    Ok(()) => {
                        layer.insert(name.clone(), text.clone());
                    }
                    Err(error) => errors.push(error),
                }
            }
        }
        let [mut all, mut own] = good;
        loop {
            match Self::assemble(self.0.fixed.clone(), all.clone(), own.clone()) {
                Ok(config) => return (config, errors),
                Err(found) => {
                    let before = all.len() + own.len();
                    for error in found {
                        own.remove(&error.key);
                        all.remove(&error.key);
                        errors.push(error);
                    }
                    if all.len() + own.len() == before {
                        // Values contradict each other and the error names none of them.
                        if own.is_empty() && all.is_empty() {
                            return (self.clone(), errors);
                        }
                        own.clear();
                        all.clear();
                    }
                }
            }
        }
    }

    /// What has been set dynamically since `before` and has no effect: a line each.
    pub fn warnings_since(&self, before: &Self) -> Vec<Warning> {
        checks::dynamic_warnings(before, self)
    }

    fn assemble(
        fixed: Fixed,
        cluster_wide: BTreeMap<String, String>,
        per_broker: BTreeMap<String, String>,
    ) -> Result<Self, Vec<ConfigError>> {
        let mut merged = fixed.properties.clone();
        for layer in [&cluster_wide, &per_broker] {
            for name in layer.keys() {
                // A stronger layer hides what a weaker one says under another name for the same setting.
                for synonym in table::broker_synonyms(name) {
                    merged.remove(*synonym);
                }
            }
            merged.extend(layer.iter().map(|(name, text)| (name.clone(), text.clone())));
        }
        let mut values = Values::new();
        let mut errors = Vec::new();
        // Kafka's broker does not know these from its properties, so what they say there is not looked at.
        let is_static =
            |key: &Key| !matches!(key.origin, KeyOrigin::KafkaDynamic | KeyOrigin::KafkaAuthorizer);
        let dynamic = |key: &Key| cluster_wide.contains_key(key.name) || per_broker.contains_key(key.name);
        for key in table::broker_keys() {
            let text = merged
                .get(key.name)
                .filter(|_| key.origin != KeyOrigin::KafkaDynamic || dynamic(key))
                .map(String::as_str)
                .or(key.effective_default(fixed.start()));
            match text.map_or(Ok(Value::Null), |text| value::parse(key, text)) {
                Ok(value) => {
                    values.insert(key.name, value);
                }
                Err(_) if !is_static(key) && !dynamic(key) => {
                    let default = key.effective_default(fixed.start());
                    let default = default.and_then(|text| value::parse(key, text).ok());
                    values.insert(key.name, default.unwrap_or(Value::Null));
                }
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let one = |error| vec![error];
        let settings = Settings::read(&values).map_err(one)?;
        let text = |name: &str| match values.get(name) {
            Some(Value::Text(text)) => Some(text.as_str()),
            _ => None,
        };
        let listeners = Listeners::parse(&Texts {
            listeners: text("listeners").unwrap_or_default(),
            advertised: text("advertised.listeners"),
            protocol_map: text("listener.security.protocol.map").unwrap_or_default(),
            inter_broker_name: text("inter.broker.listener.name"),
            control_plane_name: text("control.plane.listener.name"),
            host_name: &fixed.host_name,
        })
        .map_err(one)?;
        let errors = checks::of_listeners(&merged, &listeners);
        if !errors.is_empty() {
            return Err(errors);
        }
        let log_directories = checks::log_directories(&settings).map_err(one)?;
        let address_limits = checks::address_limits(&settings).map_err(one)?;
        let whole = Whole {
            settings: &settings,
            values: &values,
            listeners: &listeners,
            set: &merged,
        };
        whole.check().map_err(one)?;
        let log_defaults = LogConfig::of_broker(&settings).map_err(one)?;
        Ok(Self(Arc::new(Inner {
            fixed,
            cluster_wide,
            per_broker,
            values,
            settings,
            listeners,
            log_directories,
            log_defaults,
            address_limits,
        })))
    }

    /// Where data lies (`log.dirs`, or `log.dir`), in the order given.
    pub fn log_directories(&self) -> &[PathBuf] {
        &self.0.log_directories
    }

    /// Where to listen.
    pub fn listeners(&self) -> &[Endpoint] {
        &self.0.listeners.listeners
    }

    /// What clients are told to connect to, each under the name of a listener. A port of 0 stands for the port that
    /// its listener got from the system.
    pub fn advertised_listeners(&self) -> &[Endpoint] {
        &self.0.listeners.advertised
    }

    /// The name of the listener that brokers use among themselves.
    pub fn inter_broker_listener(&self) -> &str {
        &self.0.listeners.inter_broker
    }

    /// The name of the listener that only the controller and the brokers use, to ask each other what the controller must
    /// know or has decided (`control.plane.listener.name`), if there is one.
    pub fn control_plane_listener(&self) -> Option<&str> {
        self.0.listeners.control_plane.as_deref()
    }

    /// The name of the listener on which the controller reaches brokers, and they reach it.
    pub fn controller_listener(&self) -> &str {
        self.control_plane_listener()
            .unwrap_or_else(|| self.inter_broker_listener())
    }

    /// Addresses with a limit of their own (`max.connections.per.ip.overrides`).
    pub fn address_limits(&self) -> &BTreeMap<IpAddr, i32> {
        &self.0.address_limits
    }

    /// Connections that the listener called `name` may have at once (`listener.name.<name>.max.connections`), where
    /// it has a limit of its own.
    pub fn max_connections_on(&self, name: &str) -> Option<i32> {
        self.of_listener(name, "max.connections")
    }

    /// New connections that the listener called `name` may have in a second
    /// (`listener.name.<name>.max.connection.creation.rate`), where it has a limit of its own.
    pub fn max_connection_creation_rate_on(&self, name: &str) -> Option<i32> {
        self.of_listener(name, "max.connection.creation.rate")
    }

    fn of_listener(&self, name: &str, key: &str) -> Option<i32> {
        let name = format!("listener.name.{}.{key}", name.to_lowercase());
        self.raw(&name)?.trim().parse().ok()
    }

    /// The configs of a topic that overrides nothing.
    pub fn log_defaults(&self) -> &LogConfig {
        &self.0.log_defaults
    }

    /// The broker was told to stay alone.
    pub fn standalone(&self) -> bool {
        self.0.fixed.standalone
    }

    /// The ZooKeeper servers of the cluster that the broker is to join (`zookeeper.connect`); `None` for one that stands
    /// alone.
    pub fn zookeeper_connect(&self) -> Option<&str> {
        self.0.fixed.zookeeper_connect()
    }

    /// The value in force of a key of the table.
    pub fn value(&self, key: &Key) -> &Value {
        self.0.values.get(key.name).unwrap_or(&Value::Null)
    }

    /// The default of a broker key as it holds here.
    pub fn default_of(&self, key: &Key) -> Option<&'static str> {
        key.effective_default(self.0.fixed.start())
    }

    /// The properties that the broker was started with. They may hold passwords.
    pub fn static_properties(&self) -> &BTreeMap<String, String> {
        &self.0.fixed.properties
    }

    /// The dynamic configs of all brokers. They may hold passwords.
    pub fn cluster_wide(&self) -> &BTreeMap<String, String> {
        &self.0.cluster_wide
    }

    /// The dynamic configs of this broker. They may hold passwords.
    pub fn per_broker(&self) -> &BTreeMap<String, String> {
        &self.0.per_broker
    }

    /// The text that was set for `name`.
    fn raw(&self, name: &str) -> Option<&str> {
        let layers = [&self.0.per_broker, &self.0.cluster_wide, &self.0.fixed.properties];
        layers
            .into_iter()
            .find_map(|layer| layer.get(name))
            .map(String::as_str)
    }
}

fn first(errors: Vec<ConfigError>) -> ConfigError {
    errors
        .into_iter()
        .next()
        .unwrap_or_else(|| ConfigError::key("config", "cannot be used"))
}

#[cfg(test)]
#[path = "broker_test.rs"]
mod tests;
