//! What the partitions answer, before any version of the protocol.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::base::disk::FileSlice;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerEpoch, BrokerId, Offset};

use super::nearest::ConsumerPlace;
use super::partition::Partition;
use super::waiting::{Bound, Progress};

/// Why one record of a batch was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordError {
    /// The record's index in its batch.
    pub batch_index: i32,
    /// Why; absent where too many records are wrong for a sentence each.
    pub message: Option<String>,
}

/// A partition's answer to an append.
pub struct AppendAnswer {
    /// 0, or why nothing was appended.
    pub error: ErrorCode,
    /// The first record's offset; −1 after an error.
    pub base_offset: i64,
    /// The append time in milliseconds, if the topic stamps records with it; else −1.
    pub log_append_time_ms: i64,
    /// The partition's log start offset; −1 after most errors.
    pub log_start_offset: i64,
    /// The records that were refused.
    pub record_errors: Vec<RecordError>,
    /// Says more about the error; there for few of them, as in Kafka.
    pub message: Option<String>,
    /// With acks=all: what must still be replicated before the append may be acknowledged.
    pub pending: Option<PendingAck>,
    /// What `flush.messages` wants synced before the append may be acknowledged.
    pub flush: Option<PendingFlush>,
}

impl AppendAnswer {
    /// The answer of an append that failed for `error`.
    pub fn failed(error: ErrorCode) -> Self {
        Self {
            error,
            base_offset: -1,
            log_append_time_ms: -1,
            log_start_offset: -1,
            record_errors: Vec::new(),
            message: None,
            pending: None,
            flush: None,
        }
    }
}

/// An append that is not replicated yet.
#[derive(Clone)]
pub struct PendingAck {
    /// Where it was made.
    pub partition: Arc<Partition>,
    /// The high watermark that acknowledges it.
    pub required: Offset,
    /// How often the broker had stopped leading the partition when it was made: afterwards it counts no more.
    pub(super) resigned: u64,
    /// Where the partition stood right after the append.
    pub seen: Progress,
}

impl PendingAck {
    /// The high watermark as it is now.
    ///
    /// # Errors
    /// NOT_LEADER_OR_FOLLOWER when this broker does not lead since the append: what lies there may be another's.
    /// KAFKA_STORAGE_ERROR while the directory does not answer.
    pub fn high_watermark(&self) -> Result<Offset, ErrorCode> {
        self.partition.high_watermark_unless_resigned(self.resigned)
    }

    /// The same for what was appended before it, up to `required`.
    #[must_use]
    pub fn up_to(&self, required: Offset) -> Self {
        Self {
            required: required.min(self.required),
            ..self.clone()
        }
    }
}

/// An append that is being made durable, of a topic that wants that first. It is whether anybody waits or not.
pub struct PendingFlush(pub(super) oneshot::Receiver<bool>);

impl PendingFlush {
    /// Waits for the sync: 0, or KAFKA_STORAGE_ERROR.
    pub async fn done(self) -> ErrorCode {
        match self.0.await {
            Ok(true) => ErrorCode::None,
            _ => ErrorCode::KafkaStorageError,
        }
    }
}

/// Who fetches and how much.
#[derive(Clone, Debug)]
pub struct FetchParameters {
    /// The follower that fetches; `None` for consumers.
    pub follower: Option<BrokerId>,
    /// The epoch of the follower's registration as it knows it (v15); −1 for none.
    pub follower_epoch: BrokerEpoch,
    /// How long to wait for `min_bytes`, in milliseconds.
    pub max_wait_ms: i32,
    /// Bytes to wait for.
    pub min_bytes: i32,
    /// Bytes that the whole response may carry.
    pub max_bytes: i32,
    /// True before v3: the limits hold for the first batch too.
    pub hard_max_bytes: bool,
    /// Up to where may be read.
    pub bound: Bound,
    /// True when only the leader may answer (before v11, and followers).
    pub leader_only: bool,
    /// Where the consumer stands, if it is to read from a replica near to it (KIP-392).
    pub place: Option<ConsumerPlace>,
}

