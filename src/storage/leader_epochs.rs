//! The leader epochs of one partition and the offsets they start at (Kafka: `LeaderEpochFileCache`).
//!
//! Invariant: epochs and start offsets both increase strictly from entry to entry. Pure: the owner (the log) writes
//! what [`LeaderEpochs::unwritten`] hands out to `leader-epoch-checkpoint`: at once after [`LeaderEpochs::assign`],
//! later after a truncation, since a stale file is truncated again at the next load.

use crate::base::planted::planted;
use std::fmt;

use super::checkpoint::{self, CheckpointError};
use crate::base::ids::{LeaderEpoch, Offset};

/// An epoch and the offset of its first record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochEntry {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Where it starts.
    pub start_offset: Offset,
}

impl fmt::Display for EpochEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.epoch, self.start_offset)
    }
}

/// The epochs of one partition. An empty one allocates nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LeaderEpochs {
    entries: Vec<EpochEntry>,
    changed: bool,
}

impl LeaderEpochs {
    /// No epochs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads `leader-epoch-checkpoint`: `epoch start-offset` a line. Entries that contradict a later one are left out,
    /// as [`LeaderEpochs::assign`] would remove them.
    pub fn parse(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let mut entries = checkpoint::parse(bytes, |[epoch, start_offset]: [&str; 2]| {
            let epoch = epoch
                .parse()
                .ok()
                .filter(|epoch| *epoch >= planted!("epoch-negative", -1, 0))?;
            let start_offset = start_offset.parse().ok().filter(|offset| *offset >= 0)?;
            Some(EpochEntry {
                epoch: LeaderEpoch(epoch),
                start_offset: Offset(start_offset),
            })
        })?;
        let read = entries.clone();
        // Kafka keeps them by epoch, the later line of one epoch counting: a stable sort keeps it last.
        entries.sort_by_key(|entry| entry.epoch);
        let mut epochs = Self::new();
        for entry in entries {
            epochs.insert(entry);
        }
        epochs.changed = epochs.entries != read;
        Ok(epochs)
    }

    /// The contents of `leader-epoch-checkpoint`.
    pub fn to_bytes(&self) -> Vec<u8> {
        checkpoint::format(self.entries.iter())
    }

    /// True when the file does not hold what is here.
    pub fn is_changed(&self) -> bool {
        self.changed
    }

    /// The bytes to write when something changed since the last call; from then on it counts as written.
    pub fn unwritten(&mut self) -> Option<Vec<u8>> {
        std::mem::take(&mut self.changed).then(|| self.to_bytes())
    }

    /// All entries, the oldest first.
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// The latest epoch and its start.
    pub fn latest(&self) -> Option<EpochEntry> {
        self.entries.last().copied()
    }

    /// The oldest epoch and its start.
    pub fn earliest(&self) -> Option<EpochEntry> {
        self.entries.first().copied()
    }

    /// The epoch before the latest one.
    pub fn previous(&self) -> Option<EpochEntry> {
        self.entries.iter().nth_back(1).copied()
    }

