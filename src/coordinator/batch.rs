//! A decision's records as one batch for the log, and as they are replayed once they are there.

use bytes::Bytes;

use crate::base::format::Codec;
use crate::base::ids::{Offset, ProducerEpoch, ProducerId};
use crate::records::build::{BatchBuilder, BatchOptions, BuildError};
use crate::replica::answers::AppendAnswer;

use super::shard::{NewRecord, Producer, Replayed, Shard};

/// What a record takes beside its key and value, mostly.
const RECORD_BYTES: usize = 12;

/// A write on its way.
pub struct Write<S: Shard> {
    /// What goes to the log.
    pub batch: Bytes,
    /// What is in it.
    pub records: Vec<NewRecord>,
    /// Whose batch it is.
    pub producer: Producer,
    /// What the shard is told afterwards.
    pub decision: S::Decision,
    /// The records' timestamp in milliseconds.
    pub timestamp_ms: i64,
}

impl<S: Shard> Write<S> {
    /// The records as the log has them now.
    pub fn replayed<'a>(&'a self, answer: &AppendAnswer) -> impl Iterator<Item = Replayed<'a>> {
        let base = Offset(answer.base_offset);
        let replicated = answer.pending.is_none();
        let timestamp_ms = match answer.log_append_time_ms {
            -1 => self.timestamp_ms,
            stamped => stamped,
        };
        (0i64..).zip(&self.records).map(move |(number, record)| Replayed {
            key: &record.key,
            value: record.value.as_deref(),
            offset: base.plus(number),
            timestamp_ms,
            producer_id: self.producer.id,
            producer_epoch: self.producer.epoch,
            transactional: self.producer.transactional,
            replicated,
        })
    }
}

/// One batch of `records`; offsets are assigned at the append.
///
/// # Errors
/// When they are too many, or too large, for one batch.
pub fn encode(
    records: &[NewRecord],
    producer: Producer,
    codec: Codec,
    now_ms: i64,
) -> Result<Bytes, BuildError> {
    let options = BatchOptions {
        codec,
        producer_id: ProducerId(producer.id),
        producer_epoch: ProducerEpoch(producer.epoch),
        base_sequence: producer.base_sequence,
        is_transactional: producer.transactional,
        ..BatchOptions::default()
    };
    let bytes_of = |record: &NewRecord| {
        RECORD_BYTES + record.key.len() + record.value.as_ref().map_or(0, |value| value.len())
    };
    let bytes = match codec {
        Codec::None => records.iter().map(bytes_of).sum(),
        _ => 0,
    };
    let mut builder = BatchBuilder::with_capacity(options, bytes);
    for record in records {
        builder.append(now_ms, Some(&record.key), record.value.as_deref(), &[])?;
    }
    Ok(builder.build()?.1)
}
