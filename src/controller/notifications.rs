//! What others tell the controller through the store: topics that they made, grew or want deleted, states that leaders
//! wrote themselves, log directories that failed, and the wishes of tools up to 2.3 (Kafka:
//! `KafkaController.processTopicChange`, `processIsrChangeNotification`, `processLogDirEventNotification`, ...).
//!
//! Each is worked out from what is in the store now. A notification is deleted once it was taken in.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::active::Active;
use super::context::{New, Topic};
use super::create::put;
use super::reign::{Group, Lost};
use super::request::ElectionType;
use super::watching::Look;
use crate::base::ids::{BrokerId, TopicName, TopicPartition};
use crate::store::znodes::{
    Controller as ControllerNode, NewPartitions, Topic as TopicNode, notifications, paths,
};
use crate::store::{Operation, Session, StoreError};

impl Active {
    /// Looks at what may have changed.
    pub(super) async fn look(&mut self, look: Look) -> Result<(), Lost> {
        match look {
            Look::Controller => self.check_reign().await,
            Look::Brokers => self.brokers_changed().await,
            Look::Topics => self.topics_changed().await,
            Look::Deletions => {
                self.context.deletion_retry.is_due = false;
                self.load_deletions().await?;
                self.complete_deletions().await
            }
            Look::IsrChanges => self.isrs_changed().await,
            Look::LogDirs => self.log_dirs_failed().await,
            Look::LogEnds => {
                // Asked again after each event.
                self.context.asked.clear();
                Ok(())
            }
            Look::Late => self.ask_late().await,
            Look::Configs => self.configs_changed().await,
            Look::OldReassignments => self.take_old_reassignments().await,
            Look::OldElections => self.take_old_elections().await,
            Look::Imbalance => self.balance_leaders().await,
        }
    }

    /// Whether this broker still is the controller.
    async fn check_reign(&self) -> Result<(), Lost> {
        let store = &self.reign.store;
        let Some(node) = store.get(paths::CONTROLLER).await? else {
            return Err(Lost::Moved);
        };
        let session = *store.session().borrow();
        let is_mine = node.stat.owner == Some(session.id()) && !matches!(session, Session::Expired(_));
        let named = ControllerNode::decode(node.data.as_deref().unwrap_or_default());
        let is_named = named.is_ok_and(|named| BrokerId(named.brokerid) == self.parts.broker);
        if is_mine && is_named {
            Ok(())
        } else {
            Err(Lost::Moved)
        }
    }

    /// Topics that others made are brought up; those that vanished without being marked are forgotten.
    async fn topics_changed(&mut self) -> Result<(), Lost> {
        let names = self.reign.store.children(paths::TOPICS).await?;
        let names: BTreeSet<String> = names.unwrap_or_default().into_iter().collect();
        let gone: Vec<TopicName> = self
            .context
            .topics()
            .keys()
            .filter(|name| !names.contains(&***name) && !self.context.deleting.contains(*name))
            .cloned()
            .collect();
        for name in gone {
            tracing::warn!("topic {name} has gone from the store without having been deleted");
            self.context.remove_topic(&name);
        }
        let new = self.load_topics().await?;
        self.bring_up(new.into_keys().collect()).await
    }

