//! One partition on this broker: its log and its leadership behind one lock (Kafka's `Partition`).
//!
//! Invariant: the high watermark is advanced under the lock that the append or the follower's fetch took, so that it,
//! the log end and those who wait never disagree. Under the lock nothing else is called: what is to be done after a
//! change, such as waking, syncing, deleting, is returned. Made and found through `Replicas`.

use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::clock::Instant;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerId, LeaderEpoch, Offset, TopicId, TopicPartition};
use crate::base::planted::planted;
use crate::base::task::Pool;
use crate::config::LogConfig;
use crate::metadata::Cluster;
use crate::metadata::control::LeaderAndIsrPartition;
use crate::storage::log::Log;
use crate::storage::producer_state::HighestProducerId;

use super::cut_off::CutOff;
use super::directories::HostDirectory;
use super::leadership::{Applied, LeaderAndIsr, Leadership, Moment, Role};
use super::stall::Call;
use super::waiting::{Parked, Progress, Waiters, Wakes, Wants};

/// A partition that this broker has a replica of.
pub struct Partition {
    name: TopicPartition,
    /// All of this broker's, of which it lies in the one with the number `at`.
    directories: Arc<[Arc<HostDirectory>]>,
    at: AtomicUsize,
    /// The number of the one whose log takes the place of this one's just now, under the lock; else none's.
    coming_from: AtomicUsize,
    /// The one it lay in at first.
    first: Arc<HostDirectory>,
    /// The newest leader epoch that the controller has told of.
    newest_epoch: AtomicI32,
    /// That of its log, and of each that takes its place.
    highest_producer_id: HighestProducerId,
    state: Mutex<State>,
}

/// What all partitions of a broker share.
pub struct Surroundings {
    /// The cluster, for who is alive.
    pub cluster: Cluster,
    /// `replica.lag.time.max.ms`.
    pub lag_max: Duration,
    /// Whether others may lead what this broker leads in its own eyes.
    pub(super) cut_off: CutOff,
}

impl Surroundings {
    /// The cluster, and what its configuration says of followers.
    pub fn new(cluster: Cluster) -> Arc<Self> {
        let lag_max_ms = cluster.get().broker_config.replica_lag_time_max_ms;
        Arc::new(Self {
            cluster,
            lag_max: Duration::from_millis(u64::try_from(lag_max_ms).unwrap_or(0)),
            cut_off: CutOff::default(),
        })
    }

    /// True while the broker is alive, as far as the controller has told.
    fn is_alive(&self, broker: BrokerId) -> bool {
        self.cluster.get().brokers.contains_key(&broker)
    }
}

/// What the lock protects.
pub(super) struct State {
    pub(super) surroundings: Arc<Surroundings>,
    pub(super) leadership: Leadership,
    pub(super) log: Log,
    pub(super) waiters: Waiters,
    appended_bytes: u64,
    /// How often this broker has stopped leading it.
    pub(super) resigned: u64,
    /// Up to where the leader has what it must sync before others see it, while it does.
    pub(super) synced: Option<Offset>,
    /// The syncs of that kind that are under way.
    pub(super) syncing: u32,
    /// Set when the replica was stopped: the log is somebody else's to delete.
    pub(super) stopped: bool,
}

/// The lock, and the mark that a call into the directory is under way.
pub(super) struct Locked<'a> {
    pub(super) state: MutexGuard<'a, State>,
    _call: Call<'a>,
}

impl State {
    /// Where the partition stands.
    pub(super) fn progress(&self) -> Progress {
        Progress {
            log_end: self.log.log_end_offset(),
            high_watermark: self.log.high_watermark(),
            last_stable: self.log.last_stable_offset(),
            log_start: self
                .leadership
                .low_watermark(self.log.log_start_offset(), |broker| {
                    self.surroundings.is_alive(broker)
                }),
            appended_bytes: self.appended_bytes,
        }
    }

