"""Histories with a fault planted in each: a checker that does not find it is of no use."""

from .checker import KINDS, Checker, Member, commit_of, value
from harness import wire


class Small:
    """A clean history of two partitions, two producers and a group; each plant spoils one thing of it."""

    def __init__(self):
        self.checker = Checker()
        self.logs = {"t-0": [], "t-1": []}
        self.acknowledge = {}  # {(producer, number): offset} that differ from the log's
        self.polls = None
        self.commits = {"t-0": [2, 4, 6], "t-1": [2, 4, 6]}
        self.at_end = {"t-0": 6, "t-1": 6}
        self.copies = {1: b"abcdef", 2: b"abcdef", 3: b"abcdef"}
        for number in range(6):
            for producer in (1, 2):
                partition = f"t-{number % 2}"
                self.logs[partition].append((len(self.logs[partition]), producer, number))
        self.sent = [(producer, number, partition) for partition, log in self.logs.items() for _, producer, number in log]
        self.offsets = {(producer, number): offset for log in self.logs.values() for offset, producer, number in log}
        self.rows = {p: [(offset, value(producer, number)) for offset, producer, number in log] for p, log in self.logs.items()}
        self.given = [(p, *row) for p in self.rows for row in self.rows[p]]
        self.refused = set()
        self.again = []  # what a second member is given
        self.since = 100.0
        self.slow = 0.0

    def told(self):
        checker = self.checker
        for one in self.sent:
            checker.sending(*one)
        for producer, number, partition in self.sent:
            if (producer, number) in self.refused:
                checker.was_refused("TIMED_OUT")
                continue
            offset = self.acknowledge.get((producer, number), self.offsets[producer, number])
            checker.was_acknowledged(producer, number, partition, offset)
        first = Member("first", "g")
        checker.polled(first, self.given[:1], 1, 1.0)
        checker.polled(first, self.given[1:], 1, 2.0)
        for time, offset in enumerate((2, 4, 6), 3):
            checker.committing("g", {"t-0": offset, "t-1": offset})
            checker.was_committed("g", {"t-0": offset, "t-1": offset}, self.slow, time)
        checker.polled(Member("second", "g"), self.again, 1, self.since)
        for partition, rows in self.rows.items():
            checker.log(partition, rows)
            checker.commits_in_log("g", partition, self.commits[partition])
            checker.committed_at_end("g", partition, self.at_end[partition])
            checker.replicas(partition, self.copies)
        return checker


def lost(small):
    small.rows["t-0"].pop()
    small.given = [row for row in small.given if row[:2] != ("t-0", 5)]


def lost_read(small):
    small.rows["t-0"].pop()
    small.refused.add(small.sent[5][:2])


def duplicate(small):
    small.rows["t-0"].append((6, small.rows["t-0"][2][1]))
    small.given.append(("t-0", *small.rows["t-0"][6]))


def moved(small):
    small.acknowledge[1, 2] = 9


def reread(small):
    small.given[2] = (*small.given[2][:2], small.given[3][2])


def invented(small):
    small.rows["t-1"].append((6, b"p9-9"))


def damaged(small):
    offset, data = small.rows["t-1"][5]
    small.rows["t-1"][5] = (offset, data + b".")


def reordered(small):
    """Two records of one producer have changed places, before anybody read or was told an offset."""
    rows = small.rows["t-0"]
    (first, one), (second, other) = rows[0], rows[2]
    rows[0], rows[2] = (first, other), (second, one)
    small.given = [("t-0", *row) for row in rows] + [row for row in small.given if row[0] == "t-1"]
    small.acknowledge = {(1, 0): None, (1, 2): None}


def gap(small):
    small.rows["t-1"] = [(offset + (offset > 2), data) for offset, data in small.rows["t-1"]]


def back(small):
    small.given.insert(4, small.given[2])


def skipped(small):
    del small.given[3]


def jumped(small):
    """What is skipped is read by another member."""
    small.again = [small.given[0], small.given[1], small.given[2], small.given[3]]
    small.since = 0.0
    del small.given[3]


def began_early(small):
    small.again = [("t-0", *row) for row in small.rows["t-0"][4:]]


def began_nowhere(small):
    small.since = 0.0
    small.again = [("t-0", *row) for row in small.rows["t-0"][3:]]


def commit_lost(small):
    small.at_end["t-1"] = 4


def commit_forgotten(small):
    small.commits["t-1"] = [2, 4, 6, None]


def commit_back(small):
    small.commits["t-1"] = [2, 4, 2, 6]


def replica(small):
    small.copies[2] = b"abcxef"


def behind(small):
    small.copies[3] = b"abcde"


PLANTED = {
    lost: "lost-write",
    lost_read: "lost-read",
    duplicate: "duplicate",
    moved: "inconsistent-offsets",
    reread: "inconsistent-offsets",
    invented: "invented",
    damaged: "invented",
    reordered: "order",
    gap: "gap",
    back: "nonmonotonic-read",
    skipped: "unread",
    jumped: "nonmonotonic-read",
    began_early: "wrong-start",
    began_nowhere: "wrong-start",
    commit_lost: "commit-lost",
    commit_forgotten: "commit-lost",
    commit_back: "commit-back",
    replica: "replicas-differ",
    behind: "replicas-differ",
}


def check():
    """What is wrong with the checker; an empty list when nothing is."""
    wrong = []
    clean = Small().told()
    if not clean.clean:
        wrong.append(f"a clean history is not: {clean.report()}")
    for plant, kind in PLANTED.items():
        small = Small()
        plant(small)
        found = small.told().counts
        if kind not in found:
            wrong.append(f"{plant.__name__}: {kind} was not found, but {dict(found)}")
    late = Small()
    late.slow, late.commits["t-1"] = 6.0, [2, 4, 2, 6]
    told = late.told()
    if not told.clean or told.excused != 1:
        wrong.append(f"a commit that may have been late is not excused: {told.report()}")
    unseen = set(KINDS) - set(PLANTED.values()) - {"not-healed", "ended", "panic"}
    if unseen:
        wrong.append(f"nothing is planted for {sorted(unseen)}")
    key = b"\0\1" + wire.string("g") + wire.string("t") + b"\0\0\0\7"
    if commit_of(key, b"\0\3" + b"\0" * 7 + b"\5" + b"rest") != ("g", "t", 7, 5) or commit_of(b"\0\2" + wire.string("g"), b""):
        wrong.append("the log of offsets is read wrongly")
    return wrong
