//! Who leads a partition: decisions, without store or brokers (Kafka: `Election`, `PartitionLeaderElectionAlgorithms`).

use crate::base::ids::{BrokerId, ControllerEpoch, LeaderEpoch};
use crate::store::Zxid;
use crate::store::znodes::PartitionState;

/// What an election needs to know of the brokers.
pub trait Replicas {
    /// True when the broker lives and the partition's disk on it works.
    fn online(&self, broker: BrokerId) -> bool;
    /// True while the broker, though it may live, is about to stop: it is not elected any more.
    fn leaving(&self, broker: BrokerId) -> bool;
    /// The czxid of the broker's registration, when it lives.
    fn registered(&self, broker: BrokerId) -> Option<Zxid>;
}

/// The first state of a partition: the first replica that is online leads, all that are online are in sync. `None`
/// when none is.
pub fn first(
    replicas: &[BrokerId],
    brokers: &impl Replicas,
    controller_epoch: ControllerEpoch,
) -> Option<PartitionState> {
    let isr: Vec<BrokerId> = replicas
        .iter()
        .copied()
        .filter(|id| brokers.online(*id) && !brokers.leaving(*id))
        .collect();
    Some(PartitionState {
        controller_epoch,
        leader: Some(*isr.first()?),
        leader_epoch: LeaderEpoch(0),
        isr,
        recovering: false,
    })
}

/// The state that a partition must have now, or `None` when it may stay as it is. `mzxid` is the change that last
/// wrote its state.
///
/// A replica that has registered again since is taken for bounced. A leader of that kind is elected again, with a new
/// epoch: the batches before and after whatever it lost must not share one. A follower of that kind leaves the ISR until
/// it has caught up: after a power cut it may lack what it had acknowledged. Where all in sync have bounced, one of
/// them leads, alone in the ISR, as nobody knows which of them lost least.
pub fn again(
    replicas: &[BrokerId],
    state: &PartitionState,
    mzxid: Zxid,
    brokers: &impl Replicas,
    unclean: bool,
    controller_epoch: ControllerEpoch,
) -> Option<PartitionState> {
    let stayed =
        |id: &BrokerId| brokers.online(*id) && brokers.registered(*id).is_some_and(|czxid| czxid <= mzxid);
    let electable = |id: &BrokerId| brokers.online(*id) && !brokers.leaving(*id);
    let in_sync: Vec<BrokerId> = state.isr.iter().copied().filter(stayed).collect();
    if let Some(leader) = state.leader
        && in_sync.contains(&leader)
    {
        if in_sync == state.isr {
            return None;
        }
        return next(state, Some(leader), in_sync, state.recovering, controller_epoch);
    }
    if let Some(leader) = replicas.iter().find(|id| in_sync.contains(id) && electable(id)) {
        return next(state, Some(*leader), in_sync, state.recovering, controller_epoch);
    }
    if let Some(leader) = replicas
        .iter()
        .copied()
        .find(|id| state.isr.contains(id) && electable(id))
    {
        return next(
            state,
            Some(leader),
            vec![leader],
            state.recovering,
            controller_epoch,
        );
    }
    if unclean && let Some(leader) = replicas.iter().copied().find(electable) {
        return next(state, Some(leader), vec![leader], true, controller_epoch);
    }
    // Nobody may lead. The list of those who could, if they came back, is kept.
    state.leader?;
    next(state, None, state.isr.clone(), state.recovering, controller_epoch)
}

/// The state of a partition whose replicas are to be `target` only, all of which are in sync: the leader is one of them,
/// and nobody else is in the ISR (`reassignPartitionLeaderElection` and what follows it). `None` when none can lead.
pub fn moved(
    target: &[BrokerId],
    state: &PartitionState,
    brokers: &impl Replicas,
    controller_epoch: ControllerEpoch,
) -> Option<PartitionState> {
    let isr: Vec<BrokerId> = state
        .isr
        .iter()
        .copied()
        .filter(|id| target.contains(id))
        .collect();
    let can_lead = |id: &BrokerId| isr.contains(id) && brokers.online(*id);
    let leader = state.leader.filter(can_lead).or_else(|| {
        target
            .iter()
            .copied()
            .find(|id| can_lead(id) && !brokers.leaving(*id))
    })?;
    next(state, Some(leader), isr, state.recovering, controller_epoch)
}

