//! What the clients of a cluster came to know, and what became of its disks: all that the checker judges by.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

use super::copies::Copies;
use super::is_lossless;

/// A place in a log: partition, by its number, and offset.
pub type Place = (i32, i64);

/// How long a leader that was voted out may go on to acknowledge, and an answer be on its way.
pub const LATE_MS: i64 = 10_000;

/// A record that a client knows to be committed.
pub struct Committed {
    pub value: Bytes,
    pub at_ms: i64,
    /// The in-sync replicas when the client learned of it.
    pub isr: Vec<i32>,
    /// Who told it.
    pub broker: i32,
    /// True where it was sent once.
    pub once: bool,
}

/// What a power cut took from a copy of a partition.
pub struct Cut {
    pub broker: i32,
    pub partition: i32,
    /// The first offset that is gone.
    pub from: i64,
    /// The end before it.
    pub end: i64,
    pub at_ms: i64,
}

#[derive(Default)]
pub struct Known {
    /// Values that were sent at least once.
    pub sent: BTreeSet<Bytes>,
    pub acknowledged: BTreeMap<Place, Committed>,
    pub read: BTreeMap<Place, Committed>,
    pub cuts: Vec<Cut>,
    /// What must not be, each behind the name of the rule that it breaks.
    pub violations: Vec<String>,
    /// Requests that were sent again.
    pub repeated: u64,
    /// Producers that had to begin anew.
    pub begun_anew: u64,
    /// Set when clients are to end.
    pub finish: bool,
    pub producers_running: u32,
    /// Below these offsets records were to be deleted, by partition.
    pub deleted: BTreeMap<i32, i64>,
    /// When a partition was last led by one that was not in sync.
    pub unclean: BTreeMap<i32, i64>,
    /// When a broker ceased to be a replica, by broker and partition, ascending.
    pub removed: BTreeMap<(i32, i32), Vec<i64>>,
    /// Who came into the ISR of which partition, and when.
    pub joined: Vec<(i32, i32, i64)>,
    /// How often each broker was started.
    pub starts: BTreeMap<i32, u64>,
    /// The newest leader epoch that a broker told, by broker, its start, and partition.
    told: BTreeMap<(i32, u64, i32), i32>,
    /// What a client waits for at last.
    pub waits_for: BTreeMap<String, String>,
    /// The disks, as far as they are looked at while clients run.
    pub copies: Vec<Copies>,
    /// What administrators did, by kind.
    pub done: BTreeMap<&'static str, u64>,
}

#[derive(Clone, Default)]
pub struct Observed(Arc<Mutex<Known>>);

impl Observed {
    pub fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap()
    }
}

impl Known {
    pub fn violation(&mut self, rule: &str, what: impl std::fmt::Display) {
        self.violations.push(format!("{rule}: {what}"));
    }

    pub fn did(&mut self, what: &'static str) {
        *self.done.entry(what).or_default() += 1;
    }

    pub fn deleted_below(&self, partition: i32) -> i64 {
        self.deleted.get(&partition).copied().unwrap_or(0)
    }

    pub fn acknowledge(&mut self, place: Place, record: Committed) {
        self.forget_lost(place);
        self.check_copies("acknowledged", place, &record);
        if let Some(other) = self.read.get(&place).filter(|other| other.value != record.value) {
            let problem = format!(
                "{place:?} acknowledged as {:?}, read as {:?}",
                record.value, other.value
            );
            self.violation("inconsistent-offsets", problem);
        }
        if let Some(other) = self.acknowledged.insert(place, record) {
            let problem = format!("{place:?} acknowledged twice, first as {:?}", other.value);
            self.violation("inconsistent-offsets", problem);
        }
    }

    /// What may be lost is judged at its loss: another record may come in its place.
    fn forget_lost(&mut self, place: Place) {
        for known in [&self.acknowledged, &self.read] {
            if let Some(record) = known.get(&place)
                && !self.may_be_lost(place, record)
            {
                return;
            }
        }
        self.acknowledged.remove(&place);
        self.read.remove(&place);
    }

    pub fn read(&mut self, place: Place, record: Committed) {
        let known = self.read.get(&place);
        if !known.is_some_and(|known| known.value == record.value) {
            self.forget_lost(place);
            self.check_copies("read", place, &record);
        }
        let known = [self.acknowledged.get(&place), self.read.get(&place)];
        let other = known
            .into_iter()
            .flatten()
            .find(|other| other.value != record.value);
        if let Some(other) = other {
            let problem = format!(
                "{place:?} read as {:?}, before it was {:?}",
                record.value, other.value
            );
            self.violation("inconsistent-offsets", problem);
        }
        self.read.entry(place).or_insert(record);
    }

    /// What clients see of a partition with `min.insync.replicas` of two lies on two disks at that moment. Of every third
    /// record, as looking costs much.
    fn check_copies(&mut self, what: &str, place: Place, record: &Committed) {
        let (partition, offset) = place;
        // One of the two may have ceased to be a replica since.
        let is_late = |at_ms: &i64| at_ms + LATE_MS > record.at_ms;
        let just_removed =
            |(id, times): (&(i32, i32), &Vec<i64>)| id.1 == partition && times.last().is_some_and(is_late);
        let is_known =
            is_lossless(partition) && self.cuts.is_empty() && !self.removed.iter().any(just_removed);
        if !is_known || offset % 3 != 0 || offset < self.deleted_below(partition) {
            return;
        }
        let holds = |copies: &&Copies| copies.holds(partition, offset, &record.value);
        let count = self.copies.iter().filter(holds).count();
        if count < 2 {
            let problem = format!(
                "{place:?} {:?} is {what} by {} while {count} brokers have it",
                record.value, record.broker
            );
            self.violation("committed-too-early", problem);
        }
    }

    /// The leader epochs that a broker is known to have told in its present life, by partition; and which life that is.
    pub fn told_by(&self, broker: i32) -> (u64, BTreeMap<i32, i32>) {
        let start = self.starts.get(&broker).copied().unwrap_or(0);
        let told = self.told.range((broker, start, 0)..(broker, start + 1, 0));
        (
            start,
            told.map(|((_, _, partition), epoch)| (*partition, *epoch))
                .collect(),
        )
    }

    /// A broker told the leader epoch of a partition to one who asked when it had told what is in `before`.
    pub fn told(&mut self, broker: i32, before: &(u64, BTreeMap<i32, i32>), partition: i32, epoch: i32) {
        let (start, before) = before;
        if self.starts.get(&broker) != Some(start) {
            return;
        }
        let newest = self.told.entry((broker, *start, partition)).or_insert(-1);
        *newest = epoch.max(*newest);
        if let Some(before) = before.get(&partition).filter(|before| **before > epoch) {
            let problem = format!("broker {broker} tells epoch {epoch} of {partition}, after {before}");
            self.violation("metadata-goes-back", problem);
        }
    }
}
