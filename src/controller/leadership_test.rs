//! Elections and moves that a client asks for, over a store in memory.

use std::sync::Arc;

use super::controller_test::{ME, Started, alone, code, fresh_broker, start, topic};
use super::request::{ElectionType, NewTopic, OngoingReassignment, Reassignment};
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerId, TopicPartition};
use crate::store::memory::MemoryServer;
use crate::store::znodes::{Broker, Topic, paths};

const OTHER: BrokerId = BrokerId(7);

fn name(topic: &str) -> TopicPartition {
    TopicPartition::new(topic, 0)
}

/// A topic of one partition, on these brokers.
fn on(topic: &str, brokers: &[BrokerId]) -> NewTopic {
    NewTopic {
        name: topic.to_owned(),
        partitions: -1,
        replication_factor: -1,
        assignments: vec![(0, brokers.to_vec())],
        configs: Vec::new(),
    }
}

impl Started {
    async fn elect(&self, names: &[&str], election: ElectionType) -> Vec<ErrorCode> {
        let names = names.iter().map(|topic| name(topic)).collect();
        let answers = self.controller.elect_leaders(names, election).await;
        answers.iter().map(code).collect()
    }

    async fn reassign(&self, topic: &str, replicas: Option<&[i32]>) -> ErrorCode {
        self.reassign_with(topic, replicas, true).await
    }

    async fn reassign_with(&self, topic: &str, replicas: Option<&[i32]>, any_number: bool) -> ErrorCode {
        let wish = Reassignment {
            partition: name(topic),
            replicas: replicas.map(|ids| ids.iter().copied().map(BrokerId).collect()),
            any_number,
        };
        let answers = self.controller.alter_reassignments(vec![wish]).await.unwrap();
        code(&answers[0])
    }

    async fn moving(&self) -> Vec<OngoingReassignment> {
        self.controller.reassignments(None).await.unwrap()
    }

    /// The partition's replicas: in the store, and as clients see them.
    async fn replicas(&self, topic: &str) -> (Vec<BrokerId>, Vec<BrokerId>) {
        let node = self.store.get(&paths::topic(topic)).await.unwrap().unwrap();
        let stored = Topic::decode(&node.data.unwrap()).unwrap();
        let image = self.cluster.get();
        let seen = image
            .partition(topic, 0)
            .map(|partition| partition.replicas.clone());
        (stored.partitions[&0].clone(), seen.unwrap_or_default())
    }
}

#[tokio::test]
async fn elections_say_what_became_of_each_partition() {
    let started = alone().await;
    started
        .create(vec![
            topic("led", 1),
            topic("offline", 1),
            on("nowhere", &[OTHER]),
        ])
        .await;
    started.controller.replicas_offline(vec![name("offline")]).await;
    let names = ["led", "none", "offline", "nowhere", "led"];
    assert_eq!(
        started.elect(&names, ElectionType::Preferred).await,
        [
            ErrorCode::ElectionNotNeeded,
            ErrorCode::UnknownTopicOrPartition,
            ErrorCode::PreferredLeaderNotAvailable,
            ErrorCode::PreferredLeaderNotAvailable,
            ErrorCode::ElectionNotNeeded,
        ]
    );
    assert_eq!(
        started.elect(&names, ElectionType::Unclean).await,
        [
            ErrorCode::ElectionNotNeeded,
            ErrorCode::UnknownTopicOrPartition,
            ErrorCode::EligibleLeadersNotAvailable,
            ErrorCode::EligibleLeadersNotAvailable,
            ErrorCode::ElectionNotNeeded,
        ]
    );
    assert_eq!(started.state("led", 0).await.0.leader_epoch.get(), 0, "untouched");
}

#[tokio::test]
async fn an_unclean_election_gives_a_leader_to_who_lost_it() {
    let server = MemoryServer::new();
    let store = server.connect();
    let started = start(Arc::new(store.clone()), fresh_broker(), ME, &[]).await;
    started.create(vec![on("t", &[OTHER, ME])]).await;
    // The other broker led alone, and is gone.
    let (mut state, _) = started.state("t", 0).await;
    state.isr = vec![OTHER];
    state.leader = None;
    let path = paths::partition_state("t", 0);
    started
        .store
        .set(&path, Some(state.encode()), None)
        .await
        .unwrap();
    let broker = started.stop().await;
    store.expire();
    let started = start(Arc::new(server.connect()), broker, ME, &[]).await;
    assert_eq!(started.state("t", 0).await.0.leader, None);
    assert_eq!(
        started.elect(&["t"], ElectionType::Unclean).await,
        [ErrorCode::None]
    );
    let (state, _) = started.state("t", 0).await;
    assert_eq!(
        (state.leader, state.isr, state.recovering),
        (Some(ME), vec![ME], true)
    );
    assert_eq!(started.cluster.get().partition("t", 0).unwrap().leader, Some(ME));
}

