//! What a member of a group, or an administrator of groups, asks: one function a request, with the answer's codes as
//! numbers. Without a version it is asked in the highest.

use barnabas::wire::Text;
use barnabas::wire::messages::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup,
};
use barnabas::wire::messages::find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};
use barnabas::wire::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use barnabas::wire::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use barnabas::wire::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity};
use barnabas::wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
};
use barnabas::wire::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    OffsetFetchResponse,
};
use barnabas::wire::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse};
use bytes::Bytes;

use super::{Client, PATIENCE};

/// How long sessions and rebalances may take: longer than any test.
pub const SESSION_MS: i32 = 120_000;

/// The subscription of a consumer, version 0, as its metadata.
pub fn subscription(topics: &[&str]) -> Bytes {
    let mut bytes = vec![0, 0];
    bytes.extend(u32::try_from(topics.len()).unwrap().to_be_bytes());
    for topic in topics {
        bytes.extend(u16::try_from(topic.len()).unwrap().to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1_i32).to_be_bytes());
    bytes.into()
}

/// A consumer that would join with the protocol `range` and subscribes to `t`.
pub fn join_request(group: &str, member: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: Text::copy(group),
        session_timeout_ms: SESSION_MS,
        rebalance_timeout_ms: SESSION_MS,
        member_id: Text::copy(member),
        protocol_type: Text::from("consumer"),
        protocols: vec![protocol("range", &["t"])],
        ..JoinGroupRequest::default()
    }
}

pub fn protocol(name: &str, topics: &[&str]) -> JoinGroupRequestProtocol {
    JoinGroupRequestProtocol {
        name: Text::copy(name),
        metadata: subscription(topics),
    }
}

pub fn sync_request(
    joined: &JoinGroupResponse,
    group: &str,
    assignments: &[(&str, &str)],
) -> SyncGroupRequest {
    SyncGroupRequest {
        group_id: Text::copy(group),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        group_instance_id: None,
        protocol_type: Some(Text::from("consumer")),
        protocol_name: Some(Text::from("range")),
        assignments: assignments
            .iter()
            .map(|(member, assignment)| SyncGroupRequestAssignment {
                member_id: Text::copy(member),
                assignment: Bytes::copy_from_slice(assignment.as_bytes()),
            })
            .collect(),
    }
}

/// Offsets of partitions of one topic.
pub fn commit_request(group: &str, topic: &str, offsets: &[(i32, i64)]) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: Text::copy(group),
        topics: vec![OffsetCommitRequestTopic {
            name: Text::copy(topic),
            partitions: offsets
                .iter()
                .map(|(partition, offset)| OffsetCommitRequestPartition {
                    partition_index: *partition,
                    committed_offset: *offset,
                    committed_metadata: Some(Text::from("m")),
                    ..OffsetCommitRequestPartition::default()
                })
                .collect(),
            ..OffsetCommitRequestTopic::default()
        }],
        ..OffsetCommitRequest::default()
    }
}

/// The errors in the order of the request: Kafka answers what it refuses first.
pub fn error_codes(request: &OffsetCommitRequest, response: &OffsetCommitResponse) -> Vec<i16> {
    let of = |topic: &OffsetCommitRequestTopic, index: i32| {
        let answered = response.topics.iter();
        let answered = answered.filter(|one| match topic.topic_id.is_zero() {
            true => one.name == topic.name,
            false => one.topic_id == topic.topic_id,
        });
        let mut partitions = answered.flat_map(|one| &one.partitions);
        let partition = partitions.find(|one| one.partition_index == index);
        partition.expect("each partition is answered").error_code
    };
    let mut codes = Vec::new();
    for topic in &request.topics {
        codes.extend(topic.partitions.iter().map(|one| of(topic, one.partition_index)));
    }
    let answered = response.topics.iter().map(|topic| topic.partitions.len());
    assert_eq!(codes.len(), answered.sum::<usize>());
    codes
}

/// Asks for partitions of one topic, or for all that the group has, in the form that `version` has.
pub fn fetch_request(group: &str, asked: Option<(&str, &[i32])>, version: i16) -> OffsetFetchRequest {
    let mut request = OffsetFetchRequest::default();
    if version >= 8 {
        request.groups = vec![OffsetFetchRequestGroup {
            group_id: Text::copy(group),
            topics: asked.map(|(topic, partitions)| {
                vec![OffsetFetchRequestTopics {
                    name: Text::copy(topic),
                    partition_indexes: partitions.to_vec(),
                    ..OffsetFetchRequestTopics::default()
                }]
            }),
            ..OffsetFetchRequestGroup::default()
        }];
        return request;
    }
    request.group_id = Text::copy(group);
    request.topics = asked.map(|(topic, partitions)| {
        vec![OffsetFetchRequestTopic {
            name: Text::copy(topic),
            partition_indexes: partitions.to_vec(),
        }]
    });
    request
}

/// What is answered of a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetched {
    pub partition: i32,
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: String,
    pub error: i16,
}

