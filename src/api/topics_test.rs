//! The handlers that ask the controller about topics.

use std::sync::Arc;

use super::Services;
use super::testing::{Idle, context, decoded, services, services_of_controller};
use crate::base::error_code::ErrorCode;
use crate::base::ids::Uuid;
use crate::replica::testing::{TestBroker, topic_id};
use crate::wire::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse};
use crate::wire::text::Text;

#[tokio::test]
async fn only_the_controller_says_that_a_topic_to_delete_is_not_there() {
    let delete = async |services: &Arc<Services>| {
        let state = |name: Option<&'static str>, id: Uuid| DeleteTopicState {
            name: name.map(Text::from_static),
            topic_id: id,
        };
        let request = DeleteTopicsRequest {
            topics: vec![state(Some("none"), Uuid::ZERO), state(None, topic_id(9))],
            timeout_ms: 1000,
            ..DeleteTopicsRequest::default()
        };
        let answer = super::delete_topics::handle(services, &context(6), request).await;
        let response: DeleteTopicsResponse = decoded(answer.unwrap(), 6).await;
        let codes = response.responses.iter();
        codes
            .map(|topic| ErrorCode::of_answer(topic.error_code))
            .collect::<Vec<_>>()
    };
    let broker = TestBroker::new(1);
    assert_eq!(
        delete(&services(&broker)).await,
        [ErrorCode::NotController, ErrorCode::NotController]
    );
    let controller = services_of_controller(&broker, Idle { hangs: false }).await;
    assert_eq!(
        delete(&controller).await,
        [ErrorCode::UnknownTopicOrPartition, ErrorCode::UnknownTopicId]
    );
}
