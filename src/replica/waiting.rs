//! Parked requests: fetches that wait for data, produces that wait for followers, DeleteRecords that waits for them.
//!
//! Nothing polls. A parked request stands in the [`Waiters`] of each partition that it waits for; a change of the
//! partition looks at these and at no others, and yields the requests to wake, which its caller wakes after it has
//! let go of the partition's lock. Invariant: a request is registered under the same lock under which it was seen
//! that it has to wait, so no change falls in between; dropping its [`Ticket`]'s owner takes it out everywhere.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::base::ids::Offset;

/// How many requests may be parked at once in a broker. One more is answered at once with what there is.
pub const MAX_PARKED_REQUESTS: usize = 100_000;
/// In how many partitions all parked requests together may stand. It bounds their memory (some 100 bytes each).
pub const MAX_PARKED_PLACES: usize = 2_000_000;

/// One parked request, shared with the partitions it waits for.
pub struct Parked {
    id: u64,
    /// What must still come: bytes for a fetch, partitions for the others.
    missing: AtomicI64,
    notify: Notify,
}

impl Parked {
    /// Waits until somebody wakes the request. A wake that came before is not lost.
    pub async fn woken(&self) {
        self.notify.notified().await;
    }

    /// Wakes the request.
    pub fn wake(&self) {
        self.notify.notify_one();
    }

    /// Takes `amount` from what is missing; true when nothing is missing any more.
    fn credit(&self, amount: i64) -> bool {
        self.missing.fetch_sub(amount, Ordering::AcqRel) <= amount
    }
}

/// Up to where a reader may read (Kafka's `FetchIsolation`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bound {
    /// Followers: the log end.
    LogEnd,
    /// Consumers with `read_uncommitted`: the high watermark.
    HighWatermark,
    /// Consumers with `read_committed`: the last stable offset.
    LastStable,
}

/// Where a partition stands, as far as it concerns those who wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// The offset behind the last record.
    pub log_end: Offset,
    /// The offset behind the last record that all in-sync replicas have.
    pub high_watermark: Offset,
    /// The first offset of the oldest open transaction, or the high watermark.
    pub last_stable: Offset,
    /// The first offset that may be read.
    pub log_start: Offset,
    /// All bytes appended since the partition was opened.
    pub appended_bytes: u64,
}

impl Progress {
    /// The offset of a bound.
    pub fn of(&self, bound: Bound) -> Offset {
        match bound {
            Bound::LogEnd => self.log_end,
            Bound::HighWatermark => self.high_watermark,
            Bound::LastStable => self.last_stable,
        }
    }
}

/// What a request waits for in one partition.
#[derive(Debug)]
pub enum Wants {
    /// Bytes that may be read.
    Bytes {
        /// Up to where it may read.
        bound: Bound,
        /// How many bytes of this partition still count: the partition's `max_bytes` less what is there already.
        left: u64,
        /// A follower that consumers read from: the high watermark that it knows. A higher one is worth an answer.
        told_high_watermark: Option<Offset>,
    },
    /// The high watermark at this offset or above.
    HighWatermark(Offset),
    /// The low watermark at this offset or above.
    LowWatermark(Offset),
}

struct Waiter {
    parked: Arc<Parked>,
    wants: Wants,
    /// How far the partition was when this was last looked at.
    seen: Progress,
}

impl Waiter {
    /// Looks at the partition's progress; true when this place has nothing more to wait for.
    fn look(&mut self, now: &Progress) -> bool {
        match &mut self.wants {
            Wants::Bytes {
                told_high_watermark: Some(told),
                ..
            } if now.high_watermark > *told => {
                self.parked.credit(i64::MAX / 2);
                true
            }
            Wants::Bytes { bound, left, .. } => {
                if now.of(*bound) <= self.seen.of(*bound) {
                    return false;
                }
                if self.seen.of(*bound) < self.seen.log_end {
                    // The bound was behind the log end: how many bytes became readable is not known without reading.
                    self.parked.credit(i64::MAX / 2);
                    return true;
                }
                let grown = now.appended_bytes.saturating_sub(self.seen.appended_bytes);
                let counted = grown.min(*left);
                *left -= counted;
                self.seen = *now;
                self.parked.credit(i64::try_from(counted).unwrap_or(i64::MAX / 2))
            }
            Wants::HighWatermark(offset) => now.high_watermark >= *offset && self.parked.credit(1),
            Wants::LowWatermark(offset) => now.log_start >= *offset && self.parked.credit(1),
        }
    }

    fn is_met(&self, now: &Progress) -> bool {
        match self.wants {
            Wants::Bytes { .. } => false,
            Wants::HighWatermark(offset) => now.high_watermark >= offset,
            Wants::LowWatermark(offset) => now.log_start >= offset,
        }
    }
}

