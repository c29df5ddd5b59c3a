//! What the controller is asked for, and what it answers: as the admin APIs have it, without their versions.

use std::collections::BTreeMap;

use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerEpoch, BrokerId, LeaderEpoch, TopicId, TopicName, TopicPartition};
pub use crate::config::alter::{Changes as ConfigChanges, Operation as ConfigOperation};

/// Why something was not done: the code a client gets, and a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AdminError {
    /// The code.
    pub code: ErrorCode,
    /// What is wrong, for a person.
    pub message: Option<String>,
}

impl AdminError {
    /// An error with a message.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: Some(message.into()),
        }
    }

    /// This broker is not the active controller.
    pub fn not_controller() -> Self {
        Self::new(
            ErrorCode::NotController,
            "This broker is not the active controller.",
        )
    }
}

impl std::fmt::Display for AdminError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.message {
            Some(message) => write!(f, "{}: {message}", self.code),
            None => self.code.fmt(f),
        }
    }
}

/// The answer for each of the things that were asked for, in their order.
pub type Answers<T> = Vec<Result<T, AdminError>>;

/// A topic to create (CreateTopics).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NewTopic {
    /// Its name, as it came.
    pub name: String,
    /// How many partitions; −1: `num.partitions`, or as many as there are assignments.
    pub partitions: i32,
    /// How many replicas each; −1: `default.replication.factor`, or as the assignments say.
    pub replication_factor: i16,
    /// Where each partition is to be; empty: where the controller puts it.
    pub assignments: Vec<(i32, Vec<BrokerId>)>,
    /// Its configs; a null value is an error.
    pub configs: Vec<(String, Option<String>)>,
}

/// A topic that was created, or would have been.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreatedTopic {
    /// Its name.
    pub name: TopicName,
    /// Its id; zero when it was only validated.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: i32,
    /// How many replicas its first partition has.
    pub replication_factor: i16,
    /// The configs that were set on it.
    pub configs: BTreeMap<String, String>,
}

/// A topic that is to have more partitions (CreatePartitions).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MorePartitions {
    /// The topic.
    pub name: String,
    /// How many it is to have in all.
    pub count: i32,
    /// Where each new one is to be; `None`: where the controller puts it.
    pub assignments: Option<Vec<Vec<BrokerId>>>,
}

/// What kind of election a client wants (ElectLeaders; `ElectionType`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ElectionType {
    /// The first replica is to lead.
    Preferred,
    /// Any replica that lives may lead, where none does.
    Unclean,
}

/// Where a partition is to be (AlterPartitionReassignments).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reassignment {
    /// The partition.
    pub partition: TopicPartition,
    /// On which brokers; `None`: where it was before the move that is under way.
    pub replicas: Option<Vec<BrokerId>>,
    /// Whether these may be more or fewer than now.
    pub any_number: bool,
}

/// A move that is under way (ListPartitionReassignments).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OngoingReassignment {
    /// The partition.
    pub partition: TopicPartition,
    /// Where it is or is going to be.
    pub replicas: Vec<BrokerId>,
    /// Those of them that are new.
    pub adding: Vec<BrokerId>,
    /// Those of them that are going to be no more.
    pub removing: Vec<BrokerId>,
}

/// Whose configs are to change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfigResource {
    /// A topic's.
    Topic(String),
    /// A broker's, by its id as text; empty: those of all brokers.
    Broker(String),
}

/// A change of somebody's configs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AlterConfigs {
    /// Whose.
    pub resource: ConfigResource,
    /// How.
    pub changes: ConfigChanges,
}

/// What a leader wants its partition's ISR to be (AlterPartition).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AlterPartition {
    /// The partition; without the topic's name where that is asked for by its id.
    pub partition: TopicPartition,
    /// The topic's id, where the topic is asked for by it.
    pub topic_id: Option<TopicId>,
    /// The epoch in which the sender leads.
    pub leader_epoch: LeaderEpoch,
    /// The ISR, each member with the epoch of its broker, −1 where that is not known.
    pub isr: Vec<(BrokerId, BrokerEpoch)>,
    /// True while the leader has not recovered from an unclean election.
    pub recovering: bool,
    /// The version of the partition's state that the sender knows.
    pub partition_epoch: i32,
}

/// A partition as it is after an [`AlterPartition`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AlteredPartition {
    /// The leader, if there is one.
    pub leader: Option<BrokerId>,
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// The replicas in sync.
    pub isr: Vec<BrokerId>,
    /// True while the leader has not recovered from an unclean election.
    pub recovering: bool,
    /// The version of the partition's state.
    pub partition_epoch: i32,
}
