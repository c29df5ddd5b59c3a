//! Pitfalls (part 1) where they touch the log: each test says which row, and shows the fault that others had.

use super::testing::*;
use super::{AppendError, Bound, LoadOptions, Log, ReadError, ReadRequest};
use crate::base::disk::memory::Call;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{LeaderEpoch, Offset, ProducerId};
use crate::config::LogConfig;
use crate::records::batch::{Batch, Batches};
use crate::records::build::{BatchBuilder, BatchOptions};
use crate::storage::file_names::LEADER_EPOCH_CHECKPOINT;
use crate::storage::producer_state::{Origin, ProducerError};
use std::io::ErrorKind;
use std::sync::Arc;

/// Something that is done to the files of a log.
type Act = Box<dyn Fn(&Ground)>;

fn filled(config: &LogConfig, batches: usize) -> (Ground, Log) {
    let ground = Ground::new();
    let mut log = ground.create(config);
    log.flush(NOW_MS).unwrap();
    for number in 0..batches {
        let send = Send {
            records: 3,
            timestamp_ms: number as i64 * 10,
            ..Send::default()
        };
        append(&mut log, &send).unwrap();
    }
    log.raise_high_watermark(log.log_end_offset());
    (ground, log)
}

fn read(log: &Log, start: i64, bound: Bound) -> Result<Vec<u8>, ReadError> {
    let info = log.read(&ReadRequest {
        start_offset: Offset(start),
        max_bytes: 1 << 20,
        min_one_batch: true,
        bound,
    })?;
    Ok(info
        .records
        .map(|records| records.read().unwrap())
        .unwrap_or_default())
}

fn first_offset(bytes: &[u8]) -> Offset {
    Batch::parse(bytes).unwrap().unwrap().base_offset
}

/// All batches of `from`, as a follower gets them, into a new log.
fn replicate(from: &Log, start: Offset, ground: &Ground, config: &LogConfig) -> Log {
    let mut follower = ground.create(config);
    if start > Offset(0) {
        let _ = follower.truncate_fully_and_start_at(start, NOW_MS).unwrap();
    }
    for batch in read_all(from, start, Bound::LogEnd) {
        follower
            .append_as_follower(&batch, LeaderEpoch(9), NOW_MS)
            .unwrap();
    }
    follower
}

#[test]
fn row_18_log_start_and_fetch_offset_may_lie_inside_a_batch() {
    let (_ground, mut log) = filled(&small_segments(4000), 10);
    assert_eq!(log.raise_log_start_offset(Offset(13)), Some(true));
    assert!(matches!(
        read(&log, 12, Bound::LogEnd),
        Err(ReadError::OutOfRange { .. })
    ));
    assert_eq!(first_offset(&read(&log, 13, Bound::LogEnd).unwrap()), Offset(12));
    assert_eq!(first_offset(&read(&log, 29, Bound::LogEnd).unwrap()), Offset(27));
    // A follower that begins at the start gets the batch whole, and its log begins where the batch does.
    let ground = Ground::new();
    let config = small_segments(4000);
    let mut follower = ground.create(&config);
    let _ = follower.truncate_fully_and_start_at(Offset(13), NOW_MS).unwrap();
    let batch = read(&log, 13, Bound::LogEnd).unwrap();
    let refused = follower.append_as_follower(&batch, LeaderEpoch(0), NOW_MS);
    let Err(AppendError::UnexpectedOffset { first, .. }) = refused else {
        panic!("{refused:?}");
    };
    let _ = follower.truncate_fully_and_start_at(first, NOW_MS).unwrap();
    follower
        .append_as_follower(&batch, LeaderEpoch(0), NOW_MS)
        .unwrap();
    assert_eq!(follower.log_end_offset(), Offset(30));
}

#[test]
fn row_19_nothing_is_read_above_the_high_watermark_read_once() {
    let (_ground, mut log) = filled(&small_segments(4000), 4);
    log.set_high_watermark(Offset(6));
    append(&mut log, &Send::default()).unwrap();
    let bytes = read(&log, 0, Bound::HighWatermark).unwrap();
    assert_eq!(
        Batches::new(&bytes).last().unwrap().unwrap().last_offset(),
        Offset(5)
    );
    // At the bound, and between it and the end: nothing, and no error.
    assert!(read(&log, 6, Bound::HighWatermark).unwrap().is_empty());
    assert!(read(&log, 9, Bound::HighWatermark).unwrap().is_empty());
    assert!(read(&log, 13, Bound::HighWatermark).unwrap().is_empty());
    assert!(read(&log, 14, Bound::HighWatermark).is_err());
    // A watermark inside a batch ends before the batch.
    log.set_high_watermark(Offset(7));
    let bytes = read(&log, 0, Bound::HighWatermark).unwrap();
    assert_eq!(
        Batches::new(&bytes).last().unwrap().unwrap().last_offset(),
        Offset(5)
    );
}

#[test]
fn row_21_a_roll_at_the_high_watermark_leaves_no_stale_position() {
    let (_ground, mut log) = filled(&small_segments(4000), 4);
    assert_eq!(log.high_watermark(), log.log_end_offset());
    log.roll(NOW_MS).unwrap();
    assert!(read(&log, 12, Bound::HighWatermark).unwrap().is_empty());
    append(&mut log, &Send::default()).unwrap();
    assert!(read(&log, 12, Bound::HighWatermark).unwrap().is_empty());
    assert_eq!(read_all(&log, Offset(0), Bound::HighWatermark).len(), 4);
    log.raise_high_watermark(Offset(13));
    assert_eq!(
        first_offset(&read(&log, 12, Bound::HighWatermark).unwrap()),
        Offset(12)
    );
    assert_eq!(read_all(&log, Offset(0), Bound::HighWatermark).len(), 5);
}

