//! Keys: groups, transactions and share groups.
//!
//! Names, types, defaults, bounds and scopes are those of Kafka 3.9.2, read out of its own definitions.

use super::Kind::{Boolean, Int, List, Long, Short, Text};
use super::Rule::{Any, EachOf, Min, OneOfAnyCase, Range};
use super::Scope::{ClusterWide, ReadOnly};
use super::Support::{Honoured, Warned};
use super::{Key, k};

/// The rows, by name.
#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    k("group.consumer.assignors", List, Some("org.apache.kafka.coordinator.group.assignor.UniformAssignor,org.apache.kafka.coordinator.group.assignor.RangeAssignor"), Any, ReadOnly, Warned, "server-side assignors of the new consumer protocol"),
    k("group.consumer.heartbeat.interval.ms", Int, Some("5000"), Min(1), ReadOnly, Warned, "new consumer protocol: heartbeat"),
    k("group.consumer.max.heartbeat.interval.ms", Int, Some("15000"), Min(1), ReadOnly, Warned, "new consumer protocol: slowest heartbeat"),
    k("group.consumer.max.session.timeout.ms", Int, Some("60000"), Min(1), ReadOnly, Warned, "new consumer protocol: longest session"),
    k("group.consumer.max.size", Int, Some("2147483647"), Min(1), ReadOnly, Warned, "new consumer protocol: most members"),
    k("group.consumer.migration.policy", Text, Some("disabled"), OneOfAnyCase(&["DISABLED", "DOWNGRADE", "UPGRADE", "BIDIRECTIONAL"]), ReadOnly, Warned, "new consumer protocol: moving groups to and fro").internal(),
    k("group.consumer.min.heartbeat.interval.ms", Int, Some("5000"), Min(1), ReadOnly, Warned, "new consumer protocol: fastest heartbeat"),
    k("group.consumer.min.session.timeout.ms", Int, Some("45000"), Min(1), ReadOnly, Warned, "new consumer protocol: shortest session"),
    k("group.consumer.session.timeout.ms", Int, Some("45000"), Min(1), ReadOnly, Warned, "new consumer protocol: session"),
    k("group.coordinator.append.linger.ms", Int, Some("10"), Min(0), ReadOnly, Warned, "new group coordinator: how long writes are gathered"),
    k("group.coordinator.new.enable", Boolean, Some("false"), Any, ReadOnly, Warned, "new group coordinator").internal(),
    k("group.coordinator.rebalance.protocols", List, Some("classic"), EachOf(&["consumer", "classic", "share", "unknown"]), ReadOnly, Warned, "group protocols on offer"),
    k("group.coordinator.threads", Int, Some("1"), Min(1), ReadOnly, Warned, "new group coordinator: threads"),
    k("group.initial.rebalance.delay.ms", Int, Some("3000"), Any, ReadOnly, Honoured, "wait for further members of a new group"),
    k("group.max.session.timeout.ms", Int, Some("1800000"), Any, ReadOnly, Honoured, "longest session of a member"),
    k("group.max.size", Int, Some("2147483647"), Min(1), ReadOnly, Honoured, "most members of a group"),
    k("group.min.session.timeout.ms", Int, Some("6000"), Any, ReadOnly, Honoured, "shortest session of a member"),
    k("group.share.delivery.count.limit", Int, Some("5"), Range(2, 10), ReadOnly, Warned, "share groups: deliveries of one record"),
    k("group.share.enable", Boolean, Some("false"), Any, ReadOnly, Warned, "share groups").internal(),
    k("group.share.heartbeat.interval.ms", Int, Some("5000"), Min(1), ReadOnly, Warned, "share groups: heartbeat"),
    k("group.share.max.groups", Short, Some("10"), Range(1, 100), ReadOnly, Warned, "share groups: most groups"),
    k("group.share.max.heartbeat.interval.ms", Int, Some("15000"), Min(1), ReadOnly, Warned, "share groups: slowest heartbeat"),
    k("group.share.max.record.lock.duration.ms", Int, Some("60000"), Range(30000, 3600000), ReadOnly, Warned, "share groups: longest lock"),
    k("group.share.max.session.timeout.ms", Int, Some("60000"), Min(1), ReadOnly, Warned, "share groups: longest session"),
    k("group.share.max.size", Short, Some("200"), Range(10, 1000), ReadOnly, Warned, "share groups: most members"),
    k("group.share.min.heartbeat.interval.ms", Int, Some("5000"), Min(1), ReadOnly, Warned, "share groups: fastest heartbeat"),
    k("group.share.min.record.lock.duration.ms", Int, Some("15000"), Range(1000, 30000), ReadOnly, Warned, "share groups: shortest lock"),
    k("group.share.min.session.timeout.ms", Int, Some("45000"), Min(1), ReadOnly, Warned, "share groups: shortest session"),
    k("group.share.partition.max.record.locks", Int, Some("200"), Range(100, 10000), ReadOnly, Warned, "share groups: records locked in a partition"),
    k("group.share.record.lock.duration.ms", Int, Some("30000"), Range(1000, 60000), ReadOnly, Warned, "share groups: lock"),
    k("group.share.session.timeout.ms", Int, Some("45000"), Min(1), ReadOnly, Warned, "share groups: session"),
    k("offset.metadata.max.bytes", Int, Some("4096"), Any, ReadOnly, Honoured, "largest text stored with an offset"),
    k("offsets.commit.required.acks", Short, Some("-1"), Any, ReadOnly, Honoured, "acks of offset commits"),
    k("offsets.commit.timeout.ms", Int, Some("5000"), Min(1), ReadOnly, Honoured, "longest wait for the replicas of an offset commit"),
    k("offsets.load.buffer.size", Int, Some("5242880"), Min(1), ReadOnly, Honoured, "batch size while offsets are loaded"),
    k("offsets.retention.check.interval.ms", Long, Some("600000"), Min(1), ReadOnly, Honoured, "how often expired offsets are looked for"),
    k("offsets.retention.minutes", Int, Some("10080"), Min(1), ReadOnly, Honoured, "how long offsets of an empty group stay"),
    k("offsets.topic.compression.codec", Int, Some("0"), Any, ReadOnly, Honoured, "codec of the offsets topic"),
    k("offsets.topic.num.partitions", Int, Some("50"), Min(1), ReadOnly, Honoured, "partitions of the offsets topic"),
    k("offsets.topic.replication.factor", Short, Some("3"), Min(1), ReadOnly, Honoured, "replicas of the offsets topic").ours_alone(Some("1"), "a broker of one has one place for a replica; with 3 the topic could never be created"),
    k("offsets.topic.segment.bytes", Int, Some("104857600"), Min(1), ReadOnly, Honoured, "segment size of the offsets topic"),
    k("transaction.abort.timed.out.transaction.cleanup.interval.ms", Int, Some("10000"), Min(1), ReadOnly, Warned, "how often timed-out transactions are aborted"),
    k("transaction.max.timeout.ms", Int, Some("900000"), Min(1), ReadOnly, Warned, "longest timeout that a transaction may ask for"),
    k("transaction.partition.verification.enable", Boolean, Some("true"), Any, ClusterWide, Honoured, "a transactional write is checked against its coordinator"),
    k("transaction.remove.expired.transaction.cleanup.interval.ms", Int, Some("3600000"), Min(1), ReadOnly, Warned, "how often expired transactional ids are removed"),
    k("transaction.state.log.load.buffer.size", Int, Some("5242880"), Min(1), ReadOnly, Warned, "batch size while transactions are loaded"),
    k("transaction.state.log.min.isr", Int, Some("2"), Min(1), ReadOnly, Honoured, "min.insync.replicas of the transaction topic").ours_alone(Some("1"), "a broker of one has one replica in sync; with 2 no transaction could ever be written"),
    k("transaction.state.log.num.partitions", Int, Some("50"), Min(1), ReadOnly, Honoured, "partitions of the transaction topic"),
    k("transaction.state.log.replication.factor", Short, Some("3"), Min(1), ReadOnly, Honoured, "replicas of the transaction topic").ours_alone(Some("1"), "a broker of one has one place for a replica; with 3 the topic could never be created"),
    k("transaction.state.log.segment.bytes", Int, Some("104857600"), Min(1), ReadOnly, Honoured, "segment size of the transaction topic"),
    k("transactional.id.expiration.ms", Int, Some("604800000"), Min(1), ReadOnly, Warned, "how long an unused transactional id is remembered"),
];
