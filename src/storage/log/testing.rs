//! What the tests of logs share: a disk in memory, golden folders on it, and short ways to append and read.
#![expect(
    clippy::disallowed_methods,
    reason = "a test that reads the repository's own files"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::{Bound, LoadOptions, LoadReport, Log, OpenError, ReadRequest};
use crate::base::disk::memory::MemoryDisk;
use crate::base::disk::{Disk, Open};
use crate::base::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TopicPartition};
use crate::base::random::Random;
use crate::config::LogConfig;
use crate::records::batch::{Batch, Batches};
use crate::records::build::{BatchBuilder, BatchOptions};
use crate::storage::descriptors::Descriptors;
use crate::storage::file_names;
use crate::storage::producer_state::{Origin, Verification};
use crate::storage::volume::Volume;

pub const NOW_MS: i64 = 1_800_000_000_000;
pub const EXPIRATION_MS: i64 = i64::MAX;

/// A disk, and one log directory on it.
pub struct Ground {
    pub memory: MemoryDisk,
    pub volume: Arc<Volume>,
}

impl Ground {
    pub fn new() -> Self {
        Self::on(MemoryDisk::new())
    }

    /// The broker starts again on the same disk: whatever went offline is tried anew.
    pub fn on(memory: MemoryDisk) -> Self {
        let disk = Disk::memory(memory.clone());
        disk.create_directory(Path::new("/data")).unwrap();
        disk.sync_directory(Path::new("/")).unwrap();
        let volume = Volume::new("/data".into(), disk, Descriptors::new(16), Random::from_seed(7));
        Self { memory, volume }
    }

    pub fn disk(&self) -> &Disk {
        self.volume.disk()
    }

    pub fn restart(self) -> Self {
        Self::on(self.memory)
    }

    pub fn create(&self, config: &LogConfig) -> Log {
        Log::create(&self.volume, partition(), None, Arc::new(config.clone()), NOW_MS).unwrap()
    }

    pub fn load(&self, options: &LoadOptions) -> Result<(Log, LoadReport), OpenError> {
        Log::load(&self.volume, "/data/t-0".into(), partition(), options)
    }

    /// Copies a folder of the golden directories to `/data/t-0`.
    pub fn copy_golden(&self, folder: &Path) {
        self.disk().create_directory(Path::new("/data/t-0")).unwrap();
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name();
            if name == "expected.json" {
                continue;
            }
            let file = self
                .disk()
                .open(&Path::new("/data/t-0").join(name), Open::New)
                .unwrap();
            file.write_all_at(&std::fs::read(entry.path()).unwrap(), 0)
                .unwrap();
            file.sync().unwrap();
        }
        self.disk().sync_directory(Path::new("/data/t-0")).unwrap();
        self.disk().sync_directory(Path::new("/data")).unwrap();
    }

    /// All files of the log's folder.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        files(self.disk(), Path::new("/data/t-0"))
    }

    /// The log's files of one kind.
    pub fn files_of(&self, ending: &str) -> BTreeMap<String, Vec<u8>> {
        let files = self.files().into_iter();
        files.filter(|(name, _)| name.ends_with(ending)).collect()
    }

    pub fn write(&self, name: &str, contents: &[u8]) {
        let path = Path::new("/data/t-0").join(name);
        let file = self.disk().open(&path, Open::Truncate).unwrap();
        file.write_all_at(contents, 0).unwrap();
        file.sync().unwrap();
    }

    pub fn remove(&self, name: &str) {
        self.disk()
            .remove_file(&Path::new("/data/t-0").join(name))
            .unwrap();
    }
}

pub fn partition() -> TopicPartition {
    TopicPartition::new("t", 0)
}

pub fn files(disk: &Disk, folder: &Path) -> BTreeMap<String, Vec<u8>> {
    disk.list(folder)
        .unwrap()
        .into_iter()
        .map(|entry| {
            let bytes = disk.read(&folder.join(&entry.name), 1 << 30).unwrap();
            (entry.name, bytes)
        })
        .collect()
}

pub fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(path)
}

/// The files of a golden folder.
pub fn golden_files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(path).unwrap())
        })
        .filter(|(name, _)| name != "expected.json")
        .collect()
}

pub fn load_options(config: &LogConfig) -> LoadOptions {
    LoadOptions {
        config: Arc::new(config.clone()),
        now_ms: NOW_MS,
        producer_expiration_ms: EXPIRATION_MS,
        clean: true,
        recovery_point: Offset(0),
        log_start_offset: Offset(0),
        high_watermark: Offset(i64::MAX),
        cleaner_checkpoint: None,
        progress_bytes: super::PROGRESS_BYTES,
    }
}

