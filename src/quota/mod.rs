//! L3: how fast something may go: what is measured over a window of samples, and what it is held to.

pub mod replication;
pub mod samples;
