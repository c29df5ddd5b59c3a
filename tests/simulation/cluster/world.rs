//! Runs a cluster under one seed.

use std::collections::BTreeSet;
use std::time::Duration;

use barnabas::base::clock;
use barnabas::base::disk::Disk;
use barnabas::base::disk::memory::{Call, MemoryDisk};
use barnabas::base::ids::BrokerId;
use barnabas::base::random::Random;
use barnabas::base::shutdown::Shutdown;
use barnabas::cli::broker::{Broker, Surroundings};
use barnabas::config::{BrokerConfig, LogLevels};
use barnabas::store::distant::Link;
use barnabas::store::memory::MemoryServer;
use barnabas::store::znodes::{Controller, PartitionState, paths};

use super::check::{self, Leaders};
use super::client::ClusterClient;
use super::faults::{self, Fault, What};
use super::observed::{Cut, Observed};
use super::{ACTIVE, BROKERS, CONSUMERS, PARTITIONS, PATIENCE, PRODUCERS, TOPIC, consumer, producer};
use crate::history::History;

const SESSION_TIMEOUT: Duration = Duration::from_millis(2_000);

/// What a run had.
#[derive(Clone, Copy, Default, Debug)]
pub struct Counts {
    pub seconds: u64,
    pub acknowledged: u64,
    pub read: u64,
    pub repeated: u64,
    pub faults: u64,
    pub elections: u64,
    pub controllers: u64,
    pub isr_changes: u64,
    pub expiries: u64,
    pub lost_replies: u64,
    pub kills: u64,
    pub power_cuts: u64,
    pub records_cut: u64,
    pub stops: u64,
    pub partitions: u64,
}

impl Counts {
    pub fn add(&mut self, other: &Self) {
        self.seconds += other.seconds;
        self.acknowledged += other.acknowledged;
        self.read += other.read;
        self.repeated += other.repeated;
        self.faults += other.faults;
        self.elections += other.elections;
        self.controllers += other.controllers;
        self.isr_changes += other.isr_changes;
        self.expiries += other.expiries;
        self.lost_replies += other.lost_replies;
        self.kills += other.kills;
        self.power_cuts += other.power_cuts;
        self.records_cut += other.records_cut;
        self.stops += other.stops;
        self.partitions += other.partitions;
    }

    /// What never happened: a run of many seeds has all of it.
    pub fn lacks(&self, power: bool) -> Vec<&'static str> {
        let cuts = [("power cuts", self.power_cuts), ("records cut", self.records_cut)];
        let counts = [
            ("elections", self.elections),
            ("controllers", self.controllers),
            ("changes of ISRs", self.isr_changes),
            ("sessions that expired", self.expiries),
            ("replies lost", self.lost_replies),
            ("kills", self.kills),
            ("clean stops", self.stops),
            ("requests sent again", self.repeated),
        ];
        let counted = counts.into_iter().chain(cuts.into_iter().filter(|_| power));
        counted
            .filter(|(_, count)| *count == 0)
            .map(|(name, _)| name)
            .collect()
    }
}

pub struct Outcome {
    pub events: Vec<String>,
    pub wrong: Vec<String>,
    pub counts: Counts,
}

#[derive(Clone, Copy, PartialEq)]
enum Life {
    Up,
    Down,
}

/// One broker with all that outlives its process.
struct Host {
    name: &'static str,
    disk: MemoryDisk,
    link: Link,
    stop: std::sync::Arc<std::sync::Mutex<Shutdown>>,
    life: Life,
}

