//! [`Channel`]: requests that must reach a broker in order, however long that takes.
//!
//! A task owns a [`Connection`] and takes requests from the front of a queue. One is under way at a time, and it is sent
//! again, 100 ms after each failure, until it is answered (Kafka: `ControllerChannelManager`, `RequestSendThread`): so a
//! broker may see a request twice, and must not mind. A request is given up only when the channel is dropped, when
//! [`Channel::clear`] says that something newer replaces it, or when there is no version that both know. A failure is
//! logged once until the broker answers again.
//!
//! Whoever offers a request never waits: a slow broker holds up nobody. The queue is bounded, so when a broker does not
//! answer for so long that it is full, the caller must drop what is in it and begin anew with the whole state.

use std::collections::VecDeque;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;

use super::connection::Connection;
use super::error::PeerError;
use super::{Address, Options};
use crate::base::{clock, task};
use crate::wire::Message;

/// Between two attempts (Kafka: the same).
const BACKOFF: Duration = Duration::from_millis(100);

/// In which version a request is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// In this one, without asking (see [`versions`](super::versions)).
    Fixed(i16),
    /// In the highest that the broker knows, this one at most.
    Newest(i16),
}

/// The queue is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// A queue of requests to one broker, and the task that sends them. Dropped, it ends both.
pub struct Channel {
    to: Address,
    queue: Arc<Queue>,
    bound: usize,
    /// Counts the clearings; a request that began under an older count is given up.
    cleared: watch::Sender<u64>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Box<dyn Job>>,
    /// A request has been taken off and is not answered yet.
    is_one_under_way: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next request off, with the count of clearings under which that happens.
    fn take(&self, cleared: &watch::Receiver<u64>) -> Option<(Box<dyn Job>, u64)> {
        let mut waiting = self.lock();
        let job = waiting.jobs.pop_front();
        waiting.is_one_under_way = job.is_some();
        Some((job?, *cleared.borrow()))
    }

    /// Waits for the next request.
    async fn next(&self, cleared: &watch::Receiver<u64>) -> (Box<dyn Job>, u64) {
        loop {
            if let Some(taken) = self.take(cleared) {
                return taken;
            }
            // What was offered since then has left a permit.
            self.filled.notified().await;
        }
    }
}

type Sent<'a> = Pin<Box<dyn Future<Output = Result<(), PeerError>> + Send + 'a>>;

/// A request of whatever kind.
trait Job: Send {
    fn name(&self) -> &'static str;
    /// Sends it once; an answer goes to who waits for it.
    fn send<'a>(&'a mut self, connection: &'a mut Connection) -> Sent<'a>;
}

struct Request<Q, A, F> {
    version: Version,
    request: Q,
    done: Option<F>,
    answer: PhantomData<fn() -> A>,
}

impl<Q, A, F> Job for Request<Q, A, F>
where
    Q: Message + Send + Sync,
    A: Message + Send,
    F: FnOnce(i16, A) + Send,
{
    fn name(&self) -> &'static str {
        Q::KEY.name()
    }

    fn send<'a>(&'a mut self, connection: &'a mut Connection) -> Sent<'a> {
        Box::pin(async move {
            let version = match self.version {
                Version::Fixed(version) => version,
                Version::Newest(ours) => connection.newest_version(Q::KEY, ours).await?,
            };
            let answer: A = connection.send(version, &self.request).await?;
            if let Some(done) = self.done.take() {
                done(version, answer);
            }
            Ok(())
        })
    }
}

impl Channel {
    /// A channel to a broker, of at most `bound` requests, the one under way included. Its task runs on the current
    /// runtime.
    pub fn new(to: Address, options: Options, bound: usize) -> Self {
        let queue = Arc::new(Queue::default());
        let (cleared, watching) = watch::channel(0);
        let connection = Connection::new(to.clone(), options);
        let task = task::spawn(run(connection, Arc::clone(&queue), watching));
        Self {
            to,
            queue,
            bound,
            cleared,
            task,
        }
    }

    /// Whom it reaches.
    pub fn address(&self) -> &Address {
        &self.to
    }

    /// How many requests are not answered yet, the one under way included.
    pub fn length(&self) -> usize {
        let waiting = self.queue.lock();
        waiting.jobs.len() + usize::from(waiting.is_one_under_way)
    }

    /// Puts a request at the end of the queue. `done` gets the version that was sent and the answer, in the channel's
    /// task; it is dropped uncalled when the request is given up.
    ///
    /// # Errors
    /// When the queue is full.
    pub fn offer<Q, A, F>(&self, version: Version, request: Q, done: F) -> Result<(), Full>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Send + 'static,
        F: FnOnce(i16, A) + Send + 'static,
    {
        let job = Request {
            version,
            request,
            done: Some(done),
            answer: PhantomData::<fn() -> A>,
        };
        let mut waiting = self.queue.lock();
        if waiting.jobs.len() + usize::from(waiting.is_one_under_way) >= self.bound {
            return Err(Full);
        }
        waiting.jobs.push_back(Box::new(job));
        drop(waiting);
        self.queue.filled.notify_one();
        Ok(())
    }

    /// As [`Channel::offer`], for who waits: version and answer, or an error when the request was given up.
    ///
    /// # Errors
    /// When the queue is full.
    pub fn ask<Q, A>(&self, version: Version, request: Q) -> Result<oneshot::Receiver<(i16, A)>, Full>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Send + 'static,
    {
        let (answered, waiting) = oneshot::channel();
        self.offer(version, request, move |version, answer| {
            let _ = answered.send((version, answer));
        })?;
        Ok(waiting)
    }

    /// Gives up all requests, the one under way included; the connection is closed if there is one. What is offered
    /// afterwards is sent as usual.
    pub fn clear(&self) {
        let mut waiting = self.queue.lock();
        let given_up = std::mem::take(&mut waiting.jobs);
        // Under the lock: what was taken off before this is given up, what is offered after it is not.
        self.cleared.send_modify(|count| *count += 1);
        drop(waiting);
        drop(given_up);
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(mut connection: Connection, queue: Arc<Queue>, mut cleared: watch::Receiver<u64>) {
    let mut is_failing = false;
    loop {
        let (mut job, count) = queue.next(&cleared).await;
        let until_answered = until_answered(job.as_mut(), &mut connection, &mut is_failing);
        tokio::select! {
            biased;
            // The sender is gone only when this task is about to be.
            _ = cleared.wait_for(|now| *now != count) => {}
            () = until_answered => {}
        }
    }
}

/// Sends a request until it is answered, or cannot be.
async fn until_answered(job: &mut dyn Job, connection: &mut Connection, is_failing: &mut bool) {
    loop {
        let sent = job.send(connection).await;
        let (to, name) = (connection.address(), job.name());
        match sent {
            Ok(()) => {
                if std::mem::take(is_failing) {
                    tracing::info!("{to} answers again");
                }
                return;
            }
            Err(PeerError::UnsupportedVersion) => {
                tracing::error!("{to} does not know {name} in a version of ours; it is not sent");
                return;
            }
            Err(error) if !*is_failing => {
                *is_failing = true;
                tracing::warn!("{name} to {to}: {error}; it is sent again until it is answered");
            }
            Err(error) => tracing::debug!("{name} to {to}: {error}"),
        }
        clock::sleep(BACKOFF).await;
    }
}
