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

use super::CodecError;

/// A context that grew beyond this for an unusual window is not kept.
const KEPT_CONTEXT_BYTES: usize = 4 << 20;

thread_local! {
    static KEPT: Cell<Option<DCtx<'static>>> = const { Cell::new(None) };
}

fn codec_error(error: std::io::Error) -> CodecError {
    CodecError::new(format!("zstd: {error}"))
}

/// Reads zstd frames.
pub(crate) struct ZstdReader<'a> {
    context: Option<DCtx<'static>>,
    input: &'a [u8],
    position: usize,
    between_frames: bool,
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
        })
    }

    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize, CodecError> {
        let Some(context) = self.context.as_mut() else {
            return Ok(0);
        };
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
