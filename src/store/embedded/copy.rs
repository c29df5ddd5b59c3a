//! One copy of the tree: a redb file in a log directory. All calls block; each copy has a thread of its own.
//!
//! The file is a plain one, which Kafka passes over in a log directory (an unknown folder would stop it). A new copy is
//! built beside its place and renamed, so that a file of this name is always whole. Each commit also notes which copies it
//! goes to, so that a later start knows which of them may know more than this one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::backends::InMemoryBackend;
use redb::{Builder, Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};

use super::file::Backend;
use super::record;
use crate::base::disk::{Disk, Open};
use crate::base::ids::Uuid;
use crate::store::Zxid;
use crate::store::path;
use crate::store::tree::{Record, Records};

/// The name of the file in each log directory.
pub const FILE_NAME: &str = "barnabas-store";
/// The format that this program writes, and the newest it reads.
pub const FORMAT: u32 = 1;

const NODES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("nodes");
const HEAD: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("head");
/// What redb may keep of the file in memory; the tree itself is in memory anyway.
const CACHE_BYTES: usize = 1 << 20;
/// A larger file is not read into memory to look at it.
const LOOK_MAX_BYTES: usize = 4 << 30;

/// The records of a tree, each with its key.
pub type Loaded = Vec<(Arc<str>, Arc<Record>)>;

/// What a copy says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// Which store it is a copy of.
    pub store: Uuid,
    /// The last change it has.
    pub zxid: Zxid,
}

/// One of the copies that a commit goes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// The copy: it stays the same where its directory gets another name.
    pub id: Uuid,
    /// Its directory, for people.
    pub directory: String,
}

/// An open copy.
pub struct Copy {
    database: Database,
    /// Where the file is.
    pub path: PathBuf,
    /// Which copy it is.
    pub id: Uuid,
    /// What the last commit that it has went to; nothing, where it was written before that was noted.
    pub members: Vec<Member>,
}

/// Why a copy cannot be used.
#[derive(Debug)]
pub enum CopyError {
    /// Its format is newer than this program.
    Newer(u32),
    /// The disk failed.
    Io(io::Error),
    /// The file is not what it should be.
    Damaged(String),
}

impl std::fmt::Display for CopyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Newer(format) => write!(f, "its format {format} is newer than {FORMAT}"),
            Self::Io(error) => error.fmt(f),
            Self::Damaged(what) => f.write_str(what),
        }
    }
}

impl From<redb::Error> for CopyError {
    fn from(error: redb::Error) -> Self {
        match error {
            // This is how redb reports bytes that it did not write.
            redb::Error::Io(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                ) =>
            {
                Self::Damaged(error.to_string())
            }
            redb::Error::Io(error) => Self::Io(error),
            other => Self::Damaged(other.to_string()),
        }
    }
}

