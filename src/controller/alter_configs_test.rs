//! Changes of configs, while others change the same ones.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::controller_test::{ME, Started, code, fresh_broker, start, topic};
use super::*;
use crate::store::memory::{MemoryServer, MemoryStore};
use crate::store::{
    BoxFuture, MultiError, Node, Operation, Outcome, Session, SessionId, StoreFuture, Watcher,
};

/// A store where somebody else sets the configs of a topic just before this broker does.
struct Contended {
    own: MemoryStore,
    server: MemoryServer,
    other: MemoryStore,
    /// How often that is going to happen.
    times: Arc<AtomicUsize>,
}

impl Store for Contended {
    fn get(&self, path: &str) -> StoreFuture<'_, Option<Node>> {
        self.own.get(path)
    }

    fn get_and_watch(&self, path: &str) -> StoreFuture<'_, (Option<Node>, Watcher)> {
        self.own.get_and_watch(path)
    }

    fn children(&self, path: &str) -> StoreFuture<'_, Option<Vec<String>>> {
        self.own.children(path)
    }

    fn children_and_watch(&self, path: &str) -> StoreFuture<'_, Option<(Vec<String>, Watcher)>> {
        self.own.children_and_watch(path)
    }

    fn multi(&self, operations: Vec<Operation>) -> BoxFuture<'static, Result<Vec<Outcome>, MultiError>> {
        let is_config = |operation: &&Operation| matches!(operation, Operation::Set { path, .. } if path.starts_with(paths::TOPIC_CONFIGS));
        if let Some(Operation::Set { path, .. }) = operations.iter().find(is_config) {
            let less = |times: usize| times.checked_sub(1);
            let order = Ordering::Relaxed;
            if self.times.fetch_update(order, order, less).is_ok() {
                let data = self.server.peek(path).and_then(|node| node.data);
                // Made when it is asked for.
                drop(self.other.set(path, data, None));
            }
        }
        self.own.multi(operations)
    }

    fn session(&self) -> tokio::sync::watch::Receiver<Session> {
        self.own.session()
    }

    fn renew(&self) -> StoreFuture<'_, SessionId> {
        self.own.renew()
    }
}

async fn contended(times: usize) -> Started {
    let server = MemoryServer::new();
    let left = Arc::new(AtomicUsize::new(0));
    let store = Contended {
        own: server.connect(),
        server: server.clone(),
        other: server.connect(),
        times: Arc::clone(&left),
    };
    let started = start(Arc::new(store), fresh_broker(), ME, &[]).await;
    assert_eq!(started.create(vec![topic("t", 1)]).await, [ErrorCode::None]);
    left.store(times, Ordering::Relaxed);
    started
}

async fn set_retention(started: &Started) -> ErrorCode {
    let set = (
        "retention.ms".to_owned(),
        Some(ConfigOperation::Set),
        Some("7".to_owned()),
    );
    let change = AlterConfigs {
        resource: ConfigResource::Topic("t".to_owned()),
        changes: ConfigChanges::Incremental(vec![set]),
    };
    code(&started.controller.alter_configs(vec![change], false).await[0])
}

#[tokio::test]
async fn a_change_that_lost_some_races_is_made() {
    let started = contended(20).await;
    assert_eq!(set_retention(&started).await, ErrorCode::None);
    assert_eq!(started.cluster.get().log_config("t").retention_ms, 7);
}

#[tokio::test]
async fn a_change_that_lost_every_race_is_not_called_made() {
    let started = contended(usize::MAX).await;
    assert_eq!(set_retention(&started).await, ErrorCode::RequestTimedOut);
    assert!(started.cluster.get().topic_overrides("t").is_empty());
}
