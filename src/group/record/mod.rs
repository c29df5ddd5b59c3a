//! The records of `__consumer_offsets`: their keys, and the values of the classic protocol.
//!
//! Invariant: what is written is byte for byte what Kafka 3.9 writes (key 1 with value 3, or 1 when the offset has an
//! expiry of its own; key 2 with value 3), since Kafka hides a whole partition when it cannot read one value. Older and
//! newer versions that Kafka knows are read. The shard turns decisions into records and replays records through this
//! folder; follows `GroupMetadataManager` and the schemas of the group coordinator.

mod fields;
pub mod group_value;
pub mod key;
pub mod offset_value;

pub use group_value::{GroupValue, MemberValue};
pub use key::RecordKey;
pub use offset_value::OffsetValue;

use crate::coordinator::ReplayError;
use crate::wire::reader::DecodeError;

#[cfg(test)]
mod golden_test;

/// An error of the wire's reader, told as one of `what`.
fn unreadable(what: &str, error: DecodeError) -> ReplayError {
    ReplayError::new(format!("{what}: {error}"))
}
