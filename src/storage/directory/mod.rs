//! One entry of `log.dirs`: its lock, whose it is, the logs in it, and the marker of a clean stop
//! (Kafka: `LogManager`).
//!
//! Invariant: while a [`LogDirectory`] lives, no other broker, Kafka's included, uses the directory. The marker of the
//! last clean stop is gone before a log is opened, and a new one is written only when all of them are closed. Called by
//! broker.rs at the start and the stop; in between the logs are on their own.

mod load;

#[cfg(test)]
mod directory_test;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkpoint::{self, CheckpointError, Offsets};
use super::clean_shutdown;
use super::descriptors::Descriptors;
use super::file_names::{
    BOOT_ID, CLEAN_SHUTDOWN, CLEANER_CHECKPOINT, HIGH_WATERMARK_CHECKPOINT, LOCK,
    LOG_START_OFFSET_CHECKPOINT, MalformedFolderName, RECOVERY_POINT_CHECKPOINT,
};
use super::log::{Log, OpenError};
use super::meta_properties::{self, MetaProperties, MetaPropertiesError};
use super::volume::{LogIoError, Volume};
use crate::base::disk::{Disk, FileLock, Open, Space};
use crate::base::ids::{Offset, TopicPartition};
use crate::base::random::Random;

pub use load::{LoadSettings, LoadedDirectory};

/// What stands in place of the start of the machine after a disk has failed.
const FAILED: &[u8] = b"failed";

/// Why a log directory cannot be used.
#[derive(Debug)]
pub enum DirectoryError {
    /// The disk failed: the directory is offline. A broker with another one goes on.
    Io(LogIoError),
    /// Another process has it.
    Locked(PathBuf),
    /// `meta.properties` cannot be used.
    Meta {
        /// The directory.
        path: PathBuf,
        /// Why.
        error: MetaPropertiesError,
    },
    /// A folder is none of a partition. Kafka would refuse to start on it, too.
    ForeignFolder {
        /// The directory.
        path: PathBuf,
        /// The folder.
        folder: MalformedFolderName,
    },
    /// Logs that cannot be opened, with the reasons.
    Logs(Vec<OpenError>),
}

impl fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Locked(path) => write!(
                f,
                "{} is in use by another broker: it holds the lock of {LOCK} in it",
                path.display()
            ),
            Self::Meta { path, error } => write!(f, "meta.properties in {}: {error}", path.display()),
            Self::ForeignFolder { path, folder } => write!(f, "{}: {folder}", path.display()),
            Self::Logs(errors) => {
                write!(f, "{} logs cannot be opened:", errors.len())?;
                errors.iter().try_for_each(|error| write!(f, " {error};"))
            }
        }
    }
}

impl std::error::Error for DirectoryError {}

impl From<LogIoError> for DirectoryError {
    fn from(error: LogIoError) -> Self {
        Self::Io(error)
    }
}

/// A log directory in use.
pub struct LogDirectory {
    volume: Arc<Volume>,
    meta: Option<MetaProperties>,
    /// Held for as long as the directory is used.
    _lock: FileLock,
}

impl fmt::Debug for LogDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.volume.fmt(f)
    }
}

/// Notes in a log directory, for as long as nobody starts on it, that a disk of the broker failed: what the failed disk had
/// not synced may be gone although the machine went on. The note is in all directories, since the failed one may not take
/// it. Blocks.
///
/// # Errors
/// It cannot be written.
pub fn note_failure(disk: &Disk, directory: &Path) -> io::Result<()> {
    let path = directory.join(BOOT_ID);
    // Who stands alone has no such file.
    if !disk.exists(&path) {
        return Ok(());
    }
    disk.replace(&path, FAILED)
}

