//! What the controller knows: brokers, topics, and the state of each partition. The store is the truth; this is the
//! copy that one controller reads at its election and keeps as it writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::dropping::{Stop, StopNumber};
use super::election::Replicas;
use super::retry::Retry;
use super::topic_name;
use crate::base::ids::{BrokerEpoch, BrokerId, ControllerEpoch, TopicId, TopicName, TopicPartition};
use crate::metadata::control::{
    LeaderAndIsr, LeaderAndIsrPartition, LeaderAndIsrTopic, LogEnd, PartitionMetadata, Sender,
    UpdateMetadata, UpdateMetadataTopic,
};
use crate::metadata::{BrokerImage, PartitionImage};
use crate::store::Zxid;
use crate::store::znodes::{EligibleReplicas, PartitionState, Topic as TopicNode};

/// A partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Partition {
    pub replicas: Vec<BrokerId>,
    pub adding: Vec<BrokerId>,
    pub removing: Vec<BrokerId>,
    /// Those that are replicas no more, and stay in the store's list until they have stopped.
    pub going: BTreeMap<BrokerId, Stop>,
    /// `None` for a new one that nobody could lead yet.
    pub state: Option<Written>,
    /// Those that left the ISR with all that was acknowledged.
    pub eligible: Vec<BrokerId>,
    /// Those of the ISR and of the eligible that came back without what they had not synced.
    pub suspect: Vec<BrokerId>,
    /// Where logs end, of a partition that nobody leads for suspicion.
    pub ends: BTreeMap<BrokerId, LogEnd>,
    /// What the store has beside the state, void or not.
    pub kept: Option<EligibleReplicas>,
}

/// A state as it lies in the store.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub state: PartitionState,
    /// The version of its node.
    pub partition_epoch: i32,
    /// The change that wrote it.
    pub mzxid: Zxid,
}

/// A topic.
#[derive(Clone, Debug)]
pub(super) struct Topic {
    pub id: TopicId,
    pub partitions: BTreeMap<i32, Partition>,
}

/// Everything.
#[derive(Debug, Default)]
pub(super) struct Context {
    pub epoch: ControllerEpoch,
    pub brokers: BTreeMap<BrokerId, Arc<BrokerImage>>,
    /// Those of the brokers that say when they may lack something, and where their logs end.
    pub tellers: BTreeSet<BrokerId>,
    topics: BTreeMap<TopicName, Topic>,
    /// Names by their folded form, to find those that collide.
    folded: BTreeMap<String, BTreeSet<TopicName>>,
    /// The topics that are to be deleted.
    pub deleting: BTreeSet<TopicName>,
    /// Replicas whose disk does not work.
    pub offline: BTreeMap<BrokerId, BTreeSet<TopicPartition>>,
    /// Brokers that are about to stop, and have said so.
    pub leaving: BTreeSet<BrokerId>,
    /// The latest StopReplica of this reign.
    pub last_stop: StopNumber,
    /// Replicas of topics that are to be deleted, whose brokers were told to delete them, and by which request.
    pub stopping: BTreeMap<TopicPartition, BTreeMap<BrokerId, StopNumber>>,
    /// When brokers that cannot delete replicas are asked again.
    pub deletion_retry: Retry,
    /// New partitions whose folders this broker does not have yet, as their log directory does not answer.
    pub late: New,
    /// When it is asked again for them.
    pub late_retry: Retry,
    /// Replicas of such topics that are deleted.
    pub stopped: BTreeMap<TopicPartition, BTreeSet<BrokerId>>,
    /// The topics under whose names the store can keep eligible replicas.
    pub kept_topics: BTreeSet<TopicName>,
    /// True when a partition may have no leader for suspicion.
    pub is_suspicious: bool,
    /// Who is asked where which log ends, and has not answered yet.
    pub asked: BTreeSet<(BrokerId, TopicPartition)>,
    /// How many partitions wait for these brokers, as was told last.
    pub waiting: (usize, BTreeSet<BrokerId>),
}

/// The replicas, by partition, whose logs need not be there yet.
pub(super) type New = BTreeMap<TopicPartition, Vec<BrokerId>>;

/// The brokers as one partition sees them.
pub(super) struct Seen<'a> {
    context: &'a Context,
    partition: &'a TopicPartition,
}

