//! What befalls a cluster, and how it is mended.

use std::time::Duration;

use barnabas::base::disk::Disk;
use barnabas::base::disk::memory::Call;
use barnabas::base::ids::BrokerId;
use barnabas::store::znodes::{Controller, PartitionState, paths};

use super::faults::{Blow, Fault, Target, What};
use super::hosts::{Life, directories};
use super::observed::Cut;
use super::world::World;
use super::{ADMINISTRATORS, BROKERS, CONSUMERS, NUMBERS, PRODUCERS};

/// The calls that can fail.
const CALLS: [Call; 6] = [
    Call::Write,
    Call::Sync,
    Call::Open,
    Call::Rename,
    Call::Read,
    Call::Remove,
];

/// When something ends.
pub enum End {
    Restart(usize),
    Links(Vec<(usize, &'static str)>),
    Store(usize),
    Slow(usize),
    SlowStore(usize),
    Lossy,
    /// A disk that works again: the broker is started anew.
    Disk(usize),
    /// Not an end, but what was aimed.
    Blow(Blow, usize, Duration),
}

impl World<'_> {
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

    /// All hosts but this broker.
    fn others(&self, index: usize) -> impl Iterator<Item = &'static str> + use<> {
        let brokers = BROKERS.into_iter().take(self.hosts.len());
        let others = brokers.filter(move |name| *name != BROKERS[index]);
        others.chain(PRODUCERS).chain(CONSUMERS).chain(ADMINISTRATORS)
    }

