//! SyncGroup: the leader hands in the assignment, everybody gets his part (`GroupCoordinator.handleSyncGroup`).

use std::collections::BTreeMap;

use bytes::Bytes;

use super::state::State;
use super::{ClassicGroup, Intent, Then};
use crate::base::error_code::ErrorCode;
use crate::coordinator::Token;
use crate::group::command::{Answer, Sync, SyncAnswer};
use crate::group::turn::Turn;
use crate::wire::text::Text;

impl ClassicGroup {
    /// A member asks for its assignment; the leader brings everybody's.
    pub fn sync(&mut self, sync: &Sync, token: Token, turn: &mut Turn<'_>) -> Option<Intent> {
        if let Err(error) = self.check_sync(sync) {
            turn.answer(token, Answer::Sync(SyncAnswer::error(error)));
            return None;
        }
        let id = &sync.member_id;
        self.synced(id, turn);
        if self.state == State::Stable {
            let answer = Answer::Sync(self.assigned(id));
            match self.unreplicated_assignment(turn.replicated_below) {
                // Whoever asked before it was written waits for the same.
                Some(at) => turn.answer_behind(at, token, answer),
                None => turn.answer(token, answer),
            }
            self.touch(id, turn);
            return None;
        }
        if let Some(overtaken) = self.members.park_sync(id, token) {
            let answer = SyncAnswer::error(ErrorCode::RebalanceInProgress);
            turn.answer(overtaken, Answer::Sync(answer));
        }
        if !self.members.is_leader(id) {
            return None;
        }
        let assignments: BTreeMap<&Text, &Bytes> =
            sync.assignments.iter().map(|(id, part)| (id, part)).collect();
        Some(Intent {
            value: self.value_assigning(&assignments),
            then: Then::Assigned,
        })
    }

    fn check_sync(&self, sync: &Sync) -> Result<(), ErrorCode> {
        let instance = sync.group_instance_id.as_ref();
        self.check_generation(sync.generation_id, &sync.member_id, instance)?;
        let is_ours = |named: &Option<Text>, ours: &Option<Text>| named.is_none() || named == ours;
        if !is_ours(&sync.protocol_type, &self.protocol_type)
            || !is_ours(&sync.protocol_name, &self.protocol_name)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match self.state {
            State::Empty => Err(ErrorCode::UnknownMemberId),
            State::PreparingRebalance(_) => Err(ErrorCode::RebalanceInProgress),
            State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    pub(super) fn assigned(&self, member_id: &Text) -> SyncAnswer {
        SyncAnswer {
            error: ErrorCode::None,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            assignment: self
                .members
                .get(member_id)
                .map_or_else(Bytes::new, |member| member.assignment.clone()),
        }
    }
}
