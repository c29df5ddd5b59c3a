//! Members of groups, over sockets: what each request answers in each version, and what happens to members that come, go
//! and contradict. The codes are those of a real Kafka 3.9.2, against which these tests were run.
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
use barnabas::wire::messages::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
use barnabas::wire::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResponse,
};
use barnabas::wire::messages::find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};
use barnabas::wire::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use barnabas::wire::messages::join_group::{JoinGroupRequest, JoinGroupResponse};
use barnabas::wire::messages::list_groups::{ListGroupsRequest, ListGroupsResponse};
use barnabas::wire::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use barnabas::wire::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};
use socket::group::{join_request, protocol, subscription, sync_request};
use socket::{Client, TestBroker};

/// A group's first rebalance begins at once.
fn start() -> TestBroker {
    TestBroker::start(&[("group.initial.rebalance.delay.ms", "0")])
}

/// Tries what needs requests to come within a time, `None` when one of them came too late: then with a longer time, for
/// on a machine with other work to do any short one is too short.
fn in_time<T>(times_ms: [i32; 3], mut attempt: impl FnMut(i32) -> Option<T>) -> T {
    let done = times_ms.into_iter().find_map(&mut attempt);
    done.expect("a request comes in time, once there is enough of it")
}

fn find(client: &mut Client, kind: i8, keys: &[&str], version: i16) -> FindCoordinatorResponse {
    let request = FindCoordinatorRequest {
        key: Text::copy(keys[0]),
        key_type: kind,
        coordinator_keys: keys.iter().map(|key| Text::copy(key)).collect(),
    };
    client.ask(&request, version)
}

/// Error and node, of versions with one key or with many.
fn found(response: &FindCoordinatorResponse) -> Vec<(i16, i32, String, i32)> {
    if response.coordinators.is_empty() {
        let host = response.host.to_string();
        return vec![(response.error_code, response.node_id, host, response.port)];
    }
    let seen = response.coordinators.iter();
    seen.map(|one| (one.error_code, one.node_id, one.host.to_string(), one.port))
        .collect()
}

#[test]
fn the_first_question_for_a_coordinator_creates_the_offsets_topic() {
    let broker = TestBroker::start(&[("auto.create.topics.enable", "false")]);
    let mut client = broker.client();
    let first = find(&mut client, 0, &["g"], 3);
    assert_eq!(found(&first), [(15, -1, String::new(), -1)]);
    client.await_coordinator("g");
    let metadata = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some(Text::from("__consumer_offsets")),
            ..MetadataRequestTopic::default()
        }]),
        ..MetadataRequest::default()
    };
    let metadata: MetadataResponse = client.ask(&metadata, 8);
    assert_eq!(metadata.topics[0].partitions.len(), 50);
    assert!(metadata.topics[0].is_internal);
    let configs = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: 2,
            resource_name: Text::from("__consumer_offsets"),
            configuration_keys: None,
        }],
        ..DescribeConfigsRequest::default()
    };
    let configs: DescribeConfigsResponse = client.ask(&configs, 4);
    let of_topic = configs.results[0]
        .configs
        .iter()
        .filter(|config| config.config_source == 1);
    let mut set: Vec<(String, String)> = of_topic
        .map(|config| (config.name.to_string(), config.value.clone().unwrap().to_string()))
        .collect();
    set.sort();
    let expected = [
        ("cleanup.policy", "compact"),
        ("compression.type", "producer"),
        ("segment.bytes", "104857600"),
    ];
    assert_eq!(
        set,
        expected.map(|(key, value)| (key.to_owned(), value.to_owned()))
    );
}

#[test]
fn a_coordinator_is_found_in_every_version() {
    let broker = start();
    let mut client = broker.client();
    client.await_coordinator("g");
    let here = || (0, 1, "127.0.0.1".to_owned(), i32::from(broker.address.port()));
    for version in 0..=6 {
        let response = find(&mut client, 0, &["g"], version);
        assert_eq!(found(&response), [here()], "version {version}");
        let message = response.error_message.as_deref();
        match version {
            1..=3 => assert_eq!(message, Some("NONE"), "version {version}"),
            0 => {}
            _ => assert_eq!(response.coordinators[0].error_message.as_deref(), Some("")),
        }
    }
    let nowhere = |error| (error, -1, String::new(), -1);
    let several = find(&mut client, 0, &["g", "", "h"], 4);
    assert_eq!(found(&several), [here(), here(), here()]);
    assert_eq!(several.coordinators[2].key, "h");
    for version in 1..=6 {
        let unknown = find(&mut client, 9, &["g"], version);
        assert_eq!(found(&unknown), [nowhere(42)], "version {version}");
        let transactional = find(&mut client, 1, &["t"], version);
        assert_eq!(found(&transactional), [nowhere(15)], "version {version}");
        let share = find(&mut client, 2, &["g:AAAAAAAAAAAAAAAAAAAAAA:0"], version);
        let due = if version < 6 { 42 } else { 15 };
        assert_eq!(found(&share), [nowhere(due)], "version {version}");
    }
}

