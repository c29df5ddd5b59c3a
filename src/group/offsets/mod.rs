//! The offsets that groups have committed, and those that wait for the end of a transaction.
//!
//! Invariant: [`OffsetTable`] changes only by what is in the log: `put`, `put_pending`, `remove` and `end_transaction` are called by
//! the replay of records and markers, in the order of the log. What the replicas do not have yet is not told
//! (unreplicated.rs). It knows nothing of members. Called by the shard; follows the part of
//! `GroupMetadata` and `GroupMetadataManager` that keeps offsets.

pub(in crate::group) mod commit;
pub(in crate::group) mod expiry;
pub(in crate::group) mod fetch;
mod small_map;
mod unreplicated;

pub(in crate::group) use expiry::Expiry;

#[cfg(test)]
mod offsets_test;

use std::collections::{BTreeMap, BTreeSet};

use self::small_map::SmallMap;
use self::unreplicated::Unreplicated;
use crate::base::ids::Offset;
use crate::coordinator::EndedTransaction;
use crate::group::record::OffsetValue;

/// Roughly what an offset takes beside its note and its topic's name.
const OFFSET_BYTES: usize = 192;
/// Roughly what a group takes beside its name and its offsets.
const GROUP_BYTES: usize = 256;

/// An offset in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::group) struct Committed {
    /// What was committed.
    pub value: OffsetValue,
    /// Where the record is: of two the later one counts.
    pub log_offset: Offset,
}

/// A group or topic. It is looked up by `&str` for each record that is loaded, where a `Text` would be checked to be UTF-8
/// at each comparison.
type Name = Box<str>;

/// Offsets by topic and partition.
type Partitions = SmallMap<Name, SmallMap<i32, Committed>>;

/// The offsets of one group.
#[derive(Clone, Default, Debug)]
struct GroupOffsets {
    committed: Partitions,
    committed_count: usize,
    /// By producer: what its open transaction would commit.
    pending: BTreeMap<i64, Partitions>,
}

/// The offsets of all groups of a shard.
#[derive(Clone, Default, Debug)]
pub(in crate::group) struct OffsetTable {
    groups: BTreeMap<Name, GroupOffsets>,
    /// The groups that a producer's open transaction would commit to.
    producers: BTreeMap<i64, BTreeSet<Name>>,
    unreplicated: Unreplicated,
    bytes: usize,
}

/// Puts an offset in its place. A name is copied only when it is new.
fn put(topics: &mut Partitions, topic: &str, partition: i32, committed: Committed) -> Option<Committed> {
    match topics.get_mut(topic) {
        Some(partitions) => partitions.insert(partition, committed),
        None => {
            let mut partitions = SmallMap::default();
            partitions.insert(partition, committed);
            topics.insert(topic.into(), partitions);
            None
        }
    }
}

fn bytes_of(topic: &str, committed: &Committed) -> usize {
    OFFSET_BYTES + topic.len() + committed.value.metadata.as_bytes().len()
}

impl GroupOffsets {
    /// Answers the bytes that it takes, and what was there before.
    fn put(&mut self, topic: &str, partition: i32, committed: Committed) -> (usize, Option<Committed>) {
        let added = bytes_of(topic, &committed);
        let before = put(&mut self.committed, topic, partition, committed);
        self.committed_count += usize::from(before.is_none());
        (added, before)
    }
}

impl OffsetTable {
    /// Bytes of memory, roughly.
    pub fn bytes(&self) -> usize {
        self.bytes + self.unreplicated.bytes()
    }

    /// How many of them stand for commits that are not replicated yet.
    pub fn unreplicated_bytes(&self) -> usize {
        self.unreplicated.bytes()
    }

    /// All replicas in sync have what is in the log below this offset.
    pub fn replicated(&mut self, below: Offset) {
        self.unreplicated.replicated(below);
    }

    /// True when the group has offsets, or may get some when a transaction ends.
    pub fn contains(&self, group_id: &str) -> bool {
        self.groups.contains_key(group_id)
    }

    /// The groups that have offsets, by name.
    pub fn group_ids(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(AsRef::as_ref)
    }

    /// The first group with offsets after `group_id` (`None`: of all).
    pub fn next_group(&self, group_id: Option<&str>) -> Option<&str> {
        super::next_key(&self.groups, group_id)
    }

    /// How many offsets the group has.
    pub fn count(&self, group_id: &str) -> usize {
        self.groups.get(group_id).map_or(0, |group| group.committed_count)
    }

    /// The offset of a partition.
    pub fn get(&self, group_id: &str, topic: &str, partition: i32) -> Option<&Committed> {
        self.groups.get(group_id)?.committed.get(topic)?.get(&partition)
    }

    /// What others are told of the offset of a partition: the last one that is replicated.
    pub fn told(&self, group_id: &str, topic: &str, partition: i32) -> Option<&Committed> {
        let told = self.unreplicated.told(group_id, topic, partition);
        told.unwrap_or_else(|| self.get(group_id, topic, partition))
    }

    /// True when the last commit of a partition's offset is not replicated yet.
    pub fn is_unreplicated(&self, group_id: &str, topic: &str, partition: i32) -> bool {
        self.unreplicated.told(group_id, topic, partition).is_some()
    }

