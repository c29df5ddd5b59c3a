"""What must be true of a log that many wrote to and read from while things broke, after the workload for Kafka that Jepsen
has: a history of what was sent, acknowledged, read and committed is told as it happens, then what each log holds in the end.

Values are `p<producer>-<number>`, filled up with dots; a producer's numbers go up, and each is sent once."""

import bisect
import collections
import re
import struct
import threading

_VALUE = re.compile(rb"p(\d+)-(\d+)(\.*)")
# A commit that failed, or took so long that a client or a proxy may have let go of a request which is still on its way, can
# be carried out at any time later on.
SLOW_SECONDS = 5
# Of one kind so many are described; all are counted.
DESCRIBED = 10

KINDS = {
    "lost-write": "an acknowledged record is not in the log at the end",
    "lost-read": "a record that somebody read is not in the log at the end",
    "duplicate": "a value is in the log more than once",
    "inconsistent-offsets": "an offset had different values, or an acknowledged value has another offset",
    "invented": "a value in the log or read that nobody sent there",
    "order": "records of one producer in another order than they were sent in",
    "gap": "an offset without a record in the log",
    "nonmonotonic-read": "a consumer went back, or skipped, without a rebalance",
    "wrong-start": "a consumer began where nobody of its group committed, or before what it had committed",
    "unread": "a record that no member of a group was given",
    "commit-lost": "an acknowledged commit is not there at the end",
    "commit-back": "a committed offset went back",
    "replicas-differ": "replicas of a partition are not the same, byte by byte",
    "not-healed": "the cluster or its clients did not recover when all faults were over",
    "ended": "a broker ended by itself",
    "panic": "a broker said that a part of it had panicked",
}


def value(producer, number):
    return b"p%d-%d%s" % (producer, number, b"." * (number * 7 % 150))


def parsed(data):
    """(producer, number); None of what is no value."""
    found = _VALUE.fullmatch(data or b"")
    if not found:
        return None
    producer, number = int(found[1]), int(found[2])
    return (producer, number) if len(found[3]) == number * 7 % 150 else None


class Member:
    """A consumer, as long as it is open."""

    def __init__(self, name, group):
        self.name, self.group = name, group
        self.next = {}  # {partition: offset} of what must come
        self.loose = set()  # partitions that may have been gone since: they may begin anew
        self.rebalances = 0
        # When the poll began in which its partitions came: they were committed by others before.
        self.since = 0.0


