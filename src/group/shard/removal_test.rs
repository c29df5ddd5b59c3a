//! DeleteGroups, OffsetDelete, deleted topics and expiry.

use crate::base::error_code::ErrorCode;
use crate::base::ids::Offset;
use crate::coordinator::Producer;
use crate::group::command::*;
use crate::group::record::RecordKey;
use crate::group::settings::GroupSettings;
use crate::group::testing::*;
use crate::wire::text::Text;

const DAY_MS: i64 = 86_400_000;

fn delete(h: &mut Harness) -> ErrorCode {
    match h.ask(Command::Delete(vec![GROUP.into()])) {
        Answer::Delete(groups) => groups[0].1,
        other => panic!("{other:?}"),
    }
}

fn delete_offsets(h: &mut Harness, topics: &[&'static str]) -> DeleteOffsetsAnswer {
    let topics = topics.iter().map(|topic| ((*topic).into(), vec![0, 1]));
    let delete = DeleteOffsets {
        group_id: GROUP.into(),
        topics: topics.collect(),
    };
    match h.ask(Command::DeleteOffsets(delete)) {
        Answer::DeleteOffsets(answer) => answer,
        other => panic!("{other:?}"),
    }
}

fn deleted(topics: &[&str], below: Offset) -> Command {
    let names = topics.iter().map(|&topic| topic.into()).collect();
    Command::TopicsDeleted(TopicsDeleted { names, below })
}

fn expire(h: &mut Harness) {
    assert_eq!(h.ask(Command::Expire), Answer::Done);
}

/// The keys of the last batch, all of them tombstones of no producer.
fn tombstones(h: &Harness) -> Vec<RecordKey<'static>> {
    let batch = h.last_batch().into_iter();
    batch
        .map(|(record, producer)| {
            assert_eq!((record.value, producer), (None, Producer::default()));
            RecordKey::decode(&record.key).unwrap().unwrap().into_owned()
        })
        .collect()
}

fn offset_key(topic: &'static str) -> RecordKey<'static> {
    RecordKey::Offset {
        group_id: GROUP.into(),
        topic: topic.into(),
        partition: 0,
    }
}

fn group_key() -> RecordKey<'static> {
    RecordKey::Group {
        group_id: GROUP.into(),
    }
}

#[test]
fn a_group_is_deleted_with_its_offsets() {
    let mut h = Harness::new();
    assert_eq!(delete(&mut h), ErrorCode::GroupIdNotFound);
    let ids = h.stable(1);
    h.commit(commit_of(&ids[0], 1, "a", 1));
    h.commit(commit_of(&ids[0], 1, "b", 1));
    assert_eq!(delete(&mut h), ErrorCode::NonEmptyGroup);
    h.leave(&ids[0]);
    assert_eq!(delete(&mut h), ErrorCode::None);
    assert_eq!(tombstones(&h), [offset_key("a"), offset_key("b"), group_key()]);
    assert_eq!((h.state(), h.fetch("a"), h.listed()), ("Dead", -1, vec![]));
    assert_eq!(delete(&mut h), ErrorCode::GroupIdNotFound);
    h.fail_over();
    assert_eq!(h.listed(), []);
    // A group of that name begins anew.
    let token = h.send(Command::Join(join("")));
    h.advance(3_000);
    assert_eq!(h.joined(token).generation_id, 1);
}

#[test]
fn each_group_of_a_request_has_its_own_error() {
    let mut h = Harness::new();
    h.stable(1);
    h.commit(Commit {
        group_id: "offsets".into(),
        ..commit("a", 1)
    });
    let names: Vec<Text> = vec!["nobody".into(), "offsets".into(), GROUP.into()];
    let errors = [
        ErrorCode::GroupIdNotFound,
        ErrorCode::None,
        ErrorCode::NonEmptyGroup,
    ];
    let expected = names.iter().cloned().zip(errors).collect();
    assert_eq!(h.ask(Command::Delete(names)), Answer::Delete(expected));
    assert_eq!(h.listed().len(), 1);
}

