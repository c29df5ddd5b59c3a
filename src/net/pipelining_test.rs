//! Five pipelined produces of one idempotent producer, the first of them held at each place in turn at which its request
//! or its answer can wait. Whatever it waits for, its records must be the first in the log and its answer the first on
//! the connection.
//!
//! The awaits on the way of a Produce, and the test that holds the first one there:
//!
//! | where | waits for | held by |
//! |---|---|---|
//! | `connection`: `queue.room()` | an answer that is owed to be written | `held_for_room_among_the_answers` |
//! | `connection`: `frames.length()`, `frames.body()` | the rest of the frame | `held_in_the_middle_of_its_frame` |
//! | `connection`: `budget.charge()` | bytes of other requests to be freed | `held_for_memory` |
//! | `connection`: `dispatch` → `produce::handle` → `append_all` → `Replicas::begin_append`: `pool.begin()` | a directory whose calls do not return | `held_by_a_stalled_directory` |
//! | the same → `append_all`: `Pace::did()` | other connections of the thread, once | no one: it goes on in the next turn, as the other tests show |
//! | `writer`: the answer's `PendingAcks::finish()` | followers | `held_for_its_followers` |
//! | `writer`: the answer's `PendingFlush::done()` | the sync that `flush.messages` asks for | `held_for_its_sync` |
//! | `writer`: `write_all()` | the client to take the answers before it | `held_behind_answers_that_nobody_takes` |
//!
//! The lock of the partition is no await: it is held for one append.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::activity::Activity;
use super::budget::Budget;
use super::connection::{self, ConnectionBounds, REQUESTS_IN_FLIGHT};
use super::workers::Workers;
use crate::api::{ConnectionContext, ListenerContext, Services, testing};
use crate::base::clock::{self, Instant};
use crate::base::net::{Passed, SocketOptions, TcpListener, TcpStream};
use crate::base::shutdown::Shutdown;
use crate::records::batch::Batches;
use crate::replica::replicas::Replicas;
use crate::replica::testing::{NOW_MS, TestBroker, batch, idempotent};
use crate::storage::producer_state::Origin;
use crate::wire::header::{RequestHeader, decode_response};
use crate::wire::messages::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use crate::wire::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use crate::wire::messages::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use crate::wire::{ApiKey, Message, Reader, Text, Writer};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);
/// The correlation id of the first of the five.
const FIRST: i32 = 100;
const PRODUCE: i16 = 9;
const FETCH: i16 = 11;

/// A broker that serves sockets on one thread.
struct Ground {
    broker: TestBroker,
    services: Arc<Services>,
    workers: Workers,
}

struct Client(TcpStream);

impl Ground {
    /// A topic `t` of two partitions on these replicas.
    async fn new(replicas: &[i32], configs: &[(&str, &str)]) -> Self {
        let broker = TestBroker::new(1);
        broker.configure_topic("t", configs);
        broker.lead("t", 1, 2, 0, replicas).await;
        Self {
            services: testing::services(&broker),
            broker,
            workers: Workers::start("test", 1).unwrap(),
        }
    }

    fn replicas(&self) -> &Arc<Replicas> {
        &self.broker.replicas
    }

