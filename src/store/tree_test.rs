//! Properties of the tree: whatever is asked of it, counts and children agree, and a refused change leaves no trace.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::path;
use super::tree::{Author, Records, Tree};
use super::{CreateKind, Operation, SessionId};

fn operation() -> impl Strategy<Value = Operation> {
    let path = prop::sample::select(vec![
        "/a", "/b", "/a/a", "/a/b", "/a/b/c", "/b/a", "/a/b/c/d", "/", "bad",
    ]);
    let version = prop::option::of(0..3);
    let kind = prop::sample::select(vec![
        CreateKind::Persistent,
        CreateKind::Persistent,
        CreateKind::Ephemeral,
        CreateKind::PersistentSequential,
        CreateKind::EphemeralSequential,
    ]);
    (path, version, kind, 0..4u8).prop_map(|(path, version, kind, what)| match what {
        0 => Operation::set(path, Some(Bytes::from_static(b"x")), version),
        1 => Operation::delete(path, version),
        2 => Operation::check(path, version),
        _ => Operation::create(path, None, kind),
    })
}

fn check(tree: &Tree) {
    let mut children: BTreeMap<String, i32> = BTreeMap::new();
    for (key, record) in tree.records() {
        let path = path::of_key(key).unwrap();
        if let Some(parent) = path::parent(&path) {
            let above = tree.get(parent).expect("a parent is there");
            assert_eq!(above.stat.owner, None);
            *children.entry(parent.to_owned()).or_default() += 1;
        }
        assert!(record.stat.czxid <= record.stat.mzxid && record.stat.mzxid <= tree.zxid());
    }
    for (key, record) in tree.records() {
        let path = path::of_key(key).unwrap();
        let count = children.get(&path).copied().unwrap_or(0);
        assert_eq!(record.stat.children, count);
        assert_eq!(tree.children(&path).unwrap().len(), count as usize);
        assert!(record.created >= count);
    }
}

proptest! {
    #[test]
    fn stays_consistent_and_its_records_are_all_that_changed(
        changes in prop::collection::vec(prop::collection::vec(operation(), 1..4), 1..40)
    ) {
        let mut tree = Tree::new();
        let mut kept: BTreeMap<_, _> =
            tree.records().map(|(key, record)| (key.clone(), record.clone())).collect();
        for (number, operations) in changes.into_iter().enumerate() {
            let before = tree.clone();
            let mut records = Records::new();
            let author = Author { session: SessionId(number as i64 % 2), now_ms: number as i64 };
            let answer = tree.apply(operations, author, &mut records);
            if answer.is_err() {
                prop_assert!(records.is_empty());
                prop_assert!(before.records().eq(tree.records()));
                prop_assert_eq!(before.zxid(), tree.zxid());
            }
            for (key, record) in records {
                match record {
                    Some(record) => kept.insert(key, record),
                    None => kept.remove(&key),
                };
            }
            check(&tree);
        }
        prop_assert!(tree.records().eq(kept.iter()));
    }
}
