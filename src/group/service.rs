//! The door to groups: finds the shard of a group and asks it.
//!
//! Invariant: a group belongs to one partition of `__consumer_offsets`, by Kafka's hash of its id, and the number of
//! partitions that counts is the one that the topic's node in the store had when this broker first heard of the topic.
//! Were a growing topic believed at once, groups would leave their offsets behind; and what a controller tells of may
//! be a part of the partitions. Called by api/, wired in cli/.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::command::{Answer, Command, Listed, TopicsDeleted};
use super::memory::Memory;
use super::settings::GroupSettings;
use super::shard::GroupShard;
use crate::base::clock;
use crate::base::error_code::ErrorCode;
use crate::base::ids::Offset;
use crate::base::random::Random;
use crate::base::shutdown::Shutdown;
use crate::base::task;
use crate::config::BrokerConfig;
use crate::coordinator::{self, Coordinator, CoordinatorSettings, Ending, ShardStatus};
use crate::metadata::{CONSUMER_OFFSETS, Cluster};
use crate::replica::replicas::Replicas;
use crate::wire::text::Text;

/// How long it takes until a removal that was refused is tried again: at first, and at most.
const REMOVAL_PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// An answer of a group's shard that is there or will come; it may be dropped.
pub type Asked = coordinator::Asked<Answer>;

/// The groups that this broker coordinates. Clones share them.
#[derive(Clone)]
pub struct Groups {
    coordinator: Coordinator<GroupShard>,
    cluster: Cluster,
}

impl Groups {
    /// The groups of a broker. To be made before the controller decides about any partition.
    pub fn new(cluster: &Cluster, replicas: &Arc<Replicas>, random: &Random) -> Self {
        let config = cluster.get().broker_config.clone();
        let (settings, random) = (group_settings(&config), random.clone());
        let memory = Memory::default();
        let shard = move |_| GroupShard::new(settings.clone(), random.clone(), &memory);
        Self {
            coordinator: Coordinator::new(coordinator_settings(&config), Arc::clone(replicas), shard),
            cluster: cluster.clone(),
        }
    }

    /// Starts what is done from time to time, on the current runtime; it ends with `shutdown`.
    pub fn start(&self, shutdown: &Shutdown) {
        self.coordinator.start(shutdown.clone());
        let (groups, shutdown) = (self.clone(), shutdown.clone());
        let interval_ms = self
            .cluster
            .get()
            .broker_config
            .offsets_retention_check_interval_ms;
        let interval = milliseconds(interval_ms);
        drop(task::spawn(async move {
            while clock::timeout(interval, shutdown.wait()).await.is_none() {
                groups.tell_all(|| Command::Expire).await;
            }
        }));
    }

    /// The partition of `__consumer_offsets` that a group belongs to (`GroupMetadataManager.partitionFor`); `None` as long
    /// as it is not known how many there are.
    pub fn partition_of(&self, group_id: &str) -> Option<i32> {
        Some(partition_of(group_id, self.partitions()?))
    }

    /// How many partitions the groups are spread over.
    fn partitions(&self) -> Option<i32> {
        let image = self.cluster.get();
        let counted = image.offsets_partitions;
        match image.topic(CONSUMER_OFFSETS) {
            Some(topic) => counted.filter(|(id, _)| *id == topic.id).map(|(_, count)| count),
            // It may be told of later than its leaders.
            None => Some(
                counted.map_or(image.broker_config.offsets_topic_num_partitions, |(_, count)| {
                    count
                }),
            ),
        }
    }

    /// As [`partition_of`](Self::partition_of), for who asks a shard: there is none of a partition that is not known, as
    /// elsewhere.
    fn shard_of(&self, group_id: &str) -> i32 {
        const NONE: i32 = -1;
        self.partition_of(group_id).unwrap_or(NONE)
    }

    /// Asks the shard of a group. When this returns it has taken its step; the answer may come later.
    pub async fn ask(&self, group_id: &str, command: Command) -> Asked {
        self.coordinator.ask(self.shard_of(group_id), command)
    }

    /// The groups of all shards here. COORDINATOR_LOAD_IN_PROGRESS when one of them is being loaded: its groups are
    /// missing.
    pub async fn list(&self) -> (ErrorCode, Vec<Listed>) {
        let mut loading = ErrorCode::None;
        let mut listed = Vec::new();
        for ShardStatus {
            partition, standing, ..
        } in self.coordinator.status()
        {
            if standing
                .is_none_or(|standing| standing.refusal() == Some(ErrorCode::CoordinatorLoadInProgress))
            {
                loading = ErrorCode::CoordinatorLoadInProgress;
            } else if let Answer::List(groups) = self.coordinator.ask(partition, Command::List).await {
                listed.extend(groups);
            }
        }
        (loading, listed)
    }