#[test]
fn row_22_retention_stops_at_the_high_watermark() {
    let config = LogConfig {
        retention_ms: 1,
        retention_bytes: 1,
        ..small_segments(250)
    };
    let (_ground, mut log) = filled(&config, 12);
    assert!(log.segment_count() > 4);
    log.set_high_watermark(Offset(8));
    let report = log.retain(NOW_MS).unwrap();
    assert!(report.segments > 0);
    assert!(log.log_start_offset() <= Offset(8), "{}", log.log_start_offset());
    assert!(log.first_base_offset() <= Offset(8));
    assert_eq!(
        read_all(&log, log.log_start_offset(), Bound::LogEnd)
            .last()
            .map(|last| first_offset(last)),
        Some(Offset(33))
    );
    report.files.remove().unwrap();
}

#[test]
fn row_32_zeros_behind_the_time_index_do_not_make_data_old() {
    let config = LogConfig {
        retention_ms: 1000,
        ..small_segments(250)
    };
    let ground = Ground::new();
    let mut log = ground.create(&config);
    for _ in 0..12 {
        append(
            &mut log,
            &Send {
                timestamp_ms: NOW_MS - 10,
                ..Send::default()
            },
        )
        .unwrap();
    }
    clean_stop(&mut log);
    let last = log.active_base_offset().get();
    drop(log);
    // As a crash leaves it, and as Kafka's preallocated indexes are before the trim; with a marker all the same.
    for kind in ["index", "timeindex"] {
        let name = format!("{last:020}.{kind}");
        let mut bytes = ground.files()[&name].clone();
        bytes.extend([0; 240]);
        ground.write(&name, &bytes);
    }
    for clean in [true, false] {
        let options = LoadOptions {
            clean,
            ..load_options(&config)
        };
        let (mut log, report) = ground.load(&options).unwrap();
        assert!(report.recovered_segments > 0);
        assert_eq!(log.retain(NOW_MS).unwrap().segments, 0);
        assert_eq!(log.log_end_offset(), Offset(12));
    }
}

#[test]
fn row_32_zeros_behind_the_time_index_of_an_older_segment_do_not_make_it_old() {
    let config = LogConfig {
        retention_ms: 1000,
        ..small_segments(250)
    };
    for zeros in [12, 24, 1200] {
        let ground = Ground::new();
        let mut log = ground.create(&config);
        for _ in 0..24 {
            let timestamp_ms = NOW_MS - 10;
            append(
                &mut log,
                &Send {
                    timestamp_ms,
                    ..Send::default()
                },
            )
            .unwrap();
        }
        clean_stop(&mut log);
        let last = log.active_base_offset().get();
        drop(log);
        let is_older =
            |name: &&String| name.ends_with(".timeindex") && !name.starts_with(&format!("{last:020}"));
        let files = ground.files();
        let names: Vec<&String> = files.keys().filter(is_older).collect();
        assert!(names.len() > 3);
        for name in names {
            let mut bytes = files[name].clone();
            bytes.extend(vec![0; zeros]);
            ground.write(name, &bytes);
        }
        let (mut log, _) = ground.load(&load_options(&config)).unwrap();
        let by_time = log.offset_for_timestamp(NOW_MS - 10).unwrap();
        assert_eq!(by_time.map(|found| found.offset), Some(Offset(0)));
        assert_eq!(log.retain(NOW_MS).unwrap().segments, 0);
        assert!(
            log.retain(NOW_MS + 2000).unwrap().segments > 3,
            "they are old in the end"
        );
    }
}

/// Part 2, row 32.
#[test]
fn records_without_a_key_are_refused_where_compaction_is_one_of_the_policies() {
    let mut keyless = BatchBuilder::new(BatchOptions::default());
    keyless.append(NOW_MS, None, Some(b"v"), &[]).unwrap();
    let keyless = keyless.build().unwrap().1;
    for (compact, delete) in [(true, false), (true, true), (false, true)] {
        let ground = Ground::new();
        let config = LogConfig {
            compact,
            delete,
            ..small_segments(1000)
        };
        let answer = append_bytes(&mut ground.create(&config), &keyless, Origin::Client);
        match answer {
            Err(AppendError::Invalid(error)) => assert!(compact && error.code == ErrorCode::InvalidRecord),
            answer => assert!(answer.is_ok() && !compact, "{compact} {delete}"),
        }
    }
}

/// Followers ask for `replica.fetch.max.bytes`, a mebibyte, whatever the size of segments is.
#[test]
fn a_follower_takes_of_many_batches_what_fits_into_a_segment() {
    let (leader_ground, leader) = filled(&small_segments(100_000), 20);
    let batches = read_all(&leader, Offset(0), Bound::LogEnd);
    drop(leader_ground);
    let ground = Ground::new();
    let mut log = ground.create(&small_segments(1000));
    let (mut left, mut times) = (&batches[..], 0);
    while !left.is_empty() {
        let info = log
            .append_as_follower(&left.concat(), LeaderEpoch(0), NOW_MS)
            .unwrap();
        assert!((1..=1000).contains(&info.bytes), "{}", info.bytes);
        let end = log.log_end_offset();
        left = &left[left.iter().take_while(|batch| first_offset(batch) < end).count()..];
        times += 1;
    }
    assert!(times > 1);
    assert_eq!(log.log_end_offset(), leader.log_end_offset());
    // A batch that the leader took when segments were larger.
    let ground = Ground::new();
    let mut tiny = ground.create(&small_segments(30));
    let info = tiny
        .append_as_follower(&batches.concat(), LeaderEpoch(0), NOW_MS)
        .unwrap();
    assert_eq!(info.bytes, batches[0].len());
}

