//! Reading a partition's log into a new shard (Kafka: `GroupMetadataManager.loadGroupsAndOffsets`,
//! `CoordinatorLoaderImpl`).
//!
//! Invariant: one piece of one log is in memory at a time for each log directory, `offsets.load.buffer.size` large, or
//! as large as the one batch that does not fit into it. Each piece is a job of its own on the directory's pool, so that
//! the pool's other work has its turn. A record that the shard cannot read is left out and told of, as anybody who may
//! write to the topic could otherwise take a whole partition's groups away; a batch that is corrupt ends the load, for
//! then nobody knows what is missing. Driven by `coordinator`.

use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Instant;
use crate::base::error_code::ErrorCode;
use crate::base::ids::Offset;
use crate::records::batch::{Batch, Batches};
use crate::records::control::EndTransactionMarker;

use super::shard::{EndedTransaction, Replayed, Shard};
use super::slot::{Slot, Standing};

/// How often it is told how far a load is.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// How many records that cannot be read are told of, each in a line of its own.
const TOLD_UNREADABLE: u64 = 10;

/// A shard that is being filled.
pub struct Loading<S: Shard> {
    /// What was read so far.
    pub shard: S,
    slot: Arc<Slot<S>>,
    buffer_bytes: u32,
    next: Option<Offset>,
    records: u64,
    unreadable: u64,
    bytes: u64,
    begun: Instant,
    told: Instant,
}

/// What came of reading a piece.
pub enum Piece {
    /// There is more.
    More,
    /// That was the last one.
    Last,
    /// The shard is not wanted any more.
    Abandoned,
    /// The log cannot be read: why, and in which file from where on.
    Failed(String),
}

impl<S: Shard> Loading<S> {
    /// Begins to fill `shard`.
    pub fn new(shard: S, slot: Arc<Slot<S>>, buffer_bytes: u32) -> Self {
        let now = Instant::now();
        Self {
            shard,
            slot,
            buffer_bytes,
            next: None,
            records: 0,
            unreadable: 0,
            bytes: 0,
            begun: now,
            told: now,
        }
    }

    /// Reads the next piece. Blocks.
    pub fn read_piece(&mut self) -> Piece {
        if self.slot.lock_on_pool().standing != Standing::Loading {
            return Piece::Abandoned;
        }
        match self.try_piece() {
            Ok(piece) => piece,
            // Leadership is lost, or the disk: whoever found out has told, or is about to.
            Err(Unread::Code(
                ErrorCode::NotLeaderOrFollower
                | ErrorCode::UnknownTopicOrPartition
                | ErrorCode::KafkaStorageError,
            )) => Piece::Abandoned,
            Err(Unread::Code(error)) => Piece::Failed(error.to_string()),
            Err(Unread::At(offset, reason)) => {
                let file = self.slot.partition.file_of(offset);
                Piece::Failed(format!("at offset {offset} in {}: {reason}", file.display()))
            }
        }
    }

    fn try_piece(&mut self) -> Result<Piece, Unread> {
        let (partition, epoch) = (Arc::clone(&self.slot.partition), self.slot.epoch());
        let from = match self.next {
            Some(next) => next,
            None => partition.start_in_epoch(epoch)?,
        };
        let read = match partition.read_in_epoch(epoch, from, self.buffer_bytes) {
            // Retention was faster.
            Err(ErrorCode::OffsetOutOfRange) => {
                let start = partition.start_in_epoch(epoch)?;
                if start <= from {
                    return Err(ErrorCode::OffsetOutOfRange.into());
                }
                self.next = Some(start);
                return Ok(Piece::More);
            }
            Err(corrupt @ ErrorCode::CorruptMessage) => return Err(Unread::at(from, &corrupt)),
            read => read?,
        };
        let Some(slice) = read.records else {
            // Compaction may leave nothing at the log's end.
            self.slot.progress.note(read.log_end_offset, read.log_end_offset);
            return Ok(Piece::Last);
        };
        let bytes = slice.read().map_err(|error| {
            let path = partition.directory().path();
            let failure = partition.directory().volume().failed("read", path, &error);
            tracing::error!(partition = %partition.name(), error = %failure, "cannot be loaded");
            ErrorCode::KafkaStorageError
        })?;
        let next = self.replay(&bytes, from)?;
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        self.next = Some(next);
        self.slot.progress.note(next, read.log_end_offset);
        self.tell(next, read.log_end_offset);
        Ok(if next < read.log_end_offset {
            Piece::More
        } else {
            Piece::Last
        })
    }

