//! Replication between brokers in one process.

use std::sync::Arc;
use std::time::Duration;

use super::answers::FetchParameters;
use super::following::{Fetched, FollowError, TakeError};
use super::test_cluster::{Fate, TestCluster, eventually, sender};
use super::testing::{batch, consumer, topic_id, wanted};
use super::waiting::Bound;
use crate::base::clock;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerEpoch, BrokerId, LeaderEpoch, Offset, TopicPartition};
use crate::metadata::control::{StopReplica, StopReplicaPartition};

const T: &str = "t";

async fn pause(milliseconds: u64) {
    clock::sleep(Duration::from_millis(milliseconds)).await;
}

/// Appends to a leader that nobody follows for now: what it has is its own.
async fn append_alone(cluster: &TestCluster, leader: i32, values: &[usize]) {
    for value_bytes in values {
        let answer = cluster.append(leader, T, &batch(1, *value_bytes), 1).await;
        assert_eq!(answer.error, ErrorCode::None);
    }
}

#[tokio::test]
async fn followers_have_what_the_leader_has_and_all_is_acknowledged() {
    let cluster = TestCluster::start(&[1, 2, 3], &[("min.insync.replicas", "2")]).await;
    cluster.create(T, &[1, 2, 3]).await;
    for count in 1..20 {
        assert_eq!(cluster.produce(1, T, &batch(count, 50)).await, ErrorCode::None);
    }
    cluster.converged(&[1, 2, 3], T).await;
    assert_eq!(cluster.log_end(1, T), 190);
    assert_eq!(cluster.contents(2, T).1, [(0, 0)], "the epochs too");
    assert!(cluster.asked().is_empty(), "the ISR stayed as it was");
}

#[tokio::test]
async fn a_follower_that_comes_back_goes_on_where_it_was() {
    let cluster = TestCluster::start(&[1, 2], &[]).await;
    cluster.create(T, &[1, 2]).await;
    assert_eq!(cluster.produce(1, T, &batch(5, 50)).await, ErrorCode::None);
    cluster.kill(2);
    append_alone(&cluster, 1, &[60, 70]).await;
    cluster.boot(2).await;
    assert_eq!(cluster.log_end(2, T), 5);
    cluster.elect(T, 1, &[1, 2]).await;
    cluster.converged(&[1, 2], T).await;
    assert_eq!(cluster.log_end(2, T), 7);
}

/// KIP-101, scenario 1: what is acknowledged survives a follower that does not know it, and becomes leader.
#[tokio::test]
async fn row_1_a_follower_that_missed_the_high_watermark_keeps_what_it_has() {
    let cluster = TestCluster::start(&[1, 2], &[]).await;
    cluster.create(T, &[1, 2]).await;
    assert_eq!(cluster.produce(1, T, &batch(3, 50)).await, ErrorCode::None);
    // No checkpoint was written: after the start it knows of nothing that is replicated.
    cluster.kill(2);
    cluster.cut(1, 2);
    cluster.boot(2).await;
    cluster.elect(T, 1, &[1, 2]).await;
    assert_eq!((cluster.log_end(2, T), cluster.high_watermark(2, T)), (3, 0));
    pause(100).await;
    let acknowledged = cluster.contents(1, T).0;
    cluster.kill(1);
    cluster.elect(T, 2, &[2]).await;
    assert_eq!(cluster.contents(2, T).0, acknowledged);
    assert_eq!(cluster.high_watermark(2, T), 3);
}

/// KIP-101, scenario 2, and KIP-279: leaders change faster than they are followed, and each writes a record alone.
#[tokio::test]
async fn row_2_after_fast_failovers_the_logs_are_equal() {
    let cluster = TestCluster::start(&[1, 2, 3], &[]).await;
    cluster.create(T, &[1, 2, 3]).await;
    assert_eq!(cluster.produce(1, T, &batch(2, 10)).await, ErrorCode::None);
    cluster.converged(&[1, 2, 3], T).await;
    for (one, other) in [(1, 2), (1, 3), (2, 3)] {
        cluster.cut(one, other);
    }
    append_alone(&cluster, 1, &[21, 22, 23]).await;
    cluster.elect(T, 2, &[2]).await;
    append_alone(&cluster, 2, &[31]).await;
    cluster.elect(T, 1, &[1]).await;
    append_alone(&cluster, 1, &[41]).await;
    cluster.elect(T, 2, &[2]).await;
    append_alone(&cluster, 2, &[51, 52]).await;
    cluster.elect(T, 3, &[3]).await;
    append_alone(&cluster, 3, &[61]).await;
    cluster.elect(T, 2, &[2]).await;
    append_alone(&cluster, 2, &[71]).await;
    for (one, other) in [(1, 2), (1, 3), (2, 3)] {
        cluster.join(one, other);
    }
    cluster.converged(&[2, 1, 3], T).await;
    // Epoch 0, and those in which broker 2 led.
    assert_eq!(cluster.contents(1, T).1, [(0, 0), (1, 2), (3, 3), (5, 5)]);
    assert_eq!(cluster.log_end(1, T), 6);
}

