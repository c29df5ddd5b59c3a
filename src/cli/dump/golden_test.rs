//! Dumps of Kafka's own log directories, held against what Kafka's readers found in them; and of damaged ones.
#![expect(
    clippy::disallowed_methods,
    reason = "a test that reads the repository's own files, and damages copies of them"
)]

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::*;

fn golden(set: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(set)
}

fn list(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

/// The partitions of these sets.
fn partitions(sets: &[&str]) -> Vec<PathBuf> {
    let folders = sets.iter().flat_map(|set| list(&golden(set)));
    folders.filter(|path| path.is_dir()).collect()
}

/// The lines of a dump in JSON with records, and whether the file is sound.
fn dump(file: &Path) -> (Vec<Value>, bool) {
    let dump = Dump {
        files: vec![file.to_owned()],
        json: true,
        records: true,
    };
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    let sound = dump.write(&Disk::system(), &mut out, &mut errors).unwrap();
    assert!(errors.is_empty());
    let lines: Vec<Value> = String::from_utf8(out)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(sound, problems(&lines).is_empty());
    (lines, sound)
}

fn of_type(lines: &[Value], kind: &str) -> Vec<Value> {
    lines
        .iter()
        .filter(|line| line["type"] == kind)
        .cloned()
        .collect()
}

fn problems(lines: &[Value]) -> Vec<String> {
    let problems = of_type(lines, "problem");
    problems
        .iter()
        .map(|line| line["problem"].as_str().unwrap().to_owned())
        .collect()
}

/// The lines as objects of these fields only.
fn fields(lines: &[Value], kind: &str, names: &[&str]) -> Vec<Value> {
    let object = |line: &Value| {
        names
            .iter()
            .map(|name| ((*name).to_owned(), line[*name].clone()))
            .collect()
    };
    of_type(lines, kind)
        .iter()
        .map(object)
        .map(Value::Object)
        .collect()
}

fn sound(file: &Path) -> Vec<Value> {
    let (lines, sound) = dump(file);
    assert!(sound, "{}: {:?}", file.display(), problems(&lines));
    lines
}

/// `found`, a line, says at least and nothing else than what `expected` does.
fn assert_says(found: &Value, expected: &Value, skipped: &[&str], at: &str) {
    for (field, value) in expected.as_object().unwrap() {
        if !skipped.contains(&field.as_str()) {
            assert_eq!(&found[field], value, "{at}: {field}");
        }
    }
    for field in found.as_object().unwrap().keys() {
        let known = ["file", "type"].contains(&field.as_str())
            || !expected[field].is_null()
            || found[field].is_null();
        assert!(known, "{at}: {field}");
    }
}

#[test]
fn says_of_every_batch_record_and_index_entry_what_kafkas_readers_say() {
    let (mut batches, mut records, mut entries) = (0, 0, 0);
    for folder in partitions(&["clean", "follower", "unclean", "legacy", "torn/after"]) {
        let expected: Value =
            serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
        for segment in expected["segments"].as_array().unwrap() {
            let name = format!("{:020}", segment["base_offset"].as_i64().unwrap());
            let file = |suffix: &str| folder.join(format!("{name}.{suffix}"));
            let at = file("log").display().to_string();

            let lines = sound(&file("log"));
            let mut lines = lines.iter();
            for batch in segment["batches"].as_array().unwrap() {
                let found = lines.next().unwrap();
                assert_eq!(found["type"], "batch");
                let is_set = batch["magic"] != 2 && batch["codec"] != "none";
                let unknown: &[&str] = match is_set {
                    true => &["records", "base_offset", "record_count"],
                    false => &["records"],
                };
                assert_says(found, batch, unknown, &at);
                batches += 1;
                for record in batch["records"].as_array().unwrap() {
                    let found = lines.next().unwrap();
                    assert_eq!(found["type"], "record");
                    assert_says(found, record, &["decoded_key", "decoded_value"], &at);
                    records += 1;
                }
            }
            let summary = lines.next().unwrap();
            assert_eq!(summary["bytes"], segment["log_bytes"]);
            assert!(lines.next().is_none());

            if !segment["offset_index_bytes"].is_null() {
                let lines = sound(&file("index"));
                let found: Vec<_> = of_type(&lines, "offset")
                    .iter()
                    .map(|line| json!([line["offset"], line["position"]]))
                    .collect();
                assert_eq!(Value::from(found.clone()), segment["offset_index"], "{at}");
                entries += found.len();
            }
            if !segment["time_index_bytes"].is_null() {
                let lines = sound(&file("timeindex"));
                let found: Vec<_> = of_type(&lines, "time")
                    .iter()
                    .map(|line| json!([line["timestamp"], line["offset"]]))
                    .collect();
                assert_eq!(Value::from(found.clone()), segment["time_index"], "{at}");
                entries += found.len();
            }
            if let Some(aborted) = segment.get("txn_index") {
                let lines = sound(&file("txnindex"));
                let names = ["producer_id", "first_offset", "last_offset", "last_stable_offset"];
                assert_eq!(Value::from(fields(&lines, "aborted", &names)), *aborted, "{at}");
            }
        }
    }
    assert!(
        batches > 700 && records > 1000 && entries > 500,
        "{batches} {records} {entries}"
    );
}

#[test]
fn says_of_snapshots_and_checkpoints_what_kafkas_readers_say() {
    let mut snapshots = 0;
    for folder in partitions(&["clean", "follower", "unclean", "legacy", "torn/after"]) {
        let expected: Value =
            serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
        for snapshot in expected["producer_snapshots"].as_array().unwrap() {
            let lines = sound(&folder.join(format!("{:020}.snapshot", snapshot["offset"].as_i64().unwrap())));
            let producers = snapshot["producers"].as_array().unwrap();
            let names: Vec<&str> = producers
                .first()
                .map(|producer| producer.as_object().unwrap().keys().map(String::as_str).collect())
                .unwrap_or_default();
            let mut found = fields(&lines, "producer", &names);
            found.sort_by_key(|producer| producer["producer_id"].as_i64());
            assert_eq!(&found, producers, "{}", folder.display());
            snapshots += 1;
        }
        let epochs = folder.join("leader-epoch-checkpoint");
        if epochs.exists() {
            let lines = sound(&epochs);
            let found: Vec<_> = of_type(&lines, "epoch")
                .iter()
                .map(|line| json!([line["epoch"], line["start_offset"]]))
                .collect();
            assert_eq!(
                Value::from(found),
                expected["leader_epochs"],
                "{}",
                folder.display()
            );
        }
        let metadata = folder.join("partition.metadata");
        if metadata.exists() {
            assert!(sound(&metadata)[0]["topic_id"].as_str().unwrap().len() == 22);
        }
    }
    assert!(snapshots > 50, "{snapshots}");
    for set in [
        "clean",
        "follower",
        "unclean",
        "legacy",
        "torn/before",
        "torn/after",
    ] {
        for file in list(&golden(set)) {
            let name = file.file_name().unwrap().to_str().unwrap();
            if name.ends_with("-checkpoint") || name == "meta.properties" {
                sound(&file);
            }
        }
    }
}

#[test]
fn finds_the_damage_in_torn_logs() {
    let problem = |partition: &str, file: &str| {
        let (lines, _) = dump(&golden("torn/before").join(partition).join(file));
        problems(&lines)
    };
    let log = "00000000000000000000.log";
    assert_eq!(
        problem("g-none-0", log),
        ["the log ends with 101 bytes that are no whole batch"]
    );
    assert_eq!(
        problem("g-gzip-0", log),
        [
            "batch size field 0 is too small for a batch header",
            "the log ends with 40 zero bytes"
        ]
    );
    let flipped = problem("g-lz4-0", log);
    assert!(
        flipped[0].starts_with("the checksum of the batch with offset 1 is "),
        "{flipped:?}"
    );
    assert_eq!(
        problem("g-zstd-0", log),
        ["the log ends with 10 bytes that are no whole batch"]
    );
}

#[test]
fn index_entries_behind_a_torn_log_are_noticed() {
    let (_folder, path) = copy("clean/g-txn-0");
    let file = |suffix: &str| path.join(format!("00000000000000000006.{suffix}"));
    let bytes = std::fs::read(file("log")).unwrap();
    for (suffix, length, end) in [
        (
            "index",
            bytes.len() - 5,
            "position 1084 is behind the log's last batch",
        ),
        // Before offset 17.
        ("txnindex", 1000, "no marker of producer 3"),
        ("timeindex", 1000, "offset 17 is behind the log's last batch"),
    ] {
        std::fs::write(file("log"), &bytes[..length]).unwrap();
        let found = problems(&dump(&file(suffix)).0);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].ends_with(end), "{found:?}");
    }
}

