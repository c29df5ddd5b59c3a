//! The commands of members: finds the group, lets it decide, and turns what it wants to be written into a record.

use super::{Decision, GroupShard, What, done, is_too_long};
use crate::base::error_code::ErrorCode;
use crate::coordinator::{Effects, NewRecord, Step, Token};
use crate::group::classic::{ClassicGroup, Intent, describe_without_members, list_without_members};
use crate::group::command::{
    Answer, Described, Heartbeat, Join, JoinAnswer, Leave, LeaveAnswer, Listed, Sync, SyncAnswer,
};
use crate::group::record::key::group_key;
use crate::group::turn::Turn;
use crate::wire::text::Text;

impl GroupShard {
    pub(super) fn join(&mut self, join: &Join, token: Token, now_ms: i64) -> Step<Self> {
        let refuse = |error| {
            done(
                token,
                Answer::Join(JoinAnswer::error(error, join.member_id.clone())),
            )
        };
        let names = join.protocols.iter().map(|(name, _)| name);
        if names
            .chain(&join.group_instance_id)
            .chain([&join.protocol_type])
            .any(is_too_long)
        {
            return refuse(ErrorCode::InvalidRequest);
        }
        let bounds = self.settings.min_session_timeout_ms..=self.settings.max_session_timeout_ms;
        if !bounds.contains(&join.session_timeout_ms) {
            return refuse(ErrorCode::InvalidSessionTimeout);
        }
        let group = self.groups.get(&join.group_id);
        let exists = group.is_some() || self.offsets.contains(&join.group_id);
        if !exists && !join.member_id.is_empty() {
            return refuse(ErrorCode::UnknownMemberId);
        }
        if self.is_full() && group.is_none_or(|group| group.grows_with(join)) {
            return refuse(ErrorCode::CoordinatorNotAvailable);
        }
        if group.is_none() {
            let id = Text::copy(&join.group_id);
            let group = ClassicGroup::new(id.clone(), now_ms);
            self.group_bytes += group.bytes();
            self.groups.insert(id, group);
        }
        self.with_group(&join.group_id, now_ms, |group, turn| {
            group.join(join, token, turn)
        })
    }

    pub(super) fn sync(&mut self, sync: &Sync, token: Token, now_ms: i64) -> Step<Self> {
        if !self.groups.contains_key(&sync.group_id) {
            return done(token, Answer::Sync(SyncAnswer::error(ErrorCode::UnknownMemberId)));
        }
        self.with_group(&sync.group_id, now_ms, |group, turn| {
            group.sync(sync, token, turn)
        })
    }

    pub(super) fn heartbeat(&mut self, heartbeat: &Heartbeat, token: Token, now_ms: i64) -> Step<Self> {
        let Some(group) = self.groups.get_mut(&heartbeat.group_id) else {
            return done(token, Answer::Heartbeat(ErrorCode::UnknownMemberId));
        };
        let mut turn = Turn::new(&self.settings, &self.random, self.replicated_below, now_ms);
        let error = group.heartbeat(heartbeat, &mut turn);
        turn.answer(token, Answer::Heartbeat(error));
        Step::Done(turn.effects)
    }

    pub(super) fn leave(&mut self, leave: Leave, token: Token, now_ms: i64) -> Step<Self> {
        if !self.groups.contains_key(&leave.group_id) {
            let unknown = |member| (member, ErrorCode::UnknownMemberId);
            let answer = LeaveAnswer {
                error: ErrorCode::None,
                members: leave.members.into_iter().map(unknown).collect(),
            };
            return done(token, Answer::Leave(answer));
        }
        let group_id = leave.group_id.clone();
        self.with_group(&group_id, now_ms, |group, turn| group.leave(leave, token, turn))
    }

    pub(super) fn describe(&self, group_id: Text) -> Described {
        match self.groups.get(&group_id) {
            Some(group) => group.describe(self.replicated_below),
            None => {
                let exists = self.offsets.contains(&group_id);
                describe_without_members(group_id, exists)
            }
        }
    }

    pub(super) fn list(&self) -> Vec<Listed> {
        let without_members = self
            .offsets
            .group_ids()
            .filter(|id| !self.groups.contains_key(*id))
            .map(Text::copy);
        self.groups
            .values()
            .map(|group| group.list(self.replicated_below))
            .chain(without_members.map(list_without_members))
            .collect()
    }

    /// A group decides; what it wants to be written becomes a record. Does nothing when there is no such group.
    pub(super) fn with_group(
        &mut self,
        group_id: &Text,
        now_ms: i64,
        decide: impl FnOnce(&mut ClassicGroup, &mut Turn<'_>) -> Option<Intent>,
    ) -> Step<Self> {
        let mut intent = None;
        let effects = self.change_group(group_id, Effects::default(), now_ms, |group, turn| {
            intent = decide(group, turn);
        });
        let Some(intent) = intent else {
            return Step::Done(effects);
        };
        let record = NewRecord {
            key: group_key(group_id),
            value: Some(intent.value.encode()),
        };
        let what = What::Group {
            group_id: Text::copy(group_id),
            intent,
        };
        Step::Write {
            records: vec![record],
            decision: Decision { what, effects },
        }
    }

    /// Lets `change` have a group, with what it comes to added to `effects`; counts its memory, and forgets it if it is
    /// worth nothing.
    pub(super) fn change_group(
        &mut self,
        group_id: &Text,
        effects: Effects<Self>,
        now_ms: i64,
        change: impl FnOnce(&mut ClassicGroup, &mut Turn<'_>),
    ) -> Effects<Self> {
        let Some(group) = self.groups.get_mut(group_id) else {
            return effects;
        };
        let mut turn = Turn::new(&self.settings, &self.random, self.replicated_below, now_ms);
        turn.effects = effects;
        let before = group.bytes();
        change(group, &mut turn);
        let after = group.bytes();
        let effects = turn.effects;
        let vacant = group.is_vacant();
        self.group_bytes = (self.group_bytes + after).saturating_sub(before);
        if vacant {
            self.forget_group(group_id);
        }
        effects
    }

    /// A group is not kept any longer.
    pub(super) fn forget_group(&mut self, group_id: &str) {
        if let Some(group) = self.groups.remove(group_id) {
            self.group_bytes = self.group_bytes.saturating_sub(group.bytes());
        }
    }
}