#[tokio::test]
async fn row_3_requests_of_another_epoch_are_fenced() {
    let cluster = TestCluster::start(&[1, 2], &[]).await;
    cluster.create(T, &[1, 2]).await;
    cluster.elect(T, 1, &[1, 2]).await;
    let node = cluster.node(1);
    for (epoch, expected) in [
        (0, ErrorCode::FencedLeaderEpoch),
        (1, ErrorCode::None),
        (2, ErrorCode::UnknownLeaderEpoch),
    ] {
        let follower = FetchParameters {
            follower: Some(BrokerId(2)),
            bound: Bound::LogEnd,
            leader_only: true,
            ..consumer(0, 1)
        };
        let mut asked = wanted(T, 0, 0);
        asked.current_leader_epoch = epoch;
        let super::fetch::Fetch::Ready(answers) =
            node.replicas.fetch(follower, vec![asked].into(), Vec::new())
        else {
            panic!("parked");
        };
        assert_eq!(answers[0].error, expected, "{epoch}");
    }
}

#[tokio::test]
async fn where_an_epoch_ends_the_leader_alone_says() {
    let cluster = TestCluster::start(&[1, 2], &[]).await;
    cluster.create(T, &[1, 2]).await;
    assert_eq!(cluster.produce(1, T, &batch(2, 10)).await, ErrorCode::None);
    cluster.elect(T, 1, &[1, 2]).await;
    assert_eq!(cluster.produce(1, T, &batch(1, 10)).await, ErrorCode::None);
    cluster.converged(&[1, 2], T).await;
    let ends = |broker, current_epoch, epoch| {
        let node = cluster.node(broker);
        node.replicas.end_offset_for_epoch(T, 0, current_epoch, epoch)
    };
    for (current_epoch, at_leader, at_follower) in [
        (-1, Ok((0, 2)), Err(ErrorCode::NotLeaderOrFollower)),
        (1, Ok((0, 2)), Err(ErrorCode::NotLeaderOrFollower)),
        (
            0,
            Err(ErrorCode::FencedLeaderEpoch),
            Err(ErrorCode::FencedLeaderEpoch),
        ),
        (
            2,
            Err(ErrorCode::UnknownLeaderEpoch),
            Err(ErrorCode::UnknownLeaderEpoch),
        ),
    ] {
        assert_eq!(ends(1, current_epoch, 0), at_leader, "{current_epoch}");
        assert_eq!(ends(2, current_epoch, 0), at_follower, "{current_epoch}");
    }
    for (epoch, expected) in [(1, (1, 3)), (2, (-1, -1)), (-1, (-1, -1))] {
        assert_eq!(ends(1, 1, epoch), Ok(expected), "{epoch}");
    }
}

/// KAFKA-7415, 10706.
#[tokio::test]
async fn row_4_after_elections_without_a_write_a_follower_catches_up() {
    let cluster = TestCluster::start(&[1, 2], &[]).await;
    cluster.create(T, &[1, 2]).await;
    assert_eq!(cluster.produce(1, T, &batch(2, 10)).await, ErrorCode::None);
    cluster.converged(&[1, 2], T).await;
    cluster.cut(1, 2);
    for leader in [2, 1, 2, 1, 2] {
        cluster.elect(T, leader, &[1, 2]).await;
    }
    cluster.join(1, 2);
    assert_eq!(cluster.produce(2, T, &batch(1, 30)).await, ErrorCode::None);
    cluster.converged(&[2, 1], T).await;
    assert_eq!(cluster.contents(1, T).1, [(0, 0), (5, 2)]);
}

