//! The configs of one topic, typed: its overrides on top of the broker's defaults (`LogConfig`).

use std::collections::BTreeMap;

use crate::base::format::{Codec, TimestampType};

use super::broker::BrokerConfig;
use super::error::ConfigError;
use super::settings::Settings;
use super::table::{Support, topic_key};
use super::throttled_replicas::ThrottledReplicas;
use super::value::{self, FromValue, Value};

/// What a log is kept by. Sizes in bytes, times in milliseconds.
#[derive(Clone, PartialEq, Debug)]
pub struct LogConfig {
    /// `segment.bytes`: size at which a segment is closed.
    pub segment_bytes: u32,
    /// `segment.ms`: age at which a segment is closed.
    pub segment_ms: i64,
    /// `segment.jitter.ms`: random part taken off `segment_ms`, at most.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`: largest offset index.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`: bytes of log between two index entries.
    pub index_interval_bytes: u32,
    /// `flush.messages`: records after which the log is synced.
    pub flush_messages: i64,
    /// `flush.ms`: age of unsynced records at which the log is synced.
    pub flush_ms: i64,
    /// `retention.bytes`: size above which old segments go; negative: no bound.
    pub retention_bytes: i64,
    /// `retention.ms`: age at which segments go; -1: never.
    pub retention_ms: i64,
    /// `max.message.bytes`: largest batch that is accepted.
    pub max_message_bytes: u32,
    /// `delete.retention.ms`: how long tombstones stay.
    pub delete_retention_ms: i64,
    /// `min.compaction.lag.ms`: age before which a record is not compacted.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`: age by which a record can be compacted.
    pub max_compaction_lag_ms: i64,
    /// `min.cleanable.dirty.ratio`: uncompacted share from which the log is compacted.
    pub min_cleanable_dirty_ratio: f64,
    /// `file.delete.delay.ms`: how long files of deleted segments stay.
    pub file_delete_delay_ms: i64,
    /// `cleanup.policy` has `compact`.
    pub compact: bool,
    /// `cleanup.policy` has `delete`.
    pub delete: bool,
    /// `compression.type`; `None` is `producer`: batches are stored as they came.
    pub compression: Option<Codec>,
    /// `compression.gzip.level`.
    pub gzip_level: i32,
    /// `compression.lz4.level`.
    pub lz4_level: i32,
    /// `compression.zstd.level`.
    pub zstd_level: i32,
    /// `preallocate`: segment files get their full size at once.
    pub preallocate: bool,
    /// `message.timestamp.type`.
    pub message_timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`, or the older `message.timestamp.difference.max.ms` where that holds.
    pub message_timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`, or the older `message.timestamp.difference.max.ms` where that holds.
    pub message_timestamp_after_max_ms: i64,
    /// `message.downconversion.enable`: old clients get converted records.
    pub message_downconversion_enable: bool,
    /// `min.insync.replicas`.
    pub min_insync_replicas: i32,
    /// `unclean.leader.election.enable`.
    pub unclean_leader_election_enable: bool,
    /// `max.producer.ids.per.partition`: producers that a partition remembers.
    pub max_producer_ids: usize,
    /// `leader.replication.throttled.replicas`: leaders whose sending is throttled.
    pub leader_replication_throttled_replicas: ThrottledReplicas,
    /// `follower.replication.throttled.replicas`: followers whose fetching is throttled.
    pub follower_replication_throttled_replicas: ThrottledReplicas,
}

impl Default for LogConfig {
    /// Kafka's defaults.
    fn default() -> Self {
        const WEEK_MS: i64 = 7 * 86_400_000;
        Self {
            segment_bytes: 1 << 30,
            segment_ms: WEEK_MS,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            retention_bytes: -1,
            retention_ms: WEEK_MS,
            max_message_bytes: (1 << 20) + 12,
            delete_retention_ms: 86_400_000,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            min_cleanable_dirty_ratio: 0.5,
            file_delete_delay_ms: 60_000,
            compact: false,
            delete: true,
            compression: None,
            gzip_level: -1,
            lz4_level: 9,
            zstd_level: 3,
            preallocate: false,
            message_timestamp_type: TimestampType::CreateTime,
            message_timestamp_before_max_ms: i64::MAX,
            message_timestamp_after_max_ms: i64::MAX,
            message_downconversion_enable: true,
            min_insync_replicas: 1,
            unclean_leader_election_enable: false,
            max_producer_ids: 100_000,
            leader_replication_throttled_replicas: ThrottledReplicas::default(),
            follower_replication_throttled_replicas: ThrottledReplicas::default(),
        }
    }
}

impl LogConfig {
    /// The in-sync replicas that a write with acks=all needs: `min.insync.replicas`, but no more than there are
    /// replicas (Kafka: `Partition.effectiveMinIsr`).
    pub fn effective_min_isr(min_insync_replicas: i32, replicas: usize) -> usize {
        usize::try_from(min_insync_replicas).unwrap_or(0).min(replicas)
    }

