//! What becomes of a partition's assignment when it is to be moved, or its move taken back (KIP-455; Kafka:
//! `ReplicaAssignment`, `KafkaController.validateReplicas`): decisions, without store or brokers.
//!
//! Invariant: no replica goes unless one that stays is in sync and can lead.

use std::collections::BTreeSet;

use super::context::{Context, Partition};
use super::election::Replicas;
use super::request::{AdminError, Reassignment};
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerId, TopicPartition};

/// Where a partition is and where it goes (`ReplicaAssignment`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Assignment {
    pub replicas: Vec<BrokerId>,
    pub adding: Vec<BrokerId>,
    pub removing: Vec<BrokerId>,
}

/// Those of `all` that are not among `some`.
pub(super) fn without(all: &[BrokerId], some: &[BrokerId]) -> Vec<BrokerId> {
    all.iter().copied().filter(|id| !some.contains(id)).collect()
}

impl Assignment {
    pub(super) fn of(partition: &Partition) -> Self {
        Self {
            replicas: partition.replicas.clone(),
            adding: partition.adding.clone(),
            removing: partition.removing.clone(),
        }
    }

    /// True while a move is under way.
    pub(super) fn moves(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// Where it was before the move.
    fn origin(&self) -> Vec<BrokerId> {
        without(&self.replicas, &self.adding)
    }

    /// Where it will be after the move.
    pub(super) fn target(&self) -> Vec<BrokerId> {
        without(&self.replicas, &self.removing)
    }

    /// The same partition on its way to `target`.
    fn towards(&self, target: &[BrokerId]) -> Self {
        let origin = self.origin();
        let mut replicas = target.to_vec();
        replicas.extend(without(&origin, target));
        Self {
            adding: without(target, &origin),
            removing: without(&origin, target),
            replicas,
        }
    }

    /// The same move, which these replicas stay for.
    fn keeping(mut self, kept: &[BrokerId]) -> Self {
        self.replicas.extend(kept);
        self.removing.extend(kept);
        self
    }

    /// What it is once nothing is left to wait for: everybody who stays is in sync, and one of them can lead.
    fn ended(self, isr: &[BrokerId], can_lead: impl Fn(&BrokerId) -> bool) -> Self {
        let target = self.target();
        let is_over = without(&target, isr).is_empty() && target.iter().any(can_lead);
        if self.moves() && !is_over {
            return self;
        }
        Self {
            replicas: target,
            adding: Vec::new(),
            removing: Vec::new(),
        }
    }
}

/// One that may lack something cannot: until it is known who has most, no replica goes.
fn can_lead(seen: &impl Replicas, broker: BrokerId) -> bool {
    seen.online(broker) && !seen.leaving(broker) && !seen.suspect(broker)
}

/// The ISR, none where there is no state.
pub(super) fn in_sync(partition: &Partition) -> &[BrokerId] {
    let state = partition.state.as_ref();
    state.map_or(&[], |written| &written.state.isr)
}

/// The partition's assignment when its move has nothing to wait for any more; `None` when it has, or none is under way.
pub(super) fn end(context: &Context, name: &TopicPartition) -> Option<Assignment> {
    let partition = context.partition(name)?;
    let before = Assignment::of(partition);
    let seen = context.seen(name);
    let after = before
        .clone()
        .ended(in_sync(partition), |id| can_lead(&seen, *id));
    (after != before).then_some(after)
}

fn invalid<T>(message: impl Into<String>) -> Result<T, AdminError> {
    Err(AdminError::new(ErrorCode::InvalidReplicaAssignment, message))
}

/// Checks a wish, and says what the partition's assignment becomes, if that is another one.
///
/// Where nobody who would stay is in sync and can lead, all that was acknowledged may be with those who would go: they
/// stay until the move is over, and a move is not taken back (`PartitionReassignmentReplicas`, `PartitionReassignmentRevert`).
///
/// # Errors
/// Kafka's codes; INVALID_REPLICA_ASSIGNMENT for a move that cannot be taken back now.
pub(super) fn plan(context: &Context, wish: &Reassignment) -> Result<Option<Assignment>, AdminError> {
    let name = &wish.partition;
    let partition = context.partition(name);
    let before = partition.map(Assignment::of);
    let nowhere = Assignment {
        replicas: Vec::new(),
        adding: Vec::new(),
        removing: Vec::new(),
    };
    let current = before.as_ref().unwrap_or(&nowhere);
    let target = match &wish.replicas {
        Some(replicas) => {
            check(context, wish, replicas, current)?;
            replicas.clone()
        }
        None if current.moves() => current.origin(),
        None => {
            return Err(AdminError::new(
                ErrorCode::NoReassignmentInProgress,
                format!("{name} is not being moved."),
            ));
        }
    };
    let Some(partition) = partition.filter(|_| !context.deleting.contains(&name.topic)) else {
        return Err(AdminError::new(
            ErrorCode::UnknownTopicOrPartition,
            "There is no such partition.",
        ));
    };
    let isr = in_sync(partition);
    let seen = context.seen(name);
    let can_lead = |id: &BrokerId| can_lead(&seen, *id);
    let mut after = current.towards(&target);
    let dropped = without(&current.replicas, &after.replicas);
    let is_led = after.replicas.iter().any(|id| isr.contains(id) && can_lead(id));
    if !dropped.is_empty() && !is_led {
        if wish.replicas.is_none() {
            return invalid(format!(
                "The move of {name} cannot be taken back now: of the replicas that would stay, {}, none is in sync and can \
                 lead. What was acknowledged may be on those only that would go: {}.",
                listed(&after.replicas),
                listed(&dropped)
            ));
        }
        after = after.keeping(&dropped);
    }
    let after = after.ended(isr, can_lead);
    Ok(Some(after).filter(|after| after != current))
}

fn listed(brokers: &[BrokerId]) -> String {
    let brokers: Vec<String> = brokers.iter().map(ToString::to_string).collect();
    brokers.join(", ")
}

fn check(
    context: &Context,
    wish: &Reassignment,
    replicas: &[BrokerId],
    current: &Assignment,
) -> Result<(), AdminError> {
    if replicas.is_empty() {
        return invalid("A partition must have a replica.");
    }
    let distinct: BTreeSet<BrokerId> = replicas.iter().copied().collect();
    if distinct.len() != replicas.len() {
        return invalid("A broker can have one replica of a partition only.");
    }
    if replicas.iter().any(|id| id.get() < 0) {
        return invalid("A broker's id is not negative.");
    }
    let mut away = current.towards(replicas).adding;
    away.retain(|id| !context.brokers.contains_key(id));
    if !away.is_empty() {
        return invalid(format!(
            "Replicas cannot be added on brokers that are not there: {}.",
            listed(&away)
        ));
    }
    let origin = current.origin();
    if !wish.any_number && !origin.is_empty() && origin.len() != replicas.len() {
        return Err(AdminError::new(
            ErrorCode::InvalidReplicationFactor,
            format!(
                "There are {} replicas, and the request does not want another number than that.",
                origin.len()
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[i32]) -> Vec<BrokerId> {
        ids.iter().copied().map(BrokerId).collect()
    }

    fn still(replicas: &[i32]) -> Assignment {
        Assignment {
            replicas: ids(replicas),
            adding: Vec::new(),
            removing: Vec::new(),
        }
    }

    #[test]
    fn a_move_has_old_and_new_replicas_until_the_new_ones_are_in_sync() {
        let moving = still(&[1, 2]).towards(&ids(&[2, 3]));
        assert_eq!(moving.replicas, ids(&[2, 3, 1]));
        assert_eq!(
            (moving.adding.clone(), moving.removing.clone()),
            (ids(&[3]), ids(&[1]))
        );
        assert_eq!(moving.clone().ended(&ids(&[1, 2]), |_| true), moving);
        assert_eq!(moving.clone().ended(&ids(&[1, 2, 3]), |_| true), still(&[2, 3]));
        assert_eq!(moving.clone().ended(&ids(&[1, 2, 3]), |_| false), moving);
        assert_eq!(moving.origin(), ids(&[2, 1]), "the order is the target's");
        assert_eq!(moving.target(), ids(&[2, 3]));
    }

    #[test]
    fn a_move_that_is_taken_back_or_changes_its_goal_drops_what_it_added() {
        let moving = still(&[1]).towards(&ids(&[2]));
        assert_eq!(
            moving.towards(&moving.origin()).ended(&ids(&[1]), |_| true),
            still(&[1])
        );
        let elsewhere = moving.towards(&ids(&[3]));
        assert_eq!(elsewhere.replicas, ids(&[3, 1]));
        assert_eq!((elsewhere.adding, elsewhere.removing), (ids(&[3]), ids(&[1])));
    }

    #[test]
    fn another_order_needs_nobody_in_sync() {
        assert_eq!(
            still(&[1, 2]).towards(&ids(&[2, 1])).ended(&[], |_| false),
            still(&[2, 1])
        );
    }
}
