//! Produce (key 0), versions 0 to 13.
//!
//! What differs: throttle time from 1, append time from 2; from 3 each partition brings exactly one batch of format 2
//! and the request a transactional id; zstd from 7; log start offset from 5; record errors from 8; the current leader
//! from 10 (KIP-951); topic ids instead of names from 13 (KIP-516). Ordering point: appended in, or refused by, all
//! partitions. Checks and their order are those of `KafkaApis.handleProduceRequest` and
//! `ReplicaManager.handleProduceAppend`.
//!
//! Deviations: null records get INVALID_RECORD, where Kafka answers nothing at all; a partition named twice is appended
//! to twice. There is no transaction coordinator yet, so transactional batches are refused as Kafka refuses them while
//! it reaches none.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::context::{Operation, Resource};
use super::current_leader::CurrentLeaders;
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::clock;
use crate::base::error_code::ErrorCode;
use crate::base::task::Pace;
use crate::metadata::TopicImage;
use crate::metadata::is_internal_topic;
use crate::records::batch::{BatchHeader, Batches, may_be_transactional};
use crate::records::validate::produce::check_produced;
use crate::replica::answers::{AppendAnswer, PendingAck, PendingFlush};
use crate::replica::append::Appending;
use crate::storage::producer_state::Origin;
use crate::wire::messages::produce::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceData,
    PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData, TopicProduceResponse,
};
use crate::wire::response::Response;
use crate::wire::text::Text;

/// The client id whose writes to internal topics are let through (`AdminUtils.ADMIN_CLIENT_ID`).
const ADMIN_CLIENT_ID: &str = "__admin_client";
const UNVERIFIED: &str = "Unable to verify the partition has been added to the transaction. Underlying error: \
                          COORDINATOR_NOT_AVAILABLE";
/// How much more it costs to check compressed records than others: so many times its size any batch may have when it is
/// decompressed.
const COMPRESSED_WORK: usize = 64;
const TWO_PRODUCERS: &str = "Transactional records contained more than one producer ID";

/// Appends to each partition and answers, at once or when the followers have it.
///
/// # Errors
/// [`Rejected::Close`] for a request with acks=0 of which something failed: it is all such a client can be told.
pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: ProduceRequest,
) -> Result<Answer, Rejected> {
    let appended = append_all(services, context, &request).await;
    if request.acks == 0 {
        return answer_silently(context, &appended.response);
    }
    let version = context.api_version;
    if appended.pending.is_empty() && appended.flushes.is_empty() {
        let response = with_leaders(services, context, appended.response);
        return Ok(Answer::Now(Response::encode(&response, version)));
    }
    let Appended {
        mut response,
        pending,
        flushes,
    } = appended;
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let (places, pending): (Vec<_>, Vec<_>) = pending.into_iter().unzip();
    let waiting = services.replicas.wait_for_replication(pending, timeout);
    let services = Arc::clone(services);
    let context = context.clone();
    Ok(Answer::Later(Box::pin(async move {
        for (place, error) in places.into_iter().zip(waiting.finish().await) {
            set_error(&mut response, place, error);
        }
        for (place, flush) in flushes {
            let error = flush.done().await;
            if !error.is_none() {
                set_error(&mut response, place, error);
            }
        }
        let response = with_leaders(&services, &context, response);
        Response::encode(&response, context.api_version)
    })))
}

/// Where in the response a partition is answered.
type Place = (usize, usize);

#[derive(Default)]
struct Appended {
    response: ProduceResponse,
    /// What waits for followers.
    pending: Vec<(Place, PendingAck)>,
    /// What waits for the disk.
    flushes: Vec<(Place, PendingFlush)>,
}

impl Appended {
    /// The answer without what is still to be waited for, which is noted.
    fn take(&mut self, place: Place, mut answer: AppendAnswer) -> AppendAnswer {
        self.pending.extend(answer.pending.take().map(|one| (place, one)));
        self.flushes.extend(answer.flush.take().map(|one| (place, one)));
        answer
    }
}

fn answer_silently(context: &RequestContext, response: &ProduceResponse) -> Result<Answer, Rejected> {
    let failed = response
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses)
        .find(|partition| partition.error_code != 0);
    match failed {
        None => Ok(Answer::Silent),
        Some(partition) => {
            let error = partition.error_code;
            tracing::info!(error, connection = %context.connection.id, "produce with acks=0 failed, closing");
            Err(Rejected::Close("a Produce without acks failed"))
        }
    }
}

