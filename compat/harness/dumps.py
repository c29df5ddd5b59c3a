"""Kafka's own dump, DumpLogSegments of 3.9.2, over the files of partitions. Their broker is stopped."""

import glob
import json
import os
import re

from .brokers import tool
from .scenario import check, equal

COMMAND = "kafka.tools.DumpLogSegments"


def sound(paths):
    """It finds nothing wrong with the segments and indexes of these partitions' folders."""
    logs = sorted(name for path in paths for name in glob.glob(f"{path}/*.log"))
    said = tool("3.9.2", COMMAND, "--deep-iteration", "--files", ",".join(logs), heap="512m").text
    check("isvalid: false" not in said, said[-1000:])
    check("Found" not in said, said[-1000:])
    indexes = sorted(name for path in paths for kind in ("index", "timeindex") for name in glob.glob(f"{path}/*.{kind}"))
    said = tool("3.9.2", COMMAND, "--index-sanity-check", "--files", ",".join(indexes)).text
    sane = said.count("passed sanity check.") + said.count("is empty.")
    equal(sane, len(indexes), "indexes that pass\n" + said)
    run = tool("3.9.2", COMMAND, "--verify-index-only", "--files", ",".join(indexes))
    # Of a batch that only keeps a producer's sequence the dump looks for the time in its records, and there are none. It
    # says so of what Kafka's own cleaner leaves too.
    empty = r"Found timestamp mismatch in :\S*\n(  Index timestamp: \d+, log timestamp: -1\n)+"
    said = re.sub(empty, "", run.text + run.errors)
    for complaint in ["Mismatches in", "Index position", "Found timestamp mismatch", "out of order"]:
        check(complaint not in said, said[-1000:])
    left = [name for path in paths for name in os.listdir(path) if name.endswith((".cleaned", ".swap"))]
    equal(left, [], "files of an unfinished cleaning")


def offsets(paths):
    """What it reads out of partitions of __consumer_offsets: {(group, topic, partition): newest offset, or None}, and the
    names of the groups that have had members."""
    logs = sorted(name for path in paths for name in glob.glob(f"{path}/*.log"))
    said = tool("3.9.2", COMMAND, "--offsets-decoder", "--files", ",".join(logs), heap="512m").text
    committed, groups = {}, set()
    for key, payload in re.findall(r"\| offset: .*? key: (\{.*?\}) payload: (.*)$", said, re.M):
        what = json.loads(key)["data"]
        value = json.loads(payload)["data"] if payload.startswith("{") else None
        if "topic" in what:
            committed[what["group"], what["topic"], what["partition"]] = value and value["offset"]
        elif value:
            groups.add(what["group"])
        else:
            groups.discard(what["group"])
    return committed, groups
