//! JoinGroup: who may join, and what he is told.

use crate::base::error_code::ErrorCode;
use crate::group::command::*;
use crate::group::memory::Memory;
use crate::group::settings::GroupSettings;
use crate::group::testing::*;
use crate::wire::text::Text;

fn refused(h: &mut Harness, join: Join) -> ErrorCode {
    let answer = h.join(join);
    assert_eq!(answer.generation_id, -1);
    assert_eq!(answer.protocol_type, None);
    assert_eq!(answer.protocol_name, None);
    assert!(answer.leader.is_empty() && answer.members.is_empty());
    answer.error
}

#[test]
fn session_timeouts_have_bounds() {
    let mut h = Harness::new();
    for (session_timeout_ms, allowed) in [
        (5_999, false),
        (6_000, true),
        (1_800_000, true),
        (1_800_001, false),
        (i32::MAX, false),
        (-1, false),
    ] {
        let answer = h.join(Join {
            session_timeout_ms,
            ..join_9("")
        });
        let expected = if allowed {
            ErrorCode::MemberIdRequired
        } else {
            ErrorCode::InvalidSessionTimeout
        };
        assert_eq!(answer.error, expected, "{session_timeout_ms}");
        assert_eq!(answer.member_id.is_empty(), !allowed);
    }
}

#[test]
fn the_empty_group_id_is_invalid_for_members_only() {
    let mut h = Harness::new();
    let group_id = Text::EMPTY;
    assert_eq!(
        refused(
            &mut h,
            Join {
                group_id: group_id.clone(),
                ..join("")
            }
        ),
        ErrorCode::InvalidGroupId
    );
    let answer = h.ask(Command::Sync(Sync {
        group_id: group_id.clone(),
        ..sync(&"m".into(), 1, vec![])
    }));
    assert_eq!(answer, Answer::Sync(SyncAnswer::error(ErrorCode::InvalidGroupId)));
    let answer = h.ask(Command::Leave(Leave {
        group_id: group_id.clone(),
        members: vec![leaving("m", None)],
    }));
    assert!(
        matches!(answer, Answer::Leave(answer) if answer.error == ErrorCode::InvalidGroupId && answer.members.is_empty())
    );
    let answer = h.ask(Command::DeleteOffsets(DeleteOffsets {
        group_id: group_id.clone(),
        topics: vec![],
    }));
    assert!(matches!(answer, Answer::DeleteOffsets(answer) if answer.error == ErrorCode::InvalidGroupId));
    assert_eq!(
        h.commit(Commit {
            group_id: group_id.clone(),
            ..commit("topic", 5)
        }),
        [ErrorCode::None]
    );
    assert_eq!(
        h.ask(Command::Delete(vec![group_id.clone()])),
        Answer::Delete(vec![(group_id, ErrorCode::None)])
    );
}

#[test]
fn a_new_dynamic_member_is_first_given_an_id() {
    let mut h = Harness::new();
    let answer = h.join(join_9(""));
    assert_eq!(answer.error, ErrorCode::MemberIdRequired);
    assert!(answer.member_id.starts_with("client-"));
    assert_eq!(answer.member_id.len(), "client-".len() + 36);
    assert_eq!(h.describe().members, []);
    let token = h.send(Command::Join(join_9(&answer.member_id)));
    assert_eq!(h.state(), "PreparingRebalance");
    h.advance(3_000);
    let joined = h.joined(token);
    assert_eq!(joined.error, ErrorCode::None);
    assert_eq!(joined.generation_id, 1);
    assert_eq!(joined.leader, answer.member_id);
    assert_eq!(joined.protocol_type, Some("consumer".into()));
    assert_eq!(joined.protocol_name, Some("range".into()));
    assert_eq!(joined.members.len(), 1);
    assert!(!joined.skip_assignment);
}

