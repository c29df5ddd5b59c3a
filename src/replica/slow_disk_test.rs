//! Directories that do not answer, or not in time.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::directories::HostDirectory;
use super::following::{FollowError, Order, ToCut};
use super::offsets::OffsetQuery;
use super::partition::Partition;
use super::stall::StallWatch;
use super::testing::{NOW_MS, TestBroker, batch, batch_with, idempotent, sender};
use super::waiting::Bound;
use crate::base::clock::{self, Instant};
use crate::base::disk::memory::Call;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerId, LeaderEpoch, Offset, ProducerEpoch, ProducerId, TopicPartition};
use crate::base::shutdown::Shutdown;
use crate::base::task;
use crate::metadata::control::{ControlAnswer, StopReplica, StopReplicaPartition};
use crate::records::build::BatchOptions;
use crate::storage::producer_state::Origin;

/// Nothing runs on the pool of a directory before this is dropped.
pub(super) fn occupy(directory: &Arc<HostDirectory>) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel();
    directory.pool().start_work(move || {
        let _ = released.recv();
    });
    release
}

pub(super) async fn until(condition: impl Fn() -> bool) {
    for _ in 0..60_000 {
        if condition() {
            return;
        }
        clock::sleep(Duration::from_millis(1)).await;
    }
    panic!("it does not come to that");
}

/// Looks until a directory is found to hang, or to answer again.
pub(super) async fn is_found(watch: &StallWatch, hangs: bool) {
    let (mut look, mut now) = (watch.look(Instant::now()), Instant::now());
    for _ in 0..5000 {
        now = now.after(Duration::from_secs(5));
        if watch.look_again(&mut look, now, Duration::from_secs(1)) == Some(hangs) {
            return;
        }
        clock::sleep(Duration::from_millis(1)).await;
    }
    panic!("it does not come to that");
}

pub(super) async fn stop(broker: &TestBroker, leader_epoch: i32) -> ControlAnswer {
    broker
        .replicas
        .stop_replica(StopReplica {
            sender: sender(),
            partitions: vec![StopReplicaPartition {
                partition: TopicPartition::new("t", 0),
                leader_epoch: LeaderEpoch(leader_epoch),
                delete: true,
            }],
        })
        .await
}

fn high_watermark(partition: &Partition) -> Offset {
    partition.progress().unwrap().high_watermark
}

#[tokio::test]
async fn decisions_for_a_directory_that_does_not_answer_are_taken_when_it_does() {
    let broker = TestBroker::new(2);
    broker.lead("t", 1, 2, 0, &[1, 2]).await;
    let slow = broker.replicas.partition("t", 0).unwrap();
    let directory = Arc::clone(slow.directory());
    let release = occupy(&directory);
    let watch = directory.watch();
    let mut look = watch.look(Instant::now());
    let hanging = watch.begin();
    let later = Instant::now().after(Duration::from_secs(5));
    let second = Duration::from_secs(1);
    assert_eq!(watch.look_again(&mut look, later, second), Some(true));

    // Answered without error, each of them, for the other directory's partition at once.
    broker.decide("t", 1, 2, 1, (2, &[1, 2], &[1, 2])).await;
    let good = broker.replicas.partition("t", 1).unwrap();
    assert_eq!(good.leader(), Some((BrokerId(2), LeaderEpoch(1))));
    broker.decide("t", 1, 2, 2, (1, &[1, 2], &[1, 2])).await;
    let answer = stop(&broker, 1).await;
    assert_eq!(answer.partitions[0].1, ErrorCode::FencedLeaderEpoch);

    drop(hanging);
    let later = Instant::now().after(Duration::from_secs(6));
    assert_eq!(watch.look_again(&mut look, later, second), Some(false));
    assert_eq!(slow.leader(), Some((BrokerId(1), LeaderEpoch(0))));
    // One that could be taken now comes behind those that wait.
    broker.decide("t", 1, 1, 3, (2, &[1, 2], &[1, 2])).await;
    assert_eq!(slow.leader(), Some((BrokerId(1), LeaderEpoch(0))));
    drop(release);
    until(|| slow.leader() == Some((BrokerId(2), LeaderEpoch(3)))).await;
    broker.decide("t", 1, 1, 4, (1, &[1, 2], &[1, 2])).await;
    until(|| slow.leader() == Some((BrokerId(1), LeaderEpoch(4)))).await;
}

