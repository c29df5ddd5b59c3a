//! What happened in a run, in order: the thing that two runs of one seed must have in common.

use std::fmt::Display;
use std::sync::{Arc, Mutex};

use barnabas::base::disk::memory::MemoryDisk;

/// The events of a run; clones share it.
#[derive(Clone, Default)]
pub struct History(Arc<Mutex<Vec<String>>>);

impl History {
    /// Notes an event: when, who, what, and the calls that the broker's disk has seen by then.
    pub fn note(&self, who: impl Display, disk: &MemoryDisk, what: impl Display) {
        let at = turmoil::sim_elapsed().map_or_else(String::new, |at| at.as_micros().to_string());
        let line = format!("{at:>10} {who} {what} | {:?}", disk.counts());
        self.0.lock().unwrap().push(line);
    }

    /// Notes an event that no disk is part of.
    pub fn event(&self, who: impl Display, what: impl Display) {
        let at = turmoil::sim_elapsed().map_or_else(String::new, |at| at.as_micros().to_string());
        self.0.lock().unwrap().push(format!("{at:>10} {who} {what}"));
    }

    /// The events so far.
    pub fn events(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// Panics with the first event in which two runs differ.
pub fn assert_same(first: &[String], second: &[String], seed: u64) {
    for (number, (one, other)) in first.iter().zip(second).enumerate() {
        assert_eq!(
            one,
            other,
            "event {number} of {} differs; SIM_SEED={seed}",
            first.len()
        );
    }
    assert_eq!(
        first.len(),
        second.len(),
        "one run went on for longer; SIM_SEED={seed}"
    );
}
