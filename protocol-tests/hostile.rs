//! Bad input over a real socket: connections, frames and names. Records have a target of their own, `hostile_records`.
//!
//! One test at a time, because an allocator counts what the whole process holds. Each test names its row in the
//! project's table of pitfalls, part 2.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods
)]
#![allow(
    unsafe_code,
    reason = "an allocator that counts; it hands everything on to the system's"
)]

mod socket;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{ErrorKind, Write as _};
use std::sync::atomic::{AtomicIsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use barnabas::base::ids::{ProducerEpoch, ProducerId};
use barnabas::records::build::BatchOptions;
use barnabas::wire::messages::api_versions::ApiVersionsResponse;
use barnabas::wire::messages::delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
use barnabas::wire::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResponse,
};
use barnabas::wire::messages::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse};
use barnabas::wire::messages::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, TopicRequest,
};
use barnabas::wire::messages::fetch::{FetchPartition, FetchResponse};
use barnabas::wire::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use barnabas::wire::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use barnabas::wire::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use barnabas::wire::messages::offset_commit::OffsetCommitResponse;
use barnabas::wire::messages::offset_fetch::OffsetFetchResponse;
use barnabas::wire::{ApiKey, Text};
use socket::{Client, TestBroker, batch, batch_with, encoded, fetch_request, group};

const KB: usize = 1024;
const MB: usize = 1024 * KB;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const INVALID_TOPIC: i16 = 17;
const UNSUPPORTED_VERSION: i16 = 35;

static HELD: AtomicIsize = AtomicIsize::new(0);
static MOST: AtomicIsize = AtomicIsize::new(0);

struct Counting;

fn count(bytes: isize) {
    let held = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
    if bytes > 0 {
        MOST.fetch_max(held, Ordering::Relaxed);
    }
}

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How much more than now the process comes to hold.
struct Growth(isize);

impl Growth {
    fn from_here() -> Self {
        let held = HELD.load(Ordering::Relaxed);
        MOST.store(held, Ordering::Relaxed);
        Self(held)
    }

    fn most(&self) -> usize {
        (MOST.load(Ordering::Relaxed) - self.0).max(0) as usize
    }

    /// Waits until the growth is below `bytes`.
    fn comes_below(&self, bytes: usize) -> bool {
        (0..3000).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            self.now() < bytes
        })
    }

    fn now(&self) -> usize {
        (HELD.load(Ordering::Relaxed) - self.0).max(0) as usize
    }
}

fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends `bytes` until they are all sent, or the other side takes nothing for a while or closes; returns how many were
/// taken.
fn push(client: &mut Client, bytes: &[u8]) -> usize {
    let patience = Duration::from_millis(700);
    client.stream.set_write_timeout(Some(patience)).unwrap();
    let mut taken = 0;
    while taken < bytes.len() {
        match client.stream.write(&bytes[taken..]) {
            Ok(0) => break,
            Ok(written) => taken += written,
            Err(_) => break,
        }
    }
    client.stream.set_write_timeout(Some(socket::PATIENCE)).unwrap();
    taken
}

fn loopback(last: u8) -> std::net::IpAddr {
    std::net::Ipv4Addr::new(127, 0, 0, last).into()
}

/// How a Produce begins: key and version.
const PRODUCE: &[u8] = &[0, 0, 0, 9];

// row 4: nobody is authenticated, but who has not named a request that may be large is taken no more from either
#[test]
fn a_large_frame_is_received_only_for_a_request_that_may_be_large() {
    let _alone = alone();
    let broker = TestBroker::start(&[]);
    broker.assert_alive();
    let growth = Growth::from_here();
    let bound = 512 * KB as i32;
    // Unknown keys and versions, and what is sent before who sends it is authenticated.
    for (key, version) in [
        (-1_i16, 0_i16),
        (999, 0),
        (0, 99),
        (1, -1),
        (18, 3),
        (18, 99),
        (17, 1),
        (36, 2),
    ] {
        let beginning = [key.to_be_bytes(), version.to_be_bytes()].concat();
        let mut clients: Vec<_> = (0..8).map(|_| broker.client()).collect();
        for client in &mut clients {
            client.send_raw(&(bound + 1).to_be_bytes());
            client.send_raw(&beginning);
            client.assert_closed(&format!("{} bytes for {key} in version {version}", bound + 1));
        }
    }
    // One that may be so large is waited for, and answered.
    let mut body = encoded(&MetadataRequest::default(), 1).to_vec();
    body.resize(700 * KB, 0);
    let mut client = broker.client();
    let (_, frame) = client.frame(ApiKey::Metadata, 1, &body);
    for piece in frame.chunks(100 * KB) {
        client.send_raw(piece);
    }
    assert!(client.answer(ApiKey::Metadata, 1).is_some());
    // At the bound the whole frame is looked at, as below it.
    let mut client = broker.client();
    client.send_raw(&bound.to_be_bytes());
    client.send_raw(&vec![0xff; bound as usize]);
    client.assert_closed("an unknown key");
    broker.assert_alive();
    assert!(growth.most() < 16 * MB, "{} bytes", growth.most());
}

