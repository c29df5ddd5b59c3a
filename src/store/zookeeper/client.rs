//! The one task that has a session with ZooKeeper: it keeps a connection to one of the servers, sends what it is asked
//! in that order, and matches answers, which come in the same order.
//!
//! - What was not sent when the connection broke waits for the next one and keeps its place. What was sent and not
//!   answered is asked again before it when it only reads; a change fails with [`StoreError::ConnectionLoss`].
//! - Only a server says that the session has expired, as with ZooKeeper's own client. Then everything that waits fails,
//!   the watchers end, and nothing is tried before [`Command::Renew`].
//! - A connection begins with the watches that have not fired, as of the last change seen, and a `sync`: a server that
//!   lags behind the one before it could else deny a change whose answer was lost, though it was made.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot, watch};

use super::Options;
use super::connect_string::Server;
use super::connection::{BadFrame, Connection};
use super::jute::Reader;
use super::messages::{self, Header, Hello, OpCode, Welcome, XID_EVENT, XID_PING, XID_WATCHES, code};
use super::request::{Next, Request};
use super::watched::Watched;
use crate::base::clock::{self, Instant};
use crate::store::{Session, SessionId, StoreError};

/// How long a server may be silent before it is asked for a sign of life, at most.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);
/// The pauses after each server was tried in vain: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How long a server is waited for, at least, before the next one is tried.
const SHORTEST_ATTEMPT: Duration = Duration::from_secs(1);
/// How often it is said that no server answers.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// What the task is asked to do.
pub(super) enum Command {
    Ask(Request),
    /// Begins a session when there is none; yields it once a server knows it.
    Renew(oneshot::Sender<SessionId>),
    /// Ends the session after what was asked before.
    Close(oneshot::Sender<()>),
    /// Tells how the session is known to servers, for a test that ends it from elsewhere.
    #[cfg(test)]
    Reveal(oneshot::Sender<Hello>),
}

/// The task's state.
pub(super) struct Client {
    servers: Vec<Server>,
    session_timeout: Duration,
    max_in_flight: usize,
    commands: mpsc::UnboundedReceiver<Command>,
    /// The session as others see it.
    state: watch::Sender<Session>,
    /// Why no server can be reached at present; empty when one is.
    trouble: watch::Sender<String>,
    /// The session as servers know it.
    session: Hello,
    /// Who waits for a session to begin.
    beginning: Vec<oneshot::Sender<SessionId>>,
    /// The server to be tried next.
    next_server: usize,
    xid: i32,
    /// What is to be sent, in order.
    waiting: VecDeque<Request>,
    /// What was sent, in order.
    under_way: VecDeque<(i32, Request)>,
    watched: Watched,
    /// Set once the session is to be ended; who waits for that.
    closing: Option<Vec<oneshot::Sender<()>>>,
}

/// Why a connection is not used any more.
enum End {
    Lost(String),
    Expired,
    Closed,
}

impl Client {
    /// A client that begins a session when it runs, and tells `begun` of it.
    pub(super) fn new(
        servers: Vec<Server>,
        options: &Options,
        commands: mpsc::UnboundedReceiver<Command>,
        state: watch::Sender<Session>,
        trouble: watch::Sender<String>,
        begun: oneshot::Sender<SessionId>,
    ) -> Self {
        Self {
            servers,
            session_timeout: options.session_timeout,
            max_in_flight: options.max_in_flight_requests.max(1),
            commands,
            state,
            trouble,
            session: Hello::new(options.session_timeout),
            beginning: vec![begun],
            next_server: 0,
            xid: 0,
            waiting: VecDeque::new(),
            under_way: VecDeque::new(),
            watched: Watched::default(),
            closing: None,
        }
    }

