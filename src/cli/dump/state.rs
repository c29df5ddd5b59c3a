//! Producer snapshots and checkpoints.

use std::collections::BTreeSet;
use std::path::Path;

use super::report::{DumpError, Report};
use crate::base::disk::Disk;
use crate::base::ids::Offset;
use crate::storage::checkpoint::{self, MAX_CHECKPOINT_BYTES};
use crate::storage::file_names::SegmentFile;
use crate::storage::leader_epochs::LeaderEpochs;
use crate::storage::producer_state::snapshot::{self, MAX_SNAPSHOT_BYTES};

fn read(disk: &Disk, path: &Path, limit: usize) -> Result<Vec<u8>, DumpError> {
    disk.read(path, limit).map_err(DumpError::input)
}

pub(super) fn snapshot(
    disk: &Disk,
    path: &Path,
    segment: SegmentFile,
    report: &mut Report<'_>,
) -> Result<(), DumpError> {
    let producers = snapshot::decode(&read(disk, path, MAX_SNAPSHOT_BYTES)?).map_err(DumpError::input)?;
    let mut seen = BTreeSet::new();
    for (producer_id, entry) in &producers {
        let batch = entry.last_batch();
        let first_offset = entry.transaction_first_offset().unwrap_or(Offset::NONE);
        report.line(
            "producer",
            &[
                ("producer_id", producer_id.get().into()),
                ("producer_epoch", entry.epoch().get().into()),
                ("last_sequence", entry.last_sequence().into()),
                (
                    "last_offset",
                    batch.map_or(-1, |batch| batch.last_offset.get()).into(),
                ),
                (
                    "last_offset_delta",
                    batch.map_or(0, |batch| batch.offset_delta).into(),
                ),
                ("timestamp", entry.last_timestamp().into()),
                ("coordinator_epoch", entry.coordinator_epoch().into()),
                ("current_txn_first_offset", first_offset.get().into()),
            ],
        )?;
        if !seen.insert(*producer_id) {
            report.problem(None, format_args!("producer {producer_id} is there twice"))?;
        }
        let last = batch
            .map_or(Offset::NONE, |batch| batch.last_offset)
            .max(first_offset);
        if last >= segment.offset {
            report.problem(
                None,
                format_args!("producer {producer_id} has offset {last}, behind the snapshot's own"),
            )?;
        }
    }
    report.line("summary", &[("producers", producers.len().into())])
}

pub(super) fn leader_epochs(disk: &Disk, path: &Path, report: &mut Report<'_>) -> Result<(), DumpError> {
    let bytes = read(disk, path, MAX_CHECKPOINT_BYTES)?;
    let epochs = LeaderEpochs::parse(&bytes).map_err(DumpError::input)?;
    for entry in epochs.entries() {
        report.line(
            "epoch",
            &[
                ("epoch", entry.epoch.get().into()),
                ("start_offset", entry.start_offset.get().into()),
            ],
        )?;
    }
    if epochs.is_changed() {
        report.problem(None, "epochs and offsets do not ascend from line to line")?;
    }
    report.line("summary", &[("epochs", epochs.entries().len().into())])
}

pub(super) fn offsets(disk: &Disk, path: &Path, report: &mut Report<'_>) -> Result<(), DumpError> {
    let bytes = read(disk, path, MAX_CHECKPOINT_BYTES)?;
    let offsets = checkpoint::parse_offsets(&bytes).map_err(DumpError::input)?;
    for (partition, offset) in &offsets {
        report.line(
            "partition",
            &[
                ("topic", (*partition.topic).into()),
                ("partition", partition.partition.into()),
                ("offset", offset.get().into()),
            ],
        )?;
    }
    report.line("summary", &[("partitions", offsets.len().into())])
}
