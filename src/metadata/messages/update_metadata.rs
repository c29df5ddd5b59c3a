//! UpdateMetadata, versions 0 to 8.
//!
//! 0 tells of each broker the one place where it listens in plain text; 1 adds endpoints with their security protocol, 2
//! the rack, 3 the listeners' names; 4 the offline replicas; 5 the broker epoch, and partitions grouped by topic; 6 is
//! flexible; 7 adds topic ids; 8 the type and the mark of a KRaft controller. The answer is one error.
//!
//! A message has no broker epochs: brokers that it tells of have −1.

use std::sync::Arc;

use super::{LEADER_DURING_DELETE, NO_LEADER, Refused, brokers, by_topic, leader, numbers};
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, TopicId, TopicName};
use crate::metadata::control::{PartitionMetadata, UpdateMetadata, UpdateMetadataTopic};
use crate::metadata::{BrokerImage, Endpoint, PartitionImage};
use crate::wire::Text;
use crate::wire::messages::update_metadata::{
    UpdateMetadataBroker, UpdateMetadataEndpoint, UpdateMetadataPartitionState, UpdateMetadataRequest,
    UpdateMetadataResponse, UpdateMetadataTopicState,
};

/// The first version with partitions grouped by topic.
const GROUPED: i16 = 5;

/// The first version with racks.
const RACKS: i16 = 2;

/// The security protocols by their number on the wire (Kafka: `SecurityProtocol`).
static SECURITY_PROTOCOLS: [&str; 4] = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];

fn security_protocol(name: &str) -> Option<i16> {
    let at = SECURITY_PROTOCOLS.iter().position(|known| *known == name)?;
    i16::try_from(at).ok()
}

impl UpdateMetadata {
    /// The message in `version`. An endpoint with a security protocol that Kafka does not have is left out.
    pub fn message(&self, version: i16) -> UpdateMetadataRequest {
        let mut message = UpdateMetadataRequest {
            controller_id: self.controller.get(),
            controller_epoch: self.controller_epoch.get(),
            broker_epoch: self.broker_epoch.get(),
            live_brokers: self
                .live_brokers
                .iter()
                .map(|broker| told(broker, version))
                .collect(),
            ..UpdateMetadataRequest::default()
        };
        if version < GROUPED {
            let states = self.topics.iter().flat_map(|topic| {
                let name = Text::from(&topic.name);
                let named = move |state: UpdateMetadataPartitionState| UpdateMetadataPartitionState {
                    topic_name: name.clone(),
                    ..state
                };
                topic.partitions.iter().map(state).map(named)
            });
            message.ungrouped_partition_states = states.collect();
        } else {
            let topics = self.topics.iter().map(|topic| UpdateMetadataTopicState {
                topic_name: Text::from(&topic.name),
                topic_id: topic.id,
                partition_states: topic.partitions.iter().map(state).collect(),
            });
            message.topic_states = topics.collect();
        }
        message
    }

    /// What a message says.
    ///
    /// # Errors
    /// When it comes from a KRaft controller, or names a security protocol that Kafka does not have.
    pub fn from_message(message: &UpdateMetadataRequest, version: i16) -> Result<Self, Refused> {
        if message.is_k_raft_controller {
            return Err(Refused::KraftController);
        }
        let topics = if version < GROUPED {
            let states = &message.ungrouped_partition_states;
            by_topic(states.iter().map(|state| (&state.topic_name, read(state))))
                .into_iter()
                .map(|(name, partitions)| UpdateMetadataTopic {
                    name,
                    id: TopicId::ZERO,
                    partitions,
                })
                .collect()
        } else {
            let topics = message.topic_states.iter();
            topics
                .map(|topic| UpdateMetadataTopic {
                    name: TopicName::from(&topic.topic_name),
                    id: topic.topic_id,
                    partitions: topic.partition_states.iter().map(read).collect(),
                })
                .collect()
        };
        let live_brokers: Result<_, Refused> = message
            .live_brokers
            .iter()
            .map(|broker| live(broker, version).map(Arc::new))
            .collect();
        Ok(Self {
            controller: BrokerId(message.controller_id),
            controller_epoch: ControllerEpoch(message.controller_epoch),
            broker_epoch: BrokerEpoch(message.broker_epoch),
            live_brokers: live_brokers?,
            topics,
        })
    }
}

