//! [`Reader`]: takes the protocol's types off a frame.
//!
//! Invariant: no length or count is believed before the bytes it speaks of are there, and nothing is reserved beyond
//! what remains of the frame. Bytes and texts are slices of the frame, not copies. Called by the generated messages
//! and the headers.

use crate::base::planted::planted;
use std::fmt;
use std::mem::size_of;

use bytes::Bytes;

use crate::base::ids::Uuid;
use crate::wire::text::Text;

/// The longest string of the protocol in bytes; compact strings could be longer but may not (as in Kafka).
pub const MAX_STRING_BYTES: usize = 0x7fff;

/// How many tagged fields one structure may carry. The protocol has no bound, and every unknown one costs its sender
/// two bytes only; no message of Kafka has more than a dozen.
pub const MAX_TAGGED_FIELDS: u32 = 256;

/// Why bytes are no frame of the kind they should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// The bytes end before the value does.
    Truncated,
    /// A length or count is negative where null is not allowed, or below −1.
    NegativeLength,
    /// Null where this version allows none.
    Null,
    /// A variable-length number that is longer than its type, or has bits beyond it.
    Varint,
    /// A string above [`MAX_STRING_BYTES`].
    StringTooLong,
    /// More than [`MAX_TAGGED_FIELDS`] in one structure.
    TooManyTaggedFields,
    /// A known tagged field whose announced size is not its size.
    TaggedFieldSize,
    /// A version that this API does not have.
    UnsupportedVersion,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "ends early",
            Self::NegativeLength => "negative length",
            Self::Null => "null where it is not allowed",
            Self::Varint => "malformed variable-length number",
            Self::StringTooLong => "string longer than 32767 bytes",
            Self::TooManyTaggedFields => "too many tagged fields",
            Self::TaggedFieldSize => "tagged field of another size than announced",
            Self::UnsupportedVersion => "unsupported version",
        })
    }
}

impl std::error::Error for DecodeError {}

/// A position in a frame.
#[derive(Clone, Debug)]
pub struct Reader {
    bytes: Bytes,
    position: usize,
}

