//! OffsetCommit and OffsetFetch.

use crate::base::error_code::ErrorCode;
use crate::coordinator::{Producer, Shard};
use crate::group::command::*;
use crate::group::record::{OffsetValue, RecordKey};
use crate::group::testing::*;
use crate::wire::text::Text;

fn last_value(h: &Harness) -> OffsetValue {
    OffsetValue::decode(h.last_batch()[0].0.value.as_ref().unwrap()).unwrap()
}

#[test]
fn whoever_is_no_member_commits_to_a_group_without_members_only() {
    let mut h = Harness::new();
    let with_ids = |generation_id, member_id: &'static str| Commit {
        generation_id,
        member_id: member_id.into(),
        ..commit("topic", 1)
    };
    // (generation, member id, before the group exists, empty, with members)
    use ErrorCode::{IllegalGeneration, None, UnknownMemberId};
    let table = [
        (-1, "", None, None, UnknownMemberId),
        (-1, "m", None, None, UnknownMemberId),
        (0, "", IllegalGeneration, UnknownMemberId, UnknownMemberId),
        (5, "m", IllegalGeneration, UnknownMemberId, UnknownMemberId),
    ];
    for (generation, member_id, absent, ..) in table {
        let mut h = Harness::new();
        assert_eq!(
            h.commit(with_ids(generation, member_id)),
            [absent],
            "{generation} {member_id}"
        );
    }
    h.commit(commit("topic", 1));
    for (generation, member_id, _, empty, _) in table {
        assert_eq!(
            h.commit(with_ids(generation, member_id)),
            [empty],
            "{generation} {member_id}"
        );
    }
    let ids = h.stable(1);
    for (generation, member_id, _, _, with_members) in table {
        assert_eq!(
            h.commit(with_ids(generation, member_id)),
            [with_members],
            "{generation} {member_id}"
        );
    }
    h.leave(&ids[0]);
    for (generation, member_id, _, empty, _) in table {
        assert_eq!(
            h.commit(with_ids(generation, member_id)),
            [empty],
            "{generation} {member_id}"
        );
    }
}

#[test]
fn members_commit_with_their_generation() {
    let mut h = Harness::new();
    let ids = h.stable(2);
    assert_eq!(h.commit(commit_of(&ids[0], 1, "topic", 7)), [ErrorCode::None]);
    assert_eq!(
        h.commit(commit_of(&ids[0], 0, "topic", 8)),
        [ErrorCode::IllegalGeneration]
    );
    assert_eq!(
        h.commit(commit_of(&ids[0], -1, "topic", 8)),
        [ErrorCode::IllegalGeneration]
    );
    assert_eq!(
        h.commit(commit_of(&"nobody".into(), 1, "topic", 8)),
        [ErrorCode::UnknownMemberId]
    );
    let instance = Commit {
        group_instance_id: Some("i".into()),
        ..commit_of(&ids[0], 1, "topic", 8)
    };
    assert_eq!(h.commit(instance), [ErrorCode::UnknownMemberId]);
    assert_eq!(h.fetch("topic"), 7);
    // While others join it may still commit; while the assignment is awaited not.
    let tokens = [h.send(Command::Join(join(&ids[0])))];
    assert_eq!(h.commit(commit_of(&ids[1], 1, "topic", 9)), [ErrorCode::None]);
    h.send(Command::Join(join(&ids[1])));
    assert_eq!(h.joined(tokens[0]).generation_id, 2);
    assert_eq!(
        h.commit(commit_of(&ids[1], 2, "topic", 10)),
        [ErrorCode::RebalanceInProgress]
    );
    assert_eq!(
        h.commit(commit_of(&ids[1], 1, "topic", 10)),
        [ErrorCode::IllegalGeneration]
    );
    assert_eq!(h.fetch("topic"), 9);
}

