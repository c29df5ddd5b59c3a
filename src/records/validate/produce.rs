//! What a Produce request may hold in one partition, by its version; before any log is asked.
//!
//! Called by api/ for each partition. Follows Kafka's `ProduceRequest.validateRecords`, and gathers on the way what the
//! request as a whole is asked about: transactional producers.

use super::ValidationError;
use crate::base::error_code::ErrorCode;
use crate::base::format::Codec;
use crate::base::ids::{ProducerEpoch, ProducerId};
use crate::records::batch::Batches;
use crate::records::record::RecordsError;

/// What is in one partition's records.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Produced {
    /// How many batches. 0 only before version 3: then there is nothing to append and nothing wrong.
    pub batches: usize,
    /// The producer of the transactional batches, if there are any.
    pub transactional: Option<(ProducerId, ProducerEpoch)>,
    /// Transactional batches of more than one producer, which fails the whole request (INVALID_PRODUCER_ID_MAPPING).
    pub mixed_producers: bool,
}

/// Checks `records` of a Produce request of `version`; `None` is null, which Kafka leaves without an answer.
pub fn check_produced(version: i16, records: Option<&[u8]>) -> Result<Produced, ValidationError> {
    let invalid = |message: &str| ValidationError::new(ErrorCode::InvalidRecord, message);
    let Some(records) = records else {
        return Err(invalid("records are null"));
    };
    let mut produced = Produced::default();
    for batch in Batches::new(records) {
        let batch = batch.map_err(RecordsError::Corrupt)?;
        if version >= 3 {
            if produced.batches > 0 {
                return Err(invalid("more than one batch in a partition"));
            }
            if batch.magic != 2 {
                return Err(invalid("a batch of an old format in a new request"));
            }
            if version < 7 && batch.codec() == Some(Codec::Zstd) {
                return Err(ValidationError::new(
                    ErrorCode::UnsupportedCompressionType,
                    "zstd takes version 7 of the request",
                ));
            }
        }
        if batch.is_transactional() {
            let producer = (batch.producer_id, batch.producer_epoch);
            produced.mixed_producers |= produced.transactional.is_some_and(|known| known != producer);
            produced.transactional = Some(producer);
        }
        produced.batches += 1;
    }
    if version >= 3 && produced.batches == 0 {
        return Err(invalid("no batch in a partition"));
    }
    Ok(produced)
}