#[tokio::test]
async fn a_directory_that_hangs_is_found_while_the_broker_runs_told_of_once_and_found_again_when_it_answers()
{
    let broker = TestBroker::with_config(2, &[("log.dir.stall.ms", "80")]);
    let directories = broker.replicas.directories().to_vec();
    let shutdown = Shutdown::new();
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    let note = move |directory: &Arc<HostDirectory>| heard.lock().unwrap().push(directory.path().to_owned());
    broker
        .replicas
        .start_background(&shutdown, Arc::new(|_, _| {}), Arc::new(note));
    let watch = directories[1].watch();
    let hanging = watch.begin();
    until(|| watch.is_stalled()).await;
    until(|| !told.lock().unwrap().is_empty()).await;
    assert!(!directories[0].watch().is_stalled());
    drop(hanging);
    until(|| !watch.is_stalled()).await;
    assert_eq!(*told.lock().unwrap(), [directories[1].path().to_owned()]);
    shutdown.begin();
}

#[tokio::test]
async fn a_log_that_comes_from_a_directory_that_hangs_is_not_waited_for_either() {
    let broker = TestBroker::new(2);
    broker.lead("t", 1, 1, 0, &[1]).await;
    let partition = broker.replicas.partition("t", 0).unwrap();
    let mut directories = broker.replicas.directories().iter();
    let from = directories.position(|one| !Arc::ptr_eq(one, partition.directory()));
    let other = &broker.replicas.directories()[from.unwrap()];
    partition.replaced_from(from);
    assert!(!partition.is_stalled());
    let hanging = other.watch().begin();
    is_found(other.watch(), true).await;
    assert!(partition.is_stalled());
    partition.replaced_from(None);
    assert!(!partition.is_stalled(), "its own directory answers");
    partition.replaced_from(from);
    drop(hanging);
    is_found(other.watch(), false).await;
    assert!(!partition.is_stalled());
    let failure = std::io::Error::from(std::io::ErrorKind::Other);
    other.volume().failed("read", other.path(), &failure);
    assert!(partition.is_stalled());
}

/// Whether a StopReplica that deletes partition 0 is answered, and with what.
async fn stops(broker: &TestBroker) -> Option<ErrorCode> {
    let answer = clock::timeout(Duration::from_secs(20), stop(broker, -2)).await?;
    Some(answer.partitions[0].1)
}

#[tokio::test]
async fn a_replica_in_a_directory_that_stalls_goes_later_and_stops_nothing_else() {
    let broker = TestBroker::new(2);
    broker.lead("t", 1, 2, 0, &[1, 2]).await;
    let slow = broker.replicas.partition("t", 0).unwrap();
    let directory = Arc::clone(slow.directory());
    let release = occupy(&directory);
    let watch = directory.watch();
    let mut look = watch.look(Instant::now());
    let hanging = watch.begin();
    let (second, later) = (
        Duration::from_secs(1),
        Instant::now().after(Duration::from_secs(5)),
    );
    assert_eq!(watch.look_again(&mut look, later, second), Some(true));
    for _ in 0..2 {
        assert_eq!(stops(&broker).await, Some(ErrorCode::KafkaStorageError));
    }
    assert!(broker.replicas.partition("t", 0).is_some());
    broker.decide("t", 1, 2, 1, (2, &[1, 2], &[1, 2])).await;
    let good = broker.replicas.partition("t", 1).unwrap();
    assert_eq!(good.leader(), Some((BrokerId(2), LeaderEpoch(1))));
    drop(hanging);
    let later = Instant::now().after(Duration::from_secs(6));
    assert_eq!(watch.look_again(&mut look, later, second), Some(false));
    drop(release);
    // What was decided about it afterwards makes another one in its place.
    until(|| {
        broker
            .replicas
            .partition("t", 0)
            .is_some_and(|one| !Arc::ptr_eq(&one, &slow))
    })
    .await;
    let other = broker.replicas.partition("t", 0).unwrap();
    until(|| other.leader() == Some((BrokerId(2), LeaderEpoch(1)))).await;
    until(|| !directory.put_off.is_under_way()).await;
    let gone = Arc::downgrade(&slow);
    drop(slow);
    until(|| gone.strong_count() == 0).await;
    assert_eq!(stops(&broker).await, Some(ErrorCode::None));
    assert!(broker.replicas.partition("t", 0).is_none());
}

