//! What the clients of a broker do, and what they come to know: an idempotent producer to a topic that is flushed with
//! each append, a plain producer to a topic that is left to the page cache, and a consumer of both.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use barnabas::base::clock;
use barnabas::base::ids::{ProducerEpoch, ProducerId};
use barnabas::base::random::Random;
use barnabas::records::batch::Batches;
use barnabas::records::build::{BatchBuilder, BatchOptions};
use barnabas::wire::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse,
};
use barnabas::wire::messages::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use barnabas::wire::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use barnabas::wire::messages::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use barnabas::wire::text::Text;
use bytes::Bytes;

use crate::client::Client;

/// Flushed with each append.
pub const FLUSHED: &str = "flushed";
/// Flushed when the system likes.
pub const UNFLUSHED: &str = "unflushed";
const PARTITIONS: i32 = 2;
/// Requests of each producer.
const REQUESTS: usize = 60;

const OFFSET_OUT_OF_RANGE: i16 = 1;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const TOPIC_ALREADY_EXISTS: i16 = 36;

/// A place in a log.
pub type Place = (&'static str, i32, i64);

/// What the clients of one broker know.
#[derive(Default)]
pub struct Known {
    /// The acknowledged records.
    pub acknowledged: BTreeMap<Place, Vec<Bytes>>,
    /// Every value that was ever sent.
    pub sent: Vec<Bytes>,
    /// The logs as they were read from their beginnings at the end.
    pub read: BTreeMap<Place, Bytes>,
    /// Requests that were sent again.
    pub repeated: usize,
    producers_done: usize,
}

/// Shared by the clients of one broker.
pub type Shared = Arc<Mutex<Known>>;

/// Creates the topics.
pub async fn create_topics(client: &mut Client) {
    let config = |name: &'static str, value: &'static str| CreatableTopicConfig {
        name: Text::from(name),
        value: Some(Text::from(value)),
    };
    let topic = |name: &'static str, mut configs: Vec<_>| {
        configs.push(config("segment.bytes", "4000"));
        CreatableTopic {
            name: Text::from(name),
            num_partitions: PARTITIONS,
            replication_factor: 1,
            configs,
            ..CreatableTopic::default()
        }
    };
    let request = CreateTopicsRequest {
        topics: vec![
            topic(FLUSHED, vec![config("flush.messages", "1")]),
            topic(UNFLUSHED, vec![]),
        ],
        timeout_ms: 10_000,
        ..CreateTopicsRequest::default()
    };
    loop {
        let Some(answer) = client.ask::<_, CreateTopicsResponse>(&request, 5).await else {
            continue;
        };
        for topic in answer.topics {
            assert!([0, TOPIC_ALREADY_EXISTS].contains(&topic.error_code), "{topic:?}");
        }
        return;
    }
}

async fn producer_id(client: &mut Client) -> (ProducerId, ProducerEpoch) {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: 60_000,
        ..InitProducerIdRequest::default()
    };
    loop {
        match client.ask::<_, InitProducerIdResponse>(&request, 4).await {
            Some(answer) if answer.error_code == 0 => {
                return (
                    ProducerId(answer.producer_id),
                    ProducerEpoch(answer.producer_epoch),
                );
            }
            _ => client.pause().await,
        }
    }
}

/// Produces to `topic`, each request again until it is answered.
pub async fn produce(mut client: Client, topic: &'static str, random: Random, known: Shared) {
    create_topics(&mut client).await;
    let idempotent = topic == FLUSHED;
    let (producer_id, producer_epoch) = match idempotent {
        true => producer_id(&mut client).await,
        false => (ProducerId::NONE, ProducerEpoch::NONE),
    };
    let mut sequences = [0; PARTITIONS as usize];
    for number in 0..REQUESTS {
        let partition = random.below(PARTITIONS as u64) as i32;
        let sequence = &mut sequences[partition as usize];
        let mut builder = BatchBuilder::new(BatchOptions {
            producer_id,
            producer_epoch,
            base_sequence: if idempotent { *sequence } else { -1 },
            ..BatchOptions::default()
        });
        let mut values = Vec::new();
        for record in 0..=random.below(4) {
            let filling = "x".repeat(random.below(300) as usize);
            let value = Bytes::from(format!("{topic} {number} {record} {filling}"));
            builder.append(clock::now_ms(), None, Some(&value), &[]).unwrap();
            values.push(value);
        }
        *sequence += values.len() as i32;
        known.lock().unwrap().sent.extend(values.iter().cloned());
        let request = ProduceRequest {
            transactional_id: None,
            acks: if random.below(2) == 0 || idempotent { -1 } else { 1 },
            timeout_ms: 5_000,
            topic_data: vec![TopicProduceData {
                name: Text::from(topic),
                partition_data: vec![PartitionProduceData {
                    index: partition,
                    records: Some(builder.build().unwrap().1),
                }],
                ..TopicProduceData::default()
            }],
        };
        let base_offset = acknowledged(&mut client, &request, &known).await;
        for (offset, value) in (base_offset..).zip(values) {
            let place = (topic, partition, offset);
            let mut known = known.lock().unwrap();
            known.acknowledged.entry(place).or_default().push(value);
        }
        clock::sleep(Duration::from_millis(random.below(40))).await;
    }
    known.lock().unwrap().producers_done += 1;
}

