//! The rebalance: its phases, its timers, and who is lost on the way.

use bytes::Bytes;

use crate::base::error_code::ErrorCode;
use crate::coordinator::{Producer, Shard};
use crate::group::command::*;
use crate::group::record::{GroupValue, RecordKey};
use crate::group::settings::GroupSettings;
use crate::group::testing::*;
use crate::wire::text::Text;

/// The leader begins a rebalance and everybody joins; the group awaits the assignment.
fn completing(h: &mut Harness, ids: &[Text]) -> i32 {
    let tokens: Vec<_> = ids.iter().map(|id| h.send(Command::Join(join(id)))).collect();
    let answers: Vec<_> = tokens.into_iter().map(|token| h.joined(token)).collect();
    assert_eq!(h.state(), "CompletingRebalance");
    answers[0].generation_id
}

#[test]
fn the_first_rebalance_waits_for_others_to_come() {
    // When members join, and when the group forms: (delay, rebalance timeout, joins, formed at).
    for (delay_ms, rebalance_timeout_ms, joins, formed_ms) in [
        (3_000, 60_000, &[0][..], 3_000),
        (3_000, 60_000, &[0, 1_000], 6_000),
        (3_000, 60_000, &[0, 2_999, 5_999, 8_999], 12_000),
        (3_000, 8_000, &[0, 2_999, 5_999, 7_999], 8_000),
        (3_000, 3_000, &[0, 1_000], 3_000),
        (3_000, 1_000, &[0, 1_000], 3_000),
        (0, 60_000, &[0], 0),
    ] {
        let mut h = Harness::with(GroupSettings {
            initial_rebalance_delay_ms: delay_ms,
            ..GroupSettings::default()
        });
        let began_ms = h.now_ms;
        let mut tokens = Vec::new();
        for at in joins.iter().filter(|at| **at < formed_ms || formed_ms == 0) {
            h.advance(began_ms + at - h.now_ms);
            tokens.push(h.send(Command::Join(Join {
                rebalance_timeout_ms,
                ..join("")
            })));
        }
        if formed_ms > 0 {
            h.advance(began_ms + formed_ms - h.now_ms - 1);
            assert!(
                tokens.iter().all(|token| h.is_waiting(*token)),
                "{delay_ms} {rebalance_timeout_ms} {joins:?}"
            );
            h.advance(1);
        }
        for token in tokens {
            assert_eq!(
                h.joined(token).error,
                ErrorCode::None,
                "{delay_ms} {rebalance_timeout_ms} {joins:?}"
            );
        }
    }
}

#[test]
fn a_group_that_was_there_before_waits_only_once() {
    let mut h = Harness::new();
    let ids = h.stable(1);
    h.leave(&ids[0]);
    let token = h.send(Command::Join(join("")));
    h.advance(1_000);
    h.send(Command::Join(join("")));
    h.advance(2_000);
    assert_eq!(h.joined(token).generation_id, 3);
}

#[test]
fn the_join_phase_ends_when_all_have_joined() {
    let mut h = Harness::new();
    let ids = h.stable(3);
    let first = h.send(Command::Join(join(&ids[0])));
    assert_eq!(h.heartbeat(&ids[1], 1), ErrorCode::RebalanceInProgress);
    let second = h.send(Command::Join(join(&ids[1])));
    assert!(h.is_waiting(first) && h.is_waiting(second));
    let third = h.send(Command::Join(join(&ids[2])));
    for token in [first, second, third] {
        let answer = h.joined(token);
        assert_eq!((answer.error, answer.generation_id), (ErrorCode::None, 2));
        assert_eq!(answer.leader, ids[0]);
    }
}

