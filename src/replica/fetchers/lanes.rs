//! Partitions that are far behind are fetched beside the others.
//!
//! A response has up to a megabyte of each partition that is behind (`replica.fetch.max.bytes`), and its records are written
//! before the next request is sent. With one fetcher for all, as in Kafka, each record of a partition that is in sync waits
//! for some of those, and whoever produces with acks=all waits for it. So a leader has two lanes here, each with a connection,
//! a fetch session and threads of its own.
//!
//! Invariant: a partition is in one lane, but while it goes back to the steady one: that takes it with its next request, and
//! until then the other goes on fetching it. So for the time of one answer two may fetch it; whose records do not begin at the
//! end of the log then drops them. Only one has it at the beginning of a leader epoch, where logs may be cut: it is given back in
//! the epoch in which it has caught up, or not.

use crate::base::ids::{BrokerId, LeaderEpoch, TopicPartition};
use crate::base::task::Worker;
use crate::replica::partition::Partition;

use super::task::Task;
use super::{Assignment, Fetchers, Inner, address_of};

/// So many full answers in a row, and a partition is far behind: one alone is what a busy one has after a pause. How far it
/// is below the leader's high watermark does not tell: that waits for a replica that is in sync still.
const FULL_ANSWERS: u32 = 2;

/// True for about as much as a request may ask for: the last batch may be cut off.
fn is_full(bytes: usize, most: i32) -> bool {
    bytes >= usize::try_from(most).unwrap_or(0) / 4 * 3
}

/// For which partitions a fetcher is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Lane {
    /// Those that have what the leader has, or nearly so.
    Steady,
    /// Those that are far behind.
    CatchingUp,
}

/// A fetcher.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct FetcherId {
    pub(super) leader: BrokerId,
    /// Which of the leader's, below `num.replica.fetchers`.
    pub(super) number: i32,
    pub(super) lane: Lane,
}

impl FetcherId {
    /// What its connection is called in quotas, metrics and logs of the leader.
    pub(super) fn client_id(self, me: BrokerId) -> String {
        let lane = match self.lane {
            Lane::Steady => "",
            Lane::CatchingUp => "-catching-up",
        };
        format!("broker-{me}-fetcher-{}{lane}", self.number)
    }
}

/// The threads that fetchers run on; where there are none, they run on the current runtime.
#[derive(Default)]
pub struct FetcherThreads {
    /// Of partitions that are in sync, or nearly so.
    pub steady: Vec<Worker>,
    /// Of those that are far behind.
    pub catching_up: Vec<Worker>,
}

impl FetcherThreads {
    pub(super) fn of(&self, id: FetcherId) -> Option<&Worker> {
        let threads = match id.lane {
            Lane::Steady => &self.steady,
            Lane::CatchingUp => &self.catching_up,
        };
        let turn = usize::try_from(id.leader.get().wrapping_add(id.number)).unwrap_or(0);
        threads.get(turn % threads.len().max(1))
    }
}

impl Inner {
    pub(super) fn lane_of(&self, partition: &TopicPartition) -> Lane {
        if self.catching_up.contains(partition) {
            Lane::CatchingUp
        } else {
            Lane::Steady
        }
    }
}

impl Fetchers {
    /// The partition is far behind in `epoch`, and its leader's high watermark may wait for it: its `lag` goes with it, or the
    /// limit of throttled followers would hold it back as one that is not in sync. True when it is with another fetcher from
    /// now on.
    fn fell_behind(
        &self,
        name: &TopicPartition,
        partition: &Partition,
        epoch: LeaderEpoch,
        lag: Option<i64>,
    ) -> bool {
        let mut inner = self.inner();
        let is_same =
            |known: &Assignment| known.epoch == epoch && std::ptr::eq(&raw const *known.partition, partition);
        if !inner.followed.get(name).is_some_and(is_same) || !inner.catching_up.insert(name.clone()) {
            return false;
        }
        self.place(&mut inner, name, &self.cluster.get(), lag);
        true
    }