/// When something ends.
enum End {
    Restart(usize),
    Links(Vec<(usize, &'static str)>),
    Store(usize),
    Slow(usize),
    SlowStore(usize),
    Lossy,
}

struct World<'a> {
    sim: turmoil::Sim<'a>,
    random: Random,
    history: History,
    server: MemoryServer,
    observed: Observed,
    hosts: Vec<Host>,
    /// Links that are cut, with how often; and hosts whose power is off.
    cut: Vec<(usize, &'static str)>,
    dark: BTreeSet<usize>,
    store_cuts: [u32; 3],
    ends: Vec<(Duration, End)>,
    counts: Counts,
    leaders: Leaders,
    wrong: Vec<String>,
    start_ms: i64,
}

fn directory(name: &str) -> String {
    format!("/{name}/logs")
}

fn config(name: &str, id: i32) -> Result<BrokerConfig, Box<dyn std::error::Error>> {
    let address = turmoil::lookup(name);
    Ok(BrokerConfig::from_pairs(&[
        ("broker.id", &id.to_string()),
        ("listeners", "PLAINTEXT://0.0.0.0:9092"),
        ("advertised.listeners", &format!("PLAINTEXT://{address}:9092")),
        ("log.dirs", &directory(name)),
        ("auto.create.topics.enable", "false"),
        ("zookeeper.connect", "store:2181"),
        (
            "zookeeper.session.timeout.ms",
            &SESSION_TIMEOUT.as_millis().to_string(),
        ),
        ("replica.lag.time.max.ms", "1500"),
        ("replica.socket.timeout.ms", "1200"),
        ("replica.fetch.wait.max.ms", "200"),
        ("replica.fetch.backoff.ms", "200"),
        ("replica.high.watermark.checkpoint.interval.ms", "700"),
        ("controller.socket.timeout.ms", "1200"),
        ("controlled.shutdown.retry.backoff.ms", "300"),
        ("leader.imbalance.check.interval.seconds", "4"),
        ("num.replica.fetchers", "2"),
    ])?)
}

impl World<'_> {
    fn add_brokers(&mut self, seed: u64) {
        for (index, name) in BROKERS.into_iter().enumerate() {
            let id = index as i32 + 1;
            let host = Host {
                name,
                disk: MemoryDisk::new(),
                link: Link::new(&self.server, SESSION_TIMEOUT),
                stop: std::sync::Arc::default(),
                life: Life::Up,
            };
            let (disk, link, history) = (host.disk.clone(), host.link.clone(), self.history.clone());
            let stop = std::sync::Arc::clone(&host.stop);
            let starts = std::sync::atomic::AtomicU64::new(0);
            self.sim.host(name, move || {
                let start = starts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let random = Random::from_seed(seed ^ ((id as u64) << 32) ^ (start << 40));
                let (disk, link, history) = (disk.clone(), link.clone(), history.clone());
                let fresh = Shutdown::new();
                *stop.lock().unwrap() = fresh.clone();
                async move {
                    loop {
                        let surroundings = Surroundings {
                            disk: Disk::memory(disk.clone()),
                            random: random.clone(),
                            levels: LogLevels::default(),
                            open_files: 1_000,
                            store: Some(link.clone()),
                        };
                        match Broker::start(config(name, id)?, surroundings).await {
                            Ok(broker) => {
                                history.event(name, "serves");
                                fresh.wait().await;
                                broker.stop().await;
                                history.event(name, "has stopped");
                                return Ok(());
                            }
                            Err(error) => history.event(name, format!("does not start: {error}")),
                        }
                        clock::sleep(Duration::from_millis(300)).await;
                    }
                }
            });
            self.hosts.push(host);
        }
    }

    fn add_clients(&mut self, seed: u64) {
        let client = |name: &str, number: u64, world: &Self| {
            let random = Random::from_seed(seed ^ (number << 50));
            ClusterClient::new(name, random, &world.server, &world.history)
        };
        self.observed.lock().producers_running = PRODUCERS.len() as u32;
        for (number, name) in PRODUCERS.into_iter().enumerate() {
            let client = client(name, 1 + number as u64, self);
            let observed = self.observed.clone();
            self.sim.client(name, async move {
                producer::produce(client, observed).await;
                Ok(())
            });
        }
        for (number, name) in CONSUMERS.into_iter().enumerate() {
            let client = client(name, 10 + number as u64, self);
            let observed = self.observed.clone();
            self.sim.client(name, async move {
                consumer::consume(client, observed, number == 1).await;
                Ok(())
            });
        }
    }

    /// A millisecond; true when the clients are done.
    fn step(&mut self) -> bool {
        let done = self.sim.step().unwrap_or_else(|error| panic!("{error}"));
        let now_ms = self.start_ms + self.sim.elapsed().as_millis() as i64;
        for session in self.server.expire_silent(now_ms) {
            self.history
                .event("store", format!("session {} expires", session.0));
            self.counts.expiries += 1;
        }
        for (path, data) in self.server.journal() {
            self.heard(&path, data.as_deref());
        }
        done
    }

    /// What was written in the store.
    fn heard(&mut self, path: &str, data: Option<&[u8]>) {
        if path == paths::CONTROLLER {
            self.counts.controllers += u64::from(data.is_some());
        }
        let text = data.map(|data| String::from_utf8_lossy(data).into_owned());
        let at = self.sim.elapsed();
        self.history
            .event("store", format!("{}: {path} {text:?}", at.as_millis()));
        let partition = (0..PARTITIONS).find(|partition| paths::partition_state(TOPIC, *partition) == path);
        let (Some(partition), Some(state)) =
            (partition, data.and_then(|data| PartitionState::decode(data).ok()))
        else {
            return;
        };
        self.counts.isr_changes += 1;
        let epoch = state.leader_epoch.get();
        let before = self
            .leaders
            .range((partition, 0)..(partition, i32::MAX))
            .next_back()
            .map(|((_, epoch), leader)| (*epoch, *leader));
        let leader = state.leader.map_or(-1, BrokerId::get);
        match before {
            Some((last, _)) if last > epoch => self
                .wrong
                .push(format!("epoch of {partition} goes from {last} to {epoch}")),
            Some((last, led)) if last == epoch && led != leader => {
                self.wrong.push(format!(
                    "two leaders in epoch {epoch} of {partition}: {led}, {leader}"
                ));
            }
            Some((last, _)) if last == epoch => {}
            _ => {
                self.counts.elections += 1;
                self.leaders.insert((partition, epoch), leader);
            }
        }
    }

    fn set_link(&self, index: usize, other: &str) {
        let other_is_dark = BROKERS
            .iter()
            .position(|name| *name == other)
            .is_some_and(|other| self.dark.contains(&other));
        let is_cut = |one: &(usize, &str)| {
            *one == (index, other)
                || BROKERS.iter().position(|name| *name == other) == Some(one.0) && one.1 == BROKERS[index]
        };
        if other_is_dark || self.dark.contains(&index) || self.cut.iter().any(is_cut) {
            self.sim.partition(BROKERS[index], other);
        } else {
            self.sim.repair(BROKERS[index], other);
        }
    }

    fn others(index: usize) -> impl Iterator<Item = &'static str> {
        BROKERS
            .into_iter()
            .chain(PRODUCERS)
            .chain(CONSUMERS)
            .filter(move |name| *name != BROKERS[index])
    }

