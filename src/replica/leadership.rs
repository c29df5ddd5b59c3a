//! Who leads a partition, in which epoch, and which replicas are in sync: decisions only (the state part of Kafka's
//! `Partition`).
//!
//! Invariant: leader epoch and partition epoch never go down; the ISR is a subset of the replicas; one change of the ISR
//! is in flight at most, and while it is, the high watermark waits for every replica that may be in sync (`maximalIsr`).
//! `min.insync.replicas` counts the ISR that the controller has confirmed, also where Kafka counts the maximal one (the
//! acknowledgement): it tells less often that a record is safe. Called by `partition` under its lock. No I/O, no clock.

mod isr_change;

use std::time::Duration;

use crate::base::clock::Instant;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerId, ControllerEpoch, LeaderEpoch, Offset};
use crate::base::planted::planted;
use crate::config::LogConfig;

pub use self::isr_change::{Answered, IsrChange, IsrState};
use self::isr_change::{InFlight, Kind};
use super::follower::{Follower, FollowerFetch};

/// What the controller decided about one partition (a row of LeaderAndIsr).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaderAndIsr {
    /// The reign in which it was decided.
    pub controller_epoch: ControllerEpoch,
    /// The leader; −1 for none.
    pub leader: BrokerId,
    /// The epoch of its leadership.
    pub leader_epoch: LeaderEpoch,
    /// The version of the partition's state in the store (Kafka's `zkVersion`, `partitionEpoch`).
    pub partition_epoch: i32,
    /// In-sync replicas.
    pub isr: Vec<BrokerId>,
    /// All replicas.
    pub replicas: Vec<BrokerId>,
}

/// What this broker is to a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Nothing was decided yet since the start.
    Undecided,
    /// The leader.
    Leader,
    /// A follower.
    Follower,
}

/// What a decision of the controller changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Applied {
    /// Its leader epoch is not above the known one: nothing changed.
    Stale,
    /// This broker has no replica by it: nothing changed.
    NotHere,
    /// Its partition epoch is below the known one: nothing changed, and the controller is not told.
    Ignored,
    /// A new epoch began.
    NewEpoch {
        /// True when this broker was not the leader before.
        new_leader: bool,
    },
}

/// What the high watermark depends on besides the replicas.
pub struct Moment<'a> {
    /// The time; seldom asked for.
    pub now: &'a dyn Fn() -> Instant,
    /// `replica.lag.time.max.ms`.
    pub lag_max: Duration,
    /// Which brokers are alive.
    pub is_alive: &'a dyn Fn(BrokerId) -> bool,
}

/// The leadership of one partition as this broker knows it.
#[derive(Debug)]
pub struct Leadership {
    me: BrokerId,
    role: Role,
    /// The ISR in it is the one that the controller has confirmed.
    decided: LeaderAndIsr,
    followers: Vec<Follower>,
    /// Where the epoch of this broker's leadership starts.
    epoch_start: Option<Offset>,
    in_flight: Option<InFlight>,
    serial: u64,
    /// No change is proposed before.
    paused_until: Option<Instant>,
}

impl Leadership {
    /// Nothing decided yet; `me` is this broker.
    pub fn new(me: BrokerId) -> Self {
        Self {
            me,
            role: Role::Undecided,
            decided: LeaderAndIsr {
                controller_epoch: ControllerEpoch(0),
                leader: BrokerId(-1),
                leader_epoch: LeaderEpoch(-1),
                partition_epoch: -1,
                isr: Vec::new(),
                replicas: Vec::new(),
            },
            followers: Vec::new(),
            epoch_start: None,
            in_flight: None,
            serial: 0,
            paused_until: None,
        }
    }

    /// This broker.
    pub fn me(&self) -> BrokerId {
        self.me
    }

    /// What this broker is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// True for the leader.
    pub fn is_leader(&self) -> bool {
        self.role == Role::Leader
    }

    /// True for a follower in this epoch.
    pub fn follows_in(&self, epoch: LeaderEpoch) -> bool {
        self.role == Role::Follower && self.decided.leader_epoch == epoch
    }

    /// The last decision.
    pub fn decided(&self) -> &LeaderAndIsr {
        &self.decided
    }

    /// True for a replica that is in sync, as the controller has confirmed it.
    pub fn is_in_sync(&self, replica: BrokerId) -> bool {
        self.decided.isr.contains(&replica)
    }

