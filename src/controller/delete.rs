//! The end of topics (Kafka: `TopicDeletionManager`): marked in the store, gone from the metadata, replicas deleted,
//! nodes deleted. A controller that stops half way leaves the mark, and the next one goes on.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::active::Active;
use super::channels::Request;
use super::dropping::StopNumber;
use super::reign::{Group, Lost};
use super::request::{AdminError, Answers};
use super::watching::Look;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerId, TopicName, TopicPartition};
use crate::metadata::control::{ControlAnswer, StopReplica, StopReplicaPartition, TOPIC_IS_DELETED};
use crate::store::znodes::paths;
use crate::store::{CreateKind, Operation, StoreError};

impl Active {
    /// The deletions that an earlier controller did not finish.
    pub(super) async fn load_deletions(&mut self) -> Result<(), Lost> {
        let enabled = self.parts.cluster.get().broker_config.delete_topic_enable;
        let names = self.reign.store.children(paths::DELETE_TOPICS).await?;
        let mut groups = Vec::new();
        for name in names.unwrap_or_default() {
            if enabled && self.context.topic(&name).is_some() {
                self.context.deleting.insert(Arc::from(name));
            } else {
                groups.push(Group {
                    operations: vec![Operation::delete(paths::delete_topic(&name), None)],
                });
            }
        }
        self.reign.write(groups).await?;
        Ok(())
    }

    /// Deletes topics. An answer without error means that the topic is gone from the metadata for good, though its
    /// replicas on brokers that are away, or on disks that failed, may still be there.
    pub(super) async fn delete_topics(&mut self, topics: Vec<TopicName>) -> Result<Answers<()>, Lost> {
        if !self.parts.cluster.get().broker_config.delete_topic_enable {
            let disabled = AdminError::new(
                ErrorCode::TopicDeletionDisabled,
                "delete.topic.enable is false on this broker.",
            );
            return Ok(topics.iter().map(|_| Err(disabled.clone())).collect());
        }
        let mut marks = Vec::new();
        let mut marked: BTreeSet<TopicName> = BTreeSet::new();
        for topic in &topics {
            let known = self.context.topic(topic).is_some() && !self.context.deleting.contains(topic);
            if known && marked.insert(Arc::clone(topic)) {
                marks.push(Group {
                    operations: vec![Operation::create(
                        paths::delete_topic(topic),
                        None,
                        CreateKind::Persistent,
                    )],
                });
            }
        }
        // The marks are written in the order of the topics, which is not that of the set.
        let mut order: Vec<TopicName> = Vec::new();
        for topic in &topics {
            if marked.contains(topic) && !order.contains(topic) {
                order.push(Arc::clone(topic));
            }
        }
        let mut failed: BTreeSet<TopicName> = BTreeSet::new();
        for (topic, answer) in order.into_iter().zip(self.reign.write(marks).await?) {
            match answer {
                Ok(_) | Err(StoreError::NodeExists) => {
                    self.context.deleting.insert(topic);
                }
                Err(error) => {
                    tracing::warn!("topic {topic} cannot be marked for deletion: {error}");
                    failed.insert(topic);
                }
            }
        }
        let answers = topics
            .iter()
            .map(|topic| {
                if failed.contains(topic) {
                    Err(AdminError::new(
                        ErrorCode::UnknownServerError,
                        format!("Topic '{topic}' could not be marked for deletion."),
                    ))
                } else if self.context.topic(topic).is_none() {
                    Err(AdminError::new(
                        ErrorCode::UnknownTopicOrPartition,
                        format!("Topic '{}' does not exist.", topic.escape_debug()),
                    ))
                } else {
                    Ok(())
                }
            })
            .collect();
        self.complete_deletions().await?;
        Ok(answers)
    }

    /// Goes on with all deletions, as far as that is possible now.
    pub(super) async fn complete_deletions(&mut self) -> Result<(), Lost> {
        if self.context.deleting.is_empty() {
            return Ok(());
        }
        let mut partitions = Vec::new();
        for name in &self.context.deleting {
            let numbers = self
                .context
                .topic(name)
                .into_iter()
                .flat_map(|topic| topic.partitions.keys());
            partitions.extend(numbers.map(|number| TopicPartition::new(Arc::clone(name), *number)));
        }
        self.update_metadata(&partitions).await;
        self.stop_replicas(&partitions).await;
        self.finish_deletions().await
    }

