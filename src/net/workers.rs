//! The threads that serve connections, and what becomes of one that hangs.
//!
//! Appends are written where the request is read, so a disk whose writes do not return keeps the thread that called it,
//! and with it every other connection of that thread. From the outside such a thread can only be replaced: another one
//! takes its place for new connections, and the ones it serves are closed, so that their clients come back and are served
//! elsewhere. Invariant: as many workers as were asked for take connections; one that hung comes back as a spare when its
//! call returns. Called by the listeners, and when a log directory stalls.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::clock;
use crate::base::net::Severance;
use crate::base::task::Worker;

type Connections = Arc<Mutex<BTreeMap<u64, Severance>>>;

/// A thread with the connections that it serves.
#[derive(Clone)]
struct Serving {
    worker: Worker,
    connections: Connections,
}

#[derive(Default)]
struct State {
    /// Those that take connections, in turn.
    taking: Vec<Serving>,
    /// Those that hung, each with whether it runs again.
    hung: Vec<(Serving, Arc<AtomicBool>)>,
    started: usize,
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
    /// A worker that hung and runs again, or a new one.
    fn another(&mut self) -> io::Result<Serving> {
        let is_back = |(_, back): &(Serving, Arc<AtomicBool>)| back.load(Ordering::Acquire);
        if let Some(at) = self.hung.iter().position(is_back) {
            return Ok(self.hung.swap_remove(at).0);
        }
        let worker = Worker::start(&format!("network-{}", self.started))?;
        self.started += 1;
        Ok(Serving {
            worker,
            connections: Connections::default(),
        })
    }
}

impl Workers {
    /// Starts `threads` workers, at least one (`num.network.threads`).
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub fn start(threads: usize) -> io::Result<Self> {
        let mut state = State::default();
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

    /// Replaces the workers that do not run a task within `patience`, and closes their connections; tells how many
    /// connections that were, for each of them.
    pub async fn replace_hung(&self, patience: Duration) -> Vec<usize> {
        let asked: Vec<_> = {
            let state = self.state();
            state.taking.iter().map(|serving| ask(&serving.worker)).collect()
        };
        clock::sleep(patience).await;
        let mut closed = Vec::new();
        let mut state = self.state();
        for (turn, runs) in asked.into_iter().enumerate() {
            if runs.load(Ordering::Acquire) {
                continue;
            }
            let fresh = match state.another() {
                Ok(fresh) => fresh,
                Err(error) => {
                    tracing::error!(%error, "a thread that hangs cannot be replaced");
                    continue;
                }
            };
            let Some(place) = state.taking.get_mut(turn) else {
                continue;
            };
            let hung = std::mem::replace(place, fresh);
            let connections = std::mem::take(&mut *open(&hung.connections));
            connections.values().for_each(Severance::sever);
            closed.push(connections.len());
            state.hung.push((hung, runs));
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

    const PATIENCE: Duration = Duration::from_millis(50);

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
        let workers = Workers::start(2).unwrap();
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
            .hung
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
            assert_eq!((state.started, state.hung.len()), (3, 1));
        }
        assert!(answers(&workers, 6).await);
        release.send(()).unwrap();
    }
}
