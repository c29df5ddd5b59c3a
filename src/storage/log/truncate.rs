//! Truncation: a follower gives up what the leader does not have (Kafka: `UnifiedLog.truncateTo`,
//! `truncateFullyAndStartAt`).
//!
//! The recovery point goes down with it, and must be checkpointed before anything is appended behind it: otherwise a
//! crash could leave new records below an old recovery point, unchecked. So does [`Log::cleaner_checkpoint`], below which
//! the next start would otherwise take new records for cleaned. Where a file cannot be opened for want of a descriptor,
//! nothing has changed, and the truncation may be tried again.

use super::roll::create_segment;
use super::{DeletedFiles, FlushWork, Log};
use crate::base::ids::Offset;
use crate::base::planted::planted;
use crate::storage::producer_state::ProducerStates;
use crate::storage::segment::{Cut, SegmentError};
use crate::storage::volume::LogIoError;

/// What a truncation did.
#[must_use = "the recovery points of the directory are to be checkpointed before the next append"]
pub struct Truncated {
    /// Something was removed: the recovery points must be checkpointed before the next append.
    pub changed: bool,
    /// The files of whole segments that went.
    pub files: DeletedFiles,
    /// What is to be synced, so that nothing of what went comes back.
    pub flush: Option<FlushWork>,
}

impl Log {
    /// Says, before a truncation to `offset`, that nothing above it counts as durable any more. True when that is news: the
    /// recovery points of the directory are to be checkpointed, and then the log may be truncated.
    pub fn lower_recovery_point(&mut self, offset: Offset) -> bool {
        if offset >= self.recovery_point {
            return false;
        }
        self.recovery_point = offset;
        // A flush that is under way does not raise it again.
        self.truncations = self.truncations.wrapping_add(1);
        true
    }

    /// Removes all records at and above `offset`, and the whole batch that holds it. The log then ends at `offset`.
    pub fn truncate_to(
        &mut self,
        offset: Offset,
        now_ms: i64,
        producer_expiration_ms: i64,
    ) -> Result<Truncated, SegmentError> {
        self.check_online()?;
        let mut truncated = Truncated {
            changed: false,
            files: self.nothing_deleted(now_ms),
            flush: None,
        };
        if offset >= self.log_end_offset {
            // An epoch that started at the end, without a record, may be another one's on the leader.
            let is_changed = planted!(
                "cluster-empty-epochs",
                false,
                self.epochs.truncate_from_end(self.log_end_offset)
            );
            if is_changed {
                self.unsynced.epochs_changed();
            }
            return Ok(truncated);
        }
        let offset = offset.max(Offset::ZERO);
        if offset < self.first_base_offset() {
            return Ok(self.truncate_fully_and_start_at(offset, now_ms)?);
        }
        // What must be read is read first, and what must be opened is opened, while nothing has changed.
        let number = self.floor_segment(offset).unwrap_or(0);
        let cut = self.prepare_cut(number, offset, now_ms)?;
        let start = self.log_start_offset.min(offset);
        let producers = self.producers_up_to(offset, start, now_ms, producer_expiration_ms)?;
        tracing::info!(
            partition = %self.partition,
            "the log is truncated from offset {} to {offset}",
            self.log_end_offset
        );
        truncated.changed = true;
        self.abort_cleaning();
        self.truncations = self.truncations.wrapping_add(1);
        self.recovery_point = self.recovery_point.min(offset);
        let cut = self.cut_at(number, offset, (cut, producers), now_ms, &mut truncated.files);
        if let Err(SegmentError::Io(failure)) = &cut {
            self.volume().half_done(failure);
        }
        cut?;
        truncated.flush = self.plan_truncation_flush();
        Ok(truncated)
    }

    /// Prepares to cut segment `number` at `offset`.
    fn prepare_cut(&mut self, number: usize, offset: Offset, now_ms: i64) -> Result<Cut, SegmentError> {
        let jitter_ms = self.roll_jitter_ms();
        let Some(segment) = self.inactive.get_mut(number) else {
            return self.active.prepare_cut(&self.folder, offset);
        };
        segment.activate(&self.folder, now_ms, jitter_ms)?;
        let prepared = segment.prepare_cut(&self.folder, offset);
        if prepared.is_err() {
            // It stays what it was; as nothing was written to it, that reads and writes nothing.
            segment.deactivate(&self.folder)?;
        }
        prepared
    }

