//! A segment: one `.log` file with its indexes, and what is known of it in memory.
//!
//! Invariant: `size` bytes of the `.log` are whole batches with ascending offsets, all at or above the base offset;
//! what lies behind them is not read. Only the last segment of a log is active: it alone is written, and the newest of
//! its index entries lie in memory. The segment owns no file: descriptors come from the shared cache, through the
//! [`Folder`] that each call names. Called by log/. Follows Kafka's `LogSegment` (3.9.2).

mod append;
mod cut;
mod index_builder;
mod search;
mod start;
pub mod walk;

use std::io;

use super::descriptors::FileId;
use super::file_names::FileKind;
use super::folder::{FILE_IDS, Folder};
use super::index::{Entries, Entry};
use super::offset_index::OffsetEntry;
use super::time_index::TimeEntry;
use super::transaction_index::{TransactionIndex, TransactionIndexError};
use super::volume::LogIoError;
use crate::base::ids::Offset;
use crate::records::batch::{BatchHeader, CorruptBatch, NO_TIMESTAMP};

pub use cut::Cut;
pub use index_builder::IndexBuilder;
pub use search::Place;
pub use start::Start;
use walk::{HeaderWalk, WalkError};

/// The largest offset that an index can name, relative to the segment's base.
pub const LARGEST_RELATIVE_OFFSET: i64 = i32::MAX as i64;

/// A timestamp, and the last offset of the first batch that has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimestampOffset {
    /// Milliseconds since 1970, −1 for none.
    pub timestamp_ms: i64,
    /// The offset.
    pub offset: Offset,
}

impl TimestampOffset {
    /// No timestamp, in the segment that begins at `base`.
    pub const fn none(base: Offset) -> Self {
        Self {
            timestamp_ms: NO_TIMESTAMP,
            offset: base,
        }
    }

    /// This, or what the batch behind it has, where that is larger.
    #[must_use]
    pub const fn raised(self, header: &BatchHeader) -> Self {
        if header.max_timestamp > self.timestamp_ms {
            Self {
                timestamp_ms: header.max_timestamp,
                offset: header.last_offset(),
            }
        } else {
            self
        }
    }
}

/// Why a segment could not be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SegmentError {
    /// The disk failed.
    Io(LogIoError),
    /// A header in the middle of the log cannot be.
    Corrupt {
        /// The segment's base offset.
        base_offset: Offset,
        /// Where in its `.log`.
        position: u32,
        /// Why.
        reason: CorruptBatch,
    },
}

impl std::fmt::Display for SegmentError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Corrupt {
                base_offset,
                position,
                reason,
            } => write!(f, "segment {base_offset} is corrupt at byte {position}: {reason}"),
        }
    }
}

impl std::error::Error for SegmentError {}

impl From<LogIoError> for SegmentError {
    fn from(error: LogIoError) -> Self {
        Self::Io(error)
    }
}

/// What only the active segment needs.
struct Active {
    index: IndexBuilder,
    /// Something was written, or cut, that [`Segment::complete`] has not seen.
    changed: bool,
    /// This process created it, and has cut nothing of it.
    new: bool,
    created_ms: i64,
    roll_jitter_ms: i64,
    /// The newest batch, so that reads at the log's end need no look-up.
    newest: Option<Newest>,
}

#[derive(Clone, Copy)]
struct Newest {
    base_offset: Offset,
    last_offset: Offset,
    place: Place,
}

/// When the segment in use gives way to the next one.
#[derive(Clone, Copy, Debug)]
pub struct RollRules {
    /// `segment.bytes`.
    pub segment_bytes: u32,
    /// `segment.index.bytes`.
    pub segment_index_bytes: u32,
    /// `segment.ms`, bounded by `max.compaction.lag.ms` where the topic is compacted.
    pub max_segment_ms: i64,
}

/// What is to be appended, as far as rolling depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Incoming {
    /// Bytes.
    pub bytes: u32,
    /// The largest timestamp, −1 for none.
    pub max_timestamp_ms: i64,
    /// The last offset.
    pub last_offset: Offset,
}

