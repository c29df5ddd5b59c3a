//! AlterConfigs, key 33, v0 to v2: replaces all configs of a topic, of this broker or of all brokers (empty name)
//! (`ConfigAdminManager`, `ZkAdminManager.alterConfigs`). Log levels are not for this API.

use std::collections::BTreeSet;

use super::config_resource::{Configs, Failure, Kind, View, authorize};
use super::context::{Operation, RequestContext};
use crate::base::error_code::ErrorCode;
use crate::config::alter::{self, Changes, Entity};
use crate::wire::messages::alter_configs::{
    AlterConfigsRequest, AlterConfigsResource, AlterConfigsResourceResponse, AlterConfigsResponse,
};
use crate::wire::text::Text;

/// Whose configs are to be stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// A topic's.
    Topic(String),
    /// This broker's.
    ThisBroker,
    /// Those of all brokers.
    AllBrokers,
}

/// Configs that are to take the place of the stored ones.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Whose.
    pub target: Target,
    /// All of them.
    pub configs: Configs,
}

/// What is to be done for one resource of a request: a change to be stored, nothing more, or an error.
pub type Planned = Result<Option<Change>, Failure>;

/// What `request` asks for, a plan a resource.
pub fn plan(request: &AlterConfigsRequest, context: &RequestContext, view: &View<'_>) -> Vec<Planned> {
    let twice = duplicates(
        request
            .resources
            .iter()
            .map(|resource| (resource.resource_type, resource.resource_name.as_str())),
    );
    request
        .resources
        .iter()
        .map(|resource| {
            if twice.contains(&(resource.resource_type, resource.resource_name.as_str())) {
                return Err(Failure::request("each resource may come only once"));
            }
            let change = one(resource, context, view)?;
            Ok(Some(change).filter(|_| !request.validate_only))
        })
        .collect()
}

/// The answer: what became of each resource, in the order of the request.
pub fn respond(request: &AlterConfigsRequest, outcomes: Vec<Result<(), Failure>>) -> AlterConfigsResponse {
    let responses = request
        .resources
        .iter()
        .zip(outcomes)
        .map(|(resource, outcome)| {
            let (code, message) = coded(outcome);
            AlterConfigsResourceResponse {
                error_code: code,
                error_message: message,
                resource_type: resource.resource_type,
                resource_name: resource.resource_name.clone(),
            }
        })
        .collect();
    AlterConfigsResponse {
        responses,
        ..AlterConfigsResponse::default()
    }
}

/// Code and message as they stand in an answer.
pub(super) fn coded(outcome: Result<(), Failure>) -> (i16, Option<Text>) {
    match outcome {
        Ok(()) => (ErrorCode::None.code(), None),
        Err(failure) => (failure.code.code(), failure.message.map(Text::from)),
    }
}

/// What comes more than once.
pub(super) fn duplicates<T: Ord + Copy>(items: impl Iterator<Item = T>) -> BTreeSet<T> {
    let mut seen = BTreeSet::new();
    items.filter(|item| !seen.insert(*item)).collect()
}

fn one(
    resource: &AlterConfigsResource,
    context: &RequestContext,
    view: &View<'_>,
) -> Result<Change, Failure> {
    let name = resource.resource_name.as_str();
    let kind = match Kind::from_id(resource.resource_type) {
        Some(kind @ (Kind::Topic | Kind::Broker)) => kind,
        _ => {
            let message = format!("configs of type {} cannot be altered so", resource.resource_type);
            return Err(Failure::request(message));
        }
    };
    let configs = resource.configs.iter().map(|config| {
        let value = config.value.as_ref().map(ToString::to_string);
        (config.name.to_string(), value)
    });
    let changes = Changes::Replace(configs.collect());
    changes.check_shape()?;
    authorize(context, Operation::AlterConfigs, kind, name)?;
    match kind {
        Kind::Topic => change_topic(view, name, &changes),
        _ => change_broker(view, name, &changes),
    }
}

/// The change of a topic's overrides, if it may be.
pub(super) fn change_topic(view: &View<'_>, name: &str, changes: &Changes) -> Result<Change, Failure> {
    if name.is_empty() {
        return Err(Failure::request("there are no configs of all topics"));
    }
    let before = view.topic(name).map_err(|failure| match failure.code {
        // Kafka does not judge the name here: there is no such topic.
        ErrorCode::UnknownTopicOrPartition | ErrorCode::InvalidTopicException => Failure::new(
            ErrorCode::UnknownTopicOrPartition,
            format!("there is no topic {}", name.escape_debug()),
        ),
        _ => failure,
    })?;
    Ok(Change {
        target: Target::Topic(name.to_owned()),
        configs: alter::altered(Entity::Topic, view.config, &before, changes)?,
    })
}

/// The change of the dynamic configs of this broker, or of all when `name` is empty, if it may be.
pub(super) fn change_broker(view: &View<'_>, name: &str, changes: &Changes) -> Result<Change, Failure> {
    let (target, entity, before) = if name.is_empty() {
        (Target::AllBrokers, Entity::AllBrokers, view.config.cluster_wide())
    } else {
        view.this_broker(name)?;
        (Target::ThisBroker, Entity::ThisBroker, view.config.per_broker())
    };
    Ok(Change {
        target,
        configs: alter::altered(entity, view.config, before, changes)?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::config_resource::testing::{self, context, topics};
    use super::*;
    use crate::config::{BrokerConfig, LogLevels};
    use crate::wire::messages::alter_configs::AlterableConfig;

    fn planned(kind: i8, name: &str, configs: &[(&str, Option<&str>)], validate_only: bool) -> Planned {
        let configs = configs.iter().map(|(name, value)| AlterableConfig {
            name: Text::copy(name),
            value: value.map(Text::copy),
        });
        let request = AlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: kind,
                resource_name: Text::copy(name),
                configs: configs.collect(),
            }],
            validate_only,
        };
        let config = BrokerConfig::from_pairs(&[]).unwrap();
        let levels = LogLevels::default();
        let view = testing::view(&config, &levels, &topics);
        plan(&request, &context(2), &view).remove(0)
    }

    #[test]
    fn what_is_not_named_is_gone() {
        let change = planned(2, "t", &[("segment.ms", Some("9"))], false)
            .unwrap()
            .unwrap();
        assert_eq!(change.configs.into_keys().collect::<Vec<_>>(), ["segment.ms"]);
        assert_eq!(planned(2, "t", &[("segment.ms", Some("9"))], true), Ok(None));
    }

    #[test]
    fn errors_have_kafkas_codes() {
        for (kind, name, configs, expected) in [
            (2, "missing", &[][..], 3),
            (2, "a/b", &[], 3),
            (2, "", &[], 42),
            (2, "t", &[("segment.ms", Some("0"))], 40),
            (2, "t", &[("segment.ms", None)], 42),
            (
                2,
                "t",
                &[("segment.ms", Some("1")), ("segment.ms", Some("1"))],
                42,
            ),
            (4, "8", &[], 42),
            (4, "7", &[("broker.id", Some("8"))], 42),
            (8, "7", &[], 42),
            (0, "", &[], 42),
        ] {
            let code = planned(kind, name, configs, false).unwrap_err().code.code();
            assert_eq!(code, expected, "{kind} {name} {configs:?}");
        }
    }
}
