//! The four codecs: compressing to a buffer, and decompressing piece by piece.
//!
//! No codec allocates what a length field declares: room is made for what the bytes at hand can at most expand to, and
//! the window stops at its caller's limit. Decompressed bytes are seen only through [`Window`]. Called by the record
//! iterator and the builders. Framings as in Kafka's `org.apache.kafka.common.compress`.

mod gzip;
mod lz4;
mod snappy;
mod window;
mod zstandard;

#[cfg(test)]
mod compression_test;

use std::fmt;

pub(crate) use window::Window;

use crate::base::format::Codec;

/// What a batch may always decompress to, in bytes. Kafka has no such bound, so it must be above what any sane producer
/// sends: 128 times the default `max.message.bytes`.
pub const DECOMPRESSED_LIMIT_BYTES: usize = 128 << 20;

/// Larger batches (`max.message.bytes` was raised) may decompress to this many times their size instead.
const DECOMPRESSED_LIMIT_RATIO: usize = 64;

/// What a batch of `compressed` bytes may decompress to.
pub const fn decompressed_limit(compressed: usize) -> usize {
    let scaled = compressed.saturating_mul(DECOMPRESSED_LIMIT_RATIO);
    if scaled > DECOMPRESSED_LIMIT_BYTES {
        scaled
    } else {
        DECOMPRESSED_LIMIT_BYTES
    }
}

/// Why bytes do not decompress.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CodecError(String);

impl CodecError {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CodecError {}

/// How hard to compress (`compression.gzip.level` and its like); snappy has no levels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Levels {
    /// −1 (the library's default) or 1 to 9.
    pub gzip: i32,
    /// 1 to 17; 9, the default, means the fast compressor, any other the high-compression one, as in Kafka.
    pub lz4: i32,
    /// −131072 to 22.
    pub zstd: i32,
}

impl Default for Levels {
    fn default() -> Self {
        Self {
            gzip: -1,
            lz4: lz4::DEFAULT_LEVEL,
            zstd: 3,
        }
    }
}

/// A codec reading from the compressed bytes of one batch.
pub(crate) enum Decompressor<'a> {
    Gzip(gzip::GzipReader<'a>),
    Snappy(snappy::SnappyReader<'a>),
    Lz4(lz4::Lz4Reader<'a>),
    Zstd(zstandard::ZstdReader<'a>),
    None(&'a [u8]),
}

impl<'a> Decompressor<'a> {
    /// `magic`: of the batch; v0 has a quirk with lz4.
    pub(crate) fn new(codec: Codec, magic: u8, bytes: &'a [u8]) -> Result<Self, CodecError> {
        Ok(match codec {
            Codec::None => Self::None(bytes),
            Codec::Gzip => Self::Gzip(gzip::GzipReader::new(bytes)),
            Codec::Snappy => Self::Snappy(snappy::SnappyReader::new(bytes)?),
            Codec::Lz4 => Self::Lz4(lz4::Lz4Reader::new(bytes, magic)?),
            Codec::Zstd => Self::Zstd(zstandard::ZstdReader::new(bytes)?),
        })
    }

    /// How much room [`Decompressor::read`] needs; `None` at the end. Codecs of blocks need room for the next block.
    fn room(&mut self) -> Result<Option<usize>, CodecError> {
        match self {
            Self::Gzip(_) => Ok(Some(STREAM_ROOM_BYTES)),
            Self::Zstd(reader) => Ok(Some(reader.room())),
            Self::Snappy(reader) => reader.room(),
            Self::Lz4(reader) => reader.room(),
            Self::None(bytes) => Ok((!bytes.is_empty()).then_some(STREAM_ROOM_BYTES)),
        }
    }

    /// Decompresses into the start of `out`, which has the room asked for. 0 means the end.
    fn read(&mut self, out: &mut [u8]) -> Result<usize, CodecError> {
        match self {
            Self::Gzip(reader) => reader.read(out),
            Self::Snappy(reader) => reader.read(out),
            Self::Lz4(reader) => reader.read(out),
            Self::Zstd(reader) => reader.read(out),
            Self::None(bytes) => {
                let length = bytes.len().min(out.len());
                if let (Some((now, later)), Some(out)) =
                    (bytes.split_at_checked(length), out.get_mut(..length))
                {
                    out.copy_from_slice(now);
                    *bytes = later;
                }
                Ok(length)
            }
        }
    }
}

/// A buffer for decompressed bytes that is no larger is kept for the next batch of its thread.
pub(super) const KEPT_BUFFER_BYTES: usize = 1 << 20;

/// Room that is offered to a codec that can stop anywhere.
const STREAM_ROOM_BYTES: usize = 16 << 10;

/// Compresses what is written to it, behind the bytes that its buffer already holds.
pub(crate) enum Compressor {
    None(Vec<u8>),
    Gzip(gzip::GzipWriter),
    Snappy(snappy::SnappyWriter),
    Lz4(lz4::Lz4Writer),
    Zstd(zstandard::ZstdWriter),
}

impl Compressor {
    /// `magic`: of the batch to be; v0 has a quirk with lz4.
    pub(crate) fn new(codec: Codec, levels: &Levels, magic: u8, buffer: Vec<u8>) -> Self {
        match codec {
            Codec::None => Self::None(buffer),
            Codec::Gzip => Self::Gzip(gzip::GzipWriter::new(levels.gzip, buffer)),
            Codec::Snappy => Self::Snappy(snappy::SnappyWriter::new(buffer)),
            Codec::Lz4 => Self::Lz4(lz4::Lz4Writer::new(levels.lz4, magic, buffer)),
            Codec::Zstd => Self::Zstd(zstandard::ZstdWriter::new(levels.zstd, buffer)),
        }
    }

    /// Adds `bytes`.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        match self {
            Self::None(buffer) => {
                buffer.extend_from_slice(bytes);
                Ok(())
            }
            Self::Gzip(writer) => writer.write(bytes),
            Self::Snappy(writer) => writer.write(bytes),
            Self::Lz4(writer) => writer.write(bytes),
            Self::Zstd(writer) => writer.write(bytes),
        }
    }

    /// Bytes in the buffer by now; what the codec still holds back is not counted.
    pub(crate) fn buffered(&self) -> usize {
        match self {
            Self::None(buffer) => buffer.len(),
            Self::Gzip(writer) => writer.buffered(),
            Self::Snappy(writer) => writer.buffered(),
            Self::Lz4(writer) => writer.buffered(),
            Self::Zstd(writer) => writer.buffered(),
        }
    }

    /// Ends the stream and returns the buffer.
    pub(crate) fn finish(self) -> Result<Vec<u8>, CodecError> {
        match self {
            Self::None(buffer) => Ok(buffer),
            Self::Gzip(writer) => writer.finish(),
            Self::Snappy(writer) => writer.finish(),
            Self::Lz4(writer) => writer.finish(),
            Self::Zstd(writer) => writer.finish(),
        }
    }
}

/// Adds `bytes` to `block` up to `full` bytes and calls `flush` with each full block.
fn fill_blocks(
    block: &mut Vec<u8>,
    full: usize,
    mut bytes: &[u8],
    mut flush: impl FnMut(&[u8]) -> Result<(), CodecError>,
) -> Result<(), CodecError> {
    while !bytes.is_empty() {
        if block.len() == full {
            flush(block)?;
            block.clear();
        }
        let (now, later) = bytes.split_at(bytes.len().min(full - block.len()));
        block.extend_from_slice(now);
        bytes = later;
    }
    Ok(())
}
