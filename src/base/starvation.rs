//! Telling a call that hangs from a machine that has too few processors.
//!
//! Who waits for a call to return counts the time in which it does not. On a machine with fifty busy threads a processor
//! that time says little: a call of three milliseconds takes half a second there, on the best of disks. So of the time
//! between two looks is not counted
//!
//! - by how much the look came late: a look needs next to nothing, and what needs more has waited at least as long;
//! - what a thread in the call spent on a processor, or waiting for one: it is not the disk that it waited for.
//!
//! What is left is time in which threads that had their turns waited for something else. Invariant: a silence is found
//! in the end, however starved the machine is: after [`LONGEST`] times the limit nothing is taken off.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::clock::Instant;

/// How many times the limit a silence may last, whatever the threads did in it: a call that computes for so long, or is
/// let compute so seldom, may as well hang.
const LONGEST: u32 = 60;

/// A thread of this process, as the kernel numbers it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ThreadId(u32);

impl ThreadId {
    /// The calling one.
    #[inline]
    pub fn current() -> Self {
        thread_local! {
            // Asked for once: gettid(2) would cost more than all else that the callers of this do.
            static CURRENT: ThreadId = ThreadId(rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs());
        }
        CURRENT.with(|current| *current)
    }
}

/// A place in which a thread says that it is in a call.
#[derive(Default)]
pub struct Place(AtomicU32);

/// The place is this thread's until this is dropped.
pub struct Taken<'a>(&'a Place);

impl Place {
    /// Takes the place for the calling thread; `None` when another call has it.
    #[inline]
    pub fn take(&self) -> Option<Taken<'_>> {
        let is_free = || self.0.load(Ordering::Relaxed) == 0;
        let thread = ThreadId::current().0;
        let take = || {
            self.0
                .compare_exchange(0, thread, Ordering::Relaxed, Ordering::Relaxed)
        };
        (is_free() && take().is_ok()).then(|| Taken(self))
    }

    /// Who has it.
    pub fn thread(&self) -> Option<ThreadId> {
        Some(self.0.load(Ordering::Relaxed))
            .filter(|thread| *thread != 0)
            .map(ThreadId)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.0.store(0, Ordering::Relaxed);
    }
}

/// What a thread got of the processors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Turns {
    /// It runs, or would if there were a processor for it: it does not wait for a disk.
    pub runs: bool,
    /// How long it ran and waited for a processor, since it was started.
    pub had: Duration,
}

/// What the kernel says of a thread; `None` where it does not tell. The files of /proc lie on no disk that could hang.
#[cfg(not(feature = "simulation"))]
pub fn turns(thread: ThreadId) -> Option<Turns> {
    let read = |name| std::fs::read_to_string(format!("/proc/self/task/{}/{name}", thread.0)).ok();
    Turns::parse(&read("stat")?, &read("schedstat").unwrap_or_default())
}

/// What the kernel says of a thread: nothing in the simulation.
#[cfg(feature = "simulation")]
pub fn turns(_thread: ThreadId) -> Option<Turns> {
    None
}

impl Turns {
    /// From the texts of proc(5). A kernel that counts no times (without `CONFIG_SCHED_INFO`) has no `schedstat`.
    #[cfg_attr(
        all(feature = "simulation", not(test)),
        expect(dead_code, reason = "of the real /proc")
    )]
    fn parse(stat: &str, schedstat: &str) -> Option<Self> {
        // The name in parentheses may hold anything.
        let (_, behind_name) = stat.rsplit_once(')')?;
        let state = behind_name.split_ascii_whitespace().next()?;
        let times = schedstat.split_ascii_whitespace().take(2);
        let nanoseconds = times
            .filter_map(|time| time.parse().ok())
            .fold(0, u64::saturating_add);
        Some(Self {
            runs: state == "R",
            had: Duration::from_nanos(nanoseconds),
        })
    }
}

/// A time in which no call returned, as one sees it who looks every so often.
#[derive(Clone, Debug)]
pub struct Silence {
    began: Instant,
    looked: Instant,
    counted: Duration,
    had: Vec<(ThreadId, Duration)>,
}

impl Silence {
    /// It may begin now, with these threads in calls.
    pub fn begin(now: Instant, threads: impl Iterator<Item = ThreadId>, turns: &Tell<'_>) -> Self {
        Self {
            began: now,
            looked: now,
            counted: Duration::ZERO,
            had: threads
                .filter_map(|thread| Some((thread, turns(thread)?.had)))
                .collect(),
        }
    }

    /// Another look, which was to come `every` after the one before, finds no call returned and these threads in calls.
    pub fn goes_on(
        &mut self,
        now: Instant,
        every: Duration,
        threads: impl Iterator<Item = ThreadId>,
        turns: &Tell<'_>,
    ) {
        let passed = now.since(self.looked);
        let mut lost = passed.saturating_sub(every);
        let mut had = Vec::new();
        for thread in threads {
            let Some(got) = turns(thread) else { continue };
            let before = self.had.iter().find(|(known, _)| *known == thread);
            let spent = before.map_or(Duration::ZERO, |(_, before)| got.had.saturating_sub(*before));
            // One that would run counts as if it had all the time: who ran last is the one that may return next.
            lost = lost.max(if got.runs { passed } else { spent });
            had.push((thread, got.had));
        }
        self.counted += passed.saturating_sub(lost);
        self.looked = now;
        self.had = had;
    }

