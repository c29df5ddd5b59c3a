//! Moves between log directories: what goes along, what happens meanwhile, and how they end.

use std::sync::Arc;
use std::time::Duration;

use super::cleaner_test::{COMPACTED, append, clean};
use super::directories::HostDirectory;
use super::partition::Partition;
use super::replicas::Replicas;
use super::testing::{NOW_MS, TestBroker, consumer, idempotent, sender, wanted};
use crate::base::clock;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{Offset, TopicPartition};
use crate::base::shutdown::Shutdown;
use crate::metadata::control::{StopReplica, StopReplicaPartition, TOPIC_IS_DELETED};
use crate::storage::log::Log;
use crate::storage::producer_state::Origin;

fn name() -> TopicPartition {
    TopicPartition::new("t", 0)
}

async fn broker(configs: &[(&str, &str)]) -> (TestBroker, Arc<Partition>) {
    let broker = TestBroker::new(2);
    broker.configure_topic("t", configs);
    broker.lead("t", 1, 1, 0, &[1]).await;
    let partition = broker.replicas.partition("t", 0).unwrap();
    (broker, partition)
}

async fn alter(replicas: &Arc<Replicas>, directory: usize) -> ErrorCode {
    let path = format!("/data/{directory}");
    replicas.alter_directories(&path, &[name()]).await[0]
}

async fn moved(replicas: &Arc<Replicas>, directory: usize) {
    let shutdown = Shutdown::new();
    replicas.start_movers(&shutdown);
    assert_eq!(alter(replicas, directory).await, ErrorCode::None);
    while replicas.is_moving(&name()) {
        clock::sleep(Duration::from_millis(1)).await;
    }
    let lies = replicas.partition("t", 0).unwrap();
    assert!(Arc::ptr_eq(lies.directory(), &replicas.directories()[directory]));
}

fn folders(broker: &TestBroker, directory: usize) -> Vec<String> {
    let directory = &broker.replicas.directories()[directory];
    let entries = directory.volume().disk().list(directory.path()).unwrap();
    let folders = entries.into_iter().filter(|entry| entry.is_directory);
    folders.map(|entry| entry.name).collect()
}

/// Waits until the checkpoint holds this.
async fn await_checkpoint(broker: &TestBroker, directory: usize, name: &str, expected: &str) {
    while checkpoint(broker, directory, name) != expected {
        clock::sleep(Duration::from_millis(1)).await;
    }
}

fn checkpoint(broker: &TestBroker, directory: usize, name: &str) -> String {
    let directory = &broker.replicas.directories()[directory];
    let path = directory.path().join(name);
    let bytes = directory.volume().disk().read(&path, 1000).unwrap_or_default();
    String::from_utf8(bytes).unwrap()
}

async fn append_idempotent(broker: &TestBroker, sequence: i32) -> i64 {
    let records = idempotent(sequence, 3);
    let answer = broker
        .replicas
        .append("t", 0, &records, -1, Origin::Client, NOW_MS)
        .await;
    assert!(answer.error.is_none(), "{}", answer.error);
    answer.base_offset
}

