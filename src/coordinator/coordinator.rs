//! All shards of one kind: which are here, how a command finds its own, and the one task that sees to them.
//!
//! Invariant: a partition has one shard at most, that of the newest leader epoch which this broker was told of
//! (`elections`). One task serves the timers of all shards; it touches no log itself, as it runs where control does: what may append or
//! read goes to the pool of the partition's log directory. Called by the rooms above.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use super::asked::Asked;
use super::attention::{Attention, Work};
use super::elections::Elections;
use super::replicated::{self, deliver};
use super::settings::CoordinatorSettings;
use super::shard::{Shard, Token};
use super::slot::{After, Slot, Standing};
use crate::base::clock::{self, Instant};
use crate::base::error_code::ErrorCode;
use crate::base::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
use crate::base::shutdown::Shutdown;
use crate::base::task;
use crate::records::control::EndTransactionMarker;
use crate::replica::directories::HostDirectory;
use crate::replica::replicas::Replicas;

/// When timers are looked at again that were due while the log directory did not answer.
const STALLED_PAUSE: Duration = Duration::from_millis(500);

/// Makes an empty shard for a partition.
type Make<S> = Box<dyn Fn(i32) -> S + Send + Sync>;

/// The shards of one kind that are on this broker. Clones share them.
pub struct Coordinator<S: Shard>(Arc<Inner<S>>);

impl<S: Shard> Clone for Coordinator<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// What the clones share.
pub(super) struct Inner<S: Shard> {
    pub(super) settings: CoordinatorSettings,
    replicas: Arc<Replicas>,
    pub(super) make: Make<S>,
    pub(super) shards: RwLock<BTreeMap<i32, Arc<Slot<S>>>>,
    next_token: AtomicU64,
    pub(super) attention: Attention<S>,
    /// The shards that wait to be loaded, by log directory; an entry stands for a task that loads them.
    pub(super) loading: Mutex<BTreeMap<PathBuf, VecDeque<Arc<Slot<S>>>>>,
    pub(super) closed: AtomicBool,
}

/// The end of a shard, under way.
pub struct Ending {
    /// Where its log is.
    pub directory: Arc<HostDirectory>,
    /// Comes when it takes nothing more.
    pub ended: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// A shard as it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShardStatus {
    /// Its partition.
    pub partition: i32,
    /// The epoch of the leadership that it belongs to.
    pub epoch: LeaderEpoch,
    /// Where it is in its life; `None` while its log directory does not answer.
    pub standing: Option<Standing>,
    /// Up to where its log was read.
    pub loaded_to: Offset,
    /// The log's end, as it was when it was last read.
    pub log_end: Offset,
}

impl<S: Shard> Coordinator<S> {
    /// A coordinator whose shards `make` makes. It hears of the leadership of its partitions from now on: to be made
    /// before the controller decides about any.
    pub fn new(
        settings: CoordinatorSettings,
        replicas: Arc<Replicas>,
        make: impl Fn(i32) -> S + Send + Sync + 'static,
    ) -> Self {
        let inner = Arc::new(Inner {
            settings,
            replicas: Arc::clone(&replicas),
            make: Box::new(make),
            shards: RwLock::default(),
            next_token: AtomicU64::new(0),
            attention: Attention::default(),
            loading: Mutex::default(),
            closed: AtomicBool::new(false),
        });
        replicas.listen(Arc::new(Elections(Arc::downgrade(&inner))));
        Self(inner)
    }

    /// Starts the task that sees to the shards, on the current runtime; it ends with `shutdown`.
    pub fn start(&self, shutdown: Shutdown) {
        drop(task::spawn(attend(Arc::clone(&self.0), shutdown)));
    }

    /// Asks the shard of `partition`. When this returns it has taken its step: what it wrote is in the log, unless the
    /// log directory does not answer.
    pub fn ask(&self, partition: i32, command: S::Command) -> Asked<S::Answer> {
        self.0.ask(partition, command)
    }

    /// As [`ask`](Self::ask), for callers on the runtime of control: the step is taken on the pool of the log directory.
    pub async fn ask_on_pool(&self, partition: i32, command: S::Command) -> Asked<S::Answer> {
        let lost = S::unavailable(&command, ErrorCode::NotCoordinator);
        let Some(slot) = self.0.shard(partition) else {
            return Asked::now(lost);
        };
        let inner = Arc::clone(&self.0);
        let pool = slot.partition.pool().clone();
        let asked = pool.run(move || inner.ask(partition, command)).await;
        asked.unwrap_or_else(|_| Asked::now(lost))
    }

