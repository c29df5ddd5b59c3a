//! What a coordinator does with the partition that it keeps its state in: reads it whole, and appends to it.
//!
//! Invariant: both are fenced by the leader epoch that the coordinator was elected in. Once another epoch began, even of
//! this broker's own leadership, a coordinator of the old one reads and writes nothing more: between the epochs
//! somebody else may have written.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::disk::FileSlice;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{LeaderEpoch, Offset};
use crate::storage::file_names::{FileKind, segment_file};
use crate::storage::log::{self, ReadError};
use crate::storage::producer_state::Origin;

use super::answers::AppendAnswer;
use super::partition::{Locked, Partition};
use super::waiting::Wakes;

/// A piece of a log.
pub struct FencedRead {
    /// Whole batches, the last one perhaps cut; the first is whole. `None` when nothing is left.
    pub records: Option<FileSlice>,
    /// The first offset that the log has.
    pub log_start_offset: Offset,
    /// The offset behind the last record.
    pub log_end_offset: Offset,
}

impl Partition {
    /// Reads from `offset` on, up to the log's end whether it is replicated or not: what was appended may yet be
    /// acknowledged. Blocks while the directory does not answer.
    ///
    /// # Errors
    /// NOT_LEADER_OR_FOLLOWER in another epoch; OFFSET_OUT_OF_RANGE, KAFKA_STORAGE_ERROR, CORRUPT_MESSAGE.
    pub fn read_in_epoch(
        &self,
        epoch: LeaderEpoch,
        offset: Offset,
        max_bytes: u32,
    ) -> Result<FencedRead, ErrorCode> {
        let locked = self.lock_on_pool()?;
        check(&locked, epoch)?;
        let log = &locked.state.log;
        let request = log::ReadRequest {
            start_offset: offset,
            max_bytes,
            min_one_batch: true,
            bound: log::Bound::LogEnd,
        };
        let info = log.read(&request).map_err(|error| match error {
            ReadError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            ReadError::Io(_) => ErrorCode::KafkaStorageError,
            ReadError::Corrupt(_) => ErrorCode::CorruptMessage,
        })?;
        Ok(FencedRead {
            records: info.records,
            log_start_offset: info.log_start_offset,
            log_end_offset: info.log_end_offset,
        })
    }

    /// The `.log` that `offset` lies in, for whoever is to look into it. Blocks while the directory does not answer.
    pub fn file_of(&self, offset: Offset) -> PathBuf {
        let state = self.lock_blocking();
        let log = &state.log;
        let base = log.base_offsets().take_while(|base| *base <= offset).last();
        let name = segment_file(base.unwrap_or_else(|| log.first_base_offset()), FileKind::Log);
        log.path().join(name)
    }

    /// The first offset that the log has. Blocks while the directory does not answer.
    ///
    /// # Errors
    /// As [`read_in_epoch`](Self::read_in_epoch).
    pub fn start_in_epoch(&self, epoch: LeaderEpoch) -> Result<Offset, ErrorCode> {
        let locked = self.lock_on_pool()?;
        check(&locked, epoch)?;
        Ok(locked.state.log.log_start_offset())
    }

    /// Appends what a coordinator writes. `None` while the calls into the directory do not return: then
    /// [`append_in_epoch_on_pool`](Self::append_in_epoch_on_pool) may wait for them.
    pub fn append_in_epoch(
        self: &Arc<Self>,
        epoch: LeaderEpoch,
        records: &Bytes,
        acks: i16,
        now_ms: i64,
    ) -> Option<(AppendAnswer, Wakes)> {
        match self.lock() {
            Ok(locked) => Some(self.append_fenced(locked, epoch, records, acks, now_ms)),
            Err(_) if self.is_stalled() => None,
            Err(error) => Some((AppendAnswer::failed(error), Wakes::default())),
        }
    }

    /// As [`append_in_epoch`](Self::append_in_epoch), on a thread that may wait.
    pub fn append_in_epoch_on_pool(
        self: &Arc<Self>,
        epoch: LeaderEpoch,
        records: &Bytes,
        acks: i16,
        now_ms: i64,
    ) -> (AppendAnswer, Wakes) {
        match self.lock_on_pool() {
            Ok(locked) => self.append_fenced(locked, epoch, records, acks, now_ms),
            Err(error) => (AppendAnswer::failed(error), Wakes::default()),
        }
    }

    fn append_fenced(
        self: &Arc<Self>,
        locked: Locked<'_>,
        epoch: LeaderEpoch,
        records: &Bytes,
        acks: i16,
        now_ms: i64,
    ) -> (AppendAnswer, Wakes) {
        match check(&locked, epoch) {
            Ok(()) => self.append_locked(locked, records, acks, Origin::Coordinator, now_ms, None),
            Err(error) => (AppendAnswer::failed(error), Wakes::default()),
        }
    }
}

fn check(locked: &Locked<'_>, epoch: LeaderEpoch) -> Result<(), ErrorCode> {
    let leadership = &locked.state.leadership;
    if leadership.is_leader() && leadership.leader_epoch() == epoch {
        Ok(())
    } else {
        Err(ErrorCode::NotLeaderOrFollower)
    }
}
