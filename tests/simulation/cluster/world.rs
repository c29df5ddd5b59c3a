//! Runs a cluster under one seed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use barnabas::base::clock;
use barnabas::base::ids::BrokerId;
use barnabas::base::random::Random;
use barnabas::store::memory::MemoryServer;
use barnabas::store::znodes::{PartitionState, Topic, paths};

use super::befall::End;
use super::check::{self, Assignments, Leaders};
use super::counts::Counts;
use super::faults::{Blow, Target};
use super::hosts::Host;
use super::observed::Observed;
use super::{ACTIVE, BRIEF, NUMBERS, PATIENCE, TOPIC, UNCLEAN, faults, name_of, number_of};
use crate::history::History;
use crate::traces::Told;

/// How far time goes in one step. Each step costs something for every host, though nothing may happen there.
const TICK: Duration = Duration::from_millis(2);

pub struct Outcome {
    pub events: Vec<String>,
    pub wrong: Vec<String>,
    pub counts: Counts,
}

pub struct World<'a> {
    pub sim: turmoil::Sim<'a>,
    pub random: Random,
    pub history: History,
    pub server: MemoryServer,
    pub observed: Observed,
    pub hosts: Vec<Host>,
    /// Links that are cut, once for each time; and hosts whose power is off.
    pub cut: Vec<(usize, &'static str)>,
    pub dark: BTreeSet<usize>,
    pub store_cuts: Vec<u32>,
    pub ends: Vec<(Duration, End)>,
    pub aims: Vec<(Blow, Target, Duration)>,
    pub counts: Counts,
    pub start_ms: i64,
    leaders: Leaders,
    states: BTreeMap<i32, PartitionState>,
    /// The replicas of each partition, those that come and those that go included.
    assignments: Assignments,
    /// The replicas that a move is to take away, by partition.
    going: BTreeMap<i32, Vec<i32>>,
    controller_epoch: i32,
    wrong: Vec<String>,
}

