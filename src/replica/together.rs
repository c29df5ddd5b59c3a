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

/// Syncs the logs of a directory.
pub(super) fn sync_works(
    directory: &HostDirectory,
    works: Vec<(Arc<Partition>, FlushWork)>,
) -> Result<Vec<(Arc<Partition>, Flushed)>, LogIoError> {
    let volume = directory.volume();
    let (together, single) = separated(volume, works, |(_, work)| work.folder());
    flush_together(volume, &together)?;
    let mut synced = Vec::new();
    for (partition, work) in single {
        synced.push((partition, work.run()?));
    }
    synced.extend(
        together
            .into_iter()
            .map(|(partition, work)| (partition, work.synced())),
    );
    Ok(synced)
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
    create_together(volume, &together)?;
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

fn flush_together(volume: &Volume, works: &[(Arc<Partition>, FlushWork)]) -> Result<(), LogIoError> {
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

/// The same for new logs. A topic may be deleted meanwhile, and another one made under its name: its folder is looked at
/// under the partition's lock before anything is put there.
fn create_together(volume: &Volume, works: &[(Arc<Partition>, CreationWork)]) -> Result<(), LogIoError> {
    if works.is_empty() {
        return Ok(());
    }
    let each = |step: fn(&CreationWork) -> Result<(), LogIoError>| {
        works.iter().try_for_each(|(partition, work)| {
            let state = partition.lock_blocking();
            if is_of(work, &state.log) {
                step(work)?;
            }
            Ok(())
        })
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
    let done = volume.disk().sync_file_system(volume.path());
    done.map_err(|error| volume.failed("sync", volume.path(), &error))
}
