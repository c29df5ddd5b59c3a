//! DeleteTopics, key 20: by name, and from version 6 on by id too. Where `delete.topic.enable` is off, version 3 has a
//! code for it and the older ones get INVALID_REQUEST.
//!
//! A timeout of zero or less answers REQUEST_TIMED_OUT although the topic is deleted, as Kafka does. A broker that is not
//! the controller looks at nothing (`KafkaApis.handleDeleteTopicsRequest`).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services, in_time};
use crate::base::error_code::ErrorCode;
use crate::base::ids::Uuid;
use crate::metadata::ClusterImage;
use crate::wire::messages::delete_topics::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use crate::wire::response::Response;
use crate::wire::text::Text;

pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: DeleteTopicsRequest,
) -> Result<Answer, Rejected> {
    let by_name = |name: Text| DeleteTopicState {
        name: Some(name),
        topic_id: Uuid::ZERO,
    };
    let states: Vec<DeleteTopicState> = match context.api_version {
        ..6 => request.topic_names.into_iter().map(by_name).collect(),
        _ => request.topics,
    };
    let both = |state: &DeleteTopicState| state.name.is_some() && !state.topic_id.is_zero();
    let mut responses: Vec<DeletableTopicResult> = if !services.controller.is_active() {
        // What another broker knows of topics may be old; "there is none" would be the end of it for the client.
        states
            .into_iter()
            .map(|state| result(state.name, state.topic_id, ErrorCode::NotController))
            .collect()
    } else if states.iter().any(both) {
        // Kafka fails the request as a whole.
        states
            .into_iter()
            .map(|state| result(state.name, state.topic_id, ErrorCode::InvalidRequest))
            .collect()
    } else if services.config().delete_topic_enable {
        let image = services.cluster.get();
        states
            .into_iter()
            .map(|state| judged(&image, context, state))
            .collect()
    } else {
        let error = match context.api_version {
            ..3 => ErrorCode::InvalidRequest,
            _ => ErrorCode::TopicDeletionDisabled,
        };
        states
            .into_iter()
            .map(|state| result(state.name, state.topic_id, error))
            .collect()
    };
    let mut wanted = BTreeMap::<String, usize>::new();
    for (index, response) in responses
        .iter()
        .enumerate()
        .filter(|(_, response)| response.error_code == 0)
    {
        if let Some(name) = &response.name {
            wanted.entry(name.to_string()).or_insert(index);
        }
    }
    let answers = match wanted.is_empty() {
        // Who is not the controller, or about to be it, is not waited for.
        true => Vec::new(),
        false => {
            let names = wanted.keys().map(|name| Arc::from(name.as_str()));
            let asked = services.controller.delete_topics(names.collect());
            match in_time::answer(request.timeout_ms, asked).await {
                Some(answers) => answers,
                None => wanted.iter().map(|_| Err(in_time::over())).collect(),
            }
        }
    };
    for (index, answer) in wanted.values().zip(answers) {
        let (error, message) = match answer {
            Ok(()) if request.timeout_ms <= 0 => (ErrorCode::RequestTimedOut, None),
            Ok(()) => (ErrorCode::None, None),
            Err(error) => (error.code, error.message),
        };
        if let Some(slot) = responses.get_mut(*index) {
            slot.error_code = error.code();
            slot.error_message = message.map(Text::from);
        }
    }
    let response = DeleteTopicsResponse {
        responses,
        ..DeleteTopicsResponse::default()
    };
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}

fn result(name: Option<Text>, topic_id: Uuid, error: ErrorCode) -> DeletableTopicResult {
    DeletableTopicResult {
        name,
        topic_id,
        error_code: error.code(),
        ..DeletableTopicResult::default()
    }
}

/// The slot of a topic, without an error where it may be deleted.
fn judged(image: &ClusterImage, context: &RequestContext, state: DeleteTopicState) -> DeletableTopicResult {
    let name = match state.topic_id.is_zero() {
        true => state.name,
        false => image
            .topic_by_id(state.topic_id)
            .map(|topic| Text::from(&topic.name)),
    };
    let Some(topic) = &name else {
        return result(None, state.topic_id, ErrorCode::UnknownTopicId);
    };
    if !state.topic_id.is_zero() && !context.authorize(Operation::Describe, Resource::Topic(topic)) {
        // The name of a topic is not told to who may not see it.
        return result(None, state.topic_id, ErrorCode::TopicAuthorizationFailed);
    }
    let error = if !context.authorize(Operation::Delete, Resource::Topic(topic)) {
        ErrorCode::TopicAuthorizationFailed
    } else if image.topic(topic).is_none() {
        ErrorCode::UnknownTopicOrPartition
    } else {
        ErrorCode::None
    };
    result(name, state.topic_id, error)
}
