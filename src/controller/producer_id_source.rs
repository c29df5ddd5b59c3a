//! Producer ids, one after the other, out of blocks that the controller gives (Kafka: `RPCProducerIdManager`).
//!
//! Invariant: an id is given out once. What is left of a block when the broker stops is lost, as in Kafka. An id that a log
//! knows already is passed over: another broker had the log directories for a while, with a store of its own, and gave it
//! out. With such an id a new producer's first batches would be taken for those of the old one, and dropped as duplicates.
//! Where a log does not answer, so are all ids that it may know.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;

use super::ToController;
use crate::base::clock;
use crate::base::error_code::ErrorCode;
use crate::base::ids::ProducerId;
use crate::replica::replicas::Replicas;
use crate::store::znodes::ProducerIdBlock;

/// How long a producer waits, and its connection with it, for the block that another one has asked for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Blocks that may be asked for, for one producer, while logs know all ids in them.
const BLOCKS: usize = 100;

/// This broker's producer ids. Clones share them.
#[derive(Clone)]
pub struct ProducerIds {
    inner: Arc<Inner>,
}

struct Inner {
    controller: ToController,
    replicas: Arc<Replicas>,
    /// What is left of the block, in order.
    left: Mutex<VecDeque<ProducerId>>,
    /// Held while a block is asked for, so that only one is.
    asking: AsyncMutex<()>,
}

impl ProducerIds {
    /// The ids of the broker whose logs are `replicas`. No block is asked for before the first id is wanted.
    pub fn new(controller: ToController, replicas: Arc<Replicas>) -> Self {
        let inner = Inner {
            controller,
            replicas,
            left: Mutex::default(),
            asking: AsyncMutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    fn take(&self) -> Option<ProducerId> {
        let mut left = self.inner.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.pop_front()
    }

    /// Takes up the ids of a block that no log knows.
    fn put(&self, block: &ProducerIdBlock) {
        let ids = block.first..=block.last;
        let known = self.inner.replicas.known_producer_ids(&ids);
        let all = ids.clone().count();
        let free: VecDeque<_> = ids.map(ProducerId).filter(|id| !known.has(*id)).collect();
        if free.len() < all {
            let (first, last) = (block.first, block.last);
            tracing::warn!(
                known = all - free.len(),
                first,
                last,
                "producer ids that logs know already, or may know, are not given out"
            );
        }
        *self.inner.left.lock().unwrap_or_else(PoisonError::into_inner) = free;
    }

    /// An id that nobody has.
    ///
    /// # Errors
    /// COORDINATOR_LOAD_IN_PROGRESS while the controller gives no block or does not answer, or logs know all ids of many
    /// blocks: the producer tries again, as with Kafka.
    pub async fn next(&self) -> Result<ProducerId, ErrorCode> {
        for _ in 0..BLOCKS {
            if let Some(id) = self.take() {
                return Ok(id);
            }
            let Some(_asking) = clock::timeout(PATIENCE, self.inner.asking.lock()).await else {
                return Err(ErrorCode::CoordinatorLoadInProgress);
            };
            if let Some(id) = self.take() {
                return Ok(id);
            }
            let block = self.block().await?;
            self.put(&block);
        }
        self.take().ok_or(ErrorCode::CoordinatorLoadInProgress)
    }

    async fn block(&self) -> Result<ProducerIdBlock, ErrorCode> {
        self.inner
            .controller
            .allocate_producer_ids()
            .await
            .map_err(|error| {
                tracing::warn!(%error, "no block of producer ids");
                ErrorCode::CoordinatorLoadInProgress
            })
    }
}
