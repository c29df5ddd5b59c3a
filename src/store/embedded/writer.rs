//! The one task that changes an embedded store.
//!
//! It takes all changes that wait, applies them one after the other, commits them to every copy as one transaction, and
//! only then shows them to readers, tells the watchers and answers: what nobody has seen cannot be lost. A copy whose
//! disk fails or hangs is left out until that is over ([`super::back`]); the others note that they go on without it before
//! anybody is told what only they know. The store fails when none is left.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::Shared;
use super::back::{Absent, Building, Built};
use super::copy::{Copy, CopyError, Member};
use crate::base::clock::{self, Instant};
use crate::base::disk::Disk;
use crate::base::ids::Uuid;
use crate::base::random::Random;
use crate::base::starvation::{self, Place, Silence};
use crate::base::task::Pool;
use crate::store::tree::{Author, Records, Tree};
use crate::store::{ChangeKind, MultiError, Operation, Outcome, Session, SessionId, StoreError, check_size};

/// About how many bytes of changes go into one transaction.
const BATCH_BYTES: usize = 4 << 20;

/// What the task is asked to do.
pub(super) enum Request {
    Multi(Vec<Operation>, Reply),
    /// To be answered when all that was asked before can be read.
    Read(oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
    /// A copy that was left out can be written again.
    Back(Absent),
    /// It has been, or could not be.
    Built(Built),
}

type Answer = Result<Vec<Outcome>, MultiError>;
type Reply = oneshot::Sender<Answer>;

/// A copy that is kept up, and its thread.
pub(super) struct Kept {
    pub(super) copy: Arc<Copy>,
    pub(super) pool: Pool,
    /// What the others have and this one does not yet.
    pub(super) owed: Records,
}

impl Kept {
    /// How the copies name it.
    pub(super) fn member(&self) -> Member {
        let directory = self.copy.path.parent().unwrap_or(&self.copy.path);
        Member {
            id: self.copy.id,
            directory: directory.display().to_string(),
        }
    }
}

/// Starts blocking work at once; the receiver fails when the work panicked.
pub(super) fn begin<T: Send + 'static>(
    pool: &Pool,
    work: impl FnOnce() -> T + Send + 'static,
) -> oneshot::Receiver<T> {
    let (sender, receiver) = oneshot::channel();
    pool.start_work(move || {
        let _ = sender.send(work());
    });
    receiver
}

/// The task's state.
pub(super) struct Writer {
    pub(super) shared: Arc<Mutex<Shared>>,
    pub(super) session: SessionId,
    /// Tells when the session is over: with the store.
    pub(super) over: watch::Sender<Session>,
    /// The tree with all changes, those under way included.
    pub(super) tree: Tree,
    /// Multis that were asked and cannot be read yet.
    pub(super) under_way: Arc<AtomicUsize>,
    /// What the next commit must contain beside the changes in it.
    pub(super) owed: Records,
    pub(super) copies: Vec<Kept>,
    /// Copies that are on their way back.
    pub(super) building: Vec<Building>,
    /// Which store it is.
    pub(super) store: Uuid,
    pub(super) disk: Disk,
    pub(super) random: Random,
    /// The way to this task.
    pub(super) requests: mpsc::WeakUnboundedSender<Request>,
    /// How long a commit may take before its copy is left out, as long as another one is there.
    pub(super) stall: Duration,
    /// How long a copy that failed is left alone.
    pub(super) pause: Duration,
}

/// Changes that are committed together.
#[derive(Default)]
struct Batch {
    answers: Vec<(Reply, Answer)>,
    readers: Vec<oneshot::Sender<()>>,
    changes: Vec<(String, ChangeKind)>,
    records: Records,
    bytes: usize,
}

impl Writer {
    /// Serves requests until the store is closed or dropped.
    pub(super) async fn run(mut self, mut requests: mpsc::UnboundedReceiver<Request>) {
        let mut closing = None;
        while closing.is_none() {
            let Some(first) = requests.recv().await else {
                break;
            };
            let mut batch = Batch {
                records: std::mem::take(&mut self.owed),
                ..Batch::default()
            };
            let (mut back, mut built) = (Vec::new(), Vec::new());
            let mut next = Some(first);
            while let Some(request) = next {
                match request {
                    Request::Multi(operations, reply) => self.apply(operations, reply, &mut batch),
                    Request::Read(reader) => batch.readers.push(reader),
                    Request::Back(absent) => back.push(absent),
                    Request::Built(copy) => built.push(copy),
                    Request::Close(reply) => {
                        closing = Some(reply);
                        break;
                    }
                }
                next = if batch.bytes < BATCH_BYTES {
                    requests.try_recv().ok()
                } else {
                    None
                };
            }
            if !self.finish(batch).await {
                break;
            }
            // A copy that is not taken in any more is behind, and is written anew at the next start.
            if closing.is_none() && !self.bring_back(back, built).await {
                break;
            }
        }
        self.lock().fail();
        self.over.send_replace(Session::Expired(self.session));
        let copies = std::mem::take(&mut self.copies).into_iter();
        // redb writes its allocator's state when the file is closed, which makes the next start faster.
        let closing_copies: Vec<_> = copies
            .map(|Kept { copy, pool, .. }| begin(&pool, move || drop(copy)))
            .collect();
        for closed in closing_copies {
            let _ = closed.await;
        }
        if let Some(reply) = closing {
            let _ = reply.send(());
        }
    }

