//! One record: the view that all formats share, and the v2 encoding of its body.
//!
//! A [`Record`] borrows its key, value and headers from the batch, or from the window in which a compressed batch is
//! being decompressed. Whatever is handed out was checked whole, headers included. Called by the record iterator, by
//! validation and by the builder. Follows Kafka's `DefaultRecord`.

use crate::base::planted::planted;
use std::fmt;

use super::batch::CorruptBatch;
use super::compression::CodecError;
use super::varint;
use crate::base::error_code::ErrorCode;
use crate::base::ids::Offset;

/// Why the records of a batch cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RecordsError {
    /// The bytes are not the records that the header promises.
    Invalid(&'static str),
    /// A message inside a compressed v0 or v1 set is corrupt.
    Corrupt(CorruptBatch),
    /// The codec is unknown or refuses the bytes.
    Codec(CodecError),
    /// The batch decompresses to more than the caller allows.
    TooLarge {
        /// What was allowed, in bytes.
        limit: usize,
    },
}

impl RecordsError {
    /// The error code that a producer gets. Kafka has no limit on what a batch decompresses to; MESSAGE_TOO_LARGE
    /// makes a producer split the batch and try again, where it can.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) => ErrorCode::InvalidRecord,
            Self::Corrupt(_) => ErrorCode::CorruptMessage,
            Self::Codec(_) => ErrorCode::UnknownServerError,
            Self::TooLarge { .. } => ErrorCode::MessageTooLarge,
        }
    }
}

impl fmt::Display for RecordsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(what) => f.write_str(what),
            Self::Corrupt(corrupt) => write!(f, "inner message: {corrupt}"),
            Self::Codec(error) => write!(f, "records cannot be decompressed: {error}"),
            Self::TooLarge { limit } => write!(f, "records decompress to more than {limit} bytes"),
        }
    }
}

impl std::error::Error for RecordsError {}

impl From<CodecError> for RecordsError {
    fn from(error: CodecError) -> Self {
        Self::Codec(error)
    }
}

impl From<CorruptBatch> for RecordsError {
    fn from(corrupt: CorruptBatch) -> Self {
        Self::Corrupt(corrupt)
    }
}

/// A record of any format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// The format of the record itself; a v1 set may hold v0 messages.
    pub magic: u8,
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp in ms since the epoch; −1 for none. Of a LogAppendTime batch: the batch's.
    pub timestamp: i64,
    /// The key; `None` is null.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is null.
    pub value: Option<&'a [u8]>,
    /// The headers; none in v0 and v1.
    pub headers: Headers<'a>,
}

/// The headers of a record, in order: pairs of key (UTF-8 by convention, not checked) and value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Headers<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl<'a> Headers<'a> {
    /// How many are left.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True when none is left.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.count = self.count.checked_sub(1)?;
        // Checked when the record was parsed.
        let key = take_nullable(&mut self.bytes)??;
        let value = take_nullable(&mut self.bytes)?;
        Some((key, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

/// The body of a v2 record, before offsets and timestamps are made absolute.
#[derive(Clone, Copy)]
pub(crate) struct Body<'a> {
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

impl<'a> Body<'a> {
    /// Parses what follows a record's length. `None` unless `body` is exactly one record's body.
    #[inline(always)]
    pub(crate) fn parse(body: &'a [u8]) -> Option<Self> {
        // Attributes come first; no bit of theirs has a meaning, and Kafka reads any value.
        let mut rest = body.get(1..)?;
        let timestamp_delta = varint::read_i64(&mut rest)?;
        let offset_delta = varint::read_i32(&mut rest)?;
        let key = take_nullable(&mut rest)?;
        let value = take_nullable(&mut rest)?;
        let count = varint::read_i32(&mut rest)?;
        let headers = if count == 0 && rest.is_empty() {
            Headers::default()
        } else {
            check_headers(count, rest)?
        };
        Some(Self {
            timestamp_delta,
            offset_delta,
            key,
            value,
            headers,
        })
    }
}

/// Takes a length and that many bytes; any negative length is null.
#[inline(always)]
fn take_nullable<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = varint::read_i32(bytes)?;
    if length < 0 {
        return Some(None);
    }
    let (field, rest) = bytes.split_at_checked(length as usize)?;
    *bytes = rest;
    Some(Some(field))
}

/// `bytes` as exactly `count` headers, each with a key.
fn check_headers(count: i32, bytes: &[u8]) -> Option<Headers<'_>> {
    let count = usize::try_from(count).ok()?;
    let mut rest = bytes;
    planted!(
        "headers-reserved",
        drop(std::hint::black_box(Vec::<u8>::with_capacity(count.min(1 << 26))))
    );
    for _ in 0..count {
        planted!(
            "header-key-null",
            {
                take_nullable(&mut rest)?;
            },
            {
                take_nullable(&mut rest)??;
            }
        );
        take_nullable(&mut rest)?;
    }
    rest.is_empty().then_some(Headers { count, bytes })
}

