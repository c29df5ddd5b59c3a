//! Shards come and go with the leadership of their partitions, and are loaded: one after the other in each log
//! directory.
//!
//! Invariant: a signal of an older epoch than a shard's changes nothing, so signals may come from any thread. What they
//! want done is noted for the coordinator's task.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};

use super::coordinator::Inner;
use super::load::{Loading, Piece};
use super::shard::Shard;
use super::slot::Slot;
use crate::base::clock::{self, Instant};
use crate::base::ids::{LeaderEpoch, TopicPartition};
use crate::base::task;
use crate::replica::partition::Partition;
use crate::replica::signals::LeadershipListener;

/// Hears who leads the coordinator's partitions.
pub(super) struct Elections<S: Shard>(pub(super) Weak<Inner<S>>);

impl<S: Shard> LeadershipListener for Elections<S> {
    fn elected(&self, partition: &Arc<Partition>, epoch: LeaderEpoch) {
        if let Some(inner) = self.0.upgrade()
            && partition.name().topic == inner.settings.topic
        {
            inner.begin(partition, epoch);
        }
    }

    fn resigned(&self, partition: &TopicPartition, epoch: Option<LeaderEpoch>) {
        if let Some(inner) = self.0.upgrade()
            && partition.topic == inner.settings.topic
        {
            inner.end(partition.partition, epoch);
        }
    }
}

impl<S: Shard> Inner<S> {
    /// Puts a new shard in the place of an older one, and has it loaded. Who led before leads on with what it has: nobody
    /// else has written meanwhile, or this would have been told.
    fn begin(self: &Arc<Self>, partition: &Arc<Partition>, epoch: LeaderEpoch) {
        let number = partition.name().partition;
        let known = self
            .shard(number)
            .filter(|known| Arc::ptr_eq(&known.partition, partition));
        if let Some(known) = known
            && known.epoch() < epoch
            && known.lead_on(epoch)
        {
            tracing::debug!(partition = %partition.name(), %epoch, "leads on");
            return;
        }
        let slot = Slot::new(number, epoch, Arc::clone(partition));
        let mut shards = self.shards.write().unwrap_or_else(PoisonError::into_inner);
        if self.closed.load(Ordering::Acquire) {
            return;
        }
        let same_replica = |known: &Slot<S>| Arc::ptr_eq(&known.partition, partition);
        if shards
            .get(&number)
            .is_some_and(|known| same_replica(known) && known.epoch() >= epoch)
        {
            return;
        }
        let before = shards.insert(number, Arc::clone(&slot));
        drop(shards);
        if let Some(before) = before {
            self.close_on_pool(before);
        }
        self.attention.load(slot);
    }

    fn end(self: &Arc<Self>, partition: i32, epoch: Option<LeaderEpoch>) {
        let mut shards = self.shards.write().unwrap_or_else(PoisonError::into_inner);
        let is_older = |slot: &Arc<Slot<S>>| epoch.is_none_or(|epoch| slot.epoch() < epoch);
        if !shards.get(&partition).is_some_and(is_older) {
            return;
        }
        let gone = shards.remove(&partition);
        drop(shards);
        if let Some(gone) = gone {
            tracing::debug!(partition = %gone.partition.name(), epoch = %gone.epoch(), "unloaded");
            self.close_on_pool(gone);
        }
    }

    /// Queues a shard for loading: one after the other in each log directory.
    pub(super) fn queue_load(self: &Arc<Self>, slot: Arc<Slot<S>>) {
        let path = slot.partition.directory().path().to_owned();
        let mut loading = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        match loading.get_mut(&path) {
            Some(queue) => queue.push_back(slot),
            None => {
                loading.insert(path.clone(), VecDeque::from([slot]));
                drop(loading);
                drop(task::spawn(load_all(Arc::clone(self), path)));
            }
        }
    }

    fn next_load(&self, path: &Path) -> Option<Arc<Slot<S>>> {
        let mut loading = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let next = loading.get_mut(path).and_then(VecDeque::pop_front);
        if next.is_none() {
            loading.remove(path);
        }
        next
    }

    /// The log was read: the shard takes commands from now on. Blocks.
    fn loaded(self: &Arc<Self>, slot: &Arc<Slot<S>>, loading: Loading<S>) {
        loading.tell_loaded();
        let mut state = slot.lock_on_pool();
        if !slot.activate(&mut state, loading.shard) {
            return;
        }
        let now_ms = clock::now_ms();
        let after = slot.act(&mut state, &self.settings, true, now_ms, |shard| {
            shard.loaded(now_ms)
        });
        drop(state);
        self.dispatch(slot, after);
        slot.turned.notify_waiters();
    }
}

/// Loads the shards of one log directory until none is left.
async fn load_all<S: Shard>(inner: Arc<Inner<S>>, path: PathBuf) {
    let begun = Instant::now();
    let mut shards = 0;
    while let Some(slot) = inner.next_load(&path) {
        load(&inner, &slot).await;
        shards += 1;
    }
    tracing::info!(
        topic = &*inner.settings.topic,
        shards,
        directory = %path.display(),
        milliseconds = begun.elapsed().as_millis(),
        "loaded all"
    );
}

async fn load<S: Shard>(inner: &Arc<Inner<S>>, slot: &Arc<Slot<S>>) {
    let pool = slot.partition.pool().clone();
    let shard = (inner.make)(slot.number);
    let mut loading = Loading::new(shard, Arc::clone(slot), inner.settings.load_buffer_bytes);
    let (reason, epoch) = loop {
        let epoch = slot.epoch();
        let read = pool.run(move || {
            let piece = loading.read_piece();
            (loading, piece)
        });
        match read.await {
            Ok((read, Piece::More)) => loading = read,
            Ok((read, Piece::Last)) => {
                let (inner, slot) = (Arc::clone(inner), Arc::clone(slot));
                // A panic there has been told of.
                let _ = pool.run(move || inner.loaded(&slot, read)).await;
                return;
            }
            Ok((read, Piece::Abandoned)) => {
                // Should it still be in its place, its clients are not to wait for a load that nobody goes on with.
                let slot = Arc::clone(slot);
                if pool.run(move || slot.fail(epoch)).await.unwrap_or(true) {
                    return;
                }
                loading = read;
            }
            Ok((_, Piece::Failed(reason))) => break (reason, epoch),
            Err(_) => break ("the work ended before its time".to_owned(), epoch),
        }
    };
    tracing::error!(
        partition = %slot.partition.name(),
        %epoch,
        reason,
        "cannot be loaded: what it coordinates is not available"
    );
    let slot = Arc::clone(slot);
    pool.start_work(move || slot.give_up());
}
