//! Single answers that a Kafka 3.9.2 was asked for, side by side: error codes and texts that a client tells apart.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]

mod socket;

use barnabas::base::clock;
use barnabas::base::ids::{ProducerEpoch, ProducerId};
use barnabas::records::build::BatchOptions;
use barnabas::wire::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreateTopicsRequest, CreateTopicsResponse,
};
use barnabas::wire::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResponse,
};
use barnabas::wire::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use barnabas::wire::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use barnabas::wire::text::Text;
use socket::{Client, TestBroker, batch_with};

fn topic(name: &str, assignments: Vec<CreatableReplicaAssignment>) -> CreatableTopic {
    let by_hand = !assignments.is_empty();
    CreatableTopic {
        name: Text::copy(name),
        num_partitions: if by_hand { -1 } else { 1 },
        replication_factor: if by_hand { -1 } else { 1 },
        assignments,
        ..CreatableTopic::default()
    }
}

fn create(client: &mut Client, topics: Vec<CreatableTopic>, timeout_ms: i32) -> Vec<(String, i16, bool)> {
    let request = CreateTopicsRequest {
        topics,
        timeout_ms,
        ..CreateTopicsRequest::default()
    };
    let response: CreateTopicsResponse = client.ask(&request, 4);
    let seen = |one: &barnabas::wire::messages::create_topics::CreatableTopicResult| {
        (one.name.to_string(), one.error_code, one.error_message.is_some())
    };
    response.topics.iter().map(seen).collect()
}

fn metadata_error(client: &mut Client, name: &str) -> i16 {
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some(Text::copy(name)),
            ..MetadataRequestTopic::default()
        }]),
        allow_auto_topic_creation: true,
        ..MetadataRequest::default()
    };
    let response: MetadataResponse = client.ask(&request, 8);
    response.topics[0].error_code
}

#[test]
fn a_topic_that_is_created_has_no_text_and_one_named_twice_is_refused_twice() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    let topics = vec![topic("one", vec![]), topic("two", vec![]), topic("two", vec![])];
    let mut answers = create(&mut client, topics, 30_000);
    answers.sort();
    assert_eq!(
        answers,
        [
            ("one".to_owned(), 0, false),
            ("two".to_owned(), 42, true),
            ("two".to_owned(), 42, true)
        ]
    );
}

#[test]
fn partitions_assigned_to_a_broker_that_is_not_there_are_waited_for() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    let nowhere = CreatableReplicaAssignment {
        partition_index: 0,
        broker_ids: vec![7],
    };
    let topics = vec![topic("led", vec![]), topic("nowhere", vec![nowhere])];
    let mut answers = create(&mut client, topics, 200);
    answers.sort();
    assert_eq!(
        answers
            .iter()
            .map(|(name, code, _)| (name.as_str(), *code))
            .collect::<Vec<_>>(),
        [("led", 0), ("nowhere", 7)]
    );
}

#[test]
fn why_a_topic_cannot_be_created_by_asking_for_it() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    assert_eq!(metadata_error(&mut client, "a.b"), 0);
    assert_eq!(metadata_error(&mut client, "a_b"), 17, "it collides");
    let broker = TestBroker::start(&[("default.replication.factor", "2")]);
    assert_eq!(metadata_error(&mut broker.client(), "two-replicas"), 38);
    let broker = TestBroker::start(&[("auto.create.topics.enable", "false")]);
    assert_eq!(metadata_error(&mut broker.client(), "unknown"), 3);
}

#[test]
fn configs_that_are_described_have_an_empty_text_and_metrics_subscriptions_are_refused() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    assert_eq!(client.create_topic("t", 1, &[]), 0);
    let resource = |kind, name| DescribeConfigsResource {
        resource_type: kind,
        resource_name: Text::copy(name),
        configuration_keys: None,
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource(2, "t"), resource(16, "x")],
        ..DescribeConfigsRequest::default()
    };
    let response: DescribeConfigsResponse = client.ask(&request, 4);
    assert_eq!(response.results[0].error_code, 0);
    assert_eq!(response.results[0].error_message.as_deref(), Some(""));
    assert_eq!(response.results[1].error_code, 42);
}

#[test]
fn a_transactional_id_has_no_coordinator_here() {
    let broker = TestBroker::start(&[]);
    let request = InitProducerIdRequest {
        transactional_id: Some(Text::from("t")),
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
    };
    let response: InitProducerIdResponse = broker.client().ask(&request, 3);
    assert_eq!((response.error_code, response.producer_id), (16, -1));
}

fn new_producer_id(client: &mut Client) -> i64 {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
    };
    let response: InitProducerIdResponse = client.ask(&request, 3);
    assert_eq!((response.error_code, response.producer_epoch), (0, 0));
    response.producer_id
}

/// Given out by another broker, which had the log directories for a while. The first batch of a new producer with such an
/// id would be taken for the old one's, acknowledged and dropped.
#[test]
fn producer_ids_that_a_log_knows_are_not_given_out() {
    let mut broker = TestBroker::start(&[]);
    broker.create_topic("t", &[]);
    let mut client = broker.client();
    for producer in [0, 2, 1000] {
        let options = BatchOptions {
            producer_id: ProducerId(producer),
            producer_epoch: ProducerEpoch(0),
            base_sequence: 0,
            ..BatchOptions::default()
        };
        // A producer whose last batch is old is forgotten by the next start.
        let records = batch_with(options, clock::now_ms(), &["old"]);
        let produced = client.produce("t", 0, records, 9);
        assert_eq!(produced.error_code, 0);
    }
    assert_eq!(
        [new_producer_id(&mut client), new_producer_id(&mut client)],
        [1, 3]
    );
    drop(client);
    broker.restart();
    assert_eq!(new_producer_id(&mut broker.client()), 1001);
}