// row 5
#[test]
fn frames_of_impossible_lengths_close_the_connection_and_take_no_memory() {
    let _alone = alone();
    let broker = TestBroker::start(&[]);
    broker.assert_alive();
    let growth = Growth::from_here();
    for length in [-1, 0, i32::MAX, i32::MIN, 104_857_601] {
        let mut client = broker.client();
        client.send_raw(&length.to_be_bytes());
        client.assert_closed(&format!("length {length}"));
    }
    // The largest that is allowed, and nothing behind it.
    let mut waiting: Vec<_> = (0..50).map(|_| broker.client()).collect();
    for client in &mut waiting {
        client.send_raw(&104_857_600_i32.to_be_bytes());
        client.send_raw(PRODUCE);
    }
    broker.assert_alive();
    assert!(growth.most() < 40 * MB, "{} bytes", growth.most());
    drop(waiting);
    broker.assert_alive();
}

/// A broker whose requests may take so many bytes in all.
fn with_budget(bytes: usize) -> TestBroker {
    let bytes = bytes.to_string();
    TestBroker::start(&[
        ("socket.request.max.bytes", &bytes),
        ("queued.max.request.bytes", &bytes),
    ])
}

// row 6
#[test]
fn half_sent_frames_stay_within_the_budget() {
    let _alone = alone();
    let broker = with_budget(8 * MB);
    broker.assert_alive();
    let chunk = [PRODUCE, &vec![0x55; 6 * MB][..]].concat();
    let mut clients: Vec<_> = (0..12).map(|_| broker.client_from(loopback(1))).collect();
    let growth = Growth::from_here();
    let mut taken = 0;
    for client in &mut clients {
        client.send_raw(&(7 * MB as i32).to_be_bytes());
        taken += push(client, &chunk);
    }
    // Two are read; of the others what the system's own buffers take.
    assert!(taken >= chunk.len(), "one at least is read");
    assert!(growth.most() < 32 * MB, "{} bytes", growth.most());
    for client in clients {
        client.disconnect();
    }
    broker.assert_alive();
    assert!(growth.comes_below(4 * MB), "{} bytes", growth.now());
}

// row 6: those who wait for the budget do not wait for each other
#[test]
fn freed_bytes_serve_all_who_wait_for_them() {
    let _alone = alone();
    let broker = with_budget(MB);
    let mut large = broker.client();
    large.send_raw(&(MB as i32).to_be_bytes());
    large.send_raw(&[0; 100]);
    // If what is sent below is read first, the test shows nothing, and does not fail.
    std::thread::sleep(Duration::from_millis(300));
    let mut slow: Vec<_> = (0..3).map(|_| broker.client()).collect();
    for client in &mut slow {
        client.send_raw(&100_i32.to_be_bytes());
        client.send_raw(&[0; 4]);
    }
    let mut quick: Vec<_> = (0..3).map(|_| broker.client()).collect();
    for client in &mut quick {
        client.send_body(ApiKey::ApiVersions, 0, &[]);
    }
    std::thread::sleep(Duration::from_millis(300));
    large.disconnect();
    for client in &mut quick {
        assert!(client.answer(ApiKey::ApiVersions, 0).is_some());
    }
}

