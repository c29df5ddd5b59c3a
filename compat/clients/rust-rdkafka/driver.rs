//! The driver of rust-rdkafka: librdkafka as Rust has it. See ../README.md.

mod serve;
mod version;

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers as _, Message as _, OwnedHeaders, OwnedMessage};
use rdkafka::producer::future_producer::{DeliveryFuture, FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use serve::{
    Answer, Bytes, Handle, Member, Partition, Placed, Read, Record, Refused, Settings, Start, Texts, wait,
};

const MINUTE: Duration = Duration::from_secs(60);

// librdkafka's defaults are for a network: it waits up to ten seconds before it connects again.
const COMMON: &[(&str, &str)] = &[
    ("reconnect.backoff.ms", "50"),
    ("reconnect.backoff.max.ms", "200"),
];
const PRODUCER: &[(&str, &str)] = &[
    ("message.timeout.ms", "60000"),
    ("retry.backoff.ms", "50"),
    ("linger.ms", "0"),
    ("enable.idempotence", "false"),
];
const CONSUMER: &[(&str, &str)] = &[
    // A consumer has a group, also where it makes no use of it.
    ("group.id", "none"),
    ("enable.auto.commit", "false"),
    ("auto.offset.reset", "earliest"),
    ("fetch.wait.max.ms", "100"),
    ("fetch.error.backoff.ms", "50"),
    ("topic.metadata.refresh.fast.interval.ms", "50"),
];

fn main() {
    let library = format!("librdkafka {}", rdkafka::util::get_rdkafka_version().1);
    serve::serve(
        serde_json::json!({"version": serve::built_in("rdkafka"), "library": library}),
        open,
    );
}

fn open(role: &str, bootstrap: String, settings: Settings) -> Answer<Box<dyn Handle>> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    let defaults = match role {
        "producer" => PRODUCER,
        "consumer" => CONSUMER,
        _ => &[],
    };
    for (name, value) in COMMON.iter().chain(defaults) {
        config.set(*name, *value);
    }
    for (name, value) in settings {
        // Others have the same name.
        let name = match name.as_str() {
            "max.request.size" => "message.max.bytes",
            "metadata.max.age.ms" => "topic.metadata.refresh.interval.ms",
            name => name,
        };
        config.set(name, value);
    }
    // The clients start tasks of their own.
    wait(async {
        Ok::<Box<dyn Handle>, KafkaError>(match role {
            "producer" => Box::new(Producer(config.create()?)),
            "consumer" => {
                let (told, reports) = channel();
                let consumer = StreamConsumer::from_config_and_context(&config, Committed(told))?;
                Box::new(Consumer {
                    consumer,
                    reports,
                    kept: Vec::new(),
                })
            }
            _ => Box::new(Admin {
                admin: config.create()?,
                asking: config.create()?,
                config,
            }),
        })
    })
    .map_err(refused)
}

fn refused(error: KafkaError) -> Refused {
    match error.rdkafka_error_code() {
        Some(code) => coded(code, &error),
        None => Refused::new(None, format!("{error:?}"), error),
    }
}

/// librdkafka's own errors have codes below 0.
fn coded(code: RDKafkaErrorCode, text: impl ToString) -> Refused {
    Refused::new(Some(code as i32), format!("{code:?}"), text)
}

fn failed(error: Option<RDKafkaRespErr>) -> Answer<()> {
    match error.map(RDKafkaErrorCode::from) {
        Some(code) => Err(coded(code, code)),
        None => Ok(()),
    }
}

struct Producer(FutureProducer);

