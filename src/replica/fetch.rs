//! Fetch across partitions (Kafka's `ReplicaManager.fetchMessages` and `DelayedFetch`).
//!
//! A fetch is read at once. When that gave less than `min_bytes` it is parked with the partitions it names and read
//! again when one of them wakes it, or when its time is over. Invariant: between the read that found too little and
//! the parking nothing is missed, since each partition compares where it stood at the read with where it stands.

use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::{self, Instant};
use crate::base::error_code::ErrorCode;
use crate::base::ids::Offset;

use super::answers::{FetchParameters, ReadAnswer, ReadRequest};
use super::fetch_session::FetchPartition;
use super::replicas::Replicas;
use super::waiting::{Ticket, Wants};

/// How much a pool thread reads at once to bring pages into the page cache.
const WARM_CHUNK_BYTES: usize = 128 * 1024;

/// A fetch after its first read.
pub enum Fetch {
    /// It can be answered: the answers, in the order of the partitions.
    Ready(Vec<ReadAnswer>),
    /// It waits.
    Parked(ParkedFetch),
}

/// A fetch that waits for data. Dropping it takes it out of the partitions.
pub struct ParkedFetch {
    replicas: Arc<Replicas>,
    parameters: FetchParameters,
    partitions: Arc<[FetchPartition]>,
    refused: Vec<ErrorCode>,
    deadline: Instant,
    places: Places,
}

/// The places that a parked fetch takes.
struct Places {
    answers: Vec<ReadAnswer>,
    ticket: Ticket,
}

impl Drop for Places {
    fn drop(&mut self) {
        for (slot, answer) in (0u32..).zip(&self.answers) {
            if let Some(partition) = &answer.partition {
                partition.leave(&self.ticket.parked, slot);
            }
        }
    }
}

impl Replicas {
    /// Reads what a fetch asks for, and parks it when that is too little and it may wait. `refused` has an error for
    /// each partition that is not to be read, NONE for the others, or nothing when all are; what was refused is told
    /// with the rest and does not end the wait, as in Kafka.
    pub fn fetch(
        self: &Arc<Self>,
        parameters: FetchParameters,
        partitions: Arc<[FetchPartition]>,
        refused: Vec<ErrorCode>,
    ) -> Fetch {
        let answers = self.read(&parameters, &partitions, &refused, true);
        let nothing_to_wait_for = answers.iter().all(|answer| answer.partition.is_none());
        if parameters.max_wait_ms <= 0 || nothing_to_wait_for || is_enough(&parameters, &refused, &answers) {
            self.sends(&answers);
            return Fetch::Ready(answers);
        }
        let wait = Duration::from_millis(u64::try_from(parameters.max_wait_ms).unwrap_or(0));
        let deadline = Instant::now().after(wait);
        match self.park(&parameters, &partitions, answers) {
            Ok(places) => Fetch::Parked(ParkedFetch {
                replicas: Arc::clone(self),
                parameters,
                partitions,
                refused,
                deadline,
                places,
            }),
            Err(answers) => {
                self.sends(&answers);
                Fetch::Ready(answers)
            }
        }
    }

    /// Reads the partitions in order, each within what the limits leave (`ReplicaManager.readFromLog`).
    fn read(
        &self,
        parameters: &FetchParameters,
        partitions: &[FetchPartition],
        refused: &[ErrorCode],
        note_follower: bool,
    ) -> Vec<ReadAnswer> {
        let mut left = usize::try_from(parameters.max_bytes).unwrap_or(0);
        let mut whole_first_batch = !parameters.hard_max_bytes;
        let withhold = parameters.follower.is_some() && self.quotas.leader.is_exceeded(Instant::now());
        let mut answers = Vec::with_capacity(partitions.len());
        for (index, wanted) in partitions.iter().enumerate() {
            if let Some(error) = refused.get(index).filter(|error| !error.is_none()) {
                answers.push(ReadAnswer::failed(*error));
                continue;
            }
            let Some(topic) = &wanted.topic else {
                answers.push(ReadAnswer::failed(ErrorCode::UnknownTopicId));
                continue;
            };
            let Some(partition) = self.partition(topic, wanted.partition) else {
                answers.push(ReadAnswer::failed(self.missing(topic, wanted.partition)));
                continue;
            };
            let request = ReadRequest {
                max_bytes: usize::try_from(wanted.max_bytes).unwrap_or(0).min(left),
                whole_first_batch,
                note_follower,
                withhold,
            };
            let (answer, after) = partition.read(wanted, parameters, &request);
            after.wakes.dispatch();
            if let Some(change) = after.isr {
                self.isr.propose(partition.proposal(change));
            }
            if let Some(preferred) = answer.preferred_read_replica {
                let (partition, place) = (partition.name(), &parameters.place);
                tracing::debug!(%partition, ?place, "a consumer is sent to broker {preferred}");
            }
            let size = answer.records_size();
            whole_first_batch &= size == 0;
            left = left.saturating_sub(size);
            answers.push(answer);
        }
        answers
    }

