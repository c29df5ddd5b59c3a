//! The conversions against what Kafka's brokers sent, and through every version.

use std::sync::Arc;

use super::{Refused, update_metadata_answer, update_metadata_error};
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, TopicId, TopicPartition, Uuid};
use crate::metadata::control::{
    ControlAnswer, LeaderAndIsr, LeaderAndIsrPartition, LeaderAndIsrTopic, PartitionMetadata, Sender,
    StopReplica, StopReplicaPartition, TOPIC_IS_DELETED, UpdateMetadata, UpdateMetadataTopic,
};
use crate::metadata::{BrokerImage, Endpoint, PartitionImage};
use crate::wire::messages::leader_and_isr::{LeaderAndIsrRequest, LeaderAndIsrResponse};
use crate::wire::messages::stop_replica::{StopReplicaRequest, StopReplicaResponse};
use crate::wire::messages::update_metadata::{UpdateMetadataRequest, UpdateMetadataResponse};
use crate::wire::recorded::{Exchange, exchanges};
use crate::wire::{ApiKey, Message, Reader, Writer};

fn recorded(key: ApiKey) -> Vec<Exchange> {
    let mut all = exchanges();
    all.retain(|exchange| exchange.key == key);
    assert!(!all.is_empty());
    all
}

/// What `message` is after a way over the wire.
fn sent<M: Message>(message: &M, version: i16) -> M {
    let mut w = Writer::new();
    message.encode(&mut w, version);
    M::decode(&mut Reader::new(w.freeze()), version).unwrap()
}

fn broker(id: i32, endpoints: &[(&str, &str, i32)], rack: Option<&str>) -> BrokerImage {
    let endpoint = |(listener, security_protocol, port): &(&str, &str, i32)| Endpoint {
        listener: Arc::from(*listener),
        security_protocol: Arc::from(*security_protocol),
        host: "127.0.0.1".into(),
        port: *port,
    };
    BrokerImage {
        id: BrokerId(id),
        epoch: BrokerEpoch(-1),
        endpoints: endpoints.iter().map(endpoint).collect(),
        rack: rack.map(Arc::from),
    }
}

#[test]
fn leader_and_isr_of_kafka_is_read_and_written_alike() {
    for exchange in recorded(ApiKey::LeaderAndIsr) {
        let (name, version) = (exchange.name, exchange.version);
        let message: LeaderAndIsrRequest = exchange.asked();
        let read = LeaderAndIsr::from_message(&message, version).unwrap();
        let live: Vec<BrokerImage> = message
            .live_leaders
            .iter()
            .map(|leader| broker(leader.broker_id, &[("INSIDE", "PLAINTEXT", leader.port)], None))
            .chain([broker(77, &[("INSIDE", "PLAINTEXT", 1)], None)])
            .collect();
        assert_eq!(read.message(version, &live, "INSIDE"), message, "{name}");
        assert!(read.message(version, &live, "OUTSIDE").live_leaders.is_empty());

        let answer: LeaderAndIsrResponse = exchange.answered();
        let typed = ControlAnswer::from_leader_and_isr(&answer, &read, version);
        assert_eq!(typed.error.code(), answer.error_code);
        let codes: usize = answer
            .topics
            .iter()
            .map(|topic| topic.partition_errors.len())
            .sum();
        assert_eq!(
            typed.partitions.len(),
            codes + answer.partition_errors.len(),
            "{name}"
        );
        assert_eq!(typed.leader_and_isr_message(&read, version), answer, "{name}");
    }
}

#[test]
fn what_kafka_means_is_understood() {
    let find = |name: &str| exchanges().into_iter().find(|one| one.name == name).unwrap();
    let exchange = find("leader-and-isr-v7-leader-none");
    let asked = LeaderAndIsr::from_message(&exchange.asked(), 7).unwrap();
    let topic = asked.topics.iter().find(|topic| &*topic.name == "t2").unwrap();
    assert_eq!(topic.id, Uuid::parse("gdGwNLzkTKOJ-OylKbBC5Q").unwrap());
    assert_eq!(topic.partitions[0].leader, None);
    assert_eq!(topic.partitions[0].leader_epoch, LeaderEpoch(8));
    assert_eq!(topic.partitions[0].partition_epoch, 10);
    let answer = ControlAnswer::from_leader_and_isr(&exchange.answered(), &asked, 7);
    assert_eq!(
        answer.partitions[0],
        (TopicPartition::new("f1", 1), ErrorCode::StaleControllerEpoch)
    );

    let exchange = find("update-metadata-v8-deletion");
    let update = UpdateMetadata::from_message(&exchange.asked(), 8).unwrap();
    let partitions = &update.topics[0].partitions;
    assert_eq!(partitions.len(), 3);
    assert!(
        partitions
            .iter()
            .all(|(_, metadata)| *metadata == PartitionMetadata::Deleted)
    );
    let three = update
        .live_brokers
        .iter()
        .find(|broker| broker.id == BrokerId(3))
        .unwrap();
    assert_eq!(
        three.endpoint("SASL_PLAINTEXT").unwrap().security_protocol,
        "SASL_PLAINTEXT".into()
    );

    let deleted = find("stop-replica-v4-topic-deletion-2");
    let stop = StopReplica::from_message(&deleted.asked(), 4).unwrap();
    assert!(stop.partitions.iter().all(|of| of.delete));
    let epochs: Vec<_> = stop.partitions.iter().map(|of| of.leader_epoch).collect();
    assert!(epochs.contains(&TOPIC_IS_DELETED), "{epochs:?}");

    let message = find("controller-update-metadata-kraft-flag").asked();
    assert_eq!(
        UpdateMetadata::from_message(&message, 8),
        Err(Refused::KraftController)
    );
}

