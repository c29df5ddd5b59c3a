//! The operating system's files.
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "the seam")]

use std::fs;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::shortage::opening;
use super::{Entry, Metadata, Open, Space};

#[derive(Clone, Default)]
pub(super) struct SystemDisk {
    syncs: Syncs,
}

pub(super) struct SystemFile {
    file: fs::File,
    syncs: Syncs,
}

/// The syncs of a disk and its files.
#[derive(Clone, Default)]
struct Syncs {
    /// Added to each, to see on a fast disk what a slow one would do.
    delay: Duration,
    count: Arc<AtomicU64>,
}

impl Syncs {
    /// One is about to be made.
    fn begin(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
        if !self.delay.is_zero() {
            std::thread::sleep(self.delay);
        }
    }
}

fn milliseconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
    }
}

fn metadata(of: &fs::Metadata) -> Metadata {
    Metadata {
        length: of.len(),
        is_directory: of.is_dir(),
        modified_ms: of.modified().map_or(0, milliseconds),
    }
}

impl SystemDisk {
    pub(super) fn with_sync_delay(delay: Duration) -> Self {
        Self {
            syncs: Syncs {
                delay,
                ..Syncs::default()
            },
        }
    }

    pub(super) fn syncs(&self) -> u64 {
        self.syncs.count.load(Ordering::Relaxed)
    }

    pub(super) fn open(&self, path: &Path, how: Open) -> io::Result<SystemFile> {
        let mut options = fs::OpenOptions::new();
        options.read(true);
        match how {
            Open::Read => &mut options,
            Open::Existing => options.write(true),
            Open::Create => options.write(true).create(true),
            Open::New => options.write(true).create_new(true),
            Open::Truncate => options.write(true).create(true).truncate(true),
        };
        Ok(SystemFile {
            file: options.open(path)?,
            syncs: self.syncs.clone(),
        })
    }