impl Handle for Producer {
    fn produce(&mut self, topic: &str, records: Vec<Record>) -> Answer<Vec<Answer<Placed>>> {
        let send = |record: &Record| {
            let headers = (!record.headers.is_empty()).then(|| {
                record
                    .headers
                    .iter()
                    .fold(OwnedHeaders::new(), |headers, (key, value)| {
                        headers.insert(Header {
                            key,
                            value: value.as_ref().map(|value| &value.0),
                        })
                    })
            });
            let record = FutureRecord {
                topic,
                partition: record.partition,
                payload: record.value.as_ref().map(|value| &value.0),
                key: record.key.as_ref().map(|key| &key.0),
                timestamp: record.timestamp,
                headers,
            };
            self.0.send_result(record).map_err(|(error, _)| refused(error))
        };
        let sent: Vec<_> = records.iter().map(send).collect();
        let report = |sent: Answer<DeliveryFuture>| {
            let delivered = wait(sent?).map_err(|canceled| Refused::new(None, "Canceled", canceled))?;
            delivered
                .map(version::placed)
                .map_err(|(error, _)| refused(error))
        };
        Ok(sent.into_iter().map(report).collect())
    }
}

/// Tells what came of commits.
struct Committed(Sender<KafkaResult<()>>);

impl rdkafka::ClientContext for Committed {}

impl ConsumerContext for Committed {
    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        // Nobody may be there any more.
        let _ = self.0.send(result);
    }
}

/// It keeps what comes while it waits for a commit.
struct Consumer {
    consumer: StreamConsumer<Committed>,
    reports: Receiver<KafkaResult<()>>,
    kept: Vec<OwnedMessage>,
}

impl Consumer {
    async fn next(&self, timeout: Duration) -> Option<OwnedMessage> {
        // Errors in place of a message are told for information: the consumer goes on.
        let message = tokio::time::timeout(timeout, self.consumer.recv())
            .await
            .ok()?
            .ok()?;
        Some(message.detach())
    }
}

fn partitions<'a>(listed: impl IntoIterator<Item = (&'a str, i32, Offset)>) -> Answer<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (topic, partition, offset) in listed {
        list.add_partition_offset(topic, partition, offset)
            .map_err(refused)?;
    }
    Ok(list)
}

fn one(topic: &str, partition: i32) -> Answer<TopicPartitionList> {
    partitions([(topic, partition, Offset::Invalid)])
}

/// The first offset of that time or a later one; the end when there is none.
fn at_time<C: rdkafka::consumer::Consumer<X>, X: ConsumerContext>(
    consumer: &C,
    topic: &str,
    partition: i32,
    timestamp: i64,
) -> Answer<Offset> {
    let asked = partitions([(topic, partition, Offset::Offset(timestamp))])?;
    let found = consumer.offsets_for_times(asked, MINUTE).map_err(refused)?;
    let found = &found.elements()[0];
    found.error().map_err(refused)?;
    Ok(found.offset())
}

impl Handle for Consumer {
    fn assign(&mut self, topic: &str, starts: Vec<(i32, Start)>) -> Answer<()> {
        self.kept.clear();
        let mut list = Vec::new();
        for (partition, start) in starts {
            let offset = match start {
                Start::Beginning => Offset::Beginning,
                Start::End => Offset::Offset(
                    self.consumer
                        .fetch_watermarks(topic, partition, MINUTE)
                        .map_err(refused)?
                        .1,
                ),
                Start::Offset(offset) => Offset::Offset(offset),
                Start::Timestamp(timestamp) => at_time(&self.consumer, topic, partition, timestamp)?,
            };
            list.push((topic, partition, offset));
        }
        self.consumer.assign(&partitions(list)?).map_err(refused)
    }

    fn subscribe(&mut self, mut topics: Vec<String>, pattern: Option<String>) -> Answer<()> {
        topics.extend(pattern.map(|pattern| format!("^{pattern}$")));
        let topics: Vec<_> = topics.iter().map(String::as_str).collect();
        self.consumer.subscribe(&topics).map_err(refused)
    }