    async fn connect(&self, bounds: ConnectionBounds) -> Client {
        let options = SocketOptions {
            backlog: 1,
            send_buffer_bytes: 4096,
            receive_buffer_bytes: -1,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        socket2::SockRef::from(&client)
            .set_recv_buffer_size(4096)
            .unwrap();
        client.set_nodelay(true).unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let passed = Passed::new(stream, options).unwrap();
        let listener = Arc::new(ListenerContext {
            name: "PLAINTEXT".into(),
            security_protocol: "PLAINTEXT".into(),
        });
        let context = Arc::new(ConnectionContext::new(listener, peer, 0));
        let services = Arc::clone(&self.services);
        self.workers.serve(0, passed.severance(), async move |served| {
            let activity = Activity::new();
            let stream = passed.adopt().unwrap();
            connection::serve(
                stream,
                context,
                services,
                bounds,
                &activity,
                served,
                &Shutdown::new(),
            )
            .await;
        });
        Client(client)
    }

    /// Where the log that the five go to ends.
    fn log_end(&self) -> i64 {
        let partition = self.replicas().partition("t", 0).unwrap();
        partition.progress().unwrap().log_end.get()
    }

    /// Lets the broker's thread do what it has got to do; then nothing may have been appended.
    async fn assert_nothing_appended(&self) {
        self.turn_around().await;
        assert_eq!(self.log_end(), 0);
    }

    /// Another connection is served on the same thread.
    async fn turn_around(&self) {
        for _ in 0..3 {
            let mut other = self.connect(bounds()).await;
            other.send(&frame(1, ApiKey::ApiVersions, 0, &[])).await;
            assert_eq!(other.answer(ApiKey::ApiVersions, 0).await.0, 1);
        }
    }

    async fn all_appended(&self) {
        let appended = async {
            while self.log_end() < 5 {
                clock::sleep(Duration::from_millis(1)).await;
            }
        };
        assert!(clock::timeout(PATIENCE, appended).await.is_some());
    }
}

impl Client {
    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    async fn answer(&mut self, key: ApiKey, version: i16) -> (i32, Bytes) {
        let read = async {
            let length = self.0.read_u32().await.unwrap();
            let mut frame = vec![0; length as usize];
            self.0.read_exact(&mut frame).await.unwrap();
            decode_response(frame.into(), key, version).unwrap()
        };
        clock::timeout(PATIENCE, read).await.expect("an answer")
    }

    async fn assert_closed(&mut self) {
        let end = clock::timeout(PATIENCE, self.0.read(&mut [0])).await;
        // With what the broker left unread the system tells of more than the end.
        assert!(matches!(end, Some(Ok(0) | Err(_))), "{end:?}");
    }

    async fn assert_no_answer_yet(&mut self) {
        let peeked = clock::timeout(Duration::from_millis(20), self.0.peek(&mut [0])).await;
        assert!(peeked.is_none(), "{peeked:?}");
    }

    /// The answer to produce `number` of the five, which was the only one at its offset.
    async fn assert_produced(&mut self, number: i32) {
        let (correlation_id, body) = self.answer(ApiKey::Produce, PRODUCE).await;
        let answer = ProduceResponse::decode(&mut Reader::new(body), PRODUCE).unwrap();
        let partition = &answer.responses[0].partition_responses[0];
        assert_eq!(
            (correlation_id, partition.error_code, partition.base_offset),
            (FIRST + number, 0, i64::from(number))
        );
    }

