//! What the controller says of partitions whose directory does not answer just now: done when it does.
//!
//! Kafka's request waits for the disk, and all that a controller says waits behind it. Here the controller is answered at
//! once. That a decision is taken: an error would take the replica for lost until its broker registers again, and is for disks
//! that failed; what the broker says of such a partition until then is what it says of one whose disk hangs. And that a
//! replica cannot be deleted: whoever hears of its end may have another one made in its place. Invariant: what waits for one
//! directory is done in its order, one thing at a time: while one waits, later ones do too.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::error_code::ErrorCode;
use crate::base::ids::{TopicId, TopicPartition};
use crate::base::task;
use crate::metadata::control::LeaderAndIsrPartition;

use super::directories::HostDirectory;
use super::partition::Partition;
use super::replicas::Replicas;
use super::stopping::Ending;

/// A decision that waits.
struct Decision {
    partition: Arc<Partition>,
    id: TopicId,
    decision: LeaderAndIsrPartition,
}

/// One thing that waits.
enum Due {
    Decision(Decision),
    /// Replicas that are to go.
    Deletion(Vec<Arc<Partition>>),
    /// The end of replicas that has begun.
    Ending(Vec<Arc<Partition>>, Ending),
}

#[derive(Default)]
struct Waiting {
    due: VecDeque<Due>,
    is_followed: bool,
    /// Replicas that are to go, or are going.
    going: Vec<Arc<Partition>>,
    /// The partition of the decision that is being taken.
    deciding: Option<TopicPartition>,
}

/// What waits for one directory.
#[derive(Default)]
pub(super) struct PutOff(Mutex<Waiting>);

impl Waiting {
    fn drop_decisions(&mut self, is_void: impl Fn(&Partition) -> bool) {
        self.due
            .retain(|due| !matches!(due, Due::Decision(one) if is_void(&one.partition)));
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
        waiting.drop_decisions(|one| std::ptr::eq(one, &*decision.partition));
        waiting.push(Due::Decision(decision))
    }

    /// Adds replicas that are to go, in place of what was decided about them.
    fn push_deletion(&self, mut partitions: Vec<Arc<Partition>>) -> bool {
        let mut waiting = self.waiting();
        waiting.drop_decisions(|one| partitions.iter().any(|going| std::ptr::eq(one, &**going)));
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
            Some(Due::Decision(one)) => Some(one.partition.name().clone()),
            _ => None,
        };
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
            match self.decide(partition, id, &decision, false) {
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
            partition: Arc::clone(partition),
            id,
            decision,
        };
        if directory.put_off.push(decision) {
            task::spawn(Arc::clone(self).do_put_off(directory));
        }
        ErrorCode::None
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
            let mut waiting = directory.put_off.waiting();
            waiting.drop_decisions(|one| one.name() == name);
            waiting.deciding.take_if(|deciding| deciding == name);
        }
    }

    async fn do_put_off(self: Arc<Self>, directory: Arc<HostDirectory>) {
        while let Some(due) = directory.put_off.pop() {
            match due {
                Due::Decision(one) => {
                    match self.partition(&one.partition.name().topic, one.decision.partition) {
                        Some(here) if Arc::ptr_eq(&here, &one.partition) => self.take(&directory, one).await,
                        _ => self.make_again(&directory, one).await,
                    }
                }
                Due::Deletion(partitions) => {
                    let control = self.control.lock().await;
                    for partition in &partitions {
                        self.fetchers.leave(partition.name());
                    }
                    drop(control);
                    // What failed is known, and asked for again.
                    let _ = self.end(&directory, partitions.clone()).1.await;
                    directory.put_off.ended(&partitions);
                }
                Due::Ending(partitions, ending) => {
                    let _ = ending.await;
                    directory.put_off.ended(&partitions);
                }
            }
        }
    }

    async fn take(self: &Arc<Self>, directory: &Arc<HostDirectory>, one: Decision) {
        let (partition, decision) = (Arc::clone(&one.partition), one.decision.clone());
        let work = move || partition.apply(one.id, &decision, true);
        let Ok(applied) = directory.pool().run(work).await else {
            return;
        };
        let name = one.partition.name();
        // Control requests are taken one at a time. One that came meanwhile has said what this broker is now.
        let _control = self.control.lock().await;
        match applied {
            Ok((wakes, became)) => {
                wakes.dispatch();
                let is_newest = one.partition.newest_epoch() == one.decision.leader_epoch;
                if is_newest && !directory.put_off.waiting().is_going(&one.partition) {
                    self.became(&one.partition, one.id, &one.decision, became);
                }
            }
            Err(error) => {
                tracing::warn!(partition = %name, "a decision that was put off is not taken: {error}");
            }
        }
    }

    /// Takes a decision about a replica that has gone since: another one is made.
    async fn make_again(self: &Arc<Self>, directory: &Arc<HostDirectory>, one: Decision) {
        let _control = self.control.lock().await;
        let name = one.partition.name();
        if directory.put_off.waiting().deciding.as_ref() != Some(name) {
            return;
        }
        let topic = &name.topic;
        let error = match self.partition(topic, name.partition) {
            Some(here) => self.decide_or_put_off(&here, one.id, one.decision),
            None => {
                let missing = vec![(Arc::clone(topic), one.id, one.decision)];
                let made = self.make(missing).await;
                made.first().map_or(ErrorCode::None, |(_, error)| *error)
            }
        };
        if !error.is_none() {
            tracing::warn!(partition = %name, "a decision that was put off is not taken: {error}");
        }
    }
}
