//! Which logs are compacted when, and how fast (Kafka: `LogCleaner`, `LogCleanerManager`).
//!
//! Invariant: `log.cleaner.threads` tasks, each with a thread of its own for the disk and of a low priority, whatever the
//! number of partitions; a log is cleaned by one of them at a time. Each round a task takes the dirtiest log that is due,
//! and goes through it in steps, between which it waits as `log.cleaner.io.max.bytes.per.second` wants it. A log that cannot
//! be cleaned is said so once and left out; the others go on. Retention of compacted logs is done here too, as in Kafka.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::base::clock::{self, Instant};
use crate::base::shutdown::Shutdown;
use crate::base::task::{self, Pool};
use crate::config::BrokerConfig;
use crate::storage::cleaner::{CleanerSettings, Cleaning, CleaningError, LogPlace, Step};
use crate::storage::file_names::CLEANER_CHECKPOINT;
use crate::storage::log::Log;
use crate::storage::segment::SegmentError;

use super::background::Buried;
use super::directories::HostDirectory;
use super::partition::Partition;
use super::replicas::Replicas;
use super::throttle::Throttle;

/// The least that is read at once, whatever `log.cleaner.io.buffer.size` and the number of threads say.
const LEAST_IO_BUFFER_BYTES: usize = 16 << 10;

/// What the cleaner's tasks share.
#[derive(Default)]
pub struct CleanerState {
    /// The configuration changed: tasks come and go, and look at it anew.
    changed: Notify,
    running: Mutex<Running>,
    throttle: Throttle,
}

/// What is under way.
#[derive(Default)]
struct Running {
    /// The numbers of the tasks, from 0 on.
    tasks: Vec<usize>,
    /// When retention of compacted logs was last done.
    retained: Option<Instant>,
}

type PartitionCleaning = Cleaning<Arc<Partition>>;

impl LogPlace for Arc<Partition> {
    fn with_log<T>(&self, act: impl FnOnce(&mut Log) -> T) -> Option<T> {
        let mut state = self.lock_blocking();
        (!state.stopped).then(|| act(&mut state.log))
    }
}

impl CleanerState {
    /// The configuration changed.
    pub(super) fn config_changed(&self) {
        // Who waits as another limit wanted it waits no longer.
        self.throttle.forget();
        self.changed.notify_waiters();
    }

