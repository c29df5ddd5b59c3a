//! What brokers of Kafka need of everything that they are told: rules over one long story, in which brokers come, go, bounce
//! and stop, a partition moves, topics grow and go, and a controller follows another.

use std::collections::{BTreeMap, BTreeSet};

use super::cluster_test::{Cluster3, ONE, THREE, TWO, node};
use super::controller_test::Asked;
use super::*;
use crate::base::ids::{LeaderEpoch, TopicId};
use crate::metadata::control::{
    LeaderAndIsrPartition, PartitionMetadata, Sender, TOPIC_IS_DELETED, UpdateMetadata,
};
use crate::store::znodes::{PartitionState, Topic};

/// What was told, and what was written.
struct Story {
    cluster: Cluster3,
    ids: BTreeMap<TopicName, TopicId>,
    writes: Vec<(String, Option<bytes::Bytes>)>,
}

/// A decision, as a broker was told it.
struct Led {
    at: usize,
    sender: Sender,
    topic: (TopicName, TopicId),
    partition: LeaderAndIsrPartition,
}

impl Led {
    fn name(&self) -> TopicPartition {
        TopicPartition::new(Arc::clone(&self.topic.0), self.partition.partition)
    }
}

impl Cluster3 {
    /// What the leader of partition 0 proposes.
    async fn propose_now(&self, topic: &str, isr: &[BrokerId]) {
        let (state, version) = self.one.state(topic, 0).await;
        let epoch = state.leader_epoch.get();
        let altered = self.propose(state.leader.unwrap(), topic, epoch, version, isr);
        assert!(altered.await.is_ok(), "{topic}");
        self.settle().await;
    }

    fn requests(&self, broker: BrokerId) -> Vec<Asked> {
        if broker == ONE {
            return self.one.broker.told().requests.clone();
        }
        self.others.0.lock().unwrap()[&broker].told().requests.clone()
    }
}

impl Story {
    async fn told() -> Self {
        let mut cluster = Cluster3::of(&[TWO]).await;
        cluster.server.keep_journal();
        let mut in_rack = node(THREE);
        in_rack.rack = Some("r3".to_owned());
        cluster.arrive_as(THREE, &in_rack).await;
        cluster.create("t", &[TWO, THREE]).await;
        cluster.create("stays", &[THREE, TWO, ONE]).await;
        cluster.create("goes", &[TWO, ONE]).await;
        cluster.create("far", &[THREE, TWO]).await;
        let image = cluster.one.cluster.get();
        let ids = image
            .topics
            .iter()
            .map(|(name, topic)| (Arc::clone(name), topic.id));
        let mut ids: BTreeMap<TopicName, TopicId> = ids.collect();
        cluster.propose_now("t", &[TWO]).await;
        cluster.propose_now("t", &[TWO, THREE]).await;
        assert_eq!(cluster.reassign(Some(&[THREE, ONE])).await, Ok(()));
        cluster.propose_now("t", &[TWO, THREE, ONE]).await;
        assert_eq!(cluster.replicas("t").await, (vec![THREE, ONE], vec![], vec![]));
        cluster.bounce(TWO).await;
        cluster.propose_now("stays", &[THREE, ONE, TWO]).await;
        cluster.leave(THREE).await;
        cluster.arrive_as(THREE, &in_rack).await;
        cluster.settle().await;
        cluster.propose_now("stays", &[ONE, TWO, THREE]).await;
        cluster.propose_now("t", &[ONE, THREE]).await;
        let more = MorePartitions {
            name: "stays".to_owned(),
            count: 2,
            assignments: Some(vec![vec![THREE, ONE, TWO]]),
        };
        let grown = cluster.one.controller.create_partitions(vec![more], false).await;
        assert_eq!(grown, [Ok(())]);
        let shut = cluster
            .one
            .controller
            .controlled_shutdown(TWO, cluster.epoch(TWO));
        assert_eq!(shut.await, Ok(Vec::new()));
        cluster.create("late", &[ONE, THREE]).await;
        let late = cluster.one.cluster.get().topic("late").unwrap().id;
        ids.insert("late".into(), late);
        cluster.leave(TWO).await;
        cluster.arrive(TWO).await;
        cluster.settle().await;
        assert_eq!(cluster.one.delete(&["goes"]).await, [ErrorCode::None]);
        cluster.settle().await;
        assert!(
            !cluster
                .one
                .names(paths::TOPICS)
                .await
                .contains(&"goes".to_owned())
        );
        let cluster = cluster.rule_anew().await;
        let writes = cluster.server.journal();
        Self { cluster, ids, writes }
    }

