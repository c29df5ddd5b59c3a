//! A group to its record and back, and what goes on when the record is in the log, or cannot be.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::state::State;
use super::{ClassicGroup, Intent, Then};
use crate::base::error_code::ErrorCode;
use crate::base::ids::Offset;
use crate::group::command::Answer;
use crate::group::error::of_group_append;
use crate::group::record::{GroupValue, MemberValue};
use crate::group::turn::Turn;
use crate::wire::text::Text;

impl ClassicGroup {
    /// The group becomes what the log says. Whoever waits goes on waiting.
    pub fn load(&mut self, value: GroupValue) {
        self.protocol_type = Some(value.protocol_type).filter(|name| !name.is_empty());
        self.generation = value.generation;
        self.recorded = true;
        self.members
            .load(value.members, value.protocol.as_ref(), value.leader);
        self.protocol_name = value.protocol;
        self.state_since_ms = Some(value.current_state_timestamp_ms).filter(|timestamp| *timestamp != -1);
        self.state = if self.members.is_empty() {
            self.note_subscribed();
            State::Empty
        } else {
            State::Stable
        };
    }

    /// Where the record is that was just loaded, if it is not replicated yet.
    pub fn recorded_at(&mut self, unreplicated_at: Option<Offset>) {
        self.unreplicated_at = unreplicated_at;
    }

    /// The record of this generation.
    pub(super) fn value(&self) -> GroupValue {
        let protocol = self.protocol_name.clone().unwrap_or_default();
        let values = self.members.iter().map(|(id, member)| MemberValue {
            member_id: id.clone(),
            group_instance_id: member.group_instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            subscription: member.metadata(&protocol),
            assignment: member.assignment.clone(),
        });
        GroupValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol_name.clone(),
            leader: self.members.leader().cloned(),
            current_state_timestamp_ms: self.state_since_ms.unwrap_or(-1),
            members: values.collect(),
        }
    }

    /// The record of this generation with the leader's assignment; whom it does not name gets nothing.
    pub(super) fn value_assigning(&self, assignments: &BTreeMap<&Text, &Bytes>) -> GroupValue {
        let mut value = self.value();
        for member in &mut value.members {
            let part = assignments.get(&member.member_id);
            member.assignment = part.map_or_else(Bytes::new, |part| Bytes::copy_from_slice(part));
        }
        value
    }

    /// The record of a generation without members.
    pub(super) fn empty_value(&self, now_ms: i64) -> GroupValue {
        GroupValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.next_generation(),
            protocol: None,
            leader: None,
            current_state_timestamp_ms: now_ms,
            members: Vec::new(),
        }
    }

    /// The record of `intent` is in the log, and the group is as the log says.
    pub fn written(&mut self, then: Then, turn: &mut Turn<'_>) {
        match then {
            Then::Emptied => {}
            Then::Replaced(replacement) => self.replaced(*replacement, turn),
            Then::Assigned => {
                self.assigned_at = self.unreplicated_at;
                for (id, token) in self.members.take_syncs() {
                    turn.answer(token, Answer::Sync(self.assigned(&id)));
                    // Its session may have ended while it waited, which was overlooked.
                    self.touch(&id, turn);
                }
            }
        }
    }

    /// The record of `intent` could not be written; `error` is a code of the log.
    pub fn refused(&mut self, intent: Intent, error: ErrorCode, turn: &mut Turn<'_>) {
        let error = of_group_append(error);
        match intent.then {
            // Without the record the generation before comes back if the broker fails now; its members are gone and
            // their sessions end.
            Then::Emptied => self.load(intent.value),
            Then::Replaced(replacement) => self.not_replaced(&replacement, error, turn),
            Then::Assigned => {
                self.fail_assignment(error, turn);
                self.prepare_rebalance(turn);
            }
        }
    }
}
