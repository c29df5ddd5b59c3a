//! The log's part of compaction: what could be cleaned, and who is cleaning (Kafka: `LogCleanerManager`). How cleaned
//! segments take the place of others is in `replace.rs`.
//!
//! Invariant: at most one cleaning of a log at a time. It holds no lock while it reads and writes; whatever it does to
//! the log it does under the partition's lock, with its [`CleaningToken`], and is refused there once the log was
//! truncated, segments were deleted, cleaning was paused or the policy compacts no more: then nothing of it counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{FlushWork, Log};
use crate::base::disk::File;
use crate::base::ids::{Offset, ProducerEpoch, ProducerId};
use crate::storage::descriptors::FileId;
use crate::storage::file_names::FileKind;
use crate::storage::segment::{Segment, SegmentError};
use crate::storage::volume::LogIoError;

/// How the log stands with the cleaner.
#[derive(Default)]
pub(super) struct CleaningState {
    /// The first offset that no cleaning has gone through (`cleaner-offset-checkpoint`).
    checkpoint: Option<Offset>,
    running: Option<CleaningToken>,
    /// How many want that no cleaning begins.
    pauses: u32,
    /// A cleaning failed on what it read: none is tried again before the next start.
    uncleanable: bool,
}

impl CleaningState {
    pub(super) fn new(checkpoint: Option<Offset>) -> Self {
        Self {
            checkpoint,
            ..Self::default()
        }
    }

    /// What lies at and above `offset` is gone.
    pub(super) fn truncate(&mut self, offset: Offset) {
        if let Some(checkpoint) = &mut self.checkpoint {
            *checkpoint = (*checkpoint).min(offset);
        }
    }

    fn owner(&self, token: &CleaningToken) -> bool {
        self.running.as_ref().is_some_and(|running| running.is(token)) && !token.is_aborted()
    }
}

/// Names a cleaning that is under way.
#[derive(Clone, Debug, Default)]
pub struct CleaningToken(Arc<AtomicBool>);

impl CleaningToken {
    /// True once the log wants the cleaning to end.
    pub fn is_aborted(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn abort(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// What a cleaning of the log would go through.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Cleanable {
    /// Where what was not cleaned yet begins.
    pub first_dirty: Offset,
    /// Where it ends: the base of the first segment that may not be cleaned yet.
    pub end: Offset,
    /// Bytes of the segments that begin below `first_dirty`.
    pub clean_bytes: u64,
    /// Bytes of the segments between.
    pub dirty_bytes: u64,
    /// A record there is older than `max.compaction.lag.ms`.
    pub overdue: bool,
}

impl Cleanable {
    /// True when it is to be cleaned now: its share is above `least_ratio`, or it is overdue.
    pub fn is_due(&self, least_ratio: f64) -> bool {
        self.dirty_bytes > 0 && (self.overdue || self.ratio() > least_ratio)
    }

    /// The share of bytes that were not cleaned yet.
    pub fn ratio(&self) -> f64 {
        let all = self.clean_bytes + self.dirty_bytes;
        if all == 0 {
            return 0.0;
        }
        self.dirty_bytes as f64 / all as f64
    }
}

/// A segment that is to be cleaned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::storage) struct Source {
    pub base: Offset,
    /// Where the next segment begins.
    pub end: Offset,
    pub size: u32,
    pub(super) files: FileId,
}

/// The last batch of a producer, as the cleaner has to keep it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::storage) struct LastBatchOf {
    pub producer_id: ProducerId,
    pub epoch: ProducerEpoch,
    /// `None` when the producer is known by a marker only.
    pub last_data_offset: Option<Offset>,
}

impl Log {
    /// True while this cleaning is the one that may change the log.
    pub(super) fn is_cleaned_by(&self, token: &CleaningToken) -> bool {
        self.cleaning.owner(token)
    }

    /// True while this is the log's cleaning, aborted or not. Not so once another log has taken the log's place.
    pub(in crate::storage) fn has_cleaning(&self, token: &CleaningToken) -> bool {
        self.cleaning
            .running
            .as_ref()
            .is_some_and(|running| running.is(token))
    }

    /// The first offset that was not cleaned yet, if the log was ever cleaned: its line in `cleaner-offset-checkpoint`.
    pub fn cleaner_checkpoint(&self) -> Option<Offset> {
        self.cleaning.checkpoint
    }

    /// True while a cleaning is under way.
    pub fn is_being_cleaned(&self) -> bool {
        self.cleaning.running.is_some()
    }

    /// True when a cleaning failed on what it read, and none is tried any more.
    pub fn is_uncleanable(&self) -> bool {
        self.cleaning.uncleanable
    }

    /// What a cleaning would go through; `None` while none may begin: the topic is not compacted, one is under way or
    /// paused, the log is set aside.
    ///
    /// # Errors
    /// A segment's beginning cannot be read.
    pub fn cleanable(&mut self, now_ms: i64) -> Result<Option<Cleanable>, SegmentError> {
        self.check_online()?;
        let state = &self.cleaning;
        if !self.config.compact || state.uncleanable || state.pauses > 0 || state.running.is_some() {
            return Ok(None);
        }
        let start = self.log_start_offset;
        let first_dirty = match state.checkpoint {
            Some(checkpoint) if checkpoint >= start && checkpoint <= self.log_end_offset => checkpoint,
            // Records were deleted, or the file is of another log.
            _ => start,
        };
        let first_number = self.floor_segment(first_dirty).unwrap_or(0);
        let bound = self
            .last_stable_offset()
            .min(self.active.base_offset())
            .min(self.too_young(first_number, now_ms)?);
        // The segment that the bound lies in stays as it is.
        let end_number = self.floor_segment(bound).unwrap_or(0);
        let end = self.segment(end_number).map_or(bound, Segment::base_offset);
        let bytes_of = |numbers: std::ops::Range<usize>| -> u64 {
            let segments = numbers.filter_map(|number| self.inactive.get(number));
            segments.map(|segment| u64::from(segment.size())).sum()
        };
        let clean_bytes = bytes_of(0..self.first_at_or_above(first_dirty));
        let dirty_bytes = bytes_of(first_number..end_number.max(first_number));
        let oldest_ms = self.oldest_timestamp_ms(first_number)?;
        Ok(Some(Cleanable {
            first_dirty,
            end: end.max(first_dirty),
            clean_bytes,
            dirty_bytes,
            overdue: oldest_ms < now_ms.saturating_sub(self.config.max_compaction_lag_ms),
        }))
    }

