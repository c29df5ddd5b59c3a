//! The log's part of producer state: snapshot files, the transaction index, and replaying batches after a truncation
//! or at a start (Kafka: `ProducerStateManager`, `UnifiedLog.rebuildProducerState`).

use super::Log;
use super::append::marker_in;
use crate::base::disk::{File, Open};
use crate::base::ids::Offset;
use crate::storage::file_names::FileKind;
use crate::storage::folder::Folder;
use crate::storage::producer_state::snapshot::MAX_SNAPSHOT_BYTES;
use crate::storage::producer_state::{Check, Marker, Origin, ProducerStates, Verification};
use crate::storage::segment::walk::FoundBatch;
use crate::storage::segment::{Segment, SegmentError};
use crate::storage::transaction_index::AbortedTransaction;
use crate::storage::volume::LogIoError;

/// Control batches are tiny; one that is not is no marker.
const MAX_MARKER_BYTES: u32 = 64 << 10;

impl Log {
    /// Writes a snapshot of the producers at their end offset, unless there is one (or nothing was ever appended). It is
    /// synced with the next flush.
    pub(super) fn take_snapshot(&mut self) -> Result<(), LogIoError> {
        let offset = self.producers.end_offset();
        if offset <= self.producers.snapshot_offset() {
            return Ok(());
        }
        write_snapshot(&self.folder, &self.producers, offset)?;
        self.producers.set_snapshot_offset(offset);
        if let Err(at) = self.snapshots.binary_search(&offset) {
            self.snapshots.insert(at, offset);
        }
        self.unsynced.snapshot_written(offset);
        Ok(())
    }

    /// Puts an aborted transaction into the index of the active segment, where its marker is; into `file` where that was
    /// opened before.
    pub(super) fn add_aborted(
        &mut self,
        file: Option<&File>,
        aborted: &AbortedTransaction,
    ) -> Result<(), LogIoError> {
        if self.active.transactions().is_empty() {
            self.unsynced.folder_changed();
        }
        match file {
            Some(file) => self.active.add_to(file, &self.folder, aborted),
            None => self.active.add_aborted(&self.folder, aborted),
        }
    }

    /// Writes the index entries that lie in memory only.
    pub(super) fn write_indexes(&mut self) -> Result<(), LogIoError> {
        self.unsynced.folder_changed();
        self.active.write_indexes(&self.folder)
    }

    /// Builds the state of the producers at the log's end anew: from the newest snapshot that serves, and the batches
    /// behind it.
    pub(super) fn rebuild_producers(&mut self, now_ms: i64, expiration_ms: i64) -> Result<(), LogIoError> {
        let end = self.log_end_offset;
        let start = self.log_start_offset;
        // What lies at or below the start says nothing that is still needed; what lies above the end never was.
        let (keep, drop): (Vec<Offset>, Vec<Offset>) = self
            .snapshots
            .iter()
            .partition(|offset| **offset <= end && **offset > start);
        for offset in drop {
            self.folder
                .remove(&self.folder.path_of(offset, FileKind::Snapshot))?;
        }
        self.snapshots = keep;
        let mut states = self.producers_up_to(end, start, now_ms, expiration_ms)?;
        states.on_high_watermark(self.high_watermark);
        self.producers.replace(states);
        Ok(())
    }

    /// The state of the producers at `end`, in a log that begins at `start`. Changes nothing but that a snapshot which
    /// cannot be used is removed.
    pub(super) fn producers_up_to(
        &mut self,
        end: Offset,
        start: Offset,
        now_ms: i64,
        expiration_ms: i64,
    ) -> Result<ProducerStates, LogIoError> {
        let most = self.config.max_producer_ids;
        let newest = newest_snapshot(
            &self.folder,
            &mut self.snapshots,
            end,
            now_ms,
            expiration_ms,
            most,
        )?;
        let mut states = newest
            .filter(|states| states.end_offset() > start)
            .unwrap_or(ProducerStates::new(start));
        let from = states.end_offset();
        if from < end {
            for (number, segment) in self.segments().enumerate() {
                if self.end_of_segment(number) > from && segment.base_offset() < end {
                    replay(
                        &self.folder,
                        segment,
                        &mut states,
                        most,
                        from,
                        end,
                        &mut Vec::new(),
                    )?;
                }
            }
            states.set_end_offset(end);
        }
        Ok(states)
    }
}

