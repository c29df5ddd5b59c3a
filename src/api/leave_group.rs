//! LeaveGroup (key 13), versions 0 to 5: members leave, or are put out by an administrator.
//!
//! What differs: one member before 3, whose error is the request's; then a list with an error each (KIP-345); a reason
//! from 5 (KIP-800). Ordering point: the group's step. As `KafkaApis.handleLeaveGroupRequest` and Kafka's
//! `LeaveGroupResponse`.

use std::sync::Arc;

use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::group::command::{self, Command, Leave, LeaveAnswer, LeaveMember};
use crate::wire::messages::leave_group::{
    LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse,
};
use crate::wire::response::Response;

/// Takes the members out of the group.
///
/// # Errors
/// None.
pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: LeaveGroupRequest,
) -> Result<Answer, Rejected> {
    let version = context.api_version;
    if !context.authorize(Operation::Read, Resource::Group(&request.group_id)) {
        let response = respond(failed(ErrorCode::GroupAuthorizationFailed), version);
        return Ok(Answer::Now(Response::encode(&response, version)));
    }
    let members = match version {
        ..3 => vec![MemberIdentity {
            member_id: request.member_id,
            ..MemberIdentity::default()
        }],
        _ => request.members,
    };
    let leave = Leave {
        group_id: request.group_id.clone(),
        members: members
            .into_iter()
            .map(|member| LeaveMember {
                member_id: member.member_id,
                group_instance_id: member.group_instance_id,
                reason: member.reason,
            })
            .collect(),
    };
    let asked = services
        .groups
        .ask(&request.group_id, Command::Leave(leave))
        .await;
    Ok(Answer::Later(Box::pin(async move {
        let answer = match asked.await {
            command::Answer::Leave(answer) => answer,
            _ => failed(ErrorCode::UnknownServerError),
        };
        Response::encode(&respond(answer, version), version)
    })))
}

fn failed(error: ErrorCode) -> LeaveAnswer {
    LeaveAnswer {
        error,
        members: Vec::new(),
    }
}

fn respond(answer: LeaveAnswer, version: i16) -> LeaveGroupResponse {
    let error = match answer.members.first() {
        Some((_, error)) if version < 3 && answer.error.is_none() => *error,
        _ => answer.error,
    };
    LeaveGroupResponse {
        error_code: error.code(),
        members: answer
            .members
            .into_iter()
            .map(|(member, error)| MemberResponse {
                member_id: member.member_id,
                group_instance_id: member.group_instance_id,
                error_code: error.code(),
            })
            .collect(),
        ..LeaveGroupResponse::default()
    }
}
