//! OffsetCommit: what is written for it (`GroupMetadataManager.storeOffsets`, `GroupCoordinatorAdapter.commitOffsets`).

use super::OffsetTable;
use crate::base::error_code::ErrorCode;
use crate::coordinator::NewRecord;
use crate::group::command::{Commit, CommitPartition};
use crate::group::record::OffsetValue;
use crate::group::record::key::offset_key;
use crate::group::settings::GroupSettings;

/// The records of a commit that the group allows, and each partition's error so far.
pub(in crate::group) fn records(
    commit: &Commit,
    settings: &GroupSettings,
    now_ms: i64,
) -> (Vec<NewRecord>, Vec<ErrorCode>) {
    let mut records = Vec::with_capacity(commit.offsets.len());
    let mut errors = Vec::with_capacity(commit.offsets.len());
    for partition in &commit.offsets {
        if is_too_long(partition, settings.offset_metadata_max_bytes) {
            errors.push(ErrorCode::OffsetMetadataTooLarge);
            continue;
        }
        errors.push(ErrorCode::None);
        records.push(NewRecord {
            key: offset_key(&commit.group_id, &partition.topic, partition.partition),
            value: Some(value(partition, commit.retention_ms, now_ms).encode()),
        });
    }
    (records, errors)
}

fn value(partition: &CommitPartition, retention_ms: Option<i64>, now_ms: i64) -> OffsetValue {
    OffsetValue {
        offset: partition.offset,
        leader_epoch: partition.leader_epoch,
        metadata: partition.metadata.clone().unwrap_or_default(),
        commit_timestamp_ms: partition.commit_timestamp_ms.unwrap_or(now_ms),
        expire_timestamp_ms: retention_ms.map(|retention_ms| now_ms.saturating_add(retention_ms)),
    }
}

/// Kafka's "bytes" are the units that Java counts a string in.
fn is_too_long(partition: &CommitPartition, most: usize) -> bool {
    partition
        .metadata
        .as_ref()
        .is_some_and(|text| text.as_bytes().len() > most && text.encode_utf16().count() > most)
}

impl OffsetTable {
    /// True when the table would take more memory with this commit than without.
    pub fn grows_with(&self, commit: &Commit) -> bool {
        let is_new = |partition: &CommitPartition| {
            let known = self.get(&commit.group_id, &partition.topic, partition.partition);
            let offered = partition
                .metadata
                .as_ref()
                .map_or(0, |text| text.as_bytes().len());
            known.is_none_or(|known| known.value.metadata.as_bytes().len() < offered)
        };
        commit.offsets.iter().any(is_new)
    }
}
