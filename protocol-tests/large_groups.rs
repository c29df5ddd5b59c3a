//! Groups and commits far larger than anybody's: they are served, or refused as Kafka refuses them, and whoever else
//! talks to the broker is served meanwhile. A real Kafka 3.9.2 that was asked the same answered with the same codes, but for
//! a partition that is named several times (docs/deviations.md).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]

mod socket;

use barnabas::wire::Text;
use barnabas::wire::messages::join_group::{JoinGroupRequestProtocol, JoinGroupResponse};
use barnabas::wire::messages::offset_commit::{OffsetCommitRequest, OffsetCommitResponse};
use barnabas::wire::messages::sync_group::SyncGroupResponse;
use bytes::Bytes;
use socket::group::{commit_request, join_request, sync_request};
use socket::{Client, TestBroker};

const GROUP: &str = "large";
const MEMBERS: usize = 10_000;
/// As many as one connection may have waiting.
const MEMBERS_A_CONNECTION: usize = 64;

const UNKNOWN_SERVER_ERROR: i16 = -1;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const REBALANCE_IN_PROGRESS: i16 = 27;
const INVALID_COMMIT_OFFSET_SIZE: i16 = 28;
const MEMBER_ID_REQUIRED: i16 = 79;

/// Somebody who has nothing to do with the large group.
struct Other {
    client: Client,
    member: Text,
}

impl Other {
    fn new(broker: &TestBroker) -> Self {
        let mut client = broker.client();
        let member = client.alone_in("other").member_id;
        Self { client, member }
    }

    fn is_served(&mut self) {
        assert_eq!(self.client.heartbeat("other", 1, &self.member), 0);
    }
}

/// Members, several to a connection.
struct Crowd {
    connections: Vec<(Client, Vec<Text>)>,
}

impl Crowd {
    /// Has all of them take an id.
    fn new(broker: &TestBroker) -> Self {
        let mut connections = Vec::new();
        let mut left = MEMBERS;
        while left > 0 {
            let count = left.min(MEMBERS_A_CONNECTION);
            left -= count;
            let mut client = broker.client();
            let request = join_request(GROUP, "");
            for _ in 0..count {
                client.send(&request, 9);
            }
            let ids = (0..count).map(|_| {
                let (_, named) = client.receive::<JoinGroupResponse>(9);
                assert_eq!(named.error_code, MEMBER_ID_REQUIRED);
                named.member_id
            });
            let ids = ids.collect();
            connections.push((client, ids));
        }
        Self { connections }
    }

    /// Has all of them join; answers what each is told.
    fn join(&mut self) -> Vec<JoinGroupResponse> {
        for (client, ids) in &mut self.connections {
            for id in ids {
                client.send(&join_request(GROUP, id), 9);
            }
        }
        let receive = |(client, ids): &mut (Client, Vec<Text>)| {
            let answers = ids.iter().map(|id| {
                let (_, joined) = client.receive::<JoinGroupResponse>(9);
                assert_eq!((joined.error_code, &joined.member_id), (0, id));
                joined
            });
            answers.collect::<Vec<_>>()
        };
        self.connections.iter_mut().flat_map(receive).collect()
    }

    /// Has all of them ask for their assignment, which the leader brings; answers what they are told.
    fn sync(&mut self, joined: &[JoinGroupResponse], assignment: &str) -> Vec<SyncGroupResponse> {
        let mut each = joined.iter();
        for (client, ids) in &mut self.connections {
            for joined in each.by_ref().take(ids.len()) {
                let members = joined.members.iter();
                let assignments: Vec<(&str, &str)> = members
                    .map(|member| (member.member_id.as_str(), assignment))
                    .collect();
                client.send(&sync_request(joined, GROUP, &assignments), 5);
            }
        }
        let receive = |(client, ids): &mut (Client, Vec<Text>)| {
            let answers = ids.iter().map(|_| client.receive::<SyncGroupResponse>(5).1);
            answers.collect::<Vec<_>>()
        };
        self.connections.iter_mut().flat_map(receive).collect()
    }
}

/// `group.max.size` has no bound by default. What has one is the group's record: above `message.max.bytes` there is no
/// generation, and the members are told what Kafka tells them.
#[test]
fn a_group_of_ten_thousand_members_works_and_is_refused_what_its_log_cannot_hold() {
    let broker = TestBroker::start(&[("group.initial.rebalance.delay.ms", "500")]);
    let mut other = Other::new(&broker);
    other.client.await_coordinator(GROUP);
    let mut crowd = Crowd::new(&broker);
    other.is_served();
    let joined = crowd.join();
    other.is_served();
    let led: Vec<usize> = joined.iter().map(|one| one.members.len()).collect();
    assert_eq!(led.iter().sum::<usize>(), MEMBERS);
    assert_eq!(
        led.iter().filter(|members| **members > 0).count(),
        1,
        "one leader"
    );

    // A record of more than a megabyte.
    let refused = crowd.sync(&joined, &"x".repeat(100));
    for answer in &refused {
        assert!(
            [UNKNOWN_SERVER_ERROR, REBALANCE_IN_PROGRESS].contains(&answer.error_code),
            "{}",
            answer.error_code
        );
    }
    assert!(refused.iter().any(|one| one.error_code == UNKNOWN_SERVER_ERROR));
    other.is_served();
    assert_eq!(
        other.client.describe_group(GROUP, 5).group_state,
        "PreparingRebalance"
    );

    // They come back at once, and with less it works.
    let joined = crowd.join();
    assert!(
        joined
            .iter()
            .all(|one| one.generation_id == joined[0].generation_id)
    );
    let synced = crowd.sync(&joined, "x");
    for answer in &synced {
        assert_eq!((answer.error_code, &answer.assignment[..]), (0, &b"x"[..]));
    }
    other.is_served();
    let described = other.client.describe_group(GROUP, 5);
    assert_eq!(
        (described.group_state.as_str(), described.members.len()),
        ("Stable", MEMBERS)
    );
    let (client, ids) = &mut crowd.connections[0];
    assert_eq!(client.heartbeat(GROUP, joined[0].generation_id, &ids[0]), 0);

    // All of them leave in one request.
    let members: Vec<(&str, Option<&str>)> = crowd
        .connections
        .iter()
        .flat_map(|(_, ids)| ids)
        .map(|id| (id.as_str(), None))
        .collect();
    let (error, each) = other.client.leave(GROUP, &members, 5);
    assert_eq!((error, each.len()), (0, MEMBERS));
    assert!(each.iter().all(|error| *error == 0));
    assert_eq!(other.client.describe_group(GROUP, 5).group_state, "Empty");
    other.is_served();
}

