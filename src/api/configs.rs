//! DescribeConfigs, AlterConfigs and IncrementalAlterConfigs, keys 32, 33 and 44: what is decided lies beside, one file
//! an API; this brings in what the broker knows, and carries the changes to the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::alter_configs::{self, Change, Planned, Target};
use super::config_resource::{Failure, View};
use super::{Answer, Rejected, RequestContext, Services, describe_configs, incremental_alter_configs};
use crate::base::error_code::ErrorCode;
use crate::base::ids::BrokerId;
use crate::base::task::Pace;
use crate::controller::request::{AlterConfigs, ConfigChanges, ConfigResource};
use crate::controller::topic_name;
use crate::metadata::ClusterImage;
use crate::wire::messages::alter_configs::AlterConfigsRequest;
use crate::wire::messages::describe_configs::DescribeConfigsRequest;
use crate::wire::messages::incremental_alter_configs::IncrementalAlterConfigsRequest;
use crate::wire::response::Response;

/// What it costs to describe a resource, in what [`Pace`] counts: a broker's configs take as long as 256 KiB take to be looked
/// through.
const RESOURCE_WORK: usize = 256 * 1024;

fn overrides(image: &ClusterImage, topic: &str) -> Result<BTreeMap<String, String>, ErrorCode> {
    match image.topic(topic) {
        Some(_) => Ok(image.topic_overrides(topic)),
        None if topic_name::check(topic).is_err() => Err(ErrorCode::InvalidTopicException),
        None => Err(ErrorCode::UnknownTopicOrPartition),
    }
}

fn with_view<T>(services: &Services, then: impl FnOnce(&View<'_>) -> T) -> T {
    let image = services.cluster.get();
    then(&View {
        broker_id: services.replicas.me().get(),
        config: &image.broker_config,
        levels: &services.levels,
        topic: &|topic| overrides(&image, topic),
    })
}

pub(super) async fn describe(
    services: &Arc<Services>,
    context: &RequestContext,
    request: DescribeConfigsRequest,
) -> Result<Answer, Rejected> {
    let response = match describe_configs::questions(&request) {
        Err(response) => response,
        Ok(questions) => {
            let mut answers = describe_configs::Answers::default();
            let mut pace = Pace::new();
            for question in &questions {
                with_view(services, |view| answers.answer(question, &request, context, view));
                pace.did(RESOURCE_WORK).await;
            }
            answers.response()
        }
    };
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}

pub(super) async fn alter(
    services: &Arc<Services>,
    context: &RequestContext,
    request: AlterConfigsRequest,
) -> Result<Answer, Rejected> {
    let planned = with_view(services, |view| alter_configs::plan(&request, context, view));
    let replace = |_: usize, change: &Change| {
        let configs = change
            .configs
            .iter()
            .map(|(key, value)| (key.clone(), Some(value.clone())));
        Some(ConfigChanges::Replace(configs.collect()))
    };
    let outcomes = carry_out(services, planned, replace).await;
    let response = alter_configs::respond(&request, outcomes);
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}

pub(super) async fn alter_incrementally(
    services: &Arc<Services>,
    context: &RequestContext,
    request: IncrementalAlterConfigsRequest,
) -> Result<Answer, Rejected> {
    let planned = with_view(services, |view| {
        incremental_alter_configs::plan(&request, context, view)
    });
    // The operations go to the store, not their result: two clients that change one resource do not undo each other.
    let operations = |index: usize, _: &Change| {
        request
            .resources
            .get(index)
            .map(incremental_alter_configs::changes)
    };
    let outcomes = carry_out(services, planned, operations).await;
    let response = incremental_alter_configs::respond(&request, outcomes);
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}

/// Stores what is planned, and yields what became of each resource, in their order.
async fn carry_out(
    services: &Services,
    planned: Vec<Planned>,
    changes_of: impl Fn(usize, &Change) -> Option<ConfigChanges>,
) -> Vec<Result<(), Failure>> {
    let mut outcomes = Vec::with_capacity(planned.len());
    let mut wanted = Vec::new();
    for (index, planned) in planned.into_iter().enumerate() {
        match planned {
            Err(failure) => outcomes.push(Err(failure)),
            Ok(None) => outcomes.push(Ok(())),
            Ok(Some(change)) => {
                outcomes.push(Ok(()));
                if let Some(changes) = changes_of(index, &change) {
                    let resource = resource(change.target, services.replicas.me());
                    wanted.push((index, AlterConfigs { resource, changes }));
                }
            }
        }
    }
    if wanted.is_empty() {
        return outcomes;
    }
    let (indexes, changes): (Vec<_>, Vec<_>) = wanted.into_iter().unzip();
    for (index, answer) in indexes
        .into_iter()
        .zip(services.controller.alter_configs(changes, false).await)
    {
        if let (Some(outcome), Err(error)) = (outcomes.get_mut(index), answer) {
            *outcome = Err(Failure {
                code: error.code,
                message: error.message,
            });
        }
    }
    outcomes
}

fn resource(target: Target, me: BrokerId) -> ConfigResource {
    match target {
        Target::Topic(topic) => ConfigResource::Topic(topic),
        Target::ThisBroker => ConfigResource::Broker(me.to_string()),
        Target::AllBrokers => ConfigResource::Broker(String::new()),
    }
}
