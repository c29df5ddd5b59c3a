//! What happens on one connection, for who decides whether it stays: its task, which lets idle ones go, and admission,
//! which makes room.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::base::clock::{self, Instant};

/// When the last whole request came or the last bytes of an answer left, and whether a request is being handled.
///
/// An answer that is owed is no activity, as in Kafka: a client that takes none, or that is gone behind a full window,
/// would else stay for good with all it holds. Nor are bytes of a request that is not whole yet.
pub struct Activity {
    last: Mutex<Instant>,
    busy: AtomicBool,
    close: Notify,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            last: Mutex::new(Instant::now()),
            busy: AtomicBool::new(false),
            close: Notify::new(),
        }
    }

    pub(super) fn begin(&self) {
        self.busy.store(true, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.busy.store(false, Ordering::Relaxed);
        self.touch();
    }

    /// Something moved.
    pub(super) fn touch(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// When something moved.
    pub(super) fn last(&self) -> Instant {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True while a request is being handled.
    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }

    /// Has the connection closed by its task.
    pub(super) fn close(&self) {
        self.close.notify_one();
    }

    /// Waits until the connection is to be closed. For one task.
    pub(super) async fn closed(&self) {
        self.close.notified().await;
    }

    /// Returns when nothing moved for `limit`. One timer a connection, set again only when it fires.
    pub(super) async fn idle(&self, limit: Duration) {
        loop {
            let (last, busy) = (self.last(), self.is_busy());
            let deadline = if busy {
                Instant::now().after(limit)
            } else {
                last.after(limit)
            };
            if !busy && deadline <= Instant::now() {
                return;
            }
            clock::sleep_until(deadline).await;
        }
    }
}
