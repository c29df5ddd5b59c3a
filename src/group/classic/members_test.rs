//! The counts of a group's members agree with the members whatever happens to them.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::ClassicGroup;
use super::member::Member;
use super::members::Members;
use crate::coordinator::Token;
use crate::group::command::Join;
use crate::group::record::MemberValue;
use crate::group::testing::{join, offering};
use crate::wire::text::Text;

static IDS: [Text; 5] = [
    Text::from_static("a"),
    Text::from_static("b"),
    Text::from_static("c"),
    Text::from_static("d"),
    Text::from_static("e"),
];
static INSTANCES: [Text; 2] = [Text::from_static("one"), Text::from_static("two")];
const PROTOCOLS: [&str; 3] = ["x", "y", "z"];

#[derive(Clone, Debug)]
enum Change {
    Add(usize, Option<usize>, Vec<usize>),
    Remove(usize),
    Rename(usize, usize),
    Update(usize, Vec<usize>),
    ParkJoin(usize),
    TakeJoin(usize),
    ParkSync(usize),
    TakeSyncs,
    Elect,
    Clear,
    Load(Vec<(usize, bool)>),
}

fn change() -> impl Strategy<Value = Change> {
    let id = || 0..IDS.len();
    let protocols = || prop::collection::vec(0..PROTOCOLS.len(), 0..4);
    let instance = prop::option::of(0..INSTANCES.len());
    prop_oneof![
        4 => (id(), instance, protocols()).prop_map(|(id, instance, protocols)| Change::Add(id, instance, protocols)),
        2 => id().prop_map(Change::Remove),
        1 => (id(), id()).prop_map(|(old, new)| Change::Rename(old, new)),
        2 => (id(), protocols()).prop_map(|(id, protocols)| Change::Update(id, protocols)),
        2 => id().prop_map(Change::ParkJoin),
        1 => id().prop_map(Change::TakeJoin),
        1 => id().prop_map(Change::ParkSync),
        1 => Just(Change::TakeSyncs),
        1 => Just(Change::Elect),
        1 => Just(Change::Clear),
        1 => prop::collection::vec((id(), any::<bool>()), 0..5).prop_map(Change::Load),
    ]
}

fn with(protocols: &[usize]) -> Join {
    let names: Vec<&'static str> = protocols.iter().map(|at| PROTOCOLS[*at]).collect();
    offering(&names, join(""))
}

fn value(id: usize, is_static: bool) -> MemberValue {
    MemberValue {
        member_id: IDS[id].clone(),
        group_instance_id: is_static.then(|| Text::copy(&format!("instance of {id}"))),
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        rebalance_timeout_ms: 60_000,
        session_timeout_ms: 10_000,
        subscription: with(&[0]).protocols.remove(0).1,
        assignment: Bytes::from_static(b"assignment"),
    }
}

fn apply(members: &mut Members, change: Change, token: Token) {
    match change {
        // A group adds neither a member nor an instance that it has.
        Change::Add(id, instance, protocols) => {
            let instance = instance.map(|at| INSTANCES[at].clone());
            if !members.contains(&IDS[id])
                && instance
                    .as_ref()
                    .is_none_or(|name| members.with_instance(name).is_none())
            {
                let join = Join {
                    group_instance_id: instance,
                    ..with(&protocols)
                };
                members.add(IDS[id].clone(), Member::new(&join));
            }
        }
        Change::Remove(id) => drop(members.remove(&IDS[id])),
        Change::Rename(old, new) => {
            if !members.contains(&IDS[new]) {
                members.rename(&IDS[old], IDS[new].clone());
            }
        }
        Change::Update(id, protocols) => members.update(&IDS[id], &with(&protocols)),
        Change::ParkJoin(id) => drop(members.park_join(&IDS[id], token)),
        Change::TakeJoin(id) => drop(members.take_join(&IDS[id])),
        Change::ParkSync(id) => drop(members.park_sync(&IDS[id], token)),
        Change::TakeSyncs => drop(members.take_syncs()),
        Change::Elect => drop(members.elect_joined_leader()),
        Change::Clear => members.clear_assignments(),
        Change::Load(values) => {
            let leader = values.first().map(|(id, _)| IDS[*id].clone());
            let values = values
                .into_iter()
                .map(|(id, is_static)| value(id, is_static))
                .collect();
            members.load(values, Some(&"x".into()), leader);
        }
    }
}

fn check(members: &Members) {
    let mut support: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut waiting, mut bytes) = (0, 0);
    for (id, member) in members.iter() {
        let mut names: Vec<&str> = member.protocols.iter().map(|(name, _)| &**name).collect();
        names.sort_unstable();
        names.dedup();
        names
            .into_iter()
            .for_each(|name| *support.entry(name).or_default() += 1);
        waiting += usize::from(member.awaiting_join.is_some());
        bytes += member.bytes() + id.len();
        if let Some(instance) = &member.group_instance_id {
            assert_eq!(members.with_instance(instance), Some(id));
        }
    }
    assert_eq!(members.awaiting_join(), waiting);
    assert_eq!(members.bytes(), bytes);
    for name in PROTOCOLS {
        let by_all = support.get(name).copied().unwrap_or(0) == members.len();
        assert_eq!(
            members.all_support_one_of(&[(name.into(), Bytes::new())]),
            by_all,
            "{name}"
        );
    }
    if let Some(chosen) = members.select_protocol() {
        assert_eq!(support.get(&*chosen), Some(&members.len()));
    }
    assert!(members.leader().is_none_or(|leader| members.contains(leader)));
    for instance in &INSTANCES {
        if let Some(id) = members.with_instance(instance) {
            assert_eq!(
                members.get(id).unwrap().group_instance_id.as_ref(),
                Some(instance)
            );
        }
    }
}

proptest! {
    #[test]
    fn counts_agree_with_the_members(changes in prop::collection::vec(change(), 0..40)) {
        let mut members = Members::default();
        for (at, change) in changes.into_iter().enumerate() {
            apply(&mut members, change, Token(at as u64));
            check(&members);
        }
    }
}

/// What groups without members take counts too: there may be as many as a client likes.
#[test]
fn a_group_takes_memory_and_so_do_its_members_and_those_to_come() {
    let mut group = ClassicGroup::new("group".into(), 0);
    let empty = group.bytes();
    assert!(empty > std::mem::size_of::<ClassicGroup>() / 2);
    group.members.add(IDS[0].clone(), Member::new(&with(&[0])));
    let members = group.members.bytes();
    assert!(members > 0);
    assert_eq!(group.bytes(), empty + members);
    group.pending_bytes = 10;
    assert_eq!(group.bytes(), empty + members + 10);
}
