//! Open files, at most as many as the process may hold: ten thousand partitions do not mean ten thousand descriptors.
//!
//! Invariant: the cache holds at most `capacity` files; one that was used lately stays. It gives way where the process is
//! about to run out of descriptors, whoever has them. A file that is dropped here lives on while a read still holds it. A
//! file's id never names another file, and outlives renames. Each append and each read comes here, so who finds a busy file
//! holds up nobody.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::base::disk::{File, is_shortage};
use crate::base::hash::HashMap;

/// Names a file in the cache, whatever it is called on disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FileId(u64);

impl FileId {
    /// The id `count` behind this one, in the block that [`Descriptors::ids`] gave.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0 + count)
    }
}

struct Cached {
    file: Arc<File>,
    used: u64,
}

#[derive(Default)]
struct Cache {
    files: HashMap<FileId, Cached>,
    by_use: BTreeMap<u64, FileId>,
    clock: u64,
}

impl Cache {
    /// Puts a file among the newest, if it is still there.
    fn use_now(&mut self, id: FileId) {
        let Some(cached) = self.files.get_mut(&id) else {
            return;
        };
        let before = std::mem::replace(&mut cached.used, self.clock);
        self.by_use.remove(&before);
        self.by_use.insert(self.clock, id);
        self.clock += 1;
    }
}

/// The cache of open files; one serves all log directories.
pub struct Descriptors {
    capacity: usize,
    /// A file whose descriptor has this number, or a higher one, is one too many.
    bound: u64,
    next_id: AtomicU64,
    cache: RwLock<Cache>,
}

impl Descriptors {
    /// A cache of at most `capacity` files (at least one).
    pub fn new(capacity: usize) -> Arc<Self> {
        Self::below(capacity, u64::MAX)
    }

    /// The same, which leaves the descriptors with the number `bound` and above to others.
    pub fn below(capacity: usize, bound: u64) -> Arc<Self> {
        Arc::new(Self {
            capacity: capacity.max(1),
            bound,
            next_id: AtomicU64::new(0),
            cache: RwLock::default(),
        })
    }

    /// The first of `count` new ids.
    pub fn ids(&self, count: u64) -> FileId {
        FileId(self.next_id.fetch_add(count, Ordering::Relaxed))
    }

