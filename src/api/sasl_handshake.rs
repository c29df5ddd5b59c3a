//! SaslHandshake, key 17: on a listener without SASL there is nothing to agree on, and Kafka says ILLEGAL_SASL_STATE
//! (`KafkaApis.handleSaslHandshakeRequest`).

use std::sync::Arc;

use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::wire::messages::sasl_handshake::{SaslHandshakeRequest, SaslHandshakeResponse};
use crate::wire::response::Response;

pub(super) async fn handle(
    _services: &Arc<Services>,
    context: &RequestContext,
    _request: SaslHandshakeRequest,
) -> Result<Answer, Rejected> {
    let response = SaslHandshakeResponse {
        error_code: ErrorCode::IllegalSaslState.code(),
        ..SaslHandshakeResponse::default()
    };
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}
