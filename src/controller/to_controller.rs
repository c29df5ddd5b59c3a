//! The way of a broker to the active controller, whichever broker that is: the same questions, asked in this process or over
//! the wire (Kafka: `NodeToControllerChannelManager`, `AlterPartitionManager`, `RPCProducerIdManager`).
//!
//! Each user has one of its own, with a connection of its own: who waits for one answer holds up nobody else.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::Controller;
use super::registration::Registration;
use super::request::{AdminError, AlterPartition, AlteredPartition, Answers, NewTopic};
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerId, LeaderEpoch, TopicName, TopicPartition};
use crate::metadata::{Cluster, ClusterImage};
use crate::peer::{Address, Connection, Options, PeerError, Version, versions};
use crate::store::znodes::ProducerIdBlock;
use crate::wire::messages::allocate_producer_ids::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};
use crate::wire::messages::alter_partition::{
    AlterPartitionRequest, AlterPartitionRequestPartitionData, AlterPartitionRequestTopicData,
    AlterPartitionResponse, BrokerState,
};
use crate::wire::messages::controlled_shutdown::{ControlledShutdownRequest, ControlledShutdownResponse};
use crate::wire::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse,
};
use crate::wire::{Message, Text};

/// The version of CreateTopics that is asked for at most: all that is needed since 4 is defaults.
const CREATE_TOPICS_NEWEST: i16 = 7;

/// How long the controller is to wait at most for the leaders of topics that are created for a client, in milliseconds: the
/// client waits meanwhile.
const CREATE_TOPICS_TIMEOUT_MS: i32 = 1_000;

/// Where the controller is.
enum Place {
    Here,
    There(Address),
}

/// A way to the active controller.
pub struct ToController {
    controller: Controller,
    cluster: Cluster,
    registration: Arc<Registration>,
    connection: Mutex<Option<Connection>>,
}

impl ToController {
    /// A way of the broker of this registration.
    pub fn new(controller: Controller, cluster: Cluster, registration: Arc<Registration>) -> Self {
        Self {
            controller,
            cluster,
            registration,
            connection: Mutex::new(None),
        }
    }

    /// Where the controller is, as the last UpdateMetadata told.
    fn place(&self, image: &ClusterImage) -> Option<Place> {
        let id = image.controller?;
        if id == self.registration.broker() {
            return Some(Place::Here);
        }
        let broker = image.brokers.get(&id)?;
        let endpoint = broker.endpoint(image.broker_config.controller_listener())?;
        Some(Place::There(Address {
            broker: id,
            host: Arc::clone(&endpoint.host),
            port: endpoint.port,
        }))
    }

    /// Asks the controller at `address`, once.
    async fn ask<Q, A>(&self, address: Address, version: Version, request: &Q) -> Result<(i16, A), PeerError>
    where
        Q: Message + Send + Sync,
        A: Message + Send,
    {
        let mut kept = self.connection.lock().await;
        let mut connection = match kept.take() {
            Some(connection) if *connection.address() == address => connection,
            _ => Connection::new(address, self.options()),
        };
        let version = match version {
            Version::Fixed(version) => version,
            Version::Newest(ours) => connection.newest_version(Q::KEY, ours).await?,
        };
        let answer = connection.send(version, request).await;
        *kept = Some(connection);
        Ok((version, answer?))
    }

    fn options(&self) -> Options {
        let image = self.cluster.get();
        let timeout_ms = u64::try_from(image.broker_config.controller_socket_timeout_ms).unwrap_or(0);
        Options::new(
            image.this_broker.to_string(),
            Duration::from_millis(timeout_ms.max(1)),
        )
    }

