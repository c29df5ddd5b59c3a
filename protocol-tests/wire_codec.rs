//! Our codec against that of the kafka-protocol crate, and against an allocator that counts.
//!
//! The frames come out of the table of shapes. Where both codecs know a version, the crate must read our frame as
//! the same values under the same names, and write the same bytes. The crate does not know the versions that Kafka 4
//! dropped, nor all that 4.2 has; what real Kafkas found in our frames, in all versions, lies in kafka-values.txt.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]
#![allow(
    unsafe_code,
    reason = "an allocator that counts; it hands everything on to the system's"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Debug;

use barnabas::base::random::Random;
use barnabas::for_each_api;
use barnabas::wire::shape::generate::{self, Contents};
use barnabas::wire::{ApiKey, DecodeError, Message, Reader, Writer, shape};
use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::{Decodable, Encodable, Message as TheirMessage};

thread_local! {
    /// Bytes that this thread has allocated and not freed, the most of them, and the number of allocations.
    static COUNTED: Cell<(isize, isize, usize)> = const { Cell::new((0, 0, 0)) };
}

struct Counting;

fn count(bytes: isize) {
    let _ = COUNTED.try_with(|counted| {
        let (now, most, allocations) = counted.get();
        let now = now + bytes;
        counted.set((now, most.max(now), allocations + usize::from(bytes > 0)));
    });
}

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `work`; returns what it returns, what of its memory is still held, the most that was, and how often it
/// allocated.
fn measured<T>(work: impl FnOnce() -> T) -> (T, usize, usize, usize) {
    COUNTED.set((0, 0, 0));
    let result = work();
    let (now, most, allocations) = COUNTED.get();
    (result, now.max(0) as usize, most as usize, allocations)
}

/// The values of a message as `{:?}` shows them, so that both crates show them alike: newtypes taken off, and fields
/// that only one side knows left to the caller.
fn shown(message: &impl Debug) -> Vec<String> {
    let text = format!("{message:#?}");
    let mut lines = Vec::new();
    for line in text.lines() {
        let line = line.trim().trim_end_matches(',').trim_start_matches("r#");
        let is_bracket = |c: char| "()[]{}".contains(c);
        if line.chars().all(is_bracket) || line.is_empty() {
            continue;
        }
        // `BrokerId(`, `Some(`, `FetchTopic {`: what stands before a bracket says nothing about values.
        let line = match line.split_once(": ") {
            Some((name, value)) if value.ends_with(is_bracket) && !value.starts_with('"') => {
                format!("{name}:")
            }
            None if line.ends_with(is_bracket) => continue,
            _ => line.to_owned(),
        };
        lines.push(line);
    }
    lines
}

/// The names and values of `lines` as one list, in which a value stands behind the name it belongs to.
fn values(lines: Vec<String>) -> Vec<String> {
    let mut all = Vec::new();
    let mut name = String::new();
    for line in lines {
        let (left, value) = match line.split_once(':') {
            Some((left, value)) if left.chars().all(|c| c.is_alphanumeric() || c == '_') => {
                (left, value.trim())
            }
            _ => ("", line.as_str()),
        };
        if !left.is_empty() {
            name = left.trim_start_matches('_').to_owned();
        }
        // A floating-point number, which both sides show as Rust does.
        let is_digit = |c: char| c.is_ascii_digit();
        if value.starts_with(is_digit)
            && !value.chars().all(is_digit)
            && value.parse::<f64>().is_ok_and(|number| number != 0.0)
        {
            all.push(format!("{name} = {value}"));
            continue;
        }
        // Only numbers and texts that the generator made are worth comparing: defaults may differ.
        let digits = value.trim_start_matches("\"text-").trim_end_matches('"');
        // The one field that only old versions have and whose default looks like a value.
        if (name.as_str(), digits) != ("max_num_offsets", "1")
            && !digits.is_empty()
            && digits.chars().all(|c| c.is_ascii_digit())
            && digits != "0"
        {
            all.push(format!("{name} = {value}"));
        }
    }
    all.sort();
    all
}

struct Counts {
    both: usize,
    compared: usize,
}

fn compare<Ours, Theirs>(counts: &mut Counts)
where
    Ours: Message + Debug,
    Theirs: TheirMessage + Encodable + Decodable + Debug,
{
    for version in Ours::KEY.stable_versions() {
        if version < Theirs::VERSIONS.min || version > Theirs::VERSIONS.max {
            continue;
        }
        let what = format!("{} v{version}, request: {}", Ours::KEY, Ours::IS_REQUEST);
        let body = generate::body(Ours::KEY, version, Ours::IS_REQUEST, Contents::Full).unwrap();
        let mut left = Bytes::from(body.clone());
        let theirs = Theirs::decode(&mut left, version).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(left.is_empty(), "{what}");
        let mut written = BytesMut::new();
        theirs
            .encode(&mut written, version)
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        let ours = Ours::decode(&mut Reader::new(body.clone().into()), version).unwrap();
        let mut w = Writer::new();
        ours.encode(&mut w, version);
        assert_eq!(w.freeze(), written.freeze(), "{what}");
        let (our_values, their_values) = (values(shown(&ours)), values(shown(&theirs)));
        assert_eq!(our_values, their_values, "{what}");
        counts.both += 1;
        counts.compared += our_values.len();
    }
}

