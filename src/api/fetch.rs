//! Fetch (key 1), versions 0 to 18.
//!
//! What differs: throttle time from 1; the response's `max_bytes` from 3, and with it a first batch that is returned
//! whole; magic 0 up to 1, magic 1 up to 3 (records are converted down); `read_committed` from 4; log start from 5;
//! KAFKA_STORAGE_ERROR from 6; sessions (KIP-227) from 7; leader epochs from 9; zstd from 10; from 11 the consumer's
//! rack, the replica that it is to read from, and answers by followers (KIP-392); diverging epochs from 12; topic ids
//! from 13 (KIP-516); the replica's state in a tagged field from 15; the current leader from 16 (KIP-951). No ordering
//! point: later requests may overtake one that waits. As `KafkaApis.handleFetchRequest`.
//!
//! Deviation: negative sizes count as 0, where Kafka answers UNKNOWN_SERVER_ERROR.

use std::sync::Arc;

use super::context::{Operation, Resource};
use super::current_leader::CurrentLeaders;
use super::down_conversion::Conversions;
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::clock;
use crate::base::error_code::ErrorCode;
use crate::base::format::Codec;
use crate::base::ids::{BrokerEpoch, BrokerId, TopicName, Uuid};
use crate::base::task::Pace;
use crate::config::{BrokerConfig, ReplicaSelector};
use crate::metadata::ClusterImage;
use crate::replica::answers::{FetchParameters, ReadAnswer};
use crate::replica::fetch::{self, Fetch};
use crate::replica::fetch_session::{
    AnswerSummary, FetchContext, FetchPartition, SessionAnswer, SessionRequest, SessionTopic,
};
use crate::replica::nearest::ConsumerPlace;
use crate::replica::waiting::Bound;
use crate::wire::fetch_response::{FetchResponse, FetchedPartition, FetchedTopic, RecordsPart};
use crate::wire::messages::fetch::{
    AbortedTransaction, EpochEndOffset, FetchRequest, LeaderIdAndEpoch, NodeEndpoint,
};
use crate::wire::response::Response;
use crate::wire::text::Text;

/// The replica id of a log directory's future replica (`FetchRequest.FUTURE_LOCAL_REPLICA_ID`).
const FUTURE_REPLICA_ID: i32 = -3;

/// The last version for which records are converted down.
const LAST_CONVERTED: i16 = 3;

/// What is answered once the partitions were read.
struct Prepared {
    services: Arc<Services>,
    context: RequestContext,
    session: FetchContext,
    partitions: Arc<[FetchPartition]>,
    is_follower: bool,
}

/// Reads, and answers now or when there is enough.
///
/// # Errors
/// None.
pub(super) async fn handle(
    services: &Arc<Services>,
    context: &RequestContext,
    request: FetchRequest,
) -> Result<Answer, Rejected> {
    let version = context.api_version;
    let replica_id = if version >= 15 {
        request.replica_state.replica_id
    } else {
        request.replica_id
    };
    let is_follower = replica_id >= 0;
    let image = services.cluster.get();
    let by_id = version >= 13;
    let now_ms = clock::now_ms();
    let session_request = SessionRequest {
        session_id: request.session_id,
        epoch: request.session_epoch,
        uses_topic_ids: by_id,
        is_follower,
    };
    let (session, partitions) = services.fetch_sessions.begin(
        session_request,
        wanted(&request, &image, by_id),
        &forgotten(&request, by_id),
        |id| image.topic_by_id(*id).map(|topic| TopicName::clone(&topic.name)),
        now_ms,
    );
    let refused = refuse(context, &image, is_follower, &partitions);
    let parameters = parameters(context, replica_id, &request, &image.broker_config);
    let partitions: Arc<[FetchPartition]> = partitions.into();
    let prepared = Prepared {
        services: Arc::clone(services),
        context: context.clone(),
        session,
        partitions: Arc::clone(&partitions),
        is_follower,
    };
    match services.replicas.fetch(parameters, partitions, refused) {
        Fetch::Ready(answers) if fetch::is_warm(&answers) => Ok(Answer::Now(prepared.respond(answers).await)),
        Fetch::Ready(answers) => Ok(Answer::Later(Box::pin(async move {
            fetch::warm(&answers).await;
            prepared.respond(answers).await
        }))),
        Fetch::Parked(parked) => Ok(Answer::Later(Box::pin(async move {
            let answers = parked.finish().await;
            fetch::warm(&answers).await;
            prepared.respond(answers).await
        }))),
    }
}

