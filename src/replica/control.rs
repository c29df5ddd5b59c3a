//! What a controller tells this broker's replicas: LeaderAndIsr and StopReplica (Kafka's
//! `ReplicaManager.becomeLeaderOrFollower`, `stopReplicas`).
//!
//! Invariant: requests are carried out one at a time; one of an older controller epoch than was seen, or for an earlier
//! registration of this broker, changes nothing. Logs are made on the pools of their directories, so that many
//! partitions are made side by side and no connection waits for them.

use std::sync::Arc;

use crate::base::clock;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerEpoch, BrokerId, ControllerEpoch, TopicId, TopicName, TopicPartition};
use crate::metadata::control::{
    ControlAnswer, LeaderAndIsr, LeaderAndIsrPartition, Sender, StopReplica, TOPIC_IS_DELETED,
};
use crate::storage::log::Log;

use super::background::Buried;
use super::directories::HostDirectory;
use super::leadership;
use super::partition::Partition;
use super::replicas::Replicas;

/// The newest controller and registration seen.
#[derive(Debug, Default)]
pub struct Seen {
    controller_epoch: ControllerEpoch,
    broker_epoch: Option<BrokerEpoch>,
}

impl Seen {
    fn check(&mut self, sender: &Sender) -> Result<(), ErrorCode> {
        if let Some(own) = self.broker_epoch
            && sender.broker_epoch.get() >= 0
            && sender.broker_epoch < own
        {
            return Err(ErrorCode::StaleBrokerEpoch);
        }
        if sender.controller_epoch < self.controller_epoch {
            return Err(ErrorCode::StaleControllerEpoch);
        }
        self.controller_epoch = sender.controller_epoch;
        Ok(())
    }
}

/// A log that is to be made for a partition.
struct Making {
    topic: TopicName,
    id: TopicId,
    partition: LeaderAndIsrPartition,
    directory: Arc<HostDirectory>,
}

impl Replicas {
    /// Says under which epoch this broker is registered: requests for an earlier one are refused from now on.
    pub async fn registered(&self, epoch: BrokerEpoch) {
        self.control.lock().await.broker_epoch = Some(epoch);
    }

    /// Makes this broker leader or follower of the partitions that are named, and makes logs that are missing.
    pub async fn leader_and_isr(self: &Arc<Self>, request: LeaderAndIsr) -> ControlAnswer {
        let mut seen = self.control.lock().await;
        if let Err(error) = seen.check(&request.sender) {
            return refused(error);
        }
        let mut answers = Vec::new();
        let mut missing = Vec::new();
        for topic in request.topics {
            for partition in topic.partitions {
                let name = TopicPartition::new(TopicName::clone(&topic.name), partition.partition);
                match self.partition(&topic.name, partition.partition) {
                    Some(found) => answers.push((name, decide(&found, topic.id, &partition))),
                    None => missing.push((TopicName::clone(&topic.name), topic.id, partition)),
                }
            }
        }
        answers.extend(self.make(missing).await);
        ControlAnswer {
            error: ErrorCode::None,
            partitions: answers,
        }
    }

