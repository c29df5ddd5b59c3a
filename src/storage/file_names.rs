//! The names of files and folders in a log directory (Kafka: `LogFileUtils`, `LocalLog`).
//!
//! Invariant: what a function here writes, its counterpart reads back. Called by the log, the log directory and the
//! `dump` command.

use crate::base::planted::planted;
use std::fmt;

use crate::base::ids::{Offset, TopicPartition, Uuid};

/// Checkpoint of the offsets up to which logs are flushed.
pub const RECOVERY_POINT_CHECKPOINT: &str = "recovery-point-offset-checkpoint";
/// Checkpoint of the log start offsets that lie above the first segment's base offset.
pub const LOG_START_OFFSET_CHECKPOINT: &str = "log-start-offset-checkpoint";
/// Checkpoint of the high watermarks.
pub const HIGH_WATERMARK_CHECKPOINT: &str = "replication-offset-checkpoint";
/// Checkpoint of the first offsets that compaction has not cleaned yet.
pub const CLEANER_CHECKPOINT: &str = "cleaner-offset-checkpoint";
/// Leader epochs and their start offsets, in a partition's folder.
pub const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";
/// The topic's id, in a partition's folder.
pub const PARTITION_METADATA: &str = "partition.metadata";
/// Whose log directory it is.
pub const META_PROPERTIES: &str = "meta.properties";
/// Says that the last stop was a clean one.
pub const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
/// During which start of the machine the log directory is written. Ours.
pub const BOOT_ID: &str = "barnabas-boot-id";
/// Made and taken away at once, to see whether something can be made in the log directory. Ours.
pub const TRIAL: &str = "barnabas-trial";
/// Locked by the process that uses the log directory.
pub const LOCK: &str = ".lock";

/// Folders of a log directory that hold no partition of ours: Kafka's cache of tiered indexes, and the KRaft log.
pub const FOREIGN_FOLDERS: [&str; 2] = ["remote-log-index-cache", "__cluster_metadata-0"];

/// The longest name a file system takes.
const MAX_NAME_LENGTH: usize = 255;

/// What a file of a segment holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FileKind {
    /// Record batches: `.log`.
    Log,
    /// Offsets to positions: `.index`.
    OffsetIndex,
    /// Timestamps to offsets: `.timeindex`.
    TimeIndex,
    /// Aborted transactions: `.txnindex`.
    TransactionIndex,
    /// Producer state at an offset: `.snapshot`.
    Snapshot,
}

impl FileKind {
    /// The kinds that make up a segment, in the order in which Kafka renames them.
    pub const SEGMENT: [Self; 4] = [
        Self::Log,
        Self::OffsetIndex,
        Self::TimeIndex,
        Self::TransactionIndex,
    ];

    /// The suffix, with its dot.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Log => ".log",
            Self::OffsetIndex => ".index",
            Self::TimeIndex => ".timeindex",
            Self::TransactionIndex => ".txnindex",
            Self::Snapshot => ".snapshot",
        }
    }

    fn of(name: &str) -> Option<(Self, &str)> {
        [
            Self::Log,
            Self::OffsetIndex,
            Self::TimeIndex,
            Self::TransactionIndex,
            Self::Snapshot,
        ]
        .into_iter()
        .find_map(|kind| Some((kind, name.strip_suffix(kind.suffix())?)))
    }
}

/// Where a file stands in its life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FileState {
    /// In use.
    Live,
    /// Written by the cleaner or a split, not complete yet: `.cleaned`.
    Cleaned,
    /// Complete, about to take the place of others: `.swap`.
    Swap,
    /// About to be removed: `.deleted`.
    Deleted,
}

impl FileState {
    /// The suffix behind the whole name, with its dot; empty for a file in use.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Live => "",
            Self::Cleaned => ".cleaned",
            Self::Swap => ".swap",
            Self::Deleted => ".deleted",
        }
    }
}

/// The name of a file that belongs to a segment or is a producer snapshot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SegmentFile {
    /// The segment's base offset, or the snapshot's (exclusive) offset.
    pub offset: Offset,
    /// What it holds.
    pub kind: FileKind,
    /// Where it stands.
    pub state: FileState,
}

/// A name with one of our suffixes whose leading number is not an offset in 20 digits. Kafka refuses to load a folder
/// that holds such a file (`LogFileUtils.offsetFromFileName`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MalformedFileName(pub String);