    /// Partitions that somebody else has added to a topic are brought up. What the node says of those that are known is
    /// not obeyed before the next election, as with Kafka. A tool of before 2.8 writes the node without the topic's id and
    /// its moves (KAFKA-14190): they are put back.
    pub(super) async fn topic_changed(&mut self, name: &TopicName) -> Result<(), Lost> {
        let path = paths::topic(name);
        let Some(node) = self.reign.store.get(&path).await? else {
            return Ok(());
        };
        let Some(known) = self.context.topic(name) else {
            return Ok(());
        };
        let read = match TopicNode::decode(node.data.as_deref().unwrap_or_default()) {
            Ok(read) => read,
            Err(error) => {
                tracing::error!("{path} cannot be read, the topic stays as it is: {error}");
                return Ok(());
            }
        };
        let mut added = Topic::new(known.id, &read).partitions;
        added.retain(|number, _| !known.partitions.contains_key(number));
        let is_undone = !added.is_empty() && self.context.deleting.contains(name);
        if is_undone {
            tracing::warn!("topic {name} is being deleted: it gets no more partitions");
            added.clear();
        }
        if added.is_empty() && !is_undone && read.id == Some(known.id) {
            return Ok(());
        }
        let mut whole = known.clone();
        whole.partitions.extend(added.clone());
        let mut operations = Vec::new();
        if !added.is_empty() {
            let mut marks = self.read_new_partitions(name).await?;
            marks.extend(added.keys());
            let marks = NewPartitions::new(marks).encode();
            operations.push(put(self, paths::new_partitions(name), marks).await?);
        }
        let seen = Some(node.stat.version);
        operations.push(if is_undone || read.id != Some(known.id) {
            Operation::set(path, Some(whole.node().encode()), seen)
        } else {
            Operation::check(path, seen)
        });
        for answer in self.reign.write(vec![Group { operations }]).await? {
            match answer {
                Ok(_) => {}
                // Somebody was faster: the watch tells of that too.
                Err(StoreError::BadVersion | StoreError::NoNode | StoreError::NodeExists) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        if added.is_empty() {
            return Ok(());
        }
        tracing::info!(
            "topic {name} has got {} more partitions in the store",
            added.len()
        );
        let new = added
            .keys()
            .map(|number| TopicPartition::new(Arc::clone(name), *number));
        let new = new.collect();
        if let Some(topic) = self.context.topic_mut(name) {
            topic.partitions.extend(added);
        }
        self.bring_up(new).await
    }

    /// States that others wrote are read, told to everybody, and may end moves.
    async fn isrs_changed(&mut self) -> Result<(), Lost> {
        let nodes = self.take_notifications(paths::ISR_CHANGE_NOTIFICATIONS).await?;
        let mut changed = BTreeSet::new();
        for (path, data) in &nodes {
            match notifications::decode_partitions(data) {
                Ok(partitions) => changed.extend(partitions),
                Err(error) => tracing::error!("{path} cannot be read: {error}"),
            }
        }
        changed.retain(|name| self.context.partition(name).is_some());
        let changed: Vec<TopicPartition> = changed.into_iter().collect();
        for (name, written) in self.read_states(&changed).await? {
            if let Some(partition) = self.context.partition_mut(&name) {
                partition.read(Some(written));
            }
        }
        if !changed.is_empty() {
            self.update_metadata(&changed).await;
            self.resume_reassignments().await?;
        }
        self.delete_nodes(nodes.into_iter().map(|(path, _)| path)).await
    }

    /// A broker with a log directory that failed is told again what it has: its answers say which replicas do not work.
    async fn log_dirs_failed(&mut self) -> Result<(), Lost> {
        let nodes = self
            .take_notifications(paths::LOG_DIR_EVENT_NOTIFICATIONS)
            .await?;
        let mut brokers = BTreeSet::new();
        for (path, data) in &nodes {
            match notifications::decode_log_dir_event(data) {
                Ok(broker) => drop(brokers.insert(broker)),
                Err(error) => tracing::error!("{path} cannot be read: {error}"),
            }
        }
        let partitions = self.settled_partitions();
        if brokers.remove(&self.parts.broker) {
            self.tell(&partitions, &New::new()).await?;
        }
        for broker in brokers {
            self.tell_replicas(broker, &partitions, &New::new());
        }
        self.delete_nodes(nodes.into_iter().map(|(path, _)| path)).await
    }

    /// The wish of a tool up to 2.3 that first replicas lead.
    pub(super) async fn take_old_elections(&mut self) -> Result<(), Lost> {
        let Some(node) = self.reign.store.get(paths::PREFERRED_REPLICA_ELECTION).await? else {
            return Ok(());
        };
        match notifications::decode_partitions(node.data.as_deref().unwrap_or_default()) {
            Ok(partitions) => drop(self.elect_leaders(&partitions, ElectionType::Preferred).await?),
            Err(error) => {
                tracing::error!("{} cannot be read: {error}", paths::PREFERRED_REPLICA_ELECTION);
            }
        }
        let path = paths::PREFERRED_REPLICA_ELECTION.to_owned();
        self.delete_nodes(std::iter::once(path)).await
    }

    /// Notifications from before the election: all that they could tell of is about to be read.
    pub(super) async fn drop_notifications(&self) -> Result<(), Lost> {
        for parent in [
            paths::ISR_CHANGE_NOTIFICATIONS,
            paths::LOG_DIR_EVENT_NOTIFICATIONS,
        ] {
            let nodes = self.take_notifications(parent).await?;
            self.delete_nodes(nodes.into_iter().map(|(path, _)| path)).await?;
        }
        Ok(())
    }

    /// The paths and contents of the notifications below a node.
    async fn take_notifications(&self, parent: &str) -> Result<Vec<(String, bytes::Bytes)>, Lost> {
        let store = &self.reign.store;
        let names = store.children(parent).await?.unwrap_or_default();
        let asked: Vec<_> = names
            .into_iter()
            .map(|name| {
                let path = format!("{parent}/{name}");
                let node = store.get(&path);
                (path, node)
            })
            .collect();
        let mut found = Vec::new();
        for (path, node) in asked {
            if let Some(node) = node.await? {
                found.push((path, node.data.unwrap_or_default()));
            }
        }
        Ok(found)
    }

    /// Deletes nodes, whoever else may have done so.
    async fn delete_nodes(&self, paths: impl Iterator<Item = String>) -> Result<(), Lost> {
        let groups = paths.map(|path| Group {
            operations: vec![Operation::delete(path, None)],
        });
        self.reign.write(groups.collect()).await?;
        Ok(())
    }
}