    /// Makes the logs that are missing, side by side, and takes the decisions about them.
    async fn make(
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
                self.emptiest(&planned)
            };
            let place = choice.and_then(|at| {
                Some((
                    planned.get_mut(at)?,
                    batches.get_mut(at)?,
                    self.directories().get(at)?,
                ))
            });
            let Some((count, batch, directory)) = place else {
                answers.push((name, ErrorCode::KafkaStorageError));
                continue;
            };
            *count += 1;
            batch.push(Making {
                topic,
                id,
                partition,
                directory: Arc::clone(directory),
            });
        }
        let mut running = Vec::new();
        for batch in batches.into_iter().filter(|batch| !batch.is_empty()) {
            let names: Vec<_> = batch
                .iter()
                .map(|one| TopicPartition::new(TopicName::clone(&one.topic), one.partition.partition))
                .collect();
            let pool = batch.first().map(|one| one.directory.pool().clone());
            let replicas = Arc::clone(self);
            let work = move || {
                batch
                    .into_iter()
                    .map(|one| replicas.make_one(one))
                    .collect::<Vec<_>>()
            };
            if let Some(pool) = pool {
                running.push((
                    names,
                    crate::base::task::spawn(async move { pool.run(work).await }),
                ));
            }
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

    /// The working directory with the fewest partitions (`LogManager.nextLogDirs`).
    fn emptiest(&self, planned: &[usize]) -> Option<usize> {
        self.directories()
            .iter()
            .zip(planned)
            .enumerate()
            .filter(|(_, (directory, _))| !directory.is_offline() && !directory.watch().is_stalled())
            .min_by_key(|(_, (_, count))| **count)
            .map(|(at, _)| at)
    }

    /// Makes one log and takes the decision about it. Blocks.
    fn make_one(self: &Arc<Self>, making: Making) -> ErrorCode {
        let name = TopicPartition::new(TopicName::clone(&making.topic), making.partition.partition);
        let config = self.cluster().get().log_config(&making.topic);
        let id = (!making.id.is_zero()).then_some(making.id);
        match Log::create(
            making.directory.volume(),
            name.clone(),
            id,
            config,
            clock::now_ms(),
        ) {
            Ok(log) => {
                let partition = self.host(&making.directory, log);
                partition.finish_creation();
                decide(&partition, making.id, &making.partition)
            }
            Err(error) => {
                tracing::error!(partition = %name, %error, "cannot make a log");
                ErrorCode::KafkaStorageError
            }
        }
    }

    /// Stops replicas, and deletes the logs that are to go: renamed now, removed after `file.delete.delay.ms`.
    pub async fn stop_replica(self: &Arc<Self>, request: StopReplica) -> ControlAnswer {
        let mut seen = self.control.lock().await;
        if let Err(error) = seen.check(&request.sender) {
            return refused(error);
        }
        let mut answers = Vec::new();
        for stop in request.partitions {
            let name = stop.partition;
            let Some(partition) = self.partition(&name.topic, name.partition) else {
                answers.push((name, ErrorCode::None));
                continue;
            };
            let known = partition.leader().map(|(_, epoch)| epoch);
            let is_stale = stop.leader_epoch != TOPIC_IS_DELETED
                && stop.leader_epoch.get() >= 0
                && known.is_some_and(|known| stop.leader_epoch < known);
            if is_stale {
                answers.push((name, ErrorCode::FencedLeaderEpoch));
                continue;
            }
            self.forget(&name.topic, name.partition);
            let replicas = Arc::clone(self);
            let pool = partition.pool().clone();
            let delete = stop.delete;
            let done = pool.run(move || replicas.stop_one(&partition, delete)).await;
            answers.push((name, done.unwrap_or(ErrorCode::KafkaStorageError)));
        }
        ControlAnswer {
            error: ErrorCode::None,
            partitions: answers,
        }
    }

    /// Blocks.
    fn stop_one(&self, partition: &Partition, delete: bool) -> ErrorCode {
        partition.stop().dispatch();
        if !delete {
            return ErrorCode::None;
        }
        match partition.bury(clock::now_ms()) {
            Ok((deleted, due_ms)) => {
                self.bury(Buried::folder(Arc::clone(partition.directory()), deleted, due_ms));
                ErrorCode::None
            }
            Err(error) => {
                tracing::error!(partition = %partition.name(), %error, "cannot delete a log");
                ErrorCode::KafkaStorageError
            }
        }
    }
}

fn refused(error: ErrorCode) -> ControlAnswer {
    ControlAnswer {
        error,
        partitions: Vec::new(),
    }
}

/// Takes the decision about a partition that is here.
fn decide(partition: &Arc<Partition>, id: TopicId, decision: &LeaderAndIsrPartition) -> ErrorCode {
    if let Err(error) = partition.take_topic_id(id) {
        return error;
    }
    let decision = leadership::LeaderAndIsr {
        controller_epoch: decision.controller_epoch,
        leader: decision.leader.unwrap_or(BrokerId(-1)),
        leader_epoch: decision.leader_epoch,
        partition_epoch: decision.partition_epoch,
        isr: decision.isr.clone(),
        replicas: decision.replicas.clone(),
    };
    match partition.apply(decision) {
        Ok(wakes) => {
            wakes.dispatch();
            ErrorCode::None
        }
        Err(error) => error,
    }
}
