//! Every generated message in every version: codec against codec, and the shape walk against both.

use std::fmt::Debug;

use bytes::Bytes;

use crate::base::random::Random;
use crate::for_each_api;
use crate::wire::api_key::ApiKey;
use crate::wire::message::Message;
use crate::wire::reader::{DecodeError, Reader};
use crate::wire::shape::generate::{self, Contents};
use crate::wire::shape::{self, Footprint};
use crate::wire::writer::Writer;

type Recode = fn(&Bytes, i16, i16) -> Result<(Bytes, usize), DecodeError>;

/// A message of which only the type is known.
#[derive(Clone, Copy)]
struct Subject {
    key: ApiKey,
    is_request: bool,
    /// Decodes in one version, encodes in another; the bytes, and how many were read.
    recode: Recode,
}

fn recode<M: Message + PartialEq + Debug>(
    frame: &Bytes,
    from: i16,
    to: i16,
) -> Result<(Bytes, usize), DecodeError> {
    let mut reader = Reader::new(frame.clone());
    let message = M::decode(&mut reader, from)?;
    let mut w = Writer::new();
    message.encode(&mut w, to);
    let written = w.freeze();
    if from == to {
        let again = M::decode(&mut Reader::new(written.clone()), to).unwrap();
        // Texts tell what is equal of a number that is none, too.
        assert!(
            again == message || format!("{again:?}") == format!("{message:?}"),
            "{again:?} {message:?}"
        );
    }
    Ok((written, reader.position()))
}

fn subjects() -> Vec<Subject> {
    let mut all = Vec::new();
    macro_rules! subject {
        ($key:ident, $module:ident, $request:ident, $response:ident) => {
            let key = ApiKey::$key;
            let request = recode::<crate::wire::messages::$module::$request>;
            let response = recode::<crate::wire::messages::$module::$response>;
            all.push(Subject {
                key,
                is_request: true,
                recode: request,
            });
            all.push(Subject {
                key,
                is_request: false,
                recode: response,
            });
        };
    }
    for_each_api!(subject);
    all
}

/// Runs `test` for every message and version, with the body in which every field is set.
fn for_each_full(mut test: impl FnMut(Subject, i16, Bytes)) {
    let mut count = 0;
    for subject in subjects() {
        for version in subject.key.stable_versions() {
            let body = generate::body(subject.key, version, subject.is_request, Contents::Full).unwrap();
            test(subject, version, body.into());
            count += 1;
        }
    }
    assert!(count > 200, "{count} bodies");
}

fn check(subject: Subject, version: i16, body: &[u8]) -> Result<Footprint, DecodeError> {
    shape::check(subject.key, version, subject.is_request, body)
}

#[test]
fn every_message_in_every_version_comes_back_as_the_same_bytes() {
    for_each_full(|subject, version, body| {
        let (again, length) = (subject.recode)(&body, version, version).unwrap();
        assert_eq!(again, body, "{} v{version}", subject.key);
        assert_eq!(length, body.len());
        assert_eq!(check(subject, version, &body).unwrap().length, body.len());
    });
}

// pitfalls 2, row 11: what a version lacks, tagged fields among it, is left out and never an error
#[test]
fn a_message_of_one_version_goes_out_in_any_other() {
    for_each_full(|subject, from, body| {
        for to in subject.key.stable_versions() {
            let (other, _) = (subject.recode)(&body, from, to).unwrap();
            assert_eq!(check(subject, to, &other).unwrap().length, other.len());
            // An unknown tagged field would not come back.
            assert_eq!(
                (subject.recode)(&other, to, to).unwrap().0,
                other,
                "{} v{from} v{to}",
                subject.key
            );
        }
    });
}

#[test]
fn every_truncation_is_an_error() {
    for_each_full(|subject, version, body| {
        for cut in 0..body.len() {
            let cut = body.slice(..cut);
            assert_eq!(check(subject, version, &cut), Err(DecodeError::Truncated));
            assert_eq!(
                (subject.recode)(&cut, version, version),
                Err(DecodeError::Truncated)
            );
        }
    });
}

// pitfalls 2, rows 1, 12 and 14
#[test]
fn every_length_is_checked_in_every_version() {
    let mut lengths = 0;
    for_each_full(|subject, version, body| {
        let flexible = subject.key.is_flexible(version);
        for (length, expected) in [
            (i32::MAX, DecodeError::Truncated),
            (body.len() as i32, DecodeError::Truncated),
            (
                -1,
                if flexible {
                    DecodeError::Null
                } else {
                    DecodeError::NegativeLength
                },
            ),
            (
                i32::MIN,
                if flexible {
                    DecodeError::Truncated
                } else {
                    DecodeError::NegativeLength
                },
            ),
        ] {
            for index in 0.. {
                let made = generate::with_length(subject.key, version, subject.is_request, index, length);
                let Some((bad, nullable)) = made else { break };
                lengths += 1;
                let bad = Bytes::from(bad);
                let checked = check(subject, version, &bad).map(|it| it.length);
                let decoded = (subject.recode)(&bad, version, version).map(|(_, length)| length);
                if length == -1 && nullable {
                    assert_eq!(checked, Ok(bad.len()));
                    assert_eq!(decoded, Ok(bad.len()));
                } else if length == i32::MIN && !flexible {
                    // A two-byte length cannot be i32::MIN; it is made the largest there is.
                    let either = [DecodeError::NegativeLength, DecodeError::Truncated];
                    assert!(checked.is_err_and(|error| either.contains(&error)));
                    assert_eq!(decoded, checked);
                } else {
                    assert_eq!(
                        checked,
                        Err(expected),
                        "{} v{version} #{index} {length}",
                        subject.key
                    );
                    assert_eq!(decoded, Err(expected));
                }
            }
        }
    });
    assert!(lengths > 4000, "{lengths} lengths");
}

