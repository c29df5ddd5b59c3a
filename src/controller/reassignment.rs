//! Partitions that move to other brokers (KIP-455; Kafka: `KafkaController.processApiPartitionReassignment`).
//!
//! A move is in the topic's node as long as it is under way: all replicas, those that are new, those that go. It ends when
//! all that are to stay are in sync. Called by the queue of events, and at the election of a controller.

use std::collections::{BTreeMap, BTreeSet};

use super::active::{Active, Reason};
use super::channels::Request;
use super::context::{Context, New, Partition, Topic};
use super::create::put;
use super::election::Replicas;
use super::reign::{Group, Lost};
use super::request::{AdminError, Answers, OngoingReassignment, Reassignment};
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerId, TopicName, TopicPartition};
use crate::store::Operation;
use crate::store::znodes::{NewPartitions, notifications, paths};

/// Where a partition is and where it goes (`ReplicaAssignment`).
#[derive(Clone, PartialEq, Eq, Debug)]
struct Assignment {
    replicas: Vec<BrokerId>,
    adding: Vec<BrokerId>,
    removing: Vec<BrokerId>,
}

fn without(all: &[BrokerId], some: &[BrokerId]) -> Vec<BrokerId> {
    all.iter().copied().filter(|id| !some.contains(id)).collect()
}

impl Assignment {
    fn of(partition: &Partition) -> Self {
        Self {
            replicas: partition.replicas.clone(),
            adding: partition.adding.clone(),
            removing: partition.removing.clone(),
        }
    }

    fn moves(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// Where it was before the move.
    fn origin(&self) -> Vec<BrokerId> {
        without(&self.replicas, &self.adding)
    }

    /// Where it will be after the move.
    fn target(&self) -> Vec<BrokerId> {
        without(&self.replicas, &self.removing)
    }

    /// The same partition on its way to `target`.
    fn towards(&self, target: &[BrokerId]) -> Self {
        let origin = self.origin();
        let mut replicas = target.to_vec();
        replicas.extend(without(&origin, target));
        Self {
            adding: without(target, &origin),
            removing: without(&origin, target),
            replicas,
        }
    }

    /// What it is once nothing is left to wait for: everybody who stays is in sync, and one of them can lead.
    fn ended(self, isr: &[BrokerId], can_lead: impl Fn(&BrokerId) -> bool) -> Self {
        let target = self.target();
        let is_over = without(&target, isr).is_empty() && target.iter().any(can_lead);
        if self.moves() && !is_over {
            return self;
        }
        Self {
            replicas: target,
            adding: Vec::new(),
            removing: Vec::new(),
        }
    }
}

/// One that may lack something cannot: until it is known who has most, no replica goes.
fn can_lead(seen: &impl Replicas, broker: BrokerId) -> bool {
    seen.online(broker) && !seen.leaving(broker) && !seen.suspect(broker)
}

fn invalid<T>(message: impl Into<String>) -> Result<T, AdminError> {
    Err(AdminError::new(ErrorCode::InvalidReplicaAssignment, message))
}

/// Checks a wish, and says what the partition's assignment becomes, if that is another one.
fn plan(context: &Context, wish: &Reassignment) -> Result<Option<Assignment>, AdminError> {
    let name = &wish.partition;
    let partition = context.partition(name);
    let before = partition.map(Assignment::of);
    let nowhere = Assignment {
        replicas: Vec::new(),
        adding: Vec::new(),
        removing: Vec::new(),
    };
    let current = before.as_ref().unwrap_or(&nowhere);
    let target = match &wish.replicas {
        Some(replicas) => {
            check(context, wish, replicas, current)?;
            replicas.clone()
        }
        None if current.moves() => current.origin(),
        None => {
            return Err(AdminError::new(
                ErrorCode::NoReassignmentInProgress,
                format!("{name} is not being moved."),
            ));
        }
    };
    let Some(partition) = partition.filter(|_| !context.deleting.contains(&name.topic)) else {
        return Err(AdminError::new(
            ErrorCode::UnknownTopicOrPartition,
            "There is no such partition.",
        ));
    };
    let isr = partition
        .state
        .as_ref()
        .map_or(&[][..], |written| &written.state.isr);
    let seen = context.seen(name);
    let after = current.towards(&target).ended(isr, |id| can_lead(&seen, *id));
    Ok(Some(after).filter(|after| after != current))
}

fn check(
    context: &Context,
    wish: &Reassignment,
    replicas: &[BrokerId],
    current: &Assignment,
) -> Result<(), AdminError> {
    if replicas.is_empty() {
        return invalid("A partition must have a replica.");
    }
    let distinct: BTreeSet<BrokerId> = replicas.iter().copied().collect();
    if distinct.len() != replicas.len() {
        return invalid("A broker can have one replica of a partition only.");
    }
    if replicas.iter().any(|id| id.get() < 0) {
        return invalid("A broker's id is not negative.");
    }
    let away: Vec<String> = current
        .towards(replicas)
        .adding
        .iter()
        .filter(|id| !context.brokers.contains_key(id))
        .map(ToString::to_string)
        .collect();
    if !away.is_empty() {
        return invalid(format!(
            "Replicas cannot be added on brokers that are not there: {}.",
            away.join(", ")
        ));
    }
    let origin = current.origin();
    if !wish.any_number && !origin.is_empty() && origin.len() != replicas.len() {
        return Err(AdminError::new(
            ErrorCode::InvalidReplicationFactor,
            format!(
                "There are {} replicas, and the request does not want another number than that.",
                origin.len()
            ),
        ));
    }
    Ok(())
}

impl Active {
    /// Begins and ends moves. An answer per partition.
    pub(super) async fn alter_reassignments(&mut self, wishes: &[Reassignment]) -> Result<Answers<()>, Lost> {
        let answers = self.begin_reassignments(wishes).await?;
        self.note_old_reassignments().await?;
        Ok(answers)
    }

