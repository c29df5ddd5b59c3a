use std::sync::Arc;
use std::time::Duration;

use super::answers::{AppendAnswer, FetchParameters, ReadAnswer};
use super::fetch::Fetch;
use super::fetch_session::FetchPartition;
use super::offsets::{EARLIEST, LATEST, MAX_TIMESTAMP, OffsetQuery};
use super::testing::{
    ME, NOW_MS, TestBroker, batch, batch_with, consumer, idempotent, sender, topic_id, wanted,
};
use super::waiting::Bound;
use crate::base::disk::memory::Call;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerId, LeaderEpoch, Offset, ProducerEpoch, ProducerId, TopicPartition};
use crate::base::task;
use crate::metadata::control::{StopReplica, StopReplicaPartition, TOPIC_IS_DELETED};
use crate::records::batch::Batches;
use crate::records::build::BatchOptions;
use crate::records::control::EndTransactionMarker;
use crate::storage::producer_state::Origin;

async fn append(broker: &TestBroker, partition: i32, records: &bytes::Bytes, acks: i16) -> AppendAnswer {
    broker
        .replicas
        .append("t", partition, records, acks, Origin::Client, NOW_MS)
        .await
}

fn fetch(broker: &TestBroker, parameters: FetchParameters, wanted: &[FetchPartition]) -> Fetch {
    broker
        .replicas
        .fetch(parameters, wanted.to_vec().into(), Vec::new())
}

fn ready(fetch: Fetch) -> Vec<ReadAnswer> {
    match fetch {
        Fetch::Ready(answers) => answers,
        Fetch::Parked(_) => panic!("parked"),
    }
}

fn offsets(answer: &ReadAnswer) -> Vec<i64> {
    let bytes = answer.records.as_ref().map(|slice| slice.read().unwrap());
    Batches::new(bytes.as_deref().unwrap_or_default())
        .map(|batch| batch.unwrap().base_offset.get())
        .collect()
}

fn query(timestamp_ms: i64) -> OffsetQuery {
    OffsetQuery {
        timestamp_ms,
        bound: Bound::HighWatermark,
        is_client: true,
        current_leader_epoch: -1,
        leader_only: true,
    }
}

async fn find(broker: &TestBroker, timestamp_ms: i64) -> Result<i64, ErrorCode> {
    let found = broker.replicas.find_offset("t", 0, query(timestamp_ms)).await;
    found.map(|found| found.offset)
}

#[tokio::test]
async fn with_one_replica_an_append_is_acknowledged_at_once() {
    let broker = TestBroker::new(1);
    broker.lead("t", 1, 1, 0, &[1]).await;
    for (acks, expected) in [(-1, 0), (1, 3), (0, 6)] {
        let answer = append(&broker, 0, &batch(3, 10), acks).await;
        assert_eq!((answer.error, answer.base_offset), (ErrorCode::None, expected));
        assert!(answer.pending.is_none());
        assert_eq!((answer.log_append_time_ms, answer.log_start_offset), (-1, 0));
    }
    let progress = broker.replicas.partition("t", 0).unwrap().progress().unwrap();
    assert_eq!(
        (progress.log_end, progress.high_watermark),
        (Offset(9), Offset(9))
    );
}

