//! Consumers that read from the replica in their rack. Broker 1 stands in `rack-1`, and so on.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::answers::{FetchParameters, ReadAnswer};
use super::fetch::Fetch;
use super::fetch_session::FetchPartition;
use super::nearest::ConsumerPlace;
use super::test_cluster::{TestCluster, eventually};
use super::testing::{NOW_MS, batch, batch_with, consumer, wanted};
use super::waiting::Bound;
use crate::base::clock;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerId, ProducerEpoch, ProducerId};
use crate::base::task;
use crate::records::batch::Batches;
use crate::records::build::BatchOptions;
use crate::records::control::EndTransactionMarker;
use crate::storage::producer_state::Origin;

const T: &str = "t";

/// Followers that wait for records longer than any test does: what they learn sooner, they were told.
const PATIENT: [(&str, &str); 3] = [
    ("replica.fetch.wait.max.ms", "100000"),
    ("replica.socket.timeout.ms", "200000"),
    ("replica.lag.time.max.ms", "200000"),
];

fn in_rack(rack: &str, max_wait_ms: i32) -> FetchParameters {
    FetchParameters {
        place: Some(ConsumerPlace {
            rack: rack.into(),
            listener: "PLAINTEXT".into(),
        }),
        ..consumer(max_wait_ms, 1)
    }
}

fn fetch(cluster: &TestCluster, broker: i32, parameters: FetchParameters, asked: FetchPartition) -> Fetch {
    let node = cluster.node(broker);
    node.replicas.fetch(parameters, vec![asked].into(), Vec::new())
}

fn ready(fetch: Fetch) -> ReadAnswer {
    match fetch {
        Fetch::Ready(mut answers) => answers.remove(0),
        Fetch::Parked(_) => panic!("parked"),
    }
}

/// A fetch that waits.
fn waits(fetch: Fetch) -> JoinHandle<Vec<ReadAnswer>> {
    match fetch {
        Fetch::Parked(parked) => task::spawn(parked.finish()),
        Fetch::Ready(answers) => panic!("answered at once: {}", answers[0].error),
    }
}

/// What came to one that waited, within a test's patience.
async fn came(waiting: JoinHandle<Vec<ReadAnswer>>) -> ReadAnswer {
    let answers = clock::timeout(Duration::from_secs(20), waiting).await;
    answers.expect("nothing came").unwrap().remove(0)
}

fn offsets(answer: &ReadAnswer) -> Vec<i64> {
    let bytes = answer.records.as_ref().map(|slice| slice.read().unwrap());
    Batches::new(bytes.as_deref().unwrap_or_default())
        .map(|batch| batch.unwrap().base_offset.get())
        .collect()
}

/// Waits until a broker's high watermark is there.
async fn reaches(cluster: &TestCluster, broker: i32, offset: i64) {
    let now = || cluster.high_watermark(broker, T);
    eventually(|| now() == offset, || format!("broker {broker} is at {}", now())).await;
}

/// Where broker 1 sends a consumer.
fn sent_to(cluster: &TestCluster, rack: &str, offset: i64) -> Option<i32> {
    let answer = ready(fetch(cluster, 1, in_rack(rack, 0), wanted(T, 0, offset)));
    assert_eq!(answer.error, ErrorCode::None);
    answer.preferred_read_replica.map(BrokerId::get)
}