/// KAFKA-14704.
#[tokio::test]
async fn row_7_the_tail_of_a_leader_that_was_demoted_is_never_readable() {
    let cluster = TestCluster::start(&[1, 2], &[]).await;
    cluster.create(T, &[1, 2]).await;
    assert_eq!(cluster.produce(1, T, &batch(2, 10)).await, ErrorCode::None);
    cluster.converged(&[1, 2], T).await;
    cluster.cut(1, 2);
    append_alone(&cluster, 1, &[21, 22, 23]).await;
    cluster.elect(T, 2, &[2]).await;
    append_alone(&cluster, 2, &[31, 32, 33, 34, 35]).await;
    assert_eq!(cluster.high_watermark(2, T), 7);
    let tail = cluster.contents(1, T).0;
    cluster.join(1, 2);
    // As long as the tail is there, the high watermark is below it.
    loop {
        let seen = cluster.with_log(1, T, |log| {
            (log.log_end_offset(), log.high_watermark(), log.latest_epoch())
        });
        if seen.2 == Some(LeaderEpoch(1)) {
            break;
        }
        assert!(seen.1 <= Offset(2), "{seen:?}");
        tokio::task::yield_now().await;
    }
    cluster.converged(&[2, 1], T).await;
    assert_ne!(cluster.contents(1, T).0, tail);
}

/// KAFKA-7164: the decisions in between did not arrive.
#[tokio::test]
async fn row_16_missed_epochs_are_made_up_for_though_the_leader_is_the_same() {
    let cluster = TestCluster::start(&[1, 2], &[]).await;
    cluster.create(T, &[1, 2]).await;
    assert_eq!(cluster.produce(1, T, &batch(2, 10)).await, ErrorCode::None);
    cluster.converged(&[1, 2], T).await;
    cluster.cut(1, 2);
    append_alone(&cluster, 1, &[21, 22]).await;
    // Broker 2 leads and loses it again; broker 1 hears of the end of it only, and broker 2 led in between.
    cluster.decide(T, 2, &[2]);
    cluster.tell(T, &[2]).await;
    append_alone(&cluster, 2, &[31]).await;
    cluster.decide(T, 1, &[1]);
    cluster.decide(T, 2, &[2]);
    cluster.join(1, 2);
    cluster.tell(T, &[1, 2]).await;
    cluster.converged(&[2, 1], T).await;
    assert_eq!(cluster.log_end(1, T), 3);
}

fn delete_records(cluster: &TestCluster, leader: i32, offset: i64) {
    let deleted = cluster.node(leader).replicas.delete_records(T, 0, offset);
    assert!(deleted.is_ok());
}

/// KAFKA-12996, 6649, 9491.
#[tokio::test]
async fn row_17_a_follower_below_the_leaders_log_start_begins_anew_and_can_lead() {
    let cluster = TestCluster::start(&[1, 2], &[]).await;
    cluster.create(T, &[1, 2]).await;
    assert_eq!(cluster.produce(1, T, &batch(3, 10)).await, ErrorCode::None);
    cluster.kill(2);
    cluster.elect(T, 1, &[1]).await;
    append_alone(&cluster, 1, &[20, 21, 22, 23]).await;
    delete_records(&cluster, 1, 5);
    cluster.boot(2).await;
    cluster.elect(T, 1, &[1]).await;
    cluster.converged(&[1, 2], T).await;
    assert_eq!((cluster.log_start(2, T), cluster.log_end(2, T)), (5, 7));
    eventually(
        || cluster.state(T).isr == [1, 2],
        || format!("{:?}", cluster.state(T)),
    )
    .await;
    cluster.kill(1);
    cluster.elect(T, 2, &[2]).await;
    append_alone(&cluster, 2, &[30]).await;
    assert_eq!(cluster.high_watermark(2, T), 8);
}

/// KAFKA-6975.
#[tokio::test]
async fn row_18_a_new_replica_begins_within_a_batch_where_the_leaders_log_does() {
    let cluster = TestCluster::start(&[1, 2], &[]).await;
    cluster.create(T, &[1, 2]).await;
    cluster.kill(2);
    cluster.elect(T, 1, &[1]).await;
    for count in [4, 6, 5] {
        cluster.append(1, T, &batch(count, 10), 1).await;
    }
    delete_records(&cluster, 1, 6);
    cluster.wipe(2);
    cluster.boot(2).await;
    cluster.elect(T, 1, &[1]).await;
    cluster.converged(&[1, 2], T).await;
    assert_eq!((cluster.log_start(2, T), cluster.log_end(2, T)), (6, 15));
}

