//! AlterPartitionReassignments and ListPartitionReassignments, keys 45 (versions 0 and 1) and 46 (version 0): partitions move
//! to other brokers (KIP-455).
//!
//! What differs: from version 1 on (Kafka 4.1) a client can insist on the number of replicas. Ordering point: completed; a
//! move has begun, or has ended at once. As `KafkaApis.handleAlterPartitionReassignmentsRequest` and its sibling; answers
//! come in the order of the request. Of a partition that is named twice the last wish counts, each is answered.

use std::sync::Arc;

use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerId, TopicName, TopicPartition};
use crate::controller::request::{AdminError, Answers, OngoingReassignment, Reassignment};
use crate::wire::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignablePartitionResponse,
    ReassignableTopicResponse,
};
use crate::wire::messages::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, OngoingPartitionReassignment,
    OngoingTopicReassignment,
};
use crate::wire::response::Response;
use crate::wire::text::Text;

/// Begins moves, or takes them back.
///
/// # Errors
/// None.
pub(super) async fn alter(
    services: &Arc<Services>,
    context: &RequestContext,
    request: AlterPartitionReassignmentsRequest,
) -> Result<Answer, Rejected> {
    let outcome = if context.authorize(Operation::Alter, Resource::Cluster) {
        services.controller.alter_reassignments(wishes(&request)).await
    } else {
        Err(not_allowed())
    };
    let mut response = AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: request.allow_replication_factor_change,
        // Kafka 3.9 leaves an empty text, 4.2 only where nothing is asked.
        error_message: (context.api_version == 0 || request.topics.is_empty()).then_some(Text::EMPTY),
        ..AlterPartitionReassignmentsResponse::default()
    };
    match outcome {
        Ok(answers) => {
            response.responses = answered(&request, answers);
            if context.api_version == 0 {
                // Not answered by Kafka 3.9, but by 4.2.
                response.responses.retain(|topic| !topic.partitions.is_empty());
            }
        }
        Err(error) => {
            response.error_code = error.code.code();
            response.error_message = error.message.map(Text::from);
        }
    }
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}

/// Tells which moves are under way.
///
/// # Errors
/// None.
pub(super) async fn list(
    services: &Arc<Services>,
    context: &RequestContext,
    request: ListPartitionReassignmentsRequest,
) -> Result<Answer, Rejected> {
    let outcome = if context.authorize(Operation::Describe, Resource::Cluster) {
        let wanted = request.topics.map(|topics| {
            let topics = topics.into_iter().flat_map(|topic| {
                let name = TopicName::from(topic.name.as_str());
                let name = move |number| TopicPartition::new(Arc::clone(&name), number);
                topic.partition_indexes.into_iter().map(name)
            });
            topics.collect()
        });
        services.controller.reassignments(wanted).await
    } else {
        Err(not_allowed())
    };
    let mut response = ListPartitionReassignmentsResponse::default();
    match outcome {
        Ok(ongoing) => response.topics = by_topic(ongoing),
        Err(error) => {
            response.error_code = error.code.code();
            response.error_message = error.message.map(Text::from);
        }
    }
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}

fn not_allowed() -> AdminError {
    AdminError {
        code: ErrorCode::ClusterAuthorizationFailed,
        message: None,
    }
}

fn wishes(request: &AlterPartitionReassignmentsRequest) -> Vec<Reassignment> {
    let mut wishes = Vec::new();
    for topic in &request.topics {
        let name = TopicName::from(topic.name.as_str());
        for partition in &topic.partitions {
            let replicas = partition.replicas.as_ref();
            wishes.push(Reassignment {
                partition: TopicPartition::new(Arc::clone(&name), partition.partition_index),
                replicas: replicas.map(|ids| ids.iter().copied().map(BrokerId).collect()),
                any_number: request.allow_replication_factor_change,
            });
        }
    }
    wishes
}

fn answered(
    request: &AlterPartitionReassignmentsRequest,
    answers: Answers<()>,
) -> Vec<ReassignableTopicResponse> {
    let mut answers = answers.into_iter();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().zip(answers.by_ref());
        ReassignableTopicResponse {
            name: topic.name.clone(),
            partitions: partitions
                .map(|(partition, answer)| {
                    let error = answer.err();
                    ReassignablePartitionResponse {
                        partition_index: partition.partition_index,
                        error_code: error.as_ref().map_or(0, |error| error.code.code()),
                        error_message: error.and_then(|error| error.message).map(Text::from),
                    }
                })
                .collect(),
        }
    });
    topics.collect()
}

fn by_topic(ongoing: Vec<OngoingReassignment>) -> Vec<OngoingTopicReassignment> {
    let ids = |brokers: Vec<BrokerId>| brokers.into_iter().map(BrokerId::get).collect();
    let mut topics: Vec<OngoingTopicReassignment> = Vec::new();
    for one in ongoing {
        let partition = OngoingPartitionReassignment {
            partition_index: one.partition.partition,
            replicas: ids(one.replicas),
            adding_replicas: ids(one.adding),
            removing_replicas: ids(one.removing),
        };
        match topics
            .last_mut()
            .filter(|last| *last.name == *one.partition.topic)
        {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(OngoingTopicReassignment {
                name: Text::copy(&one.partition.topic),
                partitions: vec![partition],
            }),
        }
    }
    topics
}
