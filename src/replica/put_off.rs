//! What the controller says of partitions whose directory does not answer just now: done when it does.
//!
//! Kafka's request waits for the disk, and all that a controller says waits behind it. Here the controller is answered at
//! once. That a decision is taken: an error would take the replica for lost until its broker registers again, and is for disks
//! that failed; what the broker says of such a partition until then is what it says of one whose disk hangs. And that a
//! replica cannot be deleted: whoever hears of its end may have another one made in its place. Invariant: what waits for one
//! directory is done in its order, one thing at a time: while one waits, later ones do too.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::error_code::ErrorCode;
use crate::base::ids::{LeaderEpoch, TopicId, TopicPartition};
use crate::base::task;
use crate::metadata::control::{ControlAnswer, LeaderAndIsrPartition};

use super::directories::HostDirectory;
use super::making::{Logs, Missing};
use super::partition::Partition;
use super::replicas::Replicas;
use super::stopping::Ending;

/// A decision that waits.
struct Decision {
    name: TopicPartition,
    /// The replica that was there when it was taken.
    of: Option<Arc<Partition>>,
    id: TopicId,
    decision: LeaderAndIsrPartition,
}

/// One thing that waits.
enum Due {
    Decision(Decision),
    /// Logs whose making has begun.
    Making(Vec<TopicPartition>, Logs),
    /// Replicas that are to go.
    Deletion(Vec<Arc<Partition>>),
    /// The end of replicas that has begun.
    Ending(Vec<Arc<Partition>>, Ending),
}

#[derive(Default)]
struct Waiting {
    due: VecDeque<Due>,
    /// The partitions of the decisions in it.
    decided: BTreeSet<TopicPartition>,
    is_followed: bool,
    /// Replicas that are to go, or are going.
    going: Vec<Arc<Partition>>,
    /// Partitions whose logs are being made, and whether they are still wanted.
    making: BTreeMap<TopicPartition, bool>,
    /// The partition of the decision that is being taken, until another one is known.
    deciding: Option<TopicPartition>,
}

/// What waits for one directory.
#[derive(Default)]
pub(super) struct PutOff(Mutex<Waiting>);

impl Waiting {
    /// What was decided about a partition is void.
    fn drop_decision(&mut self, name: &TopicPartition) {
        self.deciding.take_if(|deciding| deciding == name);
        if self.decided.remove(name) {
            self.due
                .retain(|due| !matches!(due, Due::Decision(one) if one.name == *name));
        }
    }

    /// Adds something. True when somebody must begin to do it.
    fn push(&mut self, due: Due) -> bool {
        self.due.push_back(due);
        !std::mem::replace(&mut self.is_followed, true)
    }

    fn is_going(&self, partition: &Arc<Partition>) -> bool {
        self.going.iter().any(|one| Arc::ptr_eq(one, partition))
    }
}

impl PutOff {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True while something waits, or is being done.
    pub(super) fn is_under_way(&self) -> bool {
        self.waiting().is_followed
    }

    /// Adds a decision, in place of an earlier one of its partition.
    fn push(&self, decision: Decision) -> bool {
        let mut waiting = self.waiting();
        waiting.drop_decision(&decision.name);
        waiting.decided.insert(decision.name.clone());
        waiting.push(Due::Decision(decision))
    }

    /// Adds logs whose making has begun.
    fn push_making(&self, names: Vec<TopicPartition>, logs: Logs) -> bool {
        let mut waiting = self.waiting();
        waiting
            .making
            .extend(names.iter().map(|name| (name.clone(), true)));
        waiting.push(Due::Making(names, logs))
    }

    /// True while the log of a partition is being made, or goes as soon as it is.
    pub(super) fn is_making(&self, name: &TopicPartition) -> bool {
        self.waiting().making.contains_key(name)
    }

    /// The leader epoch of the decision about a partition that waits.
    pub(super) fn newest_epoch_of(&self, name: &TopicPartition) -> Option<LeaderEpoch> {
        let waiting = self.waiting();
        let decisions = waiting.due.iter().filter_map(|due| match due {
            Due::Decision(one) if one.name == *name => Some(one.decision.leader_epoch),
            _ => None,
        });
        decisions.max()
    }

    /// The log that is being made is to go.
    pub(super) fn want_no_more(&self, name: &TopicPartition) {
        let mut waiting = self.waiting();
        waiting.drop_decision(name);
        if let Some(wanted) = waiting.making.get_mut(name) {
            *wanted = false;
        }
    }