    /// Has the replicas deleted that nobody was asked to delete yet. Waits for this broker only.
    async fn stop_replicas(&mut self, partitions: &[TopicPartition]) {
        let me = self.parts.broker;
        let brokers: Vec<BrokerId> = self.context.brokers.keys().copied().collect();
        for broker in brokers {
            let mut stops = Vec::new();
            for name in partitions {
                let Some(partition) = self.context.partition(name) else {
                    continue;
                };
                let (stopping, stopped) = (self.context.stopping.get(name), self.context.stopped.get(name));
                let is_asked = stopping.is_some_and(|brokers| brokers.contains_key(&broker))
                    || stopped.is_some_and(|brokers| brokers.contains(&broker));
                if partition.replicas.contains(&broker) && !is_asked {
                    stops.push(StopReplicaPartition {
                        partition: name.clone(),
                        leader_epoch: TOPIC_IS_DELETED,
                        delete: true,
                    });
                }
            }
            if stops.is_empty() {
                continue;
            }
            let number = self.context.next_stop();
            for stop in &stops {
                let asked = self.context.stopping.entry(stop.partition.clone());
                asked.or_default().insert(broker, number);
            }
            let request = StopReplica {
                sender: self.context.sender(me, broker),
                partitions: stops,
            };
            if broker == me {
                let answer = self.parts.local.stop_replica(request).await;
                self.take_stop_replica_answer(me, number, answer);
            } else {
                self.channels.tell(broker, Request::StopReplica(number, request));
            }
        }
    }

    /// Notes which replicas of topics that are to be deleted are gone. Of those that are not, the broker is asked again
    /// some time.
    pub(super) fn take_stop_replica_answer(
        &mut self,
        broker: BrokerId,
        number: StopNumber,
        answer: ControlAnswer,
    ) {
        if !answer.error.is_none() {
            tracing::error!(
                "broker {broker} refused its controller's StopReplica: {}",
                answer.error
            );
            for brokers in self.context.stopping.values_mut() {
                brokers.retain(|id, asked| *id != broker || *asked != number);
            }
        }
        let mut failed = false;
        for (partition, error) in answer.partitions {
            let Some(asked) = self.context.stopping.get_mut(&partition) else {
                continue;
            };
            if asked.get(&broker) != Some(&number) {
                continue;
            }
            asked.remove(&broker);
            if error.is_none() {
                self.context.stopped.entry(partition).or_default().insert(broker);
                self.context.deletion_retry.succeeded();
            } else {
                failed = true;
                tracing::warn!("replica {partition} on broker {broker} cannot be deleted now: {error}");
            }
        }
        if failed && let Some(pause) = self.context.deletion_retry.begin() {
            self.channels.look_after(pause, Look::Deletions);
        }
    }

    /// Forgets topics of which no replica is left.
    pub(super) async fn finish_deletions(&mut self) -> Result<(), Lost> {
        let is_gone = |name: &&TopicName| {
            let topic = self.context.topic(name);
            let mut partitions = topic.into_iter().flat_map(|topic| &topic.partitions);
            partitions.all(|(number, partition)| {
                let name = TopicPartition::new(Arc::clone(name), *number);
                let stopped = self.context.stopped.get(&name);
                let is_stopped = |id: &BrokerId| stopped.is_some_and(|brokers| brokers.contains(id));
                // A partition without a state was never anywhere but, perhaps, here.
                partition.going.is_empty()
                    && partition
                        .replicas
                        .iter()
                        .all(|id| is_stopped(id) || (partition.state.is_none() && *id != self.parts.broker))
            })
        };
        let done: Vec<TopicName> = self.context.deleting.iter().filter(is_gone).cloned().collect();
        let (mut topics, mut groups) = (Vec::new(), Vec::new());
        for topic in done {
            let mut group = self.deletion_group(&topic).await?;
            if !group.fits() && !self.delete_most(&topic, &mut group).await? {
                continue;
            }
            topics.push(topic);
            groups.push(group);
        }
        for (topic, answer) in topics.into_iter().zip(self.reign.write(groups).await?) {
            match answer {
                Ok(_) => self.context.remove_topic(&topic),
                Err(error) => tracing::warn!("the nodes of topic {topic} cannot be deleted yet: {error}"),
            }
        }
        Ok(())
    }

    /// Deletes what is too much for one change, node by node, and leaves the last one in the group: the mark, by which another
    /// controller would go on. False when something cannot be deleted yet.
    async fn delete_most(&self, topic: &TopicName, group: &mut Group) -> Result<bool, Lost> {
        let last = group.operations.pop();
        let single = |operation| Group {
            operations: vec![operation],
        };
        let most = std::mem::replace(&mut group.operations, last.into_iter().collect());
        for answer in self.reign.write(most.into_iter().map(single).collect()).await? {
            match answer {
                Ok(_) | Err(StoreError::NoNode) => {}
                Err(error) => {
                    tracing::warn!("the nodes of topic {topic} cannot be deleted yet: {error}");
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Deletes everything that the store has of a topic: its own node when all else is gone, and then the mark of its deletion.
    async fn deletion_group(&self, topic: &TopicName) -> Result<Group, Lost> {
        let mut operations = Vec::new();
        for root in [
            paths::topic_config(topic),
            paths::new_partitions(topic),
            paths::eligible_replicas_of_topic(topic),
            paths::topic(topic),
            paths::delete_topic(topic),
        ] {
            let mut found = Vec::new();
            let mut rest = vec![root];
            while let Some(path) = rest.pop() {
                let Some(children) = self.reign.store.children(&path).await? else {
                    continue;
                };
                rest.extend(children.into_iter().map(|child| format!("{path}/{child}")));
                found.push(path);
            }
            operations.extend(found.into_iter().rev().map(|path| Operation::delete(path, None)));
        }
        Ok(Group { operations })
    }
}
