//! Control records: what their key says, and the markers that end a transaction in a partition.
//!
//! Key: version and type, two bytes each. Value of an end-of-transaction marker: version and the epoch of the
//! coordinator. A higher version is read as the one known here, as Kafka does. Called by storage/ when it rebuilds
//! producer state, and by whoever writes markers. Follows `ControlRecordType` and `EndTransactionMarker`.

use bytes::Bytes;

use super::batch::{Batch, BatchHeader, i16_at, i32_at};
use super::build::{BatchBuilder, BatchOptions, BuildError};
use super::record::{Record, RecordsError};
use crate::base::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

const KEY_BYTES: usize = 4;
const MARKER_VALUE_BYTES: usize = 6;
const VERSION: i16 = 0;

/// What a control record is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ControlType {
    /// Its producer's transaction ended and does not count.
    Abort,
    /// Its producer's transaction ended and counts.
    Commit,
    /// One of KRaft's own (2 to 6) or one that is not known; readers skip it.
    Other(i16),
}

impl ControlType {
    /// The number in the key.
    pub const fn id(self) -> i16 {
        match self {
            Self::Abort => 0,
            Self::Commit => 1,
            Self::Other(id) => id,
        }
    }

    /// Reads the key of a control record.
    pub fn parse(key: Option<&[u8]>) -> Result<Self, RecordsError> {
        let key = key.unwrap_or_default();
        let (Some(version), Some(id)) = (i16_at(key, 0), i16_at(key, 2)) else {
            return Err(RecordsError::Invalid("key of a control record is too short"));
        };
        if version < 0 {
            return Err(RecordsError::Invalid("negative version in a control record"));
        }
        Ok(match id {
            0 => Self::Abort,
            1 => Self::Commit,
            other => Self::Other(other),
        })
    }
}

/// A marker that ends a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndTransactionMarker {
    /// Whether the transaction counts.
    pub commit: bool,
    /// The epoch of the coordinator that wrote it.
    pub coordinator_epoch: i32,
}

impl EndTransactionMarker {
    /// The marker that `record` of a control batch is; `None` for control records of other types.
    pub fn parse(record: &Record<'_>) -> Result<Option<Self>, RecordsError> {
        let commit = match ControlType::parse(record.key)? {
            ControlType::Abort => false,
            ControlType::Commit => true,
            ControlType::Other(_) => return Ok(None),
        };
        let value = record.value.unwrap_or_default();
        let (Some(version), Some(coordinator_epoch)) = (i16_at(value, 0), i32_at(value, 2)) else {
            return Err(RecordsError::Invalid(
                "value of a transaction marker is too short",
            ));
        };
        if version < 0 {
            return Err(RecordsError::Invalid("negative version in a transaction marker"));
        }
        Ok(Some(Self {
            commit,
            coordinator_epoch,
        }))
    }

    /// The marker in the control batch `batch`; `None` if it has no record (compaction) or is of another type.
    pub fn of_batch(batch: &Batch<'_>) -> Result<Option<Self>, RecordsError> {
        match batch.records(None)?.next()? {
            Some(record) => Self::parse(&record),
            None => Ok(None),
        }
    }

    /// The control batch with this marker alone, as a coordinator appends it; offsets are assigned at the append.
    pub fn to_batch(
        self,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        timestamp_ms: i64,
    ) -> Result<(BatchHeader, Bytes), BuildError> {
        let mut builder = BatchBuilder::new(BatchOptions {
            base_offset: Offset::ZERO,
            producer_id,
            producer_epoch,
            is_transactional: true,
            is_control: true,
            partition_leader_epoch: LeaderEpoch::NONE,
            ..BatchOptions::default()
        });
        let kind = if self.commit {
            ControlType::Commit
        } else {
            ControlType::Abort
        };
        let mut key = [0; KEY_BYTES];
        key[..2].copy_from_slice(&VERSION.to_be_bytes());
        key[2..].copy_from_slice(&kind.id().to_be_bytes());
        let mut value = [0; MARKER_VALUE_BYTES];
        value[..2].copy_from_slice(&VERSION.to_be_bytes());
        value[2..].copy_from_slice(&self.coordinator_epoch.to_be_bytes());
        builder.append(timestamp_ms, Some(&key), Some(&value), &[])?;
        builder.build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_batch_round_trips() {
        for commit in [true, false] {
            let marker = EndTransactionMarker {
                commit,
                coordinator_epoch: 7,
            };
            let (header, bytes) = marker.to_batch(ProducerId(5), ProducerEpoch(2), 1234).unwrap();
            let batch = Batch::parse(&bytes).unwrap().unwrap();
            assert_eq!(*batch.header(), header);
            assert_eq!(batch.check_crc(), Ok(()));
            assert!(batch.is_control() && batch.is_transactional());
            assert_eq!(
                (batch.base_sequence, batch.record_count, batch.max_timestamp),
                (-1, 1, 1234)
            );
            // Kafka's own marker batches are 78 bytes long.
            assert_eq!(bytes.len(), 78);
            assert_eq!(EndTransactionMarker::of_batch(&batch), Ok(Some(marker)));
        }
    }

    #[test]
    fn short_keys_and_negative_versions_are_refused_and_newer_ones_read() {
        assert!(ControlType::parse(None).is_err());
        assert!(ControlType::parse(Some(&[0, 0, 0])).is_err());
        assert!(ControlType::parse(Some(&[0xff, 0xff, 0, 1])).is_err());
        assert_eq!(
            ControlType::parse(Some(&[0, 9, 0, 1, 8])),
            Ok(ControlType::Commit)
        );
        assert_eq!(ControlType::parse(Some(&[0, 0, 0, 2])), Ok(ControlType::Other(2)));
    }
}
