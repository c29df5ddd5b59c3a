//! Recovery: a segment is read through, every checksum compared, its indexes, the leader epochs and the producers
//! built anew (Kafka: `LogSegment.recover`, `LogLoader.recoverLog`).

use super::batches::CheckedWalk;
use super::listing::Listing;
use super::producers::{apply_batch, newest_snapshot, read_marker, replay, write_snapshot};
use super::progress::Progress;
use super::{LoadOptions, LoadReport, OpenError};
use crate::base::ids::Offset;
use crate::base::planted::planted;
use crate::storage::file_names::FileKind;
use crate::storage::folder::Folder;
use crate::storage::leader_epochs::LeaderEpochs;
use crate::storage::producer_state::ProducerStates;
use crate::storage::segment::walk::{FoundBatch, WalkError};
use crate::storage::segment::{LARGEST_RELATIVE_OFFSET, Segment};

/// A recovery of some segments of a log, in ascending order.
pub(super) struct Recovery<'a> {
    pub folder: &'a Folder,
    pub options: &'a LoadOptions,
    pub snapshots: Vec<Offset>,
    /// Those that were written here.
    pub written: Vec<Offset>,
    /// The producers at the end of what was recovered last.
    pub states: Option<ProducerStates>,
    pub epochs: LeaderEpochs,
    pub epochs_changed: bool,
    pub report: LoadReport,
    pub progress: Progress,
}

/// What recovery made of a segment.
pub(super) struct Recovered {
    /// The offset behind its last batch.
    pub next_offset: Offset,
    /// Bytes behind the last whole batch.
    pub damaged_bytes: u64,
}

