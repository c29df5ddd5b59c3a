//! The store that a broker works on: ZooKeeper's for a member of a cluster, the embedded one for a broker that stands
//! alone. What differs between the two at the start and the stop is here, and nowhere else.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::base::disk::Disk;
use crate::base::random::Random;
use crate::config::BrokerConfig;
use crate::store::Store;
#[cfg(any(test, feature = "simulation"))]
use crate::store::distant::{DistantStore, Link};
use crate::store::embedded::{self, EmbeddedStore};
use crate::store::zookeeper::{Options, ZookeeperStore};

/// A store that is open.
#[derive(Clone)]
pub enum Coordination {
    /// In the log directories of this broker.
    Embedded(EmbeddedStore),
    /// ZooKeeper, which other brokers use too.
    Zookeeper(ZookeeperStore),
    /// The simulation's, which stands for ZooKeeper.
    #[cfg(any(test, feature = "simulation"))]
    Distant(DistantStore),
}

impl Coordination {
    /// True when `paths` have no embedded store and the broker is to stand alone.
    pub fn is_fresh(config: &BrokerConfig, disk: &Disk, paths: &[PathBuf]) -> bool {
        let has_store = |path: &PathBuf| disk.exists(&path.join(embedded::FILE_NAME));
        config.zookeeper_connect().is_none() && !paths.iter().any(has_store)
    }

    /// Opens the store that `config` asks for.
    ///
    /// # Errors
    /// One line for the user.
    pub async fn open(
        config: &BrokerConfig,
        disk: &Disk,
        paths: &[PathBuf],
        stall: Duration,
        random: &Random,
    ) -> Result<Self, String> {
        let Some(connect) = config.zookeeper_connect() else {
            let accept_missing = config.accept_missing_log_dirs;
            let opened = EmbeddedStore::open_left(disk, paths, stall, random, accept_missing).await;
            return opened.map(Self::Embedded).map_err(|error| error.to_string());
        };
        let milliseconds = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        let session_timeout_ms = config.zookeeper_session_timeout_ms;
        let options = Options {
            connect: connect.to_owned(),
            session_timeout: milliseconds(session_timeout_ms),
            connection_timeout: milliseconds(
                config
                    .zookeeper_connection_timeout_ms
                    .unwrap_or(session_timeout_ms),
            ),
            max_in_flight_requests: usize::try_from(config.zookeeper_max_in_flight_requests).unwrap_or(1),
        };
        let connected = ZookeeperStore::connect(&options, random).await;
        connected.map(Self::Zookeeper).map_err(|error| error.to_string())
    }

    /// Opens the simulation's store.
    #[cfg(any(test, feature = "simulation"))]
    pub async fn distant(link: &Link, random: &Random) -> Self {
        Self::Distant(DistantStore::connect(link, random).await)
    }

    /// The store.
    pub fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Embedded(store) => Arc::new(store.clone()),
            Self::Zookeeper(store) => Arc::new(store.clone()),
            #[cfg(any(test, feature = "simulation"))]
            Self::Distant(store) => Arc::new(store.clone()),
        }
    }

    /// True when nobody but this broker works on it, so that it and the log directories must agree.
    pub fn is_own(&self) -> bool {
        matches!(self, Self::Embedded(_))
    }

    /// How long the registration of a former life of this broker may stay.
    pub fn patience(&self, config: &BrokerConfig) -> Duration {
        match self {
            Self::Embedded(_) => Duration::ZERO,
            _ => {
                let session_ms = u64::try_from(config.zookeeper_session_timeout_ms).unwrap_or(0);
                Duration::from_millis(session_ms.saturating_mul(2))
            }
        }
    }

    /// Ends the session: what lasts as long as it is gone when this returns, as far as the store answers.
    pub async fn close(&self) {
        match self {
            Self::Embedded(store) => store.close().await,
            Self::Zookeeper(store) => store.close().await,
            #[cfg(any(test, feature = "simulation"))]
            Self::Distant(store) => store.close().await,
        }
    }
}
