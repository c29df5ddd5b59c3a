//! What the tests of the cleaner share: a log behind a cell, records with keys, and what consumers see.

use std::cell::RefCell;
use std::collections::BTreeMap;

use bytes::Bytes;

use super::{CleanerSettings, Cleaning, CleaningError, CleaningStats, LogPlace};
use crate::base::format::Codec;
use crate::base::ids::{Offset, ProducerEpoch, ProducerId};
use crate::config::LogConfig;
use crate::records::batch::Batch;
use crate::records::build::{BatchBuilder, BatchOptions};
use crate::records::control::{ControlType, EndTransactionMarker};
use crate::storage::log::Log;
use crate::storage::log::testing::{NOW_MS, append_bytes, read_all};
use crate::storage::log::{Bound, ReadRequest};
use crate::storage::producer_state::Origin;

pub const DAY_MS: i64 = 86_400_000;

impl LogPlace for &RefCell<Log> {
    fn with_log<T>(&self, act: impl FnOnce(&mut Log) -> T) -> Option<T> {
        Some(act(&mut self.borrow_mut()))
    }
}

pub fn settings() -> CleanerSettings {
    CleanerSettings {
        dedupe_buffer_bytes: 1 << 20,
        load_factor: 0.9,
        // Small, so that a segment takes several steps.
        io_buffer_bytes: 200,
    }
}

pub fn compacted(segment_bytes: u32) -> LogConfig {
    LogConfig {
        compact: true,
        delete: false,
        segment_bytes,
        index_interval_bytes: 100,
        ..LogConfig::default()
    }
}

pub type Pair<'a> = (&'a [u8], Option<&'a [u8]>);

/// A batch of keys and values.
pub fn batch(pairs: &[Pair<'_>], options: &BatchOptions) -> Bytes {
    let mut builder = BatchBuilder::new(options.clone());
    for (number, (key, value)) in pairs.iter().enumerate() {
        let headers: &[Pair<'_>] = &[(b"h", Some(b"x"))];
        builder
            .append(NOW_MS + number as i64, Some(key), *value, headers)
            .unwrap();
    }
    builder.build().unwrap().1
}

pub fn put(log: &mut Log, pairs: &[Pair<'_>]) -> Offset {
    put_with(log, pairs, &BatchOptions::default())
}

pub fn put_with(log: &mut Log, pairs: &[Pair<'_>], options: &BatchOptions) -> Offset {
    let info = append_bytes(log, &batch(pairs, options), Origin::Client).unwrap();
    log.raise_high_watermark(info.last_offset.plus(1));
    info.first_offset.unwrap()
}

pub fn of_producer(id: i64, epoch: i16, sequence: i32, transactional: bool) -> BatchOptions {
    BatchOptions {
        producer_id: ProducerId(id),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence: sequence,
        is_transactional: transactional,
        ..BatchOptions::default()
    }
}

pub fn with_codec(codec: Codec) -> BatchOptions {
    BatchOptions {
        codec,
        ..BatchOptions::default()
    }
}

pub fn end_transaction(log: &mut Log, id: i64, epoch: i16, commit: bool) -> Offset {
    let marker = crate::storage::log::testing::marker((id, epoch), commit);
    let info = append_bytes(log, &marker, Origin::Coordinator).unwrap();
    log.raise_high_watermark(info.last_offset.plus(1));
    info.last_offset
}

/// Cleans the log once, to the end.
pub fn clean_with(
    log: &RefCell<Log>,
    now_ms: i64,
    settings: CleanerSettings,
) -> Result<Option<(Offset, CleaningStats)>, CleaningError> {
    let Some(mut cleaning) = Cleaning::begin(log, now_ms, settings)? else {
        return Ok(None);
    };
    loop {
        let step = cleaning.step()?;
        if let Some(deleted) = step.deleted {
            deleted.remove().map_err(CleaningError::Io)?;
        }
        if let Some(below) = step.cleaned_below {
            return Ok(Some((below, *cleaning.stats())));
        }
    }
}

pub fn clean(log: &RefCell<Log>, now_ms: i64) -> Offset {
    clean_with(log, now_ms, settings()).unwrap().unwrap().0
}

/// A record as it is in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
    pub timestamp: i64,
    pub headers: usize,
    pub control: Option<ControlType>,
    pub producer_id: i64,
}

/// All records in the log by offset, control records included.
pub fn stored(log: &Log) -> BTreeMap<Offset, Stored> {
    let mut all = BTreeMap::new();
    let mut last = Offset(-1);
    for bytes in read_all(log, log.log_start_offset(), Bound::LogEnd) {
        let batch = Batch::parse(&bytes).unwrap().unwrap();
        batch.check_crc().unwrap();
        assert!(
            batch.magic < 2 || batch.base_offset > last,
            "batches do not overlap"
        );
        let mut records = batch.records(None).unwrap();
        while let Some(record) = records.next().unwrap() {
            assert!(record.offset > last && record.offset <= batch.last_offset());
            last = record.offset;
            all.insert(
                record.offset,
                Stored {
                    key: record.key.unwrap_or_default().to_vec(),
                    value: record.value.map(<[u8]>::to_vec),
                    timestamp: record.timestamp,
                    headers: record.headers.len(),
                    control: batch
                        .is_control()
                        .then(|| ControlType::parse(record.key).unwrap()),
                    producer_id: batch.producer_id.get(),
                },
            );
        }
        last = batch.last_offset();
    }
    all
}

/// The offsets that hold records.
pub fn offsets(log: &Log) -> Vec<i64> {
    stored(log).keys().map(|offset| offset.get()).collect()
}

/// What a read_committed consumer is shown from the log's start on, as the clients do it.
pub fn committed(log: &Log) -> BTreeMap<Offset, (Vec<u8>, Option<Vec<u8>>)> {
    let mut seen = BTreeMap::new();
    let mut next = log.log_start_offset();
    loop {
        let info = log
            .read(&ReadRequest {
                start_offset: next,
                max_bytes: 500,
                min_one_batch: true,
                bound: Bound::LastStableOffset,
            })
            .unwrap();
        let Some(records) = info.records else { return seen };
        let bytes = records.read().unwrap();
        let mut aborted = info.aborted.unwrap();
        aborted.sort_by_key(|entry| entry.first_offset);
        let mut open: Vec<ProducerId> = Vec::new();
        for batch in crate::records::batch::Batches::new(&bytes) {
            let batch = batch.unwrap();
            while let Some(first) = aborted.first()
                && first.first_offset <= batch.last_offset()
            {
                open.push(first.producer_id);
                aborted.remove(0);
            }
            let marker = EndTransactionMarker::of_batch(&batch).ok().flatten();
            if batch.is_control() {
                if marker.is_some_and(|marker| !marker.commit) {
                    open.retain(|id| *id != batch.producer_id);
                }
            } else if !(batch.is_transactional() && open.contains(&batch.producer_id)) {
                let mut records = batch.records(None).unwrap();
                while let Some(record) = records.next().unwrap() {
                    if record.offset >= next {
                        let pair = (record.key.unwrap().to_vec(), record.value.map(<[u8]>::to_vec));
                        seen.insert(record.offset, pair);
                    }
                }
            }
            next = next.max(batch.next_offset());
        }
    }
}
