//! Removals: DeleteGroups, OffsetDelete, deleted topics and expiry, all of which write tombstones.
//!
//! Invariant: a removal may take several turns (tombstones.rs says why); one is at work at a time, the others wait in line,
//! and the line has a bound. Follows `GroupMetadataManager.cleanupGroupMetadata`; other than there, a client is told when
//! its tombstones cannot be written.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::tombstones::Tombstones;
use super::{Decision, GroupShard, What, done};
use crate::base::error_code::ErrorCode;
use crate::base::ids::Offset;
use crate::coordinator::{Effects, Step, TimerChange, Token};
use crate::group::command::{Answer, DeleteOffsets, DeleteOffsetsAnswer, TopicsDeleted};
use crate::group::error::of_group_append;
use crate::group::offsets::Committed;
use crate::group::timer::GroupTimer;
use crate::wire::text::Text;

/// Most removals that wait; they are small, and each is a request of its own.
const MAX_WAITING: usize = 1_000;

/// Something that is to be removed.
pub(super) struct Removal {
    what: Doomed,
    token: Token,
}

/// What is to be removed.
pub(super) enum Doomed {
    /// Offsets that have expired, of all groups after this one.
    Expired { after: Option<Text> },
    /// All offsets of these topics that were committed below an offset of the log, of all groups after this one.
    Topics {
        names: BTreeSet<String>,
        below: Offset,
        after: Option<Text>,
    },
    /// Groups with all they have. Those before `at` have their errors.
    Groups {
        groups: Vec<(Text, ErrorCode)>,
        at: usize,
    },
    /// Offsets of one group, and what is answered when all are gone.
    Offsets {
        group_id: Text,
        left: VecDeque<(Text, i32)>,
        answer: DeleteOffsetsAnswer,
    },
}

impl Removal {
    pub fn groups(token: Token, groups: Vec<Text>) -> Self {
        let groups = groups.into_iter().map(|group| (group, ErrorCode::None)).collect();
        Self {
            what: Doomed::Groups { groups, at: 0 },
            token,
        }
    }

    fn topics(token: Token, topics: TopicsDeleted) -> Self {
        Self {
            what: Doomed::Topics {
                names: topics.names.into_iter().collect(),
                below: topics.below,
                after: None,
            },
            token,
        }
    }

    /// The answer of one that is done.
    fn answer(self) -> Answer {
        match self.what {
            Doomed::Expired { .. } => Answer::Done,
            Doomed::Topics { .. } => Answer::TopicsDeleted(ErrorCode::None),
            Doomed::Groups { groups, .. } => Answer::Delete(groups),
            Doomed::Offsets { answer, .. } => Answer::DeleteOffsets(answer),
        }
    }

    /// The answer of one that will not be done.
    fn failed(self, error: ErrorCode) -> Answer {
        match self.what {
            Doomed::Expired { .. } => Answer::Done,
            Doomed::Topics { .. } => Answer::TopicsDeleted(error),
            Doomed::Groups { mut groups, .. } => {
                for (_, own) in &mut groups {
                    if own.is_none() {
                        *own = error;
                    }
                }
                Answer::Delete(groups)
            }
            Doomed::Offsets { .. } => Answer::DeleteOffsets(DeleteOffsetsAnswer {
                error,
                topics: Vec::new(),
            }),
        }
    }
}

/// The removals in line; the first one is at work.
#[derive(Default)]
pub(super) struct Removals(VecDeque<Removal>);

impl Removals {
    /// The shard goes away.
    pub fn unload(&mut self) -> Vec<(Token, Answer)> {
        let all = std::mem::take(&mut self.0).into_iter();
        all.map(|removal| (removal.token, removal.failed(ErrorCode::NotCoordinator)))
            .collect()
    }
}

/// Topics whose offsets are to be removed and are in the log still: what was committed for them below an offset of the log.
#[derive(Default)]
pub(super) struct Gone(BTreeMap<String, Offset>);

impl Gone {
    /// True for an offset of a topic that is gone. It is nobody's any more, whether or not it could be removed.
    pub fn has(&self, topic: &str, committed: &Committed) -> bool {
        !self.0.is_empty()
            && self
                .0
                .get(topic)
                .is_some_and(|below| committed.log_offset < *below)
    }

    fn add(&mut self, topics: &TopicsDeleted) {
        for name in &topics.names {
            let below = self.0.entry(name.clone()).or_insert(topics.below);
            *below = topics.below.max(*below);
        }
    }

    fn removed(&mut self, names: &BTreeSet<String>, removed_below: Offset) {
        self.0
            .retain(|name, below| *below > removed_below || !names.contains(name));
    }
}

