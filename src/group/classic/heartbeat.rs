//! Heartbeats, and the check that every request of a member passes (`GroupCoordinator.handleHeartbeat`,
//! `validateCurrentMember`).

use super::ClassicGroup;
use super::state::State;
use crate::base::error_code::ErrorCode;
use crate::group::command::Heartbeat;
use crate::group::turn::Turn;
use crate::wire::text::Text;

impl ClassicGroup {
    /// Sees to it that the member is in the group, and is the one that its instance id stands for.
    pub(super) fn check_member(&self, member_id: &Text, instance: Option<&Text>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            match self.members.with_instance(instance) {
                Some(current) if current != member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
                None => return Err(ErrorCode::UnknownMemberId),
            }
        }
        if self.members.contains(member_id) {
            Ok(())
        } else {
            Err(ErrorCode::UnknownMemberId)
        }
    }

    /// The same, and the generation must be this one.
    pub(super) fn check_generation(
        &self,
        generation: i32,
        member_id: &Text,
        instance: Option<&Text>,
    ) -> Result<(), ErrorCode> {
        self.check_member(member_id, instance)?;
        if generation == self.generation {
            Ok(())
        } else {
            Err(ErrorCode::IllegalGeneration)
        }
    }

    /// The answer to a heartbeat; REBALANCE_IN_PROGRESS makes the member join again.
    pub fn heartbeat(&mut self, heartbeat: &Heartbeat, turn: &mut Turn<'_>) -> ErrorCode {
        let instance = heartbeat.group_instance_id.as_ref();
        if let Err(error) = self.check_generation(heartbeat.generation_id, &heartbeat.member_id, instance) {
            return error;
        }
        let answer = match self.state {
            State::Empty => return ErrorCode::UnknownMemberId,
            State::PreparingRebalance(_) => ErrorCode::RebalanceInProgress,
            // A member may send heartbeats as soon as it has its answer to JoinGroup.
            State::CompletingRebalance | State::Stable => ErrorCode::None,
        };
        self.touch(&heartbeat.member_id, turn);
        answer
    }
}
