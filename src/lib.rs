//! Barnabas: a Kafka broker. One native binary that speaks the Kafka protocol to stock clients and keeps its
//! data in Kafka's own log format.
//!
//! The rooms stand on floors, and imports go strictly downward; `tests/floors.rs` holds the table.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]
// What is planted is wrong on purpose.
#![cfg_attr(
    all(feature = "planted", not(test)),
    allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)
)]

pub mod base;

pub mod config;
pub mod records;
pub mod wire;

pub mod storage;
pub mod store;

pub mod metadata;
pub mod peer;
pub mod quota;

pub mod replica;

pub mod coordinator;

pub mod controller;
pub mod group;

pub mod api;

pub mod lifecycle;
pub mod net;

pub mod cli;
