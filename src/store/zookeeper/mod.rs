//! The store of brokers together: a client of Apache ZooKeeper, of 3.5 or later by its protocol; tried with 3.8.4.
//!
//! The client is ours, and small, because a node without data and one with empty data must differ: Kafka's own nodes
//! have none, a JVM broker that finds empty data where it expects none cannot read it, and the zookeeper-client crate
//! (0.11) knows slices only. It needs nothing but `base/`: sockets and time go through the seams. The simulation uses
//! the store in memory instead, whose sessions and answers a seed controls.
//!
//! What `zookeeper.set.acl` and `zookeeper.ssl.*` ask for, and SASL, is not there: nodes are open to everybody, and
//! connections are plain.

mod client;
mod connect_string;
mod connection;
mod jute;
mod messages;
mod request;
mod watched;

#[cfg(test)]
mod real_zookeeper_test;
#[cfg(test)]
pub(super) mod testing;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::{
    BoxFuture, CHANGE_BYTES, CreateKind, MultiError, Node, Operation, Outcome, Session, SessionId, Store,
    StoreError, StoreFuture, Watcher, path,
};
use crate::base::clock;
use crate::base::random::Random;
use crate::base::task;
use client::{Client, Command};
use request::{Reply, Request};

/// How a session is had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Servers and chroot (`zookeeper.connect`).
    pub connect: String,
    /// How long the session outlives its connection (`zookeeper.session.timeout.ms`).
    pub session_timeout: Duration,
    /// How long the first connection may take (`zookeeper.connection.timeout.ms`; else the session's timeout).
    pub connection_timeout: Duration,
    /// How many requests may be under way (`zookeeper.max.in.flight.requests`).
    pub max_in_flight_requests: usize,
}

/// Why there is no session: one line for the user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConnectError {
    /// `zookeeper.connect` cannot be read.
    BadConnectString(String, String),
    /// No server answered in time.
    TimedOut {
        /// Where it was tried.
        connect: String,
        /// How long.
        after: Duration,
        /// What was wrong at last.
        problem: String,
    },
    /// The chroot could not be created.
    Chroot(String, StoreError),
}

impl std::fmt::Display for ConnectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BadConnectString(text, reason) => write!(f, "zookeeper.connect={text}: {reason}"),
            Self::TimedOut {
                connect,
                after,
                problem,
            } => {
                let after = after.as_millis();
                write!(f, "no ZooKeeper at {connect} within {after} ms")?;
                if problem.is_empty() {
                    Ok(())
                } else {
                    write!(f, " ({problem})")
                }
            }
            Self::Chroot(chroot, error) => {
                write!(f, "zookeeper.connect: {chroot} cannot be created: {error}")
            }
        }
    }
}

impl std::error::Error for ConnectError {}

/// A session with ZooKeeper. Clones share it. It ends, and its ephemeral nodes with it, when the last clone is dropped.
#[derive(Clone)]
pub struct ZookeeperStore {
    commands: mpsc::UnboundedSender<Command>,
    session: watch::Receiver<Session>,
    /// What stands before every path; empty for none.
    chroot: Arc<str>,
    session_timeout: Duration,
}