#[tokio::test]
async fn a_duplicate_is_answered_with_the_offset_it_has() {
    let broker = TestBroker::new(1);
    broker.lead("t", 1, 1, 0, &[1]).await;
    for _ in 0..2 {
        let answer = append(&broker, 0, &idempotent(0, 4), -1).await;
        assert_eq!((answer.error, answer.base_offset), (ErrorCode::None, 0));
        let answer = append(&broker, 0, &idempotent(4, 2), -1).await;
        assert_eq!((answer.error, answer.base_offset), (ErrorCode::None, 4));
    }
    let gap = append(&broker, 0, &idempotent(9, 1), -1).await;
    assert_eq!(gap.error, ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!((gap.base_offset, gap.log_start_offset), (-1, 0));
    assert_eq!(find(&broker, LATEST).await, Ok(6));
}

/// Row 70: else what is acknowledged can be lost with the leader.
#[tokio::test]
async fn a_duplicate_waits_for_the_followers_as_the_first_try_does() {
    let broker = TestBroker::new(1);
    broker.lead("t", 1, 1, 0, &[1, 2]).await;
    for (acks, waits) in [(-1, true), (-1, true), (1, false)] {
        let answer = append(&broker, 0, &idempotent(0, 4), acks).await;
        assert_eq!((answer.error, answer.base_offset), (ErrorCode::None, 0));
        assert_eq!(answer.pending.is_some(), waits);
    }
}

#[tokio::test]
async fn partitions_that_are_elsewhere_and_those_that_are_nowhere_differ() {
    let broker = TestBroker::new(1);
    broker.lead("t", 1, 2, 0, &[1]).await;
    broker.replicas.forget("t", 1);
    for (partition, expected) in [
        (1, ErrorCode::NotLeaderOrFollower),
        (2, ErrorCode::UnknownTopicOrPartition),
        (-1, ErrorCode::UnknownTopicOrPartition),
        (i32::MAX, ErrorCode::UnknownTopicOrPartition),
    ] {
        assert_eq!(append(&broker, partition, &batch(1, 1), 1).await.error, expected);
        let answers = ready(fetch(&broker, consumer(10_000, 1), &[wanted("t", partition, 0)]));
        assert_eq!(answers[0].error, expected);
    }
}

#[tokio::test]
async fn a_fetch_reads_in_order_within_its_limits() {
    let broker = TestBroker::new(1);
    broker.lead("t", 1, 3, 0, &[1]).await;
    for partition in 0..3 {
        for _ in 0..3 {
            append(&broker, partition, &batch(1, 1000), 1).await;
        }
    }
    let size = batch(1, 1000).len();
    let all = [wanted("t", 0, 0), wanted("t", 1, 1), wanted("t", 2, 0)];
    let sizes = |parameters: FetchParameters, wanted: &[FetchPartition]| -> Vec<usize> {
        ready(fetch(&broker, parameters, wanted))
            .iter()
            .map(ReadAnswer::records_size)
            .collect()
    };
    assert_eq!(sizes(consumer(0, 1), &all), [3 * size, 2 * size, 3 * size]);
    let limited = |max_bytes: usize, hard_max_bytes| FetchParameters {
        max_bytes: max_bytes as i32,
        hard_max_bytes,
        ..consumer(0, 1)
    };
    // The last batch may be cut, but the first of a later partition is not.
    assert_eq!(sizes(limited(3 * size + 10, false), &all), [3 * size, 0, 0]);
    assert_eq!(
        sizes(limited(4 * size + 10, false), &all),
        [3 * size, size + 10, 0]
    );
    // One batch comes whole, whatever the limits; before v3 it is cut.
    assert_eq!(sizes(limited(10, false), &all), [size, 0, 0]);
    assert_eq!(sizes(limited(0, false), &all), [size, 0, 0]);
    assert_eq!(sizes(limited(10, true), &all), [10, 0, 0]);
    let mut small = all.clone();
    small[0].max_bytes = 10;
    small[1].max_bytes = -1;
    assert_eq!(sizes(consumer(0, 1), &small), [size, 0, 3 * size]);
}

#[tokio::test]
async fn a_fetch_starts_with_the_batch_that_holds_its_offset() {
    let broker = TestBroker::new(1);
    broker.lead("t", 1, 1, 0, &[1]).await;
    append(&broker, 0, &batch(5, 10), 1).await;
    append(&broker, 0, &batch(5, 10), 1).await;
    let read = |offset| ready(fetch(&broker, consumer(0, 1), &[wanted("t", 0, offset)])).remove(0);
    assert_eq!(offsets(&read(0)), [0, 5]);
    assert_eq!(offsets(&read(7)), [5]);
    assert_eq!(offsets(&read(10)), [] as [i64; 0]);
    assert_eq!(read(11).error, ErrorCode::OffsetOutOfRange);
    assert_eq!(read(-1).error, ErrorCode::OffsetOutOfRange);
    assert_eq!(read(11).high_watermark, -1);
}

#[tokio::test]
async fn an_append_wakes_a_fetch_that_waits() {
    let broker = TestBroker::new(1);
    broker.lead("t", 1, 2, 0, &[1]).await;
    let all = [wanted("t", 0, 0), wanted("t", 1, 0)];
    let Fetch::Parked(parked) = fetch(&broker, consumer(i32::MAX, 1), &all) else {
        panic!("nothing to read");
    };
    assert_eq!(broker.replicas.parking().parked(), 1);
    let waiting = task::spawn(parked.finish());
    append(&broker, 1, &batch(2, 10), 1).await;
    let answers = waiting.await.unwrap();
    assert_eq!((offsets(&answers[0]), offsets(&answers[1])), (vec![], vec![0]));
    assert_eq!(answers[1].high_watermark, 2);
    assert_eq!(broker.replicas.parking().parked(), 0);
}

#[tokio::test]
async fn a_fetch_waits_for_its_least_bytes_over_all_partitions() {
    let broker = TestBroker::new(1);
    broker.lead("t", 1, 2, 0, &[1]).await;
    let size = batch(1, 100).len() as i32;
    append(&broker, 0, &batch(1, 100), 1).await;
    let all = [wanted("t", 0, 0), wanted("t", 1, 0)];
    let Fetch::Parked(parked) = fetch(&broker, consumer(i32::MAX, 3 * size), &all) else {
        panic!("too little to answer");
    };
    let waiting = task::spawn(parked.finish());
    append(&broker, 1, &batch(1, 100), 1).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished());
    append(&broker, 0, &batch(1, 100), 1).await;
    let answers = waiting.await.unwrap();
    assert_eq!(
        (offsets(&answers[0]), offsets(&answers[1])),
        (vec![0, 1], vec![0])
    );
}

#[tokio::test]
async fn a_fetch_ends_with_its_time() {
    let broker = TestBroker::new(1);
    broker.lead("t", 1, 1, 0, &[1]).await;
    let Fetch::Parked(parked) = fetch(&broker, consumer(1, 1), &[wanted("t", 0, 0)]) else {
        panic!("nothing to read");
    };
    let answers = parked.finish().await;
    assert_eq!(
        (answers[0].error, answers[0].high_watermark),
        (ErrorCode::None, 0)
    );
    assert!(answers[0].records.is_none());
}

