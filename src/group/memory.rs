//! [`Memory`]: what the groups of a broker take, all shards together.
//!
//! Invariant: the sum is that of what each [`Share`] has counted last; a share that goes takes its part out. Anybody may make
//! a group in any partition, so a bound for each of them would be none. Called by the shards.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that the groups of all shards take, roughly. Clones share it.
#[derive(Clone, Default, Debug)]
pub struct Memory(Arc<AtomicUsize>);

impl Memory {
    /// The part of a shard that has nothing yet.
    pub(in crate::group) fn share(&self) -> Share {
        Share {
            memory: self.clone(),
            counted: 0,
        }
    }

    /// All together.
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// One shard's part.
pub(in crate::group) struct Share {
    memory: Memory,
    counted: usize,
}

impl Share {
    /// The shard takes so much now.
    pub fn count(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.counted, bytes);
        if bytes > before {
            self.memory.0.fetch_add(bytes - before, Ordering::Relaxed);
        } else if bytes < before {
            self.memory.0.fetch_sub(before - bytes, Ordering::Relaxed);
        }
    }

    /// True when all shards together take more than `most`, and this one more than is granted to each.
    pub fn is_above(&self, most: usize, granted: usize) -> bool {
        self.counted > granted && self.memory.bytes() > most
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.count(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_go() {
        let memory = Memory::default();
        let (mut one, mut other) = (memory.share(), memory.share());
        one.count(700);
        other.count(400);
        one.count(600);
        assert_eq!(memory.bytes(), 1_000);
        assert!(one.is_above(999, 500) && !one.is_above(1_000, 500));
        assert!(!other.is_above(999, 500), "a little is granted to each");
        drop(one);
        assert_eq!(memory.bytes(), 400);
    }
}
