//! The decoders of bytes from outside, each with the inputs it starts from.

use std::path::{Path, PathBuf};

use barnabas::base::format::{Codec, TimestampType};
use barnabas::base::ids::{LeaderEpoch, Offset};
use barnabas::records::batch::{Batch, Batches};
use barnabas::records::build::{BatchBuilder, BatchOptions};
use barnabas::records::validate::produce::check_produced;
use barnabas::records::validate::{Origin, Rules, validate_and_assign};
use barnabas::storage::{checkpoint, leader_epochs, meta_properties, partition_metadata, producer_state};
use barnabas::wire::api_key::ApiKey;
use barnabas::wire::header::RequestHeader;
use barnabas::wire::{Message, Reader, messages, shape};
use bytes::Bytes;

use super::Target;

/// A codec's own buffers, beyond what its input allows: a gzip window, an lz4 block, snappy's chunk.
const CODEC_BYTES: usize = 1 << 20;

fn golden(what: impl Fn(&Path) -> bool) -> Vec<Vec<u8>> {
    fn visit(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, found)
            } else {
                found.push(path)
            }
        }
    }
    let mut paths = Vec::new();
    visit(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden"),
        &mut paths,
    );
    paths.sort();
    let contents: Vec<Vec<u8>> = paths
        .into_iter()
        .filter(|path| what(path))
        .map(|path| std::fs::read(path).unwrap())
        .filter(|bytes| !bytes.is_empty() && bytes.len() < 64 * 1024)
        .collect();
    assert!(!contents.is_empty());
    contents
}

fn named(name: &'static str) -> Vec<Vec<u8>> {
    golden(|path| path.file_name().is_some_and(|file| file == name))
}

fn with_extension(extension: &'static str) -> Vec<Vec<u8>> {
    golden(|path| path.extension().is_some_and(|found| found == extension))
}

/// A valid frame of each request and version, twice: full, and with random contents.
fn frames() -> Vec<Vec<u8>> {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut frames = Vec::new();
    for key in ApiKey::all() {
        for version in key.stable_versions() {
            let mut numbers = || rng.u64(..);
            for contents in [
                shape::generate::Contents::Full,
                shape::generate::Contents::Random(&mut numbers),
            ] {
                let Some(body) = shape::generate::body(key, version, true, contents) else {
                    continue;
                };
                let mut writer = barnabas::wire::Writer::with_capacity(64);
                RequestHeader {
                    api_key: key,
                    api_version: version,
                    correlation_id: 1,
                    client_id: None,
                }
                .encode(&mut writer);
                let mut frame = writer.freeze().to_vec();
                frame.extend_from_slice(&body);
                frames.push(frame);
            }
        }
    }
    frames
}

/// What the dispatch does with a frame: nothing is decoded that the shape refused.
fn frame(input: &[u8]) {
    let Ok((header, body)) = RequestHeader::decode(Bytes::copy_from_slice(input)) else {
        return;
    };
    let Ok(footprint) = shape::check(header.api_key, header.api_version, true, &body) else {
        return;
    };
    if footprint.decoded_bytes > 16 * input.len() {
        // Charged to the budget, or refused: not decoded here, so that the allowance holds.
        return;
    }
    macro_rules! decode {
        ($key:ident, $module:ident, $request:ident, $response:ident) => {
            if header.api_key == ApiKey::$key {
                let _ =
                    messages::$module::$request::decode(&mut Reader::new(body.clone()), header.api_version);
            }
        };
    }
    barnabas::for_each_api!(decode);
}

fn logs() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for log in with_extension("log") {
        for batch in Batches::new(&log).flatten().take(4) {
            seeds.push(batch.bytes().to_vec());
        }
    }
    seeds
}

fn of_magic(magic: impl Fn(u8) -> bool) -> Vec<Vec<u8>> {
    let mut seeds = logs();
    seeds.retain(|batch| batch.get(16).is_some_and(|found| magic(*found)));
    assert!(!seeds.is_empty());
    seeds
}

/// Every record of every batch, checksums aside: what is behind them must hold by itself.
fn batches(input: &[u8]) {
    for batch in Batches::new(input).flatten() {
        let _ = batch.check_crc();
        records(&batch);
    }
}

fn records(batch: &Batch<'_>) {
    let Ok(mut records) = batch.records(Some(1 << 20)) else {
        return;
    };
    while let Ok(Some(record)) = records.next() {
        for header in record.headers {
            let _ = std::hint::black_box(header);
        }
    }
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
                let _ = builder.append(index, Some(b"key"), Some(value.as_bytes()), &[]);
            }
            seeds.push(builder.build().unwrap().1.to_vec());
        }
    }
    seeds
}

/// Mends length and checksum, so that what is damaged is the payload, and validates as for a producer.
fn produce(input: &[u8]) {
    let mut bytes = input.to_vec();
    if bytes.len() > 61 && bytes[0] & 1 == 0 {
        let length = u32::try_from(bytes.len() - 12).unwrap();
        bytes[..8].fill(0);
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[16] = 2;
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    let bytes = Bytes::from(bytes);
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
        let _ = validate_and_assign(&bytes, Offset(5), LeaderEpoch(1), 1_000, &rules, Origin::Client);
    }
}

pub fn all() -> Vec<Target> {
    let target = |name, seeds, run| Target {
        name,
        seeds,
        run,
        extra_bytes: 0,
    };
    let codec = |name, seeds, run| Target {
        name,
        seeds,
        run,
        extra_bytes: CODEC_BYTES,
    };
    vec![
        target("frames", frames(), frame as fn(&[u8])),
        codec("batches", of_magic(|magic| magic == 2), batches),
        codec("message sets", of_magic(|magic| magic < 2), batches),
        codec("codecs", compressed(), batches),
        codec("produce", logs(), produce),
        target(
            "offset checkpoints",
            named("recovery-point-offset-checkpoint"),
            |input| {
                let _ = checkpoint::parse_offsets(input);
            },
        ),
        target(
            "leader epoch checkpoints",
            named("leader-epoch-checkpoint"),
            |input| {
                let _ = leader_epochs::LeaderEpochs::parse(input);
            },
        ),
        target("producer snapshots", with_extension("snapshot"), |input| {
            let mut mended = input.to_vec();
            if mended.len() > 6 {
                let crc = crc32c::crc32c(&mended[6..]);
                mended[2..6].copy_from_slice(&crc.to_be_bytes());
            }
            let _ = producer_state::snapshot::decode(&mended);
            let _ = producer_state::snapshot::decode(input);
        }),
        target("partition.metadata", named("partition.metadata"), |input| {
            let _ = partition_metadata::parse(input);
        }),
        target("meta.properties", named("meta.properties"), |input| {
            let _ = meta_properties::MetaProperties::parse(input);
        }),
        target("server.properties", named("meta.properties"), |input| {
            let _ = barnabas::config::properties::parse(input);
        }),
    ]
}
