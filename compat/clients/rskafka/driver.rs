//! The driver of rskafka, whose clients are those of a partition. See ../README.md.

mod serve;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures::stream::{StreamExt, select_all};
use rskafka::BackoffConfig;
use rskafka::client::consumer::{StartOffset, StreamConsumer, StreamConsumerBuilder};
use rskafka::client::error::Error;
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use serve::{
    Answer, Bytes, Handle, Placed, Read, Record, Refused, Settings, Start, Texts, unsupported, wait,
};

fn main() {
    serve::serve(serde_json::json!({"version": serve::built_in("rskafka")}), open);
}

fn open(role: &str, bootstrap: String, mut settings: Settings) -> Answer<Box<dyn Handle>> {
    let addresses = bootstrap.split(',').map(str::to_owned).collect();
    let mut builder = ClientBuilder::new(addresses).backoff_config(BackoffConfig {
        init_backoff: Duration::from_millis(50),
        max_backoff: Duration::from_millis(200),
        base: 2.0,
        deadline: Some(Duration::from_secs(60)),
    });
    if let Some(id) = settings.take("client.id") {
        builder = builder.client_id(id);
    }
    let client = wait(builder.build()).map_err(refused)?;
    let handle: Box<dyn Handle> = match role {
        "producer" => {
            let compression = match settings.take("compression.type").as_deref() {
                Some("gzip") => Compression::Gzip,
                Some("snappy") => Compression::Snappy,
                Some("lz4") => Compression::Lz4,
                Some("zstd") => Compression::Zstd,
                _ => Compression::NoCompression,
            };
            // It waits for all replicas, and limits no request.
            if let Some(level @ ("0" | "1")) = settings.take("acks").as_deref() {
                return unsupported(format!("acks {level}"));
            }
            settings.take("max.request.size");
            Box::new(Producer {
                client,
                compression,
                partitions: BTreeMap::new(),
            })
        }
        "consumer" => {
            let bytes = settings
                .take("max.partition.fetch.bytes")
                .and_then(|bytes| bytes.parse().ok());
            Box::new(Consumer {
                client,
                bytes,
                topic: String::new(),
                partitions: BTreeMap::new(),
            })
        }
        _ => Box::new(Admin(client)),
    };
    settings.rest()?;
    Ok(handle)
}

