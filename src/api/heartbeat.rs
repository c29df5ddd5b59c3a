//! Heartbeat (key 12), versions 0 to 4: a member lives, and learns whether its group rebalances.
//!
//! What differs: instance ids from 3 (KIP-345). Ordering point: the group's step. As `KafkaApis.handleHeartbeatRequest`.

use std::sync::Arc;

use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::group::command::{self, Command, Heartbeat};
use crate::wire::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use crate::wire::response::Response;

/// Tells the group that the member lives.
///
/// # Errors
/// None.
pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: HeartbeatRequest,
) -> Result<Answer, Rejected> {
    let version = context.api_version;
    if !context.authorize(Operation::Read, Resource::Group(&request.group_id)) {
        return Ok(Answer::Now(respond(ErrorCode::GroupAuthorizationFailed, version)));
    }
    let group_id = request.group_id.clone();
    let heartbeat = Heartbeat {
        group_id: request.group_id,
        generation_id: request.generation_id,
        member_id: request.member_id,
        group_instance_id: request.group_instance_id,
    };
    let asked = services
        .groups
        .ask(&group_id, Command::Heartbeat(heartbeat))
        .await;
    Ok(Answer::of_group(asked, move |answer| {
        let error = match answer {
            command::Answer::Heartbeat(error) => error,
            _ => ErrorCode::UnknownServerError,
        };
        respond(error, version)
    }))
}

fn respond(error: ErrorCode, version: i16) -> Response {
    let response = HeartbeatResponse {
        error_code: error.code(),
        ..HeartbeatResponse::default()
    };
    Response::encode(&response, version)
}
