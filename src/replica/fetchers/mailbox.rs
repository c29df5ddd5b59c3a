//! What others want of a fetcher: which partitions come and go, and where the leader is.
//!
//! Invariant: what was put in last of a partition is what counts, and the fetcher wakes for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::base::clock;
use crate::base::ids::{LeaderEpoch, TopicPartition};
use crate::peer::Address;

use super::Assignment;

/// What others want of a fetcher; it takes it before its next request.
pub(super) struct Mailbox {
    orders: Mutex<Orders>,
    changed: Notify,
}

struct Orders {
    /// The partitions that come, and with `None` those that go.
    partitions: BTreeMap<TopicPartition, Option<Assignment>>,
    touched: BTreeSet<TopicPartition>,
    /// Partitions that the other lane would give away, each in the epoch in which it may.
    offered: BTreeMap<TopicPartition, LeaderEpoch>,
    address: Address,
}

/// What a fetcher takes of it.
pub(super) struct News {
    /// The partitions that come, and with `None` those that go.
    pub partitions: BTreeMap<TopicPartition, Option<Assignment>>,
    /// Those that the other lane would give away, each in the epoch in which it may.
    pub offered: BTreeMap<TopicPartition, LeaderEpoch>,
    /// Those that may have changed, and are to be looked at.
    pub touched: BTreeSet<TopicPartition>,
    /// Where the leader is now, if that is elsewhere.
    pub moved_to: Option<Address>,
}

impl Mailbox {
    /// Nothing is wanted yet of a leader that is at `address`.
    pub(super) fn new(address: Address) -> Self {
        Self {
            orders: Mutex::new(Orders {
                partitions: BTreeMap::new(),
                touched: BTreeSet::new(),
                offered: BTreeMap::new(),
                address,
            }),
            changed: Notify::new(),
        }
    }

    /// Where the leader is.
    pub(super) fn address(&self) -> Address {
        self.orders().address.clone()
    }

    /// Waits until there is something to take.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What was not taken yet, for a fetcher that takes the leader to be at `known`.
    pub(super) fn take(&self, known: &Address) -> News {
        let mut orders = self.orders();
        News {
            partitions: std::mem::take(&mut orders.partitions),
            offered: std::mem::take(&mut orders.offered),
            touched: std::mem::take(&mut orders.touched),
            moved_to: (orders.address != *known).then(|| orders.address.clone()),
        }
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn follow(&self, partition: &TopicPartition, assignment: Assignment) {
        self.orders()
            .partitions
            .insert(partition.clone(), Some(assignment));
        self.changed.notify_one();
    }

    pub(super) fn leave(&self, partition: &TopicPartition) {
        self.orders().partitions.insert(partition.clone(), None);
        self.changed.notify_one();
    }

    /// Heard of with the next request: it does not hurry.
    pub(super) fn touch(&self, partition: &TopicPartition) {
        self.orders().touched.insert(partition.clone());
    }

    /// The partition is taken over with the next request: until then the other lane fetches it, so it does not hurry.
    pub(super) fn offer(&self, partition: &TopicPartition, epoch: LeaderEpoch) {
        self.orders().offered.insert(partition.clone(), epoch);
        self.changed.notify_one();
    }

    pub(super) fn is_at(&self, address: Address) {
        let mut orders = self.orders();
        if orders.address != address {
            orders.address = address;
            drop(orders);
            self.changed.notify_one();
        }
    }

    /// Waits until there is a partition that the request under way does not name, or the leader is elsewhere.
    pub(super) async fn hurry(&self, address: &Address, patience: Duration) {
        loop {
            self.changed().await;
            let urgent = {
                let orders = self.orders();
                orders.address != *address || orders.partitions.values().any(Option::is_some)
            };
            if urgent {
                clock::sleep(patience).await;
                return;
            }
        }
    }
}
