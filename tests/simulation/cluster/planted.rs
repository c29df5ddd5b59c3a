//! The checker is checked: faults that others had (the rows of pitfalls) are put into the brokers one at a time, and the
//! simulation finds each by the rule that names it.
//!
//! `cargo test --release --features simulation,planted --test simulation -- --ignored planted --nocapture` does that for all of
//! them but those that are open; `CLUSTER_PLANTED=name,name` for some. The usual run has the few that are found soonest.

use barnabas::base::planted;

use super::world;

/// A fault in the brokers, by its name there.
struct Fault {
    name: &'static str,
    /// The row of the pitfalls.
    row: u32,
    /// True where it takes power cuts or lost disks to see it.
    power: bool,
    /// The rules by any of which it counts as found.
    rules: &'static [&'static str],
}

const LOST: &[&str] = &["lost-write", "read-then-gone", "inconsistent-offsets"];
const EARLY: &[&str] = &["committed-too-early", "read-then-gone", "lost-write"];
const STUCK: &[&str] = &["not-whole"];

const fn fault(name: &'static str, row: u32, power: bool, rules: &'static [&'static str]) -> Fault {
    Fault {
        name,
        row,
        power,
        rules,
    }
}

/// Those that are found.
const FAULTS: &[Fault] = &[
    fault("cluster-cut-to-watermark", 1, false, LOST),
    fault("cluster-double-failover", 2, false, &["log-matching"]),
    fault("cluster-empty-epochs", 4, false, STUCK),
    fault("cluster-joins-behind", 8, false, LOST),
    fault("cluster-last-replica", 10, true, LOST),
    fault("cluster-longest-loses", 10, true, LOST),
    fault("cluster-shrinks-at-once", 12, false, LOST),
    fault("cluster-watermark-under-min", 14, false, EARLY),
    fault("cluster-isr-of-others", 15, false, &["isr-not-replicas"]),
    fault("cluster-anew-at-end", 17, false, &["lost-write", "log-matching"]),
    fault("cluster-fetcher-ends", 17, false, STUCK),
    fault("cluster-start-in-batch", 18, false, STUCK),
    fault("cluster-read-to-end", 19, false, &["above-watermark"]),
    fault("cluster-rolled-is-replicated", 21, false, &["above-watermark"]),
    fault("cluster-elected-is-committed", 23, false, EARLY),
    fault("cluster-not-again", 27, false, STUCK),
    fault("cluster-defaults-win", 30, false, EARLY),
    fault("cluster-stale-metadata", 31, false, &["metadata-stale"]),
];

/// Those that were not found in the dozen to hundred seeds that were tried: of some the harm is rare, from some a second check protects,
/// and for some the simulation does not do what would show them.
const OPEN: &[Fault] = &[
    fault(
        "cluster-epoch-unchecked",
        3,
        false,
        &["out-of-range", "committed-too-early", "lost-write"],
    ),
    fault("cluster-epoch-zero", 5, true, LOST),
    fault("cluster-epochs-forgotten", 6, true, LOST),
    fault("cluster-joins-early", 8, false, LOST),
    fault("cluster-former-life", 9, true, LOST),
    fault("cluster-isr-reply-lost", 12, false, LOST),
    fault("cluster-maximal-isr", 12, false, LOST),
    fault("cluster-same-leader", 16, false, &["log-matching"]),
    fault(
        "cluster-zombie-writes",
        25,
        false,
        &["zombie-controller", "epoch-goes-back", "two-leaders"],
    ),
    fault("cluster-resigned-heard", 26, false, &["metadata-goes-back"]),
    fault("cluster-stop-of-before", 28, false, STUCK),
    fault(
        "cluster-any-topic-id",
        29,
        false,
        &["mixed-topics", "log-matching"],
    ),
];

/// Puts the fault that is wished for into the brokers of this thread.
pub fn choose_wanted() {
    let wanted = std::env::var("CLUSTER_PLANTED").unwrap_or_default();
    let fault = FAULTS.iter().chain(OPEN).find(|fault| fault.name == wanted);
    planted::choose(fault.map_or("", |fault| fault.name));
}

/// Runs seeds until the fault is found by its rule; tells what else was found before.
fn find(fault: &Fault, seeds: std::ops::Range<u64>) -> Option<u64> {
    let mut others: Vec<String> = Vec::new();
    for seed in seeds {
        planted::choose(fault.name);
        let outcome = std::panic::catch_unwind(|| world::run(seed, fault.power));
        planted::choose("");
        let wrong = outcome.map_or_else(|_| vec!["panic".to_owned()], |outcome| outcome.wrong);
        let is_named = |text: &&String| fault.rules.iter().any(|rule| text.starts_with(rule));
        let first = wrong.iter().find(is_named);
        if let Some(first) = first {
            println!(
                "row {:2} {}: seed {seed}: {first}\n    before: {others:?}",
                fault.row, fault.name
            );
            return Some(seed);
        }
        if let Some(first) = wrong.first()
            && others.len() < 3
        {
            others.push(format!("{seed}: {first}"));
        }
    }
    println!("row {:2} {}: NOT FOUND; {others:?}", fault.row, fault.name);
    None
}

fn find_all(most_seeds: u64, is_wanted: impl Fn(&Fault) -> bool) {
    let mut missed = Vec::new();
    for fault in FAULTS.iter().chain(OPEN).filter(|fault| is_wanted(fault)) {
        if find(fault, 1..most_seeds + 1).is_none() {
            missed.push(fault.name);
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

#[test]
#[ignore = "takes long"]
fn planted_faults_are_found() {
    let wanted = std::env::var("CLUSTER_PLANTED").unwrap_or_default();
    let most = std::env::var("CLUSTER_PLANTED_SEEDS").map_or(2_000, |most| most.parse().unwrap());
    let names: Vec<&str> = wanted.split(',').filter(|name| !name.is_empty()).collect();
    let is_found = |fault: &Fault| FAULTS.iter().any(|one| one.name == fault.name);
    find_all(most, |fault| match names.is_empty() {
        true => is_found(fault),
        false => names.contains(&fault.name),
    });
}

/// Those that a few seeds show.
#[test]
fn planted_faults_are_found_soon() {
    let soon = [
        "cluster-cut-to-watermark",
        "cluster-last-replica",
        "cluster-read-to-end",
    ];
    find_all(10, |fault| soon.contains(&fault.name));
}

/// No fault is planted in the brokers that is not looked for.
#[test]
#[expect(clippy::disallowed_methods, reason = "reads the sources")]
fn every_planted_fault_is_looked_for() {
    fn visit(directory: &std::path::Path, found: &mut std::collections::BTreeSet<String>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, found);
            } else if !path.ends_with("base/planted.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let names = text
                    .split("planted!(")
                    .skip(1)
                    .map(|rest| rest.split('"').nth(1).unwrap());
                found.extend(
                    names
                        .filter(|name| name.starts_with("cluster-"))
                        .map(str::to_owned),
                );
            }
        }
    }
    let mut in_code = std::collections::BTreeSet::new();
    visit(
        &std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut in_code,
    );
    let looked_for: std::collections::BTreeSet<String> = FAULTS
        .iter()
        .chain(OPEN)
        .map(|fault| fault.name.to_owned())
        .collect();
    assert_eq!(in_code, looked_for);
}
