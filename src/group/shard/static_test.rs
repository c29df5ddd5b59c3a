//! Static members (KIP-345) that come back.

use std::time::Duration;

use crate::base::clock::Instant;
use crate::base::error_code::ErrorCode;
use crate::group::command::*;
use crate::group::record::GroupValue;
use crate::group::testing::*;
use crate::wire::text::Text;

fn pair(h: &mut Harness) -> Vec<Text> {
    h.stable_with(vec![join_static("", "one"), join_static("", "two")])
}

/// JoinGroup before version 9.
fn old(join: Join) -> Join {
    Join {
        supports_skipping_assignment: false,
        ..join
    }
}

fn last_group(h: &Harness) -> GroupValue {
    GroupValue::decode(h.last_batch()[0].0.value.as_ref().unwrap()).unwrap()
}

#[test]
fn a_follower_that_comes_back_gets_what_it_had() {
    for join in [join_static("", "two"), old(join_static("", "two"))] {
        let mut h = Harness::new();
        let ids = pair(&mut h);
        let before = h.batches;
        let answer = h.join(join);
        assert_eq!((answer.error, answer.generation_id), (ErrorCode::None, 1));
        assert!(answer.member_id.starts_with("two-") && answer.member_id != ids[1]);
        assert_eq!((&answer.leader, answer.skip_assignment), (&ids[0], false));
        assert_eq!(answer.members, []);
        assert_eq!(h.state(), "Stable");
        assert_eq!(h.batches, before + 1);
        let sync = h.sync(sync(&answer.member_id, 1, vec![]));
        assert_eq!(sync.assignment, assignment(&ids[1]));
        assert_eq!(h.heartbeat(&ids[1], 1), ErrorCode::UnknownMemberId);
        assert_eq!(h.heartbeat(&answer.member_id, 1), ErrorCode::None);
        assert_eq!(h.heartbeat(&ids[0], 1), ErrorCode::None);
    }
}

#[test]
fn a_leader_that_comes_back_leads_but_does_not_assign() {
    let mut h = Harness::new();
    pair(&mut h);
    let answer = h.join(join_static("", "one"));
    assert_eq!(answer.leader, answer.member_id);
    assert!(answer.skip_assignment);
    assert_eq!(answer.members.len(), 2);
    // Before version 9 it can only be told that somebody else leads.
    let before = answer.member_id;
    let answer = h.join(old(join_static("", "one")));
    assert_eq!(answer.leader, before);
    assert!(!answer.skip_assignment);
    assert_eq!(answer.members, []);
    assert_eq!(last_group(&h).leader, Some(answer.member_id.clone()));
    // It does lead: when it joins again, the group rebalances.
    let token = h.send(Command::Join(join_static(&answer.member_id, "one")));
    assert!(h.is_waiting(token));
}

#[test]
fn its_new_id_outlives_a_failover_and_the_old_one_is_fenced() {
    // KAFKA-8225, KAFKA-10284.
    let mut h = Harness::new();
    let ids = pair(&mut h);
    let new = h.join(join_static("", "two")).member_id;
    let value = last_group(&h);
    assert_eq!((value.generation, value.members.len()), (1, 2));
    h.fail_over();
    for (command, fenced) in [
        (Command::Join(join_static(&ids[1], "two")), true),
        (Command::Join(join_static(&new, "two")), false),
        (
            Command::Sync(Sync {
                group_instance_id: Some("two".into()),
                ..sync(&ids[1], 1, vec![])
            }),
            true,
        ),
        (
            Command::Sync(Sync {
                group_instance_id: Some("two".into()),
                ..sync(&new, 1, vec![])
            }),
            false,
        ),
        (
            Command::Commit(Commit {
                group_instance_id: Some("two".into()),
                ..commit_of(&ids[1], 1, "topic", 1)
            }),
            true,
        ),
        (
            Command::Commit(Commit {
                group_instance_id: Some("two".into()),
                ..commit_of(&new, 1, "topic", 1)
            }),
            false,
        ),
        (
            Command::Heartbeat(Heartbeat {
                group_id: GROUP.into(),
                generation_id: 1,
                member_id: ids[1].clone(),
                group_instance_id: Some("two".into()),
            }),
            true,
        ),
    ] {
        let error = match h.ask(command.clone()) {
            Answer::Join(answer) => answer.error,
            Answer::Sync(answer) => answer.error,
            Answer::Commit(answer) => answer.errors[0],
            Answer::Heartbeat(error) => error,
            other => panic!("{other:?}"),
        };
        let expected = if fenced {
            ErrorCode::FencedInstanceId
        } else {
            ErrorCode::None
        };
        assert_eq!(error, expected, "{command:?}");
    }
    assert_eq!(
        h.leave_all(vec![leaving(&ids[1], Some("two"))]),
        [ErrorCode::FencedInstanceId]
    );
    assert_eq!(
        h.leave_all(vec![leaving(&ids[1], Some("nobody"))]),
        [ErrorCode::UnknownMemberId]
    );
}

