//! The three ways through validation (in place, recompressed, up-converted), and bytes that nobody should send.

use proptest::prelude::*;

use super::*;
use crate::base::ids::{ProducerEpoch, ProducerId};
use crate::records::batch::{Batch, Batches};
use crate::records::build::{BatchBuilder, BatchOptions, SetBuilder, SetOptions, seal};
use crate::records::control::EndTransactionMarker;

pub(super) const NOW: i64 = 1_700_000_000_000;
pub(super) const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
const OLD_CODECS: [Codec; 4] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4];

type Row = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>, usize);

pub(super) fn options(codec: Codec) -> BatchOptions {
    BatchOptions {
        codec,
        ..BatchOptions::default()
    }
}

/// A batch of three records: with key and headers, with null value, with null key if `keys` is false.
pub(super) fn batch_with(options: BatchOptions, keys: bool) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    builder
        .append(
            NOW - 5,
            Some(b"a"),
            Some(b"one"),
            &[(b"h", Some(b"x")), (b"h", None)],
        )
        .unwrap();
    builder.append(NOW, Some(b"b"), None, &[]).unwrap();
    builder
        .append(NOW - 9, keys.then_some(&b"c"[..]), Some(&[b'z'; 500]), &[])
        .unwrap();
    builder.build().unwrap().1.to_vec()
}

pub(super) fn batch(codec: Codec) -> Vec<u8> {
    batch_with(options(codec), true)
}

/// Changes the header and makes the checksum fit again.
pub(super) fn changed(mut bytes: Vec<u8>, change: impl FnOnce(&mut BatchHeader)) -> Vec<u8> {
    let mut header = BatchHeader::parse(&bytes).unwrap().unwrap();
    change(&mut header);
    seal(&mut header, &mut bytes);
    bytes
}

pub(super) fn set(magic: u8, codec: Codec) -> Vec<u8> {
    let mut set = SetBuilder::new(SetOptions {
        magic,
        codec,
        ..SetOptions::default()
    });
    for index in 0..3 {
        set.append(Offset(index), NOW + index, Some(b"k"), Some(&[b'v'; 100]))
            .unwrap();
    }
    set.build().unwrap()
}

pub(super) fn validate(bytes: &[u8], rules: &Rules, origin: Origin) -> Result<Validated, ValidationError> {
    let bytes = Bytes::copy_from_slice(bytes);
    let validated = |looked_at: Option<&LookedAt>| {
        validate_and_assign(
            &bytes,
            Offset(1000),
            LeaderEpoch(7),
            NOW,
            rules,
            origin,
            looked_at,
        )
    };
    let (at_once, before) = (validated(None), look_at(&bytes, NOW, rules.clone(), origin));
    assert_eq!(
        format!("{at_once:?}"),
        format!("{:?}", validated(before.as_ref())),
        "looked at before"
    );
    at_once
}

fn joined(validated: &Validated) -> Vec<u8> {
    let bytes = [&validated.head[..], &validated.rest].concat();
    let batch = Batch::parse(&bytes).unwrap().unwrap();
    assert_eq!(*batch.header(), validated.header);
    assert_eq!(batch.bytes().len(), validated.size_in_bytes());
    assert_eq!(batch.check_crc(), Ok(()));
    assert_eq!(batch.base_offset, validated.first_offset);
    assert_eq!(batch.last_offset(), validated.last_offset);
    assert_eq!(batch.max_timestamp, validated.max_timestamp);
    assert_eq!(batch.partition_leader_epoch, LeaderEpoch(7));
    bytes
}

fn rows(bytes: &[u8]) -> Vec<Row> {
    let mut rows = Vec::new();
    for batch in Batches::new(bytes) {
        let mut records = batch.unwrap().records(None).unwrap();
        while let Some(record) = records.next().unwrap() {
            rows.push((
                record.offset.get(),
                record.timestamp,
                record.key.map(<[u8]>::to_vec),
                record.value.map(<[u8]>::to_vec),
                record.headers.len(),
            ));
        }
    }
    rows
}

fn moved(bytes: &[u8]) -> Vec<Row> {
    let mut rows = rows(bytes);
    for (index, row) in rows.iter_mut().enumerate() {
        row.0 = 1000 + index as i64;
    }
    rows
}

pub(super) fn code(result: Result<Validated, ValidationError>) -> ErrorCode {
    result.err().map_or(ErrorCode::None, |error| error.code)
}

