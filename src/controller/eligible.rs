//! What is known of replicas beyond the ISR (after KIP-966): who is out of it and yet has all that was acknowledged, and who
//! is in it and may have lost some of that.
//!
//! A broker that comes back without what it had not synced says so in the store before it registers. Here its replicas
//! become suspect, durably, before anybody is elected with it; then its mark goes. A suspect replica leads where no other one
//! has more ([`log_ends`](super::log_ends)), or in an unclean election.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::active::{Active, ROUNDS};
use super::context::{Partition, Written};
use super::election;
use super::reign::{Group, Lost};
use crate::base::ids::{BrokerId, TopicId, TopicName, TopicPartition};
use crate::config::LogConfig;
use crate::store::znodes::{EligibleReplicas, PartitionState, paths};
use crate::store::{CreateKind, Node, Operation, StoreError};

/// What lies beside a state in the store, and what is to lie there.
pub(super) struct Kept {
    before: Option<EligibleReplicas>,
    after: Option<EligibleReplicas>,
}

impl Kept {
    /// True when there was nothing before.
    pub(super) fn is_new(&self) -> bool {
        self.before.is_none() && self.after.is_some()
    }

    /// What makes the one into the other.
    pub(super) fn operations(&self, name: &TopicPartition) -> Option<Operation> {
        let path = paths::eligible_replicas(&name.topic, name.partition);
        match (&self.before, &self.after) {
            (None, None) => None,
            (None, Some(node)) => Some(Operation::create(
                path,
                Some(node.encode()),
                CreateKind::Persistent,
            )),
            (Some(_), None) => Some(Operation::delete(path, None)),
            (Some(before), Some(node)) => {
                (before != node).then(|| Operation::set(path, Some(node.encode()), None))
            }
        }
    }
}

fn is_led(state: Option<&Written>) -> bool {
    state.is_some_and(|written| written.state.leader.is_some())
}

impl Partition {
    /// Takes what has been written.
    pub(super) fn write(&mut self, written: Written, kept: Kept) {
        let was_led = is_led(self.state.as_ref());
        self.state = Some(written);
        if was_led || is_led(self.state.as_ref()) {
            self.ends.clear();
        }
        let node = kept.after.as_ref();
        self.eligible = node.map_or_else(Vec::new, |node| node.eligible.clone());
        self.suspect = node.map_or_else(Vec::new, |node| node.suspect.clone());
        self.kept = kept.after;
    }

    /// Takes a state that somebody else has written, if it is another one.
    pub(super) fn read(&mut self, state: Option<Written>) {
        let epoch = |state: &Option<Written>| state.as_ref().map(|written| written.partition_epoch);
        if epoch(&self.state) != epoch(&state) {
            self.eligible.clear();
            self.ends.clear();
            if is_led(state.as_ref()) {
                // Whoever wrote it has decided who has what there is.
                self.suspect.clear();
            }
        }
        self.state = state;
    }

    fn is_known_by(&self, broker: BrokerId) -> bool {
        let in_sync = |written: &Written| written.state.isr.contains(&broker);
        self.eligible.contains(&broker) || self.state.as_ref().is_some_and(in_sync)
    }
}

/// What a node says; what cannot be read is there, and counts for nothing.
fn decode(name: &TopicPartition, node: &Node) -> EligibleReplicas {
    EligibleReplicas::decode(node.data.as_deref().unwrap_or_default()).unwrap_or_else(|error| {
        let path = paths::eligible_replicas(&name.topic, name.partition);
        tracing::error!("{path} cannot be read, and counts for nothing: {error}");
        EligibleReplicas {
            topic_id: TopicId::ZERO,
            partition_epoch: -1,
            eligible: Vec::new(),
            suspect: Vec::new(),
        }
    })
}

