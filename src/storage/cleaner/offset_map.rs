//! The newest offset of each key in what is being cleaned, in memory of a fixed size.
//!
//! A key is known by a keyed 128-bit hash, whose secret is drawn for each map: two keys meet as rarely as with Kafka's
//! MD5, and nobody can make two that do. Invariant: the slots are ordered by hash, and none is empty between where a
//! hash would lie in an empty map and where it lies. So a search ends at the first greater hash, however full the map
//! is. Filled by the map pass, asked by the filter (Kafka: `SkimpyOffsetMap`).

use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;

use crate::base::ids::Offset;
use crate::base::random::Random;

/// Bytes of a key's place in the map: 16 of its hash, 8 of its offset.
pub const SLOT_BYTES: usize = 24;
/// Slots behind the last place where a hash belongs, for those that are pushed on.
const MOST_SPARE_SLOTS: usize = 4096;

/// By what a key is known.
pub(super) type KeyHash = [u64; 2];

/// Hash, and the offset plus one; all zeros for an empty slot.
type Slot = [u64; 3];

/// The map.
pub struct OffsetMap {
    slots: Vec<Slot>,
    /// How many slots are places where a hash belongs.
    homes: usize,
    used: usize,
    most: usize,
    secret: [u64; 2],
}

/// Where a hash is, or is to be.
enum Place {
    Here(usize),
    Before(usize),
}

impl OffsetMap {
    /// A map that takes at most `bytes`, and no more than `keys` keys call for; filled up to `load_factor` of its slots.
    pub fn new(bytes: usize, load_factor: f64, keys: u64, random: &Random) -> Self {
        let load_factor = load_factor.clamp(0.01, 1.0);
        let affordable = bytes / SLOT_BYTES;
        let spare = MOST_SPARE_SLOTS.min(affordable / 8);
        let wanted = (keys as f64 / load_factor).ceil() as usize;
        let homes = (affordable - spare).min(wanted.saturating_add(1));
        Self {
            slots: vec![[0; 3]; homes + spare],
            homes,
            used: 0,
            most: (homes as f64 * load_factor) as usize,
            secret: [random.below(u64::MAX), random.below(u64::MAX)],
        }
    }

    /// A map that takes no key.
    pub fn none() -> Self {
        Self {
            slots: Vec::new(),
            homes: 0,
            used: 0,
            most: 0,
            secret: [0; 2],
        }
    }

    /// True when it holds no key.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// How many keys it holds.
    pub fn len(&self) -> usize {
        self.used
    }

    /// How many keys it takes.
    pub fn capacity(&self) -> usize {
        self.most
    }

