//! What members of groups send and are answered, each request in its last version that is not flexible, and the
//! metadata that a Java consumer would send. Called by `groups`, `commits` and `offsets`.

use std::time::{Duration, Instant};

use crate::batch::string;
use crate::client::{Client, Fields};

pub const SESSION_TIMEOUT_MS: i32 = 300_000;
pub const REBALANCE_TIMEOUT_MS: i32 = 300_000;
/// The topics that a consumer of the load subscribes to.
const TOPICS: [&str; 4] = [
    "orders-europe",
    "payments-europe",
    "shipments-europe",
    "customers-europe",
];

pub const ERROR_MEMBER_ID_REQUIRED: i16 = 79;

/// The key of SyncGroup.
pub const SYNC: i16 = 14;

/// A whole request frame. Its correlation id is the request's key, so that answers can be told apart.
pub fn frame(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 4];
    frame.extend_from_slice(&key.to_be_bytes());
    frame.extend_from_slice(&version.to_be_bytes());
    frame.extend_from_slice(&i32::from(key).to_be_bytes());
    string("load", &mut frame);
    frame.extend_from_slice(body);
    let size = (frame.len() - 4) as i32;
    frame[..4].copy_from_slice(&size.to_be_bytes());
    frame
}

fn bytes(value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(value.len() as i32).to_be_bytes());
    out.extend_from_slice(value);
}

/// The subscription of a consumer, about 100 bytes; `note` is its user data, so that it is another one each time.
fn subscription(note: u64) -> Vec<u8> {
    let mut out = 1i16.to_be_bytes().to_vec();
    out.extend_from_slice(&(TOPICS.len() as i32).to_be_bytes());
    for topic in TOPICS {
        string(topic, &mut out);
    }
    bytes(&note.to_be_bytes(), &mut out);
    out.extend_from_slice(&0i32.to_be_bytes());
    out
}

/// The assignment of the consumer with this number, about 100 bytes: one partition of each topic.
fn assignment(number: usize) -> Vec<u8> {
    let mut out = 1i16.to_be_bytes().to_vec();
    out.extend_from_slice(&(TOPICS.len() as i32).to_be_bytes());
    for topic in TOPICS {
        string(topic, &mut out);
        out.extend_from_slice(&1i32.to_be_bytes());
        out.extend_from_slice(&(number as i32).to_be_bytes());
    }
    out.extend_from_slice(&(-1i32).to_be_bytes());
    out
}

/// JoinGroup v5 with the two protocols that a Java consumer offers.
pub fn join(group: &str, member: &str, note: u64) -> Vec<u8> {
    let mut body = Vec::with_capacity(512);
    string(group, &mut body);
    body.extend_from_slice(&SESSION_TIMEOUT_MS.to_be_bytes());
    body.extend_from_slice(&REBALANCE_TIMEOUT_MS.to_be_bytes());
    string(member, &mut body);
    body.extend_from_slice(&(-1i16).to_be_bytes());
    string("consumer", &mut body);
    body.extend_from_slice(&2i32.to_be_bytes());
    for protocol in ["range", "cooperative-sticky"] {
        string(protocol, &mut body);
        bytes(&subscription(note), &mut body);
    }
    frame(11, 5, &body)
}

/// An answer to JoinGroup v5.
pub struct Joined {
    pub error: i16,
    pub generation: i32,
    pub member: String,
    /// The members of the group, for its leader only.
    pub members: Vec<String>,
}

/// `answer` begins with the correlation id.
pub fn joined(answer: &[u8]) -> Joined {
    let mut fields = Fields(answer);
    fields.i32();
    fields.i32();
    let error = fields.i16();
    let generation = fields.i32();
    fields.string();
    fields.string();
    let member = fields.string().unwrap();
    let count = fields.i32();
    let members = (0..count).map(|_| {
        let id = fields.string().unwrap();
        fields.string();
        let length = fields.i32() as usize;
        fields.take(length);
        id
    });
    Joined {
        error,
        generation,
        members: members.collect(),
        member,
    }
}

/// The SyncGroup v3 of a member that was answered `joined`: with everybody's assignment if it leads.
pub fn sync(group: &str, joined: &Joined) -> Vec<u8> {
    let mut body = Vec::with_capacity(64 + joined.members.len() * 200);
    string(group, &mut body);
    body.extend_from_slice(&joined.generation.to_be_bytes());
    string(&joined.member, &mut body);
    body.extend_from_slice(&(-1i16).to_be_bytes());
    body.extend_from_slice(&(joined.members.len() as i32).to_be_bytes());
    for (number, member) in joined.members.iter().enumerate() {
        string(member, &mut body);
        bytes(&assignment(number), &mut body);
    }
    frame(SYNC, 3, &body)
}

/// Sees to it that an answer to SyncGroup v3 brings an assignment.
pub fn check_synced(answer: &[u8]) {
    let mut fields = Fields(answer);
    fields.i32();
    fields.i32();
    let error = fields.i16();
    assert_eq!(error, 0, "SyncGroup");
    assert!(fields.i32() > 0, "an assignment");
}

impl Client {
    /// Asks until a group has a coordinator (FindCoordinator v1), which is this broker.
    pub fn await_coordinator(&mut self, group: &str) {
        let mut body = Vec::new();
        string(group, &mut body);
        body.push(0);
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let answer = self.call(10, 1, &body).unwrap();
            let mut fields = Fields(&answer);
            fields.i32();
            let error = fields.i16();
            if error == 0 {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{group} has no coordinator: error {error}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Joins a group as its only member; returns the member's id and the generation.
    pub fn join_alone(&mut self, group: &str) -> (String, i32) {
        self.await_coordinator(group);
        let mut member = String::new();
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let joined = joined(&self.exchange(&join(group, &member, 0)));
            match joined.error {
                0 => {
                    check_synced(&self.exchange(&sync(group, &joined)));
                    return (joined.member, joined.generation);
                }
                ERROR_MEMBER_ID_REQUIRED => member = joined.member,
                // The coordinator is being loaded, or not there yet.
                14..=16 => std::thread::sleep(Duration::from_millis(20)),
                error => panic!("JoinGroup: error {error}"),
            }
            assert!(Instant::now() < deadline, "{group} cannot be joined");
        }
    }
}
