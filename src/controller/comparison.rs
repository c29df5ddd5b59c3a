//! What the store says against what lies on the disks. Every difference stops the start: nothing is deleted or
//! created to make them fit, since nobody here can know which of the two is right.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::base::ids::{BrokerId, LeaderEpoch, TopicId, TopicPartition};
use crate::store::znodes::{BadNode, NewPartitions, PartitionState, Topic, paths};
use crate::store::{Store, StoreError};

/// A partition's folder in a log directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoundPartition {
    /// The partition that its name says.
    pub partition: TopicPartition,
    /// The folder.
    pub folder: PathBuf,
    /// The topic id in its `partition.metadata`; `None` without that file.
    pub topic_id: Option<TopicId>,
    /// The newest leader epoch that it knows, of its checkpoint or its last batch; `None` when there is none.
    pub last_epoch: Option<LeaderEpoch>,
}

/// A replica that the store has for this broker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoredPartition {
    /// The topic's id; `None` for one that has none yet.
    pub topic_id: Option<TopicId>,
    /// The leader's epoch; `None` for a partition without a state.
    pub leader_epoch: Option<LeaderEpoch>,
    /// True when it need not have a folder yet.
    pub is_new: bool,
    /// True when its topic is to be deleted, so that its folder may be there or not.
    pub is_deleted: bool,
}

/// One difference.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Difference {
    /// A folder of a partition that the store does not know on this broker.
    UnknownFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// A partition of the store that has no folder.
    MissingFolder {
        /// The partition.
        partition: TopicPartition,
    },
    /// Two folders of one partition.
    TwoFolders {
        /// The one.
        folder: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// A folder of another topic of the same name.
    OtherTopicId {
        /// The folder.
        folder: PathBuf,
        /// The id in it.
        found: TopicId,
        /// The id in the store.
        stored: TopicId,
    },
    /// A log that has batches of a leader the store has not seen yet.
    EpochAhead {
        /// The folder.
        folder: PathBuf,
        /// Its newest epoch.
        found: LeaderEpoch,
        /// The store's; −1 for none.
        stored: LeaderEpoch,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownFolder { folder } => {
                write!(
                    f,
                    "{}: the store does not know this partition here",
                    folder.display()
                )
            }
            Self::MissingFolder { partition } => {
                write!(
                    f,
                    "{partition}: the store has this partition, but no log directory does"
                )
            }
            Self::TwoFolders { folder, other } => {
                write!(
                    f,
                    "{} and {}: one partition in two folders",
                    folder.display(),
                    other.display()
                )
            }
            Self::OtherTopicId {
                folder,
                found,
                stored,
            } => write!(
                f,
                "{}: belongs to topic id {found}, but the topic of this name has {stored}",
                folder.display()
            ),
            Self::EpochAhead {
                folder,
                found,
                stored,
            } => write!(
                f,
                "{}: has leader epoch {found}, but the store knows only up to {stored}",
                folder.display()
            ),
        }
    }
}

/// Why the store's side could not be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoredError {
    /// The store failed.
    Store(StoreError),
    /// A node cannot be read.
    BadNode(String, BadNode),
}

impl fmt::Display for StoredError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::BadNode(path, error) => write!(f, "{path} cannot be read: {error}"),
        }
    }
}

impl std::error::Error for StoredError {}

impl From<StoreError> for StoredError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The partitions that have two folders: nobody can say which of them is the one that was written last, so that no broker may
/// start with them, whatever the store says (Kafka: `LogManager.loadLog`).
pub fn two_folders(found: &[FoundPartition]) -> Vec<Difference> {
    let mut folders: BTreeMap<&TopicPartition, &PathBuf> = BTreeMap::new();
    let mut differences = Vec::new();
    for found in found {
        if let Some(other) = folders.insert(&found.partition, &found.folder) {
            differences.push(Difference::TwoFolders {
                folder: other.clone(),
                other: found.folder.clone(),
            });
        }
    }
    differences
}

/// The differences, in the order of folders and partitions. `complete`: every log directory could be read, so that a
/// partition without a folder is really without one.
pub fn compare(
    found: &[FoundPartition],
    stored: &BTreeMap<TopicPartition, StoredPartition>,
    complete: bool,
) -> Vec<Difference> {
    let mut differences = Vec::new();
    for FoundPartition {
        partition,
        folder,
        topic_id,
        last_epoch,
    } in found
    {
        let Some(known) = stored.get(partition) else {
            differences.push(Difference::UnknownFolder {
                folder: folder.clone(),
            });
            continue;
        };
        if let (Some(found), Some(stored)) = (*topic_id, known.topic_id)
            && found != stored
        {
            differences.push(Difference::OtherTopicId {
                folder: folder.clone(),
                found,
                stored,
            });
            continue;
        }
        let stored_epoch = known.leader_epoch.unwrap_or(LeaderEpoch::NONE);
        if let Some(found) = last_epoch.filter(|found| *found > stored_epoch) {
            differences.push(Difference::EpochAhead {
                folder: folder.clone(),
                found,
                stored: stored_epoch,
            });
        }
    }
    differences.extend(two_folders(found));
    let folders: BTreeSet<&TopicPartition> = found.iter().map(|found| &found.partition).collect();
    if complete {
        for (partition, known) in stored {
            if !known.is_new && !known.is_deleted && !folders.contains(partition) {
                differences.push(Difference::MissingFolder {
                    partition: partition.clone(),
                });
            }
        }
    }
    differences
}

