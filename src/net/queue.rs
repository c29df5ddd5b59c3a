//! The answers of one connection, in the order of its requests.
//!
//! The reader pushes, the writer takes; both are halves of one task, so the lock is never contended. Invariant: each poll
//! of that task polls the reader before the writer. So a push wakes nobody: the writer looks anyway, and a wake would have
//! the task polled once more for nothing.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::sync::Notify;

use super::budget::Charge;
use crate::api::Pending;
use crate::wire::response::Response;

/// An answer that is there or will be, with what its request holds in memory.
pub(super) struct Queued {
    pub(super) correlation_id: i32,
    pub(super) answer: QueuedAnswer,
    /// Given back when the answer was written.
    pub(super) charge: Charge,
}

pub(super) enum QueuedAnswer {
    Ready(Response),
    Pending(Pending),
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Queued>,
    /// Answers taken by the writer and not written yet.
    writing: usize,
}

/// A bounded queue.
pub(super) struct AnswerQueue {
    state: Mutex<State>,
    written: Notify,
    bound: usize,
}

impl AnswerQueue {
    pub(super) fn new(bound: usize) -> Self {
        Self {
            state: Mutex::default(),
            written: Notify::new(),
            bound,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests whose answers are not written yet.
    pub(super) fn in_flight(&self) -> usize {
        let state = self.state();
        state.waiting.len() + state.writing
    }

    /// True when fewer answers are owed than the bound.
    pub(super) fn has_room(&self) -> bool {
        self.in_flight() < self.bound
    }

    /// Waits until fewer answers are owed than the bound.
    pub(super) async fn room(&self) {
        while !self.has_room() {
            self.written.notified().await;
        }
    }

    /// Waits until no answer is owed.
    pub(super) async fn drained(&self) {
        while self.in_flight() > 0 {
            self.written.notified().await;
        }
    }

    /// Waits until no answer is owed and none will be, `busy` being true while a request is handled that has none yet.
    pub(super) async fn quiet(&self, busy: impl Fn() -> bool) {
        while busy() || self.in_flight() > 0 {
            self.written.notified().await;
        }
    }

    pub(super) fn push(&self, queued: Queued) {
        self.state().waiting.push_back(queued);
    }

    /// Waits for the next answer that is owed.
    pub(super) async fn next(&self) -> Queued {
        poll_fn(|_| self.take().map_or(Poll::Pending, Poll::Ready)).await
    }

    fn take(&self) -> Option<Queued> {
        let mut state = self.state();
        let queued = state.waiting.pop_front()?;
        state.writing += 1;
        Some(queued)
    }

    /// The next answer, when it is there already.
    pub(super) fn next_if_ready(&self) -> Option<Queued> {
        if !matches!(self.state().waiting.front()?.answer, QueuedAnswer::Ready(_)) {
            return None;
        }
        self.take()
    }

    /// All that was taken is written.
    pub(super) fn written(&self) {
        self.state().writing = 0;
        self.written.notify_one();
    }
}
