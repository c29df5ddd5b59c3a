//! A consumer that reads what is committed, from the leaders.

use barnabas::base::clock;
use barnabas::records::batch::Batches;
use barnabas::wire::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData,
};
use barnabas::wire::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use barnabas::wire::text::Text;
use bytes::Bytes;

use super::client::ClusterClient;
use super::observed::Committed;
use super::{PARTITIONS, TOPIC, UNCLEAN, name_of, number_of};

const OFFSET_OUT_OF_RANGE: i16 = 1;
/// The timestamp that stands for the first offset.
const EARLIEST: i64 = -2;

/// Reads until the producers are done and everything was read. With `again` it goes back to the beginning now and then.
pub async fn consume(mut client: ClusterClient, again: bool) {
    let observed = client.observed.clone();
    let mut next = [0_i64; PARTITIONS as usize];
    let mut is_current = false;
    loop {
        let done = observed.lock().producers_running == 0;
        let (mut heard, mut more) = (0, false);
        if !is_current || client.random.below(4) == 0 {
            client.refresh().await;
        }
        for broker in 1..=client.brokers {
            let led = client.leaders.iter().filter(|(_, leader)| **leader == broker);
            let partitions: Vec<i32> = led.map(|(partition, _)| *partition).collect();
            if partitions.is_empty() {
                continue;
            }
            let Some(answer) = fetch(&mut client, broker, &partitions, &next).await else {
                more = true;
                continue;
            };
            for topic in answer.responses {
                for data in topic.partitions {
                    let Some(number) = number_of(Some(topic.topic.as_str()), data.partition_index) else {
                        continue;
                    };
                    let position = next[number as usize];
                    let after = match data.error_code {
                        0 => {
                            heard += 1;
                            take(&client, broker, number, position, &data)
                        }
                        OFFSET_OUT_OF_RANGE => out_of_range(&mut client, broker, number, position).await,
                        _ => -1,
                    };
                    more |= after != position;
                    next[number as usize] = if after < 0 { position } else { after };
                }
            }
        }
        is_current = heard == PARTITIONS;
        if done && !more && heard == PARTITIONS {
            client.note(&format!("has read up to {next:?}"));
            return;
        }
        client.note(&format!("is at {next:?} {more} {heard}"));
        if again && client.random.below(8) == 0 {
            next = [0; PARTITIONS as usize];
        }
        client.sleep(10, 60).await;
    }
}

/// Where a partition begins now, as its leader says; −1 where it does not.
async fn out_of_range(client: &mut ClusterClient, broker: i32, partition: i32, position: i64) -> i64 {
    {
        let mut observed = client.observed.lock();
        let may_be = !observed.cuts.is_empty()
            || position < observed.deleted_below(partition)
            || observed.unclean.contains_key(&partition);
        if !may_be {
            let problem = format!(
                "{}: offset {position} of {partition} is out of range at {broker}",
                client.name
            );
            observed.violation("out-of-range", problem);
        }
    }
    let (topic, index) = name_of(partition);
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: Text::from(topic),
            partitions: vec![ListOffsetsPartition {
                partition_index: index,
                current_leader_epoch: client.epochs[&partition],
                timestamp: EARLIEST,
                ..ListOffsetsPartition::default()
            }],
        }],
        ..ListOffsetsRequest::default()
    };
    let answer = client.ask::<_, ListOffsetsResponse>(broker, &request, 5).await;
    answer.map_or(-1, |answer| answer.topics[0].partitions[0].offset)
}

/// Takes what was read; yields where to read on.
fn take(client: &ClusterClient, broker: i32, partition: i32, from: i64, data: &PartitionData) -> i64 {
    let mut position = from;
    let bytes = data.records.clone().unwrap_or_default();
    let isr = client.isr(partition);
    for batch in Batches::new(&bytes) {
        let Ok(batch) = batch else { break };
        batch.check_crc().unwrap();
        let mut records = batch.records(None).unwrap();
        while let Some(record) = records.next().unwrap() {
            let offset = record.offset.get();
            if offset < position {
                continue;
            }
            let mut observed = client.observed.lock();
            if offset != position {
                let problem = format!("{} got {partition} {offset}, not {position}", client.name);
                observed.violation("nonmonotonic-reads", problem);
            }
            if offset >= data.high_watermark {
                let problem = format!(
                    "{} read {partition} {offset} above {}",
                    client.name, data.high_watermark
                );
                observed.violation("above-watermark", problem);
            }
            let record = Committed {
                value: Bytes::copy_from_slice(record.value.unwrap()),
                at_ms: clock::now_ms(),
                isr: isr.clone(),
                broker,
                once: false,
            };
            observed.read((partition, offset), record);
            position = offset + 1;
        }
    }
    position
}

async fn fetch(
    client: &mut ClusterClient,
    broker: i32,
    partitions: &[i32],
    next: &[i64],
) -> Option<FetchResponse> {
    let partition = |number: &i32| FetchPartition {
        partition: name_of(*number).1,
        current_leader_epoch: client.epochs[number],
        fetch_offset: next[*number as usize],
        partition_max_bytes: 6_000,
        ..FetchPartition::default()
    };
    let topics = [TOPIC, UNCLEAN].map(|topic| FetchTopic {
        topic: Text::from(topic),
        partitions: partitions
            .iter()
            .filter(|number| name_of(**number).0 == topic)
            .map(partition)
            .collect(),
        ..FetchTopic::default()
    });
    let request = FetchRequest {
        max_wait_ms: 60,
        min_bytes: 1,
        max_bytes: 20_000,
        session_epoch: -1,
        topics: topics
            .into_iter()
            .filter(|topic| !topic.partitions.is_empty())
            .collect::<Vec<_>>()
            .into(),
        ..FetchRequest::default()
    };
    client.ask(broker, &request, 12).await
}