impl Fetched {
    pub fn new(partition: i32, offset: i64, metadata: &str, error: i16) -> Self {
        Self {
            partition,
            offset,
            leader_epoch: -1,
            metadata: metadata.to_owned(),
            error,
        }
    }
}

/// The partitions of a response about one group, whatever its version, by number.
pub fn fetched(response: &OffsetFetchResponse) -> Vec<Fetched> {
    let text = |metadata: &Option<Text>| metadata.clone().unwrap_or_default().to_string();
    let old = response.topics.iter().flat_map(|topic| &topic.partitions);
    let old = old.map(|one| Fetched {
        partition: one.partition_index,
        offset: one.committed_offset,
        leader_epoch: one.committed_leader_epoch,
        metadata: text(&one.metadata),
        error: one.error_code,
    });
    let groups = response.groups.iter().flat_map(|group| &group.topics);
    let new = groups.flat_map(|topic| &topic.partitions).map(|one| Fetched {
        partition: one.partition_index,
        offset: one.committed_offset,
        leader_epoch: one.committed_leader_epoch,
        metadata: text(&one.metadata),
        error: one.error_code,
    });
    let mut all: Vec<Fetched> = old.chain(new).collect();
    all.sort_by_key(|one| one.partition);
    all
}

impl Client {
    /// Asks until the group has a coordinator that has loaded its partition. So for each group that a test names.
    pub fn await_coordinator(&mut self, group: &str) {
        let began = std::time::Instant::now();
        loop {
            let request = FindCoordinatorRequest {
                coordinator_keys: vec![Text::copy(group)],
                ..FindCoordinatorRequest::default()
            };
            let found: FindCoordinatorResponse = self.ask(&request, 4);
            let mut loaded = || self.describe_group(group, 5).error_code == 0;
            if found.coordinators[0].error_code == 0 && loaded() {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "no coordinator of {group}");
        }
    }

    pub fn join(&mut self, request: &JoinGroupRequest) -> JoinGroupResponse {
        self.ask(request, 9)
    }

    /// Joins as a new member: asks for an id, then joins with it.
    pub fn join_newly(&mut self, group: &str) -> JoinGroupResponse {
        let named = self.join(&join_request(group, ""));
        assert_eq!(named.error_code, 79, "an id first");
        self.join(&join_request(group, &named.member_id))
    }

    /// A member of a group of its own that is stable.
    pub fn alone_in(&mut self, group: &str) -> JoinGroupResponse {
        self.await_coordinator(group);
        let joined = self.join_newly(group);
        assert_eq!(joined.error_code, 0);
        let assignments = [(joined.member_id.as_str(), "all")];
        let synced = self.sync(&sync_request(&joined, group, &assignments));
        assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"all"[..]));
        joined
    }

    pub fn sync(&mut self, request: &SyncGroupRequest) -> SyncGroupResponse {
        self.ask(request, 5)
    }

    pub fn heartbeat(&mut self, group: &str, generation: i32, member: &str) -> i16 {
        let request = HeartbeatRequest {
            group_id: Text::copy(group),
            generation_id: generation,
            member_id: Text::copy(member),
            group_instance_id: None,
        };
        self.ask::<_, HeartbeatResponse>(&request, 4).error_code
    }

    /// The error of the request, and of each member.
    pub fn leave(&mut self, group: &str, members: &[(&str, Option<&str>)], version: i16) -> (i16, Vec<i16>) {
        let request = LeaveGroupRequest {
            group_id: Text::copy(group),
            member_id: Text::copy(members[0].0),
            members: members
                .iter()
                .map(|(member, instance)| MemberIdentity {
                    member_id: Text::copy(member),
                    group_instance_id: instance.map(Text::copy),
                    reason: None,
                })
                .collect(),
        };
        let response: LeaveGroupResponse = self.ask(&request, version);
        let members = response.members.iter().map(|member| member.error_code).collect();
        (response.error_code, members)
    }

    pub fn describe_group(&mut self, group: &str, version: i16) -> DescribedGroup {
        let request = DescribeGroupsRequest {
            groups: vec![Text::copy(group)],
            include_authorized_operations: version >= 3,
        };
        let response: DescribeGroupsResponse = self.ask(&request, version);
        response.groups[0].clone()
    }

    pub fn commit(&mut self, request: &OffsetCommitRequest, version: i16) -> Vec<i16> {
        error_codes(request, &self.ask(request, version))
    }

    /// What the group has of partitions of one topic, or of all; its own error must be none.
    pub fn fetch_offsets(
        &mut self,
        group: &str,
        asked: Option<(&str, &[i32])>,
        version: i16,
    ) -> Vec<Fetched> {
        let response: OffsetFetchResponse = self.ask(&fetch_request(group, asked, version), version);
        assert_eq!(response.error_code, 0, "version {version}");
        for group in &response.groups {
            assert_eq!(group.error_code, 0, "version {version}");
        }
        fetched(&response)
    }
}
