//! A small broker's replicas over a disk in memory, for tests of this room and of api/.
#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::base::disk::Disk;
use crate::base::disk::memory::MemoryDisk;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{
    BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, Offset, ProducerEpoch, ProducerId, TopicId,
    TopicName, TopicPartition, Uuid,
};
use crate::base::random::Random;
use crate::base::task::Pool;
use crate::config::BrokerConfig;
use crate::metadata::control::{
    LeaderAndIsr, LeaderAndIsrPartition, LeaderAndIsrTopic, PartitionMetadata, Sender, UpdateMetadata,
    UpdateMetadataTopic,
};
use crate::metadata::{BrokerImage, Cluster, PartitionImage};
use crate::records::build::{BatchBuilder, BatchOptions};
use crate::storage::descriptors::Descriptors;
use crate::storage::volume::Volume;

use super::answers::{FetchParameters, ReadAnswer};
use super::directories::HostDirectory;
use super::fetch::Fetch;
use super::fetch_session::FetchPartition;
use super::replicas::Replicas;
use super::waiting::Bound;

pub const NOW_MS: i64 = 1_750_000_000_000;
pub const ME: BrokerId = BrokerId(1);

/// Replicas in `directories` log directories on one disk.
pub struct TestBroker {
    pub disk: MemoryDisk,
    pub cluster: Cluster,
    pub replicas: Arc<Replicas>,
}

pub fn topic_id(number: u8) -> TopicId {
    Uuid([number; 16])
}

impl TestBroker {
    pub fn new(directories: usize) -> Self {
        Self::with_config(directories, &[])
    }

    pub fn with_config(directories: usize, config: &[(&str, &str)]) -> Self {
        let disk = MemoryDisk::new();
        let mut pairs = vec![("broker.id", "1")];
        pairs.extend_from_slice(config);
        let config = BrokerConfig::from_pairs(&pairs).unwrap();
        let cluster = Cluster::new("cluster", ME, config);
        let descriptors = Descriptors::new(1000);
        let random = Random::from_seed(1);
        let directories = (0..directories)
            .map(|number| {
                let path = Path::new("/data").join(number.to_string());
                let seam = Disk::memory(disk.clone());
                seam.create_directory(&path).unwrap();
                let volume = Volume::new(path, seam, Arc::clone(&descriptors), random.clone());
                HostDirectory::new(volume, Pool::start("test", 1).unwrap())
            })
            .collect();
        let replicas = Replicas::new(ME, cluster.clone(), directories);
        Self {
            disk,
            cluster,
            replicas,
        }
    }

