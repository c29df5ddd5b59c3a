//! Two brokers in one process, on simulated sockets, disks and time: one seed is one history, and nothing acknowledged
//! is lost when one of them is killed, or when its power fails.
//!
//! `SIM_SEED=n cargo test --features simulation --test simulation` runs with the seed that a failure has printed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod client;
mod cluster;
mod connection;
mod history;
mod peer;
mod traces;
mod workload;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use barnabas::base::disk::Disk;
use barnabas::base::disk::memory::{Call, MemoryDisk};
use barnabas::base::random::Random;
use barnabas::base::shutdown::Shutdown;
use barnabas::cli::broker::{Broker, Surroundings};
use barnabas::config::{BrokerConfig, LogLevels};

use client::{Client, Resets};
use history::{History, assert_same};
use workload::{FLUSHED, Known, Shared, UNFLUSHED};

/// What befalls the first broker in the middle of the run.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    Killed,
    PowerCut,
}

/// One broker with all that outlives its process.
struct Host {
    name: &'static str,
    id: u64,
    disk: MemoryDisk,
    known: Shared,
    resets: Resets,
    stop: Shutdown,
}

impl Host {
    fn new(name: &'static str, id: u64) -> Self {
        Self {
            name,
            id,
            disk: MemoryDisk::new(),
            known: Shared::default(),
            resets: Resets::default(),
            stop: Shutdown::new(),
        }
    }

    fn directory(&self, number: u8) -> String {
        format!("/{}/{number}", self.name)
    }

    /// Adds the broker and its clients to the simulation.
    fn add(&self, sim: &mut turmoil::Sim<'_>, seed: u64, history: &History) {
        let starts = Arc::new(AtomicU64::new(0));
        let (name, id) = (self.name, self.id);
        let (disk, stop, noted) = (self.disk.clone(), self.stop.clone(), history.clone());
        let directories = format!("{},{}", self.directory(1), self.directory(2));
        sim.host(name, move || {
            let start = starts.fetch_add(1, Ordering::Relaxed);
            let (disk, stop, noted) = (disk.clone(), stop.clone(), noted.clone());
            let directories = directories.clone();
            async move {
                let advertised = format!("PLAINTEXT://{}:9092", turmoil::lookup(name));
                let config = BrokerConfig::from_pairs(&[
                    ("broker.id", &id.to_string()),
                    ("listeners", "PLAINTEXT://0.0.0.0:9092"),
                    ("advertised.listeners", &advertised),
                    ("log.dirs", &directories),
                    ("auto.create.topics.enable", "false"),
                ])?;
                let surroundings = Surroundings {
                    disk: Disk::memory(disk.clone()),
                    random: Random::from_seed(seed ^ (id << 32) ^ start),
                    levels: LogLevels::default(),
                    open_files: 1_000,
                    store: None,
                };
                let broker = Broker::start(config, surroundings).await?;
                noted.note(name, &disk, "serves");
                stop.wait().await;
                broker.stop().await;
                noted.note(name, &disk, "has stopped");
                Ok(())
            }
        });
        for (number, topic) in [FLUSHED, UNFLUSHED].into_iter().enumerate() {
            let who = format!("{name}-{topic}");
            let client = Client::new(&who, name, &self.disk, &self.resets, history);
            let random = Random::from_seed(seed ^ (id << 32) ^ (1 << 16) ^ number as u64);
            let known = Arc::clone(&self.known);
            sim.client(who, async move {
                workload::produce(client, topic, random, known).await;
                Ok(())
            });
        }
        let who = format!("{name}-consumer");
        let client = Client::new(&who, name, &self.disk, &self.resets, history);
        let known = Arc::clone(&self.known);
        sim.client(who, async move {
            workload::consume(client, known).await;
            Ok(())
        });
    }

    fn clients(&self) -> [String; 3] {
        [FLUSHED, UNFLUSHED, "consumer"].map(|what| format!("{}-{what}", self.name))
    }

    /// Ends the broker's process as kill -9 does, or with the power: its destructors reach neither disk nor network.
    fn end(&self, sim: &mut turmoil::Sim<'_>, fault: Fault, random: &Random, history: &History) {
        for call in [
            Call::Open,
            Call::Read,
            Call::Write,
            Call::Sync,
            Call::Rename,
            Call::Remove,
        ] {
            self.disk.fail(call, "", 0, u64::MAX, std::io::ErrorKind::Other);
        }
        let before = self.disk.counts();
        for client in self.clients() {
            sim.partition(self.name, client);
        }
        sim.crash(self.name);
        for client in self.clients() {
            sim.repair(self.name, client);
        }
        self.disk.heal();
        match fault {
            Fault::Killed => self.resets.all(),
            // Nobody is there who could tell.
            Fault::PowerCut => self.disk.power_cut(|| random.below(2) == 0),
        }
        history.note(self.name, &self.disk, format!("was ended; before {before:?}"));
    }
}

