//! The handlers that reach partitions, from request to the bytes of the answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::testing::{self, decoded};
use super::{Answer, Rejected, RequestContext, Services};
use crate::base::clock::{self, Instant};
use crate::base::disk::memory::Call;
use crate::base::error_code::ErrorCode;
use crate::base::format::Codec;
use crate::base::ids::{BrokerEpoch, BrokerId, ProducerEpoch, ProducerId, Uuid};
use crate::metadata::BrokerImage;
use crate::records::batch::Batches;
use crate::records::build::BatchOptions;
use crate::replica::testing::{NOW_MS, TestBroker, batch, batch_with, idempotent, topic_id};
use crate::storage::producer_state::Origin;
use crate::wire::api_key::ApiKey;
use crate::wire::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopic,
};
use crate::wire::messages::describe_log_dirs::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use crate::wire::messages::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, TopicRequest,
};
use crate::wire::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData, ReplicaState,
};
use crate::wire::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopic,
};
use crate::wire::messages::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use crate::wire::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
};
use crate::wire::text::Text;

struct Api {
    broker: TestBroker,
    services: Arc<Services>,
    context: RequestContext,
}

impl Api {
    /// One topic `t` with two partitions, id 1, epoch 0.
    async fn new() -> Self {
        Self::with_config(&[]).await
    }

    async fn with_config(overrides: &[(&str, &str)]) -> Self {
        let broker = TestBroker::new(1);
        if !overrides.is_empty() {
            broker.configure_topic("t", overrides);
        }
        broker.lead("t", 1, 2, 0, &[1]).await;
        Self::of(broker)
    }

    fn of(broker: TestBroker) -> Self {
        let services = testing::services(&broker);
        Self {
            broker,
            services,
            context: testing::context(0),
        }
    }

    fn in_version(&self, api_version: i16) -> RequestContext {
        RequestContext {
            api_version,
            ..self.context.clone()
        }
    }

    async fn produce(
        &self,
        version: i16,
        acks: i16,
        name: &'static str,
        records: Option<Bytes>,
    ) -> PartitionProduceResponse {
        let request = produce_request(acks, name, records);
        let answer = super::produce::handle(&self.services, &self.in_version(version), request).await;
        let response: ProduceResponse = decoded(answer.unwrap(), version).await;
        response.responses[0].partition_responses[0].clone()
    }

    async fn fetch(&self, version: i16, request: FetchRequest) -> FetchResponse {
        let answer = super::fetch::handle(&self.services, &self.in_version(version), request).await;
        decoded(answer.unwrap(), version).await
    }

    async fn fetch_one(&self, version: i16, partition: FetchPartition) -> PartitionData {
        let mut response = self.fetch(version, fetch_request(vec![partition])).await;
        response.responses.remove(0).partitions.remove(0)
    }

    async fn list(
        &self,
        version: i16,
        partitions: Vec<ListOffsetsPartition>,
    ) -> Vec<ListOffsetsPartitionResponse> {
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: Text::from_static("t"),
                partitions,
            }],
            ..ListOffsetsRequest::default()
        };
        let answer = super::list_offsets::handle(&self.services, &self.in_version(version), request).await;
        let mut response: ListOffsetsResponse = decoded(answer.unwrap(), version).await;
        response.topics.remove(0).partitions
    }
}

fn produce_request(acks: i16, name: &'static str, records: Option<Bytes>) -> ProduceRequest {
    ProduceRequest {
        acks,
        timeout_ms: 1000,
        topic_data: vec![TopicProduceData {
            name: Text::from_static(name),
            topic_id: topic_id(1),
            partition_data: vec![PartitionProduceData { index: 0, records }],
        }],
        ..ProduceRequest::default()
    }
}

fn fetch_request(partitions: Vec<FetchPartition>) -> FetchRequest {
    FetchRequest {
        replica_id: -1,
        replica_state: ReplicaState {
            replica_id: -1,
            ..ReplicaState::default()
        },
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: 1_000_000,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: Text::from_static("t"),
            topic_id: topic_id(1),
            partitions,
        }],
        ..FetchRequest::default()
    }
}

