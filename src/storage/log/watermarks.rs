//! High watermark, last stable offset and log start offset.

use super::Log;
use crate::base::ids::Offset;

impl Log {
    /// Below this, records are replicated and may be read.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Below this, transactions are decided: what a read_committed consumer may read.
    pub fn last_stable_offset(&self) -> Offset {
        match self.producers.first_unstable_offset() {
            Some(unstable) if unstable < self.high_watermark => unstable.max(self.log_start_offset),
            _ => self.high_watermark,
        }
    }

    /// Sets the high watermark, within the log's start and end; it may go down (a follower that truncated, a start from
    /// a checkpoint). Answers what it is then.
    pub fn set_high_watermark(&mut self, high_watermark: Offset) -> Offset {
        let within = high_watermark.max(self.log_start_offset).min(self.log_end_offset);
        self.high_watermark = within;
        self.producers.on_high_watermark(within);
        within
    }

    /// Raises the high watermark, to the log's end at most. True when it rose.
    pub fn raise_high_watermark(&mut self, high_watermark: Offset) -> bool {
        let rises = high_watermark.min(self.log_end_offset) > self.high_watermark;
        if rises {
            self.set_high_watermark(high_watermark);
        }
        rises
    }

    /// Raises the log's start; nothing is deleted here, that is retention's work. `None` when `offset` is above the high
    /// watermark; else whether it rose. Producers stay known (KIP-360). The new start reaches the disk with the
    /// directory's next checkpoint. The recovery point stays, other than in Kafka: should a crash forget the new start,
    /// what lies below it is still checked.
    pub fn raise_log_start_offset(&mut self, offset: Offset) -> Option<bool> {
        if offset > self.high_watermark {
            return None;
        }
        if offset <= self.log_start_offset {
            return Some(false);
        }
        self.log_start_offset = offset;
        if self.epochs.truncate_from_start(offset) {
            self.unsynced.epochs_changed();
        }
        self.producers
            .on_log_start_offset(offset, self.snapshots.last().copied());
        Some(true)
    }
}