    /// Cuts segment `number` at `offset`, and has the producers that were known there. What a failure leaves is neither what
    /// was nor what is to be.
    fn cut_at(
        &mut self,
        number: usize,
        offset: Offset,
        (cut, mut producers): (Cut, ProducerStates),
        now_ms: i64,
        deleted: &mut DeletedFiles,
    ) -> Result<(), SegmentError> {
        // The segment that is cut becomes the active one; those behind it go.
        let mut behind = self
            .inactive
            .split_off(number.min(self.inactive.len()))
            .into_iter();
        if let Some(segment) = behind.next() {
            let last = std::mem::replace(&mut self.active, segment);
            for segment in behind.chain([last]).rev() {
                self.delete_files(segment.base_offset(), segment.files(), deleted)?;
            }
        }
        self.active.cut(&self.folder, cut, now_ms)?;
        self.complete_below = self.complete_below.min(self.active.base_offset());
        self.log_end_offset = offset;
        // A segment that is written again was not cleaned as it will be.
        self.cleaning.truncate(self.active.base_offset());
        if self.epochs.truncate_from_end(offset) {
            self.unsynced.epochs_changed();
        }
        self.log_start_offset = self.log_start_offset.min(offset);
        // Those at or below the start say nothing that is still needed.
        let start = self.log_start_offset;
        let useless: Vec<Offset> = self
            .snapshots
            .iter()
            .copied()
            .filter(|at| *at > offset || *at <= start)
            .collect();
        for snapshot in useless {
            self.delete_snapshot(snapshot, deleted)?;
        }
        self.high_watermark = self.high_watermark.min(offset);
        producers.on_high_watermark(self.high_watermark);
        self.producers.replace(producers);
        Ok(())
    }

    /// Removes everything; the log then begins and ends at `offset`.
    pub fn truncate_fully_and_start_at(
        &mut self,
        offset: Offset,
        now_ms: i64,
    ) -> Result<Truncated, LogIoError> {
        tracing::info!(
            partition = %self.partition,
            "all records are removed, the log starts anew at offset {offset}"
        );
        self.start_anew_at(offset, now_ms)
    }

    /// The same, without a word.
    pub(super) fn start_anew_at(&mut self, offset: Offset, now_ms: i64) -> Result<Truncated, LogIoError> {
        self.check_online()?;
        let mut truncated = Truncated {
            changed: true,
            files: self.nothing_deleted(now_ms),
            flush: None,
        };
        self.abort_cleaning();
        self.cleaning.truncate(offset);
        self.truncations = self.truncations.wrapping_add(1);
        self.recovery_point = self.recovery_point.min(offset);
        // The one in use goes last: whenever this is interrupted, a start finds a log without a gap.
        for segment in std::mem::take(&mut self.inactive).iter().rev() {
            self.delete_files(segment.base_offset(), segment.files(), &mut truncated.files)?;
        }
        let (base, files) = (self.active.base_offset(), self.active.files());
        self.delete_files(base, files, &mut truncated.files)?;
        let jitter_ms = self.roll_jitter_ms();
        // Nothing is left to go back to: for a descriptor it waits, on the pool of the directory.
        let begun = self
            .volume()
            .until_opened(|| create_segment(&self.folder, &self.config, offset, now_ms, jitter_ms));
        self.active = begun.inspect_err(|failure| self.volume().half_done(failure))?;
        for snapshot in std::mem::take(&mut self.snapshots) {
            self.snapshots.push(snapshot);
            self.delete_snapshot(snapshot, &mut truncated.files)?;
        }
        if self.epochs.clear() {
            self.unsynced.epochs_changed();
        }
        self.producers.truncate_fully(offset);
        self.complete_below = offset;
        self.log_start_offset = offset;
        self.log_end_offset = offset;
        self.high_watermark = offset;
        self.recovery_point = offset;
        truncated.flush = self.plan_truncation_flush();
        Ok(truncated)
    }

    /// The cut itself must survive a power cut, or records that the leader never had come back.
    fn plan_truncation_flush(&mut self) -> Option<FlushWork> {
        self.unsynced.folder_changed();
        self.plan_flush(self.recovery_point)
    }
}
