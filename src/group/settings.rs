//! [`GroupSettings`]: what the broker's configuration says about groups and offsets.
//!
//! Fixed while the broker runs, as in Kafka: all of these keys are read at its start.

/// What the state machine of groups is told of the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupSettings {
    /// `group.min.session.timeout.ms`
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`
    pub max_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`
    pub initial_rebalance_delay_ms: i32,
    /// `group.max.size`: most members of a group.
    pub max_size: usize,
    /// `offset.metadata.max.bytes`: longest note of an offset, in UTF-16 units as Kafka counts it.
    pub offset_metadata_max_bytes: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// Most bytes of tombstones in one batch; less where the log takes less (`max.message.bytes` of its topic).
    pub removal_batch_bytes: usize,
    /// When all shards of the broker together take more memory than this they take in no new group, member or partition;
    /// what is there goes on.
    pub max_bytes: usize,
    /// A shard that takes no more than this takes in what is new, whatever the others take.
    pub granted_bytes: usize,
    /// When what a shard keeps because commits are not replicated takes more memory than this, it takes no more commits.
    pub max_unreplicated_bytes: usize,
}

impl Default for GroupSettings {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            min_session_timeout_ms: 6_000,
            max_session_timeout_ms: 1_800_000,
            initial_rebalance_delay_ms: 3_000,
            max_size: i32::MAX as usize,
            offset_metadata_max_bytes: 4_096,
            offsets_retention_ms: 10_080 * 60_000,
            removal_batch_bytes: 512 << 10,
            max_bytes: 512 << 20,
            granted_bytes: 1 << 20,
            max_unreplicated_bytes: 32 << 20,
        }
    }
}
