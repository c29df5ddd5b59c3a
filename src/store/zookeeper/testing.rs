//! A real ZooKeeper for tests, one a run; and a proxy before it that loses requests, answers or time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs
)]
#![expect(clippy::disallowed_types, reason = "a free port, found as no seam does")]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{ChildStdin, Command as Process, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};

use super::client::Command;
use super::connect_string::Server;
use super::connection::Connection;
use super::messages::{self, OpCode};
use super::{Options, ZookeeperStore};
use crate::base::random::Random;

/// The timeout of sessions that a test does not want to expire, on the busiest machine.
pub const LONG: Duration = Duration::from_secs(18);
/// The timeout of those that are to expire.
pub const SHORT: Duration = Duration::from_secs(4);

struct ZooKeeper {
    address: SocketAddr,
    /// The server ends when this is closed: with the process.
    _stdin: ChildStdin,
}

/// Where the ZooKeeper of this run listens. Starts it when it is the first to ask.
pub fn server() -> SocketAddr {
    static SERVER: OnceLock<ZooKeeper> = OnceLock::new();
    SERVER.get_or_init(start).address
}

#[expect(
    clippy::zombie_processes,
    reason = "the shell waits for what this test needs as long as the test runs"
)]
fn start() -> ZooKeeper {
    let jars = std::env::var("ZOOKEEPER_JARS")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/.cache/kafka-3.9.2/libs").to_owned());
    assert!(
        std::path::Path::new(&jars).is_dir(),
        "{jars} is missing; scripts/test zookeeper fetches it"
    );
    let folder = tempfile::tempdir().unwrap().keep();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let settings = format!(
        "dataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\nmaxClientCnxns=0\nadmin.enableServer=false\ntickTime=1000\n",
        folder.display(),
        address.port()
    );
    std::fs::write(folder.join("properties"), settings).unwrap();
    let script = r#"java -Xmx256m -Dzookeeper.forceSync=no -cp "$1/*" org.apache.zookeeper.server.quorum.QuorumPeerMain \
        "$0/properties" >"$0/log" 2>&1 </dev/null & server=$!
        read -r _; kill -9 $server; wait; rm -rf "$0""#;
    let mut shell = Process::new("sh")
        .args(["-c", script])
        .arg(&folder)
        .arg(&jars)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = shell.stdin.take().unwrap();
    for _ in 0..600 {
        if serves(address) {
            return ZooKeeper {
                address,
                _stdin: stdin,
            };
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    panic!("ZooKeeper does not start:\n{log}");
}

fn serves(address: SocketAddr) -> bool {
    let Ok(mut stream) = std::net::TcpStream::connect(address) else {
        return false;
    };
    let mut answer = String::new();
    // One that only begins may have taken the connection and never answer it.
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    stream.write_all(b"srvr").is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.contains("Mode: standalone")
}

/// A chroot that no other test has.
pub fn chroot() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("/test-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub fn options(connect: String) -> Options {
    Options {
        connect,
        session_timeout: LONG,
        connection_timeout: Duration::from_secs(60),
        max_in_flight_requests: 10,
    }
}

pub async fn connect(connect: String) -> ZookeeperStore {
    ZookeeperStore::connect(&options(connect), &Random::from_seed(1))
        .await
        .unwrap()
}

/// Ends a session from elsewhere: a second connection takes it over and closes it. As the server then closes the store's
/// connection, and the store takes its session over again, that may need some tries.
pub async fn kill_session(store: &ZookeeperStore) {
    let (reveal, revealed) = oneshot::channel();
    assert!(store.commands.send(Command::Reveal(reveal)).is_ok());
    let hello = revealed.await.unwrap();
    let address = server();
    let server = Server {
        host: address.ip().to_string(),
        port: address.port(),
    };
    for _ in 0..100 {
        let opened = Connection::open(server.clone(), hello.clone(), Duration::from_secs(30)).await;
        let Ok((mut connection, welcome)) = opened else {
            continue;
        };
        if welcome.timeout_ms <= 0 {
            return;
        }
        let mut out = BytesMut::new();
        messages::bare(&mut out, 1, OpCode::Close);
        let _ = connection.write.write_all(&out).await;
        let mut rest = Vec::new();
        let _ = connection.read.read_to_end(&mut rest).await;
    }
    panic!("the session does not end");
}

/// What becomes of a change that passes a [`Proxy`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    Pass,
    /// It does not arrive, and the connection ends.
    LoseRequest,
    /// It is made, and the connection ends before its answer.
    LoseReply,
}

type Fates = dyn Fn(usize) -> Fate + Send + Sync;

/// Stands before the server; a test decides what it lets through.
#[derive(Clone)]
pub struct Proxy {
    pub address: SocketAddr,
    state: Arc<State>,
}

struct State {
    /// The fate of each change, by its number.
    fates: Mutex<Box<Fates>>,
    changes: AtomicUsize,
    /// False while no connection is served.
    open: watch::Sender<bool>,
    /// True while nothing moves on the connections that there are.
    stalled: watch::Sender<bool>,
    /// Answers are held back.
    hold_answers: AtomicBool,
    in_flight: Mutex<(BTreeSet<i32>, usize)>,
}

impl Proxy {
    pub async fn new(fates: impl Fn(usize) -> Fate + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            fates: Mutex::new(Box::new(fates)),
            changes: AtomicUsize::new(0),
            open: watch::Sender::new(true),
            stalled: watch::Sender::new(false),
            hold_answers: AtomicBool::new(false),
            in_flight: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *shared.open.borrow() {
                    tokio::spawn(serve(client, Arc::clone(&shared)));
                }
            }
        });
        Self { address, state }
    }

    /// Ends all connections and takes none, or takes them again.
    pub fn open(&self, open: bool) {
        self.state.open.send_replace(open);
    }

    /// Ends all connections.
    pub async fn cut(&self) {
        self.open(false);
        // Those that serve them see it when they run.
        tokio::time::sleep(Duration::from_millis(10)).await;
        self.open(true);
    }

    /// Moves nothing any more, but keeps the connections.
    pub fn stall(&self, stalled: bool) {
        self.state.stalled.send_replace(stalled);
    }

    pub fn hold_answers(&self, hold: bool) {
        self.state.hold_answers.store(hold, Ordering::Release);
    }

    pub fn set_fates(&self, fates: impl Fn(usize) -> Fate + Send + Sync + 'static) {
        *self.state.fates.lock().unwrap() = Box::new(fates);
    }

    /// How many changes have been asked for.
    pub fn changes(&self) -> usize {
        self.state.changes.load(Ordering::Acquire)
    }

    /// The most requests that were ever sent and not answered.
    pub fn most_in_flight(&self) -> usize {
        self.state.in_flight.lock().unwrap().1
    }
}

