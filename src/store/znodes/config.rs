//! `/config/<type>/<entity>` and the notifications of its changes (Kafka: `ConfigEntityZNode`,
//! `ConfigEntityChangeNotificationZNode`).

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{BadNode, write};

/// The configs of an entity.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EntityConfig {
    version: i32,
    /// Key and value.
    pub config: BTreeMap<String, String>,
}

impl EntityConfig {
    /// The node of these configs.
    pub fn new(config: BTreeMap<String, String>) -> Self {
        Self { version: 1, config }
    }

    /// The bytes of the node.
    pub fn encode(&self) -> Bytes {
        write(self)
    }

    /// The configs in these bytes; none at all is the same as no configs.
    pub fn decode(bytes: Option<&[u8]>) -> Result<Self, BadNode> {
        match bytes {
            Some(bytes) if !bytes.is_empty() => Ok(serde_json::from_slice(bytes)?),
            _ => Ok(Self::new(BTreeMap::new())),
        }
    }
}

/// A notification: whose configs have changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigChange {
    /// The path of the entity below `/config`, such as `topics/t` or `brokers/<default>`.
    pub entity_path: String,
}

#[derive(Serialize, Deserialize)]
struct ChangeJson {
    version: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entity_path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entity_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entity_name: Option<String>,
}

impl ConfigChange {
    /// The bytes of the node.
    pub fn encode(&self) -> Bytes {
        write(&ChangeJson {
            version: 2,
            entity_path: Some(self.entity_path.clone()),
            entity_type: None,
            entity_name: None,
        })
    }

    /// The change in these bytes, in either version.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadNode> {
        let json: ChangeJson = serde_json::from_slice(bytes)?;
        let entity_path = match (json.version, json.entity_path, json.entity_type, json.entity_name) {
            (1, _, Some(kind), Some(name)) if kind == "topics" || kind == "clients" => {
                format!("{kind}/{name}")
            }
            (2, Some(path), _, _) => path,
            (version, ..) => {
                return Err(BadNode(format!(
                    "a notification of version {version} without an entity"
                )));
            }
        };
        Ok(Self { entity_path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_notifications_are_read() {
        let old = br#"{"version":1,"entity_type":"topics","entity_name":"t"}"#;
        assert_eq!(ConfigChange::decode(old).unwrap().entity_path, "topics/t");
        assert!(ConfigChange::decode(br#"{"version":1,"entity_type":"users","entity_name":"t"}"#).is_err());
        assert!(ConfigChange::decode(br#"{"version":2}"#).is_err());
    }

    #[test]
    fn a_node_without_data_has_no_configs() {
        assert!(EntityConfig::decode(None).unwrap().config.is_empty());
        assert!(EntityConfig::decode(Some(b"")).unwrap().config.is_empty());
        assert!(EntityConfig::decode(Some(b"[]")).is_err());
    }
}
