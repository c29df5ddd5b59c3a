//! The typed values of the keys that some room reads: one field a key, named as the key.

use super::error::ConfigError;
use super::replica_selector::ReplicaSelector;
use super::value::{FromValue, Value};
use crate::base::format::Codec;
use std::collections::BTreeMap;

/// Every broker key with its value in force.
pub(super) type Values = BTreeMap<&'static str, Value>;

fn typed<T: FromValue>(values: &Values, name: &'static str) -> Result<T, ConfigError> {
    values
        .get(name)
        .and_then(T::from_value)
        .ok_or_else(|| ConfigError::key(name, "has no value of the type that is read"))
}

macro_rules! settings {
    ($($field:ident: $kind:ty = $key:literal;)*) => {
        /// Values in force, by key. A key that ends in `.ms` is in milliseconds, one in `.bytes` in bytes.
        #[derive(Clone, PartialEq, Debug)]
        pub struct Settings {
            $(
                #[doc = concat!("`", $key, "`")]
                pub $field: $kind,
            )*
        }

        impl Settings {
            pub(super) fn read(values: &Values) -> Result<Self, ConfigError> {
                Ok(Self { $($field: typed(values, $key)?,)* })
            }
        }
    };
}

settings! {
    accept_missing_log_dirs: bool = "accept.missing.log.dirs";
    auto_leader_rebalance_enable: bool = "auto.leader.rebalance.enable";
    controlled_shutdown_enable: bool = "controlled.shutdown.enable";
    controlled_shutdown_max_retries: i32 = "controlled.shutdown.max.retries";
    controlled_shutdown_retry_backoff_ms: i64 = "controlled.shutdown.retry.backoff.ms";
    controller_candidate: bool = "controller.candidate";
    controller_socket_timeout_ms: i32 = "controller.socket.timeout.ms";
    leader_imbalance_check_interval_seconds: i64 = "leader.imbalance.check.interval.seconds";
    leader_imbalance_per_broker_percentage: i32 = "leader.imbalance.per.broker.percentage";
    leader_replication_throttled_rate: i64 = "leader.replication.throttled.rate";
    request_timeout_ms: i32 = "request.timeout.ms";
    auto_create_topics_enable: bool = "auto.create.topics.enable";
    broker_id: i32 = "broker.id";
    broker_id_generation_enable: bool = "broker.id.generation.enable";
    broker_rack: Option<String> = "broker.rack";
    reserved_broker_max_id: i32 = "reserved.broker.max.id";
    compression_type: String = "compression.type";
    compression_gzip_level: i32 = "compression.gzip.level";
    compression_lz4_level: i32 = "compression.lz4.level";
    compression_zstd_level: i32 = "compression.zstd.level";
    connections_max_idle_ms: i64 = "connections.max.idle.ms";
    connection_failed_authentication_delay_ms: i32 = "connection.failed.authentication.delay.ms";
    alter_log_dirs_replication_quota_window_num: i32 = "alter.log.dirs.replication.quota.window.num";
    alter_log_dirs_replication_quota_window_size_seconds: i32 = "alter.log.dirs.replication.quota.window.size.seconds";
    default_replication_factor: i32 = "default.replication.factor";
    delete_topic_enable: bool = "delete.topic.enable";
    fetch_max_bytes: i32 = "fetch.max.bytes";
    follower_replication_throttled_rate: i64 = "follower.replication.throttled.rate";
    group_initial_rebalance_delay_ms: i32 = "group.initial.rebalance.delay.ms";
    group_max_session_timeout_ms: i32 = "group.max.session.timeout.ms";
    group_max_size: i32 = "group.max.size";
    group_min_session_timeout_ms: i32 = "group.min.session.timeout.ms";
    log_cleaner_backoff_ms: i64 = "log.cleaner.backoff.ms";
    log_cleaner_dedupe_buffer_size: i64 = "log.cleaner.dedupe.buffer.size";
    log_cleaner_delete_retention_ms: i64 = "log.cleaner.delete.retention.ms";
    log_cleaner_enable: bool = "log.cleaner.enable";
    log_cleaner_io_buffer_load_factor: f64 = "log.cleaner.io.buffer.load.factor";
    log_cleaner_io_buffer_size: i32 = "log.cleaner.io.buffer.size";
    log_cleaner_io_max_bytes_per_second: f64 = "log.cleaner.io.max.bytes.per.second";
    log_cleaner_max_compaction_lag_ms: i64 = "log.cleaner.max.compaction.lag.ms";
    log_cleaner_min_cleanable_ratio: f64 = "log.cleaner.min.cleanable.ratio";
    log_cleaner_min_compaction_lag_ms: i64 = "log.cleaner.min.compaction.lag.ms";
    log_cleaner_threads: i32 = "log.cleaner.threads";
    log_cleanup_policy: Vec<String> = "log.cleanup.policy";
    log_dir: String = "log.dir";
    log_dir_stall_ms: i64 = "log.dir.stall.ms";
    log_dirs: Option<String> = "log.dirs";
    log_flush_interval_messages: i64 = "log.flush.interval.messages";
    log_flush_interval_ms: Option<i64> = "log.flush.interval.ms";
    log_flush_offset_checkpoint_interval_ms: i32 = "log.flush.offset.checkpoint.interval.ms";
    log_flush_scheduler_interval_ms: i64 = "log.flush.scheduler.interval.ms";
    log_flush_start_offset_checkpoint_interval_ms: i32 = "log.flush.start.offset.checkpoint.interval.ms";
    log_index_interval_bytes: i32 = "log.index.interval.bytes";
    log_index_size_max_bytes: i32 = "log.index.size.max.bytes";
    log_initial_task_delay_ms: i64 = "log.initial.task.delay.ms";
    log_message_downconversion_enable: bool = "log.message.downconversion.enable";
    log_message_timestamp_after_max_ms: i64 = "log.message.timestamp.after.max.ms";
    log_message_timestamp_before_max_ms: i64 = "log.message.timestamp.before.max.ms";
    log_message_timestamp_difference_max_ms: i64 = "log.message.timestamp.difference.max.ms";
    log_message_timestamp_type: String = "log.message.timestamp.type";
    log_preallocate: bool = "log.preallocate";
    log_retention_bytes: i64 = "log.retention.bytes";
    log_retention_check_interval_ms: i64 = "log.retention.check.interval.ms";
    log_retention_hours: i32 = "log.retention.hours";
    log_retention_minutes: Option<i32> = "log.retention.minutes";
    log_retention_ms: Option<i64> = "log.retention.ms";
    log_roll_hours: i32 = "log.roll.hours";
    log_roll_jitter_hours: i32 = "log.roll.jitter.hours";
    log_roll_jitter_ms: Option<i64> = "log.roll.jitter.ms";
    log_roll_ms: Option<i64> = "log.roll.ms";
    log_segment_bytes: i32 = "log.segment.bytes";
    log_segment_delete_delay_ms: i64 = "log.segment.delete.delay.ms";
    max_connection_creation_rate: i32 = "max.connection.creation.rate";
    max_connections: i32 = "max.connections";
    max_connections_per_ip: i32 = "max.connections.per.ip";
    max_connections_per_ip_overrides: String = "max.connections.per.ip.overrides";
    max_incremental_fetch_session_cache_slots: i32 = "max.incremental.fetch.session.cache.slots";
    max_producer_ids_per_partition: i32 = "max.producer.ids.per.partition";
    max_request_partition_size_limit: i32 = "max.request.partition.size.limit";
    message_max_bytes: i32 = "message.max.bytes";
    min_insync_replicas: i32 = "min.insync.replicas";
    num_replica_fetchers: i32 = "num.replica.fetchers";
    num_replica_alter_log_dirs_threads: Option<i32> = "num.replica.alter.log.dirs.threads";
    num_network_threads: i32 = "num.network.threads";
    num_partitions: i32 = "num.partitions";
    num_recovery_threads_per_data_dir: i32 = "num.recovery.threads.per.data.dir";
    offset_metadata_max_bytes: i32 = "offset.metadata.max.bytes";
    offsets_commit_required_acks: i16 = "offsets.commit.required.acks";
    offsets_commit_timeout_ms: i32 = "offsets.commit.timeout.ms";
    offsets_load_buffer_size: i32 = "offsets.load.buffer.size";
    offsets_retention_check_interval_ms: i64 = "offsets.retention.check.interval.ms";
    offsets_retention_minutes: i32 = "offsets.retention.minutes";
    offsets_topic_compression_codec: i32 = "offsets.topic.compression.codec";
    offsets_topic_num_partitions: i32 = "offsets.topic.num.partitions";
    offsets_topic_replication_factor: i16 = "offsets.topic.replication.factor";
    offsets_topic_segment_bytes: i32 = "offsets.topic.segment.bytes";
    producer_id_expiration_check_interval_ms: i32 = "producer.id.expiration.check.interval.ms";
    producer_id_expiration_ms: i32 = "producer.id.expiration.ms";
    queued_max_request_bytes: i64 = "queued.max.request.bytes";
    queued_max_requests: i32 = "queued.max.requests";
    quota_window_num: i32 = "quota.window.num";
    quota_window_size_seconds: i32 = "quota.window.size.seconds";
    replica_alter_log_dirs_io_max_bytes_per_second: i64 = "replica.alter.log.dirs.io.max.bytes.per.second";
    replica_fetch_backoff_ms: i32 = "replica.fetch.backoff.ms";
    replica_fetch_max_bytes: i32 = "replica.fetch.max.bytes";
    replica_fetch_min_bytes: i32 = "replica.fetch.min.bytes";
    replica_fetch_response_max_bytes: i32 = "replica.fetch.response.max.bytes";
    replica_fetch_wait_max_ms: i32 = "replica.fetch.wait.max.ms";
    replica_high_watermark_checkpoint_interval_ms: i64 = "replica.high.watermark.checkpoint.interval.ms";
    replica_lag_time_max_ms: i64 = "replica.lag.time.max.ms";
    replica_selector_class: ReplicaSelector = "replica.selector.class";
    replica_socket_receive_buffer_bytes: i32 = "replica.socket.receive.buffer.bytes";
    replica_socket_timeout_ms: i32 = "replica.socket.timeout.ms";
    replication_quota_window_num: i32 = "replication.quota.window.num";
    replication_quota_window_size_seconds: i32 = "replication.quota.window.size.seconds";
    socket_listen_backlog_size: i32 = "socket.listen.backlog.size";
    socket_receive_buffer_bytes: i32 = "socket.receive.buffer.bytes";
    socket_request_max_bytes: i32 = "socket.request.max.bytes";
    socket_send_buffer_bytes: i32 = "socket.send.buffer.bytes";
    transaction_partition_verification_enable: bool = "transaction.partition.verification.enable";
    transaction_state_log_min_isr: i32 = "transaction.state.log.min.isr";
    transaction_state_log_num_partitions: i32 = "transaction.state.log.num.partitions";
    transaction_state_log_replication_factor: i16 = "transaction.state.log.replication.factor";
    transaction_state_log_segment_bytes: i32 = "transaction.state.log.segment.bytes";
    unclean_leader_election_enable: bool = "unclean.leader.election.enable";
    zookeeper_connection_timeout_ms: Option<i32> = "zookeeper.connection.timeout.ms";
    zookeeper_max_in_flight_requests: i32 = "zookeeper.max.in.flight.requests";
    zookeeper_session_timeout_ms: i32 = "zookeeper.session.timeout.ms";
}

