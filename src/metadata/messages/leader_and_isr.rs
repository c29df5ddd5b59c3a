//! LeaderAndIsr, versions 0 to 7.
//!
//! 1 adds `is_new`; 2 the broker epoch, and partitions grouped by topic; 3 the adding and removing replicas; 4 is
//! flexible; 5 adds topic ids and the type, and its answer names topics by id alone; 6 the leader's recovery; 7 the mark
//! of a KRaft controller.

use std::collections::{BTreeMap, BTreeSet};

use super::{NO_LEADER, Refused, brokers, by_topic, leader, numbers, partition};
use crate::base::error_code::ErrorCode;
use crate::base::ids::{
    BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, TopicId, TopicName, TopicPartition,
};
use crate::metadata::BrokerImage;
use crate::metadata::control::{
    ControlAnswer, LeaderAndIsr, LeaderAndIsrPartition, LeaderAndIsrTopic, Sender,
};
use crate::wire::Text;
use crate::wire::messages::leader_and_isr::{
    LeaderAndIsrLiveLeader, LeaderAndIsrPartitionError, LeaderAndIsrPartitionState, LeaderAndIsrRequest,
    LeaderAndIsrResponse, LeaderAndIsrTopicError, LeaderAndIsrTopicState,
};

/// The first version with partitions grouped by topic.
const GROUPED: i16 = 2;
/// The first version with topic ids; its answer has no names.
const TOPIC_IDS: i16 = 5;

