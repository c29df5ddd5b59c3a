//! Which logs are compacted, what is left of them, and what the cleaner's tasks do.

use std::sync::Arc;
use std::time::Duration;

use super::following::{Order, ToCut};
use super::replicas::Replicas;
use super::testing::{NOW_MS, TestBroker, batch, sender};
use crate::base::clock;
use crate::base::ids::{LeaderEpoch, Offset, TopicPartition};
use crate::base::shutdown::Shutdown;
use crate::metadata::configs::ConfigListener;
use crate::metadata::control::{StopReplica, StopReplicaPartition, TOPIC_IS_DELETED};
use crate::storage::cleaner::CleaningError;
use crate::storage::leader_epochs::EpochEnd;
use crate::storage::producer_state::Origin;

/// Each batch of one record fills a segment of these.
pub(super) const COMPACTED: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("segment.bytes", "100"),
    ("min.cleanable.dirty.ratio", "0.5"),
];

async fn lead(broker: &TestBroker, topic: &str, id: u8, configs: &[(&str, &str)]) {
    broker.configure_topic(topic, configs);
    broker.lead(topic, id, 1, 0, &[1]).await;
}

pub(super) async fn append(broker: &TestBroker, topic: &str, count: usize) {
    for _ in 0..count {
        let records = batch(1, 10);
        let answer = broker
            .replicas
            .append(topic, 0, &records, 1, Origin::Client, NOW_MS)
            .await;
        assert!(answer.error.is_none());
    }
}

/// Cleans the dirtiest log; its name, and whether that ended well.
pub(super) fn clean(replicas: &Arc<Replicas>, now_ms: i64) -> Option<(String, Result<(), CleaningError>)> {
    let mut cleaning = replicas.begin_dirtiest(now_ms)?;
    let name = cleaning.place().name().to_string();
    loop {
        match cleaning.step() {
            Ok(step) if step.cleaned_below.is_some() => {
                replicas.checkpoint_cleaned(cleaning.place().directory());
                return Some((name, Ok(())));
            }
            Ok(_) => {}
            Err(error) => return Some((name, Err(error))),
        }
    }
}

fn bases(broker: &TestBroker, topic: &str) -> Vec<i64> {
    let partition = broker.replicas.partition(topic, 0).unwrap();
    let state = partition.lock_blocking();
    state.log.base_offsets().map(|base| base.get()).collect()
}

fn checkpoint(broker: &TestBroker) -> String {
    let directory = &broker.replicas.directories()[0];
    let path = directory.path().join("cleaner-offset-checkpoint");
    let bytes = directory.volume().disk().read(&path, 1000);
    String::from_utf8(bytes.unwrap_or_default()).unwrap()
}

#[tokio::test]
async fn the_dirtiest_of_the_logs_that_are_due_comes_first_and_each_but_once() {
    let broker = TestBroker::new(1);
    lead(&broker, "a", 1, COMPACTED).await;
    lead(&broker, "b", 2, COMPACTED).await;
    lead(&broker, "kept", 3, &[("segment.bytes", "100")]).await;
    append(&broker, "a", 5).await;
    append(&broker, "b", 5).await;
    append(&broker, "kept", 5).await;
    assert_eq!(clean(&broker.replicas, NOW_MS), Some(("a-0".to_owned(), Ok(()))));
    assert_eq!(checkpoint(&broker), "0\n1\na 0 4\n");
    assert_eq!(clean(&broker.replicas, NOW_MS), Some(("b-0".to_owned(), Ok(()))));
    assert_eq!(clean(&broker.replicas, NOW_MS), None);
    assert_eq!(checkpoint(&broker), "0\n2\na 0 4\nb 0 4\n");
    // One record of each was left in what is clean: with one more half of the bytes are dirty, which is not above half.
    append(&broker, "a", 1).await;
    assert_eq!(clean(&broker.replicas, NOW_MS), None);
    append(&broker, "a", 1).await;
    append(&broker, "b", 3).await;
    assert_eq!(clean(&broker.replicas, NOW_MS).unwrap().0, "b-0");
    assert_eq!(clean(&broker.replicas, NOW_MS).unwrap().0, "a-0");
    assert_eq!(bases(&broker, "kept").len(), 5);
}

#[tokio::test]
async fn lags_hold_a_log_back_and_hurry_it() {
    let broker = TestBroker::new(1);
    let held = [COMPACTED, &[("min.compaction.lag.ms", "5000")]].concat();
    let hurried = [
        COMPACTED,
        &[
            ("min.cleanable.dirty.ratio", "1.0"),
            ("max.compaction.lag.ms", "9000"),
        ],
    ]
    .concat();
    lead(&broker, "held", 1, &held).await;
    lead(&broker, "hurried", 2, &hurried).await;
    append(&broker, "held", 4).await;
    append(&broker, "hurried", 4).await;
    assert_eq!(clean(&broker.replicas, NOW_MS + 4999), None);
    assert_eq!(clean(&broker.replicas, NOW_MS + 5000).unwrap().0, "held-0");
    assert_eq!(clean(&broker.replicas, NOW_MS + 9000), None);
    assert_eq!(clean(&broker.replicas, NOW_MS + 9001).unwrap().0, "hurried-0");
    assert_eq!(clean(&broker.replicas, NOW_MS + 100_000), None);
}

