//! CreatePartitions, key 37: gives topics more partitions.
//!
//! A timeout of zero or less answers REQUEST_TIMED_OUT although the partitions are made, as Kafka does.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::context::{Operation, Resource};
use super::{Answer, Rejected, RequestContext, Services, in_time};
use crate::base::error_code::ErrorCode;
use crate::base::ids::BrokerId;
use crate::controller::request::MorePartitions;
use crate::wire::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic, CreatePartitionsTopicResult,
};
use crate::wire::response::Response;
use crate::wire::text::Text;

pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: CreatePartitionsRequest,
) -> Result<Answer, Rejected> {
    // A topic that is named twice is answered once, with an error.
    let mut asked = BTreeMap::<&str, (&CreatePartitionsTopic, usize)>::new();
    for topic in &request.topics {
        asked.entry(topic.name.as_str()).or_insert((topic, 0)).1 += 1;
    }
    let mut results = Vec::new();
    let mut wanted = Vec::new();
    for (topic, count) in asked.values() {
        if *count > 1 {
            let why = "the request names this topic more than once".to_owned();
            results.push(result(&topic.name, ErrorCode::InvalidRequest, Some(why)));
        } else if !context.authorize(Operation::Alter, Resource::Topic(&topic.name)) {
            results.push(result(
                &topic.name,
                ErrorCode::TopicAuthorizationFailed,
                Some("not allowed".to_owned()),
            ));
        } else {
            wanted.push(*topic);
        }
    }
    let topics = wanted.iter().map(|topic| more(topic)).collect();
    let asked = services
        .controller
        .create_partitions(topics, request.validate_only);
    let answers = match in_time::answer(request.timeout_ms, asked).await {
        Some(answers) => answers,
        None => wanted.iter().map(|_| Err(in_time::over())).collect(),
    };
    for (topic, answer) in wanted.iter().zip(answers) {
        results.push(match answer {
            Ok(()) if request.timeout_ms <= 0 && !request.validate_only => {
                result(&topic.name, ErrorCode::RequestTimedOut, None)
            }
            Ok(()) => result(&topic.name, ErrorCode::None, None),
            Err(error) => result(&topic.name, error.code, error.message),
        });
    }
    let response = CreatePartitionsResponse {
        results,
        ..CreatePartitionsResponse::default()
    };
    Ok(Answer::Now(Response::encode(&response, context.api_version)))
}

fn result(name: &Text, error: ErrorCode, message: Option<String>) -> CreatePartitionsTopicResult {
    CreatePartitionsTopicResult {
        name: name.clone(),
        error_code: error.code(),
        error_message: message.map(Text::from),
    }
}

fn more(topic: &CreatePartitionsTopic) -> MorePartitions {
    let brokers = |ids: &[i32]| ids.iter().map(|id| BrokerId(*id)).collect();
    MorePartitions {
        name: topic.name.to_string(),
        count: topic.count,
        assignments: topic.assignments.as_ref().map(|list| {
            list.iter()
                .map(|assigned| brokers(&assigned.broker_ids))
                .collect()
        }),
    }
}
