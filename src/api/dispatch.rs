//! From a frame to a handler: header, version, shape, decoding.
//!
//! [`SERVED`] is the one list of what is advertised and what is dispatched; the versions are all stable ones that the
//! protocol has for a key.

use std::sync::Arc;

use bytes::Bytes;

use super::{Answer, ConnectionContext, Rejected, RequestContext, Services};
use crate::wire::api_key::ApiKey;
use crate::wire::header::RequestHeader;
use crate::wire::{Message, Reader, shape};

/// A request whose decoded form would take more memory than this is refused: as much as the largest frame that Kafka's
/// default allows (`socket.request.max.bytes`).
pub const DECODED_BYTES_MAX: usize = 104_857_600;

/// More partitions than this are not asked for in one request of [`NAMED_BY_NUMBER`].
pub const PARTITIONS_MAX: usize = 1 << 18;

/// The APIs in which arrays of numbers name partitions. Four bytes of the frame are an entry of a map there, an answer, and a
/// look at the partition.
const NAMED_BY_NUMBER: [ApiKey; 6] = [
    ApiKey::AlterReplicaLogDirs,
    ApiKey::DescribeLogDirs,
    ApiKey::DescribeProducers,
    ApiKey::ElectLeaders,
    ApiKey::Fetch,
    ApiKey::OffsetFetch,
];

/// A frame of more bytes than this is received only once it has named a request that may be as large. It is what Kafka takes
/// at most from who is not authenticated (`sasl.server.max.receive.size`); without authentication there is nothing else by
/// which to tell who may fill our memory.
pub const UNNAMED_BYTES_MAX: usize = 512 << 10;

/// Looks at the first bytes of a frame of more than [`UNNAMED_BYTES_MAX`]: key and version. What clients send before they
/// are authenticated, on listeners where they are, is never as large.
///
/// # Errors
/// [`Rejected::Malformed`]: the rest need not be received.
pub fn may_be_large([key_high, key_low, version_high, version_low]: [u8; 4]) -> Result<(), Rejected> {
    let code = i16::from_be_bytes([key_high, key_low]);
    let version = i16::from_be_bytes([version_high, version_low]);
    let is_early = |key| matches!(key, ApiKey::ApiVersions | ApiKey::SaslHandshake);
    let is_known = |key: &ApiKey| SERVED.contains(key) && key.stable_versions().contains(&version);
    match ApiKey::from_code(code).filter(is_known) {
        Some(key) if !is_early(key) => Ok(()),
        _ => Err(Rejected::Malformed(format!(
            "a frame of more than {UNNAMED_BYTES_MAX} bytes for API {code} in version {version}"
        ))),
    }
}

/// A frame whose header was read and whose shape was checked, ready to be decoded.
pub struct Opened {
    context: RequestContext,
    key: ApiKey,
    body: Bytes,
    decoded_bytes: usize,
    /// The client asked for a version of ApiVersions that we do not have: the answer says which there are.
    version_unknown: bool,
}

impl Opened {
    /// What the request will take in memory, in bytes, beside its frame.
    pub fn decoded_bytes(&self) -> usize {
        self.decoded_bytes
    }

    /// Pairs request and answer.
    pub fn correlation_id(&self) -> i32 {
        self.context.correlation_id
    }
}

/// Reads the header of a frame and checks its shape; allocates nothing that depends on what the client declares.
///
/// # Errors
/// [`Rejected::Malformed`]: Kafka closes such a connection too, for it cannot know what the client expects.
pub fn open(connection: &Arc<ConnectionContext>, frame: Bytes) -> Result<Opened, Rejected> {
    let (header, body) =
        RequestHeader::decode(frame).map_err(|error| Rejected::Malformed(error.to_string()))?;
    let key = header.api_key;
    if !SERVED.contains(&key) {
        return Err(Rejected::Malformed(format!("{key} is not served")));
    }
    let version = header.api_version;
    let known = key.stable_versions().contains(&version);
    let context = RequestContext {
        connection: Arc::clone(connection),
        api_version: version,
        correlation_id: header.correlation_id,
        client_id: header.client_id,
    };
    if !known {
        if key != ApiKey::ApiVersions {
            return Err(Rejected::Malformed(format!(
                "{} version {version} is not served",
                key
            )));
        }
        return Ok(Opened {
            context,
            key,
            body: Bytes::new(),
            decoded_bytes: 0,
            version_unknown: true,
        });
    }
    let footprint = shape::check(key, version, true, &body)
        .map_err(|error| Rejected::Malformed(format!("{} version {version}: {error}", key)))?;
    let decoded_bytes = footprint.decoded_bytes;
    if decoded_bytes > DECODED_BYTES_MAX {
        return Err(Rejected::Malformed(format!(
            "{} would take {decoded_bytes} bytes",
            key
        )));
    }
    if footprint.numbers > PARTITIONS_MAX && NAMED_BY_NUMBER.contains(&key) {
        return Err(Rejected::Malformed(format!(
            "{} names {} partitions",
            key, footprint.numbers
        )));
    }
    Ok(Opened {
        context,
        key,
        body,
        decoded_bytes,
        version_unknown: false,
    })
}

