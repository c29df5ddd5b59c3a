//! The copies of partitions on a broker's disk.

use std::path::{Path, PathBuf};

use barnabas::base::disk::Disk;
use barnabas::base::disk::memory::MemoryDisk;
use barnabas::records::batch::Batches;
use bytes::Bytes;

use super::name_of;

/// A batch in a log.
#[derive(PartialEq, Eq)]
pub struct Batch {
    pub base: i64,
    pub last: i64,
    pub epoch: i32,
    pub bytes: Bytes,
}

/// A copy of a partition, up to the first batch that is not whole, or does not follow the one before.
pub struct LogCopy {
    pub batches: Vec<Batch>,
    /// The offset behind the last batch.
    pub end: i64,
}

/// What a broker has.
#[derive(Clone)]
pub struct Copies {
    memory: MemoryDisk,
    disk: Disk,
    directories: Vec<String>,
}

impl Copies {
    pub fn new(disk: &MemoryDisk, directories: &[String]) -> Self {
        Self {
            memory: disk.clone(),
            disk: Disk::memory(disk.clone()),
            directories: directories.to_vec(),
        }
    }

    /// The folders of a partition: one, or none.
    pub fn folders(&self, partition: i32) -> Vec<PathBuf> {
        let (topic, index) = name_of(partition);
        let folders = self
            .directories
            .iter()
            .map(|directory| format!("{directory}/{topic}-{index}"));
        folders
            .map(PathBuf::from)
            .filter(|folder| self.disk.exists(folder))
            .collect()
    }

    /// The files with records in a folder, ascending, with the base offsets by which they are named.
    fn files(&self, folder: &Path) -> Vec<(i64, PathBuf)> {
        let entries = self.disk.list(folder).unwrap_or_default();
        let mut files: Vec<(i64, PathBuf)> = entries
            .into_iter()
            .filter_map(|entry| {
                let base = entry.name.strip_suffix(".log")?.parse().ok()?;
                Some((base, folder.join(entry.name)))
            })
            .collect();
        files.sort();
        files
    }

    fn read(&self, file: &Path) -> Bytes {
        // Faults are for the broker.
        self.memory.peek(file).map(Bytes::from).unwrap_or_default()
    }

    /// The copy of a partition, if there is one. While it changes its directory it may be there twice after a crash: then the
    /// longer one.
    pub fn copy(&self, partition: i32) -> Option<LogCopy> {
        let copies = self.folders(partition).into_iter();
        copies
            .filter_map(|folder| self.copy_in(&folder))
            .max_by_key(|copy| copy.end)
    }

    fn copy_in(&self, folder: &Path) -> Option<LogCopy> {
        let files = self.files(folder);
        let mut copy = LogCopy {
            batches: Vec::new(),
            end: files.first()?.0,
        };
        for (base, file) in &files {
            if *base != copy.end && !copy.batches.is_empty() {
                break;
            }
            copy.end = *base;
            let bytes = self.read(file);
            for batch in Batches::new(&bytes) {
                let Ok(batch) = batch else { return Some(copy) };
                let header = batch.header();
                let base = header.base_offset.get();
                let last = base + i64::from(header.last_offset_delta);
                if batch.check_crc().is_err() || base < copy.end {
                    return Some(copy);
                }
                copy.end = last + 1;
                copy.batches.push(Batch {
                    base,
                    last,
                    epoch: header.partition_leader_epoch.get(),
                    bytes: bytes.slice_ref(batch.bytes()),
                });
            }
        }
        Some(copy)
    }

    /// True when a record with this value is at `offset` of the copy.
    pub fn holds(&self, partition: i32, offset: i64, value: &[u8]) -> bool {
        self.folders(partition).iter().any(|folder| {
            let files = self.files(folder);
            let Some((_, file)) = files.iter().rev().find(|(base, _)| *base <= offset) else {
                return false;
            };
            let bytes = self.read(file);
            let mut batches = Batches::new(&bytes).map_while(Result::ok);
            let holder = batches.find(|batch| {
                let header = batch.header();
                header.base_offset.get() + i64::from(header.last_offset_delta) >= offset
            });
            holder.is_some_and(|batch| batch.bytes().windows(value.len()).any(|bytes| bytes == value))
        })
    }
}
