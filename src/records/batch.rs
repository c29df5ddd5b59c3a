//! Headers of record batches v2 and of messages v0 and v1, and the walk from batch to batch.
//!
//! One [`BatchHeader`] serves all three formats: what an old format lacks has the value that stands for "none". A
//! [`Batch`] is a header that was parsed whole and all of the batch's bytes, so no view can be cut short. Nothing is
//! decompressed and nothing allocated here. Called by validation, conversion, and by storage/ for appends, recovery,
//! index look-ups and reads. Follows Kafka's `DefaultRecordBatch`, `LegacyRecord` and `ByteBufferLogInputStream`.

use crate::base::planted::planted;
use std::fmt;

use crate::base::format::{Codec, TimestampType};
use crate::base::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// Bytes before what the size field counts: offset and size.
pub const LOG_OVERHEAD: usize = 12;
/// Bytes of a v2 header, and so the smallest v2 batch.
pub const V2_HEADER_BYTES: usize = 61;
/// Bytes of the longest header of any format; enough of a file to parse whatever header starts there.
pub const LONGEST_HEADER_BYTES: usize = V2_HEADER_BYTES;
/// Smallest value of the size field that any format allows (a v0 message with null key and null value).
pub const SMALLEST_SIZE_FIELD: i32 = 14;
/// The newest format.
pub const NEWEST_MAGIC: u8 = 2;
/// "No timestamp".
pub const NO_TIMESTAMP: i64 = -1;
/// "No sequence": the batch of a producer that is not idempotent.
pub const NO_SEQUENCE: i32 = -1;

/// Where the v2 checksum begins to count.
pub(crate) const V2_CRC_FROM: usize = 21;
const V0_HEADER_BYTES: usize = LOG_OVERHEAD + 14;
const V1_HEADER_BYTES: usize = LOG_OVERHEAD + 22;
/// Where the checksum of v0 and v1 begins to count: at the magic.
const LEGACY_CRC_FROM: usize = 16;

pub(crate) const ATTRIBUTE_CODEC: u8 = 0x07;
pub(crate) const ATTRIBUTE_LOG_APPEND_TIME: u8 = 0x08;
pub(crate) const ATTRIBUTE_TRANSACTIONAL: u8 = 0x10;
pub(crate) const ATTRIBUTE_CONTROL: u8 = 0x20;
pub(crate) const ATTRIBUTE_DELETE_HORIZON: u8 = 0x40;

/// Why bytes are no batch. Each is CORRUPT_MESSAGE to a producer, and the end of a log to recovery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CorruptBatch {
    /// The size field is below the header of its format.
    Size {
        /// What the size field says.
        size: i32,
    },
    /// The magic is none of 0, 1, 2.
    Magic {
        /// What stands there.
        magic: i8,
    },
    /// The checksum does not fit the bytes.
    Crc {
        /// The one in the header.
        stored: u32,
        /// The one of the bytes.
        computed: u32,
    },
}

impl fmt::Display for CorruptBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size { size } => write!(f, "batch size field {size} is too small for a batch header"),
            Self::Magic { magic } => write!(f, "magic {magic} is no known batch format"),
            Self::Crc { stored, computed } => {
                write!(
                    f,
                    "batch checksum is {stored:#010x}, its bytes give {computed:#010x}"
                )
            }
        }
    }
}

impl std::error::Error for CorruptBatch {}

/// The header of a batch of any format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchHeader {
    /// The format: 0, 1 or 2.
    pub magic: u8,
    /// All bytes of the batch, offset and size field included.
    pub size_in_bytes: u32,
    /// v2: the offset of the first record that the batch had when it was written. v0, v1: the offset field, which is
    /// the record's, or for a compressed set that of its LAST record (its first takes decompression to know).
    pub base_offset: Offset,
    /// Last offset minus base offset; 0 in v0 and v1.
    pub last_offset_delta: i32,
    /// The epoch of the leader that appended it; none in v0 and v1.
    pub partition_leader_epoch: LeaderEpoch,
    /// The checksum as stored: CRC-32C in v2, CRC-32 before.
    pub crc: u32,
    /// The low byte of the attributes, the only one that Kafka reads.
    pub attributes: u8,
    /// v2: what timestamp deltas count from, or the delete horizon if [`BatchHeader::delete_horizon_ms`] says so.
    /// v1: the message's timestamp. v0: none.
    pub base_timestamp: i64,
    /// The largest timestamp of the records; v0: none.
    pub max_timestamp: i64,
    /// None unless the producer is idempotent.
    pub producer_id: ProducerId,
    /// None unless the producer is idempotent.
    pub producer_epoch: ProducerEpoch,
    /// The sequence of the first record, or [`NO_SEQUENCE`].
    pub base_sequence: i32,
    /// v2: records in the batch, as declared. v0, v1: 1 for a plain message, −1 (unknown) for a compressed set.
    pub record_count: i32,
}

