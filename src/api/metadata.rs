//! Metadata, key 3: brokers, topics and where their partitions are led.
//!
//! Version 0 asks for all topics with an empty list, later ones with null. From 4 on the client says whether topics
//! may be created for it, from 10 on topics have ids, and from 12 on it may ask by id alone.
//!
//! Kafka answers LEADER_NOT_AVAILABLE for a topic that it is just creating; here the creation is waited for, some seconds
//! at most, and the answer shows the topic (docs/deviations.md).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::authorized_operations::{NOT_ASKED, on_cluster, on_topic};
use super::context::{Operation, Resource};
use super::partition_view::{Rules, view};
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerId, Uuid};
use crate::controller::topic_name;
use crate::metadata::{ClusterImage, TopicImage, is_internal_topic};
use crate::wire::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};
use crate::wire::response::Response;
use crate::wire::text::Text;

pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: MetadataRequest,
) -> Result<Answer, Rejected> {
    let version = context.api_version;
    let asked = match &request.topics {
        Some(topics) if version > 0 || !topics.is_empty() => Some(topics.as_slice()),
        _ => None,
    };
    if let Some(asked) = asked
        && asked.iter().any(|topic| is_invalid(topic, version))
    {
        return Ok(Answer::Now(Response::encode(&invalid(asked), version)));
    }
    services.told().await?;
    let topics = match asked {
        Some(asked) => some_topics(services, context, &request, asked).await,
        None => all_topics(services, context),
    };
    let image = services.cluster.get();
    let mut response = MetadataResponse {
        brokers: brokers(&image, &context.connection.listener.name),
        cluster_id: Some(Text::from(&image.cluster_id)),
        controller_id: image.controller.map_or(-1, BrokerId::get),
        topics,
        cluster_authorized_operations: NOT_ASKED,
        ..MetadataResponse::default()
    };
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations =
            match context.authorize(Operation::Describe, Resource::Cluster) {
                true => on_cluster(context),
                false => 0,
            };
    }
    if request.include_topic_authorized_operations {
        for topic in &mut response.topics {
            if let Some(name) = &topic.name {
                topic.topic_authorized_operations = on_topic(context, name);
            }
        }
    }
    Ok(Answer::Now(Response::encode(&response, version)))
}

/// Names must be there and ids must not, before version 12; one of both from then on.
fn is_invalid(topic: &MetadataRequestTopic, version: i16) -> bool {
    match version {
        ..12 => topic.name.is_none() || !topic.topic_id.is_zero(),
        _ => topic.name.is_none() && topic.topic_id.is_zero(),
    }
}

fn invalid(asked: &[MetadataRequestTopic]) -> MetadataResponse {
    let refused = |topic: &MetadataRequestTopic| MetadataResponseTopic {
        error_code: ErrorCode::InvalidRequest.code(),
        name: Some(topic.name.clone().unwrap_or_default()),
        topic_id: topic.topic_id,
        topic_authorized_operations: NOT_ASKED,
        ..MetadataResponseTopic::default()
    };
    MetadataResponse {
        topics: asked.iter().map(refused).collect(),
        error_code: ErrorCode::InvalidRequest.code(),
        ..MetadataResponse::default()
    }
}

fn brokers(image: &ClusterImage, listener: &str) -> Vec<MetadataResponseBroker> {
    let seen = |(id, broker): (&BrokerId, &Arc<crate::metadata::BrokerImage>)| {
        let endpoint = broker.endpoint(listener)?;
        Some(MetadataResponseBroker {
            node_id: id.get(),
            host: Text::from(&endpoint.host),
            port: endpoint.port,
            rack: broker.rack.as_ref().map(Text::from),
        })
    };
    image.brokers.iter().filter_map(seen).collect()
}

fn all_topics(services: &Services, context: &RequestContext) -> Vec<MetadataResponseTopic> {
    let image = services.cluster.get();
    let topics = image.topics.values();
    topics
        .filter(|topic| context.authorize(Operation::Describe, Resource::Topic(&topic.name)))
        .map(|topic| described(&image, topic, context))
        .collect()
}

