//! The aborted transactions whose markers lie in one segment: `.txnindex` (Kafka: `TransactionIndex`, `AbortedTxn`).
//!
//! Invariant: whole entries of 34 bytes from the file's beginning, their last offsets increasing; what lies behind the
//! last whole entry is overwritten by the next append. The index keeps its length only: the segment owns the file and
//! passes it in, and has none for an index without entries. Called by the segment and the `dump` command.

use crate::base::planted::planted;
use std::fmt;
use std::io;

use crate::base::disk::File;
use crate::base::ids::{Offset, ProducerId};

/// The size of an entry in bytes.
pub const ENTRY_BYTES: usize = 34;
/// The only version of an entry.
pub const ENTRY_VERSION: i16 = 0;
/// How many entries are read at a time.
const ENTRIES_AT_A_TIME: usize = 128;

/// A transaction that was aborted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AbortedTransaction {
    /// Whose it was.
    pub producer_id: ProducerId,
    /// The offset of its first record.
    pub first_offset: Offset,
    /// The offset of its abort marker.
    pub last_offset: Offset,
    /// The last stable offset when the marker was written.
    pub last_stable_offset: Offset,
}

impl AbortedTransaction {
    /// The entry as it stands in the file.
    pub fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        let numbers = [
            self.producer_id.get(),
            self.first_offset.get(),
            self.last_offset.get(),
            self.last_stable_offset.get(),
        ];
        let (version, rest) = bytes.split_at_mut(2);
        version.copy_from_slice(&ENTRY_VERSION.to_be_bytes());
        for (place, number) in rest.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    /// Reads an entry; `None` when its version is above ours (Kafka looks at the first byte of the version only).
    pub fn decode(bytes: &[u8; ENTRY_BYTES]) -> Option<Self> {
        let (version, rest) = bytes.split_at(2);
        if version
            .first()
            .is_none_or(|byte| *byte as i8 > planted!("aborted-any-version", i8::MAX, 0))
        {
            return None;
        }
        let mut numbers = rest
            .chunks_exact(8)
            .map(|chunk| i64::from_be_bytes(chunk.try_into().unwrap_or_default()));
        Some(Self {
            producer_id: ProducerId(numbers.next()?),
            first_offset: Offset(numbers.next()?),
            last_offset: Offset(numbers.next()?),
            last_stable_offset: Offset(numbers.next()?),
        })
    }
}

/// Why a transaction index could not be used.
#[derive(Debug)]
pub enum TransactionIndexError {
    /// The disk failed.
    Io(io::Error),
    /// The contents are not those of an index of this segment; recovery of the segment writes them anew.
    Corrupt {
        /// Where the entry begins, in bytes.
        position: u64,
        /// What is wrong.
        reason: &'static str,
    },
}

impl fmt::Display for TransactionIndexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Corrupt { position, reason } => write!(f, "the entry at byte {position} {reason}"),
        }
    }
}

impl std::error::Error for TransactionIndexError {}

impl From<io::Error> for TransactionIndexError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Whether a search of one index found all there is, or the next segment's index has to be searched too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Search {
    /// No later index holds anything for the range.
    Complete,
    /// The search goes on in the next segment.
    GoesOn,
}

/// The index of one segment. A new one is empty and has no file yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TransactionIndex {
    entries: u64,
    last_offset: Option<Offset>,
}

impl TransactionIndex {
    /// An index without entries.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Reads the index of the segment that begins at `base_offset` through, and checks it as Kafka does on loading; and
    /// that last offsets increase, which Kafka checks on writing only.
    pub fn open(file: &File, base_offset: Offset) -> Result<Self, TransactionIndexError> {
        let mut index = Self {
            entries: planted!(
                "aborted-part-counted",
                file.length()?.div_ceil(ENTRY_BYTES as u64),
                file.length()? / ENTRY_BYTES as u64
            ),
            last_offset: None,
        };
        let mut last_offset = None;
        index.scan(file, |position, entry| {
            let reason = if entry.last_offset < base_offset {
                "ends below the segment's base offset"
            } else if planted!(
                "aborted-ends-equal",
                last_offset > Some(entry.last_offset),
                last_offset >= Some(entry.last_offset)
            ) {
                "does not end behind the one before it"
            } else {
                last_offset = Some(entry.last_offset);
                return Ok(true);
            };
            Err(TransactionIndexError::Corrupt { position, reason })
        })?;
        index.last_offset = last_offset;
        Ok(index)
    }

    /// True when there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The length of the file in bytes, as far as it is read.
    pub fn length(&self) -> u64 {
        self.entries * ENTRY_BYTES as u64
    }

    /// The last entry's last offset.
    pub fn last_offset(&self) -> Option<Offset> {
        self.last_offset
    }

