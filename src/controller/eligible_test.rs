//! Brokers that come back without what they had not synced, as the controller of a cluster sees them.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::cluster_test::{Cluster3, ONE, Others, THREE, TWO};
use super::controller_test::{code, fresh_broker, start_with};
use super::request::ElectionType;
use super::*;
use crate::base::ids::{LeaderEpoch, Offset};
use crate::base::random::Random;
use crate::metadata::control::LogEnd;
use crate::store::CreateKind;
use crate::store::memory::MemoryServer;
use crate::store::znodes::{EligibleReplicas, EntityConfig, paths};

impl Cluster3 {
    /// A broker comes that does not have what it had not synced when its power failed.
    pub(super) async fn arrive_after_a_power_cut(&mut self, id: BrokerId) {
        registration::note_unclean_shutdown(&self.one.store, id)
            .await
            .unwrap();
        self.arrive(id).await;
        self.settle().await;
    }

    /// Says where the log of a broker's replica ends.
    pub(super) fn end(&self, id: BrokerId, topic: &str, epoch: i32, offset: i64) {
        let mut others = self.others.0.lock().unwrap();
        let fake = others.entry(id).or_insert_with(fresh_broker);
        let end = LogEnd {
            epoch: LeaderEpoch(epoch),
            offset: Offset(offset),
        };
        fake.told().ends.insert(TopicPartition::new(topic, 0), end);
    }

    /// Who is eligible and who suspect, as the store has it.
    pub(super) async fn kept(&self, topic: &str) -> Option<(Vec<i32>, Vec<i32>)> {
        let node = self
            .one
            .store
            .get(&paths::eligible_replicas(topic, 0))
            .await
            .unwrap()?;
        let kept = EligibleReplicas::decode(&node.data.unwrap()).unwrap();
        let plain = |ids: &[BrokerId]| ids.iter().map(|id| id.get()).collect();
        Some((plain(&kept.eligible), plain(&kept.suspect)))
    }

    pub(super) async fn marks(&self) -> Vec<String> {
        self.one.names(paths::UNCLEAN_SHUTDOWNS).await
    }
}

fn two_in_sync() -> Vec<(String, Option<String>)> {
    vec![("min.insync.replicas".to_owned(), Some("2".to_owned()))]
}

#[tokio::test]
async fn the_last_in_sync_whose_power_failed_does_not_lead_over_one_that_has_all() {
    let mut cluster = Cluster3::of(&[TWO, THREE]).await;
    cluster.create_with("t", &[TWO, THREE], two_in_sync()).await;
    cluster.create("u", &[TWO, THREE]).await;
    cluster.leave(THREE).await;
    assert_eq!(cluster.state("t").await, (2, 1, vec![2]));
    assert_eq!(cluster.kept("t").await, Some((vec![3], vec![])));
    assert_eq!(cluster.kept("u").await, None, "one is enough to acknowledge");
    cluster.leave(TWO).await;
    assert_eq!(cluster.state("t").await, (-1, 2, vec![2]));
    assert_eq!(cluster.kept("t").await, Some((vec![3], vec![])));

    cluster.arrive_after_a_power_cut(TWO).await;
    assert_eq!(cluster.state("t").await, (-1, 2, vec![2]), "3 may have more");
    assert_eq!(cluster.kept("t").await, Some((vec![3], vec![2])));
    assert_eq!(
        cluster.state("u").await,
        (-1, 2, vec![2]),
        "so it may of this one"
    );
    assert!(cluster.marks().await.is_empty());

    cluster.end(TWO, "u", 1, 9);
    cluster.end(THREE, "u", 0, 10);
    cluster.arrive(THREE).await;
    cluster
        .until(|| cluster.led(TWO, "u").last() == Some(&(2, 3, vec![2], false)))
        .await;
    assert_eq!(cluster.state("t").await, (3, 3, vec![3]));
    assert_eq!(cluster.kept("t").await, None);
    assert_eq!(cluster.led(TWO, "t").last(), Some(&(3, 3, vec![3], false)));
}

#[tokio::test]
async fn of_two_whose_power_failed_the_longer_log_leads() {
    let mut cluster = Cluster3::of(&[TWO, THREE]).await;
    cluster.create_with("t", &[TWO, THREE], two_in_sync()).await;
    cluster.leave(THREE).await;
    cluster.leave(TWO).await;
    cluster.end(TWO, "t", 0, 10);
    cluster.end(THREE, "t", 0, 11);
    cluster.arrive_after_a_power_cut(TWO).await;
    assert_eq!(cluster.state("t").await, (-1, 2, vec![2]));
    cluster.arrive_after_a_power_cut(THREE).await;
    cluster
        .until(|| cluster.led(THREE, "t").last() == Some(&(3, 3, vec![3], false)))
        .await;
    assert_eq!(cluster.state("t").await, (3, 3, vec![3]));
    assert_eq!(cluster.kept("t").await, None);
}

