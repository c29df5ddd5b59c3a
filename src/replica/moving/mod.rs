//! Partitions on their way from one log directory of this broker to another (KIP-113; Kafka:
//! `ReplicaManager.alterReplicaLogDirs`, `ReplicaAlterLogDirsManager`).
//!
//! A move copies the partition's log into a future log in the other directory while the partition goes on; when that
//! has caught up it takes the partition's place under the partition's lock, in one step. Invariant: at each moment, crashes
//! included, one folder is the partition's and has everything that was acknowledged; and while a partition is moved its log
//! is not compacted, or a deleted key could come back through the copy. [`begin`] and [`resume`] say what is to be moved,
//! [`movers`] do it, `num.replica.alter.log.dirs.threads` at a time, [`swap`] ends it.

mod begin;
mod movers;
mod resume;
mod swap;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::base::clock;
use crate::base::ids::{Offset, TopicPartition};
use crate::storage::log::{Log, MoveError, Put};
use crate::storage::volume::LogIoError;

use super::background::Buried;
use super::directories::{HostDirectory, LogDescription};
use super::partition::Partition;
use super::replicas::Replicas;
use super::together;
use super::upkeep::folder_delay_ms;

/// So many partitions that this broker does not have may be told in which directory they are to be made. More are not
/// remembered: their replicas are made where there are fewest.
const PREFERENCES_MAX: usize = 100_000;

/// The moves of a broker.
#[derive(Default)]
pub struct Moves {
    /// All that are under way, by topic and partition.
    all: Mutex<BTreeMap<TopicPartition, Arc<Move>>>,
    /// Those that no mover has taken yet.
    waiting: Mutex<VecDeque<Arc<Move>>>,
    /// Something came into `waiting`, or the configuration changed.
    changed: Notify,
    /// Where partitions are to be made that are not here yet.
    preferences: Mutex<BTreeMap<TopicPartition, usize>>,
    /// A partition was moved, and the checkpoints have not been written since.
    unwritten: AtomicBool,
    /// Held while moves are begun and ended by request.
    requests: tokio::sync::Mutex<()>,
    /// The broker stops: no more begin.
    closing: AtomicBool,
}

/// A partition on its way.
pub(super) struct Move {
    partition: Arc<Partition>,
    /// The number of the directory that it goes to, and that directory.
    to: usize,
    directory: Arc<HostDirectory>,
    future: Mutex<Future>,
    seen: Mutex<Seen>,
}

/// The copy.
struct Future {
    /// `None` once it was swapped, given up or closed.
    log: Option<Log>,
    /// The source's count of truncations at the first chunk.
    truncations: Option<u32>,
}

/// How far the copy is, to be looked at without waiting for a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) log_end: Offset,
    pub(super) recovery_point: Offset,
    pub(super) log_start: Offset,
    pub(super) first_base: Offset,
    pub(super) size_bytes: u64,
}

