//! What a controller tells this broker's replicas: LeaderAndIsr (Kafka's `ReplicaManager.becomeLeaderOrFollower`), and who may
//! tell them. What stops them: [`stopping`](super::stopping).
//!
//! Invariant: requests are carried out one at a time; one of an older controller epoch than was seen, or for an earlier
//! registration of this broker, changes nothing. Logs are made on the pools of their directories, so that many
//! partitions are made side by side and no connection waits for them.

use std::sync::Arc;

use crate::base::clock;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerEpoch, BrokerId, ControllerEpoch, TopicId, TopicName, TopicPartition};
use crate::base::planted::planted;
use crate::base::task;
use crate::metadata::control::{ControlAnswer, LeaderAndIsr, LeaderAndIsrPartition, Sender, UpdateMetadata};
use crate::storage::log::Log;

use super::directories::HostDirectory;
use super::leadership::Role;
use super::partition::Partition;
use super::replicas::Replicas;
use super::upkeep::finish_creations;

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

/// A log that is to be made for a partition.
struct Making {
    topic: TopicName,
    id: TopicId,
    partition: LeaderAndIsrPartition,
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
        let mut answers = Vec::new();
        let mut missing = Vec::new();
        for topic in request.topics {
            for partition in topic.partitions {
                let name = TopicPartition::new(TopicName::clone(&topic.name), partition.partition);
                match self.partition(&topic.name, partition.partition) {
                    Some(found) => answers.push((name, self.decide_or_put_off(&found, topic.id, partition))),
                    None if !partition.replicas.contains(&self.me()) => {
                        answers.push((name, ErrorCode::UnknownTopicOrPartition));
                    }
                    None => missing.push((TopicName::clone(&topic.name), topic.id, partition)),
                }
            }
        }
        answers.extend(self.make(missing).await);
        self.surroundings().cut_off.set_untold(is_untold);
        ControlAnswer {
            error: ErrorCode::None,
            partitions: answers,
        }
    }

    /// Makes the logs that are missing, side by side, and takes the decisions about them.
    pub(super) async fn make(
        self: &Arc<Self>,
        missing: Vec<(TopicName, TopicId, LeaderAndIsrPartition)>,
    ) -> Vec<(TopicPartition, ErrorCode)> {
        let mut answers = Vec::new();
        let mut planned: Vec<usize> = self.directories().iter().map(|one| one.partitions()).collect();
        let mut batches: Vec<Vec<Making>> = self.directories().iter().map(|_| Vec::new()).collect();
        let any_offline = self.directories().iter().any(|directory| directory.is_offline());
        for (topic, id, partition) in missing {
            let name = TopicPartition::new(TopicName::clone(&topic), partition.partition);
            // A replica that was here before may lie in the directory that is offline: it must not begin anew elsewhere.
            let choice = if any_offline && !partition.is_new {
                None
            } else {
                self.preferred(&topic, partition.partition)
                    .or_else(|| self.emptiest(&planned))
            };
            let place = choice.and_then(|at| Some((planned.get_mut(at)?, batches.get_mut(at)?)));
            let Some((count, batch)) = place else {
                answers.push((name, ErrorCode::KafkaStorageError));
                continue;
            };
            *count += 1;
            batch.push(Making { topic, id, partition });
        }
        let mut running = Vec::new();
        for (directory, batch) in self.directories().iter().zip(batches) {
            if batch.is_empty() {
                continue;
            }
            let names: Vec<_> = batch
                .iter()
                .map(|one| TopicPartition::new(TopicName::clone(&one.topic), one.partition.partition))
                .collect();
            let (replicas, directory) = (Arc::clone(self), Arc::clone(directory));
            let pool = directory.pool().clone();
            let work = move || replicas.make_all(&directory, batch);
            running.push((names, task::spawn(async move { pool.run(work).await })));
        }
        for (names, task) in running {
            let made = match task.await {
                Ok(Ok(made)) => made,
                _ => vec![ErrorCode::KafkaStorageError; names.len()],
            };
            answers.extend(names.into_iter().zip(made));
        }
        answers
    }

    /// Makes logs in one directory, makes their folders durable with one sync, and takes the decisions about them.
    /// Blocks.
    fn make_all(self: &Arc<Self>, directory: &Arc<HostDirectory>, batch: Vec<Making>) -> Vec<ErrorCode> {
        let image = self.cluster().get();
        let made: Vec<_> = batch
            .iter()
            .map(|one| {
                let name = TopicPartition::new(TopicName::clone(&one.topic), one.partition.partition);
                let id = (!one.id.is_zero()).then_some(one.id);
                let config = image.log_config(&one.topic);
                Log::create(directory.volume(), name, id, config, clock::now_ms())
            })
            .collect();
        let synced = directory.sync();
        let names: Vec<_> = made.iter().flatten().map(|log| log.partition().clone()).collect();
        self.forget_former_lives(directory, &names);
        let mut hosted = Vec::new();
        let answers = batch
            .iter()
            .zip(made)
            .map(|(one, log)| match (log, &synced) {
                (Ok(log), Ok(())) => {
                    let partition = self.host(directory, log);
                    hosted.push(Arc::clone(&partition));
                    self.decide(&partition, one.id, &one.partition, true)
                }
                // The volume has said why.
                _ => ErrorCode::KafkaStorageError,
            })
            .collect();
        finish_creations(directory, hosted);
        answers
    }

    /// The directory in which the partition is wanted, if that works.
    fn preferred(&self, topic: &TopicName, partition: i32) -> Option<usize> {
        let at = self.moves.take_preference(topic, partition)?;
        let directory = self.directories().get(at)?;
        (!directory.is_offline() && !directory.watch().is_stalled()).then_some(at)
    }

    /// The working directory with the fewest partitions (`LogManager.nextLogDirs`). One whose calls do not return is waited
    /// for when there is no other one.
    fn emptiest(&self, planned: &[usize]) -> Option<usize> {
        self.directories()
            .iter()
            .zip(planned)
            .enumerate()
            .filter(|(_, (directory, _))| !directory.is_offline())
            .min_by_key(|(_, (directory, count))| (directory.watch().is_stalled(), **count))
            .map(|(at, _)| at)
    }

    /// Takes the decision about a partition that is here. `on_pool`: it may wait for the directory.
    pub(super) fn decide(
        &self,
        partition: &Arc<Partition>,
        id: TopicId,
        decision: &LeaderAndIsrPartition,
        on_pool: bool,
    ) -> ErrorCode {
        match partition.apply(id, decision, on_pool) {
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
        partitions: Vec::new(),
    }
}