#[tokio::test]
async fn where_a_log_ended_before_somebody_led_is_not_where_it_ends() {
    let mut cluster = Cluster3::of(&[TWO, THREE]).await;
    cluster.create_with("t", &[TWO, THREE], two_in_sync()).await;
    cluster.leave(THREE).await;
    cluster.leave(TWO).await;
    cluster.end(TWO, "t", 0, 100);
    let slow = {
        let others = cluster.others.0.lock().unwrap();
        Arc::clone(&others[&TWO].told().slow_ends)
    };
    let held = slow.lock_owned().await;
    cluster.arrive_after_a_power_cut(TWO).await;
    cluster.arrive(THREE).await;
    cluster.settle().await;
    assert_eq!(cluster.state("t").await, (3, 3, vec![3]), "it has all");
    cluster.leave(THREE).await;
    cluster.end(THREE, "t", 3, 50);
    cluster.arrive_after_a_power_cut(THREE).await;
    assert_eq!(cluster.state("t").await.0, -1);
    // As it did what the leader said.
    cluster.end(TWO, "t", 3, 40);
    drop(held);
    cluster
        .until(|| {
            cluster
                .led(THREE, "t")
                .last()
                .is_some_and(|led| led.0 != -1 && led.1 > 3)
        })
        .await;
    assert_eq!(cluster.state("t").await.0, 3);
}

#[tokio::test]
async fn what_is_to_be_deleted_is_led_by_nobody_any_more() {
    let mut cluster = Cluster3::of(&[TWO, THREE]).await;
    cluster.create_with("t", &[TWO, THREE], two_in_sync()).await;
    cluster.leave(THREE).await;
    cluster.leave(TWO).await;
    cluster.end(TWO, "t", 0, 10);
    cluster.end(THREE, "t", 0, 11);
    let slow = {
        let others = cluster.others.0.lock().unwrap();
        // The deletion cannot end.
        others[&THREE].told().is_mute = true;
        Arc::clone(&others[&TWO].told().slow_ends)
    };
    let held = slow.lock_owned().await;
    cluster.arrive_after_a_power_cut(TWO).await;
    cluster.arrive_after_a_power_cut(THREE).await;
    assert_eq!(cluster.one.delete(&["t"]).await, [ErrorCode::None]);
    cluster.settle().await;
    let before = cluster.led(TWO, "t");
    // It was asked before; who would lead by it would have the replica made anew that was just deleted.
    drop(held);
    cluster.settle().await;
    assert_eq!(cluster.state("t").await.0, -1);
    assert_eq!(cluster.led(TWO, "t"), before);
}

#[tokio::test]
async fn an_unclean_election_does_not_wait_for_those_who_may_have_more() {
    let mut cluster = Cluster3::of(&[TWO, THREE]).await;
    cluster.create_with("t", &[TWO, THREE], two_in_sync()).await;
    cluster.leave(THREE).await;
    cluster.leave(TWO).await;
    cluster.arrive_after_a_power_cut(TWO).await;
    let partition = TopicPartition::new("t", 0);
    let answers = cluster
        .one
        .controller
        .elect_leaders(vec![partition], ElectionType::Unclean)
        .await;
    assert_eq!(code(&answers[0]), ErrorCode::None);
    assert_eq!(cluster.state("t").await, (2, 3, vec![2]));
    assert_eq!(cluster.kept("t").await, None);
}

#[tokio::test]
async fn the_next_controller_knows_who_is_eligible_and_who_suspect() {
    let mut cluster = Cluster3::of(&[TWO, THREE]).await;
    cluster.create_with("t", &[TWO, THREE], two_in_sync()).await;
    cluster.leave(THREE).await;
    cluster.leave(TWO).await;
    cluster.arrive_after_a_power_cut(TWO).await;
    assert_eq!(cluster.kept("t").await, Some((vec![3], vec![2])));
    registration::note_unclean_shutdown(&cluster.one.store, THREE)
        .await
        .unwrap();
    let mut cluster = cluster.rule_anew().await;
    assert_eq!(cluster.state("t").await, (-1, 2, vec![2]));
    assert_eq!(cluster.marks().await, ["3"], "its broker is not there yet");
    cluster.end(TWO, "t", 0, 11);
    cluster.end(THREE, "t", 0, 10);
    cluster.arrive(THREE).await;
    cluster
        .until(|| cluster.led(TWO, "t").last() == Some(&(2, 3, vec![2], false)))
        .await;
    assert_eq!(cluster.state("t").await, (2, 3, vec![2]));
    assert!(cluster.marks().await.is_empty());
}