    /// Appends an entry. After an error the index is as before.
    pub fn append(&mut self, file: &File, entry: &AbortedTransaction) -> Result<(), TransactionIndexError> {
        if self.last_offset >= Some(entry.last_offset) {
            return Err(TransactionIndexError::Corrupt {
                position: self.length(),
                reason: "would not end behind the one before it",
            });
        }
        file.write_all_at(&entry.encode(), self.length())?;
        self.entries += 1;
        self.last_offset = Some(entry.last_offset);
        Ok(())
    }

    /// Removes the entries from the first one on that ends at or behind `offset`, and stray bytes behind the last.
    pub fn truncate_to(&mut self, file: &File, offset: Offset) -> Result<(), TransactionIndexError> {
        let mut kept = Self::empty();
        self.scan(file, |_, entry| {
            if entry.last_offset >= offset {
                return Ok(false);
            }
            kept.entries += 1;
            kept.last_offset = Some(entry.last_offset);
            Ok(true)
        })?;
        if file.length()? != kept.length() {
            file.set_length(kept.length())?;
        }
        *self = kept;
        Ok(())
    }

    /// Removes all entries.
    pub fn reset(&mut self, file: &File) -> io::Result<()> {
        file.set_length(0)?;
        *self = Self::empty();
        Ok(())
    }

    /// All entries.
    pub fn entries(&self, file: &File) -> Result<Vec<AbortedTransaction>, TransactionIndexError> {
        let mut entries = Vec::new();
        self.scan(file, |_, entry| {
            entries.push(*entry);
            Ok(true)
        })?;
        Ok(entries)
    }

    /// Adds to `found` the transactions that a fetch of `[fetch_offset, upper_bound)` has to know of: those that end at
    /// or behind its beginning and begin before its end.
    pub fn collect(
        &self,
        file: &File,
        fetch_offset: Offset,
        upper_bound: Offset,
        found: &mut Vec<AbortedTransaction>,
    ) -> Result<Search, TransactionIndexError> {
        let mut search = Search::GoesOn;
        if self.last_offset < Some(fetch_offset) {
            // Last stable offsets lie below the upper bound here, too: each is at most one behind its last offset.
            return Ok(search);
        }
        self.scan(file, |_, entry| {
            if entry.last_offset >= fetch_offset && entry.first_offset < upper_bound {
                found.push(*entry);
            }
            if entry.last_stable_offset >= upper_bound {
                search = Search::Complete;
            }
            Ok(search == Search::GoesOn)
        })?;
        Ok(search)
    }

