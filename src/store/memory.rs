//! The store of tests and of the simulation: a server in memory with several sessions, which a test may expire, whose
//! answers it may lose.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::tree::{Author, Records, Tree};
use super::watches::{Fired, Watches};
use super::{
    BoxFuture, ChangeKind, MultiError, Node, Operation, Outcome, Session, SessionId, Store, StoreError,
    StoreFuture, Watcher, check_size,
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
    /// The sessions of those that are not near.
    distant: BTreeMap<SessionId, Distant>,
    sessions: i64,
    /// What becomes of a change of these sessions, behind so many others.
    lose: BTreeMap<SessionId, (usize, Lost)>,
    /// After how many more calls a session ends.
    expiring: BTreeMap<SessionId, u64>,
    /// The same of the session that begins next.
    expiring_next: Option<u64>,
    /// The session that ends just before the children of a node are next asked for.
    expiring_before: Option<(String, SessionId)>,
    changes: u64,
    /// Data that was written, where somebody wants to know all of it.
    journal: Option<Vec<(String, Option<Bytes>)>>,
}

/// A session whose client is not near.
struct Distant {
    /// Takes the watches that fire.
    fires: mpsc::UnboundedSender<Fired>,
    heard_ms: i64,
    timeout_ms: i64,
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
        self.lose_behind(session, 0, what);
    }

    /// The same, of the change behind so many others.
    pub fn lose_behind(&self, session: SessionId, others: usize, what: Lost) {
        self.lock().lose.insert(session, (others, what));
    }

    /// True while something that is to be lost was not asked for yet.
    pub fn is_to_lose(&self, session: SessionId) -> bool {
        self.lock().lose.contains_key(&session)
    }

    /// Ends a session that is near after so many more of its calls, instead of the next one.
    pub fn expire_after(&self, session: SessionId, calls: u64) {
        self.lock().expiring.insert(session, calls);
    }

    /// The same of the session that begins next.
    pub fn expire_next_after(&self, calls: u64) {
        self.lock().expiring_next = Some(calls);
    }

    /// Ends a session just before somebody next asks for the children of the node at `path`.
    pub fn expire_before_children_of(&self, path: &str, session: SessionId) {
        self.lock().expiring_before = Some((path.to_owned(), session));
    }

    /// True while a session is still to end like that.
    pub fn is_expiring(&self, session: SessionId) -> bool {
        self.lock().expiring.contains_key(&session)
    }

    /// Counts a call of a session; true when it ends now.
    fn is_due(&self, session: SessionId) -> bool {
        let mut inner = self.lock();
        let Some(left) = inner.expiring.get_mut(&session) else {
            return false;
        };
        if *left > 0 {
            *left -= 1;
            return false;
        }
        inner.expiring.remove(&session);
        true
    }

    /// How many changes were made.
    pub fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// Keeps from now on what is written, for [`MemoryServer::journal`].
    pub fn keep_journal(&self) {
        self.lock().journal.get_or_insert_default();
    }

    /// Paths and data that were written since this was last asked, in order; no data for a node that was deleted.
    pub fn journal(&self) -> Vec<(String, Option<Bytes>)> {
        self.lock()
            .journal
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// The node at `path`, as it is.
    pub fn peek(&self, path: &str) -> Option<Node> {
        self.lock().tree.get(path)
    }

    /// Ends a session: its ephemeral nodes go.
    pub fn expire(&self, session: SessionId) {
        self.lock().expire(session);
    }

    /// Ends the distant sessions that were not heard of for their timeouts; tells which.
    pub fn expire_silent(&self, now_ms: i64) -> Vec<SessionId> {
        let mut inner = self.lock();
        let silent = inner
            .distant
            .iter()
            .filter(|(_, one)| now_ms - one.heard_ms > one.timeout_ms);
        let silent: Vec<_> = silent.map(|(id, _)| *id).collect();
        for id in &silent {
            inner.expire(*id);
        }
        silent
    }

    pub(super) fn begin(&self, timeout: Duration) -> (SessionId, mpsc::UnboundedReceiver<Fired>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut inner = self.lock();
        let id = inner.begin();
        let distant = Distant {
            fires: sender,
            heard_ms: clock::now_ms(),
            timeout_ms: i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX),
        };
        inner.distant.insert(id, distant);
        (id, receiver)
    }

    pub(super) fn is_alive(&self, session: SessionId) -> bool {
        self.lock().distant.contains_key(&session)
    }

    pub(super) fn heard(&self, session: SessionId) {
        if let Some(distant) = self.lock().distant.get_mut(&session) {
            distant.heard_ms = clock::now_ms();
        }
    }

    fn ask<T>(&self, session: SessionId, ask: impl FnOnce(&mut Inner) -> T) -> Result<T, StoreError> {
        let mut inner = self.lock();
        if inner.distant.contains_key(&session) {
            Ok(ask(&mut inner))
        } else {
            Err(StoreError::SessionExpired)
        }
    }

    pub(super) fn get(&self, session: SessionId, path: &str) -> Result<Option<Node>, StoreError> {
        self.ask(session, |inner| inner.tree.get(path))
    }

    pub(super) fn get_and_watch(
        &self,
        session: SessionId,
        path: &str,
    ) -> Result<(Option<Node>, Watcher), StoreError> {
        self.ask(session, |inner| inner.get_and_watch(session, path))
    }

    pub(super) fn children(&self, session: SessionId, path: &str) -> Result<Option<Vec<String>>, StoreError> {
        self.ask(session, |inner| inner.tree.children(path))
    }

    pub(super) fn children_and_watch(
        &self,
        session: SessionId,
        path: &str,
    ) -> Result<Option<(Vec<String>, Watcher)>, StoreError> {
        self.ask(session, |inner| inner.children_and_watch(session, path))
    }

    pub(super) fn multi(
        &self,
        session: SessionId,
        operations: Vec<Operation>,
    ) -> Result<Vec<Outcome>, MultiError> {
        check_size(&operations)?;
        self.ask(session, |inner| inner.change(operations, session))?
    }
}

