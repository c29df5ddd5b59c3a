//! The topics that Kafka keeps for itself.

/// Where the group coordinator keeps groups and their offsets (Kafka: `Topic.GROUP_METADATA_TOPIC_NAME`).
pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";

/// Where the transaction coordinator keeps its transactions (Kafka: `Topic.TRANSACTION_STATE_TOPIC_NAME`).
pub const TRANSACTION_STATE: &str = "__transaction_state";

/// What the brokers write themselves (Kafka: `Topic.INTERNAL_TOPICS`; the last one from 4.0 on).
const INTERNAL: &[&str] = &[CONSUMER_OFFSETS, TRANSACTION_STATE, "__share_group_state"];

/// True for a topic that clients may read, but only brokers write.
pub fn is_internal_topic(name: &str) -> bool {
    INTERNAL.contains(&name)
}
