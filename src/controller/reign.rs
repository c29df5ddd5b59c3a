//! The time in which this broker is the controller: its election, and the fence around everything it writes (Kafka:
//! `KafkaZkClient.registerControllerAndIncrementControllerEpoch`, `wrapRequestWithControllerEpochCheck`).

use std::sync::Arc;

use super::events::RETRY;
use crate::base::clock;
use crate::base::ids::{BrokerId, ControllerEpoch};
use crate::base::planted::planted;
use crate::store::znodes::{Controller as ControllerNode, decode_epoch, encode_epoch, paths};
use crate::store::{BoxFuture, CreateKind, MultiError, Operation, Outcome, Store, StoreError, Watcher, Zxid};

/// About how many bytes one multi may have: a server of ZooKeeper refuses more than a mebibyte.
const MULTI_BYTES: usize = 512 << 10;
/// How many operations one multi may have.
const MULTI_OPERATIONS: usize = 4_000;

/// Why the controller cannot go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lost {
    /// Another one has been elected.
    Moved,
    /// The store failed, or its session is over.
    Store(StoreError),
}

impl From<StoreError> for Lost {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What came of an election.
pub(super) enum Election {
    /// This broker reigns.
    Won(Reign),
    /// Somebody else does; the watcher tells of the end of that.
    Other(Watcher),
}

/// A reign.
#[derive(Clone)]
pub(super) struct Reign {
    pub store: Arc<dyn Store>,
    pub epoch: ControllerEpoch,
    /// The version of `/controller_epoch` that every write checks.
    pub(super) fence: i32,
}

/// Operations that belong together: all are made, or none.
#[derive(Default)]
pub(super) struct Group {
    pub operations: Vec<Operation>,
}

impl Group {
    /// True when one multi can hold it.
    pub(super) fn fits(&self) -> bool {
        self.bytes() <= MULTI_BYTES && self.operations.len() <= MULTI_OPERATIONS
    }

    fn bytes(&self) -> usize {
        self.operations.iter().map(Operation::size_in_bytes).sum()
    }
}

/// Tries to become the controller.
pub(super) async fn elect(store: &Arc<dyn Store>, me: BrokerId) -> Result<Election, StoreError> {
    let (node, watcher) = store.get_and_watch(paths::CONTROLLER).await?;
    if let Some(node) = node {
        // Of an earlier reign in the same session: whoever is elected now, everything begins anew.
        if node.stat.owner == Some(store.session().borrow().id()) {
            store.delete(paths::CONTROLLER, Some(node.stat.version)).await?;
        }
        return Ok(Election::Other(watcher));
    }
    let epoch_node = store.get(paths::CONTROLLER_EPOCH).await?;
    let (epoch, version) = match &epoch_node {
        Some(node) => match decode_epoch(node.data.as_deref().unwrap_or_default()) {
            Ok(epoch) => (epoch, node.stat.version),
            Err(error) => {
                tracing::error!("{}: {error}", paths::CONTROLLER_EPOCH);
                return Err(StoreError::BadArguments);
            }
        },
        None => (ControllerEpoch(0), 0),
    };
    let next = ControllerEpoch(epoch.get().saturating_add(1));
    let mut operations = Vec::new();
    if epoch_node.is_none() {
        operations.push(Operation::create(
            paths::CONTROLLER_EPOCH,
            Some(encode_epoch(ControllerEpoch(0))),
            CreateKind::Persistent,
        ));
    }
    let me_node = ControllerNode::new(me, clock::now_ms()).encode();
    operations.push(Operation::create(
        paths::CONTROLLER,
        Some(me_node),
        CreateKind::Ephemeral,
    ));
    operations.push(Operation::set(
        paths::CONTROLLER_EPOCH,
        Some(encode_epoch(next)),
        Some(version),
    ));
    let reign = Reign {
        store: Arc::clone(store),
        epoch: next,
        fence: version.wrapping_add(1),
    };
    match store.multi(operations).await {
        Ok(_) => Ok(Election::Won(reign)),
        Err(MultiError {
            error: StoreError::NodeExists | StoreError::BadVersion | StoreError::ConnectionLoss,
            ..
        }) => {
            // Either somebody was faster, or the answer of an earlier try was lost.
            let (node, watcher) = store.get_and_watch(paths::CONTROLLER).await?;
            let mine =
                node.is_some_and(|node| Some(node.stat.owner) == Some(Some(store.session().borrow().id())));
            let epoch_node = store.get(paths::CONTROLLER_EPOCH).await?;
            let written = epoch_node.and_then(|node| {
                let epoch = decode_epoch(node.data.as_deref().unwrap_or_default()).ok()?;
                Some((epoch, node.stat.version))
            });
            match written {
                Some((epoch, fence)) if mine && epoch == next => Ok(Election::Won(Reign { fence, ..reign })),
                _ => Ok(Election::Other(watcher)),
            }
        }
        Err(failed) => Err(failed.error),
    }
}

impl Reign {
    /// Makes room for another controller, unless there is one already. What cannot be done now goes with the session.
    pub(super) async fn resign(&self) {
        let operations = vec![self.check(), Operation::delete(paths::CONTROLLER, None)];
        if let Err(error) = self.store.multi(operations).await {
            tracing::debug!("the end of the reign was not written: {error}");
        }
    }