// row 7
#[test]
fn silent_and_slow_clients_expire() {
    let _alone = alone();
    let broker = TestBroker::start(&[("connections.max.idle.ms", "400")]);
    let mut silent = broker.client();
    let mut half = broker.client();
    half.send_raw(&[0, 0]);
    let mut slow = broker.client();
    slow.send_raw(&100_i32.to_be_bytes());
    slow.stream
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let mut sent = 0;
    let closed = loop {
        match slow.stream.peek(&mut [0]) {
            Ok(0) => break true,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break true,
            _ if sent >= 96 => break false,
            _ => slow.send_raw(&[0]),
        }
        sent += 1;
    };
    assert!(closed, "a byte a while keeps no connection open");
    silent.assert_closed("silent");
    half.assert_closed("two bytes of a length");
    broker.assert_alive();
}

// rows 7, 60
#[test]
fn clients_that_wait_for_ever_or_take_no_answer_expire() {
    let _alone = alone();
    let broker = TestBroker::start(&[
        ("connections.max.idle.ms", "1000"),
        ("socket.send.buffer.bytes", "65536"),
    ]);
    assert_eq!(broker.client().create_topic("quiet", 100, &[]), 0);
    let mut patient = broker.client();
    patient.send(&endless_fetch(), 11);
    patient.assert_closed("a fetch that waits for ever");

    let request = MetadataRequest {
        topics: None,
        ..MetadataRequest::default()
    };
    let mut deaf = broker.client_from(loopback(1));
    let mut taken = 0;
    loop {
        let (_, frame) = deaf.request_frame(&request, 1);
        let sent = push(&mut deaf, &frame);
        taken += sent;
        if sent < frame.len() {
            break;
        }
    }
    assert!(taken > 0);
    // What it was owed is thrown away with the connection, so the system tells it in no friendly way.
    let closed = (0..6000).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        deaf.stream.set_nonblocking(true).unwrap();
        let pushed = deaf.stream.write_all(&[0]);
        pushed.is_err_and(|error| error.kind() != ErrorKind::WouldBlock)
    });
    assert!(closed, "a client that takes no answer");
    broker.assert_alive();
}

// row 8
#[test]
fn connections_of_an_address_are_bounded_and_other_addresses_are_served() {
    let _alone = alone();
    let broker = TestBroker::start(&[("max.connections.per.ip", "3")]);
    let ask = |client: &mut Client| {
        client.send_body(ApiKey::ApiVersions, 0, &[]);
        client.answer(ApiKey::ApiVersions, 0).is_some()
    };
    let mut first: Vec<_> = (0..3).map(|_| broker.client()).collect();
    assert!(first.iter_mut().all(ask));
    for _ in 0..20 {
        broker.client().assert_closed("a fourth from the same address");
    }
    let mut other = broker.client_from(loopback(2));
    assert!(ask(&mut other), "another address");
    assert!(first.iter_mut().all(ask), "those before");
    first.pop().unwrap().disconnect();
    // The place is free when the broker has seen the close.
    let again = (0..1000).any(|_| {
        std::thread::sleep(Duration::from_millis(5));
        ask(&mut broker.client())
    });
    assert!(again);
}

// row 9
#[test]
fn a_client_that_never_reads_is_not_read_from() {
    let _alone = alone();
    let broker = TestBroker::start(&[("socket.send.buffer.bytes", "65536")]);
    assert_eq!(broker.client().create_topic("wide", 200, &[]), 0);
    let mut client = broker.client_from(loopback(1));
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some(Text::from("wide")),
            ..MetadataRequestTopic::default()
        }]),
        ..MetadataRequest::default()
    };
    // Bytes behind a request are ignored: large requests, larger answers.
    let mut body = encoded(&request, 1).to_vec();
    body.resize(body.len() + 4 * KB, 0);
    let growth = Growth::from_here();
    let (mut whole, mut accepted) = (0, 0);
    for _ in 0..10_000 {
        let (_, frame) = client.frame(ApiKey::Metadata, 1, &body);
        let taken = push(&mut client, &frame);
        accepted += taken;
        if taken < frame.len() {
            break;
        }
        whole += 1;
    }
    assert!(whole < 10_000, "all was read");
    assert!(accepted < 8 * MB, "{accepted} bytes were read");
    assert!(growth.most() < 16 * MB, "{} bytes", growth.most());
    broker.assert_alive();
    // Once it reads, it gets everything, in order.
    for correlation_id in 1..=whole {
        assert_eq!(client.receive::<MetadataResponse>(1).0, correlation_id);
    }
}

