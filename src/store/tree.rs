//! The tree itself, in memory: pure, without clock, locks or disk. Every backend of ours applies its changes here, so
//! that they cannot differ in what a version, a sequence number or an ephemeral node means.
//!
//! A tree is a value: a copy shares its structure with the original and costs nothing, so a change that fails half way
//! is dropped with its copy, and readers keep the state they have.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;

use super::path;
use super::{
    ChangeKind, CreateKind, MultiError, Node, Operation, Outcome, SessionId, Stat, StoreError, Zxid,
};

/// A node as the tree keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// The data.
    pub data: Option<Bytes>,
    /// The stat, but for `cversion`, which follows from `created` and the number of children.
    pub stat: Stat,
    /// How many children were ever created: the next sequence number.
    pub created: i32,
}

/// The state of all nodes.
#[derive(Clone, Debug)]
pub struct Tree {
    nodes: OrdMap<Arc<str>, Arc<Record>>,
    zxid: Zxid,
}

/// What a change did to the records: the new one by key, or none where it was deleted.
pub type Records = BTreeMap<Arc<str>, Option<Arc<Record>>>;

/// What a change brought about.
#[derive(Debug, Default)]
pub struct Applied {
    /// One for each operation.
    pub outcomes: Vec<Outcome>,
    /// What happened to which path, in order.
    pub changes: Vec<(String, ChangeKind)>,
}

/// Who makes a change, and when.
#[derive(Clone, Copy, Debug)]
pub struct Author {
    /// The session that owns the ephemeral nodes it creates.
    pub session: SessionId,
    /// The time, in milliseconds since 1970.
    pub now_ms: i64,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// A tree with nothing but its root, before any change.
    pub fn new() -> Self {
        let root = Record {
            data: None,
            stat: Stat::default(),
            created: 0,
        };
        Self {
            nodes: OrdMap::unit(Arc::from(""), Arc::new(root)),
            zxid: 0,
        }
    }

    /// A tree from what was kept of one.
    pub fn restore(records: impl IntoIterator<Item = (Arc<str>, Arc<Record>)>, zxid: Zxid) -> Self {
        let mut tree = Self::new();
        tree.nodes.extend(records);
        tree.zxid = zxid;
        tree
    }

    /// The last change.
    pub fn zxid(&self) -> Zxid {
        self.zxid
    }

    /// Lets the next change have at least the number `zxid` + 1.
    pub fn advance(&mut self, zxid: Zxid) {
        self.zxid = self.zxid.max(zxid);
    }

    /// All records by key.
    pub fn records(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Record>)> {
        self.nodes.iter()
    }

    /// The node at `path`.
    pub fn get(&self, path: &str) -> Option<Node> {
        if !path::is_valid(path) {
            return None;
        }
        self.nodes.get(path::key(path).as_str()).map(|record| Node {
            data: record.data.clone(),
            stat: record.stat(),
        })
    }

    /// The names of the children of `path`.
    pub fn children(&self, path: &str) -> Option<Vec<String>> {
        self.get(path)?;
        let (from, to) = (format!("{path}\0"), format!("{path}\u{1}"));
        let range = (Bound::Excluded(from.as_str()), Bound::Excluded(to.as_str()));
        Some(
            self.nodes
                .range::<_, str>(range)
                .map(|(key, _)| key.get(from.len()..).unwrap_or_default().to_owned())
                .collect(),
        )
    }

    /// The paths of the ephemeral nodes for which `owned` is true.
    pub fn ephemerals(&self, owned: impl Fn(SessionId) -> bool) -> Vec<String> {
        self.nodes
            .iter()
            .filter(|(_, record)| record.stat.owner.is_some_and(&owned))
            .filter_map(|(key, _)| path::of_key(key))
            .collect()
    }

    /// Applies `operations` as one change. `records` takes up what changed, on top of what is in it.
    ///
    /// # Errors
    /// The first operation that could not be applied; then neither the tree nor `records` has changed.
    pub fn apply(
        &mut self,
        operations: Vec<Operation>,
        author: Author,
        records: &mut Records,
    ) -> Result<Applied, MultiError> {
        let mut change = Change {
            nodes: self.nodes.clone(),
            zxid: self.zxid.saturating_add(1),
            author,
            records: Records::new(),
            applied: Applied::default(),
        };
        let only_checks = operations
            .iter()
            .all(|operation| matches!(operation, Operation::Check { .. }));
        for (index, operation) in operations.into_iter().enumerate() {
            change.operation(operation).map_err(|error| MultiError {
                index: Some(index),
                error,
            })?;
        }
        if !only_checks {
            self.nodes = change.nodes;
            self.zxid = change.zxid;
            records.append(&mut change.records);
        }
        Ok(change.applied)
    }
}