fn fetch_partition(partition: i32, fetch_offset: i64) -> FetchPartition {
    FetchPartition {
        partition,
        fetch_offset,
        partition_max_bytes: 1_000_000,
        ..FetchPartition::default()
    }
}

fn at(partition_index: i32, timestamp: i64) -> ListOffsetsPartition {
    ListOffsetsPartition {
        partition_index,
        timestamp,
        max_num_offsets: 10,
        ..ListOffsetsPartition::default()
    }
}

fn of_producer(producer_id: i64, transactional: bool) -> Bytes {
    let options = BatchOptions {
        producer_id: ProducerId(producer_id),
        producer_epoch: ProducerEpoch(0),
        base_sequence: 0,
        is_transactional: transactional,
        ..BatchOptions::default()
    };
    batch_with(1, 10, options)
}

fn code(error: ErrorCode) -> i16 {
    error.code()
}

#[tokio::test]
async fn produce_and_fetch_work_in_every_version() {
    let api = Api::new().await;
    let mut appended = 0;
    for version in ApiKey::Produce.stable_versions() {
        let answer = api.produce(version, -1, "t", Some(batch(2, 10))).await;
        assert_eq!(
            (answer.error_code, answer.base_offset),
            (0, appended),
            "v{version}"
        );
        assert_eq!(
            answer.log_start_offset,
            if version >= 5 { 0 } else { -1 },
            "v{version}"
        );
        assert_eq!(answer.error_message, None);
        appended += 2;
    }
    for version in ApiKey::Fetch.stable_versions() {
        let answer = api.fetch_one(version, fetch_partition(0, 0)).await;
        assert_eq!(
            (answer.error_code, answer.high_watermark),
            (0, appended),
            "v{version}"
        );
        let records = answer.records.unwrap();
        let batches: Vec<_> = Batches::new(&records)
            .map_while(Result::ok)
            .filter(|batch| batch.base_offset.get() >= 0)
            .map(|batch| (batch.magic, batch.last_offset().get()))
            .collect();
        let magic = match version {
            0 | 1 => 0,
            2 | 3 => 1,
            _ => 2,
        };
        assert_eq!(batches.last(), Some(&(magic, appended - 1)), "v{version}");
        assert!(batches.iter().all(|batch| batch.0 == magic), "v{version}");
    }
}

