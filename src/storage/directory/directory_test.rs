use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::base::disk::memory::{Call, MemoryDisk};
use crate::base::ids::BrokerId;
use crate::config::LogConfig;
use crate::storage::file_names::CLEAN_SHUTDOWN;
use crate::storage::log::testing::{self, NOW_MS, Send};

fn open(memory: &MemoryDisk) -> Result<LogDirectory, DirectoryError> {
    let disk = Disk::memory(memory.clone());
    LogDirectory::open("/data".into(), disk, Descriptors::new(16), Random::from_seed(1))
}

fn settings(threads: usize) -> LoadSettings {
    LoadSettings {
        threads,
        now_ms: NOW_MS,
        producer_expiration_ms: i64::MAX,
        configs: Arc::new(|_| Arc::new(LogConfig::default())),
    }
}

fn partition(number: i32) -> TopicPartition {
    TopicPartition::new("some-topic", number)
}

fn stop_cleanly(directory: LogDirectory, logs: &mut [Log]) {
    for log in logs.iter_mut() {
        testing::clean_stop(log);
    }
    let disk = directory.volume().disk();
    let write = |name: &str, offsets: Offsets| {
        checkpoint::write_offsets(disk, &Path::new("/data").join(name), &offsets).unwrap();
    };
    write(RECOVERY_POINT_CHECKPOINT, recovery_points(&*logs));
    write(LOG_START_OFFSET_CHECKPOINT, log_starts(&*logs));
    write(HIGH_WATERMARK_CHECKPOINT, high_watermarks(&*logs));
    directory.mark_clean().unwrap();
}

fn make_logs(directory: &LogDirectory, count: i32) -> Vec<Log> {
    (0..count)
        .map(|number| {
            let config = Arc::new(LogConfig::default());
            let mut log = Log::create(directory.volume(), partition(number), None, config, NOW_MS).unwrap();
            for _ in 0..=number {
                testing::append(&mut log, &Send::default()).unwrap();
            }
            log.raise_high_watermark(log.log_end_offset());
            log
        })
        .collect()
}

#[test]
fn a_directory_has_one_user() {
    let memory = MemoryDisk::new();
    let first = open(&memory).unwrap();
    assert!(matches!(open(&memory), Err(DirectoryError::Locked(_))));
    drop(first);
    assert!(open(&memory).is_ok());
}

#[test]
fn no_lock_file_stays_whether_the_directory_was_used_or_refused() {
    let memory = MemoryDisk::new();
    let disk = Disk::memory(memory.clone());
    let lock = Path::new("/data").join(LOCK);
    let directory = open(&memory).unwrap();
    assert!(disk.exists(&lock));
    assert!(open(&memory).is_err());
    assert!(disk.exists(&lock), "that of somebody else");
    drop(directory);
    assert!(!disk.exists(&lock));
    let meta = disk.open(&Path::new("/data").join("meta.properties"), Open::Create);
    meta.unwrap().write_all_at(b"version=77\n", 0).unwrap();
    assert!(matches!(open(&memory), Err(DirectoryError::Meta { .. })));
    assert!(!disk.exists(&lock));
}

#[test]
fn all_logs_come_back_after_a_clean_stop_and_the_marker_is_taken() {
    let memory = MemoryDisk::new();
    let directory = open(&memory).unwrap();
    let mut logs = make_logs(&directory, 9);
    logs[3].raise_log_start_offset(Offset(2)).unwrap();
    stop_cleanly(directory, &mut logs);
    let marker = Path::new("/data").join(CLEAN_SHUTDOWN);
    assert!(Disk::memory(memory.clone()).exists(&marker));
    memory.power_cut(|| false);
    for (round, clean) in [true, false].into_iter().enumerate() {
        let directory = open(&memory).unwrap();
        let loaded = directory.load(&settings(3)).unwrap();
        assert_eq!(loaded.clean, clean);
        assert!(!Disk::memory(memory.clone()).exists(&marker));
        assert_eq!(loaded.logs.len(), 9);
        for (number, log) in loaded.logs.iter().enumerate() {
            assert_eq!(log.partition(), &partition(number as i32));
            assert_eq!(log.log_end_offset(), Offset(number as i64 + 1), "round {round}");
            assert_eq!(log.high_watermark(), log.log_end_offset());
        }
        assert_eq!(loaded.logs[3].log_start_offset(), Offset(2));
        assert!(
            loaded
                .reports
                .iter()
                .all(|report| (report.recovered_segments == 0) == clean)
        );
        drop(directory);
    }
}

