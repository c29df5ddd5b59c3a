//! Brokers that came back without what they had not synced, as they say in the store before they register. Their replicas
//! become suspect, durably, before anybody is elected with them; then the marks go.
//!
//! Invariant: a mark says nothing of a partition that its broker leads by the word of a controller that was elected after the
//! broker had come back. Such a one knew of it: one of ours had the mark before it, and one of Kafka, which has no marks, had the
//! broker lead all the same, so that there is nothing left but what it has. An earlier controller may have written the state
//! anew without having seen that the broker was gone and back, such as when another one left the ISR: that makes nobody the
//! leader of anything, though it is a later change than the registration.

use std::sync::Arc;

use super::active::{Active, ROUNDS};
use super::context::Partition;
use super::eligible::Kept;
use super::reign::{Group, Lost};
use crate::base::ids::{BrokerId, TopicPartition};
use crate::store::znodes::{UncleanShutdown, paths};
use crate::store::{Node, Operation, StoreError};

impl Partition {
    /// True when the broker leads by the word of a controller that knew that it had come back.
    fn has_led_since(&self, broker: BrokerId, mark: Option<UncleanShutdown>) -> bool {
        let state = self.state.as_ref().map(|written| &written.state);
        let both = state.zip(mark);
        both.is_some_and(|(state, mark)| {
            state.leader == Some(broker) && state.controller_epoch > mark.controller_epoch
        })
    }
}

/// What a mark says beside being there; nothing, where it does not say it or that cannot be read.
fn decode(id: BrokerId, node: &Node) -> Option<UncleanShutdown> {
    let data = node.data.as_deref()?;
    let mark = UncleanShutdown::decode(data);
    let unreadable = |error| tracing::error!("{} cannot be read: {error}", paths::unclean_shutdown(id));
    mark.map_err(unreadable).ok()
}

impl Active {
    /// Makes the replicas suspect of those of `brokers` that came back without what they had not synced; yields the versions
    /// of their marks. Those must be given to [`Self::keep_unclean_shutdowns`] once leaders are elected.
    pub(super) async fn take_unclean_shutdowns(
        &mut self,
        brokers: &[BrokerId],
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
            if node.stat.mzxid > self.context.broker_epoch(id).get() {
                // The registration is that of the life which lost it, not yet expired: the next one has the mark taken.
                continue;
            }
            let mut count = 0;
            let mark = decode(id, &node);
            self.context.is_suspicious = true;
            for topic in self.context.topics_mut() {
                for partition in topic.partitions.values_mut() {
                    partition.ends.remove(&id);
                    if partition.is_known_by(id) && !partition.has_led_since(id, mark) {
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
}
