//! What the handlers reach: the rooms below, wired together by `cli/broker.rs`.

/// The rooms that handlers use.
pub struct Services {}
