//! Down-conversion of golden partitions and of made ones, against the records that went in.

use super::super::build::{BatchBuilder, BatchOptions};
use super::super::golden_test::{partitions, segments};
use super::*;
use crate::base::ids::{ProducerEpoch, ProducerId};
use crate::records::control::EndTransactionMarker;

type Row = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>);

fn reader(bytes: &[u8]) -> impl FnMut(usize, &mut [u8]) -> io::Result<()> {
    move |position, buffer| {
        buffer.copy_from_slice(
            bytes
                .get(position..position + buffer.len())
                .ok_or(io::ErrorKind::UnexpectedEof)?,
        );
        Ok(())
    }
}

fn convert(stored: &[u8], magic: u8, from: i64) -> Vec<u8> {
    let mut conversion = DownConversion::new(reader(stored), stored.len(), magic, Offset(from)).unwrap();
    let mut all = Vec::new();
    while let Some(chunk) = conversion.next_chunk().unwrap() {
        assert!(!chunk.is_empty());
        all.extend_from_slice(&chunk);
    }
    assert_eq!(all.len(), conversion.length());
    all
}

fn rows(bytes: &[u8], with_control: bool) -> Vec<Row> {
    let mut rows = Vec::new();
    for batch in Batches::new(bytes) {
        let batch = batch.unwrap();
        if batch.is_control() && !with_control {
            continue;
        }
        batch.check_crc().unwrap();
        let mut records = batch.records(None).unwrap();
        while let Some(record) = records.next().unwrap() {
            rows.push((
                record.offset.get(),
                record.timestamp,
                record.key.map(<[u8]>::to_vec),
                record.value.map(<[u8]>::to_vec),
            ));
        }
    }
    rows
}

fn batch(base: i64, codec: Codec, values: &[&[u8]]) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset: Offset(base),
        codec,
        ..BatchOptions::default()
    });
    for (index, value) in values.iter().enumerate() {
        builder
            .append(1000 + index as i64, Some(b"k"), Some(value), &[(b"h", None)])
            .unwrap();
    }
    builder.build().unwrap().1
}

#[test]
fn golden_partitions_convert_to_the_same_records() {
    let mut converted = 0;
    for partition in partitions() {
        for (log, _) in segments(&partition) {
            let zstd = Batches::new(&log).any(|batch| batch.unwrap().codec() == Some(Codec::Zstd));
            if zstd || log.is_empty() {
                continue;
            }
            for magic in [0, 1] {
                let mut expected = rows(&log, false);
                if magic == 0 {
                    expected.iter_mut().for_each(|row| row.1 = -1);
                }
                let bytes = convert(&log, magic, 0);
                assert!(bytes.len() >= log.len() || expected.is_empty());
                let found = rows(&bytes, true);
                // More bytes than promised are cut; a client asks again behind the last whole one.
                assert!(!found.is_empty() || expected.is_empty());
                assert_eq!(
                    found,
                    expected[..found.len()],
                    "{} to {magic}",
                    partition.display()
                );
                converted += found.len();
                for batch in Batches::new(&bytes) {
                    assert!(batch.unwrap().magic <= magic);
                }
            }
        }
    }
    assert!(converted > 1000, "{converted} records");
}

#[test]
fn the_first_batch_comes_whole_even_if_it_grows() {
    let values: Vec<&[u8]> = vec![b""; 1000];
    let stored = batch(0, Codec::None, &values);
    let bytes = convert(&stored, 1, 0);
    assert!(bytes.len() > stored.len());
    assert_eq!(rows(&bytes, true), rows(&stored, true));
}

#[test]
fn what_is_shorter_than_promised_ends_in_a_batch_that_claims_more() {
    // Headers are dropped, so the second batch shrinks.
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset: Offset(1),
        ..BatchOptions::default()
    });
    builder
        .append(0, None, Some(b"b"), &[(b"h", Some(&[b'x'; 2000]))])
        .unwrap();
    let stored = [batch(0, Codec::None, &[b"a"]), builder.build().unwrap().1].concat();
    let bytes = convert(&stored, 0, 0);
    assert_eq!(bytes.len(), stored.len());
    let mut batches = Batches::new(&bytes);
    while batches.next().is_some() {}
    let filler = &bytes[batches.position()..];
    assert!(filler.len() > LEAST_FILLER_BYTES);
    assert_eq!(filler[..8], (-1_i64).to_be_bytes());
    let claimed = i32::from_be_bytes(filler[8..12].try_into().unwrap()) as usize;
    assert!(claimed > filler.len());
    assert_eq!(rows(&bytes, true).len(), 2);
}

#[test]
fn what_was_let_go_is_converted_again_to_the_same_bytes() {
    let marker = EndTransactionMarker {
        commit: true,
        coordinator_epoch: 1,
    };
    let (_, control) = marker.to_batch(ProducerId(1), ProducerEpoch(0), 5).unwrap();
    let empty: Vec<&[u8]> = vec![b""; 1000];
    let grows = batch(1, Codec::None, &empty);
    let packed = batch(1, Codec::Gzip, &empty);
    let zstd = batch(1001, Codec::Zstd, &[b"z"]);
    for stored in [
        grows.to_vec(),
        [&control[..], &grows, &zstd].concat(),
        [&packed[..], &batch(1001, Codec::None, &empty)].concat(),
        control.to_vec(),
    ] {
        let kept = convert(&stored, 1, 5);
        let mut conversion = DownConversion::new(reader(&stored), stored.len(), 1, Offset(5)).unwrap();
        let first = conversion.held();
        assert_eq!(first > 0, stored != control[..]);
        conversion.let_go();
        assert_eq!((conversion.held(), conversion.length()), (0, kept.len()));
        let mut again = Vec::new();
        while let Some(chunk) = conversion.next_chunk().unwrap() {
            again.extend_from_slice(&chunk);
        }
        assert!(again.len() >= first);
        assert_eq!(again, kept);
    }
}

