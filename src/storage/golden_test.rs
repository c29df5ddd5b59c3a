//! The small files of Kafka's own log directories: read as Kafka read them, and written again byte for byte.
#![expect(
    clippy::disallowed_methods,
    reason = "a test that reads the repository's own files"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::file_names::{self, FileKind, PartitionFolder, SegmentFile};
use super::leader_epochs::LeaderEpochs;
use super::meta_properties::MetaProperties;
use super::producer_state::{Check, Marker, Origin, ProducerEntry, ProducerStates, Verification, snapshot};
use super::transaction_index::{AbortedTransaction, ENTRY_BYTES, TransactionIndex};
use super::{checkpoint, clean_shutdown, partition_metadata};
use crate::base::disk::{Disk, Open};
use crate::base::ids::{BrokerId, Offset, ProducerId};
use crate::records::batch::Batches;

const SETS: [&str; 6] = [
    "clean",
    "follower",
    "unclean",
    "legacy",
    "torn/before",
    "torn/after",
];

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The partitions' folders, with `expected.json` where there is one.
fn partitions() -> Vec<(PathBuf, Option<Value>)> {
    let mut found = Vec::new();
    for set in SETS {
        for name in names(&golden().join(set)) {
            let path = golden().join(set).join(&name);
            if path.is_dir() {
                PartitionFolder::parse(&name).unwrap();
                let expected = std::fs::read(path.join("expected.json")).ok();
                found.push((
                    path,
                    expected.map(|bytes| serde_json::from_slice(&bytes).unwrap()),
                ));
            }
        }
    }
    assert!(found.len() >= 40, "{} golden partitions", found.len());
    found
}

fn files(folder: &Path, kind: FileKind) -> BTreeMap<Offset, PathBuf> {
    names(folder)
        .into_iter()
        .filter_map(|name| Some((SegmentFile::parse(&name).unwrap()?, name)))
        .filter(|(file, _)| file.kind == kind)
        .map(|(file, name)| {
            assert_eq!(file.to_string(), name);
            (file.offset, folder.join(name))
        })
        .collect()
}

fn number(value: &Value, field: &str) -> i64 {
    value[field]
        .as_i64()
        .unwrap_or_else(|| panic!("{field} of {value}"))
}

#[test]
fn leader_epochs_and_topic_ids() {
    let mut read = 0;
    for (folder, expected) in partitions() {
        let path = folder.join(file_names::LEADER_EPOCH_CHECKPOINT);
        if let Ok(bytes) = std::fs::read(&path) {
            let epochs = LeaderEpochs::parse(&bytes).unwrap();
            assert_eq!(epochs.to_bytes(), bytes, "{}", path.display());
            assert!(!epochs.is_changed());
            if let Some(expected) = &expected {
                let plain: Vec<_> = epochs
                    .entries()
                    .iter()
                    .map(|entry| (i64::from(entry.epoch.get()), entry.start_offset.get()))
                    .collect();
                let expected: Vec<_> = expected["leader_epochs"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|entry| (entry[0].as_i64().unwrap(), entry[1].as_i64().unwrap()))
                    .collect();
                assert_eq!(plain, expected, "{}", path.display());
                read += 1;
            }
        }
        let path = folder.join(file_names::PARTITION_METADATA);
        if let Ok(bytes) = std::fs::read(&path) {
            let (version, topic_id) = partition_metadata::parse(&bytes).unwrap();
            assert_eq!(version, 0);
            assert_eq!(partition_metadata::format(topic_id).as_bytes(), bytes);
        }
    }
    assert!(read > 30, "{read}");
}