#[tokio::test]
async fn a_directory_that_begins_to_hang_while_replicas_go_is_not_waited_for() {
    let broker = TestBroker::new(2);
    broker.lead("t", 1, 2, 0, &[1, 2]).await;
    let slow = broker.replicas.partition("t", 0).unwrap();
    let release = occupy(slow.directory());
    let (answer, ()) = tokio::join!(stops(&broker), is_found(slow.directory().work(), true));
    assert_eq!(answer, Some(ErrorCode::KafkaStorageError));
    // The second time at once, and what is decided meanwhile waits; but it is to be deleted again.
    broker.decide("t", 1, 1, 1, (2, &[1, 2], &[1, 2])).await;
    assert_eq!(stops(&broker).await, Some(ErrorCode::KafkaStorageError));
    assert!(slow.directory().put_off.is_under_way());
    drop(release);
    until(|| broker.replicas.partition("t", 0).is_none()).await;
    until(|| !slow.directory().put_off.is_under_way()).await;
    assert!(broker.replicas.partition("t", 0).is_none());
    assert_eq!(stops(&broker).await, Some(ErrorCode::None));
}

/// Nothing else goes on in the directory: the renaming itself tells.
#[tokio::test]
async fn a_replica_whose_renaming_does_not_return_takes_its_directory_off_the_direct_path() {
    let broker = TestBroker::new(2);
    broker.lead("t", 1, 2, 0, &[1, 2]).await;
    let slow = broker.replicas.partition("t", 0).unwrap();
    let directory = Arc::clone(slow.directory());
    until(|| slow.lock_blocking().log.creation_work().is_none()).await;
    broker.disk.freeze(&directory.path().to_string_lossy());
    let (answer, ()) = tokio::join!(stops(&broker), is_found(directory.watch(), true));
    assert_eq!(answer, Some(ErrorCode::KafkaStorageError));
    assert_eq!(slow.progress().err(), Some(ErrorCode::KafkaStorageError));
    broker.disk.heal();
    until(|| broker.replicas.partition("t", 0).is_none()).await;
}

#[tokio::test]
async fn a_replica_that_has_gone_is_not_made_anew_when_it_is_to_be_deleted_again() {
    let broker = TestBroker::new(2);
    broker.lead("t", 1, 2, 0, &[1, 2]).await;
    let slow = broker.replicas.partition("t", 0).unwrap();
    let release = occupy(slow.directory());
    let (answer, ()) = tokio::join!(stops(&broker), is_found(slow.directory().work(), true));
    assert_eq!(answer, Some(ErrorCode::KafkaStorageError));
    broker.decide("t", 1, 1, 1, (2, &[1, 2], &[1, 2])).await;
    // The next request waits for its turn, before that decision does.
    let turn = broker.replicas.control.lock().await;
    let (again, moment) = (stops(&broker), clock::sleep(Duration::from_millis(50)));
    let mut again = std::pin::pin!(again);
    tokio::select! {
        biased;
        _ = &mut again => panic!("it is not its turn"),
        () = moment => {}
    }
    drop(release);
    until(|| broker.replicas.partition("t", 0).is_none()).await;
    clock::sleep(Duration::from_millis(50)).await;
    drop(turn);
    assert_eq!(again.await, Some(ErrorCode::None));
    until(|| !slow.directory().put_off.is_under_way()).await;
    assert!(broker.replicas.partition("t", 0).is_none());
}

#[tokio::test]
async fn a_replica_whose_folder_cannot_be_renamed_stays_known() {
    let broker = TestBroker::new(2);
    broker.lead("t", 1, 1, 0, &[1]).await;
    let partition = broker.replicas.partition("t", 0).unwrap();
    let path = partition.directory().path().to_string_lossy().into_owned();
    broker
        .disk
        .fail(Call::Rename, &path, 0, u64::MAX, std::io::ErrorKind::Other);
    for _ in 0..2 {
        let answer = stop(&broker, 0).await;
        assert_eq!(answer.partitions[0].1, ErrorCode::KafkaStorageError);
    }
    // Nor is a new one made beside it.
    assert!(broker.replicas.partition("t", 0).is_some());
    let counts: Vec<_> = broker
        .replicas
        .directories()
        .iter()
        .map(|one| one.partitions())
        .collect();
    assert_eq!(counts.iter().sum::<usize>(), 1);
}

