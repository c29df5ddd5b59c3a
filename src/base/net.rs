//! Sockets. A module alias: tokio's, or in the `simulation` build turmoil's.

#[cfg(feature = "simulation")]
pub use turmoil::net::{TcpListener, TcpStream};

#[cfg(not(feature = "simulation"))]
#[expect(clippy::disallowed_types, reason = "the seam")]
pub use tokio::net::{TcpListener, TcpStream};
