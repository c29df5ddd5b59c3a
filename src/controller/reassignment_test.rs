//! Moves in a cluster, as its controller sees them: nothing that was acknowledged goes with a replica, and none is
//! forgotten, whenever the controller ends.

use super::cluster_test::{Cluster3, ONE, THREE, TWO};
use super::controller_test::start_with;
use super::request::ElectionType;
use super::*;
use crate::store::memory::MemoryStore;
use crate::store::znodes::{PartitionState, Topic, paths};

const FOUR: BrokerId = BrokerId(4);

fn name() -> TopicPartition {
    TopicPartition::new("t", 0)
}

impl Cluster3 {
    /// A topic on its way from broker 2 to 3 and 4, of which 3 is in sync.
    async fn half_way() -> Self {
        let cluster = Self::with_topic(&[TWO, THREE, FOUR], &[TWO]).await;
        assert_eq!(cluster.reassign(Some(&[THREE, FOUR])).await, Ok(()));
        assert_eq!(
            cluster.propose(TWO, "t", 1, 1, &[TWO, THREE]).await,
            Ok(vec![2, 3])
        );
        cluster
    }

    /// Partition 0 of "t" is on these brokers.
    async fn with_topic(others: &[BrokerId], replicas: &[BrokerId]) -> Self {
        let cluster = Self::of(others).await;
        cluster.create("t", replicas).await;
        cluster
    }

    /// Moves it; `None` takes its move back.
    pub(super) async fn reassign(&self, replicas: Option<&[BrokerId]>) -> Result<(), AdminError> {
        let wish = Reassignment {
            partition: name(),
            replicas: replicas.map(<[BrokerId]>::to_vec),
            any_number: true,
        };
        let answers = self.one.controller.alter_reassignments(vec![wish]).await?;
        self.settle().await;
        answers.into_iter().next().unwrap()
    }

    async fn elect_first(&self) {
        let first = ElectionType::Preferred;
        let answers = self.one.controller.elect_leaders(vec![name()], first).await;
        assert_eq!(answers, [Ok(())]);
        self.settle().await;
    }

    fn set_mute(&self, id: BrokerId, is_mute: bool) {
        self.others.0.lock().unwrap()[&id].told().is_mute = is_mute;
    }

    /// How often a broker was told to delete its replica.
    fn deletions(&self, id: BrokerId) -> usize {
        let stopped = self.stopped(id);
        let all = stopped.iter().flat_map(|request| &request.partitions);
        all.filter(|stop| stop.delete && stop.partition == name()).count()
    }

    /// Where clients see the replicas.
    fn seen(&self) -> Vec<BrokerId> {
        self.one.cluster.get().partition("t", 0).unwrap().replicas.clone()
    }

    /// The controller ends, and the next one begins.
    pub(super) async fn rule_anew(self) -> Self {
        self.rule_anew_after(async |_| {}).await
    }

    /// The same; somebody else does something in between.
    pub(super) async fn rule_anew_after(self, between: impl AsyncFnOnce(&MemoryStore)) -> Self {
        let Self {
            server,
            others,
            mut sessions,
            one,
        } = self;
        let broker = one.stop().await;
        sessions.remove(&ONE).unwrap().expire();
        between(&server.connect()).await;
        let first = server.connect();
        let links = Arc::new(others.clone());
        let one = start_with(Arc::new(first.clone()), broker, ONE, &[], links).await;
        sessions.insert(ONE, first);
        let cluster = Self {
            server,
            others,
            sessions,
            one,
        };
        cluster.settle().await;
        cluster
    }
}

