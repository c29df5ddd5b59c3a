//! [`GroupValue`]: a group with its members and what they were assigned, as the log has it.
//!
//! Versions 0 to 4 are read, the last one flexible; written is 3. Follows `GroupMetadataValue`,
//! `GroupMetadataManager.groupMetadataValue` and `readGroupMessageValue`.

use bytes::Bytes;

use super::unreadable;
use crate::coordinator::ReplayError;
use crate::wire::reader::{DecodeError, Reader};
use crate::wire::text::Text;
use crate::wire::writer::Writer;

const WITH_REBALANCE_TIMEOUT: i16 = 1;
const WITH_STATE_TIMESTAMP: i16 = 2;
const WITH_INSTANCE_ID: i16 = 3;
const WRITTEN: i16 = 3;
const FLEXIBLE: i16 = 4;
const HIGHEST: i16 = 4;

/// A group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupValue {
    /// Its protocol type; empty for none.
    pub protocol_type: Text,
    /// Its generation.
    pub generation: i32,
    /// The protocol that was chosen; `None` for a group without members.
    pub protocol: Option<Text>,
    /// The member id of its leader.
    pub leader: Option<Text>,
    /// Since when it is in its state; −1 when that is not known.
    pub current_state_timestamp_ms: i64,
    /// Its members.
    pub members: Vec<MemberValue>,
}

/// A member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberValue {
    /// Its id.
    pub member_id: Text,
    /// Its id as a static member.
    pub group_instance_id: Option<Text>,
    /// Its client id.
    pub client_id: Text,
    /// Where it joined from, as Java writes addresses: `/127.0.0.1`.
    pub client_host: Text,
    /// How long it may take to rejoin.
    pub rebalance_timeout_ms: i32,
    /// The member is taken for dead when it is silent for longer.
    pub session_timeout_ms: i32,
    /// Its metadata for the protocol that was chosen.
    pub subscription: Bytes,
    /// What it was assigned.
    pub assignment: Bytes,
}

impl GroupValue {
    /// Reads a value, into memory of its own.
    ///
    /// # Errors
    /// It ends early or is of a version that is not known.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReplayError> {
        Self::read(bytes).map_err(|error| unreadable("value of a group", error))
    }

    fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(Bytes::copy_from_slice(bytes));
        let version = reader.i16()?;
        if !(0..=HIGHEST).contains(&version) {
            return Err(DecodeError::UnsupportedVersion);
        }
        let flexible = version >= FLEXIBLE;
        let value = Self {
            protocol_type: reader.text(flexible)?,
            generation: reader.i32()?,
            protocol: reader.nullable_text(flexible, true)?,
            leader: reader.nullable_text(flexible, true)?,
            current_state_timestamp_ms: if version >= WITH_STATE_TIMESTAMP {
                reader.i64()?
            } else {
                -1
            },
            members: reader.array(flexible, |reader| MemberValue::read(reader, version))?,
        };
        if flexible {
            reader.skip_tagged_fields()?;
        }
        Ok(value)
    }

    /// The value as it is written.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new();
        writer.i16(WRITTEN);
        writer.text(false, &self.protocol_type);
        writer.i32(self.generation);
        writer.nullable_text(false, true, self.protocol.as_deref());
        writer.nullable_text(false, true, self.leader.as_deref());
        writer.i64(self.current_state_timestamp_ms);
        writer.array(false, &self.members, |writer, member| member.write(writer));
        writer.freeze()
    }
}

impl MemberValue {
    fn read(reader: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let flexible = version >= FLEXIBLE;
        let member_id = reader.text(flexible)?;
        let group_instance_id = if version >= WITH_INSTANCE_ID {
            reader.nullable_text(flexible, true)?
        } else {
            None
        };
        let client_id = reader.text(flexible)?;
        let client_host = reader.text(flexible)?;
        let rebalance_timeout_ms = if version >= WITH_REBALANCE_TIMEOUT {
            Some(reader.i32()?)
        } else {
            None
        };
        let session_timeout_ms = reader.i32()?;
        let member = Self {
            member_id,
            group_instance_id,
            client_id,
            client_host,
            rebalance_timeout_ms: rebalance_timeout_ms.unwrap_or(session_timeout_ms),
            session_timeout_ms,
            subscription: reader.bytes(flexible)?,
            assignment: reader.bytes(flexible)?,
        };
        if flexible {
            reader.skip_tagged_fields()?;
        }
        Ok(member)
    }

    fn write(&self, writer: &mut Writer) {
        writer.text(false, &self.member_id);
        writer.nullable_text(false, true, self.group_instance_id.as_deref());
        writer.text(false, &self.client_id);
        writer.text(false, &self.client_host);
        writer.i32(self.rebalance_timeout_ms);
        writer.i32(self.session_timeout_ms);
        writer.bytes(false, &self.subscription);
        writer.bytes(false, &self.assignment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value() -> GroupValue {
        GroupValue {
            protocol_type: "consumer".into(),
            generation: 3,
            protocol: Some("range".into()),
            leader: Some("m".into()),
            current_state_timestamp_ms: 77,
            members: vec![MemberValue {
                member_id: "m".into(),
                group_instance_id: Some("i".into()),
                client_id: "c".into(),
                client_host: "/::1".into(),
                rebalance_timeout_ms: 9,
                session_timeout_ms: 8,
                subscription: Bytes::from_static(b"s"),
                assignment: Bytes::from_static(b"a"),
            }],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(GroupValue::decode(&value().encode()), Ok(value()));
        let empty = GroupValue {
            protocol: None,
            leader: None,
            members: Vec::new(),
            ..value()
        };
        assert_eq!(GroupValue::decode(&empty.encode()), Ok(empty));
    }

    #[test]
    fn version_0_has_one_timeout_for_both() {
        let bytes = b"\0\0\0\x08consumer\0\0\0\x03\0\x05range\0\x01m\0\0\0\x01\0\x01m\0\x01c\0\x04/::1\0\0\0\x08\0\0\0\x01s\0\0\0\x01a";
        let mut expected = value();
        expected.current_state_timestamp_ms = -1;
        expected.members[0].group_instance_id = None;
        expected.members[0].rebalance_timeout_ms = 8;
        assert_eq!(GroupValue::decode(bytes), Ok(expected));
    }

    #[test]
    fn the_flexible_version_is_read() {
        let bytes = b"\0\x04\x09consumer\0\0\0\x03\x06range\x02m\0\0\0\0\0\0\0\x4d\x02\x02m\x02i\x02c\x05/::1\0\0\0\x09\0\0\0\x08\x02s\x02a\0\x01\x07\x01x";
        assert_eq!(GroupValue::decode(bytes), Ok(value()));
    }

    #[test]
    fn short_values_and_counts_that_lie_are_refused() {
        let bytes = value().encode();
        for length in 0..bytes.len() {
            assert!(GroupValue::decode(&bytes[..length]).is_err(), "{length}");
        }
        let at = 2 + 10 + 4 + 7 + 3 + 8;
        let mut lies = bytes.to_vec();
        lies[at..at + 4].copy_from_slice(&i32::MAX.to_be_bytes());
        assert!(GroupValue::decode(&lies).is_err());
    }
}
