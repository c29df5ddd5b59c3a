//! Zstandard: RFC 8878, one frame or several.
//!
//! A frame may declare a window of up to 128 MiB (what level 22 uses, and what Kafka's library takes); the library
//! reserves it but touches only what it fills. Contexts are kept for the next batch on the same thread, since making
//! one costs more than a small batch; they carry no information from one to the other.

use crate::base::planted::planted;
use std::cell::Cell;
use std::io::Write;

use zstd::stream::write::Encoder;
use zstd::zstd_safe::{DCtx, InBuffer, OutBuffer, ResetDirective, get_error_name};

use super::{CodecError, STREAM_ROOM_BYTES};

/// A batch is first decompressed at once, into room for this many times its size, up to a bound: the stream of the
/// library copies each byte once more, from a window of its own. What does not fit is read as a stream.
const ONCE_RATIO: usize = 16;
const ONCE_BYTES: usize = super::KEPT_BUFFER_BYTES;

/// A context that grew beyond this for an unusual window is not kept.
const KEPT_CONTEXT_BYTES: usize = 4 << 20;

thread_local! {
    static KEPT: Cell<Option<DCtx<'static>>> = const { Cell::new(None) };
}

fn codec_error(error: std::io::Error) -> CodecError {
    CodecError::new(format!("zstd: {error}"))
}

/// How much room a frame may be given to be decompressed at once; 0 when it is to be read as a stream.
///
/// That way the library does not look at what bounds a stream: the window, and with it the size of a block and the distance
/// of a match. A frame that only it would take is stored and then read by no client. So: one frame, whose window holds all
/// there is room for, and whose blocks are within bounds (RFC 8878, 3.1.1).
fn once_bytes(input: &[u8]) -> usize {
    let room = input.len().saturating_mul(ONCE_RATIO).min(ONCE_BYTES);
    let Some(frame) = Frame::parse(input).filter(|frame| frame.is_whole()) else {
        return 0;
    };
    match frame.content_bytes {
        Some(content) if content > room as u64 => 0,
        _ => frame.window_bytes.min(room as u64) as usize,
    }
}

/// The header of a frame, and what follows it.
struct Frame<'a> {
    window_bytes: u64,
    content_bytes: Option<u64>,
    has_checksum: bool,
    blocks: &'a [u8],
}

impl<'a> Frame<'a> {
    fn parse(input: &'a [u8]) -> Option<Self> {
        const MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();
        const SINGLE_SEGMENT: u8 = 0b10_0000;
        const CHECKSUM: u8 = 0b100;
        const DICTIONARY: u8 = 0b11;
        const MOST_WINDOW_BYTES: u64 = 1 << 27;
        let (&descriptor, mut rest) = input.strip_prefix(&MAGIC)?.split_first()?;
        if descriptor & DICTIONARY != 0 {
            return None;
        }
        let is_single = descriptor & SINGLE_SEGMENT != 0;
        let mut window_bytes = 0;
        if !is_single {
            let (&window, behind) = rest.split_first()?;
            let base = 1_u64 << (10 + (window >> 3));
            window_bytes = base + base / 8 * u64::from(window & 0b111);
            rest = behind;
        }
        let content_length = match descriptor >> 6 {
            0 => usize::from(is_single),
            power => 1 << power,
        };
        let content_bytes = zstd::zstd_safe::get_frame_content_size(input).ok()?;
        if is_single {
            window_bytes = content_bytes?;
        }
        (window_bytes <= MOST_WINDOW_BYTES).then_some(Self {
            window_bytes,
            content_bytes,
            has_checksum: descriptor & CHECKSUM != 0,
            blocks: rest.get(content_length..)?,
        })
    }

    /// True when the blocks are of a size that the window allows, and nothing follows them.
    fn is_whole(&self) -> bool {
        const MOST_BLOCK_BYTES: u64 = 128 << 10;
        const RLE: u32 = 1;
        let most = self.window_bytes.min(MOST_BLOCK_BYTES);
        let mut rest = self.blocks;
        loop {
            let Some((&[low, middle, high], behind)) = rest.split_first_chunk() else {
                return false;
            };
            let header = u32::from_le_bytes([low, middle, high, 0]);
            let (is_last, kind, size) = (header & 1 != 0, header >> 1 & 0b11, header >> 3);
            let here = if kind == RLE { 1 } else { size as usize };
            match behind.get(here..) {
                Some(behind) if u64::from(size) <= most => rest = behind,
                _ => return false,
            }
            if is_last {
                return rest.len() == if self.has_checksum { 4 } else { 0 };
            }
        }
    }
}