impl Record {
    /// The stat as readers are shown it.
    pub fn stat(&self) -> Stat {
        // As ZooKeeper presents it: creations and deletions, of which it counts only the former.
        let cversion = self.created.wrapping_mul(2).wrapping_sub(self.stat.children);
        Stat {
            cversion,
            ..self.stat
        }
    }
}

/// A change under way.
struct Change {
    nodes: OrdMap<Arc<str>, Arc<Record>>,
    zxid: Zxid,
    author: Author,
    records: Records,
    applied: Applied,
}

impl Change {
    fn operation(&mut self, operation: Operation) -> Result<(), StoreError> {
        if !path::is_valid(operation.path()) {
            return Err(StoreError::BadArguments);
        }
        let outcome = match operation {
            Operation::Create { path, data, kind } => self.create(path, data, kind)?,
            Operation::Set { path, data, version } => {
                let key = path::key(&path);
                let mut record = self.expect(&key, version)?;
                record.data = data;
                record.stat.version = record.stat.version.wrapping_add(1);
                record.stat.mzxid = self.zxid;
                record.stat.mtime_ms = self.author.now_ms;
                let stat = record.stat();
                self.put(&key, record);
                self.applied.changes.push((path, ChangeKind::Data));
                Outcome::Set(stat)
            }
            Operation::Delete { path, version } => {
                self.delete(path, version)?;
                Outcome::Deleted
            }
            Operation::Check { path, version } => {
                self.expect(&path::key(&path), version)?;
                Outcome::Checked
            }
        };
        self.applied.outcomes.push(outcome);
        Ok(())
    }

    /// The record at `key`, if it has the version.
    fn expect(&self, key: &str, version: Option<i32>) -> Result<Record, StoreError> {
        let record = self.nodes.get(key).ok_or(StoreError::NoNode)?;
        match version {
            Some(version) if version != record.stat.version => Err(StoreError::BadVersion),
            _ => Ok(Record::clone(record)),
        }
    }

    fn create(
        &mut self,
        mut path: String,
        data: Option<Bytes>,
        kind: CreateKind,
    ) -> Result<Outcome, StoreError> {
        let parent_path = path::parent(&path).ok_or(StoreError::NodeExists)?.to_owned();
        let parent_key = path::key(&parent_path);
        let mut parent = self.expect(&parent_key, None)?;
        if parent.stat.owner.is_some() {
            return Err(StoreError::NoChildrenForEphemerals);
        }
        if matches!(
            kind,
            CreateKind::PersistentSequential | CreateKind::EphemeralSequential
        ) {
            path = format!("{path}{:010}", parent.created);
        }
        let key = path::key(&path);
        if self.nodes.contains_key(key.as_str()) {
            return Err(StoreError::NodeExists);
        }
        parent.created = parent.created.wrapping_add(1);
        parent.stat.children = parent.stat.children.saturating_add(1);
        parent.stat.pzxid = self.zxid;
        self.put(&parent_key, parent);
        let ephemeral = matches!(kind, CreateKind::Ephemeral | CreateKind::EphemeralSequential);
        let stat = Stat {
            czxid: self.zxid,
            mzxid: self.zxid,
            pzxid: self.zxid,
            owner: ephemeral.then_some(self.author.session),
            ctime_ms: self.author.now_ms,
            mtime_ms: self.author.now_ms,
            ..Stat::default()
        };
        let record = Record {
            data,
            stat,
            created: 0,
        };
        self.put(&key, record);
        self.applied.changes.push((path.clone(), ChangeKind::Created));
        self.applied.changes.push((parent_path, ChangeKind::Children));
        Ok(Outcome::Created { path, stat })
    }

    fn delete(&mut self, path: String, version: Option<i32>) -> Result<(), StoreError> {
        let parent_path = path::parent(&path).ok_or(StoreError::BadArguments)?.to_owned();
        let key = path::key(&path);
        let record = self.expect(&key, version)?;
        if record.stat.children > 0 {
            return Err(StoreError::NotEmpty);
        }
        let parent_key = path::key(&parent_path);
        let mut parent = self.expect(&parent_key, None)?;
        parent.stat.children = parent.stat.children.saturating_sub(1);
        parent.stat.pzxid = self.zxid;
        self.put(&parent_key, parent);
        self.nodes.remove(key.as_str());
        self.records.insert(Arc::from(key), None);
        self.applied.changes.push((path, ChangeKind::Deleted));
        self.applied.changes.push((parent_path, ChangeKind::Children));
        Ok(())
    }

    fn put(&mut self, key: &str, record: Record) {
        let record = Arc::new(record);
        let key: Arc<str> = match self.nodes.get_key_value(key) {
            Some((key, _)) => Arc::clone(key),
            None => Arc::from(key),
        };
        self.nodes.insert(Arc::clone(&key), Arc::clone(&record));
        self.records.insert(key, Some(record));
    }
}
