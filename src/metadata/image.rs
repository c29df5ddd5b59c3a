//! The image: brokers, topics, partitions, and the configs that were set on them.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;

use super::CONSUMER_OFFSETS;
use super::control::{PartitionMetadata, UpdateMetadata};
use crate::base::ids::{
    BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, TopicId, TopicName, TopicPartition,
};
use crate::base::planted::planted;
use crate::config::{BrokerConfig, LogConfig};

/// Configs that were set: key and value.
pub type Configs = Arc<BTreeMap<String, String>>;

/// The state of the cluster at one moment. To copy it costs nothing.
#[derive(Clone, Debug)]
pub struct ClusterImage {
    /// The cluster's id.
    pub cluster_id: Arc<str>,
    /// The active controller, if one is known.
    pub controller: Option<BrokerId>,
    /// The brokers that are alive.
    pub brokers: OrdMap<BrokerId, Arc<BrokerImage>>,
    /// The topics by name.
    pub topics: OrdMap<TopicName, Arc<TopicImage>>,
    /// The names of the topics by id.
    pub topic_ids: OrdMap<TopicId, TopicName>,
    /// How many partitions `__consumer_offsets` has by its node in the store, as it was when the topic with this id was
    /// first told of. `None` until that was read, and where there is no such topic.
    pub offsets_partitions: Option<(TopicId, i32)>,
    /// The configs that were set on topics; a topic without any is absent.
    pub topic_configs: OrdMap<TopicName, Arc<TopicConfigs>>,
    /// The dynamic configs of each broker, as they lie in the store.
    pub broker_configs: OrdMap<BrokerId, Configs>,
    /// The dynamic configs of all brokers.
    pub default_broker_configs: Configs,
    /// The configuration of this broker: what it was started with, and its dynamic configs on top.
    pub broker_config: BrokerConfig,
    /// The configs of a topic that overrides nothing.
    pub default_log_config: Arc<LogConfig>,
    /// Whether a controller has told of the cluster since the broker started: without that, a topic that is not here may
    /// well be there.
    pub is_told: bool,
    /// Counts the images.
    pub generation: u64,
    /// This broker.
    pub this_broker: BrokerId,
}

/// The configs of a topic that has some of its own.
#[derive(Clone, PartialEq, Debug)]
pub struct TopicConfigs {
    /// What was set.
    pub overrides: BTreeMap<String, String>,
    /// What follows for its logs on this broker.
    pub log_config: Arc<LogConfig>,
}

/// A broker that is alive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokerImage {
    /// Its id.
    pub id: BrokerId,
    /// Its epoch: the czxid of its registration. −1 when it is not known.
    pub epoch: BrokerEpoch,
    /// Where it listens.
    pub endpoints: Vec<Endpoint>,
    /// Its rack.
    pub rack: Option<Arc<str>>,
}

/// Where a broker listens under a listener's name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// The listener's name, in capitals.
    pub listener: Arc<str>,
    /// `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.
    pub security_protocol: Arc<str>,
    /// The host that clients are told.
    pub host: Arc<str>,
    /// The port that clients are told.
    pub port: i32,
}

/// A topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicImage {
    /// Its name.
    pub name: TopicName,
    /// Its id; zero for a topic that has none.
    pub id: TopicId,
    /// Its partitions by number.
    pub partitions: OrdMap<i32, Arc<PartitionImage>>,
}

/// A partition, as the controller last told of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionImage {
    /// The epoch of the controller that last changed it.
    pub controller_epoch: ControllerEpoch,
    /// The leader, if there is one.
    pub leader: Option<BrokerId>,
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// The version of its state in the store.
    pub partition_epoch: i32,
    /// Its replicas, the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// The replicas that are in sync.
    pub isr: Vec<BrokerId>,
    /// The replicas that are not online.
    pub offline_replicas: Vec<BrokerId>,
}

impl BrokerImage {
    /// Where it listens under the listener's name.
    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints
            .iter()
            .find(|endpoint| &*endpoint.listener == listener)
    }
}

