//! Reading whole partitions with Fetch v11, one request after the other, a blocking thread for each connection.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::batch::string;
use crate::client::{Client, Fields};
use crate::process::Watch;

#[derive(clap::Args, Clone)]
pub struct Options {
    #[arg(long)]
    bootstrap: String,
    #[arg(long)]
    topic: String,
    #[arg(long, default_value_t = 6)]
    partitions: i32,
    /// Bytes of a response, and of a partition in it.
    #[arg(long, default_value_t = 1 << 20)]
    max_bytes: i32,
    /// Partition P is read on connection P modulo this.
    #[arg(long, default_value_t = 1)]
    connections: i32,
    /// Whole passes over the partitions.
    #[arg(long, default_value_t = 1)]
    repeat: u32,
    /// Stop a connection after this many bytes; 0: no limit.
    #[arg(long, default_value_t = 0)]
    bytes: u64,
    /// Megabytes a second on each connection at most; 0: as fast as they come.
    #[arg(long, default_value_t = 0.0)]
    pace: f64,
    #[arg(long)]
    pid: Option<u32>,
    /// Ask for no log ends, and read until a response is empty.
    #[arg(long)]
    no_setup: bool,
}

struct Reader {
    options: Options,
    latency: Histogram<u64>,
    requests: u64,
    records: u64,
    bytes: u64,
}

impl Reader {
    fn run(mut self, number: i32) -> Reader {
        let mut client = Client::connect(&self.options.bootstrap).expect("connect");
        let mine: Vec<(i32, i64, i64)> = (number..self.options.partitions)
            .step_by(self.options.connections as usize)
            .map(|partition| match self.options.no_setup {
                true => (partition, 0, i64::MAX),
                false => {
                    let start = client.list_offset(&self.options.topic, partition, -2);
                    (
                        partition,
                        start,
                        client.list_offset(&self.options.topic, partition, -1),
                    )
                }
            })
            .collect();
        let mut stream = client.into_stream();
        let started = Instant::now();
        let mut buffer = vec![0; self.options.max_bytes as usize + 65536];
        for _ in 0..self.options.repeat {
            for (partition, start, end) in &mine {
                let mut offset = *start;
                while offset < *end {
                    if self.options.pace > 0.0 {
                        let due =
                            started + Duration::from_secs_f64(self.bytes as f64 / 1e6 / self.options.pace);
                        std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    }
                    let since = Instant::now();
                    stream.write_all(&self.request(*partition, offset)).unwrap();
                    let mut size = [0; 4];
                    stream.read_exact(&mut size).unwrap();
                    let size = i32::from_be_bytes(size) as usize;
                    if buffer.len() < size {
                        buffer.resize(size, 0);
                    }
                    stream.read_exact(&mut buffer[..size]).unwrap();
                    self.latency.saturating_record(since.elapsed().as_micros() as u64);
                    self.requests += 1;
                    self.bytes += size as u64 + 4;
                    match next_offset(&buffer[..size], offset) {
                        Some(next) => {
                            self.records += (next - offset) as u64;
                            offset = next;
                        }
                        None if self.options.no_setup => break,
                        None => panic!("partition {partition}: nothing at {offset} before the log end {end}"),
                    }
                    if self.options.bytes > 0 && self.bytes >= self.options.bytes {
                        return self;
                    }
                }
            }
        }
        self
    }

    fn request(&self, partition: i32, offset: i64) -> Vec<u8> {
        let mut out = vec![0; 4];
        out.extend_from_slice(&[0, 1, 0, 11, 0, 0, 0, 1]);
        string("load", &mut out);
        out.extend_from_slice(&(-1i32).to_be_bytes()); // replica
        out.extend_from_slice(&500i32.to_be_bytes()); // max wait
        out.extend_from_slice(&1i32.to_be_bytes()); // min bytes
        out.extend_from_slice(&self.options.max_bytes.to_be_bytes());
        out.push(0); // read uncommitted
        out.extend_from_slice(&0i32.to_be_bytes()); // session
        out.extend_from_slice(&(-1i32).to_be_bytes()); // session epoch: none
        out.extend_from_slice(&1i32.to_be_bytes());
        string(&self.options.topic, &mut out);
        out.extend_from_slice(&1i32.to_be_bytes());
        out.extend_from_slice(&partition.to_be_bytes());
        out.extend_from_slice(&(-1i32).to_be_bytes()); // leader epoch
        out.extend_from_slice(&offset.to_be_bytes());
        out.extend_from_slice(&(-1i64).to_be_bytes()); // log start
        out.extend_from_slice(&self.options.max_bytes.to_be_bytes());
        out.extend_from_slice(&0i32.to_be_bytes()); // forgotten topics
        string("", &mut out); // rack
        let size = (out.len() - 4) as i32;
        out[..4].copy_from_slice(&size.to_be_bytes());
        out
    }
}

/// The offset behind the last whole batch of a Fetch response v11; `None` when it holds no whole batch.
fn next_offset(body: &[u8], asked: i64) -> Option<i64> {
    let mut fields = Fields(body);
    fields.i32(); // correlation id
    fields.i32(); // throttle time
    let error = fields.i16();
    assert_eq!(error, 0, "fetch");
    fields.i32(); // session
    assert_eq!(fields.i32(), 1, "topics");
    fields.string();
    assert_eq!(fields.i32(), 1, "partitions");
    let partition = fields.i32();
    let error = fields.i16();
    assert_eq!(error, 0, "fetch of partition {partition} at {asked}");
    fields.take(24); // high watermark, last stable offset, log start
    let aborted = fields.i32();
    if aborted > 0 {
        fields.take(16 * aborted as usize);
    }
    fields.i32(); // preferred replica
    let length = fields.i32();
    let mut records = fields.take(length.max(0) as usize);
    let mut next = None;
    while records.len() >= 61 {
        let size = i32::from_be_bytes(records[8..12].try_into().unwrap()) as usize + 12;
        if records.len() < size {
            break;
        }
        let base = i64::from_be_bytes(records[..8].try_into().unwrap());
        next = Some(base + i64::from(i32::from_be_bytes(records[23..27].try_into().unwrap())) + 1);
        records = &records[size..];
    }
    next
}

pub fn run(options: &Options) {
    let watch = Watch::start(options.pid);
    let own = Watch::start(Some(std::process::id()));
    let started = Instant::now();
    let threads: Vec<_> = (0..options.connections)
        .map(|number| {
            let latency = Histogram::new_with_bounds(1, 120_000_000, 3).unwrap();
            let reader = Reader {
                options: options.clone(),
                latency,
                requests: 0,
                records: 0,
                bytes: 0,
            };
            std::thread::spawn(move || reader.run(number))
        })
        .collect();
    let done: Vec<Reader> = threads
        .into_iter()
        .map(|thread| thread.join().expect("reader"))
        .collect();
    let seconds = started.elapsed().as_secs_f64();
    let mut latency = Histogram::<u64>::new_with_bounds(1, 120_000_000, 3).unwrap();
    done.iter()
        .for_each(|reader| latency.add(&reader.latency).unwrap());
    let sum = |field: fn(&Reader) -> u64| done.iter().map(field).sum::<u64>();
    let (records, bytes) = (sum(|r| r.records), sum(|r| r.bytes));
    println!(
        "{}",
        serde_json::json!({
            "requests": sum(|r| r.requests),
            "records": records,
            "bytes": bytes,
            "seconds": seconds,
            "megabytes_per_second": bytes as f64 / seconds / 1e6,
            "latency_us": crate::produce::percentiles(&latency),
            "broker": watch.report(),
            "load_generator": own.report(),
        })
    );
}
