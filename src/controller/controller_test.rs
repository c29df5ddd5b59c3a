//! The controller over a store in memory and an embedded one, with a broker that only writes down what it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use super::comparison::stored_partitions;
use super::*;
use crate::base::disk::Disk;
use crate::base::disk::memory::{Call, MemoryDisk};
use crate::base::ids::Uuid;
use crate::config::BrokerConfig;
use crate::metadata::configs::ConfigListener;
use crate::metadata::control::{ControlAnswer, LeaderAndIsr, LogEnd, LogEnds, StopReplica, UpdateMetadata};
use crate::store::embedded::EmbeddedStore;
use crate::store::embedded::crash_test::power_cut;
use crate::store::memory::{Lost, MemoryServer, MemoryStore};
use crate::store::znodes::{Broker, EntityConfig, OurBroker, PartitionState, ProducerIdBlock, Topic, paths};
use crate::store::{BoxFuture, CreateKind, Operation, StoreError};

pub(super) const ME: BrokerId = BrokerId(1);

/// What a broker was told, or asked.
#[derive(Clone)]
pub(super) enum Asked {
    Lead(LeaderAndIsr),
    Stop(StopReplica),
    Know(UpdateMetadata),
}

/// A broker that does what it is told, and remembers it.
#[derive(Default)]
pub(super) struct Told {
    /// Everything, oldest first.
    pub(super) requests: Vec<Asked>,
    pub(super) leaders: Vec<LeaderAndIsr>,
    pub(super) stopped: Vec<StopReplica>,
    pub(super) metadata: Vec<UpdateMetadata>,
    pub(super) folders: BTreeSet<TopicPartition>,
    pub(super) broken: BTreeSet<TopicPartition>,
    pub(super) ends: BTreeMap<TopicPartition, LogEnd>,
    /// Where logs end is told when this is locked no more.
    pub(super) slow_ends: Arc<tokio::sync::Mutex<()>>,
    /// It hears what it is to stop, and never answers.
    pub(super) is_mute: bool,
    /// Each answer to what it is to stop takes one of these, where there are any to be given.
    pub(super) stop_answers: Option<Arc<tokio::sync::Semaphore>>,
    /// It answers that it knows each decision already.
    pub(super) knows_all: bool,
    /// Of these it will have the folders some time.
    pub(super) late: BTreeSet<TopicPartition>,
    config_changes: Vec<String>,
}

#[derive(Clone)]
pub(super) struct FakeBroker {
    told: Arc<Mutex<Told>>,
    cluster: Option<Cluster>,
}

impl FakeBroker {
    pub(super) fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap()
    }
}

impl BrokerLink for FakeBroker {
    fn leader_and_isr(&self, request: LeaderAndIsr) -> BoxFuture<'_, ControlAnswer> {
        let mut told = self.told();
        let (mut partitions, mut late) = (Vec::new(), Vec::new());
        for topic in &request.topics {
            for partition in &topic.partitions {
                let name = TopicPartition::new(topic.name.clone(), partition.partition);
                if told.broken.contains(&name) {
                    partitions.push((name, ErrorCode::KafkaStorageError));
                    continue;
                }
                if told.late.contains(&name) {
                    assert!(partition.is_new, "{name} is missing");
                    late.push(name.clone());
                    partitions.push((name, ErrorCode::None));
                    continue;
                }
                if told.knows_all {
                    partitions.push((name, ErrorCode::StaleControllerEpoch));
                    continue;
                }
                // Another broker of a cluster makes what it lacks.
                assert!(
                    partition.is_new || told.folders.contains(&name) || self.cluster.is_none(),
                    "{name} is missing"
                );
                told.folders.insert(name.clone());
                partitions.push((name, ErrorCode::None));
            }
        }
        told.requests.push(Asked::Lead(request.clone()));
        told.leaders.push(request);
        Box::pin(std::future::ready(ControlAnswer {
            partitions,
            late,
            ..ControlAnswer::default()
        }))
    }

    fn stop_replica(&self, request: StopReplica) -> BoxFuture<'_, ControlAnswer> {
        let mut told = self.told();
        told.requests.push(Asked::Stop(request.clone()));
        if told.is_mute {
            told.stopped.push(request);
            return Box::pin(std::future::pending());
        }
        let mut partitions = Vec::new();
        for entry in &request.partitions {
            let broken = told.broken.contains(&entry.partition);
            let error = if broken {
                ErrorCode::KafkaStorageError
            } else {
                told.folders.remove(&entry.partition);
                ErrorCode::None
            };
            partitions.push((entry.partition.clone(), error));
        }
        told.stopped.push(request);
        let permits = told.stop_answers.clone();
        Box::pin(async move {
            if let Some(permits) = permits {
                permits.acquire().await.unwrap().forget();
            }
            ControlAnswer {
                partitions,
                ..ControlAnswer::default()
            }
        })
    }

    fn log_ends(&self, partitions: Vec<TopicPartition>) -> BoxFuture<'_, LogEnds> {
        let told = self.told();
        let end = |name: TopicPartition| {
            let end = told.ends.get(&name).copied();
            (name, end.ok_or(ErrorCode::UnknownTopicOrPartition))
        };
        let ends = partitions.into_iter().map(end).collect();
        let slow = Arc::clone(&told.slow_ends);
        Box::pin(async move {
            let _told = slow.lock().await;
            ends
        })
    }

    fn update_metadata(&self, request: UpdateMetadata) -> BoxFuture<'_, ErrorCode> {
        if let Some(cluster) = &self.cluster {
            cluster.update(&request);
        }
        let mut told = self.told();
        told.requests.push(Asked::Know(request.clone()));
        told.metadata.push(request);
        drop(told);
        Box::pin(std::future::ready(ErrorCode::None))
    }
}

