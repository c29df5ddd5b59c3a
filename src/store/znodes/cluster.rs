//! The nodes that there is one of: `/controller`, `/controller_epoch`, `/cluster/id`, `/feature` and
//! `/latest_producer_id_block`.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{BadNode, write};
use crate::base::ids::{BrokerId, ControllerEpoch};

/// `/controller`: who the active controller is (Kafka: `ControllerZNode`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Controller {
    /// The version of this format.
    pub version: i32,
    /// The controller.
    pub brokerid: i32,
    /// When it was elected, in milliseconds since 1970, as text.
    #[serde(default)]
    pub timestamp: String,
    /// −1: a controller on ZooKeeper, not KRaft.
    #[serde(default = "no_epoch", rename = "kraftControllerEpoch")]
    pub kraft_controller_epoch: i32,
}

fn no_epoch() -> i32 {
    -1
}

impl Controller {
    /// This broker as controller.
    pub fn new(broker: BrokerId, now_ms: i64) -> Self {
        Self {
            version: 2,
            brokerid: broker.get(),
            timestamp: now_ms.to_string(),
            kraft_controller_epoch: -1,
        }
    }

    /// The bytes of the node.
    pub fn encode(&self) -> Bytes {
        write(self)
    }

    /// The controller in these bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadNode> {
        Ok(serde_json::from_slice(bytes)?)
    }
}

/// The bytes of `/controller_epoch`: a decimal number.
pub fn encode_epoch(epoch: ControllerEpoch) -> Bytes {
    Bytes::from(epoch.to_string())
}

/// The number in `/controller_epoch`.
pub fn decode_epoch(bytes: &[u8]) -> Result<ControllerEpoch, BadNode> {
    std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| text.parse().ok())
        .map(ControllerEpoch)
        .ok_or_else(|| BadNode("the controller's epoch is no number".to_owned()))
}

/// `/cluster/id` (Kafka: `ClusterIdZNode`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClusterId {
    version: String,
    /// The id.
    pub id: String,
}

impl ClusterId {
    /// The node of this id.
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            version: "1".to_owned(),
            id: id.into(),
        }
    }

    /// The bytes of the node.
    pub fn encode(&self) -> Bytes {
        write(self)
    }

    /// The id in these bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadNode> {
        Ok(serde_json::from_slice(bytes)?)
    }
}

/// `/feature` (Kafka: `FeatureZNode`). Beside JVM brokers the features must stay empty.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Feature {
    /// Finalized levels.
    pub features: BTreeMap<String, serde_json::Value>,
    /// The version of this format.
    pub version: i32,
    /// 1: enabled.
    pub status: i32,
}

impl Default for Feature {
    fn default() -> Self {
        Self {
            features: BTreeMap::new(),
            version: 2,
            status: 1,
        }
    }
}

impl Feature {
    /// The bytes of the node.
    pub fn encode(&self) -> Bytes {
        write(self)
    }

    /// The features in these bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadNode> {
        Ok(serde_json::from_slice(bytes)?)
    }
}

/// `/latest_producer_id_block` (Kafka: `ProducerIdBlockZNode`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducerIdBlock {
    /// The broker that got it.
    pub broker: BrokerId,
    /// The first id.
    pub first: i64,
    /// The last id.
    pub last: i64,
}

#[derive(Serialize, Deserialize)]
struct BlockJson {
    version: i32,
    broker: i32,
    block_start: String,
    block_end: String,
}

impl ProducerIdBlock {
    /// How many ids a block has.
    pub const LENGTH: i64 = 1000;

    /// The block behind `last`, the one that was given out last; `None` when the numbers are used up.
    pub fn next(last: Option<Self>, broker: BrokerId) -> Option<Self> {
        let first = match last {
            Some(last) => last.last.checked_add(1)?,
            None => 0,
        };
        Some(Self {
            broker,
            first,
            last: first.checked_add(Self::LENGTH - 1)?,
        })
    }

    /// The bytes of the node.
    pub fn encode(&self) -> Bytes {
        write(&BlockJson {
            version: 1,
            broker: self.broker.get(),
            block_start: self.first.to_string(),
            block_end: self.last.to_string(),
        })
    }

    /// The block in these bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadNode> {
        let json: BlockJson = serde_json::from_slice(bytes)?;
        let number = |text: &str| {
            text.parse::<i64>()
                .ok()
                .filter(|number| *number >= 0)
                .ok_or_else(|| BadNode(format!("{text:?} is no producer id")))
        };
        Ok(Self {
            broker: BrokerId(json.broker),
            first: number(&json.block_start)?,
            last: number(&json.block_end)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_follow_each_other_and_end() {
        let one = ProducerIdBlock::next(None, BrokerId(1)).unwrap();
        assert_eq!((one.first, one.last), (0, 999));
        let two = ProducerIdBlock::next(Some(one), BrokerId(2)).unwrap();
        assert_eq!((two.first, two.last), (1000, 1999));
        let end = ProducerIdBlock {
            last: i64::MAX - 10,
            ..two
        };
        assert_eq!(ProducerIdBlock::next(Some(end), BrokerId(1)), None);
    }
}
