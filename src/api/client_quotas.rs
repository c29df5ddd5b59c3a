//! DescribeClientQuotas and AlterClientQuotas, keys 48 and 49, versions 0 and 1: limits of users, client ids and addresses.
//!
//! Versions differ in encoding only. Ordering point: completed. No limit is enforced yet, so none can be set and none is
//! there: a description is empty where Kafka would not refuse it (`ZkAdminManager.describeClientQuotas`), and a limit that is
//! to be set is refused with UNSUPPORTED_VERSION where Kafka would not refuse it for another reason
//! (`.alterClientQuotas`). To remove what is not there succeeds.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::wire::messages::alter_client_quotas::{
    AlterClientQuotasRequest, AlterClientQuotasRequestEntityData, AlterClientQuotasRequestEntryData,
    AlterClientQuotasResponse, AlterClientQuotasResponseEntityData, AlterClientQuotasResponseEntryData,
};
use crate::wire::messages::describe_client_quotas::{
    ComponentData, DescribeClientQuotasRequest, DescribeClientQuotasResponse,
};
use crate::wire::response::Response;
use crate::wire::text::Text;

type Failure = (ErrorCode, String);

const USER: &str = "user";
const CLIENT_ID: &str = "client-id";
const IP: &str = "ip";
/// What can be limited for users and client ids (`QuotaConfigs`); of an address, only its connections.
const OF_CLIENTS: [&str; 4] = [
    "producer_byte_rate",
    "consumer_byte_rate",
    "request_percentage",
    "controller_mutation_rate",
];
const OF_ADDRESSES: [&str; 1] = ["connection_creation_rate"];
/// The numbers of `DescribeClientQuotasRequest`: this name, the default, any name.
const MATCH_TYPES: std::ops::RangeInclusive<i8> = 0..=2;

/// Describes the limits that match: none do.
///
/// # Errors
/// None.
pub(super) async fn describe(
    _services: &Arc<Services>,
    context: &RequestContext,
    request: DescribeClientQuotasRequest,
) -> Result<Answer, Rejected> {
    let outcome = if context.authorize(Operation::DescribeConfigs, Resource::Cluster) {
        check_filter(&request.components).map_err(|(code, message)| (code, Some(message)))
    } else {
        Err((ErrorCode::ClusterAuthorizationFailed, None))
    };
    let mut response = DescribeClientQuotasResponse {
        entries: Some(Vec::new()),
        ..DescribeClientQuotasResponse::default()
    };
    if let Err((code, message)) = outcome {
        response.error_code = code.code();
        response.error_message = message.map(Text::from);
        response.entries = None;
    }
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}

fn invalid<T>(message: impl Into<String>) -> Result<T, Failure> {
    Err((ErrorCode::InvalidRequest, message.into()))
}

fn check_filter(components: &[ComponentData]) -> Result<(), Failure> {
    let mut kinds = BTreeSet::new();
    for component in components {
        if !MATCH_TYPES.contains(&component.match_type) {
            return invalid(format!("there is no match type {}", component.match_type));
        }
        let kind = component.entity_type.as_str();
        match kind {
            USER | CLIENT_ID | IP => {}
            "" => return invalid("an entity type is empty"),
            _ => {
                let message = format!("there is no entity type {}", kind.escape_debug());
                return Err((ErrorCode::UnsupportedVersion, message));
            }
        }
        if !kinds.insert(kind) {
            return invalid(format!("the filter names the entity type {kind} twice"));
        }
    }
    if kinds.contains(IP) && kinds.len() > 1 {
        return invalid("addresses cannot be combined with users and client ids");
    }
    Ok(())
}

/// Refuses changes of limits.
///
/// # Errors
/// None.
pub(super) async fn alter(
    _services: &Arc<Services>,
    context: &RequestContext,
    request: AlterClientQuotasRequest,
) -> Result<Answer, Rejected> {
    let is_allowed = context.authorize(Operation::AlterConfigs, Resource::Cluster);
    let entries = request.entries.into_iter().map(|entry| {
        let (code, message) = match is_allowed.then(|| altered(&entry)) {
            Some(Ok(())) => (ErrorCode::None, None),
            Some(Err((code, message))) => (code, Some(Text::from(message))),
            None => (ErrorCode::ClusterAuthorizationFailed, None),
        };
        AlterClientQuotasResponseEntryData {
            error_code: code.code(),
            error_message: message,
            entity: entry.entity.into_iter().map(same_entity).collect(),
        }
    });
    let response = AlterClientQuotasResponse {
        entries: entries.collect(),
        ..AlterClientQuotasResponse::default()
    };
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}