// row 9
#[test]
fn what_clients_that_never_read_are_owed_is_bounded_by_its_bytes() {
    let _alone = alone();
    let broker = TestBroker::start(&[("socket.send.buffer.bytes", "65536")]);
    assert_eq!(broker.client().create_topic("wide", 2000, &[]), 0);
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some(Text::from("wide")),
            ..MetadataRequestTopic::default()
        }]),
        ..MetadataRequest::default()
    };
    let growth = Growth::from_here();
    let mut clients = Vec::new();
    for number in 0..40 {
        let mut client = broker.client_from(loopback(1 + number));
        for _ in 0..60 {
            client.send(&request, 1);
        }
        clients.push(client);
    }
    // Another client's answer comes behind all that can be done for these.
    broker.assert_alive();
    std::thread::sleep(Duration::from_secs(1));
    broker.assert_alive();
    assert!(growth.now() < 30 * MB, "{} bytes", growth.now());
    for mut client in clients {
        for _ in 0..60 {
            let (_, answer) = client.receive::<MetadataResponse>(1);
            assert_eq!(answer.topics[0].partitions.len(), 2000);
        }
    }
}

// row 10
#[test]
fn unknown_versions_and_keys() {
    let _alone = alone();
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    for version in [99, 5, i16::MAX, -1] {
        let sent = client.send_body(ApiKey::ApiVersions, version, &[]);
        let (correlation_id, answer) = client.receive::<ApiVersionsResponse>(0);
        assert_eq!(correlation_id, sent);
        assert_eq!(answer.error_code, UNSUPPORTED_VERSION, "version {version}");
        let told = answer.api_keys.iter().find(|api| api.api_key == 18).unwrap();
        assert!(told.max_version >= 3);
    }
    for key in [999_i16, -1, i16::MAX, ApiKey::GetTelemetrySubscriptions.code()] {
        let mut lost = broker.client();
        let mut frame = 10_i32.to_be_bytes().to_vec();
        frame.extend(key.to_be_bytes());
        frame.extend([0, 0, 0, 0, 0, 1, 0xff, 0xff]);
        lost.send_raw(&frame);
        lost.assert_closed(&format!("key {key}"));
    }
    let mut lost = broker.client();
    lost.send_body(ApiKey::Metadata, 99, &[]);
    lost.assert_closed("Metadata of an unknown version");
    client.send_body(ApiKey::ApiVersions, 0, &[]);
    assert!(client.answer(ApiKey::ApiVersions, 0).is_some(), "others go on");
}

// row 15
#[test]
fn fetch_sizes_of_all_kinds_are_clamped() {
    let _alone = alone();
    let broker = TestBroker::start(&[]);
    broker.create_topic("t", &[]);
    let mut client = broker.client();
    assert_eq!(client.produce("t", 0, batch(&["a", "b"]), 9).error_code, 0);
    let sizes = [i32::MIN, -1, 0, 1, i32::MAX];
    for version in [0, 2, 3, 4, 7, 11, 12] {
        for (max_bytes, partition_max_bytes) in sizes
            .into_iter()
            .flat_map(|a| sizes.into_iter().map(move |b| (a, b)))
        {
            let mut request = fetch_request("t", 0, 0);
            request.max_bytes = max_bytes;
            request.topics[0].partitions[0].partition_max_bytes = partition_max_bytes;
            let growth = Growth::from_here();
            let answer: FetchResponse = client.ask(&request, version);
            assert!(growth.most() < MB);
            let partition = &answer.responses[0].partitions[0];
            let what = format!("version {version}, {max_bytes}, {partition_max_bytes}");
            assert_eq!((answer.error_code, partition.error_code), (0, 0), "{what}");
            let length = partition.records.as_ref().map_or(0, |records| records.len());
            if version >= 3 || partition_max_bytes == i32::MAX {
                assert!(length > 0, "{what}: the first batch comes whole");
            } else {
                assert!(length <= partition_max_bytes.max(0) as usize, "{what}");
            }
        }
    }
    for (max_wait_ms, min_bytes) in [(0, i32::MAX), (i32::MIN, 1), (-1, i32::MAX), (i32::MAX, i32::MIN)] {
        let mut request = fetch_request("t", 0, 0);
        (request.max_wait_ms, request.min_bytes) = (max_wait_ms, min_bytes);
        let answer: FetchResponse = client.ask(&request, 11);
        assert_eq!(answer.error_code, 0);
    }
}