    /// The log is made. True, and nothing more is known of it here, if it is still wanted.
    pub(super) fn made_if_wanted(&self, name: &TopicPartition) -> bool {
        let mut waiting = self.waiting();
        let is_wanted = waiting.making.get(name) == Some(&true);
        if is_wanted {
            waiting.making.remove(name);
        }
        is_wanted
    }

    /// What was made of these has gone, or nothing was.
    pub(super) fn made(&self, names: &[TopicPartition]) {
        let mut waiting = self.waiting();
        for name in names {
            waiting.making.remove(name);
        }
    }

    /// What was decided about a partition is void.
    pub(super) fn drop_decision(&self, name: &TopicPartition) {
        self.waiting().drop_decision(name);
    }

    /// Adds replicas that are to go, in place of what was decided about them.
    fn push_deletion(&self, mut partitions: Vec<Arc<Partition>>) -> bool {
        let mut waiting = self.waiting();
        for going in &partitions {
            waiting.drop_decision(going.name());
        }
        partitions.retain(|one| !waiting.is_going(one));
        if partitions.is_empty() {
            return false;
        }
        waiting.going.extend(partitions.iter().cloned());
        waiting.push(Due::Deletion(partitions))
    }

    /// Adds replicas that are going.
    fn push_ending(&self, partitions: Vec<Arc<Partition>>, ending: Ending) -> bool {
        let mut waiting = self.waiting();
        waiting.going.extend(partitions.iter().cloned());
        waiting.push(Due::Ending(partitions, ending))
    }

    /// The next one; behind the last one nothing is under way.
    fn pop(&self) -> Option<Due> {
        let mut waiting = self.waiting();
        let next = waiting.due.pop_front();
        waiting.is_followed = next.is_some();
        waiting.deciding = match &next {
            Some(Due::Decision(one)) => Some(one.name.clone()),
            _ => None,
        };
        if let Some(Due::Decision(one)) = &next {
            waiting.decided.remove(&one.name);
        }
        next
    }

    /// These have gone, or could not.
    fn ended(&self, partitions: &[Arc<Partition>]) {
        let is_other = |one: &Arc<Partition>| !partitions.iter().any(|ended| Arc::ptr_eq(one, ended));
        self.waiting().going.retain(is_other);
    }
}

impl Replicas {
    /// Takes a decision about a partition that is here, now or when its directory answers again.
    pub(super) fn decide_or_put_off(
        self: &Arc<Self>,
        partition: &Arc<Partition>,
        id: TopicId,
        decision: LeaderAndIsrPartition,
    ) -> ErrorCode {
        let directory = Arc::clone(partition.directory());
        if !directory.put_off.is_under_way() && !partition.is_stalled() {
            match self.decide(partition, id, &decision) {
                ErrorCode::KafkaStorageError if !partition.directory().is_offline() => {}
                answer => return answer,
            }
        }
        if directory.is_offline() {
            return ErrorCode::KafkaStorageError;
        }
        tracing::info!(
            partition = %partition.name(),
            leader_epoch = decision.leader_epoch.get(),
            "a decision of the controller waits for its log directory"
        );
        partition.told(decision.leader_epoch);
        let decision = Decision {
            name: partition.name().clone(),
            of: Some(Arc::clone(partition)),
            id,
            decision,
        };
        if directory.put_off.push(decision) {
            task::spawn(Arc::clone(self).do_put_off(directory));
        }
        ErrorCode::None
    }

    /// Has the decision about a partition that has no log yet wait for a directory.
    pub(super) fn put_off_new(
        self: &Arc<Self>,
        directory: &Arc<HostDirectory>,
        new: Missing,
        answer: &mut ControlAnswer,
    ) {
        tracing::info!(
            partition = %new.name,
            leader_epoch = new.decision.leader_epoch.get(),
            "a decision of the controller waits for its log directory"
        );
        answer.partitions.push((new.name.clone(), ErrorCode::None));
        answer.late.push(new.name.clone());
        let decision = Decision {
            name: new.name,
            of: None,
            id: new.id,
            decision: new.decision,
        };
        if directory.put_off.push(decision) {
            task::spawn(Arc::clone(self).do_put_off(Arc::clone(directory)));
        }
    }

    /// Has logs made in the background, and the decisions about them wait for that.
    pub(super) fn put_off_making(
        self: &Arc<Self>,
        directory: &Arc<HostDirectory>,
        batch: Vec<Missing>,
        logs: Logs,
        answer: &mut ControlAnswer,
    ) {
        tracing::warn!(
            "log directory {} does not answer: {} new logs are made in the background",
            directory.path().display(),
            batch.len()
        );
        let names = batch.iter().map(|one| one.name.clone()).collect();
        if directory.put_off.push_making(names, logs) {
            task::spawn(Arc::clone(self).do_put_off(Arc::clone(directory)));
        }
        for one in batch {
            self.put_off_new(directory, one, answer);
        }
    }

