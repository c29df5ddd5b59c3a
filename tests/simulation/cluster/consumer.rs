//! A consumer that reads what is committed, from the leaders, or from replicas in its rack.

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
use super::nearest::Nearest;
use super::observed::Committed;
use super::{PARTITIONS, TOPIC, UNCLEAN, is_lossless, name_of, number_of};

const OFFSET_OUT_OF_RANGE: i16 = 1;
/// A replica that was not told yet what the consumer knows: it is asked again.
const UNKNOWN_LEADER_EPOCH: i16 = 75;
/// The timestamp that stands for the first offset.
const EARLIEST: i64 = -2;

struct Consumer {
    client: ClusterClient,
    rack: &'static str,
    nearest: Nearest,
    /// The offsets to read next.
    next: [i64; PARTITIONS as usize],
    /// Partitions that were read from without an error in this round.
    heard: i32,
    /// Whether something came in this round, or there may be something.
    more: bool,
}

/// Reads until the producers are done and everything was read. With `again` it goes back to the beginning now and then. In a
/// `rack` it goes where the leaders send it.
pub async fn consume(client: ClusterClient, again: bool, rack: Option<&'static str>) {
    let mut consumer = Consumer {
        client,
        rack: rack.unwrap_or_default(),
        nearest: Nearest::default(),
        next: [0; PARTITIONS as usize],
        heard: 0,
        more: false,
    };
    let mut is_current = false;
    loop {
        let done = consumer.client.observed.lock().producers_running == 0;
        if !is_current || consumer.client.random.below(4) == 0 {
            consumer.client.refresh().await;
        }
        (consumer.heard, consumer.more) = (0, false);
        for (broker, partitions) in consumer.nearest.asked(&consumer.client) {
            consumer.read(broker, &partitions).await;
        }
        is_current = consumer.heard == PARTITIONS;
        let (client, next) = (&consumer.client, consumer.next);
        if done && !consumer.more && is_current && !is_behind(client, &next) {
            client.note(&format!("has read up to {next:?}"));
            return;
        }
        client.note(&format!("is at {next:?} {} {}", consumer.more, consumer.heard));
        if again && client.random.below(8) == 0 {
            consumer.next = [0; PARTITIONS as usize];
        }
        consumer.client.sleep(10, 60).await;
    }
}

/// True when there is more to read: what nothing could lose.
fn is_behind(client: &ClusterClient, next: &[i64]) -> bool {
    let observed = client.observed.lock();
    let last = |partition: i32| {
        let mut acknowledged = observed.acknowledged.range((partition, 0)..(partition + 1, 0));
        acknowledged.next_back().map_or(-1, |((_, offset), _)| *offset)
    };
    let is_lossless = |partition: &i32| is_lossless(*partition) && observed.cuts.is_empty();
    (0..PARTITIONS)
        .filter(is_lossless)
        .any(|partition| next[partition as usize] <= last(partition))
}

impl Consumer {
    /// Reads from a broker.
    async fn read(&mut self, broker: i32, partitions: &[i32]) {
        let Some(answer) = self.fetch(broker, partitions).await else {
            self.more = true;
            for partition in partitions {
                self.nearest.forget(*partition);
            }
            return;
        };
        for topic in answer.responses {
            for data in topic.partitions {
                if let Some(number) = number_of(Some(topic.topic.as_str()), data.partition_index) {
                    let position = self.next[number as usize];
                    let after = self.take_partition(broker, number, &data).await;
                    self.more |= after != Some(position);
                    self.next[number as usize] = after.unwrap_or(position);
                }
            }
        }
    }

    /// Takes what was answered of a partition; yields where to read on, if that is known.
    async fn take_partition(&mut self, broker: i32, number: i32, data: &PartitionData) -> Option<i64> {
        let position = self.next[number as usize];
        match data.error_code {
            0 if data.preferred_read_replica >= 0 => {
                self.nearest.is(&self.client, number, data.preferred_read_replica);
                None
            }
            0 => {
                self.heard += 1;
                let after = take(&self.client, broker, number, position, data);
                if after != position && self.client.leaders[&number] != broker {
                    self.client.observed.lock().did("reads from followers");
                }
                Some(after)
            }
            OFFSET_OUT_OF_RANGE => {
                check_out_of_range(&self.client, broker, number, position);
                // What a follower has need not be what the leader has.
                if self.nearest.forget(number) {
                    return None;
                }
                beginning(&mut self.client, broker, number).await
            }
            UNKNOWN_LEADER_EPOCH => None,
            _ => {
                self.nearest.forget(number);
                None
            }
        }
    }

    async fn fetch(&mut self, broker: i32, partitions: &[i32]) -> Option<FetchResponse> {
        let partition = |number: &i32| FetchPartition {
            partition: name_of(*number).1,
            current_leader_epoch: self.client.epochs[number],
            fetch_offset: self.next[*number as usize],
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
                .collect(),
            rack_id: Text::from(self.rack),
            ..FetchRequest::default()
        };
        self.client.ask(broker, &request, 12).await
    }
}

/// A broker says that it does not have the place where the consumer is.
fn check_out_of_range(client: &ClusterClient, broker: i32, partition: i32, position: i64) {
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

/// Where a partition begins now, as its leader says.
async fn beginning(client: &mut ClusterClient, broker: i32, partition: i32) -> Option<i64> {
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
    let answer = client.ask::<_, ListOffsetsResponse>(broker, &request, 5).await?;
    let offset = answer.topics[0].partitions[0].offset;
    (offset >= 0).then_some(offset)
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
