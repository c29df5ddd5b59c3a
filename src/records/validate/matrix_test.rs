//! What is refused and with which error: the validation matrix as a table, and the tables beside it.

use super::produce::{Produced, check_produced};
use super::validate_test::{CODECS, NOW, batch, batch_with, changed, code, options, set, validate};
use super::*;
use crate::base::ids::{ProducerEpoch, ProducerId};
use crate::records::build::{BatchBuilder, SetBuilder, SetOptions, seal};
use crate::records::compression::Compressor;
use crate::records::legacy::write_message;
use crate::records::record::write_v2;

/// Name, bytes, rules, what a client gets, what a coordinator gets.
#[test]
fn the_validation_matrix() {
    use ErrorCode::*;
    let plain = || batch(Codec::None);
    let default = Rules::default;
    let compacted = || Rules {
        compacted: true,
        ..default()
    };
    let append_time = || Rules {
        timestamp_type: TimestampType::LogAppendTime,
        ..default()
    };
    let bounds = |before, after| Rules {
        before_max_ms: before,
        after_max_ms: after,
        ..default()
    };
    let gzip = || Rules {
        codec_target: Some(Codec::Gzip),
        ..default()
    };
    let header = |change: fn(&mut BatchHeader)| changed(plain(), change);
    let packed = |change: fn(&mut BatchHeader)| changed(batch(Codec::Zstd), change);
    let no_key = |codec| batch_with(options(codec), false);
    let mut torn = plain();
    torn.truncate(torn.len() - 1);
    let mut bad_crc = plain();
    bad_crc[70] ^= 1;
    let mut magic_3 = plain();
    magic_3[16] = 3;
    let mut high_bit = plain();
    high_bit[21] = 1;
    let high_bit_crc = crc32c::crc32c(&high_bit[21..]);
    high_bit[17..21].copy_from_slice(&high_bit_crc.to_be_bytes());
    let small = || Rules {
        max_message_bytes: 300,
        ..default()
    };
    let two = |left: Vec<u8>, right: Vec<u8>| [left, right].concat();

    let table: Vec<(&str, Vec<u8>, Rules, ErrorCode, ErrorCode)> = vec![
        ("good", plain(), default(), None, None),
        ("nothing", vec![], default(), InvalidRecord, InvalidRecord),
        ("only a torn batch", torn, default(), InvalidRecord, InvalidRecord),
        ("checksum", bad_crc, default(), CorruptMessage, CorruptMessage),
        (
            "unknown magic",
            magic_3,
            default(),
            CorruptMessage,
            CorruptMessage,
        ),
        ("too large", plain(), small(), MessageTooLarge, MessageTooLarge),
        (
            "too large only when decompressed",
            batch(Codec::Gzip),
            Rules {
                codec_target: Some(Codec::None),
                ..small()
            },
            MessageTooLarge,
            MessageTooLarge,
        ),
        (
            "base offset",
            header(|h| h.base_offset = Offset(1)),
            default(),
            InvalidRecord,
            None,
        ),
        (
            "two v2 batches",
            two(plain(), plain()),
            default(),
            InvalidRecord,
            InvalidRecord,
        ),
        (
            "two compressed sets",
            two(set(1, Codec::Gzip), set(1, Codec::Gzip)),
            default(),
            InvalidRecord,
            InvalidRecord,
        ),
        (
            "mixed old formats",
            two(set(0, Codec::None), set(1, Codec::None)),
            default(),
            InvalidRecord,
            InvalidRecord,
        ),
        (
            "a wrong timestamp before another format",
            two(set(1, Codec::None), set(0, Codec::None)),
            bounds(i64::MAX, 1),
            InvalidTimestamp,
            InvalidTimestamp,
        ),
        (
            "another format before a wrong timestamp",
            two(set(0, Codec::None), set(1, Codec::None)),
            bounds(i64::MAX, 1),
            InvalidRecord,
            InvalidRecord,
        ),
        (
            "mixed old and new",
            two(set(1, Codec::None), plain()),
            default(),
            InvalidRecord,
            InvalidRecord,
        ),
        (
            "negative last offset delta",
            header(|h| h.last_offset_delta = -1),
            default(),
            InvalidRecord,
            None,
        ),
        (
            "last offset delta i32::MAX",
            header(|h| h.last_offset_delta = i32::MAX),
            default(),
            InvalidRecord,
            None,
        ),
        (
            "last offset delta not count - 1",
            header(|h| h.last_offset_delta = 1),
            default(),
            InvalidRecord,
            None,
        ),
        (
            "count -1",
            header(|h| h.record_count = -1),
            default(),
            InvalidRecord,
            InvalidRecord,
        ),
        (
            "count 0",
            header(|h| h.record_count = 0),
            default(),
            InvalidRecord,
            None,
        ),
        (
            "count i32::MAX",
            header(|h| {
                h.record_count = i32::MAX;
                h.last_offset_delta = i32::MAX - 1;
            }),
            default(),
            InvalidRecord,
            InvalidRecord,
        ),
        (
            "count one more",
            header(|h| {
                h.record_count = 4;
                h.last_offset_delta = 3;
            }),
            default(),
            InvalidRecord,
            InvalidRecord,
        ),
        (
            "count one less",
            header(|h| {
                h.record_count = 2;
                h.last_offset_delta = 1;
            }),
            default(),
            InvalidRecord,
            InvalidRecord,
        ),
        (
            "count one more, compressed",
            packed(|h| {
                h.record_count = 4;
                h.last_offset_delta = 3;
            }),
            default(),
            InvalidRecord,
            InvalidRecord,
        ),
        (
            "count one less, compressed",
            packed(|h| {
                h.record_count = 2;
                h.last_offset_delta = 1;
            }),
            default(),
            InvalidRecord,
            InvalidRecord,
        ),
        (
            "count one less, recompressed",
            packed(|h| {
                h.record_count = 2;
                h.last_offset_delta = 1;
            }),
            gzip(),
            InvalidRecord,
            InvalidRecord,
        ),
        (
            "control bit",
            header(|h| h.attributes |= 0x20),
            default(),
            InvalidRecord,
            None,
        ),
        (
            "producer id with sequence -1",
            header(|h| {
                h.producer_id = ProducerId(3);
                h.producer_epoch = ProducerEpoch(0);
            }),
            default(),
            InvalidRecord,
            None,
        ),
        (
            "producer id without epoch",
            header(|h| {
                h.producer_id = ProducerId(3);
                h.base_sequence = 0;
            }),
            default(),
            InvalidRecord,
            None,
        ),
        (
            "transactional without producer id",
            header(|h| h.attributes |= 0x10),
            default(),
            InvalidRecord,
            None,
        ),
        (
            "reserved bit 7",
            header(|h| h.attributes |= 0x80),
            default(),
            InvalidRecord,
            None,
        ),
        ("reserved bit 8", high_bit, default(), InvalidRecord, None),
        (
            "codec 5",
            header(|h| h.attributes |= 5),
            default(),
            UnknownServerError,
            UnknownServerError,
        ),
        (
            "codec 7",
            header(|h| h.attributes |= 7),
            default(),
            UnknownServerError,
            UnknownServerError,
        ),
        (
            "not gzip at all",
            header(|h| h.attributes |= 1),
            default(),
            UnknownServerError,
            UnknownServerError,
        ),
        (
            "compacted, null key",
            no_key(Codec::None),
            compacted(),
            InvalidRecord,
            InvalidRecord,
        ),
        (
            "compacted, null key, compressed",
            no_key(Codec::Lz4),
            compacted(),
            InvalidRecord,
            InvalidRecord,
        ),
        (
            "compacted, null key, recompressed",
            no_key(Codec::Lz4),
            Rules {
                compacted: true,
                ..gzip()
            },
            InvalidRecord,
            InvalidRecord,
        ),
        ("compacted, keys", plain(), compacted(), None, None),
        (
            "too old",
            plain(),
            bounds(8, i64::MAX),
            InvalidTimestamp,
            InvalidTimestamp,
        ),
        ("old enough", plain(), bounds(9, 0), None, None),
        (
            "too far ahead",
            set(1, Codec::None),
            bounds(i64::MAX, 1),
            InvalidTimestamp,
            InvalidTimestamp,
        ),
        (
            "far ahead, compressed",
            set(1, Codec::Gzip),
            bounds(i64::MAX, 2),
            None,
            None,
        ),
        ("no timestamp", set(0, Codec::None), bounds(0, 0), None, None),
        (
            "append time type on an append time topic",
            header(|h| h.attributes |= 0x08),
            append_time(),
            InvalidTimestamp,
            InvalidTimestamp,
        ),
        (
            "append time type without a timestamp",
            header(|h| {
                h.attributes |= 0x08;
                h.max_timestamp = -1;
            }),
            default(),
            InvalidTimestamp,
            InvalidTimestamp,
        ),
        (
            "timestamps -2 by default bounds",
            header(|h| h.base_timestamp = -2),
            default(),
            None,
            None,
        ),
        (
            "timestamps of i64::MAX by default bounds",
            header(|h| h.base_timestamp = i64::MAX),
            default(),
            None,
            None,
        ),
    ];
    for (name, bytes, rules, client, coordinator) in table {
        let found = validate(&bytes, &rules, Origin::Client);
        assert_eq!(code(found.clone()), client, "{name}, client: {found:?}");
        let found = validate(&bytes, &rules, Origin::Coordinator);
        assert_eq!(code(found.clone()), coordinator, "{name}, coordinator: {found:?}");
    }
}