impl GroupShard {
    /// From now on nobody is told of the offsets of these topics; then they go.
    pub(super) fn delete_topics(&mut self, topics: TopicsDeleted, token: Token, now_ms: i64) -> Step<Self> {
        self.gone.add(&topics);
        self.remove(Removal::topics(token, topics), now_ms)
    }

    pub(super) fn expire(&mut self, token: Token, now_ms: i64) -> Step<Self> {
        let is_expiry = |removal: &Removal| matches!(removal.what, Doomed::Expired { .. });
        if self.removals.0.iter().any(is_expiry) {
            return done(token, Answer::Done);
        }
        let what = Doomed::Expired { after: None };
        self.remove(Removal { what, token }, now_ms)
    }

    pub(super) fn delete_offsets(&mut self, delete: DeleteOffsets, token: Token, now_ms: i64) -> Step<Self> {
        let refuse = |error| {
            let topics = Vec::new();
            done(
                token,
                Answer::DeleteOffsets(DeleteOffsetsAnswer { error, topics }),
            )
        };
        let group = self.groups.get(&delete.group_id);
        if group.is_none() && !self.offsets.contains(&delete.group_id) {
            return refuse(ErrorCode::GroupIdNotFound);
        }
        // Offsets of what members read may not be taken from under them; where nobody can tell what that is, it is
        // everything.
        let busy = group.filter(|group| !group.is_empty());
        if busy.is_some_and(|group| !group.is_consumers()) {
            return refuse(ErrorCode::NonEmptyGroup);
        }
        let subscribed = busy.map(|group| group.subscribed_topics());
        let is_subscribed = |topic: &Text| match &subscribed {
            None => false,
            Some(None) => true,
            Some(Some(topics)) => topics.contains(topic),
        };
        let mut left = VecDeque::new();
        let mut topics = Vec::with_capacity(delete.topics.len());
        for (topic, partitions) in delete.topics {
            let error = if is_subscribed(&topic) {
                ErrorCode::GroupSubscribedToTopic
            } else {
                left.extend(partitions.iter().map(|partition| (topic.clone(), *partition)));
                ErrorCode::None
            };
            let partitions = partitions.into_iter().map(|partition| (partition, error));
            topics.push((topic, partitions.collect()));
        }
        let what = Doomed::Offsets {
            group_id: delete.group_id,
            left,
            answer: DeleteOffsetsAnswer {
                error: ErrorCode::None,
                topics,
            },
        };
        self.remove(Removal { what, token }, now_ms)
    }

    /// A removal gets in line.
    pub(super) fn remove(&mut self, removal: Removal, now_ms: i64) -> Step<Self> {
        if self.removals.0.len() >= MAX_WAITING {
            return done(removal.token, removal.failed(ErrorCode::CoordinatorNotAvailable));
        }
        self.removals.0.push_back(removal);
        if self.removals.0.len() == 1 {
            self.run_removals(Effects::default(), now_ms)
        } else {
            Step::Done(Effects::default())
        }
    }

    /// One turn of the removal that is at work.
    pub(super) fn run_removals(&mut self, mut effects: Effects<Self>, now_ms: i64) -> Step<Self> {
        let Some(mut removal) = self.removals.0.pop_front() else {
            return Step::Done(effects);
        };
        let mut tombstones = Tombstones::up_to(self.settings.removal_batch_bytes);
        let finished = self.plan(&mut removal.what, &mut tombstones, &mut effects, now_ms);
        self.removals.0.push_front(removal);
        if tombstones.is_empty() {
            self.removal_written(finished, &mut effects, now_ms);
            return Step::Done(effects);
        }
        Step::Write {
            records: tombstones.into_records(),
            decision: Decision {
                what: What::Removal { finished },
                effects,
            },
        }
    }

    pub(super) fn removal_written(&mut self, finished: bool, effects: &mut Effects<Self>, now_ms: i64) {
        if finished && let Some(removal) = self.removals.0.pop_front() {
            if let Doomed::Topics { names, below, .. } = &removal.what {
                self.gone.removed(names, *below);
            }
            effects.answers.push((removal.token, removal.answer()));
        }
        self.go_on_removing(effects, now_ms);
    }

    pub(super) fn removal_refused(&mut self, error: ErrorCode, effects: &mut Effects<Self>, now_ms: i64) {
        if let Some(removal) = self.removals.0.pop_front() {
            let token = removal.token;
            effects
                .answers
                .push((token, removal.failed(of_group_append(error))));
        }
        self.go_on_removing(effects, now_ms);
    }

    fn go_on_removing(&mut self, effects: &mut Effects<Self>, now_ms: i64) {
        if !self.removals.0.is_empty() {
            effects.timers.push(TimerChange::Set {
                timer: GroupTimer::Removals,
                at_ms: now_ms,
            });
        }
    }
}
