//! Changes of a reign whose answers were lost with a connection: whether they were made is read from what they would have
//! left behind.
//!
//! Invariant: a group counts as made only when all of it is there as it would be, and this broker was the controller for as
//! long as it looked. What is in doubt, because others have written since, is sent again: it carries its own conditions, and
//! the fence, so that the store judges it. The store reads behind whatever of the session had reached a server, so that what
//! was not found is not made any more.

use std::collections::BTreeSet;

use super::reign::{Group, Lost, Reign};
use crate::store::znodes::paths;
use crate::store::{CreateKind, Node, Operation, Zxid};

impl Reign {
    /// Looks which groups have been made; yields the number of the change with each of those.
    ///
    /// # Errors
    /// Another controller has been elected; the session is over.
    pub(super) async fn read_back(
        &self,
        lost: Vec<(usize, Group)>,
    ) -> Result<Vec<(usize, Group, Option<Zxid>)>, Lost> {
        let asked: Vec<Vec<_>> = lost
            .iter()
            .map(|(_, group)| {
                let paths = group.operations.iter().map(Operation::path);
                paths.map(|path| self.store.get(path)).collect()
            })
            .collect();
        let fence = self.store.get(paths::CONTROLLER_EPOCH);
        let mut nodes = Vec::with_capacity(asked.len());
        for group in asked {
            let mut of_group = Vec::with_capacity(group.len());
            for node in group {
                of_group.push(node.await?);
            }
            nodes.push(of_group);
        }
        // Read behind the others: who is elected later has changed none of them yet.
        if fence.await?.is_none_or(|node| node.stat.version != self.fence) {
            return Err(Lost::Moved);
        }
        let found = lost.into_iter().zip(nodes);
        Ok(found
            .map(|((number, group), nodes)| {
                let made = made(&group.operations, &nodes);
                (number, group, made)
            })
            .collect())
    }
}

/// The change that has made all of these, as far as their nodes tell; 0 when it leaves nothing that has a number.
fn made(operations: &[Operation], nodes: &[Option<Node>]) -> Option<Zxid> {
    let mut seen = BTreeSet::new();
    let mut zxid = None;
    let mut is_change = false;
    // Of those about one node the last one has left what is there.
    for (operation, node) in operations.iter().zip(nodes).rev() {
        if matches!(operation, Operation::Check { .. }) || !seen.insert(operation.path()) {
            continue;
        }
        is_change = true;
        if !is_left_by(operation, node.as_ref()) {
            return None;
        }
        zxid = node.as_ref().map(|node| node.stat.mzxid).or(zxid);
    }
    is_change.then(|| zxid.unwrap_or_default())
}

/// True when a node is as the operation leaves it.
fn is_left_by(operation: &Operation, node: Option<&Node>) -> bool {
    match (operation, node) {
        (Operation::Delete { .. }, node) => node.is_none(),
        (Operation::Set { data, version, .. }, Some(node)) => {
            let follows = version.is_none_or(|before| node.stat.version == before.wrapping_add(1));
            node.data == *data && follows
        }
        (Operation::Create { data, kind, .. }, Some(node)) => {
            *kind == CreateKind::Persistent && node.data == *data && node.stat.owner.is_none()
        }
        // One that is sequential has a name that nobody knows.
        (Operation::Set { .. } | Operation::Create { .. } | Operation::Check { .. }, _) => false,
    }
}
