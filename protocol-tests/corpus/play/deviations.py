"""Differences that are wanted: those of deviations.txt, and orders and texts, which are told by their shape. Each rests on a
row of docs/deviations.md, named by how the row begins; one whose row is gone, or that no longer occurs, makes the comparison
fail."""

import os
import re

from harness import places

from . import values
from .answers import numbers
from .definitions import CORPUS

PATH = os.path.join(CORPUS, "deviations.txt")
OF_4 = "versions of APIs that came with 4.x"


class Known:
    """A field that differs in `versions` of a place (`SCENARIO/LABEL`): what Kafka has there, what we have. It is `used` when
    it has occurred in each of these."""

    def __init__(self, row, place, versions, path, kafka, ours):
        self.row, self.place, self.path, self.pair = row, place, path, (values.render(kafka), values.render(ours))
        self.left = {f"{place} v{version} {path}": version for version in versions}
        self.all = dict(self.left)

    def covers(self, where, kafka, ours):
        if where not in self.all or (values.render(kafka), values.render(ours)) != self.pair:
            return False
        self.left.pop(where, None)
        return True

    @property
    def used(self):
        return not self.left

    @property
    def where(self):
        """Where it has not occurred."""
        return re.compile(f"{self.place} v({'|'.join(map(str, self.left.values()))}) {self.path}".replace("[", "\\["))


class Shape:
    """What is found by `where` in `SCENARIO/LABEL vVERSION PATH`, with values that `test` is asked about. `by_chance`: it may
    not occur."""

    def __init__(self, row, where, test=lambda kafka, ours: True, by_chance=False):
        self.row, self.where, self.test, self.used = row, re.compile(where), test, by_chance

    def covers(self, where, kafka, ours):
        if not self.where.search(where) or not self.test(kafka, ours):
            return False
        self.used = True
        return True


def orders(row, *apis):
    """In answers of these APIs an array has the same elements in another order (difference.py sees to that)."""
    return [Shape(row, rf"/{api} .*\[order\]$") for api in apis]


def read():
    """Of deviations.txt: `row` begins what rests on a row; then come places, and behind these the fields that differ there."""
    found, row, at, begun = [], None, [], False
    with open(PATH) as source:
        for number, line in enumerate(source, 1):
            line = line.rstrip("\n")
            if line.startswith("#") or not line.strip():
                continue
            if line.startswith("row "):
                row, at = line.removeprefix("row "), []
            elif not line.startswith("    "):
                at, begun = [*([] if begun else at), line.strip()], False
            else:
                begun = True
                where, _, both = line.strip().partition(": ")
                versions, _, path = where.rpartition(" ")
                kafka, _, ours = both.partition(" => ")
                if not (row and at and ours):
                    raise ValueError(f"{PATH}:{number}: is no difference of a row and a place: {line}")
                path = "" if path == "." else path
                pair = values.parse(kafka), values.parse(ours)
                found += [Known(row, place, list(numbers(versions)), path, *pair) for place in at]
    return found


BY_HASH = "order of topics, partitions, producers, members, users and folders in answers"
OF_GROUPS = "order of the answers to OffsetCommit"


KNOWN = [
    Shape("texts of errors and of", r"Message$", lambda kafka, ours: kafka in (None, "") and ours == "<text>"),
    Shape("order of the keys in DescribeConfigs", r"/DescribeConfigs .*Configs\[order\]$"),
    Shape("order of the keys in DescribeConfigs", r"/CreateTopics .*Configs\[order\]$"),
    *orders(BY_HASH, "AlterReplicaLogDirs", "AlterUserScramCredentials", "DeleteRecords", "DescribeLogDirs"),
    *orders(BY_HASH, "DescribeProducers", "ListOffsets", "Metadata", "Produce"),
    *orders(OF_GROUPS, "DeleteGroups", "ListGroups", "OffsetCommit", "OffsetDelete", "OffsetFetch"),
    *orders("order of the answers to elections", "AlterPartitionReassignments"),
    # Members have drawn ids.
    Shape(BY_HASH, r"/JoinGroup .*Members\[order\]$", by_chance=True),
    Shape(OF_GROUPS, r"/DescribeGroups .*Members\[order\]$", by_chance=True),
    *read(),
]


def missing_rows():
    with open(os.path.join(places.ROOT, "docs", "deviations.md")) as source:
        rows = [line.lstrip("| ") for line in source]
    return sorted({known.row for known in KNOWN if not any(row.startswith(known.row) for row in rows)})
