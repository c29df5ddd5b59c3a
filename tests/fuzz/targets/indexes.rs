//! The three indexes of a segment. Whatever an offset index says, the batch that is found is the right one; a time
//! index can only mislead, but not beyond the segment; a transaction index is sound or refused.

use std::path::Path;
use std::sync::Arc;

use barnabas::base::disk::memory::MemoryDisk;
use barnabas::base::disk::{Disk, File, Open};
use barnabas::base::ids::Offset;
use barnabas::base::random::Random;
use barnabas::records::batch::{BatchHeader, Batches};
use barnabas::records::build::{BatchBuilder, BatchOptions};
use barnabas::storage::descriptors::Descriptors;
use barnabas::storage::folder::Folder;
use barnabas::storage::index::{Entries, Entry};
use barnabas::storage::offset_index::OffsetEntry;
use barnabas::storage::segment::Segment;
use barnabas::storage::time_index::TimeEntry;
use barnabas::storage::transaction_index::{
    AbortedTransaction, ENTRY_BYTES, TransactionIndex, TransactionIndexError,
};
use barnabas::storage::volume::Volume;

use super::{PLAIN, with_extension};
use crate::Target;

const BASE: i64 = 40;
const BATCHES: usize = 60;
const END: i64 = BASE + 3 * BATCHES as i64;

pub fn targets() -> Vec<Target> {
    vec![
        Target {
            name: "offset indexes",
            seeds: offset_indexes(),
            mend: |rng, bytes| {
                if rng.bool() {
                    bytes.truncate(bytes.len() / 8 * 8)
                }
            },
            run: offset_index,
            planted: &[
                "index-believed",
                "index-part-counted",
                "index-search-one-off",
                "offset-entry-signed",
            ],
            ..PLAIN
        },
        Target {
            name: "time indexes",
            seeds: [time_indexes(), of_few(with_extension("timeindex"), 12)].concat(),
            mend: |rng, bytes| {
                if rng.bool() {
                    bytes.truncate(bytes.len() / 12 * 12)
                }
            },
            run: time_index,
            planted: &[
                "time-entry-signed",
                "time-difference-wraps",
                "time-equal-left-out",
            ],
            ..PLAIN
        },
        Target {
            name: "transaction indexes",
            seeds: [with_extension("txnindex"), transaction_indexes()].concat(),
            mend: |rng, bytes| {
                if rng.bool() {
                    bytes.truncate(bytes.len() / ENTRY_BYTES * ENTRY_BYTES)
                }
            },
            run: transaction_index,
            planted: &[
                "aborted-any-version",
                "aborted-part-counted",
                "aborted-ends-equal",
            ],
            ..PLAIN
        },
    ]
}

/// The longest of those that are searched in one go: longer ones are what the fuzzer makes.
fn of_few(mut indexes: Vec<Vec<u8>>, entry_bytes: usize) -> Vec<Vec<u8>> {
    indexes.retain(|index| index.len() % entry_bytes == 0 && index.len() <= 64 * entry_bytes);
    indexes.sort_by_key(|index| std::cmp::Reverse(index.len()));
    indexes.truncate(6);
    indexes
}

/// A segment's `.log`.
fn log() -> Vec<u8> {
    let mut log = Vec::new();
    for number in 0..BATCHES {
        let mut builder = BatchBuilder::new(BatchOptions {
            base_offset: Offset(BASE + 3 * number as i64),
            ..BatchOptions::default()
        });
        for record in 0..3 {
            let timestamp = 1000 + 10 * number as i64 + record;
            builder
                .append(timestamp, None, Some(&vec![0; 20 + number]), &[])
                .unwrap();
        }
        log.extend_from_slice(&builder.build().unwrap().1);
    }
    log
}

/// First offset, last offset and position of each batch.
fn batches(log: &[u8]) -> Vec<(Offset, Offset, u32)> {
    let mut position = 0;
    Batches::new(log)
        .map(|batch| {
            let batch = batch.unwrap();
            let found = (batch.base_offset, batch.last_offset(), position);
            position += batch.size_in_bytes;
            found
        })
        .collect()
}

