//! What the handlers reach: the rooms below, wired together by `cli/broker.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::context::{Operation, Resource};
use super::{Rejected, RequestContext};
use crate::base::clock::{self, Instant};
use crate::base::error_code::ErrorCode;
use crate::config::{BrokerConfig, LogLevels};
use crate::controller::producer_id_source::ProducerIds;
use crate::controller::request::NewTopic;
use crate::controller::{BrokerLink, Controller, ToController};
use crate::group::old_offsets::OldOffsets;
use crate::group::service::Groups;
use crate::metadata::{CONSUMER_OFFSETS, Cluster, ClusterImage, TRANSACTION_STATE};
use crate::replica::fetch_session::FetchSessions;
use crate::replica::replicas::Replicas;
use crate::wire::text::Text;

/// How long a client, and its connection with it, waits at most for a topic that is created for it. Kafka's does not wait.
const CREATION_PATIENCE: Duration = Duration::from_secs(3);

/// How long a question about the cluster waits, at a broker that was just started, for the controller to tell of it.
const FIRST_WORD_PATIENCE: Duration = Duration::from_secs(5);

/// How often it looks.
const FIRST_WORD_LOOK: Duration = Duration::from_millis(10);

/// The rooms that handlers use.
pub struct Services {
    /// The cluster as this broker knows it.
    pub cluster: Cluster,
    /// The controller's door.
    pub controller: Controller,
    /// The way to the active controller, whichever broker that is.
    pub to_controller: ToController,
    /// This broker, as a controller reaches it.
    pub local: Arc<dyn BrokerLink>,
    /// Ids for idempotent producers.
    pub producer_ids: ProducerIds,
    /// The partitions that are here.
    pub replicas: Arc<Replicas>,
    /// Incremental fetch sessions (KIP-227).
    pub fetch_sessions: FetchSessions,
    /// What the broker logs (the BROKER_LOGGER resource).
    pub levels: LogLevels,
    /// The groups that this broker coordinates.
    pub groups: Groups,
    /// The offsets of the oldest clients, in the store.
    pub old_offsets: OldOffsets,
}

impl Services {
    /// The configuration in force.
    pub fn config(&self) -> BrokerConfig {
        self.cluster.get().broker_config.clone()
    }

    /// The cluster, once a controller has told of it. A broker that was just started knows nobody, itself included, until
    /// then, and Kafka's says so: clients that believe it are left without a broker to ask, and some never ask again.
    ///
    /// # Errors
    /// [`Rejected::Close`] where no controller comes in time: the client turns to another broker, or asks again.
    pub async fn told(&self) -> Result<Arc<ClusterImage>, Rejected> {
        let begun = Instant::now();
        let mut image = self.cluster.get();
        // Who waits for a change of the image is woken in an order that no seed decides; timers have theirs.
        while (!image.is_told || image.brokers.is_empty()) && begun.elapsed() < FIRST_WORD_PATIENCE {
            clock::sleep(FIRST_WORD_LOOK).await;
            image = self.cluster.get();
        }
        match image.brokers.is_empty() {
            false => Ok(image),
            true => Err(Rejected::Close("no controller has told of the cluster yet")),
        }
    }

    /// Creates `__consumer_offsets` where it is missing, whatever `auto.create.topics.enable` says, and waits until it
    /// can be used, or some seconds. Where it cannot be created, because there are too few brokers, clients go on being
    /// told that no coordinator is available, as by Kafka.
    pub async fn ensure_offsets_topic(&self) {
        let topic = new_topic(&self.config(), CONSUMER_OFFSETS);
        let creating = self.to_controller.create_topics(vec![topic]);
        let Some(answers) = clock::timeout(CREATION_PATIENCE, creating).await else {
            tracing::warn!("{CONSUMER_OFFSETS} is not created yet: the controller does not answer");
            return;
        };
        match answers.into_iter().next() {
            Some(Err(error)) if error.code != ErrorCode::TopicAlreadyExists => {
                tracing::warn!(%error, "{CONSUMER_OFFSETS} cannot be created: no group has a coordinator");
            }
            Some(Ok(_)) => {
                tracing::info!("{CONSUMER_OFFSETS} created, as a client asked for a group's coordinator")
            }
            _ => {}
        }
    }