    /// Stops cleanly; yields in how many directories all went well.
    pub async fn close(&self) -> usize {
        let clean = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&clean);
        let closed = move |_: &HostDirectory| {
            counted.fetch_add(1, Ordering::AcqRel);
        };
        self.replicas.close(|_| std::future::ready(()), closed).await;
        clean.load(Ordering::Acquire)
    }

    /// Makes this broker the leader of partitions 0 to `partitions` of `topic` in `epoch`, replicated on `replicas`.
    pub async fn lead(&self, topic: &str, id: u8, partitions: i32, epoch: i32, replicas: &[i32]) {
        let all = (ME.get(), replicas, replicas);
        self.decide(topic, id, partitions, epoch, all).await;
    }

    /// As a controller that tells of this broker.
    pub fn know_itself(&self) {
        let broker = Arc::new(BrokerImage {
            id: ME,
            epoch: BrokerEpoch(1),
            endpoints: Vec::new(),
            rack: None,
        });
        self.cluster.change(|image| {
            image.brokers.insert(ME, broker);
        });
    }

    /// As a controller that decides who leads, which brokers have replicas and which of them are in sync.
    pub async fn decide(
        &self,
        topic: &str,
        id: u8,
        partitions: i32,
        epoch: i32,
        (leader, replicas, isr): (i32, &[i32], &[i32]),
    ) {
        let ids = |brokers: &[i32]| -> Vec<BrokerId> { brokers.iter().copied().map(BrokerId).collect() };
        let (replicas, isr) = (ids(replicas), ids(isr));
        let leader = Some(BrokerId(leader));
        let name = TopicName::from(topic);
        let state = Arc::new(PartitionImage {
            controller_epoch: ControllerEpoch(1),
            leader,
            leader_epoch: LeaderEpoch(epoch),
            partition_epoch: epoch,
            replicas: replicas.clone(),
            isr: isr.clone(),
            offline_replicas: Vec::new(),
        });
        let decide = |partition| LeaderAndIsrPartition {
            partition,
            controller_epoch: ControllerEpoch(1),
            leader,
            leader_epoch: LeaderEpoch(epoch),
            isr: isr.clone(),
            partition_epoch: epoch,
            replicas: replicas.clone(),
            adding_replicas: Vec::new(),
            removing_replicas: Vec::new(),
            is_new: epoch == 0,
            recovering: false,
        };
        // A decision that comes again changes nothing, and is answered so.
        let is_known = |partition: &TopicPartition| {
            let known = self.replicas.partition(&partition.topic, partition.partition);
            known.and_then(|known| known.leader()).map(|(_, epoch)| epoch) == Some(LeaderEpoch(epoch))
        };
        let known: Vec<TopicPartition> = (0..partitions)
            .map(|number| TopicPartition::new(TopicName::clone(&name), number))
            .filter(is_known)
            .collect();
        let answer = self
            .replicas
            .leader_and_isr(LeaderAndIsr {
                sender: sender(),
                topics: vec![LeaderAndIsrTopic {
                    name: TopicName::clone(&name),
                    id: topic_id(id),
                    partitions: (0..partitions).map(decide).collect(),
                }],
            })
            .await;
        assert!(answer.error.is_none());
        for (partition, error) in &answer.partitions {
            let expected = match known.contains(partition) {
                true => ErrorCode::StaleControllerEpoch,
                false => ErrorCode::None,
            };
            assert_eq!(*error, expected, "{partition}");
        }
        self.cluster.update(&UpdateMetadata {
            controller: ME,
            controller_epoch: ControllerEpoch(1),
            broker_epoch: BrokerEpoch(1),
            live_brokers: Vec::new(),
            topics: vec![UpdateMetadataTopic {
                name,
                id: topic_id(id),
                partitions: (0..partitions)
                    .map(|partition| (partition, PartitionMetadata::State(Arc::clone(&state))))
                    .collect(),
            }],
        });
    }

    /// What a fetch of one partition is answered that need not wait.
    pub fn read(&self, parameters: FetchParameters, wanted: FetchPartition) -> ReadAnswer {
        match self.replicas.fetch(parameters, vec![wanted].into(), Vec::new()) {
            Fetch::Ready(mut answers) => answers.remove(0),
            Fetch::Parked(_) => panic!("parked"),
        }
    }

    pub fn configure_topic(&self, topic: &str, overrides: &[(&str, &str)]) {
        let overrides: BTreeMap<String, String> = overrides
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        self.cluster.change(|image| {
            image.set_topic_configs(&topic.into(), overrides);
        });
    }
}

pub fn sender() -> Sender {
    Sender {
        controller: ME,
        controller_epoch: ControllerEpoch(1),
        broker_epoch: BrokerEpoch(1),
    }
}

/// A batch of `count` records with values of `value_bytes`.
pub fn batch(count: usize, value_bytes: usize) -> Bytes {
    batch_with(count, value_bytes, BatchOptions::default())
}

/// The same of an idempotent producer.
pub fn idempotent(sequence: i32, count: usize) -> Bytes {
    let options = BatchOptions {
        producer_id: ProducerId(7),
        producer_epoch: ProducerEpoch(0),
        base_sequence: sequence,
        ..BatchOptions::default()
    };
    batch_with(count, 10, options)
}

pub fn batch_with(count: usize, value_bytes: usize, options: BatchOptions) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset: Offset(0),
        ..options
    });
    for number in 0..count {
        let timestamp = NOW_MS + number as i64;
        let value = vec![b'v'; value_bytes];
        builder.append(timestamp, Some(b"k"), Some(&value), &[]).unwrap();
    }
    builder.build().unwrap().1
}

pub fn wanted(topic: &str, partition: i32, fetch_offset: i64) -> FetchPartition {
    FetchPartition {
        topic: Some(topic.into()),
        topic_id: Uuid::ZERO,
        partition,
        fetch_offset,
        log_start_offset: -1,
        max_bytes: 1_000_000,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
    }
}

pub fn consumer(max_wait_ms: i32, min_bytes: i32) -> FetchParameters {
    FetchParameters {
        follower: None,
        follower_epoch: BrokerEpoch(-1),
        max_wait_ms,
        min_bytes,
        max_bytes: 10_000_000,
        hard_max_bytes: false,
        bound: Bound::HighWatermark,
        leader_only: false,
        place: None,
    }
}
