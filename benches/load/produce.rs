//! Producing over many connections from one epoll thread (or a few). Closed loop: each connection keeps `--pipeline`
//! requests on their way. Open loop: requests fall due at a fixed rate, and latency counts from when each was due.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;
use rustix::event::epoll;

use crate::batch::{Frame, Producer, Shape};
use crate::client::{Client, Fields};
use crate::codec::Codec;
use crate::process::Watch;

#[derive(clap::Args, Clone)]
pub struct Options {
    #[arg(long)]
    bootstrap: String,
    #[arg(long)]
    topic: String,
    #[arg(long, default_value_t = 6)]
    partitions: usize,
    /// Bytes of a record's value.
    #[arg(long, default_value_t = 100)]
    record_size: usize,
    /// Bytes of a batch before compression.
    #[arg(long, default_value_t = 8192)]
    batch_bytes: usize,
    #[arg(long, default_value_t = 1, allow_hyphen_values = true)]
    acks: i16,
    #[arg(long, default_value_t = 1)]
    connections: usize,
    #[arg(long, value_enum, default_value = "none")]
    codec: Codec,
    #[arg(long)]
    idempotent: bool,
    /// Requests on their way on each connection.
    #[arg(long, default_value_t = 5)]
    pipeline: usize,
    /// Partitions in each request.
    #[arg(long, default_value_t = 1)]
    partitions_per_request: usize,
    /// Records to send in all; 0: until the time is up.
    #[arg(long, default_value_t = 0)]
    records: u64,
    /// Stop after this time even if records are left; 0: no limit.
    #[arg(long, default_value_t = 0.0)]
    seconds: f64,
    /// Requests a second in all; 0: closed loop.
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// The broker's process id, for its CPU and memory.
    #[arg(long)]
    pid: Option<u32>,
    /// Ask for no metadata, topic or producer id: the peer is no broker but a bare loop.
    #[arg(long)]
    no_setup: bool,
    /// Go on after error codes, and count them.
    #[arg(long)]
    tolerate_errors: bool,
}

struct Connection {
    stream: TcpStream,
    frames: Vec<Frame>,
    next_frame: usize,
    /// The frame on its way into the socket, and how much of it has gone.
    writing: Option<(usize, usize)>,
    in_flight: VecDeque<Instant>,
    /// Open loop: requests that fell due and could not be sent yet.
    due: VecDeque<Instant>,
    producer: Option<Producer>,
    correlation_id: i32,
    input: Vec<u8>,
    filled: usize,
    wants_write: bool,
}

struct Worker {
    options: Options,
    connections: Vec<Connection>,
    epoll: std::os::fd::OwnedFd,
    latency: Histogram<u64>,
    records_left: u64,
    deadline: Option<Instant>,
    requests: u64,
    records: u64,
    bytes: u64,
    errors: u64,
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

impl Worker {
    fn new(options: &Options, index: usize, records: u64) -> Worker {
        let shape = Shape {
            record_size: options.record_size,
            batch_bytes: options.batch_bytes,
            codec: options.codec,
        };
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let mut connections = Vec::new();
        let mine = (index..options.connections).step_by(options.threads);
        for (slot, number) in mine.enumerate() {
            let mut client = Client::connect(&options.bootstrap).expect("connect");
            let producer = options.idempotent.then(|| {
                let (id, epoch) = if options.no_setup {
                    (number as i64, 0)
                } else {
                    client.init_producer_id()
                };
                Producer {
                    id,
                    epoch,
                    sequences: vec![0; options.partitions],
                }
            });
            let all: Vec<usize> = (0..options.partitions)
                .map(|p| (p + number) % options.partitions)
                .collect();
            let frames = all
                .chunks(options.partitions_per_request)
                .map(|some| Frame::new(&options.topic, options.acks, some, shape, number as u64 * 1000))
                .collect();
            let stream = client.into_stream();
            stream.set_nonblocking(true).unwrap();
            epoll::add(
                &epoll,
                &stream,
                epoll::EventData::new_u64(slot as u64),
                epoll::EventFlags::IN,
            )
            .unwrap();
            connections.push(Connection {
                stream,
                frames,
                next_frame: 0,
                writing: None,
                in_flight: VecDeque::new(),
                due: VecDeque::new(),
                producer,
                correlation_id: 0,
                input: vec![0; 64 * 1024],
                filled: 0,
                wants_write: false,
            });
        }
        Worker {
            options: options.clone(),
            connections,
            epoll,
            latency: Histogram::new_with_bounds(1, 120_000_000, 3).unwrap(),
            records_left: if records == 0 { u64::MAX } else { records },
            deadline: None,
            requests: 0,
            records: 0,
            bytes: 0,
            errors: 0,
        }
    }

