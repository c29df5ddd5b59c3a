use super::*;
use crate::base::ids::BrokerEpoch;

const LAG_MAX: Duration = Duration::from_secs(30);

fn decision(leader: i32, leader_epoch: i32, partition_epoch: i32, isr: &[i32]) -> LeaderAndIsr {
    LeaderAndIsr {
        controller_epoch: ControllerEpoch(1),
        leader: BrokerId(leader),
        leader_epoch: LeaderEpoch(leader_epoch),
        partition_epoch,
        isr: ids(isr),
        replicas: ids(&[1, 2, 3]),
    }
}

fn ids(brokers: &[i32]) -> Vec<BrokerId> {
    brokers.iter().copied().map(BrokerId).collect()
}

/// Broker 1 leads in epoch 5, partition epoch 7, from offset 10 on.
fn leader(isr: &[i32]) -> (Leadership, Instant) {
    let now = Instant::now();
    let mut leadership = Leadership::new(BrokerId(1));
    assert_eq!(
        leadership.apply(decision(1, 5, 7, isr), Offset(10), now),
        Applied::NewEpoch { new_leader: true }
    );
    (leadership, now)
}

fn after(now: Instant, seconds: u64) -> Instant {
    now.after(Duration::from_secs(seconds))
}

/// Broker `id` fetches at `offset`, the leader's log ending at `log_end`.
fn fetches(leadership: &mut Leadership, id: i32, offset: i64, log_end: i64, now: Instant) {
    fetches_in_life(leadership, id, -1, offset, log_end, now);
}

fn fetches_in_life(
    leadership: &mut Leadership,
    id: i32,
    broker_epoch: i64,
    offset: i64,
    log_end: i64,
    now: Instant,
) {
    let fetch = FollowerFetch {
        offset: Offset(offset),
        log_start: Offset(1),
        broker_epoch: BrokerEpoch(broker_epoch),
    };
    let epoch = leadership.leader_epoch().get();
    let taken = leadership.follower_fetched(BrokerId(id), epoch, &fetch, Offset(log_end), now);
    assert_eq!(taken, Ok(()));
}

fn high_watermark(leadership: &Leadership, log_end: i64, min_isr: i32, now: Instant) -> Option<i64> {
    let moment = Moment {
        now: &|| now,
        lag_max: LAG_MAX,
        is_alive: &|_| true,
    };
    let allowed = leadership.high_watermark(Offset(log_end), min_isr, &moment);
    allowed.map(Offset::get)
}

fn members(change: &IsrChange) -> Vec<i32> {
    change.isr.iter().map(|(id, _)| id.get()).collect()
}

fn state(leader_epoch: i32, partition_epoch: i32, isr: &[i32]) -> Result<IsrState, ErrorCode> {
    Ok(IsrState {
        leader_epoch: LeaderEpoch(leader_epoch),
        isr: ids(isr),
        partition_epoch,
    })
}

const ALIVE: Option<BrokerEpoch> = Some(BrokerEpoch(-1));

#[tokio::test]
async fn requests_are_checked_by_epoch_first_and_role_second() {
    let (leader, now) = leader(&[1]);
    let mut follower = Leadership::new(BrokerId(1));
    follower.apply(decision(2, 5, 0, &[2]), Offset(0), now);
    let undecided = Leadership::new(BrokerId(1));
    for (leadership, epoch, leader_only, expected) in [
        (&leader, -1, true, Ok(())),
        (&leader, 5, true, Ok(())),
        (&leader, 4, true, Err(ErrorCode::FencedLeaderEpoch)),
        (&leader, 6, true, Err(ErrorCode::UnknownLeaderEpoch)),
        (&follower, 5, true, Err(ErrorCode::NotLeaderOrFollower)),
        (&follower, 5, false, Ok(())),
        (&follower, 4, true, Err(ErrorCode::FencedLeaderEpoch)),
        (&undecided, -1, false, Err(ErrorCode::NotLeaderOrFollower)),
    ] {
        assert_eq!(
            leadership.check(epoch, leader_only),
            expected,
            "{epoch} {leader_only}"
        );
    }
}

