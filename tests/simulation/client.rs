//! A connection to a broker, as a client has it: one request at a time, by the crate's own codec.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use barnabas::base::clock;
use barnabas::base::disk::memory::MemoryDisk;
use barnabas::wire::message::Message;
use tokio::sync::Notify;

use crate::connection::Connection;
use crate::history::History;

const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);

/// Tells a broker's clients that their connections are gone, as the kernel of a killed process does. The simulated
/// sockets would tell it in the order in which tokio drops the tasks, and that follows no seed.
#[derive(Clone, Default)]
pub struct Resets(Arc<(AtomicU64, Notify)>);

impl Resets {
    /// Ends all connections of now.
    pub fn all(&self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
        self.0.1.notify_waiters();
    }

    fn count(&self) -> u64 {
        self.0.0.load(Ordering::Relaxed)
    }
}

/// A client that connects again when its broker is gone.
pub struct Client {
    name: String,
    host: String,
    disk: MemoryDisk,
    history: History,
    resets: Resets,
    /// With the count of resets when it was made.
    connection: Option<(Connection, u64)>,
}

impl Client {
    /// A client called `name` of the broker on `host`, whose disk the history tells of.
    pub fn new(name: &str, host: &str, disk: &MemoryDisk, resets: &Resets, history: &History) -> Self {
        Self {
            name: name.to_owned(),
            host: host.to_owned(),
            disk: disk.clone(),
            history: history.clone(),
            resets: resets.clone(),
            connection: None,
        }
    }

    /// Notes an event of this client.
    pub fn note(&self, what: &str) {
        self.history.note(&self.name, &self.disk, what);
    }

    /// Asks until there is an answer; `None` tells that the request may or may not have been carried out.
    pub async fn ask<Q: Message + Debug, A: Message + Debug>(
        &mut self,
        request: &Q,
        version: i16,
    ) -> Option<A> {
        self.note(&format!("asks v{version} {request:?}"));
        let resets = self.resets.clone();
        let answer = tokio::select! {
            biased;
            () = resets.0.1.notified() => Some(Err(io::ErrorKind::ConnectionReset.into())),
            answer = clock::timeout(PATIENCE, self.exchange(request, version)) => answer,
        };
        let failure = match answer {
            Some(Ok(answer)) => {
                self.note(&format!("hears {answer:?}"));
                return Some(answer);
            }
            Some(Err(error)) => format!("{:?}", error.kind()),
            None => "no answer".to_owned(),
        };
        self.note(&failure);
        self.connection = None;
        self.pause().await;
        None
    }

    /// Waits a little.
    pub async fn pause(&self) {
        clock::sleep(PAUSE).await;
    }

    async fn exchange<Q: Message, A: Message>(&mut self, request: &Q, version: i16) -> io::Result<A> {
        let resets = self.resets.count();
        self.connection.take_if(|(_, made)| *made != resets);
        if self.connection.is_none() {
            let connection = Connection::open(self.host.as_str()).await?;
            self.connection = Some((connection, resets));
            self.note("connected");
        }
        let (connection, _) = self.connection.as_mut().unwrap();
        connection.exchange(&self.name, request, version).await
    }
}
