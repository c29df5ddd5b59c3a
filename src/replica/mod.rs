//! L4: the partitions of this broker: leadership, append and fetch, waiting requests, fetch sessions.

pub mod fetch_session;
pub mod leadership;
pub mod waiting;