#[tokio::test]
async fn the_log_start_of_the_leader_becomes_that_of_its_followers() {
    let cluster = TestCluster::start(&[1, 2, 3], &[]).await;
    cluster.create(T, &[1, 2, 3]).await;
    for _ in 0..3 {
        assert_eq!(cluster.produce(1, T, &batch(2, 10)).await, ErrorCode::None);
    }
    delete_records(&cluster, 1, 3);
    let starts = || [2, 3].map(|id| cluster.log_start(id, T));
    eventually(|| starts() == [3, 3], || format!("{:?}", starts())).await;
    // And the leader learns of it, though nothing is written.
    let low = || {
        let partition = cluster.node(1).replicas.partition(T, 0).unwrap();
        partition.progress().unwrap().log_start
    };
    eventually(|| low() == Offset(3), || low().to_string()).await;
}

/// The leader lost what its follower has, and no epoch tells: the same epoch goes on.
#[tokio::test]
async fn a_follower_ahead_of_its_leader_gives_up_what_the_leader_does_not_have() {
    let cluster = TestCluster::start(&[1, 2], &[]).await;
    cluster.create(T, &[1, 2]).await;
    for size in 10..15 {
        assert_eq!(cluster.produce(1, T, &batch(1, size)).await, ErrorCode::None);
    }
    cluster.converged(&[1, 2], T).await;
    cluster.kill(1);
    cluster.wipe(1);
    cluster.boot(1).await;
    cluster.elect(T, 1, &[1]).await;
    append_alone(&cluster, 1, &[90, 91]).await;
    cluster.converged(&[1, 2], T).await;
    assert_eq!(cluster.log_end(2, T), 2);
}

#[tokio::test]
async fn a_follower_that_lags_leaves_the_isr_and_comes_back() {
    let cluster = TestCluster::start(&[1, 2, 3], &[]).await;
    cluster.create(T, &[1, 2, 3]).await;
    assert_eq!(cluster.produce(1, T, &batch(1, 10)).await, ErrorCode::None);
    cluster.cut(1, 3);
    // What waits for the follower that goes is acknowledged when it has gone.
    assert_eq!(cluster.produce(1, T, &batch(1, 10)).await, ErrorCode::None);
    assert_eq!(cluster.state(T).isr, [1, 2]);
    assert_eq!(cluster.high_watermark(1, T), 2);
    cluster.join(1, 3);
    eventually(
        || cluster.state(T).isr == [1, 2, 3],
        || format!("{:?}", cluster.state(T)),
    )
    .await;
    assert_eq!(cluster.produce(1, T, &batch(1, 10)).await, ErrorCode::None);
    cluster.converged(&[1, 2, 3], T).await;
    assert_eq!(
        cluster.asked(),
        [vec![1, 2], vec![1, 2, 3]],
        "and nothing else was asked for"
    );
}

/// KAFKA-13091, 13254: nobody else fetches, so only the change itself can move the high watermark.
#[tokio::test]
async fn row_13_what_waits_is_acknowledged_when_the_last_follower_has_left_the_isr() {
    let cluster = TestCluster::start(&[1, 2], &[]).await;
    cluster.create(T, &[1, 2]).await;
    cluster.cut(1, 2);
    assert_eq!(cluster.produce(1, T, &batch(1, 10)).await, ErrorCode::None);
    assert_eq!(cluster.state(T).isr, [1]);
    assert_eq!(cluster.high_watermark(1, T), 1);
}

/// An answer of the leader that comes after the epoch ended, as after a pause of the fetcher.
#[tokio::test]
async fn what_was_fetched_in_an_earlier_epoch_is_thrown_away() {
    let cluster = TestCluster::start(&[1, 2], &[]).await;
    cluster.create(T, &[1, 2]).await;
    cluster.cut(1, 2);
    append_alone(&cluster, 1, &[10]).await;
    let late = |epoch| Fetched {
        epoch: LeaderEpoch(epoch),
        offset: Offset(0),
        records: Some(cluster.contents(1, T).0.into()),
        high_watermark: Offset(1),
        log_start: Offset(0),
    };
    cluster.elect(T, 1, &[1, 2]).await;
    let partition = cluster.node(2).replicas.partition(T, 0).unwrap();
    let refused = partition.take_fetched(&late(0)).err();
    assert!(matches!(refused, Some(TakeError::Follow(FollowError::Outdated))));
    assert_eq!((cluster.log_end(2, T), cluster.high_watermark(2, T)), (0, 0));
    // Of the epoch that it follows in, the same is taken; and nothing any more once it leads.
    assert!(partition.take_fetched(&late(1)).is_ok());
    assert_eq!((cluster.log_end(2, T), cluster.high_watermark(2, T)), (1, 1));
    cluster.elect(T, 2, &[2]).await;
    let mut later = late(2);
    later.offset = Offset(1);
    let refused = partition.take_fetched(&later).err();
    assert!(matches!(refused, Some(TakeError::Follow(FollowError::Outdated))));
}