#[tokio::test]
async fn produce_refuses_in_kafkas_order() {
    let api = Api::new().await;
    let zstd = batch_with(
        1,
        100,
        BatchOptions {
            codec: Codec::Zstd,
            ..BatchOptions::default()
        },
    );
    let two: Bytes = [batch(1, 10), batch(1, 10)].concat().into();
    let mut old_magic = batch(1, 10).to_vec();
    old_magic[16] = 1;
    let mut torn = batch(1, 10);
    torn.truncate(50);
    let mut bad_size = batch(1, 10).to_vec();
    bad_size[8..12].copy_from_slice(&3i32.to_be_bytes());
    let mut bad_crc = batch(1, 10).to_vec();
    bad_crc[70] ^= 1;
    for (version, acks, topic, records, expected) in [
        (9, 1, "t", None, ErrorCode::InvalidRecord),
        (2, 1, "t", None, ErrorCode::InvalidRecord),
        (9, 1, "t", Some(Bytes::new()), ErrorCode::InvalidRecord),
        (2, 1, "t", Some(Bytes::new()), ErrorCode::None),
        (9, 1, "t", Some(torn), ErrorCode::InvalidRecord),
        (9, 1, "t", Some(two.clone()), ErrorCode::InvalidRecord),
        (2, 1, "t", Some(two), ErrorCode::InvalidRecord),
        (9, 1, "t", Some(old_magic.into()), ErrorCode::InvalidRecord),
        (9, 1, "t", Some(bad_size.into()), ErrorCode::CorruptMessage),
        (9, 1, "t", Some(bad_crc.into()), ErrorCode::CorruptMessage),
        (
            6,
            1,
            "t",
            Some(zstd.clone()),
            ErrorCode::UnsupportedCompressionType,
        ),
        (7, 1, "t", Some(zstd), ErrorCode::None),
        (9, 1, "no", Some(batch(1, 10)), ErrorCode::UnknownTopicOrPartition),
        (9, 1, "no", None, ErrorCode::UnknownTopicOrPartition),
        (9, 2, "t", Some(batch(1, 10)), ErrorCode::InvalidRequiredAcks),
        (9, 2, "t", None, ErrorCode::InvalidRecord),
    ] {
        let answer = api.produce(version, acks, topic, records).await;
        assert_eq!(
            answer.error_code,
            code(expected),
            "v{version} acks={acks} {topic}"
        );
        if expected != ErrorCode::None {
            assert_eq!((answer.base_offset, answer.log_append_time_ms), (-1, -1));
        }
    }
    let unknown_id = ProduceRequest {
        topic_data: vec![TopicProduceData {
            topic_id: topic_id(9),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Some(batch(1, 1)),
            }],
            ..TopicProduceData::default()
        }],
        acks: 1,
        ..ProduceRequest::default()
    };
    let answer = super::produce::handle(&api.services, &api.in_version(13), unknown_id).await;
    let response: ProduceResponse = decoded(answer.unwrap(), 13).await;
    assert_eq!(response.responses[0].topic_id, topic_id(9));
    let error = response.responses[0].partition_responses[0].error_code;
    assert_eq!(error, code(ErrorCode::UnknownTopicId));
}

#[tokio::test]
async fn transactional_batches_are_refused_as_without_a_coordinator() {
    let api = Api::new().await;
    let produce = async |id: Option<&'static str>, records: [Bytes; 2]| {
        let mut request = produce_request(-1, "t", Some(records[0].clone()));
        request.transactional_id = id.map(Text::from_static);
        request.topic_data[0].partition_data.push(PartitionProduceData {
            index: 1,
            records: Some(records[1].clone()),
        });
        let answer = super::produce::handle(&api.services, &api.in_version(9), request).await;
        let response: ProduceResponse = decoded(answer.unwrap(), 9).await;
        let answers = &response.responses[0].partition_responses;
        (
            answers[0].error_code,
            answers[1].error_code,
            answers[0].error_message.is_some(),
        )
    };
    let plain = batch(1, 10);
    let one = of_producer(1, true);
    let unauthorized = code(ErrorCode::TransactionalIdAuthorizationFailed);
    assert_eq!(
        produce(None, [one.clone(), plain.clone()]).await,
        (unauthorized, unauthorized, false)
    );
    let mixed = code(ErrorCode::InvalidProducerIdMapping);
    assert_eq!(
        produce(Some("x"), [one.clone(), of_producer(2, true)]).await,
        (mixed, mixed, true)
    );
    let retry = code(ErrorCode::NotEnoughReplicas);
    assert_eq!(produce(Some("x"), [one, plain.clone()]).await, (retry, 0, true));
    assert_eq!(
        produce(Some("x"), [of_producer(3, false), plain]).await,
        (0, 0, false)
    );
}

#[tokio::test]
async fn without_acknowledgements_success_is_silent_and_failure_closes() {
    let api = Api::new().await;
    let context = api.in_version(9);
    let sent = produce_request(0, "t", Some(batch(1, 10)));
    let answer = super::produce::handle(&api.services, &context, sent).await;
    assert!(matches!(answer, Ok(Answer::Silent)));
    let sent = produce_request(0, "no", Some(batch(1, 10)));
    let answer = super::produce::handle(&api.services, &context, sent).await;
    assert!(matches!(answer, Err(Rejected::Close(_))));
}

