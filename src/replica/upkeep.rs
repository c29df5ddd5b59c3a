//! What a partition's log needs besides requests: retention, flushes, expiry, deletion, the clean stop, descriptions.
//!
//! These block, and run on the pool of the log directory.

use std::path::PathBuf;
use std::sync::Arc;

use crate::base::error_code::ErrorCode;
use crate::metadata::Cluster;
use crate::storage::log::{DeletedFiles, FlushWork, Flushed};
use crate::storage::volume::LogIoError;

use super::directories::{HostDirectory, LogDescription};
use super::partition::Partition;
use super::replicas::Replicas;
use super::together;

/// How long the folder of a partition stays after it was renamed to be deleted (`log.segment.delete.delay.ms`).
pub(super) fn folder_delay_ms(cluster: &Cluster) -> i64 {
    cluster.get().broker_config.log_segment_delete_delay_ms
}

/// A producer that a partition knows (DescribeProducers).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProducerDescription {
    /// Its id.
    pub producer_id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// The last sequence; −1 for none.
    pub last_sequence: i32,
    /// The time of its last batch or marker in milliseconds; −1 for none.
    pub last_timestamp_ms: i64,
    /// The epoch of the coordinator that last wrote a marker; −1 for none.
    pub coordinator_epoch: i32,
    /// Where its open transaction starts; −1 for none.
    pub transaction_start_offset: i64,
}

impl Replicas {
    /// What a partition knows of its producers.
    ///
    /// # Errors
    /// The code for the client.
    pub fn producers(&self, topic: &str, partition: i32) -> Result<Vec<ProducerDescription>, ErrorCode> {
        let found = self.find(topic, partition)?;
        let locked = found.lock()?;
        let producers = locked.state.log.producers();
        Ok(producers
            .map(|(id, entry)| ProducerDescription {
                producer_id: id.get(),
                epoch: entry.epoch().get(),
                last_sequence: entry.last_sequence(),
                last_timestamp_ms: entry.last_timestamp(),
                coordinator_epoch: entry.coordinator_epoch(),
                transaction_start_offset: entry.transaction_first_offset().map_or(-1, |offset| offset.get()),
            })
            .collect())
    }
}

/// Writes what new logs of one directory still lack on disk, so that their first appends do not have to wait for it: many
/// of them together, a few one after the other, and between them whatever else the pool has to do.
pub(super) fn finish_creations(directory: &Arc<HostDirectory>, partitions: Vec<Arc<Partition>>) {
    let pool = directory.pool().clone();
    let directory = Arc::clone(directory);
    pool.start_work(move || match together::create(&directory, &partitions) {
        Ok(left) => one_by_one(left),
        // The first appends find out again.
        Err(error) => tracing::error!(%error, "cannot finish new logs"),
    });
}

fn one_by_one(mut partitions: Vec<Arc<Partition>>) {
    let Some(partition) = partitions.pop() else {
        return;
    };
    let pool = partition.pool().clone();
    pool.start_work(move || {
        partition.finish_creation();
        one_by_one(partitions);
    });
}

impl Partition {
    /// Writes what a new log still lacks on disk. Blocks.
    fn finish_creation(&self) {
        let work = self.lock_blocking().log.creation_work();
        if let Some(work) = work {
            match work.run() {
                Ok(created) => self.lock_blocking().log.created(created),
                Err(error) => {
                    tracing::error!(partition = %self.name(), %error, "cannot finish a new log");
                }
            }
        }
    }

    /// For DescribeLogDirs.
    pub(super) fn describe(&self) -> Option<LogDescription> {
        let locked = self.lock().ok()?;
        let log = &locked.state.log;
        Some(LogDescription {
            partition: self.name().clone(),
            size_bytes: log.size_in_bytes(),
            offset_lag: log.high_watermark().since(log.log_end_offset()).max(0),
            is_future: false,
        })
    }

    /// True when the cleaner, not retention, takes care of the log.
    pub(super) fn is_compacted(&self) -> bool {
        self.lock_blocking().log.config().compact
    }

    /// True when the log stands in the cleaner's checkpoint.
    pub(super) fn was_cleaned(&self) -> bool {
        self.lock_blocking().log.cleaner_checkpoint().is_some()
    }

    /// True while the cleaner goes through the log.
    pub(super) fn is_being_cleaned(&self) -> bool {
        self.lock_blocking().log.is_being_cleaned()
    }

    /// Takes old segments out of the log. `None` once the replica has ended: its log may be closed, and its directory marked
    /// as cleanly stopped.
    pub(super) fn retain(
        &self,
        now_ms: i64,
    ) -> Result<Option<(DeletedFiles, Option<FlushWork>)>, LogIoError> {
        let mut state = self.lock_blocking();
        if state.stopped {
            return Ok(None);
        }
        let report = state.log.retain(now_ms)?;
        // The log start offset may have risen.
        let wakes = state.settle();
        drop(state);
        wakes.dispatch();
        Ok(Some((report.files, report.flush)))
    }

    /// Syncs the log when `flush.ms` has passed.
    pub(super) fn flush_if_due(self: &Arc<Self>, now_ms: i64) {
        let work = {
            let mut state = self.lock_blocking();
            if state.log.wants_flush(now_ms) {
                state.log.flush_plan()
            } else {
                None
            }
        };
        if let Some(work) = work {
            self.run_flush(work);
        }
    }

    /// Forgets idle producers.
    pub(super) fn expire_producers(&self, now_ms: i64, expiration_ms: i64) {
        let expired = self.lock_blocking().log.expire_producers(now_ms, expiration_ms);
        if expired > 0 {
            tracing::debug!(partition = %self.name(), expired, "idle producers are forgotten");
        }
    }

    /// Completes the files for a clean stop, if they lie in `directory`; yields what is to be synced. No request finds the
    /// partition afterwards, and it goes to no other directory.
    pub(super) fn close(&self, directory: &Arc<HostDirectory>) -> Result<Option<FlushWork>, LogIoError> {
        self.stop().dispatch();
        let mut state = self.lock_blocking();
        if !Arc::ptr_eq(self.directory(), directory) {
            // It has gone there in this moment, and is closed with what lies there.
            return Ok(None);
        }
        state.log.close()
    }

    /// What [`close`](Self::close) asked for is synced.
    pub(super) fn closed(&self, flushed: Flushed, now_ms: i64) {
        self.lock_blocking().log.flushed(flushed, now_ms);
    }

    /// Renames the folder of a stopped partition so that it is deleted; yields its new path and when it may be removed:
    /// for whole folders that is the broker's to say, not the topic's (`LogManager.deleteLogs`).
    /// The new name is durable once the log directory is synced.
    pub(super) fn bury(&self, now_ms: i64) -> Result<(PathBuf, i64), LogIoError> {
        let state = self.lock_blocking();
        let path = state.log.mark_deleted()?;
        let delay_ms = folder_delay_ms(&state.surroundings.cluster);
        Ok((path, now_ms.saturating_add(delay_ms)))
    }

    /// Wakes everybody who waits, now or when the partition's lock can be had.
    pub(super) fn wake_all_somehow(self: &Arc<Self>) {
        let partition = Arc::clone(self);
        self.pool().start_work(move || partition.wake_all().dispatch());
    }
}
