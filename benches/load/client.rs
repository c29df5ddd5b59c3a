//! A blocking client for the few requests that prepare a run. Called by all commands.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::batch::{Frame, string};
use crate::produce;

#[derive(clap::Args)]
pub struct CreateOptions {
    #[arg(long)]
    bootstrap: String,
    #[arg(long)]
    topic: String,
    #[arg(long, default_value_t = 1)]
    partitions: i32,
    /// Topic configuration, `key=value`.
    #[arg(long = "config")]
    configs: Vec<String>,
}

#[derive(clap::Args)]
pub struct CreateManyOptions {
    #[arg(long)]
    bootstrap: String,
    /// Topics are named PREFIX-0, PREFIX-1, ...
    #[arg(long)]
    prefix: String,
    #[arg(long)]
    topics: usize,
    #[arg(long, default_value_t = 1)]
    partitions: i32,
    #[arg(long, default_value_t = 100)]
    topics_per_request: usize,
}

pub struct Client {
    stream: TcpStream,
    correlation_id: i32,
}

/// Reads fields off a response; a short response ends the tool.
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub fn take(&mut self, length: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(length);
        self.0 = tail;
        head
    }
    pub fn i8(&mut self) -> i8 {
        self.take(1)[0] as i8
    }
    pub fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.take(2).try_into().unwrap())
    }
    pub fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take(4).try_into().unwrap())
    }
    pub fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.take(8).try_into().unwrap())
    }
    pub fn string(&mut self) -> Option<String> {
        let length = self.i16();
        (length >= 0).then(|| String::from_utf8(self.take(length as usize).to_vec()).unwrap())
    }
}

pub struct PartitionState {
    pub partition: i32,
    pub error: i16,
    pub leader: i32,
}

