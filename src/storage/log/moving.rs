//! The log's part in the move of a partition to another log directory (KIP-113; Kafka: `ReplicaAlterLogDirsThread`,
//! `UnifiedLog.renameDir`).
//!
//! The partition's log is copied, batch by batch, into a log of its own in the other directory, the future one; when that
//! has everything it takes the partition's place. Invariant: what the future log holds is what the source holds between
//! the same offsets, as long as the source is neither truncated nor compacted meanwhile; who moves sees to the second, and
//! is told of the first. Called by replica/moving.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use super::clean::CleaningState;
use super::creation::Metadata;
use super::read::{Bound, ReadRequest};
use super::{AppendError, Log, ReadError};
use crate::base::disk::FileSlice;
use crate::base::ids::{LeaderEpoch, Offset, TopicId, TopicPartition};
use crate::config::LogConfig;
use crate::records::batch::Batches;
use crate::storage::file_names::{FolderState, marked_folder, partition_folder};
use crate::storage::volume::{LogIoError, Volume};

/// Says, in the folder of a log, that its copy elsewhere is complete and takes its place: should the broker die before
/// this folder has its name for deletion, the next start knows which of the two is the partition's. Kafka ignores the file.
pub const MOVED_MARKER: &str = "barnabas.moved";

/// How many batches of a source are read at once, in bytes.
const COPY_BYTES: u32 = 1 << 20;

/// What was found behind the end of a future log.
pub struct MoveChunk {
    /// Where it begins: the end of the future log, or the source's start where that is above.
    start: Offset,
    records: Option<FileSlice>,
    source_start: Offset,
    source_end: Offset,
    source_truncations: u32,
    source: (Arc<Volume>, PathBuf),
    config: Arc<LogConfig>,
    /// Nothing lies behind this chunk.
    is_last: bool,
}

/// Where a log's [`MOVED_MARKER`] is; set and cleared without the partition's lock.
pub struct MovedMarker {
    volume: Arc<Volume>,
    path: PathBuf,
}

impl MovedMarker {
    /// Sets it, durably. False when the folder is gone, with its topic.
    ///
    /// # Errors
    /// The volume's.
    pub fn set(&self) -> Result<bool, LogIoError> {
        self.volume.check()?;
        self.done(self.volume.disk().replace(&self.path, b"1\n"))
    }

    /// Takes it away, durably.
    ///
    /// # Errors
    /// The volume's.
    pub fn clear(&self) -> Result<(), LogIoError> {
        self.volume.check()?;
        let disk = self.volume.disk();
        let removed = disk.remove_file(&self.path);
        let synced = removed.and_then(|()| match self.path.parent() {
            Some(folder) => self.volume.patiently(|disk| disk.sync_directory(folder)),
            None => Ok(()),
        });
        self.done(synced).map(|_| ())
    }

    fn done(&self, result: std::io::Result<()>) -> Result<bool, LogIoError> {
        match result {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.volume.failed("mark", &self.path, &error)),
        }
    }
}

/// Why a future log cannot go on.
#[derive(Debug)]
pub enum MoveError {
    /// The source cannot be read.
    Read(ReadError),
    /// The future log does not take what was read.
    Append(AppendError),
    /// A disk failed.
    Io(LogIoError),
    /// The source is no longer what was copied: it was truncated.
    Diverged,
    /// The other directory has a folder of the partition's name.
    FolderIsThere(PathBuf),
}

impl std::fmt::Display for MoveError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Read(error) => write!(f, "the log cannot be read: {error}"),
            Self::Append(error) => write!(f, "the copy does not take a batch: {error}"),
            Self::Io(error) => error.fmt(f),
            Self::Diverged => f.write_str("the log was truncated while it was copied"),
            Self::FolderIsThere(path) => write!(f, "{} is there already", path.display()),
        }
    }
}

impl std::error::Error for MoveError {}

impl From<LogIoError> for MoveError {
    fn from(error: LogIoError) -> Self {
        Self::Io(error)
    }
}

/// What a chunk was to a future log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Put {
    /// Bytes that were read and written.
    pub bytes: u64,
    /// The future log has all that the source had when the chunk was read.
    pub caught_up: bool,
    /// Little enough is left that the rest may be copied while the partition waits.
    pub is_close: bool,
}

impl Log {
    /// Makes the log in `volume` that a copy of a partition's is to go into.
    ///
    /// # Errors
    /// The volume's.
    pub fn create_future(
        volume: &Arc<Volume>,
        partition: TopicPartition,
        topic_id: Option<TopicId>,
        config: Arc<LogConfig>,
        now_ms: i64,
    ) -> Result<Self, LogIoError> {
        let unique = volume.random().uuid();
        let name = marked_folder(&partition, unique, FolderState::Future);
        Self::create_in(volume, &name, partition, topic_id, config, now_ms)
    }

