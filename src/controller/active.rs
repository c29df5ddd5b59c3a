//! The active controller: what it does at its election, and how it brings partitions into the state they must have
//! (Kafka: `KafkaController.onControllerFailover`, `ZkPartitionStateMachine`).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::context::{Context, Partition, Topic, Written};
use super::election::Preferred;
use super::reign::{Group, Lost, Reign};
use super::{Parts, election};
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerEpoch, BrokerId, TopicName, TopicPartition};
use crate::metadata::{BrokerImage, Endpoint};
use crate::store::znodes::{Broker, Feature, NewPartitions, PartitionState, Topic as TopicNode, paths};
use crate::store::{CreateKind, Operation, StoreError};

/// How often a state that somebody else changed is read and decided anew.
const ROUNDS: usize = 10;

/// Why leaders are elected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reason {
    /// Brokers came or went; `unclean.leader.election.enable` says whether data may be lost for a leader.
    Changed,
    /// The first replica is to lead.
    Preferred,
    /// Somebody wants a leader even if data is lost.
    Unclean,
    /// The replicas are other ones; the leader stays.
    Reassigned,
}

/// A controller that reigns.
pub(super) struct Active {
    pub parts: Arc<Parts>,
    pub reign: Reign,
    pub context: Context,
}

impl Active {
    /// Takes over: reads everything, elects leaders where that is needed, tells this broker.
    pub(super) async fn begin(parts: Arc<Parts>, reign: Reign) -> Result<Self, Lost> {
        let context = Context::new(reign.epoch);
        let mut active = Self {
            parts,
            reign,
            context,
        };
        active.write_feature().await?;
        active.load_brokers().await?;
        let new = active.load_topics().await?;
        active.load_deletions().await?;
        // Brokers must know of each other before they follow anybody.
        active.update_metadata(&[]).await;
        let partitions: Vec<TopicPartition> = active
            .context
            .all_partitions()
            .into_iter()
            .filter(|partition| !active.context.deleting.contains(&partition.topic))
            .collect();
        active.elect(&partitions, Reason::Changed).await?;
        active.tell(&partitions, &new).await?;
        active.resume_reassignments().await?;
        active.complete_deletions().await?;
        tracing::info!(
            "this broker is the controller, with epoch {}; topics: {}, partitions: {}",
            active.reign.epoch,
            active.context.topics().len(),
            partitions.len()
        );
        Ok(active)
    }

    async fn write_feature(&self) -> Result<(), Lost> {
        if self.reign.store.get(paths::FEATURE).await?.is_none() {
            let data = Some(Feature::default().encode());
            self.reign.write_later(Group {
                operations: vec![Operation::create(paths::FEATURE, data, CreateKind::Persistent)],
            });
        }
        Ok(())
    }

    async fn load_brokers(&mut self) -> Result<(), Lost> {
        let names = self.reign.store.children(paths::BROKER_IDS).await?;
        for name in names.unwrap_or_default() {
            let Ok(id) = name.parse().map(BrokerId) else {
                tracing::error!("{}/{name}: its name is no broker id", paths::BROKER_IDS);
                continue;
            };
            let path = paths::broker(id);
            let Some(node) = self.reign.store.get(&path).await? else {
                continue;
            };
            let broker = Broker::decode(node.data.as_deref().unwrap_or_default())
                .and_then(|broker| Ok((broker.listeners()?, broker.rack)));
            match broker {
                Ok((listeners, rack)) => {
                    let image = BrokerImage {
                        id,
                        epoch: BrokerEpoch(node.stat.czxid),
                        endpoints: listeners
                            .into_iter()
                            .map(|(listener, security_protocol, host, port)| Endpoint {
                                listener,
                                security_protocol,
                                host,
                                port,
                            })
                            .collect(),
                        rack: rack.map(Arc::from),
                    };
                    self.context.brokers.insert(id, Arc::new(image));
                }
                Err(error) => tracing::error!("{path} cannot be read, the broker is left out: {error}"),
            }
        }
        Ok(())
    }

    /// Brokers have registered anew: everybody is told where they are.
    pub(super) async fn brokers_changed(&mut self) -> Result<(), Lost> {
        self.load_brokers().await?;
        self.update_metadata(&[]).await;
        Ok(())
    }

