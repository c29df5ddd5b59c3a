//! L2, logs on disk in Kafka's format: segments, indexes, producer state, leader epochs, checkpoints, recovery, retention,
//! compaction.

pub mod checkpoint;
pub mod clean_shutdown;
pub mod cleaner;
pub mod descriptors;
pub mod directory;
pub mod file_names;
pub mod folder;
pub mod index;
pub mod leader_epochs;
pub mod log;
pub mod meta_properties;
pub mod offset_index;
pub mod partition_metadata;
pub mod producer_state;
pub mod segment;
pub mod time_index;
pub mod transaction_index;
pub mod volume;

#[cfg(test)]
mod golden_test;
