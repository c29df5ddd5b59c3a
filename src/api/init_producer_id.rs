//! InitProducerId (key 22), versions 0 to 6: a producer id for an idempotent producer.
//!
//! What differs: the producer's own id and epoch from 3 (KIP-360). Ordering point: completed. As
//! `KafkaApis.handleInitProducerIdRequest` and `TransactionCoordinator.handleInitProducerId`: an id is handed out
//! whatever id the producer names, for without a transactional id there is nothing to compare it with.
//!
//! There is no transaction coordinator yet: with a transactional id the answer is NOT_COORDINATOR, as of a Kafka that
//! does not lead the id's partition of `__transaction_state`.

use std::sync::Arc;

use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::wire::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use crate::wire::response::Response;

/// The largest transaction timeout: Kafka's default of `transaction.max.timeout.ms`.
const MAX_TRANSACTION_TIMEOUT_MS: i32 = 900_000;

/// Hands out an id of the block that the controller gave.
///
/// # Errors
/// None.
pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: InitProducerIdRequest,
) -> Result<Answer, Rejected> {
    let (error, producer_id) = match check(context, &request) {
        Err(error) => (error, -1),
        Ok(()) => match services.producer_ids.next().await {
            Ok(id) => (ErrorCode::None, id.get()),
            Err(error) => (error, -1),
        },
    };
    let response = InitProducerIdResponse {
        error_code: error.code(),
        producer_id,
        producer_epoch: if error.is_none() { 0 } else { -1 },
        ..InitProducerIdResponse::default()
    };
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}

fn check(context: &RequestContext, request: &InitProducerIdRequest) -> Result<(), ErrorCode> {
    match &request.transactional_id {
        Some(id) if !context.authorize(Operation::Write, Resource::TransactionalId(id)) => {
            return Err(ErrorCode::TransactionalIdAuthorizationFailed);
        }
        None if !context.authorize(Operation::IdempotentWrite, Resource::Cluster) => {
            return Err(ErrorCode::ClusterAuthorizationFailed);
        }
        _ => {}
    }
    if (request.producer_id == -1) != (request.producer_epoch == -1) {
        return Err(ErrorCode::InvalidRequest);
    }
    match request.transactional_id.as_deref() {
        None => Ok(()),
        // An empty id would be one for all who send it.
        Some("") => Err(ErrorCode::InvalidRequest),
        Some(_) if !(1..=MAX_TRANSACTION_TIMEOUT_MS).contains(&request.transaction_timeout_ms) => {
            Err(ErrorCode::InvalidTransactionTimeout)
        }
        Some(_) => Err(ErrorCode::NotCoordinator),
    }
}