#[tokio::test]
async fn a_dropped_fetch_leaves_its_places() {
    let broker = TestBroker::new(1);
    broker.lead("t", 1, 1, 0, &[1]).await;
    let partition = broker.replicas.partition("t", 0).unwrap();
    let parked: Vec<_> = (0..100)
        .map(|_| fetch(&broker, consumer(i32::MAX, 1), &[wanted("t", 0, 0)]))
        .collect();
    assert_eq!(partition.lock_blocking().waiters.len(), 100);
    drop(parked);
    assert_eq!(partition.lock_blocking().waiters.len(), 0);
    assert_eq!(broker.replicas.parking().parked(), 0);
}

#[tokio::test]
async fn a_change_of_epoch_ends_the_wait() {
    let broker = TestBroker::new(1);
    broker.lead("t", 1, 1, 0, &[1]).await;
    let mut of_epoch = wanted("t", 0, 0);
    of_epoch.current_leader_epoch = 0;
    let Fetch::Parked(parked) = fetch(&broker, consumer(i32::MAX, 1), &[of_epoch]) else {
        panic!("nothing to read");
    };
    let waiting = task::spawn(parked.finish());
    broker.lead("t", 1, 1, 1, &[1]).await;
    assert_eq!(waiting.await.unwrap()[0].error, ErrorCode::FencedLeaderEpoch);
}

#[tokio::test]
async fn epochs_are_compared_on_every_read() {
    let broker = TestBroker::new(1);
    broker.lead("t", 1, 1, 0, &[1]).await;
    append(&broker, 0, &batch(4, 10), 1).await;
    broker.lead("t", 1, 1, 2, &[1]).await;
    append(&broker, 0, &batch(4, 10), 1).await;
    for (epoch, expected) in [
        (1, ErrorCode::FencedLeaderEpoch),
        (3, ErrorCode::UnknownLeaderEpoch),
        (2, ErrorCode::None),
    ] {
        let mut asked = wanted("t", 0, 8);
        asked.current_leader_epoch = epoch;
        assert_eq!(ready(fetch(&broker, consumer(0, 1), &[asked]))[0].error, expected);
        let query = OffsetQuery {
            current_leader_epoch: epoch,
            ..query(LATEST)
        };
        let found = broker.replicas.find_offset("t", 0, query).await;
        assert_eq!(found.err().unwrap_or(ErrorCode::None), expected);
    }
    for (last_epoch, offset, expected) in [
        (0, 4, None),
        (0, 5, Some((0, 4))),
        (1, 4, Some((0, 4))),
        (2, 8, None),
    ] {
        let mut asked = wanted("t", 0, offset);
        asked.last_fetched_epoch = last_epoch;
        let answer = ready(fetch(&broker, consumer(0, 1), &[asked])).remove(0);
        let diverging = answer.diverging_epoch.map(|one| (one.epoch, one.end_offset));
        assert_eq!(
            (answer.error, diverging),
            (ErrorCode::None, expected),
            "{last_epoch} {offset}"
        );
    }
    let mut unknown = wanted("t", 0, 8);
    unknown.last_fetched_epoch = 9;
    assert_eq!(
        ready(fetch(&broker, consumer(0, 1), &[unknown]))[0].error,
        ErrorCode::OffsetOutOfRange
    );
    for (epoch, expected) in [(0, (0, 4)), (1, (0, 4)), (2, (2, 8)), (3, (-1, -1))] {
        assert_eq!(
            broker.replicas.end_offset_for_epoch("t", 0, -1, epoch),
            Ok(expected)
        );
    }
}

#[tokio::test]
async fn a_topic_id_must_be_the_logs() {
    let broker = TestBroker::new(1);
    broker.lead("t", 1, 1, 0, &[1]).await;
    let mut other = wanted("t", 0, 0);
    other.topic_id = topic_id(2);
    assert_eq!(
        ready(fetch(&broker, consumer(10, 1), &[other]))[0].error,
        ErrorCode::InconsistentTopicId
    );
}

