//! The records of a batch.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::report::{DumpError, Field, Report};
use crate::base::disk::File;
use crate::base::format::TimestampType;
use crate::records::batch::{Batch, NO_TIMESTAMP};
use crate::records::control::{ControlType, EndTransactionMarker};
use crate::records::record::{Record, RecordsError};
use crate::storage::segment::walk::FoundBatch;

/// The records of a larger batch are not shown: a batch is read as a whole.
const MAX_BATCH_BYTES: u32 = 256 << 20;

pub(super) fn show(file: &File, found: &FoundBatch, report: &mut Report<'_>) -> Result<(), DumpError> {
    let at = Some(u64::from(found.position));
    if found.header.size_in_bytes > MAX_BATCH_BYTES {
        return report.problem(at, "the batch is too large to show its records");
    }
    let mut bytes = vec![0; found.header.size_in_bytes as usize];
    file.read_exact_at(&mut bytes, u64::from(found.position))
        .map_err(DumpError::input)?;
    let Ok(Some(batch)) = Batch::parse(&bytes) else {
        return report.problem(at, "the batch changed while it was read");
    };
    match show_all(&batch, report)? {
        Ok(()) => Ok(()),
        Err(error) => report.problem(at, format_args!("its records cannot be read: {error}")),
    }
}

/// The outer error is the output's, the inner one the batch's.
fn show_all(batch: &Batch<'_>, report: &mut Report<'_>) -> Result<Result<(), RecordsError>, DumpError> {
    let mut records = match batch.records(None) {
        Ok(records) => records,
        Err(error) => return Ok(Err(error)),
    };
    let mut largest_timestamp = NO_TIMESTAMP;
    let mut count = 0;
    loop {
        let record = match records.next() {
            Ok(Some(record)) => record,
            Ok(None) => break,
            Err(error) => return Ok(Err(error)),
        };
        largest_timestamp = largest_timestamp.max(record.timestamp);
        count += 1;
        if let Err(error) = show_record(batch, &record, report)? {
            return Ok(Err(error));
        }
    }
    // What compaction emptied keeps its timestamp.
    let is_true = largest_timestamp == batch.max_timestamp
        || count == 0
        || batch.magic == 0
        || batch.timestamp_type() == TimestampType::LogAppendTime;
    if !is_true {
        report.problem(
            None,
            format_args!(
                "the batch with offset {} has maximum timestamp {}, its records {largest_timestamp}",
                batch.base_offset, batch.max_timestamp
            ),
        )?;
    }
    Ok(Ok(()))
}

fn show_record(
    batch: &Batch<'_>,
    record: &Record<'_>,
    report: &mut Report<'_>,
) -> Result<Result<(), RecordsError>, DumpError> {
    let mut fields: Vec<Field<'_>> = vec![
        ("offset", record.offset.get().into()),
        ("timestamp", record.timestamp.into()),
    ];
    if batch.is_control() {
        match control(record) {
            Ok(control) => fields.extend(control),
            Err(error) => return Ok(Err(error)),
        }
    } else {
        fields.push(text("key", "key_base64", record.key));
        fields.push(text("value", "value_base64", record.value));
        if !record.headers.is_empty() {
            let headers = record.headers.map(|(key, value)| {
                let (key, value) = (
                    text("key", "key_base64", Some(key)),
                    text("value", "value_base64", value),
                );
                json!({ key.0: key.1, value.0: value.1 })
            });
            fields.push(("headers", headers.collect()));
        }
    }
    report.line("record", &fields).map(Ok)
}

fn control(record: &Record<'_>) -> Result<Vec<Field<'static>>, RecordsError> {
    Ok(match EndTransactionMarker::parse(record)? {
        Some(marker) => vec![
            (
                "control_type",
                if marker.commit { "COMMIT" } else { "ABORT" }.into(),
            ),
            ("coordinator_epoch", marker.coordinator_epoch.into()),
        ],
        None => vec![("control_type", ControlType::parse(record.key)?.id().into())],
    })
}

/// Bytes as text where that can be read, otherwise in base64, and then under the other name.
fn text<'a>(name: &'a str, base64_name: &'a str, bytes: Option<&[u8]>) -> Field<'a> {
    let Some(bytes) = bytes else {
        return (name, Value::Null);
    };
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(|c| !c.is_control() || c == '\n' || c == '\t') => (name, text.into()),
        _ => (base64_name, STANDARD.encode(bytes).into()),
    }
}
