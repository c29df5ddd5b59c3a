//! The text format of Kafka's checkpoint files (Kafka: `CheckpointFile`): a version, a count, an entry a line.
//!
//! Invariant: a file is replaced as a whole, so a reader finds the old or the new entries, never a mixture; what does
//! not hold to the format is an error, never a guess. Called by the log directory (offsets) and the leader epochs.

use crate::base::planted::planted;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;

use crate::base::disk::Disk;
use crate::base::ids::{Offset, TopicPartition};

/// The only version there is.
const VERSION: i32 = 0;

/// No checkpoint is longer than this: a line has at most some 280 bytes, so there is room for 200,000 partitions with
/// the longest names.
pub const MAX_CHECKPOINT_BYTES: usize = 64 << 20;

/// Offsets by partition.
pub type Offsets = BTreeMap<TopicPartition, Offset>;

/// Why a checkpoint could not be read.
#[derive(Debug)]
pub enum CheckpointError {
    /// The disk failed, or the file is longer than [`MAX_CHECKPOINT_BYTES`].
    Io(io::Error),
    /// The first line names another version.
    UnknownVersion(i32),
    /// This line, counted from 1, is not as it must be.
    MalformedLine {
        /// Counted from 1.
        line: usize,
        /// Its beginning.
        text: String,
    },
    /// The second line promises another number of entries than there are.
    WrongCount {
        /// As the file says.
        declared: i32,
        /// As there are.
        found: usize,
    },
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::UnknownVersion(version) => write!(f, "version {version} is unknown, {VERSION} expected"),
            Self::MalformedLine { line, text } => write!(f, "line {line} is malformed: {text:?}"),
            Self::WrongCount { declared, found } => {
                write!(f, "{declared} entries are declared, {found} are there")
            }
        }
    }
}

impl std::error::Error for CheckpointError {}

impl From<io::Error> for CheckpointError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn malformed(line: usize, text: &str) -> CheckpointError {
    CheckpointError::MalformedLine {
        line,
        text: text.chars().take(80).collect(),
    }
}

/// The parts of a line; `None` when it begins with white space or has another number of parts.
fn split<const PARTS: usize>(line: &str) -> Option<[&str; PARTS]> {
    if line.starts_with(|c: char| c.is_ascii_whitespace()) {
        return None;
    }
    let mut parts = [""; PARTS];
    let mut words = line.split_ascii_whitespace();
    for part in &mut parts {
        *part = planted!("checkpoint-words-believed", words.next().unwrap(), words.next()?);
    }
    words.next().is_none().then_some(parts)
}

/// Reads the lines of a checkpoint, each with `PARTS` words. An empty file has no entries.
pub(super) fn parse<const PARTS: usize, Entry>(
    bytes: &[u8],
    entry: impl Fn([&str; PARTS]) -> Option<Entry>,
) -> Result<Vec<Entry>, CheckpointError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes
            .iter()
            .take(error.valid_up_to())
            .filter(|byte| **byte == b'\n')
            .count();
        malformed(line + 1, "not UTF-8")
    })?;
    let number = |line: usize, text: &str| text.parse::<i32>().map_err(|_| malformed(line, text));
    let mut lines = text.lines();
    let Some(version) = lines.next() else {
        return Ok(Vec::new());
    };
    let version = number(1, version)?;
    if version != VERSION {
        return Err(CheckpointError::UnknownVersion(version));
    }
    let Some(declared) = planted!(
        "checkpoint-count-there",
        Some(lines.next().unwrap()),
        lines.next()
    ) else {
        return Ok(Vec::new());
    };
    let declared = number(2, declared)?;
    let mut entries = Vec::with_capacity(planted!(
        "checkpoint-count-reserved",
        declared.clamp(0, 1 << 20) as usize,
        0
    ));
    for (index, line) in lines.enumerate() {
        let parsed = split(line).and_then(&entry);
        entries.push(parsed.ok_or_else(|| malformed(index + 3, line))?);
    }
    if usize::try_from(declared) != Ok(entries.len()) {
        return Err(CheckpointError::WrongCount {
            declared,
            found: entries.len(),
        });
    }
    Ok(entries)
}

/// Writes the lines of a checkpoint.
pub(super) fn format<Entry: fmt::Display>(entries: impl ExactSizeIterator<Item = Entry>) -> Vec<u8> {
    use io::Write as _;
    let mut bytes = Vec::new();
    // Writing to memory cannot fail.
    let _ = write!(bytes, "{VERSION}\n{}\n", entries.len());
    for entry in entries {
        let _ = writeln!(bytes, "{entry}");
    }
    bytes
}

/// Reads an offset checkpoint: `topic partition offset` a line (Kafka: `OffsetCheckpointFile`). Of two lines of one
/// partition the later counts.
pub fn parse_offsets(bytes: &[u8]) -> Result<Offsets, CheckpointError> {
    let entries = parse(bytes, |[topic, partition, offset]: [&str; 3]| {
        Some((
            TopicPartition::new(topic, partition.parse().ok()?),
            Offset(offset.parse().ok()?),
        ))
    })?;
    Ok(entries.into_iter().collect())
}

