//! A `__consumer_offsets` of many records, to be loaded: each commit is one batch, as a coordinator writes it, of all the
//! partitions that a group has of one topic. It goes to the log by Produce under the client id of Kafka's own tools, which
//! a broker lets write to this topic, so that all brokers get the same content within minutes; a coordinator learns of it
//! when it loads the partition the next time. Also asks for these offsets, as `start` does.

use std::io::Write;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::batch::{self, string};
use crate::client::{Client, Fields};
use crate::codec::Codec;
use crate::whole;

const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// Who may produce to internal topics.
const CLIENT_ID: &str = "__admin_client";
/// Requests on their way.
const PIPELINE: usize = 4;

/// Which offsets there are.
#[derive(clap::Args, Clone)]
pub struct Keys {
    /// Groups with committed offsets.
    #[arg(long, default_value_t = 0)]
    groups: usize,
    /// Topics that each group commits to.
    #[arg(long, default_value_t = 10)]
    topics_per_group: usize,
    /// Partitions of each of them.
    #[arg(long, default_value_t = 10)]
    partitions_per_topic: usize,
    /// How often each of their offsets is committed.
    #[arg(long, default_value_t = 20)]
    commits_per_key: usize,
}

#[derive(clap::Args)]
pub struct Options {
    #[arg(long)]
    bootstrap: String,
    #[command(flatten)]
    keys: Keys,
}

fn group_id(number: usize) -> String {
    format!("consumer-group-{number:06}")
}

fn topic_name(number: usize) -> String {
    format!("load-topic-{number:02}")
}

/// The partition of the topic that keeps a group: Java's hash of its name.
fn partition_of(group: &str, partitions: usize) -> usize {
    let hash = group
        .encode_utf16()
        .fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()));
    hash.checked_abs().unwrap_or(0) as usize % partitions
}