/// KAFKA-12686, 12751, 14144, 14154: replies that are lost, for shrinking and growing.
#[tokio::test]
async fn row_12_changes_of_the_isr_are_made_once_though_requests_and_replies_are_lost() {
    let cluster = TestCluster::start(&[1, 2], &[]).await;
    cluster.create(T, &[1, 2]).await;
    cluster.fates(&[
        Fate::Lost,
        Fate::AnswerLost,
        Fate::Refused(ErrorCode::NotController),
        Fate::AnswerLost,
    ]);
    cluster.cut(1, 2);
    assert_eq!(cluster.produce(1, T, &batch(1, 10)).await, ErrorCode::None);
    assert_eq!(
        (cluster.state(T).isr, cluster.state(T).partition_epoch),
        (vec![1], 1)
    );
    cluster.fates(&[
        Fate::AnswerLost,
        Fate::Lost,
        Fate::Refused(ErrorCode::IneligibleReplica),
    ]);
    cluster.join(1, 2);
    let known = || {
        let partition = cluster.node(1).replicas.partition(T, 0).unwrap();
        let state = partition.lock_blocking();
        (
            state.leadership.decided().isr.len(),
            state.leadership.decided().partition_epoch,
        )
    };
    eventually(|| known() == (2, 2), || format!("{:?}", known())).await;
    assert_eq!(cluster.state(T).partition_epoch, 2);
}

/// While the controller has not answered, whoever may be in sync counts.
#[tokio::test]
async fn the_high_watermark_waits_for_who_may_be_in_sync() {
    let cluster = TestCluster::start(&[1, 2], &[("min.insync.replicas", "2")]).await;
    cluster.create(T, &[1, 2]).await;
    cluster.elect(T, 1, &[1]).await;
    cluster.fates(&[Fate::Held]);
    eventually(|| !cluster.asked().is_empty(), || "nothing asked".to_owned()).await;
    // Too few are in sync for certain.
    assert_eq!(
        cluster.produce(1, T, &batch(1, 10)).await,
        ErrorCode::NotEnoughReplicas
    );
    cluster.let_go();
    eventually(
        || cluster.state(T).isr == [1, 2],
        || format!("{:?}", cluster.state(T)),
    )
    .await;
    assert_eq!(cluster.produce(1, T, &batch(1, 10)).await, ErrorCode::None);

    // One that is to go counts until it has gone.
    cluster.fates(&[Fate::Held]);
    let asked = cluster.asked().len();
    cluster.cut(1, 2);
    let before = cluster.high_watermark(1, T);
    append_alone(&cluster, 1, &[20]).await;
    eventually(|| cluster.asked().len() > asked, || "nothing asked".to_owned()).await;
    pause(50).await;
    assert_eq!(cluster.high_watermark(1, T), before);
    cluster.let_go();
    eventually(
        || cluster.state(T).isr == [1],
        || format!("{:?}", cluster.state(T)),
    )
    .await;
    pause(50).await;
    assert_eq!(
        cluster.high_watermark(1, T),
        before,
        "too few are in sync (row 14)"
    );
    assert_eq!(
        cluster.produce(1, T, &batch(1, 10)).await,
        ErrorCode::NotEnoughReplicas
    );
}

/// What waits for a second replica when the ISR shrinks to one is told so.
#[tokio::test]
async fn with_min_insync_replicas_two_nothing_is_acknowledged_by_one() {
    let cluster = TestCluster::start(&[1, 2], &[("min.insync.replicas", "2")]).await;
    cluster.create(T, &[1, 2]).await;
    assert_eq!(cluster.produce(1, T, &batch(1, 10)).await, ErrorCode::None);
    cluster.cut(1, 2);
    let mut answer = cluster.append(1, T, &batch(1, 10), -1).await;
    let pending = answer.pending.take().unwrap();
    let replicas = Arc::clone(&cluster.node(1).replicas);
    let waiting = replicas.wait_for_replication(vec![pending], Duration::from_secs(2));
    assert_eq!(
        waiting.finish().await,
        [ErrorCode::RequestTimedOut],
        "not by the one that is left"
    );
    assert_eq!(cluster.state(T).isr, [1]);
    cluster.join(1, 2);
    cluster.converged(&[1, 2], T).await;
    assert_eq!(cluster.produce(1, T, &batch(1, 10)).await, ErrorCode::None);
}