#[test]
fn the_join_phase_waits_for_ids_that_were_handed_out() {
    let mut h = Harness::new();
    let ids = h.stable(1);
    let pending = h.join(join_9("")).member_id;
    let token = h.send(Command::Join(join(&ids[0])));
    assert!(h.is_waiting(token));
    let newcomer = h.send(Command::Join(join_9(&pending)));
    assert_eq!(h.joined(token).members.len(), 2);
    assert_eq!(h.joined(newcomer).error, ErrorCode::None);

    // One that never comes holds it up for as long as it may live.
    h.send(Command::Sync(sync(&ids[0], 2, vec![])));
    h.join(join_9(""));
    let tokens = [&ids[0], &pending].map(|id| h.send(Command::Join(join(id))));
    h.advance(9_999);
    assert!(tokens.iter().all(|token| h.is_waiting(*token)));
    h.advance(1);
    assert_eq!(h.joined(tokens[0]).generation_id, 3);
}

#[test]
fn whoever_does_not_join_in_time_is_removed() {
    let mut h = Harness::new();
    let long = |member_id: &str| Join {
        session_timeout_ms: 600_000,
        ..join(member_id)
    };
    let ids = h.stable_with(vec![long(""), long(""), long("")]);
    let token = h.send(Command::Join(long(&ids[1])));
    assert!(!h.is_waiting(token), "it has no news");
    // The leader does not join again, so another one leads.
    let news = |id: &Text| Join {
        protocols: vec![("range".into(), subscription(&["news"]))],
        ..long(id)
    };
    let token = h.send(Command::Join(news(&ids[1])));
    h.advance(59_999);
    assert!(h.is_waiting(token));
    h.advance(1);
    let answer = h.joined(token);
    assert_eq!((answer.generation_id, answer.leader), (2, ids[1].clone()));
    assert_eq!(answer.members.len(), 1);
    assert_eq!(h.heartbeat(&ids[0], 2), ErrorCode::UnknownMemberId);
    assert!(
        h.timers
            .keys()
            .all(|timer| !format!("{timer:?}").contains(&*ids[0]))
    );
}

#[test]
fn the_longest_rebalance_timeout_counts() {
    let mut h = Harness::new();
    let with = |rebalance_timeout_ms| Join {
        rebalance_timeout_ms,
        session_timeout_ms: 600_000,
        ..join("")
    };
    let ids = h.stable_with(vec![with(70_000), with(90_000), with(i32::MAX)]);
    h.leave(&ids[2]);
    let token = h.send(Command::Join(Join {
        member_id: ids[0].clone(),
        ..with(70_000)
    }));
    h.advance(89_999);
    assert!(h.is_waiting(token));
    h.advance(1);
    assert_eq!(h.joined(token).error, ErrorCode::None);
}

#[test]
fn a_silent_member_is_removed_and_the_others_share_what_it_had() {
    let mut h = Harness::new();
    let ids = h.stable(2);
    h.advance(6_000);
    assert_eq!(h.heartbeat(&ids[0], 1), ErrorCode::None);
    h.advance(4_000);
    assert_eq!(h.state(), "PreparingRebalance");
    assert_eq!(h.heartbeat(&ids[0], 1), ErrorCode::RebalanceInProgress);
    assert_eq!(h.heartbeat(&ids[1], 1), ErrorCode::UnknownMemberId);
    let token = h.send(Command::Join(join(&ids[0])));
    assert_eq!(h.joined(token).members.len(), 1);
}

#[test]
fn heartbeats_keep_a_member_alive_in_every_state() {
    let mut h = Harness::new();
    let ids = h.stable(2);
    for _ in 0..3 {
        h.advance(9_000);
        for id in &ids {
            assert_eq!(h.heartbeat(id, 1), ErrorCode::None);
        }
    }
    let token = h.send(Command::Join(join(&ids[0])));
    for _ in 0..3 {
        h.advance(9_000);
        assert_eq!(h.heartbeat(&ids[1], 1), ErrorCode::RebalanceInProgress);
    }
    h.send(Command::Join(join(&ids[1])));
    assert_eq!(h.joined(token).generation_id, 2);
    for _ in 0..3 {
        h.advance(9_000);
        for id in &ids {
            assert_eq!(h.heartbeat(id, 2), ErrorCode::None);
        }
    }
    assert_eq!(h.describe().members.len(), 2);
}

