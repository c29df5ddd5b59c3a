//! Hundreds of members that join one group while its first rebalance waits for more of them
//! (`group.initial.rebalance.delay.ms`): how long it takes from the end of that delay until the last one has its
//! assignment, and what that costs the broker. Each round is a new group on the same connections.

use std::time::{Duration, Instant};

use crate::client::Client;
use crate::many::Many;
use crate::members::{self, ERROR_MEMBER_ID_REQUIRED};
use crate::process;

const PATIENCE: Duration = Duration::from_secs(60);

#[derive(clap::Args)]
pub struct Options {
    #[arg(long)]
    bootstrap: String,
    #[arg(long, default_value_t = 500)]
    members: usize,
    /// The broker's `group.initial.rebalance.delay.ms`.
    #[arg(long, default_value_t = 3000)]
    delay_ms: u64,
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Rebalances before that which are not measured.
    #[arg(long, default_value_t = 0)]
    warm: usize,
    #[arg(long)]
    pid: u32,
}

struct Round {
    /// From the end of the delay to the last answer.
    seconds: f64,
    cpu_seconds: f64,
    /// From the first JoinGroup to the last one of them.
    sent_seconds: f64,
}

pub fn run(options: &Options) {
    let mut many = Many::connect(&options.bootstrap, options.members);
    let mut client = Client::connect(&options.bootstrap).expect("connect");
    if options.warm > 0 {
        let (_, mut ids) = join(options, &mut client, &mut many, "load-warm");
        for note in 1..=options.warm as u64 {
            ids = rejoin(&mut many, "load-warm", &ids, note);
        }
    }
    let rounds: Vec<Round> = (0..options.rounds)
        .map(|number| join(options, &mut client, &mut many, &format!("load-group-{number}")).0)
        .collect();
    let list = |field: fn(&Round) -> f64| rounds.iter().map(field).collect::<Vec<f64>>();
    println!(
        "{}",
        serde_json::json!({
            "members": options.members,
            "seconds": list(|round| round.seconds),
            "cpu_seconds": list(|round| round.cpu_seconds),
            "sent_seconds": list(|round| round.sent_seconds),
        })
    );
}

/// All join a new group. Returns also their ids, by connection.
fn join(options: &Options, client: &mut Client, many: &mut Many, group: &str) -> (Round, Vec<String>) {
    client.await_coordinator(group);
    let mut ids = vec![String::new(); many.len()];
    let new = members::join(group, "", 0);
    (0..many.len()).for_each(|slot| many.send(slot, &new));
    let mut named = 0;
    let deadline = Instant::now() + PATIENCE;
    while named < ids.len() {
        many.receive(PATIENCE, |slot, answer| {
            let joined = members::joined(answer);
            match joined.error {
                ERROR_MEMBER_ID_REQUIRED => {
                    ids[slot] = joined.member;
                    named += 1;
                    None
                }
                // The group's partition is not loaded yet.
                14..=16 => Some(new.clone()),
                error => panic!("JoinGroup: error {error}"),
            }
        });
        assert!(Instant::now() < deadline, "member ids");
    }
    let requests: Vec<Vec<u8>> = ids.iter().map(|id| members::join(group, id, 0)).collect();
    let begun = Instant::now();
    for (slot, request) in requests.iter().enumerate() {
        many.send(slot, request);
    }
    let sent_seconds = begun.elapsed().as_secs_f64();
    let mut assigned = Assigned::default();
    let mut cpu_before = process::cpu_nanoseconds(options.pid);
    // Nothing is answered before the delay is over.
    while many.receive(Duration::from_millis(20), |_, answer| {
        assigned.take(group, answer)
    }) == 0
    {
        cpu_before = process::cpu_nanoseconds(options.pid);
        assert!(begun.elapsed() < PATIENCE, "no answer");
    }
    // The group waits once more when others have come while it waited, so the delay's end is a multiple of it.
    let since = begun.elapsed().as_millis() as u64;
    let waits = since / options.delay_ms.max(1);
    assert!(waits > 0, "answered before the delay is over: {since} ms");
    assigned.await_all(many, group);
    let seconds = begun.elapsed().as_secs_f64() - (waits * options.delay_ms) as f64 / 1000.0;
    let cpu_after = process::cpu_nanoseconds(options.pid);
    let round = Round {
        seconds,
        cpu_seconds: cpu_after.saturating_sub(cpu_before) as f64 / 1e9,
        sent_seconds,
    };
    (round, ids)
}

/// All members, which have an assignment, join again with something new.
fn rejoin(many: &mut Many, group: &str, ids: &[String], note: u64) -> Vec<String> {
    for (slot, id) in ids.iter().enumerate() {
        many.send(slot, &members::join(group, id, note));
    }
    Assigned::default().await_all(many, group);
    ids.to_vec()
}

/// Counts who has an assignment, and asks for it on behalf of who has joined.
#[derive(Default)]
struct Assigned {
    joined: usize,
    assigned: usize,
}

impl Assigned {
    /// An answer to a member's JoinGroup or SyncGroup: no member gets the second before all have got the first.
    fn take(&mut self, group: &str, answer: &[u8]) -> Option<Vec<u8>> {
        if answer[..4] == i32::from(members::SYNC).to_be_bytes() {
            members::check_synced(answer);
            self.assigned += 1;
            return None;
        }
        let joined = members::joined(answer);
        assert_eq!(joined.error, 0, "JoinGroup");
        self.joined += 1;
        Some(members::sync(group, &joined))
    }

    fn await_all(&mut self, many: &mut Many, group: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.assigned < many.len() {
            many.receive(PATIENCE, |_, answer| self.take(group, answer));
            assert!(
                Instant::now() < deadline,
                "{} joined, {} assigned",
                self.joined,
                self.assigned
            );
        }
    }
}
