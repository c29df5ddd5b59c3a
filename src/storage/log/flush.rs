//! Making a log durable, in two steps: what is to be synced is planned under the partition's lock, the syncs run
//! outside it on the log directory's pool, and the recovery point rises when they are done. And the clean stop.
//!
//! Order of the syncs (Kafka's): snapshots, then segment by segment log, indexes; then the leader epochs, then the
//! folder, where its entries changed. Of the active segment's indexes only the transaction index is synced: the others are built anew after any
//! crash.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::Log;
use crate::base::disk::Open;
use crate::base::ids::Offset;
use crate::storage::file_names::{FileKind, LEADER_EPOCH_CHECKPOINT};
use crate::storage::segment::Segment;
use crate::storage::volume::{LogIoError, Volume};

/// What is on disk and may not survive a power cut.
#[derive(Default)]
pub(super) struct Unsynced {
    /// Snapshots that were written.
    snapshots: Vec<Offset>,
    /// Counts the changes of the leader epochs, and up to which of them the file is durable.
    epochs: u32,
    epochs_durable: u32,
    /// Counts the files that were created or renamed, and up to which of them the folder is durable.
    folder: u32,
    folder_durable: u32,
    /// The folder was synced since the log was opened: a process that was killed may have left changes that are not durable.
    folder_synced: bool,
    /// The folder itself is new in the log directory.
    root: bool,
    /// Which leader epochs the file holds; shared with the works under way, so that none puts older ones back.
    epoch_file: Arc<Mutex<u32>>,
}

impl Unsynced {
    /// Those of a folder that was just made.
    pub(super) fn of_new_folder() -> Self {
        Self {
            root: true,
            folder: 1,
            ..Self::default()
        }
    }

    pub(super) fn snapshot_written(&mut self, offset: Offset) {
        self.snapshots.push(offset);
        self.folder_changed();
    }

    pub(super) fn epochs_changed(&mut self) {
        self.epochs = self.epochs.wrapping_add(1);
    }

    pub(super) fn folder_changed(&mut self) {
        self.folder = self.folder.wrapping_add(1);
    }

    fn wants_folder_synced(&self) -> bool {
        !self.folder_synced || self.folder != self.folder_durable
    }

    /// True when something is to be synced beside the segments.
    fn is_anything(&self) -> bool {
        !self.snapshots.is_empty()
            || self.epochs != self.epochs_durable
            || self.folder != self.folder_durable
            || self.root
    }
}

/// Files to sync, in order. Does nothing until it is run; dropping it loses nothing but time.
#[must_use = "nothing is synced until it is run"]
#[derive(Debug)]
pub struct FlushWork {
    volume: Arc<Volume>,
    folder: PathBuf,
    files: Vec<PathBuf>,
    epochs: Option<(u32, Vec<u8>)>,
    epoch_file: Arc<Mutex<u32>>,
    sync_folder: bool,
    sync_root: bool,
    done: Flushed,
}

/// What a [`FlushWork`] has synced.
#[must_use = "the recovery point rises when the log hears of it"]
#[derive(Clone, Debug)]
pub struct Flushed {
    /// Of the log that it was planned for; another one may have taken its place.
    epoch_file: Arc<Mutex<u32>>,
    up_to: Offset,
    complete_below: Offset,
    truncations: u32,
    snapshots: Vec<Offset>,
    epochs: u32,
    folder: u32,
    root: bool,
}

impl FlushWork {
    /// Syncs. Blocks; to be called without the partition's lock. After a failure the volume is offline, and nothing is
    /// tried again.
    pub fn run(self) -> Result<Flushed, LogIoError> {
        self.volume.check()?;
        for path in &self.files {
            self.sync_file(path)?;
        }
        if let Some((version, contents)) = &self.epochs {
            self.write_epochs(*version, contents)?;
        }
        if self.sync_folder {
            self.sync_directory(&self.folder)?;
        }
        if self.sync_root {
            self.sync_directory(self.volume.path())?;
        }
        Ok(self.done)
    }

    /// The folder whose files it syncs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// For who syncs the whole file system instead of running the work, first step: writes what is still to be written.
    /// Then comes a sync, [`publish`](Self::publish), another sync, and [`synced`](Self::synced). Not beside other works
    /// of the log that are newer.
    pub fn stage(&self) -> Result<(), LogIoError> {
        self.volume.check()?;
        let Some((version, contents)) = &self.epochs else {
            return Ok(());
        };
        let mut written = self.epoch_file.lock().unwrap_or_else(PoisonError::into_inner);
        if is_newer(*version, *written) {
            let path = self.folder.join(LEADER_EPOCH_CHECKPOINT);
            let staged = self.volume.patiently(|disk| disk.write_beside(&path, contents));
            staged.map_err(|error| self.volume.failed("write", &path, &error))?;
            // From now on no older work writes there.
            *written = *version;
        }
        Ok(())
    }