#[test]
fn row_33_a_gap_of_more_than_an_index_can_name_rolls() {
    let config = LogConfig {
        compact: true,
        ..small_segments(100_000)
    };
    let (leader_ground, leader) = filled(&config, 2);
    let mut far = read_all(&leader, Offset(0), Bound::LogEnd);
    let gap = i64::from(i32::MAX) + 10;
    far[1][..8].copy_from_slice(&gap.to_be_bytes());
    drop(leader_ground);
    let ground = Ground::new();
    let mut log = ground.create(&config);
    for batch in &far {
        log.append_as_follower(batch, LeaderEpoch(0), NOW_MS).unwrap();
    }
    assert_eq!(log.base_offsets().collect::<Vec<_>>(), [Offset(0), Offset(gap)]);
    assert_eq!(
        first_offset(&read(&log, 3, Bound::LogEnd).unwrap()),
        Offset(gap),
        "the gap is read over"
    );
    clean_stop(&mut log);
    drop(log);
    let (log, report) = ground.load(&load_options(&config)).unwrap();
    assert_eq!(report.repairs, [""; 0]);
    assert_eq!(log.log_end_offset(), Offset(gap + 3));
}

#[test]
fn row_34_an_empty_segment_is_rolled_once() {
    let (ground, mut log) = filled(&small_segments(250), 6);
    let base = log.active_base_offset();
    let _ = log.truncate_to(base, NOW_MS, EXPIRATION_MS).unwrap();
    let segments: Vec<Offset> = log.base_offsets().collect();
    for _ in 0..3 {
        log.roll(NOW_MS).unwrap();
        assert_eq!(log.base_offsets().collect::<Vec<_>>(), segments);
    }
    // An index without room for a single entry is full from the beginning.
    log.set_config(Arc::new(LogConfig {
        segment_index_bytes: 4,
        ..small_segments(250)
    }));
    for _ in 0..3 {
        append(&mut log, &Send::default()).unwrap();
    }
    assert_eq!(log.log_end_offset(), base.plus(3));
    drop(log);
    let (log, _) = ground
        .load(&LoadOptions {
            clean: false,
            ..load_options(&small_segments(250))
        })
        .unwrap();
    assert_eq!(log.log_end_offset(), base.plus(3));
}

#[test]
fn row_35_a_rolled_segment_survives_when_unsynced_entries_of_folders_are_lost() {
    let (ground, mut log) = filled(&small_segments(250), 1);
    // With the leader epochs, whose file syncs the folder.
    log.flush(NOW_MS).unwrap();
    // More than file systems take away: a file's own sync keeps its name there.
    ground.memory.names_need_their_directory();
    for _ in 1..8 {
        append(
            &mut log,
            &Send {
                records: 3,
                ..Send::default()
            },
        )
        .unwrap();
    }
    assert!(log.segment_count() > 2);
    let flushed = log.flush_plan().unwrap().run().unwrap();
    log.flushed(flushed, NOW_MS);
    let end = log.recovery_point();
    drop(log);
    ground.memory.power_cut(|| false);
    let options = LoadOptions {
        clean: false,
        recovery_point: end,
        ..load_options(&small_segments(250))
    };
    let (log, _) = ground.restart().load(&options).unwrap();
    assert_eq!(log.log_end_offset(), Offset(24));
    assert_eq!(read_all(&log, Offset(0), Bound::LogEnd).len(), 8);
}

#[test]
fn a_flush_syncs_the_folder_only_where_its_entries_may_have_changed() {
    let ground = Ground::new();
    let mut log = ground.create(&LogConfig::default());
    let flushed = |log: &mut Log| {
        append(log, &Send::default()).unwrap();
        let before = ground.memory.counts().syncs;
        log.flush(NOW_MS).unwrap();
        ground.memory.counts().syncs - before
    };
    assert!(flushed(&mut log) > 1, "a new log");
    assert_eq!(flushed(&mut log), 1, "the log");
    log.roll(NOW_MS).unwrap();
    assert!(flushed(&mut log) > 1);
    assert_eq!(flushed(&mut log), 1);
    let options = load_options(&LogConfig::default());
    drop(log);
    // What ran before may have been killed with changes that are not durable.
    let (mut log, _) = ground.load(&options).unwrap();
    assert!(flushed(&mut log) > 1);
    assert_eq!(flushed(&mut log), 1);
}

#[test]
fn row_36_a_failed_sync_takes_the_directory_offline_and_is_not_tried_again() {
    let (ground, mut log) = filled(&small_segments(4000), 3);
    let before = log.recovery_point();
    ground.memory.fail(Call::Sync, ".log", 0, 1, ErrorKind::Other);
    let work = log.flush_plan().unwrap();
    assert!(work.run().is_err());
    // The disk says that all is well again; the pages are gone all the same.
    let syncs = ground.memory.counts().syncs;
    assert!(log.flush(NOW_MS).is_err());
    assert!(log.flush_plan().is_none_or(|work| work.run().is_err()));
    assert!(matches!(
        append(&mut log, &Send::default()),
        Err(AppendError::Io(_))
    ));
    assert!(matches!(read(&log, 0, Bound::LogEnd), Err(ReadError::Io(_))));
    assert!(log.close().is_err());
    assert_eq!(ground.memory.counts().syncs, syncs);
    assert_eq!(log.recovery_point(), before);
}

