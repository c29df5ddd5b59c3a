//! [`Member`]: one member of a group.

use bytes::Bytes;

use crate::coordinator::Token;
use crate::group::command::Join;
use crate::group::record::MemberValue;
use crate::wire::reader::MAX_STRING_BYTES;
use crate::wire::text::Text;

/// Roughly what a member takes beside its texts and bytes: the maps' entries and its timer.
const OVERHEAD_BYTES: usize = 512;

/// One member. Its memory is its own: nothing of a request is kept alive.
#[derive(Clone, Debug)]
pub(in crate::group) struct Member {
    /// The id of a static member.
    pub group_instance_id: Option<Text>,
    pub client_id: Text,
    /// As Java writes an address: `/127.0.0.1`.
    pub client_host: Text,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    /// The protocols that it offers, best first, with its metadata for each.
    pub protocols: Vec<(Text, Bytes)>,
    /// What the leader gave it.
    pub assignment: Bytes,
    /// Its JoinGroup that waits for the end of the join phase.
    pub awaiting_join: Option<Token>,
    /// Its SyncGroup that waits for the leader's.
    pub awaiting_sync: Option<Token>,
    /// It has not been part of a generation yet: it may not even know its id, so it cannot send heartbeats.
    pub is_new: bool,
}

/// Protocols in memory of their own.
pub(in crate::group) fn own_protocols(protocols: &[(Text, Bytes)]) -> Vec<(Text, Bytes)> {
    protocols
        .iter()
        .map(|(name, metadata)| (Text::copy(name), Bytes::copy_from_slice(metadata)))
        .collect()
}

/// How many bytes protocols take.
pub(in crate::group) fn protocols_bytes(protocols: &[(Text, Bytes)]) -> usize {
    let each = |(name, metadata): &(Text, Bytes)| name.as_bytes().len() + metadata.len() + 64;
    protocols.iter().map(each).sum()
}

/// As much of `text` as a string of the protocol may be. What was no UTF-8 has grown when it was mended.
fn within_bounds(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_STRING_BYTES))
        .unwrap_or_default()
}

impl Member {
    /// The member that `join` asks for; nothing waits yet.
    pub fn new(join: &Join) -> Self {
        Self {
            group_instance_id: join.group_instance_id.as_deref().map(Text::copy),
            client_id: Text::copy(within_bounds(&join.client.id)),
            client_host: Text::copy(&join.client.host),
            rebalance_timeout_ms: join.rebalance_timeout_ms,
            session_timeout_ms: join.session_timeout_ms,
            protocols: own_protocols(&join.protocols),
            assignment: Bytes::new(),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: true,
        }
    }

    /// The member that the log has: of its protocols only the one that was chosen.
    pub fn load(value: MemberValue, protocol: Option<&Text>) -> Self {
        Self {
            group_instance_id: value.group_instance_id,
            client_id: value.client_id,
            client_host: value.client_host,
            rebalance_timeout_ms: value.rebalance_timeout_ms,
            session_timeout_ms: value.session_timeout_ms,
            protocols: protocol
                .map(|name| (name.clone(), value.subscription))
                .into_iter()
                .collect(),
            assignment: value.assignment,
            awaiting_join: None,
            awaiting_sync: None,
            is_new: false,
        }
    }

    /// True when the log's `value` says nothing new but the assignment.
    pub fn is_recorded_as(&self, value: &MemberValue, protocol: Option<&Text>) -> bool {
        self.group_instance_id == value.group_instance_id
            && self.client_id == value.client_id
            && self.client_host == value.client_host
            && self.rebalance_timeout_ms == value.rebalance_timeout_ms
            && self.session_timeout_ms == value.session_timeout_ms
            && protocol.is_some_and(|name| self.metadata(name) == value.subscription)
    }

    /// True for a static member (KIP-345).
    pub fn is_static(&self) -> bool {
        self.group_instance_id.is_some()
    }

    /// Its metadata for `protocol`; empty when it does not offer it.
    pub fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols
            .iter()
            .find(|(name, _)| *name == *protocol)
            .map_or_else(Bytes::new, |(_, metadata)| metadata.clone())
    }

    /// True when it offers exactly these protocols, with the same metadata and in the same order.
    pub fn offers(&self, protocols: &[(Text, Bytes)]) -> bool {
        self.protocols == protocols
    }

    /// Bytes of memory, roughly.
    pub fn bytes(&self) -> usize {
        OVERHEAD_BYTES
            + self
                .group_instance_id
                .as_ref()
                .map_or(0, |id| id.as_bytes().len())
            + self.client_id.as_bytes().len()
            + self.client_host.as_bytes().len()
            + protocols_bytes(&self.protocols)
            + self.assignment.len()
    }
}
