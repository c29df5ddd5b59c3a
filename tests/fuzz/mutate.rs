//! Damages inputs: a few changes each, of the kinds that decoders stumble over. Some know what lengths look like: one
//! that is near to what remains, one written as a varint, a number that is one off. What a checksum would give away
//! is mended by the target, not here.

use fastrand::Rng;

const INTERESTING: &[i64] = &[
    0,
    1,
    -1,
    -2,
    2,
    127,
    128,
    255,
    256,
    32_767,
    32_768,
    65_535,
    0x7fff_ffff,
    -0x8000_0000,
    0x7fff_fff0,
    1 << 20,
    i64::MAX,
    i64::MIN,
];

/// A damaged copy of `seed`, of at most `limit` bytes; `other` may lend a piece, `words` are what a text is made of.
pub fn mutate(rng: &mut Rng, seed: &[u8], other: &[u8], words: &[&str], limit: usize) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..rng.usize(1..=4) {
        once(rng, &mut bytes, other, words);
    }
    bytes.truncate(limit);
    bytes
}

fn once(rng: &mut Rng, bytes: &mut Vec<u8>, other: &[u8], words: &[&str]) {
    if bytes.is_empty() {
        bytes.push(rng.u8(..));
        return;
    }
    // Heads hold the lengths: half of the changes go there.
    let at = if rng.bool() {
        rng.usize(..bytes.len().min(96))
    } else {
        rng.usize(..bytes.len())
    };
    // Texts break where a word begins or ends.
    let at = if !words.is_empty() && rng.bool() {
        boundary(bytes, at)
    } else {
        at
    };
    let behind = if rng.u8(..8) == 0 { bytes.len() } else { at };
    match rng.u8(..16) {
        0 => bytes[at] ^= 1 << rng.u8(..8),
        1 => bytes[at] = rng.u8(..),
        2 => bytes.truncate(at),
        3 => {
            let end = (at + rng.usize(1..16)).min(bytes.len());
            bytes.drain(at..end);
        }
        4 => {
            let piece: Vec<u8> = (0..rng.usize(1..16)).map(|_| rng.u8(..)).collect();
            bytes.splice(behind..behind, piece);
        }
        5 if !other.is_empty() => {
            let from = rng.usize(..other.len());
            let to = (from + rng.usize(1..256)).min(other.len());
            bytes.splice(behind..behind, other[from..to].iter().copied());
        }
        6 => {
            let most = if rng.u8(..4) == 0 { bytes.len() } else { 64 };
            let end = (at + rng.usize(1..=most)).min(bytes.len());
            let copy = bytes[at..end].to_vec();
            bytes.splice(behind..behind, copy);
        }
        7 => put(bytes, at, 1, interesting(rng)),
        8 => put(bytes, at, 4, interesting(rng)),
        9 => {
            let width = width(rng);
            put(bytes, at, width, interesting(rng));
        }
        10 => {
            let width = width(rng);
            let mut field = [0; 8];
            for (to, from) in field[8 - width..].iter_mut().zip(&bytes[at..]) {
                *to = *from;
            }
            put(
                bytes,
                at,
                width,
                i64::from_be_bytes(field).wrapping_add(rng.i64(-3..=3)),
            );
        }
        11 => {
            // Lengths near to what is left behind them.
            let width = width(rng);
            let left = bytes.len().saturating_sub(at + width) as i64;
            put(bytes, at, width, left + rng.i64(-2..=2));
        }
        12 => {
            let number = match rng.u8(..3) {
                0 => (bytes.len() - at) as u64 + rng.u64(..3),
                1 => ((bytes.len() - at) as u64 + rng.u64(..3)) << 1,
                _ => interesting(rng) as u64,
            };
            let most = rng.usize(1..=11);
            let end = (at + rng.usize(..=2)).min(bytes.len());
            bytes.splice(at..end, varint(number, most));
        }
        _ if !words.is_empty() => {
            let word = words[rng.usize(..words.len())].as_bytes();
            let end = if rng.bool() {
                behind
            } else {
                (behind + word.len()).min(bytes.len())
            };
            bytes.splice(behind..end, word.iter().copied());
        }
        _ => bytes[at] = bytes[at].wrapping_add(if rng.bool() { 1 } else { 255 }),
    }
}

/// The first place from `at` on where a word or number begins or ends; `at` where none does.
fn boundary(bytes: &[u8], at: usize) -> usize {
    let kind = |index: usize| match bytes[index] {
        b'"' => 2,
        byte => u8::from(byte.is_ascii_alphanumeric()),
    };
    (at.max(1)..bytes.len())
        .find(|index| kind(*index) != kind(index - 1))
        .unwrap_or(at)
}

fn interesting(rng: &mut Rng) -> i64 {
    INTERESTING[rng.usize(..INTERESTING.len())]
}

fn width(rng: &mut Rng) -> usize {
    *rng.choice(&[1_usize, 2, 4, 8]).unwrap_or(&4)
}

fn put(bytes: &mut [u8], at: usize, width: usize, number: i64) {
    for (to, from) in bytes[at..].iter_mut().zip(&number.to_be_bytes()[8 - width..]) {
        *to = *from;
    }
}

fn varint(mut number: u64, most: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 && bytes.len() + 1 < most {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8 & 0x7f);
    bytes
}
