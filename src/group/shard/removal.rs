//! Removals: DeleteGroups, OffsetDelete, deleted topics and expiry, all of which write tombstones.
//!
//! Invariant: a removal may take several turns (tombstones.rs says why); one is at work at a time, the others wait in line,
//! and the line has a bound. What the log finds too large is planned again, half as large, so that `max.message.bytes` of
//! `__consumer_offsets` may be whatever it is; a group whose tombstone alone is too large holds up no other. Follows
//! `GroupMetadataManager.cleanupGroupMetadata`; other than there, a client is told when its tombstones cannot be written.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::tombstones::{Batch, Tombstones};
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
    /// Most bytes of a batch, as far as the log has found batches too large.
    most_bytes: usize,
    /// Why some of it is left behind.
    error: ErrorCode,
}

/// What a turn of a removal is about to write.
pub(super) struct Planned {
    /// Nothing is left to be removed behind it.
    pub finished: bool,
    /// Where the removal was before.
    before: Place,
    batch: Batch,
}

/// How far a removal is.
enum Place {
    Behind(Option<Text>),
    At(usize),
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
    /// Offsets of one group, those before `at` gone, and what is answered when all are.
    Offsets {
        group_id: Text,
        offsets: Vec<(Text, i32)>,
        at: usize,
        answer: DeleteOffsetsAnswer,
    },
}

impl Doomed {
    fn place(&self) -> Place {
        match self {
            Self::Expired { after } | Self::Topics { after, .. } => Place::Behind(after.clone()),
            Self::Groups { at, .. } | Self::Offsets { at, .. } => Place::At(*at),
        }
    }

    fn go_back(&mut self, to: Place) {
        match (self, to) {
            (Self::Expired { after } | Self::Topics { after, .. }, Place::Behind(group)) => *after = group,
            (Self::Groups { at, .. } | Self::Offsets { at, .. }, Place::At(number)) => *at = number,
            // A place is of the removal that it was asked of.
            (Self::Expired { .. } | Self::Topics { .. }, Place::At(_))
            | (Self::Groups { .. } | Self::Offsets { .. }, Place::Behind(_)) => {}
        }
    }

    /// Leaves the group behind that comes next. False where there is no other.
    fn leave_behind(&mut self, group_id: Text, error: ErrorCode) -> bool {
        match self {
            Self::Expired { after } | Self::Topics { after, .. } => *after = Some(group_id),
            Self::Groups { groups, at } => {
                let rest = groups.iter_mut().enumerate().skip(*at);
                for (number, (name, own)) in rest {
                    *at = number + 1;
                    if *name == group_id {
                        *own = error;
                        break;
                    }
                }
            }
            Self::Offsets { .. } => return false,
        }
        true
    }
}

impl Removal {
    fn new(what: Doomed, token: Token) -> Self {
        Self {
            what,
            token,
            most_bytes: usize::MAX,
            error: ErrorCode::None,
        }
    }

    pub fn groups(token: Token, groups: Vec<Text>) -> Self {
        let groups = groups.into_iter().map(|group| (group, ErrorCode::None)).collect();
        Self::new(Doomed::Groups { groups, at: 0 }, token)
    }

    fn topics(token: Token, topics: TopicsDeleted) -> Self {
        let names = topics.names.into_iter().collect();
        let (below, after) = (topics.below, None);
        Self::new(Doomed::Topics { names, below, after }, token)
    }

    /// The answer of one that is done.
    fn answer(self) -> Answer {
        match self.what {
            Doomed::Expired { .. } => Answer::Done,
            Doomed::Topics { .. } => Answer::TopicsDeleted(self.error),
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
        self.remove(Removal::new(what, token), now_ms)
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
        let mut offsets = Vec::new();
        let mut topics = Vec::with_capacity(delete.topics.len());
        for (topic, partitions) in delete.topics {
            let error = if is_subscribed(&topic) {
                ErrorCode::GroupSubscribedToTopic
            } else {
                offsets.extend(partitions.iter().map(|partition| (topic.clone(), *partition)));
                ErrorCode::None
            };
            let partitions = partitions.into_iter().map(|partition| (partition, error));
            topics.push((topic, partitions.collect()));
        }
        let what = Doomed::Offsets {
            group_id: delete.group_id,
            offsets,
            at: 0,
            answer: DeleteOffsetsAnswer {
                error: ErrorCode::None,
                topics,
            },
        };
        self.remove(Removal::new(what, token), now_ms)
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
        let before = removal.what.place();
        let most_bytes = self.settings.removal_batch_bytes.min(removal.most_bytes);
        let mut tombstones = Tombstones::up_to(most_bytes);
        let finished = self.plan(&mut removal.what, &mut tombstones, &mut effects, now_ms);
        self.removals.0.push_front(removal);
        if tombstones.is_empty() {
            self.removal_written(finished, &mut effects, now_ms);
            return Step::Done(effects);
        }
        let planned = Planned {
            finished,
            before,
            batch: tombstones.batch(),
        };
        Step::Write {
            records: tombstones.into_records(),
            decision: Decision {
                what: What::Removal(planned),
                effects,
            },
        }
    }

    pub(super) fn removal_written(&mut self, finished: bool, effects: &mut Effects<Self>, now_ms: i64) {
        if finished && let Some(removal) = self.removals.0.pop_front() {
            if let Doomed::Topics { names, below, .. } = &removal.what
                && removal.error.is_none()
            {
                self.gone.removed(names, *below);
            }
            effects.answers.push((removal.token, removal.answer()));
        }
        self.go_on_removing(effects, now_ms);
    }

    pub(super) fn removal_refused(
        &mut self,
        planned: Planned,
        error: ErrorCode,
        effects: &mut Effects<Self>,
        now_ms: i64,
    ) {
        if matches!(error, ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge)
            && self.goes_on_smaller(planned, of_group_append(error))
        {
            return self.go_on_removing(effects, now_ms);
        }
        if let Some(removal) = self.removals.0.pop_front() {
            let token = removal.token;
            effects
                .answers
                .push((token, removal.failed(of_group_append(error))));
        }
        self.go_on_removing(effects, now_ms);
    }

    /// The log takes no batch as large as that. False where that cannot be helped.
    fn goes_on_smaller(&mut self, planned: Planned, error: ErrorCode) -> bool {
        let Some(removal) = self.removals.0.front_mut() else {
            return false;
        };
        removal.what.go_back(planned.before);
        match planned.batch.alone {
            None => {
                removal.most_bytes = planned.batch.bytes / 2;
                true
            }
            Some(group_id) => {
                tracing::warn!(
                    group = %group_id,
                    "a tombstone is larger than max.message.bytes of the log: what it is to remove stays"
                );
                removal.error = error;
                removal.what.leave_behind(group_id, error)
            }
        }
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