/// Runs redb calls, whose errors are of many types.
fn redb<T>(call: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, CopyError> {
    call().map_err(CopyError::from)
}

impl Copy {
    /// The copy in `directory`; `None` when there is no such file. `id` is for one that has none yet.
    pub fn open(disk: &Disk, directory: &Path, id: Uuid) -> Result<Option<(Self, Head)>, CopyError> {
        let path = directory.join(FILE_NAME);
        let file = match disk.open(&path, Open::Existing) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(CopyError::Io(error)),
        };
        if file.length().map_err(CopyError::Io)? == 0 {
            return Err(CopyError::Damaged("the file is empty".to_owned()));
        }
        let backend = Backend::new(file, Arc::new(AtomicBool::new(false)));
        let mut copy = Self {
            database: builder(true)
                .create_with_backend(backend)
                .map_err(|error| CopyError::from(redb::Error::from(error)))?,
            path,
            id,
            members: Vec::new(),
        };
        let head = copy.head()?;
        copy.read_members()?;
        Ok(Some((copy, head)))
    }

    /// What lies at `path`, read into memory: nothing that is done to it reaches the file.
    pub fn in_memory(disk: &Disk, path: &Path) -> Result<Self, CopyError> {
        let bytes = disk.read(path, LOOK_MAX_BYTES).map_err(CopyError::Io)?;
        if bytes.is_empty() {
            return Err(CopyError::Damaged("the file is empty".to_owned()));
        }
        let backend = InMemoryBackend::new();
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let filled = backend.set_len(length).and_then(|()| backend.write(0, &bytes));
        filled.map_err(CopyError::Io)?;
        let copy = Self {
            database: builder(true)
                .create_with_backend(backend)
                .map_err(|error| CopyError::from(redb::Error::from(error)))?,
            path: path.to_owned(),
            id: Uuid::ZERO,
            members: Vec::new(),
        };
        // Refuses what a newer program has written.
        copy.head()?;
        Ok(copy)
    }

    /// Builds the copy `id` of `members`, with these records, in place of whatever is at its path.
    pub fn create<'a>(
        disk: &Disk,
        directory: &Path,
        head: Head,
        id: Uuid,
        members: &[Member],
        records: impl Iterator<Item = (&'a Arc<str>, &'a Arc<Record>)>,
    ) -> Result<Self, CopyError> {
        let path = directory.join(FILE_NAME);
        let building = directory.join(format!("{FILE_NAME}.tmp"));
        let file = disk.open(&building, Open::Truncate).map_err(CopyError::Io)?;
        let relaxed = Arc::new(AtomicBool::new(true));
        let backend = Backend::new(file, Arc::clone(&relaxed));
        let copy = Self {
            database: builder(false)
                .create_with_backend(backend)
                .map_err(|error| CopyError::from(redb::Error::from(error)))?,
            path,
            id,
            members: members.to_vec(),
        };
        redb(|| {
            let transaction = copy.database.begin_write()?;
            {
                let mut nodes = transaction.open_table(NODES)?;
                for (key, record) in records {
                    nodes.insert(&**key, record::encode(record).as_slice())?;
                }
                let mut table = transaction.open_table(HEAD)?;
                table.insert("format", FORMAT.to_be_bytes().as_slice())?;
                table.insert("store", head.store.0.as_slice())?;
                table.insert("zxid", head.zxid.to_be_bytes().as_slice())?;
                table.insert("copy", id.0.as_slice())?;
                table.insert("copies", encode(members).as_slice())?;
            }
            transaction.commit()?;
            Ok(())
        })?;
        relaxed.store(false, Ordering::Release);
        let durable = || {
            disk.open(&building, Open::Existing)?.sync()?;
            disk.rename(&building, &copy.path)?;
            disk.sync_directory(directory)
        };
        durable().map_err(CopyError::Io)?;
        Ok(copy)
    }

    fn head(&self) -> Result<Head, CopyError> {
        let (format, store, zxid) = redb(|| {
            let transaction = self.database.begin_read()?;
            let table = transaction.open_table(HEAD)?;
            let read = |name: &str| -> Result<Vec<u8>, redb::Error> {
                Ok(table
                    .get(name)?
                    .map_or_else(Vec::new, |value| value.value().to_vec()))
            };
            Ok((read("format")?, read("store")?, read("zxid")?))
        })?;
        let wrong = |what: &str| CopyError::Damaged(format!("the file does not say its {what}"));
        let format = u32::from_be_bytes(format.try_into().map_err(|_| wrong("format"))?);
        if format > FORMAT {
            return Err(CopyError::Newer(format));
        }
        Ok(Head {
            store: Uuid(store.try_into().map_err(|_| wrong("store"))?),
            zxid: Zxid::from_be_bytes(zxid.try_into().map_err(|_| wrong("zxid"))?),
        })
    }

    /// All records.
    pub fn load(&self) -> Result<Loaded, CopyError> {
        let mut damaged = None;
        let records = redb(|| {
            let transaction = self.database.begin_read()?;
            let nodes = transaction.open_table(NODES)?;
            let mut records = Vec::new();
            for entry in nodes.iter()? {
                let (key, value) = entry?;
                let key: Arc<str> = Arc::from(key.value());
                match record::decode(value.value()).filter(|_| path::of_key(&key).is_some()) {
                    Some(record) => records.push((key, Arc::new(record))),
                    None => damaged = Some(key),
                }
            }
            Ok(records)
        })?;
        match damaged {
            Some(key) => Err(CopyError::Damaged(format!("the node {key:?} cannot be read"))),
            None => Ok(records),
        }
    }

    /// Which copy this is, and of which.
    fn read_members(&mut self) -> Result<(), CopyError> {
        let (id, members) = redb(|| {
            let transaction = self.database.begin_read()?;
            let table = transaction.open_table(HEAD)?;
            let id = table.get("copy")?.map(|value| value.value().to_vec());
            let members = table.get("copies")?.map(|value| value.value().to_vec());
            Ok((id, members))
        })?;
        let wrong = || CopyError::Damaged("the file does not say which copies there are".to_owned());
        if let Some(id) = id {
            self.id = Uuid(id.try_into().map_err(|_| wrong())?);
        }
        if let Some(members) = members {
            self.members = decode(&members).ok_or_else(wrong)?;
        }
        Ok(())
    }

    /// Makes a change durable that goes to these copies: all of it or nothing.
    pub fn commit(&self, records: &Records, zxid: Zxid, members: &[Member]) -> Result<(), CopyError> {
        redb(|| {
            let transaction = self.database.begin_write()?;
            {
                let mut nodes = transaction.open_table(NODES)?;
                for (key, record) in records {
                    match record {
                        Some(record) => {
                            nodes.insert(&**key, record::encode(record).as_slice())?;
                        }
                        None => {
                            nodes.remove(&**key)?;
                        }
                    }
                }
                let mut head = transaction.open_table(HEAD)?;
                head.insert("zxid", zxid.to_be_bytes().as_slice())?;
                head.insert("copy", self.id.0.as_slice())?;
                head.insert("copies", encode(members).as_slice())?;
            }
            transaction.commit()?;
            Ok(())
        })
    }
}