/// The state of a partition one of whose replicas stops under control: another one in sync leads, and it leaves the ISR
/// (`controlledShutdownPartitionLeaderElection`). `None` when it must stay: it leads and nobody else can, or it is not
/// in the ISR.
pub fn left(
    replicas: &[BrokerId],
    state: &PartitionState,
    leaving: BrokerId,
    brokers: &impl Replicas,
    controller_epoch: ControllerEpoch,
) -> Option<PartitionState> {
    let isr: Vec<BrokerId> = state
        .isr
        .iter()
        .copied()
        .filter(|id| *id != leaving && !brokers.leaving(*id) && brokers.online(*id))
        .collect();
    let leader = match state.leader? {
        leader if leader != leaving => {
            if !state.isr.contains(&leaving) {
                return None;
            }
            let isr = state.isr.iter().copied().filter(|id| *id != leaving).collect();
            return next(state, Some(leader), isr, state.recovering, controller_epoch);
        }
        _ => replicas.iter().copied().find(|id| isr.contains(id))?,
    };
    next(state, Some(leader), isr, state.recovering, controller_epoch)
}

/// What became of the wish that the first replica leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Preferred {
    /// It leads already.
    Leads,
    /// It can lead: the state to be written.
    Elected(PartitionState),
    /// It is not in sync, or does not live.
    NotAvailable,
}

/// Makes the first replica the leader, if it is online and in sync (`preferredReplicaPartitionLeaderElection`).
pub fn preferred(
    replicas: &[BrokerId],
    state: &PartitionState,
    brokers: &impl Replicas,
    controller_epoch: ControllerEpoch,
) -> Preferred {
    let Some(first) = replicas.first().copied() else {
        return Preferred::NotAvailable;
    };
    if state.leader == Some(first) {
        return Preferred::Leads;
    }
    if !brokers.online(first) || brokers.leaving(first) || !state.isr.contains(&first) {
        return Preferred::NotAvailable;
    }
    let isr = state.isr.clone();
    next(state, Some(first), isr, state.recovering, controller_epoch)
        .map_or(Preferred::NotAvailable, Preferred::Elected)
}

/// The same leader, with a new epoch: what else changed about the partition is told under it, for brokers do not look
/// at an epoch that they know.
pub fn renewed(state: &PartitionState, controller_epoch: ControllerEpoch) -> Option<PartitionState> {
    let isr = state.isr.clone();
    next(state, state.leader, isr, state.recovering, controller_epoch)
}

