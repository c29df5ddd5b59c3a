//! Which replicas a consumer reads from instead of the leaders (KIP-392), kept as Kafka's Java client keeps it
//! (`SubscriptionState.preferredReadReplica`): the one that the leader names, until that one fails, says that it has not what is
//! asked for, another epoch begins, or some time is over. Then the leader is asked again.

use std::collections::BTreeMap;

use barnabas::base::clock;

use super::client::ClusterClient;

/// In place of `metadata.max.age.ms`.
const LASTS_MS: i64 = 3_000;

struct Preferred {
    broker: i32,
    epoch: i32,
    until_ms: i64,
}

#[derive(Default)]
pub struct Nearest(BTreeMap<i32, Preferred>);

impl Nearest {
    /// The leader of `partition` sends the consumer to another replica.
    pub fn is(&mut self, client: &ClusterClient, partition: i32, broker: i32) {
        let preferred = Preferred {
            broker,
            epoch: client.epochs[&partition],
            until_ms: clock::now_ms() + LASTS_MS,
        };
        self.0.insert(partition, preferred);
    }

    /// The leader is asked next; true when it was not last.
    pub fn forget(&mut self, partition: i32) -> bool {
        self.0.remove(&partition).is_some()
    }

    /// Who is asked for which partitions: the leaders, where no other replica is preferred.
    pub fn asked(&mut self, client: &ClusterClient) -> BTreeMap<i32, Vec<i32>> {
        let now_ms = clock::now_ms();
        self.0
            .retain(|partition, one| one.until_ms > now_ms && one.epoch == client.epochs[partition]);
        let mut asked: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        for (partition, leader) in &client.leaders {
            let preferred = self.0.get(partition).map(|one| one.broker);
            asked
                .entry(preferred.unwrap_or(*leader))
                .or_default()
                .push(*partition);
        }
        asked
    }
}
