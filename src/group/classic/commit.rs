//! Who may commit offsets to a group (`GroupCoordinator.validateOffsetCommit`, `doCommitOffsets`).

use super::ClassicGroup;
use super::state::State;
use crate::base::error_code::ErrorCode;
use crate::group::turn::Turn;
use crate::wire::text::Text;

impl ClassicGroup {
    /// May the member, or somebody who is none, commit offsets? A member's session begins anew.
    ///
    /// # Errors
    /// What the commit is answered.
    pub fn check_commit(
        &self,
        generation: i32,
        member_id: &Text,
        instance: Option<&Text>,
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        // Neither an administrator nor a consumer that assigns itself is a member, and neither may disturb members.
        if generation < 0 && self.state == State::Empty {
            return Ok(());
        }
        if generation < 0 && member_id.is_empty() && instance.is_none() {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.check_generation(generation, member_id, instance)?;
        if self.state == State::CompletingRebalance {
            return Err(ErrorCode::RebalanceInProgress);
        }
        self.touch(member_id, turn);
        Ok(())
    }
}