    /// Says that so many bytes were appended.
    pub(super) fn note_appended(&mut self, bytes: usize) {
        self.appended_bytes += bytes as u64;
    }

    /// Advances the high watermark as far as the replicas allow, and finds out who is to be woken.
    pub(super) fn settle(&mut self) -> Wakes {
        let min_insync_replicas = self.log.config().min_insync_replicas;
        let log_end = self.log.log_end_offset();
        let log_end = self.synced.map_or(log_end, |synced| synced.min(log_end));
        let moment = Moment {
            now: &Instant::now,
            lag_max: self.surroundings.lag_max,
            is_alive: &|broker| self.surroundings.is_alive(broker),
        };
        let allowed = self
            .leadership
            .high_watermark(log_end, min_insync_replicas, &moment);
        if let Some(allowed) = allowed {
            self.log.raise_high_watermark(allowed);
        }
        if self.waiters.is_empty() {
            return Wakes::default();
        }
        let progress = self.progress();
        self.waiters.advance(&progress)
    }
}

impl Partition {
    /// A partition around its log; nothing is decided about its leadership yet.
    pub(super) fn new(
        me: BrokerId,
        surroundings: &Arc<Surroundings>,
        directories: &Arc<[Arc<HostDirectory>]>,
        directory: &Arc<HostDirectory>,
        log: Log,
    ) -> Self {
        let at = directories.iter().position(|one| Arc::ptr_eq(one, directory));
        Self {
            name: log.partition().clone(),
            directories: Arc::clone(directories),
            at: AtomicUsize::new(at.unwrap_or(usize::MAX)),
            coming_from: AtomicUsize::new(usize::MAX),
            first: Arc::clone(directory),
            newest_epoch: AtomicI32::new(-1),
            highest_producer_id: log.producer_states().highest().clone(),
            state: Mutex::new(State {
                surroundings: Arc::clone(surroundings),
                leadership: Leadership::new(me),
                log,
                waiters: Waiters::default(),
                appended_bytes: 0,
                resigned: 0,
                synced: None,
                syncing: 0,
                stopped: false,
            }),
        }
    }

    /// Its name.
    pub fn name(&self) -> &TopicPartition {
        &self.name
    }

    /// The log directory it lies in. It may be moved to another one at any time, unless its lock is held.
    pub fn directory(&self) -> &Arc<HostDirectory> {
        let at = self.at.load(Ordering::Acquire);
        self.directories.get(at).unwrap_or(&self.first)
    }

    /// Says from which directory, by its number, a log takes the place of this one's, while that is done under the lock:
    /// who waits for the lock does not wait for that directory longer than for its own. `None` when it is over.
    pub(super) fn replaced_from(&self, directory: Option<usize>) {
        self.coming_from
            .store(directory.unwrap_or(usize::MAX), Ordering::Release);
    }

    /// True while the holder of the lock hangs in another directory.
    fn hangs_elsewhere(&self) -> bool {
        let from = self.directories.get(self.coming_from.load(Ordering::Acquire));
        from.is_some_and(|directory| directory.is_offline() || directory.watch().is_stalled())
    }

    /// Says that its log lies in the directory with the number `at` from now on; under its lock.
    pub(super) fn moved_to(&self, at: usize) {
        self.at.store(at, Ordering::Release);
    }

    /// Where work on its files that may take long is done.
    pub fn pool(&self) -> &Pool {
        self.directory().pool()
    }

