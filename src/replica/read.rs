//! Reading one partition for a fetch (Kafka's `Partition.fetchRecords`).
//!
//! Offsets of the answer are those from before the read, under the same lock: an answer never names a high watermark
//! above which it carries records (KAFKA-9835, KAFKA-9807).

use std::sync::Arc;

use crate::base::clock::Instant;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerId, LeaderEpoch, Offset};
use crate::base::planted::planted;
use crate::storage::log::{self, ReadError};

use super::answers::{AbortedTransaction, DivergingEpoch, FetchParameters, ReadAnswer, ReadRequest};
use super::fetch_session::FetchPartition;
use super::follower::FollowerFetch;
use super::leadership::IsrChange;
use super::nearest::ConsumerPlace;
use super::partition::{Partition, State};
use super::waiting::{Bound, Wakes};

/// What is to be done after a read, without the lock.
#[derive(Default)]
pub(super) struct AfterRead {
    /// Who is to be woken.
    pub(super) wakes: Wakes,
    /// The ISR that the leader wants from now on.
    pub(super) isr: Option<IsrChange>,
}

impl Partition {
    /// Reads from the partition, if it may be read by who asks.
    pub(super) fn read(
        self: &Arc<Self>,
        wanted: &FetchPartition,
        parameters: &FetchParameters,
        request: &ReadRequest,
    ) -> (ReadAnswer, AfterRead) {
        let mut locked = match self.lock() {
            Ok(locked) => locked,
            Err(error) => return (ReadAnswer::failed(error), AfterRead::default()),
        };
        let state = &mut *locked.state;
        match read(state, wanted, parameters, request) {
            Ok((mut answer, after)) => {
                answer.partition = Some(Arc::clone(self));
                (answer, after)
            }
            Err(error) => {
                let mut answer = ReadAnswer::failed(error);
                answer.partition = Some(Arc::clone(self));
                (answer, AfterRead::default())
            }
        }
    }
}

fn read(
    state: &mut State,
    wanted: &FetchPartition,
    parameters: &FetchParameters,
    request: &ReadRequest,
) -> Result<(ReadAnswer, AfterRead), ErrorCode> {
    let has_id = !wanted.topic_id.is_zero();
    if has_id && state.log.topic_id().is_some_and(|id| id != wanted.topic_id) {
        return Err(ErrorCode::InconsistentTopicId);
    }
    state
        .leadership
        .check(wanted.current_leader_epoch, parameters.leader_only)?;
    if let Some(follower) = parameters.follower {
        state
            .leadership
            .check_follower(follower, wanted.current_leader_epoch)?;
    }
    let offset = Offset(wanted.fetch_offset);
    let seen = state.progress();
    let mut answer = ReadAnswer {
        high_watermark: seen.high_watermark.get(),
        last_stable_offset: seen.last_stable.get(),
        log_start_offset: state.log.log_start_offset().get(),
        seen,
        ..ReadAnswer::failed(ErrorCode::None)
    };
    if let Some(follower) = parameters.follower {
        answer.told_high_watermark =
            state
                .leadership
                .follower_told(follower, seen.high_watermark, Instant::now);
    } else if let Some(place) = &parameters.place
        && let Some((preferred, is_first)) = send_consumer(state, place, wanted)
    {
        answer.preferred_read_replica = Some(preferred);
        let mut after = AfterRead::default();
        if is_first {
            // The follower's own fetch waits for records only; now it is to learn of the high watermark, too.
            after.wakes = state.waiters.wake_all();
        }
        return Ok((answer, after));
    }
    if wanted.last_fetched_epoch >= 0
        && let Some(diverging) = diverging_epoch(state, wanted.last_fetched_epoch, offset)?
    {
        answer.diverging_epoch = Some(diverging);
        return Ok((answer, AfterRead::default()));
    }
    let bound = match parameters.bound {
        Bound::LogEnd => log::Bound::LogEnd,
        Bound::HighWatermark => planted!(
            "cluster-read-to-end",
            log::Bound::LogEnd,
            log::Bound::HighWatermark
        ),
        Bound::LastStable => log::Bound::LastStableOffset,
    };
    let info = state
        .log
        .read(&log::ReadRequest {
            start_offset: offset,
            max_bytes: u32::try_from(request.max_bytes).unwrap_or(u32::MAX),
            min_one_batch: request.whole_first_batch,
            bound,
        })
        .map_err(|error| match error {
            ReadError::OutOfRange { .. }
                if offset > state.log.log_end_offset()
                    && parameters.follower.is_none()
                    && state.surroundings.cut_off.is_likely() =>
            {
                ErrorCode::NotLeaderOrFollower
            }
            ReadError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            ReadError::Io(_) => ErrorCode::KafkaStorageError,
            ReadError::Corrupt(_) => ErrorCode::CorruptMessage,
        })?;
    answer.more_behind = is_more_behind(state, info.segment_base_offset, seen.of(parameters.bound));
    // From v3 on a batch is not cut if it is the first: a client could do nothing with it.
    if parameters.hard_max_bytes || !info.first_batch_cut {
        answer.records = info.records;
    }
    answer.aborted = info.aborted.map(|aborted| {
        aborted
            .into_iter()
            .map(|one| AbortedTransaction {
                producer_id: one.producer_id.get(),
                first_offset: one.first_offset.get(),
            })
            .collect()
    });
    if let Some(follower) = parameters.follower {
        answer.throttled = state.leads_throttled(wanted.partition);
        if answer.throttled && request.withhold && !state.leadership.is_in_sync(follower) {
            answer.records = None;
            answer.more_behind = false;
            answer.withheld = true;
            tracing::trace!(%follower, "withheld: throttled leaders here are above their limit");
        }
    }
    let after = match parameters.follower {
        Some(follower) if request.note_follower => {
            let told = FollowerFetch {
                offset,
                log_start: Offset(wanted.log_start_offset),
                broker_epoch: parameters.follower_epoch,
            };
            note_follower(state, follower, wanted.current_leader_epoch, &told)?
        }
        _ => AfterRead::default(),
    };
    Ok((answer, after))
}

