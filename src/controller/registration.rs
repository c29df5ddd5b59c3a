//! What a broker writes before there is a controller: the tree's fixed nodes, the cluster's id, its own id and its
//! registration (Kafka: `KafkaServer.startup`, `KafkaZkClient.registerBroker`). Called by `lifecycle/`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::base::clock::{self, Instant};
use crate::base::ids::{BrokerEpoch, BrokerId};
use crate::base::random::Random;
use crate::base::shutdown::Shutdown;
use crate::store::znodes::{BadNode, Broker, ClusterId, OurBroker, paths};
use crate::store::{BoxFuture, CreateKind, MultiError, Operation, Outcome, Session, Store, StoreError};

/// How long to wait before another try to register, after one has failed.
const RETRY: Duration = Duration::from_millis(500);

/// For how long a broker that is not registered yet goes on without a session.
const LOST_SESSION_PATIENCE: Duration = Duration::from_secs(60);

/// This broker's registration: made at the start, and made anew whenever the session with the store was lost (Kafka:
/// `KafkaController.processRegisterBrokerAndReelect`).
///
/// Invariant: the epoch that is told is that of a registration of this session, or none.
pub struct Registration {
    store: Arc<dyn Store>,
    id: BrokerId,
    /// What is written.
    node: Mutex<Broker>,
    /// What is said beside it.
    ours: OurBroker,
    epoch: watch::Sender<Option<BrokerEpoch>>,
}

impl Registration {
    /// Registers a broker. For as long as `patience` it waits for an earlier registration of its id to go: that of a
    /// former life, which ended without closing its session (Kafka stops then, and wants to be started again).
    ///
    /// A session that is lost meanwhile is begun anew.
    ///
    /// # Errors
    /// As [`register`].
    pub async fn begin(
        store: &Arc<dyn Store>,
        id: BrokerId,
        (node, ours): (Broker, OurBroker),
        patience: Duration,
    ) -> Result<Arc<Self>, RegisterError> {
        let begun = Instant::now();
        let mut told = false;
        let epoch = loop {
            match register(store, id, &node, &ours).await {
                Err(RegisterError::Taken(_)) if Instant::now().since(begun) < patience => {
                    if !told {
                        told = true;
                        tracing::warn!(
                            "broker.id={id} is registered already; waiting up to {} s for that session to end",
                            patience.as_secs()
                        );
                    }
                    clock::sleep(RETRY).await;
                }
                Err(RegisterError::Store(
                    error @ (StoreError::SessionExpired | StoreError::ConnectionLoss),
                )) if Instant::now().since(begun) < patience.max(LOST_SESSION_PATIENCE) => {
                    begin_another_session(store, error).await;
                }
                registered => break registered?,
            }
        };
        Ok(Arc::new(Self {
            store: Arc::clone(store),
            id,
            node: Mutex::new(node),
            ours,
            epoch: watch::Sender::new(Some(epoch)),
        }))
    }

    /// One that is only said to be there.
    #[cfg(test)]
    pub fn said(store: &Arc<dyn Store>, id: BrokerId, epoch: BrokerEpoch) -> Arc<Self> {
        Arc::new(Self {
            store: Arc::clone(store),
            id,
            node: Mutex::new(Broker::new(&[], None, 0)),
            ours: OurBroker::this(true),
            epoch: watch::Sender::new(Some(epoch)),
        })
    }

    /// The broker.
    pub fn broker(&self) -> BrokerId {
        self.id
    }

    /// The epoch under which the broker is registered; `None` while it is not.
    pub fn epoch(&self) -> Option<BrokerEpoch> {
        *self.epoch.borrow()
    }

    /// Tells of each epoch.
    pub fn subscribe(&self) -> watch::Receiver<Option<BrokerEpoch>> {
        self.epoch.subscribe()
    }

    /// Writes what the broker has become.
    ///
    /// # Errors
    /// The registration could not be written, or another broker has an address.
    pub(super) async fn change(&self, node: &Broker) -> Result<(), RegisterError> {
        update(&self.store, self.id, node).await?;
        *self.node.lock().unwrap_or_else(PoisonError::into_inner) = node.clone();
        Ok(())
    }

    /// Registers the broker anew after each loss of the session, until shutdown. `again` is called with the new epoch
    /// before anybody else learns of it.
    pub async fn follow(
        self: Arc<Self>,
        shutdown: Shutdown,
        again: impl Fn(BrokerEpoch) -> BoxFuture<'static, ()> + Send + Sync,
    ) {
        let mut session = self.store.session();
        loop {
            let lost = session.wait_for(|session| matches!(session, Session::Expired(_)));
            tokio::select! {
                biased;
                () = shutdown.wait() => return,
                lost = lost => if lost.is_err() { return },
            }
            tracing::warn!("the session with the store has expired: this broker registers anew");
            self.epoch.send_replace(None);
            let epoch = tokio::select! {
                biased;
                () = shutdown.wait() => return,
                epoch = self.register_again() => epoch,
            };
            again(epoch).await;
            self.epoch.send_replace(Some(epoch));
            tracing::info!("this broker is registered again, with epoch {epoch}");
        }
    }

