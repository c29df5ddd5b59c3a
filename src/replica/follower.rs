//! How far another replica is, as its fetches tell the leader (Kafka's `Replica`).
//!
//! Decisions only: the leader's partition holds it under its lock and gives it the time. Broker epochs are those of
//! Fetch v15 and later; older followers tell none.

use std::time::Duration;

use crate::base::clock::Instant;
use crate::base::ids::{BrokerEpoch, BrokerId, Offset};

/// How long a follower counts as one that consumers read from, after one was sent to it. Clients ask the leader again
/// after `metadata.max.age.ms`, five minutes by default.
const READ_BY_CONSUMERS: Duration = Duration::from_secs(600);

/// What a follower's fetch tells of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FollowerFetch {
    /// Where it reads: it has all below.
    pub offset: Offset,
    /// Where its log starts.
    pub log_start: Offset,
    /// The epoch of its registration; −1 for none.
    pub broker_epoch: BrokerEpoch,
}

/// A replica of another broker, as its leader sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Follower {
    id: BrokerId,
    broker_epoch: BrokerEpoch,
    log_end: Offset,
    log_start: Offset,
    /// The leader's log end at the last fetch.
    leader_log_end: Offset,
    fetched: Option<Instant>,
    /// When it last had all that the leader had.
    caught_up: Option<Instant>,
    /// When a consumer was last sent to it, in this epoch.
    sent_consumers: Option<Instant>,
    /// The high watermark that it was told last, since consumers are sent to it.
    told_high_watermark: Offset,
}

impl Follower {
    /// Nothing is known of it yet.
    pub fn new(id: BrokerId) -> Self {
        Self {
            id,
            broker_epoch: BrokerEpoch(-1),
            log_end: Offset(-1),
            log_start: Offset(-1),
            leader_log_end: Offset(-1),
            fetched: None,
            caught_up: None,
            sent_consumers: None,
            told_high_watermark: Offset(-1),
        }
    }

    /// The broker.
    pub fn id(&self) -> BrokerId {
        self.id
    }

    /// The epoch of its registration when it last fetched; −1 when it told none.
    pub fn broker_epoch(&self) -> BrokerEpoch {
        self.broker_epoch
    }

    /// The offset behind its last record; −1 when it is not known.
    pub fn log_end(&self) -> Offset {
        self.log_end
    }

    /// Where its log starts; −1 when it is not known.
    pub fn log_start(&self) -> Offset {
        self.log_start
    }

    /// When it last had all that the leader had; `None` when that is not known.
    pub fn caught_up(&self) -> Option<Instant> {
        self.caught_up
    }

    /// A consumer is sent to it, and will ask the leader again before [`READ_BY_CONSUMERS`] is over. True for the first
    /// one.
    pub fn consumer_sent(&mut self, now: Instant) -> bool {
        self.sent_consumers.replace(now).is_none()
    }

    /// It is told this high watermark; yields the one that it was told before, if consumers read from it: they wait for
    /// what is new there, and so does it. `None` for others, which learn of it with the next records.
    pub fn told(&mut self, high_watermark: Offset, now: impl FnOnce() -> Instant) -> Option<Offset> {
        let sent = self.sent_consumers?;
        if now().since(sent) > READ_BY_CONSUMERS {
            self.sent_consumers = None;
            return None;
        }
        let before = self.told_high_watermark;
        self.told_high_watermark = high_watermark;
        Some(before)
    }

    /// An epoch of the leader begins. Who is in sync has one period of lag to show it. A new leader knows nothing of
    /// the others; one that leads on knows what it knew, since they have been following it (`Replica.resetReplicaState`).
    pub fn epoch_begins(&mut self, new_leader: bool, in_sync: bool, leader_log_end: Offset, now: Instant) {
        let since = in_sync.then_some(now);
        if new_leader {
            *self = Self::new(self.id);
        } else {
            self.leader_log_end = leader_log_end;
            self.fetched = since;
        }
        self.caught_up = since;
        // In a new epoch consumers ask the leader anew.
        self.sent_consumers = None;
        self.told_high_watermark = Offset(-1);
    }

    /// Takes what a fetch tells (`Replica.updateFetchStateOrThrow`): it is caught up now when it asks for the leader's
    /// end, and was at its last fetch when it asks for what was the end then. A fetch of an earlier life of the broker,
    /// that was held up, tells nothing.
    pub fn fetched(&mut self, fetch: &FollowerFetch, leader_log_end: Offset, now: Instant) {
        let (told, known) = (fetch.broker_epoch, self.broker_epoch);
        if told.get() >= 0 && told < known {
            return;
        }
        let caught_up = if fetch.offset >= leader_log_end {
            Some(now)
        } else if fetch.offset >= self.leader_log_end {
            self.fetched
        } else {
            None
        };
        self.caught_up = self.caught_up.max(caught_up);
        self.log_end = fetch.offset;
        self.log_start = fetch.log_start;
        self.leader_log_end = self.leader_log_end.max(leader_log_end);
        self.fetched = Some(now);
        self.broker_epoch = told;
    }

