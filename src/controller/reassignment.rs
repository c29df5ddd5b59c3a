//! Partitions that move to other brokers (KIP-455; Kafka: `KafkaController.processApiPartitionReassignment`).
//!
//! A move is in the topic's node as long as it is under way: all replicas, those that are new, those that go. It ends when
//! all that are to stay are in sync. Called by the queue of events, and at the election of a controller.

use std::collections::{BTreeMap, BTreeSet};

use super::active::{Active, Reason};
use super::context::{Context, Partition, Topic};
use super::create::put;
use super::reign::{Group, Lost};
use super::request::{AdminError, Answers, OngoingReassignment, Reassignment};
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerId, TopicName, TopicPartition};
use crate::store::Operation;
use crate::store::znodes::{NewPartitions, paths};

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

    /// What it is once nothing is left to wait for: everybody who stays is in sync.
    fn ended(self, isr: &[BrokerId]) -> Self {
        let target = self.target();
        if self.moves() && !without(&target, isr).is_empty() {
            return self;
        }
        Self {
            replicas: target,
            adding: Vec::new(),
            removing: Vec::new(),
        }
    }
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
    let after = current.towards(&target).ended(isr);
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
        self.resume_reassignments().await?;
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

    /// Ends the moves that have nothing to wait for any more.
    pub(super) async fn resume_reassignments(&mut self) -> Result<(), Lost> {
        let mut plans = BTreeMap::new();
        for moving in self.reassignments(None) {
            let partition = self.context.partition(&moving.partition);
            if let Some((partition, written)) =
                partition.and_then(|partition| Some((partition, partition.state.as_ref()?)))
            {
                let before = Assignment::of(partition);
                let after = before.clone().ended(&written.state.isr);
                if after != before {
                    plans.insert(moving.partition, after);
                }
            }
        }
        self.reassign(plans).await
    }

    /// Writes assignments, a topic at a time, and tells of them under a new leader epoch.
    async fn reassign(&mut self, plans: BTreeMap<TopicPartition, Assignment>) -> Result<(), Lost> {
        let me = self.parts.broker;
        let mut topics: BTreeMap<TopicName, Topic> = BTreeMap::new();
        let mut new = BTreeSet::new();
        for (name, after) in &plans {
            let Some(topic) = self.context.topic(&name.topic) else {
                continue;
            };
            let topic = topics
                .entry(TopicName::clone(&name.topic))
                .or_insert_with(|| topic.clone());
            if let Some(partition) = topic.partitions.get_mut(&name.partition) {
                // This broker has no folder of what is new to it, and of what nobody has led yet.
                let had = partition.replicas.contains(&me) && partition.state.is_some();
                if !had && after.replicas.contains(&me) {
                    new.insert(name.clone());
                }
                partition.replicas.clone_from(&after.replicas);
                partition.adding.clone_from(&after.adding);
                partition.removing.clone_from(&after.removing);
            }
        }
        let mut groups = Vec::new();
        for (name, topic) in &topics {
            groups.push(self.assignment_group(name, topic, &new).await?);
        }
        for answer in self.reign.write(groups).await? {
            answer?;
        }
        for (name, topic) in topics {
            if let Some(known) = self.context.topic_mut(&name) {
                *known = topic;
            }
        }
        let names: Vec<TopicPartition> = plans.into_keys().collect();
        if !names.is_empty() {
            self.elect(&names, Reason::Reassigned).await?;
            self.tell(&names, &new).await?;
        }
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
        assert_eq!(moving.clone().ended(&ids(&[1, 2])), moving);
        assert_eq!(moving.clone().ended(&ids(&[1, 2, 3])), still(&[2, 3]));
        assert_eq!(moving.origin(), ids(&[2, 1]), "the order is the target's");
        assert_eq!(moving.target(), ids(&[2, 3]));
    }

    #[test]
    fn a_move_that_is_taken_back_or_changes_its_goal_drops_what_it_added() {
        let moving = still(&[1]).towards(&ids(&[2]));
        assert_eq!(moving.towards(&moving.origin()).ended(&ids(&[1])), still(&[1]));
        let elsewhere = moving.towards(&ids(&[3]));
        assert_eq!(elsewhere.replicas, ids(&[3, 1]));
        assert_eq!((elsewhere.adding, elsewhere.removing), (ids(&[3]), ids(&[1])));
    }

    #[test]
    fn another_order_needs_nobody_in_sync() {
        assert_eq!(still(&[1, 2]).towards(&ids(&[2, 1])).ended(&[]), still(&[2, 1]));
    }
}
