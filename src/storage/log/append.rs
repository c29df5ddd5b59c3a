//! Appends: as leader (offsets are assigned here) and as follower (they are the leader's). Kafka: `UnifiedLog.append`.
//!
//! The order of the steps is Kafka's, since it decides which error is seen and what a refused append leaves behind:
//! metadata file, records, leader epoch, size, roll, producers, write. What was refused has changed no offset.

use bytes::Bytes;

use super::flush::FlushWork;
use super::{AppendError, Log};
use crate::base::ids::{LeaderEpoch, Offset};
use crate::config::LogConfig;
use crate::records::batch::{Batch, BatchHeader, Batches, NO_TIMESTAMP, V2_HEADER_BYTES};
use crate::records::compression::Levels;
use crate::records::control::EndTransactionMarker;
use crate::records::validate::{self, LookedAt, Rules};
use crate::storage::producer_state::{Check, Marker, Origin, Update, Verification};
use crate::storage::segment::Incoming;

/// What an append did.
#[derive(Debug)]
pub struct AppendInfo {
    /// The offset of the first record; of a duplicate, that of the batch that is in the log. `None` when a follower was
    /// given nothing that it could append.
    pub first_offset: Option<Offset>,
    /// The offset of the last record.
    pub last_offset: Offset,
    /// The time of the append, −1 unless the topic has LogAppendTime (or the batch is a duplicate, as in Kafka).
    pub log_append_time_ms: i64,
    /// The log's start.
    pub log_start_offset: Offset,
    /// The largest timestamp of the records.
    pub max_timestamp_ms: i64,
    /// How many records were converted from an old format or another codec.
    pub converted_records: u32,
    /// The batch was in the log already; nothing was written.
    pub is_duplicate: bool,
    /// Bytes that were written.
    pub bytes: usize,
    /// Something that is now to be synced, on the log directory's pool: a segment was rolled, or `flush.messages`
    /// records are unsynced.
    pub flush: Option<FlushWork>,
    /// `flush.messages` demands that [`AppendInfo::flush`] is done before the append is acknowledged.
    pub flush_first: bool,
}

/// What is to be written: a leader's batch has its patched header apart.
struct Ready<'a> {
    head: &'a [u8],
    rest: &'a [u8],
    headers: &'a [BatchHeader],
    incoming: Incoming,
    first_offset: Option<Offset>,
    /// Among them is a marker that aborts a transaction which has records.
    has_abort: bool,
}

impl Log {
    /// What records have to be like, now.
    pub fn rules(&self) -> Rules {
        rules_of(&self.config)
    }

    /// Appends what a producer (`Origin::Client`) or a coordinator sent, as the partition's leader in `leader_epoch`.
    /// `looked_at`: what was found in the same records before, by the same [`rules`](Self::rules) and `now_ms`.
    pub fn append_as_leader(
        &mut self,
        records: &Bytes,
        leader_epoch: LeaderEpoch,
        origin: Origin,
        verification: Verification,
        now_ms: i64,
        looked_at: Option<&LookedAt>,
    ) -> Result<AppendInfo, AppendError> {
        self.before_append()?;
        let validated = validate::validate_and_assign(
            records,
            self.log_end_offset,
            leader_epoch,
            now_ms,
            &self.rules(),
            origin,
            looked_at,
        )
        .map_err(|error| AppendError::Invalid(Box::new(error)))?;
        let header = validated.header;
        let bytes = V2_HEADER_BYTES + validated.rest.len();
        self.assign_epoch_start(header.partition_leader_epoch, header.base_offset);
        let marker = if header.is_control() {
            marker_in(&[&validated.head[..], &validated.rest].concat())
        } else {
            None
        };
        let ready = Ready {
            head: &validated.head,
            rest: &validated.rest,
            headers: &[header],
            has_abort: marker.is_some_and(|marker| marker.is_abort)
                && self.producers.has_ongoing_transaction(header.producer_id),
            incoming: Incoming {
                bytes: self.check_size(bytes)?,
                max_timestamp_ms: validated.max_timestamp,
                last_offset: validated.last_offset,
            },
            first_offset: Some(validated.first_offset),
        };
        let rolled = self.roll_for(&ready.incoming, ready.first_offset, now_ms)?;
        let log_start_offset = self.log_start_offset;
        let update = match self.producers.check(&header, marker, origin, verification) {
            Err(error) => return Err(AppendError::Producer(error)),
            Ok(Check::Duplicate(duplicate)) => {
                return Ok(AppendInfo {
                    first_offset: Some(duplicate.first_offset),
                    last_offset: duplicate.last_offset,
                    log_append_time_ms: duplicate.timestamp,
                    log_start_offset,
                    max_timestamp_ms: validated.max_timestamp,
                    converted_records: 0,
                    is_duplicate: true,
                    bytes: 0,
                    flush: rolled
                        .then(|| self.plan_flush(self.active.base_offset()))
                        .flatten(),
                    flush_first: false,
                });
            }
            Ok(Check::Append(update)) => update,
        };
        self.write(&ready, std::iter::once(update))?;
        let (flush, flush_first) = self.flush_after_append(rolled);
        Ok(AppendInfo {
            first_offset: ready.first_offset,
            last_offset: ready.incoming.last_offset,
            log_append_time_ms: validated.log_append_time_ms,
            log_start_offset,
            max_timestamp_ms: validated.max_timestamp,
            converted_records: validated.converted_records,
            is_duplicate: false,
            bytes,
            flush,
            flush_first,
        })
    }

