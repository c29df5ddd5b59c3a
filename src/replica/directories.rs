//! The log directories as their partitions see them: where they are, whether they work, and the pool for slow work.
//!
//! Invariant: a directory that went offline stays offline, and nothing in it is appended, read or acknowledged again
//! (Kafka: `LogDirFailureHandler`, `ReplicaManager.handleLogDirFailure`).

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use crate::base::disk::{Open, Space};
use crate::base::error_code::ErrorCode;
use crate::base::ids::{Offset, TopicPartition};
use crate::base::task::Pool;
use crate::storage::checkpoint::{self, Offsets};
use crate::storage::file_names::TRIAL;
use crate::storage::log::Log;
use crate::storage::volume::{LogIoError, Volume};

use super::put_off::PutOff;
use super::replicas::Replicas;
use super::stall::StallWatch;

/// One entry of `log.dirs` with what its partitions share.
pub struct HostDirectory {
    volume: Arc<Volume>,
    pool: Pool,
    watch: StallWatch,
    work: StallWatch,
    /// How many partitions lie in it.
    partitions: AtomicUsize,
    /// What each checkpoint holds, as it was last written.
    written: Mutex<Vec<(&'static str, Offsets)>>,
    /// Held from when the lines of a checkpoint are gathered until they are written: none that were gathered before a log
    /// was cut take the place of those that were gathered after it.
    pub(super) checkpointing: Mutex<()>,
    /// Held while new logs in it are made durable together.
    pub(super) creating: Mutex<()>,
    /// Decisions of the controller that wait for it to answer.
    pub(super) put_off: PutOff,
}

impl HostDirectory {
    /// The directory of `volume`, whose slow work is done on `pool`.
    pub fn new(volume: Arc<Volume>, pool: Pool) -> Arc<Self> {
        Arc::new(Self {
            volume,
            pool,
            watch: StallWatch::default(),
            work: StallWatch::default(),
            partitions: AtomicUsize::new(0),
            written: Mutex::default(),
            checkpointing: Mutex::default(),
            creating: Mutex::default(),
            put_off: PutOff::default(),
        })
    }

    /// The volume.
    pub fn volume(&self) -> &Arc<Volume> {
        &self.volume
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.volume.path()
    }

    /// For work that may wait for the disk.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Counts the calls into it.
    pub fn watch(&self) -> &StallWatch {
        &self.watch
    }

    /// Counts what is done in it for control requests, from when it is queued on the pool: syncs among it, which take longer
    /// than calls. That this stalls keeps no connection from calls.
    pub(super) fn work(&self) -> &StallWatch {
        &self.work
    }

    /// True while nobody should wait for it: calls, or what is done for control requests, do not return.
    pub(super) fn hangs(&self) -> bool {
        self.watch.is_stalled() || self.work.is_stalled()
    }

    /// Returns when it hangs.
    pub(super) async fn begins_to_hang(&self) {
        tokio::select! {
            biased;
            () = self.watch.stalls() => {}
            () = self.work.stalls() => {}
        }
    }

    /// Returns when it does not hang, or has failed.
    pub(super) async fn answers(&self) {
        while self.hangs() && !self.is_offline() {
            self.watch.returns().await;
            self.work.returns().await;
        }
    }

    /// Makes a file in it and takes it away: does not return while nothing can be made in it. Blocks.
    pub(super) fn try_out(&self) {
        let _call = self.watch.begin();
        let (disk, path) = (self.volume.disk(), self.path().join(TRIAL));
        // What fails here fails where it is needed, and is told there.
        if disk.open(&path, Open::Create).is_ok() {
            let _ = disk.remove_file(&path);
        }
    }

    /// True once it failed.
    #[inline]
    pub fn is_offline(&self) -> bool {
        self.volume.failure().is_some()
    }

