//! What a controller reads at its election, and again when the store tells of a change. Reads are asked for together and
//! waited for one after the other: a store far away costs one way and back, not one a node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::active::Active;
use super::context::{New, Topic, Written};
use super::reign::{Group, Lost};
use crate::base::ids::{BrokerEpoch, BrokerId, TopicId, TopicName, TopicPartition};
use crate::metadata::{BrokerImage, Endpoint};
use crate::store::znodes::{
    Broker, NewPartitions, OurBroker, PartitionState, TELLS_LOSSES, Topic as TopicNode, paths,
};
use crate::store::{Node, Operation, StoreError};

/// A topic's nodes as they were read: its own, and the mark of what is new of it.
type TopicNodes = (String, Option<Node>, Option<Node>);

impl Active {
    /// The brokers that are registered. One whose registration cannot be read is left out, where it stops Kafka's
    /// controllers (pitfalls: a single strange node must not stop the cluster).
    pub(super) async fn read_brokers(&self) -> Result<BTreeMap<BrokerId, Arc<BrokerImage>>, Lost> {
        let store = &self.reign.store;
        let names = store.children(paths::BROKER_IDS).await?;
        let mut asked = Vec::new();
        for name in names.unwrap_or_default() {
            match name.parse().map(BrokerId) {
                Ok(id) => asked.push((id, store.get(&paths::broker(id)))),
                Err(_) => tracing::error!("{}/{name}: its name is no broker id", paths::BROKER_IDS),
            }
        }
        let mut brokers = BTreeMap::new();
        for (id, node) in asked {
            let Some(node) = node.await? else {
                continue;
            };
            match broker_image(id, &node) {
                Ok(image) => {
                    brokers.insert(id, Arc::new(image));
                }
                Err(error) => {
                    let path = paths::broker(id);
                    tracing::error!("{path} cannot be read, the broker is left out: {error}");
                }
            }
        }
        Ok(brokers)
    }

    /// Those of the brokers that say when they may lack something, and where their logs end. To be read after the brokers: who
    /// registers says this in the same change. One that is gone by now may have said it, and is taken for one that does:
    /// what it had is waited for, where it would not be of one that cannot be asked.
    pub(super) async fn read_tellers(&self) -> Result<BTreeSet<BrokerId>, Lost> {
        let store = &self.reign.store;
        let names = store.children(paths::OUR_BROKERS).await?;
        let asked: Vec<_> = names
            .unwrap_or_default()
            .into_iter()
            .filter_map(|name| Some(BrokerId(name.parse().ok()?)))
            .map(|id| (id, store.get(&paths::our_broker(id))))
            .collect();
        let mut tellers = BTreeSet::new();
        for (id, node) in asked {
            let node = node.await?.and_then(|node| node.data);
            let says = node.and_then(|data| OurBroker::decode(&data).ok());
            if says.is_some_and(|says| says.can(TELLS_LOSSES)) {
                tellers.insert(id);
            }
        }
        let silent = self.context.brokers.values();
        let silent = silent.filter(|broker| !tellers.contains(&broker.id));
        let asked: Vec<_> = silent
            .map(|broker| (broker, store.get(&paths::broker(broker.id))))
            .collect();
        for (broker, node) in asked {
            if node
                .await?
                .is_none_or(|node| node.stat.czxid != broker.epoch.get())
            {
                tellers.insert(broker.id);
            }
        }
        Ok(tellers)
    }

    /// Reads all topics that are not known yet; yields the partitions that no broker is known to have yet.
    pub(super) async fn load_topics(&mut self) -> Result<New, Lost> {
        let names = self.reign.store.children(paths::TOPICS).await?;
        let mut names = names.unwrap_or_default();
        names.retain(|name| self.context.topic(name).is_none());
        let mut new = New::new();
        let mut topics = Vec::new();
        for (name, node, marks) in self.read_topic_nodes(names).await? {
            let path = paths::topic(&name);
            let Some(node) = node else {
                continue;
            };
            let mut version = node.stat.version;
            let node = match TopicNode::decode(&node.data.unwrap_or_default()) {
                Ok(node) => node,
                Err(error) => {
                    tracing::error!("{path} cannot be read, the topic is left out: {error}");
                    continue;
                }
            };
            let marked = marked(&name, marks);
            let id = match node.id {
                Some(id) => id,
                None => {
                    version = version.wrapping_add(1);
                    self.give_id(&name, &node).await?
                }
            };
            let name = TopicName::from(name);
            self.watching.topic(&name, version);
            topics.push((name, Topic::new(id, &node), marked));
        }
        let asked: Vec<TopicPartition> = topics
            .iter()
            .flat_map(|(name, topic, _)| {
                let numbers = topic.partitions.keys();
                numbers.map(|number| TopicPartition::new(Arc::clone(name), *number))
            })
            .collect();
        let mut states = self.read_states(&asked).await?;
        for (name, mut topic, marked) in topics {
            for (number, partition) in &mut topic.partitions {
                let name = TopicPartition::new(Arc::clone(&name), *number);
                partition.state = states.remove(&name);
                if partition.state.is_none() || marked.contains(number) {
                    new.insert(name, partition.replicas.clone());
                }
            }
            self.context.add_topic(name, topic);
        }
        Ok(new)
    }

