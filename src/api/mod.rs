//! L7, one file a Kafka API, and the dispatch to them.
//!
//! Each handler is an `async fn handle` that returns at its API's ordering point: the next request of the connection
//! does not begin before. What is still to come then is in [`Answer::Later`].

mod acls;
mod allocate_producer_ids;
pub mod alter_configs;
mod alter_partition;
mod alter_replica_log_dirs;
mod api_versions;
mod authorized_operations;
mod client_quotas;
pub mod config_resource;
mod configs;
mod context;
mod controlled_shutdown;
mod create_partitions;
mod create_topics;
mod current_leader;
mod delegation_tokens;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
pub mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_topic_partitions;
mod dispatch;
mod down_conversion;
mod elect_leaders;
mod fetch;
mod find_coordinator;
mod heartbeat;
mod in_time;
pub mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leader_and_isr;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod old_offsets;
mod partition_reassignments;
mod partition_view;
mod produce;
mod sasl_handshake;
mod services;
mod stop_replica;
mod sync_group;
mod update_features;
mod update_metadata;
mod user_scram_credentials;

#[cfg(test)]
mod partitions_test;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod told_test;
#[cfg(test)]
mod topics_test;
#[cfg(test)]
mod turns_test;

use std::future::Future;
use std::pin::Pin;

pub use context::{ConnectionContext, ListenerContext, RequestContext};
pub use dispatch::{Opened, UNNAMED_BYTES_MAX, dispatch, may_be_large, open};
pub use services::Services;

use crate::group::command;
use crate::group::service::Asked;
use crate::wire::response::Response;

/// An answer that is not there yet. It registers what it waits for when it is made, not when it is first polled.
pub type Pending = Pin<Box<dyn Future<Output = Response> + Send>>;

/// What a handler gives at its ordering point.
pub enum Answer {
    /// The answer.
    Now(Response),
    /// The answer will come; requests behind this one may run.
    Later(Pending),
    /// The client wants none (Produce with acks=0).
    Silent,
}

impl Answer {
    /// What a group's shard was asked, answered now if the shard has done so: on a broker of one it mostly has.
    fn of_group(asked: Asked, respond: impl FnOnce(command::Answer) -> Response + Send + 'static) -> Self {
        match asked.ready() {
            Ok(answer) => Self::Now(respond(answer)),
            Err(asked) => Self::Later(Box::pin(async move { respond(asked.await) })),
        }
    }
}

/// Why a connection must be closed instead of answered, as Kafka does it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rejected {
    /// No request of the protocol, or of a version that is not served.
    Malformed(String),
    /// The answer is that there is none, and why.
    Close(&'static str),
}
