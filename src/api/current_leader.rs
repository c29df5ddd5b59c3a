//! Who leads a partition that was asked for in vain, and where it is reached (KIP-951): for Produce from v10 and Fetch
//! from v16 on (`KafkaApis.getCurrentLeader`).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{RequestContext, Services};
use crate::base::ids::{BrokerId, Uuid};
use crate::metadata::ClusterImage;
use crate::wire::text::Text;

/// A broker's address on the listener that the client uses.
pub(super) struct Node {
    pub(super) id: i32,
    pub(super) host: Text,
    pub(super) port: i32,
    pub(super) rack: Option<Text>,
}

/// Looks up leaders and remembers which brokers they were.
pub(super) struct CurrentLeaders<'a> {
    services: &'a Services,
    context: &'a RequestContext,
    image: Arc<ClusterImage>,
    nodes: BTreeMap<i32, Node>,
}

impl<'a> CurrentLeaders<'a> {
    pub(super) fn new(services: &'a Services, context: &'a RequestContext) -> Self {
        Self {
            services,
            context,
            image: services.cluster.get(),
            nodes: BTreeMap::new(),
        }
    }

    /// Leader and leader epoch, −1 for unknown, of a partition named by id or, if that is zero, by name.
    pub(super) fn find(&mut self, name: &str, id: &Uuid, partition: i32) -> (i32, i32) {
        let topic = if id.is_zero() {
            self.image.topic(name)
        } else {
            self.image.topic_by_id(*id)
        };
        let name = topic.map_or(name, |topic| &topic.name);
        let hosted = self.services.replicas.leader_of(name, partition);
        let described = || {
            let partition = topic?.partitions.get(&partition)?;
            Some((partition.leader.unwrap_or(BrokerId(-1)), partition.leader_epoch))
        };
        let Some((leader, epoch)) = hosted.or_else(described) else {
            return (-1, -1);
        };
        self.remember(leader);
        (leader.get(), epoch.get())
    }

    fn remember(&mut self, leader: BrokerId) {
        if self.nodes.contains_key(&leader.get()) {
            return;
        }
        let listener = &self.context.connection.listener.name;
        let Some(broker) = self.image.brokers.get(&leader) else {
            return;
        };
        let Some(endpoint) = broker.endpoint(listener) else {
            return;
        };
        let node = Node {
            id: leader.get(),
            host: Text::copy(&endpoint.host),
            port: endpoint.port,
            rack: broker.rack.as_deref().map(Text::copy),
        };
        self.nodes.insert(leader.get(), node);
    }

    /// The brokers that lead, and are alive.
    pub(super) fn nodes(self) -> impl Iterator<Item = Node> {
        self.nodes.into_values()
    }
}
