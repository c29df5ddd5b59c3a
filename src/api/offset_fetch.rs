//! OffsetFetch (key 9), versions 0 to 10: where groups went on.
//!
//! What differs: 0 reads the offsets that OffsetCommit version 0 keeps in the store; from 2 all offsets may be asked for
//! with null, and a group's error has a field of its own, before it is in each partition; leader epochs from 5; offsets
//! of open transactions may be refused from 7 (KIP-447); many groups from 8; member and epoch from 9; topic ids instead
//! of names from 10 (KIP-848). Ordering point: the groups' steps. As `KafkaApis.handleOffsetFetchRequest`: of all
//! offsets, those of topics that the client may not describe are left out; what it asks for by name is refused. Each
//! partition is answered once, and so is each group: what is asked for twice takes no memory twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services, old_offsets};
use crate::base::error_code::ErrorCode;
use crate::base::ids::Uuid;
use crate::group::command::{self, Command, FetchAnswer, FetchOffsets};
use crate::group::service::Asked;
use crate::metadata::ClusterImage;
use crate::wire::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use crate::wire::response::Response;
use crate::wire::text::Text;

/// Reads the offsets of each group.
///
/// # Errors
/// None.
pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: OffsetFetchRequest,
) -> Result<Answer, Rejected> {
    let version = context.api_version;
    let require_stable = request.require_stable;
    let groups = distinct(lifted(request, version));
    if version == 0 {
        let mut answers = Vec::with_capacity(groups.len());
        for group in groups {
            answers.push(old_offsets::fetch(services, context, group).await);
        }
        return Ok(Answer::Now(Response::encode(&lowered(answers, version), version)));
    }
    let image = services.cluster.get();
    let mut asked = Vec::with_capacity(groups.len());
    for group in groups {
        asked.push(ask(services, context, &image, group, require_stable).await);
    }
    let context = context.clone();
    Ok(Answer::Later(Box::pin(async move {
        let mut answers = Vec::with_capacity(asked.len());
        for one in asked {
            answers.push(one.finish(&context, &image).await);
        }
        Response::encode(&lowered(answers, version), version)
    })))
}

/// The groups of the request; before version 8 it is one.
fn lifted(request: OffsetFetchRequest, version: i16) -> Vec<OffsetFetchRequestGroup> {
    if version >= 8 {
        return request.groups;
    }
    let topics = request.topics.map(|topics| {
        let lift = |topic: OffsetFetchRequestTopic| OffsetFetchRequestTopics {
            name: topic.name,
            partition_indexes: topic.partition_indexes,
            ..OffsetFetchRequestTopics::default()
        };
        // A topic without partitions is not answered, as in Kafka.
        let asked = topics
            .into_iter()
            .filter(|topic| !topic.partition_indexes.is_empty());
        asked.map(lift).collect()
    });
    vec![OffsetFetchRequestGroup {
        group_id: request.group_id,
        topics,
        ..OffsetFetchRequestGroup::default()
    }]
}

/// The same questions, each once and where it was first asked: groups by their ids, those that are asked for all offsets
/// apart from the others.
fn distinct(groups: Vec<OffsetFetchRequestGroup>) -> Vec<OffsetFetchRequestGroup> {
    let mut places = BTreeMap::new();
    let mut once: Vec<OffsetFetchRequestGroup> = Vec::new();
    for group in groups {
        let key = (group.group_id.clone(), group.topics.is_none());
        let place = *places.entry(key).or_insert(once.len());
        match once.get_mut(place) {
            Some(known) => {
                if let (Some(known), Some(more)) = (&mut known.topics, group.topics) {
                    known.extend(more);
                }
            }
            None => once.push(group),
        }
    }
    for group in &mut once {
        group.topics = group.topics.take().map(distinct_topics);
    }
    once
}

/// A topic is known by its name and its id, of which only one is there.
fn distinct_topics(topics: Vec<OffsetFetchRequestTopics>) -> Vec<OffsetFetchRequestTopics> {
    let mut places = BTreeMap::new();
    let mut once: Vec<OffsetFetchRequestTopics> = Vec::new();
    for topic in topics {
        let key = (topic.name.clone(), topic.topic_id);
        let place = *places.entry(key).or_insert(once.len());
        match once.get_mut(place) {
            Some(known) => known.partition_indexes.extend(topic.partition_indexes),
            None => once.push(topic),
        }
    }
    for topic in &mut once {
        let mut seen = BTreeSet::new();
        topic.partition_indexes.retain(|index| seen.insert(*index));
    }
    once
}

/// A group that was asked, or that was not because the client may not.
struct Question {
    group: OffsetFetchRequestGroup,
    asked: Option<Asked>,
    /// Topics that the group was not asked about.
    refused: Vec<OffsetFetchResponseTopics>,
}

async fn ask(
    services: &Services,
    context: &RequestContext,
    image: &ClusterImage,
    group: OffsetFetchRequestGroup,
    require_stable: bool,
) -> Question {
    let mut refused = Vec::new();
    if !context.authorize(Operation::Describe, Resource::Group(&group.group_id)) {
        return Question {
            group,
            asked: None,
            refused,
        };
    }
    let topics = group.topics.as_ref().map(|topics| {
        let mut wanted = Vec::with_capacity(topics.len());
        // A topic without partitions is not answered before version 10, as in Kafka.
        let by_id = context.api_version >= 10;
        for topic in topics
            .iter()
            .filter(|topic| by_id || !topic.partition_indexes.is_empty())
        {
            match check_topic(context, image, topic) {
                Ok(name) => wanted.push((name, topic.partition_indexes.clone())),
                Err(error) => refused.push(failed_topic(topic, error)),
            }
        }
        wanted
    });
    let fetch = Command::Fetch(FetchOffsets {
        group_id: group.group_id.clone(),
        member_id: group.member_id.clone(),
        member_epoch: group.member_epoch,
        topics,
        require_stable,
    });
    Question {
        asked: Some(services.groups.ask(&group.group_id, fetch).await),
        group,
        refused,
    }
}

