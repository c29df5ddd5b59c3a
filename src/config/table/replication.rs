//! Keys: brokers that copy from each other.
//!
//! Names, types, defaults, bounds and scopes are those of Kafka 3.9.2, read out of its own definitions.

use super::Kind::{Boolean, Int, Long, Text};
use super::Rule::{Any, Min, Version};
use super::Scope::{ClusterWide, ReadOnly};
use super::Support::{Honoured, Warned};
use super::{Key, k};

/// The rows, by name.
#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    k("auto.leader.rebalance.enable", Boolean, Some("true"), Any, ReadOnly, Honoured, "leadership goes back to preferred replicas by itself"),
    k("controlled.shutdown.enable", Boolean, Some("true"), Any, ReadOnly, Honoured, "leadership is moved away before the broker stops"),
    k("controlled.shutdown.max.retries", Int, Some("3"), Any, ReadOnly, Honoured, "attempts at a controlled shutdown"),
    k("controlled.shutdown.retry.backoff.ms", Long, Some("5000"), Any, ReadOnly, Honoured, "pause between attempts at a controlled shutdown"),
    k("controller.socket.timeout.ms", Int, Some("30000"), Any, ReadOnly, Honoured, "longest wait of the controller for another broker"),
    k("delete.records.purgatory.purge.interval.requests", Int, Some("1"), Any, ReadOnly, Warned, "clean-up step of Kafka's list of waiting requests"),
    k("fetch.purgatory.purge.interval.requests", Int, Some("1000"), Any, ReadOnly, Warned, "clean-up step of Kafka's list of waiting requests"),
    k("follower.replication.throttled.rate", Long, Some("9223372036854775807"), Min(0), ClusterWide, Honoured, "bytes a second that throttled followers on this broker fetch").dynamic_only(),
    k("inter.broker.protocol.version", Text, Some("3.9-IV0"), Version, ReadOnly, Warned, "protocol between brokers of different releases; 3.0 and above change nothing here"),
    k("leader.imbalance.check.interval.seconds", Long, Some("300"), Min(1), ReadOnly, Honoured, "how often preferred leadership is looked at"),
    k("leader.imbalance.per.broker.percentage", Int, Some("10"), Any, ReadOnly, Honoured, "share of misplaced leaders from which they are moved"),
    k("leader.replication.throttled.rate", Long, Some("9223372036854775807"), Min(0), ClusterWide, Honoured, "bytes a second that throttled leaders on this broker send to replicas").dynamic_only(),
    k("num.replica.alter.log.dirs.threads", Int, None, Any, ReadOnly, Honoured, "moves of replicas between log directories at a time; as many as there are directories, where it is not set"),
    k("num.replica.fetchers", Int, Some("1"), Any, ClusterWide, Honoured, "connections to each leader"),
    k("producer.purgatory.purge.interval.requests", Int, Some("1000"), Any, ReadOnly, Warned, "clean-up step of Kafka's list of waiting requests"),
    k("replica.alter.log.dirs.io.max.bytes.per.second", Long, Some("9223372036854775807"), Min(0), ClusterWide, Honoured, "bytes a second that moves between directories write").dynamic_only(),
    k("replica.fetch.backoff.ms", Int, Some("1000"), Min(0), ReadOnly, Honoured, "pause of a follower after an error"),
    k("replica.fetch.max.bytes", Int, Some("1048576"), Min(0), ReadOnly, Honoured, "bytes a partition that a follower asks for"),
    k("replica.fetch.min.bytes", Int, Some("1"), Any, ReadOnly, Honoured, "bytes that a follower waits for"),
    k("replica.fetch.response.max.bytes", Int, Some("10485760"), Min(0), ReadOnly, Honoured, "bytes of one answer to a follower"),
    k("replica.fetch.wait.max.ms", Int, Some("500"), Any, ReadOnly, Honoured, "longest wait of a follower's fetch"),
    k("replica.high.watermark.checkpoint.interval.ms", Long, Some("5000"), Any, ReadOnly, Honoured, "how often high watermarks are written to disk"),
    k("replica.lag.time.max.ms", Long, Some("30000"), Any, ReadOnly, Honoured, "a follower that lags for this long leaves the ISR"),
    k("replica.selector.class", Text, None, Any, ReadOnly, Honoured, "what picks the replica a consumer reads from: org.apache.kafka.common.replica.RackAwareReplicaSelector, or the leader where it is not set"),
    k("replica.socket.receive.buffer.bytes", Int, Some("65536"), Any, ReadOnly, Honoured, "SO_RCVBUF of a follower"),
    k("replica.socket.timeout.ms", Int, Some("30000"), Any, ReadOnly, Honoured, "longest wait of a follower for its leader"),
    k("unclean.leader.election.enable", Boolean, Some("false"), Any, ClusterWide, Honoured, "a replica out of sync may become leader, at the price of records"),
    k("unclean.leader.election.interval.ms", Long, Some("300000"), Min(1), ReadOnly, Warned, "how often KRaft looks for unclean elections").internal(),
];
