//! SyncGroup (key 14), versions 0 to 5: the leader brings the assignments, each member gets its own.
//!
//! What differs: instance ids from 3 (KIP-345); the protocol's type and name from 5 (KIP-559), which must be there then.
//! Ordering point: the group's step; the answer comes when the assignments are in the log. As
//! `KafkaApis.handleSyncGroupRequest` and `GroupCoordinatorAdapter.syncGroup`.

use std::sync::Arc;

use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::group::command::{self, Command, Sync, SyncAnswer};
use crate::wire::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};
use crate::wire::response::Response;

/// Asks the group for the member's assignment.
///
/// # Errors
/// None.
pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: SyncGroupRequest,
) -> Result<Answer, Rejected> {
    let version = context.api_version;
    if let Err(error) = check(context, &request) {
        return Ok(Answer::Now(Response::encode(
            &respond(SyncAnswer::error(error)),
            version,
        )));
    }
    let group_id = request.group_id.clone();
    let sync = Sync {
        group_id: request.group_id,
        generation_id: request.generation_id,
        member_id: request.member_id,
        group_instance_id: request.group_instance_id,
        protocol_type: request.protocol_type,
        protocol_name: request.protocol_name,
        assignments: request
            .assignments
            .into_iter()
            .map(|assigned| (assigned.member_id, assigned.assignment))
            .collect(),
    };
    let asked = services.groups.ask(&group_id, Command::Sync(sync)).await;
    Ok(Answer::Later(Box::pin(async move {
        let answer = match asked.await {
            command::Answer::Sync(answer) => answer,
            _ => SyncAnswer::error(ErrorCode::UnknownServerError),
        };
        Response::encode(&respond(answer), version)
    })))
}

fn check(context: &RequestContext, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
    let named = request.protocol_type.is_some() && request.protocol_name.is_some();
    if context.api_version >= 5 && !named {
        return Err(ErrorCode::InconsistentGroupProtocol);
    }
    match context.authorize(Operation::Read, Resource::Group(&request.group_id)) {
        true => Ok(()),
        false => Err(ErrorCode::GroupAuthorizationFailed),
    }
}

fn respond(answer: SyncAnswer) -> SyncGroupResponse {
    SyncGroupResponse {
        error_code: answer.error.code(),
        protocol_type: answer.protocol_type,
        protocol_name: answer.protocol_name,
        assignment: answer.assignment,
        ..SyncGroupResponse::default()
    }
}