    async fn assert_all_produced(&mut self) {
        for number in 0..5 {
            self.assert_produced(number).await;
        }
        // What a consumer reads: the records, in the order in which they were sent.
        self.send(&fetch(1, 0, 0, -1, 0)).await;
        let (_, body) = self.answer(ApiKey::Fetch, FETCH).await;
        let answer = FetchResponse::decode(&mut Reader::new(body), FETCH).unwrap();
        let records = answer.responses[0].partitions[0].records.clone().unwrap();
        let sequences: Vec<_> = Batches::new(&records)
            .map(|batch| batch.unwrap().base_sequence)
            .collect();
        assert_eq!(sequences, [0, 1, 2, 3, 4]);
    }
}

fn bounds() -> ConnectionBounds {
    ConnectionBounds {
        request_max_bytes: 1 << 20,
        idle: PATIENCE * 10,
        requests_in_flight: REQUESTS_IN_FLIGHT,
        budget: Budget::new(-1),
    }
}

fn frame(correlation_id: i32, api_key: ApiKey, api_version: i16, body: &[u8]) -> Vec<u8> {
    let header = RequestHeader {
        api_key,
        api_version,
        correlation_id,
        client_id: Some(Text::from_static("test")),
    };
    let mut w = Writer::new();
    header.encode(&mut w);
    w.raw(body);
    let request = w.freeze();
    let mut frame = u32::try_from(request.len()).unwrap().to_be_bytes().to_vec();
    frame.extend_from_slice(&request);
    frame
}

fn request<M: Message>(correlation_id: i32, request: &M, version: i16) -> Vec<u8> {
    let mut w = Writer::new();
    request.encode(&mut w, version);
    frame(correlation_id, M::KEY, version, &w.freeze())
}

/// The five, one record each.
fn produces() -> Vec<u8> {
    let mut frames = Vec::new();
    for number in 0..5 {
        let produce = ProduceRequest {
            acks: -1,
            timeout_ms: i32::MAX,
            topic_data: vec![TopicProduceData {
                name: Text::from_static("t"),
                partition_data: vec![PartitionProduceData {
                    index: 0,
                    records: Some(idempotent(number, 1)),
                }],
                ..TopicProduceData::default()
            }],
            ..ProduceRequest::default()
        };
        frames.extend(request(FIRST + number, &produce, PRODUCE));
    }
    frames
}

/// From a partition of `t`, as the follower `replica_id` or, for -1, as a consumer; one that must wait for a byte waits
/// for good.
fn fetch(correlation_id: i32, partition: i32, fetch_offset: i64, replica_id: i32, min_bytes: i32) -> Vec<u8> {
    let fetch = FetchRequest {
        replica_id,
        max_wait_ms: if min_bytes > 0 { i32::MAX } else { 0 },
        min_bytes,
        max_bytes: 10_000,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: Text::from_static("t"),
            partitions: vec![FetchPartition {
                partition,
                current_leader_epoch: -1,
                fetch_offset,
                partition_max_bytes: 10_000,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    };
    request(correlation_id, &fetch, FETCH)
}

#[tokio::test]
async fn held_for_room_among_the_answers() {
    let ground = Ground::new(&[1], &[]).await;
    let mut client = ground
        .connect(ConnectionBounds {
            requests_in_flight: 1,
            ..bounds()
        })
        .await;
    client.send(&fetch(7, 1, 0, -1, 1)).await;
    client.send(&produces()).await;
    ground.assert_nothing_appended().await;
    // What the fetch in front of them waits for.
    let records = batch(1, 10);
    let append = ground
        .replicas()
        .append("t", 1, &records, 1, Origin::Client, NOW_MS);
    assert!(append.await.error.is_none());
    assert_eq!(client.answer(ApiKey::Fetch, FETCH).await.0, 7);
    client.assert_all_produced().await;
}

#[tokio::test]
async fn held_in_the_middle_of_its_frame() {
    let frames = produces();
    // Within the length, behind it, and within the body.
    for cut in [2, 4, 40] {
        let ground = Ground::new(&[1], &[]).await;
        let mut client = ground.connect(bounds()).await;
        client.send(&frames[..cut]).await;
        ground.assert_nothing_appended().await;
        client.send(&frames[cut..]).await;
        client.assert_all_produced().await;
    }
}

#[tokio::test]
async fn held_for_memory() {
    let ground = Ground::new(&[1], &[]).await;
    let budget = Budget::new(1000);
    let taken = budget.charge(1000).await;
    let mut client = ground
        .connect(ConnectionBounds {
            budget: budget.clone(),
            ..bounds()
        })
        .await;
    client.send(&produces()).await;
    ground.assert_nothing_appended().await;
    drop(taken);
    client.assert_all_produced().await;
}

#[tokio::test]
async fn held_by_a_stalled_directory() {
    let ground = Ground::new(&[1], &[]).await;
    let directory = Arc::clone(&ground.replicas().directories()[0]);
    let (release, held) = std::sync::mpsc::channel::<()>();
    let stall = Duration::from_secs(1);
    let mut look = directory.watch().look(Instant::now());
    let hanging = directory.watch().begin();
    let later = Instant::now().after(stall * 5);
    assert_eq!(directory.watch().look_again(&mut look, later, stall), Some(true));
    // Its one thread hangs, so that appends wait on its pool.
    directory.pool().start_work(move || {
        let _ = held.recv();
    });
    let mut client = ground.connect(bounds()).await;
    client.send(&produces()).await;
    ground.turn_around().await;
    client.assert_no_answer_yet().await;
    drop(release);
    for number in 0..5 {
        client.assert_produced(number).await;
    }
    drop(hanging);
    assert_eq!(directory.watch().look_again(&mut look, later, stall), Some(false));
    assert_eq!(ground.log_end(), 5);
}

#[tokio::test]
async fn held_for_its_followers() {
    let ground = Ground::new(&[1, 2], &[]).await;
    let mut client = ground.connect(bounds()).await;
    client.send(&produces()).await;
    // Those behind it are not held up, but their answers are.
    ground.all_appended().await;
    client.assert_no_answer_yet().await;
    let mut follower = ground.connect(bounds()).await;
    for (offset, acknowledged) in [(1, 0..1), (4, 1..4), (5, 4..5)] {
        follower.send(&fetch(3, 0, offset, 2, 0)).await;
        follower.answer(ApiKey::Fetch, FETCH).await;
        for number in acknowledged {
            client.assert_produced(number).await;
        }
        client.assert_no_answer_yet().await;
    }
}

#[tokio::test]
async fn held_for_its_sync() {
    let ground = Ground::new(&[1], &[("flush.messages", "1")]).await;
    let directory = &ground.replicas().directories()[0];
    let (release, held) = std::sync::mpsc::channel::<()>();
    directory.pool().start_work(move || {
        let _ = held.recv();
    });
    let mut client = ground.connect(bounds()).await;
    client.send(&produces()).await;
    ground.all_appended().await;
    client.assert_no_answer_yet().await;
    drop(release);
    client.assert_all_produced().await;
}

#[tokio::test]
async fn held_behind_answers_that_nobody_takes() {
    /// More than the kernel takes, less than is held before no further request is read.
    const ANSWERS: i32 = 50;
    let ground = Ground::new(&[1], &[]).await;
    ground.broker.lead("wide", 2, 120, 0, &[1]).await;
    ground.broker.know_itself();
    let mut client = ground.connect(bounds()).await;
    let metadata = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some(Text::from_static("wide")),
            ..MetadataRequestTopic::default()
        }]),
        ..MetadataRequest::default()
    };
    for number in 0..ANSWERS {
        client.send(&request(number, &metadata, 1)).await;
    }
    client.send(&produces()).await;
    ground.all_appended().await;
    for number in 0..ANSWERS {
        assert_eq!(client.answer(ApiKey::Metadata, 1).await.0, number);
    }
    client.assert_all_produced().await;
}

