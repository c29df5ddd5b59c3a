//! A static member comes back (KIP-345): it takes the place of its former self under a new id.
//!
//! While the group is stable it need not rebalance for that: the new id is written, and the member is told what it
//! had. From version 9 of JoinGroup on a leader is told that it leads but is not to assign (KIP-814); before, it is told
//! that its former self leads, which has the same effect. Follows `updateStaticMemberAndRebalance`.

use super::join::refuse;
use super::member::own_protocols;
use super::state::State;
use super::{ClassicGroup, Intent, Then};
use crate::base::error_code::ErrorCode;
use crate::coordinator::Token;
use crate::group::command::{Answer, Join, JoinAnswer, SyncAnswer};
use crate::group::turn::Turn;
use crate::wire::text::Text;
use bytes::Bytes;

/// A static member that gets a new id without a rebalance, once that is in the log.
#[derive(Debug)]
pub(in crate::group) struct Replacement {
    token: Token,
    old_id: Text,
    new_id: Text,
    /// The leader before.
    leader: Text,
    /// What the member offers; the log has one of it only.
    protocols: Vec<(Text, Bytes)>,
    supports_skipping_assignment: bool,
}

impl ClassicGroup {
    /// The static member `old_id` comes back without an id.
    pub(super) fn rejoin_static(
        &mut self,
        old_id: &Text,
        join: &Join,
        token: Token,
        turn: &mut Turn<'_>,
    ) -> Option<Intent> {
        let new_id = self.new_id(join, turn);
        let before = self.members.get(old_id)?.clone();
        let leader = self.members.leader().cloned().unwrap_or_default();
        // In place: a copy of a large group for each member that comes back would take more time than there is.
        self.members.rename(old_id, new_id.clone());
        self.members.update(&new_id, join);
        if self.state == State::Stable && self.members.select_protocol() == self.protocol_name {
            let value = self.value();
            self.members.rename(&new_id, old_id.clone());
            self.members.restore(old_id, before);
            let replacement = Replacement {
                token,
                old_id: old_id.clone(),
                new_id,
                leader,
                protocols: own_protocols(&join.protocols),
                supports_skipping_assignment: join.supports_skipping_assignment,
            };
            return Some(Intent {
                value,
                then: Then::Replaced(Box::new(replacement)),
            });
        }
        self.fence(old_id, &new_id, turn);
        self.update_and_park(&new_id, join, token, turn);
        // A leader that has already been told of the old id would assign to it.
        self.maybe_prepare_rebalance(turn);
        self.advance(turn)
    }

    /// Whoever still waits under the old id is the past; the session goes on under the new one.
    fn fence(&mut self, old_id: &Text, new_id: &Text, turn: &mut Turn<'_>) {
        let error = ErrorCode::FencedInstanceId;
        if let Some(token) = self.members.take_join(new_id) {
            refuse(token, error, old_id.clone(), turn);
        }
        if let Some(token) = self.members.take_sync(new_id) {
            turn.answer(token, Answer::Sync(SyncAnswer::error(error)));
        }
        if self.pending_sync.remove(old_id) {
            self.pending_sync.insert(new_id.clone());
        }
        turn.cancel(self.session_timer(old_id));
        self.touch(new_id, turn);
    }

    /// The new id is in the log, and the group is as the log says.
    pub(super) fn replaced(&mut self, replacement: Replacement, turn: &mut Turn<'_>) {
        let Replacement {
            token,
            old_id,
            new_id,
            ..
        } = replacement;
        self.members.set_protocols(&new_id, replacement.protocols);
        self.fence(&old_id, &new_id, turn);
        let mut answer = self.joined(&new_id);
        if replacement.supports_skipping_assignment {
            answer.skip_assignment = self.members.is_leader(&new_id);
        } else {
            answer.leader = replacement.leader;
            answer.members = Vec::new();
        }
        turn.answer(token, Answer::Join(answer));
    }

    /// The new id could not be written: the member keeps the old one and is to try again.
    pub(super) fn not_replaced(&mut self, replacement: &Replacement, error: ErrorCode, turn: &mut Turn<'_>) {
        self.touch(&replacement.old_id, turn);
        let answer = JoinAnswer {
            generation_id: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            leader: replacement.leader.clone(),
            ..JoinAnswer::error(error, Text::EMPTY)
        };
        turn.answer(replacement.token, Answer::Join(answer));
    }
}
