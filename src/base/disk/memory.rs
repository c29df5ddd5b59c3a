//! Files in memory, for tests and the simulation: they count calls, can fail, fill up, and lose at a power cut what
//! was not synced.
//!
//! What is durable follows POSIX: a file's bytes after its sync, a directory's entries after the directory's sync (and,
//! as ext4 and xfs do, the entry of a newly created file after its own sync). Kill -9 loses nothing here.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Entry, Metadata, Open, Space};
use crate::base::clock;

/// What a test may ask of the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Files opened.
    pub opens: u64,
    /// Reads of files.
    pub reads: u64,
    /// Writes to files.
    pub writes: u64,
    /// Bytes written to files.
    pub bytes_written: u64,
    /// Syncs of files and directories.
    pub syncs: u64,
}

/// A call that a fault can hit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// Opening a file.
    Open,
    /// Reading a file.
    Read,
    /// Writing a file, or changing its length.
    Write,
    /// Syncing a file or directory.
    Sync,
    /// Renaming.
    Rename,
    /// Removing a file or directory.
    Remove,
}

struct Fault {
    call: Call,
    /// Part of the path that the call must be about.
    path_contains: String,
    /// How many matching calls still succeed.
    after: u64,
    /// How many then fail.
    times: u64,
    failure: Failure,
}

#[derive(Clone, Copy)]
enum Failure {
    Kind(io::ErrorKind),
    Shortage,
}

struct Node {
    bytes: Mutex<Bytes>,
}

#[derive(Clone)]
struct Bytes {
    now: Vec<u8>,
    durable: Vec<u8>,
    modified_ms: i64,
    locked: bool,
}

#[derive(Default)]
struct State {
    files: BTreeMap<PathBuf, Arc<Node>>,
    directories: BTreeMap<PathBuf, ()>,
    durable_files: BTreeMap<PathBuf, Arc<Node>>,
    durable_directories: BTreeMap<PathBuf, ()>,
    faults: Vec<Fault>,
    frozen: Vec<String>,
    counts: Counts,
    capacity_bytes: Option<u64>,
    names_need_their_directory: bool,
    power_cuts: u64,
}

/// A file system in memory; clones share it.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

/// An open file in memory. It outlives its name, as an open file does.
pub struct MemoryFile {
    path: PathBuf,
    node: Arc<Node>,
    disk: MemoryDisk,
    holds_lock: Mutex<bool>,
}

impl MemoryDisk {
    /// An empty disk without limits.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The calls so far.
    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    pub(super) fn syncs(&self) -> u64 {
        self.counts().syncs
    }

    /// Lets calls of this kind on paths that contain `path_contains` fail `times` times, after `after` good ones.
    pub fn fail(&self, call: Call, path_contains: &str, after: u64, times: u64, kind: io::ErrorKind) {
        self.fault(call, path_contains, (after, times), Failure::Kind(kind));
    }

    /// The same, for want of a descriptor.
    pub fn run_short(&self, call: Call, path_contains: &str, after: u64, times: u64) {
        self.fault(call, path_contains, (after, times), Failure::Shortage);
    }

    fn fault(&self, call: Call, path_contains: &str, (after, times): (u64, u64), failure: Failure) {
        self.state().faults.push(Fault {
            call,
            path_contains: path_contains.to_owned(),
            after,
            times,
            failure,
        });
    }

    /// From now on calls on paths that contain `path_contains` do not return, until the disk is [healed](Self::heal).
    pub fn freeze(&self, path_contains: &str) {
        self.state().frozen.push(path_contains.to_owned());
    }

    /// Ends all faults.
    pub fn heal(&self) {
        let mut state = self.state();
        state.faults.clear();
        state.frozen.clear();
    }

    /// What a file has now, past all faults and counts.
    pub fn peek(&self, path: &Path) -> Option<Vec<u8>> {
        let node = self.state().files.get(path).cloned()?;
        let bytes = node.bytes().now.clone();
        Some(bytes)
    }

    /// Bytes in all files.
    pub fn used_bytes(&self) -> u64 {
        used(&self.state())
    }

    /// From now on the files may have this many bytes in all; more is `StorageFull`.
    pub fn set_capacity_bytes(&self, capacity: Option<u64>) {
        self.state().capacity_bytes = capacity;
    }

