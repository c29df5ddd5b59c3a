//! OffsetCommit: may this client commit, and what is written.

use super::{Decision, GroupShard, What, done};
use crate::base::error_code::ErrorCode;
use crate::coordinator::{Effects, Step, Token};
use crate::group::command::{Answer, Commit, CommitAnswer, FetchAnswer, FetchOffsets};
use crate::group::offsets::{Committed, commit};

impl GroupShard {
    pub(super) fn fetch(&self, fetch: &FetchOffsets) -> FetchAnswer {
        let gone = |topic: &str, committed: &Committed| self.gone.has(topic, committed);
        self.offsets.fetch(fetch, gone)
    }

    pub(super) fn commit(&mut self, commit: &Commit, token: Token, now_ms: i64) -> Step<Self> {
        let effects = match self.check_commit(commit, now_ms) {
            Ok(effects) => effects,
            Err(error) => {
                let errors = vec![error; commit.offsets.len()];
                return done(token, Answer::Commit(CommitAnswer { errors }));
            }
        };
        let (records, errors) = commit::records(commit, &self.settings, now_ms);
        if records.is_empty() {
            let mut effects = effects;
            effects
                .answers
                .push((token, Answer::Commit(CommitAnswer { errors })));
            return Step::Done(effects);
        }
        Step::Write {
            records,
            decision: Decision {
                what: What::Commit { token, errors },
                effects,
            },
        }
    }

    /// Answers the timers that begin anew.
    fn check_commit(&self, commit: &Commit, now_ms: i64) -> Result<Effects<Self>, ErrorCode> {
        let mut turn = self.turn(now_ms);
        let instance = commit.group_instance_id.as_ref();
        match self.groups.get(&commit.group_id) {
            Some(group) => {
                group.check_commit(commit.generation_id, &commit.member_id, instance, &mut turn)?;
            }
            // Not a group that members ever joined: whoever is no member may commit.
            None if commit.generation_id < 0 => {}
            None if self.offsets.contains(&commit.group_id) => return Err(ErrorCode::UnknownMemberId),
            None => return Err(ErrorCode::IllegalGeneration),
        }
        // Commits that are not replicated are kept beside those that are, one after the other.
        let waits = self.offsets.unreplicated_bytes() > self.settings.max_unreplicated_bytes;
        if waits || self.is_full() && self.offsets.grows_with(commit) {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        Ok(turn.effects)
    }
}
