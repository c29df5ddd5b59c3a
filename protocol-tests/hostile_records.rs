//! Bad records over a real socket: what a Produce request must not get into the log. Each test names its row in the
//! project's table of pitfalls, part 2.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods
)]

mod socket;

use barnabas::base::ids::{ProducerEpoch, ProducerId};
use barnabas::records::batch::BatchHeader;
use barnabas::records::build::{BatchBuilder, BatchOptions, SetBuilder, SetOptions};
use barnabas::wire::messages::produce::{ProduceRequest, ProduceResponse};
use barnabas::wire::{ApiKey, Text};
use bytes::Bytes;
use socket::{Client, TestBroker, batch, batch_with, changed, produce_request, sealed};

const CORRUPT_MESSAGE: i16 = 2;
const MESSAGE_TOO_LARGE: i16 = 10;
const INVALID_TIMESTAMP: i16 = 32;
const INVALID_RECORD: i16 = 87;

/// A topic with one good batch in it, and what is tried on it.
struct Target {
    broker: TestBroker,
    client: Client,
    log_end: i64,
}

impl Target {
    fn new(configs: &[(&str, &str)]) -> Self {
        let broker = TestBroker::start(&[]);
        broker.create_topic("t", configs);
        let mut client = broker.client();
        assert_eq!(client.produce("t", 0, batch(&["a", "b"]), 9).error_code, 0);
        Self {
            log_end: client.log_end("t"),
            broker,
            client,
        }
    }

    /// Produces what must be refused, and the log must stay as it is; returns the error code.
    fn refused_in(&mut self, version: i16, records: Bytes, what: &str) -> i16 {
        let answer = self.client.produce("t", 0, records, version);
        assert_ne!(answer.error_code, 0, "{what}");
        assert_eq!(self.client.log_end("t"), self.log_end, "{what}");
        answer.error_code
    }

    fn refused(&mut self, records: Bytes, what: &str) -> i16 {
        self.refused_in(9, records, what)
    }

    fn assert_refused(&mut self, code: i16, records: Bytes, what: &str) {
        assert_eq!(self.refused(records, what), code, "{what}");
    }

    /// What is in the log is still what was put there, and a good batch still goes in.
    fn finish(mut self) {
        let fetched = self.client.fetch("t", 0).records.unwrap();
        let first = BatchHeader::parse(&fetched).unwrap().unwrap();
        assert_eq!((first.record_count, first.base_offset.get()), (2, 0));
        let answer = self.client.produce("t", 0, batch(&["last"]), 9);
        assert_eq!((answer.error_code, answer.base_offset), (0, self.log_end));
        self.broker.assert_alive();
    }
}

