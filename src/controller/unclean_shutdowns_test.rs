//! Which states a mark speaks of: those of controllers that may not have seen that its broker was gone and back.

use super::cluster_test::{Cluster3, ONE, Others, THREE, TWO, node};
use super::controller_test::{fresh_broker, start_with};
use super::*;
use crate::base::ids::{ControllerEpoch, LeaderEpoch};
use crate::store::memory::{MemoryServer, MemoryStore};
use crate::store::znodes::{OurBroker, PartitionState, UncleanShutdown, encode_epoch, paths};

/// What is left of a cluster whose controller is gone: 2 led `t`, with 3 in sync, and its power failed while nobody looked. It
/// is registered again.
struct Leaderless {
    server: MemoryServer,
    store: Arc<dyn Store>,
    others: Others,
    sessions: std::collections::BTreeMap<BrokerId, MemoryStore>,
}

impl Leaderless {
    async fn begin() -> Self {
        let cluster = Cluster3::of(&[TWO, THREE]).await;
        cluster.create("t", &[TWO, THREE]).await;
        // It has lost what 3 has: that was acknowledged.
        cluster.end(TWO, "t", 0, 9);
        cluster.end(THREE, "t", 0, 10);
        let Cluster3 {
            server,
            others,
            mut sessions,
            one,
        } = cluster;
        one.shutdown.begin();
        sessions.remove(&TWO).unwrap().expire();
        let session = server.connect();
        let store: Arc<dyn Store> = Arc::new(session.clone());
        registration::note_unclean_shutdown(&store, TWO).await.unwrap();
        registration::register(&store, TWO, &node(TWO), &OurBroker::this(true))
            .await
            .unwrap();
        sessions.insert(TWO, session);
        Self {
            server,
            store,
            others,
            sessions,
        }
    }

    /// A controller writes that 3 has left the ISR, and that 2 leads.
    async fn write(&self, controller_epoch: i32) {
        let state = PartitionState {
            controller_epoch: ControllerEpoch(controller_epoch),
            leader: Some(TWO),
            leader_epoch: LeaderEpoch(1),
            isr: vec![TWO],
            recovering: false,
        };
        let path = paths::partition_state("t", 0);
        self.store.set(&path, Some(state.encode()), None).await.unwrap();
    }

    /// The next controller begins.
    async fn go_on(mut self) -> Cluster3 {
        self.sessions.remove(&ONE).unwrap().expire();
        let session = self.server.connect();
        let links = Arc::new(self.others.clone());
        let one = start_with(Arc::new(session.clone()), fresh_broker(), ONE, &[], links).await;
        self.sessions.insert(ONE, session);
        let cluster = Cluster3 {
            server: self.server,
            others: self.others,
            sessions: self.sessions,
            one,
        };
        cluster.settle().await;
        cluster
    }
}

#[tokio::test]
async fn a_state_that_was_written_by_who_did_not_see_the_power_cut_makes_nobody_leader() {
    let cluster = Leaderless::begin().await;
    let mark = cluster.store.get(&paths::unclean_shutdown(TWO)).await.unwrap();
    let mark = UncleanShutdown::decode(&mark.unwrap().data.unwrap()).unwrap();
    assert_eq!(mark.controller_epoch, ControllerEpoch(1));
    // 3 stops under control, as the controller of before hears before it learns of what became of 2; and then it ends itself.
    cluster.write(1).await;
    let cluster = cluster.go_on().await;
    cluster
        .until(|| cluster.led(THREE, "t").last().is_some_and(|led| led.0 == 3))
        .await;
    let (leader, _, isr) = cluster.state("t").await;
    assert_eq!((leader, isr), (3, vec![3]), "only 3 has what was acknowledged");
    assert!(cluster.marks().await.is_empty());
}

#[tokio::test]
async fn who_leads_by_the_word_of_a_controller_that_saw_it_back_goes_on_alone() {
    let mut cluster = Leaderless::begin().await;
    // A broker of Kafka is elected, which knows no marks, and has 2 lead; 3 ends, and has less than 2 from now on.
    let epoch = Some(encode_epoch(ControllerEpoch(2)));
    cluster
        .store
        .set(paths::CONTROLLER_EPOCH, epoch, None)
        .await
        .unwrap();
    cluster.sessions.remove(&THREE).unwrap().expire();
    cluster.write(2).await;
    let cluster = cluster.go_on().await;
    assert_eq!(cluster.state("t").await, (2, 1, vec![2]));
    assert!(cluster.marks().await.is_empty());
}

#[tokio::test]
async fn a_mark_that_does_not_say_when_speaks_of_every_state() {
    let mut cluster = Leaderless::begin().await;
    // As a version before this one wrote the mark, and registered behind it.
    cluster.sessions.remove(&TWO).unwrap().expire();
    let session = cluster.server.connect();
    cluster.store = Arc::new(session.clone());
    cluster.sessions.insert(TWO, session);
    let path = paths::unclean_shutdown(TWO);
    cluster.store.set(&path, None, None).await.unwrap();
    let registered = [
        (paths::our_broker(TWO), OurBroker::this(true).encode()),
        (paths::broker(TWO), node(TWO).encode()),
    ];
    for (path, data) in registered {
        let kind = CreateKind::Ephemeral;
        cluster.store.create(&path, Some(data), kind).await.unwrap();
    }
    cluster.write(1).await;
    let cluster = cluster.go_on().await;
    cluster
        .until(|| cluster.led(THREE, "t").last().is_some_and(|led| led.0 == 3))
        .await;
    assert_eq!(cluster.state("t").await.0, 3);
}

#[tokio::test]
async fn one_whose_session_ends_while_a_controller_begins_may_have_more_than_who_lost_something() {
    let mut cluster = Leaderless::begin().await;
    cluster.write(1).await;
    // Its registration is read, and what it can do is not there any more.
    let session = cluster.sessions.remove(&THREE).unwrap().id();
    cluster
        .server
        .expire_before_children_of(paths::OUR_BROKERS, session);
    let mut cluster = cluster.go_on().await;
    let (leader, _, isr) = cluster.state("t").await;
    assert_eq!((leader, isr), (-1, vec![2]), "2 has less than 3, which is away");
    cluster.arrive(THREE).await;
    cluster
        .until(|| cluster.led(THREE, "t").last().is_some_and(|led| led.0 == 3))
        .await;
    let (leader, _, isr) = cluster.state("t").await;
    assert_eq!((leader, isr), (3, vec![3]));
}