    /// The partition has caught up in `epoch`: the fetcher of the steady lane may take it over.
    fn caught_up(&self, name: &TopicPartition, epoch: LeaderEpoch) {
        let mut inner = self.inner();
        let Some(id) = inner.places.get(name).copied() else {
            return;
        };
        let steady = FetcherId {
            lane: Lane::Steady,
            ..id
        };
        let address = address_of(&self.cluster.get(), id.leader).filter(|_| inner.started.is_some());
        if let Some(address) = address
            && id.lane == Lane::CatchingUp
            && let Some(fetcher) = self.fetcher(&mut inner, steady, address)
        {
            fetcher.offer(name, epoch);
        }
    }

    /// Gives a partition that was offered in `epoch` to the steady fetcher `to`; `None` when it is elsewhere by now, or the
    /// controller has decided anew: the other fetcher may have asked whether the logs part, and would cut what this one gets.
    pub(super) fn take_over(
        &self,
        name: &TopicPartition,
        to: FetcherId,
        epoch: LeaderEpoch,
    ) -> Option<Assignment> {
        let mut inner = self.inner();
        let from = FetcherId {
            lane: Lane::CatchingUp,
            ..to
        };
        let assignment = inner
            .followed
            .get(name)
            .filter(|known| known.epoch == epoch)?
            .clone();
        if inner.places.get(name) != Some(&from) {
            return None;
        }
        inner.catching_up.remove(name);
        inner.displace(name, Some(to));
        inner.places.insert(name.clone(), to);
        tracing::debug!(partition = %name, "taken over by the steady lane");
        // It has caught up.
        Some(Assignment {
            lag: Some(0),
            ..assignment
        })
    }
}

#[cfg(test)]
impl Fetchers {
    /// Whether a partition is fetched beside the others.
    pub(in crate::replica) fn is_catching_up(&self, partition: &TopicPartition) -> bool {
        let place = self.inner().places.get(partition).copied();
        place.is_some_and(|place| place.lane == Lane::CatchingUp)
    }
}

impl Task {
    /// After an answer with so many bytes of the partition: it may belong into the other lane.
    pub(super) fn choose_lane(&mut self, name: &TopicPartition, bytes: usize) {
        let is_full = is_full(bytes, self.settings.partition_max_bytes);
        let Some(followed) = self.partitions.get_mut(name) else {
            return;
        };
        match self.id.lane {
            Lane::Steady if bytes > 0 => {
                followed.full = if is_full {
                    followed.full.saturating_add(1)
                } else {
                    0
                };
                let (partition, epoch, lag) = (&followed.partition, followed.epoch, followed.lag);
                if followed.full >= FULL_ANSWERS
                    && self.replicas.fetchers.fell_behind(name, partition, epoch, lag)
                {
                    tracing::debug!(partition = %name, ?lag, "far behind: fetched beside the others");
                    self.remove(name);
                }
            }
            // An answer ends with its segment, too.
            Lane::CatchingUp if !is_full && followed.lag.is_none_or(|lag| lag <= 0) && !followed.offered => {
                followed.offered = true;
                tracing::debug!(partition = %name, "caught up");
                self.replicas.fetchers.caught_up(name, followed.epoch);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::test_cluster::TestCluster;
    use crate::replica::testing::batch;

    /// What is in flight by a decision that came meanwhile may say that the log is to be cut.
    #[tokio::test]
    async fn a_partition_is_taken_over_in_the_epoch_only_in_which_it_was_offered() {
        let cluster = TestCluster::start(&[1, 2], &[]).await;
        cluster.create("t", &[1, 2]).await;
        cluster.produce(1, "t", &batch(1, 10)).await;
        let (name, follower) = (TopicPartition::new("t", 0), cluster.node(2));
        let fetchers = &follower.replicas.fetchers;
        let partition = follower.replicas.partition("t", 0).unwrap();
        let steady = *fetchers.inner().places.get(&name).unwrap();
        assert_eq!(steady.lane, Lane::Steady);
        assert!(fetchers.fell_behind(&name, &partition, LeaderEpoch(0), None));
        assert!(fetchers.is_catching_up(&name));
        assert!(fetchers.take_over(&name, steady, LeaderEpoch(1)).is_none());
        assert!(fetchers.is_catching_up(&name));
        assert!(fetchers.take_over(&name, steady, LeaderEpoch(0)).is_some());
        assert!(!fetchers.is_catching_up(&name));
        assert!(
            fetchers.take_over(&name, steady, LeaderEpoch(0)).is_none(),
            "it is there"
        );
    }
}