impl World<'_> {
    pub fn now_ms(&self) -> i64 {
        self.start_ms + self.sim.elapsed().as_millis() as i64
    }

    /// Goes on by a [`TICK`]; true when the clients are done.
    fn step(&mut self) -> bool {
        let done = self.sim.step().unwrap_or_else(|error| panic!("{error}"));
        for session in self.server.expire_silent(self.now_ms()) {
            self.history
                .event("store", format!("session {} expires", session.0));
            self.counts.add("sessions expired", 1);
        }
        for (path, data) in self.server.journal() {
            self.heard(&path, data.as_deref());
        }
        done
    }

    /// What was written in the store.
    fn heard(&mut self, path: &str, data: Option<&[u8]>) {
        if path == paths::CONTROLLER {
            self.counts.add("controllers", u64::from(data.is_some()));
        }
        let text = data.map(|data| String::from_utf8_lossy(data).into_owned());
        let at = self.sim.elapsed();
        self.history
            .event("store", format!("{}: {path} {text:?}", at.as_millis()));
        for topic in [TOPIC, UNCLEAN, BRIEF] {
            if paths::topic(topic) == path {
                self.heard_of_topic(topic, data.and_then(|data| Topic::decode(data).ok()));
            }
        }
        let is_state = |number: &i32| {
            let (topic, index) = name_of(*number);
            paths::partition_state(topic, index) == path
        };
        if let Some(number) = (0..NUMBERS).find(is_state) {
            match data.and_then(|data| PartitionState::decode(data).ok()) {
                Some(state) => self.heard_of_partition(number, state),
                None => drop(self.states.remove(&number)),
            }
        }
    }

    /// Where the partitions of a topic are from now on.
    fn heard_of_topic(&mut self, topic: &'static str, node: Option<Topic>) {
        let Some(node) = node else {
            self.assignments.retain(|number, _| name_of(*number).0 != topic);
            self.leaders.retain(|(number, _), _| name_of(*number).0 != topic);
            return;
        };
        for (index, replicas) in node.partitions {
            let Some(number) = number_of(Some(topic), index) else {
                continue;
            };
            let replicas: Vec<i32> = replicas.iter().map(|id| id.get()).collect();
            let moves = node.adding.contains_key(&index) || node.removing.contains_key(&index);
            let going = node.removing.get(&index).into_iter().flatten();
            self.going.insert(number, going.map(|id| id.get()).collect());
            let before = self
                .assignments
                .insert(number, replicas.clone())
                .unwrap_or_default();
            if before != replicas && !before.is_empty() && !moves {
                self.counts.add("moves made", 1);
            }
            for gone in before.iter().filter(|id| !replicas.contains(id)) {
                let at_ms = self.now_ms();
                let mut observed = self.observed.lock();
                observed.removed.entry((*gone, number)).or_default().push(at_ms);
            }
            self.check_isr(number);
        }
    }

    /// At each step those who are in sync are replicas.
    fn check_isr(&mut self, number: i32) {
        let (Some(state), Some(replicas)) = (self.states.get(&number), self.assignments.get(&number)) else {
            return;
        };
        if !state.isr.iter().all(|id| replicas.contains(&id.get())) {
            self.wrong.push(format!(
                "isr-not-replicas: {number} has {:?} in sync of {replicas:?}",
                state.isr
            ));
        }
        if state.leader.is_some_and(|leader| !state.isr.contains(&leader)) {
            self.wrong.push(format!(
                "isr-not-replicas: {number} is led by {:?}, not in sync: {:?}",
                state.leader, state.isr
            ));
        }
    }

    fn heard_of_partition(&mut self, number: i32, state: PartitionState) {
        let controller_epoch = state.controller_epoch.get();
        if controller_epoch < self.controller_epoch {
            self.wrong.push(format!(
                "zombie-controller: of epoch {controller_epoch} writes {number}, after {}",
                self.controller_epoch
            ));
        }
        self.controller_epoch = self.controller_epoch.max(controller_epoch);
        let epoch = state.leader_epoch.get();
        let leader = state.leader.map_or(-1, BrokerId::get);
        let mut epochs = self.leaders.range((number, 0)..(number, i32::MAX));
        let before = epochs.next_back().map(|((_, epoch), leader)| (*epoch, *leader));
        match before {
            Some((last, _)) if last > epoch => self
                .wrong
                .push(format!("epoch-goes-back: of {number} from {last} to {epoch}")),
            Some((last, led)) if last == epoch && led != leader => {
                self.wrong.push(format!(
                    "two-leaders: in epoch {epoch} of {number}: {led}, {leader}"
                ));
            }
            Some((last, _)) if last == epoch => self.counts.add("ISR changes", 1),
            _ => {
                self.counts.add("elections", 1);
                self.leaders.insert((number, epoch), leader);
            }
        }
        self.aim(&state);
        let at_ms = self.now_ms();
        let going = self.going.get(&number).into_iter().flatten();
        if !going.clone().any(|id| state.isr.contains(&BrokerId(*id))) {
            // They are told to delete their copies, and the topic's node says later that they are no replicas.
            let mut observed = self.observed.lock();
            for id in going {
                observed.removed.entry((*id, number)).or_default().push(at_ms);
            }
        }
        let before = self.states.insert(number, state.clone());
        if let Some(before) = before {
            let mut observed = self.observed.lock();
            let joins = state.isr.iter().filter(|id| !before.isr.contains(id));
            observed.joined.extend(joins.map(|id| (number, id.get(), at_ms)));
            let is_unclean =
                state.recovering || state.leader.is_some_and(|leader| !before.isr.contains(&leader));
            if is_unclean && name_of(number).0 == UNCLEAN {
                observed.unclean.insert(number, at_ms);
                drop(observed);
                self.counts.add("unclean elections", 1);
            }
        }
        self.check_isr(number);
    }

    /// What is not as it should be in the end: all replicas in sync, all copies as long as each other.
    fn lacks(&self) -> Option<String> {
        let known = self.observed.lock();
        for number in 0..NUMBERS {
            let (topic, _) = name_of(number);
            let node = self.server.peek(&paths::topic(topic)).and_then(|node| node.data);
            let node = node.and_then(|data| Topic::decode(&data).ok());
            let (Some(state), Some(replicas), Some(node)) =
                (self.states.get(&number), self.assignments.get(&number), node)
            else {
                return Some(format!("not-whole: {number} is not there"));
            };
            if !node.adding.is_empty() || !node.removing.is_empty() {
                return Some(format!("not-whole: {topic} still moves: {node:?}"));
            }
            if state.isr.len() != replicas.len() || state.leader.is_none() {
                return Some(format!("not-whole: {number} has {state:?} of {replicas:?}"));
            }
            let mut ends = BTreeSet::new();
            for (copies, id) in known.copies.iter().zip(1..) {
                if replicas.contains(&id) {
                    ends.insert(copies.copy(number).map(|log| log.end));
                }
            }
            if ends.len() != 1 {
                return Some(format!("not-whole: {number} on {replicas:?} ends at {ends:?}"));
            }
        }
        let waits_for = known.waits_for.first_key_value();
        waits_for.map(|(client, why)| format!("metadata-stale: {client}: {why}"))
    }

    /// Runs until the cluster is whole and the clients are done; else says what is lacking when that takes too long.
    fn settle(&mut self) -> Result<(), String> {
        let until = self.sim.elapsed() + PATIENCE;
        let (mut whole, mut done) = (0, false);
        while self.sim.elapsed() < until {
            done = self.step();
            if self.sim.elapsed().as_millis().is_multiple_of(200) {
                whole = if done && self.lacks().is_none() {
                    whole + 1
                } else {
                    0
                };
                if whole > 10 {
                    return Ok(());
                }
            }
        }
        Err(match self.lacks() {
            Some(what) => what,
            None if done => "not-whole: for long enough".to_owned(),
            None => "not-whole: clients are not done".to_owned(),
        })
    }
}

