//! Record batches and message sets: their headers, records and codecs, as stored and as produced.

use barnabas::base::format::{Codec, TimestampType};
use barnabas::base::ids::{LeaderEpoch, Offset};
use barnabas::records::batch::{Batch, Batches, V2_HEADER_BYTES};
use barnabas::records::build::{BatchBuilder, BatchOptions, SetBuilder, SetOptions};
use barnabas::records::compression::Levels;
use barnabas::records::control::EndTransactionMarker;
use barnabas::records::convert::DownConversion;
use barnabas::records::validate::produce::check_produced;
use barnabas::records::validate::{Origin, Rules, look_at, validate_and_assign};
use bytes::Bytes;
use fastrand::Rng;

use super::{PLAIN, with_extension};
use crate::Target;

/// What a batch may decompress to: one record of it may be as large, and is held whole. So these targets may hold as much
/// beyond the allowance, where a batch is compressed.
const CODEC_BYTES: usize = 1 << 20;

pub fn targets() -> Vec<Target> {
    let codec = Target {
        mend: |rng, bytes| mend_sets(rng, bytes),
        codec_bytes: |input| {
            let is_compressed = |batch: Batch<'_>| batch.is_compressed();
            let any = Batches::new(input).flatten().any(is_compressed);
            if any { CODEC_BYTES } else { 0 }
        },
        ..PLAIN
    };
    vec![
        Target {
            name: "batches",
            seeds: of_magic(|magic| magic == 2),
            run: batches,
            planted: &[
                "batch-below-header",
                "record-length-believed",
                "headers-reserved",
                "header-key-null",
            ],
            ..codec
        },
        Target {
            name: "message sets",
            seeds: of_magic(|magic| magic < 2),
            run: batches,
            planted: &["message-length-believed", "set-of-none", "set-without-value"],
            ..codec
        },
        Target {
            name: "codecs",
            seeds: compressed(),
            mend: |rng, bytes| {
                mend_codecs(rng, bytes);
                mend_sets(rng, bytes);
            },
            run: batches,
            planted: &[
                "snappy-length-believed",
                "snappy-raw-length-believed",
                "lz4-length-believed",
                "lz4-block-size-believed",
                "gzip-length-believed",
                "zstd-length-believed",
            ],
            ..codec
        },
        Target {
            name: "produce",
            seeds: produced(),
            mend: |rng, bytes| {
                if rng.bool() {
                    mend_codecs(rng, bytes);
                }
                mend_count(rng, bytes);
                mend_sets(rng, bytes);
            },
            run: produce,
            planted: &[
                "produce-codec-known",
                "produce-delta-believed",
                "produce-tail-stored",
                "produce-count-reserved",
            ],
            ..codec
        },
    ]
}

/// The first batches of the golden logs.
fn logs() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for log in with_extension("log") {
        for batch in Batches::new(&log).flatten().take(4) {
            seeds.push(batch.bytes().to_vec());
        }
    }
    seeds.retain(|batch| batch.len() < 16 << 10);
    seeds.sort();
    seeds.dedup();
    seeds
}

fn of_magic(magic: impl Fn(u8) -> bool) -> Vec<Vec<u8>> {
    let mut seeds = logs();
    seeds.push(with_headers());
    seeds.extend(sets());
    seeds.retain(|batch| batch.get(16).is_some_and(|found| magic(*found)));
    assert!(!seeds.is_empty());
    seeds
}

fn with_headers() -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let headers: &[(&[u8], Option<&[u8]>)] = &[(b"a", Some(b"1")), (b"", None), (b"key", Some(b"value"))];
    for count in 0..=headers.len() {
        builder
            .append(5, Some(b"k"), Some(b"v"), &headers[..count])
            .unwrap();
    }
    builder.build().unwrap().1.to_vec()
}

