"""The deviations that stand in docs/deviations.md, as far as the tools show them. Each rests on a row there, named by how
the row begins; a row that is gone makes the comparison fail."""

import os
import re

from harness import places


class Known:
    """`rewrite`: what is done to both sides' text, so that the deviation is gone. `tools`: where it may be applied."""

    def __init__(self, row, tools, rewrite):
        self.row, self.tools, self.rewrite = row, re.compile(tools), rewrite

    def apply(self, title, ours, theirs):
        if not self.tools.search(title):
            return ours, theirs
        return self.rewrite(ours), self.rewrite(theirs)


def masked(*pairs):
    compiled = [(re.compile(pattern, re.M), instead) for pattern, instead in pairs]

    def rewrite(text):
        for pattern, instead in compiled:
            text = pattern.sub(instead, text)
        return text

    return rewrite


def sorted_lines(text):
    return "\n".join(sorted(text.split("\n")))


# The exception stays, what it says goes.
TEXTS = masked(
    (r"(org\.apache\.kafka\.common\.(?:errors|config)\.\w+)(?::.*)?$", r"\1: <text>"),
    (r"^(Error while executing (?:topic|config|delegation token|transactional|consumer group|client metrics) command(?: with args '.*')? ?: ).*", r"\1<text>"),
    (r"^(Could not (?:up|down)grade \S+ to \d+\.|Could not disable \S+\.) (?!The node does not support).*", r"\1 <text>"),
)

BROKERS = r"kafka-configs.*--describe"


def default(key, value):
    """A default of ours that is another than Kafka's, given as Kafka's."""
    as_synonym = rf"(DEFAULT_CONFIG:{re.escape(key)}=)[^,}}]*"
    as_value = rf"^( {re.escape(key)}=)\S*(?= sensitive=\w+ synonyms={{DEFAULT_CONFIG:)"
    return Known(f"`{key}`", BROKERS, masked((as_synonym, rf"\g<1>{value}"), (as_value, rf"\g<1>{value}")))


def without(row, key):
    """Keys that only one side has."""
    return Known(row, BROKERS, masked((rf"^ {key}=.*\n", "")))


def whole(row, title):
    """Steps that go one way with us and another with Kafka."""
    return Known(row, title, lambda text: "as declared")


def one_of_ours(text):
    """The root logger, whatever its level; the others have our names."""
    text = re.sub(r"^ root=\w+", " root=<level>", text, flags=re.M)
    return re.sub(r"^ (?!root=)[\w.$-]+=[A-Z]+ sensitive=.*\n", "", text, flags=re.M)


EPOCHS = masked((r"(partitionLeaderEpoch: |\"leaderEpoch\":)\d+", r"\1<n>"))
BY_HASH = "order of the answers to OffsetCommit, OffsetFetch"


def sorted_records(text):
    """Offsets of one commit in any order: each record without its place."""
    text = re.sub(r"^\| offset: \d+|sequence: \d+", "", text, flags=re.M)
    return sorted_lines(text.replace("}{", "}\n{"))


def no_group(text):
    """Told by an error (DescribeGroups 6) or by a group that is dead: with the same exit code."""
    if re.search(r"GroupIdNotFoundException|^Error: Consumer group '.*' does not exist", text, re.M):
        return text.split("\n", 1)[0] + "\nthere is no such group"
    return text


