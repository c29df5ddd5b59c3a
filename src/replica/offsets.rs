//! Looking up offsets: ListOffsets, OffsetForLeaderEpoch (Kafka's `Partition.fetchOffsetForTimestamp` and its kin).
//!
//! What memory knows is answered at once. A look-up by time reads indexes and records, and is done on the pool of the
//! log directory. The partition's lock is held only while it is found out where to look, and again to see that what was
//! found holds: whoever appends or reads does not wait for records to be read and decompressed.

use std::sync::Arc;

use crate::base::clock;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{LeaderEpoch, Offset, TopicPartition};
use crate::metadata::control::LogEnd;
use crate::storage::log::{self, Searched, TimeAnswer, TimeQuery, TimeSearch, TimestampError};

use super::answers::FoundOffset;
use super::partition::{Partition, State};
use super::replicas::Replicas;
use super::waiting::Bound;

/// The timestamp that stands for the log's end.
pub const LATEST: i64 = -1;
/// The timestamp that stands for the log's start.
pub const EARLIEST: i64 = -2;
/// The timestamp that stands for the record with the largest one.
pub const MAX_TIMESTAMP: i64 = -3;
/// The timestamp that stands for the start of what is kept locally.
pub const EARLIEST_LOCAL: i64 = -4;

/// How often a look-up begins anew because the log was cut meanwhile, or a segment went, before the client is told to try
/// again.
const CHANGES_MAX: u32 = 16;

/// What ListOffsets asks of one partition.
#[derive(Clone, Copy, Debug)]
pub struct OffsetQuery {
    /// A time in milliseconds, or one of the special timestamps.
    pub timestamp_ms: i64,
    /// What counts as the end.
    pub bound: Bound,
    /// True for clients, which are told nothing while a new leader's high watermark is behind.
    pub is_client: bool,
    /// The leader epoch that the client knows, −1 for none.
    pub current_leader_epoch: i32,
    /// True when only the leader may answer.
    pub leader_only: bool,
}

/// True for timestamps that are looked up in memory.
pub const fn is_quick(timestamp_ms: i64) -> bool {
    timestamp_ms < 0 && timestamp_ms != MAX_TIMESTAMP
}

impl Replicas {
    /// The offset that a query asks for; [`FoundOffset::NONE`] when there is none.
    ///
    /// # Errors
    /// The code for the client.
    pub async fn find_offset(
        &self,
        topic: &str,
        partition: i32,
        query: OffsetQuery,
    ) -> Result<FoundOffset, ErrorCode> {
        let found = self.find(topic, partition)?;
        if is_quick(query.timestamp_ms) {
            return found.find_offset(&query);
        }
        found
            .look_up(move |partition| partition.find_offset(&query))
            .await
    }

    /// Base offsets of segments that were written before a time, the newest first (ListOffsets v0).
    ///
    /// # Errors
    /// The code for the client.
    pub async fn segment_offsets(
        &self,
        topic: &str,
        partition: i32,
        timestamp_ms: i64,
        count: usize,
        is_consumer: bool,
        leader_only: bool,
    ) -> Result<Vec<i64>, ErrorCode> {
        let found = self.find(topic, partition)?;
        found
            .look_up(move |partition| {
                partition.segment_offsets(timestamp_ms, count, is_consumer, leader_only)
            })
            .await
    }

    /// Epoch and end offset for a leader epoch, (−1, −1) when it is not known (`Partition.lastOffsetForLeaderEpoch`).
    ///
    /// # Errors
    /// The code for the client.
    pub fn end_offset_for_epoch(
        &self,
        topic: &str,
        partition: i32,
        current_leader_epoch: i32,
        leader_epoch: i32,
    ) -> Result<(i32, i64), ErrorCode> {
        let found = self.find(topic, partition)?;
        let locked = found.lock()?;
        locked.state.leadership.check(current_leader_epoch, true)?;
        let end = locked.state.log.end_offset_for(LeaderEpoch(leader_epoch));
        Ok(end.map_or((-1, -1), |end| (end.epoch.get(), end.end_offset.get())))
    }
}

impl Replicas {
    /// Where the log of a replica ends, whoever leads it.
    ///
    /// # Errors
    /// The code for the controller.
    pub fn log_end(&self, name: &TopicPartition) -> Result<LogEnd, ErrorCode> {
        let found = self.find(&name.topic, name.partition)?;
        let locked = found.lock()?;
        let log = &locked.state.log;
        Ok(LogEnd {
            epoch: log.latest_epoch().unwrap_or(LeaderEpoch::NONE),
            offset: log.log_end_offset(),
        })
    }
}

