//! `/brokers/topics/T/partitions/P/state` (Kafka: `TopicPartitionStateZNode`). Its version is the partition epoch.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{BadNode, write};
use crate::base::ids::{BrokerId, ControllerEpoch, LeaderEpoch};

/// Who leads a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionState {
    /// The epoch of the controller that wrote it.
    pub controller_epoch: ControllerEpoch,
    /// The leader, if there is one.
    pub leader: Option<BrokerId>,
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// The replicas that are in sync.
    pub isr: Vec<BrokerId>,
    /// True after an unclean election until the leader has recovered.
    pub recovering: bool,
}

#[derive(Serialize, Deserialize)]
struct Json {
    controller_epoch: i32,
    leader: i32,
    version: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leader_recovery_state: Option<i8>,
    leader_epoch: i32,
    isr: Vec<i32>,
}

impl PartitionState {
    /// The bytes of the node.
    pub fn encode(&self) -> Bytes {
        write(&Json {
            controller_epoch: self.controller_epoch.get(),
            leader: self.leader.map_or(-1, BrokerId::get),
            version: 1,
            leader_recovery_state: self.recovering.then_some(1),
            leader_epoch: self.leader_epoch.get(),
            isr: self.isr.iter().map(|id| id.get()).collect(),
        })
    }

    /// The state in these bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadNode> {
        let json: Json = serde_json::from_slice(bytes)?;
        Ok(Self {
            controller_epoch: ControllerEpoch(json.controller_epoch),
            leader: Some(BrokerId(json.leader)).filter(|leader| leader.get() >= 0),
            leader_epoch: LeaderEpoch(json.leader_epoch),
            isr: json.isr.into_iter().map(BrokerId).collect(),
            recovering: json.leader_recovery_state == Some(1),
        })
    }
}
