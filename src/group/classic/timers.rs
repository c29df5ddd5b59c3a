//! What happens when a group's timer fires (`GroupCoordinator.onExpireHeartbeat` and the expiry of its delayed operations).

use super::{ClassicGroup, Intent};
use crate::group::timer::GroupTimer;
use crate::group::turn::Turn;
use crate::wire::text::Text;

impl ClassicGroup {
    /// A timer fires.
    pub fn fire(&mut self, timer: &GroupTimer, turn: &mut Turn<'_>) -> Option<Intent> {
        match timer {
            GroupTimer::Session { member_id, .. } => self.session_expired(member_id, turn),
            GroupTimer::PendingMember { member_id, .. } => {
                self.remove_pending(member_id, turn);
                self.advance(turn)
            }
            GroupTimer::Rebalance { .. } => self.join_phase_expired(turn),
            GroupTimer::Sync { .. } => self.sync_expired(turn),
            GroupTimer::Removals => None,
        }
    }

    fn session_expired(&mut self, member_id: &Text, turn: &mut Turn<'_>) -> Option<Intent> {
        let member = self.members.get(member_id)?;
        // Who waits for an answer cannot send heartbeats, and is alive as far as anybody knows. A new member is given up
        // even so: it may have lost its connection and joined anew under another id (`NewMemberJoinTimeoutMs`).
        if !member.is_new && (member.awaiting_join.is_some() || member.awaiting_sync.is_some()) {
            return None;
        }
        tracing::info!(group = %self.id, member = %member_id, "a member of a group is silent and is removed");
        self.remove_member(member_id, turn);
        self.rebalance_without(turn)
    }
}