/// One segment.
pub struct Segment {
    base_offset: Offset,
    size: u32,
    files: FileId,
    /// The largest timestamp; `None` while nobody asked.
    largest: Option<TimestampOffset>,
    /// The first batch's largest timestamp; `None` while unknown or while there is no batch.
    first_timestamp_ms: Option<i64>,
    transactions: TransactionIndex,
    active: Option<Box<Active>>,
}

impl Segment {
    /// A segment that is on disk, as an inactive one.
    pub fn on_disk(folder: &Folder, base_offset: Offset, size: u32, transactions: TransactionIndex) -> Self {
        Self {
            base_offset,
            size,
            files: folder.volume().descriptors().ids(FILE_IDS),
            largest: None,
            first_timestamp_ms: None,
            transactions,
            active: None,
        }
    }

    /// Makes a new, empty, active segment; files that have its names are emptied. With `preallocate` the file gets
    /// that length at once.
    pub fn create(
        folder: &Folder,
        base_offset: Offset,
        now_ms: i64,
        roll_jitter_ms: i64,
        preallocate: Option<u32>,
    ) -> Result<Self, LogIoError> {
        let mut segment = Self::on_disk(folder, base_offset, 0, TransactionIndex::empty());
        let file = folder.new_file(segment.files, base_offset, FileKind::Log)?;
        if let Some(length) = preallocate {
            file.set_length(u64::from(length))
                .map_err(|error| folder.failed("extend", base_offset, FileKind::Log, &error))?;
        }
        segment.largest = Some(segment.no_timestamp());
        segment.activate_new(now_ms, roll_jitter_ms, true);
        Ok(segment)
    }

    fn activate_new(&mut self, now_ms: i64, roll_jitter_ms: i64, new: bool) {
        self.active = Some(Box::new(Active {
            index: IndexBuilder::default(),
            changed: true,
            new,
            created_ms: now_ms,
            roll_jitter_ms,
            newest: None,
        }));
    }

    const fn no_timestamp(&self) -> TimestampOffset {
        TimestampOffset::none(self.base_offset)
    }

    /// The offset that its name tells; no batch lies below it.
    pub fn base_offset(&self) -> Offset {
        self.base_offset
    }

    /// Bytes of whole batches.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// Says how much of the `.log` counts, where that is not what was added: a segment that is not to be cut.
    pub fn set_size(&mut self, size: u32) {
        self.size = size;
    }

    /// Takes over the index of aborted transactions that was found on disk.
    pub fn set_transactions(&mut self, transactions: TransactionIndex) {
        self.transactions = transactions;
    }

    /// Says how much earlier than others this segment is rolled.
    pub fn set_roll_jitter_ms(&mut self, roll_jitter_ms: i64) {
        if let Some(active) = &mut self.active {
            active.roll_jitter_ms = roll_jitter_ms;
        }
    }

    /// The block of ids of its files.
    pub fn files(&self) -> FileId {
        self.files
    }

    /// True for the segment that is written.
    pub fn is_active(&self) -> bool {
        self.active.is_some()
    }

    /// True when something was written or cut since the files were last completed.
    pub fn is_changed(&self) -> bool {
        self.active.as_ref().is_some_and(|active| active.changed)
    }

    /// True for an active segment of which nothing more than what it holds can be on disk.
    pub fn is_new(&self) -> bool {
        self.active.as_ref().is_some_and(|active| active.new)
    }

    /// The index of its aborted transactions.
    pub fn transactions(&self) -> &TransactionIndex {
        &self.transactions
    }

    /// True when an index can name `offset`.
    pub fn can_hold(&self, offset: Offset) -> bool {
        (0..=LARGEST_RELATIVE_OFFSET).contains(&offset.since(self.base_offset))
    }

    fn io(&self, folder: &Folder, action: &'static str, kind: FileKind, error: &io::Error) -> LogIoError {
        folder.failed(action, self.base_offset, kind, error)
    }

    fn walk_error(&self, folder: &Folder, error: WalkError) -> SegmentError {
        match error {
            WalkError::Io(error) => self.io(folder, "read", FileKind::Log, &error).into(),
            WalkError::Corrupt { position, reason } => SegmentError::Corrupt {
                base_offset: self.base_offset,
                position,
                reason,
            },
        }
    }

