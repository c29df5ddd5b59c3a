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

impl QueuedAnswer {
    /// What it holds in memory, as far as it is there.
    fn bytes_held(&self) -> usize {
        match self {
            Self::Ready(response) => response.bytes_held(),
            Self::Pending(_) => 0,
        }
    }
}

/// What the answers of one connection may hold in memory before no further request is read: a client that does not read
/// keeps so much and one answer more. Kafka reads the next request when the answer is out.
pub(super) const BYTES_HELD: usize = 256 * 1024;

#[derive(Default)]
struct State {
    waiting: VecDeque<Queued>,
    waiting_bytes: usize,
    /// Answers taken by the writer and not written yet.
    writing: usize,
    writing_bytes: usize,
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

    /// What answers hold that are not written yet, in bytes.
    #[cfg(test)]
    pub(super) fn bytes_held(&self) -> usize {
        let state = self.state();
        state.waiting_bytes + state.writing_bytes
    }

    /// True when fewer answers are owed than the bound, and these hold less than [`BYTES_HELD`].
    pub(super) fn has_room(&self) -> bool {
        let state = self.state();
        state.waiting.len() + state.writing < self.bound
            && state.waiting_bytes + state.writing_bytes < BYTES_HELD
    }

    /// Waits until there is room.
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
        let mut state = self.state();
        state.waiting_bytes += queued.answer.bytes_held();
        state.waiting.push_back(queued);
    }

    /// Waits for the next answer that is owed.
    pub(super) async fn next(&self) -> Queued {
        poll_fn(|_| self.take().map_or(Poll::Pending, Poll::Ready)).await
    }

    fn take(&self) -> Option<Queued> {
        let mut state = self.state();
        let queued = state.waiting.pop_front()?;
        let bytes = queued.answer.bytes_held();
        state.writing += 1;
        state.waiting_bytes -= bytes;
        state.writing_bytes += bytes;
        Some(queued)
    }

    /// An answer that was taken before it was there holds so much.
    pub(super) fn has_come(&self, bytes: usize) {
        self.state().writing_bytes += bytes;
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
        let mut state = self.state();
        state.writing = 0;
        state.writing_bytes = 0;
        drop(state);
        self.written.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::budget::Budget;
    use super::*;
    use crate::base::clock;
    use crate::wire::api_key::ApiKey;
    use crate::wire::response::ResponseWriter;

    fn answer(bytes: usize) -> Response {
        let mut writer = ResponseWriter::new(ApiKey::Metadata, 0, bytes);
        writer.bytes().raw(&vec![1; bytes]);
        writer.finish()
    }

    async fn push(queue: &AnswerQueue, answer: QueuedAnswer) {
        queue.push(Queued {
            correlation_id: 1,
            answer,
            charge: Budget::new(-1).charge(0).await,
        });
    }

    async fn has_room(queue: &AnswerQueue) -> bool {
        let waited = clock::timeout(Duration::from_secs(1), queue.room()).await;
        waited.is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_nobody_takes_hold_up_requests_by_their_bytes() {
        let queue = AnswerQueue::new(64);
        push(&queue, QueuedAnswer::Ready(answer(BYTES_HELD / 2))).await;
        assert!(has_room(&queue).await);
        push(&queue, QueuedAnswer::Ready(answer(BYTES_HELD / 2))).await;
        assert!(!has_room(&queue).await);
        queue.next().await;
        assert!(!has_room(&queue).await, "taken, not written");
        queue.written();
        assert!(has_room(&queue).await);
        assert!(queue.bytes_held() > BYTES_HELD / 2);
        assert!(queue.next_if_ready().is_some());
        queue.written();
        assert_eq!((queue.bytes_held(), queue.in_flight()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_comes_late_counts_from_then_on() {
        let queue = AnswerQueue::new(64);
        push(
            &queue,
            QueuedAnswer::Pending(Box::pin(async { answer(BYTES_HELD) })),
        )
        .await;
        assert!(has_room(&queue).await);
        let taken = queue.next().await;
        let QueuedAnswer::Pending(pending) = taken.answer else {
            panic!("it is not there yet");
        };
        queue.has_come(pending.await.bytes_held());
        assert!(!has_room(&queue).await);
        queue.written();
        assert!(has_room(&queue).await);
    }
}
