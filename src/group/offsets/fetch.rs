//! OffsetFetch: what a group has committed (`GroupMetadataManager.getOffsets`), as far as the replicas have it.

use super::{Committed, OffsetTable};
use crate::base::error_code::ErrorCode;
use crate::group::command::{FetchAnswer, FetchOffsets, FetchedOffset};
use crate::wire::text::Text;

fn fetched(partition: i32, committed: Option<&Committed>) -> FetchedOffset {
    FetchedOffset {
        partition,
        error: ErrorCode::None,
        offset: committed.map_or(-1, |committed| committed.value.offset),
        leader_epoch: committed.map_or(-1, |committed| committed.value.leader_epoch),
        metadata: committed.map_or(Text::EMPTY, |committed| committed.value.metadata.clone()),
    }
}

impl OffsetTable {
    /// The offsets that are asked for, whatever state the group is in, and whether or not it exists. Those that are `gone`
    /// are none.
    pub fn fetch(&self, fetch: &FetchOffsets, gone: impl Fn(&str, &Committed) -> bool) -> FetchAnswer {
        let topics = match &fetch.topics {
            Some(topics) => topics
                .iter()
                .map(|(topic, partitions)| {
                    let each = partitions
                        .iter()
                        .map(|partition| self.fetch_one(fetch, topic, *partition, &gone));
                    (topic.clone(), each.collect())
                })
                .collect(),
            None => self.fetch_all(fetch, &gone),
        };
        FetchAnswer {
            error: ErrorCode::None,
            topics,
        }
    }

    /// All that the group has. A first commit that is not replicated, or of an open transaction, is not looked at, as in
    /// Kafka.
    fn fetch_all(
        &self,
        fetch: &FetchOffsets,
        gone: &impl Fn(&str, &Committed) -> bool,
    ) -> Vec<(Text, Vec<FetchedOffset>)> {
        let mut topics: Vec<(Text, Vec<FetchedOffset>)> = Vec::new();
        let left = self.iter(&fetch.group_id).filter(|(topic, partition, _)| {
            let told = self.told(&fetch.group_id, topic, *partition);
            told.is_some_and(|committed| !gone(topic, committed))
        });
        for (topic, partition, _) in left {
            let one = self.fetch_one(fetch, topic, partition, gone);
            match topics.last_mut() {
                Some((last, partitions)) if *last == *topic => partitions.push(one),
                _ => topics.push((Text::copy(topic), vec![one])),
            }
        }
        topics
    }

    fn fetch_one(
        &self,
        fetch: &FetchOffsets,
        topic: &str,
        partition: i32,
        gone: impl Fn(&str, &Committed) -> bool,
    ) -> FetchedOffset {
        let group_id = &fetch.group_id;
        let is_pending = || {
            self.is_pending(group_id, topic, partition) || self.is_unreplicated(group_id, topic, partition)
        };
        if fetch.require_stable && is_pending() {
            return FetchedOffset {
                error: ErrorCode::UnstableOffsetCommit,
                ..fetched(partition, None)
            };
        }
        let committed = self.told(group_id, topic, partition);
        fetched(partition, committed.filter(|committed| !gone(topic, committed)))
    }
}
