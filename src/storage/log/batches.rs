//! The walk through a `.log` file that checks every checksum: recovery's way to read a segment.
//!
//! Reads the file once, in order, through one buffer of bounded size: a batch need not fit into it.

use crate::base::planted::planted;
use std::sync::Arc;

use crate::base::disk::File;
use crate::records::batch::{BatchHeader, CorruptBatch, LONGEST_HEADER_BYTES};
use crate::storage::segment::walk::{FoundBatch, WalkError};

const BUFFER_BYTES: usize = 512 << 10;

/// A walk that checks.
pub(super) struct CheckedWalk {
    file: Arc<File>,
    position: u64,
    end: u64,
    buffer: Vec<u8>,
    buffer_position: u64,
}

/// A checksum under way.
enum Crc {
    Castagnoli(u32),
    Ieee(crc32fast::Hasher),
}

impl CheckedWalk {
    pub(super) fn new(file: Arc<File>, end: u64) -> Self {
        Self {
            file,
            position: 0,
            end,
            buffer: Vec::new(),
            buffer_position: 0,
        }
    }

    /// Where the whole batches seen so far end.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next batch, its checksum checked; `None` where no whole batch is left.
    pub(super) fn next_batch(&mut self) -> Result<Option<FoundBatch>, WalkError> {
        let start = self.position;
        let position = u32::try_from(start).unwrap_or(u32::MAX);
        let corrupt = |reason| WalkError::Corrupt { position, reason };
        let left = self.end - start;
        let header = self.bytes_at(start, LONGEST_HEADER_BYTES)?;
        let Some(header) = BatchHeader::parse(header).map_err(corrupt)? else {
            return Ok(None);
        };
        if u64::from(header.size_in_bytes) > planted!("recovery-size-believed", u64::MAX, left) {
            return Ok(None);
        }
        let computed = self.crc(&header, start)?;
        if computed != header.crc {
            return Err(corrupt(CorruptBatch::Crc {
                stored: header.crc,
                computed,
            }));
        }
        self.position = start + u64::from(header.size_in_bytes);
        Ok(Some(FoundBatch { position, header }))
    }

    fn crc(&mut self, header: &BatchHeader, start: u64) -> Result<u32, WalkError> {
        let (mut at, mut crc) = if header.magic >= 2 {
            (start + 21, Crc::Castagnoli(0))
        } else {
            (start + 16, Crc::Ieee(crc32fast::Hasher::new()))
        };
        let end = start + u64::from(header.size_in_bytes);
        while at < end {
            let left = usize::try_from(end - at).unwrap_or(usize::MAX);
            let bytes = self.bytes_at(at, 1)?;
            let bytes = bytes.get(..left.min(bytes.len())).unwrap_or_default();
            if bytes.is_empty() {
                return Err(WalkError::Io(std::io::ErrorKind::UnexpectedEof.into()));
            }
            match &mut crc {
                Crc::Castagnoli(crc) => *crc = crc32c::crc32c_append(*crc, bytes),
                Crc::Ieee(hasher) => hasher.update(bytes),
            }
            at += bytes.len() as u64;
        }
        Ok(match crc {
            Crc::Castagnoli(crc) => crc,
            Crc::Ieee(hasher) => hasher.finalize(),
        })
    }

    /// Bytes from `at` on, at least `wanted` of them unless the file ends before.
    fn bytes_at(&mut self, at: u64, wanted: usize) -> Result<&[u8], WalkError> {
        let buffered_end = self.buffer_position + self.buffer.len() as u64;
        let wanted_end = (at + wanted as u64).min(self.end);
        if at < self.buffer_position || wanted_end > buffered_end {
            let left = usize::try_from(self.end.saturating_sub(at)).unwrap_or(usize::MAX);
            self.buffer.resize(BUFFER_BYTES.min(left), 0);
            let read = self.file.read_at(&mut self.buffer, at).map_err(WalkError::Io)?;
            self.buffer.truncate(read);
            self.buffer_position = at;
        }
        let skip = (at - self.buffer_position) as usize;
        Ok(self.buffer.get(skip..).unwrap_or_default())
    }
}