#[tokio::test]
async fn a_move_is_not_taken_back_to_those_who_lack_what_was_acknowledged() {
    let mut cluster = Cluster3::half_way().await;
    cluster.leave(TWO).await;
    assert_eq!(cluster.state("t").await, (3, 2, vec![3]));
    let refused = cluster.reassign(None).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidReplicaAssignment);
    assert!(refused.message.unwrap().contains("in sync"));
    assert_eq!(cluster.state("t").await, (3, 2, vec![3]));
    let moves = (vec![THREE, FOUR, TWO], vec![THREE, FOUR], vec![TWO]);
    assert_eq!(cluster.replicas("t").await, moves);

    // Back to the same place, as a move: it waits like any other.
    assert_eq!(cluster.reassign(Some(&[TWO])).await, Ok(()));
    assert_eq!(cluster.state("t").await, (3, 3, vec![3]));
    let returns = (vec![TWO, THREE, FOUR], vec![], vec![THREE, FOUR]);
    assert_eq!(cluster.replicas("t").await, returns);
    cluster.arrive(TWO).await;
    cluster.settle().await;
    assert_eq!((cluster.deletions(THREE), cluster.deletions(FOUR)), (0, 0));
    assert_eq!(
        cluster.propose(THREE, "t", 3, 4, &[THREE, TWO]).await,
        Ok(vec![3, 2])
    );
    cluster.settle().await;
    assert_eq!(cluster.state("t").await, (2, 4, vec![2]));
    assert_eq!(cluster.replicas("t").await, (vec![TWO], vec![], vec![]));
    assert_eq!((cluster.deletions(THREE), cluster.deletions(FOUR)), (1, 1));
}

#[tokio::test]
async fn a_leader_that_another_goal_drops_hands_over_first() {
    let cluster = Cluster3::half_way().await;
    cluster.elect_first().await;
    assert_eq!(cluster.state("t").await, (3, 2, vec![2, 3]));
    assert_eq!(cluster.reassign(Some(&[ONE])).await, Ok(()));
    assert_eq!(cluster.state("t").await, (2, 3, vec![2]));
    assert_eq!(
        cluster.replicas("t").await,
        (vec![ONE, TWO], vec![ONE], vec![TWO])
    );
    assert_eq!(cluster.led(TWO, "t").last(), Some(&(2, 3, vec![2], false)));
    assert_eq!((cluster.deletions(THREE), cluster.deletions(FOUR)), (1, 1));
    assert_eq!(cluster.reassign(None).await, Ok(()));
    assert_eq!(cluster.state("t").await, (2, 4, vec![2]));
    assert_eq!(cluster.replicas("t").await, (vec![TWO], vec![], vec![]));
}

#[tokio::test]
async fn a_new_goal_keeps_those_who_alone_have_everything_until_it_is_reached() {
    let mut cluster = Cluster3::half_way().await;
    cluster.leave(TWO).await;
    assert_eq!(cluster.reassign(Some(&[ONE])).await, Ok(()));
    let moves = (vec![ONE, TWO, THREE, FOUR], vec![ONE], vec![TWO, THREE, FOUR]);
    assert_eq!(cluster.replicas("t").await, moves);
    assert_eq!(cluster.state("t").await, (3, 3, vec![3]));
    assert_eq!((cluster.deletions(THREE), cluster.deletions(FOUR)), (0, 0));
    assert_eq!(
        cluster.propose(THREE, "t", 3, 4, &[THREE, ONE]).await,
        Ok(vec![3, 1])
    );
    cluster.settle().await;
    assert_eq!(cluster.state("t").await, (1, 4, vec![1]));
    assert_eq!(cluster.replicas("t").await, (vec![ONE], vec![], vec![]));
    assert_eq!((cluster.deletions(THREE), cluster.deletions(FOUR)), (1, 1));
}

