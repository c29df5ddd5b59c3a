//! The time index (`.timeindex`): the largest timestamp of the segment so far, and the last offset (relative to the
//! base) of the first batch that has it. Timestamps ascend strictly; a closing entry names the segment's largest, and
//! is what a clean start reads instead of the log.

use super::index::Entry;
use crate::base::ids::Offset;
use crate::base::planted::planted;

/// An entry of the time index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeEntry {
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// The last offset of the batch that has it, minus the segment's base offset.
    pub relative_offset: u32,
}

impl TimeEntry {
    /// The last offset of the batch.
    pub fn offset(&self, base: Offset) -> Offset {
        base.plus(planted!(
            "time-entry-signed",
            self.relative_offset as i32 as i64,
            self.relative_offset as i64
        ))
    }
}

impl Entry for TimeEntry {
    const BYTES: usize = 12;

    fn put(&self, to: &mut Vec<u8>) {
        to.extend(self.timestamp_ms.to_be_bytes());
        to.extend(self.relative_offset.to_be_bytes());
    }

    fn take(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            timestamp_ms: i64::from_be_bytes(*bytes.first_chunk()?),
            relative_offset: u32::from_be_bytes(*bytes.get(8..)?.first_chunk()?),
        })
    }
}

/// How many entries an index of `segment_index_bytes` (`segment.index.bytes`) takes, the closing one included.
pub const fn capacity(segment_index_bytes: u32) -> u32 {
    segment_index_bytes / TimeEntry::BYTES as u32
}
