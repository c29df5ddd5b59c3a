//! L2, the versioned tree that coordinates a cluster, its backends, and Kafka's paths and JSON on it.
