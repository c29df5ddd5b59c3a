//! Writing batches: v2 batches, and sets of v0 and v1 messages.
//!
//! Records go straight into the codec, so a builder holds its compressed output and one record, not the batch twice.
//! Called by validation and conversion when a batch must be made anew, by whoever writes control or internal records,
//! and by tests, which need batches that no sane producer sends: the builder checks sizes, not meaning. Follows
//! Kafka's `MemoryRecordsBuilder`.

use std::fmt;

use bytes::Bytes;

use super::batch::{
    ATTRIBUTE_CONTROL, ATTRIBUTE_DELETE_HORIZON, ATTRIBUTE_LOG_APPEND_TIME, ATTRIBUTE_TRANSACTIONAL,
    BatchHeader, NEWEST_MAGIC, NO_SEQUENCE, NO_TIMESTAMP, V2_CRC_FROM, V2_HEADER_BYTES,
};
use super::compression::{CodecError, Compressor, Levels};
use super::legacy;
use super::record::{Headers, encode_headers, write_v2};
use crate::base::format::{Codec, TimestampType};
use crate::base::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// Why a batch cannot be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BuildError {
    /// The codec failed.
    Codec(CodecError),
    /// Offsets must ascend, and fit i32 as differences to the first.
    Offset,
    /// More bytes than were allowed, or than a batch can have.
    TooLarge,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Codec(error) => write!(f, "records cannot be compressed: {error}"),
            Self::Offset => f.write_str("a record's offset does not fit into its batch"),
            Self::TooLarge => f.write_str("the batch grows too large"),
        }
    }
}

impl std::error::Error for BuildError {}

impl From<CodecError> for BuildError {
    fn from(error: CodecError) -> Self {
        Self::Codec(error)
    }
}

/// What a v2 batch says about all its records. The default is an uncompressed batch at offset 0 of no producer.
#[derive(Clone, Debug)]
pub struct BatchOptions {
    /// The offset of the first record.
    pub base_offset: Offset,
    /// How to compress.
    pub codec: Codec,
    /// How hard to compress.
    pub levels: Levels,
    /// `None`: CreateTime. Else the append time in ms of a LogAppendTime batch; records keep their own in their deltas.
    pub log_append_time_ms: Option<i64>,
    /// The producer's id.
    pub producer_id: ProducerId,
    /// The producer's epoch.
    pub producer_epoch: ProducerEpoch,
    /// The sequence of the first record.
    pub base_sequence: i32,
    /// Part of a transaction.
    pub is_transactional: bool,
    /// Holds control records.
    pub is_control: bool,
    /// When tombstones and markers in it may go (KIP-534).
    pub delete_horizon_ms: Option<i64>,
    /// The epoch of the leader that appends it.
    pub partition_leader_epoch: LeaderEpoch,
    /// The most that the batch may take, in bytes.
    pub most_bytes: usize,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self {
            base_offset: Offset::ZERO,
            codec: Codec::None,
            levels: Levels::default(),
            log_append_time_ms: None,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: NO_SEQUENCE,
            is_transactional: false,
            is_control: false,
            delete_horizon_ms: None,
            partition_leader_epoch: LeaderEpoch::NONE,
            most_bytes: i32::MAX as usize,
        }
    }
}

/// What is reserved for a record at most, before there is one.
const RECORD_BYTES: usize = 4096;

/// Writes one v2 batch.
pub struct BatchBuilder {
    options: BatchOptions,
    compressor: Compressor,
    record: Vec<u8>,
    headers: Vec<u8>,
    count: i32,
    last_offset: Offset,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// Starts a batch.
    pub fn new(options: BatchOptions) -> Self {
        Self::with_capacity(options, 0)
    }

    /// Starts a batch whose records will take about so many bytes, if they are not compressed.
    pub fn with_capacity(options: BatchOptions, bytes: usize) -> Self {
        let mut buffer = Vec::with_capacity(V2_HEADER_BYTES.saturating_add(bytes));
        buffer.resize(V2_HEADER_BYTES, 0);
        Self {
            compressor: Compressor::new(options.codec, &options.levels, NEWEST_MAGIC, buffer),
            record: Vec::with_capacity(bytes.min(RECORD_BYTES)),
            headers: Vec::new(),
            count: 0,
            last_offset: Offset(options.base_offset.get().wrapping_sub(1)),
            base_timestamp: options.delete_horizon_ms.unwrap_or(NO_TIMESTAMP),
            max_timestamp: NO_TIMESTAMP,
            options,
        }
    }

