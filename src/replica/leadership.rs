//! Who leads a partition, in which epoch, and which replicas are in sync: decisions only (the state part of Kafka's
//! `Partition`).
//!
//! Invariant: leader epoch and partition epoch never go down; the ISR is a subset of the replicas. Called by
//! `partition` under its lock. No I/O, no clock.

use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerId, ControllerEpoch, LeaderEpoch, Offset};

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

/// How far another replica is, as its fetches tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Follower {
    id: BrokerId,
    log_end: Offset,
    log_start: Offset,
}

/// What a decision of the controller changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Applied {
    /// It was older than what is known: nothing changed.
    Stale,
    /// Role and epoch are as before; the ISR or the replicas may have changed.
    SameEpoch,
    /// A new epoch began.
    NewEpoch {
        /// True when this broker was not the leader before.
        new_leader: bool,
    },
}

/// The leadership of one partition as this broker knows it.
#[derive(Debug)]
pub struct Leadership {
    me: BrokerId,
    role: Role,
    decided: LeaderAndIsr,
    followers: Vec<Follower>,
    /// Where the epoch of this broker's leadership starts.
    epoch_start: Option<Offset>,
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
        }
    }

    /// What this broker is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// True for the leader.
    pub fn is_leader(&self) -> bool {
        self.role == Role::Leader
    }

    /// The last decision.
    pub fn decided(&self) -> &LeaderAndIsr {
        &self.decided
    }

    /// The current leader epoch.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.decided.leader_epoch
    }

    /// Takes a decision of the controller. `log_end` is where a new epoch of this broker's leadership starts.
    pub fn apply(&mut self, decision: LeaderAndIsr, log_end: Offset) -> Applied {
        if decision.controller_epoch < self.decided.controller_epoch
            || decision.leader_epoch < self.decided.leader_epoch
            || decision.partition_epoch < self.decided.partition_epoch
        {
            return Applied::Stale;
        }
        let new_epoch = decision.leader_epoch > self.decided.leader_epoch || self.role == Role::Undecided;
        let was_leader = self.is_leader();
        self.role = if decision.leader == self.me {
            Role::Leader
        } else {
            Role::Follower
        };
        self.decided = decision;
        self.decided.isr.retain(|id| self.decided.replicas.contains(id));
        if !self.is_leader() {
            self.followers.clear();
            self.epoch_start = None;
        } else {
            self.followers
                .retain(|one| self.decided.replicas.contains(&one.id));
            for id in &self.decided.replicas {
                if *id != self.me && !self.followers.iter().any(|one| one.id == *id) {
                    self.followers.push(Follower {
                        id: *id,
                        log_end: Offset(-1),
                        log_start: Offset(-1),
                    });
                }
            }
            if new_epoch || !was_leader {
                self.epoch_start = Some(log_end);
                for follower in &mut self.followers {
                    follower.log_end = Offset(-1);
                    follower.log_start = Offset(-1);
                }
            }
        }
        if new_epoch {
            Applied::NewEpoch {
                new_leader: self.is_leader() && !was_leader,
            }
        } else {
            Applied::SameEpoch
        }
    }

    /// Whether a request may be served that names `client_epoch` (−1 for none), by the leader only or by any replica.
    ///
    /// # Errors
    /// FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH or NOT_LEADER_OR_FOLLOWER (`Partition.checkCurrentLeaderEpoch`).
    pub fn check(&self, client_epoch: i32, leader_only: bool) -> Result<(), ErrorCode> {
        if client_epoch >= 0 {
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

    /// The in-sync replicas that a write with acks=all needs: `min.insync.replicas`, but no more than there are
    /// replicas (`Partition.effectiveMinIsr`).
    pub fn effective_min_isr(&self, min_insync_replicas: i32) -> usize {
        usize::try_from(min_insync_replicas)
            .unwrap_or(0)
            .min(self.decided.replicas.len())
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

    /// The high watermark that the replicas allow: the least log end of those in sync. `None` while this broker does
    /// not lead or the ISR is smaller than `min.insync.replicas` demands (it must not advance then; pitfall 14).
    pub fn high_watermark(&self, log_end: Offset, min_insync_replicas: i32) -> Option<Offset> {
        if !self.is_leader() || self.decided.isr.len() < self.effective_min_isr(min_insync_replicas) {
            return None;
        }
        let least = self
            .followers
            .iter()
            .filter(|one| self.decided.isr.contains(&one.id))
            .map(|one| one.log_end)
            .min();
        Some(least.map_or(log_end, |least| least.min(log_end)))
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

    /// The least log start of all replicas, for DeleteRecords.
    pub fn low_watermark(&self, log_start: Offset) -> Offset {
        self.followers
            .iter()
            .map(|one| one.log_start)
            .min()
            .map_or(log_start, |least| least.min(log_start))
    }

    /// Takes from a follower's fetch how far it is.
    ///
    /// # Errors
    /// UNKNOWN_LEADER_EPOCH, or NOT_LEADER_OR_FOLLOWER for requests without an epoch, when `id` is no replica
    /// (`Partition.followerReplicaOrThrow`).
    pub fn follower_fetched(
        &mut self,
        id: BrokerId,
        client_epoch: i32,
        log_end: Offset,
        log_start: Offset,
    ) -> Result<(), ErrorCode> {
        self.check_follower(id, client_epoch)?;
        if let Some(follower) = self.followers.iter_mut().find(|one| one.id == id) {
            follower.log_end = log_end;
            follower.log_start = log_start;
        }
        Ok(())
    }

    /// Whether `id` may fetch as a follower.
    ///
    /// # Errors
    /// As [`follower_fetched`](Self::follower_fetched).
    pub fn check_follower(&self, id: BrokerId, client_epoch: i32) -> Result<(), ErrorCode> {
        if self.followers.iter().any(|one| one.id == id) {
            Ok(())
        } else if client_epoch >= 0 {
            Err(ErrorCode::UnknownLeaderEpoch)
        } else {
            Err(ErrorCode::NotLeaderOrFollower)
        }
    }

    /// True while a new leader's high watermark has not reached the start of its epoch: the latest offset is not known
    /// to clients then (KIP-207).
    pub fn lags_behind_epoch(&self, high_watermark: Offset) -> bool {
        self.is_leader() && self.epoch_start.is_some_and(|start| start > high_watermark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(leader: i32, leader_epoch: i32, partition_epoch: i32, isr: &[i32]) -> LeaderAndIsr {
        LeaderAndIsr {
            controller_epoch: ControllerEpoch(1),
            leader: BrokerId(leader),
            leader_epoch: LeaderEpoch(leader_epoch),
            partition_epoch,
            isr: isr.iter().copied().map(BrokerId).collect(),
            replicas: vec![BrokerId(1), BrokerId(2), BrokerId(3)],
        }
    }

    fn leader(isr: &[i32]) -> Leadership {
        let mut leadership = Leadership::new(BrokerId(1));
        assert_eq!(
            leadership.apply(decision(1, 5, 0, isr), Offset(10)),
            Applied::NewEpoch { new_leader: true }
        );
        leadership
    }

    #[test]
    fn requests_are_checked_by_epoch_first_and_role_second() {
        let leader = leader(&[1]);
        let mut follower = Leadership::new(BrokerId(1));
        follower.apply(decision(2, 5, 0, &[2]), Offset(0));
        let undecided = Leadership::new(BrokerId(1));
        for (leadership, epoch, leader_only, expected) in [
            (&leader, -1, true, Ok(())),
            (&leader, 5, true, Ok(())),
            (&leader, 4, true, Err(ErrorCode::FencedLeaderEpoch)),
            (&leader, 6, true, Err(ErrorCode::UnknownLeaderEpoch)),
            (&follower, 5, true, Err(ErrorCode::NotLeaderOrFollower)),
            (&follower, 5, false, Ok(())),
            (&follower, 4, true, Err(ErrorCode::FencedLeaderEpoch)),
            (&undecided, -1, false, Err(ErrorCode::NotLeaderOrFollower)),
        ] {
            assert_eq!(
                leadership.check(epoch, leader_only),
                expected,
                "{epoch} {leader_only}"
            );
        }
    }

    #[test]
    fn older_decisions_change_nothing() {
        let mut leadership = leader(&[1]);
        leadership.apply(decision(1, 5, 3, &[1, 2]), Offset(12));
        for stale in [
            decision(2, 4, 9, &[2]),
            decision(2, 5, 2, &[2]),
            LeaderAndIsr {
                controller_epoch: ControllerEpoch(0),
                ..decision(2, 9, 9, &[2])
            },
        ] {
            assert_eq!(leadership.apply(stale, Offset(12)), Applied::Stale);
            assert!(leadership.is_leader());
            assert_eq!(leadership.decided().isr, [BrokerId(1), BrokerId(2)]);
        }
    }

    #[test]
    fn min_insync_replicas_is_no_more_than_the_replicas() {
        let mut alone = Leadership::new(BrokerId(1));
        let mut of_one = decision(1, 0, 0, &[1]);
        of_one.replicas = vec![BrokerId(1)];
        alone.apply(of_one, Offset(0));
        assert_eq!(alone.check_append(-1, 2), Ok(LeaderEpoch(0)));
        assert_eq!(alone.high_watermark(Offset(7), 2), Some(Offset(7)));

        let three = leader(&[1]);
        assert_eq!(three.check_append(-1, 2), Err(ErrorCode::NotEnoughReplicas));
        assert_eq!(three.check_append(1, 2), Ok(LeaderEpoch(5)));
        assert_eq!(three.high_watermark(Offset(7), 2), None);
        assert_eq!(three.acknowledgement(2), ErrorCode::NotEnoughReplicasAfterAppend);
        assert_eq!(three.acknowledgement(1), ErrorCode::None);
    }

    #[test]
    fn the_high_watermark_is_the_least_log_end_in_sync() {
        let mut leadership = leader(&[1, 2]);
        assert_eq!(leadership.high_watermark(Offset(20), 1), Some(Offset(-1)));
        assert_eq!(
            leadership.follower_fetched(BrokerId(2), 5, Offset(15), Offset(3)),
            Ok(())
        );
        assert_eq!(leadership.high_watermark(Offset(20), 1), Some(Offset(15)));
        // One that is not in sync does not count for the high watermark, but for the low watermark.
        let _ = leadership.follower_fetched(BrokerId(3), 5, Offset(2), Offset(1));
        assert_eq!(leadership.high_watermark(Offset(20), 1), Some(Offset(15)));
        assert_eq!(leadership.low_watermark(Offset(4)), Offset(1));
    }

    #[test]
    fn strangers_do_not_fetch_as_followers() {
        let mut leadership = leader(&[1]);
        let mut fetch = |epoch| leadership.follower_fetched(BrokerId(9), epoch, Offset(0), Offset(0));
        assert_eq!(fetch(5), Err(ErrorCode::UnknownLeaderEpoch));
        assert_eq!(fetch(-1), Err(ErrorCode::NotLeaderOrFollower));
    }

    #[test]
    fn a_new_leader_says_when_its_latest_offset_is_not_known() {
        let leadership = leader(&[1, 2]);
        assert!(leadership.lags_behind_epoch(Offset(9)));
        assert!(!leadership.lags_behind_epoch(Offset(10)));
    }
}
