//! What administration tools ask of a broker of one: elections, moves, quotas, credentials, listings, and configs of the
//! broker that change while it runs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]

mod socket;

use std::net::{SocketAddr, TcpListener, TcpStream};

use barnabas::wire::ApiKey;
use barnabas::wire::messages::alter_client_quotas::{
    AlterClientQuotasRequest, AlterClientQuotasRequestEntityData, AlterClientQuotasRequestEntryData,
    AlterClientQuotasResponse, OpData,
};
use barnabas::wire::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignablePartition,
    ReassignableTopic,
};
use barnabas::wire::messages::alter_user_scram_credentials::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse, ScramCredentialUpsertion,
};
use barnabas::wire::messages::describe_client_quotas::{
    ComponentData, DescribeClientQuotasRequest, DescribeClientQuotasResponse,
};
use barnabas::wire::messages::describe_cluster::{DescribeClusterRequest, DescribeClusterResponse};
use barnabas::wire::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResponse,
};
use barnabas::wire::messages::describe_user_scram_credentials::{
    DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse, UserName,
};
use barnabas::wire::messages::elect_leaders::{ElectLeadersRequest, ElectLeadersResponse, TopicPartitions};
use barnabas::wire::messages::list_config_resources::{
    ListConfigResourcesRequest, ListConfigResourcesResponse,
};
use barnabas::wire::messages::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};
use barnabas::wire::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use barnabas::wire::text::Text;
use socket::{Client, TestBroker};

const INVALID_REQUEST: i16 = 42;

fn elect(client: &mut Client, kind: i8, topics: Option<&[(&str, i32)]>) -> (i16, Vec<(String, i16)>) {
    let named = |(topic, partition): &(&str, i32)| TopicPartitions {
        topic: Text::copy(topic),
        partitions: vec![*partition],
    };
    let request = ElectLeadersRequest {
        election_type: kind,
        topic_partitions: topics.map(|topics| topics.iter().map(named).collect()),
        timeout_ms: 1000,
    };
    let answer: ElectLeadersResponse = client.ask(&request, 2);
    let results = answer.replica_election_results.iter();
    let results = results.map(|topic| (topic.topic.to_string(), topic.partition_result[0].error_code));
    (answer.error_code, results.collect())
}

#[test]
fn elections_of_all_leave_out_what_needs_none() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    assert_eq!(client.create_topic("t", 2, &[]), 0);
    assert_eq!(elect(&mut client, 0, None), (0, vec![]));
    for kind in [0, 1] {
        assert_eq!(
            elect(&mut client, kind, Some(&[("t", 0), ("t", 7)])),
            (0, vec![("t".to_owned(), 84)]),
            "one topic, whose first partition has the right leader"
        );
        assert_eq!(
            elect(&mut client, kind, Some(&[("none", 0)])),
            (0, vec![("none".to_owned(), 3)])
        );
    }
    assert_eq!(
        elect(&mut client, 5, Some(&[("t", 0)])),
        (INVALID_REQUEST, vec![("t".to_owned(), INVALID_REQUEST)])
    );
}

fn reassign(client: &mut Client, version: i16, replicas: Option<&[i32]>) -> i16 {
    let request = AlterPartitionReassignmentsRequest {
        timeout_ms: 1000,
        allow_replication_factor_change: version == 0,
        topics: vec![ReassignableTopic {
            name: Text::from("t"),
            partitions: vec![ReassignablePartition {
                partition_index: 0,
                replicas: replicas.map(<[i32]>::to_vec),
            }],
        }],
    };
    let answer: AlterPartitionReassignmentsResponse = client.ask(&request, version);
    assert_eq!(answer.error_code, 0);
    answer.responses[0].partitions[0].error_code
}

#[test]
fn a_partition_moves_to_where_it_is_and_nowhere_else() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    assert_eq!(client.create_topic("t", 1, &[]), 0);
    for version in [0, 1] {
        assert_eq!(reassign(&mut client, version, Some(&[1])), 0);
        assert_eq!(reassign(&mut client, version, Some(&[1, 2])), 39);
        assert_eq!(reassign(&mut client, version, Some(&[])), 39);
        assert_eq!(reassign(&mut client, version, None), 85);
    }
    let request = ListPartitionReassignmentsRequest {
        timeout_ms: 1000,
        topics: None,
    };
    let answer: ListPartitionReassignmentsResponse = client.ask(&request, 0);
    assert_eq!((answer.error_code, answer.topics.len()), (0, 0));
}

