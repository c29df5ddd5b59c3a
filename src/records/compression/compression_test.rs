//! Round trips, foreign framings, lies about lengths, and bombs.

use proptest::prelude::*;

use super::*;
use crate::records::record::RecordsError;

const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

fn compress(codec: Codec, magic: u8, pieces: &[&[u8]]) -> Vec<u8> {
    let mut compressor = Compressor::new(codec, &Levels::default(), magic, Vec::new());
    for piece in pieces {
        compressor.write(piece).unwrap();
    }
    compressor.finish().unwrap()
}

fn decompress(codec: Codec, magic: u8, bytes: &[u8], limit: usize) -> Result<Vec<u8>, RecordsError> {
    Window::new(Decompressor::new(codec, magic, bytes)?, limit).into_vec()
}

fn noise(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

#[test]
fn every_codec_round_trips_at_block_borders() {
    for length in [0, 1, 32 << 10, (32 << 10) + 1, 64 << 10, (64 << 10) + 1, 300_000] {
        for bytes in [noise(length), vec![b'x'; length]] {
            for codec in CODECS {
                for magic in 0..3 {
                    let (front, back) = bytes.split_at(length / 3);
                    let compressed = compress(codec, magic, &[front, back]);
                    let again = decompress(codec, magic, &compressed, length);
                    assert!(
                        again.as_ref() == Ok(&bytes),
                        "{codec:?} {length} v{magic}: {:?}",
                        again.err()
                    );
                }
            }
        }
    }
}

#[test]
fn levels_are_taken_over_their_range() {
    let bytes = vec![b'x'; 100_000];
    for (codec, levels) in [
        (Codec::Gzip, vec![-1, 1, 9]),
        (Codec::Lz4, vec![1, 9, 10, 17]),
        (Codec::Zstd, vec![-131_072, -5, 1, 19, 22]),
    ] {
        for level in levels {
            let levels = Levels {
                gzip: level,
                lz4: level,
                zstd: level,
            };
            let mut compressor = Compressor::new(codec, &levels, 2, Vec::new());
            compressor.write(&bytes).unwrap();
            let compressed = compressor.finish().unwrap();
            assert!(
                decompress(codec, 2, &compressed, bytes.len()).as_ref() == Ok(&bytes),
                "{codec:?} {level}"
            );
        }
    }
}

#[test]
fn the_lz4_header_checksum_counts_the_magic_in_v0_only() {
    let old = compress(Codec::Lz4, 0, &[b"text"]);
    let new = compress(Codec::Lz4, 1, &[b"text"]);
    assert_eq!(new[..7], [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82]);
    assert_ne!(old[6], new[6]);
    assert!(decompress(Codec::Lz4, 1, &old, 100).is_err());
    assert_eq!(decompress(Codec::Lz4, 0, &old, 100), Ok(b"text".to_vec()));
    assert_eq!(decompress(Codec::Lz4, 0, &new, 100), Ok(b"text".to_vec()));
}

#[test]
fn lz4_frames_of_other_writers_are_read() {
    use std::io::Write;
    let bytes = [noise(200_000), vec![b'y'; 200_000]].concat();
    for size in [::lz4::BlockSize::Max64KB, ::lz4::BlockSize::Max4MB] {
        for checksum in [
            ::lz4::ContentChecksum::ChecksumEnabled,
            ::lz4::ContentChecksum::NoChecksum,
        ] {
            let mut encoder = ::lz4::EncoderBuilder::new()
                .block_size(size.clone())
                .block_mode(::lz4::BlockMode::Independent)
                .checksum(checksum)
                .build(Vec::new())
                .unwrap();
            encoder.write_all(&bytes).unwrap();
            let (frame, ended) = encoder.finish();
            ended.unwrap();
            assert!(decompress(Codec::Lz4, 2, &frame, bytes.len()).as_ref() == Ok(&bytes));
        }
    }
}

#[test]
fn raw_and_concatenated_snappy_are_read() {
    let bytes = vec![b'z'; 50_000];
    let raw = snap::raw::Encoder::new().compress_vec(&bytes).unwrap();
    assert!(decompress(Codec::Snappy, 2, &raw, bytes.len()).as_ref() == Ok(&bytes));
    let framed = compress(Codec::Snappy, 2, &[&bytes]);
    let twice = [framed.clone(), framed].concat();
    assert!(decompress(Codec::Snappy, 2, &twice, 100_000).as_ref() == Ok(&vec![b'z'; 100_000]));
}

#[test]
fn lengths_that_lie_are_refused_before_room_is_made() {
    let mut snappy = compress(Codec::Snappy, 2, &[b"text"]);
    snappy[16..20].copy_from_slice(&0x7fff_ffff_u32.to_be_bytes());
    assert!(decompress(Codec::Snappy, 2, &snappy, 100).is_err());
    // Raw snappy that declares 4 GiB less one.
    assert!(
        Decompressor::new(Codec::Snappy, 2, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0])
            .unwrap()
            .room()
            .is_err()
    );
    // An lz4 frame of 4 MiB blocks whose block has two bytes.
    let mut lz4 = vec![0x04, 0x22, 0x4d, 0x18, 0x60, 0x70];
    lz4.push((twox_hash::XxHash32::oneshot(0, &[0x60, 0x70]) >> 8) as u8);
    lz4.extend([2, 0, 0, 0, 0x10, b'a', 0, 0, 0, 0]);
    assert_eq!(
        Decompressor::new(Codec::Lz4, 2, &lz4).unwrap().room(),
        Ok(Some(510))
    );
    lz4[7..11].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    assert!(decompress(Codec::Lz4, 2, &lz4, 100).is_err());
}

