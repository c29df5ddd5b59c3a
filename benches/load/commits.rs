//! Offset commits, closed loop: each connection is the only member of a group of its own and commits the next partition,
//! or the next few, with each request, one request after the other, as a consumer does that commits what it has handled.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::batch::string;
use crate::client::{Client, Fields};
use crate::many::Many;
use crate::members;
use crate::process::Watch;
use crate::produce::percentiles;

const PATIENCE: Duration = Duration::from_secs(60);
/// Partition, offset, leader epoch, and a note of no bytes.
const PARTITION_BYTES: usize = 18;

#[derive(clap::Args)]
pub struct Options {
    #[arg(long)]
    bootstrap: String,
    /// The topic whose offsets are committed.
    #[arg(long)]
    topic: String,
    #[arg(long, default_value_t = 12)]
    partitions: i32,
    #[arg(long, default_value_t = 100)]
    groups: usize,
    /// Committed offsets in all.
    #[arg(long)]
    commits: u64,
    /// Partitions of a request.
    #[arg(long, default_value_t = 1)]
    partitions_per_request: usize,
    #[arg(long)]
    pid: Option<u32>,
}

/// One member's OffsetCommit, patched for each send.
struct Commit {
    frame: Vec<u8>,
    /// Where the first partition and its offset stand.
    at: usize,
    /// Requests and offsets so far.
    requests: i32,
    count: i64,
    sent: Instant,
}

impl Commit {
    fn new(group: &str, member: &str, generation: i32, options: &Options) -> Commit {
        let mut body = Vec::new();
        string(group, &mut body);
        body.extend_from_slice(&generation.to_be_bytes());
        string(member, &mut body);
        body.extend_from_slice(&(-1i16).to_be_bytes());
        body.extend_from_slice(&1i32.to_be_bytes());
        string(&options.topic, &mut body);
        body.extend_from_slice(&(options.partitions_per_request as i32).to_be_bytes());
        let partitions = options.partitions_per_request * PARTITION_BYTES;
        body.resize(body.len() + partitions, 0);
        let frame = members::frame(8, 7, &body);
        Commit {
            at: frame.len() - partitions,
            frame,
            requests: 0,
            count: 0,
            sent: Instant::now(),
        }
    }

    fn next(&mut self, partitions: i32) -> Vec<u8> {
        self.requests += 1;
        self.frame[8..12].copy_from_slice(&self.requests.to_be_bytes());
        for one in self.frame[self.at..].chunks_mut(PARTITION_BYTES) {
            let partition = (self.count % i64::from(partitions)) as i32;
            self.count += 1;
            one[..4].copy_from_slice(&partition.to_be_bytes());
            one[4..12].copy_from_slice(&self.count.to_be_bytes());
        }
        self.sent = Instant::now();
        self.frame.clone()
    }
}

/// Sees to it that the answer (OffsetCommit v7, one topic) is the one to the newest request, and no refusal.
fn check(answer: &[u8], commit: &Commit) {
    let mut fields = Fields(answer);
    assert_eq!(fields.i32(), commit.requests, "correlation id");
    fields.i32();
    fields.i32();
    let name = fields.i16();
    fields.take(name as usize);
    for _ in 0..fields.i32() {
        fields.i32();
        let error = fields.i16();
        assert_eq!(error, 0, "OffsetCommit");
    }
}

pub fn run(options: &Options) {
    let mut admin = Client::connect(&options.bootstrap).expect("connect");
    admin.create_topics(std::slice::from_ref(&options.topic), options.partitions, &[]);
    admin.await_leaders(&options.topic, options.partitions);
    let mut streams = Vec::new();
    let mut commits = Vec::new();
    for number in 0..options.groups {
        let group = format!("{}-{number}", options.topic);
        let mut client = Client::connect(&options.bootstrap).expect("connect");
        let (member, generation) = client.join_alone(&group);
        commits.push(Commit::new(&group, &member, generation, options));
        streams.push(client.into_stream());
    }
    let mut many = Many::over(streams);
    let mut latency = Histogram::<u64>::new_with_bounds(1, 120_000_000, 3).unwrap();
    let watch = Watch::start(options.pid);
    let own = Watch::start(Some(std::process::id()));
    let begun = Instant::now();
    let requests = options.commits / options.partitions_per_request as u64;
    let (mut sent, mut done) = (0, 0);
    for (slot, commit) in commits.iter_mut().enumerate() {
        if sent < requests {
            sent += 1;
            many.send(slot, &commit.next(options.partitions));
        }
    }
    let mut progress = begun;
    while done < requests {
        assert!(progress.elapsed() < PATIENCE, "no answer");
        let came = many.receive(PATIENCE, |slot, answer| {
            let commit = &mut commits[slot];
            check(answer, commit);
            latency.saturating_record(commit.sent.elapsed().as_micros() as u64);
            done += 1;
            let more = sent < requests;
            sent += u64::from(more);
            more.then(|| commit.next(options.partitions))
        });
        if came > 0 {
            progress = Instant::now();
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{}",
        serde_json::json!({
            "requests": done,
            "commits": done * options.partitions_per_request as u64,
            "seconds": seconds,
            "requests_per_second": done as f64 / seconds,
            "latency_us": percentiles(&latency),
            "broker": watch.report(),
            "load_generator": own.report(),
        })
    );
}
