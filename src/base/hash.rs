//! Hash maps with a fixed seed: the same keys in the same order in every run, so that one seed is one history.
//!
//! Keys that a client can choose freely belong into a `BTreeMap`: a fixed seed can be attacked with collisions.

use std::hash::{BuildHasherDefault, DefaultHasher};

/// A hash map whose iteration order depends on its contents only.
#[expect(
    clippy::disallowed_types,
    reason = "the one place that names it, with a fixed hasher"
)]
pub type HashMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// A hash set whose iteration order depends on its contents only.
#[expect(
    clippy::disallowed_types,
    reason = "the one place that names it, with a fixed hasher"
)]
pub type HashSet<K> = std::collections::HashSet<K, BuildHasherDefault<DefaultHasher>>;