impl BatchHeader {
    /// Parses the header at the start of `bytes`, which need not hold the whole batch. `Ok(None)`: too few bytes to
    /// say, so the input ends in a partial header.
    ///
    /// Size before magic, as Kafka does; what a format's own header needs is checked here too, so that a batch that
    /// is shorter than its header is corrupt rather than read past its end.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, CorruptBatch> {
        let Some(size) = i32_at(bytes, 8) else {
            return Ok(None);
        };
        if size < SMALLEST_SIZE_FIELD {
            return Err(CorruptBatch::Size { size });
        }
        let Some(&magic) = bytes.get(16) else {
            return Ok(None);
        };
        let header_bytes = match magic {
            0 => V0_HEADER_BYTES,
            1 => V1_HEADER_BYTES,
            2 => V2_HEADER_BYTES,
            _ => return Err(CorruptBatch::Magic { magic: magic as i8 }),
        };
        // The size field is positive here, so this neither wraps nor loses bits.
        let size_in_bytes = size as u32 + LOG_OVERHEAD as u32;
        if (size_in_bytes as usize) < planted!("batch-below-header", LOG_OVERHEAD, header_bytes) {
            return Err(CorruptBatch::Size { size });
        }
        Ok(match magic {
            2 => Self::parse_v2(bytes, size_in_bytes),
            _ => Self::parse_legacy(bytes, magic, size_in_bytes),
        })
    }

    fn parse_v2(bytes: &[u8], size_in_bytes: u32) -> Option<Self> {
        let header: &[u8; V2_HEADER_BYTES] = bytes.first_chunk()?;
        Some(Self {
            magic: 2,
            size_in_bytes,
            base_offset: Offset(i64_at(header, 0)?),
            partition_leader_epoch: LeaderEpoch(i32_at(header, 12)?),
            crc: i32_at(header, 17)? as u32,
            attributes: *header.get(22)?,
            last_offset_delta: i32_at(header, 23)?,
            base_timestamp: i64_at(header, 27)?,
            max_timestamp: i64_at(header, 35)?,
            producer_id: ProducerId(i64_at(header, 43)?),
            producer_epoch: ProducerEpoch(i16_at(header, 51)?),
            base_sequence: i32_at(header, 53)?,
            record_count: i32_at(header, 57)?,
        })
    }

    fn parse_legacy(bytes: &[u8], magic: u8, size_in_bytes: u32) -> Option<Self> {
        let attributes = *bytes.get(17)?;
        let timestamp = if magic == 0 {
            NO_TIMESTAMP
        } else {
            i64_at(bytes, 18)?
        };
        Some(Self {
            magic,
            size_in_bytes,
            base_offset: Offset(i64_at(bytes, 0)?),
            last_offset_delta: 0,
            partition_leader_epoch: LeaderEpoch::NONE,
            crc: i32_at(bytes, 12)? as u32,
            attributes,
            base_timestamp: timestamp,
            max_timestamp: timestamp,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: NO_SEQUENCE,
            record_count: if attributes & ATTRIBUTE_CODEC == 0 { 1 } else { -1 },
        })
    }

    /// The bytes of a v2 header with these fields; the checksum is written as it stands in `self`.
    pub fn to_v2_bytes(&self) -> [u8; V2_HEADER_BYTES] {
        let mut bytes = [0; V2_HEADER_BYTES];
        let mut rest: &mut [u8] = &mut bytes;
        let mut put = |field: &[u8]| {
            if let Some((to, after)) = std::mem::take(&mut rest).split_at_mut_checked(field.len()) {
                to.copy_from_slice(field);
                rest = after;
            }
        };
        put(&self.base_offset.get().to_be_bytes());
        put(&self.size_in_bytes.wrapping_sub(LOG_OVERHEAD as u32).to_be_bytes());
        put(&self.partition_leader_epoch.get().to_be_bytes());
        put(&[NEWEST_MAGIC]);
        put(&self.crc.to_be_bytes());
        put(&[0, self.attributes]);
        put(&self.last_offset_delta.to_be_bytes());
        put(&self.base_timestamp.to_be_bytes());
        put(&self.max_timestamp.to_be_bytes());
        put(&self.producer_id.get().to_be_bytes());
        put(&self.producer_epoch.get().to_be_bytes());
        put(&self.base_sequence.to_be_bytes());
        put(&self.record_count.to_be_bytes());
        bytes
    }

    /// The offset of the last record that the batch had when it was written. Right in every format.
    #[inline]
    pub const fn last_offset(&self) -> Offset {
        Offset(self.base_offset.get().wrapping_add(self.last_offset_delta as i64))
    }

    /// The offset that follows the batch.
    #[inline]
    pub const fn next_offset(&self) -> Offset {
        Offset(self.last_offset().get().wrapping_add(1))
    }

    /// How the records are compressed; `None` for the numbers 5 to 7, which mean nothing.
    #[inline]
    pub const fn codec(&self) -> Option<Codec> {
        Codec::from_id(self.attributes & ATTRIBUTE_CODEC)
    }

    /// True when the codec bits name anything but "none", known or not.
    #[inline]
    pub const fn is_compressed(&self) -> bool {
        self.attributes & ATTRIBUTE_CODEC != 0
    }

    /// Whose clock the timestamps are; the producer's for v0, which has none.
    #[inline]
    pub const fn timestamp_type(&self) -> TimestampType {
        if self.magic > 0 && self.attributes & ATTRIBUTE_LOG_APPEND_TIME != 0 {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        }
    }

    /// Part of a transaction.
    #[inline]
    pub const fn is_transactional(&self) -> bool {
        self.magic >= 2 && self.attributes & ATTRIBUTE_TRANSACTIONAL != 0
    }

    /// Holds a control record (a transaction marker), which no application sees.
    #[inline]
    pub const fn is_control(&self) -> bool {
        self.magic >= 2 && self.attributes & ATTRIBUTE_CONTROL != 0
    }

    /// When tombstones and markers in this batch may go, in ms since the epoch, if the cleaner has set it (KIP-534).
    #[inline]
    pub const fn delete_horizon_ms(&self) -> Option<i64> {
        if self.magic >= 2 && self.attributes & ATTRIBUTE_DELETE_HORIZON != 0 {
            Some(self.base_timestamp)
        } else {
            None
        }
    }

    /// True when the cleaner has set a delete horizon.
    #[inline]
    pub const fn has_delete_horizon(&self) -> bool {
        self.delete_horizon_ms().is_some()
    }

    /// Written by an idempotent or transactional producer.
    #[inline]
    pub const fn has_producer_id(&self) -> bool {
        self.producer_id.get() > ProducerId::NONE.get()
    }

    /// The sequence of the last record, or [`NO_SEQUENCE`]. Sequences go from i32::MAX on to 0.
    #[inline]
    pub const fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            NO_SEQUENCE
        } else {
            increment_sequence(self.base_sequence, self.last_offset_delta)
        }
    }
}