/// A copy of a golden partition in a folder of its own.
fn copy(partition: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for file in list(&golden(partition)) {
        std::fs::copy(&file, folder.path().join(file.file_name().unwrap())).unwrap();
    }
    let path = folder.path().to_owned();
    (folder, path)
}

#[test]
fn every_flipped_bit_of_a_log_is_noticed() {
    let (_folder, path) = copy("clean/g-zstd-0");
    let log = path.join("00000000000000000000.log");
    let bytes = std::fs::read(&log).unwrap();
    // In v2 offset and leader epoch lie outside the checksum: of those only what breaks the order is seen.
    for at in (16..bytes.len()).step_by(37) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        std::fs::write(&log, &damaged).unwrap();
        let (_, sound) = dump(&log);
        let in_epoch_or_offset = bytes.len() > at && is_outside_checksum(&bytes, at);
        assert!(!sound || in_epoch_or_offset, "byte {at}");
    }
}

fn is_outside_checksum(bytes: &[u8], at: usize) -> bool {
    let mut start = 0;
    loop {
        let size = i32::from_be_bytes(bytes[start + 8..start + 12].try_into().unwrap()) as usize + 12;
        if at < start + size {
            return at < start + 8 || (start + 12..start + 16).contains(&at);
        }
        start += size;
    }
}

