//! Throttled replicas (KIP-73; Kafka: `ReplicaManager.shouldLeaderThrottle`, `RemoteLeaderEndPoint.shouldFollowerThrottle`):
//! those of which a topic says so copy no faster than this broker's limits.
//!
//! Only who is not in sync is held back, so that nobody leaves the ISR by it: the leader leaves its records out of an
//! answer ([`read`](super::read)), the follower does not ask for them ([`fetchers`](super::fetchers)). Both go on telling how
//! far they are.

use super::answers::ReadAnswer;
use super::partition::{Partition, State};
use super::replicas::Replicas;
use crate::base::clock::Instant;

impl State {
    /// Whether what this broker sends of the partition, which it leads, is throttled.
    pub(super) fn leads_throttled(&self, partition: i32) -> bool {
        let config = self.log.config();
        let replicas = &config.leader_replication_throttled_replicas;
        replicas.has(partition, self.leadership.me())
    }

    /// Whether what this broker fetches of the partition, which it follows, is throttled.
    pub(super) fn follows_throttled(&self, partition: i32) -> bool {
        let config = self.log.config();
        let replicas = &config.follower_replication_throttled_replicas;
        replicas.has(partition, self.leadership.me())
    }
}

impl Partition {
    /// Whether what this broker fetches of it is throttled; false while its directory does not answer.
    pub(super) fn follows_throttled(&self) -> bool {
        self.lock()
            .is_ok_and(|locked| locked.state.follows_throttled(self.name().partition))
    }
}

impl Replicas {
    /// Counts what an answer sends of throttled replicas. Kafka counts the bytes of the answer around the records, too.
    pub(super) fn sends(&self, answers: &[ReadAnswer]) {
        let throttled = answers.iter().filter(|answer| answer.throttled);
        let bytes = throttled
            .map(ReadAnswer::records_size)
            .fold(0, usize::saturating_add);
        if bytes > 0 {
            self.quotas.leader.record(bytes, Instant::now());
        }
    }
}
