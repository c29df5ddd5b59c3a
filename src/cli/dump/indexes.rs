//! Index files, held against the `.log` beside them.

use std::path::Path;

use super::companion::Companion;
use super::report::{DumpError, Report};
use crate::base::disk::{Disk, File, Open};
use crate::base::ids::Offset;
use crate::storage::file_names::SegmentFile;
use crate::storage::index::{Entries, Entry};
use crate::storage::offset_index::OffsetEntry;
use crate::storage::segment::LARGEST_RELATIVE_OFFSET;
use crate::storage::time_index::TimeEntry;
use crate::storage::transaction_index::{AbortedTransaction, ENTRY_BYTES};

fn open(disk: &Disk, path: &Path) -> Result<File, DumpError> {
    disk.open(path, Open::Read).map_err(DumpError::input)
}

/// How many entries there are before the slots that were never used: a preallocated index ends in zeros until it is
/// closed. An entry of zeros with others behind it counts as one.
fn used<E: Entry>(entries: &Entries<'_, E>) -> Result<u32, DumpError> {
    let zeros = E::take(&[0; 16]);
    let mut used = entries.count();
    while let Some(last) = used.checked_sub(1) {
        if entries.get(last).map_err(DumpError::input)? != zeros {
            break;
        }
        used = last;
    }
    Ok(used)
}

fn check_length(file: &File, entry_bytes: u64, report: &mut Report<'_>) -> Result<(), DumpError> {
    let length = file.length().map_err(DumpError::input)?;
    let rest = length % entry_bytes;
    if rest > 0 {
        report.problem(
            Some(length - rest),
            format_args!("{rest} bytes behind the last entry"),
        )?;
    }
    Ok(())
}

fn check_relative(relative: u32, at: u64, report: &mut Report<'_>) -> Result<(), DumpError> {
    if i64::from(relative) > LARGEST_RELATIVE_OFFSET {
        report.problem(Some(at), "the relative offset is negative")?;
    }
    Ok(())
}

pub(super) fn offset_index(
    disk: &Disk,
    path: &Path,
    segment: SegmentFile,
    report: &mut Report<'_>,
) -> Result<(), DumpError> {
    let file = open(disk, path)?;
    let mut log = Companion::open(disk, path, segment, report)?;
    let entries = Entries::<OffsetEntry>::of_file(&file).map_err(DumpError::input)?;
    let used = used(&entries)?;
    let mut before: Option<OffsetEntry> = None;
    for number in 0..used {
        let Some(entry) = entries.get(number).map_err(DumpError::input)? else {
            break;
        };
        let at = u64::from(number) * OffsetEntry::BYTES as u64;
        let offset = entry.offset(segment.offset);
        report.line(
            "offset",
            &[
                ("offset", offset.get().into()),
                ("position", entry.position.into()),
            ],
        )?;
        check_relative(entry.relative_offset, at, report)?;
        let ascends = before.is_none_or(|before| {
            before.relative_offset < entry.relative_offset && before.position < entry.position
        });
        if !ascends {
            report.problem(Some(at), format_args!("offset {offset} does not ascend"))?;
        } else if let Some(log) = &mut log {
            check_position(log, offset, entry.position, at, report)?;
        }
        before = Some(entry);
    }
    check_length(&file, OffsetEntry::BYTES as u64, report)?;
    summary(used, entries.count() - used, report)
}

fn check_position(
    log: &mut Companion,
    offset: Offset,
    position: u32,
    at: u64,
    report: &mut Report<'_>,
) -> Result<(), DumpError> {
    let Some(batch) = log.at_position(position, report)? else {
        return report.problem(
            Some(at),
            format_args!("position {position} is behind the log's last batch"),
        );
    };
    let last_offset = batch.header.last_offset();
    if batch.position != position {
        return report.problem(Some(at), format_args!("no batch starts at position {position}"));
    }
    if last_offset == offset {
        return Ok(());
    }
    // Kafka 3.9.0 and before: an entry for a set of batches, with the offset of the last and the position of the first.
    match log.at_offset(offset, report)? {
        Some(later) if later.header.last_offset() == offset && last_offset < offset => report.line(
            "note",
            &[(
                "note",
                format!("offset {offset} ends a later batch than the one at {position}: written before Kafka 3.9.2")
                    .into(),
            )],
        ),
        _ => report.problem(
            Some(at),
            format_args!("the batch at position {position} ends at offset {last_offset}, not at {offset}"),
        ),
    }
}

