//! Searches by time while the log changes.

use super::super::testing::{EXPIRATION_MS, Ground, NOW_MS, Send, append, small_segments};
use super::*;
use crate::base::disk::memory::Call;

/// Records of one each at these times, two or three to a segment.
fn log_of(ground: &Ground, times: &[i64]) -> Log {
    let mut log = ground.create(&small_segments(250));
    for timestamp_ms in times {
        append_at(&mut log, *timestamp_ms);
    }
    log
}

fn append_at(log: &mut Log, timestamp_ms: i64) {
    let send = Send {
        timestamp_ms,
        ..Send::default()
    };
    append(log, &send).unwrap();
}

fn plan(log: &mut Log, timestamp_ms: i64) -> TimeSearch {
    log.plan_search(TimeQuery::AtLeast(timestamp_ms), None)
        .unwrap()
        .unwrap()
}

fn found(answer: TimeAnswer) -> (i64, i64) {
    match answer {
        TimeAnswer::Found(found) => (found.offset.get(), found.timestamp_ms),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_search_holds_while_the_log_grows() {
    let ground = Ground::new();
    let mut log = log_of(&ground, &[10, 20, 30, 40, 50, 60, 70, 80]);
    let last = log.active_base_offset();
    assert!(log.segment_count() > 2);
    let search = plan(&mut log, 75);
    let largest = log.plan_search(TimeQuery::Largest, None).unwrap().unwrap();
    for time in [90, 100, 110] {
        append_at(&mut log, time);
    }
    assert!(log.active_base_offset() > last);
    assert_eq!(found(log.conclude(&search, search.run()).unwrap()), (7, 80));
    assert_eq!(found(log.conclude(&largest, largest.run()).unwrap()), (7, 80));
    let behind = Some(largest.base_offset());
    assert!(log.plan_search(TimeQuery::Largest, behind).unwrap().is_none());
}

#[test]
fn the_largest_timestamp_may_be_zero_but_not_absent() {
    let log_with = |time| log_of(&Ground::new(), &[time, time, time]);
    let largest = log_with(0).offset_of_max_timestamp().unwrap().unwrap();
    assert_eq!((largest.offset, largest.timestamp_ms), (Offset(0), 0));
    assert!(log_with(-1).offset_of_max_timestamp().unwrap().is_none());
}

#[test]
fn what_a_search_found_before_a_truncation_does_not_count() {
    let ground = Ground::new();
    let mut log = log_of(&ground, &[10, 20, 30]);
    let (before, after) = (plan(&mut log, 25), plan(&mut log, 25));
    let read_before = before.run();
    let _ = log.truncate_to(Offset(1), NOW_MS, EXPIRATION_MS).unwrap();
    for time in [12, 26, 28] {
        append_at(&mut log, time);
    }
    let read_after = after.run();
    assert_eq!(log.conclude(&before, read_before).unwrap(), TimeAnswer::Changed);
    assert_eq!(log.conclude(&after, read_after).unwrap(), TimeAnswer::Changed);
    let again = plan(&mut log, 25);
    assert_eq!(found(log.conclude(&again, again.run()).unwrap()), (2, 26));
}

#[test]
fn a_file_that_was_cut_under_a_search_is_no_failure_of_the_disk() {
    let ground = Ground::new();
    let mut log = log_of(&ground, &[10, 20, 30]);
    let search = plan(&mut log, 25);
    let _ = log.truncate_to(Offset(0), NOW_MS, EXPIRATION_MS).unwrap();
    let failed = Err(SearchError::Io(io::ErrorKind::UnexpectedEof.into()));
    assert_eq!(log.conclude(&search, failed).unwrap(), TimeAnswer::Changed);
    assert!(ground.volume.check().is_ok());
    // One that was not is.
    append_at(&mut log, 40);
    ground.memory.fail(Call::Read, ".log", 0, 1, io::ErrorKind::Other);
    let search = plan(&mut log, 25);
    let failed = log.conclude(&search, search.run());
    assert!(matches!(failed, Err(TimestampError::Io(_))));
    assert!(ground.volume.check().is_err());
}

#[test]
fn records_that_are_deleted_meanwhile_are_not_told() {
    let ground = Ground::new();
    let mut log = log_of(&ground, &[10, 20, 30, 40, 50, 60]);
    log.set_high_watermark(Offset(6));
    let search = plan(&mut log, 15);
    let read = search.run();
    assert_eq!(log.raise_log_start_offset(Offset(4)), Some(true));
    assert_eq!(log.conclude(&search, read).unwrap(), TimeAnswer::Changed);
    let again = log.search_by_time(TimeQuery::AtLeast(15)).unwrap();
    assert_eq!(again.map(|found| found.offset), Some(Offset(4)));
}

#[test]
fn a_segment_that_goes_while_its_file_is_looked_at_is_no_failure_of_the_disk() {
    let ground = Ground::new();
    let log = log_of(&ground, &[10, 20, 30, 40, 50, 60]);
    let times = log.segment_times().unwrap();
    let later = crate::base::clock::now_ms() + 60_000;
    let first = times.offsets_before(later, 100, later + 1).unwrap().unwrap();
    assert_eq!(first.len(), log.segment_count());
    assert_eq!(
        times.offsets_before(later, 1, later).unwrap().unwrap(),
        [Offset(6)]
    );
    ground.remove("00000000000000000000.log");
    assert_eq!(times.offsets_before(0, 100, later).unwrap(), None);
    assert_eq!(
        times.offsets_before(-2, 100, later).unwrap().unwrap(),
        [Offset(0)]
    );
    assert!(ground.volume.check().is_ok());
}
