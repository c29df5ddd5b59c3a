//! DescribeLogDirs (key 35), versions 0 to 4: what lies in each log directory.
//!
//! What differs: an error for the whole from 3, the sizes of the file systems from 4 (KIP-827). Ordering point:
//! completed. As `KafkaApis.handleDescribeLogDirsRequest` and `ReplicaManager.describeLogDirs`; directories come in the
//! order of `log.dirs`.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::replica::directories::DirectoryDescription;
use crate::wire::messages::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeLogDirsResult,
    DescribeLogDirsTopic,
};
use crate::wire::response::Response;
use crate::wire::text::Text;

/// Looks at each directory on its pool.
///
/// # Errors
/// None.
pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: DescribeLogDirsRequest,
) -> Result<Answer, Rejected> {
    let mut response = DescribeLogDirsResponse::default();
    if context.authorize(Operation::Describe, Resource::Cluster) {
        let wanted = request.topics.as_ref().map(|topics| {
            topics
                .iter()
                .flat_map(|topic| {
                    topic
                        .partitions
                        .iter()
                        .map(|index| (topic.topic.as_str(), *index))
                })
                .collect::<BTreeSet<_>>()
        });
        let is_wanted = |topic: &str, partition: i32| {
            wanted
                .as_ref()
                .is_none_or(|wanted| wanted.contains(&(topic, partition)))
        };
        let directories = services.replicas.describe_directories().await;
        response.results = directories
            .into_iter()
            .map(|directory| result(directory, is_wanted))
            .collect();
    } else {
        response.error_code = ErrorCode::ClusterAuthorizationFailed.code();
    }
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}

fn result(directory: DirectoryDescription, is_wanted: impl Fn(&str, i32) -> bool) -> DescribeLogDirsResult {
    let mut topics: Vec<DescribeLogDirsTopic> = Vec::new();
    for log in directory.logs {
        if !is_wanted(&log.partition.topic, log.partition.partition) {
            continue;
        }
        let described = DescribeLogDirsPartition {
            partition_index: log.partition.partition,
            partition_size: i64::try_from(log.size_bytes).unwrap_or(i64::MAX),
            offset_lag: log.offset_lag,
            is_future_key: log.is_future,
        };
        match topics
            .last_mut()
            .filter(|last| last.name.as_str() == &*log.partition.topic)
        {
            Some(topic) => topic.partitions.push(described),
            None => topics.push(DescribeLogDirsTopic {
                name: Text::copy(&log.partition.topic),
                partitions: vec![described],
            }),
        }
    }
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    DescribeLogDirsResult {
        error_code: directory.error.code(),
        log_dir: Text::from(directory.path),
        topics,
        total_bytes: directory.space.map_or(-1, |space| bytes(space.total_bytes)),
        usable_bytes: directory.space.map_or(-1, |space| bytes(space.usable_bytes)),
    }
}
