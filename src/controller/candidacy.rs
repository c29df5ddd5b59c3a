//! Brokers that never stand for election (`controller.candidate`, a key of ours): they follow whoever rules.
//!
//! Of a cluster that nobody may rule each of its brokers says so in its log, once for each time that it has no controller:
//! nothing else would tell why partitions have no leaders. A broker of Kafka, or an older one of ours, may always rule.

use std::sync::Arc;
use std::time::Duration;

use super::Parts;
use super::events::RETRY;
use super::reign::Election;
use crate::base::clock;
use crate::base::ids::BrokerId;
use crate::base::shutdown::Shutdown;
use crate::store::znodes::{OurBroker, paths};
use crate::store::{Store, StoreError, WatchEvent};

impl Parts {
    /// Whether this broker may become the controller.
    pub(super) fn may_rule(&self) -> bool {
        let image = self.cluster.get();
        let config = &image.broker_config;
        config.controller_candidate
    }
}

/// What an election is to a broker that does not stand: somebody else's, whether or not there is somebody.
pub(super) async fn abstain(store: &Arc<dyn Store>) -> Result<Election, StoreError> {
    let (_, watcher) = store.get_and_watch(paths::CONTROLLER).await?;
    Ok(Election::Other(watcher))
}

/// Says when there is no controller and none can come, until shutdown.
pub(super) async fn watch(parts: Arc<Parts>, shutdown: Shutdown) {
    tokio::select! {
        biased;
        () = shutdown.wait() => {}
        () = tell(&parts) => {}
    }
}

async fn tell(parts: &Parts) {
    let store = &parts.store;
    let mut told = false;
    loop {
        let (node, watcher) = match store.get_and_watch(paths::CONTROLLER).await {
            Ok(found) => found,
            // Who needs the controller's node to go on says what is wrong with the store.
            Err(_) => {
                clock::sleep(RETRY).await;
                continue;
            }
        };
        let event = if node.is_some() {
            told = false;
            Some(watcher.changed().await)
        } else {
            // One that has just ended, or is about to start, comes within this time.
            clock::timeout(patience(parts), watcher.changed()).await
        };
        match event {
            Some(WatchEvent::SessionOver) => clock::sleep(RETRY).await,
            Some(WatchEvent::Changed(_)) => {}
            None if told => {}
            None => {
                if let Ok(Some(brokers)) = nobody_may_rule(store).await {
                    told = true;
                    tracing::error!(
                        "nobody may be the controller: controller.candidate is false on all brokers that are here, \
                         {brokers:?}; until one comes that may, no leader is elected and no topic is made"
                    );
                }
            }
        }
    }
}

/// How long there may be no controller without anything being wrong: as long as a session.
fn patience(parts: &Parts) -> Duration {
    let image = parts.cluster.get();
    let config = &image.broker_config;
    Duration::from_millis(u64::try_from(config.zookeeper_session_timeout_ms).unwrap_or(0)).max(RETRY)
}

/// The brokers that are registered, when there are some and none of them may rule.
pub(super) async fn nobody_may_rule(store: &Arc<dyn Store>) -> Result<Option<Vec<BrokerId>>, StoreError> {
    let names = store.children(paths::BROKER_IDS).await?.unwrap_or_default();
    let ids = names.iter().filter_map(|name| name.parse().ok());
    let mut brokers: Vec<BrokerId> = ids.map(BrokerId).collect();
    brokers.sort_unstable();
    for id in &brokers {
        let node = store.get(&paths::our_broker(*id)).await?;
        let says = node.and_then(|node| OurBroker::decode(node.data.as_deref()?).ok());
        if says.is_none_or(|says| says.controller_candidate) {
            return Ok(None);
        }
    }
    Ok((!brokers.is_empty()).then_some(brokers))
}
