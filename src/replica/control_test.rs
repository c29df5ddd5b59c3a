//! What a controller says to a broker, JVM's controllers among them, and what it is answered.

use super::testing::{ME, TestBroker, batch, sender, topic_id};
use crate::base::disk::memory::Call;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, Offset, TopicPartition};
use crate::metadata::control::{
    ControlAnswer, LeaderAndIsr, LeaderAndIsrPartition, LeaderAndIsrTopic, Sender, StopReplica,
    StopReplicaPartition, TOPIC_IS_DELETED, UpdateMetadata,
};
use crate::storage::producer_state::Origin;

const NOW_MS: i64 = super::testing::NOW_MS;

fn ids(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

/// Partition 0, led by this broker, on these.
fn led(leader_epoch: i32, partition_epoch: i32, replicas: &[i32]) -> LeaderAndIsrPartition {
    LeaderAndIsrPartition {
        partition: 0,
        controller_epoch: ControllerEpoch(1),
        leader: Some(ME),
        leader_epoch: LeaderEpoch(leader_epoch),
        isr: ids(replicas),
        partition_epoch,
        replicas: ids(replicas),
        adding_replicas: Vec::new(),
        removing_replicas: Vec::new(),
        is_new: leader_epoch == 0,
        recovering: false,
    }
}

impl TestBroker {
    async fn is_told(&self, sender: Sender, id: u8, partition: LeaderAndIsrPartition) -> ControlAnswer {
        let topics = vec![LeaderAndIsrTopic {
            name: "t".into(),
            id: topic_id(id),
            partitions: vec![partition],
        }];
        self.replicas
            .leader_and_isr(LeaderAndIsr { sender, topics })
            .await
    }

    /// The answer for the partition.
    async fn decided(&self, id: u8, partition: LeaderAndIsrPartition) -> ErrorCode {
        let answer = self.is_told(sender(), id, partition).await;
        assert_eq!((answer.error, answer.partitions.len()), (ErrorCode::None, 1));
        answer.partitions[0].1
    }

    async fn stops(&self, sender: Sender, stops: &[(&str, i32, bool)]) -> ControlAnswer {
        let stop = |(topic, leader_epoch, delete): &(&str, i32, bool)| StopReplicaPartition {
            partition: TopicPartition::new(*topic, 0),
            leader_epoch: LeaderEpoch(*leader_epoch),
            delete: *delete,
        };
        let partitions = stops.iter().map(stop).collect();
        self.replicas
            .stop_replica(StopReplica { sender, partitions })
            .await
    }

    async fn knows(&self, sender: Sender) -> Result<(), ErrorCode> {
        let update = UpdateMetadata {
            controller: sender.controller,
            controller_epoch: sender.controller_epoch,
            broker_epoch: sender.broker_epoch,
            live_brokers: Vec::new(),
            topics: Vec::new(),
        };
        self.replicas.update_metadata(&update).await.map(drop)
    }
}

#[tokio::test]
async fn a_decision_takes_effect_in_a_newer_epoch_alone_and_is_answered_as_kafka_does() {
    let broker = TestBroker::new(1);
    let partition = || broker.replicas.partition("t", 0);
    assert_eq!(
        broker.decided(1, led(0, 0, &[2, 3])).await,
        ErrorCode::UnknownTopicOrPartition
    );
    assert!(partition().is_none(), "nothing is made where it has no replica");
    assert_eq!(broker.decided(1, led(0, 0, &[1, 2])).await, ErrorCode::None);
    assert_eq!(broker.decided(1, led(3, 4, &[1, 2])).await, ErrorCode::None);
    let follows = LeaderAndIsrPartition {
        leader: Some(BrokerId(2)),
        isr: ids(&[2]),
        ..led(3, 9, &[1, 2])
    };
    for (id, decision, expected) in [
        // Repeated, whatever else it says.
        (1, led(3, 4, &[1, 2]), ErrorCode::StaleControllerEpoch),
        (1, follows, ErrorCode::StaleControllerEpoch),
        (1, led(2, 9, &[1]), ErrorCode::StaleControllerEpoch),
        (1, led(4, 9, &[2, 3]), ErrorCode::UnknownTopicOrPartition),
        (2, led(4, 9, &[1]), ErrorCode::InconsistentTopicId),
        // An older state: done, they say, and nothing is.
        (1, led(4, 3, &[1]), ErrorCode::None),
    ] {
        let text = format!("{decision:?}");
        assert_eq!(broker.decided(id, decision).await, expected, "{text}");
        let state = partition().unwrap();
        let state = state.lock_blocking();
        let known = state.leadership.decided();
        assert_eq!(known.leader, ME, "{text}");
        assert_eq!(
            (known.leader_epoch.get(), known.partition_epoch),
            (3, 4),
            "{text}"
        );
        assert_eq!(
            (&known.isr, &known.replicas),
            (&ids(&[1, 2]), &ids(&[1, 2])),
            "{text}"
        );
        assert_eq!(state.log.topic_id(), Some(topic_id(1)), "{text}");
    }
    assert_eq!(broker.decided(1, led(4, 5, &[1, 2])).await, ErrorCode::None);
}

/// Followers that have more than the leader learn by its epoch where it begins.
#[tokio::test]
async fn a_leaders_epoch_begins_in_its_log_before_anything_is_appended_and_is_in_each_batch() {
    let broker = TestBroker::new(1);
    broker.lead("t", 1, 1, 0, &[1]).await;
    let append = || async {
        let records = batch(2, 10);
        let appended = broker
            .replicas
            .append("t", 0, &records, 1, Origin::Client, NOW_MS);
        assert_eq!(appended.await.error, ErrorCode::None);
    };
    append().await;
    broker.lead("t", 1, 1, 4, &[1]).await;
    let partition = broker.replicas.partition("t", 0).unwrap();
    let epochs = || {
        let state = partition.lock_blocking();
        let entries = state.log.leader_epochs().entries().iter();
        let entries = entries.map(|entry| (entry.epoch.get(), entry.start_offset.get()));
        entries.collect::<Vec<_>>()
    };
    assert_eq!(epochs(), [(0, 0), (4, 2)]);
    append().await;
    broker.lead("t", 1, 1, 5, &[1]).await;
    append().await;
    let answer = broker.read(super::testing::consumer(0, 1), super::testing::wanted("t", 0, 0));
    let bytes = answer.records.unwrap().read().unwrap();
    let batches = crate::records::batch::Batches::new(&bytes);
    let stamped: Vec<i32> = batches
        .map(|batch| batch.unwrap().partition_leader_epoch.get())
        .collect();
    assert_eq!(stamped, [0, 4, 5]);
}

/// A controller of before 2.8 tells none; one that was brought up to date tells it in the epoch that is known.
#[tokio::test]
async fn an_id_is_learned_in_the_epoch_that_is_known_and_by_nothing_older() {
    let broker = TestBroker::new(1);
    assert_eq!(broker.decided(0, led(2, 0, &[1])).await, ErrorCode::None);
    let known = || {
        let partition = broker.replicas.partition("t", 0).unwrap();
        partition.topic_id()
    };
    assert_eq!(
        broker.decided(5, led(1, 0, &[1])).await,
        ErrorCode::StaleControllerEpoch
    );
    assert_eq!(known(), None);
    assert_eq!(broker.decided(5, led(2, 0, &[1])).await, ErrorCode::None);
    assert_eq!(known(), Some(topic_id(5)));
    assert_eq!(
        broker.decided(5, led(2, 0, &[1])).await,
        ErrorCode::StaleControllerEpoch
    );
    assert_eq!(
        broker.decided(6, led(3, 1, &[1])).await,
        ErrorCode::InconsistentTopicId
    );
}

#[tokio::test]
async fn one_epoch_of_the_controller_counts_for_all_that_it_says() {
    let broker = TestBroker::new(1);
    broker.replicas.registered(BrokerEpoch(9)).await;
    let of = |controller_epoch, broker_epoch| Sender {
        controller: ME,
        controller_epoch: ControllerEpoch(controller_epoch),
        broker_epoch: BrokerEpoch(broker_epoch),
    };
    let stale = ErrorCode::StaleControllerEpoch;
    assert_eq!(broker.knows(of(5, 9)).await, Ok(()));
    let led_by = |sender| broker.is_told(sender, 1, led(0, 0, &[1]));
    assert_eq!(led_by(of(4, 9)).await.error, stale);
    assert_eq!(broker.stops(of(4, 9), &[]).await.error, stale);
    assert_eq!(led_by(of(6, 9)).await.error, ErrorCode::None);
    assert_eq!(broker.knows(of(5, 9)).await, Err(stale));
    assert_eq!(broker.stops(of(7, 9), &[]).await.error, ErrorCode::None);
    assert_eq!(led_by(of(6, 9)).await.error, stale);
    // What is refused for the broker's epoch tells nothing of the controller's.
    assert_eq!(broker.knows(of(50, 8)).await, Err(ErrorCode::StaleBrokerEpoch));
    assert_eq!(led_by(of(50, 8)).await.error, ErrorCode::StaleBrokerEpoch);
    // A controller may know of a registration before its broker does, or not tell.
    for broker_epoch in [9, 10, -1] {
        assert_eq!(broker.knows(of(7, broker_epoch)).await, Ok(()), "{broker_epoch}");
        assert_eq!(
            led_by(of(7, broker_epoch)).await.error,
            ErrorCode::None,
            "{broker_epoch}"
        );
    }
}

#[tokio::test]
async fn each_replica_that_is_to_stop_is_answered_and_those_that_are_not_here_are_stopped() {
    let broker = TestBroker::new(1);
    assert_eq!(broker.decided(1, led(3, 0, &[1, 2])).await, ErrorCode::None);
    let name = |topic: &str| TopicPartition::new(topic, 0);
    let stale = broker.stops(sender(), &[("none", 0, true), ("t", 2, true)]).await;
    assert_eq!(
        stale.partitions,
        [
            (name("none"), ErrorCode::None),
            (name("t"), ErrorCode::FencedLeaderEpoch)
        ]
    );
    let is_here = || broker.replicas.partition("t", 0).is_some();
    for epoch in [3, -1, 4, TOPIC_IS_DELETED.get(), 3] {
        let kept = broker.stops(sender(), &[("t", epoch, false)]).await;
        assert_eq!(kept.partitions, [(name("t"), ErrorCode::None)], "{epoch}");
        assert!(is_here());
    }
    // It leads on in its own eyes, until it is told of a newer epoch or is to be deleted.
    let leader = broker.replicas.leader_of("t", 0);
    assert_eq!(leader, Some((ME, LeaderEpoch(3))));
    for epoch in [-1, TOPIC_IS_DELETED.get(), 9] {
        broker.decided(1, led(9, 0, &[1, 2])).await;
        assert!(is_here());
        for _ in 0..2 {
            let gone = broker.stops(sender(), &[("t", epoch, true)]).await;
            assert_eq!(gone.partitions, [(name("t"), ErrorCode::None)], "{epoch}");
            assert!(!is_here());
        }
    }
}

/// 56 makes the controller take a replica for lost until its broker comes back or says otherwise.
#[tokio::test]
async fn a_storage_error_is_told_of_a_directory_that_failed_alone() {
    let broker = TestBroker::new(2);
    broker.lead("u", 1, 2, 0, &[1]).await;
    let bad = broker.replicas.partition("u", 0).unwrap();
    let path = bad.directory().path().to_string_lossy().into_owned();
    broker
        .disk
        .fail(Call::Write, &path, 0, u64::MAX, std::io::ErrorKind::Other);
    let records = batch(1, 10);
    let refused = broker
        .replicas
        .append("u", 0, &records, 1, Origin::Client, NOW_MS);
    assert_eq!(refused.await.error, ErrorCode::KafkaStorageError);
    // It may lie there: it must not begin anew elsewhere, unless it is said to be new.
    assert_eq!(
        broker.decided(2, led(1, 0, &[1])).await,
        ErrorCode::KafkaStorageError
    );
    assert!(broker.replicas.partition("t", 0).is_none());
    // Nor is it known to be gone.
    for (deletes, error) in [(true, ErrorCode::KafkaStorageError), (false, ErrorCode::None)] {
        let answer = broker
            .stops(sender(), &[("t", TOPIC_IS_DELETED.get(), deletes)])
            .await;
        assert_eq!(answer.partitions[0].1, error);
    }
    assert_eq!(broker.decided(2, led(0, 0, &[1])).await, ErrorCode::None);
    assert_eq!(broker.decided(2, led(1, 1, &[1])).await, ErrorCode::None);
    let made = broker.replicas.partition("t", 0).unwrap();
    assert!(!made.directory().is_offline());
    assert_eq!(made.lock_blocking().log.log_end_offset(), Offset(0));
    let stopped = broker.stops(sender(), &[("u", -1, true)]).await;
    assert_eq!(stopped.partitions[0].1, ErrorCode::KafkaStorageError);
}
