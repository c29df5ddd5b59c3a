//! A search for a record by its time through one segment, without the log's lock.
//!
//! What is searched may be long, and compressed: nobody is to wait for that. So the log plans a search under its lock, with
//! the file, how much of it counts and where to begin; whoever asked runs it without the lock; and the log says whether
//! what it came to still holds. Files only grow but at a truncation, so that a search reads what was there when it was
//! planned, unless the log was truncated or the segment has gone: then nothing of it counts, an error neither, and it is
//! begun anew. Called by replica/.

use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;

use super::Log;
use super::timestamps::{FoundOffset, TimeQuery, TimestampError};
use crate::base::ids::Offset;
use crate::records::batch::Batch;
use crate::records::record::RecordsError;
use crate::storage::descriptors::FileId;
use crate::storage::file_names::FileKind;
use crate::storage::segment::walk::{FoundBatch, WalkError};
use crate::storage::segment::{SegmentError, Start};

/// A search that was planned.
pub struct TimeSearch {
    start: Start,
    wanted: Wanted,
    /// The segment's files, which no other segment has, of this log or another one in its place.
    files: FileId,
    truncations: u32,
    log_start_offset: Offset,
    index: PathBuf,
}

/// Which records are taken.
#[derive(Clone, Copy)]
enum Wanted {
    /// Those with this timestamp or a later one, from an offset on.
    AtLeast(i64, Offset),
    /// Those with this timestamp.
    Exactly(i64),
}

impl Wanted {
    /// True when a batch may have one, going by its largest timestamp.
    fn may_be_below(self, max_timestamp: i64) -> bool {
        match self {
            Self::AtLeast(timestamp, _) => max_timestamp >= timestamp,
            Self::Exactly(timestamp) => max_timestamp == timestamp,
        }
    }

    fn takes(self, timestamp: i64, offset: Offset) -> bool {
        match self {
            Self::AtLeast(least, from) => timestamp >= least && offset >= from,
            Self::Exactly(exactly) => timestamp == exactly,
        }
    }
}

/// Why a search ended early.
#[derive(Debug)]
pub enum SearchError {
    /// The headers could not be read.
    Walk(WalkError),
    /// A batch could not be read.
    Io(io::Error),
    /// The records of the batch that ends at an offset could not be.
    Records(Offset, RecordsError),
}

/// What a search came to, for [`Log::conclude`].
pub type Searched = Result<Option<FoundOffset>, SearchError>;

/// What the log says of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeAnswer {
    /// The record.
    Found(FoundOffset),
    /// There is none in this segment; there may be one behind it.
    NotThere,
    /// The log is not what was searched any more: the search begins anew.
    Changed,
}

impl TimeSearch {
    /// The base offset of the segment that is searched.
    pub fn base_offset(&self) -> Offset {
        self.start.base_offset()
    }

    /// Searches: the first wanted record, in the first batch that may have one and does. Reads and decompresses, so it blocks.
    pub fn run(&self) -> Searched {
        let mut answer = Ok(None);
        let walked = self.start.visit(
            || self.index.clone(),
            |found| {
                if !self.wanted.may_be_below(found.header.max_timestamp) {
                    return ControlFlow::Continue(());
                }
                answer = self.search_batch(&found);
                match answer {
                    Ok(None) => ControlFlow::Continue(()),
                    _ => ControlFlow::Break(()),
                }
            },
        );
        walked.map_err(SearchError::Walk)?;
        answer
    }

    fn search_batch(&self, found: &FoundBatch) -> Searched {
        let header = &found.header;
        // The batch lies within the segment, so what is allocated here was once written.
        let mut bytes = vec![0; header.size_in_bytes as usize];
        let file = self.start.file();
        file.read_exact_at(&mut bytes, u64::from(found.position))
            .map_err(SearchError::Io)?;
        let unreadable = |reason| SearchError::Records(header.last_offset(), reason);
        let Ok(Some(batch)) = Batch::parse(&bytes) else {
            return Ok(None);
        };
        let mut records = batch.records(None).map_err(unreadable)?;
        while let Some(record) = records.next().map_err(unreadable)? {
            if self.wanted.takes(record.timestamp, record.offset) {
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
}

impl Log {
    /// Plans a search of the first segment that may have what is asked for; `behind`: the segment that was searched before
    /// it, by its base offset. `None` when no segment is left.
    pub fn plan_search(
        &mut self,
        query: TimeQuery,
        behind: Option<Offset>,
    ) -> Result<Option<TimeSearch>, TimestampError> {
        self.check_online()?;
        let log_start_offset = self.log_start_offset;
        let place = match query {
            TimeQuery::AtLeast(timestamp_ms) => self
                .place_of_time(timestamp_ms, behind)?
                .map(|(number, from)| (number, from, Wanted::AtLeast(timestamp_ms, log_start_offset))),
            // The segment was chosen for the record that it has.
            TimeQuery::Largest if behind.is_some() => None,
            TimeQuery::Largest => self
                .place_of_largest()?
                .map(|(number, largest)| (number, largest.offset, Wanted::Exactly(largest.timestamp_ms))),
        };
        let Some((number, from, wanted)) = place else {
            return Ok(None);
        };
        let Some(segment) = self.segment(number) else {
            return Ok(None);
        };
        Ok(Some(TimeSearch {
            start: segment.start_at(&self.folder, from)?,
            wanted,
            files: segment.files(),
            truncations: self.truncations,
            log_start_offset,
            index: self.folder.path_of(segment.base_offset(), FileKind::OffsetIndex),
        }))
    }

    /// Whether what `search` came to holds.
    pub fn conclude(&self, search: &TimeSearch, searched: Searched) -> Result<TimeAnswer, TimestampError> {
        let base_offset = search.base_offset();
        let segment = self
            .floor_segment(base_offset)
            .and_then(|number| self.segment(number));
        let is_there = segment.is_some_and(|segment| segment.files() == search.files);
        if !is_there || self.truncations != search.truncations {
            return Ok(TimeAnswer::Changed);
        }
        match searched {
            Ok(None) => Ok(TimeAnswer::NotThere),
            Ok(Some(found))
                if found.offset < self.log_start_offset
                    && search.log_start_offset < self.log_start_offset =>
            {
                Ok(TimeAnswer::Changed)
            }
            Ok(Some(found)) => Ok(TimeAnswer::Found(found)),
            Err(SearchError::Io(error) | SearchError::Walk(WalkError::Io(error))) => {
                let failed = self.folder.failed("read", base_offset, FileKind::Log, &error);
                Err(failed.into())
            }
            Err(SearchError::Walk(WalkError::Corrupt { position, reason })) => {
                Err(TimestampError::Corrupt(SegmentError::Corrupt {
                    base_offset,
                    position,
                    reason,
                }))
            }
            Err(SearchError::Records(last_offset, reason)) => {
                Err(TimestampError::Records { last_offset, reason })
            }
        }
    }

    /// The first record that is asked for, with the lock held all the time: where nobody else wants it, as in tests.
    pub fn search_by_time(&mut self, query: TimeQuery) -> Result<Option<FoundOffset>, TimestampError> {
        let mut behind = None;
        while let Some(search) = self.plan_search(query, behind)? {
            match self.conclude(&search, search.run())? {
                TimeAnswer::Found(found) => return Ok(Some(found)),
                TimeAnswer::NotThere => behind = Some(search.base_offset()),
                TimeAnswer::Changed => break,
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
#[path = "time_search_test.rs"]
mod time_search_test;