impl ConfigListener for FakeBroker {
    fn topic_configs_changed(&self, topics: &[TopicName]) {
        let changes = topics.iter().map(|topic| format!("topic {topic}"));
        self.told().config_changes.extend(changes);
    }

    fn broker_config_changed(&self, _config: &BrokerConfig) {
        self.told().config_changes.push("broker".to_owned());
    }
}

/// A broker with its controller.
pub(super) struct Started {
    pub(super) controller: Controller,
    pub(super) cluster: Cluster,
    pub(super) broker: FakeBroker,
    pub(super) store: Arc<dyn Store>,
    pub(super) epoch: BrokerEpoch,
    pub(super) shutdown: Shutdown,
}

pub(super) async fn start(
    store: Arc<dyn Store>,
    broker: FakeBroker,
    id: BrokerId,
    config: &[(&str, &str)],
) -> Started {
    start_with(store, broker, id, config, Arc::new(Nobody)).await
}

pub(super) async fn start_with(
    store: Arc<dyn Store>,
    broker: FakeBroker,
    id: BrokerId,
    config: &[(&str, &str)],
    links: Arc<dyn Links>,
) -> Started {
    start_and(store, broker, id, config, links, || {}).await
}

/// The same; `before` is called before the broker registers.
pub(super) async fn start_and(
    store: Arc<dyn Store>,
    broker: FakeBroker,
    id: BrokerId,
    config: &[(&str, &str)],
    links: Arc<dyn Links>,
    before: impl FnOnce(),
) -> Started {
    let random = Random::from_seed(3);
    let cluster_id = registration::prepare(&store, None, &random).await.unwrap();
    let listener = [(
        "PLAINTEXT".into(),
        "PLAINTEXT".into(),
        "host".into(),
        9000 + id.get(),
    )];
    let node = Broker::new(&listener, None, 0);
    let config = BrokerConfig::from_pairs(config).unwrap();
    let ours = OurBroker::this(config.controller_candidate);
    let cluster = Cluster::new(cluster_id, id, config);
    let broker = FakeBroker {
        cluster: Some(cluster.clone()),
        ..broker
    };
    let configs = StoredConfigs::new(store.clone(), cluster.clone(), vec![Arc::new(broker.clone())]);
    configs.load_all().await.unwrap();
    before();
    let registration = Registration::begin(&store, id, (node, ours), Duration::ZERO)
        .await
        .unwrap();
    let epoch = registration.epoch().unwrap();
    let shutdown = Shutdown::new();
    crate::base::task::spawn(configs.clone().follow(shutdown.clone()));
    let parts = Parts {
        broker: id,
        store: store.clone(),
        cluster: cluster.clone(),
        configs,
        local: Arc::new(broker.clone()),
        links,
        registration,
        random,
    };
    let controller = Controller::start(parts, shutdown.clone());
    controller.settled().await;
    Started {
        controller,
        cluster,
        broker,
        store,
        epoch,
        shutdown,
    }
}

pub(super) fn fresh_broker() -> FakeBroker {
    FakeBroker {
        told: Arc::default(),
        cluster: None,
    }
}

pub(super) async fn alone() -> Started {
    start(Arc::new(MemoryServer::new().connect()), fresh_broker(), ME, &[]).await
}

pub(super) fn topic(name: &str, partitions: i32) -> NewTopic {
    NewTopic {
        name: name.to_owned(),
        partitions,
        replication_factor: 1,
        ..NewTopic::default()
    }
}

pub(super) fn code<T>(answer: &Result<T, AdminError>) -> ErrorCode {
    answer
        .as_ref()
        .map_or_else(|error| error.code, |_| ErrorCode::None)
}

impl Started {
    pub(super) async fn create(&self, topics: Vec<NewTopic>) -> Vec<ErrorCode> {
        self.controller
            .create_topics(topics, false)
            .await
            .iter()
            .map(code)
            .collect()
    }

    pub(super) async fn delete(&self, names: &[&str]) -> Vec<ErrorCode> {
        let names = names.iter().map(|name| TopicName::from(*name)).collect();
        self.controller
            .delete_topics(names)
            .await
            .iter()
            .map(code)
            .collect()
    }

    pub(super) async fn state(&self, topic: &str, partition: i32) -> (PartitionState, i32) {
        let path = paths::partition_state(topic, partition);
        let node = self.store.get(&path).await.unwrap().unwrap();
        let state = PartitionState::decode(&node.data.unwrap()).unwrap();
        (state, node.stat.version)
    }

    pub(super) async fn names(&self, path: &str) -> Vec<String> {
        self.store.children(path).await.unwrap().unwrap()
    }

    pub(super) async fn stop(self) -> FakeBroker {
        self.shutdown.begin();
        FakeBroker {
            cluster: None,
            ..self.broker
        }
    }
}

/// A folder that is missing at the next start would be taken for lost.
#[tokio::test(start_paused = true)]
async fn a_new_partition_whose_folder_comes_late_keeps_its_mark_until_it_is_there() {
    let started = alone().await;
    let name = TopicPartition::new("t", 1);
    started.broker.told().late.insert(name.clone());
    assert_eq!(
        started.create(vec![topic("t", 2), topic("u", 1)]).await,
        [ErrorCode::None, ErrorCode::None]
    );
    let marks = async |topic| {
        let node = started.store.get(&paths::new_partitions(topic)).await.unwrap();
        node.is_some()
    };
    for _ in 0..10 {
        clock::sleep(Duration::from_secs(10)).await;
        assert!(started.controller.settled().await);
        assert_eq!((marks("t").await, marks("u").await), (true, false));
    }
    started.broker.told().late.clear();
    clock::sleep(Duration::from_secs(61)).await;
    assert!(started.controller.settled().await);
    clock::sleep(Duration::from_secs(1)).await;
    assert!(!marks("t").await);
    let asked = || started.broker.told().leaders.len();
    let before = asked();
    clock::sleep(Duration::from_secs(600)).await;
    assert_eq!(asked(), before, "nothing is left to be asked");
}

