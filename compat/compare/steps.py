"""What the comparison is made of: a step runs one tool on both sides, or does something to both by the wire."""

import os
import re
import shlex
import struct
import time

from harness import wire

# Records are as old as this, whatever the clock says, on both sides the same.
BASE = (int(time.time()) - 7200) * 1000
TOOLS = "org.apache.kafka.tools."
# Script of Kafka's bin/, its class, and the option for the bootstrap servers (None: there is none).
CLASSES = {
    "kafka-acls": (TOOLS + "AclCommand", "--bootstrap-server"),
    "kafka-broker-api-versions": (TOOLS + "BrokerApiVersionsCommand", "--bootstrap-server"),
    "kafka-client-metrics": (TOOLS + "ClientMetricsCommand", "--bootstrap-server"),
    "kafka-cluster": (TOOLS + "ClusterTool", "--bootstrap-server"),
    "kafka-configs": ("kafka.admin.ConfigCommand", "--bootstrap-server"),
    "kafka-console-consumer": (TOOLS + "consumer.ConsoleConsumer", "--bootstrap-server"),
    "kafka-console-producer": (TOOLS + "ConsoleProducer", "--bootstrap-server"),
    "kafka-consumer-groups": (TOOLS + "consumer.group.ConsumerGroupCommand", "--bootstrap-server"),
    "kafka-delegation-tokens": (TOOLS + "DelegationTokenCommand", "--bootstrap-server"),
    "kafka-delete-records": (TOOLS + "DeleteRecordsCommand", "--bootstrap-server"),
    "kafka-dump-log": ("kafka.tools.DumpLogSegments", None),
    "kafka-features": (TOOLS + "FeatureCommand", "--bootstrap-server"),
    "kafka-get-offsets": (TOOLS + "GetOffsetShell", "--bootstrap-server"),
    "kafka-groups": (TOOLS + "GroupsCommand", "--bootstrap-server"),
    "kafka-leader-election": (TOOLS + "LeaderElectionCommand", "--bootstrap-server"),
    "kafka-log-dirs": (TOOLS + "LogDirsCommand", "--bootstrap-server"),
    "kafka-metadata-quorum": (TOOLS + "MetadataQuorumCommand", "--bootstrap-server"),
    "kafka-producer-perf-test": (TOOLS + "ProducerPerformance", None),
    "kafka-reassign-partitions": (TOOLS + "reassign.ReassignPartitionsCommand", "--bootstrap-server"),
    "kafka-replica-verification": (TOOLS + "ReplicaVerificationTool", "--broker-list"),
    "kafka-share-groups": (TOOLS + "consumer.group.ShareGroupCommand", "--bootstrap-server"),
    "kafka-streams-application-reset": (TOOLS + "StreamsResetter", "--bootstrap-server"),
    "kafka-streams-groups": (TOOLS + "streams.StreamsGroupCommand", "--bootstrap-server"),
    "kafka-topics": (TOOLS + "TopicCommand", "--bootstrap-server"),
    "kafka-transactions": (TOOLS + "TransactionsCommand", "--bootstrap-server"),
    "kafka-verifiable-consumer": (TOOLS + "VerifiableConsumer", "--bootstrap-server"),
    "kafka-verifiable-producer": (TOOLS + "VerifiableProducer", "--bootstrap-server"),
}
# Their options come before what is to be done.
OPTIONS_FIRST = ["kafka-features", "kafka-metadata-quorum", "kafka-transactions"]
OLDER = {
    "kafka-acls": "kafka.admin.AclCommand",
    "kafka-broker-api-versions": "kafka.admin.BrokerApiVersionsCommand",
    "kafka-console-producer": "kafka.tools.ConsoleProducer",
}


def class_of(tool, version):
    name = CLASSES[tool][0]
    return OLDER.get(tool, name) if version == "3.9.2" else name