#[test]
fn a_batch_in_the_topics_format_keeps_its_bytes() {
    for codec in CODECS {
        let sent = Bytes::from(batch(codec));
        for target in [None, Some(codec)] {
            let rules = Rules {
                codec_target: target,
                ..Rules::default()
            };
            let validated = validate_and_assign(
                &sent,
                Offset(1000),
                LeaderEpoch(7),
                NOW,
                &rules,
                Origin::Client,
                None,
            )
            .unwrap();
            let stored = joined(&validated);
            assert_eq!(validated.converted_records, 0);
            assert_eq!(stored[..8], 1000_i64.to_be_bytes());
            assert_eq!(stored[12..16], 7_i32.to_be_bytes());
            assert_eq!(stored[8..12], sent[8..12]);
            assert_eq!(stored[16..], sent[16..], "{codec:?}");
            // Not even copied.
            assert_eq!(validated.rest.as_ptr(), sent[61..].as_ptr());
            assert_eq!((validated.max_timestamp, validated.log_append_time_ms), (NOW, -1));
            assert_eq!(validated.last_offset, Offset(1002));
        }
    }
}

#[test]
fn every_codec_is_recompressed_to_every_other_with_the_same_records() {
    for from in CODECS {
        for to in CODECS {
            let sent = batch_with(
                BatchOptions {
                    producer_id: ProducerId(9),
                    producer_epoch: ProducerEpoch(1),
                    base_sequence: 40,
                    is_transactional: true,
                    ..options(from)
                },
                true,
            );
            let rules = Rules {
                codec_target: Some(to),
                ..Rules::default()
            };
            let validated = validate(&sent, &rules, Origin::Client).unwrap();
            assert_eq!(validated.converted_records, if from == to { 0 } else { 3 });
            assert_eq!(rows(&joined(&validated)), moved(&sent), "{from:?} to {to:?}");
            let header = validated.header;
            assert_eq!(header.codec(), Some(to));
            assert_eq!(
                (header.producer_id, header.producer_epoch),
                (ProducerId(9), ProducerEpoch(1))
            );
            assert_eq!((header.base_sequence, header.is_transactional()), (40, true));
        }
    }
}

#[test]
fn old_formats_become_one_v2_batch() {
    for magic in [0, 1] {
        for codec in OLD_CODECS {
            let sent = set(magic, codec);
            let validated = validate(&sent, &Rules::default(), Origin::Client).unwrap();
            assert_eq!(rows(&joined(&validated)), moved(&sent), "v{magic} {codec:?}");
            assert_eq!(validated.header.codec(), Some(codec));
            assert_eq!(validated.converted_records, 3);
            let newest = if magic == 0 { -1 } else { NOW + 2 };
            assert_eq!(validated.max_timestamp, newest);
            assert_eq!(
                (validated.header.producer_id, validated.header.base_sequence),
                (ProducerId(-1), -1)
            );
        }
    }
}

#[test]
fn append_time_is_set_in_place_and_on_rebuilding() {
    for (target, converted) in [(None, 0), (Some(Codec::Gzip), 3)] {
        let rules = Rules {
            timestamp_type: TimestampType::LogAppendTime,
            codec_target: target,
            ..Rules::default()
        };
        let validated = validate(&batch(Codec::Lz4), &rules, Origin::Client).unwrap();
        let stored = joined(&validated);
        assert_eq!(validated.converted_records, converted);
        assert_eq!(
            (validated.max_timestamp, validated.log_append_time_ms),
            (NOW, NOW)
        );
        assert_eq!(validated.header.timestamp_type(), TimestampType::LogAppendTime);
        assert!(rows(&stored).iter().all(|row| row.1 == NOW));
        // The records' own timestamps are still in there.
        assert_eq!(validated.header.base_timestamp, NOW - 5);
    }
}

#[test]
fn a_maximum_timestamp_that_lies_is_corrected() {
    for codec in CODECS {
        for lie in [-1, -2, 0, NOW + 1, i64::MAX, i64::MIN] {
            let sent = changed(batch(codec), |header| header.max_timestamp = lie);
            let validated = validate(&sent, &Rules::default(), Origin::Client).unwrap();
            assert_eq!(validated.max_timestamp, NOW);
            assert_eq!(rows(&joined(&validated)), moved(&sent));
        }
    }
}

