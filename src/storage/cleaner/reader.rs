//! Batches of a segment, a buffer at a time, each with its checksum compared.
//!
//! Bounded: the buffer has the size that it is given, or that of one batch that is larger. What is damaged is an error
//! and is never written anew with a checksum that fits.

use std::sync::Arc;

use super::Unreadable;
use crate::base::disk::File;
use crate::records::batch::{Batch, BatchHeader, Batches, LONGEST_HEADER_BYTES};

/// Why no batches were read.
pub(super) enum ReadFailure {
    Io(std::io::Error),
    Unreadable(Unreadable),
}

impl From<std::io::Error> for ReadFailure {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

/// A walk through one segment.
pub(super) struct Reader {
    file: Arc<File>,
    position: u32,
    end: u32,
}

impl Reader {
    /// Reads the `size` bytes of `file` that count.
    pub(super) fn new(file: Arc<File>, size: u32) -> Self {
        Self {
            file,
            position: 0,
            end: size,
        }
    }

    /// True when all was read.
    pub(super) fn is_at_end(&self) -> bool {
        self.position >= self.end
    }

    /// Reads whole batches into `buffer`, some `wanted` bytes of them, at least one. Answers how many bytes.
    pub(super) fn fill(&mut self, buffer: &mut Vec<u8>, wanted: usize) -> Result<usize, ReadFailure> {
        let left = (self.end - self.position) as usize;
        buffer.resize(wanted.max(LONGEST_HEADER_BYTES).min(left), 0);
        self.read(buffer, 0)?;
        let mut whole = whole_batches(buffer)?;
        if whole == 0 {
            let header = BatchHeader::parse(buffer).map_err(|error| ReadFailure::Unreadable(error.into()))?;
            let size = header.map_or(usize::MAX, |header| header.size_in_bytes as usize);
            if size > left {
                return Err(cut());
            }
            let have = buffer.len();
            buffer.resize(size, 0);
            self.read(buffer, have)?;
            whole = size;
        }
        buffer.truncate(whole);
        self.position += whole as u32;
        Ok(whole)
    }

    fn read(&self, buffer: &mut [u8], from: usize) -> Result<(), ReadFailure> {
        let at = u64::from(self.position) + from as u64;
        let rest = buffer.get_mut(from..).unwrap_or_default();
        if self.file.read_at(rest, at)? < rest.len() {
            return Err(cut());
        }
        Ok(())
    }
}

fn cut() -> ReadFailure {
    ReadFailure::Unreadable(Unreadable::new("the last batch of a segment is cut short"))
}

fn whole_batches(buffer: &[u8]) -> Result<usize, ReadFailure> {
    let mut batches = Batches::new(buffer);
    for batch in &mut batches {
        batch.map_err(|error| ReadFailure::Unreadable(error.into()))?;
    }
    Ok(batches.position())
}

/// The batches in what [`Reader::fill`] read.
pub(super) fn batches(buffer: &[u8]) -> impl Iterator<Item = Result<Batch<'_>, Unreadable>> {
    Batches::new(buffer).map(|batch| {
        let batch = batch?;
        batch.check_crc()?;
        Ok(batch)
    })
}
