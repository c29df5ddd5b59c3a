//! CreateTopics, key 19. From version 1 on a request may only be validated, from 4 on the partitions and replicas may
//! be left to the broker's defaults, from 5 on the answer tells the configs (KIP-525), from 7 on the topic's id.
//!
//! A timeout of zero or less answers REQUEST_TIMED_OUT although the topic is created, as Kafka does
//! (`ZkAdminManager.createTopics`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services, in_time};
use crate::base::clock::{self, Instant};
use crate::base::error_code::ErrorCode;
use crate::base::ids::BrokerId;
use crate::config::describe;
use crate::controller::request::{CreatedTopic, NewTopic};
use crate::metadata::{Cluster, ClusterImage};
use crate::wire::messages::create_topics::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse,
};
use crate::wire::response::Response;
use crate::wire::text::Text;

/// KRaft's own topic, which nobody may create.
const CLUSTER_METADATA: &str = "__cluster_metadata";

pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: CreateTopicsRequest,
) -> Result<Answer, Rejected> {
    let mut count = BTreeMap::<&str, usize>::new();
    for topic in &request.topics {
        *count.entry(topic.name.as_str()).or_default() += 1;
    }
    let mut results = Vec::new();
    let mut wanted = Vec::new();
    for topic in &request.topics {
        let result = match refused(
            context,
            topic,
            count.get(topic.name.as_str()).is_some_and(|count| *count > 1),
        ) {
            Some((error, message)) => failed(&topic.name, error, Some(message.to_owned())),
            None => {
                wanted.push((results.len(), topic));
                failed(&topic.name, ErrorCode::UnknownServerError, None)
            }
        };
        results.push(result);
    }
    let topics = wanted.iter().map(|(_, topic)| new_topic(topic)).collect();
    let deadline = Instant::now().after(Duration::from_millis(
        u64::try_from(request.timeout_ms).unwrap_or(0),
    ));
    let asked = services.controller.create_topics(topics, request.validate_only);
    let answers = match in_time::answer(request.timeout_ms, asked).await {
        Some(answers) => answers,
        None => wanted.iter().map(|_| Err(in_time::over())).collect(),
    };
    let created = || answers.iter().filter_map(|answer| answer.as_ref().ok());
    let led = request.validate_only || led_in_time(&services.cluster, created, deadline).await;
    let image = services.cluster.get();
    for ((index, topic), answer) in wanted.iter().zip(&answers) {
        let result = match answer {
            Ok(created) if !led && !is_led(&image, created) => timed_out(created),
            Ok(created) if request.timeout_ms <= 0 && !request.validate_only => timed_out(created),
            Ok(created) => described(services, context, created),
            Err(error) => failed(&topic.name, error.code, error.message.clone()),
        };
        if let Some(slot) = results.get_mut(*index) {
            *slot = result;
        }
    }
    let response = CreateTopicsResponse {
        topics: results,
        ..CreateTopicsResponse::default()
    };
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}

/// Waits until each partition of the topics `created` has a leader (`DelayedCreatePartitions`); false when the time is
/// over before: some may be assigned to brokers that are not there.
async fn led_in_time<'a, I: Iterator<Item = &'a CreatedTopic>>(
    cluster: &Cluster,
    created: impl Fn() -> I,
    deadline: Instant,
) -> bool {
    let mut images = cluster.subscribe();
    let all_led = images.wait_for(|image| created().all(|topic| is_led(image, topic)));
    matches!(
        clock::timeout(deadline.since(Instant::now()), all_led).await,
        Some(Ok(_))
    )
}

/// Nobody is told of a partition before it has had a leader, so those that are not known count as well.
fn is_led(image: &ClusterImage, created: &CreatedTopic) -> bool {
    let led = image.topic(&created.name).map_or(0, |topic| {
        let partitions = topic.partitions.values();
        partitions.filter(|partition| partition.leader.is_some()).count()
    });
    i32::try_from(led).is_ok_and(|led| led >= created.partitions)
}

