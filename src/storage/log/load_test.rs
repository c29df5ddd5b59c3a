//! What a start takes from a log's files, and what a log that grows leaves for it.

use super::LoadOptions;
use super::testing::*;
use crate::base::ids::{Offset, ProducerId};
use crate::config::LogConfig;

#[test]
fn who_wrote_only_below_the_logs_start_is_forgotten_with_the_snapshot_there() {
    let ground = Ground::new();
    let mut log = ground.create(&small_segments(400));
    append_in_sequence(&mut log, 7, 4);
    append_plain(&mut log, 20);
    clean_stop(&mut log);
    let (start, end) = (log.base_offsets().last().unwrap(), log.log_end_offset());
    assert!(start > Offset(4) && end > start);
    drop(log);
    let snapshot = |offset: Offset| format!("{:020}.snapshot", offset.get());
    ground.remove(&snapshot(end));
    assert!(ground.files().contains_key(&snapshot(start)));
    let options = LoadOptions {
        log_start_offset: start,
        ..load_options(&small_segments(400))
    };
    let (log, _) = ground.load(&options).unwrap();
    assert!(log.producer_states().get(ProducerId(7)).is_none());
    assert!(!ground.files().contains_key(&snapshot(start)));
}

#[test]
fn index_entries_are_written_while_a_segment_grows_also_where_all_records_are_of_one_time() {
    let config = LogConfig {
        index_interval_bytes: 1,
        ..LogConfig::default()
    };
    let ground = Ground::new();
    append_plain(&mut ground.create(&config), 2000);
    let written = ground.files()["00000000000000000000.index"].len();
    assert!(written > 2000 * 8 / 2, "{written} bytes");
}

#[test]
fn a_clean_start_looks_for_transactions_only_where_a_producer_had_one() {
    for has_one in [false, true] {
        let ground = Ground::new();
        let mut log = ground.create(&small_segments(400));
        append_plain(&mut log, 60);
        if has_one {
            append_aborted(&mut log, 7);
        }
        clean_stop(&mut log);
        let segments = log.base_offsets().count();
        assert!(segments > 3);
        drop(log);
        assert_eq!(ground.files_of(".txnindex").len(), usize::from(has_one));
        let (log, _) = ground.load(&load_options(&small_segments(400))).unwrap();
        let aborted = log.aborted_transactions(Offset(0), log.log_end_offset());
        assert_eq!(aborted.unwrap().len(), usize::from(has_one));
        drop(log);
        // Each segment was looked through, and is known then to have none.
        let expected = if has_one { segments } else { 0 };
        assert_eq!(ground.files_of(".txnindex").len(), expected);
    }
}

fn append_plain(log: &mut super::Log, count: usize) {
    for _ in 0..count {
        append(log, &Send::default()).unwrap();
    }
}
