//! DeleteGroups (key 42), versions 0 to 2: groups without members are deleted, with their offsets.
//!
//! Versions differ in encoding only. Ordering point: completed. As `KafkaApis.handleDeleteGroupsRequest`: a group that is
//! named twice is answered once, and those that the client may not delete come last. Other than there, the offsets that a
//! group has in the store (OffsetCommit version 0) go too, for nothing else would remove them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::wire::messages::delete_groups::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};
use crate::wire::response::Response;
use crate::wire::text::Text;

/// Deletes the groups.
///
/// # Errors
/// None.
pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: DeleteGroupsRequest,
) -> Result<Answer, Rejected> {
    let mut seen = BTreeSet::new();
    let (allowed, refused): (Vec<Text>, Vec<Text>) = request
        .groups_names
        .into_iter()
        .filter(|group_id| seen.insert(group_id.clone()))
        .partition(|group_id| context.authorize(Operation::Delete, Resource::Group(group_id)));
    let mut results = match allowed.is_empty() {
        true => Vec::new(),
        false => services.groups.delete(allowed).await,
    };
    for (group_id, error) in &mut results {
        // A group that has members, or another coordinator, keeps them.
        if matches!(error, ErrorCode::None | ErrorCode::GroupIdNotFound) {
            match services.old_offsets.remove(group_id).await {
                Ok(true) => *error = ErrorCode::None,
                Ok(false) => {}
                Err(failed) => *error = failed,
            }
        }
    }
    results.extend(
        refused
            .into_iter()
            .map(|group_id| (group_id, ErrorCode::GroupAuthorizationFailed)),
    );
    let response = DeleteGroupsResponse {
        results: results
            .into_iter()
            .map(|(group_id, error)| DeletableGroupResult {
                group_id,
                error_code: error.code(),
            })
            .collect(),
        ..DeleteGroupsResponse::default()
    };
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}
