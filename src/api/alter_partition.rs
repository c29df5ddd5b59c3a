//! AlterPartition (key 56), versions 0 to 3: a leader asks the controller to change ISRs of its partitions (KIP-497).
//!
//! What differs: version 1 adds the recovery of an unclean leader, 2 names topics by id, 3 tells the epoch of each
//! member's broker (KIP-903). Ordering point: completed. As `KafkaApis.handleAlterPartitionRequest`; the checks are those
//! of `controller/alter_partition.rs`.

use std::sync::Arc;

use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerEpoch, BrokerId, LeaderEpoch, TopicId, TopicName, TopicPartition};
use crate::controller::request::{AlterPartition, AlteredPartition};
use crate::wire::messages::alter_partition::{
    AlterPartitionRequest, AlterPartitionRequestPartitionData, AlterPartitionResponse,
    AlterPartitionResponsePartitionData, AlterPartitionResponseTopicData,
};
use crate::wire::response::Response;

/// The first version that names topics by their ids.
const BY_ID: i16 = 2;
/// The first version with the epochs of the members' brokers.
const WITH_EPOCHS: i16 = 3;

/// Asks the controller of this broker.
///
/// # Errors
/// None.
pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: AlterPartitionRequest,
) -> Result<Answer, Rejected> {
    let version = context.api_version;
    let mut proposals = Vec::new();
    for topic in &request.topics {
        let name = TopicName::from(topic.topic_name.as_str());
        let partitions = topic.partitions.iter();
        proposals.extend(partitions.map(|partition| proposal(&name, topic.topic_id, partition, version)));
    }
    let answers = if context.authorize(Operation::ClusterAction, Resource::Cluster) {
        let (broker, epoch) = (BrokerId(request.broker_id), BrokerEpoch(request.broker_epoch));
        services
            .controller
            .alter_partitions(broker, epoch, proposals)
            .await
    } else {
        Err(ErrorCode::ClusterAuthorizationFailed)
    };
    let response = match answers {
        Ok(answers) => AlterPartitionResponse {
            topics: topics(&request, answers, version),
            ..AlterPartitionResponse::default()
        },
        Err(error) => AlterPartitionResponse {
            error_code: error.code(),
            ..AlterPartitionResponse::default()
        },
    };
    Ok(Answer::Now(Response::encode(&response, version)))
}

fn proposal(
    name: &TopicName,
    id: TopicId,
    partition: &AlterPartitionRequestPartitionData,
    version: i16,
) -> AlterPartition {
    let isr = if version >= WITH_EPOCHS {
        let members = partition.new_isr_with_epochs.iter();
        members
            .map(|member| (BrokerId(member.broker_id), BrokerEpoch(member.broker_epoch)))
            .collect()
    } else {
        let members = partition.new_isr.iter();
        members.map(|id| (BrokerId(*id), BrokerEpoch(-1))).collect()
    };
    AlterPartition {
        partition: TopicPartition::new(Arc::clone(name), partition.partition_index),
        topic_id: (version >= BY_ID).then_some(id),
        leader_epoch: LeaderEpoch(partition.leader_epoch),
        isr,
        recovering: partition.leader_recovery_state != 0,
        partition_epoch: partition.partition_epoch,
    }
}

fn topics(
    request: &AlterPartitionRequest,
    answers: Vec<Result<AlteredPartition, ErrorCode>>,
    version: i16,
) -> Vec<AlterPartitionResponseTopicData> {
    let mut answers = answers.into_iter();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let answer = answers.next().unwrap_or(Err(ErrorCode::UnknownServerError));
            partition_answer(partition.partition_index, answer, version)
        });
        AlterPartitionResponseTopicData {
            topic_name: topic.topic_name.clone(),
            topic_id: topic.topic_id,
            partitions: partitions.collect(),
        }
    });
    topics.collect()
}

fn partition_answer(
    partition: i32,
    answer: Result<AlteredPartition, ErrorCode>,
    version: i16,
) -> AlterPartitionResponsePartitionData {
    match answer {
        Ok(altered) => AlterPartitionResponsePartitionData {
            partition_index: partition,
            error_code: ErrorCode::None.code(),
            leader_id: altered.leader.map_or(-1, BrokerId::get),
            leader_epoch: altered.leader_epoch.get(),
            isr: altered.isr.iter().map(|id| id.get()).collect(),
            leader_recovery_state: i8::from(altered.recovering),
            partition_epoch: altered.partition_epoch,
        },
        Err(error) => AlterPartitionResponsePartitionData {
            partition_index: partition,
            // Before the error had a code of its own (KIP-841).
            error_code: match error {
                ErrorCode::IneligibleReplica if version < BY_ID => ErrorCode::OperationNotAttempted,
                error => error,
            }
            .code(),
            ..AlterPartitionResponsePartitionData::default()
        },
    }
}