    /// Second step, when what was staged is durable: puts it in its place.
    pub fn publish(&self) -> Result<(), LogIoError> {
        if self.epochs.is_none() {
            return Ok(());
        }
        let path = self.folder.join(LEADER_EPOCH_CHECKPOINT);
        match self.volume.disk().put_in_place(&path) {
            // Another work had written these epochs, or newer ones.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.volume.failed("rename", &path, &error))
            }
            _ => Ok(()),
        }
    }

    /// Last step, when everything is durable.
    pub fn synced(self) -> Flushed {
        self.done
    }

    /// A file that is gone was removed by retention or truncation meanwhile, and needs no sync.
    fn sync_file(&self, path: &Path) -> Result<(), LogIoError> {
        match self.volume.patiently(|disk| disk.open(path, Open::Existing)) {
            Ok(file) => file
                .sync()
                .map_err(|error| self.volume.failed("sync", path, &error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(self.volume.failed("open", path, &error)),
        }
    }

    fn write_epochs(&self, version: u32, contents: &[u8]) -> Result<(), LogIoError> {
        let mut written = self.epoch_file.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_newer(version, *written) {
            return Ok(());
        }
        let path = self.folder.join(LEADER_EPOCH_CHECKPOINT);
        match self.volume.patiently(|disk| disk.replace(&path, contents)) {
            Ok(()) => {
                *written = version;
                Ok(())
            }
            // The folder was removed or renamed, with the topic.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(self.volume.failed("write", &path, &error)),
        }
    }

    fn sync_directory(&self, path: &Path) -> Result<(), LogIoError> {
        match self.volume.patiently(|disk| disk.sync_directory(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.volume.failed("sync", path, &error))
            }
            _ => Ok(()),
        }
    }
}

impl std::fmt::Debug for Volume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.path().fmt(f)
    }
}

impl Log {
    /// True when `flush.ms` has passed since the last flush and something is unsynced.
    pub fn wants_flush(&self, now_ms: i64) -> bool {
        self.log_end_offset > self.recovery_point
            && now_ms.saturating_sub(self.last_flush_ms) >= self.config.flush_ms
    }

    /// When the log was last flushed, or opened.
    pub fn last_flush_ms(&self) -> i64 {
        self.last_flush_ms
    }

    /// What is to be synced so that everything appended so far survives a power cut; `None` when it does already.
    pub fn flush_plan(&mut self) -> Option<FlushWork> {
        self.plan_flush(self.log_end_offset)
    }

    /// What is to be synced so that `[.., up_to)` survives.
    pub(super) fn plan_flush(&mut self, up_to: Offset) -> Option<FlushWork> {
        let needs = up_to > self.recovery_point
            || self.complete_below < self.active.base_offset()
            || self.unsynced.is_anything();
        if !needs {
            return None;
        }
        let mut files: Vec<PathBuf> = Vec::new();
        for snapshot in &self.unsynced.snapshots {
            files.push(self.folder.path_of(*snapshot, FileKind::Snapshot));
        }
        let incomplete = self
            .inactive
            .iter()
            .filter(|segment| segment.base_offset() >= self.complete_below);
        for segment in incomplete {
            for kind in FileKind::SEGMENT {
                let needed = kind != FileKind::TransactionIndex || !segment.transactions().is_empty();
                if needed {
                    files.push(self.folder.path_of(segment.base_offset(), kind));
                }
            }
        }
        // One that was cut to nothing must not come back either.
        let was_cut = self.active.is_changed() && !self.active.is_new();
        if up_to > self.active.base_offset() || was_cut {
            let base = self.active.base_offset();
            files.push(self.folder.path_of(base, FileKind::Log));
            // Nothing rebuilds it when the segment is rolled right after and the power fails before that is synced.
            if !self.active.transactions().is_empty() {
                files.push(self.folder.path_of(base, FileKind::TransactionIndex));
            }
        }
        let epochs_changed = self.unsynced.epochs != self.unsynced.epochs_durable;
        Some(FlushWork {
            volume: Arc::clone(self.volume()),
            folder: self.path().to_owned(),
            files,
            epochs: epochs_changed.then(|| (self.unsynced.epochs, self.epochs.to_bytes())),
            epoch_file: Arc::clone(&self.unsynced.epoch_file),
            sync_folder: self.unsynced.wants_folder_synced(),
            sync_root: self.unsynced.root,
            done: Flushed {
                epoch_file: Arc::clone(&self.unsynced.epoch_file),
                up_to,
                complete_below: self.active.base_offset(),
                truncations: self.truncations,
                snapshots: self.unsynced.snapshots.clone(),
                epochs: self.unsynced.epochs,
                folder: self.unsynced.folder,
                root: self.unsynced.root,
            },
        })
    }

