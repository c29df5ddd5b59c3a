//! What is done from time to time: checkpoints, retention, flushes, expiry of producers, removal of deleted files, and
//! the look at directories that fail or stall.
//!
//! Invariant: no task or timer a partition; each job goes through a directory's partitions on that directory's pool,
//! one directory not waiting for another. Kafka: the scheduled tasks of `LogManager` and `ReplicaManager`.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::base::clock::{self, Instant};
use crate::base::ids::{Offset, TopicPartition};
use crate::base::shutdown::Shutdown;
use crate::base::task;
use crate::storage::checkpoint::Offsets;
use crate::storage::file_names::{
    CLEANER_CHECKPOINT, HIGH_WATERMARK_CHECKPOINT, LOG_START_OFFSET_CHECKPOINT, RECOVERY_POINT_CHECKPOINT,
};
use crate::storage::log::{DeletedFiles, Log};

use super::directories::HostDirectory;
use super::moving::Seen;
use super::partition::Partition;
use super::replicas::Replicas;
use super::upkeep::folder_delay_ms;

/// How often deleted files are looked at for whether their time has come.
const GRAVEYARD_INTERVAL: Duration = Duration::from_secs(1);

/// Called when a log directory went offline: with the directory, and whether it was the last one.
pub type OnDirectoryFailure = Arc<dyn Fn(&HostDirectory, bool) + Send + Sync>;

/// Called when the calls into a log directory are found not to return (`log.dir.stall.ms`).
pub type OnDirectoryStall = Arc<dyn Fn(&Arc<HostDirectory>) + Send + Sync>;

/// Files and folders that were renamed to be removed later.
pub struct Buried {
    directory: Arc<HostDirectory>,
    what: Corpse,
    due_ms: i64,
}

enum Corpse {
    Files(DeletedFiles),
    Folder(PathBuf),
}

impl Buried {
    pub(super) fn files(directory: Arc<HostDirectory>, files: DeletedFiles) -> Self {
        let due_ms = files.due_ms;
        Self {
            directory,
            what: Corpse::Files(files),
            due_ms,
        }
    }

    pub(super) fn folder(directory: Arc<HostDirectory>, path: PathBuf, due_ms: i64) -> Self {
        Self {
            directory,
            what: Corpse::Folder(path),
            due_ms,
        }
    }

    fn remove(self) {
        let result = match self.what {
            Corpse::Files(files) => files.remove(),
            Corpse::Folder(path) => {
                let volume = self.directory.volume();
                match volume.patiently(|disk| disk.remove_directory(&path)) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        Err(volume.failed("remove", &path, &error))
                    }
                    _ => Ok(()),
                }
            }
        };
        if let Err(error) = result {
            tracing::warn!(%error, "deleted files stay until the next start");
        }
    }
}

/// A config in milliseconds as a time, of at least one of them.
pub(super) fn interval_ms(milliseconds: i64) -> Duration {
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0).max(1))
}

impl Replicas {
    /// Starts the jobs on the current runtime; they end with `shutdown`.
    pub fn start_background(
        self: &Arc<Self>,
        shutdown: &Shutdown,
        on_failure: OnDirectoryFailure,
        on_stall: OnDirectoryStall,
    ) {
        let image = self.cluster().get();
        let config = &image.broker_config;
        let initial = interval_ms(config.log_initial_task_delay_ms);
        let high_watermarks = interval_ms(config.replica_high_watermark_checkpoint_interval_ms);
        self.every(
            shutdown,
            high_watermarks,
            high_watermarks,
            |replicas, directory| {
                replicas.checkpoint_high_watermarks(directory);
            },
        );
        let recovery_points = interval_ms(config.log_flush_offset_checkpoint_interval_ms.into());
        self.every(shutdown, initial, recovery_points, |replicas, directory| {
            replicas.checkpoint_recovery_points(directory);
        });
        let log_starts = interval_ms(config.log_flush_start_offset_checkpoint_interval_ms.into());
        self.every(shutdown, initial, log_starts, |replicas, directory| {
            replicas.checkpoint_log_starts(directory);
        });
        let retention = interval_ms(config.log_retention_check_interval_ms);
        self.every(shutdown, initial, retention, |replicas, directory| {
            for partition in replicas.all_in(directory) {
                if !partition.is_compacted() {
                    replicas.retain_one(&partition, clock::now_ms());
                }
            }
        });
        let flush = interval_ms(config.log_flush_scheduler_interval_ms);
        self.every(shutdown, initial.max(flush), flush, |replicas, directory| {
            for partition in replicas.all_in(directory) {
                partition.flush_if_due(clock::now_ms());
            }
        });
        let expiry = interval_ms(config.producer_id_expiration_check_interval_ms.into());
        self.every(shutdown, expiry, expiry, |replicas, directory| {
            let expiration_ms = replicas
                .cluster()
                .get()
                .broker_config
                .producer_id_expiration_ms
                .into();
            for partition in replicas.all_in(directory) {
                partition.expire_producers(clock::now_ms(), expiration_ms);
            }
        });
        self.every(
            shutdown,
            GRAVEYARD_INTERVAL,
            GRAVEYARD_INTERVAL,
            |replicas, directory| {
                replicas.empty_graveyard(directory, clock::now_ms());
            },
        );
        self.start_cleaner(shutdown);
        self.start_movers(shutdown);
        for directory in self.directories() {
            self.watch_for_failure(shutdown, directory, &on_failure);
            let stall = interval_ms(config.log_dir_stall_ms);
            watch_for_stall(shutdown, directory, stall, Arc::clone(&on_stall));
        }
    }

