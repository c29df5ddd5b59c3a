//! What a cleaning keeps and removes, case by case; the names of rows are those of the list of pitfalls.

use std::cell::RefCell;
use std::sync::Arc;

use super::testing::*;
use super::{CleanerSettings, Cleaning, CleaningError};
use crate::base::format::Codec;
use crate::base::ids::{LeaderEpoch, Offset};
use crate::config::LogConfig;
use crate::records::batch::Batch;
use crate::records::build::{BatchOptions, SetBuilder, SetOptions};
use crate::storage::log::testing::{Ground, NOW_MS, clean_stop, load_options, read_all};
use crate::storage::log::{Bound, Log};

fn new_log(config: &LogConfig) -> (Ground, RefCell<Log>) {
    let ground = Ground::new();
    let log = ground.create(config);
    (ground, RefCell::new(log))
}

fn roll(log: &RefCell<Log>) {
    log.borrow_mut().roll(NOW_MS).unwrap();
}

#[test]
fn the_newest_record_of_each_key_stays_at_its_offset() {
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let (_ground, log) = new_log(&compacted(100_000));
        let options = with_codec(codec);
        put_with(
            &mut log.borrow_mut(),
            &[(b"a", Some(b"1")), (b"b", Some(b"1")), (b"c", Some(b"1"))],
            &options,
        );
        roll(&log);
        put_with(
            &mut log.borrow_mut(),
            &[(b"b", Some(b"2")), (b"a", Some(b"2")), (b"a", Some(b"3"))],
            &options,
        );
        roll(&log);
        put_with(&mut log.borrow_mut(), &[(b"c", Some(b"2"))], &options);
        let before = stored(&log.borrow());
        assert_eq!(clean(&log, NOW_MS), Offset(6));
        let log = log.into_inner();
        assert_eq!(offsets(&log), [2, 3, 5, 6], "{codec:?}");
        for (offset, record) in stored(&log) {
            assert_eq!(record, before[&offset]);
        }
        assert_eq!(log.segment_count(), 2, "both full segments became one");
        assert_eq!(log.log_end_offset(), Offset(7));
        assert_eq!(log.cleaner_checkpoint(), Some(Offset(6)));
    }
}

#[test]
fn a_batch_ends_where_it_ended_and_what_stays_whole_is_copied_byte_for_byte() {
    let (_ground, log) = new_log(&compacted(100_000));
    put(
        &mut log.borrow_mut(),
        &[(b"a", Some(b"1")), (b"b", Some(b"1")), (b"c", Some(b"1"))],
    );
    put(&mut log.borrow_mut(), &[(b"d", Some(b"1")), (b"e", Some(b"1"))]);
    put(&mut log.borrow_mut(), &[(b"c", Some(b"2")), (b"b", Some(b"2"))]);
    roll(&log);
    let before = read_all(&log.borrow(), Offset(0), Bound::LogEnd);
    clean(&log, NOW_MS);
    let after = read_all(&log.borrow(), Offset(0), Bound::LogEnd);
    let row_46 = Batch::parse(&after[0]).unwrap().unwrap();
    assert_eq!((row_46.base_offset, row_46.last_offset()), (Offset(0), Offset(2)));
    assert_eq!(row_46.record_count, 1);
    assert_eq!(after[1..], before[1..]);
}

#[test]
fn records_in_use_unreplicated_or_too_young_decide_nothing() {
    let mut config = compacted(100_000);
    config.min_compaction_lag_ms = 1000;
    let (_ground, log) = new_log(&config);
    put(&mut log.borrow_mut(), &[(b"a", Some(b"1"))]);
    roll(&log);
    put(&mut log.borrow_mut(), &[(b"a", Some(b"2"))]);
    roll(&log);
    put(&mut log.borrow_mut(), &[(b"a", Some(b"3"))]);
    assert!(clean_with(&log, NOW_MS + 999, settings()).unwrap().is_none());
    // Row 40: the high watermark lies within the second segment.
    log.borrow_mut().set_high_watermark(Offset(1));
    assert_eq!(clean(&log, NOW_MS + 1000), Offset(1));
    assert_eq!(offsets(&log.borrow()), [0, 1, 2]);
    log.borrow_mut().set_high_watermark(Offset(3));
    assert_eq!(clean(&log, NOW_MS + 1000), Offset(2));
    assert_eq!(offsets(&log.borrow()), [1, 2]);
}

