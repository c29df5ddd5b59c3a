//! [`State`]: where a group of the classic protocol is in its rebalance.
//!
//! Empty → PreparingRebalance → CompletingRebalance → Stable → PreparingRebalance ...; a group whose members are all gone
//! when the join phase ends is Empty again. A group that does not exist is `Dead`. Follows `GroupState`.

/// The state of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// No members.
    Empty,
    /// Members are to send JoinGroup.
    PreparingRebalance(Phase),
    /// The leader is to send the assignment.
    CompletingRebalance,
    /// The members have their assignments.
    Stable,
}

/// How the join phase ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// The group was empty: it waits for others to come, however few there are (`InitialDelayedJoin`).
    Initial {
        /// How long this wait is.
        delay_ms: i64,
        /// How much longer it may wait after this one.
        remaining_ms: i64,
        /// A member came since the wait began: it waits once more.
        newcomer: bool,
    },
    /// As soon as every member has rejoined (`DelayedJoin`).
    Rejoin,
}

/// The state of a group that does not exist.
pub const DEAD: &str = "Dead";

impl State {
    /// The name that Kafka gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance(_) => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}
