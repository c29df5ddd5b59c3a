//! The leader's append to one partition, and what its acknowledgement waits for (Kafka's `Partition.appendRecordsToLeader`,
//! `checkEnoughReplicasReachOffset`).
//!
//! Invariant: what `flush.messages` wants synced first is synced whether anybody waits for it or not, and is below no high
//! watermark before. An append is acknowledged by the reign in which it was made, or not at all.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::base::clock;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{LeaderEpoch, Offset, TopicPartition};
use crate::records::validate::{self, LookedAt};
use crate::storage::log::{AppendError, FlushWork};
use crate::storage::producer_state::{Origin, Verification};

use super::answers::{AppendAnswer, PendingAck, PendingFlush, RecordError};
use super::partition::{Locked, Partition, State};
use super::waiting::Wakes;

impl State {
    /// The leader epoch to append in, when an append with these `acks` is taken.
    fn check_append(&self, acks: i16) -> Result<LeaderEpoch, ErrorCode> {
        let min_insync_replicas = self.log.config().min_insync_replicas;
        self.leadership.check_append(acks, min_insync_replicas)
    }
}

impl Partition {
    /// Appends what a producer or a coordinator sent (`Partition.appendRecordsToLeader`). `None` while the calls into
    /// the directory do not return: then [`append_on_pool`](Self::append_on_pool) may wait for them.
    pub(super) fn append(
        self: &Arc<Self>,
        records: &Bytes,
        acks: i16,
        origin: Origin,
        now_ms: i64,
    ) -> Option<(AppendAnswer, Wakes)> {
        let looked_at = look_at(records, acks, origin, now_ms, || self.lock());
        match self.lock() {
            Ok(locked) => Some(self.append_locked(locked, records, acks, origin, now_ms, looked_at.as_ref())),
            Err(_) if self.is_stalled() => None,
            Err(error) => Some((AppendAnswer::failed(error), Wakes::default())),
        }
    }

    /// As [`append`](Self::append), on a thread that may wait.
    pub(super) fn append_on_pool(
        self: &Arc<Self>,
        records: &Bytes,
        acks: i16,
        origin: Origin,
        now_ms: i64,
    ) -> (AppendAnswer, Wakes) {
        let looked_at = look_at(records, acks, origin, now_ms, || self.lock_on_pool());
        match self.lock_on_pool() {
            Ok(locked) => self.append_locked(locked, records, acks, origin, now_ms, looked_at.as_ref()),
            Err(error) => (AppendAnswer::failed(error), Wakes::default()),
        }
    }

    pub(super) fn append_locked(
        self: &Arc<Self>,
        mut locked: Locked<'_>,
        records: &Bytes,
        acks: i16,
        origin: Origin,
        now_ms: i64,
        looked_at: Option<&LookedAt>,
    ) -> (AppendAnswer, Wakes) {
        let failed = |error| (AppendAnswer::failed(error), Wakes::default());
        let state = &mut *locked.state;
        let epoch = match state.check_append(acks) {
            Ok(epoch) => epoch,
            Err(error) => return failed(error),
        };
        let appended =
            state
                .log
                .append_as_leader(records, epoch, origin, Verification::Disabled, now_ms, looked_at);
        let info = match appended {
            Ok(info) => info,
            Err(error) => {
                return (
                    refusal(self.name(), &error, state.log.log_start_offset()),
                    Wakes::default(),
                );
            }
        };
        state.note_appended(info.bytes);
        if info.flush_first && info.flush.is_some() {
            let before = info.first_offset.unwrap_or(info.last_offset);
            state.synced.get_or_insert(before);
            state.syncing += 1;
        }
        let wakes = state.settle();
        let required = info.last_offset.plus(1);
        let mut answer = AppendAnswer {
            base_offset: info.first_offset.unwrap_or(Offset::NONE).get(),
            log_append_time_ms: info.log_append_time_ms,
            log_start_offset: info.log_start_offset.get(),
            ..AppendAnswer::failed(ErrorCode::None)
        };
        if acks == -1 {
            let seen = state.progress();
            if seen.high_watermark >= required {
                answer.error = state
                    .leadership
                    .acknowledgement(state.log.config().min_insync_replicas);
            } else {
                answer.pending = Some(PendingAck {
                    partition: Arc::clone(self),
                    required,
                    resigned: state.resigned,
                    seen,
                });
            }
        }
        drop(locked);
        if let Some(flush) = info.flush {
            if info.flush_first {
                answer.flush = Some(self.start_flush_first(flush));
            } else {
                self.start_flush(flush);
            }
        }
        (answer, wakes)
    }

    /// Syncs on the directory's pool, and does not wait for it.
    pub(super) fn start_flush(self: &Arc<Self>, work: FlushWork) {
        let partition = Arc::clone(self);
        self.pool().start_work(move || {
            partition.run_flush(work);
        });
    }

