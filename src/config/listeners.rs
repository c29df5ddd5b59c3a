//! Listener maps: which addresses the broker listens on and which it tells its clients (`SocketServerConfigs`,
//! `CoreUtils.listenerListToEndPoints`, `KafkaConfig.validateValues`).
//!
//! Invariant: names are upper case and unique, every listener is PLAINTEXT, each advertised name is a listener.

use crate::base::planted::planted;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use super::error::ConfigError;

const LISTENERS: &str = "listeners";
const ADVERTISED: &str = "advertised.listeners";
const PROTOCOL_MAP: &str = "listener.security.protocol.map";

/// An address of the broker under a listener's name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// The listener's name, upper case.
    pub name: String,
    /// Host name or address, without brackets; empty stands for all interfaces.
    pub host: String,
    /// The port; 0 lets the system choose.
    pub port: u16,
}

impl Endpoint {
    /// True when this listens on every interface.
    pub fn is_wildcard(&self) -> bool {
        self.host.is_empty() || is_unspecified(&self.host)
    }
}

/// True for an address that stands for all: `0.0.0.0` and `::`, in each form that resolvers take for them.
fn is_unspecified(host: &str) -> bool {
    // A number in fewer parts than four, each of them decimal, octal or hexadecimal.
    let is_zero = |part: &str| {
        let digits = part.strip_prefix("0x").or_else(|| part.strip_prefix("0X"));
        let digits = digits.unwrap_or(part);
        !digits.is_empty() && digits.bytes().all(|digit| digit == b'0')
    };
    if host.split('.').all(is_zero) && host.split('.').count() <= 4 {
        return true;
    }
    let (address, _zone) = host.split_once('%').unwrap_or((host, ""));
    match address.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_unspecified(),
        Err(_) => false,
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "{}://[{}]:{}", self.name, self.host, self.port)
        } else {
            write!(f, "{}://{}:{}", self.name, self.host, self.port)
        }
    }
}

/// The listener keys as they were set.
pub(super) struct Texts<'a> {
    pub listeners: &'a str,
    pub advertised: Option<&'a str>,
    pub protocol_map: &'a str,
    pub inter_broker_name: Option<&'a str>,
    pub control_plane_name: Option<&'a str>,
    /// Taken for the host of a listener on all interfaces when nothing is advertised.
    pub host_name: &'a str,
}

/// All listeners of a broker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Listeners {
    pub listeners: Vec<Endpoint>,
    pub advertised: Vec<Endpoint>,
    pub inter_broker: String,
    pub control_plane: Option<String>,
}

impl Listeners {
    pub(super) fn parse(texts: &Texts<'_>) -> Result<Self, ConfigError> {
        let protocols = protocol_map(texts.protocol_map)?;
        let listeners = endpoints(LISTENERS, texts.listeners, &protocols)?;
        if listeners.is_empty() {
            return Err(ConfigError::new(
                LISTENERS,
                texts.listeners,
                "must name at least one listener",
            ));
        }
        distinct_names(LISTENERS, texts.listeners, &listeners)?;
        distinct_ports(texts.listeners, &listeners)?;
        let advertised = match texts.advertised {
            Some(text) => {
                let advertised = endpoints(ADVERTISED, text, &protocols)?;
                distinct_names(ADVERTISED, text, &advertised)?;
                if advertised.is_empty() {
                    return Err(ConfigError::new(
                        ADVERTISED,
                        text,
                        "must name at least one listener",
                    ));
                }
                for endpoint in &advertised {
                    if !listeners.iter().any(|listener| listener.name == endpoint.name) {
                        return Err(ConfigError::new(
                            ADVERTISED,
                            text,
                            format!("{} is not among the names in listeners", endpoint.name),
                        ));
                    }
                }
                advertised
            }
            None => listeners.clone(),
        };
        let advertised = with_hosts(advertised, texts)?;
        let inter_broker = inter_broker(texts, &protocols, &advertised)?;
        let control_plane = control_plane(texts, &protocols, &advertised, &inter_broker)?;
        Ok(Self {
            listeners,
            advertised,
            inter_broker,
            control_plane,
        })
    }

