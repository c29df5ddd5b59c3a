//! Every batch of the golden log directories against what Kafka's own readers found in them.
#![expect(
    clippy::disallowed_methods,
    reason = "a test that reads the repository's own files"
)]

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::batch::{Batch, Batches};
use super::control::EndTransactionMarker;
use super::record::Record;
use crate::base::format::TimestampType;

/// The partition folders that have an `expected.json`.
pub fn partitions() -> Vec<PathBuf> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut found = Vec::new();
    for set in ["clean", "follower", "unclean", "legacy", "torn/after"] {
        for entry in std::fs::read_dir(golden.join(set)).unwrap() {
            let path = entry.unwrap().path();
            if path.join("expected.json").exists() {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(found.len() >= 35, "{} golden partitions", found.len());
    found
}

/// Each segment's bytes with its part of `expected.json`.
pub fn segments(partition: &Path) -> Vec<(Vec<u8>, Value)> {
    let expected: Value =
        serde_json::from_slice(&std::fs::read(partition.join("expected.json")).unwrap()).unwrap();
    expected["segments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|segment| {
            let name = format!("{:020}.log", segment["base_offset"].as_i64().unwrap());
            (std::fs::read(partition.join(name)).unwrap(), segment.clone())
        })
        .collect()
}

#[test]
fn headers_and_checksums_of_golden_batches_are_as_kafka_read_them() {
    let mut count = 0;
    for partition in partitions() {
        for (log, segment) in segments(&partition) {
            let mut batches = Batches::new(&log);
            for expected in segment["batches"].as_array().unwrap() {
                let at = format!("{} position {}", partition.display(), expected["position"]);
                assert_eq!(
                    batches.position() as u64,
                    expected["position"].as_u64().unwrap(),
                    "{at}"
                );
                let batch = batches.next().expect(&at).expect(&at);
                check_header(&batch, expected, &at);
                count += 1;
            }
            assert!(batches.next().is_none());
            assert_eq!(batches.remaining(), 0, "{}", partition.display());
        }
    }
    assert!(count > 700, "{count} batches");
}

fn check_header(batch: &Batch<'_>, expected: &Value, at: &str) {
    let number = |field: &str| {
        expected[field]
            .as_i64()
            .unwrap_or_else(|| panic!("{at}: {field}"))
    };
    assert_eq!(i64::from(batch.magic), number("magic"), "{at}");
    assert_eq!(i64::from(batch.size_in_bytes), number("size"), "{at}");
    assert_eq!(batch.last_offset().get(), number("last_offset"), "{at}");
    if batch.magic == 2 || !batch.is_compressed() {
        assert_eq!(batch.base_offset.get(), number("base_offset"), "{at}");
    }
    assert_eq!(
        i64::from(batch.partition_leader_epoch.get()),
        number("partition_leader_epoch"),
        "{at}"
    );
    assert_eq!(i64::from(batch.crc), number("crc"), "{at}");
    assert_eq!(batch.check_crc(), Ok(()), "{at}");
    assert_eq!(
        batch.codec().unwrap().name(),
        expected["codec"].as_str().unwrap(),
        "{at}"
    );
    let timestamp_type = match batch.timestamp_type() {
        _ if batch.magic == 0 => "NoTimestampType",
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    };
    assert_eq!(
        timestamp_type,
        expected["timestamp_type"].as_str().unwrap(),
        "{at}"
    );
    assert_eq!(batch.max_timestamp, number("max_timestamp"), "{at}");
    assert_eq!(batch.producer_id.get(), number("producer_id"), "{at}");
    assert_eq!(
        i64::from(batch.producer_epoch.get()),
        number("producer_epoch"),
        "{at}"
    );
    assert_eq!(i64::from(batch.base_sequence), number("base_sequence"), "{at}");
    assert_eq!(i64::from(batch.last_sequence()), number("last_sequence"), "{at}");
    assert_eq!(
        batch.is_transactional(),
        expected["transactional"].as_bool().unwrap(),
        "{at}"
    );
    assert_eq!(batch.is_control(), expected["control"].as_bool().unwrap(), "{at}");
    assert_eq!(
        batch.delete_horizon_ms(),
        expected["delete_horizon_ms"].as_i64(),
        "{at}"
    );
    if batch.record_count >= 0 {
        assert_eq!(i64::from(batch.record_count), number("record_count"), "{at}");
    }
}

/// The text, or the base64, that `expected.json` has for a key or value.
fn check_field(field: Option<&[u8]>, expected: &Value, name: &str, at: &str) {
    use base64::Engine as _;
    match (&expected[name], &expected[format!("{name}_base64")]) {
        (Value::String(text), _) => assert_eq!(field, Some(text.as_bytes()), "{at}: {name}"),
        (_, Value::String(coded)) => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(coded).unwrap();
            assert_eq!(field, Some(&bytes[..]), "{at}: {name}");
        }
        _ => assert_eq!(field, None, "{at}: {name}"),
    }
}

#[test]
fn records_of_golden_batches_are_as_kafka_read_them() {
    let (mut count, mut headers, mut markers) = (0, 0, 0);
    for partition in partitions() {
        for (log, segment) in segments(&partition) {
            for (batch, expected) in Batches::new(&log).zip(segment["batches"].as_array().unwrap()) {
                let batch = batch.unwrap();
                let mut records = batch.records(None).unwrap();
                for expected in expected["records"].as_array().unwrap() {
                    let at = format!("{} offset {}", partition.display(), expected["offset"]);
                    let record = records.next().expect(&at).expect(&at);
                    assert_eq!(record.offset.get(), expected["offset"].as_i64().unwrap(), "{at}");
                    assert_eq!(record.timestamp, expected["timestamp"].as_i64().unwrap(), "{at}");
                    // Of control records it has the meaning only.
                    if !batch.is_control() {
                        check_field(record.key, expected, "key", &at);
                        check_field(record.value, expected, "value", &at);
                    }
                    headers += check_headers(&record, expected, &at);
                    if let Some(kind) = expected["control_type"].as_str() {
                        let marker = EndTransactionMarker::parse(&record).unwrap().unwrap();
                        assert_eq!(if marker.commit { "COMMIT" } else { "ABORT" }, kind, "{at}");
                        let epoch = expected["coordinator_epoch"].as_i64().unwrap();
                        assert_eq!(i64::from(marker.coordinator_epoch), epoch, "{at}");
                        markers += 1;
                    }
                    count += 1;
                }
                assert_eq!(records.next(), Ok(None), "{}", partition.display());
            }
        }
    }
    assert!(
        count > 1000 && headers > 20 && markers > 20,
        "{count} {headers} {markers}"
    );
}

fn check_headers(record: &Record<'_>, expected: &Value, at: &str) -> usize {
    let Some(expected) = expected["headers"].as_array() else {
        assert_eq!(record.headers.len(), 0, "{at}");
        return 0;
    };
    assert_eq!(record.headers.len(), expected.len(), "{at}");
    for ((key, value), expected) in record.headers.zip(expected) {
        check_field(Some(key), expected, "key", at);
        check_field(value, expected, "value", at);
    }
    expected.len()
}
