//! The end of a move: the copy takes the partition's place (Kafka: `Partition.maybeReplaceCurrentWithFutureReplica`,
//! `LogManager.replaceCurrentWithFutureLog`).
//!
//! Under the partition's lock the rest is copied and made durable, the copy gets the partition's name, the old folder the
//! name for deletion. Between the two renames both folders have the partition's name; the marker that the old one got
//! before says then which of them goes ([`MOVED_MARKER`](crate::storage::log::MOVED_MARKER)).

use std::path::PathBuf;
use std::sync::Arc;

use crate::storage::log::{Log, MoveError};

use super::super::background::Buried;
use super::super::partition::State;
use super::super::replicas::Replicas;
use super::{Future, Move, locked};

/// So many pieces are copied while the partition waits; when that is not all, it is tried again later.
const LAST_PIECES: usize = 4;

/// How trying to swap ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Swap {
    /// The partition lies in the other directory.
    Done,
    /// Too much was written meanwhile: more is to be copied first.
    Again,
    /// The partition or the move is gone.
    Ended,
}

impl Replicas {
    /// Puts the copy in the partition's place, if it can be completed quickly. Blocks.
    pub(super) fn swap(&self, one: &Arc<Move>, now_ms: i64) -> Result<Swap, MoveError> {
        let mut future = locked(&one.future);
        let Some(log) = future.log.as_mut() else {
            return Ok(Swap::Ended);
        };
        // Most of it without the partition's lock.
        if let Some(work) = log.flush_plan() {
            let flushed = work.run()?;
            log.flushed(flushed, now_ms);
        }
        let marker = match one.partition.lock_on_pool() {
            Ok(source) => source.state.log.moved_marker(),
            Err(_) => return Ok(Swap::Ended),
        };
        if !marker.set()? {
            return Ok(Swap::Ended);
        }
        let replaced = self.replace(one, &mut future, now_ms);
        drop(future);
        match replaced {
            Ok(Ok(old)) => {
                self.moves.remove(one);
                self.bury_moved(one, old, now_ms);
                Ok(Swap::Done)
            }
            Ok(Err(swap)) => {
                marker.clear()?;
                Ok(swap)
            }
            Err(error) => {
                // Should there be two folders of the name now, the next start stops and says so, which loses nothing.
                marker.clear()?;
                Err(error)
            }
        }
    }

    /// The part under the partition's lock. Yields the old log, and its path where it could be renamed.
    fn replace(
        &self,
        one: &Move,
        future: &mut Future,
        now_ms: i64,
    ) -> Result<Result<(Log, Option<PathBuf>), Swap>, MoveError> {
        let Ok(mut source) = one.partition.lock_on_pool() else {
            return Ok(Err(Swap::Ended));
        };
        let state = &mut *source.state;
        if !copy_rest(state, future, now_ms)? {
            return Ok(Err(Swap::Again));
        }
        let Some(mut log) = future.log.take() else {
            return Ok(Err(Swap::Ended));
        };
        let named = log
            .prepare_to_replace(&state.log, now_ms)
            .map_err(MoveError::Io)
            .and_then(|()| log.take_name());
        if let Err(error) = named {
            future.log = Some(log);
            return Err(error);
        }
        let old = std::mem::replace(&mut state.log, log);
        // A failure has taken the old directory offline; the next start finds the marker.
        let path = old.mark_deleted().ok();
        self.moved(&one.partition, one.to);
        let wakes = state.settle();
        drop(source);
        wakes.dispatch();
        Ok(Ok((old, path)))
    }

    /// What is left to do once the partition lies elsewhere.
    fn bury_moved(&self, one: &Move, (old, path): (Log, Option<PathBuf>), now_ms: i64) {
        let volume = old.volume();
        let left = self
            .directories()
            .iter()
            .find(|directory| Arc::ptr_eq(directory.volume(), volume));
        tracing::info!(
            partition = %one.partition.name(),
            from = %volume.path().display(),
            to = %one.directory.path().display(),
            "replica moved"
        );
        for directory in left.into_iter().chain([&one.directory]) {
            self.checkpoint_recovery_points(directory);
            self.checkpoint_log_starts(directory);
            self.checkpoint_high_watermarks(directory);
            self.checkpoint_cleaned(directory);
        }
        if let (Some(left), Some(path)) = (left, path) {
            // A failure has taken the directory offline.
            let _ = left.sync();
            let due_ms = now_ms.saturating_add(old.config().file_delete_delay_ms);
            self.bury(Buried::folder(Arc::clone(left), path, due_ms));
        }
    }
}

/// Copies what is left. False when that is too much.
fn copy_rest(state: &State, future: &mut Future, now_ms: i64) -> Result<bool, MoveError> {
    let Future { log, truncations } = future;
    let Some(log) = log else { return Ok(false) };
    for _ in 0..LAST_PIECES {
        let chunk = state.log.chunk_behind(log)?;
        if log.put_chunk(chunk, truncations, now_ms)?.caught_up {
            return Ok(true);
        }
    }
    Ok(false)
}
