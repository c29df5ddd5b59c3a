//! Requests that take long let others on their thread have their turn. Counted, not timed.

use std::sync::Arc;

use bytes::Bytes;

use super::Services;
use super::testing::{self, context, decoded};
use crate::base::format::Codec;
use crate::base::ids::TopicPartition;
use crate::base::task::turns;
use crate::records::build::BatchOptions;
use crate::replica::testing::{TestBroker, batch, batch_with, topic_id};
use crate::wire::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use crate::wire::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResponse,
};
use crate::wire::messages::describe_producers::{DescribeProducersRequest, TopicRequest};
use crate::wire::messages::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use crate::wire::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use crate::wire::messages::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use crate::wire::messages::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use crate::wire::text::Text;

/// A broker that leads both partitions of `t`.
async fn services() -> (TestBroker, Arc<Services>) {
    let broker = TestBroker::new(1);
    broker.lead("t", 1, 2, 0, &[1]).await;
    let services = testing::services(&broker);
    (broker, services)
}

async fn produce(services: &Arc<Services>, times: usize, records: &Bytes) -> (ProduceResponse, usize) {
    let partition = || PartitionProduceData {
        index: 0,
        records: Some(records.clone()),
    };
    let request = ProduceRequest {
        acks: 1,
        timeout_ms: 1000,
        topic_data: vec![TopicProduceData {
            name: Text::from_static("t"),
            topic_id: topic_id(1),
            partition_data: (0..times).map(|_| partition()).collect(),
        }],
        ..ProduceRequest::default()
    };
    let context = context(9);
    let (answer, turns) = turns(super::produce::handle(services, &context, request)).await;
    (decoded(answer.unwrap(), 9).await, turns)
}

#[tokio::test]
async fn a_produce_of_much_lets_others_have_their_turn() {
    let (_broker, services) = services().await;
    let (_, turns) = produce(&services, 8, &batch(1, 10)).await;
    assert_eq!(turns, 0);
    let large = batch(300, 1000);
    let (response, turns) = produce(&services, 8, &large).await;
    assert_eq!(turns, 2);
    let partitions = &response.responses[0].partition_responses;
    assert!(partitions.iter().all(|one| one.error_code == 0));
    // What is compressed may be far longer than it looks.
    let options = BatchOptions {
        codec: Codec::Gzip,
        ..BatchOptions::default()
    };
    let compressed = batch_with(300, 1000, options);
    assert_eq!(super::produce::work(&large), large.len());
    assert_eq!(super::produce::work(&compressed), 64 * compressed.len());
    assert_eq!(super::produce::work(&[]), 0);
}

#[tokio::test]
async fn a_fetch_that_converts_much_lets_others_have_their_turn() {
    let (_broker, services) = services().await;
    // Records without values: few bytes, and much to convert.
    produce(&services, 1, &batch(40_000, 0)).await;
    let wanted = |partition: i32| FetchPartition {
        partition,
        partition_max_bytes: 1_000_000,
        ..FetchPartition::default()
    };
    let mut taken = Vec::new();
    for version in [2, 4] {
        let request = FetchRequest {
            replica_id: -1,
            max_bytes: i32::MAX,
            topics: vec![FetchTopic {
                topic: Text::from_static("t"),
                partitions: (0..12).map(wanted).collect(),
                ..FetchTopic::default()
            }],
            ..FetchRequest::default()
        };
        let context = context(version);
        let fetched = async {
            let answer = super::fetch::handle(&services, &context, request).await;
            decoded::<FetchResponse>(answer.unwrap(), version).await
        };
        let (response, turns) = turns(fetched).await;
        assert_eq!(response.responses[0].partitions.len(), 12);
        taken.push(turns);
    }
    // By what was converted, not by how many partitions were asked for.
    assert_eq!(taken[0], taken[1] + 1);
}

#[tokio::test]
async fn many_resources_and_look_ups_let_others_have_their_turn() {
    let (_broker, services) = services().await;
    let resource = |number: i32| DescribeConfigsResource {
        resource_type: 2,
        resource_name: Text::from(format!("t{number}")),
        configuration_keys: None,
    };
    let request = DescribeConfigsRequest {
        resources: (0..12).map(resource).collect(),
        ..DescribeConfigsRequest::default()
    };
    let client = context(4);
    let (answer, configs) = turns(super::configs::describe(&services, &client, request)).await;
    let response: DescribeConfigsResponse = decoded(answer.unwrap(), 4).await;
    assert_eq!((response.results.len(), configs), (12, 3));
    let partition = |partition_index: i32| ListOffsetsPartition {
        partition_index,
        timestamp: -1,
        ..ListOffsetsPartition::default()
    };
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: Text::from_static("t"),
            partitions: (0..2048).map(partition).collect(),
        }],
        ..ListOffsetsRequest::default()
    };
    let client = context(5);
    let (answer, offsets) = turns(super::list_offsets::handle(&services, &client, request)).await;
    assert!(answer.is_ok());
    assert_eq!(offsets, 2);
}

#[tokio::test]
async fn what_is_asked_of_many_partitions_lets_others_have_their_turn() {
    const PARTITIONS: i32 = 2048;
    let (broker, services) = services().await;
    let client = context(2);
    let partition = |partition: i32| OffsetForLeaderPartition {
        partition,
        ..OffsetForLeaderPartition::default()
    };
    let request = OffsetForLeaderEpochRequest {
        topics: vec![OffsetForLeaderTopic {
            topic: Text::from_static("t"),
            partitions: (0..PARTITIONS).map(partition).collect(),
        }],
        ..OffsetForLeaderEpochRequest::default()
    };
    let (answer, taken) = turns(super::offset_for_leader_epoch::handle(
        &services, &client, request,
    ))
    .await;
    assert!(answer.is_ok());
    assert_eq!(taken, 2);

    let partition = |partition_index: i32| DeleteRecordsPartition {
        partition_index,
        offset: 0,
    };
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: Text::from_static("t"),
            partitions: (0..PARTITIONS).map(partition).collect(),
        }],
        timeout_ms: 1000,
    };
    let (answer, taken) = turns(super::delete_records::handle(&services, &client, request)).await;
    assert!(answer.is_ok());
    assert_eq!(taken, 2);

    let client = context(0);
    let request = DescribeProducersRequest {
        topics: vec![TopicRequest {
            name: Text::from_static("t"),
            partition_indexes: (0..PARTITIONS).collect(),
        }],
    };
    let (answer, taken) = turns(super::describe_producers::handle(&services, &client, request)).await;
    assert!(answer.is_ok());
    assert_eq!(taken, 2);

    let names: Vec<_> = (0..PARTITIONS)
        .map(|number| TopicPartition::new("u", number))
        .collect();
    let (answers, taken) = turns(broker.replicas.alter_directories("/nowhere", &names)).await;
    assert_eq!(answers.len(), names.len());
    assert_eq!(taken, 2);
}
