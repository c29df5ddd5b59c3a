//! The tasks that move partitions, `num.replica.alter.log.dirs.threads` of them (by default as many as there are log
//! directories), each one partition at a time, at `replica.alter.log.dirs.io.max.bytes.per.second` together, as measured over
//! `alter.log.dirs.replication.quota.window.num` samples (Kafka: `ReplicaAlterLogDirsThread`).
//!
//! The copying is done in small steps, on a thread that each mover has for it from its first move on: one disk's reads and
//! another one's writes shall not hold up what else the directories' pools have to do.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::base::clock::{self, Instant};
use crate::base::shutdown::Shutdown;
use crate::base::task::{self, Pool};
use crate::storage::log::MoveError;

use super::super::replicas::Replicas;
use super::Move;
use super::swap::Swap;

/// How long a partition that is written too fast is let be before the next try to swap it.
const AGAIN: Duration = Duration::from_millis(100);

/// How a stretch of copying ended.
enum Stretch {
    /// The copy is close enough to its source to take its place.
    Close,
    /// The move has ended, or the broker does.
    Ended,
}

fn started(pool: &mut Option<Pool>) -> Option<&Pool> {
    if pool.is_none() {
        match Pool::start_in_background("log-mover", 1) {
            Ok(started) => *pool = Some(started),
            Err(error) => tracing::error!(%error, "no thread to move replicas"),
        }
    }
    pool.as_ref()
}

impl Replicas {
    /// Starts the movers on the current runtime; they end with `shutdown`.
    pub fn start_movers(self: &Arc<Self>, shutdown: &Shutdown) {
        let wanted = self
            .cluster()
            .get()
            .broker_config
            .num_replica_alter_log_dirs_threads;
        let movers = wanted
            .and_then(|wanted| usize::try_from(wanted).ok())
            .unwrap_or(self.directories().len());
        for _ in 0..movers.max(1) {
            let (replicas, shutdown) = (Arc::clone(self), shutdown.clone());
            task::spawn(async move {
                let mut pool = None;
                loop {
                    let changed = replicas.moves.changed.notified();
                    if shutdown.begun() {
                        return;
                    }
                    if let Some(one) = replicas.moves.next() {
                        match started(&mut pool) {
                            Some(pool) => replicas.carry_out(&one, pool, &shutdown).await,
                            None => replicas.give_up_somehow(&one),
                        }
                        continue;
                    }
                    replicas.checkpoint_moved().await;
                    tokio::select! {
                        biased;
                        () = shutdown.wait() => return,
                        () = changed => {}
                    }
                }
            });
        }
    }

    /// Moves a partition, until it is moved, the move is given up or the broker stops.
    async fn carry_out(self: &Arc<Self>, one: &Arc<Move>, pool: &Pool, shutdown: &Shutdown) {
        loop {
            let ended = match self.copy(one, pool, shutdown).await {
                Ok(Stretch::Ended) => return,
                Ok(Stretch::Close) => {
                    let (replicas, swapped) = (Arc::clone(self), Arc::clone(one));
                    match pool.run(move || replicas.swap(&swapped, clock::now_ms())).await {
                        Ok(Ok(Swap::Again)) => {
                            if clock::timeout(AGAIN, shutdown.wait()).await.is_some() {
                                return;
                            }
                            continue;
                        }
                        Ok(Ok(Swap::Done | Swap::Ended)) => return,
                        Ok(Err(error)) => error,
                        Err(_) => return self.give_up_somehow(one),
                    }
                }
                Err(error) => error,
            };
            self.failed_move(one, &ended).await;
            return;
        }
    }

    /// Ends a move of which nothing more can be said, on the directory's pool.
    fn give_up_somehow(self: &Arc<Self>, one: &Arc<Move>) {
        tracing::error!(partition = %one.partition.name(), "the move of a replica failed");
        let (replicas, ended) = (Arc::clone(self), Arc::clone(one));
        let give_up = move || replicas.give_up(&ended, clock::now_ms());
        one.directory.pool().start_work(give_up);
    }

    /// Writes the checkpoints of all directories when partitions have changed theirs: not after each, for each tells of all
    /// partitions. Until then what they lack costs time after a crash, no record.
    async fn checkpoint_moved(self: &Arc<Self>) {
        if !self.moves.unwritten.swap(false, Ordering::AcqRel) {
            return;
        }
        for directory in self.directories() {
            let (replicas, directory) = (Arc::clone(self), Arc::clone(directory));
            let pool = directory.pool().clone();
            pool.start_work(move || {
                replicas.checkpoint_recovery_points(&directory);
                replicas.checkpoint_log_starts(&directory);
                replicas.checkpoint_high_watermarks(&directory);
                replicas.checkpoint_cleaned(&directory);
            });
        }
    }

    /// Copies until little is left.
    async fn copy(
        self: &Arc<Self>,
        one: &Arc<Move>,
        pool: &Pool,
        shutdown: &Shutdown,
    ) -> Result<Stretch, MoveError> {
        loop {
            let stepping = Arc::clone(one);
            let step = move || stepping.step(clock::now_ms());
            let Ok(stepped) = pool.run(step).await else {
                self.give_up_somehow(one);
                return Ok(Stretch::Ended);
            };
            let Some(put) = stepped? else {
                return Ok(Stretch::Ended);
            };
            let bytes = usize::try_from(put.bytes).unwrap_or(usize::MAX);
            self.quotas.moves.record(bytes, Instant::now());
            loop {
                let changed = self.moves.changed.notified();
                if shutdown.begun() {
                    return Ok(Stretch::Ended);
                }
                let Some(pause) = self.quotas.moves.exceeded_for(Instant::now()) else {
                    break;
                };
                tokio::select! {
                    biased;
                    () = shutdown.wait() => return Ok(Stretch::Ended),
                    // The next step finds whether the move has ended.
                    () = changed => break,
                    () = clock::sleep(pause) => {}
                }
            }
            if put.is_close {
                return Ok(Stretch::Close);
            }
        }
    }

    /// A move cannot go on: it ends, or, where the source is no longer what was copied, begins anew.
    async fn failed_move(self: &Arc<Self>, one: &Arc<Move>, error: &MoveError) {
        let anew = matches!(error, MoveError::Diverged);
        if anew {
            tracing::warn!(partition = %one.partition.name(), "a move begins anew: {error}");
        } else {
            tracing::error!(
                partition = %one.partition.name(),
                to = %one.directory.path().display(),
                "a replica is not moved and stays where it is: {error}"
            );
        }
        let (replicas, one) = (Arc::clone(self), Arc::clone(one));
        let pool = one.directory.pool().clone();
        let ended = move || {
            replicas.give_up(&one, clock::now_ms());
            if anew {
                let partition = vec![(0, Arc::clone(&one.partition))];
                let begun = replicas.begin_moves(partition, one.to, &one.directory, clock::now_ms());
                if let Some(error) = begun.first().filter(|error| !error.is_none()) {
                    tracing::warn!(partition = %one.partition.name(), "the move does not begin anew: {error}");
                }
            }
        };
        let _ = pool.run(ended).await;
    }
}