    /// A walk through the headers from `position`, the start of a batch.
    pub fn walk(&self, folder: &Folder, position: u32) -> Result<HeaderWalk, LogIoError> {
        let file = folder.file(self.files, self.base_offset, FileKind::Log)?;
        Ok(HeaderWalk::new(file, position, self.size))
    }

    /// The largest timestamp, by the last entry of the time index, which a rolled or closed segment ends with; by the batches
    /// where that entry cannot be the last that was written: as zeros are, which a preallocated index ends with that nobody
    /// trimmed.
    pub fn largest_timestamp(&mut self, folder: &Folder) -> Result<TimestampOffset, LogIoError> {
        if let Some(largest) = self.largest {
            return Ok(largest);
        }
        let largest = self.read_largest_timestamp(folder)?;
        self.largest = Some(largest);
        Ok(largest)
    }

    fn read_largest_timestamp(&self, folder: &Folder) -> Result<TimestampOffset, LogIoError> {
        let (before, last) = self.with_times(folder, |entries| entries.last_two())?;
        let ascends = match (before, last) {
            (Some(before), Some(last)) => before.timestamp_ms < last.timestamp_ms,
            (None, Some(last)) => last.timestamp_ms != 0,
            (_, None) => true,
        };
        if ascends {
            return Ok(self.told_by(last));
        }
        match self.scan_largest_from(folder, self.no_timestamp()) {
            Err(SegmentError::Io(error)) => Err(error),
            // Its age is then that of the file.
            Err(SegmentError::Corrupt { .. }) => Ok(self.no_timestamp()),
            Ok(largest) => Ok(largest),
        }
    }

    /// The largest timestamp by the last entry of the time index.
    fn told_by(&self, last: Option<TimeEntry>) -> TimestampOffset {
        last.map_or(self.no_timestamp(), |entry| TimestampOffset {
            timestamp_ms: entry.timestamp_ms,
            offset: entry.offset(self.base_offset),
        })
    }

    /// What retention by time goes by: the largest timestamp of a record, else when the file was last written.
    pub fn age_timestamp_ms(&mut self, folder: &Folder) -> Result<i64, LogIoError> {
        let largest = self.largest_timestamp(folder)?.timestamp_ms;
        if largest >= 0 {
            return Ok(largest);
        }
        self.modified_ms(folder)
    }

    /// When the `.log` was last written.
    pub fn modified_ms(&self, folder: &Folder) -> Result<i64, LogIoError> {
        let path = folder.path_of(self.base_offset, FileKind::Log);
        let metadata = folder.disk().metadata(&path);
        metadata
            .map(|metadata| metadata.modified_ms)
            .map_err(|error| self.io(folder, "look at", FileKind::Log, &error))
    }

    /// The first batch's largest timestamp, `None` for a segment without batches.
    pub fn first_timestamp_ms(&mut self, folder: &Folder) -> Result<Option<i64>, SegmentError> {
        if self.first_timestamp_ms.is_none() && self.size > 0 {
            let first = self.walk(folder, 0)?.next_batch();
            let first = first.map_err(|error| self.walk_error(folder, error))?;
            self.first_timestamp_ms = first.map(|found| found.header.max_timestamp);
        }
        Ok(self.first_timestamp_ms)
    }

    /// True when `incoming` should go into a new segment (Kafka: `LogSegment.shouldRoll`).
    pub fn should_roll(
        &mut self,
        folder: &Folder,
        incoming: &Incoming,
        rules: &RollRules,
        now_ms: i64,
    ) -> Result<bool, SegmentError> {
        let Some(active) = &self.active else {
            return Ok(true);
        };
        let full = active.index.offsets.count() >= super::offset_index::capacity(rules.segment_index_bytes)
            || active.index.times.count() + 1 >= super::time_index::capacity(rules.segment_index_bytes);
        let (created_ms, jitter_ms) = (active.created_ms, active.roll_jitter_ms);
        if full
            || u64::from(self.size) + u64::from(incoming.bytes) > u64::from(rules.segment_bytes)
            || !self.can_hold(incoming.last_offset)
        {
            return Ok(true);
        }
        if self.size == 0 {
            return Ok(false);
        }
        // Message time where there is any, so that old data that is produced again rolls as it did at first.
        let waited_ms = match self.first_timestamp_ms(folder)? {
            Some(first) if first >= 0 => incoming.max_timestamp_ms.saturating_sub(first),
            _ => now_ms.saturating_sub(created_ms),
        };
        Ok(waited_ms > rules.max_segment_ms.saturating_sub(jitter_ms))
    }