/// What is logged on this thread while `work` runs.
pub fn logged(work: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Lines(Arc<std::sync::Mutex<Vec<u8>>>);
    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, work);
    let bytes = lines.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

/// A config under which little data makes many segments and index entries.
pub fn small_segments(segment_bytes: u32) -> LogConfig {
    LogConfig {
        segment_bytes,
        index_interval_bytes: 100,
        ..LogConfig::default()
    }
}

/// What a producer sends.
#[derive(Clone, Copy, Debug)]
pub struct Send {
    pub records: usize,
    pub value_bytes: usize,
    pub timestamp_ms: i64,
    pub producer: Option<(i64, i16, i32)>,
    pub transactional: bool,
}

impl Default for Send {
    fn default() -> Self {
        Self {
            records: 1,
            value_bytes: 10,
            timestamp_ms: NOW_MS,
            producer: None,
            transactional: false,
        }
    }
}

pub fn batch(send: &Send) -> Bytes {
    let (id, epoch, sequence) = send.producer.unwrap_or((-1, -1, -1));
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset: Offset(0),
        producer_id: ProducerId(id),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence: sequence,
        is_transactional: send.transactional,
        ..BatchOptions::default()
    });
    for number in 0..send.records {
        let timestamp = send.timestamp_ms + number as i64;
        builder
            .append(timestamp, Some(b"k"), Some(&vec![b'v'; send.value_bytes]), &[])
            .unwrap();
    }
    builder.build().unwrap().1
}

pub fn append(log: &mut Log, send: &Send) -> Result<super::AppendInfo, super::AppendError> {
    append_bytes(log, &batch(send), Origin::Client)
}

pub fn append_bytes(
    log: &mut Log,
    records: &Bytes,
    origin: Origin,
) -> Result<super::AppendInfo, super::AppendError> {
    log.append_as_leader(
        records,
        LeaderEpoch(0),
        origin,
        Verification::Disabled,
        NOW_MS,
        None,
    )
}

pub fn marker(producer: (i64, i16), commit: bool) -> Bytes {
    let marker = crate::records::control::EndTransactionMarker {
        commit,
        coordinator_epoch: 0,
    };
    marker
        .to_batch(ProducerId(producer.0), ProducerEpoch(producer.1), NOW_MS)
        .unwrap()
        .1
}

/// Reads from `start` to the bound as a consumer does, a fetch after the other: batch after batch.
pub fn read_all(log: &Log, start: Offset, bound: Bound) -> Vec<Vec<u8>> {
    let mut batches = Vec::new();
    let mut next = start;
    loop {
        let info = log
            .read(&ReadRequest {
                start_offset: next,
                max_bytes: 700,
                min_one_batch: true,
                bound,
            })
            .unwrap();
        let Some(records) = info.records else {
            return batches;
        };
        let bytes = records.read().unwrap();
        assert_eq!(bytes.len(), records.length);
        let before = next;
        for batch in Batches::new(&bytes) {
            let batch: Batch<'_> = batch.unwrap();
            if batch.last_offset() < next {
                continue;
            }
            next = batch.next_offset();
            batches.push(batch.bytes().to_vec());
        }
        assert!(next > before, "a fetch at {before} brought nothing whole");
    }
}

/// Batches of one record each, of one producer, from its first sequence on.
pub fn append_in_sequence(log: &mut Log, producer_id: i64, count: i32) {
    for sequence in 0..count {
        let send = Send {
            producer: Some((producer_id, 0, sequence)),
            ..Send::default()
        };
        append(log, &send).unwrap();
    }
}

/// A transaction of one record, the first that the producer writes, which is aborted.
pub fn append_aborted(log: &mut Log, producer_id: i64) {
    let data = Send {
        producer: Some((producer_id, 0, 0)),
        transactional: true,
        ..Send::default()
    };
    append(log, &data).unwrap();
    append_bytes(log, &marker((producer_id, 0), false), Origin::Coordinator).unwrap();
}

pub fn clean_stop(log: &mut Log) {
    if let Some(work) = log.close().unwrap() {
        let flushed = work.run().unwrap();
        log.flushed(flushed, NOW_MS);
    }
}

/// The offsets in a golden checkpoint.
pub fn checkpoint(set: &str, name: &str) -> BTreeMap<TopicPartition, Offset> {
    let bytes = std::fs::read(golden(set).join(name)).unwrap();
    crate::storage::checkpoint::parse_offsets(&bytes)
        .unwrap()
        .into_iter()
        .collect()
}

pub fn recovery_points(set: &str) -> BTreeMap<TopicPartition, Offset> {
    checkpoint(set, file_names::RECOVERY_POINT_CHECKPOINT)
}