    /// Reads all topics; yields the partitions that no broker is known to have yet.
    async fn load_topics(&mut self) -> Result<BTreeSet<TopicPartition>, Lost> {
        let mut new = BTreeSet::new();
        let names = self.reign.store.children(paths::TOPICS).await?;
        for name in names.unwrap_or_default() {
            let path = paths::topic(&name);
            let Some(node) = self.reign.store.get(&path).await? else {
                continue;
            };
            let data = node.data.unwrap_or_default();
            let node = match TopicNode::decode(&data) {
                Ok(node) => node,
                Err(error) => {
                    tracing::error!("{path} cannot be read, the topic is left out: {error}");
                    continue;
                }
            };
            let name: TopicName = Arc::from(name);
            let id = match node.id {
                Some(id) => id,
                None => self.give_id(&path, &node).await?,
            };
            let marked = self.read_new_partitions(&name).await?;
            let mut topic = Topic::new(id, &node);
            for (number, partition) in &mut topic.partitions {
                let name = TopicPartition::new(Arc::clone(&name), *number);
                partition.state = self.read_state(&name).await?;
                if partition.state.is_none() || marked.contains(number) {
                    new.insert(name);
                }
            }
            self.context.add_topic(name, topic);
        }
        Ok(new)
    }

    /// A topic of old gets its id, before anything else is done with it.
    async fn give_id(&self, path: &str, node: &TopicNode) -> Result<crate::base::ids::TopicId, Lost> {
        let id = self.parts.random.uuid();
        let node = TopicNode {
            id: Some(id),
            ..node.clone()
        };
        let group = Group {
            operations: vec![Operation::set(path, Some(node.encode()), None)],
        };
        for answer in self.reign.write(vec![group]).await? {
            answer?;
        }
        Ok(id)
    }

    pub(super) async fn read_new_partitions(&self, topic: &str) -> Result<BTreeSet<i32>, Lost> {
        let path = paths::new_partitions(topic);
        let Some(node) = self.reign.store.get(&path).await? else {
            return Ok(BTreeSet::new());
        };
        match NewPartitions::decode(node.data.as_deref().unwrap_or_default()) {
            Ok(node) => Ok(node.partitions),
            Err(error) => {
                tracing::error!("{path} cannot be read: {error}");
                Ok(BTreeSet::new())
            }
        }
    }

    async fn read_state(&self, partition: &TopicPartition) -> Result<Option<Written>, Lost> {
        let path = paths::partition_state(&partition.topic, partition.partition);
        let Some(node) = self.reign.store.get(&path).await? else {
            return Ok(None);
        };
        match PartitionState::decode(node.data.as_deref().unwrap_or_default()) {
            Ok(state) => Ok(Some(Written {
                state,
                partition_epoch: node.stat.version,
                mzxid: node.stat.mzxid,
            })),
            Err(error) => {
                // Without it nobody knows who had the data: rather no leader than a wrong one. The node is there,
                // so that no first state can be written over it.
                tracing::error!("{path} cannot be read, the partition gets no leader: {error}");
                Ok(None)
            }
        }
    }

    /// The state that a partition must get, if it is not in it.
    fn wanted(&self, name: &TopicPartition, partition: &Partition, reason: Reason) -> Option<PartitionState> {
        let (seen, epoch) = (self.context.seen(name), self.reign.epoch);
        let replicas = &partition.replicas;
        let Some(written) = &partition.state else {
            return election::first(replicas, &seen, epoch);
        };
        let state = &written.state;
        let unclean = match reason {
            Reason::Preferred => {
                return match election::preferred(replicas, state, &seen, epoch) {
                    Preferred::Elected(state) => Some(state),
                    Preferred::Leads | Preferred::NotAvailable => None,
                };
            }
            Reason::Reassigned => return election::renewed(state, epoch),
            Reason::Unclean => true,
            Reason::Changed => {
                let image = self.parts.cluster.get();
                image.log_config(&name.topic).unclean_leader_election_enable
            }
        };
        election::again(replicas, state, written.mzxid, &seen, unclean, epoch)
    }

