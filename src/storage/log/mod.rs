//! One partition's log: its segments, offsets, leader epochs and producers (Kafka: `UnifiedLog`, `LocalLog`).
//!
//! Invariant: `log_start_offset ≤ last_stable_offset ≤ high_watermark ≤ log_end_offset`, and nothing below
//! `recovery_point` is lost in a crash. The segments below [`Log::complete_below`] are synced with all their indexes;
//! those above are recovered after a crash. Its owner (replica::partition) holds it behind a mutex: what changes takes
//! `&mut self`, every call may block on the disk, none reads a clock. What takes long and needs no lock (syncing,
//! removing files) is handed out: [`FlushWork`], [`CreationWork`], [`DeletedFiles`]. After a failed call to the disk
//! the volume is offline and every further call fails.

mod append;
mod batches;
mod clean;
mod creation;
mod damage;
mod errors;
mod flush;
mod listing;
mod moving;
mod open;
mod producers;
mod progress;
mod read;
mod recover;
mod recover_range;
mod replace;
mod retain;
mod roll;
mod side_files;
mod time_search;
mod timestamps;
mod truncate;
mod watermarks;

#[cfg(test)]
mod golden_test;
#[cfg(test)]
mod load_test;
#[cfg(test)]
mod model_test;
#[cfg(test)]
mod moving_test;
#[cfg(test)]
mod pitfall_test;
#[cfg(test)]
mod shortage_test;
#[cfg(test)]
pub(in crate::storage) mod testing;

use std::path::Path;
use std::sync::{Arc, Mutex};

use super::folder::Folder;
use super::leader_epochs::{EpochEnd, EpochEntry, LeaderEpochs};
use super::producer_state::{Guard, ProducerEntry, ProducerStates};
use super::segment::Segment;
use super::volume::{LogIoError, Volume};
use crate::base::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TopicId, TopicPartition};
use crate::config::LogConfig;

pub use append::AppendInfo;
pub use clean::{Cleanable, CleaningToken};
pub(in crate::storage) use clean::{LastBatchOf, Source};
pub use creation::{Created, CreationWork};
pub use errors::{AppendError, OpenError, ReadError};
pub use flush::{FlushWork, Flushed};
pub use moving::{MOVED_MARKER, MoveChunk, MoveError, MovedMarker, Put};
pub use open::{LoadOptions, LoadReport};
pub use progress::PROGRESS_BYTES;
pub use read::{Bound, ReadInfo, ReadRequest};
pub use retain::{DeletedFiles, RetentionReport};
pub use time_search::{SearchError, Searched, TimeAnswer, TimeSearch};
pub use timestamps::{FoundOffset, SegmentTimes, TimeQuery, TimestampError};
pub use truncate::Truncated;

use clean::CleaningState;
use creation::Metadata;
use flush::Unsynced;

/// The log of a partition.
pub struct Log {
    folder: Folder,
    partition: TopicPartition,
    topic_id: Option<TopicId>,
    /// There while `partition.metadata` is not known to be durable; shared with the works that write it.
    metadata_unwritten: Option<Arc<Mutex<Metadata>>>,
    config: Arc<LogConfig>,
    /// The segments that are full, the oldest first.
    inactive: Vec<Segment>,
    active: Segment,
    log_start_offset: Offset,
    log_end_offset: Offset,
    high_watermark: Offset,
    recovery_point: Offset,
    /// The first base offset whose segment may lack something on disk.
    complete_below: Offset,
    epochs: LeaderEpochs,
    producers: ProducerStates,
    /// The offsets of the snapshot files, ascending.
    snapshots: Vec<Offset>,
    unsynced: Unsynced,
    /// Counts truncations, so that a flush that was under way meanwhile does not count.
    truncations: u32,
    last_flush_ms: i64,
    cleaning: CleaningState,
}

impl Log {
    /// Whose log it is.
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// The topic's id; `None` for a log of a time without ids.
    pub fn topic_id(&self) -> Option<TopicId> {
        self.topic_id
    }

    /// Sets the id of a log that has none yet; it is written before the next append.
    pub fn set_topic_id(&mut self, topic_id: TopicId) {
        if self.topic_id.is_none() {
            self.topic_id = Some(topic_id);
            self.metadata_unwritten = Some(Arc::default());
        }
    }

    /// Where its files are.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The log directory that it is in.
    pub fn volume(&self) -> &Arc<Volume> {
        self.folder.volume()
    }

    /// What it is kept by.
    pub fn config(&self) -> &Arc<LogConfig> {
        &self.config
    }

    /// From now on it is kept by `config`. Where the policy compacts no more, a cleaning that is under way ends without
    /// effect, however far it is: who asks that everything be kept loses nothing more (`LogManager.updateTopicConfig`).
    pub fn set_config(&mut self, config: Arc<LogConfig>) {
        if self.config.compact && !config.compact {
            self.abort_cleaning();
        }
        self.config = config;
    }

    /// The first offset that may be read.
    pub fn log_start_offset(&self) -> Offset {
        self.log_start_offset
    }

