//! `/brokers/ids/N`: a broker's registration (Kafka: `BrokerIdZNode`). Written in version 5, read from version 1.

use crate::base::planted::planted;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{BadNode, write};

/// What a broker says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Broker {
    /// Feature levels; a 3.9 without KRaft writes none.
    #[serde(default)]
    pub features: BTreeMap<String, FeatureRange>,
    /// Listener to security protocol.
    #[serde(default)]
    pub listener_security_protocol_map: BTreeMap<String, String>,
    /// `LISTENER://host:port`.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// The rack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<String>,
    /// The port of JMX, −1 without.
    pub jmx_port: i32,
    /// The port of the first PLAINTEXT endpoint, −1 without.
    #[serde(default = "minus_one")]
    pub port: i32,
    /// The host of the first PLAINTEXT endpoint.
    #[serde(default)]
    pub host: Option<String>,
    /// The version of this format.
    pub version: i32,
    /// When it was written, in milliseconds since 1970, as text.
    #[serde(default)]
    pub timestamp: String,
}

/// The levels of a feature that a broker knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FeatureRange {
    /// The lowest.
    pub min_version: i16,
    /// The highest.
    pub max_version: i16,
}

fn minus_one() -> i32 {
    -1
}

/// A listener of a broker: name, security protocol, host and port.
pub type BrokerEndpoint = (Arc<str>, Arc<str>, Arc<str>, i32);

impl Broker {
    /// The registration of a broker with these listeners: name, security protocol, host, port.
    pub fn new(listeners: &[BrokerEndpoint], rack: Option<&str>, now_ms: i64) -> Self {
        let plaintext = listeners
            .iter()
            .find(|(_, protocol, _, _)| &**protocol == "PLAINTEXT");
        Self {
            features: BTreeMap::new(),
            listener_security_protocol_map: listeners
                .iter()
                .map(|(name, protocol, _, _)| (name.to_string(), protocol.to_string()))
                .collect(),
            endpoints: listeners
                .iter()
                .map(|(name, _, host, port)| {
                    if host.contains(':') {
                        format!("{name}://[{host}]:{port}")
                    } else {
                        format!("{name}://{host}:{port}")
                    }
                })
                .collect(),
            rack: rack.map(str::to_owned),
            jmx_port: -1,
            port: plaintext.map_or(-1, |(_, _, _, port)| *port),
            host: plaintext.map(|(_, _, host, _)| host.to_string()),
            version: 5,
            timestamp: now_ms.to_string(),
        }
    }

    /// The bytes of the node.
    pub fn encode(&self) -> Bytes {
        write(self)
    }

    /// The registration in these bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadNode> {
        let broker: Self = serde_json::from_slice(bytes)?;
        if broker.version < 1 {
            return Err(BadNode(format!("version {} of a registration", broker.version)));
        }
        broker.listeners()?;
        Ok(broker)
    }

    /// Its listeners.
    pub fn listeners(&self) -> Result<Vec<BrokerEndpoint>, BadNode> {
        if self.version < 2 {
            let host = self.host.as_deref().unwrap_or_default();
            return Ok(vec![(
                "PLAINTEXT".into(),
                "PLAINTEXT".into(),
                host.into(),
                self.port,
            )]);
        }
        let mut listeners: Vec<BrokerEndpoint> = Vec::new();
        for endpoint in &self.endpoints {
            let bad = || BadNode(format!("{endpoint:?} is no endpoint"));
            let (name, address) = endpoint.split_once("://").ok_or_else(bad)?;
            let (host, port) = address.rsplit_once(':').ok_or_else(bad)?;
            let host = host
                .strip_prefix('[')
                .and_then(|host| host.strip_suffix(']'))
                .unwrap_or(host);
            let port = planted!(
                "endpoint-port-there",
                port.parse().unwrap(),
                port.parse().map_err(|_| bad())?
            );
            let name = name.to_uppercase();
            let protocol = match self.listener_security_protocol_map.get(&name) {
                Some(protocol) => protocol.clone(),
                None if self.listener_security_protocol_map.is_empty() => name.clone(),
                None => return Err(BadNode(format!("the protocol of listener {name} is missing"))),
            };
            if planted!(
                "endpoint-twice",
                false,
                listeners.iter().any(|(other, ..)| **other == *name)
            ) {
                return Err(BadNode(format!("listener {name} is there twice")));
            }
            listeners.push((name.into(), protocol.into(), host.into(), port));
        }
        Ok(listeners)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_as_they_are_written() {
        let listeners: Vec<BrokerEndpoint> = vec![
            ("CLIENTS".into(), "SASL_SSL".into(), "::1".into(), 9093),
            (
                "INTERNAL".into(),
                "PLAINTEXT".into(),
                "kafka.example".into(),
                9092,
            ),
        ];
        let broker = Broker::new(&listeners, Some("r1"), 5);
        assert_eq!(broker.endpoints[0], "CLIENTS://[::1]:9093");
        assert_eq!(
            (broker.port, broker.host.as_deref()),
            (9092, Some("kafka.example"))
        );
        let again = Broker::decode(&broker.encode()).unwrap();
        assert_eq!(again, broker);
        assert_eq!(again.listeners().unwrap(), listeners);
    }

    /// What a broker of 3.9 writes (`BrokerIdZNode.encode`), member by member: one that lacks something stops Kafka's.
    #[test]
    fn what_is_registered_is_what_a_broker_of_kafka_registers() {
        let plain = [("PLAINTEXT".into(), "PLAINTEXT".into(), "h1".into(), 9092)];
        assert_eq!(
            Broker::new(&plain, Some("r1"), 1_700_000_000_000).encode(),
            r#"{"features":{},"listener_security_protocol_map":{"PLAINTEXT":"PLAINTEXT"},"endpoints":["PLAINTEXT://h1:9092"],"rack":"r1","jmx_port":-1,"port":9092,"host":"h1","version":5,"timestamp":"1700000000000"}"#
        );
        let safe = [("SAFE".into(), "SASL_SSL".into(), "h1".into(), 9093)];
        assert_eq!(
            Broker::new(&safe, None, 5).encode(),
            r#"{"features":{},"listener_security_protocol_map":{"SAFE":"SASL_SSL"},"endpoints":["SAFE://h1:9093"],"jmx_port":-1,"port":-1,"host":null,"version":5,"timestamp":"5"}"#
        );
    }

    #[test]
    fn older_and_odd_registrations_are_read_and_broken_ones_refused() {
        let one = br#"{"version":1,"host":"h","port":9092,"jmx_port":-1}"#;
        assert_eq!(Broker::decode(one).unwrap().listeners().unwrap()[0].3, 9092);
        let odd = br#"{"version":9,"jmx_port":-1,"endpoints":["plaintext://h:1"],"rack":null,"new":{}}"#;
        assert_eq!(
            &*Broker::decode(odd).unwrap().listeners().unwrap()[0].1,
            "PLAINTEXT"
        );
        for bad in [
            &br#"{"version":5}"#[..],
            br#"{"version":5,"jmx_port":-1,"endpoints":["nonsense"]}"#,
            br#"{"version":5,"jmx_port":-1,"endpoints":["A://h:1"],"listener_security_protocol_map":{"B":"SSL"}}"#,
            br#"{"version":5,"jmx_port":-1,"endpoints":["A://h:1","a://h:2"]}"#,
            b"",
        ] {
            assert!(Broker::decode(bad).is_err());
        }
    }
}