#[test]
fn old_clients_and_static_members_join_without_that() {
    for join in [join(""), join_static("", "instance")] {
        let mut h = Harness::new();
        let token = h.send(Command::Join(join));
        h.advance(3_000);
        assert_eq!(h.joined(token).error, ErrorCode::None);
    }
}

#[test]
fn an_id_that_nobody_comes_back_with_is_forgotten() {
    let mut h = Harness::new();
    let id = h.join(join_9("")).member_id;
    h.advance(9_999);
    assert_eq!(h.listed().len(), 1);
    h.advance(1);
    assert_eq!(h.listed(), []);
    assert_eq!(h.timers.len(), 0);
    assert_eq!(refused(&mut h, join_9(&id)), ErrorCode::UnknownMemberId);
}

#[test]
fn an_id_that_was_handed_out_can_leave() {
    let mut h = Harness::new();
    h.stable(1);
    let id = h.join(join_9("")).member_id;
    assert_eq!(h.leave(&id), ErrorCode::None);
    assert_eq!(h.leave(&id), ErrorCode::UnknownMemberId);
    assert_eq!(refused(&mut h, join_9(&id)), ErrorCode::UnknownMemberId);
    assert_eq!(h.state(), "Stable");
}

#[test]
fn an_id_without_a_group_is_unknown() {
    let mut h = Harness::new();
    assert_eq!(refused(&mut h, join("somebody")), ErrorCode::UnknownMemberId);
    assert_eq!(h.listed(), []);
    h.stable(1);
    assert_eq!(refused(&mut h, join("somebody")), ErrorCode::UnknownMemberId);
    assert_eq!(
        refused(&mut h, join_static("somebody", "instance")),
        ErrorCode::UnknownMemberId
    );
}

#[test]
fn protocols_must_agree() {
    let mut h = Harness::new();
    let none = |member_id| Join {
        protocols: vec![],
        ..join(member_id)
    };
    assert_eq!(refused(&mut h, none("")), ErrorCode::InconsistentGroupProtocol);
    let untyped = Join {
        protocol_type: Text::EMPTY,
        ..join("")
    };
    assert_eq!(refused(&mut h, untyped), ErrorCode::InconsistentGroupProtocol);
    assert_eq!(h.listed(), []);
    let ids = h.stable_with(vec![
        offering(&["a", "b"], join("")),
        offering(&["b", "c"], join("")),
    ]);
    for (protocols, protocol_type, fits) in [
        (&["a"][..], "consumer", false),
        (&["c", "b"], "consumer", true),
        (&["b"], "connect", false),
        (&[], "consumer", false),
    ] {
        let join = Join {
            protocol_type: protocol_type.into(),
            ..offering(protocols, join_9(""))
        };
        let expected = if fits {
            ErrorCode::MemberIdRequired
        } else {
            ErrorCode::InconsistentGroupProtocol
        };
        assert_eq!(refused(&mut h, join), expected, "{protocols:?}");
    }
    let answer = h.join(offering(&["a"], join(&ids[0])));
    assert_eq!(answer.error, ErrorCode::InconsistentGroupProtocol);
    assert_eq!(answer.member_id, ids[0]);
}

#[test]
fn other_kinds_of_groups_are_groups_as_well() {
    let mut h = Harness::new();
    let connect = |url: &'static str| Join {
        protocol_type: "connect".into(),
        protocols: vec![
            ("sessioned".into(), url.into()),
            ("compatible".into(), url.into()),
        ],
        ..join("")
    };
    let ids = h.stable_with(vec![connect("http://a"), connect("http://b")]);
    let described = h.describe();
    assert_eq!(
        (described.state, &*described.protocol_type, &*described.protocol),
        ("Stable", "connect", "sessioned")
    );
    let first = described.members.iter().find(|member| member.member_id == ids[0]);
    assert_eq!(first.unwrap().metadata, "http://a".as_bytes());
}

