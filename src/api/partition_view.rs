//! A partition as a client on a listener sees it (Kafka's `ZkMetadataCache.getPartitionMetadata`): which of its
//! brokers can be reached there.

use crate::base::error_code::ErrorCode;
use crate::base::ids::BrokerId;
use crate::metadata::{ClusterImage, PartitionImage};

/// What old clients need told differently.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    /// Replicas that cannot be reached are an error and left out (Metadata version 0).
    pub(super) unavailable_is_error: bool,
    /// A leader without the listener is LISTENER_NOT_FOUND rather than LEADER_NOT_AVAILABLE (Metadata from 6 on).
    pub(super) names_listener: bool,
}

/// What a client is told of a partition.
pub(super) struct View {
    pub(super) error: ErrorCode,
    /// −1 when no leader can be reached.
    pub(super) leader_id: i32,
    pub(super) leader_epoch: i32,
    pub(super) replicas: Vec<i32>,
    pub(super) isr: Vec<i32>,
    pub(super) offline_replicas: Vec<i32>,
}

fn reachable(image: &ClusterImage, broker: BrokerId, listener: &str) -> bool {
    image
        .brokers
        .get(&broker)
        .is_some_and(|broker| broker.endpoint(listener).is_some())
}

fn ids(image: &ClusterImage, brokers: &[BrokerId], listener: &str, only_reachable: bool) -> Vec<i32> {
    brokers
        .iter()
        .filter(|broker| !only_reachable || reachable(image, **broker, listener))
        .map(|broker| broker.get())
        .collect()
}

/// The partition as seen on `listener`.
pub(super) fn view(image: &ClusterImage, partition: &PartitionImage, listener: &str, rules: Rules) -> View {
    let replicas = ids(image, &partition.replicas, listener, rules.unavailable_is_error);
    let isr = ids(image, &partition.isr, listener, rules.unavailable_is_error);
    let leader = partition
        .leader
        .filter(|leader| reachable(image, *leader, listener));
    let error = match (leader, partition.leader) {
        (None, Some(alive)) if rules.names_listener && image.brokers.contains_key(&alive) => {
            ErrorCode::ListenerNotFound
        }
        (None, _) => ErrorCode::LeaderNotAvailable,
        (Some(_), _) if replicas.len() < partition.replicas.len() || isr.len() < partition.isr.len() => {
            ErrorCode::ReplicaNotAvailable
        }
        (Some(_), _) => ErrorCode::None,
    };
    View {
        error,
        leader_id: leader.map_or(-1, BrokerId::get),
        leader_epoch: partition.leader_epoch.get(),
        replicas,
        isr,
        offline_replicas: ids(image, &partition.offline_replicas, listener, false),
    }
}