    /// Has replicas of a directory go when it answers again.
    pub(super) fn put_off_deletion(
        self: &Arc<Self>,
        directory: &Arc<HostDirectory>,
        partitions: Vec<Arc<Partition>>,
    ) {
        tracing::warn!(
            "{} replicas that are to be deleted wait for their log directory {}",
            partitions.len(),
            directory.path().display()
        );
        if directory.put_off.push_deletion(partitions) {
            task::spawn(Arc::clone(self).do_put_off(Arc::clone(directory)));
        }
    }

    /// Has what else is said of a directory wait for the end of replicas in it.
    pub(super) fn put_off_ending(
        self: &Arc<Self>,
        directory: &Arc<HostDirectory>,
        partitions: Vec<Arc<Partition>>,
        ending: Ending,
    ) {
        tracing::warn!(
            "log directory {} does not answer: the deletion of {} replicas goes on in the background",
            directory.path().display(),
            partitions.len()
        );
        if directory.put_off.push_ending(partitions, ending) {
            task::spawn(Arc::clone(self).do_put_off(Arc::clone(directory)));
        }
    }

    /// A replica that has gone is not to be made anew, whatever was decided about it and waits.
    pub(super) fn make_no_more(&self, name: &TopicPartition) {
        for directory in self.directories() {
            directory.put_off.drop_decision(name);
        }
    }

    async fn do_put_off(self: Arc<Self>, directory: Arc<HostDirectory>) {
        while let Some(due) = directory.put_off.pop() {
            match due {
                Due::Decision(one) => {
                    let (here, is_new) = (
                        self.partition(&one.name.topic, one.name.partition),
                        one.of.is_none(),
                    );
                    match (here, &one.of) {
                        (Some(here), Some(of)) if Arc::ptr_eq(&here, of) => {
                            self.take(&directory, here, one).await;
                        }
                        (here, _) => {
                            if here.is_none() && is_new {
                                directory.answers().await;
                            }
                            self.make_again(&directory, one).await;
                        }
                    }
                }
                Due::Making(names, logs) => self.take_up_late(&directory, names, logs).await,
                Due::Deletion(partitions) => {
                    let control = self.control.lock().await;
                    for partition in &partitions {
                        self.fetchers.leave(partition.name());
                    }
                    drop(control);
                    // What failed is known, and asked for again.
                    let _ = self.end(&directory, partitions.clone()).await;
                    directory.put_off.ended(&partitions);
                }
                Due::Ending(partitions, ending) => {
                    let _ = ending.await;
                    directory.put_off.ended(&partitions);
                }
            }
        }
    }

    async fn take(
        self: &Arc<Self>,
        directory: &Arc<HostDirectory>,
        partition: Arc<Partition>,
        one: Decision,
    ) {
        let (here, decision) = (Arc::clone(&partition), one.decision.clone());
        let work = move || here.apply(one.id, &decision, true);
        let Ok(applied) = directory.pool().run(work).await else {
            return;
        };
        // Control requests are taken one at a time. One that came meanwhile has said what this broker is now.
        let _control = self.control.lock().await;
        match applied {
            Ok((wakes, became)) => {
                wakes.dispatch();
                let is_newest = partition.newest_epoch() == one.decision.leader_epoch;
                if is_newest && !directory.put_off.waiting().is_going(&partition) {
                    self.became(&partition, one.id, &one.decision, became);
                }
            }
            Err(error) => {
                tracing::warn!(partition = %one.name, "a decision that was put off is not taken: {error}");
            }
        }
    }

    /// Takes a decision about a replica that is not there, or is another one than it was: one is made.
    async fn make_again(self: &Arc<Self>, directory: &Arc<HostDirectory>, one: Decision) {
        let _control = self.control.lock().await;
        if directory.put_off.waiting().deciding.as_ref() != Some(&one.name) {
            return;
        }
        let name = one.name.clone();
        let error = match self.partition(&name.topic, name.partition) {
            Some(here) => self.decide_or_put_off(&here, one.id, one.decision),
            None => {
                let missing = Missing {
                    name: one.name,
                    id: one.id,
                    decision: one.decision,
                };
                let mut answer = ControlAnswer::default();
                self.make(vec![missing], &mut answer).await;
                answer
                    .partitions
                    .first()
                    .map_or(ErrorCode::None, |(_, error)| *error)
            }
        };
        if !error.is_none() {
            tracing::warn!(partition = %name, "a decision that was put off is not taken: {error}");
        }
    }
}
