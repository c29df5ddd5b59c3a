//! `/barnabas/new_partitions/T`: partitions that were created and that no broker is known to have yet. Ours.
//!
//! A broker that stops between the two has no folders for them, and that is no loss: nobody has been told that they
//! are there. A partition that is not in this list must have a folder on each of its replicas.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{BadNode, write};

/// The format that is written, and the newest that is read.
const VERSION: i32 = 1;

/// New partitions of a topic.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NewPartitions {
    version: i32,
    /// Their numbers.
    pub partitions: BTreeSet<i32>,
}

impl NewPartitions {
    /// The node of these partitions.
    pub fn new(partitions: impl IntoIterator<Item = i32>) -> Self {
        Self {
            version: VERSION,
            partitions: partitions.into_iter().collect(),
        }
    }

    /// The bytes of the node.
    pub fn encode(&self) -> Bytes {
        write(self)
    }

    /// The partitions in these bytes; an error also for a newer format.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadNode> {
        let node: Self = serde_json::from_slice(bytes)?;
        if node.version > VERSION {
            return Err(BadNode(format!(
                "format {} was written by a newer version of Barnabas; this one reads up to {VERSION}",
                node.version
            )));
        }
        Ok(node)
    }
}
