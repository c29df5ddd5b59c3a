//! The records of a real Kafka's `__consumer_offsets`: read as Kafka read them, and written again byte for byte.
#![expect(
    clippy::disallowed_methods,
    reason = "a test that reads the repository's own files"
)]

use std::path::Path;

use serde_json::Value;

use super::{GroupValue, OffsetValue, RecordKey};
use crate::records::batch::Batches;

/// The partitions, and whether their broker wrote the versions that 3.9 writes.
const PARTITIONS: [(&str, bool); 5] = [
    ("clean/__consumer_offsets-0", true),
    ("clean/__consumer_offsets-1", true),
    ("clean/__consumer_offsets-2", true),
    ("clean/__consumer_offsets-3", true),
    ("legacy/__consumer_offsets-3", false),
];

fn optional(text: Option<&str>) -> String {
    text.map_or("null".to_owned(), |text| format!("'{text}'"))
}

/// An offset as Kafka's own reader prints it.
fn print_offset(value: &OffsetValue) -> String {
    let epoch = match value.leader_epoch {
        -1 => "Optional.empty".to_owned(),
        epoch => format!("Optional[{epoch}]"),
    };
    let expiry = match value.expire_timestamp_ms {
        None => "None".to_owned(),
        Some(at) => format!("Some({at})"),
    };
    format!(
        "OffsetAndMetadata(offset={}, leaderEpoch={epoch}, metadata={}, commitTimestamp={}, expireTimestamp={expiry})",
        value.offset, value.metadata, value.commit_timestamp_ms
    )
}

fn print_bytes(bytes: &[u8]) -> String {
    let signed: Vec<i8> = bytes.iter().map(|byte| *byte as i8).collect();
    format!("{signed:?}")
}

/// A group as Kafka's own reader prints it.
fn print_group(version: u8, value: &GroupValue) -> String {
    let members = value.members.iter().map(|member| {
        format!(
            "MemberMetadata(memberId='{}', groupInstanceId={}, clientId='{}', clientHost='{}', rebalanceTimeout={}, \
             sessionTimeout={}, subscription={}, assignment={})",
            member.member_id,
            optional(member.group_instance_id.as_deref()),
            member.client_id,
            member.client_host,
            member.rebalance_timeout_ms,
            member.session_timeout_ms,
            print_bytes(&member.subscription),
            print_bytes(&member.assignment)
        )
    });
    format!(
        "v{version} GroupMetadataValue(protocolType='{}', generation={}, protocol={}, leader={}, \
         currentStateTimestamp={}, members=[{}])",
        value.protocol_type,
        value.generation,
        optional(value.protocol.as_deref()),
        optional(value.leader.as_deref()),
        value.current_state_timestamp_ms,
        members.collect::<Vec<_>>().join(", ")
    )
}

fn check(key: &[u8], value: Option<&[u8]>, expected: &Value, current: bool) {
    let text = |field: &str| expected[field].as_str().map(str::to_owned);
    let parsed = RecordKey::decode(key).unwrap().unwrap();
    assert_eq!(parsed.encode(), key);
    let printed = match &parsed {
        RecordKey::Group { group_id } => group_id.to_string(),
        RecordKey::Offset {
            group_id,
            topic,
            partition,
        } => format!("[{group_id},{topic},{partition}]"),
    };
    assert_eq!(Some(printed), text("decoded_key"));
    let Some(bytes) = value else {
        assert_eq!(text("decoded_value"), None);
        return;
    };
    let (printed, written) = match parsed {
        RecordKey::Group { .. } => {
            let value = GroupValue::decode(bytes).unwrap();
            (print_group(bytes[1], &value), value.encode())
        }
        RecordKey::Offset { .. } => {
            let value = OffsetValue::decode(bytes).unwrap();
            (print_offset(&value), value.encode())
        }
    };
    assert_eq!(Some(printed), text("decoded_value"));
    if current {
        assert_eq!(written, bytes, "{expected}");
    }
}

#[test]
fn records_are_read_as_kafka_read_them_and_written_as_it_wrote_them() {
    let mut count = 0;
    for (name, current) in PARTITIONS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden")
            .join(name);
        let expected: Value =
            serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
        let log = std::fs::read(folder.join("00000000000000000000.log")).unwrap();
        let batches = expected["segments"][0]["batches"].as_array().unwrap();
        for (batch, expected) in Batches::new(&log).zip(batches) {
            let batch = batch.unwrap();
            if batch.is_control() {
                continue;
            }
            let mut records = batch.records(None).unwrap();
            for expected in expected["records"].as_array().unwrap() {
                let record = records.next().unwrap().unwrap();
                check(record.key.unwrap(), record.value, expected, current);
                count += 1;
            }
        }
    }
    assert!(count > 30, "{count} records");
}
