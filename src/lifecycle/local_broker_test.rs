//! What a controller tells this broker, down to its groups.

use super::*;
use crate::base::ids::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch};
use crate::base::random::Random;
use crate::controller::registration;
use crate::metadata::control::{PartitionMetadata, UpdateMetadataTopic};
use crate::metadata::{BrokerImage, CONSUMER_OFFSETS, PartitionImage};
use crate::replica::testing::{ME, TestBroker, topic_id};
use crate::store::memory::{MemoryServer, MemoryStore};
use crate::store::znodes::{Topic, paths};
use crate::store::{CreateKind, Store};

/// A broker, and its session with the store.
async fn broker() -> (Local, MemoryStore) {
    let session = MemoryServer::new().connect();
    let store: Arc<dyn Store> = Arc::new(session.clone());
    registration::prepare(&store, None, &Random::from_seed(1))
        .await
        .unwrap();
    let broker = TestBroker::new(1);
    let local = Local {
        store: Arc::clone(&store),
        groups: Groups::new(&broker.cluster, &broker.replicas, &Random::from_seed(2)),
        configs: StoredConfigs::new(store, broker.cluster.clone(), Vec::new()),
        replicas: broker.replicas,
    };
    (local, session)
}

/// A topic is in the store, with so many partitions.
async fn create(store: &MemoryStore, name: &str, id: TopicId, partitions: i32) {
    let topic = Topic {
        id: Some(id),
        partitions: (0..partitions).map(|number| (number, vec![ME])).collect(),
        ..Topic::default()
    };
    let data = Some(topic.encode());
    store
        .create(&paths::topic(name), data, CreateKind::Persistent)
        .await
        .unwrap();
}

/// A controller tells of partitions of a topic, or of no topic.
async fn tell_as(local: &Local, controller: BrokerId, topic: Option<UpdateMetadataTopic>) {
    let told = UpdateMetadata {
        controller,
        controller_epoch: ControllerEpoch(1),
        broker_epoch: BrokerEpoch(1),
        live_brokers: vec![Arc::new(BrokerImage {
            id: ME,
            epoch: BrokerEpoch(1),
            endpoints: Vec::new(),
            rack: None,
        })],
        topics: topic.into_iter().collect(),
    };
    assert_eq!(local.update_metadata(told).await, ErrorCode::None);
}

fn topic(
    name: &str,
    id: TopicId,
    partitions: &[i32],
    state: impl Fn() -> PartitionMetadata,
) -> UpdateMetadataTopic {
    UpdateMetadataTopic {
        name: name.into(),
        id,
        partitions: partitions.iter().map(|number| (*number, state())).collect(),
    }
}

/// The controller tells of some partitions of the topic of groups.
async fn tell(local: &Local, id: TopicId, partitions: &[i32], state: impl Fn() -> PartitionMetadata) {
    tell_as(local, ME, Some(topic(CONSUMER_OFFSETS, id, partitions, state))).await;
}

fn led() -> PartitionMetadata {
    PartitionMetadata::State(Arc::new(PartitionImage {
        controller_epoch: ControllerEpoch(1),
        leader: Some(BrokerId(1)),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: 0,
        replicas: vec![BrokerId(1)],
        isr: vec![BrokerId(1)],
        offline_replicas: Vec::new(),
    }))
}

/// Java's hash of this group's id is 97.
const GROUP: &str = "a";

#[tokio::test]
async fn groups_are_spread_over_all_partitions_though_only_some_are_told_of() {
    let (local, store) = broker().await;
    create(&store, CONSUMER_OFFSETS, topic_id(1), 5).await;
    // The others are on brokers that are not there.
    tell(&local, topic_id(1), &[0, 1, 2], led).await;
    assert_eq!(local.groups.partition_of(GROUP), Some(97 % 5));
    tell(&local, topic_id(1), &[3, 4, 5, 6], led).await;
    // It has grown since: not before the next start.
    assert_eq!(local.groups.partition_of(GROUP), Some(97 % 5));
    tell(&local, topic_id(1), &[0, 1, 2, 3, 4, 5, 6], || {
        PartitionMetadata::Deleted
    })
    .await;
    store.delete(&paths::topic(CONSUMER_OFFSETS), None).await.unwrap();
    create(&store, CONSUMER_OFFSETS, topic_id(2), 11).await;
    tell(&local, topic_id(2), &[0], led).await;
    assert_eq!(local.groups.partition_of(GROUP), Some(97 % 11));
}

#[tokio::test]
async fn no_group_has_a_coordinator_before_the_partitions_are_counted() {
    let (local, store) = broker().await;
    create(&store, CONSUMER_OFFSETS, topic_id(1), 5).await;
    store.expire();
    tell(&local, topic_id(1), &[0, 1, 2], led).await;
    assert_eq!(local.groups.partition_of(GROUP), None);
    store.renew().await.unwrap();
    tell(&local, topic_id(1), &[0, 1, 2], led).await;
    assert_eq!(local.groups.partition_of(GROUP), Some(97 % 5));
}

#[tokio::test]
async fn topics_that_were_deleted_while_the_session_was_over_are_gone() {
    let (local, store) = broker().await;
    let names = ["deleted", "stays", "being-deleted", "made-anew"];
    for (id, name) in (1..).zip(names) {
        tell_as(&local, ME, Some(topic(name, topic_id(id), &[0], led))).await;
    }
    let before = local.replicas.cluster().get();
    create(&store, "stays", topic_id(2), 1).await;
    create(&store, "being-deleted", topic_id(3), 1).await;
    let path = paths::delete_topic("being-deleted");
    store.create(&path, None, CreateKind::Persistent).await.unwrap();
    // Of these two the controller tells in the new session, sooner than the store.
    tell_as(&local, ME, Some(topic("made-anew", topic_id(9), &[0], led))).await;
    tell_as(&local, ME, Some(topic("new", topic_id(8), &[0], led))).await;
    local.forget_deleted(&before).await;
    let image = local.replicas.cluster().get();
    let there: Vec<&str> = image.topics.keys().map(|name| &**name).collect();
    assert_eq!(there, ["made-anew", "new", "stays"]);
    assert!(image.topic_by_id(topic_id(1)).is_none());
    assert!(image.topic_by_id(topic_id(9)).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_word_without_partitions_tells_of_a_cluster_without_topics_only() {
    const OTHER: BrokerId = BrokerId(2);
    let is_told = |local: &Local| local.replicas.cluster().get().is_told;
    let (local, _) = broker().await;
    tell_as(&local, OTHER, None).await;
    assert!(is_told(&local));

    let (local, store) = broker().await;
    create(&store, "t", topic_id(1), 1).await;
    tell_as(&local, OTHER, None).await;
    assert!(!is_told(&local));
    tell_as(&local, OTHER, Some(topic("t", topic_id(1), &[0], led))).await;
    assert!(is_told(&local));

    let (local, store) = broker().await;
    create(&store, "t", topic_id(1), 1).await;
    tell_as(&local, OTHER, None).await;
    assert!(!is_told(&local));
    // Nobody leads its partition, and nobody tells of it.
    let mut images = local.replicas.cluster().subscribe();
    images.wait_for(|image| image.is_told).await.unwrap();

    let (local, store) = broker().await;
    create(&store, "t", topic_id(1), 1).await;
    // A controller in this process begins with everything.
    tell_as(&local, ME, None).await;
    assert!(is_told(&local));
}