#[test]
fn small_groups_of_one_request_go_in_one_batch() {
    let mut h = Harness::new();
    let names: Vec<Text> = vec!["one".into(), "other".into()];
    for name in &names {
        for topic in ["a", "b"] {
            h.commit(Commit {
                group_id: name.clone(),
                ..commit(topic, 1)
            });
        }
    }
    let before = h.batches;
    let expected = names.iter().cloned().map(|name| (name, ErrorCode::None));
    let expected = Answer::Delete(expected.collect());
    assert_eq!(h.ask(Command::Delete(names)), expected);
    assert_eq!(h.batches - before, 1);
    assert_eq!(tombstones(&h).len(), 4);
}

#[test]
fn whoever_was_about_to_join_a_group_that_is_deleted_begins_anew() {
    let mut h = Harness::new();
    h.commit(commit("a", 1));
    let id = h.join(join_9("")).member_id;
    assert_eq!(delete(&mut h), ErrorCode::None);
    assert_eq!((h.listed(), h.timers.len()), (vec![], 0));
    assert_eq!(h.join(join_9(&id)).error, ErrorCode::UnknownMemberId);
}

#[test]
fn a_removal_that_cannot_be_written_is_told_and_changes_nothing() {
    let mut h = Harness::new();
    h.commit(commit("a", 1));
    h.fails = Some(ErrorCode::NotEnoughReplicas);
    assert_eq!(delete(&mut h), ErrorCode::CoordinatorNotAvailable);
    assert_eq!(
        delete_offsets(&mut h, &["a"]).error,
        ErrorCode::CoordinatorNotAvailable
    );
    assert_eq!(h.fetch("a"), 1);
    h.fails = None;
    assert_eq!(delete(&mut h), ErrorCode::None);
}

/// Below `min.insync.replicas` tombstones are refused; the topic is gone all the same, and may be made anew before they are not.
#[test]
fn offsets_of_a_deleted_topic_are_none_though_their_tombstones_are_refused() {
    let mut h = Harness::new();
    h.commit(commit("a", 1));
    h.commit(commit("b", 1));
    let deleted = deleted(&["a"], h.log_end());
    h.fails = Some(ErrorCode::NotEnoughReplicas);
    let refused = Answer::TopicsDeleted(ErrorCode::CoordinatorNotAvailable);
    assert_eq!(h.ask(deleted.clone()), refused);
    assert_eq!((h.fetch("a"), h.fetch("b")), (-1, 1));
    h.fails = None;
    assert_eq!(h.ask(deleted), Answer::TopicsDeleted(ErrorCode::None));
    assert_eq!(tombstones(&h), [offset_key("a")]);
    assert_eq!((h.fetch("a"), h.fetch("b")), (-1, 1));
}

/// A removal may wait for a load, or for followers; the topic is made anew and committed to meanwhile.
#[test]
fn what_was_committed_for_a_topic_that_was_made_anew_stays() {
    let mut h = Harness::new();
    h.commit(commit("a", 1));
    h.commit(Commit {
        group_id: "other".into(),
        ..commit("a", 1)
    });
    let deleted = deleted(&["a"], h.log_end());
    h.commit(commit("a", 42));
    assert_eq!(h.ask(deleted), Answer::TopicsDeleted(ErrorCode::None));
    assert_eq!(tombstones(&h).len(), 1, "of the other group");
    assert_eq!(h.fetch("a"), 42);
    h.fail_over();
    assert_eq!(h.fetch("a"), 42);
}

#[test]
fn a_large_removal_takes_several_batches_and_others_wait_for_it() {
    let mut h = Harness::with(GroupSettings {
        removal_batch_bytes: 500,
        ..GroupSettings::default()
    });
    let mut all = commit("a", 1);
    all.offsets = (0..100)
        .map(|partition| CommitPartition {
            partition,
            ..all.offsets[0].clone()
        })
        .collect();
    h.commit(all.clone());
    h.commit(Commit {
        group_id: "other".into(),
        ..commit("b", 1)
    });
    let before = h.batches;
    let first = h.send(Command::Delete(vec![GROUP.into(), "other".into()]));
    let second = h.send(Command::Delete(vec!["other".into()]));
    let third = h.send(Command::Expire);
    assert!(h.is_waiting(first) && h.is_waiting(second) && h.is_waiting(third));
    h.advance(0);
    assert!(h.batches - before > 5);
    let none = ErrorCode::None;
    assert_eq!(
        h.answer(first),
        Some(Answer::Delete(vec![(GROUP.into(), none), ("other".into(), none)]))
    );
    assert_eq!(
        h.answer(second),
        Some(Answer::Delete(vec![("other".into(), ErrorCode::GroupIdNotFound)]))
    );
    assert_eq!(h.answer(third), Some(Answer::Done));
    assert_eq!((h.listed(), h.timers.len()), (vec![], 0));
    // One that waits when the shard goes away is told.
    h.commit(all);
    let token = h.send(Command::Delete(vec![GROUP.into()]));
    use crate::coordinator::Shard;
    let told = Answer::Delete(vec![(GROUP.into(), ErrorCode::NotCoordinator)]);
    assert_eq!(h.shard.unload(), [(token, told)]);
}

