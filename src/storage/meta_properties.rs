//! `meta.properties`: the cluster and broker that a log directory belongs to (Kafka: `MetaProperties`,
//! `MetaPropertiesEnsemble`), in the syntax of Java's property files.
//!
//! Invariant: version 0, the one of ZooKeeper mode; a file of version 1 (KRaft) is refused. Properties that are not
//! ours stay in the file. Called by the log directory.

use crate::base::planted::planted;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::file_names::META_PROPERTIES;
use crate::base::disk::Disk;
use crate::base::ids::{BrokerId, Uuid};

mod java_properties;

use java_properties::Properties;

/// No such file is longer.
const MAX_BYTES: usize = 1 << 16;

const VERSION: &str = "version";
const CLUSTER_ID: &str = "cluster.id";
const BROKER_ID: &str = "broker.id";
const DIRECTORY_ID: &str = "directory.id";

/// What the file says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MetaProperties {
    /// `cluster.id`.
    pub cluster_id: Option<String>,
    /// `broker.id`.
    pub broker_id: Option<BrokerId>,
    /// `directory.id`: written by KRaft and by a broker in migration; kept when it is there.
    pub directory_id: Option<Uuid>,
    /// Properties that this release does not know.
    pub other: BTreeMap<String, String>,
}

/// Why the file could not be used.
#[derive(Debug)]
pub enum MetaPropertiesError {
    /// The disk failed, or the file is too long.
    Io(io::Error),
    /// Broken syntax.
    Malformed(&'static str),
    /// A property has a value it cannot have.
    InvalidValue {
        /// The property.
        key: &'static str,
        /// Its value.
        value: String,
    },
    /// A version other than 0: the directory belongs to a KRaft cluster, or to a later release.
    UnsupportedVersion(i32),
}

impl fmt::Display for MetaPropertiesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Malformed(reason) => f.write_str(reason),
            Self::InvalidValue { key, value } => write!(f, "{key} cannot be {value:?}"),
            Self::UnsupportedVersion(version) => write!(
                f,
                "version {version} is not supported: only 0, of brokers that work with ZooKeeper or alone"
            ),
        }
    }
}

impl std::error::Error for MetaPropertiesError {}

impl From<io::Error> for MetaPropertiesError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl MetaProperties {
    /// Reads the contents of a file.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetaPropertiesError> {
        let mut other = java_properties::parse(bytes).map_err(MetaPropertiesError::Malformed)?;
        let version = take(&mut other, VERSION, |text| text.parse().ok())?.unwrap_or(0);
        if version != 0 {
            return Err(MetaPropertiesError::UnsupportedVersion(version));
        }
        Ok(Self {
            cluster_id: other.remove(CLUSTER_ID),
            broker_id: take(&mut other, BROKER_ID, |text| text.parse().ok().map(BrokerId))?,
            directory_id: take(&mut other, DIRECTORY_ID, |text| {
                Uuid::parse(text).filter(|id| !is_reserved(id))
            })?,
            other,
        })
    }

    /// The contents of the file; `now_ms` goes into its second line, as Java writes it.
    pub fn format(&self, now_ms: i64) -> Vec<u8> {
        let mut properties = self.other.clone();
        let ours = [
            (VERSION, Some("0".to_owned())),
            (CLUSTER_ID, self.cluster_id.clone()),
            (BROKER_ID, self.broker_id.map(|id| id.to_string())),
            (DIRECTORY_ID, self.directory_id.map(|id| id.to_string())),
        ];
        for (key, value) in ours {
            if let Some(value) = value {
                properties.insert(key.to_owned(), value);
            }
        }
        java_properties::format(&properties, now_ms)
    }
}

fn take<Value>(
    properties: &mut Properties,
    key: &'static str,
    parse: impl Fn(&str) -> Option<Value>,
) -> Result<Option<Value>, MetaPropertiesError> {
    let Some(text) = properties.remove(key) else {
        return Ok(None);
    };
    match parse(text.trim()) {
        Some(value) => Ok(Some(value)),
        None => Err(MetaPropertiesError::InvalidValue { key, value: text }),
    }
}