impl LogDirectory {
    /// Takes the directory at `path`, which is made when it is missing, and reads whose it is. Nothing else in it is
    /// touched.
    pub fn open(
        path: PathBuf,
        disk: Disk,
        descriptors: Arc<Descriptors>,
        random: Random,
    ) -> Result<Self, DirectoryError> {
        let volume = Volume::new(path.clone(), disk.clone(), descriptors, random);
        let failed = |action, error: &io::Error| DirectoryError::Io(volume.failed(action, &path, error));
        if !disk.exists(&path) {
            disk.create_directory(&path)
                .map_err(|error| failed("make", &error))?;
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                let synced = disk.sync_directory(parent);
                synced.map_err(|error| failed("sync the parent of", &error))?;
            }
        }
        let lock = match disk.lock(&path.join(LOCK)) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(DirectoryError::Locked(path));
            }
            Err(error) => return Err(failed("lock", &error)),
        };
        // From here on the lock file goes with it, whatever is found.
        let mut directory = Self {
            volume: Arc::clone(&volume),
            meta: None,
            _lock: lock,
        };
        directory.meta = match meta_properties::read(&disk, &path) {
            Ok(meta) => meta,
            Err(MetaPropertiesError::Io(error)) => return Err(failed("read meta.properties of", &error)),
            Err(error) => return Err(DirectoryError::Meta { path, error }),
        };
        Ok(directory)
    }

    /// The disk, and whether it works.
    pub fn volume(&self) -> &Arc<Volume> {
        &self.volume
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.volume.path()
    }

    /// Whose it is; `None` for a new one.
    pub fn meta(&self) -> Option<&MetaProperties> {
        self.meta.as_ref()
    }

    /// Says whose it is, durably, if that is news.
    pub fn write_meta(&mut self, properties: MetaProperties, now_ms: i64) -> Result<(), LogIoError> {
        self.volume.check()?;
        if self.meta.as_ref() == Some(&properties) {
            return Ok(());
        }
        match meta_properties::write(self.volume.disk(), self.path(), &properties, now_ms) {
            Ok(_) => {
                self.meta = Some(properties);
                Ok(())
            }
            Err(error) => {
                let error = match error {
                    MetaPropertiesError::Io(error) => error,
                    other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
                };
                Err(self
                    .volume
                    .failed("write meta.properties of", self.path(), &error))
            }
        }
    }

    /// True when all that was ever written to the directory is in it: the broker before stopped cleanly, or the machine has
    /// not been started anew since, so that what was not synced is there all the same. False for a new directory, which
    /// may stand for one that was lost, and after [`note_failure`]. To be asked before [`LogDirectory::load`] takes the
    /// marker.
    pub fn has_all(&self) -> Result<bool, LogIoError> {
        const LIMIT_BYTES: usize = 256;
        self.volume.check()?;
        let disk = self.volume.disk();
        if self.meta.is_none() {
            return Ok(false);
        }
        let path = self.path().join(BOOT_ID);
        let known = match disk.read(&path, LIMIT_BYTES) {
            Ok(known) => Some(known),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::FileTooLarge
                ) =>
            {
                None
            }
            Err(error) => return Err(self.volume.failed("read", &path, &error)),
        };
        if known.as_deref() == Some(FAILED) {
            return Ok(false);
        }
        let is_clean = disk.exists(&self.path().join(CLEAN_SHUTDOWN));
        let is_same = disk
            .boot_id()
            .is_some_and(|id| known.as_deref() == Some(id.as_bytes()));
        Ok(is_clean || is_same)
    }

    /// Notes, durably, during which start of the machine the directory is written from now on.
    pub fn write_boot_id(&self) -> Result<(), LogIoError> {
        self.volume.check()?;
        let path = self.path().join(BOOT_ID);
        let id = self.volume.disk().boot_id().unwrap_or_default();
        let written = self.volume.disk().replace(&path, id.as_bytes());
        written.map_err(|error| self.volume.failed("write", &path, &error))
    }

    /// The size of its file system.
    pub fn space(&self) -> Result<Space, LogIoError> {
        self.volume.check()?;
        let space = self.volume.disk().space(self.path());
        space.map_err(|error| self.volume.failed("look at", self.path(), &error))
    }

    /// Says that the stop was clean, durably. Only to be called when all logs are closed, what [`Log::close`] gave is
    /// synced, and the checkpoints are written. Nothing is written when the directory is offline.
    pub fn mark_clean(&self) -> Result<(), LogIoError> {
        self.volume.check()?;
        let written = self
            .volume
            .patiently(|disk| clean_shutdown::write(disk, self.path()));
        written.map_err(|error| {
            self.volume
                .failed("write the marker of a clean stop in", self.path(), &error)
        })
    }

    /// Reads a checkpoint. One that cannot be read counts as empty, which is safe for each of them: more is recovered,
    /// or the start of a log lies lower (Kafka does so for recovery points and log starts).
    fn read_checkpoint(&self, name: &str) -> Result<Offsets, LogIoError> {
        let path = self.path().join(name);
        match checkpoint::read_offsets(self.volume.disk(), &path) {
            Ok(offsets) => Ok(offsets),
            Err(CheckpointError::Io(error)) => Err(self.volume.failed("read", &path, &error)),
            Err(error) => {
                tracing::warn!("{} counts as empty: {error}", path.display());
                Ok(Offsets::new())
            }
        }
    }

    /// Makes the checkpoints that are missing, empty, as Kafka does.
    fn make_checkpoints(&self) -> Result<(), LogIoError> {
        for name in [
            RECOVERY_POINT_CHECKPOINT,
            LOG_START_OFFSET_CHECKPOINT,
            HIGH_WATERMARK_CHECKPOINT,
            CLEANER_CHECKPOINT,
        ] {
            let path = self.path().join(name);
            let made = self.volume.disk().open(&path, Open::Create);
            made.map_err(|error| self.volume.failed("make", &path, &error))?;
        }
        Ok(())
    }
}

/// Who gives the directory up, after a stop or because a start is refused, leaves no lock file, as Kafka does
/// (`FileLock.destroy`).
impl Drop for LogDirectory {
    fn drop(&mut self) {
        match self.volume.disk().remove_file(&self.path().join(LOCK)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("the lock file in {} stays: {error}", self.path().display());
            }
            _ => {}
        }
    }
}

/// The recovery points of logs of one directory, as they go into `recovery-point-offset-checkpoint`: every log, 0
/// included.
pub fn recovery_points<'a>(logs: impl IntoIterator<Item = &'a Log>) -> Offsets {
    logs.into_iter()
        .map(|log| (log.partition().clone(), log.recovery_point()))
        .collect()
}

/// The log starts as they go into `log-start-offset-checkpoint`: only those above the first segment's base.
pub fn log_starts<'a>(logs: impl IntoIterator<Item = &'a Log>) -> Offsets {
    logs.into_iter()
        .filter(|log| log.log_start_offset() > log.first_base_offset())
        .map(|log| (log.partition().clone(), log.log_start_offset()))
        .collect()
}

/// The high watermarks as they go into `replication-offset-checkpoint`.
pub fn high_watermarks<'a>(logs: impl IntoIterator<Item = &'a Log>) -> Offsets {
    logs.into_iter()
        .map(|log| (log.partition().clone(), log.high_watermark()))
        .collect()
}

/// The entry of a partition in a checkpoint, 0 when there is none.
fn entry(offsets: &Offsets, partition: &TopicPartition) -> Offset {
    offsets.get(partition).copied().unwrap_or(Offset::ZERO)
}