    /// Deletes groups. Each with its error, by shard.
    pub async fn delete(&self, groups: Vec<Text>) -> Vec<(Text, ErrorCode)> {
        let mut by_partition: BTreeMap<i32, Vec<Text>> = BTreeMap::new();
        for group in groups {
            by_partition.entry(self.shard_of(&group)).or_default().push(group);
        }
        let asked: Vec<Asked> = by_partition
            .into_iter()
            .map(|(partition, groups)| self.coordinator.ask(partition, Command::Delete(groups)))
            .collect();
        let mut deleted = Vec::new();
        for asked in asked {
            if let Answer::Delete(answers) = asked.await {
                deleted.extend(answers);
            }
        }
        deleted
    }

    /// Topics are gone, and what groups have committed for them until this is called goes too
    /// (`GroupCoordinator.handleDeletedPartitions`); the future is done when it has.
    pub fn topics_deleted(&self, topics: Vec<String>) -> impl Future<Output = ()> + Send + use<> {
        let removals = self.coordinator.log_ends().into_iter().map(|(partition, end)| {
            let removal = TopicsDeleted {
                names: topics.clone(),
                // All that it has by then, where its directory does not answer.
                below: end.unwrap_or(Offset(i64::MAX)),
            };
            remove_offsets(self.coordinator.clone(), partition, removal)
        });
        let running: Vec<_> = removals.map(task::spawn).collect();
        async move {
            for removal in running {
                // A panic there has been told of.
                let _ = removal.await;
            }
        }
    }

    async fn tell_all(&self, command: impl Fn() -> Command) {
        for partition in self.coordinator.partitions() {
            // What a shard is told while it is loaded would be lost.
            self.coordinator.settled(partition).await;
            self.coordinator.ask_on_pool(partition, command()).await.await;
        }
    }

    /// How the shards stand.
    pub fn status(&self) -> Vec<ShardStatus> {
        self.coordinator.status()
    }

    /// Begins to end all shards: clients that wait are told. The logs of a directory are to be closed when its shards are
    /// ended.
    pub fn close(&self) -> Vec<Ending> {
        self.coordinator.close()
    }
}

/// Has a shard remove the offsets of topics, again and again until they are gone or the shard is: a new topic of one of
/// these names would be read from there.
async fn remove_offsets(coordinator: Coordinator<GroupShard>, partition: i32, topics: TopicsDeleted) {
    let mut pause = REMOVAL_PAUSES.0;
    loop {
        // What a shard is told while it is loaded would be lost.
        coordinator.settled(partition).await;
        let command = Command::TopicsDeleted(topics.clone());
        match coordinator.ask_on_pool(partition, command).await.await {
            Answer::TopicsDeleted(ErrorCode::None | ErrorCode::NotCoordinator) => return,
            Answer::TopicsDeleted(error) => {
                tracing::info!(partition, topics = ?topics.names, "offsets of deleted topics are not removed yet: {error}");
            }
            _ => {}
        }
        clock::sleep(pause).await;
        pause = pause.saturating_mul(2).min(REMOVAL_PAUSES.1);
    }
}

fn milliseconds(milliseconds: i64) -> Duration {
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0).max(1))
}

fn coordinator_settings(config: &BrokerConfig) -> CoordinatorSettings {
    CoordinatorSettings {
        topic: CONSUMER_OFFSETS.into(),
        load_buffer_bytes: u32::try_from(config.offsets_load_buffer_size).unwrap_or(1),
        replication_timeout: milliseconds(config.offsets_commit_timeout_ms.into()),
        required_acks: config.offsets_commit_required_acks,
        codec: config.offsets_codec(),
    }
}

fn group_settings(config: &BrokerConfig) -> GroupSettings {
    let defaults = GroupSettings::default();
    let size = |number: i32| usize::try_from(number).unwrap_or(0);
    GroupSettings {
        min_session_timeout_ms: config.group_min_session_timeout_ms,
        max_session_timeout_ms: config.group_max_session_timeout_ms,
        initial_rebalance_delay_ms: config.group_initial_rebalance_delay_ms,
        max_size: size(config.group_max_size),
        offset_metadata_max_bytes: size(config.offset_metadata_max_bytes),
        offsets_retention_ms: i64::from(config.offsets_retention_minutes) * 60_000,
        removal_batch_bytes: defaults
            .removal_batch_bytes
            .min(size(config.message_max_bytes) / 2),
        ..defaults
    }
}

/// Java's hash of a text, over its UTF-16 units.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16()
        .fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()))
}

/// The smallest number has no positive counterpart; Kafka takes 0 for it (`Utils.abs`).
fn partition_of(group_id: &str, partitions: i32) -> i32 {
    let hash = java_hash(group_id).checked_abs().unwrap_or(0);
    hash.checked_rem(partitions).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_spread_as_javas_hash_says() {
        // Computed by Java.
        for (group, hash) in [
            ("", 0),
            ("a", 97),
            ("console-consumer-1", 35_782_224),
            ("polygenelubricants", i32::MIN),
        ] {
            assert_eq!(java_hash(group), hash, "{group}");
        }
        assert_eq!(partition_of("polygenelubricants", 50), 0);
        assert_eq!(partition_of("a", 50), 47);
        // Two units, not one character.
        assert_eq!(java_hash("\u{1F600}"), 0xd83d * 31 + 0xde00);
    }
}