    fn other_brokers(&self, index: usize) -> impl Iterator<Item = &'static str> + use<> {
        let brokers = BROKERS.into_iter().take(self.hosts.len());
        brokers.filter(move |name| *name != BROKERS[index])
    }

    fn to_brokers(&self, index: usize) -> Vec<(usize, &'static str)> {
        self.other_brokers(index).map(|name| (index, name)).collect()
    }

    /// A partition has another leader or ISR: what was aimed at that happens within a few milliseconds.
    pub fn aim(&mut self, state: &PartitionState) {
        let Some(leader) = state.leader else { return };
        let last = *state.isr.last().unwrap_or(&leader);
        for (blow, target, lasts) in std::mem::take(&mut self.aims) {
            let hit = match target {
                Target::Leader => leader,
                Target::LastInSync => last,
            };
            let at = self.sim.elapsed() + Duration::from_millis(self.random.below(25));
            self.ends
                .push((at, End::Blow(blow, hit.get() as usize - 1, lasts)));
        }
    }

    fn set_links(&self, index: usize) {
        for other in self.others(index) {
            self.set_link(index, other);
        }
    }

    /// Ends a broker's process: its destructors reach neither disk nor network nor store.
    fn crash(&mut self, index: usize) {
        let (name, disk) = (BROKERS[index], self.hosts[index].disk.clone());
        for call in CALLS {
            disk.fail(call, "", 0, u64::MAX, std::io::ErrorKind::Other);
        }
        for other in self.others(index) {
            self.sim.partition(name, other);
        }
        self.sim.crash(name);
        self.set_links(index);
        disk.heal();
        self.hosts[index].life = Life::Down;
        self.history.event(name, "was killed");
    }

    /// Has `take` take something from a broker's disk, and notes what is gone.
    fn lose(&mut self, index: usize, what: &str, take: impl FnOnce(&Self)) {
        let copies = self.observed.lock().copies[index].clone();
        let ends = || (0..NUMBERS).map(|number| copies.copy(number).map_or(0, |log| log.end));
        let before: Vec<i64> = ends().collect();
        take(self);
        let after: Vec<i64> = ends().collect();
        self.history
            .event(BROKERS[index], format!("{what}: {before:?} -> {after:?}"));
        for ((end, from), partition) in before.into_iter().zip(after).zip(0..) {
            self.counts.add("records cut", (end - from).max(0) as u64);
            let (broker, at_ms) = (index as i32 + 1, self.now_ms());
            self.observed.lock().cuts.push(Cut {
                broker,
                partition,
                from,
                end,
                at_ms,
            });
        }
    }

    fn cut_power(&mut self, index: usize, again: Duration) {
        if self.hosts[index].life == Life::Down {
            return;
        }
        self.dark.insert(index);
        self.crash(index);
        self.lose(index, "lost its power", |world| {
            let random = world.random.clone();
            world.hosts[index].disk.power_cut(|| random.below(2) == 0);
        });
        self.counts.add("power cuts", 1);
        self.ends.push((again, End::Restart(index)));
    }

    /// It comes back with empty disks.
    fn wipe(&mut self, index: usize, again: Duration) {
        if self.hosts[index].life == Life::Down {
            return;
        }
        self.crash(index);
        self.lose(index, "lost its disks", |world| {
            let disk = Disk::memory(world.hosts[index].disk.clone());
            for directory in directories(BROKERS[index]) {
                let _ = disk.remove_directory(directory.as_ref());
            }
            // Nothing of them comes back.
            let _ = disk.sync_directory(format!("/{}", BROKERS[index]).as_ref());
        });
        self.counts.add("wiped disks", 1);
        self.ends.push((again, End::Restart(index)));
    }

    /// Calls of a kind fail from now on, or from a little later on; once or for good.
    fn break_disk(&mut self, index: usize, call: u8, until: Duration) {
        if self.hosts[index].life == Life::Down {
            return;
        }
        let directory = &directories(BROKERS[index])[self.random.below(2) as usize];
        let call = CALLS[usize::from(call)];
        let times = [1, u64::MAX][self.random.below(2) as usize];
        let after = self.random.below(6);
        self.hosts[index]
            .disk
            .fail(call, directory, after, times, std::io::ErrorKind::Other);
        self.counts.add("bad disks", 1);
        self.ends.push((until, End::Disk(index)));
    }

    fn fill_disk(&mut self, index: usize, until: Duration) {
        if self.hosts[index].life == Life::Down {
            return;
        }
        let disk = &self.hosts[index].disk;
        disk.set_capacity_bytes(Some(disk.used_bytes() + self.random.below(3_000)));
        self.counts.add("full disks", 1);
        self.ends.push((until, End::Disk(index)));
    }

    fn controller(&self) -> Option<usize> {
        let node = self.server.peek(paths::CONTROLLER)?;
        let controller = Controller::decode(&node.data?).ok()?;
        Some(controller.brokerid as usize - 1)
    }

    fn kill(&mut self, index: usize, again: Duration) {
        if self.hosts[index].life == Life::Up {
            self.crash(index);
            self.counts.add("kills", 1);
            self.ends.push((again, End::Restart(index)));
        }
    }

    fn part(&mut self, links: Vec<(usize, &'static str)>, until: Duration) {
        self.counts.add("links cut", 1);
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

    pub fn begin(&mut self, fault: &Fault) {
        let until = self.sim.elapsed() + fault.lasts;
        self.history
            .event("fault", format!("{}: {fault:?}", self.sim.elapsed().as_millis()));
        self.counts.add("faults", 1);
        let index = |broker: BrokerId| broker.get() as usize - 1;
        match fault.what {
            What::Killed(which) => {
                for index in (0..self.hosts.len()).filter(|index| which & (1 << index) != 0) {
                    let again = until + Duration::from_millis(self.random.below(500));
                    self.kill(index, again);
                }
            }
            What::KilledController => {
                if let Some(index) = self.controller() {
                    self.kill(index, until);
                }
            }
            What::PowerCut(broker) => self.cut_power(index(broker), until),
            What::Blackout => {
                for index in 0..self.hosts.len() {
                    let again = until + Duration::from_millis(self.random.below(2_000));
                    self.cut_power(index, again);
                }
            }
            What::Wiped(broker) => self.wipe(index(broker), until),
            What::BadDisk(broker, call) => self.break_disk(index(broker), call, until),
            What::FullDisk(broker) => self.fill_disk(index(broker), until),
            What::Stopped(broker) => {
                if self.hosts[index(broker)].life == Life::Up {
                    self.counts.add("clean stops", 1);
                    self.hosts[index(broker)].stop.lock().unwrap().begin();
                    self.ends
                        .push((until + Duration::from_millis(1_500), End::Restart(index(broker))));
                }
            }
            What::Parted(one, other) => self.part(vec![(index(one), BROKERS[index(other)])], until),
            What::Isolated(broker) => {
                let others = self.others(index(broker));
                self.part(others.map(|other| (index(broker), other)).collect(), until);
            }
            What::Alone(broker) => {
                let links = self.to_brokers(index(broker));
                self.part(links, until);
            }
            What::StoreCut(broker) => self.cut_store(index(broker), until),
            What::Zombie(broker) => {
                let links = self.to_brokers(index(broker));
                self.part(links, until);
                self.cut_store(index(broker), until);
            }
            What::Expired(broker) => {
                let owner = self
                    .server
                    .peek(&paths::broker(broker))
                    .and_then(|node| node.stat.owner);
                if let Some(session) = owner {
                    self.server.expire(session);
                    self.counts.add("sessions expired", 1);
                }
            }
            What::ReplyLost(broker) => self.hosts[index(broker)].link.lose_next_reply(),
            What::Slow(broker) => {
                for other in self.others(index(broker)) {
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
            What::Aimed(blow, target) => self.aims.push((blow, target, fault.lasts)),
            What::Lossy => {
                self.set_loss(0.005);
                self.ends.push((until, End::Lossy));
            }
        }
    }

    fn set_loss(&mut self, rate: f64) {
        for one in 0..self.hosts.len() {
            for other in one + 1..self.hosts.len() {
                self.sim.set_link_fail_rate(BROKERS[one], BROKERS[other], rate);
            }
        }
    }

    fn start(&mut self, index: usize) {
        if self.hosts[index].life == Life::Up && self.sim.is_host_running(BROKERS[index]) {
            // A clean stop that takes too long, or a broker that waits for its disk.
            self.crash(index);
        }
        self.dark.remove(&index);
        self.set_links(index);
        self.history.event(BROKERS[index], "starts");
        self.hosts[index].life = Life::Up;
        self.sim.bounce(BROKERS[index]);
    }

    fn end(&mut self, end: End) {
        match end {
            End::Restart(index) => self.start(index),
            End::Disk(index) => {
                self.hosts[index].disk.set_capacity_bytes(None);
                self.hosts[index].disk.heal();
                if self.hosts[index].life == Life::Up {
                    self.start(index);
                }
            }
            End::Blow(blow, index, lasts) => {
                let until = self.sim.elapsed() + lasts;
                self.history.event(BROKERS[index], format!("is hit: {blow:?}"));
                self.counts.add("blows", 1);
                match blow {
                    Blow::Killed => self.kill(index, until),
                    Blow::PowerCut => self.cut_power(index, until),
                    Blow::Alone => {
                        let links = self.to_brokers(index);
                        self.part(links, until);
                    }
                }
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
                for other in self.others(index) {
                    self.sim
                        .set_link_max_message_latency(BROKERS[index], other, Duration::from_millis(8));
                }
            }
            End::SlowStore(index) => self.hosts[index].link.set_latency_ms(3),
            End::Lossy => self.set_loss(0.0),
        }
    }

    pub fn end_what_is_due(&mut self, now: Duration) {
        while let Some(at) = self.ends.iter().position(|(due, _)| *due <= now) {
            let (_, end) = self.ends.remove(at);
            self.end(end);
        }
    }
}
