//! What a kind of coordinator is set to.

use std::time::Duration;

use crate::base::format::Codec;
use crate::base::ids::TopicName;

/// Settings that all shards of a coordinator share.
#[derive(Clone, Debug)]
pub struct CoordinatorSettings {
    /// The topic whose partitions are the shards.
    pub topic: TopicName,
    /// How much of a log is in memory at once while it is loaded, in bytes; more only for a batch that is larger.
    pub load_buffer_bytes: u32,
    /// How long an answer waits for the replicas.
    pub replication_timeout: Duration,
    /// `acks` of the writes: −1 for all replicas in sync.
    pub required_acks: i16,
    /// How batches are compressed.
    pub codec: Codec,
}
