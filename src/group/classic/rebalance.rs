//! The rebalance: it begins, waits for JoinGroups, forms the next generation, and waits for SyncGroups.
//!
//! Follows `prepareRebalance`, `onCompleteJoin`, `DelayedJoin`, `InitialDelayedJoin` and `DelayedSync`.

use super::state::{Phase, State};
use super::{ClassicGroup, Intent, Then};
use crate::base::error_code::ErrorCode;
use crate::group::command::{Answer, JoinAnswer, JoinMember, SyncAnswer};
use crate::group::turn::Turn;
use crate::wire::text::Text;

impl ClassicGroup {
    /// Begins a rebalance, unless one has begun.
    pub(super) fn maybe_prepare_rebalance(&mut self, turn: &mut Turn<'_>) {
        if !matches!(self.state, State::PreparingRebalance(_)) {
            self.prepare_rebalance(turn);
        }
    }

    /// Begins a rebalance. SyncGroups that wait are answered REBALANCE_IN_PROGRESS.
    pub(super) fn prepare_rebalance(&mut self, turn: &mut Turn<'_>) {
        if self.state == State::CompletingRebalance {
            self.fail_assignment(ErrorCode::RebalanceInProgress, turn);
        }
        if !std::mem::take(&mut self.pending_sync).is_empty() {
            turn.cancel(self.sync_timer());
        }
        let longest_ms = self.members.rebalance_timeout_ms();
        let (phase, wait_ms) = if self.state == State::Empty {
            let delay_ms = i64::from(turn.settings.initial_rebalance_delay_ms).max(0);
            let remaining_ms = (longest_ms - delay_ms).max(0);
            let phase = Phase::Initial {
                delay_ms,
                remaining_ms,
                newcomer: false,
            };
            (phase, delay_ms)
        } else {
            (Phase::Rejoin, longest_ms)
        };
        self.enter(State::PreparingRebalance(phase), turn);
        turn.set(self.rebalance_timer(), wait_ms);
    }

    /// A member is gone: the others are to share what it had.
    pub(super) fn rebalance_without(&mut self, turn: &mut Turn<'_>) -> Option<Intent> {
        if matches!(self.state, State::CompletingRebalance | State::Stable) {
            self.prepare_rebalance(turn);
        }
        self.advance(turn)
    }

    /// Ends the join phase if nobody is awaited. Every change that may bring that about ends here.
    pub(super) fn advance(&mut self, turn: &mut Turn<'_>) -> Option<Intent> {
        let State::PreparingRebalance(phase) = self.state else {
            return None;
        };
        let complete = match phase {
            Phase::Initial { delay_ms, .. } => delay_ms == 0,
            Phase::Rejoin => self.members.awaiting_join() == self.members.len() && self.pending.is_empty(),
        };
        if complete { self.complete_join(turn) } else { None }
    }

    /// The join phase has lasted as long as it may.
    pub(super) fn join_phase_expired(&mut self, turn: &mut Turn<'_>) -> Option<Intent> {
        match self.state {
            State::PreparingRebalance(Phase::Initial {
                delay_ms,
                remaining_ms,
                newcomer: true,
            }) if remaining_ms != 0 => {
                let configured_ms = i64::from(turn.settings.initial_rebalance_delay_ms);
                let next_ms = configured_ms.min(remaining_ms);
                self.state = State::PreparingRebalance(Phase::Initial {
                    delay_ms: next_ms,
                    remaining_ms: (remaining_ms - delay_ms).max(0),
                    newcomer: false,
                });
                turn.set(self.rebalance_timer(), next_ms);
                None
            }
            State::PreparingRebalance(_) => self.complete_join(turn),
            _ => None,
        }
    }

