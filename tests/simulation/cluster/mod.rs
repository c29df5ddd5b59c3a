//! A cluster of three to five brokers in one process: network, store, disks and time are the seed's, and so is what befalls
//! them. Administrators move and delete meanwhile.
//!
//! `CLUSTER_SEEDS=from..to` runs these seeds instead of the few that are usual, `CLUSTER_POWER=1` only those with power
//! cuts, `CLUSTER_POWER=0` only those without; `CLUSTER_LOG=debug` shows what the brokers log. `CLUSTER_PLANTED=name` puts a
//! fault into the brokers (see `planted`).

mod admin;
mod befall;
mod brief;
mod check;
mod client;
mod configs;
mod consumer;
mod copies;
mod counts;
mod faults;
mod hosts;
mod losses;
mod nearest;
mod observed;
#[cfg(feature = "planted")]
mod planted;
mod producer;
mod world;

use std::time::Duration;

use crate::history::assert_same;
use counts::Counts;
use world::Outcome;

/// A run has the first few of them.
const BROKERS: [&str; 5] = ["broker1", "broker2", "broker3", "broker4", "broker5"];
/// Nothing acknowledged may be lost here: `min.insync.replicas` is 2.
const TOPIC: &str = "topic";
/// A replica that was not in sync may lead here, if no other one lives; one replica is enough to acknowledge.
const UNCLEAN: &str = "unclean";
/// Is deleted and made again and again.
const BRIEF: &str = "brief";
/// Partitions by number: four of the first topic, one of the second, which producers write to;
const PARTITIONS: i32 = 5;
/// and with the one of the last topic.
const NUMBERS: i32 = 6;
const PRODUCERS: [&str; 3] = ["producer1", "producer2", "producer3"];
const CONSUMERS: [&str; 2] = ["consumer1", "consumer2"];
const ADMINISTRATORS: [&str; 2] = ["admin", "deleter"];
/// While faults happen.
const ACTIVE: Duration = Duration::from_secs(30);
/// How long the cluster may take to be whole again.
const PATIENCE: Duration = Duration::from_secs(60);

/// The topic of the partition with this number, and its number in that.
fn name_of(number: i32) -> (&'static str, i32) {
    match number {
        0..=3 => (TOPIC, number),
        4 => (UNCLEAN, 0),
        _ => (BRIEF, 0),
    }
}

/// The number of a topic's partition.
fn number_of(topic: Option<&str>, index: i32) -> Option<i32> {
    (0..NUMBERS).find(|number| Some(name_of(*number).0) == topic && name_of(*number).1 == index)
}

/// True for partitions whose records are on two disks before they are acknowledged.
fn is_lossless(number: i32) -> bool {
    name_of(number).0 != UNCLEAN
}

/// Panics with all that is wrong, and how to see it again.
fn assert_right(seed: u64, power: bool, outcome: &Outcome) {
    if outcome.wrong.is_empty() {
        return;
    }
    let file = std::env::temp_dir().join(format!("cluster-{seed}-{}.history", u8::from(power)));
    #[expect(clippy::disallowed_methods, reason = "the history is for a person")]
    let _ = std::fs::write(&file, outcome.events.join("\n"));
    let shown = outcome
        .wrong
        .iter()
        .take(12)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n  ");
    panic!(
        "{} things are wrong:\n  {shown}\n{:?}\nhistory: {}\nCLUSTER_SEEDS={seed}..{} CLUSTER_POWER={} cargo test --release --features simulation,planted --test simulation cluster::run",
        outcome.wrong.len(),
        outcome.counts,
        file.display(),
        seed + 1,
        u8::from(power),
    );
}

fn seeds(power: bool, usual: std::ops::Range<u64>) -> std::ops::Range<u64> {
    if std::env::var("CLUSTER_POWER").is_ok_and(|wanted| wanted != u8::from(power).to_string()) {
        return 0..0;
    }
    let Ok(wanted) = std::env::var("CLUSTER_SEEDS") else {
        return usual;
    };
    let (from, to) = wanted.split_once("..").expect("CLUSTER_SEEDS=from..to");
    from.parse().unwrap()..to.parse().unwrap()
}

fn run_all(power: bool, usual: std::ops::Range<u64>) {
    #[cfg(feature = "planted")]
    planted::choose_wanted();
    let is_usual = std::env::var("CLUSTER_SEEDS").is_err() && std::env::var("CLUSTER_POWER").is_err();
    let mut sum = Counts::default();
    let mut failed = Vec::new();
    for seed in seeds(power, usual) {
        let outcome = std::panic::catch_unwind(|| world::run(seed, power));
        let judged = outcome.map(|outcome| {
            println!(
                "seed {seed} power {}: {:?}{}",
                u8::from(power),
                outcome.counts,
                if outcome.wrong.is_empty() { "" } else { " WRONG" }
            );
            sum.add_all(&outcome.counts);
            let _ = std::panic::catch_unwind(|| assert_right(seed, power, &outcome))
                .map_err(|_| failed.push(seed));
        });
        if judged.is_err() {
            println!("seed {seed} power {}: panicked", u8::from(power));
            failed.push(seed);
        }
    }
    println!("in all: {sum:?}");
    assert!(
        !is_usual || sum.lacks(power).is_empty(),
        "none of {:?} in all seeds",
        sum.lacks(power)
    );
    assert!(failed.is_empty(), "seeds {failed:?} of power {}", u8::from(power));
}

#[test]
fn runs_without_power_cuts_lose_nothing_acknowledged() {
    run_all(false, 1..101);
}

#[test]
fn runs_with_power_cuts_lose_only_what_every_replica_lost() {
    run_all(true, 1..101);
}

#[test]
fn one_seed_is_one_history_of_a_cluster() {
    let seed = std::env::var("CLUSTER_SEEDS")
        .ok()
        .and_then(|seeds| seeds.split_once("..")?.0.parse().ok());
    let seed = seed.unwrap_or(1);
    let (first, second) = (world::run(seed, true), world::run(seed, true));
    assert!(first.events.len() > 500);
    assert_same(&first.events, &second.events, seed);
}
