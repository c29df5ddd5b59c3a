//! DescribeTopicPartitions, key 75 (KIP-966): topics page by page. Kafka 3.9 answers it in KRaft mode only; the rules
//! are those of its `DescribeTopicPartitionsRequestHandler`.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::authorized_operations::on_topic;
use super::context::{Operation, Resource};
use super::partition_view::{Rules, view};
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::controller::topic_name;
use crate::metadata::{ClusterImage, TopicImage, is_internal_topic};
use crate::wire::messages::describe_topic_partitions::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsRequestCursor, DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponseCursor, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};
use crate::wire::response::Response;
use crate::wire::text::Text;

pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: DescribeTopicPartitionsRequest,
) -> Result<Answer, Rejected> {
    services.told().await?;
    let response = match pages(services, context, &request) {
        Some(response) => response,
        None => DescribeTopicPartitionsResponse {
            topics: request
                .topics
                .iter()
                .map(|topic| failed(topic.name.clone(), ErrorCode::InvalidRequest))
                .collect(),
            ..DescribeTopicPartitionsResponse::default()
        },
    };
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}

fn failed(name: Text, error: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code: error.code(),
        is_internal: is_internal_topic(&name),
        name: Some(name),
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}

/// `None` for a cursor that names no topic of the request, or a negative partition.
fn pages(
    services: &Services,
    context: &RequestContext,
    request: &DescribeTopicPartitionsRequest,
) -> Option<DescribeTopicPartitionsResponse> {
    let image = services.cluster.get();
    let cursor = request.cursor.as_ref();
    let from = cursor.map_or("", |cursor| cursor.topic_name.as_str());
    let all = request.topics.is_empty();
    let names: BTreeSet<&str> = if all {
        image
            .topics
            .keys()
            .map(|name| &**name)
            .filter(|name| *name >= from)
            .collect()
    } else {
        request
            .topics
            .iter()
            .map(|topic| topic.name.as_str())
            .filter(|name| *name >= from)
            .collect()
    };
    if cursor.is_some_and(|cursor| cursor.partition_index < 0 || !all && !names.contains(from)) {
        return None;
    }
    let limit = request
        .response_partition_limit
        .min(services.config().max_request_partition_size_limit)
        .max(1);
    let mut left = usize::try_from(limit).unwrap_or(1);
    let mut response = DescribeTopicPartitionsResponse::default();
    let mut denied = Vec::new();
    for name in names {
        if !context.authorize(Operation::Describe, Resource::Topic(name)) {
            if !all {
                denied.push(failed(Text::copy(name), ErrorCode::TopicAuthorizationFailed));
            }
            continue;
        }
        if left == 0 {
            response.next_cursor = Some(next(name, 0));
            break;
        }
        let mut topic = match image.topic(name) {
            Some(topic) => {
                let first = first_partition(cursor, name);
                let (described, following) = page(&image, topic, context, first, &mut left);
                response.next_cursor = following.map(|partition| next(name, partition));
                described
            }
            None if topic_name::check(name).is_err() => {
                failed(Text::copy(name), ErrorCode::InvalidTopicException)
            }
            None => failed(Text::copy(name), super::metadata::unknown(&image)),
        };
        topic.topic_authorized_operations = on_topic(context, name);
        response.topics.push(topic);
        if response.next_cursor.is_some() {
            break;
        }
    }
    response.topics.append(&mut denied);
    Some(response)
}

fn next(name: &str, partition: i32) -> DescribeTopicPartitionsResponseCursor {
    DescribeTopicPartitionsResponseCursor {
        topic_name: Text::copy(name),
        partition_index: partition,
    }
}

fn first_partition(cursor: Option<&DescribeTopicPartitionsRequestCursor>, name: &str) -> i32 {
    cursor
        .filter(|cursor| cursor.topic_name == name)
        .map_or(0, |cursor| cursor.partition_index)
}

/// The partitions of a topic from `first` on, as many as are `left`; and the partition that the next page begins with.
fn page(
    image: &ClusterImage,
    topic: &TopicImage,
    context: &RequestContext,
    first: i32,
    left: &mut usize,
) -> (DescribeTopicPartitionsResponseTopic, Option<i32>) {
    let rules = Rules {
        unavailable_is_error: false,
        names_listener: true,
    };
    let mut described = DescribeTopicPartitionsResponseTopic {
        name: Some(Text::from(&topic.name)),
        topic_id: topic.id,
        is_internal: is_internal_topic(&topic.name),
        ..DescribeTopicPartitionsResponseTopic::default()
    };
    for (index, partition) in topic.partitions.range(first..) {
        if *left == 0 {
            return (described, Some(*index));
        }
        *left -= 1;
        let view = view(image, partition, &context.connection.listener.name, rules);
        described
            .partitions
            .push(DescribeTopicPartitionsResponsePartition {
                error_code: view.error.code(),
                partition_index: *index,
                leader_id: view.leader_id,
                leader_epoch: view.leader_epoch,
                replica_nodes: view.replicas,
                isr_nodes: view.isr,
                eligible_leader_replicas: Some(Vec::new()),
                last_known_elr: Some(Vec::new()),
                offline_replicas: view.offline_replicas,
            });
    }
    (described, None)
}