#[tokio::test]
async fn one_who_is_not_the_leader_says_who_is() {
    let api = Api::new().await;
    // The cluster knows the partition, but its replica is not here.
    api.broker.cluster.change(|image| {
        let topic = image.topics.get("t").unwrap();
        let mut other = crate::metadata::TopicImage::clone(topic);
        let mut partition = crate::metadata::PartitionImage::clone(&other.partitions[&0]);
        partition.leader = Some(BrokerId(2));
        other.partitions.insert(7, Arc::new(partition));
        image.topics.insert("t".into(), Arc::new(other));
        let broker = crate::metadata::BrokerImage {
            id: BrokerId(2),
            epoch: crate::base::ids::BrokerEpoch(1),
            endpoints: vec![crate::metadata::Endpoint {
                listener: "PLAINTEXT".into(),
                security_protocol: "PLAINTEXT".into(),
                host: "other".into(),
                port: 9093,
            }],
            rack: None,
        };
        image.brokers.insert(BrokerId(2), Arc::new(broker));
    });
    for version in [9, 10, 12] {
        let mut request = produce_request(1, "t", Some(batch(1, 10)));
        request.topic_data[0].partition_data[0].index = 7;
        let answer = super::produce::handle(&api.services, &api.in_version(version), request).await;
        let response: ProduceResponse = decoded(answer.unwrap(), version).await;
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!(partition.error_code, code(ErrorCode::NotLeaderOrFollower));
        let nodes: Vec<_> = response
            .node_endpoints
            .iter()
            .map(|node| (node.node_id, node.port))
            .collect();
        if version >= 10 {
            assert_eq!(
                (
                    partition.current_leader.leader_id,
                    partition.current_leader.leader_epoch
                ),
                (2, 0)
            );
            assert_eq!(nodes, [(2, 9093)]);
        } else {
            assert!(nodes.is_empty());
        }
    }
    for version in [15, 16, 18] {
        let response = api
            .fetch(version, fetch_request(vec![fetch_partition(7, 0)]))
            .await;
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.error_code, code(ErrorCode::NotLeaderOrFollower));
        let leader = if version >= 16 { 2 } else { -1 };
        assert_eq!(partition.current_leader.leader_id, leader);
        assert_eq!(response.node_endpoints.len(), usize::from(version >= 16));
    }
}

#[tokio::test]
async fn a_consumer_with_a_rack_is_sent_to_the_replica_there_from_version_11_on() {
    let selector = "org.apache.kafka.common.replica.RackAwareReplicaSelector";
    for (selector, rack, sent) in [(selector, "far", true), (selector, "", false), ("", "far", false)] {
        let broker = TestBroker::with_config(1, &[("replica.selector.class", selector)]);
        broker.lead("t", 1, 2, 0, &[1, 2]).await;
        let api = Api::of(broker);
        let image_of = |id: i32, rack: &str| {
            let endpoint = crate::metadata::Endpoint {
                listener: "PLAINTEXT".into(),
                security_protocol: "PLAINTEXT".into(),
                host: "host".into(),
                port: 9092,
            };
            Arc::new(BrokerImage {
                id: BrokerId(id),
                epoch: BrokerEpoch(1),
                endpoints: vec![endpoint],
                rack: Some(rack.into()),
            })
        };
        api.broker.cluster.change(|image| {
            image.brokers.insert(BrokerId(1), image_of(1, "near"));
            image.brokers.insert(BrokerId(2), image_of(2, "far"));
        });
        api.produce(9, 1, "t", Some(batch(1, 100))).await;
        let as_follower = |offset| {
            let mut request = fetch_request(vec![fetch_partition(0, offset)]);
            request.replica_id = 2;
            request.replica_state.replica_id = 2;
            request
        };
        api.fetch(12, as_follower(1)).await;
        for version in 4..=18 {
            let mut request = fetch_request(vec![fetch_partition(0, 0)]);
            request.rack_id = Text::copy(rack);
            let is_sent = sent && version >= 11;
            request.session_epoch = if is_sent { 0 } else { -1 };
            let mut response = api.fetch(version, request.clone()).await;
            let answer = response.responses.remove(0).partitions.remove(0);
            assert_eq!(answer.error_code, 0);
            assert_eq!(
                answer.preferred_read_replica,
                if is_sent { 2 } else { -1 },
                "v{version}"
            );
            let has_records = answer.records.is_some_and(|records| !records.is_empty());
            assert_eq!((has_records, answer.high_watermark), (!is_sent, 1), "v{version}");
            if is_sent {
                // In a session it is told again, though nothing else has changed.
                request.session_id = response.session_id;
                request.session_epoch = 1;
                request.topics.clear();
                let again = api.fetch(version, request).await;
                assert_eq!(
                    again.responses[0].partitions[0].preferred_read_replica, 2,
                    "v{version}"
                );
            }
        }
        // A follower is sent nowhere.
        let mut request = as_follower(0);
        request.rack_id = Text::copy(rack);
        let answer = api
            .fetch(12, request)
            .await
            .responses
            .remove(0)
            .partitions
            .remove(0);
        assert_eq!(answer.preferred_read_replica, -1);
    }
}

