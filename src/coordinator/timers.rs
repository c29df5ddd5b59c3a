//! The timers of one shard.
//!
//! Invariant: a timer has one deadline at most, and one place in the queue, which is never behind its deadline. Sessions
//! are put off with each request of a member: such a timer keeps its place until that comes up, and moves back only
//! then. Deadlines are kept on the clock that never goes back: a wall clock that
//! jumps would otherwise expire every session at once, or none for an hour. Called by `slot` under the shard's lock;
//! when the first one is due is told to the one task that waits for all shards.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::base::clock::Instant;

use super::shard::TimerChange;

/// Timers by name and by deadline.
pub struct Timers<T> {
    by_name: BTreeMap<T, Place>,
    queue: BTreeSet<(Instant, T)>,
}

/// When a timer is due, and where in the queue it stands: there or before.
struct Place {
    deadline: Instant,
    queued: Instant,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self {
            by_name: BTreeMap::new(),
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
        let deadline = at;
        if let Some(place) = self.by_name.get_mut(&timer) {
            place.deadline = deadline;
            if place.queued <= deadline {
                return;
            }
            let mut entry = (std::mem::replace(&mut place.queued, deadline), timer);
            self.queue.remove(&entry);
            entry.0 = deadline;
            self.queue.insert(entry);
            return;
        }
        let queued = deadline;
        self.by_name.insert(timer.clone(), Place { deadline, queued });
        self.queue.insert((queued, timer));
    }

    fn cancel(&mut self, timer: T) {
        if let Some(place) = self.by_name.remove(&timer) {
            self.queue.remove(&(place.queued, timer));
        }
    }

    /// Takes out a timer that is due: the one that has been due for longest.
    pub fn pop_due(&mut self, now: Instant) -> Option<T> {
        while self.first()? <= now {
            let (queued, timer) = self.queue.pop_first()?;
            match self.by_name.get_mut(&timer) {
                Some(place) if place.deadline > queued => {
                    place.queued = place.deadline;
                    self.queue.insert((place.queued, timer));
                }
                _ => {
                    self.by_name.remove(&timer);
                    return Some(timer);
                }
            }
        }
        None
    }

    /// When the next one is due; earlier, if that one has been put off.
    pub fn first(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.by_name.clear();
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
        let later = |ms| now.after(Duration::from_millis(ms));
        let mut timers = Timers::default();
        timers.change(set("a", 10), 0, now);
        timers.change(set("a", 50), 0, now);
        assert_eq!(timers.first(), Some(later(10)), "its place in the queue");
        assert_eq!(timers.pop_due(later(49)), None, "it was put off");
        assert_eq!(timers.first(), Some(later(50)));
        timers.change(set("a", 30), 0, now);
        assert_eq!(timers.first(), Some(later(30)), "and called in again");
        timers.change(set("a", i64::MAX), i64::MIN, now);
        timers.change(TimerChange::Cancel("a"), 0, now);
        timers.change(TimerChange::Cancel("never set"), 0, now);
        assert_eq!(timers.first(), None);
    }
}
