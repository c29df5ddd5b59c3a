//! Which copy a start believes, and what becomes of the others.
//!
//! The newest by zxid is believed. Copies that are behind, or that a directory lacks, are written anew from it. What
//! cannot be read is passed over as long as another copy can; a file of a newer program, or of another store, stops
//! the start.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::copy::{Copy, CopyError, FILE_NAME, Head};
use super::writer::{Kept, begin};
use crate::base::disk::Disk;
use crate::base::ids::Uuid;
use crate::base::task::Pool;
use crate::store::tree::Tree;

/// Why a store could not be opened.
#[derive(Debug)]
pub enum OpenStoreError {
    /// A thread could not be started.
    Thread(std::io::Error),
    /// A file has a newer format than this program knows.
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
    /// The files belong to different stores.
    Different {
        /// A file of the one.
        one: PathBuf,
        /// A file of the other.
        other: PathBuf,
    },
    /// No copy can be read or written.
    Unusable {
        /// A file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl std::fmt::Display for OpenStoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Thread(error) => write!(f, "cannot start a thread for the store: {error}"),
            Self::Newer { path, format } => write!(
                f,
                "{}: format {format} was written by a newer version of Barnabas; this one reads up to {}",
                path.display(),
                super::copy::FORMAT
            ),
            Self::Different { one, other } => write!(
                f,
                "{} and {} belong to different brokers: one of their directories is in the wrong log.dirs",
                one.display(),
                other.display()
            ),
            Self::Unusable { path, reason } => write!(f, "{}: {reason}", path.display()),
        }
    }
}

impl std::error::Error for OpenStoreError {}

/// What was found in a directory.
enum Found {
    Copy(Copy, Head),
    Missing,
    Unusable(CopyError),
}

/// Opens the copies in `directories` in parallel; yields the tree, which store it is, and the copies to keep up.
pub(super) async fn open(
    disk: &Disk,
    directories: &[PathBuf],
    new_store: Uuid,
) -> Result<(Tree, Vec<Kept>), OpenStoreError> {
    let mut waiting = Vec::new();
    for directory in directories {
        let pool = Pool::start("store", 1).map_err(OpenStoreError::Thread)?;
        let (disk, at) = (disk.clone(), directory.clone());
        let found = begin(&pool, move || Copy::open(&disk, &at));
        waiting.push((directory.clone(), pool, found));
    }
    let mut found = Vec::new();
    for (directory, pool, answer) in waiting {
        let state = match answer.await {
            Ok(Ok(Some((copy, head)))) => Found::Copy(copy, head),
            Ok(Ok(None)) => Found::Missing,
            Ok(Err(CopyError::Newer(format))) => {
                let path = directory.join(FILE_NAME);
                return Err(OpenStoreError::Newer { path, format });
            }
            Ok(Err(error)) => Found::Unusable(error),
            Err(_) => Found::Unusable(CopyError::Damaged("reading it failed badly".to_owned())),
        };
        found.push((directory, pool, state));
    }

    let heads = || {
        found.iter().filter_map(|(directory, _, state)| match state {
            Found::Copy(_, head) => Some((directory, *head)),
            Found::Missing | Found::Unusable(_) => None,
        })
    };
    let newest = heads().max_by_key(|(_, head)| head.zxid);
    if let Some((one, head)) = newest
        && let Some((other, _)) = heads().find(|(_, other)| other.store != head.store)
    {
        return Err(OpenStoreError::Different {
            one: one.join(FILE_NAME),
            other: other.join(FILE_NAME),
        });
    }
    let head = newest.map(|(_, head)| head);
    if head.is_none()
        && let Some((directory, error)) = found.iter().find_map(|(directory, _, state)| match state {
            Found::Unusable(error) => Some((directory, error)),
            Found::Copy(..) | Found::Missing => None,
        })
    {
        return Err(unusable(directory, error));
    }
    match head {
        Some(head) => keep(disk, head, found).await,
        None => create(disk, new_store, found).await,
    }
}

fn unusable(directory: &Path, error: &CopyError) -> OpenStoreError {
    OpenStoreError::Unusable {
        path: directory.join(FILE_NAME),
        reason: error.to_string(),
    }
}

