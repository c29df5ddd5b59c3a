//! Every node that a Kafka 3.9.2 was seen to write is read, and written again as it was.
//!
//! `testdata/nodes.json` holds, by path, the distinct contents of the nodes that this room knows, as recorded.

use serde_json::Value;

use super::*;

fn again(path: &str, data: &[u8]) -> Option<Bytes> {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    Some(match parts.as_slice() {
        ["brokers", "ids", _] => Broker::decode(data).unwrap().encode(),
        ["brokers", "topics", _] => Topic::decode(data).unwrap().encode(),
        ["brokers", "topics", _, "partitions", _, "state"] => PartitionState::decode(data).unwrap().encode(),
        ["config", "changes", _] => ConfigChange::decode(data).unwrap().encode(),
        ["config", "topics" | "brokers", _] => EntityConfig::decode(Some(data)).unwrap().encode(),
        ["controller"] => Controller::decode(data).unwrap().encode(),
        ["controller_epoch"] => encode_epoch(decode_epoch(data).unwrap()),
        ["cluster", "id"] => ClusterId::decode(data).unwrap().encode(),
        ["feature"] => Feature::decode(data).unwrap().encode(),
        ["latest_producer_id_block"] => ProducerIdBlock::decode(data).unwrap().encode(),
        _ => return None,
    })
}

#[test]
fn kafkas_nodes_are_written_as_kafka_writes_them() {
    let nodes: Vec<(String, String)> = serde_json::from_str(include_str!("testdata/nodes.json")).unwrap();
    let mut exact = 0;
    for (path, data) in &nodes {
        let written = again(path, data.as_bytes()).unwrap_or_else(|| panic!("{path} is not known"));
        let as_value = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
        assert_eq!(as_value(&written), as_value(data.as_bytes()), "{path}");
        if written == data.as_bytes() {
            exact += 1;
        } else {
            // Only where Kafka's order is that of a hash map: many partitions, listeners or configs.
            assert!(
                path.starts_with("/brokers/") || path.starts_with("/config/"),
                "{path}: {data}"
            );
        }
    }
    assert!(
        nodes.len() > 60 && exact * 10 >= nodes.len() * 9,
        "{exact} of {}",
        nodes.len()
    );
}
