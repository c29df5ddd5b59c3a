//! The first pass: through what is dirty, to learn the newest offset of each key (Kafka: `Cleaner.buildOffsetMap`).
//!
//! Records of aborted transactions say nothing, nor do control batches and records without a key. It ends where the map
//! is full: what lies behind the last batch that went in whole waits for the next cleaning.

use super::newest::Newest;
use super::offset_map::{KeyHash, OffsetMap};
use super::reader::{Reader, batches};
use super::transactions::Transactions;
use super::{CleaningError, Job, LogPlace, Unreadable};
use crate::base::ids::Offset;
use crate::records::batch::Batch;
use crate::storage::log::Source;

/// What the pass has learnt.
pub(super) struct Mapped {
    pub map: OffsetMap,
    /// The same by offset, as far as its memory goes.
    pub newest: Newest,
    /// All records below are in the map.
    pub below: Offset,
}

/// So many keys are looked for in the map at a time.
const TOGETHER: usize = 64;

/// The pass.
pub(super) struct MapPass {
    map: OffsetMap,
    newest: Newest,
    /// Of the batch that is read, what is not in the map yet.
    pending: Vec<(KeyHash, Offset)>,
    first_dirty: Offset,
    below: Offset,
    transactions: Transactions,
    /// The segments that come, the next one last.
    ahead: Vec<Source>,
    reading: Option<(Reader, Source)>,
    buffer: Vec<u8>,
    full: bool,
}

impl MapPass {
    pub(super) fn new<P: LogPlace>(job: &Job<'_, P>) -> Result<Self, CleaningError> {
        let first_dirty = job.first_dirty;
        let (mut ahead, random) = job.with_log(|log| {
            let random = log.volume().random().clone();
            let sources = log.cleaning_sources(job.token, job.end);
            Ok(sources.map(|sources| (sources, random)))
        })?;
        ahead.retain(|source| source.end > first_dirty);
        ahead.reverse();
        // No more keys can come than there are offsets.
        let keys = u64::try_from(job.end.since(first_dirty)).unwrap_or(0);
        let settings = job.settings;
        let newest = Newest::new(first_dirty, job.end, settings.dedupe_buffer_bytes);
        let map_bytes = settings.dedupe_buffer_bytes - newest.bytes();
        Ok(Self {
            map: OffsetMap::new(map_bytes, settings.load_factor, keys, &random),
            newest,
            pending: Vec::with_capacity(TOGETHER),
            first_dirty,
            below: first_dirty,
            transactions: Transactions::default(),
            ahead,
            reading: None,
            buffer: Vec::new(),
            full: false,
        })
    }

    /// Goes through a buffer of batches. Answers the bytes that were read.
    pub(super) fn step<P: LogPlace>(&mut self, job: &Job<'_, P>) -> Result<u64, CleaningError> {
        if self.reading.is_none() {
            let Some(source) = self.ahead.pop() else {
                return Ok(0);
            };
            let (file, aborted) = job.with_log(|log| {
                let Some(file) = log.open_source(job.token, &source)? else {
                    return Ok(None);
                };
                let aborted = log.aborted_transactions(source.base, source.end);
                Ok(Some((file, aborted.map_err(super::unreadable_index)?)))
            })?;
            self.transactions.expect(aborted);
            self.reading = Some((Reader::new(file, source.size), source));
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let Some((reader, source)) = &mut self.reading else {
            return Ok(0);
        };
        let end = source.end;
        let mut read = 0;
        if !reader.is_at_end() {
            let filled = reader.fill(&mut buffer, job.settings.io_buffer_bytes);
            read = filled.map_err(|error| job.failed(error))?;
        }
        let at_end = reader.is_at_end();
        if read > 0 {
            for batch in batches(&buffer) {
                if !self.add(&batch?)? {
                    self.full = true;
                    break;
                }
            }
        }
        self.buffer = buffer;
        if at_end && !self.full {
            // Offsets that are missing at the segment's end are gone through as well.
            self.below = self.below.max(end);
            self.reading = None;
        }
        Ok(read as u64)
    }

    /// False when the map is full.
    fn add(&mut self, batch: &Batch<'_>) -> Result<bool, Unreadable> {
        if batch.is_control() {
            self.transactions.control(batch)?;
        } else if !self.transactions.data(batch.header()) && batch.last_offset() >= self.first_dirty {
            let mut records = batch.records(None)?;
            while let Some(record) = records.next()? {
                let Some(key) = record.key.filter(|_| record.offset >= self.first_dirty) else {
                    continue;
                };
                self.pending.push((self.map.hash(key), record.offset));
                self.newest.note(record.offset);
                if self.pending.len() == TOGETHER && !self.put_pending() {
                    return Ok(false);
                }
            }
            if !self.put_pending() {
                return Ok(false);
            }
        }
        self.below = self.below.max(batch.next_offset());
        Ok(true)
    }

    /// False when the map is full.
    fn put_pending(&mut self) -> bool {
        let put = self.map.put_all(&self.pending);
        self.pending.clear();
        put
    }

    /// What was learnt, once all is gone through or the map is full.
    pub(super) fn finished(&mut self) -> Result<Option<Mapped>, CleaningError> {
        if !self.full && (self.reading.is_some() || !self.ahead.is_empty()) {
            return Ok(None);
        }
        if self.full && self.below <= self.first_dirty {
            return Err(CleaningError::unreadable(format!(
                "one batch has more keys than the cleaner's map takes, which is {}: log.cleaner.dedupe.buffer.size is too \
                 small, or log.cleaner.threads too many",
                self.map.capacity()
            )));
        }
        let map = std::mem::replace(&mut self.map, OffsetMap::none());
        let mut newest = std::mem::take(&mut self.newest);
        newest.finish(&map);
        Ok(Some(Mapped {
            map,
            newest,
            below: self.below,
        }))
    }
}
