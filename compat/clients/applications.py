"""Applications on Kafka's clients. Each has a folder beside `clients`, whose `run` has scenarios of its own, not those of
scenarios.py, and says in a line `VERSION NAME: text` which they are."""

import os
import re
import subprocess
import sys

from harness import places

NAMES = ["connect", "mirror", "streams", "debezium"]
_LINE = re.compile(r"(pass|FAIL|skip) \w+: ([\d.]+) ([\w-]+): ")


def says(name, version):
    """What a version of one is: versions are Kafka's."""
    return f"{places.DEBEZIUM} with Kafka {version}" if name == "debezium" else f"{name} {version}"


def run(name, only, broker, said):
    """Its scenarios whose line holds this, and how it ended: ({version: {scenario: result}}, exit code). `said` is told of each
    line that it prints."""
    command = [sys.executable, os.path.join(places.ROOT, "compat", name, "run"), "--full", "--broker", broker, "--only", only]
    found = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace") as process:
        for line in process.stdout:
            said(line.rstrip("\n"))
            matched = _LINE.match(line)
            if matched:
                result, of, scenario = matched.groups()
                found.setdefault(of, {})[scenario] = result
    return found, process.returncode