#[test]
fn nothing_goes_in_favour_of_what_a_power_cut_could_take() {
    // Each full segment is cleaned for itself: the one with the old record first.
    let config = compacted(100);
    for steps in 0.. {
        let (ground, log) = new_log(&config);
        log.borrow_mut().flush(NOW_MS).unwrap();
        put(&mut log.borrow_mut(), &[(b"a", Some(b"1"))]);
        roll(&log);
        log.borrow_mut().flush(NOW_MS).unwrap();
        put(&mut log.borrow_mut(), &[(b"a", Some(b"2"))]);
        roll(&log);
        let mut cleaning = Cleaning::begin(&log, NOW_MS, settings()).unwrap().unwrap();
        let mut over = false;
        for _ in 0..steps {
            over |= cleaning.step().unwrap().cleaned_below.is_some();
        }
        drop(cleaning);
        drop(log);
        ground.memory.power_cut(|| false);
        let ground = ground.restart();
        let options = crate::storage::log::LoadOptions {
            clean: false,
            ..load_options(&config)
        };
        let (log, _) = ground.load(&options).unwrap();
        assert!(!offsets(&log).is_empty(), "after {steps} steps");
        if over {
            assert_eq!(offsets(&log), [1]);
            return;
        }
    }
}

#[test]
fn row_45_a_tombstone_stays_until_its_horizon_and_then_goes() {
    let (_ground, log) = new_log(&compacted(100_000));
    put(&mut log.borrow_mut(), &[(b"a", Some(b"1")), (b"b", Some(b"1"))]);
    put(&mut log.borrow_mut(), &[(b"a", None)]);
    roll(&log);
    clean(&log, NOW_MS);
    assert_eq!(offsets(&log.borrow()), [1, 2]);
    let horizon = |log: &Log| {
        let all = read_all(log, Offset(2), Bound::LogEnd);
        Batch::parse(&all[0]).unwrap().unwrap().delete_horizon_ms()
    };
    assert_eq!(horizon(&log.borrow()), Some(NOW_MS + DAY_MS));
    let timestamps: Vec<i64> = stored(&log.borrow()).values().map(|one| one.timestamp).collect();
    assert_eq!(
        timestamps,
        [NOW_MS + 1, NOW_MS],
        "the horizon leaves timestamps alone"
    );
    // A later cleaning before the horizon merges segments and moves nothing.
    put(&mut log.borrow_mut(), &[(b"x", Some(b"1"))]);
    roll(&log);
    clean(&log, NOW_MS + DAY_MS - 1);
    assert_eq!(offsets(&log.borrow()), [1, 2, 3]);
    assert_eq!(horizon(&log.borrow()), Some(NOW_MS + DAY_MS));
    put(&mut log.borrow_mut(), &[(b"y", Some(b"1"))]);
    roll(&log);
    clean(&log, NOW_MS + DAY_MS);
    assert_eq!(offsets(&log.borrow()), [1, 3, 4]);
}

#[test]
fn row_42_a_producers_last_batch_leaves_its_header_and_only_that_one() {
    let (ground, log) = new_log(&compacted(100_000));
    for sequence in 0..4 {
        put_with(
            &mut log.borrow_mut(),
            &[(b"a", Some(b"1"))],
            &of_producer(7, 0, sequence, false),
        );
    }
    put(&mut log.borrow_mut(), &[(b"a", Some(b"2"))]);
    roll(&log);
    clean(&log, NOW_MS);
    assert_eq!(offsets(&log.borrow()), [4]);
    let batches = read_all(&log.borrow(), Offset(0), Bound::LogEnd);
    assert_eq!(batches.len(), 2, "batches 0 to 2 are gone, 3 is empty");
    let empty = Batch::parse(&batches[0]).unwrap().unwrap();
    assert_eq!(
        (empty.record_count, empty.last_offset(), empty.last_sequence()),
        (0, Offset(3), 3)
    );
    // After a restart that replays the log the same batch is a duplicate, the next one fits.
    let end = log.borrow().log_end_offset();
    drop(log);
    for name in ground.files().keys().filter(|name| name.ends_with(".snapshot")) {
        ground.remove(name);
    }
    let options = crate::storage::log::LoadOptions {
        clean: false,
        ..load_options(&compacted(100_000))
    };
    let (mut log, _) = ground.load(&options).unwrap();
    assert_eq!(log.log_end_offset(), end);
    let resent = batch(&[(b"a", Some(b"1"))], &of_producer(7, 0, 3, false));
    let info = crate::storage::log::testing::append_bytes(
        &mut log,
        &resent,
        crate::storage::producer_state::Origin::Client,
    );
    assert!(info.unwrap().is_duplicate);
    put_with(&mut log, &[(b"b", Some(b"1"))], &of_producer(7, 0, 4, false));
    // Row 42, second half: they do not pile up.
    let log = RefCell::new(log);
    roll(&log);
    clean(&log, NOW_MS);
    assert_eq!(read_all(&log.borrow(), Offset(0), Bound::LogEnd).len(), 2);
}