#[test]
fn row_36_a_full_disk_loses_and_acknowledges_nothing() {
    let (ground, mut log) = filled(&small_segments(1 << 20), 3);
    ground.memory.set_capacity_bytes(Some(400));
    let error = append(
        &mut log,
        &Send {
            value_bytes: 500,
            ..Send::default()
        },
    )
    .unwrap_err();
    let AppendError::Io(error) = error else {
        panic!("{error}")
    };
    assert_eq!(error.kind, ErrorKind::StorageFull);
    assert_eq!(log.log_end_offset(), Offset(9));
    drop(log);
    ground.memory.set_capacity_bytes(None);
    let options = LoadOptions {
        clean: false,
        ..load_options(&LogConfig::default())
    };
    let (log, _) = ground.restart().load(&options).unwrap();
    assert_eq!(log.log_end_offset(), Offset(9));
}

#[test]
fn row_37_duplicates_are_found_after_a_crash_at_every_snapshot() {
    let sent = |sequence| Send {
        producer: Some((7, 0, sequence)),
        value_bytes: 60,
        ..Send::default()
    };
    let (_, calls, _) = crash_at(u64::MAX, sent);
    for crash in 0..=calls {
        // What was flushed is not read again: of that the snapshot alone knows the producers.
        let (ground, _, recovery_point) = crash_at(crash, sent);
        let options = LoadOptions {
            clean: false,
            recovery_point,
            ..load_options(&small_segments(250))
        };
        let (mut log, _) = ground.restart().load(&options).unwrap();
        let next = log.log_end_offset().get() as i32;
        if next > 0 {
            assert!(
                append(&mut log, &sent(next - 1)).unwrap().is_duplicate,
                "crash at write {crash}"
            );
            assert!(matches!(
                append(&mut log, &sent(next + 1)),
                Err(AppendError::Producer(ProducerError::OutOfOrderSequence { .. }))
            ));
        }
        assert_eq!(
            append(&mut log, &sent(next)).unwrap().first_offset,
            Some(Offset(i64::from(next)))
        );
    }
}

/// Appends until the write `crash` of a snapshot fails, then the power does. Answers how many there were, and up to
/// where the log was flushed.
fn crash_at(crash: u64, sent: impl Fn(i32) -> Send) -> (Ground, u64, Offset) {
    let (ground, mut log) = filled(&small_segments(250), 0);
    ground
        .memory
        .fail(Call::Write, ".snapshot", crash, u64::MAX, ErrorKind::Other);
    let mut rolls = 0;
    for sequence in 0..20 {
        let Ok(info) = append(&mut log, &sent(sequence)) else {
            break;
        };
        if let Some(work) = info.flush {
            rolls += 1;
            // The snapshot is on disk only where this was run: leave every other one to the power cut.
            if rolls % 2 == 0 {
                let flushed = work.run().unwrap();
                log.flushed(flushed, NOW_MS);
            }
        }
    }
    let recovery_point = log.recovery_point();
    drop(log);
    ground.memory.heal();
    ground.memory.power_cut(|| false);
    (ground, rolls, recovery_point)
}

#[test]
fn row_37_a_snapshot_ahead_of_its_log_is_not_believed() {
    let (ground, mut log) = filled(&small_segments(4000), 0);
    for sequence in 0..4 {
        append(
            &mut log,
            &Send {
                producer: Some((7, 0, sequence)),
                ..Send::default()
            },
        )
        .unwrap();
    }
    clean_stop(&mut log);
    drop(log);
    // The log loses its last record, the snapshot stays.
    let name = "00000000000000000000.log";
    let bytes = ground.files()[name].clone();
    ground.write(name, &bytes[..bytes.len() - 1]);
    for clean in [true, false] {
        let options = LoadOptions {
            clean,
            ..load_options(&small_segments(4000))
        };
        let (log, _) = ground.load(&options).unwrap();
        assert_eq!(log.log_end_offset(), Offset(3));
        assert_eq!(
            log.producer_states().get(ProducerId(7)).unwrap().last_sequence(),
            2
        );
    }
}

#[test]
fn row_37_after_an_unclean_stop_snapshots_are_believed_up_to_what_was_flushed() {
    let config = small_segments(400);
    let stopped = |producer| {
        let ground = Ground::new();
        let mut log = ground.create(&config);
        append_in_sequence(&mut log, producer, 20);
        clean_stop(&mut log);
        let flushed = log.base_offsets().last().unwrap();
        (ground, flushed)
    };
    let (ground, flushed) = stopped(7);
    let snapshots = || -> Vec<String> { ground.files_of(".snapshot").into_keys().collect() };
    // One at the log's end, of batches that are not in this log.
    let last = snapshots().pop().unwrap();
    let alien = stopped(8).0.files()[&last].clone();
    ground.write(&last, &alien);
    let before = snapshots();
    assert!(before.len() > 2 && before[before.len() - 2] == format!("{:020}.snapshot", flushed.get()));
    let options = LoadOptions {
        clean: false,
        recovery_point: flushed,
        ..load_options(&config)
    };
    let (log, _) = ground.load(&options).unwrap();
    assert_eq!(log.log_end_offset(), Offset(20));
    assert!(log.producer_states().get(ProducerId(8)).is_none());
    let known = log.producer_states().get(ProducerId(7)).unwrap();
    assert_eq!(known.last_sequence(), 19);
    // Recovery has written its own in that place, and those below are as they were.
    assert_ne!(ground.files()[&last], alien);
    assert_eq!(snapshots(), before);
}

#[test]
fn row_37_what_a_flush_covers_its_snapshots_too_survives_the_loss_of_power() {
    let ground = Ground::new();
    let mut log = ground.create(&small_segments(400));
    log.flush(NOW_MS).unwrap();
    append_in_sequence(&mut log, 7, 20);
    log.flush(NOW_MS).unwrap();
    let before = ground.files_of(".snapshot");
    assert!(before.len() > 2 && before.values().all(|bytes| !bytes.is_empty()));
    drop(log);
    ground.memory.power_cut(|| false);
    assert_eq!(ground.files_of(".snapshot"), before);
}