    /// Adds a record at the next offset.
    pub fn append(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) -> Result<(), BuildError> {
        let mut buffer = std::mem::take(&mut self.headers);
        let headers = encode_headers(headers, &mut buffer);
        let appended = self.append_at(self.last_offset.plus(1), timestamp, key, value, headers);
        self.headers = buffer;
        appended
    }

    /// Adds a record at `offset`, which must be above all before it.
    pub fn append_at(
        &mut self,
        offset: Offset,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: Headers<'_>,
    ) -> Result<(), BuildError> {
        let delta = offset.since(self.options.base_offset);
        if offset <= self.last_offset {
            return Err(BuildError::Offset);
        }
        let delta = i32::try_from(delta).map_err(|_| BuildError::Offset)?;
        if self.count == 0 && self.options.delete_horizon_ms.is_none() {
            self.base_timestamp = timestamp;
        }
        let timestamp_delta = timestamp.wrapping_sub(self.base_timestamp);
        self.record.clear();
        write_v2(&mut self.record, timestamp_delta, delta, key, value, headers);
        self.compressor.write(&self.record)?;
        if self.compressor.buffered() > self.options.most_bytes {
            return Err(BuildError::TooLarge);
        }
        self.count = self.count.checked_add(1).ok_or(BuildError::TooLarge)?;
        self.last_offset = offset;
        self.max_timestamp = self.max_timestamp.max(timestamp);
        Ok(())
    }

    /// Records added so far.
    pub fn record_count(&self) -> i32 {
        self.count
    }

    /// Makes the batch end at `offset` although its last record is below, as compaction leaves it.
    pub fn extend_to(&mut self, offset: Offset) {
        self.last_offset = self.last_offset.max(offset);
    }

    /// The batch and its header.
    pub fn build(self) -> Result<(BatchHeader, Bytes), BuildError> {
        let options = self.options;
        let mut bytes = self.compressor.finish()?;
        if bytes.len() > options.most_bytes.min(i32::MAX as usize) {
            return Err(BuildError::TooLarge);
        }
        let mut attributes = options.codec as u8;
        for (set, bit) in [
            (options.log_append_time_ms.is_some(), ATTRIBUTE_LOG_APPEND_TIME),
            (options.is_transactional, ATTRIBUTE_TRANSACTIONAL),
            (options.is_control, ATTRIBUTE_CONTROL),
            (options.delete_horizon_ms.is_some(), ATTRIBUTE_DELETE_HORIZON),
        ] {
            if set {
                attributes |= bit;
            }
        }
        let last_delta = self.last_offset.since(options.base_offset);
        let mut header = BatchHeader {
            magic: NEWEST_MAGIC,
            size_in_bytes: bytes.len() as u32,
            base_offset: options.base_offset,
            last_offset_delta: i32::try_from(last_delta).map_err(|_| BuildError::Offset)?,
            partition_leader_epoch: options.partition_leader_epoch,
            crc: 0,
            attributes,
            base_timestamp: self.base_timestamp,
            max_timestamp: options.log_append_time_ms.unwrap_or(self.max_timestamp),
            producer_id: options.producer_id,
            producer_epoch: options.producer_epoch,
            base_sequence: options.base_sequence,
            record_count: self.count,
        };
        seal(&mut header, &mut bytes);
        Ok((header, bytes.into()))
    }
}

/// Writes `header` to the front of `batch` with the checksum that fits.
pub(crate) fn seal(header: &mut BatchHeader, batch: &mut [u8]) {
    if let Some(front) = batch.first_chunk_mut() {
        *front = header.to_v2_bytes();
    }
    header.crc = crc32c::crc32c(batch.get(V2_CRC_FROM..).unwrap_or_default());
    if let Some(front) = batch.first_chunk_mut() {
        *front = header.to_v2_bytes();
    }
}

