//! The handlers that ask the controller about topics.

use std::sync::Arc;
use std::time::Duration;

use super::Services;
use super::testing::{Idle, context, decoded, services, services_of_controller};
use crate::base::clock::{self, Instant};
use crate::base::error_code::ErrorCode;
use crate::base::ids::{
    BrokerEpoch, ControllerEpoch, LeaderEpoch, ProducerEpoch, ProducerId, TopicName, Uuid,
};
use crate::controller::NewTopic;
use crate::metadata::control::{PartitionMetadata, UpdateMetadata, UpdateMetadataTopic};
use crate::metadata::{BrokerImage, Cluster, PartitionImage};
use crate::records::build::BatchOptions;
use crate::replica::testing::{ME, NOW_MS, TestBroker, batch_with, topic_id};
use crate::storage::producer_state::Origin;
use crate::wire::messages::alter_partition::{
    AlterPartitionRequest, AlterPartitionRequestPartitionData, AlterPartitionRequestTopicData,
    AlterPartitionResponse,
};
use crate::wire::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse};
use crate::wire::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use crate::wire::text::Text;

/// Longer than anybody waits for a topic; the clock of these tests goes on whenever nothing else is to be done.
const LONG: Duration = Duration::from_secs(60);

/// Tells the broker of the topic `t`, or only of itself.
fn tell(cluster: &Cluster, has_topic: bool) {
    let state = PartitionImage {
        controller_epoch: ControllerEpoch(1),
        leader: Some(ME),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: 0,
        replicas: vec![ME],
        isr: vec![ME],
        offline_replicas: Vec::new(),
    };
    let topic = UpdateMetadataTopic {
        name: TopicName::from("t"),
        id: topic_id(1),
        partitions: vec![(0, PartitionMetadata::State(Arc::new(state)))],
    };
    cluster.update(&UpdateMetadata {
        controller: ME,
        controller_epoch: ControllerEpoch(1),
        broker_epoch: BrokerEpoch(1),
        live_brokers: vec![Arc::new(BrokerImage {
            id: ME,
            epoch: BrokerEpoch(1),
            endpoints: Vec::new(),
            rack: None,
        })],
        topics: has_topic.then_some(topic).into_iter().collect(),
    });
}