#[test]
fn a_new_id_that_cannot_be_written_is_taken_back() {
    let mut h = Harness::new();
    let ids = pair(&mut h);
    let before = h.describe();
    h.fails = Some(ErrorCode::NotEnoughReplicas);
    let answer = h.join(join_static("", "two"));
    assert_eq!(
        (answer.error, &*answer.member_id),
        (ErrorCode::CoordinatorNotAvailable, "")
    );
    h.fails = None;
    assert_eq!(h.describe(), before);
    assert_eq!(h.heartbeat(&ids[1], 1), ErrorCode::None);
    h.advance(9_999);
    assert_eq!(h.heartbeat(&ids[0], 1), ErrorCode::None);
    h.advance(1);
    assert_eq!(h.heartbeat(&ids[1], 1), ErrorCode::UnknownMemberId);
}

#[test]
fn what_comes_with_a_new_id_that_cannot_be_written_is_taken_back_too() {
    let mut h = Harness::new();
    let both = |instance| offering(&["a", "b"], join_static("", instance));
    h.stable_with(vec![both("one"), both("two")]);
    h.fails = Some(ErrorCode::NotEnoughReplicas);
    let answer = h.join(offering(&["a"], join_static("", "two")));
    assert_eq!(answer.error, ErrorCode::CoordinatorNotAvailable);
    h.fails = None;
    // Both still offer what a third one knows alone.
    let third = h.join(offering(&["b"], join_9("")));
    assert_eq!(third.error, ErrorCode::MemberIdRequired);
}

