//! Controllers that follow others, of Kafka among them: what they find, take away and leave, and brokers that they cannot
//! reach.

use std::collections::BTreeMap;

use super::cluster_test::{Cluster3, ONE, Others, THREE, TWO, node};
use super::controller_test::{alone, code, fresh_broker, start, start_with};
use super::*;
use crate::metadata::BrokerImage;
use crate::store::CreateKind;
use crate::store::memory::{MemoryServer, MemoryStore};
use crate::store::znodes::{Broker, PartitionState, Topic, paths};

async fn put(tool: &MemoryStore, path: &str, data: &'static str) {
    let kind = CreateKind::Persistent;
    tool.create(path, Some(data.into()), kind).await.unwrap();
}

#[tokio::test]
async fn an_election_takes_old_notifications_away_and_leaves_features_as_they_are() {
    // As somebody else writes it, and not as we would.
    const FEATURE: &str = r#"{"version":2,"features":{},"status":1,"more":0}"#;
    let server = MemoryServer::new();
    let store: Arc<dyn Store> = Arc::new(server.connect());
    registration::prepare(&store, None, &Random::from_seed(1))
        .await
        .unwrap();
    let tool = server.connect();
    put(&tool, paths::FEATURE, FEATURE).await;
    let parents = [
        paths::ISR_CHANGE_NOTIFICATIONS,
        paths::LOG_DIR_EVENT_NOTIFICATIONS,
    ];
    for parent in parents {
        put(&tool, &format!("{parent}/old_0000000007"), "nonsense").await;
    }
    let started = start(store, fresh_broker(), ONE, &[]).await;
    for parent in parents {
        assert!(started.names(parent).await.is_empty(), "{parent}");
    }
    assert_eq!(server.peek(paths::FEATURE).unwrap().data.unwrap(), FEATURE);
    // Its reign lasts as long as its registration does.
    let owner = |path: &str| server.peek(path).unwrap().stat.owner;
    assert!(owner(paths::CONTROLLER).is_some());
    assert_eq!(owner(paths::CONTROLLER), owner(&paths::broker(ONE)));
}

/// Others may rule at any time, with nothing but the nodes of Kafka.
#[tokio::test]
async fn what_another_controller_wrote_meanwhile_holds() {
    let cluster = Cluster3::of(&[TWO, THREE]).await;
    cluster.create("t", &[TWO, THREE]).await;
    let id = cluster.one.cluster.get().topic("t").unwrap().id;
    let state = PartitionState {
        leader: Some(THREE),
        leader_epoch: crate::base::ids::LeaderEpoch(6),
        isr: vec![THREE],
        ..cluster.one.state("t", 0).await.0
    };
    let added = PartitionState {
        leader: Some(TWO),
        isr: vec![TWO],
        ..state.clone()
    };
    let cluster = cluster
        .rule_anew_after(async |other: &MemoryStore| {
            other
                .set(paths::CONTROLLER_EPOCH, Some("8".into()), None)
                .await
                .unwrap();
            let path = paths::partition_state("t", 0);
            other.set(&path, Some(state.encode()), None).await.unwrap();
            let mut topic = Topic {
                id: Some(id),
                ..Topic::default()
            };
            topic.partitions = BTreeMap::from([(0, vec![TWO, THREE]), (1, vec![TWO, THREE])]);
            other
                .set(&paths::topic("t"), Some(topic.encode()), None)
                .await
                .unwrap();
            put(other, &paths::partition("t", 1), "").await;
            let data = String::from_utf8(added.encode().to_vec()).unwrap();
            put(other, &paths::partition_state("t", 1), data.leak()).await;
        })
        .await;
    assert_eq!(cluster.state("t").await, (3, 6, vec![3]));
    let led = cluster.led(THREE, "t");
    // Of both partitions.
    assert_eq!(
        led[led.len() - 2..],
        [(3, 6, vec![3], false), (2, 6, vec![2], false)]
    );
    let image = cluster.one.cluster.get();
    assert_eq!(image.topic("t").unwrap().id, id);
    assert_eq!(image.partition("t", 0).unwrap().partition_epoch, 1);
    assert_eq!(image.partition("t", 1).unwrap().replicas, [TWO, THREE]);
    let epoch = cluster.server.peek(paths::CONTROLLER_EPOCH).unwrap();
    assert_eq!(epoch.data.unwrap(), "9");
}