#[test]
fn no_quotas_are_there_and_none_are_taken() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    let mut describe = |kinds: &[&str]| -> (i16, Option<usize>) {
        let components = kinds.iter().map(|kind| ComponentData {
            entity_type: Text::copy(kind),
            match_type: 2,
            r#match: None,
        });
        let request = DescribeClientQuotasRequest {
            components: components.collect(),
            strict: false,
        };
        let answer: DescribeClientQuotasResponse = client.ask(&request, 1);
        (answer.error_code, answer.entries.map(|entries| entries.len()))
    };
    assert_eq!(describe(&[]), (0, Some(0)));
    assert_eq!(describe(&["user", "client-id"]), (0, Some(0)));
    assert_eq!(describe(&["user", "ip"]), (INVALID_REQUEST, None));
    assert_eq!(describe(&["shoe-size"]), (35, None));
    let mut alter = |remove: bool| -> i16 {
        let request = AlterClientQuotasRequest {
            entries: vec![AlterClientQuotasRequestEntryData {
                entity: vec![AlterClientQuotasRequestEntityData {
                    entity_type: Text::from("user"),
                    entity_name: Some(Text::from("u")),
                }],
                ops: vec![OpData {
                    key: Text::from("producer_byte_rate"),
                    value: 1.0,
                    remove,
                }],
            }],
            validate_only: false,
        };
        let answer: AlterClientQuotasResponse = client.ask(&request, 1);
        assert_eq!(
            answer.entries[0].entity[0].entity_name.as_deref(),
            Some("u"),
            "the answer is told by its entity"
        );
        answer.entries[0].error_code
    };
    assert_eq!(alter(false), 35);
    assert_eq!(alter(true), 0);
}

#[test]
fn no_user_has_credentials_and_none_are_taken() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    let mut describe = |users: Option<&[&str]>| -> Vec<(String, i16)> {
        let user = |name: &&str| UserName {
            name: Text::copy(name),
        };
        let request = DescribeUserScramCredentialsRequest {
            users: users.map(|users| users.iter().map(user).collect()),
        };
        let answer: DescribeUserScramCredentialsResponse = client.ask(&request, 0);
        assert_eq!(answer.error_code, 0);
        let results = answer.results.into_iter();
        results
            .map(|user| (user.user.to_string(), user.error_code))
            .collect()
    };
    assert_eq!(describe(None), []);
    assert_eq!(describe(Some(&[])), []);
    assert_eq!(
        describe(Some(&["a", "b", "b"])),
        [("a".to_owned(), 91), ("b".to_owned(), 92)]
    );
    let request = AlterUserScramCredentialsRequest {
        deletions: Vec::new(),
        upsertions: vec![ScramCredentialUpsertion {
            name: Text::from("a"),
            mechanism: 1,
            iterations: 4096,
            ..ScramCredentialUpsertion::default()
        }],
    };
    let answer: AlterUserScramCredentialsResponse = client.ask(&request, 0);
    assert_eq!(answer.results[0].error_code, 33);
}

#[test]
fn a_client_that_asks_for_the_topic_of_transactions_gets_it_as_kafka_makes_it() {
    let broker = TestBroker::start(&[
        ("transaction.state.log.num.partitions", "3"),
        ("transaction.state.log.segment.bytes", "5000000"),
    ]);
    let mut client = broker.client();
    let name = Text::from("__transaction_state");
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some(name.clone()),
            ..MetadataRequestTopic::default()
        }]),
        allow_auto_topic_creation: true,
        ..MetadataRequest::default()
    };
    let answer: MetadataResponse = client.ask(&request, 4);
    assert_eq!(answer.topics[0].partitions.len(), 3);
    assert!(answer.topics[0].is_internal);
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: 2,
            resource_name: name,
            configuration_keys: None,
        }],
        ..DescribeConfigsRequest::default()
    };
    let answer: DescribeConfigsResponse = client.ask(&request, 1);
    let own = answer.results[0]
        .configs
        .iter()
        .filter(|one| one.config_source == 1);
    let own: Vec<(&str, &str)> = own
        .map(|one| (one.name.as_str(), one.value.as_ref().unwrap().as_str()))
        .collect();
    assert_eq!(
        own,
        [
            ("cleanup.policy", "compact"),
            ("compression.type", "uncompressed"),
            ("min.insync.replicas", "1"),
            ("segment.bytes", "5000000"),
            ("unclean.leader.election.enable", "false"),
        ]
    );
}