    /// From now on a new file's name is durable after its directory's sync only, which is all that POSIX promises.
    pub fn names_need_their_directory(&self) {
        self.state().names_need_their_directory = true;
    }

    /// The power fails: what was not synced is gone. Of bytes written behind the last sync, `keep` decides for each
    /// block of 4 KiB whether it reached the disk all the same.
    pub fn power_cut(&self, mut keep: impl FnMut() -> bool) {
        const BLOCK: usize = 4096;
        let mut state = self.state();
        state.power_cuts += 1;
        state.files = state.durable_files.clone();
        state.directories = state.durable_directories.clone();
        let nodes: Vec<_> = state.files.values().cloned().collect();
        for node in nodes {
            let mut bytes = node.bytes();
            let mut survived = bytes.durable.clone();
            if bytes.now.len() > survived.len() && keep() {
                survived.resize(bytes.now.len(), 0);
            }
            for start in (0..survived.len()).step_by(BLOCK) {
                let end = (start + BLOCK).min(survived.len());
                let (Some(old), Some(new)) = (survived.get_mut(start..end), bytes.now.get(start..end)) else {
                    continue;
                };
                if old != new && keep() {
                    old.copy_from_slice(new);
                }
            }
            bytes.now = survived.clone();
            bytes.durable = survived;
            bytes.locked = false;
        }
    }

