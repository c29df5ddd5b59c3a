//! Produce requests that are built once and patched for each send: correlation id, timestamps, producer fields, CRC.
//! Called by `produce`.

use crate::codec::{self, Codec};

pub const HEADER_SIZE: usize = 61;
pub const API_PRODUCE: i16 = 0;
pub const PRODUCE_VERSION: i16 = 7;

/// What each batch holds.
#[derive(Clone, Copy)]
pub struct Shape {
    pub record_size: usize,
    pub batch_bytes: usize,
    pub codec: Codec,
}

/// A batch that holds as many records as fit `batch_bytes` before compression (one at least).
pub fn build(shape: Shape, seed: u64) -> (Vec<u8>, i32) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut records = Vec::with_capacity(shape.batch_bytes);
    let mut count = 0;
    loop {
        let value = text(shape.record_size, &mut random);
        let record = record(count, None, &value);
        if count > 0 && HEADER_SIZE + records.len() + record.len() + 3 > shape.batch_bytes {
            break;
        }
        varint(record.len() as i64, &mut records);
        records.extend_from_slice(&record);
        count += 1;
    }
    (whole(shape.codec, count as i32, &records), count as i32)
}

/// One record behind its length.
pub fn record(number: i64, key: Option<&[u8]>, value: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(value.len() + 32);
    record.push(0);
    varint(0, &mut record);
    varint(number, &mut record);
    match key {
        Some(key) => {
            varint(key.len() as i64, &mut record);
            record.extend_from_slice(key);
        }
        None => varint(-1, &mut record),
    }
    varint(value.len() as i64, &mut record);
    record.extend_from_slice(value);
    varint(0, &mut record);
    record
}

/// The batch of `count` records; its timestamps, producer fields and CRC are still to be patched in.
pub fn whole(codec: Codec, count: i32, records: &[u8]) -> Vec<u8> {
    let payload = codec::compress(codec, records);
    let mut batch = Vec::with_capacity(HEADER_SIZE + payload.len());
    batch.extend_from_slice(&0i64.to_be_bytes());
    batch.extend_from_slice(&((HEADER_SIZE - 12 + payload.len()) as i32).to_be_bytes());
    batch.extend_from_slice(&(-1i32).to_be_bytes());
    batch.push(2);
    batch.extend_from_slice(&0u32.to_be_bytes());
    batch.extend_from_slice(&codec.code().to_be_bytes());
    batch.extend_from_slice(&(count - 1).to_be_bytes());
    batch.extend_from_slice(&[0; 16]);
    batch.extend_from_slice(&(-1i64).to_be_bytes());
    batch.extend_from_slice(&(-1i16).to_be_bytes());
    batch.extend_from_slice(&(-1i32).to_be_bytes());
    batch.extend_from_slice(&count.to_be_bytes());
    batch.extend_from_slice(&payload);
    batch
}

/// Text of some redundancy, as logs and events have it: words of a small vocabulary and numbers.
pub fn text(size: usize, random: &mut fastrand::Rng) -> Vec<u8> {
    const WORDS: &[&str] = &[
        "order",
        "customer",
        "status",
        "shipped",
        "pending",
        "amount",
        "currency",
        "EUR",
        "warehouse",
        "north",
        "south",
        "session",
        "timestamp",
        "request",
        "latency",
        "user",
        "agent",
        "region",
        "version",
        "payment",
    ];
    let mut value = Vec::with_capacity(size + 16);
    while value.len() < size {
        value.extend_from_slice(WORDS[random.usize(..WORDS.len())].as_bytes());
        value.push(b'=');
        value.extend_from_slice(format!("{:x},", random.u32(..)).as_bytes());
    }
    value.truncate(size);
    value
}

pub fn varint(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Producer id, epoch and next sequences of the partitions, when idempotent.
pub struct Producer {
    pub id: i64,
    pub epoch: i16,
    pub sequences: Vec<i32>,
}

/// One Produce request, ready to be sent again and again.
pub struct Frame {
    pub bytes: Vec<u8>,
    /// Partition, where its batch begins, where it ends, records in it.
    batches: Vec<(usize, usize, usize, i32)>,
    pub records: u64,
}

impl Frame {
    pub fn new(topic: &str, acks: i16, partitions: &[usize], shape: Shape, seed: u64) -> Frame {
        let mut frame = Frame {
            bytes: vec![0; 4],
            batches: Vec::new(),
            records: 0,
        };
        let out = &mut frame.bytes;
        out.extend_from_slice(&API_PRODUCE.to_be_bytes());
        out.extend_from_slice(&PRODUCE_VERSION.to_be_bytes());
        out.extend_from_slice(&0i32.to_be_bytes());
        string("load", out);
        out.extend_from_slice(&(-1i16).to_be_bytes());
        out.extend_from_slice(&acks.to_be_bytes());
        out.extend_from_slice(&30_000i32.to_be_bytes());
        out.extend_from_slice(&1i32.to_be_bytes());
        string(topic, out);
        out.extend_from_slice(&(partitions.len() as i32).to_be_bytes());
        for partition in partitions {
            let (batch, count) = build(shape, seed.wrapping_add(*partition as u64));
            out.extend_from_slice(&(*partition as i32).to_be_bytes());
            out.extend_from_slice(&(batch.len() as i32).to_be_bytes());
            let start = out.len();
            out.extend_from_slice(&batch);
            frame.batches.push((*partition, start, out.len(), count));
            frame.records += count as u64;
        }
        let size = (out.len() - 4) as i32;
        out[..4].copy_from_slice(&size.to_be_bytes());
        frame
    }

    /// Makes this the next request: nothing of the frame may still be on its way to the socket.
    pub fn patch(&mut self, correlation_id: i32, now_ms: i64, producer: Option<&mut Producer>) {
        let mut producer = producer;
        self.bytes[8..12].copy_from_slice(&correlation_id.to_be_bytes());
        for (partition, start, end, count) in &self.batches {
            let batch = &mut self.bytes[*start..*end];
            batch[27..35].copy_from_slice(&now_ms.to_be_bytes());
            batch[35..43].copy_from_slice(&now_ms.to_be_bytes());
            if let Some(producer) = producer.as_deref_mut() {
                let sequence = &mut producer.sequences[*partition];
                batch[43..51].copy_from_slice(&producer.id.to_be_bytes());
                batch[51..53].copy_from_slice(&producer.epoch.to_be_bytes());
                batch[53..57].copy_from_slice(&sequence.to_be_bytes());
                *sequence = (*sequence as i64 + i64::from(*count)).rem_euclid(1 << 31) as i32;
            }
            let crc = crc32c::crc32c(&batch[21..]);
            batch[17..21].copy_from_slice(&crc.to_be_bytes());
        }
    }
}

pub fn string(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(text.len() as i16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}
