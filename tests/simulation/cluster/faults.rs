//! What befalls a cluster, chosen by the seed, and how it is mended.

use std::time::Duration;

use barnabas::base::ids::BrokerId;
use barnabas::base::random::Random;

use super::BROKERS;

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
}

/// The faults of a run, each with its time.
pub fn choose(random: &Random, power: bool, until: Duration) -> Vec<(Duration, Fault)> {
    let mut faults = Vec::new();
    let mut at = Duration::from_millis(3_000 + random.below(1_500));
    // Some runs have many faults close to each other.
    let pause_ms = [400, 1_200, 3_000, 5_000][random.below(4) as usize];
    while at < until {
        faults.push((at, fault(random, power)));
        at += Duration::from_millis(50 + random.below(2 * pause_ms));
    }
    faults
}

fn fault(random: &Random, power: bool) -> Fault {
    let broker = BrokerId(1 + random.below(BROKERS.len() as u64) as i32);
    let other = BrokerId(1 + (broker.get() + random.below(2) as i32) % BROKERS.len() as i32);
    let what = match random.below(if power { 26 } else { 22 }) {
        0..=2 => What::Killed(1 << (broker.get() - 1)),
        3 => What::Killed(0b111 & !(1 << (broker.get() - 1))),
        4 => What::Killed(0b111),
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