impl fmt::Display for MalformedFileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the name of {:?} does not begin with an offset of 20 digits",
            self.0
        )
    }
}

impl std::error::Error for MalformedFileName {}

impl SegmentFile {
    /// The live file of this kind at this offset.
    pub const fn live(offset: Offset, kind: FileKind) -> Self {
        Self {
            offset,
            kind,
            state: FileState::Live,
        }
    }

    /// The same file in another state.
    #[must_use]
    pub const fn in_state(self, state: FileState) -> Self {
        Self { state, ..self }
    }

    /// Reads a file's name; `None` for a file that is none of ours and is left alone.
    pub fn parse(name: &str) -> Result<Option<Self>, MalformedFileName> {
        let (bare, state) = [FileState::Cleaned, FileState::Swap, FileState::Deleted]
            .into_iter()
            .find_map(|state| Some((name.strip_suffix(state.suffix())?, state)))
            .unwrap_or((name, FileState::Live));
        let Some((kind, number)) = FileKind::of(bare) else {
            return Ok(None);
        };
        match parse_offset(number) {
            Some(offset) => Ok(Some(Self { offset, kind, state })),
            // Kafka removes such a file without looking at its number; nothing is lost by leaving it.
            None if state == FileState::Deleted => Ok(None),
            None => Err(MalformedFileName(name.to_owned())),
        }
    }
}

impl fmt::Display for SegmentFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:020}{}{}",
            self.offset.get(),
            self.kind.suffix(),
            self.state.suffix()
        )
    }
}

/// The name of the live file of this kind at this offset.
pub fn segment_file(offset: Offset, kind: FileKind) -> String {
    SegmentFile::live(offset, kind).to_string()
}

fn parse_offset(text: &str) -> Option<Offset> {
    let digits = planted!("name-of-any-length", !text.is_empty(), text.len() == 20)
        && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok().map(Offset)).flatten()
}

/// What a partition's folder is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FolderState {
    /// The replica in use.
    Current,
    /// Marked for deletion: `-delete`.
    Deleted,
    /// A replica that moves here from another log directory: `-future`.
    Future,
    /// Set aside, not served: `-stray`.
    Stray,
}

impl FolderState {
    const MARKED: [Self; 3] = [Self::Deleted, Self::Future, Self::Stray];

    const fn suffix(self) -> &'static str {
        match self {
            Self::Current => "",
            Self::Deleted => "-delete",
            Self::Future => "-future",
            Self::Stray => "-stray",
        }
    }
}

/// A partition's folder, read from its name. For a deleted or stray one the topic may have been cut to fit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PartitionFolder {
    /// Whose folder it is.
    pub partition: TopicPartition,
    /// What it is.
    pub state: FolderState,
}

/// A folder whose name is not that of a partition. Kafka refuses to start on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MalformedFolderName(pub String);

impl fmt::Display for MalformedFolderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the folder {:?} is not named <topic>-<partition>; a log directory must hold partitions only",
            self.0
        )
    }
}

impl std::error::Error for MalformedFolderName {}

impl PartitionFolder {
    /// Reads a folder's name (Kafka: `LocalLog.parseTopicPartitionName`). The last dash separates the partition.
    pub fn parse(name: &str) -> Result<Self, MalformedFolderName> {
        Self::read(name).ok_or_else(|| MalformedFolderName(name.to_owned()))
    }

    fn read(name: &str) -> Option<Self> {
        let marked = FolderState::MARKED
            .into_iter()
            .find_map(|state| Some((name.strip_suffix(state.suffix())?, state)));
        let (bare, state) = match marked {
            // <topic>-<partition>.<unique>-delete
            Some((rest, state)) => {
                let (bare, unique) = planted!(
                    "folder-unique-there",
                    rest.rsplit_once('.').unwrap(),
                    rest.rsplit_once('.')?
                );
                let plain = |text: &str| !text.is_empty() && !text.contains(char::is_whitespace);
                (plain(unique) && plain(bare)).then_some((bare, state))?
            }
            None => (name, FolderState::Current),
        };
        let (topic, partition) = bare.rsplit_once('-')?;
        let digits = !partition.is_empty() && partition.bytes().all(|byte| byte.is_ascii_digit());
        if planted!("folder-without-topic", false, topic.is_empty()) || !digits {
            return None;
        }
        Some(Self {
            partition: TopicPartition::new(topic, partition.parse().ok()?),
            state,
        })
    }
}

