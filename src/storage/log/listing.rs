//! What a partition's folder holds at a start, and the first pass over it: leftovers go, interrupted swaps are ended
//! (Kafka: `LogLoader.load`, first to third pass).
//!
//! A compaction or split writes `.cleaned` files, renames them to `.swap` (the highest offset first), the old ones to
//! `.deleted`, and then takes the `.swap` away. So while a `.cleaned` is left, the `.swap` files at and above it are not
//! complete and go; without one they replace what they cover.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::OpenError;
use crate::base::disk::Open;
use crate::base::ids::Offset;
use crate::storage::file_names::{FileKind, FileState, SegmentFile};
use crate::storage::folder::Folder;
use crate::storage::segment::walk::{HeaderWalk, WalkError};

/// The files of a folder that count.
#[derive(Default)]
pub(super) struct Listing {
    /// Base offsets of `.log` files and their bytes.
    pub logs: BTreeMap<Offset, u32>,
    pub offset_indexes: BTreeSet<Offset>,
    pub time_indexes: BTreeSet<Offset>,
    pub transaction_indexes: BTreeSet<Offset>,
    pub snapshots: BTreeSet<Offset>,
}

/// Reads the folder and clears it up.
pub(super) fn list(folder: &Folder) -> Result<Listing, OpenError> {
    let mut files = segment_files(folder)?;
    let changed = files.iter().any(|file| file.state != FileState::Live);
    if changed {
        remove_leftovers(folder, &mut files)?;
        finish_swaps(folder, &mut files)?;
        let synced = folder.disk().sync_directory(folder.path());
        synced.map_err(|error| folder.volume().failed("sync", folder.path(), &error))?;
    }
    let mut listing = Listing::default();
    for file in &files {
        let of = match file.kind {
            FileKind::Log => {
                listing.logs.insert(file.offset, log_size(folder, file.offset)?);
                continue;
            }
            FileKind::OffsetIndex => &mut listing.offset_indexes,
            FileKind::TimeIndex => &mut listing.time_indexes,
            FileKind::TransactionIndex => &mut listing.transaction_indexes,
            FileKind::Snapshot => &mut listing.snapshots,
        };
        of.insert(file.offset);
    }
    remove_orphans(folder, &mut listing)?;
    Ok(listing)
}

fn segment_files(folder: &Folder) -> Result<Vec<SegmentFile>, OpenError> {
    let entries = folder.disk().list(folder.path());
    let entries = entries.map_err(|error| folder.volume().failed("list", folder.path(), &error))?;
    let mut files = Vec::new();
    for entry in entries.iter().filter(|entry| !entry.is_directory) {
        match SegmentFile::parse(&entry.name) {
            Ok(file) => files.extend(file),
            Err(name) => {
                return Err(OpenError::FileName {
                    folder: folder.path().to_owned(),
                    name,
                });
            }
        }
    }
    Ok(files)
}

fn remove(folder: &Folder, file: &SegmentFile) -> Result<(), OpenError> {
    Ok(folder.remove(&folder.path().join(file.to_string()))?)
}

/// Removes `.deleted`, `.cleaned`, and the `.swap` files that a `.cleaned` one makes worthless.
fn remove_leftovers(folder: &Folder, files: &mut Vec<SegmentFile>) -> Result<(), OpenError> {
    let cleaned = files.iter().filter(|file| file.state == FileState::Cleaned);
    let first_cleaned = cleaned.map(|file| file.offset).min();
    let goes = |file: &SegmentFile| match file.state {
        FileState::Live => false,
        FileState::Deleted | FileState::Cleaned => true,
        FileState::Swap => first_cleaned.is_some_and(|first| file.offset >= first),
    };
    // The `.swap` files first: as long as a `.cleaned` one is left, the next start knows that they are worthless.
    for state in [FileState::Swap, FileState::Cleaned, FileState::Deleted] {
        for file in files.iter().filter(|file| file.state == state && goes(file)) {
            remove(folder, file)?;
        }
    }
    files.retain(|file| !goes(file));
    Ok(())
}