    /// How many tasks there are.
    #[cfg(test)]
    pub(super) fn tasks(&self) -> usize {
        self.running().tasks.len()
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn threads(config: &BrokerConfig) -> usize {
    if config.log_cleaner_enable {
        usize::try_from(config.log_cleaner_threads).unwrap_or(0)
    } else {
        0
    }
}

/// What each of the tasks may use.
fn settings(config: &BrokerConfig) -> CleanerSettings {
    let threads = threads(config).max(1);
    let bytes = |bytes: i64| usize::try_from(bytes).unwrap_or(0) / threads;
    CleanerSettings {
        dedupe_buffer_bytes: bytes(config.log_cleaner_dedupe_buffer_size),
        load_factor: config.log_cleaner_io_buffer_load_factor,
        io_buffer_bytes: (bytes(config.log_cleaner_io_buffer_size.into()) / 2).max(LEAST_IO_BUFFER_BYTES),
    }
}

impl Replicas {
    /// Starts the cleaner on the current runtime; it ends with `shutdown`.
    pub fn start_cleaner(self: &Arc<Self>, shutdown: &Shutdown) {
        let (replicas, shutdown) = (Arc::clone(self), shutdown.clone());
        task::spawn(async move {
            loop {
                // Made before the look at the configuration: it hears of every change from here on.
                let changed = replicas.cleaner.changed.notified();
                replicas.start_missing_tasks(&shutdown);
                tokio::select! {
                    biased;
                    () = shutdown.wait() => return,
                    () = changed => {}
                }
            }
        });
    }

    fn start_missing_tasks(self: &Arc<Self>, shutdown: &Shutdown) {
        let wanted = threads(&self.cluster().get().broker_config);
        for number in 0..wanted {
            let mut running = self.cleaner.running();
            if running.tasks.contains(&number) {
                continue;
            }
            let pool = match Pool::start_in_background("log-cleaner", 1) {
                Ok(pool) => pool,
                Err(error) => {
                    tracing::error!(%error, "no thread for the log cleaner");
                    return;
                }
            };
            running.tasks.push(number);
            drop(running);
            let (replicas, shutdown) = (Arc::clone(self), shutdown.clone());
            task::spawn(async move {
                replicas.clean_again_and_again(number, &pool, &shutdown).await;
            });
        }
    }

    /// One of the cleaner's tasks, until there are fewer of them or the broker stops.
    async fn clean_again_and_again(self: &Arc<Self>, number: usize, pool: &Pool, shutdown: &Shutdown) {
        loop {
            let changed = self.cleaner.changed.notified();
            if shutdown.begun() || self.leaves(number) {
                return;
            }
            let cleaned = self.clean_dirtiest(pool, shutdown).await;
            let image = self.cluster().get();
            let config = &image.broker_config;
            let backoff = Duration::from_millis(u64::try_from(config.log_cleaner_backoff_ms).unwrap_or(0));
            self.retain_compacted(pool, backoff).await;
            if !cleaned {
                tokio::select! {
                    biased;
                    () = shutdown.wait() => return,
                    () = changed => {}
                    () = clock::sleep(backoff.max(Duration::from_millis(1))) => {}
                }
            }
        }
    }

    /// True when there are to be fewer tasks; the number is free for another one from then on.
    fn leaves(&self, number: usize) -> bool {
        // Under the lock, so that who raises the number finds either this task or its place.
        let mut running = self.cleaner.running();
        let leaves = number >= threads(&self.cluster().get().broker_config);
        if leaves {
            running.tasks.retain(|other| *other != number);
        }
        leaves
    }

    /// Cleans the dirtiest log that is due. False when there is none.
    async fn clean_dirtiest(self: &Arc<Self>, pool: &Pool, shutdown: &Shutdown) -> bool {
        let replicas = Arc::clone(self);
        let begun = pool.run(move || replicas.begin_dirtiest(clock::now_ms())).await;
        let Ok(Some(mut cleaning)) = begun else {
            return false;
        };
        let partition = Arc::clone(cleaning.place());
        loop {
            let changed = self.cleaner.changed.notified();
            let begun = Instant::now();
            let stepped = pool
                .run(move || {
                    let step = cleaning.step();
                    (cleaning, step)
                })
                .await;
            let Ok((back, step)) = stepped else {
                tracing::error!(partition = %partition.name(), "the log cleaner failed");
                return true;
            };
            cleaning = back;
            let over = match step {
                Ok(step) => self.take_step(&cleaning, step, begun, pool).await,
                Err(error) => {
                    tell(&partition, &error);
                    None
                }
            };
            let Some(until) = over else { return true };
            if shutdown.begun() {
                let _ = pool.run(move || cleaning.give_up()).await;
                return true;
            }
            if until > Instant::now() {
                tokio::select! {
                    biased;
                    () = shutdown.wait() => {}
                    () = changed => {}
                    () = clock::sleep_until(until) => {}
                }
            }
        }
    }

    /// Takes over what a step of a cleaning left to do. Answers until when to wait before the next; `None` after the last.
    async fn take_step(
        self: &Arc<Self>,
        cleaning: &PartitionCleaning,
        step: Step,
        begun: Instant,
        pool: &Pool,
    ) -> Option<Instant> {
        let directory = cleaning.place().directory();
        if let Some(files) = step.deleted {
            self.bury(Buried::files(Arc::clone(directory), files));
        }
        if step.cleaned_below.is_some() {
            self.tell_cleaned(cleaning);
            let (replicas, directory) = (Arc::clone(self), Arc::clone(directory));
            let _ = pool.run(move || replicas.checkpoint_cleaned(&directory)).await;
            return None;
        }
        let limit = self
            .cluster()
            .get()
            .broker_config
            .log_cleaner_io_max_bytes_per_second;
        Some(self.cleaner.throttle.note(step.io_bytes, begun, limit))
    }

    /// Begins to clean the log that is dirtiest among those that are due at `now_ms`. Blocks.
    pub(super) fn begin_dirtiest(&self, now_ms: i64) -> Option<PartitionCleaning> {
        let settings = settings(&self.cluster().get().broker_config);
        loop {
            let dirtiest = self.dirtiest(now_ms)?;
            match Cleaning::begin(Arc::clone(&dirtiest), now_ms, settings) {
                Ok(Some(cleaning)) => return Some(cleaning),
                // Another task has it, or it was deleted: then it is not found again.
                Ok(None) => {}
                Err(error) => set_aside(&dirtiest, &error),
            }
        }
    }

    fn dirtiest(&self, now_ms: i64) -> Option<Arc<Partition>> {
        let mut best: Option<(f64, Arc<Partition>)> = None;
        for partition in self.all() {
            if partition.directory().is_offline() || partition.directory().watch().is_stalled() {
                continue;
            }
            let looked = partition.with_log(|log| {
                let cleanable = log.cleanable(now_ms)?;
                let least = log.config().min_cleanable_dirty_ratio;
                Ok::<_, SegmentError>(cleanable.filter(|found| found.is_due(least)))
            });
            match looked {
                Some(Ok(Some(found))) if best.as_ref().is_none_or(|(ratio, _)| found.ratio() > *ratio) => {
                    best = Some((found.ratio(), partition));
                }
                Some(Err(error)) => set_aside(&partition, &error),
                _ => {}
            }
        }
        best.map(|(_, partition)| partition)
    }

    /// Writes up to where logs are clean. Blocks.
    pub fn checkpoint_cleaned(&self, directory: &Arc<HostDirectory>) {
        self.checkpoint(directory, CLEANER_CHECKPOINT, Log::cleaner_checkpoint, |_| None);
    }

    /// The same for a clean stop: a file that is right stays as it is, so also one of a directory in which nothing was ever
    /// cleaned. Blocks.
    pub(super) fn complete_cleaned(&self, directory: &Arc<HostDirectory>) {
        let offsets = self.offsets_in(directory, Log::cleaner_checkpoint);
        if !directory.tells(CLEANER_CHECKPOINT, &offsets) {
            self.checkpoint_cleaned(directory);
        }
    }

    /// Deletes segments of compacted logs that are no longer kept, unless that was done within `interval`.
    pub(super) async fn retain_compacted(self: &Arc<Self>, pool: &Pool, interval: Duration) {
        {
            let mut running = self.cleaner.running();
            let now = Instant::now();
            if running.retained.is_some_and(|last| now.since(last) < interval) {
                return;
            }
            running.retained = Some(now);
        }
        let replicas = Arc::clone(self);
        let work = move || replicas.retain_all_compacted(clock::now_ms());
        let _ = pool.run(work).await;
    }

    /// Deletes segments of compacted logs that are no longer kept: all policies let those go that lie below the log's
    /// start. Blocks.
    pub(super) fn retain_all_compacted(&self, now_ms: i64) {
        for partition in self.all() {
            let reachable =
                !partition.directory().is_offline() && !partition.directory().watch().is_stalled();
            if reachable && partition.is_compacted() && !partition.is_being_cleaned() {
                self.retain_one(&partition, now_ms);
            }
        }
    }

    fn tell_cleaned(&self, cleaning: &PartitionCleaning) {
        let (range, stats) = (cleaning.range(), cleaning.stats());
        tracing::info!(
            partition = %cleaning.place().name(),
            from = range.first_dirty.get(),
            keys = stats.keys,
            bytes_before = stats.read_bytes,
            bytes_after = stats.written_bytes,
            segments_before = stats.segments_before,
            segments_after = stats.segments_after,
            "log compacted"
        );
    }
}

fn set_aside(partition: &Arc<Partition>, error: &SegmentError) {
    if let SegmentError::Corrupt { .. } = error {
        let _ = partition.with_log(Log::set_uncleanable);
        tell_uncleanable(partition, error);
    }
}

fn tell(partition: &Partition, error: &CleaningError) {
    match error {
        CleaningError::Aborted => {
            tracing::debug!(partition = %partition.name(), "cleaning ended: {error}");
        }
        // The volume has said so.
        CleaningError::Io(_) => {}
        CleaningError::Uncleanable(why) => tell_uncleanable(partition, why),
    }
}

fn tell_uncleanable(partition: &Partition, why: &dyn std::fmt::Display) {
    tracing::error!(
        partition = %partition.name(),
        "the log cannot be compacted and grows until the broker is started again: {why}"
    );
}
