//! What becomes of one batch (Kafka: `Cleaner.cleanInto`, `MemoryRecords.filterTo`).
//!
//! Invariant: offsets, sequences, epochs and timestamps never change, and a batch ends at the offset where it ended. A
//! batch of which everything stays is copied byte for byte. Pure: bytes in, bytes out.

use bytes::Bytes;

use super::newest::Newest;
use super::offset_map::OffsetMap;
use super::transactions::{MarkerUse, Transactions};
use super::{ActiveProducers, Unreadable};
use crate::base::format::{Codec, TimestampType};
use crate::base::ids::Offset;
use crate::records::batch::{Batch, BatchHeader};
use crate::records::build::{BatchBuilder, BatchOptions, SetBuilder, SetOptions, emptied};
use crate::records::iterate::{Held, Records};
use crate::records::record::{Record, RecordsError};
use crate::storage::transaction_index::AbortedTransaction;

/// What is left of a batch.
pub(super) enum Left {
    /// Nothing.
    Nothing,
    /// All of it.
    Whole,
    /// This instead.
    Rewritten(BatchHeader, Bytes),
}

/// The rules of one pass over one segment.
pub(super) struct Filter<'a> {
    /// The newest offsets of keys, up to `mapped_below`.
    pub map: &'a OffsetMap,
    /// Which of them are the newest, as far as that is known by offset.
    pub newest: &'a Newest,
    /// Records from here on are not in the map, and stay.
    pub mapped_below: Offset,
    /// Where the round ends: the batch that reaches it stays, if only its header, so that no offset gets lost.
    pub end: Offset,
    /// Producers whose last batch must stay known.
    pub producers: &'a ActiveProducers,
    /// The time.
    pub now_ms: i64,
    /// `delete.retention.ms`.
    pub delete_retention_ms: i64,
    /// Tombstones of formats 0 and 1 stay: their segment has not been clean for long enough.
    pub keep_legacy_tombstones: bool,
}

/// What a look at a batch found.
struct Seen {
    /// Which records stay, in order.
    stays: Vec<bool>,
    count: usize,
    /// A record that stays has no value.
    tombstone: bool,
    /// A message inside has another format than the set around it, as Kafka 0.10 left them (KAFKA-4298).
    odd_format: bool,
}

impl Filter<'_> {
    /// Decides about `batch`; an aborted transaction whose marker stays is added to `aborted`.
    pub(super) fn apply(
        &self,
        batch: &Batch<'_>,
        transactions: &mut Transactions,
        aborted: &mut Option<AbortedTransaction>,
    ) -> Result<Left, Unreadable> {
        let mut empty_marker = false;
        let discard = if batch.is_control() {
            match transactions.control(batch)? {
                MarkerUse::Needed(entry) => *aborted = entry,
                MarkerUse::Discardable => empty_marker = true,
            }
            empty_marker
                && batch
                    .delete_horizon_ms()
                    .is_some_and(|horizon| horizon <= self.now_ms)
        } else {
            transactions.data(batch.header())
        };
        if discard {
            return Ok(self.nothing_left(batch));
        }
        if self.is_superseded(batch) {
            return Ok(self.nothing_left(batch));
        }
        let held = batch.held()?;
        let seen = self.look(batch, held.as_ref())?;
        if seen.count == 0 {
            return Ok(self.nothing_left(batch));
        }
        let horizon_now = batch.magic >= 2 && (seen.tombstone || empty_marker) && !batch.has_delete_horizon();
        let all = seen.count == seen.stays.len() && !seen.odd_format;
        if all && !horizon_now {
            return Ok(Left::Whole);
        }
        if batch.magic < 2 {
            return rebuild_set(batch, &seen.stays);
        }
        let horizon_ms = if horizon_now {
            Some(self.now_ms.saturating_add(self.delete_retention_ms))
        } else {
            batch.delete_horizon_ms()
        };
        rebuild(batch, held.as_ref(), &seen.stays, horizon_ms)
    }

    /// The header alone, where the producer's sequence or the round's last offset would be lost with it.
    fn nothing_left(&self, batch: &Batch<'_>) -> Left {
        let kept = batch.magic >= 2
            && (self.producers.is_last_of(batch.header()) || batch.next_offset() == self.end);
        if !kept {
            return Left::Nothing;
        }
        let (header, bytes) = emptied(batch.header());
        Left::Rewritten(header, Bytes::copy_from_slice(&bytes))
    }

    /// True for a batch of which nothing stays, as is known without a look into it.
    fn is_superseded(&self, batch: &Batch<'_>) -> bool {
        batch.magic >= 2
            && !batch.is_control()
            && batch.next_offset() <= self.mapped_below
            && self
                .newest
                .are_superseded(batch.base_offset..batch.next_offset(), batch.record_count)
    }

    fn look(&self, batch: &Batch<'_>, held: Option<&Held<'_>>) -> Result<Seen, Unreadable> {
        let mut seen = Seen {
            stays: Vec::new(),
            count: 0,
            tombstone: false,
            odd_format: false,
        };
        let mut records = records_of(batch, held)?;
        while let Some(record) = records.next()? {
            let stays = batch.is_control() || self.stays(batch.header(), &record);
            seen.stays.push(stays);
            if stays {
                seen.count += 1;
                seen.tombstone |= record.value.is_none();
                seen.odd_format |= record.magic != batch.magic;
            }
        }
        Ok(seen)
    }

    fn stays(&self, header: &BatchHeader, record: &Record<'_>) -> bool {
        if record.offset >= self.mapped_below {
            return true;
        }
        // Nothing can ever replace a record without a key; none gets into a compacted topic.
        let Some(key) = record.key else { return false };
        let in_map = || self.map.get(key).is_some_and(|newest| record.offset < newest);
        if self.newest.is_superseded(record.offset).unwrap_or_else(in_map) {
            return false;
        }
        record.value.is_some()
            || if header.magic >= 2 {
                header
                    .delete_horizon_ms()
                    .is_none_or(|horizon| self.now_ms < horizon)
            } else {
                self.keep_legacy_tombstones
            }
    }
}

