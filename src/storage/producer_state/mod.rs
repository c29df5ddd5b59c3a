//! What one partition knows of its idempotent and transactional producers (Kafka: `ProducerStateManager`).
//!
//! Invariant: the state is a function of the batches up to [`ProducerStates::end_offset`]; a batch is checked first
//! ([`ProducerStates::check`], which changes nothing), written by the log, and only then applied
//! ([`ProducerStates::apply`]). A transaction counts as complete ([`ProducerStates::complete`]) only when its entry
//! stands in the transaction index, so a failed write there holds the last stable offset back. Called by the log,
//! under its partition's lock. Snapshot files are the log's; their contents are in [`snapshot`].

mod bound;
mod check;
mod entry;
mod highest;
pub mod snapshot;
mod verification;

#[cfg(test)]
mod bound_test;
#[cfg(test)]
mod model_test;

use std::collections::BTreeMap;

pub use check::{Check, Duplicate, Marker, Origin, ProducerError, Update};
pub use entry::{LastBatch, ProducerEntry};
pub use highest::HighestProducerId;
pub use verification::{Guard, Verification};

use super::transaction_index::AbortedTransaction;
use crate::base::ids::{Offset, ProducerEpoch, ProducerId};
use bound::Order;
use check::Change;
use snapshot::CorruptSnapshot;
use verification::Verifications;

/// A transaction whose marker has just been applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CompletedTransaction {
    /// Whose it is.
    pub producer_id: ProducerId,
    /// The offset of its first record.
    pub first_offset: Offset,
    /// The offset of its marker.
    pub last_offset: Offset,
    /// True when it was aborted, so that it belongs into the transaction index.
    pub is_aborted: bool,
}

/// A completed transaction whose marker may not be replicated yet.
#[derive(Clone, Copy, Debug)]
struct Unreplicated {
    last_offset: Offset,
}

/// The producers of one partition. Without producers it takes next to nothing.
#[derive(Clone, Debug, Default)]
pub struct ProducerStates {
    producers: BTreeMap<ProducerId, Box<ProducerEntry>>,
    order: Order,
    /// Open transactions by their first offset.
    ongoing: BTreeMap<Offset, ProducerId>,
    /// Completed ones by their first offset, until the high watermark passes their markers.
    unreplicated: BTreeMap<Offset, Unreplicated>,
    verifications: Verifications,
    highest: HighestProducerId,
    end_offset: Offset,
    snapshot_offset: Offset,
}

impl ProducerStates {
    /// No producers, at the beginning of a log.
    pub fn new(log_start_offset: Offset) -> Self {
        Self {
            end_offset: log_start_offset,
            snapshot_offset: log_start_offset,
            ..Self::default()
        }
    }

    /// The state from the contents of a snapshot that was taken at `offset`. Producers idle for `expiration_ms`
    /// (`producer.id.expiration.ms`) without an open transaction are left out; then, while there are more than `most`,
    /// those that wrote least recently.
    pub fn from_snapshot(
        bytes: &[u8],
        offset: Offset,
        now_ms: i64,
        expiration_ms: i64,
        most: usize,
    ) -> Result<Self, CorruptSnapshot> {
        let mut states = Self::new(offset);
        for (producer_id, entry) in snapshot::decode(bytes)? {
            if entry.is_expired(now_ms, expiration_ms) {
                continue;
            }
            if let Some(first_offset) = entry.transaction_first_offset() {
                states.ongoing.insert(first_offset, producer_id);
            }
            states.highest.raise(producer_id);
            states.producers.insert(producer_id, Box::new(entry));
        }
        states.forget_above(most, None);
        Ok(states)
    }

    /// The contents of a snapshot file. Of each producer only the last batch is kept.
    pub fn to_snapshot(&self) -> Vec<u8> {
        snapshot::encode(self.producers())
    }

    /// The (exclusive) offset up to which batches are applied.
    pub fn end_offset(&self) -> Offset {
        self.end_offset
    }

    /// Says that all batches below `offset` are applied, those without a producer id included.
    pub fn set_end_offset(&mut self, offset: Offset) {
        self.end_offset = offset;
    }

