//! L3, the immutable image of the cluster and how it changes.
//!
//! A [`ClusterImage`] never changes; [`Cluster`] holds the current one. Its versions share what they have in common, so
//! that a change costs what it touches, whatever the number of partitions. [`control`] has the requests by which a
//! controller changes it, [`messages`] their form on the wire; [`configs`] brings in what the store says of topics' and brokers' configs.

pub mod configs;
pub mod control;
mod image;
mod internal_topics;
pub mod messages;

use std::sync::Arc;

use tokio::sync::watch;

use crate::base::ids::{BrokerId, TopicPartition};
use crate::config::BrokerConfig;

pub use internal_topics::{CONSUMER_OFFSETS, TRANSACTION_STATE, is_internal_topic};

pub use image::{BrokerImage, ClusterImage, Configs, Endpoint, PartitionImage, TopicConfigs, TopicImage};

/// The cluster as this broker knows it. Clones share it.
#[derive(Clone)]
pub struct Cluster {
    current: watch::Sender<Arc<ClusterImage>>,
}

impl Cluster {
    /// A cluster of which nothing is known but its id and the configuration of this broker.
    pub fn new(cluster_id: impl Into<Arc<str>>, this_broker: BrokerId, config: BrokerConfig) -> Self {
        let image = ClusterImage::empty(cluster_id, this_broker, config);
        Self {
            current: watch::Sender::new(Arc::new(image)),
        }
    }

    /// The current image.
    pub fn get(&self) -> Arc<ClusterImage> {
        Arc::clone(&self.current.borrow())
    }

    /// Tells of each new image; who is slow sees only the newest.
    pub fn subscribe(&self) -> watch::Receiver<Arc<ClusterImage>> {
        self.current.subscribe()
    }

    /// Takes in what a controller sent (Kafka: `ZkMetadataCache.updateMetadata`). Yields the partitions that are gone.
    pub fn update(&self, update: &control::UpdateMetadata) -> Vec<TopicPartition> {
        let mut gone = Vec::new();
        self.change(|image| gone = image.update(update));
        gone
    }

    /// Replaces the image by what `change` makes of it.
    pub fn change(&self, change: impl FnOnce(&mut ClusterImage)) {
        self.current.send_modify(|current| {
            let mut next = ClusterImage::clone(current);
            change(&mut next);
            next.generation += 1;
            *current = Arc::new(next);
        });
    }
}