    async fn begin_reassignments(&mut self, wishes: &[Reassignment]) -> Result<Answers<()>, Lost> {
        let mut plans = BTreeMap::new();
        let answers = wishes.iter().map(|wish| {
            // Of a partition that is named twice the last wish counts.
            match plan(&self.context, wish)? {
                Some(after) => plans.insert(wish.partition.clone(), after),
                None => plans.remove(&wish.partition),
            };
            Ok(())
        });
        let answers = answers.collect();
        self.reassign(plans).await?;
        // One that nobody had led yet may have a leader now, and nothing to wait for.
        self.end_reassignments().await?;
        Ok(answers)
    }

    /// The moves that are under way.
    pub(super) fn reassignments(&self, partitions: Option<&[TopicPartition]>) -> Vec<OngoingReassignment> {
        let names: BTreeSet<TopicPartition> = match partitions {
            Some(partitions) => partitions.iter().cloned().collect(),
            None => self.context.all_partitions().into_iter().collect(),
        };
        let moving = names.into_iter().filter_map(|name| {
            let assignment = Assignment::of(self.context.partition(&name)?);
            assignment.moves().then_some(OngoingReassignment {
                partition: name,
                replicas: assignment.replicas,
                adding: assignment.adding,
                removing: assignment.removing,
            })
        });
        moving.collect()
    }

    /// Ends the moves that have nothing to wait for any more, and says so to old tools.
    pub(super) async fn resume_reassignments(&mut self) -> Result<(), Lost> {
        self.end_reassignments().await?;
        self.note_old_reassignments().await
    }

    async fn end_reassignments(&mut self) -> Result<(), Lost> {
        let mut plans = BTreeMap::new();
        for moving in self.reassignments(None) {
            let partition = self.context.partition(&moving.partition);
            if let Some((partition, written)) =
                partition.and_then(|partition| Some((partition, partition.state.as_ref()?)))
            {
                let before = Assignment::of(partition);
                let seen = self.context.seen(&moving.partition);
                let after = before
                    .clone()
                    .ended(&written.state.isr, |id| can_lead(&seen, *id));
                if after != before {
                    plans.insert(moving.partition, after);
                }
            }
        }
        self.reassign(plans).await
    }

    /// Takes from the request of an old tool what is done.
    async fn note_old_reassignments(&mut self) -> Result<(), Lost> {
        if self.has_old_reassignments {
            self.take_old_reassignments().await?;
        }
        Ok(())
    }