#[tokio::test]
async fn fetch_sessions_carry_what_changed() {
    let api = Api::new().await;
    for version in [7, 12, 13, 17] {
        let mut open = fetch_request(vec![fetch_partition(0, 0), fetch_partition(1, 0)]);
        open.session_epoch = 0;
        let opened = api.fetch(version, open).await;
        assert_ne!(opened.session_id, 0);
        assert_eq!(opened.responses[0].partitions.len(), 2);
        let next = |epoch| FetchRequest {
            session_id: opened.session_id,
            session_epoch: epoch,
            topics: Vec::new(),
            ..fetch_request(Vec::new())
        };
        let before = api.fetch(version, next(1)).await;
        let carried = before
            .responses
            .iter()
            .map(|topic| topic.partitions.len())
            .sum::<usize>();
        // What was produced for earlier versions is there again; only partitions with data are carried.
        assert_eq!(carried, usize::from(version > 7));
        let mut request = produce_request(1, "t", Some(batch(1, 10)));
        request.topic_data[0].partition_data[0].index = 1;
        let produced = super::produce::handle(&api.services, &api.in_version(9), request).await;
        assert!(produced.is_ok());
        let after = api.fetch(version, next(2)).await;
        let partitions: Vec<i32> = after.responses[0]
            .partitions
            .iter()
            .map(|one| one.partition_index)
            .collect();
        assert_eq!((after.error_code, partitions), (0, vec![1]));
        let wrong = api.fetch(version, next(9)).await;
        assert_eq!(wrong.error_code, code(ErrorCode::InvalidFetchSessionEpoch));
        assert!(wrong.responses.is_empty());
    }
}

#[tokio::test]
async fn fetch_says_of_unknown_topics_what_its_version_can() {
    let api = Api::new().await;
    let unknown = |topic_id: Uuid, name: &'static str| {
        let mut request = fetch_request(vec![fetch_partition(0, 0)]);
        request.max_wait_ms = i32::MAX;
        request.topics[0].topic_id = topic_id;
        request.topics[0].topic = Text::from_static(name);
        request
    };
    for (version, request, expected) in [
        (12, unknown(Uuid::ZERO, "no"), ErrorCode::UnknownTopicOrPartition),
        (13, unknown(topic_id(8), ""), ErrorCode::UnknownTopicId),
        (13, unknown(Uuid::ZERO, ""), ErrorCode::UnknownTopicId),
    ] {
        let response = api.fetch(version, request).await;
        assert_eq!(
            response.responses[0].partitions[0].error_code,
            code(expected),
            "v{version}"
        );
    }
    for partition in [-1, 9, i32::MAX] {
        let answer = api.fetch_one(12, fetch_partition(partition, 0)).await;
        assert_eq!(answer.error_code, code(ErrorCode::UnknownTopicOrPartition));
    }
}