    /// Appends what a leader sent: whole batches with its offsets; a cut batch at the end is left out. From the first
    /// batch on whose epoch is above `leader_epoch`, the one that was fetched with, the rest is left out too: a zombie
    /// leader wrote it (KAFKA-18723). What does not fit into one segment together is left out as well, to be fetched again:
    /// followers ask for more bytes than a small segment has. A single batch is always taken, whatever the size of segments
    /// became since the leader took it; Kafka refuses both, and such a follower never catches up.
    pub fn append_as_follower(
        &mut self,
        records: &[u8],
        leader_epoch: LeaderEpoch,
        now_ms: i64,
    ) -> Result<AppendInfo, AppendError> {
        self.before_append()?;
        let mut batches = Batches::new(records);
        let mut headers = Vec::new();
        let mut updates = Vec::new();
        let mut in_transaction = Vec::new();
        let mut has_abort = false;
        let mut max_timestamp_ms = NO_TIMESTAMP;
        let mut valid_bytes = 0;
        while let Some(batch) = batches.next() {
            let batch = batch.map_err(AppendError::Corrupt)?;
            if !headers.is_empty() && self.check_size(batches.position()).is_err() {
                break;
            }
            if batch.partition_leader_epoch > leader_epoch {
                tracing::info!(
                    partition = %self.partition,
                    "leaving out batches of leader epoch {} fetched in epoch {leader_epoch}",
                    batch.partition_leader_epoch
                );
                break;
            }
            batch.check_crc().map_err(AppendError::Corrupt)?;
            if let Some(last) = headers.last().map(BatchHeader::last_offset)
                && last >= batch.last_offset()
            {
                return Err(AppendError::OffsetsOutOfOrder {
                    last,
                    next: batch.last_offset(),
                });
            }
            let marker = batch.is_control().then(|| marker_of(&batch)).flatten();
            // A leader checked all this already; what it let in is not refused here (KAFKA-6003).
            let check = self.producers.check(
                batch.header(),
                marker,
                Origin::Replication,
                Verification::Disabled,
            );
            if let Ok(Check::Append(update)) = check {
                updates.push(update);
            }
            let id = batch.producer_id;
            if batch.is_transactional() && !batch.is_control() {
                in_transaction.push(id);
            }
            if marker.is_some_and(|marker| marker.is_abort) {
                has_abort |= in_transaction.contains(&id) || self.producers.has_ongoing_transaction(id);
            }
            max_timestamp_ms = max_timestamp_ms.max(batch.max_timestamp);
            headers.push(*batch.header());
            valid_bytes = batches.position();
        }
        let (Some(first), Some(last)) = (headers.first(), headers.last()) else {
            return Ok(self.nothing_appended());
        };
        // A v0 or v1 set tells its last offset only.
        let first_or_last = if first.magic >= 2 {
            first.base_offset
        } else {
            first.last_offset()
        };
        if first_or_last < self.log_end_offset {
            return Err(AppendError::UnexpectedOffset {
                first: first_or_last,
                last: last.last_offset(),
                log_end_offset: self.log_end_offset,
            });
        }
        for header in &headers {
            self.note_epoch(header);
        }
        let ready = Ready {
            head: records.get(..valid_bytes).unwrap_or_default(),
            rest: &[],
            headers: &headers,
            has_abort,
            incoming: Incoming {
                bytes: u32::try_from(valid_bytes).or_else(|_| self.check_size(valid_bytes))?,
                max_timestamp_ms,
                last_offset: last.last_offset(),
            },
            first_offset: (first.magic >= 2).then_some(first.base_offset),
        };
        let rolled = self.roll_for(&ready.incoming, ready.first_offset, now_ms)?;
        self.write(&ready, updates.into_iter())?;
        let (flush, flush_first) = self.flush_after_append(rolled);
        Ok(AppendInfo {
            first_offset: Some(first_or_last),
            last_offset: ready.incoming.last_offset,
            max_timestamp_ms,
            bytes: valid_bytes,
            flush,
            flush_first,
            ..self.nothing_appended()
        })
    }

