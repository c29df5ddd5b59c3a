//! Transactions that a client wants to write to and whose coordinator has not vouched for them yet (KIP-890, part 1;
//! Kafka: `VerificationStateEntry`, `VerificationGuard`).
//!
//! Invariant: a guard that was handed out before the transaction was written to, or ended by a marker, is worth nothing
//! afterwards. The lowest sequence seen is kept, so that a batch behind one that is still tried again is not the first
//! to be written (KAFKA-14920).

use std::collections::BTreeMap;

use crate::base::ids::{ProducerEpoch, ProducerId};

/// Names one verification.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Guard {
    number: u64,
    created_ms: i64,
}

/// What stands for a transactional batch whose transaction is not open here yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verification {
    /// Nothing is asked: `transaction.partition.verification.enable=false`.
    Disabled,
    /// The coordinator vouched for the transaction under this guard, or (`None`) was not asked or said no.
    Required(Option<Guard>),
}

#[derive(Clone, Debug)]
struct Pending {
    guard: Guard,
    epoch: ProducerEpoch,
    lowest_sequence: i32,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Verifications {
    pending: BTreeMap<ProducerId, Pending>,
    guards: u64,
}

impl Verifications {
    pub(super) fn begin(
        &mut self,
        producer_id: ProducerId,
        epoch: ProducerEpoch,
        base_sequence: i32,
        now_ms: i64,
    ) -> Guard {
        let guards = &mut self.guards;
        let pending = self.pending.entry(producer_id).or_insert_with(|| {
            *guards += 1;
            Pending {
                guard: Guard {
                    number: *guards,
                    created_ms: now_ms,
                },
                epoch,
                lowest_sequence: base_sequence,
            }
        });
        if epoch > pending.epoch {
            pending.epoch = epoch;
            pending.lowest_sequence = base_sequence;
        } else if epoch == pending.epoch {
            pending.lowest_sequence = pending.lowest_sequence.min(base_sequence);
        }
        pending.guard
    }

    pub(super) fn passes(&self, producer_id: ProducerId, verification: Verification) -> bool {
        match verification {
            Verification::Disabled => true,
            Verification::Required(guard) => {
                guard.is_some() && self.pending.get(&producer_id).map(|pending| pending.guard) == guard
            }
        }
    }

    pub(super) fn lowest_sequence(&self, producer_id: ProducerId) -> Option<i32> {
        self.pending
            .get(&producer_id)
            .map(|pending| pending.lowest_sequence)
    }

    pub(super) fn forget(&mut self, producer_id: ProducerId) {
        self.pending.remove(&producer_id);
    }

    pub(super) fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        if !self.pending.is_empty() {
            self.pending
                .retain(|_, pending| now_ms.saturating_sub(pending.guard.created_ms) < expiration_ms);
        }
    }

    pub(super) fn count(&self) -> usize {
        self.pending.len()
    }
}