impl Recovery<'_> {
    /// Recovers `segments[number]`. With `cut` what is behind the last whole batch is cut off; without, only where the
    /// batches reach the next segment, so that it cannot be one of them; else the file stays as it is. The segment is
    /// active afterwards.
    pub(super) fn recover(
        &mut self,
        segments: &mut [Segment],
        number: usize,
        cut: bool,
    ) -> Result<Option<Recovered>, OpenError> {
        let next_base = segments.get(number + 1).map(Segment::base_offset);
        let (before, rest) = segments.split_at_mut(number.min(segments.len()));
        let Some(segment) = rest.first_mut() else {
            return Ok(None);
        };
        let base = segment.base_offset();
        let mut states = self.producers_at(before, base)?;
        let cut_at = if cut { Some(Offset::ZERO) } else { next_base };
        let recovered = self.recover_segment(segment, &mut states, cut_at)?;
        states.set_end_offset(recovered.next_offset);
        self.states = Some(states);
        self.report.recovered_segments += 1;
        self.report.damaged_bytes += recovered.damaged_bytes;
        Ok(Some(recovered))
    }

    /// Builds the transaction index of `segments[number]` anew, and nothing else of it. Compaction may have removed the
    /// records that its markers aborted: then it is empty, and its file says at the next start that this is right.
    pub(super) fn rebuild_transactions(
        &mut self,
        segments: &mut [Segment],
        number: usize,
    ) -> Result<(), OpenError> {
        let (before, rest) = segments.split_at_mut(number.min(segments.len()));
        let Some(segment) = rest.first_mut() else {
            return Ok(());
        };
        let base = segment.base_offset();
        let mut states = self.producers_at(before, base)?;
        let mut aborted = Vec::new();
        replay(
            self.folder,
            segment,
            &mut states,
            self.options.config.max_producer_ids,
            base,
            Offset(i64::MAX),
            &mut aborted,
        )?;
        self.states = Some(states);
        let file = self
            .folder
            .new_file(segment.files(), base, FileKind::TransactionIndex)?;
        for entry in &aborted {
            segment.add_aborted(self.folder, entry)?;
        }
        // It is trusted from now on, so it must outlive a power cut.
        let synced = file.sync();
        synced.map_err(|error| {
            self.folder
                .failed("sync", base, FileKind::TransactionIndex, &error)
        })?;
        if !aborted.is_empty() {
            let what = format!("the transaction index of segment {base} was missing");
            self.report.repairs.push(what);
        }
        Ok(())
    }

    /// The producers before offset `base`, which `before` end at.
    fn producers_at(&mut self, before: &[Segment], base: Offset) -> Result<ProducerStates, OpenError> {
        let most = self.options.config.max_producer_ids;
        let mut states = match self.states.take() {
            Some(states) if states.end_offset() <= base => states,
            _ => newest_snapshot(
                self.folder,
                &mut self.snapshots,
                base,
                self.options.now_ms,
                self.options.producer_expiration_ms,
                most,
            )?
            .unwrap_or(ProducerStates::new(self.options.log_start_offset.min(base))),
        };
        let from = states.end_offset();
        if from < base {
            for (number, segment) in before.iter().enumerate() {
                let end = before.get(number + 1).map_or(base, Segment::base_offset);
                if end > from {
                    replay(
                        self.folder,
                        segment,
                        &mut states,
                        most,
                        from,
                        base,
                        &mut Vec::new(),
                    )?;
                }
            }
            states.set_end_offset(base);
        }
        Ok(states)
    }

    fn recover_segment(
        &mut self,
        segment: &mut Segment,
        states: &mut ProducerStates,
        cut_at: Option<Offset>,
    ) -> Result<Recovered, OpenError> {
        let base = segment.base_offset();
        let folder = self.folder;
        let failed = |action, error: &std::io::Error| folder.failed(action, base, FileKind::Log, error);
        segment.restart(folder, self.options.now_ms, 0)?;
        let file = folder.file(segment.files(), base, FileKind::Log)?;
        let length = file.length().map_err(|error| failed("read", &error))?;
        let mut walk = CheckedWalk::new(std::sync::Arc::clone(&file), length);
        let most = self.options.config.max_producer_ids;
        let mut last_offset: Option<Offset> = None;
        let mut valid = 0;
        loop {
            let found = match walk.next_batch() {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(WalkError::Io(error)) => return Err(failed("read", &error).into()),
                Err(WalkError::Corrupt { position, reason }) => {
                    self.warn(segment, position, &reason.to_string());
                    break;
                }
            };
            if let Err(why) = follows(&found, base, last_offset) {
                self.warn(segment, found.position, why);
                break;
            }
            let last = found.header.last_offset();
            if last.since(base) > LARGEST_RELATIVE_OFFSET {
                return Err(OpenError::OffsetOverflow {
                    path: folder.path_of(base, FileKind::Log),
                    offset: last,
                });
            }
            segment.added(&found.header, self.options.config.index_interval_bytes);
            self.note_epoch(&found);
            let marker = read_marker(&file, &found).map_err(|error| failed("read", &error))?;
            if let Some(aborted) = apply_batch(states, most, &found, marker) {
                segment.add_aborted(folder, &aborted)?;
            }
            last_offset = Some(last);
            valid = walk.position();
            self.progress.reached(folder, base, valid);
        }
        self.progress.segment_done(length);
        let damaged_bytes = length - valid;
        let next_offset = last_offset.map_or(base, |last| last.plus(1));
        if damaged_bytes > 0 {
            if cut_at.is_some_and(|least| next_offset >= least) {
                tracing::warn!(
                    "{}: {damaged_bytes} bytes behind the last whole batch are cut off",
                    folder.path_of(base, FileKind::Log).display()
                );
                file.set_length(valid).map_err(|error| failed("cut", &error))?;
                // What is appended over it must not be mixed with it by a power cut.
                file.sync().map_err(|error| failed("sync", &error))?;
            } else {
                segment.set_size(u32::try_from(length).unwrap_or(u32::MAX));
            }
        }
        Ok(Recovered {
            next_offset,
            damaged_bytes,
        })
    }

    fn warn(&self, segment: &Segment, position: u32, why: &str) {
        tracing::warn!(
            "{} is damaged at byte {position}: {why}",
            self.folder
                .path_of(segment.base_offset(), FileKind::Log)
                .display()
        );
    }

    /// A batch says more of its epoch than the file does, which may be of before a truncation (Kafka takes only an epoch above
    /// the latest one of the file).
    pub(super) fn note_epoch(&mut self, found: &FoundBatch) {
        let epoch = found.header.partition_leader_epoch;
        let is_none = planted!("cluster-epoch-zero", epoch.get() <= 0, epoch.get() < 0);
        if found.header.magic >= 2 && !is_none {
            self.epochs_changed |= self.epochs.correct(epoch, found.header.base_offset);
        }
    }

    /// Writes a snapshot of the producers at the base of the segment that follows the one just recovered.
    pub(super) fn snapshot_at(&mut self, base: Offset) -> Result<(), OpenError> {
        if let Some(states) = &mut self.states {
            states.set_end_offset(base);
            write_snapshot(self.folder, states, base)?;
            states.set_snapshot_offset(base);
            self.written.push(base);
            if let Err(at) = self.snapshots.binary_search(&base) {
                self.snapshots.insert(at, base);
            }
        }
        Ok(())
    }
}