/// Ids 0 to 99 stand for "unassigned", "lost" and the like (KIP-858).
fn is_reserved(id: &Uuid) -> bool {
    u128::from_be_bytes(id.0) < planted!("meta-reserved-id", 1, 100)
}

/// Reads the file of a log directory; `None` when there is none yet.
pub fn read(disk: &Disk, log_directory: &Path) -> Result<Option<MetaProperties>, MetaPropertiesError> {
    match disk.read(&log_directory.join(META_PROPERTIES), MAX_BYTES) {
        Ok(bytes) => MetaProperties::parse(&bytes).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Writes the file of a log directory, durably, unless it says the same already. Answers whether it wrote.
pub fn write(
    disk: &Disk,
    log_directory: &Path,
    properties: &MetaProperties,
    now_ms: i64,
) -> Result<bool, MetaPropertiesError> {
    if read(disk, log_directory)?.as_ref() == Some(properties) {
        return Ok(false);
    }
    disk.replace(&log_directory.join(META_PROPERTIES), &properties.format(now_ms))?;
    Ok(true)
}

/// How log directories contradict each other or what is expected of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Contradiction {
    /// `cluster.id` is another.
    ClusterId {
        /// Where.
        log_directory: PathBuf,
        /// As it stands there.
        found: String,
        /// As it should be.
        expected: String,
    },
    /// `broker.id` is another.
    BrokerId {
        /// Where.
        log_directory: PathBuf,
        /// As it stands there.
        found: BrokerId,
        /// As it should be.
        expected: BrokerId,
    },
    /// Two directories have the same `directory.id`: one is a copy.
    DirectoryId {
        /// One of them.
        log_directory: PathBuf,
        /// The other one.
        other: PathBuf,
    },
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClusterId {
                log_directory,
                found,
                expected,
            } => write!(
                f,
                "{} belongs to the cluster {found}, not to {expected}",
                log_directory.display()
            ),
            Self::BrokerId {
                log_directory,
                found,
                expected,
            } => write!(
                f,
                "{} belongs to the broker {found}, not to {expected}",
                log_directory.display()
            ),
            Self::DirectoryId { log_directory, other } => write!(
                f,
                "{} and {} have the same directory.id",
                log_directory.display(),
                other.display()
            ),
        }
    }
}

impl std::error::Error for Contradiction {}

/// Whom log directories belong to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Owner {
    /// The cluster.
    pub cluster_id: Option<String>,
    /// The broker.
    pub broker_id: Option<BrokerId>,
}

