//! ListOffsets (key 2), versions 0 to 11.
//!
//! What differs: 0 answers a list of segment offsets by file time; from 1 one offset with its timestamp; isolation
//! from 2; leader epochs from 4; OFFSET_NOT_AVAILABLE from 5, LEADER_NOT_AVAILABLE in its place before; the special
//! timestamps −3 from 7 (KIP-734), −4 from 8, −5 from 9, −6 from 11. No ordering point. As
//! `KafkaApis.handleListOffsetRequest`. Without tiered storage −4 is the earliest offset, −5 and −6 find nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::base::task::Pace;
use crate::replica::answers::FoundOffset;
use crate::replica::offsets::{EARLIEST, LATEST, OffsetQuery, is_quick};
use crate::replica::waiting::Bound;
use crate::wire::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};
use crate::wire::response::Response;

const CONSUMER_REPLICA_ID: i32 = -1;
const DEBUGGING_REPLICA_ID: i32 = -2;
/// Special timestamps and the first version that has them.
const SPECIAL_TIMESTAMPS: [(i64, i16); 6] = [(-1, 1), (-2, 1), (-3, 7), (-4, 8), (-5, 9), (-6, 11)];

/// Looks up each partition: at once what memory knows, else on the pool of its log directory.
///
/// # Errors
/// None.
pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: ListOffsetsRequest,
) -> Result<Answer, Rejected> {
    let quick = context.api_version > 0
        && request
            .topics
            .iter()
            .flat_map(|topic| &topic.partitions)
            .all(|partition| is_quick(partition.timestamp));
    let services = Arc::clone(services);
    let context = context.clone();
    let answer = async move {
        let response = respond(&services, &context, &request).await;
        Response::encode(&response, context.api_version)
    };
    if quick {
        return Ok(Answer::Now(answer.await));
    }
    Ok(Answer::Later(Box::pin(answer)))
}

async fn respond(
    services: &Arc<Services>,
    context: &RequestContext,
    request: &ListOffsetsRequest,
) -> ListOffsetsResponse {
    let duplicates = duplicates(request);
    let mut pace = Pace::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let authorized = context.authorize(Operation::Describe, Resource::Topic(&topic.name));
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let answer = if !authorized {
                failed(partition, ErrorCode::TopicAuthorizationFailed)
            } else if context.api_version == 0 {
                segment_offsets(services, request, &topic.name, partition).await
            } else if duplicates.contains(&(topic.name.as_str(), partition.partition_index)) {
                failed(partition, ErrorCode::InvalidRequest)
            } else if is_unsupported(partition.timestamp, context.api_version) {
                failed(partition, ErrorCode::UnsupportedVersion)
            } else {
                one_offset(services, context, request, &topic.name, partition).await
            };
            partitions.push(answer);
            // What a time asks for is looked up elsewhere.
            pace.did(Pace::LOOK_UP).await;
        }
        topics.push(ListOffsetsTopicResponse {
            name: topic.name.clone(),
            partitions,
        });
    }
    ListOffsetsResponse {
        topics,
        ..ListOffsetsResponse::default()
    }
}

/// The partitions that the request names more than once.
fn duplicates(request: &ListOffsetsRequest) -> BTreeSet<(&str, i32)> {
    let mut seen = BTreeSet::new();
    let mut twice = BTreeSet::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            let key = (topic.name.as_str(), partition.partition_index);
            if !seen.insert(key) {
                twice.insert(key);
            }
        }
    }
    twice
}

fn is_unsupported(timestamp: i64, version: i16) -> bool {
    timestamp < 0
        && !SPECIAL_TIMESTAMPS
            .iter()
            .any(|(special, since)| *special == timestamp && version >= *since)
}

fn failed(partition: &ListOffsetsPartition, error: ErrorCode) -> ListOffsetsPartitionResponse {
    found(partition, error, FoundOffset::NONE)
}

fn found(
    partition: &ListOffsetsPartition,
    error: ErrorCode,
    found: FoundOffset,
) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse {
        partition_index: partition.partition_index,
        error_code: error.code(),
        timestamp: found.timestamp_ms,
        offset: found.offset,
        leader_epoch: found.leader_epoch,
        ..ListOffsetsPartitionResponse::default()
    }
}

/// v1 and later.
async fn one_offset(
    services: &Arc<Services>,
    context: &RequestContext,
    request: &ListOffsetsRequest,
    topic: &str,
    partition: &ListOffsetsPartition,
) -> ListOffsetsPartitionResponse {
    let is_client = request.replica_id == CONSUMER_REPLICA_ID;
    let query = OffsetQuery {
        timestamp_ms: partition.timestamp,
        bound: match (is_client, request.isolation_level) {
            (false, _) => Bound::LogEnd,
            (true, 1) => Bound::LastStable,
            (true, _) => Bound::HighWatermark,
        },
        is_client,
        current_leader_epoch: partition.current_leader_epoch,
        leader_only: request.replica_id != DEBUGGING_REPLICA_ID,
    };
    match services
        .replicas
        .find_offset(topic, partition.partition_index, query)
        .await
    {
        Ok(offset) => found(partition, ErrorCode::None, offset),
        Err(ErrorCode::OffsetNotAvailable) if context.api_version < 5 => {
            failed(partition, ErrorCode::LeaderNotAvailable)
        }
        Err(error) => failed(partition, error),
    }
}

/// v0.
async fn segment_offsets(
    services: &Arc<Services>,
    request: &ListOffsetsRequest,
    topic: &str,
    partition: &ListOffsetsPartition,
) -> ListOffsetsPartitionResponse {
    if partition.timestamp < EARLIEST.min(LATEST) {
        return ListOffsetsPartitionResponse {
            error_code: ErrorCode::UnsupportedVersion.code(),
            partition_index: partition.partition_index,
            ..ListOffsetsPartitionResponse::default()
        };
    }
    let count = usize::try_from(partition.max_num_offsets).unwrap_or(0);
    let is_consumer = request.replica_id == CONSUMER_REPLICA_ID;
    let leader_only = request.replica_id != DEBUGGING_REPLICA_ID;
    let result = services
        .replicas
        .segment_offsets(
            topic,
            partition.partition_index,
            partition.timestamp,
            count,
            is_consumer,
            leader_only,
        )
        .await;
    let (error, offsets) = match result {
        Ok(offsets) => (ErrorCode::None, offsets),
        Err(error) => (error, Vec::new()),
    };
    ListOffsetsPartitionResponse {
        partition_index: partition.partition_index,
        error_code: error.code(),
        old_style_offsets: offsets,
        ..ListOffsetsPartitionResponse::default()
    }
}