    pub(super) fn first_at_or_above(&self, offset: Offset) -> usize {
        self.inactive
            .partition_point(|segment| segment.base_offset() < offset)
    }

    /// The base of the first full segment from number `from` on with a record that is younger than
    /// `min.compaction.lag.ms`.
    fn too_young(&mut self, from: usize, now_ms: i64) -> Result<Offset, LogIoError> {
        let lag_ms = self.config.min_compaction_lag_ms;
        if lag_ms > 0 {
            let folder = &self.folder;
            for segment in self.inactive.iter_mut().skip(from) {
                if segment.age_timestamp_ms(folder)? > now_ms.saturating_sub(lag_ms) {
                    return Ok(segment.base_offset());
                }
            }
        }
        Ok(Offset(i64::MAX))
    }

    /// The least timestamp that a full segment from number `from` on begins with; that of the first batch stands for
    /// the whole segment, as in Kafka.
    fn oldest_timestamp_ms(&mut self, from: usize) -> Result<i64, SegmentError> {
        let mut oldest = i64::MAX;
        if self.config.max_compaction_lag_ms == i64::MAX {
            return Ok(oldest);
        }
        let folder = &self.folder;
        for segment in self.inactive.iter_mut().skip(from) {
            if let Some(first) = segment.first_timestamp_ms(folder)?.filter(|first| *first > 0) {
                oldest = oldest.min(first);
            }
        }
        Ok(oldest)
    }

    /// Begins a cleaning up to `end`. `None` while none may begin.
    pub fn begin_cleaning(&mut self) -> Option<CleaningToken> {
        let state = &mut self.cleaning;
        if state.running.is_some() || state.pauses > 0 || state.uncleanable {
            return None;
        }
        let token = CleaningToken::default();
        state.running = Some(token.clone());
        Some(token)
    }

    /// Ends a cleaning. With `cleaned_below` it has gone through all that lies below, unless it was aborted; answers
    /// whether that counts.
    pub fn end_cleaning(&mut self, token: &CleaningToken, cleaned_below: Option<Offset>) -> bool {
        let counts = self.is_cleaned_by(token);
        if self.has_cleaning(token) {
            self.cleaning.running = None;
        }
        if counts && let Some(offset) = cleaned_below {
            self.cleaning.checkpoint = Some(offset);
        }
        counts
    }

    /// Says that no cleaning is to be tried before the next start: this one met what it cannot read.
    pub fn set_uncleanable(&mut self) {
        self.cleaning.uncleanable = true;
    }

    /// Makes a cleaning that is under way end, without effect from now on.
    pub(super) fn abort_cleaning(&mut self) {
        if let Some(running) = &self.cleaning.running {
            running.abort();
        }
    }

    /// Aborts a cleaning, and lets none begin until [`Log::resume_cleaning`]: somebody is about to move the log.
    pub fn pause_cleaning(&mut self) {
        self.abort_cleaning();
        self.cleaning.pauses += 1;
    }

    /// Ends a pause.
    pub fn resume_cleaning(&mut self) {
        self.cleaning.pauses = self.cleaning.pauses.saturating_sub(1);
    }

    /// What is to be synced first, so that no record goes in favour of one that a power cut could take.
    pub(in crate::storage) fn flush_below(&mut self, end: Offset) -> Option<FlushWork> {
        if self.recovery_point >= end {
            return None;
        }
        self.plan_flush(end)
    }

    /// The full segments that begin below `end`. `None` once the cleaning was aborted.
    pub(in crate::storage) fn cleaning_sources(
        &self,
        token: &CleaningToken,
        end: Offset,
    ) -> Option<Vec<Source>> {
        let sources = self.inactive.iter().enumerate();
        let sources = sources.take_while(|(_, segment)| segment.base_offset() < end);
        let all = sources.map(|(number, segment)| Source {
            base: segment.base_offset(),
            end: self.end_of_segment(number),
            size: segment.size(),
            files: segment.files(),
        });
        self.is_cleaned_by(token).then(|| all.collect())
    }

    /// The `.log` of a segment. `None` once the cleaning was aborted.
    pub(in crate::storage) fn open_source(
        &self,
        token: &CleaningToken,
        source: &Source,
    ) -> Result<Option<Arc<File>>, LogIoError> {
        self.check_online()?;
        if !self.is_cleaned_by(token) {
            return Ok(None);
        }
        self.folder
            .file(source.files, source.base, FileKind::Log)
            .map(Some)
    }

    /// The last batches of the producers that are known now.
    pub(in crate::storage) fn last_batches(&self) -> impl Iterator<Item = LastBatchOf> {
        self.producers
            .producers()
            .map(|(producer_id, entry)| LastBatchOf {
                producer_id,
                epoch: entry.epoch(),
                last_data_offset: entry.last_batch().map(|batch| batch.last_offset),
            })
    }
}
