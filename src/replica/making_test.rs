//! New partitions while a log directory does not answer.

use std::path::Path;
use std::sync::Arc;

use super::directories::HostDirectory;
use super::slow_disk_test::{is_found, occupy, stop, until};
use super::testing::{ME, NOW_MS, TestBroker, batch, sender, topic_id};
use crate::base::disk::Disk;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerId, ControllerEpoch, LeaderEpoch, TopicPartition};
use crate::metadata::control::{
    ControlAnswer, LeaderAndIsr, LeaderAndIsrPartition, LeaderAndIsrTopic, StopReplica, StopReplicaPartition,
    TOPIC_IS_DELETED,
};
use crate::storage::producer_state::Origin;

impl TestBroker {
    fn directory(&self, number: usize) -> &Arc<HostDirectory> {
        &self.replicas.directories()[number]
    }

    /// Partition 0 of a new topic, led by this broker.
    async fn is_told_of(&self, topic: &str, id: u8, epoch: i32) -> ControlAnswer {
        let replicas = vec![ME, BrokerId(2)];
        let decision = LeaderAndIsrPartition {
            partition: 0,
            controller_epoch: ControllerEpoch(1),
            leader: Some(ME),
            leader_epoch: LeaderEpoch(epoch),
            isr: replicas.clone(),
            partition_epoch: epoch,
            replicas,
            adding_replicas: Vec::new(),
            removing_replicas: Vec::new(),
            is_new: epoch == 0,
            recovering: false,
        };
        let topics = vec![LeaderAndIsrTopic {
            name: topic.into(),
            id: topic_id(id),
            partitions: vec![decision],
        }];
        self.replicas
            .leader_and_isr(LeaderAndIsr {
                sender: sender(),
                topics,
            })
            .await
    }

    /// Where partition 0 of a topic lies, and in which epoch it is led.
    fn lies_in(&self, topic: &str) -> Option<(usize, i32)> {
        let partition = self.replicas.partition(topic, 0)?;
        let mut directories = self.replicas.directories().iter();
        let at = directories.position(|one| Arc::ptr_eq(one, partition.directory()));
        Some((at?, partition.leader().map_or(-1, |(_, epoch)| epoch.get())))
    }

    /// The folders of a topic's partitions, with those that are to be removed.
    fn folders(&self, topic: &str) -> Vec<String> {
        let disk = Disk::memory(self.disk.clone());
        let listed = ["/data/0", "/data/1"].map(|path| (path, disk.list(Path::new(path))));
        let mut folders = Vec::new();
        for (path, entries) in listed {
            let names = entries.into_iter().flatten().map(|entry| entry.name);
            folders.extend(
                names
                    .filter(|name| name.starts_with(topic))
                    .map(|name| format!("{path}/{name}")),
            );
        }
        folders
    }

    async fn appends(&self, topic: &str) -> ErrorCode {
        let records = batch(3, 10);
        let append = self
            .replicas
            .append(topic, 0, &records, 1, Origin::Client, NOW_MS);
        append.await.error
    }
}

fn done(topic: &str) -> ControlAnswer {
    ControlAnswer {
        partitions: vec![(TopicPartition::new(topic, 0), ErrorCode::None)],
        ..ControlAnswer::default()
    }
}

fn late(topic: &str) -> ControlAnswer {
    ControlAnswer {
        late: vec![TopicPartition::new(topic, 0)],
        ..done(topic)
    }
}

#[tokio::test]
async fn a_directory_in_which_nothing_can_be_made_is_passed_over() {
    let broker = TestBroker::new(2);
    let watch = broker.directory(0).watch();
    broker.disk.freeze("/data/0/");
    let (answer, ()) = tokio::join!(broker.is_told_of("t", 1, 0), is_found(watch, true));
    assert_eq!(answer, done("t"));
    assert_eq!(broker.lies_in("t"), Some((1, 0)));
    // From then on it is not tried.
    assert_eq!(broker.is_told_of("u", 2, 0).await, done("u"));
    assert_eq!(broker.lies_in("u"), Some((1, 0)));
    assert_eq!(broker.appends("u").await, ErrorCode::None);
    broker.disk.heal();
    is_found(watch, false).await;
    assert_eq!(broker.is_told_of("v", 3, 0).await, done("v"));
    assert_eq!(broker.lies_in("v"), Some((0, 0)));
    assert_eq!(broker.folders("t"), ["/data/1/t-0"]);
}

#[tokio::test]
async fn a_directory_whose_pool_is_not_free_is_passed_over() {
    let broker = TestBroker::new(2);
    let release = occupy(broker.directory(0));
    let work = broker.directory(0).work();
    let (answer, ()) = tokio::join!(broker.is_told_of("t", 1, 0), is_found(work, true));
    assert_eq!(answer, done("t"));
    assert_eq!(broker.lies_in("t"), Some((1, 0)));
    // Calls into it are let through all the same.
    assert!(!broker.directory(0).watch().is_stalled());
    drop(release);
    is_found(work, false).await;
    // What was given up is not made there either.
    assert_eq!(broker.is_told_of("u", 2, 0).await, done("u"));
    assert_eq!(
        (broker.lies_in("t"), broker.lies_in("u")),
        (Some((1, 0)), Some((0, 0)))
    );
    assert_eq!(broker.folders("t"), ["/data/1/t-0"]);
}

