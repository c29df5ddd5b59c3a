"""Takes out of what a tool printed what is nobody's answer: ports, ids, times, folders, stack traces, widths of columns."""

import json
import re

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
MASKS = [
    (UUID, "<uuid>"),
    (re.compile(r"(TopicId: |topic_id: |[Tt]opic-?id[: ]+)[A-Za-z0-9_-]{22}"), r"\1<id>"),
    (re.compile(r"(Cluster ID: )\S+"), r"\1<cluster>"),
    (re.compile(r"\b[A-Za-z0-9_-]{22}\b(?= does not exist|')"), "<id>"),
    (re.compile(r"^\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[,.]?\d*\]?", re.M), "<time>"),
    (re.compile(r"(?<![.\d])1[5-9]\d{11}\b"), "<time>"),
    (re.compile(r"(?<=PRODUCER_ID_)\d+|(?<=\(id: )\d+(?= rack)"), "<n>"),
    (re.compile(r"(__consumer_offsets:\d+:)\d+"), r"\1<n>"),
    (re.compile(r"(correlation ?[iI]d[ :=])\d+"), r"\1<n>"),
    (re.compile(r"\b(consumer-verified\d+i?-)\d+"), r"\1<n>"),
    (re.compile(r"\b((?:admin-?client|producer|consumer(?!_offsets)|console-consumer)-)\d+", re.I), r"\1<n>"),
    (re.compile(r"\b\d+(?:\.\d+)? (ms|milliseconds|records/sec)"), r"<n> \1"),
    (re.compile(r"\(kafka\.tools\.|\(org\.apache\.kafka\.tools\."), "("),
    (re.compile(r"rack: null isFenced: false|rack: null"), "rack: null"),
    (re.compile(r"(avg_throughput\":)[0-9.]+"), r"\1<n>"),
    (re.compile(r"timeMs=\d+|timestamp\":\d+|tries=\d+|nextAllowedTryMs=-?\d+|deadlineMs=\d+"), "<n>"),
]
# A client that waits in vain is told so in one of two ways, by chance.
MASKS.append((re.compile(r"(TimeoutException): .*"), r"\1: <text>"))
# What log4j and slf4j say of themselves, and stack traces.
NOISE = re.compile(r"^(\s+at |\s*\.\.\. \d+ more|Caused by: .*DisconnectException: Cancelled|SLF4J|log4j:|OpenJDK .* warning)")


# What was written to these depends on when clients sent what.
SIZES = re.compile(r'((?:__consumer_offsets|data\d+-[vb])-\d+",\s*"size": )\d+')


def directories(line):
    """The partitions of all directories together, in their order."""
    try:
        brokers = json.loads(line)["brokers"]
    except (ValueError, KeyError):
        return line
    for broker in brokers:
        partitions = [row for each in broker["logDirs"] for row in each.pop("partitions")]
        broker["partitions"] = sorted(partitions, key=lambda row: row["partition"])
        broker["logDirs"].sort(key=lambda row: row["logDir"])
    return SIZES.sub(r"\1<n>", json.dumps(brokers, indent=1))


def by_topic(text):
    """The configs of many topics come in the order of a hash table."""
    blocks = re.split(r"(?m)^(?=Dynamic configs for topic )|^(?=--- )", text)
    return "".join(sorted(blocks)) if len(blocks) > 2 else text


def normalised(text, side):
    """`side` is a steps.Side."""
    for port, name in ((side.broker.port, "<port>"), (side.zookeeper_port, "<zookeeper>")):
        if port:
            text = re.sub(rf"(?<!\d){port}(?!\d)", name, text)
    # Which of them a partition was put into is chance.
    for directory in side.broker.log_dirs:
        text = text.replace(directory, "<directory>")
    text = text.replace(side.folder, "<folder>")
    if getattr(side.broker, "root", None):
        text = text.replace(side.broker.root, "")
    for mask, instead in MASKS:
        text = mask.sub(instead, text)
    if '{"brokers":' in text:
        text = "\n".join(map(directories, text.splitlines()))
    text = by_topic(text)
    lines = [re.sub(r"[ \t]+", " ", line).rstrip() for line in text.splitlines() if not NOISE.match(line)]
    return "\n".join(lines)
