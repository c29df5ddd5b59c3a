//! Randomness: one seeded source a broker, so that one seed is one history.

use std::sync::{Arc, Mutex, PoisonError};

use super::ids::Uuid;

/// A source of random numbers; clones share it. Not for secrets.
#[derive(Clone)]
pub struct Random(Arc<Mutex<fastrand::Rng>>);

impl Random {
    /// A source that yields the same numbers for the same `seed`.
    pub fn from_seed(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))))
    }

    /// A source seeded by the operating system.
    pub fn from_system() -> Self {
        Self(Arc::new(Mutex::new(fastrand::Rng::new())))
    }

    fn with<T>(&self, take: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A number below `bound`; 0 when `bound` is 0.
    pub fn below(&self, bound: u64) -> u64 {
        if bound == 0 {
            0
        } else {
            self.with(|rng| rng.u64(..bound))
        }
    }

    /// A random UUID of version 4, as Kafka's `Uuid.randomUuid` makes them: never one whose text starts with a dash.
    pub fn uuid(&self) -> Uuid {
        loop {
            let mut bytes: [u8; 16] = self.with(|rng| rng.u128(..)).to_be_bytes();
            if let Some(version) = bytes.get_mut(6) {
                *version = (*version & 0x0f) | 0x40;
            }
            if let Some(variant) = bytes.get_mut(8) {
                *variant = (*variant & 0x3f) | 0x80;
            }
            let id = Uuid(bytes);
            if !id.to_string().starts_with('-') {
                return id;
            }
        }
    }
}
