//! Values that contradict each other, or what else is configured (`KafkaConfig.validateValues`,
//! `GroupCoordinatorConfig`, `ShareGroupConfig`). Keys that do not work yet are checked like the others: a file that Kafka
//! refuses is refused here.
//!
//! Invariant: a configuration that was assembled has passed all of this. Called by `broker.rs` alone.

use std::collections::BTreeMap;

use super::error::ConfigError;
use super::listeners::Listeners;
use super::settings::{Settings, Values};
use super::table;
use super::value::Value;

/// Pairs of keys: the value of the first must not be above that of the second.
const ORDERED: &[(&str, &str)] = &[
    (
        "group.consumer.min.heartbeat.interval.ms",
        "group.consumer.max.heartbeat.interval.ms",
    ),
    (
        "group.consumer.min.heartbeat.interval.ms",
        "group.consumer.heartbeat.interval.ms",
    ),
    (
        "group.consumer.heartbeat.interval.ms",
        "group.consumer.max.heartbeat.interval.ms",
    ),
    (
        "group.consumer.min.session.timeout.ms",
        "group.consumer.max.session.timeout.ms",
    ),
    (
        "group.consumer.min.session.timeout.ms",
        "group.consumer.session.timeout.ms",
    ),
    (
        "group.consumer.session.timeout.ms",
        "group.consumer.max.session.timeout.ms",
    ),
    (
        "group.share.min.heartbeat.interval.ms",
        "group.share.max.heartbeat.interval.ms",
    ),
    (
        "group.share.min.heartbeat.interval.ms",
        "group.share.heartbeat.interval.ms",
    ),
    (
        "group.share.heartbeat.interval.ms",
        "group.share.max.heartbeat.interval.ms",
    ),
    (
        "group.share.min.session.timeout.ms",
        "group.share.max.session.timeout.ms",
    ),
    (
        "group.share.min.session.timeout.ms",
        "group.share.session.timeout.ms",
    ),
    (
        "group.share.session.timeout.ms",
        "group.share.max.session.timeout.ms",
    ),
    (
        "group.share.min.record.lock.duration.ms",
        "group.share.record.lock.duration.ms",
    ),
    (
        "group.share.record.lock.duration.ms",
        "group.share.max.record.lock.duration.ms",
    ),
    ("replica.fetch.wait.max.ms", "replica.socket.timeout.ms"),
    ("replica.fetch.wait.max.ms", "replica.lag.time.max.ms"),
];

/// The highest number of a codec (`CompressionType.forId`).
const LAST_CODEC: i64 = 4;

/// What is set, and what follows from it.
pub(super) struct Whole<'a> {
    pub settings: &'a Settings,
    pub values: &'a Values,
    pub listeners: &'a Listeners,
    /// The texts, by key.
    pub set: &'a BTreeMap<String, String>,
}