/// The replicas that the store has for `broker`.
pub async fn stored_partitions(
    store: &Arc<dyn Store>,
    broker: BrokerId,
) -> Result<BTreeMap<TopicPartition, StoredPartition>, StoredError> {
    let mut stored = BTreeMap::new();
    let deleted = store.children(paths::DELETE_TOPICS).await?.unwrap_or_default();
    for name in store.children(paths::TOPICS).await?.unwrap_or_default() {
        let read = |path: String| async move {
            let node = store.get(&path).await?;
            Ok::<_, StoreError>((path, node.map(|node| node.data.unwrap_or_default())))
        };
        let (path, Some(data)) = read(paths::topic(&name)).await? else {
            continue;
        };
        let topic = Topic::decode(&data).map_err(|error| StoredError::BadNode(path, error))?;
        let new = match read(paths::new_partitions(&name)).await? {
            (path, Some(data)) => {
                NewPartitions::decode(&data)
                    .map_err(|error| StoredError::BadNode(path, error))?
                    .partitions
            }
            (_, None) => Default::default(),
        };
        let is_deleted = deleted.contains(&name);
        let name: Arc<str> = Arc::from(name);
        for (number, replicas) in topic.partitions {
            if !replicas.contains(&broker) {
                continue;
            }
            let leader_epoch = match read(paths::partition_state(&name, number)).await? {
                (path, Some(data)) => Some(
                    PartitionState::decode(&data)
                        .map_err(|error| StoredError::BadNode(path, error))?
                        .leader_epoch,
                ),
                (_, None) => None,
            };
            stored.insert(
                TopicPartition::new(Arc::clone(&name), number),
                StoredPartition {
                    topic_id: topic.id,
                    leader_epoch,
                    // Without a state no broker was ever told of it.
                    is_new: leader_epoch.is_none() || new.contains(&number),
                    is_deleted,
                },
            );
        }
    }
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::Uuid;

    const ID: Uuid = Uuid([1; 16]);

    fn name(topic: &str) -> TopicPartition {
        TopicPartition::new(topic, 0)
    }

    fn found(topic: &str, id: Option<Uuid>, epoch: Option<i32>) -> FoundPartition {
        FoundPartition {
            partition: name(topic),
            folder: PathBuf::from(format!("/data/{topic}-0")),
            topic_id: id,
            last_epoch: epoch.map(LeaderEpoch),
        }
    }

    fn stored(epoch: Option<i32>) -> StoredPartition {
        StoredPartition {
            topic_id: Some(ID),
            leader_epoch: epoch.map(LeaderEpoch),
            is_new: false,
            is_deleted: false,
        }
    }

    fn lines(found: &[FoundPartition], stored: &[(&str, StoredPartition)], complete: bool) -> Vec<String> {
        let stored = stored
            .iter()
            .map(|(topic, state)| (name(topic), *state))
            .collect();
        compare(found, &stored, complete)
            .iter()
            .map(Difference::to_string)
            .collect()
    }

    #[test]
    fn what_fits_has_no_difference() {
        let new = StoredPartition {
            is_new: true,
            ..stored(Some(0))
        };
        let deleted = StoredPartition {
            is_deleted: true,
            ..stored(Some(3))
        };
        let all = [
            ("a", stored(Some(4))),
            ("b", stored(Some(4))),
            ("c", stored(Some(4))),
            ("new", new),
            ("gone", deleted),
            ("going", deleted),
        ];
        let found = [
            found("a", Some(ID), Some(4)),
            found("b", None, Some(0)),
            found("c", Some(ID), None),
            found("going", Some(ID), Some(3)),
        ];
        assert!(lines(&found, &all, true).is_empty());
        assert!(lines(&[], &[("a", stored(Some(1)))], false).is_empty());
    }

    #[test]
    fn every_kind_of_difference_is_one_line() {
        let other = FoundPartition {
            folder: PathBuf::from("/more/a-0"),
            ..found("a", Some(ID), None)
        };
        let found = [
            found("stray", None, None),
            found("id", Some(Uuid([2; 16])), Some(9)),
            found("ahead", Some(ID), Some(5)),
            found("never", Some(ID), Some(0)),
            found("a", Some(ID), None),
            other,
        ];
        let stored = [
            ("id", stored(Some(1))),
            ("ahead", stored(Some(4))),
            ("never", stored(None)),
            ("a", stored(Some(1))),
            ("lost", stored(Some(1))),
        ];
        let lines = lines(&found, &stored, true);
        assert_eq!(lines.len(), 6, "{lines:#?}");
        assert!(lines[0].starts_with("/data/stray-0: the store does not know"));
        assert!(lines[1].starts_with("/data/id-0: belongs to topic id AgICAgICAgICAgICAgICAg"));
        assert!(lines[2].contains("leader epoch 5, but the store knows only up to 4"));
        assert!(lines[3].contains("only up to -1"));
        assert!(lines[4].starts_with("/data/a-0 and /more/a-0"));
        assert!(lines[5].starts_with("lost-0: the store has this partition"));
        assert!(lines.iter().all(|line| !line.contains('\n')));
    }
}
