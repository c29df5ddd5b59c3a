//! Compaction: of each key only the newest record stays (Kafka: `LogCleaner`, its `Cleaner`).
//!
//! A [`Cleaning`] goes through one log once, in steps of about one buffer: first what is dirty, to learn the newest
//! offset of each key ([`offset_map`]); then all up to there, segment by segment into fewer and smaller ones, which take
//! the place of the old ones. It holds no lock while it reads and writes, and touches the log through a [`LogPlace`].
//!
//! Invariant: nothing at or above the last stable offset, nothing in the segment in use, and nothing that is not durable
//! decides what goes. Leader epochs and producers are not touched. A step that fails leaves the log as it was, or with
//! some groups of segments cleaned; the next cleaning begins at the same offset. Called by replica/, which chooses the
//! log and the pace.

mod filter;
mod filter_pass;
mod groups;
mod map_pass;
mod newest;
pub mod offset_map;
mod reader;
mod transactions;
pub(in crate::storage) mod writer;

#[cfg(test)]
mod cleaner_test;
#[cfg(test)]
mod crash_test;
#[cfg(test)]
mod model_test;
#[cfg(test)]
mod testing;

use std::collections::BTreeMap;
use std::fmt;

use super::log::{Cleanable, CleaningToken, DeletedFiles, LastBatchOf, Log};
use super::segment::SegmentError;
use super::volume::LogIoError;
use crate::base::ids::{Offset, ProducerEpoch, ProducerId};
use crate::records::batch::{BatchHeader, CorruptBatch};
use crate::records::build::BuildError;
use crate::records::record::RecordsError;
use filter_pass::{FilterPass, unreadable_index};
use map_pass::MapPass;
use reader::ReadFailure;

/// Where a log is: behind its partition's lock.
pub trait LogPlace {
    /// Does something to the log under its lock. `None`, with nothing done, once the log is no more this broker's: then
    /// its folder may have another name, or be another's.
    fn with_log<T>(&self, act: impl FnOnce(&mut Log) -> T) -> Option<T>;
}

/// How much memory a cleaning takes.
#[derive(Clone, Copy, Debug)]
pub struct CleanerSettings {
    /// The map's bytes (`log.cleaner.dedupe.buffer.size`, divided by the threads).
    pub dedupe_buffer_bytes: usize,
    /// How full the map gets (`log.cleaner.io.buffer.load.factor`).
    pub load_factor: f64,
    /// Bytes that are read at once, and gathered to be written (half of `log.cleaner.io.buffer.size`, divided by the
    /// threads).
    pub io_buffer_bytes: usize,
}

/// Why a log cannot be cleaned: what is in it, or the map is too small for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unreadable(String);

impl Unreadable {
    fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! unreadable_from {
    ($($error:ty),*) => {
        $(impl From<$error> for Unreadable {
            fn from(error: $error) -> Self {
                Self(error.to_string())
            }
        })*
    };
}

unreadable_from!(RecordsError, CorruptBatch, BuildError);

/// Why a cleaning ended before its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CleaningError {
    /// The log was truncated, deleted, is to be moved or is not to be compacted any more. It may be tried again.
    Aborted,
    /// The disk failed; the volume is offline.
    Io(LogIoError),
    /// The log is set aside: [`Log::is_uncleanable`].
    Uncleanable(Unreadable),
}

impl CleaningError {
    fn unreadable(what: impl Into<String>) -> Self {
        Self::Uncleanable(Unreadable::new(what))
    }
}

