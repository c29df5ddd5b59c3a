"""Differences that are wanted. Each rests on a row of docs/deviations.md, named by how the row begins; one whose row is gone,
or that no longer occurs, makes the comparison fail."""

import os
import re

from harness import places


class Known:
    """`where` is looked for in `scenario/label vVERSION path`; `test` is asked with Kafka's value and ours."""

    def __init__(self, row, where, test=lambda kafka, ours: True):
        self.row, self.where, self.test, self.used = row, re.compile(where), test, 0

    def covers(self, where, kafka, ours):
        if not self.where.search(where) or not self.test(kafka, ours):
            return False
        self.used += 1
        return True


def both(kafka_value, our_value):
    return lambda kafka, ours: kafka == kafka_value and ours == our_value


OF_4 = "versions of APIs that came with 4.x"
NOT_THERE = "Each place has its reason. What is not there yet"
BY_HASH = "order of topics, partitions, producers, members, users and folders in answers"
KNOWN = [
    Known("texts of errors and of", r"Message$", lambda kafka, ours: kafka in (None, "") and ours == "<text>"),
    Known("order of the keys in DescribeConfigs", r"(DescribeConfigs|CreateTopics) .*Configs\[order\]$"),
    Known(BY_HASH, r"/(Metadata|CreateTopics|DeleteTopics|DeleteRecords|CreatePartitions|DescribeProducers|DescribeLogDirs|AlterReplicaLogDirs|Produce|ListOffsets|JoinGroup|AlterUserScramCredentials) .*\[order\]$"),
    Known("order of the answers to OffsetCommit", r"/(OffsetCommit|OffsetFetch|OffsetDelete|DescribeGroups|DeleteGroups|ListGroups) .*\[order\]$"),
    Known("order of the answers to elections", r"/(ElectLeaders|AlterPartitionReassignments|ListPartitionReassignments) .*\[order\]$"),
    # Topics
    Known("Metadata for a topic that is created by it", r"^metadata-creates/Metadata v"),
    Known("Metadata for a topic with neither", r"^metadata-variations/Metadata Topics.Name=null v1[23] .*ErrorCode$", both(-1, 42)),
    Known("empty or negative replicas", r"^create-topics-assigned/CreateTopics Topics.Assignments.BrokerIds=empty v"),
    Known("negative partitions in a manual assignment", r"^create-topics-assigned/CreateTopics Topics.Assignments.PartitionIndex=(min|-1) v.*ErrorCode$", both(-1, 39)),
    Known("DeleteTopics for a topic with neither", r"^delete-topics(-variations)?/DeleteTopics (#3|Topics.Name=null) v.*ErrorCode$", both(29, 100)),
    Known("CreatePartitions of a topic without a name", r"^create-partitions-variations/CreatePartitions Topics.Name=empty v.*ErrorCode$", both(-1, 3)),
    Known("CreatePartitions to so many less", r"^create-partitions-variations/CreatePartitions Topics.Count=min v.*ErrorCode$", both(39, 37)),
    # Partitions
    Known("Produce with null records", r"^produce-variations/Produce TopicData.PartitionData.Records=null v"),
    Known("`max_bytes` below 0", r"^fetch-variations/Fetch (Topics.Partitions.Partition)?MaxBytes=(min|-1) v"),
    Known("Fetch with an isolation level", r"^fetch-variations/Fetch IsolationLevel=(min|-1|max) v"),
    Known("Fetch with the id of a session", r"^fetch-variations/Fetch SessionId=(min|max) v"),
    Known("a batch of a codec that does not exist", r"^produce-refused/Produce #8 v[56] .*LogStartOffset$", both(-1, 0)),
    Known("Fetch of what a version cannot read", r"^fetch-old-versions/Fetch( #2)? v.* Responses.Partitions.Records$", both(None, [])),
    Known("Fetch version 18 of a broker", r"^fetch-variations/Fetch ReplicaState.ReplicaId=max v18 NodeEndpoints$"),
    Known("a partition named twice in one ListOffsets", r"^list-offsets/ListOffsets #12 v1[01] Topics.Partitions\[\]$"),
    Known("a topic without partitions in ListOffsets", r"^list-offsets-variations/ListOffsets Topics.Partitions=empty v1[01] "),
    Known("ListOffsets with an isolation level", r"^list-offsets-variations/ListOffsets (IsolationLevel=(min|-1|max)|.*MaxNumOffsets=(min|-1)) v"),
    Known("DescribeTopicPartitions from a partition", r"^describe-topic-partitions-variations/DescribeTopicPartitions Cursor.PartitionIndex=max v.* NextCursor$"),
    Known(NOT_THERE, r"^idempotent-producer/Produce #13 v.*ErrorCode$", both(49, 19)),
    # Groups
    Known("FindCoordinator for a transactional id", r"^find-coordinator/FindCoordinator #[45] v"),
    Known("operations on a group in DescribeGroups version 6", r"/DescribeGroups .*v6 Groups.AuthorizedOperations$", both(3400, 328)),
    Known("OffsetCommit version 10 at a generation", r"^offsets/OffsetCommit #8 v10 .*ErrorCode$", both(69, 22)),
    Known("a group named twice in one OffsetFetch or DescribeGroups", r"^(group-of-one/DescribeGroups #[56]|describe-groups-6/DescribeGroups #5) v.* Groups\[\]$"),
    Known("offsets of version 0, in the store", r"^offsets/DeleteGroups #4 v.* Results.ErrorCode$", both(69, 0)),
    Known("OffsetFetch for no group at all", r"^offset-fetch-variations/OffsetFetch Groups=empty v[89] "),
    # Administration
    Known("CreateDelegationToken for an owner with a name", r"^create-token-variations/CreateDelegationToken OwnerPrincipalType=null v3 "),
    Known("a resource named twice in one AlterConfigs", r"^alter-configs/AlterConfigs #9 v"),
    Known("appending to an unknown key", r"^incremental-alter-configs-variations/.*ConfigOperation=\S+ v.*ErrorCode$", both(-1, 42)),
    Known("ElectLeaders with a kind of election", r"^elect-leaders-variations/ElectLeaders ElectionType=\S+ v.*ErrorCode$", both(-1, 42)),
    Known("AlterPartitionReassignments version 1 with a timeout", r"^alter-reassignments-variations/.*TimeoutMs=(min|-1) v1 .*ErrorCode$", both(7, 0)),
    Known("limits of users, client ids", r"quotas.*/AlterClientQuotas .*ErrorCode$", both(0, 35)),
    Known("a kind of match that does not exist", r"quotas.*/DescribeClientQuotas (#5|.*MatchType=\S+) v.* ErrorCode$", both(-1, 42)),
    Known("DescribeClientQuotas for a name that is null or empty", r"describe-quotas-variations/DescribeClientQuotas Components.Match=(null|empty) v"),
    Known("SCRAM credentials", r"scram.*/AlterUserScramCredentials .*ErrorCode$", lambda kafka, ours: kafka in (0, -1) and ours == 33),
]

def missing_rows():
    with open(os.path.join(places.ROOT, "docs", "deviations.md")) as source:
        rows = [line.lstrip("| ") for line in source]
    return [known.row for known in KNOWN if not any(row.startswith(known.row) for row in rows)]
