//! One fetch session: its partitions in the order in which they are read (Kafka's `FetchSession` and
//! `CachedPartition`).
//!
//! Invariant: `places` and `partitions` name each other, one to one. A partition that returned records goes to the
//! end, so that a busy one does not starve those behind it.

use std::collections::BTreeMap;

use crate::base::ids::{TopicName, Uuid};

use super::{AnswerSummary, FetchPartition, SessionTopic, next_epoch};

/// A partition as the session remembers it.
pub(super) struct Cached {
    request: FetchPartition,
    /// The high watermark of the last answer; −1 when that was an error, so that the next one is carried.
    high_watermark: i64,
    log_start_offset: i64,
}

impl Cached {
    /// A partition that was just asked for.
    fn asked(request: FetchPartition) -> Self {
        Self {
            request,
            high_watermark: -1,
            log_start_offset: -1,
        }
    }

    /// A partition that was answered in the response which opens the session.
    pub(super) fn answered(request: FetchPartition, answer: &AnswerSummary) -> Self {
        Self {
            request,
            high_watermark: answer.high_watermark,
            log_start_offset: answer.log_start_offset,
        }
    }

    /// Remembers the answer and says whether the response must carry it.
    fn take_answer(&mut self, answer: &AnswerSummary) -> bool {
        let changed = self.high_watermark != answer.high_watermark
            || self.log_start_offset != answer.log_start_offset
            || answer.records_size > 0
            || answer.must_respond;
        self.log_start_offset = answer.log_start_offset;
        self.high_watermark = if answer.is_error {
            -1
        } else {
            answer.high_watermark
        };
        changed
    }
}

pub(super) struct Session {
    pub(super) epoch: i32,
    pub(super) uses_topic_ids: bool,
    partitions: BTreeMap<u64, Cached>,
    places: BTreeMap<(SessionTopic, i32), u64>,
    next_place: u64,
}

impl Session {
    pub(super) fn new(uses_topic_ids: bool) -> Self {
        Self {
            epoch: next_epoch(super::INITIAL_EPOCH),
            uses_topic_ids,
            partitions: BTreeMap::new(),
            places: BTreeMap::new(),
            next_place: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.partitions.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// Puts a partition at the end; one of the same key makes room.
    pub(super) fn insert(&mut self, cached: Cached) {
        let place = self.next_place;
        self.next_place += 1;
        if let Some(earlier) = self.places.insert(cached.request.key(), place) {
            self.partitions.remove(&earlier);
        }
        self.partitions.insert(place, cached);
    }

    /// Takes what a request adds, changes and forgets.
    pub(super) fn update(&mut self, fetched: &[FetchPartition], forgotten: &[(SessionTopic, i32)]) {
        for partition in fetched {
            let place = self.places.get(&partition.key()).copied();
            match place.and_then(|place| self.partitions.get_mut(&place)) {
                Some(cached) => cached.request = partition.clone(),
                None => self.insert(Cached::asked(partition.clone())),
            }
        }
        for key in forgotten {
            if let Some(place) = self.places.remove(key) {
                self.partitions.remove(&place);
            }
        }
    }

    /// The partitions to read, in order. Names that were unknown are looked up again.
    pub(super) fn take_turns(&mut self, name_of: impl Fn(&Uuid) -> Option<TopicName>) -> Vec<FetchPartition> {
        self.partitions
            .values_mut()
            .map(|cached| {
                if cached.request.topic.is_none() {
                    cached.request.topic = name_of(&cached.request.topic_id);
                }
                cached.request.clone()
            })
            .collect()
    }

    /// Remembers a partition's answer and says whether the response must carry it.
    pub(super) fn take_answer(&mut self, partition: &FetchPartition, answer: &AnswerSummary) -> bool {
        let Some(place) = self.places.get_mut(&partition.key()) else {
            return true;
        };
        let Some(cached) = self.partitions.get_mut(place) else {
            return true;
        };
        let carried = cached.take_answer(answer);
        if carried
            && answer.records_size > 0
            && let Some(cached) = self.partitions.remove(place)
        {
            *place = self.next_place;
            self.next_place += 1;
            self.partitions.insert(*place, cached);
        }
        carried
    }
}
