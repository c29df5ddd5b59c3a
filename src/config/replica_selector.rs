//! Which replica a consumer reads from: `replica.selector.class` (KIP-392). The classes are known by name and never
//! loaded; any other one is refused.

use super::value::{FromValue, Value};

/// What picks the replica that a consumer is to read from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReplicaSelector {
    /// The leader.
    #[default]
    Leader,
    /// A replica in the consumer's rack, if there is one; else the leader.
    RackAware,
}

impl ReplicaSelector {
    /// The names of the classes. The one for the leader is KIP-392's; Kafka itself has null for it.
    const CLASSES: &[(&str, Self)] = &[
        ("", Self::Leader),
        ("org.apache.kafka.common.replica.LeaderSelector", Self::Leader),
        (
            "org.apache.kafka.common.replica.RackAwareReplicaSelector",
            Self::RackAware,
        ),
    ];

    /// The selector that a class is; `None` for a class that is not known.
    pub(super) fn of_class(name: &str) -> Option<Self> {
        let found = Self::CLASSES.iter().find(|(class, _)| *class == name.trim());
        found.map(|(_, selector)| *selector)
    }
}

impl FromValue for ReplicaSelector {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(Self::Leader),
            // A class that is not known was refused by its name before (`checks.rs`).
            Value::Text(name) => Some(Self::of_class(name).unwrap_or_default()),
            _ => None,
        }
    }
}
