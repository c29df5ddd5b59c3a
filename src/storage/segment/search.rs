//! Where a batch is: by offset, by timestamp; and which aborted transactions concern a read.

use std::ops::ControlFlow;

use super::walk::FoundBatch;
use super::{Segment, SegmentError, TimestampOffset};
use crate::base::ids::Offset;
use crate::base::planted::planted;
use crate::storage::file_names::FileKind;
use crate::storage::folder::Folder;
use crate::storage::transaction_index::{AbortedTransaction, Search};
use crate::storage::volume::LogIoError;

/// Where a batch is in its segment's `.log`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Its first byte.
    pub position: u32,
    /// Its bytes.
    pub size: u32,
}

impl Segment {
    /// The first batch whose last offset is at or above `target`; `None` when there is none
    /// (Kafka: `LogSegment.translateOffset`).
    pub fn find(&self, folder: &Folder, target: Offset) -> Result<Option<Place>, SegmentError> {
        if let Some(newest) = self.active.as_ref().and_then(|active| active.newest) {
            if target > newest.last_offset {
                return Ok(None);
            }
            if target >= newest.base_offset {
                return Ok(Some(newest.place));
            }
        }
        let mut found = None;
        self.visit_from(folder, target, |batch| {
            if batch.header.last_offset() < target {
                return ControlFlow::Continue(());
            }
            found = Some(Place {
                position: batch.position,
                size: batch.header.size_in_bytes,
            });
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// Shows the batches from one at or before `target` on.
    pub fn visit_from(
        &self,
        folder: &Folder,
        target: Offset,
        visit: impl FnMut(FoundBatch) -> ControlFlow<()>,
    ) -> Result<(), SegmentError> {
        let start = self.start_at(folder, target)?;
        start
            .visit(|| folder.path_of(self.base_offset, FileKind::OffsetIndex), visit)
            .map_err(|error| self.walk_error(folder, error))
    }

    /// Where the data below `bound` ends: the start of the first batch that reaches it, else the segment's end.
    pub fn end_below(&self, folder: &Folder, bound: Offset) -> Result<u32, SegmentError> {
        Ok(self
            .find(folder, bound)?
            .map_or(self.size, |place| place.position))
    }

    /// The offset of the first index entry at or behind `position`: an upper bound of what lies before it.
    pub fn offset_bound_at(&self, folder: &Folder, position: u32) -> Result<Option<Offset>, LogIoError> {
        self.with_offsets(folder, |entries| {
            let number = entries.partition_point(|entry| entry.position < position)?;
            Ok(entries.get(number)?.map(|entry| entry.offset(self.base_offset)))
        })
    }

    /// An offset at or before the first batch with a timestamp of at least `timestamp_ms`: where to begin to look.
    pub fn offset_before_timestamp(&self, folder: &Folder, timestamp_ms: i64) -> Result<Offset, LogIoError> {
        let entry = self.with_times(folder, |entries| {
            entries.last_where(|entry| {
                planted!(
                    "time-difference-wraps",
                    timestamp_ms.wrapping_sub(entry.timestamp_ms) >= 0,
                    planted!(
                        "time-equal-left-out",
                        entry.timestamp_ms < timestamp_ms,
                        entry.timestamp_ms <= timestamp_ms
                    )
                )
            })
        })?;
        Ok(entry.map_or(self.base_offset, |entry| entry.offset(self.base_offset)))
    }

    /// The offset that follows the last batch, found from the last index entry on; the base offset when there is none
    /// (Kafka: `LogSegment.readNextOffset`).
    pub fn next_offset(&self, folder: &Folder) -> Result<Offset, SegmentError> {
        let mut next = self.base_offset;
        self.visit_from(folder, Offset(i64::MAX), |batch| {
            next = batch.header.next_offset();
            ControlFlow::Continue(())
        })?;
        Ok(next)
    }

    /// The largest timestamp, by the last entry of the time index and the batches behind it.
    pub(super) fn scan_largest_timestamp(&self, folder: &Folder) -> Result<TimestampOffset, SegmentError> {
        let last = self.with_times(folder, |entries| entries.last())?;
        self.scan_largest_from(folder, self.told_by(last))
    }

    /// The same where the batches up to `largest` are known.
    pub(super) fn scan_largest_from(
        &self,
        folder: &Folder,
        mut largest: TimestampOffset,
    ) -> Result<TimestampOffset, SegmentError> {
        self.visit_from(folder, largest.offset, |batch| {
            if batch.header.max_timestamp > largest.timestamp_ms {
                largest = TimestampOffset {
                    timestamp_ms: batch.header.max_timestamp,
                    offset: batch.header.last_offset(),
                };
            }
            ControlFlow::Continue(())
        })?;
        Ok(largest)
    }

    /// Adds the aborted transactions that a read of `[start, upper_bound)` has to know of.
    pub fn collect_aborted(
        &self,
        folder: &Folder,
        start: Offset,
        upper_bound: Offset,
        found: &mut Vec<AbortedTransaction>,
    ) -> Result<Search, LogIoError> {
        if self.transactions.is_empty() {
            return Ok(Search::GoesOn);
        }
        let file = folder.file(self.files, self.base_offset, FileKind::TransactionIndex)?;
        self.transactions
            .collect(&file, start, upper_bound, found)
            .map_err(|error| self.transaction_error(folder, &error))
    }
}