    /// The configs of a topic with `overrides`, on top of the defaults of `broker`
    /// (`LogConfig.validate`, `LogConfig.fromProps`).
    ///
    /// # Errors
    /// The first unknown key, bad value, or pair of values that contradict each other.
    pub fn new(broker: &BrokerConfig, overrides: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let mut config = broker.log_defaults().clone();
        let mut bounds = TimestampBounds::of_broker(broker);
        for (name, text) in overrides {
            config.set(&mut bounds, name, text)?;
        }
        config.finish(&bounds)?;
        Ok(config)
    }

    /// The same for configs that are stored already: what cannot be used is left out and told, so that a bad value
    /// never keeps a broker from starting.
    pub fn lenient(broker: &BrokerConfig, overrides: &BTreeMap<String, String>) -> (Self, Vec<ConfigError>) {
        let mut config = broker.log_defaults().clone();
        let mut bounds = TimestampBounds::of_broker(broker);
        let mut errors = Vec::new();
        for (name, text) in overrides {
            if let Err(error) = config.set(&mut bounds, name, text) {
                errors.push(error);
            }
        }
        if let Err(error) = config.finish(&bounds) {
            errors.push(error);
            config.min_compaction_lag_ms = broker.log_defaults().min_compaction_lag_ms;
            config.max_compaction_lag_ms = broker.log_defaults().max_compaction_lag_ms;
        }
        (config, errors)
    }

    /// The broker's defaults for topics (`KafkaConfig.extractLogConfigMap`).
    pub(super) fn of_broker(settings: &Settings) -> Result<Self, ConfigError> {
        let mut config = Self {
            segment_bytes: positive(settings.log_segment_bytes),
            segment_ms: settings.roll_ms(),
            segment_jitter_ms: settings.roll_jitter_ms(),
            segment_index_bytes: positive(settings.log_index_size_max_bytes),
            index_interval_bytes: positive(settings.log_index_interval_bytes),
            flush_messages: settings.log_flush_interval_messages,
            flush_ms: settings.flush_interval_ms(),
            retention_bytes: settings.log_retention_bytes,
            retention_ms: settings.retention_ms(),
            max_message_bytes: positive(settings.message_max_bytes),
            delete_retention_ms: settings.log_cleaner_delete_retention_ms,
            min_compaction_lag_ms: settings.log_cleaner_min_compaction_lag_ms,
            max_compaction_lag_ms: settings.log_cleaner_max_compaction_lag_ms,
            min_cleanable_dirty_ratio: settings.log_cleaner_min_cleanable_ratio,
            file_delete_delay_ms: settings.log_segment_delete_delay_ms,
            compact: has(&settings.log_cleanup_policy, "compact"),
            delete: has(&settings.log_cleanup_policy, "delete"),
            compression: codec(&settings.compression_type),
            gzip_level: settings.compression_gzip_level,
            lz4_level: settings.compression_lz4_level,
            zstd_level: settings.compression_zstd_level,
            preallocate: settings.log_preallocate,
            message_timestamp_type: timestamp_type(&settings.log_message_timestamp_type),
            message_timestamp_before_max_ms: 0,
            message_timestamp_after_max_ms: 0,
            message_downconversion_enable: settings.log_message_downconversion_enable,
            min_insync_replicas: settings.min_insync_replicas,
            unclean_leader_election_enable: settings.unclean_leader_election_enable,
            max_producer_ids: positive(settings.max_producer_ids_per_partition) as usize,
            leader_replication_throttled_replicas: ThrottledReplicas::default(),
            follower_replication_throttled_replicas: ThrottledReplicas::default(),
        };
        config.finish(&TimestampBounds::of_broker(settings))?;
        Ok(config)
    }

