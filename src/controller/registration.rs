//! What a broker writes before there is a controller: the tree's fixed nodes, the cluster's id, its own id and its
//! registration (Kafka: `KafkaServer.startup`, `KafkaZkClient.registerBroker`). Called by `lifecycle/`.

use std::sync::Arc;

use crate::base::ids::{BrokerEpoch, BrokerId};
use crate::base::random::Random;
use crate::store::znodes::{BadNode, Broker, ClusterId, paths};
use crate::store::{CreateKind, MultiError, Operation, Outcome, Store, StoreError};

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
            // Another broker starts at the same time.
            Err(MultiError {
                error: StoreError::NodeExists,
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

/// Registers a broker for as long as the session lasts; yields its epoch.
pub async fn register(
    store: &Arc<dyn Store>,
    id: BrokerId,
    broker: &Broker,
) -> Result<BrokerEpoch, RegisterError> {
    check_addresses(store, id, broker).await?;
    let path = paths::broker(id);
    let operations = vec![
        Operation::create(&path, None, CreateKind::Ephemeral),
        Operation::set(&path, Some(broker.encode()), Some(0)),
    ];
    match store.multi(operations).await {
        Ok(outcomes) => match outcomes.last() {
            Some(Outcome::Set(stat)) => Ok(BrokerEpoch(stat.czxid)),
            _ => Err(StoreError::Failed.into()),
        },
        Err(MultiError {
            error: error @ (StoreError::NodeExists | StoreError::ConnectionLoss),
            ..
        }) => {
            // An earlier try may have gone through though its answer was lost.
            let session = store.session().borrow().id();
            match store.get(&path).await? {
                Some(node) if node.stat.owner == Some(session) => Ok(BrokerEpoch(node.stat.czxid)),
                Some(_) => Err(RegisterError::Taken(id)),
                None => Err(error.into()),
            }
        }
        Err(failed) => Err(failed.error.into()),
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
            let path = format!("{}/{name}", paths::BROKER_IDS);
            return Err(RegisterError::BadNode(
                path,
                BadNode("its name is no broker id".to_owned()),
            ));
        };
        if other == id {
            continue;
        }
        let Some(node) = store.get(&paths::broker(other)).await? else {
            continue;
        };
        let theirs = Broker::decode(node.data.as_deref().unwrap_or_default())
            .and_then(|broker| addresses(&broker))
            .map_err(|error| RegisterError::BadNode(paths::broker(other), error))?;
        if let Some(address) = theirs.into_iter().find(|address| mine.contains(address)) {
            return Err(RegisterError::AddressTaken(other, address));
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
