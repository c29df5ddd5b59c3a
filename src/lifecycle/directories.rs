//! The log directories at the start: locked, agreed on whose they are, and compared with the store.
//!
//! Nothing in them is changed before all of them agree (Kafka: `KafkaServer.startup`, `MetaPropertiesEnsemble.verify`).

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock;
use crate::base::disk::Disk;
use crate::base::ids::{BrokerId, LeaderEpoch, TopicPartition};
use crate::base::random::Random;
use crate::base::task;
use crate::config::BrokerConfig;
use crate::controller::comparison::{self, Difference, FoundPartition};
use crate::replica::directories::HostDirectory;
use crate::storage::descriptors::Descriptors;
use crate::storage::directory::{self, DirectoryError, LogDirectory};
use crate::storage::file_names::LEADER_EPOCH_CHECKPOINT;
use crate::storage::leader_epochs::LeaderEpochs;
use crate::storage::log::OpenError;
use crate::storage::meta_properties::{self, Contradiction, Owner};
use crate::storage::partition_metadata::{self, PartitionMetadataError};
use crate::storage::volume::Volume;
use crate::store::Store;

/// Why the start stops, in lines for the user.
#[derive(Debug)]
pub enum DirectoriesError {
    /// A directory refuses.
    Directory(DirectoryError),
    /// Two of them are the same one.
    Same(PathBuf, PathBuf),
    /// Directories of different clusters or brokers.
    Contradiction(Contradiction),
    /// Not one directory works.
    NoneWorks,
    /// Store and folders differ.
    Differences(Vec<Difference>),
    /// The store cannot be read.
    Store(String),
}

impl fmt::Display for DirectoriesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(error) => error.fmt(f),
            Self::Same(one, other) => write!(
                f,
                "log.dirs: {} is the same directory as {}; each may be named once",
                other.display(),
                one.display()
            ),
            Self::Contradiction(error) => error.fmt(f),
            Self::NoneWorks => f.write_str("none of log.dirs can be used"),
            Self::Differences(differences) => {
                f.write_str("the log directories are not what the store says; nothing was changed:")?;
                differences
                    .iter()
                    .try_for_each(|difference| write!(f, "\n  {difference}"))
            }
            Self::Store(error) => f.write_str(error),
        }
    }
}

impl std::error::Error for DirectoriesError {}

/// One of `log.dirs`.
pub struct Place {
    /// Its disk; offline from the start where that failed.
    pub volume: Arc<Volume>,
    /// The directory in use; `None` where the disk failed.
    pub directory: Option<LogDirectory>,
}

/// Locks all of `log.dirs`. One whose disk fails is offline, as long as another works. One that is named twice stops the
/// start: the lock does not tell, as it lets one process in twice. Blocks.
pub fn open(
    config: &BrokerConfig,
    disk: &Disk,
    descriptors: &Arc<Descriptors>,
    random: &Random,
) -> Result<Vec<Place>, DirectoriesError> {
    let mut places: Vec<Place> = Vec::new();
    for path in config.log_directories() {
        let same = places.iter().find(|place| {
            let known = place.volume.path();
            disk.is_same(known, path).unwrap_or(false)
        });
        if let Some(same) = same {
            return Err(DirectoriesError::Same(
                same.volume.path().to_owned(),
                path.clone(),
            ));
        }
        let opened = LogDirectory::open(
            path.clone(),
            disk.clone(),
            Arc::clone(descriptors),
            random.clone(),
        );
        places.push(match opened {
            Ok(directory) => Place {
                volume: Arc::clone(directory.volume()),
                directory: Some(directory),
            },
            Err(DirectoryError::Io(failure)) => {
                let volume = Volume::new(
                    path.clone(),
                    disk.clone(),
                    Arc::clone(descriptors),
                    random.clone(),
                );
                volume.take_offline(failure);
                Place {
                    volume,
                    directory: None,
                }
            }
            Err(error) => return Err(DirectoriesError::Directory(error)),
        });
    }
    if places.iter().all(|place| place.directory.is_none()) {
        return Err(DirectoriesError::NoneWorks);
    }
    Ok(places)
}

/// Whose the directories are, as far as they and `broker.id` say.
pub fn owner(config: &BrokerConfig, places: &[Place]) -> Result<Owner, DirectoriesError> {
    let configured = (config.broker_id >= 0).then_some(BrokerId(config.broker_id));
    let expected = Owner {
        cluster_id: None,
        broker_id: configured,
    };
    let directories = places.iter().filter_map(|place| place.directory.as_ref());
    let known = directories.filter_map(|directory| Some((directory.path(), directory.meta()?)));
    meta_properties::verify(expected, known).map_err(DirectoriesError::Contradiction)
}