impl Client {
    pub fn connect(address: &str) -> std::io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        Ok(Client {
            stream,
            correlation_id: 0,
        })
    }

    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Sends one request and returns its response behind the correlation id.
    pub fn call(&mut self, key: i16, version: i16, body: &[u8]) -> std::io::Result<Vec<u8>> {
        self.correlation_id += 1;
        let mut frame = vec![0; 4];
        frame.extend_from_slice(&key.to_be_bytes());
        frame.extend_from_slice(&version.to_be_bytes());
        frame.extend_from_slice(&self.correlation_id.to_be_bytes());
        string("load", &mut frame);
        frame.extend_from_slice(body);
        let size = (frame.len() - 4) as i32;
        frame[..4].copy_from_slice(&size.to_be_bytes());
        self.stream.write_all(&frame)?;
        let mut response = self.answer()?;
        assert_eq!(response[..4], self.correlation_id.to_be_bytes(), "correlation id");
        Ok(response.split_off(4))
    }

    /// Sends a whole frame and returns its response with the correlation id.
    pub fn exchange(&mut self, frame: &[u8]) -> Vec<u8> {
        self.stream.write_all(frame).unwrap();
        self.answer().unwrap()
    }

    fn answer(&mut self) -> std::io::Result<Vec<u8>> {
        let mut size = [0; 4];
        self.stream.read_exact(&mut size)?;
        let mut response = vec![0; i32::from_be_bytes(size) as usize];
        self.stream.read_exact(&mut response)?;
        Ok(response)
    }

    /// Brokers known, and the partitions of a topic (Metadata v4, without creating it).
    pub fn metadata(&mut self, topic: Option<&str>) -> std::io::Result<(usize, Vec<PartitionState>)> {
        let mut body = Vec::new();
        match topic {
            Some(topic) => {
                body.extend_from_slice(&1i32.to_be_bytes());
                string(topic, &mut body);
            }
            None => body.extend_from_slice(&0i32.to_be_bytes()),
        }
        body.push(0);
        let response = self.call(3, 4, &body)?;
        let mut fields = Fields(&response);
        fields.i32();
        let brokers = fields.i32();
        for _ in 0..brokers {
            fields.i32();
            fields.string();
            fields.i32();
            fields.string();
        }
        fields.string();
        fields.i32();
        let mut partitions = Vec::new();
        for _ in 0..fields.i32() {
            fields.i16();
            fields.string();
            fields.i8();
            for _ in 0..fields.i32() {
                partitions.push(PartitionState {
                    error: fields.i16(),
                    partition: fields.i32(),
                    leader: fields.i32(),
                });
                for _ in 0..2 {
                    let count = fields.i32() as usize;
                    fields.take(4 * count);
                }
            }
        }
        Ok((brokers as usize, partitions))
    }

    /// Creates topics (CreateTopics v2); one that exists is left as it is.
    pub fn create_topics(&mut self, names: &[String], partitions: i32, configs: &[String]) {
        let mut body = (names.len() as i32).to_be_bytes().to_vec();
        for name in names {
            string(name, &mut body);
            body.extend_from_slice(&partitions.to_be_bytes());
            body.extend_from_slice(&1i16.to_be_bytes());
            body.extend_from_slice(&0i32.to_be_bytes());
            body.extend_from_slice(&(configs.len() as i32).to_be_bytes());
            for config in configs {
                let (key, value) = config.split_once('=').expect("key=value");
                string(key, &mut body);
                string(value, &mut body);
            }
        }
        body.extend_from_slice(&60_000i32.to_be_bytes());
        body.push(0);
        let response = self.call(19, 2, &body).unwrap();
        let mut fields = Fields(&response);
        fields.i32();
        for _ in 0..fields.i32() {
            let name = fields.string();
            let error = fields.i16();
            let message = fields.string();
            assert!(
                error == 0 || error == 36,
                "creating {name:?}: error {error} {message:?}"
            );
        }
    }

    /// True when so many partitions of a topic have a leader.
    pub fn has_leaders(&mut self, topic: &str, partitions: i32) -> bool {
        let (_, states) = self.metadata(Some(topic)).unwrap();
        let ready = states
            .iter()
            .filter(|state| state.error == 0 && state.leader >= 0 && state.partition >= 0);
        ready.count() >= partitions as usize
    }

    /// Waits until all partitions of a topic have a leader.
    pub fn await_leaders(&mut self, topic: &str, partitions: i32) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.has_leaders(topic, partitions) {
            assert!(Instant::now() < deadline, "{topic} has no leaders after 60 s");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Producer id and epoch (InitProducerId v1, no transactional id).
    pub fn init_producer_id(&mut self) -> (i64, i16) {
        let mut body = (-1i16).to_be_bytes().to_vec();
        body.extend_from_slice(&60_000i32.to_be_bytes());
        for _ in 0..200 {
            let response = self.call(22, 1, &body).unwrap();
            let mut fields = Fields(&response);
            fields.i32();
            let error = fields.i16();
            if error == 0 {
                return (fields.i64(), fields.i16());
            }
            assert!(error == 14 || error == 15, "InitProducerId: error {error}");
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("no producer id");
    }

    /// Sends a Produce request whose partitions must all take it.
    pub fn produce(&mut self, mut frame: Frame) {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        self.correlation_id += 1;
        frame.patch(self.correlation_id, now_ms, None);
        let response = self.exchange(&frame.bytes);
        produce::errors_of(&response, self.correlation_id, false);
    }

    /// The log end (timestamp -1) or log start (-2) of a partition (ListOffsets v1).
    pub fn list_offset(&mut self, topic: &str, partition: i32, timestamp: i64) -> i64 {
        let mut body = (-1i32).to_be_bytes().to_vec();
        body.extend_from_slice(&1i32.to_be_bytes());
        string(topic, &mut body);
        body.extend_from_slice(&1i32.to_be_bytes());
        body.extend_from_slice(&partition.to_be_bytes());
        body.extend_from_slice(&timestamp.to_be_bytes());
        let response = self.call(2, 1, &body).unwrap();
        let mut fields = Fields(&response);
        fields.i32();
        fields.string();
        fields.i32();
        fields.i32();
        let error = fields.i16();
        assert_eq!(error, 0, "ListOffsets {topic}-{partition}");
        fields.i64();
        fields.i64()
    }
}

pub fn create_topic(options: &CreateOptions) {
    let mut client = Client::connect(&options.bootstrap).unwrap();
    client.create_topics(
        std::slice::from_ref(&options.topic),
        options.partitions,
        &options.configs,
    );
    client.await_leaders(&options.topic, options.partitions);
}

pub fn create_topics(options: &CreateManyOptions) {
    let mut client = Client::connect(&options.bootstrap).unwrap();
    let started = Instant::now();
    let names: Vec<String> = (0..options.topics)
        .map(|n| format!("{}-{n}", options.prefix))
        .collect();
    for some in names.chunks(options.topics_per_request) {
        client.create_topics(some, options.partitions, &[]);
    }
    for name in &names {
        client.await_leaders(name, options.partitions);
    }
    println!(
        "{}",
        serde_json::json!({ "topics": names.len(), "seconds": started.elapsed().as_secs_f64() })
    );
}
