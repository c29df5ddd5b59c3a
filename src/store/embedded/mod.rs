//! The store of a broker that stands alone: the tree in memory, and a durable copy of it in every log directory.
//!
//! A change is answered when every copy that works has it, so any one of them knows all that was ever acknowledged. Each
//! knows which they are, and a start believes the newest when none of these is missing. One whose directory works again is
//! written anew, and is one of them again.
//!
//! Each start begins a new epoch in the upper half of the zxid, as a new ZooKeeper leader does, so that no number is given
//! twice even if the newest copy is lost; and it ends the session of the start before it, whose ephemeral nodes go.

mod back;
mod copy;
mod file;
mod open;
#[cfg(not(feature = "planted"))]
mod record;
#[cfg(feature = "planted")]
pub mod record;
mod writer;

#[cfg(test)]
mod back_test;
#[cfg(test)]
pub(crate) mod crash_test;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

pub use copy::{CopyError, FILE_NAME};
pub use open::OpenStoreError;

use super::tree::{Author, Records, Tree};
use super::watches::Watches;
use super::{
    BoxFuture, MultiError, Node, Operation, Outcome, Session, SessionId, Store, StoreError, StoreFuture,
    Watcher,
};
use crate::base::clock;
use crate::base::disk::Disk;
use crate::base::random::Random;
use crate::base::task;
use writer::{Request, Writer};

/// What readers see, and who waits for changes of it.
struct Shared {
    tree: Tree,
    watches: Watches,
    failed: bool,
}

impl Shared {
    /// Nothing works from now on; who waits for changes learns of it.
    fn fail(&mut self) {
        self.failed = true;
        self.watches = Watches::default();
    }
}

/// The nodes in a copy of a store, with their paths, parents before their children. The file is only read, and may be that
/// of a broker which runs: what a crash left to be mended is mended in memory.
///
/// # Errors
/// See [`CopyError`].
pub fn read(disk: &Disk, path: &Path) -> Result<Vec<(String, Node)>, CopyError> {
    let copy = copy::Copy::in_memory(disk, path)?;
    let nodes = copy.load()?.into_iter().filter_map(|(key, record)| {
        let node = Node {
            data: record.data.clone(),
            stat: record.stat(),
        };
        Some((super::path::of_key(&key)?, node))
    });
    let mut nodes: Vec<_> = nodes.collect();
    nodes.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(nodes)
}

/// A store in the log directories. Clones share it. When its last copy fails its session expires, for good.
#[derive(Clone)]
pub struct EmbeddedStore {
    shared: Arc<Mutex<Shared>>,
    requests: mpsc::UnboundedSender<Request>,
    under_way: Arc<AtomicUsize>,
    session: watch::Sender<Session>,
}

impl EmbeddedStore {
    /// Opens the store whose copies lie in `directories`, or begins a new one when none has a copy. The directories
    /// must exist and be locked by this broker. A commit that takes longer than `stall` (`log.dir.stall.ms`) waits for its
    /// copy no longer, while there is another.
    ///
    /// # Errors
    /// See [`OpenStoreError`]: each is one line for the user.
    pub async fn open(
        disk: &Disk,
        directories: &[PathBuf],
        stall: Duration,
        random: &Random,
    ) -> Result<Self, OpenStoreError> {
        Self::open_left(disk, directories, stall, random, false).await
    }

    /// The same, where with `accept_missing` (`accept.missing.log.dirs`) the copies that are there are believed, whatever a
    /// missing one may know.
    ///
    /// # Errors
    /// See [`OpenStoreError`].
    pub async fn open_left(
        disk: &Disk,
        directories: &[PathBuf],
        stall: Duration,
        random: &Random,
        accept_missing: bool,
    ) -> Result<Self, OpenStoreError> {
        Self::open_patient(disk, directories, (stall, back::PAUSE), random, accept_missing).await
    }

