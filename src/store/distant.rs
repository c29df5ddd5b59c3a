//! A session with a [`MemoryServer`] over a link that a simulation delays and cuts: what a broker of the simulation has
//! instead of ZooKeeper.
//!
//! - Requests and answers keep their order; a watch that fired arrives before the answer of any later read.
//! - What was not sent when the link broke waits for the next connection. What was sent and not answered is asked again
//!   when it only reads; a change fails with [`StoreError::ConnectionLoss`], whether it was made or not.
//! - The server ends a session that it has not heard of for the session's timeout; the client learns of it when it
//!   reaches the server again, and not before.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::memory::MemoryServer;
use super::watches::Fired;
use super::{
    BoxFuture, MultiError, Node, Operation, Outcome, Session, SessionId, Store, StoreError, StoreFuture,
    Watcher,
};
use crate::base::clock::{self, Instant};
use crate::base::random::Random;
use crate::base::task;

/// What the link of one broker does; clones share it. It outlives the broker's process.
#[derive(Clone)]
pub struct Link {
    server: MemoryServer,
    up: Arc<watch::Sender<bool>>,
    lose_reply: Arc<AtomicBool>,
    lost_replies: Arc<AtomicU64>,
    latency_ms: Arc<AtomicU64>,
    session_timeout: Duration,
}

impl Link {
    /// A link to `server` that works.
    pub fn new(server: &MemoryServer, session_timeout: Duration) -> Self {
        Self {
            server: server.clone(),
            up: Arc::new(watch::Sender::new(true)),
            lose_reply: Arc::default(),
            lost_replies: Arc::default(),
            latency_ms: Arc::new(AtomicU64::new(3)),
            session_timeout,
        }
    }

    /// Cuts the link, or mends it.
    pub fn set_up(&self, up: bool) {
        self.up.send_replace(up);
    }

    /// Has the connection break after the next change is made and before its answer arrives.
    pub fn lose_next_reply(&self) {
        self.lose_reply.store(true, Ordering::Relaxed);
    }

    /// How many answers were lost that way.
    pub fn lost_replies(&self) -> u64 {
        self.lost_replies.load(Ordering::Relaxed)
    }

    /// How long a message takes at most.
    pub fn set_latency_ms(&self, latency_ms: u64) {
        self.latency_ms.store(latency_ms, Ordering::Relaxed);
    }
}

enum Request {
    Get(String, Reply<Option<Node>>),
    GetAndWatch(String, Reply<(Option<Node>, Watcher)>),
    Children(String, Reply<Option<Vec<String>>>),
    ChildrenAndWatch(String, Reply<Watched>),
    Multi(Vec<Operation>, oneshot::Sender<Result<Vec<Outcome>, MultiError>>),
}

type Answer<T> = Result<T, StoreError>;
type Reply<T> = oneshot::Sender<Answer<T>>;
type Watched = Option<(Vec<String>, Watcher)>;

impl Request {
    fn fail(self, error: StoreError) {
        match self {
            Self::Get(_, reply) => drop(reply.send(Err(error))),
            Self::GetAndWatch(_, reply) => drop(reply.send(Err(error))),
            Self::Children(_, reply) => drop(reply.send(Err(error))),
            Self::ChildrenAndWatch(_, reply) => drop(reply.send(Err(error))),
            Self::Multi(_, reply) => drop(reply.send(Err(error.into()))),
        }
    }

    fn is_change(&self) -> bool {
        matches!(self, Self::Multi(..))
    }
}

/// A request that was carried out, with its answer.
enum Answered {
    Get(Answer<Option<Node>>, String, Reply<Option<Node>>),
    GetAndWatch(
        Answer<(Option<Node>, Watcher)>,
        String,
        Reply<(Option<Node>, Watcher)>,
    ),
    Children(Answer<Option<Vec<String>>>, String, Reply<Option<Vec<String>>>),
    ChildrenAndWatch(Answer<Watched>, String, Reply<Watched>),
    Multi(
        Result<Vec<Outcome>, MultiError>,
        oneshot::Sender<Result<Vec<Outcome>, MultiError>>,
    ),
}

