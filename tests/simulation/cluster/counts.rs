//! What happened in runs, counted: what never happened was not tried.

use std::collections::BTreeMap;

/// What a run had, by what it is called.
#[derive(Clone, Default, Debug)]
pub struct Counts(BTreeMap<&'static str, u64>);

/// What many runs must have had, each at least once.
const WANTED: [&str; 31] = [
    "acknowledged",
    "answers without throttled records",
    "bad disks",
    "blows",
    "changes of configs",
    "changes of directories",
    "changes of fetchers",
    "clean stops",
    "controllers",
    "deletions of records",
    "elections",
    "followers held back",
    "full disks",
    "ISR changes",
    "kills",
    "links cut",
    "lives of a topic",
    "lost replies",
    "moves asked for",
    "moves made",
    "partitions caught up",
    "partitions far behind",
    "partitions taken over",
    "preferred elections",
    "read",
    "reads from followers",
    "sent again",
    "sessions expired",
    "throttles",
    "truncations",
    "unclean elections",
];
const WANTED_WITH_POWER: [&str; 3] = ["power cuts", "records cut", "wiped disks"];

impl Counts {
    pub fn add(&mut self, what: &'static str, count: u64) {
        *self.0.entry(what).or_default() += count;
    }

    pub fn add_all(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            self.add(what, *count);
        }
    }

    pub fn get(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    /// What never happened: a run of many seeds has all of it.
    pub fn lacks(&self, power: bool) -> Vec<&'static str> {
        let with_power = WANTED_WITH_POWER.into_iter().filter(|_| power);
        let mut wanted: Vec<_> = WANTED.into_iter().chain(with_power).collect();
        wanted.retain(|what| self.get(what) == 0);
        wanted
    }
}
