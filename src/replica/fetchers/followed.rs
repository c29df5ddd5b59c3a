//! The partitions of a fetcher, and what becomes of each next.
//!
//! Invariant: a partition is in the lists of its phase and in no other; the session names no partition that is not fetched.

use std::sync::Arc;

use crate::base::clock::Instant;
use crate::base::ids::{LeaderEpoch, Offset, TopicId, TopicPartition};
use crate::base::planted::planted;
use crate::replica::following::Position;
use crate::replica::partition::Partition;

use super::Assignment;
use super::task::Task;

/// What becomes of a partition next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// It is fetched.
    Fetching,
    /// It waits after an error; then it is looked at anew.
    Delayed(Instant),
    /// Its log is to be cut to the high watermark.
    Unknown,
    /// Its offset is not in the leader's log.
    OutOfRange,
    /// It is not asked for until the limit of throttled followers has room again.
    Throttled,
}

/// A partition of a fetcher.
pub(super) struct Followed {
    pub(super) partition: Arc<Partition>,
    pub(super) topic_id: TopicId,
    pub(super) epoch: LeaderEpoch,
    pub(super) offset: Offset,
    pub(super) last_epoch: Option<LeaderEpoch>,
    pub(super) log_start: Offset,
    /// How far it was behind the leader's high watermark when it last got records; `None` before the first answer.
    pub(super) lag: Option<i64>,
    /// How often in a row its leader answered as one that has not been told yet.
    pub(super) early: u32,
    /// Full answers in a row.
    pub(super) full: u32,
    /// The other lane may take it.
    pub(super) offered: bool,
    pub(super) phase: Phase,
}

impl Task {
    pub(super) fn add(&mut self, name: &TopicPartition, assignment: Assignment) {
        let followed = Followed {
            partition: assignment.partition,
            topic_id: assignment.topic_id,
            epoch: assignment.epoch,
            offset: Offset::ZERO,
            last_epoch: None,
            log_start: Offset::ZERO,
            lag: assignment.lag,
            early: 0,
            full: 0,
            offered: false,
            phase: Phase::Delayed(Instant::now()),
        };
        if followed.topic_id.is_zero() {
            self.without_id += 1;
        }
        tracing::info!(
            partition = %name,
            leader = %self.address,
            epoch = %followed.epoch,
            "following"
        );
        if followed.lag.is_none_or(|lag| lag > 0) {
            self.behind.insert(name.clone());
        }
        self.partitions.insert(name.clone(), followed);
        self.look_again(name);
    }

    /// The partition is not fetched until the controller decides about it anew.
    pub(super) fn remove(&mut self, name: &TopicPartition) {
        self.unlist(name);
        self.behind.remove(name);
        if let Some(gone) = self.partitions.remove(name)
            && gone.topic_id.is_zero()
        {
            self.without_id -= 1;
        }
    }

    /// Takes the partition out of the lists of its phase.
    fn unlist(&mut self, name: &TopicPartition) {
        self.session.forget(name);
        self.fetching.remove(name);
        self.changed.remove(name);
        self.out_of_range.remove(name);
        self.unknown.remove(name);
        self.throttled.remove(name);
        if let Some(followed) = self.partitions.get(name)
            && let Phase::Delayed(at) = followed.phase
        {
            self.delayed.remove(&(at, name.clone()));
        }
    }

    pub(super) fn set_phase(&mut self, name: &TopicPartition, phase: Phase) {
        if phase != Phase::Fetching {
            self.unlist(name);
        }
        let Some(followed) = self.partitions.get_mut(name) else {
            return;
        };
        let before = std::mem::replace(&mut followed.phase, phase);
        if let Phase::Delayed(at) = before {
            self.delayed.remove(&(at, name.clone()));
        }
        match phase {
            Phase::Fetching => {
                self.out_of_range.remove(name);
                self.unknown.remove(name);
                self.throttled.remove(name);
                self.fetching.insert(name.clone());
                self.changed.insert(name.clone());
            }
            Phase::Delayed(at) => {
                self.delayed.insert((at, name.clone()));
            }
            Phase::Unknown => {
                self.unknown.insert(name.clone());
            }
            Phase::OutOfRange => {
                self.out_of_range.insert(name.clone());
            }
            Phase::Throttled => {
                self.throttled.insert(name.clone());
            }
        }
    }

    /// The partition waits for `replica.fetch.backoff.ms`.
    pub(super) fn delay(&mut self, name: &TopicPartition) {
        self.set_phase(name, Phase::Delayed(self.after_backoff()));
    }

    pub(super) fn wake_delayed(&mut self, now: Instant) {
        while let Some((at, name)) = self.delayed.first().cloned() {
            if at > now {
                return;
            }
            self.delayed.remove(&(at, name.clone()));
            self.look_again(&name);
        }
    }

    /// Looks where the partition's log stands, and has it fetched from there.
    pub(super) fn look_again(&mut self, name: &TopicPartition) {
        let Some(followed) = self.partitions.get(name) else {
            return;
        };
        match followed.partition.position(followed.epoch) {
            // What is not known to be replicated may not be the leader's, and no epoch tells.
            Ok(position)
                if planted!("cluster-cut-to-watermark", true, position.last_epoch.is_none())
                    && position.high_watermark < position.log_end =>
            {
                self.set_phase(name, Phase::Unknown);
            }
            Ok(position) => self.fetch_from(name, &position),
            Err(error) => self.gave_up(name, &error),
        }
    }

    /// The partition is fetched from its log's end.
    pub(super) fn fetch_from(&mut self, name: &TopicPartition, position: &Position) {
        if let Some(followed) = self.partitions.get_mut(name) {
            let before = (followed.offset, followed.last_epoch, followed.log_start);
            let now = (position.log_end, position.last_epoch, position.log_start);
            if followed.phase == Phase::Fetching && before == now {
                return;
            }
            (followed.offset, followed.last_epoch, followed.log_start) = now;
            self.set_phase(name, Phase::Fetching);
        }
    }
}
