//! Keys: configs of a topic.
//!
//! Names, types, defaults, bounds and scopes are those of Kafka 3.9.2, read out of its own definitions.

use super::Kind::{Boolean, Double, Int, List, Long, Text};
use super::Rule::{Any, Between, EachOf, GzipLevel, Min, OneOf, Range, ThrottledReplicas, Version};
use super::Scope::Topic;
use super::Support::{Honoured, Refused, Warned};
use super::{Key, k};

/// The rows, by name.
#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    k("cleanup.policy", List, Some("delete"), EachOf(&["compact", "delete"]), Topic, Honoured, "delete by age and size, compact by key, or both").synonyms(&["log.cleanup.policy"]),
    k("compression.gzip.level", Int, Some("-1"), GzipLevel, Topic, Honoured, "gzip level when the broker compresses").synonyms(&["compression.gzip.level"]),
    k("compression.lz4.level", Int, Some("9"), Range(1, 17), Topic, Honoured, "lz4 level when the broker compresses").synonyms(&["compression.lz4.level"]),
    k("compression.type", Text, Some("producer"), OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), Topic, Honoured, "codec in which batches are stored; producer: as they came").synonyms(&["compression.type"]),
    k("compression.zstd.level", Int, Some("3"), Range(-131072, 22), Topic, Honoured, "zstd level when the broker compresses").synonyms(&["compression.zstd.level"]),
    k("delete.retention.ms", Long, Some("86400000"), Min(0), Topic, Honoured, "how long tombstones stay after compaction").synonyms(&["log.cleaner.delete.retention.ms"]),
    k("file.delete.delay.ms", Long, Some("60000"), Min(0), Topic, Honoured, "how long files of deleted segments stay, renamed").synonyms(&["log.segment.delete.delay.ms"]),
    k("flush.messages", Long, Some("9223372036854775807"), Min(1), Topic, Honoured, "records after which the log is synced to disk").synonyms(&["log.flush.interval.messages"]),
    k("flush.ms", Long, Some("9223372036854775807"), Min(0), Topic, Honoured, "age of unsynced records at which the log is synced to disk").synonyms(&["log.flush.interval.ms", "log.flush.scheduler.interval.ms"]),
    k("follower.replication.throttled.replicas", List, Some(""), ThrottledReplicas, Topic, Honoured, "followers whose copying is throttled while they are not in sync, as partition:broker; *: all"),
    k("index.interval.bytes", Int, Some("4096"), Min(0), Topic, Honoured, "bytes of log between two entries of its index").synonyms(&["log.index.interval.bytes"]),
    k("leader.replication.throttled.replicas", List, Some(""), ThrottledReplicas, Topic, Honoured, "leaders whose sending to followers that are not in sync is throttled, as partition:broker; *: all"),
    k("local.retention.bytes", Long, Some("-2"), Min(-2), Topic, Warned, "tiered storage: bytes kept on local disk").synonyms(&["log.local.retention.bytes"]),
    k("local.retention.ms", Long, Some("-2"), Min(-2), Topic, Warned, "tiered storage: time kept on local disk").synonyms(&["log.local.retention.ms"]),
    k("max.compaction.lag.ms", Long, Some("9223372036854775807"), Min(1), Topic, Honoured, "age by which a record can be compacted: its segment is closed and compacted no later").synonyms(&["log.cleaner.max.compaction.lag.ms"]),
    k("max.message.bytes", Int, Some("1048588"), Min(0), Topic, Honoured, "largest batch of records that is accepted").synonyms(&["message.max.bytes"]),
    k("message.downconversion.enable", Boolean, Some("true"), Any, Topic, Honoured, "old clients get records converted to a format they know").synonyms(&["log.message.downconversion.enable"]),
    k("message.format.version", Text, Some("3.0-IV1"), Version, Topic, Warned, "ignored, as Kafka does since 3.0").synonyms(&["log.message.format.version"]),
    k("message.timestamp.after.max.ms", Long, Some("9223372036854775807"), Min(0), Topic, Honoured, "how far a record's time may lie ahead of the broker's").synonyms(&["log.message.timestamp.after.max.ms"]),
    k("message.timestamp.before.max.ms", Long, Some("9223372036854775807"), Min(0), Topic, Honoured, "how far a record's time may lie behind the broker's").synonyms(&["log.message.timestamp.before.max.ms"]),
    k("message.timestamp.difference.max.ms", Long, Some("9223372036854775807"), Min(0), Topic, Honoured, "older name for both bounds of a record's time").synonyms(&["log.message.timestamp.difference.max.ms"]),
    k("message.timestamp.type", Text, Some("CreateTime"), OneOf(&["CreateTime", "LogAppendTime"]), Topic, Honoured, "records keep the producer's time, or get the broker's").synonyms(&["log.message.timestamp.type"]),
    k("min.cleanable.dirty.ratio", Double, Some("0.5"), Between(0.0, 1.0), Topic, Honoured, "share of uncompacted bytes from which the log is compacted").synonyms(&["log.cleaner.min.cleanable.ratio"]),
    k("min.compaction.lag.ms", Long, Some("0"), Min(0), Topic, Honoured, "a record is not compacted before this age").synonyms(&["log.cleaner.min.compaction.lag.ms"]),
    k("min.insync.replicas", Int, Some("1"), Min(1), Topic, Honoured, "replicas that must be in sync for a write with acks=all").synonyms(&["min.insync.replicas"]),
    k("preallocate", Boolean, Some("false"), Any, Topic, Honoured, "segment files get their full size when they are created").synonyms(&["log.preallocate"]),
    k("remote.log.copy.disable", Boolean, Some("false"), Any, Topic, Refused, "tiered storage: stop copying out"),
    k("remote.log.delete.on.disable", Boolean, Some("false"), Any, Topic, Refused, "tiered storage: delete remote data when switched off"),
    k("remote.storage.enable", Boolean, Some("false"), Any, Topic, Refused, "tiered storage"),
    k("retention.bytes", Long, Some("-1"), Any, Topic, Honoured, "size of a partition above which old segments are deleted; -1: no bound").synonyms(&["log.retention.bytes"]),
    k("retention.ms", Long, Some("604800000"), Min(-1), Topic, Honoured, "age at which segments are deleted; -1: never").synonyms(&["log.retention.ms", "log.retention.minutes", "log.retention.hours"]),
    k("segment.bytes", Int, Some("1073741824"), Min(14), Topic, Honoured, "size at which a segment is closed and a new one begun").synonyms(&["log.segment.bytes"]),
    k("segment.index.bytes", Int, Some("10485760"), Min(4), Topic, Honoured, "largest offset index; a full one rolls the segment").synonyms(&["log.index.size.max.bytes"]),
    k("segment.jitter.ms", Long, Some("0"), Min(0), Topic, Honoured, "random part taken off segment.ms").synonyms(&["log.roll.jitter.ms", "log.roll.jitter.hours"]),
    k("segment.ms", Long, Some("604800000"), Min(1), Topic, Honoured, "age at which a segment is closed and a new one begun").synonyms(&["log.roll.ms", "log.roll.hours"]),
    k("unclean.leader.election.enable", Boolean, Some("false"), Any, Topic, Honoured, "a replica out of sync may become leader, at the price of records").synonyms(&["unclean.leader.election.enable"]),
];
