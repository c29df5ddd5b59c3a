//! Commits that are in the log and not replicated yet: what is to be told meanwhile (`pendingOffsetCommits`).
//!
//! Invariant: for each partition whose offset changed above the high watermark there is what it was before, oldest first,
//! each until the high watermark is past the change that followed. So what others are told is what all replicas in sync
//! have, and the table beside it is what the log says. On a broker of one nothing is ever here. Called by [`OffsetTable`](super::OffsetTable).

use std::collections::{BTreeMap, VecDeque};

use super::{Committed, Name, bytes_of};
use crate::base::ids::Offset;

/// Roughly what a change takes beside names and the offset that it replaced.
const CHANGE_BYTES: usize = 192;

/// What was before changes that are not replicated.
#[derive(Clone, Default, Debug)]
pub(super) struct Unreplicated {
    groups: BTreeMap<Name, BTreeMap<Name, BTreeMap<i32, VecDeque<Before>>>>,
    /// The changes in the order of the log.
    changes: VecDeque<Change>,
    bytes: usize,
}

/// What a partition's offset was until a change.
#[derive(Clone, Debug)]
struct Before {
    /// Where the change is.
    until: Offset,
    offset: Option<Committed>,
}

#[derive(Clone, Debug)]
struct Change {
    at: Offset,
    group_id: Name,
    topic: Name,
    partition: i32,
}

impl Change {
    fn bytes(&self) -> usize {
        CHANGE_BYTES + 2 * (self.group_id.len() + self.topic.len())
    }
}

fn before_bytes(topic: &str, before: Option<&Committed>) -> usize {
    before.map_or(0, |committed| bytes_of(topic, committed))
}

impl Unreplicated {
    /// Bytes of memory, roughly.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The offset of a partition changed at `at`, and was `before`.
    pub fn note(
        &mut self,
        at: Offset,
        group_id: &str,
        topic: &str,
        partition: i32,
        before: Option<Committed>,
    ) {
        let change = Change {
            at,
            group_id: group_id.into(),
            topic: topic.into(),
            partition,
        };
        self.bytes += change.bytes() + before_bytes(topic, before.as_ref());
        self.changes.push_back(change);
        let topics = self.groups.entry(group_id.into()).or_default();
        let partitions = topics.entry(topic.into()).or_default();
        partitions.entry(partition).or_default().push_back(Before {
            until: at,
            offset: before,
        });
    }

    /// What is to be told of a partition whose offset has changed and may change back: `None` for all others.
    pub fn told(&self, group_id: &str, topic: &str, partition: i32) -> Option<Option<&Committed>> {
        let before = self.groups.get(group_id)?.get(topic)?.get(&partition)?.front()?;
        Some(before.offset.as_ref())
    }

    /// A tombstone is in the log: nothing is told of the partition's offset any more.
    pub fn forget(&mut self, group_id: &str, topic: &str, partition: i32) {
        if self.groups.is_empty() {
            return;
        }
        while self.pop_before(group_id, topic, partition, |_| true) {}
    }

    /// All replicas in sync have what is in the log below this offset.
    pub fn replicated(&mut self, below: Offset) {
        while self.changes.front().is_some_and(|change| change.at < below)
            && let Some(change) = self.changes.pop_front()
        {
            self.bytes = self.bytes.saturating_sub(change.bytes());
            // It may have been forgotten, and others noted since.
            self.pop_before(&change.group_id, &change.topic, change.partition, |until| {
                until < below
            });
        }
    }

    /// Forgets the oldest of a partition if it `is_over`.
    fn pop_before(
        &mut self,
        group_id: &str,
        topic: &str,
        partition: i32,
        is_over: impl Fn(Offset) -> bool,
    ) -> bool {
        let Some(topics) = self.groups.get_mut(group_id) else {
            return false;
        };
        let Some(partitions) = topics.get_mut(topic) else {
            return false;
        };
        let Some(line) = partitions.get_mut(&partition) else {
            return false;
        };
        let Some(before) = line.pop_front_if(|before| is_over(before.until)) else {
            return false;
        };
        if line.is_empty() {
            partitions.remove(&partition);
            if partitions.is_empty() {
                topics.remove(topic);
            }
            if topics.is_empty() {
                self.groups.remove(group_id);
            }
        }
        let freed = before_bytes(topic, before.offset.as_ref());
        self.bytes = self.bytes.saturating_sub(freed);
        true
    }
}
