//! Groups of the classic protocol (JoinGroup, SyncGroup, Heartbeat, LeaveGroup), without their offsets.
//!
//! Invariant of a [`ClassicGroup`]: a JoinGroup waits only while the join phase lasts, a SyncGroup only until the leader's is in
//! the log; each is answered exactly once. Generation, leader, members and assignments as the log has them change in
//! [`ClassicGroup::load`] alone, except that what a rebalance in progress has changed is not in the log before it ends.
//! Assignments that the replicas do not have yet are told nobody.
//! Called by the shard; follows `GroupCoordinator` and `GroupMetadata` of Kafka 3.9.

mod commit;
mod describe;
mod heartbeat;
mod join;
mod leave;
mod member;
mod member_id;
mod members;
mod rebalance;
mod record;
pub mod state;
mod static_member;
mod subscription;
mod sync;
mod timers;

#[cfg(test)]
mod members_test;

use std::collections::BTreeSet;

pub(in crate::group) use self::describe::{describe_without_members, list_without_members};
use self::members::Members;
use self::state::{Phase, State};
use self::static_member::Replacement;
use crate::base::error_code::ErrorCode;
use crate::base::ids::Offset;
use crate::coordinator::Token;
use crate::group::command::{Answer, JoinAnswer, SyncAnswer};
use crate::group::record::GroupValue;
use crate::group::timer::GroupTimer;
use crate::group::turn::Turn;
use crate::wire::text::Text;

/// Roughly what a group takes beside its members and ids.
const OVERHEAD_BYTES: usize = 512;
/// Roughly what a member id takes that nobody has come back with, beside its text.
const PENDING_BYTES: usize = 256;

/// A group of the classic protocol.
#[derive(Clone, Debug)]
pub(in crate::group) struct ClassicGroup {
    id: Text,
    state: State,
    /// Since when it is in this state; `None` for a group from an old record that does not say.
    state_since_ms: Option<i64>,
    generation: i32,
    /// The log has a record of it, or would have if that could have been written.
    recorded: bool,
    /// Where its last record is, if the replicas did not have it when it was written.
    unreplicated_at: Option<Offset>,
    /// The same of the record with the assignments of this generation.
    assigned_at: Option<Offset>,
    /// Kept while the group is empty.
    protocol_type: Option<Text>,
    /// The protocol of this generation.
    protocol_name: Option<Text>,
    members: Members,
    /// Member ids that were handed out (KIP-394).
    pending: BTreeSet<Text>,
    pending_bytes: usize,
    /// Members that have not sent the SyncGroup of this generation.
    pending_sync: BTreeSet<Text>,
    /// The topics that the members of the last generation subscribed to; `None` when nobody can tell.
    subscribed: Option<Box<[Text]>>,
    subscribed_bytes: usize,
}

/// A record that a group wants to have in the log before it goes on.
#[derive(Debug)]
pub(in crate::group) struct Intent {
    /// The group as the record says it.
    pub value: GroupValue,
    /// What the record is for.
    pub then: Then,
}

/// What goes on once the record is in the log.
#[derive(Debug)]
pub(in crate::group) enum Then {
    /// The members get their assignments.
    Assigned,
    /// Nothing: everybody has left.
    Emptied,
    /// A static member that came back is answered.
    Replaced(Box<Replacement>),
}

impl ClassicGroup {
    /// An empty group.
    pub fn new(id: Text, now_ms: i64) -> Self {
        Self {
            id,
            state: State::Empty,
            state_since_ms: Some(now_ms),
            generation: 0,
            recorded: false,
            unreplicated_at: None,
            assigned_at: None,
            protocol_type: None,
            protocol_name: None,
            members: Members::default(),
            pending: BTreeSet::new(),
            pending_bytes: 0,
            pending_sync: BTreeSet::new(),
            subscribed: None,
            subscribed_bytes: 0,
        }
    }

    /// True when forgetting the group loses nothing: it has no record and nobody in it.
    pub fn is_vacant(&self) -> bool {
        self.state == State::Empty && !self.recorded && self.pending.is_empty()
    }

    /// Bytes of memory, roughly.
    pub fn bytes(&self) -> usize {
        OVERHEAD_BYTES + self.members.bytes() + self.pending_bytes + self.subscribed_bytes
    }

    /// True when it has no members and no rebalance goes on.
    pub fn is_empty(&self) -> bool {
        self.state == State::Empty
    }

    /// True when the log has a record of it, or may have.
    pub fn is_recorded(&self) -> bool {
        self.recorded
    }

