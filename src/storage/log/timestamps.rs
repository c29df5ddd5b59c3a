//! Offsets by time (ListOffsets). Kafka: `UnifiedLog.fetchOffsetByTimestamp`, `legacyFetchOffsetsBefore`.

use std::fmt;

use super::Log;
use crate::base::disk::File;
use crate::base::ids::{LeaderEpoch, Offset};
use crate::records::batch::Batch;
use crate::records::record::RecordsError;
use crate::storage::file_names::FileKind;
use crate::storage::segment::walk::FoundBatch;
use crate::storage::segment::{Segment, SegmentError};
use crate::storage::volume::LogIoError;

/// An offset that was asked for by time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FoundOffset {
    /// The offset.
    pub offset: Offset,
    /// The timestamp of the record there; −1 where none is told.
    pub timestamp_ms: i64,
    /// The leader epoch that it was written in, if known.
    pub leader_epoch: Option<LeaderEpoch>,
}

/// Why no answer was found.
#[derive(Clone, PartialEq, Debug)]
pub enum TimestampError {
    /// The disk failed; the volume is offline.
    Io(LogIoError),
    /// A segment cannot be read.
    Corrupt(SegmentError),
    /// The records of a batch cannot be read.
    Records {
        /// The batch's last offset.
        last_offset: Offset,
        /// Why.
        reason: RecordsError,
    },
}

impl fmt::Display for TimestampError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Corrupt(error) => error.fmt(f),
            Self::Records { last_offset, reason } => {
                write!(
                    f,
                    "the batch that ends at offset {last_offset} cannot be read: {reason}"
                )
            }
        }
    }
}

impl std::error::Error for TimestampError {}

impl From<LogIoError> for TimestampError {
    fn from(error: LogIoError) -> Self {
        Self::Io(error)
    }
}

impl From<SegmentError> for TimestampError {
    fn from(error: SegmentError) -> Self {
        match error {
            SegmentError::Io(error) => Self::Io(error),
            corrupt @ SegmentError::Corrupt { .. } => Self::Corrupt(corrupt),
        }
    }
}

impl Log {
    /// The log's start (timestamps −2 and, without tiered storage, −4), with its epoch where that is known.
    pub fn earliest(&self) -> FoundOffset {
        let epoch = self
            .epochs
            .earliest()
            .filter(|entry| entry.start_offset <= self.log_start_offset);
        FoundOffset {
            offset: self.log_start_offset,
            timestamp_ms: -1,
            leader_epoch: epoch.map(|entry| entry.epoch),
        }
    }

