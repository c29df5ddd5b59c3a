//! What a follower does with its partition: appends what the leader sent, gives up what the leader does not have (Kafka:
//! `ReplicaFetcherThread.processPartitionData`, `Partition.appendRecordsToFollowerOrFutureReplica`, `truncateTo`).
//!
//! Invariant: each change is made under the partition's lock, and only while this broker follows in the leader epoch that
//! the leader was asked in: an answer that comes later changes nothing. The high watermark rises after what it covers was
//! compared with the leader's log and appended, never before (KAFKA-14704), and goes down only with a truncation.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::clock;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{LeaderEpoch, Offset};
use crate::base::planted::planted;
use crate::storage::leader_epochs::EpochEnd;
use crate::storage::log::{AppendError, DeletedFiles, FlushWork, Log};
use crate::storage::segment::SegmentError;

use super::background::Buried;
use super::directories::HostDirectory;
use super::partition::{Locked, Partition};
use super::replicas::Replicas;
use super::together;
use super::truncation::{self, Cut};
use super::waiting::Wakes;

/// Where a follower stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Position {
    /// What it has ends here.
    pub(super) log_end: Offset,
    /// What it has begins here.
    pub(super) log_start: Offset,
    /// The epoch of its last record; `None` when it knows no epochs.
    pub(super) last_epoch: Option<LeaderEpoch>,
    /// Below this it is replicated.
    pub(super) high_watermark: Offset,
}

impl Position {
    fn of(log: &Log) -> Self {
        Self {
            log_end: log.log_end_offset(),
            log_start: log.log_start_offset(),
            last_epoch: log.latest_epoch(),
            high_watermark: log.high_watermark(),
        }
    }
}

/// Why a follower did not do what it was to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum FollowError {
    /// It does not follow in this epoch any more.
    Outdated,
    /// The log does not end any more where it did when the leader was asked.
    MovedOn,
    /// Its directory does not answer just now.
    Stalled,
    /// Its directory is offline.
    Storage,
    /// The records are not what a leader may send, or not what comes next.
    Refused(String),
}

/// What a leader answered about a partition.
pub(super) struct Fetched {
    /// The epoch it was asked in.
    pub(super) epoch: LeaderEpoch,
    /// Where it was asked from.
    pub(super) offset: Offset,
    /// Whole batches, the last one perhaps cut.
    pub(super) records: Option<Bytes>,
    /// The leader's high watermark.
    pub(super) high_watermark: Offset,
    /// The leader's log start.
    pub(super) log_start: Offset,
}

/// What an append of fetched records did.
pub(super) struct Taken {
    pub(super) position: Position,
    /// To be synced before the leader is told (`flush.messages`).
    pub(super) flush: Option<FlushWork>,
    /// Whether what was fetched counts as a throttled replica's.
    pub(super) throttled: bool,
}

/// Why a log is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// The leader's log parts from it.
    Diverging(EpochEnd),
    /// Nothing is known of its epochs: what is not known to be replicated goes.
    ToHighWatermark,
    /// The leader's log, from start to end, does not have the place to fetch from.
    OutOfRange {
        leader_start: Offset,
        leader_end: Offset,
    },
    /// The leader's log begins within a batch, whose first offset this is.
    WithinBatch(Offset),
}

/// A log that is to be cut.
pub(super) struct ToCut {
    pub(super) partition: Arc<Partition>,
    pub(super) epoch: LeaderEpoch,
    pub(super) order: Order,
}

/// What is left to do after a cut.
struct AfterCut {
    position: Position,
    files: DeletedFiles,
    flush: Option<FlushWork>,
    below_start: bool,
    below_high_watermark: bool,
    /// What was cleaned went down with it.
    below_cleaned: bool,
}

enum CutStep {
    /// The recovery points are to be written first.
    CheckpointFirst,
    Nothing(Position),
    Done(Box<AfterCut>, Wakes),
}