macro_rules! fixed {
    ($($(#[$doc:meta])* $name:ident: $number:ty;)*) => {
        $(
            $(#[$doc])*
            #[inline]
            pub fn $name(&mut self) -> Result<$number, DecodeError> {
                Ok(<$number>::from_be_bytes(self.array_of()?))
            }
        )*
    };
}

impl Reader {
    /// Reads `bytes` from their beginning.
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, position: 0 }
    }

    /// How many bytes have been read.
    pub fn position(&self) -> usize {
        self.position
    }

    /// How many bytes are left.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.position)
    }

    /// What is left, as a slice of the frame.
    pub fn rest(self) -> Bytes {
        let mut bytes = self.bytes;
        bytes.split_off(self.position.min(bytes.len()))
    }

    #[inline]
    fn array_of<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let bytes = self
            .bytes
            .get(self.position..)
            .and_then(|rest| rest.first_chunk::<N>());
        let array = *bytes.ok_or(DecodeError::Truncated)?;
        self.position += N;
        Ok(array)
    }

    /// The next `length` bytes, as a slice of the frame.
    #[inline]
    pub fn take(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if length > planted!("reader-one-too-many", self.remaining() + 1, self.remaining()) {
            return Err(DecodeError::Truncated);
        }
        let taken = self.bytes.slice(self.position..self.position + length);
        self.position += length;
        Ok(taken)
    }

    fixed! {
        /// A signed byte.
        i8: i8;
        /// A 16-bit number.
        i16: i16;
        /// An unsigned 16-bit number.
        u16: u16;
        /// A 32-bit number.
        i32: i32;
        /// An unsigned 32-bit number.
        u32: u32;
        /// A 64-bit number.
        i64: i64;
        /// A double.
        f64: f64;
    }

    /// A boolean: any byte but 0 is true.
    #[inline]
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? != 0)
    }

    /// A UUID.
    #[inline]
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        Ok(Uuid(self.array_of()?))
    }

    /// An unsigned number of variable length, at most 5 bytes and 32 bits.
    #[inline]
    pub fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let (number, length) = crate::wire::varint::read_u32(rest)?;
        self.position += length;
        Ok(number)
    }

    /// The length of a nullable value: `None` for null.
    fn nullable_length(&mut self, flexible: bool, short: bool) -> Result<Option<usize>, DecodeError> {
        if flexible {
            return Ok((self.unsigned_varint()? as usize).checked_sub(1));
        }
        let length = if short {
            i32::from(self.i16()?)
        } else {
            self.i32()?
        };
        match length {
            -1 => Ok(None),
            length => usize::try_from(length)
                .map(Some)
                .map_err(|_| DecodeError::NegativeLength),
        }
    }

    fn length(&mut self, flexible: bool, short: bool, nullable: bool) -> Result<Option<usize>, DecodeError> {
        let length = self.nullable_length(flexible, short)?;
        match length {
            None if nullable => Ok(None),
            None if flexible => Err(DecodeError::Null),
            None => Err(DecodeError::NegativeLength),
            Some(length) if length > self.remaining() => Err(DecodeError::Truncated),
            some => Ok(some),
        }
    }

    /// A string, with a compact length when `flexible`; null is allowed when `nullable`.
    pub fn nullable_text(&mut self, flexible: bool, nullable: bool) -> Result<Option<Text>, DecodeError> {
        match self.length(flexible, true, nullable)? {
            None => Ok(None),
            Some(length) if length > MAX_STRING_BYTES => Err(DecodeError::StringTooLong),
            Some(length) => Ok(Some(Text::from_bytes(self.take(length)?))),
        }
    }

    /// A string, with a compact length when `flexible`.
    pub fn text(&mut self, flexible: bool) -> Result<Text, DecodeError> {
        self.nullable_text(flexible, false)?.ok_or(DecodeError::Null)
    }

    /// Bytes or records, with a compact length when `flexible`; null is allowed when `nullable`.
    pub fn nullable_bytes(&mut self, flexible: bool, nullable: bool) -> Result<Option<Bytes>, DecodeError> {
        match self.length(flexible, false, nullable)? {
            None => Ok(None),
            Some(length) => self.take(length).map(Some),
        }
    }

    /// Bytes or records, with a compact length when `flexible`.
    pub fn bytes(&mut self, flexible: bool) -> Result<Bytes, DecodeError> {
        self.nullable_bytes(flexible, false)?.ok_or(DecodeError::Null)
    }

    /// An array of what `element` reads; null is allowed when `nullable`.
    ///
    /// Every element has at least one byte, so a count above what remains is an error at once; and memory is reserved
    /// for as many elements as fit into as much memory as remains, for the rest it grows while they come.
    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        nullable: bool,
        mut element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.length(flexible, false, nullable)? else {
            return Ok(None);
        };
        let affordable = self.remaining() / size_of::<T>().max(1) + 1;
        let mut array = Vec::with_capacity(count.min(affordable));
        for _ in 0..count {
            array.push(element(self)?);
        }
        Ok(Some(array))
    }

    /// An array of what `element` reads.
    pub fn array<T>(
        &mut self,
        flexible: bool,
        element: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        self.nullable_array(flexible, false, element)?
            .ok_or(DecodeError::Null)
    }

    /// A structure behind a byte that says whether it is there.
    pub fn nullable_struct<T>(
        &mut self,
        nullable: bool,
        body: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        if self.i8()? >= 0 {
            return body(self).map(Some);
        }
        if nullable {
            Ok(None)
        } else {
            Err(DecodeError::Null)
        }
    }

    /// The tagged fields that end a structure of a flexible version.
    pub fn tagged_fields(&mut self) -> Result<TaggedFields, DecodeError> {
        let count = self.unsigned_varint()?;
        if count > MAX_TAGGED_FIELDS {
            return Err(DecodeError::TooManyTaggedFields);
        }
        Ok(TaggedFields { left: count })
    }

    /// Reads tagged fields of which none is known.
    pub fn skip_tagged_fields(&mut self) -> Result<(), DecodeError> {
        let mut fields = self.tagged_fields()?;
        while fields.next(self)?.is_some() {}
        Ok(())
    }

    /// Ends a tagged field: it must have been read whole.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.remaining() == 0 {
            Ok(())
        } else {
            Err(DecodeError::TaggedFieldSize)
        }
    }
}

/// What is left of a structure's tagged fields.
#[derive(Debug)]
pub struct TaggedFields {
    left: u32,
}

impl TaggedFields {
    /// The next field: its tag, and a reader of just its bytes.
    pub fn next(&mut self, reader: &mut Reader) -> Result<Option<(u32, Reader)>, DecodeError> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        let tag = reader.unsigned_varint()?;
        let size = reader.unsigned_varint()? as usize;
        Ok(Some((tag, Reader::new(reader.take(size)?))))
    }
}