#[test]
fn every_bit_counts_for_the_checksum() {
    for codec in [Codec::None, Codec::Zstd] {
        let sent = batch(codec);
        // Base offset, size, leader epoch and magic are not summed.
        for bit in 17 * 8..sent.len() * 8 {
            let mut bytes = sent.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                code(validate(&bytes, &Rules::default(), Origin::Client)),
                ErrorCode::CorruptMessage,
                "bit {bit}"
            );
        }
    }
}

#[test]
fn inner_messages_of_old_sets_are_checked() {
    let inner = |magic, codec, bytes: Vec<u8>| {
        let mut wrapper = SetBuilder::new(SetOptions {
            magic,
            codec: Codec::None,
            ..SetOptions::default()
        });
        wrapper.append(Offset(0), NOW, None, None).unwrap();
        let mut compressor = Compressor::new(codec, &Levels::default(), magic, vec![]);
        compressor.write(&bytes).unwrap();
        let value = compressor.finish().unwrap();
        let mut out = Vec::new();
        write_message(
            &mut out,
            magic,
            0,
            NOW,
            TimestampType::CreateTime,
            codec,
            None,
            Some(&value),
        );
        out
    };
    let mut bad_crc = set(1, Codec::None);
    bad_crc[40] ^= 1;
    let mut old_bad_crc = set(0, Codec::None);
    old_bad_crc[40] ^= 1;
    let mut bad_size = set(1, Codec::None);
    bad_size[8..12].copy_from_slice(&13_i32.to_be_bytes());
    for (name, bytes, expected) in [
        (
            "good",
            inner(1, Codec::Gzip, set(1, Codec::None)),
            ErrorCode::None,
        ),
        (
            "checksum",
            inner(1, Codec::Gzip, bad_crc),
            ErrorCode::CorruptMessage,
        ),
        (
            "checksum, of another format",
            inner(1, Codec::Gzip, old_bad_crc.clone()),
            ErrorCode::InvalidRecord,
        ),
        (
            "checksum, of the set's format behind another one",
            inner(0, Codec::Gzip, [set(1, Codec::None), old_bad_crc].concat()),
            ErrorCode::CorruptMessage,
        ),
        ("size", inner(1, Codec::Gzip, bad_size), ErrorCode::CorruptMessage),
        (
            "compressed inside",
            inner(1, Codec::Gzip, set(1, Codec::Snappy)),
            ErrorCode::InvalidRecord,
        ),
        (
            "other format inside",
            inner(1, Codec::Gzip, set(0, Codec::None)),
            ErrorCode::InvalidRecord,
        ),
        (
            "v2 inside",
            inner(1, Codec::Gzip, batch(Codec::None)),
            ErrorCode::InvalidRecord,
        ),
        (
            "nothing inside",
            inner(1, Codec::Gzip, vec![]),
            ErrorCode::InvalidRecord,
        ),
        (
            "zstd",
            inner(1, Codec::Zstd, set(1, Codec::None)),
            ErrorCode::InvalidRecord,
        ),
    ] {
        let found = validate(&bytes, &Rules::default(), Origin::Client);
        assert_eq!(code(found.clone()), expected, "{name}: {found:?}");
    }
}

