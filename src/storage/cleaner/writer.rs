//! Writing a cleaned segment: `.log.cleaned` and its indexes, built as they go, complete and synced before they are
//! given to the log.
//!
//! Invariant: the files were made under the partition's lock, in its folder; from then on they are reached through their
//! descriptors only, so that a folder that is renamed meanwhile, or one that takes its name, is never written to.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::CleaningError;
use crate::base::disk::{File, Open};
use crate::base::ids::Offset;
use crate::records::batch::BatchHeader;
use crate::storage::file_names::{FileKind, FileState, SegmentFile};
use crate::storage::folder::Folder;
use crate::storage::index::{ActiveIndex, Entry};
use crate::storage::segment::{IndexBuilder, LARGEST_RELATIVE_OFFSET, Place, TimestampOffset};
use crate::storage::transaction_index::{AbortedTransaction, TransactionIndex, TransactionIndexError};
use crate::storage::volume::{LogIoError, Volume};

/// The path of a file of a cleaned segment.
pub(in crate::storage) fn path_in(
    folder: &Folder,
    base: Offset,
    kind: FileKind,
    state: FileState,
) -> PathBuf {
    let name = SegmentFile::live(base, kind).in_state(state);
    folder.path().join(name.to_string())
}

/// An open file, and what it was called when it was made.
struct Target {
    file: File,
    path: PathBuf,
}

/// A cleaned segment that is being written.
pub(in crate::storage) struct CleanedWriter {
    volume: Arc<Volume>,
    base: Offset,
    log: Target,
    offset_index: Target,
    time_index: Target,
    transaction_index: Target,
    index: IndexBuilder,
    index_interval_bytes: u32,
    transactions: TransactionIndex,
    has_markers: bool,
    size: u32,
    largest: TimestampOffset,
    /// Whole batches that are not written yet; `size` counts them.
    pending: Vec<u8>,
    pending_bytes: usize,
}

/// A cleaned segment whose files are complete and durable.
pub(in crate::storage) struct CleanedSegment {
    pub base: Offset,
    pub size: u32,
    pub transactions: TransactionIndex,
    /// It holds markers, so that a start would look for its transaction index: then there has to be one, if empty.
    pub has_markers: bool,
}

impl CleanedWriter {
    /// Makes the files of a segment at `base`, or empties what an earlier cleaning left of them. To be called under the
    /// partition's lock. `pending_bytes`: how much is gathered before it is written.
    pub(in crate::storage) fn create(
        folder: &Folder,
        base: Offset,
        index_interval_bytes: u32,
        pending_bytes: usize,
    ) -> Result<Self, LogIoError> {
        let make = |kind| {
            let path = path_in(folder, base, kind, FileState::Cleaned);
            let made = folder.disk().open(&path, Open::Truncate);
            match made {
                Ok(file) => Ok(Target { file, path }),
                Err(error) => Err(folder.volume().not_opened("make", &path, &error)),
            }
        };
        Ok(Self {
            volume: Arc::clone(folder.volume()),
            base,
            log: make(FileKind::Log)?,
            offset_index: make(FileKind::OffsetIndex)?,
            time_index: make(FileKind::TimeIndex)?,
            transaction_index: make(FileKind::TransactionIndex)?,
            index: IndexBuilder::default(),
            index_interval_bytes,
            transactions: TransactionIndex::empty(),
            has_markers: false,
            size: 0,
            largest: TimestampOffset::none(base),
            pending: Vec::new(),
            pending_bytes,
        })
    }

    /// The base offset.
    pub(in crate::storage) fn base(&self) -> Offset {
        self.base
    }

    /// Adds a batch behind all others. Answers how many bytes were written.
    pub(super) fn add(&mut self, header: &BatchHeader, bytes: &[u8]) -> Result<u64, CleaningError> {
        let last_offset = header.last_offset();
        let end = i64::from(self.size) + bytes.len() as i64;
        let (Ok(size), Ok(end)) = (u32::try_from(bytes.len()), i32::try_from(end)) else {
            return Err(CleaningError::unreadable(
                "the cleaned segment grows beyond 2 GiB",
            ));
        };
        if !(0..=LARGEST_RELATIVE_OFFSET).contains(&last_offset.since(self.base)) {
            return Err(CleaningError::unreadable(
                "an offset is out of its segment's reach",
            ));
        }
        self.largest = self.largest.raised(header);
        self.has_markers |= header.is_control();
        let place = Place {
            position: self.size,
            size,
        };
        self.index.added(
            self.base,
            last_offset,
            place,
            self.largest,
            self.index_interval_bytes,
        );
        self.pending.extend_from_slice(bytes);
        self.size = end as u32;
        if self.pending.len() < self.pending_bytes {
            return Ok(0);
        }
        Ok(self.write_pending()?)
    }

    /// Keeps an aborted transaction in the index: records of it are still there.
    pub(super) fn add_aborted(&mut self, aborted: &AbortedTransaction) -> Result<(), CleaningError> {
        let target = &self.transaction_index;
        match self.transactions.append(&target.file, aborted) {
            Ok(()) => Ok(()),
            Err(TransactionIndexError::Io(error)) => Err(self.failed("write", target, &error).into()),
            Err(corrupt @ TransactionIndexError::Corrupt { .. }) => Err(CleaningError::unreadable(format!(
                "transactions do not end in order: {corrupt}"
            ))),
        }
    }

    fn failed(&self, action: &'static str, target: &Target, error: &io::Error) -> LogIoError {
        self.volume.failed(action, &target.path, error)
    }

    fn write_pending(&mut self) -> Result<u64, LogIoError> {
        let written = self.pending.len();
        let at = u64::from(self.size) - written as u64;
        let result = self.log.file.write_all_at(&self.pending, at);
        result.map_err(|error| self.failed("write", &self.log, &error))?;
        self.pending.clear();
        Ok(written as u64)
    }

    /// Writes what is left, closes the indexes, makes all durable and gives the files the age of what they replace.
    /// Answers how many bytes were written.
    pub(super) fn finish(mut self, modified_ms: i64) -> Result<(CleanedSegment, u64), LogIoError> {
        let mut written = self.write_pending()?;
        self.index.close(self.base, self.largest);
        let mut index = std::mem::take(&mut self.index);
        written += self.write_index(&mut index.offsets, &self.offset_index)?;
        written += self.write_index(&mut index.times, &self.time_index)?;
        written += self.transactions.length();
        for target in [
            &self.log,
            &self.offset_index,
            &self.time_index,
            &self.transaction_index,
        ] {
            let done = target.file.set_modified_ms(modified_ms);
            done.map_err(|error| self.failed("set the time of", target, &error))?;
            let synced = target.file.sync();
            synced.map_err(|error| self.failed("sync", target, &error))?;
        }
        let segment = CleanedSegment {
            base: self.base,
            size: self.size,
            transactions: self.transactions,
            has_markers: self.has_markers,
        };
        Ok((segment, written))
    }

    fn write_index<E: Entry>(&self, index: &mut ActiveIndex<E>, to: &Target) -> Result<u64, LogIoError> {
        let written = index.write(&to.file);
        written.map_err(|error| self.failed("write", to, &error))?;
        Ok(u64::from(index.count()) * E::BYTES as u64)
    }
}