    /// Replays the whole batches in `bytes`; yields the offset behind them.
    fn replay(&mut self, bytes: &[u8], from: Offset) -> Result<Offset, Unread> {
        let mut next = from;
        for batch in Batches::new(bytes) {
            let batch = batch.map_err(|error| Unread::at(next, &error))?;
            let base = batch.base_offset;
            batch.check_crc().map_err(|error| Unread::at(base, &error))?;
            self.replay_batch(&batch, from)
                .map_err(|error| Unread::at(base, &error))?;
            next = next.max(batch.next_offset());
        }
        if next <= from {
            return Err(Unread::at(from, &"there is no whole batch"));
        }
        Ok(next)
    }

    fn replay_batch(
        &mut self,
        batch: &Batch<'_>,
        from: Offset,
    ) -> Result<(), crate::records::record::RecordsError> {
        let (producer_id, producer_epoch) = (batch.producer_id.get(), batch.producer_epoch.get());
        if batch.is_control() {
            if let Some(marker) = EndTransactionMarker::of_batch(batch)? {
                self.shard.replay_marker(EndedTransaction {
                    producer_id,
                    producer_epoch,
                    commit: marker.commit,
                    offset: batch.base_offset,
                    replicated: true,
                });
            }
            return Ok(());
        }
        let mut records = batch.records(None)?;
        while let Some(record) = records.next()? {
            if record.offset < from {
                continue;
            }
            self.records += 1;
            let replayed = Replayed {
                key: record.key.unwrap_or_default(),
                value: record.value,
                offset: record.offset,
                timestamp_ms: record.timestamp,
                producer_id,
                producer_epoch,
                transactional: batch.is_transactional(),
                replicated: true,
            };
            if let Err(error) = self.shard.replay(&replayed) {
                self.unreadable += 1;
                if self.unreadable <= TOLD_UNREADABLE {
                    tracing::error!(
                        partition = %self.slot.partition.name(),
                        offset = %replayed.offset,
                        %error,
                        "a record cannot be read and is left out"
                    );
                }
            }
        }
        Ok(())
    }

    fn tell(&mut self, next: Offset, end: Offset) {
        if self.told.elapsed() < TELL_EVERY {
            return;
        }
        self.told = Instant::now();
        tracing::info!(
            partition = %self.slot.partition.name(),
            offset = %next,
            log_end_offset = %end,
            records = self.records,
            bytes = self.bytes,
            "loading"
        );
    }

    /// Tells how it went.
    pub fn tell_loaded(&self) {
        let milliseconds = self.begun.elapsed().as_millis();
        let partition = self.slot.partition.name();
        let memory_bytes = self.shard.memory_bytes();
        if self.unreadable > 0 {
            tracing::error!(%partition, records = self.unreadable, "records were left out");
        }
        if self.records == 0 {
            tracing::debug!(%partition, epoch = %self.slot.epoch(), "loaded, empty");
        } else {
            tracing::info!(
                %partition,
                epoch = %self.slot.epoch(),
                records = self.records,
                bytes = self.bytes,
                memory_bytes,
                milliseconds,
                "loaded"
            );
        }
    }
}

/// Why a piece could not be read.
enum Unread {
    Code(ErrorCode),
    At(Offset, String),
}

impl Unread {
    fn at(offset: Offset, reason: &dyn std::fmt::Display) -> Self {
        Self::At(offset, reason.to_string())
    }
}

impl From<ErrorCode> for Unread {
    fn from(code: ErrorCode) -> Self {
        Self::Code(code)
    }
}