// row 16
#[test]
fn partitions_that_cannot_be_are_unknown() {
    let _alone = alone();
    let broker = TestBroker::start(&[]);
    broker.create_topic("t", &[]);
    let mut client = broker.client();
    for partition in [-1, 1, i32::MAX, i32::MIN] {
        let produced = client.produce("t", partition, batch(&["a"]), 9);
        assert_eq!(produced.error_code, UNKNOWN_TOPIC_OR_PARTITION, "{partition}");
        let fetched: FetchResponse = client.ask(&fetch_request("t", partition, 0), 11);
        let fetched = &fetched.responses[0].partitions[0];
        assert_eq!(fetched.error_code, UNKNOWN_TOPIC_OR_PARTITION, "{partition}");
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: Text::from("t"),
                partitions: vec![ListOffsetsPartition {
                    partition_index: partition,
                    timestamp: -1,
                    ..ListOffsetsPartition::default()
                }],
            }],
            ..ListOffsetsRequest::default()
        };
        let listed: ListOffsetsResponse = client.ask(&request, 5);
        let listed = &listed.topics[0].partitions[0];
        assert_eq!(listed.error_code, UNKNOWN_TOPIC_OR_PARTITION, "{partition}");
    }
    assert_eq!(client.log_end("t"), 0);
}

// row 17
#[test]
fn a_million_times_the_same_topic_is_one_topic() {
    let _alone = alone();
    let broker = TestBroker::start(&[]);
    broker.create_topic("t", &[]);
    let mut client = broker.client();
    let body = |times: u32| {
        let mut body = times.to_be_bytes().to_vec();
        body.extend([0, 1, b't'].repeat(times as usize));
        body.push(0);
        body
    };
    let million = body(1_000_000);
    let growth = Growth::from_here();
    client.send_body(ApiKey::Metadata, 4, &million);
    let (_, answer) = client.receive::<MetadataResponse>(4);
    assert_eq!(answer.topics.len(), 1);
    assert!(growth.most() < 200 * MB, "{} bytes", growth.most());
    drop((million, answer));
    // What would take more memory than the largest frame is refused before it is decoded.
    let more = body(5_000_000);
    let growth = Growth::from_here();
    client.send_body(ApiKey::Metadata, 4, &more);
    client.assert_closed("five million");
    assert!(growth.most() < 100 * MB, "{} bytes", growth.most());
    broker.assert_alive();
}

// row 17
#[test]
fn what_is_asked_many_times_is_answered_once() {
    let _alone = alone();
    let broker = TestBroker::start(&[("offsets.topic.num.partitions", "1")]);
    assert_eq!(broker.client().create_topic("t", 1000, &[]), 0);
    let mut client = broker.client();
    client.await_coordinator("g");
    let offsets: Vec<(i32, i64)> = (0..1000).map(|partition| (partition, 5)).collect();
    let _: OffsetCommitResponse = client.ask(&group::commit_request("g", "t", &offsets), 2);
    let growth = Growth::from_here();

    let mut all = group::fetch_request("g", None, 8);
    all.groups = vec![all.groups.remove(0); 3000];
    let answer: OffsetFetchResponse = client.ask(&all, 8);
    assert_eq!(answer.groups.len(), 1);
    assert_eq!(group::fetched(&answer).len(), 1000);
    let same = group::fetch_request("g", Some(("t", &[7; 100_000])), 5);
    let answer: OffsetFetchResponse = client.ask(&same, 5);
    assert_eq!(group::fetched(&answer).len(), 1);

    let groups = DescribeGroupsRequest {
        groups: vec![Text::from("g"); 100_000],
        ..DescribeGroupsRequest::default()
    };
    let answer: DescribeGroupsResponse = client.ask(&groups, 0);
    assert_eq!(answer.groups.len(), 1);

    let resource = |name: &'static str, kind: i8| DescribeConfigsResource {
        resource_type: kind,
        resource_name: Text::from(name),
        configuration_keys: None,
    };
    let configs = DescribeConfigsRequest {
        resources: vec![[resource("1", 4), resource("t", 2)]; 30_000].concat(),
        include_synonyms: true,
        include_documentation: true,
    };
    let answer: DescribeConfigsResponse = client.ask(&configs, 3);
    assert_eq!(answer.results.len(), 2);

    let producers = DescribeProducersRequest {
        topics: vec![TopicRequest {
            name: Text::from("t"),
            partition_indexes: vec![0; 100_000],
        }],
    };
    let answer: DescribeProducersResponse = client.ask(&producers, 0);
    assert_eq!(answer.topics[0].partitions.len(), 1);

    // Each is four bytes here, and some hundred in a map of the handler.
    let many = group::fetch_request("g", Some(("t", &[7; 1 << 18])), 5);
    let answer: OffsetFetchResponse = client.ask(&many, 5);
    assert_eq!(group::fetched(&answer).len(), 1);
    let more = group::fetch_request("g", Some(("t", &[7; (1 << 18) + 1])), 5);
    client.send_body(ApiKey::OffsetFetch, 5, &encoded(&more, 5));
    client.assert_closed("one more than 262,144 partitions");
    assert!(growth.most() < 60 * MB, "{} bytes", growth.most());
}

