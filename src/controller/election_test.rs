//! Elections by tables, and by chance.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::election::*;
use crate::base::ids::{BrokerId, ControllerEpoch, LeaderEpoch, Offset};
use crate::metadata::control::LogEnd;
use crate::store::Zxid;
use crate::store::znodes::PartitionState;

/// From this id on they are brokers of Kafka.
const KAFKA: i32 = 10;
/// The czxid of one that is about to stop.
const LEAVING: Zxid = -1;

/// Live brokers and the czxid of each; who is eligible; who is suspect, and where its log ends if that is known.
#[derive(Default)]
struct Brokers(BTreeMap<i32, Zxid>, Vec<i32>, BTreeMap<i32, Option<(i32, i64)>>);

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

    fn eligible(&self, broker: BrokerId) -> bool {
        self.1.contains(&broker.get())
    }

    fn suspect(&self, broker: BrokerId) -> bool {
        self.2.contains_key(&broker.get())
    }

    fn tells_losses(&self, broker: BrokerId) -> bool {
        broker.get() < KAFKA
    }

    fn log_end(&self, broker: BrokerId) -> Option<LogEnd> {
        let (epoch, offset) = (*self.2.get(&broker.get())?)?;
        Some(LogEnd {
            epoch: LeaderEpoch(epoch),
            offset: Offset(offset),
        })
    }
}

