//! Files: the only way to a disk.
//!
//! A [`Disk`] is a handle that a broker is given at its start. The system's is the default; tests and the simulation
//! use one in memory, which can lose what was not synced, tear writes, fail and fill up. All calls block: who may not
//! wait calls them from a [`Pool`](super::task::Pool). Writes to the page cache are the exception (see DESIGN).

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

#[cfg(any(test, feature = "simulation"))]
pub mod memory;
mod shortage;
mod system;

pub use shortage::is_shortage;
use shortage::opening;

/// A file system, and how it behaves.
#[derive(Clone)]
pub struct Disk(Kind);

#[derive(Clone)]
enum Kind {
    System(system::SystemDisk),
    #[cfg(any(test, feature = "simulation"))]
    Memory(memory::MemoryDisk),
}

/// How a file is opened. Every mode but [`Open::Read`] allows writing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Open {
    /// An existing file, to read.
    Read,
    /// An existing file, to read and write.
    Existing,
    /// A file that is created when it is not there.
    Create,
    /// A file that must not be there yet.
    New,
    /// A file that is created, or emptied when it is there.
    Truncate,
}

/// What a directory lists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The name within the directory. Names that are not UTF-8 are listed with replacement characters.
    pub name: String,
    /// True for a directory.
    pub is_directory: bool,
}

/// What is known of a file or directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metadata {
    /// Length in bytes.
    pub length: u64,
    /// True for a directory.
    pub is_directory: bool,
    /// Time of the last change of the contents, in milliseconds since 1970.
    pub modified_ms: i64,
}

/// The size of the file system that holds a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// Bytes in all.
    pub total_bytes: u64,
    /// Bytes that may still be written.
    pub usable_bytes: u64,
}

/// An open file. Reads and writes name their position; there is no cursor.
pub struct File(FileKind);

enum FileKind {
    System(system::SystemFile),
    #[cfg(any(test, feature = "simulation"))]
    Memory(memory::MemoryFile),
}

/// A lock on a file, held until it is dropped.
#[expect(dead_code, reason = "held for its drop")]
pub struct FileLock(File);

/// A range of a file, to be sent or read later.
#[derive(Clone)]
pub struct FileSlice {
    /// The file.
    pub file: Arc<File>,
    /// Where the range begins.
    pub position: u64,
    /// How many bytes it has.
    pub length: usize,
}

macro_rules! on {
    ($self:expr, $kind:ident, $inner:ident => $call:expr) => {
        match &$self.0 {
            $kind::System($inner) => $call,
            #[cfg(any(test, feature = "simulation"))]
            $kind::Memory($inner) => $call,
        }
    };
}

macro_rules! opened {
    ($self:expr, $inner:ident => $call:expr) => {
        match &$self.0 {
            Kind::System($inner) => Ok(File(FileKind::System($call?))),
            #[cfg(any(test, feature = "simulation"))]
            Kind::Memory($inner) => Ok(File(FileKind::Memory($call?))),
        }
    };
}

impl Disk {
    /// The operating system's files.
    pub fn system() -> Self {
        Self(Kind::System(system::SystemDisk::default()))
    }

    /// The operating system's files, where each sync takes at least `delay` longer: a slow disk, for measurements.
    pub fn system_with_sync_delay(delay: std::time::Duration) -> Self {
        Self(Kind::System(system::SystemDisk::with_sync_delay(delay)))
    }

    /// Files in memory.
    #[cfg(any(test, feature = "simulation"))]
    pub fn memory(disk: memory::MemoryDisk) -> Self {
        Self(Kind::Memory(disk))
    }

    /// Opens a file.
    pub fn open(&self, path: &Path, how: Open) -> io::Result<File> {
        opened!(self, disk => disk.open(path, how).map_err(opening))
    }

    /// Creates a directory and those above it that are missing.
    pub fn create_directory(&self, path: &Path) -> io::Result<()> {
        on!(self, Kind, disk => disk.create_directory(path))
    }