fn show_logs() {
    if let Ok(level) = std::env::var("CLUSTER_LOG") {
        let level: tracing::Level = level.parse().unwrap();
        let _ = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .with_timer(crate::traces::SimulatedTime)
            .try_init();
    }
}

/// Runs a cluster for half a minute of faults, and until it is whole again.
pub fn run(seed: u64, power: bool) -> Outcome {
    show_logs();
    let told = Told::default();
    let mut outcome = match std::env::var("CLUSTER_LOG") {
        Ok(_) => run_counted(seed, power),
        Err(_) => tracing::subscriber::with_default(told.clone(), || run_counted(seed, power)),
    };
    for (what, count) in told.counts() {
        outcome.counts.add(what, count);
    }
    outcome
}

fn run_counted(seed: u64, power: bool) -> Outcome {
    let sim = turmoil::Builder::new()
        .rng_seed(seed)
        .simulation_duration(Duration::from_secs(600))
        .tick_duration(TICK)
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
        store_cuts: Vec::new(),
        ends: Vec::new(),
        aims: Vec::new(),
        counts: Counts::default(),
        leaders: Leaders::new(),
        states: BTreeMap::new(),
        assignments: Assignments::new(),
        going: BTreeMap::new(),
        controller_epoch: 0,
        wrong: Vec::new(),
        start_ms: clock::now_ms(),
    };
    let brokers = [3, 3, 3, 4, 4, 4, 4, 5][world.random.below(8) as usize];
    world.add_brokers(brokers, seed);
    world.add_clients(seed);
    for (at, fault) in faults::choose(&world.random, brokers, power, ACTIVE - Duration::from_secs(2)) {
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
    world.aims.clear();
    world.end_what_is_due(Duration::MAX);
    world.history.event("fault", "all is mended");
    world.observed.lock().finish = true;
    if let Err(lacks) = world.settle() {
        world.wrong.push(lacks);
    }
    outcome(world)
}

fn outcome(mut world: World<'_>) -> Outcome {
    let observed = world.observed.clone();
    let known = observed.lock();
    let judged = check::judge(&known, &known.copies, &world.leaders, &world.assignments);
    world.wrong.extend(judged);
    let mut counts = world.counts;
    counts.add("seconds", world.sim.elapsed().as_secs());
    counts.add("acknowledged", known.acknowledged.len() as u64);
    counts.add("read", known.read.len() as u64);
    counts.add("sent again", known.repeated);
    counts.add("begun anew", known.begun_anew);
    let lost_replies = world.hosts.iter().map(|host| host.link.lost_replies());
    counts.add("lost replies", lost_replies.sum());
    for (what, count) in &known.done {
        counts.add(what, *count);
    }
    Outcome {
        events: world.history.events(),
        wrong: world.wrong,
        counts,
    }
}
