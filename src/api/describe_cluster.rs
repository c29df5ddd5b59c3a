//! DescribeCluster, key 60 (KIP-700): the brokers and the controller. From version 1 on the client says what kind of
//! endpoints it wants, and only those of brokers are here (`AuthHelper.computeDescribeClusterResponse`).

use std::sync::Arc;

use super::authorized_operations::{NOT_ASKED, on_cluster};
use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::metadata::ClusterImage;
use crate::wire::messages::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};
use crate::wire::response::Response;
use crate::wire::text::Text;

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: DescribeClusterRequest,
) -> Result<Answer, Rejected> {
    let response = match request.endpoint_type {
        BROKERS => {
            let image = services.told().await?;
            describe(&image, context, &request)
        }
        CONTROLLERS => refused(
            context,
            ErrorCode::MismatchedEndpointType,
            "this is a broker, not a controller",
        ),
        _ => refused(
            context,
            ErrorCode::UnsupportedEndpointType,
            "unknown type of endpoint",
        ),
    };
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}

fn refused(context: &RequestContext, error: ErrorCode, why: &'static str) -> DescribeClusterResponse {
    let error = if context.api_version == 0 {
        ErrorCode::InvalidRequest
    } else {
        error
    };
    DescribeClusterResponse {
        error_code: error.code(),
        error_message: Some(Text::from(why)),
        ..DescribeClusterResponse::default()
    }
}

fn describe(
    image: &ClusterImage,
    context: &RequestContext,
    request: &DescribeClusterRequest,
) -> DescribeClusterResponse {
    let listener = &context.connection.listener.name;
    let mut brokers = Vec::new();
    for (id, broker) in &image.brokers {
        if let Some(endpoint) = broker.endpoint(listener) {
            brokers.push(DescribeClusterBroker {
                broker_id: id.get(),
                host: Text::from(&endpoint.host),
                port: endpoint.port,
                rack: broker.rack.as_ref().map(Text::from),
                is_fenced: false,
            });
        }
    }
    let controller = image.controller.map_or(-1, |id| id.get());
    let controller_id = if brokers.iter().any(|broker| broker.broker_id == controller) {
        controller
    } else {
        -1
    };
    let operations = if !request.include_cluster_authorized_operations {
        NOT_ASKED
    } else if context.authorize(Operation::Describe, Resource::Cluster) {
        on_cluster(context)
    } else {
        0
    };
    DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: Text::from(&image.cluster_id),
        controller_id,
        brokers,
        cluster_authorized_operations: operations,
        ..DescribeClusterResponse::default()
    }
}