#[test]
fn a_member_that_comes_back_with_other_protocols_begins_a_rebalance_only_if_the_choice_changes() {
    let two = |protocols: &[&'static str]| offering(protocols, join_static("", "two"));
    for (protocols, rebalances) in [(&["a", "b"][..], false), (&["b", "a"], false), (&["b"], true)] {
        let mut h = Harness::new();
        h.stable_with(vec![
            offering(&["a", "b"], join_static("", "one")),
            two(&["a", "b"]),
        ]);
        assert_eq!(h.describe().protocol, "a");
        let token = h.send(Command::Join(two(protocols)));
        assert_eq!(h.is_waiting(token), rebalances, "{protocols:?}");
        assert_eq!(h.state() == "PreparingRebalance", rebalances);
        if !rebalances {
            // All that it offers is known, not only what the log has.
            assert_eq!(
                h.join(offering(&["b"], join_9(""))).error,
                ErrorCode::MemberIdRequired
            );
        }
    }
}

#[test]
fn in_the_join_phase_it_takes_the_place_of_its_former_self() {
    let mut h = Harness::new();
    let ids = pair(&mut h);
    let former = h.send(Command::Join(join_static(&ids[0], "one")));
    assert!(h.is_waiting(former));
    let token = h.send(Command::Join(join_static("", "one")));
    let fenced = h.joined(former);
    assert_eq!(
        (fenced.error, &fenced.member_id),
        (ErrorCode::FencedInstanceId, &ids[0])
    );
    let other = h.send(Command::Join(join_static(&ids[1], "two")));
    let answer = h.joined(token);
    assert_eq!(answer.leader, answer.member_id);
    assert_eq!(answer.members.len(), 2);
    assert_eq!(h.joined(other).error, ErrorCode::None);
}

/// A copy of the group for each of them took minutes.
#[test]
fn thousands_that_come_back_at_once_cost_no_more_than_themselves() {
    const MEMBERS: usize = 10_000;
    let mut h = Harness::new();
    let comes = |number: usize| Join {
        group_instance_id: Some(Text::from(format!("instance {number}"))),
        ..join("")
    };
    let ids = h.stable_with((0..MEMBERS).map(comes).collect());
    assert_eq!(ids.len(), MEMBERS);
    h.send(Command::Join(join("")));
    assert_eq!(h.state(), "PreparingRebalance");
    let begun = Instant::now();
    let tokens: Vec<_> = (0..MEMBERS)
        .map(|number| h.send(Command::Join(comes(number))))
        .collect();
    let took = begun.elapsed();
    for token in tokens {
        assert_eq!(h.joined(token).error, ErrorCode::None);
    }
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn while_the_assignment_is_awaited_it_begins_a_rebalance() {
    // KAFKA-9752, KAFKA-14422: the leader has been told of the old id.
    let mut h = Harness::new();
    let ids = pair(&mut h);
    let tokens =
        [(0, "one"), (1, "two")].map(|(at, instance)| h.send(Command::Join(join_static(&ids[at], instance))));
    let generation = tokens.map(|token| h.joined(token).generation_id)[0];
    let former = h.send(Command::Sync(sync(&ids[1], generation, vec![])));
    let token = h.send(Command::Join(join_static("", "two")));
    assert_eq!(h.synced(former).error, ErrorCode::FencedInstanceId);
    assert!(h.is_waiting(token));
    assert_eq!(h.state(), "PreparingRebalance");
    assert_eq!(
        h.sync(sync(&ids[0], generation, assignments(&ids))).error,
        ErrorCode::RebalanceInProgress
    );
    h.send(Command::Join(join_static(&ids[0], "one")));
    assert_eq!(h.joined(token).generation_id, generation + 1);
}

#[test]
fn a_member_that_came_back_must_still_ask_for_its_assignment() {
    let mut h = Harness::new();
    let long = |member_id: &str, instance| Join {
        session_timeout_ms: 600_000,
        ..join_static(member_id, instance)
    };
    let tokens = [
        h.send(Command::Join(long("", "one"))),
        h.send(Command::Join(long("", "two"))),
    ];
    h.advance(7_000);
    let ids = tokens.map(|token| h.joined(token).member_id);
    h.sync(sync(&ids[0], 1, vec![]));
    assert_eq!(h.state(), "Stable");
    // The second one crashes before its SyncGroup, comes back, and is gone again.
    let new = h.join(long("", "two")).member_id;
    h.advance(60_000);
    assert_eq!(h.state(), "PreparingRebalance");
    assert_eq!(h.heartbeat(&new, 1), ErrorCode::UnknownMemberId);
    assert_eq!(h.heartbeat(&ids[0], 1), ErrorCode::RebalanceInProgress);
}

#[test]
fn a_static_member_is_kept_over_a_rebalance_that_it_misses() {
    let mut h = Harness::new();
    let long = |member_id: &str, instance| Join {
        session_timeout_ms: 600_000,
        ..join_static(member_id, instance)
    };
    let ids = h.stable_with(vec![long("", "one"), long("", "two")]);
    let token = h.send(Command::Join(long(&ids[0], "one")));
    h.advance(60_000);
    let answer = h.joined(token);
    assert_eq!((answer.generation_id, answer.members.len()), (2, 2));
    assert_eq!(h.describe().members.len(), 2);
}

#[test]
fn when_no_static_member_comes_the_join_phase_goes_on_until_their_sessions_end() {
    let mut h = Harness::new();
    let long = |member_id: &str, instance| Join {
        session_timeout_ms: 100_000,
        ..join_static(member_id, instance)
    };
    let ids = h.stable_with(vec![long("", "one"), long("", "two"), long("", "three")]);
    assert_eq!(h.leave_all(vec![leaving("", Some("three"))]), [ErrorCode::None]);
    h.advance(60_000);
    assert_eq!(h.state(), "PreparingRebalance");
    assert_eq!(h.describe().members.len(), 2);
    h.advance(40_000);
    let described = h.describe();
    assert_eq!(
        (described.state, described.members.len()),
        ("Empty", 0),
        "{ids:?}"
    );
    assert_eq!(h.timers.len(), 0);
}

#[test]
fn another_member_leads_when_the_static_leader_is_missing() {
    // JoinGroup v2 leader plus a static member: the leader that is told of is one that has joined.
    let mut h = Harness::new();
    let long = |member_id: &str, instance| Join {
        session_timeout_ms: 600_000,
        ..join_static(member_id, instance)
    };
    let ids = h.stable_with(vec![
        long("", "one"),
        Join {
            session_timeout_ms: 600_000,
            ..join("")
        },
    ]);
    let news = Join {
        protocols: vec![("range".into(), subscription(&["news"]))],
        session_timeout_ms: 600_000,
        ..join(&ids[1])
    };
    let token = h.send(Command::Join(news));
    h.advance(60_000);
    let answer = h.joined(token);
    assert_eq!(answer.leader, ids[1]);
    assert_eq!(answer.members.len(), 2);
    let sync = h.sync(sync(&ids[1], 2, assignments(&ids)));
    assert_eq!(sync.assignment, assignment(&ids[1]));
}

#[test]
fn the_session_of_a_member_that_came_back_ends_as_any_other() {
    let mut h = Harness::new();
    let ids = pair(&mut h);
    h.advance(5_000);
    let new = h.join(join_static("", "two")).member_id;
    h.advance(4_999);
    assert_eq!(h.heartbeat(&ids[0], 1), ErrorCode::None);
    h.advance(5_000);
    assert_eq!(h.describe().members.len(), 2);
    h.advance(1);
    assert_eq!(h.heartbeat(&new, 1), ErrorCode::UnknownMemberId);
    assert_eq!(h.state(), "PreparingRebalance");
}