#[test]
fn a_member_joins_syncs_beats_and_leaves_in_every_version() {
    let broker = start();
    let mut client = broker.client();
    for version in 0..=9_i16 {
        let group = format!("g{version}");
        client.await_coordinator(&group);
        let mut request = join_request(&group, "");
        if version >= 4 {
            let named: JoinGroupResponse = client.ask(&request, version);
            assert_eq!(
                (named.error_code, named.generation_id),
                (79, -1),
                "version {version}"
            );
            assert!(named.member_id.starts_with("test-"), "{}", named.member_id);
            request.member_id = named.member_id;
        }
        let joined: JoinGroupResponse = client.ask(&request, version);
        assert_eq!(
            (joined.error_code, joined.generation_id),
            (0, 1),
            "version {version}"
        );
        assert_eq!(joined.leader, joined.member_id);
        assert_eq!(joined.protocol_name.as_deref(), Some("range"));
        let kind = joined.protocol_type.as_deref();
        assert_eq!(kind, (version >= 7).then_some("consumer"), "version {version}");
        assert_eq!(joined.members.len(), 1);
        assert_eq!(joined.members[0].metadata, subscription(&["t"]));

        let version = version.min(5);
        let sync = sync_request(&joined, &group, &[(&joined.member_id, "mine")]);
        let synced: SyncGroupResponse = client.ask(&sync, version);
        assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"mine"[..]));
        let kind = synced.protocol_type.as_deref();
        assert_eq!(kind, (version >= 5).then_some("consumer"), "version {version}");

        let mut beat = HeartbeatRequest {
            group_id: Text::copy(&group),
            generation_id: 1,
            member_id: joined.member_id.clone(),
            group_instance_id: None,
        };
        let beaten: HeartbeatResponse = client.ask(&beat, version.min(4));
        assert_eq!(beaten.error_code, 0);
        beat.generation_id = 2;
        let beaten: HeartbeatResponse = client.ask(&beat, version.min(4));
        assert_eq!(beaten.error_code, 22);

        let each = |error| if version < 3 { vec![] } else { vec![error] };
        let top = |error| if version < 3 { error } else { 0 };
        let left = client.leave(&group, &[("nobody", None)], version);
        assert_eq!(left, (top(25), each(25)), "version {version}");
        let left = client.leave(&group, &[(&joined.member_id, None)], version);
        assert_eq!(left, (0, each(0)), "version {version}");
        assert_eq!(client.heartbeat(&group, 1, &joined.member_id), 25);
    }
}

/// Two members, of whom the second comes when the group is stable.
struct Pair {
    first: Client,
    second: Client,
    leader: JoinGroupResponse,
    follower: JoinGroupResponse,
}

fn pair(broker: &TestBroker, group: &str) -> Pair {
    let (mut first, mut second) = (broker.client(), broker.client());
    let alone = first.alone_in(group);
    let named = second.join(&join_request(group, ""));
    assert_eq!(named.error_code, 79);
    let waiting = second.send(&join_request(group, &named.member_id), 9);
    // The second waits for the first, who learns of it by its heartbeat.
    while first.heartbeat(group, 1, &alone.member_id) != 27 {}
    let leader = first.join(&join_request(group, &alone.member_id));
    let (answered, follower) = second.receive::<JoinGroupResponse>(9);
    assert_eq!(answered, waiting);
    Pair {
        first,
        second,
        leader,
        follower,
    }
}

