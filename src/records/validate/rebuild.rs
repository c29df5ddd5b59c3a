//! Records that cannot be stored as they came become one v2 batch: old formats, another codec, offsets out of order.
//!
//! Headers, keys, values and timestamps are kept, producer fields are those of the first batch, offsets are new. The
//! control bit and a delete horizon are not carried over.

use bytes::Bytes;

use super::batch_checks::{check_format, too_large};
use super::record_checks::RecordChecks;
use super::{Assignment, Validated, ValidationError};
use crate::base::format::Codec;
use crate::records::batch::{Batch, Batches, NO_TIMESTAMP, V2_HEADER_BYTES};
use crate::records::build::{BatchBuilder, BatchOptions, BuildError};
use crate::records::record::RecordsError;

pub(super) fn assign(
    records: &Bytes,
    first: &Batch<'_>,
    target: Codec,
    assignment: &Assignment<'_>,
) -> Result<Validated, ValidationError> {
    let mut rebuilding = Rebuilding {
        builder: BatchBuilder::new(BatchOptions {
            base_offset: assignment.next_offset,
            codec: target,
            levels: assignment.rules.levels,
            log_append_time_ms: assignment.log_append_time_ms(),
            producer_id: first.producer_id,
            producer_epoch: first.producer_epoch,
            base_sequence: first.base_sequence,
            is_transactional: first.is_transactional(),
            is_control: false,
            delete_horizon_ms: None,
            partition_leader_epoch: assignment.leader_epoch,
            most_bytes: assignment.rules.max_message_bytes as usize,
        }),
        failed: None,
        behind: 0,
    };
    // One after the other, as Kafka does: what is wrong with an earlier message is told before a later one's format.
    for batch in Batches::new(records) {
        let batch = batch.map_err(RecordsError::Corrupt)?;
        check_format(&batch, first)?;
        rebuilding.add(&batch, assignment)?;
    }
    rebuilding.finish(assignment)
}

/// Behind what makes the batch too large so many records are still checked, because what is wrong with a record weighs more.
const CHECKED_BEHIND: u32 = 10_000;

struct Rebuilding {
    builder: BatchBuilder,
    /// Why nothing more is written.
    failed: Option<BuildError>,
    behind: u32,
}

impl Rebuilding {
    fn add(&mut self, batch: &Batch<'_>, assignment: &Assignment<'_>) -> Result<(), ValidationError> {
        let mut checks = RecordChecks::new(assignment, batch);
        let mut records = batch.records(None)?;
        while let Some(record) = records.next()? {
            if record.magic != batch.magic {
                checks.fail_magic(record.magic, batch.magic);
                continue;
            }
            checks.see(record.key.is_some(), record.timestamp);
            if let Some(error) = &self.failed {
                self.behind += 1;
                if self.behind > CHECKED_BEHIND && checks.are_passed() {
                    return Err(error.clone().into());
                }
            }
            if checks.are_passed() && self.failed.is_none() {
                let offset = assignment
                    .next_offset
                    .plus(i64::from(self.builder.record_count()));
                self.failed = self
                    .builder
                    .append_at(offset, record.timestamp, record.key, record.value, record.headers)
                    .err();
            }
        }
        checks.finish()
    }

    fn finish(self, assignment: &Assignment<'_>) -> Result<Validated, ValidationError> {
        if let Some(error) = self.failed {
            return Err(error.into());
        }
        let converted_records = self.builder.record_count() as u32;
        let (header, bytes) = self.builder.build()?;
        let Some(head) = bytes.first_chunk::<V2_HEADER_BYTES>().copied() else {
            return Err(too_large(header.size_in_bytes, assignment.rules));
        };
        Ok(Validated {
            head,
            rest: bytes.slice(V2_HEADER_BYTES..),
            header,
            first_offset: assignment.next_offset,
            last_offset: header.last_offset(),
            max_timestamp: header.max_timestamp,
            offset_of_max_timestamp: header.last_offset(),
            log_append_time_ms: assignment.log_append_time_ms().unwrap_or(NO_TIMESTAMP),
            converted_records,
        })
    }
}
