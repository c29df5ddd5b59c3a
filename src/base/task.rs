//! Tasks, and work that may block.
//!
//! Control (store, controller, timers) runs on the runtime that the broker is started on. Data runs on a few
//! [`Worker`]s, each a thread with a runtime of its own. What may wait for a disk runs on the [`Pool`] of its log
//! directory. In the `simulation` build all three are the one simulated thread, and blocking work runs at once.
//!
//! Every `tokio::select!` is `biased`: the runtime's choice among branches follows no seed.

use std::future::Future;
use std::io;

/// Starts a task on the current runtime.
#[expect(clippy::disallowed_methods, reason = "the seam")]
pub fn spawn<F>(future: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future)
}

/// Runs `future` on this thread, on the runtime for control: store, controller, timers.
///
/// # Errors
/// When the system gives no runtime.
pub fn run_control<T>(future: impl Future<Output = T>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(future))
}

/// SIGINT and SIGTERM.
pub struct StopSignals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl StopSignals {
    /// Takes the signals from now on.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for one.
    pub async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// The pool was shut down before it ran the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolClosed;

/// A thread that runs connections: a single-threaded runtime.
#[cfg(not(feature = "simulation"))]
#[derive(Clone)]
pub struct Worker {
    handle: tokio::runtime::Handle,
}

#[cfg(not(feature = "simulation"))]
impl Worker {
    /// Starts a worker whose thread is called `name`. It ends with the process.
    pub fn start(name: &str) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
        Ok(Self { handle })
    }

    /// Starts a task on this worker.
    pub fn spawn<F>(&self, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(future)
    }
}

/// A thread that runs connections: here the simulated host's.
#[cfg(feature = "simulation")]
#[derive(Clone)]
pub struct Worker;

#[cfg(feature = "simulation")]
impl Worker {
    /// A worker.
    pub fn start(_name: &str) -> io::Result<Self> {
        Ok(Self)
    }

    /// Starts a task on this worker.
    pub fn spawn<F>(&self, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        spawn(future)
    }
}

#[cfg(not(feature = "simulation"))]
type Work = Box<dyn FnOnce() + Send>;

/// A few threads for work that blocks. Work starts in the order it was given. Threads end when the last clone of the
/// pool is dropped and the queue is empty.
#[cfg(not(feature = "simulation"))]
#[derive(Clone)]
pub struct Pool {
    sender: std::sync::mpsc::Sender<Work>,
}

#[cfg(not(feature = "simulation"))]
impl Pool {
    /// Starts a pool of `threads` threads called `name`.
    pub fn start(name: &str, threads: usize) -> io::Result<Self> {
        let (sender, receiver) = std::sync::mpsc::channel::<Work>();
        let receiver = std::sync::Arc::new(std::sync::Mutex::new(receiver));
        for _ in 0..threads.max(1) {
            let receiver = std::sync::Arc::clone(&receiver);
            std::thread::Builder::new().name(name.to_owned()).spawn(move || {
                loop {
                    let next = receiver
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner)
                        .recv();
                    match next {
                        Ok(work) => work(),
                        Err(_) => return,
                    }
                }
            })?;
        }
        Ok(Self { sender })
    }

    /// Queues `work` and does not wait for it.
    pub fn start_work(&self, work: impl FnOnce() + Send + 'static) {
        // Fails only when every thread has died of a panic; the work is then dropped, which its waiter sees.
        let _ = self.sender.send(Box::new(work));
    }

    /// Runs `work` and yields what it returns.
    ///
    /// # Errors
    /// [`PoolClosed`] when the work panicked or no thread is left to run it.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolClosed> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.start_work(move || {
            let _ = sender.send(work());
        });
        receiver.await.map_err(|_| PoolClosed)
    }
}

/// Work that blocks: runs at once in the simulation.
#[cfg(feature = "simulation")]
#[derive(Clone)]
pub struct Pool;

#[cfg(feature = "simulation")]
impl Pool {
    /// A pool.
    pub fn start(_name: &str, _threads: usize) -> io::Result<Self> {
        Ok(Self)
    }

    /// Runs `work`.
    pub fn start_work(&self, work: impl FnOnce() + Send + 'static) {
        work();
    }

    /// Runs `work` and yields what it returns.
    ///
    /// # Errors
    /// None in the simulation.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolClosed> {
        Ok(work())
    }
}

#[cfg(all(test, not(feature = "simulation")))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pool_runs_work_and_tells_when_it_panics() {
        let pool = Pool::start("test", 2).unwrap();
        assert_eq!(pool.run(|| 5).await, Ok(5));
        assert_eq!(
            pool.run(|| assert!(std::hint::black_box(false))).await,
            Err(PoolClosed)
        );
    }
}
