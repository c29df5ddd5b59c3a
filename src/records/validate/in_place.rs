//! A v2 batch in the topic's codec: its records are walked, its header is patched, its payload is not touched.
//!
//! This is the hot path of producing: nothing is allocated for an uncompressed batch.

use crate::base::planted::planted;
use bytes::Bytes;

use super::batch_checks::invalid;
use super::record_checks::RecordChecks;
use super::{Assignment, Validated, ValidationError};
use crate::base::format::TimestampType;
use crate::base::ids::Offset;
use crate::records::batch::{ATTRIBUTE_LOG_APPEND_TIME, Batch, NO_TIMESTAMP, V2_CRC_FROM, V2_HEADER_BYTES};
use crate::records::compression::decompressed_limit;
use crate::records::iterate::skim;

/// `Ok(None)`: the offsets inside are not 0, 1, 2 ..., so the batch must be rebuilt; a compressed one is refused.
///
/// Kafka means to rebuild a compressed one and fails at it (UNKNOWN_SERVER_ERROR), and stores an uncompressed one with offsets
/// that point anywhere; no client sends either.
pub(super) fn assign(
    records: &Bytes,
    batch: &Batch<'_>,
    assignment: &Assignment<'_>,
    seen: Option<Seen>,
) -> Result<Option<Validated>, ValidationError> {
    let seen = match seen {
        Some(seen) => seen,
        None => see(batch, assignment)?,
    };
    if !seen.consecutive && !batch.is_control() {
        if batch.is_compressed() {
            return Err(invalid("the offsets of a compressed batch are not 0, 1, 2 ..."));
        }
        return Ok(None);
    }
    Ok(patch(records, batch, seen.max_timestamp, assignment))
}

/// What all records together tell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// The largest timestamp.
    max_timestamp: i64,
    /// The offsets are 0, 1, 2 ...
    consecutive: bool,
}

/// Checks every record.
pub(super) fn see(batch: &Batch<'_>, assignment: &Assignment<'_>) -> Result<Seen, ValidationError> {
    let mut checks = RecordChecks::new(assignment, batch);
    let mut consecutive = true;
    let mut expected = 0_i32;
    let mut max_timestamp = NO_TIMESTAMP;
    let limit = decompressed_limit(batch.bytes().len());
    planted!(
        "produce-count-reserved",
        drop(std::hint::black_box(Vec::<u8>::with_capacity(
            batch.record_count.clamp(0, 1 << 26) as usize
        )))
    );
    // With this bit all records have the batch's timestamp.
    let common = (batch.timestamp_type() == TimestampType::LogAppendTime).then_some(batch.max_timestamp);
    let base = batch.base_timestamp;
    skim(batch, limit, |record| {
        let timestamp = common.unwrap_or_else(|| base.wrapping_add(record.timestamp_delta));
        checks.see(record.has_key, timestamp);
        max_timestamp = max_timestamp.max(timestamp);
        consecutive &= record.offset_delta == expected;
        expected = expected.wrapping_add(1);
    })?;
    checks.finish()?;
    Ok(Seen {
        max_timestamp,
        consecutive,
    })
}

fn patch(
    records: &Bytes,
    batch: &Batch<'_>,
    max_timestamp: i64,
    assignment: &Assignment<'_>,
) -> Option<Validated> {
    let mut head: [u8; V2_HEADER_BYTES] = *batch.bytes().first_chunk()?;
    let mut header = *batch.header();
    let last_offset = assignment
        .next_offset
        .plus(i64::from(header.record_count))
        .plus(-1);
    header.base_offset = Offset(
        last_offset
            .get()
            .wrapping_sub(i64::from(header.last_offset_delta)),
    );
    header.partition_leader_epoch = assignment.leader_epoch;
    let rest = planted!(
        "produce-tail-stored",
        records.slice(V2_HEADER_BYTES..),
        records.slice(V2_HEADER_BYTES..batch.bytes().len())
    );

    let log_append_time = assignment.log_append_time_ms();
    let max_timestamp = log_append_time.unwrap_or(max_timestamp);
    if header.timestamp_type() != assignment.rules.timestamp_type || header.max_timestamp != max_timestamp {
        header.max_timestamp = max_timestamp;
        header.attributes &= !ATTRIBUTE_LOG_APPEND_TIME;
        if log_append_time.is_some() {
            header.attributes |= ATTRIBUTE_LOG_APPEND_TIME;
        }
        // Only here does the checksum change; this writes the high attribute byte as 0, as Kafka does.
        head = header.to_v2_bytes();
        let of_head = crc32c::crc32c(head.get(V2_CRC_FROM..)?);
        header.crc = crc32c::crc32c_append(of_head, &rest);
        head = header.to_v2_bytes();
    } else {
        head.first_chunk_mut::<8>()?
            .copy_from_slice(&header.base_offset.get().to_be_bytes());
        head.get_mut(12..16)?
            .copy_from_slice(&assignment.leader_epoch.get().to_be_bytes());
    }
    Some(Validated {
        head,
        rest,
        header,
        first_offset: assignment.next_offset,
        last_offset,
        max_timestamp,
        offset_of_max_timestamp: last_offset,
        log_append_time_ms: log_append_time.unwrap_or(NO_TIMESTAMP),
        converted_records: 0,
    })
}