#[test]
fn random_messages_pass_and_come_back() {
    let random = Random::from_seed(20);
    for subject in subjects() {
        for version in subject.key.stable_versions() {
            for _ in 0..20 {
                let mut next = || random.below(u64::MAX);
                let contents = Contents::Random(&mut next);
                let body = generate::body(subject.key, version, subject.is_request, contents).unwrap();
                let body = Bytes::from(body);
                assert_eq!(check(subject, version, &body).unwrap().length, body.len());
                let (_, length) = (subject.recode)(&body, version, version).unwrap();
                assert_eq!(length, body.len());
            }
        }
    }
}

#[test]
fn the_walk_and_the_decoder_agree_on_damaged_messages() {
    let random = Random::from_seed(21);
    let (mut good, mut bad) = (0, 0);
    for subject in subjects() {
        for version in subject.key.stable_versions() {
            for round in 0..60 {
                let mut next = || random.below(u64::MAX);
                let contents = if round % 2 == 0 {
                    Contents::Full
                } else {
                    Contents::Random(&mut next)
                };
                let mut body = generate::body(subject.key, version, subject.is_request, contents).unwrap();
                for _ in 0..=random.below(3) {
                    let at = random.below(body.len() as u64) as usize;
                    if let Some(byte) = body.get_mut(at) {
                        *byte = [0, 1, 0x7f, 0x80, 0xff, random.below(256) as u8][random.below(6) as usize];
                    }
                }
                let body = Bytes::from(body);
                let checked = check(subject, version, &body).map(|footprint| footprint.length);
                let decoded = (subject.recode)(&body, version, version).map(|(_, length)| length);
                assert_eq!(checked, decoded, "{} v{version}", subject.key);
                if checked.is_ok() { good += 1 } else { bad += 1 }
            }
        }
    }
    assert!(good > 1000 && bad > 1000, "{good} passed, {bad} did not");
}

// pitfalls 2, row 2
#[test]
fn tiny_elements_are_charged_what_they_take_in_memory() {
    // CreateTopics v0: topics of an empty name and two empty arrays, 18 bytes each.
    let count = 10_000;
    let mut w = Writer::new();
    w.i32(count);
    for _ in 0..count {
        w.text(false, "");
        w.i32(0);
        w.i16(0);
        w.i32(0);
        w.i32(0);
    }
    w.i32(0);
    let body = w.freeze();
    let topic = size_of::<crate::wire::messages::create_topics::CreatableTopic>();
    let footprint = shape::check(ApiKey::CreateTopics, 0, true, &body).unwrap();
    assert!(footprint.decoded_bytes >= count as usize * topic);
    assert!(footprint.decoded_bytes < 3 * count as usize * topic);
}

#[test]
fn versions_and_apis_without_messages_are_refused() {
    for (key, version) in [
        (ApiKey::Fetch, 19),
        (ApiKey::Fetch, -1),
        (ApiKey::ApiVersions, 99),
        (ApiKey::BrokerHeartbeat, 1),
    ] {
        assert_eq!(
            shape::check(key, version, true, &[0; 100]),
            Err(DecodeError::UnsupportedVersion)
        );
    }
    assert!(shape::is_known(ApiKey::Fetch));
    assert!(!shape::is_known(ApiKey::BrokerHeartbeat));
}

#[test]
fn tagged_fields_must_have_their_announced_size() {
    use crate::wire::messages::fetch::FetchRequest;
    let mut w = Writer::new();
    FetchRequest {
        cluster_id: Some("c".into()),
        ..Default::default()
    }
    .encode(&mut w, 12);
    let good = w.freeze();
    // ... one field, tag 0, two bytes, compact length 2, "c"
    assert!(good.ends_with(&[1, 0, 2, 2, b'c']));
    let mut bad = good.to_vec();
    let size = bad.len() - 3;
    bad[size] = 3;
    bad.push(0);
    let expected = DecodeError::TaggedFieldSize;
    assert_eq!(shape::check(ApiKey::Fetch, 12, true, &bad), Err(expected));
    assert_eq!(
        FetchRequest::decode(&mut Reader::new(bad.into()), 12),
        Err(expected)
    );
}

#[test]
fn records_of_a_produce_request_are_slices_of_the_frame() {
    use crate::wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
    for version in ApiKey::Produce.stable_versions() {
        let records = Some(Bytes::from_static(b"records"));
        let partition_data = vec![PartitionProduceData { index: 3, records }];
        let topic = TopicProduceData {
            name: "t".into(),
            partition_data,
            ..Default::default()
        };
        let request = ProduceRequest {
            topic_data: vec![topic],
            ..Default::default()
        };
        let mut w = Writer::new();
        request.encode(&mut w, version);
        let frame = w.freeze();
        let read = ProduceRequest::decode(&mut Reader::new(frame.clone()), version).unwrap();
        let records = read.topic_data[0].partition_data[0].records.clone().unwrap();
        assert_eq!(records, "records");
        assert!(frame.as_ptr_range().contains(&records.as_ptr()));
    }
}
