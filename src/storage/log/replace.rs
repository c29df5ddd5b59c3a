//! How cleaned segments are made and take the place of others (Kafka: `LocalLog.replaceSegments`).
//!
//! Invariant: the renames are such that a start finds out how far they got, wherever a crash stopped them. Called by the
//! cleaner, under the partition's lock, with its [`CleaningToken`].

use std::path::PathBuf;
use std::sync::Arc;

use super::clean::{CleaningToken, Source};
use super::{DeletedFiles, Log};
use crate::base::ids::Offset;
use crate::storage::cleaner::writer::{CleanedSegment, CleanedWriter, path_in};
use crate::storage::file_names::{FileKind, FileState};
use crate::storage::segment::Segment;
use crate::storage::volume::{LogIoError, Volume};

impl Log {
    /// Makes the files of a cleaned segment at `base`. `None` once the cleaning was aborted.
    pub(in crate::storage) fn create_cleaned(
        &self,
        token: &CleaningToken,
        base: Offset,
        buffer_bytes: usize,
    ) -> Result<Option<CleanedWriter>, LogIoError> {
        self.check_online()?;
        if !self.is_cleaned_by(token) {
            return Ok(None);
        }
        CleanedWriter::create(&self.folder, base, self.config.index_interval_bytes, buffer_bytes).map(Some)
    }

    /// Removes what an aborted cleaning has written. Not to be called when the folder is no more the log's.
    pub(in crate::storage) fn discard_cleaned(&self, base: Offset) {
        for kind in FileKind::SEGMENT {
            let path = path_in(&self.folder, base, kind, FileState::Cleaned);
            match self.folder.disk().remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    // The next start removes it.
                    tracing::warn!("{} stays: {error}", path.display());
                }
                _ => {}
            }
        }
    }

    /// Puts a cleaned segment, whose files are complete and durable, in the place of `sources`. `None`, with nothing
    /// changed, once the cleaning was aborted. The folder is to be synced before the deleted files are removed.
    ///
    /// The order of the renames is Kafka's, so that a start finds out how far they got: the new files become `.swap`;
    /// the old ones become `.deleted`, the oldest first, so that records never come back without the marker or
    /// tombstone behind them; the new files get their names. Renames in one folder reach the disk in their order.
    pub(in crate::storage) fn replace_segments(
        &mut self,
        token: &CleaningToken,
        sources: &[Source],
        cleaned: CleanedSegment,
        now_ms: i64,
    ) -> Result<Option<DeletedFiles>, LogIoError> {
        self.check_online()?;
        let Some(numbers) = self.numbers_of(token, sources) else {
            return Ok(None);
        };
        let base = cleaned.base;
        let mut deleted = self.nothing_deleted(now_ms);
        let mut kinds = FileKind::SEGMENT.to_vec();
        if cleaned.transactions.is_empty() && !cleaned.has_markers {
            kinds.retain(|kind| *kind != FileKind::TransactionIndex);
            let path = path_in(&self.folder, base, FileKind::TransactionIndex, FileState::Cleaned);
            self.folder.remove(&path)?;
        }
        self.rename_all(base, &kinds, FileState::Cleaned, FileState::Swap)?;
        for source in sources {
            if source.base == base {
                // The producers before its first offset are the same.
                self.delete_segment_files(base, source.files, &mut deleted)?;
            } else {
                self.delete_files(source.base, source.files, &mut deleted)?;
            }
        }
        self.rename_all(base, &kinds, FileState::Swap, FileState::Live)?;
        let segment = Segment::on_disk(&self.folder, base, cleaned.size, cleaned.transactions);
        drop(self.inactive.splice(numbers, [segment]));
        self.unsynced.folder_changed();
        Ok(Some(deleted))
    }

    /// The numbers of `sources`, if they are all still there, in order.
    fn numbers_of(&self, token: &CleaningToken, sources: &[Source]) -> Option<std::ops::Range<usize>> {
        if !self.is_cleaned_by(token) {
            return None;
        }
        let first = self.first_at_or_above(sources.first()?.base);
        let numbers = first..first + sources.len();
        let there = self.inactive.get(numbers.clone())?.iter().zip(sources);
        let mut same = there.map(|(segment, source)| segment.files() == source.files);
        same.all(|same| same).then_some(numbers)
    }

    fn rename_all(
        &self,
        base: Offset,
        kinds: &[FileKind],
        from: FileState,
        to: FileState,
    ) -> Result<(), LogIoError> {
        for kind in kinds {
            let path = path_in(&self.folder, base, *kind, from);
            let target = path_in(&self.folder, base, *kind, to);
            let renamed = self.folder.disk().rename(&path, &target);
            renamed.map_err(|error| self.volume().failed("rename", &path, &error))?;
        }
        Ok(())
    }

    /// Makes what was renamed durable. Not under the partition's lock.
    pub(in crate::storage) fn folder_sync(&self) -> FolderSync {
        FolderSync {
            volume: Arc::clone(self.volume()),
            path: self.path().to_owned(),
        }
    }
}

/// The sync of a partition's folder.
pub(in crate::storage) struct FolderSync {
    volume: Arc<Volume>,
    path: PathBuf,
}

impl FolderSync {
    /// Syncs. A folder that is gone was deleted with its topic.
    pub(in crate::storage) fn run(self) -> Result<(), LogIoError> {
        self.volume.check()?;
        match self.volume.patiently(|disk| disk.sync_directory(&self.path)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(self.volume.failed("sync", &self.path, &error))
            }
            _ => Ok(()),
        }
    }
}