    /// What is on it now, on a disk of its own and with nothing locked: as the next process finds it when the one that
    /// uses this disk is killed. The threads of that one go on, here.
    pub fn after_kill(&self) -> Self {
        let state = self.state();
        let mut copies: BTreeMap<*const Node, Arc<Node>> = BTreeMap::new();
        let mut copy_of = |files: &BTreeMap<PathBuf, Arc<Node>>| {
            let copied = files.iter().map(|(path, node)| {
                let copy = copies.entry(Arc::as_ptr(node)).or_insert_with(|| {
                    let mut bytes = node.bytes().clone();
                    bytes.locked = false;
                    Arc::new(Node {
                        bytes: Mutex::new(bytes),
                    })
                });
                (path.clone(), Arc::clone(copy))
            });
            copied.collect()
        };
        let copied = State {
            files: copy_of(&state.files),
            directories: state.directories.clone(),
            durable_files: copy_of(&state.durable_files),
            durable_directories: state.durable_directories.clone(),
            capacity_bytes: state.capacity_bytes,
            names_need_their_directory: state.names_need_their_directory,
            power_cuts: state.power_cuts,
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(copied)),
        }
    }

    fn check(&self, call: Call, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        match call {
            Call::Open => state.counts.opens += 1,
            Call::Read => state.counts.reads += 1,
            Call::Write => state.counts.writes += 1,
            Call::Sync => state.counts.syncs += 1,
            Call::Rename | Call::Remove => {}
        }
        let name = path.to_string_lossy();
        while state.frozen.iter().any(|part| name.contains(part)) {
            drop(state);
            std::thread::park_timeout(Duration::from_millis(1));
            state = self.state();
        }
        for fault in &mut state.faults {
            if fault.call == call && name.contains(&fault.path_contains) {
                if fault.after > 0 {
                    fault.after -= 1;
                } else if fault.times > 0 {
                    fault.times -= 1;
                    return Err(match fault.failure {
                        Failure::Kind(kind) => kind.into(),
                        Failure::Shortage => rustix::io::Errno::MFILE.into(),
                    });
                }
            }
        }
        Ok(())
    }

    pub(super) fn open(&self, path: &Path, how: Open) -> io::Result<MemoryFile> {
        self.check(Call::Open, path)?;
        let mut state = self.state();
        if state.directories.contains_key(path) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let node = match (state.files.get(path).cloned(), how) {
            (Some(_), Open::New) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(node), Open::Truncate) => {
                node.bytes().now.clear();
                node
            }
            (Some(node), _) => node,
            (None, Open::Read | Open::Existing) => return Err(io::ErrorKind::NotFound.into()),
            (None, _) => {
                let parent = path.parent().unwrap_or(Path::new("/"));
                if !state.directories.contains_key(parent) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                let node = Arc::new(Node {
                    bytes: Mutex::new(Bytes {
                        now: Vec::new(),
                        durable: Vec::new(),
                        modified_ms: clock::now_ms(),
                        locked: false,
                    }),
                });
                state.files.insert(path.to_owned(), Arc::clone(&node));
                node
            }
        };
        Ok(MemoryFile {
            path: path.to_owned(),
            node,
            disk: self.clone(),
            holds_lock: Mutex::new(false),
        })
    }

    pub(super) fn create_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        for ancestor in path.ancestors() {
            if state.files.contains_key(ancestor) {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            state.directories.insert(ancestor.to_owned(), ());
        }
        // The folders above a disk's own are taken to be durable already.
        if let Some(parent) = path.parent() {
            for ancestor in parent.ancestors() {
                state.durable_directories.insert(ancestor.to_owned(), ());
            }
        }
        Ok(())
    }

    pub(super) fn create_directory_in(&self, path: &Path) -> io::Result<()> {
        {
            let state = self.state();
            if state.directories.contains_key(path) || state.files.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            if path
                .parent()
                .is_some_and(|parent| !state.directories.contains_key(parent))
            {
                return Err(io::ErrorKind::NotFound.into());
            }
        }
        self.create_directory(path)
    }

    pub(super) fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.check(Call::Remove, path)?;
        self.state()
            .files
            .remove(path)
            .map(|_| ())
            .ok_or(io::ErrorKind::NotFound.into())
    }

    pub(super) fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.check(Call::Remove, path)?;
        let mut state = self.state();
        if !state.directories.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state
            .directories
            .retain(|directory, ()| !directory.starts_with(path));
        state.files.retain(|file, _| !file.starts_with(path));
        Ok(())
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check(Call::Rename, from)?;
        let mut state = self.state();
        if let Some(node) = state.files.remove(from) {
            state.files.insert(to.to_owned(), node);
            return Ok(());
        }
        if !state.directories.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if state.directories.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let moved = |path: &PathBuf| path.strip_prefix(from).map(|rest| to.join(rest)).ok();
        let mut state_files = std::mem::take(&mut state.files);
        let mut state_directories = std::mem::take(&mut state.directories);
        state_files = state_files
            .into_iter()
            .map(|(path, node)| (moved(&path).unwrap_or(path), node))
            .collect();
        state_directories = state_directories
            .into_iter()
            .map(|(path, ())| (moved(&path).unwrap_or(path), ()))
            .collect();
        // Joining an empty rest leaves a trailing separator, which Path ignores when it compares.
        state.files = state_files;
        state.directories = state_directories;
        Ok(())
    }

    pub(super) fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.check(Call::Sync, path)?;
        let mut state = self.state();
        if !state.directories.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.durable_directories.insert(path.to_owned(), ());
        let direct = |entry: &Path| entry.parent() == Some(path);
        let files: Vec<_> = state
            .files
            .iter()
            .filter(|(p, _)| direct(p))
            .map(|(p, n)| (p.clone(), Arc::clone(n)))
            .collect();
        let directories: Vec<_> = state.directories.keys().filter(|p| direct(p)).cloned().collect();
        let durable: Vec<_> = state.durable_files.values().cloned().collect();
        let gone: Vec<_> = state
            .durable_directories
            .keys()
            .filter(|p| direct(p) && !directories.contains(p))
            .cloned()
            .collect();
        state
            .durable_files
            .retain(|p, _| !direct(p) && !gone.iter().any(|gone| p.starts_with(gone)));
        state
            .durable_directories
            .retain(|p, ()| !gone.iter().any(|gone| p.starts_with(gone)));
        state.durable_files.extend(files);
        for directory in directories {
            // A directory moved here as a whole brings along what was durable in it.
            let inside: Vec<_> = state
                .files
                .iter()
                .filter(|(p, n)| p.starts_with(&directory) && durable.iter().any(|d| Arc::ptr_eq(d, n)))
                .map(|(p, n)| (p.clone(), Arc::clone(n)))
                .collect();
            state.durable_files.extend(inside);
            state.durable_directories.insert(directory, ());
        }
        Ok(())
    }

    pub(super) fn boot_id(&self) -> Option<String> {
        Some(self.state().power_cuts.to_string())
    }

    pub(super) fn file_system(&self, _path: &Path) -> io::Result<u64> {
        Ok(0)
    }

    #[expect(clippy::unused_self, reason = "the seam has it of a disk")]
    #[expect(clippy::unnecessary_wraps, reason = "the system's may fail")]
    pub(super) fn is_same(&self, one: &Path, other: &Path) -> io::Result<bool> {
        Ok(one == other)
    }

    pub(super) fn can_sync_file_systems(&self) -> bool {
        true
    }

    pub(super) fn sync_file_system(&self, path: &Path) -> io::Result<()> {
        self.check(Call::Sync, path)?;
        let mut state = self.state();
        let state = &mut *state;
        for node in state.files.values() {
            let mut bytes = node.bytes();
            bytes.durable = bytes.now.clone();
        }
        state.durable_files = state.files.clone();
        state.durable_directories = state.directories.clone();
        Ok(())
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let state = self.state();
        if !state.directories.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let name = |entry: &Path| {
            (entry.parent() == Some(path))
                .then(|| entry.file_name().map(|name| name.to_string_lossy().into_owned()))
                .flatten()
        };
        // What is in it follows it, in the order of paths.
        let inside = |entry: &&PathBuf| entry.starts_with(path);
        let files = state.files.range(path.to_owned()..).map(|(p, _)| p);
        let files = files
            .take_while(inside)
            .filter_map(|p| name(p))
            .map(|name| Entry {
                name,
                is_directory: false,
            });
        let directories = state.directories.range(path.to_owned()..).map(|(p, ())| p);
        let directories = directories
            .take_while(inside)
            .filter_map(|p| name(p))
            .map(|name| Entry {
                name,
                is_directory: true,
            });
        Ok(files.chain(directories).collect())
    }

    pub(super) fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let state = self.state();
        if let Some(node) = state.files.get(path) {
            return Ok(node.bytes().metadata());
        }
        if state.directories.contains_key(path) {
            return Ok(Metadata {
                length: 0,
                is_directory: true,
                modified_ms: 0,
            });
        }
        Err(io::ErrorKind::NotFound.into())
    }

    pub(super) fn space(&self, _path: &Path) -> io::Result<Space> {
        let state = self.state();
        let total_bytes = state.capacity_bytes.unwrap_or(1 << 40);
        Ok(Space {
            total_bytes,
            usable_bytes: total_bytes.saturating_sub(used(&state)),
        })
    }
}