    /// The states that a partition had, by partition epoch.
    fn states(&self, name: &TopicPartition) -> Vec<PartitionState> {
        let path = paths::partition_state(&name.topic, name.partition);
        let written = self.writes.iter().filter(|(written, _)| *written == path);
        let data = written.filter_map(|(_, data)| data.as_ref());
        data.map(|data| PartitionState::decode(data).unwrap()).collect()
    }

    fn led(&self, broker: BrokerId) -> Vec<Led> {
        let mut all = Vec::new();
        for (at, request) in self.cluster.requests(broker).into_iter().enumerate() {
            let Asked::Lead(request) = request else {
                continue;
            };
            for topic in request.topics {
                for partition in topic.partitions {
                    all.push(Led {
                        at,
                        sender: request.sender,
                        topic: (Arc::clone(&topic.name), topic.id),
                        partition,
                    });
                }
            }
        }
        assert!(all.len() > 5);
        all
    }

    fn known(&self, broker: BrokerId) -> Vec<UpdateMetadata> {
        let requests = self.cluster.requests(broker).into_iter();
        let known = requests.filter_map(|request| match request {
            Asked::Know(known) => Some(known),
            _ => None,
        });
        known.collect()
    }
}

fn sender(request: &Asked) -> Sender {
    match request {
        Asked::Lead(request) => request.sender,
        Asked::Stop(request) => request.sender,
        Asked::Know(request) => Sender {
            controller: request.controller,
            controller_epoch: request.controller_epoch,
            broker_epoch: request.broker_epoch,
        },
    }
}

const ALL: [BrokerId; 3] = [ONE, TWO, THREE];

/// A receiver follows nobody whom it does not know to be alive.
#[tokio::test]
async fn who_lives_is_told_before_who_leads() {
    let story = Story::told().await;
    for broker in ALL {
        let mut beginnings = BTreeSet::new();
        let mut live = BTreeSet::new();
        for request in story.cluster.requests(broker) {
            let sender = sender(&request);
            let begins = beginnings.insert((sender.broker_epoch, sender.controller_epoch));
            match request {
                Asked::Know(known) => live = known.live_brokers.iter().map(|one| one.id).collect(),
                _ if begins => panic!("the first that {broker} hears is not who lives"),
                Asked::Lead(request) => {
                    let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
                    for leader in partitions.filter_map(|partition| partition.leader) {
                        assert!(live.contains(&leader), "{broker} does not know of {leader}");
                    }
                }
                Asked::Stop(_) => {}
            }
        }
        assert!(beginnings.len() >= 2, "{broker}");
    }
}

#[tokio::test]
async fn everybody_is_told_of_all_who_live_each_time() {
    let story = Story::told().await;
    for broker in ALL {
        let known = story.known(broker);
        for one in &known {
            assert_eq!(one.controller, ONE);
            let ids: Vec<BrokerId> = one.live_brokers.iter().map(|live| live.id).collect();
            assert!(ids.contains(&ONE) && ids.contains(&broker), "{broker}: {ids:?}");
            for live in &one.live_brokers {
                assert!(live.endpoint("PLAINTEXT").is_some(), "{}", live.id);
                assert_eq!(live.rack.as_deref(), (live.id == THREE).then_some("r3"));
            }
        }
        assert_eq!(known.last().unwrap().live_brokers.len(), 3);
    }
}

#[tokio::test]
async fn each_is_told_under_the_registration_that_it_has() {
    let story = Story::told().await;
    for broker in ALL {
        let requests = story.cluster.requests(broker);
        let epochs: Vec<BrokerEpoch> = requests.iter().map(|one| sender(one).broker_epoch).collect();
        assert!(epochs.is_sorted(), "{broker}: {epochs:?}");
        let lives: BTreeSet<BrokerEpoch> = epochs.iter().copied().collect();
        // Bounced, gone and come; gone and come; the controller's own.
        let expected = if broker == TWO { 3 } else { 2 };
        assert_eq!(lives.len(), expected, "{broker}");
        assert_eq!(epochs.last(), Some(&story.cluster.epoch(broker)));
        let reigns: Vec<_> = requests.iter().map(|one| sender(one).controller_epoch).collect();
        assert!(reigns.is_sorted(), "{broker}: {reigns:?}");
    }
}

