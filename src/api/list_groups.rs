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
    let mut states = Filter::new(&request.states_filter);
    let mut types = Filter::new(&request.types_filter);
    let mut wanted = |group: &Listed| states.passes(group.state) && types.passes(group.group_type);
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

/// Which names pass; all, if none is given. A client may give a million, and there may be many groups, but they have few
/// names among them: each of those is looked for once.
struct Filter<'a> {
    names: &'a [Text],
    known: Vec<(&'static str, bool)>,
}

impl<'a> Filter<'a> {
    fn new(names: &'a [Text]) -> Self {
        Self {
            names,
            known: Vec::new(),
        }
    }

    fn passes(&mut self, name: &'static str) -> bool {
        if let Some((_, passes)) = self.known.iter().find(|(known, _)| *known == name) {
            return *passes;
        }
        let is_named = || self.names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name));
        let passes = self.names.is_empty() || is_named();
        self.known.push((name, passes));
        passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_looks_for_a_name_once_whatever_letters_it_is_in() {
        assert!(Filter::new(&[]).passes("Stable"));
        let names = ["STABLE".into(), "nothing".into()];
        let mut filter = Filter::new(&names);
        for _ in 0..3 {
            assert_eq!((filter.passes("Stable"), filter.passes("Empty")), (true, false));
        }
        assert_eq!(filter.known, [("Stable", true), ("Empty", false)]);
    }
}
