//! Keys: partitions on disk, and the defaults of topics.
//!
//! Names, types, defaults, bounds and scopes are those of Kafka 3.9.2, read out of its own definitions.

use super::Kind::{Boolean, Class, Double, Int, List, Long, Text};
use super::Rule::{Any, Between, EachOf, GzipLevel, Min, OneOf, Range, Version};
use super::Scope::{ClusterWide, ReadOnly};
use super::Support::{Honoured, Refused, Warned};
use super::{Key, k};

/// The rows, by name.
#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    k("alter.config.policy.class.name", Class, None, Any, ReadOnly, Refused, "a Java class that judges changes of configs"),
    k("alter.config.policy.kraft.compatibility.enable", Boolean, Some("false"), Any, ReadOnly, Warned, "how a config policy sees the values that stay"),
    k("auto.create.topics.enable", Boolean, Some("true"), Any, ReadOnly, Honoured, "a topic that a client asks for is created if it does not exist"),
    k("compression.gzip.level", Int, Some("-1"), GzipLevel, ClusterWide, Honoured, "gzip level when the broker compresses"),
    k("compression.lz4.level", Int, Some("9"), Range(1, 17), ClusterWide, Honoured, "lz4 level when the broker compresses"),
    k("compression.type", Text, Some("producer"), OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), ClusterWide, Honoured, "codec in which batches are stored; producer: as they came"),
    k("compression.zstd.level", Int, Some("3"), Range(-131072, 22), ClusterWide, Honoured, "zstd level when the broker compresses"),
    k("create.topic.policy.class.name", Class, None, Any, ReadOnly, Refused, "a Java class that judges topic creations"),
    k("default.replication.factor", Int, Some("1"), Any, ReadOnly, Honoured, "replicas of a topic that is created without saying how many"),
    k("delete.topic.enable", Boolean, Some("true"), Any, ReadOnly, Honoured, "topics may be deleted"),
    k("log.cleaner.backoff.ms", Long, Some("15000"), Min(0), ClusterWide, Warned, "pause of the cleaner when nothing is to be compacted"),
    k("log.cleaner.dedupe.buffer.size", Long, Some("134217728"), Any, ClusterWide, Warned, "memory for the cleaner's map of keys"),
    k("log.cleaner.delete.retention.ms", Long, Some("86400000"), Min(0), ClusterWide, Warned, "how long tombstones stay after compaction"),
    k("log.cleaner.enable", Boolean, Some("true"), Any, ReadOnly, Warned, "whether compacted topics are compacted"),
    k("log.cleaner.io.buffer.load.factor", Double, Some("0.9"), Any, ClusterWide, Warned, "how full the cleaner's map of keys may get"),
    k("log.cleaner.io.buffer.size", Int, Some("524288"), Min(0), ClusterWide, Warned, "memory for the cleaner's reads and writes"),
    k("log.cleaner.io.max.bytes.per.second", Double, Some("1.7976931348623157E308"), Any, ClusterWide, Warned, "the cleaner's speed limit"),
    k("log.cleaner.max.compaction.lag.ms", Long, Some("9223372036854775807"), Min(1), ClusterWide, Honoured, "a compacted topic rolls its segment no later than this"),
    k("log.cleaner.min.cleanable.ratio", Double, Some("0.5"), Between(0.0, 1.0), ClusterWide, Warned, "share of uncompacted bytes from which a log is compacted"),
    k("log.cleaner.min.compaction.lag.ms", Long, Some("0"), Min(0), ClusterWide, Warned, "a record is not compacted before this age"),
    k("log.cleaner.threads", Int, Some("1"), Min(0), ClusterWide, Warned, "threads that compact"),
    k("log.cleanup.policy", List, Some("delete"), EachOf(&["compact", "delete"]), ClusterWide, Honoured, "delete by age and size, compact by key, or both; compaction itself is not there yet"),
    k("log.dir", Text, Some("/tmp/kafka-logs"), Any, ReadOnly, Honoured, "where data lies, when log.dirs is not set").ours_without_file(Some("data"), "without a properties file data lies in a folder of the working directory, not in /tmp, which is emptied at boots; with one that has neither log.dir nor log.dirs, Kafka's default holds"),
    k("log.dir.failure.timeout.ms", Long, Some("30000"), Min(1), ReadOnly, Warned, "how long a KRaft broker may fail to report a dead directory"),
    k("log.dir.stall.ms", Long, Some("1000"), Min(1), ReadOnly, Honoured, "a write that takes longer takes its directory off the direct path: it waits on the directory's own threads").of_barnabas(),
    k("log.dirs", Text, None, Any, ReadOnly, Honoured, "where data lies: directories, separated by commas"),
    k("log.flush.interval.messages", Long, Some("9223372036854775807"), Min(1), ClusterWide, Honoured, "records after which a log is synced to disk"),
    k("log.flush.interval.ms", Long, None, Any, ClusterWide, Honoured, "age of unsynced records at which a log is synced to disk"),
    k("log.flush.offset.checkpoint.interval.ms", Int, Some("60000"), Min(0), ReadOnly, Honoured, "how often recovery points are written"),
    k("log.flush.scheduler.interval.ms", Long, Some("9223372036854775807"), Any, ReadOnly, Honoured, "how often logs are looked at for a sync that is due"),
    k("log.flush.start.offset.checkpoint.interval.ms", Int, Some("60000"), Min(0), ReadOnly, Honoured, "how often log start offsets are written"),
    k("log.index.interval.bytes", Int, Some("4096"), Min(0), ClusterWide, Honoured, "bytes of log between two entries of its index"),
    k("log.index.size.max.bytes", Int, Some("10485760"), Min(4), ClusterWide, Honoured, "largest offset index; a full one rolls the segment"),
    k("log.initial.task.delay.ms", Long, Some("30000"), Min(0), ReadOnly, Honoured, "pause between the start and the first periodic work on logs").internal(),
    k("log.local.retention.bytes", Long, Some("-2"), Min(-2), ClusterWide, Warned, "bytes that a tiered topic keeps on local disk"),
    k("log.local.retention.ms", Long, Some("-2"), Min(-2), ClusterWide, Warned, "how long a tiered topic keeps segments on local disk"),
    k("log.message.downconversion.enable", Boolean, Some("true"), Any, ClusterWide, Honoured, "old clients get records converted to a format they know"),
    k("log.message.format.version", Text, Some("3.0-IV1"), Version, ReadOnly, Warned, "ignored, as Kafka does since 3.0"),
    k("log.message.timestamp.after.max.ms", Long, Some("9223372036854775807"), Min(0), ClusterWide, Honoured, "how far a record's time may lie ahead of the broker's"),
    k("log.message.timestamp.before.max.ms", Long, Some("9223372036854775807"), Min(0), ClusterWide, Honoured, "how far a record's time may lie behind the broker's"),
    k("log.message.timestamp.difference.max.ms", Long, Some("9223372036854775807"), Min(0), ClusterWide, Honoured, "older name for both bounds of a record's time"),
    k("log.message.timestamp.type", Text, Some("CreateTime"), OneOf(&["CreateTime", "LogAppendTime"]), ClusterWide, Honoured, "records keep the producer's time, or get the broker's"),
    k("log.preallocate", Boolean, Some("false"), Any, ClusterWide, Honoured, "segment files get their full size when they are created"),
    k("log.retention.bytes", Long, Some("-1"), Any, ClusterWide, Honoured, "size of a partition above which old segments are deleted; -1: no bound"),
    k("log.retention.check.interval.ms", Long, Some("300000"), Min(1), ReadOnly, Honoured, "how often retention is enforced"),
    k("log.retention.hours", Int, Some("168"), Any, ReadOnly, Honoured, "age at which segments are deleted, in hours"),
    k("log.retention.minutes", Int, None, Any, ReadOnly, Honoured, "age at which segments are deleted, in minutes"),
    k("log.retention.ms", Long, None, Any, ClusterWide, Honoured, "age at which segments are deleted; -1: never"),
    k("log.roll.hours", Int, Some("168"), Min(1), ReadOnly, Honoured, "age at which a segment is closed and a new one begun, in hours"),
    k("log.roll.jitter.hours", Int, Some("0"), Min(0), ReadOnly, Honoured, "random part taken off log.roll.hours"),
    k("log.roll.jitter.ms", Long, None, Any, ClusterWide, Honoured, "random part taken off log.roll.ms"),
    k("log.roll.ms", Long, None, Any, ClusterWide, Honoured, "age at which a segment is closed and a new one begun"),
    k("log.segment.bytes", Int, Some("1073741824"), Min(14), ClusterWide, Honoured, "size at which a segment is closed and a new one begun"),
    k("log.segment.delete.delay.ms", Long, Some("60000"), Min(0), ClusterWide, Honoured, "how long files of deleted segments stay, renamed"),
    k("message.max.bytes", Int, Some("1048588"), Min(0), ClusterWide, Honoured, "largest batch of records that is accepted"),
    k("min.insync.replicas", Int, Some("1"), Min(1), ClusterWide, Honoured, "replicas that must be in sync for a write with acks=all"),
    k("num.partitions", Int, Some("1"), Min(1), ReadOnly, Honoured, "partitions of a topic that is created without saying how many"),
    k("num.recovery.threads.per.data.dir", Int, Some("1"), Min(1), ClusterWide, Honoured, "threads that load, recover and flush the logs of one directory"),
    k("producer.id.expiration.check.interval.ms", Int, Some("600000"), Min(1), ReadOnly, Honoured, "how often unused producer ids are looked for").internal(),
    k("producer.id.expiration.ms", Int, Some("86400000"), Min(1), ClusterWide, Honoured, "a producer that wrote nothing for this long is forgotten"),
];
