//! What is checked of each batch by its header and checksum, before any record is looked at.

use super::{Origin, Rules, ValidationError};
use crate::base::error_code::ErrorCode;
use crate::base::format::Codec;
use crate::base::planted::planted;
use crate::records::batch::{Batch, Batches};
use crate::records::compression::CodecError;
use crate::records::record::RecordsError;

/// The batches of one append, in short.
pub(super) struct CheckedSet<'a> {
    pub first: Batch<'a>,
    /// The codec of the last compressed batch, or none.
    pub codec: Codec,
}

pub(super) fn invalid(message: impl Into<String>) -> ValidationError {
    ValidationError::new(ErrorCode::InvalidRecord, message)
}

/// Checks every batch: first all sizes and checksums, as Kafka does before it validates, then what the first header may say.
/// Where there are several, they are messages of an old format, and the others are looked at in their turn. `sound`: the
/// checksums are known to be right.
pub(super) fn check<'a>(
    records: &'a [u8],
    rules: &Rules,
    origin: Origin,
    sound: bool,
) -> Result<CheckedSet<'a>, ValidationError> {
    let mut first = None;
    let mut codec = Codec::None;
    let mut count = 0_usize;
    for batch in Batches::new(records) {
        let batch = batch.map_err(RecordsError::Corrupt)?;
        check_integrity(&batch, rules, origin, sound)?;
        match batch.codec() {
            Some(Codec::None) => {}
            Some(known) => codec = known,
            None => planted!(
                "produce-codec-known",
                panic!("codec above 4"),
                return Err(RecordsError::Codec(CodecError::new("unknown codec")).into())
            ),
        }
        first.get_or_insert(batch);
        count += 1;
    }
    let Some(first) = first else {
        return Err(invalid("no record batch"));
    };
    if count > 1 && (first.magic >= 2 || codec != Codec::None) {
        return Err(invalid("more than one batch where only one may be"));
    }
    if origin == Origin::Client {
        check_of_client(&first)?;
    }
    Ok(CheckedSet { first, codec })
}

/// Size and checksum.
fn check_integrity(
    batch: &Batch<'_>,
    rules: &Rules,
    origin: Origin,
    sound: bool,
) -> Result<(), ValidationError> {
    if batch.magic >= 2 && origin == Origin::Client && batch.base_offset.get() != 0 {
        return Err(invalid(format!(
            "base offset of a produced batch is {}, not 0",
            batch.base_offset
        )));
    }
    if origin != Origin::Replication && batch.size_in_bytes > rules.max_message_bytes {
        return Err(too_large(batch.size_in_bytes, rules));
    }
    if sound {
        return Ok(());
    }
    Ok(batch.check_crc().map_err(RecordsError::Corrupt)?)
}

/// INVALID_RECORD for a batch of another format than the first of its set.
pub(super) fn check_format(batch: &Batch<'_>, first: &Batch<'_>) -> Result<(), ValidationError> {
    if batch.magic == first.magic {
        return Ok(());
    }
    Err(invalid(format!(
        "batches of formats {} and {} in one set",
        first.magic, batch.magic
    )))
}

/// MESSAGE_TOO_LARGE for a batch of `size` bytes.
pub(super) fn too_large(size: u32, rules: &Rules) -> ValidationError {
    let message = format!(
        "batch of {size} bytes, max.message.bytes is {}",
        rules.max_message_bytes
    );
    ValidationError::new(ErrorCode::MessageTooLarge, message)
}

/// What a producer may not say in a header.
///
/// Stricter than Kafka in three points, none of which a client does: attribute bits without a meaning are refused, so
/// that they can get one; so is a transactional batch without a producer id, which belongs to no transaction; and a
/// producer id without an epoch, on which Kafka fails when it has to rebuild the batch.
fn check_of_client(batch: &Batch<'_>) -> Result<(), ValidationError> {
    if batch.magic < 2 {
        return Ok(());
    }
    // In i64, because an i32 delta of i32::MAX is one short of its count.
    let offsets = i64::from(batch.last_offset_delta) + 1;
    if offsets <= 0 {
        return Err(invalid(format!(
            "last offset delta is {}",
            batch.last_offset_delta
        )));
    }
    if batch.record_count <= 0 {
        return Err(invalid(format!("record count is {}", batch.record_count)));
    }
    if planted!(
        "produce-delta-believed",
        offsets < i64::from(batch.record_count),
        offsets != i64::from(batch.record_count)
    ) {
        return Err(invalid(format!(
            "{offsets} offsets but a record count of {}",
            batch.record_count
        )));
    }
    if batch.is_control() {
        return Err(invalid("clients may not write control records"));
    }
    if batch.has_producer_id() && batch.base_sequence < 0 {
        return Err(invalid(format!(
            "base sequence {} of producer id {}",
            batch.base_sequence, batch.producer_id
        )));
    }
    if batch.has_producer_id() && batch.producer_epoch.get() < 0 {
        return Err(invalid(format!(
            "producer id {} without an epoch",
            batch.producer_id
        )));
    }
    if batch.is_transactional() && !batch.has_producer_id() {
        return Err(invalid("transactional batch without a producer id"));
    }
    if batch.bytes().get(21).is_none_or(|high| *high != 0) || batch.attributes & 0x80 != 0 {
        return Err(invalid("attribute bits that have no meaning are set"));
    }
    Ok(())
}