impl ClusterImage {
    pub(super) fn empty(
        cluster_id: impl Into<Arc<str>>,
        this_broker: BrokerId,
        config: BrokerConfig,
    ) -> Self {
        Self {
            cluster_id: cluster_id.into(),
            controller: None,
            brokers: OrdMap::new(),
            topics: OrdMap::new(),
            topic_ids: OrdMap::new(),
            offsets_partitions: None,
            topic_configs: OrdMap::new(),
            broker_configs: OrdMap::new(),
            default_broker_configs: Configs::default(),
            default_log_config: Arc::new(config.log_defaults().clone()),
            broker_config: config,
            is_told: false,
            generation: 0,
            this_broker,
        }
    }

    /// The topic of this name.
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topics.get(name)
    }

    /// The topic with this id.
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<TopicImage>> {
        self.topics.get(self.topic_ids.get(&id)?)
    }

    /// A partition.
    pub fn partition(&self, topic: &str, partition: i32) -> Option<&Arc<PartitionImage>> {
        self.topic(topic)?.partitions.get(&partition)
    }

    /// The configs that were set on a topic.
    pub fn topic_overrides(&self, topic: &str) -> BTreeMap<String, String> {
        self.topic_configs
            .get(topic)
            .map(|configs| configs.overrides.clone())
            .unwrap_or_default()
    }

    /// What the logs of a topic are kept by on this broker.
    pub fn log_config(&self, topic: &str) -> Arc<LogConfig> {
        let configs = self.topic_configs.get(topic);
        Arc::clone(configs.map_or(&self.default_log_config, |configs| &configs.log_config))
    }

    /// The dynamic configs of a broker alone.
    pub fn configs_of_broker(&self, broker: BrokerId) -> Configs {
        self.broker_configs.get(&broker).cloned().unwrap_or_default()
    }

    /// Sets, or with an empty map removes, the configs of a topic. True when that changed anything.
    pub fn set_topic_configs(&mut self, topic: &TopicName, overrides: BTreeMap<String, String>) -> bool {
        if overrides.is_empty() {
            return self.topic_configs.remove(topic).is_some();
        }
        let before = self.topic_configs.get(topic);
        if before.is_some_and(|before| before.overrides == overrides) {
            return false;
        }
        let configs = Arc::new(self.topic_configs_of(topic, overrides));
        self.topic_configs.insert(Arc::clone(topic), configs);
        true
    }

    fn topic_configs_of(&self, topic: &TopicName, overrides: BTreeMap<String, String>) -> TopicConfigs {
        let (log_config, errors) = LogConfig::lenient(&self.broker_config, &overrides);
        for error in errors {
            tracing::error!("a config of topic {topic} cannot be used and is left out: {error}");
        }
        TopicConfigs {
            overrides,
            log_config: Arc::new(log_config),
        }
    }

    /// Sets the dynamic configs of all brokers and of each. True when that changed this broker's configuration; then
    /// the configs of every topic are worked out again.
    pub fn set_broker_configs(
        &mut self,
        default: BTreeMap<String, String>,
        own: OrdMap<BrokerId, Configs>,
    ) -> bool {
        let none = Configs::default();
        let before = (
            &self.default_broker_configs,
            self.broker_configs.get(&self.this_broker).unwrap_or(&none),
        );
        let now = own.get(&self.this_broker).unwrap_or(&none);
        let changed = (&**before.0, before.1) != (&default, now);
        if changed {
            let (config, errors) = self.broker_config.with_stored_dynamic(&default, now);
            for error in errors {
                tracing::error!("a dynamic config of this broker cannot be used and is left out: {error}");
            }
            for warning in config.warnings_since(&self.broker_config) {
                tracing::warn!("a dynamic config of this broker has no effect: {warning}");
            }
            self.default_log_config = Arc::new(config.log_defaults().clone());
            self.broker_config = config;
            let topics = std::mem::take(&mut self.topic_configs);
            self.topic_configs = topics
                .iter()
                .map(|(topic, configs)| {
                    let overrides =
                        planted!("cluster-defaults-win", BTreeMap::new(), configs.overrides.clone());
                    let configs = self.topic_configs_of(topic, overrides);
                    (Arc::clone(topic), Arc::new(configs))
                })
                .collect();
        }
        self.default_broker_configs = Arc::new(default);
        self.broker_configs = own;
        changed
    }

    /// A topic is gone.
    pub fn remove_topic(&mut self, name: &str) {
        if let Some(topic) = self.topics.remove(name) {
            self.topic_ids.remove(&topic.id);
        }
        self.topic_configs.remove(name);
        if name == CONSUMER_OFFSETS {
            self.offsets_partitions = None;
        }
    }

    pub(super) fn update(&mut self, update: &UpdateMetadata) -> Vec<TopicPartition> {
        self.controller = Some(update.controller).filter(|controller| controller.get() >= 0);
        self.brokers = update
            .live_brokers
            .iter()
            .map(|broker| (broker.id, Arc::clone(broker)))
            .collect();
        // A controller of Kafka begins with the brokers alone; one in this process with everything that there is.
        self.is_told |= !update.topics.is_empty() || update.controller == self.this_broker;
        let mut gone = Vec::new();
        for topic in &update.topics {
            let before = self.topics.get(&topic.name);
            if let Some(before) = before
                && before.id != topic.id
            {
                self.topic_ids.remove(&before.id);
            }
            let mut partitions = before.map_or_else(OrdMap::new, |before| before.partitions.clone());
            for (partition, state) in &topic.partitions {
                match state {
                    PartitionMetadata::State(state) => {
                        planted!(
                            "cluster-stale-metadata",
                            if partitions
                                .get(partition)
                                .is_some_and(|one: &Arc<PartitionImage>| one.leader == state.leader)
                            {
                                continue;
                            }
                        );
                        partitions.insert(*partition, Arc::clone(state));
                    }
                    PartitionMetadata::Deleted => {
                        partitions.remove(partition);
                        gone.push(TopicPartition::new(Arc::clone(&topic.name), *partition));
                    }
                }
            }
            if partitions.is_empty() {
                self.remove_topic(&topic.name);
                continue;
            }
            if !topic.id.is_zero() {
                self.topic_ids.insert(topic.id, Arc::clone(&topic.name));
            }
            let image = TopicImage {
                name: Arc::clone(&topic.name),
                id: topic.id,
                partitions,
            };
            self.topics.insert(Arc::clone(&topic.name), Arc::new(image));
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::Uuid;
    use crate::metadata::Cluster;
    use crate::metadata::control::UpdateMetadataTopic;

    const ME: BrokerId = BrokerId(1);

    fn cluster() -> Cluster {
        Cluster::new("cluster", ME, BrokerConfig::from_pairs(&[]).unwrap())
    }

    fn state(leader: i32) -> PartitionMetadata {
        PartitionMetadata::State(Arc::new(PartitionImage {
            controller_epoch: ControllerEpoch(1),
            leader: Some(BrokerId(leader)),
            leader_epoch: LeaderEpoch(0),
            partition_epoch: 0,
            replicas: vec![BrokerId(leader)],
            isr: vec![BrokerId(leader)],
            offline_replicas: Vec::new(),
        }))
    }

    type Topic<'a> = (&'a str, u8, Vec<(i32, PartitionMetadata)>);

    fn update(topics: Vec<Topic<'_>>) -> UpdateMetadata {
        let broker = BrokerImage {
            id: ME,
            epoch: BrokerEpoch(5),
            endpoints: Vec::new(),
            rack: None,
        };
        UpdateMetadata {
            controller: ME,
            controller_epoch: ControllerEpoch(1),
            broker_epoch: BrokerEpoch(5),
            live_brokers: vec![Arc::new(broker)],
            topics: topics
                .into_iter()
                .map(|(name, id, partitions)| UpdateMetadataTopic {
                    name: name.into(),
                    id: Uuid([id; 16]),
                    partitions,
                })
                .collect(),
        }
    }

    #[test]
    fn partitions_that_are_not_named_stay_and_deleted_ones_go() {
        let cluster = cluster();
        cluster.update(&update(vec![
            ("a", 1, vec![(0, state(1)), (1, state(2))]),
            ("b", 2, vec![(0, state(1))]),
        ]));
        let gone = cluster.update(&update(vec![("a", 1, vec![(1, PartitionMetadata::Deleted)])]));
        assert_eq!(gone, [TopicPartition::new("a", 1)]);
        let image = cluster.get();
        assert_eq!(image.partition("a", 0).unwrap().leader, Some(ME));
        assert!(image.partition("a", 1).is_none());
        assert!(image.partition("b", 0).is_some());
        cluster.update(&update(vec![("a", 1, vec![(0, PartitionMetadata::Deleted)])]));
        let image = cluster.get();
        assert!(image.topic("a").is_none() && image.topic_by_id(Uuid([1; 16])).is_none());
        assert_eq!(image.topic_by_id(Uuid([2; 16])).unwrap().name, "b".into());
    }

    #[test]
    fn a_topic_made_anew_is_not_found_by_its_old_id() {
        let cluster = cluster();
        cluster.update(&update(vec![("a", 1, vec![(0, state(1))])]));
        cluster.update(&update(vec![("a", 9, vec![(0, state(1))])]));
        let image = cluster.get();
        assert!(image.topic_by_id(Uuid([1; 16])).is_none());
        assert!(image.topic_by_id(Uuid([9; 16])).is_some());
    }

    #[test]
    fn who_lives_and_who_rules_is_told_anew_each_time_and_an_id_may_be_taken_back() {
        let cluster = cluster();
        cluster.update(&update(vec![("a", 1, vec![(0, state(1))])]));
        let mut other = update(vec![("a", 0, vec![(0, state(2))])]);
        let two = BrokerImage {
            id: BrokerId(2),
            ..BrokerImage::clone(&other.live_brokers[0])
        };
        (other.controller, other.live_brokers) = (BrokerId(2), vec![Arc::new(two)]);
        cluster.update(&other);
        let image = cluster.get();
        assert_eq!(image.controller, Some(BrokerId(2)));
        assert_eq!(image.brokers.keys().copied().collect::<Vec<_>>(), [BrokerId(2)]);
        assert!(image.topic_by_id(Uuid([1; 16])).is_none());
        assert!(image.topic("a").unwrap().id.is_zero() && image.topic_by_id(Uuid::ZERO).is_none());
        // The last one counts, whatever its epochs: there is no other order than that in which they come.
        let epoch = |image: &ClusterImage| image.partition("a", 0).unwrap().leader;
        assert_eq!(epoch(&image), Some(BrokerId(2)));
        cluster.update(&update(vec![("a", 1, vec![(0, state(1))])]));
        assert_eq!(epoch(&cluster.get()), Some(ME));
        let nobody = UpdateMetadata {
            controller: BrokerId(-1),
            ..update(Vec::new())
        };
        cluster.update(&nobody);
        assert_eq!(cluster.get().controller, None);
    }

    #[test]
    fn what_did_not_change_is_shared_with_the_image_before() {
        let cluster = cluster();
        cluster.update(&update(vec![
            ("a", 1, vec![(0, state(1)), (1, state(1))]),
            ("b", 2, vec![(0, state(1))]),
        ]));
        let before = cluster.get();
        let mut images = cluster.subscribe();
        images.borrow_and_update();
        cluster.update(&update(vec![("a", 1, vec![(0, state(2))])]));
        assert!(images.has_changed().unwrap());
        let after = cluster.get();
        assert!(Arc::ptr_eq(before.topic("b").unwrap(), after.topic("b").unwrap()));
        assert!(Arc::ptr_eq(
            before.partition("a", 1).unwrap(),
            after.partition("a", 1).unwrap()
        ));
        assert_eq!(before.partition("a", 0).unwrap().leader, Some(ME));
        assert_eq!(after.partition("a", 0).unwrap().leader, Some(BrokerId(2)));
        assert!(after.generation > before.generation);
    }

    #[test]
    fn a_bad_value_in_the_store_is_left_out_and_keeps_nothing_else_from_working() {
        let cluster = cluster();
        let configs = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
            pairs.iter().map(own).collect()
        };
        cluster.change(|image| {
            let bad = configs(&[("retention.ms", "soon"), ("segment.ms", "7"), ("no.such", "1")]);
            assert!(image.set_topic_configs(&"a".into(), bad.clone()));
            assert!(!image.set_topic_configs(&"a".into(), bad));
            let broker = configs(&[
                ("log.retention.ms", "9"),
                ("broker.id", "x"),
                ("num.partitions", "no"),
            ]);
            assert!(image.set_broker_configs(broker, OrdMap::new()));
        });
        let image = cluster.get();
        let config = image.log_config("a");
        assert_eq!((config.segment_ms, config.retention_ms), (7, 9));
        assert_eq!(image.log_config("b").retention_ms, 9);
    }
}