#[test]
fn a_type_bit_of_a_create_time_topic_is_cleared_if_the_timestamp_is_in_range() {
    let sent = changed(batch(Codec::None), |header| header.attributes |= 0x08);
    let validated = validate(&sent, &Rules::default(), Origin::Client).unwrap();
    joined(&validated);
    assert_eq!(validated.header.timestamp_type(), TimestampType::CreateTime);
}

#[test]
fn offsets_out_of_order_are_put_in_order_where_they_are_not_compressed() {
    for codec in CODECS {
        let mut builder = BatchBuilder::new(options(codec));
        for offset in [0, 2, 7] {
            builder
                .append_at(
                    Offset(offset),
                    NOW,
                    Some(b"k"),
                    Some(&offset.to_be_bytes()),
                    Default::default(),
                )
                .unwrap();
        }
        let sent = changed(builder.build().unwrap().1.to_vec(), |header| {
            header.last_offset_delta = 2
        });
        let answer = validate(&sent, &Rules::default(), Origin::Client);
        if codec != Codec::None {
            assert_eq!(answer.unwrap_err().code, ErrorCode::InvalidRecord, "{codec:?}");
            continue;
        }
        let validated = answer.unwrap();
        assert_eq!(validated.converted_records, 3);
        assert_eq!(rows(&joined(&validated)), moved(&sent), "{codec:?}");
    }
}

#[test]
fn a_delete_horizon_of_a_client_is_stored_as_kafka_stores_it() {
    let sent = changed(batch(Codec::None), |header| header.attributes |= 0x40);
    let validated = validate(&sent, &Rules::default(), Origin::Client).unwrap();
    assert!(validated.header.has_delete_horizon());
}

#[test]
fn wrapper_offsets_of_v1_are_zero_or_the_last_inner_one() {
    let base = |offset: i64| {
        let mut bytes = set(1, Codec::Gzip);
        bytes[..8].copy_from_slice(&offset.to_be_bytes());
        bytes
    };
    assert_eq!(rows(&base(0))[0].0, 0);
    assert_eq!(rows(&base(102))[0].0, 100);
    // Offsets do not matter when they are assigned anew, but a wrapper below its last message is malformed.
    assert_eq!(
        code(validate(&base(1), &Rules::default(), Origin::Client)),
        ErrorCode::InvalidRecord
    );
    assert_eq!(
        code(validate(&base(0), &Rules::default(), Origin::Client)),
        ErrorCode::None
    );
}

#[test]
fn markers_of_a_coordinator_stay_uncompressed_control_batches() {
    let marker = EndTransactionMarker {
        commit: false,
        coordinator_epoch: 3,
    };
    let (_, bytes) = marker.to_batch(ProducerId(4), ProducerEpoch(2), NOW).unwrap();
    let rules = Rules {
        codec_target: Some(Codec::Zstd),
        compacted: true,
        ..Rules::default()
    };
    let validated = validate(&bytes, &rules, Origin::Coordinator).unwrap();
    let stored = joined(&validated);
    let stored = Batch::parse(&stored).unwrap().unwrap();
    assert!(stored.is_control() && !stored.is_compressed());
    assert_eq!(EndTransactionMarker::of_batch(&stored), Ok(Some(marker)));
    assert_eq!(
        code(validate(&bytes, &rules, Origin::Client)),
        ErrorCode::InvalidRecord
    );
}

#[test]
fn a_bomb_is_refused_without_being_held() {
    let zeros = vec![0; 8 << 20];
    for codec in [Codec::Gzip, Codec::Zstd] {
        let mut builder = BatchBuilder::new(options(codec));
        for _ in 0..18 {
            builder.append(NOW, None, Some(&zeros), &[]).unwrap();
        }
        let sent = builder.build().unwrap().1;
        assert!(sent.len() < 1 << 20);
        assert_eq!(
            code(validate(&sent, &Rules::default(), Origin::Client)),
            ErrorCode::MessageTooLarge
        );
    }
}

#[test]
fn long_records_of_compressed_batches_are_walked_in_pieces() {
    let long = vec![7; 1 << 20];
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut builder = BatchBuilder::new(options(codec));
        for _ in 0..3 {
            builder
                .append(
                    NOW,
                    Some(&long),
                    Some(&long),
                    &[(&long, None), (b"", Some(&long))],
                )
                .unwrap();
        }
        let sent = builder.build().unwrap().1;
        let validated = validate(&sent, &Rules::default(), Origin::Client).unwrap();
        assert_eq!(rows(&joined(&validated)), moved(&sent));
    }
}

fn field() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop::option::of(prop::collection::vec(any::<u8>(), 0..40))
}