#[test]
fn most_votes_choose_the_protocol_among_those_that_all_offer() {
    for (offers, chosen) in [
        (&[&["a", "b"][..], &["b", "a"], &["b", "a"]][..], "b"),
        (&[&["a", "b"], &["b"], &["c", "b"]], "b"),
        (&[&["a", "b"], &["b", "a"]], "a"),
        (&[&["b", "a"], &["a", "b"]], "b"),
        (&[&["x", "a", "a"], &["a"]], "a"),
    ] {
        let mut h = Harness::new();
        let joins = offers.iter().map(|protocols| offering(protocols, join("")));
        h.stable_with(joins.collect());
        assert_eq!(h.describe().protocol, chosen, "{offers:?}");
    }
}

#[test]
fn a_full_group_takes_in_nobody_but_its_members() {
    let mut h = Harness::with(GroupSettings {
        max_size: 2,
        ..GroupSettings::default()
    });
    let ids = h.stable(2);
    let answer = h.join(join(""));
    assert_eq!(
        (answer.error, &*answer.member_id),
        (ErrorCode::GroupMaxSizeReached, "")
    );
    assert_eq!(h.join(join_9("")).error, ErrorCode::GroupMaxSizeReached);
    assert_eq!(
        h.join(join_static("", "instance")).error,
        ErrorCode::GroupMaxSizeReached
    );
    assert_eq!(h.join(join(&ids[1])).error, ErrorCode::None);
}

#[test]
fn in_the_join_phase_those_count_who_have_joined() {
    let mut h = Harness::with(GroupSettings {
        max_size: 2,
        ..GroupSettings::default()
    });
    let ids = h.stable(2);
    // The leader begins a rebalance, and a newcomer is faster than the other member.
    let leader = h.send(Command::Join(join(&ids[0])));
    let newcomer = h.send(Command::Join(join("")));
    assert!(h.is_waiting(leader) && h.is_waiting(newcomer));
    let answer = h.join(join(&ids[1]));
    assert_eq!(
        (answer.error, &*answer.member_id),
        (ErrorCode::GroupMaxSizeReached, "")
    );
    assert_eq!(h.joined(leader).members.len(), 2);
    assert_eq!(h.joined(newcomer).error, ErrorCode::None);
    assert_eq!(h.heartbeat(&ids[1], 1), ErrorCode::UnknownMemberId);
}

#[test]
fn pending_ids_do_not_count_but_may_find_the_group_full() {
    let mut h = Harness::with(GroupSettings {
        max_size: 1,
        ..GroupSettings::default()
    });
    let first = h.join(join_9("")).member_id;
    let second = h.join(join_9("")).member_id;
    let token = h.send(Command::Join(join_9(&first)));
    assert_eq!(h.join(join_9(&second)).error, ErrorCode::GroupMaxSizeReached);
    h.advance(3_000);
    assert_eq!(h.joined(token).error, ErrorCode::None);
}

#[test]
fn a_group_that_is_loaded_above_its_size_rebalances() {
    let mut h = Harness::new();
    let ids = h.stable(3);
    h.settings.max_size = 2;
    h.fail_over();
    assert_eq!(h.state(), "PreparingRebalance");
    let first = h.send(Command::Join(join(&ids[0])));
    let second = h.send(Command::Join(join(&ids[1])));
    assert_eq!(h.join(join(&ids[2])).error, ErrorCode::GroupMaxSizeReached);
    assert_eq!(h.joined(first).error, ErrorCode::None);
    assert_eq!(h.joined(second).error, ErrorCode::None);
}