fn used(state: &State) -> u64 {
    state
        .files
        .values()
        .map(|node| node.bytes().now.len() as u64)
        .sum()
}

impl Node {
    fn bytes(&self) -> MutexGuard<'_, Bytes> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bytes {
    fn metadata(&self) -> Metadata {
        Metadata {
            length: self.now.len() as u64,
            is_directory: false,
            modified_ms: self.modified_ms,
        }
    }
}

fn index(position: u64) -> io::Result<usize> {
    usize::try_from(position).map_err(|_| io::ErrorKind::InvalidInput.into())
}

impl MemoryFile {
    pub(super) fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.disk.check(Call::Read, &self.path)?;
        let bytes = self.node.bytes();
        let from = bytes.now.get(index(position)?..).unwrap_or_default();
        let count = from.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), from.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }

    pub(super) fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.write_vectored_at(&[IoSlice::new(bytes)], position)
            .map(|_| ())
    }

    pub(super) fn write_vectored_at(&self, pieces: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        self.disk.check(Call::Write, &self.path)?;
        let start = index(position)?;
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        self.grow_check((start + length) as u64)?;
        let mut bytes = self.node.bytes();
        if bytes.now.len() < start + length {
            bytes.now.resize(start + length, 0);
        }
        let mut at = start;
        for piece in pieces {
            if let Some(to) = bytes.now.get_mut(at..at + piece.len()) {
                to.copy_from_slice(piece);
            }
            at += piece.len();
        }
        bytes.modified_ms = clock::now_ms();
        drop(bytes);
        self.disk.state().counts.bytes_written += length as u64;
        Ok(length)
    }

    fn grow_check(&self, length: u64) -> io::Result<()> {
        let state = self.disk.state();
        let Some(capacity) = state.capacity_bytes else {
            return Ok(());
        };
        let grows = length.saturating_sub(self.node.bytes().now.len() as u64);
        if used(&state) + grows > capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.disk.check(Call::Sync, &self.path)?;
        let mut bytes = self.node.bytes();
        bytes.durable = bytes.now.clone();
        drop(bytes);
        let mut state = self.disk.state();
        let named = state
            .files
            .get(&self.path)
            .is_some_and(|node| Arc::ptr_eq(node, &self.node));
        if named && !state.names_need_their_directory && !state.durable_files.contains_key(&self.path) {
            state
                .durable_files
                .insert(self.path.clone(), Arc::clone(&self.node));
        }
        Ok(())
    }

    pub(super) fn set_length(&self, length: u64) -> io::Result<()> {
        self.disk.check(Call::Write, &self.path)?;
        self.node.bytes().now.resize(index(length)?, 0);
        Ok(())
    }

    pub(super) fn metadata(&self) -> io::Result<Metadata> {
        Ok(self.node.bytes().metadata())
    }

    pub(super) fn set_modified_ms(&self, modified_ms: i64) -> io::Result<()> {
        self.node.bytes().modified_ms = modified_ms;
        Ok(())
    }

    pub(super) fn lock(&self) -> io::Result<()> {
        let mut bytes = self.node.bytes();
        if bytes.locked {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        bytes.locked = true;
        *self.holds_lock.lock().unwrap_or_else(PoisonError::into_inner) = true;
        Ok(())
    }

    pub(super) fn is_resident(&self, _position: u64, _length: usize) -> bool {
        true
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        if *self.holds_lock.lock().unwrap_or_else(PoisonError::into_inner) {
            self.node.bytes().locked = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::disk::Disk;

    fn disk() -> (Disk, MemoryDisk) {
        let memory = MemoryDisk::new();
        let disk = Disk::memory(memory.clone());
        disk.create_directory(Path::new("/data/t-0")).unwrap();
        disk.sync_directory(Path::new("/data")).unwrap();
        (disk, memory)
    }

    #[test]
    fn a_power_cut_loses_what_was_not_synced() {
        let (disk, memory) = disk();
        let path = Path::new("/data/t-0/a");
        let file = disk.open(path, Open::New).unwrap();
        file.write_all_at(b"kept", 0).unwrap();
        file.sync().unwrap();
        file.write_all_at(b"lost", 4).unwrap();
        disk.open(Path::new("/data/t-0/b"), Open::New).unwrap();
        memory.power_cut(|| false);
        assert_eq!(disk.read(path, 99).unwrap(), b"kept");
        assert!(!disk.exists(Path::new("/data/t-0/b")));
    }

    #[test]
    fn a_rename_is_durable_after_the_directory_is_synced() {
        let (disk, memory) = disk();
        disk.replace(Path::new("/data/t-0/c"), b"1").unwrap();
        disk.rename(Path::new("/data/t-0/c"), Path::new("/data/t-0/d"))
            .unwrap();
        memory.power_cut(|| false);
        assert!(disk.exists(Path::new("/data/t-0/c")));
        disk.rename(Path::new("/data/t-0"), Path::new("/data/u-0"))
            .unwrap();
        disk.sync_directory(Path::new("/data")).unwrap();
        memory.power_cut(|| false);
        assert_eq!(disk.read(Path::new("/data/u-0/c"), 9).unwrap(), b"1");
        assert!(!disk.exists(Path::new("/data/t-0")));
    }

    #[test]
    fn fills_up_and_fails_on_demand() {
        let (disk, memory) = disk();
        let file = disk.open(Path::new("/data/t-0/a"), Open::New).unwrap();
        memory.set_capacity_bytes(Some(4));
        file.write_all_at(b"1234", 0).unwrap();
        assert_eq!(
            file.write_all_at(b"5", 4).unwrap_err().kind(),
            io::ErrorKind::StorageFull
        );
        memory.fail(Call::Sync, "t-0", 1, 1, io::ErrorKind::Other);
        file.sync().unwrap();
        assert!(file.sync().is_err());
        file.sync().unwrap();
    }

    #[test]
    fn a_lock_excludes_until_it_is_dropped() {
        let (disk, _) = disk();
        let lock = disk.lock(Path::new("/data/.lock")).unwrap();
        assert!(disk.lock(Path::new("/data/.lock")).is_err());
        drop(lock);
        disk.lock(Path::new("/data/.lock")).unwrap();
    }
}
