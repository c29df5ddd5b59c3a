//! Brokers in one process, as in `cluster_test`: who leads after another one, what fails meanwhile, and what followers ask.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;

use super::answers::{FetchParameters, ReadAnswer};
use super::fetch::Fetch;
use super::offsets::{EARLIEST, LATEST, OffsetQuery};
use super::test_cluster::{TestCluster, eventually};
use super::testing::{NOW_MS, TestBroker, batch, batch_with, consumer, idempotent, wanted};
use super::waiting::Bound;
use crate::base::disk::memory::Call;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{ProducerEpoch, ProducerId, TopicPartition};
use crate::metadata::configs::ConfigListener;
use crate::metadata::control::{StopReplica, StopReplicaPartition};
use crate::records::batch::Batches;
use crate::records::build::BatchOptions;
use crate::records::control::EndTransactionMarker;
use crate::storage::producer_state::Origin;

const T: &str = "t";

fn read(cluster: &TestCluster, broker: i32, bound: Bound) -> ReadAnswer {
    let parameters = FetchParameters {
        bound,
        ..consumer(0, 1)
    };
    let node = cluster.node(broker);
    let fetch = node
        .replicas
        .fetch(parameters, vec![wanted(T, 0, 0)].into(), Vec::new());
    match fetch {
        Fetch::Ready(mut answers) => answers.remove(0),
        Fetch::Parked(_) => panic!("parked"),
    }
}

fn offsets(answer: &ReadAnswer) -> Vec<i64> {
    let bytes = answer.records.as_ref().map(|slice| slice.read().unwrap());
    Batches::new(bytes.as_deref().unwrap_or_default())
        .map(|batch| batch.unwrap().base_offset.get())
        .collect()
}

async fn find(cluster: &TestCluster, broker: i32, timestamp_ms: i64) -> Result<i64, ErrorCode> {
    let query = OffsetQuery {
        timestamp_ms,
        bound: Bound::HighWatermark,
        is_client: true,
        current_leader_epoch: -1,
        leader_only: true,
    };
    let found = cluster.node(broker).replicas.find_offset(T, 0, query).await;
    found.map(|found| found.offset)
}

/// Redpanda #5090, KIP-207: what was elected has not committed everything yet.
#[tokio::test]
async fn row_23_who_was_just_elected_gives_out_nothing_that_may_not_be_replicated() {
    let cluster = TestCluster::start(&[1, 2, 3], &[]).await;
    cluster.create(T, &[1, 2, 3]).await;
    let transactional = BatchOptions {
        producer_id: ProducerId(5),
        producer_epoch: ProducerEpoch(0),
        base_sequence: 0,
        is_transactional: true,
        ..BatchOptions::default()
    };
    assert_eq!(cluster.produce(1, T, &batch(1, 10)).await, ErrorCode::None);
    let open = batch_with(2, 10, transactional);
    assert_eq!(cluster.produce(1, T, &open).await, ErrorCode::None);
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
        .append(T, 0, &marker, 1, Origin::Coordinator, NOW_MS);
    assert_eq!(ended.await.error, ErrorCode::None);
    cluster.converged(&[1, 2, 3], T).await;
    // It has everything, and knows of nothing that is replicated.
    cluster.kill(2);
    cluster.cut(1, 2);
    cluster.cut(2, 3);
    cluster.boot(2).await;
    cluster.kill(1);
    cluster.elect(T, 2, &[2, 3]).await;
    assert_eq!((cluster.log_end(2, T), cluster.high_watermark(2, T)), (4, 0));
    for bound in [Bound::HighWatermark, Bound::LastStable] {
        let answer = read(&cluster, 2, bound);
        assert_eq!((answer.error, offsets(&answer)), (ErrorCode::None, vec![]));
        assert_eq!((answer.high_watermark, answer.last_stable_offset), (0, 0));
    }
    assert_eq!(
        find(&cluster, 2, LATEST).await,
        Err(ErrorCode::OffsetNotAvailable)
    );
    assert_eq!(find(&cluster, 2, EARLIEST).await, Ok(0));
    cluster.join(2, 3);
    cluster.converged(&[2, 3], T).await;
    let answer = read(&cluster, 2, Bound::LastStable);
    assert_eq!(offsets(&answer), [0, 1, 3]);
    let aborted = answer.aborted.unwrap();
    let aborted: Vec<_> = aborted
        .iter()
        .map(|one| (one.producer_id, one.first_offset))
        .collect();
    assert_eq!(aborted, [(5, 1)]);
    assert_eq!(find(&cluster, 2, LATEST).await, Ok(4));
}

