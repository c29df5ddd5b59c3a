//! `.log` files: every batch, its checksum, and on demand its records.

use std::path::Path;
use std::sync::Arc;

use super::records;
use super::report::{DumpError, Field, Report};
use crate::base::disk::{Disk, File, Open};
use crate::base::format::TimestampType;
use crate::base::ids::Offset;
use crate::records::batch::BatchHeader;
use crate::storage::file_names::SegmentFile;
use crate::storage::segment::LARGEST_RELATIVE_OFFSET;
use crate::storage::segment::walk::{FoundBatch, HeaderWalk, WalkError};

/// How much is read at a time where it is only looked through.
const CHUNK_BYTES: usize = 64 * 1024;

pub(super) fn log(
    disk: &Disk,
    path: &Path,
    segment: SegmentFile,
    with_records: bool,
    report: &mut Report<'_>,
) -> Result<(), DumpError> {
    let file = Arc::new(disk.open(path, Open::Read).map_err(DumpError::input)?);
    let length = file.length().map_err(DumpError::input)?;
    if length > i32::MAX as u64 {
        report.problem(
            None,
            format_args!("{length} bytes are more than a segment can have"),
        )?;
    }
    let end = u32::try_from(length).unwrap_or(u32::MAX);
    let mut walk = HeaderWalk::new(Arc::clone(&file), 0, end);
    let mut batches: u64 = 0;
    let mut before: Option<BatchHeader> = None;
    loop {
        match walk.next_batch() {
            Ok(Some(batch)) => {
                show(&batch, report)?;
                check(&batch, before.as_ref(), segment.offset, report)?;
                check_crc(&file, &batch, report)?;
                if with_records {
                    records::show(&file, &batch, report)?;
                }
                batches += 1;
                before = Some(batch.header);
            }
            Ok(None) => break,
            Err(WalkError::Io(error)) => return Err(DumpError::input(error)),
            Err(WalkError::Corrupt { position, reason }) => {
                report.problem(Some(position.into()), reason)?;
                break;
            }
        }
    }
    check_tail(&file, walk.position().into(), length, report)?;
    report.line(
        "summary",
        &[
            ("batches", batches.into()),
            ("bytes", walk.position().into()),
            (
                "next_offset",
                before
                    .map_or(segment.offset, |last| last.next_offset())
                    .get()
                    .into(),
            ),
        ],
    )
}

fn show(batch: &FoundBatch, report: &mut Report<'_>) -> Result<(), DumpError> {
    let header = &batch.header;
    let is_set = header.magic < 2 && header.is_compressed();
    let timestamp_type = match header.timestamp_type() {
        _ if header.magic == 0 => "NoTimestampType",
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    };
    let mut fields: Vec<Field<'_>> = vec![
        ("position", batch.position.into()),
        ("size", header.size_in_bytes.into()),
        // Of a compressed set of an old format neither is known without its records.
        (
            "base_offset",
            (!is_set).then_some(header.base_offset.get()).into(),
        ),
        ("last_offset", header.last_offset().get().into()),
        ("record_count", (!is_set).then_some(header.record_count).into()),
        ("magic", header.magic.into()),
        (
            "partition_leader_epoch",
            header.partition_leader_epoch.get().into(),
        ),
        ("crc", header.crc.into()),
        (
            "codec",
            header.codec().map_or("unknown", |codec| codec.name()).into(),
        ),
        ("timestamp_type", timestamp_type.into()),
        ("max_timestamp", header.max_timestamp.into()),
        ("producer_id", header.producer_id.get().into()),
        ("producer_epoch", header.producer_epoch.get().into()),
        ("base_sequence", header.base_sequence.into()),
        ("last_sequence", header.last_sequence().into()),
        ("transactional", header.is_transactional().into()),
        ("control", header.is_control().into()),
    ];
    fields.extend(
        header
            .delete_horizon_ms()
            .map(|horizon| ("delete_horizon_ms", horizon.into())),
    );
    report.line("batch", &fields)
}

/// What holds between the header, the one before it, and the segment. Gaps are no problem: compaction leaves them.
fn check(
    batch: &FoundBatch,
    before: Option<&BatchHeader>,
    segment_offset: Offset,
    report: &mut Report<'_>,
) -> Result<(), DumpError> {
    let header = &batch.header;
    let at = Some(u64::from(batch.position));
    if header.codec().is_none() {
        report.problem(at, "the codec is unknown")?;
    }
    if header.last_offset() < header.base_offset {
        report.problem(at, "the batch ends before it begins")?;
    }
    if header.base_offset < segment_offset {
        report.problem(
            at,
            format_args!("offset {} is below the segment's", header.base_offset),
        )?;
    } else if header.last_offset().since(segment_offset) > LARGEST_RELATIVE_OFFSET {
        report.problem(
            at,
            format_args!("offset {} is too far from the segment's", header.last_offset()),
        )?;
    }
    if let Some(before) = before
        && header.base_offset <= before.last_offset()
    {
        report.problem(
            at,
            format_args!("offset {} follows {}", header.base_offset, before.last_offset()),
        )?;
    }
    Ok(())
}

/// Compares the checksum piece by piece: a batch may be large.
fn check_crc(file: &File, batch: &FoundBatch, report: &mut Report<'_>) -> Result<(), DumpError> {
    const V2_FROM: u64 = 21;
    const LEGACY_FROM: u64 = 16;
    let start = u64::from(batch.position);
    let end = u64::from(batch.end());
    let computed = if batch.header.magic == 2 {
        let mut crc = 0;
        look_through(file, start + V2_FROM, end, |bytes| {
            crc = crc32c::crc32c_append(crc, bytes)
        })?;
        crc
    } else {
        let mut crc = crc32fast::Hasher::new();
        look_through(file, start + LEGACY_FROM, end, |bytes| crc.update(bytes))?;
        crc.finalize()
    };
    if computed != batch.header.crc {
        report.problem(
            Some(start),
            format_args!(
                "the checksum of the batch with offset {} is {}, its bytes give {computed}",
                batch.header.base_offset, batch.header.crc
            ),
        )?;
    }
    Ok(())
}

fn check_tail(file: &File, from: u64, length: u64, report: &mut Report<'_>) -> Result<(), DumpError> {
    if from >= length {
        return Ok(());
    }
    let mut zeros = true;
    look_through(file, from, length, |bytes| {
        zeros &= bytes.iter().all(|byte| *byte == 0)
    })?;
    let count = length - from;
    let what = if zeros {
        "zero bytes"
    } else {
        "bytes that are no whole batch"
    };
    report.problem(Some(from), format_args!("the log ends with {count} {what}"))
}

fn look_through(file: &File, from: u64, to: u64, mut look: impl FnMut(&[u8])) -> Result<(), DumpError> {
    let mut buffer =
        vec![0; CHUNK_BYTES.min(usize::try_from(to.saturating_sub(from)).unwrap_or(CHUNK_BYTES))];
    let mut position = from;
    while position < to {
        let wanted = buffer
            .len()
            .min(usize::try_from(to - position).unwrap_or(usize::MAX));
        let chunk = buffer.get_mut(..wanted).unwrap_or_default();
        file.read_exact_at(chunk, position).map_err(DumpError::input)?;
        look(chunk);
        position += wanted as u64;
    }
    Ok(())
}