#[tokio::test]
async fn a_leader_that_was_replaced_answers_who_waits_and_takes_nothing() {
    let cluster = TestCluster::start(&[1, 2], &[]).await;
    cluster.create(T, &[1, 2]).await;
    cluster.cut(1, 2);
    let mut answer = cluster.append(1, T, &batch(1, 10), -1).await;
    let pending = answer.pending.take().unwrap();
    let waiting = cluster
        .node(1)
        .replicas
        .wait_for_replication(vec![pending], Duration::from_secs(20));
    cluster.elect(T, 2, &[2]).await;
    assert_eq!(waiting.finish().await, [ErrorCode::NotLeaderOrFollower]);
    assert_eq!(
        cluster.append(1, T, &batch(1, 10), 1).await.error,
        ErrorCode::NotLeaderOrFollower
    );
    append_alone(&cluster, 2, &[20]).await;
    cluster.join(1, 2);
    cluster.converged(&[2, 1], T).await;
    assert_eq!(cluster.log_end(1, T), 1);
}

/// Kafka would have it lead on in its old epoch.
#[tokio::test]
async fn who_is_told_that_nobody_leads_takes_no_records_and_serves_no_consumers() {
    let cluster = TestCluster::start(&[1, 2], &[]).await;
    cluster.create(T, &[1, 2]).await;
    assert_eq!(cluster.produce(1, T, &batch(1, 10)).await, ErrorCode::None);
    cluster.converged(&[1, 2], T).await;
    cluster.elect(T, -1, &[1]).await;
    assert_eq!(
        cluster.append(1, T, &batch(1, 10), 1).await.error,
        ErrorCode::NotLeaderOrFollower
    );
    for broker in [1, 2] {
        let node = cluster.node(broker);
        let mut asked = wanted(T, 0, 0);
        asked.current_leader_epoch = 0;
        let fetch = node
            .replicas
            .fetch(consumer(0, 1), vec![asked].into(), Vec::new());
        let super::fetch::Fetch::Ready(answers) = fetch else {
            panic!("parked");
        };
        assert_eq!(answers[0].error, ErrorCode::FencedLeaderEpoch, "broker {broker}");
        assert_eq!(node.replicas.fetchers.waiting(), 1, "broker {broker}");
    }
    cluster.elect(T, 1, &[1]).await;
    assert_eq!(cluster.produce(1, T, &batch(1, 10)).await, ErrorCode::None);
    cluster.converged(&[1, 2], T).await;
}

/// KIP-903.
#[tokio::test]
async fn row_9_a_wiped_replica_does_not_enter_the_isr_through_a_delayed_update() {
    let cluster = TestCluster::start(&[1, 2], &[]).await;
    cluster.create(T, &[1, 2]).await;
    cluster.elect(T, 1, &[1]).await;
    append_alone(&cluster, 1, &[10, 11, 12]).await;
    cluster.fates(&[Fate::Held]);
    eventually(|| !cluster.asked().is_empty(), || "nothing asked".to_owned()).await;
    // The change that has it join is on its way; it comes back empty.
    cluster.kill(2);
    cluster.wipe(2);
    cluster.cut(1, 2);
    cluster.boot(2).await;
    cluster.tell_metadata(T);
    cluster.let_go();
    pause(300).await;
    assert_eq!(cluster.state(T).isr, [1], "of an earlier life");
    cluster.join(1, 2);
    cluster.tell(T, &[2]).await;
    cluster.converged(&[1, 2], T).await;
    eventually(
        || cluster.state(T).isr == [1, 2],
        || format!("{:?}", cluster.state(T)),
    )
    .await;
}

#[tokio::test]
async fn a_leader_that_is_not_known_yet_is_followed_once_it_is() {
    let cluster = TestCluster::start(&[1], &[]).await;
    cluster.create(T, &[1, 2]).await;
    append_alone(&cluster, 1, &[10]).await;
    cluster.boot(2).await;
    // Broker 2 hears of the partition, and of the brokers only later.
    let node = cluster.node(2);
    assert_eq!(cluster.lead_and_follow(&node, T).await, ErrorCode::None);
    assert_eq!(node.replicas.fetchers.waiting(), 1);
    pause(50).await;
    assert_eq!(cluster.log_end(2, T), 0);
    cluster.tell_metadata(T);
    cluster.converged(&[1, 2], T).await;
    assert_eq!(node.replicas.fetchers.waiting(), 0);
}