#[tokio::test]
async fn decisions_that_are_no_newer_change_nothing() {
    let (mut leadership, now) = leader(&[1, 2]);
    let mut elsewhere = decision(2, 6, 8, &[2]);
    elsewhere.replicas = ids(&[2, 3]);
    for (old, expected) in [
        (decision(2, 4, 9, &[2]), Applied::Stale),
        (decision(2, 5, 9, &[2]), Applied::Stale),
        (decision(1, 5, 7, &[1, 2]), Applied::Stale),
        (decision(2, 6, 6, &[2]), Applied::Ignored),
        (elsewhere, Applied::NotHere),
    ] {
        assert_eq!(leadership.apply(old, Offset(12), now), expected);
        assert!(leadership.is_leader());
        assert_eq!(leadership.decided().isr, ids(&[1, 2]));
        assert_eq!(leadership.decided().partition_epoch, 7);
    }
    // The epoch of the controller that wrote it is only remembered.
    let mut of_another = decision(2, 6, 8, &[2]);
    of_another.controller_epoch = ControllerEpoch(0);
    let new_epoch = Applied::NewEpoch { new_leader: false };
    assert_eq!(leadership.apply(of_another, Offset(12), now), new_epoch);
    assert!(leadership.follows_in(LeaderEpoch(6)) && !leadership.follows_in(LeaderEpoch(5)));
}

#[tokio::test]
async fn a_consumer_is_sent_to_the_most_caught_up_replica_that_is_near() {
    let (mut leadership, now) = leader(&[1, 2, 3]);
    let near = |brokers: &'static [i32]| move |id: BrokerId| brokers.contains(&id.get());
    let send = |leadership: &mut Leadership, offset, brokers| {
        let sent = leadership.send_consumer(Offset(offset), near(brokers), || now);
        sent.map(|(id, is_first)| (id.get(), is_first))
    };
    // Nothing is known of the followers.
    assert_eq!(send(&mut leadership, 1, &[2, 3]), None);
    fetches(&mut leadership, 2, 8, 20, now);
    fetches(&mut leadership, 3, 12, 20, now);
    for (offset, brokers, expected) in [
        (5, &[2, 3][..], Some((3, true))),
        (5, &[2, 3], Some((3, false))),
        (5, &[2], Some((2, true))),
        (8, &[2], Some((2, false))),
        (9, &[2], None),
        (9, &[2, 3], Some((3, false))),
        (13, &[2, 3], None),
        (0, &[2, 3], None), // below where their logs start
        (5, &[1, 2, 3], None),
        (5, &[], None),
    ] {
        assert_eq!(
            send(&mut leadership, offset, brokers),
            expected,
            "{offset} {brokers:?}"
        );
    }
    // The one that had all more recently, of two that have as much; then the higher id.
    fetches(&mut leadership, 3, 20, 20, now);
    fetches(&mut leadership, 2, 20, 20, after(now, 1));
    assert_eq!(send(&mut leadership, 5, &[2, 3]), Some((2, false)));
    fetches(&mut leadership, 3, 20, 20, after(now, 1));
    assert_eq!(send(&mut leadership, 5, &[2, 3]), Some((3, false)));
    // One that is out of sync may be far behind soon.
    leadership.apply(decision(1, 6, 8, &[1, 2]), Offset(20), now);
    assert_eq!(send(&mut leadership, 5, &[3]), None);
    assert_eq!(send(&mut leadership, 5, &[2, 3]), Some((2, true)));
    // A follower sends nobody.
    leadership.apply(decision(2, 7, 9, &[1, 2]), Offset(20), now);
    assert_eq!(send(&mut leadership, 5, &[2, 3]), None);
}

#[tokio::test]
async fn min_insync_replicas_is_no_more_than_the_replicas() {
    let now = Instant::now();
    let mut alone = Leadership::new(BrokerId(1));
    let mut of_one = decision(1, 0, 0, &[1]);
    of_one.replicas = ids(&[1]);
    alone.apply(of_one, Offset(0), now);
    assert_eq!(alone.check_append(-1, 2), Ok(LeaderEpoch(0)));
    assert_eq!(high_watermark(&alone, 7, 2, now), Some(7));

    let (three, now) = leader(&[1]);
    assert_eq!(three.check_append(-1, 2), Err(ErrorCode::NotEnoughReplicas));
    assert_eq!(three.check_append(1, 2), Ok(LeaderEpoch(5)));
    assert_eq!(high_watermark(&three, 7, 2, now), None);
    assert_eq!(three.acknowledgement(2), ErrorCode::NotEnoughReplicasAfterAppend);
    assert_eq!(three.acknowledgement(1), ErrorCode::None);
}

