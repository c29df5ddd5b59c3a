//! Who leads a partition of this broker, told to the rooms above: coordinators live and die with it.
//!
//! Signals of one partition come in the order in which the changes were made, after the partition's lock was let go and
//! before the request that made the change is answered. They may come on any thread; a receiver notes them and returns.

use std::sync::{Arc, PoisonError};

use crate::base::ids::{LeaderEpoch, TopicPartition};

use super::partition::Partition;
use super::replicas::Replicas;

/// Hears of each partition that this broker begins or ceases to lead (Kafka: `onLeadershipChange` of
/// `ReplicaManager.becomeLeaderOrFollower`).
pub trait LeadershipListener: Send + Sync {
    /// This broker leads the partition in this epoch. Told again for each new epoch.
    fn elected(&self, partition: &Arc<Partition>, epoch: LeaderEpoch);

    /// This broker does not lead the partition from `epoch` on; `None`: the replica is gone, or its disk is.
    fn resigned(&self, partition: &TopicPartition, epoch: Option<LeaderEpoch>);
}

/// Whom a broker tells.
#[derive(Default)]
pub struct Listeners(std::sync::RwLock<Vec<Arc<dyn LeadershipListener>>>);

impl Listeners {
    fn tell(&self, tell: impl Fn(&dyn LeadershipListener)) {
        let listeners = self.0.read().unwrap_or_else(PoisonError::into_inner);
        for listener in listeners.iter() {
            tell(&**listener);
        }
    }
}

impl Replicas {
    /// Tells `listener` of changes from now on. To be called before the controller decides about anything.
    pub fn listen(&self, listener: Arc<dyn LeadershipListener>) {
        let mut listeners = self.listeners.0.write().unwrap_or_else(PoisonError::into_inner);
        listeners.push(listener);
    }

    pub(super) fn tell_elected(&self, partition: &Arc<Partition>, epoch: LeaderEpoch) {
        self.listeners.tell(|listener| listener.elected(partition, epoch));
    }

    pub(super) fn tell_resigned(&self, partition: &TopicPartition, epoch: Option<LeaderEpoch>) {
        self.listeners
            .tell(|listener| listener.resigned(partition, epoch));
    }
}