impl Replicas for Seen<'_> {
    fn online(&self, broker: BrokerId) -> bool {
        let offline = self.context.offline.get(&broker);
        self.context.brokers.contains_key(&broker)
            && !offline.is_some_and(|partitions| partitions.contains(self.partition))
    }

    fn leaving(&self, broker: BrokerId) -> bool {
        self.context.leaving.contains(&broker)
    }

    fn registered(&self, broker: BrokerId) -> Option<Zxid> {
        self.context.brokers.get(&broker).map(|broker| broker.epoch.get())
    }

    fn eligible(&self, broker: BrokerId) -> bool {
        self.of_partition(|partition| partition.eligible.contains(&broker))
    }

    fn suspect(&self, broker: BrokerId) -> bool {
        self.of_partition(|partition| partition.suspect.contains(&broker))
    }

    fn tells_losses(&self, broker: BrokerId) -> bool {
        self.context.tellers.contains(&broker)
    }

    fn log_end(&self, broker: BrokerId) -> Option<LogEnd> {
        let partition = self.context.partition(self.partition)?;
        partition.ends.get(&broker).copied()
    }
}

impl Seen<'_> {
    fn of_partition(&self, is: impl Fn(&Partition) -> bool) -> bool {
        self.context.partition(self.partition).is_some_and(is)
    }
}

impl Topic {
    pub(super) fn new(id: TopicId, node: &TopicNode) -> Self {
        let list = |map: &BTreeMap<i32, Vec<BrokerId>>, partition: &i32| {
            map.get(partition).cloned().unwrap_or_default()
        };
        Self {
            id,
            partitions: node
                .partitions
                .iter()
                .map(|(number, replicas)| {
                    let partition = Partition {
                        replicas: replicas.clone(),
                        adding: list(&node.adding, number),
                        removing: list(&node.removing, number),
                        ..Partition::default()
                    };
                    (*number, partition)
                })
                .collect(),
        }
    }

    /// The node that says where the partitions are. Who is still to stop is there as one that a move removes: whatever
    /// becomes of this controller, it is not forgotten.
    pub(super) fn node(&self) -> TopicNode {
        let some = |list: fn(&Partition) -> Vec<BrokerId>| {
            let lists = self.partitions.iter();
            let lists = lists.map(|(number, partition)| (*number, list(partition)));
            lists.filter(|(_, list)| !list.is_empty()).collect()
        };
        TopicNode {
            id: Some(self.id),
            partitions: some(|partition| partition.and_going(&partition.replicas)),
            adding: some(|partition| partition.adding.clone()),
            removing: some(|partition| partition.and_going(&partition.removing)),
        }
    }
}

impl Context {
    pub(super) fn new(epoch: ControllerEpoch) -> Self {
        Self {
            epoch,
            ..Self::default()
        }
    }

    pub(super) fn topics(&self) -> &BTreeMap<TopicName, Topic> {
        &self.topics
    }

    pub(super) fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    pub(super) fn topics_mut(&mut self) -> impl Iterator<Item = &mut Topic> {
        self.topics.values_mut()
    }

    pub(super) fn topic_mut(&mut self, name: &str) -> Option<&mut Topic> {
        self.topics.get_mut(name)
    }

    pub(super) fn partition(&self, partition: &TopicPartition) -> Option<&Partition> {
        self.topics
            .get(&partition.topic)?
            .partitions
            .get(&partition.partition)
    }

    pub(super) fn partition_mut(&mut self, partition: &TopicPartition) -> Option<&mut Partition> {
        self.topics
            .get_mut(&partition.topic)?
            .partitions
            .get_mut(&partition.partition)
    }

    pub(super) fn add_topic(&mut self, name: TopicName, topic: Topic) {
        self.folded
            .entry(topic_name::folded(&name))
            .or_default()
            .insert(Arc::clone(&name));
        self.topics.insert(name, topic);
    }

    pub(super) fn remove_topic(&mut self, name: &TopicName) {
        self.topics.remove(name);
        self.deleting.remove(name);
        self.kept_topics.remove(name);
        let folded = topic_name::folded(name);
        if let Some(names) = self.folded.get_mut(&folded) {
            names.remove(name);
            if names.is_empty() {
                self.folded.remove(&folded);
            }
        }
        for partitions in self.offline.values_mut() {
            partitions.retain(|partition| partition.topic != *name);
        }
        self.stopping.retain(|partition, _| partition.topic != *name);
        self.stopped.retain(|partition, _| partition.topic != *name);
    }

    /// A topic whose name differs from `name` in `.` and `_` only, or not at all.
    pub(super) fn colliding(&self, name: &str) -> Option<&TopicName> {
        self.folded.get(&topic_name::folded(name))?.first()
    }

    /// The brokers as this partition sees them.
    pub(super) fn seen<'a>(&'a self, partition: &'a TopicPartition) -> Seen<'a> {
        Seen {
            context: self,
            partition,
        }
    }

    /// The sender's part of requests to `receiver`.
    pub(super) fn sender(&self, me: BrokerId, receiver: BrokerId) -> Sender {
        Sender {
            controller: me,
            controller_epoch: self.epoch,
            broker_epoch: self.broker_epoch(receiver),
        }
    }

