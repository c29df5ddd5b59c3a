//! What a handler knows about who asks.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use crate::wire::text::Text;

/// A listener as its connections see it.
#[derive(Debug)]
pub struct ListenerContext {
    /// The name in `listeners`, such as `PLAINTEXT`.
    pub name: Arc<str>,
    /// The security protocol that `listener.security.protocol.map` gives it.
    pub security_protocol: Arc<str>,
}

/// A connection: what does not change from request to request.
pub struct ConnectionContext {
    /// Kafka's form: `local-peer-number`.
    pub id: String,
    /// The listener it came in on.
    pub listener: Arc<ListenerContext>,
    /// The client's address.
    pub peer: SocketAddr,
    /// Who the client is. Without authentication all are `User:ANONYMOUS`.
    pub principal: &'static str,
    software: Mutex<Software>,
}

/// What the client said it is (KIP-511).
#[derive(Clone, Debug, Default)]
pub struct Software {
    /// Such as `apache-kafka-java`; empty when the client did not say.
    pub name: Text,
    /// Such as `3.9.2`.
    pub version: Text,
}

impl ConnectionContext {
    /// The connection `number` of the broker, from `peer`.
    pub fn new(listener: Arc<ListenerContext>, peer: SocketAddr, number: u64) -> Self {
        Self {
            id: format!("{}-{peer}-{number}", listener.name),
            listener,
            peer,
            principal: "User:ANONYMOUS",
            software: Mutex::default(),
        }
    }

    /// The client's address as members of groups show it: Java's `InetAddress.toString()`, such as `/10.0.0.5`, where
    /// no group of an IPv6 address is left out.
    pub fn client_host(&self) -> String {
        match self.peer.ip().to_canonical() {
            IpAddr::V4(address) => format!("/{address}"),
            IpAddr::V6(address) => {
                let groups = address.segments().map(|group| format!("{group:x}"));
                format!("/{}", groups.join(":"))
            }
        }
    }

    /// What the client said it is.
    pub fn software(&self) -> Software {
        self.software
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn set_software(&self, software: Software) {
        *self.software.lock().unwrap_or_else(PoisonError::into_inner) = software;
    }
}

/// A request: its header and its connection. Every handler gets one.
#[derive(Clone)]
pub struct RequestContext {
    /// Where it came from.
    pub connection: Arc<ConnectionContext>,
    /// The version that the client speaks and is answered in.
    pub api_version: i16,
    /// Pairs request and answer.
    pub correlation_id: i32,
    /// What the client calls itself (`client.id`).
    pub client_id: Option<Text>,
}

/// What is to be done to a resource (Kafka's `AclOperation`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "Kafka's names")]
pub enum Operation {
    Read,
    Write,
    Create,
    Delete,
    Alter,
    Describe,
    ClusterAction,
    DescribeConfigs,
    AlterConfigs,
    IdempotentWrite,
}

/// What something is done to (Kafka's `ResourceType` with its name).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resource<'a> {
    /// The cluster.
    Cluster,
    /// A consumer group, by id.
    Group(&'a str),
    /// A topic, by name.
    Topic(&'a str),
    /// A transactional id.
    TransactionalId(&'a str),
}

impl RequestContext {
    /// Whether the client may do `operation` to `resource`. No authorizer can be configured in this release
    /// (`authorizer.class.name` is refused), and Kafka without one allows everything.
    pub fn authorize(&self, _operation: Operation, _resource: Resource<'_>) -> bool {
        true
    }
}
