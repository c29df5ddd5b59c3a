//! Kafka's codecs, in the framings that Java clients write. Called by `batch` and by the compress and decompress commands.

use std::io::{Read, Write};

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Codec {
    /// The codec's number in a batch's attributes.
    pub fn code(self) -> i16 {
        self as i16
    }
}

/// The header of Java's snappy stream: magic, version, lowest compatible version.
const XERIAL: &[u8] = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";

pub fn compress(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    match codec {
        Codec::None => bytes.to_vec(),
        Codec::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Codec::Snappy => {
            let mut out = XERIAL.to_vec();
            for block in bytes.chunks(32 * 1024) {
                let packed = snap::raw::Encoder::new().compress_vec(block).unwrap();
                out.extend_from_slice(&(packed.len() as u32).to_be_bytes());
                out.extend_from_slice(&packed);
            }
            out
        }
        Codec::Lz4 => {
            let mut encoder = lz4::EncoderBuilder::new()
                .block_mode(lz4::BlockMode::Independent)
                .block_size(lz4::BlockSize::Max64KB)
                .block_checksum(lz4::liblz4::BlockChecksum::NoBlockChecksum)
                .checksum(lz4::ContentChecksum::NoChecksum)
                .build(Vec::new())
                .unwrap();
            encoder.write_all(bytes).unwrap();
            let (out, result) = encoder.finish();
            result.unwrap();
            out
        }
        Codec::Zstd => zstd::encode_all(bytes, 3).unwrap(),
    }
}

pub fn decompress(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match codec {
        Codec::None => out.extend_from_slice(bytes),
        Codec::Gzip => {
            flate2::read::MultiGzDecoder::new(bytes)
                .read_to_end(&mut out)
                .unwrap();
        }
        Codec::Snappy if bytes.starts_with(&XERIAL[..8]) => {
            let mut rest = &bytes[16..];
            while rest.len() >= 4 {
                let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
                out.extend(
                    snap::raw::Decoder::new()
                        .decompress_vec(&rest[4..4 + length])
                        .unwrap(),
                );
                rest = &rest[4 + length..];
            }
        }
        Codec::Snappy => out = snap::raw::Decoder::new().decompress_vec(bytes).unwrap(),
        Codec::Lz4 => {
            lz4::Decoder::new(bytes).unwrap().read_to_end(&mut out).unwrap();
        }
        Codec::Zstd => out = zstd::decode_all(bytes).unwrap(),
    }
    out
}

pub fn filter(convert: impl Fn(&[u8]) -> Vec<u8>) {
    let mut input = Vec::new();
    std::io::stdin().lock().read_to_end(&mut input).unwrap();
    std::io::stdout().lock().write_all(&convert(&input)).unwrap();
}