/// `sequence` plus `increment`, with 0 after i32::MAX (Kafka's `DefaultRecordBatch.incrementSequence`).
#[inline]
pub const fn increment_sequence(sequence: i32, increment: i32) -> i32 {
    let sum = sequence as i64 + increment as i64;
    if sum > i32::MAX as i64 {
        (sum - i32::MAX as i64 - 1) as i32
    } else {
        sum as i32
    }
}

/// `sequence` minus `decrement`, with i32::MAX before 0 (Kafka's `DefaultRecordBatch.decrementSequence`).
#[inline]
pub const fn decrement_sequence(sequence: i32, decrement: i32) -> i32 {
    let difference = sequence as i64 - decrement as i64;
    if difference < 0 {
        (difference + i32::MAX as i64 + 1) as i32
    } else {
        difference as i32
    }
}

/// A whole batch of any format: its header, parsed, and all its bytes. Derefs to the header.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    header: BatchHeader,
    bytes: &'a [u8],
}

impl std::ops::Deref for Batch<'_> {
    type Target = BatchHeader;

    fn deref(&self) -> &BatchHeader {
        &self.header
    }
}

impl<'a> Batch<'a> {
    /// The batch at the start of `bytes`. `Ok(None)` when `bytes` ends before the batch does.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<Self>, CorruptBatch> {
        let Some(header) = BatchHeader::parse(bytes)? else {
            return Ok(None);
        };
        Ok(bytes
            .get(..header.size_in_bytes as usize)
            .map(|bytes| Self { header, bytes }))
    }

    /// The header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// All bytes of the batch.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What follows the header. v2: the records, compressed or not. v0, v1: from the key's length on.
    pub fn payload(&self) -> &'a [u8] {
        let header_bytes = match self.header.magic {
            0 => LOG_OVERHEAD + 6,
            1 => LOG_OVERHEAD + 14,
            _ => V2_HEADER_BYTES,
        };
        self.bytes.get(header_bytes..).unwrap_or_default()
    }

    /// Compares the checksum with the bytes.
    pub fn check_crc(&self) -> Result<(), CorruptBatch> {
        let stored = self.header.crc;
        let computed = match self.header.magic {
            2 => crc32c::crc32c(self.bytes.get(V2_CRC_FROM..).unwrap_or_default()),
            _ => crc32fast::hash(self.bytes.get(LEGACY_CRC_FROM..).unwrap_or_default()),
        };
        if stored == computed {
            Ok(())
        } else {
            Err(CorruptBatch::Crc { stored, computed })
        }
    }
}