    /// Takes the lock for a request, on a thread that serves connections: not while the directory is offline or its
    /// calls do not return.
    ///
    /// # Errors
    /// KAFKA_STORAGE_ERROR; UNKNOWN_TOPIC_OR_PARTITION when the replica was stopped meanwhile.
    pub(super) fn lock(&self) -> Result<Locked<'_>, ErrorCode> {
        match self
            .directory()
            .lock_unless(&self.state, || self.hangs_elsewhere())
        {
            Some(state) => self.locked(state),
            None => Err(ErrorCode::KafkaStorageError),
        }
    }

    /// Takes the lock for a request, on a thread of the directory's pool: waits as long as it takes.
    pub(super) fn lock_on_pool(&self) -> Result<Locked<'_>, ErrorCode> {
        let state = self.lock_blocking();
        if self.directory().is_offline() {
            return Err(ErrorCode::KafkaStorageError);
        }
        self.locked(state)
    }

    fn locked<'a>(&'a self, state: MutexGuard<'a, State>) -> Result<Locked<'a>, ErrorCode> {
        if state.stopped {
            return Err(ErrorCode::UnknownTopicOrPartition);
        }
        Ok(Locked {
            state,
            _call: self.directory().watch().begin(),
        })
    }

    /// Takes the lock for upkeep, however long it takes. Only for threads that may block.
    pub(super) fn lock_blocking(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The topic's id, if the log has one.
    pub fn topic_id(&self) -> Option<TopicId> {
        self.lock_blocking().log.topic_id()
    }

    /// The log's configuration; Kafka's defaults while the directory does not answer.
    pub fn config(&self) -> Arc<LogConfig> {
        match self.lock() {
            Ok(locked) => Arc::clone(locked.state.log.config()),
            Err(_) => Arc::default(),
        }
    }

    /// Takes over a changed configuration, at once or when the lock can be had.
    pub fn set_config(self: &Arc<Self>, config: Arc<LogConfig>) {
        let set = |state: &mut State, config| {
            state.log.set_config(config);
            state.settle()
        };
        let wakes = match self.lock() {
            Ok(mut locked) => set(&mut locked.state, config),
            Err(_) => {
                let partition = Arc::clone(self);
                self.pool()
                    .start_work(move || set(&mut partition.lock_blocking(), config).dispatch());
                return;
            }
        };
        wakes.dispatch();
    }

    /// Notes the epoch of a decision, which may not be carried out yet.
    pub(super) fn told(&self, epoch: LeaderEpoch) {
        self.newest_epoch.fetch_max(epoch.get(), Ordering::AcqRel);
    }

    /// The newest leader epoch that the controller has told of; −1 for none. Never waits.
    pub(super) fn newest_epoch(&self) -> LeaderEpoch {
        LeaderEpoch(self.newest_epoch.load(Ordering::Acquire))
    }

    /// No producer that the log knows has a higher id. Never waits.
    pub(super) fn highest_producer_id(&self) -> i64 {
        self.highest_producer_id.get()
    }

    /// The leader and its epoch, as far as this replica knows.
    pub fn leader(&self) -> Option<(BrokerId, LeaderEpoch)> {
        let locked = self.lock().ok()?;
        let decided = locked.state.leadership.decided();
        (decided.leader_epoch.get() >= 0).then_some((decided.leader, decided.leader_epoch))
    }

    /// Where the partition stands.
    ///
    /// # Errors
    /// As for every request: KAFKA_STORAGE_ERROR, UNKNOWN_TOPIC_OR_PARTITION.
    pub fn progress(&self) -> Result<Progress, ErrorCode> {
        Ok(self.lock()?.state.progress())
    }

    /// Takes a decision of the controller (`Partition.makeLeader`, `makeFollower`). Everybody who waits is woken when a
    /// new epoch began; then it also says what this broker is from now on. A new leader's epoch begins in the log at once,
    /// though nothing is appended: that is how followers with a longer tail of an older epoch learn to give it up. A log
    /// that has no topic id gets it. `on_pool`: on a thread that may wait for the directory.
    ///
    /// # Errors
    /// KAFKA_STORAGE_ERROR; INCONSISTENT_TOPIC_ID; STALE_CONTROLLER_EPOCH for a decision that is no newer than what is
    /// known, unless the topic's id is learned by it; UNKNOWN_TOPIC_OR_PARTITION for one by which this broker has no replica.
    pub(super) fn apply(
        &self,
        topic_id: TopicId,
        decision: &LeaderAndIsrPartition,
        on_pool: bool,
    ) -> Result<(Wakes, Option<Role>), ErrorCode> {
        let mut locked = if on_pool { self.lock_on_pool() } else { self.lock() }?;
        let state = &mut *locked.state;
        let known = state.leadership.leader_epoch();
        let is_learned = take_topic_id(&mut state.log, topic_id, decision.leader_epoch < known)?;
        let is_known = decision.leader_epoch == known;
        let log_end = state.log.log_end_offset();
        let was_leader = state.leadership.is_leader();
        let decision = LeaderAndIsr {
            controller_epoch: decision.controller_epoch,
            leader: decision.leader.unwrap_or(BrokerId(-1)),
            leader_epoch: decision.leader_epoch,
            partition_epoch: decision.partition_epoch,
            isr: decision.isr.clone(),
            replicas: decision.replicas.clone(),
        };
        match state.leadership.apply(decision, log_end, Instant::now()) {
            Applied::Stale if is_learned && is_known => Ok((Wakes::default(), None)),
            Applied::Stale => Err(ErrorCode::StaleControllerEpoch),
            Applied::NotHere => Err(ErrorCode::UnknownTopicOrPartition),
            Applied::Ignored => Ok((Wakes::default(), None)),
            Applied::NewEpoch { .. } => {
                if state.leadership.is_leader() {
                    let epoch = state.leadership.leader_epoch();
                    state.log.assign_epoch(epoch);
                    planted!("cluster-elected-is-committed", {
                        state.log.raise_high_watermark(log_end);
                    });
                } else if was_leader {
                    state.resigned += 1;
                }
                let mut wakes = state.waiters.wake_all();
                wakes.merge(state.settle());
                Ok((wakes, Some(state.leadership.role())))
            }
        }
    }

    /// True while the lock may be had later, but not soon.
    pub(super) fn is_stalled(&self) -> bool {
        let directory = self.directory();
        !directory.is_offline() && (directory.watch().is_stalled() || self.hangs_elsewhere())
    }

    /// Registers a request that has to wait.
    pub(super) fn wait(&self, parked: &Arc<Parked>, slot: u32, wants: Wants, seen: Progress) -> Wakes {
        match self.lock() {
            Ok(mut locked) => {
                let now = locked.state.progress();
                locked.state.waiters.register(parked, slot, wants, seen, &now)
            }
            Err(_) => Wakes::of(parked),
        }
    }

    /// Takes a request out that waits no longer.
    pub(super) fn leave(&self, parked: &Parked, slot: u32) {
        // Offline or not: the entry must go. While a write hangs in this partition it stays until the wake-up.
        if let Ok(mut locked) = self.lock() {
            locked.state.waiters.remove(parked, slot);
        }
    }

    /// Wakes everybody who waits: the partition is gone, or its directory is.
    pub(super) fn wake_all(&self) -> Wakes {
        self.lock_blocking().waiters.wake_all()
    }

    /// Ends the replica: from now on requests find no partition, and those that wait are woken.
    pub(super) fn stop(&self) -> Wakes {
        let mut state = self.lock_blocking();
        state.stopped = true;
        state.waiters.wake_all()
    }
}

/// Compares the topic's id with the log's, and gives it to a log that has none, unless it comes with an older decision.
/// Yields whether the log has learned it.
fn take_topic_id(log: &mut Log, id: TopicId, is_older: bool) -> Result<bool, ErrorCode> {
    match log.topic_id() {
        _ if id.is_zero() => Ok(false),
        Some(known) if planted!("cluster-any-topic-id", false, known != id) => {
            Err(ErrorCode::InconsistentTopicId)
        }
        Some(_) => Ok(false),
        None if is_older => Ok(false),
        None => {
            log.set_topic_id(id);
            Ok(true)
        }
    }
}
