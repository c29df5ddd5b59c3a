//! DescribeUserScramCredentials and AlterUserScramCredentials, keys 50 and 51, version 0: what SASL/SCRAM knows of users
//! (KIP-554).
//!
//! Ordering point: completed. There is no SASL yet, so no credentials are taken and none are there: a user who is described
//! has none (`ZkAdminManager.describeUserScramCredentials`), and a change is refused with UNSUPPORTED_SASL_MECHANISM where
//! Kafka would not refuse it for another reason (`.alterUserScramCredentials`). Each user is answered once.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::wire::messages::alter_user_scram_credentials::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse, AlterUserScramCredentialsResult,
    ScramCredentialUpsertion,
};
use crate::wire::messages::describe_user_scram_credentials::{
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
    DescribeUserScramCredentialsResult,
};
use crate::wire::response::Response;
use crate::wire::text::Text;

/// SCRAM-SHA-256 and SCRAM-SHA-512 (`ScramMechanism`).
const MECHANISMS: std::ops::RangeInclusive<i8> = 1..=2;
/// How often a password may be hashed.
const ITERATIONS: std::ops::RangeInclusive<i32> = 4096..=16384;

/// Describes credentials: all, of which there are none, or those of users by name.
///
/// # Errors
/// None.
pub(super) async fn describe(
    _services: &Arc<Services>,
    context: &RequestContext,
    request: DescribeUserScramCredentialsRequest,
) -> Result<Answer, Rejected> {
    let mut response = DescribeUserScramCredentialsResponse::default();
    if context.authorize(Operation::Describe, Resource::Cluster) {
        let users = request.users.unwrap_or_default();
        let results = once(users.into_iter().map(|user| (user.name, ()))).into_iter();
        response.results = results
            .map(|(user, times)| described(user, times.len()))
            .collect();
    } else {
        response.error_code = ErrorCode::ClusterAuthorizationFailed.code();
    }
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}

fn described(user: Text, times: usize) -> DescribeUserScramCredentialsResult {
    let (code, message) = if user.is_empty() {
        (
            ErrorCode::ResourceNotFound,
            "the name of a user is empty".to_owned(),
        )
    } else if times > 1 {
        let message = format!("user {} is named twice in this request", user.escape_debug());
        (ErrorCode::DuplicateResource, message)
    } else {
        let message = format!("user {} has no SCRAM credentials", user.escape_debug());
        (ErrorCode::ResourceNotFound, message)
    };
    DescribeUserScramCredentialsResult {
        user,
        error_code: code.code(),
        error_message: Some(Text::from(message)),
        ..DescribeUserScramCredentialsResult::default()
    }
}

/// What is asked for one user.
enum Change {
    Delete(i8),
    Upsert(ScramCredentialUpsertion),
}

impl Change {
    fn mechanism(&self) -> i8 {
        match self {
            Self::Delete(mechanism) => *mechanism,
            Self::Upsert(upsertion) => upsertion.mechanism,
        }
    }
}

/// Refuses changes of credentials.
///
/// # Errors
/// None.
pub(super) async fn alter(
    _services: &Arc<Services>,
    context: &RequestContext,
    request: AlterUserScramCredentialsRequest,
) -> Result<Answer, Rejected> {
    let is_allowed = context.authorize(Operation::Alter, Resource::Cluster);
    let deletions = request.deletions.into_iter();
    let deletions = deletions.map(|deletion| (deletion.name, Change::Delete(deletion.mechanism)));
    let upsertions = request.upsertions.into_iter();
    let upsertions = upsertions.map(|upsertion| (upsertion.name.clone(), Change::Upsert(upsertion)));
    let results = once(deletions.chain(upsertions))
        .into_iter()
        .map(|(user, changes)| {
            let (code, message) = if is_allowed {
                let (code, message) = why_refused(&user, &changes);
                (code, Some(Text::from(message)))
            } else {
                (ErrorCode::ClusterAuthorizationFailed, None)
            };
            AlterUserScramCredentialsResult {
                user,
                error_code: code.code(),
                error_message: message,
            }
        });
    let response = AlterUserScramCredentialsResponse {
        results: results.collect(),
        ..AlterUserScramCredentialsResponse::default()
    };
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}

