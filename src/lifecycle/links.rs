//! The controller's ways to other brokers: control requests over the wire, in the versions that a broker of Kafka 3.9 sends
//! without asking (Kafka: `RequestSendThread`, `ControllerBrokerRequestBatch`).

use std::sync::Arc;
use std::time::Duration;

use crate::base::error_code::ErrorCode;
use crate::base::ids::TopicPartition;
use crate::controller::{BrokerLink, Links};
use crate::metadata::control::{ControlAnswer, LeaderAndIsr, LogEnds, StopReplica, UpdateMetadata};
use crate::metadata::messages::{log_ends, log_ends_request, update_metadata_error};
use crate::metadata::{BrokerImage, Cluster};
use crate::peer::{Address, Channel, Options, Version, versions};
use crate::store::BoxFuture;
use crate::wire::Message;
use crate::wire::messages::leader_and_isr::LeaderAndIsrResponse;
use crate::wire::messages::list_offsets::ListOffsetsResponse;
use crate::wire::messages::stop_replica::StopReplicaResponse;
use crate::wire::messages::update_metadata::UpdateMetadataResponse;

/// One request, and the one before it, of whose answer the channel has not taken note yet.
const UNDER_WAY: usize = 2;

/// Makes links over the listener of the controller.
pub struct BrokerLinks {
    cluster: Cluster,
}

impl BrokerLinks {
    /// Links of this broker.
    pub fn new(cluster: &Cluster) -> Self {
        Self {
            cluster: cluster.clone(),
        }
    }
}

impl Links for BrokerLinks {
    fn to(&self, broker: &BrokerImage) -> Option<Arc<dyn BrokerLink>> {
        let image = self.cluster.get();
        let config = &image.broker_config;
        let endpoint = broker.endpoint(config.controller_listener())?;
        let address = Address {
            broker: broker.id,
            host: Arc::clone(&endpoint.host),
            port: endpoint.port,
        };
        let timeout_ms = u64::try_from(config.controller_socket_timeout_ms).unwrap_or(0);
        let options = Options::new(
            image.this_broker.to_string(),
            Duration::from_millis(timeout_ms.max(1)),
        );
        Some(Arc::new(RemoteBroker {
            cluster: self.cluster.clone(),
            channel: Channel::new(address, options, UNDER_WAY),
        }))
    }
}

/// Another broker.
struct RemoteBroker {
    cluster: Cluster,
    channel: Channel,
}

impl RemoteBroker {
    /// Sends a request until it is answered.
    async fn ask<Q, A>(&self, version: i16, request: Q) -> A
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Send + 'static,
    {
        if let Ok(answer) = self.channel.ask(Version::Fixed(version), request)
            && let Ok((_, answer)) = answer.await
        {
            return answer;
        }
        // Never: only one is asked at a time, and only a channel that is gone gives a request up.
        std::future::pending().await
    }
}

impl BrokerLink for RemoteBroker {
    fn leader_and_isr(&self, request: LeaderAndIsr) -> BoxFuture<'_, ControlAnswer> {
        Box::pin(async move {
            let image = self.cluster.get();
            let version = versions::LEADER_AND_ISR;
            let live = image.brokers.values().map(|broker| &**broker);
            let message = request.message(version, live, image.broker_config.inter_broker_listener());
            let answer: LeaderAndIsrResponse = self.ask(version, message).await;
            ControlAnswer::from_leader_and_isr(&answer, &request, version)
        })
    }

    fn stop_replica(&self, request: StopReplica) -> BoxFuture<'_, ControlAnswer> {
        Box::pin(async move {
            let version = versions::STOP_REPLICA;
            let mut all = ControlAnswer::default();
            for message in request.messages(version) {
                let answer: StopReplicaResponse = self.ask(version, message).await;
                let answer = ControlAnswer::from_stop_replica(&answer);
                if !answer.error.is_none() {
                    all.error = answer.error;
                }
                all.partitions.extend(answer.partitions);
            }
            all
        })
    }

    fn log_ends(&self, partitions: Vec<TopicPartition>) -> BoxFuture<'_, LogEnds> {
        Box::pin(async move {
            let version = versions::LIST_OFFSETS;
            let answer: ListOffsetsResponse = self.ask(version, log_ends_request(&partitions)).await;
            log_ends(&answer)
        })
    }

    fn update_metadata(&self, request: UpdateMetadata) -> BoxFuture<'_, ErrorCode> {
        Box::pin(async move {
            let version = versions::UPDATE_METADATA;
            let answer: UpdateMetadataResponse = self.ask(version, request.message(version)).await;
            update_metadata_error(&answer)
        })
    }
}
