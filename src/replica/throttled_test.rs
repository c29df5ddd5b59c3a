//! Throttled replicas of brokers in one process. The limits here are such that what was once copied counts for years.

use std::collections::BTreeMap;
use std::time::Duration;

use super::test_cluster::{Node, TestCluster, eventually};
use super::testing::batch;
use crate::base::clock::{self, Instant};
use crate::base::error_code::ErrorCode;
use crate::base::ids::{TopicName, TopicPartition};
use crate::metadata::configs::ConfigListener;

const T: &str = "t";
const LEADERS: &str = "leader.replication.throttled.replicas";
const FOLLOWERS: &str = "follower.replication.throttled.replicas";
/// Nothing that was copied is forgotten.
const WINDOW: [(&str, &str); 1] = [("replication.quota.window.num", "1000000")];

fn configs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(own).collect()
}

fn set_topic(node: &Node, pairs: &[(&str, &str)]) {
    let topic = TopicName::from(T);
    node.cluster.change(|image| {
        image.set_topic_configs(&topic, configs(pairs));
    });
    node.replicas.topic_configs_changed(&[topic]);
}

/// Both limits of a broker, in bytes a second.
fn limit(node: &Node, bytes_per_second: &str) {
    let all = configs(&[
        ("leader.replication.throttled.rate", bytes_per_second),
        ("follower.replication.throttled.rate", bytes_per_second),
    ]);
    node.cluster.change(|image| {
        image.set_broker_configs(all, Default::default());
    });
    let config = node.cluster.get().broker_config.clone();
    node.replicas.broker_config_changed(&config);
}

/// As if throttled replicas had copied a lot just now, on a limit that lets next to nothing through.
fn exhaust(node: &Node) {
    limit(node, "1");
    node.replicas.quotas.leader.record(1 << 40, Instant::now());
    node.replicas.quotas.follower.record(1 << 40, Instant::now());
}

/// Brokers 1, which leads, and 2 are in sync, and have something that 3 has not.
async fn third_is_behind() -> TestCluster {
    let cluster = TestCluster::start(&[1, 2, 3], &WINDOW).await;
    cluster.create(T, &[1, 2, 3]).await;
    cluster.cut(1, 3);
    cluster.elect(T, 1, &[1, 2]).await;
    for _ in 0..3 {
        assert_eq!(cluster.produce(1, T, &batch(5, 100)).await, ErrorCode::None);
    }
    cluster
}

async fn pause() {
    clock::sleep(Duration::from_millis(300)).await;
}

#[tokio::test]
async fn a_leader_above_its_limit_sends_a_throttled_replica_nothing_and_serves_those_in_sync() {
    let cluster = third_is_behind().await;
    let leader = cluster.node(1);
    // Another broker's replica of the partition is no leader's of this one.
    set_topic(&leader, &[(LEADERS, "0:1")]);
    exhaust(&leader);
    cluster.join(1, 3);
    assert_eq!(cluster.produce(1, T, &batch(1, 10)).await, ErrorCode::None);
    pause().await;
    assert_eq!(cluster.log_end(3, T), 0);
    assert_eq!(cluster.produce(1, T, &batch(1, 10)).await, ErrorCode::None);
    assert_eq!(cluster.state(T).isr, [1, 2]);
    limit(&leader, "1000000000000000");
    cluster.converged(&[1, 2, 3], T).await;
}

#[tokio::test]
async fn a_follower_above_its_limit_does_not_ask_for_what_it_lacks_and_asks_for_the_rest() {
    let cluster = third_is_behind().await;
    cluster.create_with_id("u", 2, &[1, 3]).await;
    let follower = cluster.node(3);
    set_topic(&follower, &[(FOLLOWERS, "*")]);
    exhaust(&follower);
    cluster.join(1, 3);
    assert_eq!(cluster.produce(1, "u", &batch(1, 10)).await, ErrorCode::None);
    pause().await;
    assert_eq!(cluster.log_end(3, T), 0);
    // What ends the throttle of a move.
    set_topic(&follower, &[]);
    cluster.converged(&[1, 2, 3], T).await;
}

