//! The marker of a clean stop (Kafka: `CleanShutdownFileHandler`).
//!
//! Invariant: the marker is there only while every file of the log directory is whole and flushed. So it is written
//! last, and taken away, durably, before anything is touched. Called by the log directory.

use std::io;
use std::path::Path;

use super::file_names::CLEAN_SHUTDOWN;
use crate::base::disk::Disk;

/// What Kafka 3.9 writes in ZooKeeper mode. The file's existence alone counts.
pub const CONTENTS: &[u8; 30] = br#"{"version":0,"brokerEpoch":-1}"#;

/// Takes the marker away; answers whether it was there. Only after this returns may a file of the directory change.
pub fn take(disk: &Disk, log_directory: &Path) -> io::Result<bool> {
    match disk.remove_file(&log_directory.join(CLEAN_SHUTDOWN)) {
        // Without the sync a power cut could bring the marker back, beside torn logs.
        Ok(()) => disk.sync_directory(log_directory).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes the marker, durably. Everything else of the directory must be durable already.
pub fn write(disk: &Disk, log_directory: &Path) -> io::Result<()> {
    disk.replace(&log_directory.join(CLEAN_SHUTDOWN), CONTENTS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::disk::memory::MemoryDisk;

    #[test]
    fn a_taken_marker_does_not_come_back() {
        let memory = MemoryDisk::new();
        let disk = Disk::memory(memory.clone());
        let folder = Path::new("/data");
        disk.create_directory(folder).unwrap();
        assert!(!take(&disk, folder).unwrap());
        write(&disk, folder).unwrap();
        memory.power_cut(|| false);
        assert_eq!(disk.read(&folder.join(CLEAN_SHUTDOWN), 64).unwrap(), CONTENTS);
        assert!(take(&disk, folder).unwrap());
        memory.power_cut(|| false);
        assert!(!take(&disk, folder).unwrap());
    }
}