#[test]
fn a_second_member_starts_a_rebalance_whose_leader_assigns() {
    let broker = start();
    let mut pair = pair(&broker, "g");
    let (leader, follower) = (&pair.leader, &pair.follower);
    assert_eq!((leader.error_code, leader.generation_id), (0, 2));
    assert_eq!((follower.error_code, follower.generation_id), (0, 2));
    assert_eq!(leader.leader, leader.member_id);
    assert_eq!(follower.leader, leader.member_id);
    assert_eq!((leader.members.len(), follower.members.len()), (2, 0));

    let waiting = pair.second.send(&sync_request(follower, "g", &[]), 5);
    let assignments = [
        (leader.member_id.as_str(), "one"),
        (follower.member_id.as_str(), "two"),
    ];
    let synced = pair.first.sync(&sync_request(leader, "g", &assignments));
    assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"one"[..]));
    let (answered, synced) = pair.second.receive::<SyncGroupResponse>(5);
    assert_eq!(answered, waiting);
    assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"two"[..]));

    // The follower leaves; the leader goes on alone.
    assert_eq!(
        pair.second.leave("g", &[(&follower.member_id, None)], 5),
        (0, vec![0])
    );
    assert_eq!(pair.first.heartbeat("g", 2, &leader.member_id), 27);
    let again = pair.first.join(&join_request("g", &leader.member_id));
    assert_eq!(
        (again.error_code, again.generation_id, again.members.len()),
        (0, 3, 1)
    );
}

#[test]
fn a_member_that_is_answered_later_does_not_hold_up_its_connection() {
    let broker = start();
    let (mut first, mut second) = (broker.client(), broker.client());
    let alone = first.alone_in("g");
    let named = second.join(&join_request("g", ""));
    let parked = second.send(&join_request("g", &named.member_id), 9);
    let committed = second.send(&socket::group::commit_request("h", "none", &[(0, 1)]), 8);
    // Asked behind the join that is parked, on another connection, it was carried out.
    while first.heartbeat("g", 1, &alone.member_id) != 27 {}
    assert_eq!(first.leave("g", &[(&alone.member_id, None)], 5), (0, vec![0]));
    // Answers come in the order of the requests.
    let (answered, joined) = second.receive::<JoinGroupResponse>(9);
    assert_eq!((answered, joined.error_code), (parked, 0));
    assert_eq!(joined.leader, joined.member_id);
    let frame = second.next_frame().unwrap();
    assert_eq!(i32::from_be_bytes(frame[..4].try_into().unwrap()), committed);
}

#[test]
fn a_connection_that_goes_leaves_its_member_to_the_session() {
    let broker = start();
    let (mut first, mut second) = (broker.client(), broker.client());
    let alone = first.alone_in("g");
    let named = second.join(&join_request("g", ""));
    second.send(&join_request("g", &named.member_id), 9);
    while first.heartbeat("g", 1, &alone.member_id) != 27 {}
    second.disconnect();
    let joined = first.join(&join_request("g", &alone.member_id));
    assert_eq!((joined.error_code, joined.members.len()), (0, 2));
    broker.assert_alive();
}

#[test]
fn joins_that_contradict_their_group_are_refused() {
    let broker = start();
    let mut client = broker.client();
    let joined = client.alone_in("g");
    let refused = |client: &mut Client, change: &dyn Fn(&mut JoinGroupRequest)| {
        let mut request = join_request("g", "");
        change(&mut request);
        let response = client.join(&request);
        assert_eq!(response.generation_id, -1);
        assert_eq!((response.protocol_name, response.leader), (None, Text::EMPTY));
        assert!(response.members.is_empty());
        (response.error_code, response.member_id.to_string())
    };
    let empty = String::new;
    assert_eq!(refused(&mut client, &|r| r.group_id = Text::EMPTY), (24, empty()));
    assert_eq!(
        refused(&mut client, &|r| r.session_timeout_ms = 5_999),
        (26, empty())
    );
    assert_eq!(
        refused(&mut client, &|r| r.session_timeout_ms = 1_800_001),
        (26, empty())
    );
    assert_eq!(
        refused(&mut client, &|r| r.member_id = Text::from("me")),
        (25, "me".to_owned())
    );
    assert_eq!(refused(&mut client, &|r| r.protocols.clear()), (23, empty()));
    assert_eq!(
        refused(&mut client, &|r| r.protocol_type = Text::from("connect")),
        (23, empty())
    );
    assert_eq!(
        refused(&mut client, &|r| r.protocols = vec![protocol("sticky", &["t"])]),
        (23, empty())
    );
    // Before version 7 no protocol is an empty one.
    let request = join_request("g", "me");
    for (version, name) in [(6, Some("")), (7, None)] {
        let response: JoinGroupResponse = client.ask(&request, version);
        assert_eq!(response.error_code, 25);
        assert_eq!(response.protocol_name.as_deref(), name, "version {version}");
    }
    assert_eq!(
        client.heartbeat("g", 1, &joined.member_id),
        0,
        "the group is as it was"
    );
}