/// Each member's id, the length of its directory's name in two bytes, and the name.
fn encode(members: &[Member]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for member in members {
        let name = member.directory.as_str();
        let name = name
            .get(..name.floor_char_boundary(usize::from(u16::MAX)))
            .unwrap_or_default();
        bytes.extend_from_slice(&member.id.0);
        bytes.extend_from_slice(&u16::try_from(name.len()).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend_from_slice(name.as_bytes());
    }
    bytes
}

fn decode(mut bytes: &[u8]) -> Option<Vec<Member>> {
    let mut members = Vec::new();
    while !bytes.is_empty() {
        let (id, rest) = bytes.split_first_chunk::<16>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (name, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        members.push(Member {
            id: Uuid(*id),
            directory: String::from_utf8_lossy(name).into_owned(),
        });
        bytes = rest;
    }
    Some(members)
}

fn builder(check: bool) -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    // Without the check redb may panic on a file that was altered behind its back.
    builder.set_check_integrity_on_open(check);
    builder
}

#[cfg(test)]
impl Copy {
    /// Lets the file be one of before it was noted which copies there are.
    pub fn forget_members(&self) {
        let transaction = self.database.begin_write().unwrap();
        {
            let mut head = transaction.open_table(HEAD).unwrap();
            head.remove("copy").unwrap();
            head.remove("copies").unwrap();
        }
        transaction.commit().unwrap();
    }

    /// Lets the file say that it is of another format.
    pub fn set_format(&self, format: u32) {
        let transaction = self.database.begin_write().unwrap();
        transaction
            .open_table(HEAD)
            .unwrap()
            .insert("format", format.to_be_bytes().as_slice())
            .unwrap();
        transaction.commit().unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_round_trip_and_half_of_one_is_refused() {
        let member = |id: u8, directory: &str| Member {
            id: Uuid([id; 16]),
            directory: directory.to_owned(),
        };
        let members = vec![member(1, "/a"), member(2, ""), member(3, "/ü/c")];
        let bytes = encode(&members);
        assert_eq!(decode(&bytes), Some(members));
        assert_eq!(decode(&[]), Some(Vec::new()));
        let whole = [0, 20, 38];
        for length in (0..bytes.len()).filter(|length| !whole.contains(length)) {
            assert_eq!(decode(&bytes[..length]), None, "{length}");
        }
    }
}