/// Row 63 of the pitfalls.
#[test]
fn a_hundred_thousand_offsets_expire_in_batches_that_a_log_takes() {
    const OFFSETS: usize = 100_000;
    let mut h = Harness::new();
    let mut all = commit("topic", 1);
    let one = all.offsets.remove(0);
    let each = |partition| CommitPartition {
        partition,
        ..one.clone()
    };
    all.offsets = (0..OFFSETS as i32).map(each).collect();
    h.commit(all);
    let before = h.batches;
    h.advance(7 * DAY_MS);
    let token = h.send(Command::Expire);
    h.advance(0);
    assert_eq!(h.answer(token), Some(Answer::Done));
    assert_eq!((h.listed(), h.log.len()), (vec![], 2 * OFFSETS));
    let mut bytes = vec![0; h.batches - before];
    for entry in &h.log {
        if let Entry::Record { record, batch, .. } = entry
            && let Some(sum) = batch.checked_sub(before).and_then(|at| bytes.get_mut(at))
        {
            *sum += record.key.len();
        }
    }
    let most = GroupSettings::default().removal_batch_bytes;
    assert!(
        bytes.len() > 3 && bytes.iter().all(|sum| *sum < most),
        "{bytes:?}"
    );
}

/// Many groups of ten offsets, in a log that takes little at once from then on.
fn many_groups(names: &[Text], max_batch_bytes: usize) -> Harness {
    let mut h = Harness::new();
    for name in names {
        let mut all = commit("a", 1);
        let one = all.offsets.remove(0);
        all.group_id = name.clone();
        all.offsets = (0..10)
            .map(|partition| CommitPartition {
                partition,
                ..one.clone()
            })
            .collect();
        h.commit(all);
    }
    h.max_batch_bytes = max_batch_bytes;
    h
}

/// What is left, after every turn.
fn left(h: &mut Harness, token: crate::coordinator::Token) -> (Answer, usize) {
    h.advance(0);
    let answer = h.answer(token).unwrap();
    let left = h.listed().len();
    h.fail_over();
    assert_eq!(h.listed().len(), left);
    (answer, left)
}

/// Whatever `max.message.bytes` of the topic is, or was changed to while the broker runs.
#[test]
fn a_removal_is_as_many_batches_as_the_log_wants() {
    let names: Vec<Text> = (0..30).map(|number| format!("group-{number}").into()).collect();
    // The keys of one group's offsets are 190 bytes; in 25 one of them finds room.
    for max_batch_bytes in [25, 100, 1_000, 100_000] {
        let mut h = many_groups(&names, max_batch_bytes);
        let token = h.send(Command::Delete(names.clone()));
        let none = names.iter().map(|name| (name.clone(), ErrorCode::None)).collect();
        assert_eq!(left(&mut h, token), (Answer::Delete(none), 0));

        let mut h = many_groups(&names, max_batch_bytes);
        let all = deleted(&["a"], h.log_end());
        let token = h.send(all);
        assert_eq!(left(&mut h, token), (Answer::TopicsDeleted(ErrorCode::None), 0));

        let mut h = many_groups(&names, max_batch_bytes);
        h.advance(7 * DAY_MS);
        let token = h.send(Command::Expire);
        assert_eq!(left(&mut h, token), (Answer::Done, 0));

        let mut h = many_groups(&names[..1], max_batch_bytes);
        let topics = vec![("a".into(), (0..10).chain(0..10).collect())];
        let group_id = names[0].clone();
        let token = h.send(Command::DeleteOffsets(DeleteOffsets { group_id, topics }));
        let (answer, left) = left(&mut h, token);
        assert!(matches!(answer, Answer::DeleteOffsets(answer) if answer.error.is_none()));
        assert_eq!(left, 0);
    }
}