/// The batch of one commit: key version 1, value version 3.
fn commit(group: &str, topic: &str, keys: &Keys, offset: i64, now_ms: i64) -> Vec<u8> {
    let mut records = Vec::with_capacity(keys.partitions_per_topic * 100);
    for partition in 0..keys.partitions_per_topic {
        let mut key = 1i16.to_be_bytes().to_vec();
        string(group, &mut key);
        string(topic, &mut key);
        key.extend_from_slice(&(partition as i32).to_be_bytes());
        let mut value = 3i16.to_be_bytes().to_vec();
        value.extend_from_slice(&offset.to_be_bytes());
        value.extend_from_slice(&0i32.to_be_bytes());
        string("", &mut value);
        value.extend_from_slice(&now_ms.to_be_bytes());
        let record = batch::record(partition as i64, Some(&key), &value);
        batch::varint(record.len() as i64, &mut records);
        records.extend_from_slice(&record);
    }
    let mut batch = batch::whole(Codec::None, keys.partitions_per_topic as i32, &records);
    batch[27..35].copy_from_slice(&now_ms.to_be_bytes());
    batch[35..43].copy_from_slice(&now_ms.to_be_bytes());
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

pub fn run(options: &Options) {
    let keys = &options.keys;
    let mut client = Client::connect(&options.bootstrap).expect("connect");
    let topics: Vec<String> = (0..keys.topics_per_group).map(topic_name).collect();
    client.create_topics(&topics, keys.partitions_per_topic as i32, &[]);
    client.await_coordinator("any");
    let partitions = client.metadata(Some(OFFSETS_TOPIC)).unwrap().1.len();
    client.await_leaders(OFFSETS_TOPIC, partitions as i32);
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    // What is committed in each partition; in each pass all of it once, in another order.
    let mut places: Vec<Vec<(String, usize)>> = vec![Vec::new(); partitions];
    for group in (0..keys.groups).map(group_id) {
        let place = &mut places[partition_of(&group, partitions)];
        place.extend((0..topics.len()).map(|topic| (group.clone(), topic)));
    }
    let most = places.iter().map(Vec::len).max().unwrap_or(0);
    let mut random = fastrand::Rng::with_seed(1);
    let mut stream = client.into_stream();
    let (mut owed, mut records, mut bytes) = (0, 0, 0);
    for pass in 0..keys.commits_per_key {
        places.iter_mut().for_each(|place| random.shuffle(place));
        for number in 0..most {
            let with = |(partition, place): (usize, &Vec<(String, usize)>)| {
                let (group, topic) = place.get(number)?;
                Some((
                    partition,
                    commit(group, &topics[*topic], keys, pass as i64, now_ms),
                ))
            };
            let batches: Vec<(usize, Vec<u8>)> = places.iter().enumerate().filter_map(with).collect();
            records += batches.len() * keys.partitions_per_topic;
            bytes += batches.iter().map(|(_, batch)| batch.len()).sum::<usize>();
            if owed == PIPELINE {
                whole::await_answer(&mut stream);
                owed -= 1;
            }
            let request = whole::request(CLIENT_ID, -1, OFFSETS_TOPIC, &batches);
            stream.write_all(&request).unwrap();
            owed += 1;
        }
    }
    (0..owed).for_each(|_| whole::await_answer(&mut stream));
    let live = keys.groups * keys.topics_per_group * keys.partitions_per_topic;
    println!(
        "{}",
        serde_json::json!({ "records": records, "bytes": bytes, "keys": live })
    );
}

/// What a group has committed of a topic (OffsetFetch v5): the offset of each partition, or the error.
fn committed(client: &mut Client, group: &str, topic: &str, partitions: usize) -> Result<Vec<i64>, i16> {
    let mut body = Vec::new();
    string(group, &mut body);
    body.extend_from_slice(&1i32.to_be_bytes());
    string(topic, &mut body);
    body.extend_from_slice(&(partitions as i32).to_be_bytes());
    for partition in 0..partitions {
        body.extend_from_slice(&(partition as i32).to_be_bytes());
    }
    let answer = client.call(9, 5, &body).unwrap();
    let mut fields = Fields(&answer);
    fields.i32();
    let mut offsets = Vec::new();
    for _ in 0..fields.i32() {
        fields.string();
        for _ in 0..fields.i32() {
            fields.i32();
            offsets.push(fields.i64());
            fields.i32();
            fields.string();
            let error = fields.i16();
            if error != 0 {
                return Err(error);
            }
        }
    }
    match fields.i16() {
        0 => Ok(offsets),
        error => Err(error),
    }
}

/// Waits until a group of each partition is answered. Without groups in `keys`: with no offsets.
pub fn await_loaded(client: &mut Client, keys: &Keys, timeout: Duration) {
    let deadline = Instant::now() + timeout;
    let partitions = loop {
        // A broker may answer before it knows its own partitions.
        match client.metadata(Some(OFFSETS_TOPIC)).unwrap().1.len() {
            0 => assert!(Instant::now() < deadline, "{OFFSETS_TOPIC} is not there"),
            partitions => break partitions,
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let mut asked = vec![false; partitions];
    for group in (0..keys.groups.max(100 * partitions)).map(group_id) {
        if std::mem::replace(&mut asked[partition_of(&group, partitions)], true) {
            continue;
        }
        while let Err(error) = committed(client, &group, &topic_name(0), 1) {
            // Loading, not there yet, or not known to be the coordinator yet.
            assert!((14..=16).contains(&error), "OffsetFetch: error {error}");
            assert!(Instant::now() < deadline, "{group} is not answered");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    assert!(asked.iter().all(|asked| *asked), "a partition without groups");
}

/// Sees to it that every offset is the one that was committed last.
pub fn check_all(client: &mut Client, keys: &Keys) {
    let last = keys.commits_per_key as i64 - 1;
    for group in (0..keys.groups).map(group_id) {
        for topic in (0..keys.topics_per_group).map(topic_name) {
            let offsets = committed(client, &group, &topic, keys.partitions_per_topic);
            assert_eq!(
                offsets,
                Ok(vec![last; keys.partitions_per_topic]),
                "{group} {topic}"
            );
        }
    }
}