impl fmt::Display for CleaningError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aborted => {
                f.write_str("the log was truncated, deleted, is to be moved or is not compacted any more")
            }
            Self::Io(error) => error.fmt(f),
            Self::Uncleanable(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for CleaningError {}

impl From<LogIoError> for CleaningError {
    fn from(error: LogIoError) -> Self {
        Self::Io(error)
    }
}

impl From<Unreadable> for CleaningError {
    fn from(why: Unreadable) -> Self {
        Self::Uncleanable(why)
    }
}

impl From<SegmentError> for CleaningError {
    fn from(error: SegmentError) -> Self {
        match error {
            SegmentError::Io(error) => Self::Io(error),
            corrupt @ SegmentError::Corrupt { .. } => Self::unreadable(corrupt.to_string()),
        }
    }
}

/// Producers whose last batch stays, if only its header, so that their next sequence is known after a restart.
#[derive(Default)]
struct ActiveProducers(BTreeMap<ProducerId, (ProducerEpoch, Option<Offset>)>);

impl ActiveProducers {
    fn new(batches: impl Iterator<Item = LastBatchOf>) -> Self {
        Self(
            batches
                .map(|last| (last.producer_id, (last.epoch, last.last_data_offset)))
                .collect(),
        )
    }

    fn is_last_of(&self, header: &BatchHeader) -> bool {
        if !header.has_producer_id() {
            return false;
        }
        match self.0.get(&header.producer_id) {
            Some((_, Some(offset))) => header.last_offset() == *offset,
            // Known by a marker that raised its epoch.
            Some((epoch, None)) => header.is_control() && header.producer_epoch == *epoch,
            None => false,
        }
    }
}

/// What a cleaning has done so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CleaningStats {
    /// Bytes read to learn the keys.
    pub mapped_bytes: u64,
    /// Bytes read to be filtered.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Segments that went.
    pub segments_before: usize,
    /// Segments that took their place.
    pub segments_after: usize,
    /// Keys in the map.
    pub keys: usize,
}

/// What a step did.
pub struct Step {
    /// Bytes that were read and written: what `log.cleaner.io.max.bytes.per.second` counts.
    pub io_bytes: u64,
    /// Files to be removed when their time has come.
    pub deleted: Option<DeletedFiles>,
    /// Set by the last step: up to where the log is clean now.
    pub cleaned_below: Option<Offset>,
}

enum Phase {
    Sync,
    Map(Box<MapPass>),
    Filter(Box<FilterPass>),
    Over,
}

/// One cleaning of one log. To be gone through to its end, or given up with [`Cleaning::give_up`].
pub struct Cleaning<P: LogPlace> {
    place: P,
    token: CleaningToken,
    range: Cleanable,
    settings: CleanerSettings,
    now_ms: i64,
    phase: Phase,
    stats: CleaningStats,
}

impl<P: LogPlace> Cleaning<P> {
    /// Begins to clean the log at `place`. `None` when there is nothing to clean, or none may begin.
    ///
    /// # Errors
    /// As [`Log::cleanable`].
    pub fn begin(place: P, now_ms: i64, settings: CleanerSettings) -> Result<Option<Self>, SegmentError> {
        let begun = place.with_log(|log| {
            let range = log.cleanable(now_ms)?.filter(|range| range.dirty_bytes > 0);
            Ok::<_, SegmentError>(range.and_then(|range| Some((range, log.begin_cleaning()?))))
        });
        let Some((range, token)) = begun.transpose()?.flatten() else {
            return Ok(None);
        };
        Ok(Some(Self {
            place,
            token,
            range,
            settings,
            now_ms,
            phase: Phase::Sync,
            stats: CleaningStats::default(),
        }))
    }

    /// Where the log is.
    pub fn place(&self) -> &P {
        &self.place
    }

    /// What it has done so far.
    pub fn stats(&self) -> &CleaningStats {
        &self.stats
    }

    /// What it goes through.
    pub fn range(&self) -> &Cleanable {
        &self.range
    }

    /// Goes on for a while. Blocks on the disk. After the last step, and after an error, the cleaning is over.
    ///
    /// # Errors
    /// Why it ended: the log is as it was, or some groups of segments are cleaned.
    pub fn step(&mut self) -> Result<Step, CleaningError> {
        let stepped = self.try_step().map_err(|error| match error {
            // What was cut meanwhile is not damaged.
            CleaningError::Uncleanable(_) if self.token.is_aborted() => CleaningError::Aborted,
            error => error,
        });
        if let Err(error) = &stepped {
            self.end(Some(error));
        }
        stepped
    }

