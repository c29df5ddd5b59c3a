//! The active controller: what it does at its election, and how it brings partitions into the state they must have
//! (Kafka: `KafkaController.onControllerFailover`, `ZkPartitionStateMachine`).

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::channels::{Channels, Request};
use super::context::{Context, New, Partition, Written};
use super::election::Preferred;
use super::events::Event;
use super::reign::{Group, Lost, Reign};
use super::watching::Watching;
use super::{Parts, election};
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerId, TopicName, TopicPartition};
use crate::metadata::control::ControlAnswer;
use crate::store::znodes::{Feature, PartitionState, paths};
use crate::store::{CreateKind, Operation, StoreError};

/// How often a state that somebody else changed is read and decided anew.
pub(super) const ROUNDS: usize = 10;

/// Why leaders are elected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reason {
    /// Brokers came or went; `unclean.leader.election.enable` says whether data may be lost for a leader.
    Changed,
    /// The first replica is to lead.
    Preferred,
    /// Somebody wants a leader even if data is lost.
    Unclean,
    /// The replicas are other ones: one of them leads, if it can be the same one.
    Reassigned,
    /// This broker is about to stop.
    Leaving(BrokerId),
}

/// A controller that reigns.
pub(super) struct Active {
    pub parts: Arc<Parts>,
    pub reign: Reign,
    pub context: Context,
    pub channels: Channels,
    /// True while a request of an old tool to reassign lies in the store.
    pub has_old_reassignments: bool,
    /// Ends with it.
    pub watching: Watching,
}

impl Active {
    /// Takes over: reads everything, elects leaders where that is needed, tells the brokers. What changes in the store
    /// from now on comes back as `events`.
    pub(super) async fn begin(
        parts: Arc<Parts>,
        reign: Reign,
        events: mpsc::Sender<Event>,
    ) -> Result<Self, Lost> {
        let watching = Watching::start(&reign, &events, &parts.cluster);
        let mut active = Self {
            context: Context::new(reign.epoch),
            channels: Channels::new(Arc::clone(&parts.links), events, reign.epoch),
            parts,
            reign,
            has_old_reassignments: false,
            watching,
        };
        active.write_feature().await?;
        active.drop_notifications().await?;
        active.context.brokers = active.read_brokers().await?;
        active.context.tellers = active.read_tellers().await?;
        let new = active.load_topics().await?;
        active.load_deletions().await?;
        active.open_channels();
        // Brokers must know of each other before they follow anybody. With all that there is: one that started while nobody
        // reigned would say that a topic it was not told of is not there.
        let partitions = active.settled_partitions();
        active.update_metadata(&partitions).await;
        active.load_kept().await?;
        let brokers: Vec<BrokerId> = active.context.brokers.keys().copied().collect();
        let unclean = active.take_unclean_shutdowns(&brokers).await?;
        active.elect(&partitions, Reason::Changed).await?;
        active.keep_unclean_shutdowns(unclean).await?;
        active.renew_reassignments().await?;
        active.tell(&partitions, &new).await?;
        active.take_old_reassignments().await?;
        active.resume_reassignments().await?;
        active.complete_deletions().await?;
        active.take_old_elections().await?;
        active.ask_log_ends().await?;
        tracing::info!(
            "this broker is the controller, with epoch {}; brokers: {}, topics: {}, partitions: {}",
            active.reign.epoch,
            active.context.brokers.len(),
            active.context.topics().len(),
            partitions.len()
        );
        Ok(active)
    }

    /// All partitions but those of topics that are to be deleted.
    pub(super) fn settled_partitions(&self) -> Vec<TopicPartition> {
        let mut partitions = self.context.all_partitions();
        partitions.retain(|partition| !self.context.deleting.contains(&partition.topic));
        partitions
    }

