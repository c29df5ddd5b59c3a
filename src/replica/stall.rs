//! Whether calls to a log directory return: `log.dir.stall.ms`.
//!
//! Appends are written where the request is read, for a hop to another thread costs more than the write. A disk that
//! hangs must then not take one thread after the other with it: each call into a log directory's logs is counted when
//! it begins and when it ends, a task looks at the counts, and while none ended for too long the directory takes no
//! more calls from the threads that serve connections. Invariant: a directory in which calls end is never stalled.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::base::clock::Instant;
use crate::base::starvation::{self, Place, Silence, Taken, Tell, ThreadId};

/// The threads of so many calls at a time are known: more than a broker has threads that serve one directory, by default.
const PLACES: usize = 8;

/// Counts the calls into one log directory.
#[derive(Default)]
pub struct StallWatch {
    begun: AtomicU64,
    ended: AtomicU64,
    stalled: AtomicBool,
    /// It began to stall, or stopped.
    changed: Notify,
    callers: [Place; PLACES],
}

/// A call that has not returned yet.
pub struct Call<'a> {
    watch: &'a StallWatch,
    _place: Option<Taken<'a>>,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.watch.ended.fetch_add(1, Ordering::Release);
    }
}

/// What the last look at a directory found.
#[derive(Clone, Debug)]
pub struct Look {
    ended: u64,
    silence: Silence,
    every: Option<Duration>,
}

impl Look {
    /// From now on a look comes so often: time by which one comes late, and time in which the threads of calls want for
    /// a processor, is not counted. Else all time is.
    #[must_use]
    pub fn every(self, interval: Duration) -> Self {
        Self {
            every: Some(interval),
            ..self
        }
    }
}

impl StallWatch {
    /// Begins a call of this thread.
    pub fn begin(&self) -> Call<'_> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        Call {
            watch: self,
            _place: self.callers.iter().find_map(Place::take),
        }
    }

    /// Begins a call of whichever thread takes it from a queue.
    pub(super) fn queue(&self) -> Call<'_> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        Call {
            watch: self,
            _place: None,
        }
    }

    /// A call that takes long has got on.
    pub(super) fn goes_on(&self) {
        drop(self.queue());
    }

    /// True while the directory takes no calls from threads that serve connections.
    #[inline]
    pub fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    /// Returns when the directory takes no calls from threads that serve connections, at once where that is so.
    pub async fn stalls(&self) {
        self.becomes(true).await;
    }

    /// Returns when calls return again, at once where they do.
    pub(super) async fn returns(&self) {
        self.becomes(false).await;
    }

    async fn becomes(&self, stalled: bool) {
        loop {
            // Made before the look, so that it hears of what happens from here on.
            let changed = self.changed.notified();
            if self.is_stalled() == stalled {
                return;
            }
            changed.await;
        }
    }

    fn callers(&self) -> impl Iterator<Item = ThreadId> {
        self.callers.iter().filter_map(Place::thread)
    }

    /// A first look.
    pub fn look(&self, now: Instant) -> Look {
        Look {
            ended: self.ended.load(Ordering::Acquire),
            silence: Silence::begin(now, self.callers(), &starvation::turns),
            every: None,
        }
    }

    /// Looks again: `Some` when the directory began to stall, or stopped.
    pub fn look_again(&self, last: &mut Look, now: Instant, stall: Duration) -> Option<bool> {
        self.look_with(last, now, stall, &starvation::turns)
    }

    fn look_with(&self, last: &mut Look, now: Instant, stall: Duration, turns: &Tell<'_>) -> Option<bool> {
        let ended = self.ended.load(Ordering::Acquire);
        let is_busy = self.begun.load(Ordering::Acquire) != ended;
        if !is_busy || ended != last.ended {
            last.ended = ended;
            last.silence = Silence::begin(now, self.callers(), turns);
        } else if let Some(every) = last.every {
            last.silence.goes_on(now, every, self.callers(), turns);
        } else {
            last.silence
                .goes_on(now, Duration::MAX, std::iter::empty(), turns);
        }
        let stalled = is_busy && last.silence.outlasts(stall);
        let changed = self.stalled.swap(stalled, Ordering::Relaxed) != stalled;
        if changed {
            self.changed.notify_waiters();
        }
        changed.then_some(stalled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::starvation::Turns;

    #[test]
    fn only_calls_that_do_not_end_stall_a_directory() {
        let watch = StallWatch::default();
        let start = Instant::now();
        let at = |ms| start.after(Duration::from_millis(ms));
        let stall = Duration::from_millis(100);
        let mut look = watch.look(start);
        assert_eq!(watch.look_again(&mut look, at(500), stall), None, "idle");

        let hanging = watch.begin();
        assert_eq!(watch.look_again(&mut look, at(550), stall), None);
        drop(watch.begin());
        assert_eq!(
            watch.look_again(&mut look, at(640), stall),
            None,
            "another one ended"
        );
        assert_eq!(watch.look_again(&mut look, at(700), stall), None);
        assert_eq!(watch.look_again(&mut look, at(740), stall), Some(true));
        assert!(watch.is_stalled());
        assert_eq!(watch.look_again(&mut look, at(900), stall), None);
        drop(hanging);
        assert_eq!(watch.look_again(&mut look, at(910), stall), Some(false));
        assert!(!watch.is_stalled());
    }

    #[test]
    fn calls_of_threads_that_want_for_a_processor_do_not_stall_a_directory() {
        let watch = StallWatch::default();
        let start = Instant::now();
        let at = |ms| start.after(Duration::from_millis(ms));
        let (stall, every) = (Duration::from_millis(500), Duration::from_millis(100));
        let caller = ThreadId::current();
        let starved = |thread| {
            (thread == caller).then_some(Turns {
                runs: true,
                had: Duration::ZERO,
            })
        };
        let blocked = |_| {
            Some(Turns {
                runs: false,
                had: Duration::from_secs(1),
            })
        };
        let mut look = watch.look(start).every(every);
        let _slow = watch.begin();
        for ms in (100..=1000).step_by(100) {
            let found = watch.look_with(&mut look, at(ms), stall, &starved);
            assert_eq!(found, None, "after {ms} ms");
        }
        // Then it waits for its disk, and this look comes late.
        assert_eq!(watch.look_with(&mut look, at(1900), stall, &blocked), None);
        for ms in (2000..2400).step_by(100) {
            assert_eq!(watch.look_with(&mut look, at(ms), stall, &blocked), None);
        }
        assert_eq!(watch.look_with(&mut look, at(2400), stall, &blocked), Some(true));
    }
}
