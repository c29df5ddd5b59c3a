//! A partition's folder: a log is opened on whatever its files hold, after a clean stop and after a crash. What it then
//! serves ascends, it takes what is appended, and it is the same log at the next start.
//!
//! An input is a list of files: kind, base offset, length and bytes of each; before it a byte of flags.

use std::path::Path;
use std::sync::Arc;

use barnabas::base::disk::memory::MemoryDisk;
use barnabas::base::disk::{Disk, Open};
use barnabas::base::ids::{LeaderEpoch, Offset, TopicPartition};
use barnabas::base::random::Random;
use barnabas::config::LogConfig;
use barnabas::records::batch::Batches;
use barnabas::records::build::{BatchBuilder, BatchOptions};
use barnabas::storage::descriptors::Descriptors;
use barnabas::storage::file_names::{FileKind, LEADER_EPOCH_CHECKPOINT, SegmentFile, segment_file};
use barnabas::storage::log::{Bound, LoadOptions, Log, OpenError, ReadError, ReadRequest};
use barnabas::storage::producer_state::{Origin, Verification};
use barnabas::storage::volume::Volume;
use bytes::Bytes;
use fastrand::Rng;

use super::PLAIN;
use crate::Target;

const NOW_MS: i64 = 1_800_000_000_000;
const KINDS: [FileKind; 5] = [
    FileKind::Log,
    FileKind::OffsetIndex,
    FileKind::TimeIndex,
    FileKind::TransactionIndex,
    FileKind::Snapshot,
];
/// Stands for `leader-epoch-checkpoint`.
const EPOCHS: u8 = 5;
const CLEAN: u8 = 1;

pub fn targets() -> Vec<Target> {
    vec![Target {
        name: "log folders",
        seeds: folders(),
        mend,
        run: open,
        planted: &["recovery-size-believed", "recovery-offsets-meet", "tail-believed"],
        ..PLAIN
    }]
}

struct Part {
    kind: u8,
    base: i64,
    bytes: Vec<u8>,
}

fn pack(flags: u8, parts: &[Part]) -> Vec<u8> {
    let mut packed = vec![flags];
    for part in parts {
        packed.push(part.kind);
        packed.extend_from_slice(&part.base.to_be_bytes());
        packed.extend_from_slice(&(part.bytes.len() as u32).to_be_bytes());
        packed.extend_from_slice(&part.bytes);
    }
    packed
}

fn unpack(input: &[u8]) -> (u8, Vec<Part>) {
    let Some((flags, mut rest)) = input.split_first() else {
        return (0, Vec::new());
    };
    let mut parts = Vec::new();
    while let Some((head, after)) = rest.split_first_chunk::<13>() {
        let length = u32::from_be_bytes(*head[9..].first_chunk().unwrap()) as usize;
        let (bytes, after) = after.split_at(length.min(after.len()));
        parts.push(Part {
            kind: head[0] % 6,
            base: i64::from_be_bytes(*head[1..].first_chunk().unwrap()) & i64::MAX,
            bytes: bytes.to_vec(),
        });
        rest = after;
    }
    (*flags, parts)
}

/// The small folders of the golden directories, as after a clean stop and as after a crash.
fn folders() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for set in ["clean", "unclean", "torn"] {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden")
            .join(set);
        let mut folders: Vec<_> = std::fs::read_dir(golden)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        folders.retain(|path| path.is_dir());
        folders.sort();
        for folder in folders {
            let mut names: Vec<_> = std::fs::read_dir(&folder)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect();
            names.sort();
            let mut parts = Vec::new();
            for path in names {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                let (kind, base) = match SegmentFile::parse(&name) {
                    Ok(Some(file)) => {
                        let kind = KINDS.iter().position(|kind| *kind == file.kind).unwrap();
                        (kind as u8, file.offset.get())
                    }
                    _ if name == LEADER_EPOCH_CHECKPOINT => (EPOCHS, 0),
                    _ => continue,
                };
                parts.push(Part {
                    kind,
                    base,
                    bytes: std::fs::read(&path).unwrap(),
                });
            }
            let clean = pack(CLEAN, &parts);
            if clean.len() < 6 << 10 {
                seeds.extend((set == "clean").then_some(clean));
                seeds.push(pack(0, &parts));
            }
        }
    }
    assert!(seeds.len() > 10);
    seeds
}

/// Gives batches and snapshots their checksums, and now and then an offset near to that of the batch before.
fn mend(rng: &mut Rng, input: &mut Vec<u8>) {
    if rng.u8(..4) == 0 {
        return;
    }
    let (flags, mut parts) = unpack(input);
    for part in &mut parts {
        let bytes = &mut part.bytes;
        match part.kind {
            0 => {
                let mut at = 0;
                let mut last_offset = 0_i64;
                while let Some(rest) = bytes.get_mut(at..).filter(|rest| rest.len() >= 61) {
                    let size = i32::from_be_bytes(*rest[8..].first_chunk().unwrap());
                    let end = usize::try_from(size).unwrap_or(0).saturating_add(12);
                    if rest[16] != 2 || end < 61 || end > rest.len() {
                        break;
                    }
                    if rng.u8(..32) == 0 {
                        let near = last_offset.wrapping_add(rng.i64(-1..=2));
                        rest[..8].copy_from_slice(&near.to_be_bytes());
                    }
                    let delta = i32::from_be_bytes(*rest[23..].first_chunk().unwrap());
                    last_offset =
                        i64::from_be_bytes(*rest.first_chunk().unwrap()).wrapping_add(i64::from(delta));
                    let crc = crc32c::crc32c(&rest[21..end]);
                    rest[17..21].copy_from_slice(&crc.to_be_bytes());
                    at += end;
                }
            }
            4 if bytes.len() > 10 => {
                let crc = crc32c::crc32c(&bytes[6..]);
                bytes[2..6].copy_from_slice(&crc.to_be_bytes());
            }
            _ => {}
        }
    }
    *input = pack(flags, &parts);
}

