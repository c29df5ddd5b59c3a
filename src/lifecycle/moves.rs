//! Moves between log directories that a crash interrupted at their very end, settled before anything else is done at a
//! start.
//!
//! A move ends by two renames: the copy gets the partition's name, then the old folder the one for deletion. A broker that
//! died between them left two folders of one name. The old one has a marker then
//! ([`MOVED_MARKER`](crate::storage::log::MOVED_MARKER)), for the copy had everything; Kafka has none, and refuses to start.
//! A marker without a second folder says that the move had not come to its end: it goes away.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::disk::Disk;
use crate::base::ids::TopicPartition;
use crate::storage::directory::DirectoryError;
use crate::storage::file_names::{FolderState, marked_folder};
use crate::storage::log::MOVED_MARKER;
use crate::storage::volume::Volume;

use super::directories::Place;

/// Why interrupted moves cannot be settled.
#[derive(Debug)]
pub enum MovesError {
    /// A directory refuses.
    Directory(DirectoryError),
    /// Where the partition lies may be told by the directory that is offline.
    Unknown {
        /// The folder with the marker.
        folder: PathBuf,
    },
}

impl fmt::Display for MovesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(error) => error.fmt(f),
            Self::Unknown { folder } => write!(
                f,
                "{} was just being replaced by a copy in another log directory when the broker stopped, and not all log \
                 directories work: start with all of them, or remove {MOVED_MARKER} there if the copy is lost",
                folder.display()
            ),
        }
    }
}

impl std::error::Error for MovesError {}

/// A folder that is named as a partition's.
struct Found {
    volume: Arc<Volume>,
    path: PathBuf,
    marked: bool,
}

/// Settles what was interrupted. Blocks.
///
/// # Errors
/// [`MovesError`]; a disk that fails is offline then, and is no error.
pub fn settle(disk: &Disk, places: &[Place]) -> Result<(), MovesError> {
    let mut found: BTreeMap<TopicPartition, Vec<Found>> = BTreeMap::new();
    for directory in places.iter().filter_map(|place| place.directory.as_ref()) {
        let folders = match directory.partitions() {
            Ok(folders) => folders,
            // The directory is offline now.
            Err(DirectoryError::Io(_)) => continue,
            Err(error) => return Err(MovesError::Directory(error)),
        };
        for (partition, path) in folders {
            found.entry(partition).or_default().push(Found {
                volume: Arc::clone(directory.volume()),
                marked: disk.exists(&path.join(MOVED_MARKER)),
                path,
            });
        }
    }
    let complete = places.iter().all(|place| place.volume.failure().is_none());
    for (partition, folders) in found {
        let Some(marked) = folders.iter().find(|folder| folder.marked) else {
            continue;
        };
        if folders.iter().any(|folder| !folder.marked) {
            bury(disk, &partition, marked);
        } else if complete {
            clear(disk, marked);
        } else {
            return Err(MovesError::Unknown {
                folder: marked.path.clone(),
            });
        }
    }
    Ok(())
}

/// Gives the folder that was moved the name for deletion.
fn bury(disk: &Disk, partition: &TopicPartition, folder: &Found) {
    let volume = &folder.volume;
    let unique = volume.random().uuid();
    let path = volume
        .path()
        .join(marked_folder(partition, unique, FolderState::Deleted));
    tracing::warn!(
        "{} was replaced by a copy in another log directory just before the broker stopped: it is deleted",
        folder.path.display()
    );
    let done = disk
        .rename(&folder.path, &path)
        .and_then(|()| disk.sync_directory(volume.path()));
    if let Err(error) = done {
        volume.failed("rename", &folder.path, &error);
    }
}

fn clear(disk: &Disk, folder: &Found) {
    let marker: &Path = &folder.path.join(MOVED_MARKER);
    let done = disk
        .remove_file(marker)
        .and_then(|()| disk.sync_directory(&folder.path));
    if let Err(error) = done {
        folder.volume.failed("remove", marker, &error);
    }
}