impl Answered {
    fn arrives(self) {
        match self {
            Self::Get(answer, _, reply) => drop(reply.send(answer)),
            Self::GetAndWatch(answer, _, reply) => drop(reply.send(answer)),
            Self::Children(answer, _, reply) => drop(reply.send(answer)),
            Self::ChildrenAndWatch(answer, _, reply) => drop(reply.send(answer)),
            Self::Multi(answer, reply) => drop(reply.send(answer)),
        }
    }

    /// The answer is lost: a read is to be asked again.
    fn lost(self) -> Option<Request> {
        match self {
            Self::Get(_, path, reply) => Some(Request::Get(path, reply)),
            Self::GetAndWatch(_, path, reply) => Some(Request::GetAndWatch(path, reply)),
            Self::Children(_, path, reply) => Some(Request::Children(path, reply)),
            Self::ChildrenAndWatch(_, path, reply) => Some(Request::ChildrenAndWatch(path, reply)),
            Self::Multi(_, reply) => {
                let _ = reply.send(Err(StoreError::ConnectionLoss.into()));
                None
            }
        }
    }
}

enum Command {
    Ask(Request),
    Renew(oneshot::Sender<SessionId>),
    Close(oneshot::Sender<()>),
}

/// A session over a [`Link`]. Clones share it.
#[derive(Clone)]
pub struct DistantStore {
    commands: mpsc::UnboundedSender<Command>,
    session: watch::Receiver<Session>,
    timeout: Duration,
}

impl DistantStore {
    /// Begins a session, once the link works.
    pub async fn connect(link: &Link, random: &Random) -> Self {
        let (commands, receiver) = mpsc::unbounded_channel();
        let session = watch::Sender::new(Session::Expired(SessionId(0)));
        let (begun, begins) = oneshot::channel();
        let store = Self {
            commands,
            session: session.subscribe(),
            timeout: link.session_timeout,
        };
        let client = Client {
            link: link.clone(),
            up: link.up.subscribe(),
            random: random.clone(),
            commands: receiver,
            session,
            beginning: vec![begun],
            waiting: VecDeque::new(),
            fires: None,
            fired: Vec::new(),
        };
        drop(task::spawn(client.run()));
        let _ = begins.await;
        store
    }

    /// Ends the session, as far as the server can be reached before it would end by itself.
    pub async fn close(&self) {
        let (closed, closes) = oneshot::channel();
        if self.commands.send(Command::Close(closed)).is_ok() {
            let _ = clock::timeout(self.timeout, closes).await;
        }
    }

    fn ask<'a, T: Send + 'a>(
        &self,
        request: impl FnOnce(oneshot::Sender<Answer<T>>) -> Request,
    ) -> StoreFuture<'a, T> {
        let (reply, answer) = oneshot::channel();
        let _ = self.commands.send(Command::Ask(request(reply)));
        Box::pin(async move { answer.await.unwrap_or(Err(StoreError::Failed)) })
    }
}

impl Store for DistantStore {
    fn get(&self, path: &str) -> StoreFuture<'_, Option<Node>> {
        self.ask(|reply| Request::Get(path.to_owned(), reply))
    }

    fn get_and_watch(&self, path: &str) -> StoreFuture<'_, (Option<Node>, Watcher)> {
        self.ask(|reply| Request::GetAndWatch(path.to_owned(), reply))
    }

    fn children(&self, path: &str) -> StoreFuture<'_, Option<Vec<String>>> {
        self.ask(|reply| Request::Children(path.to_owned(), reply))
    }

    fn children_and_watch(&self, path: &str) -> StoreFuture<'_, Option<(Vec<String>, Watcher)>> {
        self.ask(|reply| Request::ChildrenAndWatch(path.to_owned(), reply))
    }

    fn multi(&self, operations: Vec<Operation>) -> BoxFuture<'static, Result<Vec<Outcome>, MultiError>> {
        let (reply, answer) = oneshot::channel();
        let _ = self
            .commands
            .send(Command::Ask(Request::Multi(operations, reply)));
        Box::pin(async move { answer.await.unwrap_or(Err(StoreError::Failed.into())) })
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

/// The one task that has the session.
struct Client {
    link: Link,
    up: watch::Receiver<bool>,
    random: Random,
    commands: mpsc::UnboundedReceiver<Command>,
    session: watch::Sender<Session>,
    beginning: Vec<oneshot::Sender<SessionId>>,
    /// What was not sent.
    waiting: VecDeque<Request>,
    /// The watches of the session that fire.
    fires: Option<mpsc::UnboundedReceiver<Fired>>,
    /// Those that fired and did not arrive before the connection broke.
    fired: Vec<Fired>,
}