    /// The epoch that the record at `offset` was written in; `None` below the first entry.
    pub fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|entry| entry.start_offset <= offset);
        let index = planted!(
            "epoch-before-first",
            after.saturating_sub(1),
            after.checked_sub(1)?
        );
        self.entries.get(index).map(|entry| entry.epoch)
    }

    /// Says that `epoch` starts at `start_offset`. Answers whether something changed: nothing does when the epoch is
    /// the latest one and does not start earlier than known, or when one of the two is negative. Entries that
    /// contradict the new one are removed.
    pub fn assign(&mut self, epoch: LeaderEpoch, start_offset: Offset) -> bool {
        let known = self
            .latest()
            .is_some_and(|latest| latest.epoch == epoch && latest.start_offset <= start_offset);
        if known || epoch.get() < 0 || start_offset.get() < 0 {
            return false;
        }
        self.insert(EpochEntry { epoch, start_offset });
        self.changed = true;
        true
    }

    fn insert(&mut self, new: EpochEntry) {
        while self.latest().is_some_and(|last| {
            last.epoch >= new.epoch
                || planted!(
                    "epochs-of-one-start",
                    last.start_offset > new.start_offset,
                    last.start_offset >= new.start_offset
                )
        }) {
            self.entries.pop();
        }
        self.entries.push(new);
    }

    /// Brings the epochs into line with a batch of `epoch` that was found at `offset`: what they say of that place without it
    /// is of another time, such as an epoch in which nothing was written before a later leader wrote there. Answers whether
    /// something changed.
    pub fn correct(&mut self, epoch: LeaderEpoch, offset: Offset) -> bool {
        if epoch.get() < 0 || offset.get() < 0 || self.epoch_of(offset) == Some(epoch) {
            return false;
        }
        // Those that begin before and are later; those that begin behind and are not.
        self.entries
            .retain(|entry| match entry.start_offset.cmp(&offset) {
                std::cmp::Ordering::Less => entry.epoch <= epoch,
                std::cmp::Ordering::Equal => false,
                std::cmp::Ordering::Greater => entry.epoch > epoch,
            });
        if self.epoch_of(offset) != Some(epoch) {
            let at = self.entries.partition_point(|entry| entry.start_offset < offset);
            let start_offset = offset;
            self.entries.insert(at, EpochEntry { epoch, start_offset });
        }
        self.changed = true;
        true
    }

    /// Forgets the epochs that start at or behind `end_offset`. Answers whether something changed.
    pub fn truncate_from_end(&mut self, end_offset: Offset) -> bool {
        if end_offset.get() < 0 {
            return false;
        }
        let keep = self
            .entries
            .partition_point(|entry| entry.start_offset < end_offset);
        let changed = keep < self.entries.len();
        self.entries.truncate(keep);
        self.changed |= changed;
        changed
    }

    /// Forgets what lies before `start_offset`; the epoch that is current there then starts at it. Answers whether
    /// something changed.
    pub fn truncate_from_start(&mut self, start_offset: Offset) -> bool {
        let after = self
            .entries
            .partition_point(|entry| entry.start_offset <= start_offset);
        let Some(current) = after.checked_sub(1) else {
            return false;
        };
        self.entries.drain(..current);
        let Some(first) = self.entries.first_mut() else {
            return false;
        };
        let changed = current > 0 || first.start_offset != start_offset;
        first.start_offset = start_offset;
        self.changed |= changed;
        changed
    }

    /// Forgets everything. Answers whether something changed.
    pub fn clear(&mut self) -> bool {
        let changed = !self.entries.is_empty();
        self.entries.clear();
        self.changed |= changed;
        changed
    }

    /// Where the data of `epoch` ends in a log whose end offset is `log_end_offset`, and the epoch of that data: the
    /// greatest one that is not above `epoch`. Below the first known epoch it is `epoch` itself and the offset at which
    /// the first known one starts. `None` above the latest epoch, and for "none" (Kafka: `endOffsetFor`).
    pub fn end_offset_for(&self, epoch: LeaderEpoch, log_end_offset: Offset) -> Option<EpochEnd> {
        if epoch == LeaderEpoch::NONE {
            return None;
        }
        if self.latest().is_some_and(|latest| latest.epoch == epoch) {
            return Some(EpochEnd {
                epoch,
                end_offset: log_end_offset,
            });
        }
        let higher = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let end_offset = self.entries.get(higher)?.start_offset;
        let floor = higher.checked_sub(1).and_then(|index| self.entries.get(index));
        Some(EpochEnd {
            epoch: floor.map_or(epoch, |entry| entry.epoch),
            end_offset,
        })
    }
}

