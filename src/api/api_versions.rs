//! ApiVersions, key 18: what this broker serves. Versions 3 and up carry the client's name and version (KIP-511).
//!
//! An unknown version is answered in version 0 with UNSUPPORTED_VERSION and the versions of ApiVersions itself, so
//! that the client can ask again (KIP-511).

use std::sync::Arc;

use super::context::Software;
use super::dispatch::SERVED;
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::wire::api_key::ApiKey;
use crate::wire::messages::api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse};
use crate::wire::response::Response;

fn version(key: ApiKey) -> ApiVersion {
    let versions = key.stable_versions();
    ApiVersion {
        api_key: key.code(),
        min_version: *versions.start(),
        max_version: *versions.end(),
    }
}

/// Kafka's rule for both texts (`ApiVersionsRequest.isValid`): letters and digits, with dots and dashes inside.
fn is_software_text(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    edge(text.chars().next())
        && edge(text.chars().next_back())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-')
}

/// The answer to a version that we do not have.
pub(super) fn unsupported() -> Answer {
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: vec![version(ApiKey::ApiVersions)],
        ..ApiVersionsResponse::default()
    };
    Answer::Now(Response::encode(&response, 0))
}

pub(super) async fn handle(
    _services: &Arc<Services>,
    context: &RequestContext,
    request: ApiVersionsRequest,
) -> Result<Answer, Rejected> {
    let mut response = ApiVersionsResponse::default();
    if context.api_version >= 3 {
        if !is_software_text(&request.client_software_name)
            || !is_software_text(&request.client_software_version)
        {
            response.error_code = ErrorCode::InvalidRequest.code();
            return Ok(Answer::Now(Response::encode(&response, context.api_version)));
        }
        context.connection.set_software(Software {
            name: request.client_software_name,
            version: request.client_software_version,
        });
    }
    let mut keys: Vec<ApiKey> = SERVED.to_vec();
    keys.sort_by_key(|key| key.code());
    response.api_keys = keys.into_iter().map(version).collect();
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_texts_follow_the_rule() {
        for good in ["a", "apache-kafka-java", "3.9.2", "v1.2-rc.3"] {
            assert!(is_software_text(good), "{good}");
        }
        for bad in ["", "-a", "a-", ".a", "a b", "a\n", "ä"] {
            assert!(!is_software_text(bad), "{bad}");
        }
    }
}
