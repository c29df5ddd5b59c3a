//! Which throttled partitions a fetcher does not ask for (KIP-73; Kafka: `RemoteLeaderEndPoint.shouldFollowerThrottle`,
//! `ReplicaFetcherThread.processPartitionData`).
//!
//! Invariant: while more was fetched of throttled partitions than `follower.replication.throttled.rate`, a request names
//! none of them that is behind its leader's high watermark; those that are not behind it are named always.

use crate::base::clock::Instant;
use crate::base::ids::TopicPartition;
use crate::replica::following::{Fetched, Taken};

use super::followed::Phase;
use super::task::Task;

impl Task {
    /// Has throttled partitions wait, or those that waited fetched again, before a request is made.
    pub(super) fn throttle(&mut self, now: Instant) {
        if self.behind.is_empty() && self.throttled.is_empty() {
            return;
        }
        let exceeded = self.replicas.quotas.follower.is_exceeded(now);
        let held = |task: &Self, name: &TopicPartition| {
            let followed = task.partitions.get(name);
            exceeded && followed.is_some_and(|one| one.partition.follows_throttled())
        };
        for name in self.throttled.clone() {
            if !held(self, &name) {
                self.look_again(&name);
            }
        }
        if !exceeded {
            return;
        }
        for name in self.behind.clone() {
            let followed = self.partitions.get(&name);
            let fetching = followed.is_some_and(|one| one.phase == Phase::Fetching);
            if fetching && held(self, &name) {
                tracing::debug!(partition = %name, "held back: throttled followers here are above their limit");
                self.set_phase(&name, Phase::Throttled);
            }
        }
    }

    /// Notes what an answer brought: how far the partition is behind from then on, and what counts against the limit.
    pub(super) fn note_taken(&mut self, name: &TopicPartition, fetched: &Fetched, taken: &Taken) {
        let bytes = fetched.records.as_ref().map_or(0, |records| records.len());
        if taken.throttled && bytes > 0 {
            self.replicas.quotas.follower.record(bytes, Instant::now());
        }
        let end = taken.position.log_end;
        let first = self.partitions.get(name).is_some_and(|one| one.lag.is_none());
        // As in Kafka, an answer without records says nothing new after the first one.
        if first || end > fetched.offset {
            self.note_lag(name, fetched.high_watermark.since(end));
        }
    }

    /// Notes how far the partition is behind its leader.
    pub(super) fn note_lag(&mut self, name: &TopicPartition, lag: i64) {
        let Some(followed) = self.partitions.get_mut(name) else {
            return;
        };
        followed.lag = Some(lag.max(0));
        if lag > 0 {
            self.behind.insert(name.clone());
        } else {
            self.behind.remove(name);
        }
    }
}