    pub(super) fn create_directory(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    pub(super) fn create_directory_in(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    pub(super) fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    pub(super) fn remove_directory(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    pub(super) fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.syncs.begin();
        fs::File::open(path).map_err(opening)?.sync_all()
    }

    #[expect(clippy::unused_self, reason = "the seam has it of a disk")]
    pub(super) fn boot_id(&self) -> Option<String> {
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let id = text.trim();
        (!id.is_empty()).then(|| id.to_owned())
    }

    pub(super) fn file_system(&self, path: &Path) -> io::Result<u64> {
        fs::metadata(path).map(|of| of.dev())
    }

    #[expect(clippy::unused_self, reason = "the seam has it of a disk")]
    pub(super) fn is_same(&self, one: &Path, other: &Path) -> io::Result<bool> {
        let (one, other) = (fs::metadata(one)?, fs::metadata(other)?);
        Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
    }

    pub(super) fn can_sync_file_systems(&self) -> bool {
        syncfs_tells_of_failures(rustix::system::uname().release().to_bytes())
    }

    pub(super) fn sync_file_system(&self, path: &Path) -> io::Result<()> {
        self.syncs.begin();
        let file = fs::File::open(path).map_err(opening)?;
        Ok(rustix::fs::syncfs(file)?)
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        fs::read_dir(path)?
            .map(|entry| {
                let entry = entry?;
                // Follows links: a partition folder may be one.
                let is_directory = fs::metadata(entry.path()).map(|of| of.is_dir()).unwrap_or(false);
                Ok(Entry {
                    name: entry.file_name().to_string_lossy().into_owned(),
                    is_directory,
                })
            })
            .collect()
    }

    pub(super) fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        fs::metadata(path).map(|of| metadata(&of))
    }

    pub(super) fn space(&self, path: &Path) -> io::Result<Space> {
        let of = rustix::fs::statvfs(path)?;
        Ok(Space {
            total_bytes: of.f_blocks.saturating_mul(of.f_frsize),
            usable_bytes: of.f_bavail.saturating_mul(of.f_frsize),
        })
    }
}

impl SystemFile {
    pub(super) fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buffer, position)
    }

    pub(super) fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, position)
    }

    pub(super) fn write_vectored_at(&self, pieces: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        loop {
            match rustix::io::pwritev(&self.file, pieces, position) {
                Ok(written) => return Ok(written),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.syncs.begin();
        self.file.sync_data()
    }

    pub(super) fn set_length(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    pub(super) fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata().map(|of| metadata(&of))
    }

    pub(super) fn set_modified_ms(&self, modified_ms: i64) -> io::Result<()> {
        self.file
            .set_modified(UNIX_EPOCH + Duration::from_millis(u64::try_from(modified_ms).unwrap_or(0)))
    }

    pub(super) fn lock(&self) -> io::Result<()> {
        rustix::fs::fcntl_lock(&self.file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(io::Error::from)
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Asks cachestat(2) (Linux 6.5); where that is missing, whether the first and last page can be read without
    /// waiting.
    pub(super) fn is_resident(&self, position: u64, length: usize) -> bool {
        match cached_pages(&self.file, position, length) {
            Some(cached) => cached >= pages_of(position, length, rustix::param::page_size()),
            None => self.readable_now(position) && self.readable_now(position + length.max(1) as u64 - 1),
        }
    }

    fn readable_now(&self, position: u64) -> bool {
        let mut byte = [0_u8];
        let read = rustix::io::preadv2(
            &self.file,
            &mut [std::io::IoSliceMut::new(&mut byte)],
            position,
            rustix::io::ReadWriteFlags::NOWAIT,
        );
        !matches!(read, Err(rustix::io::Errno::AGAIN))
    }
}

/// syncfs(2) reports writes that failed since Linux 5.8; `release` is what uname(2) tells.
fn syncfs_tells_of_failures(release: &[u8]) -> bool {
    let mut numbers = release.split(|byte| !byte.is_ascii_digit()).map(|digits| {
        digits
            .iter()
            .fold(0_u32, |n, digit| n.saturating_mul(10) + u32::from(digit - b'0'))
    });
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    (major, minor) >= (5, 8)
}

/// How many of the kernel's pages the range touches. They are not of one size everywhere: an arm64 kernel has 4, 16 or
/// 64 KiB.
fn pages_of(position: u64, length: usize, page_bytes: usize) -> u64 {
    let page = page_bytes.max(1) as u64;
    let last = position.saturating_add(length.max(1) as u64 - 1);
    last / page - position / page + 1
}

/// How many pages of the range are in the page cache; `None` where the kernel cannot tell.
#[expect(unsafe_code, reason = "no crate wraps cachestat(2)")]
fn cached_pages(file: &fs::File, position: u64, length: usize) -> Option<u64> {
    #[repr(C)]
    struct Range {
        offset: u64,
        length: u64,
    }
    #[repr(C)]
    #[derive(Default)]
    struct Stat {
        cached: u64,
        dirty: u64,
        writeback: u64,
        evicted: u64,
        recently_evicted: u64,
    }
    /// The same number on every architecture that Linux added it to.
    const CACHESTAT: libc::c_long = 451;
    let range = Range {
        offset: position,
        length: length.max(1) as u64,
    };
    let mut stat = Stat::default();
    // SAFETY: both pointers are to live values of the kernel's layout (include/uapi/linux/mman.h); the call reads
    // the first and writes the second, and keeps neither.
    let result = unsafe {
        libc::syscall(
            CACHESTAT,
            file.as_raw_fd(),
            &raw const range,
            &raw mut stat,
            0_u32,
        )
    };
    (result == 0).then_some(stat.cached)
}

#[cfg(test)]
mod tests {
    use crate::base::disk::{Disk, Open};

    #[test]
    fn writes_two_pieces_in_one_place() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::system();
        let file = disk.open(&folder.path().join("a"), Open::New).unwrap();
        file.write_both_at(b"head", b"tail", 3).unwrap();
        assert_eq!(
            disk.read(&folder.path().join("a"), 64).unwrap(),
            b"\0\0\0headtail"
        );
        assert!(file.is_resident(0, 11));
    }

    #[test]
    fn a_range_is_counted_in_pages_of_the_kernels_size() {
        for (position, length, in_4k, in_16k, in_64k) in [
            (0, 0, 1, 1, 1),
            (0, 1, 1, 1, 1),
            (0, 4096, 1, 1, 1),
            (4095, 2, 2, 1, 1),
            (1, 65_536, 17, 5, 2),
            (65_535, 2, 2, 2, 2),
            (1 << 40, 1 << 20, 256, 64, 16),
        ] {
            for (page, pages) in [(4096, in_4k), (16_384, in_16k), (65_536, in_64k)] {
                let counted = super::pages_of(position, length, page);
                assert_eq!(counted, pages, "{length} bytes at {position}, pages of {page}");
            }
        }
    }

    #[test]
    fn what_was_just_written_is_resident_in_whole_pages() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::system();
        let file = disk.open(&folder.path().join("a"), Open::New).unwrap();
        file.write_all_at(&[7; 300_000], 0).unwrap();
        assert!(file.is_resident(0, 300_000));
        assert!(file.is_resident(65_535, 131_074));
    }

    #[test]
    fn whole_file_systems_are_synced_where_failures_are_told() {
        for (release, tells) in [
            ("4.18.0-553.el8.x86_64", false),
            ("5.7.19", false),
            ("5.8.0", true),
            ("5.15.0-91-generic", true),
            ("6.1", true),
            ("10.0", true),
            ("", false),
        ] {
            assert_eq!(
                super::syncfs_tells_of_failures(release.as_bytes()),
                tells,
                "{release}"
            );
        }
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::system();
        let inside = folder.path().join("inside");
        disk.create_directory(&inside).unwrap();
        assert_eq!(
            disk.file_system(folder.path()).unwrap(),
            disk.file_system(&inside).unwrap()
        );
        assert!(disk.sync_file_system(&folder.path().join("nowhere")).is_err());
        disk.sync_file_system(folder.path()).unwrap();
    }

    #[test]
    fn replaces_a_file_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::system();
        let path = folder.path().join("checkpoint");
        disk.replace(&path, b"one").unwrap();
        disk.replace(&path, b"two").unwrap();
        assert_eq!(disk.read(&path, 3).unwrap(), b"two");
        assert_eq!(disk.list(folder.path()).unwrap().len(), 1);
        assert!(disk.read(&path, 2).is_err());
    }
}
