//! Which producer ids the logs of this broker know already.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::replicas::Replicas;
use crate::base::error_code::ErrorCode;
use crate::base::ids::ProducerId;

impl Replicas {
    /// Those of `ids` whose producers some log remembers. Looks at every producer of every log but those of directories
    /// that are offline; `None` while a log does not answer that may come back.
    pub fn known_producer_ids(&self, ids: &RangeInclusive<i64>) -> Option<BTreeSet<ProducerId>> {
        let mut known = BTreeSet::new();
        for partition in self.all() {
            match partition.lock() {
                Ok(locked) => {
                    let producers = locked.state.log.producers().map(|(id, _)| id);
                    known.extend(producers.filter(|id| ids.contains(&id.get())));
                }
                Err(ErrorCode::KafkaStorageError) if !partition.directory().is_offline() => return None,
                // Gone for good.
                Err(_) => {}
            }
        }
        Some(known)
    }
}
