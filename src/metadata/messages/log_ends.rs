//! Where logs end, asked of replicas that do not lead: ListOffsets as a debugging tool of Kafka asks (replica −2), which
//! is answered by followers too. Our brokers answer with the latest leader epoch in the log; see docs/deviations.md.

use std::collections::BTreeMap;

use crate::base::error_code::ErrorCode;
use crate::base::ids::{LeaderEpoch, Offset, TopicPartition};
use crate::metadata::control::{LogEnd, LogEnds};
use crate::wire::Text;
use crate::wire::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};

const DEBUGGING_REPLICA_ID: i32 = -2;
const LATEST_TIMESTAMP: i64 = -1;
const ANY_LEADER_EPOCH: i32 = -1;

/// Asks where the logs of these partitions end.
pub fn log_ends_request(partitions: &[TopicPartition]) -> ListOffsetsRequest {
    let mut topics: BTreeMap<&str, Vec<ListOffsetsPartition>> = BTreeMap::new();
    for name in partitions {
        topics.entry(&name.topic).or_default().push(ListOffsetsPartition {
            partition_index: name.partition,
            current_leader_epoch: ANY_LEADER_EPOCH,
            timestamp: LATEST_TIMESTAMP,
            ..ListOffsetsPartition::default()
        });
    }
    let topics = topics.into_iter().map(|(name, partitions)| ListOffsetsTopic {
        name: Text::from(name.to_owned()),
        partitions,
    });
    ListOffsetsRequest {
        replica_id: DEBUGGING_REPLICA_ID,
        topics: topics.collect(),
        ..ListOffsetsRequest::default()
    }
}

/// What was answered.
pub fn log_ends(answer: &ListOffsetsResponse) -> LogEnds {
    let mut ends = LogEnds::new();
    for topic in &answer.topics {
        for partition in &topic.partitions {
            let name = TopicPartition::new(topic.name.as_str(), partition.partition_index);
            let error = ErrorCode::of_answer(partition.error_code);
            let end = if error.is_none() {
                Ok(LogEnd {
                    epoch: LeaderEpoch(partition.leader_epoch),
                    offset: Offset(partition.offset),
                })
            } else {
                Err(error)
            };
            ends.push((name, end));
        }
    }
    ends
}