/// The batches in `bytes`, back to back.
///
/// Ends before a batch that is cut short: [`Batches::position`] then says where the whole ones end, so that the
/// caller can cut there. A corrupt header is yielded once, as an error, and ends the walk as well.
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    bytes: &'a [u8],
    position: usize,
    failed: bool,
}

impl<'a> Batches<'a> {
    /// Walks `bytes` from its start.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            position: 0,
            failed: false,
        }
    }

    /// Bytes of the whole batches yielded so far.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Bytes behind the batches yielded so far; after the end, those of a batch that is cut short.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<Batch<'a>, CorruptBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        match Batch::parse(self.bytes.get(self.position..).unwrap_or_default()) {
            Ok(Some(batch)) => {
                self.position += batch.bytes.len();
                Some(Ok(batch))
            }
            Ok(None) => None,
            Err(corrupt) => {
                self.failed = true;
                Some(Err(corrupt))
            }
        }
    }
}

impl std::iter::FusedIterator for Batches<'_> {}

/// False when `records` is one v2 batch outside of any transaction, as most are, told by three of its fields; else the
/// batches must be looked at.
pub fn may_be_transactional(records: &[u8]) -> bool {
    let is_one = || {
        let size = usize::try_from(i32_at(records, 8)?).ok()?;
        let is_v2 = *records.get(16)? == NEWEST_MAGIC;
        Some(is_v2 && size.checked_add(LOG_OVERHEAD) == Some(records.len()))
    };
    let attributes = records.get(22).copied().unwrap_or(ATTRIBUTE_TRANSACTIONAL);
    is_one() != Some(true) || attributes & ATTRIBUTE_TRANSACTIONAL != 0
}

#[inline]
pub(crate) fn i16_at(bytes: &[u8], at: usize) -> Option<i16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|field| i16::from_be_bytes(*field))
}

#[inline]
pub(crate) fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|field| i32::from_be_bytes(*field))
}