#[tokio::test]
async fn nobody_is_dropped_by_a_plan_that_the_state_has_overtaken() {
    let cluster = Cluster3::half_way().await;
    cluster.elect_first().await;
    // As a leader of old writes it itself, and has not said so yet.
    let (state, _) = cluster.one.state("t", 0).await;
    let alone = PartitionState {
        isr: vec![THREE],
        ..state
    };
    let path = paths::partition_state("t", 0);
    cluster
        .one
        .store
        .set(&path, Some(alone.encode()), None)
        .await
        .unwrap();
    assert_eq!(cluster.reassign(None).await, Ok(()));
    assert_eq!(cluster.state("t").await, (3, 2, vec![3]));
    let returns = (vec![TWO, THREE, FOUR], vec![], vec![THREE, FOUR]);
    assert_eq!(cluster.replicas("t").await, returns);
    assert_eq!((cluster.deletions(THREE), cluster.deletions(FOUR)), (0, 0));
    assert_eq!(
        cluster.propose(THREE, "t", 2, 4, &[THREE, TWO]).await,
        Ok(vec![3, 2])
    );
    cluster.settle().await;
    assert_eq!(cluster.state("t").await, (2, 3, vec![2]));
    assert_eq!((cluster.deletions(THREE), cluster.deletions(FOUR)), (1, 1));
}

#[tokio::test]
async fn the_isr_is_never_more_than_the_replicas() {
    let cluster = Cluster3::with_topic(&[TWO, THREE, FOUR], &[TWO, ONE]).await;
    cluster.server.keep_journal();
    // Another goal, back, forth, and with one less.
    assert_eq!(cluster.reassign(Some(&[THREE, FOUR])).await, Ok(()));
    let isr = [TWO, ONE, THREE];
    assert_eq!(cluster.propose(TWO, "t", 1, 1, &isr).await, Ok(vec![2, 1, 3]));
    assert_eq!(cluster.reassign(Some(&[FOUR, ONE])).await, Ok(()));
    assert_eq!(cluster.state("t").await, (2, 2, vec![2, 1]));
    let isr = [TWO, ONE, FOUR];
    assert!(cluster.propose(TWO, "t", 2, 3, &isr).await.is_ok());
    cluster.settle().await;
    let (_, epoch, _) = cluster.state("t").await;
    assert_eq!(cluster.state("t").await, (4, epoch, vec![1, 4]));
    assert_eq!(cluster.reassign(Some(&[ONE])).await, Ok(()));
    assert_eq!(cluster.state("t").await, (1, epoch + 1, vec![1]));

    let mut replicas = vec![TWO, ONE];
    let mut isr = replicas.clone();
    let mut steps = 0;
    for (path, data) in cluster.server.journal() {
        let data = data.unwrap_or_default();
        if path == paths::topic("t") {
            replicas = Topic::decode(&data).unwrap().partitions[&0].clone();
        } else if path == paths::partition_state("t", 0) {
            isr = PartitionState::decode(&data).unwrap().isr;
        } else {
            continue;
        }
        steps += 1;
        assert!(
            isr.iter().all(|id| replicas.contains(id)),
            "step {steps}: {isr:?} of {replicas:?}"
        );
    }
    assert!(steps >= 8);
}

#[tokio::test]
async fn a_move_of_which_nobody_was_told_goes_on_under_the_next_controller() {
    let cluster = Cluster3::with_topic(&[TWO, THREE], &[TWO]).await;
    // As a controller leaves it that ends behind its first write.
    let path = paths::topic("t");
    let node = cluster.one.store.get(&path).await.unwrap().unwrap();
    let mut node = Topic::decode(&node.data.unwrap()).unwrap();
    node.partitions.insert(0, vec![THREE, TWO]);
    node.adding.insert(0, vec![THREE]);
    node.removing.insert(0, vec![TWO]);
    let data = Some(node.encode());
    cluster.one.store.set(&path, data, None).await.unwrap();
    cluster.settle().await;
    assert!(cluster.led(THREE, "t").is_empty());
    let cluster = cluster.rule_anew().await;
    assert_eq!(
        cluster.replicas("t").await,
        (vec![THREE, TWO], vec![THREE], vec![TWO])
    );
    assert_eq!(cluster.state("t").await, (2, 1, vec![2]));
    assert_eq!(cluster.led(TWO, "t").last(), Some(&(2, 1, vec![2], false)));
    assert_eq!(cluster.led(THREE, "t"), [(2, 1, vec![2], false)]);
}