/// The follower that the consumer is to read from, instead of here, and whether it is the first one that is sent there.
fn send_consumer(
    state: &mut State,
    place: &ConsumerPlace,
    wanted: &FetchPartition,
) -> Option<(BrokerId, bool)> {
    let image = state.surroundings.cluster.get();
    let name = state.log.partition();
    let known = image.partition(&name.topic, name.partition)?;
    let is_near = |broker| known.replicas.contains(&broker) && place.is_near(&image, broker);
    state
        .leadership
        .send_consumer(Offset(wanted.fetch_offset), is_near, Instant::now)
}

/// Takes from a follower's fetch how far it is: it may join the ISR by it, and the high watermark may move, in this order
/// (`Partition.updateFollowerFetchState`).
fn note_follower(
    state: &mut State,
    follower: BrokerId,
    client_epoch: i32,
    told: &FollowerFetch,
) -> Result<AfterRead, ErrorCode> {
    let now = Instant::now();
    let log_end = state.log.log_end_offset();
    state
        .leadership
        .follower_fetched(follower, client_epoch, told, log_end, now)?;
    let isr = state.propose_expansion(follower, now);
    Ok(AfterRead {
        wakes: state.settle(),
        isr,
    })
}

/// True when behind the segment that was read there is another one with records below the bound: as one read yields
/// from one segment only, waiting would not make it longer (`DelayedFetch`, case F).
fn is_more_behind(state: &State, segment_base_offset: Offset, bound: Offset) -> bool {
    segment_base_offset < state.log.active_base_offset()
        && state
            .log
            .base_offsets()
            .find(|base| *base > segment_base_offset)
            .is_some_and(|next| next < bound)
}

/// Compares the epoch of the last record that the client has with the leader's epochs (`Partition.readRecords`).
fn diverging_epoch(
    state: &State,
    last_fetched_epoch: i32,
    offset: Offset,
) -> Result<Option<DivergingEpoch>, ErrorCode> {
    let end = state
        .log
        .end_offset_for(LeaderEpoch(last_fetched_epoch))
        .ok_or(ErrorCode::OffsetOutOfRange)?;
    if offset < state.log.log_start_offset() {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    let is_older = planted!(
        "cluster-double-failover",
        false,
        end.epoch.get() < last_fetched_epoch
    );
    let diverges = is_older || end.end_offset < offset;
    Ok(diverges.then_some(DivergingEpoch {
        epoch: end.epoch.get(),
        end_offset: end.end_offset.get(),
    }))
}