#[tokio::test]
async fn an_append_counts_no_more_once_another_has_led() {
    let broker = TestBroker::new(1);
    broker.lead("t", 1, 1, 0, &[1, 2]).await;
    let three = batch(3, 10);
    let append = || broker.replicas.append("t", 0, &three, -1, Origin::Client, NOW_MS);
    let waits = |pending| {
        let minute = Duration::from_secs(60);
        broker
            .replicas
            .wait_for_replication(vec![pending], minute)
            .finish()
    };
    let lost = append().await.pending.unwrap();
    broker.decide("t", 1, 1, 1, (2, &[1, 2], &[1, 2])).await;
    broker.decide("t", 1, 1, 2, (1, &[1, 2], &[1])).await;
    // What lies there could be of the other leader.
    assert_eq!(
        high_watermark(&broker.replicas.partition("t", 0).unwrap()),
        Offset(3)
    );
    assert_eq!(waits(lost).await, [ErrorCode::NotLeaderOrFollower]);
    // An epoch more of the same leader changes nothing.
    broker.decide("t", 1, 1, 3, (1, &[1, 2], &[1, 2])).await;
    let kept = append().await.pending.unwrap();
    broker.decide("t", 1, 1, 4, (1, &[1, 2], &[1])).await;
    assert_eq!(waits(kept).await, [ErrorCode::None]);
}

#[tokio::test]
async fn nobody_sees_what_flush_messages_wants_synced_before() {
    let broker = TestBroker::new(1);
    broker.configure_topic("t", &[("flush.messages", "1")]);
    broker.lead("t", 1, 1, 0, &[1]).await;
    let partition = broker.replicas.partition("t", 0).unwrap();
    let release = occupy(partition.directory());
    let first = partition
        .append(&batch(3, 10), 1, Origin::Client, NOW_MS)
        .unwrap()
        .0;
    let second = partition
        .append(&batch(2, 10), -1, Origin::Client, NOW_MS)
        .unwrap()
        .0;
    assert_eq!(high_watermark(&partition), Offset(0));
    assert!(second.pending.is_some());
    // Who asked for the first sync goes away: it is done all the same.
    drop(first);
    drop(release);
    assert_eq!(second.flush.unwrap().done().await, ErrorCode::None);
    assert_eq!(high_watermark(&partition), Offset(5));
}

#[tokio::test]
async fn a_look_up_does_not_wait_for_a_directory_that_does_not_answer() {
    let broker = TestBroker::new(1);
    broker.lead("t", 1, 1, 0, &[1]).await;
    let directory = Arc::clone(broker.replicas.partition("t", 0).unwrap().directory());
    let release = occupy(&directory);
    let query = OffsetQuery {
        timestamp_ms: 5,
        bound: Bound::HighWatermark,
        is_client: true,
        current_leader_epoch: -1,
        leader_only: true,
    };
    let patience = Duration::from_secs(20);
    let by_time = async || {
        let found = clock::timeout(patience, broker.replicas.find_offset("t", 0, query)).await?;
        found.err()
    };
    let of_version_0 = async || {
        let offsets = broker.replicas.segment_offsets("t", 0, -1, 5, true, true);
        clock::timeout(patience, offsets).await?.err()
    };
    let watch = directory.watch();
    let mut look = watch.look(Instant::now());
    let hanging = watch.begin();
    let (second, later) = (
        Duration::from_secs(1),
        Instant::now().after(Duration::from_secs(5)),
    );
    // It begins to stall while they wait.
    let stalls = async {
        clock::sleep(Duration::from_millis(20)).await;
        assert_eq!(watch.look_again(&mut look, later, second), Some(true));
    };
    let error = Some(ErrorCode::KafkaStorageError);
    assert_eq!(
        tokio::join!(by_time(), of_version_0(), stalls),
        (error, error, ())
    );
    assert_eq!((by_time().await, of_version_0().await), (error, error));
    drop(hanging);
    let later = Instant::now().after(Duration::from_secs(6));
    assert_eq!(watch.look_again(&mut look, later, second), Some(false));
    drop(release);
    assert_eq!((by_time().await, of_version_0().await), (None, None));
}

/// Producers of other ids wait for nobody, and none gets an id that a log may know.
#[tokio::test]
async fn of_a_log_that_does_not_answer_all_producer_ids_count_up_to_its_highest() {
    let broker = TestBroker::new(1);
    broker.lead("t", 1, 1, 0, &[1]).await;
    let partition = broker.replicas.partition("t", 0).unwrap();
    let of = |producer_id| BatchOptions {
        producer_id: ProducerId(producer_id),
        producer_epoch: ProducerEpoch(0),
        base_sequence: 0,
        ..BatchOptions::default()
    };
    for records in [batch_with(1, 10, of(40)), idempotent(0, 1)] {
        let append = broker
            .replicas
            .append("t", 0, &records, 1, Origin::Client, NOW_MS);
        assert!(append.await.error.is_none());
    }
    let known = || {
        let known = broker.replicas.known_producer_ids(&(0..=99));
        let ids = (0..=99).filter(|id| known.has(ProducerId(*id)));
        ids.collect::<Vec<_>>()
    };
    assert_eq!(known(), [7, 40]);
    let watch = partition.directory().watch();
    let mut look = watch.look(Instant::now());
    let _hanging = watch.begin();
    let later = Instant::now().after(Duration::from_secs(5));
    let stalls = watch.look_again(&mut look, later, Duration::from_secs(1));
    assert_eq!(stalls, Some(true));
    assert_eq!(known(), (0..=40).collect::<Vec<_>>());
}

