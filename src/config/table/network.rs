//! Keys: addresses, sockets, connections and requests.
//!
//! Names, types, defaults, bounds and scopes are those of Kafka 3.9.2, read out of its own definitions.

use super::Kind::{Boolean, Int, Long, Text};
use super::Rule::{Any, Min, OneOf};
use super::Scope::{ClusterWide, PerBroker, ReadOnly};
use super::Support::{Honoured, Refused, Warned};
use super::{Key, k};

/// The rows, by name.
#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    k("advertised.listeners", Text, None, Any, PerBroker, Honoured, "addresses that clients are told to connect to; those of listeners when not set"),
    k("connection.failed.authentication.delay.ms", Int, Some("100"), Min(0), ReadOnly, Warned, "pause before a failed authentication is answered"),
    k("connections.max.idle.ms", Long, Some("600000"), Any, ReadOnly, Honoured, "a connection without traffic for this long is closed"),
    k("connections.max.reauth.ms", Long, Some("0"), Any, ReadOnly, Refused, "longest life of a SASL session before it must authenticate again"),
    k("control.plane.listener.name", Text, None, Any, ReadOnly, Honoured, "the listener for what the controller and the brokers ask each other; every broker must have it, and it has a thread of its own"),
    k("early.start.listeners", Text, None, Any, ReadOnly, Warned, "listeners that open before the authorizer is ready"),
    k("fetch.max.bytes", Int, Some("57671680"), Min(1024), ReadOnly, Honoured, "upper bound on the bytes of one fetch response, whatever the client asks for"),
    k("inter.broker.listener.name", Text, None, Any, ReadOnly, Honoured, "the listener of brokers; where there are others, the broker's bounds on connections do not hold for it"),
    k("listener.security.protocol.map", Text, Some("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT"), Any, PerBroker, Honoured, "which security protocol each listener name stands for"),
    k("listeners", Text, Some("PLAINTEXT://:9092"), Any, PerBroker, Honoured, "addresses to listen on, as NAME://host:port").ours_without_file(Some("PLAINTEXT://127.0.0.1:9092"), "without a properties file nothing is exposed to the network; with one that has no listeners, Kafka's default holds"),
    k("max.connection.creation.rate", Int, Some("2147483647"), Min(0), ClusterWide, Honoured, "new connections a second, in all or of one listener; above it they are held back"),
    k("max.connections", Int, Some("2147483647"), Min(0), ClusterWide, Honoured, "connections in all, or of one listener; above it new ones wait"),
    k("max.connections.per.ip", Int, Some("2147483647"), Min(0), ClusterWide, Honoured, "connections from one address; above it new ones are closed"),
    k("max.connections.per.ip.overrides", Text, Some(""), Any, ClusterWide, Honoured, "exceptions from max.connections.per.ip, as host:count"),
    k("max.incremental.fetch.session.cache.slots", Int, Some("1000"), Min(0), ReadOnly, Honoured, "incremental fetch sessions that are remembered"),
    k("max.request.partition.size.limit", Int, Some("2000"), Min(1), ReadOnly, Honoured, "most partitions that one DescribeTopicPartitions answer holds"),
    k("num.io.threads", Int, Some("8"), Min(1), ClusterWide, Warned, "threads that run requests; here the network threads do"),
    k("num.network.threads", Int, Some("3"), Min(1), ClusterWide, Honoured, "threads that serve connections; no more than the machine has cores, or two"),
    k("queued.max.request.bytes", Long, Some("-1"), Any, ReadOnly, Honoured, "bytes of received requests that may wait at once; -1: no bound"),
    k("queued.max.requests", Int, Some("500"), Min(1), ReadOnly, Honoured, "requests of one connection that may be unanswered at once, up to 64; above it the connection is not read"),
    k("request.timeout.ms", Int, Some("30000"), Any, ReadOnly, Honoured, "how long the controller may take over a topic that this broker asks it to create"),
    k("security.inter.broker.protocol", Text, Some("PLAINTEXT"), OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]), ReadOnly, Refused, "security protocol between brokers"),
    k("socket.connection.setup.timeout.max.ms", Long, Some("30000"), Any, ReadOnly, Warned, "longest wait while connecting to another broker"),
    k("socket.connection.setup.timeout.ms", Long, Some("10000"), Any, ReadOnly, Warned, "first wait while connecting to another broker"),
    k("socket.listen.backlog.size", Int, Some("50"), Min(1), ReadOnly, Honoured, "connections that the kernel holds before they are accepted"),
    k("socket.receive.buffer.bytes", Int, Some("102400"), Any, ReadOnly, Honoured, "SO_RCVBUF of connections; -1: the system's").ours(Some("-1"), "a buffer that the system sizes as it goes costs a third less CPU for large batches, and is not too small for distant clients"),
    k("socket.request.max.bytes", Int, Some("104857600"), Min(1), ReadOnly, Honoured, "largest request that is read; a larger one closes its connection"),
    k("socket.send.buffer.bytes", Int, Some("102400"), Any, ReadOnly, Honoured, "SO_SNDBUF of connections; -1: the system's").ours(Some("-1"), "a buffer that the system sizes as it goes costs a third less CPU for large fetches, and is not too small for distant clients"),
    k("unstable.api.versions.enable", Boolean, Some("false"), Any, ReadOnly, Warned, "offers protocol versions that are not final").internal(),
    k("unstable.feature.versions.enable", Boolean, Some("false"), Any, ReadOnly, Warned, "offers feature levels that are not final").internal(),
];