class Checker:
    """Partitions are any names. Everything may be told by several threads. Times are seconds of any clock."""

    def __init__(self):
        self.lock = threading.Lock()
        self.counts = collections.Counter()
        self.details = collections.defaultdict(list)
        self.sent = collections.defaultdict(dict)  # {producer: {number: partition}}
        self.acknowledged = collections.defaultdict(dict)  # {partition: {value: offset, or None if it was not told}}
        self.errors = collections.Counter()
        self.seen = collections.defaultdict(dict)  # {partition: {offset: value}} of acknowledgements and reads
        self.read = collections.defaultdict(set)  # {(group, partition): offsets}
        self.reads = 0
        self.tried = collections.defaultdict(set)  # {(group, partition): offsets}
        # {(group, partition): (times, highest offset acknowledged until then)}
        self.committed = collections.defaultdict(lambda: ([], []))
        self.vague = collections.defaultdict(set)  # {(group, partition): offsets of commits that may come later}
        self.commits = collections.Counter()
        self.excused = 0

    def violation(self, kind, text):
        if kind not in KINDS:
            raise ValueError(kind)
        self.counts[kind] += 1
        if len(self.details[kind]) < DESCRIBED:
            self.details[kind].append(text)

    def report(self):
        lines = []
        for kind, count in sorted(self.counts.items()):
            lines.append(f"{kind}: {count} ({KINDS[kind]})")
            lines += [f"    {text}" for text in self.details[kind]]
            lines += ["    ..."] if count > len(self.details[kind]) else []
        return "\n".join(lines)

    # --- producers

    def sending(self, producer, number, partition):
        with self.lock:
            if number in self.sent[producer]:
                raise ValueError(f"p{producer}-{number} is sent twice")
            self.sent[producer][number] = partition

    def was_acknowledged(self, producer, number, partition, offset):
        """`offset` is None, or below 0, if the client does not know it."""
        with self.lock:
            told = (producer, number)
            if self.sent[producer].get(number) != partition:
                self.violation("inconsistent-offsets", f"{_name(told)} was acknowledged in {partition}")
                return
            offset = None if offset is None or offset < 0 else offset
            self.acknowledged[partition][told] = offset
            if offset is not None:
                self._saw(partition, offset, told, "acknowledged")

    def was_refused(self, error):
        """It may be in the log, or not."""
        with self.lock:
            self.errors[error] += 1

    def _saw(self, partition, offset, told, how):
        before = self.seen[partition].setdefault(offset, told)
        if before != told:
            self.violation("inconsistent-offsets", f"{partition}@{offset}: {_name(told)} {how}, {_name(before)} before")

    # --- consumers

    def polled(self, member, records, rebalances, began):
        """`records`: (partition, offset, value bytes), in the order in which they came; `rebalances`: the client's count of
        them after the poll, which began at that time. Nothing of what a poll gave in which it changed may be committed."""
        with self.lock:
            changed = rebalances != member.rebalances
            if changed:
                member.rebalances, member.since = rebalances, began
            for partition, offset, data in records:
                self.reads += 1
                told = parsed(data)
                if told is None or self.sent[told[0]].get(told[1]) != partition:
                    self.violation("invented", f"{partition}@{offset}: {member.name} was given {data[:60]!r}")
                    continue
                self._saw(partition, offset, told, f"given to {member.name}")
                expected = member.next.get(partition)
                if changed or expected is None or partition in member.loose:
                    self._began(member, partition, offset, expected)
                elif expected != offset:
                    self.violation("nonmonotonic-read", f"{partition}: {member.name} got {offset} instead of {expected}")
                member.next[partition] = offset + 1
                member.loose.discard(partition)
                self.read[member.group, partition].add(offset)
            if changed:
                member.loose = set(member.next)

    def _began(self, member, partition, offset, expected):
        times, highest = self.committed[member.group, partition]
        before = bisect.bisect_left(times, member.since)
        least = highest[before - 1] if before else 0
        if offset < least:
            text = f"{partition}: {member.name} began at {offset} though its group had committed {least}"
        elif offset not in (0, expected) and offset not in self.tried[member.group, partition]:
            text = f"{partition}: {member.name} began at {offset}, which nobody of its group committed"
        else:
            return
        self.violation("wrong-start", text)

    def committing(self, group, offsets):
        """`offsets`: {partition: offset}, before it is asked for."""
        with self.lock:
            for partition, offset in offsets.items():
                self.tried[group, partition].add(offset)

    def was_committed(self, group, offsets, seconds, now):
        with self.lock:
            self.commits["acknowledged"] += 1
            for partition, offset in offsets.items():
                times, highest = self.committed[group, partition]
                times.append(now)
                highest.append(max(offset, highest[-1] if highest else 0))
                if seconds > SLOW_SECONDS:
                    self.vague[group, partition].add(offset)

    def was_not_committed(self, group, offsets, error):
        with self.lock:
            self.commits[error] += 1
            for partition, offset in offsets.items():
                self.vague[group, partition].add(offset)

    # --- the end

    def log(self, partition, records):
        """The whole of a partition: (offset, value bytes)."""
        values, expected = {}, 0
        last = collections.defaultdict(lambda: -1)
        for offset, data in records:
            if offset != expected:
                self.violation("gap", f"{partition}: {offset} comes where {expected} should")
            expected = offset + 1
            told = parsed(data)
            if told is None or self.sent[told[0]].get(told[1]) != partition:
                self.violation("invented", f"{partition}@{offset}: {data[:60]!r}")
                continue
            if told in values:
                self.violation("duplicate", f"{partition}: {_name(told)} at {values[told]} and {offset}")
                continue
            values[told] = offset
            # One that was refused may be there or not, and be late: its sender has gone on without it.
            if told in self.acknowledged[partition]:
                producer, number = told
                if number < last[producer]:
                    behind = _name((producer, last[producer]))
                    self.violation("order", f"{partition}@{offset}: {_name(told)} behind {behind}")
                last[producer] = max(last[producer], number)
        places = {offset: told for told, offset in values.items()}
        for told, offset in self.acknowledged[partition].items():
            if told not in values:
                self.violation("lost-write", f"{partition}: {_name(told)}, acknowledged at {offset}, log end {expected}")
            elif offset is not None and values[told] != offset:
                self.violation("inconsistent-offsets", f"{partition}: {_name(told)} acknowledged at {offset}, is at {values[told]}")
        for offset, told in self.seen[partition].items():
            if places.get(offset) == told or told in self.acknowledged[partition]:
                continue
            kind = "inconsistent-offsets" if offset in places or told in values else "lost-read"
            self.violation(kind, f"{partition}@{offset}: {_name(told)} was read, and it is {_name(places.get(offset))}")
        for (group, one), offsets in list(self.read.items()):
            if one == partition:
                missing = [offset for offset in range(expected) if offset not in offsets]
                if missing:
                    self.violation("unread", f"{partition}: {len(missing)} never given to {group}: {_short(missing)}")

    def commits_in_log(self, group, partition, offsets):
        """What the log of offsets has of a partition, in its order; None is a tombstone."""
        highest = 0
        for offset in offsets:
            if offset is None:
                self.violation("commit-lost", f"{group}: {partition} was forgotten at {highest}")
            elif offset < highest and offset in self.vague[group, partition]:
                self.excused += 1
            elif offset < highest:
                self.violation("commit-back", f"{group}: {partition} went from {highest} to {offset}")
            highest = max(highest, offset or 0)

    def committed_at_end(self, group, partition, offset):
        """`offset` is -1 where there is none."""
        highest = self.committed[group, partition][1]
        if highest and offset < highest[-1]:
            self.violation("commit-lost", f"{group}: {partition} is at {offset}, {highest[-1]} was acknowledged")

    def replicas(self, partition, copies):
        """{broker: the bytes of its log}."""
        if len(set(copies.values())) > 1:
            first = min(copies)
            text = ", ".join(
                f"broker {number}: {len(data)} bytes"
                + ("" if data == copies[first] else f", other from {_difference(data, copies[first])} on")
                for number, data in sorted(copies.items())
            )
            self.violation("replicas-differ", f"{partition}: {text}")

    @property
    def clean(self):
        return not self.counts


def _name(told):
    return "nothing" if told is None else f"p{told[0]}-{told[1]}"


def _short(numbers):
    return ", ".join(map(str, numbers[:8])) + (" ..." if len(numbers) > 8 else "")


def _difference(one, other):
    """The first place where they differ."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low


def commit_of(key, data):
    """(group, topic, partition, offset or None) of a record in the log of offsets; None of what is no commit."""
    version = struct.unpack_from(">h", key)[0]
    if version not in (0, 1):
        return None
    at = 2
    texts = []
    for _ in range(2):
        length = struct.unpack_from(">h", key, at)[0]
        texts.append(key[at + 2 : at + 2 + length].decode())
        at += 2 + length
    partition = struct.unpack_from(">i", key, at)[0]
    return (*texts, partition, None if data is None else struct.unpack_from(">q", data, 2)[0])