impl LeaderAndIsr {
    /// The message in `version`. Of `live`, those that lead a named partition are told with where they listen under
    /// `listener`, the controller's inter-broker listener; Kafka's brokers do not read that, but have always been told.
    pub fn message<'a>(
        &self,
        version: i16,
        live: impl IntoIterator<Item = &'a BrokerImage>,
        listener: &str,
    ) -> LeaderAndIsrRequest {
        let partitions = || self.topics.iter().flat_map(|topic| &topic.partitions);
        let leaders: BTreeSet<BrokerId> = partitions().filter_map(|partition| partition.leader).collect();
        let live_leaders = live.into_iter().filter(|broker| leaders.contains(&broker.id));
        let mut message = LeaderAndIsrRequest {
            controller_id: self.sender.controller.get(),
            controller_epoch: self.sender.controller_epoch.get(),
            broker_epoch: self.sender.broker_epoch.get(),
            live_leaders: live_leaders
                .filter_map(|broker| {
                    let endpoint = broker.endpoint(listener)?;
                    Some(LeaderAndIsrLiveLeader {
                        broker_id: broker.id.get(),
                        host_name: Text::from(&endpoint.host),
                        port: endpoint.port,
                    })
                })
                .collect(),
            ..LeaderAndIsrRequest::default()
        };
        if version < GROUPED {
            let states = self.topics.iter().flat_map(|topic| {
                let name = Text::from(&topic.name);
                let named = move |state: LeaderAndIsrPartitionState| LeaderAndIsrPartitionState {
                    topic_name: name.clone(),
                    ..state
                };
                topic.partitions.iter().map(state).map(named)
            });
            message.ungrouped_partition_states = states.collect();
        } else {
            let topics = self.topics.iter().map(|topic| LeaderAndIsrTopicState {
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
    /// When it comes from a KRaft controller.
    pub fn from_message(message: &LeaderAndIsrRequest, version: i16) -> Result<Self, Refused> {
        if message.is_k_raft_controller {
            return Err(Refused::KraftController);
        }
        let topics = if version < GROUPED {
            let states = &message.ungrouped_partition_states;
            by_topic(states.iter().map(|state| (&state.topic_name, read(state))))
                .into_iter()
                .map(|(name, partitions)| LeaderAndIsrTopic {
                    name,
                    id: TopicId::ZERO,
                    partitions,
                })
                .collect()
        } else {
            let topics = message.topic_states.iter();
            topics
                .map(|topic| LeaderAndIsrTopic {
                    name: TopicName::from(&topic.topic_name),
                    id: topic.topic_id,
                    partitions: topic.partition_states.iter().map(read).collect(),
                })
                .collect()
        };
        Ok(Self {
            sender: Sender {
                controller: BrokerId(message.controller_id),
                controller_epoch: ControllerEpoch(message.controller_epoch),
                broker_epoch: BrokerEpoch(message.broker_epoch),
            },
            topics,
        })
    }
}

fn state(partition: &LeaderAndIsrPartition) -> LeaderAndIsrPartitionState {
    LeaderAndIsrPartitionState {
        topic_name: Text::EMPTY,
        partition_index: partition.partition,
        controller_epoch: partition.controller_epoch.get(),
        leader: partition.leader.map_or(NO_LEADER, BrokerId::get),
        leader_epoch: partition.leader_epoch.get(),
        isr: numbers(&partition.isr),
        partition_epoch: partition.partition_epoch,
        replicas: numbers(&partition.replicas),
        adding_replicas: numbers(&partition.adding_replicas),
        removing_replicas: numbers(&partition.removing_replicas),
        is_new: partition.is_new,
        leader_recovery_state: partition.recovering.into(),
    }
}

fn read(state: &LeaderAndIsrPartitionState) -> LeaderAndIsrPartition {
    LeaderAndIsrPartition {
        partition: state.partition_index,
        controller_epoch: ControllerEpoch(state.controller_epoch),
        leader: leader(state.leader),
        leader_epoch: LeaderEpoch(state.leader_epoch),
        isr: brokers(&state.isr),
        partition_epoch: state.partition_epoch,
        replicas: brokers(&state.replicas),
        adding_replicas: brokers(&state.adding_replicas),
        removing_replicas: brokers(&state.removing_replicas),
        is_new: state.is_new,
        recovering: state.leader_recovery_state != 0,
    }
}

impl ControlAnswer {
    /// The answer to `asked` as a message in `version`.
    pub fn leader_and_isr_message(&self, asked: &LeaderAndIsr, version: i16) -> LeaderAndIsrResponse {
        let mut message = LeaderAndIsrResponse {
            error_code: self.error.code(),
            ..LeaderAndIsrResponse::default()
        };
        let error = |partition: i32, error: ErrorCode| LeaderAndIsrPartitionError {
            topic_name: Text::EMPTY,
            partition_index: partition,
            error_code: error.code(),
        };
        if version < TOPIC_IDS {
            let errors = self
                .partitions
                .iter()
                .map(|(of, code)| LeaderAndIsrPartitionError {
                    topic_name: Text::from(&of.topic),
                    ..error(of.partition, *code)
                });
            message.partition_errors = errors.collect();
            return message;
        }
        let ids: BTreeMap<&TopicName, TopicId> =
            asked.topics.iter().map(|topic| (&topic.name, topic.id)).collect();
        let mut places: BTreeMap<TopicId, usize> = BTreeMap::new();
        for (of, code) in &self.partitions {
            let id = ids.get(&of.topic).copied().unwrap_or_default();
            let place = *places.entry(id).or_insert(message.topics.len());
            let error = error(of.partition, *code);
            match message.topics.get_mut(place) {
                Some(topic) => topic.partition_errors.push(error),
                None => message.topics.push(LeaderAndIsrTopicError {
                    topic_id: id,
                    partition_errors: vec![error],
                }),
            }
        }
        message
    }

    /// What the message answers to `asked`. A partition that was not asked for is left out; so is one of a topic
    /// without an id in a version that tells topics by their ids, when it could be of several.
    pub fn from_leader_and_isr(message: &LeaderAndIsrResponse, asked: &LeaderAndIsr, version: i16) -> Self {
        let mut names: BTreeMap<(TopicId, i32), Option<&TopicName>> = BTreeMap::new();
        for topic in &asked.topics {
            for partition in &topic.partitions {
                let name = names.entry((topic.id, partition.partition));
                name.and_modify(|name| *name = None).or_insert(Some(&topic.name));
            }
        }
        let partitions = if version < TOPIC_IDS {
            let errors = message.partition_errors.iter();
            errors
                .map(|of| {
                    (
                        partition(&of.topic_name, of.partition_index),
                        ErrorCode::of_answer(of.error_code),
                    )
                })
                .collect()
        } else {
            let topics = message.topics.iter();
            let errors =
                topics.flat_map(|topic| topic.partition_errors.iter().map(move |of| (topic.topic_id, of)));
            errors
                .filter_map(|(id, of)| {
                    let name = (*names.get(&(id, of.partition_index))?)?;
                    let partition = TopicPartition::new(TopicName::clone(name), of.partition_index);
                    Some((partition, ErrorCode::of_answer(of.error_code)))
                })
                .collect()
        };
        Self {
            error: ErrorCode::of_answer(message.error_code),
            partitions,
            late: Vec::new(),
        }
    }
}
