//! Offsets of groups, over sockets: what is committed in one version is read in every other, and what is refused. The
//! codes are those of a real Kafka, against which these tests were run: 3.9.2, and 4.2.0 where topics have ids.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]

mod socket;

use std::collections::BTreeMap;

use barnabas::base::ids::Uuid;
use barnabas::wire::Text;
use barnabas::wire::messages::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
use barnabas::wire::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use barnabas::wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestTopic, OffsetCommitResponse,
};
use barnabas::wire::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic, OffsetDeleteResponse,
};
use barnabas::wire::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
};
use socket::group::{Fetched, commit_request, fetch_request, fetched, join_request};
use socket::{Client, TestBroker};

const COMMIT: std::ops::RangeInclusive<i16> = 0..=10;
const FETCH: std::ops::RangeInclusive<i16> = 0..=10;

/// A broker with a topic `t` of three partitions, where the group `g` has a coordinator.
fn start(overrides: &[(&str, &str)]) -> (TestBroker, Client) {
    let mut settings = vec![("group.initial.rebalance.delay.ms", "0")];
    settings.extend_from_slice(overrides);
    let broker = TestBroker::start(&settings);
    let mut client = broker.client();
    assert_eq!(client.create_topic("t", 3, &[]), 0);
    client.await_coordinator("g");
    (broker, client)
}

fn topic_id(client: &mut Client, name: &str) -> Uuid {
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some(Text::copy(name)),
            ..MetadataRequestTopic::default()
        }]),
        ..MetadataRequest::default()
    };
    let response: MetadataResponse = client.ask(&request, 12);
    response.topics[0].topic_id
}

/// From version 10 on topics are named by their ids.
fn commit_of(client: &mut Client, offsets: &[(i32, i64)], version: i16) -> OffsetCommitRequest {
    let mut request = commit_request("g", "t", offsets);
    if version >= 10 {
        request.topics[0].topic_id = topic_id(client, "t");
    }
    request
}

fn fetch_in(client: &mut Client, group: &str, partitions: &[i32], version: i16) -> Vec<Fetched> {
    let mut request = fetch_request(group, Some(("t", partitions)), version);
    if version >= 10 {
        let id = topic_id(client, "t");
        request.groups[0].topics.as_mut().unwrap()[0].topic_id = id;
    }
    let response: OffsetFetchResponse = client.ask(&request, version);
    assert_eq!(response.error_code, 0);
    fetched(&response)
}

#[test]
fn what_is_committed_in_one_version_is_read_in_every_other() {
    let (_broker, mut client) = start(&[]);
    for commit in COMMIT.skip(1) {
        let offset = 100 + i64::from(commit);
        let mut request = commit_of(&mut client, &[(0, offset), (2, offset + 1)], commit);
        request.topics[0].partitions[0].committed_leader_epoch = 4;
        request.topics[0].partitions[1].committed_metadata = None;
        // Kafka's clients of these versions say what the default is.
        request.topics[0].partitions[0].commit_timestamp = -1;
        assert_eq!(client.commit(&request, commit), [0, 0], "committed in {commit}");
        for fetch in FETCH.skip(1) {
            let epoch = if commit >= 6 && fetch >= 5 { 4 } else { -1 };
            let first = Fetched {
                leader_epoch: epoch,
                ..Fetched::new(0, offset, "m", 0)
            };
            let absent = Fetched::new(1, -1, "", 0);
            let third = Fetched::new(2, offset + 1, "", 0);
            let read = fetch_in(&mut client, "g", &[0, 1, 2], fetch);
            let what = format!("committed in {commit}, read in {fetch}");
            assert_eq!(read, [first.clone(), absent, third.clone()], "{what}");
            if fetch >= 2 {
                let all = client.fetch_offsets("g", None, fetch);
                assert_eq!(all, [first, third], "{what}, all");
            }
        }
    }
    let stored = client.describe_group("g", 5);
    assert_eq!(
        (stored.group_state.as_str(), stored.protocol_type.as_str()),
        ("Empty", "")
    );
}

