//! A consumer that reads what is committed, from the leaders.

use std::collections::BTreeMap;
use std::time::Duration;

use barnabas::base::clock;
use barnabas::records::batch::Batches;
use barnabas::wire::messages::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use barnabas::wire::text::Text;
use bytes::Bytes;

use super::client::ClusterClient;
use super::observed::{Committed, Observed};
use super::{BROKERS, PARTITIONS, TOPIC};

const OFFSET_OUT_OF_RANGE: i16 = 1;

/// Reads until the producers are done and everything was read. With `again` it goes back to the beginning now and then.
pub async fn consume(mut client: ClusterClient, observed: Observed, again: bool) {
    let mut next = [0_i64; PARTITIONS as usize];
    loop {
        let done = observed.lock().producers_running == 0;
        let (mut heard, mut more) = (0, false);
        client.refresh().await;
        for broker in 1..=BROKERS.len() as i32 {
            let partitions: Vec<i32> = client
                .leaders
                .iter()
                .filter(|(_, leader)| **leader == broker)
                .map(|(partition, _)| *partition)
                .collect();
            if partitions.is_empty() {
                continue;
            }
            let Some(answer) = fetch(&mut client, broker, &partitions, &next).await else {
                more = true;
                continue;
            };
            for partition in answer.responses.into_iter().flat_map(|topic| topic.partitions) {
                let index = partition.partition_index;
                let position = &mut next[index as usize];
                match partition.error_code {
                    0 => {}
                    OFFSET_OUT_OF_RANGE => {
                        let mut observed = observed.lock();
                        if observed.cuts.is_empty() {
                            let problem = format!(
                                "{}: offset {position} of {index} is out of range at {broker}",
                                client.name
                            );
                            observed.violations.push(problem);
                        }
                        drop(observed);
                        *position = 0;
                        more = true;
                        continue;
                    }
                    _ => {
                        more = true;
                        continue;
                    }
                }
                heard += 1;
                let bytes = partition.records.unwrap_or_default();
                let isr = client.isr(index);
                for batch in Batches::new(&bytes) {
                    let Ok(batch) = batch else { break };
                    batch.check_crc().unwrap();
                    let mut records = batch.records(None).unwrap();
                    while let Some(record) = records.next().unwrap() {
                        let offset = record.offset.get();
                        if offset < *position {
                            continue;
                        }
                        let mut observed = observed.lock();
                        if offset != *position {
                            let problem = format!(
                                "nonmonotonic reads: {} got {index} {offset}, not {position}",
                                client.name
                            );
                            observed.violations.push(problem);
                        }
                        if offset >= partition.high_watermark {
                            let problem = format!(
                                "{} read {index} {offset} above the high watermark {}",
                                client.name, partition.high_watermark
                            );
                            observed.violations.push(problem);
                        }
                        let value = Bytes::copy_from_slice(record.value.unwrap());
                        let (at_ms, isr) = (clock::now_ms(), isr.clone());
                        observed.read(
                            (index, offset),
                            Committed {
                                value,
                                at_ms,
                                isr,
                                broker,
                            },
                        );
                        *position = offset + 1;
                        more = true;
                    }
                }
                more |= *position < partition.high_watermark;
            }
        }
        if done && !more && heard == PARTITIONS && reached(&observed, &next) {
            client.note(&format!("is done at {next:?}"));
            return;
        }
        if again && client.random.below(60) == 0 {
            next = [0; PARTITIONS as usize];
        }
        clock::sleep(Duration::from_millis(client.random.below(50))).await;
    }
}

/// True where nothing acknowledged lies ahead.
fn reached(observed: &Observed, next: &[i64]) -> bool {
    let observed = observed.lock();
    let mut last = BTreeMap::new();
    for (partition, offset) in observed.acknowledged.keys() {
        last.insert(*partition, *offset);
    }
    !observed.cuts.is_empty()
        || last
            .iter()
            .all(|(partition, offset)| next[*partition as usize] > *offset)
}

async fn fetch(
    client: &mut ClusterClient,
    broker: i32,
    partitions: &[i32],
    next: &[i64],
) -> Option<FetchResponse> {
    let request = FetchRequest {
        max_wait_ms: 60,
        min_bytes: 1,
        max_bytes: 20_000,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: Text::from(TOPIC),
            partitions: partitions
                .iter()
                .map(|partition| FetchPartition {
                    partition: *partition,
                    current_leader_epoch: client.epochs[partition],
                    fetch_offset: next[*partition as usize],
                    partition_max_bytes: 6_000,
                    ..FetchPartition::default()
                })
                .collect(),
            ..FetchTopic::default()
        }]
        .into(),
        ..FetchRequest::default()
    };
    client.ask(broker, &request, 12).await
}