#[test]
fn syncs_that_contradict_their_group_are_refused() {
    let broker = start();
    let mut client = broker.client();
    let joined = client.alone_in("g");
    let refused = |client: &mut Client, change: &dyn Fn(&mut SyncGroupRequest)| {
        let mut request = sync_request(&joined, "g", &[]);
        change(&mut request);
        let response = client.sync(&request);
        assert_eq!((response.protocol_type, response.protocol_name), (None, None));
        assert!(response.assignment.is_empty());
        response.error_code
    };
    assert_eq!(refused(&mut client, &|r| r.protocol_type = None), 23);
    assert_eq!(refused(&mut client, &|r| r.protocol_name = None), 23);
    assert_eq!(
        refused(&mut client, &|r| r.protocol_type = Some(Text::from("other"))),
        23
    );
    assert_eq!(
        refused(&mut client, &|r| r.protocol_name = Some(Text::from("other"))),
        23
    );
    assert_eq!(refused(&mut client, &|r| r.generation_id = 7), 22);
    assert_eq!(refused(&mut client, &|r| r.member_id = Text::from("me")), 25);
    client.await_coordinator("none");
    assert_eq!(refused(&mut client, &|r| r.group_id = Text::from("none")), 25);
    assert_eq!(
        refused(&mut client, &|r| r.group_instance_id = Some(Text::from("i"))),
        25
    );
    // A stable group tells a member its assignment again.
    let again = client.sync(&sync_request(&joined, "g", &[]));
    assert_eq!((again.error_code, &again.assignment[..]), (0, &b"all"[..]));
}

#[test]
fn a_static_member_comes_back_without_a_rebalance_and_fences_who_was_there() {
    let broker = start();
    let mut client = broker.client();
    client.await_coordinator("g");
    let request = |member: &str| JoinGroupRequest {
        group_instance_id: Some(Text::from("i")),
        ..join_request("g", member)
    };
    let old = client.join(&request(""));
    assert_eq!((old.error_code, old.generation_id), (0, 1), "no id is asked for");
    assert!(old.member_id.starts_with("i-"), "{}", old.member_id);
    let sync = |joined: &JoinGroupResponse| SyncGroupRequest {
        group_instance_id: Some(Text::from("i")),
        ..sync_request(joined, "g", &[(&joined.member_id, "all")])
    };
    assert_eq!(client.sync(&sync(&old)).error_code, 0);

    let new = client.join(&request(""));
    assert_eq!((new.error_code, new.generation_id), (0, 1), "the same generation");
    assert!(new.skip_assignment && new.leader == new.member_id && new.member_id != old.member_id);
    let kept = client.sync(&sync(&new));
    assert_eq!((kept.error_code, &kept.assignment[..]), (0, &b"all"[..]));
    assert_eq!(client.join(&request(&old.member_id)).error_code, 82);
    assert_eq!(client.sync(&sync(&old)).error_code, 82);
    assert_eq!(client.heartbeat("g", 1, &old.member_id), 25);

    let described = client.describe_group("g", 5);
    assert_eq!(described.members[0].group_instance_id.as_deref(), Some("i"));
    let left = client.leave("g", &[("", Some("other")), ("", Some("i"))], 4);
    assert_eq!(left, (0, vec![25, 0]), "put out by its instance id");
    assert_eq!(client.describe_group("g", 5).group_state, "Empty");
}

#[test]
fn a_group_has_no_more_members_than_it_may() {
    let broker = TestBroker::start(&[("group.initial.rebalance.delay.ms", "0"), ("group.max.size", "1")]);
    let mut client = broker.client();
    client.alone_in("g");
    let refused = client.join(&join_request("g", ""));
    assert_eq!((refused.error_code, refused.member_id), (81, Text::EMPTY));
}