#[test]
fn a_group_whose_record_is_split_from_its_offsets_goes_all_the_same() {
    let mut h = Harness::new();
    let ids = h.stable(1);
    h.commit(commit_of(&ids[0], 1, "a", 1));
    h.leave(&ids[0]);
    h.max_batch_bytes = 20;
    let token = h.send(Command::Delete(vec![GROUP.into()]));
    let none = Answer::Delete(vec![(GROUP.into(), ErrorCode::None)]);
    assert_eq!(left(&mut h, token), (none, 0));
    assert_eq!(tombstones(&h), [group_key()]);
}

#[test]
fn a_tombstone_that_the_log_does_not_take_holds_up_no_other_group() {
    let long: Text = "long".repeat(50).into();
    let names: Vec<Text> = vec!["before".into(), long.clone(), "then".into(), "twice".into()];
    let error = ErrorCode::UnknownServerError;
    let mut h = many_groups(&names, 150);
    let token = h.send(Command::Delete(names.clone()));
    let told = names.iter().map(|name| {
        let own = if *name == long { error } else { ErrorCode::None };
        (name.clone(), own)
    });
    assert_eq!(left(&mut h, token), (Answer::Delete(told.collect()), 1));

    let mut h = many_groups(&names, 150);
    let all = deleted(&["a"], h.log_end());
    let token = h.send(all.clone());
    assert_eq!(left(&mut h, token), (Answer::TopicsDeleted(error), 1));
    h.max_batch_bytes = 1_000;
    let token = h.send(all);
    assert_eq!(left(&mut h, token), (Answer::TopicsDeleted(ErrorCode::None), 0));

    let mut h = many_groups(&names, 150);
    h.advance(7 * DAY_MS);
    let token = h.send(Command::Expire);
    assert_eq!(left(&mut h, token), (Answer::Done, 1));
    h.max_batch_bytes = 1_000;
    let token = h.send(Command::Expire);
    assert_eq!(left(&mut h, token), (Answer::Done, 0));

    // Of one group there is nothing else that could go on.
    let mut h = many_groups(&names, 150);
    let topics = vec![("a".into(), vec![0])];
    let answer = h.ask(Command::DeleteOffsets(DeleteOffsets {
        group_id: long,
        topics,
    }));
    assert!(matches!(answer, Answer::DeleteOffsets(answer) if answer.error == error));
}

#[test]
fn the_removals_that_wait_have_a_bound() {
    let mut h = Harness::with(GroupSettings {
        removal_batch_bytes: 1,
        ..GroupSettings::default()
    });
    let mut all = commit("a", 1);
    all.offsets.extend(commit("b", 1).offsets);
    h.commit(all);
    let tokens: Vec<_> = (0..1_000)
        .map(|_| h.send(Command::Delete(vec![GROUP.into()])))
        .collect();
    assert!(tokens.iter().all(|token| h.is_waiting(*token)));
    assert_eq!(delete(&mut h), ErrorCode::CoordinatorNotAvailable);
    h.advance(0);
    assert!(tokens.into_iter().all(|token| h.answer(token).is_some()));
}

#[test]
fn offsets_are_deleted_from_a_group_without_members() {
    let mut h = Harness::new();
    assert_eq!(delete_offsets(&mut h, &["a"]).error, ErrorCode::GroupIdNotFound);
    h.commit(commit("a", 1));
    h.commit(commit("b", 1));
    let answer = delete_offsets(&mut h, &["b"]);
    let none = ErrorCode::None;
    assert_eq!(
        answer,
        DeleteOffsetsAnswer {
            error: none,
            topics: vec![("b".into(), vec![(0, none), (1, none)])]
        }
    );
    assert_eq!(tombstones(&h), [offset_key("b")]);
    assert_eq!((h.fetch("a"), h.fetch("b")), (1, -1));
    let before = h.batches;
    assert_eq!(delete_offsets(&mut h, &["c"]).error, none);
    assert_eq!(h.batches, before);
}