#[test]
fn a_commit_is_a_sign_of_life() {
    let mut h = Harness::new();
    let ids = h.stable(1);
    for offset in 0..4 {
        h.advance(9_000);
        assert_eq!(
            h.commit(commit_of(&ids[0], 1, "topic", offset)),
            [ErrorCode::None]
        );
    }
    // Even one that cannot be written.
    h.advance(9_000);
    h.fails = Some(ErrorCode::NotEnoughReplicas);
    assert_eq!(
        h.commit(commit_of(&ids[0], 1, "topic", 9)),
        [ErrorCode::CoordinatorNotAvailable]
    );
    h.advance(9_000);
    assert_eq!(h.heartbeat(&ids[0], 1), ErrorCode::None);
    assert_eq!(h.fetch("topic"), 3);
}

#[test]
fn the_records_of_a_commit_are_as_kafka_writes_them() {
    let mut h = Harness::new();
    let mut offsets = commit("b", -5).offsets;
    offsets.extend(commit("a", 6).offsets);
    offsets[1].metadata = Some("note".into());
    let errors = h.commit(Commit {
        offsets,
        ..commit("", 0)
    });
    assert_eq!(errors, [ErrorCode::None; 2]);
    let batch = h.last_batch();
    assert_eq!(batch.len(), 2);
    assert_eq!(
        batch[0].1,
        Producer {
            base_sequence: 0,
            ..Producer::default()
        }
    );
    assert_eq!(
        RecordKey::decode(&batch[1].0.key),
        Ok(Some(RecordKey::Offset {
            group_id: GROUP.into(),
            topic: "a".into(),
            partition: 0
        }))
    );
    let value = |at: usize| OffsetValue::decode(batch[at].0.value.as_ref().unwrap()).unwrap();
    let expected = OffsetValue {
        offset: -5,
        leader_epoch: 3,
        metadata: Text::EMPTY,
        commit_timestamp_ms: h.now_ms,
        expire_timestamp_ms: None,
    };
    assert_eq!(value(0), expected);
    assert_eq!(
        value(1),
        OffsetValue {
            offset: 6,
            metadata: "note".into(),
            ..expected
        }
    );
}

#[test]
fn old_versions_bring_their_own_times() {
    let mut h = Harness::new();
    let mut first = commit("topic", 1);
    first.offsets[0].commit_timestamp_ms = Some(77);
    h.commit(first);
    assert_eq!(last_value(&h).commit_timestamp_ms, 77);
    assert_eq!(last_value(&h).expire_timestamp_ms, None);
    h.commit(Commit {
        retention_ms: Some(1_000),
        ..commit("topic", 1)
    });
    assert_eq!(last_value(&h).commit_timestamp_ms, h.now_ms);
    assert_eq!(last_value(&h).expire_timestamp_ms, Some(h.now_ms + 1_000));
    h.commit(Commit {
        retention_ms: Some(i64::MAX),
        ..commit("topic", 1)
    });
    assert_eq!(last_value(&h).expire_timestamp_ms, Some(i64::MAX));
}

#[test]
fn a_note_that_is_too_long_is_refused_alone() {
    let mut h = Harness::new();
    // Java counts units of UTF-16: the first two are as long as allowed.
    let notes = [
        "a".repeat(4_096),
        "ä".repeat(4_096),
        "a".repeat(4_097),
        "𝄞".repeat(2_049),
    ];
    let offsets = ["t0", "t1", "t2", "t3"]
        .into_iter()
        .zip(notes)
        .map(|(topic, note)| CommitPartition {
            metadata: Some(note.into()),
            ..commit(topic, 1).offsets.remove(0)
        });
    let all = Commit {
        offsets: offsets.collect(),
        ..commit("", 0)
    };
    use ErrorCode::{None, OffsetMetadataTooLarge};
    assert_eq!(
        h.commit(all.clone()),
        [None, None, OffsetMetadataTooLarge, OffsetMetadataTooLarge]
    );
    assert_eq!(h.last_batch().len(), 2);
    assert_eq!((h.fetch("t1"), h.fetch("t2")), (1, -1));
    let mut h = Harness::new();
    let long = Commit {
        offsets: all.offsets[2..].to_vec(),
        ..all
    };
    assert_eq!(h.commit(long), [OffsetMetadataTooLarge; 2]);
    assert_eq!((h.batches, h.listed()), (0, vec![]));
}

