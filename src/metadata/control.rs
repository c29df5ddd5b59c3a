//! What a controller tells brokers, typed: LeaderAndIsr, StopReplica and UpdateMetadata as Kafka 3.9 has them in
//! ZooKeeper mode. The same types go to the controller's own broker in memory, and to others over the wire ([`super::messages`]).

use std::sync::Arc;

use super::image::{BrokerImage, PartitionImage};
use crate::base::error_code::ErrorCode;
use crate::base::ids::{
    BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, Offset, TopicId, TopicName, TopicPartition,
};

/// Who sends a control request, and to which registration of the receiver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sender {
    /// The controller.
    pub controller: BrokerId,
    /// Its epoch; a receiver refuses a smaller one than it has seen.
    pub controller_epoch: ControllerEpoch,
    /// The receiver's broker epoch as the controller knows it; a receiver refuses a smaller one than its own.
    pub broker_epoch: BrokerEpoch,
}

/// Makes the receiver leader or follower of partitions. Partitions that are not named stay as they are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaderAndIsr {
    /// Who sends it.
    pub sender: Sender,
    /// The topics that are concerned.
    pub topics: Vec<LeaderAndIsrTopic>,
}

/// The partitions of a topic in a [`LeaderAndIsr`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaderAndIsrTopic {
    /// The topic's name.
    pub name: TopicName,
    /// The topic's id.
    pub id: TopicId,
    /// Its partitions that are concerned.
    pub partitions: Vec<LeaderAndIsrPartition>,
}

/// A partition in a [`LeaderAndIsr`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaderAndIsrPartition {
    /// Its number.
    pub partition: i32,
    /// The epoch of the controller that last changed its state.
    pub controller_epoch: ControllerEpoch,
    /// The leader, if there is one.
    pub leader: Option<BrokerId>,
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// The replicas in sync.
    pub isr: Vec<BrokerId>,
    /// The version of its state in the store.
    pub partition_epoch: i32,
    /// Its replicas, the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// Replicas that a reassignment adds.
    pub adding_replicas: Vec<BrokerId>,
    /// Replicas that a reassignment removes.
    pub removing_replicas: Vec<BrokerId>,
    /// True only for a replica that never existed: its log may be created wherever there is room.
    pub is_new: bool,
    /// True after an unclean election, until the leader has recovered.
    pub recovering: bool,
}

/// The answer to control requests that name partitions: an error for the whole, or one for each partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ControlAnswer {
    /// The error of the whole request; `None` when it was accepted.
    pub error: ErrorCode,
    /// The partitions that were named, each with its error.
    pub partitions: Vec<(TopicPartition, ErrorCode)>,
    /// Those without an error whose folders are not there yet: their log directories do not answer. No message tells of
    /// them.
    pub late: Vec<TopicPartition>,
}

impl Default for ControlAnswer {
    /// Accepted, and nothing is named.
    fn default() -> Self {
        Self {
            error: ErrorCode::None,
            partitions: Vec::new(),
            late: Vec::new(),
        }
    }
}

/// Where a replica's log ends. Of two logs of a partition the greater one has everything committed that the other has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LogEnd {
    /// The latest leader epoch in it, −1 for none.
    pub epoch: LeaderEpoch,
    /// Behind its last record.
    pub offset: Offset,
}

/// The ends of logs, or why one cannot be told.
pub type LogEnds = Vec<(TopicPartition, Result<LogEnd, ErrorCode>)>;

/// Stops replicas, and deletes their logs where asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StopReplica {
    /// Who sends it.
    pub sender: Sender,
    /// The replicas.
    pub partitions: Vec<StopReplicaPartition>,
}

/// A partition in a [`StopReplica`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StopReplicaPartition {
    /// Which partition.
    pub partition: TopicPartition,
    /// The leader's epoch; −2 when the topic is being deleted, −1 when it is not known.
    pub leader_epoch: LeaderEpoch,
    /// Whether its log is to be deleted.
    pub delete: bool,
}

/// The leader epoch in a [`StopReplica`] that says that the topic is being deleted.
pub const TOPIC_IS_DELETED: LeaderEpoch = LeaderEpoch(-2);

/// Tells of the brokers that are alive, and of partitions. Partitions that are not named stay as they are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpdateMetadata {
    /// The controller.
    pub controller: BrokerId,
    /// Its epoch.
    pub controller_epoch: ControllerEpoch,
    /// The receiver's broker epoch as the controller knows it.
    pub broker_epoch: BrokerEpoch,
    /// All brokers that are alive.
    pub live_brokers: Vec<Arc<BrokerImage>>,
    /// The topics that changed.
    pub topics: Vec<UpdateMetadataTopic>,
}

/// A topic in an [`UpdateMetadata`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpdateMetadataTopic {
    /// The topic's name.
    pub name: TopicName,
    /// The topic's id.
    pub id: TopicId,
    /// Its partitions that changed.
    pub partitions: Vec<(i32, PartitionMetadata)>,
}

/// What an [`UpdateMetadata`] says of a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PartitionMetadata {
    /// Its state.
    State(Arc<PartitionImage>),
    /// It is gone, or about to go (leader −2 on the wire).
    Deleted,
}
