//! Down-conversion: batches as a fetch of an old client wants them, in formats 0 and 1.
//!
//! The size of the answer must be said before it is converted, so a conversion promises a length: that of the stored
//! bytes, or of the first converted batch if that is longer. It then yields chunks until exactly that many bytes are
//! out. What is converted is longer than promised: the rest is cut off, and the client asks again. It is shorter: a batch
//! that claims to be longer than what follows fills up, which every client takes for one that was cut. Memory holds what
//! is read and converted in one go: 128 KiB, or one batch. Before anything is sent it holds the first converted batch, or
//! nothing, as its owner wants. Called by api/ for Fetch below version 4. Follows Kafka's `LazyDownConversionRecords`, its
//! `Send`, and `RecordsUtil.downConvert`.

use std::fmt;
use std::io;

use bytes::Bytes;

use super::batch::{Batch, BatchHeader, Batches, LONGEST_HEADER_BYTES, V2_HEADER_BYTES};
use super::build::{SetBuilder, SetOptions};
use super::compression::Levels;
use crate::base::error_code::ErrorCode;
use crate::base::format::{Codec, TimestampType};
use crate::base::ids::Offset;

/// Stored bytes that are read and converted at once, unless one batch is longer.
const READ_BYTES: usize = 128 << 10;
/// Work after which a chunk ends, in bytes of keys and values, so that whoever sends it can let others have their turn: what
/// [`READ_BYTES`] hold may be a thousand times as long.
const CONVERT_BYTES: usize = 1 << 20;
/// What a record costs beside its key and value, in the same measure: without them it is not for nothing.
const RECORD_WORK: usize = 64;
/// Offset and size: the least that a filler can be, and the answer when nothing is left after conversion.
const LEAST_FILLER_BYTES: usize = 12;

/// Why records cannot be converted at all.
#[derive(Debug)]
pub enum ConversionError {
    /// The old formats have no zstd (error 76).
    UnsupportedCodec,
    /// What is stored cannot be read.
    Corrupt(String),
    /// The disk failed.
    Io(io::Error),
}

impl ConversionError {
    /// The error code for the partition.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::UnsupportedCodec => ErrorCode::UnsupportedCompressionType,
            Self::Corrupt(_) => ErrorCode::CorruptMessage,
            Self::Io(_) => ErrorCode::KafkaStorageError,
        }
    }
}

impl fmt::Display for ConversionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnsupportedCodec => f.write_str("zstd cannot be converted to an old format"),
            Self::Corrupt(what) => write!(f, "stored records cannot be converted: {what}"),
            Self::Io(error) => write!(f, "stored records cannot be read: {error}"),
        }
    }
}

impl std::error::Error for ConversionError {}

/// A conversion of stored bytes under way. `R` reads stored bytes: it fills the buffer from a position, counted from the
/// first byte to convert.
pub struct DownConversion<R> {
    read: R,
    stored_length: usize,
    position: usize,
    to_magic: u8,
    first_offset: Offset,
    promised: usize,
    sent: usize,
    /// Converted to know what to promise.
    first: Option<Vec<u8>>,
    /// What was done so far, in bytes gone through.
    work: usize,
    /// Nothing more to convert: what is missing is filler.
    ended: bool,
}

impl<R> fmt::Debug for DownConversion<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DownConversion")
            .field("to_magic", &self.to_magic)
            .field("position", &self.position)
            .field("promised", &self.promised)
            .field("sent", &self.sent)
            .finish_non_exhaustive()
    }
}

impl<R: FnMut(usize, &mut [u8]) -> io::Result<()>> DownConversion<R> {
    /// Starts the conversion of `stored_length` bytes to the format `to_magic` (0 or 1), and converts the first batch.
    /// Records of uncompressed batches below `first_offset`, where the fetch begins, are left out.
    pub fn new(
        read: R,
        stored_length: usize,
        to_magic: u8,
        first_offset: Offset,
    ) -> Result<Self, ConversionError> {
        let mut conversion = Self {
            read,
            stored_length,
            position: 0,
            to_magic,
            first_offset,
            promised: 0,
            sent: 0,
            first: None,
            work: 0,
            ended: false,
        };
        conversion.first = conversion.convert(true)?;
        conversion.promised = match &conversion.first {
            Some(first) => stored_length.max(first.len()),
            // Whole batches, but all of them control batches or empty.
            None if conversion.position > 0 => LEAST_FILLER_BYTES,
            None => 0,
        };
        Ok(conversion)
    }

    /// Bytes that the chunks have in all.
    pub fn length(&self) -> usize {
        self.promised
    }

    /// Bytes of converted records that it holds.
    pub fn held(&self) -> usize {
        self.first.as_ref().map_or(0, Vec::len)
    }

    /// Lets go of what it holds, before the first chunk is asked for: what was promised stays, and the first batch is
    /// converted once more when it is sent.
    pub fn let_go(&mut self) {
        self.first = None;
        self.position = 0;
        self.ended = false;
    }

    /// What was done so far, in bytes gone through: those of the stored batches, and those of their keys and values.
    pub fn work(&self) -> usize {
        self.work
    }