    /// Carries out plans: what begins to move is written before anybody is told of it; what has moved is led by those who
    /// stay before that is written, so that the next controller can go on at each point. Then replicas that are none any
    /// more are deleted.
    async fn reassign(&mut self, plans: BTreeMap<TopicPartition, Assignment>) -> Result<(), Lost> {
        let me = self.parts.broker;
        let mut new = New::new();
        let mut marked = BTreeSet::new();
        let mut dropped: BTreeMap<BrokerId, Vec<TopicPartition>> = BTreeMap::new();
        for (name, after) in &plans {
            let Some(before) = self.context.partition(name) else {
                continue;
            };
            // Nobody has a folder of what nobody has led yet.
            let had = |id: &BrokerId| before.replicas.contains(id) && before.state.is_some();
            let added = after.replicas.iter().copied().filter(|id| !had(id));
            let added: Vec<BrokerId> = added.collect();
            if added.contains(&me) {
                marked.insert(name.clone());
            }
            if !added.is_empty() {
                new.insert(name.clone(), added);
            }
            for id in without(&before.replicas, &after.replicas) {
                dropped.entry(id).or_default().push(name.clone());
            }
        }
        let (begun, ended): (BTreeMap<_, _>, BTreeMap<_, _>) =
            plans.into_iter().partition(|(_, after)| after.moves());
        let begun = self.assign(begun);
        self.write_assignments(&begun, &marked).await?;
        let ended = self.assign(ended);
        self.elect(&begun, Reason::Reassigned).await?;
        self.elect(&ended, Reason::Moved).await?;
        let names: Vec<TopicPartition> = begun.into_iter().chain(ended.iter().cloned()).collect();
        if names.is_empty() {
            return Ok(());
        }
        self.tell(&names, &new).await?;
        self.write_assignments(&ended, &marked).await?;
        self.drop_replicas(dropped).await;
        Ok(())
    }

    /// Takes assignments into the memory; yields whose they are.
    fn assign(&mut self, plans: BTreeMap<TopicPartition, Assignment>) -> Vec<TopicPartition> {
        let mut names = Vec::new();
        for (name, after) in plans {
            if let Some(partition) = self.context.partition_mut(&name) {
                partition.replicas = after.replicas;
                partition.adding = after.adding;
                partition.removing = after.removing;
                names.push(name);
            }
        }
        names
    }

    /// Writes the nodes of the topics of these partitions as they are in memory.
    async fn write_assignments(
        &self,
        partitions: &[TopicPartition],
        marked: &BTreeSet<TopicPartition>,
    ) -> Result<(), Lost> {
        let topics: BTreeSet<&TopicName> = partitions.iter().map(|name| &name.topic).collect();
        let mut groups = Vec::new();
        for name in topics {
            if let Some(topic) = self.context.topic(name) {
                groups.push(self.assignment_group(name, topic, marked).await?);
            }
        }
        for answer in self.reign.write(groups).await? {
            answer?;
        }
        Ok(())
    }

    /// Has replicas deleted that are none any more. One on a broker that is away stays there, as with Kafka.
    async fn drop_replicas(&self, dropped: BTreeMap<BrokerId, Vec<TopicPartition>>) {
        let me = self.parts.broker;
        for (broker, names) in dropped {
            let request = self.stop_request(broker, names, true);
            if broker == me {
                let answer = self.parts.local.stop_replica(request).await;
                for (partition, error) in answer.partitions {
                    if !error.is_none() {
                        tracing::warn!("replica {partition}, which is none any more, stays: {error}");
                    }
                }
            } else {
                self.channels.tell(broker, Request::StopReplica(request));
            }
        }
    }