    /// What lies behind the end of `future`; answered under the lock of this log's partition, to be read and
    /// [`put`](Log::put_chunk) without it.
    ///
    /// # Errors
    /// [`MoveError::Read`]; [`MoveError::Diverged`].
    pub fn chunk_behind(&self, future: &Self) -> Result<MoveChunk, MoveError> {
        let start = future.log_end_offset.max(self.log_start_offset);
        if start > self.log_end_offset {
            return Err(MoveError::Diverged);
        }
        let read = self.read(&ReadRequest {
            start_offset: start,
            max_bytes: COPY_BYTES.min(self.config.segment_bytes),
            min_one_batch: true,
            bound: Bound::LogEnd,
        });
        let read = read.map_err(MoveError::Read)?;
        let length = read.records.as_ref().map_or(0, |slice| slice.length);
        let in_active = read.segment_base_offset >= self.active.base_offset();
        Ok(MoveChunk {
            start,
            source_start: self.log_start_offset,
            source_end: self.log_end_offset,
            source_truncations: self.truncations,
            source: (Arc::clone(self.volume()), self.path().to_owned()),
            config: Arc::clone(&self.config),
            is_last: in_active && length >= read.available_bytes as usize,
            records: read.records,
        })
    }

    /// Appends what was read of a source. `copied` is the source's count of truncations that was seen at the first chunk.
    ///
    /// # Errors
    /// [`MoveError`].
    pub fn put_chunk(
        &mut self,
        chunk: MoveChunk,
        copied: &mut Option<u32>,
        now_ms: i64,
    ) -> Result<Put, MoveError> {
        if *copied.get_or_insert(chunk.source_truncations) != chunk.source_truncations {
            return Err(MoveError::Diverged);
        }
        if !Arc::ptr_eq(&self.config, &chunk.config) {
            self.set_config(Arc::clone(&chunk.config));
        }
        let mut bytes = 0;
        match &chunk.records {
            Some(slice) => {
                let (volume, path) = &chunk.source;
                let read = slice.read();
                let records = read.map_err(|error| volume.failed("read", path, &error))?;
                self.put_records(&records, chunk.start, now_ms)?;
                bytes = records.len() as u64;
            }
            // Compaction left no batch at the end.
            None if chunk.source_end > self.log_end_offset => self.skip_to(chunk.source_end, now_ms)?,
            None => {}
        }
        self.raise_high_watermark(self.log_end_offset);
        self.raise_log_start_offset(chunk.source_start);
        Ok(Put {
            bytes,
            caught_up: self.log_end_offset == chunk.source_end,
            is_close: chunk.is_last || chunk.records.is_none(),
        })
    }

    fn put_records(&mut self, records: &[u8], start: Offset, now_ms: i64) -> Result<(), MoveError> {
        let first = match Batches::new(records).next() {
            Some(Ok(batch)) if batch.magic >= 2 => batch.base_offset,
            Some(Ok(batch)) => batch.last_offset(),
            Some(Err(error)) => return Err(MoveError::Append(AppendError::Corrupt(error))),
            // The file became shorter.
            None => return Err(MoveError::Diverged),
        };
        if first < self.log_end_offset && self.size_in_bytes() > 0 {
            return Err(MoveError::Diverged);
        }
        if first < self.log_end_offset || start > self.log_end_offset {
            // The source begins in the middle of a batch, or its start has passed what was copied.
            self.skip_to_empty(first.min(start), now_ms)?;
        }
        let appended = self.append_as_follower(records, LeaderEpoch(i32::MAX), now_ms);
        let info = appended.map_err(MoveError::Append)?;
        if info.bytes == 0 {
            return Err(MoveError::Diverged);
        }
        if let Some(work) = info.flush {
            let flushed = work.run()?;
            self.flushed(flushed, now_ms);
        }
        Ok(())
    }

    /// The log ends at `offset` from now on, with nothing between.
    pub(super) fn skip_to(&mut self, offset: Offset, now_ms: i64) -> Result<(), LogIoError> {
        if self.size_in_bytes() == 0 {
            return self.skip_to_empty(offset, now_ms);
        }
        self.roll_at(offset, now_ms)?;
        self.log_end_offset = offset;
        Ok(())
    }