    async fn read_topic_nodes(&self, names: Vec<String>) -> Result<Vec<TopicNodes>, StoreError> {
        let store = &self.reign.store;
        let asked: Vec<_> = names
            .into_iter()
            .map(|name| {
                let node = store.get(&paths::topic(&name));
                let marks = store.get(&paths::new_partitions(&name));
                (name, node, marks)
            })
            .collect();
        let mut nodes = Vec::with_capacity(asked.len());
        for (name, node, marks) in asked {
            nodes.push((name, node.await?, marks.await?));
        }
        Ok(nodes)
    }

    /// A topic of old gets its id, before anything else is done with it: the one that this broker knows it by, where a tool
    /// of before 2.8 has written over it while nobody ruled.
    async fn give_id(&self, topic: &str, node: &TopicNode) -> Result<TopicId, Lost> {
        let image = self.parts.cluster.get();
        let known = image.topic(topic).map(|topic| topic.id);
        let known = known.filter(|id| !id.is_zero());
        let id = known.unwrap_or_else(|| self.parts.random.uuid());
        let node = TopicNode {
            id: Some(id),
            ..node.clone()
        };
        let group = Group {
            operations: vec![Operation::set(paths::topic(topic), Some(node.encode()), None)],
        };
        for answer in self.reign.write(vec![group]).await? {
            answer?;
        }
        Ok(id)
    }

    /// The partitions of a topic that no broker is known to have yet.
    pub(super) async fn read_new_partitions(&self, topic: &str) -> Result<BTreeSet<i32>, Lost> {
        let node = self.reign.store.get(&paths::new_partitions(topic)).await?;
        Ok(marked(topic, node))
    }

    /// The states of these partitions that the store has.
    pub(super) async fn read_states(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Written>, Lost> {
        let store = &self.reign.store;
        let asked: Vec<_> = partitions
            .iter()
            .map(|name| {
                let path = paths::partition_state(&name.topic, name.partition);
                (name, store.get(&path))
            })
            .collect();
        let mut states = BTreeMap::new();
        for (name, node) in asked {
            let Some(node) = node.await? else {
                continue;
            };
            match PartitionState::decode(node.data.as_deref().unwrap_or_default()) {
                Ok(state) => {
                    let written = Written {
                        state,
                        partition_epoch: node.stat.version,
                        mzxid: node.stat.mzxid,
                    };
                    states.insert(name.clone(), written);
                }
                // Without it nobody knows who had the data: rather no leader than a wrong one. The node is there, so
                // that no first state can be written over it.
                Err(error) => {
                    tracing::error!(
                        "the state of {name} cannot be read, the partition gets no leader: {error}"
                    );
                }
            }
        }
        Ok(states)
    }
}

fn broker_image(id: BrokerId, node: &Node) -> Result<BrokerImage, crate::store::znodes::BadNode> {
    let broker = Broker::decode(node.data.as_deref().unwrap_or_default())?;
    let endpoints = broker
        .listeners()?
        .into_iter()
        .map(|(listener, security_protocol, host, port)| Endpoint {
            listener,
            security_protocol,
            host,
            port,
        })
        .collect();
    Ok(BrokerImage {
        id,
        epoch: BrokerEpoch(node.stat.czxid),
        endpoints,
        rack: broker.rack.map(Arc::from),
    })
}

fn marked(topic: &str, node: Option<Node>) -> BTreeSet<i32> {
    let Some(node) = node else {
        return BTreeSet::new();
    };
    match NewPartitions::decode(node.data.as_deref().unwrap_or_default()) {
        Ok(node) => node.partitions,
        Err(error) => {
            let path = paths::new_partitions(topic);
            tracing::error!("{path} cannot be read: {error}");
            BTreeSet::new()
        }
    }
}