/// Each protocol that a member offers is looked at together with all the others'.
#[test]
fn a_member_of_a_hundred_thousand_protocols_is_taken_in() {
    let broker = TestBroker::start(&[("group.initial.rebalance.delay.ms", "0")]);
    let mut other = Other::new(&broker);
    other.client.await_coordinator(GROUP);
    let mut client = broker.client();
    let mut request = join_request(GROUP, "");
    request.protocols = (0..100_000)
        .map(|number| JoinGroupRequestProtocol {
            name: format!("{number}").into(),
            metadata: Bytes::new(),
        })
        .collect();
    request.member_id = client.join(&request).member_id;
    for generation in 1..=3 {
        client.send(&request, 9);
        other.is_served();
        let joined = client.receive::<JoinGroupResponse>(9).1;
        assert_eq!((joined.error_code, joined.generation_id), (0, generation));
        assert_eq!(joined.protocol_name.as_deref(), Some("0"));
        let mut sync = sync_request(&joined, GROUP, &[]);
        sync.protocol_name = joined.protocol_name;
        assert_eq!(client.sync(&sync).error_code, 0);
        // Another order is another subscription.
        request.protocols[1..].reverse();
    }
}

const COMMITTED: i32 = 100_000;
const PARTITIONS: i32 = 100;

/// Every partition so often that there are 100,000 in all.
fn large_commit(topic: &str) -> OffsetCommitRequest {
    let offsets: Vec<(i32, i64)> = (0..COMMITTED)
        .map(|number| (number % PARTITIONS, number.into()))
        .collect();
    commit_request(GROUP, topic, &offsets)
}

/// What the partitions of a commit are answered, all of them the same.
fn commit(client: &mut Client, other: &mut Other, request: &OffsetCommitRequest) -> i16 {
    client.send(request, 8);
    other.is_served();
    let answer = client.receive::<OffsetCommitResponse>(8).1;
    let partitions = &answer.topics[0].partitions;
    assert_eq!((answer.topics.len(), partitions.len()), (1, COMMITTED as usize));
    let first = partitions[0].error_code;
    assert!(partitions.iter().all(|one| one.error_code == first));
    other.is_served();
    first
}

fn last_offsets(client: &mut Client) -> Vec<i64> {
    let fetched = client.fetch_offsets(GROUP, None, 8);
    fetched.iter().map(|one| one.offset).collect()
}

#[test]
fn a_commit_of_a_hundred_thousand_partitions_is_refused_whole_when_the_log_cannot_hold_it() {
    let broker = TestBroker::start(&[("group.initial.rebalance.delay.ms", "0")]);
    let mut other = Other::new(&broker);
    let mut client = broker.client();
    client.await_coordinator(GROUP);
    assert_eq!(client.create_topic("t", PARTITIONS, &[]), 0);
    let unknown = commit(&mut client, &mut other, &large_commit("nowhere"));
    assert_eq!(unknown, UNKNOWN_TOPIC_OR_PARTITION);
    let refused = commit(&mut client, &mut other, &large_commit("t"));
    assert_eq!(refused, INVALID_COMMIT_OFFSET_SIZE);
    assert!(last_offsets(&mut client).is_empty());
    let small = commit_request(GROUP, "t", &[(0, 1)]);
    assert_eq!(client.commit(&small, 8), [0]);
    assert_eq!(last_offsets(&mut client), [1]);
}

#[test]
fn a_commit_of_a_hundred_thousand_partitions_is_kept_when_the_log_may_hold_it() {
    let mut broker = TestBroker::start(&[
        ("group.initial.rebalance.delay.ms", "0"),
        ("message.max.bytes", "20000000"),
    ]);
    let mut other = Other::new(&broker);
    let mut client = broker.client();
    client.await_coordinator(GROUP);
    assert_eq!(client.create_topic("t", PARTITIONS, &[]), 0);
    assert_eq!(commit(&mut client, &mut other, &large_commit("t")), 0);
    let expected: Vec<i64> = (COMMITTED - PARTITIONS..COMMITTED).map(i64::from).collect();
    assert_eq!(last_offsets(&mut client), expected);
    drop((client, other));
    broker.restart();
    let mut client = broker.client();
    client.await_coordinator(GROUP);
    assert_eq!(last_offsets(&mut client), expected);
}