#[test]
fn bombs_stop_at_the_limit() {
    let million = vec![0; 1 << 20];
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let compressed = compress(codec, 2, &vec![&million[..]; 64]);
        let limit = 1 << 20;
        let mut window = Window::new(Decompressor::new(codec, 2, &compressed).unwrap(), limit);
        let stopped = window.skip(64 << 20);
        assert_eq!(stopped, Err(RecordsError::TooLarge { limit }), "{codec:?}");
        // It never held more than a piece.
        assert!(window.bytes().len() <= 128 << 10, "{codec:?}");
        assert_eq!(
            decompress(codec, 2, &compressed, limit),
            Err(RecordsError::TooLarge { limit })
        );
    }
}

/// One zstd frame of one block, uncompressed, with this descriptor of its window.
fn zstd_frame(window: u8, text: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, window];
    let last_and_raw = (text.len() as u32) << 3 | 1;
    frame.extend(&last_and_raw.to_le_bytes()[..3]);
    frame.extend(text);
    frame
}

/// Whether a zstd frame is decompressed at once, as far as its header tells.
fn is_read_at_once(bytes: &[u8]) -> bool {
    Decompressor::new(Codec::Zstd, 2, bytes)
        .unwrap()
        .room()
        .unwrap()
        .unwrap()
        != STREAM_ROOM_BYTES
}

#[test]
fn zstd_frames_are_read_at_once_or_as_a_stream() {
    let [small, large, zeros] = [noise(100_000), noise(3 << 20), vec![0; 300_000]];
    let [first, second, third] = [&small, &large, &zeros].map(|bytes| compress(Codec::Zstd, 2, &[bytes]));
    // What fits, what is too large, what is compressed too well, and several frames.
    for (compressed, bytes) in [(&first, &small), (&second, &large), (&third, &zeros)] {
        assert!(decompress(Codec::Zstd, 2, compressed, bytes.len()).as_ref() == Ok(bytes));
    }
    assert!(is_read_at_once(&first) && is_read_at_once(&second) && !is_read_at_once(&third));
    let both = [first.clone(), first].concat();
    assert!(!is_read_at_once(&both));
    assert!(decompress(Codec::Zstd, 2, &both, 200_000) == Ok([&small[..], &small].concat()));
    // With the size of the content and a checksum, as other writers do.
    for (bytes, at_once) in [(&small, true), (&large, false)] {
        let mut writer = zstd::bulk::Compressor::new(1).unwrap();
        writer.include_checksum(true).unwrap();
        let mut compressed = writer.compress(bytes).unwrap();
        assert_eq!(is_read_at_once(&compressed), at_once);
        assert!(decompress(Codec::Zstd, 2, &compressed, bytes.len()).as_ref() == Ok(bytes));
        *compressed.last_mut().unwrap() ^= 1;
        let wrong = decompress(Codec::Zstd, 2, &compressed, bytes.len());
        assert!(matches!(wrong, Err(RecordsError::Codec(_))), "a wrong checksum");
    }
}

