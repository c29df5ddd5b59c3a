//! The threads that serve connections, and what becomes of one that hangs.
//!
//! Appends are written where the request is read, so a disk whose writes do not return keeps the thread that called it,
//! and with it every other connection of that thread. From the outside such a thread can only be replaced: another one
//! takes its place for new connections, and the ones it serves are closed, so that their clients come back and are served
//! elsewhere. Invariant: as many workers as were asked for take connections; the others are set aside, because they hang or
//! because fewer were asked for, and come back where another one is needed and their calls return. Called by the listeners,
//! when a log directory stalls, and when the configuration changes.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::clock;
use crate::base::net::Severance;
use crate::base::task::Worker;
use crate::config::BrokerConfig;
use crate::metadata::configs::ConfigListener;

type Connections = Arc<Mutex<BTreeMap<u64, Severance>>>;

/// A thread with the connections that it serves.
#[derive(Clone)]
struct Serving {
    worker: Worker,
    connections: Connections,
}

impl Serving {
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.connections, &other.connections)
    }

    /// Closes its connections; how many those were.
    fn let_go(&self) -> usize {
        let connections = std::mem::take(&mut *open(&self.connections));
        connections.values().for_each(Severance::sever);
        connections.len()
    }
}

#[derive(Default)]
struct State {
    /// Those that take connections, in turn.
    taking: Vec<Serving>,
    /// Those that take none, each with whether it runs: one that hung may do so again.
    aside: Vec<(Serving, Arc<AtomicBool>)>,
    started: usize,
    /// What their threads are called, before a number.
    name: &'static str,
    /// `num.network.threads` as it was last seen.
    asked: i32,
}

/// The threads that serve connections; clones share them.
#[derive(Clone, Default)]
pub struct Workers(Arc<Mutex<State>>);

/// A connection's place among those of its worker.
pub struct Served {
    number: u64,
    connections: Connections,
}

/// Takes a connection out when it ends.
pub(super) struct Entered(Served);

impl Served {
    /// From now on the connection is closed when its worker hangs.
    pub(super) fn enter(self, severance: Severance) -> Entered {
        open(&self.connections).insert(self.number, severance);
        Entered(self)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        open(&self.0.connections).remove(&self.0.number);
    }
}

fn open(connections: &Connections) -> MutexGuard<'_, BTreeMap<u64, Severance>> {
    connections.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// A worker that was set aside and runs, or a new one.
    fn another(&mut self) -> io::Result<Serving> {
        let runs = |(_, runs): &(Serving, Arc<AtomicBool>)| runs.load(Ordering::Acquire);
        if let Some(at) = self.aside.iter().position(runs) {
            return Ok(self.aside.swap_remove(at).0);
        }
        let worker = Worker::start(&format!("{}-{}", self.name, self.started))?;
        self.started += 1;
        Ok(Serving {
            worker,
            connections: Connections::default(),
        })
    }
}