#[tokio::test]
async fn read_committed_stops_at_the_open_transaction_and_names_the_aborted() {
    let broker = TestBroker::new(1);
    broker.lead("t", 1, 1, 0, &[1]).await;
    let transactional = |sequence| {
        let options = BatchOptions {
            producer_id: ProducerId(5),
            producer_epoch: ProducerEpoch(0),
            base_sequence: sequence,
            is_transactional: true,
            ..BatchOptions::default()
        };
        batch_with(2, 10, options)
    };
    let committed = || FetchParameters {
        bound: Bound::LastStable,
        ..consumer(i32::MAX, 1)
    };
    append(&broker, 0, &batch(1, 10), 1).await;
    append(&broker, 0, &transactional(0), 1).await;
    append(&broker, 0, &batch(1, 10), 1).await;
    let answer = ready(fetch(&broker, committed(), &[wanted("t", 0, 0)])).remove(0);
    assert_eq!((answer.high_watermark, answer.last_stable_offset), (4, 1));
    assert_eq!((offsets(&answer), answer.aborted), (vec![0], Some(vec![])));
    let latest = OffsetQuery {
        bound: Bound::LastStable,
        ..query(LATEST)
    };
    let found = broker.replicas.find_offset("t", 0, latest).await.unwrap();
    assert_eq!(found.offset, 1);

    // A long poll that crosses the abort names it (KAFKA-5376), and more data in the open transaction does not end it.
    let Fetch::Parked(parked) = fetch(&broker, committed(), &[wanted("t", 0, 1)]) else {
        panic!("nothing is stable");
    };
    let waiting = task::spawn(parked.finish());
    append(&broker, 0, &transactional(2), 1).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished());
    let marker = EndTransactionMarker {
        commit: false,
        coordinator_epoch: 0,
    };
    let marker = marker
        .to_batch(ProducerId(5), ProducerEpoch(0), NOW_MS)
        .unwrap()
        .1;
    let ended = broker
        .replicas
        .append("t", 0, &marker, -1, Origin::Coordinator, NOW_MS)
        .await;
    assert_eq!(ended.error, ErrorCode::None);
    let answer = waiting.await.unwrap().remove(0);
    assert_eq!(offsets(&answer), [1, 3, 4, 6]);
    let aborted: Vec<_> = answer
        .aborted
        .unwrap()
        .iter()
        .map(|one| (one.producer_id, one.first_offset))
        .collect();
    assert_eq!(aborted, [(5, 1)]);
    assert_eq!(answer.last_stable_offset, 7);
}

#[tokio::test]
async fn offsets_are_found_by_time_and_by_the_special_timestamps() {
    let broker = TestBroker::new(1);
    broker.lead("t", 1, 1, 3, &[1]).await;
    assert_eq!(find(&broker, MAX_TIMESTAMP).await, Ok(-1));
    for _ in 0..2 {
        append(&broker, 0, &batch(5, 10), 1).await;
    }
    for (timestamp_ms, expected) in [
        (LATEST, 10),
        (EARLIEST, 0),
        (-4, 0),
        (-5, -1),
        (MAX_TIMESTAMP, 4),
        (0, 0),
        (NOW_MS + 2, 2),
        (NOW_MS + 5, -1),
        (i64::MAX, -1),
    ] {
        assert_eq!(find(&broker, timestamp_ms).await, Ok(expected), "{timestamp_ms}");
    }
    let latest = broker.replicas.find_offset("t", 0, query(LATEST)).await.unwrap();
    assert_eq!((latest.timestamp_ms, latest.leader_epoch), (-1, 3));
    let replicas = &broker.replicas;
    assert_eq!(
        replicas.segment_offsets("t", 0, LATEST, 10, true, true).await,
        Ok(vec![10, 0])
    );
    assert_eq!(
        replicas.segment_offsets("t", 0, LATEST, 1, true, true).await,
        Ok(vec![10])
    );
    assert_eq!(
        replicas.segment_offsets("t", 0, EARLIEST, 10, true, true).await,
        Ok(vec![0])
    );
}

#[tokio::test]
async fn records_are_deleted_up_to_the_high_watermark_and_no_further() {
    let broker = TestBroker::new(1);
    broker.lead("t", 1, 1, 0, &[1]).await;
    append(&broker, 0, &batch(10, 10), 1).await;
    let delete = |offset| {
        broker
            .replicas
            .delete_records("t", 0, offset)
            .map(|done| done.low_watermark)
    };
    assert_eq!(delete(11), Err(ErrorCode::OffsetOutOfRange));
    assert_eq!(delete(-2), Err(ErrorCode::OffsetOutOfRange));
    assert_eq!(delete(4), Ok(4));
    assert_eq!(delete(2), Ok(4));
    assert_eq!(find(&broker, EARLIEST).await, Ok(4));
    let read = |offset| ready(fetch(&broker, consumer(0, 1), &[wanted("t", 0, offset)])).remove(0);
    assert_eq!(read(3).error, ErrorCode::OffsetOutOfRange);
    assert_eq!(offsets(&read(4)), [0], "the batch that holds the offset");
    assert_eq!(delete(-1), Ok(10));

    broker.configure_topic("t", &[("cleanup.policy", "compact")]);
    crate::metadata::configs::ConfigListener::topic_configs_changed(&*broker.replicas, &["t".into()]);
    assert_eq!(delete(10), Err(ErrorCode::PolicyViolation));
    assert_eq!(
        broker.replicas.delete_records("__consumer_offsets", 0, 0).err(),
        Some(ErrorCode::InvalidTopicException)
    );
}