fn decode<M: Message>(body: Bytes, context: &RequestContext) -> Result<M, Rejected> {
    M::decode(&mut Reader::new(body), context.api_version)
        .map_err(|error| Rejected::Malformed(error.to_string()))
}

macro_rules! served {
    ($($key:ident => $handler:path),* $(,)?) => {
        /// The APIs that are advertised and answered.
        pub const SERVED: &[ApiKey] = &[$(ApiKey::$key),*];

        /// Has a request answered, and returns when it has passed its API's ordering point.
        ///
        /// # Errors
        /// [`Rejected`] when the connection must be closed instead.
        pub async fn dispatch(services: &Arc<Services>, request: Opened) -> Result<Answer, Rejected> {
            let context = request.context;
            if request.version_unknown {
                return Ok(super::api_versions::unsupported());
            }
            match request.key {
                $(ApiKey::$key => {
                    let decoded = decode(request.body, &context)?;
                    $handler(services, &context, decoded).await
                })*
                other => Err(Rejected::Malformed(format!("{} is not served", other.name()))),
            }
        }
    };
}

served! {
    Produce => super::produce::handle,
    Fetch => super::fetch::handle,
    ListOffsets => super::list_offsets::handle,
    Metadata => super::metadata::handle,
    LeaderAndIsr => super::leader_and_isr::handle,
    StopReplica => super::stop_replica::handle,
    UpdateMetadata => super::update_metadata::handle,
    ControlledShutdown => super::controlled_shutdown::handle,
    AlterPartition => super::alter_partition::handle,
    AllocateProducerIds => super::allocate_producer_ids::handle,
    OffsetCommit => super::offset_commit::handle,
    OffsetFetch => super::offset_fetch::handle,
    FindCoordinator => super::find_coordinator::handle,
    JoinGroup => super::join_group::handle,
    Heartbeat => super::heartbeat::handle,
    LeaveGroup => super::leave_group::handle,
    SyncGroup => super::sync_group::handle,
    DescribeGroups => super::describe_groups::handle,
    ListGroups => super::list_groups::handle,
    DeleteGroups => super::delete_groups::handle,
    OffsetDelete => super::offset_delete::handle,
    CreateTopics => super::create_topics::handle,
    DeleteTopics => super::delete_topics::handle,
    CreatePartitions => super::create_partitions::handle,
    InitProducerId => super::init_producer_id::handle,
    DescribeConfigs => super::configs::describe,
    AlterConfigs => super::configs::alter,
    IncrementalAlterConfigs => super::configs::alter_incrementally,
    ListConfigResources => super::list_config_resources::handle,
    ElectLeaders => super::elect_leaders::handle,
    AlterPartitionReassignments => super::partition_reassignments::alter,
    ListPartitionReassignments => super::partition_reassignments::list,
    DescribeClientQuotas => super::client_quotas::describe,
    AlterClientQuotas => super::client_quotas::alter,
    DescribeUserScramCredentials => super::user_scram_credentials::describe,
    AlterUserScramCredentials => super::user_scram_credentials::alter,
    UpdateFeatures => super::update_features::handle,
    DescribeCluster => super::describe_cluster::handle,
    DescribeTopicPartitions => super::describe_topic_partitions::handle,
    DeleteRecords => super::delete_records::handle,
    OffsetForLeaderEpoch => super::offset_for_leader_epoch::handle,
    AlterReplicaLogDirs => super::alter_replica_log_dirs::handle,
    DescribeLogDirs => super::describe_log_dirs::handle,
    DescribeProducers => super::describe_producers::handle,
    ApiVersions => super::api_versions::handle,
    SaslHandshake => super::sasl_handshake::handle,
    DescribeAcls => super::acls::describe,
    CreateAcls => super::acls::create,
    DeleteAcls => super::acls::delete,
    CreateDelegationToken => super::delegation_tokens::create,
    RenewDelegationToken => super::delegation_tokens::renew,
    ExpireDelegationToken => super::delegation_tokens::expire,
    DescribeDelegationToken => super::delegation_tokens::describe,
}
