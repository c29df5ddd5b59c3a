//! A broker in this process, and a client that is nothing but a socket: it sends whatever bytes a test wants to send.
//!
//! Each test target that speaks over a socket has this as its module. Nothing here waits for a certain time: a broker
//! that does not answer, or does not close, fails its test after [`PATIENCE`].
#![allow(dead_code, reason = "each test target uses its own part")]

pub mod group;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use barnabas::base::disk::Disk;
use barnabas::base::random::Random;
use barnabas::base::task;
use barnabas::cli::broker::{Broker, Surroundings};
use barnabas::config::{BrokerConfig, LogLevels};
use barnabas::records::batch::BatchHeader;
use barnabas::records::build::{BatchBuilder, BatchOptions};
use barnabas::wire::header::{RequestHeader, decode_response};
use barnabas::wire::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse,
};
use barnabas::wire::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData,
};
use barnabas::wire::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use barnabas::wire::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use barnabas::wire::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
};
use barnabas::wire::{ApiKey, Message, Reader, Text, Writer};
use bytes::Bytes;

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A broker of one, on a port of 127.0.0.1 and a directory of its own.
pub struct TestBroker {
    pub address: SocketAddr,
    /// Counts the broker's syncs.
    pub disk: Disk,
    folder: tempfile::TempDir,
    overrides: Vec<(String, String)>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TestBroker {
    pub fn start(overrides: &[(&str, &str)]) -> Self {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let mut broker = Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            disk: Disk::system(),
            folder: tempfile::tempdir().unwrap(),
            overrides: overrides.iter().map(owned).collect(),
            stop: None,
            thread: None,
        };
        broker.run();
        broker
    }

    /// Stops cleanly and starts again on the same directory, on another port.
    pub fn restart(&mut self) {
        self.end().expect("the broker stops cleanly");
        self.run();
    }

    fn run(&mut self) {
        let data = self.folder.path().join("data");
        let mut pairs = vec![
            ("listeners", "PLAINTEXT://127.0.0.1:0"),
            ("broker.id", "1"),
            ("log.dirs", data.to_str().unwrap()),
            ("num.network.threads", "2"),
        ];
        let overrides = self.overrides.iter();
        pairs.extend(overrides.map(|(key, value)| (key.as_str(), value.as_str())));
        let config = BrokerConfig::from_pairs(&pairs).unwrap();
        let disk = Disk::system();
        let brokers_disk = disk.clone();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (started, address) = std::sync::mpsc::channel();
        self.thread = Some(std::thread::spawn(move || {
            let running = async move {
                let surroundings = Surroundings {
                    disk: brokers_disk,
                    random: Random::from_seed(1),
                    levels: LogLevels::default(),
                    // Those of all brokers of the process.
                    open_files: 100_000,
                    #[cfg(feature = "simulation")]
                    store: None,
                };
                let broker = Broker::start(config, surroundings).await.unwrap();
                started.send(broker.addresses()[0].1).unwrap();
                let _ = stopped.await;
                broker.stop().await;
            };
            task::run_control(running).unwrap();
        }));
        self.stop = Some(stop);
        self.disk = disk;
        self.address = address.recv_timeout(PATIENCE).expect("the broker starts");
    }

    fn end(&mut self) -> std::thread::Result<()> {
        drop(self.stop.take());
        self.thread.take().map_or(Ok(()), JoinHandle::join)
    }