impl Active {
    /// Reads what the store has of replicas beyond the ISRs, for topics that are known.
    pub(super) async fn load_kept(&mut self) -> Result<(), Lost> {
        let store = Arc::clone(&self.reign.store);
        let topics = store.children(paths::ELIGIBLE_REPLICAS).await?;
        let topics: Vec<String> = topics.unwrap_or_default();
        let existing = match topics.is_empty() {
            true => None,
            false => store.children(paths::TOPICS).await?,
        };
        let existing: BTreeSet<String> = existing.into_iter().flatten().collect();
        let asked: Vec<_> = topics
            .into_iter()
            .map(|topic| {
                let children = store.children(&paths::eligible_replicas_of_topic(&topic));
                (topic, children)
            })
            .collect();
        let mut nodes = Vec::new();
        let mut stale = Vec::new();
        for (topic, children) in asked {
            let numbers = children.await?.unwrap_or_default();
            let paths_of =
                |number: &String| format!("{}/{number}", paths::eligible_replicas_of_topic(&topic));
            if self.context.topic(&topic).is_none() {
                if existing.contains(&topic) {
                    // Its own node cannot be read, or is newer than what was read: it is not to be forgotten.
                    continue;
                }
                // Kafka's controllers delete topics without it.
                let nodes = numbers.iter().map(paths_of);
                let nodes = nodes.chain([paths::eligible_replicas_of_topic(&topic)]);
                stale.extend(nodes.map(|path| Group {
                    operations: vec![Operation::delete(path, None)],
                }));
                continue;
            }
            let topic = TopicName::from(topic.as_str());
            self.context.kept_topics.insert(Arc::clone(&topic));
            for number in &numbers {
                if let Ok(partition) = number.parse() {
                    let name = TopicPartition::new(Arc::clone(&topic), partition);
                    nodes.push((name, store.get(&paths_of(number))));
                }
            }
        }
        self.reign.write(stale).await?;
        for (name, node) in nodes {
            let Some(node) = node.await? else {
                continue;
            };
            let topic_id = self.context.topic(&name.topic).map(|topic| topic.id);
            let Some(partition) = self.context.partition_mut(&name) else {
                continue;
            };
            let kept = decode(&name, &node);
            let epoch = partition.state.as_ref().map(|written| written.partition_epoch);
            if Some(kept.topic_id) == topic_id && Some(kept.partition_epoch) == epoch {
                partition.eligible = kept.eligible.clone();
                partition.suspect = kept.suspect.clone();
            }
            partition.kept = Some(kept);
        }
        self.context.is_suspicious = true;
        // They may have changed while nobody reigned.
        self.configs_changed().await
    }

    /// What is to be kept beside a state that is about to be written.
    pub(super) fn kept_beside(&self, name: &TopicPartition, after: &PartitionState) -> Kept {
        let partition = self.context.partition(name);
        let before = partition.and_then(|partition| partition.kept.clone());
        let after = partition.and_then(|partition| {
            let written = partition.state.as_ref()?;
            let (eligible, suspect) = election::kept(
                &partition.replicas,
                &written.state,
                after,
                &self.context.seen(name),
                self.min_isr(name, partition),
            );
            self.kept_node(name, written.partition_epoch.wrapping_add(1), eligible, suspect)
        });
        Kept { before, after }
    }

    /// How many replicas must be in sync for a record to be acknowledged, as far as every broker goes by the same value: that
    /// of the topic, or the dynamic one of all brokers. What a broker has of its own, another one does not know of its leader.
    fn min_isr(&self, name: &TopicPartition, partition: &Partition) -> usize {
        const KEY: &str = "min.insync.replicas";
        let image = self.parts.cluster.get();
        let is_of_topic = image
            .topic_configs
            .get(&name.topic)
            .is_some_and(|configs| configs.overrides.contains_key(KEY));
        let is_of_all = image.default_broker_configs.contains_key(KEY)
            && !image.broker_configs.values().any(|own| own.contains_key(KEY));
        if !is_of_topic && !is_of_all {
            return 1;
        }
        let config = image.log_config(&name.topic);
        LogConfig::effective_min_isr(config.min_insync_replicas, partition.replicas.len())
    }

