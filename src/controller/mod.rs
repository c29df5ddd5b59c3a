//! L6, the controller: creates, grows and deletes topics, changes configs, elects leaders.
//!
//! One task handles one event at a time, in the order they came; nothing else writes for the controller. It is elected
//! through the store, and everything that it writes is fenced by its epoch there: a controller that was deposed without
//! noticing stops at its next write. What decides (`assignment`, `election`, the plans of `create`) is kept apart from
//! what does. Its own broker gets the same typed requests as any other, through a [`BrokerLink`].

mod active;
mod alter_configs;
mod alter_partition;
pub mod assignment;
mod brokers;
mod candidacy;
mod channels;
pub mod comparison;
mod context;
mod controlled_shutdown;
mod create;
mod delete;
mod dropping;
mod elect_leaders;
pub mod election;
mod eligible;
mod events;
mod imbalance;
mod link;
mod loading;
mod log_ends;
mod new_marks;
mod notifications;
pub mod producer_id_source;
mod producer_ids;
mod queue;
mod reading_back;
mod reassignment;
mod reassignment_plan;
pub mod registration;
mod reign;
pub mod request;
mod retry;
mod to_controller;
pub mod topic_name;
mod unclean_shutdowns;
mod watching;

#[cfg(test)]
mod alter_configs_test;
#[cfg(test)]
mod candidacy_test;
#[cfg(test)]
mod cluster_test;
#[cfg(test)]
mod controller_test;
#[cfg(test)]
mod dropping_test;
#[cfg(test)]
mod election_test;
#[cfg(test)]
mod eligible_test;
#[cfg(test)]
mod fence_test;
#[cfg(test)]
mod leadership_test;
#[cfg(test)]
mod reading_back_test;
#[cfg(test)]
mod reassignment_test;
#[cfg(test)]
mod registration_test;
#[cfg(test)]
mod takeover_test;
#[cfg(test)]
mod told_test;
#[cfg(test)]
mod unclean_shutdowns_test;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{mpsc, oneshot};

pub use create::MAX_PARTITIONS_PER_REQUEST;
#[cfg(test)]
pub use link::Nobody;
pub use link::{BrokerLink, Links};
pub use request::{
    AdminError, AlterConfigs, AlterPartition, AlteredPartition, Answers, ConfigChanges, ConfigOperation,
    ConfigResource, CreatedTopic, ElectionType, MorePartitions, NewTopic, OngoingReassignment, Reassignment,
};
pub use to_controller::ToController;

use crate::base::clock;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerEpoch, BrokerId, TopicName, TopicPartition};
use crate::base::random::Random;
use crate::base::shutdown::Shutdown;
use crate::base::task;
use crate::metadata::Cluster;
use crate::metadata::configs::StoredConfigs;
use crate::store::znodes::notifications::encode_log_dir_event;
use crate::store::znodes::{Broker, ProducerIdBlock, paths};
use crate::store::{CreateKind, Store, StoreError};
use events::{Event, RETRY};
use registration::{RegisterError, Registration};

/// How many events may wait. Who brings one waits while the queue is full.
const QUEUE: usize = 1024;

/// What a controller works with.
pub struct Parts {
    /// This broker, which is registered.
    pub broker: BrokerId,
    /// The store.
    pub store: Arc<dyn Store>,
    /// What this broker knows of the cluster; configs are read from it.
    pub cluster: Cluster,
    /// Brings configs into the image.
    pub configs: StoredConfigs,
    /// This broker, as the controller reaches it.
    pub local: Arc<dyn BrokerLink>,
    /// The other brokers, as the controller reaches them.
    pub links: Arc<dyn Links>,
    /// Under which epoch this broker is registered, and how.
    pub registration: Arc<Registration>,
    /// For topic ids, and where assignments begin.
    pub random: Random,
}

