//! The topics that Kafka keeps for itself.

/// What the brokers write themselves (Kafka: `Topic.INTERNAL_TOPICS`; the last one from 4.0 on).
const INTERNAL: &[&str] = &["__consumer_offsets", "__transaction_state", "__share_group_state"];

/// True for a topic that clients may read, but only brokers write.
pub fn is_internal_topic(name: &str) -> bool {
    INTERNAL.contains(&name)
}
