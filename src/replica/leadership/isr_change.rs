//! Changes of the ISR that a leader wants, one at a time, and what the controller answers (Kafka's `Partition.maybeExpandIsr`,
//! `maybeShrinkIsr`, `handleAlterPartitionUpdate`).

use std::time::Duration;

use super::Leadership;
use crate::base::clock::Instant;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerEpoch, BrokerId, LeaderEpoch, Offset};
use crate::base::planted::planted;
use crate::replica::follower::Follower;

/// How long no change is proposed after the controller refused one: a broker that stops, and goes on fetching, would else
/// be proposed with each of its fetches.
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_millis(500);

/// A change of the ISR that the leader wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IsrChange {
    /// The epoch of the leadership.
    pub leader_epoch: LeaderEpoch,
    /// The partition epoch that it builds on.
    pub partition_epoch: i32,
    /// The ISR as it is to be, each member with the broker epoch of its last fetch, −1 where it told none.
    pub isr: Vec<(BrokerId, BrokerEpoch)>,
    /// Tells it apart from other changes of the same partition.
    pub serial: u64,
}

/// What the controller answered to a change of the ISR.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IsrState {
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// The ISR.
    pub isr: Vec<BrokerId>,
    /// The version of the partition's state in the store.
    pub partition_epoch: i32,
}

/// What becomes of a change of the ISR that was answered (`Partition.handleAlterPartitionUpdate`,
/// `handleAlterPartitionError`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answered {
    /// Something else came in between: the answer says nothing any more.
    Outdated,
    /// The ISR is what the answer says.
    Committed,
    /// It was not made, and will not be: the ISR is what it was.
    Refused,
    /// The leader knows less than the controller: nothing is changed until the controller has told it.
    Waits,
    /// It may or may not have been made: to be sent again.
    Again,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Expands(BrokerId),
    Shrinks,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    pub(super) kind: Kind,
    pub(super) serial: u64,
}

impl Leadership {
    /// True while a change of the ISR is under way.
    pub fn is_isr_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    /// True for a follower that is not in the ISR, while nothing is in flight.
    pub fn could_expand(&self, id: BrokerId) -> bool {
        self.is_leader() && self.in_flight.is_none() && !self.decided.isr.contains(&id)
    }

    /// Proposes that a follower, which has just fetched, comes into the ISR: it has all up to the high watermark, and all
    /// up to the start of the leader's epoch (KAFKA-7128). Its registration has to be the one that the cluster knows, as
    /// far as both are known (KIP-903): a replica that came back empty has told another epoch or fetched anew.
    /// `registered`: the broker epoch of its registration if it is alive, −1 for an unknown one. Kafka:
    /// `Partition.maybeExpandIsr`.
    pub fn propose_expansion(
        &mut self,
        id: BrokerId,
        high_watermark: Offset,
        registered: Option<BrokerEpoch>,
        now: Instant,
    ) -> Option<IsrChange> {
        if !self.may_propose(now) || self.decided.isr.contains(&id) {
            return None;
        }
        let follower = self.followers.iter().find(|one| one.id() == id)?;
        let (told, registered) = (follower.broker_epoch(), registered?);
        let same_life = planted!(
            "cluster-former-life",
            true,
            told.get() < 0 || registered.get() < 0 || told == registered
        );
        let epoch_start = planted!("cluster-joins-early", Offset::ZERO, self.epoch_start?);
        let least = high_watermark.max(epoch_start);
        if !same_life || follower.log_end() < planted!("cluster-joins-behind", Offset::ZERO, least) {
            return None;
        }
        let isr = self.decided.isr.iter().copied().chain([id]).collect();
        Some(self.propose(Kind::Expands(id), isr))
    }

    /// Proposes that followers that were not caught up for too long leave the ISR (`Partition.maybeShrinkIsr`). Yields
    /// them too.
    pub fn propose_shrinking(
        &mut self,
        log_end: Offset,
        now: Instant,
        lag_max: Duration,
    ) -> Option<(IsrChange, Vec<BrokerId>)> {
        if !self.may_propose(now) {
            return None;
        }
        let lags = |id: &BrokerId| {
            let follower = self.followers.iter().find(|one| one.id() == *id);
            follower.is_some_and(|one| !one.is_caught_up(log_end, now, lag_max))
        };
        let (out, stay): (Vec<_>, Vec<_>) = self.decided.isr.iter().copied().partition(lags);
        if out.is_empty() {
            return None;
        }
        let change = self.propose(Kind::Shrinks, stay);
        planted!(
            "cluster-shrinks-at-once",
            self.decided.isr.retain(|id| !out.contains(id))
        );
        Some((change, out))
    }

    fn may_propose(&self, now: Instant) -> bool {
        self.is_leader() && self.in_flight.is_none() && self.paused_until.is_none_or(|until| now >= until)
    }

    fn propose(&mut self, kind: Kind, isr: Vec<BrokerId>) -> IsrChange {
        self.serial += 1;
        self.in_flight = Some(InFlight {
            kind,
            serial: self.serial,
        });
        let epoch_of = |id: BrokerId| {
            let follower = self.followers.iter().find(|one| one.id() == id);
            follower.map_or(BrokerEpoch(-1), Follower::broker_epoch)
        };
        IsrChange {
            leader_epoch: self.decided.leader_epoch,
            partition_epoch: self.decided.partition_epoch,
            isr: isr.into_iter().map(|id| (id, epoch_of(id))).collect(),
            serial: self.serial,
        }
    }

    /// Takes the controller's answer to a change.
    pub fn isr_answered(
        &mut self,
        change: &IsrChange,
        answer: Result<IsrState, ErrorCode>,
        now: Instant,
    ) -> Answered {
        let is_mine = self
            .in_flight
            .is_some_and(|in_flight| in_flight.serial == change.serial)
            && self.decided.leader_epoch == change.leader_epoch;
        if !is_mine {
            return Answered::Outdated;
        }
        match answer {
            Ok(state) => {
                if state.leader_epoch != self.decided.leader_epoch
                    || state.partition_epoch < self.decided.partition_epoch
                {
                    return Answered::Outdated;
                }
                self.decided.isr = state.isr;
                self.decided.isr.retain(|id| self.decided.replicas.contains(id));
                self.decided.partition_epoch = state.partition_epoch;
                self.in_flight = None;
                Answered::Committed
            }
            // The controller says that the partition epoch is right and that it made no change.
            Err(ErrorCode::OperationNotAttempted | ErrorCode::IneligibleReplica) => {
                self.in_flight = None;
                self.paused_until = Some(now.after(PAUSE_AFTER_REFUSAL));
                Answered::Refused
            }
            Err(
                ErrorCode::UnknownTopicOrPartition
                | ErrorCode::FencedLeaderEpoch
                | ErrorCode::InvalidUpdateVersion
                | ErrorCode::InvalidRequest
                | ErrorCode::NewLeaderElected,
            ) => Answered::Waits,
            Err(_) if planted!("cluster-isr-reply-lost", true, false) => {
                self.in_flight = None;
                Answered::Refused
            }
            // Among them UNKNOWN_TOPIC_ID: a controller that has just been elected may not have told itself of all topics yet.
            Err(_) => Answered::Again,
        }
    }
}
