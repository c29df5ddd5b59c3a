"""Applications on Kafka's clients. Each has a folder beside `clients`, whose `run` has scenarios of its own, not those of
scenarios.py, and says in a line `VERSION NAME: text` which they are."""

import os
import re
import subprocess
import sys

from harness import places

NAMES = ["connect", "mirror", "streams", "debezium"]
_TITLE = r"([\d.]+) ([\w-]+): "
_LINE = re.compile(r"(pass|FAIL|skip) \w+: " + _TITLE)


def says(name, version):
    """What a version of one is: versions are Kafka's."""
    return f"{places.DEBEZIUM} with Kafka {version}" if name == "debezium" else f"{name} {version}"


def _command(name, *more):
    return [sys.executable, os.path.join(places.ROOT, "compat", name, "run"), "--full", *more]


def scenarios(name):
    """{version: its scenarios}, newest version first."""
    found = {}
    for line in subprocess.run(_command(name, "--list"), stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines():
        version, scenario = re.match(_TITLE, line).groups()
        found.setdefault(version, []).append(scenario)
    return dict(sorted(found.items(), key=lambda one: [int(digits) for digits in one[0].split(".")], reverse=True))


def run(name, only, broker, said):
    """Its scenarios whose line holds this, and how it ended: ({version: {scenario: result}}, exit code). `said` is told of each
    line that it prints."""
    command = _command(name, "--broker", broker, "--only", only)
    found = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace") as process:
        for line in process.stdout:
            said(line.rstrip("\n"))
            matched = _LINE.match(line)
            if matched:
                result, of, scenario = matched.groups()
                found.setdefault(of, {})[scenario] = result
    return found, process.returncode