    /// Shows each entry and its position to `visit`, until that says `false`.
    fn scan(
        &self,
        file: &File,
        mut visit: impl FnMut(u64, &AbortedTransaction) -> Result<bool, TransactionIndexError>,
    ) -> Result<(), TransactionIndexError> {
        let mut buffer = [0; ENTRIES_AT_A_TIME * ENTRY_BYTES];
        let mut position = 0;
        while position < self.length() {
            let wanted = usize::try_from(self.length() - position).unwrap_or(usize::MAX);
            let wanted = wanted.min(buffer.len());
            let chunk = buffer.get_mut(..wanted).unwrap_or_default();
            file.read_exact_at(chunk, position)?;
            for bytes in chunk.as_chunks::<ENTRY_BYTES>().0 {
                let entry = AbortedTransaction::decode(bytes).ok_or(TransactionIndexError::Corrupt {
                    position,
                    reason: "has an unknown version",
                })?;
                if !visit(position, &entry)? {
                    return Ok(());
                }
                position += ENTRY_BYTES as u64;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::base::disk::memory::{Call, MemoryDisk};
    use crate::base::disk::{Disk, Open};

    fn entry(first: i64, last: i64, stable: i64) -> AbortedTransaction {
        AbortedTransaction {
            producer_id: ProducerId(7),
            first_offset: Offset(first),
            last_offset: Offset(last),
            last_stable_offset: Offset(stable),
        }
    }

    fn file(memory: &MemoryDisk) -> File {
        let disk = Disk::memory(memory.clone());
        disk.create_directory(Path::new("/a")).unwrap();
        disk.open(Path::new("/a/0.txnindex"), Open::Create).unwrap()
    }

    fn filled(file: &File, entries: &[AbortedTransaction]) -> TransactionIndex {
        let mut index = TransactionIndex::empty();
        for entry in entries {
            index.append(file, entry).unwrap();
        }
        index
    }

    #[test]
    fn an_entry_has_kafkas_bytes() {
        let bytes = entry(1, 2, 3).encode();
        assert_eq!(bytes[..2], [0, 0]);
        assert_eq!(bytes[9], 7);
        assert_eq!(bytes[17], 1);
        assert_eq!(bytes[25], 2);
        assert_eq!(bytes[33], 3);
        assert_eq!(AbortedTransaction::decode(&bytes), Some(entry(1, 2, 3)));
    }

    #[test]
    fn a_torn_entry_is_overwritten() {
        let file = file(&MemoryDisk::new());
        filled(&file, &[entry(0, 5, 6)]);
        file.write_all_at(&[9; 20], 34).unwrap();
        let mut index = TransactionIndex::open(&file, Offset(0)).unwrap();
        assert_eq!(index.length(), 34);
        index.append(&file, &entry(6, 9, 10)).unwrap();
        let index = TransactionIndex::open(&file, Offset(0)).unwrap();
        assert_eq!(index.entries(&file).unwrap(), [entry(0, 5, 6), entry(6, 9, 10)]);
    }

    #[test]
    fn a_failed_append_changes_nothing() {
        let memory = MemoryDisk::new();
        let file = file(&memory);
        let mut index = filled(&file, &[entry(0, 5, 6)]);
        let before = index;
        memory.fail(Call::Write, "txnindex", 0, 1, io::ErrorKind::Other);
        assert!(index.append(&file, &entry(6, 9, 10)).is_err());
        assert_eq!(index, before);
        assert!(index.append(&file, &entry(1, 5, 6)).is_err(), "must end later");
        assert_eq!(index, before);
    }

    #[test]
    fn refuses_what_is_no_index_of_the_segment() {
        let file = file(&MemoryDisk::new());
        filled(&file, &[entry(0, 5, 6), entry(6, 9, 10)]);
        assert!(TransactionIndex::open(&file, Offset(5)).is_ok());
        assert!(TransactionIndex::open(&file, Offset(6)).is_err());
        file.write_all_at(&[1], 34).unwrap();
        assert!(TransactionIndex::open(&file, Offset(0)).is_err());
        file.write_all_at(&entry(6, 5, 10).encode(), 34).unwrap();
        assert!(TransactionIndex::open(&file, Offset(0)).is_err());
    }

    #[test]
    fn the_search_ends_where_everything_was_stable() {
        let file = file(&MemoryDisk::new());
        // The second transaction is open while the first aborts: the last stable offset stays at its beginning.
        let index = filled(&file, &[entry(0, 5, 2), entry(2, 9, 10), entry(20, 29, 30)]);
        let search = |from, to| {
            let mut found = Vec::new();
            let search = index
                .collect(&file, Offset(from), Offset(to), &mut found)
                .unwrap();
            let firsts: Vec<_> = found.iter().map(|entry| entry.first_offset.get()).collect();
            (firsts, search)
        };
        assert_eq!(search(0, 2), (vec![0], Search::Complete));
        assert_eq!(search(0, 3), (vec![0, 2], Search::Complete));
        assert_eq!(search(6, 21), (vec![2, 20], Search::Complete));
        assert_eq!(search(10, 31), (vec![20], Search::GoesOn));
        assert_eq!(search(30, 31), (vec![], Search::GoesOn));
    }

    proptest! {
        #[test]
        fn agrees_with_a_list(
            steps in proptest::collection::vec((1..9_i64, 0..9_i64, 0..9_i64, any::<bool>()), 0..300),
            from in 0..400_i64, length in 0..200_i64,
        ) {
            let file = file(&MemoryDisk::new());
            let mut index = TransactionIndex::empty();
            let mut model: Vec<AbortedTransaction> = Vec::new();
            let mut last = 0;
            for (step, back, stable, truncate) in steps {
                if truncate && stable == 0 {
                    last -= back;
                    index.truncate_to(&file, Offset(last)).unwrap();
                    model.retain(|entry| entry.last_offset < Offset(last));
                } else {
                    last += step;
                    let entry = entry(last - back, last, last + 1 - stable.min(back));
                    index.append(&file, &entry).unwrap();
                    model.push(entry);
                }
            }
            prop_assert_eq!(&index.entries(&file).unwrap(), &model);
            prop_assert_eq!(TransactionIndex::open(&file, Offset(i64::MIN)).unwrap(), index);
            let (from, to) = (Offset(from), Offset(from + length));
            let mut found = Vec::new();
            index.collect(&file, from, to, &mut found).unwrap();
            let end = model.iter().position(|entry| entry.last_stable_offset >= to).map_or(model.len(), |at| at + 1);
            let expected: Vec<_> = model[..end]
                .iter()
                .filter(|entry| entry.last_offset >= from && entry.first_offset < to)
                .copied()
                .collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let file = file(&MemoryDisk::new());
            file.write_all_at(&bytes, 0).unwrap();
            if let Ok(index) = TransactionIndex::open(&file, Offset(0)) {
                let _ = index.entries(&file);
            }
        }
    }
}