/// The power of the last one in sync fails, and it is back before its old session is over: it has said what it lost when
/// another controller begins, and has not registered yet.
#[tokio::test]
async fn a_mark_is_left_to_the_registration_that_it_is_for() {
    let mut cluster = Cluster3::of(&[TWO, THREE]).await;
    cluster.create_with("t", &[TWO, THREE], two_in_sync()).await;
    cluster.leave(THREE).await;
    assert_eq!(cluster.state("t").await, (2, 1, vec![2]));
    registration::note_unclean_shutdown(&cluster.one.store, TWO)
        .await
        .unwrap();
    let mut cluster = cluster.rule_anew().await;
    assert_eq!(cluster.marks().await, ["2"]);
    cluster.leave(TWO).await;
    cluster.arrive(TWO).await;
    cluster.settle().await;
    assert_eq!(cluster.state("t").await, (-1, 2, vec![2]), "3 may have more");
    assert_eq!(cluster.kept("t").await, Some((vec![3], vec![2])));
    assert!(cluster.marks().await.is_empty());
}

#[tokio::test]
async fn what_is_kept_of_a_topic_goes_with_the_topic_and_not_with_a_node_that_cannot_be_read() {
    let server = MemoryServer::new();
    let store: Arc<dyn Store> = Arc::new(server.connect());
    registration::prepare(&store, None, &Random::from_seed(3))
        .await
        .unwrap();
    let kept = Some(Bytes::from_static(b"{}"));
    for topic in ["gone", "odd"] {
        let path = paths::eligible_replicas_of_topic(topic);
        store.create(&path, None, CreateKind::Persistent).await.unwrap();
        let path = paths::eligible_replicas(topic, 0);
        store
            .create(&path, kept.clone(), CreateKind::Persistent)
            .await
            .unwrap();
    }
    let path = paths::topic("odd");
    let odd = Some(Bytes::from_static(b"?"));
    store.create(&path, odd, CreateKind::Persistent).await.unwrap();
    let links: Arc<dyn Links> = Arc::new(Others::default());
    let one = start_with(Arc::new(server.connect()), fresh_broker(), ONE, &[], links).await;
    assert_eq!(one.names(paths::ELIGIBLE_REPLICAS).await, ["odd"]);
    let path = paths::eligible_replicas_of_topic("odd");
    assert_eq!(one.names(&path).await, ["0"]);
}

#[tokio::test]
async fn an_isr_that_grows_again_forgets_who_was_eligible() {
    let mut cluster = Cluster3::of(&[TWO, THREE]).await;
    cluster.create_with("t", &[TWO, ONE, THREE], two_in_sync()).await;
    assert_eq!(cluster.propose(TWO, "t", 0, 0, &[TWO]).await, Ok(vec![2]));
    assert_eq!(cluster.kept("t").await, Some((vec![1, 3], vec![])));
    assert_eq!(
        cluster.propose(TWO, "t", 0, 1, &[TWO, THREE]).await,
        Ok(vec![2, 3])
    );
    assert_eq!(cluster.kept("t").await, None);
    cluster.leave(THREE).await;
    assert_eq!(cluster.kept("t").await, Some((vec![3], vec![])));
    // What stood beside a state that somebody else has written over is void.
    let path = paths::partition_state("t", 0);
    let node = cluster.one.store.get(&path).await.unwrap().unwrap();
    cluster.one.store.set(&path, node.data, None).await.unwrap();
    cluster.leave(TWO).await;
    assert_eq!(cluster.kept("t").await, None);
    cluster.arrive_after_a_power_cut(TWO).await;
    assert_eq!(cluster.kept("t").await, Some((vec![], vec![2])));
    cluster.end(TWO, "t", 0, 9);
    cluster.end(THREE, "t", 0, 8);
    cluster.one.broker.told().ends.insert(
        TopicPartition::new("t", 0),
        LogEnd {
            epoch: LeaderEpoch(0),
            offset: Offset(10),
        },
    );
    cluster.arrive(THREE).await;
    cluster
        .until(|| cluster.led(TWO, "t").last().is_some_and(|led| led.0 == 1))
        .await;
}

#[tokio::test]
async fn nobody_is_eligible_where_fewer_can_acknowledge() {
    let mut cluster = Cluster3::of(&[TWO, THREE]).await;
    cluster.create_with("t", &[TWO, THREE], two_in_sync()).await;
    cluster.leave(THREE).await;
    assert_eq!(cluster.kept("t").await, Some((vec![3], vec![])));
    let configs = EntityConfig::new(BTreeMap::from([(
        "min.insync.replicas".to_owned(),
        "1".to_owned(),
    )]));
    let store = &cluster.one.store;
    let path = paths::topic_config("t");
    store.set(&path, Some(configs.encode()), None).await.unwrap();
    let change = CreateKind::PersistentSequential;
    store.create(&paths::config_change(), None, change).await.unwrap();
    for _ in 0..2000 {
        if cluster.kept("t").await.is_none() {
            break;
        }
        clock::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(cluster.kept("t").await, None);
    cluster.leave(TWO).await;
    cluster.arrive_after_a_power_cut(TWO).await;
    assert_eq!(cluster.kept("t").await, Some((vec![], vec![2])));
}
