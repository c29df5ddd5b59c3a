//! Reads: a slice of one segment's file, never a copy (Kafka: `LocalLog.read`, `LogSegment.read`).

use std::sync::Arc;

use super::{Log, ReadError};
use crate::base::disk::FileSlice;
use crate::base::ids::Offset;
use crate::base::planted::planted;
use crate::storage::file_names::FileKind;
use crate::storage::segment::{Place, Segment};
use crate::storage::transaction_index::{AbortedTransaction, Search};

/// Up to where a read may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bound {
    /// The log's end: followers.
    LogEnd,
    /// The high watermark: read_uncommitted.
    HighWatermark,
    /// The last stable offset: read_committed; the answer names the aborted transactions.
    LastStableOffset,
}

/// What is to be read.
#[derive(Clone, Copy, Debug)]
pub struct ReadRequest {
    /// The first offset that is wanted. The batch that holds it is read whole, with what comes before it there.
    pub start_offset: Offset,
    /// Bytes at most; the last batch may be cut.
    pub max_bytes: u32,
    /// The first batch is read whole even if it is larger than `max_bytes`.
    pub min_one_batch: bool,
    /// Where it ends.
    pub bound: Bound,
}

/// What was read.
pub struct ReadInfo {
    /// The bytes; `None` when there are none.
    pub records: Option<FileSlice>,
    /// Bytes that could be read from `start_offset` on in this segment, were there no `max_bytes`.
    pub available_bytes: u32,
    /// The first batch is larger than `max_bytes` and was cut (Kafka: `firstEntryIncomplete`).
    pub first_batch_cut: bool,
    /// The base offset of the segment that the records are in.
    pub segment_base_offset: Offset,
    /// Where in the segment they start.
    pub position: u32,
    /// Transactions whose records are to be left out, by their end; `None` unless the bound is the last stable offset.
    pub aborted: Option<Vec<AbortedTransaction>>,
    /// The log's start.
    pub log_start_offset: Offset,
    /// The log's end.
    pub log_end_offset: Offset,
    /// The high watermark.
    pub high_watermark: Offset,
    /// The last stable offset.
    pub last_stable_offset: Offset,
}

impl Log {
    /// The offset behind the last one that a read with this bound may see.
    pub fn bound(&self, bound: Bound) -> Offset {
        match bound {
            Bound::LogEnd => self.log_end_offset,
            Bound::HighWatermark => self.high_watermark,
            Bound::LastStableOffset => self.last_stable_offset(),
        }
    }

    /// Reads from the log. An offset between the bound and the log's end reads nothing, and is no error.
    pub fn read(&self, request: &ReadRequest) -> Result<ReadInfo, ReadError> {
        self.check_online()?;
        let start = request.start_offset;
        if start < self.log_start_offset || start > self.log_end_offset {
            return Err(ReadError::OutOfRange {
                offset: start,
                log_start_offset: self.log_start_offset,
                log_end_offset: self.log_end_offset,
            });
        }
        let bound = self.bound(request.bound);
        let mut info = self.nothing_read(request);
        if start >= bound {
            return Ok(info);
        }
        let mut number = self.floor_segment(start).unwrap_or(0);
        // Compaction leaves segments without a batch at or above the start: then the next one is read.
        while let Some(segment) = self.segment(number) {
            if segment.base_offset() >= bound {
                break;
            }
            if let Some(place) = segment.find(&self.folder, start)? {
                self.read_segment(number, segment, place, bound, request, &mut info)?;
                break;
            }
            number += 1;
        }
        Ok(info)
    }

    fn nothing_read(&self, request: &ReadRequest) -> ReadInfo {
        ReadInfo {
            records: None,
            available_bytes: 0,
            first_batch_cut: false,
            segment_base_offset: self.active.base_offset(),
            position: self.active.size(),
            aborted: (request.bound == Bound::LastStableOffset).then(Vec::new),
            log_start_offset: self.log_start_offset,
            log_end_offset: self.log_end_offset,
            high_watermark: self.high_watermark,
            last_stable_offset: self.last_stable_offset(),
        }
    }

    fn read_segment(
        &self,
        number: usize,
        segment: &Segment,
        place: Place,
        bound: Offset,
        request: &ReadRequest,
        info: &mut ReadInfo,
    ) -> Result<(), ReadError> {
        let is_below = bound >= self.end_of_segment(number);
        let end = if planted!(
            "cluster-rolled-is-replicated",
            number < self.inactive.len(),
            is_below
        ) {
            segment.size()
        } else {
            segment.end_below(&self.folder, bound)?
        };
        info.segment_base_offset = segment.base_offset();
        info.position = place.position;
        info.available_bytes = end.saturating_sub(place.position);
        let most = if request.min_one_batch {
            request.max_bytes.max(place.size)
        } else {
            request.max_bytes
        };
        info.first_batch_cut = most < place.size;
        let length = info.available_bytes.min(most);
        if length == 0 {
            return Ok(());
        }
        let file = self
            .folder
            .file(segment.files(), segment.base_offset(), FileKind::Log)?;
        info.records = Some(FileSlice {
            file: Arc::clone(&file),
            position: u64::from(place.position),
            length: length as usize,
        });
        if let Some(aborted) = &mut info.aborted {
            let upper_bound = segment
                .offset_bound_at(&self.folder, place.position.saturating_add(length))?
                .unwrap_or(self.end_of_segment(number));
            self.collect_aborted(number, request.start_offset, upper_bound, aborted)?;
        }
        Ok(())
    }

    fn collect_aborted(
        &self,
        from_segment: usize,
        start: Offset,
        upper_bound: Offset,
        found: &mut Vec<AbortedTransaction>,
    ) -> Result<(), ReadError> {
        for segment in self.segments().skip(from_segment) {
            if segment.collect_aborted(&self.folder, start, upper_bound, found)? == Search::Complete {
                break;
            }
        }
        Ok(())
    }

    /// The aborted transactions that concern `[start, upper_bound)`, by their end.
    pub fn aborted_transactions(
        &self,
        start: Offset,
        upper_bound: Offset,
    ) -> Result<Vec<AbortedTransaction>, ReadError> {
        let mut found = Vec::new();
        let number = self.floor_segment(start).unwrap_or(0);
        self.collect_aborted(number, start, upper_bound, &mut found)?;
        Ok(found)
    }
}