    /// Elects leaders of those partitions that need one, and writes that down. Yields those that changed.
    pub(super) async fn elect(
        &mut self,
        partitions: &[TopicPartition],
        reason: Reason,
    ) -> Result<Vec<TopicPartition>, Lost> {
        let mut changed = Vec::new();
        let mut rest = partitions.to_vec();
        for _ in 0..ROUNDS {
            let mut states = Vec::new();
            let mut groups = Vec::new();
            for name in std::mem::take(&mut rest) {
                let Some(partition) = self.context.partition(&name) else {
                    continue;
                };
                let Some(state) = self.wanted(&name, partition, reason) else {
                    continue;
                };
                let before = partition.state.as_ref().map(|written| written.partition_epoch);
                groups.push(Group {
                    operations: self.state_operations(&name, before, &state).await?,
                });
                states.push((name, before, state));
            }
            if groups.is_empty() {
                break;
            }
            let answers = self.reign.write(groups).await?;
            for ((name, before, state), answer) in states.into_iter().zip(answers) {
                match answer {
                    Ok(mzxid) => {
                        let written = Written {
                            state,
                            partition_epoch: before.map_or(0, |before| before.wrapping_add(1)),
                            mzxid,
                        };
                        if let Some(partition) = self.context.partition_mut(&name) {
                            partition.state = Some(written);
                        }
                        changed.push(name);
                    }
                    Err(StoreError::BadVersion | StoreError::NodeExists | StoreError::NoNode) => {
                        let state = self.read_state(&name).await?;
                        if let Some(partition) = self.context.partition_mut(&name) {
                            partition.state = state;
                        }
                        rest.push(name);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(changed)
    }

    /// The operations that write a partition's state over the version `before`, or for the first time.
    async fn state_operations(
        &self,
        name: &TopicPartition,
        before: Option<i32>,
        state: &PartitionState,
    ) -> Result<Vec<Operation>, Lost> {
        let path = paths::partition_state(&name.topic, name.partition);
        let data = Some(state.encode());
        if before.is_some() {
            return Ok(vec![Operation::set(path, data, before)]);
        }
        let mut operations = Vec::new();
        let above = paths::partition(&name.topic, name.partition);
        if self.reign.store.get(&above).await?.is_none() {
            let parent = paths::partitions(&name.topic);
            if self.reign.store.get(&parent).await?.is_none() {
                let group = Group {
                    operations: vec![Operation::create(parent, None, CreateKind::Persistent)],
                };
                self.reign.write(vec![group]).await?;
            }
            operations.push(Operation::create(above, None, CreateKind::Persistent));
        }
        operations.push(Operation::create(path, data, CreateKind::Persistent));
        Ok(operations)
    }

    /// Tells this broker of its replicas among `partitions`, and then of all of them. `new`: those it need not have
    /// yet; once it has them, the store is told.
    pub(super) async fn tell(
        &mut self,
        partitions: &[TopicPartition],
        new: &BTreeSet<TopicPartition>,
    ) -> Result<(), Lost> {
        let me = self.parts.broker;
        let request = self.context.leader_and_isr(me, me, partitions, new);
        let mut failed = Vec::new();
        let mut refused: BTreeSet<TopicName> = BTreeSet::new();
        if !request.topics.is_empty() {
            let answer = self.parts.local.leader_and_isr(request).await;
            if !answer.error.is_none() {
                tracing::error!(
                    "this broker refused its controller's LeaderAndIsr: {}",
                    answer.error
                );
                refused.extend(partitions.iter().map(|partition| Arc::clone(&partition.topic)));
            }
            let offline = self.context.offline.entry(me).or_default();
            for (partition, error) in answer.partitions {
                if !error.is_none() {
                    refused.insert(Arc::clone(&partition.topic));
                }
                match error {
                    ErrorCode::KafkaStorageError => {
                        offline.insert(partition.clone());
                        failed.push(partition);
                    }
                    ErrorCode::None => {
                        offline.remove(&partition);
                    }
                    _ => {}
                }
            }
        }
        self.forget_new(new, &refused);
        if !failed.is_empty() {
            self.elect(&failed, Reason::Changed).await?;
        }
        self.update_metadata(partitions).await;
        Ok(())
    }

    /// Takes the marks off new partitions that this broker has now.
    fn forget_new(&self, new: &BTreeSet<TopicPartition>, refused: &BTreeSet<TopicName>) {
        let topics: BTreeSet<&TopicName> = new
            .iter()
            .map(|partition| &partition.topic)
            .filter(|topic| !refused.contains(*topic))
            .collect();
        for topic in topics {
            // One at a time: a mark may be missing. The store commits them together.
            self.reign.write_later(Group {
                operations: vec![Operation::delete(paths::new_partitions(topic), None)],
            });
        }
    }

    /// Tells this broker who lives, and what became of `partitions`.
    pub(super) async fn update_metadata(&self, partitions: &[TopicPartition]) {
        let me = self.parts.broker;
        let update = self.context.update_metadata(me, me, partitions);
        let error = self.parts.local.update_metadata(update).await;
        if !error.is_none() {
            tracing::error!("this broker refused its controller's UpdateMetadata: {error}");
        }
    }

    /// The replicas of these partitions on this broker do not work any more (KIP-112).
    pub(super) async fn replicas_offline(&mut self, partitions: Vec<TopicPartition>) -> Result<(), Lost> {
        let me = self.parts.broker;
        let known: Vec<TopicPartition> = partitions
            .into_iter()
            .filter(|name| {
                let partition = self.context.partition(name);
                partition.is_some_and(|partition| partition.replicas.contains(&me))
            })
            .collect();
        self.context
            .offline
            .entry(me)
            .or_default()
            .extend(known.iter().cloned());
        self.elect(&known, Reason::Changed).await?;
        self.update_metadata(&known).await;
        Ok(())
    }
}
