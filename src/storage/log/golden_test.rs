//! Every golden partition, opened and read as its `expected.json` says; the damaged ones recovered as Kafka 3.9.2 did.
#![expect(
    clippy::disallowed_methods,
    reason = "a test that reads the repository's own files"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::testing::*;
use super::{Bound, LoadOptions, Log};
use crate::base::ids::{Offset, TopicPartition};
use crate::config::LogConfig;
use crate::records::batch::Batch;
use crate::storage::file_names::{
    HIGH_WATERMARK_CHECKPOINT, LEADER_EPOCH_CHECKPOINT, LOG_START_OFFSET_CHECKPOINT,
};
use crate::storage::leader_epochs::LeaderEpochs;

struct Golden {
    set: &'static str,
    name: String,
    path: PathBuf,
    expected: Value,
}

fn goldens(sets: &[&'static str]) -> Vec<Golden> {
    let mut found = Vec::new();
    for set in sets {
        for entry in std::fs::read_dir(golden(set)).unwrap() {
            let path = entry.unwrap().path();
            let Ok(expected) = std::fs::read(path.join("expected.json")) else {
                continue;
            };
            found.push(Golden {
                set,
                name: path.file_name().unwrap().to_string_lossy().into_owned(),
                expected: serde_json::from_slice(&expected).unwrap(),
                path,
            });
        }
    }
    assert!(!found.is_empty());
    found.sort_by(|a, b| (a.set, &a.name).cmp(&(b.set, &b.name)));
    found
}

fn config(name: &str) -> LogConfig {
    let defaults = LogConfig {
        segment_index_bytes: 4096,
        index_interval_bytes: 256,
        ..LogConfig::default()
    };
    match name {
        _ if name.starts_with("__") => LogConfig {
            compact: true,
            delete: false,
            segment_index_bytes: 65536,
            ..LogConfig::default()
        },
        "g-seg-0" => LogConfig {
            segment_bytes: 2048,
            ..defaults
        },
        "g-txn-0" => LogConfig {
            index_interval_bytes: 1,
            ..defaults
        },
        "g-kill-0" => LogConfig {
            segment_bytes: 3000,
            segment_index_bytes: 512,
            ..defaults
        },
        "g-compact-0" | "g-tomb-0" => LogConfig {
            compact: true,
            delete: false,
            ..defaults
        },
        _ => defaults,
    }
}

impl Golden {
    fn offset(&self, set: &str, file: &str) -> Offset {
        let (topic, number) = self.name.rsplit_once('-').unwrap();
        let partition = TopicPartition::new(topic, number.parse().unwrap());
        checkpoint(set, file)
            .get(&partition)
            .copied()
            .unwrap_or(Offset(0))
    }

    fn options(&self, clean: bool) -> LoadOptions {
        LoadOptions {
            clean,
            recovery_point: Offset(0),
            log_start_offset: self.offset(self.set, LOG_START_OFFSET_CHECKPOINT),
            high_watermark: self.offset(self.set, HIGH_WATERMARK_CHECKPOINT),
            ..load_options(&config(&self.name))
        }
    }

    fn batches(&self) -> impl Iterator<Item = &Value> {
        let segments = self.expected["segments"].as_array().unwrap();
        segments
            .iter()
            .flat_map(|segment| segment["batches"].as_array().unwrap())
    }
}

fn int(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn ints(value: &Value) -> Vec<i64> {
    value.as_array().unwrap().iter().map(int).collect()
}

/// The offsets that a consumer hands to its application.
fn consumed(log: &Log, bound: Bound) -> Vec<i64> {
    let mut aborted: Vec<(i64, i64, i64)> = log
        .aborted_transactions(log.log_start_offset(), log.log_end_offset())
        .unwrap()
        .iter()
        .map(|one| {
            (
                one.producer_id.get(),
                one.first_offset.get(),
                one.last_offset.get(),
            )
        })
        .collect();
    if bound != Bound::LastStableOffset {
        aborted.clear();
    }
    let mut offsets = Vec::new();
    for bytes in read_all(log, log.log_start_offset(), bound) {
        let batch = Batch::parse(&bytes).unwrap().unwrap();
        let is_aborted = aborted.iter().any(|(producer, first, last)| {
            batch.is_transactional()
                && *producer == batch.producer_id.get()
                && (*first..*last).contains(&batch.base_offset.get())
        });
        if batch.is_control() || is_aborted {
            continue;
        }
        let mut records = batch.records(None).unwrap();
        while let Some(record) = records.next().unwrap() {
            if record.offset >= log.log_start_offset() {
                offsets.push(record.offset.get());
            }
        }
    }
    offsets
}

/// An epoch without records is dropped at a start, and assigned again when the broker becomes leader.
fn become_leader(log: &mut Log, epochs: &[u8]) {
    let kept = LeaderEpochs::parse(epochs).unwrap();
    if let Some(latest) = kept
        .latest()
        .filter(|latest| latest.start_offset == log.log_end_offset())
    {
        log.assign_epoch(latest.epoch);
    }
}

fn check(golden: &Golden, log: &mut Log, from_log_alone: bool) {
    let at = format!("{}/{}", golden.set, golden.name);
    let expected = &golden.expected;
    assert_eq!(
        log.log_start_offset().get(),
        int(&expected["log_start_offset"]),
        "{at}"
    );
    let end = int(&expected["log_end_offset_from_log"]);
    if golden.batches().next().is_some() {
        assert_eq!(log.log_end_offset().get(), end, "{at}");
    }
    let aborted: Vec<_> = log
        .aborted_transactions(Offset(0), Offset(i64::MAX))
        .unwrap()
        .iter()
        .map(|one| {
            [
                one.producer_id.get(),
                one.first_offset.get(),
                one.last_offset.get(),
                one.last_stable_offset.get(),
            ]
        })
        .collect();
    let mut expected_aborted: Vec<_> = expected["aborted_transactions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            ["producer_id", "first_offset", "last_offset", "last_stable_offset"].map(|field| int(&one[field]))
        })
        .collect();
    if from_log_alone && matches!(golden.name.as_str(), "g-compact-0" | "g-tomb-0") {
        // Compaction has removed the aborted records, and their markers then tell nothing.
        expected_aborted.clear();
    }
    assert_eq!(aborted, expected_aborted, "{at}");
    // Every batch, by a read at every offset it has.
    let start = log.log_start_offset().get();
    let mut next = start;
    for batch in golden.batches() {
        let last = int(&batch["last_offset"]);
        for offset in next..=last {
            let found = read_all_at(log, Offset(offset));
            let header = Batch::parse(&found).unwrap().unwrap();
            assert_eq!(header.last_offset().get(), last, "{at} offset {offset}");
            assert_eq!(i64::from(header.crc), int(&batch["crc"]), "{at} offset {offset}");
        }
        next = next.max(last + 1);
    }
    let consumer = &expected["consumer"];
    if consumer.is_object() {
        log.set_high_watermark(Offset(int(&consumer["read_uncommitted_end_offset"])));
        assert_eq!(
            log.last_stable_offset().get(),
            int(&consumer["read_committed_end_offset"]),
            "{at}"
        );
        assert_eq!(
            consumed(log, Bound::HighWatermark),
            ints(&consumer["read_uncommitted_offsets"]),
            "{at}"
        );
        assert_eq!(
            consumed(log, Bound::LastStableOffset),
            ints(&consumer["read_committed_offsets"]),
            "{at}"
        );
    }
    check_timestamps(golden, log, &at);
}

fn read_all_at(log: &Log, offset: Offset) -> Vec<u8> {
    let request = super::ReadRequest {
        start_offset: offset,
        max_bytes: 1,
        min_one_batch: true,
        bound: Bound::LogEnd,
    };
    log.read(&request).unwrap().records.unwrap().read().unwrap()
}

/// Look-ups by time against a linear scan of what Kafka read.
fn check_timestamps(golden: &Golden, log: &mut Log, at: &str) {
    let mut records: Vec<(i64, i64)> = Vec::new();
    for batch in golden.batches() {
        for record in batch["records"].as_array().unwrap() {
            records.push((int(&record["offset"]), int(&record["timestamp"])));
        }
    }
    let first = log.log_start_offset().get();
    let times: BTreeSet<i64> = records
        .iter()
        .map(|(_, timestamp)| *timestamp)
        .filter(|time| *time >= 0)
        .collect();
    for time in times.iter().flat_map(|time| [time - 1, *time, time + 1]) {
        let found = log
            .offset_for_timestamp(time)
            .unwrap()
            .map(|found| found.offset.get());
        let expected = records
            .iter()
            .find(|(offset, timestamp)| *offset >= first && *timestamp >= time)
            .map(|(offset, _)| *offset);
        assert_eq!(found, expected, "{at} at {time}");
    }
    let largest = times.last().copied();
    let expected = largest.and_then(|largest| {
        records
            .iter()
            .find(|(_, timestamp)| *timestamp == largest)
            .map(|(offset, _)| *offset)
    });
    let found = log
        .offset_of_max_timestamp()
        .unwrap()
        .map(|found| found.offset.get());
    assert_eq!(found, expected, "{at} max timestamp");
}

#[test]
fn reads_every_golden_partition_after_a_clean_stop_and_changes_nothing() {
    for golden in goldens(&["clean", "follower", "legacy", "torn/after"]) {
        let at = format!("{}/{}", golden.set, golden.name);
        let ground = Ground::new();
        ground.copy_golden(&golden.path);
        let (mut log, report) = ground.load(&golden.options(true)).unwrap();
        assert_eq!(report.repairs, [""; 0], "{at}");
        assert_eq!(report.recovered_segments, 0, "{at}");
        check(&golden, &mut log, false);
        let kafka = golden_files(&golden.path);
        if let Some(epochs) = kafka.get(LEADER_EPOCH_CHECKPOINT) {
            become_leader(&mut log, epochs);
        }
        clean_stop(&mut log);
        let mut left = ground.files();
        // The one thing we add: a note that a segment of a transactional log was looked through.
        left.retain(|name, bytes| !(name.ends_with(".txnindex") && bytes.is_empty()));
        let last = log.log_end_offset().get();
        compare(&at, &kafka, &left, |name| {
            // Those that earlier stops left go at a start, as in Kafka.
            let Some(offset) = name.strip_suffix(".snapshot") else {
                return true;
            };
            offset.parse::<i64>().unwrap() == last || kafka.contains_key(&format!("{offset}.log"))
        });
    }
}

fn compare(
    at: &str,
    expected: &BTreeMap<String, Vec<u8>>,
    found: &BTreeMap<String, Vec<u8>>,
    counts: impl Fn(&str) -> bool,
) {
    let names = |files: &BTreeMap<String, Vec<u8>>| -> Vec<String> {
        files.keys().filter(|name| counts(name)).cloned().collect()
    };
    assert_eq!(names(found), names(expected), "{at}");
    for name in names(expected) {
        if name.ends_with(".snapshot") {
            // The order of the producers is Kafka's hash map's.
            let read = |bytes: &[u8]| {
                let mut producers = crate::storage::producer_state::snapshot::decode(bytes).unwrap();
                producers.sort_by_key(|(id, _)| *id);
                producers
            };
            assert_eq!(read(&found[&name]), read(&expected[&name]), "{at} {name}");
        } else {
            assert!(
                found[&name] == expected[&name],
                "{at} {name}: {:?} / {:?}",
                found[&name],
                expected[&name]
            );
        }
    }
}

#[test]
fn rebuilds_indexes_snapshots_and_epochs_byte_for_byte_from_the_logs_alone() {
    for golden in goldens(&["clean", "follower", "legacy"]) {
        let at = format!("{}/{}", golden.set, golden.name);
        let ground = Ground::new();
        ground.copy_golden(&golden.path);
        for name in ground.files().keys() {
            if !name.ends_with(".log") && name != "partition.metadata" {
                ground.remove(name);
            }
        }
        let (mut log, _) = ground.load(&golden.options(false)).unwrap();
        check(&golden, &mut log, true);
        clean_stop(&mut log);
        let compacted =
            matches!(golden.name.as_str(), "g-compact-0" | "g-tomb-0") || golden.name.starts_with("__");
        let expected = golden_files(&golden.path);
        compare(&at, &expected, &ground.files(), |name| {
            // Compaction takes the state of producers along that it removed the batches of, and an index entry where
            // there is none by the rule of appends.
            let by_cleaner = compacted && !name.ends_with(".log") && !name.ends_with(".metadata");
            // Epochs that were assigned and never written to are in no batch; snapshots at other offsets than bases
            // come from earlier stops; a snapshot without producers is not written in recovery.
            let stale = name == "leader-epoch-checkpoint" || name.ends_with(".snapshot");
            !by_cleaner && !stale
        });
        let last = format!("{:020}.snapshot", log.log_end_offset().get());
        if let Some(snapshot) = expected.get(&last).filter(|_| !compacted) {
            let one = BTreeMap::from([(last.clone(), snapshot.clone())]);
            let found = ground
                .files()
                .into_iter()
                .filter(|(name, _)| *name == last)
                .collect();
            compare(&at, &one, &found, |_| true);
        }
    }
}

#[test]
fn recovers_torn_partitions_as_kafka_did() {
    for name in ["g-none-0", "g-gzip-0", "g-lz4-0", "g-zstd-0"] {
        for clean in [false, true] {
            let ground = Ground::new();
            ground.copy_golden(&golden("torn/before").join(name));
            let options = LoadOptions {
                clean,
                ..load_options(&config(name))
            };
            let (mut log, report) = ground.load(&options).unwrap();
            if clean && name == "g-lz4-0" {
                // A flipped bit in the middle of what a clean stop vouches for is not looked for.
                continue;
            }
            assert!(report.damaged_bytes > 0, "{name}");
            assert_eq!(report.repairs.len(), usize::from(clean), "{name}");
            let after = golden_files(&golden("torn/after").join(name));
            become_leader(&mut log, &after[LEADER_EPOCH_CHECKPOINT]);
            clean_stop(&mut log);
            compare(name, &after, &ground.files(), |file| {
                !file.ends_with(".snapshot") || file.contains(&format!("{:020}", log.log_end_offset().get()))
            });
        }
    }
}

#[test]
fn recovers_killed_partitions_as_kafka_did() {
    for golden in goldens(&["unclean"]) {
        let ground = Ground::new();
        ground.copy_golden(&golden.path);
        let recovery_point = recovery_points("unclean");
        let (topic, _) = golden.name.rsplit_once('-').unwrap();
        let options = LoadOptions {
            recovery_point: recovery_point[&TopicPartition::new(topic, 0)],
            ..golden.options(false)
        };
        let (mut log, report) = ground.load(&options).unwrap();
        assert!(report.recovered_segments > 0);
        check(&golden, &mut log, false);
        if golden.name == "g-kill-0" {
            assert_eq!(report.recovered_segments, 3);
            assert_eq!(log.log_end_offset(), Offset(59));
            clean_stop(&mut log);
            let kafka =
                golden_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/clean/g-kill-0"));
            // Behind offset 59 Kafka then wrote an abort marker into the last segment.
            compare("g-kill-0", &kafka, &ground.files(), |name| {
                let last_segment = name.starts_with("00000000000000000048") && !name.ends_with("snapshot");
                !last_segment
                    && !name.starts_with("00000000000000000060")
                    && name != "leader-epoch-checkpoint"
            });
        }
    }
}