#[test]
fn offsets_that_members_read_cannot_be_deleted() {
    let mut h = Harness::new();
    let ids = h.stable(1);
    h.commit(commit_of(&ids[0], 1, "topic", 1));
    h.commit(commit_of(&ids[0], 1, "other", 1));
    let answer = delete_offsets(&mut h, &["topic", "other"]);
    let [(_, read), (_, free)] = &answer.topics[..] else {
        panic!()
    };
    assert_eq!(read[0].1, ErrorCode::GroupSubscribedToTopic);
    assert_eq!(free[0].1, ErrorCode::None);
    assert_eq!((h.fetch("topic"), h.fetch("other")), (1, -1));
    // What a member reads that cannot be understood may be anything.
    let odd = Join {
        protocols: vec![("range".into(), "odd".into())],
        ..join(&ids[0])
    };
    let token = h.send(Command::Join(odd));
    let generation = h.joined(token).generation_id;
    h.sync(sync(&ids[0], generation, vec![]));
    let answer = delete_offsets(&mut h, &["other"]);
    assert_eq!(answer.topics[0].1[0].1, ErrorCode::GroupSubscribedToTopic);
    // Of other kinds of groups nobody knows.
    let mut h = Harness::new();
    h.stable_with(vec![Join {
        protocol_type: "connect".into(),
        ..join("")
    }]);
    let answer = delete_offsets(&mut h, &["topic"]);
    assert_eq!((answer.error, answer.topics), (ErrorCode::NonEmptyGroup, vec![]));
}

#[test]
fn while_a_rebalance_goes_on_the_subscriptions_of_the_last_generation_count() {
    for fails_over in [false, true] {
        let mut h = Harness::new();
        let ids = h.stable(2);
        for topic in ["topic", "other"] {
            h.commit(commit_of(&ids[0], 1, topic, 1));
        }
        if fails_over {
            h.fail_over();
        }
        let changed = Join {
            protocols: vec![("range".into(), subscription(&["other"]))],
            ..join(&ids[0])
        };
        h.send(Command::Join(changed));
        assert_eq!(h.state(), "PreparingRebalance");
        let answer = delete_offsets(&mut h, &["topic", "other"]);
        let errors: Vec<_> = answer.topics.iter().map(|(_, each)| each[0].1).collect();
        assert_eq!(errors, [ErrorCode::GroupSubscribedToTopic, ErrorCode::None]);
        // Once everybody has gone nobody subscribes to anything, until the next generation is there.
        for id in &ids {
            h.leave(id);
        }
        assert_eq!(h.state(), "Empty");
        h.send(Command::Join(join("")));
        assert_eq!(h.state(), "PreparingRebalance");
        let answer = delete_offsets(&mut h, &["topic"]);
        assert_eq!(answer.topics[0].1[0].1, ErrorCode::None);
    }
}

#[test]
fn a_group_that_loses_its_last_offset_and_has_nobody_is_removed() {
    let mut h = Harness::new();
    let ids = h.stable(1);
    h.commit(commit_of(&ids[0], 1, "topic", 1));
    h.leave(&ids[0]);
    h.ask(deleted(&["topic"], h.log_end()));
    assert_eq!(tombstones(&h), [offset_key("topic"), group_key()]);
    assert_eq!(h.listed(), []);
}

/// Its record says since when the group is empty: without it the offsets that are left would expire by their own age.
#[test]
fn a_group_of_which_a_partition_is_named_twice_keeps_its_record_with_its_other_offsets() {
    let mut h = Harness::new();
    let ids = h.stable(1);
    h.commit(commit_of(&ids[0], 1, "a", 1));
    h.commit(commit_of(&ids[0], 1, "b", 1));
    h.leave(&ids[0]);
    let answer = delete_offsets(&mut h, &["a", "a"]);
    assert_eq!(answer.topics.len(), 2, "an answer for each question");
    assert_eq!(tombstones(&h), [offset_key("a")]);
    assert_eq!((h.fetch("a"), h.fetch("b"), h.state()), (-1, 1, "Empty"));
    h.fail_over();
    assert_eq!((h.fetch("b"), h.state()), (1, "Empty"));
    // With its last offset it goes.
    delete_offsets(&mut h, &["b", "b"]);
    assert_eq!(tombstones(&h), [offset_key("b"), group_key()]);
}