#[inline]
pub(crate) fn i64_at(bytes: &[u8], at: usize) -> Option<i64> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|field| i64::from_be_bytes(*field))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An empty v2 batch with a size field of `size` and the magic `magic`.
    fn bytes_with(size: i32, magic: u8, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        bytes[8..12].copy_from_slice(&size.to_be_bytes());
        bytes[16] = magic;
        bytes
    }

    #[test]
    fn transactions_are_looked_for_where_they_may_be() {
        let plain = bytes_with(61 - 12, 2, 61);
        assert!(!may_be_transactional(&plain));
        let mut transactional = plain.clone();
        transactional[22] = ATTRIBUTE_TRANSACTIONAL;
        assert!(may_be_transactional(&transactional));
        assert!(may_be_transactional(&[&plain[..], &transactional].concat()));
        for cut in 0..61 {
            assert!(may_be_transactional(&plain[..cut]), "{cut} bytes");
        }
        assert!(may_be_transactional(&bytes_with(61 - 12, 1, 61)));
        assert!(may_be_transactional(&bytes_with(-12, 2, 61)));
    }

    #[test]
    fn header_bytes_round_trip() {
        let header = BatchHeader {
            magic: 2,
            size_in_bytes: 61,
            base_offset: Offset(1 << 40),
            last_offset_delta: 7,
            partition_leader_epoch: LeaderEpoch(3),
            crc: 0xdead_beef,
            attributes: 0x7f,
            base_timestamp: -5,
            max_timestamp: i64::MAX,
            producer_id: ProducerId(99),
            producer_epoch: ProducerEpoch(i16::MAX),
            base_sequence: i32::MAX - 2,
            record_count: 8,
        };
        let bytes = header.to_v2_bytes();
        assert_eq!(BatchHeader::parse(&bytes), Ok(Some(header)));
        assert_eq!(header.last_offset(), Offset((1 << 40) + 7));
        assert_eq!(header.last_sequence(), 4);
        assert_eq!(header.codec(), None);
        assert_eq!(header.delete_horizon_ms(), Some(-5));
        for end in 0..61 {
            assert_eq!(BatchHeader::parse(&bytes[..end]), Ok(None), "{end} bytes");
        }
    }

    #[test]
    fn sizes_below_the_header_and_unknown_magic_are_corrupt() {
        for (size, magic, corrupt) in [
            (i32::MIN, 2, CorruptBatch::Size { size: i32::MIN }),
            (-1, 2, CorruptBatch::Size { size: -1 }),
            (0, 0, CorruptBatch::Size { size: 0 }),
            (13, 0, CorruptBatch::Size { size: 13 }),
            (21, 1, CorruptBatch::Size { size: 21 }),
            (48, 2, CorruptBatch::Size { size: 48 }),
            (49, 3, CorruptBatch::Magic { magic: 3 }),
            (49, 0xff, CorruptBatch::Magic { magic: -1 }),
        ] {
            let bytes = bytes_with(size, magic, 100);
            assert_eq!(BatchHeader::parse(&bytes), Err(corrupt));
            let mut batches = Batches::new(&bytes);
            assert_eq!(batches.next().unwrap().unwrap_err(), corrupt);
            assert!(batches.next().is_none());
            assert_eq!(batches.position(), 0);
        }
        // The size alone is enough to know.
        assert!(BatchHeader::parse(&bytes_with(13, 0, 100)[..12]).is_err());
    }

    #[test]
    fn the_largest_size_field_is_a_partial_batch() {
        let bytes = bytes_with(i32::MAX, 2, 100);
        assert!(Batch::parse(&bytes).unwrap().is_none());
        assert_eq!(
            BatchHeader::parse(&bytes).unwrap().unwrap().size_in_bytes,
            i32::MAX as u32 + 12
        );
    }

    #[test]
    fn a_batch_cut_short_ends_the_walk_and_is_left_over() {
        let one = bytes_with(49, 2, 61);
        let two = [one.clone(), one].concat();
        for end in 61..122 {
            let mut batches = Batches::new(&two[..end]);
            assert_eq!(batches.by_ref().filter(|batch| batch.is_ok()).count(), 1);
            assert_eq!(batches.position(), 61);
            assert_eq!(batches.remaining(), end - 61);
        }
        assert_eq!(Batches::new(&two).count(), 2);
    }

    #[test]
    fn sequences_wrap_to_zero_and_back() {
        assert_eq!(increment_sequence(i32::MAX, 1), 0);
        assert_eq!(increment_sequence(i32::MAX - 2, 5), 2);
        assert_eq!(increment_sequence(4, 5), 9);
        assert_eq!(decrement_sequence(0, 1), i32::MAX);
        assert_eq!(decrement_sequence(9, 5), 4);
    }
}
