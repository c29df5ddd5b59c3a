//! Decisions of the controller for partitions whose directory does not answer just now: taken when it does.
//!
//! Kafka's request waits for the disk, and all that a controller says waits behind it. An error instead would take the
//! replicas for lost until their broker registers again: it is for disks that failed. Here the controller is told at once
//! that the decision is taken, and what the broker says of such a partition until then is what it says of one whose disk
//! hangs. Invariant: the decisions of one directory are taken in their order, one a partition: while one is put off, later
//! ones are too.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::error_code::ErrorCode;
use crate::base::ids::TopicId;
use crate::base::task;
use crate::metadata::control::LeaderAndIsrPartition;

use super::directories::HostDirectory;
use super::partition::Partition;
use super::replicas::Replicas;

/// A decision that waits.
struct Decision {
    partition: Arc<Partition>,
    id: TopicId,
    decision: LeaderAndIsrPartition,
}

#[derive(Default)]
struct Waiting {
    decisions: VecDeque<Decision>,
    is_followed: bool,
}

/// The decisions of one directory.
#[derive(Default)]
pub(super) struct PutOff(Mutex<Waiting>);

impl PutOff {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True while one waits, or is being taken.
    fn is_under_way(&self) -> bool {
        self.waiting().is_followed
    }

    /// Adds one, in place of an earlier one of its partition. True when somebody must begin to take them.
    fn push(&self, decision: Decision) -> bool {
        let mut waiting = self.waiting();
        waiting
            .decisions
            .retain(|one| !Arc::ptr_eq(&one.partition, &decision.partition));
        waiting.decisions.push_back(decision);
        !std::mem::replace(&mut waiting.is_followed, true)
    }

    /// The next one; behind the last one nothing is under way.
    fn pop(&self) -> Option<Decision> {
        let mut waiting = self.waiting();
        let next = waiting.decisions.pop_front();
        waiting.is_followed = next.is_some();
        next
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
            task::spawn(Arc::clone(self).take_put_off(directory));
        }
        ErrorCode::None
    }

    async fn take_put_off(self: Arc<Self>, directory: Arc<HostDirectory>) {
        while let Some(one) = directory.put_off.pop() {
            let (partition, decision) = (Arc::clone(&one.partition), one.decision.clone());
            let work = move || partition.apply(one.id, &decision, true);
            let Ok(applied) = directory.pool().run(work).await else {
                continue;
            };
            let name = one.partition.name();
            // Control requests are taken one at a time. One that came meanwhile has said what this broker is now.
            let _control = self.control.lock().await;
            match applied {
                Ok((wakes, became)) => {
                    wakes.dispatch();
                    if one.partition.newest_epoch() == one.decision.leader_epoch {
                        self.became(&one.partition, one.id, &one.decision, became);
                    }
                }
                Err(error) => {
                    tracing::warn!(partition = %name, "a decision that was put off is not taken: {error}");
                }
            }
        }
    }
}
