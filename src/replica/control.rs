//! What a controller tells this broker's replicas: LeaderAndIsr (Kafka's `ReplicaManager.becomeLeaderOrFollower`), and who may
//! tell them. What stops them: [`stopping`](super::stopping); how their logs are made: [`making`](super::making).
//!
//! Invariant: requests are carried out one at a time; one of an older controller epoch than was seen, or for an earlier
//! registration of this broker, changes nothing.

use std::sync::Arc;

use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerEpoch, BrokerId, ControllerEpoch, TopicId, TopicName, TopicPartition};
use crate::base::planted::planted;
use crate::metadata::control::{ControlAnswer, LeaderAndIsr, LeaderAndIsrPartition, Sender, UpdateMetadata};

use super::leadership::Role;
use super::making::Missing;
use super::partition::Partition;
use super::replicas::Replicas;

/// The newest controller and registration seen.
#[derive(Debug, Default)]
pub struct Seen {
    controller_epoch: ControllerEpoch,
    broker_epoch: Option<BrokerEpoch>,
    /// The newest registration for which the controller has told what this broker leads.
    told: Option<BrokerEpoch>,
}

impl Seen {
    /// Whether what this one sends is to be done.
    pub(super) fn check(&mut self, sender: &Sender) -> Result<(), ErrorCode> {
        if let Some(own) = self.broker_epoch
            && sender.broker_epoch.get() >= 0
            && sender.broker_epoch < own
        {
            return Err(ErrorCode::StaleBrokerEpoch);
        }
        if planted!(
            "cluster-resigned-heard",
            false,
            sender.controller_epoch < self.controller_epoch
        ) {
            return Err(ErrorCode::StaleControllerEpoch);
        }
        self.controller_epoch = sender.controller_epoch;
        Ok(())
    }

    /// What was told until now is of a registration that is over.
    pub(super) fn session_is_over(&mut self) {
        self.told = None;
    }

    /// True when the controller has not yet told what this broker leads since it was registered.
    fn is_untold(&self) -> bool {
        self.told < self.broker_epoch
    }
}

impl Replicas {
    /// Says under which epoch this broker is registered: requests for an earlier one are refused from now on.
    pub async fn registered(&self, epoch: BrokerEpoch) {
        let mut seen = self.control.lock().await;
        seen.broker_epoch = Some(epoch);
        self.surroundings().cut_off.set_untold(seen.is_untold());
        drop(seen);
        self.fetchers.registered(epoch);
    }

    /// Takes in what the cluster looks like (`ReplicaManager.maybeUpdateMetadataCache`); yields the partitions that are
    /// gone.
    ///
    /// # Errors
    /// STALE_BROKER_EPOCH, STALE_CONTROLLER_EPOCH.
    pub async fn update_metadata(&self, request: &UpdateMetadata) -> Result<Vec<TopicPartition>, ErrorCode> {
        let mut seen = self.control.lock().await;
        seen.check(&Sender {
            controller: request.controller,
            controller_epoch: request.controller_epoch,
            broker_epoch: request.broker_epoch,
        })?;
        Ok(self.cluster().update(request))
    }

    /// Makes this broker leader or follower of the partitions that are named, and makes logs that are missing.
    pub async fn leader_and_isr(self: &Arc<Self>, request: LeaderAndIsr) -> ControlAnswer {
        let mut seen = self.control.lock().await;
        if let Err(error) = seen.check(&request.sender) {
            return refused(error);
        }
        seen.told = seen.told.max(Some(request.sender.broker_epoch));
        let is_untold = seen.is_untold();
        let mut answer = ControlAnswer::default();
        let mut missing = Vec::new();
        for topic in request.topics {
            for partition in topic.partitions {
                let name = TopicPartition::new(TopicName::clone(&topic.name), partition.partition);
                match self.partition(&topic.name, partition.partition) {
                    Some(found) => {
                        let error = self.decide_or_put_off(&found, topic.id, partition);
                        answer.partitions.push((name, error));
                    }
                    None if !partition.replicas.contains(&self.me()) => {
                        answer.partitions.push((name, ErrorCode::UnknownTopicOrPartition));
                    }
                    None => missing.push(Missing {
                        name,
                        id: topic.id,
                        decision: partition,
                    }),
                }
            }
        }
        self.make(missing, &mut answer).await;
        self.surroundings().cut_off.set_untold(is_untold);
        answer
    }

    /// Takes the decision about a partition that is here.
    pub(super) fn decide(
        &self,
        partition: &Arc<Partition>,
        id: TopicId,
        decision: &LeaderAndIsrPartition,
    ) -> ErrorCode {
        match partition.apply(id, decision, false) {
            Ok((wakes, became)) => {
                wakes.dispatch();
                partition.told(decision.leader_epoch);
                self.became(partition, id, decision, became);
                ErrorCode::None
            }
            Err(error) => error,
        }
    }

    /// Does what follows from what this broker is by a decision.
    pub(super) fn became(
        &self,
        partition: &Arc<Partition>,
        id: TopicId,
        decision: &LeaderAndIsrPartition,
        became: Option<Role>,
    ) {
        let epoch = decision.leader_epoch;
        match became {
            Some(Role::Leader) => {
                self.fetchers.leave(partition.name());
                self.tell_elected(partition, epoch);
            }
            Some(_) => {
                let leader = decision.leader.unwrap_or(BrokerId(-1));
                self.fetchers.follow(partition, id, leader, epoch);
                self.tell_resigned(partition.name(), Some(epoch));
            }
            None => {}
        }
    }
}

/// The answer to a request of which nothing is done.
pub(super) fn refused(error: ErrorCode) -> ControlAnswer {
    ControlAnswer {
        error,
        ..ControlAnswer::default()
    }
}