fn live_brokers(brokers: impl IntoIterator<Item = (i32, Zxid)>) -> Brokers {
    Brokers(brokers.into_iter().collect(), Vec::new(), BTreeMap::new())
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
    let brokers = live_brokers(live.iter().copied());
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
    let brokers = live_brokers(live.iter().copied());
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
    let brokers = |ids: &[i32]| live_brokers(ids.iter().map(|id| (*id, 10)));
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

/// Elects among the replicas 1, 2 and 3 of a partition without leader, all of which have registered again.
fn survive(isr: &[i32], brokers: &Brokers) -> Option<(i32, Vec<i32>)> {
    let after = again(&ids(&[1, 2, 3]), &state(-1, 5, isr), 5, brokers, false, EPOCH);
    after.map(numbers).map(|(leader, _, isr)| (leader, isr))
}

fn suspects(live: &[i32], eligible: &[i32], suspect: &[(i32, Option<(i32, i64)>)]) -> Brokers {
    let live = live.iter().map(|id| (*id, 10)).collect();
    Brokers(live, eligible.to_vec(), suspect.iter().copied().collect())
}

#[test]
fn the_last_in_sync_does_not_lead_when_it_may_have_lost_what_another_has() {
    // Who is eligible and has lost nothing leads.
    assert_eq!(
        survive(&[1], &suspects(&[1, 2], &[2], &[(1, None)])),
        Some((2, vec![2]))
    );
    // It is waited for, and so is one that was in sync some time.
    assert_eq!(survive(&[1], &suspects(&[1, 3], &[2], &[(1, None)])), None);
    assert_eq!(
        survive(&[1], &suspects(&[1, 3], &[], &[(1, Some((4, 100)))])),
        None
    );
    // Who is in sync and has lost nothing may have what the eligible one has not.
    assert_eq!(survive(&[1], &suspects(&[2], &[2], &[])), None);
    assert_eq!(
        survive(&[1, 3], &suspects(&[1, 3], &[2], &[(1, None)])),
        Some((3, vec![3]))
    );
    assert_eq!(survive(&[1, 3], &suspects(&[1, 2], &[2], &[(1, None)])), None);
}

#[test]
fn of_all_who_may_have_lost_something_the_longest_log_leads() {
    let (short, long, later) = (Some((4, 90)), Some((4, 100)), Some((5, 80)));
    let all = |one, two, three| suspects(&[1, 2, 3], &[3], &[(1, one), (2, two), (3, three)]);
    assert_eq!(survive(&[1, 2], &all(short, long, short)), Some((2, vec![2])));
    assert_eq!(survive(&[1, 2], &all(short, long, later)), Some((3, vec![3])));
    assert_eq!(survive(&[1, 2], &all(long, long, short)), Some((1, vec![1])));
    assert_eq!(survive(&[1, 2], &all(short, long, None)), None);
    let unknown =
        |one, two, three| unknown_ends(&ids(&[1, 2, 3]), &state(-1, 5, &[1, 2]), &all(one, two, three));
    assert_eq!(unknown(short, None, None), ids(&[2, 3]));
    assert_eq!(unknown(short, long, short), ids(&[]));
    // One is away: the others are asked for an unclean election, and do not lead without.
    let two = |one, two| suspects(&[1, 2], &[3], &[(1, one), (2, two), (3, None)]);
    assert_eq!(survive(&[1, 2], &two(short, long)), None);
    assert_eq!(
        unknown_ends(&ids(&[1, 2, 3]), &state(-1, 5, &[1, 2]), &two(None, None)),
        ids(&[1, 2])
    );
}

#[test]
fn an_unclean_election_takes_who_has_most() {
    let elected = |isr: &[i32], brokers: &Brokers| {
        let after = again(&ids(&[1, 2, 3]), &state(-1, 5, isr), 5, brokers, true, EPOCH);
        after.map(numbers).map(|(leader, _, isr)| (leader, isr))
    };
    let (short, long) = (Some((4, 90)), Some((4, 100)));
    // 1 was in sync, and its disk is a new one.
    let brokers = suspects(&[1, 2], &[], &[(1, Some((-1, 0))), (2, short)]);
    assert_eq!(elected(&[1], &brokers), Some((2, vec![2])));
    let brokers = suspects(&[1, 2], &[], &[(1, long), (2, short)]);
    assert_eq!(elected(&[1], &brokers), Some((1, vec![1])));
    let brokers = suspects(&[1, 2], &[], &[(1, None), (2, None)]);
    assert_eq!(elected(&[1, 2], &brokers), Some((1, vec![1])));
    // Nobody in sync is here.
    assert_eq!(elected(&[3], &suspects(&[1, 2], &[2], &[])), Some((2, vec![2])));
}

#[test]
fn beside_brokers_of_kafka_the_first_in_sync_leads() {
    let (first, second) = (BrokerId(1), BrokerId(KAFKA));
    let brokers = suspects(&[1, KAFKA], &[KAFKA], &[(1, None)]);
    let before = state(-1, 5, &[1]);
    let after = again(&[second, first], &before, 5, &brokers, false, EPOCH);
    assert_eq!(after.map(numbers), Some((1, 6, vec![1])));
    assert_eq!(unknown_ends(&[second, first], &before, &brokers), ids(&[]));
}

#[test]
fn who_leaves_an_isr_that_is_too_small_stays_eligible_until_it_is_large_enough() {
    let kept = |before: &[i32], after: &[i32], eligible: &[i32], suspect: &[(i32, Option<(i32, i64)>)]| {
        let brokers = suspects(&[1, 2, 3], eligible, suspect);
        let (before, leader) = (state(1, 5, before), after.first().copied().unwrap_or(-1));
        let (eligible, suspect) = kept(&ids(&[1, 2, 3]), &before, &state(leader, 6, after), &brokers, 2);
        let plain = |ids: Vec<BrokerId>| ids.into_iter().map(BrokerId::get).collect::<Vec<_>>();
        (plain(eligible), plain(suspect))
    };
    assert_eq!(kept(&[1, 2, 3], &[1, 2], &[], &[]), (vec![], vec![]));
    assert_eq!(kept(&[1, 2, 3], &[1], &[], &[]), (vec![2, 3], vec![]));
    assert_eq!(kept(&[1, 2], &[1], &[], &[]), (vec![2], vec![]));
    assert_eq!(kept(&[1], &[1], &[2], &[]), (vec![2], vec![]));
    assert_eq!(kept(&[1], &[1, 3], &[2], &[]), (vec![], vec![]));
    // Who has lost something is eligible no more, and who led uncleanly decides what there is.
    assert_eq!(kept(&[1], &[2], &[2], &[(1, None)]), (vec![], vec![]));
    assert_eq!(kept(&[1], &[3], &[2], &[]), (vec![], vec![]));
    // The ISR could acknowledge without those who were eligible, until it was left.
    let before = state(1, 5, &[1, 3]);
    let brokers = suspects(&[], &[2], &[]);
    let after = state(-1, 6, &[1, 3]);
    let (eligible, _) = super::election::kept(&ids(&[1, 2, 3]), &before, &after, &brokers, 2);
    assert_eq!(eligible, ids(&[]));
    // Nobody leads: it stays as it is.
    let brokers = suspects(&[1], &[2], &[(1, None)]);
    let (eligible, suspect) = super::election::kept(
        &ids(&[1, 2, 3]),
        &state(1, 5, &[1]),
        &state(-1, 6, &[1]),
        &brokers,
        2,
    );
    assert_eq!((eligible, suspect), (ids(&[2]), ids(&[1])));
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
    let brokers = live_brokers([(2, 1), (3, 1)]);
    let made = first(&ids(&[1, 3, 2]), &brokers, EPOCH).unwrap();
    assert_eq!((made.leader, made.leader_epoch.get()), (Some(BrokerId(3)), 0));
    assert_eq!(made.isr, ids(&[3, 2]));
    assert_eq!(first(&ids(&[1]), &brokers, EPOCH), None);
}

#[test]
fn the_preferred_replica_is_elected_when_it_is_online_and_in_sync() {
    let brokers = |ids: &[i32]| live_brokers(ids.iter().map(|id| (*id, 10)));
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
        unclean in any::<bool>(), eligible in prop::sample::subsequence(vec![1, 2, 3, 4], 0..=4),
        suspect in prop::collection::btree_map(1..5i32, prop::option::of((0..3i32, 0..9i64)), 0..4),
    ) {
        let isr: Vec<i32> = replicas.iter().copied().filter(|id| isr_mask & (1 << (id - 1)) != 0).collect();
        prop_assume!(!isr.is_empty());
        let before = state(if isr.contains(&leader) { leader } else { -1 }, 5, &isr);
        let eligible: Vec<i32> = eligible.into_iter().filter(|id| !isr.contains(id)).collect();
        let brokers = Brokers(live.clone(), eligible.clone(), suspect.clone());
        let candidate = |id: BrokerId| before.isr.contains(&id) || eligible.contains(&id.get());
        if let Some(after) = again(&ids(&replicas), &before, 100, &brokers, unclean, EPOCH) {
            prop_assert_eq!(after.leader_epoch.get(), 6);
            prop_assert!(!after.isr.is_empty());
            if let Some(leader) = after.leader {
                prop_assert!(live.contains_key(&leader.get()) && after.isr.contains(&leader));
                prop_assert!(unclean || !after.recovering);
                // One that may lack something leads only where all are here, and none has more.
                if !after.recovering && (brokers.suspect(leader) || !candidate(leader)) {
                    for id in ids(&replicas) {
                        prop_assert!(live.contains_key(&id.get()));
                        prop_assert!(id == leader || brokers.log_end(id) <= brokers.log_end(leader));
                        prop_assert!(brokers.suspect(id) || !candidate(id));
                    }
                }
                // What was written by this controller is settled: a second look changes nothing.
                let written = Brokers(live.clone(), Vec::new(), BTreeMap::new());
                let settled = again(&ids(&replicas), &after, 200, &written, unclean, EPOCH);
                prop_assert_eq!(settled, None);
            } else {
                prop_assert_eq!(&after.isr, &before.isr);
            }
        } else {
            let stayed = |id: i32| {
                !suspect.contains_key(&id) && live.get(&id).is_some_and(|czxid| *czxid <= 100)
            };
            let leader = before.leader.map(BrokerId::get);
            prop_assert!(leader.is_none() || isr.iter().all(|id| stayed(*id)));
        }
    }
}
