//! The second pass: from the log's first segment to where the map ends, a group of segments into one at a time (Kafka:
//! `Cleaner.doClean`, `cleanSegments`).

use super::filter::{Filter, Left};
use super::groups::{Extent, Limits, first_group};
use super::map_pass::Mapped;
use super::reader::{Reader, batches};
use super::transactions::Transactions;
use super::writer::CleanedWriter;
use super::{ActiveProducers, CleaningError, CleaningStats, Job, LogPlace, Step};
use crate::base::ids::Offset;
use crate::storage::file_names::FileKind;
use crate::storage::log::Source;
use crate::storage::segment::SegmentError;

/// A segment that is to be filtered.
#[derive(Clone, Copy)]
struct Piece {
    source: Source,
    extent: Extent,
    modified_ms: i64,
}

/// A group that is being written.
struct Group {
    writer: CleanedWriter,
    /// Its segments that come, the next one last.
    ahead: Vec<Piece>,
    done: Vec<Piece>,
    reading: Option<(Reader, Piece)>,
    producers: ActiveProducers,
}

/// The pass.
pub(super) struct FilterPass {
    mapped: Mapped,
    limits: Limits,
    delete_retention_ms: i64,
    /// Tombstones of formats 0 and 1 in segments that were last written up to then go.
    legacy_horizon_ms: i64,
    transactions: Transactions,
    /// The segments that come, in order.
    ahead: std::collections::VecDeque<Piece>,
    group: Option<Group>,
    buffer: Vec<u8>,
}

impl FilterPass {
    pub(super) fn new<P: LogPlace>(job: &Job<'_, P>, mapped: Mapped) -> Result<Self, CleaningError> {
        let (sources, config, place) = job.with_log(|log| {
            let sources = log.cleaning_sources(job.token, mapped.below);
            let config = std::sync::Arc::clone(log.config());
            let place = (log.volume().disk().clone(), log.path().to_owned());
            Ok(sources.map(|sources| (sources, config, place)))
        })?;
        let (disk, folder) = place;
        let mut ahead = std::collections::VecDeque::with_capacity(sources.len());
        for source in sources {
            let bytes_and_time = |kind| {
                let name = crate::storage::file_names::segment_file(source.base, kind);
                // A folder that was renamed meanwhile is found out under the lock.
                let metadata = disk.metadata(&folder.join(name)).ok();
                metadata.map_or((0, 0), |metadata| (metadata.length, metadata.modified_ms))
            };
            ahead.push_back(Piece {
                source,
                extent: Extent {
                    base: source.base,
                    end: source.end,
                    bytes: source.size.into(),
                    offset_index_bytes: bytes_and_time(FileKind::OffsetIndex).0,
                    time_index_bytes: bytes_and_time(FileKind::TimeIndex).0,
                },
                modified_ms: bytes_and_time(FileKind::Log).1,
            });
        }
        let last_clean = ahead
            .iter()
            .take_while(|piece| piece.source.base < job.first_dirty)
            .last();
        Ok(Self {
            legacy_horizon_ms: last_clean.map_or(0, |piece| {
                piece.modified_ms.saturating_sub(config.delete_retention_ms)
            }),
            mapped,
            limits: Limits {
                bytes: config.segment_bytes.into(),
                index_bytes: config.segment_index_bytes.into(),
            },
            delete_retention_ms: config.delete_retention_ms,
            transactions: Transactions::default(),
            ahead,
            group: None,
            buffer: Vec::new(),
        })
    }

    pub(super) fn is_finished(&self) -> bool {
        self.group.is_none() && self.ahead.is_empty()
    }

    /// Up to where the log is clean when the pass is finished.
    pub(super) fn mapped_below(&self) -> Offset {
        self.mapped.below
    }

    /// The base offset of the segment that is being written.
    pub(super) fn unfinished(&self) -> Option<Offset> {
        self.group.as_ref().map(|group| group.writer.base())
    }

    pub(super) fn step<P: LogPlace>(
        &mut self,
        job: &Job<'_, P>,
        stats: &mut CleaningStats,
        step: &mut Step,
    ) -> Result<(), CleaningError> {
        if self.group.is_none() {
            return self.begin_group(job);
        }
        let Some(group) = &mut self.group else {
            return Ok(());
        };
        if group.reading.is_none() {
            let Some(piece) = group.ahead.pop() else {
                return self.finish_group(job, stats, step);
            };
            let (file, aborted) = job.with_log(|log| {
                let Some(file) = log.open_source(job.token, &piece.source)? else {
                    return Ok(None);
                };
                let aborted = log.aborted_transactions(piece.source.base, piece.source.end);
                Ok(Some((file, aborted.map_err(super::unreadable_index)?)))
            })?;
            self.transactions.expect(aborted);
            group.reading = Some((Reader::new(file, piece.source.size), piece));
        }
        self.filter_buffer(job, stats, step)
    }

