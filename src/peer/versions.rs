//! The versions that a broker of `inter.broker.protocol.version` 3.9 sends to others without having asked them; the
//! receiver must know them, or it closes the connection. (Kafka: `AbstractControllerBrokerRequestBatch`,
//! `MetadataVersion.fetchRequestVersion` and its neighbours, `TransactionMarkerChannelManager`.)
//!
//! AlterPartition and AllocateProducerIds are negotiated instead: see
//! [`Connection::newest_version`](super::Connection::newest_version) and the constants at the end.

/// LeaderAndIsr, from a controller.
pub const LEADER_AND_ISR: i16 = 7;
/// StopReplica, from a controller.
pub const STOP_REPLICA: i16 = 4;
/// UpdateMetadata, from a controller.
pub const UPDATE_METADATA: i16 = 8;
/// ControlledShutdown, to the controller.
pub const CONTROLLED_SHUTDOWN: i16 = 3;
/// Fetch, by a follower, when every partition of the session has a topic id.
pub const FETCH: i16 = 17;
/// Fetch, by a follower, when some partition of the session has no topic id.
pub const FETCH_BY_NAME: i16 = 12;
/// ListOffsets, by a follower.
pub const LIST_OFFSETS: i16 = 9;
/// OffsetForLeaderEpoch, by a follower.
pub const OFFSET_FOR_LEADER_EPOCH: i16 = 4;
/// WriteTxnMarkers, by a transaction coordinator.
pub const WRITE_TXN_MARKERS: i16 = 1;

/// AlterPartition: the highest that we ask for.
pub const ALTER_PARTITION_NEWEST: i16 = 3;
/// AlterPartition: the highest in which topics have names, when some topic has no id.
pub const ALTER_PARTITION_BY_NAME_NEWEST: i16 = 1;
/// AllocateProducerIds: the only one.
pub const ALLOCATE_PRODUCER_IDS_NEWEST: i16 = 0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ApiKey;
    use crate::wire::recorded::{Exchange, exchanges};

    #[test]
    fn they_are_what_a_broker_of_kafka_was_seen_to_send() {
        let sent = exchanges();
        let newest = |key: ApiKey| {
            let versions = sent.iter().filter(|one| one.key == key).map(|one| one.version);
            versions.max()
        };
        for (key, version) in [
            (ApiKey::LeaderAndIsr, LEADER_AND_ISR),
            (ApiKey::StopReplica, STOP_REPLICA),
            (ApiKey::UpdateMetadata, UPDATE_METADATA),
            (ApiKey::ControlledShutdown, CONTROLLED_SHUTDOWN),
            (ApiKey::Fetch, FETCH),
            (ApiKey::ListOffsets, LIST_OFFSETS),
            (ApiKey::OffsetForLeaderEpoch, OFFSET_FOR_LEADER_EPOCH),
            (ApiKey::AlterPartition, ALTER_PARTITION_NEWEST),
            (ApiKey::AllocateProducerIds, ALLOCATE_PRODUCER_IDS_NEWEST),
        ] {
            assert_eq!(newest(key), Some(version), "{key}");
            assert!(key.stable_versions().contains(&version));
        }
        let by_name = |one: &Exchange| (one.key, one.version) == (ApiKey::Fetch, FETCH_BY_NAME);
        assert!(sent.iter().any(by_name));
    }
}