impl Inner {
    fn begin(&mut self) -> SessionId {
        self.sessions += 1;
        let id = SessionId(self.sessions);
        self.watches.insert(id, Watches::default());
        if let Some(calls) = self.expiring_next.take() {
            self.expiring.insert(id, calls);
        }
        id
    }

    /// What becomes of the next change of a session, if it is lost.
    fn lost(&mut self, session: SessionId) -> Option<Lost> {
        let (others, what) = self.lose.remove(&session)?;
        match others.checked_sub(1) {
            None => Some(what),
            Some(others) => {
                self.lose.insert(session, (others, what));
                None
            }
        }
    }

    fn change(&mut self, operations: Vec<Operation>, session: SessionId) -> Result<Vec<Outcome>, MultiError> {
        let author = Author {
            session,
            now_ms: clock::now_ms(),
        };
        let applied = self.tree.apply(operations, author, &mut Records::new())?;
        self.changes += 1;
        if let Some(journal) = &mut self.journal {
            for (path, kind) in &applied.changes {
                if *kind != ChangeKind::Children {
                    journal.push((path.clone(), self.tree.get(path).and_then(|node| node.data)));
                }
            }
        }
        let changes = || {
            applied
                .changes
                .iter()
                .map(|(path, kind): &(String, ChangeKind)| (path.as_str(), *kind))
        };
        for (session, watches) in &mut self.watches {
            let fired = watches.fire(changes());
            match self.distant.get(session) {
                Some(distant) => drop(distant.fires.send(fired)),
                None => fired.tell(),
            }
        }
        Ok(applied.outcomes)
    }

    /// Its watches go first: the client learns that the session is over.
    fn expire(&mut self, session: SessionId) {
        self.watches.remove(&session);
        self.distant.remove(&session);
        let deletes = self
            .tree
            .ephemerals(|owner| owner == session)
            .into_iter()
            .map(|path| Operation::delete(path, None))
            .collect();
        let _ = self.change(deletes, session);
    }

    fn get_and_watch(&mut self, session: SessionId, path: &str) -> (Option<Node>, Watcher) {
        let watcher = self.watches.entry(session).or_default().data(path);
        (self.tree.get(path), watcher)
    }

    fn children_and_watch(&mut self, session: SessionId, path: &str) -> Option<(Vec<String>, Watcher)> {
        let children = self.tree.children(path)?;
        Some((children, self.watches.entry(session).or_default().children(path)))
    }
}

impl MemoryStore {
    /// Ends the session as its timeout would: its ephemeral nodes go, its watchers learn of it.
    pub fn expire(&self) {
        let id = self.session.borrow().id();
        self.server.expire(id);
        self.session.send_replace(Session::Expired(id));
    }

    /// Ends the session, and leaves its ephemeral nodes, as some versions of ZooKeeper did (ZOOKEEPER-2985).
    pub fn expire_and_leave(&self) {
        let id = self.session.borrow().id();
        self.server.lock().watches.remove(&id);
        self.session.send_replace(Session::Expired(id));
    }

    /// The connection is lost, and made again at once: the session goes on.
    pub fn reconnect(&self) {
        let id = self.id();
        self.session.send_replace(Session::Disconnected(id));
        self.session.send_replace(Session::Connected(id));
    }

    /// The session's number.
    pub fn id(&self) -> SessionId {
        self.session.borrow().id()
    }

    fn alive(&self) -> Result<SessionId, StoreError> {
        let session = *self.session.borrow();
        match session {
            Session::Connected(id) if self.server.is_due(id) => {
                self.expire();
                Err(StoreError::SessionExpired)
            }
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
        self.read(|inner, session| inner.get_and_watch(session, path))
    }

    fn children(&self, path: &str) -> StoreFuture<'_, Option<Vec<String>>> {
        self.read(|inner, _| {
            if let Some((_, session)) = inner.expiring_before.take_if(|(before, _)| before == path) {
                inner.expire(session);
            }
            inner.tree.children(path)
        })
    }

    fn children_and_watch(&self, path: &str) -> StoreFuture<'_, Option<(Vec<String>, Watcher)>> {
        self.read(|inner, session| inner.children_and_watch(session, path))
    }

    fn multi(&self, operations: Vec<Operation>) -> BoxFuture<'static, Result<Vec<Outcome>, MultiError>> {
        let answer = self.alive().map_err(MultiError::from).and_then(|session| {
            check_size(&operations)?;
            let mut inner = self.server.lock();
            match inner.lost(session) {
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
