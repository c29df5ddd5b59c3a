//! Tasks, and work that may block.
//!
//! Control (store, controller, timers) runs on the runtime that the broker is started on. Data runs on a few
//! [`Worker`]s, each a thread with a runtime of its own. What may wait for a disk runs on the [`Pool`] of its log
//! directory. In the `simulation` build all three are the one simulated thread, and blocking work runs at once.
//!
//! Every `tokio::select!` is `biased`: the runtime's choice among branches follows no seed.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

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

/// SIGINT, SIGTERM and SIGHUP. As with a JVM, SIGHUP is none where whoever started the process has it ignored, as nohup does.
pub struct StopSignals {
    hangup: Option<tokio::signal::unix::Signal>,
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
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let hangup = match ignores_hangup(&status) {
            true => None,
            false => Some(signal(SignalKind::hangup())?),
        };
        Ok(Self {
            hangup,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for one.
    pub async fn wait(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = hangup => {}
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Work of one request on a thread that others wait for: after each mebibyte of it they have their turn. It is counted, not
/// timed: what it costs to look through so many bytes.
#[derive(Debug, Default)]
pub struct Pace {
    done: usize,
}

/// What is done before others have their turn: about a millisecond's work.
const TURN: usize = 1024 * 1024;

impl Pace {
    /// What it costs to look up a partition.
    pub const LOOK_UP: usize = 1024;

    /// Nothing is done yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// So much was done since this was last called.
    pub async fn did(&mut self, bytes: usize) {
        self.done = self.done.saturating_add(bytes);
        if self.done >= TURN {
            self.done = 0;
            tokio::task::yield_now().await;
        }
    }
}

/// How often `future` lets others have their turn until it is done: for tests.
#[cfg(test)]
pub async fn turns<T>(future: impl Future<Output = T>) -> (T, usize) {
    let mut future = std::pin::pin!(future);
    let mut turns = 0;
    let done = std::future::poll_fn(|context| {
        let poll = future.as_mut().poll(context);
        turns += usize::from(poll.is_pending());
        poll
    });
    let done = done.await;
    (done, turns)
}

/// What Linux says of a process in `/proc/<id>/status`: the signals that it ignores, SIGHUP being the first.
fn ignores_hangup(status: &str) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask & 1 != 0))
}

/// A future that is polled only when it was woken itself: for what seldom happens, beside what makes its task run often.
/// Polling a timer or a signal takes locks and atomic operations that all connections share; this takes one load.
pub struct Seldom<F> {
    future: Pin<Box<F>>,
    bell: Arc<Bell>,
    waker: Waker,
    /// The waker of the task, as the bell knows it.
    owner: Option<Waker>,
}

/// Takes the wakes of a future and passes them on to its task.
struct Bell {
    rung: AtomicBool,
    owner: Mutex<Option<Waker>>,
}

/// Has `future` polled only when it was woken, and once at first.
pub fn seldom<F: Future>(future: F) -> Seldom<F> {
    let bell = Arc::new(Bell {
        rung: AtomicBool::new(true),
        owner: Mutex::default(),
    });
    Seldom {
        future: Box::pin(future),
        waker: Waker::from(Arc::clone(&bell)),
        bell,
        owner: None,
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        let owner = self.owner.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(owner) = owner {
            owner.wake();
        }
    }
}

impl<F: Future> Future for Seldom<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        if !this
            .owner
            .as_ref()
            .is_some_and(|owner| owner.will_wake(context.waker()))
        {
            this.owner = Some(context.waker().clone());
            *this.bell.owner.lock().unwrap_or_else(PoisonError::into_inner) = this.owner.clone();
        }
        // Before the future looks: what rings from here on is heard by the next poll. Loaded first, as an exchange
        // would take the cache line from the others each time.
        if !this.bell.rung.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        this.bell.rung.swap(false, Ordering::AcqRel);
        this.future.as_mut().poll(&mut Context::from_waker(&this.waker))
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
        Self::start_with(name, threads, || {})
    }

    /// The same for work that nobody waits for: where processors are scarce, other threads go first. These get a third of
    /// what one of those gets, so that they come to an end however busy the others are.
    pub fn start_in_background(name: &str, threads: usize) -> io::Result<Self> {
        const NICE: i32 = 5;
        // On Linux the priority is that of the calling thread. Anybody may lower it.
        Self::start_with(name, threads, || {
            let _ = rustix::process::setpriority_process(None, NICE);
        })
    }

    fn start_with(name: &str, threads: usize, begin: fn()) -> io::Result<Self> {
        let (sender, receiver) = std::sync::mpsc::channel::<Work>();
        let receiver = std::sync::Arc::new(std::sync::Mutex::new(receiver));
        for _ in 0..threads.max(1) {
            let receiver = std::sync::Arc::clone(&receiver);
            std::thread::Builder::new().name(name.to_owned()).spawn(move || {
                begin();
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
        self.begin(work).await
    }

    /// Queues `work` at once, whether or not what it returns is waited for.
    ///
    /// # Errors
    /// As of [`run`](Self::run).
    pub fn begin<T, W>(&self, work: W) -> impl Future<Output = Result<T, PoolClosed>> + Send + use<T, W>
    where
        T: Send + 'static,
        W: FnOnce() -> T + Send + 'static,
    {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.start_work(move || {
            let _ = sender.send(work());
        });
        async { receiver.await.map_err(|_| PoolClosed) }
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

    /// A pool.
    pub fn start_in_background(_name: &str, _threads: usize) -> io::Result<Self> {
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

    /// Runs `work` at once.
    ///
    /// # Errors
    /// None in the simulation.
    pub fn begin<T, W>(&self, work: W) -> impl Future<Output = Result<T, PoolClosed>> + Send + use<T, W>
    where
        T: Send + 'static,
        W: FnOnce() -> T + Send + 'static,
    {
        std::future::ready(Ok(work()))
    }
}

#[cfg(all(test, not(feature = "simulation")))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    /// Counts how often it is polled; ready when `signal` was given.
    async fn counted(polls: &AtomicUsize, signal: &tokio::sync::Notify) {
        let mut signal = std::pin::pin!(signal.notified());
        std::future::poll_fn(|context| {
            polls.fetch_add(1, Ordering::Relaxed);
            signal.as_mut().poll(context)
        })
        .await;
    }

    #[test]
    fn a_hangup_is_ignored_where_it_was_before() {
        assert!(ignores_hangup(
            "SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n"
        ));
        assert!(!ignores_hangup(
            "SigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\n"
        ));
        assert!(!ignores_hangup(""));
    }

    #[tokio::test]
    async fn others_have_their_turn_after_each_mebibyte() {
        let counted = async |pieces: usize, bytes: usize| {
            let work = async {
                let mut pace = Pace::new();
                for _ in 0..pieces {
                    pace.did(bytes).await;
                }
            };
            turns(work).await.1
        };
        assert_eq!(counted(1000, 1000).await, 0);
        assert_eq!(counted(4096, 1024).await, 4);
        assert_eq!(counted(3, usize::MAX).await, 3);
    }

    #[tokio::test]
    async fn what_is_seldom_is_polled_when_it_was_woken() {
        let (polls, signal) = (AtomicUsize::new(0), tokio::sync::Notify::new());
        let mut seldom = seldom(counted(&polls, &signal));
        for _ in 0..5 {
            let often = tokio::select! {
                biased;
                () = &mut seldom => false,
                () = tokio::task::yield_now() => true,
            };
            assert!(often);
        }
        assert_eq!(polls.load(Ordering::Relaxed), 1);
        signal.notify_one();
        seldom.await;
        assert_eq!(polls.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn what_is_seldom_wakes_the_task_that_has_it_now() {
        let (polls, signal) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(tokio::sync::Notify::new()),
        );
        let mut moving = seldom({
            let (polls, signal) = (Arc::clone(&polls), Arc::clone(&signal));
            async move { counted(&polls, &signal).await }
        });
        // Polled here, woken in another task.
        let mut here = std::pin::pin!(&mut moving);
        std::future::poll_fn(|context| {
            assert!(here.as_mut().poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
        let there = spawn(moving);
        tokio::task::yield_now().await;
        signal.notify_one();
        there.await.unwrap();
    }

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
