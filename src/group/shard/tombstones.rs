//! What a removal removes: the tombstones of one turn.
//!
//! Invariant: one batch holds a bounded number of bytes, but always one tombstone, and one turn looks at a bounded number of
//! offsets. What is to go is looked up anew in each turn, so what changed in between counts. Called by removal.rs.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::GroupShard;
use super::removal::Doomed;
use crate::base::error_code::ErrorCode;
use crate::base::ids::Offset;
use crate::coordinator::{Effects, NewRecord};
use crate::group::next_key;
use crate::group::offsets::Expiry;
use crate::group::record::key::{group_key, offset_key};
use crate::wire::text::Text;

/// Most offsets that one turn looks at, roughly.
const MAX_LOOKED_AT: usize = 50_000;
/// What a record takes in a batch beside its key, at most.
const RECORD_BYTES: usize = 32;

/// The tombstones of one turn.
pub(super) struct Tombstones {
    records: Vec<NewRecord>,
    /// Whose the first one is.
    group_id: Option<Text>,
    bytes: usize,
    most_bytes: usize,
    looked_at: usize,
}

impl Tombstones {
    /// None yet; as many as one batch of `most_bytes` holds.
    pub fn up_to(most_bytes: usize) -> Self {
        Self {
            records: Vec::new(),
            group_id: None,
            bytes: 0,
            most_bytes,
            looked_at: 0,
        }
    }

    /// True for none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The records that remove.
    pub fn into_records(self) -> Vec<NewRecord> {
        self.records
    }

    /// What they come to, should the log find them too large.
    pub fn batch(&self) -> Batch {
        Batch {
            bytes: self.bytes,
            alone: self.group_id.clone().filter(|_| self.records.len() == 1),
        }
    }

    /// Takes one more tombstone of a group, if there is room for it. The first one always finds room.
    fn push(&mut self, group_id: &str, key: Bytes) -> bool {
        let bytes = self.bytes + key.len() + RECORD_BYTES;
        if !self.is_empty() && bytes > self.most_bytes {
            return false;
        }
        self.bytes = bytes;
        self.group_id.get_or_insert_with(|| Text::copy(group_id));
        self.records.push(NewRecord { key, value: None });
        true
    }

    fn is_full(&self) -> bool {
        !self.is_empty() && self.bytes >= self.most_bytes || self.looked_at >= MAX_LOOKED_AT
    }
}

/// The tombstones of one turn, on their way into the log.
pub(super) struct Batch {
    /// Their bytes, roughly.
    pub bytes: usize,
    /// Where it is one tombstone, the group that it is of: a smaller batch there is not.
    pub alone: Option<Text>,
}

impl GroupShard {
    /// Collects tombstones until there is nothing left or enough. Answers whether the removal is done with them.
    pub(super) fn plan(
        &mut self,
        what: &mut Doomed,
        tombstones: &mut Tombstones,
        effects: &mut Effects<Self>,
        now_ms: i64,
    ) -> bool {
        match what {
            Doomed::Expired { after } => self.plan_all(after, tombstones, |shard, group_id| {
                shard.expired(group_id, now_ms)
            }),
            Doomed::Topics { names, below, after } => self.plan_all(after, tombstones, |shard, group_id| {
                shard.of_topics(group_id, names, *below)
            }),
            Doomed::Groups { groups, at } => {
                while let Some((group_id, error)) = groups.get_mut(*at) {
                    if tombstones.is_full() {
                        return false;
                    }
                    match self.plan_group(group_id, tombstones, effects, now_ms) {
                        Ok(true) => {}
                        Ok(false) => return false,
                        Err(refused) => *error = refused,
                    }
                    *at += 1;
                }
                true
            }
            Doomed::Offsets {
                group_id,
                offsets,
                at,
                ..
            } => {
                // A partition may be named twice, and is one offset less all the same.
                let mut planned = BTreeSet::new();
                while !tombstones.is_full() {
                    let Some((topic, partition)) = offsets.get(*at) else {
                        return self.plan_end(group_id, planned.len(), tombstones);
                    };
                    tombstones.looked_at += 1;
                    if self.offsets.get(group_id, topic, *partition).is_some()
                        && planned.insert((topic.clone(), *partition))
                        && !tombstones.push(group_id, offset_key(group_id, topic, *partition))
                    {
                        return false;
                    }
                    *at += 1;
                }
                false
            }
        }
    }