/// It may lie in a directory that is offline now: with another one elsewhere its broker would not start again.
#[tokio::test]
async fn a_replica_that_is_added_is_new_the_first_time_that_it_is_told() {
    let mut cluster = Cluster3::half_way().await;
    let added = cluster.led(FOUR, "t");
    assert!(added.first().is_some_and(|led| led.3), "{added:?}");
    cluster.bounce(FOUR).await;
    assert_eq!(cluster.led(FOUR, "t").last(), Some(&(2, 1, vec![2, 3], false)));
    let mut cluster = cluster.rule_anew().await;
    assert_eq!(cluster.state("t").await, (2, 2, vec![2, 3]));
    for id in [THREE, FOUR] {
        assert_eq!(cluster.led(id, "t").last(), Some(&(2, 2, vec![2, 3], false)));
    }
    cluster.bounce(THREE).await;
    for id in [THREE, FOUR] {
        assert_eq!(cluster.led(id, "t").last(), Some(&(2, 3, vec![2], false)));
    }
}

#[tokio::test]
async fn a_dropped_replica_stays_in_the_store_until_it_has_stopped() {
    let cluster = Cluster3::with_topic(&[TWO, THREE], &[TWO]).await;
    assert_eq!(cluster.reassign(Some(&[THREE])).await, Ok(()));
    cluster.set_mute(TWO, true);
    assert_eq!(
        cluster.propose(TWO, "t", 1, 1, &[TWO, THREE]).await,
        Ok(vec![2, 3])
    );
    cluster.settle().await;
    assert_eq!(cluster.state("t").await, (3, 2, vec![3]));
    assert_eq!(cluster.seen(), [THREE]);
    assert_eq!(cluster.one.controller.reassignments(None).await, Ok(Vec::new()));
    assert_eq!(cluster.deletions(TWO), 1);
    let (replicas, _, removing) = cluster.replicas("t").await;
    assert_eq!((replicas, removing), (vec![THREE, TWO], vec![TWO]));
    // What else is written of the topic does not forget it.
    let more = MorePartitions {
        name: "t".to_owned(),
        count: 2,
        assignments: Some(vec![vec![THREE]]),
    };
    let answers = cluster.one.controller.create_partitions(vec![more], false).await;
    assert_eq!(answers, [Ok(())]);
    assert_eq!(cluster.replicas("t").await.2, [TWO]);
    assert_eq!(
        cluster.propose(THREE, "t", 2, 3, &[THREE, TWO]).await,
        Err(ErrorCode::IneligibleReplica)
    );

    cluster.set_mute(TWO, false);
    let cluster = cluster.rule_anew().await;
    assert_eq!(cluster.deletions(TWO), 2);
    assert_eq!(cluster.replicas("t").await, (vec![THREE], vec![], vec![]));
    assert_eq!(cluster.state("t").await.2, [3]);
}

#[tokio::test]
async fn a_dropped_replica_that_comes_back_is_told_again_and_one_that_is_away_is_not_waited_for() {
    let mut cluster = Cluster3::with_topic(&[TWO, THREE, FOUR], &[TWO, FOUR]).await;
    cluster.set_mute(TWO, true);
    cluster.set_mute(FOUR, true);
    assert_eq!(cluster.reassign(Some(&[THREE])).await, Ok(()));
    let isr = [TWO, FOUR, THREE];
    assert_eq!(cluster.propose(TWO, "t", 1, 1, &isr).await, Ok(vec![2, 4, 3]));
    cluster.settle().await;
    assert_eq!((cluster.deletions(TWO), cluster.deletions(FOUR)), (1, 1));
    cluster.set_mute(TWO, false);
    cluster.bounce(TWO).await;
    assert_eq!((cluster.deletions(TWO), cluster.deletions(FOUR)), (2, 1));
    assert!(cluster.led(TWO, "t").iter().all(|led| led.1 < 2));
    assert_eq!(cluster.replicas("t").await.0, [THREE, TWO, FOUR]);
    cluster.leave(FOUR).await;
    assert_eq!(cluster.replicas("t").await, (vec![THREE], vec![], vec![]));
}

