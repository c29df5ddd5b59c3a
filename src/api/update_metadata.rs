//! UpdateMetadata (key 6), versions 0 to 8: a controller tells who is alive, and what became of partitions.
//!
//! What differs: see `metadata/messages`. Ordering point: completed. As `KafkaApis.handleUpdateMetadataRequest`.

use std::sync::Arc;

use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::metadata::control::UpdateMetadata;
use crate::metadata::messages::update_metadata_answer;
use crate::wire::messages::update_metadata::UpdateMetadataRequest;
use crate::wire::response::Response;

/// Takes it in.
///
/// # Errors
/// None.
pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: UpdateMetadataRequest,
) -> Result<Answer, Rejected> {
    let error = match UpdateMetadata::from_message(&request, context.api_version) {
        _ if !context.authorize(Operation::ClusterAction, Resource::Cluster) => {
            ErrorCode::ClusterAuthorizationFailed
        }
        Err(why) => {
            // Anybody can send one, so no person must act.
            tracing::warn!("UpdateMetadata refused: {why}");
            ErrorCode::UnknownServerError
        }
        Ok(asked) => services.local.update_metadata(asked).await,
    };
    let response = update_metadata_answer(error);
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}