/// Reached by their listener PLAINTEXT alone.
struct Plain(Others);

impl Links for Plain {
    fn to(&self, broker: &BrokerImage) -> Option<Arc<dyn BrokerLink>> {
        broker.endpoint("PLAINTEXT")?;
        self.0.to(broker)
    }
}

#[tokio::test]
async fn a_broker_without_the_listener_is_told_nothing_and_stops_nobody() {
    let server = MemoryServer::new();
    let others = Others::default();
    let first = server.connect();
    let links = Arc::new(Plain(others.clone()));
    let one = start_with(Arc::new(first.clone()), fresh_broker(), ONE, &[], links).await;
    let sessions = BTreeMap::from([(ONE, first)]);
    let mut cluster = Cluster3 {
        server,
        others,
        sessions,
        one,
    };
    let strange = [("STRANGE".into(), "PLAINTEXT".into(), "host".into(), 9002)];
    cluster.arrive_as(TWO, &Broker::new(&strange, None, 0)).await;
    cluster.arrive_as(THREE, &node(THREE)).await;
    cluster.create("t", &[THREE, ONE]).await;
    assert_eq!(cluster.led(THREE, "t"), [(3, 0, vec![3, 1], true)]);
    let told = cluster.metadata(THREE);
    assert_eq!(told.last().unwrap().live_brokers.len(), 3, "clients may reach it");
    cluster.leave(THREE).await;
    assert_eq!(cluster.state("t").await, (1, 1, vec![1]));
    assert!(!cluster.others.0.lock().unwrap().contains_key(&TWO));
    // With the listener it is a broker like others.
    cluster.leave(TWO).await;
    cluster.arrive(TWO).await;
    cluster.settle().await;
    assert!(!cluster.metadata(TWO).is_empty());
}

/// Who writes a config says by that there is a controller which takes it up.
#[tokio::test]
async fn no_config_is_written_while_nobody_rules() {
    let store = Arc::new(MemoryServer::new().connect());
    let config = [("zookeeper.connect", "h:1"), ("controller.candidate", "false")];
    let started = start(store, fresh_broker(), ONE, &config).await;
    let change = || AlterConfigs {
        resource: ConfigResource::Broker(String::new()),
        changes: ConfigChanges::Incremental(vec![(
            "log.retention.ms".to_owned(),
            Some(ConfigOperation::Set),
            Some("7".to_owned()),
        )]),
    };
    let answers = started.controller.alter_configs(vec![change()], false).await;
    assert_eq!(code(&answers[0]), ErrorCode::NotController);
    assert!(started.names(paths::BROKER_CONFIGS).await.is_empty());
    assert!(started.names(paths::CONFIG_CHANGES).await.is_empty());
    let ruled = alone().await;
    let answers = ruled.controller.alter_configs(vec![change()], false).await;
    assert_eq!(code(&answers[0]), ErrorCode::None);
    assert_eq!(ruled.names(paths::CONFIG_CHANGES).await.len(), 1);
}

/// KAFKA-9254.
#[tokio::test]
async fn row_30_defaults_that_change_twice_leave_what_a_topic_has_of_its_own() {
    let started = alone().await;
    let mut wanted = super::controller_test::topic("t", 1);
    let own = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
    wanted.configs = vec![own("cleanup.policy", "compact"), own("segment.ms", "5")];
    assert_eq!(started.create(vec![wanted]).await, [ErrorCode::None]);
    for retention in ["100", "200"] {
        let set =
            |key: &str, value: &str| (key.to_owned(), Some(ConfigOperation::Set), Some(value.to_owned()));
        let changes = vec![
            set("log.retention.ms", retention),
            set("log.cleanup.policy", "delete"),
        ];
        let change = AlterConfigs {
            resource: ConfigResource::Broker(String::new()),
            changes: ConfigChanges::Incremental(changes),
        };
        assert_eq!(
            started.controller.alter_configs(vec![change], false).await,
            [Ok(())]
        );
        let image = started.cluster.get();
        let config = image.log_config("t");
        assert_eq!(config.retention_ms.to_string(), retention);
        assert_eq!(config.segment_ms, 5, "{retention}");
        let stored = image.topic_overrides("t");
        assert_eq!(stored.get("cleanup.policy").map(String::as_str), Some("compact"));
        assert!(config.compact && !config.delete, "{retention}");
    }
}
