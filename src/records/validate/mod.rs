//! What a leader does to records before they go into its log: check them, give them offsets and timestamps, and bring
//! them into the topic's format.
//!
//! The invariant: what a client sent in the topic's format and codec is stored as it came. Only the header is written
//! anew, and in it only the offset, the leader epoch and, if they are wrong, timestamp type, maximum timestamp and
//! checksum. Everything else is rebuilt as one v2 batch. Called by storage/ when it appends as leader. Follows the first
//! half of Kafka's `UnifiedLog.append` (`analyzeAndValidateRecords`) and `LogValidator`.

mod batch_checks;
mod in_place;
pub mod produce;
mod rebuild;
mod record_checks;

#[cfg(test)]
mod matrix_test;
#[cfg(test)]
mod validate_test;

use std::fmt;

use bytes::Bytes;

use super::batch::{Batch, BatchHeader, Batches, V2_HEADER_BYTES};
use super::build::BuildError;
use super::compression::Levels;
use super::record::RecordsError;
use crate::base::error_code::ErrorCode;
use crate::base::format::{Codec, TimestampType};
use crate::base::ids::{LeaderEpoch, Offset};

/// What a topic demands of records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// `compression.type`; `None` is `producer`.
    pub codec_target: Option<Codec>,
    /// `compression.*.level`, for what is compressed here.
    pub levels: Levels,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// How far a timestamp may lie in the past, in ms (`message.timestamp.before.max.ms`).
    pub before_max_ms: i64,
    /// How far a timestamp may lie in the future, in ms (`message.timestamp.after.max.ms`).
    pub after_max_ms: i64,
    /// `cleanup.policy` contains `compact`: each record needs a key.
    pub compacted: bool,
    /// The largest batch, header included, in bytes (`max.message.bytes`).
    pub max_message_bytes: u32,
}

impl Default for Rules {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            codec_target: None,
            levels: Levels::default(),
            timestamp_type: TimestampType::CreateTime,
            before_max_ms: i64::MAX,
            after_max_ms: i64::MAX,
            compacted: false,
            max_message_bytes: 1_048_588,
        }
    }
}

/// Where a batch comes from, which decides what is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A Produce request: everything is checked, the producer's sequences included.
    Client,
    /// A coordinator of this broker: may write control batches, and has no sequences.
    Coordinator,
    /// The leader, or the log itself in recovery: it has been appended elsewhere already, and nothing of its producer is
    /// refused.
    Replication,
}

/// Records as they go into the log: `head`, then `rest`.
#[derive(Clone, Debug)]
pub struct Validated {
    /// The header of the one batch, final.
    pub head: [u8; V2_HEADER_BYTES],
    /// What follows it: a slice of the input, or the payload of a rebuilt batch.
    pub rest: Bytes,
    /// `head`, parsed.
    pub header: BatchHeader,
    /// The offset of the first record.
    pub first_offset: Offset,
    /// The offset of the last record.
    pub last_offset: Offset,
    /// The largest timestamp, which is the append time where the topic says LogAppendTime.
    pub max_timestamp: i64,
    /// The offset for the time index: the batch's last, whichever record has the timestamp, as in Kafka 3.9.2.
    pub offset_of_max_timestamp: Offset,
    /// The append time if the topic says LogAppendTime, else −1.
    pub log_append_time_ms: i64,
    /// Records that were rebuilt, 0 if the batch is stored as it came.
    pub converted_records: u32,
}

impl Validated {
    /// All bytes.
    pub fn size_in_bytes(&self) -> usize {
        self.head.len() + self.rest.len()
    }
}

/// What is wrong with one record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordError {
    /// Which record, counted from 0 in its batch.
    pub batch_index: i32,
    /// What is wrong; absent where too many records are wrong for a sentence each.
    pub message: Option<String>,
}

/// Why records are refused. Nothing of them is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ValidationError {
    /// What the producer gets.
    pub code: ErrorCode,
    /// What happened, for the log; and for the producer where [`ValidationError::client_message`] says so.
    pub message: String,
    /// The records that are wrong, if it is single records that are.
    pub record_errors: Vec<RecordError>,
}