#[test]
fn version_0_keeps_offsets_of_its_own() {
    let (_broker, mut client) = start(&[("offset.metadata.max.bytes", "3")]);
    assert_eq!(client.commit(&commit_request("g", "t", &[(0, 7)]), 2), [0]);
    let unknown = |partition| Fetched::new(partition, -1, "", 3);
    assert_eq!(fetch_in(&mut client, "g", &[0, 5], 0), [unknown(0), unknown(5)]);
    let mut request = commit_request("g", "t", &[(0, 40), (1, 41), (5, 45)]);
    request.topics[0].partitions[1].committed_metadata = Some(Text::from("long"));
    assert_eq!(client.commit(&request, 0), [0, 12, 3]);
    let kept = Fetched::new(0, 40, "", 0);
    assert_eq!(
        fetch_in(&mut client, "g", &[0, 1, 5], 0),
        [kept, unknown(1), unknown(5)]
    );
    assert_eq!(
        client.commit(&commit_request("g", "t", &[(0, 42)]), 0),
        [0],
        "again"
    );
    assert_eq!(fetch_in(&mut client, "g", &[0], 0)[0].offset, 42);
    assert_eq!(fetch_in(&mut client, "g", &[0], 1)[0].offset, 7);
    assert_eq!(fetch_in(&mut client, "other", &[0], 0), [unknown(0)]);
    // Names that are none of a group's, or of a path's.
    for name in ["", "a/b", "..", "."] {
        let mut request = commit_request(name, "t", &[(0, 1)]);
        request.group_id = Text::copy(name);
        let answered = client.commit(&request, 0);
        assert_eq!(answered.len(), 1, "{name:?}");
    }
    assert_eq!(fetch_in(&mut client, "g", &[0], 0)[0].offset, 42);
}

/// Kafka leaves them in ZooKeeper, for whoever has access to it.
#[test]
fn deleting_a_group_takes_its_offsets_of_version_0_along() {
    let (_broker, mut client) = start(&[]);
    client.alone_in("busy");
    assert_eq!(client.commit(&commit_request("g", "t", &[(0, 7)]), 2), [0]);
    for group in ["g", "old", "busy"] {
        assert_eq!(
            client.commit(&commit_request(group, "t", &[(0, 8), (2, 9)]), 0),
            [0, 0]
        );
    }
    let request = DeleteGroupsRequest {
        groups_names: ["g", "old", "busy", "absent"].map(Text::from).to_vec(),
    };
    let response: DeleteGroupsResponse = client.ask(&request, 2);
    let errors: BTreeMap<&str, i16> = response
        .results
        .iter()
        .map(|one| (one.group_id.as_str(), one.error_code))
        .collect();
    assert_eq!(
        errors,
        BTreeMap::from([("absent", 69), ("busy", 68), ("g", 0), ("old", 0)])
    );
    let offset = |client: &mut Client, group| fetch_in(client, group, &[2], 0)[0].offset;
    let left = ["g", "old", "busy"].map(|group| offset(&mut client, group));
    assert_eq!(left, [-1, -1, 9]);
}

#[test]
fn partitions_that_do_not_exist_are_refused_and_the_others_are_kept() {
    let (_broker, mut client) = start(&[]);
    for version in COMMIT.skip(1) {
        let mut request = commit_of(&mut client, &[(0, 5), (9, 5), (1, 5)], version);
        let mut unknown = request.topics[0].clone();
        unknown.name = Text::from("unknown");
        if version >= 10 {
            unknown.topic_id = Uuid([9; 16]);
        }
        request.topics.insert(0, unknown);
        let error = if version >= 10 { 100 } else { 3 };
        let answered = client.commit(&request, version);
        assert_eq!(answered, [error, error, error, 0, 3, 0], "version {version}");
        request.topics.truncate(1);
        assert_eq!(client.commit(&request, version), [error; 3], "version {version}");
    }
    let none = OffsetCommitRequest {
        group_id: Text::from("g"),
        ..OffsetCommitRequest::default()
    };
    let response: OffsetCommitResponse = client.ask(&none, 9);
    assert!(response.topics.is_empty());
}

