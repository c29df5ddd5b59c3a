//! Every API that is served, in every version: a full request, an empty one, and ones with a null or a wrong length in
//! each place get an answer that has its shape, or a clean close; the broker serves on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods
)]

mod socket;

use barnabas::for_each_api;
use barnabas::wire::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use barnabas::wire::shape::{self, generate};
use barnabas::wire::{ApiKey, Message, Text, Writer};
use socket::{Client, TestBroker};

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    /// An answer of its shape.
    Answered,
    /// None, and none was due (acks=0).
    Silent,
    Closed,
}

struct Asker {
    broker: TestBroker,
    client: Client,
}

impl Asker {
    fn new() -> Self {
        let broker = TestBroker::start(&[]);
        Self {
            client: broker.client(),
            broker,
        }
    }

    /// Sends a request and, behind it, one whose answer shows that the connection lives.
    fn ask(&mut self, key: ApiKey, version: i16, body: &[u8], what: &str) -> Outcome {
        let what = format!("{key} version {version}, {what}");
        let sent = self.client.send_body(key, version, body);
        let probe = self.client.send_body(ApiKey::ApiVersions, 0, &[]);
        let Some(frame) = self.client.next_frame() else {
            self.client = self.broker.client();
            return Outcome::Closed;
        };
        let id = i32::from_be_bytes(frame[..4].try_into().unwrap());
        if id == probe {
            return Outcome::Silent;
        }
        assert_eq!(id, sent, "{what}");
        let (_, answer) = barnabas::wire::header::decode_response(frame, key, version).unwrap();
        let footprint = shape::check(key, version, false, &answer).unwrap_or_else(|error| {
            panic!("{what}: the answer does not have its shape: {error}");
        });
        assert_eq!(footprint.length, answer.len(), "{what}: bytes behind the answer");
        match self.client.answer(ApiKey::ApiVersions, 0) {
            Some((id, _)) => assert_eq!(id, probe, "{what}"),
            None => panic!("{what}: answered, then closed"),
        }
        Outcome::Answered
    }
}

/// What the broker says it serves: key and versions.
fn served(client: &mut Client) -> Vec<(ApiKey, i16, i16)> {
    let request = ApiVersionsRequest {
        client_software_name: Text::from("test"),
        client_software_version: Text::from("1"),
    };
    let answer: ApiVersionsResponse = client.ask(&request, 3);
    assert_eq!(answer.error_code, 0);
    let known = answer.api_keys.into_iter().map(|api| {
        let key = ApiKey::from_code(api.api_key).unwrap();
        (key, api.min_version, api.max_version)
    });
    known.collect()
}

fn empty<M: Message>(version: i16) -> Vec<u8> {
    let mut w = Writer::new();
    M::default().encode(&mut w, version);
    w.freeze().to_vec()
}

/// The body of the request with all defaults.
fn default_body(key: ApiKey, version: i16) -> Vec<u8> {
    macro_rules! find {
        ($key:ident, $module:ident, $request:ident, $response:ident) => {
            if key == ApiKey::$key {
                return empty::<barnabas::wire::messages::$module::$request>(version);
            }
        };
    }
    for_each_api!(find);
    panic!("{key} has no messages");
}

#[test]
fn every_api_answers_in_every_version() {
    let mut asker = Asker::new();
    let served = served(&mut asker.client);
    assert_eq!(served.len(), 53, "what is served: {served:?}");
    let mut asked = 0;
    for (key, min, max) in served {
        for version in min..=max {
            let full = generate::body(key, version, true, generate::Contents::Full).unwrap();
            let outcome = asker.ask(key, version, &full, "full");
            assert_eq!(outcome, Outcome::Answered, "{key} version {version}, full");
            let outcome = asker.ask(key, version, &default_body(key, version), "defaults");
            let due = match key {
                // acks=0, and nothing in it that could fail.
                ApiKey::Produce => Outcome::Silent,
                _ => Outcome::Answered,
            };
            assert_eq!(outcome, due, "{key} version {version}, defaults");
            // Bytes behind a request are ignored.
            let longer = [full, vec![0; 3]].concat();
            let outcome = asker.ask(key, version, &longer, "with bytes behind it");
            assert_eq!(outcome, Outcome::Answered, "{key} version {version}, longer");
            asked += 1;
        }
    }
    assert!(asked > 100, "{asked} versions");
    asker.broker.assert_alive();
}

/// Part 2, row 14 of the pitfalls; and row 12 over the socket.
#[test]
fn null_and_wrong_lengths_in_every_place_are_survived() {
    let mut asker = Asker::new();
    let mut places = 0;
    for (key, min, max) in served(&mut asker.client) {
        for version in min..=max {
            for index in 0.. {
                let Some((body, nullable)) = generate::with_length(key, version, true, index, -1) else {
                    break;
                };
                let what = format!("null in place {index}");
                let outcome = asker.ask(key, version, &body, &what);
                let due = match nullable {
                    true => Outcome::Answered,
                    false => Outcome::Closed,
                };
                assert_eq!(outcome, due, "{key} version {version}, {what}");
                places += 1;
                for length in [-2, i32::MAX] {
                    let (body, _) = generate::with_length(key, version, true, index, length).unwrap();
                    let what = format!("length {length} in place {index}");
                    let outcome = asker.ask(key, version, &body, &what);
                    assert_eq!(outcome, Outcome::Closed, "{key} version {version}, {what}");
                }
            }
        }
    }
    assert!(places > 500, "{places} places");
    asker.broker.assert_alive();
}

#[test]
fn a_request_that_is_cut_short_closes_its_connection() {
    let mut asker = Asker::new();
    for (key, min, max) in served(&mut asker.client) {
        for version in [min, max] {
            let full = generate::body(key, version, true, generate::Contents::Full).unwrap();
            for cut in [0, full.len() / 2, full.len().saturating_sub(1)] {
                if cut == full.len() {
                    continue;
                }
                let outcome = asker.ask(key, version, &full[..cut], "cut");
                assert_eq!(outcome, Outcome::Closed, "{key} version {version}, cut to {cut}");
            }
        }
    }
    asker.broker.assert_alive();
}
