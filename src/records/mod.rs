//! L1, views of record batches v2 and message sets v0 and v1, validation, conversion, control records, compression.
//!
//! Everything here is pure: bytes in, views or new bytes out. Nothing reads a file, a clock or a socket.

pub mod batch;
pub mod build;
pub mod compression;
pub mod control;
pub mod convert;
pub mod iterate;
pub mod record;
pub mod validate;

mod legacy;
mod varint;

#[cfg(test)]
mod golden_test;
