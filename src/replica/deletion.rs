//! DeleteRecords: raising the log start offset (Kafka's `ReplicaManager.deleteRecords`, `DelayedDeleteRecords`).

use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::{self, Instant};
use crate::base::error_code::ErrorCode;
use crate::base::ids::Offset;
use crate::metadata::is_internal_topic;

use super::partition::Partition;
use super::replicas::Replicas;
use super::waiting::{Progress, Ticket, Wants};

/// The offset that stands for the high watermark.
const HIGH_WATERMARK: i64 = -1;

/// What raising a partition's log start offset did.
pub struct Deleted {
    /// The least log start offset of all replicas.
    pub low_watermark: i64,
    /// Set while replicas are still behind.
    pub pending: Option<PendingDelete>,
}

/// A raised offset that not all replicas have.
pub struct PendingDelete {
    partition: Arc<Partition>,
    required: Offset,
    seen: Progress,
}

/// How waiting for the replicas ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeleteResult {
    /// 0, REQUEST_TIMED_OUT, NOT_LEADER_OR_FOLLOWER or KAFKA_STORAGE_ERROR.
    pub error: ErrorCode,
    /// The least log start offset of all replicas; −1 after an error.
    pub low_watermark: i64,
}

impl Replicas {
    /// Raises a partition's log start offset to `offset`, −1 for the high watermark. Segments that are wholly below it
    /// go with the next retention check.
    ///
    /// # Errors
    /// The code for the client.
    pub fn delete_records(&self, topic: &str, partition: i32, offset: i64) -> Result<Deleted, ErrorCode> {
        if is_internal_topic(topic) {
            return Err(ErrorCode::InvalidTopicException);
        }
        let (deleted, wakes) = self.find(topic, partition)?.delete_records(offset)?;
        wakes.dispatch();
        Ok(deleted)
    }

    /// Registers deletions that wait for followers.
    pub fn wait_for_low_watermark(
        self: &Arc<Self>,
        pending: Vec<PendingDelete>,
        timeout: Duration,
    ) -> PendingDeletes {
        let mut waiting = PendingDeletes {
            replicas: Arc::clone(self),
            results: vec![None; pending.len()],
            pending,
            ticket: None,
            deadline: Instant::now().after(timeout),
        };
        waiting.register();
        waiting
    }
}

impl Partition {
    /// Raises the log start offset (`Partition.deleteRecordsOnLeader`).
    fn delete_records(self: &Arc<Self>, offset: i64) -> Result<(Deleted, super::waiting::Wakes), ErrorCode> {
        let mut locked = self.lock()?;
        let state = &mut *locked.state;
        if !state.leadership.is_leader() {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        if !state.log.config().delete {
            return Err(ErrorCode::PolicyViolation);
        }
        let required = match offset {
            HIGH_WATERMARK => state.log.high_watermark(),
            0.. => Offset(offset),
            _ => return Err(ErrorCode::OffsetOutOfRange),
        };
        if state.log.raise_log_start_offset(required).is_none() {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        let wakes = state.settle();
        let seen = state.progress();
        let deleted = Deleted {
            low_watermark: seen.log_start.get(),
            pending: (seen.log_start < required).then(|| PendingDelete {
                partition: Arc::clone(self),
                required,
                seen,
            }),
        };
        Ok((deleted, wakes))
    }

    fn low_watermark_reached(&self, required: Offset) -> Option<DeleteResult> {
        let failed = |error| {
            Some(DeleteResult {
                error,
                low_watermark: -1,
            })
        };
        let locked = match self.lock() {
            Ok(locked) => locked,
            Err(error) => return failed(error),
        };
        if !locked.state.leadership.is_leader() {
            return failed(ErrorCode::NotLeaderOrFollower);
        }
        let low_watermark = locked.state.progress().log_start;
        (low_watermark >= required).then_some(DeleteResult {
            error: ErrorCode::None,
            low_watermark: low_watermark.get(),
        })
    }
}

/// Deletions that wait for followers. Dropping it takes them out of the partitions.
pub struct PendingDeletes {
    replicas: Arc<Replicas>,
    pending: Vec<PendingDelete>,
    results: Vec<Option<DeleteResult>>,
    ticket: Option<Ticket>,
    deadline: Instant,
}

impl PendingDeletes {
    fn register(&mut self) -> bool {
        self.leave();
        let mut missing = 0;
        for (one, result) in self.pending.iter().zip(&mut self.results) {
            if result.is_none() {
                *result = one.partition.low_watermark_reached(one.required);
                missing += usize::from(result.is_none());
            }
        }
        let wanted = i64::try_from(missing).unwrap_or(i64::MAX);
        if missing == 0 {
            return true;
        }
        let Some(ticket) = self.replicas.parking().enter(missing, wanted) else {
            return true;
        };
        for (slot, (one, result)) in (0u32..).zip(self.pending.iter().zip(&self.results)) {
            if result.is_none() {
                one.partition
                    .wait(&ticket.parked, slot, Wants::LowWatermark(one.required), one.seen)
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

    /// Waits; yields how each deletion ended, in order.
    pub async fn finish(mut self) -> Vec<DeleteResult> {
        while let Some(ticket) = &self.ticket {
            let left = self.deadline.since(Instant::now());
            let woken = clock::timeout(left, ticket.parked.woken()).await.is_some();
            if self.register() || !woken {
                break;
            }
        }
        let timed_out = DeleteResult {
            error: ErrorCode::RequestTimedOut,
            low_watermark: -1,
        };
        self.results
            .iter()
            .map(|result| result.unwrap_or(timed_out))
            .collect()
    }
}

impl Drop for PendingDeletes {
    fn drop(&mut self) {
        self.leave();
    }
}