/// Kafka reads no request before the answer to the last one is out. Here the five are in the log, and must not be sent
/// again by a client that does not know it.
#[tokio::test]
async fn what_was_asked_is_answered_before_the_connection_is_closed() {
    let unknown_key = [0, 0, 0, 8, 3, 231, 0, 0, 0, 0, 0, 9].to_vec();
    let bad_version = frame(9, ApiKey::Produce, 99, &[]);
    let bad_length = (-5_i32).to_be_bytes().to_vec();
    for last in [Some(unknown_key), Some(bad_version), Some(bad_length), None] {
        let ground = Ground::new(&[1, 2], &[]).await;
        let mut client = ground.connect(bounds()).await;
        let mut sent = produces();
        let ends = last.is_none();
        sent.extend(last.unwrap_or_default());
        client.send(&sent).await;
        if ends {
            client.0.shutdown().await.unwrap();
        }
        ground.all_appended().await;
        client.assert_no_answer_yet().await;
        let mut follower = ground.connect(bounds()).await;
        follower.send(&fetch(3, 0, 5, 2, 0)).await;
        for number in 0..5 {
            client.assert_produced(number).await;
        }
        client.assert_closed().await;
    }
}

#[tokio::test]
async fn a_client_that_ends_its_direction_gets_the_answer_to_its_first_request() {
    let ground = Ground::new(&[1], &[]).await;
    let mut client = ground.connect(bounds()).await;
    client.send(&frame(1, ApiKey::ApiVersions, 0, &[])).await;
    client.0.shutdown().await.unwrap();
    assert_eq!(client.answer(ApiKey::ApiVersions, 0).await.0, 1);
    client.assert_closed().await;
}
