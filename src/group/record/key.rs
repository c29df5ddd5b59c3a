//! [`RecordKey`]: which thing of which group a record speaks of.
//!
//! Two bytes of version, which is also the kind, then plain strings. Kinds of other protocols (3 and up) are none of the
//! classic coordinator's: they are left where they are. Follows `OffsetCommitKey` and `GroupMetadataKey`.

use std::borrow::Cow;

use bytes::Bytes;

use super::fields::Fields;
use super::unreadable;
use crate::coordinator::ReplayError;
use crate::wire::reader::DecodeError;
use crate::wire::writer::Writer;

/// The version with which offsets are written; 0 is read, and is another key to the cleaner.
const OFFSET: i16 = 1;
const OLD_OFFSET: i16 = 0;
const GROUP: i16 = 2;

/// The key of a record.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum RecordKey<'a> {
    /// An offset of a group.
    Offset {
        /// The group.
        group_id: Cow<'a, str>,
        /// The topic.
        topic: Cow<'a, str>,
        /// The partition.
        partition: i32,
    },
    /// The group and its members.
    Group {
        /// The group.
        group_id: Cow<'a, str>,
    },
}

impl<'a> RecordKey<'a> {
    /// Reads a key, without copying its names; `None` for a kind that is not known here.
    ///
    /// # Errors
    /// It ends early.
    pub fn decode(bytes: &'a [u8]) -> Result<Option<Self>, ReplayError> {
        Self::read(bytes).map_err(|error| unreadable("key", error))
    }

    fn read(bytes: &'a [u8]) -> Result<Option<Self>, DecodeError> {
        let mut fields = Fields(bytes);
        Ok(match fields.i16()? {
            OLD_OFFSET | OFFSET => Some(Self::Offset {
                group_id: fields.text(false)?,
                topic: fields.text(false)?,
                partition: fields.i32()?,
            }),
            GROUP => Some(Self::Group {
                group_id: fields.text(false)?,
            }),
            _ => None,
        })
    }

    /// The key in memory of its own.
    #[cfg(test)]
    pub fn into_owned(self) -> RecordKey<'static> {
        match self {
            Self::Offset {
                group_id,
                topic,
                partition,
            } => RecordKey::Offset {
                group_id: group_id.into_owned().into(),
                topic: topic.into_owned().into(),
                partition,
            },
            Self::Group { group_id } => RecordKey::Group {
                group_id: group_id.into_owned().into(),
            },
        }
    }

    /// The key as it is written.
    #[cfg(test)]
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Offset {
                group_id,
                topic,
                partition,
            } => offset_key(group_id, topic, *partition),
            Self::Group { group_id } => group_key(group_id),
        }
    }
}

/// The key of an offset as it is written.
pub fn offset_key(group_id: &str, topic: &str, partition: i32) -> Bytes {
    let mut writer = Writer::with_capacity(10 + group_id.len() + topic.len());
    writer.i16(OFFSET);
    writer.text(false, group_id);
    writer.text(false, topic);
    writer.i32(partition);
    writer.freeze()
}

/// The key of a group as it is written.
pub fn group_key(group_id: &str) -> Bytes {
    let mut writer = Writer::with_capacity(4 + group_id.len());
    writer.i16(GROUP);
    writer.text(false, group_id);
    writer.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_an_offsets_key_are_read() {
        let key = offset_key("g", "t", 7);
        assert_eq!(&key[..], b"\0\x01\0\x01g\0\x01t\0\0\0\x07");
        let mut old = key.to_vec();
        old[1] = 0;
        assert_eq!(RecordKey::decode(&old), RecordKey::decode(&key));
        assert!(RecordKey::decode(&old).unwrap().is_some());
    }

    #[test]
    fn other_kinds_are_skipped_and_short_keys_refused() {
        assert_eq!(RecordKey::decode(b"\0\x03\0\x01g"), Ok(None));
        assert_eq!(RecordKey::decode(b"\xff\xff"), Ok(None));
        for short in [
            &b""[..],
            b"\0",
            b"\0\x02",
            b"\0\x02\0\x05abc",
            b"\0\x01\0\0\0\0\0\0\0",
        ] {
            assert!(RecordKey::decode(short).is_err(), "{short:?}");
        }
    }
}
