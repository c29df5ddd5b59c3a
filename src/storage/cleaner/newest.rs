//! Which records of what is dirty are the newest of their keys: a bit for each offset.
//!
//! The filter asks this for each record that the map pass went through, instead of the map: in order, without a hash and
//! without a look at memory that is not in the cache. Its bytes are part of what the map may take; where offsets are too
//! far apart for that there is none, and the map is asked. Invariant: with a bit in `newest` there is one in `mapped`.

use std::ops::Range;

use super::offset_map::OffsetMap;
use crate::base::ids::Offset;

/// The part of the map's bytes that it may take.
const SHARE: usize = 16;

/// The bits.
#[derive(Default)]
pub(super) struct Newest {
    first: Offset,
    mapped: Vec<u64>,
    newest: Vec<u64>,
}

impl Newest {
    /// For offsets from `first` below `end`, within its share of `map_bytes`.
    pub(super) fn new(first: Offset, end: Offset, map_bytes: usize) -> Self {
        let words = u64::try_from(end.since(first)).unwrap_or(0).div_ceil(64);
        let bytes = words.saturating_mul(2 * 8);
        let words = if bytes <= (map_bytes / SHARE) as u64 {
            words as usize
        } else {
            0
        };
        Self {
            first,
            mapped: vec![0; words],
            newest: vec![0; words],
        }
    }

    /// The bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        (self.mapped.len() + self.newest.len()) * 8
    }

    fn place(&self, offset: Offset) -> Option<(usize, u64)> {
        let at = u64::try_from(offset.since(self.first)).ok()?;
        Some((usize::try_from(at / 64).ok()?, 1 << (at % 64)))
    }

    /// The record at `offset` is in the map.
    pub(super) fn note(&mut self, offset: Offset) {
        if let Some((word, bit)) = self.place(offset)
            && let Some(word) = self.mapped.get_mut(word)
        {
            *word |= bit;
        }
    }

    /// All are in the map now.
    pub(super) fn finish(&mut self, map: &OffsetMap) {
        if self.newest.is_empty() {
            return;
        }
        for offset in map.offsets() {
            if let Some((word, bit)) = self.place(offset)
                && let Some(word) = self.newest.get_mut(word)
            {
                *word |= bit;
            }
        }
    }

    /// Whether a newer record of the same key is in the map; `None` when this one is not known here.
    pub(super) fn is_superseded(&self, offset: Offset) -> Option<bool> {
        let (word, bit) = self.place(offset)?;
        if self.mapped.get(word)? & bit == 0 {
            return None;
        }
        Some(self.newest.get(word)? & bit == 0)
    }

    /// True when there are `count` records in this range, one at each offset, and each is superseded.
    pub(super) fn are_superseded(&self, offsets: Range<Offset>, count: i32) -> bool {
        offsets.end.since(offsets.start) == i64::from(count)
            && (0..i64::from(count)).all(|at| self.is_superseded(offsets.start.plus(at)) == Some(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    /// The records at these offsets, with these keys.
    fn of(first: i64, end: i64, records: &[(i64, &[u8])]) -> Newest {
        let mut map = OffsetMap::new(1 << 16, 0.9, 1000, &Random::from_seed(1));
        let mut newest = Newest::new(Offset(first), Offset(end), 1 << 16);
        for (offset, key) in records {
            assert!(map.put(key, Offset(*offset)));
            newest.note(Offset(*offset));
        }
        newest.finish(&map);
        newest
    }

    #[test]
    fn only_the_last_record_of_a_key_is_not_superseded() {
        let newest = of(100, 300, &[(100, b"a"), (101, b"b"), (164, b"a"), (299, b"c")]);
        let said = |offset| newest.is_superseded(Offset(offset));
        assert_eq!(said(100), Some(true));
        assert_eq!([101, 164, 299].map(said), [Some(false); 3]);
        // Not in the map: below, in between, behind.
        assert_eq!([0, 99, 102, 163, 300, i64::MAX].map(said), [None; 6]);
    }

    #[test]
    fn a_batch_is_superseded_when_each_of_its_offsets_is() {
        let newest = of(
            0,
            10,
            &[(0, b"a"), (1, b"b"), (2, b"a"), (3, b"b"), (5, b"a"), (6, b"b")],
        );
        let said = |from, below, count| newest.are_superseded(Offset(from)..Offset(below), count);
        assert!(said(0, 4, 4));
        assert!(!said(0, 4, 3), "one record is not at an offset of its own");
        assert!(!said(3, 5, 2), "nothing is known of offset 4");
        assert!(!said(5, 6, 1), "the newest");
    }

    #[test]
    fn offsets_far_apart_take_no_memory() {
        let newest = of(0, i64::MAX, &[(0, b"a"), (1 << 40, b"a")]);
        assert_eq!(newest.bytes(), 0);
        assert_eq!(newest.is_superseded(Offset(0)), None);
        let near = of(0, 16_000, &[(0, b"a")]);
        assert!(near.bytes() > 0 && near.bytes() <= (1 << 16) / SHARE);
    }
}