    /// True when it has all that the leader has, or had so not long ago (`ReplicaState.isCaughtUp`).
    pub fn is_caught_up(&self, leader_log_end: Offset, now: Instant, lag_max: Duration) -> bool {
        self.log_end == leader_log_end || self.caught_up.is_some_and(|at| now.since(at) <= lag_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAG_MAX: Duration = Duration::from_secs(30);

    fn at(offset: i64) -> FollowerFetch {
        FollowerFetch {
            offset: Offset(offset),
            log_start: Offset(0),
            broker_epoch: BrokerEpoch(-1),
        }
    }

    #[tokio::test]
    async fn a_follower_is_caught_up_with_where_the_leader_was_at_its_last_fetch() {
        let start = Instant::now();
        let after = |seconds| start.after(Duration::from_secs(seconds));
        let mut follower = Follower::new(BrokerId(2));
        follower.epoch_begins(true, true, Offset(10), start);
        // Seconds, where it reads, the leader's end; whether it is caught up then with an end of 1000.
        for (seconds, offset, leader_end, within, caught_up) in [
            (10, 0, 100, 30, true),    // by the epoch's grace
            (20, 50, 200, 31, false),  // behind where the leader was at its last fetch
            (40, 200, 300, 50, true),  // reached where the leader was 20 s ago
            (41, 250, 400, 51, false), // the credit of second 20 is used up
            (50, 400, 400, 80, true),  // reached the end
            (60, 410, 500, 80, true),  // reached where the leader was at second 50
            (61, 420, 600, 81, false),
        ] {
            follower.fetched(&at(offset), Offset(leader_end), after(seconds));
            let is = follower.is_caught_up(Offset(1000), after(within), LAG_MAX);
            assert_eq!(is, caught_up, "second {seconds}");
            assert!(
                follower.is_caught_up(Offset(offset), after(10_000), LAG_MAX),
                "at the end"
            );
        }
    }

    #[tokio::test]
    async fn an_epoch_gives_time_to_who_is_in_sync_and_to_nobody_else() {
        let now = Instant::now();
        for (new_leader, in_sync, log_end) in [
            (true, true, -1),
            (true, false, -1),
            (false, true, 7),
            (false, false, 7),
        ] {
            let mut follower = Follower::new(BrokerId(2));
            follower.fetched(&at(7), Offset(7), now);
            follower.epoch_begins(new_leader, in_sync, Offset(9), now);
            assert_eq!(follower.log_end(), Offset(log_end));
            assert_eq!(follower.is_caught_up(Offset(9), now, LAG_MAX), in_sync);
        }
    }

    #[tokio::test]
    async fn a_follower_that_consumers_read_from_is_known_by_what_it_was_told() {
        let now = Instant::now();
        let mut follower = Follower::new(BrokerId(2));
        assert_eq!(follower.told(Offset(5), || now), None);
        assert!(follower.consumer_sent(now) && !follower.consumer_sent(now));
        assert_eq!(follower.told(Offset(5), || now), Some(Offset(-1)));
        assert_eq!(follower.told(Offset(6), || now), Some(Offset(5)));
        let last = now.after(READ_BY_CONSUMERS);
        assert_eq!(follower.told(Offset(6), || last), Some(Offset(6)));
        let over = last.after(Duration::from_millis(1));
        assert_eq!(follower.told(Offset(7), || over), None);
        assert!(follower.consumer_sent(over));
        assert_eq!(follower.told(Offset(8), || over), Some(Offset(6)));
        follower.epoch_begins(false, true, Offset(9), over);
        assert_eq!(follower.told(Offset(9), || over), None);
    }

    #[tokio::test]
    async fn a_fetch_of_an_earlier_life_tells_nothing() {
        let now = Instant::now();
        let mut follower = Follower::new(BrokerId(2));
        let fetch = |offset, epoch| FollowerFetch {
            broker_epoch: BrokerEpoch(epoch),
            ..at(offset)
        };
        follower.fetched(&fetch(0, 8), Offset(9), now);
        follower.fetched(&fetch(9, 7), Offset(9), now);
        assert_eq!(
            (follower.log_end(), follower.broker_epoch()),
            (Offset(0), BrokerEpoch(8))
        );
        // One that tells no epoch, of an older version, counts.
        follower.fetched(&fetch(3, -1), Offset(9), now);
        assert_eq!(follower.log_end(), Offset(3));
    }
}
