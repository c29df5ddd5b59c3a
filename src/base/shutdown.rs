//! The signal that a broker is to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Tells tasks that the broker stops; clones share the signal.
#[derive(Clone, Default)]
pub struct Shutdown(Arc<Signal>);

#[derive(Default)]
struct Signal {
    begun: AtomicBool,
    /// Wakes in the order of waiting. A `watch` channel spreads its waiters at random, which no seed could repeat.
    waiting: Notify,
}

impl Shutdown {
    /// A signal that has not been given yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the signal. Giving it again changes nothing.
    pub fn begin(&self) {
        self.0.begun.store(true, Ordering::SeqCst);
        self.0.waiting.notify_waiters();
    }

    /// True once the signal was given.
    pub fn begun(&self) -> bool {
        self.0.begun.load(Ordering::SeqCst)
    }

    /// Waits until the signal is given; at once when it was.
    pub async fn wait(&self) {
        // Made before the look at the flag: it hears of every signal from here on.
        let given = self.0.waiting.notified();
        if !self.begun() {
            given.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::task;

    #[tokio::test]
    async fn the_signal_reaches_who_waits_and_who_comes_later() {
        let shutdown = Shutdown::new();
        let waiting = task::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.wait().await }
        });
        tokio::task::yield_now().await;
        assert!(!shutdown.begun() && !waiting.is_finished());
        shutdown.begin();
        waiting.await.unwrap();
        shutdown.wait().await;
        assert!(shutdown.begun());
    }
}