    /// Goes through the groups after `after`.
    fn plan_all(
        &self,
        after: &mut Option<Text>,
        tombstones: &mut Tombstones,
        doomed: impl Fn(&Self, &str) -> Vec<(Text, i32)>,
    ) -> bool {
        while let Some(group_id) = self.next_group(after.as_deref()) {
            if tombstones.is_full() {
                return false;
            }
            tombstones.looked_at += 1 + self.offsets.count(group_id);
            let partitions = doomed(self, group_id);
            if !plan_offsets(group_id, &partitions, tombstones)
                || !self.plan_end(group_id, partitions.len(), tombstones)
            {
                return false;
            }
            *after = Some(Text::copy(group_id));
        }
        true
    }

    /// A group that has nobody and, after `planned` tombstones, nothing is removed as well (`cleanupGroupMetadata`).
    /// Answers whether that found room.
    fn plan_end(&self, group_id: &str, planned: usize, tombstones: &mut Tombstones) -> bool {
        let Some(group) = self.groups.get(group_id) else {
            return true;
        };
        let bare = self.offsets.count(group_id) == planned && !self.offsets.has_pending(group_id);
        let goes = bare && group.is_empty() && group.is_recorded() && !group.has_pending_members();
        !goes || tombstones.push(group_id, group_key(group_id))
    }

    /// One group of a DeleteGroups. Answers whether all of it found room.
    fn plan_group(
        &mut self,
        group_id: &Text,
        tombstones: &mut Tombstones,
        effects: &mut Effects<Self>,
        now_ms: i64,
    ) -> Result<bool, ErrorCode> {
        let group = self.groups.get(group_id);
        if group.is_none() && !self.offsets.contains(group_id) {
            return Err(ErrorCode::GroupIdNotFound);
        }
        if group.is_some_and(|group| !group.is_empty()) {
            return Err(ErrorCode::NonEmptyGroup);
        }
        tombstones.looked_at += 1 + self.offsets.count(group_id);
        let offsets = self.offsets.iter(group_id);
        let partitions: Vec<_> = offsets
            .map(|(topic, partition, _)| (Text::copy(topic), partition))
            .collect();
        let is_recorded = group.is_some_and(|group| group.is_recorded());
        if !plan_offsets(group_id, &partitions, tombstones)
            || is_recorded && !tombstones.push(group_id, group_key(group_id))
        {
            return Ok(false);
        }
        // Who was about to join begins anew.
        let so_far = std::mem::take(effects);
        *effects = self.change_group(group_id, so_far, now_ms, |group, turn| {
            group.forget_pending_members(turn);
        });
        Ok(true)
    }

    fn next_group(&self, after: Option<&str>) -> Option<&str> {
        let classic = next_key(&self.groups, after);
        let offsets = self.offsets.next_group(after);
        match (classic, offsets) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    fn expired(&self, group_id: &str, now_ms: i64) -> Vec<(Text, i32)> {
        let expiry = match self.groups.get(group_id) {
            Some(group) => group.expiry(),
            None => Expiry::SinceCommit {
                except: BTreeSet::new(),
            },
        };
        let retention_ms = self.settings.offsets_retention_ms;
        self.offsets.expired(group_id, &expiry, now_ms, retention_ms)
    }

    fn of_topics(&self, group_id: &str, names: &BTreeSet<String>, below: Offset) -> Vec<(Text, i32)> {
        self.offsets
            .iter(group_id)
            .filter(|(topic, _, committed)| names.contains(*topic) && committed.log_offset < below)
            .map(|(topic, partition, _)| (Text::copy(topic), partition))
            .collect()
    }
}

/// Answers whether all of them found room.
fn plan_offsets(group_id: &str, partitions: &[(Text, i32)], tombstones: &mut Tombstones) -> bool {
    partitions
        .iter()
        .all(|(topic, partition)| tombstones.push(group_id, offset_key(group_id, topic, *partition)))
}