    /// Ends the transaction of `producer` in `partition` with a marker in its log, and waits until that is replicated.
    ///
    /// # Errors
    /// The code for whoever asked: those of an append, or COORDINATOR_LOAD_IN_PROGRESS, NOT_COORDINATOR.
    pub async fn end_transaction(
        &self,
        partition: i32,
        producer: (ProducerId, ProducerEpoch),
        marker: EndTransactionMarker,
    ) -> Result<(), ErrorCode> {
        let slot = self.0.shard(partition).ok_or(ErrorCode::NotCoordinator)?;
        let inner = Arc::clone(&self.0);
        let pool = slot.partition.pool().clone();
        let work = move || slot.end_transaction(&inner.settings, producer, marker, clock::now_ms());
        let appended = pool.run(work).await.map_err(|_| ErrorCode::UnknownServerError)?;
        let (answer, wakes) = appended?;
        wakes.dispatch();
        let mut error = answer.error;
        if let Some(pending) = answer.pending {
            let timeout = self.0.settings.replication_timeout;
            let waiting = self.0.replicas.wait_for_replication(vec![pending], timeout);
            let outcome = waiting.finish().await.into_iter().next();
            error = outcome.unwrap_or(ErrorCode::UnknownServerError);
        }
        if let Some(flush) = answer.flush
            && error.is_none()
        {
            error = flush.done().await;
        }
        if error.is_none() { Ok(()) } else { Err(error) }
    }

    /// The partitions whose shards are here, loaded or not.
    pub fn partitions(&self) -> Vec<i32> {
        self.0.all().iter().map(|slot| slot.number).collect()
    }

    /// The partitions whose shards are here, each with the end of its log; `None` while its directory does not answer.
    pub fn log_ends(&self) -> Vec<(i32, Option<Offset>)> {
        let end = |slot: &Arc<Slot<S>>| slot.partition.progress().ok().map(|progress| progress.log_end);
        self.0.all().iter().map(|slot| (slot.number, end(slot))).collect()
    }

    /// Waits while the shard of `partition` is loaded, or is in a write that does not return: until it takes commands, or
    /// never will.
    pub async fn settled(&self, partition: i32) {
        while let Some(slot) = self.0.shard(partition) {
            // Made before the look: it hears of every turn from here on.
            let turned = slot.turned.notified();
            let standing = slot.lock().map(|state| state.standing);
            match standing {
                Some(Standing::Loading | Standing::Writing) => turned.await,
                _ => return,
            }
        }
    }

    /// How the shards stand.
    pub fn status(&self) -> Vec<ShardStatus> {
        let status = |slot: Arc<Slot<S>>| {
            let (loaded_to, log_end) = slot.progress.get();
            ShardStatus {
                partition: slot.number,
                epoch: slot.epoch(),
                standing: slot.lock().map(|state| state.standing),
                loaded_to,
                log_end,
            }
        };
        self.0.all().into_iter().map(status).collect()
    }

    /// Begins to end all shards; their clients are told. The logs of a log directory are to be closed when those of its
    /// shards that are yielded with it are ended: one that does not answer holds up no other.
    pub fn close(&self) -> Vec<Ending> {
        self.0.closed.store(true, Ordering::Release);
        let all = std::mem::take(&mut *self.0.shards.write().unwrap_or_else(PoisonError::into_inner));
        all.into_values()
            .map(|slot| {
                let inner = Arc::clone(&self.0);
                let directory = Arc::clone(slot.partition.directory());
                let ended = directory.pool().begin(move || inner.close(&slot));
                Ending {
                    directory,
                    // A panic there has been told of.
                    ended: Box::pin(async move { ended.await.unwrap_or_default() }),
                }
            })
            .collect()
    }
}

impl<S: Shard> Inner<S> {
    pub(super) fn shard(&self, partition: i32) -> Option<Arc<Slot<S>>> {
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        shards.get(&partition).map(Arc::clone)
    }

    fn all(&self) -> Vec<Arc<Slot<S>>> {
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        shards.values().map(Arc::clone).collect()
    }