#[test]
fn files_of_the_log_directories() {
    let mut read = 0;
    for set in SETS {
        let folder = golden().join(set);
        for name in [
            file_names::RECOVERY_POINT_CHECKPOINT,
            file_names::LOG_START_OFFSET_CHECKPOINT,
            file_names::HIGH_WATERMARK_CHECKPOINT,
            file_names::CLEANER_CHECKPOINT,
        ] {
            let Ok(bytes) = std::fs::read(folder.join(name)) else {
                continue;
            };
            let offsets = checkpoint::parse_offsets(&bytes).unwrap();
            let sorted = |bytes: &[u8]| {
                let text = String::from_utf8(bytes.to_vec()).unwrap();
                let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
                lines.sort();
                lines
            };
            if !bytes.is_empty() {
                assert_eq!(sorted(&checkpoint::format_offsets(&offsets)), sorted(&bytes));
            }
            read += offsets.len();
        }
        if let Ok(bytes) = std::fs::read(folder.join(file_names::META_PROPERTIES)) {
            let properties = MetaProperties::parse(&bytes).unwrap();
            assert!(properties.cluster_id.is_some());
            assert!(properties.broker_id >= Some(BrokerId(0)));
            assert!(properties.other.is_empty());
            let written = properties.format(0);
            assert_eq!(MetaProperties::parse(&written).unwrap(), properties);
            assert_eq!(written.len(), bytes.len());
        }
        if let Ok(bytes) = std::fs::read(folder.join(file_names::CLEAN_SHUTDOWN)) {
            assert_eq!(bytes, clean_shutdown::CONTENTS);
            read += 1;
        }
    }
    assert!(read > 100, "{read}");
}

fn aborted(value: &Value) -> AbortedTransaction {
    AbortedTransaction {
        producer_id: ProducerId(number(value, "producer_id")),
        first_offset: Offset(number(value, "first_offset")),
        last_offset: Offset(number(value, "last_offset")),
        last_stable_offset: Offset(number(value, "last_stable_offset")),
    }
}

#[test]
fn transaction_indexes() {
    let disk = Disk::system();
    let mut read = 0;
    for (folder, expected) in partitions() {
        let mut entries = Vec::new();
        for (offset, path) in files(&folder, FileKind::TransactionIndex) {
            let file = disk.open(&path, Open::Read).unwrap();
            let index = TransactionIndex::open(&file, offset).unwrap();
            let found = index.entries(&file).unwrap();
            let written: Vec<u8> = found.iter().flat_map(AbortedTransaction::encode).collect();
            assert_eq!(written, std::fs::read(&path).unwrap());
            assert_eq!(index.length(), (found.len() * ENTRY_BYTES) as u64);
            entries.extend(found);
        }
        if let Some(expected) = &expected {
            let expected: Vec<_> = expected["aborted_transactions"]
                .as_array()
                .map(|list| list.iter().map(aborted).collect())
                .unwrap_or_default();
            assert_eq!(entries, expected, "{}", folder.display());
            read += entries.len();
        }
    }
    assert!(read > 15, "{read}");
}

/// What `expected.json` says of a producer, in its order.
fn fields(producer_id: ProducerId, entry: &ProducerEntry) -> Vec<(&'static str, i64)> {
    let batch = entry.last_batch();
    vec![
        ("producer_id", producer_id.get()),
        ("producer_epoch", entry.epoch().get().into()),
        ("last_sequence", entry.last_sequence().into()),
        ("last_offset", batch.map_or(-1, |batch| batch.last_offset.get())),
        (
            "last_offset_delta",
            batch.map_or(0, |batch| batch.offset_delta.into()),
        ),
        ("timestamp", entry.last_timestamp()),
        ("coordinator_epoch", entry.coordinator_epoch().into()),
        (
            "current_txn_first_offset",
            entry.transaction_first_offset().map_or(-1, Offset::get),
        ),
    ]
}

fn expected_fields(value: &Value) -> Vec<(&'static str, i64)> {
    fields(ProducerId(0), &ProducerEntry::default())
        .into_iter()
        .map(|(field, _)| (field, number(value, field)))
        .collect()
}