#[tokio::test]
async fn a_created_topic_is_in_the_store_as_kafka_writes_it_and_has_a_leader() {
    let started = alone().await;
    let mut wanted = topic("t", 2);
    wanted.configs = vec![("retention.ms".to_owned(), Some("5".to_owned()))];
    let answers = started.controller.create_topics(vec![wanted], false).await;
    let created = answers[0].as_ref().unwrap();
    assert_eq!((created.partitions, created.replication_factor), (2, 1));
    let read = |path: String| {
        let store = started.store.clone();
        async move {
            let data = store.get(&path).await.unwrap().unwrap().data.unwrap();
            String::from_utf8(data.to_vec()).unwrap()
        }
    };
    assert_eq!(
        read(paths::topic("t")).await,
        format!(
            r#"{{"partitions":{{"0":[1],"1":[1]}},"topic_id":"{}","adding_replicas":{{}},"removing_replicas":{{}},"version":3}}"#,
            created.id
        )
    );
    assert_eq!(
        read(paths::partition_state("t", 1)).await,
        r#"{"controller_epoch":1,"leader":1,"version":1,"leader_epoch":0,"isr":[1]}"#
    );
    assert_eq!(
        read(paths::topic_config("t")).await,
        r#"{"version":1,"config":{"retention.ms":"5"}}"#
    );
    assert_eq!(read(paths::CONTROLLER_EPOCH.to_owned()).await, "1");
    assert_eq!(
        read(paths::FEATURE.to_owned()).await,
        r#"{"features":{},"version":2,"status":1}"#
    );
    let image = started.cluster.get();
    assert_eq!(image.controller, Some(ME));
    assert_eq!(image.topic_by_id(created.id).unwrap().partitions.len(), 2);
    let partition = image.partition("t", 1).unwrap();
    assert_eq!((partition.leader, partition.partition_epoch), (Some(ME), 0));
    assert_eq!(image.log_config("t").retention_ms, 5);
    {
        // The broker had the configs before its replicas, and has been told once.
        let told = started.broker.told();
        assert_eq!(told.config_changes, ["topic t"]);
        assert_eq!(told.leaders.len(), 1);
        assert_eq!(told.leaders[0].sender.broker_epoch, started.epoch);
        assert!(
            told.leaders[0].topics[0]
                .partitions
                .iter()
                .all(|partition| partition.is_new)
        );
    }
    assert!(started.names(paths::NEW_PARTITIONS).await.is_empty());
}

#[tokio::test]
async fn what_cannot_be_created_is_refused_with_kafkas_codes() {
    let started = alone().await;
    let by_hand = |lists: &[(i32, &[i32])]| NewTopic {
        name: "hand".to_owned(),
        partitions: -1,
        replication_factor: -1,
        assignments: lists
            .iter()
            .map(|(partition, ids)| (*partition, ids.iter().copied().map(BrokerId).collect()))
            .collect(),
        configs: Vec::new(),
    };
    let with = |key: &str, value: Option<&str>| NewTopic {
        configs: vec![(key.to_owned(), value.map(str::to_owned))],
        ..topic("configs", 1)
    };
    let long = "x".repeat(250);
    let cases = [
        (topic("", 1), ErrorCode::InvalidTopicException),
        (topic("..", 1), ErrorCode::InvalidTopicException),
        (topic("../x", 1), ErrorCode::InvalidTopicException),
        (topic("a\0", 1), ErrorCode::InvalidTopicException),
        (topic(&long, 1), ErrorCode::InvalidTopicException),
        (topic("t", 0), ErrorCode::InvalidPartitions),
        (topic("t", i32::MAX), ErrorCode::PolicyViolation),
        (
            NewTopic {
                replication_factor: 2,
                ..topic("t", 1)
            },
            ErrorCode::InvalidReplicationFactor,
        ),
        (
            NewTopic {
                replication_factor: 0,
                ..topic("t", 1)
            },
            ErrorCode::InvalidReplicationFactor,
        ),
        (with("retention.ms", None), ErrorCode::InvalidConfig),
        (with("retention.ms", Some("soon")), ErrorCode::InvalidConfig),
        (with("no.such.config", Some("1")), ErrorCode::InvalidConfig),
        (by_hand(&[(0, &[1, 1])]), ErrorCode::InvalidReplicaAssignment),
        (by_hand(&[(1, &[1])]), ErrorCode::InvalidReplicaAssignment),
        (
            NewTopic {
                partitions: 1,
                ..by_hand(&[(0, &[1])])
            },
            ErrorCode::InvalidRequest,
        ),
    ];
    for (topic, expected) in cases {
        let answers = started.controller.create_topics(vec![topic.clone()], false).await;
        assert_eq!(code(&answers[0]), expected, "{topic:?}");
    }
    assert!(started.names(paths::TOPICS).await.is_empty());
    assert_eq!(
        started.create(vec![by_hand(&[(0, &[1]), (1, &[1])])]).await,
        [ErrorCode::None]
    );
    let again = started
        .create(vec![topic("hand", 1), topic("twice", 1), topic("twice", 1)])
        .await;
    assert_eq!(
        again,
        [
            ErrorCode::TopicAlreadyExists,
            ErrorCode::None,
            ErrorCode::TopicAlreadyExists
        ]
    );
}