    /// Runs `look` over the offset index.
    fn with_offsets<T>(
        &self,
        folder: &Folder,
        look: impl FnOnce(Entries<'_, OffsetEntry>) -> io::Result<T>,
    ) -> Result<T, LogIoError> {
        const KIND: FileKind = FileKind::OffsetIndex;
        let result = match &self.active {
            Some(active) if active.index.offsets.written() == 0 => look(active.index.offsets.entries(None)),
            Some(active) => {
                let file = folder.file(self.files, self.base_offset, KIND)?;
                look(active.index.offsets.entries(Some(&file)))
            }
            None => match folder.file_if_there(self.files, self.base_offset, KIND)? {
                Some(file) => Entries::of_file(&file).and_then(look),
                None => look(Entries {
                    file: None,
                    written: 0,
                    tail: &[],
                }),
            },
        };
        result.map_err(|error| self.io(folder, "read", KIND, &error))
    }

    /// Runs `look` over the time index.
    fn with_times<T>(
        &self,
        folder: &Folder,
        look: impl FnOnce(Entries<'_, TimeEntry>) -> io::Result<T>,
    ) -> Result<T, LogIoError> {
        const KIND: FileKind = FileKind::TimeIndex;
        let result = match &self.active {
            Some(active) if active.index.times.written() == 0 => look(active.index.times.entries(None)),
            Some(active) => {
                let file = folder.file(self.files, self.base_offset, KIND)?;
                look(active.index.times.entries(Some(&file)))
            }
            None => match folder.file_if_there(self.files, self.base_offset, KIND)? {
                Some(file) => Entries::of_file(&file).and_then(look),
                None => look(Entries {
                    file: None,
                    written: 0,
                    tail: &[],
                }),
            },
        };
        result.map_err(|error| self.io(folder, "read", KIND, &error))
    }

    /// The last entries of both indexes.
    pub fn last_index_entries(
        &self,
        folder: &Folder,
    ) -> Result<(Option<OffsetEntry>, Option<TimeEntry>), LogIoError> {
        let offset = self.with_offsets(folder, |entries| entries.last())?;
        let time = self.with_times(folder, |entries| entries.last())?;
        Ok((offset, time))
    }

    /// The last two entries of the offset index and of the time index, where there are two.
    #[expect(clippy::type_complexity, reason = "two pairs, used once")]
    pub fn index_ends(
        &self,
        folder: &Folder,
    ) -> Result<(Option<(OffsetEntry, OffsetEntry)>, Option<(TimeEntry, TimeEntry)>), LogIoError> {
        let offsets = self.with_offsets(folder, |entries| last_two(&entries))?;
        let times = self.with_times(folder, |entries| last_two(&entries))?;
        Ok((offsets, times))
    }

    fn transaction_error(&self, folder: &Folder, error: &TransactionIndexError) -> LogIoError {
        let error = match error {
            TransactionIndexError::Io(error) => io::Error::new(error.kind(), error.to_string()),
            corrupt @ TransactionIndexError::Corrupt { .. } => {
                io::Error::new(io::ErrorKind::InvalidData, corrupt.to_string())
            }
        };
        self.io(folder, "use", FileKind::TransactionIndex, &error)
    }
}

fn last_two<E: Entry>(entries: &Entries<'_, E>) -> io::Result<Option<(E, E)>> {
    let Some(before) = entries.count().checked_sub(2) else {
        return Ok(None);
    };
    Ok(entries.get(before)?.zip(entries.get(before + 1)?))
}
