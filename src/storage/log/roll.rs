//! The change to a new segment (Kafka: `UnifiedLog.roll`, `LocalLog.roll`).

use super::{AppendError, Log};
use crate::base::ids::Offset;
use crate::storage::folder::Folder;
use crate::storage::segment::{Incoming, LARGEST_RELATIVE_OFFSET, RollRules, Segment};
use crate::storage::volume::LogIoError;

impl Log {
    /// Rolls when `incoming` should not go into the segment in use. `first_offset` is unknown for v0 and v1 sets.
    pub(super) fn roll_for(
        &mut self,
        incoming: &Incoming,
        first_offset: Option<Offset>,
        now_ms: i64,
    ) -> Result<bool, AppendError> {
        let rules = RollRules {
            segment_bytes: self.config.segment_bytes,
            segment_index_bytes: self.config.segment_index_bytes,
            max_segment_ms: self.config.max_segment_ms(),
        };
        if !self.active.should_roll(&self.folder, incoming, &rules, now_ms)? {
            return Ok(false);
        }
        // Without decompression nothing better is known of a v0 or v1 set than that it spans no more than an index
        // can name.
        let lowest = first_offset.unwrap_or(incoming.last_offset.plus(-LARGEST_RELATIVE_OFFSET));
        self.roll_at(lowest, now_ms)?;
        Ok(true)
    }

    /// Rolls to a new segment at the log's end, whatever the one in use holds.
    pub fn roll(&mut self, now_ms: i64) -> Result<(), LogIoError> {
        self.check_online()?;
        self.roll_at(self.log_end_offset, now_ms)
    }

    /// Rolls to a new segment at `lowest`, or the log's end where that is above it. An empty segment there already is
    /// kept: there is nothing to roll (KAFKA-6388).
    pub(super) fn roll_at(&mut self, lowest: Offset, now_ms: i64) -> Result<(), LogIoError> {
        let base_offset = lowest.max(self.log_end_offset);
        if self.active.size() == 0 && self.active.base_offset() == base_offset {
            let jitter_ms = self.roll_jitter_ms();
            return self.active.restart(&self.folder, now_ms, jitter_ms);
        }
        let changed = self.active.is_changed();
        self.active.complete(&self.folder)?;
        if changed && self.recovery_point >= base_offset {
            // Without a descriptor nothing is lost: the next append makes it up, or what is appended here meanwhile does.
            let synced = self.sync_closed();
            synced.inspect_err(|_| self.active.not_complete())?;
        }
        let jitter_ms = self.roll_jitter_ms();
        // Without a descriptor for it the one in use stays that, and the next append rolls.
        let next = create_segment(&self.folder, &self.config, base_offset, now_ms, jitter_ms)?;
        self.active.deactivate(&self.folder)?;
        let full = std::mem::replace(&mut self.active, next);
        self.inactive.push(full);
        self.unsynced.folder_changed();
        // The snapshot stands at the new base, so that the segment can be recovered from there on.
        self.producers
            .set_end_offset(base_offset.max(self.producers.end_offset()));
        if self.take_snapshot().is_err() {
            // Else there was no descriptor: without it recovery begins at an earlier one.
            self.check_online()?;
        }
        tracing::debug!(partition = %self.partition, "rolled to a new segment at offset {base_offset}");
        Ok(())
    }
}

/// A new segment as the config wants it.
pub(super) fn create_segment(
    folder: &Folder,
    config: &crate::config::LogConfig,
    base_offset: Offset,
    now_ms: i64,
    jitter_ms: i64,
) -> Result<Segment, LogIoError> {
    let preallocate = config.preallocate.then_some(config.segment_bytes);
    Segment::create(folder, base_offset, now_ms, jitter_ms, preallocate)
}
