//! Records for clients that do not know format 2 (Fetch up to v3): converted while they are sent, in chunks, so that
//! memory stays bounded (KIP-283).
//!
//! How long a partition's records will be is known only once their first batch was converted. What a request keeps of
//! that until it is sent is bounded, however many partitions it names: the batches beyond are converted once more when it is
//! their turn. All of them count in what the answer holds, for one of them at a time is in memory then.

use std::io;

use bytes::Bytes;

use crate::base::disk::FileSlice;
use crate::base::error_code::ErrorCode;
use crate::base::ids::Offset;
use crate::records::convert::DownConversion;
use crate::wire::fetch_response::RecordsPart;
use crate::wire::response::ChunkSource;

/// What the partitions of one request keep together of what was converted before it is sent: the first batches of many
/// partitions, as old clients write them.
const KEPT_BYTES: usize = 1 << 20;
/// What it costs to begin with a partition, in what [`crate::base::task::Pace`] counts: its records are read.
const PARTITION_WORK: usize = 32 << 10;
/// The same where it fails. It is not known then how much was gone through.
const FAILED_WORK: usize = 1 << 20;

type Read = Box<dyn FnMut(usize, &mut [u8]) -> io::Result<()> + Send>;

struct Chunks {
    conversion: DownConversion<Read>,
    /// How long the first batch is, converted.
    first_bytes: usize,
}

impl ChunkSource for Chunks {
    fn length(&self) -> usize {
        self.conversion.length()
    }

    fn next(&mut self) -> io::Result<Option<Bytes>> {
        self.conversion.next_chunk()
    }

    fn held(&self) -> usize {
        size_of::<Self>() + size_of::<FileSlice>() + self.first_bytes
    }
}

/// The conversions for one request.
#[derive(Debug)]
pub(super) struct Conversions {
    /// What may still be kept.
    room: usize,
    /// What was done since that was last asked for.
    work: usize,
}

impl Conversions {
    /// Nothing is kept yet.
    pub(super) fn new() -> Self {
        Self {
            room: KEPT_BYTES,
            work: 0,
        }
    }

    /// What was done since this was last called, in what [`crate::base::task::Pace`] counts.
    pub(super) fn work(&mut self) -> usize {
        std::mem::take(&mut self.work)
    }

    /// The records of `slice` in the format `magic`, 0 or 1. The first batch is converted at once, the others when they are
    /// sent.
    ///
    /// # Errors
    /// UNSUPPORTED_COMPRESSION_TYPE when the first batch is compressed with zstd, and what makes it unreadable.
    pub(super) fn convert(
        &mut self,
        slice: FileSlice,
        magic: u8,
        fetch_offset: i64,
    ) -> Result<RecordsPart, ErrorCode> {
        let chunks = self.begin(slice, magic, fetch_offset)?;
        Ok(RecordsPart::Chunks(Box::new(chunks)))
    }

    fn begin(&mut self, slice: FileSlice, magic: u8, fetch_offset: i64) -> Result<Chunks, ErrorCode> {
        let length = slice.length;
        let read: Read =
            Box::new(move |at, buffer| slice.file.read_exact_at(buffer, slice.position + at as u64));
        let converted = DownConversion::new(read, length, magic, Offset(fetch_offset));
        let mut conversion = converted.map_err(|error| {
            tracing::debug!(%error, "cannot convert records for an old client");
            self.work = self.work.saturating_add(FAILED_WORK);
            error.code()
        })?;
        self.work = self.work.saturating_add(PARTITION_WORK.max(conversion.work()));
        let first_bytes = conversion.held();
        match self.room.checked_sub(first_bytes) {
            Some(room) => self.room = room,
            None => conversion.let_go(),
        }
        Ok(Chunks {
            conversion,
            first_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::base::disk::memory::MemoryDisk;
    use crate::base::disk::{Disk, Open};
    use crate::base::format::Codec;
    use crate::records::build::BatchOptions;
    use crate::replica::testing::{batch, batch_with};

    /// Lies as a segment does.
    fn stored(bytes: &[u8]) -> FileSlice {
        let disk = Disk::memory(MemoryDisk::new());
        disk.create_directory(Path::new("/d")).unwrap();
        let file = disk.open(Path::new("/d/log"), Open::New).unwrap();
        file.write_all_at(bytes, 0).unwrap();
        FileSlice {
            file: Arc::new(file),
            position: 0,
            length: bytes.len(),
        }
    }

    /// What `times` partitions with these records hold, what they count as, and the bytes of each.
    fn converted(slice: &FileSlice, times: usize) -> (usize, usize, Vec<Vec<u8>>) {
        let mut conversions = Conversions::new();
        let begun: Vec<_> = (0..times)
            .map(|_| conversions.begin(slice.clone(), 0, 0).unwrap())
            .collect();
        let held = begun.iter().map(|chunks| chunks.conversion.held()).sum();
        let counted = begun.iter().map(Chunks::held).sum();
        let sent = begun.into_iter().map(|mut chunks| {
            let mut bytes = Vec::new();
            while let Some(chunk) = chunks.next().unwrap() {
                bytes.extend_from_slice(&chunk);
            }
            assert_eq!(bytes.len(), chunks.length());
            bytes
        });
        (held, counted, sent.collect())
    }

    #[test]
    fn a_request_keeps_no_more_than_its_bound_and_counts_all() {
        let slice = stored(&batch(10_000, 0));
        let (kept, _, one) = converted(&slice, 1);
        assert!(kept > 2 * slice.length, "records without values grow");
        let (all_kept, counted, sent) = converted(&slice, 20);
        assert!(
            all_kept <= KEPT_BYTES && all_kept + kept > KEPT_BYTES,
            "{all_kept}"
        );
        assert!(counted >= 20 * kept, "{counted}");
        assert!(sent.iter().all(|bytes| *bytes == one[0]));
    }

    #[test]
    fn one_that_is_longer_than_the_bound_is_not_kept() {
        let slice = stored(&batch(60_000, 0));
        let (kept, counted, sent) = converted(&slice, 1);
        assert_eq!(kept, 0);
        assert!(counted > KEPT_BYTES && sent[0].len() > KEPT_BYTES);
    }

    #[test]
    fn work_is_counted_by_what_was_gone_through() {
        let mut conversions = Conversions::new();
        let small = stored(&batch(1, 10));
        conversions.convert(small, 1, 0).ok().unwrap();
        assert_eq!(conversions.work(), PARTITION_WORK);
        let options = BatchOptions {
            codec: Codec::Gzip,
            ..BatchOptions::default()
        };
        let packed = stored(&batch_with(20_000, 100, options));
        let length = packed.length;
        conversions.convert(packed, 1, 0).ok().unwrap();
        assert!(conversions.work() > 10 * length);
        let options = BatchOptions {
            codec: Codec::Zstd,
            ..BatchOptions::default()
        };
        let refused = conversions.convert(stored(&batch_with(1, 10, options)), 1, 0);
        assert_eq!(refused.err(), Some(ErrorCode::UnsupportedCompressionType));
        assert_eq!((conversions.work(), conversions.work()), (FAILED_WORK, 0));
    }
}
