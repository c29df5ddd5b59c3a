//! The offsets of OffsetCommit and OffsetFetch version 0: in the store, at `/consumers/GROUP/offsets/TOPIC/PARTITION`,
//! as decimal text (Kafka: `KafkaZkClient.setOrCreateConsumerOffset`, `getConsumerOffset`).
//!
//! Nothing expires them, so groups that anybody may name are bounded: their number, by a count of the `offsets` nodes that
//! is made anew from time to time, and their names. DeleteGroups removes them. Called by api/.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::base::clock::Instant;
use crate::base::error_code::ErrorCode;
use crate::store::{CreateKind, Operation, Store, StoreError};

/// The groups.
const GROUPS: &str = "/consumers";
/// What a group's offsets lie below.
const OFFSETS: &str = "offsets";
/// How many groups may keep offsets in the store, which has them in memory.
pub const MAX_GROUPS: usize = 10_000;
/// How many slashes a group's id may have: each makes a node more.
const MAX_SLASHES: usize = 8;
/// How long a group's id may be: the store keeps the path of each node.
const MAX_ID_BYTES: usize = 255;
/// How often a change that others got in the way of is tried.
const TRIES: usize = 5;
/// After so many groups of its own a broker looks what others have made.
const RECOUNT_AFTER: usize = 1_000;
/// How often it looks whether there is room again.
const RECOUNT_EVERY: Duration = Duration::from_secs(60);

/// Offsets in the store. Clones share it.
#[derive(Clone)]
pub struct OldOffsets {
    store: Arc<dyn Store>,
    count: Arc<Mutex<Count>>,
}

/// How many groups have offsets in the store, as far as this broker knows.
#[derive(Default)]
struct Count {
    groups: usize,
    /// When they were counted; `None` before that.
    counted: Option<Instant>,
    /// How many this broker has added since.
    added: usize,
}

impl Count {
    fn is_stale(&self) -> bool {
        let is_old = |counted: Instant| counted.elapsed() > RECOUNT_EVERY;
        self.added >= RECOUNT_AFTER
            || self
                .counted
                .is_none_or(|counted| self.groups >= MAX_GROUPS && is_old(counted))
    }
}

fn offsets_path(group_id: &str) -> String {
    format!("{GROUPS}/{group_id}/{OFFSETS}")
}

fn path(group_id: &str, topic: &str, partition: i32) -> String {
    format!("{GROUPS}/{group_id}/{OFFSETS}/{topic}/{partition}")
}

