//! DescribeGroups (key 15), versions 0 to 6: a group's state, protocol and members.
//!
//! What differs: what the client may do from 3 (KIP-430); instance ids from 4; from 6 a group that is not there is
//! GROUP_ID_NOT_FOUND with a message (KIP-1043), before it is one in state `Dead` without an error. Ordering point: the
//! groups' steps. As `KafkaApis.handleDescribeGroupsRequest`, but that the answer is in the order of the request, and has
//! each group once: a group may be a megabyte, and its name three bytes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::authorized_operations::{NOT_ASKED, on_group};
use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::group::command::{self, Command, Described};
use crate::wire::messages::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use crate::wire::response::Response;
use crate::wire::text::Text;

/// The state of a group that is not there.
const DEAD: &str = "Dead";

/// Describes each group.
///
/// # Errors
/// None.
pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: DescribeGroupsRequest,
) -> Result<Answer, Rejected> {
    let mut seen = BTreeSet::new();
    let groups = request.groups.into_iter();
    let groups: Vec<Text> = groups.filter(|group_id| seen.insert(group_id.clone())).collect();
    let mut asked = Vec::with_capacity(groups.len());
    for group_id in groups {
        let answer = match context.authorize(Operation::Describe, Resource::Group(&group_id)) {
            true => {
                let describe = Command::Describe(group_id.clone());
                Some(services.groups.ask(&group_id, describe).await)
            }
            false => None,
        };
        asked.push((group_id, answer));
    }
    let context = context.clone();
    Ok(Answer::Later(Box::pin(async move {
        let version = context.api_version;
        let mut groups = Vec::with_capacity(asked.len());
        for (group_id, answer) in asked {
            let mut group = match answer {
                None => failed(group_id, ErrorCode::GroupAuthorizationFailed),
                Some(answer) => match answer.await {
                    command::Answer::Describe(described) => respond(group_id, described, version),
                    _ => failed(group_id, ErrorCode::UnknownServerError),
                },
            };
            if request.include_authorized_operations && group.error_code == 0 {
                group.authorized_operations = on_group(&context, &group.group_id);
            }
            groups.push(group);
        }
        let response = DescribeGroupsResponse {
            groups,
            ..DescribeGroupsResponse::default()
        };
        Response::encode(&response, version)
    })))
}

fn failed(group_id: Text, error: ErrorCode) -> DescribedGroup {
    DescribedGroup {
        error_code: error.code(),
        group_id,
        authorized_operations: NOT_ASKED,
        ..DescribedGroup::default()
    }
}

fn respond(group_id: Text, described: Described, version: i16) -> DescribedGroup {
    if described.error.is_none() && described.state == DEAD {
        return absent(group_id, version);
    }
    DescribedGroup {
        error_code: described.error.code(),
        error_message: described.error_message.map(Text::from),
        group_id,
        group_state: Text::from(described.state),
        protocol_type: described.protocol_type,
        protocol_data: described.protocol,
        members: described
            .members
            .into_iter()
            .map(|member| DescribedGroupMember {
                member_id: member.member_id,
                group_instance_id: member.group_instance_id,
                client_id: member.client_id,
                client_host: member.client_host,
                member_metadata: member.metadata,
                member_assignment: member.assignment,
            })
            .collect(),
        authorized_operations: NOT_ASKED,
    }
}

/// A group that is not there.
fn absent(group_id: Text, version: i16) -> DescribedGroup {
    let (error, message) = match version {
        ..6 => (ErrorCode::None, None),
        _ => (
            ErrorCode::GroupIdNotFound,
            Some(Text::from(format!("there is no group {group_id}"))),
        ),
    };
    DescribedGroup {
        error_message: message,
        group_state: Text::from(DEAD),
        ..failed(group_id, error)
    }
}
