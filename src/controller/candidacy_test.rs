//! Brokers that may not become the controller.

use std::sync::Arc;
use std::time::Duration;

use super::candidacy::nobody_may_rule;
use super::cluster_test::{ONE, Others, THREE, TWO, node};
use super::controller_test::{Started, fresh_broker, start_with, topic};
use super::*;
use crate::store::CreateKind;
use crate::store::memory::{MemoryServer, MemoryStore};
use crate::store::znodes::{OurBroker, paths};

/// A broker joins a cluster.
async fn join(server: &MemoryServer, id: BrokerId, candidate: &str) -> (Started, MemoryStore) {
    let session = server.connect();
    let store: Arc<dyn Store> = Arc::new(session.clone());
    let config = [
        ("zookeeper.connect", "nowhere:2181"),
        ("controller.candidate", candidate),
    ];
    let started = start_with(store, fresh_broker(), id, &config, Arc::new(Others::default())).await;
    (started, session)
}

async fn pause() {
    clock::sleep(Duration::from_millis(100)).await;
}

#[tokio::test]
async fn a_broker_that_may_not_rule_leaves_it_to_the_next_and_does_not_take_its_place() {
    let server = MemoryServer::new();
    let (one, _) = join(&server, ONE, "false").await;
    pause().await;
    assert!(!one.controller.is_active());
    assert!(one.store.get(paths::CONTROLLER).await.unwrap().is_none());
    assert_ne!(one.create(vec![topic("t", 1)]).await, [ErrorCode::None]);

    let (two, session) = join(&server, TWO, "true").await;
    assert!(two.controller.is_active() && !one.controller.is_active());
    let seen = two.cluster.get();
    assert!(seen.brokers.contains_key(&ONE), "it is ruled");

    two.shutdown.begin();
    session.expire();
    pause().await;
    assert!(!one.controller.is_active());
    assert!(one.store.get(paths::CONTROLLER).await.unwrap().is_none());
    let (three, _) = join(&server, THREE, "true").await;
    assert!(three.controller.is_active());
}

#[tokio::test]
async fn it_is_known_when_nobody_may_rule() {
    let server = MemoryServer::new();
    let (one, _) = join(&server, ONE, "false").await;
    assert_eq!(nobody_may_rule(&one.store).await, Ok(Some(vec![ONE])));
    let (_two, _) = join(&server, TWO, "false").await;
    assert_eq!(nobody_may_rule(&one.store).await, Ok(Some(vec![ONE, TWO])));

    // A broker of Kafka says nothing of itself beside its registration.
    let kafka = server.connect();
    let data = Some(node(THREE).encode());
    kafka
        .create(&paths::broker(THREE), data, CreateKind::Ephemeral)
        .await
        .unwrap();
    assert_eq!(nobody_may_rule(&one.store).await, Ok(None));
    kafka.expire();
    assert_eq!(nobody_may_rule(&one.store).await, Ok(Some(vec![ONE, TWO])));

    let other: Arc<dyn Store> = Arc::new(server.connect());
    let may = OurBroker::this(true);
    registration::register(&other, THREE, &node(THREE), &may)
        .await
        .unwrap();
    assert_eq!(nobody_may_rule(&one.store).await, Ok(None));
}
