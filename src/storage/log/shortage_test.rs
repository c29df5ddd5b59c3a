//! Files that cannot be opened for want of a descriptor: nothing is lost by that, nor does it last.

use super::testing::*;
use super::{AppendError, Bound, LoadOptions, Log, ReadRequest};
use crate::base::disk::memory::Call;
use crate::base::ids::{Offset, ProducerId};
use crate::config::LogConfig;
use crate::storage::file_names::LEADER_EPOCH_CHECKPOINT;
use crate::storage::producer_state::{Origin, ProducerEntry};

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

/// A closed segment that the recovery point lies behind must be durable with all its indexes. What gets no descriptor for that
/// is no failure, nor is it forgotten.
#[test]
fn the_sync_of_a_closed_segment_that_gets_no_descriptor_is_made_later() {
    let ground = Ground::new();
    let mut log = ground.create(&small_segments(1000));
    append_aborted(&mut log, 7);
    log.flush(NOW_MS).unwrap();
    let end = log.log_end_offset();
    assert_eq!(log.recovery_point(), end);
    log.volume().descriptors().let_go();
    // Only the sync wants this one; whoever opens it tries twice.
    ground.memory.run_short(Call::Open, ".txnindex", 0, 4);
    for _ in 0..2 {
        assert!(log.roll(NOW_MS).is_err());
        log.volume().check().unwrap();
        assert_eq!((log.segment_count(), log.log_end_offset()), (1, end));
    }
    log.roll(NOW_MS).unwrap();
    assert_eq!(log.segment_count(), 2);
    let closed = |ground: &Ground| {
        let mut files = ground.files();
        files.retain(|name, _| name.starts_with("00000000000000000000."));
        files
    };
    let written = closed(&ground);
    assert_eq!(written.len(), 4);
    ground.memory.power_cut(|| false);
    assert_eq!(closed(&ground), written);
}

/// An abort that cannot be noted is not appended either.
#[test]
fn an_abort_that_gets_no_descriptor_for_the_index_is_refused_and_made_later() {
    let ground = Ground::new();
    let config = LogConfig::default();
    let mut log = ground.create(&config);
    let data = Send {
        producer: Some((7, 0, 0)),
        transactional: true,
        ..Send::default()
    };
    for round in 0..2 {
        let data = Send {
            producer: Some((7, 0, round)),
            ..data
        };
        append(&mut log, &data).unwrap();
        let end = log.log_end_offset();
        log.volume().descriptors().let_go();
        ground.memory.run_short(Call::Open, ".txnindex", 0, 2);
        let abort = marker((7, 0), false);
        assert!(append_bytes(&mut log, &abort, Origin::Coordinator).is_err());
        log.volume().check().unwrap();
        assert_eq!(log.log_end_offset(), end);
        append_bytes(&mut log, &abort, Origin::Coordinator).unwrap();
        let aborted = log.aborted_transactions(Offset(0), log.log_end_offset()).unwrap();
        assert_eq!(aborted.len() as i32, round + 1);
    }
    // What ends nothing makes no file.
    let ground = Ground::new();
    let mut log = ground.create(&config);
    append_bytes(&mut log, &marker((7, 0), false), Origin::Coordinator).unwrap();
    assert!(!ground.files().keys().any(|name| name.ends_with(".txnindex")));
}