/// One partition's read within a fetch.
pub struct ReadRequest {
    /// The partition's `max_bytes`, or what is left of the response's.
    pub max_bytes: usize,
    /// Whether a first batch larger than that is returned whole.
    pub whole_first_batch: bool,
    /// False when the read repeats one that already told the follower's position.
    pub note_follower: bool,
    /// Whether throttled leaders send nothing to replicas that are not in sync.
    pub withhold: bool,
}

/// An aborted transaction that a `read_committed` consumer has to skip.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AbortedTransaction {
    /// Whose it was.
    pub producer_id: i64,
    /// Its first offset.
    pub first_offset: i64,
}

/// Where a follower's or consumer's log has left the leader's (KIP-320).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DivergingEpoch {
    /// The leader's largest epoch that is not above the one asked for.
    pub epoch: i32,
    /// Where that epoch ends at the leader.
    pub end_offset: i64,
}

/// A partition's answer to a fetch.
pub struct ReadAnswer {
    /// 0, or why nothing was read.
    pub error: ErrorCode,
    /// High watermark; −1 after an error.
    pub high_watermark: i64,
    /// Last stable offset; −1 after an error.
    pub last_stable_offset: i64,
    /// Log start offset; −1 after an error.
    pub log_start_offset: i64,
    /// Set instead of records when the epochs diverge.
    pub diverging_epoch: Option<DivergingEpoch>,
    /// Set instead of records when a consumer is to read from a follower.
    pub preferred_read_replica: Option<BrokerId>,
    /// For a follower that consumers read from: the high watermark that it was told before. An answer with a higher one
    /// is not held back.
    pub told_high_watermark: Option<Offset>,
    /// For `read_committed`: the aborted transactions in and behind what was read.
    pub aborted: Option<Vec<AbortedTransaction>>,
    /// Whole batches, the last one perhaps cut. `None` for none.
    pub records: Option<FileSlice>,
    /// True when there is more to read behind this segment: waiting would not make the answer longer.
    pub more_behind: bool,
    /// Whether its bytes count as those of a throttled replica.
    pub throttled: bool,
    /// True when there may be records, which the limit of throttled replicas keeps back until it allows more.
    pub withheld: bool,
    /// Where the partition stood.
    pub seen: Progress,
    /// The partition; `None` when this broker has none of that name.
    pub partition: Option<Arc<Partition>>,
}

impl ReadAnswer {
    /// The answer of a read that failed for `error`.
    pub fn failed(error: ErrorCode) -> Self {
        Self {
            error,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            diverging_epoch: None,
            preferred_read_replica: None,
            told_high_watermark: None,
            aborted: None,
            records: None,
            more_behind: false,
            throttled: false,
            withheld: false,
            seen: Progress::default(),
            partition: None,
        }
    }

    /// True when it must not be held back until there is more, whatever it carries.
    pub fn is_news(&self) -> bool {
        let raised = |told: Offset| self.high_watermark > told.get();
        self.error != ErrorCode::None
            || self.diverging_epoch.is_some()
            || self.preferred_read_replica.is_some()
            || self.told_high_watermark.is_some_and(raised)
    }

    /// Bytes of records.
    pub fn records_size(&self) -> usize {
        self.records.as_ref().map_or(0, |slice| slice.length)
    }
}

/// An offset that ListOffsets found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FoundOffset {
    /// The offset; −1 for none.
    pub offset: i64,
    /// The record's timestamp in milliseconds; −1 where none was asked for.
    pub timestamp_ms: i64,
    /// The epoch of the record at the offset; −1 when it is not known.
    pub leader_epoch: i32,
}

impl FoundOffset {
    /// Nothing was found.
    pub const NONE: Self = Self {
        offset: -1,
        timestamp_ms: -1,
        leader_epoch: -1,
    };
}
