//! This broker as a controller reaches it: its own without a socket between, another one through `api/`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{TopicId, TopicName, TopicPartition};
use crate::base::task;
use crate::controller::BrokerLink;
use crate::group::service::Groups;
use crate::metadata::configs::StoredConfigs;
use crate::metadata::control::{ControlAnswer, LeaderAndIsr, LogEnds, StopReplica, UpdateMetadata};
use crate::replica::replicas::Replicas;
use crate::store::{BoxFuture, StoreError};

/// This broker.
pub struct Local {
    /// Its partitions.
    pub replicas: Arc<Replicas>,
    /// The groups that it coordinates.
    pub groups: Groups,
    /// The configs of its topics.
    pub configs: StoredConfigs,
}

/// How long to wait before configs are read again that could not be read.
const RETRY: Duration = Duration::from_millis(100);

impl Local {
    /// Reads what new topics were created with, which nobody is notified of: before their replicas are made, or a leader
    /// would acknowledge by other rules than its topic's (Kafka reads them when it makes the log).
    ///
    /// # Errors
    /// The session with the store is over: who registers anew is told everything anew.
    async fn load_configs(&self, topics: &[(TopicName, TopicId)]) -> Result<(), StoreError> {
        loop {
            match self.configs.load_new_topics(topics).await {
                Err(StoreError::ConnectionLoss) => clock::sleep(RETRY).await,
                done => return done,
            }
        }
    }
}

impl BrokerLink for Local {
    fn leader_and_isr(&self, request: LeaderAndIsr) -> BoxFuture<'_, ControlAnswer> {
        Box::pin(async move {
            let topics: Vec<(TopicName, TopicId)> = request
                .topics
                .iter()
                .map(|topic| (Arc::clone(&topic.name), topic.id))
                .collect();
            if let Err(error) = self.load_configs(&topics).await {
                tracing::error!("the configs of new topics cannot be read: {error}");
                return ControlAnswer {
                    error: ErrorCode::UnknownServerError,
                    partitions: Vec::new(),
                };
            }
            self.replicas.leader_and_isr(request).await
        })
    }

    fn stop_replica(&self, request: StopReplica) -> BoxFuture<'_, ControlAnswer> {
        Box::pin(self.replicas.stop_replica(request))
    }

    fn log_ends(&self, partitions: Vec<TopicPartition>) -> BoxFuture<'_, LogEnds> {
        Box::pin(async move {
            let end = |name: TopicPartition| {
                let end = self.replicas.log_end(&name);
                (name, end)
            };
            partitions.into_iter().map(end).collect()
        })
    }

    fn update_metadata(&self, request: UpdateMetadata) -> BoxFuture<'_, ErrorCode> {
        Box::pin(async move {
            let topics: Vec<(TopicName, TopicId)> = request
                .topics
                .iter()
                .map(|topic| (Arc::clone(&topic.name), topic.id))
                .collect();
            if let Err(error) = self.load_configs(&topics).await {
                tracing::warn!("the configs of new topics cannot be read yet: {error}");
            }
            let gone = match self.replicas.update_metadata(&request).await {
                Ok(gone) => gone,
                Err(error) => return error,
            };
            let image = self.replicas.cluster().get();
            let topics: BTreeSet<String> = gone
                .iter()
                .filter(|partition| image.topic(&partition.topic).is_none())
                .map(|partition| partition.topic.to_string())
                .collect();
            self.configs.forget_topics(topics.iter().map(String::as_str));
            if !topics.is_empty() {
                // The controller does not wait for it.
                let removal = self.groups.topics_deleted(topics.into_iter().collect());
                drop(task::spawn(removal));
            }
            ErrorCode::None
        })
    }
}
