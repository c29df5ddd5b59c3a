//! One shard with all that the floor keeps for it: where it is in its life, who waits, its timers.
//!
//! Invariant: a command is taken only while the shard is loaded and none of its writes is under way on a pool. Lock
//! order: shard, then partition. Under the lock nobody is answered or woken: an [`After`] says what is to be done, and
//! `coordinator` does it. What the shard does and writes is in `act`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use crate::base::clock::Instant;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{LeaderEpoch, Offset};
use crate::replica::answers::PendingAck;
use crate::replica::partition::Partition;
use crate::replica::waiting::Wakes;

use super::batch::Write;
use super::replicated::{Deliveries, Queue};
use super::shard::{Effects, Shard, Token};
use super::timers::Timers;

/// Where a shard is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Its log is being read.
    Loading,
    /// It takes commands.
    Active,
    /// A write is under way on the pool of a log directory that does not answer.
    Writing,
    /// Its log cannot be read. It stays so until the leadership changes.
    Failed,
    /// It has gone away.
    Closed,
}

impl Standing {
    /// Why no command can be taken; `None` when one can.
    pub fn refusal(self) -> Option<ErrorCode> {
        match self {
            Self::Active => None,
            Self::Loading | Self::Writing => Some(ErrorCode::CoordinatorLoadInProgress),
            Self::Failed => Some(ErrorCode::CoordinatorNotAvailable),
            Self::Closed => Some(ErrorCode::NotCoordinator),
        }
    }
}

/// One partition's shard.
pub struct Slot<S: Shard> {
    /// The partition's number.
    pub number: i32,
    /// The epoch of the leadership that the shard belongs to; it rises with each that this broker is elected for anew.
    epoch: AtomicI32,
    /// Where its records are.
    pub partition: Arc<Partition>,
    /// Answers that wait for the high watermark.
    pub unreplicated: Arc<Queue<S::Answer>>,
    /// How far loading is.
    pub progress: LoadProgress,
    /// Tells when the shard begins or ceases to take commands.
    pub turned: Notify,
    /// Commands were turned away because the log directory did not answer, and the shard does not know yet.
    turned_away: AtomicBool,
    state: Mutex<State<S>>,
}

/// How far loading is, in offsets.
#[derive(Default)]
pub struct LoadProgress {
    next: AtomicI64,
    end: AtomicI64,
}

impl LoadProgress {
    /// Notes that everything below `next` of `end` was read.
    pub fn note(&self, next: Offset, end: Offset) {
        self.next.store(next.get(), Ordering::Relaxed);
        self.end.store(end.get(), Ordering::Relaxed);
    }

    /// What was noted last: next and end.
    pub fn get(&self) -> (Offset, Offset) {
        let next = self.next.load(Ordering::Relaxed);
        (Offset(next), Offset(self.end.load(Ordering::Relaxed)))
    }
}

/// What the lock protects.
pub struct State<S: Shard> {
    /// Where the shard is in its life.
    pub standing: Standing,
    /// The shard, once it is loaded.
    pub(super) shard: Option<S>,
    waiting: BTreeMap<Token, oneshot::Sender<S::Answer>>,
    /// Who asks just now and has no answer yet. Most are answered at once, and need no channel.
    asking: Option<Token>,
    timers: Timers<S::Timer>,
    /// The last append that was not replicated when it was made; `None` when the shard knows that all are.
    pub(super) unreplicated: Option<PendingAck>,
}

/// What is to be done once the lock was let go.
#[must_use]
pub struct After<S: Shard> {
    /// Clients that get their answers.
    pub deliveries: Deliveries<S::Answer>,
    /// Who asks just now gets this.
    pub at_once: Option<S::Answer>,
    /// Who asks just now gets it later, through this.
    pub later: Option<oneshot::Receiver<S::Answer>>,
    /// Requests that wait for the partition.
    pub wakes: Wakes,
    /// When the first timer is due, if timers changed.
    pub alarm: Option<Instant>,
    /// Somebody must begin to follow the shard's unreplicated writes.
    pub follow: bool,
    /// A write that must go to the pool.
    pub stalled: Option<Write<S>>,
}

impl<S: Shard> Default for After<S> {
    fn default() -> Self {
        Self {
            deliveries: Vec::new(),
            at_once: None,
            later: None,
            wakes: Wakes::default(),
            alarm: None,
            follow: false,
            stalled: None,
        }
    }
}

impl<S: Shard> After<S> {
    /// Puts the answer of who asks just now among those that leave later.
    pub(super) fn put_off(&mut self) {
        if let Some(answer) = self.at_once.take() {
            let (sender, receiver) = oneshot::channel();
            self.deliveries.push((sender, answer));
            self.later = Some(receiver);
        }
    }
}

impl<S: Shard> State<S> {
    /// The shard is about to be asked for the answer to `token`.
    pub fn expect(&mut self, token: Token) {
        self.asking = Some(token);
    }