#[test]
fn the_crate_reads_the_same_values_and_writes_the_same_bytes() {
    let mut counts = Counts { both: 0, compared: 0 };
    macro_rules! subject {
        // Kafka 4 dropped these, and the crate with it.
        (LeaderAndIsr, $($names:tt)*) => {};
        (StopReplica, $($names:tt)*) => {};
        (UpdateMetadata, $($names:tt)*) => {};
        (ControlledShutdown, $($names:tt)*) => {};
        ($key:ident, $module:ident, $request:ident, $response:ident) => {
            compare::<barnabas::wire::messages::$module::$request, kafka_protocol::messages::$request>(
                &mut counts,
            );
            compare::<barnabas::wire::messages::$module::$response, kafka_protocol::messages::$response>(
                &mut counts,
            );
        };
    }
    for_each_api!(subject);
    assert!(counts.both > 150, "{} bodies that both know", counts.both);
    assert!(counts.compared > 1500, "{} values compared", counts.compared);
}

/// What Kafka 3.9.2 (4.2.0, where 3.9.2 lacks the version) found in our frames; written by scripts/check-wire, which
/// also saw it encode each of them as the same bytes.
const KAFKA_VALUES: &str = include_str!("kafka-values.txt");

fn snake(camel: &str) -> String {
    let mut name = String::new();
    for c in camel.chars() {
        if c.is_uppercase() {
            name.push('_');
        }
        name.extend(c.to_lowercase());
    }
    name
}

fn compare_with_kafka<M: Message + Debug>(seen: &mut usize) {
    let kind = if M::IS_REQUEST { "Request" } else { "Response" };
    for version in M::KEY.stable_versions() {
        let what = format!("{}{kind} {version} ", M::KEY);
        let line = KAFKA_VALUES.lines().find_map(|line| line.strip_prefix(&what));
        let (crc, theirs) = line
            .and_then(|line| line.split_once(' '))
            .unwrap_or_else(|| panic!("no {what}"));
        let body = generate::body(M::KEY, version, M::IS_REQUEST, Contents::Full).unwrap();
        assert_eq!(
            crc,
            crc32fast::hash(&body).to_string(),
            "{what}is another frame now: run scripts/check-wire"
        );
        let theirs = theirs
            .split_whitespace()
            .filter_map(|value| value.split_once('='));
        let theirs: Vec<_> = theirs.map(|(name, value)| (snake(name), value)).collect();
        let mut expected: Vec<String> = theirs
            .iter()
            .map(|(name, value)| match value.strip_prefix("text-") {
                Some(_) => format!("{name} = \"{value}\""),
                None if value.contains('.') => format!("{name} = {:?}", value.parse::<f64>().unwrap()),
                None => format!("{name} = {value}"),
            })
            .filter(|value| !value.contains("= -"))
            .collect();
        expected.sort();
        let message = M::decode(&mut Reader::new(body.into()), version).unwrap();
        let mut ours = values(shown(&message));
        // Fields that the version lacks show their defaults here.
        ours.retain(|value| {
            theirs
                .iter()
                .any(|(name, _)| value.split(' ').next() == Some(name))
        });
        assert_eq!(ours, expected, "{what}");
        *seen += 1;
    }
}

#[test]
fn kafka_found_the_same_values_under_the_same_names() {
    let mut seen = 0;
    macro_rules! subject {
        ($key:ident, $module:ident, $request:ident, $response:ident) => {
            compare_with_kafka::<barnabas::wire::messages::$module::$request>(&mut seen);
            compare_with_kafka::<barnabas::wire::messages::$module::$response>(&mut seen);
        };
    }
    for_each_api!(subject);
    assert_eq!(seen, KAFKA_VALUES.lines().count());
}

fn for_each_body(seed: u64, rounds: usize, mut test: impl FnMut(Decode, ApiKey, bool, i16, &mut Vec<u8>)) {
    let random = Random::from_seed(seed);
    for (key, is_request, decode) in decoders() {
        for version in key.stable_versions() {
            for round in 0..rounds {
                let mut next = || random.below(u64::MAX);
                let contents = if round == 0 {
                    Contents::Full
                } else {
                    Contents::Random(&mut next)
                };
                let mut body = generate::body(key, version, is_request, contents).unwrap();
                test(decode, key, is_request, version, &mut body);
            }
        }
    }
}

type Decode = fn(&Bytes, i16) -> Result<Box<dyn std::any::Any>, DecodeError>;

