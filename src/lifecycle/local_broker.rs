//! This broker as a controller reaches it: its own without a socket between, another one through `api/`.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::base::error_code::ErrorCode;
use crate::base::task;
use crate::controller::BrokerLink;
use crate::group::service::Groups;
use crate::metadata::control::{ControlAnswer, LeaderAndIsr, StopReplica, UpdateMetadata};
use crate::replica::replicas::Replicas;
use crate::store::BoxFuture;

/// This broker.
pub struct Local {
    /// Its partitions.
    pub replicas: Arc<Replicas>,
    /// The groups that it coordinates.
    pub groups: Groups,
}

impl BrokerLink for Local {
    fn leader_and_isr(&self, request: LeaderAndIsr) -> BoxFuture<'_, ControlAnswer> {
        Box::pin(self.replicas.leader_and_isr(request))
    }

    fn stop_replica(&self, request: StopReplica) -> BoxFuture<'_, ControlAnswer> {
        Box::pin(self.replicas.stop_replica(request))
    }

    fn update_metadata(&self, request: UpdateMetadata) -> BoxFuture<'_, ErrorCode> {
        Box::pin(async move {
            let gone = match self.replicas.update_metadata(&request).await {
                Ok(gone) => gone,
                Err(error) => return error,
            };
            let image = self.replicas.cluster().get();
            let topics: BTreeSet<String> = gone
                .iter()
                .filter(|partition| image.topic(&partition.topic).is_none())
                .map(|partition| partition.topic.to_string())
                .collect();
            if !topics.is_empty() {
                // The controller does not wait for it.
                let groups = self.groups.clone();
                drop(task::spawn(async move {
                    groups.topics_deleted(topics.into_iter().collect()).await;
                }));
            }
            ErrorCode::None
        })
    }
}
