//! DeleteRecords (key 21), versions 0 to 2: raises the log start offset.
//!
//! Versions differ in encoding only. Ordering point: the offset is raised at, or refused by, all partitions. The answer
//! waits until all replicas have it. As `KafkaApis.handleDeleteRecordsRequest` and `ReplicaManager.deleteRecords`.

use std::sync::Arc;
use std::time::Duration;

use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::base::task::Pace;
use crate::wire::messages::delete_records::{
    DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use crate::wire::response::Response;

/// Raises the offsets, and answers now or when the followers have them.
///
/// # Errors
/// None.
pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: DeleteRecordsRequest,
) -> Result<Answer, Rejected> {
    let image = services.cluster.get();
    let mut pending = Vec::new();
    let mut places = Vec::new();
    let mut pace = Pace::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    // A topic without partitions is not answered, as in Kafka.
    let asked = request.topics.iter().filter(|topic| !topic.partitions.is_empty());
    for (topic_index, topic) in asked.enumerate() {
        let authorized = context.authorize(Operation::Delete, Resource::Topic(&topic.name));
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for (index, partition) in topic.partitions.iter().enumerate() {
            let number = partition.partition_index;
            let result = if !authorized {
                Err(ErrorCode::TopicAuthorizationFailed)
            } else if image.partition(&topic.name, number).is_none() {
                Err(ErrorCode::UnknownTopicOrPartition)
            } else {
                services
                    .replicas
                    .delete_records(&topic.name, number, partition.offset)
            };
            let (error, low_watermark) = match result {
                Err(error) => (error, -1),
                Ok(deleted) => {
                    if let Some(one) = deleted.pending {
                        pending.push(one);
                        places.push((topic_index, index));
                    }
                    (ErrorCode::None, deleted.low_watermark)
                }
            };
            partitions.push(DeleteRecordsPartitionResult {
                partition_index: number,
                low_watermark,
                error_code: error.code(),
            });
            pace.did(Pace::LOOK_UP).await;
        }
        topics.push(DeleteRecordsTopicResult {
            name: topic.name.clone(),
            partitions,
        });
    }
    let mut response = DeleteRecordsResponse {
        topics,
        ..DeleteRecordsResponse::default()
    };
    let version = context.api_version;
    if pending.is_empty() {
        return Ok(Answer::Now(Response::encode(&response, version)));
    }
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let waiting = services.replicas.wait_for_low_watermark(pending, timeout);
    Ok(Answer::Later(Box::pin(async move {
        for ((topic, partition), result) in places.into_iter().zip(waiting.finish().await) {
            let slot = response
                .topics
                .get_mut(topic)
                .and_then(|topic| topic.partitions.get_mut(partition));
            if let Some(slot) = slot {
                slot.error_code = result.error.code();
                slot.low_watermark = result.low_watermark;
            }
        }
        Response::encode(&response, version)
    })))
}