#[test]
fn zstd_frames_that_no_client_takes_are_refused() {
    let most = zstd_frame(17 << 3, b"text");
    assert_eq!(decompress(Codec::Zstd, 2, &most, 100), Ok(b"text".to_vec()));
    // A window above 128 MiB, and blocks that are larger than the window or than any may be.
    let [block, longest] = [vec![b'x'; 2000], vec![b'x'; 200_000]];
    for frame in [
        zstd_frame(17 << 3 | 1, b"text"),
        zstd_frame(21 << 3, b"text"),
        zstd_frame(0, &block),
        zstd_frame(10 << 3, &longest),
    ] {
        let refused = decompress(Codec::Zstd, 2, &frame, 1 << 20);
        assert!(
            matches!(refused, Err(RecordsError::Codec(_))),
            "window {}",
            frame[5]
        );
    }
}

#[test]
fn bytes_behind_gzip_that_are_no_member_are_its_end() {
    let [one, two] = [
        compress(Codec::Gzip, 2, &[b"one"]),
        compress(Codec::Gzip, 2, &[b"two"]),
    ];
    let read = |parts: &[&[u8]]| decompress(Codec::Gzip, 2, &parts.concat(), 100);
    assert_eq!(read(&[&one, &two]), Ok(b"onetwo".to_vec()));
    // Zeros, letters, another method, a name that does not end, and the beginning of a member.
    let mut method = two.clone();
    method[2] = 7;
    let name = [&[0x1f, 0x8b, 8, 8][..], &[b'n'; 50]].concat();
    let words = b"some words, and more of them than a member needs";
    let ends: [&[u8]; 7] = [&[0; 8], b"xyz", &[0; 100], words, &method, &name, &two[..18]];
    for behind in ends {
        assert_eq!(read(&[&one, behind]), Ok(b"one".to_vec()), "{behind:?}");
        assert_eq!(read(&[&one, &two, behind]), Ok(b"onetwo".to_vec()), "{behind:?}");
    }
    // What begins as a member has to be one; and the first has to, whatever it begins with.
    let long = compress(Codec::Gzip, 2, &[&noise(50)]);
    let mut wrong = two.clone();
    let checksum = wrong.len() - 8;
    wrong[checksum] ^= 1;
    let refused: [&[&[u8]]; 4] = [&[&one, &long[..40]], &[&one, &wrong], &[&[0; 30]], &[&method]];
    for parts in refused {
        assert!(matches!(read(parts), Err(RecordsError::Codec(_))), "{parts:?}");
    }
}

#[test]
fn data_that_is_cut_is_no_end() {
    let bytes = noise(100_000);
    for codec in [Codec::Gzip, Codec::Lz4, Codec::Zstd] {
        let compressed = compress(codec, 2, &[&bytes]);
        for end in [compressed.len() / 2, compressed.len() - 1] {
            let cut = decompress(codec, 2, &compressed[..end], 200_000);
            assert!(
                matches!(cut, Err(RecordsError::Codec(_))),
                "{codec:?} cut at {end}"
            );
        }
    }
}

proptest! {
    #[test]
    fn mutated_bytes_never_panic_nor_pass_the_limit(
        codec in prop::sample::select(&CODECS[1..]),
        text in prop::collection::vec(any::<u8>(), 0..2000),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        magic in 0_u8..3,
    ) {
        let mut compressed = compress(codec, magic, &[&text, &text]);
        for (at, byte) in flips {
            let at = at.index(compressed.len());
            compressed[at] = byte;
        }
        if let Ok(bytes) = decompress(codec, magic, &compressed, 10_000) {
            prop_assert!(bytes.len() <= 10_000);
        }
    }
}