fn slot(response: &mut ProduceResponse, (topic, partition): Place) -> Option<&mut PartitionProduceResponse> {
    let topic = response.responses.get_mut(topic)?;
    topic.partition_responses.get_mut(partition)
}

fn set_error(response: &mut ProduceResponse, place: Place, error: ErrorCode) {
    if let Some(slot) = slot(response, place) {
        slot.error_code = error.code();
    }
}

/// Appends to all partitions, and waits for none before the others have begun: one may lie in a directory that does not
/// answer.
async fn append_all(
    services: &Arc<Services>,
    context: &RequestContext,
    request: &ProduceRequest,
) -> Appended {
    let image = services.cluster.get();
    let replicas = &services.replicas;
    let verifies = image.broker_config.transaction_partition_verification_enable;
    let refusal = refuse_transaction(context, request);
    let now_ms = clock::now_ms();
    let by_id = context.api_version >= 13;
    let mut waiting: Vec<(Place, (&str, i32), Appending)> = Vec::new();
    let mut done: Vec<(Place, AppendAnswer)> = Vec::new();
    let mut appended = Appended::default();
    let mut pace = Pace::new();
    let mut responses = Vec::with_capacity(request.topic_data.len());
    // A topic without partitions is not answered, as in Kafka.
    let asked = request
        .topic_data
        .iter()
        .filter(|data| !data.partition_data.is_empty());
    for (topic_index, data) in asked.enumerate() {
        let topic = if by_id {
            image.topic_by_id(data.topic_id)
        } else {
            image.topic(&data.name)
        };
        let mut answers = Vec::with_capacity(data.partition_data.len());
        for (partition_index, partition) in data.partition_data.iter().enumerate() {
            let checked = match &refusal {
                Some(refusal) => Err(*refusal),
                None => check(context, request.acks, verifies, data, topic, partition),
            };
            let place = (topic_index, partition_index);
            let answer = match checked {
                Ok((name, records)) => {
                    let named = (name, partition.index);
                    if waiting.iter().any(|(_, before, _)| *before == named) {
                        // What the request has for it first is first in its log.
                        for (place, _, appending) in waiting.drain(..) {
                            done.push((place, appending.done().await));
                        }
                    }
                    let (index, acks) = (partition.index, request.acks);
                    let begun = replicas.begin_append(name, index, records, acks, Origin::Client, now_ms);
                    pace.did(work(records)).await;
                    match begun {
                        Appending::Done(answer) => answer,
                        waits @ Appending::Waits(_) => {
                            waiting.push((place, named, waits));
                            failed(ErrorCode::UnknownServerError, None)
                        }
                    }
                }
                Err((error, message)) => failed(error, message),
            };
            answers.push(partition_response(partition.index, appended.take(place, answer)));
        }
        responses.push(TopicProduceResponse {
            name: data.name.clone(),
            topic_id: data.topic_id,
            partition_responses: answers,
        });
    }
    appended.response.responses = responses;
    for (place, _, appending) in waiting {
        done.push((place, appending.done().await));
    }
    for (place, answer) in done {
        let answer = appended.take(place, answer);
        if let Some(slot) = slot(&mut appended.response, place) {
            *slot = partition_response(slot.index, answer);
        }
    }
    appended
}

/// What it costs to check records, in what [`Pace`] counts: compressed ones are usually some times as long, and may be a
/// thousand times.
pub(super) fn work(records: &[u8]) -> usize {
    match BatchHeader::parse(records) {
        Ok(Some(batch)) if batch.is_compressed() => records.len().saturating_mul(COMPRESSED_WORK),
        _ => records.len(),
    }
}

fn failed(error: ErrorCode, message: Option<&str>) -> AppendAnswer {
    AppendAnswer {
        message: message.map(str::to_owned),
        ..AppendAnswer::failed(error)
    }
}