#[test]
fn heartbeats_are_checked() {
    let mut h = Harness::new();
    let nobody = "nobody".into();
    assert_eq!(h.heartbeat(&nobody, 1), ErrorCode::UnknownMemberId);
    let ids = h.stable(1);
    assert_eq!(h.heartbeat(&nobody, 1), ErrorCode::UnknownMemberId);
    assert_eq!(h.heartbeat(&ids[0], 0), ErrorCode::IllegalGeneration);
    assert_eq!(h.heartbeat(&ids[0], 2), ErrorCode::IllegalGeneration);
    h.leave(&ids[0]);
    assert_eq!(h.heartbeat(&ids[0], 1), ErrorCode::UnknownMemberId);
}

#[test]
fn whoever_waits_for_an_answer_is_not_silent() {
    let mut h = Harness::new();
    let ids = h.stable(2);
    // Its session ends while it waits for the other one, who gives signs of life.
    let token = h.send(Command::Join(join(&ids[0])));
    for _ in 0..4 {
        h.advance(9_000);
        assert_eq!(h.heartbeat(&ids[1], 1), ErrorCode::RebalanceInProgress);
    }
    assert!(h.is_waiting(token));
    h.send(Command::Join(join(&ids[1])));
    assert_eq!(h.joined(token).members.len(), 2);
    // And while it waits for the leader's assignment.
    let token = h.send(Command::Sync(sync(&ids[1], 2, vec![])));
    for _ in 0..4 {
        h.advance(9_000);
        assert_eq!(h.heartbeat(&ids[0], 2), ErrorCode::None);
    }
    assert!(h.is_waiting(token));
    h.send(Command::Sync(sync(&ids[0], 2, assignments(&ids))));
    assert_eq!(h.synced(token).assignment, assignment(&ids[1]));
    // From then on it must give signs of life again.
    h.advance(9_999);
    assert_eq!(h.heartbeat(&ids[0], 2), ErrorCode::None);
    h.advance(1);
    assert_eq!(h.heartbeat(&ids[1], 2), ErrorCode::UnknownMemberId);
}

#[test]
fn a_new_member_waits_for_five_minutes_at_most() {
    let mut h = Harness::new();
    let patient = |member_id: &str| Join {
        rebalance_timeout_ms: 3_600_000,
        session_timeout_ms: 1_800_000,
        ..join(member_id)
    };
    let ids = h.stable_with(vec![patient("")]);
    let newcomer = h.send(Command::Join(join("")));
    h.advance(299_999);
    assert!(h.is_waiting(newcomer));
    h.advance(1);
    let answer = h.joined(newcomer);
    assert_eq!(
        (answer.error, &*answer.member_id),
        (ErrorCode::UnknownMemberId, "")
    );
    let token = h.send(Command::Join(patient(&ids[0])));
    assert_eq!(h.joined(token).members.len(), 1);
}

#[test]
fn the_leaders_assignment_reaches_everybody_once_it_is_written() {
    let mut h = Harness::new();
    let ids = h.stable(3);
    let generation = completing(&mut h, &ids);
    let waiting = h.send(Command::Sync(sync(&ids[1], generation, vec![])));
    assert!(h.is_waiting(waiting));
    let written = h.batches;
    let parts = vec![
        (ids[0].clone(), Bytes::from_static(b"a")),
        (ids[1].clone(), Bytes::from_static(b"b")),
        ("nobody".into(), Bytes::from_static(b"x")),
    ];
    let leader = h.sync(sync(&ids[0], generation, parts));
    assert_eq!(h.batches, written + 1);
    assert_eq!(leader.assignment, "a");
    assert_eq!(
        (leader.protocol_type, leader.protocol_name),
        (Some("consumer".into()), Some("range".into()))
    );
    assert_eq!(h.synced(waiting).assignment, "b");
    assert_eq!(h.state(), "Stable");
    // Whom the leader does not name gets nothing; who asks late gets what there is.
    assert_eq!(h.sync(sync(&ids[2], generation, vec![])).assignment, "");
    assert_eq!(h.sync(sync(&ids[1], generation, vec![])).assignment, "b");
    assert_eq!(h.batches, written + 1);
}