/// Reads zstd frames.
pub(crate) struct ZstdReader<'a> {
    context: Option<DCtx<'static>>,
    input: &'a [u8],
    position: usize,
    between_frames: bool,
    /// How much room there is for all at once; 0 when that is no longer to be tried.
    once_bytes: usize,
}

impl Drop for ZstdReader<'_> {
    fn drop(&mut self) {
        if let Some(mut context) = self.context.take()
            && context.reset(ResetDirective::SessionOnly).is_ok()
            && context.sizeof() <= KEPT_CONTEXT_BYTES
        {
            KEPT.set(Some(context));
        }
    }
}

impl<'a> ZstdReader<'a> {
    pub(super) fn new(input: &'a [u8]) -> Result<Self, CodecError> {
        planted!(
            "zstd-length-believed",
            if let Ok(Some(length)) = zstd::zstd_safe::get_frame_content_size(input) {
                drop(std::hint::black_box(Vec::<u8>::with_capacity(
                    length.min(1 << 26) as usize,
                )));
            }
        );
        let context = match KEPT.take() {
            Some(context) => context,
            None => DCtx::try_create().ok_or_else(|| CodecError::new("zstd: no memory"))?,
        };
        Ok(Self {
            context: Some(context),
            input,
            position: 0,
            between_frames: true,
            once_bytes: once_bytes(input),
        })
    }

    /// How much room [`ZstdReader::read`] makes use of.
    pub(super) fn room(&self) -> usize {
        self.once_bytes.max(STREAM_ROOM_BYTES)
    }

    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize, CodecError> {
        let Some(context) = self.context.as_mut() else {
            return Ok(0);
        };
        let once_bytes = std::mem::take(&mut self.once_bytes);
        if let Some(room) = out.get_mut(..once_bytes).filter(|room| !room.is_empty()) {
            match context.decompress(room, self.input) {
                Ok(count) => {
                    self.position = self.input.len();
                    return Ok(count);
                }
                // Too large, or no whole frame: the stream tells, and yields what comes before the fault.
                Err(_) => context
                    .reset(ResetDirective::SessionOnly)
                    .map(drop)
                    .map_err(|code| CodecError::new(format!("zstd: {}", get_error_name(code))))?,
            }
        }
        let mut output = OutBuffer::around(out);
        let mut input = InBuffer::around(self.input);
        input.set_pos(self.position);
        loop {
            let before = input.pos();
            if before == self.input.len() && self.between_frames {
                return Ok(0);
            }
            let hint = context
                .decompress_stream(&mut output, &mut input)
                .map_err(|code| CodecError::new(format!("zstd: {}", get_error_name(code))))?;
            self.position = input.pos();
            self.between_frames = hint == 0;
            if output.pos() > 0 {
                return Ok(output.pos());
            }
            if input.pos() == before && !self.between_frames {
                return Err(CodecError::new("zstd: the data ends within a frame"));
            }
        }
    }
}

/// Writes one zstd frame.
pub(crate) struct ZstdWriter {
    /// The stream, or why there is none.
    stream: Result<Box<Encoder<'static, Vec<u8>>>, CodecError>,
}

impl ZstdWriter {
    pub(super) fn new(level: i32, buffer: Vec<u8>) -> Self {
        Self {
            stream: Encoder::new(buffer, level).map(Box::new).map_err(codec_error),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        match &mut self.stream {
            Ok(stream) => stream.write_all(bytes).map_err(codec_error),
            Err(error) => Err(error.clone()),
        }
    }

    pub(super) fn buffered(&self) -> usize {
        self.stream.as_ref().map_or(0, |stream| stream.get_ref().len())
    }

    pub(super) fn finish(self) -> Result<Vec<u8>, CodecError> {
        self.stream?.finish().map_err(codec_error)
    }
}
