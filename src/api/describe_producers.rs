//! DescribeProducers (key 61), version 0: what partitions know of their producers (KIP-664).
//!
//! Ordering point: completed. As `KafkaApis.handleDescribeProducersRequest`, but that each partition of a topic is answered
//! once: its answer may be as long as its number is short.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::base::task::Pace;
use crate::controller::topic_name;
use crate::wire::messages::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};
use crate::wire::response::Response;
use crate::wire::text::Text;

/// Answers from memory.
///
/// # Errors
/// None.
pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: DescribeProducersRequest,
) -> Result<Answer, Rejected> {
    let image = services.cluster.get();
    let mut topics = Vec::with_capacity(request.topics.len());
    let mut seen = BTreeSet::new();
    let mut pace = Pace::new();
    for topic in &request.topics {
        let refused = if let Err(rule) = topic_name::check(&topic.name) {
            Some((rule.code, rule.message.map(Text::from)))
        } else if !context.authorize(Operation::Read, Resource::Topic(&topic.name)) {
            Some((ErrorCode::TopicAuthorizationFailed, None))
        } else if image.topic(&topic.name).is_none() {
            Some((ErrorCode::UnknownTopicOrPartition, Some(Text::from(UNKNOWN))))
        } else {
            None
        };
        let mut partitions = Vec::new();
        for index in &topic.partition_indexes {
            if seen.insert((topic.name.as_str(), *index)) {
                partitions.push(match &refused {
                    Some((error, message)) => failed(*index, *error, message.clone()),
                    None => describe(services, &topic.name, *index),
                });
            }
            pace.did(Pace::LOOK_UP).await;
        }
        topics.push(TopicResponse {
            name: topic.name.clone(),
            partitions,
        });
    }
    let response = DescribeProducersResponse {
        topics,
        ..DescribeProducersResponse::default()
    };
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}

const UNKNOWN: &str = "there is no such partition on this broker";

fn failed(partition_index: i32, error: ErrorCode, error_message: Option<Text>) -> PartitionResponse {
    PartitionResponse {
        partition_index,
        error_code: error.code(),
        error_message,
        ..PartitionResponse::default()
    }
}

fn describe(services: &Services, topic: &str, partition_index: i32) -> PartitionResponse {
    match services.replicas.producers(topic, partition_index) {
        Err(error) => {
            let is_unknown = error == ErrorCode::UnknownTopicOrPartition;
            failed(partition_index, error, is_unknown.then(|| Text::from(UNKNOWN)))
        }
        Ok(producers) => PartitionResponse {
            partition_index,
            active_producers: producers
                .into_iter()
                .map(|producer| ProducerState {
                    producer_id: producer.producer_id,
                    producer_epoch: i32::from(producer.epoch),
                    last_sequence: producer.last_sequence,
                    last_timestamp: producer.last_timestamp_ms,
                    coordinator_epoch: producer.coordinator_epoch,
                    current_txn_start_offset: producer.transaction_start_offset,
                })
                .collect(),
            ..PartitionResponse::default()
        },
    }
}
