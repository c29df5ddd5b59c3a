//! Damages inputs: a few changes each, of the kinds that decoders stumble over.

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

/// A damaged copy of `seed`, of at most `limit` bytes; `other` may lend a piece.
pub fn mutate(rng: &mut Rng, seed: &[u8], other: &[u8], limit: usize) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..rng.usize(1..=4) {
        once(rng, &mut bytes, other);
    }
    bytes.truncate(limit);
    bytes
}

fn once(rng: &mut Rng, bytes: &mut Vec<u8>, other: &[u8]) {
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
    match rng.u8(..10) {
        0 => bytes[at] ^= 1 << rng.u8(..8),
        1 => bytes[at] = rng.u8(..),
        2 => bytes.truncate(at),
        3 => {
            let end = (at + rng.usize(1..16)).min(bytes.len());
            bytes.drain(at..end);
        }
        4 => {
            let piece: Vec<u8> = (0..rng.usize(1..16)).map(|_| rng.u8(..)).collect();
            bytes.splice(at..at, piece);
        }
        5 if !other.is_empty() => {
            let from = rng.usize(..other.len());
            let to = (from + rng.usize(1..256)).min(other.len());
            bytes.splice(at..at, other[from..to].iter().copied());
        }
        6 => {
            let end = (at + rng.usize(1..64)).min(bytes.len());
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
        kind => {
            let value = INTERESTING[rng.usize(..INTERESTING.len())].to_be_bytes();
            let width = match kind {
                7 => 1,
                8 => 4,
                _ => *rng.choice(&[2_usize, 4, 8]).unwrap_or(&4),
            };
            for (to, from) in bytes[at..].iter_mut().zip(&value[8 - width..]) {
                *to = *from;
            }
        }
    }
}
