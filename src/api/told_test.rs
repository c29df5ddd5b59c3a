//! What a broker says of a cluster that it has not been told of.

use std::sync::Arc;
use std::time::Duration;

use super::Rejected;
use super::testing::{self, decoded};
use crate::base::clock;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerEpoch, BrokerId, ControllerEpoch};
use crate::metadata::BrokerImage;
use crate::metadata::control::UpdateMetadata;
use crate::replica::testing::TestBroker;
use crate::wire::messages::describe_cluster::DescribeClusterRequest;
use crate::wire::messages::describe_topic_partitions::DescribeTopicPartitionsRequest;
use crate::wire::messages::find_coordinator::FindCoordinatorRequest;
use crate::wire::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use crate::wire::text::Text;

#[tokio::test(start_paused = true)]
async fn a_broker_that_was_told_nothing_neither_says_that_there_is_no_broker_nor_that_a_topic_is_not_there() {
    let broker = TestBroker::new(1);
    let services = testing::services(&broker);
    let asked = async || {
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: Some(Text::from_static("elsewhere")),
                ..MetadataRequestTopic::default()
            }]),
            allow_auto_topic_creation: true,
            ..MetadataRequest::default()
        };
        super::metadata::handle(&services, &testing::context(9), request).await
    };
    let group = FindCoordinatorRequest {
        key: Text::from_static("group"),
        ..FindCoordinatorRequest::default()
    };
    assert!(matches!(asked().await, Err(Rejected::Close(_))));
    let found = super::find_coordinator::handle(&services, &testing::context(3), group).await;
    assert!(matches!(found, Err(Rejected::Close(_))));
    let cluster = DescribeClusterRequest {
        endpoint_type: 1,
        ..DescribeClusterRequest::default()
    };
    let found = super::describe_cluster::handle(&services, &testing::context(0), cluster).await;
    assert!(matches!(found, Err(Rejected::Close(_))));
    let pages = DescribeTopicPartitionsRequest::default();
    let found = super::describe_topic_partitions::handle(&services, &testing::context(0), pages).await;
    assert!(matches!(found, Err(Rejected::Close(_))));

    let alive = Arc::new(BrokerImage {
        id: BrokerId(1),
        epoch: BrokerEpoch(1),
        endpoints: Vec::new(),
        rack: None,
    });
    // Told who is there, and nothing yet of topics: not even created, as nothing waits for a controller that it does not know.
    let known = Arc::clone(&alive);
    broker.cluster.change(|image| {
        image.brokers.insert(BrokerId(1), known);
    });
    let response: MetadataResponse = decoded(asked().await.unwrap(), 9).await;
    assert_eq!(
        response.topics[0].error_code,
        ErrorCode::LeaderNotAvailable.code()
    );

    // Told while somebody waits.
    let mut asking = std::pin::pin!(async {
        let asked = services.told().await;
        asked.unwrap().is_told
    });
    assert!(
        clock::timeout(Duration::from_secs(1), asking.as_mut())
            .await
            .is_none()
    );
    broker.cluster.update(&UpdateMetadata {
        controller: BrokerId(1),
        controller_epoch: ControllerEpoch(1),
        broker_epoch: BrokerEpoch(1),
        live_brokers: vec![alive],
        topics: Vec::new(),
    });
    assert!(asking.await);
    let image = broker.cluster.get();
    assert_eq!(
        super::metadata::unknown(&image),
        ErrorCode::UnknownTopicOrPartition
    );
}