// row 33
#[test]
fn topic_names_never_leave_the_data_directory() {
    let _alone = alone();
    let broker = TestBroker::start(&[]);
    broker.create_topic("good", &[]);
    let list = || {
        let mut names = Vec::new();
        for folder in [broker.folder().to_owned(), broker.folder().join("data")] {
            let entries = std::fs::read_dir(folder).unwrap();
            names.extend(entries.map(|entry| entry.unwrap().file_name()));
        }
        names.sort();
        names
    };
    let before = list();
    let mut client = broker.client();
    let long = "a".repeat(250);
    let longer = "a".repeat(32_000);
    for name in [
        "", ".", "..", "../x", "a/b", "/tmp/x", "a\0b", "a\nb", "ä", &long, &longer,
    ] {
        let shown = name.escape_debug().to_string();
        assert_eq!(client.create_topic(name, 1, &[]), INVALID_TOPIC, "{shown}");
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: Some(Text::copy(name)),
                ..MetadataRequestTopic::default()
            }]),
            allow_auto_topic_creation: true,
            ..MetadataRequest::default()
        };
        let answer: MetadataResponse = client.ask(&request, 8);
        assert_eq!(answer.topics[0].error_code, INVALID_TOPIC, "{shown}");
        let produced = client.produce(name, 0, batch(&["a"]), 9);
        assert_ne!(produced.error_code, 0, "{shown}");
    }
    assert_eq!(list(), before);
    assert_eq!(client.create_topic(&"b".repeat(249), 1, &[]), 0);
}

// row 34
#[test]
fn names_that_metrics_cannot_tell_apart_collide_until_one_is_deleted() {
    let _alone = alone();
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    assert_eq!(client.create_topic("a.b", 1, &[]), 0);
    assert_eq!(client.create_topic("a_b", 1, &[]), INVALID_TOPIC);
    assert_eq!(client.create_topic("a.b", 1, &[]), 36);
    let delete = DeleteTopicsRequest {
        topic_names: vec![Text::from("a.b")],
        timeout_ms: 30_000,
        ..DeleteTopicsRequest::default()
    };
    let deleted: DeleteTopicsResponse = client.ask(&delete, 4);
    assert_eq!(deleted.responses[0].error_code, 0);
    assert_eq!(client.create_topic("a_b", 1, &[]), 0);
}

// row 57
#[test]
fn producer_ids_that_are_handed_out_leave_nothing_behind() {
    let _alone = alone();
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
    };
    let mut last = -1;
    let mut growth = None;
    for round in 0..1000 {
        let mut frames = Vec::new();
        for _ in 0..50 {
            frames.extend(client.request_frame(&request, 3).1);
        }
        client.send_raw(&frames);
        for _ in 0..50 {
            let (_, answer) = client.receive::<InitProducerIdResponse>(3);
            assert_eq!((answer.error_code, answer.producer_epoch), (0, 0));
            assert!(answer.producer_id > last, "an id is handed out once");
            last = answer.producer_id;
        }
        if round == 100 {
            growth = Some(Growth::from_here());
        }
    }
    let growth = growth.unwrap();
    assert!(growth.comes_below(MB), "{} bytes", growth.now());
}

