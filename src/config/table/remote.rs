//! Keys: tiered storage.
//!
//! Names, types, defaults, bounds and scopes are those of Kafka 3.9.2, read out of its own definitions.

use super::Kind::{Boolean, Double, Int, Long, Text};
use super::Rule::{Any, Between, Min, NotEmpty, PoolSize};
use super::Scope::{ClusterWide, ReadOnly};
use super::Support::{Refused, Warned};
use super::{Key, k};

/// The rows, by name.
#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    k("remote.fetch.max.wait.ms", Int, Some("500"), Min(1), ClusterWide, Warned, "longest wait of a fetch for remote storage"),
    k("remote.log.index.file.cache.total.size.bytes", Long, Some("1073741824"), Min(1), ClusterWide, Warned, "disk for indexes of remote segments"),
    k("remote.log.manager.copier.thread.pool.size", Int, Some("-1"), PoolSize, ReadOnly, Warned, "threads that copy segments out"),
    k("remote.log.manager.copy.max.bytes.per.second", Long, Some("9223372036854775807"), Min(1), ClusterWide, Warned, "speed limit of copying out"),
    k("remote.log.manager.copy.quota.window.num", Int, Some("11"), Min(1), ReadOnly, Warned, "quota of copying out: samples"),
    k("remote.log.manager.copy.quota.window.size.seconds", Int, Some("1"), Min(1), ReadOnly, Warned, "quota of copying out: sample length"),
    k("remote.log.manager.expiration.thread.pool.size", Int, Some("-1"), PoolSize, ReadOnly, Warned, "threads that delete remote segments"),
    k("remote.log.manager.fetch.max.bytes.per.second", Long, Some("9223372036854775807"), Min(1), ClusterWide, Warned, "speed limit of reading back"),
    k("remote.log.manager.fetch.quota.window.num", Int, Some("11"), Min(1), ReadOnly, Warned, "quota of reading back: samples"),
    k("remote.log.manager.fetch.quota.window.size.seconds", Int, Some("1"), Min(1), ReadOnly, Warned, "quota of reading back: sample length"),
    k("remote.log.manager.task.interval.ms", Long, Some("30000"), Min(1), ReadOnly, Warned, "how often segments are copied out"),
    k("remote.log.manager.task.retry.backoff.max.ms", Long, Some("30000"), Min(1), ReadOnly, Warned, "longest pause after an error").internal(),
    k("remote.log.manager.task.retry.backoff.ms", Long, Some("500"), Min(1), ReadOnly, Warned, "first pause after an error").internal(),
    k("remote.log.manager.task.retry.jitter", Double, Some("0.2"), Between(0.0, 0.5), ReadOnly, Warned, "random part of the pause").internal(),
    k("remote.log.manager.thread.pool.size", Int, Some("10"), Min(1), ReadOnly, Warned, "threads of tiered storage"),
    k("remote.log.metadata.custom.metadata.max.bytes", Int, Some("128"), Min(0), ReadOnly, Warned, "largest note of a plug-in on a segment"),
    k("remote.log.metadata.manager.class.name", Text, Some("org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager"), NotEmpty, ReadOnly, Warned, "Java class that keeps the list of remote segments"),
    k("remote.log.metadata.manager.class.path", Text, None, Any, ReadOnly, Warned, "its class path"),
    k("remote.log.metadata.manager.impl.prefix", Text, Some("rlmm.config."), NotEmpty, ReadOnly, Warned, "prefix of its own keys"),
    k("remote.log.metadata.manager.listener.name", Text, None, NotEmpty, ReadOnly, Warned, "listener it connects to"),
    k("remote.log.reader.max.pending.tasks", Int, Some("100"), Min(1), ReadOnly, Warned, "remote reads that may wait"),
    k("remote.log.reader.threads", Int, Some("10"), Min(1), ReadOnly, Warned, "threads for remote reads"),
    k("remote.log.storage.manager.class.name", Text, None, NotEmpty, ReadOnly, Warned, "Java class that stores remote segments"),
    k("remote.log.storage.manager.class.path", Text, None, Any, ReadOnly, Warned, "its class path"),
    k("remote.log.storage.manager.impl.prefix", Text, Some("rsm.config."), NotEmpty, ReadOnly, Warned, "prefix of its own keys"),
    k("remote.log.storage.system.enable", Boolean, Some("false"), Any, ReadOnly, Refused, "tiered storage"),
];