#[test]
fn a_commit_that_cannot_be_written_is_not_there() {
    for (refusal, told) in [
        (ErrorCode::NotEnoughReplicas, ErrorCode::CoordinatorNotAvailable),
        (
            ErrorCode::NotEnoughReplicasAfterAppend,
            ErrorCode::CoordinatorNotAvailable,
        ),
        (
            ErrorCode::UnknownTopicOrPartition,
            ErrorCode::CoordinatorNotAvailable,
        ),
        (ErrorCode::NotLeaderOrFollower, ErrorCode::NotCoordinator),
        (ErrorCode::KafkaStorageError, ErrorCode::NotCoordinator),
        (ErrorCode::MessageTooLarge, ErrorCode::InvalidCommitOffsetSize),
        (ErrorCode::RecordListTooLarge, ErrorCode::InvalidCommitOffsetSize),
        (ErrorCode::RequestTimedOut, ErrorCode::RequestTimedOut),
    ] {
        let mut h = Harness::new();
        h.commit(commit("topic", 1));
        h.fails = Some(refusal);
        let mut both = commit("topic", 2);
        both.offsets.push(CommitPartition {
            metadata: Some("x".repeat(5_000).into()),
            ..both.offsets[0].clone()
        });
        assert_eq!(h.commit(both), [told, ErrorCode::OffsetMetadataTooLarge]);
        assert_eq!(h.fetch("topic"), 1);
        let answer = Answer::Commit(CommitAnswer {
            errors: vec![ErrorCode::None, ErrorCode::OffsetMetadataTooLarge],
        });
        let told = Answer::Commit(CommitAnswer {
            errors: vec![told, ErrorCode::OffsetMetadataTooLarge],
        });
        assert_eq!(crate::group::GroupShard::not_replicated(answer, refusal), told);
    }
}

#[test]
fn offsets_are_fetched_as_they_were_committed() {
    let mut h = Harness::new();
    let none = FetchedOffset {
        partition: 0,
        error: ErrorCode::None,
        offset: -1,
        leader_epoch: -1,
        metadata: Text::EMPTY,
    };
    assert_eq!(h.fetch_stable("topic", false), none);
    assert_eq!(h.fetch_topics(None, true), []);
    let mut some = commit("topic", 9);
    some.offsets[0].metadata = Some("note".into());
    h.commit(some);
    let found = FetchedOffset {
        offset: 9,
        leader_epoch: 3,
        metadata: "note".into(),
        ..none.clone()
    };
    let asked = vec![("topic".into(), vec![1, 0]), ("other".into(), vec![0])];
    let first = FetchedOffset {
        partition: 1,
        ..none.clone()
    };
    assert_eq!(
        h.fetch_topics(Some(asked), false),
        [
            ("topic".into(), vec![first, found.clone()]),
            ("other".into(), vec![none])
        ]
    );
    assert_eq!(
        h.fetch_topics(None, false),
        [("topic".into(), vec![found.clone()])]
    );
    h.fail_over();
    assert_eq!(h.fetch_topics(None, false), [("topic".into(), vec![found])]);
}

#[test]
fn offsets_belong_to_the_group_not_to_its_members() {
    let mut h = Harness::new();
    let ids = h.stable(1);
    h.commit(commit_of(&ids[0], 1, "topic", 4));
    h.leave(&ids[0]);
    assert_eq!(h.fetch("topic"), 4);
    h.fail_over();
    assert_eq!(h.fetch("topic"), 4);
    h.stable(1);
    assert_eq!(h.fetch("topic"), 4);
}