#[tokio::test]
async fn a_stopped_replica_stays_and_follows_again_when_it_is_told_to() {
    let cluster = TestCluster::start(&[1, 2], &[]).await;
    cluster.create(T, &[1, 2]).await;
    assert_eq!(cluster.produce(1, T, &batch(1, 10)).await, ErrorCode::None);
    let node = cluster.node(2);
    let stop = |leader_epoch| StopReplica {
        sender: sender(node.epoch),
        partitions: vec![StopReplicaPartition {
            partition: TopicPartition::new(T, 0),
            leader_epoch: LeaderEpoch(leader_epoch),
            delete: false,
        }],
    };
    let stopped = node.replicas.stop_replica(stop(0)).await;
    assert_eq!(stopped.partitions[0].1, ErrorCode::None);
    // What was under way when it was stopped may still come; then nothing does.
    pause(200).await;
    append_alone(&cluster, 1, &[20]).await;
    pause(200).await;
    assert_eq!(cluster.log_end(2, T), 1);
    cluster.elect(T, 1, &[1]).await;
    cluster.converged(&[1, 2], T).await;
    // KIP-570 (row 28): one of an older epoch stops nothing.
    let late = node.replicas.stop_replica(stop(0)).await;
    assert_eq!(late.partitions[0].1, ErrorCode::FencedLeaderEpoch);
    append_alone(&cluster, 1, &[30]).await;
    cluster.converged(&[1, 2], T).await;
}

/// KIP-380, KAFKA-7235, 9839.
#[tokio::test]
async fn row_24_a_decision_for_an_earlier_life_of_the_broker_changes_nothing() {
    let cluster = TestCluster::start(&[1, 2], &[]).await;
    cluster.create(T, &[1, 2]).await;
    let old = sender(cluster.node(2).epoch);
    cluster.kill(2);
    cluster.boot(2).await;
    let node = cluster.node(2);
    let request = |sender| StopReplica {
        sender,
        partitions: vec![StopReplicaPartition {
            partition: TopicPartition::new(T, 0),
            leader_epoch: LeaderEpoch(-2),
            delete: true,
        }],
    };
    assert_eq!(
        node.replicas.stop_replica(request(old)).await.error,
        ErrorCode::StaleBrokerEpoch
    );
    assert!(node.replicas.partition(T, 0).is_some());
    let newer = sender(BrokerEpoch(node.epoch.get() + 1));
    assert_eq!(
        node.replicas.stop_replica(request(newer)).await.error,
        ErrorCode::None
    );
    assert!(node.replicas.partition(T, 0).is_none());
}

/// KIP-516, KAFKA-12332, 12257.
#[tokio::test]
async fn row_29_a_topic_made_anew_is_not_filled_from_the_old_one() {
    let cluster = TestCluster::start(&[1, 2], &[]).await;
    cluster.create(T, &[1, 2]).await;
    assert_eq!(cluster.produce(1, T, &batch(3, 10)).await, ErrorCode::None);
    cluster.kill(2);
    let node = cluster.node(1);
    let delete = StopReplica {
        sender: sender(node.epoch),
        partitions: vec![StopReplicaPartition {
            partition: TopicPartition::new(T, 0),
            leader_epoch: LeaderEpoch(-2),
            delete: true,
        }],
    };
    node.replicas.stop_replica(delete).await;
    cluster.create_with_id(T, 2, &[1, 2]).await;
    append_alone(&cluster, 1, &[90]).await;
    cluster.boot(2).await;
    cluster.tell_metadata(T);
    let answer = cluster.lead_and_follow(&cluster.node(2), T).await;
    assert_eq!(answer, ErrorCode::InconsistentTopicId);
    pause(100).await;
    assert_eq!(cluster.log_end(2, T), 3, "untouched");
    assert_eq!(cluster.with_log(2, T, |log| log.topic_id()), Some(topic_id(1)));
}

#[tokio::test]
async fn a_topic_without_an_id_is_fetched_by_its_name() {
    let cluster = TestCluster::start(&[1, 2], &[]).await;
    cluster.create_with_id("with", 1, &[1, 2]).await;
    assert_eq!(cluster.produce(1, "with", &batch(1, 10)).await, ErrorCode::None);
    cluster.create_with_id(T, 0, &[1, 2]).await;
    assert_eq!(cluster.produce(1, T, &batch(1, 10)).await, ErrorCode::None);
    assert_eq!(cluster.produce(1, "with", &batch(1, 10)).await, ErrorCode::None);
    cluster.converged(&[1, 2], T).await;
    cluster.converged(&[1, 2], "with").await;
}