    /// Syncs on the directory's pool what nobody may see before.
    fn start_flush_first(self: &Arc<Self>, work: FlushWork) -> PendingFlush {
        let (done, pending) = oneshot::channel();
        let partition = Arc::clone(self);
        self.pool().start_work(move || {
            let flushed = partition.run_flush(work);
            let mut state = partition.lock_blocking();
            state.syncing = state.syncing.saturating_sub(1);
            // After a failure nothing is served any more.
            state.synced = (state.syncing > 0).then(|| state.log.recovery_point());
            let wakes = state.settle();
            drop(state);
            wakes.dispatch();
            // Who asked for it may be gone.
            let _ = done.send(flushed);
        });
        PendingFlush(pending)
    }

    /// Syncs, and notes what is durable from then on. Blocks. True when it succeeded.
    pub(super) fn run_flush(&self, work: FlushWork) -> bool {
        match work.run() {
            Ok(flushed) => {
                self.lock_blocking().log.flushed(flushed, clock::now_ms());
                true
            }
            // The volume is offline now and has said so.
            Err(_) => false,
        }
    }

    /// The high watermark, while this broker has `resigned` so often.
    pub(super) fn high_watermark_unless_resigned(&self, resigned: u64) -> Result<Offset, ErrorCode> {
        let locked = self.lock()?;
        match locked.state.resigned == resigned {
            true => Ok(locked.state.log.high_watermark()),
            false => Err(ErrorCode::NotLeaderOrFollower),
        }
    }

    /// What a produce with acks=all is told that waits for the high watermark to reach `required`, and was appended when
    /// this broker had `resigned` so often; `None` while it has to wait (`Partition.checkEnoughReplicasReachOffset`).
    pub fn acknowledged(&self, required: Offset, resigned: u64) -> Option<ErrorCode> {
        let locked = match self.lock() {
            Ok(locked) => locked,
            Err(error) => return Some(error),
        };
        let state = &*locked.state;
        if state.resigned != resigned {
            // Others led meanwhile: what lies there now may be theirs.
            return Some(ErrorCode::NotLeaderOrFollower);
        }
        let reached = state.log.high_watermark() >= required;
        if reached || !state.leadership.is_leader() {
            Some(
                state
                    .leadership
                    .acknowledgement(state.log.config().min_insync_replicas),
            )
        } else {
            None
        }
    }
}

/// Goes through the records of a compressed batch before the log is locked for good: others append meanwhile, where Kafka
/// has them wait. What is wrong is left for the append to say.
fn look_at<'a>(
    records: &Bytes,
    acks: i16,
    origin: Origin,
    now_ms: i64,
    lock: impl FnOnce() -> Result<Locked<'a>, ErrorCode>,
) -> Option<LookedAt> {
    if !validate::take_long(records) {
        return None;
    }
    let locked = lock().ok()?;
    locked.state.check_append(acks).ok()?;
    let rules = locked.state.log.rules();
    drop(locked);
    validate::look_at(records, now_ms, rules, origin)
}

/// Kafka's answer to an append that its log refused (`ReplicaManager.appendToLocalLog`).
fn refusal(name: &TopicPartition, error: &AppendError, log_start_offset: Offset) -> AppendAnswer {
    let code = match error {
        AppendError::Io(_) => ErrorCode::KafkaStorageError,
        AppendError::Invalid(invalid) => invalid.code,
        AppendError::LargerThanSegment { .. } => ErrorCode::RecordListTooLarge,
        AppendError::Producer(error) => error.code(),
        AppendError::Corrupt(_) => ErrorCode::CorruptMessage,
        AppendError::OffsetsOutOfOrder { .. }
        | AppendError::UnexpectedOffset { .. }
        | AppendError::CorruptLog(_) => ErrorCode::UnknownServerError,
    };
    let mut answer = AppendAnswer::failed(code);
    // These are expected and say nothing but their code; the others tell the log start offset too.
    if matches!(
        code,
        ErrorCode::KafkaStorageError
            | ErrorCode::MessageTooLarge
            | ErrorCode::RecordListTooLarge
            | ErrorCode::CorruptMessage
    ) {
        tracing::debug!(partition = %name, %error, "append refused");
        return answer;
    }
    tracing::info!(partition = %name, %error, "append refused");
    answer.log_start_offset = log_start_offset.get();
    if let AppendError::Invalid(invalid) = error {
        answer.message = invalid.client_message().map(str::to_owned);
        answer.record_errors = invalid
            .record_errors
            .iter()
            .map(|one| RecordError {
                batch_index: one.batch_index,
                message: one.message.clone(),
            })
            .collect();
    }
    answer
}