    /// Creates topics that a client asked about, where `auto.create.topics.enable` and its rights allow it, and waits
    /// until this broker knows of them, or some seconds. Yields why topics are not known yet, by name: as Kafka's
    /// `AutoTopicCreationManager`, LEADER_NOT_AVAILABLE wherever the client need only ask again.
    pub async fn auto_create_topics(
        &self,
        context: &RequestContext,
        names: Vec<Text>,
    ) -> BTreeMap<String, ErrorCode> {
        let mut failed = BTreeMap::new();
        let config = self.config();
        if !config.auto_create_topics_enable {
            return failed;
        }
        let may = |name: &Text| {
            context.authorize(Operation::Create, Resource::Cluster)
                || context.authorize(Operation::Create, Resource::Topic(name))
        };
        let topics: Vec<NewTopic> = names
            .iter()
            .filter(|name| may(name))
            .map(|name| new_topic(&config, name))
            .collect();
        if topics.is_empty() {
            return failed;
        }
        let asked: Vec<String> = topics.iter().map(|topic| topic.name.clone()).collect();
        failed.extend(
            asked
                .iter()
                .map(|name| (name.clone(), ErrorCode::LeaderNotAvailable)),
        );
        let creating = async {
            let mut created = Vec::new();
            for (name, answer) in asked.iter().zip(self.to_controller.create_topics(topics).await) {
                match answer {
                    Ok(()) => {
                        tracing::info!(topic = name, "created for a client that asked for it");
                        created.push(name);
                    }
                    Err(error) => {
                        tracing::debug!(topic = name, %error, "not created for a client");
                        match error.code {
                            // Somebody else was faster, or the controller is about to be another one.
                            ErrorCode::TopicAlreadyExists
                            | ErrorCode::RequestTimedOut
                            | ErrorCode::NotController => {}
                            code => drop(failed.insert(name.clone(), code)),
                        }
                    }
                }
            }
            // The controller answers when it knows the topics itself; what it tells this broker may come later.
            let is_led = |image: &ClusterImage, name: &str| {
                let mut partitions = image
                    .topic(name)
                    .into_iter()
                    .flat_map(|topic| topic.partitions.values());
                partitions.any(|partition| partition.leader.is_some())
            };
            let mut images = self.cluster.subscribe();
            let led = images.wait_for(|image| created.iter().all(|name| is_led(image, name)));
            // There is always an image.
            let _ = led.await;
        };
        if clock::timeout(CREATION_PATIENCE, creating).await.is_none() {
            tracing::debug!("topics are not created for a client in time");
        }
        let image = self.cluster.get();
        failed.retain(|name, _| image.topic(name).is_none());
        failed
    }
}

/// A topic that a broker creates of itself (`AutoTopicCreationManager.creatableTopic`). The brokers' own are made as Kafka makes
/// them, whoever asks first: what lies in them must not go by age, nor an unclean leader lose what was decided there.
fn new_topic(config: &BrokerConfig, name: &str) -> NewTopic {
    let (partitions, replication_factor, configs) = match name {
        CONSUMER_OFFSETS => (
            config.offsets_topic_num_partitions,
            config.offsets_topic_replication_factor,
            vec![
                ("cleanup.policy", "compact".to_owned()),
                ("segment.bytes", config.offsets_topic_segment_bytes.to_string()),
                ("compression.type", "producer".to_owned()),
            ],
        ),
        TRANSACTION_STATE => (
            config.transaction_state_log_num_partitions,
            config.transaction_state_log_replication_factor,
            vec![
                ("unclean.leader.election.enable", "false".to_owned()),
                ("compression.type", "uncompressed".to_owned()),
                ("cleanup.policy", "compact".to_owned()),
                (
                    "min.insync.replicas",
                    config.transaction_state_log_min_isr.to_string(),
                ),
                (
                    "segment.bytes",
                    config.transaction_state_log_segment_bytes.to_string(),
                ),
            ],
        ),
        _ => (-1, -1, Vec::new()),
    };
    NewTopic {
        name: name.to_owned(),
        partitions,
        replication_factor,
        configs: configs
            .into_iter()
            .map(|(key, value)| (key.to_owned(), Some(value)))
            .collect(),
        ..NewTopic::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The config of a new topic, as the store keeps it: one written by Kafka 3.9.2 lies in `store/znodes/testdata`.
    fn configs(topic: &NewTopic) -> BTreeMap<&str, &str> {
        let configs = topic.configs.iter();
        configs
            .map(|(key, value)| (key.as_str(), value.as_deref().unwrap()))
            .collect()
    }

    #[test]
    fn the_topic_of_transactions_is_made_as_kafka_makes_it() {
        let pairs = [("zookeeper.connect", "127.0.0.1:2181")];
        let topic = new_topic(&BrokerConfig::from_pairs(&pairs).unwrap(), TRANSACTION_STATE);
        assert_eq!((topic.partitions, topic.replication_factor), (50, 3));
        let kafkas = [
            ("cleanup.policy", "compact"),
            ("compression.type", "uncompressed"),
            ("min.insync.replicas", "2"),
            ("segment.bytes", "104857600"),
            ("unclean.leader.election.enable", "false"),
        ];
        assert_eq!(configs(&topic), BTreeMap::from(kafkas));
    }

    #[test]
    fn the_topic_of_transactions_follows_its_keys() {
        let pairs = [
            ("transaction.state.log.num.partitions", "3"),
            ("transaction.state.log.replication.factor", "2"),
            ("transaction.state.log.min.isr", "4"),
            ("transaction.state.log.segment.bytes", "5000000"),
        ];
        let config = BrokerConfig::from_pairs(&pairs).unwrap();
        let topic = new_topic(&config, TRANSACTION_STATE);
        assert_eq!((topic.partitions, topic.replication_factor), (3, 2));
        let configs = configs(&topic);
        assert_eq!(configs["min.insync.replicas"], "4");
        assert_eq!(configs["segment.bytes"], "5000000");
        let other = new_topic(&config, "t");
        assert_eq!((other.partitions, other.configs.len()), (-1, 0));
    }
}