    /// The folder around the data directory; nothing else is in it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn client(&self) -> Client {
        Client::over(TcpStream::connect(self.address).unwrap())
    }

    /// A client with the address `from` and small buffers of its own.
    pub fn client_from(&self, from: IpAddr) -> Client {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_send_buffer_size(32 * 1024).unwrap();
        socket.set_recv_buffer_size(32 * 1024).unwrap();
        socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
        socket.connect(&self.address.into()).unwrap();
        Client::over(socket.into())
    }

    /// Creates a topic with one partition.
    pub fn create_topic(&self, name: &str, configs: &[(&str, &str)]) {
        assert_eq!(self.client().create_topic(name, 1, configs), 0, "{name}");
    }

    /// Fails when the broker does not serve a new client.
    pub fn assert_alive(&self) {
        let mut client = self.client();
        let sent = client.send_body(ApiKey::ApiVersions, 0, &[]);
        let (correlation_id, _) = client
            .answer(ApiKey::ApiVersions, 0)
            .expect("the broker is alive");
        assert_eq!(correlation_id, sent);
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        let ended = self.end();
        if !std::thread::panicking() {
            assert!(ended.is_ok(), "the broker stops cleanly");
        }
    }
}

/// One connection.
pub struct Client {
    pub stream: TcpStream,
    next: i32,
}

impl Client {
    pub fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, next: 1 }
    }

    /// A whole frame, with the correlation id that it has.
    pub fn frame(&mut self, key: ApiKey, version: i16, body: &[u8]) -> (i32, Vec<u8>) {
        let header = RequestHeader {
            api_key: key,
            api_version: version,
            correlation_id: self.next,
            client_id: Some(Text::from("test")),
        };
        self.next += 1;
        let mut w = Writer::new();
        header.encode(&mut w);
        w.raw(body);
        let request = w.freeze();
        let mut frame = u32::try_from(request.len()).unwrap().to_be_bytes().to_vec();
        frame.extend_from_slice(&request);
        (header.correlation_id, frame)
    }

    pub fn request_frame<M: Message>(&mut self, request: &M, version: i16) -> (i32, Vec<u8>) {
        self.frame(M::KEY, version, &encoded(request, version))
    }

    /// Sends bytes as they are. A connection that is closed already is no error here: the answer will show it.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    pub fn send_body(&mut self, key: ApiKey, version: i16, body: &[u8]) -> i32 {
        let (correlation_id, frame) = self.frame(key, version, body);
        self.send_raw(&frame);
        correlation_id
    }

    pub fn send<M: Message>(&mut self, request: &M, version: i16) -> i32 {
        self.send_body(M::KEY, version, &encoded(request, version))
    }

    /// The next frame that the broker sends; `None` when it closed the connection instead.
    pub fn next_frame(&mut self) -> Option<Bytes> {
        let mut length = [0; 4];
        if !self.fill(&mut length) {
            return None;
        }
        let length = usize::try_from(i32::from_be_bytes(length)).unwrap();
        let mut frame = vec![0; length];
        assert!(self.fill(&mut frame), "closed inside an answer");
        Some(frame.into())
    }

    /// False at the end of the connection.
    fn fill(&mut self, into: &mut [u8]) -> bool {
        match self.stream.read_exact(into) {
            Ok(()) => true,
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
                ) =>
            {
                false
            }
            Err(error) => panic!("neither an answer nor a close: {error}"),
        }
    }

    /// Correlation id and body of the next answer, which is one to `key` in `version`.
    pub fn answer(&mut self, key: ApiKey, version: i16) -> Option<(i32, Bytes)> {
        let frame = self.next_frame()?;
        Some(decode_response(frame, key, version).unwrap())
    }

    pub fn receive<M: Message>(&mut self, version: i16) -> (i32, M) {
        let (correlation_id, body) = self.answer(M::KEY, version).expect("an answer");
        (
            correlation_id,
            M::decode(&mut Reader::new(body), version).unwrap(),
        )
    }

    /// One request and its answer.
    pub fn ask<Q: Message, R: Message>(&mut self, request: &Q, version: i16) -> R {
        let sent = self.send(request, version);
        let (correlation_id, answer) = self.receive(version);
        assert_eq!(correlation_id, sent);
        answer
    }

    /// Waits until the broker closes the connection; fails when it answers instead.
    pub fn assert_closed(&mut self, why: &str) {
        assert!(self.next_frame().is_none(), "answered, not closed: {why}");
    }

    pub fn disconnect(self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Creates a topic; returns the error code.
    pub fn create_topic(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> i16 {
        let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
            name: Text::copy(name),
            value: Some(Text::copy(value)),
        });
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: Text::copy(name),
                num_partitions: partitions,
                replication_factor: 1,
                configs: configs.collect(),
                ..CreatableTopic::default()
            }],
            timeout_ms: 30_000,
            ..CreateTopicsRequest::default()
        };
        let answer: CreateTopicsResponse = self.ask(&request, 4);
        answer.topics[0].error_code
    }

    /// Produces to a partition of `topic`, acks=all.
    pub fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        records: Bytes,
        version: i16,
    ) -> PartitionProduceResponse {
        let answer: ProduceResponse = self.ask(&produce_request(topic, partition, records), version);
        answer.responses[0].partition_responses[0].clone()
    }

    /// Sets configs of the broker with this name, of all brokers when it is empty; returns the error code.
    pub fn alter_broker(&mut self, name: &str, configs: &[(&str, &str)]) -> i16 {
        let configs = configs.iter().map(|(name, value)| AlterableConfig {
            name: Text::copy(name),
            config_operation: 0,
            value: Some(Text::copy(value)),
        });
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: 4,
                resource_name: Text::copy(name),
                configs: configs.collect(),
            }],
            validate_only: false,
        };
        let answer: IncrementalAlterConfigsResponse = self.ask(&request, 1);
        answer.responses[0].error_code
    }

    /// The log end offset of partition 0 of `topic`.
    pub fn log_end(&mut self, topic: &str) -> i64 {
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: Text::copy(topic),
                partitions: vec![ListOffsetsPartition {
                    timestamp: -1,
                    ..ListOffsetsPartition::default()
                }],
            }],
            ..ListOffsetsRequest::default()
        };
        let answer: ListOffsetsResponse = self.ask(&request, 5);
        let partition = &answer.topics[0].partitions[0];
        assert_eq!(partition.error_code, 0);
        partition.offset
    }

    /// Fetches from partition 0 of `topic` without waiting.
    pub fn fetch(&mut self, topic: &str, offset: i64) -> PartitionData {
        let request = fetch_request(topic, 0, offset);
        let answer: FetchResponse = self.ask(&request, 11);
        answer.responses[0].partitions[0].clone()
    }
}