fn refused(
    context: &RequestContext,
    topic: &CreatableTopic,
    twice: bool,
) -> Option<(ErrorCode, &'static str)> {
    if topic.name == CLUSTER_METADATA {
        Some((
            ErrorCode::InvalidRequest,
            "this topic is internal and cannot be created",
        ))
    } else if twice {
        Some((
            ErrorCode::InvalidRequest,
            "the request names this topic more than once",
        ))
    } else if !context.authorize(Operation::Create, Resource::Cluster)
        && !context.authorize(Operation::Create, Resource::Topic(&topic.name))
    {
        Some((ErrorCode::TopicAuthorizationFailed, "not allowed"))
    } else {
        None
    }
}

fn new_topic(topic: &CreatableTopic) -> NewTopic {
    let brokers = |ids: &[i32]| ids.iter().map(|id| BrokerId(*id)).collect();
    NewTopic {
        name: topic.name.to_string(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic
            .assignments
            .iter()
            .map(|assigned| (assigned.partition_index, brokers(&assigned.broker_ids)))
            .collect(),
        configs: topic
            .configs
            .iter()
            .map(|config| {
                (
                    config.name.to_string(),
                    config.value.as_ref().map(ToString::to_string),
                )
            })
            .collect(),
    }
}

fn failed(name: &Text, error: ErrorCode, message: Option<String>) -> CreatableTopicResult {
    CreatableTopicResult {
        name: name.clone(),
        error_code: error.code(),
        error_message: message.map(Text::from),
        num_partitions: -1,
        replication_factor: -1,
        configs: Some(Vec::new()),
        ..CreatableTopicResult::default()
    }
}

/// The topic is there, but not led yet, or not waited for: of what is told of it only the id is.
fn timed_out(created: &CreatedTopic) -> CreatableTopicResult {
    CreatableTopicResult {
        topic_id: created.id,
        ..failed(&Text::from(&created.name), ErrorCode::RequestTimedOut, None)
    }
}

fn described(services: &Services, context: &RequestContext, created: &CreatedTopic) -> CreatableTopicResult {
    let mut result = CreatableTopicResult {
        name: Text::from(&created.name),
        error_message: None,
        topic_id: created.id,
        ..CreatableTopicResult::default()
    };
    if context.authorize(Operation::DescribeConfigs, Resource::Topic(&created.name)) {
        result.num_partitions = created.partitions;
        result.replication_factor = created.replication_factor;
        result.configs = Some(configs(services, created));
    } else {
        result.topic_config_error_code = ErrorCode::TopicAuthorizationFailed.code();
    }
    result
}

fn configs(services: &Services, created: &CreatedTopic) -> Vec<CreatableTopicConfigs> {
    describe::topic(&services.config(), &created.configs)
        .into_iter()
        .map(|entry| CreatableTopicConfigs {
            name: Text::from(entry.name),
            value: entry.value.map(Text::from),
            read_only: entry.read_only,
            config_source: entry.source.id(),
            is_sensitive: entry.sensitive,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::Uuid;
    use crate::replica::testing::TestBroker;

    #[tokio::test]
    async fn a_topic_of_which_a_partition_is_not_known_is_not_led_yet() {
        let broker = TestBroker::new(1);
        let created = CreatedTopic {
            name: "t".into(),
            id: Uuid([1; 16]),
            partitions: 3,
            replication_factor: 1,
            configs: BTreeMap::new(),
        };
        let led = || {
            let deadline = Instant::now().after(Duration::from_millis(1));
            led_in_time(&broker.cluster, || std::iter::once(&created), deadline)
        };
        assert!(!led().await);
        broker.lead("t", 1, 2, 0, &[1]).await;
        assert!(!led().await);
        broker.lead("t", 1, 3, 0, &[1]).await;
        assert!(led().await);
    }
}