class Side:
    """One of the two brokers, and where its files are."""

    def __init__(self, name, broker, folder):
        self.name, self.broker, self.folder = name, broker, folder
        os.makedirs(folder, exist_ok=True)

    def directory_of(self, partition):
        return next(d for d in self.broker.log_dirs if os.path.isdir(os.path.join(d, partition)))

    def _place(self, match):
        """{at}, {port}, {dir:1}, {part:t-0} (its folder), {other:t-0} (the log directory that it is not in), {tmp}, {id:t}."""
        word, _, of = match.group(1).partition(":")
        if word == "at":
            return self.broker.bootstrap
        if word == "port":
            return str(self.broker.port)
        if word == "tmp":
            return self.folder
        if word == "dir":
            return self.broker.log_dirs[int(of)]
        if word == "part":
            return os.path.join(self.directory_of(of), of)
        if word == "other":
            return next(d for d in self.broker.log_dirs if d != self.directory_of(of))
        if word == "id":
            with open(os.path.join(self.directory_of(of + "-0"), of + "-0", "partition.metadata")) as source:
                return re.search(r"topic_id: (\S+)", source.read()).group(1)
        return match.group(0)

    def fill(self, text):
        return re.sub(r"\{(\w+(?::[^{}\s]*)?)\}", self._place, text)


class Step:
    """One run of a tool on both sides.

    `reads`: it changes nothing, so it may be asked again until a change has settled; `before` and `after` are done on
    each side; `name` starts it in the background under this name once it has printed `lines` lines; `stop` ends such a
    one instead; `only` is a version; `files` are written for each side first, `show` are read afterwards and count as
    output; `masks` are taken out of the output."""

    def __init__(self, tool, arguments, **options):
        self.tool, self.arguments = tool, arguments
        self.input = options.pop("input", b"")
        self.reads = options.pop("reads", None)
        self.name = options.pop("name", None)
        self.lines = options.pop("lines", 0)
        self.stop = options.pop("stop", None)
        self.only = options.pop("only", None)
        self.files = options.pop("files", {})
        self.show = options.pop("show", [])
        self.bootstrap = options.pop("bootstrap", True)
        self.masks = options.pop("masks", [])
        self.slow = options.pop("slow", False)
        if options:
            raise TypeError(f"no such options: {sorted(options)}")

    def title(self):
        if self.stop:
            return f"{self.tool} ... (ends)"
        given = self.arguments if isinstance(self.arguments, str) else " ".join(self.arguments)
        contents = [repr(text if len(text) < 100 else text[:90] + "...") for text in self.files.values()]
        return " ".join(part for part in [self.tool, given, *contents] if part)

    def changes_nothing(self):
        if self.reads is not None:
            return self.reads
        words = self.arguments.split() if isinstance(self.arguments, str) else self.arguments
        return bool({"--describe", "--list", "describe", "list", "--verify", "find-hanging"} & set(words)) or self.tool in (
            "kafka-get-offsets",
            "kafka-log-dirs",
            "kafka-dump-log",
        )

    def words(self, side):
        words = shlex.split(self.arguments) if isinstance(self.arguments, str) else self.arguments
        words = [side.fill(word) for word in words]
        option = CLASSES[self.tool][1]
        if option and self.bootstrap:
            given = [option, side.broker.bootstrap]
            words = given + words if self.tool in OPTIONS_FIRST else words + given
        return words

    def write_files(self, side):
        for name, content in self.files.items():
            with open(os.path.join(side.folder, name), "w") as out:
                out.write(side.fill(content))

    def shown(self, side):
        out = ""
        for name in self.show:
            path = os.path.join(side.folder, name)
            if os.path.exists(path):
                with open(path) as source:
                    out += f"--- {name}\n{source.read()}"
            else:
                out += f"--- {name} is not there\n"
        return out


class Do:
    """Something done to each side by other means than a tool; to both at once, unless processes are started (which live
    as long as the thread that started them)."""

    def __init__(self, title, function, slow=False, only=None, starts=False):
        self.what, self.function, self.slow, self.only, self.starts = title, function, slow, only, starts

    def title(self):
        return self.what


def java_hash(text):
    value = 0
    for unit in struct.unpack(f"<{len(text.encode('utf-16-le')) // 2}H", text.encode("utf-16-le")):
        value = (31 * value + unit) & 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def offsets_partition(group, partitions=50):
    """The partition of __consumer_offsets that a group is kept in."""
    return abs(java_hash(group)) % partitions


def data(side, topic):
    """Three partitions with records of known times, in batches of ten, the last partition empty."""
    with side.broker.connect() as client:
        for partition, batches in ((0, 5), (1, 2)):
            for n in range(batches):
                at = [BASE + n * 60_000 + i * 1000 for i in range(10)]
                lines = [(b"k%d" % i, b"value %d of %d" % (i, n)) for i in range(10)]
                codec = "none" if n % 2 == 0 else "gzip"
                client.produce(topic, wire.batch(lines, codec, timestamps=at), partition)
