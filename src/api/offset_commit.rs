//! OffsetCommit (key 8), versions 0 to 10: where a group goes on.
//!
//! What differs: 0 keeps the offset in the store and knows nothing of members; generation, member and a timestamp of the
//! client's own (1 alone) from 1; a retention time from 2 to 4; the leader epoch from 6; instance ids from 7; topic ids
//! instead of names from 10 (KIP-848). Ordering point: appended; from there on the answer waits for the replicas. As
//! `KafkaApis.handleOffsetCommitRequest`: partitions that do not exist, or whose topic the client may not read, are
//! refused here, and the group is asked for the rest, if there is one.

use std::sync::Arc;

use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services, old_offsets};
use crate::base::error_code::ErrorCode;
use crate::group::command::{self, Command, Commit, CommitPartition};
use crate::metadata::ClusterImage;
use crate::wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use crate::wire::response::Response;
use crate::wire::text::Text;

/// Where in the response a partition is answered.
type Place = (usize, usize);

/// Has the offsets kept.
///
/// # Errors
/// None.
pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: OffsetCommitRequest,
) -> Result<Answer, Rejected> {
    let version = context.api_version;
    let image = services.cluster.get();
    let authorized = context.authorize(Operation::Read, Resource::Group(&request.group_id));
    let mut response = OffsetCommitResponse {
        topics: Vec::with_capacity(request.topics.len()),
        ..OffsetCommitResponse::default()
    };
    let partitions = request.topics.iter().map(|topic| topic.partitions.len()).sum();
    let mut places = Vec::with_capacity(partitions);
    let mut offsets = Vec::with_capacity(partitions);
    // A topic without partitions is not answered, as in Kafka.
    for topic in request.topics.iter().filter(|topic| !topic.partitions.is_empty()) {
        let (name, refused) = match authorized {
            true => check_topic(context, &image, topic),
            false => (topic.name.clone(), Some(ErrorCode::GroupAuthorizationFailed)),
        };
        let mut answered = answer_topic(topic, &name);
        for (index, partition) in topic.partitions.iter().enumerate() {
            let unknown = || image.partition(&name, partition.partition_index).is_none();
            let error = match refused {
                Some(error) => error,
                None if unknown() => ErrorCode::UnknownTopicOrPartition,
                None => {
                    places.push((response.topics.len(), index));
                    offsets.push(committed(&name, partition, version));
                    ErrorCode::None
                }
            };
            answered.partitions.push(OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: error.code(),
            });
        }
        response.topics.push(answered);
    }
    if offsets.is_empty() {
        return Ok(Answer::Now(Response::encode(&response, version)));
    }
    if version == 0 {
        let errors = old_offsets::commit(services, &request.group_id, &offsets).await;
        set_errors(&mut response, &places, &errors);
        return Ok(Answer::Now(Response::encode(&response, version)));
    }
    let group_id = request.group_id.clone();
    let commit = Command::Commit(commit(request, offsets, version));
    let asked = services.groups.ask(&group_id, commit).await;
    Ok(Answer::of_group(asked, move |answer| {
        let errors = match answer {
            command::Answer::Commit(answer) => answer.errors,
            _ => Vec::new(),
        };
        set_errors(&mut response, &places, &errors);
        Response::encode(&response, version)
    }))
}

/// The topic's name, and why it is refused.
fn check_topic(
    context: &RequestContext,
    image: &ClusterImage,
    topic: &OffsetCommitRequestTopic,
) -> (Text, Option<ErrorCode>) {
    let name = match context.api_version {
        ..10 => topic.name.clone(),
        _ => match image.topic_by_id(topic.topic_id) {
            Some(known) => Text::from(&known.name),
            None => return (Text::EMPTY, Some(ErrorCode::UnknownTopicId)),
        },
    };
    let refused = !context.authorize(Operation::Read, Resource::Topic(&name));
    (name, refused.then_some(ErrorCode::TopicAuthorizationFailed))
}

fn answer_topic(topic: &OffsetCommitRequestTopic, name: &Text) -> OffsetCommitResponseTopic {
    OffsetCommitResponseTopic {
        topic_id: topic.topic_id,
        name: name.clone(),
        partitions: Vec::with_capacity(topic.partitions.len()),
    }
}

fn committed(name: &Text, partition: &OffsetCommitRequestPartition, version: i16) -> CommitPartition {
    CommitPartition {
        topic: name.clone(),
        partition: partition.partition_index,
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata.clone(),
        commit_timestamp_ms: Some(partition.commit_timestamp).filter(|at_ms| version == 1 && *at_ms != -1),
    }
}

fn commit(request: OffsetCommitRequest, offsets: Vec<CommitPartition>, version: i16) -> Commit {
    Commit {
        group_id: request.group_id,
        generation_id: request.generation_id_or_member_epoch,
        member_id: request.member_id,
        group_instance_id: request.group_instance_id,
        retention_ms: Some(request.retention_time_ms).filter(|ms| (2..=4).contains(&version) && *ms != -1),
        offsets,
    }
}

/// An answer that is missing is an error of ours, never a success.
fn set_errors(response: &mut OffsetCommitResponse, places: &[Place], errors: &[ErrorCode]) {
    for (index, (topic, partition)) in places.iter().enumerate() {
        let error = errors.get(index).unwrap_or(&ErrorCode::UnknownServerError);
        let slot = response
            .topics
            .get_mut(*topic)
            .and_then(|topic| topic.partitions.get_mut(*partition));
        if let Some(slot) = slot {
            slot.error_code = error.code();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// −1 is the broker's own retention, not one that ended before it began.
    #[test]
    fn a_time_to_keep_offsets_is_taken_from_the_versions_that_have_one() {
        let kept = |version, retention_time_ms| {
            let request = OffsetCommitRequest {
                retention_time_ms,
                ..OffsetCommitRequest::default()
            };
            commit(request, Vec::new(), version).retention_ms
        };
        for version in 1..=10 {
            let has_one = (2..=4).contains(&version);
            assert_eq!(kept(version, 5000), has_one.then_some(5000), "v{version}");
            assert_eq!(kept(version, -1), None, "v{version}");
        }
    }
}
