//! From a batch to its records, in every format and codec.
//!
//! The iterator lends: a record is good until the next one is asked for. Uncompressed batches are read in place; of a
//! compressed v2 batch there is never more in memory than a piece of the codec's output and one record; a compressed
//! v0 or v1 set is decompressed whole, because its offsets count from the last message. Called by validation,
//! conversion, and by storage/ for time look-ups, producer state and control records.

use super::batch::{Batch, BatchHeader};
use super::compression::{CodecError, Decompressor, KEPT_BUFFER_BYTES, Window, decompressed_limit};
use super::legacy::{InnerSet, key_and_value};
use super::record::{Body, Headers, Record, RecordsError};
use super::varint;
use crate::base::format::{Codec, TimestampType};
use crate::base::ids::Offset;
use crate::base::planted::planted;

const WRONG_COUNT: RecordsError = RecordsError::Invalid("negative record count");
const LEFT_OVER: RecordsError = RecordsError::Invalid("bytes are left behind the last record");
const CUT_SHORT: RecordsError = RecordsError::Invalid("the batch ends before its last record");
const MALFORMED: RecordsError = RecordsError::Invalid("malformed record");

impl<'a> Batch<'a> {
    /// Iterates over the records, decompressing at most `limit` bytes; `None` for the default of
    /// [`decompressed_limit`].
    pub fn records(&self, limit: Option<usize>) -> Result<Records<'a>, RecordsError> {
        let limit = limit.unwrap_or_else(|| decompressed_limit(self.bytes().len()));
        Ok(if self.magic < 2 {
            self.legacy_records(limit)?
        } else {
            let left = usize::try_from(self.record_count).map_err(|_| WRONG_COUNT)?;
            let source = if !self.is_compressed() {
                Source::Plain(self.payload())
            } else {
                Source::Window(Box::new(self.window(limit)?))
            };
            Records {
                header: *self.header(),
                left,
                source,
            }
        })
    }

    /// The records, held so that they can be gone through more than once and are decompressed once; `None` when they take
    /// more than [`HELD_BYTES`], or in a format before v2.
    pub fn held(&self) -> Result<Option<Held<'a>>, RecordsError> {
        if self.magic < 2 {
            return Ok(None);
        }
        let header = *self.header();
        if !self.is_compressed() {
            let payload = self.payload();
            return Ok(Some(Held {
                header,
                payload: Payload::Plain(payload),
            }));
        }
        let mut window = self.window(decompressed_limit(self.bytes().len()))?;
        Ok((!window.hold(HELD_BYTES + 1)?).then(|| Held {
            header,
            payload: Payload::Decompressed(window),
        }))
    }

    fn legacy_records(&self, limit: usize) -> Result<Records<'a>, RecordsError> {
        let (key, value) = key_and_value(self)?;
        let source = match self.codec() {
            Some(Codec::None) => Source::Single(Some(Record {
                magic: self.magic,
                offset: self.base_offset,
                timestamp: self.max_timestamp,
                key,
                value,
                headers: Headers::default(),
            })),
            Some(codec) if codec != Codec::Zstd => {
                let value = planted!(
                    "set-without-value",
                    value.unwrap(),
                    value.ok_or(RecordsError::Invalid("compressed set without a value"))?
                );
                let source = Decompressor::new(codec, self.magic, value)?;
                let bytes = Window::new(source, limit).into_vec()?;
                Source::Inner(InnerSet::new(self, bytes)?)
            }
            Some(_) => {
                return Err(RecordsError::Invalid("zstd in a message of an old format"));
            }
            None => return Err(unknown_codec()),
        };
        Ok(Records {
            header: *self.header(),
            left: 0,
            source,
        })
    }

    /// The payload of a v2 batch, being decompressed.
    pub(crate) fn window(&self, limit: usize) -> Result<Window<'a>, RecordsError> {
        let codec = self.codec().ok_or_else(unknown_codec)?;
        Ok(Window::new(
            Decompressor::new(codec, self.magic, self.payload())?,
            limit,
        ))
    }
}

fn unknown_codec() -> RecordsError {
    RecordsError::Codec(CodecError::new("unknown codec"))
}

/// How much [`Batch::held`] holds: what is kept for the next batch of the thread.
pub const HELD_BYTES: usize = KEPT_BUFFER_BYTES - 1;

/// See [`Batch::held`].
pub struct Held<'a> {
    header: BatchHeader,
    payload: Payload<'a>,
}