    /// True when member ids were handed out and are awaited.
    pub fn has_pending_members(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Forgets the member ids that were handed out.
    pub fn forget_pending_members(&mut self, turn: &mut Turn<'_>) {
        for member_id in std::mem::take(&mut self.pending) {
            turn.cancel(self.pending_timer(&member_id));
        }
        self.pending_bytes = 0;
    }

    /// The group was read from the log, whole: timers begin.
    pub fn loaded(&mut self, turn: &mut Turn<'_>) {
        self.note_subscribed();
        if self.members.len() > turn.settings.max_size {
            self.prepare_rebalance(turn);
        }
        for (member_id, member) in self.members.iter() {
            turn.set(
                self.session_timer(member_id),
                i64::from(member.session_timeout_ms),
            );
        }
    }

    /// Nobody could be heard for a while: whoever must give a sign of life has all his time again.
    pub fn resumed(&self, turn: &mut Turn<'_>) {
        // New members cannot send heartbeats, and their time is long.
        for (member_id, member) in self.members.iter().filter(|(_, member)| !member.is_new) {
            turn.set(
                self.session_timer(member_id),
                i64::from(member.session_timeout_ms),
            );
        }
        if self.state == State::PreparingRebalance(Phase::Rejoin) {
            turn.set(self.rebalance_timer(), self.members.rebalance_timeout_ms());
        }
        if !self.pending_sync.is_empty() {
            turn.set(self.sync_timer(), self.members.rebalance_timeout_ms());
        }
    }

    /// Where the record with this generation's assignments is, if it is not replicated yet.
    fn unreplicated_assignment(&self, replicated_below: Offset) -> Option<Offset> {
        self.assigned_at.filter(|at| *at >= replicated_below)
    }

    /// The group goes away with its shard: the clients that wait in it.
    pub fn unload(&mut self) -> Vec<(Token, Answer)> {
        let error = ErrorCode::NotCoordinator;
        let members: Vec<Text> = self.members.iter().map(|(id, _)| id.clone()).collect();
        let mut answers = Vec::new();
        for id in members {
            if let Some(token) = self.members.take_join(&id) {
                answers.push((token, Answer::Join(JoinAnswer::error(error, id.clone()))));
            }
            if let Some(token) = self.members.take_sync(&id) {
                answers.push((token, Answer::Sync(SyncAnswer::error(error))));
            }
        }
        answers
    }

    fn enter(&mut self, state: State, turn: &Turn<'_>) {
        self.state = state;
        self.state_since_ms = Some(turn.now_ms);
    }

    fn session_timer(&self, member_id: &Text) -> GroupTimer {
        GroupTimer::Session {
            group_id: self.id.clone(),
            member_id: member_id.clone(),
        }
    }

    fn pending_timer(&self, member_id: &Text) -> GroupTimer {
        GroupTimer::PendingMember {
            group_id: self.id.clone(),
            member_id: member_id.clone(),
        }
    }

    fn rebalance_timer(&self) -> GroupTimer {
        GroupTimer::Rebalance {
            group_id: self.id.clone(),
        }
    }

    fn sync_timer(&self) -> GroupTimer {
        GroupTimer::Sync {
            group_id: self.id.clone(),
        }
    }

    /// A member gave a sign of life, or does not need to for now: its session begins anew.
    fn touch(&self, member_id: &Text, turn: &mut Turn<'_>) {
        if let Some((id, member)) = self.members.entry(member_id) {
            turn.set(self.session_timer(id), i64::from(member.session_timeout_ms));
        }
    }

    /// Takes out a member; what it waits for is answered UNKNOWN_MEMBER_ID, with no id, so that it joins as a new one.
    fn remove_member(&mut self, member_id: &Text, turn: &mut Turn<'_>) {
        let Some(id) = self.members.entry(member_id).map(|(id, _)| id.clone()) else {
            return;
        };
        if let Some(token) = self.members.take_join(&id) {
            let answer = JoinAnswer::error(ErrorCode::UnknownMemberId, Text::EMPTY);
            turn.answer(token, Answer::Join(answer));
        }
        if let Some(token) = self.members.take_sync(&id) {
            let answer = SyncAnswer::error(ErrorCode::UnknownMemberId);
            turn.answer(token, Answer::Sync(answer));
        }
        self.members.remove(&id);
        turn.cancel(self.session_timer(&id));
        self.synced(&id, turn);
    }

    /// Takes out a member id that was handed out.
    fn remove_pending(&mut self, member_id: &Text, turn: &mut Turn<'_>) -> bool {
        let Some(id) = self.pending.take(member_id) else {
            return false;
        };
        self.pending_bytes = self
            .pending_bytes
            .saturating_sub(PENDING_BYTES + id.as_bytes().len());
        turn.cancel(self.pending_timer(&id));
        true
    }

    /// A member's SyncGroup is not awaited any more.
    fn synced(&mut self, member_id: &Text, turn: &mut Turn<'_>) {
        if self.pending_sync.remove(member_id) && self.pending_sync.is_empty() {
            turn.cancel(self.sync_timer());
        }
    }
}