    /// The next chunk; `None` when all [`DownConversion::length`] bytes are out.
    ///
    /// What cannot be converted any more (zstd, corruption) ends the conversion with filler: the client's next fetch
    /// starts there and gets the error.
    pub fn next_chunk(&mut self) -> io::Result<Option<Bytes>> {
        let left = self.promised - self.sent;
        if left == 0 {
            return Ok(None);
        }
        let mut chunk = match self.first.take() {
            Some(first) => first,
            None => self.converted_or_filler(left)?,
        };
        chunk.truncate(left);
        self.sent += chunk.len();
        Ok(Some(chunk.into()))
    }

    fn converted_or_filler(&mut self, left: usize) -> io::Result<Vec<u8>> {
        if !self.ended {
            match self.convert(false) {
                Ok(Some(converted)) => return Ok(converted),
                Ok(None) => {}
                Err(ConversionError::Io(error)) => return Err(error),
                Err(error) => tracing::debug!(%error, "down-conversion ends early"),
            }
            self.ended = true;
        }
        Ok(filler(left))
    }

    /// Converts what follows: one batch, or as many as are read at once. `None` at the end.
    fn convert(&mut self, only_one: bool) -> Result<Option<Vec<u8>>, ConversionError> {
        let mut out = Vec::new();
        let mut work = 0;
        while !self.ended {
            let bytes = self.read_batches().map_err(ConversionError::Io)?;
            let start = self.position;
            for batch in Batches::new(&bytes) {
                let converted = match batch {
                    Ok(batch) => {
                        self.work = self.work.saturating_add(batch.bytes().len());
                        convert_batch(&batch, self.to_magic, self.first_offset, &mut out).map(|bytes| {
                            work += bytes;
                            self.work = self.work.saturating_add(bytes);
                            self.position += batch.bytes().len();
                        })
                    }
                    Err(corrupt) => Err(ConversionError::Corrupt(corrupt.to_string())),
                };
                if let Err(error) = converted {
                    self.ended = true;
                    // What was converted before it is still good.
                    return if out.is_empty() { Err(error) } else { Ok(Some(out)) };
                }
                if (only_one || work >= CONVERT_BYTES) && !out.is_empty() {
                    break;
                }
            }
            self.ended |= self.position == start;
            if !out.is_empty() {
                return Ok(Some(out));
            }
        }
        Ok(None)
    }

    /// Reads [`READ_BYTES`], or one batch if that is longer, or what is left.
    fn read_batches(&mut self) -> io::Result<Vec<u8>> {
        let left = self.stored_length.saturating_sub(self.position);
        let mut bytes = vec![0; left.min(READ_BYTES)];
        (self.read)(self.position, &mut bytes)?;
        let front = bytes
            .get(..LONGEST_HEADER_BYTES.min(bytes.len()))
            .unwrap_or_default();
        if let Ok(Some(header)) = BatchHeader::parse(front) {
            let size = header.size_in_bytes as usize;
            // The rest of a batch that is not all there is of no use.
            if size > bytes.len() && size <= left {
                let have = bytes.len();
                bytes.resize(size, 0);
                if let Some(rest) = bytes.get_mut(have..) {
                    (self.read)(self.position + have, rest)?;
                }
            }
        }
        Ok(bytes)
    }
}

/// Appends `batch`, converted, to `out`. Yields what that cost, in bytes of keys and values.
fn convert_batch(
    batch: &Batch<'_>,
    to_magic: u8,
    first_offset: Offset,
    out: &mut Vec<u8>,
) -> Result<usize, ConversionError> {
    // The old formats know no transactions.
    if batch.is_control() {
        return Ok(0);
    }
    if batch.codec() == Some(Codec::Zstd) {
        return Err(ConversionError::UnsupportedCodec);
    }
    if batch.magic <= to_magic {
        out.extend_from_slice(batch.bytes());
        return Ok(batch.bytes().len());
    }
    let corrupt = |what: String| ConversionError::Corrupt(what);
    let mut records = batch.records(None).map_err(|error| corrupt(error.to_string()))?;
    let mut set = SetBuilder::new(SetOptions {
        magic: to_magic,
        codec: batch.codec().unwrap_or(Codec::None),
        levels: Levels::default(),
        log_append_time_ms: (batch.timestamp_type() == TimestampType::LogAppendTime)
            .then_some(batch.max_timestamp),
    });
    let mut bytes = 0;
    while let Some(record) = records.next().map_err(|error| corrupt(error.to_string()))? {
        bytes += RECORD_WORK + record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        // In a compressed set the client skips by itself; single messages below the fetch confuse old clients.
        if batch.is_compressed() || record.offset >= first_offset {
            set.append(record.offset, record.timestamp, record.key, record.value)
                .map_err(|error| corrupt(error.to_string()))?;
        }
    }
    let set = set.build().map_err(|error| corrupt(error.to_string()))?;
    out.extend_from_slice(&set);
    Ok(bytes)
}

/// The start of a batch that says it is longer than the `left` bytes it is given; the first of them in a chunk.
fn filler(left: usize) -> Vec<u8> {
    let size = left.saturating_add(1).max(V2_HEADER_BYTES);
    let mut bytes = Vec::with_capacity(left.clamp(LEAST_FILLER_BYTES, READ_BYTES));
    bytes.extend_from_slice(&(-1_i64).to_be_bytes());
    bytes.extend_from_slice(&i32::try_from(size).unwrap_or(i32::MAX).to_be_bytes());
    bytes.resize(left.clamp(LEAST_FILLER_BYTES, READ_BYTES), 0);
    bytes
}

#[cfg(test)]
#[path = "convert_test.rs"]
mod convert_test;