#[tokio::test]
async fn moves_that_cannot_be_are_refused_with_kafkas_codes() {
    let started = alone().await;
    started.create(vec![topic("t", 1)]).await;
    for (topic, replicas, expected) in [
        ("t", Some(&[1][..]), ErrorCode::None),
        ("t", None, ErrorCode::NoReassignmentInProgress),
        ("t", Some(&[]), ErrorCode::InvalidReplicaAssignment),
        ("t", Some(&[1, 1]), ErrorCode::InvalidReplicaAssignment),
        ("t", Some(&[1, -1]), ErrorCode::InvalidReplicaAssignment),
        ("t", Some(&[9]), ErrorCode::InvalidReplicaAssignment),
        ("none", Some(&[9]), ErrorCode::InvalidReplicaAssignment),
        ("none", Some(&[1]), ErrorCode::UnknownTopicOrPartition),
        ("none", None, ErrorCode::NoReassignmentInProgress),
    ] {
        assert_eq!(
            started.reassign(topic, replicas).await,
            expected,
            "{topic} {replicas:?}"
        );
    }
    assert!(started.moving().await.is_empty());
    let (state, version) = started.state("t", 0).await;
    assert_eq!((state.leader_epoch.get(), version), (0, 0), "nothing was changed");
}

#[tokio::test]
async fn a_replica_that_is_away_is_taken_out_and_the_order_changed_at_once() {
    let started = alone().await;
    started.create(vec![on("t", &[OTHER, ME])]).await;
    assert_eq!(
        started.reassign_with("t", Some(&[1]), false).await,
        ErrorCode::InvalidReplicationFactor
    );
    assert_eq!(started.reassign("t", Some(&[1, 7])).await, ErrorCode::None);
    let both = vec![ME, OTHER];
    assert_eq!(started.replicas("t").await, (both.clone(), both));
    assert_eq!(started.reassign("t", Some(&[1])).await, ErrorCode::None);
    assert_eq!(started.replicas("t").await, (vec![ME], vec![ME]));
    assert!(started.moving().await.is_empty());
    let (state, _) = started.state("t", 0).await;
    assert_eq!((state.leader, state.leader_epoch.get()), (Some(ME), 2));
    let told = started.broker.told();
    let last = &told.leaders.last().unwrap().topics[0].partitions[0];
    assert_eq!((last.leader_epoch.get(), last.replicas.clone()), (2, vec![ME]));
}

#[tokio::test]
async fn a_move_that_waits_is_listed_survives_and_can_be_taken_back() {
    let server = MemoryServer::new();
    let store = server.connect();
    let started = start(Arc::new(store.clone()), fresh_broker(), ME, &[]).await;
    started.create(vec![on("t", &[ME, OTHER])]).await;
    // The other one is not in sync.
    assert_eq!(started.reassign("t", Some(&[7])).await, ErrorCode::None);
    let waits = OngoingReassignment {
        partition: name("t"),
        replicas: vec![OTHER, ME],
        adding: Vec::new(),
        removing: vec![ME],
    };
    assert_eq!(started.moving().await, std::slice::from_ref(&waits));
    let broker = started.stop().await;
    store.expire();
    let started = start(Arc::new(server.connect()), broker, ME, &[]).await;
    assert_eq!(started.moving().await, [waits]);
    let none = started.controller.reassignments(Some(vec![name("other")]));
    assert!(none.await.unwrap().is_empty());
    assert_eq!(started.reassign("t", None).await, ErrorCode::None);
    assert!(started.moving().await.is_empty());
    assert_eq!(started.replicas("t").await.0.len(), 2);
    assert_eq!(started.state("t", 0).await.0.leader, Some(ME));
}

#[tokio::test]
async fn a_partition_that_nobody_ever_led_moves_here_empty() {
    let started = alone().await;
    started.create(vec![on("t", &[OTHER])]).await;
    assert_eq!(started.reassign("t", Some(&[1])).await, ErrorCode::None);
    assert!(started.moving().await.is_empty());
    assert_eq!(started.replicas("t").await, (vec![ME], vec![ME]));
    assert_eq!(started.state("t", 0).await.0.leader, Some(ME));
    assert!(started.broker.told().folders.contains(&name("t")));
    assert!(started.names(paths::NEW_PARTITIONS).await.is_empty());
}

#[tokio::test]
async fn a_broker_that_is_to_be_reached_elsewhere_is_told_of() {
    let started = alone().await;
    let at = |host: &str| {
        let listener = [("PLAINTEXT".into(), "PLAINTEXT".into(), host.into(), 1)];
        Broker::new(&listener, None, 0)
    };
    started.controller.register_again(&at("elsewhere")).await.unwrap();
    started.controller.settled().await;
    let image = started.cluster.get();
    assert_eq!(
        &*image.brokers[&ME].endpoint("PLAINTEXT").unwrap().host,
        "elsewhere"
    );
    assert_eq!(
        image.brokers[&ME].epoch, started.epoch,
        "it is the same registration"
    );
}