/// Kafka's name of the error is made of the client's: MessageTooLarge.
fn refused(error: Error) -> Refused {
    let own = match &error {
        Error::ServerError { protocol_error, .. } => format!("{protocol_error:?}"),
        other => format!("{other:?}"),
    };
    let mut name = String::new();
    for letter in own.chars().take_while(|letter| letter.is_alphanumeric()) {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    Refused::new(None, name, error)
}

async fn partition_client(client: &Client, topic: &str, partition: i32) -> Answer<Arc<PartitionClient>> {
    let found = client
        .partition_client(topic, partition, UnknownTopicHandling::Retry)
        .await;
    Ok(Arc::new(found.map_err(refused)?))
}

async fn offset(client: &PartitionClient, at: Start) -> Answer<i64> {
    let at = match at {
        Start::Beginning => OffsetAt::Earliest,
        Start::End => OffsetAt::Latest,
        Start::Offset(offset) => return Ok(offset),
        Start::Timestamp(ms) => OffsetAt::Timestamp(time(ms)),
    };
    client.get_offset(at).await.map_err(refused)
}

fn time(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

struct Producer {
    client: Client,
    compression: Compression,
    partitions: BTreeMap<(String, i32), Arc<PartitionClient>>,
}

impl Producer {
    async fn send(&mut self, topic: &str, partition: i32, records: Vec<Record>) -> Answer<Vec<i64>> {
        let known = (topic.to_owned(), partition);
        if !self.partitions.contains_key(&known) {
            let client = partition_client(&self.client, topic, partition).await?;
            self.partitions.insert(known.clone(), client);
        }
        let given = records.into_iter().map(|record| rskafka::record::Record {
            key: record.key.map(|key| key.0),
            value: record.value.map(|value| value.0),
            headers: record
                .headers
                .into_iter()
                .map(|(name, value)| (name, value.map_or(vec![], |value| value.0)))
                .collect(),
            timestamp: record.timestamp.map_or_else(Utc::now, time),
        });
        self.partitions[&known]
            .produce(given.collect(), self.compression)
            .await
            .map_err(refused)
    }
}

impl Handle for Producer {
    /// A batch for each partition. A user names the partition; it is 0 for a record that has none.
    fn produce(&mut self, topic: &str, records: Vec<Record>) -> Answer<Vec<Answer<Placed>>> {
        let mut answers: Vec<_> = records.iter().map(|_| None).collect();
        let mut batches: BTreeMap<i32, (Vec<usize>, Vec<Record>)> = BTreeMap::new();
        for (number, record) in records.into_iter().enumerate() {
            let batch = batches.entry(record.partition.unwrap_or(0)).or_default();
            batch.0.push(number);
            batch.1.push(record);
        }
        for (partition, (numbers, records)) in batches {
            let sent = wait(self.send(topic, partition, records));
            for (place, number) in numbers.into_iter().enumerate() {
                answers[number] = Some(match &sent {
                    Ok(offsets) => Ok(Placed {
                        partition,
                        offset: offsets[place],
                    }),
                    Err(refused) => Err(refused.clone()),
                });
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }
}

/// A stream for each partition.
struct Consumer {
    client: Client,
    bytes: Option<i32>,
    topic: String,
    partitions: BTreeMap<i32, Reading>,
}

struct Reading {
    client: Arc<PartitionClient>,
    stream: StreamConsumer,
}

impl Consumer {
    fn stream(&self, client: &Arc<PartitionClient>, offset: i64) -> StreamConsumer {
        let builder =
            StreamConsumerBuilder::new(client.clone(), StartOffset::At(offset)).with_max_wait_ms(100);
        self.bytes
            .into_iter()
            .fold(builder, StreamConsumerBuilder::with_max_batch_size)
            .build()
    }

    fn reading(&mut self, partition: i32) -> Answer<&mut Reading> {
        match self.partitions.get_mut(&partition) {
            Some(reading) => Ok(reading),
            None => Err(Refused::new(None, "NotAssigned", partition)),
        }
    }
}

impl Handle for Consumer {
    fn assign(&mut self, topic: &str, starts: Vec<(i32, Start)>) -> Answer<()> {
        self.topic = topic.to_owned();
        self.partitions.clear();
        for (partition, start) in starts {
            let client = wait(partition_client(&self.client, topic, partition))?;
            let stream = self.stream(&client, wait(offset(&client, start))?);
            self.partitions.insert(partition, Reading { client, stream });
        }
        Ok(())
    }

    fn poll(&mut self, count: usize, timeout: Duration) -> Answer<Vec<Read>> {
        let topic = &self.topic;
        let streams = self.partitions.iter_mut();
        let streams =
            streams.map(|(partition, reading)| reading.stream.by_ref().map(move |came| (*partition, came)));
        let (mut all, deadline) = (select_all(streams), Instant::now() + timeout);
        let mut records = Vec::new();
        wait(async {
            while records.len() < count {
                let left = deadline.saturating_duration_since(Instant::now());
                let Ok(Some((partition, came))) = tokio::time::timeout(left, all.next()).await else {
                    break;
                };
                let found = came.map_err(refused)?.0;
                records.push(Read {
                    topic: topic.clone(),
                    partition,
                    offset: found.offset,
                    timestamp: Some(found.record.timestamp.timestamp_millis()),
                    key: found.record.key.map(Bytes),
                    value: found.record.value.map(Bytes),
                    headers: found
                        .record
                        .headers
                        .into_iter()
                        .map(|(name, value)| (name, Some(Bytes(value))))
                        .collect(),
                });
            }
            Ok(records)
        })
    }

    fn assignment(&mut self) -> Answer<Vec<(String, i32)>> {
        Ok(self
            .partitions
            .keys()
            .map(|partition| (self.topic.clone(), *partition))
            .collect())
    }

    fn seek(&mut self, _topic: &str, partition: i32, offset: i64) -> Answer<()> {
        let client = self.reading(partition)?.client.clone();
        self.reading(partition)?.stream = self.stream(&client, offset);
        Ok(())
    }
}

struct Admin(Client);

const MINUTE_MS: i32 = 60_000;

impl Handle for Admin {
    fn create_topic(&mut self, topic: &str, partitions: i32, configs: Texts) -> Answer<()> {
        if !configs.is_empty() {
            return unsupported("configs of a topic");
        }
        let controller = self.0.controller_client().map_err(refused)?;
        wait(controller.create_topic(topic, partitions, 1, MINUTE_MS)).map_err(refused)
    }

    fn delete_topic(&mut self, topic: &str) -> Answer<()> {
        let controller = self.0.controller_client().map_err(refused)?;
        wait(controller.delete_topic(topic, MINUTE_MS)).map_err(refused)
    }

    fn list_offset(&mut self, topic: &str, partition: i32, at: Start) -> Answer<i64> {
        wait(async { offset(&*partition_client(&self.0, topic, partition).await?, at).await })
    }
}