    /// Notes that `key` occurs at `offset`, which is above all that were noted. False, with nothing changed, when the map
    /// is full.
    #[must_use]
    pub fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        self.put_hashed(self.hash(key), offset)
    }

    /// The same for many of the hash, in order. False when the map is full; some of them may be in it then.
    #[must_use]
    pub(super) fn put_all(&mut self, entries: &[(KeyHash, Offset)]) -> bool {
        // Memory that is not in the cache comes while the next places are looked for, not one after the other.
        let mut seen = 0;
        for (hash, _) in entries {
            seen ^= self.slots.get(self.home(*hash)).map_or(0, |slot| slot[2]);
        }
        std::hint::black_box(seen);
        entries
            .iter()
            .all(|(hash, offset)| self.put_hashed(*hash, *offset))
    }

    fn put_hashed(&mut self, hash: KeyHash, offset: Offset) -> bool {
        let entry = [hash[0], hash[1], offset.get() as u64 + 1];
        match self.search(hash) {
            Some(Place::Here(at)) => {
                if let Some(slot) = self.slots.get_mut(at) {
                    *slot = entry;
                }
                true
            }
            Some(Place::Before(at)) if self.used < self.most => self.insert(at, entry),
            _ => false,
        }
    }

    /// The newest offset of `key`.
    pub fn get(&self, key: &[u8]) -> Option<Offset> {
        match self.search(self.hash(key))? {
            Place::Here(at) => self
                .slots
                .get(at)
                .map(|slot| Offset(slot[2].wrapping_sub(1) as i64)),
            Place::Before(_) => None,
        }
    }

    /// The offsets of all keys.
    pub(super) fn offsets(&self) -> impl Iterator<Item = Offset> + '_ {
        let used = self.slots.iter().filter(|slot| slot[2] != 0);
        used.map(|slot| Offset(slot[2].wrapping_sub(1) as i64))
    }

    /// By what a key is known.
    pub(super) fn hash(&self, key: &[u8]) -> KeyHash {
        let mut hasher = SipHasher13::new_with_keys(self.secret[0], self.secret[1]);
        hasher.write(key);
        let hash = hasher.finish128();
        [hash.h1, hash.h2]
    }

    /// Where a hash belongs: greater ones at or behind where smaller ones do.
    fn home(&self, hash: KeyHash) -> usize {
        ((u128::from(hash[0]) * self.homes as u128) >> 64) as usize
    }

    /// `None` when the hash would lie behind the last slot.
    fn search(&self, hash: KeyHash) -> Option<Place> {
        for (at, slot) in self.slots.iter().enumerate().skip(self.home(hash)) {
            if slot[2] == 0 || (slot[0], slot[1]) > (hash[0], hash[1]) {
                return Some(Place::Before(at));
            }
            if slot[..2] == hash {
                return Some(Place::Here(at));
            }
        }
        None
    }

    /// Puts `entry` at `at`; what lies there moves on to the next empty slot.
    fn insert(&mut self, at: usize, entry: Slot) -> bool {
        let rest = self.slots.get_mut(at..).unwrap_or_default();
        let Some(empty) = rest.iter().position(|slot| slot[2] == 0) else {
            return false;
        };
        rest.copy_within(..empty, 1);
        if let Some(slot) = rest.first_mut() {
            *slot = entry;
        }
        self.used += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn memory_is_bounded_by_the_bytes_and_by_the_keys_that_can_come() {
        let random = Random::from_seed(1);
        let large = OffsetMap::new(1 << 20, 0.9, u64::MAX, &random);
        assert!(large.slots.capacity() * SLOT_BYTES <= 1 << 20);
        assert!(large.capacity() > (1 << 20) / SLOT_BYTES * 3 / 4);
        assert!(
            large.capacity() <= (1 << 20) / SLOT_BYTES * 9 / 10,
            "the load factor holds"
        );
        let small = OffsetMap::new(128 << 20, 0.9, 1000, &random);
        assert!(small.slots.capacity() * SLOT_BYTES <= 200 << 10);
        assert!(small.capacity() >= 1000);
        let none = OffsetMap::new(0, 0.9, 1000, &random);
        assert_eq!(none.capacity(), 0);
        assert_eq!(none.get(b"k"), None);
    }

    #[test]
    fn a_full_map_refuses_new_keys_and_still_takes_known_ones() {
        let mut map = OffsetMap::new(24 * 64, 1.0, u64::MAX, &Random::from_seed(2));
        let mut taken = 0;
        for number in 0..1000_i64 {
            let key = number.to_be_bytes();
            if map.put(&key, Offset(number)) {
                taken += 1;
            } else {
                assert_eq!(map.get(&key), None);
            }
        }
        assert_eq!(taken, map.len());
        assert!(taken > 50, "{taken}");
        assert!(map.put(&0_i64.to_be_bytes(), Offset(5000)));
        assert_eq!(map.get(&0_i64.to_be_bytes()), Some(Offset(5000)));
    }

    #[test]
    fn ninety_percent_of_a_million_slots_are_found_again() {
        let mut map = OffsetMap::new(24_000_000, 0.9, u64::MAX, &Random::from_seed(3));
        let keys = map.capacity() as i64;
        for number in 0..keys {
            assert!(map.put(&number.to_le_bytes(), Offset(number)));
        }
        assert_eq!(map.len() as i64, keys);
        for number in 0..keys {
            assert_eq!(map.get(&number.to_le_bytes()), Some(Offset(number)));
            assert_eq!(map.get(&(number + keys).to_le_bytes()), None);
        }
    }

    proptest! {
        #[test]
        fn answers_as_a_map_of_whole_keys(keys in proptest::collection::vec(proptest::collection::vec(0..4_u8, 0..4), 0..300), seed in any::<u64>()) {
            let mut map = OffsetMap::new(1 << 16, 0.9, 300, &Random::from_seed(seed));
            let mut model = BTreeMap::new();
            for (offset, key) in (0..).zip(&keys) {
                prop_assert!(map.put(key, Offset(offset)));
                model.insert(key.clone(), Offset(offset));
            }
            prop_assert_eq!(map.len(), model.len());
            for key in keys {
                prop_assert_eq!(map.get(&key), model.get(&key).copied());
            }
            prop_assert_eq!(map.get(b"other"), None);
        }
    }
}