/// What a client is told of `t` that asks for it; `None` when it waits for ever.
async fn ask_for_topic(services: &Arc<Services>) -> Option<ErrorCode> {
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some(Text::from_static("t")),
            ..MetadataRequestTopic::default()
        }]),
        allow_auto_topic_creation: true,
        ..MetadataRequest::default()
    };
    let context = context(9);
    let answer = clock::timeout(LONG, super::metadata::handle(services, &context, request)).await?;
    let response: MetadataResponse = decoded(answer.unwrap(), 9).await;
    Some(ErrorCode::of_answer(response.topics[0].error_code))
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_created_for_a_client_is_shown_when_this_broker_hears_of_it() {
    let broker = TestBroker::new(1);
    let services = services_of_controller(&broker, Idle { hangs: false }).await;
    tell(&broker.cluster, false);
    let later = async {
        clock::sleep(Duration::from_millis(500)).await;
        tell(&broker.cluster, true);
    };
    let (shown, ()) = tokio::join!(ask_for_topic(&services), later);
    assert_eq!(shown, Some(ErrorCode::None));
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_a_topic_of_which_the_broker_hears_nothing_is_to_ask_again() {
    let broker = TestBroker::new(1);
    let services = services_of_controller(&broker, Idle { hangs: false }).await;
    tell(&broker.cluster, false);
    let available = Some(ErrorCode::LeaderNotAvailable);
    assert_eq!(ask_for_topic(&services).await, available);
    // It is there by now.
    assert_eq!(ask_for_topic(&services).await, available);
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_a_topic_while_there_is_no_controller_is_to_ask_again() {
    let broker = TestBroker::new(1);
    let services = services(&broker);
    tell(&broker.cluster, false);
    broker.cluster.change(|image| image.controller = None);
    assert_eq!(
        ask_for_topic(&services).await,
        Some(ErrorCode::LeaderNotAvailable)
    );
}

#[tokio::test(start_paused = true)]
async fn a_block_of_producer_ids_that_does_not_come_holds_up_one_producer() {
    let broker = TestBroker::new(1);
    let services = services_of_controller(&broker, Idle { hangs: true }).await;
    tell(&broker.cluster, false);
    // It is busy with the topic now, for ever.
    ask_for_topic(&services).await;
    let next = || clock::timeout(LONG, services.producer_ids.next());
    let (first, second) = tokio::join!(next(), next());
    assert_eq!(first, None);
    assert_eq!(second, Some(Err(ErrorCode::CoordinatorLoadInProgress)));
}

/// Not even where all ids of the first blocks are those of a log that does not answer.
#[tokio::test]
async fn a_producer_gets_an_id_while_a_log_directory_does_not_answer() {
    let broker = TestBroker::new(1);
    let services = services_of_controller(&broker, Idle { hangs: false }).await;
    broker.lead("t", 1, 1, 0, &[1]).await;
    let records = batch_with(
        1,
        10,
        BatchOptions {
            producer_id: ProducerId(1500),
            producer_epoch: ProducerEpoch(0),
            base_sequence: 0,
            ..BatchOptions::default()
        },
    );
    let append = broker
        .replicas
        .append("t", 0, &records, 1, Origin::Client, NOW_MS);
    assert!(append.await.error.is_none());
    let watch = broker.replicas.directories()[0].watch();
    let mut look = watch.look(Instant::now());
    let _hanging = watch.begin();
    let later = Instant::now().after(Duration::from_secs(5));
    let stalls = watch.look_again(&mut look, later, Duration::from_secs(1));
    assert_eq!(stalls, Some(true));
    for id in [1501, 1502] {
        let next = clock::timeout(LONG, services.producer_ids.next()).await;
        assert_eq!(next, Some(Ok(ProducerId(id))));
    }
}

#[tokio::test]
async fn a_leader_is_answered_by_topics_that_the_controllers_own_broker_has_not_heard_of() {
    let broker = TestBroker::new(1);
    let services = services_of_controller(&broker, Idle { hangs: false }).await;
    let new = NewTopic {
        name: "t".to_owned(),
        partitions: 1,
        replication_factor: 1,
        ..NewTopic::default()
    };
    let created = services.controller.create_topics(vec![new], false).await;
    let id = created[0].as_ref().unwrap().id;
    let image = broker.cluster.get();
    assert!(image.topic("t").is_none());
    let propose = |id: Uuid| AlterPartitionRequestTopicData {
        topic_id: id,
        partitions: vec![AlterPartitionRequestPartitionData {
            new_isr: vec![ME.get()],
            ..AlterPartitionRequestPartitionData::default()
        }],
        ..AlterPartitionRequestTopicData::default()
    };
    let request = AlterPartitionRequest {
        broker_id: ME.get(),
        broker_epoch: image.brokers[&ME].epoch.get(),
        topics: vec![propose(topic_id(7)), propose(id), propose(Uuid::ZERO)],
    };
    let answer = super::alter_partition::handle(&services, &context(2), request).await;
    let response: AlterPartitionResponse = decoded(answer.unwrap(), 2).await;
    assert_eq!(response.error_code, 0);
    let answers: Vec<(Uuid, ErrorCode)> = response
        .topics
        .iter()
        .map(|topic| {
            let code = ErrorCode::of_answer(topic.partitions[0].error_code);
            (topic.topic_id, code)
        })
        .collect();
    let unknown = ErrorCode::UnknownTopicId;
    assert_eq!(
        answers,
        [
            (topic_id(7), unknown),
            (id, ErrorCode::None),
            (Uuid::ZERO, unknown)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_does_not_answer_holds_up_no_client() {
    let broker = TestBroker::new(1);
    let services = services_of_controller(&broker, Idle { hangs: true }).await;
    tell(&broker.cluster, false);
    let (one, another) = tokio::join!(ask_for_topic(&services), ask_for_topic(&services));
    let available = Some(ErrorCode::LeaderNotAvailable);
    assert_eq!((one, another), (available, available));
    let created = clock::timeout(LONG, services.ensure_offsets_topic()).await;
    assert_eq!(created, Some(()));
}

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
