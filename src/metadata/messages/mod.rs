//! Control requests and answers as messages of the wire, in every version, both directions.
//!
//! `message` writes the fields that the version has; the codec leaves out all others. What an old version lacks is
//! read as Kafka reads it: a broker epoch is −1 (taken by every receiver), a topic id is zero (none), a leader epoch in
//! StopReplica is −1 (unknown), a listener has its security protocol's name. Old layouts are grouped by topic when they
//! are read. Called by the controller's connections to brokers, and by the handlers of these APIs.
//!
//! A request that says that it comes from a KRaft controller is refused: Kafka takes one in a migration only, and fails
//! with UNKNOWN_SERVER_ERROR otherwise. The type of a LeaderAndIsr or UpdateMetadata (full or incremental) means
//! something in a migration alone; it is written as 0, as Kafka's controller does in ZooKeeper mode, and not read.

mod leader_and_isr;
mod log_ends;
mod stop_replica;
mod update_metadata;

#[cfg(test)]
mod recorded_test;

pub use log_ends::{log_ends, log_ends_request};
pub use update_metadata::{update_metadata_answer, update_metadata_error};

use std::collections::BTreeMap;
use std::fmt;

use crate::base::ids::{BrokerId, TopicName, TopicPartition};
use crate::wire::Text;

/// Why a control request of the wire cannot be taken: answered with UNKNOWN_SERVER_ERROR, as Kafka does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// It comes from a KRaft controller.
    KraftController,
    /// It names a security protocol that Kafka does not have.
    SecurityProtocol(i16),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KraftController => f.write_str("it comes from a KRaft controller"),
            Self::SecurityProtocol(id) => write!(f, "unknown security protocol {id}"),
        }
    }
}

impl std::error::Error for Refused {}

/// The leader of a partition that has none.
const NO_LEADER: i32 = -1;
/// The leader in an UpdateMetadata of a partition that is gone, or about to go (Kafka: `LeaderAndIsr.LEADER_DURING_DELETE`).
const LEADER_DURING_DELETE: i32 = -2;

fn numbers(brokers: &[BrokerId]) -> Vec<i32> {
    brokers.iter().map(|broker| broker.get()).collect()
}

fn brokers(numbers: &[i32]) -> Vec<BrokerId> {
    numbers.iter().map(|number| BrokerId(*number)).collect()
}

fn leader(number: i32) -> Option<BrokerId> {
    (number >= 0).then_some(BrokerId(number))
}

fn partition(topic: &Text, partition: i32) -> TopicPartition {
    TopicPartition::new(TopicName::from(topic), partition)
}

/// The items of each topic, topics in the order in which they come first: for versions that repeat the name.
fn by_topic<'a, T: 'a>(items: impl IntoIterator<Item = (&'a Text, T)>) -> Vec<(TopicName, Vec<T>)> {
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut topics: Vec<(TopicName, Vec<T>)> = Vec::new();
    for (name, item) in items {
        let place = *places.entry(name.as_str()).or_insert(topics.len());
        match topics.get_mut(place) {
            Some((_, items)) => items.push(item),
            None => topics.push((TopicName::from(name), vec![item])),
        }
    }
    topics
}