    /// A block of producer ids for this broker.
    ///
    /// # Errors
    /// What the controller says; NOT_CONTROLLER while none is known or reached.
    pub async fn allocate_producer_ids(&self) -> Result<ProducerIdBlock, AdminError> {
        let broker = self.registration.broker();
        let epoch = self.registration.epoch().ok_or_else(AdminError::not_controller)?;
        let image = self.cluster.get();
        let address = match self.place(&image) {
            Some(Place::Here) => return self.controller.allocate_producer_ids(broker, epoch).await,
            Some(Place::There(address)) => address,
            None => return Err(AdminError::not_controller()),
        };
        let request = AllocateProducerIdsRequest {
            broker_id: broker.get(),
            broker_epoch: epoch.get(),
        };
        let version = Version::Newest(versions::ALLOCATE_PRODUCER_IDS_NEWEST);
        let answer: (i16, AllocateProducerIdsResponse) =
            self.ask(address, version, &request).await.map_err(unreached)?;
        let answer = answer.1;
        let code = ErrorCode::of_answer(answer.error_code);
        if !code.is_none() {
            return Err(AdminError { code, message: None });
        }
        let length = i64::from(answer.producer_id_len);
        if answer.producer_id_start < 0 || length < 1 {
            let message = "The controller answered with no block of producer ids.";
            return Err(AdminError::new(ErrorCode::UnknownServerError, message));
        }
        Ok(ProducerIdBlock {
            broker,
            first: answer.producer_id_start,
            last: answer.producer_id_start.saturating_add(length - 1),
        })
    }

    /// Proposes ISRs of partitions that this broker leads. An answer per partition, in the order given.
    ///
    /// # Errors
    /// What is wrong with the whole; NOT_CONTROLLER while no controller is known or reached.
    pub async fn alter_partitions(
        &self,
        proposals: &[AlterPartition],
    ) -> Result<Vec<Result<AlteredPartition, ErrorCode>>, ErrorCode> {
        let broker = self.registration.broker();
        let epoch = self.registration.epoch().ok_or(ErrorCode::StaleBrokerEpoch)?;
        let image = self.cluster.get();
        let address = match self.place(&image) {
            Some(Place::Here) => {
                return self
                    .controller
                    .alter_partitions(broker, epoch, proposals.to_vec())
                    .await;
            }
            Some(Place::There(address)) => address,
            None => return Err(ErrorCode::NotController),
        };
        let request = AlterPartitionRequest {
            broker_id: broker.get(),
            broker_epoch: epoch.get(),
            topics: alter_partition_topics(&image, proposals),
        };
        let by_id = request.topics.iter().all(|topic| !topic.topic_id.is_zero());
        let newest = if by_id {
            versions::ALTER_PARTITION_NEWEST
        } else {
            versions::ALTER_PARTITION_BY_NAME_NEWEST
        };
        let (_, answer): (i16, AlterPartitionResponse) = self
            .ask(address, Version::Newest(newest), &request)
            .await
            .map_err(|error| {
                tracing::warn!("AlterPartition: {error}");
                ErrorCode::NotController
            })?;
        match ErrorCode::of_answer(answer.error_code) {
            ErrorCode::None => Ok(altered(&image, proposals, &answer)),
            error => Err(error),
        }
    }

    /// Has topics created for a client that asked about them. An answer per topic, in the order given. May be dropped.
    pub async fn create_topics(&self, topics: Vec<NewTopic>) -> Answers<()> {
        let image = self.cluster.get();
        let count = topics.len();
        let refused = |error: &AdminError| (0..count).map(|_| Err(error.clone())).collect();
        let address = match self.place(&image) {
            Some(Place::Here) => {
                let answers = self.controller.create_topics(topics, false).await;
                return answers.into_iter().map(|answer| answer.map(|_| ())).collect();
            }
            Some(Place::There(address)) => address,
            None => return refused(&AdminError::not_controller()),
        };
        let request = CreateTopicsRequest {
            topics: topics.iter().map(creatable).collect(),
            timeout_ms: image
                .broker_config
                .request_timeout_ms
                .min(CREATE_TOPICS_TIMEOUT_MS),
            validate_only: false,
        };
        let answer = self
            .ask(address, Version::Newest(CREATE_TOPICS_NEWEST), &request)
            .await;
        let answer: CreateTopicsResponse = match answer {
            Ok((_, answer)) => answer,
            Err(error) => return refused(&unreached(error)),
        };
        let find = |topic: &NewTopic| answer.topics.iter().find(|one| *one.name == *topic.name);
        let answers = topics.iter().map(|topic| match find(topic) {
            Some(one) => match ErrorCode::of_answer(one.error_code) {
                ErrorCode::None => Ok(()),
                code => Err(AdminError {
                    code,
                    message: one.error_message.as_ref().map(ToString::to_string),
                }),
            },
            None => Err(AdminError::not_controller()),
        });
        answers.collect()
    }