/// The controller of this broker, active or not. Clones share it.
#[derive(Clone)]
pub struct Controller {
    events: mpsc::Sender<Event>,
    parts: Arc<Parts>,
    active: Arc<AtomicBool>,
}

impl Controller {
    /// Starts it: it tries to be elected, now and whenever there is no other controller, unless `controller.candidate` is
    /// false. The broker must be registered and its configs loaded. Ends with `shutdown`.
    pub fn start(parts: Parts, shutdown: Shutdown) -> Self {
        let (events, receiver) = mpsc::channel(QUEUE);
        let parts = Arc::new(parts);
        let active = Arc::new(AtomicBool::new(false));
        if !parts.may_rule() {
            task::spawn(candidacy::watch(Arc::clone(&parts), shutdown.clone()));
        }
        task::spawn(events::run(
            Arc::clone(&parts),
            Arc::clone(&active),
            receiver,
            events.clone(),
            shutdown,
        ));
        Self {
            events,
            parts,
            active,
        }
    }

    /// True while this broker is the active controller.
    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    /// Waits until everything that was asked before is done, the election at the start included. True when this
    /// broker is the active controller then.
    pub async fn settled(&self) -> bool {
        self.ask(|reply| Event::Settled { reply }).await.unwrap_or(false)
    }