/// Offsets ascend from the base on; what does not was not appended behind what is there.
fn follows(found: &FoundBatch, base: Offset, before: Option<Offset>) -> Result<(), &'static str> {
    let header = &found.header;
    let first = if header.magic >= 2 {
        header.base_offset
    } else {
        header.last_offset()
    };
    if header.last_offset_delta < 0 || header.last_offset() < first {
        return Err("its last offset is below its first");
    }
    if first < base {
        return Err("its offset is below the segment's base offset");
    }
    if before.is_some_and(|before| planted!("recovery-offsets-meet", first < before, first <= before)) {
        return Err("its offset does not follow the batch before it");
    }
    Ok(())
}

/// Why the end of the last segment cannot be taken as it is after a clean stop; `Ok` is the offset behind its last
/// batch. Kafka believes the marker of a clean stop, and would append behind whatever stands there.
pub(super) fn check_tail(folder: &Folder, segment: &Segment) -> Result<Result<Offset, String>, OpenError> {
    if let Some(why) = check_indexes(folder, segment)? {
        return Ok(Err(why));
    }
    let base = segment.base_offset();
    let (entry, time) = segment.last_index_entries(folder)?;
    let mut walk = segment.walk(folder, entry.map_or(0, |entry| entry.position))?;
    let mut next_offset = base;
    let mut first = true;
    loop {
        match walk.next_batch() {
            Ok(Some(found)) => {
                let before = (!first).then(|| next_offset.plus(-1));
                if let Err(why) = follows(&found, base, before) {
                    return Ok(Err(why.to_owned()));
                }
                let misplaced = entry.is_some_and(|entry| found.header.last_offset() > entry.offset(base));
                if first && misplaced {
                    return Ok(Err("the last index entry is of another batch".to_owned()));
                }
                first = false;
                next_offset = found.header.next_offset();
            }
            Ok(None) => break,
            Err(WalkError::Io(error)) => {
                return Err(folder.failed("read", base, FileKind::Log, &error).into());
            }
            Err(WalkError::Corrupt { reason, .. }) => return Ok(Err(reason.to_string())),
        }
    }
    let behind = segment.size().saturating_sub(walk.position());
    Ok(if planted!("tail-believed", false, behind > 0) {
        Err(format!("{behind} bytes lie behind the last whole batch"))
    } else if entry.is_some_and(|entry| entry.offset(base) >= next_offset)
        || time.is_some_and(|time| time.offset(base) >= next_offset)
    {
        Err("an index names an offset behind the log's end".to_owned())
    } else {
        Ok(next_offset)
    })
}

/// Zeros behind the entries, as a crash leaves them, would be read as entries (KAFKA-10207).
fn check_indexes(folder: &Folder, segment: &Segment) -> Result<Option<String>, OpenError> {
    let (offsets, times) = segment.index_ends(folder)?;
    if offsets.is_some_and(|(before, last)| last.relative_offset <= before.relative_offset) {
        return Ok(Some("the offset index does not ascend".to_owned()));
    }
    if times.is_some_and(|(before, last)| last.timestamp_ms <= before.timestamp_ms) {
        return Ok(Some("the time index does not ascend".to_owned()));
    }
    Ok(None)
}

/// True when the segment holds an abort marker: then it should have a transaction index.
pub(super) fn has_abort_marker(folder: &Folder, segment: &Segment) -> Result<bool, OpenError> {
    let file = folder.file(segment.files(), segment.base_offset(), FileKind::Log)?;
    let mut walk = segment.walk(folder, 0)?;
    loop {
        match walk.next_batch() {
            Ok(Some(found)) if found.header.is_control() => {
                let marker = read_marker(&file, &found);
                let marker = marker
                    .map_err(|error| folder.failed("read", segment.base_offset(), FileKind::Log, &error))?;
                if marker.is_some_and(|marker| marker.is_abort) {
                    return Ok(true);
                }
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(WalkError::Corrupt { .. }) => return Ok(false),
            Err(WalkError::Io(error)) => {
                return Err(folder
                    .failed("read", segment.base_offset(), FileKind::Log, &error)
                    .into());
            }
        }
    }
}

/// Whether the files of a segment are all there that a stop leaves; else what is missing.
pub(super) fn missing_index(listing: &Listing, base: Offset) -> Option<&'static str> {
    if !listing.offset_indexes.contains(&base) {
        Some("its offset index is missing")
    } else if !listing.time_indexes.contains(&base) {
        Some("its time index is missing")
    } else {
        None
    }
}