    fn kept_node(
        &self,
        name: &TopicPartition,
        partition_epoch: i32,
        eligible: Vec<BrokerId>,
        suspect: Vec<BrokerId>,
    ) -> Option<EligibleReplicas> {
        let topic_id = self.context.topic(&name.topic)?.id;
        let is_needed = !eligible.is_empty() || !suspect.is_empty();
        is_needed.then_some(EligibleReplicas {
            topic_id,
            partition_epoch,
            eligible,
            suspect,
        })
    }

    /// Makes the nodes under which partitions of these topics are kept.
    pub(super) async fn make_room_to_keep(&mut self, topics: BTreeSet<TopicName>) -> Result<(), Lost> {
        let mut missing = topics;
        missing.retain(|topic| !self.context.kept_topics.contains(topic));
        let groups = missing
            .iter()
            .map(|topic| {
                let path = paths::eligible_replicas_of_topic(topic);
                Group {
                    operations: vec![Operation::create(path, None, CreateKind::Persistent)],
                }
            })
            .collect();
        for answer in self.reign.write(groups).await? {
            match answer {
                Ok(_) | Err(StoreError::NodeExists) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.context.kept_topics.extend(missing);
        Ok(())
    }

    /// Reads a partition's state, which somebody else has written, and what is kept beside it.
    pub(super) async fn read_again(&mut self, name: &TopicPartition) -> Result<(), Lost> {
        let state = self.read_states(std::slice::from_ref(name)).await?.remove(name);
        let path = paths::eligible_replicas(&name.topic, name.partition);
        let node = self.reign.store.get(&path).await?;
        if let Some(partition) = self.context.partition_mut(name) {
            partition.read(state);
            // What it says is void; that it is there decides how it is written.
            partition.kept = node.map(|node| decode(name, &node));
        }
        Ok(())
    }

    /// Makes the replicas suspect of those of `brokers` that came back without what they had not synced; yields the versions
    /// of their marks. Those must be given to [`Self::keep_unclean_shutdowns`] once leaders are elected. `may_be_old`: a mark
    /// says nothing of partitions that its broker was made leader of after it came back.
    pub(super) async fn take_unclean_shutdowns(
        &mut self,
        brokers: &[BrokerId],
        may_be_old: bool,
    ) -> Result<Vec<(BrokerId, i32)>, Lost> {
        let marks = self.reign.store.children(paths::UNCLEAN_SHUTDOWNS).await?;
        let mut taken = Vec::new();
        for name in marks.unwrap_or_default() {
            let id = match name.parse().map(BrokerId) {
                Ok(id) if brokers.contains(&id) => id,
                _ => continue,
            };
            let Some(node) = self.reign.store.get(&paths::unclean_shutdown(id)).await? else {
                continue;
            };
            let came = self.context.broker_epoch(id).get();
            if node.stat.mzxid > came {
                // The registration is that of the life which lost it, not yet expired: the next one has the mark taken.
                continue;
            }
            let mut count = 0;
            let has_led_since = |partition: &Partition| {
                let written = partition.state.as_ref();
                may_be_old
                    && written.is_some_and(|written| written.state.leader == Some(id) && written.mzxid > came)
            };
            self.context.is_suspicious = true;
            for topic in self.context.topics_mut() {
                for partition in topic.partitions.values_mut() {
                    partition.ends.remove(&id);
                    if partition.is_known_by(id) && !has_led_since(partition) {
                        count += 1;
                        if !partition.suspect.contains(&id) {
                            partition.suspect.push(id);
                        }
                    }
                }
            }
            if count > 0 {
                tracing::warn!(
                    "broker {id} came back without what it had not synced: {count} replicas of it have to catch up"
                );
            }
            taken.push((id, node.stat.version));
        }
        Ok(taken)
    }

    /// Writes down which replicas are still suspect, and takes the marks off the brokers.
    pub(super) async fn keep_unclean_shutdowns(&mut self, marks: Vec<(BrokerId, i32)>) -> Result<(), Lost> {
        if marks.is_empty() {
            return Ok(());
        }
        let mut rest = self.settled_partitions();
        for _ in 0..ROUNDS {
            let mut notes = Vec::new();
            for name in std::mem::take(&mut rest) {
                if let Some((epoch, kept)) = self.kept_now(&name)
                    && let Some(operation) = kept.operations(&name)
                {
                    notes.push((name, epoch, kept, operation));
                }
            }
            if notes.is_empty() {
                break;
            }
            let topics = notes.iter().filter(|(_, _, kept, _)| kept.is_new());
            let topics = topics.map(|(name, ..)| Arc::clone(&name.topic)).collect();
            self.make_room_to_keep(topics).await?;
            let groups = notes
                .iter()
                .map(|(name, epoch, _, operation)| {
                    let state = paths::partition_state(&name.topic, name.partition);
                    Group {
                        operations: vec![Operation::check(state, Some(*epoch)), operation.clone()],
                    }
                })
                .collect();
            let answers = self.reign.write(groups).await?;
            for ((name, _, kept, _), answer) in notes.into_iter().zip(answers) {
                match answer {
                    Ok(_) => {
                        if let Some(partition) = self.context.partition_mut(&name) {
                            partition.kept = kept.after;
                        }
                    }
                    Err(StoreError::BadVersion | StoreError::NodeExists | StoreError::NoNode) => {
                        self.read_again(&name).await?;
                        rest.push(name);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        if !rest.is_empty() {
            tracing::error!(
                "which replicas are suspect of {rest:?} cannot be written down yet; their brokers stay marked"
            );
            return Ok(());
        }
        let groups = marks
            .into_iter()
            .map(|(id, version)| Group {
                operations: vec![Operation::delete(paths::unclean_shutdown(id), Some(version))],
            })
            .collect();
        // One that cannot be deleted was written again: its broker comes back once more.
        self.reign.write(groups).await?;
        Ok(())
    }

    /// What is to be kept beside a state that stays; with its partition epoch.
    fn kept_now(&self, name: &TopicPartition) -> Option<(i32, Kept)> {
        let partition = self.context.partition(name)?;
        if partition.suspect.is_empty() {
            return None;
        }
        let epoch = partition.state.as_ref()?.partition_epoch;
        let kept = Kept {
            before: partition.kept.clone(),
            after: self.kept_node(name, epoch, partition.eligible.clone(), partition.suspect.clone()),
        };
        Some((epoch, kept))
    }

    /// Configs may have changed: where as many as are in sync can acknowledge now, nobody beside them has all any more.
    pub(super) async fn configs_changed(&mut self) -> Result<(), Lost> {
        let mut names = self.settled_partitions();
        names.retain(|name| {
            let partition = self.context.partition(name);
            partition
                .is_some_and(|partition| !partition.eligible.is_empty() && is_led(partition.state.as_ref()))
        });
        if names.is_empty() {
            return Ok(());
        }
        let topics: BTreeSet<TopicName> = names.iter().map(|name| Arc::clone(&name.topic)).collect();
        let topics: Vec<TopicName> = topics.into_iter().collect();
        self.parts.configs.load_brokers().await?;
        self.parts.configs.load_topics(&topics).await?;
        let mut groups = Vec::new();
        names.retain(|name| {
            let Some(partition) = self.context.partition(name) else {
                return false;
            };
            let Some(written) = &partition.state else {
                return false;
            };
            let is_over = written.state.isr.len() >= self.min_isr(name, partition);
            if is_over {
                let path = paths::eligible_replicas(&name.topic, name.partition);
                let operations = vec![Operation::delete(path, None)];
                groups.push(Group { operations });
            }
            is_over
        });
        let answers = self.reign.write(groups).await?;
        for (name, answer) in names.iter().zip(answers) {
            match answer {
                Ok(_) | Err(StoreError::NoNode) => {
                    if let Some(partition) = self.context.partition_mut(name) {
                        partition.eligible.clear();
                        partition.suspect.clear();
                        partition.kept = None;
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
