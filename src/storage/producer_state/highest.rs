//! The highest producer id that a partition has known, for who must not wait for its log.
//!
//! Invariant: it never goes down, and no producer of the partition has a higher one. It may be higher than all that are
//! left: those that were forgotten count, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::base::ids::ProducerId;

/// The highest producer id of a partition; clones share it.
#[derive(Clone, Debug)]
pub struct HighestProducerId(Arc<AtomicI64>);

impl Default for HighestProducerId {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(-1)))
    }
}

impl HighestProducerId {
    /// The id; −1 while there was no producer. Never waits.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Acquire)
    }

    pub(super) fn raise(&self, id: ProducerId) {
        self.0.fetch_max(id.get(), Ordering::AcqRel);
    }
}
