//! ISRs that leaders change (KIP-497; Kafka: `KafkaController.tryProcessAlterPartition`).
//!
//! A leader proposes; what the controller writes is what counts. Deviations from Kafka, all on the safe side: the sender
//! must be the leader, and a member of the ISR a replica that is alive in the epoch that the leader saw (KIP-841, KIP-903),
//! the leader among them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::active::Active;
use super::context::{Context, Written};
use super::election::Replicas;
use super::reign::{Group, Lost};
use super::request::{AlterPartition, AlteredPartition};
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerEpoch, BrokerId, ControllerEpoch, TopicId, TopicName, TopicPartition};
use crate::base::planted::planted;
use crate::store::znodes::{PartitionState, paths};
use crate::store::{Operation, StoreError};

/// What is to be done with a proposal.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Verdict {
    /// It is so already.
    Already,
    /// This is to be written.
    Write(PartitionState),
}

/// Judges a proposal of `sender` by what is known, in Kafka's order.
fn judge(
    context: &Context,
    sender: BrokerId,
    proposal: &AlterPartition,
    controller_epoch: ControllerEpoch,
) -> Result<Verdict, ErrorCode> {
    let name = &proposal.partition;
    let partition = context
        .partition(name)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let written = partition
        .state
        .as_ref()
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let state = &written.state;
    if proposal.partition_epoch > written.partition_epoch || proposal.leader_epoch > state.leader_epoch {
        // Another controller has written since.
        return Err(ErrorCode::NotController);
    }
    if proposal.leader_epoch < state.leader_epoch {
        return Err(ErrorCode::FencedLeaderEpoch);
    }
    if state.leader != Some(sender) {
        return Err(ErrorCode::InvalidRequest);
    }
    let isr: Vec<BrokerId> = proposal.isr.iter().map(|(id, _)| *id).collect();
    if isr == state.isr && proposal.recovering == state.recovering {
        return Ok(Verdict::Already);
    }
    if proposal.partition_epoch < written.partition_epoch {
        return Err(ErrorCode::InvalidUpdateVersion);
    }
    let distinct: BTreeSet<BrokerId> = isr.iter().copied().collect();
    let recovers = proposal.recovering && (isr.len() > 1 || !state.recovering);
    if recovers || distinct.len() != isr.len() || !isr.contains(&sender) {
        return Err(ErrorCode::InvalidRequest);
    }
    let seen = context.seen(name);
    let may_join = |(id, epoch): &(BrokerId, BrokerEpoch)| {
        let is_known = planted!(
            "cluster-former-life",
            true,
            epoch.get() < 0 || *epoch == context.broker_epoch(*id)
        );
        let stays = state.isr.contains(id);
        partition.replicas.contains(id)
            && (*id == sender || (seen.online(*id) && is_known && (stays || !seen.leaving(*id))))
    };
    if !proposal.isr.iter().all(may_join) {
        return Err(ErrorCode::IneligibleReplica);
    }
    Ok(Verdict::Write(PartitionState {
        controller_epoch,
        leader: state.leader,
        leader_epoch: state.leader_epoch,
        isr,
        recovering: proposal.recovering,
    }))
}