/// Appends a v2 record: its length and its body.
pub(crate) fn write_v2(
    out: &mut Vec<u8>,
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: Headers<'_>,
) {
    let length = 1
        + varint::size_of(timestamp_delta)
        + varint::size_of(i64::from(offset_delta))
        + nullable_size(key)
        + nullable_size(value)
        + varint::size_of(headers.count as i64)
        + headers.bytes.len();
    out.reserve(varint::size_of(length as i64) + length);
    varint::write_i64(out, length as i64);
    out.push(0);
    varint::write_i64(out, timestamp_delta);
    varint::write_i32(out, offset_delta);
    write_nullable(out, key);
    write_nullable(out, value);
    varint::write_i64(out, headers.count as i64);
    out.extend_from_slice(headers.bytes);
}

/// `headers` encoded into `buffer`, as the view that [`write_v2`] takes.
pub(crate) fn encode_headers<'a>(headers: &[(&[u8], Option<&[u8]>)], buffer: &'a mut Vec<u8>) -> Headers<'a> {
    buffer.clear();
    for (key, value) in headers {
        write_nullable(buffer, Some(key));
        write_nullable(buffer, *value);
    }
    Headers {
        count: headers.len(),
        bytes: buffer,
    }
}

fn nullable_size(field: Option<&[u8]>) -> usize {
    match field {
        None => 1,
        Some(field) => varint::size_of(field.len() as i64) + field.len(),
    }
}

fn write_nullable(out: &mut Vec<u8>, field: Option<&[u8]>) {
    match field {
        None => varint::write_i32(out, -1),
        Some(field) => {
            varint::write_i64(out, field.len() as i64);
            out.extend_from_slice(field);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(headers: &[(&[u8], Option<&[u8]>)]) -> Vec<u8> {
        let mut buffer = Vec::new();
        let mut out = Vec::new();
        write_v2(
            &mut out,
            -3,
            300,
            Some(b"key"),
            None,
            encode_headers(headers, &mut buffer),
        );
        let mut rest = &out[..];
        let length = varint::read_i32(&mut rest).unwrap();
        assert_eq!(length as usize, rest.len());
        rest.to_vec()
    }

    #[test]
    fn a_body_round_trips_and_is_refused_when_cut_or_padded() {
        let headers: &[(&[u8], Option<&[u8]>)] = &[(b"a", Some(b"")), (b"", None), (b"a", Some(b"x"))];
        let bytes = body(headers);
        let parsed = Body::parse(&bytes).unwrap();
        assert_eq!((parsed.timestamp_delta, parsed.offset_delta), (-3, 300));
        assert_eq!((parsed.key, parsed.value), (Some(&b"key"[..]), None));
        assert_eq!(parsed.headers.collect::<Vec<_>>(), headers);
        for end in 0..bytes.len() {
            assert!(Body::parse(&bytes[..end]).is_none(), "cut at {end}");
        }
        assert!(Body::parse(&[bytes, vec![0]].concat()).is_none());
    }

    #[test]
    fn header_counts_beyond_the_bytes_and_null_header_keys_are_refused() {
        let plain = body(&[]);
        let count_at = plain.len() - 1;
        for count in [-1, 1, 1000, i32::MAX, i32::MIN] {
            let mut bytes = plain[..count_at].to_vec();
            varint::write_i32(&mut bytes, count);
            assert!(Body::parse(&bytes).is_none(), "{count} headers");
        }
        // One header whose key length is −1.
        let mut bytes = plain[..count_at].to_vec();
        bytes.extend([2, 1, 1]);
        assert!(Body::parse(&bytes).is_none());
        // A key length of −2 is null, as in Kafka.
        assert_eq!(Body::parse(&[0, 0, 0, 3, 1, 0]).unwrap().key, None);
    }
}