async fn some_topics(
    services: &Services,
    context: &RequestContext,
    request: &MetadataRequest,
    asked: &[MetadataRequestTopic],
) -> Vec<MetadataResponseTopic> {
    let by_id = asked.iter().any(|topic| !topic.topic_id.is_zero());
    if by_id {
        // As Kafka: one id makes it a question by ids, and names are not looked at.
        return topics_by_id(services, context, asked);
    }
    let mut seen = BTreeSet::new();
    let names: Vec<&Text> = asked
        .iter()
        .filter_map(|topic| topic.name.as_ref())
        .filter(|name| seen.insert(name.as_bytes()))
        .collect();
    let mut failed = BTreeMap::new();
    if request.allow_auto_topic_creation && services.cluster.get().is_told {
        let missing = |image: &ClusterImage| -> Vec<Text> {
            names
                .iter()
                .filter(|name| image.topic(name).is_none())
                .map(|name| (*name).clone())
                .collect()
        };
        let missing = missing(&services.cluster.get());
        if !missing.is_empty() {
            failed = services.auto_create_topics(context, missing).await;
        }
    }
    let image = services.cluster.get();
    names
        .into_iter()
        .map(|name| one_topic(&image, name, context, failed.get(name.as_str()).copied()))
        .collect()
}

/// `failed` is why the topic is not there, where it was tried to create it.
fn one_topic(
    image: &ClusterImage,
    name: &Text,
    context: &RequestContext,
    failed: Option<ErrorCode>,
) -> MetadataResponseTopic {
    let error = if !context.authorize(Operation::Describe, Resource::Topic(name)) {
        ErrorCode::TopicAuthorizationFailed
    } else if let Some(topic) = image.topic(name) {
        return described(image, topic, context);
    } else if topic_name::check(name).is_err() {
        ErrorCode::InvalidTopicException
    } else {
        failed.unwrap_or(unknown(image))
    };
    MetadataResponseTopic {
        error_code: error.code(),
        name: Some(name.clone()),
        is_internal: error != ErrorCode::TopicAuthorizationFailed && is_internal_topic(name),
        topic_authorized_operations: NOT_ASKED,
        ..MetadataResponseTopic::default()
    }
}

/// What is said of a topic that is not in the image. Clients believe that a topic is not there and give up what they have
/// for it, so a broker that just started does not say that before it knows: they ask again.
pub(super) fn unknown(image: &ClusterImage) -> ErrorCode {
    match image.is_told {
        true => ErrorCode::UnknownTopicOrPartition,
        false => ErrorCode::LeaderNotAvailable,
    }
}

fn topics_by_id(
    services: &Services,
    context: &RequestContext,
    asked: &[MetadataRequestTopic],
) -> Vec<MetadataResponseTopic> {
    let image = services.cluster.get();
    let ids: BTreeSet<Uuid> = asked
        .iter()
        .map(|topic| topic.topic_id)
        .filter(|id| !id.is_zero())
        .collect();
    ids.into_iter()
        .map(|id| match image.topic_by_id(id) {
            Some(topic) if context.authorize(Operation::Describe, Resource::Topic(&topic.name)) => {
                described(&image, topic, context)
            }
            known => MetadataResponseTopic {
                error_code: match known {
                    Some(_) => ErrorCode::TopicAuthorizationFailed.code(),
                    None => ErrorCode::UnknownTopicId.code(),
                },
                name: None,
                topic_id: id,
                topic_authorized_operations: NOT_ASKED,
                ..MetadataResponseTopic::default()
            },
        })
        .collect()
}

fn described(image: &ClusterImage, topic: &TopicImage, context: &RequestContext) -> MetadataResponseTopic {
    let rules = Rules {
        unavailable_is_error: context.api_version == 0,
        names_listener: context.api_version >= 6,
    };
    let partitions = topic.partitions.iter().map(|(index, partition)| {
        let view = view(image, partition, &context.connection.listener.name, rules);
        MetadataResponsePartition {
            error_code: view.error.code(),
            partition_index: *index,
            leader_id: view.leader_id,
            leader_epoch: view.leader_epoch,
            replica_nodes: view.replicas,
            isr_nodes: view.isr,
            offline_replicas: view.offline_replicas,
        }
    });
    MetadataResponseTopic {
        error_code: ErrorCode::None.code(),
        name: Some(Text::from(&topic.name)),
        topic_id: topic.id,
        is_internal: is_internal_topic(&topic.name),
        partitions: partitions.collect(),
        topic_authorized_operations: NOT_ASKED,
    }
}