#[test]
fn aborted_records_go_and_their_markers_a_horizon_later() {
    let (_ground, log) = new_log(&compacted(100_000));
    put_with(
        &mut log.borrow_mut(),
        &[(b"a", Some(b"old"))],
        &BatchOptions::default(),
    );
    put_with(
        &mut log.borrow_mut(),
        &[(b"a", Some(b"bad"))],
        &of_producer(7, 0, 0, true),
    );
    put_with(
        &mut log.borrow_mut(),
        &[(b"b", Some(b"good"))],
        &of_producer(8, 0, 0, true),
    );
    end_transaction(&mut log.borrow_mut(), 7, 0, false);
    end_transaction(&mut log.borrow_mut(), 8, 0, true);
    // Other transactions of both, so that these are not their last.
    put_with(
        &mut log.borrow_mut(),
        &[(b"c", Some(b"1"))],
        &of_producer(7, 0, 1, true),
    );
    put_with(
        &mut log.borrow_mut(),
        &[(b"d", Some(b"1"))],
        &of_producer(8, 0, 1, true),
    );
    end_transaction(&mut log.borrow_mut(), 7, 0, true);
    end_transaction(&mut log.borrow_mut(), 8, 0, true);
    roll(&log);
    let visible = committed(&log.borrow());
    clean(&log, NOW_MS);
    assert_eq!(committed(&log.borrow()), visible);
    assert_eq!(offsets(&log.borrow()), [0, 2, 3, 4, 5, 6, 7, 8], "1 was aborted");
    // The abort marker's transaction has no batch any more: the second pass gives it a horizon, the third removes it.
    for (now_ms, left) in [(NOW_MS + 1, 8), (NOW_MS + DAY_MS, 8), (NOW_MS + 1 + DAY_MS, 7)] {
        put(&mut log.borrow_mut(), &[(b"z", Some(b"1"))]);
        roll(&log);
        clean(&log, now_ms);
        assert_eq!(offsets(&log.borrow()).len(), left + 1, "at {now_ms}");
    }
    assert!(!offsets(&log.borrow()).contains(&3));
}

#[test]
fn row_43_a_key_like_a_markers_deduplicates_no_marker() {
    let (_ground, log) = new_log(&compacted(100_000));
    let key = [0, 0, 0, 0];
    put_with(
        &mut log.borrow_mut(),
        &[(b"a", Some(b"bad"))],
        &of_producer(7, 0, 0, true),
    );
    roll(&log);
    end_transaction(&mut log.borrow_mut(), 7, 0, false);
    put(&mut log.borrow_mut(), &[(&key, Some(b"user"))]);
    put_with(
        &mut log.borrow_mut(),
        &[(b"b", Some(b"1"))],
        &of_producer(7, 0, 1, true),
    );
    end_transaction(&mut log.borrow_mut(), 7, 0, false);
    roll(&log);
    put(&mut log.borrow_mut(), &[(&key, Some(b"user 2"))]);
    roll(&log);
    clean(&log, NOW_MS);
    let log = log.into_inner();
    assert_eq!(committed(&log).into_keys().collect::<Vec<_>>(), [Offset(5)]);
    assert!(
        stored(&log)
            .values()
            .filter(|record| record.control.is_some())
            .count()
            == 2
    );
}