#[test]
fn what_has_configs_is_listed_by_type() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    assert_eq!(client.create_topic("t", 1, &[]), 0);
    let mut list = |version: i16, types: &[i8]| -> (i16, Vec<(i8, String)>) {
        let request = ListConfigResourcesRequest {
            resource_types: types.to_vec(),
        };
        let answer: ListConfigResourcesResponse = client.ask(&request, version);
        let found = answer.config_resources.into_iter();
        let found = found.map(|found| (found.resource_type, found.resource_name.to_string()));
        (answer.error_code, found.collect())
    };
    let of = |kind: i8, name: &str| (kind, name.to_owned());
    assert_eq!(list(1, &[]), (0, vec![of(8, "1"), of(4, "1"), of(2, "t")]));
    assert_eq!(list(1, &[2]), (0, vec![of(2, "t")]));
    assert_eq!(list(1, &[16, 32]), (0, vec![]));
    assert_eq!(list(1, &[3]), (35, vec![]));
    assert_eq!(list(0, &[]), (0, vec![]));
}

/// An address that was free a moment ago.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn is_served(client: &mut Client) -> bool {
    client.send_body(ApiKey::ApiVersions, 0, &[]);
    client.answer(ApiKey::ApiVersions, 0).is_some()
}

/// Waits for a listener that is being opened.
fn connect(at: SocketAddr) -> Client {
    let begun = std::time::Instant::now();
    loop {
        match TcpStream::connect(at) {
            Ok(stream) => return Client::over(stream),
            Err(error) => assert!(begun.elapsed() < socket::PATIENCE, "{at}: {error}"),
        }
    }
}

#[test]
fn listeners_come_and_go_while_the_broker_runs_and_are_there_after_a_restart() {
    let mut broker = TestBroker::start(&[(
        "listener.security.protocol.map",
        "PLAINTEXT:PLAINTEXT,MORE:PLAINTEXT",
    )]);
    let mut client = broker.client();
    let more = free();
    let both = format!("PLAINTEXT://127.0.0.1:0,MORE://{more}");
    assert_eq!(client.alter_broker("1", &[("listeners", &both)]), 0);
    let mut other = connect(more);
    assert!(is_served(&mut other) && is_served(&mut client));
    // Who asks over a listener is told of the addresses of that listener.
    let request = DescribeClusterRequest {
        endpoint_type: 1,
        ..DescribeClusterRequest::default()
    };
    let begun = std::time::Instant::now();
    let port = loop {
        let answer: DescribeClusterResponse = other.ask(&request, 1);
        match answer.brokers.first() {
            Some(broker) => break broker.port,
            None => assert!(begun.elapsed() < socket::PATIENCE, "not advertised"),
        }
    };
    assert_eq!(port, i32::from(more.port()));

    broker.restart();
    let mut client = broker.client();
    let mut other = connect(more);
    assert!(is_served(&mut other) && is_served(&mut client));

    // Also who asks over the listener that goes is told that it is done.
    assert_eq!(
        other.alter_broker("1", &[("listeners", "PLAINTEXT://127.0.0.1:0")]),
        0
    );
    other.assert_closed("its listener is gone");
    assert!(is_served(&mut client), "the other listener is not touched");
    // The brokers' own listener must stay.
    let only_more = format!("MORE://{more}");
    assert_eq!(
        client.alter_broker("1", &[("listeners", &only_more)]),
        INVALID_REQUEST
    );
    assert_eq!(client.alter_broker("", &[("listeners", &both)]), INVALID_REQUEST);
}

#[test]
fn numbers_of_threads_change_by_the_factor_2_at_a_time() {
    let broker = TestBroker::start(&[]);
    let mut client = broker.client();
    assert_eq!(client.alter_broker("1", &[("num.network.threads", "4")]), 0);
    let mut clients: Vec<Client> = (0..8).map(|_| broker.client()).collect();
    assert!(clients.iter_mut().all(is_served));
    assert_eq!(
        client.alter_broker("1", &[("num.network.threads", "9")]),
        INVALID_REQUEST
    );
    assert_eq!(client.alter_broker("1", &[("num.network.threads", "2")]), 0);
    assert!(clients.iter_mut().all(is_served), "those that are served stay");
    assert_eq!(
        client.alter_broker("1", &[("num.io.threads", "100")]),
        INVALID_REQUEST
    );
    assert_eq!(client.alter_broker("1", &[("num.io.threads", "16")]), 0);
}
