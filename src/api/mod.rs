//! L7, one file a Kafka API, and the dispatch to them.
