//! Numbers of variable length: seven bits a byte, the lowest first, the top bit set on all but the last.
//!
//! Invariant: a number that has more bytes or bits than its type is an error, not a wrapped number. Called by the
//! reader, the shape walk and the writer.

use crate::wire::reader::DecodeError;

/// Most bytes of a 32-bit number.
pub const MAX_U32_BYTES: usize = 5;
/// Most bytes of a 64-bit number.
pub const MAX_U64_BYTES: usize = 10;

/// Reads an unsigned 32-bit number from the beginning of `bytes`; returns it and how many bytes it took.
#[inline]
pub fn read_u32(bytes: &[u8]) -> Result<(u32, usize), DecodeError> {
    // Most numbers of the protocol are lengths below 128.
    if let Some(&byte) = bytes.first()
        && byte < 0x80
    {
        return Ok((u32::from(byte), 1));
    }
    let (number, length) = read(bytes, MAX_U32_BYTES)?;
    u32::try_from(number)
        .map(|number| (number, length))
        .map_err(|_| DecodeError::Varint)
}

/// Reads an unsigned 64-bit number from the beginning of `bytes`; returns it and how many bytes it took.
pub fn read_u64(bytes: &[u8]) -> Result<(u64, usize), DecodeError> {
    read(bytes, MAX_U64_BYTES)
}

fn read(bytes: &[u8], max_bytes: usize) -> Result<(u64, usize), DecodeError> {
    let mut number = 0u64;
    for (index, &byte) in bytes.iter().take(max_bytes).enumerate() {
        let bits = u64::from(byte & 0x7f);
        let shift = 7 * index as u32;
        // Bits that the shift would push out of the number.
        if shift > 57 && bits >> (64 - shift) != 0 {
            return Err(DecodeError::Varint);
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok((number, index + 1));
        }
    }
    Err(if bytes.len() >= max_bytes {
        DecodeError::Varint
    } else {
        DecodeError::Truncated
    })
}

/// Undoes the zigzag that turns signed numbers into unsigned ones.
#[inline]
pub const fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// Turns a signed number into an unsigned one that is small when the number is near 0.
#[inline]
pub const fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

/// How many bytes `number` takes.
#[inline]
pub const fn length(number: u64) -> usize {
    let bits = 64 - (number | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Gives the bytes of `number`, lowest first, to `put`.
#[inline]
pub fn write(mut number: u64, mut put: impl FnMut(u8)) {
    while number >= 0x80 {
        put(number as u8 | 0x80);
        number >>= 7;
    }
    put(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip_with_their_length() {
        for number in [
            0u64,
            1,
            127,
            128,
            16383,
            16384,
            u64::from(u32::MAX),
            1 << 35,
            u64::MAX - 1,
            u64::MAX,
        ] {
            let mut bytes = Vec::new();
            write(number, |byte| bytes.push(byte));
            assert_eq!(bytes.len(), length(number));
            assert_eq!(read_u64(&bytes), Ok((number, bytes.len())));
            for cut in 0..bytes.len() {
                assert_eq!(read_u64(&bytes[..cut]), Err(DecodeError::Truncated));
            }
            match u32::try_from(number) {
                Ok(small) => assert_eq!(read_u32(&bytes), Ok((small, bytes.len()))),
                Err(_) => assert_eq!(read_u32(&bytes), Err(DecodeError::Varint)),
            }
        }
    }

    #[test]
    fn numbers_beyond_their_type_are_errors() {
        assert_eq!(
            read_u32(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]),
            Err(DecodeError::Varint)
        );
        assert_eq!(
            read_u32(&[0xff, 0xff, 0xff, 0xff, 0x1f]),
            Err(DecodeError::Varint)
        );
        assert_eq!(read_u32(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Ok((u32::MAX, 5)));
        assert_eq!(read_u64(&[0x80; 11]), Err(DecodeError::Varint));
        let mut eleven = [0x80; 11];
        eleven[10] = 0;
        assert_eq!(read_u64(&eleven), Err(DecodeError::Varint));
        assert_eq!(
            read_u64(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]),
            Err(DecodeError::Varint)
        );
    }

    #[test]
    fn unterminated_numbers_are_errors() {
        assert_eq!(read_u32(&[]), Err(DecodeError::Truncated));
        assert_eq!(read_u32(&[0xff, 0xff]), Err(DecodeError::Truncated));
        assert_eq!(read_u32(&[0xff; 5]), Err(DecodeError::Varint));
    }

    #[test]
    fn zigzag_round_trips() {
        for number in [0, -1, 1, i64::MIN, i64::MAX, -64, 63] {
            assert_eq!(unzigzag(zigzag(number)), number);
        }
        assert_eq!(zigzag(-1), 1);
    }
}
