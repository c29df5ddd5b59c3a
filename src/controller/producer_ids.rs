//! Blocks of producer ids (Kafka: `ZkProducerIdManager`, AllocateProducerIds): no id is ever given out twice.

use super::active::Active;
use super::reign::Lost;
use super::request::AdminError;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerEpoch, BrokerId};
use crate::store::znodes::{ProducerIdBlock, paths};
use crate::store::{MultiError, Operation, StoreError};

impl Active {
    /// The next block, for `broker`, which must be registered with `epoch`.
    pub(super) async fn allocate_producer_ids(
        &self,
        broker: BrokerId,
        epoch: BrokerEpoch,
    ) -> Result<Result<ProducerIdBlock, AdminError>, Lost> {
        let Some(registered) = self.context.brokers.get(&broker) else {
            return Ok(Err(AdminError::new(
                ErrorCode::BrokerIdNotRegistered,
                format!("Broker {broker} is not registered."),
            )));
        };
        if registered.epoch != epoch {
            return Ok(Err(AdminError::new(
                ErrorCode::StaleBrokerEpoch,
                format!("Broker {broker} has epoch {}, not {epoch}.", registered.epoch),
            )));
        }
        loop {
            let node = self.reign.store.get(paths::PRODUCER_ID_BLOCK).await?;
            let Some(node) = node else {
                return Err(Lost::Store(StoreError::NoNode));
            };
            let last = match node.data.as_deref() {
                None | Some([]) => None,
                Some(data) => match ProducerIdBlock::decode(data) {
                    Ok(block) => Some(block),
                    Err(error) => {
                        let message = format!("{} cannot be read: {error}", paths::PRODUCER_ID_BLOCK);
                        tracing::error!("{message}");
                        return Ok(Err(AdminError::new(ErrorCode::UnknownServerError, message)));
                    }
                },
            };
            let Some(block) = ProducerIdBlock::next(last, broker) else {
                return Ok(Err(AdminError::new(
                    ErrorCode::UnknownServerError,
                    "All producer ids are used up.",
                )));
            };
            // Kafka fences this by the version alone, since every broker of old wrote it; here nothing that a controller
            // writes is without its epoch.
            let data = Some(block.encode());
            let operations = vec![
                self.reign.check(),
                Operation::set(paths::PRODUCER_ID_BLOCK, data, Some(node.stat.version)),
            ];
            match self.reign.store.multi(operations).await {
                Ok(_) => return Ok(Ok(block)),
                Err(MultiError {
                    index: Some(0),
                    error: StoreError::BadVersion | StoreError::NoNode,
                }) => return Err(Lost::Moved),
                // Read again; a block that nobody knows to have been taken is left out.
                Err(MultiError {
                    error: StoreError::BadVersion | StoreError::ConnectionLoss,
                    ..
                }) => {}
                Err(failed) => return Err(failed.error.into()),
            }
        }
    }
}
