//! The contents of a `.snapshot` file (Kafka: `ProducerStateManager.readSnapshot`, `writeSnapshot`).
//!
//! Invariant: what is decoded has the version and checksum that the file says, and as many entries as it declares;
//! anything else is corrupt, and an older snapshot serves. Called by [`super::ProducerStates`] and the `dump` command.

use crate::base::planted::planted;
use std::fmt;

use super::entry::{LastBatch, ProducerEntry};
use crate::base::ids::{Offset, ProducerEpoch, ProducerId};

/// The only version there is.
pub const VERSION: i16 = 1;
/// No snapshot is longer: room for some five million producers of one partition.
pub const MAX_SNAPSHOT_BYTES: usize = 256 << 20;

/// Version, checksum and count.
const HEADER_BYTES: usize = 10;
/// Where the bytes begin that the checksum covers.
const CRC_FROM: usize = 6;
const ENTRY_BYTES: usize = 46;

/// Why bytes are no snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CorruptSnapshot {
    /// Another version.
    Version(i16),
    /// The checksum does not fit.
    Crc {
        /// The one in the file.
        stored: u32,
        /// The one of its bytes.
        computed: u32,
    },
    /// Too short, or another number of entries than declared.
    Length,
}

impl fmt::Display for CorruptSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "version {version} is unknown, {VERSION} expected"),
            Self::Crc { stored, computed } => {
                write!(
                    f,
                    "the checksum is {stored:#010x}, the bytes give {computed:#010x}"
                )
            }
            Self::Length => f.write_str("its length does not fit the number of entries"),
        }
    }
}

impl std::error::Error for CorruptSnapshot {}

/// Writes the producers.
pub fn encode<'a>(producers: impl ExactSizeIterator<Item = (ProducerId, &'a ProducerEntry)>) -> Vec<u8> {
    let count = producers.len();
    let mut bytes = Vec::with_capacity(HEADER_BYTES + count * ENTRY_BYTES);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&i32::try_from(count).unwrap_or(i32::MAX).to_be_bytes());
    for (producer_id, entry) in producers {
        let batch = entry.last_batch();
        bytes.extend_from_slice(&producer_id.get().to_be_bytes());
        bytes.extend_from_slice(&entry.epoch().get().to_be_bytes());
        bytes.extend_from_slice(&entry.last_sequence().to_be_bytes());
        bytes.extend_from_slice(&batch.map_or(-1, |batch| batch.last_offset.get()).to_be_bytes());
        bytes.extend_from_slice(&batch.map_or(0, |batch| batch.offset_delta).to_be_bytes());
        bytes.extend_from_slice(&entry.last_timestamp().to_be_bytes());
        bytes.extend_from_slice(&entry.coordinator_epoch().to_be_bytes());
        let first_offset = entry.transaction_first_offset().unwrap_or(Offset::NONE);
        bytes.extend_from_slice(&first_offset.get().to_be_bytes());
    }
    let crc = crc32c::crc32c(bytes.get(CRC_FROM..).unwrap_or_default());
    if let Some(place) = bytes.get_mut(2..CRC_FROM) {
        place.copy_from_slice(&crc.to_be_bytes());
    }
    bytes
}

/// Reads the producers, in the order of the file.
pub fn decode(bytes: &[u8]) -> Result<Vec<(ProducerId, ProducerEntry)>, CorruptSnapshot> {
    let mut rest = bytes;
    let version = i16::from_be_bytes(take(&mut rest)?);
    if version != VERSION {
        return Err(CorruptSnapshot::Version(version));
    }
    let stored = u32::from_be_bytes(take(&mut rest)?);
    let computed = crc32c::crc32c(rest);
    if stored != computed {
        return Err(CorruptSnapshot::Crc { stored, computed });
    }
    let count = i32::from_be_bytes(take(&mut rest)?);
    planted!(
        "snapshot-count-reserved",
        drop(std::hint::black_box(Vec::<u8>::with_capacity(
            count.clamp(0, 1 << 20) as usize * ENTRY_BYTES
        )))
    );
    if usize::try_from(count)
        .ok()
        .and_then(|count| count.checked_mul(ENTRY_BYTES))
        .is_none_or(|bytes| planted!("snapshot-count-less", bytes > rest.len(), bytes != rest.len()))
    {
        return Err(CorruptSnapshot::Length);
    }
    let mut producers = Vec::with_capacity(rest.len() / ENTRY_BYTES);
    while !rest.is_empty() {
        producers.push(decode_entry(&mut rest)?);
    }
    Ok(producers)
}