    async fn register_again(&self) -> BrokerEpoch {
        loop {
            let registered = async {
                self.store.renew().await?;
                let mut node = self.node.lock().unwrap_or_else(PoisonError::into_inner).clone();
                node.timestamp = clock::now_ms().to_string();
                register(&self.store, self.id, &node, &self.ours).await
            };
            match registered.await {
                Ok(epoch) => return epoch,
                Err(error) => tracing::warn!("{error}; trying again"),
            }
            clock::sleep(RETRY).await;
        }
    }
}

/// Why a broker cannot join the cluster: one line for the user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RegisterError {
    /// The store failed.
    Store(StoreError),
    /// A node cannot be read.
    BadNode(String, BadNode),
    /// Another process has registered this id.
    Taken(BrokerId),
    /// Another broker advertises one of our addresses.
    AddressTaken(BrokerId, String),
}

impl std::fmt::Display for RegisterError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store(error) => write!(f, "cannot register: {error}"),
            Self::BadNode(path, error) => write!(f, "{path} cannot be read: {error}"),
            Self::Taken(id) => write!(f, "broker.id={id}: another process has registered this id"),
            Self::AddressTaken(id, address) => {
                write!(f, "{address} is advertised by broker {id} already")
            }
        }
    }
}

impl std::error::Error for RegisterError {}

impl From<StoreError> for RegisterError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Does what a broker does with the store before it is registered, and again where the session was lost: the process may
/// have waited, or been stopped, for longer than one lasts. (Kafka ends, and wants to be started again.)
///
/// # Errors
/// What it says itself; a lost session after [`LOST_SESSION_PATIENCE`] only.
pub async fn patiently<T, E, F>(store: &Arc<dyn Store>, act: impl Fn() -> F) -> Result<T, RegisterError>
where
    E: Into<RegisterError>,
    F: Future<Output = Result<T, E>>,
{
    let begun = Instant::now();
    loop {
        match act().await.map_err(Into::into) {
            Err(RegisterError::Store(error @ (StoreError::SessionExpired | StoreError::ConnectionLoss)))
                if Instant::now().since(begun) < LOST_SESSION_PATIENCE =>
            {
                begin_another_session(store, error).await;
            }
            done => return done,
        }
    }
}

async fn begin_another_session(store: &Arc<dyn Store>, error: StoreError) {
    tracing::warn!("{error}, before this broker was registered; trying again");
    clock::sleep(RETRY).await;
    if let Err(error) = store.renew().await {
        tracing::warn!("there is no session with the store yet: {error}");
    }
}

/// Creates the fixed nodes that are missing and yields the cluster's id, which is `proposed` (as a log directory may
/// know it), or a new one, where the store has none. One change, if any.
pub async fn prepare(
    store: &Arc<dyn Store>,
    proposed: Option<&str>,
    random: &Random,
) -> Result<Arc<str>, RegisterError> {
    loop {
        let mut missing = Vec::new();
        let fixed = paths::PERSISTENT.iter().copied();
        for path in fixed.chain(["/cluster"]) {
            if store.get(path).await?.is_none() {
                missing.push(Operation::create(path, None, CreateKind::Persistent));
            }
        }
        let known = store.get(paths::CLUSTER_ID).await?;
        let id = match &known {
            Some(node) => {
                let data = node.data.as_deref().unwrap_or_default();
                ClusterId::decode(data)
                    .map_err(|error| RegisterError::BadNode(paths::CLUSTER_ID.to_owned(), error))?
                    .id
            }
            None => proposed.map_or_else(|| random.uuid().to_string(), str::to_owned),
        };
        if known.is_none() {
            let data = Some(ClusterId::new(&id).encode());
            missing.push(Operation::create(paths::CLUSTER_ID, data, CreateKind::Persistent));
        }
        if missing.is_empty() {
            return Ok(Arc::from(id));
        }
        match store.multi(missing).await {
            Ok(_) => return Ok(Arc::from(id)),
            // Another broker starts at the same time; or nobody knows whether this was written.
            Err(MultiError {
                error: StoreError::NodeExists | StoreError::ConnectionLoss,
                ..
            }) => {}
            Err(failed) => return Err(failed.error.into()),
        }
    }
}