    /// Syncs the segment that was just closed, where a recovery point at its end would keep it from being recovered: the
    /// last record was synced, and then it was rolled.
    pub(super) fn sync_closed(&self) -> Result<(), LogIoError> {
        let base = self.active.base_offset();
        for kind in all_files(&self.active) {
            let file = self.folder.file(self.active.files(), base, kind)?;
            file.sync()
                .map_err(|error| self.folder.failed("sync", base, kind, &error))?;
        }
        Ok(())
    }

    /// A [`FlushWork`] is done: the recovery point rises, unless the log was truncated meanwhile.
    pub fn flushed(&mut self, flushed: Flushed, now_ms: i64) {
        if !Arc::ptr_eq(&flushed.epoch_file, &self.unsynced.epoch_file) {
            return;
        }
        self.last_flush_ms = now_ms;
        newer(&mut self.unsynced.epochs_durable, flushed.epochs);
        newer(&mut self.unsynced.folder_durable, flushed.folder);
        self.unsynced.folder_synced = true;
        self.unsynced.root &= !flushed.root;
        if flushed.truncations != self.truncations {
            return;
        }
        self.unsynced
            .snapshots
            .retain(|snapshot| !flushed.snapshots.contains(snapshot));
        self.complete_below = self.complete_below.max(flushed.complete_below);
        // A segment that was closed meanwhile must still be recovered after a crash, for its indexes.
        let incomplete = (0..self.inactive.len()).find(|number| {
            self.segment(*number)
                .is_some_and(|segment| segment.base_offset() >= self.complete_below)
        });
        let limit = incomplete.map_or(self.log_end_offset, |number| self.end_of_segment(number).plus(-1));
        self.recovery_point = self.recovery_point.max(flushed.up_to.min(limit));
    }

    /// Syncs everything now, in place. For the clean stop and for tests; elsewhere [`Log::flush_plan`].
    pub fn flush(&mut self, now_ms: i64) -> Result<(), LogIoError> {
        self.check_online()?;
        if let Some(work) = self.flush_plan() {
            let flushed = work.run()?;
            self.flushed(flushed, now_ms);
        }
        Ok(())
    }

    /// Completes the files for a clean stop, as Kafka leaves them: indexes exactly as long as their entries and with the
    /// closing time entry, a producer snapshot at the log's end, the leader epochs. What then is to be synced, indexes
    /// of the active segment included, is answered: when it is done for all logs, the directory's marker of a clean stop
    /// may be written. A log that did not change since it was opened has nothing to sync.
    pub fn close(&mut self) -> Result<Option<FlushWork>, LogIoError> {
        self.check_online()?;
        if let Some(work) = self.creation_work() {
            let done = work.run()?;
            self.created(done);
        }
        let changed = self.active.is_changed();
        self.active.complete(&self.folder)?;
        self.producers
            .set_end_offset(self.log_end_offset.max(self.producers.end_offset()));
        self.take_snapshot()?;
        if changed {
            self.unsynced.folder_changed();
        }
        let mut work = self.plan_flush(self.log_end_offset);
        if let Some(work) = &mut work {
            // An empty segment that is new has nothing to lose; its entries in the folder are synced with that.
            if changed && !(self.active.is_new() && self.active.size() == 0) {
                work.files.extend(
                    all_files(&self.active).map(|kind| self.folder.path_of(self.active.base_offset(), kind)),
                );
            }
        }
        Ok(work)
    }
}

/// Counters wrap; works may be done in another order than they were planned.
fn is_newer(one: u32, other: u32) -> bool {
    one.wrapping_sub(other) as i32 > 0
}

fn newer(known: &mut u32, other: u32) {
    if is_newer(other, *known) {
        *known = other;
    }
}

fn all_files(segment: &Segment) -> impl Iterator<Item = FileKind> + '_ {
    FileKind::SEGMENT
        .into_iter()
        .filter(|kind| *kind != FileKind::TransactionIndex || !segment.transactions().is_empty())
}
