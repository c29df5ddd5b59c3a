//! [`OffsetValue`]: a committed offset as the log has it.
//!
//! Versions 0 to 4 are read, the last one flexible. Written is 3, or 1 when the offset has an expiry of its own, which
//! no later version can say (and which then cannot say the leader epoch). Follows `OffsetCommitValue` and
//! `GroupMetadataManager.offsetCommitValue`.

use bytes::Bytes;

use super::fields::Fields;
use super::unreadable;
use crate::coordinator::ReplayError;
use crate::wire::reader::DecodeError;
use crate::wire::text::Text;
use crate::wire::writer::Writer;

const WITH_EXPIRY: i16 = 1;
const WITH_LEADER_EPOCH: i16 = 3;
const FLEXIBLE: i16 = 4;
const HIGHEST: i16 = 4;

/// A committed offset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetValue {
    /// The next offset to be read, as the client sent it.
    pub offset: i64,
    /// The leader epoch of the record before it; −1 for none.
    pub leader_epoch: i32,
    /// The client's note; empty for none.
    pub metadata: Text,
    /// When it was committed.
    pub commit_timestamp_ms: i64,
    /// When it expires, if the client said so.
    pub expire_timestamp_ms: Option<i64>,
}

impl OffsetValue {
    /// Reads a value, into memory of its own.
    ///
    /// # Errors
    /// It ends early or is of a version that is not known.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReplayError> {
        Self::read(bytes).map_err(|error| unreadable("value of an offset", error))
    }

    fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields(bytes);
        let version = fields.i16()?;
        if !(0..=HIGHEST).contains(&version) {
            return Err(DecodeError::UnsupportedVersion);
        }
        let flexible = version >= FLEXIBLE;
        let offset = fields.i64()?;
        let leader_epoch = if version >= WITH_LEADER_EPOCH {
            fields.i32()?
        } else {
            -1
        };
        let metadata = Text::copy(&fields.text(flexible)?);
        let commit_timestamp_ms = fields.i64()?;
        let expire_timestamp_ms = if version == WITH_EXPIRY {
            Some(fields.i64()?).filter(|timestamp| *timestamp != -1)
        } else {
            None
        };
        if flexible {
            fields.skip_tagged_fields()?;
        }
        Ok(Self {
            offset,
            leader_epoch,
            metadata,
            commit_timestamp_ms,
            expire_timestamp_ms,
        })
    }

    /// The value as it is written.
    pub fn encode(&self) -> Bytes {
        let fixed_bytes = if self.expire_timestamp_ms.is_some() {
            28
        } else {
            24
        };
        let mut writer = Writer::with_capacity(fixed_bytes + self.metadata.as_bytes().len());
        match self.expire_timestamp_ms {
            Some(_) => writer.i16(WITH_EXPIRY),
            None => writer.i16(WITH_LEADER_EPOCH),
        }
        writer.i64(self.offset);
        if self.expire_timestamp_ms.is_none() {
            writer.i32(self.leader_epoch);
        }
        writer.text(false, &self.metadata);
        writer.i64(self.commit_timestamp_ms);
        if let Some(timestamp) = self.expire_timestamp_ms {
            writer.i64(timestamp);
        }
        writer.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value() -> OffsetValue {
        OffsetValue {
            offset: 5,
            leader_epoch: 2,
            metadata: "note".into(),
            commit_timestamp_ms: 1000,
            expire_timestamp_ms: None,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(OffsetValue::decode(&value().encode()), Ok(value()));
        let expires = OffsetValue {
            leader_epoch: -1,
            expire_timestamp_ms: Some(2000),
            ..value()
        };
        assert_eq!(expires.encode()[..2], [0, 1]);
        assert_eq!(OffsetValue::decode(&expires.encode()), Ok(expires));
    }

    #[test]
    fn every_version_is_read() {
        let head = |version: u8| [&[0, version][..], &5i64.to_be_bytes()].concat();
        let tail = [&b"\0\x04note"[..], &1000i64.to_be_bytes()].concat();
        let plain = OffsetValue {
            leader_epoch: -1,
            ..value()
        };
        for version in [0, 2] {
            let bytes = [head(version), tail.clone()].concat();
            assert_eq!(OffsetValue::decode(&bytes), Ok(plain.clone()), "{version}");
        }
        let first = [head(1), tail.clone(), (-1i64).to_be_bytes().to_vec()].concat();
        assert_eq!(OffsetValue::decode(&first), Ok(plain));
        let flexible = [
            &head(4)[..],
            &2i32.to_be_bytes(),
            b"\x05note",
            &1000i64.to_be_bytes(),
            b"\x01\0\x03abc",
        ]
        .concat();
        assert_eq!(OffsetValue::decode(&flexible), Ok(value()));
    }

    #[test]
    fn versions_of_the_future_and_short_values_are_refused() {
        let bytes = value().encode();
        for length in 0..bytes.len() {
            assert!(OffsetValue::decode(&bytes[..length]).is_err(), "{length}");
        }
        for version in [5, 0xff] {
            let mut bytes = bytes.to_vec();
            bytes[1] = version;
            assert!(OffsetValue::decode(&bytes).is_err(), "{version}");
        }
    }
}