/// The partitions that the request names.
fn wanted(request: &FetchRequest, image: &ClusterImage, by_id: bool) -> Vec<FetchPartition> {
    let mut wanted = Vec::with_capacity(request.topics.iter().map(|topic| topic.partitions.len()).sum());
    for topic in &request.topics {
        let known = if by_id {
            image.topic_by_id(topic.topic_id)
        } else {
            image.topic(&topic.topic)
        };
        let name = match known {
            Some(known) => Some(TopicName::clone(&known.name)),
            None if by_id => None,
            None => Some(TopicName::from(topic.topic.as_str())),
        };
        for partition in &topic.partitions {
            wanted.push(FetchPartition {
                topic: name.clone(),
                topic_id: if by_id { topic.topic_id } else { Uuid::ZERO },
                partition: partition.partition,
                fetch_offset: partition.fetch_offset,
                log_start_offset: partition.log_start_offset,
                max_bytes: partition.partition_max_bytes,
                // None when it is negative; elsewhere -1 alone is none (`FetchRequest.optionalEpoch`).
                current_leader_epoch: partition.current_leader_epoch.max(-1),
                last_fetched_epoch: partition.last_fetched_epoch,
            });
        }
    }
    wanted
}

fn forgotten(request: &FetchRequest, by_id: bool) -> Vec<(SessionTopic, i32)> {
    let mut forgotten = Vec::new();
    for topic in &request.forgotten_topics_data {
        let key = if by_id {
            SessionTopic::Id(topic.topic_id)
        } else {
            SessionTopic::Name(TopicName::from(topic.topic.as_str()))
        };
        forgotten.extend(topic.partitions.iter().map(|partition| (key.clone(), *partition)));
    }
    forgotten
}

/// True for the errors of [`refuse`].
fn is_refusal(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::TopicAuthorizationFailed | ErrorCode::UnknownTopicId | ErrorCode::UnknownTopicOrPartition
    )
}

/// Why partitions are not read at all, by index; empty when all are.
fn refuse(
    context: &RequestContext,
    image: &ClusterImage,
    is_follower: bool,
    partitions: &[FetchPartition],
) -> Vec<ErrorCode> {
    let may_follow = is_follower && context.authorize(Operation::ClusterAction, Resource::Cluster);
    let check = |wanted: &FetchPartition| {
        if is_follower && !may_follow {
            return ErrorCode::TopicAuthorizationFailed;
        }
        let Some(name) = &wanted.topic else {
            return ErrorCode::UnknownTopicId;
        };
        if !is_follower && !context.authorize(Operation::Read, Resource::Topic(name)) {
            return ErrorCode::TopicAuthorizationFailed;
        }
        match image.partition(name, wanted.partition) {
            Some(_) => ErrorCode::None,
            None => ErrorCode::UnknownTopicOrPartition,
        }
    };
    if partitions.iter().all(|wanted| check(wanted).is_none()) {
        return Vec::new();
    }
    partitions.iter().map(check).collect()
}

fn parameters(
    context: &RequestContext,
    replica_id: i32,
    request: &FetchRequest,
    config: &BrokerConfig,
) -> FetchParameters {
    let version = context.api_version;
    let is_consumer = replica_id < 0 && replica_id != FUTURE_REPLICA_ID;
    let asked = if version < 3 { i32::MAX } else { request.max_bytes };
    let max_bytes = asked.min(config.fetch_max_bytes).max(0);
    FetchParameters {
        follower: (replica_id >= 0).then_some(BrokerId(replica_id)),
        follower_epoch: BrokerEpoch(if version >= 15 {
            request.replica_state.replica_epoch
        } else {
            -1
        }),
        max_wait_ms: request.max_wait_ms,
        min_bytes: request.min_bytes.min(max_bytes),
        max_bytes,
        hard_max_bytes: version <= 2,
        bound: match (is_consumer, request.isolation_level) {
            (false, _) => Bound::LogEnd,
            (true, 1) => Bound::LastStable,
            (true, _) => Bound::HighWatermark,
        },
        leader_only: replica_id >= 0 || (is_consumer && version < 11),
        place: place(context, replica_id, request, config),
    }
}

/// Where a consumer stands that may be sent to a replica in its rack.
fn place(
    context: &RequestContext,
    replica_id: i32,
    request: &FetchRequest,
    config: &BrokerConfig,
) -> Option<ConsumerPlace> {
    let by_rack = config.replica_selector_class == ReplicaSelector::RackAware;
    let has_rack = context.api_version >= 11 && !request.rack_id.is_empty();
    (by_rack && has_rack && replica_id < 0).then(|| ConsumerPlace {
        rack: Arc::from(request.rack_id.as_str()),
        listener: Arc::clone(&context.connection.listener.name),
    })
}

impl Prepared {
    async fn respond(self, answers: Vec<ReadAnswer>) -> Response {
        let version = self.context.api_version;
        let mut left_out = Vec::new();
        let session = self.services.fetch_sessions.finish(
            &self.session,
            &self.partitions,
            |index| answers.get(index).map_or(NOTHING, summary),
            |index| left_out.push(index),
            clock::now_ms(),
        );
        let mut response = self.collect(session, answers, &left_out).await;
        if version >= 16 {
            self.add_leaders(&mut response);
        }
        response.into_response(version)
    }

