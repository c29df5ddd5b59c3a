//! One producer's state (Kafka: `ProducerStateEntry`, `BatchMetadata`).
//!
//! Invariant: all batches kept are of the producer's current epoch, the oldest first, at most five.

use crate::base::ids::{Offset, ProducerEpoch};
use crate::records::batch::decrement_sequence;

/// How many of a producer's last batches are kept: as many as a client may have in flight.
const BATCHES: usize = 5;

/// What a duplicate of a batch is recognised by, and answered with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LastBatch {
    /// The sequence of its last record.
    pub last_sequence: i32,
    /// Its last offset minus its first one.
    pub offset_delta: i32,
    /// The offset of its last record.
    pub last_offset: Offset,
    /// Its maximum timestamp.
    pub timestamp: i64,
}

impl LastBatch {
    /// The sequence of its first record. Sequences wrap from `i32::MAX` to 0.
    pub fn first_sequence(&self) -> i32 {
        decrement_sequence(self.last_sequence, self.offset_delta)
    }

    /// The offset of its first record.
    pub fn first_offset(&self) -> Offset {
        self.last_offset.plus(-i64::from(self.offset_delta))
    }
}

/// What is known of one producer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProducerEntry {
    epoch: ProducerEpoch,
    count: u8,
    coordinator_epoch: i32,
    last_timestamp: i64,
    last_active_offset: Offset,
    transaction_first_offset: Option<Offset>,
    batches: [LastBatch; BATCHES],
}

impl Default for ProducerEntry {
    /// A producer that nothing is known of.
    fn default() -> Self {
        Self {
            epoch: ProducerEpoch::NONE,
            count: 0,
            coordinator_epoch: -1,
            last_timestamp: -1,
            last_active_offset: Offset::NONE,
            transaction_first_offset: None,
            batches: [LastBatch::default(); BATCHES],
        }
    }
}

impl ProducerEntry {
    /// A producer as a snapshot has it.
    pub(super) fn restored(
        epoch: ProducerEpoch,
        coordinator_epoch: i32,
        last_timestamp: i64,
        transaction_first_offset: Option<Offset>,
        batch: Option<LastBatch>,
    ) -> Self {
        let mut entry = Self {
            epoch,
            coordinator_epoch,
            last_timestamp,
            transaction_first_offset,
            ..Self::default()
        };
        if let Some(batch) = batch {
            entry.push(batch);
            entry.last_active_offset = batch.last_offset;
        }
        entry
    }

    /// The producer's epoch; −1 before the first batch or marker.
    pub fn epoch(&self) -> ProducerEpoch {
        self.epoch
    }

    /// The epoch of the coordinator that wrote the last marker; −1 before the first.
    pub fn coordinator_epoch(&self) -> i32 {
        self.coordinator_epoch
    }

    /// The maximum timestamp of the last batch or marker.
    pub fn last_timestamp(&self) -> i64 {
        self.last_timestamp
    }

    /// The offset of the last record or marker, as far as it is known: a snapshot tells of batches only, and a producer
    /// without one there has −1.
    pub(super) fn last_active_offset(&self) -> Offset {
        self.last_active_offset
    }

    /// Where the open transaction begins, if there is one.
    pub fn transaction_first_offset(&self) -> Option<Offset> {
        self.transaction_first_offset
    }

    /// True while a transaction is open.
    pub fn is_in_transaction(&self) -> bool {
        self.transaction_first_offset.is_some()
    }

    /// The last batches, the oldest first.
    pub fn batches(&self) -> &[LastBatch] {
        self.batches.get(..usize::from(self.count)).unwrap_or_default()
    }

    /// The last batch; none after a marker raised the epoch.
    pub fn last_batch(&self) -> Option<&LastBatch> {
        self.batches().last()
    }

    /// The sequence of the last record; −1 without a batch.
    pub fn last_sequence(&self) -> i32 {
        self.last_batch().map_or(-1, |batch| batch.last_sequence)
    }

    /// The kept batch with exactly these sequences.
    pub(super) fn batch_with_sequences(&self, first: i32, last: i32) -> Option<&LastBatch> {
        self.batches()
            .iter()
            .find(|batch| batch.last_sequence == last && batch.first_sequence() == first)
    }

    /// True when it has no open transaction and wrote nothing for `expiration_ms`.
    pub(super) fn is_expired(&self, now_ms: i64, expiration_ms: i64) -> bool {
        self.transaction_first_offset.is_none() && now_ms.saturating_sub(self.last_timestamp) >= expiration_ms
    }

    fn set_epoch(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.count = 0;
        }
    }

    fn push(&mut self, batch: LastBatch) {
        let mut at = usize::from(self.count);
        if at == BATCHES {
            self.batches.rotate_left(1);
            at = BATCHES - 1;
        }
        if let Some(place) = self.batches.get_mut(at) {
            *place = batch;
            self.count = at as u8 + 1;
        }
    }

    pub(super) fn add_batch(&mut self, epoch: ProducerEpoch, batch: LastBatch) {
        self.set_epoch(epoch);
        self.push(batch);
        self.last_timestamp = batch.timestamp;
        self.last_active_offset = batch.last_offset;
    }

    /// Answers whether the transaction begins just now.
    pub(super) fn begin_transaction(&mut self, first_offset: Offset) -> bool {
        let begins = self.transaction_first_offset.is_none();
        self.transaction_first_offset.get_or_insert(first_offset);
        begins
    }

    /// Applies a marker; answers where the transaction that it ends began.
    pub(super) fn end_transaction(
        &mut self,
        epoch: ProducerEpoch,
        coordinator_epoch: i32,
        offset: Offset,
        timestamp: i64,
    ) -> Option<Offset> {
        self.set_epoch(epoch);
        self.coordinator_epoch = coordinator_epoch;
        self.last_timestamp = timestamp;
        self.last_active_offset = offset;
        self.transaction_first_offset.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sequence_wraps_backwards() {
        let batch = |last_sequence, offset_delta| LastBatch {
            last_sequence,
            offset_delta,
            ..LastBatch::default()
        };
        assert_eq!(batch(9, 9).first_sequence(), 0);
        assert_eq!(batch(0, 1).first_sequence(), i32::MAX);
        assert_eq!(batch(2, 5).first_sequence(), i32::MAX - 2);
        assert_eq!(batch(i32::MAX, 0).first_sequence(), i32::MAX);
    }

    #[test]
    fn a_producer_takes_little_memory() {
        assert!(size_of::<ProducerEntry>() <= 160);
    }
}