/// What is on its way, in order.
struct Way<T> {
    items: VecDeque<(Instant, T)>,
    last: Instant,
}

impl<T> Way<T> {
    fn new() -> Self {
        Self {
            items: VecDeque::new(),
            last: Instant::now(),
        }
    }

    fn push(&mut self, latency: Duration, item: T) {
        self.last = self.last.max(Instant::now().after(latency));
        self.items.push_back((self.last, item));
    }

    /// Returns when the first has arrived.
    async fn arrives(&self) {
        match self.items.front() {
            Some((due, _)) => clock::sleep_until(*due).await,
            None => std::future::pending().await,
        }
    }

    fn take(&mut self) -> Option<T> {
        self.items.pop_front().map(|(_, item)| item)
    }
}

/// What comes from the server.
enum Arrival {
    Watch(Fired),
    Answer(Answered),
}

enum End {
    Lost,
    Closed,
}

impl Client {
    async fn run(mut self) {
        loop {
            if !self.reached().await {
                return;
            }
            if let Some(id) = self.current().filter(|id| !self.link.server.is_alive(*id)) {
                self.expired(id);
                continue;
            }
            let (id, mut fires) = match (self.current(), self.fires.take()) {
                (Some(id), Some(fires)) => (id, fires),
                _ if self.beginning.is_empty() => {
                    if !self.renewed().await {
                        return;
                    }
                    continue;
                }
                _ => self.link.server.begin(self.link.session_timeout),
            };
            self.session.send_replace(Session::Connected(id));
            for fired in self.fired.drain(..) {
                fired.tell();
            }
            for begun in self.beginning.drain(..) {
                let _ = begun.send(id);
            }
            match self.serve(id, &mut fires).await {
                End::Closed => return,
                End::Lost => {
                    self.fires = Some(fires);
                    self.session.send_replace(Session::Disconnected(id));
                    let pause = Duration::from_millis(20 + self.random.below(200));
                    clock::sleep(pause).await;
                }
            }
        }
    }

    /// The session, unless it is known to be over.
    fn current(&self) -> Option<SessionId> {
        match *self.session.borrow() {
            Session::Connected(id) | Session::Disconnected(id) => Some(id),
            Session::Expired(_) => None,
        }
    }

    fn expired(&mut self, id: SessionId) {
        while let Ok(command) = self.commands.try_recv() {
            self.note(command);
        }
        for request in self.waiting.drain(..) {
            request.fail(StoreError::SessionExpired);
        }
        self.fires = None;
        self.fired.clear();
        self.session.send_replace(Session::Expired(id));
    }

    fn note(&mut self, command: Command) {
        match command {
            Command::Ask(request) => self.waiting.push_back(request),
            Command::Renew(begun) => self.beginning.push(begun),
            Command::Close(closed) => drop(closed.send(())),
        }
    }