#[tokio::test]
async fn with_followers_the_acknowledgement_waits_for_their_fetches() {
    let broker = TestBroker::new(1);
    broker.lead("t", 1, 1, 0, &[1, 2]).await;
    let follower = |offset| {
        let parameters = FetchParameters {
            follower: Some(BrokerId(2)),
            bound: Bound::LogEnd,
            leader_only: true,
            ..consumer(0, 1)
        };
        ready(fetch(&broker, parameters, &[wanted("t", 0, offset)])).remove(0)
    };
    follower(0);
    let mut answer = append(&broker, 0, &batch(3, 10), -1).await;
    assert_eq!(answer.error, ErrorCode::None);
    let pending = answer.pending.take().unwrap();
    let minute = Duration::from_secs(60);
    let waiting = task::spawn(
        broker
            .replicas
            .wait_for_replication(vec![pending], minute)
            .finish(),
    );
    // The follower is given the records, and consumers are not.
    assert_eq!(offsets(&follower(0)), [0]);
    assert_eq!(
        offsets(&ready(fetch(&broker, consumer(0, 1), &[wanted("t", 0, 0)]))[0]),
        [] as [i64; 0]
    );
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished());
    follower(3);
    assert_eq!(waiting.await.unwrap(), [ErrorCode::None]);
    assert_eq!(find(&broker, LATEST).await, Ok(3));

    let pending = append(&broker, 0, &batch(3, 10), -1).await.pending.unwrap();
    let late = broker
        .replicas
        .wait_for_replication(vec![pending], Duration::from_millis(1));
    assert_eq!(late.finish().await, [ErrorCode::RequestTimedOut]);

    let stranger = FetchParameters {
        follower: Some(BrokerId(9)),
        bound: Bound::LogEnd,
        leader_only: true,
        ..consumer(0, 1)
    };
    let answers = ready(fetch(&broker, stranger, &[wanted("t", 0, 0)]));
    assert_eq!(answers[0].error, ErrorCode::NotLeaderOrFollower);
}

#[tokio::test]
async fn new_partitions_go_where_the_fewest_are() {
    let broker = TestBroker::new(3);
    broker.lead("t", 1, 7, 0, &[1]).await;
    let counts: Vec<usize> = broker
        .replicas
        .directories()
        .iter()
        .map(|directory| directory.partitions())
        .collect();
    assert_eq!(counts, [3, 2, 2]);
    let described = broker.replicas.describe_directories().await;
    let logs: usize = described.iter().map(|directory| directory.logs.len()).sum();
    assert_eq!((described.len(), logs), (3, 7));
}

#[tokio::test]
async fn a_failed_directory_answers_storage_errors_and_the_other_serves() {
    let broker = TestBroker::new(2);
    broker.lead("t", 1, 2, 0, &[1]).await;
    append(&broker, 0, &batch(1, 10), 1).await;
    append(&broker, 1, &batch(1, 10), 1).await;
    let bad = broker.replicas.partition("t", 0).unwrap();
    let good = broker.replicas.partition("t", 1).unwrap();
    assert!(!Arc::ptr_eq(bad.directory(), good.directory()));
    let path = bad.directory().path().to_string_lossy().into_owned();
    broker
        .disk
        .fail(Call::Write, &path, 0, u64::MAX, std::io::ErrorKind::StorageFull);
    let Fetch::Parked(parked) = fetch(&broker, consumer(i32::MAX, 1), &[wanted("t", 0, 1)]) else {
        panic!("nothing to read");
    };
    let shutdown = crate::base::shutdown::Shutdown::new();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let sender = std::sync::Mutex::new(Some(sender));
    broker.replicas.start_background(
        &shutdown,
        Arc::new(move |directory, last| {
            if let Some(sender) = sender.lock().unwrap().take() {
                sender.send((directory.path().to_owned(), last)).unwrap();
            }
        }),
        Arc::new(|_| {}),
    );
    assert_eq!(
        append(&broker, 0, &batch(1, 10), -1).await.error,
        ErrorCode::KafkaStorageError
    );
    assert_eq!(parked.finish().await[0].error, ErrorCode::KafkaStorageError);
    assert_eq!(
        receiver.await.unwrap(),
        (bad.directory().path().to_owned(), false)
    );
    assert_eq!(find(&broker, LATEST).await, Err(ErrorCode::KafkaStorageError));
    assert_eq!(append(&broker, 1, &batch(1, 10), -1).await.error, ErrorCode::None);
    let described = broker.replicas.describe_directories().await;
    let errors: Vec<_> = described.iter().map(|directory| directory.error).collect();
    assert_eq!(errors, [ErrorCode::KafkaStorageError, ErrorCode::None]);
    shutdown.begin();
}

#[tokio::test]
async fn a_deleted_replica_is_renamed_then_removed() {
    let broker = TestBroker::new(1);
    // Of segments; for how long a whole folder stays the broker says.
    broker.configure_topic("t", &[("file.delete.delay.ms", "1000")]);
    broker.lead("t", 1, 1, 0, &[1]).await;
    append(&broker, 0, &batch(1, 10), 1).await;
    let Fetch::Parked(parked) = fetch(&broker, consumer(i32::MAX, 1), &[wanted("t", 0, 1)]) else {
        panic!("nothing to read");
    };
    let answer = broker
        .replicas
        .stop_replica(StopReplica {
            sender: sender(),
            partitions: vec![StopReplicaPartition {
                partition: TopicPartition::new("t", 0),
                leader_epoch: TOPIC_IS_DELETED,
                delete: true,
            }],
        })
        .await;
    assert_eq!(
        answer.partitions,
        [(TopicPartition::new("t", 0), ErrorCode::None)]
    );
    assert_eq!(parked.finish().await[0].error, ErrorCode::NotLeaderOrFollower);
    let directory = Arc::clone(&broker.replicas.directories()[0]);
    let names = || -> Vec<String> {
        let entries = directory.volume().disk().list(directory.path()).unwrap();
        entries.into_iter().map(|entry| entry.name).collect()
    };
    let folders = names();
    assert!(
        folders.len() == 1 && folders[0].starts_with("t-0.") && folders[0].ends_with("-delete"),
        "{folders:?}"
    );
    for passed_ms in [0, 50_000] {
        broker
            .replicas
            .empty_graveyard(&directory, crate::base::clock::now_ms() + passed_ms);
        assert_eq!(names().len(), 1, "log.segment.delete.delay.ms has not passed");
    }
    broker
        .replicas
        .empty_graveyard(&directory, crate::base::clock::now_ms() + 60_001);
    assert!(names().is_empty());
    assert_eq!(directory.partitions(), 0);
}

