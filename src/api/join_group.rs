//! JoinGroup (key 11), versions 0 to 9: a member enters a group, or enters its next generation.
//!
//! What differs: the rebalance timeout from 1, before it is the session's; a member needs an id first from 4 (KIP-394);
//! instance ids from 5 (KIP-345); the protocol's type in the answer from 7, where no protocol is null instead of empty;
//! a reason from 8 (KIP-800); a leader may be told to skip the assignment from 9 (KIP-814). Ordering point: the group's
//! step; the answer comes when the rebalance is complete. As `KafkaApis.handleJoinGroupRequest` and
//! `GroupCoordinatorAdapter.joinGroup`.

use std::sync::Arc;

use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::group::command::{self, Client, Command, Join, JoinAnswer};
use crate::wire::messages::join_group::{JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember};
use crate::wire::response::Response;
use crate::wire::text::Text;

/// Lets the member join.
///
/// # Errors
/// None.
pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: JoinGroupRequest,
) -> Result<Answer, Rejected> {
    let version = context.api_version;
    if !context.authorize(Operation::Read, Resource::Group(&request.group_id)) {
        let response = respond(
            JoinAnswer::error(ErrorCode::GroupAuthorizationFailed, Text::EMPTY),
            version,
        );
        return Ok(Answer::Now(Response::encode(&response, version)));
    }
    let group_id = request.group_id.clone();
    let asked = services
        .groups
        .ask(&group_id, Command::Join(join(context, request)))
        .await;
    Ok(Answer::Later(Box::pin(async move {
        let answer = match asked.await {
            command::Answer::Join(answer) => answer,
            _ => JoinAnswer::error(ErrorCode::UnknownServerError, Text::EMPTY),
        };
        Response::encode(&respond(answer, version), version)
    })))
}

fn join(context: &RequestContext, request: JoinGroupRequest) -> Join {
    let version = context.api_version;
    Join {
        group_id: request.group_id,
        member_id: request.member_id,
        client: Client {
            id: context.client_id.clone().unwrap_or_default(),
            host: context.connection.client_host(),
        },
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: match version {
            0 => request.session_timeout_ms,
            _ => request.rebalance_timeout_ms,
        },
        protocol_type: request.protocol_type,
        protocols: request
            .protocols
            .into_iter()
            .map(|protocol| (protocol.name, protocol.metadata))
            .collect(),
        requires_known_member_id: version >= 4 && request.group_instance_id.is_none(),
        supports_skipping_assignment: version >= 9,
        group_instance_id: request.group_instance_id,
        reason: request.reason,
    }
}

fn respond(answer: JoinAnswer, version: i16) -> JoinGroupResponse {
    let protocol_name = match version {
        ..7 => Some(answer.protocol_name.unwrap_or_default()),
        _ => answer.protocol_name.filter(|name| !name.as_bytes().is_empty()),
    };
    JoinGroupResponse {
        error_code: answer.error.code(),
        generation_id: answer.generation_id,
        protocol_type: answer.protocol_type,
        protocol_name,
        leader: answer.leader,
        skip_assignment: answer.skip_assignment,
        member_id: answer.member_id,
        members: answer
            .members
            .into_iter()
            .map(|member| JoinGroupResponseMember {
                member_id: member.member_id,
                group_instance_id: member.group_instance_id,
                metadata: member.metadata,
            })
            .collect(),
        ..JoinGroupResponse::default()
    }
}
