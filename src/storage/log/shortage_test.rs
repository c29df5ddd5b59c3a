//! Files that cannot be opened for want of a descriptor: nothing is lost by that, nor does it last.

use super::testing::*;
use super::{AppendError, Bound, LoadOptions, Log, ReadRequest};
use crate::base::disk::memory::Call;
use crate::base::ids::Offset;
use crate::config::LogConfig;
use crate::storage::file_names::LEADER_EPOCH_CHECKPOINT;

fn sent(number: i64) -> Send {
    Send {
        records: 3,
        timestamp_ms: number * 10,
        ..Send::default()
    }
}

fn filled(ground: &Ground, config: &LogConfig) -> Log {
    let mut log = ground.create(config);
    for number in 0..10 {
        append(&mut log, &sent(number)).unwrap();
    }
    log
}

/// Whatever file of a roll cannot be opened, and however often: the append is refused and may be tried again, or is whole.
#[test]
fn a_roll_that_gets_no_descriptor_is_made_later() {
    let config = small_segments(1000);
    for (what, after, times) in [
        // The segment in use, and the next one.
        (".log", 0, 2),
        (".log", 1, 2),
        (".log", 1, 4),
        (".index", 0, 2),
        (".timeindex", 0, 2),
        (".timeindex", 0, 6),
        (".snapshot", 0, 1),
    ] {
        let ground = Ground::new();
        let mut log = filled(&ground, &config);
        let segments = log.segment_count();
        log.volume().descriptors().let_go();
        ground.memory.run_short(Call::Open, what, after, times);
        let (mut number, mut refused) = (10, 0);
        while log.segment_count() < segments + 3 {
            match append(&mut log, &sent(number)) {
                Ok(_) => number += 1,
                Err(AppendError::Io(_)) => refused += 1,
                Err(error) => panic!("{error}"),
            }
            assert!(refused <= times, "{what}");
        }
        log.volume().check().unwrap();
        assert_eq!(log.log_end_offset(), Offset(number * 3), "{what}");
        assert_eq!(read_all(&log, Offset(0), Bound::LogEnd).len() as i64, number);
        // Nor does anything else know of it.
        log.flush(NOW_MS).unwrap();
        drop(log);
        let ground = ground.restart();
        let options = LoadOptions {
            clean: false,
            ..load_options(&config)
        };
        let (log, _) = ground.load(&options).unwrap();
        assert_eq!(log.log_end_offset(), Offset(number * 3), "{what}");
        assert_eq!(read_all(&log, Offset(0), Bound::LogEnd).len() as i64, number);
    }
}

#[test]
fn a_read_that_gets_no_descriptor_is_refused_and_made_later() {
    let ground = Ground::new();
    let log = filled(&ground, &small_segments(1000));
    let request = ReadRequest {
        start_offset: Offset(0),
        max_bytes: 1000,
        min_one_batch: true,
        bound: Bound::LogEnd,
    };
    log.volume().descriptors().let_go();
    ground.memory.run_short(Call::Open, ".log", 0, 2);
    assert!(log.read(&request).is_err());
    log.volume().check().unwrap();
    assert!(log.read(&request).unwrap().records.is_some());
}

/// A sync that was promised is not left out.
#[test]
fn a_flush_waits_for_a_descriptor() {
    let ground = Ground::new();
    let mut log = filled(&ground, &LogConfig::default());
    for what in ["00.log", LEADER_EPOCH_CHECKPOINT] {
        ground.memory.run_short(Call::Open, what, 0, 3);
    }
    log.flush(NOW_MS).unwrap();
    log.volume().check().unwrap();
    assert_eq!(log.recovery_point(), log.log_end_offset());
}

/// Half of a truncation is neither the old log nor the new one.
#[test]
fn a_truncation_that_gets_no_descriptor_in_its_middle_takes_the_directory_offline() {
    let ground = Ground::new();
    let mut log = filled(&ground, &small_segments(1000));
    log.volume().descriptors().let_go();
    // What is made anew in the place of all segments.
    ground
        .memory
        .run_short(Call::Open, "00000000000000000100.log", 0, 2);
    assert!(log.truncate_fully_and_start_at(Offset(100), NOW_MS).is_err());
    assert!(log.volume().check().is_err());
}

/// A replica that is refused would be taken for lost.
#[test]
fn a_new_log_waits_for_a_descriptor() {
    let ground = Ground::new();
    ground.memory.run_short(Call::Open, "00.log", 0, 5);
    let mut log = ground.create(&LogConfig::default());
    append(&mut log, &sent(0)).unwrap();
}