    /// The first record at or behind the log's start with a timestamp of at least `timestamp_ms`.
    pub fn offset_for_timestamp(&mut self, timestamp_ms: i64) -> Result<Option<FoundOffset>, TimestampError> {
        self.check_online()?;
        for number in self.floor_segment(self.log_start_offset).unwrap_or(0)..self.segment_count() {
            // A segment without timestamps counts with the time of its file, as in Kafka.
            let folder = &self.folder;
            let segment = match self.inactive.get_mut(number) {
                Some(segment) => segment,
                None => &mut self.active,
            };
            if segment.size() == 0 || segment.age_timestamp_ms(folder)? < timestamp_ms {
                continue;
            }
            // Kafka stops at the first such segment, though a file's time says nothing of its records.
            if let Some(found) = self.search_segment(number, timestamp_ms)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn search_segment(
        &self,
        number: usize,
        timestamp_ms: i64,
    ) -> Result<Option<FoundOffset>, TimestampError> {
        let Some(segment) = self.segment(number) else {
            return Ok(None);
        };
        let start = self.log_start_offset;
        let from = segment
            .offset_before_timestamp(&self.folder, timestamp_ms)?
            .max(start);
        self.first_record(
            segment,
            from,
            |batch| batch.header.max_timestamp >= timestamp_ms,
            |timestamp, offset| timestamp >= timestamp_ms && offset >= start,
        )
    }

    /// The first record that has the largest timestamp of all (timestamp −3, KIP-734).
    pub fn offset_of_max_timestamp(&mut self) -> Result<Option<FoundOffset>, TimestampError> {
        self.check_online()?;
        let mut best: Option<(usize, crate::storage::segment::TimestampOffset)> = None;
        for number in self.floor_segment(self.log_start_offset).unwrap_or(0)..self.segment_count() {
            let folder = &self.folder;
            let segment = match self.inactive.get_mut(number) {
                Some(segment) => segment,
                None => &mut self.active,
            };
            let largest = segment.largest_timestamp(folder)?;
            if best.is_none_or(|(_, best)| largest.timestamp_ms > best.timestamp_ms) {
                best = Some((number, largest));
            }
        }
        let Some((number, largest)) = best.filter(|(_, largest)| largest.timestamp_ms >= 0) else {
            return Ok(None);
        };
        let Some(segment) = self.segment(number) else {
            return Ok(None);
        };
        let wanted = largest.timestamp_ms;
        self.first_record(
            segment,
            largest.offset,
            |batch| batch.header.max_timestamp == wanted,
            |timestamp, _| timestamp == wanted,
        )
    }

    /// The first record that `wanted` takes, in the first batch from `from` on that may have one and does.
    fn first_record(
        &self,
        segment: &Segment,
        from: Offset,
        may_have: impl Fn(&FoundBatch) -> bool,
        wanted: impl Fn(i64, Offset) -> bool,
    ) -> Result<Option<FoundOffset>, TimestampError> {
        let file = self
            .folder
            .file(segment.files(), segment.base_offset(), FileKind::Log)?;
        let mut answer = Ok(None);
        segment.visit_from(&self.folder, from, |found| {
            if !may_have(&found) {
                return std::ops::ControlFlow::Continue(());
            }
            answer = self.search_batch(&file, segment, &found, &wanted);
            match answer {
                Ok(None) => std::ops::ControlFlow::Continue(()),
                _ => std::ops::ControlFlow::Break(()),
            }
        })?;
        answer
    }

    fn search_batch(
        &self,
        file: &File,
        segment: &Segment,
        found: &FoundBatch,
        wanted: impl Fn(i64, Offset) -> bool,
    ) -> Result<Option<FoundOffset>, TimestampError> {
        let header = &found.header;
        // The batch lies within the segment, so what is allocated here was once written.
        let mut bytes = vec![0; header.size_in_bytes as usize];
        file.read_exact_at(&mut bytes, u64::from(found.position))
            .map_err(|error| {
                self.folder
                    .failed("read", segment.base_offset(), FileKind::Log, &error)
            })?;
        let unreadable = |reason| TimestampError::Records {
            last_offset: header.last_offset(),
            reason,
        };
        let Ok(Some(batch)) = Batch::parse(&bytes) else {
            return Ok(None);
        };
        let mut records = batch.records(None).map_err(unreadable)?;
        while let Some(record) = records.next().map_err(unreadable)? {
            if wanted(record.timestamp, record.offset) {
                let epoch = header.partition_leader_epoch;
                return Ok(Some(FoundOffset {
                    offset: record.offset,
                    timestamp_ms: record.timestamp,
                    leader_epoch: (epoch.get() >= 0).then_some(epoch),
                }));
            }
        }
        Ok(None)
    }

    /// The answer of ListOffsets v0: base offsets of segments whose files were last written at or before
    /// `timestamp_ms` (−1: all and the log's end; −2: the first), the newest first, at most `max_offsets`.
    pub fn legacy_offsets_before(
        &self,
        timestamp_ms: i64,
        max_offsets: usize,
        now_ms: i64,
    ) -> Result<Vec<Offset>, LogIoError> {
        self.check_online()?;
        let mut known: Vec<(Offset, i64)> = Vec::with_capacity(self.segment_count() + 1);
        for segment in self.segments() {
            let offset = segment.base_offset().max(self.log_start_offset);
            known.push((offset, segment.modified_ms(&self.folder)?));
        }
        if self.active.size() > 0 {
            known.push((self.log_end_offset, now_ms));
        }
        let count = match timestamp_ms {
            -1 => known.len(),
            -2 => 1,
            _ => known
                .iter()
                .rposition(|(_, modified_ms)| *modified_ms <= timestamp_ms)
                .map_or(0, |last| last + 1),
        };
        let mut offsets: Vec<Offset> = known.iter().take(count).map(|(offset, _)| *offset).collect();
        offsets.reverse();
        offsets.truncate(max_offsets);
        offsets.sort_by(|a, b| b.cmp(a));
        Ok(offsets)
    }
}