#[tokio::test]
async fn sizes_of_all_kinds_are_taken() {
    let api = Api::new().await;
    api.produce(9, 1, "t", Some(batch(1, 100))).await;
    for max_bytes in [-1, 0, i32::MIN, i32::MAX] {
        let mut request = fetch_request(vec![fetch_partition(0, 0)]);
        request.max_bytes = max_bytes;
        request.topics[0].partitions[0].partition_max_bytes = max_bytes;
        let response = api.fetch(12, request).await;
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.error_code, 0);
        assert!(
            partition
                .records
                .as_ref()
                .is_some_and(|records| !records.is_empty()),
            "{max_bytes}"
        );
    }
}

#[tokio::test]
async fn old_clients_get_what_they_can_read_or_an_error() {
    let api = Api::with_config(&[("compression.type", "zstd")]).await;
    api.produce(9, 1, "t", Some(batch(1, 100))).await;
    for (version, expected) in [(3, 76), (9, 76), (10, 0)] {
        assert_eq!(
            api.fetch_one(version, fetch_partition(0, 0)).await.error_code,
            expected,
            "v{version}"
        );
    }
    let api = Api::with_config(&[("message.downconversion.enable", "false")]).await;
    api.produce(9, 1, "t", Some(batch(1, 100))).await;
    for (version, expected) in [(3, 35), (4, 0)] {
        assert_eq!(
            api.fetch_one(version, fetch_partition(0, 0)).await.error_code,
            expected,
            "v{version}"
        );
    }
    let api = Api::new().await;
    api.produce(9, 1, "t", Some(batch(1, 100))).await;
    let volume = Arc::clone(api.broker.replicas.directories()[0].volume());
    volume.failed("write", volume.path(), &std::io::ErrorKind::Other.into());
    for (version, expected) in [(5, 6), (6, 56)] {
        assert_eq!(
            api.fetch_one(version, fetch_partition(0, 0)).await.error_code,
            expected,
            "v{version}"
        );
    }
    assert_eq!(api.produce(9, 1, "t", Some(batch(1, 100))).await.error_code, 56);
}

#[tokio::test]
async fn offsets_are_listed_in_every_version() {
    let api = Api::new().await;
    api.produce(9, 1, "t", Some(batch(4, 10))).await;
    for version in ApiKey::ListOffsets.stable_versions() {
        let answers = api.list(version, vec![at(0, -1), at(1, -2)]).await;
        assert_eq!(
            (answers[0].error_code, answers[1].error_code),
            (0, 0),
            "v{version}"
        );
        if version == 0 {
            assert_eq!(answers[0].old_style_offsets, [4, 0]);
            assert_eq!(answers[1].old_style_offsets, [0]);
        } else {
            assert_eq!((answers[0].offset, answers[1].offset), (4, 0), "v{version}");
            let epoch = if version >= 4 { 0 } else { -1 };
            assert_eq!((answers[0].timestamp, answers[0].leader_epoch), (-1, epoch));
        }
    }
    for (timestamp, first_version) in [(-3, 7), (-4, 8), (-5, 9)] {
        let before = api.list(first_version - 1, vec![at(0, timestamp)]).await;
        assert_eq!(
            before[0].error_code,
            code(ErrorCode::UnsupportedVersion),
            "{timestamp}"
        );
        assert_eq!(
            api.list(first_version, vec![at(0, timestamp)]).await[0].error_code,
            0,
            "{timestamp}"
        );
    }
    assert_eq!(
        api.list(0, vec![at(0, -3)]).await[0].error_code,
        code(ErrorCode::UnsupportedVersion)
    );
    let twice = api.list(5, vec![at(0, -1), at(1, -1), at(0, -2)]).await;
    let errors: Vec<i16> = twice.iter().map(|one| one.error_code).collect();
    assert_eq!(errors, [42, 0, 42]);
    let mut fenced = at(0, -1);
    fenced.current_leader_epoch = 3;
    assert_eq!(
        api.list(4, vec![fenced]).await[0].error_code,
        code(ErrorCode::UnknownLeaderEpoch)
    );
    assert_eq!(api.list(5, vec![at(9, -1)]).await[0].error_code, 3);
}

