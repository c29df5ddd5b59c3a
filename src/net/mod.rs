//! L8, listeners, connections and their limits.
//!
//! A [`listener`] accepts, [`admission`] counts and lets in; each connection then lives on one worker thread, in one task that reads requests,
//! lets `api/` answer them, and writes the answers in the order of the requests. Zero copy lives in [`writer`] alone.

pub mod activity;
pub mod admission;
pub mod budget;
pub mod connection;
pub mod limits;
pub mod listener;
pub mod listeners;
mod queue;
pub mod rate;
pub mod workers;
mod writer;

#[cfg(all(test, not(feature = "simulation")))]
mod control_plane_test;
#[cfg(all(test, not(feature = "simulation")))]
mod pipelining_test;