fn compressed() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        for count in [1, 60] {
            let mut builder = BatchBuilder::new(BatchOptions {
                codec,
                ..BatchOptions::default()
            });
            for index in 0..count {
                let value = format!("value {index} of a batch that compresses well");
                builder
                    .append(index, Some(b"key"), Some(value.as_bytes()), &[])
                    .unwrap();
            }
            seeds.push(builder.build().unwrap().1.to_vec());
        }
    }
    seeds.extend([1, 60].map(raw_snappy));
    seeds
}

/// A batch in snappy without Java's framing, as librdkafka and Go clients send it; our builder frames.
fn raw_snappy(count: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for index in 0..count {
        let value = format!("value {index} of a batch that compresses well");
        builder
            .append(index, Some(b"key"), Some(value.as_bytes()), &[])
            .unwrap();
    }
    let plain = builder.build().unwrap().1.to_vec();
    let (head, records) = plain.split_at(V2_HEADER_BYTES);
    let records = snap::raw::Encoder::new().compress_vec(records).unwrap();
    let mut batch = [head, &records].concat();
    let length = u32::try_from(batch.len() - 12).unwrap();
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch[22] |= Codec::Snappy as u8;
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    let read = Batch::parse(&batch).unwrap().unwrap();
    let mut iterated = read.records(None).unwrap();
    for _ in 0..count {
        assert!(iterated.next().unwrap().is_some(), "raw snappy is not read");
    }
    drop(iterated);
    batch
}

/// As a producer sends them: from offset 0 on, which the checksum does not cover, and none taken away.
fn produced() -> Vec<Vec<u8>> {
    let mut seeds = [logs(), compressed(), sets()].concat();
    seeds.retain(|bytes| {
        let batch = Batch::parse(bytes).unwrap().unwrap();
        batch.magic < 2 || batch.last_offset_delta + 1 == batch.record_count
    });
    for batch in seeds.iter_mut().filter(|batch| batch[16] == 2) {
        batch[..8].fill(0);
    }
    seeds
}

/// Compressed sets of the old formats.
fn sets() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for magic in [0, 1] {
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4] {
            let mut set = SetBuilder::new(SetOptions {
                magic,
                codec,
                levels: Levels::default(),
                log_append_time_ms: None,
            });
            for number in 0..3 {
                set.append(Offset(number), 1000, None, Some(b"a value, a value, a value"))
                    .unwrap();
            }
            seeds.push(set.build().unwrap().to_vec());
        }
    }
    seeds
}

/// Mostly gives the last batch the length of what is there, and the batches their checksums.
fn mend_sets(rng: &mut Rng, bytes: &mut [u8]) {
    if rng.u8(..4) == 0 {
        return;
    }
    let mut at = 0;
    while bytes.len() - at > 26 {
        let rest = &mut bytes[at..];
        let declared = usize::try_from(i32::from_be_bytes(*rest[8..].first_chunk().unwrap())).unwrap_or(0);
        let mut end = declared.saturating_add(12);
        if !(26..=rest.len()).contains(&end) {
            end = rest.len();
            rest[8..12].copy_from_slice(&u32::try_from(end - 12).unwrap().to_be_bytes());
        }
        match rest[16] {
            2 if end > 21 => {
                let crc = crc32c::crc32c(&rest[21..end]);
                rest[17..21].copy_from_slice(&crc.to_be_bytes());
            }
            magic @ 0..=1 => {
                // Without a key the value may as well reach the end.
                let key_at = if magic == 0 { 18 } else { 26 };
                if end >= key_at + 8 && rest[key_at..key_at + 4] == [0xff; 4] && rng.bool() {
                    let value = u32::try_from(end - key_at - 8).unwrap();
                    rest[key_at + 4..key_at + 8].copy_from_slice(&value.to_be_bytes());
                }
                let crc = crc32fast::hash(&rest[16..end]);
                rest[12..16].copy_from_slice(&crc.to_be_bytes());
            }
            _ => {}
        }
        at += end;
    }
}