#[test]
fn row_38_a_failed_write_of_the_transaction_index_holds_the_last_stable_offset() {
    let (ground, mut log) = filled(&small_segments(4000), 1);
    let data = Send {
        producer: Some((7, 0, 0)),
        transactional: true,
        ..Send::default()
    };
    append(&mut log, &data).unwrap();
    ground
        .memory
        .fail(Call::Write, ".txnindex", 0, 1, ErrorKind::Other);
    let failed = append_bytes(&mut log, &marker((7, 0), false), Origin::Coordinator);
    assert!(matches!(failed, Err(AppendError::Io(_))));
    log.raise_high_watermark(log.log_end_offset());
    assert_eq!(
        log.last_stable_offset(),
        Offset(3),
        "the aborted record stays unseen"
    );
    assert!(
        append(&mut log, &Send::default()).is_err(),
        "no offset is given twice"
    );
    drop(log);
    ground.memory.heal();
    let options = LoadOptions {
        clean: false,
        ..load_options(&small_segments(4000))
    };
    let (mut log, _) = ground.restart().load(&options).unwrap();
    assert_eq!(log.log_end_offset(), Offset(5));
    assert_eq!(log.last_stable_offset(), Offset(5));
    assert_eq!(log.aborted_transactions(Offset(0), Offset(5)).unwrap().len(), 1);
    assert_eq!(
        append(&mut log, &Send::default()).unwrap().first_offset,
        Some(Offset(5))
    );
}

#[test]
fn row_39_a_missing_index_is_built_anew_and_the_log_kept() {
    for missing in ["index", "timeindex"] {
        for clean in [true, false] {
            let (ground, mut log) = filled(&small_segments(400), 9);
            clean_stop(&mut log);
            let expected = read_all(&log, Offset(0), Bound::LogEnd);
            let end = log.log_end_offset();
            drop(log);
            let before = ground.files();
            let removed: Vec<&String> = before
                .keys()
                .filter(|name| name.ends_with(&format!(".{missing}")))
                .collect();
            assert!(removed.len() > 2);
            removed.iter().for_each(|name| ground.remove(name));
            let options = LoadOptions {
                clean,
                recovery_point: end,
                ..load_options(&small_segments(400))
            };
            let (mut log, report) = ground.load(&options).unwrap();
            assert_eq!(report.repairs.len(), if clean { removed.len() } else { 0 });
            assert_eq!(read_all(&log, Offset(0), Bound::LogEnd), expected);
            clean_stop(&mut log);
            assert_eq!(ground.files(), before);
        }
    }
}

#[test]
fn row_39_a_swap_is_ended_or_undone_after_a_crash_at_each_rename() {
    // A compaction of the first two segments into one, stage by stage as Kafka does it.
    let config = small_segments(400);
    let (original, mut log) = filled(&config, 9);
    clean_stop(&mut log);
    let bases: Vec<i64> = log.base_offsets().map(Offset::get).collect();
    drop(log);
    let name = |base: i64, kind: &str, state: &str| format!("{base:020}.{kind}{state}");
    let old = original.files();
    let end = |segment: usize| bases.get(segment + 1).copied().unwrap();
    // The cleaned segment keeps the last batch of the second one only.
    let second = &old[&name(bases[1], "log", "")];
    let kept = Batches::new(second).last().unwrap().unwrap();
    let cleaned = [
        ("log", kept.bytes().to_vec()),
        ("index", Vec::new()),
        ("timeindex", Vec::new()),
    ];
    let mut steps: Vec<Act> = Vec::new();
    for (kind, bytes) in cleaned.clone() {
        let target = name(bases[0], kind, ".cleaned");
        steps.push(Box::new(move |ground| ground.write(&target, &bytes)));
    }
    let rename = |from: String, to: String| -> Act {
        Box::new(move |ground| {
            let path = |name: &str| std::path::Path::new("/data/t-0").join(name);
            ground.disk().rename(&path(&from), &path(&to)).unwrap();
        })
    };
    for (kind, _) in &cleaned {
        steps.push(rename(
            name(bases[0], kind, ".cleaned"),
            name(bases[0], kind, ".swap"),
        ));
    }
    let swapped = steps.len();
    for base in &bases[..2] {
        for kind in ["log", "index", "timeindex"] {
            steps.push(rename(name(*base, kind, ""), name(*base, kind, ".deleted")));
        }
    }
    for (kind, _) in &cleaned {
        steps.push(rename(name(bases[0], kind, ".swap"), name(bases[0], kind, "")));
    }
    for crash in 0..=steps.len() {
        for clean in [false, true] {
            let ground = Ground::new();
            ground.disk().create_directory("/data/t-0".as_ref()).unwrap();
            old.iter().for_each(|(name, bytes)| ground.write(name, bytes));
            steps[..crash].iter().for_each(|step| step(&ground));
            let options = LoadOptions {
                clean,
                ..load_options(&config)
            };
            let (log, _) = ground.load(&options).unwrap();
            let first = first_offset(&read(&log, 0, Bound::LogEnd).unwrap());
            let expected = if crash < swapped {
                Offset(0)
            } else {
                kept.base_offset
            };
            assert_eq!(first, expected, "crash after step {crash}");
            assert_eq!(log.log_end_offset(), Offset(27));
            let total: usize = read_all(&log, Offset(0), Bound::LogEnd).len();
            let behind = usize::try_from((27 - end(1)) / 3).unwrap();
            assert_eq!(total, if crash < swapped { 9 } else { 1 + behind });
            assert!(
                ground
                    .files()
                    .keys()
                    .all(|name| !name.contains(".swap") && !name.contains(".cleaned"))
            );
        }
    }
}

