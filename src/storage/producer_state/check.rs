//! Whether a batch may be appended, as far as its producer is concerned (Kafka: `UnifiedLog
//! .analyzeAndValidateProducerState`, `ProducerAppendInfo`).
//!
//! Invariant: a check changes nothing; what the batch changes is in the [`Update`] it answers. The order of the checks
//! is Kafka's, since it decides which error a client sees.

use std::fmt;

use super::verification::Verification;
use super::{LastBatch, ProducerEntry, ProducerStates};
use crate::base::error_code::ErrorCode;
use crate::base::ids::{Offset, ProducerEpoch, ProducerId};
use crate::records::batch::BatchHeader;
pub use crate::records::validate::Origin;

/// What the record of an end-of-transaction marker says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marker {
    /// Abort, otherwise commit.
    pub is_abort: bool,
    /// The epoch of the coordinator that wrote it.
    pub coordinator_epoch: i32,
}

/// What came out of a check that found nothing wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Check {
    /// The batch is in the log already: nothing is to be written, and the answer is this.
    Duplicate(Duplicate),
    /// The batch is to be written, and this applied afterwards.
    Append(Update),
}

/// The batch that is in the log already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Duplicate {
    /// Its first offset.
    pub first_offset: Offset,
    /// Its last offset.
    pub last_offset: Offset,
    /// Its maximum timestamp; Kafka answers it as the log append time, whatever the topic's timestamp type.
    pub timestamp: i64,
}

/// What a batch changes in the state of its partition's producers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Update {
    pub(super) producer_id: ProducerId,
    pub(super) is_transactional: bool,
    pub(super) change: Change,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    Nothing,
    Data {
        epoch: ProducerEpoch,
        batch: LastBatch,
    },
    Marker {
        epoch: ProducerEpoch,
        marker: Marker,
        offset: Offset,
        timestamp: i64,
    },
}

/// Why a producer's batch is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProducerError {
    /// The batch's sequence does not follow the last one.
    OutOfOrderSequence {
        /// Whose batch.
        producer_id: ProducerId,
        /// The batch's first sequence.
        found: i32,
        /// The last one known, or the lowest one that still waits for its verification.
        last: i32,
    },
    /// A newer incarnation of the producer has been here.
    InvalidProducerEpoch {
        /// Whose batch.
        producer_id: ProducerId,
        /// The batch's epoch.
        found: ProducerEpoch,
        /// The one known.
        current: ProducerEpoch,
    },
    /// The transaction's coordinator has not vouched for the transaction.
    NotVerified {
        /// Whose batch.
        producer_id: ProducerId,
    },
    /// The batch is not transactional, but the producer has a transaction open.
    TransactionOpen {
        /// Whose batch.
        producer_id: ProducerId,
    },
    /// A newer coordinator has written a marker for this producer.
    CoordinatorFenced {
        /// Whose marker.
        producer_id: ProducerId,
        /// The marker's coordinator epoch.
        found: i32,
        /// The one known.
        current: i32,
    },
}

impl ProducerError {
    /// The code that Kafka answers.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
            Self::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            Self::NotVerified { .. } | Self::TransactionOpen { .. } => ErrorCode::InvalidTxnState,
            Self::CoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
        }
    }
}

impl fmt::Display for ProducerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfOrderSequence {
                producer_id,
                found,
                last,
            } => write!(
                f,
                "producer {producer_id} sent sequence {found}, which does not follow {last}"
            ),
            Self::InvalidProducerEpoch {
                producer_id,
                found,
                current,
            } => write!(
                f,
                "producer {producer_id} has epoch {current} by now, the batch has {found}"
            ),
            Self::NotVerified { producer_id } => write!(
                f,
                "no open transaction of producer {producer_id} is known to cover this partition"
            ),
            Self::TransactionOpen { producer_id } => write!(
                f,
                "producer {producer_id} has a transaction open and sent a batch outside of it"
            ),
            Self::CoordinatorFenced {
                producer_id,
                found,
                current,
            } => write!(
                f,
                "a marker for producer {producer_id} has coordinator epoch {found}, {current} is known"
            ),
        }
    }
}

impl std::error::Error for ProducerError {}

/// True when `next` follows `last`; sequences wrap from `i32::MAX` to 0.
fn follows(last: i32, next: i32) -> bool {
    i64::from(next) == i64::from(last) + 1 || (last == i32::MAX && next == 0)
}

