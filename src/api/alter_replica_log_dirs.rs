//! AlterReplicaLogDirs (key 34), versions 0 to 2: replicas of this broker are to lie in other log directories (KIP-113).
//!
//! Versions differ in the encoding only. Ordering point: completed, that is when the moves have begun. As
//! `KafkaApis.handleAlterReplicaLogDirsRequest` and `ReplicaManager.alterReplicaLogDirs`: of a partition that is named for
//! several directories the last one counts; one that is not here is REPLICA_NOT_AVAILABLE or UNKNOWN_TOPIC_OR_PARTITION,
//! and is made in that directory should it come.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::base::ids::{TopicName, TopicPartition};
use crate::wire::messages::alter_replica_log_dirs::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult, AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
};
use crate::wire::response::Response;
use crate::wire::text::Text;

/// Begins the moves.
///
/// # Errors
/// None.
pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: AlterReplicaLogDirsRequest,
) -> Result<Answer, Rejected> {
    let mut wanted: BTreeMap<TopicPartition, &str> = BTreeMap::new();
    for directory in &request.dirs {
        for topic in &directory.topics {
            let name = TopicName::from(topic.name.as_str());
            for partition in &topic.partitions {
                let partition = TopicPartition::new(Arc::clone(&name), *partition);
                wanted.insert(partition, directory.path.as_str());
            }
        }
    }
    let mut results: BTreeMap<TopicPartition, ErrorCode> = BTreeMap::new();
    if context.authorize(Operation::Alter, Resource::Cluster) {
        let mut by_directory: BTreeMap<&str, Vec<TopicPartition>> = BTreeMap::new();
        for (name, path) in wanted {
            by_directory.entry(path).or_default().push(name);
        }
        for (path, names) in by_directory {
            let answers = services.replicas.alter_directories(path, &names).await;
            results.extend(names.into_iter().zip(answers));
        }
    } else {
        let refused = wanted.into_keys();
        results.extend(refused.map(|name| (name, ErrorCode::ClusterAuthorizationFailed)));
    }
    let response = AlterReplicaLogDirsResponse {
        results: by_topic(results),
        ..AlterReplicaLogDirsResponse::default()
    };
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}

fn by_topic(results: BTreeMap<TopicPartition, ErrorCode>) -> Vec<AlterReplicaLogDirTopicResult> {
    let mut topics: Vec<AlterReplicaLogDirTopicResult> = Vec::new();
    for (name, error) in results {
        let result = AlterReplicaLogDirPartitionResult {
            partition_index: name.partition,
            error_code: error.code(),
        };
        match topics.last_mut().filter(|last| *last.topic_name == *name.topic) {
            Some(topic) => topic.partitions.push(result),
            None => topics.push(AlterReplicaLogDirTopicResult {
                topic_name: Text::copy(&name.topic),
                partitions: vec![result],
            }),
        }
    }
    topics
}