/// Redpanda #5356, franz-go #846: the answer to the first try was lost with the leader.
#[tokio::test]
async fn row_70_a_retry_at_the_next_leader_is_answered_with_the_offset_it_has() {
    let cluster = TestCluster::start(&[1, 2, 3], &[]).await;
    cluster.create(T, &[1, 2, 3]).await;
    assert_eq!(cluster.produce(1, T, &batch(5, 10)).await, ErrorCode::None);
    for sequence in [0, 3] {
        let first = idempotent(sequence, 3);
        assert_eq!(cluster.produce(1, T, &first).await, ErrorCode::None);
    }
    cluster.converged(&[1, 2, 3], T).await;
    cluster.kill(1);
    cluster.elect(T, 2, &[2, 3]).await;
    for (sequence, offset) in [(3, 8), (0, 5), (6, 11)] {
        let again = cluster.append(2, T, &idempotent(sequence, 3), 1).await;
        assert_eq!((again.error, again.base_offset), (ErrorCode::None, offset));
    }
    assert_eq!(cluster.log_end(2, T), 14);
}

/// What a follower fetches after its syncs is what it has told the leader to be safe.
#[tokio::test]
async fn row_35_what_a_follower_has_synced_survives_its_power_and_the_names_that_go_with_it() {
    let every = [
        ("log.flush.interval.messages", "1"),
        ("log.segment.bytes", "250"),
        ("min.insync.replicas", "2"),
        ("replica.lag.time.max.ms", "20000"),
    ];
    let cluster = TestCluster::start(&[1, 2], &every).await;
    // More than file systems take away: a file's own sync keeps its name there.
    cluster.node(2).disk().names_need_their_directory();
    cluster.create(T, &[1, 2]).await;
    for _ in 0..8 {
        assert_eq!(cluster.produce(1, T, &batch(3, 30)).await, ErrorCode::None);
    }
    assert!(cluster.with_log(2, T, |log| log.segment_count()) > 3);
    let before = cluster.contents(1, T);
    cluster.power_cut(2);
    cluster.kill(1);
    cluster.boot(2).await;
    cluster.elect(T, 2, &[2]).await;
    assert_eq!(cluster.contents(2, T).0, before.0);
    assert_eq!(cluster.log_end(2, T), 24);
}

/// KAFKA-10778: a follower whose disk did not take a sync asks for no more, and stands for nothing.
#[tokio::test]
async fn row_36_a_follower_whose_sync_failed_acknowledges_nothing_more() {
    let every = [("log.flush.interval.messages", "1"), ("min.insync.replicas", "2")];
    let cluster = TestCluster::start(&[1, 2], &every).await;
    cluster.create(T, &[1, 2]).await;
    assert_eq!(cluster.produce(1, T, &batch(1, 10)).await, ErrorCode::None);
    cluster.converged(&[1, 2], T).await;
    // Once; the disk says that all is well again then.
    let disk = cluster.node(2).disk();
    disk.fail(Call::Sync, ".log", 0, 1, std::io::ErrorKind::Other);
    let mut answer = cluster.append(1, T, &batch(1, 10), -1).await;
    let pending = answer.pending.take().unwrap();
    let replicas = Arc::clone(&cluster.node(1).replicas);
    let waiting = replicas.wait_for_replication(vec![pending], Duration::from_secs(2));
    assert_eq!(waiting.finish().await, [ErrorCode::RequestTimedOut]);
    let isr = || cluster.state(T).isr;
    eventually(|| isr() == [1], || format!("{:?}", isr())).await;
    assert_eq!(cluster.high_watermark(1, T), 1);
    let failed = cluster.node(2).replicas.partition(T, 0).unwrap();
    assert!(failed.directory().is_offline());
    cluster.decide(T, 2, &[1, 2]);
    let answer = cluster.lead_and_follow(&cluster.node(2), T).await;
    assert_eq!(answer, ErrorCode::KafkaStorageError);
    let alone = cluster.append(2, T, &batch(1, 10), 1).await;
    assert_eq!(alone.error, ErrorCode::KafkaStorageError);
}

