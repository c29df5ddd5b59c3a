//! What may be lost.

use std::collections::BTreeSet;

use super::observed::{Committed, Cut, Known, LATE_MS, Place};

/// How long an answer may be on its way to a client that the broker's end does not part it from.
const ON_ITS_WAY_MS: i64 = 2_000;

impl Known {
    /// True where every member of the ISR lost its copy with its power, or by a move to others who lost it with theirs; where
    /// records were to be deleted; and where the partition was led by one that was not in sync, as its configuration allows.
    pub fn may_be_lost(&self, (partition, offset): Place, record: &Committed) -> bool {
        let is_unclean = |at: &i64| at + LATE_MS > record.at_ms;
        if offset < self.deleted_below(partition) || self.unclean.get(&partition).is_some_and(is_unclean) {
            return true;
        }
        let is_since = |at_ms: i64| at_ms + ON_ITS_WAY_MS > record.at_ms;
        let takes = |cut: &&Cut| {
            cut.partition == partition && (cut.from..cut.end).contains(&offset) && is_since(cut.at_ms)
        };
        let cut = |broker: &i32| {
            let cuts = self.cuts.iter().filter(takes).filter(|cut| cut.broker == *broker);
            cuts.map(|cut| cut.at_ms).min()
        };
        let removed = |broker: &i32| {
            let times = self.removed.get(&(*broker, partition)).into_iter().flatten();
            times.copied().find(|at_ms| is_since(*at_ms))
        };
        if record.isr.is_empty() {
            return false;
        }
        if record.isr.iter().all(|id| cut(id).is_some()) {
            return true;
        }
        // Who came while somebody had it, had it too.
        let mut holders: BTreeSet<i32> = record.isr.iter().copied().collect();
        loop {
            let lost = holders.iter().map(|id| match (cut(id), removed(id)) {
                (Some(cut), Some(removed)) => Some(cut.min(removed)),
                (cut, removed) => cut.or(removed),
            });
            let Some(lost) = lost.collect::<Option<Vec<i64>>>() else {
                return false;
            };
            let last_ms = lost.into_iter().max().unwrap_or(i64::MIN);
            let before = holders.len();
            let joined = self
                .joined
                .iter()
                .filter(|(one, _, at_ms)| *one == partition && (record.at_ms..=last_ms).contains(at_ms));
            holders.extend(joined.map(|(_, id, _)| *id));
            if holders.len() == before {
                return holders.iter().any(|id| cut(id).is_some());
            }
        }
    }
}