    /// True when `name`, as it stands in a key of one listener, is that of a listener: its name in lower case
    /// (`ListenerName.configPrefix`).
    pub(super) fn have(&self, name: Option<&str>) -> bool {
        let is = |endpoint: &Endpoint| name == Some(endpoint.name.to_lowercase().as_str());
        self.listeners.iter().any(is)
    }
}

/// Fills in the host name where none is given, and refuses addresses that nobody can connect to.
fn with_hosts(advertised: Vec<Endpoint>, texts: &Texts<'_>) -> Result<Vec<Endpoint>, ConfigError> {
    advertised
        .into_iter()
        .map(|mut endpoint| {
            if endpoint.host.is_empty() {
                endpoint.host = texts.host_name.to_owned();
            }
            if endpoint.is_wildcard() {
                let (key, value) = match texts.advertised {
                    Some(text) => (ADVERTISED, text),
                    None => (LISTENERS, texts.listeners),
                };
                return Err(ConfigError::new(
                    key,
                    value,
                    format!(
                        "clients cannot connect to {}: name a reachable host in {ADVERTISED}",
                        endpoint.host
                    ),
                ));
            }
            Ok(endpoint)
        })
        .collect()
}

fn inter_broker(
    texts: &Texts<'_>,
    protocols: &BTreeMap<String, String>,
    advertised: &[Endpoint],
) -> Result<String, ConfigError> {
    const KEY: &str = "inter.broker.listener.name";
    let name = texts.inter_broker_name.unwrap_or("PLAINTEXT").to_uppercase();
    if texts.inter_broker_name.is_some() {
        has_protocol(KEY, &name, protocols)?;
    }
    is_advertised(KEY, &name, advertised)?;
    Ok(name)
}

/// The listener for what the controller and the brokers ask each other (KIP-291). No text is no listener.
fn control_plane(
    texts: &Texts<'_>,
    protocols: &BTreeMap<String, String>,
    advertised: &[Endpoint],
    inter_broker: &str,
) -> Result<Option<String>, ConfigError> {
    const KEY: &str = "control.plane.listener.name";
    let Some(name) = texts.control_plane_name.filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let name = name.to_uppercase();
    has_protocol(KEY, &name, protocols)?;
    is_advertised(KEY, &name, advertised)?;
    if name == inter_broker {
        let rule = "must not be the listener of inter.broker.listener.name";
        return Err(ConfigError::new(KEY, name, rule));
    }
    Ok(Some(name))
}

fn has_protocol(key: &str, name: &str, protocols: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    if protocols.contains_key(name) {
        return Ok(());
    }
    Err(ConfigError::new(
        key,
        name,
        format!("has no entry in {PROTOCOL_MAP}"),
    ))
}

fn is_advertised(key: &str, name: &str, advertised: &[Endpoint]) -> Result<(), ConfigError> {
    if advertised.iter().any(|endpoint| endpoint.name == name) {
        return Ok(());
    }
    let names: Vec<_> = advertised.iter().map(|endpoint| endpoint.name.as_str()).collect();
    let rule = format!("must be one of the advertised listeners: {}", names.join(", "));
    Err(ConfigError::new(key, name, rule))
}

fn protocol_map(text: &str) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut map = BTreeMap::new();
    for item in items(text) {
        let fail = |rule| ConfigError::new(PROTOCOL_MAP, text, rule);
        let (name, protocol) = item
            .split_once(':')
            .ok_or_else(|| fail(format!("{item} is not of the form NAME:PROTOCOL")))?;
        let protocol = protocol.trim().to_uppercase();
        if !["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"].contains(&protocol.as_str()) {
            return Err(fail(format!("{protocol} is not a security protocol")));
        }
        map.insert(name.trim().to_uppercase(), protocol);
    }
    Ok(map)
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn endpoints(
    key: &str,
    text: &str,
    protocols: &BTreeMap<String, String>,
) -> Result<Vec<Endpoint>, ConfigError> {
    items(text)
        .map(|item| {
            let fail = |rule: String| ConfigError::new(key, text, rule);
            let endpoint =
                endpoint(item).ok_or_else(|| fail(format!("{item} is not of the form NAME://host:port")))?;
            match protocols.get(&endpoint.name).map(String::as_str) {
                Some("PLAINTEXT") => Ok(endpoint),
                Some(protocol) => Err(fail(format!(
                    "{protocol} is not there yet; only PLAINTEXT works (listener {})",
                    endpoint.name
                ))),
                None => Err(fail(format!("{} has no entry in {PROTOCOL_MAP}", endpoint.name))),
            }
        })
        .collect()
}

