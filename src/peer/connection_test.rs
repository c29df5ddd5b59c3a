//! A connection against a broker that answers well, badly, late, and not at all.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use super::connection::decode;
use super::fake_broker::{Asked, Reply, options, start};
use super::{BadAnswer, Connection, PeerError};
use crate::base::clock;
use crate::base::error_code::ErrorCode;
use crate::wire::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use crate::wire::messages::controlled_shutdown::{
    ControlledShutdownRequest, ControlledShutdownResponse, RemainingPartition,
};
use crate::wire::messages::fetch::{FetchResponse, FetchableTopicResponse, PartitionData};
use crate::wire::{ApiKey, DecodeError, Message as _, Text, Writer};

type Answered = Result<ControlledShutdownResponse, PeerError>;

fn request(broker_id: i32) -> ControlledShutdownRequest {
    ControlledShutdownRequest {
        broker_id,
        ..ControlledShutdownRequest::default()
    }
}

/// Answers with a partition whose number is the broker that asked.
fn echo(asked: &Asked) -> Vec<u8> {
    asked.frame(&ControlledShutdownResponse {
        error_code: 0,
        remaining_partitions: vec![RemainingPartition {
            topic_name: Text::from("t"),
            partition_index: asked.decoded::<ControlledShutdownRequest>().broker_id,
        }],
    })
}

async fn ask(connection: &mut Connection, broker_id: i32) -> Answered {
    connection.send(3, &request(broker_id)).await
}

fn echoed(answer: Answered) -> i32 {
    answer.unwrap().remaining_partitions[0].partition_index
}