    /// All offsets of a group.
    pub fn iter(&self, group_id: &str) -> impl Iterator<Item = (&str, i32, &Committed)> {
        let topics = self
            .groups
            .get(group_id)
            .into_iter()
            .flat_map(|group| group.committed.iter());
        topics.flat_map(|(topic, partitions)| {
            let partitions = partitions.iter();
            partitions.map(move |(partition, committed)| (&**topic, *partition, committed))
        })
    }

    /// True when an open transaction would commit an offset of this partition.
    pub fn is_pending(&self, group_id: &str, topic: &str, partition: i32) -> bool {
        let Some(group) = self.groups.get(group_id) else {
            return false;
        };
        let names = |topics: &Partitions| {
            let partitions = topics.get(topic);
            partitions.is_some_and(|partitions| partitions.get(&partition).is_some())
        };
        group.pending.values().any(names)
    }

    /// True when an open transaction would commit an offset of the group.
    pub fn has_pending(&self, group_id: &str) -> bool {
        self.groups
            .get(group_id)
            .is_some_and(|group| !group.pending.is_empty())
    }

    /// Makes room for a group that has nothing yet.
    fn ensure_group(&mut self, group_id: &str) {
        if !self.groups.contains_key(group_id) {
            self.bytes += GROUP_BYTES + group_id.len();
            self.groups.insert(group_id.into(), GroupOffsets::default());
        }
    }

    fn forget_if_empty(&mut self, group_id: &str) {
        let empty = |group: &GroupOffsets| group.committed.is_empty() && group.pending.is_empty();
        if self.groups.get(group_id).is_some_and(empty) {
            self.groups.remove(group_id);
            self.shrink(GROUP_BYTES + group_id.len());
        }
    }

    fn shrink(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// An offset is in the log, and `replicated` or not.
    pub fn put(
        &mut self,
        group_id: &str,
        topic: &str,
        partition: i32,
        committed: Committed,
        replicated: bool,
    ) {
        self.ensure_group(group_id);
        let Some(group) = self.groups.get_mut(group_id) else {
            return;
        };
        let at = committed.log_offset;
        let (added, before) = group.put(topic, partition, committed);
        self.bytes += added;
        self.shrink(before.as_ref().map_or(0, |before| bytes_of(topic, before)));
        if !replicated {
            self.unreplicated.note(at, group_id, topic, partition, before);
        }
    }

    /// A tombstone is in the log, and counts at once, as in Kafka. What open transactions would commit stays: they are
    /// not over.
    pub fn remove(&mut self, group_id: &str, topic: &str, partition: i32) {
        self.unreplicated.forget(group_id, topic, partition);
        let Some(group) = self.groups.get_mut(group_id) else {
            return;
        };
        let Some(partitions) = group.committed.get_mut(topic) else {
            return;
        };
        let removed = partitions.remove(&partition);
        if partitions.is_empty() {
            group.committed.remove(topic);
        }
        if let Some(removed) = removed {
            group.committed_count = group.committed_count.saturating_sub(1);
            self.shrink(bytes_of(topic, &removed));
        }
        self.forget_if_empty(group_id);
    }

    /// An offset of an open transaction is in the log.
    pub fn put_pending(
        &mut self,
        producer_id: i64,
        group_id: &str,
        topic: &str,
        partition: i32,
        committed: Committed,
    ) {
        let groups = self.producers.entry(producer_id).or_default();
        groups.insert(group_id.into());
        self.ensure_group(group_id);
        let Some(group) = self.groups.get_mut(group_id) else {
            return;
        };
        let added = bytes_of(topic, &committed);
        let pending = group.pending.entry(producer_id).or_default();
        let before = put(pending, topic, partition, committed);
        self.bytes += added;
        self.shrink(before.map_or(0, |before| bytes_of(topic, &before)));
    }

    /// A marker is in the log: what the producer's transaction would commit counts, unless something later was committed
    /// meanwhile, or is forgotten.
    pub fn end_transaction(&mut self, ended: &EndedTransaction) {
        let EndedTransaction {
            producer_id, commit, ..
        } = *ended;
        for group_id in self.producers.remove(&producer_id).unwrap_or_default() {
            let Some(group) = self.groups.get_mut(&group_id) else {
                continue;
            };
            let (mut added, mut freed) = (0, 0);
            for (topic, partitions) in group
                .pending
                .remove(&producer_id)
                .unwrap_or_default()
                .into_entries()
            {
                for (partition, pending) in partitions.into_entries() {
                    freed += bytes_of(&topic, &pending);
                    let current = group
                        .committed
                        .get(&topic)
                        .and_then(|known| known.get(&partition));
                    let is_later = current.is_none_or(|current| current.log_offset < pending.log_offset);
                    if commit && is_later {
                        let (more, before) = group.put(&topic, partition, pending);
                        added += more;
                        freed += before.as_ref().map_or(0, |before| bytes_of(&topic, before));
                        if !ended.replicated {
                            self.unreplicated
                                .note(ended.offset, &group_id, &topic, partition, before);
                        }
                    }
                }
            }
            self.bytes += added;
            self.shrink(freed);
            self.forget_if_empty(&group_id);
        }
    }
}