#[test]
fn every_false_entry_of_an_index_is_noticed() {
    for (suffix, entry_bytes) in [("index", 8), ("timeindex", 12), ("txnindex", 34)] {
        let (_folder, path) = copy("clean/g-txn-0");
        let file = path.join(format!("00000000000000000006.{suffix}"));
        let bytes = std::fs::read(&file).unwrap();
        assert!(bytes.len() >= 2 * entry_bytes);
        for at in 0..bytes.len() {
            let field = at % entry_bytes;
            // An aborted transaction's first and last stable offset are not in the log to compare with.
            if suffix == "txnindex" && (field == 1 || (10..18).contains(&field) || field >= 26) {
                continue;
            }
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            std::fs::write(&file, &damaged).unwrap();
            assert!(!dump(&file).1, "{suffix} byte {at}");
        }
        std::fs::write(&file, &bytes[..bytes.len() - 3]).unwrap();
        let (lines, _) = dump(&file);
        let behind = format!("{} bytes behind the last entry", entry_bytes - 3);
        assert_eq!(problems(&lines), [behind]);
        std::fs::write(&file, &bytes).unwrap();
        std::fs::remove_file(path.join("00000000000000000006.log")).unwrap();
        assert_eq!(problems(&dump(&file).0).len(), 1);
    }
}

#[test]
fn unused_slots_of_a_preallocated_index_are_no_entries() {
    let lines = sound(&golden("unclean/g-kill-0").join("00000000000000000048.index"));
    let summary = of_type(&lines, "summary").remove(0);
    assert!(summary["unused_slots"].as_u64().unwrap() > 0, "{summary}");
}

#[test]
fn small_files_with_errors_get_one_line_each() {
    let folder = tempfile::tempdir().unwrap();
    for (name, contents) in [
        ("notes.txt", "x"),
        ("x.log", "x"),
        ("00000000000000000000.snapshot", "x"),
        ("recovery-point-offset-checkpoint", "0\n2\na 0 1\n"),
        ("leader-epoch-checkpoint", "0\n2\n1 5\n0 7\n"),
        ("meta.properties", "version=1\nnode.id=1"),
        ("partition.metadata", "version: 0"),
    ] {
        let file = folder.path().join(name);
        std::fs::write(&file, contents).unwrap();
        let (lines, _) = dump(&file);
        assert_eq!(problems(&lines).len(), 1, "{name}");
    }
    let (lines, _) = dump(&folder.path().join("00000000000000000009.log"));
    assert_eq!(problems(&lines).len(), 1, "a missing file");
}

#[test]
fn text_goes_to_the_output_and_problems_to_the_errors() {
    let dump = Dump {
        files: vec![
            golden("torn/before/g-zstd-0/00000000000000000000.log"),
            golden("clean/g-epoch-0/leader-epoch-checkpoint"),
        ],
        json: false,
        records: true,
    };
    let (mut out, mut errors) = (Vec::new(), Vec::new());
    assert!(!dump.write(&Disk::system(), &mut out, &mut errors).unwrap());
    let (out, errors) = (
        String::from_utf8(out).unwrap(),
        String::from_utf8(errors).unwrap(),
    );
    assert!(out.contains("\n  batch position: 0 size: "), "{out}");
    assert!(out.contains("\n    record offset: 0 timestamp: "), "{out}");
    assert!(out.contains("\n  epoch epoch: 2 start_offset: 3\n"), "{out}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(
        errors.contains("g-zstd-0/00000000000000000000.log: at byte "),
        "{errors}"
    );
}