pub fn encoded<M: Message>(message: &M, version: i16) -> Bytes {
    let mut w = Writer::new();
    message.encode(&mut w, version);
    w.freeze()
}

pub fn produce_request(topic: &str, partition: i32, records: Bytes) -> ProduceRequest {
    ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: Text::copy(topic),
            partition_data: vec![PartitionProduceData {
                index: partition,
                records: Some(records),
            }],
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    }
}

pub fn fetch_request(topic: &str, partition: i32, offset: i64) -> FetchRequest {
    FetchRequest {
        replica_id: -1,
        max_wait_ms: 0,
        min_bytes: 0,
        max_bytes: i32::MAX,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: Text::copy(topic),
            partitions: vec![FetchPartition {
                partition,
                current_leader_epoch: -1,
                fetch_offset: offset,
                partition_max_bytes: i32::MAX,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}

/// A batch of `values` with the key `k`.
pub fn batch_with(options: BatchOptions, timestamp: i64, values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    for value in values {
        builder
            .append(timestamp, Some(b"k"), Some(value.as_bytes()), &[])
            .unwrap();
    }
    builder.build().unwrap().1
}

pub fn batch(values: &[&str]) -> Bytes {
    batch_with(BatchOptions::default(), 1_000, values)
}

/// `batch` with another header and the checksum that fits.
pub fn changed(batch: &Bytes, change: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let mut header = BatchHeader::parse(batch).unwrap().unwrap();
    change(&mut header);
    let mut bytes = batch.to_vec();
    bytes[..61].copy_from_slice(&header.to_v2_bytes());
    sealed(bytes)
}

/// `batch` with the checksum that fits.
pub fn sealed(mut batch: Vec<u8>) -> Bytes {
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch.into()
}