#[tokio::test]
async fn who_reads_what_is_committed_is_told_of_offsets_below_an_open_transaction() {
    let api = Api::new().await;
    api.produce(9, 1, "t", Some(batch(4, 10))).await;
    let open = of_producer(1, true);
    let replicas = &api.broker.replicas;
    let answer = replicas.append("t", 0, &open, 1, Origin::Client, NOW_MS).await;
    assert!(answer.error.is_none());
    let latest = async |isolation_level| {
        let request = ListOffsetsRequest {
            replica_id: -1,
            isolation_level,
            topics: vec![ListOffsetsTopic {
                name: Text::from_static("t"),
                partitions: vec![at(0, -1)],
            }],
            ..ListOffsetsRequest::default()
        };
        let answer = super::list_offsets::handle(&api.services, &api.in_version(7), request).await;
        let response: ListOffsetsResponse = decoded(answer.unwrap(), 7).await;
        response.topics[0].partitions[0].offset
    };
    assert_eq!((latest(0).await, latest(1).await), (5, 4));
}

#[tokio::test]
async fn nobody_is_told_that_records_are_taken_whose_sync_failed() {
    let api = Api::with_config(&[("flush.messages", "1")]).await;
    assert_eq!(api.produce(9, 1, "t", Some(batch(1, 10))).await.error_code, 0);
    api.broker
        .disk
        .fail(Call::Sync, "", 0, u64::MAX, std::io::ErrorKind::Other);
    let refused = api.produce(9, 1, "t", Some(batch(1, 10))).await;
    assert_eq!(refused.error_code, code(ErrorCode::KafkaStorageError));
}

#[tokio::test]
async fn the_other_partition_apis_answer_in_every_version() {
    let api = Api::new().await;
    api.produce(9, 1, "t", Some(of_producer(77, false))).await;
    api.produce(9, 1, "t", Some(batch(3, 10))).await;
    for version in ApiKey::OffsetForLeaderEpoch.stable_versions() {
        let asked = |partition, current_leader_epoch| OffsetForLeaderPartition {
            partition,
            current_leader_epoch,
            leader_epoch: 0,
        };
        let request = OffsetForLeaderEpochRequest {
            topics: vec![OffsetForLeaderTopic {
                topic: Text::from_static("t"),
                partitions: vec![asked(0, -1), asked(0, 8), asked(6, -1)],
            }],
            ..OffsetForLeaderEpochRequest::default()
        };
        let context = api.in_version(version);
        let answer = super::offset_for_leader_epoch::handle(&api.services, &context, request).await;
        let response: OffsetForLeaderEpochResponse = decoded(answer.unwrap(), version).await;
        let answers: Vec<_> = response.topics[0]
            .partitions
            .iter()
            .map(|one| (one.error_code, one.end_offset))
            .collect();
        assert_eq!(answers, [(0, 4), (75, -1), (3, -1)], "v{version}");
    }
    for version in ApiKey::DescribeLogDirs.stable_versions() {
        let request = DescribeLogDirsRequest { topics: None };
        let answer = super::describe_log_dirs::handle(&api.services, &api.in_version(version), request).await;
        let response: DescribeLogDirsResponse = decoded(answer.unwrap(), version).await;
        let directory = &response.results[0];
        assert_eq!((directory.error_code, directory.log_dir.as_str()), (0, "/data/0"));
        let partitions = &directory.topics[0].partitions;
        assert_eq!(partitions.len(), 2);
        assert!(partitions[0].partition_size > 0 && partitions[1].partition_size == 0);
    }
    let request = DescribeProducersRequest {
        topics: vec![
            TopicRequest {
                name: Text::from_static("t"),
                partition_indexes: vec![0, 5, 0, 0, 5],
            },
            TopicRequest {
                name: Text::from_static("a/b"),
                partition_indexes: vec![0],
            },
        ],
    };
    let answer = super::describe_producers::handle(&api.services, &api.in_version(0), request).await;
    let response: DescribeProducersResponse = decoded(answer.unwrap(), 0).await;
    let known = &response.topics[0].partitions;
    assert_eq!(known[0].active_producers[0].producer_id, 77);
    assert_eq!((known[0].error_code, known[1].error_code), (0, 3));
    assert_eq!(known.len(), 2, "each is answered once");
    assert_eq!(response.topics[1].partitions[0].error_code, 17);
    for version in ApiKey::DeleteRecords.stable_versions() {
        let delete = |partition_index, offset| DeleteRecordsPartition {
            partition_index,
            offset,
        };
        let request = DeleteRecordsRequest {
            topics: vec![DeleteRecordsTopic {
                name: Text::from_static("t"),
                partitions: vec![delete(0, i64::from(version) + 1), delete(0, 50), delete(4, 0)],
            }],
            timeout_ms: 1000,
        };
        let answer = super::delete_records::handle(&api.services, &api.in_version(version), request).await;
        let response: DeleteRecordsResponse = decoded(answer.unwrap(), version).await;
        let answers: Vec<_> = response.topics[0]
            .partitions
            .iter()
            .map(|one| (one.error_code, one.low_watermark))
            .collect();
        assert_eq!(
            answers,
            [(0, i64::from(version) + 1), (1, -1), (3, -1)],
            "v{version}"
        );
    }
}

