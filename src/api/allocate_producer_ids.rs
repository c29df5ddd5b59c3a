//! AllocateProducerIds (key 67), version 0: a broker asks the controller for a block of producer ids (KIP-730).
//!
//! Ordering point: completed. As `KafkaApis.handleAllocateProducerIdsRequest`.

use std::sync::Arc;

use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerEpoch, BrokerId};
use crate::wire::messages::allocate_producer_ids::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};
use crate::wire::response::Response;

/// Asks the controller of this broker.
///
/// # Errors
/// None.
pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: AllocateProducerIdsRequest,
) -> Result<Answer, Rejected> {
    let (broker, epoch) = (BrokerId(request.broker_id), BrokerEpoch(request.broker_epoch));
    let mut response = AllocateProducerIdsResponse::default();
    if !context.authorize(Operation::ClusterAction, Resource::Cluster) {
        response.error_code = ErrorCode::ClusterAuthorizationFailed.code();
        return Ok(Answer::Now(Response::encode(&response, context.api_version)));
    }
    match services.controller.allocate_producer_ids(broker, epoch).await {
        Ok(block) => {
            response.producer_id_start = block.first;
            response.producer_id_len = i32::try_from(block.last - block.first + 1).unwrap_or(0);
        }
        Err(error) => response.error_code = error.code.code(),
    }
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}
