//! What was recorded between Kafka's brokers: read, and written again as the same bytes.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::recorded::{Exchange, exchanges};
use crate::for_each_api;
use crate::wire::api_key::ApiKey;
use crate::wire::header::{self, RequestHeader};
use crate::wire::message::Message;
use crate::wire::reader::Reader;
use crate::wire::response::Response;
use crate::wire::shape;
use crate::wire::writer::Writer;

fn request_again<Q: Message>(exchange: &Exchange) -> Bytes {
    let (header, body) = RequestHeader::decode(exchange.request.clone()).unwrap();
    assert_eq!(
        (header.api_key, header.api_version),
        (exchange.key, exchange.version)
    );
    assert_eq!(
        header.client_id.as_deref(),
        Some(exchange.client_id),
        "{}",
        exchange.name
    );
    let footprint = shape::check(exchange.key, exchange.version, true, &body).unwrap();
    assert_eq!(footprint.length, body.len(), "{}", exchange.name);
    let mut w = Writer::new();
    header.encode(&mut w);
    Q::decode(&mut Reader::new(body), exchange.version)
        .unwrap()
        .encode(&mut w, exchange.version);
    w.freeze()
}

fn answer_again<A: Message>(exchange: &Exchange) -> Bytes {
    let (key, version) = (exchange.key, exchange.version);
    let (correlation_id, body) = header::decode_response(exchange.answer.clone(), key, version).unwrap();
    let (asked, _) = RequestHeader::decode(exchange.request.clone()).unwrap();
    assert_eq!(correlation_id, asked.correlation_id, "{}", exchange.name);
    let footprint = shape::check(key, version, false, &body).unwrap();
    assert_eq!(footprint.length, body.len(), "{}", exchange.name);
    let message = A::decode(&mut Reader::new(body), version).unwrap();
    let frame = Response::encode(&message, version).frame(correlation_id);
    frame.read().unwrap().slice(4..)
}

#[test]
fn what_brokers_of_kafka_sent_comes_back_as_the_same_bytes() {
    let mut seen: BTreeMap<ApiKey, usize> = BTreeMap::new();
    for exchange in &exchanges() {
        macro_rules! again {
            ($key:ident, $module:ident, $request:ident, $response:ident) => {
                if exchange.key == ApiKey::$key {
                    use crate::wire::messages::$module::{$request, $response};
                    assert_eq!(
                        request_again::<$request>(exchange),
                        exchange.request,
                        "{}",
                        exchange.name
                    );
                    assert_eq!(
                        answer_again::<$response>(exchange),
                        exchange.answer,
                        "{}",
                        exchange.name
                    );
                    *seen.entry(exchange.key).or_default() += 1;
                }
            };
        }
        for_each_api!(again);
    }
    assert_eq!(seen.values().sum::<usize>(), exchanges().len());
    for key in [
        ApiKey::LeaderAndIsr,
        ApiKey::StopReplica,
        ApiKey::UpdateMetadata,
        ApiKey::ControlledShutdown,
        ApiKey::AlterPartition,
        ApiKey::AllocateProducerIds,
        ApiKey::Fetch,
    ] {
        assert!(seen[&key] >= 4, "{key}: {seen:?}");
    }
}