/// Gives an lz4 frame the checksum of its header, and now and then another size of its blocks.
fn mend_codecs(rng: &mut Rng, bytes: &mut [u8]) {
    let magic = 0x184d_2204_u32.to_le_bytes();
    if let Some(at) = bytes.windows(4).position(|window| window == magic)
        && bytes.len() > at + 7
        && rng.u8(..4) > 0
    {
        if rng.u8(..8) == 0 {
            bytes[at + 5] = rng.u8(4..8) << 4;
        }
        let checksum = twox_hash::XxHash32::oneshot(0, &bytes[at + 4..at + 6]) >> 8;
        bytes[at + 6] = checksum as u8;
    }
}

/// Now and then makes the count of a v2 batch and its last offset fit each other.
fn mend_count(rng: &mut Rng, bytes: &mut [u8]) {
    if bytes.len() >= V2_HEADER_BYTES && bytes[16] == 2 && rng.bool() {
        let count = i32::from_be_bytes(*bytes[57..].first_chunk().unwrap());
        bytes[23..27].copy_from_slice(&count.wrapping_sub(1).to_be_bytes());
    }
}

/// Every record of every batch, checksums aside: what is behind them must hold by itself. And what an old client gets.
fn batches(input: &[u8]) {
    for batch in Batches::new(input).flatten() {
        let _ = batch.check_crc();
        if batch.magic == 2 {
            let mut head = batch.header().to_v2_bytes();
            // The high byte of the attributes is not kept.
            head[21] = batch.bytes()[21];
            assert_eq!(head, batch.bytes()[..V2_HEADER_BYTES]);
        }
        records(&batch);
        if batch.is_control() {
            let _ = EndTransactionMarker::of_batch(&batch);
        }
    }
    for magic in [0, 1] {
        let read = |position: usize, buffer: &mut [u8]| {
            let bytes = input.get(position..position + buffer.len());
            buffer.copy_from_slice(bytes.ok_or(std::io::ErrorKind::UnexpectedEof)?);
            Ok(())
        };
        let Ok(mut conversion) = DownConversion::new(read, input.len(), magic, Offset(0)) else {
            continue;
        };
        let mut length = 0;
        while let Some(chunk) = conversion.next_chunk().unwrap() {
            assert!(!chunk.is_empty());
            length += chunk.len();
        }
        assert_eq!(length, conversion.length());
    }
}

fn records(batch: &Batch<'_>) {
    let Ok(mut records) = batch.records(Some(1 << 20)) else {
        return;
    };
    while let Ok(Some(record)) = records.next() {
        assert_eq!(record.headers.count(), record.headers.len());
    }
}

/// Validates as for a producer. What passes is one batch with its checksum, and has the offsets that were next.
fn produce(input: &[u8]) {
    let bytes = Bytes::copy_from_slice(input);
    let _ = check_produced(9, Some(&bytes));
    let rules = [
        Rules::default(),
        Rules {
            codec_target: Some(Codec::Snappy),
            timestamp_type: TimestampType::LogAppendTime,
            ..Rules::default()
        },
    ];
    for rules in rules {
        // As the broker does: what takes long is gone through before the log is locked.
        let looked_at = look_at(&bytes, 1_000, rules.clone(), Origin::Client);
        let validated = validate_and_assign(
            &bytes,
            Offset(5),
            LeaderEpoch(1),
            1_000,
            &rules,
            Origin::Client,
            looked_at.as_ref(),
        );
        let Ok(validated) = validated else {
            continue;
        };
        let stored = [&validated.head[..], &validated.rest].concat();
        let batch = Batch::parse(&stored).unwrap().unwrap();
        assert_eq!(batch.bytes().len(), stored.len(), "more than a batch is stored");
        assert_eq!(batch.check_crc(), Ok(()));
        assert_eq!(
            batch.base_offset,
            Offset(5),
            "the first offset is not the next one"
        );
        assert_eq!(
            batch.last_offset(),
            Offset(5).plus(i64::from(batch.record_count) - 1)
        );
        assert_eq!(batch.last_offset(), validated.last_offset);
    }
}
