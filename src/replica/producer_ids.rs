//! Which producer ids the logs of this broker know already.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::replicas::Replicas;
use crate::base::error_code::ErrorCode;
use crate::base::ids::ProducerId;

/// Producer ids of a range that logs know, or may know.
#[derive(Debug)]
pub struct KnownProducerIds {
    ids: BTreeSet<ProducerId>,
    /// Logs that do not answer have had none above this one.
    below: i64,
}

impl KnownProducerIds {
    /// True when a log knows `id`, or does not answer and may know it.
    pub fn has(&self, id: ProducerId) -> bool {
        id.get() <= self.below || self.ids.contains(&id)
    }
}

impl Replicas {
    /// Those of `ids` whose producers some log remembers. Looks at every producer of every log but those of directories
    /// that are offline. Of a log that does not answer, all ids count up to the highest that it has had: nothing waits for
    /// its directory, and no id is given twice.
    pub fn known_producer_ids(&self, ids: &RangeInclusive<i64>) -> KnownProducerIds {
        let mut known = KnownProducerIds {
            ids: BTreeSet::new(),
            below: -1,
        };
        for partition in self.all() {
            match partition.lock() {
                Ok(locked) => {
                    let producers = locked.state.log.producers().map(|(id, _)| id);
                    known.ids.extend(producers.filter(|id| ids.contains(&id.get())));
                }
                Err(ErrorCode::KafkaStorageError) if !partition.directory().is_offline() => {
                    known.below = known.below.max(partition.highest_producer_id());
                }
                // Gone for good.
                Err(_) => {}
            }
        }
        known
    }
}
