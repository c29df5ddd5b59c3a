//! This broker as its own controller reaches it: the typed requests, without a socket between.

use std::sync::Arc;

use crate::base::error_code::ErrorCode;
use crate::controller::LocalBroker;
use crate::metadata::Cluster;
use crate::metadata::control::{ControlAnswer, LeaderAndIsr, StopReplica, UpdateMetadata};
use crate::replica::replicas::Replicas;
use crate::store::BoxFuture;

/// This broker.
pub struct Local {
    /// Its partitions.
    pub replicas: Arc<Replicas>,
    /// What it knows of the cluster.
    pub cluster: Cluster,
}

impl LocalBroker for Local {
    fn leader_and_isr(&self, request: LeaderAndIsr) -> BoxFuture<'_, ControlAnswer> {
        Box::pin(self.replicas.leader_and_isr(request))
    }

    fn stop_replica(&self, request: StopReplica) -> BoxFuture<'_, ControlAnswer> {
        Box::pin(self.replicas.stop_replica(request))
    }

    fn update_metadata(&self, request: UpdateMetadata) -> BoxFuture<'_, ErrorCode> {
        self.cluster.update(&request);
        Box::pin(std::future::ready(ErrorCode::None))
    }
}
