//! What keeps a broker from starting in a cluster, in words for the user.

use std::sync::Arc;
use std::time::Duration;

use super::broker::{Broker, StartError, Surroundings};
use crate::base::disk::Disk;
use crate::base::disk::memory::MemoryDisk;
use crate::base::random::Random;
use crate::config::{BrokerConfig, LogLevels};
use crate::controller::registration;
use crate::store::Store;
use crate::store::distant::Link;
use crate::store::memory::MemoryServer;

async fn start(disk: &MemoryDisk, server: &MemoryServer, id: &str) -> Result<Broker, StartError> {
    let config = [
        ("broker.id", id),
        ("listeners", "PLAINTEXT://127.0.0.1:0"),
        ("log.dirs", "/data"),
        ("zookeeper.connect", "store:2181"),
    ];
    let surroundings = Surroundings {
        disk: Disk::memory(disk.clone()),
        random: Random::from_seed(1),
        levels: LogLevels::default(),
        open_files: 1_000,
        store: Some(Link::new(server, Duration::from_secs(5))),
    };
    Broker::start(BrokerConfig::from_pairs(&config).unwrap(), surroundings).await
}

#[tokio::test]
async fn log_directories_of_another_cluster_or_broker_stop_the_start() {
    let (disk, server) = (MemoryDisk::new(), MemoryServer::new());
    let broker = start(&disk, &server, "1")
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    broker.stop().await;
    let other = MemoryServer::new();
    let store: Arc<dyn Store> = Arc::new(other.connect());
    let random = Random::from_seed(2);
    let prepared = registration::prepare(&store, Some("other"), &random).await;
    assert!(prepared.is_ok());
    for (server, id, why) in [
        (&other, "1", "belong to the cluster"),
        (&server, "2", "belongs to the broker 1"),
    ] {
        let Err(refused) = start(&disk.after_kill(), server, id).await else {
            panic!("broker {id} has started");
        };
        assert!(refused.to_string().contains(why), "{refused}");
    }
    // Nothing was written that keeps the right one from starting.
    let broker = start(&disk.after_kill(), &server, "1").await;
    broker.unwrap_or_else(|error| panic!("{error}")).stop().await;
}