    async fn write_feature(&self) -> Result<(), Lost> {
        if self.reign.store.get(paths::FEATURE).await?.is_none() {
            let data = Some(Feature::default().encode());
            let operations = vec![Operation::create(paths::FEATURE, data, CreateKind::Persistent)];
            // An error says that somebody else has made it.
            self.reign.write(vec![Group { operations }]).await?;
        }
        Ok(())
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
            Reason::Reassigned => {
                return election::moved(replicas, state, &seen, epoch)
                    .or_else(|| election::renewed(replicas, state, epoch));
            }
            Reason::Leaving(broker) => return election::left(replicas, state, broker, &seen, epoch),
            Reason::Unclean => true,
            Reason::Changed => {
                let image = self.parts.cluster.get();
                let is_allowed = image.log_config(&name.topic).unclean_leader_election_enable;
                // Who is here is asked first: that takes moments, and may lose less.
                is_allowed && election::unknown_ends(replicas, state, &seen).is_empty()
            }
        };
        election::again(replicas, state, written.mzxid, &seen, unclean, epoch)
    }

    /// Elects leaders of those partitions that need one, and writes that down. Yields those that changed. Of topics that are to
    /// be deleted none is elected: told of it behind StopReplica, brokers would make the replicas anew.
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
                if self.context.deleting.contains(&name.topic) {
                    continue;
                }
                let Some(state) = self.wanted(&name, partition, reason) else {
                    continue;
                };
                let before = partition.state.as_ref().map(|written| written.partition_epoch);
                let kept = self.kept_beside(&name, &state);
                let mut operations = self.state_operations(&name, before, &state).await?;
                operations.extend(kept.operations(&name));
                groups.push(Group { operations });
                states.push((name, before, state, kept));
            }
            if groups.is_empty() {
                break;
            }
            let topics = states.iter().filter(|(.., kept)| kept.is_new());
            let topics = topics.map(|(name, ..)| Arc::clone(&name.topic)).collect();
            self.make_room_to_keep(topics).await?;
            let answers = self.reign.write(groups).await?;
            for ((name, before, state, kept), answer) in states.into_iter().zip(answers) {
                match answer {
                    Ok(mzxid) => {
                        let written = Written {
                            state,
                            partition_epoch: before.map_or(0, |before| before.wrapping_add(1)),
                            mzxid,
                        };
                        if let Some(partition) = self.context.partition_mut(&name) {
                            partition.write(written, kept);
                        }
                        changed.push(name);
                    }
                    Err(StoreError::BadVersion | StoreError::NodeExists | StoreError::NoNode) => {
                        self.read_again(&name).await?;
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

    /// Tells each broker of its replicas among `partitions`, and then all of them of all of these. Waits for this broker
    /// only. `new`: those that need not be there yet; once this broker has its own of them, the store is told.
    pub(super) async fn tell(&mut self, partitions: &[TopicPartition], new: &New) -> Result<(), Lost> {
        for broker in self.others() {
            self.tell_replicas(broker, partitions, new);
        }
        self.tell_own_replicas(partitions, new).await?;
        self.update_metadata(partitions).await;
        Ok(())
    }

    /// Tells this broker of its replicas among `partitions`, and the others of what follows from the answer.
    pub(super) async fn tell_own_replicas(
        &mut self,
        partitions: &[TopicPartition],
        new: &New,
    ) -> Result<(), Lost> {
        let me = self.parts.broker;
        let request = self.context.leader_and_isr(me, me, partitions, new);
        let mut failed = Vec::new();
        let mut refused: BTreeSet<TopicName> = BTreeSet::new();
        if !request.topics.is_empty() {
            let answer = self.parts.local.leader_and_isr(request).await;
            if !answer.error.is_none() {
                refused.extend(partitions.iter().map(|partition| Arc::clone(&partition.topic)));
            }
            // What this broker knows already it answers with STALE_CONTROLLER_EPOCH, as Kafka does.
            let is_there =
                |error: &ErrorCode| matches!(error, ErrorCode::None | ErrorCode::StaleControllerEpoch);
            let with_error = answer.partitions.iter().filter(|(_, error)| !is_there(error));
            refused.extend(with_error.map(|(partition, _)| Arc::clone(&partition.topic)));
            refused.extend(answer.late.iter().map(|partition| Arc::clone(&partition.topic)));
            self.note_late(&answer.late, new);
            failed = self.take_leader_and_isr_answer(me, answer);
        }
        self.forget_new(new, &refused);
        if !failed.is_empty() {
            let changed = self.elect(&failed, Reason::Changed).await?;
            for broker in self.others() {
                self.tell_replicas(broker, &changed, &New::new());
            }
        }
        Ok(())
    }

    /// The brokers beside this one that are alive.
    pub(super) fn others(&self) -> Vec<BrokerId> {
        let me = self.parts.broker;
        let all = self.context.brokers.keys().copied();
        all.filter(|id| *id != me).collect()
    }

    /// Tells another broker of its replicas among `partitions`; it answers some time.
    pub(super) fn tell_replicas(&self, broker: BrokerId, partitions: &[TopicPartition], new: &New) {
        let request = self
            .context
            .leader_and_isr(self.parts.broker, broker, partitions, new);
        if !request.topics.is_empty() {
            self.channels.tell(broker, Request::LeaderAndIsr(request));
        }
    }

    /// Notes on which disks of a broker replicas work; yields those that do not work since now.
    pub(super) fn take_leader_and_isr_answer(
        &mut self,
        broker: BrokerId,
        answer: ControlAnswer,
    ) -> Vec<TopicPartition> {
        if !answer.error.is_none() {
            tracing::error!(
                "broker {broker} refused its controller's LeaderAndIsr: {}",
                answer.error
            );
        }
        let mut failed = Vec::new();
        let offline = self.context.offline.entry(broker).or_default();
        for (partition, error) in answer.partitions {
            match error {
                ErrorCode::KafkaStorageError if offline.insert(partition.clone()) => failed.push(partition),
                ErrorCode::None => {
                    offline.remove(&partition);
                }
                // It knows more than this controller, which another one may have followed.
                ErrorCode::KafkaStorageError | ErrorCode::StaleControllerEpoch => {}
                _ => tracing::warn!("broker {broker} does not take its part of {partition}: {error}"),
            }
        }
        failed
    }

    /// Tells all brokers who lives, and what became of `partitions`. Waits for this broker only.
    pub(super) async fn update_metadata(&self, partitions: &[TopicPartition]) {
        for broker in self.others() {
            self.tell_metadata(broker, partitions);
        }
        self.update_own_metadata(partitions).await;
    }

    /// Tells this broker who lives, and what became of `partitions`.
    pub(super) async fn update_own_metadata(&self, partitions: &[TopicPartition]) {
        let me = self.parts.broker;
        let update = self.context.update_metadata(me, me, partitions);
        let error = self.parts.local.update_metadata(update).await;
        if !error.is_none() {
            tracing::error!("this broker refused its controller's UpdateMetadata: {error}");
        }
    }

    /// Tells another broker who lives, and what became of `partitions`, some time.
    pub(super) fn tell_metadata(&self, broker: BrokerId, partitions: &[TopicPartition]) {
        let update = self
            .context
            .update_metadata(self.parts.broker, broker, partitions);
        self.channels.tell(broker, Request::UpdateMetadata(update));
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
        self.replace_leaders(&known).await
    }

    /// Elects where the replicas of `partitions` that can lead are other ones than before, and tells of it.
    pub(super) async fn replace_leaders(&mut self, partitions: &[TopicPartition]) -> Result<(), Lost> {
        let changed = self.elect(partitions, Reason::Changed).await?;
        if changed.is_empty() {
            self.update_metadata(partitions).await;
            return Ok(());
        }
        self.tell(&changed, &New::new()).await?;
        // Which replicas are offline has changed of the others too.
        self.update_metadata(partitions).await;
        Ok(())
    }
}