#[test]
fn groups_are_described_in_every_version() {
    let broker = start();
    let mut client = broker.client();
    client.await_coordinator("absent");
    let joined = client.alone_in("g");
    for version in 0..=6 {
        let group = client.describe_group("g", version);
        assert_eq!((group.error_code, group.group_id.as_str()), (0, "g"));
        assert_eq!(
            (group.group_state.as_str(), group.protocol_type.as_str()),
            ("Stable", "consumer")
        );
        assert_eq!(group.protocol_data, "range");
        let member = &group.members[0];
        assert_eq!(member.member_id, joined.member_id);
        assert_eq!(
            (member.client_id.as_str(), member.client_host.as_str()),
            ("test", "/127.0.0.1")
        );
        assert_eq!(member.member_metadata, subscription(&["t"]));
        assert_eq!(&member.member_assignment[..], b"all");
        let operations = if version < 3 {
            i32::MIN
        } else {
            (1 << 3) | (1 << 6) | (1 << 8)
        };
        assert_eq!(group.authorized_operations, operations, "version {version}");

        let absent = client.describe_group("absent", version);
        assert_eq!((absent.group_state.as_str(), absent.members.len()), ("Dead", 0));
        match version {
            ..6 => assert_eq!((absent.error_code, absent.error_message), (0, None)),
            _ => {
                assert_eq!((absent.error_code, absent.authorized_operations), (69, i32::MIN));
                assert!(absent.error_message.is_some());
            }
        }
    }
}

#[test]
fn groups_are_listed_in_every_version() {
    let broker = start();
    let mut client = broker.client();
    let joined = client.alone_in("left");
    client.leave("left", &[(&joined.member_id, None)], 5);
    client.alone_in("g");
    let list = |client: &mut Client, version, states: &[&str], types: &[&str]| {
        let texts = |names: &[&str]| names.iter().map(|name| Text::copy(name)).collect();
        let request = ListGroupsRequest {
            states_filter: texts(states),
            types_filter: texts(types),
        };
        let mut response: ListGroupsResponse = client.ask(&request, version);
        while response.error_code == 14 {
            response = client.ask(&request, version);
        }
        assert_eq!(response.error_code, 0);
        let mut groups: Vec<[String; 4]> = response
            .groups
            .iter()
            .map(|one| {
                let texts = [
                    &one.group_id,
                    &one.protocol_type,
                    &one.group_state,
                    &one.group_type,
                ];
                texts.map(ToString::to_string)
            })
            .collect();
        groups.sort();
        groups
    };
    for version in 0..=5 {
        let state = |name| if version < 4 { "" } else { name };
        let kind = if version < 5 { "" } else { "classic" };
        let expected = [
            ["g", "consumer", state("Stable"), kind],
            ["left", "consumer", state("Empty"), kind],
        ];
        let all = list(&mut client, version, &[], &[]);
        assert_eq!(
            all,
            expected.map(|one| one.map(str::to_owned)),
            "version {version}"
        );
    }
    let names = |groups: Vec<[String; 4]>| groups.into_iter().map(|[name, ..]| name).collect::<Vec<_>>();
    assert_eq!(names(list(&mut client, 4, &["sTABLE"], &[])), ["g"]);
    assert_eq!(
        names(list(&mut client, 5, &["Stable", "Empty"], &["Classic"])),
        ["g", "left"]
    );
    assert!(list(&mut client, 5, &[], &["consumer"]).is_empty());
    assert!(list(&mut client, 5, &[], &["nonsense"]).is_empty());
    assert!(list(&mut client, 4, &["nonsense"], &[]).is_empty());
}

#[test]
fn only_groups_without_members_are_deleted() {
    let broker = start();
    let mut client = broker.client();
    for group in ["g", "absent", ""] {
        client.await_coordinator(group);
    }
    for version in 0..=2 {
        let joined = client.alone_in("left");
        client.leave("left", &[(&joined.member_id, None)], 5);
        if client.describe_group("g", 5).group_state == "Dead" {
            client.alone_in("g");
        }
        let request = DeleteGroupsRequest {
            groups_names: ["g", "left", "absent", "g", ""].map(Text::from).to_vec(),
        };
        let response: DeleteGroupsResponse = client.ask(&request, version);
        let mut results: Vec<(&str, i16)> = response
            .results
            .iter()
            .map(|one| (one.group_id.as_str(), one.error_code))
            .collect();
        results.sort_unstable();
        assert_eq!(results, [("", 69), ("absent", 69), ("g", 68), ("left", 0)]);
        assert_eq!(client.describe_group("left", 5).group_state, "Dead");
        assert_eq!(client.describe_group("g", 5).group_state, "Stable");
    }
}

