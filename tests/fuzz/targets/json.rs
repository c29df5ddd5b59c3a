//! What a store holds: Kafka's nodes in JSON, and the records of the embedded store.

use barnabas::store::embedded::record;
use barnabas::store::znodes::{
    Broker, ClusterId, ConfigChange, Controller, EntityConfig, Feature, NewPartitions, PartitionState,
    ProducerIdBlock, Topic, decode_epoch,
};

use super::{PLAIN, bytes};
use crate::Target;

pub fn targets() -> Vec<Target> {
    vec![
        Target {
            name: "nodes",
            seeds: bytes(&[
                r#"{"features":{},"listener_security_protocol_map":{"A":"PLAINTEXT","B":"SSL"},"endpoints":["A://h:9092","B://[::1]:9093"],"rack":"r","jmx_port":-1,"port":9092,"host":"h","version":5,"timestamp":"1"}"#,
                r#"{"version":1,"host":"h","port":9092,"jmx_port":-1}"#,
                r#"{"partitions":{"0":[1,2],"10":[2,1]},"topic_id":"BwcHBwcHBwcHBwcHBwcHBw","adding_replicas":{},"removing_replicas":{"0":[2]},"version":3}"#,
                r#"{"controller_epoch":1,"leader":0,"version":1,"leader_recovery_state":1,"leader_epoch":4,"isr":[0,1]}"#,
                r#"{"version":1,"config":{"retention.ms":"1000","cleanup.policy":"compact"}}"#,
                r#"{"version":2,"entity_path":"topics/t"}"#,
                r#"{"version":1,"entity_type":"topics","entity_name":"t"}"#,
                r#"{"version":2,"brokerid":0,"timestamp":"1","kraftControllerEpoch":-1}"#,
                r#"{"version":"1","id":"abc"}"#,
                r#"{"features":{"a":{"b":1}},"version":2,"status":1}"#,
                r#"{"version":1,"broker":0,"block_start":"0","block_end":"999"}"#,
                r#"{"version":1,"partitions":{"0":[1],"12":[2,1]}}"#,
                r#"{"version":1,"partitions":[1,2]}"#,
                "17",
            ]),
            words: &[
                "\"",
                "\\u0000",
                "\\ud800",
                "{",
                "}",
                "[",
                "]",
                ":",
                ",",
                "://",
                "-",
                "-7",
                "\"-1\":[1],",
                "null",
                "1e400",
                "99999999999999999999",
                "9999999999",
                "[[[[[[[[",
                "A://h:1",
                "A",
                "B",
                "\"A://h:1\",",
                ":x",
                "true",
            ],
            run: nodes,
            planted: &["endpoint-port-there", "endpoint-twice", "partition-negative"],
            ..PLAIN
        },
        Target {
            name: "store records",
            seeds: records(),
            run: store_record,
            planted: &[
                "record-one-short",
                "record-children-reserved",
                "record-unknown-flags",
            ],
            ..PLAIN
        },
    ]
}

/// What is read comes back from what it is written as.
fn nodes(input: &[u8]) {
    macro_rules! comes_back {
        ($($node:ident),*) => {
            $(if let Ok(node) = $node::decode(input) {
                assert_eq!($node::decode(&node.encode()).unwrap(), node);
            })*
        };
    }
    comes_back!(
        Broker,
        Topic,
        PartitionState,
        ConfigChange,
        Controller,
        Feature,
        ProducerIdBlock,
        NewPartitions
    );
    if let Ok(broker) = Broker::decode(input) {
        let mut names: Vec<_> = broker
            .listeners()
            .unwrap()
            .into_iter()
            .map(|(name, ..)| name)
            .collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count, "a listener is there twice");
    }
    if let Ok(topic) = Topic::decode(input) {
        let partitions = topic
            .partitions
            .keys()
            .chain(topic.adding.keys())
            .chain(topic.removing.keys());
        assert!(partitions.copied().all(|partition| partition >= 0));
    }
    if let Ok(config) = EntityConfig::decode(Some(input)) {
        assert_eq!(EntityConfig::decode(Some(&config.encode())).unwrap(), config);
    }
    let _ = ClusterId::decode(input);
    let _ = decode_epoch(input);
}

/// Fixed fields of 61 bytes, then the data.
fn records() -> Vec<Vec<u8>> {
    (0..4_u8)
        .flat_map(|flags| {
            [0_usize, 5, 300].map(|length| {
                let mut record = vec![0; 61];
                record[0] = flags;
                record[36] = 3; // children
                if flags & 1 != 0 {
                    record.resize(61 + length, b'x');
                }
                record
            })
        })
        .collect()
}

fn store_record(input: &[u8]) {
    if let Some(read) = record::decode(input) {
        assert_eq!(record::decode(&record::encode(&read)), Some(read));
    }
}