    /// True when it is longer than a disk that works would let one wait, `limit`.
    pub fn outlasts(&self, limit: Duration) -> bool {
        self.counted >= limit || self.looked.since(self.began) >= limit.saturating_mul(LONGEST)
    }
}

/// How to learn what a thread got: [`turns`], but for tests.
pub type Tell<'a> = dyn Fn(ThreadId) -> Option<Turns> + 'a;

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_millis(100);
    const LIMIT: Duration = Duration::from_millis(500);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Looks at these times, with one thread in a call of which `turns` tells; when the limit is first passed.
    fn found_at(looks: impl Iterator<Item = u64>, turns: impl Fn(u64) -> Option<Turns>) -> Option<u64> {
        let (start, thread) = (Instant::now(), || std::iter::once(ThreadId(7)));
        let mut silence = Silence::begin(start, thread(), &|_| turns(0));
        looks.into_iter().find(|at| {
            silence.goes_on(start.after(ms(*at)), EVERY, thread(), &|_| turns(*at));
            silence.outlasts(LIMIT)
        })
    }

    fn blocked(had: Duration) -> Option<Turns> {
        Some(Turns { runs: false, had })
    }

    #[test]
    fn a_hanging_call_is_found_after_the_limit() {
        assert_eq!(found_at((100..).step_by(100), |_| blocked(ms(3))), Some(500));
        assert_eq!(found_at((100..).step_by(100), |_| None), Some(500));
    }

    #[test]
    fn what_the_look_itself_came_late_is_not_counted() {
        // 250 ms from look to look, of which 100 count.
        assert_eq!(found_at((250..).step_by(250), |_| None), Some(1250));
        assert_eq!(found_at([4000].into_iter(), |_| None), None);
    }

    #[test]
    fn a_thread_that_wants_a_processor_does_not_hang() {
        let runs = |at| {
            Some(Turns {
                runs: true,
                had: ms(at),
            })
        };
        let first_second = || (100..1000).step_by(100);
        assert_eq!(found_at(first_second(), runs), None);
        // It waits for a processor nine tenths of the time, and is seen blocked in between.
        assert_eq!(found_at(first_second(), |at| blocked(ms(at * 9 / 10))), None);
        // A fifth of the time: four fifths count.
        assert_eq!(found_at(first_second(), |at| blocked(ms(at / 5))), Some(700));
    }

    #[test]
    fn a_thread_that_began_late_is_judged_by_what_it_got_since() {
        let start = Instant::now();
        let mut silence = Silence::begin(start, std::iter::empty(), &|_| None);
        for at in (100..=500).step_by(100) {
            assert!(!silence.outlasts(LIMIT));
            let old = |_| blocked(Duration::from_secs(3600));
            silence.goes_on(start.after(ms(at)), EVERY, std::iter::once(ThreadId(7)), &old);
        }
        assert!(silence.outlasts(LIMIT));
    }

    #[test]
    fn a_silence_is_found_in_the_end_however_starved_the_machine_is() {
        let runs = |at| {
            Some(Turns {
                runs: true,
                had: ms(at),
            })
        };
        assert_eq!(found_at((1000..).step_by(1000), runs), Some(30_000));
    }

    #[test]
    fn reads_what_proc_tells() {
        let parse = Turns::parse;
        let turns = |runs, nanoseconds| {
            Some(Turns {
                runs,
                had: Duration::from_nanos(nanoseconds),
            })
        };
        assert_eq!(
            parse("12 (pool of /a b) R 1 2", "1076608 7779929 4\n"),
            turns(true, 8_856_537)
        );
        assert_eq!(parse("12 (odd) R (D) D 1", "5 6 7"), turns(false, 11));
        assert_eq!(parse("12 (data) S 1", ""), turns(false, 0));
        assert_eq!(parse("", "1 2 3"), None);
    }

    #[cfg(not(feature = "simulation"))]
    #[test]
    fn the_kernel_tells_of_threads_that_run_and_threads_that_wait() {
        let myself = turns(ThreadId::current()).unwrap();
        assert!(myself.runs);
        let (tell, told) = std::sync::mpsc::channel();
        let (end, waits) = std::sync::mpsc::channel::<()>();
        let pool = crate::base::task::Pool::start("test", 1).unwrap();
        pool.start_work(move || {
            tell.send(ThreadId::current()).unwrap();
            let _ = waits.recv();
        });
        let other = told.recv().unwrap();
        assert_ne!(other, ThreadId::current());
        while turns(other).unwrap().runs {}
        drop((end, pool));
        while turns(other).is_some() {}
    }

    #[test]
    fn a_place_is_one_threads_until_its_call_returns() {
        let place = Place::default();
        assert_eq!(place.thread(), None);
        let taken = place.take().unwrap();
        assert_eq!(place.thread(), Some(ThreadId::current()));
        assert!(place.take().is_none());
        drop(taken);
        assert!(place.thread().is_none() && place.take().is_some());
    }
}