proptest! {
    #[test]
    fn records_round_trip_through_builder_and_validation(
        codec in prop::sample::select(&CODECS[..]),
        target in prop::option::of(prop::sample::select(&CODECS[..])),
        records in prop::collection::vec((any::<i32>(), field(), field(), 0_usize..4), 1..30),
    ) {
        let mut builder = BatchBuilder::new(options(codec));
        for (time, key, value, headers) in &records {
            let headers = vec![(&b"h"[..], value.as_deref()); *headers];
            builder.append(NOW + i64::from(*time), key.as_deref(), value.as_deref(), &headers).unwrap();
        }
        let (_, sent) = builder.build().unwrap();
        let rules = Rules { codec_target: target, ..Rules::default() };
        let validated = validate(&sent, &rules, Origin::Client).unwrap();
        let expected: Vec<Row> = records
            .into_iter()
            .enumerate()
            .map(|(index, (time, key, value, headers))| (1000 + index as i64, NOW + i64::from(time), key, value, headers))
            .collect();
        prop_assert_eq!(rows(&joined(&validated)), expected);
    }

    #[test]
    fn mutated_records_never_panic_and_what_passes_can_be_read(
        magic in 0_u8..3,
        codec in prop::sample::select(&OLD_CODECS[..]),
        target in prop::option::of(prop::sample::select(&CODECS[..])),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        origin in prop::sample::select(&[Origin::Client, Origin::Coordinator][..]),
    ) {
        let mut bytes = if magic == 2 { batch(codec) } else { set(magic, codec) };
        let front = if magic == 2 { 21 } else { 17 };
        for (at, byte) in flips {
            let at = front + at.index(bytes.len() - front);
            bytes[at] = byte;
        }
        // Behind a checksum that fits, or the mutation would be seen by it alone.
        let size = Batch::parse(&bytes).unwrap().unwrap().bytes().len();
        if magic == 2 {
            let crc = crc32c::crc32c(&bytes[21..size]);
            bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        } else {
            let crc = crc32fast::hash(&bytes[16..size]);
            bytes[12..16].copy_from_slice(&crc.to_be_bytes());
        }
        let rules = Rules { codec_target: target, ..Rules::default() };
        if let Ok(validated) = validate(&bytes, &rules, origin)
            && origin == Origin::Client
        {
            let count = validated.header.record_count as usize;
            prop_assert_eq!(rows(&joined(&validated)).len(), count);
        }
    }
}

#[test]
fn what_was_seen_before_holds_for_the_same_records_rules_and_time_only() {
    let bytes = Bytes::from(batch(Codec::Zstd));
    let other = Bytes::copy_from_slice(&bytes);
    let rules = Rules::default();
    let assignment = |now_ms, rules| Assignment {
        next_offset: Offset(0),
        leader_epoch: LeaderEpoch(0),
        now_ms,
        rules,
    };
    assert!(take_long(&bytes));
    let seen = look_at(&bytes, NOW, rules.clone(), Origin::Client).unwrap();
    assert!(seen.of(&bytes, &assignment(NOW, &rules)).is_some());
    assert!(seen.of(&other, &assignment(NOW, &rules)).is_none());
    assert!(
        seen.of(&bytes.slice(..bytes.len() - 1), &assignment(NOW, &rules))
            .is_none()
    );
    assert!(seen.of(&bytes, &assignment(NOW + 1, &rules)).is_none());
    let compacted = Rules {
        compacted: true,
        ..Rules::default()
    };
    assert!(seen.of(&bytes, &assignment(NOW, &compacted)).is_none());
    // An uncompressed one is quicker gone through where it is.
    assert!(!take_long(&batch(Codec::None)));
    assert!(look_at(&Bytes::from(batch(Codec::None)), NOW, rules, Origin::Client).is_none());
}

#[test]
fn what_is_too_large_or_damaged_is_not_decompressed() {
    let sound = batch(Codec::Gzip);
    let before =
        |bytes: &[u8], rules: Rules| look_at(&Bytes::copy_from_slice(bytes), NOW, rules, Origin::Client);
    assert!(before(&sound, Rules::default()).is_some());
    let small = Rules {
        max_message_bytes: sound.len() as u32 - 1,
        ..Rules::default()
    };
    assert!(before(&sound, small).is_none());
    let mut damaged = sound.clone();
    *damaged.last_mut().unwrap() ^= 1;
    assert!(before(&damaged, Rules::default()).is_none());
}
