//! gzip: RFC 1952, one member or several.

use crate::base::planted::planted;
use std::io::{Read, Write};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::CodecError;

fn codec_error(error: std::io::Error) -> CodecError {
    CodecError::new(format!("gzip: {error}"))
}

/// Reads gzip.
pub(crate) struct GzipReader<'a>(Box<MultiGzDecoder<&'a [u8]>>);

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
        Self(Box::new(MultiGzDecoder::new(bytes)))
    }

    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize, CodecError> {
        self.0.read(out).map_err(codec_error)
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
