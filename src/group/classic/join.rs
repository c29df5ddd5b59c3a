//! JoinGroup: new members, members that were handed an id, and members that join again.
//!
//! Follows `GroupCoordinator.handleJoinGroup`. One difference: where Kafka forgets the client whose JoinGroup is overtaken
//! by another one of the same member, here it is answered REBALANCE_IN_PROGRESS.

use super::member::{Member, protocols_bytes};
use super::member_id::new_member_id;
use super::state::{Phase, State};
use super::{ClassicGroup, Intent, PENDING_BYTES};
use crate::base::error_code::ErrorCode;
use crate::coordinator::Token;
use crate::group::command::{Answer, Join, JoinAnswer};
use crate::group::turn::Turn;
use crate::wire::text::Text;

/// How long the first JoinGroup of a member may wait (`NewMemberJoinTimeoutMs`).
const NEW_MEMBER_JOIN_TIMEOUT_MS: i64 = 300_000;

/// Refuses a JoinGroup.
pub(super) fn refuse(token: Token, error: ErrorCode, member_id: Text, turn: &mut Turn<'_>) {
    turn.answer(token, Answer::Join(JoinAnswer::error(error, member_id)));
}

impl ClassicGroup {
    /// True when the group would take more memory with this JoinGroup than without.
    pub fn grows_with(&self, join: &Join) -> bool {
        let offered = protocols_bytes(&join.protocols);
        self.members
            .get(&join.member_id)
            .is_none_or(|member| protocols_bytes(&member.protocols) < offered)
    }

    /// A member joins. The session timeout has been looked at.
    pub fn join(&mut self, join: &Join, token: Token, turn: &mut Turn<'_>) -> Option<Intent> {
        let id = &join.member_id;
        if !self.has_room_for(id, turn.settings.max_size) {
            self.remove_member(id, turn);
            self.remove_pending(id, turn);
            refuse(token, ErrorCode::GroupMaxSizeReached, Text::EMPTY, turn);
        } else if !self.supports(join) {
            refuse(token, ErrorCode::InconsistentGroupProtocol, id.clone(), turn);
        } else if !id.is_empty() {
            self.join_known(join, token, turn);
        } else if let Some(instance) = &join.group_instance_id {
            match self.members.with_instance(instance).cloned() {
                // It may want to write, and it never ends a join phase that is not about to end anyway.
                Some(old) => return self.rejoin_static(&old, join, token, turn),
                None => self.admit(self.new_id(join, turn), join, token, turn),
            }
        } else if join.requires_known_member_id {
            self.hand_out_id(join, token, turn);
        } else {
            self.admit(self.new_id(join, turn), join, token, turn);
        }
        self.advance(turn)
    }

    pub(super) fn new_id(&self, join: &Join, turn: &Turn<'_>) -> Text {
        new_member_id(&join.client.id, join.group_instance_id.as_deref(), turn.random)
    }

    /// `acceptJoiningMember`: a member that is in is always accepted, but in the join phase only those count that have
    /// joined, so that whoever comes late finds the group full.
    fn has_room_for(&self, member_id: &Text, max_size: usize) -> bool {
        let member = self.members.get(member_id);
        match self.state {
            State::Empty => true,
            State::PreparingRebalance(_) => {
                member.is_some_and(|member| member.awaiting_join.is_some())
                    || self.members.awaiting_join() < max_size
            }
            State::CompletingRebalance | State::Stable => member.is_some() || self.members.len() < max_size,
        }
    }

    fn supports(&self, join: &Join) -> bool {
        if self.state == State::Empty {
            return !join.protocol_type.is_empty() && !join.protocols.is_empty();
        }
        self.protocol_type.as_ref() == Some(&join.protocol_type)
            && self.members.all_support_one_of(&join.protocols)
    }

    /// A new member is given an id, to come back with (KIP-394): one that never does leaves no member behind.
    fn hand_out_id(&mut self, join: &Join, token: Token, turn: &mut Turn<'_>) {
        let id = self.new_id(join, turn);
        self.pending_bytes += PENDING_BYTES + id.as_bytes().len();
        turn.set(self.pending_timer(&id), i64::from(join.session_timeout_ms));
        self.pending.insert(id.clone());
        refuse(token, ErrorCode::MemberIdRequired, id, turn);
    }

    /// Takes in a new member and begins a rebalance.
    fn admit(&mut self, id: Text, join: &Join, token: Token, turn: &mut Turn<'_>) {
        if let State::PreparingRebalance(Phase::Initial { newcomer, .. }) = &mut self.state
            && self.generation == 0
        {
            *newcomer = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(Text::copy(&join.protocol_type));
        }
        self.remove_pending(&id, turn);
        self.members.add(id.clone(), Member::new(join));
        self.members.park_join(&id, token);
        turn.set(self.session_timer(&id), NEW_MEMBER_JOIN_TIMEOUT_MS);
        self.maybe_prepare_rebalance(turn);
    }

    /// Someone with an id joins.
    fn join_known(&mut self, join: &Join, token: Token, turn: &mut Turn<'_>) {
        let id = &join.member_id;
        if join.group_instance_id.is_none() && self.pending.contains(id) {
            return self.admit(Text::copy(id), join, token, turn);
        }
        if let Err(error) = self.check_member(id, join.group_instance_id.as_ref()) {
            return refuse(token, error, id.clone(), turn);
        }
        let Some((id, member)) = self.members.entry(id) else {
            return;
        };
        let id = id.clone();
        let same = member.offers(&join.protocols);
        let news = match self.state {
            State::Empty => return refuse(token, ErrorCode::UnknownMemberId, id, turn),
            State::PreparingRebalance(_) => true,
            // Its answer was lost on the way: it gets it again.
            State::CompletingRebalance => !same,
            // The leader joins again when it sees a reason that others cannot see: partitions were added.
            State::Stable => !same || self.members.is_leader(&id),
        };
        if !news {
            return turn.answer(token, Answer::Join(self.joined(&id)));
        }
        self.update_and_park(&id, join, token, turn);
        self.maybe_prepare_rebalance(turn);
    }

    /// A member is as `join` says now, and waits for the end of the join phase.
    pub(super) fn update_and_park(&mut self, id: &Text, join: &Join, token: Token, turn: &mut Turn<'_>) {
        self.members.update(id, join);
        if let Some(overtaken) = self.members.park_join(id, token) {
            refuse(overtaken, ErrorCode::RebalanceInProgress, id.clone(), turn);
        }
    }
}