#[tokio::test]
async fn everything_goes_along_and_the_partition_goes_on() {
    let (broker, partition) = broker(&[("segment.bytes", "400")]).await;
    for round in 0..8 {
        append_idempotent(&broker, 3 * round).await;
    }
    // In the middle of a batch, and its segment still there.
    broker.replicas.delete_records("t", 0, 7).unwrap();
    let before = partition.lock_blocking().log.size_in_bytes();
    moved(&broker.replicas, 1).await;

    let progress = partition.progress().unwrap();
    assert_eq!((progress.log_start, progress.log_end), (Offset(7), Offset(24)));
    assert_eq!(progress.high_watermark, Offset(24));
    let after = partition.lock_blocking().log.size_in_bytes();
    // The first two batches lay below the start.
    assert_eq!(after, before - 2 * idempotent(0, 3).len() as u64);
    assert_eq!(partition.lock_blocking().log.recovery_point(), Offset(24));
    assert_eq!(append_idempotent(&broker, 21).await, 21, "a duplicate");
    assert_eq!(append_idempotent(&broker, 24).await, 24);
    for offset in 7..27 {
        let read = broker.read(consumer(0, 1), wanted("t", 0, offset));
        assert!(read.error.is_none() && read.records.is_some(), "{offset}");
    }
    let below = broker.read(consumer(0, 1), wanted("t", 0, 6));
    assert_eq!(below.error, ErrorCode::OffsetOutOfRange);

    assert_eq!(folders(&broker, 1), ["t-0"]);
    let left = folders(&broker, 0);
    assert!(
        left.len() == 1 && left[0].starts_with("t-0.") && left[0].ends_with("-delete"),
        "{left:?}"
    );
    broker
        .replicas
        .empty_graveyard(&broker.replicas.directories()[0], i64::MAX);
    assert!(folders(&broker, 0).is_empty());
    assert_eq!(
        checkpoint(&broker, 1, "log-start-offset-checkpoint"),
        "0\n1\nt 0 7\n"
    );
    await_checkpoint(&broker, 0, "log-start-offset-checkpoint", "0\n0\n").await;
    let counts: Vec<_> = broker
        .replicas
        .directories()
        .iter()
        .map(|one| one.partitions())
        .collect();
    assert_eq!(counts, [0, 1]);
    // And back.
    moved(&broker.replicas, 0).await;
    assert_eq!(partition.progress().unwrap().log_end, Offset(27));
}

#[tokio::test]
async fn what_is_appended_meanwhile_goes_along() {
    let (broker, partition) = broker(&[("segment.bytes", "300")]).await;
    append(&broker, "t", 5).await;
    assert_eq!(alter(&broker.replicas, 1).await, ErrorCode::None);
    let shutdown = Shutdown::new();
    broker.replicas.start_movers(&shutdown);
    let mut appended = 5;
    while broker.replicas.is_moving(&name()) {
        append(&broker, "t", 1).await;
        appended += 1;
        clock::sleep(Duration::from_micros(50)).await;
    }
    append(&broker, "t", 3).await;
    shutdown.begin();
    assert_eq!(partition.progress().unwrap().log_end, Offset(appended + 3));
    for offset in 0..appended + 3 {
        let read = broker.read(consumer(0, 1), wanted("t", 0, offset));
        assert!(read.error.is_none() && read.records.is_some(), "{offset}");
    }
}

#[tokio::test]
async fn a_flush_that_was_under_way_says_nothing_of_the_log_that_took_the_place() {
    let (broker, partition) = broker(&[]).await;
    append(&broker, "t", 5).await;
    let work = partition.lock_blocking().log.flush_plan().unwrap();
    moved(&broker.replicas, 1).await;
    let flushed = work.run().unwrap();
    append(&broker, "t", 5).await;
    let mut state = partition.lock_blocking();
    assert_eq!(state.log.recovery_point(), Offset(5));
    let before = state.log.last_flush_ms();
    state.log.flushed(flushed, NOW_MS + 1);
    assert_eq!(
        (state.log.recovery_point(), state.log.last_flush_ms()),
        (Offset(5), before)
    );
    assert!(state.log.flush_plan().is_some());
}

#[tokio::test]
async fn a_log_is_not_compacted_while_it_is_moved_and_its_line_goes_along() {
    let (broker, partition) = broker(COMPACTED).await;
    append(&broker, "t", 6).await;
    assert_eq!(clean(&broker.replicas, NOW_MS), Some(("t-0".to_owned(), Ok(()))));
    append(&broker, "t", 6).await;
    let mut cleaning = broker.replicas.begin_dirtiest(NOW_MS).unwrap();
    assert_eq!(alter(&broker.replicas, 1).await, ErrorCode::None);
    assert!(cleaning.step().is_err(), "it was under way");
    assert!(broker.replicas.begin_dirtiest(NOW_MS).is_none());
    assert_eq!(
        checkpoint(&broker, 0, "cleaner-offset-checkpoint"),
        "0\n1\nt 0 5\n"
    );
    moved(&broker.replicas, 1).await;
    await_checkpoint(&broker, 0, "cleaner-offset-checkpoint", "0\n0\n").await;
    await_checkpoint(&broker, 1, "cleaner-offset-checkpoint", "0\n1\nt 0 5\n").await;
    assert_eq!(partition.progress().unwrap().log_end, Offset(12));
    assert_eq!(clean(&broker.replicas, NOW_MS), Some(("t-0".to_owned(), Ok(()))));
    assert_eq!(
        checkpoint(&broker, 1, "cleaner-offset-checkpoint"),
        "0\n1\nt 0 11\n"
    );
}