    fn try_step(&mut self) -> Result<Step, CleaningError> {
        if self.token.is_aborted() {
            return Err(CleaningError::Aborted);
        }
        let mut step = Step {
            io_bytes: 0,
            deleted: None,
            cleaned_below: None,
        };
        let job = Job {
            place: &self.place,
            token: &self.token,
            settings: &self.settings,
            now_ms: self.now_ms,
            first_dirty: self.range.first_dirty,
            end: self.range.end,
        };
        match &mut self.phase {
            Phase::Sync => {
                job.sync()?;
                self.phase = Phase::Map(Box::new(MapPass::new(&job)?));
            }
            Phase::Map(pass) => {
                step.io_bytes = pass.step(&job)?;
                self.stats.mapped_bytes += step.io_bytes;
                if let Some(mapped) = pass.finished()? {
                    self.stats.keys = mapped.map.len();
                    self.phase = Phase::Filter(Box::new(FilterPass::new(&job, mapped)?));
                }
            }
            Phase::Filter(pass) => {
                pass.step(&job, &mut self.stats, &mut step)?;
                if pass.is_finished() {
                    step.cleaned_below = Some(pass.mapped_below());
                    self.end(None);
                }
            }
            Phase::Over => step.cleaned_below = Some(self.range.first_dirty),
        }
        Ok(step)
    }

    /// Ends the cleaning where it is.
    pub fn give_up(mut self) {
        self.end(Some(&CleaningError::Aborted));
    }

    fn end(&mut self, failure: Option<&CleaningError>) {
        let phase = std::mem::replace(&mut self.phase, Phase::Over);
        let (mut unfinished, mut cleaned_below) = (None, None);
        if let Phase::Filter(pass) = phase {
            unfinished = pass.unfinished();
            cleaned_below = failure.is_none().then(|| pass.mapped_below());
        }
        self.place.with_log(|log| {
            // The partition may have been moved to another log directory, and another cleaning be under way there.
            if !log.has_cleaning(&self.token) {
                return;
            }
            if let Some(base) = unfinished {
                log.discard_cleaned(base);
            }
            if matches!(failure, Some(CleaningError::Uncleanable(_))) {
                log.set_uncleanable();
            }
            log.end_cleaning(&self.token, cleaned_below);
        });
    }
}

/// What both passes work with.
struct Job<'a, P> {
    place: &'a P,
    token: &'a CleaningToken,
    settings: &'a CleanerSettings,
    now_ms: i64,
    first_dirty: Offset,
    /// Where the round ends.
    end: Offset,
}

impl<P: LogPlace> Job<'_, P> {
    /// Does something under the log's lock.
    fn with_log<T>(
        &self,
        act: impl FnOnce(&mut Log) -> Result<Option<T>, CleaningError>,
    ) -> Result<T, CleaningError> {
        let done = self.place.with_log(act).ok_or(CleaningError::Aborted)??;
        done.ok_or(CleaningError::Aborted)
    }

    /// Makes durable what is to be cleaned: no record may go in favour of one that a power cut could take.
    fn sync(&self) -> Result<(), CleaningError> {
        let work = self.with_log(|log| Ok(Some(log.flush_below(self.end))))?;
        if let Some(work) = work {
            let flushed = work.run()?;
            self.with_log(|log| {
                log.flushed(flushed, self.now_ms);
                Ok(Some(()))
            })?;
        }
        Ok(())
    }

    fn failed(&self, error: ReadFailure) -> CleaningError {
        match error {
            ReadFailure::Unreadable(why) => why.into(),
            ReadFailure::Io(error) => {
                let failed = self.with_log(|log| {
                    let here = log.has_cleaning(self.token);
                    Ok(here.then(|| log.volume().failed("read", log.path(), &error)))
                });
                failed.map_or_else(|aborted| aborted, CleaningError::Io)
            }
        }
    }
}
