//! All partitions of this broker: found by name, made, started and stopped (Kafka's `ReplicaManager`).
//!
//! Invariant: at most one partition of a name; it lies in one log directory. The map's lock is never held while a
//! partition's is taken (but it may be taken while a partition's is held) or a disk is asked. Control requests are taken one at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerId, LeaderEpoch, TopicName};
use crate::config::BrokerConfig;
use crate::metadata::Cluster;
use crate::metadata::configs::ConfigListener;
use crate::quota::replication::ReplicationQuotas;
use crate::storage::log::Log;

use super::directories::HostDirectory;
use super::fetchers::Fetchers;
use super::isr::IsrQueue;
use super::partition::{Partition, Surroundings};
use super::signals::Listeners;
use super::waiting::ParkingLot;

type Topics = BTreeMap<TopicName, BTreeMap<i32, Arc<Partition>>>;

/// The partitions of this broker.
pub struct Replicas {
    me: BrokerId,
    cluster: Cluster,
    surroundings: Arc<Surroundings>,
    directories: Arc<[Arc<HostDirectory>]>,
    topics: RwLock<Topics>,
    parking: Arc<ParkingLot>,
    pub(super) listeners: Listeners,
    /// Held while a control request is carried out.
    pub(super) control: tokio::sync::Mutex<super::control::Seen>,
    pub(super) graveyard: Mutex<Vec<super::background::Buried>>,
    pub(super) cleaner: super::cleaner::CleanerState,
    pub(super) moves: super::moving::Moves,
    pub(super) isr: IsrQueue,
    pub(super) fetchers: Fetchers,
    pub(super) quotas: ReplicationQuotas,
}

impl Replicas {
    /// The replicas of broker `me` in its log directories: nothing is hosted until [`Replicas::host`] and the controller
    /// say so.
    pub fn new(me: BrokerId, cluster: Cluster, directories: Vec<Arc<HostDirectory>>) -> Arc<Self> {
        Arc::new(Self {
            me,
            surroundings: Surroundings::new(cluster.clone()),
            fetchers: Fetchers::new(me, cluster.clone()),
            quotas: ReplicationQuotas::new(&cluster.get().broker_config),
            isr: IsrQueue::default(),
            cluster,
            directories: directories.into(),
            topics: RwLock::default(),
            parking: Arc::default(),
            listeners: Listeners::default(),
            control: tokio::sync::Mutex::default(),
            graveyard: Mutex::default(),
            cleaner: super::cleaner::CleanerState::default(),
            moves: super::moving::Moves::default(),
        })
    }

    /// Takes over a log that was found in a directory at the start. Clients are served once the controller decided about
    /// it.
    pub fn host(&self, directory: &Arc<HostDirectory>, log: Log) -> Arc<Partition> {
        let partition = Arc::new(Partition::new(
            self.me,
            &self.surroundings,
            &self.directories,
            directory,
            log,
        ));
        let name = partition.name();
        directory.partition_came();
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        let earlier = topics
            .entry(TopicName::clone(&name.topic))
            .or_default()
            .insert(name.partition, Arc::clone(&partition));
        if let Some(earlier) = earlier {
            earlier.directory().partition_went();
        }
        drop(topics);
        partition
    }

    /// Takes a partition out of the map.
    pub(super) fn forget(&self, topic: &str, partition: i32) -> Option<Arc<Partition>> {
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        let partitions = topics.get_mut(topic)?;
        let gone = partitions.remove(&partition);
        if partitions.is_empty() {
            topics.remove(topic);
        }
        // Before the map's lock is let go: the partition may be on its way to another directory.
        if let Some(gone) = &gone {
            gone.directory().partition_went();
        }
        drop(topics);
        gone
    }

    /// Says that a partition, whose lock is held, lies in the directory with the number `at` from now on.
    pub(super) fn moved(&self, partition: &Arc<Partition>, at: usize) {
        let topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        let name = partition.name();
        let here = topics.get(&name.topic).and_then(|all| all.get(&name.partition));
        let counts = here.is_some_and(|here| Arc::ptr_eq(here, partition));
        if counts {
            partition.directory().partition_went();
        }
        partition.moved_to(at);
        if counts {
            partition.directory().partition_came();
        }
    }

    /// This broker.
    pub fn me(&self) -> BrokerId {
        self.me
    }

    /// What all partitions share.
    pub(super) fn surroundings(&self) -> &Arc<Surroundings> {
        &self.surroundings
    }

    /// The log directories, in the order of `log.dirs`.
    pub fn directories(&self) -> &[Arc<HostDirectory>] {
        &self.directories
    }

    /// The bounds of waiting requests.
    pub fn parking(&self) -> &Arc<ParkingLot> {
        &self.parking
    }

    /// The partition, if this broker has a replica of it.
    pub fn partition(&self, topic: &str, partition: i32) -> Option<Arc<Partition>> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.get(topic)?.get(&partition).map(Arc::clone)
    }

    /// The partition.
    ///
    /// # Errors
    /// As [`missing`](Self::missing).
    pub fn find(&self, topic: &str, partition: i32) -> Result<Arc<Partition>, ErrorCode> {
        self.partition(topic, partition)
            .ok_or_else(|| self.missing(topic, partition))
    }

    /// What is said of a partition that is not here: NOT_LEADER_OR_FOLLOWER if the cluster has it, else
    /// UNKNOWN_TOPIC_OR_PARTITION (`ReplicaManager.getPartitionOrError`).
    pub fn missing(&self, topic: &str, partition: i32) -> ErrorCode {
        match self.cluster.get().partition(topic, partition) {
            Some(_) => ErrorCode::NotLeaderOrFollower,
            None => ErrorCode::UnknownTopicOrPartition,
        }
    }

    /// All partitions, by topic and number.
    pub fn all(&self) -> Vec<Arc<Partition>> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics
            .values()
            .flat_map(BTreeMap::values)
            .map(Arc::clone)
            .collect()
    }

    /// The partitions in one log directory.
    pub(super) fn all_in(&self, directory: &Arc<HostDirectory>) -> Vec<Arc<Partition>> {
        let mut all = self.all();
        all.retain(|partition| Arc::ptr_eq(partition.directory(), directory));
        all
    }

    /// Leader and epoch of a partition that this broker has a replica of.
    pub fn leader_of(&self, topic: &str, partition: i32) -> Option<(BrokerId, LeaderEpoch)> {
        self.partition(topic, partition)?.leader()
    }

    /// The cluster as this broker knows it.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}

impl ConfigListener for Replicas {
    fn topic_configs_changed(&self, topics: &[TopicName]) {
        let image = self.cluster.get();
        for topic in topics {
            let config = image.log_config(topic);
            let partitions: Vec<_> = {
                let hosted = self.topics.read().unwrap_or_else(PoisonError::into_inner);
                let partitions = hosted.get(topic).into_iter().flat_map(BTreeMap::values);
                partitions.map(Arc::clone).collect()
            };
            for partition in partitions {
                partition.set_config(Arc::clone(&config));
            }
        }
    }

    fn broker_config_changed(&self, config: &BrokerConfig) {
        let image = self.cluster.get();
        self.quotas.config_changed(config);
        for partition in self.all() {
            partition.set_config(image.log_config(&partition.name().topic));
        }
        self.cleaner.config_changed();
        self.moves.config_changed();
        self.fetchers.config_changed();
    }
}
