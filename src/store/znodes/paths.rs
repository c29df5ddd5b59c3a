//! Where Kafka's nodes are.

use crate::base::ids::BrokerId;

/// The registrations of the brokers that are alive.
pub const BROKER_IDS: &str = "/brokers/ids";
/// The topics.
pub const TOPICS: &str = "/brokers/topics";
/// Counts the ids that were generated for brokers without one.
pub const BROKER_SEQUENCE: &str = "/brokers/seqid";
/// The active controller.
pub const CONTROLLER: &str = "/controller";
/// How many controllers there were.
pub const CONTROLLER_EPOCH: &str = "/controller_epoch";
/// The cluster's id.
pub const CLUSTER_ID: &str = "/cluster/id";
/// Feature levels.
pub const FEATURE: &str = "/feature";
/// The last block of producer ids that was given out.
pub const PRODUCER_ID_BLOCK: &str = "/latest_producer_id_block";
/// The topics to delete.
pub const DELETE_TOPICS: &str = "/admin/delete_topics";
/// Tells of states that leaders wrote themselves (before IBP 2.7), or that a tool changed.
pub const ISR_CHANGE_NOTIFICATIONS: &str = "/isr_change_notification";
/// Tells of brokers with a log directory that failed.
pub const LOG_DIR_EVENT_NOTIFICATIONS: &str = "/log_dir_event_notification";
/// What such a notification is called, before its number.
pub const LOG_DIR_EVENT: &str = "log_dir_event_";
/// By which tools up to 2.3 reassign partitions.
pub const REASSIGN_PARTITIONS: &str = "/admin/reassign_partitions";
/// By which tools up to 2.3 ask for preferred leaders.
pub const PREFERRED_REPLICA_ELECTION: &str = "/admin/preferred_replica_election";
/// Topics' configs.
pub const TOPIC_CONFIGS: &str = "/config/topics";
/// Brokers' dynamic configs.
pub const BROKER_CONFIGS: &str = "/config/brokers";
/// Tells of changed configs.
pub const CONFIG_CHANGES: &str = "/config/changes";
/// What a notification of changed configs is called, before its number.
pub const CONFIG_CHANGE: &str = "config_change_";
/// The name that stands for all brokers under [`BROKER_CONFIGS`].
pub const DEFAULT_ENTITY: &str = "<default>";
/// Topics with partitions that no broker is known to have yet. Ours.
pub const NEW_PARTITIONS: &str = "/barnabas/new_partitions";

/// Replicas outside of the ISR that have all that was acknowledged, and members of it that may not. Ours.
pub const ELIGIBLE_REPLICAS: &str = "/barnabas/eligible_replicas";
/// Brokers that came back without what they had not synced, and of which no controller has taken note yet. Ours.
pub const UNCLEAN_SHUTDOWNS: &str = "/barnabas/unclean_shutdowns";

/// The registrations of the brokers of ours that are alive, each beside its one in [`BROKER_IDS`].
pub const OUR_BROKERS: &str = "/barnabas/brokers";

/// The nodes that every broker creates at its start where they are missing, parents first; ours behind Kafka's.
pub const PERSISTENT: &[&str] = &[
    "/consumers",
    "/brokers",
    BROKER_IDS,
    TOPICS,
    "/config",
    CONFIG_CHANGES,
    "/admin",
    DELETE_TOPICS,
    BROKER_SEQUENCE,
    ISR_CHANGE_NOTIFICATIONS,
    PRODUCER_ID_BLOCK,
    LOG_DIR_EVENT_NOTIFICATIONS,
    TOPIC_CONFIGS,
    "/config/clients",
    "/config/users",
    BROKER_CONFIGS,
    "/config/ips",
    "/barnabas",
    NEW_PARTITIONS,
    ELIGIBLE_REPLICAS,
    UNCLEAN_SHUTDOWNS,
    OUR_BROKERS,
];

/// A broker's registration.
pub fn broker(id: BrokerId) -> String {
    format!("{BROKER_IDS}/{id}")
}

/// A topic.
pub fn topic(topic: &str) -> String {
    format!("{TOPICS}/{topic}")
}

/// A topic's partitions.
pub fn partitions(topic: &str) -> String {
    format!("{TOPICS}/{topic}/partitions")
}

/// A partition.
pub fn partition(topic: &str, partition: i32) -> String {
    format!("{TOPICS}/{topic}/partitions/{partition}")
}

/// A partition's state.
pub fn partition_state(topic: &str, partition: i32) -> String {
    format!("{TOPICS}/{topic}/partitions/{partition}/state")
}

/// A topic's configs.
pub fn topic_config(topic: &str) -> String {
    format!("{TOPIC_CONFIGS}/{topic}")
}

/// A broker's dynamic configs; `None` for those of all brokers.
pub fn broker_config(broker: Option<BrokerId>) -> String {
    match broker {
        Some(id) => format!("{BROKER_CONFIGS}/{id}"),
        None => format!("{BROKER_CONFIGS}/{DEFAULT_ENTITY}"),
    }
}

/// The path of a notification of changed configs, before its number.
pub fn config_change() -> String {
    format!("{CONFIG_CHANGES}/{CONFIG_CHANGE}")
}

/// The mark of a topic that is to be deleted.
pub fn delete_topic(topic: &str) -> String {
    format!("{DELETE_TOPICS}/{topic}")
}

/// The partitions of a topic that no broker is known to have yet.
pub fn new_partitions(topic: &str) -> String {
    format!("{NEW_PARTITIONS}/{topic}")
}

/// What is known of a topic's partitions beside their ISRs.
pub fn eligible_replicas_of_topic(topic: &str) -> String {
    format!("{ELIGIBLE_REPLICAS}/{topic}")
}

/// What is known of a partition beside its ISR.
pub fn eligible_replicas(topic: &str, partition: i32) -> String {
    format!("{ELIGIBLE_REPLICAS}/{topic}/{partition}")
}

/// What a broker of ours says of itself beside its registration.
pub fn our_broker(broker: BrokerId) -> String {
    format!("{OUR_BROKERS}/{broker}")
}

/// The mark of a broker that came back without what it had not synced.
pub fn unclean_shutdown(broker: BrokerId) -> String {
    format!("{UNCLEAN_SHUTDOWNS}/{broker}")
}
