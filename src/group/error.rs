//! What a failed append to `__consumer_offsets` means to the client of a group.
//!
//! Follows `GroupMetadataManager.storeGroup` and `maybeConvertOffsetCommitError`. Called by the shard when an append is
//! refused or is not replicated in time.

use crate::base::error_code::ErrorCode;

/// For a record of a group: the answers to JoinGroup, SyncGroup and DeleteGroups.
pub fn of_group_append(error: ErrorCode) -> ErrorCode {
    use ErrorCode::*;
    match error {
        UnknownTopicOrPartition | NotEnoughReplicas | NotEnoughReplicasAfterAppend => CoordinatorNotAvailable,
        NotLeaderOrFollower | KafkaStorageError => NotCoordinator,
        RequestTimedOut => RebalanceInProgress,
        MessageTooLarge | RecordListTooLarge | InvalidFetchSize => UnknownServerError,
        other => other,
    }
}

/// For offsets: the answers to OffsetCommit and TxnOffsetCommit.
pub fn of_offset_append(error: ErrorCode) -> ErrorCode {
    use ErrorCode::*;
    match error {
        NetworkException => CoordinatorLoadInProgress,
        UnknownTopicOrPartition | NotEnoughReplicas | NotEnoughReplicasAfterAppend => CoordinatorNotAvailable,
        NotLeaderOrFollower | KafkaStorageError => NotCoordinator,
        MessageTooLarge | RecordListTooLarge | InvalidFetchSize => InvalidCommitOffsetSize,
        other => other,
    }
}
