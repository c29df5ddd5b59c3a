//! The way to a leader: what a fetcher needs of a connection. Implemented over sockets by `peer/`, and in memory by tests.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::peer::Address;
use crate::wire::messages::fetch::{FetchRequest, FetchResponse};
use crate::wire::messages::list_offsets::{ListOffsetsRequest, ListOffsetsResponse};

/// Why there is no answer: one line for the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoAnswer(pub String);

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An answer that is waited for.
pub type Answering<'a, T> = Pin<Box<dyn Future<Output = Result<T, NoAnswer>> + Send + 'a>>;

/// Makes connections to leaders.
pub trait Leaders: Send + Sync {
    /// A connection to the broker at `to`, its endpoint under this broker's `inter.broker.listener.name`, made when it is first needed and again after it broke. `client_id` is
    /// `broker-<own id>-fetcher-<number>`, as Kafka's.
    fn connect(&self, to: &Address, client_id: &str) -> Box<dyn LeaderConnection>;
}

/// A connection to one leader with one request in flight. Its versions are sent without asking (they follow from
/// `inter.broker.protocol.version`). A failure, and a future that is dropped, close it.
pub trait LeaderConnection: Send {
    /// Fetch.
    fn fetch<'a>(&'a mut self, version: i16, request: &'a FetchRequest) -> Answering<'a, FetchResponse>;

    /// ListOffsets.
    fn list_offsets<'a>(
        &'a mut self,
        version: i16,
        request: &'a ListOffsetsRequest,
    ) -> Answering<'a, ListOffsetsResponse>;

    /// Closes it; the next request makes a new one.
    fn close(&mut self);
}