/// What the comparison knows of each folder in use; reads two small files of each. Blocks.
///
/// # Errors
/// A folder that is none of a partition, or whose topic nobody can tell: found here, while every directory still has the
/// marker of its clean stop, so that it costs the next start no recovery.
pub fn found(disk: &Disk, places: &[Place]) -> Result<Vec<FoundPartition>, DirectoriesError> {
    let mut found = Vec::new();
    let mut unreadable = Vec::new();
    for directory in places.iter().filter_map(|place| place.directory.as_ref()) {
        let folders: Vec<(TopicPartition, PathBuf)> = match directory.partitions() {
            Ok(folders) => folders,
            // The directory is offline now.
            Err(DirectoryError::Io(_)) => continue,
            Err(error) => return Err(DirectoriesError::Directory(error)),
        };
        for (partition, folder) in folders {
            let topic_id = match partition_metadata::read_unless_empty(disk, &folder) {
                Ok(topic_id) => topic_id,
                Err(PartitionMetadataError::Malformed(reason)) => {
                    let reason = reason.to_owned();
                    unreadable.push(OpenError::PartitionMetadata { folder, reason });
                    continue;
                }
                // A disk that fails does so again, and goes offline, when the log is opened.
                Err(PartitionMetadataError::Io(_)) => None,
            };
            found.push(FoundPartition {
                partition,
                topic_id,
                last_epoch: last_epoch(disk, &folder),
                folder,
            });
        }
    }
    if unreadable.is_empty() {
        Ok(found)
    } else {
        Err(DirectoriesError::Directory(DirectoryError::Logs(unreadable)))
    }
}

/// True when something that was written to the directories may be gone: a power cut, or a disk that was replaced. Of a disk
/// that fails its partitions are not served. Blocks.
pub fn may_lack(places: &[Place]) -> bool {
    let directories = places.iter().filter_map(|place| place.directory.as_ref());
    directories
        .filter_map(|directory| directory.has_all().ok())
        .any(|has_all| !has_all)
}

/// Notes in each directory during which start of the machine it is written. Blocks.
pub fn write_boot_ids(places: &[Place]) {
    for directory in places.iter().filter_map(|place| place.directory.as_ref()) {
        // A failure has taken the directory offline.
        let _ = directory.write_boot_id();
    }
}

/// Notes in all directories that one of them has failed. Waits for it, but no longer than it may take.
pub fn note_failure(hosts: &[Arc<HostDirectory>]) -> impl Future<Output = ()> + Send + 'static {
    const PATIENCE: Duration = Duration::from_secs(2);
    let noting: Vec<_> = hosts
        .iter()
        .map(|host| {
            let host = Arc::clone(host);
            task::spawn(async move {
                let pool = host.pool().clone();
                let noted = pool.run(move || directory::note_failure(host.volume().disk(), host.path()));
                // A disk that takes nothing will not be used either.
                let _ = clock::timeout(PATIENCE, noted).await;
            })
        })
        .collect();
    async move {
        for one in noting {
            let _ = one.await;
        }
    }
}

fn last_epoch(disk: &Disk, folder: &Path) -> Option<LeaderEpoch> {
    const LIMIT_BYTES: usize = 16 << 20;
    let bytes = disk
        .read(&folder.join(LEADER_EPOCH_CHECKPOINT), LIMIT_BYTES)
        .ok()?;
    LeaderEpochs::parse(&bytes)
        .ok()?
        .latest()
        .map(|entry| entry.epoch)
}

/// Stops the start where a partition has two folders: whichever were loaded last would be the one.
///
/// # Errors
/// [`DirectoriesError::Differences`]
pub fn check_folders(found: &[FoundPartition]) -> Result<(), DirectoriesError> {
    match comparison::two_folders(found) {
        none if none.is_empty() => Ok(()),
        differences => Err(DirectoriesError::Differences(differences)),
    }
}

/// Stops the start where store and folders differ. `store` is `None` when there is none yet, so that every folder is a
/// stranger. `complete`: all of `log.dirs` work.
pub async fn compare(
    store: Option<&Arc<dyn Store>>,
    broker: BrokerId,
    found: &[FoundPartition],
    complete: bool,
) -> Result<(), DirectoriesError> {
    let stored = match store {
        Some(store) => comparison::stored_partitions(store, broker)
            .await
            .map_err(|error| DirectoriesError::Store(error.to_string()))?,
        None => Default::default(),
    };
    let differences = comparison::compare(found, &stored, complete);
    if differences.is_empty() {
        Ok(())
    } else {
        Err(DirectoriesError::Differences(differences))
    }
}

#[cfg(all(test, not(feature = "simulation")))]
mod tests {
    use super::*;

    #[test]
    fn a_directory_under_two_names_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        let around = folder.path().join("real/../real");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let other = folder.path().join("other");
        let opened = |second: &Path| {
            let directories = format!("{},{}", real.display(), second.display());
            let config = BrokerConfig::from_pairs(&[("log.dirs", &directories)]).unwrap();
            let disk = Disk::system();
            open(&config, &disk, &Descriptors::new(1), &Random::from_seed(1)).map(|places| places.len())
        };
        for second in [&link, &around] {
            let refused = opened(second).unwrap_err().to_string();
            let (one, two) = (real.display(), second.display());
            assert_eq!(
                refused,
                format!("log.dirs: {two} is the same directory as {one}; each may be named once")
            );
        }
        assert_eq!(opened(&other).unwrap(), 2);
    }
}