#[tokio::test]
async fn a_cleaning_of_the_log_that_was_left_does_not_disturb_one_of_the_log_that_took_its_place() {
    let (broker, _partition) = broker(COMPACTED).await;
    append(&broker, "t", 8).await;
    let mut old = broker.replicas.begin_dirtiest(NOW_MS).unwrap();
    for _ in 0..8 {
        old.step().unwrap();
    }
    moved(&broker.replicas, 1).await;
    let mut new = broker.replicas.begin_dirtiest(NOW_MS).unwrap();
    let cleaned = || {
        let disk = broker.replicas.directories()[1].volume().disk();
        let entries = disk.list("/data/1/t-0".as_ref()).unwrap();
        entries.iter().any(|entry| entry.name.ends_with(".cleaned"))
    };
    while !cleaned() {
        new.step().unwrap();
    }
    old.give_up();
    assert!(cleaned());
    while new.step().unwrap().cleaned_below.is_none() {}
    assert!(!broker.replicas.directories()[1].is_offline());
}

#[tokio::test]
async fn a_partition_that_is_made_again_is_not_taken_for_its_former_life() {
    let (broker, _partition) = broker(&[]).await;
    append(&broker, "t", 10).await;
    broker.replicas.delete_records("t", 0, 7).unwrap();
    let directory = &broker.replicas.directories()[0];
    broker.replicas.checkpoint_log_starts(directory);
    broker.replicas.checkpoint_recovery_points(directory);
    assert_eq!(
        checkpoint(&broker, 0, "log-start-offset-checkpoint"),
        "0\n1\nt 0 7\n"
    );
    let stop = StopReplica {
        sender: sender(),
        partitions: vec![StopReplicaPartition {
            partition: name(),
            leader_epoch: TOPIC_IS_DELETED,
            delete: true,
        }],
    };
    assert!(broker.replicas.stop_replica(stop).await.error.is_none());
    assert_eq!(
        broker
            .replicas
            .alter_directories("/data/0", &[name()])
            .await
            .len(),
        1
    );
    broker.lead("t", 2, 1, 0, &[1]).await;
    assert_eq!(checkpoint(&broker, 0, "log-start-offset-checkpoint"), "0\n0\n");
    assert_eq!(
        checkpoint(&broker, 0, "recovery-point-offset-checkpoint"),
        "0\n0\n"
    );
}

#[tokio::test]
async fn a_move_back_to_where_it_lies_ends_the_move() {
    let (broker, partition) = broker(COMPACTED).await;
    append(&broker, "t", 6).await;
    assert_eq!(alter(&broker.replicas, 1).await, ErrorCode::None);
    assert!(folders(&broker, 1)[0].ends_with("-future"));
    let described = broker.replicas.describe_directories().await;
    let copy = &described[1].logs[0];
    assert_eq!((copy.is_future, copy.offset_lag, copy.size_bytes), (true, 6, 0));
    assert_eq!(alter(&broker.replicas, 0).await, ErrorCode::None);
    assert!(!broker.replicas.is_moving(&name()));
    assert!(folders(&broker, 1)[0].ends_with("-delete"));
    assert!(
        broker.replicas.begin_dirtiest(NOW_MS).is_some(),
        "compacted again"
    );
    assert!(Arc::ptr_eq(
        partition.directory(),
        &broker.replicas.directories()[0]
    ));
}

#[tokio::test]
async fn a_deleted_topic_ends_its_move() {
    let (broker, _partition) = broker(&[]).await;
    append(&broker, "t", 6).await;
    assert_eq!(alter(&broker.replicas, 1).await, ErrorCode::None);
    let answer = broker
        .replicas
        .stop_replica(StopReplica {
            sender: sender(),
            partitions: vec![StopReplicaPartition {
                partition: name(),
                leader_epoch: TOPIC_IS_DELETED,
                delete: true,
            }],
        })
        .await;
    assert!(answer.error.is_none());
    while broker.replicas.is_moving(&name()) || !folders(&broker, 1)[0].ends_with("-delete") {
        clock::sleep(Duration::from_millis(1)).await;
    }
    assert!(folders(&broker, 0)[0].ends_with("-delete"));
}

