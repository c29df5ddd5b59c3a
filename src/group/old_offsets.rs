//! The offsets of OffsetCommit and OffsetFetch version 0: in the store, at `/consumers/GROUP/offsets/TOPIC/PARTITION`,
//! as decimal text (Kafka: `KafkaZkClient.setOrCreateConsumerOffset`, `getConsumerOffset`).
//!
//! Nothing expires them, so groups that anybody may name are bounded. Called by api/.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::error_code::ErrorCode;
use crate::store::{CreateKind, Operation, Store, StoreError};

/// The groups.
const GROUPS: &str = "/consumers";
/// How many groups may keep offsets in the store, which has them in memory.
pub const MAX_GROUPS: i32 = 10_000;
/// How many slashes a group's id may have: each makes a node more.
const MAX_SLASHES: usize = 8;
/// How often a change that others got in the way of is tried.
const TRIES: usize = 5;

/// Offsets in the store. Clones share it.
#[derive(Clone)]
pub struct OldOffsets {
    store: Arc<dyn Store>,
}

fn path(group_id: &str, topic: &str, partition: i32) -> String {
    format!("{GROUPS}/{group_id}/offsets/{topic}/{partition}")
}

impl OldOffsets {
    /// The offsets in `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// The offset of a group in a partition; `None` when it has none.
    ///
    /// # Errors
    /// UNKNOWN_SERVER_ERROR: what is there is no number, or the store fails.
    pub async fn get(&self, group_id: &str, topic: &str, partition: i32) -> Result<Option<i64>, ErrorCode> {
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
            match self.create(&path, data.clone()).await {
                Ok(()) => return Ok(()),
                // Somebody else was faster.
                Err(StoreError::NodeExists | StoreError::NoNode) => {}
                Err(error) => return Err(failed(&path, &error)),
            }
        }
        Err(ErrorCode::UnknownServerError)
    }

    /// Creates the node, with those above it that are missing, in one change.
    async fn create(&self, path: &str, data: Bytes) -> Result<(), StoreError> {
        let mut operations = vec![Operation::create(path, Some(data), CreateKind::Persistent)];
        let mut above = path;
        while let Some((parent, _)) = above.rsplit_once('/') {
            if parent.is_empty() {
                break;
            }
            match self.store.get(parent).await? {
                Some(node) if parent == GROUPS && node.stat.children >= MAX_GROUPS => {
                    tracing::warn!(
                        MAX_GROUPS,
                        "too many groups keep offsets in the store; one more is refused"
                    );
                    return Err(StoreError::Failed);
                }
                Some(_) => break,
                None => operations.push(Operation::create(parent, None, CreateKind::Persistent)),
            }
            above = parent;
        }
        operations.reverse();
        let done = self.store.multi(operations).await;
        done.map(|_| ()).map_err(|failed| failed.error)
    }
}

/// False for ids that make no path, and for those that would make very many nodes.
fn is_possible(group_id: &str) -> bool {
    group_id.matches('/').count() <= MAX_SLASHES
        && group_id
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
        && !group_id.chars().any(char::is_control)
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
        let deep = "a/".repeat(20) + "a";
        for group in ["", ".", "..", "a//b", "a\0b", &deep] {
            assert_eq!(
                offsets.set(group, "t", 0, 1).await,
                Err(ErrorCode::UnknownServerError)
            );
            assert_eq!(offsets.get(group, "t", 0).await, Ok(None));
        }
        assert_eq!(offsets.set("a/b", "t", 0, 1).await, Ok(()));
        for number in 1..MAX_GROUPS {
            let path = format!("{GROUPS}/{number}");
            store.create(&path, None, CreateKind::Persistent).await.unwrap();
        }
        assert_eq!(
            offsets.set("one more", "t", 0, 1).await,
            Err(ErrorCode::UnknownServerError)
        );
        assert_eq!(offsets.set("7", "t", 0, 1).await, Ok(()), "it is there already");
    }
}