#[tokio::test]
async fn the_high_watermark_is_the_least_log_end_in_sync() {
    let (mut leadership, now) = leader(&[1, 2]);
    assert_eq!(high_watermark(&leadership, 20, 1, now), Some(-1), "not known yet");
    fetches(&mut leadership, 2, 15, 20, now);
    assert_eq!(high_watermark(&leadership, 20, 1, now), Some(15));
    // One that is not in sync does not count for the high watermark, but for the low watermark.
    fetches(&mut leadership, 3, 2, 20, now);
    assert_eq!(high_watermark(&leadership, 20, 1, now), Some(15));
    assert_eq!(leadership.low_watermark(Offset(4), |_| true), Offset(1));
    assert_eq!(
        leadership.low_watermark(Offset(4), |_| false),
        Offset(4),
        "the dead do not count"
    );
}

#[tokio::test]
async fn the_high_watermark_waits_for_who_could_join_while_it_is_caught_up_and_alive() {
    let (mut leadership, now) = leader(&[1]);
    fetches(&mut leadership, 2, 20, 20, now);
    assert_eq!(high_watermark(&leadership, 30, 1, now), Some(20));
    assert_eq!(high_watermark(&leadership, 30, 1, after(now, 31)), Some(30));
    let dead = Moment {
        now: &|| now,
        lag_max: LAG_MAX,
        is_alive: &|_| false,
    };
    assert_eq!(leadership.high_watermark(Offset(30), 1, &dead), Some(Offset(30)));
}

#[tokio::test]
async fn a_leader_that_is_confirmed_knows_its_followers_and_a_new_one_does_not() {
    let (mut leadership, now) = leader(&[1, 2]);
    fetches(&mut leadership, 2, 15, 20, now);
    let confirmed = leadership.apply(decision(1, 6, 8, &[1, 2]), Offset(20), now);
    assert_eq!(confirmed, Applied::NewEpoch { new_leader: false });
    assert_eq!(high_watermark(&leadership, 20, 1, now), Some(15));
    leadership.apply(decision(2, 7, 9, &[1, 2]), Offset(20), now);
    assert_eq!(high_watermark(&leadership, 20, 1, now), None);
    leadership.apply(decision(1, 8, 10, &[1, 2]), Offset(20), now);
    assert_eq!(high_watermark(&leadership, 20, 1, now), Some(-1));
}

#[tokio::test]
async fn strangers_do_not_fetch_as_followers() {
    let (leadership, _) = leader(&[1]);
    let check = |epoch| leadership.check_follower(BrokerId(9), epoch);
    assert_eq!(check(5), Err(ErrorCode::UnknownLeaderEpoch));
    assert_eq!(check(-1), Err(ErrorCode::NotLeaderOrFollower));
}

#[tokio::test]
async fn a_new_leader_says_when_its_latest_offset_is_not_known() {
    let (leadership, _) = leader(&[1, 2]);
    assert!(leadership.lags_behind_epoch(Offset(9)));
    assert!(!leadership.lags_behind_epoch(Offset(10)));
}

/// KAFKA-7128: up to the high watermark is not enough.
#[tokio::test]
async fn row_8_nobody_joins_the_isr_before_the_start_of_the_epoch() {
    for (offset, high_watermark, expected) in [(9, 5, false), (10, 5, true), (10, 12, false), (12, 12, true)]
    {
        let (mut leadership, now) = leader(&[1, 2]);
        fetches(&mut leadership, 3, offset, 20, now);
        let change = leadership.propose_expansion(BrokerId(3), Offset(high_watermark), ALIVE, now);
        assert_eq!(change.is_some(), expected, "{offset} {high_watermark}");
        if let Some(change) = change {
            assert_eq!(members(&change), [1, 2, 3], "in the order it had");
            assert_eq!((change.leader_epoch, change.partition_epoch), (LeaderEpoch(5), 7));
        }
    }
}

