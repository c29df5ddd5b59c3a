//! A move between log directories whose disks fail, or that is ended by a kill or a power cut, at each call in turn: at the
//! next start one folder is the partition's, and has everything that was acknowledged.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::moves::{MovesError, settle};
use crate::base::clock;
use crate::base::disk::Disk;
use crate::base::disk::memory::{Call, MemoryDisk};
use crate::base::ids::{Offset, TopicPartition};
use crate::base::random::Random;
use crate::base::shutdown::Shutdown;
use crate::config::LogConfig;
use crate::lifecycle::directories::Place;
use crate::replica::testing::{NOW_MS, TestBroker, batch};
use crate::storage::descriptors::Descriptors;
use crate::storage::directory::{LoadSettings, LogDirectory};
use crate::storage::log::{Bound, Log, MOVED_MARKER, ReadRequest};
use crate::storage::producer_state::Origin;

/// Every batch is durable before it is acknowledged, and segments are small.
const CONFIG: &[(&str, &str)] = &[("flush.messages", "1"), ("segment.bytes", "300")];
const BATCHES: usize = 6;

async fn append(broker: &TestBroker) -> bool {
    let records = batch(2, 20);
    let answer = broker
        .replicas
        .append("t", 0, &records, -1, Origin::Client, NOW_MS)
        .await;
    match answer.flush {
        Some(flush) if answer.error.is_none() => flush.done().await.is_none(),
        _ => answer.error.is_none(),
    }
}

/// A partition with some batches, in directory 0 of two; and the bytes that it has.
async fn filled() -> TestBroker {
    let broker = TestBroker::new(2);
    broker.configure_topic("t", CONFIG);
    broker.lead("t", 1, 1, 0, &[1]).await;
    for _ in 0..BATCHES {
        assert!(append(&broker).await);
    }
    broker
}

fn name() -> TopicPartition {
    TopicPartition::new("t", 0)
}

/// Has the partition moved to directory 1, and waits until that has ended in one way or the other.
async fn move_it(broker: &TestBroker) {
    let shutdown = Shutdown::new();
    broker.replicas.start_movers(&shutdown);
    broker.replicas.alter_directories("/data/1", &[name()]).await;
    while broker.replicas.is_moving(&name()) {
        if broker.replicas.directories().iter().any(|one| one.is_offline()) {
            break;
        }
        clock::sleep(Duration::from_millis(1)).await;
    }
    shutdown.begin();
}

fn open(disk: &MemoryDisk) -> Vec<Place> {
    let descriptors = Descriptors::new(100);
    let places = ["/data/0", "/data/1"].map(|path| {
        let seam = Disk::memory(disk.clone());
        let random = Random::from_seed(2);
        let directory = LogDirectory::open(path.into(), seam, Arc::clone(&descriptors), random).unwrap();
        Place {
            volume: Arc::clone(directory.volume()),
            directory: Some(directory),
        }
    });
    places.into()
}

/// The logs of the partition at the next start, and how many copies of it.
fn start(disk: &MemoryDisk) -> (Vec<Log>, usize) {
    let places = open(disk);
    settle(&Disk::memory(disk.clone()), &places).unwrap();
    let config = LogConfig {
        segment_bytes: 300,
        ..LogConfig::default()
    };
    let config = Arc::new(config);
    let settings = LoadSettings {
        threads: 1,
        now_ms: NOW_MS,
        producer_expiration_ms: i64::MAX,
        configs: Arc::new(move |_| Arc::clone(&config)),
    };
    let (mut logs, mut copies) = (Vec::new(), 0);
    for directory in places.into_iter().filter_map(|place| place.directory) {
        let loaded = directory.load(&settings).unwrap();
        logs.extend(loaded.logs);
        copies += loaded.futures.len();
    }
    (logs, copies)
}

fn bytes_of(log: &Log) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut from = log.log_start_offset();
    while from < log.log_end_offset() {
        let read = log
            .read(&ReadRequest {
                start_offset: from,
                max_bytes: 1,
                min_one_batch: true,
                bound: Bound::LogEnd,
            })
            .unwrap();
        bytes.extend(read.records.unwrap().read().unwrap());
        // Batches of two records.
        from = from.plus(2);
    }
    bytes
}

fn check_after_restart(disk: &MemoryDisk, acknowledged: usize, what: &str) -> PathBuf {
    let (logs, _) = start(disk);
    let [log] = &logs[..] else {
        let paths: Vec<_> = logs.iter().map(Log::path).collect();
        panic!("{what}: {paths:?}");
    };
    let end = log.log_end_offset();
    assert!(end >= Offset(2 * acknowledged as i64), "{what}: ends at {end}");
    assert_eq!(
        bytes_of(log).len(),
        end.get() as usize / 2 * batch(2, 20).len(),
        "{what}"
    );
    assert!(
        !log.volume().disk().exists(&log.path().join(MOVED_MARKER)),
        "{what}"
    );
    log.path().to_owned()
}

#[tokio::test]
async fn a_disk_that_fails_at_any_call_or_a_power_cut_then_loses_nothing() {
    let calls = [
        Call::Open,
        Call::Read,
        Call::Write,
        Call::Sync,
        Call::Rename,
        Call::Remove,
    ];
    let (mut failures, mut moved) = (0, 0);
    for path in ["/data/0", "/data/1"] {
        for call in calls {
            for after in 0.. {
                let mut failed = false;
                for power in [false, true] {
                    let what = format!("{call:?} in {path} after {after}, power cut: {power}");
                    let broker = filled().await;
                    broker.disk.fail(call, path, after, u64::MAX, ErrorKind::Other);
                    move_it(&broker).await;
                    let directories = broker.replicas.directories();
                    failed = directories.iter().any(|one| one.is_offline());
                    broker.disk.heal();
                    let acknowledged = BATCHES + usize::from(append(&broker).await);
                    // Its mover may be at work still.
                    let disk = broker.disk.after_kill();
                    drop(broker);
                    if power {
                        disk.power_cut(|| false);
                    }
                    let lies = check_after_restart(&disk, acknowledged, &what);
                    moved += usize::from(lies == Path::new("/data/1/t-0"));
                    failures += usize::from(failed);
                }
                if !failed {
                    break;
                }
            }
        }
    }
    assert!(failures > 50, "{failures} failures");
    assert!(moved > 20, "{moved} moved");
}

#[tokio::test]
async fn a_marker_alone_goes_away_and_a_directory_that_is_offline_stops_the_start() {
    let broker = filled().await;
    let disk = broker.disk.clone();
    drop(broker);
    let seam = Disk::memory(disk.clone());
    let marker = Path::new("/data/0/t-0").join(MOVED_MARKER);
    seam.replace(&marker, b"1\n").unwrap();
    let places = open(&disk);
    places[1]
        .volume
        .failed("read", Path::new("/data/1"), &ErrorKind::Other.into());
    let Err(error @ MovesError::Unknown { .. }) = settle(&seam, &places) else {
        panic!("the partition may lie in the directory that is offline");
    };
    assert!(
        error
            .to_string()
            .starts_with("/data/0/t-0 was just being replaced"),
        "{error}"
    );
    assert!(seam.exists(&marker));
    drop(places);
    check_after_restart(&disk, BATCHES, "with all directories");
    assert!(!seam.exists(&marker));
}