    fn poll(&mut self, count: usize, timeout: Duration) -> Answer<Vec<Read>> {
        let mut messages = std::mem::take(&mut self.kept);
        let deadline = Instant::now() + timeout;
        wait(async {
            while messages.len() < count && Instant::now() < deadline {
                messages.extend(
                    self.next(deadline.saturating_duration_since(Instant::now()))
                        .await,
                );
            }
        });
        let read = |message: OwnedMessage| Read {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis(),
            key: Bytes::of(message.key()),
            value: Bytes::of(message.payload()),
            headers: message
                .headers()
                .into_iter()
                .flat_map(|headers| headers.iter())
                .map(|header| (header.key.to_owned(), Bytes::of(header.value)))
                .collect(),
        };
        Ok(messages.into_iter().map(read).collect())
    }

    fn assignment(&mut self) -> Answer<Vec<(String, i32)>> {
        let assigned = self.consumer.assignment().map_err(refused)?;
        Ok(assigned
            .elements()
            .iter()
            .map(|one| (one.topic().to_owned(), one.partition()))
            .collect())
    }

    fn commit(&mut self, offsets: Vec<(String, i32, i64)>, asynchronously: bool) -> Answer<()> {
        let given = offsets
            .iter()
            .map(|(topic, partition, offset)| (&**topic, *partition, Offset::Offset(*offset)));
        let given = partitions(given)?;
        if !asynchronously {
            return self.consumer.commit(&given, CommitMode::Sync).map_err(refused);
        }
        while self.reports.try_recv().is_ok() {}
        self.consumer.commit(&given, CommitMode::Async).map_err(refused)?;
        loop {
            if let Ok(report) = self.reports.try_recv() {
                return report.map_err(refused);
            }
            let came = wait(self.next(Duration::from_millis(50)));
            self.kept.extend(came);
        }
    }

    fn seek(&mut self, topic: &str, partition: i32, offset: i64) -> Answer<()> {
        self.kept.clear();
        self.consumer
            .seek(topic, partition, Offset::Offset(offset), MINUTE)
            .map_err(refused)
    }

    fn pause(&mut self, topic: &str, partition: i32) -> Answer<()> {
        self.consumer.pause(&one(topic, partition)?).map_err(refused)
    }

    fn resume(&mut self, topic: &str, partition: i32) -> Answer<()> {
        self.consumer.resume(&one(topic, partition)?).map_err(refused)
    }
}

/// Much of it is asked by a consumer.
struct Admin {
    admin: AdminClient<DefaultClientContext>,
    asking: BaseConsumer,
    config: ClientConfig,
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(MINUTE))
}

/// The one answer, where one thing was asked for.
fn single<T>(answers: KafkaResult<Vec<T>>) -> Answer<T> {
    Ok(answers.map_err(refused)?.remove(0))
}

fn done<T, W>(answers: KafkaResult<Vec<Result<T, (W, RDKafkaErrorCode)>>>) -> Answer<()> {
    single(answers)?.map(drop).map_err(|(_, code)| coded(code, code))
}

impl Handle for Admin {
    fn create_topic(&mut self, topic: &str, partitions: i32, configs: Texts) -> Answer<()> {
        let wanted = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let wanted = configs
            .iter()
            .fold(wanted, |wanted, (name, value)| wanted.set(name, value));
        done(wait(self.admin.create_topics([&wanted], &options())))
    }

    fn describe_topic(&mut self, topic: &str) -> Answer<Vec<Partition>> {
        let metadata = self.asking.fetch_metadata(Some(topic), MINUTE).map_err(refused)?;
        let found = &metadata.topics()[0];
        failed(found.error())?;
        let partition = |one: &rdkafka::metadata::MetadataPartition| Partition {
            partition: one.id(),
            leader: one.leader(),
            replicas: one.replicas().to_vec(),
            isr: one.isr().to_vec(),
        };
        Ok(found.partitions().iter().map(partition).collect())
    }

    fn create_partitions(&mut self, topic: &str, count: usize) -> Answer<()> {
        done(wait(self.admin.create_partitions(
            [&NewPartitions::new(topic, count)],
            &options(),
        )))
    }

    fn alter_configs(&mut self, topic: &str, configs: Texts) -> Answer<()> {
        let wanted = AlterConfig::new(ResourceSpecifier::Topic(topic));
        let wanted = configs
            .iter()
            .fold(wanted, |wanted, (name, value)| wanted.set(name, value));
        done(wait(self.admin.alter_configs([&wanted], &options())))
    }