#[tokio::test]
async fn requests_of_a_session_name_only_what_changed() {
    let cluster = TestCluster::start(&[1, 2], &[]).await;
    for number in 0..40u8 {
        cluster
            .create_with_id(&format!("topic-{number}"), number + 1, &[1, 2])
            .await;
    }
    let last = "topic-39";
    assert_eq!(cluster.produce(1, last, &batch(1, 10)).await, ErrorCode::None);
    pause(500).await;
    cluster.take_named();
    pause(400).await;
    let idle = cluster.take_named();
    assert!(
        idle.len() >= 2 && idle.iter().all(|named| *named == 0),
        "{idle:?}"
    );
    for _ in 0..3 {
        assert_eq!(cluster.produce(1, last, &batch(1, 10)).await, ErrorCode::None);
    }
    let busy = cluster.take_named();
    assert!(busy.iter().all(|named| *named <= 1), "{busy:?}");
    assert!(busy.contains(&1), "{busy:?}");
}

/// A link that was cut for a while.
#[tokio::test]
async fn a_leader_that_comes_back_is_followed_without_a_decision() {
    let cluster = TestCluster::start(&[1, 2], &[]).await;
    cluster.create(T, &[1, 2]).await;
    assert_eq!(cluster.produce(1, T, &batch(1, 10)).await, ErrorCode::None);
    cluster.cut(1, 2);
    append_alone(&cluster, 1, &[20]).await;
    pause(100).await;
    cluster.join(1, 2);
    cluster.converged(&[1, 2], T).await;
}

/// Kafka has one fetcher for all, and whoever produces with acks=all to a partition that is in sync waits for what is fetched of
/// those that are not.
#[tokio::test]
async fn a_partition_that_is_far_behind_is_fetched_beside_the_others_until_it_has_caught_up() {
    let cluster = TestCluster::start(&[1, 2], &[("replica.fetch.max.bytes", "1024")]).await;
    cluster.create_with_id("other", 1, &[1, 2]).await;
    cluster.create_with_id(T, 2, &[1, 2]).await;
    for topic in ["other", T] {
        assert_eq!(cluster.produce(1, topic, &batch(1, 10)).await, ErrorCode::None);
    }
    assert_eq!(cluster.clients(), ["broker-2-fetcher-0"]);
    cluster.cut(1, 2);
    for _ in 0..300 {
        append_alone(&cluster, 1, &[20]).await;
    }
    cluster.join(1, 2);
    let (name, follower) = (TopicPartition::new(T, 0), cluster.node(2));
    let catches_up = || follower.replicas.fetchers.is_catching_up(&name);
    let beside = "broker-2-fetcher-0-catching-up";
    eventually(
        || cluster.clients().iter().any(|one| one == beside),
        || "it stays among the others".to_owned(),
    )
    .await;
    assert_eq!(cluster.produce(1, "other", &batch(1, 10)).await, ErrorCode::None);
    cluster.converged(&[1, 2], T).await;
    eventually(
        || !catches_up(),
        || "the partition is beside the others".to_owned(),
    )
    .await;
    assert_eq!(
        cluster.clients(),
        ["broker-2-fetcher-0", "broker-2-fetcher-0-catching-up"]
    );
    for topic in [T, "other"] {
        assert_eq!(cluster.produce(1, topic, &batch(1, 10)).await, ErrorCode::None);
        cluster.converged(&[1, 2], topic).await;
    }
}

/// While a partition goes from one fetcher to the other both may have asked for it.
#[tokio::test]
async fn records_that_do_not_begin_at_the_end_of_the_log_are_dropped() {
    let cluster = TestCluster::start(&[1, 2], &[]).await;
    cluster.create(T, &[1, 2]).await;
    assert_eq!(cluster.produce(1, T, &batch(1, 10)).await, ErrorCode::None);
    cluster.converged(&[1, 2], T).await;
    let partition = cluster.node(2).replicas.partition(T, 0).unwrap();
    for offset in [0, 2, 11] {
        let fetched = Fetched {
            epoch: LeaderEpoch(0),
            offset: Offset(offset),
            records: Some(batch(1, 10)),
            high_watermark: Offset(20),
            log_start: Offset(0),
        };
        let taken = partition.take_fetched(&fetched);
        assert!(matches!(taken, Err(TakeError::Follow(FollowError::MovedOn))));
    }
    assert_eq!(cluster.log_end(2, T), 1);
}
