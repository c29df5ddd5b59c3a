//! Replicas that a partition has no more: they stop and are deleted, and only then the store forgets them (Kafka: steps B4
//! to B6 of `KafkaController.onPartitionReassignment`).
//!
//! Invariant: until a live broker has answered, its replica is in the topic's node, as one that a move removes. So a
//! controller that ends at any point leaves a move to end, and the next one has the replica stopped: none goes on as a leader
//! that nobody knows of. One on a broker that is away is not waited for, and stays there, as with Kafka.

use std::collections::BTreeSet;

use super::active::Active;
use super::channels::Request;
use super::context::{Context, Partition};
use super::reassignment_plan::{Assignment, without};
use super::reign::Lost;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerEpoch, BrokerId, TopicPartition};
use crate::metadata::control::ControlAnswer;

/// One StopReplica among those of this reign. A broker may be told to stop a replica again and again, and only once to delete
/// it: what it answers to another request says nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct StopNumber(u64);

/// How far a replica that is dropped has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    /// It is to be told.
    Due,
    /// It was told, in this registration of its broker.
    Told(BrokerEpoch, StopNumber),
    /// It has answered.
    Done,
}

impl Context {
    /// The number of the next StopReplica.
    pub(super) fn next_stop(&mut self) -> StopNumber {
        self.last_stop.0 = self.last_stop.0.wrapping_add(1);
        self.last_stop
    }
}

impl Partition {
    /// Takes another assignment; yields whether it drops replicas.
    pub(super) fn assign(&mut self, after: Assignment) -> bool {
        let dropped = without(&self.replicas, &after.replicas);
        let drops = !dropped.is_empty();
        self.going.extend(dropped.into_iter().map(|id| (id, Stop::Due)));
        self.going.retain(|id, _| !after.replicas.contains(id));
        self.replicas = after.replicas;
        self.adding = after.adding;
        self.removing = after.removing;
        drops
    }

    /// These, and those that are still to stop.
    pub(super) fn and_going(&self, list: &[BrokerId]) -> Vec<BrokerId> {
        list.iter().chain(self.going.keys()).copied().collect()
    }

    /// Where nobody who stays leads, because the state is another one than was planned with, those who would go stay until
    /// the move is over.
    pub(super) fn keep_needed(&mut self) {
        let leader = self.state.as_ref().and_then(|written| written.state.leader);
        if leader.is_some_and(|leader| self.replicas.contains(&leader)) {
            return;
        }
        let due = self.going.extract_if(.., |_, stop| *stop == Stop::Due);
        let kept: Vec<BrokerId> = due.map(|(id, _)| id).collect();
        self.replicas.extend(&kept);
        self.removing.extend(&kept);
    }
}

impl Active {
    /// Has those deleted that are to go, as far as they were not told, and forgets those that have gone. Waits for this
    /// broker only.
    pub(super) async fn drop_replicas(&mut self) -> Result<(), Lost> {
        let dropping = self.dropping();
        if dropping.is_empty() {
            return Ok(());
        }
        let me = self.parts.broker;
        let brokers: Vec<BrokerId> = self.context.brokers.keys().copied().collect();
        for broker in brokers {
            let Some(epoch) = self.reached(broker) else {
                continue;
            };
            let mut due = dropping.clone();
            let number = self.context.next_stop();
            due.retain(|name| self.tell_to_go(name, broker, (epoch, number)));
            if due.is_empty() {
                continue;
            }
            let request = self.stop_request(broker, due, true);
            if broker == me {
                let answer = self.parts.local.stop_replica(request).await;
                self.take_stopped(me, number, &answer);
            } else {
                self.channels.tell(broker, Request::StopReplica(number, request));
            }
        }
        self.forget_dropped().await
    }

    /// The partitions that have replicas which are to go.
    fn dropping(&self) -> Vec<TopicPartition> {
        self.context
            .partitions_that(|partition| !partition.going.is_empty())
    }

    /// The registration in which a broker can be told something.
    fn reached(&self, broker: BrokerId) -> Option<BrokerEpoch> {
        let is_reached = broker == self.parts.broker || self.channels.reaches(broker);
        let known = self.context.brokers.get(&broker).filter(|_| is_reached);
        known.map(|known| known.epoch)
    }

    /// Notes that a broker is told that its replica is to go; false when it need not be told.
    fn tell_to_go(
        &mut self,
        name: &TopicPartition,
        broker: BrokerId,
        (epoch, number): (BrokerEpoch, StopNumber),
    ) -> bool {
        let partition = self.context.partition_mut(name);
        let Some(stop) = partition.and_then(|partition| partition.going.get_mut(&broker)) else {
            return false;
        };
        let is_due = match *stop {
            Stop::Due => true,
            Stop::Told(told, _) => told != epoch,
            Stop::Done => false,
        };
        if is_due {
            *stop = Stop::Told(epoch, number);
        }
        is_due
    }

    /// Takes what a broker answered to a StopReplica, and forgets those that have gone.
    pub(super) async fn stopped(
        &mut self,
        broker: BrokerId,
        number: StopNumber,
        answer: &ControlAnswer,
    ) -> Result<(), Lost> {
        self.take_stopped(broker, number, answer);
        self.forget_dropped().await?;
        self.note_old_reassignments().await
    }

    /// A replica that a broker could not delete stays, as with Kafka.
    fn take_stopped(&mut self, broker: BrokerId, number: StopNumber, answer: &ControlAnswer) {
        if answer.error == ErrorCode::StaleBrokerEpoch {
            // It has registered anew, and will be told again.
            return;
        }
        let mut answers = answer.partitions.clone();
        if !answer.error.is_none() {
            let all = self.dropping();
            answers.extend(all.into_iter().map(|name| (name, answer.error)));
        }
        for (name, error) in answers {
            let partition = self.context.partition_mut(&name);
            let stop = partition.and_then(|partition| partition.going.get_mut(&broker));
            let Some(stop) = stop.filter(|stop| matches!(stop, Stop::Told(_, told) if *told == number))
            else {
                continue;
            };
            *stop = Stop::Done;
            if !error.is_none() {
                tracing::warn!("replica {name} on broker {broker}, which is none any more, stays: {error}");
            }
        }
    }

    /// Takes those out of the store that have gone.
    async fn forget_dropped(&mut self) -> Result<(), Lost> {
        let mut done = self.dropping();
        done.retain(|name| {
            let partition = self.context.partition(name);
            let is_awaited =
                |(id, stop): (&BrokerId, &Stop)| *stop != Stop::Done && self.reached(*id).is_some();
            partition.is_some_and(|partition| !partition.going.iter().any(is_awaited))
        });
        for name in &done {
            let partition = self.context.partition_mut(name);
            for (broker, stop) in partition
                .map(|one| std::mem::take(&mut one.going))
                .into_iter()
                .flatten()
            {
                if stop != Stop::Done {
                    tracing::warn!(
                        "replica {name} on broker {broker}, which is away, stays, though it is none any more"
                    );
                }
            }
        }
        self.write_assignments(&done, &BTreeSet::new()).await
    }
}
