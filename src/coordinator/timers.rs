//! The timers of one shard.
//!
//! Invariant: a timer has one deadline at most. Deadlines are kept on the clock that never goes back: a wall clock that
//! jumps would otherwise expire every session at once, or none for an hour. Called by `slot` under the shard's lock;
//! when the first one is due is told to the one task that waits for all shards.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::base::clock::Instant;

use super::shard::TimerChange;

/// Timers by name and by deadline.
pub struct Timers<T> {
    deadlines: BTreeMap<T, Instant>,
    queue: BTreeSet<(Instant, T)>,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self {
            deadlines: BTreeMap::new(),
            queue: BTreeSet::new(),
        }
    }
}

impl<T: Ord + Clone> Timers<T> {
    /// Makes a change that a shard asked for at `now_ms`, which was `now`.
    pub fn change(&mut self, change: TimerChange<T>, now_ms: i64, now: Instant) {
        match change {
            TimerChange::Set { timer, at_ms } => {
                let delay = u64::try_from(at_ms.saturating_sub(now_ms)).unwrap_or(0);
                self.set(timer, now.after(Duration::from_millis(delay)));
            }
            TimerChange::Cancel(timer) => self.cancel(timer),
        }
    }

    fn set(&mut self, timer: T, at: Instant) {
        match self.deadlines.insert(timer.clone(), at) {
            Some(before) if before == at => {}
            Some(before) => {
                let mut entry = (before, timer);
                self.queue.remove(&entry);
                entry.0 = at;
                self.queue.insert(entry);
            }
            None => {
                self.queue.insert((at, timer));
            }
        }
    }

    fn cancel(&mut self, timer: T) {
        if let Some(at) = self.deadlines.remove(&timer) {
            self.queue.remove(&(at, timer));
        }
    }

    /// Takes out a timer that is due: the one that has been due for longest.
    pub fn pop_due(&mut self, now: Instant) -> Option<T> {
        if self.first()? > now {
            return None;
        }
        let (_, timer) = self.queue.pop_first()?;
        self.deadlines.remove(&timer);
        Some(timer)
    }

    /// When the next one is due.
    pub fn first(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.deadlines.clear();
        self.queue.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(timer: &str, at_ms: i64) -> TimerChange<&str> {
        TimerChange::Set { timer, at_ms }
    }

    #[test]
    fn timers_fire_in_the_order_of_their_deadlines_each_once() {
        let now = Instant::now();
        let later = |ms| now.after(Duration::from_millis(ms));
        let mut timers = Timers::default();
        timers.change(set("b", 1_020), 1_000, now);
        timers.change(set("a", 1_010), 1_000, now);
        timers.change(set("c", 900), 1_000, now);
        assert_eq!(timers.first(), Some(now), "what is past is due at once");
        assert_eq!(timers.pop_due(now), Some("c"));
        assert_eq!(timers.pop_due(later(9)), None);
        assert_eq!(timers.pop_due(later(30)), Some("a"));
        assert_eq!(timers.pop_due(later(30)), Some("b"));
        assert_eq!((timers.pop_due(later(30)), timers.first()), (None, None));
    }

    #[test]
    fn a_new_deadline_replaces_the_old_one_and_a_cancelled_timer_is_gone() {
        let now = Instant::now();
        let mut timers = Timers::default();
        timers.change(set("a", 10), 0, now);
        timers.change(set("a", 50), 0, now);
        assert_eq!(timers.first(), Some(now.after(Duration::from_millis(50))));
        timers.change(set("a", i64::MAX), i64::MIN, now);
        timers.change(TimerChange::Cancel("a"), 0, now);
        timers.change(TimerChange::Cancel("never set"), 0, now);
        assert_eq!(timers.first(), None);
    }
}