/// The requests to wake after a change, once the partition's lock is released.
#[derive(Default)]
#[must_use]
pub struct Wakes(Vec<Arc<Parked>>);

impl Wakes {
    /// One request.
    pub fn of(parked: &Arc<Parked>) -> Self {
        Self(vec![Arc::clone(parked)])
    }

    /// Wakes them. Not to be called under a lock.
    pub fn dispatch(self) {
        for parked in self.0 {
            parked.wake();
        }
    }

    /// Adds those of another change.
    pub fn merge(&mut self, other: Self) {
        if self.0.is_empty() {
            self.0 = other.0;
        } else {
            self.0.extend(other.0);
        }
    }

    /// True when there is nobody to wake.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The requests that wait for one partition, in the order in which they were parked. Empty, it takes three words.
#[derive(Default)]
pub struct Waiters(BTreeMap<(u64, u32), Waiter>);

impl Waiters {
    /// Registers a request under its `slot`. `seen` is where the partition stood when the request found that it has to
    /// wait, `now` where it stands: a difference counts at once.
    pub fn register(
        &mut self,
        parked: &Arc<Parked>,
        slot: u32,
        wants: Wants,
        seen: Progress,
        now: &Progress,
    ) -> Wakes {
        let mut waiter = Waiter {
            parked: Arc::clone(parked),
            wants,
            seen,
        };
        if waiter.look(now) {
            return Wakes(vec![Arc::clone(parked)]);
        }
        if !waiter.is_met(now) {
            self.0.insert((parked.id, slot), waiter);
        }
        Wakes::default()
    }

    /// Takes a request out.
    pub fn remove(&mut self, parked: &Parked, slot: u32) {
        self.0.remove(&(parked.id, slot));
    }

    /// Tells those who wait that the partition has moved on.
    pub fn advance(&mut self, now: &Progress) -> Wakes {
        let mut wakes = Wakes::default();
        if self.0.is_empty() {
            return wakes;
        }
        self.0.retain(|_, waiter| {
            if waiter.look(now) {
                wakes.0.push(Arc::clone(&waiter.parked));
                return false;
            }
            !waiter.is_met(now)
        });
        wakes
    }

    /// Wakes everybody: leadership, epoch or existence of the partition changed, or what is worth an answer, and each must
    /// look for itself.
    pub fn wake_all(&mut self) -> Wakes {
        Wakes(
            std::mem::take(&mut self.0)
                .into_values()
                .map(|waiter| waiter.parked)
                .collect(),
        )
    }

    /// How many places are taken.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when nobody waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Counts the parked requests of a broker and refuses more than its bounds.
pub struct ParkingLot {
    next_id: AtomicU64,
    requests: AtomicUsize,
    places: AtomicUsize,
    max_requests: usize,
    max_places: usize,
}

impl Default for ParkingLot {
    fn default() -> Self {
        Self::new(MAX_PARKED_REQUESTS, MAX_PARKED_PLACES)
    }
}

impl ParkingLot {
    /// An empty lot with these bounds.
    pub fn new(max_requests: usize, max_places: usize) -> Self {
        Self {
            next_id: AtomicU64::new(0),
            requests: AtomicUsize::new(0),
            places: AtomicUsize::new(0),
            max_requests,
            max_places,
        }
    }