    fn run(mut self) -> Worker {
        let started = Instant::now();
        if self.options.seconds > 0.0 {
            self.deadline = Some(started + Duration::from_secs_f64(self.options.seconds));
        }
        let rate = self.options.rate / self.options.threads as f64;
        let mut scheduled = 0u64;
        let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
        if rate == 0.0 {
            for slot in 0..self.connections.len() {
                self.send(slot);
            }
        }
        loop {
            let mut wait = Duration::from_millis(100);
            if rate > 0.0 {
                loop {
                    let due = started + Duration::from_secs_f64(scheduled as f64 / rate);
                    let now = Instant::now();
                    let over =
                        self.deadline.is_some_and(|deadline| due >= deadline) || self.records_left == 0;
                    if over {
                        break;
                    }
                    if due > now {
                        wait = due - now;
                        break;
                    }
                    let slot = scheduled as usize % self.connections.len();
                    scheduled += 1;
                    self.connections[slot].due.push_back(due);
                    self.send(slot);
                }
            }
            if self.finished() {
                return self;
            }
            let timeout = rustix::event::Timespec {
                tv_sec: 0,
                tv_nsec: wait.subsec_nanos().into(),
            };
            events.clear();
            epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                Some(&timeout),
            )
            .unwrap();
            for event in &events {
                let (slot, flags) = (event.data.u64() as usize, event.flags);
                if flags.contains(epoll::EventFlags::OUT) {
                    self.send(slot);
                }
                if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
                    self.receive(slot);
                }
            }
        }
    }

    fn stopping(&self) -> bool {
        self.records_left == 0 || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn finished(&self) -> bool {
        let idle = |c: &Connection| c.in_flight.is_empty() && c.writing.is_none() && c.due.is_empty();
        self.stopping() && self.connections.iter().all(idle)
    }

    /// Starts requests and writes until the pipeline is full, the work is done or the socket takes no more.
    fn send(&mut self, slot: usize) {
        loop {
            if self.connections[slot].writing.is_none() && !self.begin(slot) {
                break;
            }
            let connection = &mut self.connections[slot];
            let Some((frame, at)) = connection.writing else {
                break;
            };
            let bytes = &connection.frames[frame].bytes;
            match connection.stream.write(&bytes[at..]) {
                Ok(count) if at + count == bytes.len() => {
                    self.bytes += bytes.len() as u64;
                    connection.writing = None;
                    if self.options.acks == 0 {
                        let since = connection.in_flight.pop_front().unwrap();
                        self.latency.saturating_record(since.elapsed().as_micros() as u64);
                    }
                }
                Ok(count) => connection.writing = Some((frame, at + count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("write: {error}"),
            }
        }
        let connection = &mut self.connections[slot];
        let wants_write = connection.writing.is_some();
        if wants_write != connection.wants_write {
            connection.wants_write = wants_write;
            let flags = if wants_write {
                epoll::EventFlags::IN | epoll::EventFlags::OUT
            } else {
                epoll::EventFlags::IN
            };
            let data = epoll::EventData::new_u64(slot as u64);
            epoll::modify(&self.epoll, &connection.stream, data, flags).unwrap();
        }
    }

    /// Patches the next request of a connection, when it may send one.
    fn begin(&mut self, slot: usize) -> bool {
        let open = self.options.rate > 0.0;
        let stopping = self.stopping();
        let connection = &mut self.connections[slot];
        if connection.in_flight.len() >= self.options.pipeline {
            return false;
        }
        let since = match connection.due.pop_front() {
            Some(due) => due,
            None if open || stopping => return false,
            None => Instant::now(),
        };
        let frame = &mut connection.frames[connection.next_frame];
        connection.correlation_id = connection.correlation_id.wrapping_add(1);
        frame.patch(connection.correlation_id, now_ms(), connection.producer.as_mut());
        self.records += frame.records;
        self.requests += 1;
        self.records_left = self.records_left.saturating_sub(frame.records);
        connection.writing = Some((connection.next_frame, 0));
        connection.next_frame = (connection.next_frame + 1) % connection.frames.len();
        connection.in_flight.push_back(since);
        true
    }

    fn receive(&mut self, slot: usize) {
        let connection = &mut self.connections[slot];
        match connection.stream.read(&mut connection.input[connection.filled..]) {
            Ok(0) => panic!("the broker closed the connection"),
            Ok(count) => connection.filled += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("read: {error}"),
        }
        let mut at = 0;
        while connection.filled - at >= 4 {
            let size = i32::from_be_bytes(connection.input[at..at + 4].try_into().unwrap()) as usize;
            if connection.filled - at - 4 < size {
                break;
            }
            let body = &connection.input[at + 4..at + 4 + size];
            at += 4 + size;
            let since = connection
                .in_flight
                .pop_front()
                .expect("a response without a request");
            self.latency.saturating_record(since.elapsed().as_micros() as u64);
            self.errors += errors_of(body, connection.correlation_id, self.options.tolerate_errors);
        }
        connection.input.copy_within(at..connection.filled, 0);
        connection.filled -= at;
        self.send(slot);
    }
}

/// Counts the partitions of a Produce response v7 that failed.
pub fn errors_of(body: &[u8], newest_correlation_id: i32, tolerate: bool) -> u64 {
    let mut fields = Fields(body);
    let correlation_id = fields.i32();
    assert!(
        newest_correlation_id.wrapping_sub(correlation_id) >= 0,
        "correlation id from the future"
    );
    let mut errors = 0;
    for _ in 0..fields.i32() {
        let length = fields.i16();
        fields.take(length as usize);
        for _ in 0..fields.i32() {
            let partition = fields.i32();
            let error = fields.i16();
            fields.take(24);
            if error != 0 {
                assert!(tolerate, "partition {partition}: error {error}");
                errors += 1;
            }
        }
    }
    errors
}

pub fn run(options: &Options) {
    if !options.no_setup {
        let mut client = Client::connect(&options.bootstrap).expect("connect");
        let partitions = options.partitions as i32;
        // A broker of a cluster may not be the one that creates topics.
        if !client.has_leaders(&options.topic, partitions) {
            client.create_topics(std::slice::from_ref(&options.topic), partitions, &[]);
            client.await_leaders(&options.topic, partitions);
        }
    }
    assert!(
        options.threads <= options.connections,
        "more threads than connections"
    );
    let share = options.records.div_ceil(options.threads as u64);
    let workers: Vec<Worker> = (0..options.threads)
        .map(|index| Worker::new(options, index, share))
        .collect();
    let watch = Watch::start(options.pid);
    let own = Watch::start(Some(std::process::id()));
    let started = Instant::now();
    let threads: Vec<_> = workers
        .into_iter()
        .map(|w| std::thread::spawn(move || w.run()))
        .collect();
    let done: Vec<Worker> = threads
        .into_iter()
        .map(|thread| thread.join().expect("worker"))
        .collect();
    if options.acks == 0 && !options.no_setup {
        // Nothing says that the last ones have arrived; the answer of a later request on the same connection does.
        for worker in &done {
            for connection in &worker.connections {
                drain(connection);
            }
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let mut latency = Histogram::<u64>::new_with_bounds(1, 120_000_000, 3).unwrap();
    done.iter()
        .for_each(|worker| latency.add(&worker.latency).unwrap());
    let sum = |field: fn(&Worker) -> u64| done.iter().map(field).sum::<u64>();
    let (records, bytes) = (sum(|w| w.records), sum(|w| w.bytes));
    println!(
        "{}",
        serde_json::json!({
            "requests": sum(|w| w.requests),
            "records": records,
            "bytes": bytes,
            "errors": sum(|w| w.errors),
            "seconds": seconds,
            "records_per_second": records as f64 / seconds,
            "megabytes_per_second": bytes as f64 / seconds / 1e6,
            "latency_us": percentiles(&latency),
            "broker": watch.report(),
            "load_generator": own.report(),
        })
    );
}

pub fn percentiles(latency: &Histogram<u64>) -> serde_json::Value {
    serde_json::json!({
        "p50": latency.value_at_quantile(0.5),
        "p90": latency.value_at_quantile(0.9),
        "p99": latency.value_at_quantile(0.99),
        "p99.9": latency.value_at_quantile(0.999),
        "max": latency.max(),
        "mean": latency.mean(),
    })
}

fn drain(connection: &Connection) {
    let mut stream = connection.stream.try_clone().unwrap();
    stream.set_nonblocking(false).unwrap();
    // ApiVersions v0: key 18, version 0, correlation id 0, no client id.
    stream
        .write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 0, 0xff, 0xff])
        .unwrap();
    let mut size = [0; 4];
    stream.read_exact(&mut size).unwrap();
}

#[derive(clap::Args)]
pub struct ProducerOptions {
    #[arg(long)]
    bootstrap: String,
    #[arg(long)]
    topic: String,
    #[arg(long, default_value_t = 10_000)]
    producers: usize,
}

/// Gives each of many producer ids one batch of one record in partition 0.
pub fn register_producers(options: &ProducerOptions) {
    let mut client = Client::connect(&options.bootstrap).expect("connect");
    client.create_topics(std::slice::from_ref(&options.topic), 1, &[]);
    client.await_leaders(&options.topic, 1);
    let mut stream = Client::connect(&options.bootstrap)
        .expect("connect")
        .into_stream();
    let shape = Shape {
        record_size: 20,
        batch_bytes: 0,
        codec: Codec::None,
    };
    let mut frame = Frame::new(&options.topic, 1, &[0], shape, 1);
    for number in 0..options.producers {
        let (id, epoch) = client.init_producer_id();
        frame.patch(
            number as i32,
            now_ms(),
            Some(&mut Producer {
                id,
                epoch,
                sequences: vec![0],
            }),
        );
        stream.write_all(&frame.bytes).unwrap();
        let mut size = [0; 4];
        stream.read_exact(&mut size).unwrap();
        let mut body = vec![0; i32::from_be_bytes(size) as usize];
        stream.read_exact(&mut body).unwrap();
        errors_of(&body, number as i32, false);
    }
    println!("{}", serde_json::json!({ "producers": options.producers }));
}
