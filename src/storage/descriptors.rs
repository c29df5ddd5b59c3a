//! Open files, at most as many as the process may hold: ten thousand partitions do not mean ten thousand descriptors.
//!
//! Invariant: the cache holds at most `capacity` files; one that was used lately stays. A file that is dropped here
//! lives on while a read still holds it. A file's id never names another file, and outlives renames. Each append and
//! each read comes here, so who finds a busy file holds up nobody.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::base::disk::File;
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
    next_id: AtomicU64,
    cache: RwLock<Cache>,
}

impl Descriptors {
    /// A cache of at most `capacity` files (at least one).
    pub fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            capacity: capacity.max(1),
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
    pub fn get(&self, id: FileId, open: impl FnOnce() -> io::Result<File>) -> io::Result<Arc<File>> {
        if let Some(file) = self.cached(id) {
            return Ok(file);
        }
        // Not under the lock: opening may wait for the disk.
        let file = Arc::new(open()?);
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
        let mut cache = self.change();
        let used = cache.clock;
        cache.clock += 1;
        if let Some(before) = cache.files.insert(id, Cached { file, used }) {
            cache.by_use.remove(&before.used);
            dropped.push(before.file);
        }
        cache.by_use.insert(used, id);
        while cache.files.len() > self.capacity {
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

    /// How many files are open in the cache.
    pub fn open_files(&self) -> usize {
        self.look().files.len()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::base::disk::memory::MemoryDisk;
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
}