#[tokio::test]
async fn a_consumer_is_sent_to_the_replica_in_its_rack_and_reads_all_there() {
    let cluster = TestCluster::start(&[1, 2, 3], &PATIENT).await;
    cluster.create(T, &[1, 2, 3]).await;
    assert_eq!(cluster.produce(1, T, &batch(3, 50)).await, ErrorCode::None);
    for (rack, expected) in [
        ("rack-1", None),
        ("rack-2", Some(2)),
        ("rack-3", Some(3)),
        ("rack", None),
    ] {
        // Who is sent elsewhere is told so at once.
        let answer = ready(fetch(&cluster, 1, in_rack(rack, i32::MAX), wanted(T, 0, 0)));
        assert_eq!(answer.preferred_read_replica, expected.map(BrokerId), "{rack}");
        assert_eq!((answer.high_watermark, answer.log_start_offset), (3, 0));
        let read = if expected.is_some() { vec![] } else { vec![0] };
        assert_eq!(offsets(&answer), read, "{rack}");
    }
    let answer = ready(fetch(&cluster, 1, consumer(0, 1), wanted(T, 0, 0)));
    assert_eq!((offsets(&answer), answer.preferred_read_replica), (vec![0], None));
    for number in 0..5 {
        let next = 3 + number;
        assert_eq!(cluster.produce(1, T, &batch(1, 50)).await, ErrorCode::None);
        for broker in [2, 3] {
            reaches(&cluster, broker, next + 1).await;
            let answer = ready(fetch(
                &cluster,
                broker,
                in_rack("rack-2", i32::MAX),
                wanted(T, 0, next),
            ));
            assert_eq!(
                (offsets(&answer), answer.preferred_read_replica),
                (vec![next], None)
            );
        }
    }
}

#[tokio::test]
async fn a_consumer_waits_at_the_follower_for_its_high_watermark() {
    let cluster = TestCluster::start(&[1, 2], &PATIENT).await;
    cluster.create(T, &[1, 2]).await;
    assert_eq!(cluster.produce(1, T, &batch(1, 50)).await, ErrorCode::None);
    // The follower waits for records, and was not told that what it has is replicated.
    assert_eq!(sent_to(&cluster, "rack-2", 0), Some(2));
    let mut next = 0;
    while next < 10 {
        let answer = match fetch(&cluster, 2, in_rack("rack-2", i32::MAX), wanted(T, 0, next)) {
            Fetch::Ready(mut answers) => answers.remove(0),
            waiting @ Fetch::Parked(_) => {
                let waiting = waits(waiting);
                if next > 0 {
                    assert_eq!(cluster.produce(1, T, &batch(1, 50)).await, ErrorCode::None);
                }
                came(waiting).await
            }
        };
        assert_eq!((answer.error, offsets(&answer)), (ErrorCode::None, vec![next]));
        next += 1;
    }
}

#[tokio::test]
async fn nobody_is_sent_to_a_replica_that_is_dead_or_out_of_sync() {
    let cluster = TestCluster::start(&[1, 2, 3], &[("replica.lag.time.max.ms", "200000")]).await;
    cluster.create(T, &[1, 2, 3]).await;
    assert_eq!(cluster.produce(1, T, &batch(1, 50)).await, ErrorCode::None);
    assert_eq!(sent_to(&cluster, "rack-3", 0), Some(3));
    // It is known to be dead, and in sync still.
    cluster.kill(3);
    cluster.tell_metadata(T);
    assert_eq!(sent_to(&cluster, "rack-3", 0), None);
    cluster.cut(1, 2);
    cluster.elect(T, 1, &[1]).await;
    assert_eq!(sent_to(&cluster, "rack-2", 0), None);
    cluster.join(1, 2);
    eventually(
        || sent_to(&cluster, "rack-2", 0) == Some(2),
        || format!("{:?}", cluster.state(T)),
    )
    .await;
    // What it does not have yet, it is not asked for.
    cluster.cut(1, 2);
    let answer = cluster.append(1, T, &batch(1, 50), 1).await;
    assert_eq!(answer.error, ErrorCode::None);
    assert_eq!(sent_to(&cluster, "rack-2", 2), None);
    assert_eq!(sent_to(&cluster, "rack-2", 1), Some(2));
}