    fn set_links(&self, index: usize) {
        for other in Self::others(index) {
            self.set_link(index, other);
        }
    }

    /// Ends a broker's process: its destructors reach neither disk nor network nor store.
    fn crash(&mut self, index: usize) {
        let host = &self.hosts[index];
        for call in [
            Call::Open,
            Call::Read,
            Call::Write,
            Call::Sync,
            Call::Rename,
            Call::Remove,
        ] {
            host.disk.fail(call, "", 0, u64::MAX, std::io::ErrorKind::Other);
        }
        for other in Self::others(index) {
            self.sim.partition(host.name, other);
        }
        self.sim.crash(host.name);
        self.set_links(index);
        self.hosts[index].disk.heal();
        self.hosts[index].life = Life::Down;
        self.history.event(BROKERS[index], "was killed");
    }

    fn cut_power(&mut self, index: usize, at_ms: i64) {
        let disk = Disk::memory(self.hosts[index].disk.clone());
        let directory = directory(BROKERS[index]);
        let ends = |disk: &Disk| {
            (0..PARTITIONS)
                .map(|partition| check::log(disk, &directory, partition).1)
                .collect::<Vec<_>>()
        };
        let before = ends(&disk);
        let random = self.random.clone();
        self.hosts[index].disk.power_cut(|| random.below(2) == 0);
        let after = ends(&disk);
        self.history
            .event(BROKERS[index], format!("lost its power: {before:?} -> {after:?}"));
        for (partition, (end, from)) in before.into_iter().zip(after).enumerate() {
            self.counts.records_cut += (end - from).max(0) as u64;
            let (broker, partition) = (index as i32 + 1, partition as i32);
            self.observed.lock().cuts.push(Cut {
                broker,
                partition,
                from,
                end,
                at_ms,
            });
        }
    }

    fn state(&self, partition: i32) -> Option<PartitionState> {
        let node = self.server.peek(&paths::partition_state(TOPIC, partition))?;
        PartitionState::decode(&node.data?).ok()
    }

    fn controller(&self) -> Option<usize> {
        let node = self.server.peek(paths::CONTROLLER)?;
        let controller = Controller::decode(&node.data?).ok()?;
        Some(controller.brokerid as usize - 1)
    }

    fn kill(&mut self, index: usize, again: Duration) {
        if self.hosts[index].life == Life::Up {
            self.crash(index);
            self.counts.kills += 1;
            self.ends.push((again, End::Restart(index)));
        }
    }