/// Ends swaps: what the new segments cover goes, and they get their names.
fn finish_swaps(folder: &Folder, files: &mut Vec<SegmentFile>) -> Result<(), OpenError> {
    let swaps: Vec<SegmentFile> = files
        .iter()
        .copied()
        .filter(|file| file.state == FileState::Swap)
        .collect();
    let mut covered: Option<(Offset, Offset)> = None;
    for swap in swaps.iter().filter(|swap| swap.kind == FileKind::Log) {
        let end = next_offset_of(folder, swap)?;
        let (low, high) = covered.unwrap_or((swap.offset, end));
        covered = Some((low.min(swap.offset), high.max(end)));
    }
    if let Some((low, high)) = covered {
        tracing::warn!(
            folder = %folder.path().display(),
            "ending an interrupted compaction of offsets {low} to {high}"
        );
        let goes =
            |file: &SegmentFile| file.state == FileState::Live && file.offset >= low && file.offset < high;
        for file in files.iter().filter(|file| goes(file)) {
            remove(folder, file)?;
        }
        files.retain(|file| !goes(file));
    }
    for swap in &swaps {
        let from = folder.path().join(swap.to_string());
        let to = folder.path_of(swap.offset, swap.kind);
        let renamed = folder.disk().rename(&from, &to);
        renamed.map_err(|error| folder.volume().failed("rename", &from, &error))?;
    }
    files.retain(|file| file.state == FileState::Live);
    for swap in swaps {
        let live = swap.in_state(FileState::Live);
        if !files.contains(&live) {
            files.push(live);
        }
    }
    Ok(())
}

/// The offset behind the last batch of a `.swap` file.
fn next_offset_of(folder: &Folder, swap: &SegmentFile) -> Result<Offset, OpenError> {
    let path = folder.path().join(swap.to_string());
    let failed = |action, error: &std::io::Error| OpenError::Io(folder.volume().failed(action, &path, error));
    let file = folder
        .disk()
        .open(&path, Open::Read)
        .map_err(|error| failed("open", &error))?;
    let length = file.length().map_err(|error| failed("read", &error))?;
    let mut walk = HeaderWalk::new(Arc::new(file), 0, u32::try_from(length).unwrap_or(u32::MAX));
    let mut next = swap.offset;
    loop {
        match walk.next_batch() {
            Ok(Some(found)) => next = found.header.next_offset(),
            // Recovery will find the same.
            Ok(None) | Err(WalkError::Corrupt { .. }) => return Ok(next),
            Err(WalkError::Io(error)) => return Err(failed("read", &error)),
        }
    }
}

fn log_size(folder: &Folder, base: Offset) -> Result<u32, OpenError> {
    let path = folder.path_of(base, FileKind::Log);
    let metadata = folder.disk().metadata(&path);
    let bytes = metadata
        .map_err(|error| folder.volume().failed("look at", &path, &error))?
        .length;
    match u32::try_from(bytes) {
        Ok(size) if i32::try_from(size).is_ok() => Ok(size),
        _ => Err(OpenError::TooLarge { path, bytes }),
    }
}

/// Removes index files without their log.
fn remove_orphans(folder: &Folder, listing: &mut Listing) -> Result<(), OpenError> {
    let logs = &listing.logs;
    for (kind, indexes) in [
        (FileKind::OffsetIndex, &mut listing.offset_indexes),
        (FileKind::TimeIndex, &mut listing.time_indexes),
        (FileKind::TransactionIndex, &mut listing.transaction_indexes),
    ] {
        let orphans: Vec<Offset> = indexes
            .iter()
            .copied()
            .filter(|base| !logs.contains_key(base))
            .collect();
        for base in orphans {
            let path = folder.path_of(base, kind);
            tracing::warn!("{} has no log and is removed", path.display());
            folder.remove(&path)?;
            indexes.remove(&base);
        }
    }
    Ok(())
}
