//! Offsets by time (ListOffsets). Kafka: `UnifiedLog.fetchOffsetByTimestamp`, `legacyFetchOffsetsBefore`.
//!
//! Which segment may have a record is found here, with the lock; its records are looked through by a search, without.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::Log;
use crate::base::ids::{LeaderEpoch, Offset};
use crate::records::record::RecordsError;
use crate::storage::file_names::FileKind;
use crate::storage::segment::{SegmentError, TimestampOffset};
use crate::storage::volume::{LogIoError, Volume};

/// What is asked for by time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeQuery {
    /// The first record at or behind the log's start with a timestamp of at least so many milliseconds.
    AtLeast(i64),
    /// The first record that has the largest timestamp of all (timestamp −3, KIP-734).
    Largest,
}

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
        self.search_by_time(TimeQuery::AtLeast(timestamp_ms))
    }

    /// The first record that has the largest timestamp of all.
    pub fn offset_of_max_timestamp(&mut self) -> Result<Option<FoundOffset>, TimestampError> {
        self.search_by_time(TimeQuery::Largest)
    }

    /// The first segment that may have a record with a timestamp of at least `timestamp_ms`, by its number, and an offset to
    /// begin at. `behind`: only those behind the segment with this base offset.
    pub(super) fn place_of_time(
        &mut self,
        timestamp_ms: i64,
        behind: Option<Offset>,
    ) -> Result<Option<(usize, Offset)>, TimestampError> {
        let start = self.log_start_offset;
        let first = self.floor_segment(start).unwrap_or(0);
        let next = behind.and_then(|base| self.floor_segment(base));
        let first = next.map_or(first, |searched| first.max(searched + 1));
        for number in first..self.segment_count() {
            // A segment without timestamps counts with the time of its file, as in Kafka.
            let folder = &self.folder;
            let segment = match self.inactive.get_mut(number) {
                Some(segment) => segment,
                None => &mut self.active,
            };
            // Kafka stops at the first such segment, though a file's time says nothing of its records.
            if segment.size() > 0 && segment.age_timestamp_ms(folder)? >= timestamp_ms {
                let from = segment.offset_before_timestamp(folder, timestamp_ms)?;
                return Ok(Some((number, from.max(start))));
            }
        }
        Ok(None)
    }

    /// The first segment that has the largest timestamp of all, by its number, and that timestamp.
    pub(super) fn place_of_largest(&mut self) -> Result<Option<(usize, TimestampOffset)>, TimestampError> {
        let mut best: Option<(usize, TimestampOffset)> = None;
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
        Ok(best.filter(|(_, largest)| largest.timestamp_ms >= 0))
    }

    /// The segments, for the answer of ListOffsets v0.
    pub fn segment_times(&self) -> Result<SegmentTimes, LogIoError> {
        self.check_online()?;
        let segments = self.segments().map(|segment| {
            let path = self.folder.path_of(segment.base_offset(), FileKind::Log);
            (segment.base_offset().max(self.log_start_offset), path)
        });
        Ok(SegmentTimes {
            volume: Arc::clone(self.volume()),
            segments: segments.collect(),
            end: (self.active.size() > 0).then_some(self.log_end_offset),
        })
    }
}

/// The segments of a log as they were at a time. Looking at their files needs no lock.
pub struct SegmentTimes {
    volume: Arc<Volume>,
    segments: Vec<(Offset, PathBuf)>,
    /// The log's end, unless the last segment is empty.
    end: Option<Offset>,
}

impl SegmentTimes {
    /// The answer of ListOffsets v0: base offsets of segments whose files were last written at or before
    /// `timestamp_ms` (−1: all and the log's end; −2: the first), the newest first, at most `max_offsets`. `None` when a
    /// segment has gone meanwhile.
    pub fn offsets_before(
        &self,
        timestamp_ms: i64,
        max_offsets: usize,
        now_ms: i64,
    ) -> Result<Option<Vec<Offset>>, LogIoError> {
        let mut known: Vec<Offset> = self.segments.iter().map(|(offset, _)| *offset).collect();
        known.extend(self.end);
        let count = match timestamp_ms {
            -1 => known.len(),
            -2 => 1,
            _ => match self.count_before(timestamp_ms, now_ms)? {
                Some(count) => count,
                None => return Ok(None),
            },
        };
        known.truncate(count);
        known.reverse();
        known.truncate(max_offsets);
        known.sort_by(|a, b| b.cmp(a));
        Ok(Some(known))
    }

    /// How many of the offsets are those of files that were last written at or before a time, or lie before such ones.
    fn count_before(&self, timestamp_ms: i64, now_ms: i64) -> Result<Option<usize>, LogIoError> {
        if self.end.is_some() && now_ms <= timestamp_ms {
            return Ok(Some(self.segments.len() + 1));
        }
        for (number, (_, path)) in self.segments.iter().enumerate().rev() {
            match self.volume.disk().metadata(path) {
                Ok(metadata) if metadata.modified_ms <= timestamp_ms => return Ok(Some(number + 1)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(self.volume.failed("look at", path, &error)),
            }
        }
        Ok(Some(0))
    }
}