fn varint(value: i64) -> Vec<u8> {
    let mut left = ((value << 1) ^ (value >> 63)) as u64;
    let mut bytes = Vec::new();
    while left >= 0x80 {
        bytes.push(left as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
    bytes
}

/// A batch of one record of which everything is said: its length (`None` is the true one) and what follows the
/// attributes, timestamp delta and offset delta.
fn with_record(length: Option<i64>, rest: &[&[u8]]) -> Bytes {
    let body = [vec![0], varint(0), varint(0), rest.concat()].concat();
    let length = length.unwrap_or(body.len() as i64);
    with_payload(1, &[varint(length), body].concat())
}

/// A batch that says that it has `count` records, with any payload.
fn with_payload(count: i32, payload: &[u8]) -> Bytes {
    let mut bytes = changed(&batch(&["a"]), |header| {
        header.record_count = count;
        header.last_offset_delta = count - 1;
        header.size_in_bytes = 61 + payload.len() as u32;
    })[..61]
        .to_vec();
    bytes.extend_from_slice(payload);
    sealed(bytes)
}

// row 18
#[test]
fn no_flipped_bit_gets_into_the_log() {
    let mut target = Target::new(&[]);
    let good = batch(&["some value", "another"]);
    let mut corrupt = 0;
    for bit in 0..good.len() * 8 {
        // The leader epoch is outside the checksum, and the broker's to write.
        if (12..16).contains(&(bit / 8)) {
            continue;
        }
        let mut bytes = good.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let code = target.refused(bytes.into(), &format!("byte {}, bit {}", bit / 8, bit % 8));
        // Bit 4 of the attributes makes the batch transactional, and that is looked at first.
        if bit / 8 >= 17 && (bit / 8, bit % 8) != (22, 4) {
            assert_eq!(code, CORRUPT_MESSAGE, "byte {}, bit {}", bit / 8, bit % 8);
            corrupt += 1;
        }
    }
    assert_eq!(corrupt, (good.len() - 17) * 8 - 1);
    target.finish();
}

// row 19
#[test]
fn record_counts_that_are_not_true_are_refused() {
    let mut target = Target::new(&[]);
    let good = batch(&["a", "b", "c"]);
    for count in [0, -1, 2, 4, i32::MAX, i32::MIN] {
        let alone = changed(&good, |header| header.record_count = count);
        target.assert_refused(INVALID_RECORD, alone, &format!("count {count}"));
        let with_offset = changed(&good, |header| {
            header.record_count = count;
            header.last_offset_delta = count.wrapping_sub(1);
        });
        target.assert_refused(
            INVALID_RECORD,
            with_offset,
            &format!("count and offset of {count}"),
        );
    }
    target.finish();
}

// row 20
#[test]
fn last_offsets_that_do_not_fit_the_count_are_refused() {
    let mut target = Target::new(&[]);
    let good = batch(&["a", "b", "c"]);
    for delta in [-1, 0, 1, 3, i32::MAX, i32::MIN] {
        let bad = changed(&good, |header| header.last_offset_delta = delta);
        target.assert_refused(INVALID_RECORD, bad, &format!("last offset delta {delta}"));
    }
    target.finish();
}

// row 22
#[test]
fn records_that_lie_about_themselves_are_refused() {
    let mut target = Target::new(&[]);
    let no_key = varint(-1);
    let one = varint(1);
    let none = varint(0);
    // (A negative key length is a null key, as in Kafka.)
    let good = with_record(None, &[&no_key, &one, b"v", &none]);
    assert_eq!(
        target.client.produce("t", 0, good, 9).error_code,
        0,
        "the form is right"
    );
    target.log_end += 1;
    let cases: &[(&str, Bytes)] = &[
        (
            "a header count beyond the bytes",
            with_record(None, &[&no_key, &one, b"v", &varint(1_000_000)]),
        ),
        (
            "a negative header count",
            with_record(None, &[&no_key, &one, b"v", &varint(-1)]),
        ),
        (
            "a key beyond the record",
            with_record(None, &[&varint(i64::from(i32::MAX)), &one, b"v", &none]),
        ),
        (
            "a value beyond the record",
            with_record(None, &[&no_key, &varint(1000), b"v", &none]),
        ),
        (
            "a null header key",
            with_record(None, &[&no_key, &one, b"v", &one, &varint(-1), &varint(-1)]),
        ),
        (
            "a record longer than the batch",
            with_record(Some(1000), &[&no_key, &one, b"v", &none]),
        ),
        (
            "a record length of i32::MAX",
            with_record(Some(i64::from(i32::MAX)), &[&no_key, &one, b"v", &none]),
        ),
        (
            "a negative record length",
            with_record(Some(-1), &[&no_key, &one, b"v", &none]),
        ),
        (
            "a record shorter than its fields",
            with_record(Some(4), &[&no_key, &one, b"v", &none]),
        ),
        (
            "bytes behind the fields",
            with_record(None, &[&no_key, &one, b"v", &none, b"more"]),
        ),
        ("an unterminated number", with_payload(1, &[0xff; 20])),
        ("no payload", with_payload(1, &[])),
    ];
    for (what, records) in cases {
        target.refused(records.clone(), what);
    }
    let (broker, mut client) = (target.broker, target.client);
    assert_eq!(client.log_end("t"), target.log_end);
    broker.assert_alive();
}

// row 21
#[test]
fn offsets_out_of_order_come_into_order_before_they_are_stored() {
    let mut target = Target::new(&[]);
    let record = |delta: i64| {
        let body = [
            vec![0],
            varint(0),
            varint(delta),
            varint(-1),
            varint(1),
            vec![b'v', 0],
        ]
        .concat();
        [varint(body.len() as i64), body].concat()
    };
    for deltas in [[1, 0], [0, 0], [5, 9], [0, -1], [-3, 1 << 30]] {
        let bad = with_payload(2, &deltas.map(record).concat());
        let answer = target.client.produce("t", 0, bad, 9);
        assert_eq!(
            (answer.error_code, answer.base_offset),
            (0, target.log_end),
            "{deltas:?}"
        );
        target.log_end += 2;
        assert_eq!(target.client.log_end("t"), target.log_end, "{deltas:?}");
        let stored = target.client.fetch("t", answer.base_offset).records.unwrap();
        let header = BatchHeader::parse(&stored).unwrap().unwrap();
        assert_eq!((header.record_count, header.last_offset_delta), (2, 1));
        assert_eq!(stored[61..], [record(0), record(1)].concat(), "{deltas:?}");
    }
    target.finish();
}

// row 23
#[test]
fn batch_lengths_that_cannot_be_are_refused() {
    let mut target = Target::new(&[]);
    let good = batch(&["a", "b"]);
    let length = good.len() as i32 - 12;
    for declared in [
        i32::MIN,
        -1,
        0,
        13,
        14,
        48,
        49,
        length - 1,
        length + 1,
        1 << 20,
        i32::MAX,
    ] {
        let mut bytes = good.to_vec();
        bytes[8..12].copy_from_slice(&declared.to_be_bytes());
        target.refused(sealed(bytes), &format!("length {declared}"));
    }
    for kept in [0, 1, 11, 12, 16, 17, 60, 61, good.len() - 1] {
        target.refused(good.slice(..kept), &format!("cut to {kept} bytes"));
    }
    target.finish();
}

// rows 24, 28
#[test]
fn control_batches_unknown_codecs_and_reserved_bits_are_refused() {
    let mut target = Target::new(&[]);
    let good = batch(&["a"]);
    let control = changed(&good, |header| header.attributes |= 1 << 5);
    target.assert_refused(INVALID_RECORD, control, "a control batch");
    for codec in 5..=7 {
        let unknown = changed(&good, |header| header.attributes = codec);
        target.refused(unknown, &format!("codec {codec}"));
    }
    let reserved = changed(&good, |header| header.attributes |= 0x80);
    target.assert_refused(INVALID_RECORD, reserved, "bit 7");
    for bit in 0..8 {
        let mut bytes = good.to_vec();
        bytes[21] |= 1 << bit;
        target.assert_refused(INVALID_RECORD, sealed(bytes), &format!("bit {}", 8 + bit));
    }
    // A codec that the payload is not in.
    for codec in 1..=4 {
        let lying = changed(&good, |header| header.attributes = codec);
        target.refused(lying, &format!("a payload that is not of codec {codec}"));
    }
    target.finish();
}

fn of_producer(id: i64, epoch: i16, sequence: i32, is_transactional: bool) -> Bytes {
    let options = BatchOptions {
        producer_id: ProducerId(id),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence: sequence,
        is_transactional,
        ..BatchOptions::default()
    };
    batch_with(options, 1_000, &["a"])
}

// row 25
#[test]
fn producers_that_contradict_themselves_are_refused() {
    let mut target = Target::new(&[]);
    target.refused(
        of_producer(-1, -1, -1, true),
        "transactional without a producer id",
    );
    target.refused(
        of_producer(5, 0, 0, true),
        "transactional without a transactional id",
    );
    target.refused(of_producer(5, 0, -1, false), "a producer id without a sequence");
    target.refused(of_producer(5, -1, 0, false), "a producer id without an epoch");
    let mut named = |records: Bytes, what: &str| {
        let mut request: ProduceRequest = produce_request("t", 0, records);
        request.transactional_id = Some(Text::from("x"));
        let answer: ProduceResponse = target.client.ask(&request, 9);
        assert_ne!(answer.responses[0].partition_responses[0].error_code, 0, "{what}");
        assert_eq!(target.client.log_end("t"), target.log_end, "{what}");
    };
    named(
        of_producer(-1, -1, -1, true),
        "a transactional id, no producer id",
    );
    named(of_producer(5, 0, 0, true), "no coordinator has said that it may");
    let two = [batch(&["a"]), batch(&["b"])].concat();
    for version in [3, 9, 12] {
        let code = target.refused_in(version, two.clone().into(), "two batches");
        assert_eq!(code, INVALID_RECORD);
    }
    target.finish();
}

fn message_set(magic: u8) -> Vec<u8> {
    let mut set = SetBuilder::new(SetOptions {
        magic,
        ..SetOptions::default()
    });
    set.append(barnabas::base::ids::Offset(0), 1_000, Some(b"k"), Some(b"v"))
        .unwrap();
    set.build().unwrap()
}

// row 25
#[test]
fn formats_are_not_mixed() {
    let mut target = Target::new(&[]);
    for version in 0..=2 {
        let mixed = [message_set(0), message_set(1)].concat();
        assert_eq!(
            target.refused_in(version, mixed.into(), "v0 and v1"),
            INVALID_RECORD
        );
        let mixed = [message_set(1), batch(&["a"]).to_vec()].concat();
        target.refused_in(version, mixed.into(), "v1 and v2");
    }
    for version in [3, 9] {
        for magic in [0, 1] {
            target.refused_in(
                version,
                message_set(magic).into(),
                "an old format in a new request",
            );
        }
    }
    target.finish();
}

// row 30
#[test]
fn a_maximum_timestamp_that_lies_is_computed_anew() {
    let mut target = Target::new(&[("retention.ms", "-1")]);
    let good = batch_with(BatchOptions::default(), 5_000, &["a", "b"]);
    for lie in [i64::MAX, 0, -1, i64::MIN, 4_999, 5_001] {
        let lying = changed(&good, |header| header.max_timestamp = lie);
        let answer = target.client.produce("t", 0, lying, 9);
        assert_eq!(answer.error_code, 0, "{lie}");
        let records = target.client.fetch("t", answer.base_offset).records.unwrap();
        let stored = BatchHeader::parse(&records).unwrap().unwrap();
        assert_eq!(stored.base_offset.get(), answer.base_offset);
        assert_eq!(stored.max_timestamp, 5_000, "{lie}");
    }
    target.broker.assert_alive();
}

// row 30
#[test]
fn timestamps_beyond_what_the_topic_allows_are_refused() {
    let limits = [
        ("message.timestamp.before.max.ms", "9223372036854775807"),
        ("message.timestamp.after.max.ms", "3600000"),
    ];
    let mut target = Target::new(&limits);
    for timestamp in [i64::MAX, i64::MAX - 1, 1 << 50] {
        let late = batch_with(BatchOptions::default(), timestamp, &["a"]);
        target.assert_refused(INVALID_TIMESTAMP, late, &format!("timestamp {timestamp}"));
    }
    target.finish();
    // Without a limit they are taken, as Kafka takes them; everything goes on working.
    let mut target = Target::new(&[]);
    for timestamp in [-2, i64::MIN, i64::MAX] {
        let strange = batch_with(BatchOptions::default(), timestamp, &["a"]);
        target.client.produce("t", 0, strange, 9);
        assert_eq!(target.client.fetch("t", 0).error_code, 0);
    }
    target.log_end = target.client.log_end("t");
    target.finish();
}

// part 1, row 71
#[test]
fn a_batch_above_the_topics_limit_is_refused() {
    let sent = batch(&["of some length"]);
    let limit = sent.len().to_string();
    let mut target = Target::new(&[("max.message.bytes", &limit)]);
    let larger = batch(&["of some length."]);
    target.assert_refused(MESSAGE_TOO_LARGE, larger, "one byte more");
    assert_eq!(target.client.produce("t", 0, sent, 9).error_code, 0);
    target.log_end += 1;
    target.finish();
}

// row 32
#[test]
fn a_compacted_topic_takes_no_record_without_a_key() {
    let broker = TestBroker::start(&[]);
    broker.create_topic("t", &[("cleanup.policy", "compact")]);
    let mut client = broker.client();
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(1_000, Some(b"k"), Some(b"v"), &[]).unwrap();
    builder.append(1_000, None, Some(b"v"), &[]).unwrap();
    let answer = client.produce("t", 0, builder.build().unwrap().1, 9);
    assert_eq!(answer.error_code, INVALID_RECORD);
    assert_eq!(answer.record_errors.len(), 1);
    assert_eq!(answer.record_errors[0].batch_index, 1);
    assert_eq!(client.log_end("t"), 0);
    assert_eq!(client.produce("t", 0, batch(&["keyed"]), 9).error_code, 0);
}

/// acks=0 has no answer in which a fault could be told: the connection is closed, as in Kafka, and nothing is stored.
#[test]
fn bad_records_without_acknowledgement_close_the_connection() {
    let mut target = Target::new(&[]);
    let mut request = produce_request("t", 0, changed(&batch(&["a"]), |header| header.record_count = 9));
    request.acks = 0;
    let mut silent = target.broker.client();
    silent.send(&request, 9);
    silent.assert_closed("acks=0");
    request = produce_request("t", 0, batch(&["a"]));
    request.acks = 0;
    let mut silent = target.broker.client();
    silent.send(&request, 9);
    silent.send_body(ApiKey::ApiVersions, 0, &[]);
    assert_eq!(silent.answer(ApiKey::ApiVersions, 0).unwrap().0, 2);
    assert_eq!(target.client.log_end("t"), target.log_end + 1);
    target.log_end += 1;
    target.finish();
}