/// KIP-903, as far as a leader can see it.
#[tokio::test]
async fn row_9_a_replica_of_an_earlier_life_does_not_join() {
    for (told, registered, expected) in [
        (-1, Some(-1), true),
        (-1, Some(8), true),
        (8, Some(-1), true),
        (8, Some(8), true),
        (7, Some(8), false),
        (8, None, false),
    ] {
        let (mut leadership, now) = leader(&[1]);
        fetches_in_life(&mut leadership, 2, told, 20, 20, now);
        let registered = registered.map(BrokerEpoch);
        let change = leadership.propose_expansion(BrokerId(2), Offset(10), registered, now);
        assert_eq!(change.is_some(), expected, "{told} {registered:?}");
        if let Some(change) = change {
            assert_eq!(change.isr.last(), Some(&(BrokerId(2), BrokerEpoch(told))));
        }
    }
}

#[tokio::test]
async fn who_lags_for_too_long_leaves_the_isr() {
    // Where broker 2 and 3 stand (the log ends at 20), seconds since; who goes.
    for (second, third, seconds, expected) in [
        (20, 20, 100, vec![]),
        (20, 15, 30, vec![]),
        (20, 15, 31, vec![3]),
        (-1, -1, 31, vec![2, 3]),
        (-1, -1, 30, vec![]),
    ] {
        let (mut leadership, now) = leader(&[1, 2, 3]);
        for (id, offset) in [(2, second), (3, third)] {
            if offset >= 0 {
                fetches(&mut leadership, id, offset, 20, now);
            }
        }
        let shrunk = leadership.propose_shrinking(Offset(20), after(now, seconds), LAG_MAX);
        let out = shrunk.as_ref().map_or(Vec::new(), |(_, out)| out.clone());
        assert_eq!(out, ids(&expected), "{second} {third} {seconds}");
        if let Some((change, _)) = shrunk {
            assert!(
                change.isr.contains(&(BrokerId(1), BrokerEpoch(-1))),
                "the leader stays"
            );
        }
    }
}

#[tokio::test]
async fn while_a_change_is_in_flight_the_largest_isr_counts_and_nothing_else_is_proposed() {
    let (mut leadership, now) = leader(&[1]);
    fetches(&mut leadership, 2, 12, 12, now);
    let joins = leadership.propose_expansion(BrokerId(2), Offset(10), ALIVE, now);
    let joins = joins.unwrap();
    let later = after(now, 100);
    // Broker 2 counts though it lags; the confirmed ISR is still too small for writes that want two.
    assert_eq!(high_watermark(&leadership, 30, 1, later), Some(12));
    assert_eq!(leadership.check_append(-1, 2), Err(ErrorCode::NotEnoughReplicas));
    fetches(&mut leadership, 3, 30, 30, later);
    assert_eq!(
        leadership.propose_expansion(BrokerId(3), Offset(10), ALIVE, later),
        None
    );
    assert_eq!(leadership.propose_shrinking(Offset(30), later, LAG_MAX), None);
    let answered = leadership.isr_answered(&joins, state(5, 8, &[1, 2]), later);
    assert_eq!(answered, Answered::Committed);
    assert_eq!(leadership.check_append(-1, 2), Ok(LeaderEpoch(5)));

    // And one that is to leave counts until the answer.
    let (leaves, _) = leadership.propose_shrinking(Offset(30), later, LAG_MAX).unwrap();
    assert_eq!((members(&leaves), leaves.partition_epoch), (vec![1], 8));
    assert_eq!(high_watermark(&leadership, 30, 1, later), Some(12));
    leadership.isr_answered(&leaves, state(5, 9, &[1]), later);
    assert_eq!(high_watermark(&leadership, 30, 1, later), Some(30));
}