#[test]
fn row_47_a_deletion_races_retention_and_flushes_without_harm() {
    let config = LogConfig {
        retention_ms: 1,
        ..small_segments(250)
    };
    let (ground, mut log) = filled(&config, 12);
    let flush = log.flush_plan();
    let report = log.retain(NOW_MS).unwrap();
    assert!(report.segments > 0);
    let moved = "/data/t-0.0123456789abcdef0123456789abcdef-delete";
    ground
        .disk()
        .rename("/data/t-0".as_ref(), moved.as_ref())
        .unwrap();
    log.folder_moved(moved.into());
    report.files.remove().unwrap();
    if let Some(work) = flush {
        let flushed = work.run().unwrap();
        log.flushed(flushed, NOW_MS);
    }
    ground.disk().remove_directory(moved.as_ref()).unwrap();
    assert!(log.flush_plan().is_none_or(|work| work.run().is_ok()));
    assert!(log.volume().failure().is_none(), "the directory stays online");
}

#[test]
fn row_49_producers_outlive_the_deletion_of_their_records() {
    let (_ground, mut log) = filled(&small_segments(250), 0);
    let sent = |sequence| Send {
        producer: Some((7, 0, sequence)),
        ..Send::default()
    };
    for sequence in 0..6 {
        append(&mut log, &sent(sequence)).unwrap();
    }
    log.raise_high_watermark(Offset(6));
    log.raise_log_start_offset(Offset(6)).unwrap();
    log.retain(NOW_MS).unwrap().files.remove().unwrap();
    assert!(append(&mut log, &sent(9)).is_err(), "still known");
    assert_eq!(append(&mut log, &sent(6)).unwrap().first_offset, Some(Offset(6)));
}

#[test]
fn row_50_a_follower_takes_what_the_leader_has_whatever_the_sequences() {
    let (leader_ground, mut leader) = filled(&small_segments(4000), 0);
    for sequence in 0..6 {
        append(
            &mut leader,
            &Send {
                producer: Some((7, 0, sequence)),
                ..Send::default()
            },
        )
        .unwrap();
    }
    // Compaction has removed batches in the middle.
    let batches = read_all(&leader, Offset(0), Bound::LogEnd);
    drop(leader_ground);
    let ground = Ground::new();
    let mut follower = ground.create(&small_segments(4000));
    for at in [0, 3, 5] {
        follower
            .append_as_follower(&batches[at], LeaderEpoch(0), NOW_MS)
            .unwrap();
    }
    assert_eq!(follower.log_end_offset(), Offset(6));
    assert_eq!(
        follower
            .producer_states()
            .get(ProducerId(7))
            .unwrap()
            .last_sequence(),
        5
    );
}

#[test]
fn row_51_sequences_wrap() {
    let (_ground, mut log) = filled(&small_segments(4000), 0);
    let sent = |sequence, records| Send {
        producer: Some((7, 0, sequence)),
        records,
        ..Send::default()
    };
    append(&mut log, &sent(i32::MAX - 2, 2)).unwrap();
    append(&mut log, &sent(i32::MAX, 2)).unwrap();
    assert!(append(&mut log, &sent(i32::MAX, 2)).unwrap().is_duplicate);
    assert!(append(&mut log, &sent(0, 1)).is_err());
    append(&mut log, &sent(1, 1)).unwrap();
    assert_eq!(log.log_end_offset(), Offset(5));
}

#[test]
fn row_53_a_known_producer_begins_a_new_epoch_at_zero() {
    let (_ground, mut log) = filled(&small_segments(4000), 0);
    append(
        &mut log,
        &Send {
            producer: Some((7, 0, 0)),
            ..Send::default()
        },
    )
    .unwrap();
    assert!(
        append(
            &mut log,
            &Send {
                producer: Some((7, 1, 5)),
                ..Send::default()
            }
        )
        .is_err()
    );
    append(
        &mut log,
        &Send {
            producer: Some((7, 1, 0)),
            ..Send::default()
        },
    )
    .unwrap();
}

#[test]
fn row_59_aborted_transactions_come_in_the_order_of_their_ends() {
    let (_ground, mut log) = filled(&small_segments(4000), 0);
    let data = |id, sequence| Send {
        producer: Some((id, 0, sequence)),
        transactional: true,
        ..Send::default()
    };
    for id in [1, 2, 3] {
        append(&mut log, &data(id, 0)).unwrap();
    }
    log.roll(NOW_MS).unwrap();
    for id in [3, 1, 2] {
        log.roll(NOW_MS).unwrap();
        append_bytes(&mut log, &marker((id, 0), false), Origin::Coordinator).unwrap();
    }
    assert_eq!(log.segment_count(), 4);
    log.raise_high_watermark(log.log_end_offset());
    let info = log
        .read(&ReadRequest {
            start_offset: Offset(0),
            max_bytes: 1 << 20,
            min_one_batch: true,
            bound: Bound::LastStableOffset,
        })
        .unwrap();
    let aborted: Vec<_> = info
        .aborted
        .unwrap()
        .iter()
        .map(|one| (one.producer_id.get(), one.last_offset.get()))
        .collect();
    assert_eq!(aborted, [(3, 3), (1, 4), (2, 5)]);
    // Above the bound there is nothing to tell, and below another isolation level nothing is told.
    let end = log.read(&ReadRequest {
        start_offset: Offset(6),
        max_bytes: 1,
        min_one_batch: true,
        bound: Bound::LastStableOffset,
    });
    assert_eq!(end.unwrap().aborted, Some(Vec::new()));
}

