//! A partition's folder: the paths of its files, and their descriptors.
//!
//! Invariant: every failed call goes through [`Volume`], so that no log works on after its disk failed.
//! Called by segment/ and log/.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::descriptors::FileId;
use super::file_names::{FileKind, segment_file};
use super::volume::{LogIoError, Volume};
use crate::base::disk::{Disk, File, Open};
use crate::base::ids::Offset;

/// Where a partition's files are.
pub struct Folder {
    volume: Arc<Volume>,
    path: Box<Path>,
}

impl Folder {
    /// The folder `path` of `volume`.
    pub fn new(volume: Arc<Volume>, path: PathBuf) -> Self {
        Self {
            volume,
            path: path.into(),
        }
    }

    /// The volume it is on.
    pub fn volume(&self) -> &Arc<Volume> {
        &self.volume
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The disk it is on.
    pub fn disk(&self) -> &Disk {
        self.volume.disk()
    }

    /// The folder after it was renamed.
    pub fn moved(&mut self, path: PathBuf) {
        self.path = path.into();
    }

    /// The path of a file of the segment at `base`, or of the snapshot at that offset.
    pub fn path_of(&self, base: Offset, kind: FileKind) -> PathBuf {
        self.path.join(segment_file(base, kind))
    }

    /// An open file of a segment; `files` is the segment's block of ids.
    pub fn file(&self, files: FileId, base: Offset, kind: FileKind) -> Result<Arc<File>, LogIoError> {
        self.open(files, base, kind, Open::Existing)
    }

    /// An open file of a segment, `None` when it is not there.
    pub fn file_if_there(
        &self,
        files: FileId,
        base: Offset,
        kind: FileKind,
    ) -> Result<Option<Arc<File>>, LogIoError> {
        match self.descriptor(files, base, kind, Open::Existing) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.not_opened(base, kind, &error)),
        }
    }

    /// An open file of a segment, made, or emptied if it is there.
    pub fn new_file(&self, files: FileId, base: Offset, kind: FileKind) -> Result<Arc<File>, LogIoError> {
        self.volume.descriptors().forget(files.plus(slot(kind)));
        self.open(files, base, kind, Open::Truncate)
    }

    fn open(&self, files: FileId, base: Offset, kind: FileKind, how: Open) -> Result<Arc<File>, LogIoError> {
        self.descriptor(files, base, kind, how)
            .map_err(|error| self.not_opened(base, kind, &error))
    }

    /// The path is made only when the file must be opened: every append and every fetch comes through here, and making
    /// one costs more than all the rest of finding an open file.
    fn descriptor(&self, files: FileId, base: Offset, kind: FileKind, how: Open) -> io::Result<Arc<File>> {
        self.volume.descriptors().get(files.plus(slot(kind)), || {
            self.disk().open(&self.path_of(base, kind), how)
        })
    }

    fn not_opened(&self, base: Offset, kind: FileKind, error: &io::Error) -> LogIoError {
        self.volume.not_opened("open", &self.path_of(base, kind), error)
    }

    /// Lets go of a segment's open files.
    pub fn forget(&self, files: FileId) {
        for kind in FileKind::SEGMENT {
            self.volume.descriptors().forget(files.plus(slot(kind)));
        }
    }

    /// Makes an error of a failed call on a segment's file, and takes the volume offline.
    pub fn failed(
        &self,
        action: &'static str,
        base: Offset,
        kind: FileKind,
        error: &io::Error,
    ) -> LogIoError {
        self.volume.failed(action, &self.path_of(base, kind), error)
    }

    /// Removes a file that need not be there.
    pub fn remove(&self, path: &Path) -> Result<(), LogIoError> {
        match self.disk().remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.volume.failed("remove", path, &error))
            }
            _ => Ok(()),
        }
    }
}

/// How many ids a segment's files take.
pub const FILE_IDS: u64 = 4;

const fn slot(kind: FileKind) -> u64 {
    match kind {
        FileKind::Log => 0,
        FileKind::OffsetIndex => 1,
        FileKind::TimeIndex => 2,
        FileKind::TransactionIndex | FileKind::Snapshot => 3,
    }
}