/// The records, once more.
fn records_of<'h>(batch: &Batch<'h>, held: Option<&'h Held<'_>>) -> Result<Records<'h>, RecordsError> {
    match held {
        Some(held) => held.records(),
        None => batch.records(None),
    }
}

/// The v2 batch with the records that stay; it ends where it ended.
fn rebuild(
    batch: &Batch<'_>,
    held: Option<&Held<'_>>,
    stays: &[bool],
    horizon_ms: Option<i64>,
) -> Result<Left, Unreadable> {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset: batch.base_offset,
        codec: batch.codec().unwrap_or(Codec::None),
        log_append_time_ms: (batch.timestamp_type() == TimestampType::LogAppendTime)
            .then_some(batch.max_timestamp),
        producer_id: batch.producer_id,
        producer_epoch: batch.producer_epoch,
        base_sequence: batch.base_sequence,
        is_transactional: batch.is_transactional(),
        is_control: batch.is_control(),
        delete_horizon_ms: horizon_ms,
        partition_leader_epoch: batch.partition_leader_epoch,
        ..BatchOptions::default()
    });
    let mut stays = stays.iter();
    let mut records = records_of(batch, held)?;
    while let Some(record) = records.next()? {
        if stays.next() == Some(&true) {
            builder.append_at(
                record.offset,
                record.timestamp,
                record.key,
                record.value,
                record.headers,
            )?;
        }
    }
    builder.extend_to(batch.last_offset());
    let (header, bytes) = builder.build()?;
    Ok(Left::Rewritten(header, bytes))
}

/// The same for a set of format 0 or 1, which ends with the last message that stays.
fn rebuild_set(batch: &Batch<'_>, stays: &[bool]) -> Result<Left, Unreadable> {
    let mut set = SetBuilder::new(SetOptions {
        magic: batch.magic,
        codec: batch.codec().unwrap_or(Codec::None),
        log_append_time_ms: (batch.timestamp_type() == TimestampType::LogAppendTime)
            .then_some(batch.max_timestamp),
        ..SetOptions::default()
    });
    let mut stays = stays.iter();
    let mut records = batch.records(None)?;
    while let Some(record) = records.next()? {
        if stays.next() == Some(&true) {
            set.append(record.offset, record.timestamp, record.key, record.value)?;
        }
    }
    let bytes: Bytes = set.build()?.into();
    let Some(header) = BatchHeader::parse(&bytes)? else {
        return Ok(Left::Nothing);
    };
    Ok(Left::Rewritten(header, bytes))
}
