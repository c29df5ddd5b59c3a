//! L4, partitions: leader, epochs, high watermark; append and fetch across partitions, fetch sessions, waiting requests.