impl ValidationError {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            record_errors: Vec::new(),
        }
    }

    /// The message for the response: Kafka sends one only with record errors.
    pub fn client_message(&self) -> Option<&str> {
        (!self.record_errors.is_empty()).then_some(self.message.as_str())
    }
}

impl fmt::Display for ValidationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ValidationError {}

impl From<RecordsError> for ValidationError {
    fn from(error: RecordsError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<BuildError> for ValidationError {
    fn from(error: BuildError) -> Self {
        let code = match error {
            BuildError::Codec(_) | BuildError::Offset => ErrorCode::UnknownServerError,
            BuildError::TooLarge => ErrorCode::MessageTooLarge,
        };
        Self::new(code, error.to_string())
    }
}

/// What was found in the records of a compressed batch before its log was locked.
#[derive(Debug)]
pub struct LookedAt {
    records: Bytes,
    rules: Rules,
    now_ms: i64,
    seen: in_place::Seen,
}

/// True for records that [`look_at`] is there for: a compressed batch.
pub fn take_long(records: &[u8]) -> bool {
    compressed(records).is_some()
}

/// Goes through the records of a compressed batch, which takes many times longer than all else that an append does, and
/// needs nothing of the log but its rules: so that others append meanwhile. `None`: there is nothing to go through, or
/// something is wrong, which [`validate_and_assign`] finds too and says.
pub fn look_at(records: &Bytes, now_ms: i64, rules: Rules, origin: Origin) -> Option<LookedAt> {
    let batch = compressed(records)?;
    // What is too large or damaged is not worth decompressing.
    batch_checks::check(records, &rules, origin, false).ok()?;
    let assignment = Assignment {
        next_offset: batch.base_offset,
        leader_epoch: batch.partition_leader_epoch,
        now_ms,
        rules: &rules,
    };
    let seen = in_place::see(&batch, &assignment).ok()?;
    Some(LookedAt {
        records: records.clone(),
        rules,
        now_ms,
        seen,
    })
}

fn compressed(records: &[u8]) -> Option<Batch<'_>> {
    let batch = Batches::new(records).next()?.ok()?;
    (batch.magic == 2 && batch.is_compressed()).then_some(batch)
}

impl LookedAt {
    /// What was seen, if that was of these records and for the same ends.
    fn of(&self, records: &Bytes, assignment: &Assignment<'_>) -> Option<in_place::Seen> {
        let same = self.records.as_ptr() == records.as_ptr() && self.records.len() == records.len();
        (same && self.now_ms == assignment.now_ms && self.rules == *assignment.rules).then_some(self.seen)
    }
}

/// Checks `records` and makes of them one v2 batch that starts at `next_offset`.
///
/// `now_ms` is the append time. A batch that is cut short at the end of `records` is left out. No batch at all is
/// INVALID_RECORD. `looked_at`: what [`look_at`] said of the same records.
pub fn validate_and_assign(
    records: &Bytes,
    next_offset: Offset,
    leader_epoch: LeaderEpoch,
    now_ms: i64,
    rules: &Rules,
    origin: Origin,
    looked_at: Option<&LookedAt>,
) -> Result<Validated, ValidationError> {
    let assignment = Assignment {
        next_offset,
        leader_epoch,
        now_ms,
        rules,
    };
    let seen = looked_at.and_then(|before| before.of(records, &assignment));
    let set = batch_checks::check(records, rules, origin, seen.is_some())?;
    let target = rules.codec_target.unwrap_or(set.codec);
    // A control batch that came uncompressed stays so, whatever the topic compresses with.
    let plain_control = set.codec == Codec::None && set.first.is_control();
    if set.first.magic == 2
        && (set.codec == target || plain_control)
        && let Some(validated) = in_place::assign(records, &set.first, &assignment, seen)?
    {
        return Ok(validated);
    }
    rebuild::assign(records, &set.first, target, &assignment)
}

/// What the records get.
struct Assignment<'a> {
    next_offset: Offset,
    leader_epoch: LeaderEpoch,
    now_ms: i64,
    rules: &'a Rules,
}

impl Assignment<'_> {
    /// The append time if the topic goes by it.
    fn log_append_time_ms(&self) -> Option<i64> {
        match self.rules.timestamp_type {
            TimestampType::CreateTime => None,
            TimestampType::LogAppendTime => Some(self.now_ms),
        }
    }
}