/// Why records do not get to the log, and what more is said of it.
type Refusal = (ErrorCode, Option<&'static str>);

/// The headers of the transactional batches of a request.
fn transactional_producers(request: &ProduceRequest) -> impl Iterator<Item = (i64, i16)> {
    request
        .topic_data
        .iter()
        .flat_map(|topic| &topic.partition_data)
        .filter_map(|partition| partition.records.as_deref())
        .filter(|records| may_be_transactional(records))
        .flat_map(|records| Batches::new(records).map_while(Result::ok))
        .filter(|batch| batch.is_transactional())
        .map(|batch| (batch.producer_id.get(), batch.producer_epoch.get()))
}

/// Why a request is refused in all its partitions for what its transactional batches say; `None` when it is not.
fn refuse_transaction(context: &RequestContext, request: &ProduceRequest) -> Option<Refusal> {
    let mut producers = transactional_producers(request);
    let first = producers.next()?;
    let authorized = request
        .transactional_id
        .as_ref()
        .is_some_and(|id| context.authorize(Operation::Write, Resource::TransactionalId(id)));
    if !authorized {
        return Some((ErrorCode::TransactionalIdAuthorizationFailed, None));
    }
    if producers.any(|other| other != first) {
        return Some((ErrorCode::InvalidProducerIdMapping, Some(TWO_PRODUCERS)));
    }
    None
}

/// The checks of one partition before its log is asked; yields the topic's name and the records. "Refused" for no error
/// are records that are not there, which a request before v3 may bring.
fn check<'a>(
    context: &RequestContext,
    acks: i16,
    verifies: bool,
    data: &'a TopicProduceData,
    topic: Option<&'a Arc<TopicImage>>,
    partition: &'a PartitionProduceData,
) -> Result<(&'a str, &'a Bytes), Refusal> {
    let refused = |error| Err((error, None));
    let name: &str = match topic {
        Some(topic) => &topic.name,
        None if context.api_version >= 13 => return refused(ErrorCode::UnknownTopicId),
        None => &data.name,
    };
    if !context.authorize(Operation::Write, Resource::Topic(name)) {
        return refused(ErrorCode::TopicAuthorizationFailed);
    }
    if !topic.is_some_and(|topic| topic.partitions.contains_key(&partition.index)) {
        return refused(ErrorCode::UnknownTopicOrPartition);
    }
    let produced = match check_produced(context.api_version, partition.records.as_deref()) {
        Ok(produced) => produced,
        Err(error) => return refused(error.code),
    };
    if produced.transactional.is_some() && verifies {
        return Err((ErrorCode::NotEnoughReplicas, Some(UNVERIFIED)));
    }
    if !matches!(acks, -1..=1) {
        return refused(ErrorCode::InvalidRequiredAcks);
    }
    if is_internal_topic(name) && context.client_id.as_deref() != Some(ADMIN_CLIENT_ID) {
        return refused(ErrorCode::InvalidTopicException);
    }
    match &partition.records {
        Some(records) if produced.batches > 0 => Ok((name, records)),
        _ => refused(ErrorCode::None),
    }
}

fn partition_response(index: i32, answer: AppendAnswer) -> PartitionProduceResponse {
    let record_errors = answer
        .record_errors
        .into_iter()
        .map(|error| BatchIndexAndErrorMessage {
            batch_index: error.batch_index,
            batch_index_error_message: error.message.map(Text::from),
        })
        .collect();
    PartitionProduceResponse {
        index,
        error_code: answer.error.code(),
        base_offset: answer.base_offset,
        log_append_time_ms: answer.log_append_time_ms,
        log_start_offset: answer.log_start_offset,
        record_errors,
        error_message: answer.message.map(Text::from),
        current_leader: LeaderIdAndEpoch::default(),
    }
}

/// From v10 on, tells who leads the partitions that this broker does not.
fn with_leaders(
    services: &Services,
    context: &RequestContext,
    mut response: ProduceResponse,
) -> ProduceResponse {
    let not_leader = ErrorCode::NotLeaderOrFollower.code();
    let mut elsewhere = false;
    for topic in &response.responses {
        elsewhere |= topic
            .partition_responses
            .iter()
            .any(|one| one.error_code == not_leader);
    }
    if context.api_version < 10 || !elsewhere {
        return response;
    }
    let mut leaders = CurrentLeaders::new(services, context);
    for topic in &mut response.responses {
        for partition in &mut topic.partition_responses {
            if partition.error_code == not_leader {
                let (leader_id, leader_epoch) = leaders.find(&topic.name, &topic.topic_id, partition.index);
                partition.current_leader = LeaderIdAndEpoch {
                    leader_id,
                    leader_epoch,
                };
            }
        }
    }
    response.node_endpoints = leaders
        .nodes()
        .map(|node| NodeEndpoint {
            node_id: node.id,
            host: node.host,
            port: node.port,
            rack: node.rack,
        })
        .collect();
    response
}