fn told(broker: &BrokerImage, version: i16) -> UpdateMetadataBroker {
    let is_plain = |endpoint: &&Endpoint| &*endpoint.security_protocol == "PLAINTEXT";
    if version == 0 {
        let plain = broker.endpoints.iter().find(is_plain);
        return UpdateMetadataBroker {
            id: broker.id.get(),
            v0_host: plain.map_or(Text::EMPTY, |endpoint| Text::from(&endpoint.host)),
            v0_port: plain.map_or(0, |endpoint| endpoint.port),
            ..UpdateMetadataBroker::default()
        };
    }
    let endpoints = broker.endpoints.iter();
    UpdateMetadataBroker {
        id: broker.id.get(),
        endpoints: endpoints
            .filter_map(|endpoint| {
                Some(UpdateMetadataEndpoint {
                    port: endpoint.port,
                    host: Text::from(&endpoint.host),
                    listener: Text::from(&endpoint.listener),
                    security_protocol: security_protocol(&endpoint.security_protocol)?,
                })
            })
            .collect(),
        rack: broker.rack.as_ref().map(Text::from),
        ..UpdateMetadataBroker::default()
    }
}

fn live(broker: &UpdateMetadataBroker, version: i16) -> Result<BrokerImage, Refused> {
    let [plaintext, ..] = SECURITY_PROTOCOLS;
    let endpoints = if version == 0 {
        vec![Endpoint {
            listener: plaintext.into(),
            security_protocol: plaintext.into(),
            host: Arc::from(&broker.v0_host),
            port: broker.v0_port,
        }]
    } else {
        let endpoints: Result<_, Refused> = broker.endpoints.iter().map(endpoint).collect();
        endpoints?
    };
    // A version without racks leaves the message's default there, which is empty instead of null.
    let rack = broker.rack.as_ref().filter(|_| version >= RACKS);
    Ok(BrokerImage {
        id: BrokerId(broker.id),
        epoch: BrokerEpoch(-1),
        endpoints,
        rack: rack.map(Arc::from),
    })
}

fn endpoint(endpoint: &UpdateMetadataEndpoint) -> Result<Endpoint, Refused> {
    let id = endpoint.security_protocol;
    let known = usize::try_from(id).ok();
    let name = known.and_then(|at| SECURITY_PROTOCOLS.get(at));
    let name = *name.ok_or(Refused::SecurityProtocol(id))?;
    // Below version 3 a listener has no name.
    let listener = if endpoint.listener.is_empty() {
        Arc::from(name)
    } else {
        Arc::from(&endpoint.listener)
    };
    Ok(Endpoint {
        listener,
        security_protocol: name.into(),
        host: Arc::from(&endpoint.host),
        port: endpoint.port,
    })
}

fn state((partition, metadata): &(i32, PartitionMetadata)) -> UpdateMetadataPartitionState {
    let empty = UpdateMetadataPartitionState {
        partition_index: *partition,
        ..UpdateMetadataPartitionState::default()
    };
    match metadata {
        // As Kafka has it, with a leader epoch of 0. It names the replicas too, which no receiver reads.
        PartitionMetadata::Deleted => UpdateMetadataPartitionState {
            leader: LEADER_DURING_DELETE,
            ..empty
        },
        PartitionMetadata::State(image) => UpdateMetadataPartitionState {
            controller_epoch: image.controller_epoch.get(),
            leader: image.leader.map_or(NO_LEADER, BrokerId::get),
            leader_epoch: image.leader_epoch.get(),
            isr: numbers(&image.isr),
            zk_version: image.partition_epoch,
            replicas: numbers(&image.replicas),
            offline_replicas: numbers(&image.offline_replicas),
            ..empty
        },
    }
}

fn read(state: &UpdateMetadataPartitionState) -> (i32, PartitionMetadata) {
    let metadata = if state.leader == LEADER_DURING_DELETE {
        PartitionMetadata::Deleted
    } else {
        PartitionMetadata::State(Arc::new(PartitionImage {
            controller_epoch: ControllerEpoch(state.controller_epoch),
            leader: leader(state.leader),
            leader_epoch: LeaderEpoch(state.leader_epoch),
            partition_epoch: state.zk_version,
            replicas: brokers(&state.replicas),
            isr: brokers(&state.isr),
            offline_replicas: brokers(&state.offline_replicas),
        }))
    };
    (state.partition_index, metadata)
}

/// The answer to an UpdateMetadata as a message; alike in all versions.
pub fn update_metadata_answer(error: ErrorCode) -> UpdateMetadataResponse {
    UpdateMetadataResponse {
        error_code: error.code(),
    }
}

/// What the message answers to an UpdateMetadata.
pub fn update_metadata_error(message: &UpdateMetadataResponse) -> ErrorCode {
    ErrorCode::of_answer(message.error_code)
}