async fn acknowledged(client: &mut Client, request: &ProduceRequest, known: &Shared) -> i64 {
    loop {
        if let Some(answer) = client.ask::<_, ProduceResponse>(request, 9).await {
            let partition = &answer.responses[0].partition_responses[0];
            match partition.error_code {
                0 => return partition.base_offset,
                // A broker that has just started is not a leader yet. Anything else, a sequence out of order above
                // all, is a fault of the broker.
                UNKNOWN_TOPIC_OR_PARTITION | 5 | 6 => client.pause().await,
                _ => panic!("{partition:?}"),
            }
        }
        known.lock().unwrap().repeated += 1;
    }
}

/// Follows both topics while they are written, and reads them anew in the end.
pub async fn consume(mut client: Client, known: Shared) {
    create_topics(&mut client).await;
    loop {
        let done = known.lock().unwrap().producers_done == 2;
        let read = read_to_end(&mut client).await;
        if done {
            known.lock().unwrap().read = read;
            return;
        }
    }
}

/// Reads all partitions from their beginnings until nothing more comes for a while.
async fn read_to_end(client: &mut Client) -> BTreeMap<Place, Bytes> {
    let mut read = BTreeMap::new();
    let mut next: BTreeMap<(&'static str, i32), i64> = [FLUSHED, UNFLUSHED]
        .into_iter()
        .flat_map(|topic| (0..PARTITIONS).map(move |partition| ((topic, partition), 0)))
        .collect();
    loop {
        let topics = [FLUSHED, UNFLUSHED].map(|topic| FetchTopic {
            topic: Text::from(topic),
            partitions: (0..PARTITIONS)
                .map(|partition| FetchPartition {
                    partition,
                    fetch_offset: next[&(topic, partition)],
                    partition_max_bytes: 3_000,
                    ..FetchPartition::default()
                })
                .collect(),
            ..FetchTopic::default()
        });
        let request = FetchRequest {
            max_wait_ms: 100,
            min_bytes: 1,
            max_bytes: 5_000,
            session_epoch: -1,
            topics: topics.into(),
            ..FetchRequest::default()
        };
        let Some(answer) = client.ask::<_, FetchResponse>(&request, 12).await else {
            continue;
        };
        let mut more = false;
        for (topic, answer) in [FLUSHED, UNFLUSHED].into_iter().zip(answer.responses) {
            assert_eq!(&*answer.topic, topic);
            for partition in answer.partitions {
                let next = next.get_mut(&(topic, partition.partition_index)).unwrap();
                match partition.error_code {
                    0 => {}
                    // The power went meanwhile: what was read is no longer so.
                    OFFSET_OUT_OF_RANGE => {
                        *next = 0;
                        more = true;
                        continue;
                    }
                    _ => {
                        more = true;
                        client.pause().await;
                        continue;
                    }
                }
                let bytes = partition.records.unwrap_or_default();
                for batch in Batches::new(&bytes) {
                    // Not an error: the last batch may be cut off by the bound.
                    let Ok(batch) = batch else { break };
                    batch.check_crc().unwrap();
                    let mut records = batch.records(None).unwrap();
                    while let Some(record) = records.next().unwrap() {
                        let value = Bytes::copy_from_slice(record.value.unwrap());
                        read.insert((topic, partition.partition_index, record.offset.get()), value);
                        *next = record.offset.get() + 1;
                        more = true;
                    }
                }
                more |= *next < partition.high_watermark;
            }
        }
        if !more {
            return read;
        }
    }
}