/// That the producers of a log were forgotten, or came with its files, changes nothing.
#[tokio::test]
async fn the_highest_producer_id_of_a_log_survives_what_becomes_of_its_producers() {
    let broker = TestBroker::new(1);
    broker.lead("t", 1, 1, 0, &[1]).await;
    let partition = broker.replicas.partition("t", 0).unwrap();
    let first = idempotent(0, 1);
    let append = broker.replicas.append("t", 0, &first, 1, Origin::Client, NOW_MS);
    assert!(append.await.error.is_none());
    {
        let mut state = partition.lock_blocking();
        let _ = state.log.truncate_to(Offset(0), NOW_MS, i64::MAX).unwrap();
        assert_eq!(state.log.producers().len(), 0);
    }
    assert_eq!(partition.highest_producer_id(), 7);
    let append = broker.replicas.append("t", 0, &first, 1, Origin::Client, NOW_MS);
    assert!(append.await.error.is_none());
    let mut state = partition.lock_blocking();
    let _ = state.log.truncate_fully_and_start_at(Offset(5), NOW_MS).unwrap();
    assert_eq!(partition.highest_producer_id(), 7);
}

/// Each directory is done as soon as it is: the last copies into it, its logs and its checkpoints.
#[tokio::test]
async fn a_directory_that_does_not_answer_keeps_no_other_from_being_closed() {
    let broker = TestBroker::new(2);
    broker.lead("t", 1, 2, 0, &[1]).await;
    let slow = broker.replicas.partition("t", 0).unwrap();
    let directory = Arc::clone(slow.directory());
    let release = occupy(&directory);
    let (sender, closed) = mpsc::channel();
    let replicas = Arc::clone(&broker.replicas);
    let closing = task::spawn(async move {
        let tell = move |directory: &HostDirectory| drop(sender.send(directory.path().to_owned()));
        replicas.close(|_| std::future::ready(()), tell).await;
    });
    let mut done = Vec::new();
    for _ in 0..5000 {
        done.extend(closed.try_iter());
        if !done.is_empty() {
            break;
        }
        clock::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(done.len(), 1, "it waits for the one that hangs");
    assert_ne!(done[0], directory.path());
    assert!(!closing.is_finished());
    drop(release);
    assert!(clock::timeout(Duration::from_secs(20), closing).await.is_some());
    assert_eq!(
        closed.try_iter().collect::<Vec<_>>(),
        [directory.path().to_owned()]
    );
}

/// For want of a descriptor a follower does not lose its log: it cuts it the next time.
#[tokio::test]
async fn a_follower_that_gets_no_descriptor_to_cut_its_log_tries_again() {
    let broker = TestBroker::new(1);
    broker.lead("t", 1, 1, 0, &[1, 2]).await;
    let records = batch(3, 10);
    let append = broker
        .replicas
        .append("t", 0, &records, 1, Origin::Client, NOW_MS);
    assert!(append.await.error.is_none());
    broker.decide("t", 1, 1, 1, (2, &[1, 2], &[1, 2])).await;
    let partition = broker.replicas.partition("t", 0).unwrap();
    let volume = Arc::clone(partition.directory().volume());
    let cut = async || {
        let to_cut = ToCut {
            partition: Arc::clone(&partition),
            epoch: LeaderEpoch(1),
            order: Order::ToHighWatermark,
        };
        broker.replicas.cut_logs(vec![to_cut]).await.remove(0)
    };
    volume.descriptors().let_go();
    broker.disk.run_short(Call::Open, "/t-0/00", 0, 2);
    assert_eq!(
        cut().await.map(|position| position.log_end),
        Err(FollowError::Stalled)
    );
    volume.check().unwrap();
    assert_eq!(partition.progress().unwrap().log_end, Offset(3));
    assert_eq!(cut().await.map(|position| position.log_end), Ok(Offset(0)));
}
