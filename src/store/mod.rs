//! L2, the versioned tree that coordinates a cluster, its backends, and Kafka's paths and JSON on it.
//!
//! [`Store`] has ZooKeeper's semantics and no more. [`embedded`] keeps the tree in the log directories of a broker that
//! stands alone; [`zookeeper`] is a client of ZooKeeper, for brokers together; `memory` is for tests, and with `distant` for the simulation;
//! [`znodes`] knows Kafka's nodes. Whoever holds a `Store` has one session with it: what it creates as ephemeral goes
//! when that session ends.

#[cfg(any(test, feature = "simulation"))]
pub mod distant;
pub mod embedded;
#[cfg(any(test, feature = "simulation"))]
pub mod memory;
mod path;
mod session;
mod tree;
mod watches;
pub mod znodes;
pub mod zookeeper;

#[cfg(test)]
mod contract_test;
#[cfg(test)]
#[path = "reading_back_test.rs"]
mod reading_back;
#[cfg(test)]
mod tree_test;

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

pub use session::{Session, SessionId};
pub use watches::{ChangeKind, WatchEvent, Watcher, WatcherSet};

/// What a [`Store`]'s methods return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a [`Store`]'s methods return that can fail in one way only.
pub type StoreFuture<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// The number of a change of the tree; each change has a greater one than all before it, restarts included.
pub type Zxid = i64;

/// A coordination service: a tree of small versioned nodes, as one session sees it.
///
/// A call takes its place in the session's order when it is made, not when its future is first polled: several
/// changes may be under way at once and take effect in the order of the calls, and a read sees what was asked before it,
/// as with ZooKeeper. A future that is dropped does not take its change back.
pub trait Store: Send + Sync {
    /// The node at `path`; `None` when there is none.
    fn get(&self, path: &str) -> StoreFuture<'_, Option<Node>>;

    /// The node at `path`, and a watcher that tells once when it is created, changed or deleted.
    fn get_and_watch(&self, path: &str) -> StoreFuture<'_, (Option<Node>, Watcher)>;

    /// The names of the children of `path` in their order; `None` when there is no such node.
    fn children(&self, path: &str) -> StoreFuture<'_, Option<Vec<String>>>;

    /// As [`Store::children`], with a watcher that tells once when a child is created or deleted, or the node itself
    /// is deleted.
    fn children_and_watch(&self, path: &str) -> StoreFuture<'_, Option<(Vec<String>, Watcher)>>;

    /// Applies all of `operations` as one change, or none of them.
    ///
    /// # Errors
    /// The first operation that could not be applied, or what befell the session. After
    /// [`StoreError::ConnectionLoss`] it is unknown whether the change was made.
    fn multi(&self, operations: Vec<Operation>) -> BoxFuture<'static, Result<Vec<Outcome>, MultiError>>;

    /// The session, as it is and as it changes.
    fn session(&self) -> tokio::sync::watch::Receiver<Session>;

    /// Begins a new session after the old one has expired; does nothing while there is one.
    fn renew(&self) -> StoreFuture<'_, SessionId>;

    /// Creates a node; yields its path, which for a sequential one has ten digits appended, and its stat.
    fn create(&self, path: &str, data: Option<Bytes>, kind: CreateKind) -> StoreFuture<'_, (String, Stat)> {
        let done = self.multi(vec![Operation::create(path, data, kind)]);
        Box::pin(async move {
            match done.await.map_err(|failed| failed.error)?.pop() {
                Some(Outcome::Created { path, stat }) => Ok((path, stat)),
                _ => Err(StoreError::Failed),
            }
        })
    }

    /// Replaces the data of a node; `version` is the one it must have, `None` any.
    fn set(&self, path: &str, data: Option<Bytes>, version: Option<i32>) -> StoreFuture<'_, Stat> {
        let done = self.multi(vec![Operation::set(path, data, version)]);
        Box::pin(async move {
            match done.await.map_err(|failed| failed.error)?.pop() {
                Some(Outcome::Set(stat)) => Ok(stat),
                _ => Err(StoreError::Failed),
            }
        })
    }

    /// Deletes a node that has no children; `version` is the one it must have, `None` any.
    fn delete(&self, path: &str, version: Option<i32>) -> StoreFuture<'_, ()> {
        let done = self.multi(vec![Operation::delete(path, version)]);
        Box::pin(async move { done.await.map(|_| ()).map_err(|failed| failed.error) })
    }
}

/// A node: its data, where null and empty differ, and its stat.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// The data; Kafka's parent nodes have none.
    pub data: Option<Bytes>,
    /// Versions and times.
    pub stat: Stat,
}

/// What a store knows of a node beside its data (ZooKeeper's `Stat`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stat {
    /// The change that created it.
    pub czxid: Zxid,
    /// The change that last set its data.
    pub mzxid: Zxid,
    /// The change that last created or deleted a child.
    pub pzxid: Zxid,
    /// How often its data was set.
    pub version: i32,
    /// How often a child was created or deleted.
    pub cversion: i32,
    /// The session that it goes with, for an ephemeral node.
    pub owner: Option<SessionId>,
    /// When it was created, in milliseconds since 1970.
    pub ctime_ms: i64,
    /// When its data was last set, in milliseconds since 1970.
    pub mtime_ms: i64,
    /// How many children it has.
    pub children: i32,
}

/// How long a node lives, and whether its name gets a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CreateKind {
    /// Until it is deleted.
    Persistent,
    /// Until it is deleted or its session ends. It cannot have children.
    Ephemeral,
    /// As persistent; the parent's count of creations is appended to the name in ten digits.
    PersistentSequential,
    /// As ephemeral, with the number.
    EphemeralSequential,
}

