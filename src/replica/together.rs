//! Many logs made durable at once: the whole file system is synced instead of each file of each log, as one sync after the
//! other would take minutes on a slow disk.
//!
//! Invariant: what is answered as done is durable, as if each log had been synced by itself. Called by the clean stop and
//! after the creation of logs, on the pool of their directory; blocks.

use std::path::Path;
use std::sync::{Arc, PoisonError};

use super::directories::HostDirectory;
use super::partition::Partition;
use crate::storage::log::{CreationWork, FlushWork, Flushed, Log};
use crate::storage::volume::{LogIoError, Volume};

/// From so many logs on they are synced together. Below, what others wrote to the file system and have not synced would
/// cost more.
const SYNC_TOGETHER: usize = 32;

/// Syncs logs of a directory; what is done is answered with whose it is.
pub(super) fn sync_works<T>(
    directory: &HostDirectory,
    works: Vec<(T, FlushWork)>,
) -> Result<Vec<(T, Flushed)>, LogIoError> {
    let volume = directory.volume();
    let (together, single) = separated(volume, works, |(_, work)| work.folder());
    flush_together(volume, &together)?;
    let mut synced = Vec::new();
    for (whose, work) in single {
        synced.push((whose, work.run()?));
    }
    synced.extend(together.into_iter().map(|(whose, work)| (whose, work.synced())));
    Ok(synced)
}

/// Completes logs of a directory for a clean stop. Nobody else has them any more.
pub(super) fn close_logs<'a>(
    directory: &HostDirectory,
    logs: impl Iterator<Item = &'a mut Log>,
    now_ms: i64,
) -> Result<(), LogIoError> {
    let volume = directory.volume();
    let mut works = Vec::new();
    let mut old = Vec::new();
    for log in logs {
        match log.creation_work() {
            Some(work) => works.push((log, work)),
            None => old.push(log),
        }
    }
    let (together, single) = separated(volume, works, |(_, work)| work.folder());
    create_together(volume, &together, |_, work, step| step(work))?;
    for (log, work) in together {
        log.created(work.synced());
        old.push(log);
    }
    // These see to themselves.
    old.extend(single.into_iter().map(|(log, _)| log));
    let mut works = Vec::new();
    for log in old {
        if let Some(work) = log.close()? {
            works.push((log, work));
        }
    }
    for (log, flushed) in sync_works(directory, works)? {
        log.flushed(flushed, now_ms);
    }
    Ok(())
}

/// Writes what those of these partitions that are new lack on disk (`partition.metadata`), if they are many; yields those
/// that are left to be done one by one.
pub(super) fn create(
    directory: &HostDirectory,
    partitions: &[Arc<Partition>],
) -> Result<Vec<Arc<Partition>>, LogIoError> {
    let volume = directory.volume();
    // One after the other: what one has staged, and not yet synced, the other must not put in its place. Who comes
    // second finds it done.
    let _alone = directory.creating.lock().unwrap_or_else(PoisonError::into_inner);
    let new = partitions.iter().filter_map(|partition| {
        let work = partition.lock_blocking().log.creation_work()?;
        Some((Arc::clone(partition), work))
    });
    let (together, single) = separated(volume, new.collect(), |(_, work)| work.folder());
    // A log may get another folder meanwhile: that is looked at under the partition's lock before anything is put there.
    // Of one that is deleted the work knows.
    create_together(volume, &together, |partition, work, step| {
        let state = partition.lock_blocking();
        if is_of(work, &state.log) {
            step(work)?;
        }
        Ok(())
    })?;
    for (partition, work) in together {
        let mut state = partition.lock_blocking();
        if is_of(&work, &state.log) {
            state.log.created(work.synced());
        }
    }
    Ok(single.into_iter().map(|(partition, _)| partition).collect())
}

/// The works that are to be done together, and the others: all, when they are few or whole file systems cannot be synced,
/// and those whose folder is a link to another file system.
fn separated<W>(volume: &Volume, works: Vec<W>, folder: impl Fn(&W) -> &Path) -> (Vec<W>, Vec<W>) {
    let disk = volume.disk();
    if works.len() < SYNC_TOGETHER || !disk.can_sync_file_systems() {
        return (Vec::new(), works);
    }
    let here = disk.file_system(volume.path()).ok();
    let (mut together, mut single): (Vec<_>, Vec<_>) = works
        .into_iter()
        .partition(|work| here.is_some() && disk.file_system(folder(work)).ok() == here);
    if together.len() < SYNC_TOGETHER {
        single.append(&mut together);
    }
    (together, single)
}

fn flush_together<T>(volume: &Volume, works: &[(T, FlushWork)]) -> Result<(), LogIoError> {
    if works.is_empty() {
        return Ok(());
    }
    for (_, work) in works {
        work.stage()?;
    }
    sync(volume)?;
    for (_, work) in works {
        work.publish()?;
    }
    sync(volume)
}

/// A part of the creation of a log.
type CreationStep = fn(&CreationWork) -> Result<(), LogIoError>;

/// The same for new logs; `carry_out` does a step for one of them.
fn create_together<T>(
    volume: &Volume,
    works: &[(T, CreationWork)],
    carry_out: impl Fn(&T, &CreationWork, CreationStep) -> Result<(), LogIoError>,
) -> Result<(), LogIoError> {
    if works.is_empty() {
        return Ok(());
    }
    let each = |step: CreationStep| {
        works
            .iter()
            .try_for_each(|(whose, work)| carry_out(whose, work, step))
    };
    each(CreationWork::stage)?;
    sync(volume)?;
    each(CreationWork::publish)?;
    sync(volume)
}

fn is_of(work: &CreationWork, log: &Log) -> bool {
    log.path() == work.folder()
}

fn sync(volume: &Volume) -> Result<(), LogIoError> {
    let done = volume.patiently(|disk| disk.sync_file_system(volume.path()));
    done.map_err(|error| volume.failed("sync", volume.path(), &error))
}