#[test]
fn row_44_a_marker_stays_as_long_as_a_record_that_it_decides_about() {
    let (_ground, log) = new_log(&compacted(200));
    let transactional = |key: &[u8], id: i64, sequence: i32| {
        put_with(
            &mut log.borrow_mut(),
            &[(key, Some(b"x"))],
            &of_producer(id, 0, sequence, true),
        )
    };
    for part in 0..3_u8 {
        transactional(&[b'g', part], 7, part.into());
        transactional(&[b'b', part], 8, part.into());
        put(&mut log.borrow_mut(), &[(&[b'o', part], Some(b"x"))]);
        roll(&log);
    }
    let commit = end_transaction(&mut log.borrow_mut(), 7, 0, true);
    let abort = end_transaction(&mut log.borrow_mut(), 8, 0, false);
    roll(&log);
    // Both go on, so that nothing above is their last.
    transactional(b"later 7", 7, 3);
    transactional(b"later 8", 8, 3);
    end_transaction(&mut log.borrow_mut(), 7, 0, true);
    end_transaction(&mut log.borrow_mut(), 8, 0, true);
    roll(&log);
    let visible = committed(&log.borrow());
    let little = CleanerSettings {
        dedupe_buffer_bytes: 24 * 8,
        ..settings()
    };
    for round in 0..12_i64 {
        put(&mut log.borrow_mut(), &[(b"more", Some(b"x"))]);
        roll(&log);
        let cleaned = clean_with(&log, NOW_MS + round * 2 * DAY_MS, little);
        assert!(cleaned.unwrap().is_some());
        let mut now_visible = committed(&log.borrow());
        now_visible.retain(|_, (key, _)| key != b"more");
        assert_eq!(now_visible, visible, "round {round}");
        let left = offsets(&log.borrow());
        assert!(left.contains(&commit.get()), "round {round}");
        let all_clean = log.borrow().cleaner_checkpoint().unwrap() > abort;
        assert!(all_clean || left.contains(&abort.get()), "round {round}");
    }
    assert!(!offsets(&log.borrow()).contains(&abort.get()));
}

#[test]
fn an_aborted_batch_that_must_stay_keeps_its_entry_in_the_transaction_index() {
    let (ground, log) = new_log(&compacted(100_000));
    put_with(
        &mut log.borrow_mut(),
        &[(b"a", Some(b"bad"))],
        &of_producer(7, 0, 0, true),
    );
    end_transaction(&mut log.borrow_mut(), 7, 0, false);
    put(&mut log.borrow_mut(), &[(b"b", Some(b"1"))]);
    roll(&log);
    clean(&log, NOW_MS);
    // The batch is its producer's last: an empty one stays.
    assert_eq!(offsets(&log.borrow()), [1, 2]);
    let aborted = log.borrow().aborted_transactions(Offset(0), Offset(3)).unwrap();
    assert_eq!(aborted.len(), 1);
    clean_stop(&mut log.borrow_mut());
    drop(log);
    let (log, report) = ground.load(&load_options(&compacted(100_000))).unwrap();
    assert_eq!(report.repairs, Vec::<String>::new());
    assert_eq!(committed(&log).into_keys().collect::<Vec<_>>(), [Offset(2)]);
}

#[test]
fn an_open_transaction_holds_the_cleaner_back() {
    let (_ground, log) = new_log(&compacted(100_000));
    put(&mut log.borrow_mut(), &[(b"a", Some(b"1"))]);
    roll(&log);
    put_with(
        &mut log.borrow_mut(),
        &[(b"a", Some(b"2"))],
        &of_producer(7, 0, 0, true),
    );
    roll(&log);
    put(&mut log.borrow_mut(), &[(b"a", Some(b"3"))]);
    roll(&log);
    assert_eq!(clean(&log, NOW_MS), Offset(1));
    assert_eq!(offsets(&log.borrow()), [0, 1, 2]);
}