#[tokio::test]
async fn validation_changes_nothing() {
    let started = alone().await;
    let answers = started.controller.create_topics(vec![topic("v", 3)], true).await;
    let created = answers[0].as_ref().unwrap();
    assert_eq!((created.partitions, created.id), (3, Uuid::ZERO));
    assert!(started.names(paths::TOPICS).await.is_empty());
    assert_eq!(started.create(vec![topic("v", 1)]).await, [ErrorCode::None]);
    let more = vec![MorePartitions {
        name: "v".to_owned(),
        count: 4,
        assignments: None,
    }];
    assert_eq!(started.controller.create_partitions(more, true).await, [Ok(())]);
    assert_eq!(started.names(&paths::partitions("v")).await.len(), 1);
}

#[tokio::test]
async fn a_dot_and_an_underscore_collide_until_the_topic_is_deleted() {
    let started = alone().await;
    assert_eq!(
        started.create(vec![topic("a.b", 1), topic("a_b", 1)]).await,
        [ErrorCode::None, ErrorCode::InvalidTopicException]
    );
    assert_eq!(
        started.create(vec![topic("a_b", 1)]).await,
        [ErrorCode::InvalidTopicException]
    );
    assert_eq!(started.delete(&["a.b"]).await, [ErrorCode::None]);
    assert_eq!(started.create(vec![topic("a_b", 1)]).await, [ErrorCode::None]);
    assert_eq!(
        started.create(vec![topic("a.b", 1)]).await,
        [ErrorCode::InvalidTopicException]
    );
}

#[tokio::test]
async fn a_deleted_topic_leaves_nothing_and_its_successor_has_another_id() {
    let started = alone().await;
    let mut wanted = topic("t", 3);
    wanted.configs = vec![("retention.ms".to_owned(), Some("5".to_owned()))];
    let first = started.controller.create_topics(vec![wanted], false).await[0]
        .clone()
        .unwrap();
    assert_eq!(
        started.delete(&["t", "none", "t"]).await,
        [
            ErrorCode::None,
            ErrorCode::UnknownTopicOrPartition,
            ErrorCode::None
        ]
    );
    assert!(started.names(paths::TOPICS).await.is_empty());
    assert!(started.names(paths::TOPIC_CONFIGS).await.is_empty());
    assert!(started.names(paths::DELETE_TOPICS).await.is_empty());
    assert!(started.broker.told().folders.is_empty());
    let image = started.cluster.get();
    assert!(image.topic("t").is_none() && image.topic_by_id(first.id).is_none());
    assert_eq!(
        image.log_config("t").retention_ms,
        BrokerConfig::from_pairs(&[]).unwrap().log_defaults().retention_ms
    );
    let second = started.controller.create_topics(vec![topic("t", 1)], false).await[0]
        .clone()
        .unwrap();
    assert_ne!(first.id, second.id);
    assert_eq!(started.cluster.get().topic("t").unwrap().partitions.len(), 1);
}

#[tokio::test]
async fn deletion_can_be_switched_off() {
    let store = Arc::new(MemoryServer::new().connect());
    let started = start(store, fresh_broker(), ME, &[("delete.topic.enable", "false")]).await;
    started.create(vec![topic("t", 1)]).await;
    assert_eq!(started.delete(&["t"]).await, [ErrorCode::TopicDeletionDisabled]);
    assert!(started.cluster.get().topic("t").is_some());
}

#[tokio::test]
async fn partitions_are_added_and_bad_additions_refused() {
    let started = alone().await;
    started.create(vec![topic("t", 1)]).await;
    let more = |name: &str, count, assignments: Option<&[&[i32]]>| MorePartitions {
        name: name.to_owned(),
        count,
        assignments: assignments.map(|lists| {
            let list = |ids: &&[i32]| ids.iter().copied().map(BrokerId).collect();
            lists.iter().map(list).collect()
        }),
    };
    let answers = started
        .controller
        .create_partitions(
            vec![
                more("none", 2, None),
                more("t", 1, None),
                more("t", 0, None),
                more("t", i32::MAX, None),
                more("t", 2, Some(&[&[9]])),
                more("t", 2, Some(&[&[1], &[1]])),
                more("t", 2, Some(&[&[]])),
            ],
            false,
        )
        .await;
    let codes: Vec<ErrorCode> = answers.iter().map(code).collect();
    assert_eq!(
        codes,
        [
            ErrorCode::UnknownTopicOrPartition,
            ErrorCode::InvalidPartitions,
            ErrorCode::InvalidPartitions,
            ErrorCode::PolicyViolation,
            ErrorCode::InvalidReplicaAssignment,
            ErrorCode::InvalidReplicaAssignment,
            ErrorCode::InvalidReplicaAssignment,
        ]
    );
    let grown = started
        .controller
        .create_partitions(vec![more("t", 3, None)], false)
        .await;
    assert_eq!(grown, [Ok(())]);
    assert_eq!(started.cluster.get().topic("t").unwrap().partitions.len(), 3);
    let node = started.store.get(&paths::topic("t")).await.unwrap().unwrap();
    assert_eq!(Topic::decode(&node.data.unwrap()).unwrap().partitions.len(), 3);
    assert_eq!(started.state("t", 2).await.1, 0);
    assert!(started.names(paths::NEW_PARTITIONS).await.is_empty());
}