/// Whichever file a truncation does not get: the log is as before, and cut the next time.
#[test]
fn a_truncation_that_gets_no_descriptor_changes_nothing_and_is_made_later() {
    let config = small_segments(1000);
    let log_of = |ground: &Ground| {
        let mut log = ground.create(&config);
        for number in 0..40 {
            // An open transaction, an aborted one, and others.
            let producer = Some((number % 3, 0, (number / 3 * 3) as i32));
            let data = Send {
                producer,
                transactional: number % 3 < 2,
                ..sent(number)
            };
            append(&mut log, &data).unwrap();
            if number % 3 == 1 {
                append_bytes(&mut log, &marker((1, 0), false), Origin::Coordinator).unwrap();
            }
        }
        log.flush(NOW_MS).unwrap();
        log
    };
    let seen = |log: &mut Log| {
        let end = log.log_end_offset();
        let newest = log.offset_of_max_timestamp().unwrap();
        let told = format!(
            "{end} {} {} {} {:?} {:?} {:?}",
            log.segment_count(),
            log.recovery_point(),
            log.last_stable_offset(),
            log.producers().collect::<Vec<_>>(),
            log.aborted_transactions(Offset(0), end).unwrap(),
            newest,
        );
        (told, read_all(log, Offset(0), Bound::LogEnd))
    };
    let producers = |log: &Log| -> Vec<_> {
        let of = |(id, entry): (ProducerId, &ProducerEntry)| {
            (
                id,
                entry.epoch(),
                entry.last_sequence(),
                entry.transaction_first_offset(),
            )
        };
        let mut all: Vec<_> = log.producers().map(of).collect();
        all.sort();
        all
    };
    let mut refused = 0;
    for to in [20, 71, 112, 128, 131] {
        let ground = Ground::new();
        let mut expected = log_of(&ground);
        let _ = expected.truncate_to(Offset(to), NOW_MS, EXPIRATION_MS).unwrap();
        let expected = seen(&mut expected);
        for what in [".log", ".index", ".timeindex", ".txnindex", ".snapshot"] {
            for after in 0..4 {
                let ground = Ground::new();
                let mut log = log_of(&ground);
                let before = seen(&mut log);
                log.volume().descriptors().let_go();
                ground.memory.run_short(Call::Open, what, after, 2);
                if let Err(error) = log.truncate_to(Offset(to), NOW_MS, EXPIRATION_MS).map(drop) {
                    refused += 1;
                    log.volume().check().unwrap();
                    ground.memory.heal();
                    assert_eq!(seen(&mut log), before, "{what} {after}: {error}");
                    let _ = log.truncate_to(Offset(to), NOW_MS, EXPIRATION_MS).unwrap();
                }
                ground.memory.heal();
                log.volume().check().unwrap();
                assert_eq!(seen(&mut log), expected, "{what} {after}");
                let known = producers(&log);
                drop(log);
                let ground = ground.restart();
                let options = LoadOptions {
                    clean: false,
                    ..load_options(&config)
                };
                let (log, _) = ground.load(&options).unwrap();
                assert_eq!(read_all(&log, Offset(0), Bound::LogEnd), expected.1);
                assert_eq!(producers(&log), known, "other producers than the records tell of");
            }
        }
    }
    assert!(refused > 20, "{refused} were refused");
}

/// Where all old records are gone there is no going back: it waits.
#[test]
fn a_log_that_begins_anew_waits_for_a_descriptor() {
    let ground = Ground::new();
    let mut log = filled(&ground, &small_segments(1000));
    log.volume().descriptors().let_go();
    // What is made anew in the place of all segments.
    ground
        .memory
        .run_short(Call::Open, "00000000000000000100.log", 0, 5);
    let _ = log.truncate_fully_and_start_at(Offset(100), NOW_MS).unwrap();
    log.volume().check().unwrap();
    assert_eq!(
        (log.log_start_offset(), log.log_end_offset()),
        (Offset(100), Offset(100))
    );
    append(&mut log, &sent(0)).unwrap();
    assert_eq!(log.log_end_offset(), Offset(103));
}

/// Only that a file was not opened is passing. What a sync says is not, though it were the same word: what was to be synced
/// may be gone.
#[test]
fn a_sync_that_fails_is_fatal_whatever_it_says() {
    // The log, the leader epochs, the folder in which these lie and are renamed.
    for after in 0.. {
        let ground = Ground::new();
        let mut log = filled(&ground, &LogConfig::default());
        ground.memory.run_short(Call::Sync, "/data/t-0", after, 1);
        if log.flush(NOW_MS).is_ok() {
            assert!(after >= 4, "the sync number {after} was tried again");
            return;
        }
        assert!(log.volume().check().is_err());
    }
}

/// A replica that is refused would be taken for lost.
#[test]
fn a_new_log_waits_for_a_descriptor() {
    let ground = Ground::new();
    ground.memory.run_short(Call::Open, "00.log", 0, 5);
    let mut log = ground.create(&LogConfig::default());
    append(&mut log, &sent(0)).unwrap();
}