#[test]
fn update_metadata_of_kafka_is_read_and_written_alike() {
    let mut deleted = 0;
    for exchange in recorded(ApiKey::UpdateMetadata) {
        let version = exchange.version;
        let mut message: UpdateMetadataRequest = exchange.asked();
        if message.is_k_raft_controller {
            continue;
        }
        let read = UpdateMetadata::from_message(&message, version).unwrap();
        let states = message.topic_states.iter_mut();
        for state in states.flat_map(|topic| &mut topic.partition_states) {
            if state.leader == -2 {
                // Of a partition that is gone we say no more.
                (state.isr, state.replicas, state.controller_epoch) = (Vec::new(), Vec::new(), 0);
                deleted += 1;
            }
        }
        assert_eq!(read.message(version), message, "{}", exchange.name);
        let answer: UpdateMetadataResponse = exchange.answered();
        let error = update_metadata_error(&answer);
        assert_eq!(error.code(), answer.error_code);
        assert_eq!(update_metadata_answer(error), answer);
    }
    assert!(deleted > 0);
}

#[test]
fn stop_replica_of_kafka_is_read_and_written_alike() {
    for exchange in recorded(ApiKey::StopReplica) {
        let version = exchange.version;
        let message: StopReplicaRequest = exchange.asked();
        let read = StopReplica::from_message(&message, version).unwrap();
        assert_eq!(
            read.messages(version),
            std::slice::from_ref(&message),
            "{}",
            exchange.name
        );
        let answer: StopReplicaResponse = exchange.answered();
        let typed = ControlAnswer::from_stop_replica(&answer);
        assert_eq!(typed.stop_replica_message(), answer, "{}", exchange.name);
    }
}

const SENDER: Sender = Sender {
    controller: BrokerId(3),
    controller_epoch: ControllerEpoch(4),
    broker_epoch: BrokerEpoch(5),
};
const OLD_SENDER: Sender = Sender {
    broker_epoch: BrokerEpoch(-1),
    ..SENDER
};

fn led(partition: i32) -> LeaderAndIsrPartition {
    LeaderAndIsrPartition {
        partition,
        controller_epoch: ControllerEpoch(2),
        leader: (partition != 1).then_some(BrokerId(6)),
        leader_epoch: LeaderEpoch(7),
        isr: vec![BrokerId(6)],
        partition_epoch: 8,
        replicas: vec![BrokerId(6), BrokerId(9)],
        adding_replicas: vec![BrokerId(9)],
        removing_replicas: vec![BrokerId(6)],
        is_new: true,
        recovering: true,
    }
}

#[test]
fn leader_and_isr_keeps_what_a_version_has() {
    let topic = |name: &str, id: u8| LeaderAndIsrTopic {
        name: name.into(),
        id: Uuid([id; 16]),
        partitions: vec![led(0), led(1)],
    };
    let full = LeaderAndIsr {
        sender: SENDER,
        topics: vec![topic("b", 1), topic("a", 2)],
    };
    for version in ApiKey::LeaderAndIsr.stable_versions() {
        let mut expected = full.clone();
        if version < 2 {
            expected.sender = OLD_SENDER;
        }
        for topic in &mut expected.topics {
            if version < 5 {
                topic.id = TopicId::ZERO;
            }
            for partition in &mut topic.partitions {
                partition.is_new &= version >= 1;
                partition.recovering &= version >= 6;
                if version < 3 {
                    partition.adding_replicas.clear();
                    partition.removing_replicas.clear();
                }
            }
        }
        let message = sent(&full.message(version, [], ""), version);
        assert_eq!(LeaderAndIsr::from_message(&message, version), Ok(expected));

        let answer = ControlAnswer {
            partitions: vec![
                (TopicPartition::new("b", 0), ErrorCode::None),
                (TopicPartition::new("b", 1), ErrorCode::StaleControllerEpoch),
                (TopicPartition::new("a", 1), ErrorCode::KafkaStorageError),
            ],
            ..ControlAnswer::default()
        };
        let message = sent(&answer.leader_and_isr_message(&full, version), version);
        assert_eq!(
            ControlAnswer::from_leader_and_isr(&message, &full, version),
            answer
        );
    }
}

