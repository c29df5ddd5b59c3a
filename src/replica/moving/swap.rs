//! The end of a move: the copy takes the partition's place (Kafka: `Partition.maybeReplaceCurrentWithFutureReplica`,
//! `LogManager.replaceCurrentWithFutureLog`).
//!
//! Under the partition's lock the rest is copied and made durable, the copy gets the partition's name, the old folder the
//! name for deletion. Between the two renames both folders have the partition's name; the marker that the old one got
//! before says then which of them goes ([`MOVED_MARKER`](crate::storage::log::MOVED_MARKER)). Calls into the new directory
//! are counted, so that who waits for the partition learns when that one hangs.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::storage::file_names::LOG_START_OFFSET_CHECKPOINT;
use crate::storage::log::{Log, MoveError};

use super::super::background::Buried;
use super::super::partition::State;
use super::super::replicas::Replicas;
use super::super::upkeep::folder_delay_ms;
use super::{Future, Move, Seen, locked};

/// So many pieces are copied while the partition waits; when that is not all, it is tried again later.
const LAST_PIECES: usize = 4;

/// So many pieces are copied right before that, while it does not wait.
const PIECES_BEFORE: usize = 64;

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
        let _call = one.directory.watch().begin();
        let mut future = locked(&one.future);
        let marker = match one.partition.lock_on_pool() {
            Ok(source) if future.log.is_some() => source.state.log.moved_marker(),
            _ => return Ok(Swap::Ended),
        };
        flush(&mut future, now_ms)?;
        if !marker.set()? {
            return Ok(Swap::Ended);
        }
        let replaced = self
            .catch_up(one, &mut future, now_ms)
            .and_then(|()| self.replace(one, &mut future, now_ms));
        drop(future);
        match replaced {
            Ok(Ok(old)) => {
                self.moves.unwritten.store(true, Ordering::Release);
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

    /// Copies what came while the disks were waited for, and makes it durable, so that little is left for
    /// [`replace`](Self::replace); and sees to it that a log start which the checkpoint of the old directory tells is not
    /// forgotten with that.
    fn catch_up(&self, one: &Move, future: &mut Future, now_ms: i64) -> Result<(), MoveError> {
        for _ in 0..PIECES_BEFORE {
            let Future { log, truncations } = &mut *future;
            let Some(log) = log else { return Ok(()) };
            let chunk = match one.partition.lock_on_pool() {
                Ok(source) => source.state.log.chunk_behind(log)?,
                Err(_) => return Ok(()),
            };
            if log.put_chunk(chunk, truncations, now_ms)?.is_close {
                break;
            }
        }
        flush(future, now_ms)?;
        if let Some(log) = &future.log {
            let seen = Seen::of(log);
            *locked(&one.seen) = seen;
            let name = log.partition().clone();
            let told = one.directory.may_tell_of(LOG_START_OFFSET_CHECKPOINT, &[name]);
            if told || seen.log_start > seen.first_base {
                self.checkpoint_log_starts(&one.directory);
            }
        }
        Ok(())
    }

    /// The part under the partition's lock. Yields the old log, and its path where it could be renamed.
    fn replace(
        &self,
        one: &Move,
        future: &mut Future,
        now_ms: i64,
    ) -> Result<Result<(Log, Option<PathBuf>), Swap>, MoveError> {
        let mut state = one.partition.lock_blocking();
        if state.stopped || one.partition.directory().is_offline() {
            return Ok(Err(Swap::Ended));
        }
        one.partition.replaced_from(Some(one.to));
        let completed = complete(&state, future, now_ms);
        one.partition.replaced_from(None);
        let log = match completed? {
            Ok(log) => log,
            Err(swap) => return Ok(Err(swap)),
        };
        let old_directory = Arc::clone(one.partition.directory());
        let old = std::mem::replace(&mut state.log, log);
        self.moved(&one.partition, one.to);
        let path = {
            let _call = old_directory.watch().begin();
            // A failure has taken the old directory offline; the next start finds the marker.
            old.mark_deleted().ok()
        };
        let wakes = state.settle();
        drop(state);
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
        if let (Some(left), Some(path)) = (left, path) {
            // A failure has taken the directory offline.
            let _ = left.sync();
            let due_ms = now_ms.saturating_add(folder_delay_ms(self.cluster()));
            self.bury(Buried::folder(Arc::clone(left), path, due_ms));
        }
    }
}

fn flush(future: &mut Future, now_ms: i64) -> Result<(), MoveError> {
    if let Some(log) = &mut future.log
        && let Some(work) = log.flush_plan()
    {
        let flushed = work.run()?;
        log.flushed(flushed, now_ms);
    }
    Ok(())
}

/// Copies what is left, if that is little, and gives the copy the partition's name: yields it.
fn complete(state: &State, future: &mut Future, now_ms: i64) -> Result<Result<Log, Swap>, MoveError> {
    let Future {
        log: copy,
        truncations,
    } = future;
    let Some(log) = copy.as_mut() else {
        return Ok(Err(Swap::Ended));
    };
    let mut caught_up = false;
    for _ in 0..LAST_PIECES {
        let chunk = state.log.chunk_behind(log)?;
        caught_up = log.put_chunk(chunk, truncations, now_ms)?.caught_up;
        if caught_up {
            break;
        }
    }
    if !caught_up {
        return Ok(Err(Swap::Again));
    }
    log.prepare_to_replace(&state.log, now_ms)?;
    log.take_name()?;
    Ok(copy.take().ok_or(Swap::Ended))
}
