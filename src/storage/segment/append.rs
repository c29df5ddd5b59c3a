//! Writing a segment: batches and index entries behind its end, and its closing.

use std::sync::Arc;

use super::{Active, IndexBuilder, Newest, Place, Segment, SegmentError, TimestampOffset};
use crate::base::disk::File;
use crate::base::ids::Offset;
use crate::records::batch::BatchHeader;
use crate::storage::descriptors::FileId;
use crate::storage::file_names::FileKind;
use crate::storage::folder::Folder;
use crate::storage::index::{ActiveIndex, Entries, Entry};
use crate::storage::transaction_index::{AbortedTransaction, TransactionIndex};
use crate::storage::volume::LogIoError;

impl Segment {
    /// Writes `head` and `rest`, back to back, behind the end. What they hold counts only after [`Segment::added`];
    /// after an error the file is cut to where it was, as far as the disk still allows.
    pub fn write(&self, folder: &Folder, head: &[u8], rest: &[u8]) -> Result<(), LogIoError> {
        let file = folder.file(self.files, self.base_offset, FileKind::Log)?;
        let at = u64::from(self.size);
        if let Err(error) = file.write_both_at(head, rest, at) {
            let failure = self.io(folder, "write", FileKind::Log, &error);
            if let Err(error) = file.set_length(at) {
                tracing::warn!("the rest of a failed append stays behind the log's end: {error}");
            }
            return Err(failure);
        }
        Ok(())
    }

    /// Counts a batch that was written at the end: size, timestamps, index entries (the rule of Kafka 3.9.2: the first
    /// batch behind more than `index_interval_bytes` without an entry gets one).
    pub fn added(&mut self, header: &BatchHeader, index_interval_bytes: u32) {
        let place = Place {
            position: self.size,
            size: header.size_in_bytes,
        };
        let last_offset = header.last_offset();
        let largest = self.largest.unwrap_or(self.no_timestamp()).raised(header);
        self.largest = Some(largest);
        if self.size == 0 {
            self.first_timestamp_ms = Some(header.max_timestamp);
        }
        let base = self.base_offset;
        if let Some(active) = &mut self.active {
            active.changed = true;
            active
                .index
                .added(base, last_offset, place, largest, index_interval_bytes);
            active.newest = Some(Newest {
                // A v0 or v1 set does not say where it begins.
                base_offset: if header.magic < 2 {
                    last_offset
                } else {
                    header.base_offset
                },
                last_offset,
                place,
            });
        }
        self.size = self.size.saturating_add(place.size);
    }

    /// True when so many index entries lie in memory that [`Segment::write_indexes`] should be called.
    pub fn wants_writing(&self) -> bool {
        self.active
            .as_ref()
            .is_some_and(|active| active.index.offsets.wants_writing() || active.index.times.wants_writing())
    }

    /// Writes the index entries that lie in memory only.
    pub fn write_indexes(&mut self, folder: &Folder) -> Result<(), LogIoError> {
        let (files, base) = (self.files, self.base_offset);
        if let Some(active) = &mut self.active {
            if active.index.offsets.is_unwritten() {
                write_index(
                    folder,
                    &mut active.index.offsets,
                    FileKind::OffsetIndex,
                    files,
                    base,
                )?;
            }
            if active.index.times.is_unwritten() {
                write_index(folder, &mut active.index.times, FileKind::TimeIndex, files, base)?;
            }
        }
        Ok(())
    }

    /// Makes the files complete, as Kafka leaves them on a roll and a clean stop: both indexes there, exactly as long
    /// as their entries, the time index with its closing entry, the log cut to its batches.
    pub fn complete(&mut self, folder: &Folder) -> Result<(), LogIoError> {
        let largest = self.largest_timestamp(folder)?;
        let (files, base) = (self.files, self.base_offset);
        let Some(active) = &mut self.active else {
            return Ok(());
        };
        if !active.changed {
            return Ok(());
        }
        active.index.close(base, largest);
        write_index(
            folder,
            &mut active.index.offsets,
            FileKind::OffsetIndex,
            files,
            base,
        )?;
        write_index(folder, &mut active.index.times, FileKind::TimeIndex, files, base)?;
        let file = folder.file(files, base, FileKind::Log)?;
        let length = file.length();
        let cut = length.and_then(|length| {
            if length == u64::from(self.size) {
                return Ok(());
            }
            file.set_length(u64::from(self.size))
        });
        cut.map_err(|error| self.io(folder, "cut", FileKind::Log, &error))?;
        if let Some(active) = &mut self.active {
            active.changed = false;
        }
        Ok(())
    }