#[tokio::test]
async fn checkpoints_are_written_once_a_directory_and_only_when_they_changed() {
    let broker = TestBroker::new(1);
    broker.lead("t", 1, 3, 0, &[1]).await;
    append(&broker, 1, &batch(2, 10), 1).await;
    let directory = Arc::clone(&broker.replicas.directories()[0]);
    let read = |name: &str| {
        let path = directory.path().join(name);
        String::from_utf8(directory.volume().disk().read(&path, 1000).unwrap()).unwrap()
    };
    broker.replicas.checkpoint_high_watermarks(&directory);
    assert_eq!(
        read("replication-offset-checkpoint"),
        "0\n3\nt 0 0\nt 1 2\nt 2 0\n"
    );
    let before = broker.disk.counts().syncs;
    broker.replicas.checkpoint_high_watermarks(&directory);
    assert_eq!(broker.disk.counts().syncs, before);
    broker.replicas.checkpoint_log_starts(&directory);
    assert_eq!(read("log-start-offset-checkpoint"), "0\n0\n");
    broker.replicas.delete_records("t", 1, 1).unwrap();
    broker.replicas.checkpoint_log_starts(&directory);
    assert_eq!(read("log-start-offset-checkpoint"), "0\n1\nt 1 1\n");
    broker.replicas.checkpoint_recovery_points(&directory);
    assert!(read("recovery-point-offset-checkpoint").starts_with("0\n3\n"));
}

#[tokio::test]
async fn a_clean_stop_makes_everything_durable() {
    let broker = TestBroker::new(2);
    broker.lead("t", 1, 4, 0, &[1]).await;
    for partition in 0..4 {
        append(&broker, partition, &batch(3, 10), 1).await;
    }
    assert_eq!(broker.close().await, 2);
    assert_eq!(
        append(&broker, 0, &batch(1, 10), 1).await.error,
        ErrorCode::UnknownTopicOrPartition
    );
    for directory in broker.replicas.directories() {
        let path = directory.path().join("recovery-point-offset-checkpoint");
        let text = String::from_utf8(directory.volume().disk().read(&path, 1000).unwrap()).unwrap();
        assert_eq!(
            text.lines().filter(|line| line.ends_with(" 3")).count(),
            2,
            "{text}"
        );
    }
}

/// What is to be durable before the first append of each is written together, at once or by a stop that comes first.
#[tokio::test]
async fn many_new_logs_are_not_synced_one_after_the_other() {
    let broker = TestBroker::new(1);
    let begun = broker.disk.counts().syncs;
    broker.lead("t", 1, 100, 0, &[1]).await;
    let directory = Arc::clone(&broker.replicas.directories()[0]);
    assert_eq!(broker.close().await, 1);
    // The directory once, for the new folders; twice the file system for the ids, and twice for the logs; and two for each
    // of the three checkpoints.
    assert_eq!(broker.disk.counts().syncs - begun, 11);
    broker.disk.power_cut(|| false);
    for partition in 0..100 {
        let folder = directory.path().join(format!("t-{partition}"));
        let id = crate::storage::partition_metadata::read(directory.volume().disk(), &folder);
        assert_eq!(id.unwrap(), Some(topic_id(1)), "{partition}");
    }
}

#[tokio::test]
async fn a_clean_stop_of_many_logs_does_not_sync_one_after_the_other() {
    let broker = TestBroker::new(1);
    broker.lead("t", 1, 100, 0, &[1]).await;
    for partition in 0..100 {
        append(&broker, partition, &batch(3, 10), 1).await;
    }
    let directory = Arc::clone(&broker.replicas.directories()[0]);
    // What the pool does for new logs, beside the appends, comes before this.
    directory.pool().run(|| ()).await.unwrap();
    let before = broker.disk.counts().syncs;
    assert_eq!(broker.close().await, 1);
    let syncs = broker.disk.counts().syncs - before;
    // Two of the file system, and two for each of the three checkpoints.
    assert_eq!(syncs, 8);
    broker.disk.power_cut(|| false);
    let disk = directory.volume().disk();
    for partition in 0..100 {
        let folder = directory.path().join(format!("t-{partition}"));
        let names: Vec<_> = disk
            .list(&folder)
            .unwrap()
            .into_iter()
            .map(|entry| entry.name)
            .collect();
        assert_eq!(
            names,
            [
                "00000000000000000000.index",
                "00000000000000000000.log",
                "00000000000000000000.timeindex",
                "00000000000000000003.snapshot",
                "leader-epoch-checkpoint",
                "partition.metadata",
            ]
        );
        let epochs = disk.read(&folder.join("leader-epoch-checkpoint"), 100).unwrap();
        assert_eq!(epochs, b"0\n1\n0 0\n");
        let log = disk.metadata(&folder.join("00000000000000000000.log")).unwrap();
        assert!(log.length > 0);
    }
}