#[test]
fn producer_snapshots() {
    let mut read = 0;
    for (folder, expected) in partitions() {
        let mut found = BTreeMap::new();
        for (offset, path) in files(&folder, FileKind::Snapshot) {
            let bytes = std::fs::read(&path).unwrap();
            let producers = snapshot::decode(&bytes).unwrap();
            let written = snapshot::encode(producers.iter().map(|(id, entry)| (*id, entry)));
            assert_eq!(written, bytes, "{}", path.display());
            let mut producers: Vec<_> = producers.iter().map(|(id, entry)| fields(*id, entry)).collect();
            producers.sort();
            read += producers.len();
            found.insert(offset.get(), producers);
        }
        if let Some(expected) = &expected {
            let expected: BTreeMap<_, Vec<_>> = expected["producer_snapshots"]
                .as_array()
                .unwrap()
                .iter()
                .map(|snapshot| {
                    let producers = snapshot["producers"].as_array().unwrap();
                    (
                        number(snapshot, "offset"),
                        producers.iter().map(expected_fields).collect(),
                    )
                })
                .collect();
            assert_eq!(found, expected, "{}", folder.display());
        }
    }
    assert!(read > 50, "{read}");
}

/// Replays each whole log from its first batch: at each snapshot's offset the state must be what Kafka wrote there, and
/// the aborted transactions those of its index.
#[test]
fn replayed_logs_give_kafkas_snapshots_and_indexes() {
    let (mut snapshots, mut transactions) = (0, 0);
    for (folder, expected) in partitions() {
        let Some(expected) = expected else { continue };
        // Compaction took batches away that the snapshots still know of, and so did deletion.
        let name = folder.file_name().unwrap().to_str().unwrap();
        let compacted = name.starts_with("__") || name == "g-compact-0" || name == "g-tomb-0";
        if compacted || number(&expected["segments"][0], "base_offset") > 0 {
            continue;
        }
        let mut states = ProducerStates::new(Offset::ZERO);
        let mut found = Vec::new();
        for segment in expected["segments"].as_array().unwrap() {
            let path = folder.join(file_names::segment_file(
                Offset(number(segment, "base_offset")),
                FileKind::Log,
            ));
            let log = std::fs::read(path).unwrap();
            for (batch, json) in Batches::new(&log).zip(segment["batches"].as_array().unwrap()) {
                let batch = batch.unwrap();
                snapshots += compare_snapshot(&states, batch.base_offset, &expected, name);
                let record = &json["records"][0];
                let marker = record["control_type"].as_str().map(|kind| Marker {
                    is_abort: kind == "ABORT",
                    coordinator_epoch: number(record, "coordinator_epoch") as i32,
                });
                // The producers were checked as clients by Kafka: our checks must find nothing either.
                let origin = if marker.is_some() {
                    Origin::Coordinator
                } else {
                    Origin::Client
                };
                let check = states
                    .check(&batch, marker, origin, Verification::Disabled)
                    .unwrap();
                let Check::Append(update) = check else {
                    panic!("{name}: {check:?}")
                };
                if let Some(completed) = states.apply(update, usize::MAX) {
                    found.extend(states.aborted(&completed));
                    states.complete(&completed);
                    transactions += 1;
                }
                states.set_end_offset(batch.next_offset());
            }
        }
        snapshots += compare_snapshot(&states, states.end_offset(), &expected, name);
        let aborted: Vec<_> = expected["aborted_transactions"]
            .as_array()
            .map(|list| list.iter().map(aborted).collect())
            .unwrap_or_default();
        assert_eq!(found, aborted, "{name}");
        if name == "g-open-0" {
            assert_eq!(states.first_undecided_offset(), Some(Offset(3)));
            states.on_high_watermark(Offset(11));
            assert_eq!(states.first_unstable_offset(), Some(Offset(3)));
        }
    }
    assert!(snapshots > 30, "{snapshots}");
    assert!(transactions > 30, "{transactions}");
}

fn compare_snapshot(states: &ProducerStates, offset: Offset, expected: &Value, name: &str) -> usize {
    let snapshots = expected["producer_snapshots"].as_array().unwrap();
    let Some(snapshot) = snapshots
        .iter()
        .find(|snapshot| number(snapshot, "offset") == offset.get())
    else {
        return 0;
    };
    let found: Vec<_> = states
        .producers()
        .map(|(producer_id, entry)| fields(producer_id, entry))
        .collect();
    let producers = snapshot["producers"].as_array().unwrap();
    let expected: Vec<_> = producers.iter().map(expected_fields).collect();
    assert_eq!(found, expected, "{name} at {offset}");
    1
}