impl Partition {
    fn lock_following(&self, epoch: LeaderEpoch) -> Result<Locked<'_>, FollowError> {
        match self.lock() {
            Ok(locked) if locked.state.leadership.follows_in(epoch) => Ok(locked),
            Ok(_) => Err(FollowError::Outdated),
            Err(ErrorCode::KafkaStorageError) if self.directory().is_offline() => Err(FollowError::Storage),
            // Asked whether it is stalled it might say no by now.
            Err(ErrorCode::KafkaStorageError) => Err(FollowError::Stalled),
            Err(_) => Err(FollowError::Outdated),
        }
    }

    /// Where it stands as a follower in `epoch`.
    pub(super) fn position(&self, epoch: LeaderEpoch) -> Result<Position, FollowError> {
        Ok(Position::of(&self.lock_following(epoch)?.state.log))
    }

    /// Appends what the leader sent, and takes over its high watermark and log start as far as this log has them.
    pub(super) fn take_fetched(self: &Arc<Self>, fetched: &Fetched) -> Result<Taken, TakeError> {
        let mut locked = self.lock_following(fetched.epoch)?;
        let state = &mut *locked.state;
        let log_end = state.log.log_end_offset();
        // Another fetcher took it over meanwhile, and was sooner.
        if fetched.offset != log_end {
            return Err(FollowError::MovedOn.into());
        }
        let mut flush = None;
        let mut flush_first = false;
        if let Some(records) = fetched.records.as_ref().filter(|records| !records.is_empty()) {
            let appended = state
                .log
                .append_as_follower(records, fetched.epoch, clock::now_ms());
            let info = appended.map_err(|error| refusal(&state.log, error))?;
            state.note_appended(info.bytes);
            flush = info.flush;
            flush_first = info.flush_first;
        }
        // In this order: the log's start is not above its high watermark.
        state.log.raise_high_watermark(fetched.high_watermark);
        let _ = state.log.raise_log_start_offset(fetched.log_start);
        let wakes = state.settle();
        let position = Position::of(&state.log);
        let throttled = state.follows_throttled(self.name().partition);
        drop(locked);
        wakes.dispatch();
        let flush = match flush {
            Some(work) if !flush_first => {
                self.start_flush(work);
                None
            }
            flush => flush,
        };
        Ok(Taken {
            position,
            flush,
            throttled,
        })
    }

    /// Cuts the log. With `first`, only as far as no recovery point has to be written before: after a crash, records that
    /// were appended later would else be taken for checked.
    fn cut(&self, to_cut: &ToCut, first: bool) -> Result<CutStep, FollowError> {
        let mut locked = match self.lock_on_pool() {
            Ok(locked) if locked.state.leadership.follows_in(to_cut.epoch) => locked,
            Err(ErrorCode::KafkaStorageError) => return Err(FollowError::Storage),
            _ => return Err(FollowError::Outdated),
        };
        let state = &mut *locked.state;
        let log = &mut state.log;
        let before = Position::of(log);
        let cleaned = log.cleaner_checkpoint();
        let cut = decide(to_cut.order, log);
        let to = match cut {
            Cut::Nothing => return Ok(CutStep::Nothing(before)),
            Cut::To(offset) | Cut::Anew(offset) => offset,
        };
        if to < log.log_end_offset() {
            let above = first && to <= log.recovery_point();
            if log.lower_recovery_point(to) || above {
                return Ok(CutStep::CheckpointFirst);
            }
            if to.max(before.log_start) < before.high_watermark {
                tracing::error!(
                    partition = %self.name(),
                    high_watermark = %before.high_watermark,
                    log_end = %before.log_end,
                    order = ?to_cut.order,
                    "records below the high watermark are given up, from offset {to} on: the leader does not have them"
                );
            }
        }
        let now_ms = clock::now_ms();
        let truncated = if matches!(cut, Cut::Anew(_)) {
            log.truncate_fully_and_start_at(to, now_ms)
                .map_err(SegmentError::from)
        } else {
            let expiration_ms = state
                .surroundings
                .cluster
                .get()
                .broker_config
                .producer_id_expiration_ms;
            log.truncate_to(to, now_ms, expiration_ms.into())
        };
        let truncated = truncated.map_err(|error| match error {
            // Without a descriptor for a file nothing has changed, and it is tried again.
            SegmentError::Io(_) if log.volume().failure().is_none() => FollowError::Stalled,
            _ => FollowError::Storage,
        })?;
        let after = AfterCut {
            position: Position::of(log),
            files: truncated.files,
            flush: truncated.flush,
            below_start: to < before.log_start,
            below_high_watermark: to < before.high_watermark,
            below_cleaned: log.cleaner_checkpoint() != cleaned,
        };
        let wakes = state.waiters.wake_all();
        Ok(CutStep::Done(Box::new(after), wakes))
    }
}

/// Why fetched records were not appended.
pub(super) enum TakeError {
    /// As everywhere.
    Follow(FollowError),
    /// They begin below the log's end, as the leader's log begins within a batch: the log may begin anew with it.
    WithinBatch(Offset),
}

impl From<FollowError> for TakeError {
    fn from(error: FollowError) -> Self {
        Self::Follow(error)
    }
}

