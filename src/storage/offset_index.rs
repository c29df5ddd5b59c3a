//! The offset index (`.index`): the last offset of a batch, relative to the segment's base, and where that batch
//! starts. From Kafka 3.9.2 on there is an entry for a batch when more than `index.interval.bytes` lie before it since
//! the last one; 3.9.0 wrote one for each append, whose offset may belong to a later batch than the position. So a
//! position is always the start of a batch, and never behind the offset's own.

use super::index::Entry;
use crate::base::ids::Offset;
use crate::base::planted::planted;

/// An entry of the offset index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OffsetEntry {
    /// The batch's last offset, minus the segment's base offset.
    pub relative_offset: u32,
    /// Where the batch starts in the `.log`.
    pub position: u32,
}

impl OffsetEntry {
    /// The batch's last offset.
    pub fn offset(&self, base: Offset) -> Offset {
        base.plus(planted!(
            "offset-entry-signed",
            self.relative_offset as i32 as i64,
            self.relative_offset as i64
        ))
    }
}

impl Entry for OffsetEntry {
    const BYTES: usize = 8;

    fn put(&self, to: &mut Vec<u8>) {
        to.extend(self.relative_offset.to_be_bytes());
        to.extend(self.position.to_be_bytes());
    }

    fn take(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            relative_offset: u32::from_be_bytes(*bytes.first_chunk()?),
            position: u32::from_be_bytes(*bytes.get(4..)?.first_chunk()?),
        })
    }
}

/// How many entries an index of `segment_index_bytes` (`segment.index.bytes`) takes.
pub const fn capacity(segment_index_bytes: u32) -> u32 {
    segment_index_bytes / OffsetEntry::BYTES as u32
}