impl OldOffsets {
    /// The offsets in `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            count: Arc::default(),
        }
    }

    fn count(&self) -> MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The offset of a group in a partition; `None` when it has none.
    ///
    /// # Errors
    /// UNKNOWN_SERVER_ERROR: the group's id cannot be a node's name, what is there is no number, or the store fails.
    pub async fn get(&self, group_id: &str, topic: &str, partition: i32) -> Result<Option<i64>, ErrorCode> {
        if !makes_a_path(group_id) {
            return Err(ErrorCode::UnknownServerError);
        }
        if !is_possible(group_id) {
            return Ok(None);
        }
        let path = path(group_id, topic, partition);
        let node = self
            .store
            .get(&path)
            .await
            .map_err(|error| failed(&path, &error))?;
        let Some(data) = node.and_then(|node| node.data) else {
            return Ok(None);
        };
        let offset = std::str::from_utf8(&data).ok().and_then(|text| text.parse().ok());
        offset.map(Some).ok_or_else(|| {
            tracing::warn!(path, "is no offset");
            ErrorCode::UnknownServerError
        })
    }

    /// Keeps the offset of a group in a partition.
    ///
    /// # Errors
    /// UNKNOWN_SERVER_ERROR: the group's id cannot be a node's name, there are too many groups, or the store fails.
    pub async fn set(
        &self,
        group_id: &str,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> Result<(), ErrorCode> {
        if !is_possible(group_id) {
            return Err(ErrorCode::UnknownServerError);
        }
        let path = path(group_id, topic, partition);
        let data = Bytes::from(offset.to_string());
        for _ in 0..TRIES {
            match self.store.set(&path, Some(data.clone()), None).await {
                Ok(_) => return Ok(()),
                Err(StoreError::NoNode) => {}
                Err(error) => return Err(failed(&path, &error)),
            }
            match self.create(group_id, &path, data.clone()).await {
                Ok(()) => return Ok(()),
                // Somebody else was faster.
                Err(StoreError::NodeExists | StoreError::NoNode) => {}
                Err(error) => return Err(failed(&path, &error)),
            }
        }
        Err(ErrorCode::UnknownServerError)
    }

    /// Creates the node, with those above it that are missing, in one change.
    async fn create(&self, group_id: &str, path: &str, data: Bytes) -> Result<(), StoreError> {
        let offsets = offsets_path(group_id);
        let mut operations = vec![Operation::create(path, Some(data), CreateKind::Persistent)];
        let mut is_new = false;
        let mut above = path;
        while let Some((parent, _)) = above.rsplit_once('/') {
            if parent.is_empty() || self.store.get(parent).await?.is_some() {
                break;
            }
            operations.push(Operation::create(parent, None, CreateKind::Persistent));
            is_new |= parent == offsets;
            above = parent;
        }
        if is_new && !self.has_room().await? {
            tracing::warn!(
                MAX_GROUPS,
                "too many groups keep offsets in the store; one more is refused"
            );
            return Err(StoreError::Failed);
        }
        operations.reverse();
        let done = self.store.multi(operations).await;
        done.map_err(|failed| failed.error)?;
        if is_new {
            let mut count = self.count();
            count.groups += 1;
            count.added += 1;
        }
        Ok(())
    }

    /// May one more group keep offsets? Groups that are made while they are counted may slip by.
    async fn has_room(&self) -> Result<bool, StoreError> {
        if self.count().is_stale() {
            let mut groups = 0;
            let mut left = vec![(GROUPS.to_owned(), 0)];
            while let Some((path, depth)) = left.pop() {
                for name in self.store.children(&path).await?.unwrap_or_default() {
                    if name == OFFSETS && depth > 0 {
                        groups += 1;
                    } else if depth <= MAX_SLASHES && left.len() <= 2 * MAX_GROUPS {
                        left.push((format!("{path}/{name}"), depth + 1));
                    }
                }
                if groups >= MAX_GROUPS {
                    break;
                }
            }
            *self.count() = Count {
                groups,
                counted: Some(Instant::now()),
                added: 0,
            };
        }
        Ok(self.count().groups < MAX_GROUPS)
    }

    /// Removes what a group has here. True when it had anything.
    ///
    /// # Errors
    /// UNKNOWN_SERVER_ERROR: the store fails, or the group commits again and again.
    pub async fn remove(&self, group_id: &str) -> Result<bool, ErrorCode> {
        if !is_possible(group_id) {
            return Ok(false);
        }
        let offsets = offsets_path(group_id);
        for _ in 0..TRIES {
            match self.try_remove(&offsets).await {
                Ok(removed) => return Ok(removed),
                // Somebody committed, or removed them too.
                Err(StoreError::NotEmpty | StoreError::NoNode) => {}
                Err(error) => return Err(failed(&offsets, &error)),
            }
        }
        Err(ErrorCode::UnknownServerError)
    }

    async fn try_remove(&self, offsets: &str) -> Result<bool, StoreError> {
        let Some(topics) = self.store.children(offsets).await? else {
            return Ok(false);
        };
        for topic in topics {
            let topic = format!("{offsets}/{topic}");
            let partitions = self.store.children(&topic).await?.unwrap_or_default();
            let mut operations: Vec<Operation> = partitions
                .iter()
                .map(|partition| Operation::delete(format!("{topic}/{partition}"), None))
                .collect();
            operations.push(Operation::delete(topic, None));
            let done = self.store.multi(operations).await;
            done.map_err(|failed| failed.error)?;
        }
        self.store.delete(offsets, None).await?;
        {
            let mut count = self.count();
            count.groups = count.groups.saturating_sub(1);
        }
        // The group's own nodes, unless the oldest consumers have something else there.
        let mut above = offsets;
        while let Some((parent, _)) = above.rsplit_once('/')
            && parent != GROUPS
            && self.store.delete(parent, None).await.is_ok()
        {
            above = parent;
        }
        Ok(true)
    }
}

/// False for ids that make no path, for those that would make very many nodes or long ones, and for those that would lie
/// among the offsets of another group.
fn is_possible(group_id: &str) -> bool {
    group_id.len() <= MAX_ID_BYTES
        && group_id.matches('/').count() <= MAX_SLASHES
        && group_id.split('/').all(|part| part != OFFSETS)
        && makes_a_path(group_id)
}