    fn look(&self) -> RwLockReadGuard<'_, Cache> {
        self.cache.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, Cache> {
        self.cache.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open file `id`, opened with `open` when it is not in the cache.
    pub fn get(&self, id: FileId, open: impl Fn() -> io::Result<File>) -> io::Result<Arc<File>> {
        if let Some(file) = self.cached(id) {
            return Ok(file);
        }
        // Not under the lock: opening may wait for the disk.
        let file = match open() {
            Err(error) if is_shortage(&error) => {
                self.let_go();
                open()
            }
            opened => opened,
        };
        let file = Arc::new(file?);
        self.put(id, Arc::clone(&file));
        Ok(file)
    }

    fn cached(&self, id: FileId) -> Option<Arc<File>> {
        let cache = self.look();
        let cached = cache.files.get(&id)?;
        let file = Arc::clone(&cached.file);
        // A file among the newest quarter keeps its place: the busy ones cost one look-up and nothing else.
        if cache.clock - cached.used > self.capacity as u64 / 4 {
            drop(cache);
            self.change().use_now(id);
        }
        Some(file)
    }

    /// Keeps a file that was just opened or created.
    pub fn put(&self, id: FileId, file: Arc<File>) {
        let mut dropped = Vec::new();
        let is_one_too_many = file.number().is_some_and(|number| number >= self.bound);
        let mut cache = self.change();
        let used = cache.clock;
        cache.clock += 1;
        if let Some(before) = cache.files.insert(id, Cached { file, used }) {
            cache.by_use.remove(&before.used);
            dropped.push(before.file);
        }
        cache.by_use.insert(used, id);
        let room = if is_one_too_many {
            // More than one, so that not each of the next files goes at once.
            cache.files.len() - cache.files.len() / 4
        } else {
            self.capacity
        };
        while cache.files.len() > room.min(self.capacity) {
            let Some((_, oldest)) = cache.by_use.pop_first() else {
                break;
            };
            dropped.extend(cache.files.remove(&oldest).map(|cached| cached.file));
        }
        drop(cache);
        // Files are closed here, not under the lock.
        drop(dropped);
    }

    /// Lets go of a file that is about to be removed or replaced.
    pub fn forget(&self, id: FileId) {
        let mut cache = self.change();
        let gone = cache.files.remove(&id);
        if let Some(gone) = &gone {
            cache.by_use.remove(&gone.used);
        }
        drop(cache);
        drop(gone);
    }

    /// Closes those files that were used least recently, down to half of the capacity: for connections that wait.
    pub fn give_way(&self) {
        let mut dropped = Vec::new();
        let mut cache = self.change();
        while cache.files.len() > self.capacity / 2 {
            let Some((_, oldest)) = cache.by_use.pop_first() else {
                break;
            };
            dropped.extend(cache.files.remove(&oldest).map(|cached| cached.file));
        }
        drop(cache);
        drop(dropped);
    }

    /// Closes all files but those that are in use, for others to be opened.
    pub fn let_go(&self) {
        let mut cache = self.change();
        cache.by_use.clear();
        let gone = std::mem::take(&mut cache.files);
        drop(cache);
        drop(gone);
    }

    /// How many files are open in the cache.
    pub fn open_files(&self) -> usize {
        self.look().files.len()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::base::disk::memory::{Call, MemoryDisk};
    use crate::base::disk::{Disk, Open};

    fn path(number: u64) -> PathBuf {
        format!("/d/{number}").into()
    }

    #[test]
    fn holds_no_more_than_its_capacity_and_keeps_what_is_used() {
        let memory = MemoryDisk::new();
        let disk = Disk::memory(memory.clone());
        disk.create_directory("/d".as_ref()).unwrap();
        let descriptors = Descriptors::new(8);
        let first = descriptors.ids(100);
        for number in 0..100 {
            let get = |number: u64| {
                descriptors
                    .get(first.plus(number), || disk.open(&path(number), Open::Create))
                    .unwrap();
            };
            get(number);
            get(0);
            assert!(descriptors.open_files() <= 8);
        }
        assert_eq!(memory.counts().opens, 100, "the file in use was opened once");
        descriptors.forget(first);
        assert_eq!(descriptors.open_files(), 7);
        let cache = descriptors.look();
        assert_eq!(cache.by_use.len(), 7);
    }

    #[test]
    fn gives_way_when_there_is_no_descriptor() {
        let memory = MemoryDisk::new();
        let disk = Disk::memory(memory.clone());
        disk.create_directory("/d".as_ref()).unwrap();
        let descriptors = Descriptors::new(8);
        let first = descriptors.ids(8);
        let get = |number: u64| {
            let open = || disk.open(&path(number), Open::Create);
            descriptors.get(first.plus(number), open).map(drop)
        };
        (0..4).for_each(|number| get(number).unwrap());
        memory.run_short(Call::Open, "/d/4", 0, 1);
        get(4).unwrap();
        assert_eq!(descriptors.open_files(), 1);
        (0..8).for_each(|number| get(number).unwrap());
        descriptors.give_way();
        assert_eq!(descriptors.open_files(), 4, "connections get half of them");
        assert!(descriptors.cached(first.plus(7)).is_some());
        descriptors.give_way();
        assert_eq!(descriptors.open_files(), 4);
        descriptors.let_go();
        memory.run_short(Call::Open, "/d/5", 0, 2);
        assert!(is_shortage(&get(5).unwrap_err()), "it is tried once more");
        get(5).unwrap();
    }

    #[cfg(not(feature = "simulation"))]
    #[test]
    fn leaves_the_last_descriptors_to_others() {
        let disk = Disk::system();
        let null = || disk.open("/dev/null".as_ref(), Open::Read);
        let descriptors = Descriptors::below(8, 0);
        let first = descriptors.ids(8);
        (0..4).for_each(|number| drop(descriptors.get(first.plus(number), null).unwrap()));
        assert_eq!(
            descriptors.open_files(),
            3,
            "the fourth takes another one's place"
        );
        assert!(descriptors.cached(first.plus(3)).is_some(), "the newest stays");
        let descriptors = Descriptors::below(8, u64::MAX);
        (0..4).for_each(|number| drop(descriptors.get(first.plus(number), null).unwrap()));
        assert_eq!(descriptors.open_files(), 4);
    }
}
