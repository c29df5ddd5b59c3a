//! `/barnabas/eligible_replicas/T/P`: what the ISR alone does not tell of a partition's replicas (after KIP-966). Ours.
//!
//! A node holds for one state of the partition, which it names by its partition epoch; written in one change with it.
//! Beside any other state, such as one that a controller of Kafka wrote, it is void.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{BadNode, write};
use crate::base::ids::{BrokerId, TopicId, Uuid};

/// The format that is written, and the newest that is read.
const VERSION: i32 = 1;

/// Replicas with more, or less, than the ISR says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EligibleReplicas {
    /// The topic.
    pub topic_id: TopicId,
    /// The state, by the version of its node.
    pub partition_epoch: i32,
    /// Those that left the ISR when it had become too small to acknowledge anything: they have all that was.
    pub eligible: Vec<BrokerId>,
    /// Those, of the ISR and of the eligible, that came back without what they had not synced.
    pub suspect: Vec<BrokerId>,
}

#[derive(Serialize, Deserialize)]
struct Json {
    version: i32,
    topic_id: String,
    partition_epoch: i32,
    eligible: Vec<i32>,
    suspect: Vec<i32>,
}

impl EligibleReplicas {
    /// The bytes of the node.
    pub fn encode(&self) -> Bytes {
        let ids = |brokers: &[BrokerId]| brokers.iter().map(|id| id.get()).collect();
        write(&Json {
            version: VERSION,
            topic_id: self.topic_id.to_string(),
            partition_epoch: self.partition_epoch,
            eligible: ids(&self.eligible),
            suspect: ids(&self.suspect),
        })
    }

    /// The replicas in these bytes; an error also for a newer format.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadNode> {
        let json: Json = serde_json::from_slice(bytes)?;
        if json.version > VERSION {
            return Err(BadNode(format!(
                "format {} was written by a newer version of Barnabas; this one reads up to {VERSION}",
                json.version
            )));
        }
        let topic_id = Uuid::parse(&json.topic_id);
        Ok(Self {
            topic_id: topic_id.ok_or_else(|| BadNode(format!("{:?} is no topic id", json.topic_id)))?,
            partition_epoch: json.partition_epoch,
            eligible: json.eligible.into_iter().map(BrokerId).collect(),
            suspect: json.suspect.into_iter().map(BrokerId).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    #[test]
    fn what_is_written_is_read_and_a_newer_format_is_not() {
        let node = EligibleReplicas {
            topic_id: Random::from_seed(1).uuid(),
            partition_epoch: 7,
            eligible: vec![BrokerId(2), BrokerId(3)],
            suspect: vec![BrokerId(1)],
        };
        assert_eq!(EligibleReplicas::decode(&node.encode()).unwrap(), node);
        let newer = String::from_utf8(node.encode().to_vec()).unwrap();
        let newer = newer.replace("\"version\":1", "\"version\":2");
        assert!(EligibleReplicas::decode(newer.as_bytes()).is_err());
        assert!(EligibleReplicas::decode(b"{}").is_err());
    }
}