#[test]
fn row_60_an_open_transaction_at_the_tail_holds_the_last_stable_offset() {
    let (ground, mut log) = filled(&small_segments(4000), 2);
    let data = |id, sequence| Send {
        producer: Some((id, 0, sequence)),
        transactional: true,
        ..Send::default()
    };
    append(&mut log, &data(1, 0)).unwrap();
    append(&mut log, &data(2, 0)).unwrap();
    append(&mut log, &Send::default()).unwrap();
    let raise = |log: &mut Log| log.set_high_watermark(log.log_end_offset());
    raise(&mut log);
    assert_eq!(log.last_stable_offset(), Offset(6));
    assert_eq!(read_all(&log, Offset(0), Bound::LastStableOffset).len(), 2);
    append_bytes(&mut log, &marker((1, 0), true), Origin::Coordinator).unwrap();
    // The marker is not replicated yet.
    assert_eq!(log.last_stable_offset(), Offset(6));
    raise(&mut log);
    assert_eq!(log.last_stable_offset(), Offset(7));
    append_bytes(&mut log, &marker((2, 0), false), Origin::Coordinator).unwrap();
    raise(&mut log);
    assert_eq!(log.last_stable_offset(), log.log_end_offset());
    append(&mut log, &data(1, 1)).unwrap();
    raise(&mut log);
    // As after a restart, by a snapshot or from the log.
    for clean in [true, false] {
        clean_stop(&mut log);
        drop(log);
        let options = LoadOptions {
            clean,
            ..load_options(&small_segments(4000))
        };
        log = ground.load(&options).unwrap().0;
        raise(&mut log);
        assert_eq!(log.last_stable_offset(), Offset(11));
    }
}

#[test]
fn row_5_leader_epoch_zero_comes_back_when_its_file_is_gone() {
    // After an unclean stop all is read through, or the last segment only.
    for (clean, is_flushed) in [(true, true), (false, false), (false, true)] {
        let (ground, mut log) = filled(&small_segments(300), 6);
        log.assign_epoch(LeaderEpoch(3));
        let records = batch(&Send::default());
        let verification = crate::storage::producer_state::Verification::Disabled;
        log.append_as_leader(
            &records,
            LeaderEpoch(3),
            Origin::Client,
            verification,
            NOW_MS,
            None,
        )
        .unwrap();
        clean_stop(&mut log);
        let epochs = log.leader_epochs().clone();
        let recovery_point = if is_flushed {
            log.active_base_offset()
        } else {
            Offset(0)
        };
        assert!(log.segment_count() > 2);
        drop(log);
        for damage in [None, Some(b"0\n9\nx".as_slice())] {
            match damage {
                None => ground.remove(LEADER_EPOCH_CHECKPOINT),
                Some(bytes) => ground.write(LEADER_EPOCH_CHECKPOINT, bytes),
            }
            let options = LoadOptions {
                clean,
                recovery_point,
                ..load_options(&small_segments(300))
            };
            let (mut log, _) = ground.load(&options).unwrap();
            assert_eq!(log.leader_epochs().entries(), epochs.entries());
            assert_eq!(log.end_offset_for(LeaderEpoch(0)).unwrap().end_offset, Offset(18));
            clean_stop(&mut log);
        }
    }
}

/// A broker leads an epoch in which nothing is written, and another one goes on with the epoch before.
#[test]
fn row_6_an_epoch_that_was_given_up_is_not_believed_when_the_file_still_has_it() {
    let (ground, mut log) = filled(&small_segments(4000), 6);
    clean_stop(&mut log);
    drop(log);
    let named = |entries: &[(i32, i64)]| {
        let lines = entries.iter().map(|(epoch, start)| format!("{epoch} {start}\n"));
        format!("0\n{}\n{}", entries.len(), lines.collect::<String>())
    };
    ground.write(LEADER_EPOCH_CHECKPOINT, named(&[(0, 0), (3, 9)]).as_bytes());
    let options = LoadOptions {
        clean: false,
        ..load_options(&small_segments(4000))
    };
    let (mut log, _) = ground.load(&options).unwrap();
    let end = log.end_offset_for(LeaderEpoch(0)).unwrap();
    assert_eq!(end.end_offset, log.log_end_offset(), "all of it is of epoch 0");
    clean_stop(&mut log);
    drop(log);
    assert_eq!(
        ground.files()[LEADER_EPOCH_CHECKPOINT],
        named(&[(0, 0)]).into_bytes()
    );
}

