//! [`SmallMap`]: a map of few entries, mostly.
//!
//! Most groups read one topic or a few, and many topics have few partitions. A `BTreeMap` takes room for eleven entries
//! with its first one, which made an offset that is alone in its group take 1.6 KB. Few entries are a sorted list of just
//! their size; more, a `BTreeMap` for good. Order is that of the keys.

use std::borrow::Borrow;
use std::collections::BTreeMap;

/// Up to so many entries are a list.
const FEW: usize = 6;

/// A map.
#[derive(Clone, Debug)]
pub(super) enum SmallMap<K, V> {
    /// Sorted by key.
    Few(Vec<(K, V)>),
    /// Were more than [`FEW`] once.
    Many(BTreeMap<K, V>),
}

impl<K, V> Default for SmallMap<K, V> {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

fn find<K, V, Q>(list: &[(K, V)], key: &Q) -> Result<usize, usize>
where
    K: Borrow<Q>,
    Q: Ord + ?Sized,
{
    list.binary_search_by(|(known, _)| known.borrow().cmp(key))
}

impl<K: Ord, V> SmallMap<K, V> {
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Few(list) => list.is_empty(),
            Self::Many(map) => map.is_empty(),
        }
    }

    pub fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        match self {
            Self::Few(list) => {
                let at = find(list, key).ok()?;
                list.get(at).map(|(_, value)| value)
            }
            Self::Many(map) => map.get(key),
        }
    }

    pub fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        match self {
            Self::Few(list) => {
                let at = find(list, key).ok()?;
                list.get_mut(at).map(|(_, value)| value)
            }
            Self::Many(map) => map.get_mut(key),
        }
    }

    /// Answers the value that the key had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let list = match self {
            Self::Few(list) => list,
            Self::Many(map) => return map.insert(key, value),
        };
        match find(list, &key) {
            Ok(at) => list.get_mut(at).map(|(_, known)| std::mem::replace(known, value)),
            Err(at) if list.len() < FEW => {
                if list.len() == list.capacity() {
                    list.reserve_exact((list.len() / 2).max(1));
                }
                list.insert(at, (key, value));
                None
            }
            Err(_) => {
                let mut map: BTreeMap<K, V> = std::mem::take(list).into_iter().collect();
                map.insert(key, value);
                *self = Self::Many(map);
                None
            }
        }
    }

    pub fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        match self {
            Self::Few(list) => {
                let at = find(list, key).ok()?;
                Some(list.remove(at).1)
            }
            Self::Many(map) => map.remove(key),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let (list, map) = match self {
            Self::Few(list) => (Some(list), None),
            Self::Many(map) => (None, Some(map)),
        };
        let few = list.into_iter().flatten().map(|(key, value)| (key, value));
        few.chain(map.into_iter().flatten())
    }

    pub fn into_entries(self) -> impl Iterator<Item = (K, V)> {
        let (list, map) = match self {
            Self::Few(list) => (Some(list), None),
            Self::Many(map) => (None, Some(map)),
        };
        let few = list.into_iter().flatten();
        few.chain(map.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_map(changes in prop::collection::vec((0..12i32, any::<bool>()), 0..80)) {
            let mut small = SmallMap::default();
            let mut model = BTreeMap::new();
            for (number, (key, inserts)) in changes.into_iter().enumerate() {
                if inserts {
                    prop_assert_eq!(small.insert(key, number), model.insert(key, number));
                } else {
                    prop_assert_eq!(small.remove(&key), model.remove(&key));
                }
                prop_assert_eq!(small.get(&key), model.get(&key));
                prop_assert_eq!(small.get_mut(&key), model.get_mut(&key));
                prop_assert_eq!(small.is_empty(), model.is_empty());
                prop_assert!(small.iter().eq(model.iter()));
            }
            prop_assert!(small.into_entries().eq(model));
        }
    }
}
