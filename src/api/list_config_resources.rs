//! ListConfigResources (key 74), versions 0 and 1: what has configs (KIP-1142).
//!
//! Version 0 was ListClientMetricsResources and knows metrics subscriptions only, of which there are none. Ordering point:
//! completed. As `KafkaApis.handleListConfigResources` of Kafka 4.2; groups have no configs here.
//!
//! Deviation: Kafka 3.9 has it in KRaft clusters only.

use std::sync::Arc;

use super::config_resource::Kind;
use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::wire::messages::list_config_resources::{
    ConfigResource, ListConfigResourcesRequest, ListConfigResourcesResponse,
};
use crate::wire::response::Response;
use crate::wire::text::Text;

/// The number of groups in `ConfigResource.Type`.
const GROUP: i8 = 32;

/// Lists what was asked for, or all.
///
/// # Errors
/// None.
pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: ListConfigResourcesRequest,
) -> Result<Answer, Rejected> {
    let known = |kind: &i8| Kind::from_id(*kind).is_some() || *kind == GROUP;
    let error = if !context.authorize(Operation::DescribeConfigs, Resource::Cluster) {
        ErrorCode::ClusterAuthorizationFailed
    } else if !request.resource_types.iter().all(known) {
        ErrorCode::UnsupportedVersion
    } else {
        ErrorCode::None
    };
    let mut response = ListConfigResourcesResponse {
        error_code: error.code(),
        ..ListConfigResourcesResponse::default()
    };
    if error.is_none() && context.api_version >= 1 {
        response.config_resources = resources(services, context, &request.resource_types);
    }
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}

fn resources(services: &Services, context: &RequestContext, asked: &[i8]) -> Vec<ConfigResource> {
    let image = services.cluster.get();
    let mut found = Vec::new();
    for kind in [Kind::BrokerLogger, Kind::Broker, Kind::Topic] {
        if !asked.is_empty() && !asked.contains(&kind.id()) {
            continue;
        }
        let mut add = |name: Text| {
            found.push(ConfigResource {
                resource_name: name,
                resource_type: kind.id(),
            });
        };
        if kind == Kind::Topic {
            image.topics.keys().for_each(|name| add(Text::copy(name)));
            continue;
        }
        let listener = &context.connection.listener.name;
        let here = image
            .brokers
            .values()
            .filter(|broker| broker.endpoint(listener).is_some());
        here.for_each(|broker| add(Text::from(broker.id.to_string())));
    }
    found
}
