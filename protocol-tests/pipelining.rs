//! Several requests in one write: in which order they take effect, and in which they are answered. That this holds while
//! the first of them waits, at each place where one can, is in `net::pipelining_test`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods
)]

mod socket;

use barnabas::base::ids::{ProducerEpoch, ProducerId};
use barnabas::records::batch::Batches;
use barnabas::records::build::BatchOptions;
use barnabas::wire::messages::fetch::FetchResponse;
use barnabas::wire::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use barnabas::wire::messages::produce::ProduceResponse;
use barnabas::wire::{ApiKey, Message as _, Reader};
use bytes::Bytes;
use socket::{Client, TestBroker, batch, batch_with, fetch_request, produce_request};

fn producer_id(client: &mut Client) -> i64 {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
    };
    client.ask::<_, InitProducerIdResponse>(&request, 3).producer_id
}

fn numbered(producer: i64, sequence: i32, values: &[&str]) -> Bytes {
    let options = BatchOptions {
        producer_id: ProducerId(producer),
        producer_epoch: ProducerEpoch(0),
        base_sequence: sequence,
        ..BatchOptions::default()
    };
    batch_with(options, 1_000, values)
}

#[test]
fn five_idempotent_produces_in_one_write_are_appended_and_answered_in_order() {
    let broker = TestBroker::start(&[]);
    broker.create_topic("t", &[]);
    let mut client = broker.client();
    for acks in [-1, 1] {
        for round in 0..50 {
            let producer = producer_id(&mut client);
            let start = client.log_end("t");
            let mut sent = Vec::new();
            let mut frames = Vec::new();
            for number in 0..5 {
                let records = numbered(producer, number * 2, &["a", "b"]);
                let mut request = produce_request("t", 0, records);
                request.acks = acks;
                let (correlation_id, frame) = client.request_frame(&request, 9);
                sent.push(correlation_id);
                frames.extend(frame);
            }
            if round % 2 == 0 {
                client.send_raw(&frames);
            } else {
                // Cut anywhere.
                for piece in frames.chunks(37) {
                    client.send_raw(piece);
                }
            }
            for (number, sent) in sent.into_iter().enumerate() {
                let (correlation_id, answer) = client.receive::<ProduceResponse>(9);
                let partition = &answer.responses[0].partition_responses[0];
                assert_eq!(correlation_id, sent);
                assert_eq!(partition.error_code, 0, "round {round}, produce {number}");
                assert_eq!(partition.base_offset, start + 2 * number as i64);
            }
            let records = client.fetch("t", start).records.unwrap();
            let sequences: Vec<_> = Batches::new(&records)
                .map(|batch| batch.unwrap().base_sequence)
                .collect();
            assert_eq!(sequences, [0, 2, 4, 6, 8]);
        }
    }
}

#[test]
fn a_refused_produce_in_the_middle_keeps_its_place() {
    let broker = TestBroker::start(&[]);
    broker.create_topic("t", &[]);
    let mut client = broker.client();
    let producer = producer_id(&mut client);
    let batches = [
        ("t", numbered(producer, 0, &["a"])),
        ("nowhere/at all", numbered(producer, 1, &["b"])),
        ("t", numbered(producer, 2, &["c"])), // A gap: 1 did not get here.
        ("t", numbered(producer, 1, &["b"])),
        ("t", numbered(producer, 0, &["a"])), // A duplicate.
    ];
    let mut frames = Vec::new();
    for (topic, records) in batches {
        frames.extend(client.request_frame(&produce_request(topic, 0, records), 9).1);
    }
    client.send_raw(&frames);
    let mut answers = Vec::new();
    for _ in 0..5 {
        let (correlation_id, answer) = client.receive::<ProduceResponse>(9);
        let partition = &answer.responses[0].partition_responses[0];
        answers.push((correlation_id, partition.error_code, partition.base_offset));
    }
    // UNKNOWN_TOPIC_OR_PARTITION, OUT_OF_ORDER_SEQUENCE_NUMBER; the duplicate is told where it is.
    assert_eq!(
        answers,
        [(2, 0, 0), (3, 3, -1), (4, 45, -1), (5, 0, 1), (6, 0, 0)]
    );
    assert_eq!(client.log_end("t"), 2);
}

#[test]
fn a_parked_fetch_holds_up_no_produce_behind_it() {
    let broker = TestBroker::start(&[]);
    broker.create_topic("t", &[]);
    let mut client = broker.client();
    let mut fetch = fetch_request("t", 0, 0);
    fetch.max_wait_ms = i32::MAX;
    fetch.min_bytes = 1;
    let (fetched, mut frames) = client.request_frame(&fetch, 11);
    let (produced, frame) = client.request_frame(&produce_request("t", 0, batch(&["a"])), 9);
    frames.extend(frame);
    let (versions, frame) = client.frame(ApiKey::ApiVersions, 0, &[]);
    frames.extend(frame);
    client.send_raw(&frames);
    // The fetch can be answered only by what the produce behind it brings; the answers keep the requests' order.
    let (correlation_id, answer) = client.receive::<FetchResponse>(11);
    assert_eq!(correlation_id, fetched);
    let records = answer.responses[0].partitions[0].records.clone().unwrap();
    assert_eq!(Batches::new(&records).count(), 1);
    let (correlation_id, answer) = client.receive::<ProduceResponse>(9);
    assert_eq!(correlation_id, produced);
    assert_eq!(answer.responses[0].partition_responses[0].base_offset, 0);
    assert_eq!(client.answer(ApiKey::ApiVersions, 0).unwrap().0, versions);
}

#[test]
fn requests_of_all_kinds_in_one_write_are_answered_in_order() {
    let broker = TestBroker::start(&[]);
    broker.create_topic("t", &[]);
    let mut client = broker.client();
    let mut frames = Vec::new();
    let mut sent = Vec::new();
    for number in 0..500 {
        let (correlation_id, key, frame) = match number % 4 {
            0 => {
                let (id, frame) = client.request_frame(&produce_request("t", 0, batch(&["a"])), 9);
                (id, ApiKey::Produce, frame)
            }
            1 => {
                let mut fetch = fetch_request("t", 0, number / 4 + 1);
                (fetch.max_wait_ms, fetch.min_bytes) = (5, 1);
                let (id, frame) = client.request_frame(&fetch, 11);
                (id, ApiKey::Fetch, frame)
            }
            2 => {
                let (id, frame) = client.frame(ApiKey::ApiVersions, 0, &[]);
                (id, ApiKey::ApiVersions, frame)
            }
            _ => {
                let (id, frame) = client.frame(ApiKey::DescribeCluster, 0, &[0, 0]);
                (id, ApiKey::DescribeCluster, frame)
            }
        };
        sent.push((correlation_id, key));
        frames.extend(frame);
    }
    client.send_raw(&frames);
    for (sent, key) in sent {
        let version = match key {
            ApiKey::Produce => 9,
            ApiKey::Fetch => 11,
            _ => 0,
        };
        let (correlation_id, body) = client.answer(key, version).unwrap();
        assert_eq!(correlation_id, sent, "{key}");
        if key == ApiKey::Produce {
            let answer = ProduceResponse::decode(&mut Reader::new(body), version).unwrap();
            assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
        }
    }
    assert_eq!(client.log_end("t"), 125);
}
