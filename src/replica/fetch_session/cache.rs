//! Which sessions are kept (Kafka's `FetchSessionCacheShard`, as one shard).
//!
//! Invariant: each session stands in `sessions` and `last_used`, and in the two orders of eviction as its kind and
//! age allow. A new session may take the slot of one that was not used for long; else, if it is privileged, of one
//! that is not; else of a smaller one that is not young. Sizes are as of the last use.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use super::MIN_EVICTION_MS;
use super::session::Session;

struct Entry {
    session: Arc<Mutex<Session>>,
    privileged: bool,
    created_ms: i64,
    last_used_ms: i64,
    size: usize,
}

/// What a session is worth: privileged, size, id.
type Worth = (bool, usize, i32);

pub(super) struct Cache {
    slots: usize,
    max_partitions: usize,
    partitions: usize,
    sessions: BTreeMap<i32, Entry>,
    last_used: BTreeSet<(i64, i32)>,
    evictable_by_all: BTreeSet<Worth>,
    evictable_by_privileged: BTreeSet<Worth>,
}

impl Cache {
    pub(super) fn new(slots: usize, max_partitions: usize) -> Self {
        Self {
            slots,
            max_partitions,
            partitions: 0,
            sessions: BTreeMap::new(),
            last_used: BTreeSet::new(),
            evictable_by_all: BTreeSet::new(),
            evictable_by_privileged: BTreeSet::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn partitions(&self) -> usize {
        self.partitions
    }

    /// How many more partitions may be remembered.
    pub(super) fn room(&self) -> usize {
        self.max_partitions.saturating_sub(self.partitions)
    }

    pub(super) fn get(&self, id: i32) -> Option<Arc<Mutex<Session>>> {
        self.sessions.get(&id).map(|entry| Arc::clone(&entry.session))
    }

    pub(super) fn remove(&mut self, id: i32) {
        if let Some(entry) = self.sessions.remove(&id) {
            self.last_used.remove(&(entry.last_used_ms, id));
            self.unrank((entry.privileged, entry.size, id));
            self.partitions -= entry.size.min(self.partitions);
        }
    }

    fn unrank(&mut self, worth: Worth) {
        self.evictable_by_all.remove(&worth);
        self.evictable_by_privileged.remove(&worth);
    }

    /// Notes that a session was used and how many partitions it now has.
    pub(super) fn touch(&mut self, id: i32, size: usize, now_ms: i64) {
        let Some(entry) = self.sessions.get_mut(&id) else {
            return;
        };
        let old = (entry.privileged, entry.size, id);
        let worth = (entry.privileged, size, id);
        let is_old = now_ms.saturating_sub(entry.created_ms) > MIN_EVICTION_MS;
        self.last_used.remove(&(entry.last_used_ms, id));
        self.last_used.insert((now_ms, id));
        self.partitions = (self.partitions + size).saturating_sub(entry.size);
        entry.last_used_ms = now_ms;
        entry.size = size;
        self.unrank(old);
        if !worth.0 || is_old {
            self.evictable_by_privileged.insert(worth);
        }
        if is_old {
            self.evictable_by_all.insert(worth);
        }
    }

    /// Opens a session of `size` partitions if there is a slot or one can be had; yields its id.
    pub(super) fn create(
        &mut self,
        privileged: bool,
        size: usize,
        now_ms: i64,
        below: impl Fn(u64) -> u64,
        make: impl FnOnce() -> Session,
    ) -> Option<i32> {
        if self.sessions.len() >= self.slots && !self.evict((privileged, size, 0), now_ms) {
            return None;
        }
        if size > self.room() {
            return None;
        }
        let id = loop {
            let id = 1 + i32::try_from(below(i32::MAX as u64 - 1)).unwrap_or(0);
            if !self.sessions.contains_key(&id) {
                break id;
            }
        };
        self.sessions.insert(
            id,
            Entry {
                session: Arc::new(Mutex::new(make())),
                privileged,
                created_ms: now_ms,
                last_used_ms: now_ms,
                size: 0,
            },
        );
        self.touch(id, size, now_ms);
        Some(id)
    }

    /// Frees a slot for a session worth `worth`; false when none may be taken.
    fn evict(&mut self, worth: Worth, now_ms: i64) -> bool {
        let Some(&(used_ms, oldest)) = self.last_used.first() else {
            return false;
        };
        if now_ms.saturating_sub(used_ms) > MIN_EVICTION_MS {
            self.remove(oldest);
            return true;
        }
        let order = if worth.0 {
            &self.evictable_by_privileged
        } else {
            &self.evictable_by_all
        };
        match order.first().copied() {
            Some(least) if worth >= least => {
                self.remove(least.2);
                true
            }
            _ => false,
        }
    }
}