#[tokio::test]
async fn answers_to_a_change_are_taken_as_kafka_takes_them() {
    let waits = [
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::FencedLeaderEpoch,
        ErrorCode::InvalidUpdateVersion,
        ErrorCode::InvalidRequest,
        ErrorCode::NewLeaderElected,
    ];
    let again = [
        // Kafka's leader waits; see the deviations.
        ErrorCode::UnknownTopicId,
        ErrorCode::NotController,
        ErrorCode::StaleBrokerEpoch,
        ErrorCode::UnknownServerError,
        ErrorCode::RequestTimedOut,
    ];
    let refused = [ErrorCode::OperationNotAttempted, ErrorCode::IneligibleReplica];
    let all = waits
        .map(|error| (Err(error), Answered::Waits, true, 7))
        .into_iter()
        .chain(again.map(|error| (Err(error), Answered::Again, true, 7)))
        .chain(refused.map(|error| (Err(error), Answered::Refused, false, 7)))
        .chain([
            (state(5, 8, &[1, 2]), Answered::Committed, false, 8),
            // The ISR was as wanted already.
            (state(5, 7, &[1, 2]), Answered::Committed, false, 7),
            (state(5, 6, &[1, 2]), Answered::Outdated, true, 7),
            (state(6, 9, &[1, 2]), Answered::Outdated, true, 7),
        ]);
    for (answer, expected, in_flight, partition_epoch) in all {
        let (mut leadership, now) = leader(&[1]);
        fetches(&mut leadership, 2, 12, 12, now);
        let change = leadership.propose_expansion(BrokerId(2), Offset(10), ALIVE, now);
        let text = format!("{answer:?}");
        let answered = leadership.isr_answered(&change.unwrap(), answer, now);
        assert_eq!(answered, expected, "{text}");
        assert_eq!(leadership.is_isr_in_flight(), in_flight, "{text}");
        assert_eq!(leadership.decided().partition_epoch, partition_epoch, "{text}");
        let isr = if expected == Answered::Committed {
            ids(&[1, 2])
        } else {
            ids(&[1])
        };
        assert_eq!(leadership.decided().isr, isr, "{text}");
    }
}

/// KIP-841: a broker that stops is refused by the controller, however often it fetches.
#[tokio::test]
async fn row_11_what_was_refused_is_not_proposed_with_each_fetch() {
    let (mut leadership, now) = leader(&[1]);
    fetches(&mut leadership, 2, 12, 12, now);
    let change = leadership.propose_expansion(BrokerId(2), Offset(10), ALIVE, now);
    leadership.isr_answered(&change.unwrap(), Err(ErrorCode::IneligibleReplica), now);
    let again =
        |leadership: &mut Leadership, at| leadership.propose_expansion(BrokerId(2), Offset(10), ALIVE, at);
    assert_eq!(again(&mut leadership, now), None);
    assert!(again(&mut leadership, after(now, 1)).is_some());
}

/// KAFKA-12686 and others: replies that come late, twice or for another change.
#[tokio::test]
async fn row_12_a_decision_of_the_controller_cancels_what_is_in_flight() {
    let (mut leadership, now) = leader(&[1]);
    fetches(&mut leadership, 2, 12, 12, now);
    let change = leadership.propose_expansion(BrokerId(2), Offset(10), ALIVE, now);
    let change = change.unwrap();
    leadership.apply(decision(1, 6, 9, &[1, 3]), Offset(12), now);
    assert!(!leadership.is_isr_in_flight());
    let late = leadership.isr_answered(&change, state(5, 8, &[1, 2]), now);
    assert_eq!(late, Answered::Outdated);
    assert_eq!(leadership.decided().isr, ids(&[1, 3]));

    fetches(&mut leadership, 2, 12, 12, now);
    let next = leadership.propose_expansion(BrokerId(2), Offset(10), ALIVE, now);
    let next = next.unwrap();
    assert_ne!(next.serial, change.serial);
    for (change, answered) in [
        (&change, Answered::Outdated),
        (&next, Answered::Committed),
        (&next, Answered::Outdated),
    ] {
        let answer = leadership.isr_answered(change, state(6, 10, &[1, 3, 2]), now);
        assert_eq!(answer, answered);
    }
}

/// KAFKA-9672: whatever the controller or its answer says.
#[tokio::test]
async fn row_15_the_isr_is_a_subset_of_the_replicas() {
    let (mut leadership, now) = leader(&[1, 2, 9]);
    assert_eq!(leadership.decided().isr, ids(&[1, 2]));
    let (change, _) = leadership
        .propose_shrinking(Offset(20), after(now, 31), LAG_MAX)
        .unwrap();
    leadership.isr_answered(&change, state(5, 8, &[1, 9]), now);
    assert_eq!(leadership.decided().isr, ids(&[1]));
}
