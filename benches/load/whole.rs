//! A Produce request of batches that were built whole, and its answer: for the commands that fill a topic rather than
//! measure producers.

use std::io::Read;
use std::net::TcpStream;

use crate::batch::{API_PRODUCE, PRODUCE_VERSION, string};
use crate::produce;

/// The frame of a request under this client id, with correlation id 0: batches by partition of one topic.
pub fn request(client_id: &str, acks: i16, topic: &str, batches: &[(usize, Vec<u8>)]) -> Vec<u8> {
    let mut out = vec![0; 4];
    out.extend_from_slice(&API_PRODUCE.to_be_bytes());
    out.extend_from_slice(&PRODUCE_VERSION.to_be_bytes());
    out.extend_from_slice(&0i32.to_be_bytes());
    string(client_id, &mut out);
    out.extend_from_slice(&(-1i16).to_be_bytes());
    out.extend_from_slice(&acks.to_be_bytes());
    out.extend_from_slice(&30_000i32.to_be_bytes());
    out.extend_from_slice(&1i32.to_be_bytes());
    string(topic, &mut out);
    out.extend_from_slice(&(batches.len() as i32).to_be_bytes());
    for (partition, batch) in batches {
        out.extend_from_slice(&(*partition as i32).to_be_bytes());
        out.extend_from_slice(&(batch.len() as i32).to_be_bytes());
        out.extend_from_slice(batch);
    }
    let size = (out.len() - 4) as i32;
    out[..4].copy_from_slice(&size.to_be_bytes());
    out
}

/// Waits for the answer of a [`request`], which must have no error.
pub fn await_answer(stream: &mut TcpStream) {
    let mut size = [0; 4];
    stream.read_exact(&mut size).unwrap();
    let mut answer = vec![0; i32::from_be_bytes(size) as usize];
    stream.read_exact(&mut answer).unwrap();
    produce::errors_of(&answer, 0, false);
}