#[tokio::test]
async fn what_cannot_be_moved_is_refused_and_a_partition_to_come_is_made_where_it_was_wanted() {
    let (broker, _partition) = broker(&[]).await;
    let replicas = &broker.replicas;
    assert_eq!(
        replicas.alter_directories("/data/7", &[name()]).await,
        [ErrorCode::LogDirNotFound]
    );
    let long = TopicPartition::new("x".repeat(240).as_str(), 0);
    assert_eq!(
        replicas.alter_directories("/data/1", &[long]).await,
        [ErrorCode::InvalidTopicException]
    );
    // The emptiest would be 1 each time.
    let to_come = [TopicPartition::new("new", 0), TopicPartition::new("new", 1)];
    assert_eq!(
        replicas.alter_directories("/data/0", &to_come).await,
        [ErrorCode::UnknownTopicOrPartition; 2]
    );
    broker.lead("new", 2, 2, 0, &[1]).await;
    assert_eq!(folders(&broker, 0), ["new-0", "new-1", "t-0"]);
    let failure = std::io::ErrorKind::Other.into();
    replicas.directories()[1]
        .volume()
        .failed("read", "/data/1".as_ref(), &failure);
    assert_eq!(alter(replicas, 1).await, ErrorCode::KafkaStorageError);
}

#[tokio::test]
async fn a_copy_goes_on_after_a_stop_unless_its_source_was_compacted() {
    for compacted in [false, true] {
        let configs = if compacted { COMPACTED } else { &[][..] };
        let (broker, partition) = broker(configs).await;
        append(&broker, "t", 6).await;
        if compacted {
            assert!(clean(&broker.replicas, NOW_MS).is_some());
        }
        let directory = Arc::clone(&broker.replicas.directories()[1]);
        let copy = {
            let mut state = partition.lock_blocking();
            let (id, config) = (state.log.topic_id(), Arc::clone(state.log.config()));
            let mut copy = Log::create_future(directory.volume(), name(), id, config, NOW_MS).unwrap();
            let chunk = state.log.chunk_behind(&copy).unwrap();
            copy.put_chunk(chunk, &mut None, NOW_MS).unwrap();
            state.log.set_config(Arc::clone(copy.config()));
            copy
        };
        let path = copy.path().to_owned();
        broker.replicas.resume_moves(vec![(Arc::clone(&directory), copy)]);
        assert!(broker.replicas.is_moving(&name()));
        let disk = directory.volume().disk();
        assert_eq!(disk.exists(&path), !compacted);
        let shutdown = Shutdown::new();
        broker.replicas.start_movers(&shutdown);
        while broker.replicas.is_moving(&name()) {
            clock::sleep(Duration::from_millis(1)).await;
        }
        shutdown.begin();
        assert!(Arc::ptr_eq(partition.directory(), &directory));
        assert_eq!(partition.progress().unwrap().log_end, Offset(6));
    }
}

#[tokio::test]
async fn of_several_copies_one_goes_on_and_none_to_where_the_partition_lies() {
    let broker = TestBroker::new(3);
    broker.lead("t", 1, 1, 0, &[1]).await;
    append(&broker, "t", 6).await;
    let partition = broker.replicas.partition("t", 0).unwrap();
    let own = Arc::clone(partition.directory());
    let others = broker.replicas.directories().iter();
    let others: Vec<_> = others.filter(|one| !Arc::ptr_eq(one, &own)).cloned().collect();
    let copy_in = |directory: &Arc<HostDirectory>| {
        let state = partition.lock_blocking();
        let (id, config) = (state.log.topic_id(), Arc::clone(state.log.config()));
        let copy = Log::create_future(directory.volume(), name(), id, config, NOW_MS).unwrap();
        (Arc::clone(directory), copy)
    };
    let exists = |path: &std::path::Path| own.volume().disk().exists(path);
    let useless = copy_in(&own);
    let path = useless.1.path().to_owned();
    broker.replicas.resume_moves(vec![useless]);
    assert!(!exists(&path));
    assert!(!broker.replicas.is_moving(&name()));
    let both = vec![copy_in(&others[0]), copy_in(&others[1])];
    let paths: Vec<_> = both.iter().map(|(_, copy)| copy.path().to_owned()).collect();
    broker.replicas.resume_moves(both);
    assert!(broker.replicas.is_moving(&name()));
    assert_eq!([exists(&paths[0]), exists(&paths[1])], [true, false]);
}