/// The name of the folder that holds the replica in use.
pub fn partition_folder(partition: &TopicPartition) -> String {
    partition.to_string()
}

/// The name of a folder in this state; `unique` makes it so. The topic is cut so that the name has at most 255
/// characters, but not for `-future` (Kafka: `LocalLog.logDirNameWithSuffixCappedLength`).
pub fn marked_folder(partition: &TopicPartition, unique: Uuid, state: FolderState) -> String {
    if state == FolderState::Current {
        return partition_folder(partition);
    }
    let unique: String = unique.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let tail = format!("-{}.{unique}{}", partition.partition, state.suffix());
    let mut length = partition.topic.len();
    if state != FolderState::Future {
        length = length.min(MAX_NAME_LENGTH.saturating_sub(tail.len()));
    }
    while !partition.topic.is_char_boundary(length) {
        length -= 1;
    }
    let topic = partition.topic.get(..length).unwrap_or_default();
    format!("{topic}{tail}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UNIQUE: Uuid = Uuid([0xab; 16]);

    #[test]
    fn segment_names_have_twenty_digits() {
        assert_eq!(
            segment_file(Offset(7), FileKind::TimeIndex),
            "00000000000000000007.timeindex"
        );
        let swap = SegmentFile::live(Offset(i64::MAX), FileKind::Log).in_state(FileState::Swap);
        assert_eq!(swap.to_string(), "09223372036854775807.log.swap");
        assert_eq!(SegmentFile::parse(&swap.to_string()), Ok(Some(swap)));
    }

    #[test]
    fn foreign_files_are_left_alone_and_odd_numbers_refused() {
        for foreign in ["leader-epoch-checkpoint", "notes.txt", "", "x.deleted", ".tmp"] {
            assert_eq!(SegmentFile::parse(foreign), Ok(None), "{foreign}");
        }
        for odd in [
            "x.log",
            "7.index",
            "-0000000000000000007.log",
            "+0000000000000000007.log",
            ".snapshot",
            "99999999999999999999.log",
            "abc.log.swap",
        ] {
            assert!(SegmentFile::parse(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn the_last_dash_separates_the_partition() {
        let folder = PartitionFolder::parse("a-b.c--12").unwrap();
        assert_eq!(folder.partition, TopicPartition::new("a-b.c-", 12));
        assert_eq!(folder.state, FolderState::Current);
    }

    #[test]
    fn refuses_folders_that_are_no_partitions() {
        for odd in [
            "lost+found",
            "",
            "-",
            "-1",
            "topic-",
            "topic-x",
            "topic-+1",
            "topic-99999999999",
            "topic-0.-delete",
            "-delete",
            "topic-delete",
            "topic-0-future",
        ] {
            assert!(PartitionFolder::parse(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn names_of_marked_folders_fit_into_255_characters() {
        let long = TopicPartition::new("t".repeat(249), 123);
        let deleted = marked_folder(&long, UNIQUE, FolderState::Deleted);
        assert_eq!(deleted.len(), 255);
        assert!(deleted.ends_with("t-123.abababababababababababababababab-delete"));
        assert_eq!(
            PartitionFolder::parse(&deleted).unwrap().state,
            FolderState::Deleted
        );
        assert!(marked_folder(&long, UNIQUE, FolderState::Future).len() > 255);
    }

    proptest! {
        #[test]
        fn folder_names_round_trip(topic in "[a-zA-Z0-9._-]{1,100}", partition in 0..i32::MAX, state in 0..4) {
            let partition = TopicPartition::new(topic, partition);
            let state = [FolderState::Current, FolderState::Deleted, FolderState::Future, FolderState::Stray]
                [state as usize];
            let name = marked_folder(&partition, UNIQUE, state);
            prop_assert_eq!(PartitionFolder::parse(&name), Ok(PartitionFolder { partition, state }));
        }

        #[test]
        fn no_name_panics(name in ".{0,60}") {
            let _ = SegmentFile::parse(&name);
            let _ = PartitionFolder::parse(&name);
        }
    }
}
