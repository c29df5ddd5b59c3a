//! OffsetDelete (key 47), version 0: a group forgets where it was in some partitions (KIP-496).
//!
//! Ordering point: the group's step. As `KafkaApis.handleOffsetDeleteRequest`: partitions that do not exist, or whose
//! topic the client may not read, are refused here; the group is asked even if nothing is left, for it may be missing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::group::command::{self, Command, DeleteOffsets, DeleteOffsetsAnswer};
use crate::wire::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestTopic, OffsetDeleteResponse, OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
};
use crate::wire::response::Response;

/// Has the offsets deleted.
///
/// # Errors
/// None.
pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: OffsetDeleteRequest,
) -> Result<Answer, Rejected> {
    let version = context.api_version;
    if !context.authorize(Operation::Delete, Resource::Group(&request.group_id)) {
        let response = failed(ErrorCode::GroupAuthorizationFailed);
        return Ok(Answer::Now(Response::encode(&response, version)));
    }
    let mut response = OffsetDeleteResponse::default();
    let mut topics = Vec::new();
    // A topic without partitions is not answered, as in Kafka.
    for topic in request.topics.iter().filter(|topic| !topic.partitions.is_empty()) {
        let (answered, wanted) = check_topic(services, context, topic);
        response.topics.push(answered);
        if !wanted.is_empty() {
            topics.push((topic.name.clone(), wanted));
        }
    }
    let delete = DeleteOffsets {
        group_id: request.group_id.clone(),
        topics,
    };
    let asked = services
        .groups
        .ask(&request.group_id, Command::DeleteOffsets(delete))
        .await;
    Ok(Answer::Later(Box::pin(async move {
        let response = match asked.await {
            command::Answer::DeleteOffsets(answer) if answer.error.is_none() => merged(response, answer),
            command::Answer::DeleteOffsets(answer) => failed(answer.error),
            _ => failed(ErrorCode::UnknownServerError),
        };
        Response::encode(&response, version)
    })))
}

/// The topic's answer with what is refused, and the partitions that the group is asked about; their slots hold
/// UNKNOWN_SERVER_ERROR until it answers.
fn check_topic(
    services: &Services,
    context: &RequestContext,
    topic: &OffsetDeleteRequestTopic,
) -> (OffsetDeleteResponseTopic, Vec<i32>) {
    let image = services.cluster.get();
    let authorized = context.authorize(Operation::Read, Resource::Topic(&topic.name));
    let mut wanted = Vec::new();
    let mut partitions = Vec::with_capacity(topic.partitions.len());
    for partition in &topic.partitions {
        let index = partition.partition_index;
        let error = if !authorized {
            ErrorCode::TopicAuthorizationFailed
        } else if image.partition(&topic.name, index).is_none() {
            ErrorCode::UnknownTopicOrPartition
        } else {
            wanted.push(index);
            ErrorCode::UnknownServerError
        };
        partitions.push(OffsetDeleteResponsePartition {
            partition_index: index,
            error_code: error.code(),
        });
    }
    let answered = OffsetDeleteResponseTopic {
        name: topic.name.clone(),
        partitions,
    };
    (answered, wanted)
}

fn failed(error: ErrorCode) -> OffsetDeleteResponse {
    OffsetDeleteResponse {
        error_code: error.code(),
        ..OffsetDeleteResponse::default()
    }
}

/// Puts the group's answers where they belong.
fn merged(mut response: OffsetDeleteResponse, answer: DeleteOffsetsAnswer) -> OffsetDeleteResponse {
    let mut errors = BTreeMap::new();
    for (topic, partitions) in answer.topics {
        for (partition, error) in partitions {
            errors.insert((topic.clone(), partition), error);
        }
    }
    for topic in &mut response.topics {
        for partition in &mut topic.partitions {
            let key = (topic.name.clone(), partition.partition_index);
            if let Some(error) = errors.get(&key) {
                partition.error_code = error.code();
            }
        }
    }
    response
}
