//! Answers that wait until their records are below the high watermark.
//!
//! Invariant: answers of one shard leave in the order of their records, and one task at most follows a shard, only
//! while something waits. On a broker of one nothing ever waits here. Filled by `slot` under the shard's lock, emptied
//! by the follower, which takes no other lock: a shard that hangs in a write holds up no answer of an earlier one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::base::clock::Instant;
use crate::base::error_code::ErrorCode;
use crate::replica::answers::{PendingAck, PendingFlush};
use crate::replica::replicas::Replicas;

use super::shard::Shard;

/// How many writes of one shard may wait for replication. Beyond, the shard takes no commands: each holds answers.
pub const MAX_UNREPLICATED: usize = 10_000;

/// Answers with those who wait for them.
pub type Deliveries<A> = Vec<(oneshot::Sender<A>, A)>;

/// Gives everybody the answer. Who does not wait any more gets none.
pub fn deliver<A>(deliveries: Deliveries<A>) {
    for (client, answer) in deliveries {
        let _ = client.send(answer);
    }
}

/// A write that is in the log and not acknowledged yet.
pub struct Unreplicated<A> {
    /// What its acknowledgement waits for.
    pub pending: Option<PendingAck>,
    /// What must be synced first, where the topic says so.
    pub flush: Option<PendingFlush>,
    /// When its clients are told that it took too long.
    pub deadline: Instant,
    /// What it is answered with.
    pub answers: Deliveries<A>,
}

/// The writes of one shard, in their order.
pub struct Queue<A>(Mutex<Waiting<A>>);

struct Waiting<A> {
    writes: VecDeque<Unreplicated<A>>,
    followed: bool,
}

impl<A> Default for Queue<A> {
    fn default() -> Self {
        Self(Mutex::new(Waiting {
            writes: VecDeque::new(),
            followed: false,
        }))
    }
}

impl<A> Queue<A> {
    fn waiting(&self) -> MutexGuard<'_, Waiting<A>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a write. True when somebody must begin to follow.
    pub fn push(&self, write: Unreplicated<A>) -> bool {
        let mut waiting = self.waiting();
        waiting.writes.push_back(write);
        !std::mem::replace(&mut waiting.followed, true)
    }

    /// True when no more may wait.
    pub fn is_full(&self) -> bool {
        self.waiting().writes.len() >= MAX_UNREPLICATED
    }

    /// The next write; with the last one the following ends.
    fn pop(&self) -> Option<Unreplicated<A>> {
        let mut waiting = self.waiting();
        let next = waiting.writes.pop_front();
        waiting.followed = next.is_some();
        next
    }
}

/// Waits for the writes of a shard, one after the other, until none is left.
pub async fn follow<S: Shard>(replicas: Arc<Replicas>, queue: Arc<Queue<S::Answer>>) {
    while let Some(write) = queue.pop() {
        let mut error = ErrorCode::None;
        if let Some(pending) = write.pending {
            let left = write.deadline.since(Instant::now());
            let waiting = replicas.wait_for_replication(vec![pending], left);
            error = waiting
                .finish()
                .await
                .first()
                .copied()
                .unwrap_or(ErrorCode::UnknownServerError);
        }
        if let Some(flush) = write.flush
            && error.is_none()
        {
            error = flush.done().await;
        }
        deliver(outcome::<S>(write.answers, error));
    }
}

/// The answers as they are once it is known how the replication went.
pub fn outcome<S: Shard>(answers: Deliveries<S::Answer>, error: ErrorCode) -> Deliveries<S::Answer> {
    if error.is_none() {
        return answers;
    }
    answers
        .into_iter()
        .map(|(client, answer)| (client, S::not_replicated(answer, error)))
        .collect()
}