/// What is left of a run.
struct Outcome {
    events: Vec<String>,
    hosts: [Host; 2],
}

/// Runs two brokers and their clients until the clients are content and the brokers have stopped cleanly.
fn run(seed: u64, faults: &[Fault]) -> Outcome {
    let history = History::default();
    let random = Random::from_seed(seed);
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .simulation_duration(Duration::from_secs(300))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(8))
        .build();
    let hosts = [Host::new("first", 1), Host::new("second", 2)];
    for host in &hosts {
        host.add(&mut sim, seed, &history);
    }
    let step = |sim: &mut turmoil::Sim<'_>| {
        sim.step().unwrap_or_else(|error| {
            let events = history.events();
            let last = events[events.len().saturating_sub(40)..].join("\n");
            panic!("{last}\nSIM_SEED={seed}: {error}")
        })
    };
    let mut done = false;
    for fault in faults {
        let at = sim.elapsed() + Duration::from_millis(400 + random.below(500));
        while sim.elapsed() < at {
            step(&mut sim);
        }
        hosts[0].end(&mut sim, *fault, &random, &history);
        let again = sim.elapsed() + Duration::from_millis(random.below(300));
        while sim.elapsed() < again {
            step(&mut sim);
        }
        sim.bounce(hosts[0].name);
    }
    while !done {
        done = step(&mut sim);
    }
    for host in &hosts {
        host.stop.begin();
    }
    while hosts.iter().any(|host| sim.is_host_running(host.name)) {
        step(&mut sim);
    }
    for host in &hosts {
        let disk = Disk::memory(host.disk.clone());
        for number in [1, 2] {
            let marker = format!("{}/.kafka_cleanshutdown", host.directory(number));
            assert!(disk.exists(Path::new(&marker)), "{marker}; SIM_SEED={seed}");
        }
    }
    drop(sim);
    Outcome {
        events: history.events(),
        hosts,
    }
}

/// Every acknowledged record of `topics` is in its place, and no value is twice in the topic of the idempotent producer.
fn check(known: &Known, topics: &[&str], seed: u64) {
    for (place, values) in &known.acknowledged {
        if topics.contains(&place.0) {
            assert_eq!(values.len(), 1, "{place:?} was given twice; SIM_SEED={seed}");
            assert_eq!(
                known.read.get(place),
                values.first(),
                "{place:?}; SIM_SEED={seed}"
            );
        }
    }
    let sent: BTreeSet<_> = known.sent.iter().collect();
    let mut once = BTreeSet::new();
    for ((topic, partition, offset), value) in &known.read {
        assert!(
            sent.contains(value),
            "nobody sent {topic}-{partition} {offset}; SIM_SEED={seed}"
        );
        assert!(
            *topic != FLUSHED || once.insert(value),
            "{value:?} is there twice; SIM_SEED={seed}"
        );
    }
    assert!(!known.acknowledged.is_empty());
}

fn seed() -> u64 {
    let seed = match std::env::var("SIM_SEED") {
        Ok(seed) => seed.parse().expect("SIM_SEED is a number"),
        Err(_) => Random::from_system().below(u64::MAX),
    };
    println!("SIM_SEED={seed}");
    seed
}

#[test]
fn one_seed_is_one_history() {
    let seed = seed();
    let faults = [Fault::Killed, Fault::PowerCut];
    let first = run(seed, &faults);
    let second = run(seed, &faults);
    assert!(first.events.len() > 500, "{} events", first.events.len());
    assert_same(&first.events, &second.events, seed);
    let other = run(seed.wrapping_add(1), &faults);
    assert_ne!(first.events, other.events, "another seed is another history");
}

#[test]
fn without_faults_everything_acknowledged_is_read_once() {
    let seed = seed();
    for host in run(seed, &[]).hosts {
        let known = host.known.lock().unwrap();
        assert_eq!(known.read.len(), known.sent.len(), "SIM_SEED={seed}");
        check(&known, &[FLUSHED, UNFLUSHED], seed);
    }
}

#[test]
fn a_killed_broker_loses_nothing_acknowledged() {
    let seed = seed();
    let outcome = run(seed, &[Fault::Killed, Fault::Killed]);
    for host in &outcome.hosts {
        check(&host.known.lock().unwrap(), &[FLUSHED, UNFLUSHED], seed);
    }
    // The other broker's clients noticed nothing.
    assert!(
        outcome.hosts[0].known.lock().unwrap().repeated > 0,
        "SIM_SEED={seed}"
    );
}

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged_and_flushed() {
    let seed = seed();
    let [cut, other] = run(seed, &[Fault::PowerCut, Fault::PowerCut]).hosts;
    check(&cut.known.lock().unwrap(), &[FLUSHED], seed);
    check(&other.known.lock().unwrap(), &[FLUSHED, UNFLUSHED], seed);
}
