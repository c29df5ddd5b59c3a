//! Snappy in the framing of snappy-java (xerial), and raw, which some clients send and Java's reader takes too.
//!
//! Framing: 16 bytes (magic, version 1, compatible version 1), then blocks: a length, big-endian, and raw snappy. A
//! second header may follow where streams were concatenated.

use crate::base::planted::planted;
use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

use super::{CodecError, fill_blocks};
use crate::records::batch::i32_at;

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const HEADER_BYTES: usize = 16;
/// The first four bytes of the magic, as the length of a block that they would be.
const MAGIC_AS_LENGTH: i32 = i32::from_be_bytes([0x82, b'S', b'N', b'A']);
const VERSION: i32 = 1;
/// Bytes of input in a block that we write; snappy-java's default.
const BLOCK_BYTES: usize = 32 << 10;
/// No element of the format expands by more than this (3 bytes that copy 64), so a block that declares more than this
/// times its size lies.
const MOST_EXPANSION: usize = 22;

/// Reads snappy.
pub(crate) struct SnappyReader<'a> {
    rest: &'a [u8],
    framed: bool,
    block: Option<&'a [u8]>,
}

impl<'a> SnappyReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, CodecError> {
        if bytes.is_empty() {
            return Err(CodecError::new("snappy: no bytes"));
        }
        let mut reader = Self {
            rest: bytes,
            framed: bytes.starts_with(&MAGIC) && bytes.len() >= HEADER_BYTES,
            block: None,
        };
        if reader.framed {
            reader.header();
        }
        Ok(reader)
    }

    /// Skips a header. Its versions say nothing that would change how blocks are read, and snappy-java takes odd ones.
    fn header(&mut self) {
        self.rest = self.rest.get(HEADER_BYTES..).unwrap_or_default();
    }

    /// Finds the next block.
    fn advance(&mut self) -> Result<(), CodecError> {
        if !self.framed {
            if !self.rest.is_empty() {
                self.block = Some(std::mem::take(&mut self.rest));
            }
            return Ok(());
        }
        // Fewer than four bytes left are the end, as in snappy-java.
        while let Some(length) = i32_at(self.rest, 0) {
            if length == MAGIC_AS_LENGTH && self.rest.starts_with(&MAGIC) {
                self.header();
                continue;
            }
            let block = usize::try_from(length)
                .ok()
                .and_then(|length| self.rest.get(4..)?.split_at_checked(length));
            let Some((block, rest)) = block else {
                return Err(CodecError::new("snappy: a block is longer than the data"));
            };
            self.rest = rest;
            self.block = Some(block);
            return Ok(());
        }
        Ok(())
    }

    pub(super) fn room(&mut self) -> Result<Option<usize>, CodecError> {
        if self.block.is_none() {
            self.advance()?;
        }
        let Some(block) = self.block else {
            return Ok(None);
        };
        let length = decompress_len(block).map_err(|error| CodecError::new(format!("snappy: {error}")))?;
        if length
            > planted!(
                "snappy-length-believed",
                64 << 20,
                planted!(
                    "snappy-raw-length-believed",
                    if self.framed {
                        block.len() * MOST_EXPANSION
                    } else {
                        64 << 20
                    },
                    block.len().saturating_mul(MOST_EXPANSION)
                )
            )
        {
            return Err(CodecError::new("snappy: a block declares more than it can hold"));
        }
        Ok(Some(length.max(1)))
    }

    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize, CodecError> {
        loop {
            let Some(room) = self.room()? else {
                return Ok(0);
            };
            let Some(block) = self.block.take() else {
                return Ok(0);
            };
            let Some(out) = out.get_mut(..room) else {
                return Err(CodecError::new("snappy: no room for a block"));
            };
            let count = Decoder::new()
                .decompress(block, out)
                .map_err(|error| CodecError::new(format!("snappy: {error}")))?;
            // An empty block is legal and not the end.
            if count > 0 {
                return Ok(count);
            }
        }
    }
}

/// Writes snappy in snappy-java's framing.
pub(crate) struct SnappyWriter {
    buffer: Vec<u8>,
    block: Vec<u8>,
    encoder: Box<Encoder>,
}

impl SnappyWriter {
    pub(super) fn new(mut buffer: Vec<u8>) -> Self {
        buffer.extend_from_slice(&MAGIC);
        buffer.extend_from_slice(&VERSION.to_be_bytes());
        buffer.extend_from_slice(&VERSION.to_be_bytes());
        Self {
            buffer,
            block: Vec::new(),
            encoder: Box::new(Encoder::new()),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        let Self {
            buffer,
            block,
            encoder,
        } = self;
        fill_blocks(block, BLOCK_BYTES, bytes, |block| {
            write_block(encoder, block, buffer)
        })
    }

    pub(super) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    pub(super) fn finish(mut self) -> Result<Vec<u8>, CodecError> {
        if !self.block.is_empty() {
            write_block(&mut self.encoder, &self.block, &mut self.buffer)?;
        }
        Ok(self.buffer)
    }
}

fn write_block(encoder: &mut Encoder, block: &[u8], buffer: &mut Vec<u8>) -> Result<(), CodecError> {
    let length_at = buffer.len();
    let start = length_at + 4;
    buffer.resize(start + max_compress_len(block.len()), 0);
    let room = buffer.get_mut(start..).unwrap_or_default();
    let count = encoder
        .compress(block, room)
        .map_err(|error| CodecError::new(format!("snappy: {error}")))?;
    buffer.truncate(start + count);
    if let Some(length) = buffer.get_mut(length_at..start) {
        length.copy_from_slice(&(count as u32).to_be_bytes());
    }
    Ok(())
}
