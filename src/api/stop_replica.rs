//! StopReplica (key 5), versions 0 to 4: a controller has replicas stopped, and their logs deleted.
//!
//! What differs: see `metadata/messages`. Ordering point: completed. As `KafkaApis.handleStopReplicaRequest`.

use std::sync::Arc;

use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::metadata::control::StopReplica;
use crate::wire::messages::stop_replica::{StopReplicaRequest, StopReplicaResponse};
use crate::wire::response::Response;

/// Does what the controller says.
///
/// # Errors
/// None.
pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: StopReplicaRequest,
) -> Result<Answer, Rejected> {
    let version = context.api_version;
    let refused = |error: ErrorCode| StopReplicaResponse {
        error_code: error.code(),
        ..StopReplicaResponse::default()
    };
    let response = match StopReplica::from_message(&request, version) {
        _ if !context.authorize(Operation::ClusterAction, Resource::Cluster) => {
            refused(ErrorCode::ClusterAuthorizationFailed)
        }
        Err(why) => {
            // Anybody can send one, so no person must act.
            tracing::warn!("StopReplica refused: {why}");
            refused(ErrorCode::UnknownServerError)
        }
        Ok(asked) => services.local.stop_replica(asked).await.stop_replica_message(),
    };
    Ok(Answer::Now(Response::encode(&response, version)))
}