/// One part of a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Creates a node; its parent must be there.
    Create {
        /// Where.
        path: String,
        /// Its data.
        data: Option<Bytes>,
        /// How long it lives.
        kind: CreateKind,
    },
    /// Replaces a node's data.
    Set {
        /// Which node.
        path: String,
        /// Its new data.
        data: Option<Bytes>,
        /// The version it must have; `None` any.
        version: Option<i32>,
    },
    /// Deletes a node without children.
    Delete {
        /// Which node.
        path: String,
        /// The version it must have; `None` any.
        version: Option<i32>,
    },
    /// Requires that a node has a version.
    Check {
        /// Which node.
        path: String,
        /// The version it must have; `None` any.
        version: Option<i32>,
    },
}

impl Operation {
    /// [`Operation::Create`].
    pub fn create(path: impl Into<String>, data: Option<Bytes>, kind: CreateKind) -> Self {
        Self::Create {
            path: path.into(),
            data,
            kind,
        }
    }

    /// [`Operation::Set`].
    pub fn set(path: impl Into<String>, data: Option<Bytes>, version: Option<i32>) -> Self {
        Self::Set {
            path: path.into(),
            data,
            version,
        }
    }

    /// [`Operation::Delete`].
    pub fn delete(path: impl Into<String>, version: Option<i32>) -> Self {
        Self::Delete {
            path: path.into(),
            version,
        }
    }

    /// [`Operation::Check`].
    pub fn check(path: impl Into<String>, version: Option<i32>) -> Self {
        Self::Check {
            path: path.into(),
            version,
        }
    }

    /// The node that it is about.
    pub fn path(&self) -> &str {
        match self {
            Self::Create { path, .. }
            | Self::Set { path, .. }
            | Self::Delete { path, .. }
            | Self::Check { path, .. } => path,
        }
    }

    /// About how many bytes it has on the way to a server, whose limit is a mebibyte a request.
    pub fn size_in_bytes(&self) -> usize {
        let data = match self {
            Self::Create { data, .. } | Self::Set { data, .. } => data.as_ref().map_or(0, Bytes::len),
            Self::Delete { .. } | Self::Check { .. } => 0,
        };
        self.path().len() + data + 48
    }
}

/// What the operations of a change may have in all, in bytes: as much as ZooKeeper takes as it is delivered (`jute.maxbuffer`).
/// It holds for every store, so that what lies in one can be taken to another.
pub const CHANGE_BYTES: usize = 0xf_ffff - CHANGE_OVERHEAD_BYTES;

/// What a change has beside its operations, on its way to a server.
const CHANGE_OVERHEAD_BYTES: usize = 17;

/// Refuses a change that has more than [`CHANGE_BYTES`].
///
/// # Errors
/// [`StoreError::TooLarge`], about no operation in particular.
fn check_size(operations: &[Operation]) -> Result<(), MultiError> {
    let bytes: usize = operations.iter().map(Operation::size_in_bytes).sum();
    match bytes > CHANGE_BYTES {
        true => Err(StoreError::TooLarge.into()),
        false => Ok(()),
    }
}

/// What an [`Operation`] brought about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// A node was created.
    Created {
        /// Its path, with the number of a sequential one.
        path: String,
        /// Its stat.
        stat: Stat,
    },
    /// A node's data was set; its stat after it.
    Set(Stat),
    /// A node was deleted.
    Deleted,
    /// A node has the version.
    Checked,
}

/// Why a store did not do what it was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreError {
    /// The node, or the parent of the one to create, is not there.
    NoNode,
    /// The node to create is there already.
    NodeExists,
    /// The node has another version.
    BadVersion,
    /// The node to delete has children.
    NotEmpty,
    /// An ephemeral node cannot have children.
    NoChildrenForEphemerals,
    /// The path is none, or the operation makes no sense for it.
    BadArguments,
    /// The answer was lost; whether the change was made is unknown.
    ConnectionLoss,
    /// The session is over, and its ephemeral nodes with it.
    SessionExpired,
    /// The store's operator has not given this broker the right, or has set a quota.
    NotAllowed,
    /// The change, or what was to be read, is larger than a server takes or gives at once.
    TooLarge,
    /// The store cannot work any more: its disks are gone, or it was closed.
    Failed,
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoNode => "there is no such node",
            Self::NodeExists => "the node is there already",
            Self::BadVersion => "the node has another version",
            Self::NotEmpty => "the node has children",
            Self::NoChildrenForEphemerals => "an ephemeral node cannot have children",
            Self::BadArguments => "the path or the operation is not valid",
            Self::ConnectionLoss => "the connection to the store was lost",
            Self::SessionExpired => "the session with the store has expired",
            Self::NotAllowed => "the store does not allow it to this broker",
            Self::TooLarge => "it is larger than the store takes at once",
            Self::Failed => "the store does not work any more",
        })
    }
}

impl std::error::Error for StoreError {}

/// Why a change was not made, and by which of its operations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MultiError {
    /// The operation that could not be applied; `None` when it was not about any one.
    pub index: Option<usize>,
    /// What was wrong.
    pub error: StoreError,
}

impl From<StoreError> for MultiError {
    fn from(error: StoreError) -> Self {
        Self { index: None, error }
    }
}

impl std::fmt::Display for MultiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.index {
            Some(index) => write!(f, "operation {index}: {}", self.error),
            None => self.error.fmt(f),
        }
    }
}

impl std::error::Error for MultiError {}