#[test]
fn malformed_records_are_refused_in_every_codec() {
    let mut good = Vec::new();
    write_v2(&mut good, 0, 0, Some(b"key"), Some(b"value"), Default::default());
    let variants: Vec<(&str, Vec<u8>)> = vec![
        ("length beyond the end", {
            let mut r = good.clone();
            r[0] += 2;
            r
        }),
        ("length too short", {
            let mut r = good.clone();
            r[0] -= 2;
            r
        }),
        ("negative length", {
            let mut r = good.clone();
            r[0] = 1;
            r
        }),
        ("key beyond the record", {
            let mut r = good.clone();
            r[4] = 100;
            r
        }),
        ("value beyond the record", {
            let mut r = good.clone();
            r[8] = 100;
            r
        }),
        ("header count beyond the record", {
            let mut r = good.clone();
            *r.last_mut().unwrap() = 100;
            r
        }),
        ("negative header count", {
            let mut r = good.clone();
            *r.last_mut().unwrap() = 1;
            r
        }),
        ("unterminated varint", vec![0x80; 20]),
        ("nothing", vec![]),
    ];
    for codec in CODECS {
        for (name, record) in &variants {
            let mut compressor = Compressor::new(codec, &Levels::default(), 2, vec![0; 61]);
            compressor.write(record).unwrap();
            let mut bytes = compressor.finish().unwrap();
            let mut header = BatchHeader::parse(&batch(codec)).unwrap().unwrap();
            header.size_in_bytes = bytes.len() as u32;
            header.record_count = 1;
            header.last_offset_delta = 0;
            seal(&mut header, &mut bytes);
            for target in [None, Some(Codec::Lz4), Some(Codec::None)] {
                let rules = Rules {
                    codec_target: target,
                    ..Rules::default()
                };
                let found = validate(&bytes, &rules, Origin::Client);
                assert_eq!(
                    code(found.clone()),
                    ErrorCode::InvalidRecord,
                    "{codec:?}, {name}: {found:?}"
                );
            }
        }
    }
}

