//! The store of tests and of the simulation: a server in memory with several sessions, which a test may expire, whose
//! answers it may lose.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::tree::{Author, Records, Tree};
use super::watches::Watches;
use super::{
    BoxFuture, ChangeKind, MultiError, Node, Operation, Outcome, Session, SessionId, Store, StoreError,
    StoreFuture, Watcher,
};
use crate::base::clock;

/// A server; clones share it.
#[derive(Clone, Default)]
pub struct MemoryServer {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    tree: Tree,
    watches: BTreeMap<SessionId, Watches>,
    sessions: i64,
    lose: BTreeMap<SessionId, Lost>,
    changes: u64,
}

/// What becomes of the next change of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lost {
    /// It does not arrive.
    Request,
    /// It is made, but its answer does not arrive.
    Reply,
}

/// A connection to a [`MemoryServer`], with one session at a time. Clones share it.
#[derive(Clone)]
pub struct MemoryStore {
    server: MemoryServer,
    session: watch::Sender<Session>,
}

impl MemoryServer {
    /// A server with an empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a session.
    pub fn connect(&self) -> MemoryStore {
        let id = self.lock().begin();
        MemoryStore {
            server: self.clone(),
            session: watch::Sender::new(Session::Connected(id)),
        }
    }

    /// Loses the next change of a session, or its answer.
    pub fn lose(&self, session: SessionId, what: Lost) {
        self.lock().lose.insert(session, what);
    }

    /// How many changes were made.
    pub fn changes(&self) -> u64 {
        self.lock().changes
    }
}

impl Inner {
    fn begin(&mut self) -> SessionId {
        self.sessions += 1;
        let id = SessionId(self.sessions);
        self.watches.insert(id, Watches::default());
        id
    }

    fn change(&mut self, operations: Vec<Operation>, session: SessionId) -> Result<Vec<Outcome>, MultiError> {
        let author = Author {
            session,
            now_ms: clock::now_ms(),
        };
        let applied = self.tree.apply(operations, author, &mut Records::new())?;
        self.changes += 1;
        let changes = || {
            applied
                .changes
                .iter()
                .map(|(path, kind): &(String, ChangeKind)| (path.as_str(), *kind))
        };
        for watches in self.watches.values_mut() {
            watches.fire(changes()).tell();
        }
        Ok(applied.outcomes)
    }
}

impl MemoryStore {
    /// Ends the session as its timeout would: its ephemeral nodes go, its watchers learn of it.
    pub fn expire(&self) {
        let id = self.session.borrow().id();
        let mut inner = self.server.lock();
        inner.watches.remove(&id);
        let deletes = inner
            .tree
            .ephemerals(|owner| owner == id)
            .into_iter()
            .map(|path| Operation::delete(path, None))
            .collect();
        let _ = inner.change(deletes, id);
        drop(inner);
        self.session.send_replace(Session::Expired(id));
    }

    /// The session's number.
    pub fn id(&self) -> SessionId {
        self.session.borrow().id()
    }

    fn alive(&self) -> Result<SessionId, StoreError> {
        match *self.session.borrow() {
            Session::Connected(id) => Ok(id),
            Session::Disconnected(_) => Err(StoreError::ConnectionLoss),
            Session::Expired(_) => Err(StoreError::SessionExpired),
        }
    }

    fn read<'a, T: Send + 'a>(&'a self, read: impl FnOnce(&mut Inner, SessionId) -> T) -> StoreFuture<'a, T> {
        let answer = self.alive().map(|session| read(&mut self.server.lock(), session));
        Box::pin(std::future::ready(answer))
    }
}

impl Store for MemoryStore {
    fn get(&self, path: &str) -> StoreFuture<'_, Option<Node>> {
        self.read(|inner, _| inner.tree.get(path))
    }

    fn get_and_watch(&self, path: &str) -> StoreFuture<'_, (Option<Node>, Watcher)> {
        self.read(|inner, session| {
            let watcher = inner.watches.entry(session).or_default().data(path);
            (inner.tree.get(path), watcher)
        })
    }

    fn children(&self, path: &str) -> StoreFuture<'_, Option<Vec<String>>> {
        self.read(|inner, _| inner.tree.children(path))
    }

    fn children_and_watch(&self, path: &str) -> StoreFuture<'_, Option<(Vec<String>, Watcher)>> {
        self.read(|inner, session| {
            let children = inner.tree.children(path)?;
            Some((children, inner.watches.entry(session).or_default().children(path)))
        })
    }

    fn multi(&self, operations: Vec<Operation>) -> BoxFuture<'_, Result<Vec<Outcome>, MultiError>> {
        let answer = self.alive().map_err(MultiError::from).and_then(|session| {
            let mut inner = self.server.lock();
            match inner.lose.remove(&session) {
                Some(Lost::Request) => Err(StoreError::ConnectionLoss.into()),
                Some(Lost::Reply) => {
                    let _ = inner.change(operations, session);
                    Err(StoreError::ConnectionLoss.into())
                }
                None => inner.change(operations, session),
            }
        });
        Box::pin(std::future::ready(answer))
    }

    fn session(&self) -> watch::Receiver<Session> {
        self.session.subscribe()
    }

    fn renew(&self) -> StoreFuture<'_, SessionId> {
        let current = *self.session.borrow();
        let id = match current {
            Session::Connected(id) | Session::Disconnected(id) => id,
            Session::Expired(_) => {
                let id = self.server.lock().begin();
                self.session.send_replace(Session::Connected(id));
                id
            }
        };
        Box::pin(std::future::ready(Ok(id)))
    }
}