    fn part(&mut self, links: Vec<(usize, &'static str)>, until: Duration) {
        self.counts.partitions += 1;
        for (index, other) in &links {
            self.cut.push((*index, *other));
            self.set_link(*index, other);
        }
        self.ends.push((until, End::Links(links)));
    }

    fn cut_store(&mut self, index: usize, until: Duration) {
        self.store_cuts[index] += 1;
        self.hosts[index].link.set_up(false);
        self.ends.push((until, End::Store(index)));
    }

    fn begin(&mut self, fault: &Fault) {
        let until = self.sim.elapsed() + fault.lasts;
        self.history
            .event("fault", format!("{}: {fault:?}", self.sim.elapsed().as_millis()));
        self.counts.faults += 1;
        let index = |broker: BrokerId| broker.get() as usize - 1;
        let to_brokers = |one: usize| {
            BROKERS
                .into_iter()
                .filter(move |name| *name != BROKERS[one])
                .map(move |name| (one, name))
                .collect::<Vec<_>>()
        };
        match fault.what {
            What::Killed(which) => {
                for index in (0..BROKERS.len()).filter(|index| which & (1 << index) != 0) {
                    let again = until + Duration::from_millis(self.random.below(500));
                    self.kill(index, again);
                }
            }
            What::KilledController => {
                if let Some(index) = self.controller() {
                    self.kill(index, until);
                }
            }
            What::PowerCut(broker) => {
                let index = index(broker);
                if self.hosts[index].life == Life::Up {
                    self.dark.insert(index);
                    self.crash(index);
                    let at_ms = self.start_ms + self.sim.elapsed().as_millis() as i64;
                    self.cut_power(index, at_ms);
                    self.counts.power_cuts += 1;
                    self.ends.push((until, End::Restart(index)));
                }
            }
            What::Stopped(broker) => {
                if self.hosts[index(broker)].life == Life::Up {
                    self.counts.stops += 1;
                    self.hosts[index(broker)].stop.lock().unwrap().begin();
                    self.ends
                        .push((until + Duration::from_millis(1_500), End::Restart(index(broker))));
                }
            }
            What::Parted(one, other) => self.part(vec![(index(one), BROKERS[index(other)])], until),
            What::Isolated(broker) => self.part(
                Self::others(index(broker))
                    .map(|other| (index(broker), other))
                    .collect(),
                until,
            ),
            What::Alone(broker) => self.part(to_brokers(index(broker)), until),
            What::StoreCut(broker) => self.cut_store(index(broker), until),
            What::Zombie(broker) => {
                self.part(to_brokers(index(broker)), until);
                self.cut_store(index(broker), until);
            }
            What::Expired(broker) => {
                let owner = self
                    .server
                    .peek(&paths::broker(broker))
                    .and_then(|node| node.stat.owner);
                if let Some(session) = owner {
                    self.server.expire(session);
                    self.counts.expiries += 1;
                }
            }
            What::ReplyLost(broker) => self.hosts[index(broker)].link.lose_next_reply(),
            What::Slow(broker) => {
                for other in Self::others(index(broker)) {
                    self.sim.set_link_max_message_latency(
                        BROKERS[index(broker)],
                        other,
                        Duration::from_millis(400),
                    );
                }
                self.ends.push((until, End::Slow(index(broker))));
            }
            What::SlowStore(broker) => {
                self.hosts[index(broker)].link.set_latency_ms(500);
                self.ends.push((until, End::SlowStore(index(broker))));
            }
            What::Lossy => {
                self.set_loss(0.005);
                self.ends.push((until, End::Lossy));
            }
        }
    }

    fn set_loss(&mut self, rate: f64) {
        for (one, other) in [(0, 1), (1, 2), (0, 2)] {
            self.sim.set_link_fail_rate(BROKERS[one], BROKERS[other], rate);
        }
    }

    fn end(&mut self, end: End) {
        match end {
            End::Restart(index) => {
                if self.hosts[index].life == Life::Up && self.sim.is_host_running(BROKERS[index]) {
                    // A clean stop that takes too long.
                    self.crash(index);
                }
                self.dark.remove(&index);
                self.set_links(index);
                self.history.event(BROKERS[index], "starts");
                self.hosts[index].life = Life::Up;
                self.sim.bounce(BROKERS[index]);
            }
            End::Links(links) => {
                for link in links {
                    if let Some(at) = self.cut.iter().position(|cut| *cut == link) {
                        self.cut.remove(at);
                    }
                    self.set_link(link.0, link.1);
                }
            }
            End::Store(index) => {
                self.store_cuts[index] -= 1;
                if self.store_cuts[index] == 0 {
                    self.hosts[index].link.set_up(true);
                }
            }
            End::Slow(index) => {
                for other in Self::others(index) {
                    self.sim
                        .set_link_max_message_latency(BROKERS[index], other, Duration::from_millis(8));
                }
            }
            End::SlowStore(index) => self.hosts[index].link.set_latency_ms(3),
            End::Lossy => self.set_loss(0.0),
        }
    }

    fn end_what_is_due(&mut self, now: Duration) {
        while let Some(at) = self.ends.iter().position(|(due, _)| *due <= now) {
            let (_, end) = self.ends.remove(at);
            self.end(end);
        }
    }

    /// True when every replica is in sync, and all copies are as long as each other.
    fn is_whole(&self) -> bool {
        (0..PARTITIONS).all(|partition| {
            let state = self.state(partition);
            let ends: BTreeSet<i64> = self
                .hosts
                .iter()
                .map(|host| check::log(&Disk::memory(host.disk.clone()), &directory(host.name), partition).1)
                .collect();
            state.is_some_and(|state| state.isr.len() == BROKERS.len() && state.leader.is_some())
                && ends.len() == 1
        })
    }

    /// Runs until the cluster is whole and the clients are done; false when that takes too long.
    fn settle(&mut self) -> bool {
        let until = self.sim.elapsed() + PATIENCE;
        let mut whole = 0;
        while self.sim.elapsed() < until {
            let done = self.step();
            if self.sim.elapsed().as_millis().is_multiple_of(200) {
                whole = if done && self.is_whole() { whole + 1 } else { 0 };
                if whole > 10 {
                    return true;
                }
            }
        }
        false
    }
}

fn show_logs() {
    if let Ok(level) = std::env::var("CLUSTER_LOG") {
        let level: tracing::Level = level.parse().unwrap();
        let _ = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .with_timer(SimulatedTime)
            .try_init();
    }
}

struct SimulatedTime;

impl tracing_subscriber::fmt::time::FormatTime for SimulatedTime {
    fn format_time(&self, w: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        write!(w, "{:>6}", turmoil::sim_elapsed().unwrap_or_default().as_millis())
    }
}

/// Runs a cluster for half a minute of faults, and until it is whole again.
pub fn run(seed: u64, power: bool) -> Outcome {
    show_logs();
    let sim = turmoil::Builder::new()
        .rng_seed(seed)
        .simulation_duration(Duration::from_secs(600))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(8))
        .tcp_capacity(4096)
        .build();
    let server = MemoryServer::new();
    server.keep_journal();
    let mut world = World {
        sim,
        random: Random::from_seed(seed ^ (u64::from(power) << 60)),
        history: History::default(),
        server,
        observed: Observed::default(),
        hosts: Vec::new(),
        cut: Vec::new(),
        dark: BTreeSet::new(),
        store_cuts: [0; 3],
        ends: Vec::new(),
        counts: Counts::default(),
        leaders: Leaders::new(),
        wrong: Vec::new(),
        start_ms: clock::now_ms(),
    };
    world.add_brokers(seed);
    world.add_clients(seed);
    for (at, fault) in faults::choose(&world.random, power, ACTIVE - Duration::from_secs(2)) {
        while world.sim.elapsed() < at {
            world.step();
            world.end_what_is_due(world.sim.elapsed());
        }
        world.begin(&fault);
    }
    while world.sim.elapsed() < ACTIVE {
        world.step();
        world.end_what_is_due(world.sim.elapsed());
    }
    world.end_what_is_due(Duration::MAX);
    world.history.event("fault", "all is mended");
    world.observed.lock().finish = true;
    if !world.settle() {
        world
            .wrong
            .push("the cluster did not become whole again".to_owned());
    }
    outcome(world)
}

fn outcome(mut world: World<'_>) -> Outcome {
    let disks: Vec<_> = world
        .hosts
        .iter()
        .map(|host| (Disk::memory(host.disk.clone()), directory(host.name)))
        .collect();
    let observed = world.observed.clone();
    let known = observed.lock();
    world.wrong.extend(check::judge(&known, &disks, &world.leaders));
    world.counts.seconds = world.sim.elapsed().as_secs();
    world.counts.acknowledged = known.acknowledged.len() as u64;
    world.counts.read = known.read.len() as u64;
    world.counts.repeated = known.repeated;
    world.counts.lost_replies = world.hosts.iter().map(|host| host.link.lost_replies()).sum();
    world.counts.isr_changes = world.counts.isr_changes.saturating_sub(world.counts.elections);
    Outcome {
        events: world.history.events(),
        wrong: world.wrong,
        counts: world.counts,
    }
}