#[tokio::test]
async fn a_move_that_is_taken_back_is_over_for_the_next_controller_too() {
    let cluster = Cluster3::with_topic(&[TWO, THREE], &[TWO]).await;
    assert_eq!(cluster.reassign(Some(&[THREE])).await, Ok(()));
    cluster.set_mute(THREE, true);
    assert_eq!(cluster.reassign(None).await, Ok(()));
    assert_eq!(cluster.state("t").await, (2, 2, vec![2]));
    assert_eq!(
        cluster.replicas("t").await,
        (vec![TWO, THREE], vec![], vec![THREE])
    );
    // It is wanted again: there is nothing to wait for.
    assert_eq!(cluster.reassign(Some(&[TWO, THREE])).await, Ok(()));
    assert_eq!(
        cluster.replicas("t").await,
        (vec![TWO, THREE], vec![THREE], vec![])
    );
    assert_eq!(cluster.reassign(None).await, Ok(()));
    cluster.set_mute(THREE, false);
    let cluster = cluster.rule_anew().await;
    assert_eq!(cluster.replicas("t").await, (vec![TWO], vec![], vec![]));
    assert_eq!(cluster.state("t").await.0, 2);
    assert!(cluster.deletions(THREE) >= 2);
}

#[tokio::test]
async fn a_topic_that_is_deleted_waits_for_its_dropped_replicas_too() {
    let mut cluster = Cluster3::with_topic(&[TWO, THREE], &[TWO]).await;
    assert_eq!(cluster.reassign(Some(&[THREE])).await, Ok(()));
    cluster.set_mute(TWO, true);
    assert_eq!(
        cluster.propose(TWO, "t", 1, 1, &[TWO, THREE]).await,
        Ok(vec![2, 3])
    );
    assert_eq!(cluster.one.delete(&["t"]).await, [ErrorCode::None]);
    cluster.settle().await;
    assert_eq!((cluster.deletions(TWO), cluster.deletions(THREE)), (1, 1));
    assert_eq!(cluster.one.names(paths::TOPICS).await, ["t"]);
    cluster.leave(TWO).await;
    assert!(cluster.one.names(paths::TOPICS).await.is_empty());
}

#[tokio::test]
async fn an_old_tool_is_told_that_a_move_is_over_when_its_node_says_so() {
    let cluster = Cluster3::with_topic(&[TWO, THREE], &[TWO]).await;
    cluster.set_mute(TWO, true);
    let wish = r#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[3]}]}"#;
    let data = Some(bytes::Bytes::from_static(wish.as_bytes()));
    let (store, path) = (&cluster.one.store, paths::REASSIGN_PARTITIONS);
    store.create(path, data, CreateKind::Persistent).await.unwrap();
    cluster.until(|| !cluster.led(THREE, "t").is_empty()).await;
    cluster.settle().await;
    let isr = [TWO, THREE];
    assert_eq!(cluster.propose(TWO, "t", 1, 1, &isr).await, Ok(vec![2, 3]));
    cluster.settle().await;
    assert_eq!((cluster.seen(), cluster.deletions(TWO)), (vec![THREE], 1));
    assert!(store.get(path).await.unwrap().is_some());
    cluster.set_mute(TWO, false);
    let cluster = cluster.rule_anew().await;
    let store = &cluster.one.store;
    assert_eq!(cluster.replicas("t").await, (vec![THREE], vec![], vec![]));
    assert!(store.get(path).await.unwrap().is_none());
}
