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

use super::observed::Observed;
use super::{BROKERS, TOPIC, UNCLEAN, name_of, number_of};
use crate::connection::Connection;
use crate::history::History;

const PATIENCE: Duration = Duration::from_millis(1_200);

pub struct ClusterClient {
    pub name: String,
    pub random: Random,
    pub observed: Observed,
    pub store: MemoryServer,
    /// How many brokers there are.
    pub brokers: i32,
    /// As any broker told last.
    pub controller: i32,
    history: History,
    connections: BTreeMap<i32, Connection>,
    /// Leaders by partition, as of the newest epoch that was heard of.
    pub leaders: BTreeMap<i32, i32>,
    pub epochs: BTreeMap<i32, i32>,
}

impl ClusterClient {
    pub fn new(
        name: &str,
        random: Random,
        brokers: i32,
        (store, history, observed): (&MemoryServer, &History, &Observed),
    ) -> Self {
        Self {
            name: name.to_owned(),
            random,
            observed: observed.clone(),
            store: store.clone(),
            brokers,
            controller: 1,
            history: history.clone(),
            connections: BTreeMap::new(),
            leaders: BTreeMap::new(),
            epochs: BTreeMap::new(),
        }
    }

    pub fn note(&self, what: &str) {
        self.history.event(&self.name, what);
    }

    /// True when everybody is to end.
    pub fn is_over(&self) -> bool {
        self.observed.lock().finish
    }

    pub async fn sleep(&self, at_least_ms: u64, and_up_to_ms: u64) {
        clock::sleep(Duration::from_millis(
            at_least_ms + self.random.below(and_up_to_ms + 1),
        ))
        .await;
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
        1 + self.random.below(self.brokers as u64) as i32
    }

    /// What a broker says of topics.
    pub async fn metadata(&mut self, broker: i32, topics: &[&str]) -> Option<MetadataResponse> {
        let topic = |name: &&str| MetadataRequestTopic {
            name: Some(Text::copy(name)),
            ..MetadataRequestTopic::default()
        };
        let request = MetadataRequest {
            topics: Some(topics.iter().map(topic).collect()),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        let before = self.observed.lock().told_by(broker);
        let answer = self.ask::<_, MetadataResponse>(broker, &request, 12).await?;
        self.controller = answer.controller_id.max(1);
        for topic in &answer.topics {
            for partition in &topic.partitions {
                let number = number_of(topic.name.as_deref(), partition.partition_index);
                // A topic that is made anew begins with new epochs.
                if let Some(number @ 0..super::PARTITIONS) = number {
                    let mut observed = self.observed.lock();
                    observed.told(broker, &before, number, partition.leader_epoch);
                }
            }
        }
        Some(answer)
    }

    /// Learns who leads.
    pub async fn refresh(&mut self) {
        let broker = self.any();
        let Some(answer) = self.metadata(broker, &[TOPIC, UNCLEAN]).await else {
            return;
        };
        for topic in &answer.topics {
            for partition in topic.partitions.iter().filter(|one| one.leader_id > 0) {
                let Some(number) = number_of(topic.name.as_deref(), partition.partition_index) else {
                    continue;
                };
                // A broker that hears nothing of the controller tells what was (KIP-320).
                let newest = self.epochs.entry(number).or_insert(-1);
                if partition.leader_epoch >= *newest {
                    *newest = partition.leader_epoch;
                    self.leaders.insert(number, partition.leader_id);
                }
            }
        }
    }

    /// The state of a partition as the store has it.
    pub fn state(&self, partition: i32) -> Option<PartitionState> {
        let (topic, index) = name_of(partition);
        let node = self.store.peek(&paths::partition_state(topic, index))?;
        PartitionState::decode(&node.data?).ok()
    }

    /// The in-sync replicas as the store has them.
    pub fn isr(&self, partition: i32) -> Vec<i32> {
        let state = self.state(partition);
        state.map_or_else(Vec::new, |state| state.isr.iter().map(|id| id.get()).collect())
    }
}
