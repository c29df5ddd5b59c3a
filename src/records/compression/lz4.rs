//! LZ4 frames as Kafka reads and writes them.
//!
//! Read: independent blocks of 64 KiB to 4 MiB, block checksums verified, a content checksum skipped (Kafka does not
//! verify it either: the batch has its own). Written: blocks of 64 KiB, no checksums but the header's. In v0 messages
//! old clients computed the header's checksum over the magic too; it is written so there, and not looked at on reading.

use crate::base::planted::planted;
use lz4::block::{CompressionMode, compress_bound, compress_to_buffer, decompress_to_buffer};
use twox_hash::XxHash32;

use super::{CodecError, fill_blocks};

/// `compression.lz4.level`'s default, which means the fast compressor.
pub(super) const DEFAULT_LEVEL: i32 = 9;

const MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();
/// Version 01, independent blocks.
const WRITTEN_FLAGS: u8 = 0x60;
/// Blocks of at most 64 KiB.
const WRITTEN_BLOCK_DESCRIPTOR: u8 = 0x40;
const WRITTEN_BLOCK_BYTES: usize = 64 << 10;
const UNCOMPRESSED: u32 = 0x8000_0000;
/// A byte of a block adds at most 255 bytes; the rest covers the smallest blocks.
const MOST_EXPANSION: usize = 255;

/// Reads LZ4 frames.
pub(crate) struct Lz4Reader<'a> {
    rest: &'a [u8],
    most_block_bytes: usize,
    block_checksums: bool,
    /// The next block and whether it is compressed.
    block: Option<(&'a [u8], bool)>,
    finished: bool,
}

impl<'a> Lz4Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], magic: u8) -> Result<Self, CodecError> {
        let cut = || CodecError::new("lz4: the data ends within the frame header");
        let described = bytes
            .strip_prefix(&MAGIC)
            .ok_or_else(|| CodecError::new("lz4: no frame starts here"))?;
        let (&[flags, descriptor], mut rest) = described.split_first_chunk().ok_or_else(cut)?;
        // Version 01, independent blocks, no dictionary, reserved bits clear: what Kafka's reader insists on.
        if flags & 0b1110_0011 != 0b0110_0000 {
            return Err(CodecError::new("lz4: a kind of frame that Kafka does not read"));
        }
        let size_id = u32::from(descriptor >> 4);
        if descriptor & 0b1000_1111 != 0 || !(4..=7).contains(&size_id) {
            return Err(CodecError::new("lz4: invalid block size in the frame header"));
        }
        if flags & 0b1000 != 0 {
            rest = rest.get(8..).ok_or_else(cut)?;
        }
        let described = described.get(..described.len() - rest.len()).unwrap_or_default();
        let (&checksum, rest) = rest.split_first().ok_or_else(cut)?;
        if magic > 0 && checksum != header_checksum(described) {
            return Err(CodecError::new("lz4: the checksum of the frame header is wrong"));
        }
        Ok(Self {
            rest,
            most_block_bytes: 1 << (8 + 2 * size_id),
            block_checksums: flags & 0b1_0000 != 0,
            block: None,
            finished: false,
        })
    }

    /// Finds the next block.
    fn advance(&mut self) -> Result<(), CodecError> {
        let cut = || CodecError::new("lz4: the data ends within a frame");
        let (length, rest) = self.rest.split_first_chunk().ok_or_else(cut)?;
        let length = u32::from_le_bytes(*length);
        let compressed = length & UNCOMPRESSED == 0;
        let length = (length & !UNCOMPRESSED) as usize;
        if length == 0 {
            // What follows the end mark is a content checksum or nothing.
            self.finished = true;
            self.rest = &[];
            return Ok(());
        }
        if length > self.most_block_bytes {
            return Err(CodecError::new("lz4: a block is longer than the frame allows"));
        }
        let (block, mut rest) = planted!(
            "lz4-length-believed",
            rest.split_at(length),
            rest.split_at_checked(length).ok_or_else(cut)?
        );
        if self.block_checksums {
            let (checksum, after) = rest.split_first_chunk().ok_or_else(cut)?;
            if u32::from_le_bytes(*checksum) != XxHash32::oneshot(0, block) {
                return Err(CodecError::new("lz4: the checksum of a block is wrong"));
            }
            rest = after;
        }
        self.rest = rest;
        self.block = Some((block, compressed));
        Ok(())
    }

    pub(super) fn room(&mut self) -> Result<Option<usize>, CodecError> {
        if self.block.is_none() && !self.finished {
            self.advance()?;
        }
        Ok(self.block.map(|(block, compressed)| {
            if compressed {
                planted!(
                    "lz4-block-size-believed",
                    self.most_block_bytes,
                    self.most_block_bytes
                        .min(block.len().saturating_mul(MOST_EXPANSION))
                )
            } else {
                block.len()
            }
        }))
    }

    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize, CodecError> {
        loop {
            let Some(room) = self.room()? else {
                return Ok(0);
            };
            let Some((block, compressed)) = self.block.take() else {
                return Ok(0);
            };
            let Some(out) = out.get_mut(..room) else {
                return Err(CodecError::new("lz4: no room for a block"));
            };
            let count = if compressed {
                decompress_to_buffer(block, Some(room as i32), out)
                    .map_err(|error| CodecError::new(format!("lz4: {error}")))?
            } else {
                out.copy_from_slice(block);
                block.len()
            };
            // A block that holds nothing is not the end.
            if count > 0 {
                return Ok(count);
            }
        }
    }
}