pub(super) fn time_index(
    disk: &Disk,
    path: &Path,
    segment: SegmentFile,
    report: &mut Report<'_>,
) -> Result<(), DumpError> {
    let file = open(disk, path)?;
    let mut log = Companion::open(disk, path, segment, report)?;
    let entries = Entries::<TimeEntry>::of_file(&file).map_err(DumpError::input)?;
    let used = used(&entries)?;
    let mut before: Option<TimeEntry> = None;
    for number in 0..used {
        let Some(entry) = entries.get(number).map_err(DumpError::input)? else {
            break;
        };
        let at = u64::from(number) * TimeEntry::BYTES as u64;
        let offset = entry.offset(segment.offset);
        report.line(
            "time",
            &[
                ("timestamp", entry.timestamp_ms.into()),
                ("offset", offset.get().into()),
            ],
        )?;
        check_relative(entry.relative_offset, at, report)?;
        let ascends = before.is_none_or(|before| {
            before.timestamp_ms < entry.timestamp_ms && before.relative_offset <= entry.relative_offset
        });
        if !ascends {
            report.problem(
                Some(at),
                format_args!("timestamp {} does not ascend", entry.timestamp_ms),
            )?;
        } else if let Some(log) = &mut log {
            match log.at_offset(offset, report)? {
                Some(batch) if batch.header.last_offset() != offset => {
                    report.problem(Some(at), format_args!("no batch ends at offset {offset}"))?;
                }
                Some(batch) if batch.header.max_timestamp != entry.timestamp_ms => report.problem(
                    Some(at),
                    format_args!(
                        "the batch that ends at offset {offset} has timestamp {}, not {}",
                        batch.header.max_timestamp, entry.timestamp_ms
                    ),
                )?,
                Some(_) => {}
                None => report.problem(
                    Some(at),
                    format_args!("offset {offset} is behind the log's last batch"),
                )?,
            }
        }
        before = Some(entry);
    }
    check_length(&file, TimeEntry::BYTES as u64, report)?;
    summary(used, entries.count() - used, report)
}

pub(super) fn transaction_index(
    disk: &Disk,
    path: &Path,
    segment: SegmentFile,
    report: &mut Report<'_>,
) -> Result<(), DumpError> {
    let file = open(disk, path)?;
    let mut log = Companion::open(disk, path, segment, report)?;
    let count = file.length().map_err(DumpError::input)? / ENTRY_BYTES as u64;
    let mut before: Option<Offset> = None;
    for number in 0..count {
        let at = number * ENTRY_BYTES as u64;
        let mut bytes = [0; ENTRY_BYTES];
        file.read_exact_at(&mut bytes, at).map_err(DumpError::input)?;
        let Some(entry) = AbortedTransaction::decode(&bytes) else {
            report.problem(Some(at), "the entry has an unknown version")?;
            continue;
        };
        report.line(
            "aborted",
            &[
                ("producer_id", entry.producer_id.get().into()),
                ("first_offset", entry.first_offset.get().into()),
                ("last_offset", entry.last_offset.get().into()),
                ("last_stable_offset", entry.last_stable_offset.get().into()),
            ],
        )?;
        if entry.first_offset > entry.last_offset || entry.last_stable_offset > entry.last_offset.plus(1) {
            report.problem(Some(at), "the offsets contradict each other")?;
        }
        if entry.last_offset < segment.offset || before >= Some(entry.last_offset) {
            report.problem(
                Some(at),
                format_args!("offset {} does not ascend", entry.last_offset),
            )?;
        } else if let Some(log) = &mut log {
            let batch = log.at_offset(entry.last_offset, report)?;
            let is_marker = batch.is_some_and(|batch| {
                batch.header.is_control()
                    && batch.header.producer_id == entry.producer_id
                    && batch.header.last_offset() == entry.last_offset
            });
            if !is_marker {
                report.problem(
                    Some(at),
                    format_args!(
                        "offset {} holds no marker of producer {}",
                        entry.last_offset, entry.producer_id
                    ),
                )?;
            }
        }
        before = Some(entry.last_offset);
    }
    check_length(&file, ENTRY_BYTES as u64, report)?;
    report.line("summary", &[("entries", count.into())])
}

fn summary(used: u32, unused: u32, report: &mut Report<'_>) -> Result<(), DumpError> {
    report.line(
        "summary",
        &[("entries", used.into()), ("unused_slots", unused.into())],
    )
}
