//! The walk along a frame that must pass before it is decoded.

use crate::base::planted::planted;
use std::mem::size_of;

use bytes::Bytes;

use super::{Field, Footprint, Kind, ShapeError, Struct, table};
use crate::wire::api_key::ApiKey;
use crate::wire::reader::{DecodeError, MAX_STRING_BYTES, MAX_TAGGED_FIELDS};
use crate::wire::text::Text;
use crate::wire::varint;

/// What a text that had to be mended takes beside its bytes: the least buffer that grows, and its count of references.
const MENDED_TEXT_BYTES: usize = 8 + 3 * size_of::<usize>();

/// Walks the body of a request or response of `key` in `version`: every length and count against the bytes that are
/// there, null only where it is allowed, tagged fields counted. Allocates nothing.
///
/// A body that passes can be decoded. One of an API that has no messages here, or in a version that is not among
/// [`ApiKey::stable_versions`], is an error.
pub fn check(key: ApiKey, version: i16, is_request: bool, body: &[u8]) -> Result<Footprint, ShapeError> {
    let body_shape = table::shape(key, is_request).ok_or(DecodeError::UnsupportedVersion)?;
    if !key.stable_versions().contains(&version) {
        return Err(DecodeError::UnsupportedVersion);
    }
    let mut walk = Walk {
        rest: body,
        version,
        flexible: key.is_flexible(version),
        decoded: 0,
        numbers: 0,
    };
    walk.charge(body_shape.size, 1);
    walk.structure(body_shape)?;
    Ok(Footprint {
        decoded_bytes: walk.decoded,
        numbers: walk.numbers,
        length: body.len().saturating_sub(walk.rest.len()),
    })
}

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    decoded: usize,
    numbers: usize,
}

impl Walk<'_> {
    fn charge(&mut self, size: usize, count: usize) {
        self.decoded = self.decoded.saturating_add(size.saturating_mul(count));
    }

    fn take(&mut self, length: usize) -> Result<&[u8], ShapeError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array_of<const N: usize>(&mut self) -> Result<[u8; N], ShapeError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn unsigned_varint(&mut self) -> Result<u32, ShapeError> {
        let (number, length) = varint::read_u32(self.rest)?;
        self.take(length)?;
        Ok(number)
    }

    /// A length or count, checked against what remains; `None` for null where that is allowed.
    fn length(&mut self, short: bool, nullable: bool) -> Result<Option<usize>, ShapeError> {
        let length = if self.flexible {
            i64::from(self.unsigned_varint()?) - 1
        } else if short {
            i16::from_be_bytes(self.array_of()?).into()
        } else {
            i32::from_be_bytes(self.array_of()?).into()
        };
        match usize::try_from(length) {
            Ok(length) if length > self.rest.len() => Err(DecodeError::Truncated),
            Ok(length) => Ok(Some(length)),
            Err(_) if length == -1 && nullable => Ok(None),
            Err(_) if self.flexible => Err(DecodeError::Null),
            Err(_) => Err(DecodeError::NegativeLength),
        }
    }

    fn structure(&mut self, structure: &'static Struct) -> Result<(), ShapeError> {
        for field in structure.fields {
            if field.tag < 0 && field.is_in(self.version) {
                self.kind(&field.kind, field.is_nullable_in(self.version))?;
            }
        }
        if self.flexible {
            self.tagged_fields(structure)?;
        }
        Ok(())
    }

    fn tagged_fields(&mut self, structure: &'static Struct) -> Result<(), ShapeError> {
        let count = self.unsigned_varint()?;
        if count > MAX_TAGGED_FIELDS {
            return Err(DecodeError::TooManyTaggedFields);
        }
        for _ in 0..count {
            let tag = self.unsigned_varint()?;
            let size = self.unsigned_varint()? as usize;
            let (inner, rest) = self.rest.split_at_checked(size).ok_or(DecodeError::Truncated)?;
            let is_it = |field: &&Field| u32::try_from(field.tag) == Ok(tag) && field.is_in(self.version);
            if let Some(field) = structure.fields.iter().find(is_it) {
                self.rest = inner;
                self.kind(&field.kind, field.is_nullable_in(self.version))?;
                if planted!("walk-tagged-size", false, !self.rest.is_empty()) {
                    return Err(DecodeError::TaggedFieldSize);
                }
            }
            self.rest = rest;
        }
        Ok(())
    }

    fn kind(&mut self, kind: &'static Kind, nullable: bool) -> Result<(), ShapeError> {
        match kind {
            Kind::Bool => self.take(1).map(drop),
            Kind::Fixed(size) => self.take(usize::from(*size)).map(drop),
            Kind::Text => self.text(nullable),
            Kind::Bytes | Kind::Records => {
                let length = planted!(
                    "walk-null-anywhere",
                    self.length(false, true)?,
                    self.length(false, nullable)?
                );
                self.take(length.unwrap_or(0)).map(drop)
            }
            Kind::Array(element) => self.array(element, nullable),
            Kind::Struct(structure) => {
                // Only a structure that may be null has a byte before it; in all versions it may be, or in none.
                if nullable && i8::from_be_bytes(self.array_of()?) < 0 {
                    return Ok(());
                }
                self.structure(structure)
            }
        }
    }

    fn text(&mut self, nullable: bool) -> Result<(), ShapeError> {
        let length = self.length(true, nullable)?.unwrap_or(0);
        if length > MAX_STRING_BYTES {
            return Err(DecodeError::StringTooLong);
        }
        let is_utf8 = std::str::from_utf8(self.take(length)?).is_ok();
        if !is_utf8 {
            // Text::from_bytes puts three bytes for each that is none, into a buffer that may double, and counts who
            // shares it in memory of its own.
            let bytes = length.saturating_mul(6).saturating_add(MENDED_TEXT_BYTES);
            self.charge(planted!("walk-mended-text-free", 0, bytes), 1);
        }
        Ok(())
    }

    fn array(&mut self, element: &'static Kind, nullable: bool) -> Result<(), ShapeError> {
        let Some(count) = self.length(false, nullable)? else {
            return Ok(());
        };
        let size = element.decoded_size();
        // The reader reserves what is within the bytes that remain; beyond that its vector doubles.
        let reserved = count <= self.rest.len() / size.max(1) + 1;
        self.charge(size, if reserved { count } else { count.saturating_mul(2) });
        if let Kind::Fixed(size) = element {
            self.numbers = self.numbers.saturating_add(count);
            return self.take(count.saturating_mul(usize::from(*size))).map(drop);
        }
        for _ in 0..count {
            self.kind(element, false)?;
        }
        Ok(())
    }
}

impl Kind {
    /// What one of the kind takes in memory as an element of an array.
    fn decoded_size(&self) -> usize {
        match self {
            Self::Bool => 1,
            Self::Fixed(size) => usize::from(*size),
            Self::Text => size_of::<Text>(),
            Self::Bytes | Self::Records => size_of::<Bytes>(),
            Self::Array(_) => size_of::<Vec<u8>>(),
            Self::Struct(structure) => structure.size,
        }
    }
}