fn offset_indexes() -> Vec<Vec<u8>> {
    let batches = batches(&log());
    let entries = |step: usize| {
        let mut bytes = Vec::new();
        for (_, last, position) in batches.iter().skip(1).step_by(step) {
            let relative_offset = last.since(Offset(BASE)) as u32;
            OffsetEntry {
                relative_offset,
                position: *position,
            }
            .put(&mut bytes);
        }
        bytes
    };
    vec![entries(1), entries(3), Vec::new()]
}

fn time_indexes() -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    for (number, (_, last, _)) in batches(&log()).iter().enumerate() {
        TimeEntry {
            timestamp_ms: 1002 + 10 * number as i64,
            relative_offset: last.since(Offset(BASE)) as u32,
        }
        .put(&mut bytes);
    }
    vec![bytes, Vec::new()]
}

fn transaction_indexes() -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    for number in 0..5 {
        let entry = AbortedTransaction {
            producer_id: barnabas::base::ids::ProducerId(number),
            first_offset: Offset(10 * number),
            last_offset: Offset(10 * number + 5),
            last_stable_offset: Offset(10 * number + 6),
        };
        bytes.extend_from_slice(&entry.encode());
    }
    vec![bytes]
}

/// What all runs of a thread share, as making it takes longer than a run.
struct Ground {
    disk: Disk,
    folder: Folder,
    log: Vec<u8>,
    batches: Vec<(Offset, Offset, u32)>,
}

thread_local! {
    static GROUND: Ground = {
        let disk = Disk::memory(MemoryDisk::new());
        disk.create_directory(Path::new("/data/t-0")).unwrap();
        let volume = Volume::new("/data".into(), disk.clone(), Descriptors::new(4), Random::from_seed(7));
        let folder = Folder::new(Arc::clone(&volume), "/data/t-0".into());
        let log = log();
        let path = Path::new("/data/t-0").join(format!("{BASE:020}.log"));
        disk.open(&path, Open::Create).unwrap().write_all_at(&log, 0).unwrap();
        let batches = batches(&log);
        Ground { disk, folder, log, batches }
    };
}

impl Ground {
    fn index(&self, suffix: &str, bytes: &[u8]) -> File {
        let path = Path::new("/data/t-0").join(format!("{BASE:020}{suffix}"));
        let file = self.disk.open(&path, Open::Truncate).unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file
    }

    fn segment(&self) -> Segment {
        let size = u32::try_from(self.log.len()).unwrap();
        Segment::on_disk(&self.folder, Offset(BASE), size, TransactionIndex::empty())
    }
}

/// The entries are those of the file, and a search ends between one that is before and one that is not.
fn entries<E: Entry>(file: &File, input: &[u8], number: impl Fn(&E) -> i64) {
    let entries = Entries::<E>::of_file(file).unwrap();
    let read: Vec<E> = input.chunks_exact(E::BYTES).filter_map(E::take).collect();
    assert_eq!(entries.count() as usize, read.len());
    assert_eq!(entries.last().unwrap(), read.last().copied());
    assert_eq!(entries.get(entries.count()).unwrap(), None);
    for wanted in [read.len() / 2, read.len() / 3, read.len() * 5 / 6] {
        let target = read.get(wanted).map_or(0, &number);
        let before = |entry: &E| number(entry) <= target;
        let at = entries.partition_point(before).unwrap() as usize;
        assert!(at == 0 || before(&read[at - 1]), "entry {at} is one too far");
        assert!(
            at >= read.len() || !before(&read[at]),
            "entry {at} is not far enough"
        );
    }
}

/// True when an entry names a place within a batch whose bytes could be a header: then nobody can tell.
fn misleads(ground: &Ground, input: &[u8]) -> bool {
    input.chunks_exact(8).filter_map(OffsetEntry::take).any(|entry| {
        let is_start = ground
            .batches
            .iter()
            .any(|(_, _, start)| *start == entry.position);
        let rest = ground.log.get(entry.position as usize..).unwrap_or_default();
        !is_start && matches!(BatchHeader::parse(rest), Ok(Some(_)))
    })
}