    /// The same; a copy that failed is tried again after each `pause`.
    async fn open_patient(
        disk: &Disk,
        directories: &[PathBuf],
        (stall, pause): (Duration, Duration),
        random: &Random,
        accept_missing: bool,
    ) -> Result<Self, OpenStoreError> {
        let (mut tree, copies, store) = open::open(disk, directories, random, accept_missing).await?;
        let epoch = (tree.zxid() >> 32).saturating_add(1);
        tree.advance(epoch << 32);
        let session = SessionId(epoch);
        let mut owed = Records::new();
        let left_over = tree.ephemerals(|owner| owner != session);
        let deletes = left_over
            .into_iter()
            .map(|path| Operation::delete(path, None))
            .collect();
        let author = Author {
            session,
            now_ms: clock::now_ms(),
        };
        // Ephemeral nodes have no children, so deleting them cannot fail.
        let _ = tree.apply(deletes, author, &mut owed);
        let shared = Arc::new(Mutex::new(Shared {
            tree: tree.clone(),
            watches: Watches::default(),
            failed: false,
        }));
        // Not bounded: the few rooms that change the store wait for their answers.
        let (requests, receiver) = mpsc::unbounded_channel();
        let over = watch::Sender::new(Session::Connected(session));
        let under_way = Arc::default();
        let writer = Writer {
            shared: Arc::clone(&shared),
            under_way: Arc::clone(&under_way),
            session,
            over: over.clone(),
            tree,
            owed,
            copies,
            building: Vec::new(),
            store,
            disk: disk.clone(),
            random: random.clone(),
            requests: requests.downgrade(),
            stall,
            pause,
        };
        task::spawn(writer.run(receiver));
        Ok(Self {
            shared,
            requests,
            under_way,
            session: over,
        })
    }

    /// Closes the files, after what was asked before. The store fails, and its session is over, from then on.
    pub async fn close(&self) {
        let (sender, receiver) = oneshot::channel();
        if self.requests.send(Request::Close(sender)).is_ok() {
            let _ = receiver.await;
        }
    }

    fn lock(&self) -> Result<MutexGuard<'_, Shared>, StoreError> {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.failed {
            return Err(StoreError::Failed);
        }
        Ok(shared)
    }

    /// Reads once what was asked before can be read.
    fn read<'a, T: Send + 'a>(
        &'a self,
        read: impl FnOnce(&mut Shared) -> T + Send + 'a,
    ) -> StoreFuture<'a, T> {
        if self.under_way.load(Ordering::Acquire) == 0 {
            return ready(self.lock().map(|mut shared| read(&mut shared)));
        }
        let (sender, receiver) = oneshot::channel();
        let _ = self.requests.send(Request::Read(sender));
        Box::pin(async move {
            // A writer that has ended has let the store fail.
            let _ = receiver.await;
            self.lock().map(|mut shared| read(&mut shared))
        })
    }
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(value))
}

impl Store for EmbeddedStore {
    fn get(&self, path: &str) -> StoreFuture<'_, Option<Node>> {
        let path = path.to_owned();
        self.read(move |shared| shared.tree.get(&path))
    }

    fn get_and_watch(&self, path: &str) -> StoreFuture<'_, (Option<Node>, Watcher)> {
        let path = path.to_owned();
        self.read(move |shared| (shared.tree.get(&path), shared.watches.data(&path)))
    }

    fn children(&self, path: &str) -> StoreFuture<'_, Option<Vec<String>>> {
        let path = path.to_owned();
        self.read(move |shared| shared.tree.children(&path))
    }

    fn children_and_watch(&self, path: &str) -> StoreFuture<'_, Option<(Vec<String>, Watcher)>> {
        let path = path.to_owned();
        self.read(move |shared| {
            let children = shared.tree.children(&path)?;
            Some((children, shared.watches.children(&path)))
        })
    }

    fn multi(&self, operations: Vec<Operation>) -> BoxFuture<'static, Result<Vec<Outcome>, MultiError>> {
        let (sender, receiver) = oneshot::channel();
        self.under_way.fetch_add(1, Ordering::AcqRel);
        // A writer that has ended drops the request, which the receiver sees.
        let _ = self.requests.send(Request::Multi(operations, sender));
        Box::pin(async move { receiver.await.unwrap_or(Err(StoreError::Failed.into())) })
    }

    fn session(&self) -> watch::Receiver<Session> {
        self.session.subscribe()
    }

    fn renew(&self) -> StoreFuture<'_, SessionId> {
        let session = *self.session.borrow();
        ready(match session {
            Session::Expired(_) => Err(StoreError::Failed),
            Session::Connected(id) | Session::Disconnected(id) => Ok(id),
        })
    }
}