/// Whose lag the high watermark waits for is not behind it, and is not held back where it is fetched beside the others.
#[tokio::test]
async fn a_follower_in_sync_that_has_much_to_fetch_is_held_back_in_neither_lane() {
    let settings = [WINDOW[0], ("replica.fetch.max.bytes", "1000")];
    let cluster = TestCluster::start(&[1, 2], &settings).await;
    cluster.create(T, &[1, 2]).await;
    assert_eq!(cluster.produce(1, T, &batch(1, 10)).await, ErrorCode::None);
    let follower = cluster.node(2);
    let name = TopicPartition::new(T, 0);
    cluster.cut(1, 2);
    for _ in 0..6 {
        assert_eq!(
            cluster.append(1, T, &batch(1, 900), 1).await.error,
            ErrorCode::None
        );
    }
    set_topic(&follower, &[(FOLLOWERS, "*")]);
    exhaust(&follower);
    cluster.join(1, 2);
    cluster.converged(&[1, 2], T).await;
    assert_eq!(cluster.produce(1, T, &batch(1, 10)).await, ErrorCode::None);
    let is_catching_up = || follower.replicas.fetchers.is_catching_up(&name);
    eventually(|| !is_catching_up(), || "it caught up".to_owned()).await;
    assert_eq!(cluster.produce(1, T, &batch(1, 10)).await, ErrorCode::None);
    cluster.converged(&[1, 2], T).await;
}

#[tokio::test]
async fn lists_of_other_partitions_and_brokers_hold_nobody_back() {
    let cluster = third_is_behind().await;
    for (id, list) in [(1, "1:1,0:2,0:3"), (3, "1:3,0:1,0:2")] {
        let node = cluster.node(id);
        set_topic(&node, &[(LEADERS, list), (FOLLOWERS, list)]);
        exhaust(&node);
    }
    cluster.join(1, 3);
    cluster.converged(&[1, 2, 3], T).await;
}

#[tokio::test]
async fn a_replica_that_has_all_comes_in_sync_and_is_served_whatever_was_copied() {
    let cluster = TestCluster::start(&[1, 2], &WINDOW).await;
    cluster.create(T, &[1, 2]).await;
    assert_eq!(cluster.produce(1, T, &batch(5, 100)).await, ErrorCode::None);
    cluster.converged(&[1, 2], T).await;
    let leader = cluster.node(1);
    set_topic(&leader, &[(LEADERS, "*")]);
    exhaust(&leader);
    cluster.elect(T, 1, &[1]).await;
    eventually(|| cluster.state(T).isr == [1, 2], || "it joins".to_owned()).await;
    assert_eq!(cluster.produce(1, T, &batch(1, 10)).await, ErrorCode::None);
    cluster.converged(&[1, 2], T).await;
}

#[tokio::test]
async fn what_throttled_replicas_copy_counts_on_both_sides_and_nothing_else_does() {
    let cluster = TestCluster::start(&[1, 2], &WINDOW).await;
    cluster.create(T, &[1, 2]).await;
    let nodes = [cluster.node(1), cluster.node(2)];
    let exceeded = || {
        let now = Instant::now();
        let (leader, follower) = (&nodes[0].replicas.quotas, &nodes[1].replicas.quotas);
        [leader.leader.is_exceeded(now), follower.follower.is_exceeded(now)]
    };
    for node in &nodes {
        limit(node, "1");
    }
    assert_eq!(cluster.produce(1, T, &batch(5, 1000)).await, ErrorCode::None);
    assert_eq!(exceeded(), [false, false]);
    for node in &nodes {
        set_topic(node, &[(LEADERS, "0:1"), (FOLLOWERS, "0:2")]);
    }
    // Both are in sync: they are not held back, and count.
    assert_eq!(cluster.produce(1, T, &batch(5, 100_000)).await, ErrorCode::None);
    assert_eq!(exceeded(), [true, true]);
}