    fn nothing_appended(&self) -> AppendInfo {
        AppendInfo {
            first_offset: None,
            last_offset: self.log_end_offset.plus(-1),
            log_append_time_ms: NO_TIMESTAMP,
            log_start_offset: self.log_start_offset,
            max_timestamp_ms: NO_TIMESTAMP,
            converted_records: 0,
            is_duplicate: false,
            bytes: 0,
            flush: None,
            flush_first: false,
        }
    }

    /// The topic's id must be on disk before any record is, so that records are never taken for another topic's.
    fn before_append(&mut self) -> Result<(), AppendError> {
        self.check_online()?;
        if let Some(work) = self.creation_work() {
            let done = work.run()?;
            self.created(done);
        }
        Ok(())
    }

    fn note_epoch(&mut self, header: &BatchHeader) {
        if header.magic >= 2 {
            self.assign_epoch_start(header.partition_leader_epoch, header.base_offset);
        } else if self.epochs.clear() {
            tracing::warn!(
                partition = %self.partition,
                "records of format v{} arrived: the leader epochs are forgotten, as they say nothing of them",
                header.magic
            );
            self.unsynced.epochs_changed();
        }
    }

    fn check_size(&self, bytes: usize) -> Result<u32, AppendError> {
        let segment_bytes = self.config.segment_bytes;
        match u32::try_from(bytes) {
            Ok(bytes) if bytes <= segment_bytes => Ok(bytes),
            _ => Err(AppendError::LargerThanSegment {
                bytes: bytes as u64,
                segment_bytes,
            }),
        }
    }

    /// Writes what is ready, and counts it: first the bytes, then offsets and index, then what the producers did. A
    /// failed write leaves offsets as they were. A failed write of the transaction index leaves the transaction open, so
    /// that the last stable offset stays below what it would have told (KAFKA-7866).
    fn write(&mut self, ready: &Ready<'_>, updates: impl Iterator<Item = Update>) -> Result<(), AppendError> {
        // Before anything is written: an abort that cannot be noted is not begun.
        let aborted_file = ready
            .has_abort
            .then(|| self.active.transaction_file(&self.folder))
            .transpose()?;
        self.active.write(&self.folder, ready.head, ready.rest)?;
        for header in ready.headers {
            self.active.added(header, self.config.index_interval_bytes);
        }
        self.log_end_offset = ready.incoming.last_offset.plus(1);
        for update in updates {
            if let Some(completed) = self.producers.apply(update, self.config.max_producer_ids) {
                if let Some(aborted) = self.producers.aborted(&completed) {
                    let added = self.add_aborted(aborted_file.as_deref(), &aborted);
                    added.inspect_err(|failure| self.volume().half_done(failure))?;
                }
                self.producers.complete(&completed);
            }
        }
        self.producers.set_end_offset(self.log_end_offset);
        if self.active.wants_writing() && self.write_indexes().is_err() {
            // Else there was no descriptor: the entries stay in memory, and are written with the next ones.
            self.check_online()?;
        }
        Ok(())
    }

    fn flush_after_append(&mut self, rolled: bool) -> (Option<FlushWork>, bool) {
        if self.log_end_offset.since(self.recovery_point) >= self.config.flush_messages {
            return (self.plan_flush(self.log_end_offset), true);
        }
        if rolled {
            return (self.plan_flush(self.active.base_offset()), false);
        }
        (None, false)
    }
}

/// The marker in a control batch; `None` for other control records and for batches that compaction emptied.
pub(super) fn marker_of(batch: &Batch<'_>) -> Option<Marker> {
    match EndTransactionMarker::of_batch(batch) {
        Ok(marker) => marker.map(|marker| Marker {
            is_abort: !marker.commit,
            coordinator_epoch: marker.coordinator_epoch,
        }),
        Err(error) => {
            tracing::warn!(
                "control batch at offset {} is left out: {error}",
                batch.base_offset
            );
            None
        }
    }
}

/// The marker in the bytes of a control batch.
pub(super) fn marker_in(bytes: &[u8]) -> Option<Marker> {
    let batch = Batch::parse(bytes).ok().flatten()?;
    marker_of(&batch)
}

fn rules_of(config: &LogConfig) -> Rules {
    Rules {
        compacted: config.compact,
        max_message_bytes: config.max_message_bytes,
        codec_target: config.compression,
        levels: Levels {
            gzip: config.gzip_level,
            lz4: config.lz4_level,
            zstd: config.zstd_level,
        },
        timestamp_type: config.message_timestamp_type,
        before_max_ms: config.message_timestamp_before_max_ms,
        after_max_ms: config.message_timestamp_after_max_ms,
    }
}