/// An epoch and the (exclusive) offset at which its data ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochEnd {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Where it ends.
    pub end_offset: Offset,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn epochs(entries: &[(i32, i64)]) -> LeaderEpochs {
        let mut epochs = LeaderEpochs::new();
        for (epoch, start) in entries {
            assert!(epochs.assign(LeaderEpoch(*epoch), Offset(*start)));
        }
        epochs
    }

    fn plain(epochs: &LeaderEpochs) -> Vec<(i32, i64)> {
        epochs
            .entries()
            .iter()
            .map(|entry| (entry.epoch.get(), entry.start_offset.get()))
            .collect()
    }

    fn end(epochs: &LeaderEpochs, epoch: i32) -> Option<(i32, i64)> {
        epochs
            .end_offset_for(LeaderEpoch(epoch), Offset(100))
            .map(|end| (end.epoch.get(), end.end_offset.get()))
    }

    #[test]
    fn an_unused_epoch_gives_way_to_the_next() {
        let mut epochs = epochs(&[(0, 0), (2, 3), (4, 8)]);
        assert!(epochs.assign(LeaderEpoch(6), Offset(8)));
        assert_eq!(plain(&epochs), [(0, 0), (2, 3), (6, 8)]);
        assert!(!epochs.assign(LeaderEpoch(6), Offset(9)), "known already");
        assert!(epochs.assign(LeaderEpoch(6), Offset(5)), "starts earlier");
        assert!(
            epochs.assign(LeaderEpoch(1), Offset(7)),
            "an older epoch rules again"
        );
        assert_eq!(plain(&epochs), [(0, 0), (1, 7)]);
        assert!(!epochs.assign(LeaderEpoch(-1), Offset(9)));
        assert!(!epochs.assign(LeaderEpoch(9), Offset(-1)));
    }

    #[test]
    fn epoch_zero_is_an_epoch() {
        let epochs = epochs(&[(0, 0)]);
        assert_eq!(end(&epochs, 0), Some((0, 100)));
        assert_eq!(end(&epochs, -1), None);
        assert_eq!(end(&LeaderEpochs::new(), 0), None);
    }

    #[test]
    fn the_end_of_an_epoch_is_the_start_of_the_next() {
        let epochs = epochs(&[(2, 10), (4, 20), (7, 30)]);
        assert_eq!(end(&epochs, 7), Some((7, 100)));
        assert_eq!(end(&epochs, 8), None);
        assert_eq!(end(&epochs, 4), Some((4, 30)));
        assert_eq!(end(&epochs, 6), Some((4, 30)), "an epoch without data");
        assert_eq!(end(&epochs, 2), Some((2, 20)));
        assert_eq!(end(&epochs, 1), Some((1, 10)), "below the first");
    }

    #[test]
    fn truncation_moves_and_removes() {
        let mut epochs = epochs(&[(2, 10), (4, 20), (7, 30)]);
        assert!(!epochs.truncate_from_end(Offset(31)));
        assert!(epochs.truncate_from_end(Offset(30)));
        assert_eq!(plain(&epochs), [(2, 10), (4, 20)]);
        assert!(!epochs.truncate_from_start(Offset(9)));
        assert!(!epochs.truncate_from_start(Offset(10)));
        assert!(epochs.truncate_from_start(Offset(12)));
        assert_eq!(plain(&epochs), [(2, 12), (4, 20)]);
        assert!(epochs.truncate_from_start(Offset(20)));
        assert_eq!(plain(&epochs), [(4, 20)]);
        assert_eq!(epochs.epoch_of(Offset(19)), None);
        assert_eq!(epochs.epoch_of(Offset(99)), Some(LeaderEpoch(4)));
        assert!(epochs.clear());
        assert!(!epochs.clear());
    }

    #[test]
    fn a_batch_that_was_found_is_right() {
        let corrected = |entries: &[(i32, i64)], epoch: i32, offset: i64| {
            let mut epochs = epochs(entries);
            let changed = epochs.correct(LeaderEpoch(epoch), Offset(offset));
            (changed, plain(&epochs))
        };
        let known = [(0, 0), (3, 96), (5, 120)];
        for (epoch, offset) in [(0, 0), (0, 95), (3, 96), (3, 119), (5, 130), (-1, 50), (4, -1)] {
            assert_eq!(corrected(&known, epoch, offset), (false, known.to_vec()));
        }
        assert_eq!(corrected(&known, 0, 96), (true, vec![(0, 0), (5, 120)]));
        assert_eq!(corrected(&known, 0, 100), (true, vec![(0, 0), (5, 120)]));
        assert_eq!(corrected(&known, 2, 96), (true, vec![(0, 0), (2, 96), (5, 120)]));
        assert_eq!(
            corrected(&known, 4, 100),
            (true, vec![(0, 0), (3, 96), (4, 100), (5, 120)])
        );
        assert_eq!(corrected(&known, 3, 90), (true, vec![(0, 0), (3, 90), (5, 120)]));
        assert_eq!(corrected(&known, 6, 100), (true, vec![(0, 0), (3, 96), (6, 100)]));
        assert_eq!(corrected(&known, 4, 96), (true, vec![(0, 0), (4, 96), (5, 120)]));
        assert_eq!(corrected(&[], 0, 7), (true, vec![(0, 7)]));
        assert_eq!(corrected(&[(1, 10)], 0, 7), (true, vec![(0, 7), (1, 10)]));
        assert_eq!(corrected(&[(1, 0)], 0, 7), (true, vec![(0, 7)]));
    }

    #[test]
    fn hands_out_each_change_once() {
        let mut epochs = epochs(&[(0, 0), (3, 5)]);
        assert_eq!(epochs.unwritten().unwrap(), b"0\n2\n0 0\n3 5\n");
        assert_eq!(epochs.unwritten(), None);
        assert!(!epochs.assign(LeaderEpoch(3), Offset(6)));
        assert_eq!(epochs.unwritten(), None);
        epochs.clear();
        assert_eq!(epochs.unwritten().unwrap(), b"0\n0\n");
    }

    #[test]
    fn reads_contradicting_entries_as_assigned_in_order_of_epochs() {
        let epochs = LeaderEpochs::parse(b"0\n4\n5 20\n1 3\n2 30\n1 4\n").unwrap();
        assert_eq!(plain(&epochs), [(1, 4), (5, 20)]);
        assert!(epochs.is_changed());
        assert!(!LeaderEpochs::parse(b"0\n1\n5 20\n").unwrap().is_changed());
        for bad in ["0\n1\n-1 0\n", "0\n1\n0 -1\n", "0\n1\n0\n", "0\n1\n0 0 0\n"] {
            assert!(LeaderEpochs::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Assign(i32, i64),
        FromEnd(i64),
        FromStart(i64),
        Correct(i32, i64),
    }

    proptest! {
        #[test]
        fn stays_monotonic_and_readable(steps in proptest::collection::vec(prop_oneof![
            (0..20_i32, 0..50_i64).prop_map(|(epoch, start)| Step::Assign(epoch, start)),
            (0..60_i64).prop_map(Step::FromEnd),
            (0..60_i64).prop_map(Step::FromStart),
            (0..20_i32, 0..50_i64).prop_map(|(epoch, offset)| Step::Correct(epoch, offset)),
        ], 0..40)) {
            let mut epochs = LeaderEpochs::new();
            for step in steps {
                match step {
                    Step::Assign(epoch, start) => { epochs.assign(LeaderEpoch(epoch), Offset(start)); }
                    Step::FromEnd(end) => { epochs.truncate_from_end(Offset(end)); }
                    Step::FromStart(start) => { epochs.truncate_from_start(Offset(start)); }
                    Step::Correct(epoch, offset) => {
                        epochs.correct(LeaderEpoch(epoch), Offset(offset));
                        prop_assert_eq!(epochs.epoch_of(Offset(offset)), Some(LeaderEpoch(epoch)));
                    }
                }
                let now = plain(&epochs);
                prop_assert!(now.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1), "{:?}", now);
                let read = LeaderEpochs::parse(&epochs.to_bytes()).unwrap();
                prop_assert_eq!(plain(&read), now);
                prop_assert!(!read.is_changed());
            }
        }
    }
}