    /// The requests that tools up to 2.3 left in the store: moves begin, and their node goes when they are over.
    pub(super) async fn take_old_reassignments(&mut self) -> Result<(), Lost> {
        let Some(node) = self.reign.store.get(paths::REASSIGN_PARTITIONS).await? else {
            return Ok(());
        };
        let wanted = match notifications::decode_reassignment(node.data.as_deref().unwrap_or_default()) {
            Ok(wanted) => wanted,
            Err(error) => {
                tracing::error!(
                    "{} cannot be read and is dropped: {error}",
                    paths::REASSIGN_PARTITIONS
                );
                BTreeMap::new()
            }
        };
        let is_there = |name: &TopicPartition, replicas: &[BrokerId]| {
            let partition = self.context.partition(name).map(Assignment::of);
            partition.is_none_or(|assignment| assignment.target() == replicas)
        };
        let wishes: Vec<Reassignment> = wanted
            .iter()
            .filter(|(name, replicas)| !is_there(name, replicas))
            .map(|(name, replicas)| Reassignment {
                partition: name.clone(),
                replicas: Some(replicas.clone()),
                any_number: true,
            })
            .collect();
        let mut refused = BTreeSet::new();
        let answers = self.begin_reassignments(&wishes).await?;
        for (wish, answer) in wishes.iter().zip(answers) {
            if let Err(error) = answer {
                tracing::warn!("{} cannot be moved as an old tool asks: {error}", wish.partition);
                refused.insert(wish.partition.clone());
            }
        }
        let mut left = wanted.clone();
        left.retain(|name, _| {
            let moves = self
                .context
                .partition(name)
                .is_some_and(|partition| Assignment::of(partition).moves());
            moves && !refused.contains(name)
        });
        self.has_old_reassignments = !left.is_empty();
        let operation = if left.is_empty() {
            Operation::delete(paths::REASSIGN_PARTITIONS, None)
        } else if left == wanted {
            // What is written is a change that this controller would look at again.
            return Ok(());
        } else {
            let data = Some(notifications::encode_reassignment(&left));
            Operation::set(paths::REASSIGN_PARTITIONS, data, None)
        };
        let group = Group {
            operations: vec![operation],
        };
        // An error says that somebody else has taken it away.
        self.reign.write(vec![group]).await?;
        Ok(())
    }

    /// What one topic's assignment needs in the store: its node, and the marks of folders that are still to be made.
    async fn assignment_group(
        &self,
        name: &TopicName,
        topic: &Topic,
        new: &BTreeSet<TopicPartition>,
    ) -> Result<Group, Lost> {
        let mut operations = Vec::new();
        let of_topic = new.iter().filter(|partition| partition.topic == *name);
        let mut marks: BTreeSet<i32> = of_topic.map(|partition| partition.partition).collect();
        if !marks.is_empty() {
            marks.extend(self.read_new_partitions(name).await?);
            let marks = NewPartitions::new(marks).encode();
            operations.push(put(self, paths::new_partitions(name), marks).await?);
        }
        let node = Some(topic.node().encode());
        operations.push(Operation::set(paths::topic(name), node, None));
        Ok(Group { operations })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[i32]) -> Vec<BrokerId> {
        ids.iter().copied().map(BrokerId).collect()
    }

    fn still(replicas: &[i32]) -> Assignment {
        Assignment {
            replicas: ids(replicas),
            adding: Vec::new(),
            removing: Vec::new(),
        }
    }

    #[test]
    fn a_move_has_old_and_new_replicas_until_the_new_ones_are_in_sync() {
        let moving = still(&[1, 2]).towards(&ids(&[2, 3]));
        assert_eq!(moving.replicas, ids(&[2, 3, 1]));
        assert_eq!(
            (moving.adding.clone(), moving.removing.clone()),
            (ids(&[3]), ids(&[1]))
        );
        assert_eq!(moving.clone().ended(&ids(&[1, 2]), |_| true), moving);
        assert_eq!(moving.clone().ended(&ids(&[1, 2, 3]), |_| true), still(&[2, 3]));
        assert_eq!(moving.clone().ended(&ids(&[1, 2, 3]), |_| false), moving);
        assert_eq!(moving.origin(), ids(&[2, 1]), "the order is the target's");
        assert_eq!(moving.target(), ids(&[2, 3]));
    }

    #[test]
    fn a_move_that_is_taken_back_or_changes_its_goal_drops_what_it_added() {
        let moving = still(&[1]).towards(&ids(&[2]));
        assert_eq!(
            moving.towards(&moving.origin()).ended(&ids(&[1]), |_| true),
            still(&[1])
        );
        let elsewhere = moving.towards(&ids(&[3]));
        assert_eq!(elsewhere.replicas, ids(&[3, 1]));
        assert_eq!((elsewhere.adding, elsewhere.removing), (ids(&[3]), ids(&[1])));
    }

    #[test]
    fn another_order_needs_nobody_in_sync() {
        assert_eq!(
            still(&[1, 2]).towards(&ids(&[2, 1])).ended(&[], |_| false),
            still(&[2, 1])
        );
    }
}