/// False where ZooKeeper takes no path with the id in it (its `PathUtils.validatePath`, in UTF-16): what lies in the embedded
/// store can go there.
fn makes_a_path(group_id: &str) -> bool {
    let is_taken = |character: char| {
        !character.is_control() && !matches!(character, '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..)
    };
    let mut parts = group_id.split('/');
    parts.all(|part| !part.is_empty() && part != "." && part != "..") && group_id.chars().all(is_taken)
}

fn failed(path: &str, error: &StoreError) -> ErrorCode {
    tracing::warn!(path, %error, "an offset in the store cannot be reached");
    ErrorCode::UnknownServerError
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryServer;

    #[tokio::test]
    async fn offsets_are_kept_as_kafkas_first_consumers_kept_them() {
        let store: Arc<dyn Store> = Arc::new(MemoryServer::new().connect());
        store.create(GROUPS, None, CreateKind::Persistent).await.unwrap();
        let offsets = OldOffsets::new(Arc::clone(&store));
        assert_eq!(offsets.get("g", "t", 3).await, Ok(None));
        for offset in [42, 43, -7] {
            assert_eq!(offsets.set("g", "t", 3, offset).await, Ok(()));
            assert_eq!(offsets.get("g", "t", 3).await, Ok(Some(offset)));
        }
        assert_eq!(offsets.set("g", "t", 4, 1).await, Ok(()));
        let node = store.get("/consumers/g/offsets/t/3").await.unwrap().unwrap();
        assert_eq!(node.data.as_deref(), Some(&b"-7"[..]));
        let set = store.set("/consumers/g/offsets/t/3", Some("x".into()), None);
        set.await.unwrap();
        assert_eq!(offsets.get("g", "t", 3).await, Err(ErrorCode::UnknownServerError));
    }

    #[tokio::test]
    async fn ids_that_make_no_path_and_more_groups_than_there_may_be_are_refused() {
        let store: Arc<dyn Store> = Arc::new(MemoryServer::new().connect());
        store.create(GROUPS, None, CreateKind::Persistent).await.unwrap();
        let offsets = OldOffsets::new(Arc::clone(&store));
        let (deep, long) = ("a/".repeat(20) + "a", "a".repeat(256));
        let refused = Err(ErrorCode::UnknownServerError);
        let no_paths = [
            "",
            ".",
            "..",
            "a//b",
            "/a",
            "a/",
            "a\0b",
            "\u{f8ff}",
            "\u{fff5}",
            "\u{1f600}",
        ];
        for group in no_paths.into_iter().chain(["a/offsets/b", &deep, &long]) {
            assert_eq!(offsets.set(group, "t", 0, 1).await, refused);
            // As Kafka, where its ZooKeeper takes no such path.
            let got = match no_paths.contains(&group) {
                true => Err(ErrorCode::UnknownServerError),
                false => Ok(None),
            };
            assert_eq!(offsets.get(group, "t", 0).await, got);
        }
        assert_eq!(offsets.set("a/b", "t", 0, 1).await, Ok(()));
        // Half of them by others, and below one node.
        for number in 1..MAX_GROUPS / 2 {
            for path in [
                format!("{GROUPS}/a/{number}"),
                format!("{GROUPS}/a/{number}/offsets"),
            ] {
                store.create(&path, None, CreateKind::Persistent).await.unwrap();
            }
        }
        let mut made = MAX_GROUPS / 2;
        while made <= MAX_GROUPS && offsets.set(&format!("a/own {made}"), "t", 0, 1).await.is_ok() {
            made += 1;
        }
        assert_eq!(made, MAX_GROUPS);
        assert_eq!(
            offsets.set("a/7", "t", 0, 1).await,
            Ok(()),
            "it is one of them already"
        );
        assert_eq!(
            offsets.set("one more", "t", 0, 1).await,
            Err(ErrorCode::UnknownServerError)
        );
        assert_eq!(offsets.remove("a/7").await, Ok(true));
        assert_eq!(offsets.set("one more", "t", 0, 1).await, Ok(()));
    }

    #[tokio::test]
    async fn a_group_is_removed_with_its_offsets_and_nothing_else_is() {
        let store: Arc<dyn Store> = Arc::new(MemoryServer::new().connect());
        store.create(GROUPS, None, CreateKind::Persistent).await.unwrap();
        let offsets = OldOffsets::new(Arc::clone(&store));
        for (topic, partition) in [("t", 0), ("t", 1), ("u", 0)] {
            assert_eq!(offsets.set("g/h", topic, partition, 1).await, Ok(()));
        }
        assert_eq!(offsets.set("g/i", "t", 0, 7).await, Ok(()));
        assert_eq!(offsets.remove("g").await, Ok(false), "it has none itself");
        assert_eq!(offsets.remove("g/h").await, Ok(true));
        assert_eq!(offsets.remove("g/h").await, Ok(false));
        assert_eq!(offsets.get("g/h", "t", 1).await, Ok(None));
        assert_eq!(offsets.get("g/i", "t", 0).await, Ok(Some(7)));
        let left = store.children("/consumers/g").await.unwrap().unwrap();
        assert_eq!(left, ["i"]);
        // What the oldest consumers keep there themselves.
        let ids = store.create("/consumers/g/i/ids", None, CreateKind::Persistent);
        ids.await.unwrap();
        assert_eq!(offsets.remove("g/i").await, Ok(true));
        let left = store.children("/consumers/g/i").await.unwrap().unwrap();
        assert_eq!(left, ["ids"]);
    }
}
