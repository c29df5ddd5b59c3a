//! What befalls a cluster, chosen by the seed, and how it is mended.

use std::time::Duration;

use barnabas::base::ids::BrokerId;
use barnabas::base::random::Random;

/// A fault and how long it lasts.
#[derive(Clone, Debug)]
pub struct Fault {
    pub what: What,
    pub lasts: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// Brokers' processes end as with kill -9, at once; bit n − 1 stands for broker n.
    Killed(u8),
    KilledController,
    /// Unsynced bytes are lost too, and the network is silent meanwhile.
    PowerCut(BrokerId),
    /// The power of all goes at once.
    Blackout,
    /// It ends, and comes back with new disks.
    Wiped(BrokerId),
    /// Calls of a kind, by its number, fail in one of the log directories.
    BadDisk(BrokerId, u8),
    /// No byte more fits on its disks.
    FullDisk(BrokerId),
    /// A clean stop.
    Stopped(BrokerId),
    /// Two brokers do not hear of each other.
    Parted(BrokerId, BrokerId),
    /// No other broker, and no client, is reached.
    Isolated(BrokerId),
    /// Other brokers are not reached; clients and the store are.
    Alone(BrokerId),
    /// The store is not reached.
    StoreCut(BrokerId),
    /// Neither the store nor other brokers are reached; clients are.
    Zombie(BrokerId),
    Expired(BrokerId),
    ReplyLost(BrokerId),
    /// Messages to and from it take long.
    Slow(BrokerId),
    SlowStore(BrokerId),
    /// Some messages between brokers are lost.
    Lossy,
    /// As soon as a partition has another leader or ISR, something befalls its leader, or the one that came in last.
    Aimed(Blow, Target),
}

/// What befalls a broker just after a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blow {
    Killed,
    /// As in [`What::Alone`].
    Alone,
    PowerCut,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    Leader,
    LastInSync,
}

/// The faults of a run, each with its time.
pub fn choose(random: &Random, brokers: usize, power: bool, until: Duration) -> Vec<(Duration, Fault)> {
    let mut faults = Vec::new();
    let mut at = Duration::from_millis(3_000 + random.below(1_500));
    // Some runs have many faults close to each other.
    let pause_ms = [400, 1_200, 3_000, 5_000][random.below(4) as usize];
    while at < until {
        faults.push((at, fault(random, brokers as u64, power)));
        at += Duration::from_millis(50 + random.below(2 * pause_ms));
    }
    faults
}

fn fault(random: &Random, brokers: u64, power: bool) -> Fault {
    let one = random.below(brokers);
    let broker = BrokerId(1 + one as i32);
    let other = BrokerId(1 + ((one + 1 + random.below(brokers - 1)) % brokers) as i32);
    let all = (1_u8 << brokers) - 1;
    let blow = match random.below(if power { 4 } else { 3 }) {
        0 | 1 => Blow::Killed,
        2 => Blow::Alone,
        _ => Blow::PowerCut,
    };
    let target = [Target::Leader, Target::Leader, Target::LastInSync][random.below(3) as usize];
    let what = match random.below(if power { 37 } else { 31 }) {
        0..=2 => What::Killed(1 << one),
        3 => What::Killed(all & !(1 << one)),
        4 => What::Killed(all),
        5 | 6 => What::KilledController,
        7 | 8 => What::Stopped(broker),
        9 | 10 => What::Parted(broker, other),
        11 => What::Isolated(broker),
        12 | 13 => What::Alone(broker),
        14 | 15 => What::StoreCut(broker),
        16 => What::Zombie(broker),
        17 => What::Expired(broker),
        18 | 19 => What::ReplyLost(broker),
        20 => What::Slow(broker),
        21 => [What::Lossy, What::SlowStore(broker)][random.below(2) as usize],
        22 | 23 => What::BadDisk(broker, random.below(5) as u8),
        24 => What::FullDisk(broker),
        25..=30 => What::Aimed(blow, target),
        31 => What::Wiped(broker),
        32 => What::Blackout,
        _ => What::PowerCut(broker),
    };
    let short = random.below(3) == 0;
    let lasts = if short {
        10 + random.below(300)
    } else {
        300 + random.below(5_000)
    };
    Fault {
        what,
        lasts: Duration::from_millis(lasts),
    }
}
