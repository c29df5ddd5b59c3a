//! What the clients of a cluster came to know, and what became of its disks: all that the checker judges by.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

/// A place in a log: partition and offset.
pub type Place = (i32, i64);

/// A record that a client knows to be committed.
pub struct Committed {
    pub value: Bytes,
    pub at_ms: i64,
    /// The in-sync replicas when the client learned of it.
    pub isr: Vec<i32>,
    /// Who told it.
    pub broker: i32,
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
    /// What must not be.
    pub violations: Vec<String>,
    /// Requests that were sent again.
    pub repeated: u64,
    /// Producers that had to begin anew.
    pub begun_anew: u64,
    /// Set when producers are to end.
    pub finish: bool,
    pub producers_running: u32,
}

#[derive(Clone, Default)]
pub struct Observed(Arc<Mutex<Known>>);

impl Observed {
    pub fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap()
    }
}

impl Known {
    pub fn acknowledge(&mut self, place: Place, record: Committed) {
        self.forget_lost(place);
        if let Some(other) = self.read.get(&place).filter(|other| other.value != record.value) {
            let problem = format!(
                "inconsistent-offsets: {place:?} acknowledged as {:?}, read as {:?}",
                record.value, other.value
            );
            self.violations.push(problem);
        }
        if let Some(other) = self.acknowledged.insert(place, record) {
            let problem = format!(
                "inconsistent-offsets: {place:?} acknowledged twice, first as {:?}",
                other.value
            );
            self.violations.push(problem);
        }
    }

    /// What may be lost is judged at its loss: another record may come in its place.
    fn forget_lost(&mut self, place: Place) {
        for known in [&self.acknowledged, &self.read] {
            if let Some(record) = known.get(&place)
                && !may_be_lost(&self.cuts, place, record)
            {
                return;
            }
        }
        self.acknowledged.remove(&place);
        self.read.remove(&place);
    }

    pub fn read(&mut self, place: Place, record: Committed) {
        if !self
            .read
            .get(&place)
            .is_some_and(|known| known.value == record.value)
        {
            self.forget_lost(place);
        }
        let known = [self.acknowledged.get(&place), self.read.get(&place)];
        for other in known.into_iter().flatten() {
            if other.value != record.value {
                let problem = format!(
                    "inconsistent-offsets: {place:?} read as {:?}, before it was {:?}",
                    record.value, other.value
                );
                self.violations.push(problem);
                break;
            }
        }
        self.read.entry(place).or_insert(record);
    }
}

/// True where every member of the ISR lost its copy with its power.
pub fn may_be_lost(cuts: &[Cut], (partition, offset): Place, record: &Committed) -> bool {
    let lost = |broker: &i32| {
        cuts.iter().any(|cut| {
            cut.broker == *broker
                && cut.partition == partition
                && (cut.from..cut.end).contains(&offset)
                // The acknowledgement may have been on its way.
                && cut.at_ms + 2_000 > record.at_ms
        })
    };
    !record.isr.is_empty() && record.isr.iter().all(lost)
}