/// Writes an offset checkpoint, in the order of the partitions.
pub fn format_offsets(offsets: &Offsets) -> Vec<u8> {
    struct Line<'a>(&'a TopicPartition, Offset);
    impl fmt::Display for Line<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{} {} {}", self.0.topic, self.0.partition, self.1)
        }
    }
    format(offsets.iter().map(|(partition, offset)| Line(partition, *offset)))
}

/// Reads the offset checkpoint at `path`. A missing file has no entries, as Kafka creates it empty.
pub fn read_offsets(disk: &Disk, path: &Path) -> Result<Offsets, CheckpointError> {
    match disk.read(path, MAX_CHECKPOINT_BYTES) {
        Ok(bytes) => parse_offsets(&bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Offsets::new()),
        Err(error) => Err(error.into()),
    }
}

/// Replaces the offset checkpoint at `path`, durably.
pub fn write_offsets(disk: &Disk, path: &Path, offsets: &Offsets) -> io::Result<()> {
    disk.replace(path, &format_offsets(offsets))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::disk::memory::{Call, MemoryDisk};

    #[test]
    fn reads_what_kafka_writes() {
        let offsets = parse_offsets(b"0\n2\na-b 0 17\n__consumer_offsets 49 0\n").unwrap();
        assert_eq!(offsets.get(&TopicPartition::new("a-b", 0)), Some(&Offset(17)));
        assert_eq!(
            offsets.get(&TopicPartition::new("__consumer_offsets", 49)),
            Some(&Offset(0))
        );
        assert_eq!(
            format_offsets(&offsets),
            b"0\n2\n__consumer_offsets 49 0\na-b 0 17\n"
        );
    }

    #[test]
    fn empty_files_have_no_entries() {
        for empty in ["", "0\n", "0\n0\n", "0\n0"] {
            assert!(parse_offsets(empty.as_bytes()).unwrap().is_empty(), "{empty:?}");
        }
        assert_eq!(format_offsets(&Offsets::new()), b"0\n0\n");
    }

    #[test]
    fn anything_else_is_an_error() {
        for bad in [
            "1\n0\n",
            "x\n0\n",
            "\n",
            "0\n1\n",
            "0\n2\na 0 1\n",
            "0\n0\na 0 1\n",
            "0\n-1\n",
            "0\n1\na 0\n",
            "0\n1\na 0 1 2\n",
            "0\n1\n a 0 1\n",
            "0\n1\na x 1\n",
            "0\n1\na 0 1\n\n",
            "0\n1\na 0 99999999999999999999\n",
            "0\n2147483648\n",
        ] {
            assert!(parse_offsets(bad.as_bytes()).is_err(), "{bad:?}");
        }
        for (bytes, expected) in [(&b"\xff"[..], 1), (b"0\n1\n\xff 0 1\n", 3)] {
            match parse_offsets(bytes) {
                Err(CheckpointError::MalformedLine { line, .. }) => assert_eq!(line, expected),
                other => panic!("{other:?}"),
            }
        }
        assert!(parse_offsets(b"\0\0\0\0").is_err());
    }

    #[test]
    fn an_interrupted_replacement_leaves_the_old_entries() {
        let memory = MemoryDisk::new();
        let disk = Disk::memory(memory.clone());
        let path = Path::new("/data/recovery-point-offset-checkpoint");
        disk.create_directory(Path::new("/data")).unwrap();
        assert!(read_offsets(&disk, path).unwrap().is_empty());
        let old = Offsets::from([(TopicPartition::new("a", 0), Offset(1))]);
        let new = Offsets::from([(TopicPartition::new("a", 0), Offset(2))]);
        write_offsets(&disk, path, &old).unwrap();
        for call in [Call::Open, Call::Write, Call::Sync, Call::Rename] {
            memory.fail(call, "/data/", 0, 1, io::ErrorKind::Other);
            assert!(write_offsets(&disk, path, &new).is_err(), "{call:?}");
            memory.heal();
            memory.power_cut(|| false);
            assert_eq!(read_offsets(&disk, path).unwrap(), old, "{call:?}");
        }
        write_offsets(&disk, path, &new).unwrap();
        memory.power_cut(|| false);
        assert_eq!(read_offsets(&disk, path).unwrap(), new);
    }

    proptest! {
        #[test]
        fn round_trips(entries in proptest::collection::btree_map(("[a-zA-Z0-9._-]{1,20}", 0..1000_i32), any::<i64>(), 0..20)) {
            let offsets: Offsets = entries
                .into_iter()
                .map(|((topic, partition), offset)| (TopicPartition::new(topic, partition), Offset(offset)))
                .collect();
            prop_assert_eq!(parse_offsets(&format_offsets(&offsets)).unwrap(), offsets);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_offsets(&bytes);
        }
    }
}