#[test]
fn a_topic_that_is_gone_takes_its_offsets_along() {
    let mut h = Harness::new();
    let ids = h.stable(1);
    for topic in ["topic", "a", "b"] {
        h.commit(commit_of(&ids[0], 1, topic, 1));
        h.commit(Commit {
            group_id: "other".into(),
            ..commit(topic, 1)
        });
    }
    h.ask(deleted(&["topic", "b", "unknown"], h.log_end()));
    assert_eq!(tombstones(&h).len(), 4);
    assert_eq!((h.fetch("topic"), h.fetch("a"), h.fetch("b")), (-1, 1, -1));
    assert_eq!(h.state(), "Stable");
    h.fail_over();
    assert_eq!((h.fetch("topic"), h.fetch("a"), h.fetch("b")), (-1, 1, -1));
}

#[test]
fn offsets_of_an_empty_group_expire_when_it_has_been_empty_for_long() {
    for fails_over in [false, true] {
        let mut h = Harness::new();
        let ids = h.stable(1);
        h.commit(commit_of(&ids[0], 1, "topic", 1));
        for _ in 0..8 {
            h.advance(DAY_MS - 5_000 * (DAY_MS / 5_000) + 5_000);
            assert_eq!(h.heartbeat(&ids[0], 1), ErrorCode::None);
        }
        h.leave(&ids[0]);
        let commit_would_be_old = 7 * DAY_MS;
        if fails_over {
            h.fail_over();
        }
        h.advance(commit_would_be_old - 1);
        expire(&mut h);
        assert_eq!(h.fetch("topic"), 1);
        h.advance(1);
        expire(&mut h);
        assert_eq!(tombstones(&h), [offset_key("topic"), group_key()]);
        assert_eq!((h.fetch("topic"), h.listed()), (-1, vec![]));
    }
}

/// Days pass, and the members of a group go on giving signs of life.
fn live(h: &mut Harness, ids: &[Text], generation: i32, ms: i64) {
    let until = h.now_ms + ms;
    let sessions: Vec<_> = h.timers.keys().cloned().collect();
    // Nothing fires while they do; a heartbeat each few seconds of a week would only take long.
    h.now_ms = until;
    for timer in sessions {
        h.timers.insert(timer, until + 10_000);
    }
    for id in ids {
        assert_eq!(h.heartbeat(id, generation), ErrorCode::None);
    }
}

#[test]
fn offsets_of_topics_that_a_live_group_reads_do_not_expire() {
    // KAFKA-4682, KAFKA-8069: an idle live group.
    for fails_over in [false, true] {
        let mut h = Harness::new();
        let ids = h.stable(2);
        h.commit(commit_of(&ids[0], 1, "topic", 1));
        h.commit(commit_of(&ids[0], 1, "former", 1));
        live(&mut h, &ids, 1, 7 * DAY_MS);
        if fails_over {
            h.fail_over();
        }
        expire(&mut h);
        assert_eq!((h.fetch("topic"), h.fetch("former")), (1, -1));
        assert_eq!(tombstones(&h), [offset_key("former")]);
        assert_eq!(h.state(), "Stable");
    }
}

#[test]
fn nothing_expires_while_nobody_can_tell_what_is_needed() {
    let week = 8 * DAY_MS;
    // While it rebalances.
    let mut h = Harness::new();
    let ids = h.stable(2);
    h.commit(commit_of(&ids[0], 1, "former", 1));
    live(&mut h, &ids, 1, week);
    h.send(Command::Join(join(&ids[0])));
    expire(&mut h);
    assert_eq!(h.fetch("former"), 1);
    // Another kind of group; metadata that is not understood.
    for odd in [
        Join {
            protocol_type: "connect".into(),
            ..join("")
        },
        Join {
            protocols: vec![("range".into(), "odd".into())],
            ..join("")
        },
    ] {
        let mut h = Harness::new();
        let ids = h.stable_with(vec![odd]);
        h.commit(commit_of(&ids[0], 1, "former", 1));
        live(&mut h, &ids, 1, week);
        expire(&mut h);
        assert_eq!(h.fetch("former"), 1);
    }
}

