//! How far a follower gives up its log: decisions only (KIP-101, KIP-279, KIP-320; Kafka:
//! `AbstractFetcherThread.getOffsetTruncationState`, `fetchOffsetAndApplyTruncateAndBuild`).
//!
//! Invariant: what is given up the leader does not have, by its own words in the epoch that is current; a follower
//! never truncates to its own high watermark as long as it knows the epochs of its records (KIP-101).

use crate::base::ids::Offset;
use crate::base::planted::planted;
use crate::storage::leader_epochs::{EpochEnd, LeaderEpochs};

/// What a follower does with its log before it fetches on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// The log is to end here.
    To(Offset),
    /// Everything goes, the log begins anew here.
    Anew(Offset),
    /// Nothing goes; fetching goes on at the log's end.
    Nothing,
}

/// Where the log is to end after the leader said that it parts from its own: `leader` is the leader's largest epoch that
/// is not above the follower's last one, and where it ends. Asked again after a cut that was not far enough: each time
/// the follower names its last epoch that is left.
pub fn diverging(leader: EpochEnd, own: &LeaderEpochs, log_end: Offset) -> Offset {
    let end = match own.end_offset_for(leader.epoch, log_end) {
        // The follower has this epoch too: what is common ends where the shorter of the two does.
        Some(own) if own.epoch == leader.epoch => own.end_offset.min(leader.end_offset),
        // It does not: nothing behind its last epoch below can be common.
        Some(own) => planted!("cluster-double-failover", leader.end_offset, own.end_offset),
        // It has no epoch above the leader's, or none at all.
        None => leader.end_offset,
    };
    end.min(log_end).max(Offset::ZERO)
}

/// What to do when the leader says that the place to fetch from is not in its log, which is from `leader_start` to
/// `leader_end`.
///
/// Other than in Kafka, a follower whose whole log lies behind the leader's end takes the leader's log from its start:
/// were it to go on at the leader's end, it would lack what the leader has, and lose it as the next leader.
pub fn out_of_range(leader_start: Offset, leader_end: Offset, own_start: Offset, own_end: Offset) -> Cut {
    if leader_end < own_end {
        if leader_end < own_start {
            Cut::Anew(leader_start)
        } else {
            Cut::To(leader_end)
        }
    } else if leader_start > own_end {
        Cut::Anew(planted!("cluster-anew-at-end", leader_end, leader_start))
    } else {
        Cut::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::LeaderEpoch;

    /// Epochs and where they start, in the order in which they began.
    type Epochs<'a> = &'a [(i32, i64)];

    fn epochs(entries: Epochs<'_>) -> LeaderEpochs {
        let mut epochs = LeaderEpochs::new();
        for (epoch, start) in entries {
            epochs.assign(LeaderEpoch(*epoch), Offset(*start));
        }
        epochs
    }

    /// What the leader answers to a follower whose last epoch is `asked`.
    fn leader(entries: Epochs<'_>, log_end: i64, asked: i32) -> EpochEnd {
        epochs(entries)
            .end_offset_for(LeaderEpoch(asked), Offset(log_end))
            .unwrap()
    }

    /// Where logs part, seen by a follower that asks until the leader has nothing to object.
    fn converge(own: Epochs<'_>, own_end: i64, leaders: Epochs<'_>, leader_end: i64) -> Vec<i64> {
        let (mut own, mut end) = (epochs(own), Offset(own_end));
        let mut steps = Vec::new();
        while let Some(last) = own.latest() {
            let answer = leader(leaders, leader_end, last.epoch.get());
            if answer.epoch == last.epoch && answer.end_offset >= end {
                break;
            }
            end = diverging(answer, &own, end);
            own.truncate_from_end(end);
            steps.push(end.get());
            assert!(steps.len() < 10, "no end: {steps:?}");
        }
        steps
    }

    #[test]
    fn the_cut_is_where_the_epochs_part() {
        let own: Epochs<'_> = &[(0, 0), (2, 10), (4, 20)];
        // The leader's epoch and its end there; where the follower, whose log ends at 30, cuts.
        for (epoch, end, expected) in [
            (4, 25, 25), // the leader has less of the same epoch
            (4, 40, 30), // it has more
            (2, 15, 15), // the epoch ends earlier there
            (2, 25, 20), // it ends earlier here
            (3, 25, 20), // an epoch that is not known here: the one below ends here
            (1, 5, 10),  // the same; to be asked again from there
            (0, 7, 7),   // down to the first
            (5, 28, 28), // above all that are known here
            (5, 99, 30),
        ] {
            let answer = EpochEnd {
                epoch: LeaderEpoch(epoch),
                end_offset: Offset(end),
            };
            let cut = diverging(answer, &epochs(own), Offset(30));
            assert_eq!(cut, Offset(expected), "{epoch} {end}");
        }
        let below = EpochEnd {
            epoch: LeaderEpoch(1),
            end_offset: Offset(8),
        };
        assert_eq!(
            diverging(below, &epochs(&[(3, 50)]), Offset(60)),
            Offset(8),
            "nothing is common"
        );
        assert_eq!(diverging(below, &epochs(&[]), Offset(5)), Offset(5));
    }

    /// KIP-101, scenario 2: both wrote one record at the same offset, in different epochs.
    #[test]
    fn the_same_offset_in_another_epoch_is_given_up() {
        assert_eq!(converge(&[(0, 0), (1, 5)], 6, &[(0, 0), (2, 5)], 6), [5]);
    }

    /// KIP-279: one answer is not enough after a fast double failover.
    #[test]
    fn row_2_asking_again_ends_where_the_logs_part_after_several_fast_failovers() {
        // The follower led in 1 and 3, the leader in 2 and 4; each wrote alone.
        let own: Epochs<'_> = &[(0, 0), (1, 5), (3, 8)];
        assert_eq!(converge(own, 10, &[(0, 0), (2, 5), (4, 9)], 12), [8, 5]);
        assert_eq!(converge(own, 10, &[(0, 0), (1, 5), (2, 7), (4, 9)], 12), [8, 7]);
    }

    /// KAFKA-7415, 10706: epochs without records part at the end of the log, and that is the end of it.
    #[test]
    fn row_4_elections_without_a_write_end_in_nothing_to_give_up() {
        // The follower led last in 5, and nobody wrote since epoch 0.
        assert_eq!(converge(&[(0, 0), (5, 7)], 7, &[(0, 0), (6, 7)], 9), [7]);
        // Not even in epoch 0.
        assert!(converge(&[(5, 0)], 0, &[(6, 0)], 0).is_empty());
    }

    #[test]
    fn a_log_out_of_the_leaders_range_is_cut_or_begun_anew() {
        // The leader's log, the follower's.
        for (leader, own, expected) in [
            ((0, 100), (0, 120), Cut::To(Offset(100))),
            ((10, 100), (0, 5), Cut::Anew(Offset(10))),
            ((10, 100), (0, 10), Cut::Nothing),
            ((10, 100), (0, 50), Cut::Nothing),
            ((0, 100), (0, 100), Cut::Nothing),
            ((0, 50), (80, 120), Cut::Anew(Offset(0))),
            ((40, 50), (80, 80), Cut::Anew(Offset(40))),
            ((100, 100), (0, 100), Cut::Nothing),
        ] {
            let cut = out_of_range(Offset(leader.0), Offset(leader.1), Offset(own.0), Offset(own.1));
            assert_eq!(cut, expected, "{leader:?} {own:?}");
        }
    }
}
