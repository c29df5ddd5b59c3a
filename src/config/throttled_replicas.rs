//! Which replicas of a topic are throttled: `*`, or `partition:broker` pairs (`ThrottledReplicaListValidator`,
//! `TopicConfigHandler.parseThrottledPartitions`).

use std::collections::BTreeSet;

use crate::base::ids::BrokerId;

/// Replicas of a topic that are throttled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ThrottledReplicas {
    /// All of them.
    All,
    /// These, by partition and broker.
    These(BTreeSet<(i32, BrokerId)>),
}

impl Default for ThrottledReplicas {
    /// None of them.
    fn default() -> Self {
        Self::These(BTreeSet::new())
    }
}

impl ThrottledReplicas {
    /// Whether the replica that `broker` has of `partition` is throttled.
    pub fn has(&self, partition: i32, broker: BrokerId) -> bool {
        match self {
            Self::All => true,
            Self::These(replicas) => replicas.contains(&(partition, broker)),
        }
    }

    /// Those that a list names. What is no pair of numbers, or of numbers that no partition or broker has, names none.
    pub(super) fn of(items: &[String]) -> Self {
        if is_all(items) {
            return Self::All;
        }
        let pair = |item: &String| {
            let (partition, broker) = item.split_once(':')?;
            Some((partition.parse().ok()?, BrokerId(broker.parse().ok()?)))
        };
        Self::These(items.iter().filter_map(pair).collect())
    }
}

/// Whether a list may be set: one `*`, or pairs. Items without any text are passed over, as in Kafka.
pub(super) fn is_list(items: &[String]) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let pair = |item: &String| {
        item.split_once(':')
            .is_some_and(|(partition, broker)| digits(partition) && digits(broker))
    };
    is_all(items) || items.iter().all(|item| item.is_empty() || pair(item))
}

fn is_all(items: &[String]) -> bool {
    let mut named = items.iter().filter(|item| !item.is_empty());
    named.next().is_some_and(|item| item == "*") && named.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::super::value::split_list;
    use super::*;

    #[test]
    fn lists_are_those_of_kafka_and_name_what_they_say() {
        let of = |text: &str| {
            let items = split_list(text);
            is_list(&items).then(|| ThrottledReplicas::of(&items))
        };
        let these = |pairs: &[(i32, i32)]| {
            let pairs = pairs
                .iter()
                .map(|(partition, broker)| (*partition, BrokerId(*broker)));
            Some(ThrottledReplicas::These(pairs.collect()))
        };
        assert_eq!(of(""), Some(ThrottledReplicas::default()));
        assert_eq!(of("*"), Some(ThrottledReplicas::All));
        assert_eq!(of("*,"), Some(ThrottledReplicas::All));
        assert_eq!(of("0:1, 1:102,,"), these(&[(0, 1), (1, 102)]));
        assert_eq!(of("0:99999999999,3:4"), these(&[(3, 4)]));
        for bad in ["none", "0", "0:", ":1", "0:1:2", "-1:0", "*,0:1", "*,*", "0:x"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_replica_is_one_of_a_partition_and_a_broker() {
        let these = ThrottledReplicas::of(&split_list("0:1,2:3"));
        let has = |partition, broker| these.has(partition, BrokerId(broker));
        assert!(has(0, 1) && has(2, 3));
        assert!(!has(0, 3) && !has(1, 1));
        assert!(ThrottledReplicas::All.has(7, BrokerId(9)));
        assert!(!ThrottledReplicas::default().has(0, BrokerId(1)));
    }
}
