//! An administrator, who moves partitions to other brokers, has the preferred replicas lead, deletes records, throttles
//! replicas, has them change their directories, and changes configs; and in the end asks every broker whether it knows how things are.

use barnabas::wire::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignablePartition,
    ReassignableTopic,
};
use barnabas::wire::messages::alter_replica_log_dirs::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic, AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse,
};
use barnabas::wire::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopic,
};
use barnabas::wire::messages::elect_leaders::{ElectLeadersRequest, ElectLeadersResponse};
use barnabas::wire::text::Text;

use super::client::ClusterClient;
use super::configs::{change_defaults, change_fetchers, change_throttles, end_throttles};
use super::hosts::directories;
use super::{BROKERS, PARTITIONS, TOPIC, UNCLEAN, name_of, number_of};

/// Administers until the clients are to end, and then waits for the metadata to be right on every broker.
pub async fn administer(mut client: ClusterClient) {
    client.sleep(2_500, 1_000).await;
    // In some runs much is administered, in some nothing.
    let pause_ms = [300, 1_500, 4_000, 60_000][client.random.below(4) as usize];
    while !client.is_over() {
        match client.random.below(24) {
            0..=6 => move_partition(&mut client).await,
            7 => cancel_move(&mut client).await,
            8..=10 => elect_preferred(&mut client).await,
            11..=13 => delete_records(&mut client).await,
            14 | 15 => change_defaults(&mut client).await,
            16..=19 => change_throttles(&mut client).await,
            20 => change_fetchers(&mut client).await,
            _ => change_directory(&mut client).await,
        }
        for _ in 0..client.random.below(2 * pause_ms) / 100 {
            if !client.is_over() {
                client.sleep(100, 0).await;
            }
        }
    }
    end_throttles(&mut client).await;
    for broker in 1..=client.brokers {
        while let Some(why) = is_stale(&mut client, broker).await {
            let name = client.name.clone();
            client.observed.lock().waits_for.insert(name, why);
            client.sleep(200, 200).await;
        }
    }
    client.observed.lock().waits_for.clear();
    client.note("is done");
}

fn any_partition(client: &ClusterClient) -> i32 {
    client.random.below(PARTITIONS as u64) as i32
}

/// Two or three replicas, in any order.
fn any_replicas(client: &ClusterClient) -> Vec<i32> {
    let mut rest: Vec<i32> = (1..=client.brokers).collect();
    let count = if client.random.below(4) == 0 { 2 } else { 3 };
    let mut replicas = Vec::new();
    while replicas.len() < count {
        let at = client.random.below(rest.len() as u64) as usize;
        replicas.push(rest.remove(at));
    }
    replicas
}

/// Asks the controller, or finds out who that is.
async fn reassign(client: &mut ClusterClient, partition: i32, replicas: Option<Vec<i32>>) {
    client.note(&format!("{partition} is to move to {replicas:?}"));
    let (topic, index) = name_of(partition);
    let request = AlterPartitionReassignmentsRequest {
        timeout_ms: 1_000,
        topics: vec![ReassignableTopic {
            name: Text::from(topic),
            partitions: vec![ReassignablePartition {
                partition_index: index,
                replicas,
            }],
        }],
        ..AlterPartitionReassignmentsRequest::default()
    };
    let controller = client.controller;
    let answer = client
        .ask::<_, AlterPartitionReassignmentsResponse>(controller, &request, 0)
        .await;
    match answer.map(|answer| answer.error_code) {
        Some(0) => client.observed.lock().did("moves asked for"),
        _ => client.refresh().await,
    }
}

async fn move_partition(client: &mut ClusterClient) {
    let (partition, replicas) = (any_partition(client), any_replicas(client));
    reassign(client, partition, Some(replicas)).await;
}

async fn cancel_move(client: &mut ClusterClient) {
    let partition = any_partition(client);
    reassign(client, partition, None).await;
}

/// Has a broker keep its copy of a partition in one of its directories, where it may lie already.
async fn change_directory(client: &mut ClusterClient) {
    let (partition, broker) = (any_partition(client), client.any());
    let path = &directories(BROKERS[broker as usize - 1])[client.random.below(2) as usize];
    client.note(&format!("{partition} is to lie in {path}"));
    let (topic, index) = name_of(partition);
    let request = AlterReplicaLogDirsRequest {
        dirs: vec![AlterReplicaLogDir {
            path: Text::copy(path),
            topics: vec![AlterReplicaLogDirTopic {
                name: Text::from(topic),
                partitions: vec![index],
            }],
        }],
    };
    // What came of it is counted where it is done.
    let _: Option<AlterReplicaLogDirsResponse> = client.ask(broker, &request, 2).await;
}

async fn elect_preferred(client: &mut ClusterClient) {
    let request = ElectLeadersRequest {
        election_type: 0,
        topic_partitions: None,
        timeout_ms: 1_000,
    };
    let controller = client.controller;
    match client
        .ask::<_, ElectLeadersResponse>(controller, &request, 2)
        .await
    {
        Some(answer) if answer.error_code == 0 => client.observed.lock().did("preferred elections"),
        _ => client.refresh().await,
    }
}

/// Deletes the records below one that is known to be committed, be it in the middle of a batch.
async fn delete_records(client: &mut ClusterClient) {
    let partition = any_partition(client);
    client.refresh().await;
    let Some(leader) = client.leaders.get(&partition).copied() else {
        return;
    };
    let offset = {
        let mut observed = client.observed.lock();
        let mut committed = observed.acknowledged.range((partition, 0)..(partition + 1, 0));
        let Some(((_, newest), _)) = committed.next_back() else {
            return;
        };
        let least = observed.deleted_below(partition);
        let most = (newest + 1).max(least);
        let offset = least + client.random.below((most - least) as u64 + 1) as i64;
        observed.deleted.insert(partition, offset);
        offset
    };
    client.note(&format!("{partition} is to begin at {offset}"));
    let (topic, index) = name_of(partition);
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: Text::from(topic),
            partitions: vec![DeleteRecordsPartition {
                partition_index: index,
                offset,
            }],
        }],
        timeout_ms: 500,
    };
    if let Some(answer) = client.ask::<_, DeleteRecordsResponse>(leader, &request, 2).await
        && answer.topics[0].partitions[0].error_code == 0
    {
        client.observed.lock().did("deletions of records");
    }
}

/// What a broker tells that is not as it is, if it tells anything.
async fn is_stale(client: &mut ClusterClient, broker: i32) -> Option<String> {
    let Some(answer) = client.metadata(broker, &[TOPIC, UNCLEAN]).await else {
        return Some(format!("broker {broker} does not answer"));
    };
    let mut told = 0;
    for topic in &answer.topics {
        for one in &topic.partitions {
            let number = number_of(topic.name.as_deref(), one.partition_index)?;
            let Some(state) = client.state(number) else {
                continue;
            };
            told += 1;
            let mut isr = one.isr_nodes.clone();
            isr.sort_unstable();
            let mut known: Vec<i32> = state.isr.iter().map(|id| id.get()).collect();
            known.sort_unstable();
            let leader = state.leader.map_or(-1, |id| id.get());
            if (one.leader_id, one.leader_epoch, &isr) != (leader, state.leader_epoch.get(), &known) {
                return Some(format!(
                    "broker {broker} tells of {number}: leader {}, epoch {}, ISR {isr:?}; it is {state:?}",
                    one.leader_id, one.leader_epoch
                ));
            }
        }
    }
    (told != PARTITIONS).then(|| format!("broker {broker} tells of {told} partitions"))
}
