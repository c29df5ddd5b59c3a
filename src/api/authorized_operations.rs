//! The operations a client may do to a resource, as the bit set that some answers carry (KIP-430).

use super::RequestContext;
use super::context::{Operation, Resource};

/// The field's value when the client did not ask.
pub(super) const NOT_ASKED: i32 = i32::MIN;

/// Kafka's `AclOperation` codes.
const fn bit(operation: Operation) -> i32 {
    1 << match operation {
        Operation::Read => 3,
        Operation::Write => 4,
        Operation::Create => 5,
        Operation::Delete => 6,
        Operation::Alter => 7,
        Operation::Describe => 8,
        Operation::ClusterAction => 9,
        Operation::DescribeConfigs => 10,
        Operation::AlterConfigs => 11,
        Operation::IdempotentWrite => 12,
    }
}

/// What `AclEntry.supportedOperations` lists for a topic.
const TOPIC: &[Operation] = &[
    Operation::Read,
    Operation::Write,
    Operation::Create,
    Operation::Describe,
    Operation::Delete,
    Operation::Alter,
    Operation::DescribeConfigs,
    Operation::AlterConfigs,
];

/// What `AclEntry.supportedOperations` lists for a group.
const GROUP: &[Operation] = &[Operation::Read, Operation::Describe, Operation::Delete];

/// What `AclEntry.supportedOperations` lists for the cluster.
const CLUSTER: &[Operation] = &[
    Operation::Create,
    Operation::ClusterAction,
    Operation::DescribeConfigs,
    Operation::AlterConfigs,
    Operation::IdempotentWrite,
    Operation::Alter,
    Operation::Describe,
];

fn allowed(context: &RequestContext, operations: &[Operation], resource: Resource<'_>) -> i32 {
    operations
        .iter()
        .filter(|operation| context.authorize(**operation, resource))
        .fold(0, |bits, operation| bits | bit(*operation))
}

/// What the client may do to a topic.
pub(super) fn on_topic(context: &RequestContext, topic: &str) -> i32 {
    allowed(context, TOPIC, Resource::Topic(topic))
}

/// What the client may do to a group.
pub(super) fn on_group(context: &RequestContext, group_id: &str) -> i32 {
    allowed(context, GROUP, Resource::Group(group_id))
}

/// What the client may do to the cluster.
pub(super) fn on_cluster(context: &RequestContext) -> i32 {
    allowed(context, CLUSTER, Resource::Cluster)
}