#[test]
fn offsets_without_members_expire_by_their_own_age() {
    let mut h = Harness::new();
    h.commit(commit("old", 1));
    let mut dated = commit("dated", 1);
    dated.offsets[0].commit_timestamp_ms = Some(h.now_ms - 8 * DAY_MS);
    h.commit(dated);
    expire(&mut h);
    assert_eq!((h.fetch("old"), h.fetch("dated")), (1, -1));
    h.advance(3 * DAY_MS);
    h.commit(commit("young", 1));
    h.advance(4 * DAY_MS);
    expire(&mut h);
    assert_eq!(tombstones(&h), [offset_key("old")]);
    assert_eq!((h.fetch("old"), h.fetch("young")), (-1, 1));
    h.advance(3 * DAY_MS);
    expire(&mut h);
    // A group that never had members has no record to remove.
    assert_eq!(tombstones(&h), [offset_key("young")]);
    assert_eq!(h.listed(), []);
}

#[test]
fn an_expiry_that_the_client_asked_for_counts_instead() {
    let mut h = Harness::new();
    h.commit(Commit {
        retention_ms: Some(1_000),
        ..commit("short", 1)
    });
    h.commit(Commit {
        retention_ms: Some(30 * DAY_MS),
        ..commit("long", 1)
    });
    h.advance(999);
    expire(&mut h);
    assert_eq!(h.fetch("short"), 1);
    h.advance(1);
    expire(&mut h);
    assert_eq!((h.fetch("short"), h.fetch("long")), (-1, 1));
    h.advance(29 * DAY_MS);
    h.fail_over();
    expire(&mut h);
    assert_eq!(h.fetch("long"), 1);
    h.advance(DAY_MS);
    expire(&mut h);
    assert_eq!(h.fetch("long"), -1);
}

#[test]
fn a_commit_makes_an_offset_young_again() {
    let mut h = Harness::new();
    h.commit(commit("topic", 1));
    h.advance(6 * DAY_MS);
    h.commit(commit("topic", 2));
    h.advance(6 * DAY_MS);
    expire(&mut h);
    assert_eq!(h.fetch("topic"), 2);
}

#[test]
fn what_an_open_transaction_would_commit_anew_does_not_expire() {
    let mut h = Harness::new();
    h.commit(commit("topic", 1));
    let (record, _) = h.last_batch().remove(0);
    h.append_transactional(9, record);
    h.advance(8 * DAY_MS);
    expire(&mut h);
    assert_eq!(h.fetch("topic"), 1);
    h.end_transaction(9, false);
    expire(&mut h);
    assert_eq!(h.fetch("topic"), -1);
}

#[test]
fn an_empty_group_without_offsets_is_removed_by_housekeeping() {
    let mut h = Harness::new();
    let ids = h.stable(1);
    h.leave(&ids[0]);
    assert_eq!(h.state(), "Empty");
    let pending = h.join(join_9("")).member_id;
    expire(&mut h);
    assert_eq!(h.state(), "Empty", "somebody is about to join");
    h.leave(&pending);
    expire(&mut h);
    assert_eq!(tombstones(&h), [group_key()]);
    assert_eq!(h.state(), "Dead");
}

#[test]
fn empty_groups_of_old_records_expire_by_the_age_of_each_offset() {
    use crate::coordinator::NewRecord;
    use crate::group::record::GroupValue;
    use crate::group::record::key::group_key;
    let mut h = Harness::new();
    h.commit(commit("topic", 1));
    let value = GroupValue {
        protocol_type: "consumer".into(),
        generation: 4,
        protocol: None,
        leader: None,
        current_state_timestamp_ms: -1,
        members: vec![],
    };
    h.append_transactional(
        -1,
        NewRecord {
            key: group_key(GROUP),
            value: Some(value.encode()),
        },
    );
    h.fail_over();
    h.advance(7 * DAY_MS - 1);
    expire(&mut h);
    assert_eq!(h.fetch("topic"), 1);
    h.advance(1);
    expire(&mut h);
    assert_eq!(h.fetch("topic"), -1);
}

#[test]
fn a_group_that_an_open_transaction_would_commit_to_is_not_removed() {
    let mut h = Harness::new();
    h.commit(commit("topic", 1));
    let (record, _) = h.last_batch().remove(0);
    assert_eq!(delete(&mut h), ErrorCode::None);
    let ids = h.stable(1);
    h.leave(&ids[0]);
    h.append_transactional(9, record);
    expire(&mut h);
    assert_eq!((h.state(), &*h.describe().protocol_type), ("Empty", "consumer"));
    h.end_transaction(9, false);
    expire(&mut h);
    assert_eq!(h.state(), "Dead");
}