fn decode_entry(rest: &mut &[u8]) -> Result<(ProducerId, ProducerEntry), CorruptSnapshot> {
    let producer_id = ProducerId(i64::from_be_bytes(take(rest)?));
    let epoch = ProducerEpoch(i16::from_be_bytes(take(rest)?));
    let last_sequence = i32::from_be_bytes(take(rest)?);
    let last_offset = Offset(i64::from_be_bytes(take(rest)?));
    let offset_delta = i32::from_be_bytes(take(rest)?);
    let timestamp = i64::from_be_bytes(take(rest)?);
    let coordinator_epoch = i32::from_be_bytes(take(rest)?);
    let first_offset = Offset(i64::from_be_bytes(take(rest)?));
    let batch = (last_offset.get() >= 0).then_some(LastBatch {
        last_sequence,
        offset_delta,
        last_offset,
        timestamp,
    });
    let first_offset = (first_offset.get() >= 0).then_some(first_offset);
    let entry = ProducerEntry::restored(epoch, coordinator_epoch, timestamp, first_offset, batch);
    Ok((producer_id, entry))
}

fn take<const BYTES: usize>(rest: &mut &[u8]) -> Result<[u8; BYTES], CorruptSnapshot> {
    let (taken, left) = planted!(
        "snapshot-field-there",
        rest.split_first_chunk().unwrap(),
        rest.split_first_chunk().ok_or(CorruptSnapshot::Length)?
    );
    *rest = left;
    Ok(*taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_snapshot_has_ten_bytes() {
        let bytes = encode(std::iter::empty());
        assert_eq!(bytes, [0, 1, 0x48, 0x67, 0x4b, 0xc7, 0, 0, 0, 0]);
        assert_eq!(decode(&bytes), Ok(Vec::new()));
    }

    fn entry() -> impl Strategy<Value = ProducerEntry> {
        (
            any::<i16>(),
            any::<i32>(),
            any::<i64>(),
            proptest::option::of(0..i64::MAX),
            proptest::option::of((any::<i32>(), any::<i32>(), 0..i64::MAX)),
        )
            .prop_map(|(epoch, coordinator, timestamp, first, batch)| {
                ProducerEntry::restored(
                    ProducerEpoch(epoch),
                    coordinator,
                    timestamp,
                    first.map(Offset),
                    batch.map(|(last_sequence, offset_delta, last)| LastBatch {
                        last_sequence,
                        offset_delta,
                        last_offset: Offset(last),
                        timestamp,
                    }),
                )
            })
    }

    proptest! {
        #[test]
        fn round_trips_and_notices_damage(
            entries in proptest::collection::vec((any::<i64>().prop_map(ProducerId), entry()), 0..6),
            at in any::<prop::sample::Index>(), bit in 0..8_u8,
        ) {
            let mut bytes = encode(entries.iter().map(|(id, entry)| (*id, entry)));
            prop_assert_eq!(decode(&bytes).unwrap(), entries);
            let mut longer = bytes.clone();
            longer.push(0);
            prop_assert!(decode(&longer).is_err());
            prop_assert!(decode(&bytes[..bytes.len() - 1]).is_err());
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(decode(&bytes).is_err());
        }

        #[test]
        fn a_fitting_checksum_does_not_make_the_count_true(count in any::<i32>(), mut rest in proptest::collection::vec(any::<u8>(), 0..120)) {
            let mut body = count.to_be_bytes().to_vec();
            body.append(&mut rest);
            let mut bytes = vec![0, 1];
            bytes.extend_from_slice(&crc32c::crc32c(&body).to_be_bytes());
            bytes.append(&mut body);
            let right = i64::from(count) * 46 == bytes.len() as i64 - 10;
            prop_assert_eq!(decode(&bytes).is_ok(), right);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