fn refusal(log: &Log, error: AppendError) -> TakeError {
    match error {
        // Without a descriptor for a file it is tried again.
        AppendError::Io(_) if log.volume().failure().is_none() => FollowError::Stalled.into(),
        AppendError::Io(_) => FollowError::Storage.into(),
        AppendError::UnexpectedOffset {
            first,
            last,
            log_end_offset,
        } if log.log_start_offset() == log_end_offset
            && planted!("cluster-start-in-batch", false, first < log_end_offset)
            && last >= log_end_offset =>
        {
            TakeError::WithinBatch(first)
        }
        error => FollowError::Refused(error.to_string()).into(),
    }
}

/// How a log is cut. An ordinary cut does not go below the log's start: nothing is left then, and the leader will say what
/// of its own log is to be taken.
fn decide(order: Order, log: &Log) -> Cut {
    let (start, end) = (log.log_start_offset(), log.log_end_offset());
    match order {
        Order::Diverging(leader) => {
            Cut::To(truncation::diverging(leader, log.leader_epochs(), end).max(start))
        }
        Order::ToHighWatermark => Cut::To(log.high_watermark()),
        Order::OutOfRange {
            leader_start,
            leader_end,
        } => truncation::out_of_range(leader_start, leader_end, start, end),
        Order::WithinBatch(first) if start == end => Cut::Anew(first),
        Order::WithinBatch(_) => Cut::Nothing,
    }
}

impl Replicas {
    /// Cuts logs, on the pools of their directories, and yields where each stands then, durably. In each directory the
    /// recovery points are written once for all that need it.
    pub(super) async fn cut_logs(self: &Arc<Self>, to_cut: Vec<ToCut>) -> Vec<Result<Position, FollowError>> {
        let mut results: Vec<Result<Position, FollowError>> = Vec::new();
        // What stays so was moved to another directory meanwhile, or its work panicked: it is looked at anew.
        results.resize(to_cut.len(), Err(FollowError::Stalled));
        let mut left: Vec<(usize, ToCut)> = to_cut.into_iter().enumerate().collect();
        for directory in self.directories() {
            let is_here = |one: &mut (usize, ToCut)| Arc::ptr_eq(one.1.partition.directory(), directory);
            let here: Vec<_> = left.extract_if(.., is_here).collect();
            if here.is_empty() {
                continue;
            }
            let (replicas, directory) = (Arc::clone(self), Arc::clone(directory));
            let pool = directory.pool().clone();
            let done = pool.run(move || replicas.cut_in(&directory, here)).await;
            for (index, result) in done.unwrap_or_default() {
                if let Some(place) = results.get_mut(index) {
                    *place = result;
                }
            }
        }
        results
    }

    /// The same in one directory. Blocks.
    fn cut_in(
        &self,
        directory: &Arc<HostDirectory>,
        mut to_cut: Vec<(usize, ToCut)>,
    ) -> Vec<(usize, Result<Position, FollowError>)> {
        let mut results = Vec::new();
        let mut works = Vec::new();
        let (mut below_start, mut below_high_watermark, mut below_cleaned) = (false, false, false);
        let mut first = true;
        while !to_cut.is_empty() {
            let mut again = Vec::new();
            for (index, one) in to_cut {
                match one.partition.cut(&one, first) {
                    Ok(CutStep::CheckpointFirst) => again.push((index, one)),
                    Ok(CutStep::Nothing(position)) => results.push((index, Ok(position))),
                    Ok(CutStep::Done(after, wakes)) => {
                        wakes.dispatch();
                        below_start |= after.below_start;
                        below_high_watermark |= after.below_high_watermark;
                        below_cleaned |= after.below_cleaned;
                        if !after.files.is_empty() {
                            self.bury(Buried::files(Arc::clone(one.partition.directory()), after.files));
                        }
                        works.extend(after.flush.map(|work| (Arc::clone(&one.partition), work)));
                        results.push((index, Ok(after.position)));
                    }
                    Err(error) => results.push((index, Err(error))),
                }
            }
            if !again.is_empty() {
                self.checkpoint_recovery_points(directory);
            }
            first = false;
            to_cut = again;
        }
        // What these say of offsets that are gone must not be believed of the records that come in their place.
        if below_start {
            self.checkpoint_log_starts(directory);
        }
        if below_high_watermark {
            self.checkpoint_high_watermarks(directory);
        }
        // Else the next start would take them for cleaned, and leave what a tombstone among them is to remove.
        if below_cleaned {
            self.checkpoint_cleaned(directory);
        }
        match together::sync_works(directory, works) {
            Ok(synced) => {
                for (partition, flushed) in synced {
                    partition.closed(flushed, clock::now_ms());
                }
            }
            Err(_) => {
                // The volume has said why.
                for (_, result) in &mut results {
                    *result = Err(FollowError::Storage);
                }
            }
        }
        results
    }
}