/// Writes one LZ4 frame.
pub(crate) struct Lz4Writer {
    buffer: Vec<u8>,
    block: Vec<u8>,
    mode: CompressionMode,
}

impl Lz4Writer {
    pub(super) fn new(level: i32, magic: u8, mut buffer: Vec<u8>) -> Self {
        let start = buffer.len();
        buffer.extend_from_slice(&MAGIC);
        buffer.extend_from_slice(&[WRITTEN_FLAGS, WRITTEN_BLOCK_DESCRIPTOR]);
        let summed = if magic == 0 { start } else { start + MAGIC.len() };
        let checksum = header_checksum(buffer.get(summed..).unwrap_or_default());
        buffer.push(checksum);
        let mode = match level {
            DEFAULT_LEVEL => CompressionMode::DEFAULT,
            level => CompressionMode::HIGHCOMPRESSION(level),
        };
        Self {
            buffer,
            block: Vec::new(),
            mode,
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        let Self { buffer, block, mode } = self;
        fill_blocks(block, WRITTEN_BLOCK_BYTES, bytes, |block| {
            write_block(*mode, block, buffer)
        })
    }

    pub(super) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    pub(super) fn finish(mut self) -> Result<Vec<u8>, CodecError> {
        if !self.block.is_empty() {
            write_block(self.mode, &self.block, &mut self.buffer)?;
        }
        self.buffer.extend_from_slice(&0_u32.to_le_bytes());
        Ok(self.buffer)
    }
}

fn header_checksum(descriptor: &[u8]) -> u8 {
    (XxHash32::oneshot(0, descriptor) >> 8) as u8
}

fn write_block(mode: CompressionMode, block: &[u8], buffer: &mut Vec<u8>) -> Result<(), CodecError> {
    let failed = |error: std::io::Error| CodecError::new(format!("lz4: {error}"));
    let length_at = buffer.len();
    let start = length_at + 4;
    buffer.resize(start + compress_bound(block.len()).map_err(failed)?, 0);
    let room = buffer.get_mut(start..).unwrap_or_default();
    let count = compress_to_buffer(block, Some(mode), false, room).map_err(failed)?;
    let length = if count < block.len() {
        buffer.truncate(start + count);
        count as u32
    } else {
        buffer.truncate(start);
        buffer.extend_from_slice(block);
        block.len() as u32 | UNCOMPRESSED
    };
    if let Some(field) = buffer.get_mut(length_at..start) {
        field.copy_from_slice(&length.to_le_bytes());
    }
    Ok(())
}
