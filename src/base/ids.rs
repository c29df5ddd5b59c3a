//! Newtypes for the numbers that must not be mixed up, and the names of partitions.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl $name {
            /// The plain number, as it stands on the wire and on disk.
            #[inline]
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl From<$inner> for $name {
            #[inline]
            fn from(number: $inner) -> Self {
                Self(number)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// The position of a record in its partition. −1 stands for "none" on the wire.
    Offset(i64)
}
number! {
    /// The epoch of a partition's leadership. −1 stands for "none".
    LeaderEpoch(i32)
}
number! {
    /// The epoch of a controller's reign.
    ControllerEpoch(i32)
}
number! {
    /// A broker's registration epoch: the czxid of its node in the store.
    BrokerEpoch(i64)
}
number! {
    /// A broker's id (`broker.id`).
    BrokerId(i32)
}
number! {
    /// The id of an idempotent or transactional producer. −1 stands for "none".
    ProducerId(i64)
}
number! {
    /// The epoch of a producer id. −1 stands for "none".
    ProducerEpoch(i16)
}

impl Offset {
    /// The first offset of every partition.
    pub const ZERO: Self = Self(0);
    /// "No offset" on the wire and on disk.
    pub const NONE: Self = Self(-1);

    /// The offset `count` records later; stays at the largest offset rather than wrapping.
    #[inline]
    #[must_use]
    pub const fn plus(self, count: i64) -> Self {
        Self(self.0.saturating_add(count))
    }

    /// How many offsets lie between `earlier` and this one; negative when `earlier` is later.
    #[inline]
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl LeaderEpoch {
    /// "No epoch" on the wire and on disk.
    pub const NONE: Self = Self(-1);
}

impl ProducerId {
    /// "No producer id": a batch of a producer that is neither idempotent nor transactional.
    pub const NONE: Self = Self(-1);
}

impl ProducerEpoch {
    /// "No epoch".
    pub const NONE: Self = Self(-1);
}

/// A UUID as Kafka uses it for topics and directories: 16 bytes, written as 22 characters of URL-safe base64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid(pub [u8; 16]);

/// A topic's id (KIP-516). All zero stands for "none".
pub type TopicId = Uuid;

impl Uuid {
    /// The id that stands for "none".
    pub const ZERO: Self = Self([0; 16]);

    /// True for the id that stands for "none".
    pub fn is_zero(&self) -> bool {
        self.0 == [0; 16]
    }

    /// Reads the form with 22 characters of base64. `None` when `text` is not that.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The name of a topic; cheap to clone.
pub type TopicName = Arc<str>;

/// A partition of a topic.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: TopicName,
    /// The partition's index in its topic, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    pub fn new(topic: impl Into<TopicName>, partition: i32) -> Self {
        Self {
            topic: topic.into(),
            partition,
        }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

impl fmt::Debug for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_text_round_trips() {
        let id = Uuid([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255]);
        assert_eq!(Uuid::parse(&id.to_string()), Some(id));
        assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(Uuid::parse("AAAA"), None);
        assert_eq!(Uuid::parse("!"), None);
    }

    #[test]
    fn offsets_do_not_wrap() {
        assert_eq!(Offset(i64::MAX).plus(1), Offset(i64::MAX));
        assert_eq!(Offset(5).since(Offset(7)), -2);
    }
}