    fn begin_group<P: LogPlace>(&mut self, job: &Job<'_, P>) -> Result<(), CleaningError> {
        let extents: Vec<Extent> = self.ahead.iter().map(|piece| piece.extent).collect();
        let mut pieces: Vec<Piece> = self.ahead.drain(..first_group(&extents, self.limits)).collect();
        let Some(base) = pieces.first().map(|piece| piece.source.base) else {
            return Ok(());
        };
        pieces.reverse();
        let (writer, producers) = job.with_log(|log| {
            let writer = log.create_cleaned(job.token, base, job.settings.io_buffer_bytes)?;
            Ok(writer.map(|writer| (writer, ActiveProducers::new(log.last_batches()))))
        })?;
        self.group = Some(Group {
            writer,
            ahead: pieces,
            done: Vec::new(),
            reading: None,
            producers,
        });
        Ok(())
    }

    fn filter_buffer<P: LogPlace>(
        &mut self,
        job: &Job<'_, P>,
        stats: &mut CleaningStats,
        step: &mut Step,
    ) -> Result<(), CleaningError> {
        let Some(group) = &mut self.group else {
            return Ok(());
        };
        let Some((reader, piece)) = &mut group.reading else {
            return Ok(());
        };
        let piece = *piece;
        let mut read = 0;
        if !reader.is_at_end() {
            let filled = reader.fill(&mut self.buffer, job.settings.io_buffer_bytes);
            read = filled.map_err(|error| job.failed(error))?;
        }
        let at_end = reader.is_at_end();
        let filter = Filter {
            map: &self.mapped.map,
            newest: &self.mapped.newest,
            mapped_below: self.mapped.below,
            end: job.end,
            producers: &group.producers,
            now_ms: job.now_ms,
            delete_retention_ms: self.delete_retention_ms,
            keep_legacy_tombstones: piece.modified_ms > self.legacy_horizon_ms,
        };
        let mut written = 0;
        if read > 0 {
            for batch in batches(&self.buffer) {
                let batch = batch?;
                let mut aborted = None;
                match filter.apply(&batch, &mut self.transactions, &mut aborted)? {
                    Left::Nothing => {}
                    Left::Whole => written += group.writer.add(batch.header(), batch.bytes())?,
                    Left::Rewritten(header, bytes) => written += group.writer.add(&header, &bytes)?,
                }
                if let Some(aborted) = aborted {
                    group.writer.add_aborted(&aborted)?;
                }
            }
        }
        if at_end {
            group.reading = None;
            group.done.push(piece);
        }
        stats.read_bytes += read as u64;
        stats.written_bytes += written;
        step.io_bytes = read as u64 + written;
        Ok(())
    }

    /// Puts what was written in the place of the group's segments.
    fn finish_group<P: LogPlace>(
        &mut self,
        job: &Job<'_, P>,
        stats: &mut CleaningStats,
        step: &mut Step,
    ) -> Result<(), CleaningError> {
        let Some(group) = self.group.take() else {
            return Ok(());
        };
        let base = group.writer.base();
        let modified_ms = group.done.last().map_or(job.now_ms, |piece| piece.modified_ms);
        let sources: Vec<Source> = group.done.iter().map(|piece| piece.source).collect();
        let (cleaned, written) = group.writer.finish(modified_ms)?;
        let replaced = job.with_log(|log| {
            let replaced = log.replace_segments(job.token, &sources, cleaned, job.now_ms)?;
            if replaced.is_none() && log.has_cleaning(job.token) {
                log.discard_cleaned(base);
            }
            Ok(replaced.map(|deleted| (deleted, log.folder_sync())))
        });
        let (deleted, sync) = replaced?;
        sync.run()?;
        stats.written_bytes += written;
        stats.segments_before += sources.len();
        stats.segments_after += 1;
        step.io_bytes = written;
        step.deleted = Some(deleted);
        Ok(())
    }
}

/// Why the aborted transactions of a segment are not known.
pub(super) fn unreadable_index(error: crate::storage::log::ReadError) -> CleaningError {
    use crate::storage::log::ReadError;
    match error {
        ReadError::Io(error) => CleaningError::Io(error),
        ReadError::Corrupt(corrupt @ SegmentError::Corrupt { .. }) => {
            CleaningError::unreadable(corrupt.to_string())
        }
        ReadError::Corrupt(SegmentError::Io(error)) => CleaningError::Io(error),
        out @ ReadError::OutOfRange { .. } => CleaningError::unreadable(out.to_string()),
    }
}
