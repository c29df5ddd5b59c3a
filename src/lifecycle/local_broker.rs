//! This broker as a controller reaches it: its own without a socket between, another one through `api/`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerEpoch, TopicId, TopicName, TopicPartition};
use crate::base::task;
use crate::controller::BrokerLink;
use crate::group::service::Groups;
use crate::metadata::ClusterImage;
use crate::metadata::configs::StoredConfigs;
use crate::metadata::control::{ControlAnswer, LeaderAndIsr, LogEnds, StopReplica, UpdateMetadata};
use crate::replica::replicas::Replicas;
use crate::store::znodes::paths;
use crate::store::{BoxFuture, Store, StoreError};

/// This broker.
pub struct Local {
    /// The store, which is asked where the controller does not tell.
    pub store: Arc<dyn Store>,
    /// Its partitions.
    pub replicas: Arc<Replicas>,
    /// The groups that it coordinates.
    pub groups: Groups,
    /// The configs of its topics.
    pub configs: StoredConfigs,
}

/// How long to wait before what could not be read is read again.
const RETRY: Duration = Duration::from_millis(100);
/// How long a controller may take, after its first word, to tell of the first partition; there may be none that it can
/// tell of.
const FIRST_PARTITION_PATIENCE: Duration = Duration::from_secs(10);

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

    /// This broker is registered again, after its session with the store was over; `before` is what it knew then.
    pub async fn registered_again(self: Arc<Self>, epoch: BrokerEpoch, before: Arc<ClusterImage>) {
        self.replicas.registered(epoch).await;
        // Nobody waits for it.
        drop(task::spawn(async move { self.forget_deleted(&before).await }));
    }

    /// Takes leave of the topics that were there `before` and have been deleted since: whoever was registered was told of
    /// it, and a controller that tells everything anew does not name what is not there.
    ///
    /// To be called after the registration, which was a change of this session: what is read now is no older.
    async fn forget_deleted(&self, before: &ClusterImage) {
        let there = loop {
            match self.topics_in_store().await {
                Ok(there) => break there,
                Err(StoreError::ConnectionLoss) => clock::sleep(RETRY).await,
                // Who registers anew comes here again.
                Err(error) => {
                    tracing::warn!("topics that were deleted meanwhile stay for now: {error}");
                    return;
                }
            }
        };
        let deleted: Vec<_> = before
            .topics
            .values()
            .filter(|topic| !there.contains(&*topic.name))
            .collect();
        if deleted.is_empty() {
            return;
        }
        let mut gone = BTreeSet::new();
        self.replicas.cluster().change(|image| {
            for topic in deleted {
                // One that was made anew since has another id.
                if image.topic(&topic.name).is_some_and(|now| now.id == topic.id) {
                    image.remove_topic(&topic.name);
                    gone.insert(topic.name.to_string());
                }
            }
        });
        self.topics_are_gone(gone);
    }

    /// The topics that are there and not about to be deleted.
    async fn topics_in_store(&self) -> Result<BTreeSet<String>, StoreError> {
        let deleting = self.store.children(paths::DELETE_TOPICS);
        let topics = self.store.children(paths::TOPICS);
        let deleting: BTreeSet<String> = deleting.await?.unwrap_or_default().into_iter().collect();
        let topics = topics.await?.unwrap_or_default().into_iter();
        Ok(topics.filter(|topic| !deleting.contains(topic)).collect())
    }

    /// A controller has told who is there, and of no partition: all that there is to tell, if there is no topic.
    async fn find_out_whether_all_is_told(&self) {
        let cluster = self.replicas.cluster().clone();
        match self.store.children(paths::TOPICS).await {
            Ok(topics) if topics.as_deref().is_none_or(<[String]>::is_empty) => {
                cluster.change(|image| image.is_told = true);
            }
            _ => drop(task::spawn(async move {
                clock::sleep(FIRST_PARTITION_PATIENCE).await;
                if !cluster.get().is_told {
                    cluster.change(|image| image.is_told = true);
                }
            })),
        }
    }

    /// Forgets what is kept for topics that are in the image no more. Nobody waits for groups to have forgotten them.
    fn topics_are_gone(&self, topics: BTreeSet<String>) {
        self.configs.forget_topics(topics.iter().map(String::as_str));
        if !topics.is_empty() {
            let removal = self.groups.topics_deleted(topics.into_iter().collect());
            drop(task::spawn(removal));
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
                    ..ControlAnswer::default()
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
            if !image.is_told {
                self.find_out_whether_all_is_told().await;
            }
            let topics = gone
                .iter()
                .filter(|partition| image.topic(&partition.topic).is_none())
                .map(|partition| partition.topic.to_string());
            self.topics_are_gone(topics.collect());
            ErrorCode::None
        })
    }
}

#[cfg(test)]
#[path = "local_broker_test.rs"]
mod tests;