fn offset_index(input: &[u8]) {
    GROUND.with(|ground| {
        let file = ground.index(".index", input);
        entries::<OffsetEntry>(&file, input, |entry| i64::from(entry.relative_offset));
        for bytes in input.chunks_exact(8) {
            assert!(OffsetEntry::take(bytes).unwrap().offset(Offset(BASE)) >= Offset(BASE));
        }
        let segment = ground.segment();
        if misleads(ground, input) {
            let _ = segment.find(&ground.folder, Offset(BASE + 7));
            return ground.folder.forget(segment.files());
        }
        for offset in [BASE, BASE + 7, BASE + 99, END - 1, END] {
            let expected = ground.batches.iter().find(|(_, last, _)| last.get() >= offset);
            let found = segment.find(&ground.folder, Offset(offset)).unwrap();
            assert_eq!(
                found.map(|place| place.position),
                expected.map(|(_, _, position)| *position),
                "offset {offset}"
            );
        }
        assert_eq!(segment.next_offset(&ground.folder).unwrap(), Offset(END));
        segment.index_ends(&ground.folder).unwrap();
        ground.folder.forget(segment.files());
    });
}

fn time_index(input: &[u8]) {
    GROUND.with(|ground| {
        let file = ground.index(".timeindex", input);
        let _ = ground.index(".index", &[]);
        entries::<TimeEntry>(&file, input, |entry| entry.timestamp_ms);
        let mut segment = ground.segment();
        let read: Vec<TimeEntry> = input
            .chunks_exact(TimeEntry::BYTES)
            .filter_map(TimeEntry::take)
            .collect();
        for timestamp in [-1, 0, 1015, i64::MAX] {
            let offset = segment
                .offset_before_timestamp(&ground.folder, timestamp)
                .unwrap();
            assert!(offset >= Offset(BASE), "offset {offset} is before the segment");
            // Whatever the order, it lies between an entry that is not later and one that is.
            let is_before = |entry: &TimeEntry| entry.timestamp_ms <= timestamp;
            let fits = (0..=read.len()).any(|at| {
                let before = at.checked_sub(1).map(|before| &read[before]);
                before.is_none_or(is_before)
                    && read.get(at).is_none_or(|next| !is_before(next))
                    && offset == before.map_or(Offset(BASE), |before| before.offset(Offset(BASE)))
            });
            assert!(fits, "offset {offset} is not where {timestamp} begins");
        }
        let largest = segment.largest_timestamp(&ground.folder).unwrap();
        assert!(largest.offset >= Offset(BASE));
        segment.index_ends(&ground.folder).unwrap();
        ground.folder.forget(segment.files());
    });
}

fn transaction_index(input: &[u8]) {
    GROUND.with(|ground| {
        let file = ground.index(".txnindex", input);
        let base = Offset(0);
        let mut index = match TransactionIndex::open(&file, base) {
            Ok(index) => index,
            Err(TransactionIndexError::Io(error)) => panic!("{error}"),
            Err(TransactionIndexError::Corrupt { position, .. }) => {
                return assert!(position + ENTRY_BYTES as u64 <= input.len() as u64);
            }
        };
        for bytes in input.chunks_exact(ENTRY_BYTES) {
            assert!(bytes[0] as i8 <= 0, "a version that is not known");
        }
        let entries = index.entries(&file).unwrap();
        assert_eq!(entries.len(), input.len() / ENTRY_BYTES);
        for pair in entries.windows(2) {
            assert!(
                pair[0].last_offset < pair[1].last_offset,
                "the ends do not ascend"
            );
        }
        assert!(entries.iter().all(|entry| entry.last_offset >= base));
        let mut found = Vec::new();
        index.collect(&file, Offset(12), Offset(30), &mut found).unwrap();
        assert!(
            found
                .iter()
                .all(|entry| entry.last_offset >= Offset(12) && entry.first_offset < Offset(30))
        );
        index.truncate_to(&file, Offset(20)).unwrap();
        assert!(index.last_offset() < Some(Offset(20)));
    });
}