#[test]
fn what_a_produce_request_may_hold_goes_by_its_version() {
    use ErrorCode::*;
    let plain = || batch(Codec::None);
    let transactional = |id| {
        changed(plain(), |h| {
            h.attributes |= 0x10;
            h.producer_id = ProducerId(id);
        })
    };
    for (name, version, records, expected) in [
        ("null", 2, Option::None, Err(InvalidRecord)),
        ("empty, old", 2, Some(vec![]), Ok(0)),
        ("empty", 3, Some(vec![]), Err(InvalidRecord)),
        ("old format, old", 2, Some(set(1, Codec::None)), Ok(3)),
        ("old format", 3, Some(set(1, Codec::None)), Err(InvalidRecord)),
        ("two, old", 2, Some([plain(), plain()].concat()), Ok(2)),
        ("two", 3, Some([plain(), plain()].concat()), Err(InvalidRecord)),
        (
            "zstd, old",
            6,
            Some(batch(Codec::Zstd)),
            Err(UnsupportedCompressionType),
        ),
        ("zstd", 7, Some(batch(Codec::Zstd)), Ok(1)),
        (
            "bad magic",
            7,
            Some({
                let mut b = plain();
                b[16] = 9;
                b
            }),
            Err(CorruptMessage),
        ),
        (
            "bad size",
            2,
            Some({
                let mut b = plain();
                b[8..12].copy_from_slice(&[0; 4]);
                b
            }),
            Err(CorruptMessage),
        ),
        (
            "torn second",
            7,
            Some([plain(), plain()[..30].to_vec()].concat()),
            Ok(1),
        ),
    ] {
        let found = check_produced(version, records.as_deref());
        assert_eq!(
            found.map(|found| found.batches).map_err(|error| error.code),
            expected,
            "{name}"
        );
    }
    let both = check_produced(2, Some(&[transactional(1), transactional(2)].concat())).unwrap();
    assert_eq!(
        both,
        Produced {
            batches: 2,
            transactional: Some((ProducerId(2), ProducerEpoch(-1))),
            mixed_producers: true
        }
    );
    assert!(
        !check_produced(2, Some(&[transactional(1), transactional(1)].concat()))
            .unwrap()
            .mixed_producers
    );
}

#[test]
fn record_errors_name_their_records_and_a_timestamp_weighs_most() {
    let mut builder = BatchBuilder::new(options(Codec::None));
    for (timestamp, key) in [(NOW, None), (NOW, Some(&b"k"[..])), (0, Some(b"k")), (NOW, None)] {
        builder.append(timestamp, key, None, &[]).unwrap();
    }
    let sent = builder.build().unwrap().1;
    let rules = Rules {
        compacted: true,
        before_max_ms: 1000,
        ..Rules::default()
    };
    for target in [None, Some(Codec::Gzip)] {
        let error = validate(
            &sent,
            &Rules {
                codec_target: target,
                ..rules.clone()
            },
            Origin::Client,
        )
        .unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidTimestamp);
        let indexes: Vec<i32> = error
            .record_errors
            .iter()
            .map(|error| error.batch_index)
            .collect();
        assert_eq!(indexes, [0, 2, 3]);
        assert!(error.client_message().is_some());
        assert!(error.record_errors.iter().all(|error| error.message.is_some()));
    }
}

#[test]
fn many_wrong_records_are_all_named_but_not_all_described() {
    let mut builder = BatchBuilder::new(options(Codec::None));
    for _ in 0..1000 {
        builder.append(NOW, None, None, &[]).unwrap();
    }
    let sent = builder.build().unwrap().1;
    let rules = Rules {
        compacted: true,
        ..Rules::default()
    };
    let error = validate(&sent, &rules, Origin::Client).unwrap_err();
    assert_eq!(
        (error.code, error.record_errors.len()),
        (ErrorCode::InvalidRecord, 1000)
    );
    assert_eq!(
        error
            .record_errors
            .iter()
            .filter(|error| error.message.is_some())
            .count(),
        100
    );
}
