//! What offset and time index have in common: entries of a fixed size in a file, ascending, the newest perhaps still in
//! memory.
//!
//! Invariant: the entries in the file come before those in memory, and `written` is what the file holds. Only the
//! active segment has entries in memory; they go to the file in batches, and at the latest when it is flushed, rolled
//! or closed. After a crash recovery builds them anew, so a file that is behind is no loss. Called by segment/.

use crate::base::planted::planted;
use std::io;

use crate::base::disk::File;

/// An entry of an index.
pub trait Entry: Copy + PartialEq + std::fmt::Debug {
    /// Bytes on disk.
    const BYTES: usize;

    /// Appends the entry as it stands on disk.
    fn put(&self, to: &mut Vec<u8>);

    /// Reads an entry; `None` when `bytes` are too few.
    fn take(bytes: &[u8]) -> Option<Self>;
}

/// The entries of an index: those in its file, then those in memory.
#[derive(Clone, Copy)]
pub struct Entries<'a, E> {
    /// The file; not looked at when `written` is 0.
    pub file: Option<&'a File>,
    /// How many entries the file holds.
    pub written: u32,
    /// Those behind them.
    pub tail: &'a [E],
}

/// Entries that are read at once when a search has come this close.
const BLOCK_ENTRIES: u32 = 64;

impl<'a, E: Entry> Entries<'a, E> {
    /// All of a file, a part of an entry at its end left out.
    pub fn of_file(file: &'a File) -> io::Result<Self> {
        let entries = planted!(
            "index-part-counted",
            file.length()?.div_ceil(E::BYTES as u64),
            file.length()? / E::BYTES as u64
        );
        Ok(Self {
            file: Some(file),
            written: u32::try_from(entries).unwrap_or(u32::MAX),
            tail: &[],
        })
    }

    /// How many entries there are.
    pub fn count(&self) -> u32 {
        self.written + self.tail.len() as u32
    }

    /// The entry `number`, counted from 0.
    pub fn get(&self, number: u32) -> io::Result<Option<E>> {
        if let Some(in_tail) = number.checked_sub(self.written) {
            return Ok(self.tail.get(in_tail as usize).copied());
        }
        Ok(self.block(number, number + 1)?.first().copied())
    }

    /// The last entry.
    pub fn last(&self) -> io::Result<Option<E>> {
        match self.count().checked_sub(1) {
            Some(last) => self.get(last),
            None => Ok(None),
        }
    }

    /// The last entry and the one before it.
    pub fn last_two(&self) -> io::Result<(Option<E>, Option<E>)> {
        let count = self.count();
        let from = count.saturating_sub(2);
        if from >= self.written {
            let before = count.checked_sub(2).map_or(Ok(None), |number| self.get(number))?;
            return Ok((before, self.last()?));
        }
        let mut ends = self.block(from, self.written)?;
        ends.extend_from_slice(self.tail);
        let last = ends.pop();
        Ok((ends.pop(), last))
    }

    /// Entries `from` to (exclusive) `to` of the file. Fewer when the file is shorter than was thought.
    fn block(&self, from: u32, to: u32) -> io::Result<Vec<E>> {
        let Some(file) = self.file else {
            return Ok(Vec::new());
        };
        let mut bytes = vec![0; (to.saturating_sub(from)) as usize * E::BYTES];
        let read = file.read_at(&mut bytes, u64::from(from) * E::BYTES as u64)?;
        Ok(bytes
            .get(..read)
            .unwrap_or_default()
            .chunks_exact(E::BYTES)
            .filter_map(E::take)
            .collect())
    }

    /// The number of the first entry for which `before` is false; all for which it is true come first.
    pub fn partition_point(&self, before: impl Fn(&E) -> bool) -> io::Result<u32> {
        Ok(self.search(before)?.0)
    }

    /// The number of the first entry for which `before` is false, and the entry before it where the search saw that.
    fn search(&self, before: impl Fn(&E) -> bool) -> io::Result<(u32, Option<E>)> {
        let in_tail = self.tail.partition_point(&before);
        if let Some(last) = in_tail.checked_sub(1) {
            return Ok((self.written + in_tail as u32, self.tail.get(last).copied()));
        }
        if self.written == 0 {
            return Ok((0, None));
        }
        let (mut low, mut high) = (0, self.written);
        while high - low > BLOCK_ENTRIES {
            let middle = low + (high - low) / 2;
            match self.block(middle, middle + 1)?.first() {
                Some(entry) if before(entry) => low = middle + 1,
                _ => high = planted!("index-search-one-off", middle - 1, middle),
            }
        }
        let block = self.block(low, high)?;
        let in_block = block.partition_point(&before);
        let last = in_block.checked_sub(1).and_then(|last| block.get(last)).copied();
        Ok((low + in_block as u32, last))
    }

    /// The last entry for which `before` is true.
    pub fn last_where(&self, before: impl Fn(&E) -> bool) -> io::Result<Option<E>> {
        match self.search(before)? {
            (_, Some(last)) => Ok(Some(last)),
            (number, None) => number.checked_sub(1).map_or(Ok(None), |number| self.get(number)),
        }
    }
}