OF_4 = "versions of APIs that came with 4.x"
NOT_THERE = "Each place has its reason. What is not there yet"
KNOWN = [
    whole(NOT_THERE, r"kafka-transactions (list|describe --tr|forceTerminate|abort .*--coordinator-epoch)"),
    whole(OF_4, r"list-endpoints --include-fenced-brokers|get-offsets .*--time -6"),
    # These tools ask for a list of resources first, and say what they do not find in it.
    whole(OF_4, r"client-metrics (--list|(--entity-name \w+ )?--describe( --name \w+)?)$"),
    whole(OF_4, r"--entity-type groups (--entity-name \w+ )?--describe$"),
    Known("OffsetCommit and OffsetFetch by topic id", r"kafka-consumer-groups --describe", no_group),
    whole("keys that do not work yet", r"sasl\.enabled\.mechanisms"),
    Known("loggers of a BROKER_LOGGER resource", r"broker-loggers .*--describe", one_of_ours),
    default("offsets.topic.replication.factor", 3),
    default("socket.receive.buffer.bytes", 102400),
    default("socket.send.buffer.bytes", 102400),
    default("transaction.state.log.min.isr", 2),
    default("transaction.state.log.replication.factor", 3),
    without("idempotent producers that a partition remembers", "max.producer.ids.per.partition"),
    without("a log directory whose calls", "log.dir.stall.ms"),
    without("a broker that stands alone, one of whose log directories", "accept.missing.log.dirs"),
    without("who may become the controller", "controller.candidate"),
    without("`zookeeper.connect` missing", r"zookeeper\.(?:connect|session\.timeout\.ms)"),
    Known("DescribeTopicPartitions ", r"kafka-topics.*--describe", masked((r"Elr: N/A LastKnownElr: N/A", "Elr: LastKnownElr:"))),
    Known("texts of errors and of", r"", TEXTS),
    Known("leader epoch of partitions whose only broker", r"kafka-dump-log|MessageFormatter", EPOCHS),
    Known(BY_HASH, r"kafka-consumer-groups|kafka-streams-app|kafka-groups", sorted_lines),
    Known(BY_HASH, r"--offsets-decoder|OffsetsMessageFormatter", sorted_records),
]


VERSIONS = re.compile(r"^ (\w+)\(\d+\): (\d+)(?: to (\d+))? \[.*$|^ (\w+)\(\d+\): UNSUPPORTED.*$", re.M)


class Versions:
    """Of the APIs in both brokers' lists, those that the row speaks of become Kafka's: `covers` is asked with the name, our
    lowest and highest version and Kafka's (None: unsupported)."""

    def __init__(self, row, covers):
        self.row, self.covers = row, covers

    @staticmethod
    def _read(text):
        found = {}
        for match in VERSIONS.finditer(text):
            name, low, high, none = match.groups()
            found[none or name] = (match.group(0), None if none else (int(low), int(high or low)))
        return found

    def apply(self, title, ours, theirs):
        if not title.startswith("kafka-broker-api-versions"):
            return ours, theirs
        left, right = self._read(ours), self._read(theirs)
        for name, (line, versions) in left.items():
            other = right.get(name)
            if other and other[0] != line and self.covers(name, versions, other[1]):
                ours = ours.replace(line, other[0])
        for name, (line, versions) in right.items():
            # What a tool does not know either it shows only where it is served.
            if name not in left and self.covers(name, None, versions):
                theirs = theirs.replace(line + "\n", "")
        return ours, theirs


NEWER = Versions(OF_4, lambda _, a, b: a and b and a[0] <= b[0] and a[1] >= b[1])
LISTED = Versions(OF_4, lambda name, a, b: name in ("ListClientMetricsResources", "ListConfigResources") and a and not b)
TOPIC_PARTITIONS = Versions("DescribeTopicPartitions", lambda name, a, b: name == "DescribeTopicPartitions" and a)
# Clusters, transactions, SASL, the new consumer protocol.
NOT_YET = """LeaderAndIsr StopReplica UpdateMetadata ControlledShutdown AlterPartition Envelope AllocateProducerIds
AddPartitionsToTxn AddOffsetsToTxn EndTxn WriteTxnMarkers TxnOffsetCommit DescribeTransactions ListTransactions
SaslAuthenticate ConsumerGroupHeartbeat ConsumerGroupDescribe""".split()
LATER = Versions(NOT_THERE, lambda name, a, _: name in NOT_YET and not a)
KNOWN += [NEWER, LISTED, TOPIC_PARTITIONS, LATER]


def missing_rows():
    with open(os.path.join(places.ROOT, "docs", "deviations.md")) as source:
        rows = [line.lstrip("| ") for line in source]
    return [known.row for known in KNOWN if not any(row.startswith(known.row) for row in rows)]
