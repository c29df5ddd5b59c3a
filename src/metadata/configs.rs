//! What the store says of the configs of topics and brokers, brought into the image and kept up.
//!
//! Who changes configs writes them and a notification; every broker watches the notifications and reads again what
//! they name (Kafka: `ZkConfigManager`, `ZkNodeChangeNotificationListener`). A bad value in the store is logged and
//! left out: it never keeps a broker from starting. With the configs of `__consumer_offsets` comes the number of its
//! partitions.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{CONSUMER_OFFSETS, Cluster, ClusterImage};
use crate::base::clock;
use crate::base::ids::{BrokerId, TopicId, TopicName};
use crate::base::shutdown::Shutdown;
use crate::config::BrokerConfig;
use crate::store::znodes::{ConfigChange, EntityConfig, Topic, paths};
use crate::store::{Node, Session, Store, StoreError, WatchEvent};

/// How long a notification lies in the store, in milliseconds.
const NOTIFICATION_AGE_MS: i64 = 15 * 60 * 1000;

/// Learns of configs that changed, after the image has them. Called without any lock held; must not block.
pub trait ConfigListener: Send + Sync {
    /// These topics have other configs.
    fn topic_configs_changed(&self, _topics: &[TopicName]) {}
    /// The configuration of this broker is another one; so may be that of every topic.
    fn broker_config_changed(&self, config: &BrokerConfig);
}

/// Brings configs from the store into the image. Clones share it.
#[derive(Clone)]
pub struct StoredConfigs {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    cluster: Cluster,
    listeners: Vec<Arc<dyn ConfigListener>>,
    /// The number of the last notification that was taken in.
    last: AtomicI64,
    /// The topics that were told of, with the ids under which their configs were read since: what was read before may be
    /// that of a former topic of the name.
    known: Mutex<BTreeMap<TopicName, TopicId>>,
    /// Held from a read until the image has it, or an older one might come later.
    reading: tokio::sync::Mutex<()>,
}

fn configs_in(path: &str, node: Option<Node>) -> BTreeMap<String, String> {
    let data = node.and_then(|node| node.data);
    match EntityConfig::decode(data.as_deref()) {
        Ok(entity) => entity.config,
        Err(error) => {
            tracing::error!("the configs in {path} cannot be read and are left out: {error}");
            BTreeMap::new()
        }
    }
}

impl StoredConfigs {
    /// Configs from `store` for `cluster`; `listeners` are told in this order. Nothing is read yet.
    pub fn new(store: Arc<dyn Store>, cluster: Cluster, listeners: Vec<Arc<dyn ConfigListener>>) -> Self {
        Self {
            inner: Arc::new(Inner {
                store,
                cluster,
                listeners,
                last: AtomicI64::new(-1),
                known: Mutex::default(),
                reading: tokio::sync::Mutex::default(),
            }),
        }
    }

    /// Reads all configs.
    pub async fn load_all(&self) -> Result<(), StoreError> {
        self.load_brokers().await?;
        let topics = self.inner.store.children(paths::TOPIC_CONFIGS).await?;
        let topics: Vec<TopicName> = topics
            .unwrap_or_default()
            .into_iter()
            .map(TopicName::from)
            .collect();
        self.load_topics(&topics).await
    }