    /// Ends the join phase with whoever is there. Static members that are not may come later.
    fn complete_join(&mut self, turn: &mut Turn<'_>) -> Option<Intent> {
        let missing = self
            .members
            .iter()
            .filter(|(_, member)| member.awaiting_join.is_none());
        let gone: Vec<Text> = missing
            .filter(|(_, member)| !member.is_static())
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            self.remove_member(&id, turn);
        }
        if self.members.is_empty() {
            turn.cancel(self.rebalance_timer());
            return Some(self.emptied(turn));
        }
        let protocol = self
            .members
            .elect_joined_leader()
            .then(|| self.members.select_protocol());
        let Some(protocol) = protocol else {
            // Nobody has come. The sessions of those that are missing end sooner or later.
            self.state = State::PreparingRebalance(Phase::Rejoin);
            turn.set(self.rebalance_timer(), self.members.rebalance_timeout_ms());
            return None;
        };
        turn.cancel(self.rebalance_timer());
        self.generation = self.next_generation();
        self.protocol_name = protocol;
        self.note_subscribed();
        self.enter(State::CompletingRebalance, turn);
        self.answer_joins(turn);
        tracing::info!(group = %self.id, generation = self.generation, members = self.members.len(), "a group has formed");
        None
    }

    fn answer_joins(&mut self, turn: &mut Turn<'_>) {
        let ids: Vec<Text> = self.members.iter().map(|(id, _)| id.clone()).collect();
        for id in ids {
            if let Some(token) = self.members.take_join(&id) {
                turn.answer(token, Answer::Join(self.joined(&id)));
            }
            self.members.settle(&id);
            self.touch(&id, turn);
            self.pending_sync.insert(id);
        }
        turn.set(self.sync_timer(), self.members.rebalance_timeout_ms());
    }

    /// The answer to a JoinGroup that makes `member_id` part of this generation; the leader is told of all members.
    pub(super) fn joined(&self, member_id: &Text) -> JoinAnswer {
        JoinAnswer {
            error: ErrorCode::None,
            generation_id: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            leader: self.members.leader().cloned().unwrap_or_default(),
            skip_assignment: false,
            member_id: member_id.clone(),
            members: if self.members.is_leader(member_id) {
                self.members_for_leader()
            } else {
                Vec::new()
            },
        }
    }

    fn members_for_leader(&self) -> Vec<JoinMember> {
        let protocol = self.protocol_name.clone().unwrap_or_default();
        let members = self.members.iter().map(|(id, member)| JoinMember {
            member_id: id.clone(),
            group_instance_id: member.group_instance_id.clone(),
            metadata: member.metadata(&protocol),
        });
        members.collect()
    }

    /// The next generation; after the last one it begins anew, since a negative one would mean "no member".
    pub(super) fn next_generation(&self) -> i32 {
        self.generation.checked_add(1).unwrap_or(1)
    }

    fn emptied(&self, turn: &Turn<'_>) -> Intent {
        tracing::info!(group = %self.id, generation = self.next_generation(), "a group is empty");
        Intent {
            value: self.empty_value(turn.now_ms),
            then: Then::Emptied,
        }
    }

    /// Not everybody sent a SyncGroup: those who did not are gone.
    pub(super) fn sync_expired(&mut self, turn: &mut Turn<'_>) -> Option<Intent> {
        if !matches!(self.state, State::CompletingRebalance | State::Stable) {
            return None;
        }
        let late: Vec<Text> = self.pending_sync.iter().cloned().collect();
        if late.is_empty() {
            return None;
        }
        for id in late {
            tracing::info!(group = %self.id, member = %id, "a member of a group did not ask for its assignment and is removed");
            self.remove_member(&id, turn);
        }
        self.rebalance_without(turn)
    }

    /// There will be no assignment in this generation: who waits for one is answered `error`.
    pub(super) fn fail_assignment(&mut self, error: ErrorCode, turn: &mut Turn<'_>) {
        self.members.clear_assignments();
        for (id, token) in self.members.take_syncs() {
            turn.answer(token, Answer::Sync(SyncAnswer::error(error)));
            self.touch(&id, turn);
        }
    }
}
