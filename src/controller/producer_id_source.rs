//! Producer ids, one after the other, out of blocks that the controller gives (Kafka: `RPCProducerIdManager`).
//!
//! Invariant: an id is given out once. What is left of a block when the broker stops is lost, as in Kafka.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Mutex as AsyncMutex;

use super::Controller;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerEpoch, BrokerId, ProducerId};

/// This broker's producer ids. Clones share them.
#[derive(Clone)]
pub struct ProducerIds {
    inner: Arc<Inner>,
}

struct Inner {
    controller: Controller,
    broker: BrokerId,
    epoch: BrokerEpoch,
    /// The next id, and the last of the block.
    block: Mutex<(i64, i64)>,
    /// Held while a block is asked for, so that only one is.
    asking: AsyncMutex<()>,
}

impl ProducerIds {
    /// The ids of `broker`, registered with `epoch`. No block is asked for before the first id is wanted.
    pub fn new(controller: Controller, broker: BrokerId, epoch: BrokerEpoch) -> Self {
        let inner = Inner {
            controller,
            broker,
            epoch,
            block: Mutex::new((0, -1)),
            asking: AsyncMutex::new(()),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    fn take(&self) -> Option<ProducerId> {
        let mut block = self.inner.block.lock().unwrap_or_else(PoisonError::into_inner);
        let next = block.0;
        (next <= block.1).then(|| {
            block.0 = next.saturating_add(1);
            ProducerId(next)
        })
    }

    /// An id that nobody has.
    ///
    /// # Errors
    /// COORDINATOR_LOAD_IN_PROGRESS while the controller gives no block: the producer tries again, as with Kafka.
    pub async fn next(&self) -> Result<ProducerId, ErrorCode> {
        loop {
            if let Some(id) = self.take() {
                return Ok(id);
            }
            let _asking = self.inner.asking.lock().await;
            if let Some(id) = self.take() {
                return Ok(id);
            }
            match self
                .inner
                .controller
                .allocate_producer_ids(self.inner.broker, self.inner.epoch)
                .await
            {
                Ok(given) => {
                    *self.inner.block.lock().unwrap_or_else(PoisonError::into_inner) =
                        (given.first, given.last);
                }
                Err(error) => {
                    tracing::warn!(%error, "no block of producer ids");
                    return Err(ErrorCode::CoordinatorLoadInProgress);
                }
            }
        }
    }
}
