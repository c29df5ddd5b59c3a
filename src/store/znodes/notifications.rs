//! Nodes by which others tell a controller something: `/isr_change_notification/isr_change_N`,
//! `/log_dir_event_notification/log_dir_event_N`, and the requests of tools up to 2.3, `/admin/reassign_partitions` and
//! `/admin/preferred_replica_election` (Kafka: the ZNode objects of these names in `ZkData`).

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{BadNode, write};
use crate::base::ids::{BrokerId, TopicPartition};

#[derive(Serialize, Deserialize)]
struct PartitionJson {
    topic: String,
    partition: i32,
}

#[derive(Serialize, Deserialize)]
struct PartitionsJson {
    version: i32,
    partitions: Vec<PartitionJson>,
}

#[derive(Serialize, Deserialize)]
struct ReassignedJson {
    topic: String,
    partition: i32,
    replicas: Vec<i32>,
}

#[derive(Serialize, Deserialize)]
struct ReassignmentJson {
    version: i32,
    partitions: Vec<ReassignedJson>,
}

#[derive(Serialize, Deserialize)]
struct LogDirEventJson {
    version: i32,
    broker: i32,
    event: i32,
}

/// The partitions of an ISR notification, or of the wish for preferred leaders: both have one form.
pub fn decode_partitions(bytes: &[u8]) -> Result<Vec<TopicPartition>, BadNode> {
    let json: PartitionsJson = serde_json::from_slice(bytes)?;
    let partitions = json.partitions.into_iter();
    Ok(partitions
        .map(|one| TopicPartition::new(one.topic, one.partition))
        .collect())
}

/// Where partitions are to be, as a tool up to 2.3 asks for it.
pub fn decode_reassignment(bytes: &[u8]) -> Result<BTreeMap<TopicPartition, Vec<BrokerId>>, BadNode> {
    let json: ReassignmentJson = serde_json::from_slice(bytes)?;
    let partitions = json.partitions.into_iter().map(|one| {
        let replicas = one.replicas.into_iter().map(BrokerId).collect();
        (TopicPartition::new(one.topic, one.partition), replicas)
    });
    Ok(partitions.collect())
}

/// The same, as such a tool reads it: what is left to be done.
pub fn encode_reassignment(moves: &BTreeMap<TopicPartition, Vec<BrokerId>>) -> Bytes {
    write(&ReassignmentJson {
        version: 1,
        partitions: moves
            .iter()
            .map(|(name, replicas)| ReassignedJson {
                topic: name.topic.to_string(),
                partition: name.partition,
                replicas: replicas.iter().map(|id| id.get()).collect(),
            })
            .collect(),
    })
}

/// Tells that a log directory of `broker` failed.
pub fn encode_log_dir_event(broker: BrokerId) -> Bytes {
    write(&LogDirEventJson {
        version: 1,
        broker: broker.get(),
        event: 1,
    })
}

/// The broker a log directory of which failed.
pub fn decode_log_dir_event(bytes: &[u8]) -> Result<BrokerId, BadNode> {
    let json: LogDirEventJson = serde_json::from_slice(bytes)?;
    Ok(BrokerId(json.broker))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kafka_and_its_old_tools_write_is_read() {
        let partitions = decode_partitions(br#"{"version":1,"partitions":[{"topic":"T","partition":3}]}"#);
        assert_eq!(partitions.unwrap(), [TopicPartition::new("T", 3)]);
        let text = br#"{"version":1,"partitions":[{"topic":"T","partition":0,"replicas":[4,5]}]}"#;
        let moves = decode_reassignment(text).unwrap();
        assert_eq!(moves[&TopicPartition::new("T", 0)], [BrokerId(4), BrokerId(5)]);
        assert_eq!(encode_reassignment(&moves), &text[..]);
        let event = encode_log_dir_event(BrokerId(1));
        assert_eq!(event, &br#"{"version":1,"broker":1,"event":1}"#[..]);
        assert_eq!(decode_log_dir_event(&event).unwrap(), BrokerId(1));
        for bad in [&b""[..], b"{}", br#"{"version":1,"partitions":[{"topic":"T"}]}"#] {
            assert!(decode_partitions(bad).is_err() && decode_reassignment(bad).is_err());
            assert!(decode_log_dir_event(bad).is_err());
        }
    }
}
