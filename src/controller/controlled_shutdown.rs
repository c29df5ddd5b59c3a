//! A broker that is about to stop, and has its partitions led by others first (Kafka:
//! `KafkaController.doControlledShutdown`).

use super::active::{Active, Reason};
use super::channels::Request;
use super::context::New;
use super::reign::Lost;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerEpoch, BrokerId, LeaderEpoch, TopicPartition};
use crate::metadata::control::{StopReplica, StopReplicaPartition};

impl Active {
    /// Moves what `broker` leads to others in sync, and takes it out of the ISRs. Yields the partitions that it still
    /// leads, because nobody else can.
    ///
    /// # Errors
    /// For a broker that is not registered BROKER_NOT_AVAILABLE, or UNKNOWN_SERVER_ERROR where the request names an epoch,
    /// as in Kafka; STALE_BROKER_EPOCH.
    pub(super) async fn controlled_shutdown(
        &mut self,
        broker: BrokerId,
        epoch: BrokerEpoch,
    ) -> Result<Result<Vec<TopicPartition>, ErrorCode>, Lost> {
        let names_epoch = epoch.get() != -1;
        let Some(known) = self.context.brokers.get(&broker) else {
            // Kafka looks the epoch up before it looks whether the broker is there.
            return Ok(Err(match names_epoch {
                true => ErrorCode::UnknownServerError,
                false => ErrorCode::BrokerNotAvailable,
            }));
        };
        if names_epoch && epoch < known.epoch {
            return Ok(Err(ErrorCode::StaleBrokerEpoch));
        }
        tracing::info!("broker {broker} is about to stop");
        self.context.leaving.insert(broker);
        let hosted: Vec<TopicPartition> = self
            .settled_partitions()
            .into_iter()
            .filter(|name| {
                let partition = self.context.partition(name);
                partition.is_some_and(|partition| {
                    partition.replicas.contains(&broker) && partition.replicas.len() > 1
                })
            })
            .collect();
        let changed = self.elect(&hosted, Reason::Leaving(broker)).await?;
        let followed: Vec<TopicPartition> = hosted
            .iter()
            .filter(|name| self.leader(name) != Some(broker))
            .cloned()
            .collect();
        self.tell(&changed, &New::new()).await?;
        self.stop_following(broker, followed).await;
        let remaining = hosted
            .into_iter()
            .filter(|name| self.leader(name) == Some(broker))
            .collect();
        Ok(Ok(remaining))
    }

    fn leader(&self, name: &TopicPartition) -> Option<BrokerId> {
        self.context.partition(name)?.state.as_ref()?.state.leader
    }

    /// Tells a broker to fetch no more: it is out of the ISRs, and must not come back into them.
    async fn stop_following(&mut self, broker: BrokerId, partitions: Vec<TopicPartition>) {
        if partitions.is_empty() {
            return;
        }
        let request = self.stop_request(broker, partitions, false);
        if broker == self.parts.broker {
            drop(self.parts.local.stop_replica(request).await);
        } else {
            let number = self.context.next_stop();
            self.channels.tell(broker, Request::StopReplica(number, request));
        }
    }

    /// The request that stops replicas on a broker, under the epochs of their leaders.
    pub(super) fn stop_request(
        &self,
        broker: BrokerId,
        partitions: Vec<TopicPartition>,
        delete: bool,
    ) -> StopReplica {
        let epoch = |name: &TopicPartition| {
            let partition = self.context.partition(name);
            let written = partition.and_then(|partition| partition.state.as_ref());
            written.map_or(LeaderEpoch::NONE, |written| written.state.leader_epoch)
        };
        let stop = |name: TopicPartition| StopReplicaPartition {
            leader_epoch: epoch(&name),
            partition: name,
            delete,
        };
        StopReplica {
            sender: self.context.sender(self.parts.broker, broker),
            partitions: partitions.into_iter().map(stop).collect(),
        }
    }
}
