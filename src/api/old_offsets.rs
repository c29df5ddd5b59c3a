//! OffsetCommit and OffsetFetch of version 0: offsets of the oldest clients, which lie in the store as they did when those
//! clients wrote them there themselves.
//!
//! Called by `offset_commit.rs` and `offset_fetch.rs`. As `KafkaApis.commitOffsetsToZookeeper` and
//! `KafkaApis.handleOffsetFetchRequestFromZookeeper`: no group is asked, and nobody's membership is looked at.

use super::context::{Operation, Resource};
use super::offset_fetch::{failed_group, failed_topic};
use super::{RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::group::command::CommitPartition;
use crate::wire::messages::offset_fetch::{
    OffsetFetchRequestGroup, OffsetFetchResponseGroup, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopics,
};

/// Keeps the offsets, and answers each. The text beside an offset is measured and not kept.
pub(super) async fn commit(
    services: &Services,
    group_id: &str,
    offsets: &[CommitPartition],
) -> Vec<ErrorCode> {
    let longest = usize::try_from(services.config().offset_metadata_max_bytes).unwrap_or(0);
    let mut errors = Vec::with_capacity(offsets.len());
    for one in offsets {
        // Java counts UTF-16 units.
        let length = one
            .metadata
            .as_ref()
            .map_or(0, |text| text.encode_utf16().count());
        let kept = match length > longest {
            true => Err(ErrorCode::OffsetMetadataTooLarge),
            false => {
                services
                    .old_offsets
                    .set(group_id, &one.topic, one.partition, one.offset)
                    .await
            }
        };
        errors.push(kept.err().unwrap_or(ErrorCode::None));
    }
    errors
}

/// The offsets of a group; one that is not there is UNKNOWN_TOPIC_OR_PARTITION.
pub(super) async fn fetch(
    services: &Services,
    context: &RequestContext,
    group: OffsetFetchRequestGroup,
) -> OffsetFetchResponseGroup {
    if !context.authorize(Operation::Describe, Resource::Group(&group.group_id)) {
        return failed_group(group, ErrorCode::GroupAuthorizationFailed, context.api_version);
    }
    let image = services.cluster.get();
    let mut topics = Vec::new();
    for topic in group.topics.iter().flatten() {
        if !context.authorize(Operation::Describe, Resource::Topic(&topic.name)) {
            topics.push(failed_topic(topic, ErrorCode::TopicAuthorizationFailed));
            continue;
        }
        let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
        for index in &topic.partition_indexes {
            let stored = match image.partition(&topic.name, *index) {
                None => Err(ErrorCode::UnknownTopicOrPartition),
                Some(_) => services
                    .old_offsets
                    .get(&group.group_id, &topic.name, *index)
                    .await
                    .and_then(|stored| stored.ok_or(ErrorCode::UnknownTopicOrPartition)),
            };
            partitions.push(OffsetFetchResponsePartitions {
                partition_index: *index,
                committed_offset: *stored.as_ref().unwrap_or(&-1),
                error_code: stored.err().unwrap_or(ErrorCode::None).code(),
                ..OffsetFetchResponsePartitions::default()
            });
        }
        topics.push(OffsetFetchResponseTopics {
            name: topic.name.clone(),
            partitions,
            ..OffsetFetchResponseTopics::default()
        });
    }
    OffsetFetchResponseGroup {
        group_id: group.group_id,
        topics,
        ..OffsetFetchResponseGroup::default()
    }
}
