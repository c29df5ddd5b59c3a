//! [`GroupTimer`]: what a shard of groups waits for.

use crate::wire::text::Text;

/// The name of a timer. One that fires for something that is gone does nothing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum GroupTimer {
    /// A member has been silent for its session timeout, or its first JoinGroup has waited for too long.
    Session {
        /// The group.
        group_id: Text,
        /// The member.
        member_id: Text,
    },
    /// A member id was handed out and nobody has come back with it.
    PendingMember {
        /// The group.
        group_id: Text,
        /// The member id.
        member_id: Text,
    },
    /// The join phase of a rebalance is over.
    Rebalance {
        /// The group.
        group_id: Text,
    },
    /// Every member should have sent its SyncGroup.
    Sync {
        /// The group.
        group_id: Text,
    },
    /// There are offsets or groups left to remove.
    Removals,
}
