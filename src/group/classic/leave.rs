//! LeaveGroup: members go, or an administrator has them go (`GroupCoordinator.handleLeaveGroup`).

use super::{ClassicGroup, Intent};
use crate::base::error_code::ErrorCode;
use crate::coordinator::Token;
use crate::group::command::{Answer, Leave, LeaveAnswer, LeaveMember};
use crate::group::turn::Turn;
use crate::wire::text::Text;

impl ClassicGroup {
    /// Members leave, all of them before the group looks at what is left.
    pub fn leave(&mut self, leave: Leave, token: Token, turn: &mut Turn<'_>) -> Option<Intent> {
        let mut members = Vec::with_capacity(leave.members.len());
        let before = self.members.len();
        for leaving in leave.members {
            let error = self.leave_one(&leaving, turn).err().unwrap_or(ErrorCode::None);
            members.push((leaving, error));
        }
        let answer = LeaveAnswer {
            error: ErrorCode::None,
            members,
        };
        turn.answer(token, Answer::Leave(answer));
        if self.members.len() < before {
            self.rebalance_without(turn)
        } else {
            self.advance(turn)
        }
    }

    fn leave_one(&mut self, leaving: &LeaveMember, turn: &mut Turn<'_>) -> Result<(), ErrorCode> {
        let instance = leaving.group_instance_id.as_ref();
        let id: Text = if leaving.member_id.is_empty() {
            // An administrator knows the instance only.
            let current = instance.and_then(|instance| self.members.with_instance(instance));
            current.cloned().ok_or(ErrorCode::UnknownMemberId)?
        } else {
            leaving.member_id.clone()
        };
        if self.remove_pending(&id, turn) {
            return Ok(());
        }
        self.check_member(&id, instance)?;
        tracing::info!(
            group = %self.id,
            member = %id,
            reason = leaving.reason.as_deref().unwrap_or("not given"),
            "a member leaves its group"
        );
        self.remove_member(&id, turn);
        Ok(())
    }
}
