//! [`GroupShard`]: the state machine of one partition of `__consumer_offsets`.
//!
//! Invariant: groups and offsets that the log has change in replay.rs only. A group that has neither a record nor anybody
//! in it is not kept. The memory of all shards is counted, and when there is too much of it nothing new is taken in. Driven by
//! coordinator/; what each command does is in classic/ and offsets/, this room finds the group and turns what they
//! want to be written into records.

mod groups;
mod offsets;
mod removal;
mod replay;
mod tombstones;

#[cfg(test)]
mod commit_test;
#[cfg(test)]
mod golden_test;
#[cfg(test)]
mod join_test;
#[cfg(test)]
mod model_test;
#[cfg(test)]
mod rebalance_test;
#[cfg(test)]
mod removal_test;
#[cfg(test)]
mod replicated_test;
#[cfg(test)]
mod static_test;

use std::collections::BTreeMap;

use self::removal::{Gone, Planned, Removal, Removals};
use super::classic::{ClassicGroup, Intent};
use super::command::{
    Answer, Command, CommitAnswer, DeleteOffsetsAnswer, Described, FetchAnswer, JoinAnswer, LeaveAnswer,
    SyncAnswer,
};
use super::error::{of_group_append, of_offset_append};
use super::memory::{Memory, Share};
use super::offsets::OffsetTable;
use super::settings::GroupSettings;
use super::timer::GroupTimer;
use super::turn::Turn;
use crate::base::error_code::ErrorCode;
use crate::base::ids::Offset;
use crate::base::random::Random;
use crate::coordinator::{Effects, EndedTransaction, Producer, ReplayError, Replayed, Shard, Step, Token};
use crate::wire::reader::MAX_STRING_BYTES;
use crate::wire::text::Text;

/// The groups of one partition of `__consumer_offsets`, and their offsets.
pub struct GroupShard {
    settings: GroupSettings,
    random: Random,
    share: Share,
    groups: BTreeMap<Text, ClassicGroup>,
    /// What the groups take, without their offsets.
    group_bytes: usize,
    offsets: OffsetTable,
    removals: Removals,
    gone: Gone,
    /// The high watermark, as it was told last: while anything was above it.
    replicated_below: Offset,
}

/// What goes with records on their way into the log.
pub struct Decision {
    what: What,
    /// What holds in any case.
    effects: Effects<GroupShard>,
}

enum What {
    /// A record of a group.
    Group { group_id: Text, intent: Intent },
    /// Offsets; the client is answered these errors.
    Commit { token: Token, errors: Vec<ErrorCode> },
    /// Tombstones of the removal at hand.
    Removal(Planned),
}

impl GroupShard {
    /// A shard that has read nothing yet.
    pub fn new(settings: GroupSettings, random: Random, memory: &Memory) -> Self {
        Self {
            settings,
            random,
            share: memory.share(),
            groups: BTreeMap::new(),
            group_bytes: 0,
            offsets: OffsetTable::default(),
            removals: Removals::default(),
            gone: Gone::default(),
            replicated_below: Offset(0),
        }
    }

    fn turn(&self, now_ms: i64) -> Turn<'_> {
        Turn::new(&self.settings, &self.random, self.replicated_below, now_ms)
    }

    /// True when nothing new is to be taken in.
    fn is_full(&self) -> bool {
        self.share
            .is_above(self.settings.max_bytes, self.settings.granted_bytes)
    }

    /// Lets the other shards know what this one takes.
    fn count_memory(&mut self) {
        self.share.count(self.memory_bytes());
    }
}

impl Shard for GroupShard {
    type Command = Command;
    type Answer = Answer;
    type Timer = GroupTimer;
    type Decision = Decision;

    fn replay(&mut self, record: &Replayed<'_>) -> Result<(), ReplayError> {
        let replayed = self.replay_record(record);
        self.count_memory();
        replayed
    }

    fn replay_marker(&mut self, ended: EndedTransaction) {
        self.offsets.end_transaction(&ended);
    }

    fn replicated(&mut self, below: Offset) {
        self.replicated_below = below;
        self.offsets.replicated(below);
    }

    fn resumed(&mut self, now_ms: i64) -> Effects<Self> {
        let mut turn = self.turn(now_ms);
        for group in self.groups.values() {
            group.resumed(&mut turn);
        }
        turn.effects
    }

