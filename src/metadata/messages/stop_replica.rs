//! StopReplica, versions 0 to 4.
//!
//! 0 to 2 say once for the whole request whether logs are deleted, so that one request becomes two; 1 adds the broker
//! epoch and groups partitions by topic; 2 is flexible; 3 adds the leader epoch and the deletion of each partition; 4 the
//! mark of a KRaft controller. All answers name the topics.

use super::{Refused, by_topic, partition};
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, TopicName, TopicPartition};
use crate::metadata::control::{ControlAnswer, Sender, StopReplica, StopReplicaPartition};
use crate::wire::Text;
use crate::wire::messages::stop_replica::{
    StopReplicaPartitionError, StopReplicaPartitionState, StopReplicaPartitionV0, StopReplicaRequest,
    StopReplicaResponse, StopReplicaTopicState, StopReplicaTopicV1,
};

/// The first version in which each partition has its leader epoch and says whether it is deleted.
const EACH: i16 = 3;

impl StopReplica {
    /// The messages in `version`, to be sent in their order: one, or below version 3 one for what is deleted and one
    /// for the rest, where there are both (Kafka: `ControllerBrokerRequestBatch.sendStopReplicaRequests`).
    pub fn messages(&self, version: i16) -> Vec<StopReplicaRequest> {
        let empty = StopReplicaRequest {
            controller_id: self.sender.controller.get(),
            controller_epoch: self.sender.controller_epoch.get(),
            broker_epoch: self.sender.broker_epoch.get(),
            ..StopReplicaRequest::default()
        };
        if version >= EACH {
            return vec![StopReplicaRequest {
                topic_states: topic_states(&self.partitions),
                ..empty
            }];
        }
        let mut messages = Vec::new();
        for delete in [true, false] {
            let of: Vec<&TopicPartition> = self
                .partitions
                .iter()
                .filter(|of| of.delete == delete)
                .map(|of| &of.partition)
                .collect();
            if of.is_empty() {
                continue;
            }
            let mut message = StopReplicaRequest {
                delete_partitions: delete,
                ..empty.clone()
            };
            if version == 0 {
                let partitions = of.iter().map(|of| StopReplicaPartitionV0 {
                    topic_name: Text::from(&of.topic),
                    partition_index: of.partition,
                });
                message.ungrouped_partitions = partitions.collect();
            } else {
                message.topics = topics(&of);
            }
            messages.push(message);
        }
        messages
    }

    /// What a message says.
    ///
    /// # Errors
    /// When it comes from a KRaft controller.
    pub fn from_message(message: &StopReplicaRequest, version: i16) -> Result<Self, Refused> {
        if message.is_k_raft_controller {
            return Err(Refused::KraftController);
        }
        let old = |partition: TopicPartition| StopReplicaPartition {
            partition,
            leader_epoch: LeaderEpoch::NONE,
            delete: message.delete_partitions,
        };
        let partitions = match version {
            0 => {
                let partitions = message.ungrouped_partitions.iter();
                partitions
                    .map(|of| old(partition(&of.topic_name, of.partition_index)))
                    .collect()
            }
            1..EACH => {
                let topics = message.topics.iter();
                let named = topics.flat_map(|topic| {
                    let name = TopicName::from(&topic.name);
                    let indexes = topic.partition_indexes.iter();
                    indexes.map(move |index| TopicPartition::new(TopicName::clone(&name), *index))
                });
                named.map(old).collect()
            }
            _ => {
                let topics = message.topic_states.iter();
                let states = topics.flat_map(|topic| {
                    let name = TopicName::from(&topic.topic_name);
                    let states = topic.partition_states.iter();
                    states.map(move |state| StopReplicaPartition {
                        partition: TopicPartition::new(TopicName::clone(&name), state.partition_index),
                        leader_epoch: LeaderEpoch(state.leader_epoch),
                        delete: state.delete_partition,
                    })
                });
                states.collect()
            }
        };
        Ok(Self {
            sender: Sender {
                controller: BrokerId(message.controller_id),
                controller_epoch: ControllerEpoch(message.controller_epoch),
                broker_epoch: BrokerEpoch(message.broker_epoch),
            },
            partitions,
        })
    }
}

fn topics(partitions: &[&TopicPartition]) -> Vec<StopReplicaTopicV1> {
    let names: Vec<Text> = partitions.iter().map(|of| Text::from(&of.topic)).collect();
    let topics = by_topic(names.iter().zip(partitions.iter().map(|of| of.partition)));
    topics
        .into_iter()
        .map(|(name, partition_indexes)| StopReplicaTopicV1 {
            name: Text::from(&name),
            partition_indexes,
        })
        .collect()
}

fn topic_states(partitions: &[StopReplicaPartition]) -> Vec<StopReplicaTopicState> {
    let names: Vec<Text> = partitions
        .iter()
        .map(|of| Text::from(&of.partition.topic))
        .collect();
    let states = partitions.iter().map(|of| StopReplicaPartitionState {
        partition_index: of.partition.partition,
        leader_epoch: of.leader_epoch.get(),
        delete_partition: of.delete,
    });
    by_topic(names.iter().zip(states))
        .into_iter()
        .map(|(name, partition_states)| StopReplicaTopicState {
            topic_name: Text::from(&name),
            partition_states,
        })
        .collect()
}

impl ControlAnswer {
    /// The answer to a StopReplica as a message; alike in all versions.
    pub fn stop_replica_message(&self) -> StopReplicaResponse {
        let errors = self.partitions.iter();
        StopReplicaResponse {
            error_code: self.error.code(),
            partition_errors: errors
                .map(|(of, code)| StopReplicaPartitionError {
                    topic_name: Text::from(&of.topic),
                    partition_index: of.partition,
                    error_code: code.code(),
                })
                .collect(),
        }
    }

    /// What the message answers to a StopReplica.
    pub fn from_stop_replica(message: &StopReplicaResponse) -> Self {
        let errors = message.partition_errors.iter();
        Self {
            error: ErrorCode::of_answer(message.error_code),
            partitions: errors
                .map(|of| {
                    (
                        partition(&of.topic_name, of.partition_index),
                        ErrorCode::of_answer(of.error_code),
                    )
                })
                .collect(),
            late: Vec::new(),
        }
    }
}
