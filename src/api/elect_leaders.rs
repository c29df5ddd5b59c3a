//! ElectLeaders (key 43), versions 0 to 2: the first replicas are to lead, or whoever can where nobody does (KIP-460).
//!
//! What differs: version 0 knows the first kind only, and no error of the whole. Ordering point: completed. As
//! `KafkaApis.handleElectLeaders`: who asks for all partitions is not told of those that need no election.
//!
//! Deviation: a kind of election that does not exist is INVALID_REQUEST, not UNKNOWN_SERVER_ERROR.

use std::sync::Arc;

use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::base::ids::{TopicName, TopicPartition};
use crate::controller::request::{AdminError, ElectionType};
use crate::wire::messages::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};
use crate::wire::response::Response;
use crate::wire::text::Text;

/// Holds the elections.
///
/// # Errors
/// None.
pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: ElectLeadersRequest,
) -> Result<Answer, Rejected> {
    let is_allowed = context.authorize(Operation::Alter, Resource::Cluster);
    let election = match request.election_type {
        0 => Some(ElectionType::Preferred),
        1 => Some(ElectionType::Unclean),
        _ => None,
    };
    let partitions = match &request.topic_partitions {
        Some(topics) => topics
            .iter()
            .flat_map(|topic| {
                let name = TopicName::from(topic.topic.as_str());
                let name = move |number: &i32| TopicPartition::new(Arc::clone(&name), *number);
                topic.partitions.iter().map(name)
            })
            .collect(),
        None if is_allowed => all_partitions(services),
        None => Vec::new(),
    };
    let (error, results) = match election {
        _ if !is_allowed => refused(ErrorCode::ClusterAuthorizationFailed, partitions),
        None => refused(ErrorCode::InvalidRequest, partitions),
        Some(election) => {
            let answers = services
                .controller
                .elect_leaders(partitions.clone(), election)
                .await;
            let all = request.topic_partitions.is_none();
            let results = partitions.into_iter().zip(answers);
            let told = results.filter(|(_, answer)| {
                let error = answer.as_ref().err().map(|error| error.code);
                !all || error != Some(ErrorCode::ElectionNotNeeded)
            });
            (ErrorCode::None, told.collect())
        }
    };
    let response = ElectLeadersResponse {
        error_code: error.code(),
        replica_election_results: by_topic(results),
        ..ElectLeadersResponse::default()
    };
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}

type Results = Vec<(TopicPartition, Result<(), AdminError>)>;

fn refused(code: ErrorCode, partitions: Vec<TopicPartition>) -> (ErrorCode, Results) {
    let error = AdminError { code, message: None };
    let results = partitions.into_iter().map(|name| (name, Err(error.clone())));
    (code, results.collect())
}

fn all_partitions(services: &Services) -> Vec<TopicPartition> {
    let image = services.cluster.get();
    let topics = image.topics.iter().flat_map(|(name, topic)| {
        let numbers = topic.partitions.keys();
        numbers.map(|number| TopicPartition::new(Arc::clone(name), *number))
    });
    topics.collect()
}

fn by_topic(results: Results) -> Vec<ReplicaElectionResult> {
    let mut topics: Vec<ReplicaElectionResult> = Vec::new();
    for (name, result) in results {
        let (code, message) = match result {
            Ok(()) => (ErrorCode::None, None),
            Err(error) => (error.code, error.message),
        };
        let result = PartitionResult {
            partition_id: name.partition,
            error_code: code.code(),
            error_message: message.map(Text::from),
        };
        match topics.last_mut().filter(|last| *last.topic == *name.topic) {
            Some(topic) => topic.partition_result.push(result),
            None => topics.push(ReplicaElectionResult {
                topic: Text::copy(&name.topic),
                partition_result: vec![result],
            }),
        }
    }
    topics
}