#[test]
fn the_record_of_a_generation_is_as_kafka_writes_it() {
    let mut h = Harness::new();
    let token = h.send(Command::Join(join("")));
    h.advance(3_000);
    let completing_ms = h.now_ms;
    let id = h.joined(token).member_id;
    h.advance(500);
    h.sync(sync(&id, 1, assignments(std::slice::from_ref(&id))));
    let batch = h.last_batch();
    let [(record, producer)] = &batch[..] else {
        panic!("{batch:?}")
    };
    assert_eq!(*producer, Producer::default());
    assert_eq!(
        RecordKey::decode(&record.key),
        Ok(Some(RecordKey::Group {
            group_id: GROUP.into()
        }))
    );
    let value = GroupValue::decode(record.value.as_ref().unwrap()).unwrap();
    assert_eq!(value.current_state_timestamp_ms, completing_ms);
    assert_eq!(
        (value.generation, &value.leader, &value.protocol),
        (1, &Some(id.clone()), &Some("range".into()))
    );
    let member = &value.members[0];
    assert_eq!(
        (&member.member_id, &*member.client_id, &*member.client_host),
        (&id, "client", "/127.0.0.1")
    );
    assert_eq!(
        (member.session_timeout_ms, member.rebalance_timeout_ms),
        (10_000, 60_000)
    );
    assert_eq!(
        (&member.subscription, &member.assignment),
        (&subscription(&["topic"]), &assignment(&id))
    );

    h.leave(&id);
    let value = GroupValue::decode(h.last_batch()[0].0.value.as_ref().unwrap()).unwrap();
    assert_eq!(value.current_state_timestamp_ms, h.now_ms);
    assert_eq!((value.generation, value.leader, value.protocol), (2, None, None));
    assert_eq!((&*value.protocol_type, &value.members[..]), ("consumer", &[][..]));
}

#[test]
fn an_assignment_that_cannot_be_written_begins_a_rebalance() {
    for (refusal, told) in [
        (ErrorCode::NotEnoughReplicas, ErrorCode::CoordinatorNotAvailable),
        (ErrorCode::NotLeaderOrFollower, ErrorCode::NotCoordinator),
        (ErrorCode::KafkaStorageError, ErrorCode::NotCoordinator),
        (ErrorCode::RequestTimedOut, ErrorCode::RebalanceInProgress),
        (ErrorCode::MessageTooLarge, ErrorCode::UnknownServerError),
    ] {
        let mut h = Harness::new();
        let ids = h.stable(2);
        let generation = completing(&mut h, &ids);
        let waiting = h.send(Command::Sync(sync(&ids[1], generation, vec![])));
        h.fails = Some(refusal);
        let answer = h.sync(sync(&ids[0], generation, assignments(&ids)));
        assert_eq!(answer, SyncAnswer::error(told));
        assert_eq!(h.synced(waiting), SyncAnswer::error(told));
        assert_eq!(h.state(), "PreparingRebalance");
        h.fails = None;
        assert_eq!(completing(&mut h, &ids), generation + 1);
    }
}

#[test]
fn an_assignment_that_is_not_replicated_in_time_is_taken_back_from_its_members() {
    let success = Answer::Sync(SyncAnswer {
        error: ErrorCode::None,
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignment: Bytes::from_static(b"a"),
    });
    let told = crate::group::GroupShard::not_replicated(success, ErrorCode::RequestTimedOut);
    assert_eq!(
        told,
        Answer::Sync(SyncAnswer::error(ErrorCode::RebalanceInProgress))
    );
    let refusal = Answer::Sync(SyncAnswer::error(ErrorCode::UnknownMemberId));
    let told = crate::group::GroupShard::not_replicated(refusal.clone(), ErrorCode::RequestTimedOut);
    assert_eq!(told, refusal);
}

