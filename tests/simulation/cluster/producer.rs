//! An idempotent producer with acks=all: each batch again, with its sequence, until it is answered.

use std::time::Duration;

use barnabas::base::clock;
use barnabas::base::ids::{ProducerEpoch, ProducerId};
use barnabas::records::build::{BatchBuilder, BatchOptions};
use barnabas::store::znodes::paths;
use barnabas::wire::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse,
};
use barnabas::wire::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use barnabas::wire::messages::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use barnabas::wire::text::Text;
use bytes::Bytes;

use super::client::ClusterClient;
use super::observed::Committed;
use super::{BRIEF, PARTITIONS, TOPIC, UNCLEAN, name_of};

/// Errors after which the same batch is sent again (Kafka: `RetriableException`).
const AGAIN: [i16; 11] = [3, 5, 6, 7, 9, 13, 19, 20, 56, 74, 75];
/// The broker does not know what this producer wrote before: records are lost.
const LOST: [i16; 2] = [45, 59];

/// Makes a topic; false when it is not known whether that is the one that is there.
pub async fn create_topic(client: &mut ClusterClient, topic: &'static str) -> bool {
    let config = |name: &'static str, value: &'static str| CreatableTopicConfig {
        name: Text::from(name),
        value: Some(Text::from(value)),
    };
    let (partitions, replicas, least, unclean) = match topic {
        TOPIC => (4, 3, "2", "false"),
        UNCLEAN => (1, 2, "1", "true"),
        _ => (1, 3, "2", "false"),
    };
    let mut configs = vec![
        config("min.insync.replicas", least),
        config("unclean.leader.election.enable", unclean),
    ];
    if topic == BRIEF {
        configs.push(config("segment.bytes", "3000"));
    }
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: Text::from(topic),
            num_partitions: partitions,
            replication_factor: replicas,
            configs,
            ..CreatableTopic::default()
        }],
        timeout_ms: 1_000,
        ..CreateTopicsRequest::default()
    };
    let broker = client.any();
    let answer = client.ask::<_, CreateTopicsResponse>(broker, &request, 5).await;
    answer.is_some_and(|answer| answer.topics[0].error_code == 0)
}

async fn create_topics(client: &mut ClusterClient) {
    for topic in [TOPIC, UNCLEAN] {
        while client.store.peek(&paths::topic(topic)).is_none() {
            create_topic(client, topic).await;
            client.sleep(50, 100).await;
        }
    }
}

async fn producer_id(client: &mut ClusterClient) -> (ProducerId, ProducerEpoch) {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: 60_000,
        ..InitProducerIdRequest::default()
    };
    loop {
        let broker = client.any();
        match client.ask::<_, InitProducerIdResponse>(broker, &request, 4).await {
            Some(answer) if answer.error_code == 0 => {
                client.note(&format!("is producer {}", answer.producer_id));
                return (
                    ProducerId(answer.producer_id),
                    ProducerEpoch(answer.producer_epoch),
                );
            }
            _ => clock::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Produces until it is told to finish.
pub async fn produce(mut client: ClusterClient) {
    let observed = client.observed.clone();
    create_topics(&mut client).await;
    let (mut id, mut epoch) = producer_id(&mut client).await;
    let mut sequences = [0; PARTITIONS as usize];
    let mut number = 0;
    while !client.is_over() {
        let partition = client.random.below(PARTITIONS as u64) as i32;
        let mut builder = BatchBuilder::new(BatchOptions {
            producer_id: id,
            producer_epoch: epoch,
            base_sequence: sequences[partition as usize],
            ..BatchOptions::default()
        });
        let mut values = Vec::new();
        for _ in 0..=client.random.below(4) {
            let filling = "x".repeat(client.random.below(120) as usize);
            let value = Bytes::from(format!("{} {number} {filling}", client.name));
            number += 1;
            builder.append(clock::now_ms(), None, Some(&value), &[]).unwrap();
            values.push(value);
        }
        observed.lock().sent.extend(values.iter().cloned());
        let request = ProduceRequest {
            transactional_id: None,
            acks: -1,
            timeout_ms: 800,
            topic_data: vec![TopicProduceData {
                name: Text::from(name_of(partition).0),
                partition_data: vec![PartitionProduceData {
                    index: name_of(partition).1,
                    records: Some(builder.build().unwrap().1),
                }],
                ..TopicProduceData::default()
            }],
        };
        let Some((base, broker, once)) = acknowledged(&mut client, &request, partition).await else {
            (id, epoch) = producer_id(&mut client).await;
            sequences = [0; PARTITIONS as usize];
            continue;
        };
        sequences[partition as usize] += values.len() as i32;
        let isr = client.isr(partition);
        client.note(&format!(
            "{partition} {base} +{} acknowledged by {broker}, ISR {isr:?}",
            values.len()
        ));
        for (offset, value) in (base..).zip(values) {
            let (at_ms, isr) = (clock::now_ms(), isr.clone());
            let record = Committed {
                value,
                at_ms,
                isr,
                broker,
                once,
            };
            observed.lock().acknowledge((partition, offset), record);
        }
        client.sleep(0, 59).await;
    }
    observed.lock().producers_running -= 1;
    client.note("is done");
}

/// Where the batch is, who said so, and whether it was sent once; `None` when the broker lost what came before it.
async fn acknowledged(
    client: &mut ClusterClient,
    request: &ProduceRequest,
    partition: i32,
) -> Option<(i64, i32, bool)> {
    let observed = client.observed.clone();
    let mut sent = 0;
    loop {
        if let Some(&broker) = client.leaders.get(&partition) {
            sent += 1;
            let answer = client.ask::<_, ProduceResponse>(broker, request, 9).await;
            let answer = answer.map(|answer| {
                let answer = &answer.responses[0].partition_responses[0];
                (answer.error_code, answer.base_offset)
            });
            match answer {
                None => {}
                Some((0, base)) => return Some((base, broker, sent == 1)),
                Some((error, _)) if AGAIN.contains(&error) => {
                    client.note(&format!("{partition} refused by {broker}: {error}"));
                }
                Some((error, _)) => {
                    client.note(&format!("{partition} refused by {broker} for good: {error}"));
                    let mut observed = observed.lock();
                    let may_have_lost =
                        !observed.cuts.is_empty() || observed.unclean.contains_key(&partition);
                    if !LOST.contains(&error) || !may_have_lost {
                        let problem = format!("{}: {partition} at {broker}: error {error}", client.name);
                        observed.violation("refused", problem);
                    }
                    observed.begun_anew += 1;
                    return None;
                }
            }
        }
        observed.lock().repeated += 1;
        client.refresh().await;
        clock::sleep(Duration::from_millis(30)).await;
    }
}