#[test]
fn an_answer_by_ids_that_fits_nothing_or_several_is_left_out() {
    let topic = |name: &str, id: TopicId, partitions| LeaderAndIsrTopic {
        name: name.into(),
        id,
        partitions,
    };
    let asked = LeaderAndIsr {
        sender: SENDER,
        topics: vec![
            topic("old", Uuid::ZERO, vec![led(0), led(1)]),
            topic("older", Uuid::ZERO, vec![led(1)]),
        ],
    };
    let partitions = [("old", 0), ("old", 1), ("older", 1), ("old", 7)];
    let answer = ControlAnswer {
        partitions: partitions
            .map(|(topic, partition)| {
                (
                    TopicPartition::new(topic, partition),
                    ErrorCode::KafkaStorageError,
                )
            })
            .to_vec(),
        ..ControlAnswer::default()
    };
    let message = sent(&answer.leader_and_isr_message(&asked, 7), 7);
    assert_eq!(message.topics.len(), 1);
    let read = ControlAnswer::from_leader_and_isr(&message, &asked, 7);
    assert_eq!(read.partitions, answer.partitions[..1]);
}

#[test]
fn stop_replica_keeps_what_a_version_has() {
    let one = |topic: &str, partition, leader_epoch, delete| StopReplicaPartition {
        partition: TopicPartition::new(topic, partition),
        leader_epoch: LeaderEpoch(leader_epoch),
        delete,
    };
    let full = StopReplica {
        sender: SENDER,
        partitions: vec![one("b", 0, 3, true), one("b", 1, -2, true), one("a", 0, 4, false)],
    };
    for version in ApiKey::StopReplica.stable_versions() {
        let mut expected = full.clone();
        if version < 1 {
            expected.sender = OLD_SENDER;
        }
        if version < 3 {
            for partition in &mut expected.partitions {
                partition.leader_epoch = LeaderEpoch::NONE;
            }
        }
        let messages = full.messages(version);
        assert_eq!(messages.len(), if version < 3 { 2 } else { 1 });
        let read: Vec<StopReplica> = messages
            .iter()
            .map(|message| StopReplica::from_message(&sent(message, version), version).unwrap())
            .collect();
        assert!(read.iter().all(|part| part.sender == expected.sender));
        let partitions: Vec<_> = read.into_iter().flat_map(|part| part.partitions).collect();
        assert_eq!(partitions, expected.partitions, "{version}");
    }
    let kept = StopReplica {
        sender: SENDER,
        partitions: vec![one("a", 0, 4, false)],
    };
    assert_eq!(kept.messages(2).len(), 1);
}

#[test]
fn update_metadata_keeps_what_a_version_has() {
    let state = PartitionImage {
        controller_epoch: ControllerEpoch(2),
        leader: None,
        leader_epoch: LeaderEpoch(3),
        partition_epoch: 4,
        replicas: vec![BrokerId(1), BrokerId(2)],
        isr: vec![BrokerId(1)],
        offline_replicas: vec![BrokerId(2)],
    };
    let endpoints = [("INSIDE", "SASL_SSL", 9093), ("OUTSIDE", "PLAINTEXT", 9092)];
    let full = UpdateMetadata {
        controller: SENDER.controller,
        controller_epoch: SENDER.controller_epoch,
        broker_epoch: SENDER.broker_epoch,
        live_brokers: vec![Arc::new(broker(1, &endpoints, Some("r")))],
        topics: vec![UpdateMetadataTopic {
            name: "a".into(),
            id: Uuid([9; 16]),
            partitions: vec![
                (0, PartitionMetadata::State(Arc::new(state.clone()))),
                (1, PartitionMetadata::Deleted),
            ],
        }],
    };
    for version in ApiKey::UpdateMetadata.stable_versions() {
        let listeners = match version {
            0 => vec![("PLAINTEXT", "PLAINTEXT", 9092)],
            1 | 2 => vec![("SASL_SSL", "SASL_SSL", 9093), ("PLAINTEXT", "PLAINTEXT", 9092)],
            _ => endpoints.to_vec(),
        };
        let rack = (version >= 2).then_some("r");
        let mut state = state.clone();
        if version < 4 {
            state.offline_replicas.clear();
        }
        let expected = UpdateMetadata {
            broker_epoch: BrokerEpoch(if version < 5 { -1 } else { 5 }),
            live_brokers: vec![Arc::new(broker(1, &listeners, rack))],
            topics: vec![UpdateMetadataTopic {
                name: "a".into(),
                id: if version < 7 { Uuid::ZERO } else { Uuid([9; 16]) },
                partitions: vec![
                    (0, PartitionMetadata::State(Arc::new(state))),
                    (1, PartitionMetadata::Deleted),
                ],
            }],
            ..full.clone()
        };
        let message = sent(&full.message(version), version);
        assert_eq!(
            UpdateMetadata::from_message(&message, version),
            Ok(expected),
            "{version}"
        );
    }
    let mut message = full.message(8);
    message.live_brokers[0].endpoints[0].security_protocol = 9;
    assert_eq!(
        UpdateMetadata::from_message(&message, 8),
        Err(Refused::SecurityProtocol(9))
    );
}