#[test]
fn work_counts_records_without_bytes_too() {
    let work = |codec: Codec, values: &[&[u8]]| {
        let stored = batch(0, codec, values);
        let conversion = DownConversion::new(reader(&stored), stored.len(), 1, Offset(0)).unwrap();
        conversion.work() - stored.len()
    };
    let empty: Vec<&[u8]> = vec![b""; 1000];
    assert_eq!(work(Codec::Gzip, &empty), 1000 * (RECORD_WORK + 1));
    assert_eq!(work(Codec::None, &[&[b'v'; 5000]]), RECORD_WORK + 1 + 5000);
}

#[test]
fn records_below_the_fetch_are_left_out_of_plain_batches_only() {
    for (codec, first) in [(Codec::None, 12), (Codec::Lz4, 10)] {
        let stored = batch(10, codec, &[b"a", b"b", b"c", b"d"]);
        assert_eq!(rows(&convert(&stored, 1, 12), true)[0].0, first, "{codec:?}");
    }
}

#[test]
fn compressed_v1_sets_have_relative_offsets_and_the_last_offset_outside() {
    let stored = batch(100, Codec::Snappy, &[b"a", b"b", b"c"]);
    let bytes = convert(&stored, 1, 0);
    let wrapper = Batch::parse(&bytes).unwrap().unwrap();
    assert_eq!((wrapper.base_offset, wrapper.max_timestamp), (Offset(102), 1002));
    assert_eq!(rows(&bytes, true)[0].0, 100);
}

#[test]
fn control_batches_go_and_nothing_left_is_a_least_filler() {
    let marker = EndTransactionMarker {
        commit: true,
        coordinator_epoch: 1,
    };
    let (_, control) = marker.to_batch(ProducerId(1), ProducerEpoch(0), 5).unwrap();
    let bytes = convert(&control, 1, 0);
    assert_eq!(bytes.len(), LEAST_FILLER_BYTES);
    assert!(convert(&[], 1, 0).is_empty());
    assert!(convert(&control[..70], 1, 0).is_empty());
    let stored = [control, batch(1, Codec::None, &[b"a"])].concat();
    assert_eq!(rows(&convert(&stored, 0, 0), true).len(), 1);
}

#[test]
fn zstd_first_is_an_error_and_later_the_end() {
    let zstd = batch(1, Codec::Zstd, &[b"z"]);
    let refused = DownConversion::new(reader(&zstd), zstd.len(), 1, Offset(0)).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::UnsupportedCompressionType);
    let stored = [
        batch(0, Codec::None, &[b"a"]),
        zstd,
        batch(2, Codec::None, &[b"b"]),
    ]
    .concat();
    assert_eq!(rows(&convert(&stored, 1, 0), true).len(), 1);
}

#[test]
fn long_logs_are_converted_in_pieces() {
    let value = [b'v'; 1000];
    let stored: Vec<u8> = (0..1000)
        .flat_map(|base| batch(base, Codec::None, &[&value]).to_vec())
        .collect();
    let mut most = 0;
    let mut read = reader(&stored);
    let counted = |position: usize, buffer: &mut [u8]| {
        most = most.max(buffer.len());
        read(position, buffer)
    };
    let mut conversion = DownConversion::new(counted, stored.len(), 1, Offset(0)).unwrap();
    let mut longest = 0;
    while let Some(chunk) = conversion.next_chunk().unwrap() {
        longest = longest.max(chunk.len());
    }
    assert!(longest <= READ_BYTES && most <= READ_BYTES, "{longest} {most}");
    assert_eq!(rows(&convert(&stored, 1, 0), true).len(), 1000);
    // One batch that is longer than a read.
    let long = batch(0, Codec::None, &[&[b'v'; 300_000]]);
    assert_eq!(rows(&convert(&long, 0, 0), true).len(), 1);
}

#[test]
fn a_chunk_ends_where_much_was_converted() {
    // Forty batches of a quarter of a mebibyte each, in few kilobytes.
    let value = vec![0; 256 * 1024];
    let stored: Vec<u8> = (0..40)
        .flat_map(|base| batch(base, Codec::Gzip, &[&value]).to_vec())
        .collect();
    assert!(stored.len() < READ_BYTES);
    let mut conversion = DownConversion::new(reader(&stored), stored.len(), 1, Offset(0)).unwrap();
    let mut most = 0;
    let mut records = 0;
    while let Some(chunk) = conversion.next_chunk().unwrap() {
        let whole = Batches::new(&chunk).map_while(Result::ok).count();
        most = most.max(whole);
        records += whole;
    }
    assert!(records >= 39, "{records}");
    assert_eq!(most, 4, "records of a mebibyte");
}