impl ZookeeperStore {
    /// Begins a session, and creates the chroot where it is missing (Kafka: `KafkaZkClient.createZkClient`). While it
    /// waits for a server it says so in the log.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(options: &Options, random: &Random) -> Result<Self, ConnectError> {
        let (mut servers, chroot) = connect_string::parse(&options.connect)
            .map_err(|reason| ConnectError::BadConnectString(options.connect.clone(), reason))?;
        // Each broker has an order of its own, so that the servers share them.
        for unplaced in (1..servers.len()).rev() {
            let other = random.below(unplaced as u64 + 1) as usize;
            servers.swap(unplaced, other);
        }
        // Not bounded: the few rooms that ask the store wait for their answers.
        let (commands, receiver) = mpsc::unbounded_channel();
        let (begun, begins) = oneshot::channel();
        let state = watch::Sender::new(Session::Expired(SessionId(0)));
        let trouble = watch::Sender::new(String::new());
        let session = state.subscribe();
        let last_trouble = trouble.subscribe();
        let client = Client::new(servers, options, receiver, state, trouble, begun);
        task::spawn(client.run());
        let store = Self {
            commands,
            session,
            chroot: Arc::from(chroot),
            session_timeout: options.session_timeout,
        };
        let timed_out = || ConnectError::TimedOut {
            connect: options.connect.clone(),
            after: options.connection_timeout,
            problem: last_trouble.borrow().clone(),
        };
        match clock::timeout(options.connection_timeout, begins).await {
            Some(Ok(_)) => {}
            _ => return Err(timed_out()),
        }
        while let Err(error) = store.create_chroot().await {
            if error != StoreError::SessionExpired {
                return Err(ConnectError::Chroot(store.chroot.to_string(), error));
            }
            // The process has stood still since then, for longer than a session lasts.
            match clock::timeout(options.connection_timeout, store.renew()).await {
                Some(Ok(_)) => {}
                _ => return Err(timed_out()),
            }
        }
        Ok(store)
    }

    /// Ends the session, after what was asked before; its ephemeral nodes go. Waits no longer than the session would
    /// live anyway.
    pub async fn close(&self) {
        let (closed, closes) = oneshot::channel();
        if self.commands.send(Command::Close(closed)).is_ok() {
            let _ = clock::timeout(self.session_timeout, closes).await;
        }
    }

    async fn create_chroot(&self) -> Result<(), StoreError> {
        if self.get("/").await?.is_some() {
            return Ok(());
        }
        let ends = self.chroot.match_indices('/').map(|(at, _)| at);
        for end in ends.skip(1).chain([self.chroot.len()]) {
            let Some(path) = self.chroot.get(..end) else {
                continue;
            };
            let create = Operation::create(path, None, CreateKind::Persistent);
            loop {
                match self
                    .ask_multi(vec![create.clone()])
                    .await
                    .map_err(|failed| failed.error)
                {
                    Ok(_) | Err(StoreError::NodeExists) => break,
                    // It is created, or it is not: asking again settles it.
                    Err(StoreError::ConnectionLoss) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// The path as the server knows it; `None` for what is no path.
    fn whole(&self, path: &str) -> Option<String> {
        path::is_valid(path).then(|| match (&*self.chroot, path) {
            ("", path) => path.to_owned(),
            (chroot, "/") => chroot.to_owned(),
            (chroot, path) => format!("{chroot}{path}"),
        })
    }

    /// Asks at once; the future only waits.
    fn ask<'a, T: Send + 'a>(
        &self,
        path: &str,
        request: impl FnOnce(String, Reply<T>) -> Request,
        nonsense: Result<T, StoreError>,
    ) -> StoreFuture<'a, T> {
        let Some(path) = self.whole(path) else {
            return Box::pin(std::future::ready(nonsense));
        };
        let (reply, answer) = oneshot::channel();
        // A task that has ended drops the request, which the receiver sees.
        let _ = self.commands.send(Command::Ask(request(path, reply)));
        Box::pin(async move { answer.await.unwrap_or(Err(StoreError::Failed)) })
    }

    /// Asks for changes whose paths are the server's.
    fn ask_multi(&self, operations: Vec<Operation>) -> BoxFuture<'static, Result<Vec<Outcome>, MultiError>> {
        let (reply, answer) = oneshot::channel();
        let _ = self
            .commands
            .send(Command::Ask(Request::Multi { operations, reply }));
        Box::pin(async move { answer.await.unwrap_or(Err(StoreError::Failed.into())) })
    }

    /// The operations with the server's paths.
    ///
    /// # Errors
    /// What makes no sense to any server, which would not say it in our words.
    fn prepared(&self, operations: Vec<Operation>) -> Result<Vec<Operation>, MultiError> {
        let mut bytes = 0;
        let mut prepared = Vec::with_capacity(operations.len());
        for (index, mut operation) in operations.into_iter().enumerate() {
            let failed = |error| MultiError {
                index: Some(index),
                error,
            };
            let root = operation.path() == "/";
            match operation {
                Operation::Create { .. } if root => return Err(failed(StoreError::NodeExists)),
                Operation::Delete { .. } if root => return Err(failed(StoreError::BadArguments)),
                _ => {}
            }
            let whole = self
                .whole(operation.path())
                .ok_or(failed(StoreError::BadArguments))?;
            match &mut operation {
                Operation::Create { path, .. }
                | Operation::Set { path, .. }
                | Operation::Delete { path, .. }
                | Operation::Check { path, .. } => *path = whole,
            }
            bytes += operation.size_in_bytes();
            prepared.push(operation);
        }
        // A server closes the connection on what is larger, and says nothing.
        if bytes > CHANGE_BYTES {
            tracing::error!(
                "a change of {bytes} bytes is larger than what ZooKeeper takes ({} bytes, jute.maxbuffer)",
                CHANGE_BYTES
            );
            return Err(StoreError::TooLarge.into());
        }
        Ok(prepared)
    }
}

/// The outcomes with paths as callers know them.
fn below(chroot: &str, mut outcomes: Vec<Outcome>) -> Vec<Outcome> {
    for outcome in &mut outcomes {
        if let Outcome::Created { path, .. } = outcome
            && let Some(rest) = path.strip_prefix(chroot)
        {
            *path = rest.to_owned();
        }
    }
    outcomes
}

impl Store for ZookeeperStore {
    fn get(&self, path: &str) -> StoreFuture<'_, Option<Node>> {
        self.ask(path, |path, reply| Request::Get { path, reply }, Ok(None))
    }

    fn get_and_watch(&self, path: &str) -> StoreFuture<'_, (Option<Node>, Watcher)> {
        self.ask(
            path,
            |path, reply| Request::GetAndWatch { path, reply },
            // Nothing would ever tell its watcher of anything.
            Err(StoreError::BadArguments),
        )
    }

    fn children(&self, path: &str) -> StoreFuture<'_, Option<Vec<String>>> {
        self.ask(path, |path, reply| Request::Children { path, reply }, Ok(None))
    }

    fn children_and_watch(&self, path: &str) -> StoreFuture<'_, Option<(Vec<String>, Watcher)>> {
        self.ask(
            path,
            |path, reply| Request::ChildrenAndWatch { path, reply },
            Ok(None),
        )
    }

    fn multi(&self, operations: Vec<Operation>) -> BoxFuture<'static, Result<Vec<Outcome>, MultiError>> {
        match self.prepared(operations) {
            Ok(operations) if operations.is_empty() => Box::pin(std::future::ready(Ok(Vec::new()))),
            Ok(operations) => {
                let (done, chroot) = (self.ask_multi(operations), Arc::clone(&self.chroot));
                Box::pin(async move { done.await.map(|outcomes| below(&chroot, outcomes)) })
            }
            Err(failed) => Box::pin(std::future::ready(Err(failed))),
        }
    }

    fn session(&self) -> watch::Receiver<Session> {
        self.session.clone()
    }

    fn renew(&self) -> StoreFuture<'_, SessionId> {
        let (begun, begins) = oneshot::channel();
        let _ = self.commands.send(Command::Renew(begun));
        Box::pin(async move { begins.await.map_err(|_| StoreError::Failed) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[expect(clippy::disallowed_types, reason = "a port where nobody listens")]
    async fn a_start_without_zookeeper_ends_in_words() {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = nobody.local_addr().unwrap();
        drop(nobody);
        let mut options = Options {
            connect: format!("{address}/kafka"),
            session_timeout: Duration::from_secs(18),
            connection_timeout: Duration::from_millis(300),
            max_in_flight_requests: 10,
        };
        let random = Random::from_seed(1);
        let error = ZookeeperStore::connect(&options, &random).await.err().unwrap();
        let text = error.to_string();
        let begins = format!("no ZooKeeper at {address}/kafka within 300 ms ({address}: ");
        assert!(text.starts_with(&begins), "{text}");
        options.connect = "zk:port".to_owned();
        let error = ZookeeperStore::connect(&options, &random).await.err().unwrap();
        assert_eq!(error.to_string(), "zookeeper.connect=zk:port: port is no port");
    }
}