/// The topic's name.
fn check_topic(
    context: &RequestContext,
    image: &ClusterImage,
    topic: &OffsetFetchRequestTopics,
) -> Result<Text, ErrorCode> {
    let name = match context.api_version {
        ..10 => topic.name.clone(),
        _ => {
            let known = image
                .topic_by_id(topic.topic_id)
                .ok_or(ErrorCode::UnknownTopicId)?;
            Text::from(&known.name)
        }
    };
    match context.authorize(Operation::Describe, Resource::Topic(&name)) {
        true => Ok(name),
        false => Err(ErrorCode::TopicAuthorizationFailed),
    }
}

impl Question {
    async fn finish(self, context: &RequestContext, image: &ClusterImage) -> OffsetFetchResponseGroup {
        let Some(asked) = self.asked else {
            return failed_group(
                self.group,
                ErrorCode::GroupAuthorizationFailed,
                context.api_version,
            );
        };
        let answer = match asked.await {
            command::Answer::Fetch(answer) if answer.error.is_none() => answer,
            command::Answer::Fetch(answer) => {
                return failed_group(self.group, answer.error, context.api_version);
            }
            _ => return failed_group(self.group, ErrorCode::UnknownServerError, context.api_version),
        };
        let mut topics = match self.group.topics {
            Some(_) => fetched(answer, image),
            None => visible(fetched(answer, image), context),
        };
        topics.extend(self.refused);
        OffsetFetchResponseGroup {
            group_id: self.group.group_id,
            topics,
            ..OffsetFetchResponseGroup::default()
        }
    }
}

fn fetched(answer: FetchAnswer, image: &ClusterImage) -> Vec<OffsetFetchResponseTopics> {
    let topics = answer.topics.into_iter();
    let respond = |(name, partitions): (Text, Vec<command::FetchedOffset>)| OffsetFetchResponseTopics {
        topic_id: image.topic(&name).map_or(Uuid::ZERO, |topic| topic.id),
        name,
        partitions: partitions
            .into_iter()
            .map(|one| OffsetFetchResponsePartitions {
                partition_index: one.partition,
                committed_offset: one.offset,
                committed_leader_epoch: one.leader_epoch,
                metadata: Some(one.metadata),
                error_code: one.error.code(),
            })
            .collect(),
    };
    topics.map(respond).collect()
}

/// Of all topics of a group, those that can be told: from version 10 on they need an id.
fn visible(
    topics: Vec<OffsetFetchResponseTopics>,
    context: &RequestContext,
) -> Vec<OffsetFetchResponseTopics> {
    topics
        .into_iter()
        .filter(|topic| context.authorize(Operation::Describe, Resource::Topic(&topic.name)))
        .filter(|topic| context.api_version < 10 || !topic.topic_id.is_zero())
        .collect()
}

/// A topic that the group is not asked about.
pub(super) fn failed_topic(topic: &OffsetFetchRequestTopics, error: ErrorCode) -> OffsetFetchResponseTopics {
    let failed = |index: &i32| OffsetFetchResponsePartitions {
        partition_index: *index,
        committed_offset: -1,
        error_code: error.code(),
        ..OffsetFetchResponsePartitions::default()
    };
    OffsetFetchResponseTopics {
        topic_id: topic.topic_id,
        name: topic.name.clone(),
        partitions: topic.partition_indexes.iter().map(failed).collect(),
    }
}

/// Before version 2 an error of the group is told in each partition.
pub(super) fn failed_group(
    group: OffsetFetchRequestGroup,
    error: ErrorCode,
    version: i16,
) -> OffsetFetchResponseGroup {
    let topics = match version {
        ..2 => group
            .topics
            .iter()
            .flatten()
            .map(|topic| failed_topic(topic, error))
            .collect(),
        _ => Vec::new(),
    };
    OffsetFetchResponseGroup {
        group_id: group.group_id,
        topics,
        error_code: error.code(),
    }
}

/// The response; before version 8 it is that of one group.
fn lowered(mut groups: Vec<OffsetFetchResponseGroup>, version: i16) -> OffsetFetchResponse {
    if version >= 8 {
        return OffsetFetchResponse {
            groups,
            ..OffsetFetchResponse::default()
        };
    }
    let group = groups.pop().unwrap_or_default();
    let partition = |one: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: one.partition_index,
        committed_offset: one.committed_offset,
        committed_leader_epoch: one.committed_leader_epoch,
        metadata: one.metadata,
        error_code: one.error_code,
    };
    let topic = |one: OffsetFetchResponseTopics| OffsetFetchResponseTopic {
        name: one.name,
        partitions: one.partitions.into_iter().map(partition).collect(),
    };
    OffsetFetchResponse {
        topics: group.topics.into_iter().map(topic).collect(),
        error_code: group.error_code,
        ..OffsetFetchResponse::default()
    }
}