    fn set(&mut self, bounds: &mut TimestampBounds, name: &str, text: &str) -> Result<(), ConfigError> {
        let Some(key) = topic_key(name) else {
            return Err(ConfigError::key(name, "is not a config of a topic"));
        };
        let value = value::parse(key, text)?;
        if key.support == Support::Refused && key.default.map(str::to_owned) != value.shown() {
            return Err(ConfigError::new(name, text, "tiered storage is not there"));
        }
        // The value has the type that its key has in the table, so a mismatch leaves the default.
        match name {
            "segment.bytes" => put_size(&mut self.segment_bytes, &value),
            "segment.ms" => put(&mut self.segment_ms, &value),
            "segment.jitter.ms" => put(&mut self.segment_jitter_ms, &value),
            "segment.index.bytes" => put_size(&mut self.segment_index_bytes, &value),
            "index.interval.bytes" => put_size(&mut self.index_interval_bytes, &value),
            "flush.messages" => put(&mut self.flush_messages, &value),
            "flush.ms" => put(&mut self.flush_ms, &value),
            "retention.bytes" => put(&mut self.retention_bytes, &value),
            "retention.ms" => put(&mut self.retention_ms, &value),
            "max.message.bytes" => put_size(&mut self.max_message_bytes, &value),
            "delete.retention.ms" => put(&mut self.delete_retention_ms, &value),
            "min.compaction.lag.ms" => put(&mut self.min_compaction_lag_ms, &value),
            "max.compaction.lag.ms" => put(&mut self.max_compaction_lag_ms, &value),
            "min.cleanable.dirty.ratio" => put(&mut self.min_cleanable_dirty_ratio, &value),
            "file.delete.delay.ms" => put(&mut self.file_delete_delay_ms, &value),
            "cleanup.policy" => {
                if let Value::List(policies) = &value {
                    self.compact = has(policies, "compact");
                    self.delete = has(policies, "delete");
                }
            }
            "compression.type" => {
                if let Value::Text(text) = &value {
                    self.compression = codec(text);
                }
            }
            "leader.replication.throttled.replicas" => {
                put_replicas(&mut self.leader_replication_throttled_replicas, &value);
            }
            "follower.replication.throttled.replicas" => {
                put_replicas(&mut self.follower_replication_throttled_replicas, &value);
            }
            "compression.gzip.level" => put(&mut self.gzip_level, &value),
            "compression.lz4.level" => put(&mut self.lz4_level, &value),
            "compression.zstd.level" => put(&mut self.zstd_level, &value),
            "preallocate" => put(&mut self.preallocate, &value),
            "message.timestamp.type" => {
                if let Value::Text(text) = &value {
                    self.message_timestamp_type = timestamp_type(text);
                }
            }
            "message.timestamp.before.max.ms" => put(&mut bounds.before_ms, &value),
            "message.timestamp.after.max.ms" => put(&mut bounds.after_ms, &value),
            "message.timestamp.difference.max.ms" => put(&mut bounds.difference_ms, &value),
            "message.downconversion.enable" => put(&mut self.message_downconversion_enable, &value),
            "min.insync.replicas" => put(&mut self.min_insync_replicas, &value),
            "unclean.leader.election.enable" => put(&mut self.unclean_leader_election_enable, &value),
            _ => {}
        }
        Ok(())
    }

    /// Works out what depends on several keys, and refuses values that contradict each other.
    fn finish(&mut self, bounds: &TimestampBounds) -> Result<(), ConfigError> {
        self.message_timestamp_before_max_ms = bounds.or_difference(bounds.before_ms);
        self.message_timestamp_after_max_ms = bounds.or_difference(bounds.after_ms);
        if self.min_compaction_lag_ms > self.max_compaction_lag_ms {
            return Err(ConfigError::new(
                "min.compaction.lag.ms",
                self.min_compaction_lag_ms.to_string(),
                format!(
                    "must not be above max.compaction.lag.ms, which is {}",
                    self.max_compaction_lag_ms
                ),
            ));
        }
        Ok(())
    }

    /// Age at which a segment is closed, with the bound that compaction sets, before the jitter.
    pub fn max_segment_ms(&self) -> i64 {
        if self.compact && self.max_compaction_lag_ms > 0 {
            self.segment_ms.min(self.max_compaction_lag_ms)
        } else {
            self.segment_ms
        }
    }
}

/// The three keys that bound a record's time. The older one holds where a newer one is at its default.
struct TimestampBounds {
    before_ms: i64,
    after_ms: i64,
    difference_ms: i64,
}

impl TimestampBounds {
    fn of_broker(settings: &Settings) -> Self {
        let mut bounds = Self {
            before_ms: settings.log_message_timestamp_before_max_ms,
            after_ms: settings.log_message_timestamp_after_max_ms,
            difference_ms: settings.log_message_timestamp_difference_max_ms,
        };
        bounds.before_ms = bounds.or_difference(bounds.before_ms);
        bounds.after_ms = bounds.or_difference(bounds.after_ms);
        bounds
    }

    fn or_difference(&self, newer: i64) -> i64 {
        if newer == i64::MAX {
            self.difference_ms
        } else {
            newer
        }
    }
}

fn put<T: FromValue>(field: &mut T, value: &Value) {
    if let Some(value) = T::from_value(value) {
        *field = value;
    }
}

fn put_size(field: &mut u32, value: &Value) {
    if let Some(value) = i32::from_value(value) {
        *field = positive(value);
    }
}

fn put_replicas(field: &mut ThrottledReplicas, value: &Value) {
    if let Value::List(items) = value {
        *field = ThrottledReplicas::of(items);
    }
}

/// The table's bounds keep sizes from being negative.
fn positive(value: i32) -> u32 {
    u32::try_from(value).unwrap_or(0)
}

fn has(policies: &[String], policy: &str) -> bool {
    policies.iter().any(|item| item.eq_ignore_ascii_case(policy))
}

fn codec(name: &str) -> Option<Codec> {
    match name {
        "uncompressed" => Some(Codec::None),
        "gzip" => Some(Codec::Gzip),
        "snappy" => Some(Codec::Snappy),
        "lz4" => Some(Codec::Lz4),
        "zstd" => Some(Codec::Zstd),
        _ => None,
    }
}

fn timestamp_type(name: &str) -> TimestampType {
    if name == "LogAppendTime" {
        TimestampType::LogAppendTime
    } else {
        TimestampType::CreateTime
    }
}

#[cfg(test)]
#[path = "log_config_test.rs"]
mod tests;
