//! Look-ups by time beside appends and truncations.

use std::cell::Cell;
use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::base::ids::{BrokerId, ControllerEpoch};
use crate::metadata::control::LeaderAndIsrPartition;
use crate::replica::testing::{NOW_MS, TestBroker, batch, topic_id};
use crate::storage::producer_state::Origin;

const QUERY: OffsetQuery = OffsetQuery {
    timestamp_ms: NOW_MS + 1,
    bound: Bound::HighWatermark,
    is_client: true,
    current_leader_epoch: -1,
    leader_only: true,
};

async fn leader(broker: &TestBroker) -> Arc<Partition> {
    broker.lead("t", 1, 1, 0, &[1]).await;
    let partition = broker.replicas.partition("t", 0).unwrap();
    assert!(append(&partition, 3));
    partition
}

/// Appends records with the timestamps from `NOW_MS` on.
fn append(partition: &Arc<Partition>, count: usize) -> bool {
    let appended = partition.append(&batch(count, 10), 1, Origin::Client, NOW_MS);
    appended.is_some_and(|(answer, _)| answer.error.is_none())
}

#[tokio::test]
async fn others_append_and_read_while_a_time_is_looked_up() {
    let broker = TestBroker::new(1);
    let partition = leader(&broker).await;
    let run = |search: &TimeSearch| {
        let (sender, receiver) = mpsc::channel();
        let other = Arc::clone(&partition);
        partition.pool().start_work(move || {
            let _ = sender.send(append(&other, 2));
        });
        let appended = receiver.recv_timeout(Duration::from_secs(30));
        assert_eq!(appended, Ok(true), "it waits for the look-up");
        search.run()
    };
    let found = partition.find_by_time(&QUERY, TimeQuery::AtLeast(QUERY.timestamp_ms), run);
    assert_eq!(found.map(|found| found.offset), Ok(1));
    assert_eq!(partition.progress().unwrap().log_end, Offset(5));
}

#[tokio::test]
async fn a_truncation_has_a_look_up_begin_anew() {
    let broker = TestBroker::new(1);
    let partition = leader(&broker).await;
    let (runs, cuts) = (Cell::new(0), Cell::new(1));
    let run = |search: &TimeSearch| {
        runs.set(runs.get() + 1);
        let searched = search.run();
        if runs.get() <= cuts.get() {
            let mut state = partition.lock_blocking();
            let _ = state.log.truncate_to(Offset::ZERO, NOW_MS, i64::MAX).unwrap();
            drop(state);
            assert!(append(&partition, 1) && append(&partition, 2));
        }
        searched
    };
    let look_up = || partition.find_by_time(&QUERY, TimeQuery::AtLeast(QUERY.timestamp_ms), run);
    assert_eq!(look_up().map(|found| found.offset), Ok(2));
    assert_eq!(runs.get(), 2);
    // One that is overtaken each time is not gone on with for ever.
    runs.set(0);
    cuts.set(u32::MAX);
    assert_eq!(look_up(), Err(ErrorCode::OffsetNotAvailable));
    assert_eq!(runs.get(), CHANGES_MAX + 1);
}

#[tokio::test]
async fn who_leads_no_more_does_not_tell_what_was_found() {
    let broker = TestBroker::new(1);
    let partition = leader(&broker).await;
    let run = |search: &TimeSearch| {
        let decision = LeaderAndIsrPartition {
            partition: 0,
            controller_epoch: ControllerEpoch(1),
            leader: Some(BrokerId(2)),
            leader_epoch: LeaderEpoch(1),
            isr: vec![BrokerId(2)],
            partition_epoch: 1,
            replicas: vec![BrokerId(1), BrokerId(2)],
            adding_replicas: Vec::new(),
            removing_replicas: Vec::new(),
            is_new: false,
            recovering: false,
        };
        assert!(partition.apply(topic_id(1), &decision, false).is_ok());
        search.run()
    };
    let found = partition.find_by_time(&QUERY, TimeQuery::Largest, run);
    assert_eq!(found, Err(ErrorCode::NotLeaderOrFollower));
}

#[tokio::test]
async fn segments_are_told_by_the_time_of_their_files() {
    let broker = TestBroker::new(1);
    let partition = leader(&broker).await;
    let offsets = |timestamp_ms| partition.segment_offsets(timestamp_ms, 10, true, true);
    let later = clock::now_ms() + 60_000;
    assert_eq!(offsets(-1), Ok(vec![3, 0]));
    assert_eq!(offsets(-2), Ok(vec![0]));
    assert_eq!(offsets(later), Ok(vec![3, 0]));
    assert_eq!(offsets(0), Ok(Vec::new()));
}