    fn may_write(command: &Command) -> bool {
        // A member whose heartbeats are taken keeps its place, whatever becomes of what it commits.
        !matches!(
            command,
            Command::Heartbeat(_) | Command::Fetch(_) | Command::Describe(_) | Command::List
        )
    }

    fn loaded(&mut self, now_ms: i64) -> Step<Self> {
        let mut turn = Turn::new(&self.settings, &self.random, self.replicated_below, now_ms);
        for group in self.groups.values_mut() {
            let before = group.bytes();
            group.loaded(&mut turn);
            self.group_bytes = (self.group_bytes + group.bytes()).saturating_sub(before);
        }
        let effects = turn.effects;
        self.count_memory();
        Step::Done(effects)
    }

    fn step(&mut self, command: Command, token: Token, now_ms: i64) -> Step<Self> {
        self.count_memory();
        if has_invalid_group_id(&command) {
            return done(token, Self::unavailable(&command, ErrorCode::InvalidGroupId));
        }
        match command {
            Command::Join(join) => self.join(&join, token, now_ms),
            Command::Sync(sync) => self.sync(&sync, token, now_ms),
            Command::Heartbeat(heartbeat) => self.heartbeat(&heartbeat, token, now_ms),
            Command::Leave(leave) => self.leave(leave, token, now_ms),
            Command::Commit(commit) => self.commit(&commit, token, now_ms),
            Command::Fetch(fetch) => done(token, Answer::Fetch(self.fetch(&fetch))),
            Command::Describe(group_id) => done(token, Answer::Describe(self.describe(group_id))),
            Command::List => done(token, Answer::List(self.list())),
            Command::Delete(groups) => self.remove(Removal::groups(token, groups), now_ms),
            Command::DeleteOffsets(delete) => self.delete_offsets(delete, token, now_ms),
            Command::TopicsDeleted(topics) => self.delete_topics(topics, token, now_ms),
            Command::Expire => self.expire(token, now_ms),
        }
    }

    fn fire(&mut self, timer: GroupTimer, now_ms: i64) -> Step<Self> {
        match &timer {
            GroupTimer::Removals => self.run_removals(Effects::default(), now_ms),
            GroupTimer::Session { group_id, .. }
            | GroupTimer::PendingMember { group_id, .. }
            | GroupTimer::Rebalance { group_id }
            | GroupTimer::Sync { group_id } => {
                self.with_group(group_id, now_ms, |group, turn| group.fire(&timer, turn))
            }
        }
    }

    fn written(&mut self, decision: Decision, now_ms: i64) -> Effects<Self> {
        let Decision { what, mut effects } = decision;
        match what {
            What::Group { group_id, intent } => {
                return self.change_group(&group_id, effects, now_ms, |group, turn| {
                    group.written(intent.then, turn);
                });
            }
            What::Commit { token, errors } => {
                effects
                    .answers
                    .push((token, Answer::Commit(CommitAnswer { errors })));
            }
            What::Removal(planned) => {
                self.removal_written(planned.finished, &mut effects, now_ms);
            }
        }
        effects
    }

    fn refused(&mut self, decision: Decision, error: ErrorCode, now_ms: i64) -> Effects<Self> {
        let Decision { what, mut effects } = decision;
        match what {
            What::Group { group_id, intent } => {
                return self.change_group(&group_id, effects, now_ms, |group, turn| {
                    group.refused(intent, error, turn);
                });
            }
            What::Commit { token, errors } => {
                let answer = Answer::Commit(CommitAnswer { errors });
                effects.answers.push((token, Self::not_replicated(answer, error)));
            }
            What::Removal(planned) => self.removal_refused(planned, error, &mut effects, now_ms),
        }
        effects
    }

    fn not_replicated(answer: Answer, error: ErrorCode) -> Answer {
        match answer {
            Answer::Commit(CommitAnswer { errors }) => {
                let code = of_offset_append(error);
                let replaced = errors
                    .into_iter()
                    .map(|own| if own.is_none() { code } else { own });
                Answer::Commit(CommitAnswer {
                    errors: replaced.collect(),
                })
            }
            Answer::Sync(sync) if sync.error.is_none() => {
                Answer::Sync(SyncAnswer::error(of_group_append(error)))
            }
            Answer::Join(join) if join.error.is_none() => {
                Answer::Join(JoinAnswer::error(of_group_append(error), Text::EMPTY))
            }
            // Kafka does not wait for the replicas before it gives the others.
            answer => answer,
        }
    }

