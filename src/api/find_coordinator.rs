//! FindCoordinator (key 10), versions 0 to 6: which broker coordinates a group.
//!
//! What differs: kinds of key and an error message from 1; a list of keys with an error each, and no message, from 4;
//! share groups from 6. Ordering point: completed. As `KafkaApis.handleFindCoordinatorRequest`: where
//! `__consumer_offsets` is missing it is created, whatever `auto.create.topics.enable` says, and the answer is
//! COORDINATOR_NOT_AVAILABLE, upon which every client asks again.
//!
//! There is no coordinator of transactions and none of share groups yet: their keys get COORDINATOR_NOT_AVAILABLE, as of
//! a Kafka that cannot create those coordinators' topics.

use std::sync::Arc;

use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::metadata::{CONSUMER_OFFSETS, ClusterImage};
use crate::wire::messages::find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};
use crate::wire::response::Response;
use crate::wire::text::Text;

/// Kafka's `FindCoordinatorRequest.CoordinatorType`.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

/// Where a coordinator is reached.
struct Place {
    node_id: i32,
    host: Text,
    port: i32,
}

impl Place {
    /// Kafka's `Node.noNode()`.
    const NONE: Self = Self {
        node_id: -1,
        host: Text::EMPTY,
        port: -1,
    };
}

/// Looks up the leaders of the keys' partitions.
///
/// # Errors
/// As [`Services::told`].
pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: FindCoordinatorRequest,
) -> Result<Answer, Rejected> {
    let batched = context.api_version >= 4;
    let keys = match batched {
        true => request.coordinator_keys,
        false => vec![request.key],
    };
    let image = services.told().await?;
    let found: Vec<(Text, Result<Place, ErrorCode>)> = keys
        .into_iter()
        .map(|key| {
            let found = find(services, context, &image, request.key_type, &key);
            (key, found)
        })
        .collect();
    let group_asked = |(_, found): &(Text, Result<Place, ErrorCode>)| {
        request.key_type == GROUP && matches!(found, Err(ErrorCode::CoordinatorNotAvailable))
    };
    if image.topic(CONSUMER_OFFSETS).is_none() && found.iter().any(group_asked) {
        services.ensure_offsets_topic().await;
    }
    let response = match batched {
        true => FindCoordinatorResponse {
            coordinators: found
                .into_iter()
                .map(|(key, found)| one(key, found, request.key_type))
                .collect(),
            ..FindCoordinatorResponse::default()
        },
        false => found.into_iter().next().map(only).unwrap_or_default(),
    };
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}

fn find(
    services: &Services,
    context: &RequestContext,
    image: &ClusterImage,
    key_type: i8,
    key: &str,
) -> Result<Place, ErrorCode> {
    let may = |operation, resource| context.authorize(operation, resource);
    match key_type {
        GROUP if !may(Operation::Describe, Resource::Group(key)) => Err(ErrorCode::GroupAuthorizationFailed),
        GROUP => {
            let listener = &context.connection.listener.name;
            let partition = services.groups.partition_of(key);
            partition
                .and_then(|partition| place(image, partition, listener))
                .ok_or(ErrorCode::CoordinatorNotAvailable)
        }
        TRANSACTION if !may(Operation::Describe, Resource::TransactionalId(key)) => {
            Err(ErrorCode::TransactionalIdAuthorizationFailed)
        }
        SHARE if context.api_version < 6 => Err(ErrorCode::InvalidRequest),
        SHARE if !may(Operation::ClusterAction, Resource::Cluster) => {
            Err(ErrorCode::ClusterAuthorizationFailed)
        }
        TRANSACTION | SHARE => Err(ErrorCode::CoordinatorNotAvailable),
        _ => Err(ErrorCode::InvalidRequest),
    }
}

/// Where the partition's leader listens.
fn place(image: &ClusterImage, partition: i32, listener: &str) -> Option<Place> {
    let leader = image.partition(CONSUMER_OFFSETS, partition)?.leader?;
    let endpoint = image.brokers.get(&leader)?.endpoint(listener)?;
    Some(Place {
        node_id: leader.get(),
        host: Text::from(&endpoint.host),
        port: endpoint.port,
    })
}

fn split(found: Result<Place, ErrorCode>) -> (ErrorCode, Place) {
    match found {
        Ok(place) => (ErrorCode::None, place),
        Err(error) => (error, Place::NONE),
    }
}

/// Before version 4. Success has a message too, `NONE`.
fn only((_, found): (Text, Result<Place, ErrorCode>)) -> FindCoordinatorResponse {
    let (error, place) = split(found);
    FindCoordinatorResponse {
        error_code: error.code(),
        error_message: Some(Text::from(error.name())),
        node_id: place.node_id,
        host: place.host,
        port: place.port,
        ..FindCoordinatorResponse::default()
    }
}

/// From version 4 on. Only a kind of key that does not exist is told in words.
fn one(key: Text, found: Result<Place, ErrorCode>, key_type: i8) -> Coordinator {
    let (error, place) = split(found);
    let is_unknown = error == ErrorCode::InvalidRequest && key_type != SHARE;
    Coordinator {
        key,
        node_id: place.node_id,
        host: place.host,
        port: place.port,
        error_code: error.code(),
        error_message: Some(match is_unknown {
            true => Text::from_static("there is no such kind of key"),
            false => Text::EMPTY,
        }),
    }
}