#[test]
fn time_in_which_nobody_could_be_heard_is_nobodys_silence() {
    let mut h = Harness::new();
    let ids = h.stable(2);
    h.advance(9_000);
    h.resume();
    h.advance(9_000);
    assert_eq!(h.state(), "Stable");
    assert_eq!(h.heartbeat(&ids[0], 1), ErrorCode::None);
    h.advance(2_000);
    assert_eq!(h.state(), "PreparingRebalance", "the other one is silent");
    // The join phase of a minute begins anew too.
    let first = h.send(Command::Join(join(&ids[0])));
    let generation = h.joined(first).generation_id;
    let newcomer = h.send(Command::Join(join("")));
    h.advance(9_000);
    assert_eq!(h.heartbeat(&ids[0], generation), ErrorCode::RebalanceInProgress);
    h.advance(9_000);
    assert_eq!(h.heartbeat(&ids[0], generation), ErrorCode::RebalanceInProgress);
    for _ in 0..5 {
        h.advance(8_000);
        assert_eq!(h.heartbeat(&ids[0], generation), ErrorCode::RebalanceInProgress);
    }
    h.resume();
    h.advance(8_000);
    assert!(
        h.is_waiting(newcomer),
        "a minute is over, but not of those that count"
    );
    assert_eq!(h.heartbeat(&ids[0], generation), ErrorCode::RebalanceInProgress);
    // And that of the SyncGroups.
    h.send(Command::Join(join(&ids[0])));
    let joined = h.joined(newcomer);
    let (generation, both) = (joined.generation_id, [ids[0].clone(), joined.member_id]);
    let beats = |h: &mut Harness, times: usize| {
        for _ in 0..times {
            h.advance(8_000);
            for id in &both {
                h.heartbeat(id, generation);
            }
        }
    };
    beats(&mut h, 7);
    h.resume();
    beats(&mut h, 1);
    assert_eq!(h.state(), "CompletingRebalance");
    assert_eq!(h.heartbeat(&ids[0], generation), ErrorCode::None);
}

#[test]
fn sync_groups_are_checked() {
    let mut h = Harness::new();
    assert_eq!(
        h.sync(sync(&"m".into(), 1, vec![])).error,
        ErrorCode::UnknownMemberId
    );
    let ids = h.stable(2);
    let good = sync(&ids[1], 1, vec![]);
    for (bad, error) in [
        (
            Sync {
                member_id: "nobody".into(),
                ..good.clone()
            },
            ErrorCode::UnknownMemberId,
        ),
        (
            Sync {
                generation_id: 2,
                ..good.clone()
            },
            ErrorCode::IllegalGeneration,
        ),
        (
            Sync {
                protocol_type: Some("connect".into()),
                ..good.clone()
            },
            ErrorCode::InconsistentGroupProtocol,
        ),
        (
            Sync {
                protocol_name: Some("sticky".into()),
                ..good.clone()
            },
            ErrorCode::InconsistentGroupProtocol,
        ),
        (
            Sync {
                group_instance_id: Some("i".into()),
                ..good.clone()
            },
            ErrorCode::UnknownMemberId,
        ),
        (
            Sync {
                protocol_type: Some("consumer".into()),
                protocol_name: Some("range".into()),
                ..good.clone()
            },
            ErrorCode::None,
        ),
    ] {
        assert_eq!(h.sync(bad.clone()).error, error, "{bad:?}");
    }
    h.send(Command::Join(join(&ids[0])));
    assert_eq!(h.sync(good).error, ErrorCode::RebalanceInProgress);
}

#[test]
fn whoever_does_not_ask_for_its_assignment_is_removed() {
    // KAFKA-12890: the leader never syncs; a follower never syncs.
    for silent in [0, 1] {
        let mut h = Harness::new();
        let ids = h.stable(2);
        let generation = completing(&mut h, &ids);
        let other = &ids[1 - silent];
        let token = h.send(Command::Sync(sync(other, generation, vec![])));
        for at in (0..60_000).step_by(5_000) {
            for id in &ids {
                assert_eq!(h.heartbeat(id, generation), ErrorCode::None, "{at}");
            }
            h.advance(if at == 55_000 { 4_999 } else { 5_000 });
        }
        assert_eq!(h.describe().members.len(), 2);
        h.advance(1);
        assert_eq!(h.state(), "PreparingRebalance");
        assert_eq!(h.heartbeat(&ids[silent], generation), ErrorCode::UnknownMemberId);
        let error = if silent == 0 {
            ErrorCode::RebalanceInProgress
        } else {
            ErrorCode::None
        };
        assert_eq!(h.synced(token).error, error);
        let token = h.send(Command::Join(join(other)));
        assert_eq!(h.joined(token).leader, *other);
    }
}