impl Workers {
    /// Starts as many workers as `config` says.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub fn of_config(config: &BrokerConfig) -> io::Result<Self> {
        let workers = Self::start("network", threads(config.num_network_threads, cores()))?;
        workers.note(config.num_network_threads);
        Ok(workers)
    }

    /// Tells of a number of threads that was not asked for before and is not used.
    fn note(&self, asked: i32) {
        let (before, cores) = (std::mem::replace(&mut self.state().asked, asked), cores());
        let serving = threads(asked, cores);
        if asked != before && serving < threads(asked, usize::MAX) {
            tracing::info!(
                "num.network.threads={asked}: {serving} threads serve connections, on {cores} cores"
            );
        }
    }

    /// Starts `threads` workers, at least one, whose threads have this name and a number.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub fn start(name: &'static str, threads: usize) -> io::Result<Self> {
        let mut state = State {
            name,
            ..State::default()
        };
        for _ in 0..threads.max(1) {
            let one = state.another()?;
            state.taking.push(one);
        }
        Ok(Self(Arc::new(Mutex::new(state))))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has connection `number` served by the worker whose turn it is.
    pub fn serve<F>(&self, number: u64, serve: impl FnOnce(Served) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let state = self.state();
        let turn = usize::try_from(number).unwrap_or(0) % state.taking.len().max(1);
        let Some(serving) = state.taking.get(turn).cloned() else {
            return;
        };
        drop(state);
        let served = Served {
            number,
            connections: serving.connections,
        };
        drop(serving.worker.spawn(serve(served)));
    }

    /// Has as many workers take connections, at least one. Those that take none any more go on with what they serve,
    /// where Kafka closes it.
    ///
    /// # Errors
    /// When the system gives no more threads; there are as many then as it gave.
    pub fn resize(&self, threads: usize) -> io::Result<()> {
        let mut state = self.state();
        while state.taking.len() > threads.max(1) {
            let surplus = state
                .taking
                .pop()
                .map(|worker| (worker, Arc::new(AtomicBool::new(true))));
            state.aside.extend(surplus);
        }
        while state.taking.len() < threads {
            let one = state.another()?;
            state.taking.push(one);
        }
        Ok(())
    }

    /// Replaces the workers that do not run a task within `patience`, and closes their connections; tells how many
    /// connections that were, for each of them.
    pub async fn replace_hung(&self, patience: Duration) -> Vec<usize> {
        let asked: Vec<_> = {
            let state = self.state();
            let aside = state.aside.iter().map(|(serving, _)| serving);
            let serving = aside.filter(|serving| !open(&serving.connections).is_empty());
            let all = state.taking.iter().chain(serving);
            all.map(|serving| (serving.clone(), ask(&serving.worker)))
                .collect()
        };
        clock::sleep(patience).await;
        let mut closed = Vec::new();
        let mut state = self.state();
        for (hung, runs) in asked {
            if runs.load(Ordering::Acquire) {
                continue;
            }
            if let Some(aside) = state.aside.iter_mut().find(|(serving, _)| serving.is(&hung)) {
                aside.1 = runs;
                closed.push(hung.let_go());
                continue;
            }
            let fresh = match state.another() {
                Ok(fresh) => fresh,
                Err(error) => {
                    tracing::error!(%error, "a thread that hangs cannot be replaced");
                    continue;
                }
            };
            let Some(place) = state.taking.iter_mut().find(|serving| serving.is(&hung)) else {
                continue;
            };
            let hung = std::mem::replace(place, fresh);
            closed.push(hung.let_go());
            state.aside.push((hung, runs));
        }
        closed
    }

    /// While `is_stalled` says so, looks for workers that hang: at once, and again after each `patience`.
    pub async fn rescue(&self, is_stalled: impl Fn() -> bool, patience: Duration) {
        while is_stalled() {
            for connections in self.replace_hung(patience).await {
                tracing::error!(
                    connections,
                    "a thread hangs in a call to a log directory; its connections are closed, others take new ones"
                );
            }
        }
    }
}

