//! The indexes of a segment that is being written: which batches get an entry.
//!
//! The rule of Kafka 3.9.2: the first batch behind more than `index.interval.bytes` without an entry gets one in both
//! indexes; the time index gets a closing one. Entries lie in memory until their owner writes them. Called by the active
//! segment and by the cleaner.

use super::{Place, TimestampOffset};
use crate::base::ids::Offset;
use crate::storage::index::ActiveIndex;
use crate::storage::offset_index::OffsetEntry;
use crate::storage::time_index::TimeEntry;

/// Both indexes of one segment.
#[derive(Debug, Default)]
pub struct IndexBuilder {
    /// Last offsets of batches to positions.
    pub offsets: ActiveIndex<OffsetEntry>,
    /// Timestamps to last offsets of batches.
    pub times: ActiveIndex<TimeEntry>,
    bytes_since_entry: u32,
}

impl IndexBuilder {
    /// The indexes of a segment that is on disk.
    pub const fn reopened(offsets: ActiveIndex<OffsetEntry>, times: ActiveIndex<TimeEntry>) -> Self {
        Self {
            offsets,
            times,
            bytes_since_entry: 0,
        }
    }

    /// Notes a batch at `place` of the segment that begins at `base`; `largest` is the segment's largest timestamp, this
    /// batch's included.
    pub fn added(
        &mut self,
        base: Offset,
        last_offset: Offset,
        place: Place,
        largest: TimestampOffset,
        index_interval_bytes: u32,
    ) {
        if self.bytes_since_entry > index_interval_bytes {
            self.offsets.push(OffsetEntry {
                relative_offset: relative(base, last_offset),
                position: place.position,
            });
            self.close(base, largest);
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry = self.bytes_since_entry.saturating_add(place.size);
    }

    /// Adds an entry to the time index, unless the timestamp is no news or there is none.
    pub fn close(&mut self, base: Offset, largest: TimestampOffset) {
        let newest = self.times.last().map_or(-1, |last| last.timestamp_ms);
        if largest.timestamp_ms > newest {
            self.times.push(TimeEntry {
                timestamp_ms: largest.timestamp_ms,
                relative_offset: relative(base, largest.offset),
            });
        }
    }

    /// The segment was cut: the next entry comes as if it had just been opened.
    pub fn restart_counting(&mut self) {
        self.bytes_since_entry = 0;
    }
}

fn relative(base: Offset, offset: Offset) -> u32 {
    u32::try_from(offset.since(base)).unwrap_or(u32::MAX)
}