    /// The current leader epoch.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.decided.leader_epoch
    }

    /// Takes a decision of the controller (`ReplicaManager.becomeLeaderOrFollower`, `Partition.makeLeader`,
    /// `makeFollower`). `log_end` is where a new epoch of this broker's leadership starts. A change of the ISR that is in
    /// flight is forgotten: whatever is answered, this is newer.
    pub fn apply(&mut self, decision: LeaderAndIsr, log_end: Offset, now: Instant) -> Applied {
        if decision.leader_epoch <= self.decided.leader_epoch {
            return Applied::Stale;
        }
        if !decision.replicas.contains(&self.me) {
            return Applied::NotHere;
        }
        if decision.partition_epoch < self.decided.partition_epoch {
            return Applied::Ignored;
        }
        let was_leader = self.is_leader();
        self.role = if decision.leader == self.me {
            Role::Leader
        } else {
            Role::Follower
        };
        self.decided = decision;
        self.decided.isr.retain(|id| self.decided.replicas.contains(id));
        self.in_flight = None;
        self.paused_until = None;
        if self.is_leader() {
            self.begin_to_lead(log_end, now, !was_leader);
        } else {
            self.followers = Vec::new();
            self.epoch_start = None;
        }
        Applied::NewEpoch {
            new_leader: self.is_leader() && !was_leader,
        }
    }

    fn begin_to_lead(&mut self, log_end: Offset, now: Instant, new_leader: bool) {
        let (me, replicas) = (self.me, &self.decided.replicas);
        self.followers.retain(|one| replicas.contains(&one.id()));
        for id in replicas {
            if *id != me && !self.followers.iter().any(|one| one.id() == *id) {
                self.followers.push(Follower::new(*id));
            }
        }
        self.epoch_start = Some(log_end);
        for follower in &mut self.followers {
            let in_sync = self.decided.isr.contains(&follower.id());
            follower.epoch_begins(new_leader, in_sync, log_end, now);
        }
    }

    /// Whether a request may be served that names `client_epoch` (−1 for none), by the leader only or by any replica.
    ///
    /// # Errors
    /// FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH or NOT_LEADER_OR_FOLLOWER (`Partition.checkCurrentLeaderEpoch`).
    pub fn check(&self, client_epoch: i32, leader_only: bool) -> Result<(), ErrorCode> {
        if planted!("cluster-epoch-unchecked", false, client_epoch != -1) {
            match client_epoch.cmp(&self.decided.leader_epoch.get()) {
                std::cmp::Ordering::Less => return Err(ErrorCode::FencedLeaderEpoch),
                std::cmp::Ordering::Greater => return Err(ErrorCode::UnknownLeaderEpoch),
                std::cmp::Ordering::Equal => {}
            }
        }
        let served = match self.role {
            Role::Leader => true,
            Role::Follower => !leader_only,
            Role::Undecided => false,
        };
        if served {
            Ok(())
        } else {
            Err(ErrorCode::NotLeaderOrFollower)
        }
    }

    fn effective_min_isr(&self, min_insync_replicas: i32) -> usize {
        LogConfig::effective_min_isr(min_insync_replicas, self.decided.replicas.len())
    }

    /// Whether a write may be appended.
    ///
    /// # Errors
    /// NOT_LEADER_OR_FOLLOWER; NOT_ENOUGH_REPLICAS when `acks` is −1 and the ISR is too small.
    pub fn check_append(&self, acks: i16, min_insync_replicas: i32) -> Result<LeaderEpoch, ErrorCode> {
        if !self.is_leader() {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        if acks == -1 && self.decided.isr.len() < self.effective_min_isr(min_insync_replicas) {
            return Err(ErrorCode::NotEnoughReplicas);
        }
        Ok(self.decided.leader_epoch)
    }

    /// The high watermark that the replicas allow: the least log end of those that are, or may be, in sync, and of those
    /// that could join at once, which they could not if it ran ahead of them. `None` while this broker does not lead or
    /// the ISR is smaller than `min.insync.replicas` demands (it must not advance then; pitfall 14). Kafka:
    /// `Partition.maybeIncrementLeaderHW`.
    pub fn high_watermark(
        &self,
        log_end: Offset,
        min_insync_replicas: i32,
        moment: &Moment<'_>,
    ) -> Option<Offset> {
        let least = planted!(
            "cluster-watermark-under-min",
            1,
            self.effective_min_isr(min_insync_replicas)
        );
        if !self.is_leader() || self.decided.isr.len() < least {
            return None;
        }
        let mut allowed = log_end;
        for follower in &self.followers {
            let waits_for = follower.log_end() < allowed
                && (self.may_be_in_sync(follower.id())
                    || (follower.is_caught_up(log_end, (moment.now)(), moment.lag_max)
                        && (moment.is_alive)(follower.id())));
            if waits_for {
                allowed = follower.log_end();
            }
        }
        Some(allowed)
    }

    /// True for members of the ISR, and of the one that the controller may have confirmed already (`maximalIsr`).
    fn may_be_in_sync(&self, id: BrokerId) -> bool {
        let may_have_joined = self
            .in_flight
            .is_some_and(|change| change.kind == Kind::Expands(id));
        self.decided.isr.contains(&id) || planted!("cluster-maximal-isr", false, may_have_joined)
    }

    /// What a produce with acks=all is told once the high watermark has passed its records.
    pub fn acknowledgement(&self, min_insync_replicas: i32) -> ErrorCode {
        if !self.is_leader() {
            ErrorCode::NotLeaderOrFollower
        } else if self.decided.isr.len() < self.effective_min_isr(min_insync_replicas) {
            ErrorCode::NotEnoughReplicasAfterAppend
        } else {
            ErrorCode::None
        }
    }

    /// The least log start of all replicas that are alive, for DeleteRecords (`Partition.lowWatermarkIfLeader`).
    pub fn low_watermark(&self, log_start: Offset, is_alive: impl Fn(BrokerId) -> bool) -> Offset {
        let mut low = log_start;
        for follower in &self.followers {
            if follower.log_start() < low && is_alive(follower.id()) {
                low = follower.log_start();
            }
        }
        low
    }

    /// Takes from a follower's fetch how far it is. `leader_log_end`: this log's end at the fetch.
    ///
    /// # Errors
    /// UNKNOWN_LEADER_EPOCH, or NOT_LEADER_OR_FOLLOWER for requests without an epoch, when `id` is no replica
    /// (`Partition.followerReplicaOrThrow`).
    pub fn follower_fetched(
        &mut self,
        id: BrokerId,
        client_epoch: i32,
        fetch: &FollowerFetch,
        leader_log_end: Offset,
        now: Instant,
    ) -> Result<(), ErrorCode> {
        self.check_follower(id, client_epoch)?;
        if let Some(follower) = self.followers.iter_mut().find(|one| one.id() == id) {
            follower.fetched(fetch, leader_log_end, now);
        }
        Ok(())
    }

    /// Whether `id` may fetch as a follower.
    ///
    /// # Errors
    /// As [`follower_fetched`](Self::follower_fetched).
    pub fn check_follower(&self, id: BrokerId, client_epoch: i32) -> Result<(), ErrorCode> {
        if self.followers.iter().any(|one| one.id() == id) {
            Ok(())
        } else if client_epoch >= 0 {
            Err(ErrorCode::UnknownLeaderEpoch)
        } else {
            Err(ErrorCode::NotLeaderOrFollower)
        }
    }

    /// The follower that a consumer is to read from: one that `is_near` to it, in sync, and has the offset that it asks
    /// for; of several the one that has most, and had all most recently. `None` where that is the leader, since it is as
    /// near, or nobody is. Also whether it is the first consumer that is sent there. Replicas out of sync are left out:
    /// they may fall behind without end, and a consumer with them. Kafka: `ReplicaManager.findPreferredReadReplica`,
    /// `RackAwareReplicaSelector`.
    pub fn send_consumer(
        &mut self,
        offset: Offset,
        is_near: impl Fn(BrokerId) -> bool,
        now: impl FnOnce() -> Instant,
    ) -> Option<(BrokerId, bool)> {
        if !self.is_leader() || is_near(self.me) {
            return None;
        }
        let has_offset = |one: &Follower| one.log_start() <= offset && offset <= one.log_end();
        let isr = &self.decided.isr;
        let candidates = self
            .followers
            .iter_mut()
            .filter(|one| isr.contains(&one.id()) && has_offset(one) && is_near(one.id()));
        let chosen = candidates.max_by_key(|one| (one.log_end(), one.caught_up(), one.id()))?;
        let is_first = chosen.consumer_sent(now());
        Some((chosen.id(), is_first))
    }

    /// A follower is told this high watermark; yields the one that it was told before, if consumers are sent to it.
    pub fn follower_told(
        &mut self,
        id: BrokerId,
        high_watermark: Offset,
        now: impl FnOnce() -> Instant,
    ) -> Option<Offset> {
        let follower = self.followers.iter_mut().find(|one| one.id() == id)?;
        follower.told(high_watermark, now)
    }

    /// True while a new leader's high watermark has not reached the start of its epoch: the latest offset is not known
    /// to clients then (KIP-207).
    pub fn lags_behind_epoch(&self, high_watermark: Offset) -> bool {
        self.is_leader() && self.epoch_start.is_some_and(|start| start > high_watermark)
    }
}

#[cfg(test)]
#[path = "leadership_test.rs"]
mod tests;