/// A new store in every directory.
async fn create(
    disk: &Disk,
    store: Uuid,
    found: Vec<(PathBuf, Pool, Found)>,
) -> Result<(Tree, Vec<Kept>), OpenStoreError> {
    let tree = Tree::new();
    let head = Head { store, zxid: 0 };
    let directories = found
        .into_iter()
        .map(|(directory, pool, _)| (directory, pool))
        .collect();
    let kept = build(disk, head, &tree, directories).await?;
    Ok((tree, kept))
}

/// The newest copy, and the others brought up to it.
async fn keep(
    disk: &Disk,
    head: Head,
    found: Vec<(PathBuf, Pool, Found)>,
) -> Result<(Tree, Vec<Kept>), OpenStoreError> {
    let mut kept: Vec<Kept> = Vec::new();
    let mut behind = Vec::new();
    for (directory, pool, state) in found {
        match state {
            Found::Copy(copy, other) if other.zxid == head.zxid => kept.push(Kept {
                copy: Arc::new(copy),
                pool,
            }),
            Found::Copy(copy, other) => {
                tracing::info!(
                    "{} is behind the newest copy ({} < {}) and is written anew",
                    copy.path.display(),
                    other.zxid,
                    head.zxid
                );
                behind.push((directory, pool));
            }
            Found::Missing => behind.push((directory, pool)),
            Found::Unusable(CopyError::Io(error)) => {
                tracing::error!(
                    "{}/{FILE_NAME} cannot be read and is left out: {error}",
                    directory.display()
                );
            }
            Found::Unusable(error) => {
                tracing::warn!(
                    "{}/{FILE_NAME} is damaged and is written anew from another copy: {error}",
                    directory.display()
                );
                let path = directory.join(FILE_NAME);
                if let Err(error) = disk.rename(&path, &directory.join(format!("{FILE_NAME}.damaged"))) {
                    tracing::error!("{} cannot be moved aside: {error}", path.display());
                }
                behind.push((directory, pool));
            }
        }
    }
    let (Some(source), false) = (kept.first(), kept.is_empty()) else {
        return Err(OpenStoreError::Unusable {
            path: PathBuf::from(FILE_NAME),
            reason: "no copy is left".to_owned(),
        });
    };
    let (copy, path) = (Arc::clone(&source.copy), source.copy.path.clone());
    let records = match begin(&source.pool, move || copy.load()).await {
        Ok(Ok(records)) => records,
        Ok(Err(error)) => {
            return Err(OpenStoreError::Unusable {
                path,
                reason: error.to_string(),
            });
        }
        Err(_) => {
            return Err(OpenStoreError::Unusable {
                path,
                reason: "reading it failed badly".to_owned(),
            });
        }
    };
    let tree = Tree::restore(records, head.zxid);
    match build(disk, head, &tree, behind).await {
        Ok(built) => kept.extend(built),
        Err(error) => tracing::error!("a copy of the store could not be written: {error}"),
    }
    Ok((tree, kept))
}

/// Writes the tree as a new copy into each directory; those that fail are left out, unless all do.
async fn build(
    disk: &Disk,
    head: Head,
    tree: &Tree,
    directories: Vec<(PathBuf, Pool)>,
) -> Result<Vec<Kept>, OpenStoreError> {
    let mut waiting = Vec::new();
    for (directory, pool) in directories {
        let (disk, at, tree) = (disk.clone(), directory.clone(), tree.clone());
        let built = begin(&pool, move || Copy::create(&disk, &at, head, tree.records()));
        waiting.push((directory, pool, built));
    }
    let mut kept = Vec::new();
    let mut failed = None;
    for (directory, pool, built) in waiting {
        match built.await {
            Ok(Ok(copy)) => kept.push(Kept {
                copy: Arc::new(copy),
                pool,
            }),
            Ok(Err(error)) => {
                tracing::error!("{}/{FILE_NAME} cannot be written: {error}", directory.display());
                failed = Some(unusable(&directory, &error));
            }
            Err(_) => {
                let error = CopyError::Damaged("writing it failed badly".to_owned());
                failed = Some(unusable(&directory, &error));
            }
        }
    }
    match failed {
        Some(error) if kept.is_empty() => Err(error),
        _ => Ok(kept),
    }
}