    /// Does a job for each directory that works, again and again. A directory whose last run is not over is left out.
    pub(super) fn every(
        self: &Arc<Self>,
        shutdown: &Shutdown,
        first: Duration,
        interval: Duration,
        job: impl Fn(&Replicas, &Arc<HostDirectory>) + Copy + Send + Sync + 'static,
    ) {
        for directory in self.directories() {
            let directory = Arc::clone(directory);
            let replicas = Arc::clone(self);
            let shutdown = shutdown.clone();
            task::spawn(async move {
                let mut wait = first;
                loop {
                    if clock::timeout(wait, shutdown.wait()).await.is_some() || directory.is_offline() {
                        return;
                    }
                    wait = interval;
                    let pool = directory.pool().clone();
                    let (replicas, directory) = (Arc::clone(&replicas), Arc::clone(&directory));
                    let _ = pool.run(move || job(&replicas, &directory)).await;
                }
            });
        }
    }

    /// When the directory goes offline: wakes everybody who waits in it, and tells who has to know.
    fn watch_for_failure(
        self: &Arc<Self>,
        shutdown: &Shutdown,
        directory: &Arc<HostDirectory>,
        on_failure: &OnDirectoryFailure,
    ) {
        let replicas = Arc::clone(self);
        let directory = Arc::clone(directory);
        let on_failure = Arc::clone(on_failure);
        let shutdown = shutdown.clone();
        task::spawn(async move {
            let mut offline = directory.volume().offline();
            tokio::select! {
                biased;
                () = shutdown.wait() => return,
                gone = offline.wait_for(|offline| *offline) => if gone.is_err() { return },
            }
            let last = replicas.directories().iter().all(|one| one.is_offline());
            let partitions = replicas.all_in(&directory);
            tracing::error!(
                directory = %directory.path().display(),
                partitions = partitions.len(),
                last,
                "log directory is offline; its partitions are not served"
            );
            for partition in partitions {
                partition.wake_all_somehow();
                replicas.tell_resigned(partition.name(), None);
            }
            on_failure(&directory, last);
        });
    }

    /// Writes how far the partitions are replicated. Blocks.
    pub fn checkpoint_high_watermarks(&self, directory: &Arc<HostDirectory>) {
        self.checkpoint(
            directory,
            HIGH_WATERMARK_CHECKPOINT,
            |log| Some(log.high_watermark()),
            |seen| Some(seen.log_end),
        );
    }

    /// Writes up to where the logs are durable. Blocks.
    pub fn checkpoint_recovery_points(&self, directory: &Arc<HostDirectory>) {
        self.checkpoint(
            directory,
            RECOVERY_POINT_CHECKPOINT,
            |log| Some(log.recovery_point()),
            |seen| Some(seen.recovery_point),
        );
    }

    /// Writes the log start offsets that the segments do not tell. Blocks.
    pub fn checkpoint_log_starts(&self, directory: &Arc<HostDirectory>) {
        let told = |start, first_base| (start > first_base).then_some(start);
        self.checkpoint(
            directory,
            LOG_START_OFFSET_CHECKPOINT,
            |log| told(log.log_start_offset(), log.first_base_offset()),
            |seen| told(seen.log_start, seen.first_base),
        );
    }

