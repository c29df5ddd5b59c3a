//! For tests: what brokers of a Kafka 3.9.2 cluster sent each other, byte for byte (tests/golden/between-brokers).

use bytes::Bytes;

use crate::wire::api_key::ApiKey;
use crate::wire::header::{self, RequestHeader};
use crate::wire::message::Message;
use crate::wire::reader::Reader;

/// A request and its answer.
pub struct Exchange {
    /// What it shows.
    pub name: &'static str,
    /// The API.
    pub key: ApiKey,
    /// The version.
    pub version: i16,
    /// The client id in the request's header.
    pub client_id: &'static str,
    /// The request's frame, without its length.
    pub request: Bytes,
    /// The answer's frame, without its length.
    pub answer: Bytes,
}

fn bytes(hex: &str) -> Bytes {
    let digits: Vec<u8> = hex
        .chars()
        .map(|digit| digit.to_digit(16).unwrap() as u8)
        .collect();
    digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect()
}

/// All that was recorded.
pub fn exchanges() -> Vec<Exchange> {
    let lines = include_str!("../../tests/golden/between-brokers/exchanges.tsv").lines();
    lines
        .map(|line| {
            let columns: Vec<&'static str> = line.split('\t').collect();
            Exchange {
                name: columns[0],
                key: ApiKey::from_code(columns[3].parse().unwrap()).unwrap(),
                version: columns[4].parse().unwrap(),
                client_id: columns[5],
                request: bytes(columns[6]),
                answer: bytes(columns[7]),
            }
        })
        .collect()
}

impl Exchange {
    /// The request's body.
    pub fn asked<Q: Message>(&self) -> Q {
        let (_, body) = RequestHeader::decode(self.request.clone()).unwrap();
        Q::decode(&mut Reader::new(body), self.version).unwrap()
    }

    /// The answer's body.
    pub fn answered<A: Message>(&self) -> A {
        let (_, body) = header::decode_response(self.answer.clone(), self.key, self.version).unwrap();
        A::decode(&mut Reader::new(body), self.version).unwrap()
    }
}