impl Active {
    /// Takes what a leader, registered with `epoch`, proposes. An answer per partition, in the order given.
    ///
    /// # Errors
    /// STALE_BROKER_EPOCH for the whole.
    pub(super) async fn alter_partitions(
        &mut self,
        broker: BrokerId,
        epoch: BrokerEpoch,
        proposals: Vec<AlterPartition>,
    ) -> Result<Result<Vec<Result<AlteredPartition, ErrorCode>>, ErrorCode>, Lost> {
        let known = self.context.brokers.get(&broker);
        if known.is_none_or(|known| known.epoch != epoch) {
            return Ok(Err(ErrorCode::StaleBrokerEpoch));
        }
        let proposals = self.named(proposals);
        let mut verdicts: Vec<Result<Verdict, ErrorCode>> = Vec::new();
        let mut groups = Vec::new();
        let mut seen = BTreeSet::new();
        let (mut kept, mut new) = (Vec::new(), BTreeSet::new());
        for proposal in &proposals {
            let name = &proposal.partition;
            let verdict = if proposal.topic_id.is_some() && name.topic.is_empty() {
                Err(ErrorCode::UnknownTopicId)
            } else if seen.insert(name) {
                judge(&self.context, broker, proposal, self.reign.epoch)
            } else {
                Err(ErrorCode::InvalidRequest)
            };
            if let Ok(Verdict::Write(state)) = &verdict {
                let path = paths::partition_state(&name.topic, name.partition);
                let mut operations = vec![Operation::set(
                    path,
                    Some(state.encode()),
                    Some(proposal.partition_epoch),
                )];
                let beside = self.kept_beside(name, state);
                operations.extend(beside.operations(name));
                if beside.is_new() {
                    new.insert(Arc::clone(&name.topic));
                }
                groups.push(Group { operations });
                kept.push(beside);
            }
            verdicts.push(verdict);
        }
        self.make_room_to_keep(new).await?;
        let written = self.reign.write(groups).await?;
        let mut written = written.into_iter().zip(kept);
        let mut answers = Vec::new();
        let mut again = Vec::new();
        for (proposal, verdict) in proposals.iter().zip(verdicts) {
            let name = &proposal.partition;
            answers.push(match verdict {
                Err(error) => Err(error),
                Ok(Verdict::Already) => self.altered(name),
                Ok(Verdict::Write(state)) => match written.next() {
                    Some((Ok(mzxid), kept)) => {
                        let written = Written {
                            state,
                            partition_epoch: proposal.partition_epoch.wrapping_add(1),
                            mzxid,
                        };
                        if let Some(partition) = self.context.partition_mut(name) {
                            partition.write(written, kept);
                        }
                        self.altered(name)
                    }
                    Some((Err(StoreError::BadVersion), _)) => {
                        again.push(name.clone());
                        Err(ErrorCode::InvalidUpdateVersion)
                    }
                    // What is kept beside the state is not what was known, and the state may be: the leader asks again.
                    Some((Err(StoreError::NodeExists | StoreError::NoNode), _)) => {
                        again.push(name.clone());
                        Err(ErrorCode::UnknownServerError)
                    }
                    Some((Err(_), _)) | None => Err(ErrorCode::UnknownServerError),
                },
            });
        }
        for name in again {
            self.read_again(&name).await?;
        }
        let names: Vec<TopicPartition> = proposals
            .iter()
            .map(|proposal| proposal.partition.clone())
            .collect();
        self.update_metadata(&names).await;
        self.resume_reassignments().await?;
        Ok(Ok(answers))
    }

    /// Gives proposals the names of topics that they have by their ids, by what the controller knows: what it has told its
    /// own broker may be less.
    fn named(&self, mut proposals: Vec<AlterPartition>) -> Vec<AlterPartition> {
        let ids: BTreeSet<TopicId> = proposals
            .iter()
            .filter_map(|proposal| proposal.topic_id)
            .collect();
        if ids.is_empty() {
            return proposals;
        }
        let topics = self.context.topics().iter();
        let names: BTreeMap<TopicId, &TopicName> = topics
            .filter(|(_, topic)| !topic.id.is_zero() && ids.contains(&topic.id))
            .map(|(name, topic)| (topic.id, name))
            .collect();
        for proposal in &mut proposals {
            if let Some(name) = proposal.topic_id.and_then(|id| names.get(&id)) {
                proposal.partition.topic = TopicName::clone(name);
            }
        }
        proposals
    }

    /// A partition as it is now.
    fn altered(&self, name: &TopicPartition) -> Result<AlteredPartition, ErrorCode> {
        let written = self
            .context
            .partition(name)
            .and_then(|partition| partition.state.as_ref());
        let written = written.ok_or(ErrorCode::UnknownTopicOrPartition)?;
        Ok(AlteredPartition {
            leader: written.state.leader,
            leader_epoch: written.state.leader_epoch,
            isr: written.state.isr.clone(),
            recovering: written.state.recovering,
            partition_epoch: written.partition_epoch,
        })
    }
}