    /// Says that the files are to be completed once more.
    pub fn not_complete(&mut self) {
        if let Some(active) = &mut self.active {
            active.changed = true;
        }
    }

    /// Ends the writing: the files are completed, and the memory of the active segment let go.
    pub fn deactivate(&mut self, folder: &Folder) -> Result<(), LogIoError> {
        self.complete(folder)?;
        self.active = None;
        Ok(())
    }

    /// Begins to write a segment that is on disk, whole, behind its end.
    pub fn activate(&mut self, folder: &Folder, now_ms: i64, roll_jitter_ms: i64) -> Result<(), LogIoError> {
        if self.active.is_some() {
            return Ok(());
        }
        let largest = self.largest_timestamp_there(folder)?;
        let offsets = self.with_offsets(folder, |entries| reopened(&entries))?;
        let times = self.with_times(folder, |entries| reopened(&entries))?;
        self.largest = Some(largest);
        self.active = Some(Box::new(Active {
            index: IndexBuilder::reopened(offsets, times),
            changed: false,
            new: false,
            created_ms: now_ms,
            roll_jitter_ms,
            newest: None,
        }));
        Ok(())
    }

    /// The largest timestamp as far as the log can be read.
    fn largest_timestamp_there(&self, folder: &Folder) -> Result<TimestampOffset, LogIoError> {
        match self.scan_largest_timestamp(folder) {
            Err(SegmentError::Io(error)) => Err(error),
            Err(SegmentError::Corrupt { .. }) => {
                Ok(self.told_by(self.with_times(folder, |entries| entries.last())?))
            }
            Ok(largest) => Ok(largest),
        }
    }

    /// The file that [`add_to`](Self::add_to) appends to, opened before there is a marker that wants it.
    pub fn transaction_file(&self, folder: &Folder) -> Result<Arc<File>, LogIoError> {
        let kind = FileKind::TransactionIndex;
        if self.transactions.is_empty() {
            folder.new_file(self.files, self.base_offset, kind)
        } else {
            folder.file(self.files, self.base_offset, kind)
        }
    }

    /// Appends an aborted transaction to the index of this segment, which holds its marker.
    pub fn add_aborted(&mut self, folder: &Folder, aborted: &AbortedTransaction) -> Result<(), LogIoError> {
        let file = self.transaction_file(folder)?;
        self.add_to(&file, folder, aborted)
    }

    /// The same in the file that was opened.
    pub fn add_to(
        &mut self,
        file: &File,
        folder: &Folder,
        aborted: &AbortedTransaction,
    ) -> Result<(), LogIoError> {
        let appended = self.transactions.append(file, aborted);
        appended.map_err(|error| self.transaction_error(folder, &error))
    }

    /// Empties all three indexes, to be built anew, and makes the segment active without a batch: what
    /// [`Segment::added`] counts from here on is what the `.log` holds already.
    pub fn restart(&mut self, folder: &Folder, now_ms: i64, roll_jitter_ms: i64) -> Result<(), LogIoError> {
        self.forget_transactions(folder)?;
        self.size = 0;
        self.largest = Some(self.no_timestamp());
        self.first_timestamp_ms = None;
        let new = self.is_new();
        self.activate_new(now_ms, roll_jitter_ms, new);
        Ok(())
    }

    fn forget_transactions(&mut self, folder: &Folder) -> Result<(), LogIoError> {
        self.transactions = TransactionIndex::empty();
        let kind = FileKind::TransactionIndex;
        if let Some(file) = folder.file_if_there(self.files, self.base_offset, kind)? {
            // Synced at once, as nothing else would: an entry that came back would hide records that count.
            let emptied = file.length().and_then(|length| {
                if length == 0 {
                    return Ok(());
                }
                file.set_length(0)?;
                file.sync()
            });
            emptied.map_err(|error| self.io(folder, "cut", kind, &error))?;
        }
        Ok(())
    }
}

fn reopened<E: Entry>(entries: &Entries<'_, E>) -> std::io::Result<ActiveIndex<E>> {
    Ok(ActiveIndex::of_file(entries.count(), entries.last()?))
}

/// The file of an index whose first entries are about to be written is emptied: it may be one that recovery rejected.
fn write_index<E: Entry>(
    folder: &Folder,
    index: &mut ActiveIndex<E>,
    kind: FileKind,
    files: FileId,
    base: Offset,
) -> Result<(), LogIoError> {
    let file = if index.written() == 0 {
        folder.new_file(files, base, kind)?
    } else if index.is_unwritten() {
        folder.file(files, base, kind)?
    } else {
        return Ok(());
    };
    index
        .write(&file)
        .map_err(|error| folder.failed("write", base, kind, &error))
}