    /// Reads the configs of these topics.
    pub async fn load_topics(&self, topics: &[TopicName]) -> Result<(), StoreError> {
        let _reading = self.inner.reading.lock().await;
        let asked: Vec<_> = topics
            .iter()
            .map(|topic| {
                let path = paths::topic_config(topic);
                let node = self.inner.store.get(&path);
                (topic, path, node)
            })
            .collect();
        let mut read = Vec::with_capacity(topics.len());
        for (topic, path, node) in asked {
            read.push((Arc::clone(topic), configs_in(&path, node.await?)));
        }
        let mut changed = Vec::new();
        if !read.is_empty() {
            self.inner.cluster.change(|image| {
                for (topic, configs) in read {
                    if image.set_topic_configs(&topic, configs) {
                        changed.push(topic);
                    }
                }
            });
        }
        if !changed.is_empty() {
            for listener in &self.inner.listeners {
                listener.topic_configs_changed(&changed);
            }
        }
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<TopicName, TopicId>> {
        self.inner.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the configs of those of these topics that are new here: nobody is notified of what a topic was created with.
    pub async fn load_new_topics(&self, topics: &[(TopicName, TopicId)]) -> Result<(), StoreError> {
        let is_new = |(topic, id): &&(TopicName, TopicId)| match self.known().get(topic) {
            Some(seen) => seen != id && !id.is_zero(),
            None => true,
        };
        let new: Vec<&(TopicName, TopicId)> = topics.iter().filter(is_new).collect();
        if new.is_empty() {
            return Ok(());
        }
        let names: Vec<TopicName> = new.iter().map(|(topic, _)| Arc::clone(topic)).collect();
        self.load_topics(&names).await?;
        if let Some((_, id)) = new.iter().find(|(topic, _)| **topic == *CONSUMER_OFFSETS) {
            self.count_offsets_partitions(*id).await?;
        }
        let mut known = self.known();
        for (topic, id) in new {
            known.insert(Arc::clone(topic), *id);
        }
        Ok(())
    }

    /// Reads over how many partitions groups are spread (Kafka: `GroupMetadataManager.startup`,
    /// `KafkaZkClient.getTopicPartitionCount`).
    async fn count_offsets_partitions(&self, id: TopicId) -> Result<(), StoreError> {
        let path = paths::topic(CONSUMER_OFFSETS);
        let Some(node) = self.inner.store.get(&path).await? else {
            // It is gone already.
            return Ok(());
        };
        match Topic::decode(node.data.as_deref().unwrap_or_default()) {
            Ok(topic) => {
                let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
                let counted = Some((id, count));
                self.inner
                    .cluster
                    .change(|image| image.offsets_partitions = counted);
            }
            Err(error) => tracing::error!("{path} cannot be read, so no group has a coordinator: {error}"),
        }
        Ok(())
    }

    /// Topics are gone; one that comes under the same name is new.
    pub fn forget_topics<'a>(&self, topics: impl IntoIterator<Item = &'a str>) {
        let mut known = self.known();
        for topic in topics {
            known.remove(topic);
        }
    }

    /// Reads the dynamic configs of all brokers.
    pub async fn load_brokers(&self) -> Result<(), StoreError> {
        let _reading = self.inner.reading.lock().await;
        let names = self.inner.store.children(paths::BROKER_CONFIGS).await?;
        let mut default = BTreeMap::new();
        let mut own = BTreeMap::new();
        for name in names.unwrap_or_default() {
            if name == paths::DEFAULT_ENTITY {
                default = self.read(&paths::broker_config(None)).await?;
            } else if let Ok(id) = name.parse().map(BrokerId) {
                own.insert(id, Arc::new(self.read(&paths::broker_config(Some(id))).await?));
            }
        }
        let mut changed = false;
        self.inner.cluster.change(|image: &mut ClusterImage| {
            changed = image.set_broker_configs(default, own.into_iter().collect())
        });
        if changed {
            let image = self.inner.cluster.get();
            for listener in &self.inner.listeners {
                listener.broker_config_changed(&image.broker_config);
            }
        }
        Ok(())
    }

    async fn read(&self, path: &str) -> Result<BTreeMap<String, String>, StoreError> {
        Ok(configs_in(path, self.inner.store.get(path).await?))
    }

    /// Follows the notifications until shutdown. Load everything before: those that lie there are taken in again,
    /// which changes nothing.
    pub async fn follow(self, shutdown: Shutdown) {
        let store = Arc::clone(&self.inner.store);
        let mut session = store.session();
        while !shutdown.begun() {
            let watched = async {
                let Some((children, watcher)) = store.children_and_watch(paths::CONFIG_CHANGES).await? else {
                    return Err(StoreError::NoNode);
                };
                self.take_in(children).await?;
                Ok(watcher)
            };
            let event = match watched.await {
                Ok(watcher) => tokio::select! {
                    biased;
                    () = shutdown.wait() => return,
                    event = watcher.changed() => event,
                },
                Err(error) => {
                    tracing::warn!("the notifications of changed configs cannot be read: {error}");
                    WatchEvent::SessionOver
                }
            };
            if event == WatchEvent::SessionOver {
                // Wait for the session to be another one; what changed meanwhile is read as a whole.
                let again = session.wait_for(|session| matches!(session, Session::Connected(_)));
                tokio::select! {
                    biased;
                    () = shutdown.wait() => return,
                    state = again => if state.is_err() { return },
                }
                clock::sleep(std::time::Duration::from_millis(100)).await;
                if let Err(error) = self.load_all().await {
                    tracing::warn!("the configs cannot be read: {error}");
                }
            }
        }
    }

    /// Takes in the notifications among `children` that are new, and deletes the old ones.
    async fn take_in(&self, children: Vec<String>) -> Result<(), StoreError> {
        let number = |name: &String| name.strip_prefix(paths::CONFIG_CHANGE)?.parse::<i64>().ok();
        for child in children {
            let Some(number) = number(&child) else {
                tracing::warn!("{}/{child} is no notification", paths::CONFIG_CHANGES);
                continue;
            };
            let path = format!("{}/{child}", paths::CONFIG_CHANGES);
            let Some(node) = self.inner.store.get(&path).await? else {
                continue;
            };
            if number > self.inner.last.load(Ordering::Acquire) {
                match ConfigChange::decode(node.data.as_deref().unwrap_or_default()) {
                    Ok(change) => self.changed(&change).await?,
                    Err(error) => tracing::warn!("{path} cannot be read: {error}"),
                }
                self.inner.last.store(number, Ordering::Release);
            }
            if clock::now_ms().saturating_sub(node.stat.ctime_ms) > NOTIFICATION_AGE_MS {
                // Brokers race for it; who comes late finds nothing.
                let _ = self.inner.store.delete(&path, None).await;
            }
        }
        Ok(())
    }

    async fn changed(&self, change: &ConfigChange) -> Result<(), StoreError> {
        match change.entity_path.split_once('/') {
            Some(("topics", topic)) => self.load_topics(&[TopicName::from(topic)]).await,
            Some(("brokers", _)) => self.load_brokers().await,
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "configs_test.rs"]
mod tests;