#[test]
fn an_unknown_topic_id_is_answered_with_its_id() {
    let (_broker, mut client) = start(&[]);
    let unknown = Uuid([9; 16]);
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: Text::from("g"),
            topics: Some(vec![OffsetFetchRequestTopics {
                topic_id: unknown,
                partition_indexes: vec![0, 1],
                ..OffsetFetchRequestTopics::default()
            }]),
            ..OffsetFetchRequestGroup::default()
        }],
        ..OffsetFetchRequest::default()
    };
    let response: OffsetFetchResponse = client.ask(&request, 10);
    assert_eq!(response.groups[0].topics[0].topic_id, unknown);
    let refused = [Fetched::new(0, -1, "", 100), Fetched::new(1, -1, "", 100)];
    assert_eq!(fetched(&response), refused);
    let commit = OffsetCommitRequest {
        topics: vec![OffsetCommitRequestTopic {
            topic_id: unknown,
            ..commit_request("g", "", &[(0, 1)]).topics[0].clone()
        }],
        ..commit_request("g", "", &[])
    };
    let response: OffsetCommitResponse = client.ask(&commit, 10);
    assert_eq!(response.topics[0].topic_id, unknown);
    assert_eq!(response.topics[0].partitions[0].error_code, 100);
}

#[test]
fn many_groups_are_read_at_once() {
    let (_broker, mut client) = start(&[]);
    for (group, offset) in [("g", 1), ("h", 2), ("i", 3)] {
        client.await_coordinator(group);
        assert_eq!(client.commit(&commit_request(group, "t", &[(0, offset)]), 8), [0]);
    }
    client.await_coordinator("absent");
    let mut request = fetch_request("h", None, 8);
    for (group, partitions) in [("absent", vec![0]), ("g", vec![0, 1]), ("i", vec![])] {
        let one = fetch_request(group, Some(("t", &partitions)), 8);
        request.groups.extend(one.groups);
    }
    request.require_stable = true;
    let response: OffsetFetchResponse = client.ask(&request, 8);
    let names: Vec<&str> = response
        .groups
        .iter()
        .map(|group| group.group_id.as_str())
        .collect();
    assert_eq!(names, ["h", "absent", "g", "i"]);
    assert!(response.groups.iter().all(|group| group.error_code == 0));
    let offsets = |index: usize| -> Vec<i64> {
        let topics = response.groups[index].topics.iter();
        let partitions = topics.flat_map(|topic| &topic.partitions);
        partitions.map(|one| one.committed_offset).collect()
    };
    assert_eq!(
        [offsets(0), offsets(1), offsets(2), offsets(3)],
        [vec![2], vec![-1], vec![1, -1], vec![]]
    );
}

#[test]
fn commits_are_fenced_by_member_and_generation() {
    let (broker, mut client) = start(&[]);
    let commit = |client: &mut Client, member: &str, generation: i32, instance: Option<&str>| {
        let request = OffsetCommitRequest {
            member_id: Text::copy(member),
            generation_id_or_member_epoch: generation,
            group_instance_id: instance.map(Text::copy),
            ..commit_request("g", "t", &[(0, 3), (1, 4)])
        };
        client.commit(&request, 7)
    };
    assert_eq!(
        commit(&mut client, "", 0, None),
        [22, 22],
        "no group, a generation"
    );
    let joined = client.alone_in("g");
    let member = joined.member_id.as_str();
    assert_eq!(commit(&mut client, member, 1, None), [0, 0]);
    assert_eq!(commit(&mut client, member, 0, None), [22, 22]);
    assert_eq!(commit(&mut client, member, 2, None), [22, 22]);
    assert_eq!(commit(&mut client, "nobody", 1, None), [25, 25]);
    assert_eq!(
        commit(&mut client, "", -1, None),
        [25, 25],
        "a simple consumer beside members"
    );
    assert_eq!(commit(&mut client, member, 1, Some("i")), [25, 25]);
    // While a second member waits to join, the first still commits.
    let mut second = broker.client();
    let named = second.join(&join_request("g", ""));
    second.send(&join_request("g", &named.member_id), 9);
    while client.heartbeat("g", 1, member) != 27 {}
    assert_eq!(commit(&mut client, member, 1, None), [0, 0]);
    // Not between the join and the assignments.
    assert_eq!(client.join(&join_request("g", member)).generation_id, 2);
    assert_eq!(commit(&mut client, member, 2, None), [27, 27]);
}

