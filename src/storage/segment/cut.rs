//! Cutting a segment's end, in two steps: first all is read that must be known and every file opened that is to be changed,
//! while nothing has changed yet; then the files are cut, which reads and opens nothing more. So a cut that gets no descriptor
//! has not begun (Kafka: `LogSegment.truncateTo`).

use std::ops::ControlFlow;
use std::sync::Arc;

use super::{Segment, SegmentError, TimestampOffset};
use crate::base::disk::File;
use crate::base::ids::Offset;
use crate::storage::file_names::FileKind;
use crate::storage::folder::Folder;

/// A cut that only has to be carried out.
pub struct Cut {
    offset: Offset,
    size: u32,
    largest: TimestampOffset,
    keep_offsets: u32,
    keep_times: u32,
    log: Arc<File>,
    /// `None` where the file holds no entry.
    offsets: Option<Arc<File>>,
    times: Option<Arc<File>>,
    transactions: Option<Arc<File>>,
}

impl Segment {
    /// Prepares to remove the batch that reaches `offset` and all behind it, from the log and the indexes. The segment must
    /// be active. Nothing is changed.
    pub fn prepare_cut(&self, folder: &Folder, offset: Offset) -> Result<Cut, SegmentError> {
        let base = self.base_offset;
        let size = self.end_below(folder, offset)?;
        let keep_offsets = self.with_offsets(folder, |entries| {
            entries.partition_point(|entry| entry.offset(base) < offset)
        })?;
        let (keep_times, last_time) = self.with_times(folder, |entries| {
            let keep = entries.partition_point(|entry| entry.offset(base) < offset)?;
            let last = keep.checked_sub(1).map(|last| entries.get(last)).transpose()?;
            Ok((keep, last.flatten()))
        })?;
        let noted = last_time.map_or(self.no_timestamp(), |entry| TimestampOffset {
            timestamp_ms: entry.timestamp_ms,
            offset: entry.offset(base),
        });
        let (offsets_written, times_written) = self.active.as_ref().map_or((0, 0), |active| {
            (active.index.offsets.written(), active.index.times.written())
        });
        let open = |kind, is_wanted: bool| is_wanted.then(|| folder.file(self.files, base, kind)).transpose();
        Ok(Cut {
            offset,
            size,
            largest: self.largest_below(folder, noted, size)?,
            keep_offsets,
            keep_times,
            log: folder.file(self.files, base, FileKind::Log)?,
            offsets: open(FileKind::OffsetIndex, offsets_written > 0)?,
            times: open(FileKind::TimeIndex, times_written > 0)?,
            transactions: open(FileKind::TransactionIndex, !self.transactions.is_empty())?,
        })
    }

    /// The largest timestamp of the first `size` bytes, of which the time index tells `noted`; that one where the log cannot
    /// be read behind it.
    fn largest_below(
        &self,
        folder: &Folder,
        noted: TimestampOffset,
        size: u32,
    ) -> Result<TimestampOffset, SegmentError> {
        let mut largest = noted;
        let visited = self.visit_from(folder, noted.offset, |batch| {
            if batch.position >= size {
                return ControlFlow::Break(());
            }
            largest = largest.raised(&batch.header);
            ControlFlow::Continue(())
        });
        match visited {
            Err(SegmentError::Corrupt { position, .. }) if position < size => Ok(noted),
            Ok(()) | Err(SegmentError::Corrupt { .. }) => Ok(largest),
            Err(error @ SegmentError::Io(_)) => Err(error),
        }
    }

    /// Carries a cut out. What an error leaves is neither what was nor what is to be.
    pub fn cut(&mut self, folder: &Folder, cut: Cut, now_ms: i64) -> Result<(), SegmentError> {
        let base = self.base_offset;
        if let Some(active) = &mut self.active {
            let failed = |kind| move |error: std::io::Error| folder.failed("cut", base, kind, &error);
            let offsets = active
                .index
                .offsets
                .truncate(cut.keep_offsets, cut.offsets.as_deref());
            offsets.map_err(failed(FileKind::OffsetIndex))?;
            let times = active.index.times.truncate(cut.keep_times, cut.times.as_deref());
            times.map_err(failed(FileKind::TimeIndex))?;
            active.newest = None;
            active.index.restart_counting();
            active.changed = true;
            // What was cut may be on disk already.
            active.new = false;
        }
        if let Some(file) = &cut.transactions {
            let truncated = self.transactions.truncate_to(file, cut.offset);
            truncated.map_err(|error| self.transaction_error(folder, &error))?;
            let synced = file.sync();
            synced.map_err(|error| self.io(folder, "sync", FileKind::TransactionIndex, &error))?;
        }
        let shortened = cut.log.set_length(u64::from(cut.size));
        shortened.map_err(|error| self.io(folder, "cut", FileKind::Log, &error))?;
        self.size = cut.size;
        if cut.size == 0 {
            self.first_timestamp_ms = None;
            if let Some(active) = &mut self.active {
                active.created_ms = now_ms;
            }
        }
        self.largest = Some(cut.largest);
        Ok(())
    }
}
