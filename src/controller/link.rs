//! A broker as the controller reaches it: the typed requests of the control protocol, whatever lies between.

use std::sync::Arc;

use crate::base::error_code::ErrorCode;
use crate::base::ids::TopicPartition;
use crate::metadata::BrokerImage;
use crate::metadata::control::{ControlAnswer, LeaderAndIsr, LogEnds, StopReplica, UpdateMetadata};
use crate::store::BoxFuture;

/// A broker that a controller tells what to do. Requests come one at a time, in the order in which they must take effect.
///
/// A broker refuses requests with a smaller controller epoch, or a smaller broker epoch, than it knows (error for the
/// whole).
pub trait BrokerLink: Send + Sync {
    /// Makes the broker leader or follower. The answer means that new replicas have their folders, durably: after it
    /// a folder that is missing is taken for lost. `KAFKA_STORAGE_ERROR` says that the replica's disk does not work.
    /// The image has the configs of the topics.
    fn leader_and_isr(&self, request: LeaderAndIsr) -> BoxFuture<'_, ControlAnswer>;

    /// Stops replicas. The answer means that deleted ones have lost their folder's name, durably: after it a folder
    /// of that name is taken for a stranger's. A replica that is not there is no error.
    fn stop_replica(&self, request: StopReplica) -> BoxFuture<'_, ControlAnswer>;

    /// Takes in what the cluster looks like, and what follows from it.
    fn update_metadata(&self, request: UpdateMetadata) -> BoxFuture<'_, ErrorCode>;

    /// Where the logs of replicas end that nobody leads.
    fn log_ends(&self, partitions: Vec<TopicPartition>) -> BoxFuture<'_, LogEnds>;
}

/// Makes the links to other brokers. A request to one of them is sent again until it is answered: only who holds the link
/// gives up, by dropping it.
pub trait Links: Send + Sync {
    /// A link to `broker`; `None` when it does not say where other brokers reach it.
    fn to(&self, broker: &BrokerImage) -> Option<Arc<dyn BrokerLink>>;
}

/// For brokers that stand alone in a test.
#[cfg(test)]
pub struct Nobody;

#[cfg(test)]
impl Links for Nobody {
    fn to(&self, _: &BrokerImage) -> Option<Arc<dyn BrokerLink>> {
        None
    }
}