/// KAFKA-9212: consumers are sent away by a leader whose epoch the metadata does not tell.
#[tokio::test]
async fn row_31_the_epochs_that_are_told_are_those_of_the_state_that_was_written() {
    let story = Story::told().await;
    let mut moved = 0;
    for broker in ALL {
        for led in story.led(broker) {
            let (name, told) = (led.name(), &led.partition);
            let states = story.states(&name);
            let written = &states[usize::try_from(told.partition_epoch).unwrap()];
            let led = (told.leader, told.leader_epoch, told.isr.clone());
            let state = (written.leader, written.leader_epoch, written.isr.clone());
            assert_eq!(led, state, "{name} at {}", told.partition_epoch);
            assert_eq!(told.controller_epoch, written.controller_epoch);
            moved += usize::from(!told.adding_replicas.is_empty());
        }
        // Whatever somebody leads or follows by, the metadata tells too.
        let (mut newest, mut known) = (BTreeMap::new(), BTreeSet::new());
        for update in story.known(broker) {
            for topic in &update.topics {
                for (number, partition) in &topic.partitions {
                    let name = TopicPartition::new(Arc::clone(&topic.name), *number);
                    let PartitionMetadata::State(told) = partition else {
                        newest.remove(&name);
                        continue;
                    };
                    let states = story.states(&name);
                    let written = &states[usize::try_from(told.partition_epoch).unwrap()];
                    assert_eq!(
                        (told.leader, told.leader_epoch),
                        (written.leader, written.leader_epoch)
                    );
                    assert_eq!(told.isr, written.isr, "{name}");
                    known.insert((name.clone(), told.partition_epoch));
                    let before = newest.insert(name, told.partition_epoch);
                    assert!(before.is_none_or(|before| before <= told.partition_epoch));
                }
            }
        }
        for led in story.led(broker) {
            let led = (led.name(), led.partition.partition_epoch);
            assert!(known.contains(&led), "{broker}: {led:?}");
        }
        for (name, partition_epoch) in newest {
            let last = story.states(&name).len() - 1;
            assert_eq!(usize::try_from(partition_epoch), Ok(last), "{broker}: {name}");
        }
    }
    assert!(moved >= 3, "the move was told to all three");
}

/// A receiver takes an epoch that it knows for a repetition.
#[tokio::test]
async fn whatever_is_to_take_effect_has_a_higher_leader_epoch() {
    let story = Story::told().await;
    let mut repeated = 0;
    for broker in ALL {
        let mut last: BTreeMap<TopicPartition, Led> = BTreeMap::new();
        for led in story.led(broker) {
            let name = led.name();
            let now = led.partition.clone();
            if let Some(before) = last.get(&name) {
                let known = &before.partition;
                assert!(now.leader_epoch >= known.leader_epoch, "{broker}: {name}");
                let is_same_life = before.sender.broker_epoch == led.sender.broker_epoch;
                if is_same_life && now.leader_epoch == known.leader_epoch {
                    repeated += 1;
                    assert_eq!((now.leader, &now.replicas), (known.leader, &known.replicas));
                }
            }
            last.insert(name, led);
        }
    }
    assert!(repeated > 0, "the next controller tells everything again");
}

#[tokio::test]
async fn topics_are_told_and_written_with_their_ids_always() {
    let story = Story::told().await;
    for broker in ALL {
        for led in story.led(broker) {
            assert_eq!(story.ids.get(&led.topic.0), Some(&led.topic.1), "{}", led.topic.0);
        }
        for topic in story.known(broker).iter().flat_map(|known| &known.topics) {
            assert_eq!(story.ids.get(&topic.name), Some(&topic.id), "{}", topic.name);
        }
    }
    let mut written = 0;
    for (name, id) in &story.ids {
        let path = paths::topic(name);
        let mut partitions = 1;
        let nodes = story.writes.iter().filter(|(written, _)| *written == path);
        for data in nodes.filter_map(|(_, data)| data.as_ref()) {
            let text = std::str::from_utf8(data).unwrap();
            for member in [
                r#""version":3"#,
                r#""adding_replicas":{"#,
                r#""removing_replicas":{"#,
            ] {
                assert!(text.contains(member), "{text}");
            }
            let node = Topic::decode(data).unwrap();
            assert_eq!(node.id, Some(*id), "{name}");
            assert!(node.partitions.len() >= partitions, "{name}");
            partitions = node.partitions.len();
            written += 1;
        }
    }
    assert!(written > story.ids.len());
}