fn endpoint(item: &str) -> Option<Endpoint> {
    let (name, address) = item.split_once("://")?;
    let (host, port) = address.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => planted!(
            "listener-bracket-there",
            &inner[..inner.len() - 1],
            inner.strip_suffix(']')?
        ),
        None => host,
    };
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-%._:".contains(&byte);
    if name.is_empty() || !host.bytes().all(known) || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(Endpoint {
        name: name.to_uppercase(),
        host: host.to_owned(),
        port: port.parse().ok()?,
    })
}

fn distinct_names(key: &str, text: &str, endpoints: &[Endpoint]) -> Result<(), ConfigError> {
    for (at, endpoint) in endpoints.iter().enumerate() {
        if endpoints
            .iter()
            .skip(at + 1)
            .any(|other| other.name == endpoint.name)
        {
            return Err(ConfigError::new(
                key,
                text,
                format!("{} comes twice; names must differ", endpoint.name),
            ));
        }
    }
    Ok(())
}

/// Ports must differ, but for one IPv4 and one IPv6 address that share a port. Port 0 is never the same.
fn distinct_ports(text: &str, endpoints: &[Endpoint]) -> Result<(), ConfigError> {
    let family = |endpoint: &Endpoint| endpoint.host.parse::<IpAddr>().ok().map(|host| host.is_ipv4());
    for (at, endpoint) in endpoints.iter().enumerate() {
        let same: Vec<_> = endpoints
            .iter()
            .skip(at + 1)
            .filter(|other| other.port == endpoint.port && endpoint.port != 0)
            .collect();
        let pair = match same.as_slice() {
            [] => true,
            [other] => {
                matches!((family(endpoint), family(other)), (Some(one), Some(two)) if one != two)
            }
            _ => false,
        };
        if !pair {
            return Err(ConfigError::new(
                LISTENERS,
                text,
                format!(
                    "port {} comes twice; ports must differ, unless one address is IPv4 and the other IPv6",
                    endpoint.port
                ),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT";

    fn parse(listeners: &str, advertised: Option<&str>, map: &str) -> Result<Listeners, String> {
        Listeners::parse(&Texts {
            listeners,
            advertised,
            protocol_map: map,
            inter_broker_name: None,
            control_plane_name: None,
            host_name: "box.example",
        })
        .map_err(|error| error.to_string())
    }

    fn shown(endpoints: &[Endpoint]) -> Vec<String> {
        endpoints.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn several_listeners_and_ipv6() {
        let map = "PLAINTEXT:PLAINTEXT, inner:PLAINTEXT";
        let all = parse(
            "plaintext://127.0.0.1:9092, PLAINTEXT2://x:1",
            None,
            "PLAINTEXT:PLAINTEXT,plaintext2:PLAINTEXT",
        )
        .unwrap();
        assert_eq!(
            shown(&all.listeners),
            ["PLAINTEXT://127.0.0.1:9092", "PLAINTEXT2://x:1"]
        );
        let all = parse(
            "PLAINTEXT://[::1]:9092,INNER://127.0.0.1:9092",
            Some("INNER://b:7,PLAINTEXT://a:7"),
            map,
        )
        .unwrap();
        assert_eq!(
            shown(&all.listeners),
            ["PLAINTEXT://[::1]:9092", "INNER://127.0.0.1:9092"]
        );
        assert_eq!(shown(&all.advertised), ["INNER://b:7", "PLAINTEXT://a:7"]);
        assert_eq!(all.inter_broker, "PLAINTEXT");
    }

    #[test]
    fn all_interfaces_advertise_the_host_name() {
        let all = parse("PLAINTEXT://:0", None, MAP).unwrap();
        assert_eq!(shown(&all.advertised), ["PLAINTEXT://box.example:0"]);
    }

    #[test]
    fn unreachable_addresses_are_refused() {
        for (listeners, advertised) in [
            ("PLAINTEXT://0.0.0.0:9092", None),
            ("PLAINTEXT://[::]:9092", None),
            ("PLAINTEXT://:9092", Some("PLAINTEXT://0.0.0.0:9092")),
            ("PLAINTEXT://:9092", Some("PLAINTEXT://[::]:9092")),
            ("PLAINTEXT://:9092", Some("PLAINTEXT://000.0.0.0:9092")),
            ("PLAINTEXT://:9092", Some("PLAINTEXT://0:9092")),
            ("PLAINTEXT://:9092", Some("PLAINTEXT://0x0.00:9092")),
            ("PLAINTEXT://:9092", Some("PLAINTEXT://[::ffff:0.0.0.0]:9092")),
            ("PLAINTEXT://:9092", Some("PLAINTEXT://[0:0:0:0:0:0:0:0]:9092")),
            ("PLAINTEXT://:9092", Some("PLAINTEXT://[::%eth0]:9092")),
        ] {
            assert!(
                parse(listeners, advertised, MAP)
                    .unwrap_err()
                    .contains("cannot connect"),
                "{listeners} {advertised:?}"
            );
        }
        for host in ["0.0.0.1", "0.0.0.0.0", "0x.example", "x0", "[::1]", "10.0.0.0"] {
            let advertised = format!("PLAINTEXT://{host}:9092");
            assert!(
                parse("PLAINTEXT://:9092", Some(&advertised), MAP).is_ok(),
                "{host}"
            );
        }
    }

    #[test]
    fn other_protocols_are_refused_by_name() {
        for name in ["SSL", "SASL_PLAINTEXT", "SASL_SSL"] {
            let error = parse(&format!("{name}://:9093"), None, MAP).unwrap_err();
            assert!(error.contains(&format!("{name} is not there yet")), "{error}");
        }
        assert!(parse("OTHER://:1", None, MAP).unwrap_err().contains("no entry"));
    }

    #[test]
    fn duplicates_are_refused() {
        let map = "A:PLAINTEXT,PLAINTEXT:PLAINTEXT,C:PLAINTEXT";
        for bad in [
            "A://x:1,PLAINTEXT://y:1",
            "PLAINTEXT://x:1,PLAINTEXT://x:2",
            "A://127.0.0.1:1,PLAINTEXT://127.0.0.2:1",
            "A://127.0.0.1:1,PLAINTEXT://[::1]:1,C://x:1",
            "A://x:1,PLAINTEXT://127.0.0.1:1,C://[::1]:1",
        ] {
            assert!(
                parse(bad, None, map).unwrap_err().contains("comes twice"),
                "{bad}"
            );
        }
        assert!(parse("A://x:0,PLAINTEXT://y:0", None, map).is_ok());
    }

    #[test]
    fn malformed_listeners_are_refused() {
        for bad in [
            "",
            " , ",
            "9092",
            "PLAINTEXT:9092",
            "PLAINTEXT://host",
            "PLAINTEXT://h:-1",
            "PLAINTEXT://h:65536",
            "PLAINTEXT://h h:1",
            "://h:1",
            "PLAINTEXT://[::1:1",
        ] {
            assert!(parse(bad, None, MAP).is_err(), "{bad}");
        }
        assert!(parse("PLAINTEXT://h:1", None, "PLAINTEXT").is_err());
        assert!(parse("PLAINTEXT://h:1", None, "PLAINTEXT:TLS").is_err());
        assert!(
            parse(
                "PLAINTEXT://h:1",
                Some("OTHER://h:1"),
                "PLAINTEXT:PLAINTEXT,OTHER:PLAINTEXT"
            )
            .is_err()
        );
    }
}
