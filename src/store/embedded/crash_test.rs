//! Power cuts, failing and full disks, and directories that come, go and change places.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use super::copy::{Copy, FILE_NAME, Head};
use super::{EmbeddedStore, OpenStoreError};
use crate::base::disk::memory::{Call, MemoryDisk};
use crate::base::disk::{Disk, Open};
use crate::base::ids::Uuid;
use crate::base::random::Random;
use crate::store::tree::Tree;
use crate::store::{CreateKind, Operation, Session, Store, StoreError};

const STALL: Duration = Duration::from_secs(10);

pub(super) fn directories(names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(PathBuf::from).collect()
}

pub(super) fn disk(memory: &MemoryDisk) -> Disk {
    let disk = Disk::memory(memory.clone());
    for directory in ["/a", "/b", "/c"] {
        disk.create_directory(&PathBuf::from(directory)).unwrap();
        disk.sync_directory(&PathBuf::from("/")).unwrap();
    }
    disk
}

/// The power fails, and this is what the next start finds. The old disk is left as it is to the old process, whose threads
/// know nothing of the cut: what they write from now on is lost.
pub(crate) fn power_cut(memory: &MemoryDisk, keep: impl FnMut() -> bool) -> MemoryDisk {
    let survived = memory.after_kill();
    survived.power_cut(keep);
    survived
}

pub(super) async fn open(disk: &Disk, names: &[&str]) -> Result<EmbeddedStore, OpenStoreError> {
    EmbeddedStore::open(disk, &directories(names), STALL, &Random::from_seed(7)).await
}

/// The same, whatever a missing copy may know.
pub(super) async fn open_left(disk: &Disk, names: &[&str]) -> EmbeddedStore {
    let random = Random::from_seed(7);
    let opened = EmbeddedStore::open_left(disk, &directories(names), STALL, &random, true).await;
    opened.unwrap()
}

/// The directories without which the store in `names` does not start.
pub(super) async fn missing(disk: &Disk, names: &[&str]) -> Vec<String> {
    match open(disk, names).await.err() {
        Some(OpenStoreError::Missing { directories, .. }) => directories,
        other => panic!("{other:?}"),
    }
}

pub(super) async fn put(store: &EmbeddedStore, number: u64) -> Result<(), StoreError> {
    store
        .multi(vec![
            Operation::create(
                format!("/n{number}"),
                Some(Bytes::from(number.to_string())),
                CreateKind::Persistent,
            ),
            Operation::create(
                format!("/n{number}/twin"),
                Some(Bytes::from(vec![7; 300])),
                CreateKind::Persistent,
            ),
        ])
        .await
        .map(|_| ())
        .map_err(|failed| failed.error)
}