    /// The shard was asked and has not answered: who asked waits.
    pub fn wait(&mut self) -> oneshot::Receiver<S::Answer> {
        let (sender, receiver) = oneshot::channel();
        self.waiting
            .extend(self.asking.take().map(|token| (token, sender)));
        receiver
    }

    /// Takes a timer that is due.
    pub fn due(&mut self, now: Instant) -> Option<S::Timer> {
        self.timers.pop_due(now)
    }

    /// When the first timer is due.
    pub fn first_alarm(&self) -> Option<Instant> {
        self.timers.first()
    }

    /// Changes the timers, and finds out who is answered at once. Without an alarm if no timer changed.
    pub(super) fn after(&mut self, effects: Effects<S>, now_ms: i64) -> After<S> {
        let mut after = After::default();
        if !effects.timers.is_empty() {
            let now = Instant::now();
            for change in effects.timers {
                self.timers.change(change, now_ms, now);
            }
            after.alarm = self.timers.first();
        }
        self.address(effects.answers, &mut after);
        after
    }

    /// Finds out who waits for these answers; who does not any more is left out.
    pub(super) fn address(&mut self, answers: Vec<(Token, S::Answer)>, after: &mut After<S>) {
        for (token, answer) in answers {
            if self.asking.take_if(|asking| *asking == token).is_some() {
                after.at_once = Some(answer);
            } else if let Some(client) = self.waiting.remove(&token) {
                after.deliveries.push((client, answer));
            }
        }
    }
}

impl<S: Shard> Slot<S> {
    /// A shard that is to be loaded.
    pub fn new(number: i32, epoch: LeaderEpoch, partition: Arc<Partition>) -> Arc<Self> {
        Arc::new(Self {
            number,
            epoch: AtomicI32::new(epoch.get()),
            partition,
            unreplicated: Arc::default(),
            progress: LoadProgress::default(),
            turned: Notify::new(),
            turned_away: AtomicBool::new(false),
            state: Mutex::new(State {
                standing: Standing::Loading,
                shard: None,
                waiting: BTreeMap::new(),
                asking: None,
                timers: Timers::default(),
                unreplicated: None,
            }),
        })
    }

    /// The epoch of the leadership that the shard belongs to.
    pub fn epoch(&self) -> LeaderEpoch {
        LeaderEpoch(self.epoch.load(Ordering::Acquire))
    }

    /// This broker goes on leading, in a later epoch: what the shard knows still is what its log has. False when the shard
    /// is over, or its directory does not answer just now.
    pub fn lead_on(&self, epoch: LeaderEpoch) -> bool {
        let Some(state) = self.lock() else {
            return false;
        };
        let lives = !matches!(state.standing, Standing::Failed | Standing::Closed);
        if lives {
            self.epoch.fetch_max(epoch.get(), Ordering::AcqRel);
        }
        lives
    }

    /// The lock, on a thread that serves connections: `None` while the log directory does not answer, or is offline.
    pub fn lock(&self) -> Option<MutexGuard<'_, State<S>>> {
        self.partition.directory().lock(&self.state)
    }

    /// The lock, on a thread that may wait.
    pub fn lock_on_pool(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A command was turned away because the log directory does not answer. Whoever sent it is alive, and has been told
    /// nothing else.
    pub fn turn_away(&self) {
        self.turned_away.store(true, Ordering::Release);
    }

    /// True when commands were turned away since this was asked last.
    pub(super) fn has_turned_away(&self) -> bool {
        self.turned_away.load(Ordering::Relaxed) && self.turned_away.swap(false, Ordering::AcqRel)
    }

    /// Makes the loaded shard the one that takes commands, unless the slot was closed meanwhile.
    pub fn activate(&self, state: &mut State<S>, shard: S) -> bool {
        if state.standing != Standing::Loading {
            return false;
        }
        state.shard = Some(shard);
        state.standing = Standing::Active;
        true
    }

    /// The log is not read to its end, in `epoch`. False when a later one has begun meanwhile: then it may be.
    pub fn fail(&self, epoch: LeaderEpoch) -> bool {
        let mut state = self.lock_on_pool();
        if state.standing == Standing::Loading && self.epoch() > epoch {
            return false;
        }
        if state.standing == Standing::Loading {
            state.standing = Standing::Failed;
        }
        drop(state);
        self.turned.notify_waiters();
        true
    }

    /// The log cannot be read, in whatever epoch.
    pub fn give_up(&self) {
        self.fail(LeaderEpoch(i32::MAX));
    }

    /// Ends the shard: it takes nothing more, and its clients are told. Waits for a write that is under way under the
    /// lock.
    pub fn close(&self) -> After<S> {
        let mut state = self.lock_on_pool();
        state.standing = Standing::Closed;
        state.timers.clear();
        let answers = state.shard.take().map(|mut shard| shard.unload());
        let mut after = After::default();
        state.address(answers.unwrap_or_default(), &mut after);
        // Who is left hears from the end of its channel.
        state.waiting.clear();
        after
    }
}
