//! Configs of topics that are made anew.

use super::*;
use crate::base::ids::Uuid;
use crate::store::memory::{MemoryServer, MemoryStore};
use crate::store::{CreateKind, Operation};

const FIRST: TopicId = Uuid([1; 16]);
const SECOND: TopicId = Uuid([2; 16]);

struct Known {
    configs: StoredConfigs,
    cluster: Cluster,
    /// Of somebody else.
    other: MemoryStore,
}

impl Known {
    async fn new() -> Self {
        let server = MemoryServer::new();
        let other = server.connect();
        let nodes = ["/config", paths::TOPIC_CONFIGS, paths::BROKER_CONFIGS];
        let create = |path| Operation::create(path, None, CreateKind::Persistent);
        other.multi(nodes.map(create).into()).await.unwrap();
        let cluster = Cluster::new("cluster", BrokerId(1), BrokerConfig::from_pairs(&[]).unwrap());
        let configs = StoredConfigs::new(Arc::new(server.connect()), cluster.clone(), Vec::new());
        Self {
            configs,
            cluster,
            other,
        }
    }

    /// The topic is created with this retention; nobody is notified.
    async fn create(&self, retention_ms: &str) {
        let configs = BTreeMap::from([("retention.ms".to_owned(), retention_ms.to_owned())]);
        let data = Some(EntityConfig::new(configs).encode());
        let path = paths::topic_config("t");
        self.other
            .create(&path, data, CreateKind::Persistent)
            .await
            .unwrap();
    }

    async fn delete(&self) {
        self.other.delete(&paths::topic_config("t"), None).await.unwrap();
    }

    /// The controller tells of the topic.
    async fn told(&self, id: TopicId) -> i64 {
        let topics = [(TopicName::from("t"), id)];
        self.configs.load_new_topics(&topics).await.unwrap();
        self.cluster.get().log_config("t").retention_ms
    }
}

#[tokio::test]
async fn a_topic_made_anew_between_the_start_and_the_first_word_of_it_has_its_own_configs() {
    let known = Known::new().await;
    known.create("1").await;
    known.configs.load_all().await.unwrap();
    known.delete().await;
    known.create("2").await;
    assert_eq!(known.told(SECOND).await, 2);
}

#[tokio::test]
async fn a_notification_that_comes_while_there_is_no_topic_does_not_keep_its_successors_configs_out() {
    let known = Known::new().await;
    known.create("1").await;
    assert_eq!(known.told(FIRST).await, 1);
    known.delete().await;
    known.configs.forget_topics(["t"]);
    let late = ConfigChange {
        entity_path: "topics/t".to_owned(),
    };
    known.configs.changed(&late).await.unwrap();
    known.create("2").await;
    assert_eq!(known.told(SECOND).await, 2);
}

#[tokio::test]
async fn the_configs_of_a_topic_that_is_told_of_again_are_not_read_again() {
    let known = Known::new().await;
    known.create("1").await;
    assert_eq!(known.told(FIRST).await, 1);
    known.delete().await;
    known.create("2").await;
    assert_eq!(known.told(FIRST).await, 1);
    // Nor when a controller does not know its id.
    assert_eq!(known.told(Uuid::ZERO).await, 1);
    assert_eq!(known.told(FIRST).await, 1);
    assert_eq!(known.told(SECOND).await, 2);
}