/// A receiver keeps its replica when the epoch is an older one; and whoever is in sync is not deleted.
#[tokio::test]
async fn replicas_are_stopped_out_of_sync_and_under_an_epoch_that_they_take() {
    let story = Story::told().await;
    let (mut stopped, mut dropped, mut deleted) = (0, 0, 0);
    for broker in ALL {
        let led = story.led(broker);
        for (at, request) in story.cluster.requests(broker).into_iter().enumerate() {
            let Asked::Stop(request) = request else {
                continue;
            };
            for stop in request.partitions {
                let name = stop.partition;
                if stop.leader_epoch == TOPIC_IS_DELETED {
                    assert!(stop.delete && *name.topic == *"goes", "{name}");
                    deleted += 1;
                    continue;
                }
                let before = led.iter().filter(|led| led.at < at && led.name() == name);
                let newest = before.map(|led| led.partition.leader_epoch).max();
                assert!(Some(stop.leader_epoch) >= newest, "{broker}: {name}");
                let states = story.states(&name);
                let of_epoch = states
                    .iter()
                    .rfind(|state| state.leader_epoch == stop.leader_epoch);
                assert!(!of_epoch.unwrap().isr.contains(&broker), "{broker}: {name}");
                *(if stop.delete { &mut dropped } else { &mut stopped }) += 1;
            }
        }
    }
    // Who stopped followed two partitions of "stays", "goes" and "far"; the move dropped one replica.
    assert_eq!((stopped, dropped, deleted), (4, 1, 2));
}

/// A receiver makes an empty log, elsewhere if one of its disks is gone, where it is told that a replica is new.
#[tokio::test]
async fn only_what_nobody_has_yet_is_told_as_new() {
    let story = Story::told().await;
    let (mut new, mut added) = (0, 0);
    for broker in ALL {
        let mut has = BTreeSet::new();
        for led in story.led(broker) {
            let partition = &led.partition;
            let is_added = partition.adding_replicas.contains(&broker) && !partition.isr.contains(&broker);
            let is_first = has.insert(led.name());
            let is_made = is_first && partition.leader_epoch == LeaderEpoch(0);
            assert_eq!(partition.is_new, is_added || is_made, "{broker}: {}", led.name());
            new += usize::from(is_made);
            added += usize::from(is_added);
        }
    }
    assert_eq!((new, added), (2 + 3 + 2 + 2 + 3 + 2, 1));
}

/// Until it is gone, a broker that stops serves clients, who ask it where to go.
#[tokio::test]
async fn who_is_about_to_stop_is_told_of_everything_until_it_has_gone() {
    let story = Story::told().await;
    let late = |known: &UpdateMetadata| known.topics.iter().any(|topic| *topic.name == *"late");
    let known = story.known(TWO);
    let epochs = |is: &dyn Fn(&UpdateMetadata) -> bool| -> BTreeSet<BrokerEpoch> {
        known
            .iter()
            .filter(|one| is(one))
            .map(|one| one.broker_epoch)
            .collect()
    };
    // In the life in which it was to stop, and in the one after that.
    assert_eq!(epochs(&late).len(), 2);
    assert_eq!(epochs(&|_| true).len(), 3);
}

/// A broker of Kafka says so of each repetition.
#[tokio::test]
async fn who_knows_a_decision_already_has_not_refused_it() {
    let mut cluster = Cluster3::of(&[TWO, THREE]).await;
    cluster.create("t", &[TWO, THREE]).await;
    for id in [TWO, THREE] {
        cluster.others.0.lock().unwrap()[&id].told().knows_all = true;
    }
    cluster.one.broker.told().knows_all = true;
    cluster.create("here", &[ONE, TWO]).await;
    assert!(cluster.one.names(paths::NEW_PARTITIONS).await.is_empty());
    cluster.leave(TWO).await;
    assert_eq!(cluster.state("t").await, (3, 1, vec![3]));
    assert_eq!(cluster.state("here").await, (1, 1, vec![1]));
    let image = cluster.one.cluster.get();
    assert_eq!(image.partition("t", 0).unwrap().offline_replicas, [TWO]);
}