    /// Asks the controller, once, to have the partitions that this broker leads led by others. Yields those that it still
    /// leads.
    ///
    /// # Errors
    /// What the controller says; NOT_CONTROLLER while none is known or reached.
    pub async fn controlled_shutdown(&self) -> Result<Vec<TopicPartition>, ErrorCode> {
        let broker = self.registration.broker();
        let epoch = self.registration.epoch().ok_or(ErrorCode::StaleBrokerEpoch)?;
        let image = self.cluster.get();
        let address = match self.place(&image) {
            Some(Place::Here) => return self.controller.controlled_shutdown(broker, epoch).await,
            Some(Place::There(address)) => address,
            None => return Err(ErrorCode::NotController),
        };
        let request = ControlledShutdownRequest {
            broker_id: broker.get(),
            broker_epoch: epoch.get(),
        };
        let version = Version::Fixed(versions::CONTROLLED_SHUTDOWN);
        let (_, answer): (i16, ControlledShutdownResponse) =
            self.ask(address, version, &request).await.map_err(|error| {
                tracing::warn!("ControlledShutdown: {error}");
                ErrorCode::NotController
            })?;
        match ErrorCode::of_answer(answer.error_code) {
            ErrorCode::None => Ok(answer
                .remaining_partitions
                .iter()
                .map(|one| TopicPartition::new(TopicName::from(one.topic_name.as_str()), one.partition_index))
                .collect()),
            error => Err(error),
        }
    }
}

fn unreached(error: PeerError) -> AdminError {
    AdminError::new(
        ErrorCode::NotController,
        format!("The controller did not answer: {error}."),
    )
}

fn creatable(topic: &NewTopic) -> CreatableTopic {
    let configs = topic.configs.iter();
    CreatableTopic {
        name: Text::copy(&topic.name),
        num_partitions: topic.partitions,
        replication_factor: topic.replication_factor,
        assignments: Vec::new(),
        configs: configs
            .map(|(name, value)| CreatableTopicConfig {
                name: Text::copy(name),
                value: value.as_deref().map(Text::copy),
            })
            .collect(),
    }
}

fn alter_partition_topics(
    image: &ClusterImage,
    proposals: &[AlterPartition],
) -> Vec<AlterPartitionRequestTopicData> {
    let mut topics: Vec<AlterPartitionRequestTopicData> = Vec::new();
    for proposal in proposals {
        let name = &proposal.partition.topic;
        let partition = AlterPartitionRequestPartitionData {
            partition_index: proposal.partition.partition,
            leader_epoch: proposal.leader_epoch.get(),
            new_isr: proposal.isr.iter().map(|(id, _)| id.get()).collect(),
            new_isr_with_epochs: proposal
                .isr
                .iter()
                .map(|(id, epoch)| BrokerState {
                    broker_id: id.get(),
                    broker_epoch: epoch.get(),
                })
                .collect(),
            leader_recovery_state: i8::from(proposal.recovering),
            partition_epoch: proposal.partition_epoch,
        };
        match topics.last_mut().filter(|last| *last.topic_name == **name) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(AlterPartitionRequestTopicData {
                topic_name: Text::copy(name),
                topic_id: image.topic(name).map(|topic| topic.id).unwrap_or_default(),
                partitions: vec![partition],
            }),
        }
    }
    topics
}

fn altered(
    image: &ClusterImage,
    proposals: &[AlterPartition],
    answer: &AlterPartitionResponse,
) -> Vec<Result<AlteredPartition, ErrorCode>> {
    let find = |proposal: &AlterPartition| {
        let name = &proposal.partition.topic;
        let id = image.topic(name).map(|topic| topic.id).unwrap_or_default();
        let topic = answer.topics.iter().find(|topic| {
            let by_id = !id.is_zero() && topic.topic_id == id;
            by_id || *topic.topic_name == **name
        })?;
        let mut partitions = topic.partitions.iter();
        partitions.find(|one| one.partition_index == proposal.partition.partition)
    };
    let answers = proposals.iter().map(|proposal| {
        let one = find(proposal).ok_or(ErrorCode::UnknownServerError)?;
        match ErrorCode::of_answer(one.error_code) {
            ErrorCode::None => Ok(AlteredPartition {
                leader: Some(BrokerId(one.leader_id)).filter(|id| id.get() >= 0),
                leader_epoch: LeaderEpoch(one.leader_epoch),
                isr: one.isr.iter().copied().map(BrokerId).collect(),
                recovering: one.leader_recovery_state != 0,
                partition_epoch: one.partition_epoch,
            }),
            error => Err(error),
        }
    });
    answers.collect()
}