    /// Sees to it that no checkpoint of a directory tells of an earlier life of partitions that are new in it, before they
    /// have a record: after a crash what is said of a deleted topic would be taken for theirs, and records that lie below
    /// its log start would be removed. Blocks. A failure has taken the directory offline.
    pub(super) fn forget_former_lives(&self, directory: &Arc<HostDirectory>, partitions: &[TopicPartition]) {
        if directory.may_tell_of(RECOVERY_POINT_CHECKPOINT, partitions) {
            self.checkpoint_recovery_points(directory);
        }
        if directory.may_tell_of(LOG_START_OFFSET_CHECKPOINT, partitions) {
            self.checkpoint_log_starts(directory);
        }
        if directory.may_tell_of(HIGH_WATERMARK_CHECKPOINT, partitions) {
            self.checkpoint_high_watermarks(directory);
        }
        if directory.may_tell_of(CLEANER_CHECKPOINT, partitions) {
            self.checkpoint_cleaned(directory);
        }
    }

    /// Writes a checkpoint of the logs in a directory, and of the copies on their way into it. Blocks.
    pub(super) fn checkpoint(
        &self,
        directory: &Arc<HostDirectory>,
        name: &'static str,
        offset_of: impl Fn(&Log) -> Option<Offset>,
        offset_of_copy: impl Fn(&Seen) -> Option<Offset>,
    ) {
        let gathering = &directory.checkpointing;
        let _turn = gathering.lock().unwrap_or_else(PoisonError::into_inner);
        let mut offsets = Offsets::new();
        // First: one that is done meanwhile is found as a log.
        for copy in self.moves.bound_for(directory) {
            if let Some(offset) = offset_of_copy(&copy.seen()) {
                offsets.insert(TopicPartition::clone(copy.partition().name()), offset);
            }
        }
        offsets.extend(self.offsets_in(directory, offset_of));
        // A failure has taken the directory offline and was told then.
        let _ = directory.write_checkpoint(name, offsets);
    }

    /// Deletes the segments of one partition that are no longer kept. Blocks.
    pub fn retain_one(&self, partition: &Arc<Partition>, now_ms: i64) {
        // A failure has taken the directory offline and was told then.
        if let Ok(Some((files, flush))) = partition.retain(now_ms) {
            if !files.is_empty() {
                self.fetchers.touch(partition.name());
                self.bury(Buried::files(Arc::clone(partition.directory()), files));
            }
            if let Some(flush) = flush {
                partition.start_flush(flush);
            }
        }
    }

    pub(super) fn bury(&self, buried: Buried) {
        self.graveyard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(buried);
    }

    /// Takes over a folder whose deletion had begun before the start; it goes `log.segment.delete.delay.ms` from now.
    pub fn bury_folder(&self, directory: &Arc<HostDirectory>, path: PathBuf) {
        let due_ms = clock::now_ms().saturating_add(folder_delay_ms(self.cluster()));
        self.bury(Buried::folder(Arc::clone(directory), path, due_ms));
    }

    /// Removes the deleted files of a directory whose time has come. Blocks.
    pub fn empty_graveyard(&self, directory: &Arc<HostDirectory>, now_ms: i64) {
        let due: Vec<Buried> = {
            let mut graveyard = self.graveyard.lock().unwrap_or_else(PoisonError::into_inner);
            let is_due =
                |buried: &mut Buried| buried.due_ms <= now_ms && Arc::ptr_eq(&buried.directory, directory);
            graveyard.extract_if(.., is_due).collect()
        };
        for buried in due {
            buried.remove();
        }
    }
}

fn watch_for_stall(
    shutdown: &Shutdown,
    directory: &Arc<HostDirectory>,
    stall: Duration,
    on_stall: OnDirectoryStall,
) {
    let directory = Arc::clone(directory);
    let shutdown = shutdown.clone();
    // Found at the latest after seven eighths: three quarters of silence, and an eighth until the next look. The last
    // eighth is for finding the threads that hang.
    let (silence, interval) = (stall * 3 / 4, stall / 8);
    task::spawn(async move {
        let mut look = directory.watch().look(Instant::now()).every(interval);
        let mut look_at_work = directory.work().look(Instant::now()).every(interval);
        while clock::timeout(interval, shutdown.wait()).await.is_none() {
            match directory.watch().look_again(&mut look, Instant::now(), silence) {
                Some(true) => {
                    tracing::error!(
                        directory = %directory.path().display(),
                        "calls to the log directory do not return; its partitions answer errors until they do"
                    );
                    on_stall(&directory);
                }
                Some(false) => tracing::warn!(
                    directory = %directory.path().display(),
                    "calls to the log directory return again"
                ),
                None => {}
            }
            let work = directory
                .work()
                .look_again(&mut look_at_work, Instant::now(), silence);
            if work == Some(true) && !directory.watch().is_stalled() {
                tracing::warn!(
                    directory = %directory.path().display(),
                    "what the controller wants done in the log directory takes long; it is not waited for"
                );
            }
        }
    });
}
