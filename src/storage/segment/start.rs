//! Where a walk through a segment begins: found with the index, which its owner's lock protects, and walked without it.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use super::Segment;
use super::walk::{FoundBatch, HeaderWalk, WalkError};
use crate::base::disk::File;
use crate::base::ids::Offset;
use crate::base::planted::planted;
use crate::storage::file_names::FileKind;
use crate::storage::folder::Folder;
use crate::storage::offset_index::OffsetEntry;
use crate::storage::volume::LogIoError;

/// A place in a segment, and how long the segment was when it was found. What is appended meanwhile is not seen; after a
/// truncation it may point into the middle of something else.
pub struct Start {
    file: Arc<File>,
    base_offset: Offset,
    size: u32,
    entry: Option<OffsetEntry>,
}

impl Segment {
    /// Where to begin to look for `target`: at a batch at or before it.
    pub fn start_at(&self, folder: &Folder, target: Offset) -> Result<Start, LogIoError> {
        let entry = self.with_offsets(folder, |entries| {
            entries.last_where(|entry| entry.offset(self.base_offset) <= target)
        })?;
        Ok(Start {
            file: folder.file(self.files, self.base_offset, FileKind::Log)?,
            base_offset: self.base_offset,
            size: self.size,
            entry,
        })
    }
}

impl Start {
    /// The segment's `.log`.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The segment's base offset.
    pub fn base_offset(&self) -> Offset {
        self.base_offset
    }

    fn walk(&self, position: u32) -> HeaderWalk {
        HeaderWalk::new(Arc::clone(&self.file), position, self.size)
    }

    /// Shows the batches from here on, until `visit` has enough. `index`: the path of the offset index, for what is said of
    /// one that does not fit.
    pub fn visit(
        &self,
        index: impl Fn() -> PathBuf,
        mut visit: impl FnMut(FoundBatch) -> ControlFlow<()>,
    ) -> Result<(), WalkError> {
        let start = self.entry.map_or(0, |entry| entry.position);
        let mut walk = self.walk(start);
        let mut next = walk.next_batch();
        if let Some(entry) = self.entry {
            // The batch there ends at the entry's offset, or before it in an index that Kafka 3.9.0 wrote. Anything
            // else is an index that does not belong to this log; the log itself is right.
            let fits = |batch: &FoundBatch| batch.header.last_offset() <= entry.offset(self.base_offset);
            if planted!(
                "index-believed",
                false,
                !matches!(&next, Ok(Some(batch)) if fits(batch))
            ) {
                tracing::warn!(
                    segment = %index().display(),
                    "an offset index entry names no batch (position {start}); searching without it"
                );
                walk = self.walk(0);
                next = walk.next_batch();
            }
        }
        while let Some(batch) = next? {
            if visit(batch).is_break() {
                break;
            }
            next = walk.next_batch();
        }
        Ok(())
    }
}
