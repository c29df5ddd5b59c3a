//! A window over the decompressed bytes of a batch: what was decompressed and not yet read.
//!
//! Its memory is one piece of the codec's output and the record that is being read, never the whole batch; and what a
//! batch decompresses to in all stays below the limit. Buffers are kept for the next batch on the same thread: they
//! carry no information from one to the other, so this is no state that a simulation could see.

use std::cell::Cell;

use super::{Decompressor, KEPT_BUFFER_BYTES};
use crate::records::record::RecordsError;
use crate::records::varint;

const FIRST_BUFFER_BYTES: usize = 64 << 10;
/// The longest varint.
const VARINT_BYTES: usize = 10;

thread_local! {
    static KEPT: Cell<Option<Vec<u8>>> = const { Cell::new(None) };
}

/// See the file's description.
pub(crate) struct Window<'a> {
    source: Decompressor<'a>,
    /// All initialised; `start..end` is the window.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    decompressed: usize,
    limit: usize,
    at_end: bool,
}

impl Drop for Window<'_> {
    fn drop(&mut self) {
        if !self.buffer.is_empty() && self.buffer.len() <= KEPT_BUFFER_BYTES {
            KEPT.set(Some(std::mem::take(&mut self.buffer)));
        }
    }
}

impl<'a> Window<'a> {
    /// A window over what `source` decompresses to, which must be `limit` bytes or less.
    pub(crate) fn new(source: Decompressor<'a>, limit: usize) -> Self {
        Self {
            source,
            buffer: KEPT.take().unwrap_or_default(),
            start: 0,
            end: 0,
            decompressed: 0,
            limit,
            at_end: false,
        }
    }

    /// What is in the window.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Moves past the first `count` bytes of the window.
    #[inline]
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }

    /// Decompresses some more. False at the end.
    pub(crate) fn more(&mut self) -> Result<bool, RecordsError> {
        if self.at_end {
            return Ok(false);
        }
        let Some(room) = self.source.room()? else {
            self.at_end = true;
            return Ok(false);
        };
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.buffer.len() - self.end < room {
            // Doubling, but never from a declared length: `room` is bounded by the compressed bytes at hand.
            let length = (self.end + room).max(FIRST_BUFFER_BYTES).next_power_of_two();
            self.buffer.resize(length, 0);
        }
        let count = match self.buffer.get_mut(self.end..) {
            Some(free) => self.source.read(free)?,
            None => 0,
        };
        self.end += count;
        self.decompressed += count;
        if self.decompressed > self.limit {
            return Err(RecordsError::TooLarge { limit: self.limit });
        }
        self.at_end = count == 0;
        Ok(count > 0)
    }

    /// Makes the window hold `count` bytes or more. False when fewer are left.
    pub(crate) fn hold(&mut self, count: usize) -> Result<bool, RecordsError> {
        while self.end - self.start < count {
            if !self.more()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Moves past `count` bytes without holding them. False when fewer are left.
    pub(crate) fn skip(&mut self, mut count: usize) -> Result<bool, RecordsError> {
        loop {
            let here = count.min(self.end - self.start);
            self.start += here;
            count -= here;
            if count == 0 {
                return Ok(true);
            }
            if !self.more()? {
                return Ok(false);
            }
        }
    }

    /// Reads one varint and counts its bytes off `left`. `None`: none there, or not within `left`.
    pub(crate) fn varint(&mut self, left: &mut usize) -> Result<Option<i64>, RecordsError> {
        self.hold(VARINT_BYTES.min(*left))?;
        let window = self.bytes();
        let mut rest = window.get(..window.len().min(*left)).unwrap_or_default();
        let before = rest.len();
        let value = varint::read_i64(&mut rest);
        let taken = before - rest.len();
        *left -= taken;
        self.consume(taken);
        Ok(value)
    }

    /// The length that starts a record: a varint of at most five bytes, not negative. `None` at the end or when it is
    /// none of that.
    pub(crate) fn record_length(&mut self) -> Result<Option<usize>, RecordsError> {
        let mut attempt = self.bytes();
        let before = attempt.len();
        if let Some(length) = varint::read_i32(&mut attempt) {
            let taken = before - attempt.len();
            self.consume(taken);
            return Ok(usize::try_from(length).ok());
        }
        if before >= VARINT_BYTES {
            return Ok(None);
        }
        self.hold(VARINT_BYTES)?;
        let mut rest = self.bytes();
        let before = rest.len();
        let length = varint::read_i32(&mut rest);
        let taken = before - rest.len();
        self.consume(taken);
        Ok(length.and_then(|length| usize::try_from(length).ok()))
    }

    /// Moves past the first `length` bytes of the window and shows them to `read`.
    pub(crate) fn lend<'w, T>(
        &'w mut self,
        length: usize,
        read: impl FnOnce(&'w [u8]) -> Result<T, RecordsError>,
    ) -> Result<T, RecordsError> {
        let from = self.start;
        self.consume(length);
        read(self.buffer.get(from..self.start).unwrap_or_default())
    }

    /// True when nothing is left.
    pub(crate) fn is_finished(&mut self) -> Result<bool, RecordsError> {
        Ok(!self.hold(1)?)
    }

    /// Decompresses everything into one buffer.
    pub(crate) fn into_vec(mut self) -> Result<Vec<u8>, RecordsError> {
        let mut all = Vec::new();
        loop {
            all.extend_from_slice(self.bytes());
            self.start = self.end;
            if !self.more()? {
                return Ok(all);
            }
        }
    }
}