#[tokio::test]
async fn a_limit_slows_moves_down_and_lifting_it_frees_them() {
    let (broker, _partition) = broker(&[]).await;
    append(&broker, "t", 20).await;
    let with_limit = |limit: &str| {
        let key = "replica.alter.log.dirs.io.max.bytes.per.second".to_owned();
        let all = [(key, limit.to_owned())].into();
        broker.cluster.change(|image| {
            let changed = image.broker_config.with_dynamic(&all, &Default::default());
            image.broker_config = changed.unwrap();
        });
        let config = broker.cluster.get().broker_config.clone();
        crate::metadata::configs::ConfigListener::broker_config_changed(&*broker.replicas, &config);
    };
    with_limit("1");
    let shutdown = Shutdown::new();
    broker.replicas.start_movers(&shutdown);
    assert_eq!(alter(&broker.replicas, 1).await, ErrorCode::None);
    // A kilobyte takes a quarter of an hour.
    let copied = async || broker.replicas.describe_directories().await[1].logs[0].size_bytes;
    while copied().await == 0 {
        clock::sleep(Duration::from_millis(1)).await;
    }
    assert!(broker.replicas.is_moving(&name()));
    with_limit("9223372036854775807");
    while broker.replicas.is_moving(&name()) {
        clock::sleep(Duration::from_millis(1)).await;
    }
    shutdown.begin();
}

/// Half of the copies have something, the others have not begun yet; there are more in the directory than it
/// takes to sync them together.
#[tokio::test]
async fn a_clean_stop_does_not_sync_one_copy_after_the_other() {
    const COPIES: i32 = 80;
    let broker = TestBroker::new(2);
    let directory = Arc::clone(&broker.replicas.directories()[1]);
    broker.lead("t", 1, 2 * COPIES, 0, &[1]).await;
    let mut copies = Vec::new();
    for number in 0..2 * COPIES {
        let partition = broker.replicas.partition("t", number).unwrap();
        if Arc::ptr_eq(partition.directory(), &directory) {
            continue;
        }
        let records = idempotent(0, 3);
        let append = broker
            .replicas
            .append("t", number, &records, -1, Origin::Client, NOW_MS);
        assert!(append.await.error.is_none());
        let state = partition.lock_blocking();
        let (id, config) = (state.log.topic_id(), Arc::clone(state.log.config()));
        let name = partition.name().clone();
        let mut copy = Log::create_future(directory.volume(), name, id, config, NOW_MS).unwrap();
        if copies.len() % 2 == 0 {
            let chunk = state.log.chunk_behind(&copy).unwrap();
            copy.put_chunk(chunk, &mut None, NOW_MS).unwrap();
        }
        copies.push((Arc::clone(&directory), copy));
    }
    assert_eq!(copies.len(), COPIES as usize);
    let paths: Vec<_> = copies.iter().map(|(_, copy)| copy.path().to_owned()).collect();
    broker.replicas.resume_moves(copies);
    for directory in broker.replicas.directories() {
        directory.sync().unwrap();
        directory.pool().run(|| ()).await.unwrap();
    }
    let before = broker.disk.counts().syncs;
    broker.replicas.begin_no_moves();
    for directory in broker.replicas.directories() {
        broker.replicas.close_copies(directory).unwrap();
    }
    // Twice the file system for the ids of the new ones, and twice for what all of them hold.
    assert_eq!(broker.disk.counts().syncs - before, 4);
    broker.disk.power_cut(|| false);
    let disk = directory.volume().disk();
    for (number, path) in paths.iter().enumerate() {
        let id = crate::storage::partition_metadata::read(disk, path).unwrap();
        assert!(id.is_some(), "{}", path.display());
        let log = disk.metadata(&path.join("00000000000000000000.log")).unwrap();
        assert_eq!(log.length > 0, number % 2 == 0, "{}", path.display());
    }
}