    async fn ask<T>(&self, event: impl FnOnce(oneshot::Sender<T>) -> Event) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.events.send(event(reply)).await.ok()?;
        answer.await.ok()
    }

    /// Creates topics, or with `validate_only` says whether that would be possible. An answer per topic; the replicas
    /// of this broker are ready.
    pub async fn create_topics(&self, topics: Vec<NewTopic>, validate_only: bool) -> Answers<CreatedTopic> {
        let count = topics.len();
        self.ask(|reply| Event::CreateTopics {
            topics,
            validate_only,
            reply,
        })
        .await
        .unwrap_or_else(|| none(count))
    }

    /// Deletes topics. An answer per topic, in the order given.
    pub async fn delete_topics(&self, topics: Vec<TopicName>) -> Answers<()> {
        let count = topics.len();
        self.ask(|reply| Event::DeleteTopics { topics, reply })
            .await
            .unwrap_or_else(|| none(count))
    }

    /// Gives topics more partitions.
    pub async fn create_partitions(&self, topics: Vec<MorePartitions>, validate_only: bool) -> Answers<()> {
        let count = topics.len();
        self.ask(|reply| Event::CreatePartitions {
            topics,
            validate_only,
            reply,
        })
        .await
        .unwrap_or_else(|| none(count))
    }

    /// The next block of producer ids, for a broker.
    pub async fn allocate_producer_ids(
        &self,
        broker: BrokerId,
        epoch: BrokerEpoch,
    ) -> Result<ProducerIdBlock, AdminError> {
        self.ask(|reply| Event::AllocateProducerIds { broker, epoch, reply })
            .await
            .unwrap_or_else(|| Err(AdminError::not_controller()))
    }

    /// Tells the controller, whichever broker that is, that replicas of this broker do not work any more, because their
    /// disk failed (Kafka: `ReplicaManager.handleLogDirFailure`, `KafkaZkClient.propagateLogDirEvent`).
    pub async fn replicas_offline(&self, partitions: Vec<TopicPartition>) {
        let taken = self
            .ask(|reply| Event::ReplicasOffline { partitions, reply })
            .await;
        if taken != Some(true) {
            self.notify_of_log_dir().await;
        }
    }

    /// Has the controller of another broker ask this one which of its replicas work.
    async fn notify_of_log_dir(&self) {
        let path = format!("{}/{}", paths::LOG_DIR_EVENT_NOTIFICATIONS, paths::LOG_DIR_EVENT);
        let data = encode_log_dir_event(self.parts.broker);
        loop {
            let kind = CreateKind::PersistentSequential;
            match self.parts.store.create(&path, Some(data.clone()), kind).await {
                Ok(_) => return,
                // Two of them do no harm.
                Err(StoreError::ConnectionLoss | StoreError::SessionExpired) => clock::sleep(RETRY).await,
                Err(error) => {
                    tracing::error!("the controller cannot be told of a log directory that failed: {error}");
                    return;
                }
            }
        }
    }

    /// Registers this broker anew, because it is to be reached elsewhere, and has the brokers told of it.
    ///
    /// # Errors
    /// The registration could not be written, or another broker has an address.
    pub async fn register_again(&self, node: &Broker) -> Result<(), RegisterError> {
        self.parts.registration.change(node).await?;
        // Without a receiver the broker is about to end.
        let _ = self.events.send(Event::BrokersChanged).await;
        Ok(())
    }

    /// Elects leaders. An answer per partition, in the order given; ELECTION_NOT_NEEDED where the leader is right.
    pub async fn elect_leaders(
        &self,
        partitions: Vec<TopicPartition>,
        election: ElectionType,
    ) -> Answers<()> {
        let count = partitions.len();
        self.ask(|reply| Event::ElectLeaders {
            partitions,
            election,
            reply,
        })
        .await
        .unwrap_or_else(|| none(count))
    }

    /// Moves partitions to other brokers, or ends their moves. An answer per partition, in the order given: the move
    /// has begun.
    ///
    /// # Errors
    /// This broker is not the controller.
    pub async fn alter_reassignments(
        &self,
        reassignments: Vec<Reassignment>,
    ) -> Result<Answers<()>, AdminError> {
        self.ask(|reply| Event::AlterReassignments { reassignments, reply })
            .await
            .unwrap_or_else(|| Err(AdminError::not_controller()))
    }

    /// The moves that are under way, of these partitions or of all, by topic and partition.
    ///
    /// # Errors
    /// This broker is not the controller.
    pub async fn reassignments(
        &self,
        partitions: Option<Vec<TopicPartition>>,
    ) -> Result<Vec<OngoingReassignment>, AdminError> {
        self.ask(|reply| Event::ListReassignments { partitions, reply })
            .await
            .unwrap_or_else(|| Err(AdminError::not_controller()))
    }

    /// Takes what a leader proposes for the ISRs of its partitions. An answer per partition, in the order given.
    ///
    /// # Errors
    /// NOT_CONTROLLER; STALE_BROKER_EPOCH when the leader is not registered with that epoch.
    pub async fn alter_partitions(
        &self,
        broker: BrokerId,
        epoch: BrokerEpoch,
        proposals: Vec<AlterPartition>,
    ) -> Result<Vec<Result<AlteredPartition, ErrorCode>>, ErrorCode> {
        self.ask(|reply| Event::AlterPartitions {
            broker,
            epoch,
            proposals,
            reply,
        })
        .await
        .unwrap_or(Err(ErrorCode::NotController))
    }

    /// Has the partitions that a broker leads led by others, because it is about to stop. Yields those that it still
    /// leads.
    ///
    /// # Errors
    /// NOT_CONTROLLER; UNKNOWN_SERVER_ERROR when it is not registered; STALE_BROKER_EPOCH.
    pub async fn controlled_shutdown(
        &self,
        broker: BrokerId,
        epoch: BrokerEpoch,
    ) -> Result<Vec<TopicPartition>, ErrorCode> {
        self.ask(|reply| Event::ControlledShutdown { broker, epoch, reply })
            .await
            .unwrap_or(Err(ErrorCode::NotController))
    }

    /// Changes configs, through whichever broker this is. An answer per resource.
    pub async fn alter_configs(&self, changes: Vec<AlterConfigs>, validate_only: bool) -> Answers<()> {
        alter_configs::alter_all(&self.parts, changes, validate_only).await
    }
}

fn none<T>(count: usize) -> Answers<T> {
    (0..count).map(|_| Err(AdminError::not_controller())).collect()
}
