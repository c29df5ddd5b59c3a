//! gzip: RFC 1952, one member or several, and what Java's `GZIPInputStream` takes besides: bytes behind a member that are no
//! further one are the end.

use crate::base::planted::planted;
use std::io::{Read, Write};

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;

use super::CodecError;

fn codec_error(error: std::io::Error) -> CodecError {
    CodecError::new(format!("gzip: {error}"))
}

/// Header and trailer of a member. Where no more bytes follow, `GZIPInputStream` does not look for another one.
const MEMBER_BYTES: usize = 18;

/// Reads gzip.
pub(crate) struct GzipReader<'a> {
    decoder: Box<GzDecoder<&'a [u8]>>,
    /// Behind the last member.
    ended: bool,
}

impl<'a> GzipReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        planted!(
            "gzip-length-believed",
            if let Some(length) = bytes.last_chunk() {
                drop(std::hint::black_box(Vec::<u8>::with_capacity(
                    (u32::from_le_bytes(*length) as usize).min(1 << 26),
                )));
            }
        );
        Self {
            decoder: Box::new(GzDecoder::new(bytes)),
            ended: false,
        }
    }

    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize, CodecError> {
        while !self.ended {
            let count = self.decoder.read(out).map_err(codec_error)?;
            if count > 0 || out.is_empty() {
                return Ok(count);
            }
            let rest = *self.decoder.get_ref();
            self.decoder.reset(rest);
            // Without room to read into, nothing but the header is.
            self.ended = rest.len() <= MEMBER_BYTES || self.decoder.read(&mut []).is_err();
        }
        Ok(0)
    }
}

/// Writes gzip.
pub(crate) struct GzipWriter(Box<GzEncoder<Vec<u8>>>);

impl GzipWriter {
    pub(super) fn new(level: i32, buffer: Vec<u8>) -> Self {
        let level = match u32::try_from(level) {
            Ok(level) => Compression::new(level.min(9)),
            Err(_) => Compression::default(),
        };
        Self(Box::new(GzEncoder::new(buffer, level)))
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        self.0.write_all(bytes).map_err(codec_error)
    }

    pub(super) fn buffered(&self) -> usize {
        self.0.get_ref().len()
    }

    pub(super) fn finish(self) -> Result<Vec<u8>, CodecError> {
        self.0.finish().map_err(codec_error)
    }
}
