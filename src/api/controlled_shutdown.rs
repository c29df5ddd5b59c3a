//! ControlledShutdown (key 7), versions 0 to 3: a broker that is about to stop asks the controller to have its partitions
//! led by others.
//!
//! What differs: version 2 adds the broker epoch. Ordering point: completed. As
//! `KafkaApis.handleControlledShutdownRequest`: who asks a broker that is not the controller is told
//! STALE_CONTROLLER_EPOCH.

use std::sync::Arc;

use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerEpoch, BrokerId};
use crate::wire::messages::controlled_shutdown::{
    ControlledShutdownRequest, ControlledShutdownResponse, RemainingPartition,
};
use crate::wire::response::Response;
use crate::wire::text::Text;

/// Asks the controller of this broker.
///
/// # Errors
/// None.
pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: ControlledShutdownRequest,
) -> Result<Answer, Rejected> {
    let (broker, epoch) = (BrokerId(request.broker_id), BrokerEpoch(request.broker_epoch));
    let answer = if context.authorize(Operation::ClusterAction, Resource::Cluster) {
        services.controller.controlled_shutdown(broker, epoch).await
    } else {
        Err(ErrorCode::ClusterAuthorizationFailed)
    };
    let (error, remaining) = match answer {
        Ok(remaining) => (ErrorCode::None, remaining),
        Err(ErrorCode::NotController) => (ErrorCode::StaleControllerEpoch, Vec::new()),
        Err(error) => (error, Vec::new()),
    };
    let response = ControlledShutdownResponse {
        error_code: error.code(),
        remaining_partitions: remaining
            .iter()
            .map(|name| RemainingPartition {
                topic_name: Text::copy(&name.topic),
                partition_index: name.partition,
            })
            .collect(),
    };
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}