#[test]
fn a_session_that_ends_takes_its_member_out() {
    let broker = TestBroker::start(&[
        ("group.initial.rebalance.delay.ms", "0"),
        ("group.min.session.timeout.ms", "100"),
    ]);
    let mut client = broker.client();
    in_time([200, 2000, 20_000], |session_timeout_ms| {
        let group = format!("g{session_timeout_ms}");
        client.await_coordinator(&group);
        let short = |member: &str| JoinGroupRequest {
            session_timeout_ms,
            ..join_request(&group, member)
        };
        let named = client.join(&short(""));
        let joined = client.join(&short(&named.member_id));
        let assignments = [(joined.member_id.as_str(), "all")];
        let synced = client.sync(&sync_request(&joined, &group, &assignments));
        if joined.error_code == 25 || synced.error_code == 25 {
            return None;
        }
        assert_eq!((joined.error_code, joined.generation_id), (0, 1));
        assert_eq!(synced.error_code, 0);
        // Without a heartbeat. Describing is none.
        while client.describe_group(&group, 5).group_state != "Empty" {}
        assert_eq!(client.heartbeat(&group, 1, &joined.member_id), 25);
        Some(())
    });
}

/// Row 64 of the pitfalls.
#[test]
fn who_withholds_its_sync_is_put_out_and_the_others_go_on() {
    let broker = start();
    in_time([300, 3000, 30_000], |rebalance_timeout_ms| {
        let group = &format!("g{rebalance_timeout_ms}");
        let (mut first, mut second) = (broker.client(), broker.client());
        let alone = first.alone_in(group);
        let quick = |member: &str| JoinGroupRequest {
            rebalance_timeout_ms,
            ..join_request(group, member)
        };
        let named = second.join(&quick(""));
        second.send(&quick(&named.member_id), 9);
        while first.heartbeat(group, 1, &alone.member_id) != 27 {}
        let leader = first.join(&quick(&alone.member_id));
        assert_eq!(leader.members.len(), 2);
        let (_, follower) = second.receive::<JoinGroupResponse>(9);
        // The follower waits for the assignments of a leader that never brings any.
        let synced = second.sync(&sync_request(&follower, group, &[]));
        if synced.error_code == 25 {
            return None;
        }
        assert_eq!((synced.error_code, synced.assignment.len()), (27, 0));
        let again = second.join(&quick(&follower.member_id));
        if again.error_code == 25 {
            return None;
        }
        assert_eq!((again.error_code, again.members.len()), (0, 1));
        assert_eq!(again.leader, follower.member_id);
        let late = first.heartbeat(group, leader.generation_id, &leader.member_id);
        assert_eq!(late, 25);
        assert_eq!(first.sync(&sync_request(&leader, group, &[])).error_code, 25);
        Some(())
    });
}

/// Row 64 of the pitfalls: a leader that knows nothing of instance ids leads a static member.
#[test]
fn an_old_leader_and_a_static_member_share_a_group() {
    let broker = start();
    let (mut old, mut fixed) = (broker.client(), broker.client());
    old.await_coordinator("g");
    let leader: JoinGroupResponse = old.ask(&join_request("g", ""), 2);
    assert_eq!((leader.error_code, leader.members.len()), (0, 1));
    let request = JoinGroupRequest {
        group_instance_id: Some(Text::from("i")),
        ..join_request("g", "")
    };
    let parked = fixed.send(&request, 5);
    // The leader has not synced: its new join answers the one that is parked.
    while old.heartbeat("g", 1, &leader.member_id) != 27 {}
    let leader: JoinGroupResponse = old.ask(&join_request("g", &leader.member_id), 2);
    let (answered, member) = fixed.receive::<JoinGroupResponse>(5);
    assert_eq!(
        (answered, member.error_code, member.generation_id),
        (parked, 0, 2)
    );
    assert_eq!(leader.members.len(), 2);
    let assignments = [
        (leader.member_id.as_str(), "one"),
        (member.member_id.as_str(), "two"),
    ];
    let synced: SyncGroupResponse = old.ask(&sync_request(&leader, "g", &assignments), 2);
    assert_eq!(&synced.assignment[..], b"one");
    // It restarts: the leader is not asked, and it gets what it had.
    let back: JoinGroupResponse = fixed.ask(&request, 5);
    assert_eq!((back.error_code, back.generation_id), (0, 2));
    assert!(back.members.is_empty() && back.leader == leader.member_id);
    let sync = SyncGroupRequest {
        group_instance_id: Some(Text::from("i")),
        ..sync_request(&back, "g", &[])
    };
    let synced: SyncGroupResponse = fixed.ask(&sync, 3);
    assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"two"[..]));
    assert_eq!(old.heartbeat("g", 2, &leader.member_id), 0);
}