/// One of them lies in a directory that does not answer: the other is in its log all the same.
#[tokio::test]
async fn a_produce_to_several_partitions_waits_for_none_before_it_has_begun_with_all() {
    let broker = TestBroker::new(2);
    broker.lead("t", 1, 2, 0, &[1]).await;
    let api = Api::of(broker);
    let replicas = &api.broker.replicas;
    let end = |index| {
        replicas
            .partition("t", index)
            .unwrap()
            .progress()
            .unwrap()
            .log_end
            .get()
    };
    let slow = Arc::clone(replicas.partition("t", 0).unwrap().directory());
    let (release, held) = std::sync::mpsc::channel::<()>();
    let second = Duration::from_secs(1);
    let watch = slow.watch();
    let mut look = watch.look(Instant::now());
    let hanging = watch.begin();
    let later = Instant::now().after(second * 5);
    assert_eq!(watch.look_again(&mut look, later, second), Some(true));
    slow.pool().start_work(move || {
        let _ = held.recv();
    });
    // The same partition twice, too: in this order, or the second one is out of sequence.
    let partition = |index, sequence| PartitionProduceData {
        index,
        records: Some(idempotent(sequence, 1)),
    };
    let request = |partition_data| ProduceRequest {
        acks: 1,
        timeout_ms: 1000,
        topic_data: vec![TopicProduceData {
            name: Text::from_static("t"),
            partition_data,
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    };
    let all = vec![partition(0, 0), partition(1, 0), partition(0, 1), partition(1, 1)];
    let context = api.in_version(9);
    let mut answer = std::pin::pin!(super::produce::handle(&api.services, &context, request(all)));
    let early = clock::timeout(Duration::from_millis(50), answer.as_mut()).await;
    assert!(early.is_none(), "the slow one is waited for");
    assert_eq!(end(1), 1);
    drop(hanging);
    let later = Instant::now().after(second * 6);
    assert_eq!(watch.look_again(&mut look, later, second), Some(false));
    drop(release);
    let response: ProduceResponse = decoded(answer.await.unwrap(), 9).await;
    let answers = response.responses[0].partition_responses.iter();
    let answers: Vec<_> = answers
        .map(|one| (one.index, one.error_code, one.base_offset))
        .collect();
    assert_eq!(answers, [(0, 0, 0), (1, 0, 0), (0, 0, 1), (1, 0, 1)]);
}