#[test]
fn when_nobody_asks_for_an_assignment_the_group_is_empty() {
    let mut h = Harness::new();
    let long = |member_id: &str| Join {
        session_timeout_ms: 600_000,
        ..join(member_id)
    };
    let ids = h.stable_with(vec![long("")]);
    h.send(Command::Join(long(&ids[0])));
    h.advance(60_000);
    let described = h.describe();
    assert_eq!((described.state, described.members.len()), ("Empty", 0));
    assert_eq!(h.timers.len(), 0);
}

#[test]
fn a_member_that_leaves_while_others_sync_makes_them_join_again() {
    let mut h = Harness::new();
    let ids = h.stable(3);
    let generation = completing(&mut h, &ids);
    let waiting = h.send(Command::Sync(sync(&ids[1], generation, vec![])));
    let leaves = h.send(Command::Sync(sync(&ids[2], generation, vec![])));
    assert_eq!(h.leave(&ids[2]), ErrorCode::None);
    assert_eq!(h.synced(waiting).error, ErrorCode::RebalanceInProgress);
    assert_eq!(h.synced(leaves).error, ErrorCode::UnknownMemberId);
    assert_eq!(h.state(), "PreparingRebalance");
    assert_eq!(completing(&mut h, &ids[..2]), generation + 1);
}

#[test]
fn a_member_that_leaves_while_others_join_is_not_waited_for() {
    let mut h = Harness::new();
    let ids = h.stable(3);
    let first = h.send(Command::Join(join(&ids[0])));
    let second = h.send(Command::Join(join(&ids[1])));
    assert!(h.is_waiting(first));
    assert_eq!(h.leave(&ids[1]), ErrorCode::None);
    let gone = h.joined(second);
    assert_eq!((gone.error, &*gone.member_id), (ErrorCode::UnknownMemberId, ""));
    assert_eq!(h.leave(&ids[2]), ErrorCode::None);
    assert_eq!(h.joined(first).members.len(), 1);
}

#[test]
fn when_the_leader_leaves_another_one_leads() {
    let mut h = Harness::new();
    let ids = h.stable(3);
    h.leave(&ids[0]);
    let tokens: Vec<_> = ids[1..]
        .iter()
        .map(|id| h.send(Command::Join(join(id))))
        .collect();
    let leaders: Vec<_> = tokens.into_iter().map(|token| h.joined(token).leader).collect();
    assert_eq!(leaders[0], leaders[1]);
    assert!(ids[1..].contains(&leaders[0]));
}

#[test]
fn members_that_leave_have_errors_of_their_own() {
    let mut h = Harness::new();
    assert_eq!(h.leave(&"m".into()), ErrorCode::UnknownMemberId);
    let ids = h.stable_with(vec![join(""), join_static("", "one"), join_static("", "two")]);
    let errors = h.leave_all(vec![
        leaving("", None),
        leaving("", Some("three")),
        leaving("nobody", None),
        leaving(&ids[0], Some("one")),
        leaving("", Some("one")),
        leaving("", Some("one")),
        leaving(&ids[0], None),
        leaving(&ids[2], Some("two")),
    ]);
    use ErrorCode::{FencedInstanceId as Fenced, UnknownMemberId as Unknown};
    let ok = ErrorCode::None;
    assert_eq!(errors, [Unknown, Unknown, Unknown, Fenced, ok, Unknown, ok, ok]);
    assert_eq!(h.state(), "Empty");
    assert_eq!(h.batches, 2);
    assert_eq!(h.timers.len(), 0);
}

