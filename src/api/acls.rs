//! DescribeAcls, CreateAcls and DeleteAcls, keys 29 to 31: SECURITY_DISABLED, as of a Kafka without an authorizer
//! (`AclApis`).

use std::sync::Arc;

use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::wire::messages::create_acls::{AclCreationResult, CreateAclsRequest, CreateAclsResponse};
use crate::wire::messages::delete_acls::{DeleteAclsFilterResult, DeleteAclsRequest, DeleteAclsResponse};
use crate::wire::messages::describe_acls::{DescribeAclsRequest, DescribeAclsResponse};
use crate::wire::response::Response;
use crate::wire::text::Text;

const REASON: &str = "no authorizer is configured on this broker";

pub(super) async fn describe(
    _services: &Arc<Services>,
    context: &RequestContext,
    _request: DescribeAclsRequest,
) -> Result<Answer, Rejected> {
    let response = DescribeAclsResponse {
        error_code: ErrorCode::SecurityDisabled.code(),
        error_message: Some(Text::from(REASON)),
        ..DescribeAclsResponse::default()
    };
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}

pub(super) async fn create(
    _services: &Arc<Services>,
    context: &RequestContext,
    request: CreateAclsRequest,
) -> Result<Answer, Rejected> {
    let refused = |_| AclCreationResult {
        error_code: ErrorCode::SecurityDisabled.code(),
        error_message: Some(Text::from(REASON)),
    };
    let response = CreateAclsResponse {
        results: request.creations.iter().map(refused).collect(),
        ..CreateAclsResponse::default()
    };
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}

pub(super) async fn delete(
    _services: &Arc<Services>,
    context: &RequestContext,
    request: DeleteAclsRequest,
) -> Result<Answer, Rejected> {
    let refused = |_| DeleteAclsFilterResult {
        error_code: ErrorCode::SecurityDisabled.code(),
        error_message: Some(Text::from(REASON)),
        ..DeleteAclsFilterResult::default()
    };
    let response = DeleteAclsResponse {
        filter_results: request.filters.iter().map(refused).collect(),
        ..DeleteAclsResponse::default()
    };
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}