#[test]
fn a_text_that_is_too_long_costs_only_its_own_partition() {
    let (_broker, mut client) = start(&[("offset.metadata.max.bytes", "4")]);
    let mut request = commit_request("g", "t", &[(0, 1), (1, 2), (2, 3)]);
    let texts = ["four", "fives", "\u{1d11e}\u{1d11e}"];
    for (partition, text) in request.topics[0].partitions.iter_mut().zip(texts) {
        partition.committed_metadata = Some(Text::from(text));
    }
    // Characters count as Java counts them: two units each beyond the basic plane.
    assert_eq!(client.commit(&request, 9), [0, 12, 0]);
    let read = client.fetch_offsets("g", Some(("t", &[0, 1, 2])), 9);
    let expected = [
        Fetched::new(0, 1, "four", 0),
        Fetched::new(1, -1, "", 0),
        Fetched::new(2, 3, texts[2], 0),
    ];
    assert_eq!(read, expected);
}

/// The error of the request, and of each partition by number.
fn delete(client: &mut Client, group: &str, topic: &str, partitions: &[i32]) -> (i16, Vec<i16>) {
    let request = OffsetDeleteRequest {
        group_id: Text::copy(group),
        topics: vec![OffsetDeleteRequestTopic {
            name: Text::copy(topic),
            partitions: partitions
                .iter()
                .map(|index| OffsetDeleteRequestPartition {
                    partition_index: *index,
                })
                .collect(),
        }],
    };
    let response: OffsetDeleteResponse = client.ask(&request, 0);
    let answered = response.topics.iter().flat_map(|topic| &topic.partitions);
    let mut answered: Vec<(i32, i16)> = answered
        .map(|one| (one.partition_index, one.error_code))
        .collect();
    answered.sort_unstable();
    (
        response.error_code,
        answered.into_iter().map(|(_, error)| error).collect(),
    )
}

#[test]
fn offsets_are_deleted_but_not_of_topics_that_members_read() {
    let (_broker, mut client) = start(&[]);
    assert_eq!(client.create_topic("u", 1, &[]), 0);
    client.await_coordinator("absent");
    assert_eq!(delete(&mut client, "absent", "t", &[0]), (69, vec![]));
    assert_eq!(delete(&mut client, "absent", "unknown", &[0]), (69, vec![]));
    assert_eq!(
        client.commit(&commit_request("g", "t", &[(0, 1), (1, 2)]), 8),
        [0, 0]
    );
    assert_eq!(client.commit(&commit_request("g", "u", &[(0, 3)]), 8), [0]);
    assert_eq!(delete(&mut client, "g", "t", &[0, 2, 7]), (0, vec![0, 0, 3]));
    assert_eq!(delete(&mut client, "g", "unknown", &[0]), (0, vec![3]));
    let left = client.fetch_offsets("g", Some(("t", &[0, 1])), 7);
    assert_eq!(left, [Fetched::new(0, -1, "", 0), Fetched::new(1, 2, "m", 0)]);
    // Its member subscribes to `t`.
    client.alone_in("g");
    assert_eq!(delete(&mut client, "g", "t", &[1]), (0, vec![86]));
    assert_eq!(delete(&mut client, "g", "u", &[0]), (0, vec![0]));
    assert_eq!(client.fetch_offsets("g", None, 7), [Fetched::new(1, 2, "m", 0)]);
}