    /// Serves until it is closed, or nobody can ask it any more.
    pub(super) async fn run(mut self) {
        loop {
            let end = match self.connect().await {
                Ok(connection) => self.serve(connection).await,
                Err(end) => end,
            };
            match end {
                End::Lost(reason) => self.lost(&reason),
                End::Expired => {
                    self.over(StoreError::SessionExpired);
                    if !self.renewed().await {
                        break;
                    }
                }
                End::Closed => break,
            }
        }
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            self.take(Some(command));
        }
        self.over(StoreError::Failed);
        for closed in self.closing.take().unwrap_or_default() {
            let _ = closed.send(());
        }
    }

    /// Notes what it is asked, or, where nobody can ask any more, that it may end.
    fn take(&mut self, command: Option<Command>) {
        match command {
            Some(Command::Ask(request)) => self.waiting.push_back(request),
            // There is one, as far as is known.
            Some(Command::Renew(begun)) if self.session.session != 0 => {
                let _ = begun.send(SessionId(self.session.session));
            }
            Some(Command::Renew(begun)) => self.beginning.push(begun),
            Some(Command::Close(closed)) => self.closing.get_or_insert_default().push(closed),
            #[cfg(test)]
            Some(Command::Reveal(reveal)) => drop(reveal.send(self.session.clone())),
            None => drop(self.closing.get_or_insert_default()),
        }
    }

    /// Tries servers until one takes the session, or says that it has expired.
    async fn connect(&mut self) -> Result<Connection, End> {
        let mut tried = 0_usize;
        let mut complained: Option<Instant> = None;
        loop {
            let count = self.servers.len().max(1);
            let Some(server) = self.servers.get(self.next_server % count).cloned() else {
                return Err(End::Closed);
            };
            self.next_server = self.next_server.wrapping_add(1);
            let pause = if tried > 0 && tried.is_multiple_of(count) {
                let doubled = PAUSES.0 * (1 << (tried / count - 1).min(5));
                doubled.min(PAUSES.1)
            } else {
                Duration::ZERO
            };
            let share = self.timeout() / u32::try_from(count).unwrap_or(u32::MAX);
            let limit = share.max(SHORTEST_ATTEMPT);
            let hello = self.session.clone();
            let attempt = async move {
                clock::sleep(pause).await;
                Connection::open(server, hello, limit).await
            };
            let mut attempt = std::pin::pin!(attempt);
            let opened = loop {
                if self.closing.is_some() {
                    return Err(End::Closed);
                }
                tokio::select! {
                    biased;
                    opened = &mut attempt => break opened,
                    command = self.commands.recv() => self.take(command),
                }
            };
            let problem = match opened {
                Ok((connection, welcome)) if welcome.timeout_ms > 0 => {
                    self.welcomed(&connection, welcome);
                    return Ok(connection);
                }
                Ok(_) if self.session.session != 0 => return Err(End::Expired),
                Ok((connection, _)) => format!("{}: it began no session", connection.server),
                Err(problem) => problem,
            };
            tried += 1;
            if complained.is_none_or(|last| last.elapsed() >= COMPLAINT_INTERVAL)
                && tried.is_multiple_of(count)
            {
                complained = Some(Instant::now());
                tracing::warn!("waiting for ZooKeeper: {problem}");
            }
            self.trouble.send_replace(problem);
        }
    }

    /// The timeout of the session: the one that was agreed on, or is to be.
    fn timeout(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.session.timeout_ms).unwrap_or_default())
    }

    fn welcomed(&mut self, connection: &Connection, welcome: Welcome) {
        let id = SessionId(welcome.session);
        let new = self.session.session != welcome.session;
        tracing::info!(
            "ZooKeeper session {:#x} {} {}, timeout {} ms",
            welcome.session,
            if new { "began with" } else { "goes on with" },
            connection.server,
            welcome.timeout_ms
        );
        self.session.session = welcome.session;
        self.session.password = welcome.password;
        self.session.timeout_ms = welcome.timeout_ms;
        self.trouble.send_replace(String::new());
        self.state.send_replace(Session::Connected(id));
        for begun in self.beginning.drain(..) {
            let _ = begun.send(id);
        }
    }

    /// Uses a connection while it works.
    async fn serve(&mut self, mut connection: Connection) -> End {
        self.watched
            .set_again(self.session.last_zxid, &mut connection.output);
        self.send(Request::Sync, &mut connection);
        let patience = self.timeout() * 2 / 3;
        let ping_after = (patience / 2).min(LONGEST_SILENCE);
        let (mut heard, mut said) = (Instant::now(), Instant::now());
        // What came right behind the welcome.
        if let Err(end) = self.received(&mut connection) {
            return end;
        }
        loop {
            self.send_waiting(&mut connection);
            let Connection {
                read,
                write,
                input,
                output,
                ..
            } = &mut connection;
            let wake = heard.after(patience).min(said.after(ping_after));
            tokio::select! {
                biased;
                got = read.read_buf(input) => {
                    match got {
                        Ok(0) => return End::Lost("the server closed the connection".to_owned()),
                        Ok(_) => heard = Instant::now(),
                        Err(error) => return End::Lost(error.to_string()),
                    }
                    if let Err(end) = self.received(&mut connection) {
                        return end;
                    }
                }
                sent = write.write_buf(output), if !output.is_empty() => match sent {
                    Ok(_) => said = Instant::now(),
                    Err(error) => return End::Lost(error.to_string()),
                },
                command = self.commands.recv(), if self.closing.is_none() => {
                    self.take(command);
                    if self.closing.is_some() {
                        self.waiting.push_back(Request::Close);
                    }
                }
                () = clock::sleep_until(wake) => {
                    if heard.elapsed() >= patience {
                        return End::Lost(format!("the server was silent for {} ms", patience.as_millis()));
                    }
                    messages::bare(output, XID_PING, OpCode::Ping);
                    said = Instant::now();
                }
            }
        }
    }

    /// Sends what waits, as much as may be under way.
    fn send_waiting(&mut self, connection: &mut Connection) {
        while self.under_way.len() < self.max_in_flight {
            let Some(request) = self.waiting.pop_front() else {
                return;
            };
            if !request.is_pointless() {
                self.send(request, connection);
            }
        }
    }

    fn send(&mut self, request: Request, connection: &mut Connection) {
        self.xid = self.xid.checked_add(1).unwrap_or(1);
        request.encode(self.xid, &mut connection.output);
        self.under_way.push_back((self.xid, request));
    }

    /// Takes all frames that have been received as a whole.
    fn received(&mut self, connection: &mut Connection) -> Result<(), End> {
        loop {
            match connection.frame() {
                Ok(Some(frame)) => self.frame(&frame, connection)?,
                Ok(None) => return Ok(()),
                Err(bad) => {
                    // Answers come in order: it is the one to the oldest request.
                    if matches!(bad, BadFrame::TooLarge(_))
                        && let Some((_, request)) = self.under_way.pop_front()
                    {
                        request.fail(StoreError::TooLarge);
                    }
                    return Err(End::Lost(bad.to_string()));
                }
            }
        }
    }

    fn frame(&mut self, frame: &[u8], connection: &mut Connection) -> Result<(), End> {
        let malformed = || End::Lost("an answer cannot be read".to_owned());
        let mut reader = Reader(frame);
        let header = Header::decode(&mut reader).map_err(|_| malformed())?;
        match header.error {
            code::SESSION_EXPIRED => return Err(End::Expired),
            code::SESSION_MOVED => return Err(End::Lost("another server has the session".to_owned())),
            code::AUTH_FAILED | code::SASL_REQUIRED => {
                return Err(End::Lost(
                    "the server asks for authentication, which does not work yet".to_owned(),
                ));
            }
            _ => {}
        }
        match header.xid {
            XID_EVENT => {
                if let Some((kind, path)) = messages::event(&mut reader).map_err(|_| malformed())? {
                    self.watched.fire(&path, kind);
                }
                return Ok(());
            }
            XID_PING | XID_WATCHES => return Ok(()),
            _ => {}
        }
        let Some((xid, request)) = self.under_way.pop_front() else {
            return Err(End::Lost("an answer to nothing".to_owned()));
        };
        if xid != header.xid {
            self.under_way.push_front((xid, request));
            return Err(End::Lost("an answer out of its order".to_owned()));
        }
        if header.zxid > 0 {
            self.session.last_zxid = self.session.last_zxid.max(header.zxid);
        }
        if matches!(request, Request::Close) {
            return Err(End::Closed);
        }
        let session = SessionId(self.session.session);
        let next = request
            .answer(header, &mut reader, session, &mut self.watched)
            .map_err(|_| malformed())?;
        match next {
            Next::Ask(request) => self.send(request, connection),
            Next::Nothing => {}
        }
        Ok(())
    }

    /// A connection broke; the session may live on.
    fn lost(&mut self, reason: &str) {
        if self.closing.is_some() {
            return;
        }
        tracing::warn!("the connection to ZooKeeper was lost: {reason}");
        let id = SessionId(self.session.session);
        self.state.send_replace(Session::Disconnected(id));
        let again = std::mem::take(&mut self.under_way).into_iter();
        let mut again: VecDeque<_> = again.filter_map(|(_, request)| request.after_loss()).collect();
        again.append(&mut self.waiting);
        self.waiting = again;
    }

    /// The session is over: whoever waits learns of it.
    fn over(&mut self, error: StoreError) {
        let id = self.session.session;
        if error == StoreError::SessionExpired {
            tracing::warn!("ZooKeeper session {id:#x} has expired");
        }
        if id != 0 {
            self.state.send_replace(Session::Expired(SessionId(id)));
        }
        self.session = Hello::new(self.session_timeout);
        self.watched = Watched::default();
        for (_, request) in self.under_way.drain(..) {
            // Whether it was made before the session ended is unknown, and told so.
            if let Some(read) = request.after_loss() {
                read.fail(error);
            }
        }
        for request in self.waiting.drain(..) {
            request.fail(error);
        }
    }

    /// Waits until a new session is wanted; false when none will be.
    async fn renewed(&mut self) -> bool {
        loop {
            match self.commands.recv().await {
                Some(Command::Ask(request)) => request.fail(StoreError::SessionExpired),
                Some(Command::Renew(begun)) => {
                    self.beginning.push(begun);
                    return true;
                }
                command => {
                    self.take(command);
                    if self.closing.is_some() {
                        return false;
                    }
                }
            }
        }
    }
}
