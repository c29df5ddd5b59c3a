//! OffsetForLeaderEpoch (key 23), versions 0 to 4: where an epoch ends, for truncation.
//!
//! What differs: the answer's epoch from 1, the current leader epoch from 2, the replica id from 3. No ordering point.
//! As `KafkaApis.handleOffsetForLeaderEpochRequest`.

use std::sync::Arc;

use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::base::task::Pace;
use crate::wire::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition,
    OffsetForLeaderTopicResult,
};
use crate::wire::response::Response;

/// Answers from memory.
///
/// # Errors
/// None.
pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: OffsetForLeaderEpochRequest,
) -> Result<Answer, Rejected> {
    let is_broker = context.authorize(Operation::ClusterAction, Resource::Cluster);
    let mut pace = Pace::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let authorized = is_broker || context.authorize(Operation::Describe, Resource::Topic(&topic.topic));
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            partitions.push(if authorized {
                end_offset(services, &topic.topic, partition)
            } else {
                answer(partition, ErrorCode::TopicAuthorizationFailed, (-1, -1))
            });
            pace.did(Pace::LOOK_UP).await;
        }
        topics.push(OffsetForLeaderTopicResult {
            topic: topic.topic.clone(),
            partitions,
        });
    }
    let response = OffsetForLeaderEpochResponse {
        topics,
        ..OffsetForLeaderEpochResponse::default()
    };
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}

fn end_offset(services: &Services, topic: &str, partition: &OffsetForLeaderPartition) -> EpochEndOffset {
    let result = services.replicas.end_offset_for_epoch(
        topic,
        partition.partition,
        partition.current_leader_epoch,
        partition.leader_epoch,
    );
    match result {
        Ok(end) => answer(partition, ErrorCode::None, end),
        Err(error) => answer(partition, error, (-1, -1)),
    }
}

fn answer(partition: &OffsetForLeaderPartition, error: ErrorCode, end: (i32, i64)) -> EpochEndOffset {
    EpochEndOffset {
        error_code: error.code(),
        partition: partition.partition,
        leader_epoch: end.0,
        end_offset: end.1,
    }
}
