//! L3, connections to other brokers.
//!
//! A [`Connection`] asks one broker one thing at a time; it is what a follower fetches with. A [`Channel`] owns one and
//! carries what must arrive in order however long it takes: what a controller tells a broker, what a leader asks of the
//! controller. [`versions`] has the versions that Kafka's brokers send without asking.
//!
//! Connections are plain text, without authentication: a listener between brokers that wants more is not served yet.

mod address;
mod channel;
mod connection;
mod error;
mod negotiation;
pub mod versions;

#[cfg(all(test, not(feature = "simulation")))]
mod channel_test;
#[cfg(all(test, not(feature = "simulation")))]
mod connection_test;
#[cfg(all(test, not(feature = "simulation")))]
mod fake_broker;

pub use address::{Address, Options};
pub use channel::{Channel, Full, Version};
pub use connection::Connection;
pub use error::{BadAnswer, PeerError};