#[test]
fn the_map_bounds_how_far_a_cleaning_goes_and_the_next_one_goes_on() {
    let (_ground, log) = new_log(&compacted(2000));
    for number in 0..60_i64 {
        let key = (number % 30).to_be_bytes();
        put(&mut log.borrow_mut(), &[(&key, Some(b"value"))]);
    }
    roll(&log);
    let little = CleanerSettings {
        dedupe_buffer_bytes: 24 * 16,
        ..settings()
    };
    let mut below = Offset(0);
    let mut rounds = 0;
    while let Some((next, stats)) = clean_with(&log, NOW_MS, little).unwrap() {
        assert!(next > below && stats.keys <= 16);
        below = next;
        rounds += 1;
    }
    assert!(rounds > 3);
    assert_eq!(below, Offset(60));
    assert_eq!(offsets(&log.borrow()), (30..60).collect::<Vec<_>>());
}

#[test]
fn a_batch_that_no_map_takes_sets_the_log_aside_and_says_which_config_is_too_small() {
    let (ground, log) = new_log(&compacted(100_000));
    let keys: Vec<[u8; 8]> = (0..100_i64).map(i64::to_be_bytes).collect();
    let pairs: Vec<Pair<'_>> = keys.iter().map(|key| (&key[..], Some(&b"v"[..]))).collect();
    put(&mut log.borrow_mut(), &pairs);
    roll(&log);
    let little = CleanerSettings {
        dedupe_buffer_bytes: 24 * 16,
        ..settings()
    };
    let error = clean_with(&log, NOW_MS, little).unwrap_err();
    assert!(
        error.to_string().contains("log.cleaner.dedupe.buffer.size"),
        "{error}"
    );
    assert!(log.borrow().is_uncleanable());
    assert!(clean_with(&log, NOW_MS, settings()).unwrap().is_none());
    assert_eq!(offsets(&log.borrow()).len(), 100);
    assert!(ground.files().keys().all(|name| !name.contains("cleaned")));
    assert!(log.borrow().volume().failure().is_none());
}

#[test]
fn damage_sets_the_log_aside_and_is_never_copied() {
    let (ground, log) = new_log(&compacted(100_000));
    for _ in 0..20 {
        put(&mut log.borrow_mut(), &[(b"a", Some(b"some value"))]);
    }
    roll(&log);
    let name = "00000000000000000000.log";
    let mut bytes = ground.files()[name].clone();
    bytes[700] ^= 1;
    ground.write(name, &bytes);
    let error = clean_with(&log, NOW_MS, settings()).unwrap_err();
    assert!(matches!(error, CleaningError::Uncleanable(_)), "{error}");
    assert_eq!(ground.files()[name], bytes);
    assert!(ground.files().keys().all(|name| !name.contains("cleaned")));
}

#[test]
fn row_33_a_gap_over_two_to_the_31_is_not_bridged_by_one_segment() {
    let ground = Ground::new();
    let mut log = ground.create(&compacted(100_000));
    let far = i64::from(i32::MAX) + 100;
    for (offset, key) in [
        (0, b"a"),
        (5, b"b"),
        (far, b"c"),
        (far + 5, b"a"),
        (far + 9, b"d"),
    ] {
        let options = BatchOptions {
            base_offset: Offset(offset),
            partition_leader_epoch: LeaderEpoch(0),
            ..BatchOptions::default()
        };
        log.append_as_follower(&batch(&[(key, Some(b"v"))], &options), LeaderEpoch(0), NOW_MS)
            .unwrap();
        log.roll(NOW_MS).unwrap();
    }
    log.raise_high_watermark(log.log_end_offset());
    let log = RefCell::new(log);
    clean(&log, NOW_MS);
    assert_eq!(offsets(&log.borrow()), [5, far, far + 5, far + 9]);
    let bases: Vec<i64> = log.borrow().base_offsets().map(Offset::get).collect();
    assert_eq!(bases, [0, far, far + 10]);
}

#[test]
fn row_41_gaps_and_a_start_above_the_segment_in_use_end_the_cleaning() {
    let (_ground, log) = new_log(&compacted(100_000));
    put(&mut log.borrow_mut(), &[(b"a", Some(b"1"))]);
    roll(&log);
    clean(&log, NOW_MS);
    put(&mut log.borrow_mut(), &[(b"a", Some(b"1")), (b"b", Some(b"1"))]);
    log.borrow_mut().raise_log_start_offset(Offset(3)).unwrap();
    let cleanable = log.borrow_mut().cleanable(NOW_MS).unwrap().unwrap();
    assert_eq!((cleanable.dirty_bytes, cleanable.ratio()), (0, 0.0));
    assert!(clean_with(&log, NOW_MS, settings()).unwrap().is_none());
}

