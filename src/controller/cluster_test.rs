//! The controller of a cluster: over a store in memory, with brokers that only write down what they are told.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use super::controller_test::{FakeBroker, Started, code, fresh_broker, start_with};
use super::request::{AlterPartition, ElectionType};
use super::*;
use crate::base::clock;
use crate::base::ids::LeaderEpoch;
use crate::metadata::BrokerImage;
use crate::metadata::control::{PartitionMetadata, StopReplica, UpdateMetadata};
use crate::store::memory::{MemoryServer, MemoryStore};
use crate::store::znodes::{Broker, OurBroker, PartitionState, Topic, notifications, paths};
use crate::store::{CreateKind, Operation};

pub(super) const ONE: BrokerId = BrokerId(1);
pub(super) const TWO: BrokerId = BrokerId(2);
pub(super) const THREE: BrokerId = BrokerId(3);

/// The other brokers, by id.
#[derive(Clone, Default)]
pub(super) struct Others(pub(super) Arc<Mutex<BTreeMap<BrokerId, FakeBroker>>>);

impl Links for Others {
    fn to(&self, broker: &BrokerImage) -> Option<Arc<dyn BrokerLink>> {
        let mut brokers = self.0.lock().unwrap();
        let fake = brokers.entry(broker.id).or_insert_with(fresh_broker);
        Some(Arc::new(fake.clone()))
    }
}

/// Broker 1 with its controller, and others that are only registered.
pub(super) struct Cluster3 {
    pub(super) server: MemoryServer,
    pub(super) others: Others,
    /// Of the brokers, the first one's too.
    pub(super) sessions: BTreeMap<BrokerId, MemoryStore>,
    pub(super) one: Started,
}

impl Cluster3 {
    pub(super) async fn of(ids: &[BrokerId]) -> Self {
        let server = MemoryServer::new();
        let others = Others::default();
        let first = server.connect();
        let store = Arc::new(first.clone());
        let one = start_with(store, fresh_broker(), ONE, &[], Arc::new(others.clone())).await;
        let mut cluster = Self {
            server,
            others,
            sessions: BTreeMap::from([(ONE, first)]),
            one,
        };
        for id in ids {
            cluster.arrive(*id).await;
        }
        cluster
    }

    /// A broker registers.
    pub(super) async fn arrive(&mut self, id: BrokerId) -> BrokerEpoch {
        self.arrive_as(id, &node(id)).await
    }

    /// The same, with this registration.
    pub(super) async fn arrive_as(&mut self, id: BrokerId, node: &Broker) -> BrokerEpoch {
        let session = self.server.connect();
        let store: Arc<dyn Store> = Arc::new(session.clone());
        let epoch = registration::register(&store, id, node, &OurBroker::this(true))
            .await
            .unwrap();
        self.sessions.insert(id, session);
        self.until(|| self.one.cluster.get().brokers.get(&id).map(|broker| broker.epoch) == Some(epoch))
            .await;
        epoch
    }

    /// A broker's session ends.
    pub(super) async fn leave(&mut self, id: BrokerId) {
        self.sessions.remove(&id).unwrap().expire();
        self.until(|| !self.one.cluster.get().brokers.contains_key(&id))
            .await;
        self.settle().await;
    }

    /// A broker's session ends, and it is registered again before anybody looks.
    pub(super) async fn bounce(&mut self, id: BrokerId) {
        self.sessions.remove(&id).unwrap().expire();
        self.arrive(id).await;
        self.settle().await;
    }

    pub(super) async fn until(&self, condition: impl Fn() -> bool) {
        for _ in 0..2000 {
            if condition() {
                return;
            }
            clock::sleep(Duration::from_millis(1)).await;
        }
        panic!("it does not come to that");
    }