/// The batch that compaction leaves when all records of a v2 batch are gone but its producer's sequence must be kept:
/// no records, no codec, no delete horizon, same offsets, sequence and maximum timestamp.
pub fn emptied(header: &BatchHeader) -> (BatchHeader, [u8; V2_HEADER_BYTES]) {
    let mut empty = BatchHeader {
        size_in_bytes: V2_HEADER_BYTES as u32,
        attributes: header.attributes
            & (ATTRIBUTE_LOG_APPEND_TIME | ATTRIBUTE_TRANSACTIONAL | ATTRIBUTE_CONTROL),
        base_timestamp: NO_TIMESTAMP,
        record_count: 0,
        ..*header
    };
    let mut bytes = [0; V2_HEADER_BYTES];
    seal(&mut empty, &mut bytes);
    (empty, bytes)
}

/// What a set of v0 or v1 messages says about all of them.
#[derive(Clone, Debug)]
pub struct SetOptions {
    /// 0 or 1.
    pub magic: u8,
    /// `None`: single messages. Else one wrapper; there is no zstd in these formats.
    pub codec: Codec,
    /// How hard to compress.
    pub levels: Levels,
    /// `None`: CreateTime. Else the append time in ms, which all messages get. v0 has no timestamps.
    pub log_append_time_ms: Option<i64>,
}

impl Default for SetOptions {
    fn default() -> Self {
        Self {
            magic: 1,
            codec: Codec::None,
            levels: Levels::default(),
            log_append_time_ms: None,
        }
    }
}

/// Writes a set of v0 or v1 messages.
pub struct SetBuilder {
    options: SetOptions,
    compressor: Compressor,
    message: Vec<u8>,
    first_offset: Option<Offset>,
    last_offset: Offset,
    max_timestamp: i64,
}

impl SetBuilder {
    /// Starts a set.
    pub fn new(options: SetOptions) -> Self {
        Self {
            compressor: Compressor::new(options.codec, &options.levels, options.magic, Vec::new()),
            message: Vec::new(),
            first_offset: None,
            last_offset: Offset::NONE,
            max_timestamp: NO_TIMESTAMP,
            options,
        }
    }

    /// Adds a message.
    pub fn append(
        &mut self,
        offset: Offset,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), BuildError> {
        let first = *self.first_offset.get_or_insert(offset);
        let size = legacy::message_size(self.options.magic, key, value);
        if i32::try_from(size).is_err() {
            return Err(BuildError::TooLarge);
        }
        let relative = self.options.magic > 0 && self.options.codec != Codec::None;
        let timestamp = self.options.log_append_time_ms.unwrap_or(timestamp);
        let timestamp_type = self.timestamp_type();
        self.message.clear();
        legacy::write_message(
            &mut self.message,
            self.options.magic,
            if relative {
                offset.since(first)
            } else {
                offset.get()
            },
            timestamp,
            timestamp_type,
            Codec::None,
            key,
            value,
        );
        self.compressor.write(&self.message)?;
        self.last_offset = offset;
        self.max_timestamp = self.max_timestamp.max(timestamp);
        Ok(())
    }

    fn timestamp_type(&self) -> TimestampType {
        match self.options.log_append_time_ms {
            None => TimestampType::CreateTime,
            Some(_) => TimestampType::LogAppendTime,
        }
    }

    /// The set; empty if nothing was added.
    pub fn build(self) -> Result<Vec<u8>, BuildError> {
        let timestamp_type = self.timestamp_type();
        let value = self.compressor.finish()?;
        if self.options.codec == Codec::None {
            return Ok(value);
        }
        if self.first_offset.is_none() {
            return Ok(Vec::new());
        }
        let size = legacy::message_size(self.options.magic, None, Some(&value));
        if i32::try_from(size).is_err() {
            return Err(BuildError::TooLarge);
        }
        let mut set = Vec::with_capacity(size);
        legacy::write_message(
            &mut set,
            self.options.magic,
            self.last_offset.get(),
            self.max_timestamp,
            timestamp_type,
            self.options.codec,
            None,
            Some(&value),
        );
        Ok(set)
    }
}
