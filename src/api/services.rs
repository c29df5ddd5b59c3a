//! What the handlers reach: the rooms below, wired together by `cli/broker.rs`.

use std::sync::Arc;

use crate::metadata::Cluster;
use crate::replica::fetch_session::FetchSessions;
use crate::replica::replicas::Replicas;

/// The rooms that handlers use.
pub struct Services {
    /// The cluster as this broker knows it.
    pub cluster: Cluster,
    /// The partitions of this broker.
    pub replicas: Arc<Replicas>,
    /// The fetch sessions of all clients.
    pub fetch_sessions: FetchSessions,
}
