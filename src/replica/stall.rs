//! Whether calls to a log directory return: `log.dir.stall.ms`.
//!
//! Appends are written where the request is read, for a hop to another thread costs more than the write. A disk that
//! hangs must then not take one thread after the other with it: each call into a log directory's logs is counted when
//! it begins and when it ends, a task looks at the counts, and while none ended for too long the directory takes no
//! more calls from the threads that serve connections. Invariant: a directory in which calls end is never stalled.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::base::clock::Instant;

/// Counts the calls into one log directory.
#[derive(Default)]
pub struct StallWatch {
    begun: AtomicU64,
    ended: AtomicU64,
    stalled: AtomicBool,
}

/// A call that has not returned yet.
pub struct Call<'a>(&'a StallWatch);

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Release);
    }
}

/// What the last look at a directory found.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    ended: u64,
    at: Instant,
}

impl StallWatch {
    /// Begins a call.
    pub fn begin(&self) -> Call<'_> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        Call(self)
    }

    /// True while the directory takes no calls from threads that serve connections.
    #[inline]
    pub fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    /// A first look.
    pub fn look(&self, now: Instant) -> Look {
        Look {
            ended: self.ended.load(Ordering::Acquire),
            at: now,
        }
    }

    /// Looks again: `Some` when the directory began to stall, or stopped.
    pub fn look_again(&self, last: &mut Look, now: Instant, stall: Duration) -> Option<bool> {
        let ended = self.ended.load(Ordering::Acquire);
        let is_busy = self.begun.load(Ordering::Acquire) != ended;
        if !is_busy || ended != last.ended {
            *last = Look { ended, at: now };
        }
        let stalled = is_busy && now.since(last.at) >= stall;
        (self.stalled.swap(stalled, Ordering::Relaxed) != stalled).then_some(stalled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
