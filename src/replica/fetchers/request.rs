//! The Fetch that a fetcher sends next (Kafka: `RemoteLeaderEndPoint.buildFetch`).
//!
//! Invariant: within a session a request names what changed; topics go by their ids as long as each has one.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use crate::base::ids::{LeaderEpoch, TopicId, TopicName, TopicPartition};
use crate::base::planted::planted;
use crate::wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, ForgottenTopic, ReplicaState};
use crate::wire::text::Text;

use super::followed::Followed;
use super::task::Task;

impl Task {
    /// The next request: what changed since the last one, or all where a session begins.
    pub(super) fn request(&mut self) -> FetchRequest {
        let by_id = self.without_id == 0;
        if by_id != self.by_id {
            self.by_id = by_id;
            self.session.broken();
        }
        if self.session.is_full() {
            let partitions = &self.partitions;
            let id_of = |name: &TopicPartition| partitions.get(name).map(|one| one.topic_id);
            let all = self.fetching.iter();
            self.session
                .begin_full(all.filter_map(|name| Some((name.clone(), id_of(name)?))));
            self.changed = self.fetching.clone();
            self.names.clear();
        }
        let (session_id, session_epoch) = self.session.id_and_epoch();
        let mut topics = Vec::new();
        for name in std::mem::take(&mut self.changed) {
            let Some(followed) = self.partitions.get(&name) else {
                continue;
            };
            self.session.name(&name, followed.topic_id);
            self.names
                .entry(followed.topic_id)
                .or_insert_with(|| TopicName::clone(&name.topic));
            self.add_to(&mut topics, &name, followed);
        }
        FetchRequest {
            replica_id: if by_id { -1 } else { self.me.get() },
            replica_state: ReplicaState {
                replica_id: if by_id { self.me.get() } else { -1 },
                replica_epoch: if by_id {
                    self.own_epoch.load(Ordering::Acquire)
                } else {
                    -1
                },
            },
            max_wait_ms: self.settings.wait_max_ms,
            min_bytes: self.settings.min_bytes,
            max_bytes: self.settings.response_max_bytes,
            session_id,
            session_epoch,
            topics,
            forgotten_topics_data: forgotten(self.session.take_forgotten()),
            ..FetchRequest::default()
        }
    }

    fn add_to(&self, topics: &mut Vec<FetchTopic>, name: &TopicPartition, followed: &Followed) {
        let same = |last: &FetchTopic| *last.topic == *name.topic && last.topic_id == followed.topic_id;
        if !topics.last().is_some_and(same) {
            topics.push(FetchTopic {
                topic: Text::copy(&name.topic),
                topic_id: followed.topic_id,
                partitions: Vec::new(),
            });
        }
        if let Some(topic) = topics.last_mut() {
            topic.partitions.push(FetchPartition {
                partition: name.partition,
                current_leader_epoch: followed.epoch.get(),
                fetch_offset: followed.offset.get(),
                last_fetched_epoch: planted!(
                    "cluster-same-leader",
                    if followed.lag.is_some() {
                        -1
                    } else {
                        followed.last_epoch.map_or(-1, LeaderEpoch::get)
                    },
                    followed.last_epoch.map_or(-1, LeaderEpoch::get)
                ),
                log_start_offset: followed.log_start.get(),
                partition_max_bytes: self.settings.partition_max_bytes,
                ..FetchPartition::default()
            });
        }
    }
}

fn forgotten(partitions: BTreeMap<TopicPartition, TopicId>) -> Vec<ForgottenTopic> {
    let mut topics: Vec<ForgottenTopic> = Vec::new();
    for (name, id) in partitions {
        let same = |last: &ForgottenTopic| *last.topic == *name.topic && last.topic_id == id;
        if !topics.last().is_some_and(same) {
            topics.push(ForgottenTopic {
                topic: Text::copy(&name.topic),
                topic_id: id,
                partitions: Vec::new(),
            });
        }
        if let Some(topic) = topics.last_mut() {
            topic.partitions.push(name.partition);
        }
    }
    topics
}