    fn describe_configs(&mut self, topic: &str) -> Answer<BTreeMap<String, Option<String>>> {
        let found = wait(
            self.admin
                .describe_configs([&ResourceSpecifier::Topic(topic)], &options()),
        );
        let found = single(found)?.map_err(|code| coded(code, code))?;
        Ok(found
            .entries
            .into_iter()
            .map(|entry| (entry.name, entry.value))
            .collect())
    }

    fn delete_topic(&mut self, topic: &str) -> Answer<()> {
        done(wait(self.admin.delete_topics(&[topic], &options())))
    }

    fn list_offset(&mut self, topic: &str, partition: i32, at: Start) -> Answer<i64> {
        let ends = || {
            self.asking
                .fetch_watermarks(topic, partition, MINUTE)
                .map_err(refused)
        };
        match at {
            Start::Beginning => Ok(ends()?.0),
            Start::End => Ok(ends()?.1),
            Start::Offset(offset) => Ok(offset),
            Start::Timestamp(timestamp) => match at_time(&self.asking, topic, partition, timestamp)? {
                Offset::Offset(offset) => Ok(offset),
                _ => Ok(ends()?.1),
            },
        }
    }

    fn list_groups(&mut self) -> Answer<Vec<String>> {
        let found = self.asking.fetch_group_list(None, MINUTE).map_err(refused)?;
        Ok(found
            .groups()
            .iter()
            .map(|group| group.name().to_owned())
            .collect())
    }

    fn describe_group(&mut self, group: &str) -> Answer<(String, Vec<Member>)> {
        let found = self
            .asking
            .fetch_group_list(Some(group), MINUTE)
            .map_err(refused)?;
        let found = &found.groups()[0];
        let member = |one: &rdkafka::groups::GroupMemberInfo| Member {
            client_id: one.client_id().to_owned(),
            assignment: assigned(one.assignment().unwrap_or_default()),
        };
        Ok((
            found.state().to_owned(),
            found.members().iter().map(member).collect(),
        ))
    }

    fn group_offsets(&mut self, group: &str) -> Answer<Vec<(String, i32, i64)>> {
        let consumer: BaseConsumer = self
            .config
            .clone()
            .set("group.id", group)
            .create()
            .map_err(refused)?;
        let metadata = consumer.fetch_metadata(None, MINUTE).map_err(refused)?;
        let all = metadata.topics().iter().flat_map(|topic| {
            topic
                .partitions()
                .iter()
                .map(|one| (topic.name(), one.id(), Offset::Invalid))
        });
        let committed = consumer
            .committed_offsets(partitions(all)?, MINUTE)
            .map_err(refused)?;
        let with_offset = |one: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match one.offset()
        {
            Offset::Offset(offset) => Some((one.topic().to_owned(), one.partition(), offset)),
            _ => None,
        };
        Ok(committed.elements().iter().filter_map(with_offset).collect())
    }

    fn delete_group(&mut self, group: &str) -> Answer<()> {
        version::delete_group(&self.admin, group)
    }
}

/// The partitions in a member's assignment, which the client gives as the bytes that they are: Kafka's ConsumerProtocolAssignment.
fn assigned(mut bytes: &[u8]) -> Vec<(String, i32)> {
    let mut take = |count| bytes.split_off(..count).unwrap_or_default();
    let short = |bytes: &[u8]| u16::from_be_bytes(bytes.try_into().unwrap()) as usize;
    let int = |bytes: &[u8]| i32::from_be_bytes(bytes.try_into().unwrap());
    let mut found = Vec::new();
    take(2);
    for _ in 0..int(take(4)) {
        let length = short(take(2));
        let topic = String::from_utf8_lossy(take(length)).into_owned();
        for _ in 0..int(take(4)) {
            found.push((topic.clone(), int(take(4))));
        }
    }
    found
}