fn next(
    state: &PartitionState,
    leader: Option<BrokerId>,
    isr: Vec<BrokerId>,
    recovering: bool,
    controller_epoch: ControllerEpoch,
) -> Option<PartitionState> {
    Some(PartitionState {
        controller_epoch,
        leader,
        leader_epoch: LeaderEpoch(state.leader_epoch.get().saturating_add(1)),
        isr,
        recovering,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// The czxid of one that is about to stop.
    const LEAVING: Zxid = -1;

    /// Live brokers and the czxid of each.
    struct Brokers(BTreeMap<i32, Zxid>);

    impl Replicas for Brokers {
        fn online(&self, broker: BrokerId) -> bool {
            self.0.contains_key(&broker.get())
        }

        fn leaving(&self, broker: BrokerId) -> bool {
            self.0.get(&broker.get()).is_some_and(|czxid| *czxid == LEAVING)
        }

        fn registered(&self, broker: BrokerId) -> Option<Zxid> {
            self.0.get(&broker.get()).copied()
        }
    }

    const EPOCH: ControllerEpoch = ControllerEpoch(7);

    fn ids(ids: &[i32]) -> Vec<BrokerId> {
        ids.iter().copied().map(BrokerId).collect()
    }

    fn state(leader: i32, epoch: i32, isr: &[i32]) -> PartitionState {
        PartitionState {
            controller_epoch: ControllerEpoch(1),
            leader: Some(BrokerId(leader)).filter(|id| id.get() >= 0),
            leader_epoch: LeaderEpoch(epoch),
            isr: ids(isr),
            recovering: false,
        }
    }

    /// Elects at mzxid 100; brokers live with these czxids.
    fn elect(
        replicas: &[i32],
        before: &PartitionState,
        live: &[(i32, Zxid)],
        unclean: bool,
    ) -> Option<(i32, i32, Vec<i32>)> {
        let brokers = Brokers(live.iter().copied().collect());
        again(&ids(replicas), before, 100, &brokers, unclean, EPOCH).map(|state| {
            assert_eq!(state.controller_epoch, EPOCH);
            (
                state.leader.map_or(-1, BrokerId::get),
                state.leader_epoch.get(),
                state.isr.iter().map(|id| id.get()).collect(),
            )
        })
    }

    #[test]
    fn a_leader_that_stayed_keeps_its_epoch() {
        assert_eq!(
            elect(&[1, 2], &state(1, 5, &[1, 2]), &[(1, 10), (2, 20)], false),
            None
        );
    }

    #[test]
    fn a_bounced_leader_is_elected_again_with_a_new_epoch() {
        assert_eq!(
            elect(&[1], &state(1, 5, &[1]), &[(1, 101)], false),
            Some((1, 6, vec![1]))
        );
        // The others that are in sync come first.
        assert_eq!(
            elect(&[1, 2], &state(1, 5, &[1, 2]), &[(1, 101), (2, 10)], false),
            Some((2, 6, vec![2]))
        );
        assert_eq!(
            elect(&[1, 2], &state(1, 5, &[1, 2]), &[(1, 101), (2, 102)], false),
            Some((1, 6, vec![1]))
        );
    }

    #[test]
    fn a_bounced_follower_leaves_the_isr() {
        assert_eq!(
            elect(&[1, 2], &state(1, 5, &[1, 2]), &[(1, 10), (2, 101)], false),
            Some((1, 6, vec![1]))
        );
    }

    #[test]
    fn a_broker_that_leaves_keeps_what_it_leads_and_is_not_elected() {
        assert_eq!(
            elect(&[1, 2], &state(1, 5, &[1, 2]), &[(1, LEAVING), (2, 10)], false),
            None
        );
        assert_eq!(
            elect(
                &[1, 2, 3],
                &state(1, 5, &[1, 2, 3]),
                &[(2, LEAVING), (3, 10)],
                false
            ),
            Some((3, 6, vec![2, 3]))
        );
        assert_eq!(
            elect(&[1, 2], &state(1, 5, &[1, 2]), &[(2, LEAVING)], false),
            Some((-1, 6, vec![1, 2]))
        );
    }

    /// The state in which a partition is left by broker 1, as numbers.
    fn leave(before: &PartitionState, live: &[(i32, Zxid)]) -> Option<(i32, i32, Vec<i32>)> {
        let brokers = Brokers(live.iter().copied().collect());
        left(&ids(&[1, 2, 3]), before, BrokerId(1), &brokers, EPOCH).map(numbers)
    }

    fn numbers(state: PartitionState) -> (i32, i32, Vec<i32>) {
        (
            state.leader.map_or(-1, BrokerId::get),
            state.leader_epoch.get(),
            state.isr.iter().map(|id| id.get()).collect(),
        )
    }

    #[test]
    fn a_controlled_shutdown_moves_what_another_replica_in_sync_can_lead() {
        let all = [(1, LEAVING), (2, 10), (3, 10)];
        assert_eq!(leave(&state(1, 5, &[1, 3, 2]), &all), Some((2, 6, vec![3, 2])));
        assert_eq!(leave(&state(2, 5, &[1, 2]), &all), Some((2, 6, vec![2])));
        assert_eq!(leave(&state(2, 5, &[2]), &all), None);
        assert_eq!(leave(&state(1, 5, &[1]), &all), None);
        assert_eq!(leave(&state(1, 5, &[1, 2]), &[(1, LEAVING), (2, LEAVING)]), None);
        assert_eq!(leave(&state(-1, 5, &[1, 2]), &all), None);
    }

    #[test]
    fn a_move_ends_with_the_target_alone() {
        let brokers = |live: &[i32]| Brokers(live.iter().map(|id| (*id, 10)).collect());
        let end = |before: &PartitionState, live: &[i32]| {
            moved(&ids(&[3, 2]), before, &brokers(live), EPOCH).map(numbers)
        };
        assert_eq!(
            end(&state(1, 5, &[1, 2, 3]), &[1, 2, 3]),
            Some((3, 6, vec![2, 3]))
        );
        assert_eq!(
            end(&state(2, 5, &[1, 2, 3]), &[1, 2, 3]),
            Some((2, 6, vec![2, 3]))
        );
        assert_eq!(end(&state(1, 5, &[1, 2, 3]), &[1, 2]), Some((2, 6, vec![2, 3])));
        assert_eq!(end(&state(1, 5, &[1, 2, 3]), &[1]), None);
    }

    #[test]
    fn only_replicas_in_sync_are_elected() {
        let live = [(2, 10), (3, 10)];
        assert_eq!(
            elect(&[1, 2, 3], &state(1, 5, &[1, 3]), &live, false),
            Some((3, 6, vec![3]))
        );
        assert_eq!(
            elect(&[1, 2, 3], &state(1, 5, &[1]), &live, false),
            Some((-1, 6, vec![1]))
        );
        assert_eq!(
            elect(&[1, 2, 3], &state(1, 5, &[1]), &live, true),
            Some((2, 6, vec![2]))
        );
        assert_eq!(elect(&[1, 2, 3], &state(-1, 6, &[1]), &live, false), None);
        assert_eq!(
            elect(&[1, 2, 3], &state(-1, 6, &[1]), &[(1, 200)], false),
            Some((1, 7, vec![1]))
        );
    }

    #[test]
    fn dead_followers_leave_the_isr() {
        assert_eq!(
            elect(&[1, 2], &state(1, 5, &[1, 2]), &[(1, 10)], false),
            Some((1, 6, vec![1]))
        );
    }

    #[test]
    fn a_new_partition_is_led_by_its_first_live_replica() {
        let brokers = Brokers(BTreeMap::from([(2, 1), (3, 1)]));
        let made = first(&ids(&[1, 3, 2]), &brokers, EPOCH).unwrap();
        assert_eq!((made.leader, made.leader_epoch.get()), (Some(BrokerId(3)), 0));
        assert_eq!(made.isr, ids(&[3, 2]));
        assert_eq!(first(&ids(&[1]), &brokers, EPOCH), None);
    }

    #[test]
    fn the_preferred_replica_is_elected_when_it_is_online_and_in_sync() {
        let brokers = |live: &[i32]| Brokers(live.iter().map(|id| (*id, 10)).collect());
        let prefer =
            |before: &PartitionState, live: &[i32]| preferred(&ids(&[1, 2]), before, &brokers(live), EPOCH);
        assert_eq!(prefer(&state(1, 5, &[1, 2]), &[1, 2]), Preferred::Leads);
        assert_eq!(prefer(&state(2, 5, &[2]), &[1, 2]), Preferred::NotAvailable);
        assert_eq!(prefer(&state(2, 5, &[1, 2]), &[2]), Preferred::NotAvailable);
        let Preferred::Elected(after) = prefer(&state(2, 5, &[1, 2]), &[1, 2]) else {
            panic!("not elected");
        };
        assert_eq!((after.leader, after.leader_epoch.get()), (Some(BrokerId(1)), 6));
        assert_eq!(after.isr, ids(&[1, 2]));
        assert_eq!(
            preferred(&[], &state(-1, 5, &[1]), &brokers(&[1]), EPOCH),
            Preferred::NotAvailable
        );
    }

    proptest! {
        #[test]
        fn every_change_raises_the_epoch_and_elects_cleanly_unless_allowed(
            replicas in prop::sample::subsequence(vec![1, 2, 3, 4], 1..=4),
            isr_mask in 1..16u8, leader in 0..5i32, live in prop::collection::btree_map(1..5i32, 50..150i64, 0..4),
            unclean in any::<bool>(),
        ) {
            let isr: Vec<i32> = replicas.iter().copied().filter(|id| isr_mask & (1 << (id - 1)) != 0).collect();
            prop_assume!(!isr.is_empty());
            let before = state(if isr.contains(&leader) { leader } else { -1 }, 5, &isr);
            let brokers = Brokers(live.clone());
            if let Some(after) = again(&ids(&replicas), &before, 100, &brokers, unclean, EPOCH) {
                prop_assert_eq!(after.leader_epoch.get(), 6);
                prop_assert!(!after.isr.is_empty());
                if let Some(leader) = after.leader {
                    prop_assert!(live.contains_key(&leader.get()) && after.isr.contains(&leader));
                    prop_assert!(before.isr.contains(&leader) || (unclean && after.recovering));
                    // What was written by this controller is settled: a second look changes nothing.
                    let settled = again(&ids(&replicas), &after, 200, &brokers, unclean, EPOCH);
                    prop_assert_eq!(settled, None);
                } else {
                    prop_assert_eq!(&after.isr, &before.isr);
                }
            } else {
                let stayed = |id: i32| live.get(&id).is_some_and(|czxid| *czxid <= 100);
                let leader = before.leader.map(BrokerId::get);
                prop_assert!(leader.is_none() || isr.iter().all(|id| stayed(*id)));
            }
        }
    }
}