fn same_entity(entity: AlterClientQuotasRequestEntityData) -> AlterClientQuotasResponseEntityData {
    AlterClientQuotasResponseEntityData {
        entity_type: entity.entity_type,
        entity_name: entity.entity_name,
    }
}

fn altered(entry: &AlterClientQuotasRequestEntryData) -> Result<(), Failure> {
    check_entry(entry)?;
    if entry.ops.iter().all(|op| op.remove) {
        return Ok(());
    }
    Err((
        ErrorCode::UnsupportedVersion,
        "quotas of clients are not enforced by this broker, and are therefore not taken".to_owned(),
    ))
}

fn check_entry(entry: &AlterClientQuotasRequestEntryData) -> Result<(), Failure> {
    let mut kinds = BTreeSet::new();
    for entity in &entry.entity {
        let kind = entity.entity_type.as_str();
        if ![USER, CLIENT_ID, IP].contains(&kind) {
            return invalid(format!("there is no entity type {}", kind.escape_debug()));
        }
        if entity.entity_name.as_ref().is_some_and(|name| name.is_empty()) {
            return invalid(format!("the name of an entity of type {kind} is empty"));
        }
        kinds.insert(kind);
    }
    if kinds.is_empty() {
        return invalid("no entity is named");
    }
    if kinds.contains(IP) && kinds.len() > 1 {
        return invalid("addresses cannot be combined with users and client ids");
    }
    let keys: &[&str] = match kinds.contains(IP) {
        true => &OF_ADDRESSES,
        false => &OF_CLIENTS,
    };
    match entry
        .ops
        .iter()
        .find(|op| !op.remove && !keys.contains(&op.key.as_str()))
    {
        Some(op) => invalid(format!("there is no quota {}", op.key.escape_debug())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(components: &[(&str, i8)]) -> i16 {
        let components: Vec<ComponentData> = components
            .iter()
            .map(|(kind, match_type)| ComponentData {
                entity_type: Text::copy(kind),
                match_type: *match_type,
                r#match: None,
            })
            .collect();
        check_filter(&components).map_or_else(|(code, _)| code.code(), |()| 0)
    }

    #[test]
    fn filters_are_refused_with_kafkas_codes() {
        for (components, expected) in [
            (&[][..], 0),
            (&[("user", 0), ("client-id", 1)], 0),
            (&[("ip", 2)], 0),
            (&[("user", 0), ("user", 0)], 42),
            (&[("user", 0), ("ip", 0)], 42),
            (&[("", 0)], 42),
            (&[("user", 3)], 42),
            (&[("group", 0)], 35),
        ] {
            assert_eq!(filter(components), expected, "{components:?}");
        }
    }

    #[test]
    fn what_kafka_refuses_too_is_told_from_what_is_not_there_yet() {
        use crate::wire::messages::alter_client_quotas::OpData;
        let code = |entities: &[(&str, Option<&str>)], key: &str, remove: bool| {
            let entry = AlterClientQuotasRequestEntryData {
                entity: entities
                    .iter()
                    .map(|(kind, name)| AlterClientQuotasRequestEntityData {
                        entity_type: Text::copy(kind),
                        entity_name: name.map(Text::copy),
                    })
                    .collect(),
                ops: vec![OpData {
                    key: Text::copy(key),
                    value: 1.0,
                    remove,
                }],
            };
            altered(&entry).map_or_else(|(code, _)| code.code(), |()| 0)
        };
        assert_eq!(code(&[("user", Some("a"))], "producer_byte_rate", false), 35);
        assert_eq!(code(&[("user", None), ("client-id", None)], "x", true), 0);
        assert_eq!(
            code(&[("ip", Some("10.0.0.1"))], "connection_creation_rate", false),
            35
        );
        assert_eq!(code(&[("ip", None)], "producer_byte_rate", false), 42);
        assert_eq!(
            code(&[("ip", None), ("user", None)], "producer_byte_rate", false),
            42
        );
        assert_eq!(code(&[("user", Some(""))], "producer_byte_rate", false), 42);
        assert_eq!(code(&[], "producer_byte_rate", false), 42);
        assert_eq!(code(&[("group", None)], "producer_byte_rate", false), 42);
    }
}
