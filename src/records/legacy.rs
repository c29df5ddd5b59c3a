//! Messages of formats v0 and v1, alone and inside a compressed set.
//!
//! A message that this file hands out has its lengths checked. The offsets inside a compressed v1 set are relative:
//! the wrapper's offset is that of the last one. Called by the record iterator, conversion and tests. Follows Kafka's
//! `LegacyRecord` and the deep iterator of `AbstractLegacyRecordBatch`.

use super::batch::{Batch, Batches, LOG_OVERHEAD, i32_at};
use super::record::{Headers, Record, RecordsError};
use crate::base::format::{Codec, TimestampType};
use crate::base::ids::Offset;
use crate::base::planted::planted;

/// Key and value of a message; `None` is null.
type KeyAndValue<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// Key and value of the message `batch` (v0 or v1).
pub(crate) fn key_and_value<'a>(batch: &Batch<'a>) -> Result<KeyAndValue<'a>, RecordsError> {
    let mut rest = batch.payload();
    match (take_nullable(&mut rest), take_nullable(&mut rest)) {
        (Some(key), Some(value)) => Ok((key, value)),
        _ => Err(RecordsError::Invalid("key or value is longer than its message")),
    }
}

fn take_nullable<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = i32_at(bytes, 0)?;
    let rest = bytes.get(4..)?;
    let length = usize::try_from(length).ok();
    let (field, rest) = planted!(
        "message-length-believed",
        rest.split_at(length.unwrap_or(0)),
        rest.split_at_checked(length.unwrap_or(0))?
    );
    *bytes = rest;
    Some(length.map(|_| field))
}

/// The messages inside a compressed v0 or v1 set, decompressed.
pub(crate) struct InnerSet {
    bytes: Vec<u8>,
    position: usize,
    magic: u8,
    /// What relative offsets count from.
    base_offset: i64,
    /// The timestamp that the wrapper imposes.
    append_time: Option<i64>,
}

impl InnerSet {
    /// `bytes`: what the value of `wrapper` decompresses to.
    pub(crate) fn new(wrapper: &Batch<'_>, bytes: Vec<u8>) -> Result<Self, RecordsError> {
        let mut last_inner = None;
        for inner in Batches::new(&bytes) {
            last_inner = Some(inner?.base_offset.get());
        }
        let Some(last_inner) = planted!("set-of-none", Some(last_inner.unwrap()), last_inner) else {
            return Err(RecordsError::Invalid("compressed set without a message"));
        };
        let wrapper_offset = wrapper.base_offset.get();
        let base_offset = match wrapper.magic {
            0 => 0,
            // Some versions of librdkafka leave the wrapper's offset at 0.
            _ if wrapper_offset == 0 => 0,
            _ if wrapper_offset < last_inner => {
                return Err(RecordsError::Invalid(
                    "offset of a compressed set is below its last inner offset",
                ));
            }
            _ => wrapper_offset.wrapping_sub(last_inner),
        };
        Ok(Self {
            bytes,
            position: 0,
            magic: wrapper.magic,
            base_offset,
            append_time: (wrapper.timestamp_type() == TimestampType::LogAppendTime)
                .then_some(wrapper.max_timestamp),
        })
    }

    /// The next message. Its checksum is verified, unless it is of another format than the set: such a message is refused for
    /// that by whoever takes records from producers, and Kafka looks at it first.
    pub(crate) fn next(&mut self) -> Result<Option<Record<'_>>, RecordsError> {
        let Some(inner) = Batch::parse(self.bytes.get(self.position..).unwrap_or_default())? else {
            return Ok(None);
        };
        self.position += inner.bytes().len();
        if inner.magic >= 2 {
            return Err(RecordsError::Invalid(
                "batch of another format inside a compressed set",
            ));
        }
        if inner.is_compressed() {
            return Err(RecordsError::Invalid(
                "compressed message inside a compressed set",
            ));
        }
        if inner.magic == self.magic {
            inner.check_crc()?;
        }
        let (key, value) = key_and_value(&inner)?;
        Ok(Some(Record {
            magic: inner.magic,
            offset: Offset(self.base_offset.wrapping_add(inner.base_offset.get())),
            timestamp: match self.append_time {
                Some(time) if inner.magic > 0 && self.magic > 0 => time,
                _ => inner.max_timestamp,
            },
            key,
            value,
            headers: Headers::default(),
        }))
    }
}

/// Appends a v0 or v1 message.
#[expect(clippy::too_many_arguments, reason = "the fields of a message")]
pub(crate) fn write_message(
    out: &mut Vec<u8>,
    magic: u8,
    offset: i64,
    timestamp: i64,
    timestamp_type: TimestampType,
    codec: Codec,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) {
    let start = out.len();
    out.extend_from_slice(&offset.to_be_bytes());
    let size = message_size(magic, key, value) - LOG_OVERHEAD;
    out.extend_from_slice(&(size as i32).to_be_bytes());
    let crc_at = out.len();
    out.extend_from_slice(&[0; 4]);
    let append_time = magic > 0 && timestamp_type == TimestampType::LogAppendTime;
    out.extend_from_slice(&[magic, codec as u8 | if append_time { 0x08 } else { 0 }]);
    if magic > 0 {
        out.extend_from_slice(&timestamp.to_be_bytes());
    }
    for field in [key, value] {
        match field {
            None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
            Some(field) => {
                out.extend_from_slice(&(field.len() as i32).to_be_bytes());
                out.extend_from_slice(field);
            }
        }
    }
    debug_assert_eq!(out.len() - start, size + LOG_OVERHEAD);
    let crc = crc32fast::hash(out.get(crc_at + 4..).unwrap_or_default());
    if let Some(field) = out.get_mut(crc_at..crc_at + 4) {
        field.copy_from_slice(&crc.to_be_bytes());
    }
}

/// All bytes of a v0 or v1 message, offset and size field included.
pub(crate) fn message_size(magic: u8, key: Option<&[u8]>, value: Option<&[u8]>) -> usize {
    let overhead = if magic == 0 { 14 } else { 22 };
    LOG_OVERHEAD + overhead + key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len)
}
