//! What the group coordinator is asked and what it answers: plain data, free of wire versions.
//!
//! Invariant: a [`Command`] is answered by the [`Answer`] of the same name. Handlers in api/ make commands out of
//! requests of every version and lower the answers; the state machine of this room is the only one that reads them. What
//! a command carries may share the memory of its request: what is kept is copied ([`Text::copy`]).

use bytes::Bytes;

use crate::base::error_code::ErrorCode;
use crate::base::ids::Offset;
use crate::wire::text::Text;

/// What a shard of groups is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// JoinGroup.
    Join(Join),
    /// SyncGroup.
    Sync(Sync),
    /// Heartbeat.
    Heartbeat(Heartbeat),
    /// LeaveGroup.
    Leave(Leave),
    /// OffsetCommit from version 1 on.
    Commit(Commit),
    /// OffsetFetch from version 1 on, one group.
    Fetch(FetchOffsets),
    /// DescribeGroups, one group.
    Describe(Text),
    /// ListGroups: all groups of the shard.
    List,
    /// DeleteGroups: those groups that belong to the shard.
    Delete(Vec<Text>),
    /// OffsetDelete.
    DeleteOffsets(DeleteOffsets),
    /// Topics are gone, and with them every offset of theirs.
    TopicsDeleted(TopicsDeleted),
    /// Housekeeping, every `offsets.retention.check.interval.ms`: removes what has expired.
    Expire,
}

/// What a shard of groups answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// To [`Command::Join`].
    Join(JoinAnswer),
    /// To [`Command::Sync`].
    Sync(SyncAnswer),
    /// To [`Command::Heartbeat`].
    Heartbeat(ErrorCode),
    /// To [`Command::Leave`].
    Leave(LeaveAnswer),
    /// To [`Command::Commit`].
    Commit(CommitAnswer),
    /// To [`Command::Fetch`].
    Fetch(FetchAnswer),
    /// To [`Command::Describe`].
    Describe(Described),
    /// To [`Command::List`].
    List(Vec<Listed>),
    /// To [`Command::Delete`]: each group with its error, in the order of the command.
    Delete(Vec<(Text, ErrorCode)>),
    /// To [`Command::DeleteOffsets`].
    DeleteOffsets(DeleteOffsetsAnswer),
    /// To [`Command::TopicsDeleted`]: why the offsets are still in the log.
    TopicsDeleted(ErrorCode),
    /// To what asks for nothing.
    Done,
}

/// Topics that are gone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicsDeleted {
    /// Their names.
    pub names: Vec<String>,
    /// What was committed from this offset of the shard's log on belongs to topics that were made anew.
    pub below: Offset,
}

/// Who sends a JoinGroup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Client {
    /// The client id of the request's header; empty when it has none.
    pub id: Text,
    /// The peer's address as Java writes it: `/127.0.0.1`.
    pub host: String,
}

/// A JoinGroup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Join {
    /// The group.
    pub group_id: Text,
    /// The member's id; empty for one that has none yet.
    pub member_id: Text,
    /// The id of a static member (KIP-345).
    pub group_instance_id: Option<Text>,
    /// Who sends it.
    pub client: Client,
    /// The member is taken for dead when it is silent for longer.
    pub session_timeout_ms: i32,
    /// How long the member may take to rejoin; the session timeout in version 0.
    pub rebalance_timeout_ms: i32,
    /// What kind of group: `consumer`, `connect` ...
    pub protocol_type: Text,
    /// The assignors that the member offers, best first, each with the member's metadata for it.
    pub protocols: Vec<(Text, Bytes)>,
    /// From version 4 on: a member without an id is given one first (KIP-394).
    pub requires_known_member_id: bool,
    /// From version 9 on: a leader can be told not to assign (KIP-814).
    pub supports_skipping_assignment: bool,
    /// Why it joins, for the log (KIP-800).
    pub reason: Option<Text>,
}

/// The answer to a [`Join`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinAnswer {
    /// The error; with one all but `member_id` is empty.
    pub error: ErrorCode,
    /// The generation that the member is part of; −1 with an error.
    pub generation_id: i32,
    /// The group's protocol type.
    pub protocol_type: Option<Text>,
    /// The protocol that was chosen.
    pub protocol_name: Option<Text>,
    /// The member id of the leader.
    pub leader: Text,
    /// The leader is not to assign.
    pub skip_assignment: bool,
    /// The member's id.
    pub member_id: Text,
    /// For the leader: all members.
    pub members: Vec<JoinMember>,
}

impl JoinAnswer {
    /// A refusal.
    pub fn error(error: ErrorCode, member_id: Text) -> Self {
        Self {
            error,
            generation_id: -1,
            protocol_type: None,
            protocol_name: None,
            leader: Text::EMPTY,
            skip_assignment: false,
            member_id,
            members: Vec::new(),
        }
    }
}

/// A member as its leader is told of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinMember {
    /// Its id.
    pub member_id: Text,
    /// Its id as a static member.
    pub group_instance_id: Option<Text>,
    /// Its metadata for the protocol that was chosen.
    pub metadata: Bytes,
}

/// A SyncGroup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sync {
    /// The group.
    pub group_id: Text,
    /// The generation that the member knows.
    pub generation_id: i32,
    /// The member.
    pub member_id: Text,
    /// The id of a static member.
    pub group_instance_id: Option<Text>,
    /// The protocol type that the member was told, from version 5 on.
    pub protocol_type: Option<Text>,
    /// The protocol that the member was told, from version 5 on.
    pub protocol_name: Option<Text>,
    /// From the leader: what each member gets.
    pub assignments: Vec<(Text, Bytes)>,
}