    fn unload(&mut self) -> Vec<(Token, Answer)> {
        let mut answers = self.removals.unload();
        for group in self.groups.values_mut() {
            answers.extend(group.unload());
        }
        answers
    }

    fn unavailable(command: &Command, error: ErrorCode) -> Answer {
        let error = if has_invalid_group_id(command) {
            ErrorCode::InvalidGroupId
        } else {
            error
        };
        let loading = error == ErrorCode::CoordinatorLoadInProgress;
        match command {
            Command::Join(join) => Answer::Join(JoinAnswer::error(error, join.member_id.clone())),
            // The rebalance that this belongs to is lost, and old clients do not expect to be told of loading.
            Command::Sync(_) if loading => Answer::Sync(SyncAnswer::error(ErrorCode::RebalanceInProgress)),
            Command::Sync(_) => Answer::Sync(SyncAnswer::error(error)),
            Command::Heartbeat(_) if loading => Answer::Heartbeat(ErrorCode::None),
            Command::Heartbeat(_) => Answer::Heartbeat(error),
            Command::Leave(_) => Answer::Leave(LeaveAnswer {
                error,
                members: Vec::new(),
            }),
            Command::Commit(commit) => Answer::Commit(CommitAnswer {
                errors: vec![error; commit.offsets.len()],
            }),
            Command::Fetch(_) => Answer::Fetch(FetchAnswer {
                error,
                topics: Vec::new(),
            }),
            Command::Describe(group_id) => Answer::Describe(Described {
                error,
                error_message: None,
                group_id: group_id.clone(),
                state: "",
                protocol_type: Text::EMPTY,
                protocol: Text::EMPTY,
                members: Vec::new(),
            }),
            Command::List => Answer::List(Vec::new()),
            Command::Delete(groups) => {
                Answer::Delete(groups.iter().map(|group| (group.clone(), error)).collect())
            }
            Command::DeleteOffsets(_) => Answer::DeleteOffsets(DeleteOffsetsAnswer {
                error,
                topics: Vec::new(),
            }),
            Command::TopicsDeleted(_) => Answer::TopicsDeleted(error),
            Command::Expire => Answer::Done,
        }
    }

    fn producer(decision: &Decision) -> Producer {
        match decision.what {
            // As Kafka writes them: no producer, and yet a sequence.
            What::Commit { .. } => Producer {
                base_sequence: 0,
                ..Producer::default()
            },
            What::Group { .. } | What::Removal(_) => Producer::default(),
        }
    }

    fn memory_bytes(&self) -> usize {
        self.group_bytes + self.offsets.bytes()
    }
}

/// An answer and nothing else.
fn done(token: Token, answer: Answer) -> Step<GroupShard> {
    Step::Done(Effects::answer(token, answer))
}

/// A name that is longer than a string of the protocol may be (which what is no UTF-8 becomes when it is mended) would be
/// another one in the log.
fn is_too_long(name: &Text) -> bool {
    name.as_bytes().len() > MAX_STRING_BYTES
}

/// Only offsets may belong to the group with the empty name, so only they and what an administrator does with them may
/// name it (`GroupCoordinator.isValidGroupId`).
fn has_invalid_group_id(command: &Command) -> bool {
    let (group_id, may_be_empty) = match command {
        Command::Join(join) => (&join.group_id, false),
        Command::Sync(sync) => (&sync.group_id, false),
        Command::Heartbeat(heartbeat) => (&heartbeat.group_id, false),
        Command::Leave(leave) => (&leave.group_id, false),
        Command::DeleteOffsets(delete) => (&delete.group_id, false),
        Command::Commit(commit) => (&commit.group_id, true),
        Command::Fetch(fetch) => (&fetch.group_id, true),
        Command::Describe(_)
        | Command::List
        | Command::Delete(_)
        | Command::TopicsDeleted(_)
        | Command::Expire => return false,
    };
    group_id.is_empty() && !may_be_empty || is_too_long(group_id)
}
