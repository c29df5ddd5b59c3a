//! Retention: old segments go (Kafka: `UnifiedLog.deleteOldSegments`), and how files are removed.
//!
//! Files are renamed to `.deleted` under the lock and removed later, outside of it. A segment goes only when all of it
//! lies below the high watermark, and one segment always stays.

use std::path::PathBuf;
use std::sync::Arc;

use super::Log;
use crate::base::ids::Offset;
use crate::storage::descriptors::FileId;
use crate::storage::file_names::{FileKind, FileState, SegmentFile};
use crate::storage::segment::Segment;
use crate::storage::volume::{LogIoError, Volume};

/// Files that were renamed to `.deleted`, to be removed from `due_ms` on. Dropping it leaves them to the next start.
#[must_use = "the files stay on disk until it is run"]
pub struct DeletedFiles {
    volume: Arc<Volume>,
    paths: Vec<PathBuf>,
    /// When they may be removed (`file.delete.delay.ms` after the renaming); reads that have begun still use them.
    pub due_ms: i64,
}

impl DeletedFiles {
    /// True when there is nothing to remove.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// The files.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Removes the files. Those that are gone, with their folder perhaps, are no error (KAFKA-13403).
    pub fn remove(self) -> Result<(), LogIoError> {
        self.volume.check()?;
        for path in &self.paths {
            match self.volume.disk().remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(self.volume.failed("remove", path, &error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// What retention did.
pub struct RetentionReport {
    /// How many segments went.
    pub segments: usize,
    /// Their files.
    pub files: DeletedFiles,
    /// What is to be synced, where the segment in use was rolled.
    pub flush: Option<super::FlushWork>,
}

impl Log {
    /// Deletes the segments that are no longer kept: below the log's start, and if the topic's policy has `delete`, above
    /// `retention.bytes` or older than `retention.ms`.
    pub fn retain(&mut self, now_ms: i64) -> Result<RetentionReport, LogIoError> {
        self.check_online()?;
        let mut report = RetentionReport {
            segments: 0,
            files: self.nothing_deleted(now_ms),
            flush: None,
        };
        let below_start = self.count_below_start();
        self.delete_oldest(
            below_start,
            "the log start offset passed them",
            now_ms,
            &mut report,
        )?;
        if self.config.delete {
            let by_size = self.count_above_size();
            self.delete_oldest(
                by_size,
                "the log is larger than retention.bytes",
                now_ms,
                &mut report,
            )?;
            let by_time = self.count_too_old(now_ms)?;
            self.delete_oldest(by_time, "they are older than retention.ms", now_ms, &mut report)?;
        }
        Ok(report)
    }

    pub(super) fn nothing_deleted(&self, now_ms: i64) -> DeletedFiles {
        DeletedFiles {
            volume: Arc::clone(self.volume()),
            paths: Vec::new(),
            due_ms: now_ms.saturating_add(self.config.file_delete_delay_ms),
        }
    }

    /// True when segment `number` may go as far as the high watermark and its emptiness are concerned.
    fn may_go(&self, number: usize) -> bool {
        let is_last = number == self.inactive.len();
        self.high_watermark >= self.end_of_segment(number) && !(is_last && self.active.size() == 0)
    }

    fn count_below_start(&self) -> usize {
        (0..self.inactive.len())
            .take_while(|number| {
                self.may_go(*number) && self.end_of_segment(*number) <= self.log_start_offset
            })
            .count()
    }

    fn count_above_size(&self) -> usize {
        let Ok(keep) = u64::try_from(self.config.retention_bytes) else {
            return 0;
        };
        let Some(mut above) = self.size_in_bytes().checked_sub(keep) else {
            return 0;
        };
        let sizes = self.segments().map(|segment| u64::from(segment.size()));
        sizes
            .enumerate()
            .take_while(|(number, size)| match above.checked_sub(*size) {
                Some(rest) if self.may_go(*number) => {
                    above = rest;
                    true
                }
                _ => false,
            })
            .count()
    }

    fn count_too_old(&mut self, now_ms: i64) -> Result<usize, LogIoError> {
        let retention_ms = self.config.retention_ms;
        if retention_ms < 0 {
            return Ok(0);
        }
        for number in 0..self.segment_count() {
            if !self.may_go(number) {
                return Ok(number);
            }
            let folder = &self.folder;
            let segment = match self.inactive.get_mut(number) {
                Some(segment) => segment,
                None => &mut self.active,
            };
            if now_ms.saturating_sub(segment.age_timestamp_ms(folder)?) <= retention_ms {
                return Ok(number);
            }
        }
        Ok(self.segment_count())
    }

    fn delete_oldest(
        &mut self,
        count: usize,
        why: &str,
        now_ms: i64,
        report: &mut RetentionReport,
    ) -> Result<(), LogIoError> {
        if count == 0 {
            return Ok(());
        }
        if count == self.segment_count() {
            self.roll(now_ms)?;
        }
        let start = self
            .segment(count)
            .map_or(self.log_end_offset, Segment::base_offset);
        tracing::info!(
            partition = %self.partition,
            "{count} segments below offset {start} are deleted: {why}"
        );
        self.abort_cleaning();
        // First the offset, so that nobody looks for what goes.
        self.raise_log_start_offset(start);
        let gone: Vec<Segment> = self.inactive.drain(..count.min(self.inactive.len())).collect();
        report.segments += gone.len();
        for segment in &gone {
            self.delete_files(segment.base_offset(), segment.files(), &mut report.files)?;
        }
        self.complete_below = self.complete_below.max(self.first_base_offset());
        report.flush = self.plan_flush(self.active.base_offset());
        Ok(())
    }

    /// Renames the files of a segment that is no longer part of the log, and the snapshot of the same offset.
    pub(super) fn delete_files(
        &mut self,
        base: Offset,
        files: FileId,
        into: &mut DeletedFiles,
    ) -> Result<(), LogIoError> {
        self.delete_segment_files(base, files, into)?;
        self.delete_snapshot(base, into)
    }

    /// The same without the snapshot.
    pub(super) fn delete_segment_files(
        &mut self,
        base: Offset,
        files: FileId,
        into: &mut DeletedFiles,
    ) -> Result<(), LogIoError> {
        self.folder.forget(files);
        for kind in FileKind::SEGMENT {
            self.rename_deleted(base, kind, into)?;
        }
        self.unsynced.folder_changed();
        Ok(())
    }

    /// Renames the snapshot at `offset`, if there is one.
    pub(super) fn delete_snapshot(
        &mut self,
        offset: Offset,
        into: &mut DeletedFiles,
    ) -> Result<(), LogIoError> {
        if let Ok(at) = self.snapshots.binary_search(&offset) {
            self.snapshots.remove(at);
            self.rename_deleted(offset, FileKind::Snapshot, into)?;
        }
        Ok(())
    }

    fn rename_deleted(
        &self,
        offset: Offset,
        kind: FileKind,
        into: &mut DeletedFiles,
    ) -> Result<(), LogIoError> {
        let live = SegmentFile::live(offset, kind);
        let path = self.folder.path_of(offset, kind);
        let deleted = self.path().join(live.in_state(FileState::Deleted).to_string());
        match self.folder.disk().rename(&path, &deleted) {
            Ok(()) => {
                into.paths.push(deleted);
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(self.volume().failed("rename", &path, &error)),
        }
    }
}
