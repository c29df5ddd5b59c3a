//! What a broker writes before there is a controller: the tree's fixed nodes, the cluster's id, its own id and its
//! registration (Kafka: `KafkaServer.startup`, `KafkaZkClient.registerBroker`). Called by `lifecycle/`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::base::clock::{self, Instant};
use crate::base::ids::{BrokerEpoch, BrokerId};
use crate::base::planted::planted;
use crate::base::random::Random;
use crate::base::shutdown::Shutdown;
use crate::store::znodes::{BadNode, Broker, ClusterId, OurBroker, UncleanShutdown, decode_epoch, paths};
use crate::store::{
    BoxFuture, CreateKind, MultiError, Operation, Outcome, Session, SessionId, Store, StoreError,
};

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
    /// former life, which ended without closing its session (Kafka stops then, and wants to be started again). A store that
    /// was away in between gives every session its whole time again, that one too, so the wait begins anew.
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
        let mut session = store.session();
        // Since when the store has been there all the time.
        let mut there = begun;
        let mut told = false;
        let mut former = None;
        let epoch = loop {
            let registered = register_after(former, store, id, &node, &ours).await;
            if session.has_changed().unwrap_or(false) {
                session.mark_unchanged();
                there = Instant::now();
            }
            match registered {
                Err(RegisterError::Taken(_)) if Instant::now().since(there) < patience => {
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
                    former = begin_another_session(store, error).await.or(former);
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

    /// Registers the broker anew after each loss of the session, until shutdown. `over` is called when the session is
    /// lost; `again` with the new epoch and what `over` has said, before anybody else learns of the epoch.
    pub async fn follow<T: Send>(
        self: Arc<Self>,
        shutdown: Shutdown,
        over: impl Fn() -> T + Send + Sync,
        again: impl Fn(BrokerEpoch, T) -> BoxFuture<'static, ()> + Send + Sync,
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
            let before = over();
            let former = session.borrow().id();
            planted!("cluster-not-again", {
                let _ = self.store.renew().await;
                return;
            });
            let epoch = tokio::select! {
                biased;
                () = shutdown.wait() => return,
                epoch = self.register_again(former) => epoch,
            };
            again(epoch, before).await;
            self.epoch.send_replace(Some(epoch));
            tracing::info!("this broker is registered again, with epoch {epoch}");
        }
    }

    async fn register_again(&self, former: SessionId) -> BrokerEpoch {
        loop {
            let registered = async {
                self.store.renew().await?;
                let mut node = self.node.lock().unwrap_or_else(PoisonError::into_inner).clone();
                node.timestamp = clock::now_ms().to_string();
                register_after(Some(former), &self.store, self.id, &node, &self.ours).await
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
    /// The log directories belong to the first cluster, the store to the second one.
    OtherCluster(String, String),
    /// The log directories belong to this cluster, and the store, which others use too, to none.
    NoCluster(String),
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
            Self::OtherCluster(ours, stored) => {
                write!(
                    f,
                    "the log directories belong to the cluster {ours}, the store to {stored}"
                )
            }
            Self::NoCluster(ours) => write!(
                f,
                "the log directories belong to the cluster {ours}, and the store has no {}: \
                 is zookeeper.connect, with its path, the one of that cluster?",
                paths::CLUSTER_ID
            ),
        }
    }
}

impl std::error::Error for RegisterError {}

impl From<StoreError> for RegisterError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Stops a broker whose log directories belong to the cluster `ours` at the store of another one, or of none. Nothing is
/// written. `is_own`: nobody else uses the store; it may have gone with its disk, and gets the id back.
///
/// # Errors
/// [`RegisterError::OtherCluster`], [`RegisterError::NoCluster`] (Kafka: `MetaPropertiesEnsemble.verify`, against an id
/// that `KafkaServer.getOrGenerateClusterId` has just made up where there was none); the store failed.
pub async fn check_cluster(store: &Arc<dyn Store>, ours: &str, is_own: bool) -> Result<(), RegisterError> {
    match stored_cluster(store).await? {
        Some(stored) if stored != ours => Err(RegisterError::OtherCluster(ours.to_owned(), stored)),
        None if !is_own => Err(RegisterError::NoCluster(ours.to_owned())),
        _ => Ok(()),
    }
}

async fn stored_cluster(store: &Arc<dyn Store>) -> Result<Option<String>, RegisterError> {
    let Some(node) = store.get(paths::CLUSTER_ID).await? else {
        return Ok(None);
    };
    let stored = ClusterId::decode(node.data.as_deref().unwrap_or_default())
        .map_err(|error| RegisterError::BadNode(paths::CLUSTER_ID.to_owned(), error))?;
    Ok(Some(stored.id))
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

/// Yields the session that is over, if it is.
async fn begin_another_session(store: &Arc<dyn Store>, error: StoreError) -> Option<SessionId> {
    tracing::warn!("{error}, before this broker was registered; trying again");
    clock::sleep(RETRY).await;
    let former = match *store.session().borrow() {
        Session::Expired(session) => Some(session),
        _ => None,
    };
    if let Err(error) = store.renew().await {
        tracing::warn!("there is no session with the store yet: {error}");
    }
    former
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
        let known = stored_cluster(store).await?;
        let is_new = known.is_none();
        let proposed = || proposed.map_or_else(|| random.uuid().to_string(), str::to_owned);
        let id = known.unwrap_or_else(proposed);
        if is_new {
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

/// What writes the latest controller's epoch into the mark of [`note_unclean_shutdown`], where there is one without it: in the
/// change that registers the broker, so that each later controller was elected when the broker was back.
async fn date_unclean_shutdown(store: &Arc<dyn Store>, id: BrokerId) -> Result<Vec<Operation>, StoreError> {
    let path = paths::unclean_shutdown(id);
    let mark = store.get(&path).await?;
    let Some(mark) = mark.filter(|mark| mark.data.is_none()) else {
        return Ok(Vec::new());
    };
    let Some(node) = store.get(paths::CONTROLLER_EPOCH).await? else {
        // There never was a controller, so that nobody has led either.
        return Ok(Vec::new());
    };
    let Ok(controller_epoch) = decode_epoch(node.data.as_deref().unwrap_or_default()) else {
        // Nobody can be elected then, and who is says what is wrong.
        return Ok(Vec::new());
    };
    let data = UncleanShutdown { controller_epoch }.encode();
    Ok(vec![
        Operation::check(paths::CONTROLLER_EPOCH, Some(node.stat.version)),
        Operation::set(path, Some(data), Some(mark.stat.version)),
    ])
}

/// Registers a broker for as long as the session lasts, with what one of ours says beside; yields its epoch.
pub async fn register(
    store: &Arc<dyn Store>,
    id: BrokerId,
    broker: &Broker,
    ours: &OurBroker,
) -> Result<BrokerEpoch, RegisterError> {
    register_after(None, store, id, broker, ours).await
}

/// The same for a process that was registered in the session `former`, which is over: what ZooKeeper has left of that one
/// goes in the same change (ZOOKEEPER-2985, KAFKA-7165).
async fn register_after(
    former: Option<SessionId>,
    store: &Arc<dyn Store>,
    id: BrokerId,
    broker: &Broker,
    ours: &OurBroker,
) -> Result<BrokerEpoch, RegisterError> {
    check_addresses(store, id, broker).await?;
    let (path, twin) = (paths::broker(id), paths::our_broker(id));
    let mut left = Vec::new();
    loop {
        let mut operations = std::mem::take(&mut left);
        let replaces = !operations.is_empty();
        operations.extend(date_unclean_shutdown(store, id).await?);
        operations.extend([
            Operation::create(&twin, Some(ours.encode()), CreateKind::Ephemeral),
            Operation::create(&path, None, CreateKind::Ephemeral),
            Operation::set(&path, Some(broker.encode()), Some(0)),
        ]);
        match store.multi(operations).await {
            Ok(outcomes) => {
                return match outcomes.last() {
                    Some(Outcome::Set(stat)) => Ok(BrokerEpoch(stat.czxid)),
                    _ => Err(StoreError::Failed.into()),
                };
            }
            Err(MultiError { error, .. }) if may_be_there(error, replaces) => {
                // An earlier try may have gone through though its answer was lost.
                let session = store.session().borrow().id();
                match store.get(&path).await? {
                    Some(node) if node.stat.owner == Some(session) => {
                        return Ok(BrokerEpoch(node.stat.czxid));
                    }
                    Some(node) if former.is_some() && node.stat.owner == former => {
                        tracing::warn!(
                            "{path} was left by the former session of this broker: it is replaced"
                        );
                        left.push(Operation::delete(&path, Some(node.stat.version)));
                    }
                    Some(_) => return Err(RegisterError::Taken(id)),
                    // It did not go through, or somebody else's has gone since.
                    None => {}
                }
                // What lies beside belongs to who is registered.
                if let Some(node) = store.get(&twin).await? {
                    left.push(Operation::delete(&twin, Some(node.stat.version)));
                }
            }
            // A controller was elected meanwhile, or has taken the mark away that an earlier registration left.
            Err(MultiError {
                error: StoreError::BadVersion | StoreError::NoNode,
                ..
            }) => {}
            Err(failed) => return Err(failed.error.into()),
        }
    }
}

/// True for an error after which it must be read who is registered; `replaces`: something that was left was to go, which may
/// have gone since.
fn may_be_there(error: StoreError, replaces: bool) -> bool {
    match error {
        StoreError::NodeExists | StoreError::ConnectionLoss => true,
        StoreError::NoNode | StoreError::BadVersion => replaces,
        _ => false,
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