fn why_refused(user: &str, changes: &[Change]) -> (ErrorCode, &'static str) {
    let bad_iterations = |change: &Change| match change {
        Change::Upsert(upsertion) => !ITERATIONS.contains(&upsertion.iterations),
        Change::Delete(_) => false,
    };
    let twice = |mechanism: i8| {
        changes
            .iter()
            .filter(|change| change.mechanism() == mechanism)
            .count()
            > 1
    };
    if user.is_empty() {
        (ErrorCode::UnacceptableCredential, "the name of a user is empty")
    } else if changes
        .iter()
        .any(|change| !MECHANISMS.contains(&change.mechanism()))
    {
        (
            ErrorCode::UnsupportedSaslMechanism,
            "there is no such SCRAM mechanism",
        )
    } else if changes.iter().any(bad_iterations) {
        (
            ErrorCode::UnacceptableCredential,
            "iterations must be from 4096 to 16384",
        )
    } else if MECHANISMS.into_iter().any(twice) {
        (
            ErrorCode::DuplicateResource,
            "a credential can be altered once in one request only",
        )
    } else if changes.iter().any(|change| matches!(change, Change::Delete(_))) {
        (ErrorCode::ResourceNotFound, "the user has no such credential")
    } else {
        (
            ErrorCode::UnsupportedSaslMechanism,
            "this broker has no SASL, and therefore takes no SCRAM credentials",
        )
    }
}

/// Gathers what belongs to one user, in the order in which users come up.
fn once<T>(items: impl Iterator<Item = (Text, T)>) -> Vec<(Text, Vec<T>)> {
    let mut places = BTreeMap::new();
    let mut users: Vec<(Text, Vec<T>)> = Vec::new();
    for (user, item) in items {
        let place = *places.entry(user.clone()).or_insert(users.len());
        match users.get_mut(place) {
            Some((_, items)) => items.push(item),
            None => users.push((user, vec![item])),
        }
    }
    users
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upsertion(mechanism: i8, iterations: i32) -> Change {
        Change::Upsert(ScramCredentialUpsertion {
            mechanism,
            iterations,
            ..ScramCredentialUpsertion::default()
        })
    }

    #[test]
    fn what_kafka_refuses_too_is_told_from_what_is_not_there_yet() {
        let code = |user: &str, changes: &[Change]| why_refused(user, changes).0.code();
        assert_eq!(code("a", &[upsertion(1, 4096)]), 33);
        assert_eq!(code("a", &[upsertion(3, 4096)]), 33);
        assert_eq!(code("", &[upsertion(1, 4096)]), 93);
        assert_eq!(code("a", &[upsertion(1, 4095)]), 93);
        assert_eq!(code("a", &[upsertion(1, 16385)]), 93);
        assert_eq!(code("a", &[Change::Delete(1)]), 91);
        assert_eq!(code("a", &[Change::Delete(1), upsertion(1, 4096)]), 92);
        assert_eq!(code("a", &[Change::Delete(1), upsertion(2, 4096)]), 91);
    }

    #[test]
    fn a_user_who_is_named_twice_is_answered_once() {
        let users = ["b", "a", "b"].map(|name| (Text::copy(name), ()));
        let seen: Vec<(String, usize)> = once(users.into_iter())
            .into_iter()
            .map(|(user, times)| (user.to_string(), times.len()))
            .collect();
        assert_eq!(seen, [("b".to_owned(), 2), ("a".to_owned(), 1)]);
        assert_eq!(described(Text::copy("b"), 2).error_code, 92);
        assert_eq!(described(Text::copy("a"), 1).error_code, 91);
        assert_eq!(described(Text::EMPTY, 2).error_code, 91);
    }
}