    /// Creates a directory in one that is there.
    /// An error of kind `AlreadyExists` says that it is there, one of kind `NotFound` that the one above it is gone.
    pub fn create_directory_in(&self, path: &Path) -> io::Result<()> {
        on!(self, Kind, disk => disk.create_directory_in(path))
    }

    /// Removes a file.
    pub fn remove_file(&self, path: &Path) -> io::Result<()> {
        on!(self, Kind, disk => disk.remove_file(path))
    }

    /// Removes a directory and all that is in it.
    pub fn remove_directory(&self, path: &Path) -> io::Result<()> {
        on!(self, Kind, disk => disk.remove_directory(path).map_err(opening))
    }

    /// Renames a file or directory; replaces a file of the new name. The change is durable after
    /// [`Disk::sync_directory`] of the parents.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        on!(self, Kind, disk => disk.rename(from, to))
    }

    /// How many syncs there were, of files, directories and file systems, by this disk and its clones.
    pub fn syncs(&self) -> u64 {
        on!(self, Kind, disk => disk.syncs())
    }

    /// Makes the entries of a directory durable.
    pub fn sync_directory(&self, path: &Path) -> io::Result<()> {
        on!(self, Kind, disk => disk.sync_directory(path))
    }

    /// What a directory holds, in the order of the names.
    pub fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = on!(self, Kind, disk => disk.list(path).map_err(opening)?);
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// What is known of the file or directory at `path`.
    pub fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        on!(self, Kind, disk => disk.metadata(path))
    }

    /// True when something is at `path` and can be looked at.
    pub fn exists(&self, path: &Path) -> bool {
        self.metadata(path).is_ok()
    }

    /// True when both paths lead to the same directory or file, through a link or in another way.
    pub fn is_same(&self, one: &Path, other: &Path) -> io::Result<bool> {
        on!(self, Kind, disk => disk.is_same(one, other))
    }

    /// The size of the file system that holds `path`.
    pub fn space(&self, path: &Path) -> io::Result<Space> {
        on!(self, Kind, disk => disk.space(path))
    }

    /// Creates `path` when it is missing and locks it for this process, as a JVM locks it (fcntl). An error of kind
    /// `WouldBlock` says that somebody else holds it.
    pub fn lock(&self, path: &Path) -> io::Result<FileLock> {
        let file = self.open(path, Open::Create)?;
        on!(file, FileKind, inner => inner.lock())?;
        Ok(FileLock(file))
    }

    /// Reads a whole file of at most `limit` bytes; a longer one is an error of kind `FileTooLarge`.
    pub fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        let file = self.open(path, Open::Read)?;
        let length = usize::try_from(file.length()?).unwrap_or(usize::MAX);
        if length > limit {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("{} has {length} bytes, more than {limit}", path.display()),
            ));
        }
        let mut bytes = vec![0; length];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Replaces the file at `path` as a whole: written beside it as `<name>.tmp`, synced, renamed, and the directory
    /// synced. After a crash either the old or the new contents are there (Kafka's `CheckpointFile.write`).
    pub fn replace(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        self.write_beside(path, contents)?.sync()?;
        self.put_in_place(path)?;
        match path.parent() {
            Some(parent) => self.sync_directory(parent),
            None => Ok(()),
        }
    }

    /// The first half of [`Disk::replace`]: `contents` in `<name>.tmp`, not synced.
    pub fn write_beside(&self, path: &Path, contents: &[u8]) -> io::Result<File> {
        let file = self.open(&beside(path), Open::Truncate)?;
        file.write_all_at(contents, 0)?;
        Ok(file)
    }

    /// The second half of [`Disk::replace`], once `<name>.tmp` is durable: the rename, not synced.
    pub fn put_in_place(&self, path: &Path) -> io::Result<()> {
        self.rename(&beside(path), path)
    }

    /// Which start of the machine this is: while it stays the same, what was written and not synced is still there,
    /// whatever became of the process that wrote it. `None` where the system does not tell.
    pub fn boot_id(&self) -> Option<String> {
        on!(self, Kind, disk => disk.boot_id())
    }

    /// A number that two paths share when one [`Disk::sync_file_system`] covers both.
    pub fn file_system(&self, path: &Path) -> io::Result<u64> {
        on!(self, Kind, disk => disk.file_system(path))
    }

    /// False where [`Disk::sync_file_system`] would not tell of writes that failed (Linux before 5.8), so that it is not to
    /// be relied on.
    pub fn can_sync_file_systems(&self) -> bool {
        on!(self, Kind, disk => disk.can_sync_file_systems())
    }

    /// Makes everything durable that was written to the file system of `path`, by anybody: one call where a sync of
    /// each file would take one after the other.
    pub fn sync_file_system(&self, path: &Path) -> io::Result<()> {
        on!(self, Kind, disk => disk.sync_file_system(path))
    }
}

