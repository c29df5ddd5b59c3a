//! A client of a cluster: it asks any broker for metadata, and leaders for the rest.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use barnabas::base::clock;
use barnabas::base::random::Random;
use barnabas::store::memory::MemoryServer;
use barnabas::store::znodes::{PartitionState, paths};
use barnabas::wire::message::Message;
use barnabas::wire::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use barnabas::wire::text::Text;

use super::{BROKERS, TOPIC};
use crate::connection::Connection;
use crate::history::History;

const PATIENCE: Duration = Duration::from_millis(1_200);

pub struct ClusterClient {
    pub name: String,
    pub random: Random,
    history: History,
    store: MemoryServer,
    connections: BTreeMap<i32, Connection>,
    /// Leaders by partition, as of the newest epoch that was heard of.
    pub leaders: BTreeMap<i32, i32>,
    pub epochs: BTreeMap<i32, i32>,
}

impl ClusterClient {
    pub fn new(name: &str, random: Random, store: &MemoryServer, history: &History) -> Self {
        Self {
            name: name.to_owned(),
            random,
            history: history.clone(),
            store: store.clone(),
            connections: BTreeMap::new(),
            leaders: BTreeMap::new(),
            epochs: BTreeMap::new(),
        }
    }

    pub fn note(&self, what: &str) {
        self.history.event(&self.name, what);
    }

    /// Asks a broker once; `None` tells that the request may or may not have been carried out.
    pub async fn ask<Q: Message + Debug, A: Message + Debug>(
        &mut self,
        broker: i32,
        request: &Q,
        version: i16,
    ) -> Option<A> {
        let kept = self.connections.remove(&broker);
        let name = self.name.clone();
        let exchange = async {
            let mut connection = match kept {
                Some(connection) => connection,
                None => Connection::open(BROKERS[broker as usize - 1]).await?,
            };
            let answer = connection.exchange(&name, request, version).await?;
            Ok::<_, std::io::Error>((connection, answer))
        };
        match clock::timeout(PATIENCE, exchange).await {
            Some(Ok((connection, answer))) => {
                self.connections.insert(broker, connection);
                Some(answer)
            }
            _ => {
                clock::sleep(Duration::from_millis(20)).await;
                None
            }
        }
    }

    /// Any broker.
    pub fn any(&self) -> i32 {
        1 + self.random.below(BROKERS.len() as u64) as i32
    }

    /// Learns who leads.
    pub async fn refresh(&mut self) {
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: Some(Text::from(TOPIC)),
                ..MetadataRequestTopic::default()
            }]),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        let broker = self.any();
        let Some(answer) = self.ask::<_, MetadataResponse>(broker, &request, 7).await else {
            return;
        };
        let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        for partition in partitions.filter(|partition| partition.leader_id > 0) {
            // A broker that hears nothing of the controller tells what was (KIP-320).
            let newest = self.epochs.entry(partition.partition_index).or_insert(-1);
            if partition.leader_epoch >= *newest {
                *newest = partition.leader_epoch;
                self.leaders
                    .insert(partition.partition_index, partition.leader_id);
            }
        }
    }

    /// The in-sync replicas as the store has them.
    pub fn isr(&self, partition: i32) -> Vec<i32> {
        let node = self.store.peek(&paths::partition_state(TOPIC, partition));
        let state = node.and_then(|node| PartitionState::decode(&node.data?).ok());
        state.map_or_else(Vec::new, |state| state.isr.iter().map(|id| id.get()).collect())
    }
}
