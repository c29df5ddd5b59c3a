//! `/brokers/topics/T`: a topic's id and where its partitions are (Kafka: `TopicZNode`). Written in version 3.

use crate::base::planted::planted;
use std::collections::BTreeMap;

use bytes::Bytes;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::{BadNode, write};
use crate::base::ids::{BrokerId, Uuid};

/// A list of replicas for each partition.
pub type Replicas = BTreeMap<i32, Vec<BrokerId>>;

/// A topic.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Topic {
    /// Its id; `None` in nodes that older versions wrote.
    pub id: Option<Uuid>,
    /// The replicas of each partition, the preferred leader first.
    pub partitions: Replicas,
    /// The replicas that a reassignment adds.
    pub adding: Replicas,
    /// The replicas that a reassignment removes.
    pub removing: Replicas,
}

#[derive(Deserialize)]
struct Json {
    partitions: BTreeMap<String, Vec<i32>>,
    #[serde(default)]
    topic_id: Option<String>,
    #[serde(default)]
    adding_replicas: BTreeMap<String, Vec<i32>>,
    #[serde(default)]
    removing_replicas: BTreeMap<String, Vec<i32>>,
}

/// Replicas as JSON: the partition's number is a text there.
struct Written<'a>(&'a Replicas);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (partition, replicas) in self.0 {
            let ids: Vec<i32> = replicas.iter().map(|id| id.get()).collect();
            map.serialize_entry(&partition.to_string(), &ids)?;
        }
        map.end()
    }
}

#[derive(Serialize)]
struct WrittenTopic<'a> {
    partitions: Written<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic_id: Option<String>,
    adding_replicas: Written<'a>,
    removing_replicas: Written<'a>,
    version: i32,
}

fn read(json: BTreeMap<String, Vec<i32>>) -> Result<Replicas, BadNode> {
    json.into_iter()
        .map(|(partition, replicas)| {
            let number = partition
                .parse::<i32>()
                .ok()
                .filter(|number| *number >= planted!("partition-negative", i32::MIN, 0))
                .ok_or_else(|| BadNode(format!("{partition:?} is no partition")))?;
            Ok((number, replicas.into_iter().map(BrokerId).collect()))
        })
        .collect()
}

impl Topic {
    /// The bytes of the node.
    pub fn encode(&self) -> Bytes {
        write(&WrittenTopic {
            partitions: Written(&self.partitions),
            topic_id: self.id.map(|id| id.to_string()),
            adding_replicas: Written(&self.adding),
            removing_replicas: Written(&self.removing),
            version: 3,
        })
    }

    /// The topic in these bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadNode> {
        let json: Json = serde_json::from_slice(bytes)?;
        let id = match json.topic_id {
            Some(text) => {
                Some(Uuid::parse(&text).ok_or_else(|| BadNode(format!("{text:?} is no topic id")))?)
            }
            None => None,
        };
        Ok(Self {
            id,
            partitions: read(json.partitions)?,
            adding: read(json.adding_replicas)?,
            removing: read(json.removing_replicas)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_versions_are_read_and_numbers_are_checked() {
        let one = Topic::decode(br#"{"version":1,"partitions":{"0":[1],"10":[2,1]}}"#).unwrap();
        assert_eq!(one.id, None);
        assert_eq!(one.partitions[&10], [BrokerId(2), BrokerId(1)]);
        for bad in [
            &br#"{"version":3}"#[..],
            br#"{"partitions":{"-1":[1]}}"#,
            br#"{"partitions":{"x":[1]}}"#,
            br#"{"partitions":{},"topic_id":"short"}"#,
            b"null",
        ] {
            assert!(Topic::decode(bad).is_err());
        }
    }
}