    async fn collect(
        &self,
        session: SessionAnswer,
        answers: Vec<ReadAnswer>,
        left_out: &[usize],
    ) -> FetchResponse {
        let mut response = FetchResponse {
            error_code: session.error.code(),
            session_id: session.session_id,
            ..FetchResponse::default()
        };
        if session.error != ErrorCode::None {
            return response;
        }
        let mut pace = Pace::new();
        let mut conversions = Conversions::new();
        let mut left_out = left_out.iter().copied().peekable();
        let mut last: Option<(&Option<TopicName>, &Uuid)> = None;
        for (index, (answer, wanted)) in answers.into_iter().zip(self.partitions.iter()).enumerate() {
            if left_out.next_if_eq(&index).is_some() {
                continue;
            }
            let topic = (&wanted.topic, &wanted.topic_id);
            if last != Some(topic) {
                last = Some(topic);
                response.topics.push(FetchedTopic {
                    topic: wanted.topic.as_deref().map(Text::copy).unwrap_or_default(),
                    topic_id: wanted.topic_id,
                    partitions: Vec::new(),
                });
            }
            if let Some(topic) = response.topics.last_mut() {
                topic
                    .partitions
                    .push(self.partition(wanted, answer, &mut conversions));
            }
            if self.context.api_version <= LAST_CONVERTED {
                pace.did(conversions.work()).await;
            }
        }
        response
    }

    fn partition(
        &self,
        wanted: &FetchPartition,
        answer: ReadAnswer,
        conversions: &mut Conversions,
    ) -> FetchedPartition {
        let version = self.context.api_version;
        let error = match answer.error {
            // Clients before v6 do not know the code; this one makes them look for the leader and try again.
            ErrorCode::KafkaStorageError if version <= 5 => ErrorCode::NotLeaderOrFollower,
            error => error,
        };
        let config = answer
            .partition
            .as_ref()
            .filter(|_| version < 10)
            .map(|partition| partition.config());
        if config
            .as_ref()
            .is_some_and(|config| config.compression == Some(Codec::Zstd))
        {
            return FetchedPartition::failed(wanted.partition, ErrorCode::UnsupportedCompressionType.code());
        }
        let records = match (answer.records, config) {
            (None, _) => RecordsPart::Empty,
            (Some(slice), Some(config)) if version <= LAST_CONVERTED => {
                if !self.is_follower && !config.message_downconversion_enable {
                    return FetchedPartition::failed(wanted.partition, ErrorCode::UnsupportedVersion.code());
                }
                let magic = if version <= 1 { 0 } else { 1 };
                match conversions.convert(slice, magic, wanted.fetch_offset) {
                    Ok(converted) => converted,
                    Err(error) => return FetchedPartition::failed(wanted.partition, error.code()),
                }
            }
            (Some(slice), _) => RecordsPart::File(slice),
        };
        FetchedPartition {
            partition_index: wanted.partition,
            error_code: error.code(),
            high_watermark: answer.high_watermark,
            last_stable_offset: answer.last_stable_offset,
            log_start_offset: answer.log_start_offset,
            diverging_epoch: answer.diverging_epoch.map(|diverging| EpochEndOffset {
                epoch: diverging.epoch,
                end_offset: diverging.end_offset,
            }),
            aborted_transactions: match answer.aborted {
                Some(aborted) => {
                    let told = aborted.into_iter().map(|one| AbortedTransaction {
                        producer_id: one.producer_id,
                        first_offset: one.first_offset,
                    });
                    Some(told.collect())
                }
                // As Kafka: null of what was tried to be read, none of what was refused before.
                None => is_refusal(error).then(Vec::new),
            },
            preferred_read_replica: answer.preferred_read_replica.map_or(-1, BrokerId::get),
            records,
            ..FetchedPartition::failed(wanted.partition, 0)
        }
    }

    /// Tells who leads the partitions that this broker does not, or in another epoch.
    fn add_leaders(&self, response: &mut FetchResponse) {
        let asks = [
            ErrorCode::NotLeaderOrFollower.code(),
            ErrorCode::FencedLeaderEpoch.code(),
        ];
        let mut leaders = None;
        for topic in &mut response.topics {
            for partition in &mut topic.partitions {
                if asks.contains(&partition.error_code) {
                    let leaders =
                        leaders.get_or_insert_with(|| CurrentLeaders::new(&self.services, &self.context));
                    let (leader_id, leader_epoch) =
                        leaders.find(&topic.topic, &topic.topic_id, partition.partition_index);
                    partition.current_leader = Some(LeaderIdAndEpoch {
                        leader_id,
                        leader_epoch,
                    });
                }
            }
        }
        if let Some(leaders) = leaders {
            response.node_endpoints = leaders
                .nodes()
                .map(|node| NodeEndpoint {
                    node_id: node.id,
                    host: node.host,
                    port: node.port,
                    rack: node.rack,
                })
                .collect();
        }
    }
}

const NOTHING: AnswerSummary = AnswerSummary {
    records_size: 0,
    high_watermark: -1,
    log_start_offset: -1,
    must_respond: true,
    is_error: true,
};

fn summary(answer: &ReadAnswer) -> AnswerSummary {
    AnswerSummary {
        records_size: answer.records_size(),
        high_watermark: answer.high_watermark,
        log_start_offset: answer.log_start_offset,
        must_respond: answer.is_news(),
        is_error: answer.error != ErrorCode::None,
    }
}
