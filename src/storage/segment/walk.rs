//! The walk from header to header through a `.log` file, without reading the records.
//!
//! Ends as Kafka's `FileLogInputStream` does: silently where 17 bytes or fewer are left or where a batch does not fit,
//! with an error at a header that cannot be. Nothing a file says makes it allocate.

use std::io;
use std::sync::Arc;

use crate::base::disk::File;
use crate::records::batch::{BatchHeader, CorruptBatch, LONGEST_HEADER_BYTES};

/// Fewer bytes than this at the end of a file are no batch: offset, size, epoch or checksum, magic.
const LEAST_BYTES: u32 = 18;
/// What is read where nothing is known of the batches yet.
const FIRST_READ: usize = 128;
/// What is read where batches are small.
const LONG_READ: usize = 4096;

/// A batch in a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FoundBatch {
    /// Where it starts.
    pub position: u32,
    /// Its header.
    pub header: BatchHeader,
}

impl FoundBatch {
    /// Where the next batch starts.
    pub fn end(&self) -> u32 {
        self.position.saturating_add(self.header.size_in_bytes)
    }
}

/// Why a walk stopped before the end.
#[derive(Debug)]
pub enum WalkError {
    /// The file could not be read.
    Io(io::Error),
    /// What stands at `position` is no batch.
    Corrupt {
        /// Where.
        position: u32,
        /// Why.
        reason: CorruptBatch,
    },
}

/// A walk.
pub struct HeaderWalk {
    file: Arc<File>,
    position: u32,
    end: u32,
    buffer: Vec<u8>,
    buffer_position: u32,
    next_read: usize,
}

impl HeaderWalk {
    /// Walks from `position`, the start of a batch, to `end`.
    pub fn new(file: Arc<File>, position: u32, end: u32) -> Self {
        Self {
            file,
            position,
            end,
            buffer: Vec::new(),
            buffer_position: position,
            next_read: FIRST_READ,
        }
    }

    /// Where the next batch starts; after the end of the walk, where the whole batches end.
    pub fn position(&self) -> u32 {
        self.position
    }

    /// The next batch.
    pub fn next_batch(&mut self) -> Result<Option<FoundBatch>, WalkError> {
        let left = self.end.saturating_sub(self.position);
        if left < LEAST_BYTES {
            return Ok(None);
        }
        let wanted = LONGEST_HEADER_BYTES.min(left as usize);
        if self.buffered().len() < wanted {
            self.fill(wanted).map_err(WalkError::Io)?;
        }
        let position = self.position;
        let parsed =
            BatchHeader::parse(self.buffered()).map_err(|reason| WalkError::Corrupt { position, reason })?;
        let Some(header) = parsed.filter(|header| header.size_in_bytes <= left) else {
            return Ok(None);
        };
        self.next_read = if header.size_in_bytes as usize > LONG_READ / 2 {
            LONGEST_HEADER_BYTES
        } else {
            LONG_READ
        };
        self.position = position.saturating_add(header.size_in_bytes);
        Ok(Some(FoundBatch { position, header }))
    }

    fn buffered(&self) -> &[u8] {
        let skip = self.position.wrapping_sub(self.buffer_position) as usize;
        self.buffer.get(skip..).unwrap_or_default()
    }

    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        let left = (self.end - self.position) as usize;
        self.buffer.resize(self.next_read.max(wanted).min(left), 0);
        let read = self.file.read_at(&mut self.buffer, u64::from(self.position))?;
        self.buffer.truncate(read);
        self.buffer_position = self.position;
        Ok(())
    }
}
