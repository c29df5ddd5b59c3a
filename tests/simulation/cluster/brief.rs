//! A topic that is deleted and made again and again, while brokers come and go: each life has its own records, and no
//! other's.

use barnabas::base::clock;
use barnabas::base::ids::Uuid;
use barnabas::records::batch::Batches;
use barnabas::records::build::{BatchBuilder, BatchOptions};
use barnabas::store::znodes::{Topic, paths};
use barnabas::wire::messages::delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
use barnabas::wire::messages::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use barnabas::wire::messages::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use barnabas::wire::text::Text;
use bytes::Bytes;

use super::client::ClusterClient;
use super::observed::Committed;
use super::producer::create_topic;
use super::{BRIEF, number_of};

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;

/// Deletes and makes the topic until all is to end; the last life stays.
pub async fn live_and_die(mut client: ClusterClient) {
    let mut before = None;
    for life in 1_u64.. {
        let id = born(&mut client, before).await;
        let wanted = 3 + client.random.below(12);
        let mut acknowledged = 0;
        for number in 0..wanted {
            if write(&mut client, id, life, number).await {
                acknowledged += 1;
            }
            client.sleep(0, 200).await;
        }
        read(&mut client, id, life).await;
        client.note(&format!("life {life}: {acknowledged} of {wanted} acknowledged"));
        if client.is_over() {
            client.observed.lock().did("lives of a topic");
            return;
        }
        die(&mut client, id).await;
        client.observed.lock().did("lives of a topic");
        before = Some(id);
    }
}

/// The topic's id, as the store has it.
fn id_of(client: &ClusterClient) -> Option<Uuid> {
    let node = client.store.peek(&paths::topic(BRIEF))?;
    Topic::decode(&node.data?).ok()?.id
}

/// Makes the topic; yields its id.
async fn born(client: &mut ClusterClient, before: Option<Uuid>) -> Uuid {
    loop {
        if let Some(id) = id_of(client).filter(|id| Some(*id) != before) {
            client.note(&format!("{BRIEF} is {id}"));
            return id;
        }
        create_topic(client, BRIEF).await;
        client.sleep(20, 60).await;
    }
}

/// Deletes the topic. What it had is forgotten before: others may see the next life's.
async fn die(client: &mut ClusterClient, id: Uuid) {
    let number = number_of(Some(BRIEF), 0).unwrap();
    {
        let mut observed = client.observed.lock();
        observed.acknowledged.retain(|place, _| place.0 != number);
        observed.read.retain(|place, _| place.0 != number);
    }
    let request = DeleteTopicsRequest {
        topic_names: vec![Text::from(BRIEF)],
        timeout_ms: 1_000,
        ..DeleteTopicsRequest::default()
    };
    while id_of(client) == Some(id) {
        let broker = client.controller;
        let answer = client.ask::<_, DeleteTopicsResponse>(broker, &request, 5).await;
        match answer.map(|answer| answer.responses[0].error_code) {
            // It is gone when all replicas are.
            Some(0 | UNKNOWN_TOPIC_OR_PARTITION) => client.sleep(50, 150).await,
            _ => {
                let any = client.any();
                client.metadata(any, &[]).await;
            }
        }
        client.sleep(10, 30).await;
    }
}

/// The leader of this life.
async fn leader(client: &mut ClusterClient, id: Uuid) -> Option<(i32, i32)> {
    let broker = client.any();
    let answer = client.metadata(broker, &[BRIEF]).await?;
    let topic = answer.topics.iter().find(|topic| topic.topic_id == id)?;
    let partition = topic.partitions.first()?;
    (partition.leader_id > 0).then_some((partition.leader_id, partition.leader_epoch))
}

/// Writes a record, which may be there twice afterwards; false when that was given up.
async fn write(client: &mut ClusterClient, id: Uuid, life: u64, record: u64) -> bool {
    let number = number_of(Some(BRIEF), 0).unwrap();
    let filling = "x".repeat(client.random.below(300) as usize);
    let value = Bytes::from(format!("{BRIEF} {life} {record} {filling}"));
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(clock::now_ms(), None, Some(&value), &[]).unwrap();
    let request = ProduceRequest {
        transactional_id: None,
        acks: -1,
        timeout_ms: 800,
        topic_data: vec![TopicProduceData {
            name: Text::from(BRIEF),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Some(builder.build().unwrap().1),
            }],
            ..TopicProduceData::default()
        }],
    };
    for _ in 0..20 {
        if let Some((broker, _)) = leader(client, id).await
            && let Some(answer) = client.ask::<_, ProduceResponse>(broker, &request, 9).await
            && let answer = &answer.responses[0].partition_responses[0]
            && answer.error_code == 0
        {
            let record = Committed {
                value,
                at_ms: clock::now_ms(),
                isr: client.isr(number),
                broker,
                once: false,
            };
            let mut observed = client.observed.lock();
            observed.acknowledge((number, answer.base_offset), record);
            return true;
        }
        client.sleep(10, 60).await;
    }
    false
}

/// Reads some of it: all is this life's.
async fn read(client: &mut ClusterClient, id: Uuid, life: u64) {
    let Some((broker, epoch)) = leader(client, id).await else {
        return;
    };
    let request = FetchRequest {
        max_wait_ms: 60,
        min_bytes: 1,
        max_bytes: 20_000,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: Text::from(BRIEF),
            partitions: vec![FetchPartition {
                partition: 0,
                current_leader_epoch: epoch,
                fetch_offset: 0,
                partition_max_bytes: 6_000,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    };
    let Some(answer) = client.ask::<_, FetchResponse>(broker, &request, 12).await else {
        return;
    };
    let bytes = answer.responses[0].partitions[0]
        .records
        .clone()
        .unwrap_or_default();
    for batch in Batches::new(&bytes).map_while(Result::ok) {
        let mut records = batch.records(None).unwrap();
        while let Some(record) = records.next().unwrap() {
            let value = String::from_utf8_lossy(record.value.unwrap()).into_owned();
            if !value.starts_with(&format!("{BRIEF} {life} ")) {
                let problem = format!("life {life} of {BRIEF} has {value:?}");
                client.observed.lock().violation("mixed-topics", problem);
            }
        }
    }
}