/// The answer to a [`Sync`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyncAnswer {
    /// The error; with one the rest is empty.
    pub error: ErrorCode,
    /// The group's protocol type.
    pub protocol_type: Option<Text>,
    /// The protocol that was chosen.
    pub protocol_name: Option<Text>,
    /// What the member gets.
    pub assignment: Bytes,
}

impl SyncAnswer {
    /// A refusal.
    pub fn error(error: ErrorCode) -> Self {
        Self {
            error,
            protocol_type: None,
            protocol_name: None,
            assignment: Bytes::new(),
        }
    }
}

/// A Heartbeat.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heartbeat {
    /// The group.
    pub group_id: Text,
    /// The generation that the member knows.
    pub generation_id: i32,
    /// The member.
    pub member_id: Text,
    /// The id of a static member.
    pub group_instance_id: Option<Text>,
}

/// A LeaveGroup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leave {
    /// The group.
    pub group_id: Text,
    /// Who leaves, or is made to.
    pub members: Vec<LeaveMember>,
}

/// A member that leaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaveMember {
    /// Its id; empty when an administrator names a static member.
    pub member_id: Text,
    /// Its id as a static member.
    pub group_instance_id: Option<Text>,
    /// Why, for the log.
    pub reason: Option<Text>,
}

/// The answer to a [`Leave`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaveAnswer {
    /// An error of the whole.
    pub error: ErrorCode,
    /// Each member of the request with its own error.
    pub members: Vec<(LeaveMember, ErrorCode)>,
}

/// An OffsetCommit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Commit {
    /// The group; may be empty.
    pub group_id: Text,
    /// The generation that the member knows; −1 from one that is no member.
    pub generation_id: i32,
    /// The member; empty from one that is none.
    pub member_id: Text,
    /// The id of a static member.
    pub group_instance_id: Option<Text>,
    /// Versions 2 to 4: how long the offsets are kept, whatever the group does; `None` for the broker's own rule.
    pub retention_ms: Option<i64>,
    /// What is committed.
    pub offsets: Vec<CommitPartition>,
}

/// One partition of a [`Commit`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommitPartition {
    /// The topic.
    pub topic: Text,
    /// The partition.
    pub partition: i32,
    /// The next offset to be read.
    pub offset: i64,
    /// The leader epoch of the record before it; −1 for none.
    pub leader_epoch: i32,
    /// The client's note.
    pub metadata: Option<Text>,
    /// Version 1: when it was committed, by the client's clock; `None` for now.
    pub commit_timestamp_ms: Option<i64>,
}

/// The answer to a [`Commit`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommitAnswer {
    /// One for each partition, in the order of the command.
    pub errors: Vec<ErrorCode>,
}

/// An OffsetFetch, one group of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchOffsets {
    /// The group; may be empty.
    pub group_id: Text,
    /// The member that asks (KIP-848); the classic protocol does not look at it.
    pub member_id: Option<Text>,
    /// The member's epoch; likewise.
    pub member_epoch: i32,
    /// The partitions by topic; `None` for all that have an offset.
    pub topics: Option<Vec<(Text, Vec<i32>)>>,
    /// A partition whose offset is part of an open transaction is answered UNSTABLE_OFFSET_COMMIT (KIP-447).
    pub require_stable: bool,
}

/// The answer to a [`FetchOffsets`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchAnswer {
    /// An error of the whole; with one there are no topics.
    pub error: ErrorCode,
    /// The partitions by topic, in the order of the command or by name.
    pub topics: Vec<(Text, Vec<FetchedOffset>)>,
}

/// One partition of a [`FetchAnswer`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchedOffset {
    /// The partition.
    pub partition: i32,
    /// Its error.
    pub error: ErrorCode,
    /// The committed offset; −1 for none.
    pub offset: i64,
    /// The leader epoch that came with it; −1 for none.
    pub leader_epoch: i32,
    /// The note that came with it.
    pub metadata: Text,
}

/// The answer to [`Command::Describe`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Described {
    /// The error; with one the rest is empty. None for a group that does not exist: its state is `Dead`.
    pub error: ErrorCode,
    /// A text with the error.
    pub error_message: Option<&'static str>,
    /// The group.
    pub group_id: Text,
    /// Its state as Kafka names it.
    pub state: &'static str,
    /// Its protocol type; empty for none.
    pub protocol_type: Text,
    /// The protocol that was chosen; empty unless it is stable.
    pub protocol: Text,
    /// Its members.
    pub members: Vec<DescribedMember>,
}

/// A member as an administrator is told of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedMember {
    /// Its id.
    pub member_id: Text,
    /// Its id as a static member.
    pub group_instance_id: Option<Text>,
    /// Its client id.
    pub client_id: Text,
    /// Where it joined from.
    pub client_host: Text,
    /// Its metadata for the protocol that was chosen; empty unless the group is stable.
    pub metadata: Bytes,
    /// What it got; empty unless the group is stable.
    pub assignment: Bytes,
}

/// A group of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// The group.
    pub group_id: Text,
    /// Its protocol type; empty for none.
    pub protocol_type: Text,
    /// Its state as Kafka names it.
    pub state: &'static str,
    /// `classic`.
    pub group_type: &'static str,
}

/// An OffsetDelete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeleteOffsets {
    /// The group.
    pub group_id: Text,
    /// The partitions by topic.
    pub topics: Vec<(Text, Vec<i32>)>,
}

/// The answer to a [`DeleteOffsets`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeleteOffsetsAnswer {
    /// An error of the whole; with one there are no topics.
    pub error: ErrorCode,
    /// Each partition with its own error, in the order of the command.
    pub topics: Vec<(Text, Vec<(i32, ErrorCode)>)>,
}