    /// A ticket for a request that waits in `places` partitions for `missing`; `None` when the lot is full.
    pub fn enter(self: &Arc<Self>, places: usize, missing: i64) -> Option<Ticket> {
        if self.requests.fetch_add(1, Ordering::AcqRel) >= self.max_requests {
            self.requests.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        if self
            .places
            .fetch_add(places, Ordering::AcqRel)
            .saturating_add(places)
            > self.max_places
        {
            self.places.fetch_sub(places, Ordering::AcqRel);
            self.requests.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(Ticket {
            parked: Arc::new(Parked {
                id: self.next_id.fetch_add(1, Ordering::Relaxed),
                missing: AtomicI64::new(missing),
                notify: Notify::new(),
            }),
            places,
            lot: Arc::clone(self),
        })
    }

    /// How many requests are parked.
    pub fn parked(&self) -> usize {
        self.requests.load(Ordering::Acquire)
    }
}

/// A parked request's place in the lot; given back when it is dropped.
pub struct Ticket {
    /// The request.
    pub parked: Arc<Parked>,
    places: usize,
    lot: Arc<ParkingLot>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.lot.places.fetch_sub(self.places, Ordering::AcqRel);
        self.lot.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64, bytes: u64) -> Progress {
        Progress {
            log_end: Offset(offset),
            high_watermark: Offset(offset),
            last_stable: Offset(offset),
            log_start: Offset(0),
            appended_bytes: bytes,
        }
    }

    fn bytes(left: u64) -> Wants {
        Wants::Bytes {
            bound: Bound::HighWatermark,
            left,
            told_high_watermark: None,
        }
    }

    fn ticket(missing: i64) -> (Arc<ParkingLot>, Ticket) {
        let lot = Arc::new(ParkingLot::new(10, 10));
        let ticket = lot.enter(2, missing).unwrap();
        (lot, ticket)
    }

    #[test]
    fn a_fetch_wakes_when_enough_bytes_came_to_all_its_partitions() {
        let (_lot, ticket) = ticket(100);
        let mut first = Waiters::default();
        let mut second = Waiters::default();
        let start = at(5, 1000);
        assert!(
            first
                .register(&ticket.parked, 0, bytes(1000), start, &start)
                .is_empty()
        );
        assert!(
            second
                .register(&ticket.parked, 1, bytes(30), start, &start)
                .is_empty()
        );
        assert!(first.advance(&at(6, 1040)).is_empty());
        // Only 30 of these count.
        assert!(second.advance(&at(6, 1500)).is_empty());
        assert!(first.advance(&at(6, 1040)).is_empty());
        assert!(first.advance(&at(7, 1069)).is_empty());
        assert!(!first.advance(&at(8, 1070)).is_empty());
        assert!(first.is_empty());
        second.remove(&ticket.parked, 1);
        assert!(second.is_empty());
    }

    #[test]
    fn what_came_between_the_read_and_the_registration_counts() {
        let (_lot, ticket) = ticket(1);
        let mut waiters = Waiters::default();
        let wakes = waiters.register(&ticket.parked, 0, bytes(1000), at(5, 10), &at(6, 20));
        assert!(!wakes.is_empty() && waiters.is_empty());
    }

    #[test]
    fn a_bound_behind_the_log_end_wakes_when_it_moves_and_not_before() {
        let (_lot, ticket) = ticket(1_000_000);
        let mut waiters = Waiters::default();
        let open_transaction = Progress {
            last_stable: Offset(3),
            ..at(5, 10)
        };
        let wants = Wants::Bytes {
            bound: Bound::LastStable,
            left: 2_000_000,
            told_high_watermark: None,
        };
        let wakes = waiters.register(&ticket.parked, 0, wants, open_transaction, &open_transaction);
        assert!(wakes.is_empty());
        let more = Progress {
            last_stable: Offset(3),
            ..at(9, 99)
        };
        assert!(waiters.advance(&more).is_empty());
        assert!(!waiters.advance(&at(10, 100)).is_empty());
    }

    #[test]
    fn a_follower_that_consumers_read_from_wakes_when_the_high_watermark_rises() {
        for (told_high_watermark, wakes) in [(Some(Offset(3)), true), (Some(Offset(5)), false), (None, false)]
        {
            let (_lot, ticket) = ticket(1);
            let mut waiters = Waiters::default();
            let seen = Progress {
                high_watermark: Offset(3),
                ..at(5, 10)
            };
            let wants = Wants::Bytes {
                bound: Bound::LogEnd,
                left: 1000,
                told_high_watermark,
            };
            assert!(waiters.register(&ticket.parked, 0, wants, seen, &seen).is_empty());
            assert_eq!(!waiters.advance(&at(5, 10)).is_empty(), wakes);
        }
    }

    #[test]
    fn a_produce_wakes_when_its_last_partition_is_replicated() {
        let (_lot, ticket) = ticket(2);
        let mut first = Waiters::default();
        let mut second = Waiters::default();
        let wants = || Wants::HighWatermark(Offset(6));
        assert!(
            first
                .register(&ticket.parked, 0, wants(), at(5, 0), &at(5, 0))
                .is_empty()
        );
        assert!(
            second
                .register(&ticket.parked, 1, wants(), at(5, 0), &at(5, 0))
                .is_empty()
        );
        assert!(first.advance(&at(6, 0)).is_empty());
        assert!(first.is_empty(), "met places are given up");
        assert!(first.advance(&at(7, 0)).is_empty());
        assert!(!second.advance(&at(7, 0)).is_empty());
    }

    #[test]
    fn the_lot_is_bounded_and_places_come_back() {
        let lot = Arc::new(ParkingLot::new(2, 10));
        let first = lot.enter(4, 1).unwrap();
        assert!(lot.enter(7, 1).is_none(), "places");
        let _second = lot.enter(6, 1).unwrap();
        assert!(lot.enter(0, 1).is_none(), "requests");
        drop(first);
        assert_eq!(lot.parked(), 1);
        assert!(lot.enter(4, 1).is_some());
    }

    #[test]
    fn a_change_of_leadership_wakes_everybody() {
        let (_lot, ticket) = ticket(1_000);
        let mut waiters = Waiters::default();
        let _ = waiters.register(&ticket.parked, 0, bytes(10), at(0, 0), &at(0, 0));
        assert_eq!(waiters.len(), 1);
        assert!(!waiters.wake_all().is_empty());
        assert!(waiters.is_empty());
    }
}