/// A new id for a broker without one, above `reserved_max` (`reserved.broker.max.id`).
pub async fn generate_broker_id(store: &Arc<dyn Store>, reserved_max: i32) -> Result<BrokerId, StoreError> {
    let stat = store
        .set(paths::BROKER_SEQUENCE, Some(bytes::Bytes::new()), None)
        .await?;
    Ok(BrokerId(reserved_max.saturating_add(stat.version)))
}

/// Notes that a broker comes back without what it had not synced. To be done before it registers: the controller reads it
/// when it sees the registration, and takes it away when it has acted on it.
///
/// # Errors
/// The store failed.
pub async fn note_unclean_shutdown(store: &Arc<dyn Store>, id: BrokerId) -> Result<(), StoreError> {
    let path = paths::unclean_shutdown(id);
    loop {
        match store.create(&path, None, CreateKind::Persistent).await {
            Ok(_) => return Ok(()),
            Err(StoreError::NodeExists) => {}
            Err(StoreError::ConnectionLoss) => clock::sleep(RETRY).await,
            Err(error) => return Err(error),
        }
        // One from before is written again, so that a controller that is about to take it away does not.
        match store.set(&path, None, None).await {
            Ok(_) => return Ok(()),
            Err(StoreError::NoNode) => {}
            Err(StoreError::ConnectionLoss) => clock::sleep(RETRY).await,
            Err(error) => return Err(error),
        }
    }
}

/// Registers a broker for as long as the session lasts, with what one of ours says beside; yields its epoch.
pub async fn register(
    store: &Arc<dyn Store>,
    id: BrokerId,
    broker: &Broker,
    ours: &OurBroker,
) -> Result<BrokerEpoch, RegisterError> {
    check_addresses(store, id, broker).await?;
    let path = paths::broker(id);
    loop {
        let operations = vec![
            Operation::create(paths::our_broker(id), Some(ours.encode()), CreateKind::Ephemeral),
            Operation::create(&path, None, CreateKind::Ephemeral),
            Operation::set(&path, Some(broker.encode()), Some(0)),
        ];
        match store.multi(operations).await {
            Ok(outcomes) => {
                return match outcomes.last() {
                    Some(Outcome::Set(stat)) => Ok(BrokerEpoch(stat.czxid)),
                    _ => Err(StoreError::Failed.into()),
                };
            }
            Err(MultiError {
                error: StoreError::NodeExists | StoreError::ConnectionLoss,
                ..
            }) => {
                // An earlier try may have gone through though its answer was lost.
                let session = store.session().borrow().id();
                match store.get(&path).await? {
                    Some(node) if node.stat.owner == Some(session) => {
                        return Ok(BrokerEpoch(node.stat.czxid));
                    }
                    Some(_) => return Err(RegisterError::Taken(id)),
                    // It did not go through, or somebody else's has gone since.
                    None => {}
                }
            }
            Err(failed) => return Err(failed.error.into()),
        }
    }
}

/// Writes what a registered broker has become; its epoch stays (Kafka: `KafkaZkClient.updateBrokerInfo`).
pub async fn update(store: &Arc<dyn Store>, id: BrokerId, broker: &Broker) -> Result<(), RegisterError> {
    check_addresses(store, id, broker).await?;
    store.set(&paths::broker(id), Some(broker.encode()), None).await?;
    Ok(())
}

/// No two brokers may have one address.
async fn check_addresses(store: &Arc<dyn Store>, id: BrokerId, broker: &Broker) -> Result<(), RegisterError> {
    let mine = addresses(broker).map_err(|error| RegisterError::BadNode(paths::broker(id), error))?;
    for name in store.children(paths::BROKER_IDS).await?.unwrap_or_default() {
        let Ok(other) = name.parse().map(BrokerId) else {
            tracing::error!("{}/{name}: its name is no broker id", paths::BROKER_IDS);
            continue;
        };
        if other == id {
            continue;
        }
        let Some(node) = store.get(&paths::broker(other)).await? else {
            continue;
        };
        let theirs = Broker::decode(node.data.as_deref().unwrap_or_default());
        match theirs.and_then(|broker| addresses(&broker)) {
            Ok(theirs) => {
                if let Some(address) = theirs.into_iter().find(|address| mine.contains(address)) {
                    return Err(RegisterError::AddressTaken(other, address));
                }
            }
            // It keeps a broker of Kafka from starting; nobody need be stopped by what others write.
            Err(error) => tracing::error!("{} cannot be read: {error}", paths::broker(other)),
        }
    }
    Ok(())
}

fn addresses(broker: &Broker) -> Result<Vec<String>, BadNode> {
    Ok(broker
        .listeners()?
        .into_iter()
        .map(|(_, _, host, port)| format!("{host}:{port}"))
        .collect())
}
