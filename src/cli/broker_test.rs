//! The start of a broker, over a disk and a store in memory.

use std::path::Path;

use super::*;
use crate::base::disk::Open;
use crate::base::disk::memory::MemoryDisk;
use crate::storage::file_names::CLEAN_SHUTDOWN;
use crate::store::Store;
use crate::store::distant::Link;
use crate::store::memory::MemoryServer;

/// Starts a broker of a cluster, and stops it again.
async fn start(disk: &MemoryDisk, server: &MemoryServer) -> Result<(), String> {
    start_as("1", disk, server).await
}

async fn start_as(id: &str, disk: &MemoryDisk, server: &MemoryServer) -> Result<(), String> {
    start_in("/data", id, disk, server).await
}

fn config_of(directories: &str, id: &str) -> BrokerConfig {
    let config = BrokerConfig::from_pairs(&[
        ("broker.id", id),
        ("listeners", "PLAINTEXT://127.0.0.1:0"),
        ("log.dirs", directories),
        ("zookeeper.connect", "store:2181"),
    ]);
    config.unwrap()
}

fn surroundings(disk: &MemoryDisk, server: &MemoryServer) -> Surroundings {
    Surroundings {
        disk: Disk::memory(disk.clone()),
        random: Random::from_seed(1),
        levels: LogLevels::default(),
        open_files: 1_000,
        store: Some(Link::new(server, Duration::from_secs(10))),
    }
}

async fn start_in(
    directories: &str,
    id: &str,
    disk: &MemoryDisk,
    server: &MemoryServer,
) -> Result<(), String> {
    let started = Broker::start(config_of(directories, id), surroundings(disk, server)).await;
    let broker = started.map_err(|error| error.to_string())?;
    broker.stop().await;
    Ok(())
}

fn cluster_id(server: &MemoryServer) -> Option<bytes::Bytes> {
    server.peek(znodes::paths::CLUSTER_ID)?.data
}

#[tokio::test]
async fn a_store_of_another_cluster_or_of_none_stops_the_start_and_nothing_is_written() {
    let (disk, ours) = (MemoryDisk::new(), MemoryServer::new());
    assert_eq!(start(&disk, &ours).await, Ok(()));
    let id = cluster_id(&ours).unwrap();

    let empty = MemoryServer::new();
    empty.keep_journal();
    let refused = start(&disk, &empty).await.unwrap_err();
    assert!(refused.contains("the store has no /cluster/id"), "{refused}");
    assert_eq!(empty.journal(), []);

    let other = MemoryServer::new();
    assert_eq!(start(&MemoryDisk::new(), &other).await, Ok(()));
    let node = znodes::ClusterId::new("another").encode();
    let session = other.connect();
    let path = znodes::paths::CLUSTER_ID;
    Store::set(&session, path, Some(node), None).await.unwrap();
    other.keep_journal();
    let refused = start(&disk, &other).await.unwrap_err();
    assert!(refused.contains("the store to another"), "{refused}");
    assert_eq!(other.journal(), []);

    assert_eq!(start(&disk, &ours).await, Ok(()));
    assert_eq!(cluster_id(&ours), Some(id));
}

#[tokio::test]
async fn log_directories_of_another_cluster_or_broker_stop_the_start() {
    let (disk, server) = (MemoryDisk::new(), MemoryServer::new());
    assert_eq!(start(&disk, &server).await, Ok(()));
    let other = MemoryServer::new();
    let store: Arc<dyn Store> = Arc::new(other.connect());
    let random = Random::from_seed(2);
    let prepared = registration::prepare(&store, Some("other"), &random).await;
    assert!(prepared.is_ok());
    for (server, id, why) in [
        (&other, "1", "belong to the cluster"),
        (&server, "2", "belongs to the broker 1"),
    ] {
        let refused = start_as(id, &disk.after_kill(), server).await.unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
    // Nothing was written that keeps the right one from starting.
    assert_eq!(start(&disk.after_kill(), &server).await, Ok(()));
}

/// What a start has refused costs the next one no recovery, in none of the directories.
#[tokio::test]
async fn a_folder_whose_topic_nobody_can_tell_stops_the_start_before_a_marker_is_taken() {
    let (memory, server) = (MemoryDisk::new(), MemoryServer::new());
    let directories = ["/one", "/two"];
    let start = async || start_in("/one,/two", "1", &memory, &server).await;
    assert_eq!(start().await, Ok(()));
    let disk = Disk::memory(memory.clone());
    let write = |path: &str, contents: &[u8]| {
        let file = disk.open(path.as_ref(), Open::Truncate).unwrap();
        file.write_all_at(contents, 0).unwrap();
    };
    let is_clean = |directory: &str| disk.exists(&Path::new(directory).join(CLEAN_SHUTDOWN));
    disk.create_directory("/two/t-0".as_ref()).unwrap();
    let too_long = [b'x'; 5000];
    for (contents, why) in [
        (&b"nonsense"[..], "version: <number>"),
        (&too_long, "it is too long"),
    ] {
        write("/two/t-0/partition.metadata", contents);
        write("/two/t-0/00000000000000000000.log", b"not empty");
        let refused = start().await.unwrap_err();
        assert!(refused.contains("/two/t-0") && refused.contains(why), "{refused}");
        assert!(
            directories.into_iter().all(is_clean),
            "the next start is a clean one"
        );
    }
    // Without a record there is nothing that could be mixed up.
    write("/two/t-0/00000000000000000000.log", b"");
    assert_eq!(start().await, Ok(()));
    assert!(directories.into_iter().all(is_clean));
}

#[tokio::test]
async fn a_directory_that_does_not_answer_keeps_no_other_from_its_marker() {
    let (memory, server) = (MemoryDisk::new(), MemoryServer::new());
    let started = Broker::start(config_of("/one,/two", "1"), surroundings(&memory, &server)).await;
    let broker = started.map_err(|error| error.to_string()).unwrap();
    let disk = Disk::memory(memory.clone());
    let is_clean = |directory: &str| disk.exists(&Path::new(directory).join(CLEAN_SHUTDOWN));
    // The pools of both directories see to this: nothing of it may wait here.
    memory.freeze("/two/");
    let stopping = task::spawn(broker.stop());
    for _ in 0..5000 {
        if is_clean("/one") {
            break;
        }
        clock::sleep(Duration::from_millis(1)).await;
    }
    assert!(is_clean("/one"), "it waits for the one that hangs");
    assert!(!stopping.is_finished() && !is_clean("/two"));
    memory.heal();
    assert!(clock::timeout(Duration::from_secs(20), stopping).await.is_some());
    assert!(is_clean("/one") && is_clean("/two"));
}
