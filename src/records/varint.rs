//! Varints of the v2 record format: LEB128 of zigzag, as in Protocol Buffers' sint32 and sint64.
//!
//! Readers move a slice forward and take non-minimal encodings of up to 5 or 10 bytes, as Kafka's `ByteUtils` does;
//! `None` means that the varint is longer, or the slice at its end. Called by everything that reads or writes records.

/// Reads an i32 from the front of `bytes`.
#[inline(always)]
pub(crate) fn read_i32(bytes: &mut &[u8]) -> Option<i32> {
    // One and two bytes are what records are made of: lengths up to 8,191, deltas of a batch.
    match *bytes {
        [first, rest @ ..] if *first < 0x80 => {
            *bytes = rest;
            Some(unzigzag_32(u32::from(*first)))
        }
        [first, second, rest @ ..] if *second < 0x80 => {
            *bytes = rest;
            Some(unzigzag_32(u32::from(*first & 0x7f) | u32::from(*second) << 7))
        }
        _ => read_long_i32(bytes),
    }
}

fn read_long_i32(bytes: &mut &[u8]) -> Option<i32> {
    let mut value = 0_u32;
    for (index, &byte) in bytes.iter().take(5).enumerate() {
        value |= u32::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *bytes = bytes.get(index + 1..)?;
            return Some(unzigzag_32(value));
        }
    }
    None
}

/// Reads an i64 from the front of `bytes`.
#[inline(always)]
pub(crate) fn read_i64(bytes: &mut &[u8]) -> Option<i64> {
    // One and two bytes are what records are made of: lengths up to 8,191, deltas of a batch.
    match *bytes {
        [first, rest @ ..] if *first < 0x80 => {
            *bytes = rest;
            Some(unzigzag_64(u64::from(*first)))
        }
        [first, second, rest @ ..] if *second < 0x80 => {
            *bytes = rest;
            Some(unzigzag_64(u64::from(*first & 0x7f) | u64::from(*second) << 7))
        }
        _ => read_long_i64(bytes),
    }
}

fn read_long_i64(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0_u64;
    for (index, &byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *bytes = bytes.get(index + 1..)?;
            return Some(unzigzag_64(value));
        }
    }
    None
}

/// Appends an i32.
pub(crate) fn write_i32(out: &mut Vec<u8>, value: i32) {
    write_i64(out, i64::from(value));
}

/// Appends an i64. An i32 has the same bytes whether it is written as i32 or as i64.
pub(crate) fn write_i64(out: &mut Vec<u8>, value: i64) {
    let mut rest = zigzag_64(value);
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Bytes that [`write_i64`] takes.
pub(crate) fn size_of(value: i64) -> usize {
    (70 - (zigzag_64(value) | 1).leading_zeros() as usize) / 7
}

#[inline(always)]
const fn unzigzag_32(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

#[inline(always)]
const fn unzigzag_64(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

const fn zigzag_64(value: i64) -> u64 {
    (value << 1) as u64 ^ (value >> 63) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_at_every_length() {
        for shift in 0..64 {
            for value in [
                1_i64 << shift,
                (1_i64 << shift).wrapping_neg(),
                (1_i64 << shift).wrapping_sub(1),
            ] {
                let mut bytes = Vec::new();
                write_i64(&mut bytes, value);
                assert_eq!(bytes.len(), size_of(value));
                assert_eq!(read_i64(&mut &bytes[..]), Some(value));
                for end in 0..bytes.len() {
                    assert_eq!(read_i64(&mut &bytes[..end]), None, "{value} cut at {end}");
                }
                if let Ok(small) = i32::try_from(value) {
                    assert_eq!(read_i32(&mut &bytes[..]), Some(small));
                }
            }
        }
    }

    #[test]
    fn unterminated_varints_are_refused_and_padded_ones_taken() {
        assert_eq!(read_i32(&mut &[0x80, 0x80, 0x80, 0x80, 0x80, 0][..]), None);
        assert_eq!(read_i64(&mut &[0x80; 11][..]), None);
        let mut padded = &[0x82, 0x80, 0x00, 7][..];
        assert_eq!(read_i32(&mut padded), Some(1));
        assert_eq!(padded, [7]);
    }
}
