//! Keys: metrics and quotas.
//!
//! Names, types, defaults, bounds and scopes are those of Kafka 3.9.2, read out of its own definitions.

use super::Kind::{Boolean, Class, Int, List, Long, Text};
use super::Rule::{Any, Min, OneOfAnyCase};
use super::Scope::{ClusterWide, ReadOnly};
use super::Support::{Honoured, Refused, Warned};
use super::{Key, k};

/// The rows, by name.
#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    k("alter.log.dirs.replication.quota.window.num", Int, Some("11"), Min(1), ReadOnly, Honoured, "samples over which the rate of moves between directories is measured"),
    k("alter.log.dirs.replication.quota.window.size.seconds", Int, Some("1"), Min(1), ReadOnly, Honoured, "length of such a sample"),
    k("auto.include.jmx.reporter", Boolean, Some("true"), Any, ReadOnly, Warned, "metrics over JMX"),
    k("client.quota.callback.class", Class, None, Any, ReadOnly, Refused, "a Java class that sets quotas"),
    k("controller.quota.window.num", Int, Some("11"), Min(1), ReadOnly, Warned, "quota of topic changes: samples"),
    k("controller.quota.window.size.seconds", Int, Some("1"), Min(1), ReadOnly, Warned, "quota of topic changes: sample length"),
    k("kafka.metrics.polling.interval.secs", Int, Some("10"), Min(1), ReadOnly, Warned, "Yammer metrics: interval"),
    k("kafka.metrics.reporters", List, Some(""), Any, ReadOnly, Warned, "Yammer metrics: Java classes"),
    k("metric.reporters", List, Some(""), Any, ClusterWide, Warned, "metrics: Java classes"),
    k("metrics.num.samples", Int, Some("2"), Min(1), ReadOnly, Warned, "metrics: samples"),
    k("metrics.recording.level", Text, Some("INFO"), OneOfAnyCase(&["INFO", "DEBUG", "TRACE"]), ReadOnly, Warned, "metrics: level of detail"),
    k("metrics.sample.window.ms", Long, Some("30000"), Min(1), ReadOnly, Warned, "metrics: sample length"),
    k("quota.window.num", Int, Some("11"), Min(1), ReadOnly, Honoured, "samples over which the rate of new connections is measured; client quotas are not there yet"),
    k("quota.window.size.seconds", Int, Some("1"), Min(1), ReadOnly, Honoured, "length of such a sample; no connection is held back for longer"),
    k("replication.quota.window.num", Int, Some("11"), Min(1), ReadOnly, Honoured, "samples over which the rate of throttled replicas is measured"),
    k("replication.quota.window.size.seconds", Int, Some("1"), Min(1), ReadOnly, Honoured, "length of such a sample"),
    k("telemetry.max.bytes", Int, Some("1048576"), Min(1), ReadOnly, Warned, "largest push of client metrics"),
];
