//! Kafka's nodes: where they are and what is in them, as a Kafka 3.9 writes and reads them.
