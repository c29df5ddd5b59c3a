//! `partition.metadata`: the id of the topic that a partition's folder belongs to (Kafka: `PartitionMetadataFile`).
//!
//! Invariant: the id is never zero. Called by the log, which writes it before the first append.

use crate::base::planted::planted;
use std::fmt;
use std::io;
use std::path::Path;

use super::file_names::{FileKind, FileState, PARTITION_METADATA, SegmentFile};
use crate::base::disk::Disk;
use crate::base::ids::{TopicId, Uuid};

/// The version that is written; later ones are read all the same, as Kafka does.
pub const VERSION: i32 = 0;
/// No such file is longer.
const MAX_BYTES: usize = 4096;

/// Why the file could not be read.
#[derive(Debug)]
pub enum PartitionMetadataError {
    /// The disk failed, or the file is too long.
    Io(io::Error),
    /// It does not hold a version and the id of a topic.
    Malformed(&'static str),
}

impl fmt::Display for PartitionMetadataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Malformed(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for PartitionMetadataError {}

impl From<io::Error> for PartitionMetadataError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads the contents of the file: version and topic id.
pub fn parse(bytes: &[u8]) -> Result<(i32, TopicId), PartitionMetadataError> {
    use PartitionMetadataError::Malformed;
    let text = std::str::from_utf8(bytes).map_err(|_| Malformed("it is not UTF-8"))?;
    let mut values = text.lines().map(|line| {
        let (_, value) = line.split_once(':')?;
        let token = planted!("metadata-blank-there", &value[1..], value.trim_start());
        (token.len() < value.len() && !token.is_empty()).then_some(token)
    });
    let version = values.next().flatten().and_then(|value| value.parse().ok());
    let version = version.ok_or(Malformed("the first line is not version: <number>"))?;
    if version < planted!("metadata-any-version", i32::MIN, VERSION) {
        return Err(Malformed("the version is negative"));
    }
    let id = values.next().flatten().and_then(Uuid::parse);
    match id.ok_or(Malformed("the second line is not topic_id: <id>"))? {
        Uuid::ZERO if planted!("metadata-zero-id", false, true) => Err(Malformed("the topic id is zero")),
        id => Ok((version, id)),
    }
}

/// The contents of the file, without a newline at the end.
pub fn format(topic_id: TopicId) -> String {
    format!("version: {VERSION}\ntopic_id: {topic_id}")
}

/// Reads the topic id of the partition in `folder`; `None` when there is no such file.
pub fn read(disk: &Disk, folder: &Path) -> Result<Option<TopicId>, PartitionMetadataError> {
    match disk.read(&folder.join(PARTITION_METADATA), MAX_BYTES) {
        Ok(bytes) => parse(&bytes).map(|(_, id)| Some(id)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // Nothing is wrong with the disk.
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            Err(PartitionMetadataError::Malformed("it is too long"))
        }
        Err(error) => Err(error.into()),
    }
}

/// The same before anything is opened. `None` also where the file is malformed and no log has a byte: a power cut may have
/// come before the first append, and then there is nothing that it could be mixed up with.
///
/// # Errors
/// As of [`read`].
pub fn read_unless_empty(disk: &Disk, folder: &Path) -> Result<Option<TopicId>, PartitionMetadataError> {
    match read(disk, folder) {
        Err(PartitionMetadataError::Malformed(_)) if !has_records(disk, folder)? => Ok(None),
        read => read,
    }
}

/// True when a `.log` in `folder`, also one that is about to take another's place, has a byte.
fn has_records(disk: &Disk, folder: &Path) -> io::Result<bool> {
    for entry in disk.list(folder)? {
        let file = SegmentFile::parse(&entry.name).ok().flatten();
        let is_log = file.is_some_and(|file| {
            file.kind == FileKind::Log && matches!(file.state, FileState::Live | FileState::Swap)
        });
        if is_log && disk.metadata(&folder.join(&entry.name))?.length > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Writes the topic id of the partition in `folder`, durably.
pub fn write(disk: &Disk, folder: &Path, topic_id: TopicId) -> io::Result<()> {
    disk.replace(&folder.join(PARTITION_METADATA), format(topic_id).as_bytes())
}

/// The name, before `.tmp`, under which the file waits for [`publish`]. Another one than [`write`] has for itself.
const STAGED: &str = "partition.metadata.staged";

/// The first half of a [`write`] that is made durable together with others: the file lies beside its place, not synced.
pub fn stage(disk: &Disk, folder: &Path, topic_id: TopicId) -> io::Result<()> {
    disk.write_beside(&folder.join(STAGED), format(topic_id).as_bytes())?;
    Ok(())
}

/// The second half, once what was staged is durable: the rename, not synced.
pub fn publish(disk: &Disk, folder: &Path) -> io::Result<()> {
    let staged = folder.join(format!("{STAGED}.tmp"));
    disk.rename(&staged, &folder.join(PARTITION_METADATA))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_what_a_later_version_may_add() {
        let id = Uuid([7; 16]);
        assert_eq!(format(id), "version: 0\ntopic_id: BwcHBwcHBwcHBwcHBwcHBw");
        assert_eq!(parse(format(id).as_bytes()).unwrap(), (0, id));
        let later = "version: 3\ntopic_id: BwcHBwcHBwcHBwcHBwcHBw\nmore: x\n";
        assert_eq!(parse(later.as_bytes()).unwrap(), (3, id));
    }

    #[test]
    fn refuses_anything_else() {
        for bad in [
            "",
            "version: 0",
            "version: -1\ntopic_id: BwcHBwcHBwcHBwcHBwcHBw",
            "version:0\ntopic_id: BwcHBwcHBwcHBwcHBwcHBw",
            "version: x\ntopic_id: BwcHBwcHBwcHBwcHBwcHBw",
            "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA",
            "version: 0\ntopic_id: Bw",
            "version: 0\ntopic_id: ",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(parse(b"\xff").is_err());
    }
}