impl Settings {
    /// How long a record is kept, in milliseconds; -1: for ever.
    pub fn retention_ms(&self) -> i64 {
        let minutes = self
            .log_retention_minutes
            .map(|minutes| i64::from(minutes) * 60_000);
        let time = self
            .log_retention_ms
            .or(minutes)
            .unwrap_or(i64::from(self.log_retention_hours) * 3_600_000);
        time.max(-1)
    }

    /// How the batches of the offsets topic are compressed; none for a number that is no codec, which stops the start.
    pub fn offsets_codec(&self) -> Codec {
        u8::try_from(self.offsets_topic_compression_codec)
            .ok()
            .and_then(Codec::from_id)
            .unwrap_or(Codec::None)
    }

    /// Age at which a segment is closed, in milliseconds.
    pub fn roll_ms(&self) -> i64 {
        self.log_roll_ms
            .unwrap_or(i64::from(self.log_roll_hours) * 3_600_000)
    }

    /// The random part taken off [`Settings::roll_ms`], at most, in milliseconds.
    pub fn roll_jitter_ms(&self) -> i64 {
        self.log_roll_jitter_ms
            .unwrap_or(i64::from(self.log_roll_jitter_hours) * 3_600_000)
    }

    /// Age of unsynced records at which a log is synced, in milliseconds.
    pub fn flush_interval_ms(&self) -> i64 {
        self.log_flush_interval_ms
            .unwrap_or(self.log_flush_scheduler_interval_ms)
    }
}
