//! Lets connections in: counts them, has them wait or refuses them as `limits.rs` says, and closes those that are too
//! many.
//!
//! As in Kafka, whoever accepts on a listener waits here with the connection that it has accepted, and takes no other
//! meanwhile; those behind it wait in the kernel. Only an address that has all it may have is refused. Invariant: the
//! counts are those of the [`Place`]s that exist.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::activity::Activity;
use super::limits::{AddressFull, ConnectionCounts, ConnectionLimits};
use crate::base::clock::{self, Instant};
use crate::config::BrokerConfig;
use crate::metadata::configs::ConfigListener;

/// The gate of all listeners; clones share it.
#[derive(Clone)]
pub struct Admission(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// A connection has gone, or the bounds have changed.
    changed: Notify,
    begun: Instant,
}

struct State {
    counts: ConnectionCounts,
    open: BTreeMap<u64, Open>,
    /// How many of them are told to close.
    closing: i32,
    next: u64,
}

struct Open {
    listener: Arc<str>,
    activity: Arc<Activity>,
    closing: bool,
}

/// A connection's place among the counted ones, until it is dropped.
pub struct Place {
    shared: Arc<Shared>,
    /// The connection's number; none has it again.
    pub number: u64,
    listener: Arc<str>,
    address: IpAddr,
    /// What happens on the connection; it must be served with it.
    pub activity: Arc<Activity>,
}

impl Admission {
    /// A gate with these bounds.
    pub fn new(limits: ConnectionLimits) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                counts: ConnectionCounts::new(limits),
                open: BTreeMap::new(),
                closing: 0,
                next: 0,
            }),
            changed: Notify::new(),
            begun: Instant::now(),
        }))
    }

    /// How many connections are open.
    pub fn open(&self) -> i32 {
        self.0.state().counts.all()
    }

    /// Waits until there may be another connection on `listener`, and counts the one from `address`.
    ///
    /// # Errors
    /// [`AddressFull`] when the address has all that it may have.
    pub async fn admit(&self, listener: &Arc<str>, address: IpAddr) -> Result<Place, AddressFull> {
        // An IPv4 client on an IPv6 socket is the same client.
        let address = address.to_canonical();
        let now_ms = i64::try_from(self.0.begun.elapsed().as_millis()).unwrap_or(i64::MAX);
        let throttle_ms = self.0.state().counts.throttle_ms(listener, now_ms);
        if let Ok(wait_ms @ 1..) = u64::try_from(throttle_ms) {
            clock::sleep(Duration::from_millis(wait_ms)).await;
        }
        loop {
            // Made before the look at the counts: it hears of every change from here on.
            let changed = self.0.changed.notified();
            if let Some(admitted) = self.try_take(listener, address) {
                return admitted;
            }
            tracing::warn!(
                listener = &**listener,
                "there are as many connections as max.connections lets in: new ones wait"
            );
            changed.await;
        }
    }

    fn try_take(&self, listener: &Arc<str>, address: IpAddr) -> Option<Result<Place, AddressFull>> {
        let mut state = self.0.state();
        if !state.counts.has_room(listener) {
            return None;
        }
        if let Err(full) = state.counts.take(listener, address) {
            return Some(Err(full));
        }
        let number = state.next;
        state.next += 1;
        let activity = Arc::new(Activity::new());
        let open = Open {
            listener: Arc::clone(listener),
            activity: Arc::clone(&activity),
            closing: false,
        };
        state.open.insert(number, open);
        state.close_excess();
        Some(Ok(Place {
            shared: Arc::clone(&self.0),
            number,
            listener: Arc::clone(listener),
            address,
            activity,
        }))
    }

    /// The bounds are what `config` says from now on. Connections above a lowered `max.connections` are closed, those
    /// first on which nothing has moved for longest; who waits looks again.
    fn configure(&self, config: &BrokerConfig) {
        let limits = ConnectionLimits::new(config);
        {
            let mut state = self.0.state();
            state.counts.change(limits);
            state.close_excess();
        }
        self.0.changed.notify_waiters();
    }
}

impl ConfigListener for Admission {
    fn broker_config_changed(&self, config: &BrokerConfig) {
        self.configure(config);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Rarely has anything to do, and looks at all connections only then.
    fn close_excess(&mut self) {
        let excess = self.counts.excess().saturating_sub(self.closing);
        let Ok(excess @ 1..) = usize::try_from(excess) else {
            return;
        };
        let counts = &self.counts;
        let open = self.open.values_mut();
        let mut candidates: Vec<_> = open
            .filter(|open| !open.closing && counts.may_close(&open.listener))
            .collect();
        candidates.sort_by_key(|open| (open.activity.is_busy(), open.activity.last()));
        for open in candidates.into_iter().take(excess) {
            open.closing = true;
            open.activity.close();
            self.closing += 1;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        {
            let mut state = self.shared.state();
            state.counts.give_back(&self.listener, self.address);
            if state.open.remove(&self.number).is_some_and(|open| open.closing) {
                state.closing -= 1;
            }
        }
        self.shared.changed.notify_waiters();
    }
}

#[cfg(test)]
#[path = "admission_test.rs"]
mod tests;