/// Writes a snapshot file.
pub(super) fn write_snapshot(
    folder: &Folder,
    states: &ProducerStates,
    offset: Offset,
) -> Result<(), LogIoError> {
    let path = folder.path_of(offset, FileKind::Snapshot);
    let written = folder
        .disk()
        .open(&path, Open::Truncate)
        .and_then(|file| file.write_all_at(&states.to_snapshot(), 0));
    written.map_err(|error| folder.volume().not_opened("write", &path, &error))
}

/// The state in the newest snapshot at or below `limit` that is whole, with at most `most` producers. Those that are not
/// are removed; a file that tells of more stays as it is.
pub(super) fn newest_snapshot(
    folder: &Folder,
    snapshots: &mut Vec<Offset>,
    limit: Offset,
    now_ms: i64,
    expiration_ms: i64,
    most: usize,
) -> Result<Option<ProducerStates>, LogIoError> {
    loop {
        let at = snapshots.partition_point(|offset| *offset <= limit);
        let Some(number) = at.checked_sub(1) else {
            return Ok(None);
        };
        let Some(offset) = snapshots.get(number).copied() else {
            return Ok(None);
        };
        let path = folder.path_of(offset, FileKind::Snapshot);
        let why = match folder.disk().read(&path, MAX_SNAPSHOT_BYTES) {
            Ok(bytes) => match ProducerStates::from_snapshot(&bytes, offset, now_ms, expiration_ms, most) {
                Ok(states) => return Ok(Some(states)),
                Err(corrupt) => corrupt.to_string(),
            },
            Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => error.to_string(),
            Err(error) => return Err(folder.volume().not_opened("read", &path, &error)),
        };
        tracing::warn!("{} is removed, an older one serves: {why}", path.display());
        folder.remove(&path)?;
        snapshots.remove(number);
    }
}

/// Applies a batch that is in the log; at most `most` producers stay known. A transaction that it aborts is answered; its index entry is the caller's matter.
pub(super) fn apply_batch(
    states: &mut ProducerStates,
    most: usize,
    found: &FoundBatch,
    marker: Option<Marker>,
) -> Option<AbortedTransaction> {
    let check = states.check(&found.header, marker, Origin::Replication, Verification::Disabled);
    let mut entry = None;
    if let Ok(Check::Append(update)) = check
        && let Some(completed) = states.apply(update, most)
    {
        entry = states.aborted(&completed);
        states.complete(&completed);
    }
    states.set_end_offset(found.header.next_offset());
    entry
}

/// Reads the marker of a batch in a file.
pub(super) fn read_marker(file: &File, found: &FoundBatch) -> std::io::Result<Option<Marker>> {
    if !found.header.is_control() || found.header.size_in_bytes > MAX_MARKER_BYTES {
        return Ok(None);
    }
    let mut bytes = vec![0; found.header.size_in_bytes as usize];
    file.read_exact_at(&mut bytes, u64::from(found.position))?;
    Ok(marker_in(&bytes))
}

/// Applies the batches of a segment that lie in `[from, end)` as a whole. Adds the transactions that they abort.
pub(super) fn replay(
    folder: &Folder,
    segment: &Segment,
    states: &mut ProducerStates,
    most: usize,
    from: Offset,
    end: Offset,
    aborted: &mut Vec<AbortedTransaction>,
) -> Result<(), LogIoError> {
    let mut failure = None;
    let file = folder.file(segment.files(), segment.base_offset(), FileKind::Log)?;
    let visited = segment.visit_from(folder, from, |found| {
        if found.header.last_offset() < from {
            return std::ops::ControlFlow::Continue(());
        }
        if found.header.last_offset() >= end {
            return std::ops::ControlFlow::Break(());
        }
        match read_marker(&file, &found) {
            Ok(marker) => {
                aborted.extend(apply_batch(states, most, &found, marker));
                std::ops::ControlFlow::Continue(())
            }
            Err(error) => {
                failure = Some(error);
                std::ops::ControlFlow::Break(())
            }
        }
    });
    match visited {
        Err(SegmentError::Io(error)) => return Err(error),
        // What cannot be read says nothing of producers either; that must not keep the rest from being served.
        Err(corrupt @ SegmentError::Corrupt { .. }) => tracing::warn!(
            "{}: producers are known up to the damage only: {corrupt}",
            folder.path().display()
        ),
        Ok(()) => {}
    }
    match failure {
        Some(error) => Err(folder.failed("read", segment.base_offset(), FileKind::Log, &error)),
        None => Ok(()),
    }
}
