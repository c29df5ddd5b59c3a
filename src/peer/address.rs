//! [`Address`] and [`Options`]: where another broker is, and how to talk to it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::base::ids::BrokerId;
use crate::wire::Text;

/// Where a broker listens for other brokers.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Address {
    /// The broker.
    pub broker: BrokerId,
    /// Its host: a name or an address.
    pub host: Arc<str>,
    /// Its port.
    pub port: i32,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broker {} at {}:{}", self.broker, self.host, self.port)
    }
}

/// How connections are made and used.
#[derive(Clone, Debug)]
pub struct Options {
    /// What this broker calls itself in each request: its id, or `broker-<id>-fetcher-<n>`. Shows in the other's metrics
    /// and quotas.
    pub client_id: Text,
    /// How long a connection may take to be made (`socket.connection.setup.timeout.ms`).
    pub connect_timeout: Duration,
    /// How long an answer may take from the first byte of its request to its own last one: `controller.socket.timeout.ms`,
    /// `request.timeout.ms` or `replica.socket.timeout.ms`.
    pub request_timeout: Duration,
    /// SO_SNDBUF in bytes; −1 leaves it to the system.
    pub send_buffer_bytes: i32,
    /// SO_RCVBUF in bytes; −1 leaves it to the system (`replica.socket.receive.buffer.bytes`).
    pub receive_buffer_bytes: i32,
    /// The largest answer in bytes that is taken; a longer one is a [`BadAnswer`](super::BadAnswer). `None` takes what
    /// the protocol can say, as Kafka does; memory follows what has arrived, never what is announced.
    pub largest_answer_bytes: Option<i32>,
}

impl Options {
    /// Kafka's defaults, with this client id and time for an answer.
    pub fn new(client_id: impl Into<Text>, request_timeout: Duration) -> Self {
        Self {
            client_id: client_id.into(),
            connect_timeout: Duration::from_secs(10),
            request_timeout,
            send_buffer_bytes: -1,
            receive_buffer_bytes: -1,
            largest_answer_bytes: None,
        }
    }
}