impl Seen {
    fn of(log: &Log) -> Self {
        Self {
            log_end: log.log_end_offset(),
            recovery_point: log.recovery_point(),
            log_start: log.log_start_offset(),
            first_base: log.first_base_offset(),
            size_bytes: log.size_in_bytes(),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Moves {
    /// The configuration changed: who waits as another limit wanted it waits no longer.
    pub(super) fn config_changed(&self) {
        self.changed.notify_waiters();
    }

    /// The move of a partition.
    pub(super) fn of(&self, name: &TopicPartition) -> Option<Arc<Move>> {
        locked(&self.all).get(name).map(Arc::clone)
    }

    /// Those that go to one directory.
    pub(super) fn bound_for(&self, directory: &Arc<HostDirectory>) -> Vec<Arc<Move>> {
        let all = locked(&self.all);
        let here = all.values().filter(|one| Arc::ptr_eq(&one.directory, directory));
        here.map(Arc::clone).collect()
    }

    /// False when the partition has a move already, or the broker stops.
    fn add(&self, one: &Arc<Move>) -> bool {
        let mut all = locked(&self.all);
        if self.closing.load(Ordering::Acquire) {
            return false;
        }
        match all.entry(one.partition.name().clone()) {
            Entry::Occupied(_) => return false,
            Entry::Vacant(place) => place.insert(Arc::clone(one)),
        };
        drop(all);
        locked(&self.waiting).push_back(Arc::clone(one));
        self.changed.notify_waiters();
        true
    }

    /// Takes a move out. False when another one has its place, or none.
    fn remove(&self, one: &Arc<Move>) -> bool {
        let mut all = locked(&self.all);
        let name = one.partition.name();
        let is_it = all.get(name).is_some_and(|known| Arc::ptr_eq(known, one));
        if is_it {
            all.remove(name);
        }
        is_it
    }

    /// Takes one out that no mover has begun.
    fn forget_waiting(&self, one: &Arc<Move>) {
        locked(&self.waiting).retain(|waiting| !Arc::ptr_eq(waiting, one));
    }

    fn next(&self) -> Option<Arc<Move>> {
        locked(&self.waiting).pop_front()
    }

    /// Takes out in which directory a partition is to be made, if that was said.
    pub(super) fn take_preference(&self, name: &TopicPartition) -> Option<usize> {
        let mut preferences = locked(&self.preferences);
        if preferences.is_empty() {
            return None;
        }
        preferences.remove(name)
    }

    fn prefer(&self, name: &TopicPartition, directory: usize) {
        let mut preferences = locked(&self.preferences);
        if preferences.len() < PREFERENCES_MAX || preferences.contains_key(name) {
            preferences.insert(name.clone(), directory);
        }
    }
}

impl Move {
    fn new(partition: &Arc<Partition>, to: usize, directory: &Arc<HostDirectory>, log: Log) -> Arc<Self> {
        Arc::new(Self {
            partition: Arc::clone(partition),
            to,
            directory: Arc::clone(directory),
            seen: Mutex::new(Seen::of(&log)),
            future: Mutex::new(Future {
                log: Some(log),
                truncations: None,
            }),
        })
    }

    /// Whose move it is.
    pub(super) fn partition(&self) -> &Arc<Partition> {
        &self.partition
    }

    /// How far the copy is.
    pub(super) fn seen(&self) -> Seen {
        *locked(&self.seen)
    }

    /// For DescribeLogDirs.
    pub(super) fn describe(&self) -> LogDescription {
        let seen = self.seen();
        let end = self.partition.progress().map(|progress| progress.log_end);
        LogDescription {
            partition: self.partition.name().clone(),
            size_bytes: seen.size_bytes,
            offset_lag: end.map_or(-1, |end| end.since(seen.log_end)),
            is_future: true,
        }
    }

    /// Copies the next piece. `None` when the move has ended. Blocks.
    fn step(&self, now_ms: i64) -> Result<Option<Put>, MoveError> {
        let mut future = locked(&self.future);
        let Future { log, truncations } = &mut *future;
        let Some(log) = log else { return Ok(None) };
        let chunk = {
            let Ok(source) = self.partition.lock_on_pool() else {
                return Ok(None);
            };
            source.state.log.chunk_behind(log)?
        };
        let _call = self.directory.watch().begin();
        let put = log.put_chunk(chunk, truncations, now_ms)?;
        *locked(&self.seen) = Seen::of(log);
        Ok(Some(put))
    }

    /// Ends the copy, and gives its folder the name for deletion: yields its path. `None` when there is nothing left to
    /// end. Blocks.
    fn give_up(&self) -> Option<PathBuf> {
        let log = locked(&self.future).log.take()?;
        // A failure has taken the directory offline; the next start finds the copy.
        log.mark_deleted().ok()
    }
}

/// Completes the copies in a directory for a clean stop. Blocks.
fn close_copies(directory: &HostDirectory, copies: &[Arc<Move>], now_ms: i64) -> Result<(), LogIoError> {
    let taken = copies
        .iter()
        .filter_map(|copy| Some((copy, locked(&copy.future).log.take()?)));
    let mut logs: Vec<_> = taken.collect();
    together::close_logs(directory, logs.iter_mut().map(|(_, log)| log), now_ms)?;
    for (copy, log) in &logs {
        *locked(&copy.seen) = Seen::of(log);
    }
    Ok(())
}

impl Replicas {
    /// True while the partition is moved to another log directory.
    pub fn is_moving(&self, name: &TopicPartition) -> bool {
        self.moves.of(name).is_some()
    }

    /// Ends a move without a swap: the copy goes, the partition stays where it is and is compacted again. Blocks.
    fn give_up(&self, one: &Arc<Move>, now_ms: i64) {
        // First, for it may be about to take the partition's place: until then nothing is compacted.
        let buried = one.give_up();
        if self.moves.remove(one) {
            self.moves.forget_waiting(one);
            one.partition.lock_blocking().log.resume_cleaning();
        }
        if let Some(path) = buried {
            let due_ms = now_ms.saturating_add(folder_delay_ms(self.cluster()));
            self.bury(Buried::folder(Arc::clone(&one.directory), path, due_ms));
            // A failure has taken the directory offline.
            let _ = one.directory.sync();
        }
    }

    /// No move begins from now on; those under way go on with the next start.
    pub(super) fn begin_no_moves(&self) {
        self.moves.closing.store(true, Ordering::Release);
    }

    /// Ends the moves to a directory for a clean stop. A move whose last step is under way is waited for. Blocks.
    pub(super) fn close_copies(&self, directory: &Arc<HostDirectory>) -> Result<(), LogIoError> {
        match self.moves.bound_for(directory) {
            none if none.is_empty() => Ok(()),
            copies => close_copies(directory, &copies, clock::now_ms()),
        }
    }

    /// Ends the move of a partition that is deleted or leaves this broker, if it has one. The copy goes on the other
    /// directory's pool.
    pub(super) fn end_move(self: &Arc<Self>, name: &TopicPartition, now_ms: i64) {
        if let Some(one) = self.moves.of(name) {
            let replicas = Arc::clone(self);
            let pool = one.directory.pool().clone();
            pool.start_work(move || replicas.give_up(&one, now_ms));
        }
    }
}