async fn serve(mut client: TcpStream, state: Arc<State>) {
    let mut server = TcpStream::connect(server()).await.unwrap();
    let mut open = state.open.subscribe();
    let mut stalled = state.stalled.subscribe();
    let (mut client_read, mut client_write) = client.split();
    let (mut server_read, mut server_write) = server.split();
    let mut lost = None;
    let mut first = true;
    state.in_flight.lock().unwrap().0.clear();
    let (mut up, mut down) = (BytesMut::new(), BytesMut::new());
    loop {
        while let Some(frame) = whole(&mut up) {
            let (xid, operation) = (number(&frame, 4), number(&frame, 8));
            if !first && xid > 0 {
                let mut in_flight = state.in_flight.lock().unwrap();
                in_flight.0.insert(xid);
                in_flight.1 = in_flight.1.max(in_flight.0.len());
            }
            if !first && operation == OpCode::Multi as i32 && lost.is_none() {
                let number = state.changes.fetch_add(1, Ordering::AcqRel);
                let fate = state.fates.lock().unwrap()(number);
                match fate {
                    Fate::Pass => {}
                    Fate::LoseRequest => return,
                    Fate::LoseReply => lost = Some(xid),
                }
            }
            first = false;
            if server_write.write_all(&frame).await.is_err() {
                return;
            }
            if lost.is_some() {
                // Nothing behind it is made.
                break;
            }
        }
        let held = state.hold_answers.load(Ordering::Acquire);
        while let Some(frame) = if held { None } else { whole(&mut down) } {
            let xid = number(&frame, 4);
            state.in_flight.lock().unwrap().0.remove(&xid);
            if lost == Some(xid) {
                return;
            }
            if client_write.write_all(&frame).await.is_err() {
                return;
            }
        }
        tokio::select! {
            got = client_read.read_buf(&mut up), if !*stalled.borrow() && lost.is_none() => {
                if !got.is_ok_and(|bytes| bytes > 0) { return; }
            }
            got = server_read.read_buf(&mut down), if !*stalled.borrow() => {
                if !got.is_ok_and(|bytes| bytes > 0) { return; }
            }
            _ = open.wait_for(|open| !open) => return,
            _ = stalled.changed() => {}
            () = tokio::time::sleep(Duration::from_millis(20)), if held => {}
        }
    }
}

fn number(frame: &[u8], at: usize) -> i32 {
    frame
        .get(at..at + 4)
        .map_or(0, |bytes| i32::from_be_bytes(bytes.try_into().unwrap()))
}

fn whole(bytes: &mut BytesMut) -> Option<BytesMut> {
    let length = usize::try_from(number(bytes.get(..4)?, 0)).ok()? + 4;
    (bytes.len() >= length).then(|| bytes.split_to(length))
}