#[test]
fn whoever_joins_again_with_the_same_gets_the_same_answer() {
    let mut h = Harness::new();
    let tokens = [h.send(Command::Join(join(""))), h.send(Command::Join(join("")))];
    h.advance(7_000);
    let [leader, follower] = tokens.map(|token| h.joined(token));
    assert_eq!(leader.leader, leader.member_id);
    assert_eq!(follower.members, []);
    // The answers were lost on the way.
    assert_eq!(h.join(join(&leader.member_id)), leader);
    assert_eq!(h.join(join(&follower.member_id)), follower);
    h.send(Command::Sync(sync(&leader.member_id, 1, vec![])));
    assert_eq!(h.state(), "Stable");
    assert_eq!(h.join(join(&follower.member_id)), follower);
    assert_eq!(h.state(), "Stable");
    let again = h.send(Command::Join(join(&leader.member_id)));
    assert!(h.is_waiting(again));
    assert_eq!(h.state(), "PreparingRebalance");
}

#[test]
fn whoever_joins_again_with_something_new_begins_a_rebalance() {
    let news = || Join {
        protocols: vec![("range".into(), subscription(&["other"]))],
        ..join("")
    };
    for completing in [true, false] {
        let mut h = Harness::new();
        let ids = h.stable(2);
        if completing {
            let tokens = ids
                .iter()
                .map(|id| h.send(Command::Join(join(id))))
                .collect::<Vec<_>>();
            tokens
                .into_iter()
                .for_each(|token| assert_eq!(h.joined(token).error, ErrorCode::None));
            assert_eq!(h.state(), "CompletingRebalance");
        }
        let token = h.send(Command::Join(Join {
            member_id: ids[1].clone(),
            ..news()
        }));
        assert!(h.is_waiting(token));
        assert_eq!(h.state(), "PreparingRebalance");
    }
}

#[test]
fn a_request_that_another_of_the_same_member_overtakes_is_answered() {
    let mut h = Harness::new();
    let ids = h.stable(2);
    let first = h.send(Command::Join(join(&ids[0])));
    let second = h.send(Command::Join(join(&ids[0])));
    assert_eq!(h.joined(first).error, ErrorCode::RebalanceInProgress);
    assert!(h.is_waiting(second));
    h.send(Command::Join(join(&ids[1])));
    let generation = h.joined(second).generation_id;
    let first = h.send(Command::Sync(sync(&ids[1], generation, vec![])));
    let second = h.send(Command::Sync(sync(&ids[1], generation, vec![])));
    assert_eq!(h.synced(first).error, ErrorCode::RebalanceInProgress);
    assert!(h.is_waiting(second));
}

#[test]
fn a_shard_that_is_full_takes_in_nothing_new_and_goes_on() {
    let mut h = Harness::new();
    let ids = h.stable(2);
    h.commit(commit("topic", 1));
    h.settings.max_bytes = 1;
    h.fail_over();
    let generous = h.join(join_9("")).member_id;
    h.leave(&generous);
    h.settings.granted_bytes = 1;
    h.fail_over();
    assert_eq!(refused(&mut h, join_9("")), ErrorCode::CoordinatorNotAvailable);
    assert_eq!(
        refused(
            &mut h,
            Join {
                group_id: "other".into(),
                ..join("")
            }
        ),
        ErrorCode::CoordinatorNotAvailable
    );
    assert_eq!(
        h.commit(commit_of(&ids[0], 1, "topic", 1)),
        [ErrorCode::CoordinatorNotAvailable]
    );
    let larger = Join {
        protocols: vec![("range".into(), subscription(&["topic", "other"]))],
        ..join(&ids[0])
    };
    assert_eq!(refused(&mut h, larger), ErrorCode::CoordinatorNotAvailable);
    assert_eq!(h.join(join(&ids[1])).error, ErrorCode::None);
    assert_eq!(h.heartbeat(&ids[0], 1), ErrorCode::None);
    assert_eq!(h.leave(&ids[0]), ErrorCode::None);
}