#[tokio::test]
async fn a_follower_answers_below_its_high_watermark_in_its_epoch_alone() {
    let cluster = TestCluster::start(&[1, 2], &[]).await;
    cluster.create(T, &[1, 2]).await;
    assert_eq!(cluster.produce(1, T, &batch(2, 50)).await, ErrorCode::None);
    cluster.converged(&[1, 2], T).await;
    let asked = |offset, epoch| FetchPartition {
        current_leader_epoch: epoch,
        ..wanted(T, 0, offset)
    };
    let at_follower = |offset, epoch| ready(fetch(&cluster, 2, in_rack("rack-2", 0), asked(offset, epoch)));
    cluster.elect(T, 1, &[1, 2]).await;
    for (offset, epoch, error) in [
        (0, 1, ErrorCode::None),
        (0, -1, ErrorCode::None),
        (2, 1, ErrorCode::None),
        (3, 1, ErrorCode::OffsetOutOfRange),
        (0, 0, ErrorCode::FencedLeaderEpoch),
        (0, 2, ErrorCode::UnknownLeaderEpoch),
    ] {
        assert_eq!(at_follower(offset, epoch).error, error, "{offset} {epoch}");
    }
    // Those of before version 11 know of leaders only.
    let old = FetchParameters {
        leader_only: true,
        ..consumer(0, 1)
    };
    assert_eq!(
        ready(fetch(&cluster, 2, old, wanted(T, 0, 0))).error,
        ErrorCode::NotLeaderOrFollower
    );
    // Above the high watermark there is nothing yet, up to the log's end, and that is no error.
    cluster.kill(2);
    cluster.cut(1, 2);
    cluster.boot(2).await;
    cluster.tell(T, &[2]).await;
    assert_eq!((cluster.log_end(2, T), cluster.high_watermark(2, T)), (2, 0));
    for (offset, error) in [
        (0, ErrorCode::None),
        (1, ErrorCode::None),
        (2, ErrorCode::None),
        (3, ErrorCode::OffsetOutOfRange),
    ] {
        let answer = at_follower(offset, 1);
        assert_eq!((answer.error, offsets(&answer)), (error, vec![]), "{offset}");
    }
    // One who waits is told when another epoch begins.
    let waiting = waits(fetch(&cluster, 2, in_rack("rack-2", i32::MAX), asked(0, 1)));
    cluster.elect(T, 1, &[1]).await;
    assert_eq!(came(waiting).await.error, ErrorCode::FencedLeaderEpoch);
}

#[tokio::test]
async fn read_committed_at_a_follower_ends_at_the_open_transaction_and_names_the_aborted() {
    let cluster = TestCluster::start(&[1, 2], &PATIENT).await;
    cluster.create(T, &[1, 2]).await;
    let transactional = BatchOptions {
        producer_id: ProducerId(5),
        producer_epoch: ProducerEpoch(0),
        base_sequence: 0,
        is_transactional: true,
        ..BatchOptions::default()
    };
    assert_eq!(cluster.produce(1, T, &batch(1, 10)).await, ErrorCode::None);
    assert_eq!(sent_to(&cluster, "rack-2", 0), Some(2));
    assert_eq!(
        cluster.produce(1, T, &batch_with(2, 10, transactional)).await,
        ErrorCode::None
    );
    assert_eq!(cluster.produce(1, T, &batch(1, 10)).await, ErrorCode::None);
    reaches(&cluster, 2, 4).await;
    let committed = |max_wait_ms| FetchParameters {
        bound: Bound::LastStable,
        ..in_rack("rack-2", max_wait_ms)
    };
    let answer = ready(fetch(&cluster, 2, committed(0), wanted(T, 0, 0)));
    assert_eq!((answer.high_watermark, answer.last_stable_offset), (4, 1));
    assert_eq!((offsets(&answer), answer.aborted), (vec![0], Some(vec![])));
    let waiting = waits(fetch(&cluster, 2, committed(i32::MAX), wanted(T, 0, 1)));
    let marker = EndTransactionMarker {
        commit: false,
        coordinator_epoch: 0,
    };
    let marker = marker
        .to_batch(ProducerId(5), ProducerEpoch(0), NOW_MS)
        .unwrap()
        .1;
    let node = cluster.node(1);
    let ended = node
        .replicas
        .append(T, 0, &marker, 1, Origin::Coordinator, NOW_MS)
        .await;
    assert_eq!(ended.error, ErrorCode::None);
    let answer = came(waiting).await;
    assert_eq!(offsets(&answer), [1, 3, 4]);
    let aborted = answer.aborted.unwrap();
    let aborted: Vec<_> = aborted
        .iter()
        .map(|one| (one.producer_id, one.first_offset))
        .collect();
    assert_eq!(aborted, [(5, 1)]);
    assert_eq!(answer.last_stable_offset, 5);
}