/// Checks that all directories belong to one broker of one cluster, the expected one where that is known (Kafka:
/// `MetaPropertiesEnsemble.verify`). Answers who it is, as far as it is known now.
pub fn verify<'a>(
    expected: Owner,
    directories: impl IntoIterator<Item = (&'a Path, &'a MetaProperties)>,
) -> Result<Owner, Contradiction> {
    let mut owner = expected;
    let mut ids: BTreeMap<Uuid, &Path> = BTreeMap::new();
    for (path, properties) in directories {
        if let Some(found) = &properties.cluster_id {
            let expected = owner.cluster_id.get_or_insert_with(|| found.clone());
            if expected != found {
                return Err(Contradiction::ClusterId {
                    log_directory: path.to_owned(),
                    found: found.clone(),
                    expected: expected.clone(),
                });
            }
        }
        if let Some(found) = properties.broker_id {
            let expected = *owner.broker_id.get_or_insert(found);
            if expected != found {
                return Err(Contradiction::BrokerId {
                    log_directory: path.to_owned(),
                    found,
                    expected,
                });
            }
        }
        if let Some(other) = properties.directory_id.and_then(|id| ids.insert(id, path)) {
            return Err(Contradiction::DirectoryId {
                log_directory: path.to_owned(),
                other: other.to_owned(),
            });
        }
    }
    Ok(owner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::disk::memory::MemoryDisk;

    fn properties(text: &str) -> Result<MetaProperties, MetaPropertiesError> {
        MetaProperties::parse(text.as_bytes())
    }

    #[test]
    fn reads_version_0_written_or_implied() {
        let expected = MetaProperties {
            cluster_id: Some("TyR_tJ7JSDiu4x54Xe226Q".to_owned()),
            broker_id: Some(BrokerId(10)),
            ..MetaProperties::default()
        };
        let written =
            "#\n#Sun Nov 22 11:03:03 UTC 2026\nbroker.id=10\nversion=0\ncluster.id=TyR_tJ7JSDiu4x54Xe226Q\n";
        assert_eq!(properties(written).unwrap(), expected);
        assert_eq!(
            properties("cluster.id=TyR_tJ7JSDiu4x54Xe226Q\nbroker.id=10").unwrap(),
            expected
        );
        assert_eq!(MetaProperties::parse(&expected.format(0)).unwrap(), expected);
    }

    #[test]
    fn refuses_kraft_and_nonsense() {
        assert!(matches!(
            properties("version=1\nnode.id=1\ncluster.id=x"),
            Err(MetaPropertiesError::UnsupportedVersion(1))
        ));
        for bad in [
            "version=x",
            "broker.id=x",
            "broker.id=",
            "directory.id=zz",
            "directory.id=AAAAAAAAAAAAAAAAAAAAAA",
            "directory.id=\\u00",
        ] {
            assert!(properties(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keeps_what_it_does_not_know() {
        let read = properties("version=0\ndirectory.id=BwcHBwcHBwcHBwcHBwcHBw\nrack\\ name=a\\=b").unwrap();
        assert_eq!(read.directory_id, Some(Uuid([7; 16])));
        assert_eq!(read.other.get("rack name").map(String::as_str), Some("a=b"));
        assert_eq!(MetaProperties::parse(&read.format(1)).unwrap(), read);
    }

    #[test]
    fn is_written_only_when_it_changes() {
        let disk = Disk::memory(MemoryDisk::new());
        let folder = Path::new("/data");
        disk.create_directory(folder).unwrap();
        assert_eq!(read(&disk, folder).unwrap(), None);
        let mut properties = MetaProperties {
            broker_id: Some(BrokerId(1)),
            ..MetaProperties::default()
        };
        assert!(write(&disk, folder, &properties, 0).unwrap());
        assert!(!write(&disk, folder, &properties, 1).unwrap());
        properties.cluster_id = Some("c".to_owned());
        assert!(write(&disk, folder, &properties, 2).unwrap());
        assert_eq!(read(&disk, folder).unwrap(), Some(properties));
    }

    #[test]
    fn directories_must_agree() {
        let a = properties("cluster.id=c\nbroker.id=1\ndirectory.id=BwcHBwcHBwcHBwcHBwcHBw").unwrap();
        let bare = MetaProperties::default();
        let (one, two) = (Path::new("/1"), Path::new("/2"));
        let owner = verify(Owner::default(), [(one, &bare), (two, &a)]).unwrap();
        assert_eq!(
            (owner.cluster_id.as_deref(), owner.broker_id),
            (Some("c"), Some(BrokerId(1)))
        );
        assert!(matches!(
            verify(Owner::default(), [(one, &a), (two, &a)]),
            Err(Contradiction::DirectoryId { .. })
        ));
        let b = properties("cluster.id=c\nbroker.id=2").unwrap();
        assert!(matches!(
            verify(Owner::default(), [(one, &a), (two, &b)]),
            Err(Contradiction::BrokerId { .. })
        ));
        let expected = Owner {
            cluster_id: Some("d".to_owned()),
            broker_id: None,
        };
        assert!(matches!(
            verify(expected, [(one, &a)]),
            Err(Contradiction::ClusterId { .. })
        ));
    }
}