    fn skip_to_empty(&mut self, offset: Offset, now_ms: i64) -> Result<(), LogIoError> {
        self.start_anew_at(offset, now_ms)?.files.remove()
    }

    /// Makes a future log that has caught up with `source` ready to take its place: what the records do not tell is taken
    /// over, and everything is made durable.
    ///
    /// # Errors
    /// The volume's.
    pub fn prepare_to_replace(&mut self, source: &Self, now_ms: i64) -> Result<(), LogIoError> {
        if let Some(topic_id) = source.topic_id {
            self.set_topic_id(topic_id);
        }
        if let Some(work) = self.creation_work() {
            let done = work.run()?;
            self.created(done);
        }
        self.set_high_watermark(self.log_end_offset);
        self.raise_log_start_offset(source.log_start_offset);
        self.set_high_watermark(source.high_watermark);
        // With those whose batches are gone, so that their next sequences are still checked.
        self.producers = source.producers.clone();
        let newest = self.snapshots.last().copied();
        self.producers
            .set_snapshot_offset(newest.unwrap_or(self.log_start_offset));
        self.producers.set_end_offset(self.log_end_offset);
        self.take_snapshot()?;
        if self.epochs.entries() != source.epochs.entries() {
            self.epochs = source.epochs.clone();
            self.unsynced.epochs_changed();
        }
        if let Some(work) = self.flush_plan() {
            let flushed = work.run()?;
            self.flushed(flushed, now_ms);
        }
        // What was under way for the source says nothing of this log.
        self.truncations = source.truncations.wrapping_add(1);
        self.cleaning = CleaningState::new(source.cleaner_checkpoint());
        Ok(())
    }

    /// Gives a future log the name of the partition's, durably.
    ///
    /// # Errors
    /// The volume's; [`MoveError::FolderIsThere`], and then nothing was changed.
    pub fn take_name(&mut self) -> Result<(), MoveError> {
        let volume = Arc::clone(self.volume());
        volume.check()?;
        let path = volume.path().join(partition_folder(&self.partition));
        if volume.disk().exists(&path) {
            return Err(MoveError::FolderIsThere(path));
        }
        let from = self.path().to_owned();
        let renamed = volume.disk().rename(&from, &path);
        renamed.map_err(|error| volume.failed("rename", &from, &error))?;
        let synced = volume.patiently(|disk| disk.sync_directory(volume.path()));
        if let Err(error) = synced {
            // What can be done so that the next start does not find two folders of the name.
            let _ = volume.disk().rename(&path, &from);
            return Err(volume.failed("sync", volume.path(), &error).into());
        }
        self.folder_moved(path);
        Ok(())
    }

    /// The marker of this log.
    pub fn moved_marker(&self) -> MovedMarker {
        MovedMarker {
            volume: Arc::clone(self.volume()),
            path: self.path().join(MOVED_MARKER),
        }
    }

    /// Gives the folder its name for deletion; what is in it stays readable for who has it open. Durable after a sync of
    /// the log directory.
    ///
    /// # Errors
    /// The volume's.
    pub fn mark_deleted(&self) -> Result<PathBuf, LogIoError> {
        let volume = self.volume();
        volume.check()?;
        let unique = volume.random().uuid();
        let name = marked_folder(&self.partition, unique, FolderState::Deleted);
        let path = volume.path().join(name);
        // A work that writes into the folder comes to its end; one that has not begun finds that it is too late.
        let metadata = self.metadata_unwritten.as_deref();
        let metadata = metadata.map(|metadata| metadata.lock().unwrap_or_else(PoisonError::into_inner));
        let renamed = volume.disk().rename(self.path(), &path);
        renamed.map_err(|error| volume.failed("rename", self.path(), &error))?;
        if let Some(mut metadata) = metadata {
            *metadata = Metadata::Deleted;
        }
        Ok(path)
    }

    /// True when this future log may go on as a copy of `source` after a start: it holds nothing that the source does not,
    /// as far as the leader epochs tell, and the source was never compacted, which would have taken records away that are
    /// here, and those with them that undo them.
    pub fn may_go_on_from(&self, source: &Self) -> bool {
        let other_topic = self.topic_id.is_some() && self.topic_id != source.topic_id;
        if source.cleaner_checkpoint().is_some() || other_topic {
            return false;
        }
        if self.size_in_bytes() == 0 {
            return true;
        }
        let Some(epoch) = self.latest_epoch() else {
            return false;
        };
        self.log_end_offset >= source.log_start_offset
            && source
                .end_offset_for(epoch)
                .is_some_and(|end| end.epoch == epoch && end.end_offset >= self.log_end_offset)
    }
}