#[tokio::test]
async fn a_log_that_cannot_be_cleaned_is_left_out_and_the_others_go_on() {
    let broker = TestBroker::new(1);
    lead(&broker, "bad", 1, COMPACTED).await;
    lead(&broker, "good", 2, COMPACTED).await;
    append(&broker, "bad", 6).await;
    append(&broker, "good", 4).await;
    let directory = Arc::clone(&broker.replicas.directories()[0]);
    let disk = directory.volume().disk();
    let path = directory.path().join("bad-0/00000000000000000002.log");
    let file = disk.open(&path, crate::base::disk::Open::Existing).unwrap();
    file.write_all_at(b"damage", 65).unwrap();
    let (name, result) = clean(&broker.replicas, NOW_MS).unwrap();
    assert_eq!(name, "bad-0");
    assert!(matches!(result, Err(CleaningError::Uncleanable(_))), "{result:?}");
    assert_eq!(
        clean(&broker.replicas, NOW_MS),
        Some(("good-0".to_owned(), Ok(())))
    );
    assert_eq!(clean(&broker.replicas, NOW_MS), None);
    assert_eq!(bases(&broker, "bad").len(), 6);
    append(&broker, "bad", 1).await;
}

#[tokio::test]
async fn compacted_logs_keep_what_is_young_and_replicated_and_lose_what_their_policy_and_start_say() {
    let broker = TestBroker::new(1);
    let both = [
        COMPACTED,
        &[("cleanup.policy", "compact,delete"), ("retention.ms", "1000")],
    ]
    .concat();
    let sized = [
        COMPACTED,
        &[("cleanup.policy", "delete,compact"), ("retention.bytes", "300")],
    ]
    .concat();
    lead(&broker, "both", 1, &both).await;
    lead(&broker, "sized", 2, &sized).await;
    lead(&broker, "only", 3, COMPACTED).await;
    for topic in ["both", "sized", "only"] {
        append(&broker, topic, 6).await;
    }
    broker.replicas.retain_all_compacted(NOW_MS + 1000);
    assert_eq!(bases(&broker, "both"), [0, 1, 2, 3, 4, 5]);
    assert_eq!(
        bases(&broker, "sized").len(),
        4,
        "what is left is at most 300 bytes"
    );
    broker.replicas.retain_all_compacted(NOW_MS + 1001);
    assert_eq!(bases(&broker, "both"), [6]);
    assert_eq!(bases(&broker, "only"), [0, 1, 2, 3, 4, 5]);
    // Below the log's start, which DeleteRecords raises where the policy has `delete`, segments go whatever the policy.
    let only = broker.replicas.partition("only", 0).unwrap();
    only.lock_blocking()
        .log
        .raise_log_start_offset(Offset(3))
        .unwrap();
    broker.replicas.retain_all_compacted(NOW_MS);
    assert_eq!(bases(&broker, "only"), [3, 4, 5]);
    // A log that begins above what was cleaned is cleaned from its start on.
    assert_eq!(clean(&broker.replicas, NOW_MS).unwrap().0, "only-0");
    assert_eq!(checkpoint(&broker), "0\n1\nonly 0 5\n");
}

#[tokio::test]
async fn segments_of_compacted_logs_are_let_go_once_an_interval() {
    let broker = TestBroker::new(1);
    lead(&broker, "t", 1, COMPACTED).await;
    append(&broker, "t", 6).await;
    let partition = broker.replicas.partition("t", 0).unwrap();
    let raise = |offset| {
        let mut state = partition.lock_blocking();
        state.log.raise_log_start_offset(Offset(offset)).unwrap();
    };
    let pool = broker.replicas.directories()[0].pool();
    let hour = Duration::from_secs(3600);
    raise(1);
    broker.replicas.retain_compacted(pool, hour).await;
    assert_eq!(bases(&broker, "t"), [1, 2, 3, 4, 5]);
    raise(2);
    broker.replicas.retain_compacted(pool, hour).await;
    assert_eq!(bases(&broker, "t"), [1, 2, 3, 4, 5], "not again so soon");
    clock::sleep(Duration::from_millis(1)).await;
    broker.replicas.retain_compacted(pool, Duration::ZERO).await;
    assert_eq!(bases(&broker, "t"), [2, 3, 4, 5]);
}

#[tokio::test]
async fn a_deleted_topic_ends_its_cleaning_and_its_line_in_the_checkpoint() {
    let broker = TestBroker::new(1);
    lead(&broker, "t", 1, COMPACTED).await;
    lead(&broker, "other", 2, COMPACTED).await;
    append(&broker, "t", 6).await;
    append(&broker, "other", 4).await;
    while clean(&broker.replicas, NOW_MS).is_some() {}
    assert_eq!(checkpoint(&broker), "0\n2\nother 0 3\nt 0 5\n");
    append(&broker, "t", 6).await;
    let mut cleaning = broker.replicas.begin_dirtiest(NOW_MS).unwrap();
    for _ in 0..8 {
        cleaning.step().unwrap();
    }
    assert!(broker.replicas.begin_dirtiest(NOW_MS).is_none(), "one at a time");
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
    assert!(answer.error.is_none());
    assert_eq!(cleaning.step().err(), Some(CleaningError::Aborted));
    assert_eq!(checkpoint(&broker), "0\n1\nother 0 3\n");
    assert!(!broker.replicas.directories()[0].is_offline());
}