    /// The fence: what every change of a controller begins with.
    pub(super) fn check(&self) -> Operation {
        let fence = planted!("cluster-zombie-writes", None, Some(self.fence));
        Operation::check(paths::CONTROLLER_EPOCH, fence)
    }

    /// Sends a group, of whose answer nobody may hear.
    pub(super) fn send(&self, group: &Group) -> BoxFuture<'static, Result<Vec<Outcome>, MultiError>> {
        let mut operations = vec![self.check()];
        operations.extend(group.operations.iter().cloned());
        self.store.multi(operations)
    }

    /// Writes each group as a whole, many groups at a time. A group that cannot be written does not keep the others
    /// from being written; its error is in its place, and the number of the change in that of the others.
    ///
    /// A lost connection ends no reign: once there is another one, what was made is found by reading, and the rest is sent
    /// again (Kafka: `KafkaZkClient.retryRequestsUntilConnected`). It takes as long as that takes, or the session lives.
    pub(super) async fn write(&self, groups: Vec<Group>) -> Result<Vec<Result<Zxid, StoreError>>, Lost> {
        let mut answers: Vec<Result<Zxid, StoreError>> = groups.iter().map(|_| Ok(0)).collect();
        let mut rest: Vec<(usize, Group)> = groups.into_iter().enumerate().collect();
        let mut losses = 0;
        while !rest.is_empty() {
            let mut lost: Vec<(usize, Group)> = Vec::new();
            let mut under_way = Vec::new();
            for batch in batches(std::mem::take(&mut rest)) {
                let mut operations = vec![self.check()];
                for (_, group) in &batch {
                    operations.extend(group.operations.iter().cloned());
                }
                under_way.push((batch, self.store.multi(operations)));
            }
            for (batch, answer) in under_way {
                match answer.await {
                    Ok(outcomes) => {
                        let zxid = outcomes.iter().find_map(|outcome| match outcome {
                            Outcome::Created { stat, .. } | Outcome::Set(stat) => Some(stat.mzxid),
                            Outcome::Deleted | Outcome::Checked => None,
                        });
                        for (number, _) in batch {
                            if let Some(answer) = answers.get_mut(number) {
                                *answer = Ok(zxid.unwrap_or_default());
                            }
                        }
                    }
                    Err(MultiError {
                        index: Some(0),
                        error: StoreError::BadVersion | StoreError::NoNode,
                    }) => return Err(Lost::Moved),
                    Err(MultiError {
                        error: StoreError::ConnectionLoss,
                        ..
                    }) => lost.extend(batch),
                    // What was sent before it may not have been made, and it may want that.
                    Err(MultiError { index: Some(_), .. }) if !lost.is_empty() => rest.extend(batch),
                    Err(MultiError {
                        index: Some(index),
                        error,
                    }) => {
                        let mut last = 0;
                        for (number, group) in batch {
                            let first = last + 1;
                            last += group.operations.len();
                            if (first..=last).contains(&index) {
                                if let Some(answer) = answers.get_mut(number) {
                                    *answer = Err(error);
                                }
                            } else {
                                rest.push((number, group));
                            }
                        }
                    }
                    Err(MultiError {
                        index: None,
                        error: error @ StoreError::TooLarge,
                    }) if batch.len() == 1 => {
                        for (number, _) in batch {
                            if let Some(answer) = answers.get_mut(number) {
                                *answer = Err(error);
                            }
                        }
                    }
                    Err(MultiError { index: None, error }) => return Err(Lost::Store(error)),
                }
            }
            if lost.is_empty() {
                continue;
            }
            if losses > 0 {
                // A server may break off because of what it is sent.
                clock::sleep(RETRY).await;
            }
            losses += 1;
            let count = lost.len();
            for (number, group, made) in self.read_back(lost).await? {
                match (made, answers.get_mut(number)) {
                    (Some(zxid), Some(answer)) => *answer = Ok(zxid),
                    _ => rest.push((number, group)),
                }
            }
            tracing::warn!(
                "the answers to {count} changes were lost; {} of these and of what came behind them are sent again",
                rest.len()
            );
            rest.sort_by_key(|(number, _)| *number);
        }
        Ok(answers)
    }
}

/// Packs groups into multis.
fn batches(groups: Vec<(usize, Group)>) -> Vec<Vec<(usize, Group)>> {
    let mut batches: Vec<Vec<(usize, Group)>> = Vec::new();
    let (mut bytes, mut operations) = (0, 0);
    for (number, group) in groups {
        let more = (group.bytes(), group.operations.len());
        let fits = bytes + more.0 <= MULTI_BYTES && operations + more.1 <= MULTI_OPERATIONS;
        match batches.last_mut() {
            Some(last) if fits => last.push((number, group)),
            _ => {
                batches.push(vec![(number, group)]);
                (bytes, operations) = (0, 0);
            }
        }
        bytes += more.0;
        operations += more.1;
    }
    batches
}
