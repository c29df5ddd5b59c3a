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

/// A connection's place among those of its worker, until it is dropped: while it is there, the connection is closed when the
/// worker hangs.
pub struct Served {
    number: u64,
    connections: Connections,
}

impl Served {
    /// From now on the connection is closed in this way.
    pub(super) fn adopted(&self, severance: Severance) {
        open(&self.connections).insert(self.number, severance);
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        open(&self.connections).remove(&self.number);
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

    /// Has connection `number` served by the worker whose turn it is. That one may hang already, and nobody know it yet:
    /// then `severance` closes the connection before it was ever served.
    pub fn serve<F>(&self, number: u64, severance: Severance, serve: impl FnOnce(Served) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let state = self.state();
        let turn = usize::try_from(number).unwrap_or(0) % state.taking.len().max(1);
        let Some(serving) = state.taking.get(turn).cloned() else {
            return;
        };
        let served = Served {
            number,
            connections: serving.connections,
        };
        // While nobody can find out that the worker hangs, and let its connections go without this one.
        served.adopted(severance);
        drop(state);
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
#[path = "workers_test.rs"]
mod tests;
