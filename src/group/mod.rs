//! L6: consumer groups and the offsets that they commit, one state machine for each partition of `__consumer_offsets`.
//!
//! [`service::Groups`] is the door for api/: it finds the shard of a group. [`shard::GroupShard`] is the state machine.
//! It keeps groups of the classic protocol (classic/) and their offsets (offsets/) apart: neither knows of the other,
//! the shard brings them together. What they keep in the log is in record/. The offsets of the oldest clients lie in the
//! store ([`old_offsets`]).

mod classic;
pub mod command;
mod error;
pub mod memory;
mod offsets;
pub mod old_offsets;
mod record;
pub mod service;
pub mod settings;
pub mod shard;
pub mod timer;
mod turn;

#[cfg(test)]
mod testing;

pub use settings::GroupSettings;
pub use shard::GroupShard;
pub use timer::GroupTimer;

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ops::Bound;

/// The first key after `key`; of all for `None`.
fn next_key<'a, K, V>(map: &'a BTreeMap<K, V>, key: Option<&str>) -> Option<&'a str>
where
    K: Ord + Borrow<str>,
{
    let from = key.map_or(Bound::Unbounded, Bound::Excluded);
    map.range::<str, _>((from, Bound::Unbounded))
        .next()
        .map(|(key, _)| key.borrow())
}