#[tokio::test]
async fn where_a_folder_may_be_already_the_log_is_made_when_the_directory_answers() {
    let broker = TestBroker::new(2);
    let watch = broker.directory(0).watch();
    broker.disk.freeze("/data/0/t-0/");
    let (answer, ()) = tokio::join!(broker.is_told_of("t", 1, 0), is_found(watch, true));
    assert_eq!(answer, late("t"));
    assert_eq!(broker.lies_in("t"), None);
    // What is said of others is done meanwhile, and of it the latest is remembered.
    assert_eq!(broker.is_told_of("u", 2, 0).await, done("u"));
    assert_eq!(broker.lies_in("u"), Some((1, 0)));
    assert_eq!(broker.is_told_of("t", 1, 3).await, late("t"));
    let answer = stop(&broker, 2).await;
    assert_eq!(answer.partitions[0].1, ErrorCode::FencedLeaderEpoch);
    broker.disk.heal();
    is_found(watch, false).await;
    until(|| broker.lies_in("t") == Some((0, 3))).await;
    assert_eq!(broker.folders("t"), ["/data/0/t-0"]);
    assert_eq!(broker.appends("t").await, ErrorCode::None);
    until(|| !broker.directory(0).put_off.is_under_way()).await;
    assert!(
        !broker
            .directory(0)
            .put_off
            .is_making(&TopicPartition::new("t", 0))
    );
}

#[tokio::test]
async fn a_log_that_is_deleted_while_it_is_made_goes_and_another_one_may_come() {
    let broker = TestBroker::new(2);
    let (watch, name) = (broker.directory(0).watch(), TopicPartition::new("t", 0));
    broker.disk.freeze("/data/0/t-0/");
    let (answer, ()) = tokio::join!(broker.is_told_of("t", 1, 0), is_found(watch, true));
    assert_eq!(answer, late("t"));
    for _ in 0..2 {
        // Nobody is to think that it has gone.
        let answer = stop(&broker, -2).await;
        assert_eq!(answer.partitions, [(name.clone(), ErrorCode::KafkaStorageError)]);
    }
    broker.disk.heal();
    until(|| !broker.directory(0).put_off.is_under_way()).await;
    assert_eq!(broker.lies_in("t"), None);
    let folders = broker.folders("t");
    assert!(
        folders.len() == 1 && folders[0].ends_with("-delete"),
        "{folders:?}"
    );
    let answer = stop(&broker, -2).await;
    assert_eq!(answer.partitions, [(name.clone(), ErrorCode::None)]);
    is_found(watch, false).await;

    // The same, and the topic is made anew before the directory answers.
    broker.disk.freeze("/data/0/t-0/");
    let (answer, ()) = tokio::join!(broker.is_told_of("t", 2, 0), is_found(watch, true));
    assert_eq!(answer, late("t"));
    let answer = stop(&broker, -2).await;
    assert_eq!(answer.partitions, [(name, ErrorCode::KafkaStorageError)]);
    assert_eq!(broker.is_told_of("t", 3, 0).await, late("t"));
    broker.disk.heal();
    is_found(watch, false).await;
    until(|| broker.lies_in("t").is_some_and(|(_, epoch)| epoch == 0)).await;
    let partition = broker.replicas.partition("t", 0).unwrap();
    assert_eq!(partition.topic_id(), Some(topic_id(3)));
    let mut folders = broker.folders("t");
    folders.retain(|folder| !folder.ends_with("-delete"));
    assert_eq!(folders.len(), 1, "{folders:?}");
}

#[tokio::test]
async fn what_is_decided_while_all_directories_hang_is_done_when_one_answers() {
    let broker = TestBroker::new(1);
    let watch = broker.directory(0).watch();
    broker.disk.freeze("/data/0/");
    let (answer, ()) = tokio::join!(broker.is_told_of("t", 1, 0), is_found(watch, true));
    assert_eq!(answer, late("t"));
    // At once now.
    assert_eq!(broker.is_told_of("u", 2, 0).await, late("u"));
    assert_eq!(broker.is_told_of("t", 1, 1).await, late("t"));
    assert_eq!(broker.is_told_of("v", 3, 0).await, late("v"));
    // Of this one nothing was begun: it need not be waited for.
    let stop = StopReplica {
        sender: sender(),
        partitions: vec![StopReplicaPartition {
            partition: TopicPartition::new("v", 0),
            leader_epoch: TOPIC_IS_DELETED,
            delete: true,
        }],
    };
    let answer = broker.replicas.stop_replica(stop).await;
    assert_eq!(answer, done("v"));
    broker.disk.heal();
    is_found(watch, false).await;
    until(|| broker.lies_in("t") == Some((0, 1)) && broker.lies_in("u") == Some((0, 0))).await;
    until(|| !broker.directory(0).put_off.is_under_way()).await;
    assert_eq!(broker.lies_in("v"), None);
    assert_eq!(broker.appends("u").await, ErrorCode::None);
}

#[tokio::test]
async fn a_directory_that_begins_to_hang_is_described_as_one_that_is_offline() {
    let broker = TestBroker::new(2);
    broker.lead("t", 1, 2, 0, &[1]).await;
    let release = occupy(broker.directory(0));
    let described = async || {
        let all = broker.replicas.describe_directories().await;
        all.into_iter()
            .map(|one| (one.error, one.logs.len()))
            .collect::<Vec<_>>()
    };
    let expected = [(ErrorCode::KafkaStorageError, 0), (ErrorCode::None, 1)];
    let (answer, ()) = tokio::join!(described(), is_found(broker.directory(0).work(), true));
    assert_eq!(answer, expected);
    drop(release);
    is_found(broker.directory(0).work(), false).await;
    assert_eq!(described().await, [(ErrorCode::None, 1), (ErrorCode::None, 1)]);
}