/// The next start would take the records that come in the place of those that went for cleaned: their old versions would
/// stay, and those of a deleted key outlive its tombstone.
#[tokio::test]
async fn a_cut_below_what_was_cleaned_lowers_the_checkpoint_at_once() {
    let broker = TestBroker::new(1);
    lead(&broker, "t", 1, COMPACTED).await;
    lead(&broker, "other", 2, COMPACTED).await;
    append(&broker, "t", 6).await;
    append(&broker, "other", 4).await;
    while clean(&broker.replicas, NOW_MS).is_some() {}
    assert_eq!(checkpoint(&broker), "0\n2\nother 0 3\nt 0 5\n");
    broker.decide("t", 1, 1, 1, (2, &[1, 2], &[1, 2])).await;
    for (end, expected) in [(2, "0\n2\nother 0 3\nt 0 2\n"), (0, "0\n2\nother 0 3\nt 0 0\n")] {
        let to_cut = ToCut {
            partition: broker.replicas.partition("t", 0).unwrap(),
            epoch: LeaderEpoch(1),
            order: Order::Diverging(EpochEnd {
                epoch: LeaderEpoch(0),
                end_offset: Offset(end),
            }),
        };
        let cut = broker.replicas.cut_logs(vec![to_cut]).await.remove(0);
        assert_eq!(cut.unwrap().log_end, Offset(end));
        assert_eq!(checkpoint(&broker), expected);
    }
}

#[tokio::test]
async fn after_a_clean_stop_the_checkpoint_tells_what_is_cleaned() {
    let broker = TestBroker::new(1);
    lead(&broker, "t", 1, COMPACTED).await;
    append(&broker, "t", 6).await;
    clean(&broker.replicas, NOW_MS).unwrap().1.unwrap();
    let partition = broker.replicas.partition("t", 0).unwrap();
    let truncated = partition
        .lock_blocking()
        .log
        .truncate_to(Offset(3), NOW_MS, i64::MAX);
    drop(truncated.unwrap());
    assert_eq!(checkpoint(&broker), "0\n1\nt 0 5\n");
    assert_eq!(broker.close().await, 1);
    assert_eq!(checkpoint(&broker), "0\n1\nt 0 3\n");
    // As Kafka leaves it: where nothing was ever cleaned nothing is written.
    let broker = TestBroker::new(1);
    lead(&broker, "t", 1, COMPACTED).await;
    append(&broker, "t", 6).await;
    assert_eq!(broker.close().await, 1);
    assert_eq!(checkpoint(&broker), "");
}

#[tokio::test]
async fn the_tasks_compact_what_is_due_follow_the_configuration_and_end_with_the_broker() {
    let broker = TestBroker::with_config(
        1,
        &[("log.cleaner.backoff.ms", "1"), ("log.cleaner.threads", "2")],
    );
    lead(&broker, "t", 1, COMPACTED).await;
    append(&broker, "t", 6).await;
    let shutdown = Shutdown::new();
    broker.replicas.start_cleaner(&shutdown);
    while checkpoint(&broker).is_empty() {
        clock::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(checkpoint(&broker), "0\n1\nt 0 5\n");
    // Two full segments are too large for one, so each stays a segment; all but the last are empty.
    assert_eq!(bases(&broker, "t"), [0, 1, 2, 3, 4, 5]);
    let partition = broker.replicas.partition("t", 0).unwrap();
    let left = partition.lock_blocking().log.size_in_bytes();
    assert_eq!(left, 2 * batch(1, 10).len() as u64);
    let with_threads = |threads: &str| {
        let all = [("log.cleaner.threads".to_owned(), threads.to_owned())].into();
        broker.cluster.change(|image| {
            image.broker_config = image
                .broker_config
                .with_dynamic(&all, &Default::default())
                .unwrap();
        });
        let config = broker.cluster.get().broker_config.clone();
        broker.replicas.broker_config_changed(&config);
    };
    for threads in [1, 2, 4, 2] {
        with_threads(&threads.to_string());
        while broker.replicas.cleaner.tasks() != threads {
            clock::sleep(Duration::from_millis(1)).await;
        }
    }
    shutdown.begin();
}

#[tokio::test]
async fn without_the_cleaner_compacted_logs_are_kept_whole() {
    let broker = TestBroker::with_config(1, &[("log.cleaner.enable", "false")]);
    let shutdown = Shutdown::new();
    broker.replicas.start_cleaner(&shutdown);
    crate::base::task::spawn(async {}).await.unwrap();
    assert_eq!(broker.replicas.cleaner.tasks(), 0);
    shutdown.begin();
}