#[tokio::test]
async fn flush_messages_holds_the_acknowledgement_until_the_sync() {
    let broker = TestBroker::new(1);
    broker.configure_topic("t", &[("flush.messages", "1")]);
    broker.lead("t", 1, 1, 0, &[1]).await;
    let mut answer = append(&broker, 0, &batch(1, 10), 1).await;
    assert_eq!(answer.flush.take().unwrap().done().await, ErrorCode::None);
    broker
        .disk
        .fail(Call::Sync, "", 0, u64::MAX, std::io::ErrorKind::Other);
    let mut answer = append(&broker, 0, &batch(1, 10), 1).await;
    assert_eq!(
        answer.flush.take().unwrap().done().await,
        ErrorCode::KafkaStorageError
    );
    assert_eq!(
        append(&broker, 0, &batch(1, 10), 1).await.error,
        ErrorCode::KafkaStorageError
    );
}

#[tokio::test]
async fn flush_ms_syncs_what_was_appended_and_nothing_before_its_time() {
    let broker = TestBroker::new(1);
    broker.configure_topic("t", &[("flush.ms", "1000")]);
    broker.lead("t", 1, 1, 0, &[1]).await;
    let partition = broker.replicas.find("t", 0).unwrap();
    let recovery_point = || partition.lock_blocking().log.recovery_point();
    let last_ms = || partition.lock_blocking().log.last_flush_ms();
    append(&broker, 0, &batch(3, 10), 1).await;
    partition.flush_if_due(last_ms() + 999);
    assert_eq!(recovery_point(), Offset(0));
    partition.flush_if_due(last_ms() + 1000);
    assert_eq!(recovery_point(), Offset(3));
    // Nothing is unsynced: there is nothing to do, however long ago it was.
    let synced = broker.disk.counts().syncs;
    partition.flush_if_due(last_ms() + 1_000_000);
    assert_eq!(broker.disk.counts().syncs, synced);
}

#[tokio::test]
async fn who_may_lead_no_more_does_not_say_that_an_offset_is_beyond_the_end() {
    let broker = TestBroker::new(1);
    let replicas = &broker.replicas;
    replicas.registered(crate::base::ids::BrokerEpoch(1)).await;
    broker.lead("t", 1, 1, 0, &[1]).await;
    append(&broker, 0, &batch(3, 10), 1).await;
    let beyond = || ready(fetch(&broker, consumer(100, 1), &[wanted("t", 0, 4)]))[0].error;
    assert_eq!(beyond(), ErrorCode::OffsetOutOfRange);
    replicas.store_answers(false);
    assert_eq!(beyond(), ErrorCode::NotLeaderOrFollower);
    replicas.store_answers(true);
    assert_eq!(beyond(), ErrorCode::OffsetOutOfRange);
    replicas.store_session_is_over().await;
    assert_eq!(beyond(), ErrorCode::NotLeaderOrFollower);
    // Registered again, and not told yet.
    replicas.registered(crate::base::ids::BrokerEpoch(1)).await;
    assert_eq!(beyond(), ErrorCode::NotLeaderOrFollower);
    broker.lead("t", 1, 1, 1, &[1]).await;
    assert_eq!(beyond(), ErrorCode::OffsetOutOfRange);
    assert_eq!(
        offsets(&ready(fetch(&broker, consumer(100, 1), &[wanted("t", 0, 0)]))[0]),
        [0]
    );
}

#[tokio::test]
async fn stale_controllers_and_registrations_are_refused() {
    let broker = TestBroker::new(1);
    broker.lead("t", 1, 1, 0, &[1]).await;
    broker.replicas.registered(crate::base::ids::BrokerEpoch(9)).await;
    let stop = |broker_epoch, controller_epoch| StopReplica {
        sender: crate::metadata::control::Sender {
            controller: ME,
            controller_epoch: crate::base::ids::ControllerEpoch(controller_epoch),
            broker_epoch: crate::base::ids::BrokerEpoch(broker_epoch),
        },
        partitions: Vec::new(),
    };
    for (broker_epoch, controller_epoch, expected) in [
        (8, 1, ErrorCode::StaleBrokerEpoch),
        (9, 0, ErrorCode::StaleControllerEpoch),
        (10, 1, ErrorCode::None),
        (9, 2, ErrorCode::None),
        (9, 1, ErrorCode::StaleControllerEpoch),
    ] {
        let answer = broker
            .replicas
            .stop_replica(stop(broker_epoch, controller_epoch))
            .await;
        assert_eq!(answer.error, expected);
    }
    let epoch = broker.replicas.leader_of("t", 0).map(|(_, epoch)| epoch);
    assert_eq!(epoch, Some(LeaderEpoch(0)));
}

