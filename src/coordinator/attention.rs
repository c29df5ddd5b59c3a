//! What the one task of a coordinator has to see to: shards to load, writes to follow, timers that are due.
//!
//! Everybody else notes it here, from any thread, and rings. Bounded by the number of shards: each is in each list once
//! at most.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::base::clock::Instant;

use super::shard::Shard;
use super::slot::Slot;

/// The notes, and the bell.
pub struct Attention<S: Shard> {
    bell: Notify,
    notes: Mutex<Notes<S>>,
}

struct Notes<S: Shard> {
    load: Vec<Arc<Slot<S>>>,
    follow: Vec<Arc<Slot<S>>>,
    alarms: Alarms,
}

/// For each shard when to look at its timers: never later than its first deadline, perhaps earlier.
#[derive(Default)]
struct Alarms {
    by_shard: BTreeMap<i32, Instant>,
    queue: BTreeSet<(Instant, i32)>,
}

/// What is to be done now.
pub struct Work<S: Shard> {
    /// Shards to load.
    pub load: Vec<Arc<Slot<S>>>,
    /// Shards with answers that wait for the high watermark, which nobody follows yet.
    pub follow: Vec<Arc<Slot<S>>>,
    /// Shards whose timers are to be looked at.
    pub due: Vec<i32>,
    /// When to look again, if nobody rings before.
    pub next: Option<Instant>,
}

impl<S: Shard> Default for Attention<S> {
    fn default() -> Self {
        Self {
            bell: Notify::new(),
            notes: Mutex::new(Notes {
                load: Vec::new(),
                follow: Vec::new(),
                alarms: Alarms::default(),
            }),
        }
    }
}

impl<S: Shard> Attention<S> {
    fn notes(&self) -> MutexGuard<'_, Notes<S>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A shard is to be loaded.
    pub fn load(&self, slot: Arc<Slot<S>>) {
        self.notes().load.push(slot);
        self.bell.notify_one();
    }

    /// Answers of a shard wait for the high watermark.
    pub fn follow(&self, slot: Arc<Slot<S>>) {
        self.notes().follow.push(slot);
        self.bell.notify_one();
    }

    /// The first timer of a shard is due at `at`. A later one than is known rings too early once, which costs less than
    /// to note each heartbeat.
    pub fn alarm(&self, shard: i32, at: Instant) {
        if self.notes().alarms.set(shard, at) {
            self.bell.notify_one();
        }
    }

    /// Waits until somebody rings.
    pub async fn rung(&self) {
        self.bell.notified().await;
    }

    /// Takes what is to be done at `now`.
    pub fn take(&self, now: Instant) -> Work<S> {
        let mut notes = self.notes();
        Work {
            load: std::mem::take(&mut notes.load),
            follow: std::mem::take(&mut notes.follow),
            due: notes.alarms.take_due(now),
            next: notes.alarms.queue.first().map(|(at, _)| *at),
        }
    }
}

impl Alarms {
    /// True when the whole queue's first alarm is now earlier.
    fn set(&mut self, shard: i32, at: Instant) -> bool {
        let known = self.by_shard.get(&shard).copied();
        if known.is_some_and(|known| known <= at) {
            return false;
        }
        let first = self.queue.first().map(|(first, _)| *first);
        if let Some(known) = known {
            self.queue.remove(&(known, shard));
        }
        self.by_shard.insert(shard, at);
        self.queue.insert((at, shard));
        first.is_none_or(|first| at < first)
    }

    fn take_due(&mut self, now: Instant) -> Vec<i32> {
        let mut due = Vec::new();
        while let Some((at, shard)) = self.queue.first().copied()
            && at <= now
        {
            self.queue.remove(&(at, shard));
            self.by_shard.remove(&shard);
            due.push(shard);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_earliest_alarm_of_a_shard_holds() {
        let now = Instant::now();
        let later = |ms| now.after(Duration::from_millis(ms));
        let mut alarms = Alarms::default();
        assert!(alarms.set(1, later(20)));
        assert!(!alarms.set(2, later(30)), "another one comes first");
        assert!(alarms.set(2, later(10)));
        assert!(!alarms.set(2, later(40)), "a later one is not noted");
        assert_eq!(alarms.take_due(later(9)), Vec::<i32>::new());
        assert_eq!(alarms.take_due(later(20)), [2, 1]);
        assert!(alarms.queue.is_empty() && alarms.by_shard.is_empty());
    }
}