    /// The epoch of a broker, −1 when it does not live.
    pub(super) fn broker_epoch(&self, broker: BrokerId) -> BrokerEpoch {
        self.brokers
            .get(&broker)
            .map_or(BrokerEpoch(-1), |broker| broker.epoch)
    }

    /// What `receiver` is told about its replicas among `partitions`, as far as their disks work.
    pub(super) fn leader_and_isr(
        &self,
        me: BrokerId,
        receiver: BrokerId,
        partitions: &[TopicPartition],
        new: &New,
    ) -> LeaderAndIsr {
        let mut topics: Vec<LeaderAndIsrTopic> = Vec::new();
        for name in partitions {
            let Some(topic) = self.topics.get(&name.topic) else {
                continue;
            };
            let Some(partition) = topic.partitions.get(&name.partition) else {
                continue;
            };
            let Some(Written {
                state,
                partition_epoch,
                ..
            }) = &partition.state
            else {
                continue;
            };
            if self.deleting.contains(&name.topic) {
                continue;
            }
            // Who said that its disk failed is told no more until it registers again.
            if !partition.replicas.contains(&receiver) || !self.seen(name).online(receiver) {
                continue;
            }
            let entry = LeaderAndIsrPartition {
                partition: name.partition,
                controller_epoch: state.controller_epoch,
                leader: state.leader,
                leader_epoch: state.leader_epoch,
                isr: state.isr.clone(),
                partition_epoch: *partition_epoch,
                replicas: partition.replicas.clone(),
                adding_replicas: partition.adding.clone(),
                removing_replicas: partition.removing.clone(),
                is_new: new.get(name).is_some_and(|replicas| replicas.contains(&receiver)),
                recovering: state.recovering,
            };
            match topics.last_mut() {
                Some(last) if last.name == name.topic => last.partitions.push(entry),
                _ => topics.push(LeaderAndIsrTopic {
                    name: Arc::clone(&name.topic),
                    id: topic.id,
                    partitions: vec![entry],
                }),
            }
        }
        LeaderAndIsr {
            sender: self.sender(me, receiver),
            topics,
        }
    }

    /// What `receiver` is told of the cluster and of `partitions`; of those of a topic that is to be deleted, that
    /// they are gone.
    pub(super) fn update_metadata<'a>(
        &self,
        me: BrokerId,
        receiver: BrokerId,
        partitions: impl IntoIterator<Item = &'a TopicPartition>,
    ) -> UpdateMetadata {
        let mut topics: Vec<UpdateMetadataTopic> = Vec::new();
        for name in partitions {
            let Some(topic) = self.topics.get(&name.topic) else {
                continue;
            };
            let entry = if self.deleting.contains(&name.topic) {
                PartitionMetadata::Deleted
            } else {
                match self.partition_image(name, topic) {
                    Some(image) => PartitionMetadata::State(Arc::new(image)),
                    None => continue,
                }
            };
            match topics.last_mut() {
                Some(last) if last.name == name.topic => last.partitions.push((name.partition, entry)),
                _ => topics.push(UpdateMetadataTopic {
                    name: Arc::clone(&name.topic),
                    id: topic.id,
                    partitions: vec![(name.partition, entry)],
                }),
            }
        }
        UpdateMetadata {
            controller: me,
            controller_epoch: self.epoch,
            broker_epoch: self.broker_epoch(receiver),
            live_brokers: self.brokers.values().cloned().collect(),
            topics,
        }
    }

    fn partition_image(&self, name: &TopicPartition, topic: &Topic) -> Option<PartitionImage> {
        let partition = topic.partitions.get(&name.partition)?;
        let Written {
            state,
            partition_epoch,
            ..
        } = partition.state.as_ref()?;
        let seen = self.seen(name);
        Some(PartitionImage {
            controller_epoch: state.controller_epoch,
            leader: state.leader,
            leader_epoch: state.leader_epoch,
            partition_epoch: *partition_epoch,
            replicas: partition.replicas.clone(),
            isr: state.isr.clone(),
            offline_replicas: partition
                .replicas
                .iter()
                .copied()
                .filter(|replica| !seen.online(*replica))
                .collect(),
        })
    }

    /// All of them, in order.
    pub(super) fn all_partitions(&self) -> Vec<TopicPartition> {
        self.partitions_that(|_| true)
    }

    /// The partitions of which this holds, in order.
    pub(super) fn partitions_that(&self, is: impl Fn(&Partition) -> bool) -> Vec<TopicPartition> {
        let topics = self.topics.iter();
        let all = topics.flat_map(|(name, topic)| topic.partitions.iter().map(move |one| (name, one)));
        all.filter(|(_, (_, partition))| is(partition))
            .map(|(name, (number, _))| TopicPartition::new(Arc::clone(name), *number))
            .collect()
    }
}
