//! Followers that were told of a leader before it was told itself: a moment later it knows.
//!
//! Kafka's follower waits for `replica.fetch.backoff.ms`, a second, and acks=all waits for it. Here the leader is asked again
//! soon, and more and more seldom, up to that pause.

use std::time::Duration;

use super::followed::Phase;
use super::task::Task;
use crate::base::clock::Instant;
use crate::base::error_code::ErrorCode;
use crate::base::ids::TopicPartition;

const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The pause after so many such answers before.
fn pause(earlier: u32, backoff: Duration) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << earlier.min(16)).min(backoff)
}

impl Task {
    /// The leader answers as one that has not been told yet.
    pub(super) fn wait_for_leader(&mut self, name: &TopicPartition, error: ErrorCode) {
        let backoff = self.settings.backoff;
        let Some(followed) = self.partitions.get_mut(name) else {
            return;
        };
        if followed.early == 0 {
            tracing::info!(partition = %name, epoch = %followed.epoch, "the leader does not know of it yet: {error}");
        }
        let due = Instant::now().after(pause(followed.early, backoff));
        followed.early = followed.early.saturating_add(1);
        self.set_phase(name, Phase::Delayed(due));
    }

    /// The leader answers as one that knows.
    pub(super) fn leader_knows(&mut self, name: &TopicPartition) {
        if let Some(followed) = self.partitions.get_mut(name) {
            followed.early = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_up_to_that_of_the_configuration() {
        let backoff = Duration::from_secs(1);
        let pauses = [0, 1, 2, 6, 7, 40].map(|earlier| pause(earlier, backoff).as_millis());
        assert_eq!(pauses, [10, 20, 40, 640, 1000, 1000]);
        assert_eq!(pause(0, Duration::from_millis(1)), Duration::from_millis(1));
    }
}
