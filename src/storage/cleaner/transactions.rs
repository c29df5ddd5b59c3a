//! What a pass over a log knows of the transactions that it goes through: which batches were aborted, and which markers
//! nothing depends on any more (Kafka: `CleanedTransactionMetadata`).
//!
//! Invariant: batches are shown in the order of their offsets, and the aborted transactions of a stretch before its
//! batches. At most one transaction a producer is open at a time.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::ids::{Offset, ProducerId};
use crate::records::batch::{Batch, BatchHeader};
use crate::records::control::ControlType;
use crate::records::record::RecordsError;
use crate::storage::transaction_index::AbortedTransaction;

/// A transaction that is being gone through and was aborted.
struct Aborted {
    entry: AbortedTransaction,
    /// A batch of it was seen.
    seen: bool,
}

/// The transactions of a pass.
#[derive(Default)]
pub(super) struct Transactions {
    /// Aborted ones that the pass has not reached yet, by their beginning.
    ahead: BTreeMap<(Offset, ProducerId), AbortedTransaction>,
    /// Aborted ones, from their beginning to their marker.
    aborted: BTreeMap<ProducerId, Aborted>,
    /// Producers of committed ones of which a batch was seen, to their marker.
    committed: BTreeSet<ProducerId>,
}

/// What a marker is good for.
pub(super) enum MarkerUse {
    /// Records are there that it decides about; an aborted one has to stay in the transaction index.
    Needed(Option<AbortedTransaction>),
    /// No batch of its transaction is left, or it is no marker any more.
    Discardable,
}

impl Transactions {
    /// Takes in the aborted transactions of the stretch that comes next. Those that are known are no harm.
    pub(super) fn expect(&mut self, aborted: Vec<AbortedTransaction>) {
        for entry in aborted {
            self.ahead.insert((entry.first_offset, entry.producer_id), entry);
        }
    }

    fn reach(&mut self, offset: Offset) {
        while let Some(first) = self.ahead.first_entry() {
            if first.key().0 > offset {
                return;
            }
            let entry = first.remove();
            self.aborted
                .entry(entry.producer_id)
                .or_insert(Aborted { entry, seen: false });
        }
    }

    /// Shows a batch that is no control batch. True when it was aborted.
    pub(super) fn data(&mut self, header: &BatchHeader) -> bool {
        self.reach(header.last_offset());
        if !header.is_transactional() {
            return false;
        }
        match self.aborted.get_mut(&header.producer_id) {
            Some(aborted) => {
                aborted.seen = true;
                true
            }
            None => {
                self.committed.insert(header.producer_id);
                false
            }
        }
    }

    /// Shows a control batch.
    pub(super) fn control(&mut self, batch: &Batch<'_>) -> Result<MarkerUse, RecordsError> {
        self.reach(batch.last_offset());
        let mut records = batch.records(None)?;
        let Some(record) = records.next()? else {
            return Ok(MarkerUse::Discardable);
        };
        Ok(match ControlType::parse(record.key)? {
            ControlType::Abort => match self.aborted.remove(&batch.producer_id) {
                Some(aborted) if aborted.seen => MarkerUse::Needed(Some(aborted.entry)),
                _ => MarkerUse::Discardable,
            },
            ControlType::Commit if self.committed.remove(&batch.producer_id) => MarkerUse::Needed(None),
            ControlType::Commit => MarkerUse::Discardable,
            ControlType::Other(_) => MarkerUse::Needed(None),
        })
    }
}