enum Payload<'a> {
    Plain(&'a [u8]),
    Decompressed(Window<'a>),
}

impl Held<'_> {
    /// Iterates over the records.
    pub fn records(&self) -> Result<Records<'_>, RecordsError> {
        Ok(Records {
            header: self.header,
            left: usize::try_from(self.header.record_count).map_err(|_| WRONG_COUNT)?,
            source: Source::Plain(match &self.payload {
                Payload::Plain(payload) => payload,
                Payload::Decompressed(window) => window.bytes(),
            }),
        })
    }
}

/// The records of one batch. Not an `Iterator`, because it lends.
pub struct Records<'a> {
    header: BatchHeader,
    /// v2: records still to come.
    left: usize,
    source: Source<'a>,
}

enum Source<'a> {
    Plain(&'a [u8]),
    Window(Box<Window<'a>>),
    Single(Option<Record<'a>>),
    Inner(InnerSet),
}

impl Records<'_> {
    /// The next record; `None` after the last. After an error the iteration is over.
    ///
    /// The last record of a v2 batch comes only if nothing follows it.
    #[expect(clippy::should_implement_trait, reason = "an Iterator cannot lend")]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, RecordsError> {
        match &mut self.source {
            Source::Single(record) => Ok(record.take()),
            Source::Inner(set) => set.next(),
            Source::Plain(rest) => {
                let Some(left) = self.left.checked_sub(1) else {
                    return Ok(None);
                };
                self.left = 0;
                let body = take_body(rest)?;
                if left == 0 && !rest.is_empty() {
                    return Err(LEFT_OVER);
                }
                self.left = left;
                absolute(&self.header, body).map(Some)
            }
            Source::Window(window) => {
                let Some(left) = self.left.checked_sub(1) else {
                    return Ok(None);
                };
                self.left = 0;
                let length = window.record_length()?.ok_or(CUT_SHORT)?;
                if !window.hold(length)? {
                    return Err(CUT_SHORT);
                }
                // One byte more than the record, to see whether something follows the last.
                if left == 0 && window.hold(length.saturating_add(1))? {
                    return Err(LEFT_OVER);
                }
                self.left = left;
                window.lend(length, |body| absolute(&self.header, body)).map(Some)
            }
        }
    }
}

/// Takes one record's body off the front of `rest`.
#[inline(always)]
pub(crate) fn take_body<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], RecordsError> {
    let length = varint::read_i32(rest).ok_or(CUT_SHORT)?;
    let length = usize::try_from(length).map_err(|_| MALFORMED)?;
    let (body, after) = planted!(
        "record-length-believed",
        rest.split_at(length),
        rest.split_at_checked(length).ok_or(CUT_SHORT)?
    );
    *rest = after;
    Ok(body)
}

fn absolute<'a>(header: &BatchHeader, body: &'a [u8]) -> Result<Record<'a>, RecordsError> {
    let body = Body::parse(body).ok_or(MALFORMED)?;
    Ok(Record {
        magic: header.magic,
        offset: Offset(
            header
                .base_offset
                .get()
                .wrapping_add(i64::from(body.offset_delta)),
        ),
        timestamp: match header.timestamp_type() {
            TimestampType::CreateTime => header.base_timestamp.wrapping_add(body.timestamp_delta),
            TimestampType::LogAppendTime => header.max_timestamp,
        },
        key: body.key,
        value: body.value,
        headers: body.headers,
    })
}

/// What validation needs to know of a v2 record.
#[derive(Clone, Copy)]
pub(crate) struct Skimmed {
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub has_key: bool,
}

/// Calls `see` with each record of a v2 batch, which is checked whole but not kept: nothing is allocated for an
/// uncompressed batch, and long fields of a compressed one are skipped without being held.
#[inline(always)]
pub(crate) fn skim(
    batch: &Batch<'_>,
    limit: usize,
    mut see: impl FnMut(Skimmed),
) -> Result<(), RecordsError> {
    let count = usize::try_from(batch.record_count).map_err(|_| WRONG_COUNT)?;
    // Kafka looks at no payload when there is nothing to read.
    if count == 0 {
        return Ok(());
    }
    if !batch.is_compressed() {
        let mut rest = batch.payload();
        for _ in 0..count {
            see(skim_body(take_body(&mut rest)?).ok_or(MALFORMED)?);
        }
        return if rest.is_empty() { Ok(()) } else { Err(LEFT_OVER) };
    }
    let mut window = batch.window(limit)?;
    for _ in 0..count {
        let length = window.record_length()?.ok_or(CUT_SHORT)?;
        if let Some(body) = window.bytes().get(..length) {
            let skimmed = skim_body(body).ok_or(MALFORMED)?;
            window.consume(length);
            see(skimmed);
        } else {
            see(skim_piecewise(&mut window, length)?);
        }
    }
    if window.is_finished()? {
        Ok(())
    } else {
        Err(LEFT_OVER)
    }
}

