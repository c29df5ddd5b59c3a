//! Copies of logs: what compaction leaves at a log's end, and sources that are truncated.

use std::sync::Arc;

use super::{Bound, Log, MoveError};
use crate::base::ids::Offset;
use crate::config::LogConfig;
use crate::storage::log::testing::{Ground, NOW_MS, Send, append, read_all};

fn whole(log: &Log) -> Vec<Vec<u8>> {
    read_all(log, log.log_start_offset(), Bound::LogEnd)
}

fn future_of(source: &Log) -> Log {
    let (partition, config) = (source.partition().clone(), Arc::clone(source.config()));
    Log::create_future(source.volume(), partition, source.topic_id(), config, NOW_MS).unwrap()
}

fn copy(source: &Log, future: &mut Log) -> Result<(), MoveError> {
    while !future
        .put_chunk(source.chunk_behind(future)?, &mut None, NOW_MS)?
        .caught_up
    {}
    Ok(())
}

#[test]
fn offsets_at_the_end_that_compaction_left_empty_are_skipped() {
    let ground = Ground::new();
    let mut source = ground.create(&LogConfig::default());
    for _ in 0..3 {
        append(&mut source, &Send::default()).unwrap();
    }
    let mut future = future_of(&source);
    copy(&source, &mut future).unwrap();
    source.skip_to(Offset(43), NOW_MS).unwrap();
    copy(&source, &mut future).unwrap();
    assert_eq!(future.log_end_offset(), Offset(43));
    append(&mut source, &Send::default()).unwrap();
    copy(&source, &mut future).unwrap();
    assert_eq!(future.log_end_offset(), source.log_end_offset());
    assert_eq!(whole(&future), whole(&source));
    let mut from_nothing = future_of(&source);
    copy(&source, &mut from_nothing).unwrap();
    assert_eq!(whole(&from_nothing), whole(&source));
}

#[test]
fn a_source_that_was_truncated_is_told() {
    let ground = Ground::new();
    let mut source = ground.create(&LogConfig::default());
    for _ in 0..3 {
        append(&mut source, &Send::default()).unwrap();
    }
    let mut future = future_of(&source);
    let mut truncations = None;
    let chunk = source.chunk_behind(&future).unwrap();
    future.put_chunk(chunk, &mut truncations, NOW_MS).unwrap();
    let cut = source.truncate_to(Offset(1), NOW_MS, i64::MAX).unwrap();
    cut.files.remove().unwrap();
    assert!(matches!(source.chunk_behind(&future), Err(MoveError::Diverged)));
    assert!(!future.may_go_on_from(&source));
    while source.log_end_offset() <= future.log_end_offset() {
        append(&mut source, &Send::default()).unwrap();
    }
    let chunk = source.chunk_behind(&future).unwrap();
    let put = future.put_chunk(chunk, &mut truncations, NOW_MS);
    assert!(matches!(put, Err(MoveError::Diverged)));
}