impl Partition {
    /// Looks something up on the pool of the directory, but does not wait for one whose calls do not return.
    async fn look_up<T: Send + 'static>(
        self: Arc<Self>,
        look: impl FnOnce(&Self) -> Result<T, ErrorCode> + Send + 'static,
    ) -> Result<T, ErrorCode> {
        let directory = Arc::clone(self.directory());
        let looked = directory.pool().run(move || look(&self));
        tokio::select! {
            biased;
            () = directory.watch().stalls() => Err(ErrorCode::KafkaStorageError),
            found = looked => found.unwrap_or(Err(ErrorCode::UnknownServerError)),
        }
    }

    fn find_offset(&self, query: &OffsetQuery) -> Result<FoundOffset, ErrorCode> {
        match query.timestamp_ms {
            MAX_TIMESTAMP => self.find_by_time(query, TimeQuery::Largest, TimeSearch::run),
            0.. => self.find_by_time(query, TimeQuery::AtLeast(query.timestamp_ms), TimeSearch::run),
            _ => self.find_at_once(query),
        }
    }

    fn find_at_once(&self, query: &OffsetQuery) -> Result<FoundOffset, ErrorCode> {
        let locked = self.lock()?;
        let state = &*locked.state;
        state
            .leadership
            .check(query.current_leader_epoch, query.leader_only)?;
        match query.timestamp_ms {
            EARLIEST | EARLIEST_LOCAL => Ok(told(state.log.earliest())),
            LATEST if !is_unknown(state, query) => Ok(FoundOffset {
                offset: state.progress().of(query.bound).get(),
                timestamp_ms: -1,
                // Whoever asks for a replica's own end compares logs: what was told of a leader is not in them.
                leader_epoch: if query.leader_only {
                    state.leadership.leader_epoch().get()
                } else {
                    state.log.latest_epoch().unwrap_or(LeaderEpoch::NONE).get()
                },
            }),
            LATEST => Err(ErrorCode::OffsetNotAvailable),
            _ => answer_by_time(state, query, None),
        }
    }

    /// Looks through one segment after the other; `run` searches one, without the lock.
    fn find_by_time(
        &self,
        query: &OffsetQuery,
        wanted: TimeQuery,
        run: impl Fn(&TimeSearch) -> Searched,
    ) -> Result<FoundOffset, ErrorCode> {
        let mut changes = 0;
        let mut last: Option<(TimeSearch, Searched)> = None;
        loop {
            let search = {
                let mut locked = self.lock()?;
                let state = &mut *locked.state;
                state
                    .leadership
                    .check(query.current_leader_epoch, query.leader_only)?;
                let mut behind = None;
                if let Some((search, searched)) = last.take() {
                    let answer = state.log.conclude(&search, searched);
                    match answer.map_err(|error| refusal(&error))? {
                        TimeAnswer::Found(found) => return answer_by_time(state, query, Some(found)),
                        TimeAnswer::NotThere => behind = Some(search.base_offset()),
                        TimeAnswer::Changed if changes == CHANGES_MAX => {
                            return Err(ErrorCode::OffsetNotAvailable);
                        }
                        TimeAnswer::Changed => changes += 1,
                    }
                }
                let planned = state.log.plan_search(wanted, behind);
                match planned.map_err(|error| refusal(&error))? {
                    Some(search) => search,
                    None => return answer_by_time(state, query, None),
                }
            };
            let _call = self.directory().watch().begin();
            let searched = run(&search);
            last = Some((search, searched));
        }
    }

    fn segment_offsets(
        &self,
        timestamp_ms: i64,
        count: usize,
        is_consumer: bool,
        leader_only: bool,
    ) -> Result<Vec<i64>, ErrorCode> {
        for _ in 0..CHANGES_MAX {
            let (segments, high_watermark) = {
                let locked = self.lock()?;
                let state = &*locked.state;
                state.leadership.check(-1, leader_only)?;
                let segments = state.log.segment_times();
                let segments = segments.map_err(|_| ErrorCode::KafkaStorageError)?;
                (segments, state.log.high_watermark().get())
            };
            let _call = self.directory().watch().begin();
            let offsets = segments
                .offsets_before(timestamp_ms, count, clock::now_ms())
                .map_err(|_| ErrorCode::KafkaStorageError)?;
            let Some(offsets) = offsets else {
                continue;
            };
            let mut offsets: Vec<i64> = offsets.into_iter().map(Offset::get).collect();
            if is_consumer && offsets.iter().any(|offset| *offset > high_watermark) {
                let first = offsets.iter().position(|offset| *offset <= high_watermark);
                offsets.drain(..first.unwrap_or(offsets.len()));
                offsets.insert(0, high_watermark);
            }
            return Ok(offsets);
        }
        Err(ErrorCode::KafkaStorageError)
    }
}

/// True when a client is not to be told where the log ends: a new leader's high watermark is behind.
fn is_unknown(state: &State, query: &OffsetQuery) -> bool {
    query.is_client && state.leadership.lags_behind_epoch(state.log.high_watermark())
}

/// The answer to a look-up that found this record, or none.
fn answer_by_time(
    state: &State,
    query: &OffsetQuery,
    found: Option<log::FoundOffset>,
) -> Result<FoundOffset, ErrorCode> {
    let end = state.progress().of(query.bound);
    match found.filter(|found| found.offset < end) {
        Some(found) => Ok(told(found)),
        None if is_unknown(state, query) => Err(ErrorCode::OffsetNotAvailable),
        None => Ok(FoundOffset::NONE),
    }
}

fn told(found: log::FoundOffset) -> FoundOffset {
    FoundOffset {
        offset: found.offset.get(),
        timestamp_ms: found.timestamp_ms,
        leader_epoch: found.leader_epoch.map_or(-1, LeaderEpoch::get),
    }
}

fn refusal(error: &TimestampError) -> ErrorCode {
    tracing::warn!(%error, "looking up an offset by time failed");
    match error {
        TimestampError::Io(_) => ErrorCode::KafkaStorageError,
        TimestampError::Corrupt(_) => ErrorCode::CorruptMessage,
        TimestampError::Records { reason, .. } => reason.code(),
    }
}

#[cfg(test)]
#[path = "offsets_test.rs"]
mod offsets_test;
