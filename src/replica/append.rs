//! Append across partitions, and waiting for replication (Kafka's `ReplicaManager.appendRecords`, `DelayedProduce`).
//!
//! The append itself is over when [`Replicas::append`] returns: refused, or in the log. Who appends to several partitions
//! begins with all of them, as one of their directories may not answer. With acks=all and followers the acknowledgement
//! comes later, through [`PendingAcks`].

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::base::clock::{self, Instant};
use crate::base::error_code::ErrorCode;

use super::answers::{AppendAnswer, PendingAck};
use super::replicas::Replicas;
use super::waiting::{Ticket, Wants};
use crate::storage::producer_state::Origin;

/// An append that has begun.
pub enum Appending {
    /// It is over.
    Done(AppendAnswer),
    /// It waits for a directory whose calls do not return, on the pool of that.
    Waits(Pin<Box<dyn Future<Output = AppendAnswer> + Send>>),
}

impl Appending {
    /// Waits until it is over.
    pub async fn done(self) -> AppendAnswer {
        match self {
            Self::Done(answer) => answer,
            Self::Waits(answer) => answer.await,
        }
    }
}

impl Replicas {
    /// Appends `records` to one partition and says how that went. With acks −1 the answer may be pending. Does not wait
    /// for anything, unless the calls into the log directory do not return: then for those, on its pool.
    pub async fn append(
        &self,
        topic: &str,
        partition: i32,
        records: &Bytes,
        acks: i16,
        origin: Origin,
        now_ms: i64,
    ) -> AppendAnswer {
        self.begin_append(topic, partition, records, acks, origin, now_ms)
            .done()
            .await
    }

    /// The same without waiting. Appends to one partition that wait are not carried out in any order.
    pub fn begin_append(
        &self,
        topic: &str,
        partition: i32,
        records: &Bytes,
        acks: i16,
        origin: Origin,
        now_ms: i64,
    ) -> Appending {
        let Some(found) = self.partition(topic, partition) else {
            return Appending::Done(AppendAnswer::failed(self.missing(topic, partition)));
        };
        if let Some((answer, wakes)) = found.append(records, acks, origin, now_ms) {
            wakes.dispatch();
            return Appending::Done(answer);
        }
        let pool = found.pool().clone();
        let records = records.clone();
        let appended = pool.begin(move || found.append_on_pool(&records, acks, origin, now_ms));
        Appending::Waits(Box::pin(async move {
            let Ok((answer, wakes)) = appended.await else {
                return AppendAnswer::failed(ErrorCode::UnknownServerError);
            };
            wakes.dispatch();
            answer
        }))
    }

    /// Registers appends that wait for followers. Call it before the handler's ordering point.
    pub fn wait_for_replication(
        self: &Arc<Self>,
        pending: Vec<PendingAck>,
        timeout: Duration,
    ) -> PendingAcks {
        let results = vec![None; pending.len()];
        let mut waiting = PendingAcks {
            replicas: Arc::clone(self),
            pending,
            results,
            ticket: None,
            deadline: Instant::now().after(timeout),
        };
        waiting.register();
        waiting
    }
}

/// Appends that wait for followers. Dropping it takes them out of the partitions.
pub struct PendingAcks {
    replicas: Arc<Replicas>,
    pending: Vec<PendingAck>,
    results: Vec<Option<ErrorCode>>,
    ticket: Option<Ticket>,
    deadline: Instant,
}

impl PendingAcks {
    /// Looks at each partition, and registers with those that are still behind. True when none is, or when no room is
    /// left to wait.
    fn register(&mut self) -> bool {
        self.leave();
        let mut missing = 0;
        for (one, result) in self.pending.iter().zip(&mut self.results) {
            if result.is_none() {
                *result = one.partition.acknowledged(one.required, one.resigned);
                missing += usize::from(result.is_none());
            }
        }
        if missing == 0 {
            return true;
        }
        let Some(ticket) = self
            .replicas
            .parking()
            .enter(missing, i64::try_from(missing).unwrap_or(i64::MAX))
        else {
            return true;
        };
        for (slot, (one, result)) in (0u32..).zip(self.pending.iter().zip(&self.results)) {
            if result.is_none() {
                one.partition
                    .wait(&ticket.parked, slot, Wants::HighWatermark(one.required), one.seen)
                    .dispatch();
            }
        }
        self.ticket = Some(ticket);
        false
    }

    fn leave(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            for (slot, one) in (0u32..).zip(&self.pending) {
                one.partition.leave(&ticket.parked, slot);
            }
        }
    }

    /// Waits; yields the code of each append in order: 0, or REQUEST_TIMED_OUT, NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    /// NOT_LEADER_OR_FOLLOWER, KAFKA_STORAGE_ERROR.
    pub async fn finish(mut self) -> Vec<ErrorCode> {
        while let Some(ticket) = &self.ticket {
            let left = self.deadline.since(Instant::now());
            let woken = clock::timeout(left, ticket.parked.woken()).await.is_some();
            if self.register() || !woken {
                break;
            }
        }
        self.results
            .iter()
            .map(|result| result.unwrap_or(ErrorCode::RequestTimedOut))
            .collect()
    }
}

impl Drop for PendingAcks {
    fn drop(&mut self) {
        self.leave();
    }
}
