//! Copies that were left out, and come back.

use std::io::ErrorKind;
use std::time::Duration;

use super::EmbeddedStore;
use super::copy::FILE_NAME;
use super::crash_test::{assert_has, directories, disk, missing, open, open_left, power_cut, put};
use crate::base::clock;
use crate::base::disk::Disk;
use crate::base::disk::memory::{Call, MemoryDisk};
use crate::base::random::Random;

const SHORT: Duration = Duration::from_millis(20);
/// For directories that answer.
const LONG: Duration = Duration::from_secs(60);

async fn open_patient(disk: &Disk, stall: Duration) -> EmbeddedStore {
    let (both, random) = (directories(&["/a", "/b"]), Random::from_seed(7));
    EmbeddedStore::open_patient(disk, &both, (stall, SHORT), &random, false)
        .await
        .unwrap()
}

/// What the next start would find now.
fn left_of(memory: &MemoryDisk) -> Disk {
    let left = power_cut(memory, || false);
    left.heal();
    Disk::memory(left)
}

/// Waits until `/a` would not be believed without `/b`.
async fn is_back(memory: &MemoryDisk) {
    for _ in 0..3000 {
        let disk = left_of(memory);
        match open(&disk, &["/a"]).await {
            Err(_) => {
                assert_eq!(missing(&disk, &["/a"]).await, ["/b"]);
                return;
            }
            Ok(store) => store.close().await,
        }
        clock::sleep(SHORT).await;
    }
    panic!("it does not come back");
}

#[tokio::test]
async fn a_copy_that_hung_is_written_anew_when_its_directory_answers() {
    let memory = MemoryDisk::new();
    let disk = disk(&memory);
    let store = open_patient(&disk, SHORT).await;
    put(&store, 0).await.unwrap();
    memory.freeze("/b/");
    put(&store, 1).await.unwrap();
    put(&store, 2).await.unwrap();
    let left = left_of(&memory);
    let alone = open(&left, &["/a"]).await.unwrap();
    assert_has(&alone, 3).await;
    alone.close().await;
    memory.heal();
    is_back(&memory).await;
    put(&store, 3).await.unwrap();
    // At the moment at which that was answered, /a is lost.
    let left = left_of(&memory);
    assert_eq!(missing(&left, &["/b"]).await, ["/a"]);
    let alone = open_left(&left, &["/b"]).await;
    assert_has(&alone, 4).await;
    alone.close().await;
    store.close().await;
    let store = open(&disk, &["/a", "/b"]).await.unwrap();
    assert_has(&store, 4).await;
    store.close().await;
}

#[tokio::test]
async fn a_copy_that_comes_back_has_what_was_committed_while_it_was_written() {
    for call in [Call::Sync, Call::Write] {
        let memory = MemoryDisk::new();
        let disk = disk(&memory);
        let store = open(&disk, &["/a", "/b"]).await.unwrap();
        put(&store, 0).await.unwrap();
        store.close().await;
        // Its files have not the name any more under which they were built.
        let store = open_patient(&disk, LONG).await;
        memory.freeze(&format!("/b/{FILE_NAME}.tmp"));
        memory.fail(call, "/b/", 0, 1, ErrorKind::StorageFull);
        put(&store, 1).await.unwrap();
        // The new copy is begun, and its file cannot be made.
        clock::sleep(10 * SHORT).await;
        put(&store, 2).await.unwrap();
        put(&store, 3).await.unwrap();
        // Nothing of it is believed yet.
        let left = left_of(&memory);
        let alone = open(&left, &["/a"]).await.unwrap();
        assert_has(&alone, 4).await;
        alone.close().await;
        memory.heal();
        is_back(&memory).await;
        let alone = open_left(&left_of(&memory), &["/b"]).await;
        assert_has(&alone, 4).await;
        alone.close().await;
        store.close().await;
    }
}

#[tokio::test]
async fn a_copy_that_fails_again_is_tried_again() {
    let memory = MemoryDisk::new();
    let disk = disk(&memory);
    let store = open_patient(&disk, LONG).await;
    put(&store, 0).await.unwrap();
    memory.fail(Call::Sync, "/b/", 0, 7, ErrorKind::Other);
    put(&store, 1).await.unwrap();
    is_back(&memory).await;
    put(&store, 2).await.unwrap();
    let alone = open_left(&left_of(&memory), &["/b"]).await;
    assert_has(&alone, 3).await;
    alone.close().await;
    store.close().await;
}
