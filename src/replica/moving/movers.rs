//! The tasks that move partitions, `num.replica.alter.log.dirs.threads` of them (by default as many as there are log
//! directories), each one partition at a time, at `replica.alter.log.dirs.io.max.bytes.per.second` together (Kafka:
//! `ReplicaAlterLogDirsThread`).
//!
//! The copying is done in small steps on the pool of the directory that is written.

use std::sync::Arc;

use crate::base::clock::{self, Instant};
use crate::base::shutdown::Shutdown;
use crate::base::task;
use crate::storage::log::MoveError;

use super::super::replicas::Replicas;
use super::Move;
use super::swap::Swap;

/// How a stretch of copying ended.
enum Stretch {
    /// The copy is close enough to its source to take its place.
    Close,
    /// The move has ended, or the broker does.
    Ended,
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
                loop {
                    let changed = replicas.moves.changed.notified();
                    if shutdown.begun() {
                        return;
                    }
                    if let Some(one) = replicas.moves.next() {
                        replicas.carry_out(&one, &shutdown).await;
                        continue;
                    }
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
    pub(super) async fn carry_out(self: &Arc<Self>, one: &Arc<Move>, shutdown: &Shutdown) {
        loop {
            let ended = match self.copy(one, shutdown).await {
                Ok(Stretch::Ended) => return,
                Ok(Stretch::Close) => {
                    let (replicas, swapped) = (Arc::clone(self), Arc::clone(one));
                    let pool = one.directory.pool().clone();
                    match pool.run(move || replicas.swap(&swapped, clock::now_ms())).await {
                        Ok(Ok(Swap::Again)) => continue,
                        Ok(Ok(Swap::Done | Swap::Ended)) => return,
                        Ok(Err(error)) => error,
                        Err(_) => return,
                    }
                }
                Err(error) => error,
            };
            self.failed_move(one, &ended).await;
            return;
        }
    }

    /// Copies until little is left.
    async fn copy(self: &Arc<Self>, one: &Arc<Move>, shutdown: &Shutdown) -> Result<Stretch, MoveError> {
        loop {
            let changed = self.moves.changed.notified();
            let begun = Instant::now();
            let stepping = Arc::clone(one);
            let step = move || stepping.step(clock::now_ms());
            let Ok(stepped) = one.directory.pool().run(step).await else {
                return Ok(Stretch::Ended);
            };
            let Some(put) = stepped? else {
                return Ok(Stretch::Ended);
            };
            let limit = self
                .cluster()
                .get()
                .broker_config
                .replica_alter_log_dirs_io_max_bytes_per_second;
            let until = self.moves.throttle.note(put.bytes, begun, limit as f64);
            if shutdown.begun() {
                return Ok(Stretch::Ended);
            }
            if until > Instant::now() {
                tokio::select! {
                    biased;
                    () = shutdown.wait() => return Ok(Stretch::Ended),
                    () = changed => {}
                    () = clock::sleep_until(until) => {}
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
                let begun = replicas.begin_move(&one.partition, one.to, &one.directory, clock::now_ms());
                if let Err(error) = begun {
                    tracing::warn!(partition = %one.partition.name(), "the move does not begin anew: {error}");
                }
            }
        };
        let _ = pool.run(ended).await;
    }
}