pub(super) async fn assert_has(store: &EmbeddedStore, up_to: u64) {
    for number in 0..up_to {
        assert!(
            store.get(&format!("/n{number}")).await.unwrap().is_some(),
            "n{number} of {up_to}"
        );
        assert!(store.get(&format!("/n{number}/twin")).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_power_cut_after_each_commit() {
    for seed in 0..12 {
        let random = Random::from_seed(seed);
        let mut memory = MemoryDisk::new();
        let mut next = 0;
        for _ in 0..8 {
            let disk = disk(&memory);
            let store = open(&disk, &["/a", "/b"]).await.unwrap();
            assert_has(&store, next).await;
            for _ in 0..random.below(4) {
                put(&store, next).await.unwrap();
                next += 1;
            }
            // Started, but not waited for: it may be there afterwards or not, but never by half.
            let unfinished = put(&store, next);
            if random.below(2) == 0 {
                unfinished.await.unwrap();
                next += 1;
            } else {
                drop(unfinished);
            }
            memory = power_cut(&memory, || random.below(2) == 0);
            let disk = Disk::memory(memory.clone());
            let store = open(&disk, &["/a", "/b"]).await.unwrap();
            let node = store.get(&format!("/n{next}")).await.unwrap();
            let twin = store.get(&format!("/n{next}/twin")).await.unwrap();
            assert_eq!(node.is_some(), twin.is_some());
            if node.is_some() {
                next += 1;
            }
            store.close().await;
        }
    }
}

#[tokio::test]
async fn a_power_cut_at_any_sync_or_write_leaves_all_or_nothing() {
    // The disk stops taking anything after `count` calls, as if the power went then.
    for call in [Call::Sync, Call::Write, Call::Rename] {
        for count in 0..30 {
            let random = Random::from_seed(count);
            let memory = MemoryDisk::new();
            let disk = disk(&memory);
            for other in [Call::Sync, Call::Write, Call::Rename] {
                let after = if other == call { count } else { u64::MAX };
                memory.fail(other, "/a", after, u64::MAX, ErrorKind::Other);
            }
            let mut acknowledged = 0;
            if let Ok(store) = open(&disk, &["/a"]).await {
                for number in 0..5 {
                    match put(&store, number).await {
                        Ok(()) => acknowledged = number + 1,
                        Err(error) => {
                            assert_eq!(error, StoreError::Failed);
                            break;
                        }
                    }
                }
            }
            memory.heal();
            let disk = Disk::memory(power_cut(&memory, || random.below(2) == 0));
            let store = open(&disk, &["/a"]).await.unwrap();
            assert_has(&store, acknowledged).await;
            store.close().await;
        }
    }
}

#[tokio::test]
async fn any_directory_alone_knows_everything() {
    let memory = MemoryDisk::new();
    let disk = disk(&memory);
    let store = open(&disk, &["/a", "/b", "/c"]).await.unwrap();
    put(&store, 0).await.unwrap();
    store.close().await;
    disk.remove_file(&PathBuf::from("/a").join(FILE_NAME)).unwrap();
    let store = open_left(&disk, &["/c", "/a"]).await;
    assert_has(&store, 1).await;
    put(&store, 1).await.unwrap();
    store.close().await;
    // /b slept through the last change; the order is another one.
    let store = open_left(&disk, &["/b", "/a"]).await;
    assert_has(&store, 2).await;
    put(&store, 2).await.unwrap();
    store.close().await;
    let store = open_left(&disk, &["/b"]).await;
    assert_has(&store, 3).await;
    store.close().await;
}

#[tokio::test]
async fn a_copy_that_may_be_old_is_not_believed() {
    let memory = MemoryDisk::new();
    let disk = disk(&memory);
    let store = open(&disk, &["/a", "/b"]).await.unwrap();
    put(&store, 0).await.unwrap();
    store.close().await;
    assert_eq!(missing(&disk, &["/b"]).await, ["/a"]);
    let line = open(&disk, &["/b"]).await.err().unwrap().to_string();
    assert!(
        line.starts_with("/b/barnabas-store ") && !line.contains('\n'),
        "{line}"
    );
    assert!(line.contains("accept.missing.log.dirs=true"), "{line}");
    // The user lets /a go; then it comes back alone.
    let store = open_left(&disk, &["/b"]).await;
    put(&store, 1).await.unwrap();
    store.close().await;
    let store = open(&disk, &["/b"]).await.unwrap();
    store.close().await;
    assert_eq!(missing(&disk, &["/a"]).await, ["/b"]);
    // Beside the other one it is only behind, and from then on both are needed again.
    let store = open(&disk, &["/a", "/b"]).await.unwrap();
    assert_has(&store, 2).await;
    put(&store, 2).await.unwrap();
    store.close().await;
    assert_eq!(missing(&disk, &["/a"]).await, ["/b"]);
    assert_eq!(missing(&disk, &["/b", "/c"]).await, ["/a"]);
    let store = open(&disk, &["/a", "/b"]).await.unwrap();
    assert_has(&store, 3).await;
    store.close().await;
    // It is the file that counts, not where it lies.
    for (from, to) in [("/a", "/c"), ("/b", "/a")] {
        let path = |directory: &str| PathBuf::from(directory).join(FILE_NAME);
        disk.rename(&path(from), &path(to)).unwrap();
    }
    let store = open(&disk, &["/a", "/c"]).await.unwrap();
    assert_has(&store, 3).await;
    store.close().await;
}

#[tokio::test]
async fn those_that_are_left_note_that_a_copy_has_left() {
    for call in [Call::Sync, Call::Write] {
        let memory = MemoryDisk::new();
        let disk = disk(&memory);
        let store = open(&disk, &["/a", "/b", "/c"]).await.unwrap();
        put(&store, 0).await.unwrap();
        memory.fail(call, "/a/", 0, u64::MAX, ErrorKind::Other);
        put(&store, 1).await.unwrap();
        // At the moment at which the change was answered.
        let memory = power_cut(&memory, || false);
        memory.heal();
        let disk = Disk::memory(memory.clone());
        assert_eq!(missing(&disk, &["/a"]).await, ["/b", "/c"]);
        let store = open(&disk, &["/c", "/b"]).await.unwrap();
        assert_has(&store, 2).await;
        store.close().await;
        assert_eq!(missing(&disk, &["/c", "/a"]).await, ["/b"]);
        let store = open(&disk, &["/a", "/b", "/c"]).await.unwrap();
        assert_has(&store, 2).await;
        store.close().await;
    }
}

#[tokio::test]
async fn a_store_of_before_copies_were_noted_opens_and_notes_them() {
    let memory = MemoryDisk::new();
    let disk = disk(&memory);
    let store = open(&disk, &["/a", "/b"]).await.unwrap();
    put(&store, 0).await.unwrap();
    store.close().await;
    for directory in directories(&["/a", "/b"]) {
        let (copy, _) = Copy::open(&disk, &directory, Uuid([9; 16])).unwrap().unwrap();
        copy.forget_members();
    }
    let store = open(&disk, &["/b"]).await.unwrap();
    assert_has(&store, 1).await;
    store.close().await;
    let store = open(&disk, &["/a", "/b"]).await.unwrap();
    put(&store, 1).await.unwrap();
    store.close().await;
    assert_eq!(missing(&disk, &["/a"]).await, ["/b"]);
}

#[tokio::test]
async fn a_directory_that_was_copied_is_one_more_copy() {
    let memory = MemoryDisk::new();
    let disk = disk(&memory);
    let store = open(&disk, &["/a"]).await.unwrap();
    put(&store, 0).await.unwrap();
    store.close().await;
    let [from, to] = ["/a", "/b"].map(|directory| PathBuf::from(directory).join(FILE_NAME));
    let bytes = disk.read(&from, 1 << 24).unwrap();
    disk.open(&to, Open::Truncate)
        .unwrap()
        .write_all_at(&bytes, 0)
        .unwrap();
    let store = open(&disk, &["/a", "/b"]).await.unwrap();
    put(&store, 1).await.unwrap();
    store.close().await;
    assert_eq!(missing(&disk, &["/a"]).await, ["/b"]);
    assert_eq!(missing(&disk, &["/b"]).await, ["/a"]);
}

#[tokio::test]
async fn a_failing_copy_is_left_out_and_written_anew_at_the_next_start() {
    let memory = MemoryDisk::new();
    let disk = disk(&memory);
    let store = open(&disk, &["/a", "/b"]).await.unwrap();
    put(&store, 0).await.unwrap();
    memory.fail(Call::Sync, "/a/", 0, 1, ErrorKind::Other);
    put(&store, 1).await.unwrap();
    let syncs = memory.counts().syncs;
    put(&store, 2).await.unwrap();
    assert_eq!(memory.counts().syncs - syncs, 1, "only the other copy is synced");
    memory.fail(Call::Sync, "/b/", 0, 1, ErrorKind::Other);
    assert_eq!(put(&store, 3).await, Err(StoreError::Failed));
    assert_eq!(put(&store, 4).await, Err(StoreError::Failed));
    assert_eq!(store.get("/n1").await, Err(StoreError::Failed));
    assert!(matches!(*store.session().borrow(), Session::Expired(_)));
    memory.heal();
    let disk = Disk::memory(power_cut(&memory, || false));
    let store = open(&disk, &["/a", "/b"]).await.unwrap();
    assert_has(&store, 3).await;
    store.close().await;
    let store = open_left(&disk, &["/a"]).await;
    assert_has(&store, 3).await;
    store.close().await;
}

#[tokio::test]
async fn many_changes_at_once_share_a_sync() {
    let memory = MemoryDisk::new();
    let disk = disk(&memory);
    let store = open(&disk, &["/a"]).await.unwrap();
    let syncs = memory.counts().syncs;
    let waiting: Vec<_> = (0..1_000)
        .map(|number| store.create(&format!("/n{number}"), None, CreateKind::Persistent))
        .collect();
    for answer in waiting {
        answer.await.unwrap();
    }
    let syncs = memory.counts().syncs - syncs;
    assert!(syncs <= 5, "{syncs} syncs");
}

#[tokio::test]
async fn a_start_costs_few_syncs() {
    let memory = MemoryDisk::new();
    let disk = disk(&memory);
    let before = memory.counts().syncs;
    let store = open(&disk, &["/a"]).await.unwrap();
    put(&store, 0).await.unwrap();
    let first = memory.counts().syncs - before;
    store.close().await;
    let before = memory.counts().syncs;
    let store = open(&disk, &["/a"]).await.unwrap();
    put(&store, 1).await.unwrap();
    let second = memory.counts().syncs - before;
    store.close().await;
    assert!(
        first <= 3 && second <= 5,
        "first start {first}, second start {second}"
    );
}

#[tokio::test]
async fn a_damaged_copy_is_replaced_and_alone_it_stops_the_start() {
    let memory = MemoryDisk::new();
    let disk = disk(&memory);
    let store = open(&disk, &["/a", "/b"]).await.unwrap();
    for number in 0..20 {
        put(&store, number).await.unwrap();
    }
    store.close().await;
    let path = PathBuf::from("/a").join(FILE_NAME);
    let file = disk.open(&path, Open::Existing).unwrap();
    let length = file.length().unwrap();
    for position in (0..length).step_by(512) {
        file.write_all_at(b"garbage!", position).unwrap();
    }
    drop(file);
    let alone = open(&disk, &["/a"]).await;
    assert!(matches!(alone.err(), Some(OpenStoreError::Unusable { .. })));
    // It may have known more than the other one.
    let reasons = missing(&disk, &["/a", "/b"]).await;
    let reason = &reasons[0];
    assert!(reason.starts_with("/a (") && !reason.contains('\n'), "{reason}");
    let store = open_left(&disk, &["/a", "/b"]).await;
    assert_has(&store, 20).await;
    put(&store, 20).await.unwrap();
    store.close().await;
    assert!(disk.exists(&PathBuf::from("/a/barnabas-store.damaged")));
    let store = open(&disk, &["/a", "/b"]).await.unwrap();
    store.close().await;
    let store = open_left(&disk, &["/a"]).await;
    assert_has(&store, 21).await;
    store.close().await;
}

#[tokio::test]
async fn copies_of_two_stores_stop_the_start() {
    let memory = MemoryDisk::new();
    let disk = disk(&memory);
    let one = open(&disk, &["/a"]).await.unwrap();
    one.close().await;
    let other = EmbeddedStore::open(&disk, &directories(&["/b"]), STALL, &Random::from_seed(8))
        .await
        .unwrap();
    other.close().await;
    let answer = open(&disk, &["/a", "/b"]).await;
    assert!(matches!(answer.err(), Some(OpenStoreError::Different { .. })));
}

#[tokio::test]
async fn a_newer_format_is_refused_in_one_line() {
    let memory = MemoryDisk::new();
    let disk = disk(&memory);
    let head = Head {
        store: Uuid([1; 16]),
        zxid: 0,
    };
    let id = Uuid([2; 16]);
    let copy = Copy::create(&disk, &PathBuf::from("/a"), head, id, &[], Tree::new().records()).unwrap();
    copy.set_format(2);
    drop(copy);
    let error = open(&disk, &["/a", "/b"]).await.err().unwrap();
    assert!(matches!(error, OpenStoreError::Newer { format: 2, .. }));
    let line = error.to_string();
    assert!(line.starts_with("/a/barnabas-store: format 2 ") && !line.contains('\n'));
    assert!(!disk.exists(&PathBuf::from("/b").join(FILE_NAME)));
}
