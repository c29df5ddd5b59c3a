//! Kafka's nodes: where they are and what is in them, as a Kafka 3.9 writes and reads them in ZooKeeper mode.
//!
//! Members are written in Kafka's order and without blanks; readers pass over members they do not know, and take the
//! older versions that a 3.9 takes. What is ours alone lies under `/barnabas`.

mod broker;
mod cluster;
mod config;
mod eligible;
mod new_partitions;
pub mod notifications;
mod our_broker;
mod partition;
pub mod paths;
mod topic;
mod unclean_shutdown;

#[cfg(test)]
mod golden_test;

use bytes::Bytes;
use serde::Serialize;

pub use broker::{Broker, BrokerEndpoint, FeatureRange};
pub use cluster::{ClusterId, Controller, Feature, ProducerIdBlock, decode_epoch, encode_epoch};
pub use config::{ConfigChange, EntityConfig};
pub use eligible::EligibleReplicas;
pub use new_partitions::NewPartitions;
pub use our_broker::{OurBroker, TELLS_LOSSES};
pub use partition::PartitionState;
pub use topic::Topic;
pub use unclean_shutdown::UncleanShutdown;

/// A node whose contents are not what Kafka writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadNode(pub String);

impl std::fmt::Display for BadNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadNode {}

impl From<serde_json::Error> for BadNode {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

/// JSON as Jackson writes it: in the order of the members, without blanks.
fn write(value: &impl Serialize) -> Bytes {
    // Fails only for maps whose keys are no texts, which none of these has.
    Bytes::from(serde_json::to_vec(value).unwrap_or_default())
}
