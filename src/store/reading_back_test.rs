//! A caller as a store wants it: after a lost connection it finds out by reading whether its change was made, and makes it
//! when it was not. For tests, where nobody else changes the same nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;

/// A store whose changes are never in doubt.
#[derive(Clone)]
pub(super) struct ReadingBack(pub(super) Arc<dyn Store>);

/// What is known of the nodes that a change is about, and of their parents.
#[derive(PartialEq, Eq, Debug, Default)]
struct Known {
    stats: BTreeMap<String, Option<Stat>>,
    children: BTreeMap<String, BTreeSet<String>>,
}

impl ReadingBack {
    async fn look(&self, operations: &[Operation]) -> Result<Known, StoreError> {
        let mut known = Known::default();
        for operation in operations {
            let path = operation.path();
            let parent = path::parent(path).unwrap_or("/").to_owned();
            let stat = self.0.get(path).await?.map(|node| node.stat);
            known.stats.insert(path.to_owned(), stat);
            let children = self.0.children(&parent).await?.unwrap_or_default();
            known.children.insert(parent, children.into_iter().collect());
        }
        Ok(known)
    }

    async fn resolve(&self, operations: Vec<Operation>) -> Result<Vec<Outcome>, MultiError> {
        loop {
            let before = self.look(&operations).await?;
            match self.0.multi(operations.clone()).await {
                Err(MultiError {
                    error: StoreError::ConnectionLoss,
                    index,
                }) => assert_eq!(index, None),
                answer => return answer,
            }
            let after = self.look(&operations).await?;
            if before == after {
                continue;
            }
            let mut outcomes = Vec::new();
            for operation in &operations {
                outcomes.push(self.outcome(operation, &before, &after).await?);
            }
            return Ok(outcomes);
        }
    }

    async fn outcome(
        &self,
        operation: &Operation,
        before: &Known,
        after: &Known,
    ) -> Result<Outcome, StoreError> {
        let stat = |path: &str| after.stats[path].expect("a node that the change left behind");
        Ok(match operation {
            Operation::Create {
                path,
                kind: CreateKind::Persistent | CreateKind::Ephemeral,
                ..
            } => Outcome::Created {
                path: path.clone(),
                stat: stat(path),
            },
            Operation::Create { path, .. } => {
                let parent = path::parent(path).unwrap();
                let mut new = after.children[parent].difference(&before.children[parent]);
                let path = format!("{}/{}", parent.trim_end_matches('/'), new.next().unwrap());
                let stat = self.0.get(&path).await?.unwrap().stat;
                Outcome::Created { path, stat }
            }
            Operation::Set { path, .. } => Outcome::Set(stat(path)),
            Operation::Delete { .. } => Outcome::Deleted,
            Operation::Check { .. } => Outcome::Checked,
        })
    }
}

impl Store for ReadingBack {
    fn get(&self, path: &str) -> StoreFuture<'_, Option<Node>> {
        self.0.get(path)
    }

    fn get_and_watch(&self, path: &str) -> StoreFuture<'_, (Option<Node>, Watcher)> {
        self.0.get_and_watch(path)
    }

    fn children(&self, path: &str) -> StoreFuture<'_, Option<Vec<String>>> {
        self.0.children(path)
    }

    fn children_and_watch(&self, path: &str) -> StoreFuture<'_, Option<(Vec<String>, Watcher)>> {
        self.0.children_and_watch(path)
    }

    fn multi(&self, operations: Vec<Operation>) -> BoxFuture<'static, Result<Vec<Outcome>, MultiError>> {
        let all = self.clone();
        Box::pin(async move { all.resolve(operations).await })
    }

    fn session(&self) -> tokio::sync::watch::Receiver<Session> {
        self.0.session()
    }

    fn renew(&self) -> StoreFuture<'_, SessionId> {
        self.0.renew()
    }
}