#[tokio::test]
async fn a_restarted_broker_leads_again_with_a_new_epoch() {
    let server = MemoryServer::new();
    let store = server.connect();
    let started = start(Arc::new(store.clone()), fresh_broker(), ME, &[]).await;
    started.create(vec![topic("t", 1)]).await;
    let before = started.epoch;
    let broker = started.stop().await;
    store.expire();
    let started = start(Arc::new(server.connect()), broker, ME, &[]).await;
    assert!(started.epoch > before);
    let (state, partition_epoch) = started.state("t", 0).await;
    assert_eq!((state.leader, state.leader_epoch.get()), (Some(ME), 1));
    assert_eq!((state.controller_epoch.get(), partition_epoch), (2, 1));
    let partition = started.cluster.get().partition("t", 0).unwrap().clone();
    assert_eq!((partition.leader_epoch.get(), partition.partition_epoch), (1, 1));
    let told = started.broker.told();
    assert!(!told.leaders.last().unwrap().topics[0].partitions[0].is_new);
}

#[tokio::test]
async fn a_controller_that_only_changes_does_not_touch_leaders() {
    let server = MemoryServer::new();
    let store = server.connect();
    let started = start(Arc::new(store), fresh_broker(), ME, &[]).await;
    started.create(vec![topic("t", 1)]).await;
    // Its node is deleted by somebody, its registration stays.
    started.store.delete(paths::CONTROLLER, None).await.unwrap();
    // It learns of that at its next write, and is elected again.
    let tool = server.connect();
    tool.set(paths::CONTROLLER_EPOCH, Some("5".into()), None)
        .await
        .unwrap();
    assert_eq!(
        started.create(vec![topic("u", 1)]).await,
        [ErrorCode::NotController]
    );
    assert!(started.store.get(&paths::topic("u")).await.unwrap().is_none());
    // Until then it refuses what it is asked, at once.
    while !started.controller.settled().await {
        crate::base::clock::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(started.state("t", 0).await.0.leader_epoch.get(), 0);
    assert_eq!(started.create(vec![topic("u", 1)]).await, [ErrorCode::None]);
    assert_eq!(started.state("u", 0).await.0.controller_epoch.get(), 6);
}

#[tokio::test]
async fn one_controller_at_a_time() {
    let server = MemoryServer::new();
    let first_store: MemoryStore = server.connect();
    let first = start(Arc::new(first_store.clone()), fresh_broker(), BrokerId(1), &[]).await;
    let second = start(Arc::new(server.connect()), fresh_broker(), BrokerId(2), &[]).await;
    assert!(first.controller.is_active() && !second.controller.is_active());
    assert_eq!(
        second.create(vec![topic("t", 1)]).await,
        [ErrorCode::NotController]
    );
    first.create(vec![topic("t", 1)]).await;
    first_store.expire();
    assert_eq!(
        first.create(vec![topic("u", 1)]).await,
        [ErrorCode::NotController]
    );
    while !second.controller.settled().await {
        crate::base::clock::sleep(Duration::from_millis(1)).await;
    }
    // The partition of the broker that is gone has no leader, and is shown so.
    let (state, _) = second.state("t", 0).await;
    assert_eq!((state.leader, state.leader_epoch.get()), (None, 1));
    assert_eq!(state.isr, [BrokerId(1)]);
    let image = second.cluster.get();
    assert_eq!(image.partition("t", 0).unwrap().offline_replicas, [BrokerId(1)]);
    assert_eq!(image.controller, Some(BrokerId(2)));
}

#[tokio::test]
async fn a_lost_answer_to_the_election_is_found_out() {
    let server = MemoryServer::new();
    let store = server.connect();
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    registration::prepare(&shared, None, &Random::from_seed(1))
        .await
        .unwrap();
    server.lose(store.id(), Lost::Reply);
    let reign = reign::elect(&shared, ME).await.unwrap();
    assert!(matches!(reign, reign::Election::Won(_)));
    let node = shared.get(paths::CONTROLLER_EPOCH).await.unwrap().unwrap();
    assert_eq!(node.data.unwrap(), "1");
}

#[tokio::test]
async fn a_creation_that_was_cut_off_is_completed_and_misses_no_folder() {
    let server = MemoryServer::new();
    let store = server.connect();
    let started = start(Arc::new(store.clone()), fresh_broker(), ME, &[]).await;
    started.create(vec![topic("whole", 1)]).await;
    // As a controller leaves it that stops after its first write for a topic of many partitions.
    let node = Topic {
        id: Some(Uuid([5; 16])),
        partitions: BTreeMap::from([(0, vec![ME]), (1, vec![ME])]),
        ..Topic::default()
    };
    let kind = CreateKind::Persistent;
    let half = started
        .store
        .create(&paths::topic("half"), Some(node.encode()), kind);
    half.await.unwrap();
    let broker = started.stop().await;
    store.expire();
    let store: Arc<dyn Store> = Arc::new(server.connect());
    let stored = stored_partitions(&store, ME).await.unwrap();
    let is_new = |topic: &str| stored[&TopicPartition::new(topic, 0)].is_new;
    assert!(is_new("half") && !is_new("whole"));
    let started = start(store, broker, ME, &[]).await;
    assert_eq!(started.state("half", 1).await.0.leader_epoch.get(), 0);
    assert!(
        started
            .broker
            .told()
            .folders
            .contains(&TopicPartition::new("half", 1))
    );
    assert_eq!(started.cluster.get().topic("half").unwrap().partitions.len(), 2);
}

#[tokio::test]
async fn a_deletion_that_was_cut_off_is_completed() {
    let server = MemoryServer::new();
    let store = server.connect();
    let started = start(Arc::new(store.clone()), fresh_broker(), ME, &[]).await;
    started.create(vec![topic("t", 2), topic("u", 1)]).await;
    let kind = CreateKind::Persistent;
    for name in ["t", "unknown"] {
        started
            .store
            .create(&paths::delete_topic(name), None, kind)
            .await
            .unwrap();
    }
    let broker = started.stop().await;
    store.expire();
    let started = start(Arc::new(server.connect()), broker, ME, &[]).await;
    assert_eq!(started.names(paths::TOPICS).await, ["u"]);
    assert!(started.names(paths::DELETE_TOPICS).await.is_empty());
    assert!(started.cluster.get().topic("t").is_none());
    let folders = started.broker.told().folders.clone();
    assert_eq!(folders, BTreeSet::from([TopicPartition::new("u", 0)]));
}

#[tokio::test]
async fn a_replica_on_a_failed_disk_has_no_leader_until_the_disk_is_back() {
    let server = MemoryServer::new();
    let store = server.connect();
    let started = start(Arc::new(store.clone()), fresh_broker(), ME, &[]).await;
    started.create(vec![topic("t", 2)]).await;
    let zero = TopicPartition::new("t", 0);
    started.controller.replicas_offline(vec![zero.clone()]).await;
    started.controller.settled().await;
    let image = started.cluster.get();
    let partition = image.partition("t", 0).unwrap();
    assert_eq!((partition.leader, partition.leader_epoch.get()), (None, 1));
    assert_eq!(partition.offline_replicas, [ME]);
    assert_eq!(image.partition("t", 1).unwrap().leader, Some(ME));
    // It is deleted only when the disk is back.
    started.broker.told().broken.insert(zero.clone());
    assert_eq!(started.delete(&["t"]).await, [ErrorCode::None]);
    assert!(started.cluster.get().topic("t").is_none());
    assert_eq!(
        started.create(vec![topic("t", 1)]).await,
        [ErrorCode::TopicAlreadyExists]
    );
    let broker = started.stop().await;
    store.expire();
    broker.told().broken.clear();
    let started = start(Arc::new(server.connect()), broker, ME, &[]).await;
    assert!(started.names(paths::TOPICS).await.is_empty());
    assert!(started.broker.told().folders.is_empty());
}

#[tokio::test]
async fn a_disk_that_is_found_broken_at_the_start_costs_its_leaders() {
    let server = MemoryServer::new();
    let store = server.connect();
    let started = start(Arc::new(store.clone()), fresh_broker(), ME, &[]).await;
    started.create(vec![topic("t", 1)]).await;
    let broker = started.stop().await;
    store.expire();
    broker.told().broken.insert(TopicPartition::new("t", 0));
    let started = start(Arc::new(server.connect()), broker, ME, &[]).await;
    let (state, _) = started.state("t", 0).await;
    assert_eq!((state.leader, state.leader_epoch.get()), (None, 2));
    assert_eq!(started.cluster.get().partition("t", 0).unwrap().leader, None);
}

#[tokio::test]
async fn blocks_of_producer_ids_never_overlap() {
    let server = MemoryServer::new();
    let store = server.connect();
    let started = start(Arc::new(store.clone()), fresh_broker(), ME, &[]).await;
    let allocate = |epoch| started.controller.allocate_producer_ids(ME, epoch);
    let block = |first| ProducerIdBlock {
        broker: ME,
        first,
        last: first + 999,
    };
    assert_eq!(allocate(started.epoch).await, Ok(block(0)));
    assert_eq!(allocate(started.epoch).await, Ok(block(1000)));
    let stale = allocate(BrokerEpoch(started.epoch.get() - 1)).await;
    assert_eq!(code(&stale), ErrorCode::StaleBrokerEpoch);
    let stranger = started
        .controller
        .allocate_producer_ids(BrokerId(9), started.epoch)
        .await;
    assert_eq!(code(&stranger), ErrorCode::BrokerIdNotRegistered);
    let broker = started.stop().await;
    store.expire();
    let started = start(Arc::new(server.connect()), broker, ME, &[]).await;
    let after = started.controller.allocate_producer_ids(ME, started.epoch).await;
    assert_eq!(after, Ok(block(2000)));
}

fn set(resource: ConfigResource, key: &str, value: &str) -> AlterConfigs {
    change(resource, key, ConfigOperation::Set, Some(value))
}

fn change(
    resource: ConfigResource,
    key: &str,
    operation: ConfigOperation,
    value: Option<&str>,
) -> AlterConfigs {
    AlterConfigs {
        resource,
        changes: ConfigChanges::Incremental(vec![(
            key.to_owned(),
            Some(operation),
            value.map(str::to_owned),
        )]),
    }
}

fn of_topic(name: &str) -> ConfigResource {
    ConfigResource::Topic(name.to_owned())
}

fn of_broker(name: &str) -> ConfigResource {
    ConfigResource::Broker(name.to_owned())
}

#[tokio::test]
async fn topic_configs_change_at_once_and_everybody_is_told() {
    let started = alone().await;
    started.create(vec![topic("t", 1)]).await;
    let alter = |change, validate| started.controller.alter_configs(vec![change], validate);
    assert_eq!(
        alter(set(of_topic("t"), "retention.ms", "7"), true).await,
        [Ok(())]
    );
    assert!(started.cluster.get().topic_overrides("t").is_empty());
    assert_eq!(
        alter(set(of_topic("t"), "retention.ms", "7"), false).await,
        [Ok(())]
    );
    assert_eq!(started.cluster.get().log_config("t").retention_ms, 7);
    let append = change(
        of_topic("t"),
        "cleanup.policy",
        ConfigOperation::Append,
        Some("compact"),
    );
    assert_eq!(alter(append, false).await, [Ok(())]);
    let overrides = started.cluster.get().topic_overrides("t");
    assert_eq!(overrides["cleanup.policy"], "delete,compact");
    assert_eq!(overrides["retention.ms"], "7");
    let replace = AlterConfigs {
        resource: of_topic("t"),
        changes: ConfigChanges::Replace(vec![("segment.ms".to_owned(), Some("9".to_owned()))]),
    };
    assert_eq!(alter(replace, false).await, [Ok(())]);
    let expected = BTreeMap::from([("segment.ms".to_owned(), "9".to_owned())]);
    assert_eq!(started.cluster.get().topic_overrides("t"), expected);
    assert_eq!(
        started.names(paths::CONFIG_CHANGES).await,
        [
            "config_change_0000000000",
            "config_change_0000000001",
            "config_change_0000000002"
        ]
    );
    assert_eq!(started.broker.told().config_changes, ["topic t"; 3]);
}

#[tokio::test]
async fn a_config_that_another_broker_changed_is_taken_in() {
    let server = MemoryServer::new();
    let started = start(Arc::new(server.connect()), fresh_broker(), ME, &[]).await;
    started.create(vec![topic("t", 1)]).await;
    let tool = server.connect();
    let configs = EntityConfig::new(BTreeMap::from([("retention.ms".to_owned(), "3".to_owned())]));
    let notification = crate::store::znodes::ConfigChange {
        entity_path: "topics/t".to_owned(),
    };
    let mut images = started.cluster.subscribe();
    tool.multi(vec![
        Operation::set(paths::topic_config("t"), Some(configs.encode()), None),
        Operation::create(
            paths::config_change(),
            Some(notification.encode()),
            CreateKind::PersistentSequential,
        ),
    ])
    .await
    .unwrap();
    images
        .wait_for(|image| image.log_config("t").retention_ms == 3)
        .await
        .unwrap();
    assert_eq!(started.broker.told().config_changes, ["topic t"]);
}

#[tokio::test]
async fn broker_configs_change_the_defaults_of_topics_and_survive() {
    let server = MemoryServer::new();
    let store = server.connect();
    let started = start(Arc::new(store.clone()), fresh_broker(), ME, &[]).await;
    started.create(vec![topic("t", 1)]).await;
    let alter = |change| started.controller.alter_configs(vec![change], false);
    assert_eq!(
        alter(set(of_broker(""), "log.retention.ms", "100000")).await,
        [Ok(())]
    );
    assert_eq!(started.cluster.get().log_config("t").retention_ms, 100_000);
    assert_eq!(
        alter(set(of_broker("1"), "log.retention.ms", "200000")).await,
        [Ok(())]
    );
    assert_eq!(started.cluster.get().log_config("t").retention_ms, 200_000);
    assert_eq!(alter(set(of_topic("t"), "segment.ms", "5")).await, [Ok(())]);
    let broker = started.stop().await;
    store.expire();
    let started = start(Arc::new(server.connect()), broker, ME, &[]).await;
    let config = started.cluster.get().log_config("t");
    assert_eq!((config.retention_ms, config.segment_ms), (200_000, 5));
    let delete = change(of_broker("1"), "log.retention.ms", ConfigOperation::Delete, None);
    assert_eq!(
        started.controller.alter_configs(vec![delete], false).await,
        [Ok(())]
    );
    assert_eq!(started.cluster.get().log_config("t").retention_ms, 100_000);
}

#[tokio::test]
async fn bad_changes_of_configs_are_refused_with_kafkas_codes() {
    let started = alone().await;
    started.create(vec![topic("t", 1)]).await;
    let incremental = |changes| AlterConfigs {
        resource: of_topic("t"),
        changes: ConfigChanges::Incremental(changes),
    };
    let one = || {
        (
            "retention.ms".to_owned(),
            Some(ConfigOperation::Set),
            Some("1".to_owned()),
        )
    };
    let cases = [
        (set(of_topic(""), "retention.ms", "1"), ErrorCode::InvalidRequest),
        (
            set(of_topic("none"), "retention.ms", "1"),
            ErrorCode::UnknownTopicOrPartition,
        ),
        (set(of_topic("t"), "retention.ms", "x"), ErrorCode::InvalidConfig),
        (set(of_topic("t"), "no.such", "x"), ErrorCode::InvalidConfig),
        (
            change(of_topic("t"), "retention.ms", ConfigOperation::Append, Some("1")),
            ErrorCode::InvalidConfig,
        ),
        (
            change(of_topic("t"), "retention.ms", ConfigOperation::Set, None),
            ErrorCode::InvalidRequest,
        ),
        (incremental(vec![one(), one()]), ErrorCode::InvalidRequest),
        (
            incremental(vec![("a".to_owned(), None, Some("1".to_owned()))]),
            ErrorCode::InvalidRequest,
        ),
        (
            set(of_broker("2"), "log.retention.ms", "1"),
            ErrorCode::InvalidRequest,
        ),
        (
            set(of_broker("x"), "log.retention.ms", "1"),
            ErrorCode::InvalidRequest,
        ),
        (set(of_broker("1"), "broker.id", "7"), ErrorCode::InvalidRequest),
        // More than the store takes.
        (
            set(of_broker("1"), "no.such", &"x".repeat(1 << 20)),
            ErrorCode::InvalidRequest,
        ),
        (
            set(of_broker("1"), "log.retention.ms", "x"),
            ErrorCode::InvalidRequest,
        ),
    ];
    for (change, expected) in cases {
        let answers = started
            .controller
            .alter_configs(vec![change.clone()], false)
            .await;
        assert_eq!(code(&answers[0]), expected, "{change:?}");
    }
    let twice = vec![
        set(of_topic("t"), "retention.ms", "1"),
        set(of_topic("t"), "segment.ms", "1"),
    ];
    let answers = started.controller.alter_configs(twice, false).await;
    assert!(
        answers
            .iter()
            .all(|answer| code(answer) == ErrorCode::InvalidRequest)
    );
    assert!(started.names(paths::CONFIG_CHANGES).await.is_empty());
}

/// A broker on an embedded store, on a disk in memory.
async fn embedded(disk: &Disk, broker: FakeBroker) -> (EmbeddedStore, Started) {
    let directories = [PathBuf::from("/data")];
    disk.create_directory(&directories[0]).unwrap();
    let stall = Duration::from_secs(10);
    let store = EmbeddedStore::open(disk, &directories, stall, &Random::from_seed(1))
        .await
        .unwrap();
    let started = start(Arc::new(store.clone()), broker, ME, &[]).await;
    (store, started)
}

#[tokio::test]
async fn a_thousand_topics_cost_few_syncs_in_one_request_or_in_many() {
    let memory = MemoryDisk::new();
    let disk = Disk::memory(memory.clone());
    let (store, started) = embedded(&disk, fresh_broker()).await;
    let before = memory.counts().syncs;
    let topics = (0..1_000)
        .map(|number| topic(&format!("one{number}"), 2))
        .collect();
    let codes = started.create(topics).await;
    assert!(codes.iter().all(|code| code.is_none()));
    let one_request = memory.counts().syncs - before;
    let before = memory.counts().syncs;
    let mut waiting = Vec::new();
    for number in 0..1_000 {
        let controller = started.controller.clone();
        let wanted = vec![topic(&format!("many{number}"), 1)];
        waiting.push(crate::base::task::spawn(async move {
            controller.create_topics(wanted, false).await
        }));
    }
    for answer in waiting {
        assert_eq!(code(&answer.await.unwrap()[0]), ErrorCode::None);
    }
    let many_requests = memory.counts().syncs - before;
    assert!(
        one_request <= 10 && many_requests <= 60,
        "{one_request} syncs for one request, {many_requests} for a thousand"
    );
    let before = memory.counts().syncs;
    let names: Vec<String> = (0..1_000).map(|number| format!("one{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert!(started.delete(&names).await.iter().all(|code| code.is_none()));
    let deletion = memory.counts().syncs - before;
    assert!(deletion <= 10, "{deletion} syncs for a thousand deletions");
    assert_eq!(started.names(paths::TOPICS).await.len(), 1_000);
    store.close().await;
}

/// The mark that the creation has left is taken off without anybody waiting for it: what comes next once saw it there, and
/// its change failed because it was gone.
#[tokio::test]
async fn topics_are_changed_and_deleted_as_soon_as_they_are_created() {
    let disk = Disk::memory(MemoryDisk::new());
    let (store, started) = embedded(&disk, fresh_broker()).await;
    for round in 0..100 {
        let name = format!("t{round}");
        assert_eq!(started.create(vec![topic(&name, 1)]).await, [ErrorCode::None]);
        if round % 2 == 0 {
            let more = MorePartitions {
                name: name.clone(),
                count: 2,
                assignments: None,
            };
            let grown = started.controller.create_partitions(vec![more], false).await;
            assert_eq!(grown, [Ok(())], "{name}");
        }
        assert_eq!(started.delete(&[&name]).await, [ErrorCode::None]);
        assert!(started.names(paths::TOPICS).await.is_empty(), "{name}");
    }
    store.close().await;
}

#[tokio::test]
async fn a_topic_too_large_for_one_change_is_created_all_the_same() {
    let disk = Disk::memory(MemoryDisk::new());
    let (store, started) = embedded(&disk, fresh_broker()).await;
    let most = MAX_PARTITIONS_PER_REQUEST as i32;
    assert_eq!(
        started.create(vec![topic("large", most)]).await,
        [ErrorCode::None]
    );
    let image = started.cluster.get();
    assert_eq!(
        image.topic("large").unwrap().partitions.len(),
        MAX_PARTITIONS_PER_REQUEST
    );
    assert_eq!(image.partition("large", most - 1).unwrap().leader, Some(ME));
    // Nobody waits for the mark to be taken off; a later change is behind it.
    store
        .create("/later", None, CreateKind::Persistent)
        .await
        .unwrap();
    assert!(started.names(paths::NEW_PARTITIONS).await.is_empty());
}

#[tokio::test]
async fn what_was_created_survives_a_power_cut_with_its_epochs() {
    let mut memory = MemoryDisk::new();
    let mut broker = fresh_broker();
    for round in 0..5 {
        let disk = Disk::memory(memory.clone());
        let (store, started) = embedded(&disk, broker).await;
        for earlier in 0..round {
            let (state, _) = started.state(&format!("t{earlier}"), 0).await;
            assert_eq!(state.leader_epoch.get(), round - earlier);
        }
        assert_eq!(
            started.create(vec![topic(&format!("t{round}"), 1)]).await,
            [ErrorCode::None]
        );
        memory = power_cut(&memory, || false);
        broker = started.stop().await;
        drop(store);
    }
}

#[tokio::test]
async fn a_store_whose_disks_fail_refuses_and_acknowledges_nothing() {
    let memory = MemoryDisk::new();
    let disk = Disk::memory(memory.clone());
    let (_store, started) = embedded(&disk, fresh_broker()).await;
    assert_eq!(started.create(vec![topic("before", 1)]).await, [ErrorCode::None]);
    memory.fail(
        Call::Sync,
        "barnabas-store",
        0,
        u64::MAX,
        std::io::ErrorKind::Other,
    );
    let codes = started.create(vec![topic("after", 1)]).await;
    assert_eq!(codes, [ErrorCode::NotController]);
    assert!(started.cluster.get().topic("after").is_none());
    assert_eq!(
        started.create(vec![topic("later", 1)]).await,
        [ErrorCode::NotController]
    );
    assert_eq!(started.store.get("/").await, Err(StoreError::Failed));
}