#[inline(always)]
fn skim_body(body: &[u8]) -> Option<Skimmed> {
    let body = Body::parse(body)?;
    Some(Skimmed {
        timestamp_delta: body.timestamp_delta,
        offset_delta: body.offset_delta,
        has_key: body.key.is_some(),
    })
}

/// A record that is not whole in the window.
fn skim_piecewise(window: &mut Window<'_>, length: usize) -> Result<Skimmed, RecordsError> {
    let mut left = length;
    skip(window, 1, &mut left)?;
    let timestamp_delta = number(window, &mut left)?;
    let offset_delta = short_number(window, &mut left)?;
    let key = short_number(window, &mut left)?;
    skip_nullable(window, key, &mut left)?;
    let value = short_number(window, &mut left)?;
    skip_nullable(window, value, &mut left)?;
    let headers = short_number(window, &mut left)?;
    for _ in 0..usize::try_from(headers).map_err(|_| MALFORMED)? {
        let key = short_number(window, &mut left)?;
        skip(window, usize::try_from(key).map_err(|_| MALFORMED)?, &mut left)?;
        let value = short_number(window, &mut left)?;
        skip_nullable(window, value, &mut left)?;
    }
    if left != 0 {
        return Err(MALFORMED);
    }
    Ok(Skimmed {
        timestamp_delta,
        offset_delta,
        has_key: key >= 0,
    })
}

fn number(window: &mut Window<'_>, left: &mut usize) -> Result<i64, RecordsError> {
    window.varint(left)?.ok_or(MALFORMED)
}

fn short_number(window: &mut Window<'_>, left: &mut usize) -> Result<i32, RecordsError> {
    i32::try_from(number(window, left)?).map_err(|_| MALFORMED)
}

fn skip_nullable(window: &mut Window<'_>, length: i32, left: &mut usize) -> Result<(), RecordsError> {
    skip(window, usize::try_from(length).unwrap_or(0), left)
}

fn skip(window: &mut Window<'_>, count: usize, left: &mut usize) -> Result<(), RecordsError> {
    *left = left.checked_sub(count).ok_or(MALFORMED)?;
    if window.skip(count)? {
        Ok(())
    } else {
        Err(CUT_SHORT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::build::{BatchBuilder, BatchOptions};

    fn values(mut records: Records<'_>) -> Vec<(i64, Vec<u8>)> {
        let mut seen = Vec::new();
        while let Some(record) = records.next().unwrap() {
            seen.push((record.offset.get(), record.value.unwrap_or_default().to_vec()));
        }
        seen
    }

    fn batch_of(codec: Codec, values: &[Vec<u8>]) -> bytes::Bytes {
        let mut builder = BatchBuilder::new(BatchOptions {
            base_offset: Offset(7),
            codec,
            ..BatchOptions::default()
        });
        for value in values {
            builder.append(1, Some(b"key"), Some(value), &[]).unwrap();
        }
        builder.build().unwrap().1
    }

    #[test]
    fn held_records_are_the_records_each_time() {
        let written: Vec<Vec<u8>> = (0..300_usize).map(|number| vec![number as u8; number]).collect();
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let bytes = batch_of(codec, &written);
            let batch = Batch::parse(&bytes).unwrap().unwrap();
            let held = batch.held().unwrap().unwrap();
            let expected = values(batch.records(None).unwrap());
            assert_eq!(expected.len(), written.len());
            assert_eq!(values(held.records().unwrap()), expected, "{codec:?}");
            assert_eq!(values(held.records().unwrap()), expected, "{codec:?}");
        }
    }

    #[test]
    fn what_decompresses_to_too_much_is_not_held() {
        let large = [vec![b'x'; HELD_BYTES]];
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let bytes = batch_of(codec, &large);
            assert!(
                Batch::parse(&bytes).unwrap().unwrap().held().unwrap().is_none(),
                "{codec:?}"
            );
        }
    }
}