/// How many threads serve connections when `asked` are to and there are so many `cores`: no more than cores, as they never
/// wait for a client, and more of them would only wait for each other; but two, for one may wait for a disk.
fn threads(asked: i32, cores: usize) -> usize {
    usize::try_from(asked).unwrap_or(1).clamp(1, cores.max(2))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

impl ConfigListener for Workers {
    fn broker_config_changed(&self, config: &BrokerConfig) {
        self.note(config.num_network_threads);
        let threads = threads(config.num_network_threads, cores());
        if let Err(error) = self.resize(threads) {
            tracing::error!(%error, "num.network.threads={threads}: no more threads can be started");
        }
    }
}

/// Asks a worker for a sign of life.
fn ask(worker: &Worker) -> Arc<AtomicBool> {
    let runs = Arc::new(AtomicBool::new(false));
    let sign = Arc::clone(&runs);
    drop(worker.spawn(async move { sign.store(true, Ordering::Release) }));
    runs
}

#[cfg(all(test, not(feature = "simulation")))]
mod tests {
    use super::*;
    use crate::base::net::{self, TcpListener, TcpStream};
    use std::sync::mpsc;
    use tokio::io::AsyncReadExt as _;

    // Longer than a thread that is well waits for its turn on a machine that is busy with other things.
    const PATIENCE: Duration = Duration::from_secs(1);

    /// A connection that is served by the worker whose turn `number` is; the client's side.
    async fn connect(workers: &Workers, number: u64) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let stream = stream.into_std().unwrap();
        let (entered, is_entered) = tokio::sync::oneshot::channel();
        workers.serve(number, async move |served| {
            let (_read, write) = net::split(TcpStream::from_std(stream).unwrap());
            let _place = served.enter(write.severance());
            entered.send(()).unwrap();
            std::future::pending::<()>().await;
        });
        is_entered.await.unwrap();
        client
    }

    async fn answers(workers: &Workers, number: u64) -> bool {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        workers.serve(number, async move |_| sender.send(()).unwrap());
        clock::timeout(Duration::from_secs(10), receiver).await == Some(Ok(()))
    }

    #[tokio::test]
    async fn a_worker_that_hangs_is_replaced_and_its_clients_are_let_go() {
        let workers = Workers::start("test", 2).unwrap();
        let mut hangs = connect(&workers, 0).await;
        let lives = connect(&workers, 1).await;
        assert!(workers.replace_hung(PATIENCE).await.is_empty(), "none hangs");

        let (release, held) = mpsc::channel::<()>();
        workers.serve(2, async move |_| held.recv().unwrap());
        assert_eq!(workers.replace_hung(PATIENCE).await, [1]);
        assert_eq!(hangs.read(&mut [0]).await.unwrap(), 0, "closed");
        assert_eq!(
            lives.try_read(&mut [0]).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        assert!(answers(&workers, 4).await, "another has its turn");
        assert!(answers(&workers, 5).await);

        // Its call returns: it is what replaces the next one.
        release.send(()).unwrap();
        while !workers
            .state()
            .aside
            .iter()
            .all(|(_, back)| back.load(Ordering::Acquire))
        {
            clock::sleep(Duration::from_millis(1)).await;
        }
        let (release, held) = mpsc::channel::<()>();
        workers.serve(6, async move |_| held.recv().unwrap());
        while workers.replace_hung(PATIENCE).await.is_empty() {}
        {
            let state = workers.state();
            assert_eq!((state.started, state.aside.len()), (3, 1));
        }
        assert!(answers(&workers, 6).await);
        release.send(()).unwrap();
    }

    #[test]
    fn there_are_no_more_threads_than_cores() {
        for (asked, cores, threads_there) in [
            (3, 2, 2),
            (3, 16, 3),
            (8, 16, 8),
            (1, 1, 1),
            (0, 4, 1),
            (-1, 4, 1),
        ] {
            assert_eq!(threads(asked, cores), threads_there, "{asked} on {cores} cores");
        }
    }

    #[tokio::test]
    async fn fewer_workers_go_on_with_what_they_serve_and_come_back() {
        let workers = Workers::start("test", 3).unwrap();
        let lives = connect(&workers, 2).await;
        workers.resize(1).unwrap();
        assert_eq!(workers.state().taking.len(), 1);
        assert_eq!(
            lives.try_read(&mut [0]).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        for number in 3..6 {
            assert!(answers(&workers, number).await);
        }
        workers.resize(4).unwrap();
        {
            let state = workers.state();
            assert_eq!((state.taking.len(), state.aside.len(), state.started), (4, 0, 4));
        }
        workers.resize(0).unwrap();
        assert!(answers(&workers, 6).await, "one at least");
    }

    #[tokio::test]
    async fn a_worker_that_was_set_aside_and_hangs_lets_its_clients_go() {
        let workers = Workers::start("test", 2).unwrap();
        let mut hangs = connect(&workers, 1).await;
        let (release, held) = mpsc::channel::<()>();
        workers.serve(3, async move |_| held.recv().unwrap());
        workers.resize(1).unwrap();
        assert_eq!(workers.replace_hung(PATIENCE).await, [1]);
        assert_eq!(hangs.read(&mut [0]).await.unwrap(), 0, "closed");
        workers.resize(2).unwrap();
        assert!(answers(&workers, 5).await, "another one, not the one that hangs");
        release.send(()).unwrap();
    }
}
