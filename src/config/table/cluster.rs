//! Keys: identity, ZooKeeper and KRaft.
//!
//! Names, types, defaults, bounds and scopes are those of Kafka 3.9.2, read out of its own definitions.

use super::Kind::{Boolean, Int, List, Long, Password, Text};
use super::Rule::{Any, EachOf, Min};
use super::Scope::{ClusterWide, ReadOnly};
use super::Support::{Honoured, Refused, Stops, Warned};
use super::{Key, k};

/// The rows, by name.
#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    k("accept.missing.log.dirs", Boolean, Some("false"), Any, ReadOnly, Honoured, "a broker that stands alone starts although a log directory is missing, or unreadable, that may know more than the others: what only that one knows is lost").of_barnabas(),
    k("authorizer.class.name", Text, Some(""), Any, ReadOnly, Refused, "a class that decides who may do what"),
    k("background.threads", Int, Some("10"), Min(1), ClusterWide, Warned, "threads for odd jobs"),
    k("broker.heartbeat.interval.ms", Int, Some("2000"), Any, ReadOnly, Warned, "KRaft: how often a broker reports to the controller"),
    k("broker.id", Int, Some("-1"), Any, ReadOnly, Honoured, "this broker's number; -1: the one in its directories, or a new one"),
    k("broker.id.generation.enable", Boolean, Some("true"), Any, ReadOnly, Honoured, "a broker without a number gets one"),
    k("broker.rack", Text, None, Any, ReadOnly, Honoured, "where the broker stands, for spreading replicas"),
    k("broker.session.timeout.ms", Int, Some("9000"), Any, ReadOnly, Warned, "KRaft: silence after which a broker is fenced"),
    k("controller.candidate", Boolean, Some("true"), Any, ReadOnly, Honoured, "whether this broker may become the controller of its cluster; one that may not follows whoever is").of_barnabas(),
    k("controller.listener.names", Text, None, Any, ReadOnly, Refused, "KRaft: listeners of the controller"),
    k("controller.quorum.append.linger.ms", Int, Some("25"), Any, ReadOnly, Stops, "KRaft quorum"),
    k("controller.quorum.bootstrap.servers", List, Some(""), Any, ReadOnly, Stops, "KRaft quorum"),
    k("controller.quorum.election.backoff.max.ms", Int, Some("1000"), Any, ReadOnly, Stops, "KRaft quorum"),
    k("controller.quorum.election.timeout.ms", Int, Some("1000"), Any, ReadOnly, Stops, "KRaft quorum"),
    k("controller.quorum.fetch.timeout.ms", Int, Some("2000"), Any, ReadOnly, Stops, "KRaft quorum"),
    k("controller.quorum.request.timeout.ms", Int, Some("2000"), Any, ReadOnly, Stops, "KRaft quorum"),
    k("controller.quorum.retry.backoff.ms", Int, Some("20"), Any, ReadOnly, Stops, "KRaft quorum"),
    k("controller.quorum.voters", List, Some(""), Any, ReadOnly, Stops, "KRaft quorum"),
    k("eligible.leader.replicas.enable", Boolean, Some("false"), Any, ReadOnly, Warned, "KRaft: replicas that may lead though out of the ISR"),
    k("initial.broker.registration.timeout.ms", Int, Some("60000"), Any, ReadOnly, Warned, "KRaft: longest wait for the first registration"),
    k("metadata.log.dir", Text, None, Any, ReadOnly, Warned, "KRaft: where the metadata log lies"),
    k("metadata.log.max.record.bytes.between.snapshots", Long, Some("20971520"), Min(1), ReadOnly, Warned, "KRaft: bytes between snapshots"),
    k("metadata.log.max.snapshot.interval.ms", Long, Some("3600000"), Min(0), ReadOnly, Warned, "KRaft: time between snapshots"),
    k("metadata.log.segment.bytes", Int, Some("1073741824"), Min(12), ReadOnly, Warned, "KRaft: segment size of the metadata log"),
    k("metadata.log.segment.min.bytes", Int, Some("8388608"), Min(12), ReadOnly, Warned, "KRaft: lowest segment size of the metadata log").internal(),
    k("metadata.log.segment.ms", Long, Some("604800000"), Any, ReadOnly, Warned, "KRaft: segment age of the metadata log"),
    k("metadata.max.idle.interval.ms", Int, Some("500"), Min(0), ReadOnly, Warned, "KRaft: how often an idle controller writes"),
    k("metadata.max.retention.bytes", Long, Some("104857600"), Any, ReadOnly, Warned, "KRaft: size kept of the metadata log"),
    k("metadata.max.retention.ms", Long, Some("604800000"), Any, ReadOnly, Warned, "KRaft: age kept of the metadata log"),
    k("node.id", Int, Some("-1"), Any, ReadOnly, Honoured, "another name for broker.id"),
    k("process.roles", List, Some(""), EachOf(&["broker", "controller"]), ReadOnly, Stops, "KRaft: broker, controller or both"),
    k("reserved.broker.max.id", Int, Some("1000"), Min(0), ReadOnly, Honoured, "numbers above it are given out, numbers up to it are chosen by people"),
    k("server.max.startup.time.ms", Long, Some("9223372036854775807"), Min(0), ReadOnly, Warned, "KRaft: longest start").internal(),
    k("zookeeper.clientCnxnSocket", Text, None, Any, ReadOnly, Warned, "ZooKeeper client: socket class"),
    k("zookeeper.connect", Text, None, Any, ReadOnly, Honoured, "the ZooKeeper servers of the cluster to join, as host:port,host:port/chroot; --standalone ignores it"),
    k("zookeeper.connection.timeout.ms", Int, None, Any, ReadOnly, Honoured, "ZooKeeper client: longest wait for a connection"),
    k("zookeeper.max.in.flight.requests", Int, Some("10"), Min(1), ReadOnly, Honoured, "ZooKeeper client: requests on the way at once"),
    k("zookeeper.metadata.migration.enable", Boolean, Some("false"), Any, ReadOnly, Refused, "migration from ZooKeeper to KRaft"),
    k("zookeeper.metadata.migration.min.batch.size", Int, Some("200"), Min(1), ReadOnly, Warned, "migration from ZooKeeper to KRaft: batch size").internal(),
    k("zookeeper.session.timeout.ms", Int, Some("18000"), Any, ReadOnly, Honoured, "ZooKeeper client: session timeout"),
    k("zookeeper.set.acl", Boolean, Some("false"), Any, ReadOnly, Refused, "ZooKeeper client: protect the nodes with ACLs"),
    k("zookeeper.ssl.cipher.suites", List, None, Any, ReadOnly, Refused, "ZooKeeper client: TLS cipher suites"),
    k("zookeeper.ssl.client.enable", Boolean, Some("false"), Any, ReadOnly, Refused, "ZooKeeper client: use TLS"),
    k("zookeeper.ssl.crl.enable", Boolean, Some("false"), Any, ReadOnly, Refused, "ZooKeeper client: check revocation lists"),
    k("zookeeper.ssl.enabled.protocols", List, None, Any, ReadOnly, Refused, "ZooKeeper client: TLS versions"),
    k("zookeeper.ssl.endpoint.identification.algorithm", Text, Some("HTTPS"), Any, ReadOnly, Refused, "ZooKeeper client: check of the server's name"),
    k("zookeeper.ssl.keystore.location", Text, None, Any, ReadOnly, Refused, "ZooKeeper client: key store file"),
    k("zookeeper.ssl.keystore.password", Password, None, Any, ReadOnly, Refused, "ZooKeeper client: key store password"),
    k("zookeeper.ssl.keystore.type", Text, None, Any, ReadOnly, Refused, "ZooKeeper client: key store format"),
    k("zookeeper.ssl.ocsp.enable", Boolean, Some("false"), Any, ReadOnly, Refused, "ZooKeeper client: check revocation online"),
    k("zookeeper.ssl.protocol", Text, Some("TLSv1.2"), Any, ReadOnly, Refused, "ZooKeeper client: TLS version to negotiate"),
    k("zookeeper.ssl.truststore.location", Text, None, Any, ReadOnly, Refused, "ZooKeeper client: trust store file"),
    k("zookeeper.ssl.truststore.password", Password, None, Any, ReadOnly, Refused, "ZooKeeper client: trust store password"),
    k("zookeeper.ssl.truststore.type", Text, None, Any, ReadOnly, Refused, "ZooKeeper client: trust store format"),
];
