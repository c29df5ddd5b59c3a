//! A broker that registers while its id is taken, or its session goes.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::cluster_test::node;
use super::registration::{self, RegisterError, Registration};
use crate::base::ids::{BrokerEpoch, BrokerId};
use crate::base::random::Random;
use crate::base::{clock, task};
use crate::store::memory::{Lost, MemoryServer, MemoryStore};
use crate::store::znodes::{Broker, OurBroker, paths};
use crate::store::{Store, StoreError};

const ONE: BrokerId = BrokerId(1);

/// A broker registers in a cluster that is made for it.
async fn register(session: &MemoryStore) -> BrokerEpoch {
    let store: Arc<dyn Store> = Arc::new(session.clone());
    registration::prepare(&store, None, &Random::from_seed(1))
        .await
        .unwrap();
    registration::register(&store, ONE, &node(ONE), &OurBroker::this(true))
        .await
        .unwrap()
}

/// The same broker begins to register in another session.
fn begin(session: &MemoryStore, patience: Duration) -> JoinHandle<Result<Arc<Registration>, RegisterError>> {
    let store: Arc<dyn Store> = Arc::new(session.clone());
    let ours = OurBroker::this(true);
    task::spawn(async move { Registration::begin(&store, ONE, (node(ONE), ours), patience).await })
}

#[tokio::test]
async fn a_session_that_ends_before_its_broker_is_registered_is_begun_anew() {
    let server = MemoryServer::new();
    let earlier = server.connect();
    let before = register(&earlier).await;
    let session = server.connect();
    let waiting = begin(&session, Duration::from_secs(60));
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
    register(&earlier).await;
    let session = server.connect();
    let waiting = begin(&session, PATIENCE);
    for _ in 0..4 {
        clock::sleep(PATIENCE / 3 * 2).await;
        assert!(!waiting.is_finished());
        session.reconnect();
    }
    let never_away = begin(&server.connect(), PATIENCE);
    assert!(matches!(
        never_away.await.unwrap(),
        Err(RegisterError::Taken(ONE))
    ));
    let refused = waiting.await.unwrap();
    assert!(matches!(refused, Err(RegisterError::Taken(ONE))));

    let waiting = begin(&session, PATIENCE);
    clock::sleep(PATIENCE / 3 * 2).await;
    session.reconnect();
    clock::sleep(PATIENCE / 3 * 2).await;
    earlier.expire();
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_broker_whose_session_ends_before_it_is_registered_begins_another_one_and_goes_on() {
    let server = MemoryServer::new();
    let session = server.connect();
    let store: Arc<dyn Store> = Arc::new(session.clone());
    let random = Random::from_seed(1);
    session.expire();
    let lost = registration::prepare(&store, Some("cluster"), &random).await;
    assert_eq!(lost, Err(RegisterError::Store(StoreError::SessionExpired)));
    let prepared =
        registration::patiently(&store, || registration::prepare(&store, Some("cluster"), &random));
    assert_eq!(&*prepared.await.unwrap(), "cluster");
    session.expire();
    let id = registration::patiently(&store, || registration::generate_broker_id(&store, 1000));
    assert_eq!(id.await, Ok(BrokerId(1001)));
    assert!(registration::note_unclean_shutdown(&store, ONE).await.is_ok());
}

#[tokio::test]
async fn a_registration_is_refused_while_another_holds_it_and_its_lost_answer_is_found_out() {
    let server = MemoryServer::new();
    let one = server.connect();
    let first: Arc<dyn Store> = Arc::new(one.clone());
    let second: Arc<dyn Store> = Arc::new(server.connect());
    registration::prepare(&first, Some("cluster"), &Random::from_seed(1))
        .await
        .unwrap();
    let id = registration::prepare(&second, None, &Random::from_seed(2))
        .await
        .unwrap();
    assert_eq!(&*id, "cluster");
    let at = |port| Broker::new(&[("P".into(), "PLAINTEXT".into(), "h".into(), port)], None, 0);
    server.lose(one.id(), Lost::Reply);
    let ours = OurBroker::this(true);
    let epoch = registration::register(&first, ONE, &at(1), &ours).await.unwrap();
    let node = first.get(&paths::broker(ONE)).await.unwrap().unwrap();
    assert_eq!((node.stat.czxid, node.stat.version), (epoch.get(), 1));
    let taken = registration::register(&second, ONE, &at(2), &ours).await;
    assert_eq!(taken, Err(RegisterError::Taken(ONE)));
    let address = registration::register(&second, BrokerId(2), &at(1), &ours).await;
    assert!(matches!(address, Err(RegisterError::AddressTaken(ONE, _))));
    assert_eq!(
        registration::generate_broker_id(&second, 1000).await.unwrap(),
        BrokerId(1001)
    );
}
