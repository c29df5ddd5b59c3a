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

    /// What a broker of 3.9 in ZooKeeper mode advertises: keys, and the newest version of each; all begin at 0.
    const KAFKA: &str = "0:11 1:17 2:9 3:12 4:7 5:4 6:8 7:3 8:9 9:9 10:6 11:9 12:4 13:5 14:5 15:5 16:5 17:1 18:4 19:7 20:6 \
        21:2 22:5 23:4 24:5 25:4 26:4 27:1 28:4 29:3 30:3 31:3 32:4 33:2 34:2 35:4 36:2 37:3 38:3 39:2 40:2 41:3 42:2 43:2 \
        44:1 45:0 46:0 47:0 48:1 49:1 50:0 51:0 56:3 57:1 58:0 60:1 61:0 65:0 66:1 67:0 68:0 69:0";

    /// Brokers and tools take the newest version that both know, and what is missing for not there.
    #[test]
    fn of_what_a_broker_of_kafka_advertises_only_what_is_not_there_is_missing() {
        // SaslAuthenticate; transactions; a KRaft controller's envelope; groups of KIP-848.
        const MISSING: [i16; 11] = [24, 25, 26, 27, 28, 36, 58, 65, 66, 68, 69];
        let mut missing = Vec::new();
        for row in KAFKA.split_whitespace() {
            let (key, newest) = row.split_once(':').unwrap();
            let (key, newest): (i16, i16) = (key.parse().unwrap(), newest.parse().unwrap());
            let served = SERVED.iter().find(|served| served.code() == key);
            let Some(ours) = served.map(|key| version(*key)) else {
                missing.push(key);
                continue;
            };
            assert!(ours.min_version == 0 && ours.max_version >= newest, "{key}");
        }
        assert_eq!(missing, MISSING);
    }

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