#[test]
fn a_deleted_topic_takes_its_offsets_along() {
    use barnabas::wire::messages::delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
    let (_broker, mut client) = start(&[]);
    assert_eq!(client.create_topic("u", 1, &[]), 0);
    assert_eq!(client.commit(&commit_request("g", "t", &[(0, 1)]), 8), [0]);
    assert_eq!(client.commit(&commit_request("g", "u", &[(0, 3)]), 8), [0]);
    let request = DeleteTopicsRequest {
        topic_names: vec![Text::from("u")],
        timeout_ms: 30_000,
        ..DeleteTopicsRequest::default()
    };
    let response: DeleteTopicsResponse = client.ask(&request, 4);
    assert_eq!(response.responses[0].error_code, 0);
    while client.fetch_offsets("g", None, 7).len() > 1 {}
    assert_eq!(client.fetch_offsets("g", None, 7), [Fetched::new(0, 1, "m", 0)]);
}

#[test]
fn a_group_without_members_or_offsets_is_gone() {
    let (_broker, mut client) = start(&[]);
    assert_eq!(client.commit(&commit_request("g", "t", &[(0, 1)]), 8), [0]);
    assert_eq!(client.describe_group("g", 5).group_state, "Empty");
    assert_eq!(delete(&mut client, "g", "t", &[0]), (0, vec![0]));
    assert!(client.fetch_offsets("g", None, 7).is_empty());
}

#[test]
fn groups_and_their_offsets_are_there_after_a_restart() {
    let (mut broker, mut client) = start(&[]);
    let joined = client.alone_in("g");
    let mut request = OffsetCommitRequest {
        member_id: joined.member_id.clone(),
        generation_id_or_member_epoch: 1,
        ..commit_request("g", "t", &[(0, 5), (2, -7)])
    };
    request.topics[0].partitions[0].committed_leader_epoch = 3;
    request.topics[0].partitions[0].committed_metadata = Some(Text::from("\u{1d11e} note"));
    assert_eq!(client.commit(&request, 8), [0, 0]);
    client.await_coordinator("simple");
    assert_eq!(client.commit(&commit_request("simple", "t", &[(1, 9)]), 8), [0]);
    assert_eq!(delete(&mut client, "simple", "t", &[1]), (0, vec![0]));
    assert_eq!(client.commit(&commit_request("simple", "t", &[(0, 10)]), 8), [0]);
    let before = client.describe_group("g", 5);
    client.disconnect();
    broker.restart();
    let mut client = broker.client();
    client.await_coordinator("g");
    client.await_coordinator("simple");
    let first = Fetched {
        leader_epoch: 3,
        ..Fetched::new(0, 5, "\u{1d11e} note", 0)
    };
    let all = client.fetch_offsets("g", None, 9);
    assert_eq!(all, [first, Fetched::new(2, -7, "m", 0)]);
    assert_eq!(
        client.fetch_offsets("simple", None, 9),
        [Fetched::new(0, 10, "m", 0)]
    );
    assert_eq!(client.describe_group("g", 5), before);
    // The member is still one.
    assert_eq!(client.heartbeat("g", 1, &joined.member_id), 0);
    assert_eq!(client.commit(&request, 8), [0, 0]);
}

#[test]
fn commits_in_one_write_take_effect_and_are_answered_in_their_order() {
    let (_broker, mut client) = start(&[]);
    let mut frames = Vec::new();
    let mut sent = Vec::new();
    for offset in 0..50 {
        let (id, frame) = client.request_frame(&commit_request("g", "t", &[(0, offset)]), 8);
        sent.push(id);
        frames.extend(frame);
    }
    let fetch = fetch_request("g", Some(("t", &[0])), 7);
    let (fetch_id, frame) = client.request_frame(&fetch, 7);
    frames.extend(frame);
    client.send_raw(&frames);
    for id in sent {
        let (answered, response) = client.receive::<OffsetCommitResponse>(8);
        assert_eq!((answered, response.topics[0].partitions[0].error_code), (id, 0));
    }
    let (answered, response) = client.receive::<OffsetFetchResponse>(7);
    assert_eq!(answered, fetch_id);
    assert_eq!(fetched(&response), [Fetched::new(0, 49, "m", 0)]);
}
