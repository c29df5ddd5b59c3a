//! A broker that registers while its id is taken, or its session goes.

use std::sync::Arc;
use std::time::Duration;

use super::cluster_test::node;
use super::registration::{self, RegisterError, Registration};
use crate::base::ids::BrokerId;
use crate::base::random::Random;
use crate::base::{clock, task};
use crate::store::Store;
use crate::store::memory::{MemoryServer, MemoryStore};
use crate::store::znodes::OurBroker;

const ONE: BrokerId = BrokerId(1);

#[tokio::test]
async fn a_session_that_ends_before_its_broker_is_registered_is_begun_anew() {
    let server = MemoryServer::new();
    let earlier = server.connect();
    let store: Arc<dyn Store> = Arc::new(earlier.clone());
    registration::prepare(&store, None, &Random::from_seed(1))
        .await
        .unwrap();
    let before = registration::register(&store, ONE, &node(ONE), &OurBroker::this(true))
        .await
        .unwrap();
    let session = server.connect();
    let waiting = {
        let store: Arc<dyn Store> = Arc::new(session.clone());
        let patience = Duration::from_secs(60);
        let ours = OurBroker::this(true);
        task::spawn(async move { Registration::begin(&store, ONE, (node(ONE), ours), patience).await })
    };
    clock::sleep(Duration::from_millis(20)).await;
    session.expire();
    earlier.expire();
    let registered = waiting.await.unwrap().unwrap();
    assert!(registered.epoch() > Some(before));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_was_away_gives_the_former_registration_its_time_again() {
    const PATIENCE: Duration = Duration::from_secs(6);
    let server = MemoryServer::new();
    let earlier = server.connect();
    let store: Arc<dyn Store> = Arc::new(earlier.clone());
    registration::prepare(&store, None, &Random::from_seed(1))
        .await
        .unwrap();
    let ours = || OurBroker::this(true);
    registration::register(&store, ONE, &node(ONE), &ours())
        .await
        .unwrap();
    let begin = |session: &MemoryStore| {
        let store: Arc<dyn Store> = Arc::new(session.clone());
        task::spawn(async move { Registration::begin(&store, ONE, (node(ONE), ours()), PATIENCE).await })
    };
    let session = server.connect();
    let waiting = begin(&session);
    for _ in 0..4 {
        clock::sleep(PATIENCE / 3 * 2).await;
        assert!(!waiting.is_finished());
        session.reconnect();
    }
    let never_away = begin(&server.connect());
    assert!(matches!(
        never_away.await.unwrap(),
        Err(RegisterError::Taken(ONE))
    ));
    let refused = waiting.await.unwrap();
    assert!(matches!(refused, Err(RegisterError::Taken(ONE))));

    let waiting = begin(&session);
    clock::sleep(PATIENCE / 3 * 2).await;
    session.reconnect();
    clock::sleep(PATIENCE / 3 * 2).await;
    earlier.expire();
    waiting.await.unwrap().unwrap();
}
