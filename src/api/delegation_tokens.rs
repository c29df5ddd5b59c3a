//! CreateDelegationToken, RenewDelegationToken, ExpireDelegationToken and DescribeDelegationToken, keys 38 to 41: on a
//! PLAINTEXT listener Kafka refuses them all with DELEGATION_TOKEN_REQUEST_NOT_ALLOWED before it looks further
//! (`KafkaApis.allowTokenRequests`).

use std::sync::Arc;

use bytes::Bytes;

use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::wire::messages::create_delegation_token::{
    CreateDelegationTokenRequest, CreateDelegationTokenResponse,
};
use crate::wire::messages::describe_delegation_token::{
    DescribeDelegationTokenRequest, DescribeDelegationTokenResponse,
};
use crate::wire::messages::expire_delegation_token::{
    ExpireDelegationTokenRequest, ExpireDelegationTokenResponse,
};
use crate::wire::messages::renew_delegation_token::{
    RenewDelegationTokenRequest, RenewDelegationTokenResponse,
};
use crate::wire::response::Response;
use crate::wire::text::Text;

const ERROR: i16 = ErrorCode::DelegationTokenRequestNotAllowed.code();

pub(super) async fn create(
    _services: &Arc<Services>,
    context: &RequestContext,
    request: CreateDelegationTokenRequest,
) -> Result<Answer, Rejected> {
    let (requester_type, requester_name) = context
        .connection
        .principal
        .split_once(':')
        .unwrap_or(("User", context.connection.principal));
    let own = || (Text::from(requester_type), Text::from(requester_name));
    let owner = match request.owner_principal_name.filter(|name| !name.is_empty()) {
        Some(name) => (request.owner_principal_type.unwrap_or_default(), name),
        None => own(),
    };
    let response = CreateDelegationTokenResponse {
        error_code: ERROR,
        principal_type: owner.0,
        principal_name: owner.1,
        token_requester_principal_type: own().0,
        token_requester_principal_name: own().1,
        issue_timestamp_ms: -1,
        expiry_timestamp_ms: -1,
        max_timestamp_ms: -1,
        token_id: Text::default(),
        hmac: Bytes::new(),
        ..CreateDelegationTokenResponse::default()
    };
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}

pub(super) async fn renew(
    _services: &Arc<Services>,
    context: &RequestContext,
    _request: RenewDelegationTokenRequest,
) -> Result<Answer, Rejected> {
    let response = RenewDelegationTokenResponse {
        error_code: ERROR,
        expiry_timestamp_ms: -1,
        ..RenewDelegationTokenResponse::default()
    };
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}

pub(super) async fn expire(
    _services: &Arc<Services>,
    context: &RequestContext,
    _request: ExpireDelegationTokenRequest,
) -> Result<Answer, Rejected> {
    let response = ExpireDelegationTokenResponse {
        error_code: ERROR,
        expiry_timestamp_ms: -1,
        ..ExpireDelegationTokenResponse::default()
    };
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}

pub(super) async fn describe(
    _services: &Arc<Services>,
    context: &RequestContext,
    _request: DescribeDelegationTokenRequest,
) -> Result<Answer, Rejected> {
    let response = DescribeDelegationTokenResponse {
        error_code: ERROR,
        ..DescribeDelegationTokenResponse::default()
    };
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}