#[test]
fn a_group_of_offsets_alone_is_an_empty_group() {
    let mut h = Harness::new();
    assert_eq!((h.state(), h.listed()), ("Dead", vec![]));
    h.commit(commit("topic", 1));
    let described = h.describe();
    assert_eq!(
        (described.error, described.state, &*described.protocol_type),
        (ErrorCode::None, "Empty", "")
    );
    let listed = Listed {
        group_id: GROUP.into(),
        protocol_type: Text::EMPTY,
        state: "Empty",
        group_type: "classic",
    };
    assert_eq!(h.listed(), std::slice::from_ref(&listed));
    h.stable(1);
    assert_eq!(
        h.listed(),
        [Listed {
            protocol_type: "consumer".into(),
            state: "Stable",
            ..listed
        }]
    );
}

fn pending(h: &mut Harness, producer_id: i64, topic: &'static str, offset: i64) {
    let mut other = Harness::new();
    other.commit(commit(topic, offset));
    let (record, _) = other.last_batch().remove(0);
    h.append_transactional(producer_id, record);
}

#[test]
fn offsets_of_a_transaction_count_when_it_commits() {
    for fails_over in [false, true] {
        let mut h = Harness::new();
        h.commit(commit("topic", 1));
        pending(&mut h, 9, "topic", 5);
        pending(&mut h, 9, "first", 6);
        if fails_over {
            h.fail_over();
        }
        assert_eq!((h.fetch("topic"), h.fetch("first")), (1, -1));
        let unstable = h.fetch_stable("topic", true);
        assert_eq!(
            (unstable.error, unstable.offset, unstable.leader_epoch),
            (ErrorCode::UnstableOffsetCommit, -1, -1)
        );
        assert_eq!(
            h.fetch_stable("first", true).error,
            ErrorCode::UnstableOffsetCommit
        );
        // When all are asked for, a first commit that is not over is not there at all.
        let all = h.fetch_topics(None, true);
        assert_eq!(
            (all.len(), all[0].1[0].error),
            (1, ErrorCode::UnstableOffsetCommit)
        );
        h.end_transaction(8, true);
        assert_eq!(h.fetch("topic"), 1);
        h.end_transaction(9, true);
        assert_eq!((h.fetch("topic"), h.fetch("first")), (5, 6));
        assert_eq!(h.fetch_stable("topic", true).error, ErrorCode::None);
        h.fail_over();
        assert_eq!((h.fetch("topic"), h.fetch("first")), (5, 6));
    }
}

#[test]
fn offsets_of_a_transaction_that_aborts_were_never_there() {
    let mut h = Harness::new();
    pending(&mut h, 9, "topic", 5);
    assert_eq!(h.listed().len(), 1);
    h.end_transaction(9, false);
    assert_eq!((h.fetch("topic"), h.listed()), (-1, vec![]));
    // The next transaction of the same producer is another one.
    pending(&mut h, 9, "topic", 6);
    h.end_transaction(9, true);
    assert_eq!(h.fetch("topic"), 6);
}

#[test]
fn what_was_committed_after_a_transactions_offset_stays() {
    let mut h = Harness::new();
    pending(&mut h, 9, "topic", 5);
    pending(&mut h, 10, "topic", 6);
    h.commit(commit("topic", 7));
    h.end_transaction(9, true);
    assert_eq!(h.fetch("topic"), 7);
    assert_eq!(
        h.fetch_stable("topic", true).error,
        ErrorCode::UnstableOffsetCommit
    );
    h.end_transaction(10, true);
    assert_eq!(h.fetch_stable("topic", true).offset, 7);
    // Of two transactions the later write counts, not the later end.
    pending(&mut h, 9, "topic", 8);
    pending(&mut h, 10, "topic", 9);
    h.end_transaction(10, true);
    h.end_transaction(9, true);
    assert_eq!(h.fetch("topic"), 9);
}