    /// Waits until what is known has been done, and told.
    pub(super) async fn settle(&self) {
        for _ in 0..5 {
            self.one.controller.settled().await;
            clock::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(super) async fn create(&self, topic: &str, replicas: &[BrokerId]) {
        self.create_with(topic, replicas, Vec::new()).await;
    }

    pub(super) async fn create_with(
        &self,
        topic: &str,
        replicas: &[BrokerId],
        configs: Vec<(String, Option<String>)>,
    ) {
        let topic = NewTopic {
            name: topic.to_owned(),
            partitions: -1,
            replication_factor: -1,
            assignments: vec![(0, replicas.to_vec())],
            configs,
        };
        let answers = self.one.controller.create_topics(vec![topic], false).await;
        assert_eq!(code(&answers[0]), ErrorCode::None);
        self.settle().await;
    }

    pub(super) async fn state(&self, topic: &str) -> (i32, i32, Vec<i32>) {
        let (state, _) = self.one.state(topic, 0).await;
        numbers(&state)
    }

    /// Where the partition is as the store has it: all replicas, those that are added, those that go.
    pub(super) async fn replicas(&self, topic: &str) -> (Vec<BrokerId>, Vec<BrokerId>, Vec<BrokerId>) {
        let node = self.one.store.get(&paths::topic(topic)).await.unwrap().unwrap();
        let node = Topic::decode(&node.data.unwrap()).unwrap();
        let list = |lists: &BTreeMap<i32, Vec<BrokerId>>| lists.get(&0).cloned().unwrap_or_default();
        (list(&node.partitions), list(&node.adding), list(&node.removing))
    }

    /// What another broker was told of a partition's leadership, oldest first: leader, epoch, ISR, and whether it is new.
    pub(super) fn led(&self, broker: BrokerId, topic: &str) -> Vec<(i32, i32, Vec<i32>, bool)> {
        let others = self.others.0.lock().unwrap();
        let Some(fake) = others.get(&broker) else {
            return Vec::new();
        };
        let told = fake.told();
        let all = told.leaders.iter().flat_map(|request| &request.topics);
        let partitions = all
            .filter(|one| *one.name == *topic)
            .flat_map(|one| &one.partitions);
        partitions
            .map(|one| {
                let isr = one.isr.iter().map(|id| id.get()).collect();
                (
                    one.leader.map_or(-1, BrokerId::get),
                    one.leader_epoch.get(),
                    isr,
                    one.is_new,
                )
            })
            .collect()
    }

    pub(super) fn stopped(&self, broker: BrokerId) -> Vec<StopReplica> {
        let others = self.others.0.lock().unwrap();
        others
            .get(&broker)
            .map(|fake| fake.told().stopped.clone())
            .unwrap_or_default()
    }

    pub(super) fn metadata(&self, broker: BrokerId) -> Vec<UpdateMetadata> {
        let others = self.others.0.lock().unwrap();
        others
            .get(&broker)
            .map(|fake| fake.told().metadata.clone())
            .unwrap_or_default()
    }

    pub(super) fn epoch(&self, broker: BrokerId) -> BrokerEpoch {
        self.one.cluster.get().brokers[&broker].epoch
    }

    /// A leader's proposal about partition 0.
    pub(super) async fn propose(
        &self,
        sender: BrokerId,
        topic: &str,
        leader_epoch: i32,
        partition_epoch: i32,
        isr: &[BrokerId],
    ) -> Result<Vec<i32>, ErrorCode> {
        let proposal = AlterPartition {
            partition: TopicPartition::new(topic, 0),
            topic_id: None,
            leader_epoch: LeaderEpoch(leader_epoch),
            isr: isr.iter().map(|id| (*id, BrokerEpoch(-1))).collect(),
            recovering: false,
            partition_epoch,
        };
        let epoch = self.epoch(sender);
        let answers = self
            .one
            .controller
            .alter_partitions(sender, epoch, vec![proposal])
            .await?;
        let altered = answers.into_iter().next().unwrap()?;
        Ok(altered.isr.iter().map(|id| id.get()).collect())
    }
}

pub(super) fn node(id: BrokerId) -> Broker {
    let listener = [(
        "PLAINTEXT".into(),
        "PLAINTEXT".into(),
        "host".into(),
        9000 + id.get(),
    )];
    Broker::new(&listener, None, 0)
}

fn numbers(state: &PartitionState) -> (i32, i32, Vec<i32>) {
    let isr = state.isr.iter().map(|id| id.get()).collect();
    (
        state.leader.map_or(-1, BrokerId::get),
        state.leader_epoch.get(),
        isr,
    )
}

#[tokio::test]
async fn a_new_topic_is_told_to_each_of_its_brokers_after_the_brokers_themselves() {
    let cluster = Cluster3::of(&[TWO, THREE]).await;
    cluster.create("t", &[TWO, ONE]).await;
    assert_eq!(cluster.state("t").await, (2, 0, vec![2, 1]));
    assert_eq!(cluster.led(TWO, "t"), [(2, 0, vec![2, 1], true)]);
    assert!(cluster.led(THREE, "t").is_empty(), "it has no replica");
    let told = cluster.metadata(THREE);
    assert_eq!(told[0].live_brokers.len(), 3, "who is there comes first");
    assert!(told[0].topics.is_empty());
    let last = told.last().unwrap();
    assert!(
        matches!(&last.topics[0].partitions[0], (0, PartitionMetadata::State(state)) if state.leader == Some(TWO))
    );
    assert_eq!(last.broker_epoch, cluster.epoch(THREE));
}

#[tokio::test]
async fn what_a_dead_broker_led_is_led_by_another_and_it_leaves_the_isrs() {
    let mut cluster = Cluster3::of(&[TWO, THREE]).await;
    cluster.create("led", &[TWO, THREE, ONE]).await;
    cluster.create("followed", &[THREE, TWO]).await;
    cluster.leave(TWO).await;
    assert_eq!(cluster.state("led").await, (3, 1, vec![3, 1]));
    assert_eq!(cluster.state("followed").await, (3, 1, vec![3]));
    assert_eq!(
        cluster.led(THREE, "led").last().unwrap(),
        &(3, 1, vec![3, 1], false)
    );
    let image = cluster.one.cluster.get();
    assert_eq!(image.partition("led", 0).unwrap().offline_replicas, [TWO]);

    let before = cluster.metadata(TWO).len();
    cluster.arrive(TWO).await;
    cluster.settle().await;
    assert_eq!(
        cluster.state("led").await,
        (3, 1, vec![3, 1]),
        "it has to catch up first"
    );
    let told = cluster.metadata(TWO);
    assert_eq!(told[before].live_brokers.len(), 3);
    let known: usize = told[before..].iter().map(|one| one.topics.len()).sum();
    assert!(known >= 2, "it is told of every partition");
    assert_eq!(
        cluster.led(TWO, "led").last().unwrap(),
        &(3, 1, vec![3, 1], false)
    );
    assert!(
        cluster
            .one
            .cluster
            .get()
            .partition("led", 0)
            .unwrap()
            .offline_replicas
            .is_empty()
    );
    assert_eq!(
        cluster.propose(THREE, "led", 1, 1, &[THREE, ONE, TWO]).await,
        Ok(vec![3, 1, 2])
    );
}

#[tokio::test]
async fn a_broker_that_bounced_unseen_loses_what_it_led() {
    let mut cluster = Cluster3::of(&[TWO, THREE]).await;
    cluster.create("t", &[TWO, THREE]).await;
    cluster.create("alone", &[TWO]).await;
    let before = cluster.epoch(TWO);
    cluster.bounce(TWO).await;
    assert!(cluster.epoch(TWO) > before);
    assert_eq!(cluster.state("t").await, (3, 1, vec![3]));
    let (leader, epoch, isr) = cluster.state("alone").await;
    assert_eq!((leader, isr), (2, vec![2]));
    assert!(
        epoch >= 1,
        "an epoch is never shared by the batches before and after a loss"
    );
}

#[tokio::test]
async fn an_unreadable_registration_stops_nobody() {
    let mut cluster = Cluster3::of(&[TWO]).await;
    for (name, data) in [("7", "nonsense"), ("seven", "{}")] {
        let path = format!("{}/{name}", paths::BROKER_IDS);
        let data = Some(bytes::Bytes::from_static(data.as_bytes()));
        cluster
            .one
            .store
            .create(&path, data, CreateKind::Persistent)
            .await
            .unwrap();
    }
    cluster.arrive(THREE).await;
    cluster.create("t", &[THREE, TWO]).await;
    cluster.leave(THREE).await;
    assert_eq!(cluster.state("t").await, (2, 1, vec![2]));
}

#[tokio::test]
async fn a_broker_that_says_that_it_is_reached_elsewhere_is_told_of() {
    let cluster = Cluster3::of(&[TWO]).await;
    let epoch = cluster.epoch(TWO);
    let listener = [("PLAINTEXT".into(), "PLAINTEXT".into(), "elsewhere".into(), 1)];
    let data = Some(Broker::new(&listener, None, 0).encode());
    cluster
        .one
        .store
        .set(&paths::broker(TWO), data, None)
        .await
        .unwrap();
    let host = || {
        let image = cluster.one.cluster.get();
        let endpoint = image.brokers[&TWO].endpoint("PLAINTEXT").cloned();
        endpoint.unwrap().host
    };
    cluster.until(|| &*host() == "elsewhere").await;
    assert_eq!(cluster.epoch(TWO), epoch, "it is the same registration");
}

#[tokio::test]
async fn a_deletion_waits_for_a_broker_that_is_away() {
    let mut cluster = Cluster3::of(&[TWO]).await;
    cluster.create("t", &[ONE, TWO]).await;
    cluster.leave(TWO).await;
    assert_eq!(cluster.one.delete(&["t"]).await, [ErrorCode::None]);
    assert!(
        cluster.one.cluster.get().topic("t").is_none(),
        "nobody sees it any more"
    );
    assert_eq!(cluster.one.names(paths::TOPICS).await, ["t"]);
    assert!(cluster.stopped(TWO).is_empty());
    cluster.arrive(TWO).await;
    cluster.settle().await;
    assert!(cluster.stopped(TWO)[0].partitions[0].delete);
    assert!(cluster.one.names(paths::TOPICS).await.is_empty());
    assert!(cluster.one.names(paths::DELETE_TOPICS).await.is_empty());
}

#[tokio::test]
async fn isrs_are_changed_by_their_leader_alone_and_on_what_is_known() {
    let cluster = Cluster3::of(&[TWO, THREE]).await;
    cluster.create("t", &[TWO, THREE, ONE]).await;
    let propose = |sender, leader_epoch, partition_epoch, isr: &'static [BrokerId]| {
        cluster.propose(sender, "t", leader_epoch, partition_epoch, isr)
    };
    assert_eq!(propose(TWO, 0, 0, &[TWO, ONE]).await, Ok(vec![2, 1]));
    assert_eq!(
        propose(TWO, 0, 0, &[TWO, ONE]).await,
        Ok(vec![2, 1]),
        "asked twice"
    );
    assert_eq!(
        propose(TWO, 0, 0, &[TWO]).await,
        Err(ErrorCode::InvalidUpdateVersion)
    );
    assert_eq!(propose(TWO, 1, 1, &[TWO]).await, Err(ErrorCode::NotController));
    assert_eq!(propose(TWO, 0, 2, &[TWO]).await, Err(ErrorCode::NotController));
    assert_eq!(
        propose(TWO, -1, 1, &[TWO]).await,
        Err(ErrorCode::FencedLeaderEpoch)
    );
    assert_eq!(
        propose(THREE, 0, 1, &[THREE]).await,
        Err(ErrorCode::InvalidRequest)
    );
    assert_eq!(propose(TWO, 0, 1, &[ONE]).await, Err(ErrorCode::InvalidRequest));
    assert_eq!(
        propose(TWO, 0, 1, &[TWO, BrokerId(9)]).await,
        Err(ErrorCode::IneligibleReplica)
    );
    assert_eq!(propose(TWO, 0, 1, &[TWO, ONE, THREE]).await, Ok(vec![2, 1, 3]));
    let stale = cluster
        .one
        .controller
        .alter_partitions(TWO, BrokerEpoch(1), Vec::new())
        .await;
    assert_eq!(stale, Err(ErrorCode::StaleBrokerEpoch));
    let told = cluster.metadata(THREE);
    assert!(
        matches!(&told.last().unwrap().topics[0].partitions[0].1, PartitionMetadata::State(state) if state.isr.len() == 3)
    );
}

#[tokio::test]
async fn a_controlled_shutdown_hands_over_and_keeps_what_nobody_else_can_lead() {
    let cluster = Cluster3::of(&[TWO, THREE]).await;
    cluster.create("led", &[TWO, THREE]).await;
    cluster.create("followed", &[THREE, TWO]).await;
    cluster.create("lonely", &[TWO]).await;
    cluster.create("last", &[TWO, THREE]).await;
    assert_eq!(cluster.propose(TWO, "last", 0, 0, &[TWO]).await, Ok(vec![2]));
    let shut = |epoch| cluster.one.controller.controlled_shutdown(TWO, epoch);
    assert_eq!(shut(BrokerEpoch(0)).await, Err(ErrorCode::StaleBrokerEpoch));
    let away = |epoch| cluster.one.controller.controlled_shutdown(BrokerId(77), epoch);
    assert_eq!(away(BrokerEpoch(-1)).await, Err(ErrorCode::BrokerNotAvailable));
    assert_eq!(away(BrokerEpoch(0)).await, Err(ErrorCode::UnknownServerError));
    let remaining = shut(cluster.epoch(TWO)).await.unwrap();
    assert_eq!(remaining, [TopicPartition::new("last", 0)]);
    cluster.settle().await;
    assert_eq!(cluster.state("led").await, (3, 1, vec![3]));
    assert_eq!(cluster.state("followed").await, (3, 1, vec![3]));
    assert_eq!(cluster.state("last").await, (2, 0, vec![2]));
    let stops = cluster.stopped(TWO);
    assert!(
        stops
            .iter()
            .flat_map(|one| &one.partitions)
            .all(|one| !one.delete)
    );
    // Who leaves comes into no ISR, and is not elected.
    assert_eq!(
        cluster.propose(THREE, "led", 1, 1, &[THREE, TWO]).await,
        Err(ErrorCode::IneligibleReplica)
    );
    let elected = cluster
        .one
        .controller
        .elect_leaders(vec![TopicPartition::new("led", 0)], ElectionType::Preferred);
    assert_eq!(code(&elected.await[0]), ErrorCode::PreferredLeaderNotAvailable);
}

#[tokio::test]
async fn who_leaves_gets_no_new_partitions_while_there_are_enough_others() {
    let cluster = Cluster3::of(&[TWO, THREE]).await;
    let shut = cluster
        .one
        .controller
        .controlled_shutdown(TWO, cluster.epoch(TWO))
        .await;
    assert_eq!(shut, Ok(Vec::new()));
    let create = async |name: &str, partitions: i32, factor: i16| {
        let topic = NewTopic {
            name: name.to_owned(),
            partitions,
            replication_factor: factor,
            ..NewTopic::default()
        };
        cluster.one.controller.create_topics(vec![topic], false).await
    };
    let on_two = |name: &str| {
        let image = cluster.one.cluster.get();
        let partitions = image.topic(name).unwrap().partitions.values();
        partitions
            .filter(|partition| partition.replicas.contains(&TWO))
            .count()
    };
    assert_eq!(code(&create("t", 6, 1).await[0]), ErrorCode::None);
    assert_eq!(
        (
            cluster.one.cluster.get().topic("t").unwrap().partitions.len(),
            on_two("t")
        ),
        (6, 0)
    );
    let more = MorePartitions {
        name: "t".to_owned(),
        count: 12,
        assignments: None,
    };
    let grown = cluster.one.controller.create_partitions(vec![more], false).await;
    assert_eq!(grown, [Ok(())]);
    assert_eq!(
        (
            cluster.one.cluster.get().topic("t").unwrap().partitions.len(),
            on_two("t")
        ),
        (12, 0)
    );
    // There are only three.
    assert_eq!(code(&create("all", 2, 3).await[0]), ErrorCode::None);
    assert_eq!(on_two("all"), 2);
}

#[tokio::test]
async fn a_move_adds_waits_and_drops() {
    let cluster = Cluster3::of(&[TWO, THREE]).await;
    cluster.create("t", &[TWO, ONE]).await;
    let wish = Reassignment {
        partition: TopicPartition::new("t", 0),
        replicas: Some(vec![THREE, ONE]),
        any_number: true,
    };
    let answers = cluster
        .one
        .controller
        .alter_reassignments(vec![wish])
        .await
        .unwrap();
    assert_eq!(code(&answers[0]), ErrorCode::None);
    cluster.settle().await;
    assert_eq!(
        cluster.replicas("t").await,
        (vec![THREE, ONE, TWO], vec![THREE], vec![TWO])
    );
    assert_eq!(cluster.state("t").await, (2, 1, vec![2, 1]));
    assert_eq!(cluster.led(THREE, "t"), [(2, 1, vec![2, 1], true)]);
    assert!(cluster.stopped(TWO).is_empty());
    assert_eq!(
        cluster.propose(TWO, "t", 1, 1, &[TWO, ONE, THREE]).await,
        Ok(vec![2, 1, 3]),
        "and with that it has moved"
    );
    cluster.settle().await;
    assert_eq!(cluster.replicas("t").await, (vec![THREE, ONE], vec![], vec![]));
    let (leader, _, isr) = cluster.state("t").await;
    assert_eq!((leader, isr), (3, vec![1, 3]));
    assert!(cluster.stopped(TWO)[0].partitions[0].delete);
}

#[tokio::test]
async fn topics_and_wishes_that_others_write_are_taken_up() {
    let cluster = Cluster3::of(&[TWO]).await;
    let store = &cluster.one.store;
    let write = |path: String, text: &'static str| {
        let data = Some(bytes::Bytes::from_static(text.as_bytes()));
        store.create(&path, data, CreateKind::Persistent)
    };
    write(paths::topic("t"), r#"{"version":1,"partitions":{"0":[2,1]}}"#)
        .await
        .unwrap();
    cluster
        .until(|| cluster.one.cluster.get().partition("t", 0).is_some())
        .await;
    assert_eq!(cluster.state("t").await, (2, 0, vec![2, 1]));
    assert!(
        !cluster.one.cluster.get().topic("t").unwrap().id.is_zero(),
        "it has got an id"
    );

    let wish = r#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[1]}]}"#;
    write(paths::REASSIGN_PARTITIONS.to_owned(), wish).await.unwrap();
    cluster
        .until(|| cluster.one.cluster.get().partition("t", 0).unwrap().replicas == [ONE])
        .await;
    cluster.settle().await;
    assert!(store.get(paths::REASSIGN_PARTITIONS).await.unwrap().is_none());

    cluster.create("led", &[ONE, TWO]).await;
    let leader_of = |topic: &str| cluster.one.cluster.get().partition(topic, 0).unwrap().leader;
    // As a leader of old writes it itself: the notification says where to look.
    let state = r#"{"controller_epoch":1,"leader":2,"version":1,"leader_epoch":7,"isr":[2,1]}"#;
    let data = Some(bytes::Bytes::from_static(state.as_bytes()));
    store
        .set(&paths::partition_state("led", 0), data, None)
        .await
        .unwrap();
    let path = format!("{}/isr_change_", paths::ISR_CHANGE_NOTIFICATIONS);
    let notification = r#"{"version":1,"partitions":[{"topic":"led","partition":0}]}"#;
    write(path, notification).await.unwrap();
    cluster.until(|| leader_of("led") == Some(TWO)).await;
    let wish = r#"{"version":1,"partitions":[{"topic":"led","partition":0}]}"#;
    write(paths::PREFERRED_REPLICA_ELECTION.to_owned(), wish)
        .await
        .unwrap();
    cluster.until(|| leader_of("led") == Some(ONE)).await;
    cluster.settle().await;
    assert!(
        store
            .get(paths::PREFERRED_REPLICA_ELECTION)
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        cluster
            .one
            .names(paths::ISR_CHANGE_NOTIFICATIONS)
            .await
            .is_empty()
    );
    store
        .create(&paths::delete_topic("t"), None, CreateKind::Persistent)
        .await
        .unwrap();
    cluster
        .until(|| cluster.one.cluster.get().topic("t").is_none())
        .await;
}

#[tokio::test]
async fn a_move_that_an_old_tool_asks_for_may_take_its_time() {
    let cluster = Cluster3::of(&[TWO, THREE]).await;
    cluster.create("one", &[TWO, ONE]).await;
    cluster.create("two", &[TWO, ONE]).await;
    let wish = r#"{"version":1,"partitions":[{"topic":"one","partition":0,"replicas":[3,1]},{"topic":"two","partition":0,"replicas":[3,1]},{"topic":"none","partition":0,"replicas":[3,1]}]}"#;
    let data = Some(bytes::Bytes::from_static(wish.as_bytes()));
    let store = &cluster.one.store;
    store
        .create(paths::REASSIGN_PARTITIONS, data, CreateKind::Persistent)
        .await
        .unwrap();
    let led = |topic: &'static str| cluster.led(THREE, topic).len();
    cluster.until(|| led("one") + led("two") == 2).await;
    cluster.settle().await;
    let left = || async {
        let node = store.get(paths::REASSIGN_PARTITIONS).await.unwrap()?;
        let left = notifications::decode_reassignment(&node.data.unwrap()).unwrap();
        let topics: Vec<String> = left.keys().map(|name| name.topic.to_string()).collect();
        Some((topics.join(" "), node.stat.version))
    };
    assert_eq!(
        left().await,
        Some(("one two".to_owned(), 1)),
        "there is no third one"
    );
    cluster.settle().await;
    assert_eq!(
        left().await,
        Some(("one two".to_owned(), 1)),
        "nothing is written while nothing happens"
    );
    for (topic, others) in [("one", Some(("two".to_owned(), 2))), ("two", None)] {
        assert_eq!(
            cluster.propose(TWO, topic, 1, 1, &[TWO, ONE, THREE]).await,
            Ok(vec![2, 1, 3])
        );
        cluster.settle().await;
        assert_eq!(cluster.replicas(topic).await, (vec![THREE, ONE], vec![], vec![]));
        assert_eq!(left().await, others);
    }
}

#[tokio::test]
async fn partitions_that_others_add_to_a_topic_are_brought_up_and_its_id_stays() {
    let cluster = Cluster3::of(&[TWO]).await;
    let store = &cluster.one.store;
    let grow = |topic: &str, text: &'static str| {
        let data = Some(bytes::Bytes::from_static(text.as_bytes()));
        store.set(&paths::topic(topic), data, None)
    };
    let count = |topic: &str| {
        cluster
            .one
            .cluster
            .get()
            .topic(topic)
            .map(|topic| topic.partitions.len())
    };
    // One that the controller has made, and one that it has found.
    cluster.create("made", &[ONE, TWO]).await;
    let found = Some(bytes::Bytes::from_static(
        br#"{"version":1,"partitions":{"0":[2,1]}}"#,
    ));
    store
        .create(&paths::topic("found"), found, CreateKind::Persistent)
        .await
        .unwrap();
    cluster.until(|| count("found") == Some(1)).await;
    for topic in ["made", "found"] {
        let id = cluster.one.cluster.get().topic(topic).unwrap().id;
        // Twice, as the watch is there once; the known partition stays where it is, whatever a tool says of it.
        grow(topic, r#"{"version":1,"partitions":{"0":[2],"1":[2,1]}}"#)
            .await
            .unwrap();
        cluster.until(|| count(topic) == Some(2)).await;
        grow(
            topic,
            r#"{"version":1,"partitions":{"0":[1],"1":[2,1],"2":[1],"3":[2]}}"#,
        )
        .await
        .unwrap();
        cluster.until(|| count(topic) == Some(4)).await;
        cluster.settle().await;
        let node = store.get(&paths::topic(topic)).await.unwrap().unwrap();
        let node = Topic::decode(&node.data.unwrap()).unwrap();
        assert_eq!(node.id, Some(id), "old tools do not know of it");
        assert_eq!(node.partitions[&0].len(), 2);
        assert_eq!(node.partitions[&3], [TWO]);
        let (state, _) = cluster.one.state(topic, 1).await;
        assert_eq!(numbers(&state), (2, 0, vec![2, 1]));
        assert_eq!(cluster.led(TWO, topic).last().unwrap(), &(2, 0, vec![2], true));
        assert!(store.get(&paths::new_partitions(topic)).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_topic_of_more_partitions_than_one_change_holds_is_deleted() {
    let cluster = Cluster3::of(&[]).await;
    let topic = NewTopic {
        name: "t".to_owned(),
        partitions: 2_100,
        replication_factor: 1,
        assignments: Vec::new(),
        configs: vec![("retention.ms".to_owned(), Some("1".to_owned()))],
    };
    let answers = cluster.one.controller.create_topics(vec![topic], false).await;
    assert_eq!(code(&answers[0]), ErrorCode::None);
    let answers = cluster.one.controller.delete_topics(vec!["t".into()]).await;
    assert_eq!(code(&answers[0]), ErrorCode::None);
    cluster.settle().await;
    for path in [paths::DELETE_TOPICS, paths::TOPICS, paths::TOPIC_CONFIGS] {
        assert!(cluster.one.names(path).await.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn a_topic_that_is_to_be_deleted_grows_no_more() {
    let mut cluster = Cluster3::of(&[TWO]).await;
    cluster.create("t", &[ONE, TWO]).await;
    cluster.leave(TWO).await;
    assert_eq!(cluster.one.delete(&["t"]).await, [ErrorCode::None]);
    let store = Arc::clone(&cluster.one.store);
    let more = Some(bytes::Bytes::from_static(
        br#"{"version":1,"partitions":{"0":[1,2],"1":[1]}}"#,
    ));
    store.set(&paths::topic("t"), more, None).await.unwrap();
    cluster.settle().await;
    assert_eq!(cluster.replicas("t").await.0, [ONE, TWO]);
    let node = store.get(&paths::topic("t")).await.unwrap().unwrap();
    let node = Topic::decode(&node.data.unwrap()).unwrap();
    assert_eq!(node.partitions.len(), 1);
    cluster.arrive(TWO).await;
    cluster.settle().await;
    assert!(cluster.one.names(paths::TOPICS).await.is_empty());
}

#[tokio::test]
async fn a_disk_that_fails_on_a_broker_that_does_not_rule_costs_it_its_leaders() {
    let server = MemoryServer::new();
    let others = Arc::new(Others::default());
    let one = start_with(
        Arc::new(server.connect()),
        fresh_broker(),
        ONE,
        &[],
        others.clone(),
    )
    .await;
    let two = start_with(
        Arc::new(server.connect()),
        fresh_broker(),
        TWO,
        &[],
        others.clone(),
    )
    .await;
    let cluster = Cluster3 {
        server,
        others: Others::clone(&others),
        sessions: BTreeMap::new(),
        one,
    };
    cluster
        .until(|| cluster.one.cluster.get().brokers.contains_key(&TWO))
        .await;
    cluster.create("t", &[TWO, ONE]).await;
    assert_eq!(cluster.state("t").await, (2, 0, vec![2, 1]));
    let failed = TopicPartition::new("t", 0);
    let fake = cluster.others.0.lock().unwrap()[&TWO].clone();
    fake.told().broken.insert(failed.clone());
    two.controller.replicas_offline(vec![failed]).await;
    let leader = || cluster.one.cluster.get().partition("t", 0).unwrap().leader;
    cluster.until(|| leader() == Some(ONE)).await;
    assert_eq!(cluster.state("t").await, (1, 1, vec![1]));
    assert!(
        cluster
            .one
            .names(paths::LOG_DIR_EVENT_NOTIFICATIONS)
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn another_broker_rules_when_the_controllers_session_is_over_and_the_old_one_writes_no_more() {
    let server = MemoryServer::new();
    let first = server.connect();
    let others = Arc::new(Others::default());
    let one = start_with(Arc::new(first.clone()), fresh_broker(), ONE, &[], others.clone()).await;
    assert!(one.controller.is_active());
    let two = start_with(
        Arc::new(server.connect()),
        fresh_broker(),
        TWO,
        &[],
        others.clone(),
    )
    .await;
    assert!(!two.controller.is_active());
    first.expire();
    for _ in 0..2000 {
        if two.controller.is_active() {
            break;
        }
        clock::sleep(Duration::from_millis(1)).await;
    }
    assert!(two.controller.settled().await);
    let refused = one.create(vec![super::controller_test::topic("t", 1)]).await;
    assert_ne!(refused, [ErrorCode::None]);
    assert_eq!(
        two.create(vec![super::controller_test::topic("u", 1)]).await,
        [ErrorCode::None]
    );
    let stale = vec![Operation::check(paths::CONTROLLER_EPOCH, Some(1))];
    assert!(two.store.multi(stale).await.is_err());
}
