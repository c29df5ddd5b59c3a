//! Reading from the nearest replica (KIP-392): where a consumer stands, and which brokers are near to it (Kafka's
//! `RackAwareReplicaSelector`, `MetadataCache.getPartitionReplicaEndpoints`).
//!
//! The leader alone sends a consumer elsewhere; it answers without records then, and the consumer goes there, until it
//! asks the leader again or is told an error. Which of the near ones it is, `Leadership::send_consumer` says. A follower
//! answers consumers of Fetch version 11 and later from what it has below its own high watermark.

use std::sync::Arc;

use crate::base::ids::BrokerId;
use crate::metadata::ClusterImage;

/// Where a consumer stands, as far as it matters to who serves it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerPlace {
    /// Its rack (`client.rack`); not empty.
    pub rack: Arc<str>,
    /// The listener that it came in by, which it uses elsewhere too.
    pub listener: Arc<str>,
}

impl ConsumerPlace {
    /// True for a broker that is alive, in the consumer's rack, and reached by its listener.
    pub fn is_near(&self, image: &ClusterImage, broker: BrokerId) -> bool {
        image.brokers.get(&broker).is_some_and(|known| {
            known.rack.as_deref() == Some(&*self.rack) && known.endpoint(&self.listener).is_some()
        })
    }
}
