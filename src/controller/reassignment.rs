//! Partitions that move to other brokers (KIP-455; Kafka: `KafkaController.processApiPartitionReassignment`).
//!
//! A move is in the topic's node as long as it is under way: all replicas, those that are new, those that go. It ends when
//! all that are to stay are in sync. Called by the queue of events, and at the election of a controller.

use std::collections::{BTreeMap, BTreeSet};

use super::active::{Active, Reason};
use super::context::{New, Partition, Topic};
use super::create::put;
use super::reassignment_plan::{Assignment, end, plan};
use super::reign::{Group, Lost};
use super::request::{Answers, OngoingReassignment, Reassignment};
use crate::base::ids::{BrokerId, TopicName, TopicPartition};
use crate::store::Operation;
use crate::store::znodes::{NewPartitions, notifications, paths};

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

    /// The partitions that are being moved and stay.
    fn moving(&self) -> Vec<TopicPartition> {
        let mut moving = self
            .context
            .partitions_that(|partition| Assignment::of(partition).moves());
        moving.retain(|name| !self.context.deleting.contains(&name.topic));
        moving
    }

    /// Begins the moves anew that an earlier controller left: nobody may have been told of one yet, so that each gets a new
    /// epoch to be told under. What they add is not said to be new: who was told may have it in a directory that is offline
    /// now, and would not start again with another one elsewhere.
    pub(super) async fn renew_reassignments(&mut self) -> Result<(), Lost> {
        self.elect(&self.moving(), Reason::Reassigned).await?;
        Ok(())
    }

    /// Ends the moves that have nothing to wait for any more, and says so to old tools.
    pub(super) async fn resume_reassignments(&mut self) -> Result<(), Lost> {
        self.end_reassignments().await?;
        self.drop_replicas().await?;
        self.note_old_reassignments().await
    }

    async fn end_reassignments(&mut self) -> Result<(), Lost> {
        let moving = self.moving().into_iter();
        let ended = moving.filter_map(|name| Some((name.clone(), end(&self.context, &name)?)));
        let plans = ended.collect();
        self.reassign(plans).await
    }

    /// Takes from the request of an old tool what is done.
    pub(super) async fn note_old_reassignments(&mut self) -> Result<(), Lost> {
        if self.has_old_reassignments {
            self.take_old_reassignments().await?;
        }
        Ok(())
    }

    /// Carries out plans. What is wanted is written before anybody is told of it, those who go among those who are removed;
    /// where a move only ends that is there already. Then those who stay are led by one of them, and are told; the others are
    /// stopped; and then the store forgets these. So the next controller can go on at each point.
    async fn reassign(&mut self, plans: BTreeMap<TopicPartition, Assignment>) -> Result<(), Lost> {
        let (new, marked) = self.added_by(&plans);
        let (mut names, mut unwritten) = (Vec::new(), Vec::new());
        for (name, after) in plans {
            let Some(partition) = self.context.partition_mut(&name) else {
                continue;
            };
            let before = Assignment::of(partition);
            let ends = before.moves() && !after.moves() && before.target() == after.replicas;
            let drops = partition.assign(after);
            if !ends || !drops {
                unwritten.push(name.clone());
            }
            names.push(name);
        }
        if names.is_empty() {
            return Ok(());
        }
        self.write_assignments(&unwritten, &marked).await?;
        self.elect(&names, Reason::Reassigned).await?;
        for name in &names {
            if let Some(partition) = self.context.partition_mut(name) {
                partition.keep_needed();
            }
        }
        self.tell(&names, &new).await?;
        self.drop_replicas().await
    }

    /// Replicas that plans add, and the partitions of which this broker is to make a folder.
    fn added_by(&self, plans: &BTreeMap<TopicPartition, Assignment>) -> (New, BTreeSet<TopicPartition>) {
        let me = self.parts.broker;
        let (mut new, mut marked) = (New::new(), BTreeSet::new());
        for (name, after) in plans {
            let Some(before) = self.context.partition(name) else {
                continue;
            };
            // Nobody has a folder of what nobody has led yet.
            let had = |id: &BrokerId| before.replicas.contains(id) && before.state.is_some();
            let mut added = after.replicas.clone();
            added.retain(|id| !had(id));
            if added.contains(&me) {
                marked.insert(name.clone());
            }
            if !added.is_empty() {
                new.insert(name.clone(), added);
            }
        }
        (new, marked)
    }

    /// Writes the nodes of the topics of these partitions as they are in memory.
    pub(super) async fn write_assignments(
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
            // The tools that wrote it read the topic's node once it is gone.
            let is_over = |one: &Partition| !Assignment::of(one).moves() && one.going.is_empty();
            let partition = self.context.partition(name);
            partition.is_some_and(|partition| !is_over(partition)) && !refused.contains(name)
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