fn beside(path: &Path) -> std::path::PathBuf {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    temporary.into()
}

impl File {
    /// Reads up to `buffer.len()` bytes from `position`; fewer only at the end of the file.
    pub fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match on!(self, FileKind, file => file.read_at(rest, position + done as u64)) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// Fills `buffer` from `position`; an error of kind `UnexpectedEof` when the file is too short.
    pub fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        if self.read_at(buffer, position)? < buffer.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    /// Writes all of `bytes` at `position`.
    pub fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        on!(self, FileKind, file => file.write_all_at(bytes, position))
    }

    /// Writes two pieces, one behind the other, at `position`: one system call where the system takes them at once.
    pub fn write_both_at(&self, first: &[u8], second: &[u8], position: u64) -> io::Result<()> {
        let written = on!(self, FileKind, file => file
            .write_vectored_at(&[IoSlice::new(first), IoSlice::new(second)], position))?;
        if let Some(rest) = first.get(written..).filter(|rest| !rest.is_empty()) {
            self.write_all_at(rest, position + written as u64)?;
            return self.write_all_at(second, position + first.len() as u64);
        }
        match second
            .get(written - first.len()..)
            .filter(|rest| !rest.is_empty())
        {
            Some(rest) => self.write_all_at(rest, position + written as u64),
            None => Ok(()),
        }
    }

    /// Makes contents and length durable. A failure leaves it unknown what is durable: it must not be tried again.
    pub fn sync(&self) -> io::Result<()> {
        on!(self, FileKind, file => file.sync())
    }

    /// Cuts the file, or extends it with zeros that take no space.
    pub fn set_length(&self, length: u64) -> io::Result<()> {
        on!(self, FileKind, file => file.set_length(length))
    }

    /// The length in bytes.
    pub fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.length)
    }

    /// What is known of the file.
    pub fn metadata(&self) -> io::Result<Metadata> {
        on!(self, FileKind, file => file.metadata())
    }

    /// Sets the time of the last change, in milliseconds since 1970.
    pub fn set_modified_ms(&self, modified_ms: i64) -> io::Result<()> {
        on!(self, FileKind, file => file.set_modified_ms(modified_ms))
    }

    /// True when the range is in the page cache, so that reading it does not wait for the disk. True also where the
    /// system cannot tell.
    pub fn is_resident(&self, position: u64, length: usize) -> bool {
        on!(self, FileKind, file => file.is_resident(position, length))
    }

    /// The number of the descriptor, where there is one. The system gives the lowest that is free: all below it were
    /// taken.
    pub fn number(&self) -> Option<u64> {
        use std::os::fd::AsRawFd as _;
        u64::try_from(self.descriptor()?.as_raw_fd()).ok()
    }

    /// The descriptor, where there is one: for sendfile.
    pub fn descriptor(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        match &self.0 {
            FileKind::System(file) => Some(file.descriptor()),
            #[cfg(any(test, feature = "simulation"))]
            FileKind::Memory(_) => None,
        }
    }
}

impl FileSlice {
    /// Reads the whole slice. The file may have become shorter: then so is the answer.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.length];
        let read = self.file.read_at(&mut bytes, self.position)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// True when the slice is in the page cache.
    pub fn is_resident(&self) -> bool {
        self.file.is_resident(self.position, self.length)
    }
}