/// Kafka's cleaner leaves such segments behind.
#[test]
fn row_41_offsets_missing_at_the_end_of_a_segment_count_as_cleaned() {
    let (ground, log) = new_log(&compacted(100_000));
    put(&mut log.borrow_mut(), &[(b"a", Some(b"1")), (b"b", Some(b"1"))]);
    roll(&log);
    clean_stop(&mut log.borrow_mut());
    drop(log);
    for (name, contents) in ground.files() {
        if let Some(rest) = name.strip_prefix("00000000000000000002.") {
            ground.remove(&name);
            ground.write(&format!("00000000000000000010.{rest}"), &contents);
        }
    }
    let options = load_options(&compacted(100_000));
    let (mut log, _) = ground.load(&options).unwrap();
    log.raise_high_watermark(log.log_end_offset());
    assert_eq!(log.log_end_offset(), Offset(10));
    let log = RefCell::new(log);
    assert_eq!(clean(&log, NOW_MS), Offset(10));
    assert!(clean_with(&log, NOW_MS, settings()).unwrap().is_none());
}

#[test]
fn tombstones_of_old_formats_go_by_the_age_of_their_segment() {
    let ground = Ground::new();
    let mut log = ground.create(&compacted(100_000));
    let mut next = 0;
    let mut set = |pairs: &[Pair<'_>], codec: Codec, magic: u8| {
        let mut set = SetBuilder::new(SetOptions {
            magic,
            codec,
            ..SetOptions::default()
        });
        for (key, value) in pairs {
            set.append(Offset(next), NOW_MS, Some(key), *value).unwrap();
            next += 1;
        }
        set.build().unwrap()
    };
    let sets = [
        set(
            &[(b"a", Some(b"1")), (b"b", Some(b"1")), (b"a", Some(b"2"))],
            Codec::Gzip,
            1,
        ),
        set(&[(b"c", Some(b"1")), (b"b", None)], Codec::None, 0),
        set(&[(b"d", Some(b"1")), (b"c", Some(b"2"))], Codec::Lz4, 0),
    ];
    for bytes in sets {
        log.append_as_follower(&bytes, LeaderEpoch(0), NOW_MS).unwrap();
    }
    log.roll(NOW_MS).unwrap();
    log.raise_high_watermark(log.log_end_offset());
    let log = RefCell::new(log);
    clean(&log, NOW_MS);
    assert_eq!(offsets(&log.borrow()), [2, 4, 5, 6]);
    // The clean segment is a day older than the last clean one: the tombstone goes.
    let age = |name: &str, modified_ms: i64| {
        let path = std::path::Path::new("/data/t-0").join(name);
        let file = ground
            .disk()
            .open(&path, crate::base::disk::Open::Existing)
            .unwrap();
        file.set_modified_ms(modified_ms).unwrap();
    };
    for round in 0..2 {
        let bytes = set(&[(b"x", Some(b"1"))], Codec::None, 1);
        log.borrow_mut()
            .append_as_follower(&bytes, LeaderEpoch(0), NOW_MS)
            .unwrap();
        let end = log.borrow().log_end_offset();
        log.borrow_mut().raise_high_watermark(end);
        roll(&log);
        age("00000000000000000000.log", NOW_MS);
        if round == 1 {
            let base = log.borrow().base_offsets().nth(1).unwrap();
            age(&format!("{:020}.log", base.get()), NOW_MS + DAY_MS);
        }
        log.borrow_mut().set_config(
            LogConfig {
                segment_bytes: 150,
                ..compacted(0)
            }
            .into(),
        );
        clean(&log, NOW_MS);
    }
    assert!(
        !offsets(&log.borrow()).contains(&4),
        "{:?}",
        offsets(&log.borrow())
    );
}