#[tokio::test]
async fn a_directory_whose_calls_do_not_return_takes_no_more_of_them() {
    let broker = TestBroker::new(2);
    broker.lead("t", 1, 2, 0, &[1]).await;
    let slow = broker.replicas.partition("t", 0).unwrap();
    let watch = slow.directory().watch();
    let mut look = watch.look(crate::base::clock::Instant::now());
    let hanging = watch.begin();
    let later = crate::base::clock::Instant::now().after(Duration::from_secs(5));
    assert_eq!(
        watch.look_again(&mut look, later, Duration::from_secs(1)),
        Some(true)
    );
    // Reads are refused, writes wait on the directory's pool, and the other directory serves.
    let answers = ready(fetch(&broker, consumer(100, 1), &[wanted("t", 0, 0)]));
    assert_eq!(answers[0].error, ErrorCode::KafkaStorageError);
    assert!(slow.append(&batch(1, 10), 1, Origin::Client, NOW_MS).is_none());
    assert_eq!(append(&broker, 0, &batch(1, 10), 1).await.error, ErrorCode::None);
    assert_eq!(append(&broker, 1, &batch(1, 10), 1).await.error, ErrorCode::None);
    drop(hanging);
}

#[tokio::test]
async fn retention_keeps_what_is_not_replicated() {
    let broker = TestBroker::new(1);
    broker.configure_topic("t", &[("retention.ms", "1"), ("segment.bytes", "200")]);
    broker.lead("t", 1, 1, 0, &[1, 2]).await;
    for _ in 0..5 {
        assert_eq!(append(&broker, 0, &batch(2, 10), 1).await.error, ErrorCode::None);
    }
    let partition = broker.replicas.partition("t", 0).unwrap();
    let later = NOW_MS + 10_000_000;
    broker.replicas.retain_one(&partition, later);
    assert_eq!(find(&broker, EARLIEST).await, Ok(0), "the high watermark is 0");
    let follower = FetchParameters {
        follower: Some(BrokerId(2)),
        bound: Bound::LogEnd,
        leader_only: true,
        ..consumer(0, 1)
    };
    ready(fetch(&broker, follower, &[wanted("t", 0, 10)]));
    broker.replicas.retain_one(&partition, later);
    assert_eq!(find(&broker, EARLIEST).await, Ok(10));
}

#[tokio::test]
async fn an_answer_has_no_records_above_the_offsets_it_tells() {
    const ROUNDS: i64 = 10_000;
    let broker = Arc::new(TestBroker::new(1));
    broker.lead("t", 1, 1, 0, &[1, 2]).await;
    // Threads: one appends, one fetches as the follower, this one as consumers.
    let pool = task::Pool::start("racers", 2).unwrap();
    let partition = broker.replicas.partition("t", 0).unwrap();
    let appender = {
        let (partition, pool) = (Arc::clone(&partition), pool.clone());
        let append = move || {
            for _ in 0..ROUNDS {
                let (answer, wakes) = partition
                    .append(&batch(1, 100), 1, Origin::Client, NOW_MS)
                    .unwrap();
                assert_eq!(answer.error, ErrorCode::None);
                wakes.dispatch();
            }
        };
        async move { pool.run(append).await }
    };
    let follower = {
        let broker = Arc::clone(&broker);
        let follow = move || {
            let mut next = 0;
            while next < ROUNDS {
                // One batch at a time, so that the high watermark moves as often as it can.
                let parameters = FetchParameters {
                    follower: Some(BrokerId(2)),
                    max_bytes: 1,
                    bound: Bound::LogEnd,
                    leader_only: true,
                    ..consumer(0, 1)
                };
                let answer = ready(fetch(&broker, parameters, &[wanted("t", 0, next)])).remove(0);
                next = offsets(&answer).last().map_or(next, |last| last + 1);
            }
        };
        async move { pool.run(follow).await }
    };
    let finished = task::spawn(async move { tokio::join!(appender, follower) });
    let mut next = 0;
    while next < ROUNDS - 1 {
        let parameters = FetchParameters {
            bound: if next % 2 == 0 {
                Bound::HighWatermark
            } else {
                Bound::LastStable
            },
            ..consumer(0, 1)
        };
        let answer = ready(fetch(&broker, parameters, &[wanted("t", 0, next)])).remove(0);
        if let Some(last) = offsets(&answer).last() {
            assert!(
                *last < answer.high_watermark,
                "{last} above {}",
                answer.high_watermark
            );
            assert!(*last < answer.last_stable_offset);
            next = last + 1;
        }
        // The follower's last fetch tells of all but what came after it.
        if finished.is_finished() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let (appended, followed) = finished.await.unwrap();
    appended.unwrap();
    followed.unwrap();
}

#[tokio::test]
async fn parked_fetches_are_bounded() {
    let broker = TestBroker::new(1);
    broker.lead("t", 1, 1, 0, &[1]).await;
    let one = || fetch(&broker, consumer(i32::MAX, i32::MAX), &[wanted("t", 0, 0)]);
    let mut parked = Vec::new();
    for _ in 0..super::waiting::MAX_PARKED_REQUESTS {
        match one() {
            Fetch::Parked(fetch) => parked.push(fetch),
            Fetch::Ready(_) => panic!("there is room"),
        }
    }
    assert_eq!(ready(one())[0].error, ErrorCode::None);
    parked.truncate(10);
    assert!(matches!(one(), Fetch::Parked(_)));
    drop(parked);
    assert_eq!(broker.replicas.parking().parked(), 0);
    let partition = broker.replicas.partition("t", 0).unwrap();
    assert!(partition.lock_blocking().waiters.is_empty());
}