#[test]
fn a_group_is_empty_even_if_that_cannot_be_written() {
    let mut h = Harness::new();
    let ids = h.stable(1);
    h.fails = Some(ErrorCode::NotEnoughReplicas);
    assert_eq!(h.leave(&ids[0]), ErrorCode::None);
    assert_eq!(h.state(), "Empty");
    h.fails = None;
    let token = h.send(Command::Join(join("")));
    h.advance(3_000);
    assert_eq!(h.joined(token).generation_id, 3);
    // Had the broker failed, the member would be back, and its session would end.
    h.log.truncate(1);
    h.fail_over();
    assert_eq!(h.state(), "Stable");
    h.advance(10_000);
    assert_eq!(h.state(), "Empty");
}

#[test]
fn a_stable_group_goes_on_after_a_failover() {
    let mut h = Harness::new();
    let ids = h.stable(2);
    let before = h.describe();
    h.fail_over();
    assert_eq!(h.describe(), before);
    assert_eq!(h.heartbeat(&ids[0], 1), ErrorCode::None);
    assert_eq!(h.sync(sync(&ids[1], 1, vec![])).assignment, assignment(&ids[1]));
    assert_eq!(h.join(join(&ids[1])).error, ErrorCode::None);
    // Timers begin at their full length.
    h.advance(9_999);
    assert_eq!(h.state(), "Stable");
    h.advance(1);
    assert_eq!(h.state(), "Empty");
}

#[test]
fn a_rebalance_that_a_failover_interrupts_begins_anew() {
    let mut h = Harness::new();
    let ids = h.stable(2);
    let generation = completing(&mut h, &ids);
    h.fail_over();
    assert_eq!(h.state(), "Stable");
    assert_eq!(
        h.sync(sync(&ids[0], generation, vec![])).error,
        ErrorCode::IllegalGeneration
    );
    assert_eq!(completing(&mut h, &ids), generation);
}

#[test]
fn clients_that_wait_in_a_shard_that_goes_away_are_told() {
    let mut h = Harness::new();
    let ids = h.stable(2);
    let joins = h.send(Command::Join(join(&ids[0])));
    let answers = h.shard.unload();
    assert_eq!(
        answers,
        [(
            joins,
            Answer::Join(JoinAnswer::error(ErrorCode::NotCoordinator, ids[0].clone()))
        )]
    );
    assert_eq!(h.shard.unload(), []);
    let mut h = Harness::new();
    let ids = h.stable(2);
    completing(&mut h, &ids);
    let syncs = h.send(Command::Sync(sync(&ids[1], 2, vec![])));
    assert_eq!(
        h.shard.unload(),
        [(syncs, Answer::Sync(SyncAnswer::error(ErrorCode::NotCoordinator)))]
    );
}

#[test]
fn what_a_shard_that_is_not_here_answers() {
    use ErrorCode::{CoordinatorLoadInProgress as Loading, NotCoordinator};
    let unavailable = |command: &Command, error| crate::group::GroupShard::unavailable(command, error);
    let command = Command::Sync(sync(&"m".into(), 1, vec![]));
    assert_eq!(
        unavailable(&command, Loading),
        Answer::Sync(SyncAnswer::error(ErrorCode::RebalanceInProgress))
    );
    assert_eq!(
        unavailable(&command, NotCoordinator),
        Answer::Sync(SyncAnswer::error(NotCoordinator))
    );
    let command = Command::Heartbeat(Heartbeat {
        group_id: GROUP.into(),
        generation_id: 1,
        member_id: "m".into(),
        group_instance_id: None,
    });
    assert_eq!(unavailable(&command, Loading), Answer::Heartbeat(ErrorCode::None));
    assert_eq!(
        unavailable(&command, NotCoordinator),
        Answer::Heartbeat(NotCoordinator)
    );
    let command = Command::Join(join("m"));
    assert_eq!(
        unavailable(&command, Loading),
        Answer::Join(JoinAnswer::error(Loading, "m".into()))
    );
    let command = Command::Commit(commit("topic", 1));
    assert_eq!(
        unavailable(&command, Loading),
        Answer::Commit(CommitAnswer {
            errors: vec![Loading]
        })
    );
    let command = Command::Join(Join {
        group_id: Text::EMPTY,
        ..join("")
    });
    assert_eq!(
        unavailable(&command, Loading),
        Answer::Join(JoinAnswer::error(ErrorCode::InvalidGroupId, Text::EMPTY))
    );
}
