//! A real Kafka's `__consumer_offsets`, loaded: the groups and offsets that Kafka would have.
#![expect(
    clippy::disallowed_methods,
    reason = "a test that reads the repository's own files"
)]

use std::path::Path;

use super::GroupShard;
use crate::base::error_code::ErrorCode;
use crate::base::ids::Offset;
use crate::base::random::Random;
use crate::coordinator::{EndedTransaction, Replayed, Shard, Step, Token};
use crate::group::command::*;
use crate::group::memory::Memory;
use crate::group::settings::GroupSettings;
use crate::records::batch::Batches;
use crate::records::control::EndTransactionMarker;

fn load(name: &str) -> GroupShard {
    let mut shard = GroupShard::new(GroupSettings::default(), Random::from_seed(1), &Memory::default());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    let log = std::fs::read(folder.join("00000000000000000000.log")).unwrap();
    for batch in Batches::new(&log) {
        let batch = batch.unwrap();
        if batch.is_control() {
            let marker = EndTransactionMarker::of_batch(&batch).unwrap().unwrap();
            shard.replay_marker(EndedTransaction {
                producer_id: batch.producer_id.get(),
                producer_epoch: batch.producer_epoch.get(),
                commit: marker.commit,
                offset: batch.base_offset,
                replicated: true,
            });
            continue;
        }
        let mut records = batch.records(None).unwrap();
        while let Some(record) = records.next().unwrap() {
            let replayed = Replayed {
                key: record.key.unwrap(),
                value: record.value,
                offset: record.offset,
                timestamp_ms: record.timestamp,
                producer_id: batch.producer_id.get(),
                producer_epoch: batch.producer_epoch.get(),
                transactional: batch.is_transactional(),
                replicated: true,
            };
            shard.replay(&replayed).unwrap();
        }
    }
    assert!(matches!(shard.loaded(1_795_345_400_000), Step::Done(_)));
    shard
}

fn ask(shard: &mut GroupShard, command: Command) -> Answer {
    match shard.step(command, Token(1), 1_795_345_400_000) {
        Step::Done(effects) => effects.answers.into_iter().next().unwrap().1,
        Step::Write { .. } => panic!("it only reads"),
    }
}

/// Each group's name, state and protocol type.
fn groups(shard: &mut GroupShard) -> Vec<(String, &'static str, String)> {
    let Answer::List(listed) = ask(shard, Command::List) else {
        panic!()
    };
    let each = listed.into_iter().map(|group| {
        let describe = ask(shard, Command::Describe(group.group_id.clone()));
        assert!(matches!(describe, Answer::Describe(described) if described.state == group.state));
        (group.group_id.into(), group.state, group.protocol_type.into())
    });
    let mut all: Vec<_> = each.collect();
    all.sort();
    all
}

fn offset(
    shard: &mut GroupShard,
    group: &'static str,
    require_stable: bool,
) -> (ErrorCode, i64, i32, String) {
    let fetch = FetchOffsets {
        group_id: group.into(),
        member_id: None,
        member_epoch: -1,
        topics: Some(vec![("g-none".into(), vec![0])]),
        require_stable,
    };
    let Answer::Fetch(answer) = ask(shard, Command::Fetch(fetch)) else {
        panic!()
    };
    let one = &answer.topics[0].1[0];
    (one.error, one.offset, one.leader_epoch, one.metadata.to_string())
}

fn expected(groups: &[(&str, &'static str, &str)]) -> Vec<(String, &'static str, String)> {
    let each = groups.iter();
    each.map(|(name, state, kind)| ((*name).to_owned(), *state, (*kind).to_owned()))
        .collect()
}

#[test]
fn static_members_simple_groups_and_an_open_transaction() {
    let mut shard = load("clean/__consumer_offsets-2");
    let all = [
        ("grp-simple", "Empty", ""),
        ("grp-static", "Stable", "consumer"),
        ("grp-txn", "Empty", ""),
    ];
    assert_eq!(groups(&mut shard), expected(&all));
    let none = ErrorCode::None;
    assert_eq!(
        offset(&mut shard, "grp-simple", false),
        (none, 33, -1, String::new())
    );
    assert_eq!(
        offset(&mut shard, "grp-static", true),
        (none, 11, 0, "static".to_owned())
    );
    // One transaction committed, one aborted, one is open.
    assert_eq!(
        offset(&mut shard, "grp-txn", false),
        (none, 3, 0, "txn commit".to_owned())
    );
    let unstable = (ErrorCode::UnstableOffsetCommit, -1, -1, String::new());
    assert_eq!(offset(&mut shard, "grp-txn", true), unstable);
    shard.replay_marker(EndedTransaction {
        producer_id: 7,
        producer_epoch: 0,
        commit: true,
        offset: Offset(1_000),
        replicated: true,
    });
    assert_eq!(
        offset(&mut shard, "grp-txn", true),
        (none, 9, -1, "pending".to_owned())
    );

    let Answer::Describe(group) = ask(&mut shard, Command::Describe("grp-static".into())) else {
        panic!()
    };
    assert_eq!(&*group.protocol, "cooperative-sticky");
    let [member] = &group.members[..] else {
        panic!("{group:?}")
    };
    assert_eq!(member.member_id, "inst-1-287f6373-2682-4354-96f1-4eb7ca32eaf7");
    assert_eq!(member.group_instance_id, Some("inst-1".into()));
    // Its former self is fenced, it itself goes on.
    let heartbeat = |member_id: &'static str| {
        Command::Heartbeat(Heartbeat {
            group_id: "grp-static".into(),
            generation_id: 1,
            member_id: member_id.into(),
            group_instance_id: Some("inst-1".into()),
        })
    };
    let fenced = ask(
        &mut shard,
        heartbeat("inst-1-de185a47-3fe4-48b9-80f6-7404bb6d7831"),
    );
    assert_eq!(fenced, Answer::Heartbeat(ErrorCode::FencedInstanceId));
    let current = ask(
        &mut shard,
        heartbeat("inst-1-287f6373-2682-4354-96f1-4eb7ca32eaf7"),
    );
    assert_eq!(current, Answer::Heartbeat(none));
}

#[test]
fn groups_that_were_deleted_and_one_that_is_empty() {
    let mut shard = load("clean/__consumer_offsets-3");
    assert_eq!(groups(&mut shard), expected(&[("grp-kcat", "Empty", "consumer")]));
    assert_eq!(
        offset(&mut shard, "grp-kcat", true),
        (ErrorCode::None, 3, -1, String::new())
    );
    assert_eq!(offset(&mut shard, "grp-del", true).1, -1);
}

#[test]
fn an_old_brokers_records() {
    let mut shard = load("legacy/__consumer_offsets-3");
    assert_eq!(groups(&mut shard), expected(&[("grp-old", "Empty", "consumer")]));
}

#[test]
fn the_other_partitions_load() {
    for name in ["clean/__consumer_offsets-0", "clean/__consumer_offsets-1"] {
        assert!(!groups(&mut load(name)).is_empty());
    }
}