    /// Takes a lock whose holders may be in a call to the directory. `None` when the directory is offline or its calls do
    /// not return, so that a thread that serves connections never hangs behind one that does.
    pub fn lock<'a, T>(&self, mutex: &'a Mutex<T>) -> Option<MutexGuard<'a, T>> {
        self.lock_unless(mutex, || false)
    }

    /// The same, and `None` also when the holder hangs elsewhere.
    pub(super) fn lock_unless<'a, T>(
        &self,
        mutex: &'a Mutex<T>,
        hangs_elsewhere: impl Fn() -> bool,
    ) -> Option<MutexGuard<'a, T>> {
        const SPINS: u32 = 64;
        const PAUSE: Duration = Duration::from_micros(50);
        let mut tries = 0;
        loop {
            if self.is_offline() || self.watch.is_stalled() {
                return None;
            }
            match mutex.try_lock() {
                Ok(guard) => return Some(guard),
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => {
                    // The holder may hang in a write: waiting ends when the directory is found to stall.
                    tries += 1;
                    if hangs_elsewhere() {
                        return None;
                    }
                    if tries < SPINS {
                        std::thread::yield_now();
                    } else {
                        std::thread::park_timeout(PAUSE);
                    }
                }
            }
        }
    }

    pub(super) fn partitions(&self) -> usize {
        self.partitions.load(Ordering::Acquire)
    }

    pub(super) fn partition_came(&self) {
        self.partitions.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn partition_went(&self) {
        self.partitions.fetch_sub(1, Ordering::AcqRel);
    }

    /// Makes folders that were made or renamed in it durable. Blocks.
    pub(super) fn sync(&self) -> Result<(), LogIoError> {
        self.volume.check()?;
        let synced = self.volume.patiently(|disk| disk.sync_directory(self.path()));
        synced.map_err(|error| self.volume.failed("sync", self.path(), &error))
    }

    /// True when the checkpoint on disk may have a line of one of these partitions. Blocks.
    pub(super) fn may_tell_of(&self, checkpoint: &str, partitions: &[TopicPartition]) -> bool {
        let tells = |offsets: &Offsets| partitions.iter().any(|name| offsets.contains_key(name));
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, offsets)) = written.iter().find(|(known, _)| *known == checkpoint) {
            return tells(offsets);
        }
        // Not written since the start; new directories have empty ones.
        let path = self.path().join(checkpoint);
        match checkpoint::read_offsets(self.volume.disk(), &path) {
            Ok(offsets) => tells(&offsets),
            Err(_) => self
                .volume
                .disk()
                .metadata(&path)
                .is_ok_and(|found| found.length > 0),
        }
    }

    /// True when the checkpoint on disk tells just this. Blocks.
    pub(super) fn tells(&self, checkpoint: &str, expected: &Offsets) -> bool {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        match written.iter().find(|(known, _)| *known == checkpoint) {
            Some((_, offsets)) => offsets == expected,
            // Not written since the start. One that cannot be read counts as empty.
            None => checkpoint::read_offsets(self.volume.disk(), &self.path().join(checkpoint))
                .map_or(expected.is_empty(), |offsets| offsets == *expected),
        }
    }

    /// Writes a checkpoint, unless it holds just that already. Blocks.
    ///
    /// # Errors
    /// The disk's; the directory is offline then.
    pub(super) fn write_checkpoint(&self, name: &'static str, offsets: Offsets) -> Result<(), LogIoError> {
        self.volume.check()?;
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let at = written.iter().position(|(known, _)| *known == name);
        let same = at
            .and_then(|at| written.get(at))
            .is_some_and(|(_, before)| *before == offsets);
        if same {
            return Ok(());
        }
        let path = self.path().join(name);
        self.volume
            .patiently(|disk| checkpoint::write_offsets(disk, &path, &offsets))
            .map_err(|error| self.volume.failed("write", &path, &error))?;
        match at.and_then(|at| written.get_mut(at)) {
            Some(known) => known.1 = offsets,
            None => written.push((name, offsets)),
        }
        Ok(())
    }
}

/// A log in the description of a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogDescription {
    /// Whose log it is.
    pub partition: TopicPartition,
    /// Bytes of its segments.
    pub size_bytes: u64,
    /// How far its log end is behind its high watermark, or a copy's behind the log that it is one of; −1 when that is
    /// not known.
    pub offset_lag: i64,
    /// It is a copy on its way into the directory.
    pub is_future: bool,
}

/// What DescribeLogDirs tells of a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirectoryDescription {
    /// KAFKA_STORAGE_ERROR once it is offline; nothing else is told then.
    pub error: ErrorCode,
    /// Its absolute path.
    pub path: String,
    /// The size of its file system, where that can be told.
    pub space: Option<Space>,
    /// Its logs, by topic and partition.
    pub logs: Vec<LogDescription>,
}

impl Replicas {
    /// An offset of each log in a directory that has one. Blocks.
    pub(super) fn offsets_in(
        &self,
        directory: &Arc<HostDirectory>,
        offset_of: impl Fn(&Log) -> Option<Offset>,
    ) -> Offsets {
        let mut offsets = Offsets::new();
        for partition in self.all_in(directory) {
            if let Some(offset) = offset_of(&partition.lock_blocking().log) {
                offsets.insert(TopicPartition::clone(partition.name()), offset);
            }
        }
        offsets
    }

    /// Looks at each log directory on its pool. One that hangs is described as one that is offline.
    pub async fn describe_directories(&self) -> Vec<DirectoryDescription> {
        let all = self.all();
        let mut looks = Vec::new();
        for directory in self.directories() {
            let path = directory.path().to_string_lossy().into_owned();
            let offline = |path| DirectoryDescription {
                error: ErrorCode::KafkaStorageError,
                path,
                space: None,
                logs: Vec::new(),
            };
            if directory.is_offline() || directory.hangs() {
                looks.push((directory, offline(path), None));
                continue;
            }
            let here: Vec<_> = all
                .iter()
                .filter(|partition| Arc::ptr_eq(partition.directory(), directory))
                .map(Arc::clone)
                .collect();
            let copies = self.moves.bound_for(directory);
            let volume = Arc::clone(directory.volume());
            let look = move || {
                let space = volume.disk().space(volume.path()).ok();
                let logs = here.iter().filter_map(|partition| partition.describe());
                let copies = copies.iter().map(|copy| copy.describe());
                let mut logs: Vec<LogDescription> = logs.chain(copies).collect();
                logs.sort_by(|one, other| one.partition.cmp(&other.partition));
                (space, logs)
            };
            looks.push((directory, offline(path), Some(directory.pool().begin(look))));
        }
        let mut described = Vec::new();
        for (directory, offline, look) in looks {
            let Some(look) = look else {
                described.push(offline);
                continue;
            };
            let _work = directory.work().queue();
            let found = tokio::select! {
                biased;
                found = look => found.ok(),
                () = directory.begins_to_hang() => None,
            };
            described.push(match found {
                Some((space, logs)) => DirectoryDescription {
                    error: ErrorCode::None,
                    space,
                    logs,
                    ..offline
                },
                None => offline,
            });
        }
        described
    }
}