fn decoders() -> Vec<(ApiKey, bool, Decode)> {
    fn decode<M: Message + 'static>(
        body: &Bytes,
        version: i16,
    ) -> Result<Box<dyn std::any::Any>, DecodeError> {
        Ok(Box::new(M::decode(&mut Reader::new(body.clone()), version)?))
    }
    let mut all: Vec<(ApiKey, bool, Decode)> = Vec::new();
    macro_rules! subject {
        ($key:ident, $module:ident, $request:ident, $response:ident) => {
            all.push((
                ApiKey::$key,
                true,
                decode::<barnabas::wire::messages::$module::$request>,
            ));
            all.push((
                ApiKey::$key,
                false,
                decode::<barnabas::wire::messages::$module::$response>,
            ));
        };
    }
    for_each_api!(subject);
    all
}

// pitfalls 2, row 1
#[test]
fn the_walk_allocates_nothing() {
    let random = Random::from_seed(5);
    for_each_body(4, 5, |_, key, is_request, version, body| {
        let (_, _, _, allocations) = measured(|| shape::check(key, version, is_request, body).unwrap());
        assert_eq!(allocations, 0);
        if !body.is_empty() {
            let at = random.below(body.len() as u64) as usize;
            body[at] = 0x7f;
            let (_, _, _, allocations) = measured(|| shape::check(key, version, is_request, body));
            assert_eq!(allocations, 0);
        }
    });
}

// pitfalls 2, rows 1 and 2
#[test]
fn decoding_holds_no_more_than_its_footprint() {
    let mut largest = 0;
    for_each_body(6, 20, |decode, key, is_request, version, body| {
        let footprint = shape::check(key, version, is_request, body).unwrap();
        let body = Bytes::from(std::mem::take(body));
        // The first slice of a buffer makes its count of owners; that is not the message's.
        drop(body.clone());
        let (message, held, _, _) = measured(|| decode(&body, version).unwrap());
        assert!(
            held <= footprint.decoded_bytes,
            "{key} v{version}: {held} bytes, announced {}",
            footprint.decoded_bytes
        );
        drop(message);
        largest = largest.max(held);
    });
    assert!(largest > 4000, "{largest}");
}

// pitfalls 2, row 1
#[test]
fn a_count_that_lies_reserves_no_more_than_the_frame_has_bytes() {
    let mut tried = 0;
    for (key, is_request, decode) in decoders() {
        for version in key.stable_versions() {
            for index in 0.. {
                let lie = generate::with_length(key, version, is_request, index, i32::MAX);
                let Some((lie, _)) = lie else { break };
                let honest = generate::body(key, version, is_request, Contents::Full).unwrap();
                let affordable = shape::check(key, version, is_request, &honest)
                    .unwrap()
                    .decoded_bytes;
                let lie = Bytes::from(lie);
                drop(lie.clone());
                let (result, _, most, _) = measured(|| decode(&lie, version).map(drop));
                assert!(result.is_err());
                // What the array itself may reserve before its first element: as much as remains, and one element.
                let bound = affordable + lie.len() + 512;
                assert!(
                    most <= bound,
                    "{key} v{version} #{index}: {most} bytes, bound {bound}"
                );
                tried += 1;
            }
        }
    }
    assert!(tried > 1000, "{tried}");
}

// pitfalls 2, row 1
#[test]
fn a_count_within_the_frame_reserves_no_more_than_the_frame_has_bytes() {
    // A byte an element is there, so the count is not refused at once; but few elements can be read from these.
    // What can: nulls of 4 bytes that take 40 in memory, in a vector that doubles, make 24 times the frame.
    const COUNT: usize = 60_000;
    let mut tried = 0;
    for (key, is_request, decode) in decoders() {
        for version in key.stable_versions() {
            for index in 0.. {
                let lie = generate::with_length(key, version, is_request, index, COUNT as i32);
                let Some((lie, _)) = lie else { break };
                let lie = Bytes::from([lie, vec![0xff; COUNT]].concat());
                drop(lie.clone());
                let (_, _, most, _) = measured(|| decode(&lie, version).map(drop));
                assert!(
                    most <= 30 * lie.len(),
                    "{key} v{version} #{index}: {most} of {} bytes",
                    lie.len()
                );
                tried += 1;
            }
        }
    }
    assert!(tried > 1000, "{tried}");
}

#[test]
fn decoding_a_produce_of_one_partition_allocates_its_two_arrays() {
    use barnabas::wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
    for version in ApiKey::Produce.stable_versions() {
        let records = Some(Bytes::from(vec![7; 100_000]));
        let partition_data = vec![PartitionProduceData { index: 0, records }];
        let topic = TopicProduceData {
            name: "topic".into(),
            partition_data,
            ..Default::default()
        };
        let request = ProduceRequest {
            acks: -1,
            topic_data: vec![topic],
            ..Default::default()
        };
        let mut w = Writer::new();
        request.encode(&mut w, version);
        let frame = w.freeze();
        drop(frame.clone());
        let (_request, held, _, allocations) =
            measured(|| ProduceRequest::decode(&mut Reader::new(frame.clone()), version).unwrap());
        assert_eq!(allocations, 2, "v{version}");
        assert!(held < 1000);
    }
}