#[tokio::test]
async fn requests_go_out_in_order_on_one_connection_with_the_headers_of_their_versions() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let address = start(move |asked| {
        let header = &asked.header;
        let client_id = header.client_id.as_deref().map(str::to_owned);
        let one = (
            asked.connection,
            header.api_version,
            header.correlation_id,
            client_id,
        );
        noted.lock().unwrap().push(one);
        Reply::Bytes(echo(asked))
    })
    .await;
    let mut connection = Connection::new(address, options());
    for version in 0..=3 {
        let answer: Answered = connection.send(version, &request(70 + i32::from(version))).await;
        assert_eq!(echoed(answer), 70 + i32::from(version));
    }
    let name = || Some("1".to_owned());
    let expected = [
        (0, 0, 0, None),
        (0, 1, 1, name()),
        (0, 2, 2, name()),
        (0, 3, 3, name()),
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_version_that_the_api_does_not_have_is_not_sent() {
    let address = start(|_| panic!("asked")).await;
    let mut connection = Connection::new(address, options());
    let answer: Answered = connection.send(4, &request(1)).await;
    assert!(matches!(answer, Err(PeerError::UnsupportedVersion)));
    assert!(!connection.is_open());
}

#[tokio::test]
async fn a_connection_that_breaks_is_made_anew_by_the_next_call() {
    let address = start(|asked| match asked.connection {
        0 => Reply::Last(Vec::new()),
        // Half an answer.
        1 => Reply::Last(echo(asked)[..9].to_vec()),
        _ => Reply::Bytes(echo(asked)),
    })
    .await;
    let mut connection = Connection::new(address, options());
    for _ in 0..2 {
        let error = ask(&mut connection, 1).await.unwrap_err();
        assert!(
            matches!(&error, PeerError::Broken(cause) if cause.kind() == io::ErrorKind::UnexpectedEof),
            "{error}"
        );
        assert!(error.may_have_arrived() && !connection.is_open());
    }
    assert_eq!(echoed(ask(&mut connection, 5).await), 5);
}

#[tokio::test]
async fn a_connection_that_the_other_side_has_closed_costs_no_request() {
    let address = start(|asked| Reply::Last(echo(asked))).await;
    let mut connection = Connection::new(address, options());
    for broker in 0..3 {
        assert_eq!(echoed(ask(&mut connection, broker).await), broker);
        clock::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn nobody_there_is_said_in_one_line() {
    let listener = crate::base::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut address = start(|_| Reply::Silence).await;
    address.port = listener.local_addr().unwrap().port().into();
    drop(listener);
    let error = ask(&mut Connection::new(address.clone(), options()), 1)
        .await
        .unwrap_err();
    assert!(
        matches!(error, PeerError::Unreachable(_)) && !error.may_have_arrived(),
        "{error:?}"
    );
    assert!(error.to_string().starts_with("no connection: "), "{error}");
    assert!(!error.to_string().contains('\n'));
    address.port = 65_536;
    let error = ask(&mut Connection::new(address, options()), 1)
        .await
        .unwrap_err();
    assert!(matches!(error, PeerError::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn a_late_answer_is_never_taken_for_another_requests() {
    let address = start(|asked| match asked.connection {
        0 => Reply::Late(Duration::from_millis(1200), echo(asked)),
        _ => Reply::Bytes(echo(asked)),
    })
    .await;
    let mut options = options();
    options.request_timeout = Duration::from_millis(500);
    let mut connection = Connection::new(address, options);
    assert!(matches!(ask(&mut connection, 1).await, Err(PeerError::TimedOut)));
    for broker in 2..10 {
        assert_eq!(echoed(ask(&mut connection, broker).await), broker);
        clock::sleep(Duration::from_millis(120)).await;
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_closes_the_connection() {
    let address = start(|asked| match asked.connection {
        0 if asked.header.correlation_id == 1 => Reply::Late(Duration::from_millis(60), echo(asked)),
        _ => Reply::Bytes(echo(asked)),
    })
    .await;
    let mut connection = Connection::new(address, options());
    assert_eq!(echoed(ask(&mut connection, 1).await), 1);
    let dropped = clock::timeout(Duration::from_millis(30), ask(&mut connection, 2)).await;
    assert!(dropped.is_none() && !connection.is_open());
    clock::sleep(Duration::from_millis(60)).await;
    assert_eq!(echoed(ask(&mut connection, 3).await), 3);
}

/// A frame around `payload`.
fn framed(payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u32).to_be_bytes(), payload].concat()
}

#[tokio::test]
async fn hostile_answers_are_told_apart_and_close_the_connection() {
    type Hostile = fn(&Asked) -> Vec<u8>;
    let cases: [(Hostile, BadAnswer); 11] = [
        (
            |_| framed(&[0, 0, 0]),
            BadAnswer::Malformed(DecodeError::Truncated),
        ),
        (|_| vec![0x7f, 0xff, 0xff, 0xff], BadAnswer::Length(i32::MAX)),
        (|_| vec![0, 0, 0x10, 1, 0], BadAnswer::Length(4097)),
        (|_| vec![0xff; 4], BadAnswer::Length(-1)),
        (|_| vec![0; 4], BadAnswer::Length(0)),
        (
            |asked| {
                let mut frame = echo(asked);
                frame[7] ^= 1;
                frame
            },
            BadAnswer::CorrelationId {
                expected: 6,
                found: 7,
            },
        ),
        // Id, no tagged fields; no error, and 100 partitions of which none comes.
        (
            |asked| framed(&[&asked.header.correlation_id.to_be_bytes()[..], &[0, 0, 0, 101]].concat()),
            BadAnswer::Malformed(DecodeError::Truncated),
        ),
        // As many partitions as there are bytes.
        (
            |asked| {
                let head = [&asked.header.correlation_id.to_be_bytes()[..], &[0, 0, 0, 101]].concat();
                framed(&[&head[..], &[0; 100]].concat())
            },
            // A text of compact length 0 is null.
            BadAnswer::Malformed(DecodeError::Null),
        ),
        (
            |asked| framed(&[&echo(asked)[4..], &[0, 0]].concat()),
            BadAnswer::TrailingBytes(2),
        ),
        // Nothing behind the header.
        (
            |asked| framed(&echo(asked)[4..9]),
            BadAnswer::Malformed(DecodeError::Truncated),
        ),
        // Tagged fields in the header, and no end of them.
        (
            |asked| framed(&[&asked.header.correlation_id.to_be_bytes()[..], &[0xff, 0xff, 3]].concat()),
            BadAnswer::Malformed(DecodeError::TooManyTaggedFields),
        ),
    ];
    let address = start(move |asked| {
        let body: ControlledShutdownRequest = asked.decoded();
        match cases_at(&cases, body.broker_id) {
            Some(hostile) => Reply::Bytes(hostile(asked)),
            None => Reply::Bytes(echo(asked)),
        }
    })
    .await;
    fn cases_at(cases: &[(Hostile, BadAnswer)], broker_id: i32) -> Option<Hostile> {
        cases
            .get(usize::try_from(broker_id).ok()?)
            .map(|(hostile, _)| *hostile)
    }
    let mut options = options();
    options.largest_answer_bytes = Some(4096);
    for (number, (_, expected)) in (0..).zip(&cases) {
        // Correlation ids begin at 0 again; one good request before each bad one brings it to another.
        let mut connection = Connection::new(address.clone(), options.clone());
        let before = match expected {
            BadAnswer::CorrelationId { expected, .. } => *expected,
            _ => 1,
        };
        for _ in 0..before {
            assert_eq!(echoed(ask(&mut connection, 100).await), 100);
        }
        let error = ask(&mut connection, number).await.unwrap_err();
        assert!(
            matches!(&error, PeerError::BadAnswer(why) if why == expected),
            "{number}: {error}"
        );
        assert!(!connection.is_open(), "{number}");
        assert_eq!(echoed(ask(&mut connection, 200).await), 200, "{number}");
    }
}

#[tokio::test]
async fn what_follows_an_answer_is_not_taken_for_the_next_one() {
    let address = start(|asked| {
        let mut frames = echo(asked);
        if asked.connection == 0 {
            // The next request's answer, before it was asked.
            let mut next = frames.clone();
            next[7] = 1;
            frames.extend(next);
        }
        Reply::Bytes(frames)
    })
    .await;
    let mut connection = Connection::new(address, options());
    assert_eq!(echoed(ask(&mut connection, 1).await), 1);
    assert_eq!(echoed(ask(&mut connection, 2).await), 2);
}

fn api_versions(error_code: i16, keys: &[(ApiKey, i16, i16)]) -> ApiVersionsResponse {
    let version = |(key, min_version, max_version): &(ApiKey, i16, i16)| ApiVersion {
        api_key: key.code(),
        min_version: *min_version,
        max_version: *max_version,
    };
    ApiVersionsResponse {
        error_code,
        api_keys: keys.iter().map(version).collect(),
        ..ApiVersionsResponse::default()
    }
}

const THEIRS: &[(ApiKey, i16, i16)] = &[
    (ApiKey::AlterPartition, 0, 2),
    (ApiKey::Fetch, 12, 17),
    (ApiKey::ApiVersions, 0, 4),
];

#[tokio::test]
async fn the_newest_common_version_is_asked_for_once_a_connection() {
    let asked_for = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked_for);
    let address = start(move |asked| {
        if asked.header.api_key != ApiKey::ApiVersions {
            return Reply::Bytes(echo(asked));
        }
        assert_eq!(asked.header.api_version, 4);
        counted.fetch_add(1, Ordering::Relaxed);
        Reply::Bytes(asked.frame(&api_versions(0, THEIRS)))
    })
    .await;
    let mut connection = Connection::new(address, options());
    for _ in 0..3 {
        let newest = connection.newest_version(ApiKey::AlterPartition, 3).await;
        assert_eq!(newest.unwrap(), 2);
        assert_eq!(echoed(ask(&mut connection, 1).await), 1);
    }
    let newest = connection.newest_version(ApiKey::AlterPartition, 1).await;
    assert_eq!(newest.unwrap(), 1);
    for (key, ours) in [(ApiKey::AllocateProducerIds, 0), (ApiKey::Fetch, 11)] {
        let none = connection.newest_version(key, ours).await;
        assert!(matches!(none, Err(PeerError::UnsupportedVersion)), "{key}");
    }
    assert!(connection.is_open());
    assert_eq!(asked_for.load(Ordering::Relaxed), 1);
    connection.close();
    connection.newest_version(ApiKey::Fetch, 17).await.unwrap();
    assert_eq!(asked_for.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_broker_of_older_versions_is_asked_again_in_one_of_them() {
    for (refusal, then) in [
        (&[(ApiKey::ApiVersions, 0, 2)][..], 2),
        (&[], 0),
        (&[(ApiKey::ApiVersions, 0, 4)], 3),
    ] {
        let address = start(move |asked| {
            let version = asked.header.api_version;
            if version == 4 {
                // In the format of version 0.
                let mut w = Writer::new();
                w.i32(0);
                w.i32(asked.header.correlation_id);
                api_versions(ErrorCode::UnsupportedVersion.code(), refusal).encode(&mut w, 0);
                w.patch_i32(0, w.len() as i32 - 4);
                return Reply::Bytes(w.freeze().to_vec());
            }
            assert_eq!(version, then);
            Reply::Bytes(asked.frame(&api_versions(0, THEIRS)))
        })
        .await;
        let mut connection = Connection::new(address, options());
        let newest = connection.newest_version(ApiKey::AlterPartition, 3).await;
        assert_eq!(newest.unwrap(), 2);
    }
}

#[tokio::test]
async fn an_error_or_nonsense_instead_of_versions_closes_the_connection() {
    let code = ErrorCode::ClusterAuthorizationFailed.code();
    let address = start(move |asked| match asked.connection {
        0 => Reply::Bytes(asked.frame(&api_versions(code, &[]))),
        _ => Reply::Bytes(framed(
            &[&asked.header.correlation_id.to_be_bytes()[..], &[9; 7]].concat(),
        )),
    })
    .await;
    let mut connection = Connection::new(address, options());
    let error = connection.newest_version(ApiKey::Fetch, 17).await.unwrap_err();
    assert!(matches!(error, PeerError::BadAnswer(BadAnswer::ApiVersions(31))));
    assert!(!connection.is_open());
    let error = connection.newest_version(ApiKey::Fetch, 17).await.unwrap_err();
    assert!(
        matches!(error, PeerError::BadAnswer(BadAnswer::Malformed(_))),
        "{error}"
    );
    assert!(!connection.is_open());
}

fn fetched(records: &Bytes) -> FetchResponse {
    FetchResponse {
        responses: vec![FetchableTopicResponse {
            partitions: vec![PartitionData {
                records: Some(records.clone()),
                ..PartitionData::default()
            }],
            ..FetchableTopicResponse::default()
        }],
        ..FetchResponse::default()
    }
}

#[tokio::test]
async fn records_of_a_large_answer_are_slices_of_its_frame() {
    let records = Bytes::from(vec![7; 3_000_000]);
    let mut w = Writer::new();
    fetched(&records).encode(&mut w, 17);
    let body = w.freeze();
    let answer: FetchResponse = decode(17, body.clone()).unwrap();
    let read = answer.responses[0].partitions[0].records.clone().unwrap();
    assert_eq!(read, records);
    assert!(body.as_ptr_range().contains(&read.as_ptr()));

    let address = start(move |asked| Reply::Bytes(asked.frame(&fetched(&records)))).await;
    let mut connection = Connection::new(address, options());
    for _ in 0..2 {
        let answer: FetchResponse = connection
            .send(17, &crate::wire::messages::fetch::FetchRequest::default())
            .await
            .unwrap();
        assert_eq!(answer.responses[0].partitions[0].records.as_ref(), Some(&read));
    }
    assert!(connection.is_open());
}
