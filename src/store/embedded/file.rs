//! One redb file over the disk seam: so that delays, faults and power cuts of a test reach it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;

use crate::base::disk::File;

/// What redb reads and writes.
pub struct Backend {
    file: File,
    /// While a file is built under another name nobody relies on it: it is synced once, at the end.
    relaxed: Arc<AtomicBool>,
}

impl Backend {
    /// redb's view of `file`; while `relaxed` is true, syncs do nothing.
    pub fn new(file: File, relaxed: Arc<AtomicBool>) -> Self {
        Self { file, relaxed }
    }
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Backend")
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_length(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.relaxed.load(Ordering::Acquire) {
            return Ok(());
        }
        self.file.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }
}
