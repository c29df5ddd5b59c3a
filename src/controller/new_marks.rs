//! The marks of new partitions, which no broker need have yet (`/barnabas/new_partitions`): they go once this broker has its
//! own of them. Nobody waits for that.
//!
//! Invariant: a mark that is still to go because an answer was lost goes only while it speaks of no other partitions than it
//! did: those that came later may have no folder yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::active::Active;
use super::context::New;
use super::reign::{Group, Lost, Reign};
use super::watching::Look;
use crate::base::ids::{BrokerId, TopicName, TopicPartition};
use crate::base::task;
use crate::store::znodes::{NewPartitions, paths};
use crate::store::{MultiError, Operation, StoreError};

impl Active {
    /// Notes which new partitions this broker does not have yet: it is told of them again, or their marks would stay.
    pub(super) fn note_late(&mut self, late: &[TopicPartition], new: &New) {
        let is_new = |name: &TopicPartition| Some((name.clone(), new.get(name)?.clone()));
        self.context.late.extend(late.iter().filter_map(is_new));
        if !self.context.late.is_empty()
            && let Some(pause) = self.context.late_retry.begin()
        {
            self.channels.look_after(pause, Look::Late);
        }
    }

    /// Tells this broker again of the new partitions that it did not have.
    pub(super) async fn ask_late(&mut self) -> Result<(), Lost> {
        self.context.late_retry.is_due = false;
        let mut late = std::mem::take(&mut self.context.late);
        late.retain(|name, _| {
            self.context.partition(name).is_some() && !self.context.deleting.contains(&name.topic)
        });
        let partitions: Vec<TopicPartition> = late.keys().cloned().collect();
        self.tell_own_replicas(&partitions, &late).await?;
        if self.context.late.is_empty() {
            self.context.late_retry.succeeded();
        }
        Ok(())
    }

    /// Takes the marks off new partitions that this broker has now. Where a move only adds replicas on others, there are
    /// none.
    pub(super) fn forget_new(&self, new: &New, refused: &BTreeSet<TopicName>) {
        let is_marked = |name: &TopicPartition, replicas: &[BrokerId]| {
            let partition = self.context.partition(name);
            let all = partition.is_some_and(|one| one.replicas.iter().all(|id| replicas.contains(id)));
            all || replicas.contains(&self.parts.broker)
        };
        let mut topics: BTreeMap<TopicName, BTreeSet<i32>> = BTreeMap::new();
        for (name, replicas) in new {
            if is_marked(name, replicas) && !refused.contains(&name.topic) {
                let told = topics.entry(Arc::clone(&name.topic)).or_default();
                told.insert(name.partition);
            }
        }
        if topics.is_empty() {
            return;
        }
        // One at a time: a mark may be missing. The store commits them together.
        let sent: Vec<_> = topics
            .into_iter()
            .map(|(topic, told)| {
                let answer = self.reign.send(&Group {
                    operations: vec![Operation::delete(paths::new_partitions(&topic), None)],
                });
                (topic, told, answer)
            })
            .collect();
        let reign = self.reign.clone();
        task::spawn(async move {
            for (topic, told, answer) in sent {
                let lost = MultiError::from(StoreError::ConnectionLoss);
                if answer.await == Err(lost) && take_off(&reign, &topic, &told).await.is_err() {
                    // The next controller finds the rest.
                    return;
                }
            }
        });
    }
}

/// Takes the mark off a topic if it is there and speaks of these partitions only.
async fn take_off(reign: &Reign, topic: &TopicName, told: &BTreeSet<i32>) -> Result<(), Lost> {
    let path = paths::new_partitions(topic);
    loop {
        let Some(node) = reign.store.get(&path).await? else {
            return Ok(());
        };
        let marked = NewPartitions::decode(node.data.as_deref().unwrap_or_default());
        if !marked.is_ok_and(|marked| marked.partitions.is_subset(told)) {
            return Ok(());
        }
        let operations = vec![Operation::delete(path.clone(), Some(node.stat.version))];
        let answers = reign.write(vec![Group { operations }]).await?;
        if answers.first() != Some(&Err(StoreError::BadVersion)) {
            return Ok(());
        }
    }
}
