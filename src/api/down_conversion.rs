//! Records for clients that do not know format 2 (Fetch up to v3): converted while they are sent, in chunks, so that
//! memory stays bounded (KIP-283).

use std::io;

use bytes::Bytes;

use crate::base::disk::FileSlice;
use crate::base::error_code::ErrorCode;
use crate::base::ids::Offset;
use crate::records::convert::DownConversion;
use crate::wire::fetch_response::RecordsPart;
use crate::wire::response::ChunkSource;

type Read = Box<dyn FnMut(usize, &mut [u8]) -> io::Result<()> + Send>;

struct Chunks(DownConversion<Read>);

impl ChunkSource for Chunks {
    fn length(&self) -> usize {
        self.0.length()
    }

    fn next(&mut self) -> io::Result<Option<Bytes>> {
        self.0.next_chunk()
    }
}

/// The records of `slice` in the format `magic`, 0 or 1. The first batch is converted at once, the others when they are
/// sent.
///
/// # Errors
/// UNSUPPORTED_COMPRESSION_TYPE when the first batch is compressed with zstd, and what makes it unreadable.
pub(super) fn convert(slice: FileSlice, magic: u8, fetch_offset: i64) -> Result<RecordsPart, ErrorCode> {
    let length = slice.length;
    let read: Read = Box::new(move |at, buffer| slice.file.read_exact_at(buffer, slice.position + at as u64));
    let conversion = DownConversion::new(read, length, magic, Offset(fetch_offset)).map_err(|error| {
        tracing::debug!(%error, "cannot convert records for an old client");
        error.code()
    })?;
    Ok(RecordsPart::Chunks(Box::new(Chunks(conversion))))
}
