//! A broker that is told to stop a replica, and then to delete it: which of the two it has answered.

use tokio::sync::Semaphore;

use super::cluster_test::{Cluster3, THREE, TWO};
use super::controller_test::code;
use super::*;
use crate::base::ids::TopicPartition;
use crate::store::znodes::paths;

/// 2 leads `t`, and 3 is about to stop: it was told to follow no more, and answers that, and all after it, when it is given
/// leave to.
async fn leaving() -> (Cluster3, Arc<Semaphore>) {
    let cluster = Cluster3::of(&[TWO, THREE]).await;
    cluster.create("t", &[TWO, THREE]).await;
    let answers = Arc::new(Semaphore::new(0));
    let fake = cluster.others.0.lock().unwrap()[&THREE].clone();
    fake.told().stop_answers = Some(Arc::clone(&answers));
    let epoch = cluster.one.cluster.get().brokers[&THREE].epoch;
    let remaining = cluster.one.controller.controlled_shutdown(THREE, epoch).await;
    assert_eq!(remaining, Ok(Vec::new()));
    cluster.settle().await;
    assert_eq!(deletes(&cluster), [false]);
    (cluster, answers)
}

/// What 3 was told to stop, oldest first: whether it was to delete it.
fn deletes(cluster: &Cluster3) -> Vec<bool> {
    let stopped = cluster.stopped(THREE);
    let all = stopped.iter().flat_map(|request| &request.partitions);
    all.map(|stop| stop.delete).collect()
}

#[tokio::test]
async fn a_dropped_replica_is_not_gone_because_it_follows_no_more() {
    let (cluster, answers) = leaving().await;
    let wish = Reassignment {
        partition: TopicPartition::new("t", 0),
        replicas: Some(vec![TWO]),
        any_number: true,
    };
    let answer = cluster.one.controller.alter_reassignments(vec![wish]).await;
    assert_eq!(code(&answer.unwrap()[0]), ErrorCode::None);
    answers.add_permits(1);
    cluster.until(|| deletes(&cluster) == [false, true]).await;
    cluster.settle().await;
    assert_eq!(
        cluster.replicas("t").await,
        (vec![TWO, THREE], vec![], vec![THREE]),
        "it may not be deleted yet"
    );
    answers.add_permits(1);
    cluster.settle().await;
    assert_eq!(cluster.replicas("t").await, (vec![TWO], vec![], vec![]));
}

#[tokio::test]
async fn a_topic_is_not_gone_because_a_replica_of_it_follows_no_more() {
    let (cluster, answers) = leaving().await;
    assert_eq!(cluster.one.delete(&["t"]).await, [ErrorCode::None]);
    answers.add_permits(1);
    cluster.until(|| deletes(&cluster) == [false, true]).await;
    cluster.settle().await;
    assert_eq!(cluster.one.names(paths::TOPICS).await, ["t"]);
    answers.add_permits(1);
    cluster.settle().await;
    assert!(cluster.one.names(paths::TOPICS).await.is_empty());
    assert!(cluster.one.names(paths::DELETE_TOPICS).await.is_empty());
}

#[tokio::test]
async fn a_broker_that_cannot_delete_a_replica_is_asked_again() {
    let cluster = Cluster3::of(&[TWO, THREE]).await;
    cluster.create("t", &[TWO, THREE]).await;
    let fake = cluster.others.0.lock().unwrap()[&THREE].clone();
    fake.told().broken.insert(TopicPartition::new("t", 0));
    assert_eq!(cluster.one.delete(&["t"]).await, [ErrorCode::None]);
    cluster.settle().await;
    assert_eq!(cluster.one.names(paths::TOPICS).await, ["t"]);
    fake.told().broken.clear();
    for _ in 0..20 {
        cluster.settle().await;
        if cluster.one.names(paths::TOPICS).await.is_empty() {
            return;
        }
        clock::sleep(std::time::Duration::from_millis(500)).await;
    }
    panic!("it is asked no more");
}