/// The index of the active segment.
#[derive(Debug)]
pub struct ActiveIndex<E> {
    written: u32,
    tail: Vec<E>,
    last: Option<E>,
}

/// Entries that are kept in memory before they are written: one write for some 2 MiB of log.
pub const TAIL_ENTRIES: usize = 512;

impl<E: Entry> Default for ActiveIndex<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Entry> ActiveIndex<E> {
    /// An index without entries.
    pub const fn new() -> Self {
        Self {
            written: 0,
            tail: Vec::new(),
            last: None,
        }
    }

    /// The index whose file holds `written` entries, `last` being the last of them.
    pub const fn of_file(written: u32, last: Option<E>) -> Self {
        Self {
            written,
            tail: Vec::new(),
            last,
        }
    }

    /// How many entries there are.
    pub fn count(&self) -> u32 {
        self.written + self.tail.len() as u32
    }

    /// The last entry.
    pub fn last(&self) -> Option<E> {
        self.last
    }

    /// True when entries lie in memory only.
    pub fn is_unwritten(&self) -> bool {
        !self.tail.is_empty()
    }

    /// True when so many entries lie in memory that they should be written.
    pub fn wants_writing(&self) -> bool {
        self.tail.len() >= TAIL_ENTRIES
    }

    /// How many entries the file holds.
    pub fn written(&self) -> u32 {
        self.written
    }

    /// The entries, to be searched; `file` is needed when [`ActiveIndex::written`] is not 0.
    pub fn entries<'a>(&'a self, file: Option<&'a File>) -> Entries<'a, E> {
        Entries {
            file,
            written: self.written,
            tail: &self.tail,
        }
    }

    /// Adds an entry.
    pub fn push(&mut self, entry: E) {
        self.tail.push(entry);
        self.last = Some(entry);
    }

    /// Writes what lies in memory only. On an error the entries stay in memory.
    pub fn write(&mut self, file: &File) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(self.tail.len() * E::BYTES);
        for entry in &self.tail {
            entry.put(&mut bytes);
        }
        file.write_all_at(&bytes, u64::from(self.written) * E::BYTES as u64)?;
        self.written += self.tail.len() as u32;
        // An idle partition keeps no buffer.
        self.tail = Vec::new();
        Ok(())
    }

    /// Cuts to the first `count` entries. `file` is cut as well when entries of it go.
    pub fn truncate(&mut self, count: u32, file: Option<&File>) -> io::Result<()> {
        if count >= self.count() {
            return Ok(());
        }
        if let Some(in_tail) = count.checked_sub(self.written) {
            self.tail.truncate(in_tail as usize);
        } else {
            self.tail = Vec::new();
            if let Some(file) = file {
                file.set_length(u64::from(count) * E::BYTES as u64)?;
            }
            self.written = count;
        }
        self.last = self.entries(file).last()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::disk::memory::MemoryDisk;
    use crate::base::disk::{Disk, Open};

    impl Entry for u32 {
        const BYTES: usize = 4;
        fn put(&self, to: &mut Vec<u8>) {
            to.extend(self.to_be_bytes());
        }
        fn take(bytes: &[u8]) -> Option<Self> {
            bytes.first_chunk().map(|field| Self::from_be_bytes(*field))
        }
    }

    #[test]
    fn searches_file_and_memory_as_one() {
        let disk = Disk::memory(MemoryDisk::new());
        disk.create_directory("/d".as_ref()).unwrap();
        let file = disk.open("/d/index".as_ref(), Open::New).unwrap();
        for written in [0_u32, 1, 63, 64, 65, 500] {
            for in_memory in [0_u32, 1, 70] {
                file.set_length(0).unwrap();
                let mut index = ActiveIndex::new();
                (0..written).for_each(|number| index.push(number * 2));
                index.write(&file).unwrap();
                (written..written + in_memory).for_each(|number| index.push(number * 2));
                let entries = index.entries(Some(&file));
                for target in 0..(written + in_memory) * 2 + 2 {
                    let expected = (0..written + in_memory)
                        .map(|number| number * 2)
                        .rfind(|entry| *entry <= target);
                    assert_eq!(entries.last_where(|entry| *entry <= target).unwrap(), expected);
                }
                for count in (0..=index.count()).rev() {
                    index.truncate(count, Some(&file)).unwrap();
                    assert_eq!(index.count(), count);
                    assert_eq!(index.last(), count.checked_sub(1).map(|last| last * 2));
                }
                assert_eq!(file.length().unwrap(), 0);
            }
        }
    }

    #[test]
    fn a_part_of_an_entry_is_left_out() {
        let disk = Disk::memory(MemoryDisk::new());
        disk.create_directory("/d".as_ref()).unwrap();
        let file = disk.open("/d/index".as_ref(), Open::New).unwrap();
        file.write_all_at(&[0, 0, 0, 7, 0, 0], 0).unwrap();
        let entries = Entries::<u32>::of_file(&file).unwrap();
        assert_eq!(entries.count(), 1);
        assert_eq!(entries.last().unwrap(), Some(7));
        assert_eq!(entries.get(1).unwrap(), None);
    }
}