#[test]
fn shards_share_their_memory() {
    let settings = GroupSettings {
        max_bytes: 20_000,
        granted_bytes: 1_000,
        ..GroupSettings::default()
    };
    let mut h = Harness::with(settings.clone());
    let mut other = Harness::with(settings);
    other.memory = h.memory.clone();
    other.fail_over();
    let join_other = |number: usize| Join {
        group_id: Text::from(format!("group {number}")),
        ..join_9("")
    };
    assert_eq!(h.join(join_9("")).error, ErrorCode::MemberIdRequired);
    let joined =
        (0..100).take_while(|number| other.join(join_other(*number)).error == ErrorCode::MemberIdRequired);
    let joined = joined.count();
    assert!((5..100).contains(&joined), "{joined}");
    assert_eq!(
        refused(&mut h, join_other(100)),
        ErrorCode::MemberIdRequired,
        "up to what is granted"
    );
    assert_eq!(
        refused(&mut h, join_other(101)),
        ErrorCode::CoordinatorNotAvailable
    );
    other.memory = Memory::default();
    other.fail_over();
    assert_eq!(refused(&mut h, join_other(101)), ErrorCode::MemberIdRequired);
    let taken = h.memory.bytes();
    assert!(taken > 0 && taken < 20_000, "{taken}");
}

#[test]
fn a_group_is_described_with_what_its_members_have_while_it_is_stable() {
    let mut h = Harness::new();
    let ids = h.stable_with(vec![join(""), join_static("", "one")]);
    let described = h.describe();
    assert_eq!(
        (
            described.error,
            described.state,
            &*described.protocol_type,
            &*described.protocol
        ),
        (ErrorCode::None, "Stable", "consumer", "range")
    );
    let fixed = described
        .members
        .iter()
        .find(|member| member.member_id == ids[1])
        .unwrap();
    let expected = DescribedMember {
        member_id: ids[1].clone(),
        group_instance_id: Some("one".into()),
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        metadata: subscription(&["topic"]),
        assignment: assignment(&ids[1]),
    };
    assert_eq!(*fixed, expected);
    // In every other state only who they are.
    h.send(Command::Join(join(&ids[0])));
    let described = h.describe();
    assert_eq!(
        (described.state, &*described.protocol),
        ("PreparingRebalance", "")
    );
    let fixed = described
        .members
        .into_iter()
        .find(|member| member.member_id == ids[1]);
    let nothing = bytes::Bytes::new();
    assert_eq!(
        fixed,
        Some(DescribedMember {
            metadata: nothing.clone(),
            assignment: nothing,
            ..expected
        })
    );
}

#[test]
fn names_that_no_record_can_hold_are_refused() {
    // What is no UTF-8 grows when it is mended: 32,767 bytes become 98,301.
    let long = Text::from_bytes(bytes::Bytes::from(vec![0xff; 32_767]));
    let mut h = Harness::new();
    for (bad, error) in [
        (
            Join {
                group_id: long.clone(),
                ..join("")
            },
            ErrorCode::InvalidGroupId,
        ),
        (
            Join {
                group_instance_id: Some(long.clone()),
                ..join("")
            },
            ErrorCode::InvalidRequest,
        ),
        (
            Join {
                protocol_type: long.clone(),
                ..join("")
            },
            ErrorCode::InvalidRequest,
        ),
        (
            Join {
                protocols: vec![(long.clone(), bytes::Bytes::new())],
                ..join("")
            },
            ErrorCode::InvalidRequest,
        ),
    ] {
        assert_eq!(refused(&mut h, bad), error);
    }
    let bad = Commit {
        group_id: long.clone(),
        ..commit("topic", 1)
    };
    assert_eq!(h.commit(bad), [ErrorCode::InvalidGroupId]);
    // The client's own name is cut.
    let named = Join {
        client: Client {
            id: long,
            host: "/127.0.0.1".into(),
        },
        ..join("")
    };
    let ids = h.stable_with(vec![named]);
    let before = h.describe();
    assert_eq!(before.members[0].member_id, ids[0]);
    h.fail_over();
    assert_eq!(h.describe(), before);
}