    /// False when no copy is left.
    async fn bring_back(&mut self, back: Vec<Absent>, built: Vec<Built>) -> bool {
        for absent in back {
            self.build(absent);
        }
        for copy in built {
            if !self.take_in(copy).await {
                return false;
            }
        }
        true
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&mut self, operations: Vec<Operation>, reply: Reply, batch: &mut Batch) {
        let author = Author {
            session: self.session,
            now_ms: clock::now_ms(),
        };
        if let Err(error) = check_size(&operations) {
            batch.answers.push((reply, Err(error)));
            return;
        }
        batch.bytes += operations.iter().map(Operation::size_in_bytes).sum::<usize>();
        let answer = match self.tree.apply(operations, author, &mut batch.records) {
            Ok(applied) => {
                batch.changes.extend(applied.changes);
                Ok(applied.outcomes)
            }
            Err(error) => Err(error),
        };
        batch.answers.push((reply, answer));
    }

    /// Commits, publishes and answers. False when no copy is left.
    async fn finish(&mut self, batch: Batch) -> bool {
        if !batch.records.is_empty() && !self.commit(batch.records).await {
            self.lock().fail();
            for (reply, _) in batch.answers {
                let _ = reply.send(Err(StoreError::Failed.into()));
            }
            return false;
        }
        let fired = {
            let mut shared = self.lock();
            shared.tree = self.tree.clone();
            shared
                .watches
                .fire(batch.changes.iter().map(|(path, kind)| (path.as_str(), *kind)))
        };
        self.under_way.fetch_sub(batch.answers.len(), Ordering::AcqRel);
        fired.tell();
        for reader in batch.readers {
            let _ = reader.send(());
        }
        for (reply, answer) in batch.answers {
            let _ = reply.send(answer);
        }
        true
    }

    /// Commits to every copy that works. False when none is left.
    pub(super) async fn commit(&mut self, records: Records) -> bool {
        self.owe(&records);
        let mut records = Arc::new(records);
        loop {
            let before = self.copies.len();
            self.commit_once(&records).await;
            if self.copies.len() == before || self.copies.is_empty() {
                return !self.copies.is_empty();
            }
            // Once more, with nothing new but that others have left.
            records = Arc::default();
        }
    }

    async fn commit_once(&mut self, records: &Arc<Records>) {
        let zxid = self.tree.zxid();
        let members: Arc<[Member]> = self.copies.iter().map(Kept::member).collect();
        let mut waiting = Vec::new();
        for mut kept in std::mem::take(&mut self.copies) {
            let mut records = Arc::clone(records);
            if !kept.owed.is_empty() {
                let mut both = std::mem::take(&mut kept.owed);
                both.extend(Records::clone(&records));
                records = Arc::new(both);
            }
            let copy = Arc::clone(&kept.copy);
            let members = Arc::clone(&members);
            let place = Arc::new(Place::default());
            let at_work = Arc::clone(&place);
            let done = begin(&kept.pool, move || {
                let _taken = at_work.take();
                copy.commit(&records, zxid, &members)
            });
            waiting.push((kept, done, place));
        }
        // The last copy is waited for, however long it takes: without it there is no store.
        let alone = waiting.len() == 1;
        let mut silence = Silence::begin(Instant::now(), std::iter::empty(), &starvation::turns);
        for (kept, done, place) in waiting {
            let answer = if alone {
                Some(done.await)
            } else {
                self.within_stall(done, &place, &mut silence).await
            };
            let path = kept.copy.path.display();
            match &answer {
                Some(Ok(Ok(()))) => {
                    self.copies.push(kept);
                    continue;
                }
                Some(Ok(Err(CopyError::Io(error)))) => {
                    tracing::error!(
                        "{path} cannot be written: it is left out until it is written anew: {error}"
                    );
                }
                Some(Ok(Err(error))) => {
                    tracing::error!("{path} is damaged: it is left out until it is written anew: {error}");
                }
                Some(Err(_)) => {
                    tracing::error!("writing {path} failed badly: it is left out until it is written anew");
                }
                None => {
                    tracing::error!(
                        "writing {path} has taken {} ms: it is left out until its directory answers",
                        self.stall.as_millis()
                    );
                }
            }
            self.leave(kept, answer.is_none());
        }
    }

    /// What a commit on the thread in `place` answers; `None` when it hangs, all of `silence` counted.
    async fn within_stall<T>(
        &self,
        mut done: oneshot::Receiver<T>,
        place: &Place,
        silence: &mut Silence,
    ) -> Option<Result<T, oneshot::error::RecvError>> {
        let every = self.stall / 8;
        loop {
            let hangs = silence.outlasts(self.stall);
            let wait = if hangs { Duration::ZERO } else { every };
            let answer = clock::timeout(wait, &mut done).await;
            if answer.is_some() || hangs {
                return answer;
            }
            let threads = place.thread().into_iter();
            silence.goes_on(Instant::now(), every, threads, &starvation::turns);
        }
    }
}
