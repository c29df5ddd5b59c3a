//! [`Fields`]: takes the fields of a key or value off the bytes that the log has, and borrows them.
//!
//! Millions of them are read when a partition is loaded, and most are forgotten at once, since a later record speaks of
//! the same offset: nothing is copied before it is known to stay. Types, bounds and errors are those of
//! [`Reader`], which reads what is large and rare.

use std::borrow::Cow;

use bytes::Bytes;

use crate::wire::reader::{DecodeError, MAX_STRING_BYTES, Reader};
use crate::wire::varint;

/// What is left of a key or value.
pub(super) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    fn array_of<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(*array)
    }

    /// A 16-bit number.
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        Ok(i16::from_be_bytes(self.array_of()?))
    }

    /// A 32-bit number.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array_of()?))
    }

    /// A 64-bit number.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array_of()?))
    }

    /// A string, with a compact length when `flexible`. As in Kafka, what is not UTF-8 becomes U+FFFD.
    pub fn text(&mut self, flexible: bool) -> Result<Cow<'a, str>, DecodeError> {
        let length = if flexible {
            let (length, size) = varint::read_u32(self.0)?;
            self.0 = self.0.get(size..).unwrap_or_default();
            (length as usize).checked_sub(1).ok_or(DecodeError::Null)?
        } else {
            usize::try_from(self.i16()?).map_err(|_| DecodeError::NegativeLength)?
        };
        let split = self.0.split_at_checked(length);
        let (text, rest) = split.ok_or(DecodeError::Truncated)?;
        if length > MAX_STRING_BYTES {
            return Err(DecodeError::StringTooLong);
        }
        self.0 = rest;
        Ok(String::from_utf8_lossy(text))
    }

    /// The tagged fields at the end, which none of the versions read here knows.
    pub fn skip_tagged_fields(self) -> Result<(), DecodeError> {
        Reader::new(Bytes::copy_from_slice(self.0)).skip_tagged_fields()
    }
}