// row 57
#[test]
fn a_partition_remembers_its_newest_producers_only() {
    const MOST: usize = 50;
    let _alone = alone();
    let bound = MOST.to_string();
    let broker = TestBroker::start(&[("max.producer.ids.per.partition", &bound)]);
    broker.create_topic("t", &[]);
    let mut client = broker.client();
    let records = |producer: i64, sequence: i32| {
        let options = BatchOptions {
            producer_id: ProducerId(producer),
            producer_epoch: ProducerEpoch(0),
            base_sequence: sequence,
            ..BatchOptions::default()
        };
        batch_with(options, 1_000, &["a"])
    };
    let known = |client: &mut Client| -> Vec<i64> {
        let request = DescribeProducersRequest {
            topics: vec![TopicRequest {
                name: Text::from("t"),
                partition_indexes: vec![0],
            }],
        };
        let answer: DescribeProducersResponse = client.ask(&request, 0);
        let partition = &answer.topics[0].partitions[0];
        assert_eq!(partition.error_code, 0);
        let producers = partition.active_producers.iter();
        producers.map(|producer| producer.producer_id).collect()
    };
    let last = 20 * MOST as i64;
    for producer in 0..last {
        let produced = client.produce("t", 0, records(producer, 0), 9);
        assert_eq!((produced.error_code, produced.base_offset), (0, producer));
    }
    let newest: Vec<i64> = (last - MOST as i64..last).collect();
    assert_eq!(known(&mut client), newest);
    for producer in newest {
        let again = client.produce("t", 0, records(producer, 0), 9);
        assert_eq!(
            (again.error_code, again.base_offset),
            (0, producer),
            "a duplicate"
        );
    }
    // One that was forgotten is what Kafka takes an unknown one for: any sequence will do, and it is known again.
    let returned = client.produce("t", 0, records(0, 7), 9);
    assert_eq!((returned.error_code, returned.base_offset), (0, last));
    let gap = client.produce("t", 0, records(0, 9), 9);
    assert_eq!(gap.error_code, 45, "OUT_OF_ORDER_SEQUENCE_NUMBER");
    assert_eq!(known(&mut client).len(), MOST);
}

/// A fetch in 100 partitions that waits for what never comes.
fn endless_fetch() -> barnabas::wire::messages::fetch::FetchRequest {
    let mut request = fetch_request("quiet", 0, 0);
    request.max_wait_ms = i32::MAX;
    request.min_bytes = i32::MAX;
    let first = request.topics[0].partitions[0].clone();
    request.topics[0].partitions = (0..100)
        .map(|partition| FetchPartition {
            partition,
            ..first.clone()
        })
        .collect();
    request
}

// row 60
#[test]
fn parked_fetches_end_with_their_connection() {
    let _alone = alone();
    let broker = TestBroker::start(&[]);
    assert_eq!(broker.client().create_topic("quiet", 100, &[]), 0);
    let request = endless_fetch();
    // Below what a connection may be owed, and above: then the broker does not read it any more.
    for fetches in [10, 80] {
        broker.assert_alive();
        let growth = Growth::from_here();
        let mut clients: Vec<_> = (0..20).map(|_| broker.client()).collect();
        for client in &mut clients {
            let frames: Vec<u8> = (0..fetches)
                .flat_map(|_| client.request_frame(&request, 11).1)
                .collect();
            push(client, &frames);
        }
        let parked = (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            growth.now() > 2 * MB
        });
        assert!(parked, "{fetches} fetches take {} bytes", growth.now());
        for client in clients {
            client.disconnect();
        }
        assert!(
            growth.comes_below(MB),
            "{} bytes are still held of {fetches} fetches each",
            growth.now()
        );
    }
}

// row 60, with row 6: what they were charged comes back too
#[test]
fn the_budget_of_parked_fetches_comes_back_when_their_client_goes() {
    let _alone = alone();
    let broker = TestBroker::start(&[
        ("socket.request.max.bytes", "131072"),
        ("queued.max.request.bytes", "131072"),
        // The end of a client that is behind a full window is not seen: all of it has to fit.
        ("socket.receive.buffer.bytes", "204800"),
    ]);
    assert_eq!(broker.client().create_topic("quiet", 100, &[]), 0);
    let request = endless_fetch();
    let mut client = broker.client();
    let frames: Vec<u8> = (0..60)
        .flat_map(|_| client.request_frame(&request, 11).1)
        .collect();
    assert!(frames.len() > 131_072, "enough to fill the budget");
    let growth = Growth::from_here();
    push(&mut client, &frames);
    let filled = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        growth.now() > 256 * KB
    });
    assert!(filled, "{} bytes", growth.now());
    client.disconnect();
    broker.assert_alive();
}
