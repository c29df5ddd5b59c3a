//! L2, logs on disk in Kafka's format: segments, indexes, producer state, leader epochs, checkpoints, recovery, retention.