    /// Waits for the link; false when nobody needs it any more.
    async fn reached(&mut self) -> bool {
        while !*self.up.borrow_and_update() {
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    None | Some(Command::Close(_)) => return false,
                    Some(command) => self.note(command),
                },
                changed = self.up.changed() => if changed.is_err() { return false },
            }
        }
        true
    }

    /// Waits until a new session is wanted; false when none is.
    async fn renewed(&mut self) -> bool {
        loop {
            match self.commands.recv().await {
                None | Some(Command::Close(_)) => return false,
                Some(Command::Ask(request)) => request.fail(StoreError::SessionExpired),
                Some(Command::Renew(begun)) => {
                    self.beginning.push(begun);
                    return true;
                }
            }
        }
    }

    fn latency(&self) -> Duration {
        let most_us = self.link.latency_ms.load(Ordering::Relaxed) * 1000;
        Duration::from_micros(300 + self.random.below(most_us))
    }

    /// Uses a connection while it works.
    async fn serve(&mut self, id: SessionId, fires: &mut mpsc::UnboundedReceiver<Fired>) -> End {
        let mut there: Way<Option<Request>> = Way::new();
        let mut back: Way<Arrival> = Way::new();
        let mut closed = None;
        let mut silent_until: Option<Instant> = None;
        let ping = self.link.session_timeout / 3;
        let mut next_ping = Instant::now();
        loop {
            while let Some(request) = self.waiting.pop_front() {
                there.push(self.latency(), Some(request));
            }
            tokio::select! {
                biased;
                _ = self.up.changed() => {
                    let up = *self.up.borrow_and_update();
                    // Half of the cuts are noticed at once, the others by silence.
                    if !up && silent_until.is_none() {
                        let noticed = if self.random.below(2) == 0 { Duration::ZERO } else { self.link.session_timeout * 2 / 3 };
                        silent_until = Some(Instant::now().after(noticed));
                    }
                }
                () = wait_until(silent_until) => return self.lost(there, back),
                () = clock::sleep_until(next_ping), if silent_until.is_none() => {
                    self.link.server.heard(id);
                    next_ping = Instant::now().after(ping);
                }
                event = fires.recv(), if silent_until.is_none() => match event {
                    Some(event) => back.push(self.latency(), Arrival::Watch(event)),
                    // The server has ended the session, and the connection with it.
                    None => return self.lost(there, back),
                },
                () = back.arrives(), if silent_until.is_none() => match back.take() {
                    Some(Arrival::Watch(fired)) => fired.tell(),
                    Some(Arrival::Answer(answered)) => answered.arrives(),
                    None => {}
                },
                () = there.arrives(), if silent_until.is_none() => match there.take() {
                    Some(Some(request)) => {
                        self.link.server.heard(id);
                        let is_change = request.is_change();
                        let answered = self.apply(id, request);
                        while let Ok(event) = fires.try_recv() {
                            back.push(self.latency(), Arrival::Watch(event));
                        }
                        if is_change && self.link.lose_reply.swap(false, Ordering::Relaxed) {
                            self.link.lost_replies.fetch_add(1, Ordering::Relaxed);
                            back.push(Duration::ZERO, Arrival::Answer(answered));
                            return self.lost(there, back);
                        }
                        back.push(self.latency(), Arrival::Answer(answered));
                    }
                    Some(None) => {
                        self.link.server.expire(id);
                        if let Some(closed) = closed.take() {
                            let closed: oneshot::Sender<()> = closed;
                            let _ = closed.send(());
                        }
                        return End::Closed;
                    }
                    None => {}
                },
                command = self.commands.recv() => match command {
                    Some(Command::Ask(request)) => there.push(self.latency(), Some(request)),
                    Some(Command::Renew(begun)) => drop(begun.send(id)),
                    Some(Command::Close(done)) => {
                        closed = Some(done);
                        there.push(self.latency(), None);
                    }
                    None => return End::Closed,
                },
            }
        }
    }

    /// What was sent when the connection broke: of what did not arrive at the server yet, some arrives all the same.
    fn lost(&mut self, mut there: Way<Option<Request>>, mut back: Way<Arrival>) -> End {
        let id = self.session.borrow().id();
        let arrives = self.random.below(there.items.len() as u64 + 1);
        let mut again = VecDeque::new();
        while let Some(arrival) = back.take() {
            match arrival {
                Arrival::Watch(fired) => self.fired.push(fired),
                Arrival::Answer(answered) => again.extend(answered.lost()),
            }
        }
        let mut number = 0;
        while let Some(request) = there.take() {
            let Some(request) = request else { continue };
            number += 1;
            match request {
                Request::Multi(operations, reply) => {
                    if number <= arrives && *self.up.borrow() {
                        let _ = self.link.server.multi(id, operations);
                    }
                    let _ = reply.send(Err(StoreError::ConnectionLoss.into()));
                }
                read => again.push_back(read),
            }
        }
        again.append(&mut self.waiting);
        self.waiting = again;
        End::Lost
    }

    fn apply(&self, id: SessionId, request: Request) -> Answered {
        let server = &self.link.server;
        match request {
            Request::Get(path, reply) => Answered::Get(server.get(id, &path), path, reply),
            Request::GetAndWatch(path, reply) => {
                Answered::GetAndWatch(server.get_and_watch(id, &path), path, reply)
            }
            Request::Children(path, reply) => Answered::Children(server.children(id, &path), path, reply),
            Request::ChildrenAndWatch(path, reply) => {
                Answered::ChildrenAndWatch(server.children_and_watch(id, &path), path, reply)
            }
            Request::Multi(operations, reply) => Answered::Multi(server.multi(id, operations), reply),
        }
    }
}

async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => clock::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