impl ProducerStates {
    /// Checks a batch whose offsets are assigned already. `marker` is what a control batch's record says; a control
    /// batch without one (another kind, or emptied by compaction) changes nothing. Batches without a producer id pass.
    pub fn check(
        &self,
        batch: &BatchHeader,
        marker: Option<Marker>,
        origin: Origin,
        verification: Verification,
    ) -> Result<Check, ProducerError> {
        let update = |change| {
            Ok(Check::Append(Update {
                producer_id: batch.producer_id,
                is_transactional: batch.is_transactional(),
                change,
            }))
        };
        if batch.producer_id.get() < 0 {
            return update(Change::Nothing);
        }
        // Looked for once: this is on the way of every produce.
        let known = self.get(batch.producer_id);
        if origin == Origin::Client
            && let Some(duplicate) = known.and_then(|entry| find_duplicate(entry, batch))
        {
            return Ok(Check::Duplicate(duplicate));
        }
        if origin != Origin::Replication && batch.is_transactional() {
            self.check_transaction(known, batch, verification)?;
        }
        match (batch.is_control(), marker) {
            (true, None) => update(Change::Nothing),
            (true, Some(marker)) => {
                if origin != Origin::Replication {
                    check_epoch(known, batch)?;
                    check_coordinator(known, batch, marker)?;
                }
                update(Change::Marker {
                    epoch: batch.producer_epoch,
                    marker,
                    offset: batch.base_offset,
                    timestamp: batch.max_timestamp,
                })
            }
            (false, _) => {
                if origin != Origin::Replication {
                    check_epoch(known, batch)?;
                }
                if origin == Origin::Client {
                    self.check_sequence(known, batch)?;
                }
                if origin != Origin::Replication {
                    check_no_transaction(known, batch)?;
                }
                update(Change::Data {
                    epoch: batch.producer_epoch,
                    batch: LastBatch {
                        last_sequence: batch.last_sequence(),
                        offset_delta: batch.last_offset_delta,
                        last_offset: batch.last_offset(),
                        timestamp: batch.max_timestamp,
                    },
                })
            }
        }
    }

    /// A stale epoch goes first: the producer can recover from that error, not from a missing verification.
    fn check_transaction(
        &self,
        known: Option<&ProducerEntry>,
        batch: &BatchHeader,
        verification: Verification,
    ) -> Result<(), ProducerError> {
        if known.is_some_and(ProducerEntry::is_in_transaction) {
            return Ok(());
        }
        check_epoch(known, batch)?;
        if !batch.is_control() && !self.verifications.passes(batch.producer_id, verification) {
            return Err(ProducerError::NotVerified {
                producer_id: batch.producer_id,
            });
        }
        Ok(())
    }

    fn check_sequence(
        &self,
        known: Option<&ProducerEntry>,
        batch: &BatchHeader,
    ) -> Result<(), ProducerError> {
        let found = batch.base_sequence;
        let out_of_order = |last| {
            Err(ProducerError::OutOfOrderSequence {
                producer_id: batch.producer_id,
                found,
                last,
            })
        };
        if let Some(lowest) = self.verifications.lowest_sequence(batch.producer_id)
            && found > lowest
        {
            return out_of_order(lowest);
        }
        match known {
            // Nothing is known of it, perhaps because its records were deleted: any sequence will do.
            None => Ok(()),
            Some(entry) if entry.epoch() == ProducerEpoch::NONE => Ok(()),
            Some(entry) if entry.epoch() != batch.producer_epoch => match found {
                0 => Ok(()),
                _ => out_of_order(entry.last_sequence()),
            },
            Some(entry) if follows(entry.last_sequence(), found) => Ok(()),
            Some(entry) => out_of_order(entry.last_sequence()),
        }
    }
}

fn find_duplicate(entry: &ProducerEntry, batch: &BatchHeader) -> Option<Duplicate> {
    if entry.epoch() != batch.producer_epoch {
        return None;
    }
    let known = entry.batch_with_sequences(batch.base_sequence, batch.last_sequence())?;
    Some(Duplicate {
        first_offset: known.first_offset(),
        last_offset: known.last_offset,
        timestamp: known.timestamp,
    })
}

fn check_epoch(known: Option<&ProducerEntry>, batch: &BatchHeader) -> Result<(), ProducerError> {
    match known {
        Some(entry) if batch.producer_epoch < entry.epoch() => Err(ProducerError::InvalidProducerEpoch {
            producer_id: batch.producer_id,
            found: batch.producer_epoch,
            current: entry.epoch(),
        }),
        _ => Ok(()),
    }
}

fn check_no_transaction(known: Option<&ProducerEntry>, batch: &BatchHeader) -> Result<(), ProducerError> {
    if !batch.is_transactional() && known.is_some_and(ProducerEntry::is_in_transaction) {
        return Err(ProducerError::TransactionOpen {
            producer_id: batch.producer_id,
        });
    }
    Ok(())
}

fn check_coordinator(
    known: Option<&ProducerEntry>,
    batch: &BatchHeader,
    marker: Marker,
) -> Result<(), ProducerError> {
    match known {
        Some(entry) if marker.coordinator_epoch < entry.coordinator_epoch() => {
            Err(ProducerError::CoordinatorFenced {
                producer_id: batch.producer_id,
                found: marker.coordinator_epoch,
                current: entry.coordinator_epoch(),
            })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "check_test.rs"]
mod tests;