/// KIP-570, KAFKA-9539: a StopReplica from before an election comes after it.
#[tokio::test]
async fn row_28_a_delayed_request_to_delete_does_not_stop_a_newer_leader() {
    let cluster = TestCluster::start(&[1, 2], &[]).await;
    cluster.create(T, &[1, 2]).await;
    assert_eq!(cluster.produce(1, T, &batch(1, 10)).await, ErrorCode::None);
    cluster.converged(&[1, 2], T).await;
    cluster.elect(T, 2, &[2, 1]).await;
    let node = cluster.node(2);
    let stop = |leader_epoch| StopReplica {
        sender: super::test_cluster::sender(node.epoch),
        partitions: vec![StopReplicaPartition {
            partition: TopicPartition::new(T, 0),
            leader_epoch: crate::base::ids::LeaderEpoch(leader_epoch),
            delete: true,
        }],
    };
    let late = node.replicas.stop_replica(stop(0)).await;
    assert_eq!(late.partitions[0].1, ErrorCode::FencedLeaderEpoch);
    assert_eq!(cluster.produce(2, T, &batch(1, 10)).await, ErrorCode::None);
    let due = node.replicas.stop_replica(stop(1)).await;
    assert_eq!(due.partitions[0].1, ErrorCode::None);
    assert!(node.replicas.partition(T, 0).is_none());
}

#[tokio::test]
async fn followers_say_who_they_are_and_where_they_stand() {
    let cluster = TestCluster::start(&[1, 2], &[]).await;
    cluster.create_with_id(T, 1, &[1, 2]).await;
    assert_eq!(cluster.produce(1, T, &batch(2, 10)).await, ErrorCode::None);
    cluster.elect(T, 1, &[1, 2]).await;
    assert_eq!(cluster.produce(1, T, &batch(3, 10)).await, ErrorCode::None);
    cluster.converged(&[1, 2], T).await;
    let node = cluster.node(2);
    let named = cluster.requests();
    let named = named.iter().filter(|(_, request)| !request.topics.is_empty());
    let seen: Vec<_> = named
        .map(|(version, request)| {
            assert_eq!(*version, 17);
            let state = &request.replica_state;
            assert_eq!((state.replica_id, state.replica_epoch), (2, node.epoch.get()));
            let topic = &request.topics[0];
            assert_eq!(topic.topic_id, super::testing::topic_id(1));
            let one = &topic.partitions[0];
            assert_eq!(one.log_start_offset, 0);
            assert_eq!(one.partition_max_bytes, 1_048_576);
            (one.current_leader_epoch, one.fetch_offset, one.last_fetched_epoch)
        })
        .collect();
    // Before and after the election, and once it had records of the new epoch.
    for expected in [(0, 0, -1), (1, 2, 0), (1, 5, 1)] {
        assert!(seen.contains(&expected), "{expected:?}: {seen:?}");
    }
    // A topic without an id makes the whole request one of names.
    cluster.create_with_id("u", 0, &[1, 2]).await;
    assert_eq!(cluster.produce(1, "u", &batch(1, 10)).await, ErrorCode::None);
    let requests = cluster.requests();
    let (version, last) = requests.last().unwrap();
    assert_eq!((*version, last.replica_id), (12, 2));
}

/// KAFKA-9254, where it deletes records.
#[tokio::test]
async fn row_30_defaults_that_change_twice_delete_nothing_of_a_compacted_topic() {
    let broker = TestBroker::new(1);
    broker.configure_topic(T, &[("cleanup.policy", "compact"), ("segment.bytes", "200")]);
    broker.lead(T, 1, 1, 0, &[1]).await;
    for _ in 0..5 {
        let records = batch(2, 10);
        let appended = broker.replicas.append(T, 0, &records, 1, Origin::Client, NOW_MS);
        assert_eq!(appended.await.error, ErrorCode::None);
    }
    let partition = broker.replicas.partition(T, 0).unwrap();
    let start = || partition.lock_blocking().log.log_start_offset().get();
    for retention in ["1", "2"] {
        let defaults = [("log.retention.ms", retention), ("log.cleanup.policy", "delete")];
        let defaults: BTreeMap<String, String> = defaults
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        broker.cluster.change(|image| {
            assert!(image.set_broker_configs(defaults, OrdMap::new()));
        });
        let config = broker.cluster.get().broker_config.clone();
        broker.replicas.broker_config_changed(&config);
        assert_eq!(partition.config().retention_ms.to_string(), retention);
        broker.replicas.retain_one(&partition, NOW_MS + 10_000_000);
        assert_eq!(start(), 0, "{retention}");
    }
    // It would have deleted them.
    broker.configure_topic(T, &[("cleanup.policy", "delete")]);
    broker.replicas.topic_configs_changed(&[T.into()]);
    broker.replicas.retain_one(&partition, NOW_MS + 10_000_000);
    assert!(start() > 0);
}
