//! L2, logs on disk in Kafka's format: segments, indexes, producer state, leader epochs, checkpoints, recovery, retention.

pub mod checkpoint;
pub mod clean_shutdown;
pub mod file_names;
pub mod leader_epochs;
pub mod meta_properties;
pub mod partition_metadata;
pub mod producer_state;
pub mod transaction_index;