#[test]
fn a_clean_marker_is_not_believed_blindly() {
    type Damage = (&'static str, Act);
    let log_name = |ground: &Ground| {
        ground
            .files()
            .keys()
            .rfind(|name| name.ends_with(".log"))
            .unwrap()
            .clone()
    };
    let append_garbage = move |garbage: Vec<u8>| -> Act {
        Box::new(move |ground: &Ground| {
            let name = log_name(ground);
            let mut bytes = ground.files()[&name].clone();
            bytes.extend(&garbage);
            ground.write(&name, &bytes);
        })
    };
    let damages: Vec<Damage> = vec![
        ("a few stray bytes", append_garbage(vec![7; 10])),
        ("zeros", append_garbage(vec![0; 40])),
        (
            "a torn batch",
            append_garbage(batch(&Send::default())[..50].to_vec()),
        ),
        ("an older batch", append_garbage(batch(&Send::default()).to_vec())),
        (
            "an index entry behind the end",
            Box::new(move |ground| {
                let name = log_name(ground).replace(".log", ".index");
                ground.write(&name, &[0, 0, 0, 90, 0, 0, 0, 90]);
            }),
        ),
        (
            "no snapshot",
            Box::new(|ground| {
                for name in ground.files().keys().filter(|name| name.ends_with(".snapshot")) {
                    ground.remove(name);
                }
            }),
        ),
        (
            "no transaction index",
            Box::new(|ground| {
                for name in ground.files().keys().filter(|name| name.ends_with(".txnindex")) {
                    ground.remove(name);
                }
            }),
        ),
    ];
    for (what, damage) in damages {
        let (ground, mut log) = filled(&small_segments(400), 6);
        append_aborted(&mut log, 7);
        let open = Send {
            producer: Some((8, 0, 0)),
            transactional: true,
            ..Send::default()
        };
        append(&mut log, &open).unwrap();
        clean_stop(&mut log);
        let before = ground.files();
        drop(log);
        damage(&ground);
        let (mut log, report) = ground.load(&load_options(&small_segments(400))).unwrap();
        assert!(!report.repairs.is_empty(), "{what}");
        assert_eq!(log.log_end_offset(), Offset(21), "{what}");
        assert_eq!(log.last_stable_offset(), Offset(20), "{what}");
        assert_eq!(
            log.aborted_transactions(Offset(0), Offset(21)).unwrap().len(),
            1,
            "{what}"
        );
        clean_stop(&mut log);
        let after = ground.files();
        for (name, bytes) in before
            .iter()
            .filter(|(name, _)| what != "no snapshot" || !name.ends_with("snapshot"))
        {
            assert_eq!(after.get(name), Some(bytes), "{what}: {name}");
        }
        assert_eq!(
            append(&mut log, &Send::default()).unwrap().first_offset,
            Some(Offset(21))
        );
        assert_eq!(read_all(&log, Offset(0), Bound::LogEnd).len(), 10, "{what}");
    }
}

#[test]
fn a_corrupt_batch_from_a_leader_changes_nothing() {
    let (_ground, leader) = filled(&small_segments(4000), 3);
    let ground = Ground::new();
    let mut log = replicate(&leader, Offset(0), &ground, &small_segments(4000));
    let mut bad = batch(&Send::default()).to_vec();
    bad[..8].copy_from_slice(&9_i64.to_be_bytes());
    *bad.last_mut().unwrap() ^= 1;
    assert!(matches!(
        log.append_as_follower(&bad, LeaderEpoch(9), NOW_MS),
        Err(AppendError::Corrupt(_))
    ));
    // A zombie's batches are left out from the first one on, and offsets must ascend.
    let old = read_all(&leader, Offset(0), Bound::LogEnd).concat();
    assert!(matches!(
        log.append_as_follower(&old, LeaderEpoch(9), NOW_MS),
        Err(AppendError::UnexpectedOffset { .. })
    ));
    let mut zombie = batch(&Send::default()).to_vec();
    zombie[..8].copy_from_slice(&9_i64.to_be_bytes());
    zombie[12..16].copy_from_slice(&10_i32.to_be_bytes());
    assert_eq!(
        log.append_as_follower(&zombie, LeaderEpoch(9), NOW_MS)
            .unwrap()
            .first_offset,
        None
    );
    assert_eq!(log.log_end_offset(), Offset(9));
}

#[test]
fn an_idle_log_takes_little_memory_and_few_calls() {
    assert!(size_of::<Log>() < 1500, "{}", size_of::<Log>());
    let ground = Ground::new();
    let before = ground.memory.counts();
    let mut log = ground.create(&LogConfig::default());
    let made = ground.memory.counts();
    assert_eq!((made.syncs - before.syncs, made.opens - before.opens), (0, 1));
    append(&mut log, &Send::default()).unwrap();
    let appended = ground.memory.counts();
    assert_eq!(
        (
            appended.syncs,
            appended.writes - made.writes,
            appended.reads - made.reads
        ),
        (made.syncs, 1, 0)
    );
    // A fetch at the end needs no look-up.
    assert_eq!(first_offset(&read(&log, 0, Bound::LogEnd).unwrap()), Offset(0));
    assert_eq!(
        ground.memory.counts().reads,
        appended.reads + 1,
        "the test's own read of the slice"
    );
}

/// Part 2, row 57: a start remembers no more than an append does, whether it reads a snapshot or the batches.
#[test]
fn row_57_of_too_many_producers_a_start_remembers_the_newest() {
    let known = |log: &Log| log.producers().map(|(id, _)| id.get()).collect::<Vec<_>>();
    let bounded = |most| LogConfig {
        max_producer_ids: most,
        ..small_segments(400)
    };
    let ground = Ground::new();
    let mut log = ground.create(&bounded(6));
    for number in 0..20 {
        let send = Send {
            producer: Some((100 - number, 0, 0)),
            ..Send::default()
        };
        append(&mut log, &send).unwrap();
    }
    assert_eq!(known(&log), [81, 82, 83, 84, 85, 86]);
    clean_stop(&mut log);
    drop(log);
    let ground = ground.restart();
    let (log, report) = ground.load(&load_options(&bounded(4))).unwrap();
    assert_eq!(report, super::LoadReport::default(), "from the snapshot");
    assert_eq!(known(&log), [81, 82, 83, 84]);
    drop(log);
    // What was forgotten by a smaller bound is there again under a larger one: the snapshot was not written anew.
    let ground = ground.restart();
    let (log, _) = ground.load(&load_options(&bounded(6))).unwrap();
    assert_eq!(known(&log), [81, 82, 83, 84, 85, 86]);
    drop(log);
    let ground = ground.restart();
    for name in ground
        .files()
        .into_keys()
        .filter(|name| name.ends_with(".snapshot"))
    {
        ground.remove(&name);
    }
    let crashed = LoadOptions {
        clean: false,
        recovery_point: Offset(0),
        ..load_options(&bounded(3))
    };
    let (log, report) = ground.load(&crashed).unwrap();
    assert!(report.recovered_segments > 1, "from the batches");
    assert_eq!(known(&log), [81, 82, 83]);
}