    /// The offset that the next record gets.
    pub fn log_end_offset(&self) -> Offset {
        self.log_end_offset
    }

    /// What lies below survives a crash.
    pub fn recovery_point(&self) -> Offset {
        self.recovery_point
    }

    /// The base offset of the segment that is written.
    pub fn active_base_offset(&self) -> Offset {
        self.active.base_offset()
    }

    /// The base offset of the first segment.
    pub fn first_base_offset(&self) -> Offset {
        self.inactive.first().unwrap_or(&self.active).base_offset()
    }

    /// The base offsets of the segments, ascending.
    pub fn base_offsets(&self) -> impl Iterator<Item = Offset> {
        self.segments().map(Segment::base_offset)
    }

    /// Bytes in all segments.
    pub fn size_in_bytes(&self) -> u64 {
        self.segments().map(|segment| u64::from(segment.size())).sum()
    }

    /// How many segments there are.
    pub fn segment_count(&self) -> usize {
        self.inactive.len() + 1
    }

    /// The leader epochs and where they start.
    pub fn leader_epochs(&self) -> &LeaderEpochs {
        &self.epochs
    }

    /// The latest leader epoch.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.latest().map(|entry| entry.epoch)
    }

    /// Where the data of `epoch` ends in this log (OffsetForLeaderEpoch).
    pub fn end_offset_for(&self, epoch: LeaderEpoch) -> Option<EpochEnd> {
        self.epochs.end_offset_for(epoch, self.log_end_offset)
    }

    /// Says that `epoch` starts at the log's end: this broker became its leader. Reaches the disk with the next flush;
    /// a crash before loses nothing, since an epoch without records is dropped at the next start anyway.
    pub fn assign_epoch(&mut self, epoch: LeaderEpoch) -> Option<EpochEntry> {
        self.assign_epoch_start(epoch, self.log_end_offset);
        self.epochs.latest()
    }

    fn assign_epoch_start(&mut self, epoch: LeaderEpoch, start_offset: Offset) {
        if self.epochs.assign(epoch, start_offset) {
            self.unsynced.epochs_changed();
        }
    }

    /// What is known of the producers (DescribeProducers).
    pub fn producers(&self) -> impl ExactSizeIterator<Item = (ProducerId, &ProducerEntry)> {
        self.producers.producers()
    }

    /// What is known of the producers.
    pub fn producer_states(&self) -> &ProducerStates {
        &self.producers
    }

    /// Forgets idle producers (`producer.id.expiration.ms`). Answers how many.
    pub fn expire_producers(&mut self, now_ms: i64, expiration_ms: i64) -> usize {
        self.producers.expire(now_ms, expiration_ms)
    }

    /// Begins to verify a transaction (KIP-890, part 1); see [`ProducerStates::begin_verification`].
    pub fn begin_verification(
        &mut self,
        producer_id: ProducerId,
        epoch: ProducerEpoch,
        base_sequence: i32,
        now_ms: i64,
    ) -> Option<Guard> {
        self.producers
            .begin_verification(producer_id, epoch, base_sequence, now_ms)
    }

    fn segments(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        self.inactive.iter().chain(std::iter::once(&self.active))
    }

    /// The segment `number`, the active one being the last.
    fn segment(&self, number: usize) -> Option<&Segment> {
        match number.cmp(&self.inactive.len()) {
            std::cmp::Ordering::Less => self.inactive.get(number),
            std::cmp::Ordering::Equal => Some(&self.active),
            std::cmp::Ordering::Greater => None,
        }
    }

    /// The number of the segment with the greatest base offset that is not above `offset`.
    fn floor_segment(&self, offset: Offset) -> Option<usize> {
        if self.active.base_offset() <= offset {
            return Some(self.inactive.len());
        }
        self.inactive
            .partition_point(|segment| segment.base_offset() <= offset)
            .checked_sub(1)
    }

    /// The first offset behind segment `number`.
    fn end_of_segment(&self, number: usize) -> Offset {
        self.segment(number + 1)
            .map_or(self.log_end_offset, Segment::base_offset)
    }

    /// Random time that the next segment is rolled earlier (`segment.jitter.ms`).
    fn roll_jitter_ms(&self) -> i64 {
        let most = self.config.segment_jitter_ms.min(self.config.segment_ms);
        match u64::try_from(most) {
            Ok(most) if most > 0 => self.volume().random().below(most) as i64,
            _ => 0,
        }
    }

    /// Its folder was renamed to `path`: it is about to be deleted, or moved.
    pub fn folder_moved(&mut self, path: std::path::PathBuf) {
        self.folder.moved(path);
    }

    /// Fails when the volume is offline.
    fn check_online(&self) -> Result<(), LogIoError> {
        self.volume().check()
    }
}

impl Drop for Log {
    /// Its descriptors go with it, rather than when others push them out of the cache.
    fn drop(&mut self) {
        for segment in self.inactive.iter().chain([&self.active]) {
            self.folder.forget(segment.files());
        }
    }
}