#[test]
fn foreign_folders_are_refused_before_anything_is_touched() {
    let memory = MemoryDisk::new();
    let directory = open(&memory).unwrap();
    let mut logs = make_logs(&directory, 1);
    stop_cleanly(directory, &mut logs);
    let disk = Disk::memory(memory.clone());
    disk.create_directory(Path::new("/data/lost+found")).unwrap();
    let directory = open(&memory).unwrap();
    assert!(matches!(
        directory.load(&settings(1)),
        Err(DirectoryError::ForeignFolder { .. })
    ));
    assert!(
        disk.exists(&Path::new("/data").join(CLEAN_SHUTDOWN)),
        "the next start is a clean one"
    );
    disk.remove_directory(Path::new("/data/lost+found")).unwrap();
    disk.create_directory(Path::new("/data/remote-log-index-cache"))
        .unwrap();
    for marked in [
        "x-0.0123456789abcdef0123456789abcdef-delete",
        "x-1.0123456789abcdef0123456789abcdef-stray",
    ] {
        disk.create_directory(&Path::new("/data").join(marked)).unwrap();
    }
    let loaded = directory.load(&settings(1)).unwrap();
    assert!(loaded.clean);
    assert_eq!(
        (loaded.logs.len(), loaded.deleted.len(), loaded.set_aside.len()),
        (1, 1, 1)
    );
}

#[test]
fn checkpoints_that_cannot_be_parsed_count_as_empty() {
    let memory = MemoryDisk::new();
    let directory = open(&memory).unwrap();
    let mut logs = make_logs(&directory, 2);
    stop_cleanly(directory, &mut logs);
    let disk = Disk::memory(memory.clone());
    for name in [
        RECOVERY_POINT_CHECKPOINT,
        LOG_START_OFFSET_CHECKPOINT,
        HIGH_WATERMARK_CHECKPOINT,
    ] {
        let file = disk.open(&Path::new("/data").join(name), Open::Truncate).unwrap();
        file.write_all_at(b"0\n7\nnonsense", 0).unwrap();
    }
    let loaded = open(&memory).unwrap().load(&settings(2)).unwrap();
    assert_eq!(loaded.logs[1].log_end_offset(), Offset(2));
    assert_eq!(loaded.logs[1].high_watermark(), Offset(0));
}

#[test]
fn a_failing_disk_takes_the_directory_offline_and_leaves_no_marker() {
    let memory = MemoryDisk::new();
    let directory = open(&memory).unwrap();
    let mut logs = make_logs(&directory, 3);
    memory.fail(Call::Sync, "some-topic-1", 0, 1, io::ErrorKind::Other);
    let failed = logs.iter_mut().any(|log| match log.close() {
        Ok(Some(work)) => work.run().is_err(),
        Ok(None) => false,
        Err(_) => true,
    });
    assert!(failed);
    assert!(directory.mark_clean().is_err());
    assert!(directory.volume().failure().is_some());
    assert!(
        testing::append(&mut logs[0], &Send::default()).is_err(),
        "nothing is acknowledged any more"
    );
    drop((logs, directory));
    memory.heal();
    assert!(!open(&memory).unwrap().load(&settings(1)).unwrap().clean);
}

#[test]
fn whose_it_is_is_written_once() {
    let memory = MemoryDisk::new();
    let mut directory = open(&memory).unwrap();
    assert_eq!(directory.meta(), None);
    let properties = MetaProperties {
        cluster_id: Some("c".to_owned()),
        broker_id: Some(BrokerId(3)),
        ..MetaProperties::default()
    };
    directory.write_meta(properties.clone(), NOW_MS).unwrap();
    let syncs = memory.counts().syncs;
    directory.write_meta(properties.clone(), NOW_MS).unwrap();
    assert_eq!(memory.counts().syncs, syncs);
    drop(directory);
    assert_eq!(open(&memory).unwrap().meta(), Some(&properties));
}

#[test]
fn what_was_not_synced_is_there_while_the_machine_runs_and_not_after_a_power_cut_or_a_failure() {
    let memory = MemoryDisk::new();
    let mine = |directory: &mut LogDirectory| {
        let properties = MetaProperties {
            cluster_id: Some("cluster".to_owned()),
            broker_id: Some(BrokerId(1)),
            directory_id: None,
            other: Default::default(),
        };
        directory.write_meta(properties, NOW_MS).unwrap();
        directory.write_boot_id().unwrap();
    };
    let mut fresh = open(&memory).unwrap();
    assert!(
        !fresh.has_all().unwrap(),
        "an empty one may stand for one that was lost"
    );
    mine(&mut fresh);
    drop(fresh);
    // Its process was killed.
    let mut killed = open(&memory).unwrap();
    assert!(killed.has_all().unwrap());
    mine(&mut killed);
    drop(killed);
    memory.power_cut(|| true);
    let mut cut = open(&memory).unwrap();
    assert!(!cut.has_all().unwrap());
    mine(&mut cut);
    assert!(cut.has_all().unwrap());
    // A clean stop, and then a power cut.
    cut.mark_clean().unwrap();
    drop(cut);
    memory.power_cut(|| false);
    let mut clean = open(&memory).unwrap();
    assert!(clean.has_all().unwrap());
    mine(&mut clean);
    // Another disk has failed; this one can be stopped cleanly all the same.
    let disk = Disk::memory(memory.clone());
    note_failure(&disk, Path::new("/data")).unwrap();
    clean.mark_clean().unwrap();
    drop(clean);
    let mut failed = open(&memory).unwrap();
    assert!(!failed.has_all().unwrap());
    mine(&mut failed);
    assert!(failed.has_all().unwrap());
}
