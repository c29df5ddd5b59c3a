//! Which copy a start believes, and what becomes of the others.
//!
//! The newest by zxid is believed, once all copies are there that its last commit went to: one that is missing may have
//! gone on without the others. Copies that are behind, or that a directory lacks, are written anew from it. A file of a newer
//! program, or of another store, stops the start, and so does a missing copy, unless the user lets it go.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::copy::{Copy, CopyError, FILE_NAME, Head, Member};
use super::writer::{Kept, begin};
use crate::base::disk::Disk;
use crate::base::ids::Uuid;
use crate::base::random::Random;
use crate::base::task::Pool;
use crate::store::tree::{Records, Tree};

/// The key that lets missing copies go.
const ACCEPT: &str = "accept.missing.log.dirs";

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
    /// Another copy may know more than the newest that was found.
    Missing {
        /// The newest.
        path: PathBuf,
        /// The directories of the others, and what is wrong with them where that is known.
        directories: Vec<String>,
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
            Self::Missing { path, directories } => write!(
                f,
                "{} may not be the newest state of this broker: the copy in {} is missing; bring it back, or start once \
                 with {ACCEPT}=true to go on with what is here, without what only that copy knows",
                path.display(),
                directories.join(" and that in ")
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
    random: &Random,
    accept_missing: bool,
) -> Result<(Tree, Vec<Kept>, Uuid), OpenStoreError> {
    let mut waiting = Vec::new();
    for directory in directories {
        let pool = Pool::start("store", 1).map_err(OpenStoreError::Thread)?;
        let (disk, at, id) = (disk.clone(), directory.clone(), random.uuid());
        let found = begin(&pool, move || Copy::open(&disk, &at, id));
        waiting.push((directory.clone(), pool, found));
    }
    let mut found = Vec::new();
    let mut ids = BTreeSet::new();
    for (directory, pool, answer) in waiting {
        let state = match answer.await {
            Ok(Ok(Some((mut copy, head)))) => {
                // A directory that was copied is one more copy.
                while !ids.insert(copy.id) {
                    copy.id = random.uuid();
                }
                Found::Copy(copy, head)
            }
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
    let Some(head) = head else {
        return create(disk, random, found).await;
    };
    if let Err(missing) = complete(head, &found) {
        if !accept_missing {
            return Err(missing);
        }
        tracing::warn!("{ACCEPT}: {missing}");
    }
    keep(disk, head, found, random).await
}

/// Checks that nobody can know more than the newest copies: all that the last commit of one of them went to are there.
fn complete(head: Head, found: &[(PathBuf, Pool, Found)]) -> Result<(), OpenStoreError> {
    let copies = || {
        found.iter().filter_map(|(_, _, state)| match state {
            Found::Copy(copy, head) => Some((copy, head)),
            Found::Missing | Found::Unusable(_) => None,
        })
    };
    let ids: BTreeSet<Uuid> = copies().map(|(copy, _)| copy.id).collect();
    let mut least: Option<(&Copy, Vec<&Member>)> = None;
    for (copy, _) in copies().filter(|(_, other)| other.zxid == head.zxid) {
        let missing = copy.members.iter().filter(|member| !ids.contains(&member.id));
        let missing: Vec<&Member> = missing.collect();
        if least
            .as_ref()
            .is_none_or(|(_, least)| missing.len() < least.len())
        {
            least = Some((copy, missing));
        }
    }
    let Some((copy, missing)) = least.filter(|(_, missing)| !missing.is_empty()) else {
        return Ok(());
    };
    let named = |member: &Member| {
        let at = |(directory, _, state): &&(PathBuf, Pool, Found)| {
            matches!(state, Found::Unusable(_)) && directory.display().to_string() == member.directory
        };
        match found.iter().find(at) {
            Some((_, _, Found::Unusable(error))) => format!("{} ({error})", member.directory),
            _ => member.directory.clone(),
        }
    };
    Err(OpenStoreError::Missing {
        path: copy.path.clone(),
        directories: missing.into_iter().map(named).collect(),
    })
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
    random: &Random,
    found: Vec<(PathBuf, Pool, Found)>,
) -> Result<(Tree, Vec<Kept>, Uuid), OpenStoreError> {
    let tree = Tree::new();
    let head = Head {
        store: random.uuid(),
        zxid: 0,
    };
    let directories = found
        .into_iter()
        .map(|(directory, pool, _)| (directory, pool))
        .collect();
    let kept = build(disk, head, &tree, directories, Vec::new(), random).await?;
    Ok((tree, kept, head.store))
}

/// The newest copy, and the others brought up to it.
async fn keep(
    disk: &Disk,
    head: Head,
    found: Vec<(PathBuf, Pool, Found)>,
    random: &Random,
) -> Result<(Tree, Vec<Kept>, Uuid), OpenStoreError> {
    let mut kept: Vec<Kept> = Vec::new();
    let mut behind = Vec::new();
    for (directory, pool, state) in found {
        match state {
            Found::Copy(copy, other) if other.zxid == head.zxid => kept.push(Kept {
                copy: Arc::new(copy),
                pool,
                owed: Records::new(),
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
    let members = kept.iter().map(Kept::member).collect();
    match build(disk, head, &tree, behind, members, random).await {
        Ok(built) => kept.extend(built),
        Err(error) => tracing::error!("a copy of the store could not be written: {error}"),
    }
    Ok((tree, kept, head.store))
}

/// Writes the tree as a new copy, beside those of `members`, into each directory; those that fail are left out, unless all do.
async fn build(
    disk: &Disk,
    head: Head,
    tree: &Tree,
    directories: Vec<(PathBuf, Pool)>,
    mut members: Vec<Member>,
    random: &Random,
) -> Result<Vec<Kept>, OpenStoreError> {
    let mut waiting = Vec::new();
    let ids: Vec<Uuid> = directories.iter().map(|_| random.uuid()).collect();
    members.extend(ids.iter().zip(&directories).map(|(id, (directory, _))| Member {
        id: *id,
        directory: directory.display().to_string(),
    }));
    let members: Arc<[Member]> = members.into();
    for (id, (directory, pool)) in ids.into_iter().zip(directories) {
        let (disk, at, tree) = (disk.clone(), directory.clone(), tree.clone());
        let members = Arc::clone(&members);
        let built = begin(&pool, move || {
            Copy::create(&disk, &at, head, id, &members, tree.records())
        });
        waiting.push((directory, pool, built));
    }
    let mut kept = Vec::new();
    let mut failed = None;
    for (directory, pool, built) in waiting {
        match built.await {
            Ok(Ok(copy)) => kept.push(Kept {
                copy: Arc::new(copy),
                pool,
                owed: Records::new(),
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