    /// Registers a fetch with its partitions; gives the answers back when there is no room for one more.
    fn park(
        self: &Arc<Self>,
        parameters: &FetchParameters,
        partitions: &[FetchPartition],
        answers: Vec<ReadAnswer>,
    ) -> Result<Places, Vec<ReadAnswer>> {
        let there: i64 = answers
            .iter()
            .map(|answer| i64::try_from(answer.records_size()).unwrap_or(i64::MAX / 2))
            .fold(0, i64::saturating_add);
        let missing = i64::from(parameters.min_bytes).saturating_sub(there);
        let Some(ticket) = self.parking().enter(answers.len(), missing) else {
            return Err(answers);
        };
        let places = Places { answers, ticket };
        for (slot, (answer, wanted)) in (0u32..).zip(places.answers.iter().zip(partitions)) {
            if let Some(partition) = &answer.partition {
                let max_bytes = u64::try_from(wanted.max_bytes).unwrap_or(0);
                let left = max_bytes.saturating_sub(answer.records_size() as u64);
                let wants = Wants::Bytes {
                    bound: parameters.bound,
                    // What is not sent does not end the wait.
                    left: if answer.withheld { 0 } else { left },
                    told_high_watermark: answer.told_high_watermark.map(|_| Offset(answer.high_watermark)),
                };
                partition
                    .wait(&places.ticket.parked, slot, wants, answer.seen)
                    .dispatch();
            }
        }
        Ok(places)
    }
}

/// Whether a fetch is to be answered as it stands.
fn is_enough(parameters: &FetchParameters, refused: &[ErrorCode], answers: &[ReadAnswer]) -> bool {
    let mut bytes: usize = 0;
    for (index, answer) in answers.iter().enumerate() {
        if refused.get(index).is_some_and(|error| !error.is_none()) {
            continue;
        }
        if answer.is_news() || answer.more_behind {
            return true;
        }
        bytes = bytes.saturating_add(answer.records_size());
    }
    bytes >= usize::try_from(parameters.min_bytes).unwrap_or(0)
}

impl ParkedFetch {
    /// Waits for enough data or the end of the wait; yields the answers, in the order of the partitions.
    pub async fn finish(self) -> Vec<ReadAnswer> {
        let Self {
            replicas,
            parameters,
            partitions,
            refused,
            deadline,
            mut places,
        } = self;
        loop {
            let left = deadline.since(Instant::now());
            let woken = clock::timeout(left, places.ticket.parked.woken()).await.is_some();
            let answers = replicas.read(&parameters, &partitions, &refused, false);
            if !woken || is_enough(&parameters, &refused, &answers) {
                replicas.sends(&answers);
                return answers;
            }
            // Woken for bytes that cannot be read yet, such as those of an open transaction.
            drop(places);
            match replicas.park(&parameters, &partitions, answers) {
                Ok(parked) => places = parked,
                Err(answers) => {
                    replicas.sends(&answers);
                    return answers;
                }
            }
        }
    }
}

/// True when every page that the answers would send is in the page cache.
pub fn is_warm(answers: &[ReadAnswer]) -> bool {
    answers
        .iter()
        .filter_map(|answer| answer.records.as_ref())
        .all(|slice| slice.is_resident())
}

/// Has the pages that the answers would send read into the page cache, on the pools of their log directories, so that
/// sending them does not hold up the connections of this thread. What fails here fails again when it is sent.
pub async fn warm(answers: &[ReadAnswer]) {
    for answer in answers {
        let (Some(slice), Some(partition)) = (&answer.records, &answer.partition) else {
            continue;
        };
        if slice.is_resident() {
            continue;
        }
        let slice = slice.clone();
        let read_ahead = move || {
            let mut chunk = vec![0; WARM_CHUNK_BYTES.min(slice.length)];
            let end = slice.position + slice.length as u64;
            let mut position = slice.position;
            while position < end {
                match slice.file.read_at(&mut chunk, position) {
                    Ok(count) if count > 0 => position += count as u64,
                    _ => return,
                }
            }
        };
        let _ = partition.pool().run(read_ahead).await;
    }
}