fn options(clean: bool) -> LoadOptions {
    LoadOptions {
        config: Arc::new(LogConfig {
            index_interval_bytes: 300,
            ..LogConfig::default()
        }),
        now_ms: NOW_MS,
        producer_expiration_ms: i64::MAX,
        clean,
        recovery_point: Offset(0),
        log_start_offset: Offset(0),
        high_watermark: Offset(i64::MAX),
        cleaner_checkpoint: None,
        progress_bytes: u64::MAX,
    }
}

/// `None` where Kafka, too, refuses such a folder.
fn load(memory: &MemoryDisk, clean: bool) -> Option<Log> {
    let disk = Disk::memory(memory.clone());
    let volume = Volume::new("/data".into(), disk, Descriptors::new(16), Random::from_seed(7));
    match Log::load(
        &volume,
        "/data/t-0".into(),
        TopicPartition::new("t", 0),
        &options(clean),
    ) {
        Ok((log, _)) => Some(log),
        Err(OpenError::Io(error)) => panic!("a disk that works: {error}"),
        Err(_) => None,
    }
}

/// The last offsets of all batches that are served; `None` when the middle of the log is damaged.
fn read_all(log: &Log) -> Option<Vec<Offset>> {
    let mut ends: Vec<Offset> = Vec::new();
    let mut next = log.log_start_offset();
    loop {
        let request = ReadRequest {
            start_offset: next,
            max_bytes: 4000,
            min_one_batch: true,
            bound: Bound::LogEnd,
        };
        let read = match log.read(&request) {
            Ok(read) => read,
            Err(ReadError::Corrupt(_) | ReadError::OutOfRange { .. }) => return None,
            Err(error) => panic!("{error}"),
        };
        let Some(records) = read.records else {
            return Some(ends);
        };
        let bytes = records.read().unwrap();
        let before = next;
        for batch in Batches::new(&bytes) {
            let batch = batch.ok()?;
            if batch.last_offset() == Offset(i64::MAX) {
                return None;
            }
            if batch.last_offset() >= next {
                next = batch.next_offset();
                ends.push(batch.last_offset());
            }
        }
        if next == before {
            return None;
        }
    }
}

fn disk_with(parts: &[Part]) -> MemoryDisk {
    let memory = MemoryDisk::new();
    let disk = Disk::memory(memory.clone());
    disk.create_directory(Path::new("/data/t-0")).unwrap();
    for part in parts {
        let name = match KINDS.get(usize::from(part.kind)) {
            Some(kind) => segment_file(Offset(part.base), *kind),
            None => LEADER_EPOCH_CHECKPOINT.to_owned(),
        };
        let file = disk
            .open(&Path::new("/data/t-0").join(name), Open::Truncate)
            .unwrap();
        file.write_all_at(&part.bytes, 0).unwrap();
    }
    memory
}

fn open(input: &[u8]) {
    let (flags, parts) = unpack(input);
    let memory = disk_with(&parts);
    let Some(mut log) = load(&memory, flags & CLEAN != 0) else {
        return;
    };
    assert!(log.log_start_offset() <= log.log_end_offset());
    let end = log.log_end_offset();
    let clean = flags & CLEAN != 0;
    let served = read_all(&log);
    if let Some(ends) = &served {
        assert!(ends.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(ends.last().is_none_or(|last| *last < end));
    }
    assert!(clean || served.is_some(), "what was recovered cannot be read");
    // After a clean stop only the end is looked at: damage before it shows when it is read, or at a later start.
    let is_whole = || {
        let through = load(&disk_with(&parts), false);
        through.is_some_and(|through| through.log_end_offset() == end && read_all(&through) == served)
    };
    if clean && !is_whole() {
        return;
    }
    let Some(mut ends) = served else {
        panic!("a log that is whole cannot be read");
    };
    let _ = log.aborted_transactions(log.log_start_offset(), end);
    let _ = log.offset_for_timestamp(0);
    let _ = log.offset_of_max_timestamp();

    // It takes what is appended, and shows it.
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder
        .append(NOW_MS, Some(b"k"), Some(b"appended"), &[])
        .unwrap();
    let batch = Bytes::from(builder.build().unwrap().1.to_vec());
    let appended = log.append_as_leader(
        &batch,
        LeaderEpoch(90),
        Origin::Client,
        Verification::Disabled,
        NOW_MS,
        None,
    );
    if appended.is_err() || end > Offset(i64::MAX - 1000) {
        // No offset is left: nobody gets there by appending.
        return;
    }
    assert_eq!(log.log_end_offset(), end.plus(1));
    ends.push(end);
    assert_eq!(
        read_all(&log),
        Some(ends.clone()),
        "what was appended is not read"
    );
    // At the next start it is the same log; after a stop like the last one, as a clean start does not read it through.
    if clean && let Some(work) = log.close().unwrap() {
        let _ = work.run().unwrap();
    }
    drop(log);
    let again = load(&memory, clean).expect("a log that was opened once");
    assert_eq!(
        again.log_end_offset(),
        end.plus(1),
        "the log is another at the next start"
    );
    assert_eq!(read_all(&again), Some(ends));
}