impl Whole<'_> {
    /// The first contradiction.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.broker_id()?;
        self.logs()?;
        ORDERED
            .iter()
            .try_for_each(|(lower, upper)| self.ordered(lower, upper))?;
        self.offsets_topic()?;
        self.group_protocols()?;
        self.connections()?;
        self.listener_names()
    }

    fn is_set(&self, key: &str) -> bool {
        self.set.contains_key(key)
    }

    /// The value of a key that is a whole number.
    fn number(&self, key: &str) -> i64 {
        match self.values.get(key) {
            Some(Value::Short(number)) => i64::from(*number),
            Some(Value::Int(number)) => i64::from(*number),
            Some(Value::Long(number)) => *number,
            _ => 0,
        }
    }

    fn broker_id(&self) -> Result<(), ConfigError> {
        let (settings, id) = (self.settings, i64::from(self.settings.broker_id));
        let text = |key: &str| self.set.get(key).map(|text| text.trim());
        if text("node.id") != text("broker.id") {
            return fail("broker.id", id, "must be the same as node.id");
        }
        if settings.broker_id_generation_enable {
            let most = i64::from(settings.reserved_broker_max_id);
            if !(-1..=most).contains(&id) {
                let rule = format!("must be from -1 to reserved.broker.max.id, which is {most}");
                return fail("broker.id", id, rule);
            }
        } else if id < 0 {
            let rule = "must be at least 0 while broker.id.generation.enable is false";
            return fail("broker.id", id, rule);
        }
        Ok(())
    }

    fn logs(&self) -> Result<(), ConfigError> {
        let settings = self.settings;
        if settings.roll_ms() < 1 {
            return fail("log.roll.ms", settings.roll_ms(), "must be at least 1");
        }
        if settings.roll_jitter_ms() < 0 {
            let rule = "must be at least 0";
            return fail("log.roll.jitter.ms", settings.roll_jitter_ms(), rule);
        }
        if settings.retention_ms() == 0 {
            return fail("log.retention.ms", 0, "must be at least 1, or -1 for no bound");
        }
        let threads = i64::from(settings.log_cleaner_threads);
        let buffer = settings.log_cleaner_dedupe_buffer_size;
        match buffer.checked_div(threads) {
            // By its rule 0 may be set, and Kafka then fails at this division.
            None => fail("log.cleaner.threads", threads, "must be at least 1"),
            Some(each) if each <= 1 << 20 => {
                let rule = "must be above 1 MiB for each of log.cleaner.threads";
                fail("log.cleaner.dedupe.buffer.size", buffer, rule)
            }
            Some(_) => Ok(()),
        }
    }

    /// The error names the key that was set, or the upper one.
    fn ordered(&self, lower: &str, upper: &str) -> Result<(), ConfigError> {
        let (low, high) = (self.number(lower), self.number(upper));
        if low <= high {
            Ok(())
        } else if self.is_set(lower) && !self.is_set(upper) {
            fail(lower, low, format!("must be at most {upper}, which is {high}"))
        } else {
            fail(upper, high, format!("must be at least {lower}, which is {low}"))
        }
    }

    fn offsets_topic(&self) -> Result<(), ConfigError> {
        const ACKS: &str = "offsets.commit.required.acks";
        const REPLICAS: &str = "offsets.topic.replication.factor";
        const CODEC: &str = "offsets.topic.compression.codec";
        let acks = self.number(ACKS);
        // Our default of one replica is no bound that anybody has set: Kafka's holds then.
        let kafkas = table::broker_key(REPLICAS).and_then(|key| key.default?.parse().ok());
        let replicas = match kafkas {
            Some(default) if !self.is_set(REPLICAS) => default,
            _ => self.number(REPLICAS),
        };
        if !(-1..=replicas).contains(&acks) {
            let rule = format!("must be from -1 to {REPLICAS}, which is {replicas}");
            return fail(ACKS, acks, rule);
        }
        let codec = self.number(CODEC);
        if !(0..=LAST_CODEC).contains(&codec) {
            return fail(CODEC, codec, format!("must be from 0 to {LAST_CODEC}"));
        }
        Ok(())
    }

    fn group_protocols(&self) -> Result<(), ConfigError> {
        const KEY: &str = "group.coordinator.rebalance.protocols";
        let Some(Value::List(protocols)) = self.values.get(KEY) else {
            return Ok(());
        };
        let has = |name: &str| protocols.iter().any(|protocol| protocol == name);
        let rule = match (has("classic"), has("consumer")) {
            (false, _) => "must hold classic",
            (true, true) => "consumer is there in KRaft only",
            (true, false) => return Ok(()),
        };
        Err(ConfigError::new(KEY, protocols.join(","), rule))
    }

    fn connections(&self) -> Result<(), ConfigError> {
        let settings = self.settings;
        let (queued, largest) = (
            settings.queued_max_request_bytes,
            i64::from(settings.socket_request_max_bytes),
        );
        if queued > 0 && queued < largest {
            let rule = format!("must be at least socket.request.max.bytes, which is {largest}");
            return fail("queued.max.request.bytes", queued, rule);
        }
        if settings.max_connections_per_ip == 0 && settings.max_connections_per_ip_overrides.is_empty() {
            let rule = "may be 0 only with max.connections.per.ip.overrides";
            return fail("max.connections.per.ip", 0, rule);
        }
        let delay = i64::from(settings.connection_failed_authentication_delay_ms);
        let idle = settings.connections_max_idle_ms;
        if idle >= 0 && delay >= idle {
            const DELAY: &str = "connection.failed.authentication.delay.ms";
            const IDLE: &str = "connections.max.idle.ms";
            // The one that was set is the wrong one.
            if !self.is_set(DELAY) {
                return fail(IDLE, idle, format!("must be above {DELAY}, which is {delay}"));
            }
            return fail(DELAY, delay, format!("must be below {IDLE}, which is {idle}"));
        }
        Ok(())
    }

    fn listener_names(&self) -> Result<(), ConfigError> {
        const EARLY: &str = "early.start.listeners";
        const INTER_BROKER: &str = "inter.broker.listener.name";
        if self.is_set(INTER_BROKER) && self.is_set("security.inter.broker.protocol") {
            return Err(ConfigError::key(
                INTER_BROKER,
                "cannot be set together with security.inter.broker.protocol",
            ));
        }
        let Some(Value::Text(text)) = self.values.get(EARLY) else {
            return Ok(());
        };
        let mut names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        let exists = |name: &&str| self.listeners.listeners.iter().any(|at| at.name == *name);
        match names.find(|name| !exists(name)) {
            Some(name) => {
                let rule = format!("{name} is not among the names in listeners");
                Err(ConfigError::new(EARLY, text, rule))
            }
            None => Ok(()),
        }
    }
}

fn fail(key: &str, value: i64, rule: impl Into<String>) -> Result<(), ConfigError> {
    Err(ConfigError::new(key, value.to_string(), rule))
}