    fn ask(self: &Arc<Self>, partition: i32, command: S::Command) -> Asked<S::Answer> {
        let Some(slot) = self.shard(partition) else {
            return Asked::now(S::unavailable(&command, ErrorCode::NotCoordinator));
        };
        let busy = ErrorCode::CoordinatorLoadInProgress;
        let Some(mut state) = slot.lock() else {
            slot.turn_away();
            return Asked::now(S::unavailable(&command, busy));
        };
        if state.standing == Standing::Writing {
            slot.turn_away();
        }
        let is_full = || slot.unreplicated.is_full() && S::may_write(&command);
        let replicated = slot.see_replicated(&mut state).err();
        let refusal = state.standing.refusal().or(replicated);
        if let Some(error) = refusal.or_else(|| is_full().then_some(busy)) {
            return Asked::now(S::unavailable(&command, error));
        }
        let lost = S::unavailable(&command, ErrorCode::NotCoordinator);
        let token = Token(self.next_token.fetch_add(1, Ordering::Relaxed));
        state.expect(token);
        let now_ms = clock::now_ms();
        let resumed = slot.resume(&mut state, &self.settings, now_ms);
        let mut after = slot.act(&mut state, &self.settings, false, now_ms, |shard| {
            shard.step(command, token, now_ms)
        });
        let asked = match after.at_once.take() {
            Some(answer) => Asked::now(answer),
            None => Asked::later(after.later.take().unwrap_or_else(|| state.wait()), lost),
        };
        drop(state);
        if let Some(resumed) = resumed {
            self.dispatch(&slot, resumed);
        }
        self.dispatch(&slot, after);
        asked
    }

    /// Does what is to be done once a shard's lock was let go.
    pub(super) fn dispatch(self: &Arc<Self>, slot: &Arc<Slot<S>>, after: After<S>) {
        after.wakes.dispatch();
        deliver(after.deliveries);
        if let Some(at) = after.alarm {
            self.attention.alarm(slot.number, at);
        }
        if after.follow {
            self.attention.follow(Arc::clone(slot));
        }
        if let Some(write) = after.stalled {
            let (inner, slot) = (Arc::clone(self), Arc::clone(slot));
            slot.partition.pool().clone().start_work(move || {
                let after = slot.write_on_pool(&inner.settings, write, clock::now_ms());
                inner.dispatch(&slot, after);
                slot.turned.notify_waiters();
            });
        }
    }

    /// Fires the timers of a shard that are due, each on its own, so that commands have their turn. Blocks.
    fn fire_due(self: &Arc<Self>, slot: &Arc<Slot<S>>) {
        loop {
            let mut state = slot.lock_on_pool();
            if state.standing != Standing::Active {
                // The write that is under way looks at the timers when it is over.
                return;
            }
            if slot.partition.directory().watch().is_stalled() {
                // Clients are not heard: whoever seems silent may not be.
                slot.turn_away();
                drop(state);
                self.attention
                    .alarm(slot.number, Instant::now().after(STALLED_PAUSE));
                return;
            }
            if let Some(resumed) = slot.resume(&mut state, &self.settings, clock::now_ms()) {
                drop(state);
                self.dispatch(slot, resumed);
                continue;
            }
            let Some(timer) = state.due(Instant::now()) else {
                let next = state.first_alarm();
                drop(state);
                if let Some(at) = next {
                    self.attention.alarm(slot.number, at);
                }
                return;
            };
            let now_ms = clock::now_ms();
            let after = slot.act(&mut state, &self.settings, true, now_ms, |shard| {
                shard.fire(timer, now_ms)
            });
            drop(state);
            self.dispatch(slot, after);
        }
    }

    pub(super) fn close_on_pool(self: &Arc<Self>, slot: Arc<Slot<S>>) {
        let inner = Arc::clone(self);
        slot.partition
            .pool()
            .clone()
            .start_work(move || inner.close(&slot));
    }

    fn close(self: &Arc<Self>, slot: &Arc<Slot<S>>) {
        let after = slot.close();
        self.dispatch(slot, after);
        slot.turned.notify_waiters();
    }
}

/// The one task: has shards loaded, writes followed and timers fired.
async fn attend<S: Shard>(inner: Arc<Inner<S>>, shutdown: Shutdown) {
    loop {
        let Work {
            load,
            follow,
            due,
            next,
        } = inner.attention.take(Instant::now());
        for slot in load {
            inner.queue_load(slot);
        }
        for slot in follow {
            let queue = Arc::clone(&slot.unreplicated);
            drop(task::spawn(replicated::follow::<S>(
                Arc::clone(&inner.replicas),
                queue,
            )));
        }
        for slot in due.into_iter().filter_map(|number| inner.shard(number)) {
            let inner = Arc::clone(&inner);
            let pool = slot.partition.pool().clone();
            pool.start_work(move || inner.fire_due(&slot));
        }
        let alarm = async {
            match next {
                Some(at) => clock::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = shutdown.wait() => return,
            () = inner.attention.rung() => {}
            () = alarm => {}
        }
    }
}
