//! LeaderAndIsr (key 4), versions 0 to 7: a controller makes this broker leader or follower of partitions.
//!
//! What differs: see `metadata/messages`. Ordering point: completed, so that a controller's requests take effect in their
//! order. As `KafkaApis.handleLeaderAndIsrRequest`.

use std::sync::Arc;

use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::base::ids::TopicPartition;
use crate::metadata::control::{ControlAnswer, LeaderAndIsr};
use crate::wire::messages::leader_and_isr::{LeaderAndIsrRequest, LeaderAndIsrResponse};
use crate::wire::response::Response;

/// Does what the controller says.
///
/// # Errors
/// None.
pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: LeaderAndIsrRequest,
) -> Result<Answer, Rejected> {
    let version = context.api_version;
    let refused = |error: ErrorCode| LeaderAndIsrResponse {
        error_code: error.code(),
        ..LeaderAndIsrResponse::default()
    };
    let response = match LeaderAndIsr::from_message(&request, version) {
        _ if !context.authorize(Operation::ClusterAction, Resource::Cluster) => {
            refused(ErrorCode::ClusterAuthorizationFailed)
        }
        Err(why) => {
            // Anybody can send one, so no person must act.
            tracing::warn!("LeaderAndIsr refused: {why}");
            refused(ErrorCode::UnknownServerError)
        }
        Ok(asked) => {
            let answer = services.local.leader_and_isr(asked.clone()).await;
            with_each_partition(answer, &asked).leader_and_isr_message(&asked, version)
        }
    };
    Ok(Answer::Now(Response::encode(&response, version)))
}

/// An error of the whole is told of each partition too (`LeaderAndIsrRequest.getErrorResponse`).
fn with_each_partition(mut answer: ControlAnswer, asked: &LeaderAndIsr) -> ControlAnswer {
    if !answer.error.is_none() && answer.partitions.is_empty() {
        for topic in &asked.topics {
            for partition in &topic.partitions {
                let name = TopicPartition::new(Arc::clone(&topic.name), partition.partition);
                answer.partitions.push((name, answer.error));
            }
        }
    }
    answer
}
