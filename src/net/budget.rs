//! The bytes that requests may hold in memory, over all connections (`queued.max.request.bytes`).
//!
//! As Kafka's `SimpleMemoryPool` in its lenient mode: a charge is granted while anything is left, so that one request
//! larger than the rest can still be read; the next one waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::Notify;

/// A budget of bytes; clones share it.
#[derive(Clone)]
pub struct Budget {
    /// `None` without a limit: then nothing is counted, as all connections would count in the same place.
    shared: Option<Arc<Shared>>,
}

struct Shared {
    limit_bytes: i64,
    used_bytes: AtomicI64,
    freed: Notify,
}

/// A share of the budget, given back when it is dropped.
pub struct Charge {
    shared: Option<Arc<Shared>>,
    bytes: i64,
}

impl Shared {
    fn is_full(&self) -> bool {
        self.used_bytes.load(Ordering::Relaxed) >= self.limit_bytes
    }
}

impl Budget {
    /// A budget of `limit_bytes`; zero or less is no limit.
    pub fn new(limit_bytes: i64) -> Self {
        let shared = (limit_bytes > 0).then(|| {
            Arc::new(Shared {
                limit_bytes,
                used_bytes: AtomicI64::new(0),
                freed: Notify::new(),
            })
        });
        Self { shared }
    }

    /// What is in use, in bytes; 0 without a limit.
    pub fn used_bytes(&self) -> i64 {
        let used = |shared: &Arc<Shared>| shared.used_bytes.load(Ordering::Relaxed);
        self.shared.as_ref().map_or(0, used)
    }

    /// A charge of a budget without a limit, which nobody waits for; `None` when there is one.
    pub fn unlimited(&self) -> Option<Charge> {
        let nothing = Charge {
            shared: None,
            bytes: 0,
        };
        self.shared.is_none().then_some(nothing)
    }

    /// Waits until anything is left, then takes `bytes`.
    pub async fn charge(&self, bytes: usize) -> Charge {
        let mut charge = Charge {
            shared: self.shared.clone(),
            bytes: 0,
        };
        let Some(shared) = &self.shared else {
            return charge;
        };
        loop {
            let freed = shared.freed.notified();
            if !shared.is_full() {
                break;
            }
            freed.await;
        }
        charge.add(bytes);
        if !shared.is_full() {
            // Something is left for who waits next. Without this it would wait until this charge is dropped, which
            // a slow client decides.
            shared.freed.notify_one();
        }
        charge
    }
}

impl Charge {
    /// Takes more without waiting: what a request grows to when it is decoded.
    pub fn add(&mut self, bytes: usize) {
        if let Some(shared) = &self.shared {
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            self.bytes = self.bytes.saturating_add(bytes);
            shared.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.used_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
            // One waiter a charge: it passes the turn on when it leaves something.
            shared.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::clock;

    #[tokio::test(start_paused = true)]
    async fn a_full_budget_makes_the_next_wait() {
        let budget = Budget::new(100);
        let first = budget.charge(150).await;
        assert!(
            clock::timeout(Duration::from_secs(1), budget.charge(1))
                .await
                .is_none()
        );
        drop(first);
        let second = clock::timeout(Duration::from_secs(1), budget.charge(1)).await;
        assert!(second.is_some());
        assert_eq!(budget.used_bytes(), 1);
        drop(second);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_served_passes_the_turn_on() {
        let budget = Budget::new(100);
        let first = budget.charge(150).await;
        let second = || async { budget.charge(1).await };
        let waiting = async { tokio::join!(second(), second(), second()) };
        let (charges, ()) = tokio::join!(clock::timeout(Duration::from_secs(1), waiting), async {
            clock::sleep(Duration::from_millis(1)).await;
            drop(first);
        });
        assert!(charges.is_some(), "each kept its charge, and all were served");
    }
}