#[test]
fn truncation_deletion_of_segments_a_pause_and_another_policy_end_a_cleaning_without_effect() {
    type Act = fn(&mut Log);
    let acts: [(&str, Act); 5] = [
        ("truncation", |log| {
            drop(log.truncate_to(Offset(5), NOW_MS, i64::MAX).unwrap())
        }),
        ("full truncation", |log| {
            drop(log.truncate_fully_and_start_at(Offset(50), NOW_MS).unwrap())
        }),
        ("deletion", |log| {
            log.raise_log_start_offset(Offset(5)).unwrap();
            drop(log.retain(NOW_MS).unwrap());
        }),
        ("pause", Log::pause_cleaning),
        ("policy", |log| {
            let compact = false;
            let config = compacted(250);
            log.set_config(Arc::new(LogConfig { compact, ..config }));
        }),
    ];
    for (name, act) in acts {
        // At each step of the cleaning.
        for steps in 0.. {
            let (ground, log) = new_log(&compacted(250));
            for number in 0..12_u8 {
                put(&mut log.borrow_mut(), &[(&[number % 5], Some(b"some value"))]);
            }
            roll(&log);
            let mut cleaning = Cleaning::begin(&log, NOW_MS, settings()).unwrap().unwrap();
            let mut over = false;
            for _ in 0..steps {
                over |= cleaning.step().unwrap().cleaned_below.is_some();
            }
            if over {
                assert!(steps > 4);
                break;
            }
            act(&mut log.borrow_mut());
            let left = stored(&log.borrow());
            assert_eq!(cleaning.step().err(), Some(CleaningError::Aborted), "{name}");
            assert_eq!(stored(&log.borrow()), left, "{name} after {steps} steps");
            assert_eq!(log.borrow().cleaner_checkpoint(), None);
            assert!(ground.files().keys().all(|name| !name.contains("cleaned")));
            assert!(!log.borrow().is_uncleanable());
            if name == "pause" {
                assert!(clean_with(&log, NOW_MS, settings()).unwrap().is_none());
                log.borrow_mut().resume_cleaning();
                assert_eq!(clean(&log, NOW_MS), Offset(12));
            }
        }
    }
}

#[test]
fn the_batch_that_ends_the_round_leaves_its_header() {
    let (_ground, log) = new_log(&compacted(100_000));
    put(&mut log.borrow_mut(), &[(b"a", Some(b"1"))]);
    put_with(
        &mut log.borrow_mut(),
        &[(b"a", Some(b"2"))],
        &of_producer(7, 0, 0, true),
    );
    roll(&log);
    end_transaction(&mut log.borrow_mut(), 7, 0, false);
    // It goes on, so that the aborted batch is not its last.
    put_with(
        &mut log.borrow_mut(),
        &[(b"a", Some(b"3"))],
        &of_producer(7, 0, 1, true),
    );
    end_transaction(&mut log.borrow_mut(), 7, 0, true);
    assert_eq!(clean(&log, NOW_MS), Offset(2));
    assert_eq!(offsets(&log.borrow()), [0, 2, 3, 4]);
    let ends: Vec<i64> = read_all(&log.borrow(), Offset(0), Bound::LogEnd)
        .iter()
        .map(|bytes| Batch::parse(bytes).unwrap().unwrap().last_offset().get())
        .collect();
    assert_eq!(ends, [0, 1, 2, 3, 4]);
}

/// A crash between a truncation and the checkpoint's writing leaves a line above the log's end.
#[test]
fn a_checkpoint_above_the_log_is_not_believed_of_what_is_written_later() {
    let (ground, log) = new_log(&compacted(100_000));
    for _ in 0..4 {
        put(&mut log.borrow_mut(), &[(b"a", Some(b"1"))]);
        roll(&log);
    }
    put(&mut log.borrow_mut(), &[(b"a", Some(b"1"))]);
    clean_stop(&mut log.borrow_mut());
    drop(log);
    let mut ground = ground;
    for (told, believed) in [
        (Some(1_000), Some(4)),
        (Some(5), Some(4)),
        (Some(2), Some(2)),
        (None, None),
    ] {
        ground = ground.restart();
        let mut options = load_options(&compacted(100_000));
        options.clean = true;
        options.cleaner_checkpoint = told.map(Offset);
        let (mut log, report) = ground.load(&options).unwrap();
        assert_eq!(log.cleaner_checkpoint(), believed.map(Offset));
        assert_eq!(report.cleaned_lowered, told != believed);
        clean_stop(&mut log);
    }
}