/// Row 65 of the pitfalls.
#[test]
fn a_static_member_that_came_back_fences_the_old_one_after_a_restart_too() {
    let mut broker = start();
    let mut client = broker.client();
    client.await_coordinator("g");
    let request = JoinGroupRequest {
        group_instance_id: Some(Text::from("i")),
        ..join_request("g", "")
    };
    let sync = |joined: &JoinGroupResponse| SyncGroupRequest {
        group_instance_id: Some(Text::from("i")),
        ..sync_request(joined, "g", &[(&joined.member_id, "all")])
    };
    let old = client.join(&request);
    assert_eq!(client.sync(&sync(&old)).error_code, 0);
    let new = client.join(&request);
    assert_eq!((new.error_code, new.generation_id), (0, 1));
    client.disconnect();
    broker.restart();
    let mut client = broker.client();
    client.await_coordinator("g");
    assert_eq!(client.describe_group("g", 5).group_state, "Stable");
    assert_eq!(client.sync(&sync(&old)).error_code, 82);
    let kept = client.sync(&sync(&new));
    assert_eq!((kept.error_code, &kept.assignment[..]), (0, &b"all"[..]));
}

/// Row 71 of the pitfalls.
#[test]
fn a_member_that_is_put_out_while_it_waits_is_told_that_nobody_knows_it() {
    let broker = start();
    let (mut first, mut second) = (broker.client(), broker.client());
    let alone = first.alone_in("g");
    let named = second.join(&join_request("g", ""));
    let parked = second.send(&join_request("g", &named.member_id), 9);
    while first.heartbeat("g", 1, &alone.member_id) != 27 {}
    assert_eq!(first.leave("g", &[(&named.member_id, None)], 5), (0, vec![0]));
    let (answered, refused) = second.receive::<JoinGroupResponse>(9);
    assert_eq!(answered, parked);
    assert_eq!((refused.error_code, refused.member_id), (25, Text::EMPTY));
    let again = first.join(&join_request("g", &alone.member_id));
    assert_eq!((again.error_code, again.members.len()), (0, 1));
}

/// Row 58 of the second part of the pitfalls.
#[test]
fn the_longest_timeouts_do_not_overflow() {
    let broker = TestBroker::start(&[
        ("group.initial.rebalance.delay.ms", "1"),
        ("group.max.session.timeout.ms", "2147483647"),
    ]);
    let mut client = broker.client();
    client.await_coordinator("g");
    let request = |member: &str| JoinGroupRequest {
        session_timeout_ms: i32::MAX,
        rebalance_timeout_ms: i32::MAX,
        ..join_request("g", member)
    };
    let named = client.join(&request(""));
    assert_eq!(named.error_code, 79);
    let joined = client.join(&request(&named.member_id));
    assert_eq!((joined.error_code, joined.generation_id), (0, 1));
    let assignments = [(joined.member_id.as_str(), "all")];
    assert_eq!(
        client.sync(&sync_request(&joined, "g", &assignments)).error_code,
        0
    );
    assert_eq!(client.heartbeat("g", 1, &joined.member_id), 0);
    // Timeouts that are over before they begin: such a member has no time to sync.
    for rebalance_timeout_ms in [0, -1, i32::MIN] {
        let odd = JoinGroupRequest {
            rebalance_timeout_ms,
            ..request(&joined.member_id)
        };
        let rejoined = client.join(&odd).error_code;
        assert!([0, 25].contains(&rejoined), "{rebalance_timeout_ms}: {rejoined}");
    }
    broker.assert_alive();
}
