//! ListGroups (key 16), versions 0 to 5: the groups that this broker coordinates.
//!
//! What differs: states, and a filter of them, from 4 (KIP-518); types, and a filter of them, from 5 (KIP-848). Ordering
//! point: completed. As `KafkaApis.handleListGroupsRequest` and `GroupCoordinator.handleListGroups`: filters do not tell
//! small letters from large, and while a partition is being loaded the groups that are known go out beside the error.

use std::sync::Arc;

use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services};
use crate::group::command::Listed;
use crate::wire::messages::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};
use crate::wire::response::Response;
use crate::wire::text::Text;

/// Lists the groups that the client may see.
///
/// # Errors
/// None.
pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: ListGroupsRequest,
) -> Result<Answer, Rejected> {
    let sees_all = context.authorize(Operation::Describe, Resource::Cluster);
    let wanted = |group: &Listed| {
        is_among(&request.states_filter, group.state) && is_among(&request.types_filter, group.group_type)
    };
    let visible =
        |group: &Listed| sees_all || context.authorize(Operation::Describe, Resource::Group(&group.group_id));
    let (error, groups) = services.groups.list().await;
    let response = ListGroupsResponse {
        error_code: error.code(),
        groups: groups
            .into_iter()
            .filter(|group| wanted(group) && visible(group))
            .map(|group| ListedGroup {
                group_id: group.group_id,
                protocol_type: group.protocol_type,
                group_state: Text::from(group.state),
                group_type: Text::from(group.group_type),
            })
            .collect(),
        ..ListGroupsResponse::default()
    };
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}

/// An empty filter lets all pass.
fn is_among(filter: &[Text], name: &str) -> bool {
    filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
}
