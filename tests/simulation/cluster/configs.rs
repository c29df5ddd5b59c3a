//! What an administrator configures: the defaults of all brokers, and what throttled replicas may copy (KIP-73).

use barnabas::wire::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use barnabas::wire::text::Text;

use super::client::ClusterClient;
use super::{TOPIC, UNCLEAN};

const TOPICS: i8 = 2;
const BROKERS: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;

const RATES: [&str; 2] = [
    "leader.replication.throttled.rate",
    "follower.replication.throttled.rate",
];
const REPLICAS: [&str; 2] = [
    "leader.replication.throttled.replicas",
    "follower.replication.throttled.replicas",
];

/// A config that is set, or, without a value, deleted.
fn config(name: &'static str, value: Option<&str>) -> AlterableConfig {
    AlterableConfig {
        name: Text::from(name),
        config_operation: if value.is_some() { SET } else { DELETE },
        value: value.map(Text::copy),
    }
}

/// Alters the configs of a resource, or of several of a kind; true when all is said to be done.
async fn alter(
    client: &mut ClusterClient,
    broker: i32,
    (kind, names): (i8, &[&str]),
    configs: &[AlterableConfig],
) -> bool {
    let resource = |name: &&str| AlterConfigsResource {
        resource_type: kind,
        resource_name: Text::copy(name),
        configs: configs.to_vec(),
    };
    let request = IncrementalAlterConfigsRequest {
        resources: names.iter().map(resource).collect(),
        validate_only: false,
    };
    let answer = client
        .ask::<_, IncrementalAlterConfigsResponse>(broker, &request, 1)
        .await;
    answer.is_some_and(|answer| answer.responses.iter().all(|one| one.error_code == 0))
}

/// Changes what all brokers have by default; topics have their own.
pub async fn change_defaults(client: &mut ClusterClient) {
    let is_set = client.random.below(2) == 0;
    let configs = [
        config("min.insync.replicas", is_set.then_some("1")),
        config("unclean.leader.election.enable", is_set.then_some("true")),
    ];
    let controller = client.controller;
    match alter(client, controller, (BROKERS, &[""]), &configs).await {
        true => client.observed.lock().did("changes of configs"),
        false => client.refresh().await,
    }
}

/// Has all brokers fetch by more or fewer connections, as far as they let that happen at once: twice or half as many.
pub async fn change_fetchers(client: &mut ClusterClient) {
    let fetchers = 1 + client.random.below(4);
    let config = config("num.replica.fetchers", Some(&fetchers.to_string()));
    let any = client.any();
    if alter(client, any, (BROKERS, &[""]), &[config]).await {
        client.note(&format!("there are to be {fetchers} fetchers"));
        client.observed.lock().did("changes of fetchers");
    }
}

/// Has any broker copy little of throttled replicas, whose leaders or followers those of the topics are then, or gives that up.
pub async fn change_throttles(client: &mut ClusterClient) {
    match client.random.below(4) {
        0 => {
            let broker = client.any();
            unlimit(client, broker).await;
        }
        1 => drop(list(client, None).await),
        _ => {
            let replicas = ["*", "*", "0:1,1:2,2:3,3:1,0:2"][client.random.below(3) as usize];
            let (broker, rate) = (client.any(), 1_000 + client.random.below(8_000));
            client.note(&format!(
                "broker {broker} is to copy {rate} bytes/s of {replicas}"
            ));
            let rate = rate.to_string();
            let which = client.random.below(3);
            let rates = RATES.iter().zip([which != 0, which != 1]);
            let rates: Vec<_> = rates
                .filter(|(_, is_set)| *is_set)
                .map(|(name, _)| config(name, Some(&rate)))
                .collect();
            if alter(client, broker, (BROKERS, &[&broker.to_string()]), &rates).await
                && list(client, Some(replicas)).await
            {
                client.observed.lock().did("throttles");
            }
        }
    }
}

/// Which replicas of the topics are throttled.
async fn list(client: &mut ClusterClient, replicas: Option<&str>) -> bool {
    let lists = REPLICAS.map(|name| config(name, replicas));
    let any = client.any();
    alter(client, any, (TOPICS, &[TOPIC, UNCLEAN]), &lists).await
}

/// A broker copies as fast as it can from now on. Only it takes that.
async fn unlimit(client: &mut ClusterClient, broker: i32) -> bool {
    let rates = RATES.map(|name| config(name, None));
    alter(client, broker, (BROKERS, &[&broker.to_string()]), &rates).await
}

/// Nothing is throttled on any broker: the cluster can be whole. The topics' lists stay where they are.
pub async fn end_throttles(client: &mut ClusterClient) {
    for broker in 1..=client.brokers {
        while !unlimit(client, broker).await {
            client.sleep(100, 100).await;
        }
    }
    client.note("nothing is throttled any more");
}