    /// The offset of the newest snapshot file, or the log's start. A new one is worth writing while
    /// [`ProducerStates::end_offset`] is above it.
    pub fn snapshot_offset(&self) -> Offset {
        self.snapshot_offset
    }

    /// Says that the newest snapshot file is the one at `offset`.
    pub fn set_snapshot_offset(&mut self, offset: Offset) {
        self.snapshot_offset = offset;
    }

    /// The highest producer id that was ever known. Clones of the state share it.
    pub fn highest(&self) -> &HighestProducerId {
        &self.highest
    }

    /// How many producer ids are known.
    pub fn count(&self) -> usize {
        self.producers.len()
    }

    /// How many verifications are pending; the broker bounds their sum.
    pub fn pending_verifications(&self) -> usize {
        self.verifications.count()
    }

    /// True when there is nothing to keep: neither producers nor transactions that wait for the high watermark.
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty() && self.unreplicated.is_empty()
    }

    /// What is known of a producer.
    pub fn get(&self, producer_id: ProducerId) -> Option<&ProducerEntry> {
        self.producers.get(&producer_id).map(|entry| &**entry)
    }

    /// All producers, in the order of their ids.
    pub fn producers(&self) -> impl ExactSizeIterator<Item = (ProducerId, &ProducerEntry)> {
        self.producers.iter().map(|(id, entry)| (*id, &**entry))
    }

    /// True while the producer has an open transaction here.
    pub fn has_ongoing_transaction(&self, producer_id: ProducerId) -> bool {
        self.get(producer_id)
            .is_some_and(ProducerEntry::is_in_transaction)
    }

    /// Begins, or goes on with, the verification of a transaction that a client wants to write to (KIP-890, part 1).
    /// The transaction's coordinator is asked next, and the guard goes into [`ProducerStates::check`]. `None` while a
    /// transaction is open here: then the coordinator knows it already.
    pub fn begin_verification(
        &mut self,
        producer_id: ProducerId,
        epoch: ProducerEpoch,
        base_sequence: i32,
        now_ms: i64,
    ) -> Option<Guard> {
        if self.has_ongoing_transaction(producer_id) {
            return None;
        }
        Some(
            self.verifications
                .begin(producer_id, epoch, base_sequence, now_ms),
        )
    }

    /// Changes the state as the batch says that was checked and is now in the log. For a marker that ends a transaction
    /// with data here, that transaction: the caller writes [`ProducerStates::aborted`] to the transaction index, then
    /// calls [`ProducerStates::complete`]. When more than `most` producers are known then (`max.producer.ids.per.partition`),
    /// the one that wrote least recently is forgotten.
    pub fn apply(&mut self, update: Update, most: usize) -> Option<CompletedTransaction> {
        let producer_id = update.producer_id;
        if update.is_transactional {
            self.verifications.forget(producer_id);
        }
        if update.change == Change::Nothing {
            return None;
        }
        self.highest.raise(producer_id);
        let entry = self.producers.entry(producer_id).or_default();
        self.order.leave(producer_id, entry);
        let completed = match update.change {
            Change::Nothing => None,
            Change::Data { epoch, batch } => {
                entry.add_batch(epoch, batch);
                if update.is_transactional && entry.begin_transaction(batch.first_offset()) {
                    self.ongoing.insert(batch.first_offset(), producer_id);
                }
                None
            }
            Change::Marker {
                epoch,
                marker,
                offset,
                timestamp,
            } => entry
                .end_transaction(epoch, marker.coordinator_epoch, offset, timestamp)
                .map(|first_offset| CompletedTransaction {
                    producer_id,
                    first_offset,
                    last_offset: offset,
                    is_aborted: marker.is_abort,
                }),
        };
        self.order.enter(producer_id, entry);
        self.forget_above(most, Some(producer_id));
        completed
    }

    /// Forgets those that wrote least recently while more than `most` are known; never one with an open transaction,
    /// and never `newest`.
    fn forget_above(&mut self, most: usize, newest: Option<ProducerId>) {
        while self.producers.len() > most {
            let Some(gone) = self.order.take_first(&self.producers, newest) else {
                return;
            };
            self.producers.remove(&gone);
        }
    }

    /// The last stable offset once `completed` is complete: where the first transaction of another producer begins, or
    /// else behind the marker (Kafka: `ProducerStateManager.lastStableOffset`).
    pub fn last_stable_offset(&self, completed: &CompletedTransaction) -> Offset {
        self.ongoing
            .iter()
            .find(|(_, producer_id)| **producer_id != completed.producer_id)
            .map_or(completed.last_offset.plus(1), |(first_offset, _)| *first_offset)
    }

    /// The entry that an aborted transaction gets in the transaction index of its marker's segment; `None` for a
    /// committed one. To be asked before [`ProducerStates::complete`].
    pub fn aborted(&self, completed: &CompletedTransaction) -> Option<AbortedTransaction> {
        completed.is_aborted.then(|| AbortedTransaction {
            producer_id: completed.producer_id,
            first_offset: completed.first_offset,
            last_offset: completed.last_offset,
            last_stable_offset: self.last_stable_offset(completed),
        })
    }

    /// Takes the transaction for complete; it holds the last stable offset until the high watermark passes its marker.
    pub fn complete(&mut self, completed: &CompletedTransaction) {
        self.ongoing.remove(&completed.first_offset);
        self.unreplicated.insert(
            completed.first_offset,
            Unreplicated {
                last_offset: completed.last_offset,
            },
        );
    }

    /// The first offset that a read_committed consumer may not have yet: that of the first transaction that is open, or
    /// complete with a marker above the high watermark.
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        let ongoing = self.ongoing.keys().next();
        let unreplicated = self.unreplicated.keys().next();
        ongoing.into_iter().chain(unreplicated).min().copied()
    }

    /// The first offset of the first open transaction.
    pub fn first_undecided_offset(&self) -> Option<Offset> {
        self.ongoing.keys().next().copied()
    }

    /// When the producer of the first open transaction wrote last, in its own time.
    pub fn oldest_transaction_last_timestamp_ms(&self) -> Option<i64> {
        let producer_id = self.ongoing.values().next()?;
        self.get(*producer_id).map(ProducerEntry::last_timestamp)
    }

    /// The high watermark has risen: transactions whose markers lie below it are settled.
    pub fn on_high_watermark(&mut self, high_watermark: Offset) {
        self.settle(high_watermark);
    }

    fn settle(&mut self, below: Offset) {
        if !self.unreplicated.is_empty() {
            self.unreplicated
                .retain(|_, transaction| transaction.last_offset >= below);
        }
    }

    /// The log's start has risen. Producers stay known, so that their next sequence is still checked (KIP-360).
    /// `newest_snapshot` is the offset of the newest snapshot file that is left.
    pub fn on_log_start_offset(&mut self, log_start_offset: Offset, newest_snapshot: Option<Offset>) {
        self.settle(log_start_offset);
        self.end_offset = self.end_offset.max(log_start_offset);
        self.snapshot_offset = newest_snapshot.unwrap_or(log_start_offset);
    }

    /// Forgets everything; the log is empty and begins at `offset`.
    pub fn truncate_fully(&mut self, offset: Offset) {
        *self = Self {
            verifications: std::mem::take(&mut self.verifications),
            highest: self.highest.clone(),
            ..Self::new(offset)
        };
        self.snapshot_offset = Offset::ZERO;
    }

    /// Takes over the state of `rebuilt`, which came from a snapshot and the batches behind it after a truncation.
    /// Pending verifications stay.
    pub fn replace(&mut self, rebuilt: Self) {
        let verifications = std::mem::take(&mut self.verifications);
        let highest = self.highest.clone();
        highest.raise(ProducerId(rebuilt.highest.get()));
        *self = Self {
            verifications,
            highest,
            ..rebuilt
        };
    }

    /// Forgets producers without an open transaction that have been idle for `expiration_ms`, and verifications as old.
    /// Answers how many producers it forgot.
    pub fn expire(&mut self, now_ms: i64, expiration_ms: i64) -> usize {
        let before = self.producers.len();
        if before > 0 {
            self.producers
                .retain(|_, entry| !entry.is_expired(now_ms, expiration_ms));
        }
        self.verifications.expire(now_ms, expiration_ms);
        let forgotten = before - self.producers.len();
        if forgotten > 0 {
            self.order.clear();
        }
        forgotten
    }
}
